/* sample.c - one token from a row of logits: temperature, top-k, top-p, min-p, then inverse CDF.
 *
 * The draw is a pure function of (logits, settings, u).  Filters are applied in the order of `transformers`:
 * top-k, top-p (the smallest set whose probability reaches top_p), min-p (relative to the likeliest).  Each
 * of them keeps the tokens above a weight, and of those that have just this weight the first ones; the weight
 * is found by its bits from the top, counting (or summing) what lies above, so nothing is sorted. */
#include "gen/gen.h"

#include <math.h>
#include <string.h>

#include "cpu/vec.h"

enum { DIGIT = 11, DIGITS = 1 << DIGIT, RUN = 64 };

size_t hn_sample_scratch(int64_t n) {
    return (size_t)n * sizeof(float) + (size_t)(n / RUN + 1) * sizeof(double) +
           DIGITS * (sizeof(double) + sizeof(int64_t));
}

static int32_t argmax(const hn_real *z, int64_t n) {
    float top = hn_vec_max(z, n);
    for (int64_t i = 0; i < n; i++)
        if (z[i] == top) return (int32_t)i;
    return 0; /* all are NaN */
}

typedef struct weights {
    float *p;       /* [n] e^((z - max) / temperature): the likeliest has 1 */
    double *run;    /* sums of RUN weights; shares its memory with nothing */
    double *mass;   /* [DIGITS] scratch of cut */
    int64_t *count; /* [DIGITS] */
    int64_t n;
} weights;

/* What is kept: weights above `least`, and the first `ties` of those equal to it. */
typedef struct kept {
    float least;
    int64_t ties;
} kept;

static uint32_t bits_of(float x) { /* grows with x >= 0 */
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

/* From the likeliest down: where `most` tokens, or `reach` of mass, whichever is met first, are there. */
static kept cut(const weights *w, int64_t most, double reach) {
    uint32_t prefix = 0;
    int64_t above = 0;
    double sum = 0;
    for (int shift = 22; shift >= 0; shift -= DIGIT) { /* bits 31 (0), then three digits of 11: 22, 11, 0 */
        memset(w->mass, 0, DIGITS * sizeof *w->mass);
        memset(w->count, 0, DIGITS * sizeof *w->count);
        for (int64_t i = 0; i < w->n; i++) {
            uint32_t u = bits_of(w->p[i]);
            if (!(w->p[i] > 0)) continue;
            if (shift < 22 && u >> (shift + DIGIT) != prefix) continue;
            w->mass[u >> shift & (DIGITS - 1)] += w->p[i];
            w->count[u >> shift & (DIGITS - 1)]++;
        }
        int d = DIGITS - 1,
            low = d; /* low: the lowest that holds something, should the mass never be reached */
        for (; d >= 0; d--) {
            if (!w->count[d]) continue;
            low = d;
            if (above + w->count[d] >= most || sum + w->mass[d] >= reach) break;
            above += w->count[d], sum += w->mass[d];
        }
        if (d < 0) d = low, above -= w->count[d], sum -= w->mass[d];
        prefix = prefix << DIGIT | (uint32_t)d;
    }
    kept k = { .ties = w->count[prefix & (DIGITS - 1)] };
    memcpy(&k.least, &prefix, sizeof prefix);
    double need = ceil((reach - sum) / k.least);
    if (need < (double)k.ties) k.ties = need < 1 ? 1 : (int64_t)need;
    if (most - above < k.ties) k.ties = most - above;
    return k;
}

/* Weights that are not kept become 0. */
static void drop(const weights *w, kept k) {
    for (int64_t i = 0; i < w->n; i++)
        if (w->p[i] < k.least || (w->p[i] == k.least && k.ties-- <= 0)) w->p[i] = 0;
}

static double sum_runs(const weights *w) {
    double total = 0;
    for (int64_t r = 0; r * RUN < w->n; r++) {
        double lane[8] = { 0 };
        for (int64_t i = r * RUN, end = i + RUN < w->n ? i + RUN : w->n; i < end; i++) lane[i & 7] += w->p[i];
        w->run[r] = ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
        total += w->run[r];
    }
    return total;
}

static void filter(const weights *w, const hn_sampling *how, double *total) {
    if (how->top_k > 0 && how->top_k < w->n) {
        drop(w, cut(w, how->top_k, INFINITY));
        *total = sum_runs(w);
    }
    if (how->top_p < 1) drop(w, cut(w, w->n, how->top_p * *total));
    if (how->min_p > 0) drop(w, (kept){ (float)how->min_p, w->n });
    *total = sum_runs(w);
}

int32_t hn_sample(const hn_real *logits, int64_t n, const hn_sampling *how, double u, void *scratch) {
    int32_t top = argmax(logits, n), last = top;
    if (how->temperature <= 0 || how->top_k == 1) return top;
    weights w = { .n = n, .run = scratch };
    w.mass = w.run + n / RUN + 1;
    w.count = (int64_t *)(void *)(w.mass + DIGITS);
    w.p = (float *)(void *)(w.count + DIGITS);
    hn_vec_weights(w.p, logits, n, logits[top], (float)(1 / how->temperature));
    double total = sum_runs(&w), sum = 0;
    if (how->top_k > 0 || how->top_p < 1 || how->min_p > 0) filter(&w, how, &total);
    int64_t r = 0, runs = (n + RUN - 1) / RUN;
    while (r < runs - 1 && sum + w.run[r] <= u * total) sum += w.run[r++];
    for (int64_t i = r * RUN; i < n; i++) { /* to the end: roundings may leave the run without the draw */
        if (!(w.p[i] > 0)) continue;
        last = (int32_t)i;
        if ((sum += w.p[i]) > u * total) return last;
    }
    return last;
}
