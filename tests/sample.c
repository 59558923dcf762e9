/* sample.c - a draw against the definition: sort, keep, walk; ties, extremes, and the frequencies of many
 * draws. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/vec.h"
#include "gen/gen.h"

enum { MOST = 3000 };
static float weight[MOST];

static int likelier(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return weight[x] != weight[y] ? (weight[x] < weight[y] ? 1 : -1) : (x > y) - (x < y);
}

/* What the draw is by definition; *kept is how many tokens the filters leave. */
static int32_t slow(const float *z, int n, const hn_sampling *how, double u, int *kept) {
    static int32_t id[MOST];
    static bool in[MOST];
    int32_t top = 0, last = 0;
    for (int i = 1; i < n; i++)
        if (z[i] > z[top]) top = i;
    hn_vec_weights(weight, z, n, z[top], (float)(1 / how->temperature));
    for (int i = 0; i < n; i++) id[i] = i, in[i] = false;
    qsort(id, (size_t)n, sizeof *id, likelier);
    int keep = how->top_k > 0 && how->top_k < n ? (int)how->top_k : n, m = 0;
    double total = 0, sum = 0;
    for (int i = 0; i < keep; i++) total += weight[id[i]];
    while (how->top_p < 1 && m < keep && sum < how->top_p * total) sum += weight[id[m++]];
    if (how->top_p < 1) keep = m;
    while (how->min_p > 0 && keep > 1 && weight[id[keep - 1]] < (float)how->min_p) keep--;
    for (int i = 0; i < keep; i++) in[id[i]] = weight[id[i]] > 0;
    total = sum = 0;
    for (int i = 0; i < n; i++) total += in[i] ? weight[i] : 0;
    *kept = keep;
    for (int i = 0; i < n; i++) {
        if (!in[i]) continue;
        last = i;
        if ((sum += weight[i]) > u * total) return i;
    }
    return last;
}

static double roll(uint64_t a, uint64_t b) { return hn_rand01(9, a, b); }

static void test_definition(void **state) {
    (void)state;
    float z[MOST];
    void *scratch = hn_alloc(hn_sample_scratch(MOST));
    int narrow = 0, wide = 0;
    for (uint64_t t = 0; t < 4000; t++) {
        int n = 1 + (int)(roll(t, 0) * (t % 4 ? 200 : MOST - 1)), kept;
        double spread = pow(10, 3 * roll(t, 1) - 1);
        for (int i = 0; i < n; i++) {
            z[i] = (float)(spread * (2 * roll(t, 100 + (uint64_t)i) - 1));
            if (t % 3 == 0) z[i] = roundf(z[i]); /* ties */
            if (t % 7 == 0 && i % 5 == 0) z[i] = -INFINITY;
        }
        if (t % 7 == 0) z[n - 1] = 1;
        hn_sampling how = { .temperature = t % 2 ? 1 : 0.1 + 2 * roll(t, 2), .top_p = 1 };
        if (t & 4) how.top_k = 1 + (int64_t)(roll(t, 3) * n * 1.2);
        if (t & 8) how.top_p = roll(t, 4);
        if (t & 16) how.min_p = roll(t, 5) * roll(t, 5);
        double u = t % 50 == 0 ? 0.9999999999999999 : roll(t, 6);
        int32_t want = slow(z, n, &how, u, &kept), got = hn_sample(z, n, &how, u, scratch);
        assert_int_equal(got, want);
        narrow += kept == 1, wide += kept > 100;
    }
    assert_true(narrow > 100 && wide > 100); /* both ends were seen */
    hn_free(scratch);
}

static void test_greedy(void **state) {
    (void)state;
    float z[5] = { 1, 3, 3, -INFINITY, 2 };
    void *scratch = hn_alloc(hn_sample_scratch(5));
    hn_sampling greedy = { .temperature = 0, .top_p = 1 },
                first = { .temperature = 1, .top_p = 1, .top_k = 1 };
    assert_int_equal(hn_sample(z, 5, &greedy, 0.99, scratch), 1); /* the lowest id of equals */
    assert_int_equal(hn_sample(z, 5, &first, 0.99, scratch), 1);
    hn_free(scratch);
}

static void test_frequencies(void **state) {
    (void)state;
    enum { N = 200, DRAWS = 200000 };
    float z[N];
    static int64_t seen[N];
    void *scratch = hn_alloc(hn_sample_scratch(N));
    double total = 0, chi = 0;
    hn_sampling how = { .temperature = 0.7, .top_p = 1 };
    for (int i = 0; i < N; i++) total += exp((z[i] = (float)(2 * roll(1, (uint64_t)i))) / 0.7);
    for (uint64_t d = 0; d < DRAWS; d++) seen[hn_sample(z, N, &how, roll(2, d), scratch)]++;
    for (int i = 0; i < N; i++) {
        double want = DRAWS * exp(z[i] / 0.7) / total;
        chi += pow((double)seen[i] - want, 2) / want;
    }
    assert_true(chi > 120 && chi < 290); /* 199 degrees of freedom: mean 199, deviation 20 */
    hn_free(scratch);
}

int main(void) {
    hn_err e = { 0 };
    if (hn_cpu_open(NULL, &e)) fail_msg("%s", e.msg);
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_definition), cmocka_unit_test(test_greedy),
                                        cmocka_unit_test(test_frequencies) };
    return cmocka_run_group_tests_name("sample", tests, NULL, NULL);
}
