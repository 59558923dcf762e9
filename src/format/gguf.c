/* gguf.c - reader of GGUF.
 *
 * A file from outside is believed in nothing: every count is held against the bytes that are left before
 * memory is asked for by it, every length before it is used, and the tensors must lie one after the other,
 * each at the next multiple of the alignment, as every writer of the format puts them. */
#include "format/gguf.h"

#include "base/io.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 65535, ALIGN = 32, KV_LEAST = 8 + 4 + 1, TENSOR_LEAST = 8 + 4 + 4 + 8 };

struct hn_gguf {
    hn_map map;
    char *path;
    hn_arena *names;
    hn_gguf_kv *kv;
    int32_t *kv_order; /* indices into kv, sorted by key */
    int64_t n_kv;
    hn_gguf_tensor *tensor; /* by offset */
    int32_t *order;         /* indices into tensor, sorted by name */
    int64_t n;
};

/* ---- bytes ---- */
typedef struct cursor {
    hn_gguf *g;
    const unsigned char *p, *end;
    hn_err *e;
    int rc;
} cursor;

static int cut(cursor *c, const char *what) {
    if (!c->rc)
        c->rc = hn_fail(c->e, HN_EPARSE, "%s: truncated at %s: the file has %zu bytes (copy it again)",
                        c->g->path, what, c->g->map.n);
    return c->rc;
}

static uint64_t number(cursor *c, int size, const char *what) {
    uint64_t v = 0;
    if (c->rc || c->end - c->p < size) return cut(c, what), 0;
    for (int i = size - 1; i >= 0; i--) v = v << 8 | c->p[i];
    c->p += size;
    return v;
}

static hn_gguf_str string(cursor *c, const char *what) {
    uint64_t n = number(c, 8, what);
    if (c->rc || n > (uint64_t)(c->end - c->p)) return cut(c, what), (hn_gguf_str){ "", 0 };
    hn_gguf_str s = { (const char *)c->p, (size_t)n };
    c->p += n;
    return s;
}

/* A key or the name of a tensor as text that stays. */
static const char *named(cursor *c, const char *what) {
    hn_gguf_str s = string(c, what);
    if (c->rc) return NULL;
    if (!s.n || s.n > NAME_MAX_BYTES || memchr(s.s, 0, s.n)) {
        c->rc = hn_fail(c->e, HN_EPARSE, "%s: %s is empty, too long or holds a 0 byte", c->g->path, what);
        return NULL;
    }
    const char *copy = hn_arena_str(c->g->names, s.s, s.n);
    if (!copy) c->rc = hn_fail(c->e, HN_ENOMEM, "%s: out of memory for names", c->g->path);
    return copy;
}

/* ---- keys ---- */
static const struct {
    const char *name;
    int size; /* 0: its own length is in the file */
} kinds[HN_GGUF_KV_TYPES] = {
    { "u8", 1 },   { "i8", 1 },     { "u16", 2 },  { "i16", 2 }, { "u32", 4 }, { "i32", 4 }, { "f32", 4 },
    { "bool", 1 }, { "string", 0 }, { "list", 0 }, { "u64", 8 }, { "i64", 8 }, { "f64", 8 },
};

static int read_values(cursor *c, hn_gguf_kv *k) {
    hn_gguf *g = c->g;
    int size = kinds[k->of].size;
    uint64_t left = (uint64_t)(c->end - c->p), n = (uint64_t)k->n;
    if (n > left / (size ? (uint64_t)size : 8)) return cut(c, k->key);
    if (size) {
        k->data = c->p;
        c->p += n * (uint64_t)size;
        for (uint64_t i = 0; k->of == HN_GGUF_KV_BOOL && i < n; i++)
            if (k->data[i] > 1)
                return c->rc = hn_fail(c->e, HN_EPARSE, "%s: %s: a bool of %d", g->path, k->key, k->data[i]);
        return HN_OK;
    }
    k->str = hn_alloc((size_t)n * sizeof *k->str);
    if (!k->str) return c->rc = hn_fail(c->e, HN_ENOMEM, "%s: out of memory for %s", g->path, k->key);
    for (uint64_t i = 0; !c->rc && i < n; i++) k->str[i] = string(c, k->key);
    return c->rc;
}

static int read_kv(cursor *c, hn_gguf_kv *k) {
    k->key = named(c, "the name of a key");
    uint64_t type = number(c, 4, c->rc ? "a key" : k->key), of = type, n = 1;
    if (!c->rc && type == HN_GGUF_KV_LIST) {
        of = number(c, 4, k->key);
        n = number(c, 8, k->key);
    }
    if (c->rc) return c->rc;
    if (type >= HN_GGUF_KV_TYPES || of >= HN_GGUF_KV_TYPES)
        return c->rc =
                   hn_fail(c->e, HN_EPARSE, "%s: %s has type %llu, of which there are %d", c->g->path, k->key,
                           (unsigned long long)(type >= HN_GGUF_KV_TYPES ? type : of), HN_GGUF_KV_TYPES);
    if (of == HN_GGUF_KV_LIST)
        return c->rc = hn_fail(c->e, HN_EUNSUP, "%s: %s is a list of lists, which is not supported",
                               c->g->path, k->key);
    if (n > INT64_MAX / 16) return cut(c, k->key);
    k->type = (hn_gguf_kv_type)type, k->of = (hn_gguf_kv_type)of, k->n = (int64_t)n;
    return read_values(c, k);
}

static int kv_order(const void *a, const void *b, void *kv) {
    const hn_gguf_kv *k = kv;
    return strcmp(k[*(const int32_t *)a].key, k[*(const int32_t *)b].key);
}

static int tensor_order(const void *a, const void *b, void *tensor) {
    const hn_gguf_tensor *t = tensor;
    return strcmp(t[*(const int32_t *)a].name, t[*(const int32_t *)b].name);
}

static int read_keys(cursor *c, uint64_t n) {
    hn_gguf *g = c->g;
    if (n > (uint64_t)(c->end - c->p) / KV_LEAST || n > INT32_MAX) return cut(c, "the list of keys");
    g->kv = hn_alloc((size_t)n * sizeof *g->kv);
    g->kv_order = hn_alloc((size_t)n * sizeof *g->kv_order);
    if (!g->kv || !g->kv_order)
        return c->rc = hn_fail(c->e, HN_ENOMEM, "%s: out of memory for its keys", g->path);
    for (uint64_t i = 0; i < n; i++) {
        g->n_kv = (int64_t)i + 1; /* what it holds is given back even when it fails */
        if (read_kv(c, &g->kv[i])) return c->rc;
        g->kv_order[i] = (int32_t)i;
    }
    qsort_r(g->kv_order, (size_t)n, sizeof *g->kv_order, kv_order, g->kv);
    for (int64_t i = 1; i < g->n_kv; i++)
        if (!kv_order(&g->kv_order[i - 1], &g->kv_order[i], g->kv))
            return c->rc = hn_fail(c->e, HN_EPARSE, "%s: key %s is twice there", g->path,
                                   g->kv[g->kv_order[i]].key);
    return HN_OK;
}

/* ---- tensors ---- */
/* `data` is the offset in the file for now: where the data begin is known after the last tensor. */
static int read_tensor(cursor *c, hn_gguf_tensor *t, uint64_t *offset) {
    const char *path = c->g->path;
    t->name = named(c, "the name of a tensor");
    uint64_t rank = number(c, 4, "a tensor"), size;
    if (c->rc) return c->rc;
    if (rank < 1 || rank > HN_GGUF_RANK)
        return c->rc = hn_fail(c->e, HN_EPARSE, "%s: tensor \"%.200s\" has rank %llu, not 1 to %d", path,
                               t->name, (unsigned long long)rank, HN_GGUF_RANK);
    t->rank = (int)rank;
    t->count = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        size = number(c, 8, t->name);
        if (size > INT64_MAX || __builtin_mul_overflow(t->count, (int64_t)size, &t->count) || size == 0)
            return c->rc = hn_fail(c->e, HN_EPARSE,
                                   "%s: tensor \"%.200s\": its sizes are zero or their product overflows",
                                   path, t->name);
        t->shape[i] = (int64_t)size;
    }
    t->type = (uint32_t)number(c, 4, t->name);
    *offset = number(c, 8, t->name);
    if (c->rc) return c->rc;
    if (!hn_gguf_type_name(t->type))
        return c->rc = hn_fail(c->e, HN_EUNSUP, "%s: tensor \"%.200s\" has type %u, which is not known", path,
                               t->name, t->type);
    int64_t row = hn_gguf_bytes(t->type, t->shape[t->rank - 1]), bytes = hn_gguf_bytes(t->type, t->count);
    if (row < 0 || bytes < 0)
        return c->rc =
                   hn_fail(c->e, HN_EPARSE, "%s: tensor \"%.200s\": a row of %lld does not fill blocks of %s",
                           path, t->name, (long long)t->shape[t->rank - 1], hn_gguf_type_name(t->type));
    t->size = (size_t)bytes;
    return HN_OK;
}

static int by_offset(const void *a, const void *b, void *offset) {
    uint64_t x = ((const uint64_t *)offset)[*(const int32_t *)a],
             y = ((const uint64_t *)offset)[*(const int32_t *)b];
    return x < y ? -1 : x > y;
}

/* Puts the tensors in the order of their data, where each must begin at the first multiple of `align` after
 * the one before it.  `order` has their indices by offset. */
static int place(cursor *c, const hn_gguf_tensor *list, const uint64_t *offset, uint64_t align) {
    hn_gguf *g = c->g;
    uint64_t head = (uint64_t)(c->p - g->map.data), begin = (head + align - 1) / align * align, at = 0;
    uint64_t room = g->map.n > begin ? g->map.n - begin : 0, end = 0;
    for (int64_t i = 0; i < g->n; i++) {
        hn_gguf_tensor *t = &g->tensor[i];
        *t = list[g->order[i]];
        uint64_t from = offset[g->order[i]];
        if (from != at)
            return hn_fail(c->e, HN_EPARSE,
                           "%s: tensor \"%.200s\" begins at byte %llu of the data and should at %llu: %s",
                           g->path, t->name, (unsigned long long)from, (unsigned long long)at,
                           from % align ? "not a multiple of the alignment"
                           : from < at  ? "it overlaps the one before it"
                                        : "the bytes between belong to no tensor");
        if (from > room || t->size > room - from)
            return hn_fail(
                c->e, HN_EPARSE,
                "%s: tensor \"%.200s\" needs %zu bytes from byte %llu of the data, which has %llu: "
                "the file is truncated (copy it again)",
                g->path, t->name, t->size, (unsigned long long)from, (unsigned long long)room);
        t->data = g->map.data + begin + from;
        end = from + t->size;
        at = (end + align - 1) / align * align;
    }
    if (room - end < align) return HN_OK;
    return hn_fail(c->e, HN_EPARSE, "%s: %llu bytes after the last tensor belong to none", g->path,
                   (unsigned long long)(room - end));
}

static int read_tensors(cursor *c, uint64_t n) {
    hn_gguf *g = c->g;
    int64_t align = ALIGN;
    int rc = hn_gguf_int(g, "general.alignment", 1, 1 << 30, &align, c->e);
    if (rc) return rc;
    if (align & (align - 1))
        return hn_fail(c->e, HN_EPARSE, "%s: general.alignment %lld is not a power of two", g->path,
                       (long long)align);
    if (n > (uint64_t)(c->end - c->p) / TENSOR_LEAST || n > INT32_MAX) return cut(c, "the list of tensors");
    hn_gguf_tensor *list = hn_alloc((size_t)n * sizeof *list);
    uint64_t *offset = hn_alloc((size_t)n * sizeof *offset);
    g->tensor = hn_alloc((size_t)n * sizeof *g->tensor);
    g->order = hn_alloc((size_t)n * sizeof *g->order);
    g->n = (int64_t)n;
    if (!list || !offset || !g->tensor || !g->order)
        rc = hn_fail(c->e, HN_ENOMEM, "%s: out of memory for its tensors", g->path);
    for (uint64_t i = 0; !rc && i < n; i++) {
        rc = read_tensor(c, &list[i], &offset[i]);
        g->order[i] = (int32_t)i;
    }
    if (!rc) {
        qsort_r(g->order, (size_t)n, sizeof *g->order, by_offset, offset);
        rc = place(c, list, offset, (uint64_t)align);
    }
    hn_free(list);
    hn_free(offset);
    if (rc) return rc;
    for (uint64_t i = 0; i < n; i++) g->order[i] = (int32_t)i;
    qsort_r(g->order, (size_t)n, sizeof *g->order, tensor_order, g->tensor);
    for (uint64_t i = 1; i < n; i++)
        if (!tensor_order(&g->order[i - 1], &g->order[i], g->tensor))
            return hn_fail(c->e, HN_EPARSE, "%s: tensor \"%.200s\" is twice there", g->path,
                           g->tensor[g->order[i]].name);
    return HN_OK;
}

/* ---- the file ---- */
static int read_all(hn_gguf *g, hn_err *e) {
    cursor c = { g, g->map.data, g->map.data + g->map.n, e, HN_OK };
    if (g->map.n < 4 || memcmp(g->map.data, "GGUF", 4))
        return hn_fail(e, HN_EPARSE, "%s: not a GGUF file: it does not begin with \"GGUF\"", g->path);
    c.p += 4;
    uint64_t version = number(&c, 4, "the version");
    if (!c.rc && version && !(version & 0xffff))
        return hn_fail(e, HN_EUNSUP, "%s: a GGUF of big-endian numbers; only little-endian is read", g->path);
    if (!c.rc && version != 2 && version != 3)
        return hn_fail(e, HN_EUNSUP,
                       "%s: a GGUF of version %llu; versions 2 and 3 are read (convert it anew)", g->path,
                       (unsigned long long)version);
    uint64_t n_tensor = number(&c, 8, "the number of tensors"), n_kv = number(&c, 8, "the number of keys");
    if (c.rc || read_keys(&c, n_kv)) return c.rc;
    return read_tensors(&c, n_tensor);
}

static int open_map(hn_gguf **out, const char *path, const void *p, size_t n, hn_err *e) {
    hn_gguf *g = hn_alloc(sizeof *g);
    int rc = HN_OK;
    *out = NULL;
    if (!g || !(g->path = hn_strdup(path)) || !(g->names = hn_arena_new(1 << 14)))
        rc = hn_fail(e, HN_ENOMEM, "%s: out of memory", path);
    else if (p) g->map = (hn_map){ p, n };
    else rc = hn_map_open(&g->map, path, e);
    if (!rc) rc = read_all(g, e);
    if (g && p) g->map = (hn_map){ 0 }; /* not ours to unmap */
    if (!rc) *out = g;
    else hn_gguf_close(g);
    return rc;
}

int hn_gguf_open(hn_gguf **out, const char *path, hn_err *e) { return open_map(out, path, NULL, 0, e); }

int hn_gguf_open_mem(hn_gguf **out, const void *p, size_t n, const char *name, hn_err *e) {
    return open_map(out, name, p ? p : "", n, e);
}

void hn_gguf_close(hn_gguf *g) {
    if (!g) return;
    for (int64_t i = 0; i < g->n_kv; i++) hn_free(g->kv[i].str);
    hn_free(g->kv);
    hn_free(g->kv_order);
    hn_free(g->tensor);
    hn_free(g->order);
    hn_arena_free(g->names);
    hn_map_close(&g->map);
    hn_free(g->path);
    hn_free(g);
}

const char *hn_gguf_path(const hn_gguf *g) { return g->path; }
int64_t hn_gguf_kv_count(const hn_gguf *g) { return g->n_kv; }
int64_t hn_gguf_count(const hn_gguf *g) { return g->n; }

const hn_gguf_kv *hn_gguf_kv_at(const hn_gguf *g, int64_t i) {
    hn_assert(i >= 0 && i < g->n_kv);
    return &g->kv[i];
}

const hn_gguf_tensor *hn_gguf_at(const hn_gguf *g, int64_t i) {
    hn_assert(i >= 0 && i < g->n);
    return &g->tensor[i];
}

const hn_gguf_kv *hn_gguf_kv_find(const hn_gguf *g, const char *key) {
    for (int64_t lo = 0, hi = g->n_kv; lo < hi;) {
        int64_t mid = lo + (hi - lo) / 2;
        const hn_gguf_kv *k = &g->kv[g->kv_order[mid]];
        int d = strcmp(k->key, key);
        if (!d) return k;
        if (d < 0) lo = mid + 1;
        else hi = mid;
    }
    return NULL;
}

const hn_gguf_tensor *hn_gguf_find(const hn_gguf *g, const char *name) {
    for (int64_t lo = 0, hi = g->n; lo < hi;) {
        int64_t mid = lo + (hi - lo) / 2;
        const hn_gguf_tensor *t = &g->tensor[g->order[mid]];
        int d = strcmp(t->name, name);
        if (!d) return t;
        if (d < 0) lo = mid + 1;
        else hi = mid;
    }
    return NULL;
}

/* ---- values ---- */
static int wrong(const hn_gguf *g, const hn_gguf_kv *k, const char *want, hn_err *e) {
    return hn_fail(e, HN_EPARSE, "%s: %s is a %s%s, not %s", g->path, k->key,
                   k->type == HN_GGUF_KV_LIST ? "list of " : "", kinds[k->of].name, want);
}

static uint64_t bits(const hn_gguf_kv *k, int64_t i) {
    uint64_t v = 0;
    int size = kinds[k->of].size;
    hn_assert(i >= 0 && i < k->n && size);
    for (int b = size - 1; b >= 0; b--) v = v << 8 | k->data[i * size + b];
    return v;
}

int hn_gguf_int(const hn_gguf *g, const char *key, int64_t lo, int64_t hi, int64_t *x, hn_err *e) {
    const hn_gguf_kv *k = hn_gguf_kv_find(g, key);
    int64_t v;
    if (!k) return HN_OK;
    uint64_t u = k->type == HN_GGUF_KV_STR || k->type == HN_GGUF_KV_LIST ? 0 : bits(k, 0);
    switch (k->type) {
    case HN_GGUF_KV_U8:
    case HN_GGUF_KV_U16:
    case HN_GGUF_KV_U32:
    case HN_GGUF_KV_U64: v = u > INT64_MAX ? INT64_MAX : (int64_t)u; break;
    case HN_GGUF_KV_I8: v = (int8_t)u; break;
    case HN_GGUF_KV_I16: v = (int16_t)u; break;
    case HN_GGUF_KV_I32: v = (int32_t)u; break;
    case HN_GGUF_KV_I64: v = (int64_t)u; break;
    default: return wrong(g, k, "a whole number", e);
    }
    if (v < lo || v > hi)
        return hn_fail(e, HN_ERANGE, "%s: %s is %lld, not in %lld..%lld", g->path, key, (long long)v,
                       (long long)lo, (long long)hi);
    *x = v;
    return HN_OK;
}

int hn_gguf_num(const hn_gguf *g, const char *key, double lo, double hi, double *x, hn_err *e) {
    const hn_gguf_kv *k = hn_gguf_kv_find(g, key);
    double v;
    if (!k) return HN_OK;
    if (k->type == HN_GGUF_KV_F32) {
        v = (double)hn_gguf_f32(k, 0);
    } else if (k->type == HN_GGUF_KV_F64) {
        uint64_t u = bits(k, 0);
        memcpy(&v, &u, sizeof v);
    } else {
        int64_t i;
        if (k->type == HN_GGUF_KV_BOOL || hn_gguf_int(g, key, INT64_MIN, INT64_MAX, &i, NULL))
            return wrong(g, k, "a number", e);
        v = (double)i;
    }
    if (!(v >= lo && v <= hi))
        return hn_fail(e, HN_ERANGE, "%s: %s is %g, not in %g..%g", g->path, key, v, lo, hi);
    *x = v;
    return HN_OK;
}

int hn_gguf_bool(const hn_gguf *g, const char *key, bool *x, hn_err *e) {
    const hn_gguf_kv *k = hn_gguf_kv_find(g, key);
    if (k && k->type != HN_GGUF_KV_BOOL) return wrong(g, k, "a bool", e);
    if (k) *x = k->data[0];
    return HN_OK;
}

int hn_gguf_text(const hn_gguf *g, const char *key, hn_gguf_str *x, hn_err *e) {
    const hn_gguf_kv *k = hn_gguf_kv_find(g, key);
    if (!k) return HN_OK;
    if (k->type != HN_GGUF_KV_STR) return wrong(g, k, "a string", e);
    if (memchr(k->str->s, 0, k->str->n))
        return hn_fail(e, HN_EPARSE, "%s: %s has a 0 byte inside", g->path, key);
    *x = *k->str;
    return HN_OK;
}

int hn_gguf_list(const hn_gguf *g, const char *key, hn_gguf_kv_type of, const hn_gguf_kv **kv, hn_err *e) {
    char want[32];
    *kv = hn_gguf_kv_find(g, key);
    if (!*kv || ((*kv)->type == HN_GGUF_KV_LIST && (*kv)->of == of)) return HN_OK;
    snprintf(want, sizeof want, "a list of %s", kinds[of].name);
    return wrong(g, *kv, want, e);
}

int32_t hn_gguf_i32(const hn_gguf_kv *k, int64_t i) {
    hn_assert(k->of == HN_GGUF_KV_I32 || k->of == HN_GGUF_KV_U32);
    return (int32_t)bits(k, i);
}

float hn_gguf_f32(const hn_gguf_kv *k, int64_t i) {
    hn_assert(k->of == HN_GGUF_KV_F32);
    uint32_t u = (uint32_t)bits(k, i);
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

int hn_gguf_to_f32(const hn_gguf *g, const hn_gguf_tensor *t, int64_t from, int64_t n, float *x, hn_err *e) {
    hn_assert(from >= 0 && n >= 0 && from <= t->count - n);
    switch (t->type) {
    case HN_GGUF_F32:
    case HN_GGUF_F16:
    case HN_GGUF_BF16:
    case HN_GGUF_Q8_0:
    case HN_GGUF_Q4_0:
        hn_gguf_unpack((hn_gguf_type)t->type, t->data + hn_gguf_bytes(t->type, from), n, x);
        return HN_OK;
    default:
        return hn_fail(e, HN_EUNSUP, "%s: tensor \"%.200s\" is %s; read are F32, F16, BF16, Q8_0 and Q4_0",
                       g->path, t->name, hn_gguf_type_name(t->type));
    }
}
