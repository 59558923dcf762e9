/* stats.c - intervals, exact tests, resampling, and shares of alpha. */
#include "base/stats.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

/* ---- distributions ---- */
static double normal_cdf(double x) { return 0.5 * erfc(-x * M_SQRT1_2); }

/* The x in [lo,hi] where the rising f(x, dof) crosses p. */
static double bisect(double (*f)(double, double), double dof, double p, double lo, double hi) {
    for (int i = 0; i < 200 && lo < hi; i++) {
        double mid = lo + 0.5 * (hi - lo);
        if (mid == lo || mid == hi) break;
        if (f(mid, dof) < p) lo = mid;
        else hi = mid;
    }
    return 0.5 * (lo + hi);
}

static double normal_of(double x, double unused) {
    (void)unused;
    return normal_cdf(x);
}

double hn_normal_quantile(double p) {
    hn_assert(p > 0 && p < 1);
    if (p > 0.5) return -hn_normal_quantile(1 - p); /* the lower tail has the digits */
    return bisect(normal_of, 0, p, -40, 0);
}

static double log_gamma(double x) {
    int sign; /* lgamma itself writes a global */
    return lgamma_r(x, &sign);
}

/* The continued fraction of the incomplete beta function, evaluated by Lentz's method
 * (Abramowitz & Stegun 26.5.8).  Converges fast for x < (a+1)/(a+b+2). */
static double beta_fraction(double a, double b, double x) {
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double f = d;
    for (int m = 1; m < 100000; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        for (int k = 0; k < 2; k++) {
            double coefficient = k ? odd : even;
            d = 1 + coefficient * d;
            c = 1 + coefficient / c;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            if (fabs(c) < tiny) c = tiny;
            f *= c * d;
        }
        if (fabs(c * d - 1) < 4 * DBL_EPSILON) break;
    }
    return f;
}

double hn_beta_inc(double a, double b, double x) {
    hn_assert(a > 0 && b > 0 && x >= 0 && x <= 1);
    if (x == 0 || x == 1) return x;
    double front = exp(a * log(x) + b * log1p(-x) + log_gamma(a + b) - log_gamma(a) - log_gamma(b));
    if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
    return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double hn_binom_upper(int64_t k, int64_t n, double p) {
    hn_assert(n >= 0 && p >= 0 && p <= 1);
    if (k <= 0) return 1;
    if (k > n) return 0;
    return hn_beta_inc((double)k, (double)(n - k + 1), p);
}

double hn_t_cdf(double t, double dof) {
    hn_assert(dof > 0);
    double tail = 0.5 * hn_beta_inc(0.5 * dof, 0.5, dof / (dof + t * t));
    return t > 0 ? 1 - tail : tail;
}

double hn_t_quantile(double p, double dof) {
    hn_assert(p > 0 && p < 1);
    if (p > 0.5) return -hn_t_quantile(1 - p, dof);
    double lo = -1;
    while (hn_t_cdf(lo, dof) > p && lo > -1e150) lo *= 2;
    return bisect(hn_t_cdf, dof, p, lo, 0);
}

/* ---- one proportion ---- */
hn_interval hn_wilson(int64_t k, int64_t n, double confidence) {
    hn_assert(n >= 0 && k >= 0 && k <= n && confidence > 0 && confidence < 1);
    if (n == 0) return (hn_interval){ 0, 1 };
    double z = -hn_normal_quantile(0.5 * (1 - confidence)), N = (double)n, p = (double)k / N;
    double scale = 1 / (1 + z * z / N), middle = scale * (p + z * z / (2 * N));
    double half = scale * z * sqrt(p * (1 - p) / N + z * z / (4 * N * N));
    /* exactly 0 and 1 at the ends, where the formula leaves rounding dust */
    return (hn_interval){ k == 0 ? 0 : middle - half, k == n ? 1 : middle + half };
}

/* ---- two models on the same items ---- */
hn_mcnemar hn_mcnemar_exact(int64_t gained, int64_t lost) {
    hn_assert(gained >= 0 && lost >= 0);
    int64_t n = gained + lost, larger = gained > lost ? gained : lost;
    double two = 2 * hn_binom_upper(larger, n, 0.5);
    return (hn_mcnemar){ gained, lost, two < 1 ? two : 1, hn_binom_upper(gained, n, 0.5) };
}

/* The sum of d with signs: bit i of a mask, or of a drawn word. */
static double signed_sum(const double *d, int64_t n, uint64_t seed, uint64_t round, bool drawn) {
    double sum = 0;
    uint64_t bits = round;
    for (int64_t i = 0; i < n; i++) {
        if (drawn && i % 64 == 0)
            bits = hn_rand(seed, hn_key(hn_key(0, 0x7065726d), round), (uint64_t)i / 64);
        sum += bits >> (i % 64) & 1 ? -d[i] : d[i];
    }
    return sum;
}

double hn_permutation_p(const double *d, int64_t n, int64_t rounds, bool one_sided, uint64_t seed) {
    hn_assert(n >= 0 && rounds >= 1);
    double seen = 0, size = 0;
    for (int64_t i = 0; i < n; i++) seen += d[i], size += fabs(d[i]);
    double slack = 1e-12 * size; /* sums that are equal but for rounding count as equal */
    bool all = n < 62 && INT64_C(1) << n <= rounds;
    int64_t draws = all ? INT64_C(1) << n : rounds, hits = 0;
    for (int64_t r = 0; r < draws; r++) {
        double s = signed_sum(d, n, seed, (uint64_t)r, !all);
        hits += one_sided ? s >= seen - slack : fabs(s) >= fabs(seen) - slack;
    }
    return all ? (double)hits / (double)draws : (1 + (double)hits) / (1 + (double)draws);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The q-quantile of sorted x by linear interpolation between order statistics. */
static double quantile(const double *x, int64_t n, double q) {
    double at = q * (double)(n - 1);
    int64_t i = (int64_t)at;
    return i + 1 < n ? x[i] + (at - (double)i) * (x[i + 1] - x[i]) : x[n - 1];
}

hn_interval hn_bootstrap_mean(const double *d, int64_t n, double *means, int64_t rounds, double confidence,
                              uint64_t seed) {
    hn_assert(n >= 1 && rounds >= 1 && confidence > 0 && confidence < 1);
    for (int64_t r = 0; r < rounds; r++) {
        uint64_t stream = hn_key(hn_key(0, 0x626f6f74), (uint64_t)r);
        double sum = 0;
        for (int64_t i = 0; i < n; i++) {
            sum += d[hn_rand(seed, stream, (uint64_t)i) % (uint64_t)n];
        }
        means[r] = sum / (double)n;
    }
    qsort(means, (size_t)rounds, sizeof *means, by_value);
    double tail = 0.5 * (1 - confidence);
    return (hn_interval){ quantile(means, rounds, tail), quantile(means, rounds, 1 - tail) };
}

/* ---- over seeds ---- */
hn_summary hn_summarize(const double *x, int64_t n) {
    hn_assert(n >= 1);
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    double mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
    return (hn_summary){ n, mean, n < 2 ? 0 : sqrt(squares / (double)(n - 1)) };
}

hn_interval hn_t_interval(hn_summary s, double confidence) {
    hn_assert(confidence > 0 && confidence < 1);
    if (s.n < 2) return (hn_interval){ -INFINITY, INFINITY };
    double dof = (double)(s.n - 1);
    double half = -hn_t_quantile(0.5 * (1 - confidence), dof) * s.std / sqrt((double)s.n);
    return (hn_interval){ s.mean - half, s.mean + half };
}

/* ---- many rounds, one promise ---- */
double hn_alpha_of_round(hn_alpha_rule rule, double total, int64_t rounds, int64_t round) {
    hn_assert(total > 0 && total < 1 && round >= 1);
    if (rule == HN_ALPHA_EQUAL) {
        hn_assert(round <= rounds);
        return total / (double)rounds;
    }
    return total * 6 / (M_PI * M_PI * (double)round * (double)round);
}

const char *hn_alpha_name(hn_alpha_rule rule) {
    return rule == HN_ALPHA_EQUAL ? "bonferroni: total divided by rounds"
                                  : "bonferroni: total * 6 / (pi^2 round^2)";
}
