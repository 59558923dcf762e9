/* base.c - errors, memory, strings and random numbers. */
#include "base/base.h"

#include <math.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static void first_error_wins(void **state) {
    (void)state;
    hn_err e = { 0 };
    assert_int_equal(hn_fail_in(&e, "row %d", 1), 0);
    assert_int_equal(hn_fail(&e, HN_EIO, "disk %d", 7), HN_EIO);
    assert_int_equal(hn_fail(&e, HN_EPARSE, "later"), HN_EPARSE);
    assert_int_equal(e.code, HN_EIO);
    assert_string_equal(e.msg, "disk 7");
    assert_int_equal(hn_fail_in(&e, "file %s", "x"), HN_EIO);
    assert_string_equal(e.msg, "file x: disk 7");
    assert_int_equal(hn_fail(NULL, HN_EIO, "nobody listens"), HN_EIO);
    char longer[2000];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    hn_err l = { 0 };
    hn_fail(&l, HN_EIO, "%s", longer);
    hn_fail_in(&l, "%s", longer);
    assert_int_equal(strlen(l.msg), sizeof l.msg - 1);
}

static void memory_is_zeroed_and_aligned(void **state) {
    (void)state;
    long live = hn_alloc_live();
    for (size_t n = 0; n < 300; n += 7) {
        char *p = hn_alloc(n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t i = 0; i < n; i++) assert_int_equal(p[i], 0);
        memset(p, 1, n);
        hn_free(p);
    }
    assert_null(hn_alloc(SIZE_MAX));
    assert_null(hn_strndup("a", SIZE_MAX));
    size_t sizes[] = { 0, 1, 5000, 3 << 20, (6 << 20) + 1, (20 << 20) + 5 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *p = hn_big_alloc(sizes[i]);
        assert_non_null(p);
        if (sizes[i] >= 16 << 20) assert_int_equal((uintptr_t)p % (2 << 20), 0);
        for (size_t k = 0; k < sizes[i]; k += 4096) assert_int_equal(p[k], 0), p[k] = 1;
        hn_big_free(p, sizes[i]);
    }
    hn_free(NULL);
    hn_big_free(NULL, 5);
    assert_int_equal(hn_alloc_live(), live);
}

static void fuse_fails_every_door(void **state) {
    (void)state;
    int64_t cap = 0;
    int *list = NULL;
    hn_alloc_fuse = 1;
    void *p = hn_alloc(1);
    assert_non_null(p);
    assert_null(hn_alloc(1));
    assert_null(hn_realloc(p, 10));
    assert_null(hn_strdup("x"));
    assert_null(hn_big_alloc(1));
    assert_null(hn_arena_new(64));
    assert_int_equal(hn_grow(&list, &cap, 5, sizeof *list), HN_ENOMEM);
    assert_null(list);
    assert_int_equal(cap, 0);
    hn_alloc_fuse = -1;
    hn_free(p);
}

static void grow_keeps_and_zeroes(void **state) {
    (void)state;
    int64_t cap = 0;
    int *list = NULL;
    for (int64_t n = 1; n < 1000; n++) {
        assert_int_equal(hn_grow(&list, &cap, n, sizeof *list), HN_OK);
        assert_true(cap >= n);
        for (int64_t i = n; i < cap; i++) assert_int_equal(list[i], 0);
        list[n - 1] = (int)n;
    }
    for (int i = 0; i < 999; i++) assert_int_equal(list[i], i + 1);
    int *same = list;
    int64_t room = cap;
    assert_int_equal(hn_grow(&list, &cap, INT64_MAX, sizeof *list), HN_ENOMEM);
    assert_ptr_equal(list, same);
    assert_int_equal(cap, room);
    hn_free(list);
}

static void arena_hands_out_apart(void **state) {
    (void)state;
    hn_arena *a = hn_arena_new(1024);
    for (int round = 0; round < 3; round++) {
        char *got[200];
        for (int i = 0; i < 200; i++) {
            got[i] = hn_arena_get(a, (size_t)(i * 13));
            assert_non_null(got[i]);
            assert_int_equal((uintptr_t)got[i] % 64, 0);
            for (int k = 0; k < i * 13; k++) assert_int_equal(got[i][k], 0);
            memset(got[i], i, (size_t)(i * 13));
        }
        for (int i = 0; i < 200; i++)
            for (int k = 0; k < i * 13; k++) assert_int_equal((unsigned char)got[i][k], i);
        hn_arena_reset(a);
    }
    assert_string_equal(hn_arena_str(a, "hello world", 5), "hello");
    assert_null(hn_arena_get(a, SIZE_MAX));
    hn_arena_free(a);
    hn_arena_free(NULL);
}

static void buf_errors_stick(void **state) {
    (void)state;
    hn_buf b = { 0 };
    hn_buf_str(&b, "x=");
    hn_buf_fmt(&b, "%d", 42);
    hn_buf_chr(&b, ';');
    for (int i = 0; i < 1000; i++) hn_buf_fmt(&b, "%03d", i);
    assert_int_equal(b.n, 5 + 3000);
    assert_memory_equal(b.data, "x=42;000001", 11);
    assert_int_equal(b.data[b.n], 0);
    hn_buf_clear(&b);
    assert_int_equal(b.n, 0);
    assert_string_equal(b.data, "");
    hn_buf_free(&b);
    hn_alloc_fuse = 0;
    hn_buf_str(&b, "lost");
    hn_alloc_fuse = -1;
    assert_true(b.oom);
    hn_buf_str(&b, "lost too");
    assert_int_equal(b.n, 0);
    hn_buf_free(&b);
    assert_false(b.oom);
}

/* A stored vector: these numbers are in saved runs, so they may never change. */
static void random_numbers_are_fixed(void **state) {
    (void)state;
    assert_true(hn_rand(0, 0, 0) == 0x3cf11a8c42acbfb8u);
    assert_true(hn_rand(1, 2, 3) == 0x97cf9d26b1240e2eu);
    assert_true(hn_key(hn_key(0, 7), 9) == 0x1f638271f55b67fu);
    assert_true(hn_permute(5, 6, 1000, 7) == 776);
}

static void random_numbers_are_spread(void **state) {
    (void)state;
    enum { N = 200000 };
    double sum = 0, square = 0, normal = 0, normal2 = 0, lag = 0, last = 0;
    for (uint64_t i = 0; i < N; i++) {
        double u = hn_rand01(3, 4, i), z = hn_rand_normal(3, 5, i);
        assert_true(u >= 0 && u < 1);
        assert_true(isfinite(z));
        sum += u, square += u * u, normal += z, normal2 += z * z;
        lag += (u - 0.5) * (last - 0.5);
        last = u;
    }
    assert_true(fabs(sum / N - 0.5) < 0.004); /* 6 standard errors */
    assert_true(fabs(square / N - 1.0 / 3) < 0.0045);
    assert_true(fabs(normal / N) < 0.014);
    assert_true(fabs(normal2 / N - 1) < 0.02);
    assert_true(fabs(lag / N) < 0.0012);
    int64_t ones[64] = { 0 };
    for (uint64_t i = 0; i < 4096; i++) /* neighbouring streams do not share bits */
        for (int b = 0; b < 64; b++) ones[b] += (hn_rand(9, i, 0) ^ hn_rand(9, i + 1, 0)) >> b & 1;
    for (int b = 0; b < 64; b++) assert_true(ones[b] > 2048 - 200 && ones[b] < 2048 + 200);
}

static void permute_is_a_permutation(void **state) {
    (void)state;
    static const uint64_t sizes[] = { 1, 2, 3, 4, 5, 64, 1000, 4097 };
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        uint64_t n = sizes[k], fixed = 0;
        char *seen = hn_alloc(n);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t j = hn_permute(11, k, n, i);
            assert_true(j < n);
            assert_int_equal(seen[j], 0);
            seen[j] = 1;
            fixed += i == j;
        }
        if (n >= 64) assert_true(fixed < 10);
        hn_free(seen);
    }
}

static void clock_goes_forward(void **state) {
    (void)state;
    double last = hn_now();
    for (int i = 0; i < 1000; i++) {
        double now = hn_now();
        assert_true(now >= last);
        last = now;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_error_wins),         cmocka_unit_test(memory_is_zeroed_and_aligned),
        cmocka_unit_test(fuse_fails_every_door),    cmocka_unit_test(grow_keeps_and_zeroes),
        cmocka_unit_test(arena_hands_out_apart),    cmocka_unit_test(buf_errors_stick),
        cmocka_unit_test(random_numbers_are_fixed), cmocka_unit_test(random_numbers_are_spread),
        cmocka_unit_test(permute_is_a_permutation), cmocka_unit_test(clock_goes_forward),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
