/* arith.c - element by element: what losses are written in. */
#include "op/op.h"

#include <math.h>

/* Elements of rows [lo,hi). */
#define EACH(i, y, lo, hi) for (int64_t i = (lo)*hn_cols(y), end_ = (hi)*hn_cols(y); i < end_; i++)

static int like_one(const hn_tensor *y, hn_shape *s) {
    *s = y->in[0]->shape;
    return y->in[0]->type != HN_F;
}
static int like_two(const hn_tensor *y, hn_shape *s) {
    return like_one(y, s) || y->in[1]->type != HN_F || !hn_same_shape(y->in[0], y->in[1]);
}
static int like_three(const hn_tensor *y, hn_shape *s) {
    return like_two(y, s) || y->in[2]->type != HN_F || !hn_same_shape(y->in[0], y->in[2]);
}

static void add_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    EACH(i, y, lo, hi) HN_OUT(y, 0)[i] = HN_IN(y, 0)[i] + HN_IN(y, 1)[i];
}
static void sub_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    EACH(i, y, lo, hi) HN_OUT(y, 0)[i] = HN_IN(y, 0)[i] - HN_IN(y, 1)[i];
}
static void mul_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    EACH(i, y, lo, hi) HN_OUT(y, 0)[i] = HN_IN(y, 0)[i] * HN_IN(y, 1)[i];
}
static void min_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    EACH(i, y, lo, hi) {
        hn_real a = HN_IN(y, 0)[i], b = HN_IN(y, 1)[i];
        HN_OUT(y, 0)[i] = a <= b || isnan(a) ? a : b; /* a NaN on either side stays visible */
    }
}
static void min_b_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    EACH(i, y, lo, hi) HN_OUT(y, 0)[i] = HN_IN(y, 0)[i] <= HN_IN(y, 1)[i] ? HN_IN(y, 2)[i] : 0;
}
static void affine_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    hn_real s = (hn_real)y->attr.f[0], c = (hn_real)y->attr.f[1];
    EACH(i, y, lo, hi) HN_OUT(y, 0)[i] = s * HN_IN(y, 0)[i] + c;
}
static void exp_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    EACH(i, y, lo, hi) HN_OUT(y, 0)[i] = (hn_real)exp(HN_IN(y, 0)[i]);
}
static void clip_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    hn_real least = (hn_real)y->attr.f[0], most = (hn_real)y->attr.f[1];
    EACH(i, y, lo, hi) {
        hn_real a = HN_IN(y, 0)[i];
        HN_OUT(y, 0)[i] = a < least ? least : a > most ? most : a;
    }
}
static void clip_b_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    hn_real least = (hn_real)y->attr.f[0], most = (hn_real)y->attr.f[1];
    EACH(i, y, lo, hi) {
        hn_real a = HN_IN(y, 0)[i];
        HN_OUT(y, 0)[i] = a >= least && a <= most ? HN_IN(y, 1)[i] : 0;
    }
}
static void logsig_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    EACH(i, y, lo, hi) {
        double a = HN_IN(y, 0)[i];
        HN_OUT(y, 0)[i] = (hn_real)(a < 0 ? a - log1p(exp(a)) : -log1p(exp(-a)));
    }
}
static void sigmoid_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    EACH(i, y, lo, hi) {
        double a = HN_IN(y, 0)[i], e = exp(-fabs(a));
        HN_OUT(y, 0)[i] = (hn_real)((a < 0 ? e : 1) / (1 + e));
    }
}

static void add_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    (void)t, (void)y;
    gin[0] = gin[1] = g[0];
}
static void sub_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    (void)y;
    gin[0] = g[0];
    gin[1] = hn_affine(t, g[0], -1, 0);
}
static void mul_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    gin[0] = hn_mul(t, g[0], y->in[1]);
    gin[1] = hn_mul(t, g[0], y->in[0]);
}
static void min_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    gin[0] = hn_min_b(t, y->in[0], y->in[1], g[0]);
    gin[1] = hn_sub(t, g[0], gin[0]);
}
static void affine_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    gin[0] = hn_affine(t, g[0], y->attr.f[0], 0);
}
static void exp_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    gin[0] = hn_mul(t, g[0], y);
}
static void clip_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    gin[0] = hn_clip_b(t, y->in[0], g[0], y->attr.f[0], y->attr.f[1]);
}
static void logsig_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    gin[0] = hn_mul(t, g[0], hn_sigmoid(t, hn_affine(t, y->in[0], -1, 0)));
}
static void sigmoid_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    gin[0] = hn_mul(t, g[0], hn_mul(t, y, hn_affine(t, y, -1, 1)));
}

/* clang-format off */
static const hn_case one[] = { { .name = "odd", .in = { HN_S2(3, 5) }, .attr = { { -0.3, 0.4 } } },
                               { .name = "vector", .in = { HN_A1(7) }, .attr = { { -0.6, 0.1 } } }, { 0 } };
static const hn_case two[] = { { .name = "odd", .in = { HN_S2(3, 5), HN_S2(3, 5) } },
                               { .name = "vector", .in = { HN_A1(7), HN_A1(7) } }, { 0 } };
static const hn_case three[] = { { .name = "odd", .in = { HN_S2(3, 5), HN_S2(3, 5), HN_S2(3, 5) } }, { 0 } };
static const hn_case clips_b[] = {
    { .name = "odd", .in = { HN_S2(3, 5), HN_S2(3, 5) }, .attr = { { -0.3, 0.4 } } }, { 0 } };

#define OP1(op, back) const hn_op hn_op_##op = { .name = #op, .n_in = 1, .shape = like_one, .ref = op##_ref, \
                                                 .vjp = back, .inplace = 1, .cases = one }
#define OP2(op, back) const hn_op hn_op_##op = { .name = #op, .n_in = 2, .shape = like_two, .ref = op##_ref, \
                                                 .vjp = back, .inplace = 1, .cases = two }
/* clang-format on */
OP2(add, add_vjp);
OP2(sub, sub_vjp);
OP2(mul, mul_vjp);
OP2(min, min_vjp);
OP1(affine, affine_vjp);
OP1(exp, exp_vjp);
OP1(clip, clip_vjp);
OP1(logsig, logsig_vjp);
OP1(sigmoid, sigmoid_vjp);
const hn_op hn_op_min_b = {
    .name = "min_b", .n_in = 3, .shape = like_three, .ref = min_b_ref, .inplace = 3, .cases = three
};
const hn_op hn_op_clip_b = {
    .name = "clip_b", .n_in = 2, .shape = like_two, .ref = clip_b_ref, .inplace = 2, .cases = clips_b
};

static hn_attr numbers(double a, double b) { return (hn_attr){ { a, b }, { 0 } }; }

hn_tensor *hn_add(hn_tape *t, hn_tensor *a, hn_tensor *b) { return HN_APPLY(t, hn_op_add, HN_NOATTR, a, b); }
hn_tensor *hn_sub(hn_tape *t, hn_tensor *a, hn_tensor *b) { return HN_APPLY(t, hn_op_sub, HN_NOATTR, a, b); }
hn_tensor *hn_mul(hn_tape *t, hn_tensor *a, hn_tensor *b) { return HN_APPLY(t, hn_op_mul, HN_NOATTR, a, b); }
hn_tensor *hn_min(hn_tape *t, hn_tensor *a, hn_tensor *b) { return HN_APPLY(t, hn_op_min, HN_NOATTR, a, b); }
hn_tensor *hn_min_b(hn_tape *t, hn_tensor *a, hn_tensor *b, hn_tensor *g) {
    return HN_APPLY(t, hn_op_min_b, HN_NOATTR, a, b, g);
}
hn_tensor *hn_affine(hn_tape *t, hn_tensor *a, double s, double c) {
    return HN_APPLY(t, hn_op_affine, numbers(s, c), a);
}
hn_tensor *hn_exp(hn_tape *t, hn_tensor *a) { return HN_APPLY(t, hn_op_exp, HN_NOATTR, a); }
hn_tensor *hn_clip(hn_tape *t, hn_tensor *a, double lo, double hi) {
    return HN_APPLY(t, hn_op_clip, numbers(lo, hi), a);
}
hn_tensor *hn_clip_b(hn_tape *t, hn_tensor *a, hn_tensor *g, double lo, double hi) {
    return HN_APPLY(t, hn_op_clip_b, numbers(lo, hi), a, g);
}
hn_tensor *hn_logsig(hn_tape *t, hn_tensor *a) { return HN_APPLY(t, hn_op_logsig, HN_NOATTR, a); }
hn_tensor *hn_sigmoid(hn_tape *t, hn_tensor *a) { return HN_APPLY(t, hn_op_sigmoid, HN_NOATTR, a); }
