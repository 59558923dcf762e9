/* resume.c - `hone check resume`: learners killed at random moments and resumed, compared byte by byte with
 * runs that nobody disturbed.
 *
 * Both runs are this same program in a process of its own, in folders of the same names, so that every file
 * that does not hold a time can be compared as it is: models, moments, trainer state.  The run store and the
 * event file hold times; they are compared value by value, and each step must be there once. */
#include "cli/resume.h"
#include "algo/algo.h"
#include "base/io.h"
#include "cpu/cpu.h"
#include "store/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_WORDS = 64 };

typedef struct {
    const char *learner, *words; /* options, separated by blanks */
} scenario;

static const scenario all[] = {
    { "sft", "--task arith --train_items 40 --max_steps 8 --save_steps 2 --eval_steps 3 --eval_items 6 "
             "--logging_steps 1 "
             "--per_device_train_batch_size 5 --learning_rate 1e-3 --max_length 256" },
    { "dpo", "--data ../pairs.jsonl --max_steps 8 --save_steps 2 --logging_steps 1 "
             "--per_device_train_batch_size 5 --learning_rate 1e-3 "
             "--max_length 256" },
    { "grpo", "--task arith --max_steps 6 --save_steps 2 --eval_steps 2 --eval_items 6 --logging_steps 1 "
              "--per_device_train_batch_size 8 "
              "--num_generations 4 --max_completion_length 24 --learning_rate 1e-3 --beta 0.01" },
};

/* ---- one process ---- */
typedef struct {
    const char *model; /* absolute */
    uint64_t seed;
    const char *dtype;
    hn_err *e;
} job;

/* Part k of a run: on another number of threads than the part before, which must not matter. */
static pid_t launch(const job *j, const scenario *s, const char *dir, int part) {
    char *words = hn_strdup(s->words), *argv[MAX_WORDS], seed[32], threads[16];
    int n = 0;
    pid_t pid;
    if (!words) return -1;
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)j->seed);
    snprintf(threads, sizeof threads, "%d", 1 + part % 4);
    argv[n++] = "hone";
    argv[n++] = (char *)(uintptr_t)s->learner;
    for (char *save, *w = strtok_r(words, " ", &save); w && n < MAX_WORDS - 16;
         w = strtok_r(NULL, " ", &save))
        argv[n++] = w;
    const char *const rest[] = {
        "--model", j->model,    "--out", "run",     "--store", "runs.db", "--seed",
        seed,      "--threads", threads, "--dtype", j->dtype,  "--quiet", part ? "--resume" : NULL
    };
    for (size_t i = 0; i < sizeof rest / sizeof *rest && rest[i]; i++) argv[n++] = (char *)(uintptr_t)rest[i];
    argv[n] = NULL;
    if (!(pid = fork())) {
        int null = open("/dev/null", O_WRONLY);
        if (null >= 0) dup2(null, STDOUT_FILENO);
        if (chdir(dir)) _exit(127);
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    hn_free(words);
    return pid;
}

/* Waits; kills after `seconds` (< 0: never).  1: it was killed; 0: it ended well. */
static int watch(const job *j, pid_t pid, double seconds, const char *learner) {
    int status;
    double start = hn_now();
    if (pid < 0) return hn_fail(j->e, HN_EIO, "no process could be started");
    while (!waitpid(pid, &status, WNOHANG)) {
        if (hn_cli_stopped(NULL) || (seconds >= 0 && hn_now() - start > seconds)) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return hn_cli_stopped(NULL) ? hn_fail(j->e, HN_ESTOP, "stopped") : 1;
        }
        usleep(500);
    }
    if (WIFEXITED(status) && !WEXITSTATUS(status)) return 0;
    return hn_fail(j->e, HN_EIO, "hone %s failed in the check (its message is above)", learner);
}

/* ---- comparing what does not hold a time ---- */
typedef struct {
    const char *a, *b;
    int64_t files, bytes;
    char first[200]; /* what differs first; "" when nothing does */
} difference;

static bool has_times(const char *name) { return strstr(name, "tfevents") || !strcmp(name, "run.json"); }

static int same_files(const char *a, const char *b, const char *name, difference *d, hn_err *e) {
    char *x = NULL, *y = NULL;
    size_t n = 0, m = 0;
    if (!hn_path_exists(b)) {
        snprintf(d->first, sizeof d->first, "%s is missing", name);
        return HN_OK;
    }
    int rc = hn_file_read(a, &x, &n, e);
    if (!rc) rc = hn_file_read(b, &y, &m, e);
    if (!rc && (n != m || memcmp(x, y, n))) snprintf(d->first, sizeof d->first, "%s differs", name);
    d->files++;
    d->bytes += (int64_t)n;
    hn_free(x);
    hn_free(y);
    return rc;
}

static int same_tree(const char *a, const char *b, difference *d, hn_err *e);

static int each(void *ctx, const char *name, hn_err *e) {
    difference *d = ctx;
    hn_buf x = { 0 }, y = { 0 };
    int rc = HN_OK;
    if (has_times(name) || *d->first) return HN_OK;
    if (!hn_path_join(&x, d->a, name) || !hn_path_join(&y, d->b, name))
        rc = hn_fail(e, HN_ENOMEM, "no memory for a path");
    else if (hn_path_is_dir(x.data)) rc = same_tree(x.data, y.data, d, e);
    else rc = same_files(x.data, y.data, name, d, e);
    hn_buf_free(&x);
    hn_buf_free(&y);
    return rc;
}

static int same_tree(const char *a, const char *b, difference *d, hn_err *e) {
    difference inner = { .a = a, .b = b, .files = d->files, .bytes = d->bytes };
    int rc = hn_dir_each(a, each, &inner, e);
    d->files = inner.files;
    d->bytes = inner.bytes;
    memcpy(d->first, inner.first, sizeof d->first);
    return rc;
}

/* ---- the run store: metrics and samples of run 1 as one text ---- */
static int put_metric(void *ctx, int64_t step, const char *key, double value) {
    if (!hn_metric_is_time(key)) hn_buf_fmt(ctx, "%s %lld %.17g\n", key, (long long)step, value);
    return 0;
}

static int put_sample(void *ctx, const hn_samplerow *x) {
    hn_buf_fmt(ctx, "%lld %lld %s|%s %.17g\n", (long long)x->step, (long long)x->index, x->prompt,
               x->completion, x->reward);
    return 0;
}

static int store_text(const char *dir, hn_buf *out, hn_err *e) {
    hn_buf path = { 0 };
    hn_store *s = NULL;
    int rc = hn_path_join(&path, dir, "runs.db") ? hn_store_open(&s, path.data, e)
                                                 : hn_fail(e, HN_ENOMEM, "no memory for a path");
    if (!rc) rc = hn_store_series(s, 1, NULL, put_metric, out, e);
    if (!rc) rc = hn_store_samples(s, 1, 0, INT64_MAX, put_sample, out, e);
    hn_store_close(s);
    hn_buf_free(&path);
    return rc;
}

/* ---- the event file: step, tag, value of every scalar, times left out ---- */
typedef struct {
    const unsigned char *p, *end;
} wire;

static uint64_t varint(wire *w) {
    uint64_t v = 0;
    for (int shift = 0; w->p < w->end && shift < 64; shift += 7) {
        unsigned char c = *w->p++;
        v |= (uint64_t)(c & 127) << shift;
        if (!(c & 128)) break;
    }
    return v;
}

/* The next field: its number, and its bytes or number.  false at the end. */
static bool field(wire *w, int *number, wire *bytes, uint64_t *value) {
    if (w->p >= w->end) return false;
    uint64_t key = varint(w);
    *number = (int)(key >> 3);
    size_t left = (size_t)(w->end - w->p), n = 0;
    switch (key & 7) {
    case 0: *value = varint(w); return true;
    case 1: n = 8; break;
    case 2: n = (size_t)varint(w); break;
    case 5: n = 4; break;
    default: return false;
    }
    left = (size_t)(w->end - w->p);
    if (n > left) return false;
    *bytes = (wire){ w->p, w->p + n };
    w->p += n;
    return true;
}

static void put_value(wire v, int64_t step, hn_buf *out) {
    wire b, tag = { NULL, NULL };
    float x = NAN;
    uint64_t u;
    for (int k; field(&v, &k, &b, &u);) {
        if (k == 1) tag = b;
        if (k == 2 && b.end - b.p == 4) memcpy(&x, b.p, 4);
    }
    hn_buf name = { 0 };
    if (tag.p) hn_buf_add(&name, tag.p, (size_t)(tag.end - tag.p));
    if (name.data && !hn_metric_is_time(name.data))
        hn_buf_fmt(out, "%lld %s %.9g\n", (long long)step, name.data, (double)x);
    hn_buf_free(&name);
}

static void put_event(wire w, hn_buf *out) {
    int64_t step = 0;
    wire b, summary = { NULL, NULL };
    uint64_t u = 0;
    for (int k; field(&w, &k, &b, &u);) {
        if (k == 2) step = (int64_t)u;
        if (k == 5) summary = b;
    }
    for (int k; summary.p && field(&summary, &k, &b, &u);)
        if (k == 1) put_value(b, step, out);
}

static int events_text(const char *dir, hn_buf *out, hn_err *e) {
    hn_buf run = { 0 }, path = { 0 };
    char *data = NULL;
    size_t n = 0;
    int rc = hn_path_join(&run, dir, "run") ? HN_OK : hn_fail(e, HN_ENOMEM, "no memory for a path");
    DIR *d = rc ? NULL : opendir(run.data);
    for (struct dirent *f; d && (f = readdir(d));)
        if (strstr(f->d_name, "tfevents") && !hn_path_join(&path, run.data, f->d_name)) rc = HN_ENOMEM;
    if (d) closedir(d);
    if (!rc)
        rc = path.data ? hn_file_read(path.data, &data, &n, e)
                       : hn_fail(e, HN_EIO, "%s: no event file", run.data);
    for (size_t at = 0; !rc && at + 16 <= n;) {
        uint64_t len;
        memcpy(&len, data + at, 8);
        if (len > n - at - 16) {
            rc = hn_fail(e, HN_EPARSE, "%s: the last record is cut", path.data);
            break;
        }
        const unsigned char *p = (const unsigned char *)data + at + 12;
        put_event((wire){ p, p + len }, out);
        at += 16 + (size_t)len;
    }
    hn_free(data);
    hn_buf_free(&run);
    hn_buf_free(&path);
    return rc;
}

/* ---- the check ---- */
static int compare(const char *a, const char *b, difference *d, hn_err *e) {
    hn_buf x = { 0 }, y = { 0 }, run_a = { 0 }, run_b = { 0 };
    int rc = hn_path_join(&run_a, a, "run") && hn_path_join(&run_b, b, "run")
                 ? HN_OK
                 : hn_fail(e, HN_ENOMEM, "no memory for a path");
    if (!rc) rc = same_tree(run_a.data, run_b.data, d, e);
    static int (*const text[])(const char *, hn_buf *, hn_err *) = { store_text, events_text };
    static const char *const name[] = { "the run store", "the event file" };
    for (int k = 0; k < 2 && !rc; k++) {
        hn_buf_clear(&x);
        hn_buf_clear(&y);
        rc = text[k](a, &x, e);
        if (!rc) rc = text[k](b, &y, e);
        if (!rc && (x.oom || y.oom)) rc = hn_fail(e, HN_ENOMEM, "no memory to compare runs");
        if (!rc && !*d->first && (x.n != y.n || !x.n || memcmp(x.data, y.data, x.n)))
            snprintf(d->first, sizeof d->first, "%s differs", name[k]);
        d->bytes += (int64_t)x.n;
    }
    hn_buf_free(&x);
    hn_buf_free(&y);
    hn_buf_free(&run_a);
    hn_buf_free(&run_b);
    return rc;
}

/* Pairs for dpo: a worked step chain against the same with another end. */
static int write_pairs(const char *dir, hn_err *e) {
    hn_buf path = { 0 }, b = { 0 };
    for (int i = 0; i < 40; i++)
        hn_buf_fmt(&b,
                   "{\"prompt\": \"Q: Tom has %d apples. He buys %d more. How many apples does Tom have "
                   "now?\\nA:\", \"chosen\": \" Step 1: %d + %d = %d\\n"
                   "#### %d\", \"rejected\": \" Step 1: %d + %d = %d\\n#### %d\"}\n",
                   i + 2, i % 7 + 1, i + 2, i % 7 + 1, i + 3 + i % 7, i + 3 + i % 7, i + 2, i % 7 + 1, i + 5,
                   i + 5);
    int rc = b.oom || !hn_path_join(&path, dir, "pairs.jsonl") ? hn_fail(e, HN_ENOMEM, "no memory for pairs")
                                                               : hn_file_write(path.data, b.data, b.n, e);
    hn_buf_free(&path);
    hn_buf_free(&b);
    return rc;
}

static int fresh(hn_buf *path, const char *dir, const char *name, hn_err *e) {
    if (!hn_path_join(path, dir, name)) return hn_fail(e, HN_ENOMEM, "no memory for a path");
    int rc = hn_dir_remove(path->data, e);
    return rc ? rc : hn_dir_make(path->data, e);
}

/* A run killed up to `kills` times at moments drawn over the length of the undisturbed one, then left to end.
 */
static int killed_run(const job *j, const scenario *s, const char *dir, double seconds, int kills,
                      uint64_t stream, int *landed) {
    int rc = 1;
    *landed = 0;
    for (int k = 0; rc == 1; k++) {
        double when = k < kills ? seconds / kills * hn_rand01(j->seed, stream, (uint64_t)k) : -1;
        rc = watch(j, launch(j, s, dir, k), when, s->learner);
        *landed += rc == 1;
    }
    return rc;
}

int hn_cli_check_resume(hn_cli *c, int trials, int kills, bool *holds) {
    hn_err *e = &c->err;
    char folder[] = "/tmp/hone-check-XXXXXX", *model = realpath(c->common.model, NULL);
    hn_buf a = { 0 }, b = { 0 };
    static const char *const dtype[] = { "f32", "bf16", "auto" };
    job j = { model, (uint64_t)c->common.seed, dtype[c->common.dtype], e };
    *holds = true;
    int rc = model ? HN_OK : hn_fail(e, HN_EIO, "%s: there is no such folder", c->common.model);
    if (!rc && !mkdtemp(folder)) rc = hn_fail(e, HN_EIO, "%s: cannot be made", folder);
    if (!rc) rc = write_pairs(folder, e);
    for (size_t i = 0; i < sizeof all / sizeof *all && !rc; i++) {
        double start = hn_now(), seconds;
        if (!(rc = fresh(&a, folder, "a", e)))
            rc = watch(&j, launch(&j, &all[i], a.data, 0), -1, all[i].learner);
        seconds = hn_now() - start;
        for (int t = 0; t < trials && !rc; t++) {
            difference d = { 0 };
            int landed = 0;
            for (uint64_t again = 0; !rc && !landed;
                 again++) /* one that was done before its first kill proves nothing */
                if (!(rc = fresh(&b, folder, "b", e)))
                    rc = killed_run(&j, &all[i], b.data, seconds, kills,
                                    hn_key(hn_key(i, (uint64_t)t), again), &landed);
            if (!rc) rc = compare(a.data, b.data, &d, e);
            if (rc) break;
            printf("%-4s %s, killed %d times in %.1f s and resumed: %lld files, store and events, %lld "
                   "bytes%s%s\n",
                   *d.first ? "BAD" : "ok", all[i].learner, landed, seconds, (long long)d.files,
                   (long long)d.bytes, *d.first ? ": " : " equal", d.first);
            fflush(stdout);
            if (*d.first) *holds = false;
        }
    }
    if (*holds || rc) hn_dir_remove(folder, NULL);
    else printf("the runs are kept in %s\n", folder);
    free(model);
    hn_buf_free(&a);
    hn_buf_free(&b);
    return rc;
}
