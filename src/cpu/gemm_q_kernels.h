/* gemm_q_kernels.h - what a tier supplies to the driver in gemm_q.c, and the layout they share.
 *
 * A panel of W is 16 rows of it (columns of the product) with all of their k, in steps of 64 k: two blocks,
 * then their scales.  A block in 8 bits is [8 quads of k][16 columns][4 k] of signed bytes.  In 4 bits it is
 * [4 quads][16 columns][4 k] of bytes: in the lower half the number at k, plus 8, in the upper the one at
 * k + 16.  Scales are [2 blocks][16 columns] in f16.  A quad of 16 columns is what VPDPBUSD takes from a
 * register and what a row of a tile of bytes is.  A step is whole cache lines. */
#ifndef HN_GEMM_Q_KERNELS_H
#define HN_GEMM_Q_KERNELS_H

#include "cpu/gemm_q.h"

enum {
    HN_QBLOCK = 32,                      /* k that share a scale */
    HN_QSTEP = 64,                       /* k of a step */
    HN_QROWS = 16,                       /* rows of A a kernel may read at once */
    HN_Q8_BLOCK = HN_QPANEL * HN_QBLOCK, /* bytes of numbers of a block of a panel */
    HN_Q4_BLOCK = HN_Q8_BLOCK / 2,
    HN_QSCALES = 2 * HN_QPANEL * 2, /* bytes of scales of a step */
    HN_QROWS_MOST = 256             /* rows of a block of work */
};

static inline int64_t hn_q_steps(int64_t K) { return (K + HN_QSTEP - 1) / HN_QSTEP; }
static inline int64_t hn_q_step_bytes(hn_quant q) {
    return 2 * (q == HN_QUANT_Q4 ? HN_Q4_BLOCK : HN_Q8_BLOCK) + HN_QSCALES;
}

/* Rows of A in integers.  Whole groups of HN_QROWS rows may be read; what is beyond M is not used. */
typedef struct hn_q_rows {
    int8_t *q;    /* [rows, 64 steps] */
    float *scale; /* [rows, 2 steps] */
    int32_t *sum; /* [rows, 2 steps] of a block's numbers, times -128 or (4 bits) -8: what is added to each
                     product when the numbers of W are taken without sign, 128 or 8 too large */
    int64_t steps;
} hn_q_rows;

typedef struct hn_q_job {
    float *C;
    int64_t ldc, M, N;
    hn_q_rows a;
    const char *B; /* the first panel */
    hn_quant quant;
    const float *bias; /* or NULL */
} hn_q_job;

/* Rows [m0,m1) of panels [p0,p1); m0 is a multiple of HN_QROWS. */
typedef void hn_q_block(const hn_q_job *j, int64_t m0, int64_t m1, int64_t p0, int64_t p1);
hn_q_block hn_q_block_c;
#if defined(__x86_64__)
hn_q_block hn_q_block_avx2, hn_q_block_vnni, hn_q_block_amx;
#endif
/* One row of A to integers: K numbers, zeros up to the end of the last step. */
HN_TIERED_DECLARE(void, hn_q_round,
                  (int8_t * q, float *scale, int32_t *sum, const float *x, int64_t K, int64_t steps,
                   int32_t offset));
#endif
