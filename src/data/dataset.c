/* dataset.c - tokenized rows and the forests made of them. */
#include "data/dataset.h"

#include <string.h>

void hn_dataset_release(hn_dataset *d) {
    hn_free(d->token);
    hn_free(d->act);
    hn_free(d->row);
    memset(d, 0, sizeof *d);
}

static int room(hn_dataset *d, int64_t tokens, hn_err *e) {
    if (hn_grow(&d->token, &d->cap_token, d->n_token + tokens, sizeof *d->token) ||
        hn_grow(&d->act, &d->cap_act, d->n_token + tokens, sizeof *d->act) ||
        hn_grow(&d->row, &d->cap_row, d->n_row + 1, sizeof *d->row))
        return hn_fail(e, HN_ENOMEM, "no memory for row %lld of the data", (long long)d->n_row + 1);
    return HN_OK;
}

static void put(hn_dataset *d, const int32_t *token, int n) {
    if (n) memcpy(d->token + d->n_token, token, (size_t)n * sizeof *token);
    d->n_token += n;
}

int hn_dataset_chain(hn_dataset *d, const int32_t *token, const uint8_t *act, int n, hn_err *e) {
    hn_assert(n > 0 && !act[0]);
    int rc = room(d, n, e);
    if (rc) return rc;
    d->row[d->n_row++] = (hn_datarow){ d->n_token, { n, 0, 0 } };
    memcpy(d->act + d->n_token, act, (size_t)n);
    put(d, token, n);
    for (int i = 0; i < n; i++) d->n_act += act[i];
    if (n > d->longest) d->longest = n;
    return HN_OK;
}

int hn_dataset_pair(hn_dataset *d, const int32_t *prompt, int n, const int32_t *chosen, int nc,
                    const int32_t *rejected, int nr, hn_err *e) {
    hn_assert(n > 0);
    int rc = room(d, (int64_t)n + nc + nr, e);
    if (rc) return rc;
    d->row[d->n_row++] = (hn_datarow){ d->n_token, { n, nc, nr } };
    memset(d->act + d->n_token, 0, (size_t)n);
    memset(d->act + d->n_token + n, 1, (size_t)(nc + nr));
    put(d, prompt, n);
    put(d, chosen, nc);
    put(d, rejected, nr);
    d->n_act += nc + nr;
    if (n + (nc > nr ? nc : nr) > d->longest) d->longest = n + (nc > nr ? nc : nr);
    return HN_OK;
}

static int acts(hn_forest *f, int span, const uint8_t *act, int n, hn_err *e) {
    for (int i = 0; i < n; i++) {
        int rc = act[i] ? hn_forest_act(f, span, i, e) : 0;
        if (rc < 0) return rc;
    }
    return HN_OK;
}

static int tree(const hn_dataset *d, const hn_datarow *r, hn_forest *f, hn_err *e) {
    const int32_t *token = d->token + r->at;
    const uint8_t *act = d->act + r->at;
    int rc = hn_forest_tree(f, e), root = rc < 0 ? rc : hn_forest_span(f, -1, token, r->n[0], e),
        at = r->n[0];
    if (root < 0) return root;
    if (d->kind == HN_DATA_CHAIN)
        return (rc = hn_forest_sample(f, e)) < 0 ? rc : acts(f, root, act, r->n[0], e);
    for (int side = 1; side < 3; side++) {
        int s = hn_forest_sample(f, e), span = s < 0 ? s : hn_forest_span(f, root, token + at, r->n[side], e);
        if (span < 0) return span;
        if ((rc = acts(f, span, act + at, r->n[side], e)) < 0) return rc;
        at += r->n[side];
    }
    return HN_OK;
}

int hn_dataset_trees(const hn_dataset *d, const int64_t *index, int64_t n, hn_forest *f, hn_err *e) {
    int rc = HN_OK;
    for (int64_t i = 0; i < n && !rc; i++) rc = tree(d, &d->row[index[i]], f, e);
    return rc;
}

int64_t hn_dataset_batches(const hn_dataset *d, int64_t size) { return (d->n_row + size - 1) / size; }

int hn_dataset_batch(const hn_dataset *d, uint64_t seed, int64_t batch, int64_t size, hn_forest *f,
                     hn_err *e) {
    int64_t per = hn_dataset_batches(d, size), epoch = batch / per, first = batch % per * size;
    int rc = HN_OK;
    for (int64_t i = first; i < first + size && i < d->n_row && !rc; i++) {
        int64_t at = i;
        if (!d->sequential)
            at = (int64_t)hn_permute(seed, hn_key(11, (uint64_t)epoch), (uint64_t)d->n_row, (uint64_t)i);
        rc = hn_dataset_trees(d, &at, 1, f, e);
    }
    return rc;
}
