/* hfdir.c - opening a Hugging Face model directory: config, generation settings, tensors over shards. */
#include "format/hfdir.h"

#include "base/io.h"
#include "base/json.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct entry {
    const hn_st_tensor *t;
    const hn_st *file;
    bool used;
} entry;

struct hn_hfdir {
    char *path;
    json_t *config;
    hn_hfconfig shape;
    hn_gencfg gen;
    hn_st **shard;
    int64_t n_shard, cap_shard;
    entry *list; /* by name */
    int64_t n;
};

/* ---- weights ---- */
static int open_shard(hn_hfdir *d, const char *name, hn_err *e) {
    hn_buf b = { 0 };
    int rc = HN_OK;
    const char *path = hn_path_join(&b, d->path, name);
    if (!path || hn_grow(&d->shard, &d->cap_shard, d->n_shard + 1, sizeof *d->shard))
        rc = hn_fail(e, HN_ENOMEM, "%s: out of memory", d->path);
    else if (!(rc = hn_st_open(&d->shard[d->n_shard], path, e))) d->n_shard++;
    hn_buf_free(&b);
    return rc;
}

/* The shard of that file name, opened when it is new. */
static int shard_of(hn_hfdir *d, const char *name, const hn_st **s, const char *tensor, hn_err *e) {
    size_t skip = strlen(d->path) + (d->path[strlen(d->path) - 1] != '/');
    *s = NULL;
    if (!*name || strchr(name, '/'))
        return hn_fail(e, HN_EPARSE,
                       "%s/model.safetensors.index.json: \"%.200s\" is not the name of a file beside it",
                       d->path, name);
    for (int64_t i = d->n_shard - 1; i >= 0; i--)
        if (!strcmp(hn_st_path(d->shard[i]) + skip, name)) {
            *s = d->shard[i];
            return HN_OK;
        }
    int rc = open_shard(d, name, e);
    if (rc) return hn_fail_in(e, "tensor \"%.100s\" should be in shard %.100s", tensor, name);
    *s = d->shard[d->n_shard - 1];
    return HN_OK;
}

static int read_index(hn_hfdir *d, const char *path, hn_err *e) {
    json_t *j, *v;
    const char *name;
    const hn_st *s;
    int rc = hn_json_read(&j, path, e);
    if (rc) return rc;
    json_t *map = json_object_get(j, "weight_map");
    if (!json_is_object(map)) rc = hn_fail(e, HN_EPARSE, "%s: weight_map is missing or not an object", path);
    else if (!json_object_size(map)) rc = hn_fail(e, HN_EPARSE, "%s: weight_map is empty", path);
    json_object_foreach(map, name, v) {
        if (rc) break;
        if (!json_is_string(v))
            rc = hn_fail(e, HN_EPARSE, "%s: weight_map.%.200s is not a file name", path, name);
        else if (!(rc = shard_of(d, json_string_value(v), &s, name, e)) && !hn_st_find(s, name))
            rc =
                hn_fail(e, HN_EPARSE, "%s: tensor \"%.200s\" should be in %s, but that file does not have it",
                        path, name, hn_st_path(s));
    }
    for (int64_t i = 0; !rc && i < d->n_shard; i++)
        for (int64_t k = 0; !rc && k < hn_st_count(d->shard[i]); k++) {
            name = hn_st_at(d->shard[i], k)->name;
            if (!json_object_get(map, name))
                rc = hn_fail(e, HN_EPARSE, "%s: tensor \"%.200s\" of %s is not in the index", path, name,
                             hn_st_path(d->shard[i]));
        }
    json_decref(j);
    return rc;
}

static int entry_order(const void *a, const void *b) {
    const entry *x = a, *y = b;
    return strcmp(x->t->name, y->t->name);
}

static int merge(hn_hfdir *d, hn_err *e) {
    for (int64_t i = 0; i < d->n_shard; i++) d->n += hn_st_count(d->shard[i]);
    if (!(d->list = hn_alloc((size_t)d->n * sizeof *d->list)))
        return hn_fail(e, HN_ENOMEM, "%s: out of memory for %lld tensors", d->path, (long long)d->n);
    int64_t n = 0;
    for (int64_t i = 0; i < d->n_shard; i++)
        for (int64_t k = 0; k < hn_st_count(d->shard[i]); k++)
            d->list[n++] = (entry){ hn_st_at(d->shard[i], k), d->shard[i], false };
    qsort(d->list, (size_t)n, sizeof *d->list, entry_order);
    for (int64_t i = 1; i < n; i++)
        if (!strcmp(d->list[i].t->name, d->list[i - 1].t->name))
            return hn_fail(e, HN_EPARSE, "tensor \"%.200s\" is twice there: in %s and in %s",
                           d->list[i].t->name, hn_st_path(d->list[i - 1].file), hn_st_path(d->list[i].file));
    return HN_OK;
}

static bool has_file(const hn_hfdir *d, hn_buf *path, const char *name) {
    return hn_path_join(path, d->path, name) && hn_path_exists(path->data);
}

static int open_weights(hn_hfdir *d, hn_err *e) {
    hn_buf b = { 0 };
    int rc = HN_OK;
    if (has_file(d, &b, "model.safetensors")) {
        rc = open_shard(d, "model.safetensors", e);
    } else if (has_file(d, &b, "model.safetensors.index.json")) {
        rc = read_index(d, b.data, e);
    } else {
        bool pickle = has_file(d, &b, "pytorch_model.bin") || has_file(d, &b, "pytorch_model.bin.index.json");
        rc = b.oom ? hn_fail(e, HN_ENOMEM, "%s: out of memory", d->path)
                   : hn_fail(e, HN_EIO,
                             "%s: neither model.safetensors nor model.safetensors.index.json is there%s",
                             d->path,
                             pickle ? "; pytorch_model.bin is a pickle, which is not read: save the model as "
                                      "safetensors"
                                    : "; is this a model directory?");
    }
    hn_buf_free(&b);
    return rc ? rc : merge(d, e);
}

/* ---- settings ---- */
static int read_generation(hn_gencfg *g, const json_t *o, int32_t vocab, const char *file, hn_err *e) {
    hn_json j = { o, file, NULL };
    int32_t id[HN_EOS_MAX], n;
    int64_t top_k = -1, new_tokens = -1, length = -1;
    bool sample = false;
    int rc;
    if (!json_is_object(o)) return hn_fail(e, HN_EPARSE, "%s: not a JSON object", file);
    if ((rc = hn_token_ids(o, "eos_token_id", vocab, id, &n, file, e))) return rc;
    if (n) memcpy(g->eos, id, (size_t)(g->n_eos = n) * sizeof *id);
    if ((rc = hn_token_ids(o, "bos_token_id", vocab, id, &n, file, e))) return rc;
    if (n) g->bos = id[0];
    if ((rc = hn_token_ids(o, "pad_token_id", vocab, id, &n, file, e))) return rc;
    if (n) g->pad = id[0];
    if ((rc = hn_json_num(&j, "temperature", 0, 1e6, &g->temperature, e)) ||
        (rc = hn_json_num(&j, "top_p", 0, 1, &g->top_p, e)) ||
        (rc = hn_json_num(&j, "min_p", 0, 1, &g->min_p, e)) ||
        (rc = hn_json_num(&j, "repetition_penalty", 1e-6, 1e6, &g->repetition_penalty, e)) ||
        (rc = hn_json_int(&j, "top_k", 0, INT32_MAX, &top_k, e)) ||
        (rc = hn_json_int(&j, "max_new_tokens", 1, INT32_MAX, &new_tokens, e)) ||
        (rc = hn_json_int(&j, "max_length", 1, INT32_MAX, &length, e)) ||
        (rc = hn_json_bool(&j, "do_sample", &sample, e)))
        return rc;
    g->top_k = (int32_t)top_k;
    g->max_new_tokens = (int32_t)new_tokens;
    g->max_length = (int32_t)length;
    if (hn_json_has(&j, "do_sample")) g->do_sample = sample;
    return HN_OK;
}

static int open_settings(hn_hfdir *d, hn_err *e) {
    hn_buf b = { 0 };
    const char *path = hn_path_join(&b, d->path, "config.json");
    int rc = path ? hn_json_read(&d->config, path, e) : hn_fail(e, HN_ENOMEM, "%s: out of memory", d->path);
    if (!rc) rc = hn_hfconfig_read(&d->shape, d->config, path, e);
    if (!rc) {
        hn_gencfg *g = &d->gen;
        *g = (hn_gencfg){
            d->shape.n_eos, { 0 }, d->shape.bos, d->shape.pad, -1, NAN, NAN, NAN, NAN, -1, -1, -1
        };
        memcpy(g->eos, d->shape.eos, sizeof g->eos);
        if (!(path = hn_path_join(&b, d->path, "generation_config.json")))
            rc = hn_fail(e, HN_ENOMEM, "%s: out of memory", d->path);
        json_t *j = NULL;
        if (!rc && hn_path_exists(path) && !(rc = hn_json_read(&j, path, e)))
            rc = read_generation(g, j, d->shape.vocab_size, path, e);
        json_decref(j);
    }
    hn_buf_free(&b);
    return rc;
}

static int open_dir(hn_hfdir **out, const char *path, bool weights, hn_err *e) {
    *out = NULL;
    int rc = hn_dir_recover(path, e);
    if (rc) return rc;
    if (!hn_path_is_dir(path))
        return hn_fail(e, HN_EIO, "%s is not a directory; a Hugging Face model directory is needed", path);
    hn_hfdir *d = hn_alloc(sizeof *d);
    if (!d || !(d->path = hn_strdup(path))) {
        hn_free(d);
        return hn_fail(e, HN_ENOMEM, "%s: out of memory", path);
    }
    if ((rc = open_settings(d, e)) || (weights && (rc = open_weights(d, e)))) hn_hfdir_close(d);
    else *out = d;
    return rc;
}

int hn_hfdir_open(hn_hfdir **out, const char *path, hn_err *e) { return open_dir(out, path, true, e); }
int hn_hfdir_settings(hn_hfdir **out, const char *path, hn_err *e) { return open_dir(out, path, false, e); }

void hn_hfdir_close(hn_hfdir *d) {
    if (!d) return;
    for (int64_t i = 0; i < d->n_shard; i++) hn_st_close(d->shard[i]);
    hn_free(d->shard);
    hn_free(d->list);
    json_decref(d->config);
    hn_free(d->path);
    hn_free(d);
}

const char *hn_hfdir_path(const hn_hfdir *d) { return d->path; }
const json_t *hn_hfdir_json(const hn_hfdir *d) { return d->config; }
const hn_hfconfig *hn_hfdir_config(const hn_hfdir *d) { return &d->shape; }
const hn_gencfg *hn_hfdir_generation(const hn_hfdir *d) { return &d->gen; }
int64_t hn_hfdir_count(const hn_hfdir *d) { return d->n; }

const hn_st_tensor *hn_hfdir_at(const hn_hfdir *d, int64_t i) {
    hn_assert(i >= 0 && i < d->n);
    return d->list[i].t;
}

static entry *find(const hn_hfdir *d, const char *name) {
    hn_st_tensor t = { .name = name };
    entry key = { &t, NULL, false };
    return bsearch(&key, d->list, (size_t)d->n, sizeof *d->list, entry_order);
}

const hn_st_tensor *hn_hfdir_find(const hn_hfdir *d, const char *name) {
    const entry *x = find(d, name);
    return x ? x->t : NULL;
}

int hn_hfdir_need(hn_hfdir *d, const char *name, int rank, const int64_t *shape, const hn_st_tensor **t,
                  hn_err *e) {
    entry *x = find(d, name);
    *t = NULL;
    if (!x)
        return hn_fail(e, HN_EPARSE,
                       "%s: tensor \"%.200s\" is missing; config.json describes a model that has it", d->path,
                       name);
    if (!hn_st_shape_is(x->t, rank, shape)) {
        hn_buf is = { 0 }, want = { 0 };
        hn_st_shape_text(x->t->rank, x->t->shape, &is);
        hn_st_shape_text(rank, shape, &want);
        hn_fail(e, HN_EPARSE, "%s: tensor \"%.200s\" has shape %s, config.json asks for %s",
                hn_st_path(x->file), name, is.oom ? "?" : is.data, want.oom ? "?" : want.data);
        hn_buf_free(&is);
        hn_buf_free(&want);
        return HN_EPARSE;
    }
    x->used = true;
    *t = x->t;
    return HN_OK;
}

static bool ends_with(const char *s, const char *tail) {
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && !strcmp(s + n - k, tail);
}

int hn_hfdir_rest(const hn_hfdir *d, hn_err *e) {
    const entry *embed = find(d, "model.embed_tokens.weight");
    for (int64_t i = 0; i < d->n; i++) {
        const hn_st_tensor *t = d->list[i].t;
        if (d->list[i].used || ends_with(t->name, ".rotary_emb.inv_freq")) continue;
        bool head = d->shape.tied && embed && !strcmp(t->name, "lm_head.weight");
        if (head && t->size == embed->t->size && !memcmp(t->data, embed->t->data, t->size)) continue;
        if (head)
            return hn_fail(e, HN_EUNSUP,
                           "%s: config.json says tie_word_embeddings, but lm_head.weight differs from "
                           "model.embed_tokens.weight; set tie_word_embeddings to false",
                           hn_st_path(d->list[i].file));
        return hn_fail(e, HN_EUNSUP,
                       "%s: tensor \"%.200s\" has no place in the model that config.json describes",
                       hn_st_path(d->list[i].file), t->name);
    }
    return HN_OK;
}
