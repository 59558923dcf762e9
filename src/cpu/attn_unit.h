/* attn_unit.h - attention in bf16 on a unit that multiplies tiles.
 *
 * What attn.h computes, with every product of two numbers of 16 bits: queries, keys and values come rounded
 * (op rope), the weights P are rounded before P V, and in the gradient P, dS and go are.  Sums, the softmax
 * and its denominator are f32; the denominator sums the weights before they are rounded, so log-sum-exp has
 * no error of bf16.  Operands are rows of bf16 or words of two (kv.h).  The result of a row depends on
 * neither its neighbours nor on their number, nor on keys past its position, whose weights are exactly 0 and
 * whose values must be finite. */
#ifndef HN_ATTN_UNIT_H
#define HN_ATTN_UNIT_H

#include "cpu/attn.h"

enum {
    HN_UNIT_CHUNK = 64, /* rows of a chunk of the gradient */
    HN_UNIT_ROWS = 16,  /* rows are computed in groups of as many */
    HN_UNIT_HEAD = 256  /* the largest head */
};

/* Rows of the gradient, padded with rows of zeros to a multiple of 32. */
typedef struct hn_unit_chunk {
    int n, D, low, top;                                    /* smallest and largest position of n rows */
    const int32_t *pos;                                    /* [CHUNK]; -1 of rows past n */
    const float *less, *delta;                             /* [CHUNK] -lse log2(e); -delta / sqrt(D) */
    const uint32_t *q_keys, *go_keys, *q_pairs, *go_pairs; /* as keys and as pairs */
    float *dq;                                             /* [D, CHUNK] transposed, added to */
} hn_unit_chunk;

typedef struct hn_attn_unit {
    /* n rows of D floats, ld apart, to bf16 rows side by side. */
    void (*round)(uint16_t *y, const float *x, int64_t ld, int n, int D);
    /* Rows [0, n) and zeros up to `upto` (a multiple of 16; 32 for pairs) as keys of a page (kv.h), as values
     * of a page, or all 64 as [D, 64]. */
    void (*keys)(uint32_t *y, const uint16_t *rows, int n, int upto, int D);
    void (*pairs)(uint32_t *y, const uint16_t *rows, int n, int upto, int D);
    void (*columns)(uint16_t *y, const uint16_t *rows, int n, int D);
    /* hn_attn_block: q of the rows are bf16, side by side, with room to read for 15 more.  *rows is 0 before
     * the first call of a thread; it says how the unit is set up. */
    void (*block)(hn_attn_row *row, int n, const void *k, const void *v, int D, int base, int *rows);
    /* Rounds one row of the chunk and gives sum of go * o. */
    float (*pack)(uint16_t *q, uint16_t *go, const float *q_row, const float *go_row, const float *o_row,
                  int D);
    /* hn_attn_back for the block at base (<= c->top): k, v are rows [64, D], k_columns is [D, 64]. */
    void (*back)(const hn_unit_chunk *c, int base, const uint16_t *k, const uint16_t *v,
                 const uint16_t *k_columns, float *dk, float *dv, int *rows);
    void (*put)(float *const *y, const float *dq, int n, int D); /* row i of dq^T to y[i] */
    void (*finish)(void);                                        /* after the last call of a slice */
} hn_attn_unit;

#if defined(__x86_64__)
extern const hn_attn_unit hn_attn_unit_amx;
#endif

/* The unit for heads of D numbers in precision prec; NULL: attention is computed in f32 (attn.h). */
static inline const hn_attn_unit *hn_attn_unit_for(int64_t prec, int64_t D) {
#if defined(__x86_64__)
    if (hn_cpu_tier() == HN_TIER_AMX && prec == HN_PREC_BF16 && D % 16 == 0 && D <= HN_UNIT_HEAD)
        return &hn_attn_unit_amx;
#endif
    (void)prec, (void)D;
    return NULL;
}
#endif
