/* ask.h - puts a task's items to a model and judges the answers: rollouts and evaluations alike. */
#ifndef HN_ASK_H
#define HN_ASK_H

#include "gen/gen.h"
#include "model/model.h"
#include "task/task.h"
#include "tensor/forest.h"

/* How answers are drawn.  Names and defaults are TRL's for GRPO. */
typedef struct hn_ask_config {
    int64_t max_completion_length, slots;
    hn_sampling how;
    const char *limit; /* what the user calls max_completion_length, for messages; NULL: that */
} hn_ask_config;

typedef struct hn_answer { /* one completion; token, logp and logp1 are n long, of which the last may be a
                              stop id */
    int32_t *token;
    hn_real *logp, *logp1;
    int n;
    bool cut;   /* hit max_completion_length */
    char *text; /* decoded, without special tokens */
    hn_verdict verdict;
    double reward;
} hn_answer;

typedef struct hn_asked { /* items [n], each with its prompt's ids and `per` answers: answer[item * per + k]
                           */
    int64_t n, per;
    hn_item *item;
    hn_ids *prompt;
    hn_answer *answer;
    int64_t tokens; /* generated */
    double seconds_generate, seconds_verify;
} hn_asked;
void hn_asked_release(hn_asked *a);

/* Progress of long generations: done answers of all, tokens so far; true stops (HN_ESTOP). */
typedef bool hn_ask_progress(void *ctx, int64_t done, int64_t all, int64_t tokens);

typedef struct hn_asker {
    hn_model *model;
    const hn_task *task;
    const void *priv; /* the task's options */
    hn_ask_config cfg;
    hn_gen *gen; /* made on first use */
    hn_ask_progress *progress;
    void *ctx;
} hn_asker;
void hn_asker_release(hn_asker *k);

/* Asks items index[0..n) of a split `per` times each.  Answer k of item i draws from the stream
 * (stream, i, k) of `seed`: the result does not depend on slots, batch or threads. */
int hn_ask(hn_asker *k, hn_split split, uint64_t task_seed, const int64_t *index, int64_t n, int per,
           uint64_t seed, uint64_t stream, hn_asked *out, hn_err *e);

/* As a forest: a tree an item, its prompt the root, its answers the children; columns old_logp, logp1 (per
 * act), reward (NaN: the verifier failed), group, truncated, max_new (per sample). */
int hn_asked_forest(const hn_asked *a, const hn_ask_config *c, hn_forest *f, hn_err *e);
#endif
