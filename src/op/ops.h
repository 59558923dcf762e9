/* ops.h - every operation, one line each.
 *
 * A line declares the function, puts the operation in the table, names the file the build compiles
 * (src/op/<first word>.c) and is the documentation.  To add an operation: write that file, add a line
 * here.  Nothing else needs to know.
 *
 * Names that end in _b, _x, _w are gradients: of the whole op, in its input, in its weight.  They are ops
 * like the others, so a backend overrides them by `y->op == &hn_op_attn_b`.  "acc": the output is added
 * to (hn_op.acc).  "or NULL" after an output: data is NULL when nobody reads it (hn_op.spare).
 *
 * Attributes: linear* i[0] prec; norms f[0] eps; headnorm*, rope*, attn* i[0] H, i[1] G, rope, attn* i[2]
 * prec; attnkv i[0] H, i[1] layer; logp*, logits i[0] prec, i[1] vocab, f[0] temperature; affine f[0] s, f[1]
 * c; clip* f[0] lo, f[1] hi.
 *
 * Outputs of linear, rmsnorm, swiglu, swiglu_b and rope_b may be stored in bf16 (hn_stored), and linear*,
 * swiglu* read what is.
 *
 * Letters: N tokens, A acts, S samples, C channels, H query heads, G key-value heads, D head size,
 * F feed-forward size, V vocabulary, R rows of any kind. */
#ifndef HN_OP /* the plain include; tables define HN_OP first */
#include "tensor/tensor.h"
#define HN_OP(file, name, args)                                                                              \
    extern const hn_op hn_op_##name;                                                                         \
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
HN_OP(arith,   min_b,    (hn_tape *t, hn_tensor *a, hn_tensor *b, hn_tensor *g)) /* g where a <= b, else 0 */
HN_OP(arith,   clip_b,   (hn_tape *t, hn_tensor *a, hn_tensor *g, double lo, double hi)) /* g where lo <= a <= hi, else 0 */
/* sums and moves */
HN_OP(reduce,  sum,      (hn_tape *t, hn_tensor *a))                            /* [..] -> [1], in order, in double */
HN_OP(reduce,  spread,   (hn_tape *t, hn_tensor *a, hn_tensor *like))           /* [1] -> shape of like */
HN_OP(reduce,  segsum,   (hn_tape *t, hn_tensor *a, hn_tensor *seg, hn_tensor *like)) /* [R],[R] i32 -> [rows of like]: sum by seg */
HN_OP(move,    gather,   (hn_tape *t, hn_tensor *x, hn_tensor *id))             /* [R,C],[A] i32 -> [A,C] rows of x ([R],[A] -> [A]) */
HN_OP(move,    scatter,  (hn_tape *t, hn_tensor *g, hn_tensor *id, hn_tensor *like)) /* its transpose, added in order */
HN_OP(move,    accum,    (hn_tape *t, hn_tensor *x))                            /* acc like x: adds x to what is there (hn_grad, `into`) */
/* the transformer */
HN_OP(embed,   embed,    (hn_tape *t, hn_tensor *w, hn_tensor *id))             /* [V,C],[N] -> [N,C] */
HN_OP(embed,   embed_w,  (hn_tape *t, hn_tensor *g, hn_tensor *id, hn_tensor *w)) /* [N,C],[N], w for its shape -> acc [V,C] */
HN_OP(linear,  linear,   (hn_tape *t, hn_tensor *x, hn_tensor *w, hn_tensor *b, hn_prec p)) /* [N,C],[O,C],[O]|NULL -> [N,O] x w^T + b */
HN_OP(linear,  linear_x, (hn_tape *t, hn_tensor *g, hn_tensor *w, hn_prec p))   /* [N,O],[O,C] -> [N,C] g w */
HN_OP(linear,  linear_w, (hn_tape *t, hn_tensor *g, hn_tensor *x, hn_prec p))   /* [N,O],[N,C] -> acc [O,C] g^T x */
HN_OP(linear,  linear_b, (hn_tape *t, hn_tensor *g))                            /* [N,O] -> acc [O] sum of rows */
HN_OP(norm,    rmsnorm,  (hn_tape *t, hn_tensor *x, hn_tensor *w, double eps))  /* [N,C],[C] -> [N,C] */
HN_OP(norm,    rmsnorm_x,(hn_tape *t, hn_tensor *x, hn_tensor *w, hn_tensor *g, double eps)) /* [N,C],[C],[N,C] -> [N,C] */
HN_OP(norm,    rmsnorm_w,(hn_tape *t, hn_tensor *x, hn_tensor *w, hn_tensor *g, double eps)) /* w for its shape -> acc [C] */
HN_OP(norm,    headnorm, (hn_tape *t, hn_tensor *qkv, hn_tensor *wq, hn_tensor *wk, int H, int G, double eps)) /* RMS norm of each q and k head; v copied */
HN_OP(norm,    headnorm_x,(hn_tape *t, hn_tensor *qkv, hn_tensor *wq, hn_tensor *wk, hn_tensor *g, int H, int G, double eps)) /* -> like qkv */
HN_OP(norm,    headnorm_w,(hn_tape *t, hn_tensor *qkv, hn_tensor *wq, hn_tensor *wk, hn_tensor *g, int H, int G, double eps)) /* wq, wk for shapes -> acc [D] of wq, acc [D] of wk */
HN_OP(rope,    rope,     (hn_tape *t, hn_tensor *qkv, hn_tensor *pos, hn_tensor *freq, int H, int G, hn_prec p)) /* rotates q and k halves by pos*freq[D/2]; v copied; in bf16 all rounded */
HN_OP(rope,    rope_b,   (hn_tape *t, hn_tensor *g, hn_tensor *pos, hn_tensor *freq, int H, int G)) /* rotates back: its transpose */
HN_OP(attn,    attn,     (hn_tape *t, hn_tensor *qkv, hn_tensor *span, int H, int G, hn_prec p)) /* [N,(H+2G)D],[S,3] -> o [N,HD], lse [N,H]: causal over the forest; in bf16 of rounded q, k, v */
HN_OP(attn,    attn_b,   (hn_tape *t, hn_tensor *qkv, hn_tensor *o, hn_tensor *lse, hn_tensor *go, hn_tensor *span, int H, int G, hn_prec p)) /* -> [N,(H+2G)D] */
HN_OP(attnkv,  attnkv,   (hn_tape *t, hn_tensor *qkv, hn_tensor *row, hn_tensor *kv, int H, int layer)) /* rows (slot,pos) [N,2] write their k,v to the cache, attend -> [N,HD] */
HN_OP(swiglu,  swiglu,   (hn_tape *t, hn_tensor *gu))                           /* [N,2F] (gate, up) -> [N,F] silu(gate) * up */
HN_OP(swiglu,  swiglu_b, (hn_tape *t, hn_tensor *gu, hn_tensor *g))             /* [N,2F],[N,F] -> [N,2F] */
HN_OP(logp,    logp,     (hn_tape *t, hn_tensor *h, hn_tensor *w, hn_tensor *target, double temperature, int64_t vocab, hn_prec p))
                                                                                /* [A,C],[V,C],[A] -> logp [A] at temperature, stat [A,4]
                                                                                   {logp at temperature 1, entropy at temperature, 1 when target is the
                                                                                   first argmax, logsumexp at temperature}; ids >= vocab are not there */
HN_OP(logp,    logp_b,   (hn_tape *t, hn_tensor *h, hn_tensor *w, hn_tensor *target, hn_tensor *logp, hn_tensor *stat, hn_tensor *g, double temperature, int64_t vocab, hn_prec p))
                                                                                /* g [A] of logp -> gh [A,C] or NULL, acc gw [V,C] or NULL */
HN_OP(logits,  logits,   (hn_tape *t, hn_tensor *h, hn_tensor *w, int64_t vocab, hn_prec p)) /* [R,C],[V,C] -> [R,V]; ids >= vocab are -inf; no gradient */
/* clang-format on */

#ifdef HN_OPS_DECLARE
#undef HN_OPS_DECLARE
#endif
#undef HN_OP
