/* vec_tmpl.c - loops over simd.h; the smallest example of a template. */
#include "cpu/vec.h"

#include "cpu/simd.h"

void HN_TIERED(hn_vec_exp)(float *y, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i += VL) vstore_n(y + i, n - i, vexp(vload_n(x + i, n - i)));
}

void HN_TIERED(hn_vec_weights)(float *y, const float *x, int64_t n, float top, float by) {
    V t = vset1(top), s = vset1(by);
    for (int64_t i = 0; i < n; i += VL) vstore_n(y + i, n - i, vexp(vmul(vsub(vload_n(x + i, n - i), t), s)));
}

float HN_TIERED(hn_vec_sum)(const float *x, int64_t n) {
    V s = vzero();
    for (int64_t i = 0; i < n; i += VL) s = vadd(s, vload_n(x + i, n - i));
    return vsum(s);
}

float HN_TIERED(hn_vec_max)(const float *x, int64_t n) {
    V m = vset1(-INFINITY), low = m;
    for (int64_t i = 0; i < n; i += VL) m = vmax(m, vblend(vfirst(n - i), vload_n(x + i, n - i), low));
    return vhmax(m);
}

void HN_TIERED(hn_vec_to_bf16)(uint16_t *y, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i += VL) vstore_bf16_n(y + i, n - i, vload_n(x + i, n - i));
}

void HN_TIERED(hn_vec_from_bf16)(float *y, const uint16_t *x, int64_t n) {
    for (int64_t i = 0; i < n; i += VL) vstore_n(y + i, n - i, vload_bf16_n(x + i, n - i));
}
