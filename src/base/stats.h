/* stats.h - the few statistics that decide: is it better, and how sure are we.
 *
 * Tests are exact where a count allows it, and resampling draws from counter-based random numbers, so
 * a p-value in a receipt can be computed again to the last bit.  Nothing here allocates or fails:
 * what it is given must make sense (hn_assert). */
#ifndef HN_STATS_H
#define HN_STATS_H

#include "base/base.h"

typedef struct hn_interval {
    double lo, hi;
} hn_interval;

/* ---- distributions ---- */
double hn_normal_quantile(double p);                   /* p in (0,1) */
double hn_beta_inc(double a, double b, double x);      /* regularised I_x(a,b); a,b > 0, x in [0,1] */
double hn_binom_upper(int64_t k, int64_t n, double p); /* P(X >= k), X ~ Binomial(n,p) */
double hn_t_cdf(double t, double dof);                 /* Student */
double hn_t_quantile(double p, double dof);            /* p in (0,1), dof > 0 */

/* ---- one proportion ----
 * Wilson (1927), the score interval: never outside [0,1], sound for few items and for 0 or n passes.
 * k passes of n items, confidence in (0,1).  n = 0: [0,1]. */
hn_interval hn_wilson(int64_t k, int64_t n, double confidence);

/* ---- two models on the same items ----
 * McNemar (1947), exact: only the items that changed speak, and under "no difference" each of them is
 * a fair coin. */
typedef struct hn_mcnemar {
    int64_t gained, lost; /* items that went from fail to pass, from pass to fail */
    double p_two;         /* the models differ */
    double p_better;      /* one-sided: the second is better */
} hn_mcnemar;
hn_mcnemar hn_mcnemar_exact(int64_t gained, int64_t lost);

/* d[i]: score of the second model minus score of the first on item i.  The mean's p-value under random
 * signs: exact over all 2^n signs where that is no more than `rounds`, else (1 + hits)/(1 + rounds)
 * over drawn signs (Phipson & Smyth 2010: never 0).  one_sided: the second is better. */
double hn_permutation_p(const double *d, int64_t n, int64_t rounds, bool one_sided, uint64_t seed);
/* Percentile bootstrap of the mean of d: `means` is room for `rounds` numbers, n >= 1. */
hn_interval hn_bootstrap_mean(const double *d, int64_t n, double *means, int64_t rounds, double confidence,
                              uint64_t seed);

/* ---- over seeds ---- */
typedef struct hn_summary {
    int64_t n;
    double mean, std; /* std with n - 1; 0 when n < 2 */
} hn_summary;
hn_summary hn_summarize(const double *x, int64_t n);        /* n >= 1 */
hn_interval hn_t_interval(hn_summary s, double confidence); /* of the mean; infinite when n < 2 */

/* ---- many rounds, one promise ----
 * A loop that tests every round would accept noise sooner or later.  The total chance of one false
 * acceptance stays below `total` because the rounds' shares sum to at most it (Bonferroni). */
typedef enum {
    HN_ALPHA_EQUAL, /* total / rounds, for a known number of rounds */
    HN_ALPHA_DECAY  /* total * 6 / (pi^2 r^2): sums to total over endlessly many rounds */
} hn_alpha_rule;
double hn_alpha_of_round(hn_alpha_rule rule, double total, int64_t rounds, int64_t round); /* round from 1 */
const char *hn_alpha_name(hn_alpha_rule rule);                                             /* for receipts */
#endif
