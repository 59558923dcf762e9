/* vec.h - whole-array forms of what simd.h does by the vector, in the tier of the moment.  One thread each.
 */
#ifndef HN_VEC_H
#define HN_VEC_H

#include "cpu/cpu.h"

HN_TIERED_DECLARE(void, hn_vec_exp, (float *y, const float *x, int64_t n));
HN_TIERED_DECLARE(void, hn_vec_weights, (float *y, const float *x, int64_t n, float top, float by));
HN_TIERED_DECLARE(float, hn_vec_sum, (const float *x, int64_t n));
HN_TIERED_DECLARE(float, hn_vec_max, (const float *x, int64_t n));
HN_TIERED_DECLARE(void, hn_vec_to_bf16, (uint16_t * y, const float *x, int64_t n));
HN_TIERED_DECLARE(void, hn_vec_from_bf16, (float *y, const uint16_t *x, int64_t n));

/* y[i] = e^x[i] as vexp: 0 below -87.3.  y may be x. */
static inline void hn_vec_exp(float *y, const float *x, int64_t n) { HN_TIER_PICK(hn_vec_exp)(y, x, n); }
/* y[i] = e^((x[i] - top) by): the weights of a softmax before they are divided by their sum. */
static inline void hn_vec_weights(float *y, const float *x, int64_t n, float top, float by) {
    HN_TIER_PICK(hn_vec_weights)(y, x, n, top, by);
}
/* Lane-wise partial sums, then the fold of simd.h: fixed by n and the tier. */
static inline float hn_vec_sum(const float *x, int64_t n) { return HN_TIER_PICK(hn_vec_sum)(x, n); }
/* -INFINITY when n is 0. */
static inline float hn_vec_max(const float *x, int64_t n) { return HN_TIER_PICK(hn_vec_max)(x, n); }
/* Nearest even; NaN stays NaN. */
static inline void hn_vec_to_bf16(uint16_t *y, const float *x, int64_t n) {
    HN_TIER_PICK(hn_vec_to_bf16)(y, x, n);
}
static inline void hn_vec_from_bf16(float *y, const uint16_t *x, int64_t n) {
    HN_TIER_PICK(hn_vec_from_bf16)(y, x, n);
}
#endif
