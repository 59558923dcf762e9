/* safetensors.h - named tensors in one file: mapped for reading, streamed for writing.
 *
 * Layout: u64 little-endian length N, N bytes of JSON {name: {dtype, shape, data_offsets: [begin, end]}},
 * then the data, row-major and little-endian; offsets count from the end of the JSON.  "__metadata__" holds
 * strings.  The data must be covered exactly: no overlap, no hole, nothing after the last tensor. */
#ifndef HN_SAFETENSORS_H
#define HN_SAFETENSORS_H

#include "base/base.h"

typedef enum {
    HN_ST_F32,
    HN_ST_F16,
    HN_ST_BF16,
    HN_ST_F64,
    HN_ST_I64,
    HN_ST_I32,
    HN_ST_I16,
    HN_ST_I8,
    HN_ST_U64,
    HN_ST_U32,
    HN_ST_U16,
    HN_ST_U8,
    HN_ST_BOOL,
    HN_ST_F8_E4M3,
    HN_ST_F8_E5M2,
    HN_ST_DTYPES
} hn_st_dtype;

enum { HN_ST_RANK = 8 };

/* Belongs to its hn_st.  `data` points into the map and may have any alignment. */
typedef struct hn_st_tensor {
    const char *name;
    hn_st_dtype dtype;
    int rank;                  /* 0: a single number */
    int64_t shape[HN_ST_RANK]; /* row-major */
    int64_t count;             /* product of shape */
    const unsigned char *data;
    size_t size; /* bytes: count * hn_st_size(dtype) */
} hn_st_tensor;

typedef struct hn_st hn_st;

/* Opens and checks the whole header; nothing that a later call relies on is left unchecked.  HN_EPARSE with
 * file, tensor and the numbers that disagree; HN_EUNSUP for a dtype or rank we do not read. */
int hn_st_open(hn_st **out, const char *path, hn_err *e);
/* The same over bytes in memory, which must outlive *out; `name` is used in messages. */
int hn_st_open_mem(hn_st **out, const void *p, size_t n, const char *name, hn_err *e);
void hn_st_close(hn_st *s); /* NULL is fine */

const char *hn_st_path(const hn_st *s);
int64_t hn_st_count(const hn_st *s);
const hn_st_tensor *hn_st_at(const hn_st *s, int64_t i);          /* in the order of the data */
const hn_st_tensor *hn_st_find(const hn_st *s, const char *name); /* NULL: not there */
const char *hn_st_meta(const hn_st *s, const char *key);          /* from __metadata__; NULL: not there */
const char *hn_st_dtype_name(hn_st_dtype d);                      /* "F32" ... */
size_t hn_st_size(hn_st_dtype d);                                 /* bytes an element */
int hn_st_dtype_parse(hn_st_dtype *d, const char *name);          /* HN_EUNSUP: not one of ours */
void hn_st_shape_text(int rank, const int64_t *shape, hn_buf *b); /* "[16, 128]" */
bool hn_st_shape_is(const hn_st_tensor *t, int rank, const int64_t *shape);

/* Elements [from, from + n) as f32: exact from F32, F16 and BF16.  Other dtypes are HN_EUNSUP. */
int hn_st_to_f32(const hn_st_tensor *t, int64_t from, int64_t n, float *out, hn_err *e);

/* Writing: declare every tensor, then give the data of each in the same order, in pieces of any size.  The
 * file appears under its name at commit, whole, or not at all.  Errors stick and are reported by commit. */
typedef struct hn_st_writer hn_st_writer;
int hn_st_writer_open(hn_st_writer **out, const char *path, hn_err *e);
int hn_st_writer_declare(hn_st_writer *w, const char *name, hn_st_dtype d, int rank, const int64_t *shape,
                         hn_err *e);
/* The next n elements, converted to the dtype of the tensor they fall in (F32, or BF16 rounded to nearest
 * even). */
int hn_st_writer_f32(hn_st_writer *w, const float *x, int64_t n, hn_err *e);
/* The next n bytes of a tensor of any dtype, as they are in the file. */
int hn_st_writer_raw(hn_st_writer *w, const void *p, size_t n, hn_err *e);
int hn_st_writer_commit(hn_st_writer *w, hn_err *e); /* frees w; all declared data must have been given */
void hn_st_writer_abandon(hn_st_writer *w);          /* frees w; NULL is fine */
#endif
