/* opnet.c - a random forest and a small transformer, see opnet.h. */
#include "opnet.h"

/* ---- forests ---- */
static uint64_t below(uint64_t seed, int *n, int bound) {
    return hn_rand(seed, 41, (uint64_t)(*n)++) % (uint64_t)bound;
}

/* A sample that chose every token on the path from below the root to span s. */
static int add_sample(hn_forest *f, int s, hn_err *e) {
    int path[64], n = 0, rc = hn_forest_sample(f, e);
    for (int i = s; f->span[i].parent >= 0; i = f->span[i].parent) path[n++] = i;
    if (rc < 0) return rc;
    while (n--)
        for (int i = 0; i < f->span[path[n]].len; i++)
            if ((rc = hn_forest_act(f, path[n], i, e)) < 0) return rc;
    return HN_OK;
}

static int add_tree(hn_forest *f, uint64_t seed, int *k, int longest, int vocab, hn_err *e) {
    int32_t token[1024];
    int rc = hn_forest_tree(f, e), root = f->n_span, spans = 1 + (int)below(seed, k, 6);
    hn_assert(longest <= 1024);
    for (int s = 0; s < spans && rc >= 0; s++) {
        int len = 1 + (int)below(seed, k, longest), parent = s ? root + (int)below(seed, k, s) : -1;
        for (int i = 0; i < len; i++) token[i] = (int32_t)below(seed, k, vocab);
        rc = hn_forest_span(f, parent, token, len, e);
    }
    for (int m = (int)below(seed, k, 4); m > 0 && rc >= 0; m--)
        rc = add_sample(f, root + (int)below(seed, k, spans), e);
    return rc < 0 ? rc : HN_OK;
}

int opnet_forest(hn_forest *f, uint64_t seed, int trees, int longest, int vocab, hn_err *e) {
    hn_err mine = { 0 };
    int rc = HN_OK, k = 0;
    for (int t = 0; t < trees && !rc; t++) rc = add_tree(f, seed, &k, longest, vocab, e ? e : &mine);
    if (!rc && !hn_forest_col(f, "weight", HN_PER_ACT, HN_F, e)) rc = HN_ENOMEM;
    if (!rc && !hn_forest_col(f, "reward", HN_PER_SAMPLE, HN_F, e)) rc = HN_ENOMEM;
    if (!rc && !hn_forest_col(f, "label", HN_PER_SAMPLE, HN_I32, e)) rc = HN_ENOMEM;
    hn_assert(!rc || e);
    for (int a = 0; a < f->n_act && !rc; a++)
        hn_forest_f(f, "weight")[a] = (hn_real)(2 * hn_rand01(seed, 42, (uint64_t)a) - 1);
    for (int m = 0; m < f->n_sample && !rc; m++) {
        hn_forest_f(f, "reward")[m] = (hn_real)hn_rand01(seed, 43, (uint64_t)m);
        hn_forest_i(f, "label")[m] = (int32_t)(hn_rand(seed, 44, (uint64_t)m) % 3);
    }
    return rc;
}

/* ---- the network ---- */
static void draw(hn_real *w, size_t bytes, uint64_t seed, uint64_t stream, double mid, double scale) {
    for (size_t i = 0; i < bytes / sizeof *w; i++)
        w[i] = (hn_real)(mid + scale * (2 * hn_rand01(seed, stream, i) - 1));
}

void opnet_init(opnet *w, uint64_t seed) {
    *w = (opnet){ 0 };
    draw(w->emb, sizeof w->emb, seed, 1, 0, 1);
    for (int l = 0; l < NET_LAYERS; l++) {
        uint64_t s = 10 * (uint64_t)(l + 1);
        draw(w->layer[l].norm1, sizeof w->layer[l].norm1, seed, s, 1, 0.3);
        draw(w->layer[l].qkv, sizeof w->layer[l].qkv, seed, s + 1, 0, 0.7);
        draw(w->layer[l].wq, sizeof w->layer[l].wq, seed, s + 2, 1, 0.3);
        draw(w->layer[l].wk, sizeof w->layer[l].wk, seed, s + 3, 1, 0.3);
        draw(w->layer[l].out, sizeof w->layer[l].out, seed, s + 4, 0, 0.5);
        draw(w->layer[l].norm2, sizeof w->layer[l].norm2, seed, s + 5, 1, 0.3);
        draw(w->layer[l].up, sizeof w->layer[l].up, seed, s + 6, 0, 0.5);
        draw(w->layer[l].down, sizeof w->layer[l].down, seed, s + 7, 0, 0.5);
    }
    for (int i = 0; i < NET_D / 2; i++) w->freq[i] = (hn_real)(1.0 / (1 + 3 * i));
}

static hn_tensor *vec(hn_tape *t, hn_real *w, int64_t n) {
    return hn_leaf(t, HN_F, (hn_shape){ 1, HN_FIXED, { n } }, w);
}
static hn_tensor *mat(hn_tape *t, hn_real *w, int64_t o, int64_t c) {
    return hn_leaf(t, HN_F, (hn_shape){ 2, HN_FIXED, { o, c } }, w);
}

static hn_tensor *one_layer(const opnet_tape *n, opnet *w, int l, hn_tensor *x, hn_tensor **qkv_weight) {
    const int64_t wide = (NET_H + 2 * NET_G) * NET_D;
    hn_tape *t = n->t;
    hn_scope(t, "layer.%d", l);
    *qkv_weight = mat(t, w->layer[l].qkv, wide, NET_C);
    hn_tensor *h = hn_rmsnorm(t, x, vec(t, w->layer[l].norm1, NET_C), 1e-5);
    h = hn_linear(t, h, *qkv_weight, NULL, HN_PREC_F32);
    h = hn_headnorm(t, h, vec(t, w->layer[l].wq, NET_D), vec(t, w->layer[l].wk, NET_D), NET_H, NET_G, 1e-5);
    h = hn_rope(t, h, n->pos, vec(t, w->freq, NET_D / 2), NET_H, NET_G, HN_PREC_F32);
    h = hn_attn(t, h, n->span, NET_H, NET_G, HN_PREC_F32);
    x = hn_add(t, x, hn_linear(t, h, mat(t, w->layer[l].out, NET_C, NET_H * NET_D), NULL, HN_PREC_F32));
    h = hn_rmsnorm(t, x, vec(t, w->layer[l].norm2, NET_C), 1e-5);
    h = hn_swiglu(t, hn_linear(t, h, mat(t, w->layer[l].up, 2 * NET_F, NET_C), NULL, HN_PREC_F32));
    return hn_add(t, x, hn_linear(t, h, mat(t, w->layer[l].down, NET_C, NET_F), NULL, HN_PREC_F32));
}

int opnet_record(opnet_tape *n, opnet *w, const hn_backend *b, int tokens, int spans, int acts, bool grads,
                 hn_err *e) {
    const hn_shape tok = { 1, HN_TOKENS, { tokens } }, act = { 1, HN_ACTS, { acts } };
    hn_tensor *wrt[NET_LAYERS + 1];
    hn_tape *t = hn_tape_new(b);
    *n = (opnet_tape){ .t = t };
    if (!t) return hn_fail(e, HN_ENOMEM, "out of memory making a tape");
    n->token = hn_leaf(t, HN_I32, tok, NULL);
    n->pos = hn_leaf(t, HN_I32, tok, NULL);
    n->span = hn_leaf(t, HN_I32, (hn_shape){ 2, HN_SPANS, { spans, 3 } }, NULL);
    n->from = hn_leaf(t, HN_I32, act, NULL);
    n->target = hn_leaf(t, HN_I32, act, NULL);
    n->weight = hn_leaf(t, HN_F, act, NULL);
    hn_tensor *emb = wrt[NET_LAYERS] = mat(t, w->emb, NET_V, NET_C), *x = hn_embed(t, emb, n->token);
    for (int l = 0; l < NET_LAYERS; l++) {
        hn_segment(t, l & 1); /* every other layer is computed again for its gradients */
        x = one_layer(n, w, l, x, &wrt[l]);
    }
    hn_segment(t, false);
    hn_scope(t, "head");
    n->logp = hn_logp(t, hn_gather(t, x, n->from), emb, n->target, 0.9, NET_VOCAB, HN_PREC_F32);
    hn_keep(n->logp);
    if (grads) {
        emb->into = w->grad_emb;
        for (int l = 0; l < NET_LAYERS; l++) wrt[l]->into = w->layer[l].grad;
        n->loss = hn_keep(hn_sum(t, hn_mul(t, n->logp, n->weight)));
        hn_grad(t, n->loss, wrt, NET_LAYERS + 1);
    }
    return hn_tape_plan(t, e);
}

int opnet_run(opnet_tape *n, const hn_forest *f, hn_err *e) {
    hn_bind(n->token, f->token);
    hn_bind(n->pos, f->pos);
    hn_bind(n->span, f->span);
    hn_bind(n->from, f->from);
    hn_bind(n->target, f->target);
    hn_bind(n->weight, hn_forest_f(f, "weight"));
    hn_tape_live(n->t, HN_TOKENS, f->n_token);
    hn_tape_live(n->t, HN_SPANS, f->n_span);
    hn_tape_live(n->t, HN_ACTS, f->n_act);
    return hn_run(n->t, e);
}
