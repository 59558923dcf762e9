/* logp.h - log-softmax of a row of logits, chunk by chunk of HN_VCHUNK columns: one routine for the sampler,
 * which has the whole row, and the learner, which never has (op/softmax.h).
 *
 * Per chunk, with z = logit * (1 / temperature) in f32 and m' = max(m, max z):
 *     s' = s e^(m - m') + sum e^(z - m'),  t' = (t + s (m - m')) e^(m - m') + sum (z - m') e^(z - m')
 * (t for the entropy, log s - t / s); the sums inside a chunk run in vectors that are folded at its end. */
#ifndef HN_CPU_LOGP_H
#define HN_CPU_LOGP_H

#include "cpu/cpu.h"
#include "tensor/tensor.h"

typedef struct hn_logp_row {
    float inv;     /* 1 / temperature */
    float m, s, t; /* at temperature */
    float m1, s1;  /* at 1 */
    float top;     /* largest logit so far, */
    int64_t best;  /* and the first id that has it */
} hn_logp_row;

void hn_logp_row_init(hn_logp_row *r, double temperature);
/* Adds logits of ids [v0, v0 + n), n <= HN_VCHUNK, v0 a multiple of HN_VCHUNK, in order of v0. */
HN_TIERED_DECLARE(void, hn_logp_chunk, (hn_logp_row * r, const float *z, int64_t v0, int64_t n));

/* For the token whose logit is z, after all chunks. */
HN_TIERED_DECLARE(hn_row, hn_logp_end, (const hn_logp_row *r, float z));

/* In place: z[i] becomes the gradient of g * logp(target) in the logit, g (onehot - p) / T.
 * `target` counts inside the chunk (outside of [0, n): not here); lse as hn_logp_end gave it. */
HN_TIERED_DECLARE(void, hn_logp_grad, (float *z, int64_t n, int64_t target, float inv, float lse, float g));

/* hn_backend.row_logp: all of it over a whole row. */
void hn_cpu_row_logp(const float *logit, int64_t vocab, int32_t id, double temperature, hn_row *row);
#endif
