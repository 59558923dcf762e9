/* state.c - moments and counters on disk, and what a resumed run may change. */
#include "train/state.h"
#include "base/io.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

int hn_moments_save(const hn_params *p, const char *path, hn_err *e) {
    hn_st_writer *w;
    int rc = hn_st_writer_open(&w, path, e);
    if (rc) return rc;
    static const char *const kind[] = { "exp_avg", "exp_avg_sq" };
    char name[160];
    for (int k = 0; k < 2 && !rc; k++)
        for (int64_t i = 0; i < p->n && !rc; i++) {
            snprintf(name, sizeof name, "%s.%s", kind[k], p->list[i].name);
            rc = hn_st_writer_declare(w, name, HN_ST_F32, p->list[i].shape.nd, p->list[i].shape.d, e);
        }
    for (int k = 0; k < 2 && !rc; k++)
        for (int64_t i = 0; i < p->n && !rc; i++)
            rc = hn_st_writer_f32(w, p->moment[k] + p->list[i].at, p->list[i].count, e);
    if (!rc) return hn_st_writer_commit(w, e);
    hn_st_writer_abandon(w);
    return rc;
}

int hn_moments_load(hn_params *p, const char *path, hn_err *e) {
    hn_st *s;
    int rc = hn_st_open(&s, path, e);
    if (rc) return rc;
    static const char *const kind[] = { "exp_avg", "exp_avg_sq" };
    char name[160];
    for (int k = 0; k < 2 && !rc; k++)
        for (int64_t i = 0; i < p->n && !rc; i++) {
            snprintf(name, sizeof name, "%s.%s", kind[k], p->list[i].name);
            const hn_st_tensor *t = hn_st_find(s, name);
            if (!t || !hn_st_shape_is(t, p->list[i].shape.nd, p->list[i].shape.d))
                rc = hn_fail(e, HN_EPARSE,
                             "%s: %s is missing or of another shape: the checkpoint is of another model",
                             path, name);
            else rc = hn_st_to_f32(t, 0, t->count, p->moment[k] + p->list[i].at, e);
        }
    hn_st_close(s);
    return rc;
}

typedef struct {
    const hn_model *m;
    int64_t step;
} save_ctx;

static int save_more(void *ctx, const char *dir, hn_err *e) {
    const save_ctx *s = ctx;
    hn_buf path = { 0 }, text = { 0 };
    int rc = hn_path_join(&path, dir, "optimizer.safetensors")
                 ? hn_moments_save(&s->m->net.params, path.data, e)
                 : hn_fail(e, HN_ENOMEM, "no memory for a path");
    hn_buf_fmt(&text, "{\"updates\": %lld}\n", (long long)s->step);
    if (!rc && (text.oom || !hn_path_join(&path, dir, "counters.json")))
        rc = hn_fail(e, HN_ENOMEM, "no memory for counters");
    if (!rc) rc = hn_file_write(path.data, text.data, text.n, e);
    hn_buf_free(&path);
    hn_buf_free(&text);
    return rc;
}

int hn_state_save(const hn_model *m, const char *dir, int64_t step, hn_err *e) {
    save_ctx s = { m, step };
    return hn_model_save(m, dir, HN_ST_F32, true, save_more, &s, e);
}

int hn_state_load(hn_model *m, const char *dir, int64_t *step, hn_err *e) {
    hn_buf path = { 0 };
    int rc = hn_model_load(m, dir, e);
    if (!rc && !hn_path_join(&path, dir, "optimizer.safetensors"))
        rc = hn_fail(e, HN_ENOMEM, "no memory for a path");
    if (!rc) rc = hn_moments_load(&m->net.params, path.data, e);
    if (!rc && !hn_path_join(&path, dir, "counters.json")) rc = hn_fail(e, HN_ENOMEM, "no memory for a path");
    json_t *j = NULL;
    if (!rc) rc = hn_json_read(&j, path.data, e);
    const json_t *n = json_object_get(j, "updates");
    if (!rc && !json_is_integer(n))
        rc = hn_fail(e, HN_EPARSE, "%s: the count of updates is missing", path.data);
    if (!rc) *step = json_integer_value(n);
    json_decref(j);
    hn_buf_free(&path);
    return rc;
}

/* Keys that may change between a run and its resumption: where it writes and how it looks. */
static bool is_cosmetic(const char *key) {
    /* clang-format off */
    static const char *const free_keys[] = {
        "out", "threads", "quiet", "resume", "logging_steps", "save_steps", "save_total_limit", "store",
        "allow_tier_change", "config", "model", "data", "gradient_checkpointing"
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof free_keys / sizeof *free_keys; i++)
        if (!strcmp(key, free_keys[i])) return true;
    return false;
}

int hn_state_same_config(const json_t *was, const json_t *is, const char *path, hn_err *e) {
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)is, key, v) {
        const json_t *old = json_object_get(was, key);
        if (is_cosmetic(key) || (old && json_equal(old, v))) continue;
        char *a = old ? json_dumps(old, JSON_ENCODE_ANY) : NULL, *b = json_dumps(v, JSON_ENCODE_ANY);
        int rc = hn_fail(
            e, HN_EPARSE,
            "%s: the run was started with %s = %s and is now asked to go on with %s: give the old value, "
            "or another --out for a new run",
            path, key, a ? a : "(nothing)", b ? b : "?");
        free(a);
        free(b);
        return rc;
    }
    return HN_OK;
}
