/* pass.h - one recording of the model over a forest: log-probabilities of its acts, and what a loss adds.
 *
 * Recorded and planned once for capacities, run for every grain: scoring (no loss), training (a loss on
 * top of logp), checks.  The result for a forest depends on the forest alone. */
#ifndef HN_PASS_H
#define HN_PASS_H

#include "model/transformer.h"
#include "tensor/forest.h"

typedef struct hn_pass_col { /* a forest column as a leaf: [A] or [S] */
    char name[24];
    hn_per per;
    hn_tensor *leaf;
} hn_pass_col;

enum { HN_PASS_COLS = 16 };
typedef struct hn_pass {
    hn_transformer *model;
    hn_tape *tape;
    double temperature;
    bool train;
    int64_t cap[HN_LIVE_N];
    hn_tensor *token, *pos, *span, *from, *target, *sample;
    hn_tensor *logp; /* [A] log-probability of each act at `temperature` */
    hn_tensor *stat; /* [A,4] {logp at 1, entropy, target is the argmax, logsumexp} */
    hn_tensor *loss; /* [1], kept; NULL when only scoring */
    hn_pass_col col[HN_PASS_COLS];
    int n_col;
    int32_t *index[2]; /* 0,2,4.. and 1,3,5..: the sides of pairs */
} hn_pass;

/* What a loss records on top: from p->logp and columns to one element. */
typedef hn_tensor *hn_loss_fn(const void *priv, hn_pass *p);

/* Makes sure that p holds a recording with room for f (capacities grow by eighths of powers of two, so that a
 * few recordings serve a run).  A zeroed hn_pass is empty; with loss NULL it scores.  The loss, its priv, the
 * model and the temperature may not change between calls without hn_pass_release. */
int hn_pass_fit(hn_pass *p, hn_transformer *m, const hn_forest *f, double temperature, hn_loss_fn *loss,
                const void *priv, hn_err *e);
/* Binds f's arrays and the columns the loss asked for, and runs.  With a loss, gradients are added to the
 * model's. */
int hn_pass_run(hn_pass *p, const hn_forest *f, hn_err *e);
void hn_pass_release(hn_pass *p);
/* What hn_pass_fit would plan for a forest of these counts (nothing else of it is read), without taking it:
 * bytes of the block, of which `chunk` hold logits and their product.  m may be described (nn/params.h). */
int hn_pass_measure(hn_transformer *m, const hn_forest *counts, hn_loss_fn *loss, const void *priv,
                    size_t *bytes, size_t *chunk, hn_err *e);

/* For losses: column `name` as a leaf, [acts] or [samples]; every grain must have it. */
hn_tensor *hn_pass_column(hn_pass *p, const char *name, hn_per per, hn_dtype type);
/* Sums a per-act tensor over the acts of each sample: [S]. */
hn_tensor *hn_pass_per_sample(hn_pass *p, hn_tensor *x);
/* Element 2i + side of a per-sample tensor for each pair i: [pairs]; side 0: chosen, 1: rejected. */
hn_tensor *hn_pass_of_pair(hn_pass *p, hn_tensor *x, int side);

/* Columns (per act, declared; NULL: not wanted) that the last run's numbers go to: log-probability at the
 * pass's temperature and at 1, entropy of the distribution, whether the act was its likeliest token. */
typedef struct hn_score_cols {
    const char *logp, *logp1, *entropy, *hit;
} hn_score_cols;
/* What the last run said of its n acts into f's columns from act `at` on. */
void hn_pass_copy(const hn_pass *p, hn_forest *f, int32_t at, int32_t n, const hn_score_cols *out);
/* Scores all trees of f, grain by grain, into the columns named.  No gradients. */
int hn_pass_score(hn_pass *p, hn_transformer *m, hn_forest *f, int grain_tokens, double temperature,
                  const hn_score_cols *out, hn_err *e);
#endif
