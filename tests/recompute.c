/* recompute.c - gradient_checkpointing: updates with it have the bits of updates without it on every tier, in
 * f32 and bf16, for every algo; and a recording plans the input of each block and one block, as memory.h
 * says. */
#include "base/pool.h"
#include "cpu/backend.h"
#include "cpu/cpu.h"
#include "data/dataset.h"
#include "train/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { VOCAB = 300, GROUPS = 3, EACH = 4, PROMPT = 21, ANSWER = 50 };

static void ok(int rc, const hn_err *e) {
    if (rc) fail_msg("%s", e->msg);
}

static void shape_of(hn_hfconfig *c, int layers, bool qwen) {
    hn_err e = { 0 };
    hn_hfconfig_default(c, qwen ? HN_ARCH_QWEN3 : HN_ARCH_LLAMA);
    c->vocab_size = VOCAB;
    c->hidden_size = 64;
    c->intermediate_size = 160;
    c->n_layer = layers;
    c->n_head = 4;
    c->n_kv_head = qwen ? 2 : 4;
    c->head_dim = 32;
    c->max_position_embeddings = 1024;
    c->tied = qwen;
    ok(hn_hfconfig_check(c, "test", &e), &e);
}

/* Groups of answers to a prompt, in tree order, with the columns of rollouts; their pairs serve dpo. */
static void step_of(hn_forest *f) {
    hn_err e = { 0 };
    int32_t id[ANSWER];
    hn_forest_init(f);
    assert_non_null(hn_forest_col(f, "weight", HN_PER_ACT, HN_F, &e));
    assert_non_null(hn_forest_col(f, "old_logp", HN_PER_ACT, HN_F, &e));
    assert_non_null(hn_forest_col(f, "reward", HN_PER_SAMPLE, HN_F, &e));
    for (int k = 0; k < 3; k++)
        assert_non_null(hn_forest_col(f, (const char *[]){ "group", "truncated", "max_new" }[k],
                                      HN_PER_SAMPLE, HN_I32, &e));
    for (int g = 0; g < GROUPS; g++) {
        for (int i = 0; i < PROMPT; i++) id[i] = (int32_t)(hn_rand(1, (uint64_t)g, (uint64_t)i) % VOCAB);
        assert_true(hn_forest_tree(f, &e) >= 0);
        int root = hn_forest_span(f, -1, id, PROMPT, &e);
        for (int k = 0; k < EACH; k++) {
            int len = ANSWER - 7 * k, m = hn_forest_sample(f, &e);
            for (int i = 0; i < len; i++)
                id[i] = (int32_t)(hn_rand(2, (uint64_t)(g * EACH + k), (uint64_t)i) % VOCAB);
            int s = hn_forest_span(f, root, id, len, &e);
            assert_true(root >= 0 && s >= 0 && m >= 0);
            for (int i = 0; i < len; i++) assert_true(hn_forest_act(f, s, i, &e) >= 0);
            hn_forest_f(f, "reward")[m] = (hn_real)((k * 7 + g) % 3);
            hn_forest_i(f, "group")[m] = g;
            hn_forest_i(f, "max_new")[m] = ANSWER;
        }
    }
    for (int a = 0; a < f->n_act; a++) {
        hn_forest_f(f, "weight")[a] = 1;
        hn_forest_f(f, "old_logp")[a] = (hn_real)(-5.7 + 0.3 * hn_rand01(3, 0, (uint64_t)a));
    }
}

/* What two updates leave: losses, the policy's columns, gradients, weights. */
typedef struct {
    double loss[2];
    hn_forest f;
    hn_transformer m;
    size_t bytes;
} trained;

static void train(trained *x, const hn_algo *algo, const void *priv, const hn_hfconfig *c, hn_prec prec,
                  bool recompute) {
    hn_err e = { 0 };
    hn_transformer ref = { 0 };
    hn_metrics metrics = { 0 };
    ok(hn_transformer_init(&x->m, c, &e), &e);
    ok(hn_params_build(&x->m.params, &hn_backend_cpu, prec, &e), &e);
    hn_params_random(&x->m.params, 1, 0.1);
    ok(hn_params_refresh(&x->m.params, &e), &e);
    step_of(&x->f);
    hn_trainer t = { .algo = algo, .priv = priv, .model = &x->m, .steps = 10, .temperature = 1 };
    t.cfg = (hn_train_config){ .learning_rate = 1e-2,
                               .adam_beta1 = 0.9,
                               .adam_beta2 = 0.999,
                               .adam_epsilon = 1e-8,
                               .max_grad_norm = 1,
                               .grain_tokens = 400, /* two grains: one recording runs twice */
                               .reduce_slots = 2,
                               .num_iterations = 1,
                               .gradient_checkpointing = recompute };
    ok(hn_transformer_init(&ref, c, &e), &e);
    ok(hn_params_build(&ref.params, &hn_backend_cpu, prec, &e), &e);
    hn_params_random(&ref.params, 2, 0.1);
    ok(hn_params_refresh(&ref.params, &e), &e);
    t.ref = &ref;
    ok(hn_trainer_open(&t, &e), &e);
    for (int k = 0; k < 2; k++) {
        ok(hn_trainer_prepare(&t, &x->f, &metrics, &e), &e);
        ok(hn_trainer_update(&t, &x->f, &metrics, &e), &e);
        x->loss[k] = hn_metrics_get(&metrics, "loss", NAN);
        assert_true(isfinite(x->loss[k]) && hn_metrics_get(&metrics, "grad_norm", 0) > 1e-4);
    }
    x->bytes = hn_tape_bytes(t.pass.tape);
    hn_trainer_close(&t);
    hn_transformer_release(&ref);
    hn_metrics_release(&metrics);
}

static bool same(const hn_real *a, const hn_real *b, int64_t n) {
    return !memcmp(a, b, (size_t)n * sizeof *a);
}

static void same_bits(const hn_algo *algo, hn_prec prec, bool qwen) {
    static const char *const col[] = { "logp", "logp1", "entropy" };
    static trained a, b;
    hn_hfconfig c;
    hn_err e = { 0 };
    char priv[512] = { 0 };
    hn_optset *set = hn_optset_new();
    assert_true(set && algo->priv_size <= sizeof priv);
    if (algo->opts) ok(hn_optset_add(set, algo->name, algo->opts, priv, &e), &e);
    hn_optset_free(set);
    shape_of(&c, 3, qwen);
    train(&a, algo, priv, &c, prec, false);
    train(&b, algo, priv, &c, prec, true);
    bool alike = !memcmp(a.loss, b.loss, sizeof a.loss);
    for (int k = 0; k < 3; k++)
        alike &= same(hn_forest_f(&a.f, col[k]), hn_forest_f(&b.f, col[k]), a.f.n_act);
    alike &= same(a.m.params.grad, b.m.params.grad, a.m.params.count);
    alike &= same(a.m.params.value, b.m.params.value, a.m.params.count);
    if (!alike)
        fail_msg("%s, tier %s, %s: other bits", algo->name, hn_cpu_tier_name(), prec ? "bf16" : "f32");
    assert_true(b.bytes < a.bytes);
    hn_forest_release(&a.f), hn_forest_release(&b.f);
    hn_transformer_release(&a.m), hn_transformer_release(&b.m);
}

static void updates_have_the_same_bits(void **unused) {
    (void)unused;
    hn_tier best = hn_cpu_tier();
    for (hn_tier t = HN_TIER_C; t <= best; t++) {
        hn_cpu_force(t);
        for (const hn_algo *const *algo = hn_algo_list; *algo; algo++) {
            same_bits(*algo, HN_PREC_F32, true);
            same_bits(*algo, HN_PREC_BF16, false);
        }
    }
    hn_cpu_force(best);
}

/* ---- memory ---- */
enum { TOKENS = 640, ACTS = 64 };

/* Bytes that a recording plans; the memory table has a row of them, in whole pages. */
static size_t activations(int layers, hn_prec prec, bool recompute) {
    hn_err e = { 0 };
    hn_hfconfig c;
    hn_memory m;
    hn_transformer net;
    size_t bytes = 0, chunk, row = 0;
    char priv[512] = { 0 };
    shape_of(&c, layers, false);
    hn_memory_plan p = { .config = &c, .prec = prec, .algo = hn_algo_find("sft"), .priv = priv };
    p.reduce_slots = 1;
    p.recompute = recompute;
    p.grain = (hn_forest){ .n_token = TOKENS, .n_act = ACTS, .n_span = 4, .n_sample = 4 };
    ok(hn_transformer_init(&net, &c, &e), &e);
    ok(hn_params_describe(&net.params, &hn_backend_cpu, prec, true, &e), &e);
    net.recompute = recompute;
    ok(hn_pass_measure(&net, &p.grain, p.algo->loss, priv, &bytes, &chunk, &e), &e);
    hn_transformer_release(&net);
    ok(hn_memory_of(&p, &m, &e), &e);
    for (int i = 0; i < m.n; i++)
        if (!strcmp(m.row[i].what, "activations")) {
            row = m.row[i].bytes;
            assert_int_equal(strstr(m.row[i].how, "one block") != NULL, recompute);
        }
    assert_int_equal(row, hn_big_size(bytes));
    return bytes;
}

static void one_block_and_the_inputs(void **unused) {
    (void)unused;
    const size_t input = TOKENS * 64 * sizeof(hn_real);
    for (int k = 0; k < 2; k++) {
        hn_prec prec = k ? HN_PREC_BF16 : HN_PREC_F32;
        size_t one = activations(1, prec, false), all = activations(24, prec, false);
        size_t few = activations(24, prec, true), more = activations(40, prec, true);
        assert_true(all - one > 23 * (k ? 10 : 15) * input); /* what a block keeps without it */
        assert_true(few <= one + 24 * input);
        assert_int_equal(more - few, 16 * input);
    }
}

int main(void) {
    hn_err e = { 0 };
    if (hn_cpu_open(NULL, &e) || hn_pool_start(2, &e)) return 1;
    hn_poison = true;
    const struct CMUnitTest tests[] = { cmocka_unit_test(updates_have_the_same_bits),
                                        cmocka_unit_test(one_block_and_the_inputs) };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    hn_pool_stop();
    return rc;
}
