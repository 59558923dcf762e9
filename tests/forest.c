/* forest.c - forests: built, checked, cut, joined, unshared, cut into grains; and what sharing must not
 * change, the numbers of a network (in double, see tests/meson.build). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "opnet.h"
#include "torture.h"

enum { V = 50 };

static void sound(const hn_forest *f) {
    hn_err e = { 0 };
    if (hn_forest_check(f, V, &e)) fail_msg("%s", e.msg);
}
static void random_forest(hn_forest *f, uint64_t seed, int trees) {
    hn_forest_init(f);
    opnet_forest(f, seed, trees, 7, V, NULL);
    sound(f);
}

static void same_ints(const int32_t *a, const int32_t *b, int n) {
    if (n) assert_memory_equal(a, b, (size_t)n * sizeof *a);
}
static void same_forest(const hn_forest *a, const hn_forest *b) {
    assert_int_equal(a->n_token, b->n_token), assert_int_equal(a->n_span, b->n_span);
    assert_int_equal(a->n_act, b->n_act), assert_int_equal(a->n_sample, b->n_sample);
    assert_int_equal(a->n_tree, b->n_tree), assert_int_equal(a->n_col, b->n_col);
    same_ints(a->token, b->token, a->n_token), same_ints(a->pos, b->pos, a->n_token);
    same_ints((int32_t *)a->span, (int32_t *)b->span, 3 * a->n_span);
    same_ints(a->from, b->from, a->n_act), same_ints(a->target, b->target, a->n_act);
    same_ints(a->sample, b->sample, a->n_act);
    if (!a->n_tree) return;
    same_ints(a->tree_token, b->tree_token, a->n_tree + 1),
        same_ints(a->tree_span, b->tree_span, a->n_tree + 1);
    same_ints(a->tree_act, b->tree_act, a->n_tree + 1);
    same_ints(a->tree_sample, b->tree_sample, a->n_tree + 1);
    for (int i = 0; i < a->n_col; i++) {
        const hn_col *x = &a->col[i], *y = hn_forest_find(b, x->name);
        size_t n = (size_t)(x->per == HN_PER_ACT ? a->n_act : a->n_sample);
        assert_true(y && y->per == x->per && y->type == x->type);
        if (n) assert_memory_equal(x->data, y->data, n * (x->type == HN_F ? sizeof(hn_real) : 4));
    }
}

/* ---- building ---- */
static void test_a_pair(void **s) {
    (void)s;
    const int32_t prompt[3] = { 5, 6, 7 }, good[2] = { 8, 9 }, bad[1] = { 4 };
    hn_forest f;
    hn_forest_init(&f);
    sound(&f);
    assert_int_equal(hn_forest_tree(&f, NULL), 0);
    assert_int_equal(hn_forest_span(&f, -1, prompt, 3, NULL), 0);
    assert_int_equal(hn_forest_span(&f, 0, good, 2, NULL), 1);
    assert_int_equal(hn_forest_span(&f, 0, bad, 1, NULL), 2);
    assert_int_equal(hn_forest_sample(&f, NULL), 0);
    for (int i = 0; i < 2; i++) assert_int_equal(hn_forest_act(&f, 1, i, NULL), 0);
    assert_non_null(hn_forest_col(&f, "margin", HN_PER_SAMPLE, HN_F, NULL));
    hn_forest_f(&f, "margin")[0] = 3;
    assert_int_equal(hn_forest_sample(&f, NULL), 1);
    assert_int_equal(hn_forest_act(&f, 2, 0, NULL), 0);
    const int32_t pos[6] = { 0, 1, 2, 3, 4, 3 }, from[3] = { 2, 3, 2 }, target[3] = { 8, 9, 4 };
    const int32_t sample[3] = { 0, 0, 1 };
    same_ints(f.pos, pos, 6), same_ints(f.from, from, 3), same_ints(f.target, target, 3);
    same_ints(f.sample, sample, 3);
    assert_true(hn_forest_f(&f, "margin")[0] == 3 && hn_forest_f(&f, "margin")[1] == 0);
    assert_int_equal(f.tree_token[1], 6);
    sound(&f);
    hn_forest_clear(&f);
    assert_int_equal(hn_forest_tree(&f, NULL), 0);
    assert_int_equal(hn_forest_span(&f, -1, good, 2, NULL), 0);
    assert_int_equal(hn_forest_sample(&f, NULL), 0);
    assert_true(hn_forest_f(&f, "margin")[0] == 0); /* the old value is forgotten, the column is not */
    assert_null(hn_forest_find(&f, "nothing"));
    hn_forest_release(&f);
}

static void test_columns(void **s) {
    (void)s;
    char name[24];
    hn_forest f;
    random_forest(&f, 3, 5);
    for (int i = 0; i < 40; i++) { /* beside columns that already hold values, growing several times */
        snprintf(name, sizeof name, "c%d", i);
        hn_col *c = hn_forest_col(&f, name, i & 1 ? HN_PER_ACT : HN_PER_SAMPLE, i & 2 ? HN_F : HN_I32, NULL);
        assert_non_null(c);
        int n = i & 1 ? f.n_act : f.n_sample;
        for (int j = 0; j < n; j++) {
            if (i & 2) assert_true(((hn_real *)c->data)[j] == 0), ((hn_real *)c->data)[j] = i + j;
            else assert_true(((int32_t *)c->data)[j] == 0), ((int32_t *)c->data)[j] = i + j;
        }
    }
    int acts = f.n_act;
    opnet_forest(&f, 4, 9, 7, V, NULL); /* more trees: old values stay, new ones are 0 */
    assert_true(f.n_act > acts && hn_forest_f(&f, "c3")[acts - 1] == 3 + acts - 1);
    assert_true(hn_forest_f(&f, "c3")[acts] == 0 && hn_forest_i(&f, "c1")[f.n_act - 1] == 0);
    sound(&f);
    hn_forest_release(&f);
}

/* ---- cutting and joining ---- */
static void test_pieces_make_the_whole(void **s) {
    (void)s;
    for (uint64_t seed = 0; seed < 40; seed++) {
        hn_forest f, part, all;
        random_forest(&f, seed, (int)(seed % 9));
        hn_forest_init(&part), hn_forest_init(&all);
        for (int lo = 0, k = 0, hi; lo < f.n_tree; lo = hi, k++) {
            hi = lo + (int)(hn_rand(seed, 9, (uint64_t)k) % (uint64_t)(f.n_tree - lo + 1)); /* may be empty */
            assert_int_equal(hn_forest_slice(&f, lo, hi, &part, NULL), 0);
            assert_int_equal(part.n_tree, hi - lo);
            sound(&part);
            assert_int_equal(hn_forest_append(&all, &part, NULL), 0);
        }
        if (f.n_tree) same_forest(&f, &all);
        hn_forest_release(&f), hn_forest_release(&part), hn_forest_release(&all);
    }
}

/* Tokens of a row's path, from the root to the row; returns how many. */
static int path_tokens(const hn_forest *f, int row, int32_t *out) {
    int s = 0, n = f->pos[row] + 1, k = n;
    while (row >= f->span[s].begin + f->span[s].len) s++;
    for (int last = row; s >= 0; s = f->span[s].parent) {
        for (int r = last; r >= f->span[s].begin; r--) out[--k] = f->token[r];
        if (f->span[s].parent >= 0)
            last = f->span[f->span[s].parent].begin + f->span[f->span[s].parent].len - 1;
    }
    assert_int_equal(k, 0);
    return n;
}

static void test_unshare(void **s) {
    (void)s;
    static int32_t a[4096], b[4096];
    for (uint64_t seed = 0; seed < 40; seed++) {
        hn_forest f, u;
        random_forest(&f, seed, 6);
        hn_forest_init(&u);
        assert_int_equal(hn_forest_unshare(&f, &u, NULL), 0);
        sound(&u);
        assert_int_equal(u.n_tree, f.n_sample), assert_int_equal(u.n_span, f.n_sample);
        assert_int_equal(u.n_act, f.n_act), assert_int_equal(u.n_sample, f.n_sample);
        same_ints(f.target, u.target, f.n_act), same_ints(f.sample, u.sample, f.n_act);
        for (int i = 0; i < f.n_act; i++) {
            int n = path_tokens(&f, f.from[i], a), m = path_tokens(&u, u.from[i], b);
            assert_int_equal(n, m);
            same_ints(a, b, n);
        }
        if (f.n_act)
            assert_memory_equal(hn_forest_f(&f, "weight"), hn_forest_f(&u, "weight"),
                                (size_t)f.n_act * sizeof(hn_real));
        if (f.n_sample) same_ints(hn_forest_i(&f, "label"), hn_forest_i(&u, "label"), f.n_sample);
        hn_forest_release(&f), hn_forest_release(&u);
    }
}

static void test_grains(void **s) {
    (void)s;
    for (uint64_t seed = 0; seed < 60; seed++) {
        hn_forest f;
        int32_t *cut;
        int size = 1 + (int)(hn_rand(seed, 10, 0) % 60);
        random_forest(&f, seed, (int)(seed % 13));
        int n = hn_forest_grains(&f, size, &cut, NULL);
        assert_true(n >= 0 && cut[0] == 0 && cut[n] == f.n_tree);
        for (int g = 0; g < n; g++) {
            int tokens = f.tree_token[cut[g + 1]] - f.tree_token[cut[g]];
            assert_true(cut[g] < cut[g + 1] && (tokens <= size || cut[g + 1] == cut[g] + 1));
            if (g + 1 < n) assert_true(f.tree_token[cut[g + 1] + 1] - f.tree_token[cut[g]] > size); /* full */
        }
        hn_free(cut);
        hn_forest_release(&f);
    }
}

/* ---- lies ---- */
static void caught(hn_forest *f, int32_t *at, int32_t value, const char *what) {
    hn_err e = { 0 };
    int32_t old = *at;
    *at = value;
    if (!hn_forest_check(f, V, &e)) fail_msg("%s = %d is believed", what, value);
    if (!strstr(e.msg, what)) fail_msg("\"%s\" does not say %s", e.msg, what);
    *at = old;
}

static void test_lies_are_caught(void **s) {
    (void)s;
    hn_forest f;
    random_forest(&f, 21, 8);
    int t = 1, sp = 0; /* not the first: its indices differ from those inside the tree */
    while (f.tree_act[t + 1] - f.tree_act[t] < 2 || f.tree_span[t + 1] - f.tree_span[t] < 3) t++;
    sp = f.tree_span[t] + 2;
    int a = f.tree_act[t], row = f.span[sp].begin;
    const int32_t bad[] = { -2, -1000000000, 1 << 30, INT32_MAX };
    for (int i = 0; i < 4; i++) {
        caught(&f, &f.token[row], bad[i], "token"), caught(&f, &f.pos[row], bad[i], "position");
        caught(&f, &f.span[sp].begin, bad[i], "begin"), caught(&f, &f.span[sp].len, bad[i], "length");
        caught(&f, &f.span[sp].parent, bad[i], "parent"), caught(&f, &f.from[a], bad[i], "row of act");
        caught(&f, &f.target[a], bad[i], "target"), caught(&f, &f.sample[a], bad[i], "sample");
        caught(&f, &f.tree_token[t + 1], bad[i], "tree"), caught(&f, &f.tree_span[t + 1], bad[i], "tree");
        caught(&f, &f.tree_act[t + 1], bad[i], "tree"), caught(&f, &f.tree_sample[t + 1], bad[i], "tree");
    }
    caught(&f, &f.token[row], V, "token");
    caught(&f, &f.pos[row], f.pos[row] + 1, "position");
    caught(&f, &f.span[sp].len, 0, "length");
    caught(&f, &f.span[sp].parent, sp, "parent"), caught(&f, &f.span[sp].parent, -1, "parent");
    caught(&f, &f.span[f.tree_span[t]].parent, f.tree_span[t] - 1, "parent"); /* a tree before */
    caught(&f, &f.span[sp].parent, f.tree_span[t] - 1, "parent");
    caught(&f, &f.from[a], f.tree_token[t] - 1, "row of act");
    caught(&f, &f.from[a], f.tree_token[t + 1], "row of act");
    caught(&f, &f.target[a], V, "target");
    caught(&f, &f.tree_token[0], 1, "begin of tree");
    f.n_token++;
    assert_true(hn_forest_check(&f, V, NULL) == HN_ERANGE);
    f.n_token--, f.n_act++;
    assert_true(hn_forest_check(&f, V, NULL) == HN_ERANGE);
    f.n_act--;
    sound(&f);
    hn_forest_release(&f);
}

/* Acts of one sample in two branches. */
static void test_a_sample_is_one_path(void **s) {
    (void)s;
    const int32_t tok[3] = { 1, 2, 3 };
    hn_forest f;
    hn_forest_init(&f);
    hn_forest_tree(&f, NULL);
    hn_forest_span(&f, -1, tok, 2, NULL), hn_forest_span(&f, 0, tok, 3, NULL),
        hn_forest_span(&f, 0, tok, 3, NULL);
    hn_forest_sample(&f, NULL);
    hn_forest_act(&f, 1, 1, NULL);
    hn_forest_act(&f, 1, 2, NULL);
    sound(&f);
    hn_forest_act(&f, 2, 1, NULL);
    assert_int_equal(hn_forest_check(&f, V, NULL), HN_ERANGE);
    f.sample[2] = 0, f.from[2] = f.from[1];
    assert_int_equal(hn_forest_check(&f, V, NULL), HN_ERANGE); /* the same act twice */
    hn_forest_release(&f);
}

/* ---- memory ---- */
static int build_all(void *ctx, hn_err *e) {
    hn_forest f, g, u;
    int32_t *cut = NULL;
    (void)ctx;
    hn_forest_init(&f), hn_forest_init(&g), hn_forest_init(&u);
    int rc = opnet_forest(&f, 5, 12, 7, V, e);
    if (!rc) rc = hn_forest_slice(&f, 2, 9, &g, e);
    if (!rc) rc = hn_forest_append(&g, &f, e);
    if (!rc) rc = hn_forest_unshare(&g, &u, e);
    if (!rc && hn_forest_grains(&u, 20, &cut, e) < 0) rc = HN_ENOMEM;
    hn_free(cut);
    hn_forest_release(&f), hn_forest_release(&g), hn_forest_release(&u);
    return rc;
}
static void test_torture(void **s) {
    (void)s;
    assert_true(torture(build_all, NULL) > 60);
}

/* ---- sharing changes no number ---- */
static void run_net(opnet *w, const hn_forest *f, hn_real *logp) {
    opnet_tape n;
    hn_err e = { 0 };
    memset(w->grad_emb, 0, sizeof w->grad_emb);
    for (int l = 0; l < NET_LAYERS; l++) memset(w->layer[l].grad, 0, sizeof w->layer[l].grad);
    if (opnet_record(&n, w, &hn_backend_ref, f->n_token, f->n_span, f->n_act, true, &e) ||
        opnet_run(&n, f, &e))
        fail_msg("%s", e.msg);
    memcpy(logp, n.logp->data, (size_t)f->n_act * sizeof *logp);
    hn_tape_free(n.t);
}

static double apart(const hn_real *a, const hn_real *b, size_t n) {
    double far = 0, top = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs(a[i] - b[i]);
        if (!(d <= far)) far = d;
        if (fabs(b[i]) > top) top = fabs(b[i]);
    }
    return top > 0 ? far / top : INFINITY;
}

static void test_shared_is_unshared(void **s) {
    (void)s;
    opnet *w = hn_alloc(sizeof *w), *v = hn_alloc(sizeof *v);
    hn_real *a = hn_alloc(4096 * sizeof *a), *b = hn_alloc(4096 * sizeof *b);
    assert_true(w && v && a && b);
    opnet_init(w, 1), opnet_init(v, 1);
    for (uint64_t seed = 0; seed < 6; seed++) {
        hn_forest f, u;
        hn_forest_init(&f), hn_forest_init(&u);
        opnet_forest(&f, seed, 5, 30, NET_VOCAB, NULL);
        assert_int_equal(hn_forest_unshare(&f, &u, NULL), 0);
        assert_true(f.n_act > 20 && f.n_act < 4096);
        run_net(w, &f, a);
        run_net(v, &u, b);
        assert_true(apart(a, b, (size_t)f.n_act) < 1e-12);
        assert_true(apart(w->grad_emb, v->grad_emb, NET_V * NET_C) < 1e-11);
        for (int l = 0; l < NET_LAYERS; l++)
            assert_true(apart(w->layer[l].grad, v->layer[l].grad, sizeof w->layer[l].grad / sizeof *a) <
                        1e-11);
        hn_forest_release(&f), hn_forest_release(&u);
    }
    hn_free(w), hn_free(v), hn_free(a), hn_free(b);
}

/* One path cut into spans in any way has the same bits. */
static void test_any_cutting_of_a_path(void **s) {
    (void)s;
    enum { N = 140 };
    opnet *w = hn_alloc(sizeof *w);
    hn_real want[N], got[N];
    int32_t token[N];
    assert_non_null(w);
    opnet_init(w, 2);
    for (int i = 0; i < N; i++) token[i] = (int32_t)(hn_rand(3, 1, (uint64_t)i) % NET_VOCAB);
    for (uint64_t seed = 0; seed < 5; seed++) {
        hn_forest f;
        hn_forest_init(&f);
        hn_forest_tree(&f, NULL);
        for (int at = 0, k = 0, n, last = -1; at < N; at += n, k++) {
            n = seed ? 1 + (int)(hn_rand(seed, 2, (uint64_t)k) % 70) : N;
            n = n < N - at ? n : N - at;
            last = hn_forest_span(&f, last, token + at, n, NULL);
        }
        hn_forest_sample(&f, NULL);
        for (int sp = 0; sp < f.n_span; sp++)
            for (int i = sp ? 0 : 1; i < f.span[sp].len; i++) hn_forest_act(&f, sp, i, NULL);
        assert_non_null(hn_forest_col(&f, "weight", HN_PER_ACT, HN_F, NULL));
        assert_int_equal(f.n_act, N - 1);
        run_net(w, &f, seed ? got : want);
        if (seed) assert_memory_equal(got, want, (N - 1) * sizeof *got);
        hn_forest_release(&f);
    }
    hn_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_pair),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_pieces_make_the_whole),
        cmocka_unit_test(test_unshare),
        cmocka_unit_test(test_grains),
        cmocka_unit_test(test_lies_are_caught),
        cmocka_unit_test(test_a_sample_is_one_path),
        cmocka_unit_test(test_torture),
        cmocka_unit_test(test_shared_is_unshared),
        cmocka_unit_test(test_any_cutting_of_a_path),
    };
    hn_poison = true;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
