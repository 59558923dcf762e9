/* method.h - how a model and a task become data for a learner.  One file a method, one callback a phase;
 * sampling, judging, learning, the gate and rollback are the same for all (improve.h). */
#ifndef HN_METHOD_H
#define HN_METHOD_H

#include "train/ask.h"
#include "train/train.h"

typedef struct hn_round { /* one round of improvement, as a method sees it */
    hn_model *model;
    hn_asker *asker; /* asks the policy; its split is always train here */
    uint64_t seed;
    int64_t round;   /* from 1 */
    int64_t prompts; /* a batch of rollouts, or of the round's collection */
    int64_t per;     /* answers a prompt (num_generations) */
    int64_t batch;   /* rows an update learns from */
    /* Every answer a method draws goes through here: the round's record and its counts. */
    int (*record)(void *ctx, const hn_asked *a, hn_err *e);
    void *ctx;
} hn_round;

typedef struct hn_method {
    HN_PLUGIN;
    const char *algo; /* the learner its data is for */
    /* Before the updates of a round: collects what is collected once.  NULL: nothing. */
    int (*begin)(void *priv, hn_round *r, hn_metrics *m, hn_err *e);
    /* The forest of update `i` (from 0) of the round; f is empty.  No tree in f: nothing to learn (left), the
     * round's updates end here. */
    int (*step)(void *priv, hn_round *r, int64_t i, hn_forest *f, hn_metrics *m, hn_err *e);
    void (*end)(void *priv); /* frees what begin and step made */
} hn_method;

const hn_method *hn_method_find(const char *name, hn_err *e); /* HN_EPARSE: names the nearest */
extern const hn_method *const hn_method_list[];               /* NULL-ended */

/* Indices of `n` items of the train split, different in every (round, batch) until a counted task is used up,
 * then in a new order: a pure function of its arguments. */
void hn_round_items(const hn_round *r, int64_t batch, int64_t *index, int64_t n);
/* Metrics every method shows of its answers: reward, share correct, lengths, verifier errors. */
void hn_asked_metrics(const hn_asked *a, const char *task, hn_metrics *m);

#define HN_METHOD(name) extern const hn_method hn_method_##name;
#include "method/methods.h"
#undef HN_METHOD
#endif
