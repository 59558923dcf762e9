/* kv.c - the pages of the key-value cache: who holds which, copy on write, and running out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tensor/kv.h"
#include "torture.h"

enum { LAYERS = 2, HEADS = 2, DIM = 3 };

static hn_kv *cache(int slots, int max_len, int pages) {
    hn_kv *c;
    hn_err e = { 0 };
    if (hn_kv_new(&c, LAYERS, HEADS, DIM, HN_PREC_F32, slots, max_len, pages, &e)) fail_msg("%s", e.msg);
    return c;
}

/* Every page is referred to as often as it says. */
static void sound(const hn_kv *c) {
    for (int p = 0; p < c->n_page; p++) {
        int refs = 0;
        for (int i = 0; i < c->n_slot * c->max_block; i++) refs += c->table[i] == p;
        assert_int_equal(c->ref[p], refs);
    }
}

static void test_pages_come_and_go(void **s) {
    (void)s;
    hn_kv *c = cache(2, 130, 3);
    hn_err e = { 0 };
    assert_int_equal(c->max_block, 3);
    for (int pos = 0; pos < 130; pos++) assert_int_equal(hn_kv_room(c, 0, pos, &e), 0);
    assert_int_equal(hn_kv_free_pages(c), 0);
    assert_int_equal(hn_kv_room(c, 1, 0, &e), HN_ERANGE);
    assert_non_null(strstr(e.msg, "all 3 pages"));
    sound(c);
    hn_kv_drop(c, 0);
    hn_kv_drop(c, 0); /* nothing left to drop */
    assert_int_equal(hn_kv_free_pages(c), 3);
    assert_int_equal(hn_kv_room(c, 1, 0, NULL), 0);
    sound(c);
    hn_kv_free(c);
    hn_kv_free(NULL);
}

static hn_real *cell(hn_kv *c, int slot, int pos) {
    hn_real *v = hn_kv_v(c, c->table[slot * c->max_block + pos / HN_BLOCK], 1, 1);
    return v + pos % HN_BLOCK * DIM;
}

/* A full page is shared for good, the partial one until somebody writes on. */
static void test_copy_on_write(void **s) {
    (void)s;
    hn_kv *c = cache(3, 200, 8);
    for (int pos = 0; pos < 70; pos++) {
        assert_int_equal(hn_kv_room(c, 0, pos, NULL), 0);
        *cell(c, 0, pos) = (hn_real)pos;
    }
    hn_kv_share(c, 0, 1, 70);
    hn_kv_share(c, 1, 2, 66);
    assert_int_equal(hn_kv_free_pages(c), 6);
    assert_int_equal(hn_kv_room(c, 1, 70, NULL), 0);
    assert_int_equal(hn_kv_free_pages(c), 5);
    *cell(c, 1, 70) = 700, *cell(c, 1, 69) = 690;
    assert_int_equal(hn_kv_room(c, 2, 66, NULL), 0);
    *cell(c, 2, 66) = 660;
    assert_int_equal(hn_kv_room(c, 0, 70, NULL), 0); /* the last holder writes in place */
    assert_int_equal(hn_kv_free_pages(c), 4);
    assert_true(*cell(c, 0, 69) == 69 && *cell(c, 0, 66) == 66 && *cell(c, 1, 68) == 68);
    assert_true(*cell(c, 1, 69) == 690 && *cell(c, 2, 65) == 65 && *cell(c, 2, 66) == 660);
    assert_ptr_equal(cell(c, 0, 63), cell(c, 2, 63));
    sound(c);
    hn_kv_share(c, 0, 1, 64); /* a slot in use gives up what it held */
    assert_int_equal(hn_kv_free_pages(c), 5);
    hn_kv_share(c, 0, 1, 0);
    sound(c);
    for (int slot = 0; slot < 3; slot++) hn_kv_drop(c, slot);
    assert_int_equal(hn_kv_free_pages(c), 8);
    hn_kv_free(c);
}

/* Random requests; the words of each sequence stay its own. */
static void test_random_use(void **s) {
    (void)s;
    enum { SLOTS = 5, LEN = 200 };
    static double want[SLOTS][LEN];
    int len[SLOTS] = { 0 };
    hn_kv *c = cache(SLOTS, LEN, 11);
    for (uint64_t k = 0; k < 3000; k++) {
        int slot = (int)(hn_rand(1, 1, k) % SLOTS), other = (int)(hn_rand(1, 2, k) % SLOTS);
        switch (hn_rand(1, 3, k) % 8) {
        case 0: hn_kv_drop(c, slot), len[slot] = 0; break;
        case 1:
            if (slot == other) break;
            len[slot] = (int)(hn_rand(1, 4, k) % (uint64_t)(len[other] + 1));
            hn_kv_share(c, other, slot, len[slot]);
            memcpy(want[slot], want[other], sizeof want[slot]);
            break;
        default:
            for (int i = 0; i < 20 && len[slot] < LEN; i++) {
                if (hn_kv_room(c, slot, len[slot], NULL)) break;
                want[slot][len[slot]] = (double)(k * 32 + (uint64_t)i);
                *cell(c, slot, len[slot]) = (hn_real)want[slot][len[slot]];
                len[slot]++;
            }
        }
        sound(c);
        for (int i = 0; i < len[slot]; i++) assert_true(*cell(c, slot, i) == (hn_real)want[slot][i]);
    }
    for (int i = 0; i < SLOTS; i++)
        for (int p = 0; p < len[i]; p++) assert_true(*cell(c, i, p) == (hn_real)want[i][p]);
    hn_kv_free(c);
}

static int make(void *ctx, hn_err *e) {
    hn_kv *c;
    (void)ctx;
    int rc = hn_kv_new(&c, LAYERS, HEADS, DIM, HN_PREC_F32, 2, 100, 3, e);
    if (rc) assert_null(c);
    hn_kv_free(c);
    return rc;
}
static void test_torture(void **s) {
    hn_kv *c;
    hn_err e = { 0 };
    (void)s;
    assert_int_equal(torture(make, NULL), 4);
    assert_int_equal(hn_kv_new(&c, 1 << 30, 1 << 30, 1 << 30, HN_PREC_F32, 1, 1, 1, &e),
                     HN_ENOMEM); /* past 2^64 bytes */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_come_and_go),
        cmocka_unit_test(test_copy_on_write),
        cmocka_unit_test(test_random_use),
        cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
