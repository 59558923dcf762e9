/* dpo.c - Direct Preference Optimization (Rafailov et al. 2023, arXiv:2305.18290, eq. 7).
 *
 *   loss = mean over pairs of -log sigmoid(beta * ((w - w_ref) - (l - l_ref)))
 *
 * where w and l are the summed log-probabilities of the preferred and of the other answer.  With label
 * smoothing eps (cDPO) the loss is (1 - eps) * that + eps * the same with the pair swapped. */
#include "algo/algo.h"
#include "op/ops.h"

typedef struct {
    double beta, label_smoothing;
} dpo;

static const hn_opt opts[] = {
    { .name = "beta",
      .help = "how strongly to stay near the reference",
      .type = HN_OPT_NUM,
      .at = offsetof(dpo, beta),
      .def = 0.1,
      .min = 0,
      .max = 1000 },
    { .name = "label_smoothing",
      .help = "probability that a label is wrong (cDPO)",
      .type = HN_OPT_NUM,
      .at = offsetof(dpo, label_smoothing),
      .def = 0,
      .min = 0,
      .max = 0.5 },
    { 0 },
};

static unsigned needs(const void *priv) {
    (void)priv;
    return HN_NEEDS_PAIRS | HN_NEEDS_REF;
}

static int prepare(const void *priv, hn_forest *f, hn_metrics *out, hn_err *e) {
    (void)priv;
    hn_col *w = hn_forest_col(f, "pair_weight", HN_PER_SAMPLE, HN_F, e);
    if (!w) return HN_ENOMEM;
    for (int32_t s = 0; s < f->n_sample; s++) ((hn_real *)w->data)[s] = (hn_real)(2.0 / f->n_sample);
    hn_metrics_set(out, "num_tokens", f->n_act);
    return HN_OK;
}

static hn_tensor *loss(const void *priv, hn_pass *p) {
    const dpo *o = priv;
    hn_tape *t = p->tape;
    hn_tensor *ref = hn_pass_column(p, "ref_logp", HN_PER_ACT, HN_F);
    hn_tensor *gain = hn_pass_per_sample(p, hn_sub(t, p->logp, ref));
    hn_tensor *d = hn_sub(t, hn_pass_of_pair(p, gain, 0), hn_pass_of_pair(p, gain, 1));
    hn_tensor *weight = hn_pass_of_pair(p, hn_pass_column(p, "pair_weight", HN_PER_SAMPLE, HN_F), 0);
    hn_tensor *l = hn_affine(t, hn_logsig(t, hn_affine(t, d, o->beta, 0)), o->label_smoothing - 1, 0);
    if (o->label_smoothing > 0)
        l = hn_add(t, l, hn_affine(t, hn_logsig(t, hn_affine(t, d, -o->beta, 0)), -o->label_smoothing, 0));
    return hn_sum(t, hn_mul(t, weight, l));
}

static void report(const void *priv, const hn_forest *f, hn_metrics *out) {
    const dpo *o = priv;
    const hn_real *logp = hn_forest_f(f, "logp"), *ref = hn_forest_f(f, "ref_logp");
    double side[2] = { 0 }, sum[2] = { 0 }, all[2] = { 0 }, right = 0;
    int32_t a = 0, pairs = f->n_sample / 2;
    for (int32_t s = 0; s < f->n_sample; s++) {
        double lp = 0, gain = 0;
        for (; a < f->n_act && f->sample[a] == s; a++) lp += logp[a], gain += (double)logp[a] - ref[a];
        side[s & 1] = o->beta * gain;
        sum[s & 1] += o->beta * gain;
        all[s & 1] += lp;
        if (s & 1) right += side[0] > side[1];
    }
    const char *const name[] = { "rewards/chosen", "rewards/rejected", "logps/chosen", "logps/rejected" };
    for (int k = 0; k < 4; k++) hn_metrics_set(out, name[k], (k < 2 ? sum[k] : all[k - 2]) / pairs);
    hn_metrics_set(out, "rewards/accuracies", right / pairs);
    hn_metrics_set(out, "rewards/margins", (sum[0] - sum[1]) / pairs);
}

const hn_algo hn_algo_dpo = { .name = "dpo",
                              .help = "direct preference optimisation on chosen/rejected pairs",
                              .priv_size = sizeof(dpo),
                              .opts = opts,
                              .learning_rate = 1e-6,
                              .needs = needs,
                              .prepare = prepare,
                              .loss = loss,
                              .report = report };
