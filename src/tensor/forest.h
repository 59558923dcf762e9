/* forest.h - the one record that flows between data, generation, algorithms and the model.
 *
 * A batch is packed tokens (no padding anywhere) plus spans that form trees, plus acts: the tokens
 * that were chosen, each with the row whose hidden state predicts it.  A preference pair is a root
 * with two children; a group of G rollouts is a root with G children; a conversation is a chain.
 * A prompt shared by several answers is stored, and computed, once. */
#ifndef HN_FOREST_H
#define HN_FOREST_H

#include "tensor/tensor.h"

typedef struct hn_span {
    int32_t begin, len, parent; /* parent -1: a root; a parent comes before its children */
} hn_span;

/* What a column has one value for. */
typedef enum { HN_PER_ACT, HN_PER_SAMPLE } hn_per;
typedef struct hn_col {
    char name[24]; /* weight old_logp logp1 ref_logp advantage | reward label margin pair group ... */
    hn_per per;
    hn_dtype type; /* HN_F (stored as hn_real) or HN_I32 */
    void *data;
} hn_col;

/* Acts are sorted by sample, samples by tree: a tree owns one contiguous range of tokens, spans, acts
 * and samples, so any run of whole trees is again a forest (hn_forest_slice). */
typedef struct hn_forest {
    int32_t n_token, n_span, n_act, n_sample, n_tree;
    int32_t *token, *pos;   /* [n_token]  pos counts from the root of the token's own path */
    hn_span *span;          /* [n_span]   a token sees its own span up to itself and all ancestors whole */
    int32_t *from, *target; /* [n_act]    row whose hidden state predicts, and the token chosen there */
    int32_t *sample;        /* [n_act]    which sample the act belongs to */
    int32_t *tree_token, *tree_span, *tree_act, *tree_sample; /* [n_tree+1] where each tree begins */
    hn_col *col;
    int n_col;
    int64_t cap_token, cap_span, cap_act, cap_sample, cap_tree, cap_col; /* room, kept by the builder */
} hn_forest;

/* ---- building: append a tree span by span.  Errors: HN_ENOMEM only. ---- */
void hn_forest_init(hn_forest *f);
void hn_forest_release(hn_forest *f);
void hn_forest_clear(hn_forest *f);          /* keeps memory and column declarations */
int hn_forest_tree(hn_forest *f, hn_err *e); /* begins a tree */
/* Appends n tokens as a child of span `parent` (-1: root of the current tree); returns the span's index or <
 * 0. */
int hn_forest_span(hn_forest *f, int parent, const int32_t *token, int n, hn_err *e);
int hn_forest_sample(hn_forest *f, hn_err *e); /* begins a sample; returns its index */
/* The current sample chose token i of span s (i counts inside the span; the first token of a root cannot be
 * an act: nothing predicts it). */
int hn_forest_act(hn_forest *f, int span, int i, hn_err *e);
/* Declares a column (or finds it); its data grows with acts or samples, new values are 0. */
hn_col *hn_forest_col(hn_forest *f, const char *name, hn_per per, hn_dtype type, hn_err *e);
const hn_col *hn_forest_find(const hn_forest *f, const char *name); /* NULL when absent */
hn_real *hn_forest_f(const hn_forest *f, const char *name);         /* asserts that it is there */
int32_t *hn_forest_i(const hn_forest *f, const char *name);

/* Trees [lo,hi) of f as a forest of their own, indices rebased, columns sliced; *out is cleared first. */
int hn_forest_slice(const hn_forest *f, int lo, int hi, hn_forest *out, hn_err *e);
/* Appends all trees of g (same columns) to f. */
int hn_forest_append(hn_forest *f, const hn_forest *g, hn_err *e);
/* The same samples with nothing shared: every sample becomes a tree of one chain.  For tests and checks. */
int hn_forest_unshare(const hn_forest *f, hn_forest *out, hn_err *e);
/* Every index in range, parents before children, pos right, trees contiguous: the first lie is the error. */
int hn_forest_check(const hn_forest *f, int64_t vocab, hn_err *e);

/* ---- grains: the unit of gradient summation (design.md section 5) ----
 * Cuts the step's trees, in order, into runs of whole trees of at most grain_tokens tokens (a larger tree
 * is a grain of its own).  cut[0..n] are tree indices; returns n, the number of grains, or < 0. */
int hn_forest_grains(const hn_forest *f, int grain_tokens, int32_t **cut, hn_err *e);
#endif
