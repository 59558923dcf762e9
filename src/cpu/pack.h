/* pack.h - what this backend keeps beside a weight leaf (hn_tensor.side). */
#ifndef HN_CPU_PACK_H
#define HN_CPU_PACK_H

#include "cpu/gemm.h"
#include "cpu/gemm_q.h"
#include "tensor/tensor.h"

/* W is [O, C].  Either q holds it in blocks of few bits, or fwd holds B[k][n] = W[n][k], for x W^T; bwd holds
 * B[k][n] = W[k][n], for g W. */
typedef struct hn_weight_pack {
    hn_pack *fwd, *bwd; /* bwd NULL where there are no gradients */
    hn_qpack *q;
} hn_weight_pack;

/* hn_backend.side, .side_free and .side_bytes: makes or refreshes the copies (w NULL: only their sizes).
 * After a change of tier, precision or shape they are made anew.  HN_ENOMEM. */
int hn_weight_pack_set(void **side, const float *w, int64_t rows, int64_t cols, hn_prec p, bool backward,
                       hn_err *e);
/* hn_backend.side_quant.  HN_ENOMEM, HN_ERANGE. */
int hn_weight_pack_quant(void **side, const float *w, int64_t rows, int64_t cols, hn_quant q, hn_err *e);
void hn_weight_pack_free(void *side);
size_t hn_weight_pack_bytes(const void *side, bool backward);

/* The copies of a weight tensor; NULL when it has none and must be packed on the way.  A copy that is there
 * but was made for another tier or precision is the caller's fault. */
const hn_pack *hn_side_fwd(const hn_tensor *w, hn_prec p);
const hn_pack *hn_side_bwd(const hn_tensor *w, hn_prec p);
/* The copy in blocks of few bits; NULL: there is none, and the two above are to be asked. */
const hn_qpack *hn_side_q(const hn_tensor *w);
#endif
