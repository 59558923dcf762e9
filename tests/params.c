/* params.c - the optimiser: AdamW against its definition in double, and the fast loops against the plain
 * ones, bit for bit on every tier. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/backend.h"
#include "cpu/cpu.h"
#include "nn/params.h"

enum { STEPS = 3 };
static const hn_adamw adam = { 0.9, 0.99, 1e-8, 0.1 };

static double number(int stream, int64_t i) {
    return (2 * hn_rand01(5, (uint64_t)stream, (uint64_t)i) - 1) *
           exp2(hn_rand(6, 0, (uint64_t)i) % 30 - 20.0);
}

/* A matrix with decay and a gain without, trained for some steps of made-up gradients. */
static void train(hn_params *p, const hn_backend *b, int64_t rows, int64_t cols, double *norm) {
    memset(p, 0, sizeof *p);
    hn_params_declare(p, "w.weight", (hn_shape){ 2, HN_FIXED, { rows, cols } }, true);
    hn_params_declare(p, "norm.weight", (hn_shape){ 1, HN_FIXED, { cols } }, false);
    assert_int_equal(hn_params_build(p, b, HN_PREC_F32, NULL), HN_OK);
    assert_int_equal(hn_params_train(p, NULL), HN_OK);
    for (int64_t i = 0; i < p->count; i++) p->value[i] = (float)number(1, i);
    for (int t = 1; t <= STEPS; t++) {
        for (int64_t i = 0; i < p->count; i++) p->grad[i] = (float)number(1 + t, i);
        norm[t - 1] = hn_params_grad_norm(p);
        hn_adamw_step(&adam, p, 0.01, t, 0.5);
    }
}

static void test_adamw_is_its_definition(void **state) {
    (void)state;
    hn_params p;
    double norm[STEPS];
    train(&p, &hn_backend_ref, 7, 9, norm);
    for (int64_t i = 0; i < p.count; i++) {
        double w = (float)number(1, i), m = 0, v = 0;
        for (int t = 1; t <= STEPS; t++) {
            double g = 0.5 * (float)number(1 + t, i);
            m = 0.9 * m + 0.1 * g;
            v = 0.99 * v + 0.01 * g * g;
            if (i < 63) w -= 0.01 * 0.1 * w;
            w -= 0.01 * (m / (1 - pow(0.9, t))) / (sqrt(v / (1 - pow(0.99, t))) + 1e-8);
        }
        assert_true(fabs(p.value[i] - w) <= 2e-6 * fabs(w) + 1e-7);
    }
    double sum = 0;
    for (int64_t i = 0; i < p.count; i++) sum += pow((float)number(STEPS + 1, i), 2);
    assert_true(fabs(norm[STEPS - 1] - sqrt(sum)) <= 1e-12 * sqrt(sum));
    hn_params_release(&p);
}

static void test_tiers_give_the_same_bits(void **state) {
    (void)state;
    static const int64_t size[][2] = { { 1, 1 }, { 3, 5 }, { 1, 17 }, { 33, 1009 } };
    hn_tier best = hn_cpu_tier();
    for (hn_tier tier = HN_TIER_C; tier <= best; tier++)
        for (size_t k = 0; k < sizeof size / sizeof *size; k++) {
            hn_params a, b;
            double x[STEPS], y[STEPS];
            hn_cpu_force(tier);
            train(&a, &hn_backend_ref, size[k][0], size[k][1], x);
            train(&b, &hn_backend_cpu, size[k][0], size[k][1], y);
            size_t bytes = (size_t)a.count * sizeof(float);
            assert_memory_equal(a.value, b.value, bytes);
            assert_memory_equal(a.moment[0], b.moment[0], bytes);
            assert_memory_equal(a.moment[1], b.moment[1], bytes);
            assert_memory_equal(x, y, sizeof x);
            hn_params_release(&a);
            hn_params_release(&b);
        }
    hn_cpu_force(best);
}

int main(void) {
    hn_err e = { 0 };
    if (hn_cpu_open(NULL, &e)) fail_msg("%s", e.msg);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw_is_its_definition),
        cmocka_unit_test(test_tiers_give_the_same_bits),
    };
    return cmocka_run_group_tests_name("params", tests, NULL, NULL);
}
