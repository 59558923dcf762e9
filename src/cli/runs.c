/* runs.c - `hone runs`: what was run, what came of it, and how two runs differ. */
#include "base/io.h"
#include "cli/cli.h"
#include "store/store.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
    const char *store;
    int64_t samples;
} runs_options;

static const hn_opt table[] = {
    { .name = "store",
      .help = "the run store (default: $HONE_STORE, else runs.db)",
      .type = HN_OPT_STR,
      .at = offsetof(runs_options, store) },
    { .name = "samples",
      .help = "show: samples printed",
      .type = HN_OPT_INT,
      .at = offsetof(runs_options, samples),
      .def = 3,
      .min = 0,
      .max = 1e6 },
    { 0 },
};

typedef struct { /* one run and the last value of every key */
    char *command, *status, *config, *out;
    double started, finished;
    int64_t n, cap;
    struct last {
        char *key;
        int64_t step;
        double value;
    } * last;
    bool oom;
} run_info;

static void info_release(run_info *r) {
    for (int64_t i = 0; i < r->n; i++) hn_free(r->last[i].key);
    hn_free(r->last);
    hn_free(r->command);
    hn_free(r->status);
    hn_free(r->config);
    hn_free(r->out);
}

static int take_run(void *ctx, const hn_runrow *row) {
    run_info *r = ctx;
    r->command = hn_strdup(row->command ? row->command : "");
    r->status = hn_strdup(row->status ? row->status : "");
    r->config = hn_strdup(row->config ? row->config : "{}");
    r->out = hn_strdup(row->out ? row->out : "");
    r->started = row->started;
    r->finished = row->finished;
    r->oom = !r->command || !r->status || !r->config || !r->out;
    return 0;
}

static int take_last(void *ctx, int64_t step, const char *key, double value) {
    run_info *r = ctx;
    if (hn_grow(&r->last, &r->cap, r->n + 1, sizeof *r->last)) return r->oom = true;
    r->last[r->n].key = hn_strdup(key);
    r->oom |= !r->last[r->n].key;
    r->last[r->n].step = step;
    r->last[r->n++].value = value;
    return r->oom;
}

static int load(hn_store *s, int64_t id, run_info *r, hn_err *e) {
    memset(r, 0, sizeof *r);
    int rc = hn_store_run(s, id, take_run, r, e);
    if (!rc) rc = hn_store_last(s, id, take_last, r, e);
    return rc < 0 ? rc : r->oom ? hn_fail(e, HN_ENOMEM, "no memory for run %lld", (long long)id) : HN_OK;
}

static void when(double t, char out[32]) {
    time_t s = (time_t)t;
    struct tm tm;
    if (!localtime_r(&s, &tm) || !strftime(out, 32, "%Y-%m-%d %H:%M", &tm)) strcpy(out, "?");
}

/* ---- list ---- */
static int list_row(void *ctx, const hn_runrow *r) {
    char start[32], took[24] = "";
    (void)ctx;
    when(r->started, start);
    if (r->finished > r->started) hn_format_seconds(r->finished - r->started, took);
    printf("%5lld  %-9s %-8s %s  %7s  %s\n", (long long)r->id, r->command ? r->command : "",
           r->status ? r->status : "", start, took, r->out ? r->out : "");
    return 0;
}

/* ---- show ---- */
static int sample_row(void *ctx, const hn_samplerow *x) {
    int64_t *left = ctx;
    if ((*left)-- <= 0) return 1;
    printf("\n  step %lld, reward %g%s%s\n%s%s\n", (long long)x->step, x->reward, x->verdict ? ", " : "",
           x->verdict ? x->verdict : "", x->prompt ? x->prompt : "", x->completion ? x->completion : "");
    return 0;
}

static int show(hn_cli *c, hn_store *s, int64_t id, int64_t samples) {
    run_info r;
    char start[32];
    int rc = load(s, id, &r, &c->err);
    if (!rc) {
        when(r.started, start);
        printf("run %lld: %s, %s, started %s, %s\n\nconfig\n  %s\n\nlast values\n", (long long)id, r.command,
               r.status, start, r.out, r.config);
        for (int64_t i = 0; i < r.n; i++)
            printf("  %-44s %12.6g   (step %lld)\n", r.last[i].key, r.last[i].value,
                   (long long)r.last[i].step);
        rc = hn_store_samples(s, id, 0, INT64_MAX, sample_row, &samples, &c->err);
    }
    info_release(&r);
    return rc < 0 ? rc : HN_OK;
}

/* ---- compare ---- */
static void compare_config(const run_info *a, const run_info *b) {
    json_t *x = json_loads(a->config, 0, NULL), *y = json_loads(b->config, 0, NULL), *both = json_object();
    const char *key;
    json_t *v;
    if (x) json_object_update(both, x);
    if (y) json_object_update(both, y);
    printf("config\n");
    json_object_foreach(both, key, v) {
        json_t *p = json_object_get(x, key), *q = json_object_get(y, key);
        if (p && q && json_equal(p, q)) continue;
        char *ps = p ? json_dumps(p, JSON_ENCODE_ANY) : NULL, *qs = q ? json_dumps(q, JSON_ENCODE_ANY) : NULL;
        printf("  %-32s %-28s %s\n", key, ps ? ps : "-", qs ? qs : "-");
        free(ps);
        free(qs);
    }
    json_decref(x);
    json_decref(y);
    json_decref(both);
}

static int compare(hn_cli *c, hn_store *s, int64_t one, int64_t two) {
    run_info a = { 0 }, b = { 0 };
    int rc = load(s, one, &a, &c->err);
    if (!rc) rc = load(s, two, &b, &c->err);
    if (!rc) {
        printf("%-34s %-28lld %lld\n", "run", (long long)one, (long long)two);
        compare_config(&a, &b);
        printf("last values\n");
        for (int64_t i = 0, k = 0; i < a.n || k < b.n;) { /* both are sorted by key */
            int d = i == a.n ? 1 : k == b.n ? -1 : strcmp(a.last[i].key, b.last[k].key);
            printf("  %-32s ", d <= 0 ? a.last[i].key : b.last[k].key);
            if (d <= 0) printf("%-28.6g ", a.last[i].value);
            else printf("%-28s ", "-");
            if (d >= 0) printf("%.6g\n", b.last[k].value);
            else printf("-\n");
            i += d <= 0;
            k += d >= 0;
        }
    }
    info_release(&a);
    info_release(&b);
    return rc;
}

static int number(hn_cli *c, const char *word, int64_t *out) {
    char *end;
    errno = 0;
    *out = strtoll(word, &end, 10);
    return *end || end == word || errno
               ? hn_cli_usage(c, "\"%s\" is not the number of a run; hone runs list shows them", word)
               : HN_OK;
}

static int work(hn_cli *c, const runs_options *o) {
    const char *const *w;
    int n = hn_optset_words(c->opts, &w), rc = HN_OK;
    int64_t a = 0, b = 0;
    const char *what = n ? w[0] : "list";
    bool is_show = !strcmp(what, "show") && n == 2, is_compare = !strcmp(what, "compare") && n == 3;
    if (!is_show && !is_compare && (strcmp(what, "list") || n > 1))
        return hn_cli_usage(c, "say hone runs list, hone runs show RUN or hone runs compare RUN RUN");
    if (is_show || is_compare) rc = number(c, w[1], &a);
    if (!rc && is_compare) rc = number(c, w[2], &b);
    hn_store *s = NULL;
    const char *path = o->store ? o->store : hn_store_path();
    if (!rc && !hn_path_exists(path))
        return hn_fail(&c->err, HN_EIO,
                       "%s: there is no run store yet; learning makes it, or name another with --store",
                       path);
    if (!rc) rc = hn_store_open(&s, path, &c->err);
    if (!rc)
        rc = is_show      ? show(c, s, a, o->samples)
             : is_compare ? compare(c, s, a, b)
                          : hn_store_runs(s, list_row, NULL, &c->err);
    hn_store_close(s);
    return rc < 0 ? rc : HN_OK;
}

static int run(int argc, char **argv) {
    hn_cli c;
    runs_options o = { 0 };
    int rc = hn_cli_begin(&c, &hn_command_runs, argc, argv);
    if (!rc) rc = hn_cli_add(&c, "Runs", table, &o);
    if (!rc) rc = hn_cli_ready(&c);
    if (!rc) rc = work(&c, &o);
    return hn_cli_end(&c, rc);
}

const hn_command hn_command_runs = { "runs",
                                     "the run store: what was run and what came of it\n"
                                     "usage: hone runs list | show RUN | compare RUN RUN",
                                     run, true };
