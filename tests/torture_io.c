/* torture_io.c - a checkpoint is written, read and replaced, a model finished and a table opened where the
 * n-th file operation fails, for all n: the device says no, the disk is full, counts are short, the process
 * dies.
 *
 * Whatever happens, the newest checkpoint is whole: it resumes to the bits of its step; each failure is told,
 * leaks neither memory nor files, and the same call works afterwards and leaves nothing behind but its
 * result. */
#include "torture.h"

#include "base/io.h"
#include "cpu/backend.h"
#include "data/dataset.h"
#include "data/rows.h"
#include "plugin.h"
#include "train/loop.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOURCE HN_SOURCE_ROOT "/tests/vectors/models/llama"
enum { KILL = -1, SHORT = 0 };

static char tmp[64], out[80];
static hn_dataset data;

/* ---- a run that two steps have been made of ---- */
typedef struct run {
    hn_model *m;
    hn_trainer t;
    hn_loop l;
    hn_metrics metrics;
    hn_real *kept[3][3]; /* values and moments after each step */
    char hash[3][65];
} run;

static hn_real **block(const run *r, int k) {
    hn_params *p = &r->m->net.params;
    return k ? &p->moment[k - 1] : &p->value;
}
static size_t bytes(const run *r) { return (size_t)r->m->net.params.count * sizeof(hn_real); }

static void hash(const run *r, char hex[65]) {
    char all[4 * 64 + 1];
    for (int k = 0; k < 3; k++) hn_sha256(*block(r, k), bytes(r), all + 64 * k);
    snprintf(all + 192, sizeof all - 192, "%lld", (long long)r->t.step);
    hn_sha256(all, strlen(all), hex);
}

static void begin(run *r) {
    static const hn_train_config cfg = { .learning_rate = 0.01,
                                         .adam_beta1 = 0.9,
                                         .adam_beta2 = 0.999,
                                         .adam_epsilon = 1e-8,
                                         .grain_tokens = 64,
                                         .reduce_slots = 1,
                                         .num_iterations = 1,
                                         .logging_steps = 1,
                                         .save_total_limit = 1 };
    hn_err e = { 0 };
    *r = (run){ .m = NULL };
    ok(hn_model_open(&r->m, SOURCE, HN_PREC_F32, &e), &e);
    r->t = (hn_trainer){
        .algo = hn_algo_find("sft"), .cfg = cfg, .model = &r->m->net, .temperature = 1, .steps = 2
    };
    ok(hn_trainer_open(&r->t, &e), &e);
    r->l = (hn_loop){ .trainer = &r->t, .model = r->m, .out = out, .dtype = HN_ST_F32 };
    r->l.config = json_pack("{s:i}", "seed", 1);
    r->l.history = json_array();
    r->l.source.batches_per_epoch = 1;
}

static void end(run *r) {
    for (int s = 0; s < 3; s++)
        for (int k = 0; k < 3; k++) hn_free(r->kept[s][k]);
    json_decref(r->l.config);
    hn_loop_release(&r->l);
    hn_metrics_release(&r->metrics);
    hn_trainer_close(&r->t);
    hn_model_close(r->m);
}

static void learn(run *r) {
    hn_err e = { 0 };
    hn_forest f;
    hn_forest_init(&f);
    ok(hn_dataset_batch(&data, 1, r->t.step, 1, &f, &e), &e);
    ok(hn_trainer_prepare(&r->t, &f, &r->metrics, &e), &e);
    ok(hn_trainer_update(&r->t, &f, &r->metrics, &e), &e);
    hn_forest_release(&f);
    int64_t s = r->t.step;
    for (int k = 0; k < 3; k++) {
        r->kept[s][k] = hn_alloc(bytes(r));
        memcpy(r->kept[s][k], *block(r, k), bytes(r));
    }
    hash(r, r->hash[s]);
}

static void back_to(run *r, int step) {
    for (int k = 0; k < 3; k++) memcpy(*block(r, k), r->kept[step][k], bytes(r));
    r->t.step = step;
}

/* ---- what is on disk ---- */
static int count(const char *path) {
    int n = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *f; (f = readdir(d));) n += strcmp(f->d_name, ".") && strcmp(f->d_name, "..");
    closedir(d);
    return n;
}

/* The newest checkpoint resumes to the bits of its step; which step that is. */
static int64_t newest(run *reader, const run *writer) {
    hn_err e = { 0 };
    char *dir, got[65];
    int64_t step = hn_checkpoint_newest(out, &dir, &e);
    if (step < 1) fail_msg("no whole checkpoint: %s", e.msg);
    ok(hn_loop_resume(&reader->l, dir, false, &e), &e);
    assert_int_equal(reader->t.step, step);
    hash(reader, got);
    assert_string_equal(got, writer->hash[step]);
    hn_free(dir);
    return step;
}

/* ---- one call, disturbed ---- */
typedef int call(run *r, hn_err *e);
static int save(run *r, hn_err *e) { return hn_loop_save(&r->l, e); }
static int finish(run *r, hn_err *e) { return hn_loop_finish(&r->l, e); }

/* True: operation n came, and failed.  The call's own failures leak nothing. */
static bool disturbed(run *r, call *what, int fault, long n) {
    hn_err e = { 0 };
    int files = count("/proc/self/fd"), status;
    long live = hn_alloc_live();
    if (fault == KILL) {
        pid_t child = fork();
        if (!child) {
            hn_io_fault = fault, hn_io_fuse = n;
            _exit(what(r, &e) ? 1 : 0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 137 || WEXITSTATUS(status) == 0));
        return WEXITSTATUS(status) == 137;
    }
    hn_io_fault = fault, hn_io_fuse = n;
    int rc = what(r, &e);
    hn_io_fuse = -1;
    assert_int_equal(count("/proc/self/fd"), files);
    assert_int_equal(hn_alloc_live(), live);
    if (!rc) return false;
    if (rc != HN_EIO || e.code != HN_EIO || !strchr(e.msg, '/'))
        fail_msg("operation %ld fails: code %d, \"%s\"", n, rc, e.msg);
    if (fault == ENOSPC && !strstr(e.msg, "full")) fail_msg("a full disk is not told: \"%s\"", e.msg);
    return true;
}

static const int faults[] = { EIO, ENOSPC, KILL };
enum { FAULTS = sizeof faults / sizeof *faults };

/* checkpoint-2 is written where checkpoint-1 is, which goes once the new one is there. */
static void a_checkpoint_is_whole(void **s) {
    run *w = s[0], *reader = w + 1;
    hn_err e = { 0 };
    for (int i = 0; i < 2 * FAULTS; i++) {
        long n = 0;
        hn_io_no_exchange = i >= FAULTS;
        for (bool failed = true; failed; n++) {
            ok(hn_dir_remove(out, &e), &e);
            ok(hn_dir_make(out, &e), &e);
            back_to(w, 1);
            ok(save(w, &e), &e);
            back_to(w, 2);
            failed = disturbed(w, save, faults[i % FAULTS], n);
            assert_true(newest(reader, w) == 2 || failed);
            ok(save(w, &e), &e); /* again, over whatever is there */
            assert_int_equal(newest(reader, w), 2);
            assert_int_equal(count(out), 1);
        }
        assert_true(n > 20);
    }
    hn_io_no_exchange = false;
}

static void short_counts_change_nothing(void **s) {
    run *w = s[0], *reader = w + 1;
    hn_err e = { 0 };
    back_to(w, 2);
    assert_false(disturbed(w, save, SHORT, 0));
    assert_int_equal(newest(reader, w), 2);
    hn_io_fault = SHORT, hn_io_fuse = 0;
    assert_int_equal(newest(reader, w), 2);
    hn_io_fuse = -1;
    ok(hn_dir_remove(out, &e), &e);
}

static int resume(run *r, hn_err *e) {
    char *dir;
    int64_t step = hn_checkpoint_newest(out, &dir, e);
    int rc = step < 0 ? (int)step : hn_loop_resume(&r->l, dir, false, e);
    hn_free(dir);
    return rc;
}

static void reading_fails_and_works_again(void **s) {
    run *w = s[0], *reader = w + 1;
    hn_err e = { 0 };
    long n = 0;
    ok(hn_dir_remove(out, &e), &e);
    ok(hn_dir_make(out, &e), &e);
    back_to(w, 1);
    ok(save(w, &e), &e);
    newest(reader, w);
    while (disturbed(reader, resume, EIO, n)) n++;
    assert_true(n > 4);
    assert_int_equal(newest(reader, w), 1);
    ok(hn_dir_remove(out, &e), &e);
}

/* A model directory that has its config.json is whole. */
static void a_finished_model_is_whole(void **s) {
    run *w = s[0];
    hn_err e = { 0 };
    char path[120];
    snprintf(path, sizeof path, "%s/config.json", out);
    for (int i = 0; i < FAULTS; i++) {
        long n = 0;
        for (bool failed = true; failed; n++) {
            hn_model *m;
            if (n % 2 == 0) ok(hn_dir_remove(out, &e), &e); /* else: over the one before */
            ok(hn_dir_make(out, &e), &e);
            back_to(w, 2 - (int)(n % 2));
            failed = disturbed(w, finish, faults[i], n);
            assert_true(failed || hn_path_exists(path));
            if (hn_path_exists(path)) {
                ok(hn_model_open(&m, out, HN_PREC_F32, &e), &e);
                const hn_real *got = m->net.params.value;
                bool old = n % 2 && !memcmp(got, w->kept[2][0], bytes(w));
                assert_true(old || !memcmp(got, *block(w, 0), bytes(w)));
                hn_model_close(m);
            }
            back_to(w, 2);
            ok(finish(w, &e), &e);
            ok(hn_model_open(&m, out, HN_PREC_F32, &e), &e);
            assert_memory_equal(m->net.params.value, *block(w, 0), bytes(w));
            hn_model_close(m);
        }
        assert_true(n > 20);
    }
}

static int table(run *r, hn_err *e) {
    char path[120];
    hn_table *t;
    hn_entry row;
    (void)r;
    snprintf(path, sizeof path, "%s/rows.jsonl", tmp);
    int rc = hn_table_open(&t, path, NULL, e);
    if (rc) return rc;
    for (int64_t i = 0; i < 3 && !rc; i++) {
        rc = hn_table_get(t, i, &row, e);
        if (!rc && strcmp(row.answer.text, "b")) rc = hn_fail(e, HN_EPARSE, "another row");
        hn_entry_release(&row);
    }
    hn_table_close(t);
    return rc;
}

static void a_table_opens_or_says_why(void **s) {
    static const char row[] =
        "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"a\", \"completion\": \"b\"}\n"
        "{\"prompt\": \"a\", \"completion\": \"b\"}\n";
    hn_err e = { 0 };
    char path[120];
    long n = 0;
    snprintf(path, sizeof path, "%s/rows.jsonl", tmp);
    ok(hn_file_write(path, row, sizeof row - 1, &e), &e);
    while (disturbed(s[0], table, EIO, n)) n++;
    assert_true(n > 0);
    assert_false(disturbed(s[0], table, SHORT, 0));
}

static int set_up(void **s) {
    static run r[2];
    hn_err e = { 0 };
    for (int i = 0; i < 2;
         i++) { /* in memory where there is such a place: thousands of flushes to a disk take minutes */
        snprintf(tmp, sizeof tmp, "%s/hone-torture-XXXXXX", i ? "/tmp" : "/dev/shm");
        if (mkdtemp(tmp)) break;
        if (i) return -1;
    }
    snprintf(out, sizeof out, "%s/out", tmp);
    for (int32_t i = 0; i < 2; i++) {
        const int32_t token[] = { 1, 5 + i, 9, 11 + i };
        const uint8_t act[] = { 0, 1, 1, 1 };
        ok(hn_dataset_chain(&data, token, act, 4, &e), &e);
    }
    begin(&r[0]);
    begin(&r[1]);
    learn(&r[0]);
    learn(&r[0]);
    s[0] = r;
    return 0;
}

static int tear_down(void **s) {
    run *r = s[0];
    end(&r[0]);
    end(&r[1]);
    hn_dataset_release(&data);
    return hn_dir_remove(tmp, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_counts_change_nothing),   cmocka_unit_test(a_checkpoint_is_whole),
        cmocka_unit_test(reading_fails_and_works_again), cmocka_unit_test(a_finished_model_is_whole),
        cmocka_unit_test(a_table_opens_or_says_why),
    };
    hn_err e = { 0 };
    if (hn_cpu_open(NULL, &e)) {
        print_error("%s\n", e.msg);
        return 1;
    }
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
