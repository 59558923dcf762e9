/* gemm_amx.c - bf16 products on the tile unit (AMX): f32 in, rounded to bf16 while packing, f32 sums.
 *
 * TDPBF16PS adds to a 16 x 16 tile of f32 the product of 16 rows x 32 k by 32 k x 16 columns.  A is packed as
 * tiles of 16 rows x 32 k (64 bytes a row), B as tiles of 16 pairs of k x 16 columns, two tiles side by side
 * in a panel.  An element's sum depends on its row and column and on the order of the steps, which is k
 * ascending from a zeroed tile; between blocks of k the tile is stored and loaded again, which is exact.
 * Intel, "Intel 64 and IA-32 Architectures Software Developer's Manual", TDPBF16PS. */
#include "cpu/gemm_kernels.h"
#include "cpu/simd.h"
#include "cpu/transpose.h"

enum {
    T = 16,        /* rows of a tile, and f32 columns */
    KS = 32,       /* bf16 k of a step */
    TILE = 1024,   /* bytes */
    STEPS = 16,    /* of k in a block: panel and rows of one block lie in the first-level cache */
    MAX_ROWS = 192 /* of a block given to us */
};

/* ---- packing ---- */
/* 32 k of one line in bf16, k ascending; nk live. */
HN_INLINE VI line(const float *p, int64_t nk) {
    __m512 lo = vload_n(p, nk), hi = vload_n(p + VL, nk > VL ? nk - VL : 0);
    return (VI)_mm512_cvtne2ps_pbh(hi, lo);
}

/* For 16 lines the pair (k, k + 1), where lines are contiguous. */
HN_INLINE VI pairs(const float *p, int64_t ks, int64_t nl, int64_t nk) {
    const VI mix = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22,
                                    6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    V lo = nk > 0 ? vload_n(p, nl) : vzero(), hi = nk > 1 ? vload_n(p + ks, nl) : vzero();
    return _mm512_permutexvar_epi16(mix, (VI)_mm512_cvtne2ps_pbh(hi, lo));
}

/* One tile: 16 lines from l, 32 k from k; as rows of k (A) or as rows of pairs (B).  Zeros beyond the ends.
 */
static void pack_tile(char *dst, const hn_side *s, int64_t l, int64_t k, bool as_lines) {
    int64_t nl = s->lines - l, nk = s->K - k;
    nl = nl < 0 ? 0 : nl < T ? nl : T;
    nk = nk < KS ? nk : KS;
    const float *src = s->src;
    int64_t ls = s->ls, ks = s->ks;
    float t[T * KS];
    if (nl > 0) src += l * ls + k * ks;
    if (ls != 1 && ks != 1) {
        for (int64_t i = 0; i < nl; i++)
            for (int64_t c = 0; c < nk; c++) t[i * KS + c] = src[i * ls + c * ks];
        src = t, ls = KS, ks = 1;
    }
    VI v[T];
    bool have_lines = ks == 1;
    HN_UNROLL for (int i = 0; i < T; i++) {
        if (have_lines) v[i] = i < nl ? line(src + i * ls, nk) : vi_set1(0);
        else v[i] = 2 * i < nk ? pairs(src + 2 * i * ks, ks, nl, nk - 2 * i) : vi_set1(0);
    }
    if (have_lines != as_lines) transpose16(v);
    HN_UNROLL for (int i = 0; i < T; i++) _mm512_storeu_si512(dst + i * 64, v[i]);
}

static void pack_a(void *dst, const hn_side *s, int64_t lo, int64_t hi) {
    int64_t steps = (s->K + KS - 1) / KS;
    for (int64_t p = lo * 2; p < hi * 2; p++)
        for (int64_t i = 0; i < steps; i++)
            pack_tile((char *)dst + (p * steps + i) * TILE, s, p * T, i * KS, true);
}

static void pack_b(void *dst, const hn_side *s, int64_t lo, int64_t hi) {
    int64_t steps = (s->K + KS - 1) / KS;
    for (int64_t p = lo; p < hi; p++)
        for (int64_t i = 0; i < 2 * steps; i++)
            pack_tile((char *)dst + (p * steps * 2 + i) * TILE, s, (p * 2 + i % 2) * T, i / 2 * KS, false);
}

/* ---- products: tiles 0..3 sums, 4 5 of A, 6 7 of B ---- */
typedef struct config { /* LDTILECFG */
    uint8_t palette, start, zero[14];
    uint16_t colsb[16];
    uint8_t rows[16];
} config;

static void configure(int rows) {
    config c = { .palette = 1 };
    for (int i = 0; i < 8; i++) {
        c.colsb[i] = 64;
        c.rows[i] = (uint8_t)(i < 6 ? rows : T);
    }
    _tile_loadconfig(&c);
}

/* Sums of 2 x 2 tiles over n steps; a0, a1: row tiles, b: a panel; s: four tiles of sums. */
static void steps22(const char *a0, const char *a1, const char *b, int64_t n, float *s, bool first) {
    if (first) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, s, 64);
        _tile_loadd(1, s + 256, 64);
        _tile_loadd(2, s + 512, 64);
        _tile_loadd(3, s + 768, 64);
    }
    for (int64_t i = 0; i < n; i++, a0 += TILE, a1 += TILE, b += 2 * TILE) {
        _tile_loadd(6, b, 64);
        _tile_loadd(4, a0, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + TILE, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a1, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, s, 64);
    _tile_stored(1, s + 256, 64);
    _tile_stored(2, s + 512, 64);
    _tile_stored(3, s + 768, 64);
}

/* The same for one row tile. */
static void steps12(const char *a0, const char *b, int64_t n, float *s, bool first) {
    if (first) {
        _tile_zero(0);
        _tile_zero(1);
    } else {
        _tile_loadd(0, s, 64);
        _tile_loadd(1, s + 256, 64);
    }
    for (int64_t i = 0; i < n; i++, a0 += TILE, b += 2 * TILE) {
        _tile_loadd(4, a0, 64);
        _tile_loadd(6, b, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + TILE, 64);
        _tile_dpbf16ps(1, 4, 7);
    }
    _tile_stored(0, s, 64);
    _tile_stored(1, s + 256, 64);
}

/* Two finished tiles side by side, rows from m, columns from col, to C. */
static void finish(const hn_gemm_job *j, const float *s, int64_t m, int64_t m1, int64_t col) {
    for (int half = 0; half < 2; half++, s += 256, col += T) {
        int64_t n = j->N - col;
        if (n <= 0) return;
        V bias = j->bias ? vload_n(j->bias + col, n) : vzero();
        for (int r = 0; r < T && m + r < m1; r++) {
            float *c = j->C + (m + r) * j->ldc + col;
            V y = vload(s + r * T);
            if (j->bias) y = vadd(y, bias);
            if (j->accumulate) y = vadd(vload_n(c, n), y);
            vstore_n(c, n, y);
        }
    }
}

static void block(const hn_gemm_job *j, int64_t m0, int64_t m1, int64_t p0, int64_t p1) {
    _Alignas(64) float sums[MAX_ROWS / T][2][256];
    hn_assert(m1 - m0 <= MAX_ROWS);
    int64_t steps = (j->K + KS - 1) / KS, tiles = (m1 - m0 + T - 1) / T;
    const char *a = (const char *)j->A + m0 / T * steps * TILE;
    configure(j->M < T ? (int)j->M : T);
    for (int64_t p = p0; p < p1; p++) {
        for (int64_t k = 0; k == 0 || k < steps; k += STEPS) {
            const char *b = j->B + (size_t)p * j->panel_bytes + k * 2 * TILE;
            int64_t n = steps - k < STEPS ? steps - k : STEPS;
            for (int64_t t = 0; t < tiles; t += 2) {
                const char *a0 = a + (t * steps + k) * TILE;
                if (t + 1 < tiles) steps22(a0, a0 + steps * TILE, b, n, sums[t][0], k == 0);
                else steps12(a0, b, n, sums[t][0], k == 0);
                if (k + n < steps) continue;
                finish(j, sums[t][0], m0 + t * T, m1, p * 2 * T);
                if (t + 1 < tiles) finish(j, sums[t + 1][0], m0 + (t + 1) * T, m1, p * 2 * T);
            }
        }
    }
    _tile_release();
}

const hn_gemm_kernels hn_gemm_kernels_amx = { .panel = 2 * T,
                                              .rows = 2 * T,
                                              .max_rows = MAX_ROWS,
                                              .k_step = KS,
                                              .size = 2,
                                              .needs_a = true,
                                              .pack_a = pack_a,
                                              .pack_b = pack_b,
                                              .block = block };
