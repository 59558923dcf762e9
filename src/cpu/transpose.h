/* transpose.h - a 16 x 16 transpose of 32-bit lanes in registers, for packing (AVX-512 builds only). */
#ifndef HN_TRANSPOSE_H
#define HN_TRANSPOSE_H

#include "cpu/simd.h"

/* v[i] lane j becomes v[j] lane i: pairs, then fours, then 128-bit quarters across registers. */
HN_INLINE void transpose16(VI v[16]) {
    VI t[16];
    HN_UNROLL for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
    HN_UNROLL for (int i = 0; i < 16; i += 4) {
        v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    /* quarter q of v[4g + c] now holds column 4q + c of rows 4g .. 4g+3 */
    HN_UNROLL for (int c = 0; c < 4; c++) {
        VI lo = _mm512_shuffle_i32x4(v[c], v[4 + c], 0x88),
           lo2 = _mm512_shuffle_i32x4(v[8 + c], v[12 + c], 0x88);
        VI hi = _mm512_shuffle_i32x4(v[c], v[4 + c], 0xdd),
           hi2 = _mm512_shuffle_i32x4(v[8 + c], v[12 + c], 0xdd);
        t[c] = _mm512_shuffle_i32x4(lo, lo2, 0x88);
        t[8 + c] = _mm512_shuffle_i32x4(lo, lo2, 0xdd);
        t[4 + c] = _mm512_shuffle_i32x4(hi, hi2, 0x88);
        t[12 + c] = _mm512_shuffle_i32x4(hi, hi2, 0xdd);
    }
    HN_UNROLL for (int i = 0; i < 16; i++) v[i] = t[i];
}
#endif
