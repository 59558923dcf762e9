/* rows.h - row-wise kernels by tier: norms, rotary positions, the gated unit, sums of columns.
 *
 * A row's sums run in four vectors in turn, folded at the end: the order depends on its length alone. */
#ifndef HN_ROWS_H
#define HN_ROWS_H

#include "cpu/cpu.h"

/* y = x w r with r = 1 / sqrt(mean(x^2) + eps), for n rows of C numbers, one after the other.  y may be x. */
HN_TIERED_DECLARE(void, hn_norm, (float *y, const float *x, const float *w, int64_t n, int64_t C, float eps));
/* The same, y in bf16. */
HN_TIERED_DECLARE(void, hn_norm_half,
                  (uint16_t * y, const float *x, const float *w, int64_t n, int64_t C, float eps));
/* gx = r (w g - x r^2 mean(w g x)).  gx may be x or g. */
HN_TIERED_DECLARE(void, hn_norm_x,
                  (float *gx, const float *x, const float *w, const float *g, int64_t n, int64_t C,
                   float eps));
/* gw += sum over the n rows of g x r, in order. */
HN_TIERED_DECLARE(void, hn_norm_w,
                  (float *gw, const float *x, const float *g, int64_t n, int64_t C, float eps));

/* Turns `heads` heads of D numbers: pair (i, i + D/2) by the angle sign * (pos * freq[i]).  y may be x, or
 * is bf16 (half). */
HN_TIERED_DECLARE(void, hn_turn,
                  (void *y, const float *x, int32_t pos, const float *freq, float sign, int64_t heads,
                   int64_t D, bool half));

/* y = silu(gate) up, and its gradients in gate and up; any of them may share memory.  half_y: what is written
 * is bf16, half: what is read except g is. */
HN_TIERED_DECLARE(void, hn_silu,
                  (void *y, const void *gate, const void *up, int64_t n, bool half_y, bool half));
HN_TIERED_DECLARE(void, hn_silu_b,
                  (void *ggate, void *gup, const void *gate, const void *up, const float *g, int64_t n,
                   bool half_y, bool half));

/* y = a + b, a - b, a * b, s a + c */
HN_TIERED_DECLARE(void, hn_vadd, (float *y, const float *a, const float *b, int64_t n));
/* y = x rounded to bf16 (nearest even), as floats; y may be x. */
HN_TIERED_DECLARE(void, hn_vround_bf16, (float *y, const float *x, int64_t n));
/* y = x rounded to bf16. */
HN_TIERED_DECLARE(void, hn_vnarrow, (uint16_t * y, const float *x, int64_t n));
HN_TIERED_DECLARE(void, hn_vsub, (float *y, const float *a, const float *b, int64_t n));
HN_TIERED_DECLARE(void, hn_vmul, (float *y, const float *a, const float *b, int64_t n));
HN_TIERED_DECLARE(void, hn_vaffine, (float *y, const float *a, float s, float c, int64_t n));
/* y[c] += sum over r of x[r ld + c], row after row; x is bf16 when `half`. */
HN_TIERED_DECLARE(void, hn_vcolumns,
                  (float *y, const void *x, int64_t ld, int64_t rows, int64_t n, bool half));
#endif
