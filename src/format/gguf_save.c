/* gguf_save.c - writer of GGUF, version 3: keys and tensors are collected, then the data streamed. */
#include "format/gguf.h"

#include "base/io.h"
#include <string.h>

enum { ALIGN = 32 };

typedef struct decl {
    hn_gguf_type type;
    const char *name;
    int rank;
    int64_t shape[HN_GGUF_RANK];
    uint64_t begin, end; /* bytes of the data */
} decl;

struct hn_gguf_writer {
    hn_out *out;
    char *path;
    hn_arena *names;
    hn_buf keys;
    uint64_t n_kv;
    decl *t;
    int64_t n, cap, cur;
    uint64_t at; /* bytes of data written, padding included */
    unsigned char *packed;
    int64_t cap_packed;
    bool begun;
};

static void number(hn_buf *b, uint64_t v, int size) {
    unsigned char c[8];
    for (int i = 0; i < size; i++) c[i] = (unsigned char)(v >> (8 * i));
    hn_buf_add(b, c, (size_t)size);
}

static void string(hn_buf *b, const char *s, size_t n) {
    number(b, n, 8);
    hn_buf_add(b, s, n);
}

/* ---- keys ---- */
static void key(hn_gguf_writer *w, const char *k, hn_gguf_kv_type type) {
    hn_assert(!w->begun);
    w->n_kv++;
    string(&w->keys, k, strlen(k));
    number(&w->keys, (uint64_t)type, 4);
}

static void list(hn_gguf_writer *w, const char *k, hn_gguf_kv_type of, int64_t n) {
    key(w, k, HN_GGUF_KV_LIST);
    number(&w->keys, (uint64_t)of, 4);
    number(&w->keys, (uint64_t)n, 8);
}

static uint32_t float_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

void hn_gguf_put_u32(hn_gguf_writer *w, const char *k, uint32_t x) {
    key(w, k, HN_GGUF_KV_U32);
    number(&w->keys, x, 4);
}

void hn_gguf_put_f32(hn_gguf_writer *w, const char *k, float x) {
    key(w, k, HN_GGUF_KV_F32);
    number(&w->keys, float_bits(x), 4);
}

void hn_gguf_put_bool(hn_gguf_writer *w, const char *k, bool x) {
    key(w, k, HN_GGUF_KV_BOOL);
    number(&w->keys, x, 1);
}

void hn_gguf_put_str(hn_gguf_writer *w, const char *k, const char *s, size_t n) {
    key(w, k, HN_GGUF_KV_STR);
    string(&w->keys, s, n);
}

void hn_gguf_put_strs(hn_gguf_writer *w, const char *k, const hn_gguf_str *s, int64_t n) {
    list(w, k, HN_GGUF_KV_STR, n);
    for (int64_t i = 0; i < n; i++) string(&w->keys, s[i].s, s[i].n);
}

void hn_gguf_put_i32s(hn_gguf_writer *w, const char *k, const int32_t *x, int64_t n) {
    list(w, k, HN_GGUF_KV_I32, n);
    for (int64_t i = 0; i < n; i++) number(&w->keys, (uint32_t)x[i], 4);
}

void hn_gguf_put_f32s(hn_gguf_writer *w, const char *k, const float *x, int64_t n) {
    list(w, k, HN_GGUF_KV_F32, n);
    for (int64_t i = 0; i < n; i++) number(&w->keys, float_bits(x[i]), 4);
}

/* ---- tensors ---- */
int hn_gguf_writer_open(hn_gguf_writer **out, const char *path, hn_err *e) {
    hn_gguf_writer *w = hn_alloc(sizeof *w);
    *out = NULL;
    if (!w || !(w->path = hn_strdup(path)) || !(w->names = hn_arena_new(1 << 14))) {
        hn_gguf_writer_abandon(w);
        return hn_fail(e, HN_ENOMEM, "%s: out of memory", path);
    }
    int rc = hn_out_open(&w->out, path, e);
    if (rc) hn_gguf_writer_abandon(w);
    else *out = w;
    return rc;
}

static uint64_t aligned(uint64_t n) { return (n + ALIGN - 1) / ALIGN * ALIGN; }

int hn_gguf_writer_declare(hn_gguf_writer *w, const char *name, hn_gguf_type type, int rank,
                           const int64_t *shape, hn_err *e) {
    decl d = { .type = type, .rank = rank };
    int64_t n = 1, bytes = 0;
    hn_assert(!w->begun && rank >= 1 && rank <= HN_GGUF_RANK);
    for (int i = 0; i < rank && n >= 0; i++) {
        hn_assert(shape[i] > 0);
        if (__builtin_mul_overflow(n, d.shape[i] = shape[i], &n)) n = -1;
    }
    if (n < 0 || (bytes = hn_gguf_bytes(type, n)) < 0 || hn_gguf_bytes(type, shape[rank - 1]) < 0)
        return hn_fail(e, HN_ERANGE,
                       "%s: tensor \"%.200s\" is too large, or its rows do not fill blocks of %s", w->path,
                       name, hn_gguf_type_name(type));
    d.begin = w->n ? aligned(w->t[w->n - 1].end) : 0;
    d.name = hn_arena_str(w->names, name, strlen(name));
    if (__builtin_add_overflow(d.begin, (uint64_t)bytes, &d.end) || d.end > INT64_MAX - ALIGN)
        return hn_fail(e, HN_ERANGE, "%s: tensor \"%.200s\" is too large to write", w->path, name);
    if (!d.name || hn_grow(&w->t, &w->cap, w->n + 1, sizeof *w->t))
        return hn_fail(e, HN_ENOMEM, "%s: out of memory while declaring \"%.200s\"", w->path, name);
    w->t[w->n++] = d;
    return HN_OK;
}

static int begin_data(hn_gguf_writer *w, hn_err *e) {
    static const char zeros[ALIGN];
    hn_buf head = { 0 }, info = { 0 };
    if (w->begun) return HN_OK;
    hn_buf_add(&head, "GGUF", 4);
    number(&head, 3, 4);
    number(&head, (uint64_t)w->n, 8);
    number(&head, w->n_kv, 8);
    for (int64_t i = 0; i < w->n; i++) {
        const decl *d = &w->t[i];
        string(&info, d->name, strlen(d->name));
        number(&info, (uint64_t)d->rank, 4);
        for (int k = d->rank - 1; k >= 0; k--) number(&info, (uint64_t)d->shape[k], 8);
        number(&info, (uint64_t)d->type, 4);
        number(&info, d->begin, 8);
    }
    bool oom = head.oom || info.oom || w->keys.oom;
    uint64_t n = head.n + w->keys.n + info.n;
    if (!oom) {
        hn_out_write(w->out, head.data, head.n);
        hn_out_write(w->out, w->keys.data, w->keys.n);
        hn_out_write(w->out, info.data, info.n);
        hn_out_write(w->out, zeros, (size_t)(aligned(n) - n));
        w->begun = true;
    }
    hn_buf_free(&head);
    hn_buf_free(&info);
    return oom ? hn_fail(e, HN_ENOMEM, "%s: out of memory for the keys", w->path) : HN_OK;
}

/* After the last byte of a tensor: zeros up to where the next one begins. */
static void pad(hn_gguf_writer *w) {
    static const char zeros[ALIGN];
    uint64_t end = w->t[w->cur].end;
    hn_out_write(w->out, zeros, (size_t)(aligned(end) - end));
    w->at = aligned(end);
    w->cur++;
}

int hn_gguf_writer_f32(hn_gguf_writer *w, const float *x, int64_t n, hn_err *e) {
    int rc = begin_data(w, e);
    if (rc || !n) return rc;
    hn_assert(w->cur < w->n);
    const decl *d = &w->t[w->cur];
    int64_t bytes = hn_gguf_bytes(d->type, n);
    hn_assert(bytes >= 0 && (uint64_t)bytes <= d->end - w->at && n % d->shape[d->rank - 1] == 0);
    if (hn_grow(&w->packed, &w->cap_packed, bytes, 1))
        return hn_fail(e, HN_ENOMEM, "%s: out of memory for \"%.200s\"", w->path, d->name);
    if (hn_gguf_pack(d->type, x, n, w->packed))
        return hn_fail(
            e, HN_ERANGE,
            "%s: tensor \"%.200s\" has a number that is not finite or too large for %s; take f32 or "
            "bf16",
            w->path, d->name, hn_gguf_type_name(d->type));
    hn_out_write(w->out, w->packed, (size_t)bytes);
    w->at += (uint64_t)bytes;
    if (w->at == d->end) pad(w);
    return HN_OK;
}

int hn_gguf_writer_commit(hn_gguf_writer *w, hn_err *e) {
    int rc = begin_data(w, e);
    if (!rc) {
        hn_assert(w->cur == w->n);
        rc = hn_out_commit(w->out, e);
        w->out = NULL;
    }
    hn_gguf_writer_abandon(w);
    return rc;
}

void hn_gguf_writer_abandon(hn_gguf_writer *w) {
    if (!w) return;
    hn_out_abandon(w->out);
    hn_buf_free(&w->keys);
    hn_free(w->t);
    hn_free(w->packed);
    hn_arena_free(w->names);
    hn_free(w->path);
    hn_free(w);
}
