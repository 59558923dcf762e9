/* parity.c - the network against `transformers` on tiny random models: logits, loss, every gradient, ten
 * AdamW losses.  The vectors and the script that made them are in tests/vectors/models. */
#include "algo/algo.h"
#include "base/io.h"
#include "cpu/cpu.h"
#include "model/model.h"
#include "train/train.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define VECTORS HN_SOURCE_ROOT "/tests/vectors/models/"

static void ok(int rc, const hn_err *e) {
    if (rc < 0) fail_msg("%s", e->msg);
}

/* The largest |a - b| / (floor + |b|); NaN counts as infinite. */
static double worst(const hn_real *a, const float *b, int64_t n, double floor) {
    double w = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - b[i]) / (floor + fabs((double)b[i]));
        w = d <= w ? w : (d == d ? d : INFINITY);
    }
    return w;
}

static float *read_f32(const hn_st *s, const char *name, int64_t *n) {
    const hn_st_tensor *t = hn_st_find(s, name);
    if (!t) fail_msg("no tensor %s", name);
    float *x = hn_alloc((size_t)t->count * sizeof *x);
    hn_err e = { 0 };
    ok(hn_st_to_f32(t, 0, t->count, x, &e), &e);
    *n = t->count;
    return x;
}

typedef struct {
    hn_model *m;
    hn_st *ref;
    hn_forest f;
    int64_t rows, len;
} fixture;

static void open_fixture(fixture *x, const char *name, hn_prec prec) {
    hn_err e = { 0 };
    hn_buf path = { 0 };
    memset(x, 0, sizeof *x);
    hn_buf_fmt(&path, "%s%s", VECTORS, name);
    ok(hn_model_open(&x->m, path.data, prec, &e), &e);
    hn_buf_str(&path, "/reference.safetensors");
    ok(hn_st_open(&x->ref, path.data, &e), &e);
    const hn_st_tensor *t = hn_st_find(x->ref, "ids");
    int32_t ids[512];
    assert_true(t && t->rank == 2 && t->count <= 512);
    memcpy(ids, t->data, (size_t)t->count * sizeof *ids);
    x->rows = t->shape[0];
    x->len = t->shape[1];
    hn_forest_init(&x->f);
    for (int64_t r = 0; r < x->rows; r++) {
        ok(hn_forest_tree(&x->f, &e), &e);
        int s = hn_forest_span(&x->f, -1, ids + r * x->len, (int)x->len, &e);
        ok(hn_forest_sample(&x->f, &e), &e);
        for (int i = 1; i < x->len; i++) ok(hn_forest_act(&x->f, s, i, &e), &e);
    }
    hn_buf_free(&path);
}

static void close_fixture(fixture *x) {
    hn_model_close(x->m);
    hn_st_close(x->ref);
    hn_forest_release(&x->f);
}

static hn_trainer trainer_of(fixture *x) {
    hn_trainer t = { .algo = hn_algo_find("sft"), .model = &x->m->net, .steps = 10, .temperature = 1 };
    t.cfg = (hn_train_config){ .learning_rate = 1e-3,
                               .adam_beta1 = 0.9,
                               .adam_beta2 = 0.999,
                               .adam_epsilon = 1e-8,
                               .weight_decay = 0.01 };
    t.cfg.lr_scheduler_type = HN_LR_CONSTANT;
    t.cfg.grain_tokens = 2048;
    t.cfg.reduce_slots = t.cfg.num_iterations = 1;
    return t;
}

static void check_logits(fixture *x, const char *name) {
    hn_err e = { 0 };
    int64_t n, V = x->m->net.cfg.vocab_size;
    float *want = read_f32(x->ref, "logits", &n);
    hn_pass p = { 0 };
    ok(hn_pass_fit(&p, &x->m->net, &x->f, 1, NULL, NULL, &e), &e);
    ok(hn_pass_run(&p, &x->f, &e), &e);
    double w = 0;
    for (int32_t a = 0; a < x->f.n_act; a++) { /* logits are seen through log-probabilities and logsumexp */
        const float *z = want + (int64_t)x->f.from[a] * V;
        double m = -INFINITY, s = 0;
        for (int64_t v = 0; v < V; v++) m = z[v] > m ? z[v] : m;
        for (int64_t v = 0; v < V; v++) s += exp(z[v] - m);
        double lse = m + log(s), d = fabs(((hn_real *)p.logp->data)[a] - (z[x->f.target[a]] - lse));
        double d2 = fabs(((hn_real *)p.stat->data)[4 * a + 3] - lse);
        w = d <= w ? w : d;
        w = d2 <= w ? w : d2;
        if (d != d || d2 != d2) w = INFINITY;
    }
    print_message("%s: worst |logit| difference %.2g\n", name, w);
    assert_true(w <= 1e-5);
    hn_pass_release(&p);
    hn_free(want);
}

static void check_gradients(fixture *x, const char *name) {
    hn_err e = { 0 };
    hn_trainer t = trainer_of(x);
    hn_metrics m = { 0 };
    double loss, w = 0;
    ok(hn_trainer_open(&t, &e), &e);
    ok(hn_trainer_prepare(&t, &x->f, &m, &e), &e);
    ok(hn_trainer_gradient(&t, &x->f, &loss, &e), &e);
    const hn_params *p = &x->m->net.params;
    for (int64_t i = 0; i < p->n; i++) {
        char full[160];
        int64_t n;
        snprintf(full, sizeof full, "grad.%s", p->list[i].name);
        float *g = read_f32(x->ref, full, &n);
        double top = 0; /* relative to the tensor's largest element, as gradients near 0 are rounding */
        for (int64_t k = 0; k < n; k++) top = fmax(top, fabs(g[k]));
        for (int64_t k = 0; k < n; k++) {
            double d = fabs((double)p->grad[p->list[i].at + k] - g[k]) / top;
            w = d <= w ? w : (d == d ? d : INFINITY);
        }
        hn_free(g);
    }
    print_message("%s: worst relative gradient difference %.2g\n", name, w);
    assert_true(w <= 1e-4);
    hn_metrics_release(&m);
    hn_trainer_close(&t);
}

static void check_losses(fixture *x, const char *name) {
    hn_err e = { 0 };
    hn_trainer t = trainer_of(x);
    hn_metrics m = { 0 };
    int64_t n;
    float *want = read_f32(x->ref, "losses", &n);
    for (int64_t i = 0; i < x->m->net.params.n; i++)
        x->m->net.params.list[i].decay = true; /* as the script did */
    ok(hn_trainer_open(&t, &e), &e);
    ok(hn_trainer_prepare(&t, &x->f, &m, &e), &e);
    hn_real got[10];
    for (int i = 0; i < 10; i++) {
        ok(hn_trainer_update(&t, &x->f, &m, &e), &e);
        got[i] = (hn_real)hn_metrics_get(&m, "loss", NAN);
    }
    double w = worst(got, want, n, 0);
    print_message("%s: worst relative loss difference in 10 AdamW steps %.2g\n", name, w);
    assert_true(w <= 1e-5);
    hn_free(want);
    hn_metrics_release(&m);
    hn_trainer_close(&t);
}

static void parity(void **state) {
    for (int tier = HN_TIER_C; tier <= HN_TIER_AVX512; tier++) { /* f32 on the AMX tier is AVX-512's */
        if (!hn_cpu_has((hn_tier)tier)) continue;
        char name[64];
        fixture x;
        hn_cpu_force((hn_tier)tier);
        snprintf(name, sizeof name, "%s on %s", (const char *)*state, hn_cpu_tier_name());
        open_fixture(&x, *state, HN_PREC_F32);
        check_logits(&x, name);
        check_gradients(&x, name);
        check_losses(&x, name);
        close_fixture(&x);
    }
}

int main(void) {
    hn_err e = { 0 };
    ok(hn_cpu_open(NULL, &e), &e);
    static const char *const name[] = { "llama", "llama_tied", "llama_bias", "qwen2", "qwen3", "mistral" };
    struct CMUnitTest t[6];
    for (int i = 0; i < 6; i++)
        t[i] = (struct CMUnitTest){ name[i], parity, NULL, NULL, (void *)(uintptr_t)name[i] };
    return cmocka_run_group_tests(t, NULL, NULL);
}
