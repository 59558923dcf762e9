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

/* The same of bf16, for two tiles: lines from l and from l + 16. */
static void pack_halves(char *dst[2], const hn_side *s, int64_t l, int64_t k, bool as_lines) {
    int64_t nl = s->lines - l, nk = s->K - k, ls = s->ls, ks = s->ks;
    const uint16_t *src = (const uint16_t *)s->src + l * ls + k * ks;
    uint16_t t[2 * T * KS];
    nl = nl < 2 * T ? nl : 2 * T;
    nk = nk < KS ? nk : KS;
    if (ls != 1 && ks != 1) {
        for (int64_t i = 0; i < nl; i++)
            for (int64_t c = 0; c < nk; c++) t[i * KS + c] = src[i * ls + c * ks];
        src = t, ls = KS, ks = 1;
    }
    VI v[2][T];
    bool have_lines = ks == 1;
    if (have_lines) {
        __mmask32 live = nk < KS ? (1u << nk) - 1 : ~0u;
        HN_UNROLL for (int i = 0; i < 2 * T; i++) v[i / T][i % T] =
            i < nl ? _mm512_maskz_loadu_epi16(live, src + i * ls) : vi_set1(0);
    } else {
        const VI low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7,
                                        38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
        const VI high = _mm512_add_epi16(low, _mm512_set1_epi16(T));
        __mmask32 live = nl < 2 * T ? (1u << nl) - 1 : ~0u;
        HN_UNROLL for (int i = 0; i < T; i++) {
            VI a = 2 * i < nk ? _mm512_maskz_loadu_epi16(live, src + 2 * i * ks) : vi_set1(0);
            VI b = 2 * i + 1 < nk ? _mm512_maskz_loadu_epi16(live, src + (2 * i + 1) * ks) : vi_set1(0);
            v[0][i] = _mm512_permutex2var_epi16(a, low, b);
            v[1][i] = _mm512_permutex2var_epi16(a, high, b);
        }
    }
    for (int h = 0; h < 2; h++) {
        if (have_lines != as_lines) transpose16(v[h]);
        HN_UNROLL for (int i = 0; i < T; i++) _mm512_storeu_si512(dst[h] + i * 64, v[h][i]);
    }
}

/* Two row tiles of A, each with its own steps; two column tiles of B, which lie side by side at each step. */
HN_INLINE void panel_step(char *dst, const hn_side *s, int64_t steps, int64_t p, int64_t i, bool is_a) {
    char *tile[2] = { dst + (2 * p * steps + i) * TILE, dst + ((2 * p + 1) * steps + i) * TILE };
    if (!is_a) {
        tile[0] = dst + (p * steps + i) * 2 * TILE;
        tile[1] = tile[0] + TILE;
    }
    if (s->half) pack_halves(tile, s, 2 * p * T, i * KS, is_a);
    else
        for (int h = 0; h < 2; h++) pack_tile(tile[h], s, (2 * p + h) * T, i * KS, is_a);
}

/* Panels [lo,hi) in the order in which the source lies in memory. */
HN_INLINE void panels(char *dst, const hn_side *s, int64_t lo, int64_t hi, bool is_a) {
    int64_t steps = (s->K + KS - 1) / KS;
    if (s->ls == 1) {
        for (int64_t i = 0; i < steps; i++)
            for (int64_t p = lo; p < hi; p++) panel_step(dst, s, steps, p, i, is_a);
    } else {
        for (int64_t p = lo; p < hi; p++)
            for (int64_t i = 0; i < steps; i++) panel_step(dst, s, steps, p, i, is_a);
    }
}

static void pack_a(void *dst, const hn_side *s, int64_t lo, int64_t hi) { panels(dst, s, lo, hi, true); }
static void pack_b(void *dst, const hn_side *s, int64_t lo, int64_t hi) { panels(dst, s, lo, hi, false); }

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
    return !j->half_c && !j->bias && !j->accumulate && m + rows <= m1 && col + cols <= j->N;
}

/* Two tiles side by side from sums to C in bf16. */
static void finish_half(const hn_gemm_job *j, const float *s, int64_t m, int64_t m1, int64_t col) {
    int64_t n = j->N - col;
    if (n <= 0) return;
    __mmask32 live = n < 2 * T ? (1u << n) - 1 : ~0u;
    V b0 = vzero(), b1 = vzero();
    if (j->bias) {
        b0 = vload_n(j->bias + col, n);
        b1 = vload_n(j->bias + col + T, n > T ? n - T : 0);
    }
    for (int r = 0; r < T && m + r < m1; r++) {
        V y0 = vload(s + r * T), y1 = vload(s + T * T + r * T);
        if (j->bias) y0 = vadd(y0, b0), y1 = vadd(y1, b1);
        uint16_t *c = (uint16_t *)j->C + (m + r) * j->ldc + col;
        _mm512_mask_storeu_epi16(c, live, (VI)_mm512_cvtne2ps_pbh(y1, y0));
    }
}

/* One tile from sums to C at row m, column col. */
static void finish_one(const hn_gemm_job *j, const float *s, int64_t m, int64_t m1, int64_t col) {
    int64_t n = j->N - col;
    if (n <= 0) return;
    V bias = j->bias ? vload_n(j->bias + col, n) : vzero();
    for (int r = 0; r < T && m + r < m1; r++) {
        float *c = (float *)j->C + (m + r) * j->ldc + col;
        V y = vload(s + r * T);
        if (j->bias) y = vadd(y, bias);
        if (j->accumulate) y = vadd(vload_n(c, n), y);
        vstore_n(c, n, y);
    }
}

HN_INLINE void ask_lines(int n, const char *p) {
    HN_UNROLL for (int i = 0; i < n; i++) __builtin_prefetch(p + 64 * i, 0, 2);
}
static void finish(const hn_gemm_job *j, const float *s, int64_t m, int64_t m1, int64_t col) {
    if (j->half_c) {
        finish_half(j, s, m, m1, col);
        return;
    }
    finish_one(j, s, m, m1, col);
    finish_one(j, s + T * T, m, m1, col + T);
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
    int64_t a_ld, a_step; /* bytes of A from row to row and from step to step */
    int64_t steps, m, m1, col;
    bool first, last; /* block of k */
    float *sums;      /* [4][T * T] */
} place;

HN_INLINE void square(bool keep_a, const hn_gemm_job *j, const place *at) {
    int64_t size = j->half_c ? 2 : 4, ld = j->ldc * size, a_ld = at->a_ld, a_step = at->a_step;
    float(*sums)[T * T] = (float(*)[T * T])(void *)at->sums;
    char *c = (char *)j->C + at->m * ld + at->col * size;
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
    for (int64_t i = 0; i < at->steps; i++, a0 += a_step, a1 += a_step, b += 2 * TILE, next += 128) {
        if (keep_a) {
            _tile_stream_loadd(6, b, 64);
            _tile_loadd(4, a0, a_ld);
        } else {
            _tile_loadd(6, b, 64);
            _tile_stream_loadd(4, a0, a_ld);
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
        if (keep_a) _tile_loadd(5, a1, a_ld);
        else _tile_stream_loadd(5, a1, a_ld);
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
    for (int i = 0; at->last && i < 2; i++) finish(j, sums[2 * i], at->m + i * T, at->m1, at->col);
}

/* 1 x 4 tiles (the processor's own prefetch is enough here): up to 16 rows, this panel and the next (b1;
 * where there is none, this one again, unused). */
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
        if (n_panel == 1) continue;
        _tile_loadd(6, b1, 64);
        _tile_dpbf16ps(2, 4, 6);
        _tile_loadd(7, b1 + TILE, 64);
        _tile_dpbf16ps(3, 4, 7);
    }
    _tile_stored(0, sums[0], 64);
    _tile_stored(1, sums[1], 64);
    _tile_stored(2, sums[2], 64);
    _tile_stored(3, sums[3], 64);
    for (int i = 0; i < n_panel; i++) finish(j, sums[2 * i], m, m1, col + i * 2 * T);
}

/* Pairs of row tiles from m0 to end by one panel, k in blocks. */
static void pairs_by_panel(const hn_gemm_job *j, int64_t m0, int64_t end, int64_t m1, int64_t p) {
    _Alignas(64) float sums[MAX_ROWS / (2 * T)][4 * T * T];
    int64_t steps = (j->K + KS - 1) / KS, n = (end - m0) / (2 * T);
    bool once = n == 1;
    int64_t blocks = once ? 1 : (steps + KB - 1) / KB, k = 0;
    place at = { .b = j->B + (size_t)p * j->panel_bytes, .m1 = m1, .col = p * 2 * T };
    at.next = at.b + j->panel_bytes;
    at.a_ld = j->packed ? 64 : j->ars * 2;
    at.a_step = j->packed ? TILE : 64;
    int64_t tile = j->packed ? steps * TILE : T * at.a_ld;
    for (int64_t i = 0; i < blocks; i++, k += at.steps, at.b += at.steps * 2 * TILE) {
        at.steps = (steps - k + blocks - i - 1) / (blocks - i);
        at.first = i == 0, at.last = i == blocks - 1;
        for (int64_t r = 0; r < n; r++, at.next += at.steps * 128) {
            at.m = m0 + r * 2 * T;
            at.a0 = (const char *)j->A + at.m / T * tile + k * at.a_step;
            at.a1 = at.a0 + tile;
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
    hn_assert(j->packed || pairs_end == m1);
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
                                              .half = true,
                                              .pack_a = pack_a,
                                              .pack_b = pack_b,
                                              .block = block };
