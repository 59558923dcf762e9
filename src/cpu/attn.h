/* attn.h - attention by tiles: query rows x one block of HN_BLOCK keys of their path.
 *
 * Key block b of a path holds its positions [64 b, 64 b + 64): K transposed [D][64] and V [64][D], whether it
 * was gathered from a training batch or is a page of the cache.  A row visits its blocks in order and keeps
 * a running maximum m, a denominator l and a sum of values o (online softmax: Milakov and Gimelshein,
 * "Online normalizer calculation for softmax", 2018, eq. 4; by blocks as in Dao et al., "FlashAttention",
 * 2022, algorithm 1).  Inside a block:
 *
 *   s[j] = sum over d, one fused multiply-add after the other, of q[d] k[d][j]
 *   m' = max(m, max s[j] c),  c = log2(e) / sqrt(D);  p[j] = 2^(s[j] c - m'), exactly 0 where masked
 *   l  = l 2^(m - m') + p, lane by lane; the lanes are folded once, at the end
 *   o  = o 2^(m - m'), then o[d] += p[j] v[j][d] for j in order, by fused multiply-add
 *
 * Nothing here depends on the other rows, so training, prefill and decode give one row the same bits. */
#ifndef HN_ATTN_H
#define HN_ATTN_H

#include "cpu/cpu.h"
#include "tensor/kv.h"

enum { HN_ATTN_LANES = 16 }; /* the widest vector */

typedef struct hn_attn_row {
    const void *q;             /* [D] floats; bf16 where a unit computes (attn_unit.h) */
    float *o;                  /* [D] the running sum, in the end the output */
    float *lse;                /* log-sum-exp of the scaled scores; or NULL */
    int32_t pos;               /* sees keys [0, pos] of its path */
    float max;                 /* m: log2 units; -INFINITY before the first block */
    float lane[HN_ATTN_LANES]; /* l by lane */
} hn_attn_row;

/* Adds the block of keys that begins at path position `base` to n rows; those with pos < base stay as they
 * are.  A row's blocks come in order, the first one at base 0 (which starts the row). */
HN_TIERED_DECLARE(void, hn_attn_block,
                  (hn_attn_row * row, int n, const float *k, const float *v, int D, int base));
/* The same with keys and values of a bf16 cache (kv.h). */
HN_TIERED_DECLARE(void, hn_attn_block_bf16,
                  (hn_attn_row * row, int n, const void *k, const void *v, int D, int base));
/* After the last block: o = o / l, *lse = log(l) + m log 2. */
HN_TIERED_DECLARE(void, hn_attn_end, (hn_attn_row * row, int n, int D));
/* Writes n consecutive rows of [*, ld] (D columns) as keys [at, at + n) of the block t (kv.h). */
HN_TIERED_DECLARE(void, hn_attn_columns, (float *t, int at, const float *x, int64_t ld, int n, int D));

/* y = x, or y = y + x when `add`, for n rows of D columns, ldy and ldx apart. */
HN_TIERED_DECLARE(void, hn_attn_move,
                  (float *y, int64_t ldy, const float *x, int64_t ldx, int n, int D, bool add));

/* ---- gradients ----
 * With P the weights of a tile of rows over a block of keys, recomputed from lse, and go the gradient of o:
 *   dV += P^T go;  dS = P * (go V^T - delta) / sqrt(D), delta = sum of go * o;  dQ += dS K;  dK += dS^T Q
 * (FlashAttention, algorithm 4). */
enum { HN_ATTN_CHUNK = 48 }; /* rows at once: a multiple of the register tile that keeps P and dS near */

typedef struct hn_attn_chunk {
    int n, D;
    const float *q, *go;      /* [n, D] */
    const int32_t *pos;       /* [n] */
    const float *lse, *delta; /* [n] */
    float *dq;                /* [n, D], added to */
    float *p, *ds;            /* [HN_ATTN_CHUNK, 64] scratch */
} hn_attn_chunk;
/* The block at path position base: kt, vt (as keys, kv.h) and k [64][D] are read, dk, dv [64][D] added to.
 * The order of summation is fixed by the chunk alone. */
HN_TIERED_DECLARE(void, hn_attn_back,
                  (const hn_attn_chunk *c, int base, const float *kt, const float *vt, const float *k,
                   float *dk, float *dv));
/* Packs row i of the chunk (q, go to [D]) and gives delta. */
HN_TIERED_DECLARE(float, hn_attn_pack,
                  (float *q, float *go, const float *q_row, const float *go_row, const float *o_row, int D));
#endif
