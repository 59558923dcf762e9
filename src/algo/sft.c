/* sft.c - supervised fine-tuning: maximise the likelihood of the answers given.
 *
 *   loss = - sum over trained tokens of log p(token) / number of trained tokens of the whole step */
#include "algo/algo.h"
#include "op/ops.h"

static unsigned needs(const void *priv) {
    (void)priv;
    return 0;
}

static int prepare(const void *priv, hn_forest *f, hn_metrics *out, hn_err *e) {
    (void)priv;
    hn_col *w = hn_forest_col(f, "weight", HN_PER_ACT, HN_F, e);
    if (!w) return HN_ENOMEM;
    for (int32_t i = 0; i < f->n_act; i++) ((hn_real *)w->data)[i] = (hn_real)(1.0 / f->n_act);
    hn_metrics_set(out, "num_tokens", f->n_act);
    return HN_OK;
}

static hn_tensor *loss(const void *priv, hn_pass *p) {
    (void)priv;
    return hn_affine(p->tape, hn_algo_weighted(p, p->logp), -1, 0);
}

static void report(const void *priv, const hn_forest *f, hn_metrics *out) {
    (void)priv;
    hn_metrics_set(out, "entropy", hn_algo_mean(f, "entropy"));
    hn_metrics_set(out, "mean_token_accuracy", hn_algo_mean(f, "hit"));
}

const hn_algo hn_algo_sft = { .name = "sft",
                              .help = "supervised fine-tuning: maximum likelihood of given answers",
                              .learning_rate = 2e-5,
                              .needs = needs,
                              .prepare = prepare,
                              .loss = loss,
                              .report = report };
