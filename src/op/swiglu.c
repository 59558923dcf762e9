/* swiglu.c - the gated unit of the feed-forward block, silu(gate) * up with silu(a) = a / (1 + e^-a)
 * (Shazeer 2020), on rows [gate F, up F]. */
#include "op/op.h"

#include <math.h>

static int shape(const hn_tensor *y, hn_shape *s) {
    *s = hn_rows_like(y->in[0], hn_cols(y->in[0]) / 2);
    return !hn_is_real(y->in[0], 2) || hn_cols(y->in[0]) % 2;
}
static int shape_b(const hn_tensor *y, hn_shape *s) {
    const hn_tensor *gu = y->in[0], *g = y->in[1];
    *s = gu->shape;
    return !hn_is_real(gu, 2) || !hn_is(g, HN_F, 2) || !hn_same_rows(gu, g) || hn_cols(gu) != 2 * hn_cols(g);
}
static double sigmoid(double a) {
    double e = exp(-fabs(a));
    return (a < 0 ? e : 1) / (1 + e);
}
static void ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t F = hn_cols(y);
    for (int64_t n = lo; n < hi; n++)
        for (int64_t f = 0; f < F; f++) {
            double a = hn_get(y->in[0], n * 2 * F + f), u = hn_get(y->in[0], n * 2 * F + F + f);
            hn_put(y, n * F + f, (hn_real)(a * sigmoid(a) * u));
        }
}
static void ref_b(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t F = hn_cols(y) / 2;
    for (int64_t n = lo; n < hi; n++)
        for (int64_t f = 0; f < F; f++) {
            double a = hn_get(y->in[0], n * 2 * F + f), u = hn_get(y->in[0], n * 2 * F + F + f);
            double g = HN_IN(y, 1)[n * F + f], s = sigmoid(a);
            hn_put(y, n * 2 * F + f, (hn_real)(g * u * s * (1 + a * (1 - s))));
            hn_put(y, n * 2 * F + F + f, (hn_real)(g * a * s));
        }
}
static void vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    gin[0] = hn_grad_stored(hn_swiglu_b(t, y->in[0], g[0]), y->in[0]);
}

/* clang-format off */
static const hn_case cases[] = { { .name = "odd", .in = { HN_T2(3, 10) } },
                                 { .name = "wide", .in = { HN_T2(2, 74) } }, { 0 } };
static const hn_case cases_b[] = { { .name = "odd", .in = { HN_T2(3, 10), HN_T2(3, 5) } },
                                   { .name = "wide", .in = { HN_T2(2, 74), HN_T2(2, 37) } }, { 0 } };
/* clang-format on */
const hn_op hn_op_swiglu = {
    .name = "swiglu", .n_in = 1, .shape = shape, .ref = ref, .vjp = vjp, .half = 1, .cases = cases
};
const hn_op hn_op_swiglu_b = {
    .name = "swiglu_b", .n_in = 2, .shape = shape_b, .ref = ref_b, .inplace = 1, .half = 1, .cases = cases_b
};

hn_tensor *hn_swiglu(hn_tape *t, hn_tensor *gu) { return HN_APPLY(t, hn_op_swiglu, HN_NOATTR, gu); }
hn_tensor *hn_swiglu_b(hn_tape *t, hn_tensor *gu, hn_tensor *g) {
    return HN_APPLY(t, hn_op_swiglu_b, HN_NOATTR, gu, g);
}
