/* backend.c - which kernel runs which op on this processor.
 *
 * An op that is not in the table (small ones that losses are made of) runs its reference. */
#include "cpu/backend.h"

#include "cpu/kernels.h"
#include "cpu/logp.h"
#include "cpu/optim.h"
#include "cpu/pack.h"
#include "op/ops.h"

typedef struct entry {
    const hn_op *op;
    hn_kernel_fn *run;
    size_t (*scratch)(const hn_tensor *y);
} entry;

/* clang-format off */
#define PLAIN(name) { &hn_op_##name, hn_cpu_##name, NULL }
#define ROOMY(name) { &hn_op_##name, hn_cpu_##name, hn_cpu_##name##_scratch }
static const entry table[] = {
    PLAIN(add), PLAIN(sub), PLAIN(mul), PLAIN(affine), PLAIN(accum),
    PLAIN(gather), PLAIN(scatter), PLAIN(embed), PLAIN(embed_w),
    ROOMY(linear), ROOMY(linear_x), ROOMY(linear_w), ROOMY(linear_b),
    PLAIN(rmsnorm), PLAIN(rmsnorm_x), ROOMY(rmsnorm_w),
    PLAIN(headnorm), PLAIN(headnorm_x), ROOMY(headnorm_w),
    PLAIN(rope), PLAIN(rope_b), PLAIN(swiglu), PLAIN(swiglu_b),
    ROOMY(attn), ROOMY(attn_b), PLAIN(attnkv),
    ROOMY(logp), ROOMY(logp_b), ROOMY(logits),
};
/* clang-format on */

static const entry *find(const hn_tensor *y) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].op == y->op) return table + i;
    return NULL;
}
static hn_kernel_fn *kernel(const hn_tensor *y) {
    const entry *x = find(y);
    return x ? x->run : NULL;
}
static size_t scratch(const hn_tensor *y) {
    const entry *x = find(y);
    return x && x->scratch ? x->scratch(y) : 0;
}

static void adamw(float *w, float *m, float *v, const float *g, int64_t n, const hn_adamw_now *a) {
    HN_TIER_PICK(hn_adamw_run)(w, m, v, g, n, a);
}
static double sum_squares(const float *g, int64_t n) { return HN_TIER_PICK(hn_sum_squares)(g, n); }

const hn_backend hn_backend_cpu = { .name = "cpu",
                                    .kernel = kernel,
                                    .scratch = scratch,
                                    .side = hn_weight_pack_set,
                                    .side_quant = hn_weight_pack_quant,
                                    .side_free = hn_weight_pack_free,
                                    .side_bytes = hn_weight_pack_bytes,
                                    .row_logp = hn_cpu_row_logp,
                                    .adamw = adamw,
                                    .sum_squares = sum_squares };
