/* move.c - rows picked by index, the transpose that adds them back, and the addition of a gradient to
 * memory that outlives the run. */
#include "op/op.h"

static int gather_shape(const hn_tensor *y, hn_shape *s) {
    const hn_tensor *x = y->in[0], *id = y->in[1];
    *s = x->shape;
    s->d[0] = id->shape.d[0];
    s->live = id->shape.live;
    return x->type != HN_F || x->shape.nd > 2 || !hn_is(id, HN_I32, 1);
}
static int scatter_shape(const hn_tensor *y, hn_shape *s) {
    const hn_tensor *g = y->in[0], *id = y->in[1], *like = y->in[2];
    *s = like->shape;
    return g->type != HN_F || g->shape.nd > 2 || g->shape.nd != like->shape.nd || !hn_is(id, HN_I32, 1) ||
           !hn_same_rows(g, id) || hn_cols(g) != hn_cols(like);
}
static int accum_shape(const hn_tensor *y, hn_shape *s) {
    *s = y->in[0]->shape;
    return y->in[0]->type != HN_F;
}

static void gather_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t C = hn_cols(y), R = hn_rows(y->in[0]);
    for (int64_t r = lo; r < hi; r++) {
        int64_t id = HN_INI(y, 1)[r];
        hn_assert(id >= 0 && id < R);
        memcpy(HN_OUT(y, 0) + r * C, HN_IN(y, 0) + id * C, (size_t)C * sizeof(hn_real));
    }
}
static void scatter_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t C = hn_cols(y), R = hn_rows(y->in[0]);
    memset(HN_OUT(y, 0) + lo * C, 0, (size_t)((hi - lo) * C) * sizeof(hn_real));
    for (int64_t r = 0; r < R; r++) {
        int64_t id = HN_INI(y, 1)[r];
        hn_assert(id >= 0 && id < hn_rows(y));
        for (int64_t c = 0; id >= lo && id < hi && c < C; c++)
            HN_OUT(y, 0)[id * C + c] += HN_IN(y, 0)[r * C + c];
    }
}
static void accum_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    for (int64_t k = lo * hn_cols(y); k < hi * hn_cols(y); k++) HN_OUT(y, 0)[k] += HN_IN(y, 0)[k];
}

static void gather_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    gin[0] = hn_scatter(t, g[0], y->in[1], y->in[0]);
}
static void scatter_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    gin[0] = hn_gather(t, g[0], y->in[1]);
}

/* Indices that are there at any live count. */
static void fill(hn_tensor *const in[], uint64_t seed) {
    int32_t *id = in[1]->data;
    const hn_tensor *rows = in[2] ? in[2] : in[0];
    for (int64_t r = 0; r < hn_rows(in[1]); r++)
        id[r] = (int32_t)(hn_rand(seed, 74, (uint64_t)r) % (uint64_t)hn_rows(rows));
}

/* clang-format off */
static const hn_case gathers[] = {
    { .name = "repeat", .in = { HN_T2(4, 3), HN_A1(6) }, .bound = { 0, 4 }, .fill = fill },
    { .name = "vector", .in = { HN_T1(5), HN_A1(7) }, .bound = { 0, 5 }, .fill = fill },
    { .name = "wide", .in = { HN_S2(9, 50), HN_A1(4) }, .bound = { 0, 9 } }, { 0 } };
static const hn_case scatters[] = {
    { .name = "repeat", .in = { HN_A2(6, 3), HN_A1(6), HN_T2(4, 3) }, .bound = { 0, 4 }, .fill = fill },
    { .name = "vector", .in = { HN_A1(7), HN_A1(7), HN_T1(5) }, .bound = { 0, 5 }, .fill = fill },
    { .name = "wide", .in = { HN_A2(4, 50), HN_A1(4), HN_S2(9, 50) }, .bound = { 0, 9 } }, { 0 } };
static const hn_case accums[] = { { .name = "odd", .in = { HN_S2(3, 5) } },
                                  { .name = "live", .in = { HN_T2(4, 3) } }, { 0 } };
/* clang-format on */

const hn_op hn_op_gather = {
    .name = "gather", .n_in = 2, .shape = gather_shape, .ref = gather_ref, .vjp = gather_vjp, .cases = gathers
};
const hn_op hn_op_scatter = { .name = "scatter",
                              .n_in = 3,
                              .shape = scatter_shape,
                              .ref = scatter_ref,
                              .vjp = scatter_vjp,
                              .whole = true,
                              .like = 1 << 2,
                              .cases = scatters };
const hn_op hn_op_accum = {
    .name = "accum", .n_in = 1, .shape = accum_shape, .ref = accum_ref, .acc = 1, .cases = accums
};

hn_tensor *hn_gather(hn_tape *t, hn_tensor *x, hn_tensor *id) {
    return HN_APPLY(t, hn_op_gather, HN_NOATTR, x, id);
}
hn_tensor *hn_scatter(hn_tape *t, hn_tensor *g, hn_tensor *id, hn_tensor *like) {
    return HN_APPLY(t, hn_op_scatter, HN_NOATTR, g, id, like);
}
hn_tensor *hn_accum(hn_tape *t, hn_tensor *x) { return HN_APPLY(t, hn_op_accum, HN_NOATTR, x); }
