/* gemm_kernels.h - what a tier supplies to the driver in gemm.c.
 *
 * B lies in panels of `panel` columns, each with all of its k: a subrange of k is a pointer into it.  A is
 * read as it is or from row panels of `rows` rows.  A kernel computes rows [m0,m1) of panels [p0,p1); the
 * driver cuts the product into such blocks in any way it likes, because bits do not depend on it. */
#ifndef HN_GEMM_KERNELS_H
#define HN_GEMM_KERNELS_H

#include "cpu/gemm.h"

typedef struct hn_gemm_job {
    void *C; /* floats, or bf16 (half_c) */
    int64_t ldc;
    bool half_c;
    const void *A;    /* plain: floats or, with `direct`, bf16; or row panels when packed */
    int64_t ars, acs; /* of plain A */
    bool packed;
    int64_t M, K, N;
    const char *B;      /* the first panel at the first k */
    size_t panel_bytes; /* from panel to panel */
    const float *bias;  /* or NULL */
    bool accumulate;
} hn_gemm_job;

/* A side seen as lines (rows of A, columns of B) along k: src[line*ls + k*ks]. */
typedef struct hn_side {
    const void *src;
    int64_t ls, ks, lines, K;
    bool half;  /* src is bf16 */
    bool round; /* floats to bf16 */
} hn_side;

typedef struct hn_gemm_kernels {
    int panel, rows, k_step;
    int max_rows; /* a block's rows are a multiple of `rows` up to this */
    int speed;    /* multiply-adds a ns, about: for cutting work into slices */
    size_t size;  /* bytes of one packed number */
    bool needs_a; /* A must be packed even when plain rows are contiguous */
    bool half; /* whole groups of `rows` rows of bf16, K % k_step == 0, are read where they lie; C may be bf16
                */
    void (*pack_a)(void *dst, const hn_side *s, int64_t lo, int64_t hi); /* row panels [lo,hi) of A */
    void (*pack_b)(void *dst, const hn_side *s, int64_t lo, int64_t hi); /* panels [lo,hi) of B */
    void (*block)(const hn_gemm_job *j, int64_t m0, int64_t m1, int64_t p0, int64_t p1); /* m0 % rows == 0 */
} hn_gemm_kernels;

extern const hn_gemm_kernels hn_gemm_kernels_c;
#if defined(__x86_64__)
extern const hn_gemm_kernels hn_gemm_kernels_avx2, hn_gemm_kernels_avx512, hn_gemm_kernels_amx;
#endif
#endif
