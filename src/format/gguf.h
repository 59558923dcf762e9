/* gguf.h - the container of llama.cpp: typed keys and named tensors in one file, versions 2 and 3.
 *
 * Layout, all little-endian: "GGUF", u32 version, u64 tensors, u64 keys; each key as string, u32 type, value;
 * each tensor as string, u32 rank, u64 sizes (the fastest first), u32 type, u64 offset; zeros up to the
 * alignment (the key general.alignment, else 32); the data.  A string is u64 length and bytes.  Weights come
 * in plain types and in blocks along a row that share a scale: Q8_0 is 32 numbers as f16 scale and 32 int8,
 * Q4_0 as f16 scale and 16 bytes of two nibbles (first half low), each minus 8. */
#ifndef HN_GGUF_H
#define HN_GGUF_H

#include "base/base.h"

/* ---- types of tensors: the numbers in the file ---- */
typedef enum {
    HN_GGUF_F32 = 0,
    HN_GGUF_F16 = 1,
    HN_GGUF_Q4_0 = 2,
    HN_GGUF_Q8_0 = 8,
    HN_GGUF_BF16 = 30,
    HN_GGUF_TYPES = 43
} hn_gguf_type;
enum { HN_GGUF_RANK = 4, HN_GGUF_BLOCK = 32 };

/* The name of any type that llama.cpp has ("Q4_K"); NULL: no such type. */
const char *hn_gguf_type_name(uint32_t type);
/* n numbers (whole blocks) to f32: F32, F16, BF16, Q8_0, Q4_0.  Exact. */
void hn_gguf_unpack(hn_gguf_type type, const unsigned char *p, int64_t n, float *x);
/* The other way, rounded to nearest: F32, F16, BF16, Q8_0, Q4_0.  HN_ERANGE: a number that is not finite or
 * too large for F16, Q8_0 or Q4_0 (p is then undefined). */
int hn_gguf_pack(hn_gguf_type type, const float *x, int64_t n, unsigned char *p);
/* Bytes of n numbers in whole blocks; -1: too many, or a block is cut. */
int64_t hn_gguf_bytes(uint32_t type, int64_t n);

/* ---- reading ---- */
typedef enum {
    HN_GGUF_KV_U8,
    HN_GGUF_KV_I8,
    HN_GGUF_KV_U16,
    HN_GGUF_KV_I16,
    HN_GGUF_KV_U32,
    HN_GGUF_KV_I32,
    HN_GGUF_KV_F32,
    HN_GGUF_KV_BOOL,
    HN_GGUF_KV_STR,
    HN_GGUF_KV_LIST,
    HN_GGUF_KV_U64,
    HN_GGUF_KV_I64,
    HN_GGUF_KV_F64,
    HN_GGUF_KV_TYPES
} hn_gguf_kv_type;

/* Bytes of the file, not followed by a 0. */
typedef struct hn_gguf_str {
    const char *s;
    size_t n;
} hn_gguf_str;

typedef struct hn_gguf_kv {
    const char *key;
    hn_gguf_kv_type type, of;  /* `of`: of the elements of a list */
    int64_t n;                 /* elements; 1 where it is no list */
    const unsigned char *data; /* numbers, in the map; any alignment */
    hn_gguf_str *str;          /* [n] strings */
} hn_gguf_kv;

typedef struct hn_gguf_tensor {
    const char *name;
    uint32_t type;
    int rank;
    int64_t shape[HN_GGUF_RANK]; /* row-major as everywhere here: the file's sizes turned round */
    int64_t count;
    const unsigned char *data; /* in the map */
    size_t size;
} hn_gguf_tensor;

typedef struct hn_gguf hn_gguf;

/* Opens and checks everything that a later call relies on.  HN_EPARSE with file, key or tensor and the
 * numbers that disagree; HN_EUNSUP: a version, byte order, list of lists or type of tensor that we do not
 * read. */
int hn_gguf_open(hn_gguf **out, const char *path, hn_err *e);
/* The same over bytes that must outlive *out; `name` is used in messages. */
int hn_gguf_open_mem(hn_gguf **out, const void *p, size_t n, const char *name, hn_err *e);
void hn_gguf_close(hn_gguf *g); /* NULL is fine */
const char *hn_gguf_path(const hn_gguf *g);

int64_t hn_gguf_kv_count(const hn_gguf *g);
const hn_gguf_kv *hn_gguf_kv_at(const hn_gguf *g, int64_t i);         /* in the order of the file */
const hn_gguf_kv *hn_gguf_kv_find(const hn_gguf *g, const char *key); /* NULL: not there */
/* A key that is absent leaves *x as it is; a value of another kind or outside [lo, hi] is an error that names
 * file and key.  hn_gguf_int reads any integer, hn_gguf_num any number. */
int hn_gguf_int(const hn_gguf *g, const char *key, int64_t lo, int64_t hi, int64_t *x, hn_err *e);
int hn_gguf_num(const hn_gguf *g, const char *key, double lo, double hi, double *x, hn_err *e);
int hn_gguf_bool(const hn_gguf *g, const char *key, bool *x, hn_err *e);
int hn_gguf_text(const hn_gguf *g, const char *key, hn_gguf_str *x, hn_err *e); /* no 0 byte inside */
/* The elements of a list of strings, of integers or of f32 (each copied to the caller's out[n]); HN_EPARSE
 * when it is there and is something else.  *kv is NULL when it is absent. */
int hn_gguf_list(const hn_gguf *g, const char *key, hn_gguf_kv_type of, const hn_gguf_kv **kv, hn_err *e);
int32_t hn_gguf_i32(const hn_gguf_kv *kv, int64_t i); /* element of a list of I32 (or U32, its bits) */
float hn_gguf_f32(const hn_gguf_kv *kv, int64_t i);   /* element of a list of F32 */

int64_t hn_gguf_count(const hn_gguf *g);
const hn_gguf_tensor *hn_gguf_at(const hn_gguf *g, int64_t i);          /* in the order of the data */
const hn_gguf_tensor *hn_gguf_find(const hn_gguf *g, const char *name); /* NULL: not there */
/* Numbers [from, from + n) of a tensor, whole blocks.  HN_EUNSUP names a type we do not read. */
int hn_gguf_to_f32(const hn_gguf *g, const hn_gguf_tensor *t, int64_t from, int64_t n, float *x, hn_err *e);

/* ---- writing: keys, then tensors declared, then their data in the same order ---- */
typedef struct hn_gguf_writer hn_gguf_writer;
int hn_gguf_writer_open(hn_gguf_writer **out, const char *path, hn_err *e);
/* Errors of memory stick and are reported by the next call that has an hn_err. */
void hn_gguf_put_u32(hn_gguf_writer *w, const char *key, uint32_t x);
void hn_gguf_put_f32(hn_gguf_writer *w, const char *key, float x);
void hn_gguf_put_bool(hn_gguf_writer *w, const char *key, bool x);
void hn_gguf_put_str(hn_gguf_writer *w, const char *key, const char *s, size_t n);
void hn_gguf_put_strs(hn_gguf_writer *w, const char *key, const hn_gguf_str *s, int64_t n);
void hn_gguf_put_i32s(hn_gguf_writer *w, const char *key, const int32_t *x, int64_t n);
void hn_gguf_put_f32s(hn_gguf_writer *w, const char *key, const float *x, int64_t n);
int hn_gguf_writer_declare(hn_gguf_writer *w, const char *name, hn_gguf_type type, int rank,
                           const int64_t *shape, hn_err *e);
/* The next n numbers, whole rows, converted to the type of the tensor they fall in.  HN_ERANGE names the
 * tensor. */
int hn_gguf_writer_f32(hn_gguf_writer *w, const float *x, int64_t n, hn_err *e);
int hn_gguf_writer_commit(hn_gguf_writer *w, hn_err *e); /* frees w; all declared data must have been given */
void hn_gguf_writer_abandon(hn_gguf_writer *w);          /* frees w; NULL is fine */
#endif
