/* pool.c - every item is done once whatever the cut; sleepers wake; a loop in a loop works. */
#include "base/pool.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST = 5000 };
static char pool_failed;

typedef struct loop {
    int64_t n, grain;
    int count[MOST]; /* not atomic: a slice owns its items, and TSan sees it when it does not */
    atomic_int bad;
} loop;

static void touch(void *ctx, int64_t lo, int64_t hi) {
    loop *l = ctx;
    if (lo % l->grain || hi - lo > l->grain || hi > l->n || lo >= hi) atomic_fetch_add(&l->bad, 1);
    for (int64_t i = lo; i < hi; i++) l->count[i]++;
}

static void check_loop(int64_t n, int64_t grain) {
    static loop l;
    l = (loop){ .n = n, .grain = grain };
    hn_parallel(n, grain, touch, &l);
    assert_int_equal(atomic_load(&l.bad), 0);
    for (int64_t i = 0; i < n; i++) assert_int_equal(l.count[i], 1);
}

static void every_item_once(void **state) {
    (void)state;
    static const int64_t sizes[] = { 0, 1, 2, 7, 64, 65, 1000, MOST }, grains[] = { 1, 2, 7, 64, 6000 };
    for (int threads = 1; threads <= 5; threads++) {
        hn_err e = { 0 };
        assert_int_equal(hn_pool_start(threads, &e), HN_OK);
        assert_int_equal(hn_pool_threads(), threads);
        for (int repeat = 0; repeat < 20; repeat++)
            for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
                for (size_t j = 0; j < sizeof grains / sizeof *grains; j++) check_loop(sizes[i], grains[j]);
    }
    hn_pool_stop();
    assert_int_equal(hn_pool_threads(), 1);
    check_loop(100, 3); /* works without a pool too */
}

static void nap(void *ctx, int64_t lo, int64_t hi) {
    usleep(300); /* longer than anybody spins: the caller falls asleep before the last slice ends */
    for (int64_t i = lo; i < hi; i++) ((int *)ctx)[i]++;
}

static void waits_for_the_last_slice(void **state) {
    (void)state;
    hn_err e = { 0 };
    assert_int_equal(hn_pool_start(3, &e), HN_OK);
    for (int repeat = 0; repeat < 50; repeat++) {
        int count[7] = { 0 };
        if (repeat % 2) usleep(5000); /* and the workers are asleep, too */
        hn_parallel(7, 1, nap, count);
        for (int i = 0; i < 7; i++) assert_int_equal(count[i], 1);
    }
    hn_pool_stop();
}

/* Two slices that wait for each other finish only if two threads run them at once. */
typedef struct meeting {
    atomic_int here, met;
} meeting;

static void meet(void *ctx, int64_t lo, int64_t hi) {
    meeting *m = ctx;
    (void)lo, (void)hi;
    atomic_fetch_add(&m->here, 1);
    for (double until = hn_now() + 10; hn_now() < until;)
        if (atomic_load(&m->here) == 2) {
            atomic_fetch_add(&m->met, 1);
            return;
        }
}

static void runs_at_once(void **state) {
    (void)state;
    hn_err e = { 0 };
    assert_int_equal(hn_pool_start(2, &e), HN_OK);
    for (int i = 0; i < 3; i++) {
        meeting m = { 0 };
        if (i) usleep(20000); /* long enough for the worker to fall asleep */
        hn_parallel(2, 1, meet, &m);
        assert_int_equal(atomic_load(&m.met), 2);
    }
    hn_pool_stop();
}

static void inner(void *ctx, int64_t lo, int64_t hi) {
    int64_t *sum = ctx;
    for (int64_t i = lo; i < hi; i++) *sum += i;
}

static void outer(void *ctx, int64_t lo, int64_t hi) {
    int64_t *sums = ctx;
    for (int64_t i = lo; i < hi; i++) hn_parallel(100, 3, inner, &sums[i]);
}

static void nested(void **state) {
    (void)state;
    hn_err e = { 0 };
    int64_t sums[32] = { 0 };
    assert_int_equal(hn_pool_start(4, &e), HN_OK);
    hn_parallel(32, 1, outer, sums);
    for (int i = 0; i < 32; i++) assert_int_equal(sums[i], 4950);
    hn_pool_stop();
}

static void *other_caller(void *unused) {
    for (int i = 0; i < 300; i++) {
        int64_t sums[32] = { 0 };
        hn_parallel(32, 1, outer, sums);
        for (int k = 0; k < 32; k++)
            if (sums[k] != 4950) return &pool_failed;
        int count[5] = { 0 };
        if (i % 16 == 0) hn_parallel(5, 1, nap, count);
        for (int k = 0; i % 16 == 0 && k < 5; k++)
            if (count[k] != 1) return &pool_failed;
    }
    return unused;
}

/* A second thread that calls while the pool is busy does its loop itself. */
static void two_callers(void **state) {
    (void)state;
    hn_err e = { 0 };
    pthread_t t;
    void *failed;
    assert_int_equal(hn_pool_start(3, &e), HN_OK);
    assert_int_equal(pthread_create(&t, NULL, other_caller, NULL), 0);
    assert_null(other_caller(NULL));
    pthread_join(t, &failed);
    assert_null(failed);
    hn_pool_stop();
}

static void refuses_nonsense(void **state) {
    (void)state;
    hn_err e = { 0 };
    assert_int_equal(hn_pool_start(1 << 20, &e), HN_ERANGE);
    assert_non_null(strstr(e.msg, "1048576 threads"));
    hn_alloc_fuse = 0;
    hn_err m = { 0 };
    assert_int_equal(hn_pool_start(2, &m), HN_ENOMEM);
    hn_alloc_fuse = -1;
    assert_int_equal(hn_pool_threads(), 1);
    assert_int_equal(hn_pool_start(0, &m), HN_OK);
    assert_true(hn_pool_threads() >= 1);
    hn_pool_stop();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_once), cmocka_unit_test(waits_for_the_last_slice),
        cmocka_unit_test(runs_at_once),    cmocka_unit_test(nested),
        cmocka_unit_test(two_callers),     cmocka_unit_test(refuses_nonsense),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
