/* gemm_q_vnni.c - products of bytes with VPDPBUSD (AVX512-VNNI): some rows of A by one panel.
 *
 * The instruction adds to each of 16 sums four products of numbers without sign (W, which is made 128 or 8
 * larger) and with sign (a quad of A, the same for all lanes); what is too much is in the sum that a block
 * begins with.  Intel, "Intel 64 and IA-32 Architectures Software Developer's Manual", VPDPBUSD. */
#include "cpu/gemm_q_wide.h"

enum { MR = 6, QUADS = HN_QBLOCK / 4 };

/* The quads of a block without sign. */
HN_INLINE void load_block(bool four, const char *b, VI w[QUADS]) {
    if (four) {
        const VI nibble = _mm512_set1_epi8(15);
        HN_UNROLL for (int i = 0; i < QUADS / 2; i++) {
            VI x = _mm512_loadu_si512(b + 64 * i);
            w[i] = vi_and(x, nibble);
            w[i + QUADS / 2] = vi_and(_mm512_srli_epi16(x, 4), nibble);
        }
    } else {
        const VI top = _mm512_set1_epi8(-128);
        HN_UNROLL for (int i = 0; i < QUADS; i++) w[i] =
            _mm512_xor_si512(_mm512_loadu_si512(b + 64 * i), top);
    }
}

/* mr rows from m by panel p; mr, four and first (W comes from memory) are constants where it is called. */
HN_INLINE void rows(int mr, bool four, bool first, const hn_q_job *j, int64_t m, int64_t p) {
    const int64_t size = four ? HN_Q4_BLOCK : HN_Q8_BLOCK, bytes = 2 * size + HN_QSCALES;
    int64_t steps = j->a.steps;
    const char *b = j->B + p * steps * bytes;
    const int8_t *a = j->a.q + m * steps * HN_QSTEP;
    const float *scale = j->a.scale + m * 2 * steps;
    const int32_t *sum = j->a.sum + m * 2 * steps;
    V acc[MR];
    HN_UNROLL for (int r = 0; r < mr; r++) acc[r] = vzero();
    for (int64_t s = steps; s > 0; s--, b += bytes) {
        if (first) q_ask(b, bytes);
        HN_UNROLL for (int h = 0; h < 2; h++) {
            VI w[QUADS];
            load_block(four, b + h * size, w);
            V ws = q_scales(b + 2 * size + h * HN_QPANEL * 2);
            HN_UNROLL for (int r = 0; r < mr; r++) {
                VI even = vi_set1(sum[r * 2 * steps]), odd = vi_set1(0); /* two chains hide the latency */
                HN_UNROLL for (int i = 0; i < QUADS; i += 2) {
                    int32_t x, y;
                    memcpy(&x, a + r * steps * HN_QSTEP + 4 * i, sizeof x);
                    memcpy(&y, a + r * steps * HN_QSTEP + 4 * i + 4, sizeof y);
                    even = _mm512_dpbusd_epi32(even, w[i], vi_set1(x));
                    odd = _mm512_dpbusd_epi32(odd, w[i + 1], vi_set1(y));
                }
                V dot = _mm512_cvtepi32_ps(vi_add(even, odd));
                acc[r] = vfma(dot, vmul(ws, vset1(scale[r * 2 * steps])), acc[r]);
            }
            a += HN_QBLOCK, scale++, sum++;
        }
    }
    HN_UNROLL for (int r = 0; r < mr; r++) q_finish(j, m + r, p, acc[r]);
}

HN_INLINE void some(bool four, bool first, const hn_q_job *j, int64_t m, int64_t mr, int64_t p) {
    switch (mr) {
    case 1: rows(1, four, first, j, m, p); break;
    case 2: rows(2, four, first, j, m, p); break;
    case 3: rows(3, four, first, j, m, p); break;
    case 4: rows(4, four, first, j, m, p); break;
    case 5: rows(5, four, first, j, m, p); break;
    case 6: rows(6, four, first, j, m, p); break;
    }
}

/* Rows are shared out evenly over the passes: 8 as 4 + 4, not 6 + 2. */
HN_INLINE void panels(bool four, const hn_q_job *j, int64_t m0, int64_t m1, int64_t p0, int64_t p1) {
    for (int64_t p = p0; p < p1; p++) {
        int64_t left = (m1 - m0 + MR - 1) / MR, m = m0, mr = (m1 - m0) / left;
        some(four, true, j, m, mr, p);
        for (left--, m += mr; left > 0; left--, m += mr) {
            mr = (m1 - m + left - 1) / left;
            some(four, false, j, m, mr, p);
        }
    }
}

void hn_q_block_vnni(const hn_q_job *j, int64_t m0, int64_t m1, int64_t p0, int64_t p1) {
    if (j->quant == HN_QUANT_Q4) panels(true, j, m0, m1, p0, p1);
    else panels(false, j, m0, m1, p0, p1);
}
