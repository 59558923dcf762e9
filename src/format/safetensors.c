/* safetensors.c - reader and writer of the safetensors format.
 *
 * A file from outside is believed in nothing: the header length, every name, shape, offset and their products
 * are checked against the size of the file before a tensor is handed out. */
#include "format/safetensors.h"

#include "base/io.h"
#include "base/json.h"
#include "format/half.h"
#include <stdlib.h>
#include <string.h>

enum { HEADER_MAX = 100000000, CHUNK = 4096 };

static const struct {
    const char *name;
    size_t size;
} dtypes[HN_ST_DTYPES] = {
    [HN_ST_F32] = { "F32", 4 },   [HN_ST_F16] = { "F16", 2 },         [HN_ST_BF16] = { "BF16", 2 },
    [HN_ST_F64] = { "F64", 8 },   [HN_ST_I64] = { "I64", 8 },         [HN_ST_I32] = { "I32", 4 },
    [HN_ST_I16] = { "I16", 2 },   [HN_ST_I8] = { "I8", 1 },           [HN_ST_U64] = { "U64", 8 },
    [HN_ST_U32] = { "U32", 4 },   [HN_ST_U16] = { "U16", 2 },         [HN_ST_U8] = { "U8", 1 },
    [HN_ST_BOOL] = { "BOOL", 1 }, [HN_ST_F8_E4M3] = { "F8_E4M3", 1 }, [HN_ST_F8_E5M2] = { "F8_E5M2", 1 }
};

struct hn_st {
    hn_map map;
    char *path;
    hn_st_tensor *tensor; /* by offset */
    int32_t *by_name;     /* indices into tensor, sorted by name */
    int64_t n;
    json_t *head; /* owns the names */
};

const char *hn_st_dtype_name(hn_st_dtype d) {
    hn_assert(d >= 0 && d < HN_ST_DTYPES);
    return dtypes[d].name;
}

size_t hn_st_size(hn_st_dtype d) {
    hn_assert(d >= 0 && d < HN_ST_DTYPES);
    return dtypes[d].size;
}

int hn_st_dtype_parse(hn_st_dtype *d, const char *name) {
    for (int i = 0; i < HN_ST_DTYPES; i++)
        if (!strcmp(name, dtypes[i].name)) {
            *d = (hn_st_dtype)i;
            return HN_OK;
        }
    return HN_EUNSUP;
}

void hn_st_shape_text(int rank, const int64_t *shape, hn_buf *b) {
    hn_buf_chr(b, '[');
    for (int i = 0; i < rank; i++) hn_buf_fmt(b, "%s%lld", i ? ", " : "", (long long)shape[i]);
    hn_buf_chr(b, ']');
}

bool hn_st_shape_is(const hn_st_tensor *t, int rank, const int64_t *shape) {
    return t->rank == rank && !memcmp(t->shape, shape, (size_t)rank * sizeof *shape);
}

/* ---- reading ---- */
static int bad(const hn_st *s, const char *name, const char *what, hn_err *e) {
    return hn_fail(e, HN_EPARSE, "%s: tensor \"%.200s\": %s", s->path, name, what);
}

/* Product of the shape in *count; a product that leaves int64 is an error (a zero elsewhere does not excuse
 * it). */
static int read_shape(const hn_st *s, hn_st_tensor *t, const json_t *shape, hn_err *e) {
    size_t rank = json_array_size(shape);
    if (!json_is_array(shape)) return bad(s, t->name, "shape is not a list", e);
    if (rank > HN_ST_RANK)
        return hn_fail(e, HN_EUNSUP, "%s: tensor \"%.200s\" has %zu dimensions, at most %d are supported",
                       s->path, t->name, rank, HN_ST_RANK);
    t->rank = (int)rank;
    t->count = 1;
    bool zero = false;
    for (size_t i = 0; i < rank; i++) {
        const json_t *d = json_array_get(shape, i);
        if (!json_is_integer(d) || json_integer_value(d) < 0)
            return bad(s, t->name, "shape holds something else than whole numbers >= 0", e);
        t->shape[i] = json_integer_value(d);
        zero |= t->shape[i] == 0;
        if (t->shape[i] && __builtin_mul_overflow(t->count, t->shape[i], &t->count))
            return bad(s, t->name, "the product of its shape overflows", e);
    }
    if (zero) t->count = 0;
    return HN_OK;
}

static int read_entry(const hn_st *s, hn_st_tensor *t, const json_t *o, const unsigned char *data,
                      size_t size, hn_err *e) {
    const char *dtype = json_string_value(json_object_get(o, "dtype"));
    const json_t *off = json_object_get(o, "data_offsets"), *a = json_array_get(off, 0),
                 *b = json_array_get(off, 1);
    if (!json_is_object(o)) return bad(s, t->name, "is not described by an object", e);
    if (!dtype) return bad(s, t->name, "dtype is missing or not a string", e);
    if (hn_st_dtype_parse(&t->dtype, dtype))
        return hn_fail(e, HN_EUNSUP, "%s: tensor \"%.200s\" has dtype \"%.40s\", which is not supported",
                       s->path, t->name, dtype);
    int rc = read_shape(s, t, json_object_get(o, "shape"), e);
    if (rc) return rc;
    if (json_array_size(off) != 2 || !json_is_integer(a) || !json_is_integer(b))
        return bad(s, t->name, "data_offsets is not a pair of whole numbers", e);
    json_int_t begin = json_integer_value(a), end = json_integer_value(b);
    if (begin < 0 || end < begin) return bad(s, t->name, "data_offsets are not in order", e);
    if ((uint64_t)end > size)
        return hn_fail(
            e, HN_EPARSE,
            "%s: tensor \"%.200s\" ends at byte %lld of the data, but the file holds only %zu: the file is "
            "truncated (copy it again)",
            s->path, t->name, (long long)end, size);
    t->data = data + begin;
    t->size = (size_t)(end - begin);
    uint64_t want;
    if (__builtin_mul_overflow((uint64_t)t->count, dtypes[t->dtype].size, &want) || want != t->size)
        return hn_fail(e, HN_EPARSE, "%s: tensor \"%.200s\": %lld elements of %s do not fill its %zu bytes",
                       s->path, t->name, (long long)t->count, dtype, t->size);
    return HN_OK;
}

static int by_offset(const void *a, const void *b) {
    const hn_st_tensor *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    if (x->size != y->size) return x->size < y->size ? -1 : 1; /* empty tensors go first */
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b, void *tensor) {
    const hn_st_tensor *t = tensor;
    return strcmp(t[*(const int32_t *)a].name, t[*(const int32_t *)b].name);
}

/* Sorted by offset, each tensor must begin where the one before it ended. */
static int check_cover(const hn_st *s, const unsigned char *data, size_t size, hn_err *e) {
    const unsigned char *at = data;
    for (int64_t i = 0; i < s->n; i++) {
        const hn_st_tensor *t = &s->tensor[i];
        if (t->data < at)
            return hn_fail(e, HN_EPARSE, "%s: tensor \"%.200s\" overlaps \"%.200s\"", s->path, t->name,
                           s->tensor[i - 1].name);
        if (t->data > at)
            return hn_fail(e, HN_EPARSE, "%s: %zu bytes before tensor \"%.200s\" belong to no tensor",
                           s->path, (size_t)(t->data - at), t->name);
        at = t->data + t->size;
    }
    size_t used = (size_t)(at - data);
    if (used == size) return HN_OK;
    return hn_fail(e, HN_EPARSE, "%s: %zu bytes after the last tensor belong to no tensor", s->path,
                   size - used);
}

static int check_meta(const hn_st *s, json_t *meta, hn_err *e) {
    const char *key;
    json_t *v;
    if (!json_is_object(meta) && !json_is_null(meta))
        return hn_fail(e, HN_EPARSE, "%s: __metadata__ is not an object", s->path);
    json_object_foreach(meta, key, v) if (!json_is_string(v)) return hn_fail(
        e, HN_EPARSE, "%s: __metadata__.%.200s is not a string", s->path, key);
    return HN_OK;
}

static int read_header(hn_st *s, hn_err *e) {
    const unsigned char *p = s->map.data;
    uint64_t len = 0;
    int rc;
    if (s->map.n < 8)
        return hn_fail(e, HN_EPARSE,
                       "%s: not a safetensors file: it has %zu bytes, the header length alone needs 8",
                       s->path, s->map.n);
    for (int i = 7; i >= 0; i--) len = len << 8 | p[i];
    if (len > HEADER_MAX)
        return hn_fail(e, HN_EPARSE,
                       "%s: not a safetensors file: a header of %llu bytes (at most %d are allowed)", s->path,
                       (unsigned long long)len, HEADER_MAX);
    if (len > s->map.n - 8)
        return hn_fail(
            e, HN_EPARSE,
            "%s: truncated: the header should end at byte %llu, but the file has %zu (copy it again)",
            s->path, (unsigned long long)len + 8, s->map.n);
    if ((rc = hn_json_parse(&s->head, (const char *)p + 8, (size_t)len, s->path, e))) return rc;
    if (!json_is_object(s->head))
        return hn_fail(e, HN_EPARSE, "%s: the header is not a JSON object", s->path);

    size_t size = s->map.n - 8 - (size_t)len, n = json_object_size(s->head);
    json_t *meta = json_object_get(s->head, "__metadata__"), *v;
    if (meta && (rc = check_meta(s, meta, e))) return rc;
    if (n > INT32_MAX) return hn_fail(e, HN_ERANGE, "%s: too many tensors", s->path);
    s->tensor = hn_alloc(n * sizeof *s->tensor);
    s->by_name = hn_alloc(n * sizeof *s->by_name);
    if (!s->tensor || !s->by_name)
        return hn_fail(e, HN_ENOMEM, "%s: out of memory for %zu tensors", s->path, n);
    const char *name;
    json_object_foreach(s->head, name, v) {
        if (v == meta) continue;
        s->tensor[s->n].name = name;
        if ((rc = read_entry(s, &s->tensor[s->n++], v, p + 8 + len, size, e))) return rc;
    }
    qsort(s->tensor, (size_t)s->n, sizeof *s->tensor, by_offset);
    for (int32_t i = 0; i < s->n; i++) s->by_name[i] = i;
    qsort_r(s->by_name, (size_t)s->n, sizeof *s->by_name, by_name, s->tensor);
    return check_cover(s, p + 8 + len, size, e);
}

static int open_map(hn_st **out, const char *path, const void *p, size_t n, hn_err *e) {
    hn_st *s = hn_alloc(sizeof *s);
    int rc = HN_OK;
    *out = NULL;
    if (!s || !(s->path = hn_strdup(path))) rc = hn_fail(e, HN_ENOMEM, "%s: out of memory", path);
    else if (p) s->map = (hn_map){ p, n };
    else rc = hn_map_open(&s->map, path, e);
    if (!rc) rc = read_header(s, e);
    if (s && p) s->map = (hn_map){ 0 }; /* not ours to unmap; tensors point into it directly */
    if (!rc) *out = s;
    else hn_st_close(s);
    return rc;
}

int hn_st_open(hn_st **out, const char *path, hn_err *e) { return open_map(out, path, NULL, 0, e); }

int hn_st_open_mem(hn_st **out, const void *p, size_t n, const char *name, hn_err *e) {
    return open_map(out, name, p ? p : "", n, e);
}

void hn_st_close(hn_st *s) {
    if (!s) return;
    json_decref(s->head);
    hn_free(s->tensor);
    hn_free(s->by_name);
    hn_map_close(&s->map);
    hn_free(s->path);
    hn_free(s);
}

const char *hn_st_path(const hn_st *s) { return s->path; }
int64_t hn_st_count(const hn_st *s) { return s->n; }

const hn_st_tensor *hn_st_at(const hn_st *s, int64_t i) {
    hn_assert(i >= 0 && i < s->n);
    return &s->tensor[i];
}

const hn_st_tensor *hn_st_find(const hn_st *s, const char *name) {
    int64_t lo = 0, hi = s->n;
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        const hn_st_tensor *t = &s->tensor[s->by_name[mid]];
        int c = strcmp(t->name, name);
        if (!c) return t;
        if (c < 0) lo = mid + 1;
        else hi = mid;
    }
    return NULL;
}

const char *hn_st_meta(const hn_st *s, const char *key) {
    return json_string_value(json_object_get(json_object_get(s->head, "__metadata__"), key));
}

int hn_st_to_f32(const hn_st_tensor *t, int64_t from, int64_t n, float *out, hn_err *e) {
    hn_assert(from >= 0 && n >= 0 && from <= t->count - n);
    const unsigned char *p = t->data + (size_t)from * dtypes[t->dtype].size;
    uint16_t h;
    switch (t->dtype) {
    case HN_ST_F32:
        if (n) memcpy(out, p, (size_t)n * 4);
        return HN_OK;
    case HN_ST_F16:
        for (int64_t i = 0; i < n; i++) {
            memcpy(&h, p + 2 * i, 2);
            out[i] = hn_f16_to_f32(h);
        }
        return HN_OK;
    case HN_ST_BF16:
        for (int64_t i = 0; i < n; i++) {
            memcpy(&h, p + 2 * i, 2);
            out[i] = hn_bf16_to_f32(h);
        }
        return HN_OK;
    default:
        return hn_fail(e, HN_EUNSUP, "tensor \"%.200s\" is %s; weights must be F32, F16 or BF16", t->name,
                       dtypes[t->dtype].name);
    }
}

/* ---- writing ---- */
typedef struct decl {
    hn_st_dtype dtype;
    size_t end; /* byte of the data where the tensor ends */
} decl;

struct hn_st_writer {
    hn_out *out;
    json_t *names; /* the header object; its keys catch a tensor declared twice */
    decl *t;
    int64_t n, cap, cur;
    size_t at; /* bytes of data written */
    bool begun;
};

int hn_st_writer_open(hn_st_writer **out, const char *path, hn_err *e) {
    hn_st_writer *w = hn_alloc(sizeof *w);
    *out = NULL;
    if (!w || !(w->names = json_pack("{s:{s:s}}", "__metadata__", "format", "pt"))) {
        hn_free(w);
        return hn_fail(e, HN_ENOMEM, "%s: out of memory", path);
    }
    int rc = hn_out_open(&w->out, path, e);
    if (rc) hn_st_writer_abandon(w);
    else *out = w;
    return rc;
}

int hn_st_writer_declare(hn_st_writer *w, const char *name, hn_st_dtype d, int rank, const int64_t *shape,
                         hn_err *e) {
    hn_assert(!w->begun && rank >= 0 && rank <= HN_ST_RANK && d >= 0 && d < HN_ST_DTYPES);
    hn_assert(strcmp(name, "__metadata__") && !json_object_get(w->names, name));
    json_int_t begin = w->n ? (json_int_t)w->t[w->n - 1].end : 0, size = (json_int_t)dtypes[d].size, end;
    json_t *list = json_array();
    for (int i = 0; i < rank; i++) {
        hn_assert(shape[i] >= 0);
        if (__builtin_mul_overflow(size, shape[i], &size)) size = -1;
        if (size < 0 || json_array_append_new(list, json_integer(shape[i]))) break;
    }
    if (size < 0 || __builtin_add_overflow(begin, size, &end)) {
        json_decref(list);
        return hn_fail(e, HN_ERANGE, "tensor \"%.200s\" is too large to write", name);
    }
    json_t *o =
        json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtypes[d].name, "shape", list, "data_offsets", begin, end);
    if (!o || json_object_set_new(w->names, name, o) || hn_grow(&w->t, &w->cap, w->n + 1, sizeof *w->t))
        return hn_fail(e, HN_ENOMEM, "out of memory while declaring tensor \"%.200s\"", name);
    w->t[w->n++] = (decl){ d, (size_t)end };
    return HN_OK;
}

/* The length, the JSON and spaces up to a multiple of 8, so that data begins aligned. */
static int begin_data(hn_st_writer *w, hn_err *e) {
    unsigned char len[8];
    void (*give_back)(void *);
    if (w->begun) return HN_OK;
    char *text = json_dumps(w->names, JSON_COMPACT);
    if (!text) return hn_fail(e, HN_ENOMEM, "out of memory for the safetensors header");
    size_t n = strlen(text), pad = -n & 7;
    hn_assert(n + pad <= HEADER_MAX);
    for (int i = 0; i < 8; i++) len[i] = (unsigned char)((uint64_t)(n + pad) >> (8 * i));
    hn_out_write(w->out, len, 8);
    hn_out_write(w->out, text, n);
    hn_out_write(w->out, "       ", pad);
    json_get_alloc_funcs(NULL, &give_back);
    give_back(text);
    w->begun = true;
    return HN_OK;
}

/* The tensor that the next byte belongs to (empty ones are passed over). */
static const decl *current(hn_st_writer *w) {
    while (w->cur < w->n && w->t[w->cur].end == w->at) w->cur++;
    hn_assert(w->cur < w->n);
    return &w->t[w->cur];
}

int hn_st_writer_raw(hn_st_writer *w, const void *p, size_t n, hn_err *e) {
    int rc = begin_data(w, e);
    if (rc || !n) return rc;
    hn_assert(n <= current(w)->end - w->at);
    hn_out_write(w->out, p, n);
    w->at += n;
    return HN_OK;
}

int hn_st_writer_f32(hn_st_writer *w, const float *x, int64_t n, hn_err *e) {
    uint16_t h[CHUNK];
    while (n > 0) {
        hn_st_dtype d = current(w)->dtype;
        size_t size = dtypes[d].size, left = (current(w)->end - w->at) / size;
        hn_assert((d == HN_ST_F32 || d == HN_ST_BF16) && left > 0);
        int64_t k = n < (int64_t)left ? n : (int64_t)left;
        if (d == HN_ST_BF16) {
            if (k > CHUNK) k = CHUNK;
            for (int64_t i = 0; i < k; i++) h[i] = hn_bf16_from_f32(x[i]);
        }
        int rc = hn_st_writer_raw(w, d == HN_ST_F32 ? (const void *)x : h, (size_t)k * size, e);
        if (rc) return rc;
        x += k;
        n -= k;
    }
    return HN_OK;
}

int hn_st_writer_commit(hn_st_writer *w, hn_err *e) {
    int rc = begin_data(w, e);
    if (!rc) {
        hn_assert(w->n == 0 || w->at == w->t[w->n - 1].end);
        rc = hn_out_commit(w->out, e);
        w->out = NULL;
    }
    hn_st_writer_abandon(w);
    return rc;
}

void hn_st_writer_abandon(hn_st_writer *w) {
    if (!w) return;
    hn_out_abandon(w->out);
    json_decref(w->names);
    hn_free(w->t);
    hn_free(w);
}
