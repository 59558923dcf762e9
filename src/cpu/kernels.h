/* kernels.h - the kernels of this backend, one for each op it overrides (backend.c has the table).
 *
 * hn_cpu_<op> runs a node (hn_kernel_fn), hn_cpu_<op>_scratch says how much y->work it needs.  The bits of
 * a row do not depend on the other rows, on the number of rows or on threads. */
#ifndef HN_CPU_KERNELS_H
#define HN_CPU_KERNELS_H

#include "tensor/tensor.h"

/* products.c.  A weight leaf that had packed copies (hn_tensor.side) when the tape was planned has them
 * whenever it runs; one that had none is packed on the way. */
hn_kernel_fn hn_cpu_linear, hn_cpu_linear_x, hn_cpu_linear_w, hn_cpu_linear_b, hn_cpu_logits;
size_t hn_cpu_linear_scratch(const hn_tensor *y);
size_t hn_cpu_linear_x_scratch(const hn_tensor *y);
size_t hn_cpu_linear_w_scratch(const hn_tensor *y);
size_t hn_cpu_linear_b_scratch(const hn_tensor *y);
size_t hn_cpu_logits_scratch(const hn_tensor *y);

/* logp.c */
hn_kernel_fn hn_cpu_logp, hn_cpu_logp_b;
size_t hn_cpu_logp_scratch(const hn_tensor *y);
size_t hn_cpu_logp_b_scratch(const hn_tensor *y);

/* attn.c, attn_back.c */
hn_kernel_fn hn_cpu_attn, hn_cpu_attnkv, hn_cpu_attn_b;
size_t hn_cpu_attn_scratch(const hn_tensor *y);
size_t hn_cpu_attn_b_scratch(const hn_tensor *y);

/* rows.c */
hn_kernel_fn hn_cpu_add, hn_cpu_sub, hn_cpu_mul, hn_cpu_affine, hn_cpu_accum;
hn_kernel_fn hn_cpu_rmsnorm, hn_cpu_rmsnorm_x, hn_cpu_rmsnorm_w, hn_cpu_headnorm, hn_cpu_headnorm_x,
    hn_cpu_headnorm_w;
hn_kernel_fn hn_cpu_rope, hn_cpu_rope_b, hn_cpu_swiglu, hn_cpu_swiglu_b;
hn_kernel_fn hn_cpu_gather, hn_cpu_scatter, hn_cpu_embed, hn_cpu_embed_w;
size_t hn_cpu_rmsnorm_w_scratch(const hn_tensor *y);
size_t hn_cpu_headnorm_w_scratch(const hn_tensor *y);

/* ---- what the files share ---- */
static inline size_t hn_room(size_t bytes) { return (bytes + 63) & ~(size_t)63; } /* whole cache lines */
static inline int64_t hn_least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t hn_most(int64_t a, int64_t b) { return a > b ? a : b; }
/* D of a row of H query, G key and G value heads; attr i[0] is H, i[1] is G. */
static inline int hn_head_size(const hn_tensor *y) {
    return (int)(hn_cols(y->in[0]) / (y->attr.i[0] + 2 * y->attr.i[1]));
}
#endif
