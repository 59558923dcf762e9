/* opgraph.c - what the tests of single operations cannot see: how the tape adds gradients up and shares
 * memory.
 *
 * A graph has shared inputs, dead ends, operations of several outputs, leaves whose gradient is kept and
 * leaves whose gradient is added to their own memory, some used twice (a tied embedding) and some not asked
 * for. It is planned once and run at several live counts with rebound leaves.  Each run is compared with
 * central differences of a forward recording, and, to the bit, with a recording in which every node is kept,
 * so that nothing shares memory, nothing is left out and nothing runs in place.  Another recording has random
 * segments, which are computed a second time for their gradients: to the bit the same again. */
#include "opgraph.h"

#include "opcase.h"
#include "tensor/tape.h"

#include <math.h>
#include <string.h>

enum { T = 6, A = 5, C = 8, H = 2, G = 1, D = 2, V = 11, VOCAB = 10, S = 3, NODES = 18, RUNS = 3 };
enum { EMB, W0, W1, W4, BIAS, WV, WQ, WK, X, Y, LEAVES };

static const hn_shape shapes[LEAVES] = {
    { 2, HN_FIXED, { V, C } },  { 2, HN_FIXED, { C, C } }, { 2, HN_FIXED, { C, C } },
    { 2, HN_FIXED, { C, 4 } },  { 1, HN_FIXED, { C } },    { 1, HN_FIXED, { C } },
    { 1, HN_FIXED, { D } },     { 1, HN_FIXED, { D } },    { 2, HN_TOKENS, { T, C } },
    { 2, HN_TOKENS, { T, C } },
};

typedef struct world {
    uint64_t seed;
    hn_real leaf[LEAVES][V * C], into[LEAVES][V * C], old[LEAVES][V * C], weight[T * C], act_weight[A];
    int32_t id[T], pos[T], sel[T], span[S * 3], from[A], target[A];
    hn_real freq[1];
    int64_t live[HN_LIVE_N];
} world;

typedef struct graph {
    hn_tape *t;
    hn_tensor *leaf[LEAVES], *loss;
} graph;

static uint64_t pick(const world *w, uint64_t stream, int k, int n) {
    return hn_rand(w->seed, stream, (uint64_t)k) % (uint64_t)n;
}
static bool asked(const world *w, int l) { return pick(w, 31, l, 4) != 0; }
static bool has_into(const world *w, int l) { return l != X && pick(w, 32, l, 2); }

/* ---- recording ---- */
typedef struct inputs {
    hn_tensor *id, *pos, *freq, *sel, *span, *from, *target;
} inputs;

static hn_tensor *one_more(world *w, graph *g, const inputs *in, hn_tensor *const *v, int k) {
    hn_tape *t = g->t;
    hn_tensor *a = v[pick(w, 1, k, k)], *b = v[pick(w, 2, k, k)], *mat = g->leaf[W0 + (k & 1)], *o;
    switch (pick(w, 3, k, 13)) {
    case 0: return hn_add(t, a, b);
    case 1: return hn_affine(t, hn_mul(t, a, b), 0.5, 0.1);
    case 2: return hn_affine(t, hn_linear(t, a, mat, k & 2 ? g->leaf[BIAS] : NULL, HN_PREC_F32), 0.3, 0);
    case 3: return hn_logsig(t, a);
    case 4: return hn_sub(t, a, hn_spread(t, hn_affine(t, hn_sum(t, b), 0.1, 0), a));
    case 5: return hn_rmsnorm(t, a, g->leaf[WV], 1e-1);
    case 6: return hn_linear(t, hn_swiglu(t, a), g->leaf[W4], NULL, HN_PREC_F32);
    case 7: return hn_headnorm(t, a, g->leaf[WQ], g->leaf[WK], H, G, 0.5);
    case 8: return hn_rope(t, a, in->pos, in->freq, H, G, HN_PREC_F32);
    case 9:
        o = hn_attn(t, hn_affine(t, a, 0.5, 0), in->span, H, G, HN_PREC_F32);
        return hn_linear(t, o, g->leaf[W4], k & 2 ? g->leaf[BIAS] : NULL, HN_PREC_F32);
    case 10: return hn_scatter(t, hn_gather(t, a, in->sel), in->sel, b);
    case 11: return hn_sigmoid(t, hn_min(t, a, b));
    default: return hn_exp(t, hn_clip(t, a, -0.7, 0.9));
    }
}

static void grow(world *w, graph *g, bool segments) {
    hn_tape *t = g->t = hn_tape_new(&hn_backend_ref);
    const hn_shape tok = { 1, HN_TOKENS, { T } }, act = { 1, HN_ACTS, { A } }, vec = { 1, HN_FIXED, { 1 } };
    hn_tensor *v[NODES];
    hn_assert(t);
    for (int l = 0; l < LEAVES; l++) g->leaf[l] = hn_leaf(t, HN_F, shapes[l], w->leaf[l]);
    inputs in = { .id = hn_leaf(t, HN_I32, tok, w->id),
                  .pos = hn_leaf(t, HN_I32, tok, w->pos),
                  .freq = hn_leaf(t, HN_F, vec, w->freq),
                  .sel = hn_leaf(t, HN_I32, tok, w->sel),
                  .span = hn_leaf(t, HN_I32, (hn_shape){ 2, HN_SPANS, { S, 3 } }, w->span),
                  .from = hn_leaf(t, HN_I32, act, w->from),
                  .target = hn_leaf(t, HN_I32, act, w->target) };
    v[0] = hn_embed(t, g->leaf[EMB], in.id);
    v[1] = g->leaf[X];
    v[2] = g->leaf[Y];
    for (int k = 3; k < NODES; k++) {
        if (segments && !pick(w, 6, k, 3)) hn_segment(t, pick(w, 7, k, 4) != 0);
        v[k] = one_more(w, g, &in, v, k);
        if (!pick(w, 4, k, 6)) hn_keep(v[k]);
    }
    if (pick(w, 7, 0, 3)) hn_segment(t, false); /* else the loss is in the last one */
    hn_tensor *weight = hn_leaf(t, HN_F, shapes[X], w->weight);
    g->loss = hn_sum(t, hn_mul(t, v[NODES - 1], weight));
    if (pick(w, 5, 0, 2)) { /* a tied head on some rows */
        hn_tensor *h = hn_gather(t, v[NODES - 2], in.from);
        hn_tensor *lp = hn_logp(t, h, g->leaf[EMB], in.target, 0.8, VOCAB, HN_PREC_F32);
        hn_tensor *aw = hn_leaf(t, HN_F, act, w->act_weight);
        g->loss = hn_add(t, g->loss, hn_sum(t, hn_mul(t, lp, aw)));
    }
    hn_keep(g->loss);
}

static void differentiate(world *w, graph *g) {
    hn_tensor *wrt[LEAVES];
    int n = 0;
    for (int l = 0; l < LEAVES; l++) {
        if (has_into(w, l)) g->leaf[l]->into = w->into[l];
        if (asked(w, l)) wrt[n++] = g->leaf[l];
    }
    hn_grad(g->t, g->loss, wrt, n);
}

/* Every node is readable after the run: none shares memory, none is left out. */
static void keep_everything(graph *g) {
    for (int i = 0; i < g->t->n; i++) hn_keep(g->t->node[i]);
}

/* ---- inputs of one run ---- */
static hn_real real(const world *w, uint64_t stream, int64_t i) {
    return (hn_real)(2 * hn_rand01(w->seed, stream, (uint64_t)i) - 1);
}

static void deal(world *w, int run) {
    uint64_t s = 100 + 20 * (uint64_t)run;
    int64_t t = run ? 1 + (int64_t)pick(w, s, 0, T) : T, a = run ? (int64_t)pick(w, s, 1, A + 1) : A;
    int64_t spans = t < S ? t : S;
    for (int k = 0; k < HN_LIVE_N; k++) w->live[k] = -1;
    w->live[HN_TOKENS] = t, w->live[HN_ACTS] = a, w->live[HN_SPANS] = spans;
    for (int l = 0; l < LEAVES; l++)
        for (int i = 0; i < V * C; i++) w->leaf[l][i] = real(w, s + 2 + (uint64_t)l, i);
    for (int64_t i = t * C; i < T * C; i++) w->leaf[X][i] = w->leaf[Y][i] = NAN;
    for (int i = 0; i < T * C; i++) w->weight[i] = real(w, 14, i);
    for (int i = 0; i < A; i++) w->act_weight[i] = real(w, 15, i);
    for (int i = 0; i < T; i++) {
        w->id[i] = i < t ? (int32_t)pick(w, s + 13, i, V) : 1 << 20;
        w->sel[i] = i < t ? (int32_t)pick(w, s + 14, i, (int)t) : 1 << 20;
        w->pos[i] = (int32_t)pick(w, s + 15, i, 9);
    }
    for (int i = 0; i < A; i++) {
        w->from[i] = (int32_t)pick(w, s + 16, i, (int)t);
        w->target[i] = (int32_t)pick(w, s + 17, i, VOCAB);
    }
    w->freq[0] = 0.7;
    for (int i = 0; i < spans; i++) { /* one token each, the last has the rest */
        int32_t len = i == spans - 1 ? (int32_t)(t - i) : 1;
        memcpy(w->span + 3 * i, (int32_t[3]){ i, len, (int32_t)pick(w, s + 18, i, i + 1) - 1 }, 12);
    }
}

static int run(world *w, graph *g) {
    hn_err e = { 0 };
    hn_tape_live(g->t, HN_TOKENS, w->live[HN_TOKENS]);
    hn_tape_live(g->t, HN_ACTS, w->live[HN_ACTS]);
    hn_tape_live(g->t, HN_SPANS, w->live[HN_SPANS]);
    return hn_run(g->t, &e);
}

/* ---- comparing ---- */
static double differences(world *w, graph *f, int l, const hn_real *g, int64_t n) {
    const double h = 1e-6;
    double worst = 0;
    for (int64_t s = 0; s < n && s < 6; s++) {
        int64_t j = (int64_t)hn_permute(w->seed, (uint64_t)l, (uint64_t)n, (uint64_t)s);
        hn_real x0 = w->leaf[l][j];
        w->leaf[l][j] = x0 + h;
        double up = run(w, f) ? NAN : hn_scalar(f->loss);
        w->leaf[l][j] = x0 - h;
        double down = run(w, f) ? NAN : hn_scalar(f->loss);
        w->leaf[l][j] = x0;
        double got = g ? g[j] : 0, scale = fmax(1, fmax(fabs(got), fabs(up)));
        worst = opcase_worse(worst, fabs((up - down) / (2 * h) - got) / scale);
    }
    return worst;
}

static int64_t elements(const world *w, int l) {
    const hn_shape *s = &shapes[l];
    return (s->live ? w->live[s->live] : s->d[0]) * (s->nd > 1 ? s->d[1] : 1);
}

static const hn_real *grad_of(const graph *g, int l) {
    return g->leaf[l]->grad ? g->leaf[l]->grad->data : NULL;
}

/* Runs g from the same `into` as the kept recording did, which left `after` there: to the bit the same? */
static bool as_kept(world *w, graph *g, const graph *kept, hn_real after[LEAVES][V * C]) {
    memcpy(w->into, w->old, sizeof w->into);
    if (run(w, g) || hn_scalar(g->loss) != hn_scalar(kept->loss)) return false;
    for (int l = 0; l < LEAVES; l++) {
        const hn_real *a = grad_of(g, l), *b = grad_of(kept, l);
        if (!a != !b || (a && memcmp(a, b, (size_t)elements(w, l) * sizeof *a))) return false;
    }
    return !memcmp(after, w->into, sizeof w->into);
}

static double one_run(world *w, graph *fwd, graph *bwd, graph *twice, graph *kept, char *why, size_t size) {
    hn_real after[LEAVES][V * C];
    double worst = 0;
    for (int l = 0; l < LEAVES; l++)
        for (int i = 0; i < V * C; i++) w->into[l][i] = w->old[l][i] = real(w, 16, l * V * C + i);
    snprintf(why, size, "run");
    if (run(w, kept)) return INFINITY;
    memcpy(after, w->into, sizeof after);
    snprintf(why, size, "planned and kept runs differ");
    if (!as_kept(w, bwd, kept, after)) return INFINITY;
    snprintf(why, size, "segments change the bits");
    if (!as_kept(w, twice, kept, after)) return INFINITY;
    for (int l = 0; l < LEAVES; l++) {
        int64_t n = elements(w, l);
        hn_real diff[V * C];
        const hn_real *g = grad_of(bwd, l);
        bool moved = memcmp(w->into[l], w->old[l], sizeof w->old[l]);
        if (moved && (!asked(w, l) || !has_into(w, l) || g)) return INFINITY;
        if (!asked(w, l)) continue;
        for (int64_t i = 0; moved && i < n; i++) diff[i] = w->into[l][i] - w->old[l][i];
        worst = opcase_worse(worst, differences(w, fwd, l, moved ? diff : g, n));
    }
    snprintf(why, size, "gradient");
    return worst;
}

double opgraph_check(uint64_t seed, char *why, size_t size) {
    world *w = hn_alloc(sizeof *w);
    graph fwd, bwd, twice, kept;
    hn_err e = { 0 };
    double worst = 0;
    hn_assert(w);
    w->seed = seed;
    deal(w, 0);
    grow(w, &fwd, false);
    grow(w, &bwd, false);
    grow(w, &twice, true);
    grow(w, &kept, false);
    differentiate(w, &bwd);
    differentiate(w, &twice);
    differentiate(w, &kept);
    keep_everything(&kept);
    int rc = hn_tape_plan(fwd.t, &e);
    if (!rc) rc = hn_tape_plan(bwd.t, &e);
    if (!rc) rc = hn_tape_plan(twice.t, &e);
    if (!rc) rc = hn_tape_plan(kept.t, &e);
    snprintf(why, size, "%s", e.msg);
    for (int r = 0; r < RUNS && !rc; r++) {
        deal(w, r);
        worst = opcase_worse(worst, one_run(w, &fwd, &bwd, &twice, &kept, why, size));
    }
    hn_tape_free(fwd.t);
    hn_tape_free(bwd.t);
    hn_tape_free(twice.t);
    hn_tape_free(kept.t);
    hn_free(w);
    return rc ? INFINITY : worst;
}
