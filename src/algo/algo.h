/* algo.h - how samples become a loss.  One file an algorithm; everything else (data, rollouts, the reference
 * model, grains, schedules, logging, checkpoints) is the trainer's.
 *
 * A step is one forest.  prepare() sees the whole step and writes columns: advantages, and weights that carry
 * the loss's denominator, so that the sum over grains is the loss of the step whatever the cutting.  loss()
 * records the sum over one grain. */
#ifndef HN_ALGO_H
#define HN_ALGO_H

#include "base/opt.h"
#include "model/pass.h"

/* Named numbers of one step, in the order they were set. */
typedef struct hn_metric {
    char key[48];
    double value;
} hn_metric;
typedef struct hn_metrics {
    hn_metric *list;
    int64_t n, cap;
    bool oom;
} hn_metrics;
void hn_metrics_set(hn_metrics *m, const char *key, double value); /* replaces an earlier value of the key */
double hn_metrics_get(const hn_metrics *m, const char *key, double otherwise);
bool hn_metric_is_time(const char *key); /* a wall-clock number: it differs from run to run */
void hn_metrics_clear(hn_metrics *m);
void hn_metrics_release(hn_metrics *m);

enum {                       /* what the trainer must provide before prepare() */
       HN_NEEDS_ROLLOUT = 1, /* samples come from the policy, scored by a task: old_logp, reward, group */
       HN_NEEDS_PAIRS = 2,   /* sample 2i is preferred to sample 2i+1, of the same tree */
       HN_NEEDS_REF = 4,     /* ref_logp: each act's log-probability under the frozen reference */
};

typedef struct hn_algo {
    HN_PLUGIN;
    double learning_rate; /* the default users of the field expect */
    bool learns_rollouts; /* whatever the options: its samples are the policy's own answers */
    unsigned (*needs)(const void *priv);
    /* Host work on the whole step: declares and fills columns.  Metrics that do not depend on the forward
     * pass. */
    int (*prepare)(const void *priv, hn_forest *step, hn_metrics *out, hn_err *e);
    hn_loss_fn *loss;
    /* After the forward pass: columns logp, logp1, entropy and hit hold what the policy gave each act. */
    void (*report)(const void *priv, const hn_forest *step, hn_metrics *out);
} hn_algo;

const hn_algo *hn_algo_find(const char *name); /* NULL when there is none */
extern const hn_algo *const hn_algo_list[];    /* NULL-ended */

/* ---- shared by the files of this folder ---- */
/* -log-likelihood style: sum of weight * x over the acts of the grain. */
hn_tensor *hn_algo_weighted(hn_pass *p, hn_tensor *x);
/* sum over acts of weight (> 0 counted) * column, divided by the sum of weights: for metrics. */
double hn_algo_mean(const hn_forest *f, const char *column);
/* Acts of sample s are [begin[s], begin[s+1]): fills begin (n_sample + 1 values). */
void hn_algo_acts(const hn_forest *f, int32_t *begin);

#define HN_ALGO(name) extern const hn_algo hn_algo_##name;
#include "algo/algos.h"
#undef HN_ALGO
#endif
