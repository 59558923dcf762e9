/* softmax.h - the log-sum-exp of a row of logits in chunks of fixed size: one routine for the learner and
 * the sampler.
 *
 * A log-probability stored when a token was drawn must be the number that training computes for it, to
 * the bit (design.md section 1).  Training sees logits in chunks of the vocabulary and never a whole row;
 * so the order of summation is by chunk everywhere: columns [0,512), [512,1024), ... of the first `vocab`
 * columns, each
 *     m' = max(m, max z),  s' = s exp(m - m') + sum exp(z - m'),  t' = (t + s (m - m')) exp(m - m') + sum (z
 * - m') exp(z - m') with z = logit / temperature (Milakov and Gimelshein 2018, with t for the entropy). These
 * are the functions of the reference kernels; a backend has its own with the same chunks. */
#ifndef HN_SOFTMAX_H
#define HN_SOFTMAX_H

#include "tensor/tensor.h"

#include <math.h>

enum { HN_VCHUNK = 512 };

typedef struct hn_lse {
    double m, s, t; /* largest z so far; sum exp(z - m); sum (z - m) exp(z - m) */
} hn_lse;

static inline void hn_lse_init(hn_lse *a) { *a = (hn_lse){ -INFINITY, 0, 0 }; }

/* Adds one chunk of n <= HN_VCHUNK logits (finite or -inf), each times inv_temp. */
static inline void hn_lse_add(hn_lse *a, const hn_real *logit, int64_t n, double inv_temp) {
    double m = a->m;
    for (int64_t i = 0; i < n; i++) {
        double z = logit[i] * inv_temp;
        m = z <= m || isnan(m) ? m : z; /* a NaN gets in and stays */
    }
    if (m == -INFINITY) return;
    double shrink = a->s > 0 ? exp(a->m - m) : 0, s = a->s * shrink;
    double t = a->s > 0 ? (a->t + a->s * (a->m - m)) * shrink : 0;
    for (int64_t i = 0; i < n; i++) {
        double z = logit[i] * inv_temp - m, p = z == -INFINITY ? 0 : exp(z);
        s += p;
        t += p > 0 ? z * p : 0;
    }
    *a = (hn_lse){ m, s, t };
}

/* log sum exp z. */
static inline double hn_lse_get(const hn_lse *a) { return a->m + log(a->s); }

/* Entropy of the distribution in nats: log s - t / s. */
static inline double hn_lse_entropy(const hn_lse *a) { return log(a->s) - a->t / a->s; }

/* A whole row of `vocab` logits. */
static inline hn_lse hn_lse_row(const hn_real *logit, int64_t vocab, double inv_temp) {
    hn_lse a;
    hn_lse_init(&a);
    for (int64_t v = 0; v < vocab; v += HN_VCHUNK)
        hn_lse_add(&a, logit + v, vocab - v < HN_VCHUNK ? vocab - v : HN_VCHUNK, inv_temp);
    return a;
}

/* What op logp of backend b says of token `id`, from the row of logits that op logits of b computed: the
 * sampler's side of the agreement.  Ids >= vocab are not there. */
static inline void hn_row_logp(const hn_backend *b, const hn_real *logit, int64_t vocab, int32_t id,
                               double temperature, hn_row *row) {
    hn_assert(id >= 0 && id < vocab && temperature > 0);
    if (b->row_logp) {
        b->row_logp(logit, vocab, id, temperature, row);
        return;
    }
    double inv = 1 / temperature;
    hn_lse at_t = hn_lse_row(logit, vocab, inv), at_1 = hn_lse_row(logit, vocab, 1);
    row->logp = (hn_real)(logit[id] * inv - hn_lse_get(&at_t));
    row->logp1 = (hn_real)(logit[id] - hn_lse_get(&at_1));
    row->entropy = (hn_real)hn_lse_entropy(&at_t);
    row->lse = (hn_real)hn_lse_get(&at_t);
}
#endif
