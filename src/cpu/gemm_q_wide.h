/* gemm_q_wide.h - what the two kernels with 64-byte vectors share. */
#ifndef HN_GEMM_Q_WIDE_H
#define HN_GEMM_Q_WIDE_H

#include "cpu/gemm_q_kernels.h"
#include "cpu/simd.h"

enum { HN_QAHEAD = 8192 }; /* bytes of W that are asked for before they are needed */

/* The step of W that lies this far ahead; the next panel follows in memory. */
HN_INLINE void q_ask(const char *b, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(b + HN_QAHEAD + i, 0, 2);
}

/* Scales of 16 columns. */
HN_INLINE V q_scales(const char *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

/* 16 sums to row m of C, panel p. */
HN_INLINE void q_finish(const hn_q_job *j, int64_t m, int64_t p, V y) {
    int64_t col = p * HN_QPANEL, n = j->N - col;
    if (j->bias) y = vadd(y, vload_n(j->bias + col, n));
    vstore_n(j->C + m * j->ldc + col, n, y);
}
#endif
