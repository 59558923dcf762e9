/* sample.c - one token from a row of logits: temperature, top-k, top-p, min-p, then inverse CDF.
 *
 * The draw is a pure function of (logits, settings, u).  Filters are applied in the order of `transformers`:
 * top-k, top-p (the smallest set whose probability reaches top_p), min-p (relative to the likeliest). */
#include "gen/gen.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    float p;
    int32_t id;
} cand;

size_t hn_sample_scratch(int64_t n) { return (size_t)n * (sizeof(cand) + sizeof(float)); }

static int32_t argmax(const hn_real *z, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (z[i] > z[best]) best = i;
    return (int32_t)best;
}

/* e^x for x <= 0 in plain arithmetic, so that the compiler vectorises the loop; 0 below -87. */
static inline float exp_neg(float x) {
    float y = x < -87.0f ? -87.0f : x;
    float k = y * 1.44269504f;
    int32_t n = (int32_t)(k - 0.5f); /* k <= 0: nearest integer */
    float r = y - (float)n * 0.693359375f + (float)n * 2.12194440e-4f;
    float q = 1 + r * (1 + r * (0.5f + r * (0.166666667f +
                                            r * (0.0416666667f + r * (8.3333333e-3f + r * 1.388889e-3f)))));
    int32_t bits = (n + 127) << 23;
    float s;
    memcpy(&s, &bits, sizeof s);
    return x < -87.0f ? 0.0f : q * s;
}

static int likelier(const void *a, const void *b) {
    const cand *x = a, *y = b;
    return x->p != y->p ? (x->p < y->p ? 1 : -1) : (x->id > y->id) - (x->id < y->id);
}

/* Keeps the candidates the filters allow, likeliest first; returns how many. */
static int64_t filter(cand *c, int64_t n, const hn_sampling *how, double total) {
    qsort(c, (size_t)n, sizeof *c, likelier);
    int64_t keep = how->top_k > 0 && how->top_k < n ? how->top_k : n;
    if (keep < n) {
        total = 0;
        for (int64_t i = 0; i < keep; i++) total += c[i].p;
    }
    if (how->top_p < 1) {
        double sum = 0;
        int64_t i = 0;
        while (i < keep && sum < how->top_p * total) sum += c[i++].p;
        keep = i > 0 ? i : 1;
    }
    if (how->min_p > 0) {
        int64_t i = 1;
        while (i < keep && c[i].p >= how->min_p * c[0].p) i++;
        keep = i;
    }
    return keep;
}

int32_t hn_sample(const hn_real *logits, int64_t n, const hn_sampling *how, double u, void *scratch) {
    int32_t top = argmax(logits, n);
    if (how->temperature <= 0 || how->top_k == 1) return top;
    cand *c = scratch;
    float *p = (float *)(void *)(c + n);
    const float by = (float)(1 / how->temperature), m = (float)logits[top];
    for (int64_t i = 0; i < n; i++) p[i] = exp_neg(((float)logits[i] - m) * by);
    double total = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) total += p[i];
    if (!how->top_k && how->top_p >= 1 && how->min_p <= 0) {
        int32_t last = top;
        for (int64_t i = 0; i < n; i++) {
            if (!(p[i] > 0)) continue;
            last = (int32_t)i;
            if ((sum += p[i]) > u * total) return last;
        }
        return last;
    }
    int64_t k = 0;
    for (int64_t i = 0; i < n; i++)
        if (p[i] > 0) c[k++] = (cand){ p[i], (int32_t)i };
    k = filter(c, k, how, total);
    total = 0;
    for (int64_t i = 0; i < k; i++) total += c[i].p;
    for (int64_t i = 0; i < k; i++)
        if ((sum += c[i].p) > u * total) return c[i].id;
    return c[k - 1].id;
}
