/* pool.c - the thread pool against OpenMP (libgomp, opened at run time): loops of a few microseconds, alone
 * and while another program holds one of the cores.
 *
 * Times are medians of batches, ours and the rival's taken in turn, in microseconds a loop. */
#include "base/pool.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BATCHES = 15, SLICES_EACH = 4 };

static void (*gomp_parallel)(void (*)(void *), void *, unsigned, unsigned);
static int (*gomp_thread)(void), (*gomp_threads)(void);
static volatile double sink;

/* ---- one loop: `slices` pieces of `turns` turns each ---- */
typedef struct loop {
    int64_t slices, turns;
} loop;

enum { MOST_SLICES = 8192, APART = 16 }; /* results lie on cache lines of their own */
static volatile double result[MOST_SLICES * APART];

static void slice(void *ctx, int64_t lo, int64_t hi) {
    const loop *l = ctx;
    for (int64_t i = lo; i < hi; i++) {
        double x = (double)i;
        for (int64_t k = 0; k < l->turns; k++) x = x * 0.999 + 1e-3;
        result[i % MOST_SLICES * APART] = x;
    }
}

static void ours(loop *l) { hn_parallel(l->slices, 1, slice, l); }

/* What the compiler makes of `omp parallel for` with its default, an equal share for each thread. */
static void share(void *ctx) {
    const loop *l = ctx;
    int64_t t = gomp_thread(), n = gomp_threads();
    slice(ctx, l->slices * t / n, l->slices * (t + 1) / n);
}

static void theirs(loop *l) { gomp_parallel(share, l, 0, 0); }

static double batch(void (*run)(loop *), loop *l, int loops) {
    double start = hn_now();
    for (int i = 0; i < loops; i++) run(l);
    return (hn_now() - start) / loops * 1e6;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void row(const char *name, loop l, int loops) {
    double a[BATCHES], b[BATCHES];
    for (int i = 0; i < BATCHES; i++) {
        a[i] = batch(ours, &l, loops);
        if (gomp_parallel) b[i] = batch(theirs, &l, loops);
    }
    qsort(a, BATCHES, sizeof *a, by_value);
    double mine = a[BATCHES / 2];
    if (!gomp_parallel) {
        printf("%s %.2f skipped libgomp-not-found 1.00\n", name, mine);
        return;
    }
    qsort(b, BATCHES, sizeof *b, by_value);
    printf("%s %.2f %.2f %.3f 1.00\n", name, mine, b[BATCHES / 2], b[BATCHES / 2] / mine);
    fflush(stdout);
}

static void open_rival(void) {
    void *lib = dlopen("libgomp.so.1", RTLD_NOW);
    void *fn[3] = { 0 };
    static const char *const names[] = { "GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads" };
    for (int i = 0; lib && i < 3; i++) fn[i] = dlsym(lib, names[i]);
    if (!fn[0] || !fn[1] || !fn[2]) return;
    memcpy(&gomp_parallel, &fn[0], sizeof fn[0]);
    memcpy(&gomp_thread, &fn[1], sizeof fn[1]);
    memcpy(&gomp_threads, &fn[2], sizeof fn[2]);
}

/* A program that computes and never waits, on whatever core it gets. */
static pid_t competitor(void) {
    pid_t child = fork();
    if (child == 0)
        for (;;) sink = sink * 0.5 + 1;
    return child;
}

int main(void) {
    hn_err e = { 0 };
    if (hn_pool_start(0, &e)) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    open_rival();
    int64_t slices = (int64_t)hn_pool_threads() * SLICES_EACH;
    row("pool_empty_us", (loop){ slices, 0 }, 2000);
    row("pool_10us_slices_us", (loop){ slices, 7000 }, 200);
    pid_t busy = competitor();
    usleep(50000);
    row("pool_empty_contended_us", (loop){ slices, 0 }, 200);
    row("pool_10us_slices_contended_us", (loop){ slices, 7000 }, 50);
    kill(busy, SIGKILL);
    waitpid(busy, NULL, 0);
    hn_pool_stop();
    return 0;
}
