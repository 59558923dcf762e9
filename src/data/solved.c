/* solved.c - items of a task and their worked solutions as tokenized rows. */
#include "data/solved.h"

#include <string.h>

static int one(const hn_model *m, const hn_item *it, bool whole, int64_t max_length, hn_dataset *d,
               int64_t *over, hn_err *e) {
    hn_ids id = { 0 };
    int rc = hn_model_prompt(m, it->prompt, it->messages, &id, e);
    int64_t prompt = id.n;
    if (!rc) rc = hn_model_encode(m, it->solution, strlen(it->solution), false, &id, e);
    if (!rc && m->n_stop) rc = hn_ids_add(&id, m->stop[0], 0, 0);
    uint8_t *act = rc ? NULL : hn_alloc((size_t)id.n + 1);
    if (!rc && !act) rc = hn_fail(e, HN_ENOMEM, "no memory for a row");
    if (!rc && id.n > max_length) {
        ++*over;
    } else if (!rc) {
        for (int64_t i = whole ? 1 : prompt; i < id.n; i++) act[i] = 1;
        rc = hn_dataset_chain(d, id.id, act, (int)id.n, e);
    }
    hn_free(act);
    hn_ids_free(&id);
    return rc;
}

int hn_solved_rows(const hn_model *m, const hn_task *t, const void *priv, uint64_t seed, int64_t from,
                   int64_t n, bool whole, int64_t max_length, hn_dataset *d, int64_t *over, hn_err *e) {
    int64_t all = t->count(priv, HN_SPLIT_TRAIN);
    int rc = HN_OK;
    if (!m->tok) return hn_fail(e, HN_EUNSUP, "%s has no tokenizer", m->dir);
    for (int64_t i = from; i < from + n && (all < 0 || i < all) && !rc; i++) {
        hn_item it = { 0 };
        rc = t->item(priv, HN_SPLIT_TRAIN, seed, i, &it, e);
        if (!rc && !it.solution)
            rc = hn_fail(e, HN_EUNSUP, "task %s has no worked solution for item %s: nothing to learn by sft",
                         t->name, it.id ? it.id : "?");
        if (!rc) rc = one(m, &it, whole, max_length, d, over, e);
        hn_item_release(&it);
    }
    return rc;
}
