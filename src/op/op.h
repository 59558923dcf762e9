/* op.h - what the files in src/op/ share: short ways to say common things. */
#ifndef HN_OP_H
#define HN_OP_H

#include "op/ops.h"

#include <string.h>

#define HN_S1(a)                                                                                             \
    {                                                                                                        \
        1, HN_FIXED, { a }                                                                                   \
    }
#define HN_S2(a, b)                                                                                          \
    {                                                                                                        \
        2, HN_FIXED, { a, b }                                                                                \
    }
/* The same for cases, with rows that are live: tokens, acts, spans {begin, len, parent}. */
#define HN_T1(a)                                                                                             \
    {                                                                                                        \
        1, HN_TOKENS, { a }                                                                                  \
    }
#define HN_T2(a, b)                                                                                          \
    {                                                                                                        \
        2, HN_TOKENS, { a, b }                                                                               \
    }
#define HN_A1(a)                                                                                             \
    {                                                                                                        \
        1, HN_ACTS, { a }                                                                                    \
    }
#define HN_A2(a, b)                                                                                          \
    {                                                                                                        \
        2, HN_ACTS, { a, b }                                                                                 \
    }
#define HN_SPAN(n)                                                                                           \
    {                                                                                                        \
        2, HN_SPANS, { n, 3 }                                                                                \
    }
#define HN_IN(y, k)             ((const hn_real *)(y)->in[k]->data)
#define HN_INI(y, k)            ((const int32_t *)(y)->in[k]->data)
#define HN_OUT(y, k)            ((hn_real *)(y)->out[k]->data)
/* HN_APPLY(t, op, attr, inputs...): NULL for an optional input that is absent. */
#define HN_APPLY(t, op, a, ...) hn_apply(t, &(op), a, (hn_tensor *const[HN_MAXIN]){ __VA_ARGS__ })
#define HN_NOATTR               ((hn_attr){ { 0 }, { 0 } })

/* A matrix with the rows of x (live as they are) and `cols` columns. */
static inline hn_shape hn_rows_like(const hn_tensor *x, int64_t cols) {
    return (hn_shape){ 2, x->shape.live, { x->shape.d[0], cols } };
}

static inline bool hn_same_shape(const hn_tensor *a, const hn_tensor *b) {
    if (a->shape.nd != b->shape.nd || a->shape.live != b->shape.live) return false;
    for (int i = 0; i < a->shape.nd; i++)
        if (a->shape.d[i] != b->shape.d[i]) return false;
    return true;
}

static inline bool hn_same_rows(const hn_tensor *a, const hn_tensor *b) {
    return a->shape.live == b->shape.live && a->shape.d[0] == b->shape.d[0];
}

static inline bool hn_is(const hn_tensor *x, hn_dtype type, int nd) {
    return x->type == type && x->shape.nd == nd;
}

/* Reals that may be stored in bf16: read with hn_get, written with hn_put. */
static inline bool hn_is_real(const hn_tensor *x, int nd) {
    return hn_is(x, HN_F, nd) || hn_is(x, HN_BF16, nd);
}
static inline hn_real hn_get(const hn_tensor *x, int64_t i) {
    if (x->type != HN_BF16 || sizeof(hn_real) != 4) return ((const hn_real *)x->data)[i];
    return (hn_real)hn_from_bf16(((const uint16_t *)x->data)[i]);
}
static inline void hn_put(const hn_tensor *y, int64_t i, hn_real v) {
    if (y->type != HN_BF16 || sizeof(hn_real) != 4) ((hn_real *)y->data)[i] = v;
    else ((uint16_t *)y->data)[i] = hn_bf16((float)v);
}

/* g, just recorded, is the gradient of x.  Where a product made x, products alone will read g: it is stored
 * as they read it. */
static inline hn_tensor *hn_grad_stored(hn_tensor *g, const hn_tensor *x) {
    return x->op == &hn_op_linear ? hn_stored(g, (hn_prec)x->attr.i[0]) : g;
}

/* A vector of reals of n elements that does not change with live counts: a weight. */
static inline bool hn_is_weight(const hn_tensor *x, int64_t n) {
    return hn_is(x, HN_F, 1) && x->shape.live == HN_FIXED && x->shape.d[0] == n;
}

/* x as a matrix product of precision `prec` reads it: bfloat16, nearest even.  The double build checks
 * gradients, so it reads everything as it is. */
static inline hn_real hn_read(hn_real x, int64_t prec) {
    if (prec != HN_PREC_BF16 || sizeof(hn_real) != 4) return x;
    return (hn_real)hn_from_bf16(hn_bf16((float)x));
}
#endif
