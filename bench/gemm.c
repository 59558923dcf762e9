/* gemm.c - matrix products against oneDNN (weights in its own layout) and OpenBLAS, interleaved in one run.
 *
 * usage: b_gemm [WORD ...]   only rows whose name has all words; none such is an error
 *
 * gemm36 rows are geometric means over the 36 (K, N) of six sizes, weights warm, with the smallest ratio and
 * its KxN behind the goal.  The other rows are a shape each.
 *
 * Rates are 10^9 floating-point operations a second.  bf16 rows: the rival gets X already rounded, we round
 * it inside the timed call.  _cold rows walk through copies of the weights larger than the private caches,
 * as decoding does; _hot rows use one copy.  One thread: the median of thread CPU times; two: the shortest
 * wall time, because a machine shared with other work says little else. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/pool.h"
#include "cpu/gemm.h"
#include "rivals.h"

enum {
    SAMPLES = 11,
    GRID_SAMPLES = 5,
    LARGE_SAMPLES = 3,
    COPIES = 64,
    COLD_BYTES = 48 << 20,
    LARGEST = 4864,
    MOST_ROWS = 2048
};

typedef struct set { /* everything one row needs */
    int64_t M, K, N;
    hn_prec prec;
    int copies, next;
    const float *X, *W; /* of the noise */
    float *Y, *YB;
    void *work;
    hn_pack *pack[COPIES];
    hn_dnnl_gemm *dnnl[COPIES];
    const float *Wc[COPIES];
} set;

static float *noise; /* [LARGEST * LARGEST + LARGEST * MOST_ROWS] in -0.5 .. 0.5 */
enum { NOISE_W = LARGEST * MOST_ROWS, NOISE = NOISE_W + LARGEST * LARGEST };

static void *need(void *p) {
    if (!p) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return p;
}

static set set_new(int64_t M, int64_t K, int64_t N, hn_prec prec, bool cold) {
    set s = { .M = M, .K = K, .N = N, .prec = prec, .copies = 1 };
    int64_t bytes = K * N * (prec == HN_PREC_BF16 ? 2 : 4);
    if (cold) s.copies = (int)(COLD_BYTES / bytes + 1 < COPIES ? COLD_BYTES / bytes + 1 : COPIES);
    s.X = noise, s.W = noise + NOISE_W;
    s.Y = need(hn_big_alloc((size_t)(M * N) * 4)), s.YB = need(hn_big_alloc((size_t)(M * N) * 4));
    s.work = need(hn_big_alloc(hn_gemm_packed_work(M, K, N, 1, prec, 0) + 64));
    for (int i = 0; i < s.copies; i++) {
        hn_err e = { 0 };
        if (hn_pack_new(&s.pack[i], K, N, prec, &e)) need(NULL);
        hn_pack_fill(s.pack[i], s.W, 1, K);
        if (hn_rival_dnnl()) s.dnnl[i] = hn_dnnl_new(s.X, s.W, M, K, N, prec);
        if (i == 0) s.Wc[i] = s.W;
        else if (prec == HN_PREC_F32 && hn_rival_blas())
            s.Wc[i] = memcpy(need(hn_big_alloc((size_t)(K * N) * 4)), s.W, (size_t)(K * N) * 4);
    }
    return s;
}

static void set_free(set *s) {
    for (int i = 0; i < s->copies; i++) {
        hn_pack_free(s->pack[i]);
        hn_dnnl_free(s->dnnl[i]);
        if (i > 0 && s->Wc[i]) hn_big_free((void *)(uintptr_t)s->Wc[i], (size_t)(s->K * s->N) * 4);
    }
    hn_big_free(s->Y, (size_t)(s->M * s->N) * 4), hn_big_free(s->YB, (size_t)(s->M * s->N) * 4);
    hn_big_free(s->work, hn_gemm_packed_work(s->M, s->K, s->N, 1, s->prec, 0) + 64);
}

typedef enum { OURS, DNNL, BLAS, WHO } who;

static void once(set *s, who w) {
    int i = s->next++ % s->copies;
    if (w == OURS) hn_gemm_packed(s->Y, s->N, s->X, s->K, 1, s->M, s->pack[i], NULL, false, 0, s->work);
    else if (w == DNNL) hn_dnnl_run(s->dnnl[i]);
    else hn_blas_gemm(s->YB, s->X, s->Wc[i], s->M, s->K, s->N);
}

static double clock_of(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Fills rate[w] for those present; a sample is `reps` calls in a row, the competitors take turns. */
static void measure(set *s, int threads, int samples, const bool on[WHO], double rate[WHO]) {
    clockid_t id = threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    double time[WHO][SAMPLES], flops = 2.0 * (double)s->M * (double)s->K * (double)s->N;
    int reps = (int)fmax(s->copies, fmin(2000, (samples < SAMPLES ? 2e8 : 1e9) / flops));
    for (int i = -1; i < samples; i++) /* the round before the first warms up */
        for (who w = OURS; w < WHO; w++) {
            if (!on[w]) continue;
            if (threads > 1) { /* OpenMP's threads spin for milliseconds after a call: they hold a core */
                if (w != DNNL) nanosleep(&(struct timespec){ 0, 20000000 }, NULL);
                for (int r = 0; r < 3 && (r == 0 || flops < 1e9); r++) once(s, w);
            }
            double t = clock_of(id);
            for (int r = 0; r < (i < 0 ? s->copies : reps); r++) once(s, w);
            if (i >= 0) time[w][i] = (clock_of(id) - t) / reps;
        }
    for (who w = OURS; w < WHO; w++) {
        if (!on[w]) continue;
        qsort(time[w], (size_t)samples, sizeof **time, by_value);
        rate[w] = flops / time[w][threads == 1 ? samples / 2 : 0] / 1e9;
    }
}

/* The rivals are held to the same numbers, so that a wrong call cannot win or lose. */
static void compare(const set *s, const float *y, const char *name) {
    double worst = 0, size = 0;
    for (int64_t i = 0; i < s->M * s->N; i++) {
        worst = fmax(worst, fabs((double)y[i] - s->Y[i]));
        size = fmax(size, fabs((double)y[i]));
    }
    if (!(worst <= 1e-3 * size)) {
        fprintf(stderr, "%s: the rival's numbers differ by %g of %g\n", name, worst, size);
        exit(1);
    }
}

static int rows_shown;

static bool wanted(const char *name, int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (!strstr(name, argv[i])) return false;
    rows_shown++;
    return true;
}

static void row(int64_t M, int64_t K, int64_t N, hn_prec prec, int threads, bool cold, int argc,
                char **argv) {
    static const char *const rival[WHO] = { "", "onednn", "openblas" };
    char name[WHO][96];
    bool on[WHO] = { false };
    for (who w = DNNL; w < WHO; w++) {
        snprintf(name[w], sizeof name[w], "gemm_%s_%lldx%lld_m%lld_t%d_%s_vs_%s",
                 prec == HN_PREC_BF16 ? "bf16" : "f32", (long long)K, (long long)N, (long long)M, threads,
                 cold ? "cold" : "hot", rival[w]);
        on[w] = wanted(name[w], argc, argv) && (w == DNNL || prec == HN_PREC_F32);
    }
    if (!on[DNNL] && !on[BLAS]) return;
    bool show[WHO] = { false, on[DNNL], on[BLAS] };
    on[OURS] = true;
    on[DNNL] = on[DNNL] && hn_rival_dnnl(), on[BLAS] = on[BLAS] && hn_rival_blas();
    set s = set_new(M, K, N, prec, cold);
    double rate[WHO];
    measure(&s, threads, SAMPLES, on, rate);
    if (on[DNNL]) compare(&s, hn_dnnl_result(s.dnnl[0]), name[DNNL]);
    if (on[BLAS]) compare(&s, s.YB, name[BLAS]);
    for (who w = DNNL; w < WHO; w++) {
        if (!show[w]) continue;
        double goal = w == BLAS ? 1.0 : 0.9;
        if (on[w])
            printf("%s %.1f %.1f %.3f %.2f\n", name[w], rate[OURS], rate[w], rate[OURS] / rate[w], goal);
        else printf("%s %.1f skipped library-not-found %.2f\n", name[w], rate[OURS], goal);
    }
    fflush(stdout);
    set_free(&s);
}

/* One M over all pairs of sizes. */
static void grid_row(int64_t M, hn_prec prec, int threads, int argc, char **argv) {
    static const int64_t size[] = { 512, 896, 1024, 1408, 4096, LARGEST };
    enum { SIZES = sizeof size / sizeof *size };
    double sum[WHO] = { 0 }, least = INFINITY;
    int64_t least_k = 0, least_n = 0;
    bool on[WHO] = { true, hn_rival_dnnl(), false };
    char name[96];
    snprintf(name, sizeof name, "gemm36_%s_m%lld_t%d_vs_onednn", prec == HN_PREC_BF16 ? "bf16" : "f32",
             (long long)M, threads);
    if (!wanted(name, argc, argv)) return;
    for (int i = 0; i < SIZES * SIZES; i++) {
        set s = set_new(M, size[i / SIZES], size[i % SIZES], prec, false);
        double rate[WHO];
        measure(&s, threads, M == MOST_ROWS ? LARGE_SAMPLES : GRID_SAMPLES, on, rate);
        sum[OURS] += log(rate[OURS]);
        if (on[DNNL]) {
            compare(&s, hn_dnnl_result(s.dnnl[0]), name);
            sum[DNNL] += log(rate[DNNL]);
            double ratio = rate[OURS] / rate[DNNL];
            if (ratio < least) least = ratio, least_k = s.K, least_n = s.N;
        }
        set_free(&s);
    }
    double ours = exp(sum[OURS] / (SIZES * SIZES)), rival = exp(sum[DNNL] / (SIZES * SIZES));
    if (on[DNNL])
        printf("%s %.1f %.1f %.3f 1.00 [%.2f %lldx%lld]\n", name, ours, rival, ours / rival, least,
               (long long)least_k, (long long)least_n);
    else printf("%s %.1f skipped library-not-found 1.00\n", name, ours);
    fflush(stdout);
}

static void noise_slice(void *ctx, int64_t lo, int64_t hi) {
    (void)ctx;
    for (int64_t i = lo; i < hi; i++) noise[i] = (float)hn_rand01(1, 1, (uint64_t)i) - 0.5f;
}

int main(int argc, char **argv) {
    static const int64_t shape[][2] = { { 512, 512 },  { 512, 1536 }, { 512, 1408 },
                                        { 1408, 512 }, { 512, 4096 }, { 896, 4864 } };
    static const int64_t rows[] = { 1, 8, 32, 512, MOST_ROWS }, grid[] = { 1, 8, 32, 128, 512, MOST_ROWS };
    hn_err e = { 0 };
    if (hn_cpu_open(NULL, &e)) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    const char *missing = hn_rivals_open();
    fprintf(stderr, "%s%s%s\n", hn_cpu_why(), *missing ? "; " : "", missing);
    for (int t = 1; t <= 2; t++) {
        if (hn_pool_start(t, &e)) {
            fprintf(stderr, "%s\n", e.msg);
            return 1;
        }
        hn_rival_threads(t);
        if (t == 1)
            hn_parallel(NOISE, 1 << 16, noise_slice, need(noise = hn_big_alloc(NOISE * sizeof *noise)));
        for (int prec = HN_PREC_F32; prec <= HN_PREC_BF16; prec++)
            for (size_t r = 0; r < sizeof grid / sizeof *grid; r++)
                grid_row(grid[r], (hn_prec)prec, t, argc, argv);
        for (int prec = HN_PREC_F32; prec <= HN_PREC_BF16; prec++)
            for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
                for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
                    for (int cold = 0; cold <= (rows[r] <= 32); cold++)
                        row(rows[r], shape[i][0], shape[i][1], (hn_prec)prec, t, cold, argc, argv);
    }
    hn_pool_stop();
    hn_big_free(noise, NOISE * sizeof *noise);
    if (!rows_shown) fprintf(stderr, "gemm: no row has all these words in its name\n");
    return rows_shown ? 0 : 2;
}
