/* train.h - one optimizer step, whatever the algorithm.
 *
 * A step is one forest.  The reference is scored, the algo writes its columns for the whole step, the trees
 * are cut into grains, gradients are folded grain by grain inside a slot and slot by slot in a binary tree,
 * the norm is clipped, AdamW moves the masters and the packed copies follow.  The result is a pure function
 * of (weights, moments, step number, forest, config): not of micro-batches, threads or timing. */
#ifndef HN_TRAIN_H
#define HN_TRAIN_H

#include "algo/algo.h"

typedef enum {
    HN_LR_LINEAR,
    HN_LR_COSINE,
    HN_LR_CONSTANT,
    HN_LR_CONSTANT_WITH_WARMUP,
    HN_LR_INVERSE_SQRT
} hn_lr_type;

/* Names, meanings and defaults are TRL's and `transformers`' where they have them. */
typedef struct hn_train_config {
    double learning_rate; /* 0: the algo's own default */
    double warmup_ratio, weight_decay, adam_beta1, adam_beta2, adam_epsilon, max_grad_norm, num_train_epochs;
    int lr_scheduler_type;           /* hn_lr_type */
    int64_t warmup_steps, max_steps; /* max_steps 0: from epochs */
    int64_t per_device_train_batch_size, gradient_accumulation_steps;
    int64_t num_iterations; /* updates per batch of rollouts */
    int64_t grain_tokens,
        reduce_slots;            /* design: the unit of gradient summation; slots of the folding tree */
    bool gradient_checkpointing; /* less memory for about a third more time; no influence on the numbers */
    int64_t logging_steps, save_steps, save_total_limit, eval_steps;
} hn_train_config;
extern const hn_opt hn_train_opts[];

/* What the options' limits cannot say. */
int hn_train_config_check(const hn_train_config *c, hn_err *e);
/* The learning rate of update number `step` (from 0) of `steps`, as `transformers` schedules it. */
double hn_lr(const hn_train_config *c, double peak, int64_t step, int64_t steps);

typedef struct hn_trainer {
    const hn_algo *algo;
    const void *priv; /* the algo's options */
    hn_train_config cfg;
    hn_transformer *model, *ref; /* ref: frozen weights of the same shape, when the algo needs them */
    double temperature;          /* of all log-probabilities: the sampler's for rollouts, else 1 */
    int64_t step, steps;         /* updates done; of how many */
    hn_pass pass, ref_pass;      /* recordings, made as needed */
    hn_real **slot;              /* [log2 reduce_slots + 1] partial gradient sums */
    double seconds_score, seconds_train;
} hn_trainer;

int hn_trainer_open(hn_trainer *t,
                    hn_err *e); /* after the fields above `step` are set: allocates gradients */
void hn_trainer_close(hn_trainer *t);
/* Columns that do not depend on the policy: ref_logp, then the algo's.  Before the first update on f. */
int hn_trainer_prepare(hn_trainer *t, hn_forest *f, hn_metrics *m, hn_err *e);
/* One update on a prepared step.  loss, grad_norm, learning_rate and the algo's metrics are set.  A loss or
 * gradient that is not finite is HN_ERANGE, and nothing has changed. */
int hn_trainer_update(hn_trainer *t, hn_forest *f, hn_metrics *m, hn_err *e);

/* ---- the parts, for checks ---- */
/* Adds the gradients of grains [lo,hi) of the cut to the model's, or with `first` puts them there, and their
 * losses to *loss; fills the policy's columns (logp, logp1, entropy, hit) of their acts. */
int hn_trainer_grains(hn_trainer *t, hn_forest *f, const int32_t *cut, int lo, int hi, bool first,
                      double *loss, hn_err *e);
/* The gradient of the whole step in the model's gradient memory. */
int hn_trainer_gradient(hn_trainer *t, hn_forest *f, double *loss, hn_err *e);
#endif
