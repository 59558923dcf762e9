/* linear.c - y = x w^T + b, weights stored as [outputs, inputs] the way checkpoints hold them, and its
 * three gradients.  Sums run over the inner index in order; the reference adds in double. */
#include "op/op.h"

/* bf16 is for products that round what they read. */
static bool refused(const hn_tensor *y, const hn_tensor *x) {
    return !hn_is_real(x, 2) || (x->type == HN_BF16 && y->attr.i[0] != HN_PREC_BF16);
}
static int linear_shape(const hn_tensor *y, hn_shape *s) {
    const hn_tensor *x = y->in[0], *w = y->in[1], *b = y->in[2];
    *s = hn_rows_like(x, w->shape.d[0]);
    return refused(y, x) || !hn_is(w, HN_F, 2) || hn_cols(x) != hn_cols(w) ||
           (b && !hn_is_weight(b, w->shape.d[0]));
}
static int linear_x_shape(const hn_tensor *y, hn_shape *s) {
    const hn_tensor *g = y->in[0], *w = y->in[1];
    *s = hn_rows_like(g, hn_cols(w));
    return refused(y, g) || !hn_is(w, HN_F, 2) || hn_cols(g) != w->shape.d[0];
}
static int linear_w_shape(const hn_tensor *y, hn_shape *s) {
    const hn_tensor *g = y->in[0], *x = y->in[1];
    *s = (hn_shape)HN_S2(hn_cols(g), hn_cols(x));
    return refused(y, g) || refused(y, x) || !hn_same_rows(g, x);
}
static int linear_b_shape(const hn_tensor *y, hn_shape *s) {
    *s = (hn_shape)HN_S1(hn_cols(y->in[0]));
    return !hn_is_real(y->in[0], 2);
}

static void linear_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t O = hn_cols(y), C = hn_cols(y->in[0]), prec = y->attr.i[0];
    const hn_real *w = HN_IN(y, 1);
    for (int64_t n = lo; n < hi; n++) {
        for (int64_t o = 0; o < O; o++) {
            double acc = 0;
            for (int64_t c = 0; c < C; c++)
                acc += (double)hn_read(hn_get(y->in[0], n * C + c), prec) * hn_read(w[o * C + c], prec);
            hn_put(y, n * O + o, (hn_real)(y->in[2] ? acc + HN_IN(y, 2)[o] : acc));
        }
    }
}
static void linear_x_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t C = hn_cols(y), O = hn_cols(y->in[0]), prec = y->attr.i[0];
    const hn_real *w = HN_IN(y, 1);
    for (int64_t n = lo; n < hi; n++) {
        for (int64_t c = 0; c < C; c++) {
            double acc = 0;
            for (int64_t o = 0; o < O; o++)
                acc += (double)hn_read(hn_get(y->in[0], n * O + o), prec) * hn_read(w[o * C + c], prec);
            HN_OUT(y, 0)[n * C + c] = (hn_real)acc;
        }
    }
}
static void linear_w_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t C = hn_cols(y), O = hn_cols(y->in[0]), N = hn_rows(y->in[0]), prec = y->attr.i[0];
    const hn_tensor *g = y->in[0], *x = y->in[1];
    for (int64_t o = lo; o < hi; o++)
        for (int64_t c = 0; c < C; c++) {
            double acc = 0;
            for (int64_t n = 0; n < N; n++)
                acc += (double)hn_read(hn_get(g, n * O + o), prec) * hn_read(hn_get(x, n * C + c), prec);
            HN_OUT(y, 0)[o * C + c] += (hn_real)acc;
        }
}
static void linear_b_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t O = hn_cols(y->in[0]), N = hn_rows(y->in[0]);
    for (int64_t o = lo; o < hi; o++) {
        double acc = 0;
        for (int64_t n = 0; n < N; n++) acc += hn_get(y->in[0], n * O + o);
        HN_OUT(y, 0)[o] += (hn_real)acc;
    }
}

static void linear_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    hn_prec p = (hn_prec)y->attr.i[0];
    gin[0] = hn_linear_x(t, g[0], y->in[1], p);
    gin[1] = hn_linear_w(t, g[0], y->in[0], p);
    if (y->in[2]) gin[2] = hn_linear_b(t, g[0]);
}

static double linear_flops(const hn_tensor *y) {
    return 2.0 * (double)hn_count(y) * (double)hn_cols(y->in[0]);
}
static double linear_w_flops(const hn_tensor *y) {
    return 2.0 * (double)hn_count(y) * (double)hn_rows(y->in[0]);
}

/* clang-format off */
static const hn_case forward[] = {
    { .name = "odd", .in = { HN_T2(3, 5), HN_S2(7, 5), HN_S1(7) } },
    { .name = "nobias", .in = { HN_T2(2, 9), HN_S2(4, 9) } },
    { .name = "one", .in = { HN_T2(1, 1), HN_S2(1, 1), HN_S1(1) } },
    { .name = "bf16", .in = { HN_T2(5, 33), HN_S2(17, 33), HN_S1(17) }, .attr = { { 0 }, { HN_PREC_BF16 } } },
    { .name = "wide", .in = { HN_T2(19, 70), HN_S2(49, 70) } }, { 0 } };
static const hn_case back_x[] = {
    { .name = "odd", .in = { HN_T2(3, 7), HN_S2(7, 5) } },
    { .name = "bf16", .in = { HN_T2(5, 17), HN_S2(17, 33) }, .attr = { { 0 }, { HN_PREC_BF16 } } }, { 0 } };
static const hn_case back_w[] = {
    { .name = "odd", .in = { HN_T2(3, 7), HN_T2(3, 5) } },
    { .name = "bf16", .in = { HN_T2(19, 17), HN_T2(19, 33) }, .attr = { { 0 }, { HN_PREC_BF16 } } }, { 0 } };
static const hn_case back_b[] = { { .name = "odd", .in = { HN_T2(3, 7) } }, { 0 } };
/* clang-format on */

const hn_op hn_op_linear = { .name = "linear",
                             .n_in = 3,
                             .shape = linear_shape,
                             .ref = linear_ref,
                             .vjp = linear_vjp,
                             .flops = linear_flops,
                             .optional = 1 << 2,
                             .half = 1,
                             .cases = forward };
const hn_op hn_op_linear_x = { .name = "linear_x",
                               .n_in = 2,
                               .shape = linear_x_shape,
                               .ref = linear_x_ref,
                               .flops = linear_flops,
                               .cases = back_x };
const hn_op hn_op_linear_w = { .name = "linear_w",
                               .n_in = 2,
                               .shape = linear_w_shape,
                               .ref = linear_w_ref,
                               .flops = linear_w_flops,
                               .acc = 1,
                               .cases = back_w };
const hn_op hn_op_linear_b = {
    .name = "linear_b", .n_in = 1, .shape = linear_b_shape, .ref = linear_b_ref, .acc = 1, .cases = back_b
};

static hn_attr precision(hn_prec p) { return (hn_attr){ { 0 }, { (int64_t)p } }; }

hn_tensor *hn_linear(hn_tape *t, hn_tensor *x, hn_tensor *w, hn_tensor *b, hn_prec p) {
    return HN_APPLY(t, hn_op_linear, precision(p), x, w, b);
}
hn_tensor *hn_linear_x(hn_tape *t, hn_tensor *g, hn_tensor *w, hn_prec p) {
    return HN_APPLY(t, hn_op_linear_x, precision(p), g, w);
}
hn_tensor *hn_linear_w(hn_tape *t, hn_tensor *g, hn_tensor *x, hn_prec p) {
    return HN_APPLY(t, hn_op_linear_w, precision(p), g, x);
}
hn_tensor *hn_linear_b(hn_tape *t, hn_tensor *g) { return HN_APPLY(t, hn_op_linear_b, HN_NOATTR, g); }
