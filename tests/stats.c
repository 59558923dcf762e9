/* stats.c - the statistics against values of scipy 1.x (norm, t, binomtest, betainc, permutation_test) and by
 * hand. */
#include "base/stats.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NEAR(x, want, rel) near(x, want, rel, __LINE__)

static void near(double x, double want, double rel, int line) {
    if (!(fabs(x - want) <= rel * fabs(want) + 1e-300)) fail_msg("line %d: %.17g, want %.17g", line, x, want);
}

static void distributions(void **state) {
    (void)state;
    NEAR(hn_normal_quantile(1e-12), -7.034483825301131, 1e-12);
    NEAR(hn_normal_quantile(0.025), -1.9599639845400545, 1e-13);
    NEAR(hn_normal_quantile(0.975), 1.959963984540054, 1e-13);
    NEAR(hn_normal_quantile(0.9999), 3.719016485455709, 1e-11);
    assert_true(fabs(hn_normal_quantile(0.5)) < 1e-15);

    NEAR(hn_beta_inc(0.5, 0.5, 0.3), 0.36901011956554536, 1e-13);
    NEAR(hn_beta_inc(2, 3, 0.5), 0.6875, 1e-14);
    NEAR(hn_beta_inc(10, 200, 0.03), 0.10050835237144835, 1e-12);
    NEAR(hn_beta_inc(1000, 1200, 0.45), 0.33466234267154027, 1e-11);
    NEAR(hn_beta_inc(5, 0.5, 0.99), 0.7571581091015623, 1e-13);
    NEAR(hn_beta_inc(100000, 100100, 0.5), 0.5884468031488597, 1e-8);

    NEAR(hn_binom_upper(3, 10, 0.5), 0.9453125, 1e-14);
    NEAR(hn_binom_upper(60, 100, 0.5), 0.028443966820490444, 1e-12);
    NEAR(hn_binom_upper(1, 7, 0.1), 0.5217031, 1e-13);
    NEAR(hn_binom_upper(5200, 10000, 0.5), 3.2967577993361714e-05, 1e-9);
    NEAR(hn_binom_upper(99, 100, 0.9), 0.00032168805319411577, 1e-12);
    assert_true(hn_binom_upper(0, 5, 0.5) == 1 && hn_binom_upper(6, 5, 0.5) == 0);

    NEAR(hn_t_cdf(2, 4), 0.9419417382415922, 1e-13);
    NEAR(hn_t_cdf(-1.3, 1), 0.20871440016015272, 1e-13);
    NEAR(hn_t_cdf(0, 9), 0.5, 1e-15);
    NEAR(hn_t_cdf(3.3, 100.5), 0.9993307097053857, 1e-13);
    NEAR(hn_t_cdf(-40, 3), 1.7190340394579253e-05, 1e-12);
    NEAR(hn_t_quantile(0.975, 4), 2.7764451051977934, 1e-12);
    NEAR(hn_t_quantile(0.025, 1), -12.706204736174705, 1e-12);
    NEAR(hn_t_quantile(0.6, 9), 0.260955336473911, 1e-12);
    NEAR(hn_t_quantile(0.999, 2), 22.327124770119866, 1e-11);
    NEAR(hn_t_quantile(0.975, 1e6), 1.959966356814107, 1e-9);
}

static void wilson(void **state) {
    (void)state;
    static const struct {
        int64_t k, n;
        double conf, lo, hi;
    } cases[] = {
        { 0, 10, 0.95, 0, 0.27753279986288926 },
        { 10, 10, 0.95, 0.7224672001371109, 1 },
        { 7, 20, 0.95, 0.1811918241010821, 0.5671457233147637 },
        { 81, 263, 0.95, 0.2552885198782742, 0.36620957698280004 },
        { 500, 1000, 0.99, 0.45940700521208483, 0.5405929947879151 },
        { 1, 1, 0.9, 0.2698659487840541, 1 },
        { 0, 0, 0.95, 0, 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hn_interval w = hn_wilson(cases[i].k, cases[i].n, cases[i].conf);
        NEAR(w.lo, cases[i].lo, 1e-12);
        NEAR(w.hi, cases[i].hi, 1e-12);
    }
}

static void mcnemar(void **state) {
    (void)state;
    static const struct {
        int64_t gained, lost;
        double two, better;
    } cases[] = {
        { 10, 3, 0.09228515625, 0.046142578125 }, /* 378 / 8192 */
        { 3, 10, 0.09228515625, 0.98876953125 },
        { 5, 5, 1, 0.623046875 },
        { 0, 0, 1, 1 },
        { 1, 0, 1, 0.5 },
        { 60, 40, 0.05688793364098089, 0.028443966820490444 },
        { 400, 300, 0.0001784763144856244, 8.92381572428122e-05 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hn_mcnemar m = hn_mcnemar_exact(cases[i].gained, cases[i].lost);
        NEAR(m.p_two, cases[i].two, 1e-11);
        NEAR(m.p_better, cases[i].better, 1e-11);
        assert_int_equal(m.gained, cases[i].gained);
        assert_int_equal(m.lost, cases[i].lost);
    }
}

static void permutation(void **state) {
    (void)state;
    const double d[8] = { 0.5, -0.25, 1, 0, 0.75, -0.5, 0.25, 0.3 };
    NEAR(hn_permutation_p(d, 8, 1000, false, 1), 0.21875, 1e-14); /* all 256 signs */
    NEAR(hn_permutation_p(d, 8, 1000, true, 1), 0.109375, 1e-14);
    NEAR(hn_permutation_p(d, 8, 200, true, 1), 0.109375, 0.6); /* drawn signs: near, and never 0 */
    assert_true(hn_permutation_p(d, 8, 200, true, 1) == hn_permutation_p(d, 8, 200, true, 1));
    double up[100]; /* +1 sixty times, -1 forty times: the sign test again */
    for (int i = 0; i < 100; i++) up[i] = i < 60 ? 1 : -1;
    NEAR(hn_permutation_p(up, 100, 40000, true, 5), 0.028443966820490444, 0.1);
    NEAR(hn_permutation_p(up, 100, 40000, false, 5), 0.05688793364098089, 0.1);
    double none[3] = { 0, 0, 0 };
    assert_true(hn_permutation_p(none, 3, 100, false, 0) == 1);
}

static void bootstrap(void **state) {
    (void)state;
    double d[200], means[4000];
    for (int i = 0; i < 200; i++) d[i] = i % 4 == 0; /* mean 0.25, standard error 0.0306 */
    hn_interval b = hn_bootstrap_mean(d, 200, means, 4000, 0.95, 3);
    assert_true(fabs(b.lo - 0.19) < 0.01 && fabs(b.hi - 0.31) < 0.01);
    double one = 0.5;
    b = hn_bootstrap_mean(&one, 1, means, 10, 0.9, 3);
    assert_true(b.lo == 0.5 && b.hi == 0.5);
}

static void seeds(void **state) {
    (void)state;
    const double x[5] = { 0.31, 0.35, 0.29, 0.40, 0.33 };
    hn_summary s = hn_summarize(x, 5);
    NEAR(s.mean, 0.336, 1e-14);
    NEAR(s.std, 0.04219004621945798, 1e-13);
    hn_interval t = hn_t_interval(s, 0.95);
    NEAR(t.lo, 0.2836141385267462, 1e-12);
    NEAR(t.hi, 0.3883858614732538, 1e-12);
    t = hn_t_interval(hn_summarize(x, 1), 0.95);
    assert_true(isinf(t.lo) && isinf(t.hi));
}

static void alpha(void **state) {
    (void)state;
    double sum = 0;
    for (int r = 1; r <= 8; r++) sum += hn_alpha_of_round(HN_ALPHA_EQUAL, 0.05, 8, r);
    NEAR(sum, 0.05, 1e-13);
    sum = 0;
    for (int r = 1; r <= 100000; r++) sum += hn_alpha_of_round(HN_ALPHA_DECAY, 0.05, 0, r);
    assert_true(sum < 0.05 && sum > 0.0499);
    NEAR(hn_alpha_of_round(HN_ALPHA_DECAY, 0.05, 0, 1), 0.030396355092701331, 1e-13);
    assert_non_null(hn_alpha_name(HN_ALPHA_EQUAL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distributions), cmocka_unit_test(wilson),    cmocka_unit_test(mcnemar),
        cmocka_unit_test(permutation),   cmocka_unit_test(bootstrap), cmocka_unit_test(seeds),
        cmocka_unit_test(alpha),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
