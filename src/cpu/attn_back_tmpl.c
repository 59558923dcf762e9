/* attn_back_tmpl.c - attention, backward: a chunk of query rows against one block of keys (attn.h).
 *
 * Two passes: the first goes by rows (weights again, dS, dQ), the second by keys (dV, dK), where P and dS are
 * read by columns.  All five products run in the same register tile. */
#include "cpu/attn.h"

#include "cpu/tile.h"

enum { B = HN_BLOCK };

/* s: scores, dp: go V^T, of one row; they become P and dS over [0, keys), exactly 0 from `seen` on. */
HN_INLINE void weigh_back(float *s, float *dp, float lse, float delta, int D, int seen, int keys) {
    V c = vset1(1.44269504f / sqrtf((float)D)), scale = vset1(1 / sqrtf((float)D));
    V less = vset1(-lse * 1.44269504f), d = vset1(delta);
    for (int j = 0; j < keys; j += VL) {
        V p = vexp2_neg(vfma(vload(s + j), c, less));
        V g = vmul(vmul(vsub(vload(dp + j), d), scale), p);
        if (seen - j < VL) {
            VM m = vfirst(seen - j > 0 ? seen - j : 0);
            p = vblend(m, p, vzero());
            g = vblend(m, g, vzero());
        }
        vstore(s + j, p);
        vstore(dp + j, g);
    }
}

/* Rows [i, i + R) of the chunk; columns of P and dS are filled up to `width`. */
HN_INLINE void by_rows(const int R, const hn_attn_chunk *c, int i, int base, int width, const float *kt,
                       const float *vt, const float *k) {
    const float *q[TILE_R], *go[TILE_R], *g[TILE_R];
    float *dq[TILE_R];
    int seen[TILE_R], keys = 0;
    for (int r = 0; r < R; r++) {
        int n = c->pos[i + r] - base + 1;
        seen[r] = n < B ? n : B;
        keys = keys > seen[r] ? keys : seen[r];
        q[r] = c->q + (i + r) * c->D;
        go[r] = c->go + (i + r) * c->D;
        g[r] = c->ds + (i + r) * B;
        dq[r] = c->dq + (i + r) * c->D;
    }
    float *p = c->p + i * B, *ds = c->ds + i * B;
    if (keys > 0) {
        tile_scores(R, false, q, kt, c->D, keys, p);
        tile_scores(R, false, go, vt, c->D, keys, ds);
    } else keys = 0;
    int full = (keys + VL - 1) / VL * VL;
    for (int r = 0; r < R; r++) {
        weigh_back(p + r * B, ds + r * B, c->lse[i + r], c->delta[i + r], c->D, seen[r], keys);
        for (int j = full; j < width; j += VL) {
            vstore(p + r * B + j, vzero());
            vstore(ds + r * B + j, vzero());
        }
    }
    if (keys) tile_rows(R, false, dq, NULL, g, 1, k, c->D, keys, c->D);
}

/* Keys [j, j + R): rows of the chunk before `from` see none of them. */
HN_INLINE void by_keys(const int R, const hn_attn_chunk *c, int j, int from, float *dk, float *dv) {
    const float *p[TILE_R], *ds[TILE_R];
    float *yk[TILE_R], *yv[TILE_R];
    for (int r = 0; r < R; r++) {
        p[r] = c->p + from * B + j + r;
        ds[r] = c->ds + from * B + j + r;
        yk[r] = dk + (j + r) * c->D;
        yv[r] = dv + (j + r) * c->D;
    }
    tile_rows(R, false, yv, NULL, p, B, c->go + from * c->D, c->D, c->n - from, c->D);
    tile_rows(R, false, yk, NULL, ds, B, c->q + from * c->D, c->D, c->n - from, c->D);
}

void HN_TIERED(hn_attn_back)(const hn_attn_chunk *c, int base, const float *kt, const float *vt,
                             const float *k, float *dk, float *dv) {
    int keys = 0, i = 0, j = 0, from = 0;
    for (int r = 0; r < c->n; r++) keys = keys > c->pos[r] - base + 1 ? keys : c->pos[r] - base + 1;
    if (keys <= 0) return;
    if (keys > B) keys = B;
    for (; c->n - i >= 6; i += 6) by_rows(6, c, i, base, keys, kt, vt, k);
    if (c->n - i >= 4) by_rows(4, c, i, base, keys, kt, vt, k), i += 4;
    if (c->n - i >= 2) by_rows(2, c, i, base, keys, kt, vt, k), i += 2;
    if (c->n - i >= 1) by_rows(1, c, i, base, keys, kt, vt, k);
    for (; keys - j >= 6; j += 6) {
        while (c->pos[from] - base < j) from++;
        by_keys(6, c, j, from, dk, dv);
    }
    while (j < keys && c->pos[from] - base < j) from++;
    if (keys - j >= 4) by_keys(4, c, j, from, dk, dv), j += 4;
    if (keys - j >= 2) by_keys(2, c, j, from, dk, dv), j += 2;
    if (keys - j >= 1) by_keys(1, c, j, from, dk, dv);
}

float HN_TIERED(hn_attn_pack)(float *q, float *go, const float *q_row, const float *go_row,
                              const float *o_row, int D) {
    V sum = vzero();
    for (int d = 0; d < D; d += VL) {
        V g = vload_n(go_row + d, D - d);
        vstore_n(q + d, D - d, vload_n(q_row + d, D - d));
        vstore_n(go + d, D - d, g);
        sum = vfma(g, vload_n(o_row + d, D - d), sum);
    }
    return vsum(sum);
}
