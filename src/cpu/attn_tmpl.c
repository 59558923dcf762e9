/* attn_tmpl.c - attention, forward: tiles of up to six query rows against one block of keys (attn.h). */
#include "cpu/attn.h"

#include "cpu/tile.h"

enum { B = HN_BLOCK };

static int least(int a, int b) { return a < b ? a : b; }

/* Scores become weights in place; updates the row's maximum and denominator and returns the factor by which
 * what it summed so far must be multiplied. */
HN_INLINE float weigh(hn_attn_row *row, float *s, float c, int seen, int keys) {
    V top = vset1(-INFINITY);
    for (int j = 0; j < keys; j += VL) {
        V x = vload(s + j);
        if (seen - j < VL) {
            x = vblend(vfirst(seen - j > 0 ? seen - j : 0), x, vset1(-INFINITY));
            vstore(s + j, x);
        }
        top = vmax(top, x);
    }
    V old = vset1(row->max), m = vmax(vmul(vmax_all(top), vset1(c)), old);
    V less = vneg(m), sum = vzero(), scale = vexp2_neg(vsub(old, m));
    for (int j = 0; j < keys; j += VL) {
        V p = vexp2_neg(vfma(vload(s + j), vset1(c), less));
        vstore(s + j, p);
        sum = vadd(sum, p);
    }
    vstore(row->lane, vfma(vload(row->lane), scale, sum));
    row->max = vlane0(m);
    return vlane0(scale);
}

HN_INLINE void block(const int R, hn_attn_row *row, const float *k, const float *v, int D, int base,
                     float c) {
    float s[TILE_R * B] __attribute__((aligned(64))), scale[TILE_R];
    const float *q[TILE_R];
    float *o[TILE_R];
    int seen[TILE_R], keys = 0;
    for (int r = 0; r < R; r++) {
        seen[r] = least(row[r].pos - base + 1, B);
        keys = keys > seen[r] ? keys : seen[r];
        q[r] = row[r].q;
        o[r] = row[r].o;
    }
    if (keys <= 0) return;
    tile_scores(R, q, k, B, D, keys, s);
    for (int r = 0; r < R; r++) scale[r] = weigh(row + r, s + r * B, c, seen[r], keys);
    const float *p[TILE_R];
    for (int r = 0; r < R; r++) p[r] = s + r * B;
    tile_rows(R, o, scale, p, 1, v, D, keys, D);
}

void HN_TIERED(hn_attn_block)(hn_attn_row *row, int n, const float *k, const float *v, int D, int base) {
    float c = 1.44269504f / sqrtf((float)D);
    if (base == 0)
        for (int i = 0; i < n; i++) {
            memset(row[i].o, 0, (size_t)D * sizeof(float));
            memset(row[i].lane, 0, sizeof row[i].lane);
            row[i].max = -INFINITY;
        }
    for (; n >= 6; n -= 6, row += 6) block(6, row, k, v, D, base, c);
    if (n >= 4) block(4, row, k, v, D, base, c), n -= 4, row += 4;
    if (n >= 2) block(2, row, k, v, D, base, c), n -= 2, row += 2;
    if (n == 1) block(1, row, k, v, D, base, c);
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
    int i = 0;
    for (; n - i >= VL; i += VL) {
        int d = 0;
        for (; D - d >= VL; d += VL) {
            V r[VL];
            HN_UNROLL
            for (int j = 0; j < VL; j++) r[j] = vload(x + (i + j) * ld + d);
            vtranspose(r);
            HN_UNROLL
            for (int j = 0; j < VL; j++) vstore(t + (d + j) * B + at + i, r[j]);
        }
        for (; d < D; d++)
            for (int j = 0; j < VL; j++) t[d * B + at + i + j] = x[(i + j) * ld + d];
    }
    for (; i < n; i++)
        for (int d = 0; d < D; d++) t[d * B + at + i] = x[i * ld + d];
}
