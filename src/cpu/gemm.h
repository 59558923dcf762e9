/* gemm.h - matrix products with one order of summation.
 *
 * C[m][n] (+)= sum over k of A[m][k] * B[k][n]  (+ bias[n]),  k = 0 .. K-1.
 *
 * The contract (design.md section 5).  Within a tier and a precision the bits of C[m][n] depend on row m of
 * A, column n of B, bias[n] and the old C[m][n] alone: not on M or N, not on where the row or column lies,
 * not on blocking, packing or threads.  One row is computed as it would be among thousands; K is never split
 * between threads.  In detail: f32                  one chain from 0: acc = fma(A[m][k], B[k][n], acc), k
 * ascending (in the plain C tier acc = A*B + acc with two roundings) bf16 on AMX          A and B rounded to
 * bf16 (nearest even); k in steps of 32, ascending: a step's products are summed by the tile unit in its own
 * fixed order and added to acc; K is padded with zeros to a multiple of 32, which changes nothing bf16 on
 * other tiers  A and B rounded to bf16, then the f32 chain last                 t = acc, or acc + bias[n];  C
 * = t, or C + t when accumulating Between tiers bits may differ.
 *
 * Weights are packed once and used until they change: a pack for Y = X W^T (rs 1, cs K: B[k][n] = W[n][k])
 * and, where gradients are wanted, one for dX = dY W (rs K, cs 1).  dW = dY^T X has no fixed side: hn_gemm.
 *
 * Work memory is the caller's (64-byte aligned, contents free): the *_work functions say how much for the
 * tier of the moment.  Nothing here allocates except hn_pack_new, so nothing else can fail.  All products run
 * over the pool; called inside a slice they run in that thread. */
#ifndef HN_GEMM_H
#define HN_GEMM_H

#include "cpu/cpu.h"

/* One side of a product in the layout its tier reads.  Made under one tier, useless under another. */
typedef struct hn_pack {
    hn_tier tier;
    hn_prec prec;
    int64_t K, N;
    void *data;
    size_t bytes;
} hn_pack;

/* HN_PANEL divides the column at which a part of a pack may begin, HN_KSTEP the k. */
enum { HN_PANEL = 64, HN_KSTEP = 32 };

/* Room for a K x N side; contents are zeros until filled.  HN_ENOMEM. */
int hn_pack_new(hn_pack **p, int64_t K, int64_t N, hn_prec prec, hn_err *e);
/* The same without its data: for measuring. */
int hn_pack_describe(hn_pack **p, int64_t K, int64_t N, hn_prec prec, hn_err *e);
void hn_pack_free(hn_pack *p);
/* B[k][n] = src[k*rs + n*cs].  Call again whenever the weights have changed. */
void hn_pack_fill(hn_pack *p, const float *src, int64_t rs, int64_t cs);

/* Which of the matrices lie in memory as bf16 (uint16_t) and not as floats; strides count elements.  Bits are
 * those of the same numbers as floats, C's rounded at the end.  A bf16 C cannot be accumulated to. */
enum { HN_HALF_A = 1, HN_HALF_B = 2, HN_HALF_C = 4 };

/* Bytes of `work` for up to M rows of A[m][k] = A[m*ars + k*acs]; 0: work may be NULL. */
size_t hn_gemm_packed_work(int64_t M, int64_t K, int64_t N, int64_t acs, hn_prec prec, unsigned half);
/* C[m*ldc + n] for all M rows and B->N columns.  bias: [N] or NULL.  C may not overlap the inputs. */
void hn_gemm_packed(void *C, int64_t ldc, const void *A, int64_t ars, int64_t acs, int64_t M,
                    const hn_pack *B, const float *bias, bool accumulate, unsigned half, void *work);

/* The same with a part of B: k in [k0,k1) (k0 a multiple of HN_KSTEP, and k1 too or K) and columns [n0,n1)
 * (n0 a multiple of HN_PANEL).  A's first column is k0, C's and bias's first is n0. */
typedef struct hn_part {
    int64_t k0, k1, n0, n1;
} hn_part;
void hn_gemm_part(void *C, int64_t ldc, const void *A, int64_t ars, int64_t acs, int64_t M, const hn_pack *B,
                  hn_part part, const float *bias, bool accumulate, unsigned half, void *work);

/* Both sides plain, packed into work on the way: C[m*ldc + n] (+)= sum_k A[m*ars + k*acs] * B[k*brs + n*bcs].
 */
size_t hn_gemm_work(int64_t M, int64_t K, int64_t N, int64_t acs, hn_prec prec, unsigned half);
void hn_gemm(void *C, int64_t ldc, const void *A, int64_t ars, int64_t acs, const void *B, int64_t brs,
             int64_t bcs, int64_t M, int64_t K, int64_t N, hn_prec prec, const float *bias, bool accumulate,
             unsigned half, void *work);
#endif
