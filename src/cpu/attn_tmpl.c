/* attn_tmpl.c - attention, forward: tiles of up to six query rows against one block of keys (attn.h). */
#include "cpu/attn.h"

#include "cpu/attn_row.h"
#include "cpu/tile.h"

enum { B = HN_BLOCK };

/* Scores become weights in place. */
HN_INLINE float weigh_all(hn_attn_row *row, float *s, V c) {
    V x[B / VL], top, less, scale, sum = vzero();
    HN_UNROLL for (int w = 0; w < B / VL; w++) {
        x[w] = vload(s + w * VL);
        top = w ? vmax(x[w], top) : x[w];
    }
    scale = hn_attn_shrink(row, top, c, &less);
    HN_UNROLL for (int w = 0; w < B / VL; w++) {
        V p = vexp2_neg(vfma(x[w], c, less));
        vstore(s + w * VL, p);
        sum = vadd(sum, p);
    }
    vstore(row->lane, vfma(vload(row->lane), scale, sum));
    return vlane0(scale);
}

/* The same where the row sees the first `seen` keys of the `keys` that some row of its tile sees: weights of
 * the others are 0, and vectors past `keys`, left out, would only add zeros. */
HN_INLINE float weigh_some(hn_attn_row *row, float *s, V c, int seen, int keys) {
    V top = vset1(-INFINITY), less, scale, sum = vzero();
    for (int j = 0; j < keys; j += VL) {
        V x = vblend(vfirst(seen > j ? seen - j : 0), vload(s + j), vset1(-INFINITY));
        vstore(s + j, x);
        top = vmax(x, top);
    }
    scale = hn_attn_shrink(row, top, c, &less);
    for (int j = 0; j < keys; j += VL) {
        V p = vexp2_neg(vfma(vload(s + j), c, less));
        vstore(s + j, p);
        sum = vadd(sum, p);
    }
    vstore(row->lane, vfma(vload(row->lane), scale, sum));
    return vlane0(scale);
}

HN_INLINE void start(hn_attn_row *row, int D) {
    for (int d = 0; d < D; d += VL) vstore_n(row->o + d, D - d, vzero());
    hn_attn_start(row);
}

/* Rows that go through the three steps together, so that the end of one step overlaps with the next. */
enum { GROUP = 12 };

typedef struct group {
    hn_attn_row *row;
    int n, D, base;
    const float *k, *v; /* or words of pairs (tile.h) */
    float s[GROUP * B] __attribute__((aligned(64))), scale[GROUP];
    const float *q[GROUP], *p[GROUP];
    float *o[GROUP];
    int seen[GROUP], keys[GROUP]; /* of a row; of its tile, at the tile's first row */
} group;

HN_INLINE void tile_keys(const int R, group *g, int i, const bool pairs) {
    g->keys[i] = 0;
    for (int r = i; r < i + R; r++) {
        int seen = g->row[r].pos - g->base + 1;
        g->seen[r] = seen < B ? seen : B;
        if (g->seen[r] > g->keys[i]) g->keys[i] = g->seen[r];
        g->q[r] = g->row[r].q;
        g->o[r] = g->row[r].o;
        g->p[r] = g->s + r * B;
    }
    if (g->keys[i] > 0) tile_scores(R, pairs, g->q + i, g->k, g->D, g->keys[i], g->s + i * B);
}
HN_INLINE void tile_weights(const int R, group *g, int i, V c) {
    if (g->keys[i] <= 0) return;
    for (int r = i; r < i + R; r++)
        g->scale[r] = g->seen[r] == B ? weigh_all(g->row + r, g->s + r * B, c)
                                      : weigh_some(g->row + r, g->s + r * B, c, g->seen[r], g->keys[i]);
}
HN_INLINE void tile_values(const int R, group *g, int i, const bool pairs) {
    if (g->keys[i] > 0)
        tile_rows(R, pairs, g->o + i, g->scale + i, g->p + i, 1, g->v, g->D, g->keys[i], g->D);
}

/* Every tile of the group, in the sizes the register tile is built for. */
#define EACH_TILE(g, f, ...)                                                                                 \
    do {                                                                                                     \
        int i_ = 0, n_ = (g)->n;                                                                             \
        for (; n_ - i_ >= 6; i_ += 6) f(6, g, i_, __VA_ARGS__);                                              \
        if (n_ - i_ >= 4) f(4, g, i_, __VA_ARGS__), i_ += 4;                                                 \
        if (n_ - i_ >= 2) f(2, g, i_, __VA_ARGS__), i_ += 2;                                                 \
        if (n_ - i_ >= 1) f(1, g, i_, __VA_ARGS__);                                                          \
    } while (0)

HN_INLINE void block(hn_attn_row *row, int n, const float *k, const float *v, int D, int base,
                     const bool pairs) {
    V c = vset1(1.44269504f / sqrtf((float)D));
    for (int i = 0; i < n; i += GROUP) {
        group g;
        for (int r = i; base == 0 && r < n && r < i + GROUP; r++) start(row + r, D);
        g.row = row + i, g.n = n - i < GROUP ? n - i : GROUP, g.D = D, g.base = base, g.k = k, g.v = v;
        EACH_TILE(&g, tile_keys, pairs);
        EACH_TILE(&g, tile_weights, c);
        EACH_TILE(&g, tile_values, pairs);
    }
}

void HN_TIERED(hn_attn_block)(hn_attn_row *row, int n, const float *k, const float *v, int D, int base) {
    block(row, n, k, v, D, base, false);
}
void HN_TIERED(hn_attn_block_bf16)(hn_attn_row *row, int n, const void *k, const void *v, int D, int base) {
    block(row, n, k, v, D, base, true);
}

void HN_TIERED(hn_attn_end)(hn_attn_row *row, int n, int D) {
    for (; n > 0; n--, row++) {
        V l = vsum_all(vload(row->lane)), inv = vdiv(vset1(1), l);
        /* + 0: a sum that underflowed to -0 in one tile shape may be +0 in another; both become +0 */
        for (int d = 0; d < D; d += VL)
            vstore_n(row->o + d, D - d, vfma(vload_n(row->o + d, D - d), inv, vzero()));
        if (row->lse) *row->lse = vlane0(vfma(vset1(row->max), vset1(0.693147181f), vlog(l)));
    }
}

void HN_TIERED(hn_attn_columns)(float *t, int at, const float *x, int64_t ld, int n, int D) {
    while (n > 0) {
        int m = VL - at % VL < n ? VL - at % VL : n, d = 0;
        float *to = t + at / 16 * D * 16 + at % 16;
        for (; m == VL && D - d >= VL; d += VL) {
            V r[VL];
            HN_UNROLL
            for (int j = 0; j < VL; j++) r[j] = vload(x + j * ld + d);
            vtranspose(r);
            HN_UNROLL
            for (int j = 0; j < VL; j++) vstore(to + (d + j) * 16, r[j]);
        }
        for (; d < D; d++)
            for (int j = 0; j < m; j++) to[d * 16 + j] = x[j * ld + d];
        at += m, n -= m, x += m * ld;
    }
}

void HN_TIERED(hn_attn_move)(float *y, int64_t ldy, const float *x, int64_t ldx, int n, int D, bool add) {
    for (; n > 0; n--, x += ldx, y += ldy)
        for (int d = 0; d < D; d += VL) {
            V v = vload_n(x + d, D - d);
            vstore_n(y + d, D - d, add ? vadd(vload_n(y + d, D - d), v) : v);
        }
}
