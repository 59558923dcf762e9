/* exact.c - a token's log-probability has one value: attention on a tree, on unshared chains, on any cutting
 * of a path into spans and from the cache in any grouping gives the same bits, and so do logits and logp. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/pool.h"
#include "cpu/backend.h"
#include "op/ops.h"
#include "op/softmax.h"
#include "tensor/kv.h"

enum { MAX_SPANS = 64 };

typedef struct forest {
    int n, tokens;
    int32_t span[MAX_SPANS][3];
    int32_t start[MAX_SPANS];
} forest;

static int H, G, D; /* of the shape under test */
static hn_prec prec;
static uint64_t dice;
static int roll(int n) { return (int)(hn_rand(77, 0, dice++) % (uint64_t)n); }

static int add_span(forest *f, int len, int parent) {
    assert_true(f->n < MAX_SPANS);
    f->start[f->n] = parent < 0 ? 0 : f->start[parent] + f->span[parent][1];
    f->span[f->n][0] = f->tokens;
    f->span[f->n][1] = len;
    f->span[f->n][2] = parent;
    f->tokens += len;
    return f->n++;
}

static int row_size(void) { return (H + 2 * G) * D; }
static float *floats(int64_t n) {
    float *x = calloc((size_t)n, sizeof *x);
    assert_non_null(x);
    return x;
}
static void copy_row(float *to, int64_t i, const float *from, int64_t j, int64_t C) {
    memcpy(to + i * C, from + j * C, (size_t)C * sizeof *to);
}
static void same_row(const float *a, int64_t i, const float *b, int64_t j, int64_t C, const char *what) {
    if (memcmp(a + i * C, b + j * C, (size_t)C * sizeof *a) != 0)
        fail_msg("%s: tier %s, H %d, G %d, D %d: row %d has other bits", what, hn_cpu_tier_name(), H, G, D,
                 (int)i);
}

static hn_tape *tape_new(void) {
    hn_tape *t = hn_tape_new(&hn_backend_cpu);
    assert_non_null(t);
    return t;
}
static void plan_and_run(hn_tape *t) {
    hn_err e = { 0 };
    hn_poison = true;
    if (hn_tape_plan(t, &e) || hn_run(t, &e)) fail_msg("%s", e.msg);
}

/* o [tokens, HD] and lse [tokens, H] of a forest. */
static void attend(const forest *f, float *qkv, float *o, float *lse) {
    hn_tape *t = tape_new();
    forest copy = *f;
    hn_tensor *x = hn_leaf(t, HN_F, (hn_shape){ 2, HN_FIXED, { f->tokens, row_size() } }, qkv);
    hn_tensor *s = hn_leaf(t, HN_I32, (hn_shape){ 2, HN_FIXED, { f->n, 3 } }, copy.span);
    hn_tensor *y = hn_keep(hn_attn(t, x, s, H, G, prec));
    hn_keep(y->out[1]);
    plan_and_run(t);
    memcpy(o, y->data, hn_bytes(y));
    memcpy(lse, y->out[1]->data, hn_bytes(y->out[1]));
    hn_tape_free(t);
}

/* A tree whose spans meet block edges in all ways. */
static forest a_tree(void) {
    forest f = { 0 };
    int root = add_span(&f, 1 + roll(130), -1);
    for (int i = 0; i < 9; i++) add_span(&f, 1 + roll(i % 3 ? 30 : 150), roll(3) ? roll(f.n) : root);
    add_span(&f, 64, root);
    add_span(&f, 1, f.n - 1);
    return f;
}

static float *random_rows(int64_t n, int64_t C, uint64_t seed) {
    float *x = floats(n * C);
    for (int64_t i = 0; i < n * C; i++) x[i] = 2 * (float)hn_rand_normal(seed, 0, (uint64_t)i);
    return x;
}
static float *random_qkv(const forest *f, uint64_t seed) { /* as rope leaves them */
    float *x = random_rows(f->tokens, row_size(), seed);
    for (int64_t i = 0; prec == HN_PREC_BF16 && i < f->tokens * row_size(); i++)
        x[i] = hn_from_bf16(hn_bf16(x[i]));
    return x;
}

/* Tokens of the path that ends with span s, from the root. */
static int path_of(const forest *f, int s, int32_t *token) {
    int n = f->start[s] + f->span[s][1];
    for (; s >= 0; s = f->span[s][2])
        for (int i = 0; i < f->span[s][1]; i++) token[f->start[s] + i] = f->span[s][0] + i;
    return n;
}

static void trees_body(void) {
    forest f = a_tree();
    float *qkv = random_qkv(&f, 5), *o = floats(f.tokens * H * D), *lse = floats(f.tokens * H);
    int32_t *path = malloc((size_t)f.tokens * sizeof *path);
    attend(&f, qkv, o, lse);
    for (int s = 0; s < f.n; s++) { /* each path alone: as one chain, then cut anywhere */
        int n = path_of(&f, s, path);
        float *rows = floats(n * row_size()), *po = floats(n * H * D), *pl = floats(n * H);
        for (int i = 0; i < n; i++) copy_row(rows, i, qkv, path[i], row_size());
        for (int cut = 0; cut < 2; cut++) {
            forest chain = { 0 };
            while (chain.tokens < n) {
                int left = n - chain.tokens, len = cut && chain.n < MAX_SPANS - 1 ? 1 + roll(left) / 3 : left;
                add_span(&chain, len < left ? len : left, chain.n - 1);
            }
            attend(&chain, rows, po, pl);
            for (int i = 0; i < n; i++) {
                same_row(po, i, o, path[i], H * D, "attn, shared and not");
                same_row(pl, i, lse, path[i], H, "lse, shared and not");
            }
        }
        free(rows), free(po), free(pl);
    }
    free(path), free(qkv), free(o), free(lse);
}

/* ---- the cache ---- */
typedef struct feed { /* one row for the cache: which token of the tree, in which slot and position */
    int32_t slot, pos, token;
} feed;

static void cache_step(hn_kv *kv, const feed *in, int n, float *qkv, const float *want) {
    float *x = floats(n * row_size());
    int32_t *row = malloc((size_t)n * 2 * sizeof *row);
    for (int i = 0; i < n; i++) {
        copy_row(x, i, qkv, in[i].token, row_size());
        row[2 * i] = in[i].slot;
        row[2 * i + 1] = in[i].pos;
        assert_int_equal(hn_kv_room(kv, in[i].slot, in[i].pos, NULL), HN_OK);
    }
    hn_tape *t = tape_new();
    hn_tensor *a = hn_leaf(t, HN_F, (hn_shape){ 2, HN_FIXED, { n, row_size() } }, x);
    hn_tensor *b = hn_leaf(t, HN_I32, (hn_shape){ 2, HN_FIXED, { n, 2 } }, row);
    hn_tensor *c = hn_leaf(t, HN_HOST, (hn_shape){ 1, HN_FIXED, { 1 } }, kv);
    hn_tensor *y = hn_keep(hn_attnkv(t, a, b, c, H, 0));
    plan_and_run(t);
    for (int i = 0; i < n; i++) same_row(y->data, i, want, in[i].token, H * D, "attnkv");
    hn_tape_free(t);
    free(x), free(row);
}

/* A prompt and four answers: the prompt in chunks, then the answers side by side, one row each or several,
 * in random order and with random partners. */
static void cache_body(void) {
    enum { ANSWERS = 4 };
    forest f = { 0 };
    int prompt = 1 + roll(200), len[ANSWERS], done[ANSWERS] = { 0 }, fed = 0, open = ANSWERS;
    add_span(&f, prompt, -1);
    for (int i = 0; i < ANSWERS; i++) add_span(&f, len[i] = 1 + roll(100), 0);
    float *qkv = random_qkv(&f, 6), *o = floats(f.tokens * H * D), *lse = floats(f.tokens * H);
    attend(&f, qkv, o, lse);
    hn_kv *kv;
    feed in[512];
    assert_int_equal(hn_kv_new(&kv, 1, G, D, prec, ANSWERS + 1, 400, 60, NULL), HN_OK);
    while (fed < prompt) {
        int n = 0;
        for (int most = 1 + roll(90); n < most && fed < prompt; n++, fed++) in[n] = (feed){ 0, fed, fed };
        cache_step(kv, in, n, qkv, o);
    }
    for (int i = 0; i < ANSWERS; i++) hn_kv_share(kv, 0, i + 1, prompt);
    while (open) {
        int n = 0, first = roll(ANSWERS);
        for (int k = 0; k < ANSWERS; k++) {
            int i = (first + k) % ANSWERS;
            if (!roll(4)) continue;
            for (int most = roll(3) ? 1 : roll(20); most > 0 && done[i] < len[i]; most--, done[i]++)
                in[n++] = (feed){ i + 1, prompt + done[i], f.span[i + 1][0] + done[i] };
        }
        if (n) cache_step(kv, in, n, qkv, o);
        open = 0;
        for (int i = 0; i < ANSWERS; i++) open += done[i] < len[i];
    }
    hn_kv_free(kv);
    free(qkv), free(o), free(lse);
}

static void each_shape(void (*body)(void)) {
    static const int shape[][3] = { { 2, 1, 64 }, { 1, 1, 8 },  { 4, 2, 32 },
                                    { 7, 1, 16 }, { 2, 2, 80 }, { 3, 1, 128 } };
    hn_tier best = hn_cpu_tier();
    for (hn_tier t = HN_TIER_C; t <= best; t++) {
        hn_cpu_force(t);
        for (size_t i = 0; i < 2 * sizeof shape / sizeof *shape; i++) {
            H = shape[i / 2][0], G = shape[i / 2][1], D = shape[i / 2][2];
            prec = i % 2 ? HN_PREC_BF16 : HN_PREC_F32;
            if (t < HN_TIER_AMX || prec == HN_PREC_BF16) body(); /* AMX is AVX-512 in f32 */
        }
    }
    hn_cpu_force(best);
}
static void test_trees(void **s) {
    (void)s;
    each_shape(trees_body);
}
static void test_cache(void **s) {
    (void)s;
    each_shape(cache_body);
}

/* ---- the vocabulary ---- */
enum { A = 37, C = 96, V = 1600, LIVE = 1555 };

typedef struct vocabulary {
    float *h, *w;
    int32_t target[A];
    void *side; /* packed w, or NULL */
    hn_prec prec;
    double temperature;
    float logp[A], stat[A][4]; /* of all acts at once */
} vocabulary;

/* Acts [from, from + n) in one batch: op logp, and the row function on op logits. */
static void some_acts(vocabulary *v, int from, int n, bool first) {
    hn_tape *t = tape_new();
    hn_tensor *x = hn_leaf(t, HN_F, (hn_shape){ 2, HN_FIXED, { n, C } }, v->h + (int64_t)from * C);
    hn_tensor *w = hn_leaf(t, HN_F, (hn_shape){ 2, HN_FIXED, { V, C } }, v->w);
    hn_tensor *id = hn_leaf(t, HN_I32, (hn_shape){ 1, HN_FIXED, { n } }, v->target + from);
    w->side = v->side;
    hn_tensor *y = hn_keep(hn_logp(t, x, w, id, v->temperature, LIVE, v->prec));
    hn_tensor *z = hn_keep(hn_logits(t, x, w, LIVE, v->prec));
    hn_keep(y->out[1]);
    plan_and_run(t);
    if (first) {
        memcpy(v->logp, y->data, sizeof v->logp);
        memcpy(v->stat, y->out[1]->data, sizeof v->stat);
    }
    for (int i = 0; i < n; i++) {
        int a = from + i;
        hn_row row;
        hn_row_logp(&hn_backend_cpu, (float *)z->data + (int64_t)i * V, LIVE, v->target[a], v->temperature,
                    &row);
        float got[4] = { row.logp, row.logp1, row.entropy, row.lse };
        float want[4] = { v->logp[a], v->stat[a][0], v->stat[a][1], v->stat[a][3] };
        assert_memory_equal(got, want, sizeof got);
        same_row(y->data, i, v->logp, a, 1, "logp");
        same_row(y->out[1]->data, i, v->stat[0], a, 4, "logp statistics");
        if (v->temperature == 1) assert_memory_equal(&row.logp, &row.logp1, sizeof row.logp);
    }
    hn_tape_free(t);
}

static void vocabulary_body(double temperature, bool packed) {
    vocabulary v = {
        .h = random_rows(A, C, 8), .w = random_rows(V, C, 9), .prec = prec, .temperature = temperature
    };
    hn_err e = { 0 };
    for (int i = 0; i < V * C; i++) v.w[i] *= 0.05f;
    for (int i = 0; i < A; i++) v.target[i] = roll(LIVE);
    if (packed) assert_int_equal(hn_backend_cpu.side(&v.side, v.w, V, C, prec, false, &e), HN_OK);
    some_acts(&v, 0, A, true);
    for (int from = 0, n; from < A; from += n) {
        n = 1 + roll(6);
        if (n > A - from) n = A - from;
        some_acts(&v, from, n, false);
    }
    if (v.side) hn_backend_cpu.side_free(v.side);
    free(v.h), free(v.w);
}
static void test_vocabulary(void **s) {
    (void)s;
    hn_tier best = hn_cpu_tier();
    for (hn_tier t = HN_TIER_C; t <= best; t++) {
        hn_cpu_force(t);
        for (int k = 0; k < 8; k++) {
            prec = k & 1 ? HN_PREC_BF16 : HN_PREC_F32;
            vocabulary_body(k & 2 ? 0.7 : 1, k & 4);
        }
    }
    hn_cpu_force(best);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_trees), cmocka_unit_test(test_cache),
                                        cmocka_unit_test(test_vocabulary) };
    hn_err e = { 0 };
    if (hn_cpu_open(NULL, &e) || hn_pool_start(2, &e)) {
        print_error("%s\n", e.msg);
        return 1;
    }
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    hn_pool_stop();
    return rc;
}
