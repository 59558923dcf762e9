/* simd.c - the vector vocabulary in every tier this machine has: exp, bf16 rounding, tails, reductions. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/vec.h"

static float from_bits(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t to_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static void each_tier(void (*check)(void)) {
    hn_tier best = hn_cpu_tier();
    for (hn_tier t = HN_TIER_C; t <= best; t++) {
        hn_cpu_force(t);
        check();
    }
    hn_cpu_force(best);
}

static void exp_check(void) {
    double worst = 0;
    for (double at = -87.3; at < 88.72; at += 0.0007) {
        float x = (float)at, y;
        if (x < -87.3f) continue;
        hn_vec_exp(&y, &x, 1);
        double want = exp((double)x), ulp = nextafterf((float)want, INFINITY) - (float)want;
        worst = fmax(worst, fabs(y - want) / ulp);
        assert_true(isfinite(y) && fabs(y - want) <= 1.2 * ulp);
    }
    assert_true(worst > 0.4); /* the comparison sees something */
    float x[6] = { -INFINITY, -88, INFINITY, 89, NAN, 0 }, y[7];
    y[6] = 7;
    hn_vec_exp(y, x, 6);
    assert_true(y[0] == 0 && y[1] == 0 && y[2] == INFINITY && y[3] == INFINITY && isnan(y[4]) && y[5] == 1);
    assert_true(y[6] == 7);
}
static void test_exp(void **s) {
    (void)s;
    each_tier(exp_check);
}

/* The nearest bf16 by the definition: of the two neighbours the closer one, at a tie the even one. */
static uint16_t round_slow(float x) {
    uint32_t u = to_bits(x), down = u & 0xffff0000u;
    uint32_t rest = u & 0xffff;
    if (isnan(x)) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((down >> 16) + (rest > 0x8000 || (rest == 0x8000 && (down >> 16 & 1))));
}

static void bf16_check(void) {
    for (uint32_t i = 0; i < 300000; i++) {
        float x = from_bits((uint32_t)hn_rand(1, 2, i));
        if (i < 65536) x = from_bits(i << 16 | 0x8000); /* every tie */
        uint16_t y;
        hn_vec_to_bf16(&y, &x, 1);
        assert_int_equal(y, round_slow(x));
        float back;
        hn_vec_from_bf16(&back, &y, 1);
        assert_int_equal(to_bits(back), (uint32_t)y << 16);
    }
}
static void test_bf16(void **s) {
    (void)s;
    each_tier(bf16_check);
}

/* Every length up to 70: what lies beyond is untouched, and a lane's bits do not depend on its place. */
static void tails_check(void) {
    enum { N = 70 };
    float x[N], y[N + 1], one;
    uint16_t b[N + 1], b1;
    for (int i = 0; i < N; i++) x[i] = (float)hn_rand_normal(3, 0, (uint64_t)i) * 5;
    for (int n = 0; n <= N; n++) {
        y[n] = 3;
        b[n] = 0x1234;
        hn_vec_exp(y, x, n);
        hn_vec_to_bf16(b, x, n);
        assert_true(y[n] == 3 && b[n] == 0x1234);
        for (int i = 0; i < n; i++) {
            hn_vec_exp(&one, x + i, 1);
            hn_vec_to_bf16(&b1, x + i, 1);
            assert_int_equal(to_bits(one), to_bits(y[i]));
            assert_int_equal(b1, b[i]);
        }
        double sum = 0;
        float max = -INFINITY;
        for (int i = 0; i < n; i++) sum += x[i], max = fmaxf(max, x[i]);
        assert_true(fabs(hn_vec_sum(x, n) - sum) < 1e-4);
        assert_true(hn_vec_max(x, n) == max);
    }
    x[13] = NAN;
    assert_true(isnan(hn_vec_sum(x, N)));
}
static void test_tails(void **s) {
    (void)s;
    each_tier(tails_check);
}

static void test_open(void **s) {
    (void)s;
    hn_err e = { 0 };
    hn_tier best = hn_cpu_tier();
    assert_int_equal(hn_cpu_open("neon", &e), HN_EPARSE);
    assert_non_null(strstr(e.msg, "neon"));
    for (hn_tier t = HN_TIER_C; t <= HN_TIER_AMX; t++) {
        e = (hn_err){ 0 };
        int rc = hn_cpu_open(hn_tier_name(t), &e);
        assert_int_equal(rc, t <= best ? HN_OK : HN_EUNSUP);
        if (rc == HN_OK) assert_int_equal(hn_cpu_tier(), t);
        else assert_non_null(strstr(e.msg, "up to"));
    }
    assert_int_equal(hn_cpu_open(hn_tier_name(best), NULL), HN_OK);
    assert_non_null(strstr(hn_cpu_why(), hn_tier_name(best)));
    hn_alloc_fuse = 0;
    e = (hn_err){ 0 };
    int rc = hn_cpu_open(NULL, &e);
    hn_alloc_fuse = -1;
    assert_true(best == HN_TIER_C || rc == HN_ENOMEM);
    assert_int_equal(hn_cpu_open(hn_tier_name(best), NULL), HN_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_exp), cmocka_unit_test(test_bf16),
                                        cmocka_unit_test(test_tails), cmocka_unit_test(test_open) };
    hn_err e = { 0 };
    if (hn_cpu_open(NULL, &e)) {
        print_error("%s\n", e.msg);
        return 1;
    }
    print_message("%s\n", hn_cpu_why());
    return cmocka_run_group_tests(tests, NULL, NULL);
}
