/* task.c - generated tasks: worked solutions verify, splits never share a problem, verdicts are right. */
#include "task_open.h"
#include "torture.h"

/* ---- splits ---- */
static int by_hash(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The ids of `n` items of each split, from two seeds: no id in two splits; solutions verify. */
static void check_splits(const hn_task *t, const char *const *set, int64_t n) {
    opened o = must_open(t, set);
    uint64_t *seen[HN_SPLITS];
    for (hn_split s = 0; s < HN_SPLITS; s++) {
        seen[s] = malloc((size_t)n * sizeof **seen);
        for (int64_t i = 0; i < n; i++) {
            hn_item it = must_item(&o, s, (uint64_t)(i & 1), i / 2);
            if (verdict(&o, &it, it.solution) != HN_PASS) fail_msg("%s\n%s", it.prompt, it.solution);
            seen[s][i] = hn_task_hash(it.id, strlen(it.id));
            hn_item_release(&it);
        }
        qsort(seen[s], (size_t)n, sizeof **seen, by_hash);
    }
    for (int s = 0; s < HN_SPLITS; s++) {
        for (int r = s + 1; r < HN_SPLITS; r++) {
            for (int64_t i = 0; i < n; i++) {
                assert_null(bsearch(&seen[s][i], seen[r], (size_t)n, sizeof **seen, by_hash));
            }
        }
        free(seen[s]);
    }
    shut(&o);
}

static void arith_splits(void **state) {
    (void)state;
    check_splits(&hn_task_arith, NULL, 40000); /* 3 splits: 120,000 items */
    const char *const small[] = {
        "task_min_steps", "1", "task_max_steps", "2", "task_max_number", "12", NULL
    };
    check_splits(&hn_task_arith, small, 10000); /* a space so small that every problem comes many times */
}

static void countdown_splits(void **state) {
    (void)state;
    check_splits(&hn_task_countdown, NULL, 35000);
    const char *const small[] = {
        "task_min_nums", "2", "task_max_nums", "4", "task_max_number", "9", "task_use_all", "false", NULL
    };
    check_splits(&hn_task_countdown, small, 10000);
}

/* ---- arith ---- */
/* Recomputes the chain from the worked steps, and finds every operand in the question. */
static void arith_steps_are_true(void **state) {
    (void)state;
    const char *const set[] = {
        "task_min_steps", "1", "task_max_steps", "6", "task_max_number", "200", NULL
    };
    const hn_task *t = &hn_task_arith;
    opened o = must_open(t, set);
    int kinds[128] = { 0 };
    for (int64_t i = 0; i < 5000; i++) {
        hn_item it = must_item(&o, HN_SPLIT_TRAIN, 7, i);
        long long a, b, c, x = -1;
        char op;
        int step = 0, no, used;
        const char *p = it.solution + 1;
        while (sscanf(p, "Step %d: %lld %c %lld = %lld\n%n", &no, &a, &op, &b, &c, &used) == 5) {
            assert_int_equal(no, ++step);
            if (x >= 0) assert_int_equal(a, x);
            x = op == '+' ? a + b : op == '-' ? a - b : op == '*' ? a * b : a / b;
            if (op == '/') assert_int_equal(a % b, 0);
            assert_int_equal(c, x);
            assert_in_range(c, 1, 200);
            char word[32];
            snprintf(word, sizeof word, " %lld ", b);
            if (!strstr(it.prompt, word)) {
                word[strlen(word) - 1] = '.';
                assert_non_null(strstr(it.prompt, word));
            }
            kinds[(int)op]++;
            p += used;
        }
        assert_in_range(step, 1, 6);
        char last[40];
        snprintf(last, sizeof last, "#### %lld", x);
        assert_string_equal(p, last);
        assert_string_equal(it.answer, last + 5);
        assert_non_null(strstr(it.prompt, "?\nA:"));
        hn_item_release(&it);
    }
    for (const char *op = "+-*/"; *op; op++) assert_true(kinds[(int)*op] > 500);
    shut(&o);
}

static void arith_is_pure(void **state) {
    (void)state;
    const hn_task *t = &hn_task_arith;
    opened o = must_open(t, NULL);
    hn_item a = must_item(&o, HN_SPLIT_GATE, 3, 17), c = must_item(&o, HN_SPLIT_GATE, 3, 18);
    hn_item b = must_item(&o, HN_SPLIT_GATE, 3, 17);
    assert_string_equal(a.prompt, b.prompt);
    assert_string_equal(a.solution, b.solution);
    assert_string_not_equal(a.prompt, c.prompt);
    assert_true(t->count(o.priv, HN_SPLIT_TRAIN) < 0);
    hn_item_release(&a);
    hn_item_release(&b);
    hn_item_release(&c);
    shut(&o);
}

static void arith_verdicts(void **state) {
    (void)state;
    const hn_task *t = &hn_task_arith;
    opened o = must_open(t, NULL);
    hn_item it = { .answer = (char *)(uintptr_t) "38" };
    static const struct {
        const char *text;
        hn_verdict v;
    } cases[] = {
        { " Step 1: 12 + 7 = 19\n#### 38", HN_PASS },
        { "#### 38.", HN_PASS },
        { "####38\n\nQ: next", HN_PASS },
        { "#### 38.0 apples\n#### 7", HN_PASS },
        { "#### 7\n#### 38", HN_FAIL }, /* the first answer counts */
        { "#### 39", HN_FAIL },
        { "#### -38", HN_FAIL },
        { "#### 38 39", HN_FAIL },
        { "#### 3.8e1", HN_PASS },
        { "#### ", HN_FAIL },
        { "####", HN_FAIL },
        { "", HN_FAIL },
        { "38", HN_FAIL },
        { "#### 380", HN_FAIL },
        { "#### 99999999999999999999999999", HN_FAIL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (verdict(&o, &it, cases[i].text) != cases[i].v) fail_msg("case: %s", cases[i].text);
    }
    it.answer = (char *)(uintptr_t) "many";
    assert_int_equal(verdict(&o, &it, "#### 38"), HN_ERROR);
    shut(&o);
}

static void messages_form(void **state) {
    (void)state;
    const char *const set[] = { "task_form", "messages", NULL };
    const hn_task *list[] = { &hn_task_arith, &hn_task_countdown };
    for (int i = 0; i < 2; i++) {
        opened o = must_open(list[i], set);
        hn_item it = must_item(&o, HN_SPLIT_TRAIN, 0, 0);
        assert_null(it.prompt);
        assert_int_equal(json_array_size(it.messages), 1);
        json_t *turn = json_array_get(it.messages, 0);
        assert_string_equal(json_string_value(json_object_get(turn, "role")), "user");
        assert_true(strlen(json_string_value(json_object_get(turn, "content"))) > 10);
        assert_int_equal(strncmp(it.solution, "Step 1: ", 8), 0);
        assert_int_equal(verdict(&o, &it, it.solution), HN_PASS);
        hn_item_release(&it);
        shut(&o);
    }
}

static void refused_options(void **state) {
    (void)state;
    static const struct {
        const hn_task *t;
        const char *set[5], *says;
    } cases[] = {
        { &hn_task_arith, { "task_min_steps", "5" }, "task_max_steps" },
        { &hn_task_arith, { "task_min_steps", "0" }, "task_min_steps" },
        { &hn_task_arith, { "task_ops", "^" }, "+ - * /" },
        { &hn_task_arith, { "task_ops", "" }, "+ - * /" },
        { &hn_task_arith, { "task_ops", "*", "task_min_steps", "3" }, NULL },
        { &hn_task_arith, { "task_ops", "*", "task_max_number", "4" }, "raise" },
        { &hn_task_countdown, { "task_min_nums", "5" }, "task_max_nums" },
        { &hn_task_countdown, { "task_nums", "5" }, "task_" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hn_err e = { 0 };
        opened o = open_with(cases[i].t, cases[i].set, &e);
        if ((o.priv == NULL) != (cases[i].says != NULL)) fail_msg("case %zu: %s", i, e.msg);
        if (cases[i].says && !strstr(e.msg, cases[i].says)) fail_msg("%s", e.msg);
        shut(&o);
    }
    hn_err e = { 0 };
    assert_null(hn_task_find("arit", &e));
    assert_non_null(strstr(e.msg, "arith"));
    assert_ptr_equal(hn_task_find("countdown", NULL), &hn_task_countdown);
}

/* ---- countdown ---- */
static hn_item given(const char *extra) {
    return (hn_item){ .extra = json_loads(extra, 0, NULL), .id = hn_strdup("x") };
}

static const struct {
    const char *text;
    hn_verdict all, some; /* every number exactly once; at most once */
} expressions[] = {
    { "#### (3 + 4) * 6 - 2", HN_PASS, HN_PASS },
    { " Step 1: 3 + 4 = 7\n#### (3+4)*6-2", HN_PASS, HN_PASS },
    { "#### (3 + 4) * 6 - 2 = 40", HN_PASS, HN_PASS },
    { "#### (3 + 4) * 6 - 2 = 41", HN_FAIL, HN_FAIL },
    { "#### (3 + 4) \xc3\x97 6 \xe2\x88\x92 2.", HN_PASS, HN_PASS },
    { "<answer>1</answer> no <answer> (3 + 4) * 6 - 2 </answer>", HN_PASS, HN_PASS },
    { "<answer> (3 + 4) * 6 - 2", HN_FAIL, HN_FAIL },
    { "#### 6 * 4 * 3 / 2 + 4", HN_FAIL, HN_FAIL }, /* 4 twice */
    { "#### (2 + 6) * (4 + 3 / 3)", HN_FAIL, HN_FAIL },
    { "#### 40", HN_FAIL, HN_FAIL },
    { "#### 6 * 4 * 2 - 3", HN_FAIL, HN_FAIL }, /* 45 */
    { "#### 34 + 6", HN_FAIL, HN_FAIL },
    { "#### (3 + 4) * 6 - 2) * 1", HN_FAIL, HN_FAIL },
    { "#### ((3 + 4) * 6 - 2", HN_FAIL, HN_FAIL },
    { "#### 2 ** 3 + 4 * 6", HN_FAIL, HN_FAIL },
    { "#### -2 + (3 + 4) * 6", HN_FAIL, HN_FAIL }, /* a sign is not an operation on two numbers */
    { "#### 4 / (3 - 3) + 6 + 2", HN_FAIL, HN_FAIL },
    { "#### 6 / (4 - 2 * 2)", HN_FAIL, HN_FAIL },
    { "#### 99999999999999999999 + 2", HN_FAIL, HN_FAIL },
    { "#### 6 * (4 + 2) + 3 + 4 / 4", HN_FAIL, HN_FAIL },
    { "#### ", HN_FAIL, HN_FAIL },
    { "####", HN_FAIL, HN_FAIL },
    { "(3 + 4) * 6 - 2", HN_FAIL, HN_FAIL },
};

static void countdown_verdicts(void **state) {
    (void)state;
    const char *const some[] = { "task_use_all", "false", "task_format_reward", "0.1", NULL };
    const hn_task *t = &hn_task_countdown;
    opened all = must_open(t, NULL), part = must_open(t, some);
    hn_item it = given("{\"nums\":[6,2,4,3],\"target\":40}");
    double reward;
    for (size_t i = 0; i < sizeof expressions / sizeof *expressions; i++) {
        if (verdict(&all, &it, expressions[i].text) != expressions[i].all)
            fail_msg("all: %s", expressions[i].text);
        if (judge(&part, &it, expressions[i].text, &reward) != expressions[i].some)
            fail_msg("some: %s", expressions[i].text);
    }
    assert_int_equal(judge(&part, &it, "#### 6 + 2", &reward), HN_FAIL); /* well formed, wrong value */
    assert_true(reward == 0.1);
    assert_int_equal(judge(&part, &it, "#### 6 +", &reward), HN_FAIL);
    assert_true(reward == 0);
    hn_item_release(&it);

    it = given("{\"nums\":[8,3,8,3],\"target\":24}"); /* only fractions solve it */
    assert_int_equal(verdict(&all, &it, "#### 8 / (3 - 8 / 3)"), HN_PASS);
    assert_int_equal(verdict(&all, &it, "#### 8 \xc3\xb7 (3 - 8 \xc3\xb7 3)"), HN_PASS);
    hn_item_release(&it);

    it = given("{\"nums\":[5,7],\"target\":12}");
    assert_int_equal(verdict(&part, &it, "#### 7 + 5"), HN_PASS);
    assert_int_equal(verdict(&all, &it, "#### 5 + 5 + 7 - 5"), HN_FAIL);
    hn_item_release(&it);
    it = given("{\"nums\":[5,7,1],\"target\":12}"); /* the 1 is left over */
    assert_int_equal(verdict(&part, &it, "#### 7 + 5"), HN_PASS);
    assert_int_equal(verdict(&all, &it, "#### 7 + 5"), HN_FAIL);
    assert_int_equal(verdict(&all, &it, "#### (7 + 5) * 1"), HN_PASS);
    hn_err why = { 0 };
    all.t->verify(all.priv, &it, "#### 7 / (5 - 5)", 16, &reward, &why);
    assert_non_null(strstr(why.msg, "divides by zero"));
    hn_item_release(&it);

    static const char *const broken[] = { "{}", "{\"nums\":[],\"target\":1}", "{\"nums\":[1.5],\"target\":1}",
                                          "{\"nums\":[1,2],\"target\":\"3\"}",
                                          "{\"nums\":[1,2,3,4,5,6,7,8,9],\"target\":3}" };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        it = given(broken[i]);
        assert_int_equal(verdict(&all, &it, "#### 1"), HN_ERROR);
        hn_item_release(&it);
    }
    shut(&all);
    shut(&part);
}

static void countdown_hostile(void **state) {
    (void)state;
    const hn_task *t = &hn_task_countdown;
    opened o = must_open(t, NULL);
    hn_item it = given("{\"nums\":[6,2,4,3],\"target\":40}");
    char deep[20000] = "#### ";
    memset(deep + 5, '(', sizeof deep - 6); /* must not overflow the stack */
    assert_int_equal(verdict(&o, &it, deep), HN_FAIL);
    for (size_t i = 5; i + 2 < sizeof deep; i += 2)
        memcpy(deep + i, "1+", 2); /* more numbers than any problem */
    assert_int_equal(verdict(&o, &it, deep), HN_FAIL);
    strcpy(deep, "#### 1000000000000*1000000000000*1000000000000"); /* too large for 64 bits: a fail */
    assert_int_equal(verdict(&o, &it, deep), HN_FAIL);
    hn_item_release(&it);
    shut(&o);
}

/* The id, which the split is made of, holds the numbers in order: the same numbers shuffled are one problem.
 */
static void countdown_order(void **state) {
    (void)state;
    opened o = must_open(&hn_task_countdown, (const char *const[]){ "task_max_nums", "5", NULL });
    for (int64_t i = 0; i < 500; i++) {
        hn_item it = must_item(&o, HN_SPLIT_TRAIN, 3, i);
        const char *p = it.id + strlen("countdown:");
        int64_t last = 0, n = 0;
        for (char *end; *p != '='; p = end + 1, n++) {
            int64_t x = strtoll(p, &end, 10);
            assert_true(x >= last);
            last = x;
        }
        assert_int_equal(n, json_array_size(json_object_get(it.extra, "nums")));
        assert_int_equal(strtoll(p + 1, NULL, 10), json_integer_value(json_object_get(it.extra, "target")));
        hn_item_release(&it);
    }
    shut(&o);
}

/* Every allocation in turn fails: the item is refused and nothing is left behind. */
static int one_item(void *ctx, hn_err *e) {
    const opened *o = ctx;
    hn_item it = { 0 };
    int rc = o->t->item(o->priv, HN_SPLIT_TRAIN, 1, 5, &it, e);
    hn_item_release(&it);
    return rc;
}

static void out_of_memory(void **state) {
    (void)state;
    const hn_task *list[] = { &hn_task_arith, &hn_task_countdown };
    for (int k = 0; k < 2; k++) {
        opened o = must_open(list[k], NULL);
        assert_true(torture(one_item, &o) > 3);
        shut(&o);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arith_splits),         cmocka_unit_test(countdown_splits),
        cmocka_unit_test(arith_steps_are_true), cmocka_unit_test(arith_is_pure),
        cmocka_unit_test(arith_verdicts),       cmocka_unit_test(messages_form),
        cmocka_unit_test(refused_options),      cmocka_unit_test(countdown_verdicts),
        cmocka_unit_test(countdown_hostile),    cmocka_unit_test(countdown_order),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
