/* grpo.c - Group Relative Policy Optimization (Shao et al. 2024, arXiv:2402.03300).
 *
 *   advantage  A_i = (r_i - mean of the group) / (std of the group + 1e-4)           scale_rewards: group |
 * batch | none per token  l_t = -min(rho A, clip(rho, 1 - epsilon, 1 + epsilon_high) A) + beta * k3,  rho =
 * exp(logp - old_logp), k3 = exp(d) - d - 1, d = ref_logp - logp loss_type  grpo: mean over answers of the
 * token mean; dapo: sum / tokens of the whole step (Yu et al. 2025, arXiv:2503.14476); dr_grpo: sum /
 * (answers * max_completion_length) (Liu et al. 2025, arXiv:2503.20783)
 *
 * Denominators are those of the whole optimizer step.  An answer whose verifier failed to judge (reward NaN)
 * has advantage 0 and is left out of the baseline; both are counted. */
#include "algo/algo.h"
#include "op/ops.h"

#include <math.h>

enum { SCALE_GROUP, SCALE_BATCH, SCALE_NONE };
enum { LOSS_DAPO, LOSS_GRPO, LOSS_DR_GRPO };

typedef struct {
    double beta, epsilon, epsilon_high;
    int scale_rewards, loss_type;
    bool mask_truncated_completions;
} grpo;

/* clang-format off */
static const hn_opt opts[] = {
    { .name = "beta", .help = "weight of the KL penalty (k3) to the frozen reference; 0: no reference is kept",
      .type = HN_OPT_NUM, .at = offsetof(grpo, beta), .def = 0, .min = 0, .max = 1000 },
    { .name = "epsilon", .help = "how far the ratio may fall below 1",
      .type = HN_OPT_NUM, .at = offsetof(grpo, epsilon), .def = 0.2, .min = 0, .max = 1 },
    { .name = "epsilon_high", .help = "how far the ratio may rise above 1; -1: as epsilon",
      .type = HN_OPT_NUM, .at = offsetof(grpo, epsilon_high), .def = -1, .min = -1, .max = 100 },
    { .name = "scale_rewards", .help = "what divides the advantage: the spread of the group, of the batch, or nothing",
      .type = HN_OPT_ENUM, .at = offsetof(grpo, scale_rewards), .choices = "group|batch|none" },
    { .name = "loss_type", .help = "the denominator: tokens of the step (dapo), answer by answer (grpo), constant (dr_grpo)",
      .type = HN_OPT_ENUM, .at = offsetof(grpo, loss_type), .choices = "dapo|grpo|dr_grpo" },
    { .name = "mask_truncated_completions", .help = "leave answers that hit the length limit out of the loss",
      .type = HN_OPT_BOOL, .at = offsetof(grpo, mask_truncated_completions) },
    { 0 },
};
/* clang-format on */

static unsigned needs(const void *priv) {
    return HN_NEEDS_ROLLOUT | (((const grpo *)priv)->beta > 0 ? HN_NEEDS_REF : 0);
}

/* Mean and sample standard deviation (n - 1) of the finite rewards in [lo,hi). */
static int spread(const hn_real *r, int32_t lo, int32_t hi, double *mean, double *std) {
    double sum = 0, sq = 0;
    int n = 0;
    for (int32_t i = lo; i < hi; i++)
        if (isfinite(r[i])) sum += r[i], n++;
    *mean = n ? sum / n : 0;
    for (int32_t i = lo; i < hi; i++)
        if (isfinite(r[i])) sq += (r[i] - *mean) * (r[i] - *mean);
    *std = n > 1 ? sqrt(sq / (n - 1)) : 0;
    return n;
}

/* Fills adv[sample]; groups are runs of equal `group`. */
static void advantages(const grpo *o, const hn_forest *f, double *adv, hn_metrics *out) {
    const hn_real *r = hn_forest_f(f, "reward");
    const int32_t *group = hn_forest_i(f, "group");
    double mean, std, batch_std, spreads = 0, zero = 0, groups = 0, errors = 0;
    int judged = spread(r, 0, f->n_sample, &mean, &batch_std);
    hn_metrics_set(out, "reward", judged ? mean : 0);
    for (int32_t lo = 0, hi; lo < f->n_sample; lo = hi) {
        for (hi = lo + 1; hi < f->n_sample && group[hi] == group[lo];) hi++;
        spread(r, lo, hi, &mean, &std);
        double by =
            o->scale_rewards == SCALE_NONE ? 1 : (o->scale_rewards == SCALE_GROUP ? std : batch_std) + 1e-4;
        for (int32_t i = lo; i < hi; i++) {
            adv[i] = isfinite(r[i]) ? (r[i] - mean) / by : 0;
            errors += !isfinite(r[i]);
        }
        groups++;
        spreads += std;
        zero += std == 0;
    }
    hn_metrics_set(out, "reward_std", groups > 0 ? spreads / groups : 0);
    hn_metrics_set(out, "frac_reward_zero_std", groups > 0 ? zero / groups : 0);
    hn_metrics_set(out, "verifier_errors", errors);
}

static int prepare(const void *priv, hn_forest *f, hn_metrics *out, hn_err *e) {
    const grpo *o = priv;
    /* declare all first: a declaration may move the others' data */
    if (!hn_forest_col(f, "weight", HN_PER_ACT, HN_F, e) ||
        !hn_forest_col(f, "advantage", HN_PER_ACT, HN_F, e))
        return HN_ENOMEM;
    double *adv = hn_alloc(((size_t)f->n_sample + 1) * sizeof *adv);
    int32_t *begin = hn_alloc(((size_t)f->n_sample + 1) * sizeof *begin);
    if (!adv || !begin) {
        hn_free(adv);
        hn_free(begin);
        return hn_fail(e, HN_ENOMEM, "no memory for the advantages of %d answers", f->n_sample);
    }
    advantages(o, f, adv, out);
    hn_algo_acts(f, begin);
    hn_real *weight = hn_forest_f(f, "weight"), *advantage = hn_forest_f(f, "advantage");
    const int32_t *cut = hn_forest_i(f, "truncated"), *limit = hn_forest_i(f, "max_new");
    double tokens = 0;
    for (int32_t s = 0; s < f->n_sample; s++)
        if (!(o->mask_truncated_completions && cut[s])) tokens += begin[s + 1] - begin[s];
    for (int32_t s = 0; s < f->n_sample; s++) {
        double n = begin[s + 1] - begin[s], w = tokens > 0 ? 1 / tokens : 0;
        if (o->loss_type == LOSS_GRPO) w = n > 0 ? 1 / (n * f->n_sample) : 0;
        if (o->loss_type == LOSS_DR_GRPO) w = 1.0 / ((double)f->n_sample * limit[s]);
        if (o->mask_truncated_completions && cut[s]) w = 0;
        for (int32_t a = begin[s]; a < begin[s + 1]; a++) {
            weight[a] = (hn_real)w;
            advantage[a] = (hn_real)adv[s];
        }
    }
    hn_metrics_set(out, "num_tokens", tokens);
    hn_free(adv);
    hn_free(begin);
    return HN_OK;
}

static double high(const grpo *o) { return o->epsilon_high < 0 ? o->epsilon : o->epsilon_high; }

static hn_tensor *loss(const void *priv, hn_pass *p) {
    const grpo *o = priv;
    hn_tape *t = p->tape;
    hn_tensor *adv = hn_pass_column(p, "advantage", HN_PER_ACT, HN_F);
    hn_tensor *ratio = hn_exp(t, hn_sub(t, p->logp, hn_pass_column(p, "old_logp", HN_PER_ACT, HN_F)));
    hn_tensor *held = hn_clip(t, ratio, 1 - o->epsilon, 1 + high(o));
    hn_tensor *l = hn_affine(t, hn_min(t, hn_mul(t, ratio, adv), hn_mul(t, held, adv)), -1, 0);
    if (o->beta > 0) {
        hn_tensor *d = hn_sub(t, hn_pass_column(p, "ref_logp", HN_PER_ACT, HN_F), p->logp);
        hn_tensor *k3 = hn_affine(t, hn_sub(t, hn_exp(t, d), d), o->beta, -o->beta);
        l = hn_add(t, l, k3);
    }
    return hn_algo_weighted(p, l);
}

static void report(const void *priv, const hn_forest *f, hn_metrics *out) {
    const grpo *o = priv;
    const hn_real *logp = hn_forest_f(f, "logp"), *old = hn_forest_f(f, "old_logp");
    const hn_real *adv = hn_forest_f(f, "advantage"), *w = hn_forest_f(f, "weight");
    const hn_real *ref = o->beta > 0 ? hn_forest_f(f, "ref_logp") : NULL;
    double n = 0, low = 0, top = 0, kl = 0, gap = 0;
    for (int32_t a = 0; a < f->n_act; a++) {
        if (!(w[a] > 0)) continue;
        double d = (double)logp[a] - old[a], rho = exp(d), k = ref ? (double)ref[a] - logp[a] : 0;
        n++;
        low += rho < 1 - o->epsilon && adv[a] < 0;
        top += rho > 1 + high(o) && adv[a] > 0;
        kl += exp(k) - k - 1;
        gap = fabs(d) > gap ? fabs(d) : gap;
    }
    if (n == 0) n = 1;
    hn_metrics_set(out, "entropy", hn_algo_mean(f, "entropy"));
    if (ref) hn_metrics_set(out, "kl", kl / n);
    hn_metrics_set(out, "clip_ratio/low_mean", low / n);
    hn_metrics_set(out, "clip_ratio/high_mean", top / n);
    hn_metrics_set(out, "clip_ratio/region_mean", (low + top) / n);
    hn_metrics_set(out, "sampling/sampling_logp_difference/max", gap);
}

const hn_algo hn_algo_grpo = { .name = "grpo",
                               .help = "group-relative policy optimisation on a task's verified rewards",
                               .priv_size = sizeof(grpo),
                               .opts = opts,
                               .learning_rate = 1e-6,
                               .learns_rollouts = true,
                               .needs = needs,
                               .prepare = prepare,
                               .loss = loss,
                               .report = report };
