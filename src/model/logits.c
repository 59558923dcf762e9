/* logits.c - records the network over one path with the head on every row. */
#include "model/logits.h"
#include "op/ops.h"

#include <string.h>

int hn_logits_of(hn_transformer *m, const int32_t *token, int n, hn_real *out, hn_err *e) {
    hn_tape *t = hn_tape_new(m->params.backend);
    hn_tensor **leaf = hn_alloc((size_t)hn_transformer_leaves(m) * sizeof *leaf);
    int32_t *pos = hn_alloc((size_t)n * sizeof *pos), span[3] = { 0, n, -1 };
    int k = 0, rc = t && leaf && pos ? HN_OK : hn_fail(e, HN_ENOMEM, "no memory for %d rows of logits", n);
    if (!rc) {
        for (int i = 0; i < n; i++) pos[i] = i;
        hn_shape row = { 1, HN_FIXED, { n } };
        hn_attend how = { .span = hn_leaf(t, HN_I32, (hn_shape){ 2, HN_FIXED, { 1, 3 } }, span) };
        hn_tensor *id = hn_leaf(t, HN_I32, row, (void *)(uintptr_t)token), *at = hn_leaf(t, HN_I32, row, pos);
        hn_tensor *x = hn_transformer_hidden(m, t, id, at, &how, false, leaf, &k);
        hn_tensor *w = m->cfg.tied ? leaf[0] : hn_transformer_head(m, t, false, leaf, &k);
        hn_tensor *z = hn_keep(hn_logits(t, x, w, m->vocab, m->params.prec));
        rc = hn_tape_plan(t, e);
        if (!rc) rc = hn_run(t, e);
        if (!rc) memcpy(out, z->data, (size_t)n * (size_t)m->cfg.vocab_size * sizeof *out);
    }
    hn_free(leaf);
    hn_free(pos);
    hn_tape_free(t);
    return rc;
}
