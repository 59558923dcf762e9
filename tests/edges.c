/* edges.c - kernels of the processor's backend where memory ends, in every tier this machine has.
 *
 * What tests/kernels.c cannot see: fewer live rows than there is room for (the rows beyond hold NaN and
 * indices out of range), an empty batch, writes before and after an output, gradients added to what is there,
 * outputs left out (opcase.h). */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/pool.h"
#include "cpu/backend.h"
#include "op/op.h"
#include "op/ops.h"
#include "opcase.h"

/* Weights that are packed: the second input of products. */
static bool is_packed(const hn_op *op) {
    return op == &hn_op_linear || op == &hn_op_linear_x || op == &hn_op_logp || op == &hn_op_logp_b ||
           op == &hn_op_logits;
}

static void against_reference(const opcase *k, unsigned absent, const char *how) {
    opout want, got;
    hn_err e = { 0 };
    if (opcase_run(k, &hn_backend_ref, absent, &want, &e) || opcase_run(k, &hn_backend_cpu, absent, &got, &e))
        fail_msg("%s %s (%s), tier %s: %s", k->op->name, k->c->name, how, hn_cpu_tier_name(), e.msg);
    double far = opcase_diff(&got, &want);
    if (!(far < 3e-5))
        fail_msg("%s %s (%s), tier %s: %g from the reference", k->op->name, k->c->name, how,
                 hn_cpu_tier_name(), far);
    opcase_free_out(&want);
    opcase_free_out(&got);
}

static void check(const hn_op *op, const hn_case *c) {
    static const char *const how[] = { "all rows", "half of the rows", "no rows" };
    for (int part = 0; part < OPCASE_PARTS; part++) {
        opcase k;
        hn_err e = { 0 };
        if (!opcase_draw(&k, op, c, part, 11)) continue;
        against_reference(&k, 0, how[part]);
        for (unsigned i = 0; i < HN_MAXOUT; i++)
            if (op->spare >> i & 1) against_reference(&k, 1u << i, how[part]);
        if (is_packed(op)) {
            const hn_tensor *w = k.ptr[1];
            if (hn_backend_cpu.side(&k.side[1], w->data, w->shape.d[0], hn_cols(w), (hn_prec)c->attr.i[0],
                                    true, &e))
                fail_msg("%s", e.msg);
            against_reference(&k, 0, "packed");
            hn_backend_cpu.side_free(k.side[1]);
        }
        opcase_free(&k);
    }
}

/* Larger than one block of anything; how inputs are filled is taken from the op's first case. */
static void larger(const hn_op *op, hn_case c) {
    c.name = "larger";
    c.fill = op->cases->fill;
    c.drop = op->cases->drop;
    check(op, &c);
}

static void larger_cases(void) {
    enum { N = 150, C = 70, V = 1100, VOCAB = 1030 };
    const hn_attr heads = { { 1e-5 }, { 4, 2 } }, head = { { 0.8 }, { 0, VOCAB } };
    const hn_case norm = { .in = { HN_T2(N, C), HN_S1(C), HN_T2(N, C) }, .attr = heads };
    const hn_case per_head = { .in = { HN_T2(N, 8 * 9), HN_S1(9), HN_S1(9), HN_T2(N, 8 * 9) },
                               .attr = heads };
    const hn_case turn = { .in = { HN_T2(N, 8 * 10), HN_T1(N), HN_S1(5) },
                           .bound = { 0, 3000 },
                           .attr = heads };
    const hn_case see = { .in = { HN_T2(300, 8 * 12), HN_SPAN(9) }, .bound = { 0, 1 }, .attr = heads };
    const hn_case see_b = { .in = { HN_T2(300, 8 * 12), HN_T2(300, 48), HN_T2(300, 4), HN_T2(300, 48),
                                    HN_SPAN(9) },
                            .bound = { 0, 0, 0, 0, 1 },
                            .attr = heads };
    const hn_case cache = { .in = { HN_T2(33, 8 * 12), HN_T2(33, 2), { 4, HN_FIXED, { 4, 2, 3, 200 } } },
                            .bound = { 0, 1, HN_CASE_HOST },
                            .attr = { { 0 }, { 4, 2 } } };
    const hn_case pick = { .in = { HN_A2(N, C), HN_S2(V, C), HN_A1(N), HN_A1(N), HN_A2(N, 4), HN_A1(N) },
                           .bound = { 0, 0, VOCAB },
                           .attr = head };
    const hn_case look = { .in = { HN_S2(V, C), HN_T1(N) }, .bound = { 0, V } };
    const hn_case unlook = { .in = { HN_T2(N, C), HN_T1(N), HN_S2(V, C) }, .bound = { 0, V } };
    larger(&hn_op_linear, (hn_case){ .in = { HN_T2(N, C), HN_S2(130, C), HN_S1(130) } });
    larger(&hn_op_linear_x, (hn_case){ .in = { HN_T2(N, 130), HN_S2(130, C) } });
    larger(&hn_op_linear_w, (hn_case){ .in = { HN_T2(N, 130), HN_T2(N, C) } });
    larger(&hn_op_linear_b, (hn_case){ .in = { HN_T2(N, 130) } });
    larger(&hn_op_rmsnorm, norm), larger(&hn_op_rmsnorm_x, norm), larger(&hn_op_rmsnorm_w, norm);
    larger(&hn_op_headnorm, per_head), larger(&hn_op_headnorm_x, per_head);
    larger(&hn_op_headnorm_w, per_head);
    larger(&hn_op_rope, turn), larger(&hn_op_rope_b, turn);
    larger(&hn_op_swiglu, (hn_case){ .in = { HN_T2(N, 2 * C) } });
    larger(&hn_op_swiglu_b, (hn_case){ .in = { HN_T2(N, 2 * C), HN_T2(N, C) } });
    larger(&hn_op_attn, see), larger(&hn_op_attn_b, see_b), larger(&hn_op_attnkv, cache);
    larger(&hn_op_logp, pick), larger(&hn_op_logp_b, pick), larger(&hn_op_logits, pick);
    larger(&hn_op_embed, look), larger(&hn_op_embed_w, unlook);
}

static void in_each_tier(void (*body)(void)) {
    hn_tier best = hn_cpu_tier();
    assert_int_equal(hn_pool_start(2, NULL), HN_OK);
    for (hn_tier t = HN_TIER_C; t <= best; t++) {
        hn_cpu_force(t);
        body();
    }
    hn_cpu_force(best);
    hn_pool_stop();
}

static void own_cases(void) {
    for (const hn_op *const *op = opcase_ops; *op; op++)
        for (const hn_case *c = (*op)->cases; c->name; c++) check(*op, c);
}
static void test_own_cases(void **s) {
    (void)s;
    in_each_tier(own_cases);
}
static void test_larger_cases(void **s) {
    (void)s;
    in_each_tier(larger_cases);
}

/* A tape that was planned with packed weights and runs without them would write beyond its scratch: it ends
 * the program instead. */
static void run_without_packs(hn_prec prec) {
    enum { N = 3, C = 40, V = 200 };
    float *w = calloc(V * C, sizeof *w), x[N * C] = { 0 };
    int32_t id[N] = { 0 };
    void *side = NULL;
    hn_err e = { 0 };
    assert_int_equal(hn_backend_cpu.side(&side, w, V, C, prec, false, &e), HN_OK);
    for (int which = 0; which < 3; which++) {
        hn_tape *t = hn_tape_new(&hn_backend_cpu);
        hn_tensor *row = hn_leaf(t, HN_F, (hn_shape){ 2, HN_FIXED, { N, C } }, x);
        hn_tensor *weight = hn_leaf(t, HN_F, (hn_shape){ 2, HN_FIXED, { V, C } }, w);
        weight->side = side;
        if (which == 0) hn_keep(hn_linear(t, row, weight, NULL, prec));
        if (which == 1) hn_keep(hn_logits(t, row, weight, V, prec));
        if (which == 2)
            hn_keep(hn_logp(t, row, weight, hn_leaf(t, HN_I32, (hn_shape){ 1, HN_FIXED, { N } }, id), 1, V,
                            prec));
        assert_int_equal(hn_tape_plan(t, &e), HN_OK);
        assert_int_equal(hn_run(t, &e), HN_OK);
        pid_t child = fork();
        if (!child) {
            close(STDERR_FILENO); /* what it says about itself */
            weight->side = NULL;
            hn_run(t, &e);
            _exit(0);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
        hn_tape_free(t);
    }
    hn_backend_cpu.side_free(side);
    free(w);
}
static void test_packs_are_kept(void **s) {
    (void)s;
    hn_tier best = hn_cpu_tier();
    for (hn_tier t = HN_TIER_C; t <= best; t++) {
        hn_cpu_force(t);
        run_without_packs(HN_PREC_F32);
        run_without_packs(HN_PREC_BF16);
    }
    hn_cpu_force(best);
}

/* hn_read rounds to the nearest of the two bfloat16 numbers around, to the even one when they are as near. */
static void test_bf16_rounding(void **s) {
    (void)s;
    for (uint32_t hi = 0; hi < 0x10000; hi++)
        for (int low = 0; low < 5; low++) {
            static const uint32_t tail[5] = { 0, 1, 0x7fff, 0x8000, 0x8001 };
            uint32_t u = hi << 16 | tail[low], back;
            float x, y;
            memcpy(&x, &u, sizeof x);
            y = hn_read(x, HN_PREC_BF16);
            memcpy(&back, &y, sizeof y);
            if (isnan(x)) {
                assert_true(isnan(y));
                continue;
            }
            uint32_t want = hi + (tail[low] > 0x8000 || (tail[low] == 0x8000 && hi & 1));
            assert_int_equal(back, want << 16);
            assert_true(hn_read(x, HN_PREC_F32) == x);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_cases),
        cmocka_unit_test(test_larger_cases),
        cmocka_unit_test(test_bf16_rounding),
        cmocka_unit_test(test_packs_are_kept),
    };
    hn_err e = { 0 };
    hn_poison = true;
    if (hn_cpu_open(NULL, &e)) {
        print_error("%s\n", e.msg);
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
