/* reduce.c - sums and their transposes.  The order of summation is fixed: the same bits on every run. */
#include "op/op.h"

static int scalar(const hn_tensor *y, hn_shape *s) {
    *s = (hn_shape)HN_S1(1);
    return y->in[0]->type != HN_F;
}
static int spread_shape(const hn_tensor *y, hn_shape *s) {
    *s = y->in[1]->shape;
    return !hn_is_weight(y->in[0], 1);
}
static int segsum_shape(const hn_tensor *y, hn_shape *s) {
    const hn_tensor *a = y->in[0], *seg = y->in[1], *like = y->in[2];
    *s = (hn_shape){ 1, like->shape.live, { like->shape.d[0] } };
    return !hn_is(a, HN_F, 1) || !hn_is(seg, HN_I32, 1) || !hn_same_rows(a, seg);
}

static void sum_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    double acc = 0;
    (void)lo, (void)hi;
    for (int64_t k = 0, n = hn_count(y->in[0]); k < n; k++) acc += HN_IN(y, 0)[k];
    HN_OUT(y, 0)[0] = (hn_real)acc;
}
static void spread_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    for (int64_t k = lo * hn_cols(y); k < hi * hn_cols(y); k++) HN_OUT(y, 0)[k] = HN_IN(y, 0)[0];
}
/* Each segment walks all rows: slow, but every segment is summed in row order in double. */
static void segsum_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t R = hn_rows(y->in[0]);
    for (int64_t s = lo; s < hi; s++) {
        double acc = 0;
        for (int64_t r = 0; r < R; r++)
            if (HN_INI(y, 1)[r] == s) acc += HN_IN(y, 0)[r];
        HN_OUT(y, 0)[s] = (hn_real)acc;
    }
}

static void sum_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    gin[0] = hn_spread(t, g[0], y->in[0]);
}
static void spread_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    (void)y;
    gin[0] = hn_sum(t, g[0]);
}
static void segsum_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    gin[0] = hn_gather(t, g[0], y->in[1]);
}

/* Segments that are there at any live count. */
static void fill(hn_tensor *const in[], uint64_t seed) {
    int32_t *seg = in[1]->data;
    for (int64_t r = 0; r < hn_rows(in[1]); r++)
        seg[r] = (int32_t)(hn_rand(seed, 73, (uint64_t)r) % (uint64_t)hn_rows(in[2]));
}

/* clang-format off */
static const hn_case sums[] = { { .name = "odd", .in = { HN_S2(3, 5) } },
                                { .name = "one", .in = { HN_S1(1) } }, { .name = "live", .in = { HN_A1(9) } }, { 0 } };
static const hn_case spreads[] = { { .name = "odd", .in = { HN_S1(1), HN_T2(3, 5) } }, { 0 } };
static const hn_case segsums[] = {
    { .name = "repeat", .in = { HN_A1(9), HN_A1(9), HN_T2(4, 2) }, .bound = { 0, 4 }, .fill = fill },
    { .name = "empty", .in = { HN_S1(3), HN_S1(3), HN_S1(8) }, .bound = { 0, 8 } }, { 0 } };
/* clang-format on */

const hn_op hn_op_sum = {
    .name = "sum", .n_in = 1, .shape = scalar, .ref = sum_ref, .vjp = sum_vjp, .whole = true, .cases = sums
};
const hn_op hn_op_spread = { .name = "spread",
                             .n_in = 2,
                             .shape = spread_shape,
                             .ref = spread_ref,
                             .vjp = spread_vjp,
                             .like = 1 << 1,
                             .cases = spreads };
const hn_op hn_op_segsum = { .name = "segsum",
                             .n_in = 3,
                             .shape = segsum_shape,
                             .ref = segsum_ref,
                             .vjp = segsum_vjp,
                             .like = 1 << 2,
                             .cases = segsums };

hn_tensor *hn_sum(hn_tape *t, hn_tensor *a) { return HN_APPLY(t, hn_op_sum, HN_NOATTR, a); }
hn_tensor *hn_spread(hn_tape *t, hn_tensor *a, hn_tensor *like) {
    return HN_APPLY(t, hn_op_spread, HN_NOATTR, a, like);
}
hn_tensor *hn_segsum(hn_tape *t, hn_tensor *a, hn_tensor *seg, hn_tensor *like) {
    return HN_APPLY(t, hn_op_segsum, HN_NOATTR, a, seg, like);
}
