/* hfsave.c - writing a Hugging Face model directory: built beside its place, renamed in one step. */
#include "format/hfdir.h"

#include "base/io.h"
#include "base/json.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* One save under way. */
typedef struct job {
    const hn_hfsave *s;
    char *dir;      /* the final place, resolved */
    hn_buf build;   /* where it is built */
    hn_buf a, b;    /* paths being made */
    int32_t *shard; /* [n] file that each tensor goes to */
    int32_t n_shard;
    int64_t bytes; /* of all data */
} job;

static int no_memory(const job *j, hn_err *e) {
    return hn_fail(e, HN_ENOMEM, "%s: out of memory while saving", j->dir);
}

/* ---- which files are a model's ---- */
static bool ends_with(const char *s, const char *tail) {
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && !strcmp(s + n - k, tail);
}

static bool one_of(const char *name, const char *const *list) {
    while (*list && strcmp(name, *list)) list++;
    return *list;
}

#define TEMPLATES "additional_chat_templates"

bool hn_hf_is_tokenizer_file(const char *name) {
    static const char *const known[] = { "tokenizer.json",
                                         "tokenizer_config.json",
                                         "special_tokens_map.json",
                                         "vocab.json",
                                         "vocab.txt",
                                         "merges.txt",
                                         "added_tokens.json",
                                         "tokenizer.model",
                                         "chat_template.json",
                                         "chat_template.jinja",
                                         NULL };
    return one_of(name, known) || ends_with(name, ".tiktoken") || ends_with(name, ".jinja") ||
           ends_with(name, ".model") || !strcmp(name, TEMPLATES);
}

/* Carried over from the source: the tokenizer, generation settings and the licence of the weights. */
static bool carried(const char *name) {
    return hn_hf_is_tokenizer_file(name) || !strcmp(name, "generation_config.json") ||
           !strncmp(name, "LICENSE", 7) || !strncmp(name, "NOTICE", 6);
}

static bool ours(const char *name) {
    return carried(name) || !strcmp(name, "config.json") || !strcmp(name, "model.safetensors.index.json") ||
           (!strncmp(name, "model", 5) && ends_with(name, ".safetensors"));
}

static int check_foreign(void *ctx, const char *name, hn_err *e) {
    const job *j = ctx;
    if (ours(name)) return HN_OK;
    return hn_fail(e, HN_EIO,
                   "%s holds %s, which is not part of a saved model and would be lost; give another place",
                   j->dir, name);
}

/* ---- the parts ---- */
static int copy_one(const job *j, hn_buf *from, hn_buf *to, const char *dir, const char *name, hn_err *e) {
    if (!hn_path_join(from, dir, name) || !hn_path_join(to, j->build.data, name)) return no_memory(j, e);
    return hn_path_is_dir(from->data) ? HN_OK : hn_file_copy(from->data, to->data, e);
}

static int carry(void *ctx, const char *name, hn_err *e) {
    job *j = ctx;
    return carried(name) ? copy_one(j, &j->a, &j->b, j->s->source, name, e) : HN_OK;
}

static int carry_template(void *ctx, const char *name, hn_err *e) {
    job *j = ctx;
    hn_buf inner = { 0 };
    hn_buf_fmt(&inner, TEMPLATES "/%s", name);
    int rc = inner.oom ? no_memory(j, e) : copy_one(j, &j->a, &j->b, j->s->source, inner.data, e);
    hn_buf_free(&inner);
    return rc;
}

static int carry_all(job *j, hn_err *e) {
    int rc = hn_dir_each(j->s->source, carry, j, e);
    if (rc) return rc;
    if (!hn_path_join(&j->a, j->s->source, TEMPLATES) || !hn_path_join(&j->b, j->build.data, TEMPLATES))
        return no_memory(j, e);
    if (!hn_path_is_dir(j->a.data)) return HN_OK;
    if ((rc = hn_dir_make(j->b.data, e))) return rc;
    char *templates = hn_strdup(j->a.data); /* a is used by each copy */
    if (!templates) return no_memory(j, e);
    rc = hn_dir_each(templates, carry_template, j, e);
    hn_free(templates);
    return rc;
}

/* Replaces *text by itself with one key set.  Takes over `value`. */
static int set_key(hn_buf *text, const char *key, json_t *value, hn_err *e) {
    hn_buf next = { 0 };
    int rc = value ? hn_json_patch(&next, text->data, text->n, key, value, e)
                   : hn_fail(e, HN_ENOMEM, "out of memory while setting \"%s\"", key);
    json_decref(value);
    if (rc) {
        hn_buf_free(&next);
        return rc;
    }
    hn_buf_free(text);
    *text = next;
    return HN_OK;
}

/* A config that has only version 5's rope_parameters gets the older spelling too: transformers 4 would
 * otherwise take its default angles without a word. */
static int add_old_rope(hn_buf *text, hn_err *e) {
    json_t *j;
    int rc = hn_json_parse(&j, text->data, text->n, "config.json", e);
    if (rc) return rc;
    json_t *p = json_object_get(j, "rope_parameters"), *theta = json_object_get(p, "rope_theta");
    const char *type = json_string_value(json_object_get(p, "rope_type"));
    if (theta && !json_object_get(j, "rope_theta")) rc = set_key(text, "rope_theta", json_incref(theta), e);
    if (!rc && type && strcmp(type, "default") && !json_object_size(json_object_get(j, "rope_scaling"))) {
        json_t *scaling = json_copy(p);
        json_object_del(scaling, "rope_theta");
        rc = set_key(text, "rope_scaling", scaling, e);
    }
    json_decref(j);
    return rc;
}

static int save_config(job *j, hn_err *e) {
    const char *dtype = j->s->dtype == HN_ST_BF16 ? "bfloat16" : "float32", *key;
    hn_buf text = { 0 };
    json_t *v, *set = (json_t *)j->s->config; /* jansson's iterators are not const */
    int rc = HN_OK;
    if (!j->s->source) {
        hn_json_print(&text, j->s->config);
        hn_buf_chr(&text, '\n');
        if (text.oom) rc = no_memory(j, e);
    } else if (!hn_path_join(&j->a, j->s->source, "config.json")) {
        rc = no_memory(j, e);
    } else if (!(rc = hn_file_read(j->a.data, &text.data, &text.n, e))) {
        json_object_foreach(set, key, v) if (!rc) rc = set_key(&text, key, json_incref(v), e);
    }
    if (!rc && !(rc = add_old_rope(&text, e)) && !(rc = set_key(&text, "dtype", json_string(dtype), e)))
        rc = set_key(&text, "torch_dtype", json_string(dtype), e);
    if (!rc && !hn_path_join(&j->b, j->build.data, "config.json")) rc = no_memory(j, e);
    if (!rc) rc = hn_file_write(j->b.data, text.data, text.n, e);
    hn_buf_free(&text);
    return rc;
}

/* ---- weights ---- */
static int64_t tensor_bytes(const hn_hftensor *t, hn_st_dtype d) {
    int64_t n = (int64_t)hn_st_size(d);
    for (int i = 0; i < t->rank; i++)
        if (__builtin_mul_overflow(n, t->shape[i], &n)) return -1;
    return n;
}

/* Tensors in their order fill one file after the other; one that is larger than a file has it to itself. */
static int plan_shards(job *j, hn_err *e) {
    const hn_hfsave *s = j->s;
    int64_t used = 0;
    if (!(j->shard = hn_alloc((size_t)s->n * sizeof *j->shard))) return no_memory(j, e);
    for (int64_t i = 0; i < s->n; i++) {
        int64_t size = tensor_bytes(&s->tensor[i], s->dtype);
        if (size < 0 || __builtin_add_overflow(j->bytes, size, &j->bytes))
            return hn_fail(e, HN_ERANGE, "tensor \"%.200s\" is too large to write", s->tensor[i].name);
        if (s->shard_bytes && used && used + size > s->shard_bytes) {
            j->n_shard++;
            used = 0;
        }
        used += size;
        j->shard[i] = j->n_shard;
    }
    j->n_shard++;
    return HN_OK;
}

static const char *shard_name(const job *j, int32_t k, char name[64]) {
    if (j->n_shard == 1) snprintf(name, 64, "model.safetensors");
    else snprintf(name, 64, "model-%05d-of-%05d.safetensors", k + 1, j->n_shard);
    return name;
}

static int save_shard(job *j, int32_t k, hn_err *e) {
    const hn_hfsave *s = j->s;
    char name[64];
    hn_st_writer *w;
    if (!hn_path_join(&j->a, j->build.data, shard_name(j, k, name))) return no_memory(j, e);
    int rc = hn_st_writer_open(&w, j->a.data, e);
    if (rc) return rc;
    for (int64_t i = 0; !rc && i < s->n; i++)
        if (j->shard[i] == k)
            rc = hn_st_writer_declare(w, s->tensor[i].name, s->dtype, s->tensor[i].rank, s->tensor[i].shape,
                                      e);
    for (int64_t i = 0; !rc && i < s->n; i++)
        if (j->shard[i] == k) rc = s->data(s->ctx, i, w, e);
    if (!rc) return hn_st_writer_commit(w, e);
    hn_st_writer_abandon(w);
    return rc;
}

static int save_index(job *j, hn_err *e) {
    char name[64];
    hn_buf text = { 0 };
    json_t *map = json_object(),
           *all = json_pack("{s:{s:I}}", "metadata", "total_size", (json_int_t)j->bytes);
    bool bad = !map || !all;
    for (int64_t i = 0; !bad && i < j->s->n; i++)
        bad = json_object_set_new(map, j->s->tensor[i].name, json_string(shard_name(j, j->shard[i], name)));
    bad = bad || json_object_set(all, "weight_map", map) || hn_json_print(&text, all);
    hn_buf_chr(&text, '\n');
    bad = bad || text.oom || !hn_path_join(&j->a, j->build.data, "model.safetensors.index.json");
    int rc = bad ? no_memory(j, e) : hn_file_write(j->a.data, text.data, text.n, e);
    json_decref(map);
    json_decref(all);
    hn_buf_free(&text);
    return rc;
}

/* ---- the whole ---- */
/* The place as an absolute or given name without trailing slashes; a link to a directory is followed. */
static int resolve(job *j, const char *dir, hn_err *e) {
    char *real = realpath(dir, NULL);
    size_t n = strlen(real ? real : dir);
    const char *from = real ? real : dir;
    while (n > 1 && from[n - 1] == '/') n--;
    j->dir = hn_strndup(from, n);
    free(real);
    if (!j->dir) return hn_fail(e, HN_ENOMEM, "%s: out of memory while saving", dir);
    if (!strcmp(j->dir, "/") || !*j->dir)
        return hn_fail(e, HN_EIO, "\"%s\" cannot be a model directory", dir);
    hn_buf_fmt(&j->build, "%s.hone-new", j->dir);
    return j->build.oom ? no_memory(j, e) : HN_OK;
}

static int check_room(const job *j, hn_err *e) {
    int64_t have = hn_disk_free(j->dir), need = j->bytes + (1 << 20);
    if (have < 0 || have >= need) return HN_OK;
    return hn_fail(
        e, HN_EIO,
        "%s: the disk is too full: the model needs %lld bytes, %lld are free; make room there or give "
        "another place",
        j->dir, (long long)need, (long long)have);
}

static int build(job *j, hn_err *e) {
    int rc = hn_dir_remove(j->build.data, e); /* left by one that was killed */
    if (rc || (rc = hn_dir_make(j->build.data, e))) return rc;
    if (j->s->source && (rc = carry_all(j, e))) return rc;
    if ((rc = save_config(j, e))) return rc;
    for (int32_t k = 0; k < j->n_shard; k++)
        if ((rc = save_shard(j, k, e))) return rc;
    if (j->n_shard > 1 && (rc = save_index(j, e))) return rc;
    return j->s->more ? j->s->more(j->s->ctx, j->build.data, e) : HN_OK;
}

/* Puts what was built in its place.  When that fails before the names changed, it is removed; after that,
 * what is left under the building name is the former directory, which stays until the new one is known to be
 * safe. */
static int put(job *j, hn_err *e) {
    struct stat built, there;
    bool known = !stat(j->build.data, &built);
    int rc = hn_dir_replace(j->build.data, j->dir, e);
    bool placed =
        known && !stat(j->dir, &there) && there.st_ino == built.st_ino && there.st_dev == built.st_dev;
    if (rc && !placed) hn_dir_remove(j->build.data, NULL);
    return rc;
}

int hn_hfdir_save(const char *dir, const hn_hfsave *s, hn_err *e) {
    job j = { .s = s };
    hn_assert(s->dtype == HN_ST_F32 || s->dtype == HN_ST_BF16);
    hn_assert((s->source || s->config) && s->n > 0 && s->tensor && s->data && s->shard_bytes >= 0);
    int rc = resolve(&j, dir, e);
    if (!rc) rc = hn_dir_recover(j.dir, e);
    if (!rc && hn_path_exists(j.dir) && !hn_path_is_dir(j.dir))
        rc = hn_fail(e, HN_EIO, "%s is a file; a directory is to be written, so give another name", j.dir);
    if (!rc && hn_path_is_dir(j.dir) && !s->replace) rc = hn_dir_each(j.dir, check_foreign, &j, e);
    if (!rc) rc = plan_shards(&j, e);
    if (!rc) rc = check_room(&j, e);
    if (!rc) {
        rc = build(&j, e);
        if (!rc) rc = put(&j, e);
        else hn_dir_remove(j.build.data, NULL);
    }
    hn_free(j.dir);
    hn_free(j.shard);
    hn_buf_free(&j.build);
    hn_buf_free(&j.a);
    hn_buf_free(&j.b);
    return rc;
}
