/* tape.c - the tape: live counts, repeated runs, gradients into leaves' memory, what shares memory and what
 * does not, dead nodes, kernels, errors and the n-th allocation failing (in double, see tests/meson.build).
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/pool.h"
#include "op/op.h"
#include "opnet.h"
#include "tensor/plan.h"
#include "tensor/tape.h"
#include "torture.h"

static hn_tensor *vec(hn_tape *t, hn_real *p, int64_t n) { return hn_leaf(t, HN_F, (hn_shape)HN_S1(n), p); }
static hn_tape *fresh(void) {
    hn_tape *t = hn_tape_new(&hn_backend_ref);
    assert_non_null(t);
    return t;
}
static void plan(hn_tape *t) {
    hn_err e = { 0 };
    if (hn_tape_plan(t, &e)) fail_msg("%s", e.msg);
}
static void run(hn_tape *t) {
    hn_err e = { 0 };
    if (hn_run(t, &e)) fail_msg("%s", e.msg);
}
static hn_real at(const hn_tensor *x, int64_t i) { return ((const hn_real *)x->data)[i]; }

/* ---- live counts ---- */
static void test_live_counts(void **s) {
    (void)s;
    hn_real a[6] = { 1, 2, 4, 8, 16, 32 }, other[6] = { 3, 3, 3, 3, 3, 3 };
    hn_err e = { 0 };
    hn_tape *t = fresh();
    hn_tensor *x = hn_leaf(t, HN_F, (hn_shape)HN_T2(3, 2), a), *sum = hn_keep(hn_sum(t, x));
    hn_scope(t, "rest.%d", 1);
    hn_leaf(t, HN_I32, (hn_shape)HN_A1(5), NULL);
    hn_scope(t, "roomier");
    hn_leaf(t, HN_I32, (hn_shape)HN_A1(9), NULL); /* the least room counts */
    assert_true(hn_rows(x) == 3 && hn_count(x) == 6 && hn_cols(x) == 2 && hn_cap_rows(x) == 3);
    plan(t);
    run(t);
    assert_true(hn_scalar(sum) == 63); /* at capacity when nothing was said */
    for (int n = 3; n >= 0; n--) {
        hn_tape_live(t, HN_TOKENS, n);
        assert_true(hn_rows(x) == n && hn_count(x) == 2 * n && hn_cap_rows(x) == 3);
        assert_int_equal(hn_bytes(x), 6 * sizeof(hn_real));
        run(t);
        assert_true(hn_scalar(sum) == (1 << 2 * n) - 1);
    }
    hn_bind(x, other);
    hn_tape_live(t, HN_TOKENS, 2);
    run(t);
    assert_true(hn_scalar(sum) == 12);
    hn_tape_live(t, HN_ACTS, 6);
    assert_int_equal(hn_run(t, &e), HN_ERANGE);
    assert_string_equal(e.msg, "rest.1: 6 acts do not fit a recording made for 5");
    hn_tape_reset(t); /* forgets the counts as well */
    x = hn_leaf(t, HN_F, (hn_shape)HN_T2(3, 2), a);
    assert_true(hn_rows(x) == 3);
    hn_tape_free(t);
}

/* ---- runs ---- */
static void test_runs_repeat_to_the_bit(void **s) {
    (void)s;
    opnet *w = hn_alloc(sizeof *w);
    hn_real *first = hn_alloc(8192 * sizeof *first);
    hn_forest f, g;
    opnet_tape n;
    hn_err e = { 0 };
    assert_true(w && first);
    opnet_init(w, 1);
    hn_forest_init(&f), hn_forest_init(&g);
    opnet_forest(&f, 1, 6, 20, NET_VOCAB, NULL), opnet_forest(&g, 2, 3, 9, NET_VOCAB, NULL);
    assert_true(f.n_act > 30 && f.n_act <= 4096);
    if (opnet_record(&n, w, &hn_backend_ref, 400, 60, 900, true, &e)) fail_msg("%s", e.msg);
    assert_true(f.n_token <= 400 && f.n_act <= 900 && g.n_token <= 400);
    for (int turn = 0; turn < 8; turn++) { /* other inputs, other counts, other threads in between */
        assert_int_equal(hn_pool_start(1 + turn % 4, &e), 0);
        memset(w->grad_emb, 0, sizeof w->grad_emb);
        assert_int_equal(opnet_run(&n, &f, &e), 0);
        if (!turn) {
            memcpy(first, n.logp->data, (size_t)f.n_act * sizeof *first);
            memcpy(first + f.n_act, w->grad_emb, sizeof w->grad_emb);
        }
        assert_memory_equal(first, n.logp->data, (size_t)f.n_act * sizeof *first);
        assert_memory_equal(first + f.n_act, w->grad_emb, sizeof w->grad_emb);
        assert_int_equal(opnet_run(&n, &g, &e), 0);
    }
    hn_pool_stop();
    hn_tape_free(n.t);
    hn_forest_release(&f), hn_forest_release(&g);
    hn_free(w), hn_free(first);
}

/* ---- gradients into memory ---- */
static void test_into(void **s) {
    (void)s;
    hn_real x[2] = { 3, 5 }, w[2] = { 7, 11 }, g[2] = { 100, 200 }, other[2] = { 0, 0 }, gx[2] = { 1, 1 };
    hn_tape *t = fresh();
    hn_tensor *tx = hn_leaf(t, HN_F, (hn_shape)HN_S2(1, 2), x),
              *tw = hn_leaf(t, HN_F, (hn_shape)HN_S2(1, 2), w);
    tw->into = g;
    tx->into = gx;
    /* loss = x w + sum of w: a product adds straight to g, the sum's gradient goes through accum */
    hn_tensor *y = hn_linear(t, tx, tw, NULL, HN_PREC_F32);
    hn_tensor *loss = hn_keep(hn_add(t, hn_sum(t, y), hn_sum(t, tw)));
    assert_int_equal(hn_grad(t, loss, (hn_tensor *[]){ tw }, 1), 0);
    int bound = 0, accum = 0;
    for (int i = 0; i < t->n; i++) bound += t->node[i]->bound, accum += t->node[i]->op == &hn_op_accum;
    assert_int_equal(bound, 2), assert_int_equal(accum, 1);
    assert_null(tw->grad);
    plan(t);
    run(t), run(t);
    assert_true(g[0] == 100 + 2 * 4 && g[1] == 200 + 2 * 6);
    assert_true(gx[0] == 1 && gx[1] == 1); /* not asked for */
    tw->into = other;
    run(t);
    assert_true(g[0] == 108 && other[0] == 4 && other[1] == 6);
    hn_tape_free(t);
}

/* Gradients that begin from zero: what was there is overwritten, once, also where no gradient arrives. */
static void test_from_zero(void **s) {
    (void)s;
    hn_real x[2] = { 3, 5 }, w[2] = { 7, 11 }, g[2] = { NAN, 200 }, none[2] = { NAN, 1 };
    hn_tape *t = fresh();
    hn_tensor *tx = hn_leaf(t, HN_F, (hn_shape)HN_S2(1, 2), x),
              *tw = hn_leaf(t, HN_F, (hn_shape)HN_S2(1, 2), w), *lost = vec(t, none, 2);
    tw->into = g, lost->into = none;
    hn_tensor *loss = hn_keep(hn_add(t, hn_sum(t, hn_linear(t, tx, tw, NULL, HN_PREC_F32)), hn_sum(t, tw)));
    assert_int_equal(hn_grad(t, loss, (hn_tensor *[]){ tw, lost }, 2), 0);
    plan(t);
    hn_tape_from_zero(t, true);
    run(t), run(t);
    assert_true(g[0] == 4 && g[1] == 6 && none[0] == 0 && none[1] == 0);
    hn_tape_from_zero(t, false);
    run(t);
    assert_true(g[0] == 8 && g[1] == 12 && none[0] == 0 && none[1] == 0);
    hn_tape_free(t);
}

static void grad_of_inner_nodes(bool segment) {
    hn_real x[2] = { 3, 5 }, z[2] = { 0, 0 };
    hn_tape *t = fresh();
    hn_tensor *a = vec(t, x, 2), *lost = vec(t, z, 2);
    hn_segment(t, segment);
    hn_tensor *b = hn_mul(t, a, a), *c = hn_affine(t, b, 2, 1);
    hn_segment(t, false);
    hn_tensor *l1 = hn_sum(t, c), *l2 = hn_sum(t, hn_mul(t, c, b));
    assert_int_equal(hn_grad(t, l1, (hn_tensor *[]){ a, b, lost, l1 }, 4), 0);
    hn_tensor *ga = a->grad, *gb = b->grad, *gl = l1->grad;
    assert_null(lost->grad);
    assert_int_equal(hn_grad(t, l2, (hn_tensor *[]){ b, a }, 2), 0); /* a second loss, begun anew */
    plan(t);
    run(t);
    for (int i = 0; i < 2; i++) {
        assert_true(at(ga, i) == 4 * x[i] && at(gb, i) == 2);
        assert_true(at(b->grad, i) == 4 * x[i] * x[i] + 1);
        assert_true(at(a->grad, i) == (4 * x[i] * x[i] + 1) * 2 * x[i]);
    }
    assert_true(at(gl, 0) == 1);
    hn_tape_free(t);
}
static void test_grad_of_inner_nodes(void **s) {
    (void)s;
    grad_of_inner_nodes(false);
    grad_of_inner_nodes(true);
}

/* An accumulating gradient that another node reads too may not be given the leaf's memory. */
static int same_shape(const hn_tensor *y, hn_shape *s) {
    *s = y->in[0]->shape;
    return 0;
}
static void copy_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; i++) HN_OUT(y, 0)[i] = HN_IN(y, 0)[i];
}
static void odd_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    (void)y;
    gin[0] = hn_accum(t, g[0]);
    gin[1] = hn_affine(t, gin[0], 10, 0);
}
static const hn_op odd = { .name = "odd", .n_in = 2, .shape = same_shape, .ref = copy_ref, .vjp = odd_vjp };

static void test_a_read_accumulator_is_not_bound(void **s) {
    (void)s;
    hn_real x[2] = { 1, 2 }, g[2] = { 50, 60 };
    hn_tape *t = fresh();
    hn_tensor *a = vec(t, x, 2), *b = vec(t, x, 2);
    a->into = g;
    hn_tensor *loss = hn_keep(hn_sum(t, HN_APPLY(t, odd, HN_NOATTR, a, b)));
    assert_int_equal(hn_grad(t, loss, (hn_tensor *[]){ a, b }, 2), 0);
    plan(t);
    run(t), run(t);
    assert_true(g[0] == 52 && g[1] == 62);
    assert_true(at(b->grad, 0) == 10 && at(b->grad, 1) == 10);
    hn_tape_free(t);
}

/* Two outputs with gradients: x and 3 x. */
static int split_shape(const hn_tensor *y, hn_shape *s) {
    s[0] = s[1] = y->in[0]->shape;
    return 0;
}
static void split_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; i++) {
        HN_OUT(y, 0)[i] = HN_IN(y, 0)[i];
        HN_OUT(y, 1)[i] = 3 * HN_IN(y, 0)[i];
    }
}
static void split_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    hn_tensor *three = g[1] ? hn_affine(t, g[1], 3, 0) : NULL;
    (void)y;
    gin[0] = g[0] && three ? hn_add(t, g[0], three) : g[0] ? g[0] : three;
}
static const hn_op split = {
    .name = "split", .n_in = 1, .n_out = 2, .shape = split_shape, .ref = split_ref, .vjp = split_vjp
};
static void test_gradients_through_several_outputs(void **s) {
    (void)s;
    for (int turn = 2; turn < 8; turn++) { /* the loss reads the first output, the second, both */
        int which = turn / 2, asked = 1 + turn % 2;
        hn_real x[2] = { 2, 5 };
        hn_tape *t = fresh();
        hn_tensor *a = vec(t, x, 2), *y = HN_APPLY(t, split, HN_NOATTR, a), *z = y->out[1];
        assert_ptr_equal(z->of, y);
        hn_tensor *l = hn_sum(t, which == 1 ? y : which == 2 ? hn_mul(t, z, z) : hn_mul(t, y, z));
        assert_int_equal(hn_grad(t, l, (hn_tensor *[]){ a, z }, asked), 0);
        plan(t);
        run(t);
        for (int i = 0; i < 2; i++) {
            assert_true(at(a->grad, i) == (which == 1 ? 1 : which == 2 ? 18 * x[i] : 6 * x[i]));
            if (which > 1 && asked > 1) assert_true(at(z->grad, i) == (which == 2 ? 6 * x[i] : x[i]));
        }
        hn_tape_free(t);
    }
}

/* ---- memory ---- */
static void test_in_place_when_an_input_dies(void **s) {
    (void)s;
    enum { N = 1000 };
    hn_real *x = hn_alloc(N * sizeof *x);
    assert_non_null(x);
    for (int i = 0; i < N; i++) x[i] = i;
    hn_tape *t = fresh();
    hn_tensor *a = hn_affine(t, vec(t, x, N), 1, 1), *b = hn_affine(t, a, 2, 0), *c = hn_affine(t, b, 1, -3);
    hn_keep(c);
    plan(t);
    assert_true(hn_tape_bytes(t) < 2 * N * sizeof *x); /* one place for all three */
    assert_ptr_equal(a->data, c->data);
    run(t), run(t);
    for (int i = 0; i < N; i++) assert_true(at(c, i) == 2 * (i + 1) - 3);
    hn_tape_reset(t);
    a = hn_affine(t, vec(t, x, N), 1, 1), b = hn_affine(t, a, 2, 0), c = hn_add(t, b, a); /* a lives on */
    hn_tensor *d = hn_keep(hn_affine(t, c, 1, 5)), *e = hn_keep(hn_affine(t, d, 1, 1)); /* d is to be read */
    plan(t);
    assert_ptr_not_equal(a->data, b->data);
    assert_ptr_not_equal(d->data, e->data);
    run(t);
    for (int i = 0; i < N; i++) assert_true(at(d, i) == 3 * (i + 1) + 5 && at(e, i) == at(d, i) + 1);
    hn_tape_free(t);
    hn_free(x);
}

/* Reads one input elsewhere than the other: in place it would destroy what it still needs. */
static void backwards_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t n = hn_count(y);
    (void)lo, (void)hi;
    for (int64_t i = 0; i < n; i++) HN_OUT(y, 0)[i] = HN_IN(y, 0)[i] + HN_IN(y, 1)[n - 1 - i];
}
static const hn_op backwards = {
    .name = "backwards", .n_in = 2, .shape = same_shape, .ref = backwards_ref, .whole = true, .inplace = 1
};
static void test_not_in_place_when_read_twice(void **s) {
    (void)s;
    hn_real x[3] = { 1, 2, 4 };
    hn_tape *t = fresh();
    hn_tensor *a = hn_affine(t, vec(t, x, 3), 1, 0), *y = hn_keep(HN_APPLY(t, backwards, HN_NOATTR, a, a));
    plan(t);
    run(t);
    assert_true(at(y, 0) == 5 && at(y, 1) == 4 && at(y, 2) == 5);
    hn_tape_free(t);
}

static void test_packing(void **s) {
    (void)s;
    enum { MAX = 300 };
    static hn_item item[MAX];
    static int order[2 * MAX];
    for (uint64_t seed = 0; seed < 60; seed++) {
        int n = (int)(hn_rand(seed, 1, 0) % (MAX + 1)), steps = 1 + (int)(hn_rand(seed, 1, 1) % 100);
        for (int i = 0; i < n; i++) {
            uint64_t k = (uint64_t)i;
            item[i].first = (int)(hn_rand(seed, 2, k) % (uint64_t)steps);
            item[i].last = item[i].first + (int)(hn_rand(seed, 3, k) % 12);
            item[i].size = hn_rand(seed, 4, k) % 7 ? (size_t)(hn_rand(seed, 5, k) % 5000) : 0;
        }
        size_t end = hn_plan(item, n, order), floor = 0;
        for (int i = 0; i < n; i++) {
            assert_true(item[i].at % HN_PLAN_ALIGN == 0 && item[i].at + item[i].size <= end);
            for (int j = 0; j < i; j++) {
                const hn_item *x = &item[i], *y = &item[j];
                if (x->last < y->first || y->last < x->first) continue;
                assert_true(x->at + x->size <= y->at || y->at + y->size <= x->at || !x->size || !y->size);
            }
        }
        for (int step = 0; step < steps + 12; step++) {
            size_t alive = 0;
            for (int i = 0; i < n; i++)
                if (item[i].first <= step && step <= item[i].last)
                    alive += (item[i].size + HN_PLAN_ALIGN - 1) / HN_PLAN_ALIGN * HN_PLAN_ALIGN;
            if (alive > floor) floor = alive;
        }
        assert_true(end >= floor &&
                    end <= floor + floor / 3); /* measured: at most 1.2 of the least possible */
    }
}

/* ---- dead nodes, kernels ---- */
static int calls, fail_at;
static size_t work_seen;
static int counting(const hn_tensor *y, hn_err *e) {
    if (++calls == fail_at) return hn_fail(e, HN_EUNSUP, "no such rows");
    work_seen = (size_t)((uintptr_t)y->work % 64);
    memset(y->work, 0, 1000);
    y->op->ref(y, 0, hn_rows(y));
    return 0;
}
static hn_kernel_fn *affine_only(const hn_tensor *y) { return y->op == &hn_op_affine ? counting : NULL; }
static size_t thousand(const hn_tensor *y) { return (void)y, 1000; }
static const hn_backend counter = { .name = "counter", .kernel = affine_only, .scratch = thousand };

static void test_dead_nodes_do_not_run(void **s) {
    (void)s;
    hn_real x[2] = { 1, 2 };
    hn_tape *t = hn_tape_new(&counter);
    hn_tensor *a = hn_affine(t, vec(t, x, 2), 2, 0), *dead = hn_affine(t, a, 3, 0);
    hn_affine(t, dead, 4, 0);
    hn_tensor *like = hn_affine(t, a, 5, 0), *one = hn_sum(t, a); /* like is read for its shape alone */
    hn_tensor *y = hn_keep(hn_spread(t, one, like));
    calls = fail_at = 0;
    plan(t);
    run(t);
    assert_int_equal(calls, 1);
    assert_int_equal(work_seen, 0);
    assert_true(at(y, 0) == 6 && at(y, 1) == 6);
    assert_null(dead->data);
    hn_tape_free(t);
}

/* A node that changes a host object runs though nobody reads it. */
static void count_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    (void)lo, (void)hi;
    HN_OUT(y, 0)[0] = (hn_real)++ * (int *)y->in[1]->data;
}
static const hn_op tick = { .name = "tick", .n_in = 2, .shape = same_shape, .ref = count_ref, .whole = true };
static void test_effects_are_not_dead(void **s) {
    (void)s;
    hn_real x[1] = { 1 };
    int ticks = 0;
    hn_tape *t = fresh();
    HN_APPLY(t, tick, HN_NOATTR, vec(t, x, 1), hn_leaf(t, HN_HOST, (hn_shape)HN_S1(1), &ticks));
    plan(t);
    run(t), run(t);
    assert_int_equal(ticks, 2);
    hn_tape_free(t);
}

/* ---- segments ---- */
static int steps_of(const hn_tape *t, const hn_op *op) {
    int n = 0;
    for (int i = 0; i < t->n_step; i++) n += t->step[i].y->op == op;
    return n;
}

/* Computed twice: what gradients read, unless it is kept, crosses the border or changes a host object. */
static void test_what_a_segment_computes_again(void **s) {
    (void)s;
    for (int which = 0; which < 2; which++) { /* without and with */
        hn_real x[2] = { 0.5, 0.25 };
        int ticks = 0;
        hn_tape *t = fresh();
        hn_tensor *a = vec(t, x, 2), *host = hn_leaf(t, HN_HOST, (hn_shape)HN_S1(1), &ticks);
        hn_segment(t, which);
        hn_tensor *b = hn_exp(t, a), *c = hn_keep(hn_sigmoid(t, b)), *d = hn_mul(t, b, c);
        hn_tensor *y = HN_APPLY(t, split, HN_NOATTR, d), *z = y->out[1];
        hn_tensor *tock = HN_APPLY(t, tick, HN_NOATTR, hn_sum(t, a), host);
        hn_tensor *last = hn_logsig(t, hn_mul(t, hn_min(t, y, z), hn_spread(t, tock, z)));
        hn_tensor *out = hn_exp(t, hn_mul(t, z, last)), *spare = hn_exp(t, out);
        hn_segment(t, false);
        int before = t->n;
        hn_tensor *loss = hn_keep(hn_sum(t, hn_mul(t, out, out)));
        assert_int_equal(hn_grad(t, loss, &a, 1), 0);
        assert_true(a->grad && spare->id < before);
        plan(t);
        run(t), run(t);
        assert_int_equal(ticks, 2);
        assert_int_equal(steps_of(t, &tick), 1);                  /* changes a host object */
        assert_int_equal(steps_of(t, &hn_op_exp), which ? 3 : 2); /* out crosses the border: not again */
        assert_int_equal(steps_of(t, &split), 1 + which);
        int sigmoids = 0; /* of b: it is kept; the gradient of logsig has one of its own */
        for (int i = 0; i < t->n_step; i++) sigmoids += t->step[i].y == c;
        assert_true(sigmoids == 1 && steps_of(t, &hn_op_sigmoid) == 2);
        assert_int_equal(steps_of(t, &hn_op_logsig), 1 + which);
        static hn_real grad[2];
        if (which) assert_memory_equal(grad, a->grad->data, sizeof grad);
        memcpy(grad, a->grad->data, sizeof grad);
        hn_tape_free(t);
    }
}

/* A chain of segments takes what crosses their borders and one of them, not all. */
static size_t chain_bytes(int segments, bool on, hn_real *x, hn_real *grad) {
    enum { N = 512, INSIDE = 8 };
    hn_tape *t = fresh();
    hn_tensor *a = vec(t, x, N), *y = a;
    for (int k = 0; k < segments; k++) {
        hn_segment(t, on);
        for (int i = 0; i < INSIDE; i++) y = hn_sigmoid(t, y);
    }
    int before = t->n;
    assert_int_equal(hn_grad(t, hn_keep(hn_sum(t, y)), &a, 1), 0); /* in the last segment, and it ends it */
    for (int i = before; i < t->n; i++)
        assert_true(t->node[i]->segment == (i == before && on ? segments : 0));
    plan(t);
    run(t);
    assert_int_equal(steps_of(t, &hn_op_sigmoid), segments * INSIDE + on * (segments * (INSIDE - 1) + 1));
    memcpy(grad, a->grad->data, N * sizeof *grad);
    size_t bytes = hn_tape_bytes(t);
    hn_tape_free(t);
    return bytes;
}
static void test_segments_take_less(void **s) {
    (void)s;
    static hn_real x[512], a[512], b[512];
    size_t one = sizeof x;
    for (int i = 0; i < 512; i++) x[i] = (hn_real)hn_rand_normal(3, 0, (uint64_t)i);
    size_t all = chain_bytes(20, false, x, a), few = chain_bytes(20, true, x, b);
    assert_memory_equal(a, b, sizeof a);
    assert_true(all >= 160 * one && few <= (20 + 8 + 4) * one);
    assert_true(chain_bytes(30, true, x, b) - few <= 10 * one + 2 * HN_PLAN_ALIGN);
}

/* Segments that no gradient reaches are not recorded again. */
static void test_segments_beside_the_loss(void **s) {
    (void)s;
    hn_real x[2] = { 1, 2 };
    hn_tape *t = fresh();
    hn_tensor *a = vec(t, x, 2), *b = vec(t, x, 2);
    hn_segment(t, true);
    hn_tensor *aside = hn_exp(t, b);
    hn_segment(t, true);
    hn_tensor *y = hn_exp(t, hn_mul(t, a, aside));
    hn_segment(t, false);
    hn_tensor *loss = hn_sum(t, y);
    assert_int_equal(hn_grad(t, loss, &a, 1), 0);
    plan(t);
    assert_int_equal(steps_of(t, &hn_op_exp), 2);
    run(t);
    assert_true(at(a->grad, 1) == exp(2 * exp(2.0)) * exp(2.0));
    hn_tape_reset(t);
    hn_segment(t, true);
    hn_tape_reset(t); /* ends it */
    assert_int_equal(vec(t, x, 2)->segment, 0);
    hn_tape_free(t);
}

/* Nobody reads the head's weight gradient: its kernel is told by NULL. */
static bool asked_gw, asked_gh;
static int head_b(const hn_tensor *y, hn_err *e) {
    (void)e;
    asked_gh = y->out[0]->data, asked_gw = y->out[1]->data;
    y->op->ref(y, 0, hn_rows(y));
    return 0;
}
static hn_kernel_fn *logp_b_only(const hn_tensor *y) { return y->op == &hn_op_logp_b ? head_b : NULL; }
static const hn_backend head_only = { .name = "head", .kernel = logp_b_only };

static void test_spare_outputs(void **s) {
    (void)s;
    hn_real h[6] = { 1, 2, 3, 4, 5, 6 }, w[8] = { 1, 0, 0, 1, 1, 1, 2, 1 };
    int32_t target[3] = { 0, 1, 2 };
    for (int which = 0; which < 3; which++) {
        hn_tape *t = hn_tape_new(&head_only);
        hn_tensor *th = hn_leaf(t, HN_F, (hn_shape)HN_S2(3, 2), h),
                  *tw = hn_leaf(t, HN_F, (hn_shape)HN_S2(4, 2), w);
        hn_tensor *id = hn_leaf(t, HN_I32, (hn_shape)HN_S1(3), target);
        hn_tensor *l = hn_sum(t, hn_logp(t, th, tw, id, 1, 4, HN_PREC_F32));
        hn_tensor *both[2] = { th, tw };
        hn_grad(t, l, which == 2 ? both : &both[which], which == 2 ? 2 : 1);
        plan(t);
        run(t);
        assert_true(asked_gh == (which != 1) && asked_gw == (which != 0));
        hn_tape_free(t);
    }
}

static void test_profile(void **s) {
    (void)s;
    hn_real x[2] = { 1, 2 };
    hn_buf b = { 0 };
    hn_tape *t = fresh();
    hn_keep(hn_exp(t, hn_affine(t, hn_affine(t, vec(t, x, 2), 2, 0), 1, 1)));
    plan(t);
    run(t), run(t);
    hn_tape_profile(t, &b, true);
    assert_non_null(strstr(b.data, "affine ")), assert_non_null(strstr(b.data, "exp "));
    long long n = 0;
    double sec = -1, share = -1;
    assert_int_equal(sscanf(strstr(b.data, "affine"), "affine %lld %lf %lf%%", &n, &sec, &share), 3);
    assert_true(n == 4 && sec >= 0 && share >= 0 && share <= 100);
    double total = 0, last = INFINITY;
    int lines = 0;
    for (char *l = b.data; *l; l = strchr(l, '\n') + 1, lines++) { /* slowest first, all of the time */
        assert_int_equal(sscanf(l, "%*s %*d %lf %lf%%", &sec, &share), 2);
        assert_true(sec <= last);
        last = sec, total += share;
    }
    assert_true(lines == 2 && fabs(total - 100) < 0.2);
    hn_buf_clear(&b);
    hn_tape_profile(t, &b, false);
    assert_int_equal(b.n, 0);
    hn_buf_free(&b);
    hn_tape_free(t);
}

/* ---- errors ---- */
static void test_errors_stick(void **s) {
    (void)s;
    hn_real x[6] = { 0 };
    hn_err e = { 0 };
    hn_tape *t = fresh();
    hn_scope(t, "layer.%d.mlp", 3);
    hn_tensor *a = hn_leaf(t, HN_F, (hn_shape)HN_S2(2, 3), x),
              *w = hn_leaf(t, HN_F, (hn_shape)HN_S2(3, 2), x);
    hn_tensor *id = hn_leaf(t, HN_I32, (hn_shape)HN_S1(4), NULL);
    hn_tensor *y = hn_linear(t, a, w, NULL, HN_PREC_F32), *l = hn_sum(t, hn_mul(t, y, y));
    assert_true(hn_rows(l) == 1 && l->out[1]);
    assert_int_equal(hn_grad(t, l, (hn_tensor *[]){ w }, 1), HN_ERANGE);
    hn_logp(t, y, w, id, 1, 2, HN_PREC_F32); /* recording goes on, harmless */
    hn_scope(t, "later");
    assert_int_equal(hn_tape_plan(t, &e), HN_ERANGE);
    assert_string_equal(e.msg, "layer.3.mlp: linear does not fit [2,3] [3,2] -");
    hn_tape_reset(t);
    a = hn_leaf(t, HN_F, (hn_shape)HN_S2(2, 3), x);
    hn_embed(t, a, hn_leaf(t, HN_F, (hn_shape)HN_S1(4), x));
    memset(&e, 0, sizeof e);
    assert_int_equal(hn_tape_plan(t, &e), HN_ERANGE);
    assert_string_equal(e.msg, "embed does not fit [2,3] [4]");
    hn_tape_reset(t);
    hn_tape_fail(t, HN_EUNSUP, "activation gelu_10 is not known");
    memset(&e, 0, sizeof e);
    assert_int_equal(hn_tape_plan(t, &e), HN_EUNSUP);
    assert_string_equal(e.msg, "activation gelu_10 is not known");
    hn_tape_free(t);
}

static void test_sizes_past_memory(void **s) {
    (void)s;
    hn_err e = { 0 };
    const int64_t big = (int64_t)1 << 31;
    hn_tape *t = fresh();
    hn_tensor *x = hn_leaf(t, HN_F, (hn_shape)HN_S2(big, 4), NULL),
              *w = hn_leaf(t, HN_F, (hn_shape)HN_S2(big, 4), NULL);
    hn_keep(hn_linear(t, x, w, NULL, HN_PREC_F32)); /* 2^62 elements */
    assert_int_equal(hn_tape_plan(t, &e), HN_ERANGE);
    hn_tape_reset(t);
    memset(&e, 0, sizeof e);
    x = hn_leaf(t, HN_F, (hn_shape)HN_S2(1 << 22, 4), NULL),
    w = hn_leaf(t, HN_F, (hn_shape)HN_S2(1 << 22, 4), NULL);
    hn_keep(hn_linear(t, x, w, NULL, HN_PREC_F32)); /* 128 TiB: representable, not there */
    assert_int_equal(hn_tape_plan(t, &e), HN_ENOMEM);
    assert_non_null(strstr(e.msg, "bytes of activations"));
    hn_tape_free(t);
}

static void test_a_failing_kernel_is_named(void **s) {
    (void)s;
    hn_real x[2] = { 1, 2 };
    hn_err e = { 0 };
    hn_tape *t = hn_tape_new(&counter);
    hn_scope(t, "layer.0");
    hn_tensor *a = hn_affine(t, vec(t, x, 2), 2, 0);
    hn_scope(t, "layer.1");
    hn_tensor *y = hn_keep(hn_affine(t, hn_exp(t, a), 2, 0));
    plan(t);
    calls = 0, fail_at = 2;
    assert_int_equal(hn_run(t, &e), HN_EUNSUP);
    assert_string_equal(e.msg, "layer.1: affine: no such rows");
    fail_at = 0;
    run(t); /* the tape is as good as before */
    assert_true(fabs(at(y, 0) - 2 * exp(2)) < 1e-12);
    fail_at = calls + 1;
    assert_int_equal(hn_run(t, NULL), HN_EUNSUP);
    hn_tape_free(t);
}

/* ---- memory runs out ---- */
typedef struct whole {
    opnet *w;
    const hn_forest *f;
} whole;
static int record_and_run(void *ctx, hn_err *e) {
    whole *c = ctx;
    opnet_tape n;
    int rc = opnet_record(&n, c->w, &hn_backend_ref, 300, 60, 900, true, e);
    if (!rc) rc = opnet_run(&n, c->f, e);
    hn_tape_free(n.t);
    return rc;
}
/* A second recording on the same tape, larger than the first: the block is replaced. */
static int record_again(void *ctx, hn_err *e) {
    hn_tape *t = hn_tape_new(&hn_backend_ref);
    hn_real x[2] = { 1, 2 };
    (void)ctx;
    if (!t) return hn_fail(e, HN_ENOMEM, "no tape");
    int rc = 0;
    for (int64_t n = 10; n < 100000 && !rc; n *= 50) {
        hn_tape_reset(t);
        hn_tensor *a = hn_leaf(t, HN_F, (hn_shape)HN_T1(n), x);
        hn_keep(hn_affine(t, a, 1, 0));
        for (int i = 0; i < 300; i++) {
            hn_scope(t, "node %d", i);
            a = hn_affine(t, a, 1, 0);
        }
        hn_tape_live(t, HN_TOKENS, 2);
        rc = hn_tape_plan(t, e);
        if (!rc) rc = hn_run(t, e);
    }
    hn_tape_free(t);
    return rc;
}
static void test_torture(void **s) {
    (void)s;
    whole c = { .w = hn_alloc(sizeof *c.w) };
    hn_forest f;
    assert_non_null(c.w);
    opnet_init(c.w, 1);
    hn_forest_init(&f);
    opnet_forest(&f, 1, 3, 9, NET_VOCAB, NULL);
    assert_true(f.n_token <= 300 && f.n_act <= 900 && f.n_span <= 60);
    c.f = &f;
    assert_true(torture(record_and_run, &c) > 5);
    assert_true(torture(record_again, NULL) > 5);
    hn_forest_release(&f);
    hn_free(c.w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_live_counts),
        cmocka_unit_test(test_runs_repeat_to_the_bit),
        cmocka_unit_test(test_into),
        cmocka_unit_test(test_grad_of_inner_nodes),
        cmocka_unit_test(test_from_zero),
        cmocka_unit_test(test_a_read_accumulator_is_not_bound),
        cmocka_unit_test(test_gradients_through_several_outputs),
        cmocka_unit_test(test_in_place_when_an_input_dies),
        cmocka_unit_test(test_not_in_place_when_read_twice),
        cmocka_unit_test(test_packing),
        cmocka_unit_test(test_dead_nodes_do_not_run),
        cmocka_unit_test(test_effects_are_not_dead),
        cmocka_unit_test(test_what_a_segment_computes_again),
        cmocka_unit_test(test_segments_take_less),
        cmocka_unit_test(test_segments_beside_the_loss),
        cmocka_unit_test(test_spare_outputs),
        cmocka_unit_test(test_profile),
        cmocka_unit_test(test_errors_stick),
        cmocka_unit_test(test_sizes_past_memory),
        cmocka_unit_test(test_a_failing_kernel_is_named),
        cmocka_unit_test(test_torture),
    };
    hn_poison = true;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
