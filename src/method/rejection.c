/* rejection.c - rejection sampling: the model's own verified answers become its training text.
 *
 * A round asks `prompts` items `per` times each, keeps the answers the verifier passed (the same answer to
 * the same item once, at most keep_per_prompt an item, those that ended by themselves), and trains sft on
 * them (RAFT, Dong et al. 2023, arXiv:2304.06767; STaR without rationalisation, Zelikman et al. 2022,
 * arXiv:2203.14465). */
#include "method/method.h"

#include <string.h>

typedef struct {
    int64_t keep_per_prompt;
    double epochs;
    hn_forest kept;
} rejection;

/* clang-format off */
static const hn_opt opts[] = {
    { .name = "keep_per_prompt", .help = "verified answers kept of one item", .type = HN_OPT_INT,
      .at = offsetof(rejection, keep_per_prompt), .def = 2, .min = 1, .max = 1e6 },
    { .name = "rejection_epochs", .help = "passes over a round's verified answers", .type = HN_OPT_NUM,
      .at = offsetof(rejection, epochs), .def = 2, .min = 0.01, .max = 1000 },
    { 0 },
};
/* clang-format on */

static bool seen_before(const hn_asked *a, int64_t item, int64_t k) {
    const hn_answer *w = &a->answer[item * a->per];
    for (int64_t i = 0; i < k; i++)
        if (w[i].verdict == HN_PASS && w[i].n == w[k].n &&
            !memcmp(w[i].token, w[k].token, (size_t)w[k].n * sizeof *w[k].token))
            return true;
    return false;
}

static int keep(rejection *o, const hn_asked *a, hn_err *e) {
    for (int64_t i = 0; i < a->n; i++) {
        int64_t taken = 0;
        for (int64_t k = 0; k < a->per && taken < o->keep_per_prompt; k++) {
            const hn_answer *w = &a->answer[i * a->per + k];
            if (w->verdict != HN_PASS || w->cut || seen_before(a, i, k)) continue;
            int rc = hn_forest_tree(&o->kept, e); /* one tree an answer: updates are cut by answers */
            int root = rc < 0 ? rc : hn_forest_span(&o->kept, -1, a->prompt[i].id, (int)a->prompt[i].n, e);
            int s = root < 0 ? root : hn_forest_sample(&o->kept, e);
            int span = s < 0 ? s : hn_forest_span(&o->kept, root, w->token, w->n, e);
            if (span < 0) return span;
            for (int t = 0; t < w->n; t++)
                if ((rc = hn_forest_act(&o->kept, span, t, e)) < 0) return rc;
            taken++;
        }
    }
    return HN_OK;
}

static int begin(void *priv, hn_round *r, hn_metrics *m, hn_err *e) {
    rejection *o = priv;
    hn_forest_init(&o->kept);
    int64_t *index = hn_alloc((size_t)r->prompts * sizeof *index);
    if (!index) return hn_fail(e, HN_ENOMEM, "no memory for %lld prompts", (long long)r->prompts);
    hn_round_items(r, 0, index, r->prompts);
    hn_asked a;
    int rc = hn_ask(r->asker, HN_SPLIT_TRAIN, r->seed, index, r->prompts, (int)r->per, r->seed,
                    hn_key(0, (uint64_t)r->round), &a, e);
    hn_free(index);
    if (rc) return rc;
    hn_asked_metrics(&a, r->asker->task->name, m);
    rc = keep(o, &a, e);
    if (!rc && r->record) rc = r->record(r->ctx, &a, e);
    hn_metrics_set(m, "rejection/kept", o->kept.n_tree);
    hn_metrics_set(m, "rejection/asked", (double)(a.n * a.per));
    hn_asked_release(&a);
    return rc;
}

static int step(void *priv, hn_round *r, int64_t i, hn_forest *f, hn_metrics *m, hn_err *e) {
    rejection *o = priv;
    (void)m;
    int64_t n = o->kept.n_tree, at = i * r->batch, all = (int64_t)(o->epochs * (double)n);
    hn_forest one;
    hn_forest_init(&one);
    int rc = HN_OK;
    for (int64_t k = at; k < at + r->batch && k < all && !rc; k++) {
        int t = (int)hn_permute(r->seed, hn_key(2, (uint64_t)(r->round * 1000 + k / n)), (uint64_t)n,
                                (uint64_t)(k % n));
        rc = hn_forest_slice(&o->kept, t, t + 1, &one, e);
        if (!rc) rc = hn_forest_append(f, &one, e);
    }
    hn_forest_release(&one);
    return rc;
}

static void end(void *priv) { hn_forest_release(&((rejection *)priv)->kept); }

const hn_method hn_method_rejection = {
    .name = "rejection",
    .help = "learn from the model's own verified answers (rejection sampling, then sft)",
    .priv_size = sizeof(rejection),
    .opts = opts,
    .algo = "sft",
    .begin = begin,
    .step = step,
    .end = end
};
