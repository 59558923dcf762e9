/* grad.c - reverse-mode differentiation: appends the nodes that compute gradients.
 *
 * Nodes are walked from the last to the first.  Contributions to a tensor meet in ->grad, added in the
 * order of the walk, so sums have one order.  A leaf with `into` has no ->grad: each contribution adds to
 * that memory when it runs.  An accumulating gradient node (dW of a matrix product) simply gets `into` as its
 * output memory; any other passes through the op `accum`.
 *
 * A segment (hn_segment) is recorded again when the walk enters it, and its vjps read the copies instead of
 * the nodes (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", section 4).  Gradients still
 * meet in the nodes themselves, in the same order, so the bits do not change. */
#include "op/ops.h"
#include "tensor/tape.h"

#include <string.h>

static bool same_shape(const hn_shape *a, const hn_shape *b) {
    if (a->nd != b->nd || a->live != b->live) return false;
    for (int i = 0; i < a->nd; i++)
        if (a->d[i] != b->d[i]) return false;
    return true;
}

static bool is_acc(hn_tensor *g) {
    hn_tensor *y = hn_maker(g);
    return y && y->op->acc >> hn_output_index(g) & 1;
}

/* Nothing but the gradient gin[k] itself reads node g, recorded at or after `since`. */
static bool unread(const hn_tape *t, const hn_tensor *g, hn_tensor *const gin[HN_MAXIN], int since) {
    int used = 0;
    for (int k = 0; k < HN_MAXIN; k++) used += gin[k] == g;
    for (int i = since; i < t->n; i++)
        for (int k = 0; k < HN_MAXIN; k++) used += t->node[i]->in[k] == g;
    return used == 1;
}

static void bind_into(hn_tape *t, hn_tensor *g, hn_tensor *leaf) {
    if (t->err.code) return;
    if (t->n_bound == t->cap_bound) {
        int cap = t->cap_bound ? 2 * t->cap_bound : 64;
        hn_bound *b = hn_arena_get(t->mem, (size_t)cap * sizeof *b);
        if (!b) {
            hn_tape_fail(t, HN_ENOMEM, "out of memory recording gradients");
            return;
        }
        if (t->n_bound) memcpy(b, t->bound, (size_t)t->n_bound * sizeof *b);
        t->bound = b;
        t->cap_bound = cap;
    }
    t->bound[t->n_bound++] = (hn_bound){ g, leaf };
    if (!g) return;
    g->bound = true;
    g->data = leaf->into;
}

/* Its gradient memory has no node that adds to it. */
static bool untouched(const hn_tape *t, const hn_tensor *leaf) {
    for (int i = 0; i < t->n_bound; i++)
        if (t->bound[i].leaf == leaf) return false;
    return leaf->into != NULL;
}

/* Adds contribution gin[k], made by a vjp that began recording at `since`, to the gradient of x. */
static void contribute(hn_tape *t, hn_tensor *x, hn_tensor *const gin[HN_MAXIN], int k, int since) {
    hn_tensor *g = gin[k];
    if (t->err.code) return;
    hn_assert((g->type == HN_F || (g->type == HN_BF16 && !x->into)) && same_shape(&g->shape, &x->shape));
    if (x->into) {
        bool direct = g->id >= since && is_acc(g) && !g->bound && unread(t, g, gin, since);
        bind_into(t, direct ? g : hn_accum(t, g), x);
    } else {
        x->grad = x->grad ? hn_add(t, x->grad, g) : g;
    }
}

typedef struct walk {
    hn_tape *t;
    bool *needed;      /* [n] node i lies between the tensors asked for and the loss */
    bool *stays;       /* [n] node i is not recorded again: something beyond its segment needs it */
    hn_tensor **again; /* [n] the copy of node i; NULL: none */
    int segment;       /* the last one that was entered */
} walk;

/* What gradients read for x. */
static hn_tensor *twin(const walk *w, hn_tensor *x) {
    hn_tensor *y = hn_maker(x), *copy = y ? w->again[y->id] : NULL;
    return copy ? copy->out[hn_output_index(x)] : x;
}

/* Records the segment of `end` again, up to `end`. */
static void enter(walk *w, const hn_tensor *end) {
    hn_tape *t = w->t;
    const char *scope = t->scope;
    int i = end->id;
    w->segment = end->segment;
    while (i > 0 && t->node[i - 1]->segment == end->segment) i--;
    for (; i <= end->id; i++) {
        hn_tensor *y = t->node[i], *in[HN_MAXIN] = { 0 };
        if (!y->op || w->stays[i]) continue;
        for (int k = 0; k < y->op->n_in; k++) in[k] = y->in[k] ? twin(w, y->in[k]) : NULL;
        t->scope = y->scope;
        hn_tensor *copy = hn_apply(t, y->op, y->attr, in);
        if (t->err.code) break;
        copy->type = y->type;
        w->again[i] = copy;
    }
    t->scope = scope;
}

/* Calls the vjp of node y if a gradient reaches one of its outputs. */
static void back(walk *w, hn_tensor *y) {
    hn_tape *t = w->t;
    hn_tensor *g[HN_MAXOUT] = { 0 }, *gin[HN_MAXIN] = { 0 };
    bool any = false;
    for (int k = 0; k < hn_n_out(y->op); k++) {
        g[k] = y->op->fixed_out >> k & 1 ? NULL : y->out[k]->grad;
        any |= g[k] != NULL;
    }
    if (!any) return;
    if (y->segment && y->segment != w->segment) enter(w, y);
    if (t->err.code) return;
    int since = t->n;
    const char *scope = t->scope;
    t->scope = y->scope; /* gradients are timed and named with the layer they belong to */
    y->op->vjp(t, twin(w, y), g, gin);
    for (int k = 0; k < y->op->n_in; k++)
        if (gin[k] && y->in[k] && w->needed[y->in[k]->id] && !(y->op->fixed_in >> k & 1))
            contribute(t, y->in[k], gin, k, since);
    t->scope = scope;
}

/* Old gradients are forgotten. */
static void mark_needed(walk *w, int last) {
    for (int i = 0; i <= last; i++) {
        hn_tensor *y = w->t->node[i];
        y->grad = NULL;
        if (y->of) w->needed[i] |= w->needed[y->of->id];
        if (!y->op || !y->op->vjp) continue;
        for (int k = 0; k < y->op->n_in; k++)
            if (y->in[k] && !(y->op->fixed_in >> k & 1)) w->needed[i] |= w->needed[y->in[k]->id];
    }
}

static void mark_stays(walk *w, int last) {
    for (int i = 0; i <= last; i++) {
        hn_tensor *y = w->t->node[i];
        if (y->keep && hn_maker(y)) w->stays[hn_maker(y)->id] = true;
        for (int k = 0; y->op && k < y->op->n_in; k++) {
            hn_tensor *x = y->in[k];
            if (!x) continue;
            if (x->type == HN_HOST) w->stays[i] = true;
            if (x->segment != y->segment && hn_maker(x)) w->stays[hn_maker(x)->id] = true;
        }
    }
}

int hn_grad(hn_tape *t, hn_tensor *loss, hn_tensor *const wrt[], int n) {
    static hn_real one = 1;
    if (t->err.code) return t->err.code;
    hn_assert(loss->type == HN_F && hn_cap_rows(loss) * hn_cols(loss) == 1);
    int last = t->n - 1;
    size_t all = (size_t)t->n;
    walk w = { .t = t, .needed = hn_arena_get(t->mem, all), .stays = hn_arena_get(t->mem, all) };
    w.again = hn_arena_get(t->mem, all * sizeof *w.again);
    if (!w.needed || !w.stays || !w.again) {
        hn_tape_fail(t, HN_ENOMEM, "out of memory recording gradients");
        return t->err.code;
    }
    for (int i = 0; i < n; i++) {
        hn_assert(wrt[i]->type == HN_F && (!wrt[i]->into || !hn_maker(wrt[i])));
        w.needed[wrt[i]->id] = true;
    }
    mark_needed(&w, last);
    mark_stays(&w, last);
    hn_segment(t, false);
    loss->grad = hn_leaf(t, HN_F, loss->shape, &one);
    for (int i = last; i >= 0 && !t->err.code; i--)
        if (w.needed[i] && t->node[i]->op && t->node[i]->op->vjp) back(&w, t->node[i]);
    for (int i = 0; i < n && !t->err.code; i++) {
        if (wrt[i]->grad) hn_keep(wrt[i]->grad);
        if (untouched(t, wrt[i])) bind_into(t, NULL, wrt[i]);
    }
    return t->err.code;
}
