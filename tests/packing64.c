/* packing64.c - in double, the gradient of a step is the same to 1e-11 whether prompts are shared, paths are
 * cut into spans, or trees are packed into one grain or taken one by one. */
#include "algo/algo.h"
#include "model/pass.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { PROMPTS = 3, GROUP = 4, VOCAB = 50 };
typedef enum { SHARED, UNSHARED, CUT } layout;

static void ok(int rc, const hn_err *e) {
    if (rc < 0) fail_msg("%s", e->msg);
}

static void model(hn_transformer *m, hn_arch arch) {
    hn_err e = { 0 };
    hn_hfconfig c = { .arch = arch,
                      .vocab_size = VOCAB,
                      .hidden_size = 24,
                      .intermediate_size = 40,
                      .n_layer = 2,
                      .n_head = 4 };
    c.n_kv_head = 2;
    c.head_dim = 8;
    c.max_position_embeddings = 512;
    c.rms_norm_eps = 1e-6;
    c.rope.theta = 10000;
    c.qkv_bias = arch == HN_ARCH_QWEN2;
    c.qk_norm = arch == HN_ARCH_QWEN3;
    c.tied = arch != HN_ARCH_LLAMA;
    ok(hn_transformer_init(m, &c, &e), &e);
    ok(hn_params_build(&m->params, &hn_backend_ref, HN_PREC_F32, &e), &e);
    hn_params_random(&m->params, 5, 0.3);
    ok(hn_params_train(&m->params, &e), &e);
}

static int32_t id(uint64_t stream, int i) { return (int32_t)(hn_rand(9, stream, (uint64_t)i) % VOCAB); }

/* Prompt p of 20..90 tokens and its answers of 1..40; 70-token prompts straddle key blocks. */
static void build(hn_forest *f, layout how) {
    hn_err e = { 0 };
    ok(hn_forest_col(f, "weight", HN_PER_ACT, HN_F, &e) ? 0 : HN_ENOMEM, &e);
    for (int p = 0; p < PROMPTS; p++) {
        int32_t path[200];
        int n = 20 + 35 * p, root = -1;
        for (int i = 0; i < n; i++) path[i] = id((uint64_t)p, i);
        for (int g = 0; g < GROUP; g++) {
            int len = 1 + 13 * g;
            for (int i = 0; i < len; i++) path[n + i] = id(100 + (uint64_t)(p * GROUP + g), i);
            if (how != SHARED || g == 0) ok(hn_forest_tree(f, &e), &e);
            if (how != CUT && (how != SHARED || g == 0)) root = hn_forest_span(f, -1, path, n, &e);
            ok(hn_forest_sample(f, &e), &e);
            int32_t at = f->n_act;
            if (how != CUT) {
                int s = hn_forest_span(f, root, path + n, len, &e);
                for (int i = 0; i < len; i++) ok(hn_forest_act(f, s, i, &e), &e);
            } else {
                for (int i = 0, parent = -1; i < n + len;) {
                    int cut = 1 + (int)(hn_rand(3, (uint64_t)(p * GROUP + g), (uint64_t)i) % 33);
                    if (cut > n + len - i) cut = n + len - i;
                    parent = hn_forest_span(f, parent, path + i, cut, &e);
                    for (int k = 0; k < cut; k++)
                        if (i + k >= n) ok(hn_forest_act(f, parent, k, &e), &e);
                    i += cut;
                }
            }
            for (int i = 0; i < len; i++)
                hn_forest_f(f, "weight")[at + i] = (hn_real)(0.1 * (1 + i % 3) * (g % 2 ? 1 : -1));
        }
    }
}

static hn_tensor *loss(const void *priv, hn_pass *p) {
    (void)priv;
    return hn_algo_weighted(p, p->logp);
}

static void gradient(hn_transformer *m, layout how, int grain, hn_real *to) {
    hn_err e = { 0 };
    hn_forest f, g;
    hn_pass p = { 0 };
    int32_t *cut = NULL;
    hn_forest_init(&f);
    hn_forest_init(&g);
    build(&f, how);
    ok(hn_forest_check(&f, VOCAB, &e), &e);
    memset(m->params.grad, 0, (size_t)m->params.count * sizeof(hn_real));
    int n = hn_forest_grains(&f, grain, &cut, &e);
    for (int i = 0; i < n; i++) {
        ok(hn_forest_slice(&f, cut[i], cut[i + 1], &g, &e), &e);
        ok(hn_pass_fit(&p, m, &g, 0.7, loss, NULL, &e), &e);
        ok(hn_pass_run(&p, &g, &e), &e);
    }
    memcpy(to, m->params.grad, (size_t)m->params.count * sizeof(hn_real));
    hn_pass_release(&p);
    hn_forest_release(&f);
    hn_forest_release(&g);
    hn_free(cut);
}

static double distance(const hn_real *a, const hn_real *b, int64_t n) {
    double d = 0, s = 0;
    for (int64_t i = 0; i < n; i++) {
        d += (a[i] - b[i]) * (a[i] - b[i]);
        s += a[i] * a[i];
    }
    return sqrt(d) / sqrt(s);
}

static void same_gradient(void **state) {
    static const struct {
        layout how;
        int grain;
    } other[] = { { SHARED, 16 },   { SHARED, 150 },  { UNSHARED, 1 << 20 },
                  { UNSHARED, 16 }, { CUT, 1 << 20 }, { CUT, 16 } };
    hn_transformer m;
    model(&m, (hn_arch)(uintptr_t)*state);
    hn_real *a = hn_alloc((size_t)m.params.count * sizeof *a),
            *b = hn_alloc((size_t)m.params.count * sizeof *b);
    gradient(&m, SHARED, 1 << 20, a);
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        gradient(&m, other[i].how, other[i].grain, b);
        double d = distance(a, b, m.params.count);
        print_message("layout %d, grain %d: %.2g\n", (int)other[i].how, other[i].grain, d);
        assert_true(d <= 1e-11);
    }
    hn_free(a);
    hn_free(b);
    hn_transformer_release(&m);
}

int main(void) {
    const struct CMUnitTest t[] = {
        { "llama", same_gradient, NULL, NULL, (void *)(uintptr_t)HN_ARCH_LLAMA },
        { "qwen2", same_gradient, NULL, NULL, (void *)(uintptr_t)HN_ARCH_QWEN2 },
        { "qwen3", same_gradient, NULL, NULL, (void *)(uintptr_t)HN_ARCH_QWEN3 },
    };
    return cmocka_run_group_tests(t, NULL, NULL);
}
