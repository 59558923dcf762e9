/* gemm_amx.c - bf16 products on the tile unit (AMX): f32 in, rounded to bf16 while packing, f32 sums.
 *
 * TDPBF16PS adds to a 16 x 16 tile of f32 the product of 16 rows x 32 k by 32 k x 16 columns.  A is packed as
 * tiles of 16 rows x 32 k (64 bytes a row), B as tiles of 16 pairs of k x 16 columns, two tiles side by side
 * in a panel.  An element's sum depends on its row and column and on the order of the steps, which is k
 * ascending from a zeroed tile; between blocks of k the tile is stored and loaded again, which is exact.
 * Intel, "Intel 64 and IA-32 Architectures Software Developer's Manual", TDPBF16PS. */
#include "cpu/amx.h"
#include "cpu/gemm_kernels.h"
#include "cpu/simd.h"
#include "cpu/transpose.h"

enum {
    T = 16,      /* rows of a tile, and f32 columns */
    KS = 32,     /* bf16 k of a step */
    TILE = 1024, /* bytes */
    AHEAD = 8192,
    KB = 16, /* steps of a block of k: its part of a panel stays in the first-level cache */
    MAX_ROWS = 512
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

/* Row tiles of A, and column tiles of B, which lie in pairs. */
static void tile_a(char *dst, const hn_side *s, int64_t steps, int64_t t, int64_t i) {
    pack_tile(dst + (t * steps + i) * TILE, s, t * T, i * KS, true);
}
static void tile_b(char *dst, const hn_side *s, int64_t steps, int64_t t, int64_t i) {
    pack_tile(dst + ((t / 2 * steps + i) * 2 + t % 2) * TILE, s, t * T, i * KS, false);
}

/* Tiles [lo,hi) in the order in which the source lies in memory. */
HN_INLINE void tiles(char *dst, const hn_side *s, int64_t lo, int64_t hi,
                     void (*each)(char *, const hn_side *, int64_t, int64_t, int64_t)) {
    int64_t steps = (s->K + KS - 1) / KS;
    if (s->ls == 1) {
        for (int64_t i = 0; i < steps; i++)
            for (int64_t t = lo; t < hi; t++) each(dst, s, steps, t, i);
    } else {
        for (int64_t t = lo; t < hi; t++)
            for (int64_t i = 0; i < steps; i++) each(dst, s, steps, t, i);
    }
}

static void pack_a(void *dst, const hn_side *s, int64_t lo, int64_t hi) {
    tiles(dst, s, 2 * lo, 2 * hi, tile_a);
}
static void pack_b(void *dst, const hn_side *s, int64_t lo, int64_t hi) {
    tiles(dst, s, 2 * lo, 2 * hi, tile_b);
}

/* ---- products: tiles 0..3 sums, 4 5 of A, 6 7 of B ---- */
static void configure(int rows) {
    hn_amx_config c = { .palette = 1 };
    for (int i = 0; i < 8; i++) {
        c.colsb[i] = 64;
        c.rows[i] = (uint8_t)(i < 6 ? rows : T);
    }
    hn_amx_load_config(&c);
}

static bool is_direct(const hn_gemm_job *j, int64_t m, int64_t rows, int64_t m1, int64_t col, int64_t cols) {
    return !j->bias && !j->accumulate && m + rows <= m1 && col + cols <= j->N;
}

/* One tile from sums to C at row m, column col. */
static void finish(const hn_gemm_job *j, const float *s, int64_t m, int64_t m1, int64_t col) {
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

HN_INLINE void ask_lines(int n, const char *p) {
    HN_UNROLL for (int i = 0; i < n; i++) __builtin_prefetch(p + 64 * i, 0, 2);
}
/* Where a panel is read once, its memory is asked for this much before it is needed, a step's worth a step.
 */
HN_INLINE void ask_ahead(const char *b) {
    ask_lines(16, b + AHEAD);
    ask_lines(16, b + AHEAD + TILE);
}

/* 2 x 2 tiles over a block of k: rows from m (A at a0 and a1), one panel of B.  Sums come from and go to
 * `sums` except at the two ends of k.  A comes from the second-level cache and is read with the hint not to
 * keep it, so that the panel's part stays in the first; or the other way round (keep_a) where a panel is read
 * once.  C is asked for while the last sums form, two rows a step, and of the next panel two lines a step. */
typedef struct place {
    const char *a0, *a1, *b, *next;
    int64_t steps, m, m1, col;
    bool first, last; /* block of k */
    float *sums;      /* [4][T * T] */
} place;

HN_INLINE void square(bool keep_a, const hn_gemm_job *j, const place *at) {
    int64_t ld = j->ldc * 4;
    float(*sums)[T * T] = (float(*)[T * T])(void *)at->sums;
    char *c = (char *)(j->C + at->m * j->ldc + at->col);
    const char *ask = c, *a0 = at->a0, *a1 = at->a1, *b = at->b, *next = at->next;
    if (at->first) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, sums[0], 64);
        _tile_loadd(1, sums[1], 64);
        _tile_loadd(2, sums[2], 64);
        _tile_loadd(3, sums[3], 64);
    }
    for (int64_t i = 0; i < at->steps; i++, a0 += TILE, a1 += TILE, b += 2 * TILE, next += 128) {
        if (keep_a) {
            _tile_stream_loadd(6, b, 64);
            _tile_loadd(4, a0, 64);
        } else {
            _tile_loadd(6, b, 64);
            _tile_stream_loadd(4, a0, 64);
        }
        _tile_dpbf16ps(0, 4, 6);
        if (keep_a) _tile_stream_loadd(7, b + TILE, 64);
        else _tile_loadd(7, b + TILE, 64);
        _tile_dpbf16ps(1, 4, 7);
        if (at->last && i < T) {
            __builtin_prefetch(ask, 1);
            __builtin_prefetch(ask + 64, 1);
            __builtin_prefetch(ask + ld, 1);
            __builtin_prefetch(ask + ld + 64, 1);
            ask += 2 * ld;
        }
        if (keep_a) ask_ahead(b);
        else ask_lines(2, next);
        if (keep_a) _tile_loadd(5, a1, 64);
        else _tile_stream_loadd(5, a1, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    if (at->last && is_direct(j, at->m, 2 * T, at->m1, at->col, 2 * T)) {
        _tile_stored(0, c, ld);
        _tile_stored(1, c + 64, ld);
        _tile_stored(2, c + T * ld, ld);
        _tile_stored(3, c + T * ld + 64, ld);
        return;
    }
    _tile_stored(0, sums[0], 64);
    _tile_stored(1, sums[1], 64);
    _tile_stored(2, sums[2], 64);
    _tile_stored(3, sums[3], 64);
    for (int i = 0; at->last && i < 4; i++)
        finish(j, sums[i], at->m + i / 2 * T, at->m1, at->col + i % 2 * T);
}

/* 1 x 4 tiles: up to 16 rows, this panel and the next (b1; where there is none, this one again, unused). */
static void wide(const hn_gemm_job *j, const char *a, const char *b0, const char *b1, int64_t m, int64_t m1,
                 int64_t col, int n_panel) {
    _Alignas(64) float sums[4][T * T];
    int64_t steps = (j->K + KS - 1) / KS;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t i = 0; i < steps; i++, a += TILE, b0 += 2 * TILE, b1 += 2 * TILE) {
        _tile_loadd(4, a, 64);
        _tile_loadd(6, b0, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b0 + TILE, 64);
        _tile_dpbf16ps(1, 4, 7);
        ask_ahead(b0);
        if (n_panel == 1) continue;
        ask_ahead(b1);
        _tile_loadd(6, b1, 64);
        _tile_dpbf16ps(2, 4, 6);
        _tile_loadd(7, b1 + TILE, 64);
        _tile_dpbf16ps(3, 4, 7);
    }
    _tile_stored(0, sums[0], 64);
    _tile_stored(1, sums[1], 64);
    _tile_stored(2, sums[2], 64);
    _tile_stored(3, sums[3], 64);
    for (int i = 0; i < 2 * n_panel; i++) finish(j, sums[i], m, m1, col + i * T);
}

/* Pairs of row tiles from m0 to end by one panel, k in blocks. */
static void pairs_by_panel(const hn_gemm_job *j, int64_t m0, int64_t end, int64_t m1, int64_t p) {
    _Alignas(64) float sums[MAX_ROWS / (2 * T)][4 * T * T];
    int64_t steps = (j->K + KS - 1) / KS, n = (end - m0) / (2 * T);
    bool once = n == 1;
    int64_t blocks = once ? 1 : (steps + KB - 1) / KB, k = 0;
    place at = { .b = j->B + (size_t)p * j->panel_bytes, .m1 = m1, .col = p * 2 * T };
    at.next = at.b + j->panel_bytes;
    for (int64_t i = 0; i < blocks; i++, k += at.steps, at.b += at.steps * 2 * TILE) {
        at.steps = (steps - k + blocks - i - 1) / (blocks - i);
        at.first = i == 0, at.last = i == blocks - 1;
        for (int64_t r = 0; r < n; r++, at.next += at.steps * 128) {
            at.m = m0 + r * 2 * T;
            at.a0 = (const char *)j->A + (at.m / T * steps + k) * TILE;
            at.a1 = at.a0 + steps * TILE;
            at.sums = sums[r];
            if (once) square(true, j, &at);
            else square(false, j, &at);
        }
    }
}

static void block(const hn_gemm_job *j, int64_t m0, int64_t m1, int64_t p0, int64_t p1) {
    int64_t steps = (j->K + KS - 1) / KS, row_tile = steps * TILE;
    const char *a = (const char *)j->A + m0 / T * row_tile;
    configure(j->M < T ? (int)j->M : T);
    int64_t pairs_end = m0 + (m1 - m0 > T ? (m1 - m0 + T - 1) / (2 * T) * 2 * T : 0);
    hn_assert(m1 - m0 <= MAX_ROWS);
    for (int64_t p = p0; p < p1 && pairs_end > m0; p++) pairs_by_panel(j, m0, pairs_end, m1, p);
    if (pairs_end < m1)
        for (int64_t p = p0; p < p1; p += 2) {
            const char *b = j->B + (size_t)p * j->panel_bytes;
            wide(j, a + (pairs_end - m0) / T * row_tile, b, b + j->panel_bytes, pairs_end, m1, p * 2 * T,
                 p + 1 < p1 ? 2 : 1);
        }
    _tile_release();
}

const hn_gemm_kernels hn_gemm_kernels_amx = { .panel = 2 * T,
                                              .rows = 2 * T,
                                              .max_rows = MAX_ROWS,
                                              .k_step = KS,
                                              .speed = 500,
                                              .size = 2,
                                              .needs_a = true,
                                              .pack_a = pack_a,
                                              .pack_b = pack_b,
                                              .block = block };
