/* half.h - the two 16-bit float formats of weight files, to and from f32.
 *
 * bf16 is the upper half of an f32; f16 is IEEE 754 binary16.  Both directions that widen are exact; the
 * others round to nearest, ties to even. */
#ifndef HN_HALF_H
#define HN_HALF_H

#include <stdint.h>
#include <string.h>

static inline float hn_bf16_to_f32(uint16_t h) {
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Rounds to nearest, ties to even; overflow goes to infinity; a NaN stays a (quiet) NaN of its sign. */
static inline uint16_t hn_bf16_from_f32(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

/* Overflow (65520 and above) goes to infinity; a NaN stays a quiet one.  Below 2^-14 the sum with 0.5, whose
 * last place is 2^-24, does the rounding. */
static inline uint16_t hn_f16_from_f32(float f) {
    uint32_t u, sign;
    memcpy(&u, &f, sizeof u);
    sign = u >> 16 & 0x8000u;
    u &= 0x7fffffffu;
    if (u > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (u >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
    if (u >= 0x38800000u) return (uint16_t)(sign | (u - 0x38000000u + 0xfffu + (u >> 13 & 1u)) >> 13);
    memcpy(&f, &u, sizeof f);
    f += 0.5f;
    memcpy(&u, &f, sizeof u);
    return (uint16_t)(sign | (u - 0x3f000000u));
}

static inline float hn_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exp = h >> 10 & 31u, man = h & 0x3ffu, u;
    float f;
    if (exp == 0) { /* zero and subnormals: man * 2^-24, exact in f32 */
        f = (float)man * 0x1p-24f;
        memcpy(&u, &f, sizeof u);
        u |= sign;
    } else {
        u = sign | (exp == 31 ? 0x7f800000u : (exp + 112) << 23) | man << 13;
    }
    memcpy(&f, &u, sizeof f);
    return f;
}
#endif
