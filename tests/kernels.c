/* kernels.c - every kernel of the processor's backend against the reference, in every tier this machine has:
 * the cases of each op, wider ones, outputs and scratch poisoned with NaN, one and four threads bit for bit,
 * a whole network. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/pool.h"
#include "cpu/backend.h"
#include "op/op.h"
#include "opnet.h"

#define HN_OP(file, name, args) &hn_op_##name,
static const hn_op *const ops[] = {
#include "op/ops.h"
};
enum { N_OPS = sizeof ops / sizeof *ops };

/* ---- running a case ---- */
static void random_leaf(hn_tensor *x, int bound, uint64_t seed, int k) {
    int64_t n = hn_count(x);
    for (int64_t i = 0; i < n; i++) {
        if (x->type == HN_I32)
            ((int32_t *)x->data)[i] = (int32_t)(hn_rand(seed, (uint64_t)k, (uint64_t)i) % (uint64_t)bound);
        else {
            float r = (float)(2 * hn_rand01(seed, (uint64_t)k, (uint64_t)i) - 1);
            if (x->type == HN_BF16) ((uint16_t *)x->data)[i] = hn_bf16(r);
            else ((float *)x->data)[i] = r;
        }
    }
}
static void round_leaf(hn_tensor *x) {
    for (int64_t i = 0; i < hn_count(x); i++)
        ((float *)x->data)[i] = hn_from_bf16(hn_bf16(((float *)x->data)[i]));
}

/* Bit k of `half`: input k holds bf16 numbers; OUT_HALF: output 0 is stored as bf16; STORED: the inputs, too,
 * are stored so, else as floats. */
enum { OUT_HALF = 1 << HN_MAXIN, STORED = 2 << HN_MAXIN };

/* Runs a case on a backend; outputs are copied to out (the caller's to free).  `pack`: weights have packed
 * copies beside them. */
static void run_case(const hn_backend *b, const hn_op *op, const hn_case *c, uint64_t seed, bool pack,
                     unsigned half, float *out[HN_MAXOUT], int64_t count[HN_MAXOUT]) {
    hn_err e = { 0 };
    hn_tape *t = hn_tape_new(b);
    hn_tensor *in[HN_MAXIN] = { 0 };
    void *side = NULL;
    for (int k = 0; k < op->n_in && c->in[k].nd; k++) {
        hn_dtype type = c->bound[k] == HN_CASE_HOST ? HN_HOST : c->bound[k] > 0 ? HN_I32 : HN_F;
        if (half & STORED && half >> k & 1) type = HN_BF16;
        in[k] = hn_leaf(t, type, c->in[k], NULL);
        if (type == HN_HOST) continue;
        in[k]->data = hn_alloc(hn_bytes(in[k]));
        assert_non_null(in[k]->data);
        random_leaf(in[k], c->bound[k], seed, k);
        if (half >> k & 1 && type == HN_F) round_leaf(in[k]);
    }
    if (c->fill) c->fill(in, seed);
    if (pack && b->side) {
        assert_int_equal(
            b->side(&side, in[1]->data, in[1]->shape.d[0], hn_cols(in[1]), (hn_prec)c->attr.i[0], true, &e),
            HN_OK);
        in[1]->side = side;
    }
    hn_tensor *y = hn_apply(t, op, c->attr, in);
    if (half & STORED && half & OUT_HALF) hn_stored(y, HN_PREC_BF16);
    for (int k = 0; k < (op->n_out ? op->n_out : 1); k++) hn_keep(y->out[k]);
    if (hn_tape_plan(t, &e) || hn_run(t, &e)) fail_msg("%s %s: %s", op->name, c->name, e.msg);
    for (int k = 0; k < (op->n_out ? op->n_out : 1); k++) {
        count[k] = hn_count(y->out[k]);
        out[k] = malloc((size_t)count[k] * sizeof(float));
        for (int64_t i = 0; i < count[k]; i++) out[k][i] = hn_get(y->out[k], i);
        for (int64_t i = 0; !k && half & OUT_HALF && i < count[k]; i++)
            out[k][i] = hn_from_bf16(hn_bf16(out[k][i]));
    }
    if (side) b->side_free(side);
    if (c->drop) c->drop(in);
    for (int k = 0; k < op->n_in; k++)
        if (in[k] && in[k]->type != HN_HOST) hn_free(in[k]->data);
    hn_tape_free(t);
}

/* Largest distance relative to the largest magnitude; infinities must be equal; NaN is never near. */
static double distance(const float *a, const float *b, int64_t n) {
    double far = 0, top = 1e-30;
    for (int64_t i = 0; i < n; i++) {
        if (isinf(b[i]) && a[i] == b[i]) continue;
        double d = fabs((double)a[i] - b[i]);
        if (!(d <= far)) far = d;
        if (fabs((double)b[i]) > top) top = fabs((double)b[i]);
    }
    return far / top;
}

static bool has_pack(const hn_op *op) {
    return op == &hn_op_linear || op == &hn_op_linear_x || op == &hn_op_logp || op == &hn_op_logp_b ||
           op == &hn_op_logits;
}

/* Attention in bf16 on the tile unit rounds the weights too. */
static double tolerance(const hn_op *op, const hn_case *c) {
    bool attn = op == &hn_op_attn || op == &hn_op_attn_b, kv = op == &hn_op_attnkv;
    bool bf16 = attn ? c->attr.i[2] == HN_PREC_BF16 : kv && c->in[2].d[3] % 2 == HN_PREC_BF16;
    return bf16 && hn_cpu_tier() == HN_TIER_AMX ? 1e-2 : 2e-5;
}

/* The reference in the tier of the moment, and the fast kernel with and without packs and with one and four
 * threads, which must not show. */
static void check(const hn_op *op, const hn_case *c, uint64_t seed) {
    float *want[HN_MAXOUT], *got[HN_MAXOUT], *again[HN_MAXOUT];
    int64_t n[HN_MAXOUT];
    int n_out = op->n_out ? op->n_out : 1;
    run_case(&hn_backend_ref, op, c, seed, false, 0, want, n);
    assert_int_equal(hn_pool_start(1, NULL), HN_OK);
    run_case(&hn_backend_cpu, op, c, seed, false, 0, got, n);
    for (int k = 0; k < n_out; k++) {
        double far = distance(got[k], want[k], n[k]);
        if (!(far < tolerance(op, c)))
            fail_msg("%s %s, tier %s, output %d: %g from the reference", op->name, c->name,
                     hn_cpu_tier_name(), k, far);
    }
    for (int threads = 1; threads <= 4; threads += 3) {
        assert_int_equal(hn_pool_start(threads, NULL), HN_OK);
        run_case(&hn_backend_cpu, op, c, seed, has_pack(op), 0, again, n);
        for (int k = 0; k < n_out; k++) {
            if (memcmp(got[k], again[k], (size_t)n[k] * sizeof(float)) != 0)
                fail_msg("%s %s, tier %s, output %d: %d threads%s give other bits", op->name, c->name,
                         hn_cpu_tier_name(), k, threads, has_pack(op) ? " or packed weights" : "");
            free(again[k]);
        }
    }
    for (int k = 0; k < n_out; k++) free(want[k]), free(got[k]);
}

/* Numbers stored as bf16 give the bits of the same numbers stored as floats. */
static void check_stored(const hn_op *op, const hn_case *c, const hn_backend *b, int threads, unsigned half) {
    float *want[HN_MAXOUT], *got[HN_MAXOUT];
    int64_t n[HN_MAXOUT];
    bool pack = b == &hn_backend_cpu && threads > 1 && has_pack(op);
    assert_int_equal(hn_pool_start(threads, NULL), HN_OK);
    run_case(b, op, c, 5, pack, half, want, n);
    run_case(b, op, c, 5, pack, half | STORED, got, n);
    if (memcmp(want[0], got[0], (size_t)n[0] * sizeof(float)) != 0)
        fail_msg("%s %s, tier %s, %d threads: stored in bf16 (%x) gives other bits", op->name, c->name,
                 hn_cpu_tier_name(), threads, half);
    free(want[0]), free(got[0]);
}

static void stored(void) {
    static const struct {
        const hn_op *op;
        unsigned half;
    } what[] = { { &hn_op_linear, 1 },       { &hn_op_linear, OUT_HALF },   { &hn_op_linear, 1 | OUT_HALF },
                 { &hn_op_linear_x, 1 },     { &hn_op_linear_w, 1 },        { &hn_op_linear_w, 2 },
                 { &hn_op_linear_w, 3 },     { &hn_op_linear_b, 1 },        { &hn_op_rmsnorm, OUT_HALF },
                 { &hn_op_swiglu, 1 },       { &hn_op_swiglu, OUT_HALF },   { &hn_op_swiglu, 1 | OUT_HALF },
                 { &hn_op_swiglu_b, 1 },     { &hn_op_swiglu_b, OUT_HALF }, { &hn_op_swiglu_b, 1 | OUT_HALF },
                 { &hn_op_rope_b, OUT_HALF } };
    for (size_t i = 0; i < sizeof what / sizeof *what; i++)
        for (const hn_case *c = what[i].op->cases; c->name; c++) {
            bool linear = !strncmp(what[i].op->name, "linear", 6) && what[i].op != &hn_op_linear_b;
            hn_case round = *c;
            if (linear) round.attr.i[0] = HN_PREC_BF16;
            check_stored(what[i].op, &round, &hn_backend_ref, 1, what[i].half);
            check_stored(what[i].op, &round, &hn_backend_cpu, 1, what[i].half);
            check_stored(what[i].op, &round, &hn_backend_cpu, 3, what[i].half);
        }
}

static void each_tier(void (*body)(void)) {
    hn_tier best = hn_cpu_tier();
    for (hn_tier t = HN_TIER_C; t <= best; t++) {
        hn_cpu_force(t);
        body();
    }
    hn_cpu_force(best);
    hn_pool_stop();
}

/* ---- the cases that come with the ops ---- */
static void own_cases(void) {
    for (int i = 0; i < N_OPS; i++)
        for (const hn_case *c = ops[i]->cases; c->name; c++) check(ops[i], c, 11 + (uint64_t)i);
}
static void test_own_cases(void **s) {
    (void)s;
    each_tier(own_cases);
}

/* ---- attention: head sizes, groups, spans around the block size, deep chains, wide groups ---- */
static int32_t (*spans_now)[3];
static int n_spans_now;
static void fill_spans(hn_tensor *const in[], uint64_t seed) {
    (void)seed;
    for (int k = 1; k < 5; k++)
        if (in[k] && in[k]->type == HN_I32)
            memcpy(in[k]->data, spans_now, (size_t)n_spans_now * sizeof *spans_now);
}

/* The same with all else as it is after op rope in bf16. */
static void fill_rounded(hn_tensor *const in[], uint64_t seed) {
    fill_spans(in, seed);
    float *x = in[0]->data;
    for (int64_t i = 0; i < hn_count(in[0]); i++) x[i] = hn_from_bf16(hn_bf16(x[i]));
}

static int tokens_of(void) { return spans_now[n_spans_now - 1][0] + spans_now[n_spans_now - 1][1]; }

static void attention(int H, int G, int D) {
    int64_t N = tokens_of(), S = n_spans_now, C = (H + 2 * G) * D;
    hn_shape rows = { 2, HN_FIXED, { N, C } }, out = { 2, HN_FIXED, { N, H * D } };
    hn_shape one = { 2, HN_FIXED, { N, H } }, span = { 2, HN_FIXED, { S, 3 } };
    hn_attr a = { { 0 }, { H, G } };
    hn_case forward = {
        .name = "spans", .in = { rows, span }, .bound = { 0, 1 }, .attr = a, .fill = fill_spans
    };
    hn_case back = { .name = "spans",
                     .in = { rows, out, one, out, span },
                     .bound = { 0, 0, 0, 0, 1 },
                     .attr = a,
                     .fill = fill_spans };
    check(&hn_op_attn, &forward, 3);
    check(&hn_op_attn_b, &back, 4);
    forward.attr.i[2] = back.attr.i[2] = HN_PREC_BF16;
    forward.fill = back.fill = fill_rounded;
    check(&hn_op_attn, &forward, 3);
    check(&hn_op_attn_b, &back, 4);
}

/* Lengths, and which span each hangs on. */
static void make_spans(const int *len, const int *parent, int n) {
    free(spans_now);
    spans_now = malloc((size_t)n * sizeof *spans_now);
    n_spans_now = n;
    for (int s = 0, at = 0; s < n; at += len[s++]) {
        spans_now[s][0] = at;
        spans_now[s][1] = len[s];
        spans_now[s][2] = parent[s];
    }
}

static void attention_shapes(void) {
    static const int head[] = { 8, 16, 32, 64, 80, 128 },
                     group[][2] = { { 1, 1 }, { 2, 1 }, { 4, 2 }, { 7, 1 } };
    make_spans((int[]){ 1, 63, 64, 65 }, (int[]){ -1, 0, 1, 0 }, 4);
    for (int d = 0; d < 6; d++) attention(2, 1, head[d]);
    for (int g = 0; g < 4; g++) attention(group[g][0], group[g][1], 32);
}
static void test_attention_shapes(void **s) {
    (void)s;
    each_tier(attention_shapes);
}

static void attention_trees(void) {
    make_spans((int[]){ 200 }, (int[]){ -1 }, 1);
    attention(2, 1, 16);
    int len[40], chain[40], wide[40], back[40];
    for (int i = 0; i < 40; i++) {
        len[i] = 1 + (i * 7) % 11;
        chain[i] = i - 1;
        wide[i] = i == 0 ? -1 : 0;
        back[i] =
            i < 2 ? i - 1 : i % 2; /* siblings in turn: their places on the path are taken back and forth */
    }
    make_spans(len, chain, 40);
    attention(2, 1, 16);
    make_spans(len, wide, 40);
    attention(4, 2, 16);
    make_spans(len, back, 40);
    attention(2, 2, 16);
    make_spans((int[]){ 70, 1, 90, 5, 1, 66 }, (int[]){ -1, 0, -1, 2, 2, -1 }, 6); /* three trees */
    attention(2, 1, 16);
}
static void test_attention_trees(void **s) {
    (void)s;
    each_tier(attention_trees);
}

/* ---- wider rows: many blocks of rows, many chunks, vector tails ---- */
static hn_shape mat(int64_t r, int64_t c) { return (hn_shape){ 2, HN_FIXED, { r, c } }; }
static hn_shape vec(int64_t n) { return (hn_shape){ 1, HN_FIXED, { n } }; }

static void wide_cases(void) {
    static const int64_t rows[] = { 1, 70, 200 }, cols[] = { 16, 70, 161 };
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++) {
            int64_t N = rows[i], C = cols[k];
            hn_attr eps = { { 1e-6 }, { 0 } };
            hn_case norm = { .name = "norm", .in = { mat(N, C), vec(C), mat(N, C) }, .attr = eps };
            hn_case lin = { .name = "linear", .in = { mat(N, C), mat(70, C), vec(70) } };
            hn_case lin_x = { .name = "linear", .in = { mat(N, 70), mat(70, C) } };
            hn_case lin_w = { .name = "linear", .in = { mat(N, 70), mat(N, C) } };
            hn_case unit = { .name = "unit", .in = { mat(N, 2 * C), mat(N, C) } };
            hn_case pick = { .name = "pick", .in = { mat(9, C), vec(N) }, .bound = { 0, 9 } };
            hn_case put = { .name = "put", .in = { mat(N, C), vec(N), mat(9, C) }, .bound = { 0, 9 } };
            check(&hn_op_rmsnorm, &norm, 1);
            check(&hn_op_rmsnorm_x, &norm, 2);
            check(&hn_op_rmsnorm_w, &norm, 3);
            check(&hn_op_linear, &lin, 4);
            check(&hn_op_linear_x, &lin_x, 5);
            check(&hn_op_linear_w, &lin_w, 6);
            check(&hn_op_linear_b, &lin_w, 7);
            check(&hn_op_swiglu, &unit, 8);
            check(&hn_op_swiglu_b, &unit, 9);
            check(&hn_op_embed, &pick, 10);
            check(&hn_op_embed_w, &put, 11);
            check(&hn_op_scatter, &put, 12);
            check(&hn_op_accum, &norm, 13);
        }
}
static void test_wide_cases(void **s) {
    (void)s;
    each_tier(wide_cases);
}

static void wide_heads(void) {
    for (int D = 8; D <= 144; D += 68) {
        int64_t N = 130, C = 6 * D;
        hn_attr a = { { 1e-6 }, { 4, 1 } };
        hn_case norm = { .name = "heads", .in = { mat(N, C), vec(D), vec(D), mat(N, C) }, .attr = a };
        hn_case turn = {
            .name = "heads", .in = { mat(N, C), vec(N), vec(D / 2) }, .bound = { 0, 4000 }, .attr = a
        };
        check(&hn_op_headnorm, &norm, 1);
        check(&hn_op_headnorm_x, &norm, 2);
        check(&hn_op_headnorm_w, &norm, 3);
        check(&hn_op_rope, &turn, 4);
        check(&hn_op_rope_b, &turn, 5);
    }
}
static void test_wide_heads(void **s) {
    (void)s;
    each_tier(wide_heads);
}

static void vocabularies(void) {
    static const int64_t acts[] = { 1, 5, 70 };
    for (int i = 0; i < 3; i++)
        for (int p = 0; p < 2; p++) {
            int64_t A = acts[i], C = 70, V = 1100;
            hn_attr a = { { 0.8 }, { p, 1083 } };
            hn_case c = { .name = p ? "bf16" : "f32",
                          .in = { mat(A, C), mat(V, C), vec(A), vec(A), mat(A, 4), vec(A) },
                          .bound = { 0, 0, 1083 },
                          .attr = a };
            check(&hn_op_logp, &c, 1);
            check(&hn_op_logits, &c, 2);
            if (!p) check(&hn_op_logp_b, &c, 3); /* bf16: dz rounds either way where it lies between two */
        }
}
static void test_vocabularies(void **s) {
    (void)s;
    each_tier(vocabularies);
}

/* ---- all of it together: a network over a random forest, planned for more than there is ---- */
typedef struct outcome {
    opnet w;
    float logp[4096];
    int acts;
} outcome;

static outcome *network(const hn_backend *b, int threads, uint64_t seed) {
    outcome *o = malloc(sizeof *o);
    hn_forest f;
    opnet_tape n;
    hn_err e = { 0 };
    assert_non_null(o);
    assert_int_equal(hn_pool_start(threads, NULL), HN_OK);
    hn_forest_init(&f);
    opnet_init(&o->w, seed);
    assert_int_equal(opnet_forest(&f, seed, 3, 70, NET_VOCAB, NULL), HN_OK);
    assert_true(f.n_act <= 4096);
    o->acts = f.n_act;
    if (opnet_record(&n, &o->w, b, f.n_token + 37, f.n_span + 5, f.n_act + 11, true, &e) ||
        opnet_run(&n, &f, &e) || opnet_run(&n, &f, &e)) /* twice: gradients add up */
        fail_msg("%s", e.msg);
    memcpy(o->logp, n.logp->data, (size_t)f.n_act * sizeof *o->logp);
    hn_tape_free(n.t);
    hn_forest_release(&f);
    return o;
}

static double worse(double a, double b) { return b > a || isnan(b) ? b : a; }

static void near_to(const float *a, const float *b, size_t n, const char *what) {
    double far = 0, top = 0;
    for (size_t i = 0; i < n; i++) {
        far = worse(far, fabs((double)a[i] - b[i]));
        top = worse(top, fabs((double)b[i]));
    }
    if (!(far <= 1e-4 * top)) fail_msg("%s, tier %s: %g of %g", what, hn_cpu_tier_name(), far, top);
}

static void networks(void) {
    for (uint64_t seed = 1; seed <= 4; seed++) {
        outcome *want = network(&hn_backend_ref, 1, seed), *got = network(&hn_backend_cpu, 1, seed);
        near_to(got->logp, want->logp, (size_t)want->acts, "logp");
        near_to(got->w.grad_emb, want->w.grad_emb, NET_V * NET_C, "gradient of the embedding");
        for (int l = 0; l < NET_LAYERS; l++)
            near_to(got->w.layer[l].grad, want->w.layer[l].grad, sizeof want->w.layer[l].grad / sizeof(float),
                    "gradient of qkv");
        for (int threads = 2; threads <= 4; threads += 2) {
            outcome *again = network(&hn_backend_cpu, threads, seed);
            assert_memory_equal(&again->w, &got->w, sizeof got->w);
            assert_memory_equal(again->logp, got->logp, (size_t)got->acts * sizeof *got->logp);
            free(again);
        }
        free(want), free(got);
    }
}
static void test_stored(void **s) {
    (void)s;
    each_tier(stored);
}
static void test_networks(void **s) {
    (void)s;
    each_tier(networks);
}

int main(void) {
    hn_poison = true;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_cases),       cmocka_unit_test(test_attention_shapes),
        cmocka_unit_test(test_attention_trees), cmocka_unit_test(test_wide_cases),
        cmocka_unit_test(test_wide_heads),      cmocka_unit_test(test_vocabularies),
        cmocka_unit_test(test_networks),        cmocka_unit_test(test_stored),
    };
    hn_err e = { 0 };
    if (hn_cpu_open(NULL, &e)) {
        print_error("%s\n", e.msg);
        return 1;
    }
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    free(spans_now);
    return rc;
}
