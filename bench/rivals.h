/* rivals.h - OpenBLAS and oneDNN for comparison, opened at run time: a machine without them skips the rows.
 *
 * oneDNN is called through its C interface of version 2 (libdnnl.so.2), declared here so that its headers are
 * not needed to build; descriptors are opaque memory, larger than any 2.x needs. */
#ifndef HN_RIVALS_H
#define HN_RIVALS_H

#include "base/base.h"

/* NULL when it cannot be opened; then *why says so. */
const char *hn_rivals_open(void); /* what is missing, or "" */
bool hn_rival_blas(void);
bool hn_rival_dnnl(void);
void hn_rival_threads(int n); /* for oneDNN; OpenBLAS rows split the rows or columns over our pool */

/* Y[M,N] = X[M,K] W[N,K]^T in f32. */
void hn_blas_gemm(float *Y, const float *X, const float *W, int64_t M, int64_t K, int64_t N);

/* The same prepared: weights reordered once to the layout oneDNN likes best; X already in the precision. */
typedef struct hn_dnnl_gemm hn_dnnl_gemm;
hn_dnnl_gemm *hn_dnnl_new(const float *X, const float *W, int64_t M, int64_t K, int64_t N, hn_prec prec);
void hn_dnnl_run(hn_dnnl_gemm *g);
const float *hn_dnnl_result(const hn_dnnl_gemm *g);
void hn_dnnl_free(hn_dnnl_gemm *g);
#endif
