/* task.c - generated tasks: worked solutions verify, splits never share a problem, verdicts are right. */
#include "task/task.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- opening a task with options: "key=value" strings, NULL at the end ---- */
static void put(const hn_opt *o, char *priv, const char *v) {
    if (o->type == HN_OPT_INT) *(int64_t *)(void *)(priv + o->at) = strtoll(v, NULL, 10);
    if (o->type == HN_OPT_NUM) *(double *)(void *)(priv + o->at) = strtod(v, NULL);
    if (o->type == HN_OPT_BOOL) *(bool *)(void *)(priv + o->at) = !strcmp(v, "true");
    if (o->type == HN_OPT_STR) *(const char **)(void *)(priv + o->at) = v;
    if (o->type == HN_OPT_ENUM) *(int *)(void *)(priv + o->at) = strstr(o->choices, v) != o->choices;
}

static void *open_with(const hn_task *t, const char *const *set, hn_err *e) {
    char *priv = hn_alloc(t->priv_size);
    for (const hn_opt *o = t->opts; o->type; o++) {
        char def[32];
        snprintf(def, sizeof def, "%.17g", o->def);
        if (o->type == HN_OPT_INT) *(int64_t *)(void *)(priv + o->at) = (int64_t)o->def;
        if (o->type == HN_OPT_NUM) *(double *)(void *)(priv + o->at) = o->def;
        if (o->type == HN_OPT_BOOL) *(bool *)(void *)(priv + o->at) = o->def != 0;
        if (o->type == HN_OPT_STR) *(const char **)(void *)(priv + o->at) = o->sdef;
        if (o->type == HN_OPT_ENUM) *(int *)(void *)(priv + o->at) = (int)o->def;
        for (const char *const *kv = set; kv && *kv; kv++) {
            size_t n = strlen(o->name);
            if (!strncmp(*kv, o->name, n) && (*kv)[n] == '=') put(o, priv, *kv + n + 1);
        }
    }
    if (t->open(priv, e)) {
        t->close(priv);
        hn_free(priv);
        return NULL;
    }
    return priv;
}

static void close_task(const hn_task *t, void *priv) {
    t->close(priv);
    hn_free(priv);
}

static hn_verdict judge(const hn_task *t, const void *priv, const hn_item *it, const char *text,
                        double *reward) {
    char *exact = malloc(strlen(text) + 1); /* no 0 byte after it: a sanitizer sees a read past the end */
    size_t n = strlen(text);
    memcpy(exact, text, n);
    exact = realloc(exact, n ? n : 1);
    hn_verdict v = t->verify(priv, it, exact, n, reward, NULL);
    free(exact);
    return v;
}

static hn_verdict verdict(const hn_task *t, const void *priv, const hn_item *it, const char *text) {
    double reward = NAN;
    hn_verdict v = judge(t, priv, it, text, &reward);
    assert_true(reward == (v == HN_PASS));
    return v;
}

/* ---- splits ---- */
static int by_hash(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The ids of `n` items of each split, from two seeds: no id in two splits; solutions verify. */
static void check_splits(const hn_task *t, const char *const *set, int64_t n) {
    hn_err e = { 0 };
    void *priv = open_with(t, set, &e);
    if (!priv) fail_msg("%s", e.msg);
    uint64_t *seen[HN_SPLITS];
    for (hn_split s = 0; s < HN_SPLITS; s++) {
        seen[s] = malloc((size_t)n * sizeof **seen);
        for (int64_t i = 0; i < n; i++) {
            hn_item it = { 0 };
            if (t->item(priv, s, (uint64_t)(i & 1), i / 2, &it, &e)) fail_msg("%s", e.msg);
            if (verdict(t, priv, &it, it.solution) != HN_PASS) fail_msg("%s\n%s", it.prompt, it.solution);
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
    close_task(t, priv);
}

static void arith_splits(void **state) {
    (void)state;
    check_splits(&hn_task_arith, NULL, 40000); /* 3 splits: 120,000 items */
    const char *const small[] = { "task_min_steps=1", "task_max_steps=2", "task_max_number=12", NULL };
    check_splits(&hn_task_arith, small, 10000); /* a space so small that every problem comes many times */
}

static void countdown_splits(void **state) {
    (void)state;
    check_splits(&hn_task_countdown, NULL, 35000);
    const char *const small[] = { "task_min_nums=2", "task_max_nums=4", "task_max_number=9",
                                  "task_use_all=false", NULL };
    check_splits(&hn_task_countdown, small, 10000);
}

/* ---- arith ---- */
/* Recomputes the chain from the worked steps, and finds every operand in the question. */
static void arith_steps_are_true(void **state) {
    (void)state;
    const char *const set[] = { "task_min_steps=1", "task_max_steps=6", "task_max_number=200", NULL };
    const hn_task *t = &hn_task_arith;
    hn_err e = { 0 };
    void *priv = open_with(t, set, &e);
    assert_non_null(priv);
    int kinds[128] = { 0 };
    for (int64_t i = 0; i < 5000; i++) {
        hn_item it = { 0 };
        assert_int_equal(t->item(priv, HN_SPLIT_TRAIN, 7, i, &it, &e), 0);
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
    close_task(t, priv);
}

static void arith_is_pure(void **state) {
    (void)state;
    const hn_task *t = &hn_task_arith;
    void *priv = open_with(t, NULL, NULL);
    hn_item a = { 0 }, b = { 0 }, c = { 0 };
    assert_int_equal(t->item(priv, HN_SPLIT_GATE, 3, 17, &a, NULL), 0);
    assert_int_equal(t->item(priv, HN_SPLIT_GATE, 3, 18, &c, NULL), 0);
    assert_int_equal(t->item(priv, HN_SPLIT_GATE, 3, 17, &b, NULL), 0);
    assert_string_equal(a.prompt, b.prompt);
    assert_string_equal(a.solution, b.solution);
    assert_string_not_equal(a.prompt, c.prompt);
    assert_true(t->count(priv, HN_SPLIT_TRAIN) < 0);
    hn_item_release(&a);
    hn_item_release(&b);
    hn_item_release(&c);
    close_task(t, priv);
}

static void arith_verdicts(void **state) {
    (void)state;
    const hn_task *t = &hn_task_arith;
    void *priv = open_with(t, NULL, NULL);
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
        if (verdict(t, priv, &it, cases[i].text) != cases[i].v) fail_msg("case: %s", cases[i].text);
    }
    it.answer = (char *)(uintptr_t) "many";
    assert_int_equal(verdict(t, priv, &it, "#### 38"), HN_ERROR);
    close_task(t, priv);
}

static void messages_form(void **state) {
    (void)state;
    const char *const set[] = { "task_form=messages", NULL };
    const hn_task *list[] = { &hn_task_arith, &hn_task_countdown };
    for (int i = 0; i < 2; i++) {
        void *priv = open_with(list[i], set, NULL);
        hn_item it = { 0 };
        assert_int_equal(list[i]->item(priv, HN_SPLIT_TRAIN, 0, 0, &it, NULL), 0);
        assert_null(it.prompt);
        assert_int_equal(json_array_size(it.messages), 1);
        json_t *turn = json_array_get(it.messages, 0);
        assert_string_equal(json_string_value(json_object_get(turn, "role")), "user");
        assert_true(strlen(json_string_value(json_object_get(turn, "content"))) > 10);
        assert_int_equal(strncmp(it.solution, "Step 1: ", 8), 0);
        assert_int_equal(verdict(list[i], priv, &it, it.solution), HN_PASS);
        hn_item_release(&it);
        close_task(list[i], priv);
    }
}

static void refused_options(void **state) {
    (void)state;
    static const struct {
        const hn_task *t;
        const char *set[3], *says;
    } cases[] = {
        { &hn_task_arith, { "task_min_steps=5" }, "task_max_steps" },
        { &hn_task_arith, { "task_ops=^" }, "+ - * /" },
        { &hn_task_arith, { "task_ops=" }, "+ - * /" },
        { &hn_task_arith, { "task_ops=*", "task_min_steps=3" }, NULL },
        { &hn_task_arith, { "task_ops=*", "task_max_number=4" }, "raise" },
        { &hn_task_countdown, { "task_min_nums=5" }, "task_max_nums" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hn_err e = { 0 };
        void *priv = open_with(cases[i].t, cases[i].set, &e);
        if (cases[i].says) {
            assert_null(priv);
            if (!strstr(e.msg, cases[i].says)) fail_msg("%s", e.msg);
        } else {
            assert_non_null(priv);
            close_task(cases[i].t, priv);
        }
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

static void countdown_verdicts(void **state) {
    (void)state;
    static const struct {
        const char *text;
        hn_verdict all, some; /* every number exactly once; at most once */
    } cases[] = {
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
    const char *const some[] = { "task_use_all=false", "task_format_reward=0.1", NULL };
    const hn_task *t = &hn_task_countdown;
    void *all = open_with(t, NULL, NULL), *part = open_with(t, some, NULL);
    hn_item it = given("{\"nums\":[6,2,4,3],\"target\":40}");
    double reward;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (verdict(t, all, &it, cases[i].text) != cases[i].all) fail_msg("all: %s", cases[i].text);
        if (judge(t, part, &it, cases[i].text, &reward) != cases[i].some) fail_msg("some: %s", cases[i].text);
    }
    assert_int_equal(judge(t, part, &it, "#### 6 + 2", &reward), HN_FAIL); /* well formed, wrong value */
    assert_true(reward == 0.1);
    assert_int_equal(judge(t, part, &it, "#### 6 +", &reward), HN_FAIL);
    assert_true(reward == 0);
    hn_item_release(&it);

    it = given("{\"nums\":[8,3,8,3],\"target\":24}"); /* only fractions solve it */
    assert_int_equal(verdict(t, all, &it, "#### 8 / (3 - 8 / 3)"), HN_PASS);
    assert_int_equal(verdict(t, all, &it, "#### 8 \xc3\xb7 (3 - 8 \xc3\xb7 3)"), HN_PASS);
    hn_item_release(&it);

    it = given("{\"nums\":[5,7],\"target\":12}");
    assert_int_equal(verdict(t, part, &it, "#### 7 + 5"), HN_PASS);
    assert_int_equal(verdict(t, all, &it, "#### 5 + 5 + 7 - 5"), HN_FAIL);
    hn_item_release(&it);

    static const char *const broken[] = { "{}", "{\"nums\":[],\"target\":1}", "{\"nums\":[1.5],\"target\":1}",
                                          "{\"nums\":[1,2],\"target\":\"3\"}",
                                          "{\"nums\":[1,2,3,4,5,6,7,8,9],\"target\":3}" };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        it = given(broken[i]);
        assert_int_equal(verdict(t, all, &it, "#### 1"), HN_ERROR);
        hn_item_release(&it);
    }
    close_task(t, all);
    close_task(t, part);
}

static void countdown_hostile(void **state) {
    (void)state;
    const hn_task *t = &hn_task_countdown;
    void *priv = open_with(t, NULL, NULL);
    hn_item it = given("{\"nums\":[6,2,4,3],\"target\":40}");
    char deep[20000] = "#### ";
    memset(deep + 5, '(', sizeof deep - 6); /* must not overflow the stack */
    assert_int_equal(verdict(t, priv, &it, deep), HN_FAIL);
    for (size_t i = 5; i + 2 < sizeof deep; i += 2)
        memcpy(deep + i, "1+", 2); /* more numbers than any problem */
    assert_int_equal(verdict(t, priv, &it, deep), HN_FAIL);
    strcpy(deep, "#### 1000000000000*1000000000000*1000000000000"); /* too large for 64 bits: a fail */
    assert_int_equal(verdict(t, priv, &it, deep), HN_FAIL);
    hn_item_release(&it);
    close_task(t, priv);
}

/* Every allocation in turn fails: the item is refused and nothing leaks (a leak checker sees it). */
static void out_of_memory(void **state) {
    (void)state;
    const hn_task *list[] = { &hn_task_arith, &hn_task_countdown };
    for (int k = 0; k < 2; k++) {
        void *priv = open_with(list[k], NULL, NULL);
        int refused = 0;
        for (long n = 0;; n++) {
            hn_item it = { 0 };
            hn_err e = { 0 };
            hn_alloc_fuse = n;
            int rc = list[k]->item(priv, HN_SPLIT_TRAIN, 1, 5, &it, &e);
            hn_alloc_fuse = -1;
            hn_item_release(&it);
            if (!rc) break;
            assert_int_equal(rc, HN_ENOMEM);
            refused++;
        }
        assert_true(refused > 3);
        close_task(list[k], priv);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arith_splits),         cmocka_unit_test(countdown_splits),
        cmocka_unit_test(arith_steps_are_true), cmocka_unit_test(arith_is_pure),
        cmocka_unit_test(arith_verdicts),       cmocka_unit_test(messages_form),
        cmocka_unit_test(refused_options),      cmocka_unit_test(countdown_verdicts),
        cmocka_unit_test(countdown_hostile),    cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
