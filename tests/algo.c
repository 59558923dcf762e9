/* algo.c - losses and advantages of the algorithms against numbers computed in double by an independent
 * script (the formulas of the papers, as the field's trainers code them). */
#include "algo/algo.h"
#include "cpu/backend.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "plugin.h"

#define near(a, b, tol)                                                                                      \
    do {                                                                                                     \
        double da = (a), db = (b);                                                                           \
        if (!(fabs(da - db) <= (tol))) fail_msg("%s is %.9g, want %.9g", #a, da, db);                        \
    } while (0)

static void *options(const hn_algo *a, const char *const *set) {
    return options_of(a->name, a->priv_size, a->opts, set);
}

/* Samples with `len` acts each, all trees alike: one root token, one child a sample. */
static void build(hn_forest *f, int n, const int *len, int per_tree) {
    hn_err e = { 0 };
    static const int32_t zero[64] = { 0 };
    int root = -1;
    hn_forest_init(f);
    static const char *const acts[] = { "old_logp", "ref_logp", "logp", "entropy", "hit" };
    static const char *const ints[] = { "group", "truncated", "max_new" };
    for (int k = 0; k < 5; k++) assert_non_null(hn_forest_col(f, acts[k], HN_PER_ACT, HN_F, &e));
    for (int k = 0; k < 3; k++) assert_non_null(hn_forest_col(f, ints[k], HN_PER_SAMPLE, HN_I32, &e));
    assert_non_null(hn_forest_col(f, "reward", HN_PER_SAMPLE, HN_F, &e));
    for (int s = 0; s < n; s++) {
        if (s % per_tree == 0) {
            ok(hn_forest_tree(f, &e), &e);
            root = hn_forest_span(f, -1, zero, 1, &e);
        }
        ok(hn_forest_sample(f, &e), &e);
        int span = hn_forest_span(f, root, zero, len[s], &e);
        for (int i = 0; i < len[s]; i++) ok(hn_forest_act(f, span, i, &e), &e);
        hn_forest_i(f, "group")[s] = s / per_tree;
        hn_forest_i(f, "max_new")[s] = 8;
    }
}

/* The loss of a forest whose policy gave `logp`. */
static double loss_of(const hn_algo *a, const void *priv, hn_forest *f, hn_real *logp) {
    hn_err e = { 0 };
    hn_pass p = { 0 };
    int32_t side[2][8];
    p.tape = hn_tape_new(&hn_backend_cpu);
    p.cap[HN_ACTS] = f->n_act;
    p.cap[HN_SAMPLES] = f->n_sample;
    p.cap[HN_PAIRS] = f->n_sample / 2;
    for (int i = 0; i < f->n_sample / 2; i++) side[0][i] = 2 * i, side[1][i] = 2 * i + 1;
    p.index[0] = side[0];
    p.index[1] = side[1];
    p.logp = hn_leaf(p.tape, HN_F, (hn_shape){ 1, HN_ACTS, { f->n_act } }, logp);
    p.sample = hn_leaf(p.tape, HN_I32, (hn_shape){ 1, HN_ACTS, { f->n_act } }, f->sample);
    hn_tensor *loss = hn_keep(a->loss(priv, &p));
    ok(hn_tape_plan(p.tape, &e), &e);
    for (int i = 0; i < p.n_col; i++) hn_bind(p.col[i].leaf, hn_forest_find(f, p.col[i].name)->data);
    hn_tape_live(p.tape, HN_ACTS, f->n_act);
    hn_tape_live(p.tape, HN_SAMPLES, f->n_sample);
    hn_tape_live(p.tape, HN_PAIRS, f->n_sample / 2);
    ok(hn_run(p.tape, &e), &e);
    double l = hn_scalar(loss);
    hn_tape_free(p.tape);
    return l;
}

static void dpo_sigmoid(void **state) {
    (void)state;
    hn_err e = { 0 };
    hn_forest f;
    hn_metrics m = { 0 };
    const int len[] = { 1, 1, 1, 1 };
    hn_real logp[] = { -12.5f, -15, -20, -18 };
    const hn_real ref[] = { -13, -14, -19, -18.5f };
    const hn_algo *a = hn_algo_find("dpo");
    for (int smooth = 0; smooth < 2; smooth++) {
        void *priv = options(a, smooth ? (const char *const[]){ "label_smoothing", "0.1", NULL } : NULL);
        for (int pairs = 1; pairs <= 2; pairs++) {
            build(&f, 2 * pairs, len, 2);
            memcpy(hn_forest_f(&f, "ref_logp"), ref, (size_t)f.n_act * sizeof *ref);
            memcpy(hn_forest_f(&f, "logp"), logp, (size_t)f.n_act * sizeof *logp);
            ok(a->prepare(priv, &f, &m, &e), &e);
            near(loss_of(a, priv, &f, logp),
                 pairs == 2 ? 0.695957048
                 : smooth   ? 0.635957048
                            : 0.620957048,
                 1e-6);
            a->report(priv, &f, &m);
            near(hn_metrics_get(&m, "rewards/margins", NAN), pairs == 2 ? 0 : 0.15, 1e-6);
            near(hn_metrics_get(&m, "rewards/accuracies", NAN), pairs == 2 ? 0.5 : 1, 0);
            hn_forest_release(&f);
        }
        hn_free(priv);
    }
    hn_metrics_release(&m);
}

static void grpo_advantages(void **state) {
    (void)state;
    static const struct {
        const char *scale;
        double want;
    } kind[] = { { "group", 0.865875430 }, { "batch", 0.564012446 }, { "none", 0.5 } };
    static const hn_real reward[] = { 1, 0, 0, 1, 2, 2, 2, 2 };
    const int len[] = { 1, 1, 1, 1, 1, 1, 1, 1 };
    const hn_algo *a = hn_algo_find("grpo");
    for (int k = 0; k < 3; k++) {
        hn_err e = { 0 };
        hn_forest f;
        hn_metrics m = { 0 };
        void *priv = options(a, (const char *const[]){ "scale_rewards", kind[k].scale, NULL });
        build(&f, 8, len, 4);
        memcpy(hn_forest_f(&f, "reward"), reward, sizeof reward);
        ok(a->prepare(priv, &f, &m, &e), &e);
        for (int s = 0; s < 8; s++)
            near(hn_forest_f(&f, "advantage")[s],
                 s > 3           ? 0
                 : reward[s] > 0 ? kind[k].want
                                 : -kind[k].want,
                 2e-5);
        near(hn_metrics_get(&m, "frac_reward_zero_std", NAN), 0.5, 0);
        /* an answer that could not be judged is left out of the baseline and gets no advantage */
        hn_forest_f(&f, "reward")[0] = NAN;
        ok(a->prepare(priv, &f, &m, &e), &e);
        near(hn_forest_f(&f, "advantage")[0], 0, 0);
        near(hn_metrics_get(&m, "verifier_errors", NAN), 1, 0);
        if (k == 2) near(hn_forest_f(&f, "advantage")[3], 2.0 / 3, 1e-6);
        hn_forest_release(&f);
        hn_metrics_release(&m);
        hn_free(priv);
    }
}

static void grpo_losses(void **state) {
    (void)state;
    static const struct {
        const char *type, *beta;
        double want;
    } kind[] = { { "grpo", "0", 0.077050239 },     { "dapo", "0", -0.123331732 },
                 { "dr_grpo", "0", -0.038541166 }, { "grpo", "0.04", 0.077552769 },
                 { "dapo", "0.04", -0.122889230 }, { "dr_grpo", "0.04", -0.038402884 } };
    const int len[] = { 3, 2 };
    hn_real logp[] = { -.5f, -1, -2, -.7f, -1.2f };
    static const hn_real old[] = { -.6f, -.8f, -2.3f, -.7f, -1.6f }, ref[] = { -.4f, -1.1f, -1.9f, -.9f, -1 };
    const hn_algo *a = hn_algo_find("grpo");
    for (int k = 0; k < 6; k++) {
        hn_err e = { 0 };
        hn_forest f;
        hn_metrics m = { 0 };
        void *priv = options(a, (const char *const[]){ "loss_type", kind[k].type, "beta", kind[k].beta,
                                                       "epsilon_high", "0.28", NULL });
        build(&f, 2, len, 2);
        memcpy(hn_forest_f(&f, "old_logp"), old, sizeof old);
        memcpy(hn_forest_f(&f, "ref_logp"), ref, sizeof ref);
        memcpy(hn_forest_f(&f, "logp"), logp, sizeof logp);
        ok(a->prepare(priv, &f, &m, &e), &e);
        for (int t = 0; t < 5; t++) hn_forest_f(&f, "advantage")[t] = t < 3 ? .866f : -.866f;
        near(loss_of(a, priv, &f, logp), kind[k].want, 1e-6);
        a->report(priv, &f, &m);
        near(hn_metrics_get(&m, "clip_ratio/high_mean", NAN), 0.2,
             1e-9); /* one token of five above 1.28 with A > 0 */
        near(hn_metrics_get(&m, "clip_ratio/low_mean", NAN), 0, 0);
        hn_forest_release(&f);
        hn_metrics_release(&m);
        hn_free(priv);
    }
}

static void truncated_answers_can_be_masked(void **state) {
    (void)state;
    const int len[] = { 3, 2 };
    const hn_algo *a = hn_algo_find("grpo");
    hn_err e = { 0 };
    hn_forest f;
    hn_metrics m = { 0 };
    void *priv = options(a, (const char *const[]){ "mask_truncated_completions", "true", NULL });
    build(&f, 2, len, 2);
    hn_forest_i(&f, "truncated")[0] = 1;
    ok(a->prepare(priv, &f, &m, &e), &e);
    for (int t = 0; t < 5; t++) near(hn_forest_f(&f, "weight")[t], t < 3 ? 0 : 0.5, 1e-7);
    hn_forest_release(&f);
    hn_metrics_release(&m);
    hn_free(priv);
}

int main(void) {
    const struct CMUnitTest t[] = {
        cmocka_unit_test(dpo_sigmoid),
        cmocka_unit_test(grpo_advantages),
        cmocka_unit_test(grpo_losses),
        cmocka_unit_test(truncated_answers_can_be_masked),
    };
    return cmocka_run_group_tests(t, NULL, NULL);
}
