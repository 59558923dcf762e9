/* optim_tmpl.c - the optimiser's loops over parameters (optim.h), with the roundings of the plain loops in
 * nn/params.c: no fused multiply-adds, so every tier gives the same bits. */
#include "cpu/optim.h"

#include "cpu/simd.h"

void HN_TIERED(hn_adamw_run)(float *w, float *m, float *v, const float *g, int64_t n, const hn_adamw_now *a) {
    V b1 = vset1(a->beta1), b2 = vset1(a->beta2), c1 = vset1(a->rest1), c2 = vset1(a->rest2);
    V lr = vset1(a->lr), root2 = vset1(a->root2), eps = vset1(a->eps), scale = vset1(a->scale);
    V decay = vset1(a->decay);
    for (int64_t i = 0; i < n; i += VL) {
        int64_t left = n - i;
        V x = vmul(vload_n(g + i, left), scale);
        V mi = vadd(vmul(b1, vload_n(m + i, left)), vmul(c1, x));
        V vi = vadd(vmul(b2, vload_n(v + i, left)), vmul(vmul(c2, x), x));
        V by = vdiv(vmul(lr, mi), vadd(vmul(vsqrt(vi), root2), eps));
        vstore_n(m + i, left, mi);
        vstore_n(v + i, left, vi);
        vstore_n(w + i, left, vsub(vmul(vload_n(w + i, left), decay), by));
    }
}

typedef double lanes __attribute__((vector_size(64)));
typedef float eight __attribute__((vector_size(32)));

double HN_TIERED(hn_sum_squares)(const float *g, int64_t n) {
    lanes sum = { 0 };
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        eight f;
        memcpy(&f, g + i, sizeof f);
        lanes x = __builtin_convertvector(f, lanes);
        sum += x * x; /* exact: 24 bits by 24 */
    }
    for (; i < n; i++) sum[i & 7] += (double)g[i] * g[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}
