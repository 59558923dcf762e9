/* opt.c - options from flags, files and tables that come late; every wrong line names its place. */
#include "base/opt.h"
#include "base/io.h"

#include <string.h>
#include <unistd.h>

#include "torture.h"

typedef struct fields {
    int64_t steps, seed;
    double lr, beta;
    bool packing, std;
    const char *model, *out;
    int dtype;
    hn_strs stop;
} fields;

static const hn_opt table[] = {
    { "max_steps", "how many steps", HN_OPT_INT, offsetof(fields, steps), .def = 100, .min = 1, .max = 1e6 },
    { "seed", "the seed", HN_OPT_INT, offsetof(fields, seed) },
    { "learning_rate", "peak rate", HN_OPT_NUM, offsetof(fields, lr), .def = 1e-6, .min = 0, .max = 1 },
    { "beta", "weight of the KL term", HN_OPT_NUM, offsetof(fields, beta), .def = 0.1, .min = 0,
      .max = 1e30 },
    { "packing", "pack rows", HN_OPT_BOOL, offsetof(fields, packing), .def = 1 },
    { "scale_std", "divide by the deviation", HN_OPT_BOOL, offsetof(fields, std) },
    { "model", "a model folder", HN_OPT_STR, offsetof(fields, model) },
    { "out", "where results go", HN_OPT_STR, offsetof(fields, out), .sdef = "out" },
    { "dtype", "number format", HN_OPT_ENUM, offsetof(fields, dtype), .def = 2, .choices = "f32|bf16|auto" },
    { "stop", "stop strings", HN_OPT_LIST, offsetof(fields, stop), .sdef = "a,b" },
    { 0 },
};

typedef struct late {
    int64_t digits;
    bool hard;
} late;

static const hn_opt late_table[] = {
    { "digits", "length of a number", HN_OPT_INT, offsetof(late, digits), .def = 3, .min = 1, .max = 9 },
    { "hard", "harder ones", HN_OPT_BOOL, offsetof(late, hard) },
    { 0 },
};

enum { MOST_ARGS = 32 };

/* Splits at spaces and parses; "_" inside a word stands for itself.  The set and its fields are global to
 * a test, so that it can look at them. */
static hn_optset *set;
static fields f;
static hn_err err;

static int parse(const char *line) {
    static char text[1000];
    char *argv[MOST_ARGS];
    int argc = 0, rc;
    memset(&err, 0, sizeof err);
    hn_optset_free(set);
    set = hn_optset_new();
    assert_non_null(set);
    assert_int_equal(hn_optset_add(set, "Options", table, &f, &err), HN_OK);
    assert_int_equal(hn_optset_alias(set, "model_name_or_path", "model", &err), HN_OK);
    assert_int_equal(hn_optset_ignored(set, "bf16_full_eval", "evaluation is always f32", &err), HN_OK);
    snprintf(text, sizeof text, "%s", line);
    for (char *w = strtok(text, " "); w; w = strtok(NULL, " ")) argv[argc++] = w;
    rc = hn_optset_args(set, argc, argv, &err);
    return rc ? rc : hn_optset_done(set, &err);
}

static void ok(const char *line) {
    if (parse(line)) fail_msg("%s: %s", line, err.msg);
}

static void bad(const char *line, int code, const char *message) {
    int rc = parse(line);
    if (rc != code || err.code != code || !strstr(err.msg, message))
        fail_msg("%s: code %d, \"%s\"; want %d, \"%s\"", line, rc, err.msg, code, message);
}

static const char *config(const char *text) {
    static char path[100];
    snprintf(path, sizeof path, "/tmp/hone-opt-test.%d.yaml", (int)getpid());
    assert_int_equal(hn_file_write(path, text, strlen(text), NULL), HN_OK);
    return path;
}

static const char *with_config(const char *text, const char *flags) {
    static char line[300];
    snprintf(line, sizeof line, "--config %s %s", config(text), flags);
    return line;
}

static void bad_config(const char *text, const char *message) {
    bad(with_config(text, ""), HN_EPARSE, message);
}

static int done(void **state) {
    (void)state;
    hn_optset_free(set);
    set = NULL;
    unlink(config(""));
    return 0;
}

static void defaults(void **state) {
    (void)state;
    ok("");
    assert_int_equal(f.steps, 100);
    assert_true(f.lr == 1e-6 && f.packing && !f.std && !f.model);
    assert_string_equal(f.out, "out");
    assert_int_equal(f.dtype, 2);
    assert_int_equal(f.stop.n, 2);
    assert_false(hn_optset_given(set, "seed"));
    assert_false(hn_optset_given(set, "nonsense"));
}

static void flags(void **state) {
    (void)state;
    ok("--max-steps 7 --seed=-3 --learning_rate 1e-5 --no_packing --scale-std --model-name-or-path m --dtype "
       "bf16");
    assert_int_equal(f.steps, 7);
    assert_int_equal(f.seed, -3);
    assert_true(f.lr == 1e-5 && !f.packing && f.std);
    assert_string_equal(f.model, "m");
    assert_int_equal(f.dtype, 1);
    assert_true(hn_optset_given(set, "model") && hn_optset_given(set, "model_name_or_path"));
    assert_true(hn_optset_given(set, "packing") && !hn_optset_given(set, "stop"));
    ok("--max_steps 1e3 --packing no --scale_std 1 --out=");
    assert_int_equal(f.steps, 1000);
    assert_true(!f.packing && f.std);
    assert_string_equal(f.out, "");
    ok("--seed 9007199254740993"); /* not through a double */
    assert_true(f.seed == 9007199254740993);
    ok("--beta +.5");
    assert_true(f.beta == 0.5);
}

static void lists(void **state) {
    (void)state;
    ok("--stop x --stop=y,z");
    assert_int_equal(f.stop.n, 3);
    assert_string_equal(f.stop.s[2], "z");
    ok("--stop \\,,\\n");
    assert_int_equal(f.stop.n, 2);
    assert_string_equal(f.stop.s[0], ",");
    assert_string_equal(f.stop.s[1], "\\n");
    ok("--stop=");
    assert_int_equal(f.stop.n, 0);
    ok("--stop a,,");
    assert_int_equal(f.stop.n, 3);
    ok(with_config("stop: [\"a,b\", c]\n", ""));
    assert_int_equal(f.stop.n, 2);
    assert_string_equal(f.stop.s[0], "a,b");
    ok(with_config("stop: [q]\n", "--stop x"));
    assert_int_equal(f.stop.n, 1);
    assert_string_equal(f.stop.s[0], "x");
    ok(with_config("stop: []\n", ""));
    assert_int_equal(f.stop.n, 0);
}

static void words(void **state) {
    (void)state;
    const char *const *w;
    ok("one --scale_std two --no_packing three --packing true four -- --five - -6");
    assert_int_equal(hn_optset_words(set, &w), 7);
    static const char *const want[] = { "one", "two", "three", "four", "--five", "-", "-6" };
    for (int i = 0; i < 7; i++) assert_string_equal(w[i], want[i]);
    assert_true(f.std && f.packing);
    bad("-x", HN_EPARSE, "-x: options have two dashes");
}

static void wrong_flags(void **state) {
    (void)state;
    bad("--max_steps 2.5", HN_EPARSE, "--max_steps: \"2.5\" is not a whole number");
    bad("--max_steps abc", HN_EPARSE, "not a whole number");
    bad("--max_steps 5x", HN_EPARSE, "not a whole number");
    bad("--max_steps --5", HN_EPARSE, "--max_steps: needs a value");
    bad("--seed 99999999999999999999", HN_EPARSE, "not a whole number");
    bad("--max_steps 0", HN_ERANGE, "--max_steps: 0 is out of range; from 1 to 1000000");
    bad("--learning_rate nan", HN_EPARSE, "not a number");
    bad("--learning_rate inf", HN_EPARSE, "not a number");
    bad("--learning_rate 1e999", HN_EPARSE, "not a number");
    bad("--learning_rate 0x1", HN_EPARSE, "not a number");
    bad("--learning_rate 1.5", HN_ERANGE, "from 0 to 1");
    bad("--learning_rate= ", HN_EPARSE, "\"\" is not a number");
    bad("--beta -1", HN_ERANGE, "--beta: -1 is too small; at least 0");
    bad("--packing=maybe", HN_EPARSE, "\"maybe\" is not true or false");
    bad("--no_packing=true", HN_EPARSE, "takes no value");
    bad("--no_seed", HN_EPARSE, "--no_seed: no such option");
    bad("--dtype f16", HN_EPARSE, "\"f16\" is not one of f32|bf16|auto");
    bad("--dtype f3", HN_EPARSE, "not one of");
    bad("--model", HN_EPARSE, "--model: needs a value");
    bad("--lerning-rate 1", HN_EPARSE, "--lerning-rate: no such option here; did you mean --learning_rate");
    bad("--zzzzzzzz", HN_EPARSE, "see --help");
    bad("--", HN_OK, "");
    bad("--config", HN_EPARSE, "--config: needs the name");
    bad("--config /nonexistent/x.yaml", HN_EIO, "/nonexistent/x.yaml");
}

static void warnings(void **state) {
    (void)state;
    const char *const *w;
    ok("--seed 1 --seed 2 --bf16-full-eval true");
    assert_int_equal(f.seed, 2);
    assert_int_equal(hn_optset_warnings(set, &w), 2);
    assert_string_equal(w[0], "--seed: given more than once; the last one counts");
    assert_string_equal(w[1], "--bf16-full-eval: has no effect here: evaluation is always f32");
}

static void files(void **state) {
    (void)state;
    const char *const *w;
    ok(with_config(
        "# a comment\nlearning-rate: 2e-5\nmax_steps: 50 # fifty\npacking: No\nmodel: null\nout: \"null\"\n"
        "dtype: 'f32'\nseed: ~\nenv:\n  A: {b: [c]}\nscale_std: yes\n",
        "--max_steps 60"));
    assert_true(f.lr == 2e-5 && !f.packing && f.std && !f.model && f.seed == 0 && f.dtype == 0);
    assert_int_equal(f.steps, 60);
    assert_string_equal(f.out, "null");
    assert_int_equal(hn_optset_warnings(set, &w), 1);
    assert_non_null(strstr(w[0], ".yaml:9: env: ignored"));
    ok(with_config("", ""));
    ok(with_config("---\nseed: 4\n...\n", ""));
    assert_int_equal(f.seed, 4);
    assert_int_equal(hn_optset_set(set, "seed", "5", &err), HN_OK);
    assert_int_equal(f.seed, 5);
    ok(with_config("seed: 3\n", "--seed 6"));
    assert_int_equal(hn_optset_set(set, "seed", "7", &err), HN_OK);
    assert_int_equal(f.seed, 6);
    assert_int_equal(hn_optset_set(set, "seed", "x", &err), HN_EPARSE);
}

static void wrong_files(void **state) {
    (void)state;
    bad_config("seed: 1\nmax_steps: 2.5\n", ".yaml:2: max_steps: \"2.5\" is not a whole number");
    bad(with_config("max_steps: x\n", "--max_steps 5"), HN_EPARSE, ".yaml:1: max_steps: \"x\"");
    bad_config("seed: 1\nmodel: {a: 1}\n", ".yaml:2: model: a mapping inside");
    bad_config("stop: [a, [b]]\n", ".yaml:1: stop: a list may hold only plain values");
    bad_config("seed: [1]\n", ".yaml:1: seed: takes one value, not a list");
    bad_config("seed: 1\nlr: 1\nseed: 2\n", ".yaml:3: seed: given twice, first in line 1");
    bad_config("model: a\nmodel-name-or-path: b\n",
               ".yaml:2: model-name-or-path: given twice, first in line 1");
    bad_config("a: &x 1\nb: *x\n", ".yaml:2: b: anchors and aliases");
    bad_config("seed: !!int 1\n", "tags");
    bad_config("- a\n", ".yaml:1: a config file holds lines of `key: value`");
    bad_config("just words\n", "a config file holds lines");
    bad_config("seed: 1\n---\nseed: 2\n", ".yaml:2: a second document");
    bad_config("[a]: 1\n", "a key must be a plain word");
    bad_config("config: x\n", "config: a config file cannot name another one");
    bad_config("seed: \"a\\0b\"\n", "0 byte");
    bad_config("seed: 'open\n", "not valid YAML");
    bad_config("seed: 1\n\tmax_steps: 2\n", "not valid YAML");
    bad_config("stepz: 1\nmax_stepz: 1\n", ".yaml:1: stepz: no such option");
    bad_config("max_stepz: 1\n", ".yaml:1: max_stepz: no such option here; did you mean max_steps");
}

/* A task's table is known only after --task was read: flags wait for it, and a word that a flag seemed
 * to take comes back. */
static void late_tables(void **state) {
    (void)state;
    const char *const *w;
    late l;
    char *argv[] = { "--hard", "word", "--digits", "4", "last" };
    ok("");
    assert_int_equal(hn_optset_args(set, 5, argv, &err), HN_OK);
    assert_int_equal(hn_optset_done(set, &err), HN_EPARSE);
    assert_int_equal(hn_optset_words(set, &w), 1);
    memset(&err, 0, sizeof err);
    assert_int_equal(hn_optset_add(set, "Task", late_table, &l, &err), HN_OK);
    assert_int_equal(hn_optset_done(set, &err), HN_OK);
    assert_true(l.hard && l.digits == 4);
    assert_int_equal(hn_optset_words(set, &w), 2);
    assert_string_equal(w[0], "word");
    assert_string_equal(w[1], "last");
    assert_int_equal(hn_optset_add(set, "Again", late_table, &l, &err), HN_EUNSUP);
    assert_non_null(strstr(err.msg, "digits is in two tables, \"Task\" and \"Again\""));
}

static void shown(void **state) {
    (void)state;
    hn_buf b = { 0 };
    ok("--model a\"b\\\xff\xc3\xa9 --learning_rate 1e-5 --stop x,y --beta 0.30000000000000004 --dtype f32");
    hn_optset_json(set, &b);
    assert_string_equal(b.data,
                        "{\"beta\": 0.30000000000000004, \"dtype\": \"f32\", \"learning_rate\": 1e-05, "
                        "\"max_steps\": 100, \"model\": \"a\\\"b\\\\\\ufffd\xc3\xa9\", \"out\": \"out\", "
                        "\"packing\": true, \"scale_std\": false, \"seed\": 0, \"stop\": [\"x\", \"y\"]}");
    hn_buf_clear(&b);
    hn_optset_help(set, &b);
    assert_non_null(
        strstr(b.data, "Options:\n  --max_steps N                 how many steps (default 100)\n"));
    assert_non_null(strstr(b.data, "  --[no_]packing"));
    assert_non_null(strstr(b.data, "number format: f32|bf16|auto (default auto)"));
    assert_non_null(strstr(b.data, "a model folder (also --model_name_or_path)"));
    for (char *line = strtok(b.data, "\n"); line; line = strtok(NULL, "\n")) assert_true(strlen(line) <= 100);
    hn_buf_free(&b);
}

static void nearest(void **state) {
    (void)state;
    static const char *const list[] = { "train", "eval", "generate", "learning_rate" };
    assert_string_equal(hn_nearest("tarin", list, 4), "train"); /* one swap, not two changes */
    static const char *const ten[] = { "ten" };
    assert_string_equal(hn_nearest("tne", ten, 1), "ten");
    assert_string_equal(hn_nearest("evl", list, 4), "eval");
    assert_string_equal(hn_nearest("generat", list, 4), "generate");
    assert_string_equal(hn_nearest("learnig_rat", list, 4), "learning_rate");
    assert_null(hn_nearest("zzz", list, 4));
    assert_null(hn_nearest("", list, 4));
    char longer[500];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    assert_null(hn_nearest(longer, list, 4));
}

static int everything(void *path, hn_err *e) {
    fields g;
    late l;
    hn_buf b = { 0 };
    char *argv[] = { "--config", path, "--seed", "1", "--seed", "2", "--hard", "word", "--stop", "a,b" };
    hn_optset *s = hn_optset_new();
    int rc = s ? HN_OK : hn_fail(e, HN_ENOMEM, "out of memory");
    if (!rc) rc = hn_optset_alias(s, "model_name_or_path", "model", e);
    if (!rc) rc = hn_optset_ignored(s, "fp16", "why", e);
    if (!rc) rc = hn_optset_add(s, "A", table, &g, e);
    if (!rc) rc = hn_optset_args(s, 10, argv, e);
    if (!rc) rc = hn_optset_add(s, "B", late_table, &l, e);
    if (!rc) rc = hn_optset_set(s, "beta", "0.5", e);
    if (!rc) rc = hn_optset_done(s, e);
    if (!rc) {
        hn_optset_json(s, &b);
        hn_optset_help(s, &b);
        if (b.oom) rc = hn_fail(e, HN_ENOMEM, "out of memory");
        hn_buf_free(&b);
    }
    hn_optset_free(s);
    return rc;
}

static void out_of_memory(void **state) {
    (void)state;
    const char *path =
        config("learning_rate: 0.5\nfp16: true\nenv:\n  a: b\nstop: [x, y]\nmodel_name_or_path: m\n");
    assert_true(torture(everything, (void *)(uintptr_t)path) > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults), cmocka_unit_test(flags),       cmocka_unit_test(lists),
        cmocka_unit_test(words),    cmocka_unit_test(wrong_flags), cmocka_unit_test(warnings),
        cmocka_unit_test(files),    cmocka_unit_test(wrong_files), cmocka_unit_test(late_tables),
        cmocka_unit_test(shown),    cmocka_unit_test(nearest),     cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests_name("opt", tests, NULL, done);
}
