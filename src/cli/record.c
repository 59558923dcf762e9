/* record.c - metrics and samples to the run store and to TensorBoard. */
#include "cli/record.h"
#include "base/io.h"
#include "base/json.h"
#include "cpu/cpu.h"
#include "format/tfevents.h"

#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

struct hn_record {
    hn_store *store;
    hn_tfevents *events;
    int64_t run;
    hn_buf marker, path; /* run.json and the event file */
};

static double wall(void) {
    struct timeval t;
    gettimeofday(&t, NULL);
    return (double)t.tv_sec + 1e-6 * (double)t.tv_usec;
}

static int hashes(hn_cli *c, const hn_model *m, json_t *config) {
    char hex[65];
    const hn_params *p = &m->net.params;
    hn_sha256(p->value, (size_t)p->count * sizeof *p->value, hex);
    int bad = json_object_set_new(config, "model_sha256", json_string(hex));
    if (!bad && c->common.data && !hn_path_is_dir(c->common.data)) {
        int rc = hn_file_sha256(c->common.data, hex, &c->err);
        if (rc) return rc;
        bad = json_object_set_new(config, "data_sha256", json_string(hex));
    }
    return bad ? hn_fail(&c->err, HN_ENOMEM, "no memory for the run's config") : HN_OK;
}

int hn_record_config(hn_cli *c, const hn_model *m, json_t **config) {
    static const char *const not_the_run[] = {
        "resume",   "allow_tier_change", "quiet", "help",    "config",
        "rollback", "to_round",          "show",  "dry_run", "threads"
    };
    hn_buf b = { 0 };
    hn_optset_json(c->opts, &b);
    json_t *j = b.oom || !b.data ? NULL : json_loads(b.data, 0, NULL);
    hn_buf_free(&b);
    if (!j) return hn_fail(&c->err, HN_ENOMEM, "no memory for the run's config");
    for (size_t i = 0; i < sizeof not_the_run / sizeof *not_the_run; i++) json_object_del(j, not_the_run[i]);
    int rc = hashes(c, m, j);
    if (!rc) *config = j;
    else json_decref(j);
    return rc;
}

/* run.json: {"command","store","run","events"}. */
static int read_marker(const char *path, char **store, int64_t *run, char **events, hn_err *e) {
    json_t *j;
    int rc = hn_json_read(&j, path, e);
    if (rc) return rc;
    const char *s = json_string_value(json_object_get(j, "store")),
               *v = json_string_value(json_object_get(j, "events"));
    const json_t *n = json_object_get(j, "run");
    rc = s && v && json_is_integer(n) ? HN_OK
                                      : hn_fail(e, HN_EPARSE, "%s: store, run or events is missing", path);
    *store = rc ? NULL : hn_strdup(s);
    *events = rc ? NULL : hn_strdup(v);
    *run = json_integer_value(n);
    json_decref(j);
    return rc || (*store && *events) ? rc : hn_fail(e, HN_ENOMEM, "no memory for %s", path);
}

static int write_marker(const char *path, const char *command, const char *store, int64_t run,
                        const char *events, hn_err *e) {
    json_t *j = json_pack("{s:s, s:s, s:I, s:s}", "command", command, "store", store, "run", (json_int_t)run,
                          "events", events);
    char *text = j ? json_dumps(j, JSON_INDENT(2)) : NULL;
    int rc =
        text ? hn_file_write(path, text, strlen(text), e) : hn_fail(e, HN_ENOMEM, "no memory for %s", path);
    free(text);
    json_decref(j);
    return rc;
}

typedef struct {
    const char *out;
    int64_t run;
} orphan;

static int find_orphan(void *ctx, const hn_runrow *row) {
    orphan *o = ctx;
    if (row->out && row->status && !strcmp(row->out, o->out) && !strcmp(row->status, "running"))
        o->run = row->id;
    return 0;
}

/* A run that was killed between its row in the store and its marker is taken up again. */
static int begin_run(hn_record *r, const char *out, const char *command, json_t *config, uint64_t seed,
                     bool resume, hn_err *e) {
    orphan o = { out, 0 };
    int found = resume ? hn_store_runs(r->store, find_orphan, &o, e) : 0;
    if (found < 0) return found;
    if (o.run) {
        r->run = o.run;
        return hn_store_rewind(r->store, r->run, 0, e);
    }
    char *text = json_dumps(config, JSON_SORT_KEYS | JSON_COMPACT);
    if (!text) return hn_fail(e, HN_ENOMEM, "no memory for the run's config");
    hn_runrow row = {
        .command = command, .config = text, .out = out, .version = HN_VERSION, .tier = hn_cpu_tier_name()
    };
    row.model_hash = json_string_value(json_object_get(config, "model_sha256"));
    row.data_hash = json_string_value(json_object_get(config, "data_sha256"));
    row.seed = (int64_t)seed;
    row.started = wall();
    int rc = hn_store_run_new(r->store, &row, &r->run, e);
    free(text);
    return rc;
}

/* ---- the folder ---- */
static int is_foreign(void *ctx, const char *name, hn_err *e) {
    static const char *const known[] = {
        "config.json",    "model.safetensors", "model.safetensors.index.json",
        "tokenizer.json", "vocab.json",        "improve.json"
    };
    bool bad = !strncmp(name, "checkpoint-", 11);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) bad = bad || !strcmp(name, known[i]);
    return bad ? hn_fail(e, HN_EIO, "%s holds %s, which this run would overwrite: give another --out",
                         (const char *)ctx, name)
               : HN_OK;
}

int hn_record_claim(hn_claim *c, const char *out, bool resume, hn_err *e) {
    hn_buf marker = { 0 };
    bool made = !hn_path_exists(out);
    int lock = -1, rc = hn_path_join(&marker, out, "run.json")
                            ? hn_dir_make(out, e)
                            : hn_fail(e, HN_ENOMEM, "no memory for a run's record");
    if (!rc) rc = hn_dir_lock(out, &lock, e);
    if (!rc && !resume && hn_path_exists(marker.data))
        rc = hn_fail(e, HN_EIO,
                     "%s already holds a run: --resume goes on with it, another --out starts a new one", out);
    if (!rc && !resume) rc = hn_dir_each(out, is_foreign, (void *)(uintptr_t)out, e);
    hn_buf_free(&marker);
    if (rc) hn_dir_unlock(lock);
    else *c = (hn_claim){ out, lock, made };
    return rc;
}

void hn_record_unclaim(hn_claim *c) {
    if (!c->out) return;
    if (c->made) rmdir(c->out); /* refused unless it is empty */
    hn_dir_unlock(c->lock);
    c->out = NULL;
}

int hn_record_open(hn_record **out_r, const char *out, const char *command, const char *store, json_t *config,
                   uint64_t seed, bool resume, int64_t step, int64_t events, hn_err *e) {
    hn_buf name = { 0 };
    char *old_store = NULL, *old_events = NULL, *full = NULL;
    hn_record *r = hn_alloc(sizeof *r);
    int rc = r && hn_path_join(&r->marker, out, "run.json")
                 ? HN_OK
                 : hn_fail(e, HN_ENOMEM, "no memory for a run's record");
    bool there = !rc && hn_path_exists(r->marker.data);
    if (there) rc = read_marker(r->marker.data, &old_store, &r->run, &old_events, e);
    const char *where = there ? old_store : store ? store : hn_store_path();
    if (!rc) rc = hn_store_open(&r->store, where, e);
    if (!rc && there) rc = hn_store_rewind(r->store, r->run, step, e);
    if (!rc && !there) {
        full = realpath(where, NULL);
        rc = begin_run(r, out, command, config, seed, resume, e);
        if (!rc && !hn_tfevents_name(&name, wall())) rc = hn_fail(e, HN_ENOMEM, "no memory for a name");
        if (!rc) rc = write_marker(r->marker.data, command, full ? full : where, r->run, name.data, e);
    }
    if (!rc && !hn_path_join(&r->path, out, there ? old_events : name.data))
        rc = hn_fail(e, HN_ENOMEM, "no memory for a path");
    if (!rc) rc = hn_tfevents_open(&r->events, r->path.data, there ? events : 0, e);
    free(full);
    hn_free(old_store);
    hn_free(old_events);
    hn_buf_free(&name);
    if (!rc) *out_r = r;
    else if (r) hn_record_close(r, NULL);
    return rc;
}

int hn_record_metrics(hn_record *r, int64_t step, const hn_metrics *m, hn_err *e) {
    const char **key = hn_alloc(((size_t)m->n + 1) * sizeof *key);
    double *value = hn_alloc(((size_t)m->n + 1) * sizeof *value);
    int rc = key && value ? HN_OK : hn_fail(e, HN_ENOMEM, "no memory for metrics");
    for (int64_t i = 0; i < m->n && !rc; i++) key[i] = m->list[i].key, value[i] = m->list[i].value;
    if (!rc) rc = hn_store_metrics(r->store, r->run, step, (int)m->n, key, value, e);
    if (!rc) rc = hn_tfevents_add(r->events, step, wall(), (int)m->n, key, value, e);
    hn_free(key);
    hn_free(value);
    return rc;
}

int hn_record_sample(hn_record *r, const hn_samplerow *row, hn_err *e) {
    return hn_store_sample(r->store, r->run, row, e);
}

int hn_record_checkpoint(hn_record *r, int64_t step, const char *dir, hn_err *e) {
    return hn_store_checkpoint(r->store, r->run, step, dir, NULL, e);
}

int hn_record_round(hn_record *r, const hn_roundrow *row, hn_err *e) {
    return hn_store_round(r->store, r->run, row, e);
}
int64_t hn_record_events(const hn_record *r) { return hn_tfevents_at(r->events); }
int64_t hn_record_run(const hn_record *r) { return r->run; }

void hn_record_close(hn_record *r, const char *status) {
    if (!r) return;
    if (status && r->store) hn_store_run_status(r->store, r->run, status, wall(), NULL);
    hn_tfevents_close(r->events);
    hn_store_close(r->store);
    hn_buf_free(&r->marker);
    hn_buf_free(&r->path);
    hn_free(r);
}

void hn_record_discard(hn_record *r) {
    if (!r) return;
    unlink(r->path.data);
    unlink(r->marker.data);
    hn_record_close(r, "failed");
}
