/* quant.c - models in blocks of 8 and 4 bits: answers do not depend on batch or threads, scoring gives the
 * generator's numbers bit for bit, logits are near those of whole weights, whole weights are not in memory.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/pool.h"
#include "cpu/backend.h"
#include "cpu/cpu.h"
#include "gen/gen.h"
#include "model/logits.h"
#include "model/pass.h"
#include "torture.h"

static void ok(int rc, const hn_err *e) {
    if (rc < 0) fail_msg("%s", e->msg);
}

static hn_hfconfig shape(bool tied) {
    hn_hfconfig c;
    hn_hfconfig_default(&c, HN_ARCH_QWEN2);
    c.vocab_size = 300;
    c.hidden_size = 72; /* the last block of a row is cut */
    c.intermediate_size = 136;
    c.n_layer = 2, c.n_head = 3, c.n_kv_head = 1, c.head_dim = 24;
    c.max_position_embeddings = 256;
    c.tied = tied;
    return c;
}

/* The same weights, held as asked. */
static int make(hn_transformer *m, bool tied, hn_prec prec, hn_quant q, hn_err *e) {
    hn_hfconfig c = shape(tied);
    int rc = hn_transformer_init(m, &c, e);
    if (rc) return rc;
    if (q) hn_params_quantize(&m->params, q);
    rc = hn_params_build(&m->params, &hn_backend_cpu, prec, e);
    for (int64_t i = 0; i < m->params.n && !rc; i++) {
        const hn_param *p = &m->params.list[i];
        hn_real *x = hn_params_place(&m->params, i);
        for (int64_t k = 0; k < p->count; k++)
            x[k] = (p->decay ? 0 : 1) + 0.12f * (float)hn_rand_normal(4, (uint64_t)i, (uint64_t)k);
        rc = hn_params_placed(&m->params, i, e);
    }
    if (!rc) rc = hn_params_refresh(&m->params, e);
    if (rc) hn_transformer_release(m);
    return rc;
}

/* ---- answers ---- */
enum { ASKED = 24, LONGEST = 20, NEW = 24 };
typedef struct answers {
    int32_t prompt[ASKED][LONGEST], out[ASKED][NEW];
    hn_real logp[ASKED][NEW];
    hn_request r[ASKED];
} answers;

static void ask(hn_transformer *m, int slots, answers *a) {
    hn_err e = { 0 };
    hn_gen *g;
    memset(a, 0, sizeof *a);
    ok(hn_gen_open(&g, m, slots, LONGEST + NEW, &e), &e);
    for (int i = 0; i < ASKED; i++) {
        for (int k = 0; k < LONGEST; k++)
            a->prompt[i][k] = (int32_t)(hn_rand(9, (uint64_t)i, (uint64_t)k) % 300);
        a->r[i] =
            (hn_request){ .prompt = a->prompt[i], .n_prompt = 1 + 7 * i % LONGEST, .max_new = NEW - i % 5 };
        a->r[i].how = (hn_sampling){ i % 3 ? 1 : 0, 1, 0, 0 };
        a->r[i].stream = (uint64_t)i;
        a->r[i].out = a->out[i], a->r[i].logp = a->logp[i];
    }
    ok(hn_gen_run(g, a->r, ASKED, NULL, NULL, &e), &e);
    hn_gen_close(g);
}

/* The log-probabilities of all answers by the pass that the trainer runs. */
static void score(hn_transformer *m, const answers *a) {
    hn_err e = { 0 };
    hn_forest f;
    hn_pass p = { 0 };
    const hn_score_cols want = { "logp", NULL, NULL, NULL };
    hn_forest_init(&f);
    for (int i = 0; i < ASKED; i++) {
        int32_t all[LONGEST + NEW];
        const hn_request *r = &a->r[i];
        memcpy(all, r->prompt, (size_t)r->n_prompt * sizeof *all);
        memcpy(all + r->n_prompt, r->out, (size_t)r->n_out * sizeof *all);
        ok(hn_forest_tree(&f, &e), &e);
        int span = hn_forest_span(&f, -1, all, r->n_prompt + r->n_out, &e);
        ok(hn_forest_sample(&f, &e), &e);
        for (int k = 0; k < r->n_out; k++) ok(hn_forest_act(&f, span, r->n_prompt + k, &e), &e);
    }
    assert_non_null(hn_forest_col(&f, "logp", HN_PER_ACT, HN_F, &e));
    ok(hn_pass_score(&p, m, &f, 333, 1, &want, &e), &e);
    const hn_real *x = hn_forest_f(&f, "logp");
    for (int i = 0; i < ASKED; x += a->r[i].n_out, i++)
        assert_memory_equal(x, a->logp[i], (size_t)a->r[i].n_out * sizeof *x);
    hn_pass_release(&p);
    hn_forest_release(&f);
}

static void same_answers(hn_prec prec, hn_quant q) {
    static const int slots[] = { 1, 2, 3, 5, 16, 24, 64 };
    static answers first, other;
    hn_err e = { 0 };
    hn_transformer m;
    ok(make(&m, prec == HN_PREC_F32, prec, q, &e), &e);
    for (int i = 0; i < 7; i++) {
        ok(hn_pool_start(1 + i % 4, &e), &e);
        ask(&m, slots[i], i ? &other : &first);
        if (i) assert_memory_equal(first.out, other.out, sizeof first.out);
        if (i) assert_memory_equal(first.logp, other.logp, sizeof first.logp);
    }
    score(&m, &first);
    hn_pool_stop();
    hn_transformer_release(&m);
}
static void test_same_answers(void **s) {
    (void)s;
    hn_tier best = hn_cpu_tier();
    for (hn_tier t = HN_TIER_C; t <= best; t++) {
        hn_cpu_force(t);
        for (int k = 0; k < 4; k++) same_answers((hn_prec)(k / 2), k % 2 ? HN_QUANT_Q4 : HN_QUANT_Q8);
    }
    hn_cpu_force(best);
}

/* ---- logits ---- */
/* Distance of all logits from those of whole weights, relative to their spread. */
static double distance(bool tied, hn_quant q) {
    enum { N = 40, V = 300 };
    static hn_real whole[N * V], few[N * V];
    hn_err e = { 0 };
    int32_t id[N];
    for (int i = 0; i < N; i++) id[i] = (int32_t)(hn_rand(3, 0, (uint64_t)i) % V);
    for (int k = 0; k < 2; k++) {
        hn_transformer m;
        ok(make(&m, tied, HN_PREC_F32, k ? q : HN_QUANT_NONE, &e), &e);
        ok(hn_logits_of(&m, id, N, k ? few : whole, &e), &e);
        hn_transformer_release(&m);
    }
    double far = 0, size = 0;
    for (int i = 0; i < N * V; i++) {
        far += pow((double)few[i] - whole[i], 2);
        size += pow(whole[i], 2);
    }
    return sqrt(far / size);
}
static void test_logits_are_near(void **s) {
    (void)s;
    for (int tied = 0; tied < 2; tied++) {
        double eight = distance(tied, HN_QUANT_Q8), four = distance(tied, HN_QUANT_Q4);
        print_message("%s head: logits are off by %.2f %% in 8 bits, %.1f %% in 4\n", tied ? "tied" : "own",
                      100 * eight, 100 * four);
        assert_true(eight > 0.001 && eight < 0.03);
        assert_true(four > 5 * eight && four < 0.4);
    }
}

/* ---- memory ---- */
static void test_only_few_bits_in_memory(void **s) {
    (void)s;
    for (int tied = 0; tied < 2; tied++) {
        hn_err e = { 0 };
        hn_transformer m, d;
        hn_hfconfig c = shape(tied);
        ok(make(&m, tied, HN_PREC_BF16, HN_QUANT_Q4, &e), &e);
        ok(hn_transformer_init(&d, &c, &e), &e);
        hn_params_quantize(&d.params, HN_QUANT_Q4);
        ok(hn_params_describe(&d.params, &hn_backend_cpu, HN_PREC_BF16, false, &e), &e);
        assert_null(m.params.staged);
        assert_int_equal(hn_params_block(&m.params), hn_params_block(&d.params));
        assert_int_equal(hn_params_packed(&m.params, false), hn_params_packed(&d.params, false));
        size_t vectors = 0;
        for (int64_t i = 0; i < m.params.n; i++)
            if (m.params.list[i].shape.nd == 1) vectors += (size_t)m.params.list[i].count;
        assert_int_equal(hn_params_block(&m.params), (vectors + 300 * 72) * sizeof(hn_real));
        hn_transformer_release(&m);
        hn_transformer_release(&d);
    }
}

static int no_room(void *ctx, hn_err *e) {
    hn_transformer m;
    int rc = make(&m, *(bool *)ctx, HN_PREC_F32, HN_QUANT_Q8, e);
    if (!rc) hn_transformer_release(&m);
    return rc;
}
static void test_torture(void **s) {
    (void)s;
    for (int i = 0; i < 2; i++) {
        bool tied = i;
        assert_true(torture(no_room, &tied) > 20);
    }
}

static void test_refused_by_name(void **s) {
    (void)s;
    hn_err e = { 0 };
    hn_transformer m;
    hn_hfconfig c = shape(false);
    ok(hn_transformer_init(&m, &c, &e), &e);
    hn_params_quantize(&m.params, HN_QUANT_Q8);
    ok(hn_params_build(&m.params, &hn_backend_cpu, HN_PREC_F32, &e), &e);
    int up = hn_params_find(&m.params, "model.layers.1.mlp.up_proj.weight");
    hn_params_place(&m.params, up)[136 * 72 - 1] = NAN;
    assert_int_equal(hn_params_placed(&m.params, up, &e), HN_ERANGE);
    assert_non_null(strstr(e.msg, "layers.1.mlp.gate_proj"));
    hn_transformer_release(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_answers),
        cmocka_unit_test(test_logits_are_near),
        cmocka_unit_test(test_only_few_bits_in_memory),
        cmocka_unit_test(test_torture),
        cmocka_unit_test(test_refused_by_name),
    };
    hn_err e = { 0 };
    if (hn_cpu_open(NULL, &e)) fail_msg("%s", e.msg);
    return cmocka_run_group_tests_name("quant", tests, NULL, NULL);
}
