/* ops.c - what the reference kernels mean: each compared with the plainest formula there is.
 *
 * opcheck holds a gradient to its forward; a wrong forward with the right gradient of the wrong thing would
 * pass it.  These tests hold the forwards (in double, see tests/meson.build). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "op/op.h"
#include "op/softmax.h"
#include "opnet.h"
#include "tensor/kv.h"

static hn_real *numbers(int64_t n, uint64_t seed) {
    hn_real *p = hn_alloc((size_t)(n ? n : 1) * sizeof *p);
    assert_non_null(p);
    for (int64_t i = 0; i < n; i++) p[i] = (hn_real)(2 * hn_rand01(seed, 1, (uint64_t)i) - 1);
    return p;
}
static hn_tensor *mat(hn_tape *t, hn_real *p, int64_t r, int64_t c) {
    return hn_leaf(t, HN_F, (hn_shape)HN_S2(r, c), p);
}
static hn_tensor *vec(hn_tape *t, hn_real *p, int64_t n) { return hn_leaf(t, HN_F, (hn_shape)HN_S1(n), p); }
static hn_tensor *ints(hn_tape *t, const int32_t *p, int64_t n) {
    return hn_leaf(t, HN_I32, (hn_shape)HN_S1(n), (void *)p);
}
static void run(hn_tape *t) {
    hn_err e = { 0 };
    if (hn_tape_plan(t, &e) || hn_run(t, &e)) fail_msg("%s", e.msg);
}
static void near_to(double got, double want) {
    if (!(fabs(got - want) <= 1e-12 * (1 + fabs(want)))) fail_msg("got %.17g, want %.17g", got, want);
}

/* ---- elements ---- */
static void test_elements(void **s) {
    (void)s;
    hn_real a[4] = { -2, -0.5, 0.25, 3 }, b[4] = { -1, -0.5, -0.75, 4 };
    hn_tape *t = hn_tape_new(&hn_backend_ref);
    hn_tensor *x = vec(t, a, 4), *y = vec(t, b, 4);
    hn_tensor *o[] = { hn_add(t, x, y), hn_sub(t, x, y),      hn_mul(t, x, y),          hn_min(t, x, y),
                       hn_exp(t, x),    hn_sigmoid(t, x),     hn_affine(t, x, 2, -1),   hn_clip(t, x, -1, 1),
                       hn_logsig(t, x), hn_min_b(t, x, y, x), hn_clip_b(t, x, y, -1, 1) };
    for (int i = 0; i < 11; i++) hn_keep(o[i]);
    run(t);
    for (int i = 0; i < 4; i++) {
        double u = a[i], v = b[i];
        double want[] = { u + v,
                          u - v,
                          u * v,
                          u < v ? u : v,
                          exp(u),
                          1 / (1 + exp(-u)),
                          2 * u - 1,
                          u < -1  ? -1
                          : u > 1 ? 1
                                  : u,
                          log(1 / (1 + exp(-u))),
                          u <= v ? u : 0,
                          fabs(u) <= 1 ? v : 0 };
        for (int k = 0; k < 11; k++) near_to(((hn_real *)o[k]->data)[i], want[k]);
    }
    hn_tape_free(t);
}

/* Where the plain formulas overflow or lose everything. */
static void test_extremes(void **s) {
    (void)s;
    hn_real a[4] = { -800, -40, 40, 800 }, n[2] = { NAN, 1 }, m[2] = { 1, NAN };
    hn_tape *t = hn_tape_new(&hn_backend_ref);
    hn_tensor *ls = hn_keep(hn_logsig(t, vec(t, a, 4))), *sg = hn_keep(hn_sigmoid(t, vec(t, a, 4)));
    hn_tensor *least = hn_keep(hn_min(t, vec(t, n, 2), vec(t, m, 2)));
    run(t);
    hn_real *l = ls->data, *g = sg->data;
    near_to(l[0], -800), near_to(l[1], -40), near_to(l[3], 0), near_to(g[0], 0), near_to(g[3], 1);
    assert_true(l[2] < 0 && l[2] > -1e-17 && g[1] > 0);
    assert_true(isnan(((hn_real *)least->data)[0]) && isnan(((hn_real *)least->data)[1]));
    hn_tape_free(t);
}

/* ---- sums and moves ---- */
static void test_moves(void **s) {
    (void)s;
    hn_real x[6] = { 1, 2, 3, 4, 5, 6 };
    const int32_t id[4] = { 2, 0, 2, 1 }, seg[6] = { 1, 0, 1, 3, 3, 3 };
    hn_tape *t = hn_tape_new(&hn_backend_ref);
    hn_tensor *m = mat(t, x, 3, 2), *g = hn_keep(hn_gather(t, m, ints(t, id, 4)));
    hn_tensor *back = hn_keep(hn_scatter(t, g, ints(t, id, 4), m)), *sum = hn_keep(hn_sum(t, m));
    hn_tensor *segs = hn_keep(hn_segsum(t, vec(t, x, 6), ints(t, seg, 6), mat(t, NULL, 4, 9)));
    hn_tensor *spread = hn_keep(hn_spread(t, sum, m)), *emb = hn_keep(hn_embed(t, m, ints(t, id, 4)));
    run(t);
    const double picked[8] = { 5, 6, 1, 2, 5, 6, 3, 4 }, added[6] = { 1, 2, 3, 4, 10, 12 };
    const double by_seg[4] = { 2, 4, 0, 15 };
    for (int i = 0; i < 8; i++) near_to(((hn_real *)g->data)[i], picked[i]);
    for (int i = 0; i < 8; i++) near_to(((hn_real *)emb->data)[i], picked[i]);
    for (int i = 0; i < 6; i++) near_to(((hn_real *)back->data)[i], added[i]);
    for (int i = 0; i < 4; i++) near_to(((hn_real *)segs->data)[i], by_seg[i]);
    for (int i = 0; i < 6; i++) near_to(((hn_real *)spread->data)[i], 21);
    hn_tape_free(t);
}

/* ---- layers ---- */
static void test_layers(void **s) {
    (void)s;
    enum { N = 5, C = 6, O = 4 };
    hn_real *x = numbers(N * C, 1), *w = numbers(O * C, 2), *b = numbers(O, 3), *nw = numbers(C, 4);
    hn_tape *t = hn_tape_new(&hn_backend_ref);
    hn_tensor *tx = mat(t, x, N, C);
    hn_tensor *lin = hn_keep(hn_linear(t, tx, mat(t, w, O, C), vec(t, b, O), HN_PREC_F32));
    hn_tensor *norm = hn_keep(hn_rmsnorm(t, tx, vec(t, nw, C), 0.1)), *unit = hn_keep(hn_swiglu(t, tx));
    hn_tensor *heads = hn_keep(hn_headnorm(t, tx, vec(t, nw, 1), vec(t, nw + 1, 1), 2, 2, 0.1));
    run(t);
    for (int n = 0; n < N; n++) {
        double ss = 0;
        for (int c = 0; c < C; c++) ss += x[n * C + c] * x[n * C + c];
        for (int c = 0; c < C; c++) {
            double u = x[n * C + c], one = u / sqrt(u * u + 0.1);
            near_to(((hn_real *)norm->data)[n * C + c], u / sqrt(ss / C + 0.1) * nw[c]);
            near_to(((hn_real *)heads->data)[n * C + c], c < 2 ? one * nw[0] : c < 4 ? one * nw[1] : u);
        }
        for (int o = 0; o < O; o++) {
            double y = b[o];
            for (int c = 0; c < C; c++) y += x[n * C + c] * w[o * C + c];
            near_to(((hn_real *)lin->data)[n * O + o], y);
        }
        for (int f = 0; f < C / 2; f++) {
            double g = x[n * C + f];
            near_to(((hn_real *)unit->data)[n * C / 2 + f], g / (1 + exp(-g)) * x[n * C + C / 2 + f]);
        }
    }
    hn_tape_free(t);
    hn_free(x), hn_free(w), hn_free(b), hn_free(nw);
}

/* Element i and i + D/2 are one complex number, turned by pos * freq[i]; the gradient turns back. */
static void test_rope(void **s) {
    (void)s;
    enum { N = 4, H = 2, G = 1, D = 6, C = (H + 2 * G) * D };
    hn_real *x = numbers(N * C, 5), freq[3] = { 1, 0.3, 0.02 };
    const int32_t pos[N] = { 0, 1, 17, 400 };
    hn_tape *t = hn_tape_new(&hn_backend_ref);
    hn_tensor *f = vec(t, freq, 3), *p = ints(t, pos, N), *tx = mat(t, x, N, C);
    hn_tensor *y = hn_keep(hn_rope(t, tx, p, f, H, G, HN_PREC_F32)),
              *z = hn_keep(hn_rope_b(t, y, p, f, H, G));
    run(t);
    for (int i = 0; i < N * C; i++) near_to(((hn_real *)z->data)[i], x[i]);
    for (int n = 0; n < N; n++)
        for (int h = 0; h < H + 2 * G; h++)
            for (int i = 0; i < D / 2; i++) {
                const hn_real *u = x + n * C + h * D + i, *v = (hn_real *)y->data + n * C + h * D + i;
                double a = h < H + G ? pos[n] * freq[i] : 0;
                near_to(v[0], u[0] * cos(a) - u[D / 2] * sin(a));
                near_to(v[D / 2], u[0] * sin(a) + u[D / 2] * cos(a));
            }
    hn_tape_free(t);
    hn_free(x);
}

/* ---- attention ---- */
static bool sees(const hn_forest *f, int row, int key) {
    int r = 0, k = 0;
    while (row >= f->span[r].begin + f->span[r].len) r++;
    while (key >= f->span[k].begin + f->span[k].len) k++;
    for (; r >= 0; r = f->span[r].parent)
        if (r == k) return key <= row;
    return false;
}

/* Softmax over a dense mask, key-value heads repeated. */
static void dense(const hn_forest *f, const hn_real *x, int H, int G, int D, double *o, double *lse) {
    int N = f->n_token, C = (H + 2 * G) * D;
    for (int n = 0; n < N; n++)
        for (int h = 0; h < H; h++) {
            int kv = h / (H / G);
            double sum = 0;
            memset(o + (n * H + h) * D, 0, (size_t)D * sizeof *o);
            for (int k = 0; k < N; k++) {
                double q = 0;
                if (!sees(f, n, k)) continue;
                for (int d = 0; d < D; d++) q += x[n * C + h * D + d] * x[k * C + (H + kv) * D + d];
                double p = exp(q / sqrt(D));
                sum += p;
                for (int d = 0; d < D; d++) o[(n * H + h) * D + d] += p * x[k * C + (H + G + kv) * D + d];
            }
            for (int d = 0; d < D; d++) o[(n * H + h) * D + d] /= sum;
            lse[n * H + h] = log(sum);
        }
}

static void test_attention_is_masked_softmax(void **s) {
    (void)s;
    const int heads[4][3] = { { 1, 1, 4 }, { 4, 2, 3 }, { 6, 2, 2 }, { 2, 2, 70 } };
    for (int c = 0; c < 4; c++) {
        int H = heads[c][0], G = heads[c][1], D = heads[c][2];
        hn_forest f;
        hn_forest_init(&f);
        opnet_forest(&f, 60 + (uint64_t)c, 4, 9, 50, NULL);
        int N = f.n_token;
        hn_real *x = numbers((int64_t)N * (H + 2 * G) * D, 6);
        double *o = calloc((size_t)(N * H * D), sizeof *o), *lse = calloc((size_t)(N * H), sizeof *lse);
        assert_true(o && lse);
        hn_tape *t = hn_tape_new(&hn_backend_ref);
        hn_tensor *span = hn_leaf(t, HN_I32, (hn_shape)HN_S2(f.n_span, 3), f.span);
        hn_tensor *y = hn_keep(hn_attn(t, mat(t, x, N, (H + 2 * G) * D), span, H, G, HN_PREC_F32));
        hn_keep(y->out[1]);
        run(t);
        dense(&f, x, H, G, D, o, lse);
        for (int i = 0; i < N * H * D; i++) near_to(((hn_real *)y->data)[i], o[i]);
        for (int i = 0; i < N * H; i++) near_to(((hn_real *)y->out[1]->data)[i], lse[i]);
        hn_tape_free(t);
        hn_free(x), free(o), free(lse);
        hn_forest_release(&f);
    }
}

/* A path decoded through the cache, in pieces of any size, is the path trained over; so is a path that
 * shares its beginning with another. */
static void test_cache_is_attention(void **s) {
    (void)s;
    enum { N = 150, H = 4, G = 2, D = 5, C = (H + 2 * G) * D, FORK = 70, LAYERS = 2 };
    hn_real *x = numbers(N * C, 7), *piece = numbers(N * C, 0);
    int32_t span[3] = { 0, N, -1 }, row[2 * N];
    hn_kv *kv;
    hn_err e = { 0 };
    assert_int_equal(hn_kv_new(&kv, LAYERS, G, D, HN_PREC_F32, 2, N, 6, &e), 0);
    hn_tape *t = hn_tape_new(&hn_backend_ref), *u = hn_tape_new(&hn_backend_ref);
    hn_tensor *want = hn_keep(
        hn_attn(t, mat(t, x, N, C), hn_leaf(t, HN_I32, (hn_shape)HN_S2(1, 3), span), H, G, HN_PREC_F32));
    run(t);
    hn_tensor *trow = hn_leaf(u, HN_I32, (hn_shape)HN_T2(N, 2), row);
    hn_tensor *host = hn_leaf(u, HN_HOST, (hn_shape)HN_S1(1), kv);
    hn_tensor *got = hn_keep(hn_attnkv(u, hn_leaf(u, HN_F, (hn_shape)HN_T2(N, C), piece), trow, host, H, 1));
    assert_int_equal(hn_tape_plan(u, &e), 0);
    for (int slot = 0; slot < 2; slot++) {
        int at = slot ? FORK : 0;
        if (slot) hn_kv_share(kv, 0, 1, FORK);
        for (int k = 0; at < N; k++) {
            int n = 1 + (int)(hn_rand(8, (uint64_t)slot, (uint64_t)k) % 40);
            n = n < N - at ? n : N - at;
            for (int i = 0; i < n; i++) {
                row[2 * i] = slot, row[2 * i + 1] = at + i;
                assert_int_equal(hn_kv_room(kv, slot, at + i, &e), 0);
            }
            memcpy(piece, x + at * C, (size_t)(n * C) * sizeof *x);
            hn_tape_live(u, HN_TOKENS, n);
            assert_int_equal(hn_run(u, &e), 0);
            for (int i = 0; i < n * H * D; i++)
                near_to(((hn_real *)got->data)[i], ((hn_real *)want->data)[at * H * D + i]);
            at += n;
        }
    }
    hn_tape_free(t), hn_tape_free(u);
    hn_kv_free(kv);
    hn_free(x), hn_free(piece);
}

/* ---- the vocabulary ---- */
static void test_logp(void **s) {
    (void)s;
    enum { A = 4, C = 5, V = 1300, VOCAB = 1100 };
    const double temp = 0.6;
    hn_real *h = numbers(A * C, 9), *w = numbers(V * C, 10);
    int32_t target[A] = { 3, 1099, 511, 512 };
    hn_tape *t = hn_tape_new(&hn_backend_ref);
    for (int c = 0; c < C; c++) { /* row 0 has two largest: 3, which is the target, and 700 */
        w[3 * C + c] = w[700 * C + c] = 2 * h[c];
        w[513 * C + c] = 2 * h[3 * C + c]; /* row 3's target is not the largest */
        w[1200 * C + c] = 50 * h[c];       /* padding is larger still */
    }
    hn_tensor *th = mat(t, h, A, C), *tw = mat(t, w, V, C);
    hn_tensor *y = hn_keep(hn_logp(t, th, tw, ints(t, target, A), temp, VOCAB, HN_PREC_F32));
    hn_tensor *z = hn_keep(hn_logits(t, th, tw, VOCAB, HN_PREC_F32));
    hn_keep(y->out[1]);
    run(t);
    for (int a = 0; a < A; a++) {
        const hn_real *row = (hn_real *)z->data + a * V, *stat = (hn_real *)y->out[1]->data + 4 * a;
        double sum = 0, sum1 = 0, mean = 0;
        int best = 0;
        for (int v = 0; v < VOCAB; v++) {
            double dot = 0;
            for (int c = 0; c < C; c++) dot += h[a * C + c] * w[v * C + c];
            near_to(row[v], dot);
            sum += exp(dot / temp), sum1 += exp(dot), mean += dot / temp * exp(dot / temp);
            if (dot > row[best]) best = v;
        }
        for (int v = VOCAB; v < V; v++) assert_true(row[v] == -INFINITY);
        near_to(((hn_real *)y->data)[a], row[target[a]] / temp - log(sum));
        near_to(stat[0], row[target[a]] - log(sum1));
        near_to(stat[1], log(sum) - mean / sum);
        assert_true(stat[2] == (best == target[a]));
        near_to(stat[3], log(sum));
        hn_lse sampler =
            hn_lse_row(row, VOCAB, 1 / temp); /* the sampler's number is the learner's, to the bit */
        assert_true((hn_real)(row[target[a]] * (1 / temp) - hn_lse_get(&sampler)) == ((hn_real *)y->data)[a]);
    }
    assert_true(((hn_real *)y->out[1]->data)[2] == 1 && ((hn_real *)y->out[1]->data)[4 * 3 + 2] == 0);
    hn_tape_free(t);
    hn_free(h), hn_free(w);
}

/* Rows of minus infinity, one finite entry, and NaN. */
static void test_lse_edges(void **s) {
    (void)s;
    hn_real z[1030];
    for (int i = 0; i < 1030; i++) z[i] = -INFINITY;
    z[1029] = 2;
    hn_lse a = hn_lse_row(z, 1030, 0.5);
    near_to(hn_lse_get(&a), 1);
    near_to(hn_lse_entropy(&a), 0);
    z[7] = -1e30;
    a = hn_lse_row(z, 1030, 0.5);
    near_to(hn_lse_get(&a), 1);
    near_to(hn_lse_entropy(&a), 0);
    for (int i = 0; i < 1030; i += 343) { /* in every chunk, among numbers and among none */
        hn_real old = z[i];
        z[i] = NAN;
        a = hn_lse_row(z, 1030, 0.5);
        assert_true(isnan(hn_lse_get(&a)));
        a = hn_lse_row(z, i + 1, 0.5);
        assert_true(isnan(hn_lse_get(&a)));
        z[i] = old;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elements),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_rope),
        cmocka_unit_test(test_attention_is_masked_softmax),
        cmocka_unit_test(test_cache_is_attention),
        cmocka_unit_test(test_logp),
        cmocka_unit_test(test_lse_edges),
    };
    hn_poison = true;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
