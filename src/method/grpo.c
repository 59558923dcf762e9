/* grpo.c - the method: every update learns from fresh rollouts of the policy on the task's train split.
 *
 * The groups whose answers are all right or all wrong carry no signal; they are kept, so that the loss keeps
 * its denominator, and counted (frac_reward_zero_std). */
#include "method/method.h"

static int step(void *priv, hn_round *r, int64_t i, hn_forest *f, hn_metrics *m, hn_err *e) {
    (void)priv;
    int64_t *index = hn_alloc((size_t)r->prompts * sizeof *index);
    if (!index) return hn_fail(e, HN_ENOMEM, "no memory for %lld prompts", (long long)r->prompts);
    hn_round_items(r, i, index, r->prompts);
    hn_asked a;
    uint64_t stream = hn_key(hn_key(0, (uint64_t)r->round), (uint64_t)i);
    int rc =
        hn_ask(r->asker, HN_SPLIT_TRAIN, r->seed, index, r->prompts, (int)r->per, r->seed, stream, &a, e);
    hn_free(index);
    if (rc) return rc;
    hn_asked_metrics(&a, r->asker->task->name, m);
    rc = hn_asked_forest(&a, &r->asker->cfg, f, e);
    if (!rc && r->record) rc = r->record(r->ctx, &a, e);
    hn_asked_release(&a);
    return rc;
}

const hn_method hn_method_grpo = { .name = "grpo",
                                   .help = "group-relative policy optimisation on fresh rollouts",
                                   .algo = "grpo",
                                   .step = step };
