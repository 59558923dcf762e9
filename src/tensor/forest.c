/* forest.c - builds forests span by span, cuts and joins them, and checks every number in one. */
#include "tensor/forest.h"

#include <string.h>

/* ---- memory ---- */
void hn_forest_init(hn_forest *f) { memset(f, 0, sizeof *f); }

void hn_forest_release(hn_forest *f) {
    for (int i = 0; i < f->n_col; i++) hn_free(f->col[i].data);
    hn_free(f->col);
    hn_free(f->token), hn_free(f->pos);
    hn_free(f->span);
    hn_free(f->from), hn_free(f->target), hn_free(f->sample);
    hn_free(f->tree_token), hn_free(f->tree_span), hn_free(f->tree_act), hn_free(f->tree_sample);
    hn_forest_init(f);
}

void hn_forest_clear(hn_forest *f) { f->n_token = f->n_span = f->n_act = f->n_sample = f->n_tree = 0; }

/* Resizes *p to `cap` items of `size` bytes.  Arrays that share a capacity are resized one by one, and the
 * capacity is raised after the last: when one fails, the others are merely larger than recorded. */
static int resize(void *p, int64_t cap, size_t size) {
    void *old, *q;
    memcpy(&old, p, sizeof old);
    if (!(q = hn_realloc(old, (size_t)cap * size))) return HN_ENOMEM;
    memcpy(p, &q, sizeof q);
    return HN_OK;
}
static size_t col_size(const hn_col *c) { return c->type == HN_F ? sizeof(hn_real) : sizeof(int32_t); }

static int resize_cols(hn_forest *f, hn_per per, int64_t cap) {
    int rc = HN_OK;
    for (int i = 0; i < f->n_col && !rc; i++)
        if (f->col[i].per == per) rc = resize(&f->col[i].data, cap, col_size(&f->col[i]));
    return rc;
}
static int resize_tokens(hn_forest *f, int64_t cap) {
    int rc = resize(&f->token, cap, sizeof *f->token);
    return rc ? rc : resize(&f->pos, cap, sizeof *f->pos);
}
static int resize_spans(hn_forest *f, int64_t cap) { return resize(&f->span, cap, sizeof *f->span); }
static int resize_acts(hn_forest *f, int64_t cap) {
    int rc = resize(&f->from, cap, sizeof *f->from);
    if (!rc) rc = resize(&f->target, cap, sizeof *f->target);
    if (!rc) rc = resize(&f->sample, cap, sizeof *f->sample);
    return rc ? rc : resize_cols(f, HN_PER_ACT, cap);
}
static int resize_samples(hn_forest *f, int64_t cap) { return resize_cols(f, HN_PER_SAMPLE, cap); }
static int resize_trees(hn_forest *f, int64_t cap) {
    int32_t **const all[] = { &f->tree_token, &f->tree_span, &f->tree_act, &f->tree_sample };
    int rc = HN_OK;
    for (int i = 0; i < 4 && !rc; i++) rc = resize(all[i], cap + 1, sizeof **all[i]);
    return rc;
}

static int grow(hn_forest *f, int64_t *cap, int64_t need, int (*to)(hn_forest *, int64_t), hn_err *e) {
    if (need <= *cap) return HN_OK;
    if (need > INT32_MAX)
        return hn_fail(e, HN_ERANGE, "a forest of more than %d rows: use smaller grains", INT32_MAX);
    int64_t n = *cap ? *cap : 16;
    while (n < need) n *= 2;
    if (to(f, n)) return hn_fail(e, HN_ENOMEM, "out of memory growing a forest to %lld rows", (long long)n);
    *cap = n;
    return HN_OK;
}

/* Room for that many more of each; nothing has changed when it fails. */
typedef struct counts {
    int64_t token, span, act, sample, tree;
} counts;
static int room(hn_forest *f, counts n, hn_err *e) {
    int rc = grow(f, &f->cap_token, f->n_token + n.token, resize_tokens, e);
    if (!rc) rc = grow(f, &f->cap_span, f->n_span + n.span, resize_spans, e);
    if (!rc) rc = grow(f, &f->cap_act, f->n_act + n.act, resize_acts, e);
    if (!rc) rc = grow(f, &f->cap_sample, f->n_sample + n.sample, resize_samples, e);
    return rc ? rc : grow(f, &f->cap_tree, f->n_tree + n.tree, resize_trees, e);
}

static void end_tree(hn_forest *f) { /* where the tree after the current one will begin */
    f->tree_token[f->n_tree] = f->n_token;
    f->tree_span[f->n_tree] = f->n_span;
    f->tree_act[f->n_tree] = f->n_act;
    f->tree_sample[f->n_tree] = f->n_sample;
}

static void zero_cols(hn_forest *f, hn_per per, int at, int n) {
    for (int i = 0; i < f->n_col; i++)
        if (f->col[i].per == per && n)
            memset((char *)f->col[i].data + (size_t)at * col_size(&f->col[i]), 0,
                   (size_t)n * col_size(&f->col[i]));
}

/* ---- building ---- */
int hn_forest_tree(hn_forest *f, hn_err *e) {
    int rc = room(f, (counts){ .tree = 1 }, e);
    if (rc) return rc;
    if (!f->n_tree) end_tree(f);
    f->n_tree++;
    end_tree(f);
    return HN_OK;
}

int hn_forest_span(hn_forest *f, int parent, const int32_t *token, int n, hn_err *e) {
    hn_assert(f->n_tree > 0 && n > 0);
    int root = f->tree_span[f->n_tree - 1];
    hn_assert(parent < 0 ? parent == -1 && f->n_span == root : parent >= root && parent < f->n_span);
    int rc = room(f, (counts){ .token = n, .span = 1 }, e);
    if (rc) return rc;
    int pos = 0;
    if (parent >= 0) pos = f->pos[f->span[parent].begin + f->span[parent].len - 1] + 1;
    f->span[f->n_span] = (hn_span){ f->n_token, n, parent };
    memcpy(f->token + f->n_token, token, (size_t)n * sizeof *token);
    for (int i = 0; i < n; i++) f->pos[f->n_token + i] = pos + i;
    f->n_token += n;
    f->n_span++;
    end_tree(f);
    return f->n_span - 1;
}

int hn_forest_sample(hn_forest *f, hn_err *e) {
    hn_assert(f->n_tree > 0);
    int rc = room(f, (counts){ .sample = 1 }, e);
    if (rc) return rc;
    zero_cols(f, HN_PER_SAMPLE, f->n_sample, 1);
    f->n_sample++;
    end_tree(f);
    return f->n_sample - 1;
}

int hn_forest_act(hn_forest *f, int span, int i, hn_err *e) {
    hn_assert(f->n_tree > 0 && f->n_sample > f->tree_sample[f->n_tree - 1]);
    hn_assert(span >= f->tree_span[f->n_tree - 1] && span < f->n_span);
    hn_span s = f->span[span];
    hn_assert(i >= 0 && i < s.len && (i > 0 || s.parent >= 0));
    int rc = room(f, (counts){ .act = 1 }, e);
    if (rc) return rc;
    zero_cols(f, HN_PER_ACT, f->n_act, 1);
    f->from[f->n_act] = i ? s.begin + i - 1 : f->span[s.parent].begin + f->span[s.parent].len - 1;
    f->target[f->n_act] = f->token[s.begin + i];
    f->sample[f->n_act] = f->n_sample - 1;
    f->n_act++;
    end_tree(f);
    return HN_OK;
}

/* ---- columns ---- */
const hn_col *hn_forest_find(const hn_forest *f, const char *name) {
    for (int i = 0; i < f->n_col; i++)
        if (!strcmp(f->col[i].name, name)) return &f->col[i];
    return NULL;
}

hn_col *hn_forest_col(hn_forest *f, const char *name, hn_per per, hn_dtype type, hn_err *e) {
    const hn_col *old = hn_forest_find(f, name);
    hn_col c = { .per = per, .type = type };
    hn_assert(type != HN_HOST && strlen(name) < sizeof c.name);
    hn_assert(!old || (old->per == per && old->type == type));
    if (old) return &f->col[old - f->col];
    int64_t cap = per == HN_PER_ACT ? f->cap_act : f->cap_sample;
    memcpy(c.name, name, strlen(name) + 1);
    if (hn_grow(&f->col, &f->cap_col, f->n_col + 1, sizeof *f->col) || resize(&c.data, cap, col_size(&c))) {
        hn_fail(e, HN_ENOMEM, "out of memory adding column %s", name);
        return NULL;
    }
    f->col[f->n_col++] = c;
    memset(c.data, 0, (size_t)(per == HN_PER_ACT ? f->n_act : f->n_sample) * col_size(&c));
    return &f->col[f->n_col - 1];
}

hn_real *hn_forest_f(const hn_forest *f, const char *name) {
    const hn_col *c = hn_forest_find(f, name);
    hn_assert(c && c->type == HN_F);
    return c->data;
}
int32_t *hn_forest_i(const hn_forest *f, const char *name) {
    const hn_col *c = hn_forest_find(f, name);
    hn_assert(c && c->type == HN_I32);
    return c->data;
}

/* Every column of g exists in f. */
static int same_cols(hn_forest *f, const hn_forest *g, hn_err *e) {
    for (int i = 0; i < g->n_col; i++)
        if (!hn_forest_col(f, g->col[i].name, g->col[i].per, g->col[i].type, e)) return HN_ENOMEM;
    return HN_OK;
}

/* Values [lo, lo + n) of g's columns become values [at, at + n) of f's. */
static void copy_cols(hn_forest *f, int at, const hn_forest *g, hn_per per, int lo, int n) {
    zero_cols(f, per, at, n); /* what g does not have */
    for (int i = 0; i < g->n_col && n; i++) {
        const hn_col *from = &g->col[i], *to = hn_forest_find(f, from->name);
        size_t size = col_size(from);
        if (from->per == per)
            memcpy((char *)to->data + (size_t)at * size, (char *)from->data + (size_t)lo * size,
                   (size_t)n * size);
    }
}

/* ---- cutting and joining ---- */
static void copy_ints(int32_t *to, const int32_t *from, int n, int32_t shift) {
    for (int i = 0; i < n; i++) to[i] = from[i] + shift;
}

/* Appends trees [lo,hi) of g. */
static int append(hn_forest *f, const hn_forest *g, int lo, int hi, hn_err *e) {
    hn_assert(f != g && lo >= 0 && lo <= hi && hi <= g->n_tree);
    int rc = same_cols(f, g, e);
    if (rc || lo == hi) return rc;
    int t0 = g->tree_token[lo], s0 = g->tree_span[lo], a0 = g->tree_act[lo], m0 = g->tree_sample[lo];
    int t = g->tree_token[hi] - t0, s = g->tree_span[hi] - s0, a = g->tree_act[hi] - a0;
    int m = g->tree_sample[hi] - m0;
    rc = room(f, (counts){ t, s, a, m, hi - lo }, e);
    if (rc) return rc;
    copy_ints(f->token + f->n_token, g->token + t0, t, 0);
    copy_ints(f->pos + f->n_token, g->pos + t0, t, 0);
    for (int i = 0; i < s; i++) {
        hn_span x = g->span[s0 + i];
        f->span[f->n_span + i] =
            (hn_span){ x.begin - t0 + f->n_token, x.len, x.parent < 0 ? -1 : x.parent - s0 + f->n_span };
    }
    copy_ints(f->from + f->n_act, g->from + a0, a, f->n_token - t0);
    copy_ints(f->target + f->n_act, g->target + a0, a, 0);
    copy_ints(f->sample + f->n_act, g->sample + a0, a, f->n_sample - m0);
    copy_cols(f, f->n_act, g, HN_PER_ACT, a0, a);
    copy_cols(f, f->n_sample, g, HN_PER_SAMPLE, m0, m);
    copy_ints(f->tree_token + f->n_tree, g->tree_token + lo, hi - lo + 1, f->n_token - t0);
    copy_ints(f->tree_span + f->n_tree, g->tree_span + lo, hi - lo + 1, f->n_span - s0);
    copy_ints(f->tree_act + f->n_tree, g->tree_act + lo, hi - lo + 1, f->n_act - a0);
    copy_ints(f->tree_sample + f->n_tree, g->tree_sample + lo, hi - lo + 1, f->n_sample - m0);
    f->n_token += t, f->n_span += s, f->n_act += a, f->n_sample += m, f->n_tree += hi - lo;
    return HN_OK;
}

int hn_forest_append(hn_forest *f, const hn_forest *g, hn_err *e) { return append(f, g, 0, g->n_tree, e); }

int hn_forest_slice(const hn_forest *f, int lo, int hi, hn_forest *out, hn_err *e) {
    hn_forest_clear(out);
    return append(out, f, lo, hi, e);
}

int hn_forest_grains(const hn_forest *f, int grain_tokens, int32_t **cut, hn_err *e) {
    int n = 0, begin = 0;
    *cut = hn_alloc(((size_t)f->n_tree + 1) * sizeof **cut);
    if (!*cut) return hn_fail(e, HN_ENOMEM, "out of memory cutting %d trees into grains", f->n_tree);
    for (int t = 0; t < f->n_tree; t++)
        if (t > begin && f->tree_token[t + 1] - f->tree_token[begin] > grain_tokens) (*cut)[++n] = begin = t;
    if (f->n_tree) (*cut)[++n] = f->n_tree;
    return n;
}

/* ---- unsharing ---- */
static int span_of(const hn_forest *f, int row) {
    int lo = 0, hi = f->n_span - 1;
    while (lo < hi) {
        int mid = (lo + hi + 1) / 2;
        if (f->span[mid].begin <= row) lo = mid;
        else hi = mid - 1;
    }
    return lo;
}

/* Writes the path of span s, from the root, to token[] (and the row of each to row[]); returns its length. */
static int path_rows(const hn_forest *f, int s, int32_t *token, int32_t *row) {
    hn_span x = f->span[s];
    int n = x.parent < 0 ? 0 : path_rows(f, x.parent, token, row);
    for (int i = 0; i < x.len; i++) {
        token[n + i] = f->token[x.begin + i];
        row[n + i] = x.begin + i;
    }
    return n + x.len;
}

/* Sample m, whose acts are [lo,hi) and whose tree's root is span `root`, as a tree of one span.  A path is
 * as long as pos says, so a row of it sits at index pos. */
static int add_chain(const hn_forest *f, int m, int lo, int hi, int root, int32_t *tmp, hn_forest *out,
                     hn_err *e) {
    int last = hi > lo ? span_of(f, f->from[hi - 1]) : root; /* acts go down one path */
    int32_t *row = tmp + f->n_token;
    int n = path_rows(f, last, tmp, row);
    int rc = hn_forest_tree(out, e);
    if (!rc && hn_forest_span(out, -1, tmp, n, e) < 0) rc = HN_ENOMEM;
    if (!rc && hn_forest_sample(out, e) < 0) rc = HN_ENOMEM;
    if (!rc) rc = room(out, (counts){ .act = hi - lo }, e);
    if (rc) return rc;
    int begin = out->span[out->n_span - 1].begin;
    copy_cols(out, out->n_act, f, HN_PER_ACT, lo, hi - lo);
    copy_cols(out, out->n_sample - 1, f, HN_PER_SAMPLE, m, 1);
    for (int a = lo; a < hi; a++) {
        hn_assert(row[f->pos[f->from[a]]] == f->from[a]); /* the acts of a sample lie on one path */
        out->from[out->n_act] = begin + f->pos[f->from[a]];
        out->target[out->n_act] = f->target[a];
        out->sample[out->n_act++] = out->n_sample - 1;
    }
    end_tree(out);
    return HN_OK;
}

int hn_forest_unshare(const hn_forest *f, hn_forest *out, hn_err *e) {
    hn_assert(f != out);
    hn_forest_clear(out);
    int rc = same_cols(out, f, e), a = 0;
    int32_t *tmp = rc ? NULL : hn_alloc(2 * (size_t)f->n_token * sizeof *tmp);
    if (!rc && !tmp) rc = hn_fail(e, HN_ENOMEM, "out of memory unsharing a forest");
    for (int t = 0; t < f->n_tree && !rc; t++)
        for (int m = f->tree_sample[t]; m < f->tree_sample[t + 1] && !rc; m++) {
            int lo = a;
            while (a < f->n_act && f->sample[a] == m) a++;
            rc = add_chain(f, m, lo, a, f->tree_span[t], tmp, out, e);
        }
    hn_free(tmp);
    return rc;
}
