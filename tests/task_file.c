/* task_file.c - tasks that read files: the dataset's and peers' own files, columns, kinds, broken rows. */
#include "shared.h"
#include "task_open.h"
#include "torture.h"

static const char *dir;
static bool absent; /* some data was not there */

static const char *write_file(const char *text) {
    static char path[512];
    snprintf(path, sizeof path, "%s/rows.jsonl", dir);
    assert_int_equal(hn_file_write(path, text, strlen(text), NULL), 0);
    return path;
}

static const char *data(const char *name) {
    const char *path = shared_file(name);
    if (!path) {
        absent = true;
        skip();
    }
    return path;
}

static void about_says(const opened *o, const char *what) {
    hn_buf b = { 0 };
    o->t->about(o->priv, &b);
    assert_false(b.oom);
    if (!strstr(b.data, what)) fail_msg("%s", b.data);
    hn_buf_free(&b);
}

/* ---- gsm8k ---- */
/* Every gold verifies against itself in both ways of extraction; the gold plus one never does. */
static void gsm8k(void **state) {
    (void)state;
    const char *path = data("data/math/gsm8k_train.jsonl");
    const char *const last[] = { "task_file", path, NULL };
    const char *const strict[] = { "task_file", path, "task_extract", "marker", NULL };
    opened o = must_open(&hn_task_gsm8k, last), m = must_open(&hn_task_gsm8k, strict);
    int64_t all = 0, right = 0, wrong = 0;
    for (hn_split s = 0; s < HN_SPLITS; s++) {
        int64_t n = o.t->count(o.priv, s);
        all += n;
        assert_true(n > 600);
        for (int64_t i = 0; i < n; i++) {
            hn_item it = must_item(&o, s, 0, i);
            assert_null(strstr(it.solution, "<<"));
            hn_buf bad = { 0 };
            const char *mark = strstr(it.solution, "####");
            hn_buf_add(&bad, it.solution, (size_t)(mark - it.solution));
            hn_buf_fmt(&bad, "#### %s1", it.answer); /* one digit more */
            right += verdict(&o, &it, it.solution) == HN_PASS && verdict(&m, &it, it.solution) == HN_PASS;
            wrong += verdict(&o, &it, bad.data) == HN_PASS || verdict(&m, &it, bad.data) == HN_PASS;
            hn_buf_free(&bad);
            hn_item_release(&it);
        }
    }
    assert_int_equal(all, 7473);
    assert_int_equal(right, 7473);
    assert_int_equal(wrong, 0);
    hn_item it = must_item(&o, HN_SPLIT_TEST, 0, 0);
    hn_buf text = { 0 };
    hn_buf_fmt(&text, "I get \\boxed{%s}", it.answer);
    assert_int_equal(verdict(&o, &it, text.data), HN_PASS);
    assert_int_equal(verdict(&m, &it, text.data), HN_FAIL);
    hn_buf_free(&text);
    hn_item_release(&it);
    about_says(&o, "sha256");
    shut(&o);
    shut(&m);
}

static void gsm8k_marks_and_errors(void **state) {
    (void)state;
    const char *row =
        "{\"question\": \"Two and two?\", \"answer\": \"It is 2+2 = <<2+2=4>>4 << 5.\\n#### 4\"}\n";
    const char *const keep[] = { "task_file",       write_file(row), "task_split", "gate",
                                 "task_calculator", "true",          NULL };
    opened o = must_open(&hn_task_gsm8k, keep);
    assert_int_equal(o.t->count(o.priv, HN_SPLIT_TRAIN), 0);
    hn_item it = must_item(&o, HN_SPLIT_GATE, 0, 0);
    assert_string_equal(it.prompt, "Q: Two and two?\nA:");
    assert_string_equal(it.solution, " It is 2+2 = <<2+2=4>>4 << 5.\n#### 4");
    hn_item_release(&it);
    shut(&o);
    o = must_open(&hn_task_gsm8k,
                  (const char *const[]){ "task_file", write_file(row), "task_split", "gate", NULL });
    it = must_item(&o, HN_SPLIT_GATE, 0, 0);
    assert_string_equal(it.solution, " It is 2+2 = 4 << 5.\n#### 4");
    hn_item_release(&it);
    shut(&o);
    static const struct {
        const char *rows, *says;
    } broken[] = {
        { "{\"question\": \"a\", \"answer\": \"#### 1\"}\n{\"question\": \"b\"}\n",
          "line 2: a row of gsm8k" },
        { "{\"question\": \"a\", \"answer\": \"one\"}\n", "line 1: the answer does not end" },
        { "{\"question\": \"a\", \"answer\": \"#### one\"}\n", "line 1: the answer does not end" },
        { "{\"question\": \"a\", \"answer\": 4}\n", "line 1: a row of gsm8k" },
        { "{\"question\": \"a\",\n", "line 1, byte" },
        { "", "no rows" },
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        hn_err e = { 0 };
        o = open_with(&hn_task_gsm8k, (const char *const[]){ "task_file", write_file(broken[i].rows), NULL },
                      &e);
        assert_null(o.priv);
        if (!strstr(e.msg, broken[i].says)) fail_msg("%s", e.msg);
        shut(&o);
    }
    hn_err e = { 0 };
    o = open_with(&hn_task_gsm8k, NULL, &e);
    assert_non_null(strstr(e.msg, "give task_file"));
    shut(&o);
}

/* ---- digitseq ---- */
static const struct {
    const char *prompt, *answer, *completion;
    hn_verdict v;
    double reward;
} sequences[] = {
    /* by hand from the rule; the rewards are those of the peer's compute_reward, plus the end's share */
    { "1,2:6,5", "3,4,5,0,1", "3,4,5,0,1", HN_PASS, 1 },
    { "1,2:6,5", "3,4,5,0,1", "3,4,5,0,2", HN_FAIL, 8.0 / 10 },
    { "1,2:6,5", "3,4,5,0,1", "3,4,5,0,1,2", HN_FAIL, 9.0 / 10 },
    { "1,2:6,5", "3,4,5,0,1", "3", HN_FAIL, 1.0 / 10 },
    { "1,2:6,5", "3,4,5,0,1", "", HN_FAIL, 0 },
    { "1,2:6,5", "3,4,5,0,1", " 3,4,5,0,1", HN_FAIL, 0 },
    { "9,10:20,2", "11,12", "11,12,13", HN_FAIL, 5.0 / 6 },
    { "7,8:20,0", "", "", HN_PASS, 1 },
    { "7,8:20,0", "", "E000", HN_FAIL, 0 },
    { "8,3:9,4", "7,2,6,1", "7,2,6,1", HN_PASS, 1 }, /* difference -5 = 4 modulo 9 */
};

static void digitseq(void **state) {
    (void)state;
    opened o = must_open(&hn_task_digitseq, NULL);
    int64_t all = 0;
    for (hn_split s = 0; s < HN_SPLITS; s++) {
        int64_t n = o.t->count(o.priv, s);
        all += n;
        assert_true(n > 50);
        for (int64_t i = 0; i < n; i++) {
            hn_item it = must_item(&o, s, 0, i);
            assert_int_equal(strlen(it.prompt), 7); /* a,b:9,n */
            assert_int_equal(verdict(&o, &it, it.solution), HN_PASS);
            hn_item_release(&it);
        }
    }
    assert_int_equal(all, 10 * 9 * 10); /* first 0..9, difference 0..8 modulo 9, count 0..9 */
    for (size_t i = 0; i < sizeof sequences / sizeof *sequences; i++) {
        char row[100];
        snprintf(row, sizeof row, "{\"prompt\": \"%s\"}", sequences[i].prompt);
        opened f = must_open(&hn_task_digitseq, (const char *const[]){ "task_file", write_file(row),
                                                                       "task_split", "train", NULL });
        hn_item it = must_item(&f, HN_SPLIT_TRAIN, 0, 0);
        assert_string_equal(it.prompt, sequences[i].prompt);
        assert_string_equal(it.answer, sequences[i].answer);
        double reward;
        assert_int_equal(judge(&f, &it, sequences[i].completion, &reward), sequences[i].v);
        if (fabs(reward - sequences[i].reward) > 1e-15) fail_msg("%s: %g", sequences[i].completion, reward);
        hn_item_release(&it);
        shut(&f);
    }
    shut(&o);
    static const char *const bad[] = {
        "1,2:6", "1,2:0,3", "1,2:6,100", "1,2:6,5 ", "-1,2:6,5", "1;2:6,5", ""
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char row[100];
        hn_err e = { 0 };
        snprintf(row, sizeof row, "{\"prompt\": \"%s\"}", bad[i]);
        opened f =
            open_with(&hn_task_digitseq, (const char *const[]){ "task_file", write_file(row), NULL }, &e);
        assert_null(f.priv);
        assert_non_null(strstr(e.msg, "line 1"));
        shut(&f);
    }
}

static void digitseq_peer_file(void **state) {
    (void)state;
    const char *path = data("data/weights/verl_arith_llama/train_prompts_800.jsonl");
    opened o =
        must_open(&hn_task_digitseq, (const char *const[]){ "task_file", path, "task_split", "train", NULL });
    assert_int_equal(o.t->count(o.priv, HN_SPLIT_TRAIN), 800);
    hn_item it = must_item(&o, HN_SPLIT_TRAIN, 0, 0);
    assert_int_equal(json_array_size(it.messages), 1); /* the peer's messages as they are */
    assert_string_equal(json_string_value(json_object_get(json_array_get(it.messages, 0), "content")),
                        "8,3:9,4");
    assert_string_equal(it.answer, "7,2,6,1");
    hn_item_release(&it);
    shut(&o);
}

/* ---- countdown ---- */
static void countdown_file(void **state) {
    (void)state;
    const char *path = data("data/reasoning/countdown_train.jsonl");
    opened o = must_open(&hn_task_countdown, (const char *const[]){ "task_file", path, NULL });
    int64_t all = 0;
    for (hn_split s = 0; s < HN_SPLITS; s++) all += o.t->count(o.priv, s);
    assert_int_equal(all, 8001);
    shut(&o);
    o = must_open(&hn_task_countdown, (const char *const[]){ "task_file", path, "task_split", "test", NULL });
    hn_item it = must_item(&o, HN_SPLIT_TEST, 0, 0); /* 44 19 35 to 98 */
    assert_string_equal(it.prompt, "Q: Use 44, 19, 35 to make 98.\nA:");
    assert_null(it.solution);
    assert_int_equal(verdict(&o, &it, "#### 44 + 19 + 35"), HN_PASS);
    assert_int_equal(verdict(&o, &it, "#### 98"), HN_FAIL);
    hn_item_release(&it);
    shut(&o);
    hn_err e = { 0 };
    const char *row = "{\"nums\": [1, 2], \"target\": 3}\n{\"nums\": [1, \"2\"], \"target\": 3}\n";
    o = open_with(&hn_task_countdown, (const char *const[]){ "task_file", write_file(row), NULL }, &e);
    assert_non_null(strstr(e.msg, "line 2: a row of countdown"));
    shut(&o);
}

/* ---- jsonl ---- */
static void jsonl_kinds(void **state) {
    (void)state;
    static const struct {
        const char *row, *set[7], *completion;
        hn_verdict v;
    } cases[] = {
        { "{\"question\":\"?\",\"answer\":\"Paris\"}", { NULL }, " Paris\n", HN_PASS },
        { "{\"question\":\"?\",\"answer\":\"Paris\"}", { NULL }, "paris", HN_FAIL },
        { "{\"question\":\"?\",\"answer\":\"Paris\"}", { "task_ignore_case", "true" }, "pARIS", HN_PASS },
        { "{\"question\":\"?\",\"answer\":\"Paris\"}",
          { "task_marker", "Answer:" },
          "x\nAnswer: Paris\ny",
          HN_PASS },
        { "{\"question\":\"?\",\"answer\":\"Paris\"}", { "task_marker", "Answer:" }, "Paris", HN_FAIL },
        { "{\"question\":\"?\",\"answer\":\"Paris\"}",
          { "task_extract", "<a>(.*?)</a>" },
          "<a>x</a><a>Paris</a>",
          HN_PASS },
        { "{\"question\":\"?\",\"answer\":\"Paris\"}", { "task_extract", "<a>(.*?)</a>" }, "Paris", HN_FAIL },
        { "{\"input\":\"?\",\"target\":43.0}", { "task_kind", "numeric" }, "so it is 43 shells", HN_PASS },
        { "{\"input\":\"?\",\"target\":43}", { NULL }, "43", HN_PASS },
        { "{\"input\":\"?\",\"target\":0.1}", { "task_kind", "numeric" }, "1/10", HN_PASS },
        { "{\"input\":\"?\",\"target\":43.0}",
          { "task_kind", "numeric", "task_marker", "=" },
          "= 43 or 44",
          HN_FAIL },
        { "{\"q\":\"?\",\"gold\":\"(B)\"}",
          { "task_kind", "choice", "task_prompt_key", "q" },
          "The answer is B.",
          HN_PASS },
        { "{\"problem\":\"?\",\"answer\":\"\\\\frac12\"}",
          { "task_kind", "boxed" },
          "$\\boxed{0.5}$",
          HN_PASS },
        { "{\"problem\":\"?\",\"answer\":\"\\\\boxed{5}\"}",
          { "task_kind", "boxed" },
          "\\boxed{5}",
          HN_PASS },
        { "{\"problem\":\"?\",\"answer\":\"5\"}", { "task_kind", "boxed" }, "5", HN_FAIL },
        { "{\"prompt\":\"?\",\"answer\":\"^(yes|no)$\"}", { "task_kind", "regex" }, "yes", HN_PASS },
        { "{\"prompt\":\"?\",\"answer\":\"^(yes|no)$\"}", { "task_kind", "regex" }, "maybe", HN_FAIL },
        { "{\"prompt\":\"?\",\"answer\":\"^(a+)+$\"}",
          { "task_kind", "regex" },
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
          HN_ERROR },
        { "{\"question\":\"?\",\"label\":true}", { NULL }, "true", HN_PASS },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *set[12] = { "task_file", write_file(cases[i].row), "task_split", "test" };
        for (int k = 0; cases[i].set[k]; k++) set[4 + k] = cases[i].set[k];
        opened o = must_open(&hn_task_jsonl, set);
        hn_item it = must_item(&o, HN_SPLIT_TEST, 0, 0);
        assert_string_equal(it.prompt, "?");
        if (verdict(&o, &it, cases[i].completion) != cases[i].v)
            fail_msg("case %zu: %s", i, cases[i].completion);
        hn_item_release(&it);
        shut(&o);
    }
}

static void jsonl_prompts(void **state) {
    (void)state;
    const char *row =
        "{\"q\":\"Pick.\",\"options\":[\"cat\",\"dog\"],\"answer\":\"B\",\"why\":\"dogs bark\"}";
    opened o =
        must_open(&hn_task_jsonl,
                  (const char *const[]){ "task_file", write_file(row), "task_split", "test", "task_kind",
                                         "choice", "task_prompt_key", "q", "task_choices_key", "options",
                                         "task_template", "[{}] ->", "task_solution_key", "why", NULL });
    hn_item it = must_item(&o, HN_SPLIT_TEST, 0, 0);
    assert_string_equal(it.prompt, "[Pick.\n(A) cat\n(B) dog] ->");
    assert_string_equal(it.solution, "dogs bark");
    hn_item_release(&it);
    about_says(&o, "question 'q', answer 'answer'");
    shut(&o);
    row = "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"u\"}],"
          "\"ground_truth\":\"8\",\"dataset\":\"x\"}";
    o = must_open(&hn_task_jsonl,
                  (const char *const[]){ "task_file", write_file(row), "task_split", "test", NULL });
    it = must_item(&o, HN_SPLIT_TEST, 0, 0);
    assert_null(it.prompt);
    assert_int_equal(json_array_size(it.messages), 2);
    assert_string_equal(it.answer, "8");
    hn_item_release(&it);
    shut(&o);
    o = must_open(&hn_task_jsonl,
                  (const char *const[]){ "task_file", write_file("{\"prompt\":\"u\",\"answer\":\"8\"}"),
                                         "task_split", "test", "task_form", "messages", NULL });
    it = must_item(&o, HN_SPLIT_TEST, 0, 0);
    assert_string_equal(json_string_value(json_object_get(json_array_get(it.messages, 0), "content")), "u");
    hn_item_release(&it);
    shut(&o);
}

static void jsonl_refusals(void **state) {
    (void)state;
    static const struct {
        const char *rows, *set[5], *says;
    } cases[] = {
        { "{\"x\":1}", { NULL }, "line 1: no column with a usual name: give task_prompt_key" },
        { "{\"question\":\"?\"}", { NULL }, "give task_answer_key" },
        { "{\"question\":\"?\",\"answer\":\"x\"}", { "task_answer_key", "y" }, "line 1: column 'y'" },
        { "{\"question\":5,\"answer\":\"x\"}", { NULL }, "line 1: column 'question' must be text" },
        { "{\"question\":[],\"answer\":\"x\"}", { NULL }, "column 'question' must be text" },
        { "{\"question\":\"?\",\"answer\":\"4\"}\n{\"question\":\"?\",\"answer\":\"x\"}",
          { "task_kind", "numeric" },
          "line 2: 'x' in column 'answer' is not a number" },
        { "{\"question\":\"?\",\"answer\":\"42\"}", { "task_kind", "choice" }, "not a choice letter" },
        { "{\"question\":\"?\",\"answer\":\"(\"}", { "task_kind", "regex" }, "line 1: pattern '('" },
        { "{\"question\":\"?\",\"answer\":null}",
          { NULL },
          "line 1: column 'answer' is null or empty; task_skip_null" },
        { "{\"question\":\"?\",\"answer\":[1]}", { NULL }, "line 1: column 'answer' must be" },
        { "{\"question\":\"?\",\"answer\":\"x\"}", { "task_extract", "(" }, "task_extract: pattern" },
        { "{\"question\":\"?\",\"answer\":\"x\"}", { "task_template", "x" }, "has no {}" },
        { "{\"question\":\"?\",\"answer\":\"x\"}", { "task_extract", "x", "task_marker", "y" }, "not both" },
        { "{\"question\":\"?\",\"answer\":\"x\"}", { "task_choices_key", "c" }, "column 'c' must be a list" },
        { "{\"question\":\"?\",\"answer\":\"x\"}", { "task_solution_key", "c" }, "column 'c' must be text" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *set[12] = { "task_file", write_file(cases[i].rows) };
        for (int k = 0; cases[i].set[k]; k++) set[2 + k] = cases[i].set[k];
        hn_err e = { 0 };
        opened o = open_with(&hn_task_jsonl, set, &e);
        assert_null(o.priv);
        if (!strstr(e.msg, cases[i].says)) fail_msg("case %zu: %s", i, e.msg);
        shut(&o);
    }
}

/* Files that others wrote open and verify their own golds. */
static void jsonl_real_files(void **state) {
    (void)state;
    static const struct {
        const char *file, *set[5];
        int64_t rows;
    } cases[] = {
        { "data/math/mawps_addsub.jsonl", { "task_kind", "numeric" }, 395 },
        { "data/math/mawps_multiarith.jsonl", { "task_kind", "numeric" }, 600 },
        { "data/math/mawps_singleeq.jsonl", { "task_kind", "numeric" }, 508 },
        { "data/math/mawps_singleop.jsonl", { "task_kind", "numeric" }, 562 },
        { "data/math/mawps_test.jsonl", { "task_kind", "numeric" }, 2065 },
        { "data/math/math_train_7474.json", { "task_kind", "boxed", "task_skip_null", "true" }, 7470 },
        { "data/instruct/open_instruct_rlvr_sample.jsonl", { "task_kind", "boxed" }, 100 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *set[12] = { "task_file", data(cases[i].file), "task_split", "train" };
        for (int k = 0; cases[i].set[k]; k++) set[4 + k] = cases[i].set[k];
        opened o = must_open(&hn_task_jsonl, set);
        if (cases[i].set[2]) about_says(&o, "4 rows left out");
        assert_int_equal(o.t->count(o.priv, HN_SPLIT_TRAIN), cases[i].rows);
        for (int64_t k = 0; k < cases[i].rows; k++) {
            hn_item it = must_item(&o, HN_SPLIT_TRAIN, 0, k);
            hn_buf text = { 0 };
            bool boxed = !strcmp(cases[i].set[1], "boxed");
            hn_buf_fmt(&text, boxed ? "so \\boxed{%s}" : "so it is %s.", it.answer);
            if (verdict(&o, &it, text.data) != HN_PASS)
                fail_msg("%s row %lld: %s", set[1], (long long)k, text.data);
            hn_buf_free(&text);
            hn_item_release(&it);
        }
        shut(&o);
    }
}

/* ---- no memory ---- */
static int open_and_ask(void *ctx, hn_err *e) {
    const char *const *kv = ctx;
    const hn_task *t = hn_task_find(kv[0], e);
    hn_optset *set = hn_optset_new();
    void *priv = NULL;
    hn_item it = { 0 };
    int rc = set ? 0 : hn_fail(e, HN_ENOMEM, "options");
    for (kv++; !rc && *kv; kv += 2) rc = hn_optset_set(set, kv[0], kv[1], e);
    if (!rc) rc = hn_task_new(&priv, t, set, e);
    if (!rc) rc = t->open(priv, e);
    if (!rc) rc = t->item(priv, HN_SPLIT_GATE, 0, 0, &it, e);
    hn_item_release(&it);
    hn_task_free(t, priv);
    hn_optset_free(set);
    return rc;
}

static void out_of_memory(void **state) {
    (void)state;
    const char *rows =
        "{\"question\":\"a\",\"answer\":\"#### 4\"}\n{\"question\":\"b\",\"answer\":\"#### 5\"}\n";
    const char *path = write_file(rows);
    const char *const gsm[] = { "gsm8k", "task_file", path, "task_split", "gate", NULL };
    const char *const ask[] = { "jsonl",     "task_file", path,           "task_split", "gate",
                                "task_kind", "regex",     "task_extract", "(.*)",       NULL };
    const char *const digits[] = { "digitseq", "task_max_number", "2", NULL };
    assert_true(torture(open_and_ask, (void *)(uintptr_t)gsm) > 5);
    assert_true(torture(open_and_ask, (void *)(uintptr_t)ask) > 5);
    assert_true(torture(open_and_ask, (void *)(uintptr_t)digits) > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gsm8k),
        cmocka_unit_test(gsm8k_marks_and_errors),
        cmocka_unit_test(digitseq),
        cmocka_unit_test(digitseq_peer_file),
        cmocka_unit_test(countdown_file),
        cmocka_unit_test(jsonl_kinds),
        cmocka_unit_test(jsonl_prompts),
        cmocka_unit_test(jsonl_refusals),
        cmocka_unit_test(jsonl_real_files),
        cmocka_unit_test(out_of_memory),
    };
    if (!(dir = scratch_dir())) return 1;
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    hn_dir_remove(dir, NULL);
    return rc ? 1 : absent ? SKIPPED : 0;
}
