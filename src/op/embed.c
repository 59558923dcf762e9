/* embed.c - picks rows of a table, and the transpose that adds gradients back into them. */
#include "op/op.h"

static int embed_shape(const hn_tensor *y, hn_shape *s) {
    const hn_tensor *w = y->in[0], *id = y->in[1];
    *s = hn_rows_like(id, hn_cols(w));
    return !hn_is(w, HN_F, 2) || !hn_is(id, HN_I32, 1);
}
static int embed_w_shape(const hn_tensor *y, hn_shape *s) {
    const hn_tensor *g = y->in[0], *id = y->in[1], *w = y->in[2];
    *s = w->shape;
    return !hn_is(g, HN_F, 2) || !hn_is(id, HN_I32, 1) || !hn_same_rows(g, id) || hn_cols(g) != hn_cols(w);
}

static void embed_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t C = hn_cols(y), V = hn_rows(y->in[0]);
    for (int64_t n = lo; n < hi; n++) {
        int64_t id = HN_INI(y, 1)[n];
        hn_assert(id >= 0 && id < V);
        memcpy(HN_OUT(y, 0) + n * C, HN_IN(y, 0) + id * C, (size_t)C * sizeof(hn_real));
    }
}
static void embed_w_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t C = hn_cols(y), N = hn_rows(y->in[0]);
    for (int64_t n = 0; n < N; n++) {
        int64_t id = HN_INI(y, 1)[n];
        hn_assert(id >= 0 && id < hn_rows(y));
        for (int64_t c = 0; id >= lo && id < hi && c < C; c++)
            HN_OUT(y, 0)[id * C + c] += HN_IN(y, 0)[n * C + c];
    }
}
static void embed_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    gin[0] = hn_embed_w(t, g[0], y->in[1], y->in[0]);
}

/* clang-format off */
static const hn_case picks[] = {
    { .name = "repeat", .in = { HN_S2(4, 3), HN_T1(6) }, .bound = { 0, 4 } },
    { .name = "one", .in = { HN_S2(1, 1), HN_T1(1) }, .bound = { 0, 1 } }, { 0 } };
static const hn_case adds[] = {
    { .name = "repeat", .in = { HN_T2(6, 3), HN_T1(6), HN_S2(4, 3) }, .bound = { 0, 4 } }, { 0 } };
/* clang-format on */

const hn_op hn_op_embed = {
    .name = "embed", .n_in = 2, .shape = embed_shape, .ref = embed_ref, .vjp = embed_vjp, .cases = picks
};
const hn_op hn_op_embed_w = { .name = "embed_w",
                              .n_in = 3,
                              .shape = embed_w_shape,
                              .ref = embed_w_ref,
                              .whole = true,
                              .acc = 1,
                              .like = 1 << 2,
                              .cases = adds };

hn_tensor *hn_embed(hn_tape *t, hn_tensor *w, hn_tensor *id) {
    return HN_APPLY(t, hn_op_embed, HN_NOATTR, w, id);
}
hn_tensor *hn_embed_w(hn_tape *t, hn_tensor *g, hn_tensor *id, hn_tensor *w) {
    return HN_APPLY(t, hn_op_embed_w, HN_NOATTR, g, id, w);
}
