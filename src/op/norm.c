/* norm.c - root mean square normalisation, y = w x / sqrt(mean(x^2) + eps) (Zhang and Sennrich 2019,
 * equation 4), of whole rows and of each query and key head (Qwen3), and the gradients.
 *
 * With r = 1 / sqrt(mean(x^2) + eps):  gx = r (w g - x r^2 mean(w g x)),  gw = sum over rows of g x r. */
#include "op/op.h"

#include <math.h>

static double inverse_rms(const hn_real *x, int64_t C, double eps) {
    double ss = 0;
    for (int64_t c = 0; c < C; c++) ss += (double)x[c] * x[c];
    return 1 / sqrt(ss / (double)C + eps);
}
static void norm_one(hn_real *y, const hn_real *x, const hn_real *w, int64_t C, double eps) {
    double r = inverse_rms(x, C, eps);
    for (int64_t c = 0; c < C; c++) y[c] = (hn_real)(x[c] * r * w[c]);
}
static void grad_x(hn_real *gx, const hn_real *x, const hn_real *w, const hn_real *g, int64_t C, double eps) {
    double r = inverse_rms(x, C, eps), dot = 0;
    for (int64_t c = 0; c < C; c++) dot += (double)g[c] * w[c] * x[c];
    for (int64_t c = 0; c < C; c++)
        gx[c] = (hn_real)(r * ((double)g[c] * w[c] - x[c] * r * r * dot / (double)C));
}
static void grad_w(hn_real *gw, const hn_real *x, const hn_real *g, int64_t C, double eps) {
    double r = inverse_rms(x, C, eps);
    for (int64_t c = 0; c < C; c++) gw[c] += (hn_real)(g[c] * x[c] * r);
}

/* ---- whole rows ---- */
static int rows_shape(const hn_tensor *y, hn_shape *s) {
    *s = y->in[0]->shape;
    return !hn_is(y->in[0], HN_F, 2) || !hn_is_weight(y->in[1], hn_cols(y->in[0]));
}
static int rows_x_shape(const hn_tensor *y, hn_shape *s) {
    return rows_shape(y, s) || y->in[2]->type != HN_F || !hn_same_shape(y->in[0], y->in[2]);
}
static int rows_w_shape(const hn_tensor *y, hn_shape *s) {
    int bad = rows_x_shape(y, s);
    *s = y->in[1]->shape;
    return bad;
}
static void rmsnorm_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t C = hn_cols(y);
    for (int64_t n = lo; n < hi; n++) {
        const hn_real *x = HN_IN(y, 0) + n * C;
        double r = inverse_rms(x, C, y->attr.f[0]);
        for (int64_t c = 0; c < C; c++) hn_put(y, n * C + c, (hn_real)(x[c] * r * HN_IN(y, 1)[c]));
    }
}
static void rmsnorm_x_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t C = hn_cols(y);
    for (int64_t n = lo; n < hi; n++)
        grad_x(HN_OUT(y, 0) + n * C, HN_IN(y, 0) + n * C, HN_IN(y, 1), HN_IN(y, 2) + n * C, C, y->attr.f[0]);
}
static void rmsnorm_w_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t C = hn_cols(y->in[0]), N = hn_rows(y->in[0]);
    (void)lo, (void)hi;
    for (int64_t n = 0; n < N; n++)
        grad_w(HN_OUT(y, 0), HN_IN(y, 0) + n * C, HN_IN(y, 2) + n * C, C, y->attr.f[0]);
}
static void rmsnorm_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    gin[0] = hn_rmsnorm_x(t, y->in[0], y->in[1], g[0], y->attr.f[0]);
    gin[1] = hn_rmsnorm_w(t, y->in[0], y->in[1], g[0], y->attr.f[0]);
}

/* ---- each head of a row [H queries, G keys, G values] of D numbers ---- */
static int64_t head_size(const hn_tensor *y) {
    int64_t heads = y->attr.i[0] + 2 * y->attr.i[1];
    return heads > 0 && hn_cols(y->in[0]) % heads == 0 ? hn_cols(y->in[0]) / heads : 0;
}
static int heads_shape(const hn_tensor *y, hn_shape *s) {
    int64_t D = head_size(y);
    *s = y->in[0]->shape;
    return !hn_is(y->in[0], HN_F, 2) || !D || y->attr.i[0] < 1 || y->attr.i[1] < 1 ||
           !hn_is_weight(y->in[1], D) || !hn_is_weight(y->in[2], D);
}
static int heads_x_shape(const hn_tensor *y, hn_shape *s) {
    return heads_shape(y, s) || y->in[3]->type != HN_F || !hn_same_shape(y->in[0], y->in[3]);
}
static int heads_w_shape(const hn_tensor *y, hn_shape *s) {
    int bad = heads_x_shape(y, s);
    s[0] = y->in[1]->shape;
    s[1] = y->in[2]->shape;
    return bad;
}
static void headnorm_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t H = y->attr.i[0], G = y->attr.i[1], D = head_size(y), C = hn_cols(y);
    for (int64_t n = lo; n < hi; n++) {
        const hn_real *x = HN_IN(y, 0) + n * C;
        hn_real *out = HN_OUT(y, 0) + n * C;
        for (int64_t h = 0; h < H + G; h++)
            norm_one(out + h * D, x + h * D, h < H ? HN_IN(y, 1) : HN_IN(y, 2), D, y->attr.f[0]);
        memcpy(out + (H + G) * D, x + (H + G) * D, (size_t)(G * D) * sizeof(hn_real));
    }
}
static void headnorm_x_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t H = y->attr.i[0], G = y->attr.i[1], D = head_size(y), C = hn_cols(y);
    for (int64_t n = lo; n < hi; n++) {
        const hn_real *x = HN_IN(y, 0) + n * C, *g = HN_IN(y, 3) + n * C;
        hn_real *out = HN_OUT(y, 0) + n * C;
        for (int64_t h = 0; h < H + G; h++)
            grad_x(out + h * D, x + h * D, h < H ? HN_IN(y, 1) : HN_IN(y, 2), g + h * D, D, y->attr.f[0]);
        memcpy(out + (H + G) * D, g + (H + G) * D, (size_t)(G * D) * sizeof(hn_real));
    }
}
static void headnorm_w_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t H = y->attr.i[0], G = y->attr.i[1], D = head_size(y), C = hn_cols(y->in[0]);
    (void)lo, (void)hi;
    for (int64_t n = 0; n < hn_rows(y->in[0]); n++) {
        const hn_real *x = HN_IN(y, 0) + n * C, *g = HN_IN(y, 3) + n * C;
        for (int64_t h = 0; h < H + G; h++)
            grad_w(HN_OUT(y, h < H ? 0 : 1), x + h * D, g + h * D, D, y->attr.f[0]);
    }
}
static void headnorm_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    int H = (int)y->attr.i[0], G = (int)y->attr.i[1];
    gin[0] = hn_headnorm_x(t, y->in[0], y->in[1], y->in[2], g[0], H, G, y->attr.f[0]);
    gin[1] = hn_headnorm_w(t, y->in[0], y->in[1], y->in[2], g[0], H, G, y->attr.f[0]);
    gin[2] = gin[1]->out[1];
}

/* clang-format off */
static const hn_case rows[] = {
    { .name = "odd", .in = { HN_T2(3, 5), HN_S1(5) }, .attr = { { 1e-6 } } },
    { .name = "wide", .in = { HN_T2(2, 37), HN_S1(37) }, .attr = { { 1e-5 } } },
    { .name = "one", .in = { HN_T2(1, 1), HN_S1(1) }, .attr = { { 1e-2 } } }, { 0 } };
static const hn_case rows_b[] = {
    { .name = "odd", .in = { HN_T2(3, 5), HN_S1(5), HN_T2(3, 5) }, .attr = { { 1e-6 } } },
    { .name = "wide", .in = { HN_T2(9, 37), HN_S1(37), HN_T2(9, 37) }, .attr = { { 1e-5 } } }, { 0 } };
static const hn_case heads[] = {
    { .name = "grouped", .in = { HN_T2(3, 24), HN_S1(3), HN_S1(3) }, .attr = { { 1e-6 }, { 4, 2 } } },
    { .name = "one", .in = { HN_T2(2, 15), HN_S1(5), HN_S1(5) }, .attr = { { 1e-6 }, { 1, 1 } } }, { 0 } };
static const hn_case heads_b[] = {
    { .name = "grouped", .in = { HN_T2(3, 24), HN_S1(3), HN_S1(3), HN_T2(3, 24) },
      .attr = { { 1e-6 }, { 4, 2 } } },
    { .name = "one", .in = { HN_T2(2, 15), HN_S1(5), HN_S1(5), HN_T2(2, 15) },
      .attr = { { 1e-6 }, { 1, 1 } } }, { 0 } };
/* clang-format on */

const hn_op hn_op_rmsnorm = { .name = "rmsnorm",
                              .n_in = 2,
                              .shape = rows_shape,
                              .ref = rmsnorm_ref,
                              .vjp = rmsnorm_vjp,
                              .half = 1,
                              .cases = rows };
const hn_op hn_op_rmsnorm_x = {
    .name = "rmsnorm_x", .n_in = 3, .shape = rows_x_shape, .ref = rmsnorm_x_ref, .cases = rows_b
};
const hn_op hn_op_rmsnorm_w = { .name = "rmsnorm_w",
                                .n_in = 3,
                                .shape = rows_w_shape,
                                .ref = rmsnorm_w_ref,
                                .whole = true,
                                .acc = 1,
                                .like = 1 << 1,
                                .cases = rows_b };
const hn_op hn_op_headnorm = { .name = "headnorm",
                               .n_in = 3,
                               .shape = heads_shape,
                               .ref = headnorm_ref,
                               .vjp = headnorm_vjp,
                               .cases = heads };
const hn_op hn_op_headnorm_x = {
    .name = "headnorm_x", .n_in = 4, .shape = heads_x_shape, .ref = headnorm_x_ref, .cases = heads_b
};
const hn_op hn_op_headnorm_w = { .name = "headnorm_w",
                                 .n_in = 4,
                                 .n_out = 2,
                                 .shape = heads_w_shape,
                                 .ref = headnorm_w_ref,
                                 .whole = true,
                                 .acc = 1 | 1 << 1,
                                 .like = 1 << 1 | 1 << 2,
                                 .cases = heads_b };

static hn_attr attr(double eps, int H, int G) { return (hn_attr){ { eps }, { H, G } }; }

hn_tensor *hn_rmsnorm(hn_tape *t, hn_tensor *x, hn_tensor *w, double eps) {
    return HN_APPLY(t, hn_op_rmsnorm, attr(eps, 0, 0), x, w);
}
hn_tensor *hn_rmsnorm_x(hn_tape *t, hn_tensor *x, hn_tensor *w, hn_tensor *g, double eps) {
    return HN_APPLY(t, hn_op_rmsnorm_x, attr(eps, 0, 0), x, w, g);
}
hn_tensor *hn_rmsnorm_w(hn_tape *t, hn_tensor *x, hn_tensor *w, hn_tensor *g, double eps) {
    return HN_APPLY(t, hn_op_rmsnorm_w, attr(eps, 0, 0), x, w, g);
}
hn_tensor *hn_headnorm(hn_tape *t, hn_tensor *qkv, hn_tensor *wq, hn_tensor *wk, int H, int G, double eps) {
    return HN_APPLY(t, hn_op_headnorm, attr(eps, H, G), qkv, wq, wk);
}
hn_tensor *hn_headnorm_x(hn_tape *t, hn_tensor *qkv, hn_tensor *wq, hn_tensor *wk, hn_tensor *g, int H, int G,
                         double eps) {
    return HN_APPLY(t, hn_op_headnorm_x, attr(eps, H, G), qkv, wq, wk, g);
}
hn_tensor *hn_headnorm_w(hn_tape *t, hn_tensor *qkv, hn_tensor *wq, hn_tensor *wk, hn_tensor *g, int H, int G,
                         double eps) {
    return HN_APPLY(t, hn_op_headnorm_w, attr(eps, H, G), qkv, wq, wk, g);
}
