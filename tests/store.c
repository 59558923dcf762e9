/* store.c - the run store: every row back as it was written, steps once after a resume, several processes,
 * kills, and files that are not ours. */
#include "store/store.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "shared.h"

static const char *dir;
static char path[512];

static hn_store *fresh(const char *name) {
    hn_store *s;
    hn_err e = { 0 };
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (hn_store_open(&s, path, &e)) fail_msg("%s", e.msg);
    return s;
}

static int64_t new_run(hn_store *s, const char *config, int64_t parent) {
    hn_runrow r = { .parent = parent,
                    .command = "sft",
                    .config = config,
                    .seed = -7,
                    .started = 100.5,
                    .out = "o\xc3\xbat" };
    int64_t id = 0;
    hn_err e = { 0 };
    if (hn_store_run_new(s, &r, &id, &e)) fail_msg("%s", e.msg);
    return id;
}

/* Everything that reading gives, as one text. */
static int put_run(void *ctx, const hn_runrow *r) {
    hn_buf_fmt(ctx, "run %lld<%lld %s %s %s out=%s tier=%s seed=%lld %.1f-%.1f\n", (long long)r->id,
               (long long)r->parent, r->command, r->config, r->status, r->out, r->tier ? r->tier : "-",
               (long long)r->seed, r->started, r->finished);
    return 0;
}

static int put_metric(void *ctx, int64_t step, const char *key, double value) {
    hn_buf_fmt(ctx, "%s@%lld=%g\n", key, (long long)step, value);
    return 0;
}

static int put_sample(void *ctx, const hn_samplerow *x) {
    hn_buf_fmt(ctx, "%lld/%lld [%s] -> [%s] %g %s %s\n", (long long)x->step, (long long)x->index, x->prompt,
               x->completion, x->reward, x->verdict ? x->verdict : "-", x->json ? x->json : "-");
    return 0;
}

static int put_checkpoint(void *ctx, int64_t step, const char *file, const char *sha) {
    hn_buf_fmt(ctx, "checkpoint %lld %s %s\n", (long long)step, file, sha ? sha : "-");
    return 0;
}

static int put_round(void *ctx, const hn_roundrow *x) {
    hn_buf_fmt(ctx, "round %lld %d %g %g %g %s\n", (long long)x->round, x->accepted, x->before, x->after,
               x->p, x->receipt);
    return 0;
}

static int put_pair(void *ctx, const char *kind, const char *key, const char *a, const char *b) {
    hn_buf_fmt(ctx, "%s %s: %s | %s\n", kind, key, a ? a : "-", b ? b : "-");
    return 0;
}

static void is(hn_buf *b, const char *want) {
    assert_string_equal(b->data ? b->data : "", want);
    hn_buf_clear(b);
}

static void everything_back(void **state) {
    (void)state;
    static const char *const keys[] = { "loss", "reward" };
    hn_store *s = fresh("back.db");
    hn_buf b = { 0 };
    hn_err e = { 0 };
    int64_t first = new_run(s, "{\"lr\": 0.1}", 0), run = new_run(s, "{}", first);
    for (int64_t step = 0; step < 3; step++) {
        assert_int_equal(hn_store_begin(s, &e), HN_OK);
        assert_int_equal(hn_store_metrics(s, run, step, 2, keys, (double[]){ 3.0 - (double)step, NAN }, &e),
                         HN_OK);
        hn_samplerow x = { step, 0, "2+2=", "4 \xe2\x9c\x93\n", 1, "pass", "{\"len\":2}" },
                     y = { step, 1, "", "", NAN, NULL, NULL };
        assert_int_equal(hn_store_sample(s, run, &x, &e), HN_OK);
        assert_int_equal(hn_store_sample(s, run, &y, &e), HN_OK);
        assert_int_equal(hn_store_commit(s, &e), HN_OK);
    }
    assert_int_equal(hn_store_metric(s, run, 1, "inf", INFINITY, &e), HN_OK);
    assert_int_equal(hn_store_metric(s, first, 1, "loss", 9, &e), HN_OK);
    assert_int_equal(hn_store_checkpoint(s, run, 2, "out/checkpoint-2", "abc", &e), HN_OK);
    assert_int_equal(hn_store_checkpoint(s, run, 1, "out/checkpoint-1", NULL, &e), HN_OK);
    hn_roundrow r = { 1, true, 0.25, 0.5, 0.01, "round-1/receipt.json", "ff" };
    assert_int_equal(hn_store_round(s, run, &r, &e), HN_OK);
    assert_int_equal(hn_store_run_status(s, run, "done", 200, &e), HN_OK);
    hn_store_close(s);

    s = fresh("back.db");
    assert_int_equal(hn_store_runs(s, put_run, &b, &e), HN_OK);
    is(&b, "run 1<0 sft {\"lr\": 0.1} running out=o\xc3\xbat tier=- seed=-7 100.5-0.0\n"
           "run 2<1 sft {} done out=o\xc3\xbat tier=- seed=-7 100.5-200.0\n");
    assert_int_equal(hn_store_last(s, run, put_metric, &b, &e), HN_OK);
    is(&b, "inf@1=inf\nloss@2=1\nreward@2=nan\n");
    assert_int_equal(hn_store_series(s, run, "loss", put_metric, &b, &e), HN_OK);
    is(&b, "loss@0=3\nloss@1=2\nloss@2=1\n");
    assert_int_equal(hn_store_series(s, first, NULL, put_metric, &b, &e), HN_OK);
    is(&b, "loss@1=9\n");
    assert_int_equal(hn_store_samples(s, run, 1, 1, put_sample, &b, &e), HN_OK);
    is(&b, "1/0 [2+2=] -> [4 \xe2\x9c\x93\n] 1 pass {\"len\":2}\n1/1 [] -> [] nan - -\n");
    assert_int_equal(hn_store_checkpoints(s, run, put_checkpoint, &b, &e), HN_OK);
    is(&b, "checkpoint 1 out/checkpoint-1 -\ncheckpoint 2 out/checkpoint-2 abc\n");
    assert_int_equal(hn_store_rounds(s, run, put_round, &b, &e), HN_OK);
    is(&b, "round 1 1 0.25 0.5 0.01 round-1/receipt.json\n");
    hn_store_close(s);
    hn_buf_free(&b);
}

/* A step written again replaces itself; a rewind forgets what came after the checkpoint, of this run only. */
static void steps_once(void **state) {
    (void)state;
    hn_store *s = fresh("once.db");
    hn_buf b = { 0 };
    hn_err e = { 0 };
    int64_t run = new_run(s, "{}", 0), other = new_run(s, "{}", 0);
    for (int64_t step = 1; step <= 4; step++)
        for (int k = 0; k < 2; k++) {
            hn_samplerow x = { step, 0, "p", k ? "second" : "first", k, NULL, NULL };
            assert_int_equal(hn_store_metric(s, run, step, "loss", (double)step + 0.5 * k, &e), HN_OK);
            assert_int_equal(hn_store_metric(s, other, step, "loss", 7, &e), HN_OK);
            assert_int_equal(hn_store_sample(s, run, &x, &e), HN_OK);
            assert_int_equal(hn_store_checkpoint(s, run, step, "c", NULL, &e), HN_OK);
        }
    assert_int_equal(hn_store_run_status(s, run, "failed", 5, &e), HN_OK);
    assert_int_equal(hn_store_rewind(s, run, 2, &e), HN_OK);
    assert_int_equal(hn_store_metric(s, run, 3, "loss", 33, &e), HN_OK);
    assert_int_equal(hn_store_series(s, run, NULL, put_metric, &b, &e), HN_OK);
    is(&b, "loss@1=1.5\nloss@2=2.5\nloss@3=33\n");
    assert_int_equal(hn_store_samples(s, run, 0, 99, put_sample, &b, &e), HN_OK);
    is(&b, "1/0 [p] -> [second] 1 - -\n2/0 [p] -> [second] 1 - -\n");
    assert_int_equal(hn_store_checkpoints(s, run, put_checkpoint, &b, &e), HN_OK);
    is(&b, "checkpoint 1 c -\ncheckpoint 2 c -\n");
    assert_int_equal(hn_store_series(s, other, NULL, put_metric, &b, &e), HN_OK);
    is(&b, "loss@1=7\nloss@2=7\nloss@3=7\nloss@4=7\n");
    assert_int_equal(hn_store_run(s, run, put_run, &b, &e), HN_OK);
    assert_non_null(strstr(b.data, "running out="));
    hn_store_close(s);
    hn_buf_free(&b);
}

static int stop_at_two(void *ctx, const hn_runrow *r) {
    ++*(int *)ctx;
    return r->id == 2 ? 42 : 0;
}

static void wrong_requests(void **state) {
    (void)state;
    hn_store *s = fresh("wrong.db");
    hn_err e = { 0 };
    int seen = 0;
    for (int i = 0; i < 3; i++) new_run(s, "{}", 0);
    assert_int_equal(hn_store_runs(s, stop_at_two, &seen, &e), 42);
    assert_int_equal(seen, 2);
    assert_int_equal(hn_store_run(s, 99, put_run, NULL, &e), HN_EPARSE);
    assert_non_null(strstr(e.msg, "there is no run 99"));
    e.code = 0;
    assert_int_equal(hn_store_run_status(s, 99, "done", 1, &e), HN_EPARSE);
    e.code = 0;
    assert_int_equal(hn_store_metric(s, 99, 1, "k", 1, &e), HN_EPARSE);
    assert_non_null(strstr(e.msg, "wrong.db"));
    e.code = 0;
    hn_runrow r = { .command = "x", .config = "{not json" };
    int64_t id;
    assert_int_equal(hn_store_run_new(s, &r, &id, &e), HN_EPARSE);
    e.code = 0; /* one bad row undoes its whole step */
    static const char *const keys[] = { "good", NULL };
    assert_int_equal(hn_store_metrics(s, 1, 1, 2, keys, (double[]){ 1, 2 }, &e), HN_EPARSE);
    hn_buf b = { 0 };
    assert_int_equal(hn_store_last(s, 1, put_metric, &b, NULL), HN_OK);
    is(&b, "");
    hn_buf_free(&b);
    hn_store_close(s);
}

static void compared(void **state) {
    (void)state;
    hn_store *s = fresh("compare.db");
    hn_buf b = { 0 };
    hn_err e = { 0 };
    int64_t x = new_run(s, "{\"lr\":1e-5,\"same\":3,\"b\":true,\"l\":[1],\"only\":null}", 0);
    int64_t y = new_run(s, "{\"lr\":2e-5,\"same\":3.0,\"b\":false,\"l\":[2],\"new\":\"text\"}", 0);
    hn_store_metric(s, x, 1, "loss", 2, &e), hn_store_metric(s, x, 5, "loss", 1.5, &e);
    hn_store_metric(s, y, 5, "loss", 1.25, &e), hn_store_metric(s, y, 5, "kl", NAN, &e);
    assert_int_equal(hn_store_compare(s, x, y, put_pair, &b, &e), HN_OK);
    is(&b, "config b: true | false\nconfig l: [1] | [2]\nconfig lr: 1.0e-05 | 2.0e-05\nconfig new: - | text\n"
           "config only: null | -\nmetric kl: - | nan\nmetric loss: 1.5 | 1.25\n");
    assert_int_equal(hn_store_compare(s, x, 77, put_pair, &b, &e), HN_EPARSE);
    hn_store_close(s);
    hn_buf_free(&b);
}

/* ---- other processes ---- */
static void killed_inside_a_step(void **state) {
    (void)state;
    hn_store *s = fresh("killed.db");
    hn_buf b = { 0 };
    hn_err e = { 0 };
    int64_t run = new_run(s, "{}", 0);
    hn_store_close(s); /* a connection must not cross a fork */
    pid_t child = fork();
    if (!child) {
        hn_store *c;
        if (hn_store_open(&c, path, NULL) || hn_store_metric(c, run, 1, "a", 1, NULL) ||
            hn_store_begin(c, NULL) || hn_store_metric(c, run, 2, "a", 2, NULL))
            _exit(1);
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    s = fresh("killed.db");
    assert_int_equal(hn_store_series(s, run, NULL, put_metric, &b, &e), HN_OK);
    is(&b, "a@1=1\n");
    assert_int_equal(hn_store_metric(s, run, 2, "a", 3, &e), HN_OK); /* nothing is locked */
    assert_int_equal(hn_store_sync(s, &e), HN_OK);
    hn_store_close(s);
    hn_buf_free(&b);
}

enum { PROCESSES = 6, STEPS = 30 };

static void together(void **state) {
    (void)state;
    snprintf(path, sizeof path, "%s/together.db", dir); /* created by whoever is first */
    pid_t child[PROCESSES];
    for (int p = 0; p < PROCESSES; p++)
        if (!(child[p] = fork())) {
            static const char *const keys[] = { "a", "b", "c" };
            hn_store *s;
            hn_err e = { 0 };
            hn_runrow r = { .command = "sft", .config = "{}" };
            int64_t run;
            int rc = hn_store_open(&s, path, &e);
            if (!rc) rc = hn_store_run_new(s, &r, &run, &e);
            for (int k = 0; !rc && k < STEPS; k++)
                rc = hn_store_metrics(s, run, k, 3, keys, (double[]){ k, k, k }, &e);
            if (rc) fprintf(stderr, "process %d: %s\n", p, e.msg);
            _exit(rc ? 1 : 0);
        }
    for (int p = 0; p < PROCESSES; p++) {
        int status;
        assert_int_equal(waitpid(child[p], &status, 0), child[p]);
        assert_int_equal(status, 0);
    }
    hn_store *s = fresh("together.db");
    hn_buf b = { 0 };
    for (int64_t run = 1; run <= PROCESSES; run++)
        assert_int_equal(hn_store_series(s, run, "b", put_metric, &b, NULL), HN_OK);
    int lines = 0;
    for (size_t i = 0; i < b.n; i++) lines += b.data[i] == '\n';
    assert_int_equal(lines, PROCESSES * STEPS);
    hn_store_close(s);
    hn_buf_free(&b);
}

/* ---- files that are not ours ---- */
static void refused(const char *file, int code, const char *says) {
    hn_store *s;
    hn_err e = { 0 };
    char before[65] = "", after[65] = "";
    hn_file_sha256(file, before, NULL);
    assert_int_equal(hn_store_open(&s, file, &e), code);
    assert_null(s);
    if (!strstr(e.msg, says) || !strstr(e.msg, file)) fail_msg("\"%s\" does not say \"%s\"", e.msg, says);
    hn_file_sha256(file, after, NULL);
    assert_string_equal(before, after);
}

static void alter(const char *file, const char *sql) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void not_ours(void **state) {
    (void)state;
    char file[600], junk[5000];
    hn_err e = { 0 };
    snprintf(file, sizeof file, "%s/text.db", dir);
    memset(junk, 'x', sizeof junk);
    assert_int_equal(hn_file_write(file, junk, sizeof junk, &e), HN_OK);
    refused(file, HN_EPARSE, "HONE_STORE");
    snprintf(file, sizeof file, "%s/other.db", dir);
    alter(file, "CREATE TABLE bookmarks(url)");
    refused(file, HN_EPARSE, "another program");
    hn_store_close(fresh("newer.db"));
    alter(path, "PRAGMA user_version=99");
    refused(path, HN_EUNSUP, "newer hone (schema 99");
    hn_store *s = fresh("damaged.db");
    for (int i = 0; i < 200; i++)
        new_run(s, "{\"some\": \"longer configuration, so that there are several pages\"}", 0);
    assert_int_equal(hn_store_sync(s, &e), HN_OK);
    hn_store_close(s);
    char *data;
    size_t n;
    assert_int_equal(hn_file_read(path, &data, &n, &e), HN_OK);
    memset(data + 100, 0x5a, 3000); /* the table of contents */
    assert_int_equal(hn_file_write(path, data, n, &e), HN_OK);
    hn_free(data);
    refused(path, HN_EPARSE, "damaged");
    snprintf(file, sizeof file, "%s/no/such/folder/runs.db", dir);
    refused(file, HN_EIO, "folder");
    refused(dir, HN_EIO, "open");
    snprintf(file, sizeof file, "%s/empty.db", dir); /* an empty file is a new store */
    assert_int_equal(hn_file_write(file, "", 0, &e), HN_OK);
    assert_int_equal(hn_store_open(&s, file, &e), HN_OK);
    hn_store_close(s);
}

static void no_memory(void **state) {
    (void)state;
    snprintf(path, sizeof path, "%s/memory.db", dir);
    for (long n = 0;; n++) {
        hn_store *s;
        hn_err e = { 0 };
        hn_alloc_fuse = n;
        int rc = hn_store_open(&s, path, &e);
        hn_alloc_fuse = -1;
        hn_store_close(s);
        if (!rc) break;
        assert_int_equal(rc, HN_ENOMEM);
        assert_true(n < 20);
    }
}

static void default_place(void **state) {
    (void)state;
    unsetenv("HONE_STORE");
    assert_string_equal(hn_store_path(), "runs.db");
    setenv("HONE_STORE", "/elsewhere/x.db", 1);
    assert_string_equal(hn_store_path(), "/elsewhere/x.db");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_back),
        cmocka_unit_test(steps_once),
        cmocka_unit_test(wrong_requests),
        cmocka_unit_test(compared),
        cmocka_unit_test(killed_inside_a_step),
        cmocka_unit_test(together),
        cmocka_unit_test(not_ours),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(default_place),
    };
    dir = scratch_dir();
    if (!dir) return 1;
    int rc = cmocka_run_group_tests_name("store", tests, NULL, NULL);
    hn_dir_remove(dir, NULL);
    return rc ? 1 : 0;
}
