/* forest_check.c - reads every number of a forest and names the first that cannot be. */
#include "tensor/forest.h"

static int lie(hn_err *e, int t, const char *what, int i, int64_t got) {
    return hn_fail(e, HN_ERANGE, "forest: tree %d: %s %d is wrong (%lld)", t, what, i, (long long)got);
}

/* Spans cover the tree's tokens in order; the first is the only root; pos goes on from the parent. */
static int check_spans(const hn_forest *f, int t, int64_t vocab, hn_err *e) {
    int at = f->tree_token[t], root = f->tree_span[t];
    for (int s = root; s < f->tree_span[t + 1]; s++) {
        hn_span x = f->span[s];
        if (x.begin != at) return lie(e, t, "begin of span", s, x.begin);
        if (x.len < 1 || x.len > f->tree_token[t + 1] - at) return lie(e, t, "length of span", s, x.len);
        if (s == root ? x.parent != -1 : x.parent < root || x.parent >= s)
            return lie(e, t, "parent of span", s, x.parent);
        int pos = 0;
        if (x.parent >= 0) pos = f->pos[f->span[x.parent].begin + f->span[x.parent].len - 1] + 1;
        for (int i = 0; i < x.len; i++, at++) {
            if (f->pos[at] != pos + i) return lie(e, t, "position of row", at, f->pos[at]);
            if (f->token[at] < 0 || f->token[at] >= vocab) return lie(e, t, "token of row", at, f->token[at]);
        }
    }
    return at == f->tree_token[t + 1] ? HN_OK : lie(e, t, "end of row", at, f->tree_token[t + 1]);
}

/* Span s lies on the path of a later row, `row`. */
static bool above(const hn_forest *f, int root, int upper, int row) {
    int s = root;
    while (row >= f->span[s].begin + f->span[s].len) s++;
    while (s > root && row != upper &&
           !(upper >= f->span[s].begin && upper < f->span[s].begin + f->span[s].len))
        s = f->span[s].parent;
    return upper >= f->span[s].begin && upper < f->span[s].begin + f->span[s].len;
}

/* Acts are sorted by sample; those of one sample go down one path. */
static int check_acts(const hn_forest *f, int t, int64_t vocab, hn_err *e) {
    int lo = f->tree_act[t], root = f->tree_span[t];
    for (int a = lo; a < f->tree_act[t + 1]; a++) {
        int from = f->from[a], m = f->sample[a];
        if (from < f->tree_token[t] || from >= f->tree_token[t + 1]) return lie(e, t, "row of act", a, from);
        if (f->target[a] < 0 || f->target[a] >= vocab) return lie(e, t, "target of act", a, f->target[a]);
        if (m < f->tree_sample[t] || m >= f->tree_sample[t + 1] || (a > lo && m < f->sample[a - 1]))
            return lie(e, t, "sample of act", a, m);
        if (a > lo && m == f->sample[a - 1] &&
            (f->from[a - 1] >= from || !above(f, root, f->from[a - 1], from)))
            return lie(e, t, "path of act", a, from);
    }
    return HN_OK;
}

int hn_forest_check(const hn_forest *f, int64_t vocab, hn_err *e) {
    if (!f->n_tree)
        return f->n_token || f->n_span || f->n_act || f->n_sample
                   ? hn_fail(e, HN_ERANGE, "forest: rows that belong to no tree")
                   : HN_OK;
    if (f->tree_token[0] || f->tree_span[0] || f->tree_act[0] || f->tree_sample[0])
        return lie(e, 0, "begin of tree", 0, f->tree_token[0]);
    for (int t = 0; t < f->n_tree; t++) {
        if (f->tree_token[t + 1] <= f->tree_token[t] || f->tree_token[t + 1] > f->n_token ||
            f->tree_span[t + 1] <= f->tree_span[t] || f->tree_span[t + 1] > f->n_span)
            return lie(e, t, "end of tree", t, f->tree_token[t + 1]);
        if (f->tree_act[t + 1] < f->tree_act[t] || f->tree_act[t + 1] > f->n_act ||
            f->tree_sample[t + 1] < f->tree_sample[t] || f->tree_sample[t + 1] > f->n_sample)
            return lie(e, t, "acts of tree", t, f->tree_act[t + 1]);
        int rc = check_spans(f, t, vocab, e);
        if (!rc) rc = check_acts(f, t, vocab, e);
        if (rc) return rc;
    }
    if (f->tree_token[f->n_tree] != f->n_token || f->tree_span[f->n_tree] != f->n_span ||
        f->tree_act[f->n_tree] != f->n_act || f->tree_sample[f->n_tree] != f->n_sample)
        return hn_fail(e, HN_ERANGE, "forest: rows after the last tree");
    return HN_OK;
}
