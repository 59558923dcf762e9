/* loop.c - the run: updates, callbacks, checkpoints. */
#include "train/loop.h"
#include "base/io.h"
#include "base/json.h"
#include "cpu/cpu.h"
#include "train/state.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int64_t hn_loop_steps(const hn_train_config *c, double batches_per_epoch) {
    if (c->max_steps > 0) return c->max_steps;
    return (int64_t)ceil(c->num_train_epochs * batches_per_epoch - 1e-9) * c->num_iterations;
}

/* ---- checkpoints ---- */
typedef struct {
    const hn_loop *l;
    const hn_params *p;
} state_ctx;

/* trainer_state.json: the keys of `transformers`, and ours under "hone". */
static json_t *state_json(const hn_loop *l) {
    const hn_trainer *t = l->trainer;
    double per = l->source.batches_per_epoch * (double)t->cfg.num_iterations;
    json_t *j =
        json_pack("{s:I, s:I, s:f, s:O, s:{s:s, s:O, s:s}}", "global_step", (json_int_t)t->step, "max_steps",
                  (json_int_t)t->steps, "epoch", per > 0 ? (double)t->step / per : 0.0, "log_history",
                  l->history, "hone", "algo", t->algo->name, "config", l->config, "tier", hn_cpu_tier_name());
    json_t *more = j && l->watch.state ? l->watch.state(l->watch.ctx) : NULL;
    if (more && json_object_set_new(json_object_get(j, "hone"), "state", more)) {
        json_decref(j);
        return NULL;
    }
    return j;
}

static int save_state(void *ctx, const char *dir, hn_err *e) {
    const hn_loop *l = ((const state_ctx *)ctx)->l;
    hn_buf path = { 0 };
    int rc = hn_path_join(&path, dir, "optimizer.safetensors")
                 ? hn_moments_save(((const state_ctx *)ctx)->p, path.data, e)
                 : hn_fail(e, HN_ENOMEM, "no memory for a path");
    json_t *j = rc ? NULL : state_json(l);
    char *text = j ? json_dumps(j, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(17)) : NULL;
    if (!rc && (!text || !hn_path_join(&path, dir, "trainer_state.json")))
        rc = hn_fail(e, HN_ENOMEM, "no memory for a checkpoint");
    if (!rc) rc = hn_file_write(path.data, text, strlen(text), e);
    free(text);
    json_decref(j);
    hn_buf_free(&path);
    return rc;
}

/* Steps of the checkpoints under `out`, ascending; the caller frees. */
static int64_t list_checkpoints(const char *out, int64_t **steps) {
    int64_t n = 0, cap = 0;
    *steps = NULL;
    DIR *d = opendir(out);
    if (!d) return 0;
    for (struct dirent *f; (f = readdir(d));) {
        char *end;
        if (strncmp(f->d_name, "checkpoint-", 11)) continue;
        long long s = strtoll(f->d_name + 11, &end, 10);
        if (*end || end == f->d_name + 11 || s < 0 || hn_grow(steps, &cap, n + 1, sizeof **steps)) continue;
        int64_t i = n++;
        for (; i > 0 && (*steps)[i - 1] > s; i--) (*steps)[i] = (*steps)[i - 1];
        (*steps)[i] = s;
    }
    closedir(d);
    return n;
}

static int checkpoint_path(hn_buf *b, const char *out, int64_t step) {
    char name[48];
    snprintf(name, sizeof name, "checkpoint-%lld", (long long)step);
    return hn_path_join(b, out, name) ? HN_OK : HN_ENOMEM;
}

int64_t hn_checkpoint_newest(const char *out, char **dir, hn_err *e) {
    int64_t *steps, n = list_checkpoints(out, &steps), found = 0;
    hn_buf b = { 0 }, state = { 0 };
    *dir = NULL;
    for (int64_t i = n - 1; i >= 0 && !*dir; i--) {
        if (checkpoint_path(&b, out, steps[i]) || !hn_path_join(&state, b.data, "trainer_state.json")) {
            found = hn_fail(e, HN_ENOMEM, "no memory for a path");
            break;
        }
        if (!hn_path_exists(state.data)) continue;
        found = steps[i];
        *dir = b.data;
        b = (hn_buf){ 0 };
    }
    hn_buf_free(&b);
    hn_buf_free(&state);
    hn_free(steps);
    return found;
}

static int prune(const hn_loop *l, hn_err *e) {
    int64_t keep = l->trainer->cfg.save_total_limit, *steps, n = list_checkpoints(l->out, &steps);
    hn_buf b = { 0 };
    int rc = HN_OK;
    for (int64_t i = 0; keep > 0 && i < n - keep && !rc; i++)
        rc = checkpoint_path(&b, l->out, steps[i]) ? hn_fail(e, HN_ENOMEM, "no memory for a path")
                                                   : hn_dir_remove(b.data, e);
    hn_free(steps);
    hn_buf_free(&b);
    return rc;
}

int hn_loop_save(hn_loop *l, hn_err *e) {
    hn_buf b = { 0 };
    state_ctx s = { l, &l->model->net.params };
    int rc =
        checkpoint_path(&b, l->out, l->trainer->step) ? hn_fail(e, HN_ENOMEM, "no memory for a path") : HN_OK;
    if (!rc) rc = hn_model_save(l->model, b.data, HN_ST_F32, true, save_state, &s, e);
    if (!rc && l->watch.saved) rc = l->watch.saved(l->watch.ctx, l->trainer->step, b.data, e);
    if (!rc) rc = prune(l, e);
    hn_buf_free(&b);
    return rc;
}

/* The checkpoint itself is damaged: what can be done about it. */
static int damaged(const char *dir, int rc, hn_err *e) {
    if (rc && rc != HN_ENOMEM)
        hn_fail_in(e, "%s cannot be gone on from (without it, the one before is)", dir);
    return rc;
}

int hn_loop_resume(hn_loop *l, const char *dir, bool allow_tier, hn_err *e) {
    hn_buf b = { 0 };
    json_t *j;
    if (!hn_path_join(&b, dir, "trainer_state.json")) return hn_fail(e, HN_ENOMEM, "no memory for a path");
    int rc = damaged(dir, hn_json_read(&j, b.data, e), e);
    const json_t *ours = json_object_get(j, "hone"), *step = json_object_get(j, "global_step");
    json_t *history = json_object_get(j, "log_history");
    const char *tier = json_string_value(json_object_get(ours, "tier"));
    if (!rc && (!tier || !json_is_integer(step) || !json_is_array(history) || json_integer_value(step) < 0))
        rc = hn_fail(e, HN_EPARSE,
                     "%s: not a state this program wrote (global_step, log_history or hone is missing)",
                     b.data);
    if (!rc) rc = hn_state_same_config(json_object_get(ours, "config"), l->config, b.data, e);
    if (!rc && strcmp(tier, hn_cpu_tier_name()) && !allow_tier)
        rc = hn_fail(
            e, HN_EUNSUP,
            "%s: the run was on the %s kernels and this one is on %s: the numbers would differ in the last "
            "bits. Set HONE_TIER=%s, or --allow-tier-change",
            b.data, tier, hn_cpu_tier_name(), tier);
    if (!rc) rc = damaged(dir, hn_model_load(l->model, dir, e), e);
    if (!rc && !hn_path_join(&b, dir, "optimizer.safetensors"))
        rc = hn_fail(e, HN_ENOMEM, "no memory for a path");
    if (!rc) rc = damaged(dir, hn_moments_load(&l->model->net.params, b.data, e), e);
    if (!rc) {
        l->trainer->step = json_integer_value(step);
        json_decref(l->history);
        l->history = json_incref(history);
    }
    json_decref(j);
    hn_buf_free(&b);
    return rc;
}

json_t *hn_checkpoint_state(const char *dir) {
    hn_buf b = { 0 };
    json_t *j = hn_path_join(&b, dir, "trainer_state.json") ? json_load_file(b.data, 0, NULL) : NULL;
    json_t *s = json_incref(json_object_get(json_object_get(j, "hone"), "state"));
    json_decref(j);
    hn_buf_free(&b);
    return s;
}

/* ---- the finished model ---- */
typedef struct {
    const char *from, *to;
    bool config; /* this pass moves config.json, or everything else */
} move_ctx;

static int move_one(void *ctx, const char *name, hn_err *e) {
    const move_ctx *m = ctx;
    if (!strcmp(name, "config.json") != m->config) return HN_OK;
    hn_buf a = { 0 }, b = { 0 };
    int rc = hn_path_join(&a, m->from, name) && hn_path_join(&b, m->to, name)
                 ? HN_OK
                 : hn_fail(e, HN_ENOMEM, "no memory for a path");
    if (!rc && rename(a.data, b.data))
        rc = hn_fail(e, HN_EIO, "%s: cannot be moved to %s: %s", a.data, b.data, strerror(errno));
    hn_buf_free(&a);
    hn_buf_free(&b);
    return rc;
}

int hn_loop_finish(hn_loop *l, hn_err *e) {
    hn_buf b = { 0 }, old = { 0 };
    int rc = hn_path_join(&b, l->out, ".final") && hn_path_join(&old, l->out, "config.json")
                 ? HN_OK
                 : hn_fail(e, HN_ENOMEM, "no memory for a path");
    if (!rc) rc = hn_model_save(l->model, b.data, l->dtype, true, NULL, NULL, e);
    if (!rc) unlink(old.data);
    move_ctx m = { b.data, l->out, false };
    if (!rc) rc = hn_dir_each(b.data, move_one, &m, e);
    m.config = true;
    if (!rc) rc = hn_dir_each(b.data, move_one, &m, e);
    if (!rc) rc = hn_dir_remove(b.data, e);
    hn_buf_free(&b);
    hn_buf_free(&old);
    return rc;
}

/* ---- the loop ---- */
static int note(hn_loop *l, hn_err *e) {
    const hn_trainer *t = l->trainer;
    bool log = t->step % t->cfg.logging_steps == 0 || t->step == 1 || t->step == t->steps;
    if (log) {
        json_t *row = json_object();
        int bad = !row || json_object_set_new(row, "step", json_integer(t->step));
        for (int64_t i = 0; i < l->metrics.n; i++) {
            const hn_metric *m = &l->metrics.list[i];
            if (!hn_metric_is_time(m->key) && isfinite(m->value))
                bad |= json_object_set_new(row, m->key, json_real(m->value));
        }
        if (bad || json_array_append_new(l->history, row))
            return hn_fail(e, HN_ENOMEM, "no memory for the log");
    }
    return l->watch.metrics ? l->watch.metrics(l->watch.ctx, t->step, &l->metrics, log, e) : HN_OK;
}

static int update(hn_loop *l, hn_forest *f, hn_err *e) {
    hn_trainer *t = l->trainer;
    double start = hn_now();
    int rc = hn_trainer_update(t, f, &l->metrics, e);
    if (rc == HN_ERANGE && l->watch.broken) l->watch.broken(l->watch.ctx, t->step + 1, f, NULL);
    if (rc) return rc;
    hn_metrics_set(&l->metrics, "train_seconds", hn_now() - start);
    if (t->cfg.eval_steps && l->watch.evaluate && (t->step % t->cfg.eval_steps == 0 || t->step == t->steps))
        if ((rc = l->watch.evaluate(l->watch.ctx, t->step, &l->metrics, e))) return rc;
    if ((rc = note(l, e))) return rc;
    bool stop = l->watch.stop && l->watch.stop(l->watch.ctx);
    bool due = t->step == t->steps || (t->cfg.save_steps && t->step % t->cfg.save_steps == 0);
    /* between the iterations over one batch of rollouts there is nothing to resume from: the batch is not
     * stored */
    bool whole = t->step % t->cfg.num_iterations == 0;
    if ((due || stop) && (whole || t->step == t->steps) && (rc = hn_loop_save(l, e))) return rc;
    return stop && whole && t->step < t->steps
               ? hn_fail(e, HN_ESTOP, "stopped after update %lld of %lld; a checkpoint holds it",
                         (long long)t->step, (long long)t->steps)
               : HN_OK;
}

int hn_loop_run(hn_loop *l, hn_err *e) {
    hn_trainer *t = l->trainer;
    int rc = HN_OK;
    if (!l->history && !(l->history = json_array())) return hn_fail(e, HN_ENOMEM, "no memory for the log");
    hn_forest f;
    hn_forest_init(&f);
    while (!rc && t->step < t->steps) {
        hn_forest_clear(&f);
        hn_metrics_clear(&l->metrics);
        rc = l->source.step(l->source.ctx, t->step / t->cfg.num_iterations, &f, &l->metrics, e);
        if (!rc) rc = hn_trainer_prepare(t, &f, &l->metrics, e);
        for (int64_t k = 0; k < t->cfg.num_iterations && !rc && t->step < t->steps; k++)
            rc = update(l, &f, e);
    }
    hn_forest_release(&f);
    return rc;
}

void hn_loop_release(hn_loop *l) {
    json_decref(l->history);
    l->history = NULL;
    hn_metrics_release(&l->metrics);
}
