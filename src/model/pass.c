/* pass.c - records the model over a forest once and runs it grain by grain. */
#include "model/pass.h"
#include "op/ops.h"

#include <string.h>

static hn_tensor *leaf1(hn_pass *p, hn_dtype type, hn_live live) {
    return hn_leaf(p->tape, type, (hn_shape){ 1, live, { p->cap[live] } }, NULL);
}

hn_tensor *hn_pass_column(hn_pass *p, const char *name, hn_per per, hn_dtype type) {
    for (int i = 0; i < p->n_col; i++)
        if (!strcmp(p->col[i].name, name)) return p->col[i].leaf;
    hn_assert(p->n_col < HN_PASS_COLS && strlen(name) < sizeof p->col->name);
    hn_pass_col *c = &p->col[p->n_col++];
    memcpy(c->name, name, strlen(name) + 1);
    c->per = per;
    return c->leaf = leaf1(p, type, per == HN_PER_ACT ? HN_ACTS : HN_SAMPLES);
}

hn_tensor *hn_pass_per_sample(hn_pass *p, hn_tensor *x) {
    hn_tensor *like = leaf1(p, HN_F, HN_SAMPLES); /* only its shape is read */
    return hn_segsum(p->tape, x, p->sample, like);
}

hn_tensor *hn_pass_of_pair(hn_pass *p, hn_tensor *x, int side) {
    hn_tensor *id = hn_leaf(p->tape, HN_I32, (hn_shape){ 1, HN_PAIRS, { p->cap[HN_PAIRS] } }, p->index[side]);
    return hn_gather(p->tape, x, id);
}

static int make_index(hn_pass *p) {
    for (int side = 0; side < 2; side++) {
        hn_free(p->index[side]);
        p->index[side] = hn_alloc((size_t)p->cap[HN_PAIRS] * sizeof(int32_t));
        if (!p->index[side]) return HN_ENOMEM;
        for (int32_t i = 0; i < p->cap[HN_PAIRS]; i++) p->index[side][i] = 2 * i + side;
    }
    return HN_OK;
}

/* Records and leaves the tape unplanned. */
static int record(hn_pass *p, hn_loss_fn *loss, const void *priv, hn_err *e) {
    hn_transformer *m = p->model;
    hn_tape *t = p->tape;
    hn_tensor **leaf = hn_alloc((size_t)hn_transformer_leaves(m) * sizeof *leaf);
    if (!leaf || make_index(p)) {
        hn_free(leaf);
        return hn_fail(e, HN_ENOMEM, "no memory to record the model");
    }
    int n = 0;
    hn_tape_reset(t);
    p->n_col = 0;
    p->token = leaf1(p, HN_I32, HN_TOKENS);
    p->pos = leaf1(p, HN_I32, HN_TOKENS);
    p->span = hn_leaf(t, HN_I32, (hn_shape){ 2, HN_SPANS, { p->cap[HN_SPANS], 3 } }, NULL);
    p->from = leaf1(p, HN_I32, HN_ACTS);
    p->target = leaf1(p, HN_I32, HN_ACTS);
    p->sample = leaf1(p, HN_I32, HN_ACTS);
    hn_attend how = { .span = p->span };
    hn_tensor *x = hn_transformer_hidden(m, t, p->token, p->pos, &how, p->train, leaf, &n);
    hn_tensor *w = m->cfg.tied ? leaf[0] : hn_transformer_head(m, t, p->train, leaf, &n);
    hn_scope(t, "head");
    hn_tensor *h = hn_gather(t, x, p->from);
    p->logp = hn_keep(hn_logp(t, h, w, p->target, p->temperature, m->vocab, m->params.prec));
    p->stat = hn_keep(p->logp->out[1]);
    p->loss = NULL;
    if (loss) {
        hn_scope(t, "loss");
        p->loss = hn_keep(loss(priv, p));
        hn_grad(t, p->loss, leaf, n);
    }
    hn_free(leaf);
    return HN_OK;
}

/* Up to the next eighth of a power of two, so that little is planned in vain and a run records few times. */
static int64_t round_up(int64_t n) {
    int64_t c = 64;
    while (c < n) c *= 2;
    int64_t step = c > 1024 ? c / 16 : 64;
    return (n + step - 1) / step * step + (n == 0) * 64;
}

/* Makes the capacities hold f; true when they already did. */
static bool has_room(hn_pass *p, const hn_forest *f) {
    const int64_t need[HN_LIVE_N] = { [HN_TOKENS] = f->n_token,
                                      [HN_SPANS] = f->n_span,
                                      [HN_ACTS] = f->n_act,
                                      [HN_SAMPLES] = f->n_sample,
                                      [HN_PAIRS] = f->n_sample / 2 };
    bool fits = p->tape != NULL;
    for (int i = HN_TOKENS; i < HN_LIVE_N; i++) {
        if (need[i] <= p->cap[i] && p->tape) continue;
        p->cap[i] = round_up(need[i]);
        fits = false;
    }
    return fits;
}

int hn_pass_fit(hn_pass *p, hn_transformer *m, const hn_forest *f, double temperature, hn_loss_fn *loss,
                const void *priv, hn_err *e) {
    if (has_room(p, f)) return HN_OK;
    if (!p->tape && !(p->tape = hn_tape_new(m->params.backend)))
        return hn_fail(e, HN_ENOMEM, "no memory for a tape");
    p->model = m;
    p->temperature = temperature;
    p->train = loss != NULL;
    int rc = record(p, loss, priv, e);
    if (!rc) rc = hn_tape_plan(p->tape, e);
    if (rc) hn_pass_release(p);
    return rc;
}

int hn_pass_measure(hn_transformer *m, const hn_forest *counts, hn_loss_fn *loss, const void *priv,
                    size_t *bytes, size_t *chunk, hn_err *e) {
    hn_pass p = { .model = m, .temperature = 1, .train = loss != NULL };
    has_room(&p, counts);
    if (!(p.tape = hn_tape_new(m->params.backend))) return hn_fail(e, HN_ENOMEM, "no memory for a tape");
    int rc = record(&p, loss, priv, e);
    if (!rc) rc = hn_tape_measure(p.tape, e);
    if (!rc) {
        size_t forward = hn_tape_work(p.tape, "logp"), back = hn_tape_work(p.tape, "logp_b");
        *bytes = hn_tape_bytes(p.tape);
        *chunk = forward > back ? forward : back;
    }
    hn_pass_release(&p);
    return rc;
}

void hn_pass_release(hn_pass *p) {
    hn_tape_free(p->tape);
    hn_free(p->index[0]);
    hn_free(p->index[1]);
    memset(p, 0, sizeof *p);
}

int hn_pass_run(hn_pass *p, const hn_forest *f, hn_err *e) {
    hn_bind(p->token, f->token);
    hn_bind(p->pos, f->pos);
    hn_bind(p->span, f->span);
    hn_bind(p->from, f->from);
    hn_bind(p->target, f->target);
    hn_bind(p->sample, f->sample);
    for (int i = 0; i < p->n_col; i++) {
        const hn_col *c = hn_forest_find(f, p->col[i].name);
        hn_assert(c && c->per == p->col[i].per && c->type == p->col[i].leaf->type);
        hn_bind(p->col[i].leaf, c->data);
    }
    hn_tape_live(p->tape, HN_TOKENS, f->n_token);
    hn_tape_live(p->tape, HN_SPANS, f->n_span);
    hn_tape_live(p->tape, HN_ACTS, f->n_act);
    hn_tape_live(p->tape, HN_SAMPLES, f->n_sample);
    hn_tape_live(p->tape, HN_PAIRS, f->n_sample / 2);
    return hn_run(p->tape, e);
}

void hn_pass_copy(const hn_pass *p, hn_forest *f, int32_t at, int32_t n, const hn_score_cols *out) {
    const hn_real *logp = p->logp->data, *stat = p->stat->data;
    const char *const name[] = { out->logp, out->logp1, out->entropy, out->hit };
    for (int k = 0; k < 4; k++) {
        if (!name[k]) continue;
        hn_real *to = hn_forest_f(f, name[k]) + at;
        for (int32_t i = 0; i < n; i++) to[i] = k ? stat[4 * i + k - 1] : logp[i];
    }
}

int hn_pass_score(hn_pass *p, hn_transformer *m, hn_forest *f, int grain_tokens, double temperature,
                  const hn_score_cols *out, hn_err *e) {
    int32_t *cut = NULL;
    int n = hn_forest_grains(f, grain_tokens, &cut, e), rc = n < 0 ? n : HN_OK;
    hn_forest g;
    hn_forest_init(&g);
    for (int i = 0; i < n && !rc; i++) {
        if (!(rc = hn_forest_slice(f, cut[i], cut[i + 1], &g, e)) &&
            !(rc = hn_pass_fit(p, m, &g, temperature, NULL, NULL, e)) && !(rc = hn_pass_run(p, &g, e)))
            hn_pass_copy(p, f, f->tree_act[cut[i]], g.n_act, out);
    }
    hn_forest_release(&g);
    hn_free(cut);
    return rc;
}
