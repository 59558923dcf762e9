/* tile.h - the register tile of products with small operands: rows of A times a panel of B, held in
 * registers.
 *
 * Each element of the result is one chain of fused multiply-adds over k in order, whatever the tile's size.
 * B holds floats, or (`pairs`) words with two bf16 numbers at k and k + 1: the same chain over the same
 * numbers.
 */
#ifndef HN_TILE_H
#define HN_TILE_H

#include "cpu/vmath.h"
#include "tensor/kv.h"

enum {
    TILE_R = 6,                   /* rows a full tile */
    TILE_V = HN_SIMD == 2 ? 4 : 2 /* vectors a full tile: 24 of 32, or 12 of 16 registers, are sums */
};

HN_INLINE V tile_load(const float *b, bool whole, int last) { return whole ? vload(b) : vload_n(b, last); }

/* acc[r][v] += sum over k < n of a[r][k ks] * column v VL .. of row k of b, for R rows and W vectors, the
 * last one of `last` lanes; with pairs of row k / 2.  Rows of b are ldb apart, and every 16 columns begin
 * `next` further.  R, W, pairs and whether last is VL are constants where this is called. */
HN_INLINE void tile_fma(const int R, const int W, const bool pairs, const float *const *a, int64_t ks,
                        const float *b, int64_t ldb, int64_t next, int n, int last, V acc[][TILE_V]) {
    const float *p[TILE_R];
    HN_UNROLL
    for (int r = 0; r < R; r++) p[r] = a[r];
    for (int k = 0; k < n; k += 1 + pairs, b += ldb) {
        V x[TILE_V];
        HN_UNROLL
        for (int v = 0; v < W; v++)
            x[v] = tile_load(b + v * VL / 16 * next + v * VL % 16, v < W - 1 || last == VL, last);
        HN_UNROLL
        for (int r = 0; r < R; r++) {
            V y = vset1(*p[r]);
            p[r] += ks;
            HN_UNROLL
            for (int v = 0; v < W; v++) acc[r][v] = vfma(y, pairs ? vlower(x[v]) : x[v], acc[r][v]);
        }
        if (!pairs || k + 1 == n) continue;
        HN_UNROLL
        for (int r = 0; r < R; r++) {
            V y = vset1(*p[r]);
            p[r] += ks;
            HN_UNROLL
            for (int v = 0; v < W; v++) acc[r][v] = vfma(y, vupper(x[v]), acc[r][v]);
        }
    }
}

/* A whole tile in memory: y[r][..] = y[r][..] * scale[r] + a[r] b, where scale NULL means 1. */
HN_INLINE void tile_update(const int R, const int W, const bool pairs, float *const *y, const float *scale,
                           const float *const *a, int64_t ks, const float *b, int64_t ldb, int n, int last) {
    V acc[TILE_R][TILE_V];
    HN_UNROLL
    for (int r = 0; r < R; r++) {
        HN_UNROLL
        for (int w = 0; w < W; w++) {
            V x = w == W - 1 && last < VL ? vload_n(y[r] + w * VL, last) : vload(y[r] + w * VL);
            acc[r][w] = scale ? vmul(x, vset1(scale[r])) : x;
        }
    }
    tile_fma(R, W, pairs, a, ks, b, ldb, 16, n, last, acc);
    HN_UNROLL
    for (int r = 0; r < R; r++) {
        HN_UNROLL
        for (int w = 0; w < W; w++) {
            if (w == W - 1 && last < VL) vstore_n(y[r] + w * VL, last, acc[r][w]);
            else vstore(y[r] + w * VL, acc[r][w]);
        }
    }
}

/* The same over any number of columns. */
HN_INLINE void tile_rows(const int R, const bool pairs, float *const *y, const float *scale,
                         const float *const *a, int64_t ks, const float *b, int64_t ldb, int n, int columns) {
    float *at[TILE_R];
    for (int r = 0; r < R; r++) at[r] = y[r];
    for (int c = columns; c > 0;) {
        int w = c >= TILE_V * VL ? TILE_V : c >= 2 * VL ? 2 : 1;
        if (w == TILE_V) tile_update(R, TILE_V, pairs, at, scale, a, ks, b, ldb, n, VL);
#if HN_SIMD == 2
        else if (w == 2) tile_update(R, 2, pairs, at, scale, a, ks, b, ldb, n, VL);
#endif
        else if (c >= VL) tile_update(R, 1, pairs, at, scale, a, ks, b, ldb, n, VL);
        else tile_update(R, 1, pairs, at, scale, a, ks, b, ldb, n, c);
        c -= w * VL;
        b += w * VL;
        for (int r = 0; r < R; r++) at[r] += w * VL;
    }
}

/* s[r][j] = a[r] . key j, for keys [0, columns) of a block (kv.h), rounded up to whole vectors; s has rows of
 * HN_BLOCK.  b: the block from a key on that begins a group of 16. */
HN_INLINE void tile_product(const int R, const int W, const bool pairs, const float *const *a, const float *b,
                            int D, float *s) {
    V acc[TILE_R][TILE_V];
    HN_UNROLL
    for (int r = 0; r < R; r++) {
        HN_UNROLL
        for (int v = 0; v < W; v++) acc[r][v] = vzero();
    }
    tile_fma(R, W, pairs, a, 1, b, 16, (pairs ? (D + 1) / 2 : D) * 16, D, VL, acc);
    HN_UNROLL
    for (int r = 0; r < R; r++) {
        HN_UNROLL
        for (int v = 0; v < W; v++) vstore(s + r * HN_BLOCK + v * VL, acc[r][v]);
    }
}
HN_INLINE void tile_scores(const int R, const bool pairs, const float *const *a, const float *b, int D,
                           int columns, float *s) {
    for (int j = 0; j < columns; j += TILE_V * VL) {
        int w = (columns - j + VL - 1) / VL;
        const float *at = b + j / 16 * (pairs ? (D + 1) / 2 : D) * 16 + j % 16;
        if (w >= TILE_V) tile_product(R, TILE_V, pairs, a, at, D, s + j);
#if HN_SIMD == 2
        else if (w == 3) tile_product(R, 3, pairs, a, at, D, s + j);
        else if (w == 2) tile_product(R, 2, pairs, a, at, D, s + j);
#endif
        else tile_product(R, 1, pairs, a, at, D, s + j);
    }
}
#endif
