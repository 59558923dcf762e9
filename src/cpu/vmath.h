/* vmath.h - what kernels need beyond simd.h: 2^x, log, sine and cosine, transposition.
 *
 * Lane by lane like simd.h: an element's bits do not depend on its lane.  Polynomials are minimax fits
 * (Lawson's iteration on Chebyshev points) of the function's relative error over the reduced range. */
#ifndef HN_VMATH_H
#define HN_VMATH_H

#include "cpu/simd.h"
#if HN_SIMD == 2
#include "cpu/transpose.h"
#endif

/* 2^x within 2 ulp for x <= 127; exactly 1 at 0; 0 below -127 (and for -INFINITY); NaN stays NaN.  For the
 * weights of a softmax, where x <= 0: the upper end is not guarded. */
HN_INLINE V vexp2_neg(V x) {
    const V big =
        vset1(12582912.0f + 127); /* rounds, and leaves n + 127 in the low bits: the exponent field */
    x = vmax(vset1(-127), x);     /* NaN passes: it is the second argument */
    V t = vadd(x, big), r = vsub(x, vsub(t, big));
    V p = vset1(0.0013264727f);
    p = vfma(p, r, vset1(0.009671513f));
    p = vfma(p, r, vset1(0.055507336f));
    p = vfma(p, r, vset1(0.24022242f));
    p = vfma(p, r, vset1(0.693147f));
    p = vfma(p, r, vset1(1));
    return vmul(p, vfloat(vi_shl(vbits(t), 23)));
}

/* log x within 2 ulp for finite normal x > 0; other x give nothing useful.  x = 2^e m with m in
 * [sqrt(1/2), sqrt 2), log m = f - f^2/2 + f^3 P(f), f = m - 1. */
HN_INLINE V vlog(V x) {
    VI b =
        vi_add(vbits(x), vi_set1(0x3f800000 - 0x3f3504f3)); /* so that the exponent field turns at sqrt 2 */
    V m = vfloat(vi_add(vi_and(b, vi_set1(0x7fffff)), vi_set1(0x3f3504f3)));
    /* the biased exponent as a float, by the same trick as rounding: 2^23 + e */
    V e = vsub(vfloat(vi_or(vi_shr(b, 23), vi_set1(0x4b000000))), vset1(8388608.0f + 127));
    V f = vsub(m, vset1(1)), z = vmul(f, f);
    V p = vset1(-0.07634499f);
    p = vfma(p, f, vset1(0.12761578f));
    p = vfma(p, f, vset1(-0.13160183f));
    p = vfma(p, f, vset1(0.14201757f));
    p = vfma(p, f, vset1(-0.16623357f));
    p = vfma(p, f, vset1(0.20001227f));
    p = vfma(p, f, vset1(-0.2500082f));
    p = vfma(p, f, vset1(0.3333333f));
    V y = vmul(vmul(p, f), z);
    y = vfma(e, vset1(0x1.7f7d1cp-20f), y); /* ln 2 in two parts: e times the high one is exact */
    y = vfma(z, vset1(-0.5f), y);
    return vfma(e, vset1(0x1.62e4p-1f), vadd(f, y));
}

/* The vector registers r[0..VL-1] as a matrix of VL rows, transposed. */
#if HN_SIMD == 2
HN_INLINE void vtranspose(V r[VL]) {
    VI t[16];
    HN_UNROLL for (int i = 0; i < 16; i++) t[i] = vbits(r[i]);
    transpose16(t);
    HN_UNROLL for (int i = 0; i < 16; i++) r[i] = vfloat(t[i]);
}
#elif HN_SIMD == 1
HN_INLINE void vtranspose(V r[VL]) {
    V t[8];
    HN_UNROLL
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    HN_UNROLL
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    HN_UNROLL
    for (int i = 0; i < 4; i++) {
        V a = r[i], b = r[4 + i];
        r[i] = _mm256_permute2f128_ps(a, b, 0x20);
        r[4 + i] = _mm256_permute2f128_ps(a, b, 0x31);
    }
}
#else
HN_INLINE void vtranspose(V r[VL]) {
    V a = r[0], b = r[1], c = r[2], d = r[3];
    r[0] = (V){ a[0], b[0], c[0], d[0] };
    r[1] = (V){ a[1], b[1], c[1], d[1] };
    r[2] = (V){ a[2], b[2], c[2], d[2] };
    r[3] = (V){ a[3], b[3], c[3], d[3] };
}
#endif
#endif
