/* gemm_q.h - products with weights in blocks of 8 or 4 bits, for models that only answer.
 *
 * C[m][n] = sum over blocks b of A[m][k] * W[n][k]  (+ bias[n]),  W in blocks of 32 k.
 *
 * A block of W is what GGUF's Q8_0 or Q4_0 makes of it: integers and one scale in f16.  The row of A is
 * rounded block by block to integers of 8 bits with a scale in f32 (largest magnitude / 127, nearest even).
 * In a block the products of integers are summed exactly; then, b ascending,
 *     acc = fma((float)sum, scale_a * scale_w, acc)
 * from 0 (in the plain C tier with two roundings), and the bias is added last.  So the bits of C[m][n] depend
 * on row m of A and row n of W alone, and are the same in every tier with a fused multiply-add: with vectors,
 * dot products of bytes (VNNI) or tiles (AMX), for one row or a thousand, on any number of threads.  A row of
 * A with a number that is not finite gives NaN everywhere. */
#ifndef HN_GEMM_Q_H
#define HN_GEMM_Q_H

#include "cpu/cpu.h"

/* W [N, K] packed, the same in every tier. */
typedef struct hn_qpack {
    hn_quant quant;
    int64_t K, N;
    void *data;
    size_t bytes;
} hn_qpack;

/* HN_QPANEL divides the column at which a part of a pack may begin. */
enum { HN_QPANEL = 16 };

/* HN_ENOMEM.  describe: without its data, for measuring. */
int hn_qpack_new(hn_qpack **p, int64_t K, int64_t N, hn_quant quant, hn_err *e);
int hn_qpack_describe(hn_qpack **p, int64_t K, int64_t N, hn_quant quant, hn_err *e);
void hn_qpack_free(hn_qpack *p);
/* W in rows one after the other.  HN_ERANGE: a number is not finite, or too large for a scale in f16. */
int hn_qpack_fill(hn_qpack *p, const float *w, hn_err *e);

/* Bytes of `work` (64-byte aligned, contents free) for up to M rows. */
size_t hn_gemm_q_work(int64_t M, int64_t K);
/* C[m*ldc + n - n0] for M rows A[m*lda + k] and columns [n0,n1), n0 a multiple of HN_QPANEL.  bias: of column
 * n0, or NULL. */
void hn_gemm_q(float *C, int64_t ldc, const float *A, int64_t lda, int64_t M, const hn_qpack *B, int64_t n0,
               int64_t n1, const float *bias, void *work);
#endif
