/* gguf_type.c - the numbers of GGUF tensors: plain types, and blocks of 32 with one scale. */
#include "format/gguf.h"
#include "format/half.h"

#include <math.h>
#include <string.h>

/* Numbers a block and bytes a block of every type of ggml; those without a name were removed from it. */
static const struct {
    const char *name;
    int32_t block, bytes;
} types[HN_GGUF_TYPES] = {
    [0] = { "F32", 1, 4 },         [1] = { "F16", 1, 2 },         [2] = { "Q4_0", 32, 18 },
    [3] = { "Q4_1", 32, 20 },      [6] = { "Q5_0", 32, 22 },      [7] = { "Q5_1", 32, 24 },
    [8] = { "Q8_0", 32, 34 },      [9] = { "Q8_1", 32, 36 },      [10] = { "Q2_K", 256, 84 },
    [11] = { "Q3_K", 256, 110 },   [12] = { "Q4_K", 256, 144 },   [13] = { "Q5_K", 256, 176 },
    [14] = { "Q6_K", 256, 210 },   [15] = { "Q8_K", 256, 292 },   [16] = { "IQ2_XXS", 256, 66 },
    [17] = { "IQ2_XS", 256, 74 },  [18] = { "IQ3_XXS", 256, 98 }, [19] = { "IQ1_S", 256, 50 },
    [20] = { "IQ4_NL", 32, 18 },   [21] = { "IQ3_S", 256, 110 },  [22] = { "IQ2_S", 256, 82 },
    [23] = { "IQ4_XS", 256, 136 }, [24] = { "I8", 1, 1 },         [25] = { "I16", 1, 2 },
    [26] = { "I32", 1, 4 },        [27] = { "I64", 1, 8 },        [28] = { "F64", 1, 8 },
    [29] = { "IQ1_M", 256, 56 },   [30] = { "BF16", 1, 2 },       [34] = { "TQ1_0", 256, 54 },
    [35] = { "TQ2_0", 256, 66 },   [39] = { "MXFP4", 32, 17 },    [40] = { "NVFP4", 64, 36 },
    [41] = { "Q1_0", 128, 18 },    [42] = { "Q2_0", 64, 18 },
};

const char *hn_gguf_type_name(uint32_t type) { return type < HN_GGUF_TYPES ? types[type].name : NULL; }

int64_t hn_gguf_bytes(uint32_t type, int64_t n) {
    int64_t size;
    hn_assert(hn_gguf_type_name(type) && n >= 0);
    if (n % types[type].block || __builtin_mul_overflow(n / types[type].block, types[type].bytes, &size))
        return -1;
    return size;
}

static uint16_t half_at(const unsigned char *p) { return (uint16_t)(p[0] | p[1] << 8); }

static void half_put(unsigned char *p, uint16_t h) {
    p[0] = (unsigned char)h;
    p[1] = (unsigned char)(h >> 8);
}

void hn_gguf_unpack(hn_gguf_type type, const unsigned char *p, int64_t n, float *x) {
    enum { B = HN_GGUF_BLOCK };
    hn_assert(hn_gguf_bytes(type, n) >= 0);
    switch (type) {
    case HN_GGUF_F32:
        if (n) memcpy(x, p, (size_t)n * 4);
        return;
    case HN_GGUF_F16:
        for (int64_t i = 0; i < n; i++) x[i] = hn_f16_to_f32(half_at(p + 2 * i));
        return;
    case HN_GGUF_BF16:
        for (int64_t i = 0; i < n; i++) x[i] = hn_bf16_to_f32(half_at(p + 2 * i));
        return;
    case HN_GGUF_Q8_0:
        for (; n > 0; n -= B, x += B, p += 2 + B) {
            float d = hn_f16_to_f32(half_at(p));
            for (int i = 0; i < B; i++) x[i] = (float)(p[2 + i] < 128 ? p[2 + i] : p[2 + i] - 256) * d;
        }
        return;
    case HN_GGUF_Q4_0:
        for (; n > 0; n -= B, x += B, p += 2 + B / 2) {
            float d = hn_f16_to_f32(half_at(p));
            for (int i = 0; i < B / 2; i++) {
                x[i] = (float)((p[2 + i] & 15) - 8) * d;
                x[i + B / 2] = (float)((p[2 + i] >> 4) - 8) * d;
            }
        }
        return;
    default: hn_assert(!"a type that is unpacked");
    }
}

/* As ggml does it: the scale is max|x| / 127 in f32 for the division, and rounded to f16 in the file. Numbers
 * so small that 1/scale overflows are zeros. */
static bool pack_q8(const float *x, unsigned char *p) {
    float most = 0;
    for (int i = 0; i < HN_GGUF_BLOCK; i++) {
        if (!isfinite(x[i])) return false;
        most = fmaxf(most, fabsf(x[i]));
    }
    float d = most / 127, inverse = d > 0 && isfinite(1 / d) ? 1 / d : 0;
    uint16_t h = hn_f16_from_f32(d);
    if (!isfinite(hn_f16_to_f32(h))) return false;
    half_put(p, h);
    for (int i = 0; i < HN_GGUF_BLOCK; i++) p[2 + i] = (unsigned char)(int)roundf(x[i] * inverse);
    return true;
}

/* As ggml does it: the number furthest from 0 becomes -8 exactly; the others are rounded to nearest, halves
 * upward, and those beyond 7 are 7. */
static bool pack_q4(const float *x, unsigned char *p) {
    enum { HALF = HN_GGUF_BLOCK / 2 };
    float far = 0;
    int q[HN_GGUF_BLOCK];
    for (int i = 0; i < HN_GGUF_BLOCK; i++) {
        if (!isfinite(x[i])) return false;
        if (fabsf(x[i]) > fabsf(far)) far = x[i];
    }
    float d = far / -8, inverse = d != 0 && isfinite(1 / d) ? 1 / d : 0;
    uint16_t h = hn_f16_from_f32(d);
    if (!isfinite(hn_f16_to_f32(h))) return false;
    half_put(p, h);
    for (int i = 0; i < HN_GGUF_BLOCK; i++) {
        q[i] = (int)(x[i] * inverse + 8.5f);
        if (q[i] > 15) q[i] = 15;
    }
    for (int i = 0; i < HALF; i++) p[2 + i] = (unsigned char)(q[i] | q[i + HALF] << 4);
    return true;
}

int hn_gguf_pack(hn_gguf_type type, const float *x, int64_t n, unsigned char *p) {
    hn_assert(hn_gguf_bytes(type, n) >= 0);
    switch (type) {
    case HN_GGUF_F32:
        if (n) memcpy(p, x, (size_t)n * 4);
        return HN_OK;
    case HN_GGUF_F16:
        for (int64_t i = 0; i < n; i++) {
            uint16_t h = hn_f16_from_f32(x[i]);
            if ((h & 0x7c00) == 0x7c00) return HN_ERANGE;
            half_put(p + 2 * i, h);
        }
        return HN_OK;
    case HN_GGUF_BF16:
        for (int64_t i = 0; i < n; i++) half_put(p + 2 * i, hn_bf16_from_f32(x[i]));
        return HN_OK;
    case HN_GGUF_Q8_0:
        for (; n > 0; n -= HN_GGUF_BLOCK, x += HN_GGUF_BLOCK, p += 2 + HN_GGUF_BLOCK)
            if (!pack_q8(x, p)) return HN_ERANGE;
        return HN_OK;
    case HN_GGUF_Q4_0:
        for (; n > 0; n -= HN_GGUF_BLOCK, x += HN_GGUF_BLOCK, p += 2 + HN_GGUF_BLOCK / 2)
            if (!pack_q4(x, p)) return HN_ERANGE;
        return HN_OK;
    default: hn_assert(!"a type that is packed"); return HN_EUNSUP;
    }
}
