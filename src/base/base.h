/* base.h - what every floor stands on: errors, memory, strings, random numbers.
 *
 * Nothing here knows what a tensor is.  Options are in opt.h, files in io.h, threads in pool.h. */
#ifndef HN_BASE_H
#define HN_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* ---- errors ------------------------------------------------------------------
 * A function that can fail for reasons outside the program returns 0 or a negative
 * code and describes the first failure in *e (which may be NULL).  A function that can
 * only fail because the caller is wrong does not return: it asserts. */
enum {
    HN_OK = 0,
    HN_ENOMEM = -1, /* out of memory */
    HN_EIO = -2,    /* the file system said no */
    HN_EPARSE = -3, /* a file or argument is not of the form it should be */
    HN_ERANGE = -4, /* a number is outside what is allowed, or not finite */
    HN_EUNSUP = -5, /* well-formed, but a thing we do not do */
    HN_ESTOP = -6   /* the user asked to stop (Ctrl-C); state is saved */
};

typedef struct hn_err {
    int code;
    char msg[508];
} hn_err;

/* Records code and message (the first one wins) and returns code: `return hn_fail(e, ...)`. */
int hn_fail(hn_err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Puts "where: " in front of a recorded message: a caller adds the file or row it knows.  Returns e->code. */
int hn_fail_in(hn_err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void hn_panic(const char *file, int line, const char *what) __attribute__((noreturn));
#define hn_assert(x) ((x) ? (void)0 : hn_panic(__FILE__, __LINE__, #x))

/* ---- memory ------------------------------------------------------------------
 * These are the only doors to malloc, so that a test can fail the n-th allocation. */
void *hn_alloc(size_t size);            /* zeroed, 64-byte aligned; NULL when out of memory */
void *hn_realloc(void *p, size_t size); /* grown part not zeroed; NULL: p still valid */
void hn_free(void *p);                  /* NULL is fine */
char *hn_strdup(const char *s);
char *hn_strndup(const char *s, size_t n);
/* Makes room for `need` items of `size` bytes in *p (capacity *cap); HN_ENOMEM when it cannot. */
int hn_grow(void *p, int64_t *cap, int64_t need, size_t size);
extern long hn_alloc_fuse;    /* < 0: never; else counts down and the allocation at 0 fails (and all after) */
extern long hn_alloc_refused; /* how many it has made fail */
long hn_alloc_live(void);     /* blocks handed out and not given back: tests see leaks by it */

/* Zeroed anonymous memory for weights and activations: huge pages asked for, page aligned.
 * Goes through the fuse as well.  hn_big_free needs the same size. */
void *hn_big_alloc(size_t size);
void hn_big_free(void *p, size_t size);
size_t hn_big_size(size_t size); /* what such a block takes: whole pages, huge ones when it is large */

typedef struct hn_arena hn_arena; /* freed all at once, never piecemeal */
hn_arena *hn_arena_new(size_t block);
void *hn_arena_get(hn_arena *a, size_t size); /* zeroed, 64-byte aligned; NULL when out of memory */
char *hn_arena_str(hn_arena *a, const char *s, size_t n);
void hn_arena_reset(hn_arena *a); /* keeps the blocks */
void hn_arena_free(hn_arena *a);

/* ---- growing strings ---------------------------------------------------------
 * A zeroed hn_buf is empty.  data is always followed by a 0 byte once anything was added.
 * Errors stick: after a failed addition `oom` is true and further additions do nothing. */
typedef struct hn_buf {
    char *data;
    size_t n, cap;
    bool oom;
} hn_buf;
void hn_buf_add(hn_buf *b, const void *p, size_t n);
void hn_buf_str(hn_buf *b, const char *s);
void hn_buf_chr(hn_buf *b, char c);
void hn_buf_fmt(hn_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void hn_buf_vfmt(hn_buf *b, const char *fmt, va_list ap);
void hn_buf_clear(hn_buf *b); /* n = 0, keeps the memory */
void hn_buf_free(hn_buf *b);

/* ---- random numbers ----------------------------------------------------------
 * Counter based: a number is a pure function of (seed, stream, index).  No state, so the
 * result does not depend on how many threads asked, and any rollout can be replayed alone. */
uint64_t hn_rand(uint64_t seed, uint64_t stream, uint64_t i);
double hn_rand01(uint64_t seed, uint64_t stream, uint64_t i); /* [0,1) */
double hn_rand_normal(uint64_t seed, uint64_t stream, uint64_t i);
/* Folds one more key part into a stream: hn_key(hn_key(hn_key(0, step), prompt), sample). */
uint64_t hn_key(uint64_t stream, uint64_t part);
/* A fixed pseudo-random permutation of [0,n): where index i goes.  O(1), no table. */
uint64_t hn_permute(uint64_t seed, uint64_t stream, uint64_t n, uint64_t i);

/* ---- numbers -----------------------------------------------------------------
 * How matrix products read their inputs: as they are, or rounded to bfloat16 (sums always in f32). */
typedef enum { HN_PREC_F32, HN_PREC_BF16 } hn_prec;
/* How a model that only answers holds the matrices of its products: as they are, or in blocks of 32 along a
 * row that share a scale, of 8 or 4 bits a number (Q8_0 and Q4_0 of GGUF). */
typedef enum { HN_QUANT_NONE, HN_QUANT_Q8, HN_QUANT_Q4 } hn_quant;
/* bfloat16: the upper half of a float, rounded to nearest even; a NaN stays one. */
static inline uint16_t hn_bf16(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if ((u & 0x7fffffff) > 0x7f800000) u |= 0x400000;
    else u += 0x7fff + (u >> 16 & 1);
    return (uint16_t)(u >> 16);
}
static inline float hn_from_bf16(uint16_t h) {
    uint32_t u = (uint32_t)h << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* ---- time --------------------------------------------------------------------- */
double hn_now(void); /* seconds, monotonic */
#endif
