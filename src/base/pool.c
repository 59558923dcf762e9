/* pool.c - one pool of threads; slices are claimed one by one, each thread's own part of the loop first.
 *
 * The whole protocol is one number, `left`: how many slices of the current loop nobody has claimed.
 * It is 0 between loops.  A thread claims by swapping left for left - 1, and only then reads what the
 * loop is: a claimed slice keeps the loop open until it is counted in `done`, so the description
 * cannot change under it.  A worker that is late finds 0 and touches nothing: the caller never waits
 * for a thread that has no slice, which is what keeps a loop fast when other programs hold a core.
 *
 * Which slice a claim is good for is a second question: the loop is dealt to the threads in equal parts, and
 * a thread takes from its own part, then from the next ones.  So a loop that comes again finds its data in
 * the cache of the core that had it before, and a thread that is held up is helped.
 *
 * Waiting is a short spin, then sched_yield, then a futex.  Going to sleep and publishing are each
 * "write mine, then read theirs" in sequentially consistent order, so one of the two sees the other. */
#include "base/pool.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    LINE = 128, /* two cache lines: the neighbour is prefetched with each */
    MAX_THREADS = 4096
};
static const double spin_seconds = 3e-6, yield_seconds = 60e-6;

typedef struct part { /* of the slices of a loop */
    _Atomic int64_t next;
    int64_t end;
    char apart[LINE - 2 * sizeof(int64_t)];
} part;

typedef struct gate {
    _Alignas(LINE) atomic_uint turn; /* the futex word: changes at each wake-up */
    atomic_int asleep;               /* how many wait on it, or are about to */
} gate;

static struct {
    _Alignas(LINE) _Atomic int64_t left; /* slices nobody has claimed */
    _Alignas(LINE) _Atomic int64_t done; /* slices finished */
    _Alignas(LINE) int64_t n, grain, slices;
    hn_slice_fn *fn;
    void *ctx;
    _Alignas(LINE)
        atomic_flag busy; /* held by the thread whose loop it is: a call from a slice finds it taken */
    atomic_bool stop;
    gate work, finish; /* workers wait for slices; the caller waits for the last one */
    pthread_t *thread;
    part *part; /* [threads] */
    atomic_int threads;
} pool = { .busy = ATOMIC_FLAG_INIT };

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void futex(atomic_uint *word, int op, unsigned val) {
    syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, val, NULL, NULL, 0);
}

static void wake(gate *g, int64_t count) {
    if (atomic_load(&g->asleep) == 0) return;
    atomic_fetch_add(&g->turn, 1);
    futex(&g->turn, FUTEX_WAKE, (unsigned)(count < INT_MAX ? count : INT_MAX));
}

static bool has_work(void) { return atomic_load(&pool.left) > 0 || atomic_load(&pool.stop); }
static bool has_finished(void) { return atomic_load(&pool.done) == pool.slices; }

static void wait_for(gate *g, bool (*ready)(void)) {
    double start = hn_now();
    do
        for (int i = 0; i < 8; i++) {
            if (ready()) return;
            relax();
        }
    while (hn_now() < start + spin_seconds);
    do {
        if (ready()) return;
        sched_yield();
    } while (hn_now() < start + yield_seconds);
    atomic_fetch_add(&g->asleep, 1);
    for (;;) {
        unsigned turn = atomic_load(&g->turn);
        if (ready()) break;
        futex(&g->turn, FUTEX_WAIT, turn);
    }
    atomic_fetch_sub(&g->asleep, 1);
}

static bool claim(void) {
    int64_t left = atomic_load_explicit(&pool.left, memory_order_acquire);
    while (left > 0)
        if (atomic_compare_exchange_weak(&pool.left, &left, left - 1)) return true;
    return false;
}

/* The slice a claim is good for: there are never more claims than slices, so one is found.  *at: the part
 * the thread is at. */
static int64_t claimed(int *at) {
    for (;; *at = (*at + 1) % pool.threads) {
        part *p = &pool.part[*at];
        if (atomic_load_explicit(&p->next, memory_order_relaxed) >= p->end) continue;
        int64_t i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (i < p->end) return i;
    }
}

static void slice(hn_slice_fn *fn, void *ctx, int64_t n, int64_t grain, int64_t i) {
    int64_t lo = i * grain, rest = n - lo;
    fn(ctx, lo, rest < grain ? n : lo + grain);
}

/* Runs slices until none is left.  While some of ours are not counted in `done` the loop stays open, so
 * every claim in here is of the same loop. */
static void help_out(int me) {
    int64_t count = 0;
    for (int at = me; claim(); count++) slice(pool.fn, pool.ctx, pool.n, pool.grain, claimed(&at));
    if (count == 0) return;
    int64_t slices = pool.slices; /* read before the count goes in: after it the loop may be another */
    if (atomic_fetch_add(&pool.done, count) + count == slices) wake(&pool.finish, 1);
}

static void *worker(void *me) {
    while (!atomic_load(&pool.stop)) {
        help_out((int)(intptr_t)me);
        wait_for(&pool.work, has_work);
    }
    return NULL;
}

int hn_pool_cores(void) {
    /* the kernel's mask may be wider than cpu_set_t: ask with growing sizes */
    for (int cpus = CPU_SETSIZE; cpus <= 1 << 16; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)cpus);
        if (!set) return 1;
        size_t size = CPU_ALLOC_SIZE((size_t)cpus);
        int rc = sched_getaffinity(0, size, set), why = errno, n = rc ? 0 : CPU_COUNT_S(size, set);
        CPU_FREE(set);
        if (n > 0) return n;
        if (why != EINVAL) return 1;
    }
    return 1;
}

int hn_pool_start(int n, hn_err *e) {
    hn_pool_stop();
    if (n <= 0) n = hn_pool_cores();
    if (n > MAX_THREADS) return hn_fail(e, HN_ERANGE, "%d threads: at most %d are possible", n, MAX_THREADS);
    if (n == 1) return HN_OK;
    pool.thread = hn_alloc((size_t)(n - 1) * sizeof *pool.thread);
    pool.part = hn_alloc((size_t)n * sizeof *pool.part);
    if (!pool.thread || !pool.part) {
        hn_pool_stop();
        return hn_fail(e, HN_ENOMEM, "out of memory for %d threads", n);
    }
    /* signals are for the thread that called us: Ctrl-C must not land in a worker */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = 0, made = 0;
    while (made < n - 1 &&
           !(rc = pthread_create(&pool.thread[made], NULL, worker, (void *)(intptr_t)(made + 1))))
        made++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    atomic_store(&pool.threads, made + 1);
    if (!rc) return HN_OK;
    hn_pool_stop();
    return hn_fail(e, HN_ENOMEM, "cannot start thread %d of %d: %s; give a smaller --threads", made + 2, n,
                   strerror(rc));
}

void hn_pool_stop(void) {
    hn_assert(!atomic_flag_test_and_set(&pool.busy)); /* no loop is under way */
    int workers = hn_pool_threads() - 1;
    atomic_store(&pool.stop, true);
    wake(&pool.work, workers);
    for (int i = 0; i < workers; i++) pthread_join(pool.thread[i], NULL);
    atomic_store(&pool.stop, false);
    atomic_store(&pool.threads, 1);
    hn_free(pool.thread);
    hn_free(pool.part);
    pool.thread = NULL;
    pool.part = NULL;
    atomic_flag_clear(&pool.busy);
}

int hn_pool_threads(void) {
    int n = atomic_load_explicit(&pool.threads, memory_order_relaxed);
    return n ? n : 1;
}

void hn_parallel(int64_t n, int64_t grain, hn_slice_fn *fn, void *ctx) {
    hn_assert(grain >= 1 && n >= 0);
    int64_t slices = n / grain + (n % grain != 0);
    if (slices <= 1 || hn_pool_threads() == 1 ||
        atomic_flag_test_and_set_explicit(&pool.busy, memory_order_acquire)) {
        for (int64_t i = 0; i < slices; i++) slice(fn, ctx, n, grain, i);
        return;
    }
    pool.n = n, pool.grain = grain, pool.slices = slices, pool.fn = fn, pool.ctx = ctx;
    for (int64_t t = 0, T = pool.threads; t < T; t++) {
        atomic_store_explicit(&pool.part[t].next, slices * t / T, memory_order_relaxed);
        pool.part[t].end = slices * (t + 1) / T;
    }
    atomic_store_explicit(&pool.done, 0, memory_order_relaxed);
    atomic_store(&pool.left, slices);
    wake(&pool.work, slices - 1);
    help_out(0);
    if (!has_finished()) wait_for(&pool.finish, has_finished);
    atomic_flag_clear_explicit(&pool.busy, memory_order_release);
}
