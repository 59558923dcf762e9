/* simd.h - the small vector vocabulary that kernels are written in, once for all tiers.
 *
 * How to write a kernel: put it in src/<floor>/NAME_tmpl.c, include this file, use V, VL and the v*
 * functions, give every exported function the name HN_TIERED(hn_foo), and add the file to `hn_tmpl` in
 * src/meson.build. The file is then compiled once per tier, with HN_SIMD set to 0 (plain C: 4 lanes through
 * the compiler's vector extension, which is SSE2 or NEON), 1 (AVX2 + FMA: 8 lanes) or 2 (AVX-512: 16 lanes).
 * Declare it with HN_TIERED_DECLARE in its header and call it with HN_TIER_PICK (cpu.h).  Static functions
 * need no suffix.
 *
 * Exactness.  Every function below computes each lane alone, so an element's bits do not depend on its lane,
 * provided that tails use the masked forms (vload_n, vstore_n) of the same code and not a scalar loop.
 * vfma is one rounding on AVX2 and AVX-512 and two (multiply, then add) in plain C: bits differ between
 * tiers, never within one.  Reductions over lanes (vsum, vhmax) fold halves: lane i with lane i + VL/2, then
 * i + VL/4, and so on; their order is fixed by VL alone. */
#ifndef HN_SIMD_H
#define HN_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifndef HN_SIMD
#error "simd.h is for files in hn_tmpl (src/meson.build), which sets HN_SIMD and HN_TIER_SUFFIX"
#endif

#define HN_TIER_GLUE2(a, b) a##_##b
#define HN_TIER_GLUE(a, b)  HN_TIER_GLUE2(a, b)
#define HN_TIERED(name)     HN_TIER_GLUE(name, HN_TIER_SUFFIX)
#define HN_INLINE           static inline __attribute__((always_inline, unused))
#if defined(__clang__) /* before a loop of few, constant rounds over arrays that should live in registers */
#define HN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define HN_UNROLL _Pragma("GCC unroll 16")
#endif

/* What each tier provides:
 *   V, VI, VM            VL floats, VL int32, a mask of VL lanes
 *   vset1 vzero          all lanes x; all lanes 0
 *   vload vstore         VL floats from / to any address
 *   vload_n vstore_n     the first n lanes (0 <= n; n >= VL: all); other lanes load as 0, and neither
 *                        touches memory beyond p[n-1]
 *   vadd vsub vmul vdiv vsqrt
 *   vfma(a, b, c)        a * b + c;  vfnma(a, b, c) is c - a * b
 *   vmax vmin            a > b ? a : b and a < b ? a : b: when either is NaN, b
 *   vlt vle veq          lane masks; false when either is NaN
 *   vlane0 vswapW        lane 0; lane i exchanged with lane i ^ W
 *   vblend(m, a, b)      m ? a : b;  vfirst(n) is the mask of the first n lanes
 *   vbits vfloat         the same bits as VI / V;  vi_* on VI
 *   vload_bf16_n vstore_bf16_n   bf16 in memory; a store rounds to nearest even, NaN stays NaN */

#if HN_SIMD == 2
#include <immintrin.h>
enum { VL = 16 };
typedef __m512 V;
typedef __m512i VI;
typedef __mmask16 VM;
HN_INLINE V vset1(float x) { return _mm512_set1_ps(x); }
HN_INLINE V vload(const float *p) { return _mm512_loadu_ps(p); }
HN_INLINE void vstore(float *p, V a) { _mm512_storeu_ps(p, a); }
HN_INLINE VM vfirst(int64_t n) { return n >= VL ? (VM)0xffff : (VM)((1u << n) - 1); }
HN_INLINE V vload_n(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(vfirst(n), p); }
HN_INLINE void vstore_n(float *p, int64_t n, V a) { _mm512_mask_storeu_ps(p, vfirst(n), a); }
HN_INLINE V vadd(V a, V b) { return _mm512_add_ps(a, b); }
HN_INLINE V vsub(V a, V b) { return _mm512_sub_ps(a, b); }
HN_INLINE V vmul(V a, V b) { return _mm512_mul_ps(a, b); }
HN_INLINE V vdiv(V a, V b) { return _mm512_div_ps(a, b); }
HN_INLINE V vsqrt(V a) { return _mm512_sqrt_ps(a); }
HN_INLINE V vfma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
HN_INLINE V vfnma(V a, V b, V c) { return _mm512_fnmadd_ps(a, b, c); }
HN_INLINE V vmax(V a, V b) { return _mm512_max_ps(a, b); }
HN_INLINE V vmin(V a, V b) { return _mm512_min_ps(a, b); }
HN_INLINE VM vlt(V a, V b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
HN_INLINE VM vle(V a, V b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
HN_INLINE VM veq(V a, V b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
HN_INLINE V vblend(VM m, V a, V b) { return _mm512_mask_blend_ps(m, b, a); }
HN_INLINE VI vbits(V a) { return _mm512_castps_si512(a); }
HN_INLINE V vfloat(VI a) { return _mm512_castsi512_ps(a); }
HN_INLINE VI vi_set1(int32_t x) { return _mm512_set1_epi32(x); }
HN_INLINE VI vi_add(VI a, VI b) { return _mm512_add_epi32(a, b); }
HN_INLINE VI vi_and(VI a, VI b) { return _mm512_and_si512(a, b); }
HN_INLINE VI vi_or(VI a, VI b) { return _mm512_or_si512(a, b); }
#define vi_shl(a, n) _mm512_slli_epi32(a, n)
#define vi_shr(a, n) _mm512_srli_epi32(a, n) /* zeros come in */
HN_INLINE float vlane0(V a) { return _mm512_cvtss_f32(a); }
HN_INLINE V vswap8(V a) { return _mm512_shuffle_f32x4(a, a, 0x4e); }
HN_INLINE V vswap4(V a) { return _mm512_shuffle_f32x4(a, a, 0xb1); }
HN_INLINE V vswap2(V a) { return _mm512_permute_ps(a, 0x4e); }
HN_INLINE V vswap1(V a) { return _mm512_permute_ps(a, 0xb1); }
HN_INLINE VI vi_load_u16_n(const uint16_t *p, int64_t n) {
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(vfirst(n), p));
}
HN_INLINE void vi_store_u16_n(uint16_t *p, int64_t n, VI a) { /* lanes < 65536 */
    _mm256_mask_storeu_epi16(p, vfirst(n), _mm512_cvtepi32_epi16(a));
}

#elif HN_SIMD == 1
#include <immintrin.h>
enum { VL = 8 };
typedef __m256 V;
typedef __m256i VI;
typedef __m256 VM;
HN_INLINE V vset1(float x) { return _mm256_set1_ps(x); }
HN_INLINE V vload(const float *p) { return _mm256_loadu_ps(p); }
HN_INLINE void vstore(float *p, V a) { _mm256_storeu_ps(p, a); }
HN_INLINE VI vi_first(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n > VL ? VL : (int32_t)n),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
HN_INLINE VM vfirst(int64_t n) { return _mm256_castsi256_ps(vi_first(n)); }
HN_INLINE V vload_n(const float *p, int64_t n) { return _mm256_maskload_ps(p, vi_first(n)); }
HN_INLINE void vstore_n(float *p, int64_t n, V a) { _mm256_maskstore_ps(p, vi_first(n), a); }
HN_INLINE V vadd(V a, V b) { return _mm256_add_ps(a, b); }
HN_INLINE V vsub(V a, V b) { return _mm256_sub_ps(a, b); }
HN_INLINE V vmul(V a, V b) { return _mm256_mul_ps(a, b); }
HN_INLINE V vdiv(V a, V b) { return _mm256_div_ps(a, b); }
HN_INLINE V vsqrt(V a) { return _mm256_sqrt_ps(a); }
HN_INLINE V vfma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
HN_INLINE V vfnma(V a, V b, V c) { return _mm256_fnmadd_ps(a, b, c); }
HN_INLINE V vmax(V a, V b) { return _mm256_max_ps(a, b); }
HN_INLINE V vmin(V a, V b) { return _mm256_min_ps(a, b); }
HN_INLINE VM vlt(V a, V b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
HN_INLINE VM vle(V a, V b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
HN_INLINE VM veq(V a, V b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
HN_INLINE V vblend(VM m, V a, V b) { return _mm256_blendv_ps(b, a, m); }
HN_INLINE VI vbits(V a) { return _mm256_castps_si256(a); }
HN_INLINE V vfloat(VI a) { return _mm256_castsi256_ps(a); }
HN_INLINE VI vi_set1(int32_t x) { return _mm256_set1_epi32(x); }
HN_INLINE VI vi_add(VI a, VI b) { return _mm256_add_epi32(a, b); }
HN_INLINE VI vi_and(VI a, VI b) { return _mm256_and_si256(a, b); }
HN_INLINE VI vi_or(VI a, VI b) { return _mm256_or_si256(a, b); }
#define vi_shl(a, n) _mm256_slli_epi32(a, n)
#define vi_shr(a, n) _mm256_srli_epi32(a, n)
HN_INLINE float vlane0(V a) { return _mm256_cvtss_f32(a); }
HN_INLINE V vswap4(V a) { return _mm256_permute2f128_ps(a, a, 1); }
HN_INLINE V vswap2(V a) { return _mm256_permute_ps(a, 0x4e); }
HN_INLINE V vswap1(V a) { return _mm256_permute_ps(a, 0xb1); }
HN_INLINE VI vi_load_u16_n(const uint16_t *p, int64_t n) {
    uint16_t t[VL] = { 0 };
    if (n < VL) memcpy(t, p, (size_t)n * sizeof *p), p = t;
    return _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}
HN_INLINE void vi_store_u16_n(uint16_t *p, int64_t n, VI a) {
    __m128i b = _mm_packus_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    if (n >= VL) _mm_storeu_si128((__m128i *)(void *)p, b);
    else memcpy(p, &b, (size_t)n * sizeof *p);
}

#else
enum { VL = 4 };
typedef float V __attribute__((vector_size(16)));
typedef int32_t VI __attribute__((vector_size(16)));
typedef VI VM;
HN_INLINE V vset1(float x) { return (V){ x, x, x, x }; }
HN_INLINE VI vi_set1(int32_t x) { return (VI){ x, x, x, x }; }
HN_INLINE V vload(const float *p) {
    V a;
    memcpy(&a, p, sizeof a);
    return a;
}
HN_INLINE void vstore(float *p, V a) { memcpy(p, &a, sizeof a); }
HN_INLINE VM vfirst(int64_t n) { return (VI){ 0, 1, 2, 3 } < vi_set1(n > VL ? VL : (int32_t)n); }
HN_INLINE V vload_n(const float *p, int64_t n) {
    if (n >= VL) return vload(p);
    V a = { 0 };
    for (int i = 0; i < n; i++) a[i] = p[i];
    return a;
}
HN_INLINE void vstore_n(float *p, int64_t n, V a) {
    if (n >= VL) vstore(p, a);
    else
        for (int i = 0; i < n; i++) p[i] = a[i];
}
HN_INLINE V vadd(V a, V b) { return a + b; }
HN_INLINE V vsub(V a, V b) { return a - b; }
HN_INLINE V vmul(V a, V b) { return a * b; }
HN_INLINE V vdiv(V a, V b) { return a / b; }
HN_INLINE V vsqrt(V a) { return (V){ sqrtf(a[0]), sqrtf(a[1]), sqrtf(a[2]), sqrtf(a[3]) }; }
HN_INLINE V vfma(V a, V b, V c) { return a * b + c; }
HN_INLINE V vfnma(V a, V b, V c) { return c - a * b; }
HN_INLINE VM vlt(V a, V b) { return a < b; }
HN_INLINE VM vle(V a, V b) { return a <= b; }
HN_INLINE VM veq(V a, V b) { return a == b; }
HN_INLINE VI vbits(V a) {
    VI b;
    memcpy(&b, &a, sizeof b);
    return b;
}
HN_INLINE V vfloat(VI a) {
    V b;
    memcpy(&b, &a, sizeof b);
    return b;
}
HN_INLINE V vblend(VM m, V a, V b) { return vfloat((m & vbits(a)) | (~m & vbits(b))); }
HN_INLINE V vmax(V a, V b) { return vblend(vlt(b, a), a, b); }
HN_INLINE V vmin(V a, V b) { return vblend(vlt(a, b), a, b); }
typedef uint32_t VU __attribute__((vector_size(16))); /* wraps, as the intrinsics do */
HN_INLINE VI vi_add(VI a, VI b) { return (VI)((VU)a + (VU)b); }
HN_INLINE VI vi_and(VI a, VI b) { return a & b; }
HN_INLINE VI vi_or(VI a, VI b) { return a | b; }
#define vi_shl(a, n) ((VI)((VU)(a) << (n)))
#define vi_shr(a, n) ((VI)((VU)(a) >> (n)))
HN_INLINE float vlane0(V a) { return a[0]; }
HN_INLINE V vswap2(V a) { return (V){ a[2], a[3], a[0], a[1] }; }
HN_INLINE V vswap1(V a) { return (V){ a[1], a[0], a[3], a[2] }; }
HN_INLINE VI vi_load_u16_n(const uint16_t *p, int64_t n) {
    VI a = { 0 };
    for (int i = 0; i < VL && i < n; i++) a[i] = p[i];
    return a;
}
HN_INLINE void vi_store_u16_n(uint16_t *p, int64_t n, VI a) {
    for (int i = 0; i < VL && i < n; i++) p[i] = (uint16_t)a[i];
}
#endif

/* ---- the same for all tiers ---------------------------------------------------- */
HN_INLINE V vzero(void) { return vset1(0); }
HN_INLINE V vneg(V a) { return vfloat(vi_add(vbits(a), vi_set1(INT32_MIN))); }
HN_INLINE V vabs(V a) { return vfloat(vi_and(vbits(a), vi_set1(INT32_MAX))); }

/* Folds of all lanes, the result in every lane: vswap exchanges lane i with lane i ^ w. */
HN_INLINE V vsum_all(V a) {
#if HN_SIMD == 2
    a = vadd(a, vswap8(a));
#endif
#if HN_SIMD >= 1
    a = vadd(a, vswap4(a));
#endif
    a = vadd(a, vswap2(a));
    return vadd(a, vswap1(a));
}
/* The largest lane; NaN only by luck of position: let a sum, not a maximum, report NaN. */
HN_INLINE V vmax_all(V a) {
#if HN_SIMD == 2
    a = vmax(a, vswap8(a));
#endif
#if HN_SIMD >= 1
    a = vmax(a, vswap4(a));
#endif
    a = vmax(a, vswap2(a));
    return vmax(a, vswap1(a));
}
HN_INLINE float vsum(V a) { return vlane0(vsum_all(a)); }
HN_INLINE float vhmax(V a) { return vlane0(vmax_all(a)); }

HN_INLINE V vload_bf16_n(const uint16_t *p, int64_t n) { return vfloat(vi_shl(vi_load_u16_n(p, n), 16)); }
HN_INLINE V vload_bf16(const uint16_t *p) { return vload_bf16_n(p, VL); }

/* Lanes rounded to bf16, nearest even, as floats.  NaN is set apart: rounding could carry it into infinity.
 */
HN_INLINE V vround_bf16(V a) {
    VI b = vbits(a), odd = vi_and(vi_shr(b, 16), vi_set1(1));
    VI r = vi_add(b, vi_add(odd, vi_set1(0x7fff)));
    V quiet = vfloat(vi_or(b, vi_set1(0x400000)));
    V y = vblend(veq(a, a), vfloat(r), quiet);
    return vfloat(vi_and(vbits(y), vi_set1((int32_t)0xffff0000u)));
}
/* A word of two bf16 numbers (kv.h) as floats: the one in the lower half, the one in the upper. */
HN_INLINE V vlower(V a) { return vfloat(vi_shl(vbits(a), 16)); }
HN_INLINE V vupper(V a) { return vfloat(vi_and(vbits(a), vi_set1((int32_t)0xffff0000u))); }
HN_INLINE void vstore_bf16_n(uint16_t *p, int64_t n, V a) {
    vi_store_u16_n(p, n, vi_shr(vbits(vround_bf16(a)), 16));
}
HN_INLINE void vstore_bf16(uint16_t *p, V a) { vstore_bf16_n(p, VL, a); }

/* e^x within 1.2 ulp: x = n ln 2 + r, |r| <= ln 2 / 2, a polynomial in r by weighted least squares on
 * Chebyshev points, and n added to the exponent.  Results below the smallest normal number (x < -87.3) are 0,
 * so no denormal ever appears; x > 88.72 is inf; NaN stays NaN. */
HN_INLINE V vexp(V x) {
    const V big = vset1(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer, left in the low bits */
    V t = vfma(x, vset1(1.44269504f), big), n = vsub(t, big);
    V r =
        vfnma(n, vset1(0x1.62e4p-1f), x); /* ln 2 in two parts, the first with zeros to spare: n * hi exact */
    r = vfnma(n, vset1(0x1.7f7d1cp-20f), r);
    V p = vset1(0.00138138805f);
    p = vfma(p, r, vset1(0.00836906303f));
    p = vfma(p, r, vset1(0.0416684225f));
    p = vfma(p, r, vset1(0.166665182f));
    p = vfma(p, r, vset1(0.49999994f));
    p = vadd(vfma(vmul(r, r), p, r), vset1(1));
    V y = vfloat(vi_add(vbits(p), vi_shl(vbits(t), 23)));
    y = vblend(vlt(x, vset1(-87.3f)), vzero(), y);
    y = vblend(vle(x, vset1(88.7228317f)), y, vset1(INFINITY));
    return vblend(veq(x, x), y, x);
}
#endif
