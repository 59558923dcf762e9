/* rope.c - rotary position embedding (Su et al. 2021), in the layout of Hugging Face checkpoints: element
 * i of a head pairs with element i + D/2, the angle is pos * freq[i].
 *
 * A row holds H query, G key and G value heads; values are not turned.  In bf16 all leave rounded, as the
 * products of attention read them and the cache of the generator keeps them: training sees the same numbers.
 * The angle is a product in hn_real (f32 in training, as the reference implementations of the models do). The
 * gradient rotates by the opposite angle. */
#include "op/op.h"

#include <math.h>

static int64_t head_size(const hn_tensor *y) {
    int64_t heads = y->attr.i[0] + 2 * y->attr.i[1];
    return heads > 0 && hn_cols(y->in[0]) % heads == 0 ? hn_cols(y->in[0]) / heads : 0;
}
static int shape(const hn_tensor *y, hn_shape *s) {
    int64_t D = head_size(y);
    *s = y->in[0]->shape;
    return !hn_is(y->in[0], HN_F, 2) || !D || D % 2 || y->attr.i[0] < 1 || y->attr.i[1] < 1 ||
           !hn_is(y->in[1], HN_I32, 1) || !hn_same_rows(y->in[0], y->in[1]) || !hn_is_weight(y->in[2], D / 2);
}

static void rotate(const hn_tensor *y, int64_t lo, int64_t hi, hn_real sign, int64_t prec) {
    int64_t turned = y->attr.i[0] + y->attr.i[1], D = head_size(y), half = D / 2, C = hn_cols(y);
    for (int64_t n = lo; n < hi; n++) {
        const hn_real *x = HN_IN(y, 0) + n * C;
        hn_real pos = (hn_real)HN_INI(y, 1)[n];
        for (int64_t i = 0; i < half; i++) {
            hn_real a = pos * HN_IN(y, 2)[i];
            hn_real c = (hn_real)cos(a), s = sign * (hn_real)sin(a);
            for (int64_t h = 0; h < turned; h++) {
                hn_real u = x[h * D + i], v = x[h * D + half + i];
                hn_put(y, n * C + h * D + i, hn_read(u * c - v * s, prec));
                hn_put(y, n * C + h * D + half + i, hn_read(v * c + u * s, prec));
            }
        }
        for (int64_t i = turned * D; i < C; i++) hn_put(y, n * C + i, hn_read(x[i], prec));
    }
}
static void rope_ref(const hn_tensor *y, int64_t lo, int64_t hi) { rotate(y, lo, hi, 1, y->attr.i[2]); }
static void rope_b_ref(const hn_tensor *y, int64_t lo, int64_t hi) { rotate(y, lo, hi, -1, HN_PREC_F32); }

static void rope_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    hn_tensor *gx = hn_rope_b(t, g[0], y->in[1], y->in[2], (int)y->attr.i[0], (int)y->attr.i[1]);
    gin[0] = hn_grad_stored(gx, y->in[0]);
}
static void rope_b_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    gin[0] = hn_rope(t, g[0], y->in[1], y->in[2], (int)y->attr.i[0], (int)y->attr.i[1], HN_PREC_F32);
}

/* clang-format off */
static const hn_case cases[] = {
    { .name = "grouped", .in = { HN_T2(3, 32), HN_T1(3), HN_S1(2) },
      .bound = { 0, 50 }, .attr = { { 0 }, { 4, 2 } } },
    { .name = "one", .in = { HN_T2(2, 6), HN_T1(2), HN_S1(1) },
      .bound = { 0, 7 }, .attr = { { 0 }, { 1, 1 } } },
    { .name = "wide", .in = { HN_T2(5, 150), HN_T1(5), HN_S1(15) },
      .bound = { 0, 900 }, .attr = { { 0 }, { 3, 1 } } },
    { 0 } };
/* clang-format on */

const hn_op hn_op_rope = { .name = "rope",
                           .n_in = 3,
                           .shape = shape,
                           .ref = rope_ref,
                           .vjp = rope_vjp,
                           .inplace = 1,
                           .fixed_in = 1 << 2,
                           .cases = cases };
const hn_op hn_op_rope_b = { .name = "rope_b",
                             .n_in = 3,
                             .shape = shape,
                             .ref = rope_b_ref,
                             .vjp = rope_b_vjp,
                             .inplace = 1,
                             .half = 1,
                             .fixed_in = 1 << 2,
                             .cases = cases };

static hn_attr attr(int H, int G, hn_prec p) { return (hn_attr){ { 0 }, { H, G, p } }; }

hn_tensor *hn_rope(hn_tape *t, hn_tensor *qkv, hn_tensor *pos, hn_tensor *freq, int H, int G, hn_prec p) {
    return HN_APPLY(t, hn_op_rope, attr(H, G, p), qkv, pos, freq);
}
hn_tensor *hn_rope_b(hn_tape *t, hn_tensor *g, hn_tensor *pos, hn_tensor *freq, int H, int G) {
    return HN_APPLY(t, hn_op_rope_b, attr(H, G, HN_PREC_F32), g, pos, freq);
}
