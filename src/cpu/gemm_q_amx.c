/* gemm_q_amx.c - products of bytes on the tile unit (AMX): up to 16 rows of A by one panel at a time.
 *
 * TDPBSSD adds to a 16 x 16 tile of int32 the product of rows of 64 bytes.  Scales change every 32 k, so
 * tiles are half filled: 16 rows x 32 k of A by 8 quads x 16 columns of W, a tile of sums for each block,
 * which is stored and added to the f32 sums in registers while the next ones form.  Numbers of 4 bits become
 * bytes with sign in a buffer first.  Few rows take VPDPBUSD: the same sums.  Intel, "Intel 64 and IA-32
 * Architectures Software Developer's Manual", TDPBSSD. */
#include "cpu/amx.h"
#include "cpu/gemm_q_wide.h"

enum {
    FEW = 2, /* rows for which the tile unit does not pay */
    KB = 16, /* steps of a block of k: its numbers stay in the first-level cache */
    STEP = 2 * HN_Q8_BLOCK,
    T = HN_QROWS
};

/* Tiles 0 1 sums, 4 5 of A, 6 7 of W. */
static void configure(int rows) {
    hn_amx_config c = { .palette = 1 };
    for (int i = 0; i < 8; i++) {
        c.colsb[i] = i == 4 || i == 5 ? HN_QBLOCK : 64;
        c.rows[i] = (uint8_t)(i < 6 ? rows : HN_QBLOCK / 4);
    }
    hn_amx_load_config(&c);
}

/* Steps of a panel in 4 bits as bytes with sign, without their scales. */
static void widen(const char *b, int64_t steps, char *to) {
    const VI nibble = _mm512_set1_epi8(15), eight = _mm512_set1_epi8(8);
    for (; steps > 0; steps--, b += 2 * HN_Q4_BLOCK + HN_QSCALES, to += STEP) {
        q_ask(b, 2 * HN_Q4_BLOCK + HN_QSCALES);
        HN_UNROLL for (int i = 0; i < 8; i++) {
            VI x = _mm512_loadu_si512(b + 64 * i);
            char *at = to + i / 4 * HN_Q8_BLOCK + i % 4 * 64;
            _mm512_storeu_si512(at, _mm512_sub_epi8(vi_and(x, nibble), eight));
            _mm512_storeu_si512(at + 256, _mm512_sub_epi8(vi_and(_mm512_srli_epi16(x, 4), nibble), eight));
        }
    }
}

/* Where up to 16 rows and a block of k of a panel are. */
typedef struct place {
    const int8_t *a; /* rows 64 steps_all apart */
    const float *scale;
    const char *b, *ws; /* numbers and scales of the first step */
    int64_t b_step, ws_step, steps, steps_all;
    bool ask;
} place;

/* The two tiles of sums of a step. */
HN_INLINE void step_tiles(const place *at, int64_t s, int32_t t[2][T * T]) {
    const int8_t *a = at->a + s * HN_QSTEP;
    const char *b = at->b + s * at->b_step;
    int64_t ld = at->steps_all * HN_QSTEP;
    if (at->ask) q_ask(b, STEP + HN_QSCALES);
    _tile_loadd(6, b, 64);
    _tile_loadd(4, a, ld);
    _tile_zero(0);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(7, b + HN_Q8_BLOCK, 64);
    _tile_loadd(5, a + HN_QBLOCK, ld);
    _tile_zero(1);
    _tile_dpbssd(1, 5, 7);
    _tile_stored(0, t[0], 64);
    _tile_stored(1, t[1], 64);
}

HN_INLINE void step_add(int rows, const place *at, int64_t s, int32_t t[2][T * T], V acc[T]) {
    HN_UNROLL for (int h = 0; h < 2; h++) {
        V ws = q_scales(at->ws + s * at->ws_step + h * HN_QPANEL * 2);
        const float *scale = at->scale + 2 * s + h;
        HN_UNROLL for (int r = 0; r < rows; r++) {
            V dot = _mm512_cvtepi32_ps(_mm512_load_si512(t[h] + r * T));
            acc[r] = vfma(dot, vmul(ws, vset1(scale[r * 2 * at->steps_all])), acc[r]);
        }
    }
}

/* A block of k: sums of a step are added while the tiles of the next one form. */
HN_INLINE void part(int rows, const place *at, V acc[T]) {
    _Alignas(64) int32_t t[2][2][T * T];
    step_tiles(at, 0, t[0]);
    for (int64_t s = 1; s < at->steps; s++) {
        step_tiles(at, s, t[s & 1]);
        step_add(rows, at, s - 1, t[(s - 1) & 1], acc);
    }
    step_add(rows, at, at->steps - 1, t[(at->steps - 1) & 1], acc);
}

/* `rows` rows from m by panel p over one block of k; sums [T][16] between blocks. */
HN_INLINE void tile(int rows, const hn_q_job *j, const place *at, int64_t m, int64_t m1, int64_t p,
                    float *sums, bool first, bool last) {
    V acc[T];
    HN_UNROLL for (int r = 0; r < rows; r++) acc[r] = first ? vzero() : vload(sums + r * T);
    part(rows, at, acc);
    HN_UNROLL for (int r = 0; r < rows; r++) {
        if (!last) vstore(sums + r * T, acc[r]);
        else if (m + r < m1) q_finish(j, m + r, p, acc[r]);
    }
}

static void panel(const hn_q_job *j, int64_t m0, int64_t m1, int64_t p, int rows) {
    _Alignas(64) float sums[HN_QROWS_MOST * HN_QPANEL];
    _Alignas(64) char wide[KB * STEP];
    bool four = j->quant == HN_QUANT_Q4;
    int64_t steps = j->a.steps, bytes = hn_q_step_bytes(j->quant);
    const char *b = j->B + p * steps * bytes;
    for (int64_t k = 0; k < steps; k += KB, b += KB * bytes) {
        place at = { .ws = b + bytes - HN_QSCALES, .ws_step = bytes, .steps_all = steps };
        at.steps = steps - k < KB ? steps - k : KB;
        at.b = four ? wide : b;
        at.b_step = four ? STEP : bytes;
        if (four) widen(b, at.steps, wide);
        for (int64_t m = m0; m < m1; m += T) {
            float *s = sums + (m - m0) * HN_QPANEL;
            bool first = k == 0, last = k + KB >= steps;
            at.a = j->a.q + (m * steps + k) * HN_QSTEP;
            at.scale = j->a.scale + (m * steps + k) * 2;
            at.ask = !four && m == m0;
            switch (rows) {
            case 4: tile(4, j, &at, m, m1, p, s, first, last); break;
            case 8: tile(8, j, &at, m, m1, p, s, first, last); break;
            case 12: tile(12, j, &at, m, m1, p, s, first, last); break;
            case 16: tile(16, j, &at, m, m1, p, s, first, last); break;
            }
        }
    }
}

void hn_q_block_amx(const hn_q_job *j, int64_t m0, int64_t m1, int64_t p0, int64_t p1) {
    if (j->M <= FEW) {
        hn_q_block_vnni(j, m0, m1, p0, p1);
        return;
    }
    int rows = j->M >= T ? T : (int)(j->M + 3) / 4 * 4;
    hn_assert(m1 - m0 <= HN_QROWS_MOST);
    configure(rows);
    for (int64_t p = p0; p < p1; p++) panel(j, m0, m1, p, rows);
    _tile_release();
}
