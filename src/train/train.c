/* train.c - grains, slots, clipping, the update. */
#include "train/train.h"
#include "base/pool.h"

#include <math.h>
#include <string.h>

/* clang-format off */
#define AT(field) .at = offsetof(hn_train_config, field)
const hn_opt hn_train_opts[] = {
    { .name = "learning_rate", .help = "peak learning rate; 0: the learner's own default", .type = HN_OPT_NUM,
      AT(learning_rate), .min = 0, .max = 10 },
    { .name = "lr_scheduler_type", .help = "how the learning rate moves after warm-up", .type = HN_OPT_ENUM,
      AT(lr_scheduler_type), .choices = "linear|cosine|constant|constant_with_warmup|inverse_sqrt" },
    { .name = "warmup_steps", .help = "updates from 0 to the peak; 0: from warmup_ratio", .type = HN_OPT_INT,
      AT(warmup_steps), .min = 0, .max = 1e12 },
    { .name = "warmup_ratio", .help = "the same as a share of all updates", .type = HN_OPT_NUM,
      AT(warmup_ratio), .min = 0, .max = 1 },
    { .name = "num_train_epochs", .help = "passes over the data", .type = HN_OPT_NUM,
      AT(num_train_epochs), .def = 3, .min = 0, .max = 1e9 },
    { .name = "max_steps", .help = "updates in all; 0: from num_train_epochs", .type = HN_OPT_INT,
      AT(max_steps), .min = 0, .max = 1e12 },
    { .name = "per_device_train_batch_size", .help = "rows (answers, for rollouts) a micro-batch", .type = HN_OPT_INT,
      AT(per_device_train_batch_size), .def = 8, .min = 1, .max = 1e6 },
    { .name = "gradient_accumulation_steps", .help = "micro-batches an update; the batch is the product of both",
      .type = HN_OPT_INT, AT(gradient_accumulation_steps), .def = 1, .min = 1, .max = 1e6 },
    { .name = "num_iterations", .help = "updates on each batch of rollouts", .type = HN_OPT_INT,
      AT(num_iterations), .def = 1, .min = 1, .max = 100 },
    { .name = "weight_decay", .help = "AdamW's decoupled decay of matrices", .type = HN_OPT_NUM,
      AT(weight_decay), .min = 0, .max = 1 },
    { .name = "adam_beta1", .help = "decay of the first moment", .type = HN_OPT_NUM,
      AT(adam_beta1), .def = 0.9, .min = 0, .max = 0.9999999 },
    { .name = "adam_beta2", .help = "decay of the second moment", .type = HN_OPT_NUM,
      AT(adam_beta2), .def = 0.999, .min = 0, .max = 0.9999999 },
    { .name = "adam_epsilon", .help = "added to the root of the second moment", .type = HN_OPT_NUM,
      AT(adam_epsilon), .def = 1e-8, .min = 0, .max = 1 },
    { .name = "max_grad_norm", .help = "gradients longer than this are shortened to it; 0: never", .type = HN_OPT_NUM,
      AT(max_grad_norm), .def = 1, .min = 0, .max = 1e9 },
    { .name = "grain_tokens", .help = "tokens of the unit of gradient summation (the same value gives the same bits)",
      .type = HN_OPT_INT, AT(grain_tokens), .def = 2048, .min = 16, .max = 1e6 },
    { .name = "reduce_slots", .help = "leaves of the tree in which gradients are summed: a power of two", .type = HN_OPT_INT,
      AT(reduce_slots), .def = 1, .min = 1, .max = 1024 },
    { .name = "gradient_checkpointing",
      .help = "keep the input of each block and compute it again for its gradient: less memory, the same bits, slower",
      .type = HN_OPT_BOOL, AT(gradient_checkpointing) },
    { .name = "logging_steps", .help = "updates between lines of metrics", .type = HN_OPT_INT,
      AT(logging_steps), .def = 10, .min = 1, .max = 1e9 },
    { .name = "save_steps", .help = "updates between checkpoints; 0: only at the end", .type = HN_OPT_INT,
      AT(save_steps), .def = 500, .min = 0, .max = 1e12 },
    { .name = "save_total_limit", .help = "newest checkpoints kept; 0: all", .type = HN_OPT_INT,
      AT(save_total_limit), .def = 2, .min = 0, .max = 1e6 },
    { .name = "eval_steps", .help = "updates between evaluations; 0: none", .type = HN_OPT_INT,
      AT(eval_steps), .min = 0, .max = 1e12 },
    { 0 },
};
#undef AT
/* clang-format on */

double hn_lr(const hn_train_config *c, double peak, int64_t step, int64_t steps) {
    double warm = (double)c->warmup_steps, s = (double)step, all = (double)steps;
    if (!c->warmup_steps) warm = ceil(c->warmup_ratio * all);
    if (c->lr_scheduler_type == HN_LR_CONSTANT) return peak;
    if (s < warm) return peak * s / warm;
    double left = fmax(0, (all - s) / fmax(1, all - warm));
    switch (c->lr_scheduler_type) {
    case HN_LR_LINEAR: return peak * left;
    case HN_LR_COSINE: return peak * 0.5 * (1 + cos(3.14159265358979323846 * (1 - left)));
    case HN_LR_INVERSE_SQRT: {
        double scale = warm > 0 ? warm : 10000; /* as `transformers` without a timescale */
        return peak / sqrt((s + scale - warm) / scale);
    }
    default: return peak;
    }
}

static int slot_levels(const hn_trainer *t) {
    int n = 0;
    while (((int64_t)1 << n) < t->cfg.reduce_slots) n++;
    return n;
}

static size_t grad_bytes(const hn_trainer *t) { return (size_t)t->model->params.count * sizeof(hn_real); }

int hn_train_config_check(const hn_train_config *c, hn_err *e) {
    if (!(c->reduce_slots & (c->reduce_slots - 1))) return HN_OK;
    return hn_fail(e, HN_ERANGE, "reduce_slots is %lld: it must be a power of two",
                   (long long)c->reduce_slots);
}

int hn_trainer_open(hn_trainer *t, hn_err *e) {
    int rc = hn_train_config_check(&t->cfg, e), levels = slot_levels(t);
    t->model->recompute = t->cfg.gradient_checkpointing;
    if (!rc) rc = hn_params_train(&t->model->params, e);
    if (rc || !levels) return rc;
    t->slot = hn_alloc((size_t)(levels + 1) * sizeof *t->slot);
    for (int i = 0; t->slot && i <= levels; i++)
        if (!(t->slot[i] = hn_big_alloc(grad_bytes(t)))) break;
    if (t->slot && t->slot[levels]) return HN_OK;
    hn_trainer_close(t);
    return hn_fail(e, HN_ENOMEM, "no memory for %d partial gradients of %.0f MB: lower reduce_slots",
                   levels + 1, 1e-6 * (double)grad_bytes(t));
}

void hn_trainer_close(hn_trainer *t) {
    for (int i = 0; t->slot && i <= slot_levels(t); i++) hn_big_free(t->slot[i], grad_bytes(t));
    hn_free(t->slot);
    t->slot = NULL;
    hn_pass_release(&t->pass);
    hn_pass_release(&t->ref_pass);
}

static const hn_score_cols policy = { "logp", "logp1", "entropy", "hit" };

int hn_trainer_prepare(hn_trainer *t, hn_forest *f, hn_metrics *m, hn_err *e) {
    double start = hn_now();
    const char *const col[] = { policy.logp, policy.logp1, policy.entropy, policy.hit };
    for (int k = 0; k < 4; k++)
        if (!hn_forest_col(f, col[k], HN_PER_ACT, HN_F, e)) return HN_ENOMEM;
    if (t->algo->needs(t->priv) & HN_NEEDS_REF) {
        const hn_score_cols want = { .logp = "ref_logp" };
        if (!hn_forest_col(f, "ref_logp", HN_PER_ACT, HN_F, e)) return HN_ENOMEM;
        int grain = (int)t->cfg.grain_tokens;
        int rc = hn_pass_score(&t->ref_pass, t->ref, f, grain, t->temperature, &want, e);
        if (rc) return rc;
    }
    t->seconds_score += hn_now() - start;
    return t->algo->prepare(t->priv, f, m, e);
}

int hn_trainer_grains(hn_trainer *t, hn_forest *f, const int32_t *cut, int lo, int hi, bool first,
                      double *loss, hn_err *e) {
    int rc = HN_OK;
    if (first && lo >= hi) hn_params_no_grad(&t->model->params);
    hn_forest g;
    hn_forest_init(&g);
    for (int i = lo; i < hi && !rc; i++) {
        rc = hn_forest_slice(f, cut[i], cut[i + 1], &g, e);
        if (!rc) rc = hn_pass_fit(&t->pass, t->model, &g, t->temperature, t->algo->loss, t->priv, e);
        if (rc) break;
        hn_tape_from_zero(t->pass.tape, first && i == lo);
        if ((rc = hn_pass_run(&t->pass, &g, e))) break;
        hn_pass_copy(&t->pass, f, f->tree_act[cut[i]], g.n_act, &policy);
        *loss += hn_scalar(t->pass.loss);
    }
    hn_forest_release(&g);
    return rc;
}

/* ---- slots: a binary counter of partial sums; equal levels meet left + right ---- */
typedef struct {
    hn_real *to;
    const hn_real *left, *right;
} add_ctx;

static void add_slice(void *ctx, int64_t lo, int64_t hi) {
    const add_ctx *a = ctx;
    for (int64_t i = lo; i < hi; i++) a->to[i] = a->left[i] + a->right[i];
}

static void fold(hn_trainer *t, int slots_done) {
    hn_real *sum = t->model->params.grad;
    int level = 0;
    for (; slots_done & (1 << level); level++) { /* this level holds the sum to the left */
        add_ctx a = { sum, t->slot[level], sum };
        hn_parallel(t->model->params.count, 1 << 14, add_slice, &a);
    }
    memcpy(t->slot[level], sum, grad_bytes(t));
}

int hn_trainer_gradient(hn_trainer *t, hn_forest *f, double *loss, hn_err *e) {
    int32_t *cut = NULL;
    int n = hn_forest_grains(f, (int)t->cfg.grain_tokens, &cut, e), slots = (int)t->cfg.reduce_slots;
    int rc = n < 0 ? n : HN_OK;
    *loss = 0;
    for (int s = 0; s < slots && !rc; s++) {
        int lo = (int)((int64_t)n * s / slots), hi = (int)((int64_t)n * (s + 1) / slots);
        rc = hn_trainer_grains(t, f, cut, lo, hi, true, loss, e);
        if (!rc && slots > 1) fold(t, s);
    }
    hn_free(cut);
    return rc; /* with slots the last fold left the whole sum in place */
}

int hn_trainer_update(hn_trainer *t, hn_forest *f, hn_metrics *m, hn_err *e) {
    double start = hn_now(), loss,
           peak = t->cfg.learning_rate > 0 ? t->cfg.learning_rate : t->algo->learning_rate;
    int rc = hn_trainer_gradient(t, f, &loss, e);
    if (rc) return rc;
    double norm = hn_params_grad_norm(&t->model->params), lr = hn_lr(&t->cfg, peak, t->step, t->steps);
    if (!isfinite(loss) || !isfinite(norm))
        return hn_fail(e, HN_ERANGE,
                       "update %lld: the loss is %g and the gradient norm %g; the weights were not changed. "
                       "Lower learning_rate or max_grad_norm, or look at the batch",
                       (long long)t->step + 1, loss, norm);
    double most = t->cfg.max_grad_norm, scale = most > 0 && norm > most ? most / (norm + 1e-6) : 1;
    hn_adamw adam = { t->cfg.adam_beta1, t->cfg.adam_beta2, t->cfg.adam_epsilon, t->cfg.weight_decay };
    hn_adamw_step(&adam, &t->model->params, lr, t->step + 1, scale);
    if ((rc = hn_params_refresh(&t->model->params, e))) return rc;
    t->step++;
    hn_metrics_set(m, "loss", loss);
    hn_metrics_set(m, "grad_norm", norm);
    hn_metrics_set(m, "learning_rate", lr);
    t->algo->report(t->priv, f, m);
    t->seconds_train += hn_now() - start;
    return m->oom ? hn_fail(e, HN_ENOMEM, "no memory for metrics") : HN_OK;
}
