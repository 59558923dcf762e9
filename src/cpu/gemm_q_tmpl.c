/* gemm_q_tmpl.c - rows of A to integers in every tier, and the products of the tiers without dot products of
 * bytes in 64-byte vectors (gemm_q_kernels.h has the layout). */
#include "cpu/gemm_q_kernels.h"
#include "cpu/simd.h"

#include <float.h>

#include "format/half.h"

enum { NV = HN_QBLOCK / VL };

/* ---- rows of A ---- */
/* The lowest byte of each lane. */
HN_INLINE void store_bytes(int8_t *q, VI a) {
#if HN_SIMD == 2
    _mm_storeu_si128((__m128i *)(void *)q, _mm512_cvtepi32_epi8(a));
#elif HN_SIMD == 1
    const __m256i pick = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4,
                                          8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    __m256i b = _mm256_shuffle_epi8(a, pick);
    __m128i c = _mm_unpacklo_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1));
    _mm_storel_epi64((__m128i *)(void *)q, c);
#else
    for (int i = 0; i < VL; i++) q[i] = (int8_t)((a[i] & 127) - (a[i] & 128));
#endif
}

/* Adding 1.5 * 2^23 rounds to an integer, left in the lower bits. */
static void round_block(int8_t *q, float *scale, int32_t *sum, const float *x, int64_t n, int32_t offset) {
    const V big = vset1(12582912.0f), limit = vset1(FLT_MAX);
    V v[NV], most = vzero(), all = vzero();
    for (int i = 0; i < NV; i++) {
        v[i] = vload_n(x + i * VL, n > i * VL ? n - i * VL : 0);
        V a = vabs(v[i]);
        most = vmax(most, vblend(vle(a, limit), a, vset1(INFINITY))); /* NaN as well */
    }
    float top = vhmax(most), d = top / 127, inverse = d >= FLT_MIN ? 1 / d : 0;
    if (top > FLT_MAX) {
        memset(q, 0, HN_QBLOCK);
        *scale = NAN;
        *sum = 0;
        return;
    }
    for (int i = 0; i < NV; i++) {
        V t = vadd(vmul(v[i], vset1(inverse)), big);
        store_bytes(q + i * VL, vbits(t));
        all = vadd(all, vsub(t, big));
    }
    *scale = d;
    *sum = (int32_t)vsum(all) * offset;
}

void HN_TIERED(hn_q_round)(int8_t *q, float *scale, int32_t *sum, const float *x, int64_t K, int64_t steps,
                           int32_t offset) {
    for (int64_t b = 0; b < 2 * steps; b++) {
        int64_t left = K - b * HN_QBLOCK;
        round_block(q + b * HN_QBLOCK, scale + b, sum + b, left > 0 ? x + b * HN_QBLOCK : x,
                    left > 0 ? left : 0, offset);
    }
}

/* ---- products ---- */
#if HN_SIMD == 0
/* One block: number k of column c. */
static int number(const char *b, bool four, int k, int c) {
    if (!four) return (int8_t)b[(k / 4 * HN_QPANEL + c) * 4 + k % 4];
    int byte = (uint8_t)b[(k % 16 / 4 * HN_QPANEL + c) * 4 + k % 4];
    return (k < 16 ? byte & 15 : byte >> 4) - 8;
}

static float one(const hn_q_job *j, int64_t m, const char *b, int c) {
    bool four = j->quant == HN_QUANT_Q4;
    int64_t size = four ? HN_Q4_BLOCK : HN_Q8_BLOCK;
    float acc = 0;
    for (int64_t s = 0; s < j->a.steps; s++, b += 2 * size + HN_QSCALES)
        for (int64_t h = 0; h < 2; h++) {
            int64_t at = m * 2 * j->a.steps + 2 * s + h;
            const int8_t *q = j->a.q + at * HN_QBLOCK;
            int32_t dot = 0;
            uint16_t scale;
            memcpy(&scale, b + 2 * size + (h * HN_QPANEL + c) * 2, sizeof scale);
            for (int k = 0; k < HN_QBLOCK; k++) dot += q[k] * number(b + h * size, four, k, c);
            float t = j->a.scale[at] * hn_f16_to_f32(scale);
            acc = acc + (float)dot * t;
        }
    return acc;
}

void hn_q_block_c(const hn_q_job *j, int64_t m0, int64_t m1, int64_t p0, int64_t p1) {
    int64_t panel = j->a.steps * hn_q_step_bytes(j->quant);
    for (int64_t m = m0; m < m1; m++)
        for (int64_t n = p0 * HN_QPANEL; n < p1 * HN_QPANEL && n < j->N; n++) {
            float y = one(j, m, j->B + n / HN_QPANEL * panel, (int)(n % HN_QPANEL));
            j->C[m * j->ldc + n] = j->bias ? y + j->bias[n] : y;
        }
}
#elif HN_SIMD == 1
enum { MR = 4 };

/* The 32 numbers of 8 columns by those of mr rows.  In 8 bits the sign of w goes to a, because VPMADDUBSW
 * takes one side without sign; its sums of two are below 2^15 then.  In 4 bits numbers are 0 .. 15 and all
 * eight quads fit 16 bits; the 8 too much comes off with the row's sum. */
HN_INLINE void dot_block(int mr, bool four, const char *b, const int8_t *const *a, const int32_t *const *sum,
                         __m256i dot[MR]) {
    const __m256i ones = _mm256_set1_epi16(1), nibble = _mm256_set1_epi8(15);
    __m256i w[8];
    for (int i = 0; i < 8; i++) {
        w[i] = _mm256_loadu_si256((const __m256i *)(const void *)(b + (four ? i % 4 : i) * HN_QPANEL * 4));
        if (four) w[i] = _mm256_and_si256(i < 4 ? w[i] : _mm256_srli_epi16(w[i], 4), nibble);
    }
    HN_UNROLL for (int r = 0; r < mr; r++) {
        __m256i acc = _mm256_setzero_si256();
        HN_UNROLL for (int i = 0; i < 8; i++) {
            int32_t quad;
            memcpy(&quad, a[r] + 4 * i, sizeof quad);
            __m256i x = _mm256_set1_epi32(quad);
            if (four) acc = _mm256_add_epi16(acc, _mm256_maddubs_epi16(w[i], x));
            else {
                __m256i two = _mm256_maddubs_epi16(_mm256_abs_epi8(w[i]), _mm256_sign_epi8(x, w[i]));
                acc = _mm256_add_epi32(acc, _mm256_madd_epi16(two, ones));
            }
        }
        if (four) acc = _mm256_add_epi32(_mm256_madd_epi16(acc, ones), _mm256_set1_epi32(*sum[r]));
        dot[r] = acc;
    }
}

/* mr rows from m by 8 columns from col. */
HN_INLINE void tile(int mr, bool four, const hn_q_job *j, int64_t m, int64_t col) {
    int64_t size = four ? HN_Q4_BLOCK : HN_Q8_BLOCK, steps = j->a.steps, c = col % HN_QPANEL;
    const char *b = j->B + col / HN_QPANEL * steps * hn_q_step_bytes(j->quant);
    __m256 acc[MR];
    const int8_t *a[MR];
    const float *scale[MR];
    const int32_t *sum[MR];
    HN_UNROLL for (int r = 0; r < mr; r++) {
        acc[r] = vzero();
        a[r] = j->a.q + (m + r) * steps * HN_QSTEP;
        scale[r] = j->a.scale + (m + r) * 2 * steps;
        sum[r] = j->a.sum + (m + r) * 2 * steps;
    }
    for (int64_t i = 0; i < 2 * steps; i++) {
        int64_t h = i % 2;
        __m256i dot[MR];
        dot_block(mr, four, b + h * size + c * 4, a, sum, dot);
        V w = _mm256_cvtph_ps(
            _mm_loadu_si128((const __m128i *)(const void *)(b + 2 * size + (h * HN_QPANEL + c) * 2)));
        HN_UNROLL for (int r = 0; r < mr; r++) {
            acc[r] = vfma(_mm256_cvtepi32_ps(dot[r]), vmul(vset1(*scale[r]), w), acc[r]);
            a[r] += HN_QBLOCK, scale[r]++, sum[r]++;
        }
        b += h * (2 * size + HN_QSCALES);
    }
    int64_t n = j->N - col;
    HN_UNROLL for (int r = 0; r < mr; r++) {
        V y = j->bias ? vadd(acc[r], vload_n(j->bias + col, n)) : acc[r];
        vstore_n(j->C + (m + r) * j->ldc + col, n, y);
    }
}

static void tiles(bool four, const hn_q_job *j, int64_t m, int64_t mr, int64_t col) {
    switch (mr) {
    case 1: four ? tile(1, true, j, m, col) : tile(1, false, j, m, col); break;
    case 2: four ? tile(2, true, j, m, col) : tile(2, false, j, m, col); break;
    case 3: four ? tile(3, true, j, m, col) : tile(3, false, j, m, col); break;
    default: four ? tile(4, true, j, m, col) : tile(4, false, j, m, col); break;
    }
}

void hn_q_block_avx2(const hn_q_job *j, int64_t m0, int64_t m1, int64_t p0, int64_t p1) {
    for (int64_t col = p0 * HN_QPANEL; col < p1 * HN_QPANEL && col < j->N; col += VL)
        for (int64_t m = m0; m < m1; m += MR)
            tiles(j->quant == HN_QUANT_Q4, j, m, m1 - m < MR ? m1 - m : MR, col);
}
#endif
