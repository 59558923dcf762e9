/* ops.h - every operation, one line each.
 *
 * A line declares the function, puts the operation in the table, names the file the build compiles
 * (src/op/<first word>.c) and is the documentation.  To add an operation: write that file, add a line
 * here.  Nothing else needs to know.
 *
 * Letters: N tokens, A acts, S samples, C channels, H query heads, G key-value heads, D head size,
 * F feed-forward size, V vocabulary, R rows of any kind. */
#ifndef HN_OP /* the plain include; tables define HN_OP first */
#include "tensor/tensor.h"
#define HN_OP(file, name, args)                                                                                        \
    extern const hn_op hn_op_##name;                                                                                   \
    hn_tensor *hn_##name args;
#define HN_OPS_DECLARE 1
#endif

/* clang-format off */
/* elementwise, for losses */
HN_OP(arith,   add,      (hn_tape *t, hn_tensor *a, hn_tensor *b))              /* a + b */
HN_OP(arith,   sub,      (hn_tape *t, hn_tensor *a, hn_tensor *b))              /* a - b */
HN_OP(arith,   mul,      (hn_tape *t, hn_tensor *a, hn_tensor *b))              /* a * b */
HN_OP(arith,   min,      (hn_tape *t, hn_tensor *a, hn_tensor *b))              /* smaller of a, b; ties: gradient to a */
HN_OP(arith,   affine,   (hn_tape *t, hn_tensor *a, double s, double c))        /* s * a + c */
HN_OP(arith,   exp,      (hn_tape *t, hn_tensor *a))                            /* e^a */
HN_OP(arith,   clip,     (hn_tape *t, hn_tensor *a, double lo, double hi))      /* a held in [lo,hi]; no gradient outside */
HN_OP(arith,   logsig,   (hn_tape *t, hn_tensor *a))                            /* log(1/(1+e^-a)), stable */
HN_OP(arith,   sigmoid,  (hn_tape *t, hn_tensor *a))                            /* 1/(1+e^-a) */
/* sums and moves */
HN_OP(reduce,  sum,      (hn_tape *t, hn_tensor *a))                            /* [..] -> [1], in order, in double */
HN_OP(reduce,  spread,   (hn_tape *t, hn_tensor *a, hn_tensor *like))           /* [1] -> shape of like */
HN_OP(reduce,  segsum,   (hn_tape *t, hn_tensor *a, hn_tensor *seg, hn_tensor *like)) /* [R],[R] i32 -> [rows of like]: sum by seg */
HN_OP(move,    gather,   (hn_tape *t, hn_tensor *x, hn_tensor *id))             /* [R,C],[A] i32 -> [A,C] rows of x ([R],[A] -> [A]) */
HN_OP(move,    scatter,  (hn_tape *t, hn_tensor *g, hn_tensor *id, hn_tensor *like)) /* its transpose, added in order */
/* the transformer */
HN_OP(embed,   embed,    (hn_tape *t, hn_tensor *w, hn_tensor *id))             /* [V,C],[N] -> [N,C] */
HN_OP(linear,  linear,   (hn_tape *t, hn_tensor *x, hn_tensor *w, hn_tensor *b, hn_prec p)) /* [N,C],[O,C],[O]|NULL -> [N,O] x w^T + b */
HN_OP(norm,    rmsnorm,  (hn_tape *t, hn_tensor *x, hn_tensor *w, double eps))  /* [N,C],[C] -> [N,C] */
HN_OP(norm,    headnorm, (hn_tape *t, hn_tensor *qkv, hn_tensor *wq, hn_tensor *wk, int H, int G, double eps)) /* RMS norm of each q and k head; v copied */
HN_OP(rope,    rope,     (hn_tape *t, hn_tensor *qkv, hn_tensor *pos, hn_tensor *freq, int H, int G)) /* rotates q and k halves by pos*freq[D/2]; v copied */
HN_OP(attn,    attn,     (hn_tape *t, hn_tensor *qkv, hn_tensor *span, int H, int G)) /* [N,(H+2G)D],[S,3] -> o [N,HD], lse [N,H]: causal over the forest */
HN_OP(attnkv,  attnkv,   (hn_tape *t, hn_tensor *qkv, hn_tensor *row, hn_tensor *kv, int H, int layer)) /* rows (slot,pos) [N,2] write their k,v to the cache, attend -> [N,HD] */
HN_OP(swiglu,  swiglu,   (hn_tape *t, hn_tensor *gu))                           /* [N,2F] (gate, up) -> [N,F] silu(gate) * up */
HN_OP(logp,    logp,     (hn_tape *t, hn_tensor *h, hn_tensor *w, hn_tensor *target, double temperature, int64_t vocab, hn_prec p))
                                                                                /* [A,C],[V,C],[A] -> logp [A] at temperature, stat [A,4]
                                                                                   {logp at 1, entropy, target is the argmax, logsumexp}; ids >= vocab masked */
HN_OP(logits,  logits,   (hn_tape *t, hn_tensor *h, hn_tensor *w, int64_t vocab, hn_prec p)) /* [R,C],[V,C] -> [R,V]; ids >= vocab are -inf; no gradient */
/* clang-format on */

#ifdef HN_OPS_DECLARE
#undef HN_OPS_DECLARE
#endif
#undef HN_OP
