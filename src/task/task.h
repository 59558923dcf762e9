/* task.h - a task gives prompts and scores answers: a game that ends after one move.
 *
 * An item is a pure function of (split, seed, index), so any rollout can be replayed alone and an
 * evaluation can be paired item by item.  The three splits are disjoint by construction: a problem
 * belongs to the split that a hash of the problem itself names, whatever seed produced it.
 *
 * A verdict is pass, fail or error.  An error says that the verifier could not judge (a broken gold
 * answer, a pattern that ran out of its match limit); it is counted apart and is never a reward. */
#ifndef HN_TASK_H
#define HN_TASK_H

#include "base/base.h"
#include "base/opt.h"

#include <jansson.h>

typedef enum { HN_FAIL, HN_PASS, HN_ERROR } hn_verdict;
typedef enum { HN_SPLIT_TRAIN, HN_SPLIT_GATE, HN_SPLIT_TEST, HN_SPLITS } hn_split;

/* One problem.  Either prompt or messages is set.  Everything belongs to the item. */
typedef struct hn_item {
    char *id;         /* names the problem: equal ids are the same problem, in whatever run */
    char *prompt;     /* plain text that a completion continues, or NULL */
    json_t *messages; /* [{"role","content"},...] for a chat template, or NULL */
    char *answer;     /* gold; for countdown one of many right answers; NULL when none is known */
    char *solution;   /* a worked right completion: prompt followed by it is a training text; may be NULL */
    json_t *extra;    /* what verify needs beyond the answer; may be NULL */
} hn_item;

typedef struct hn_task {
    HN_PLUGIN;
    /* priv is zeroed and has its options; open reads files and checks that every split has items. */
    int (*open)(void *priv, hn_err *e);
    void (*close)(void *priv); /* frees what open made; safe after a failed open */
    /* Items of a split; < 0: endless, any index >= 0 is an item. */
    int64_t (*count)(const void *priv, hn_split s);
    /* Fills *out (zeroed by the caller, freed by hn_item_release).  A pure function of its arguments,
     * safe from any thread; a counted task does not use the seed.  0 <= i < count. */
    int (*item)(const void *priv, hn_split s, uint64_t seed, int64_t i, hn_item *out, hn_err *e);
    /* Judges n bytes of completion (no 0 byte needed, any bytes).  Safe from any thread.  *reward is
     * 1 for a pass and 0 for the rest unless the task says otherwise in its help; *why (may be NULL)
     * says why not, also for a fail. */
    hn_verdict (*verify)(const void *priv, const hn_item *it, const char *completion, size_t n,
                         double *reward, hn_err *why);
    /* One line for logs and receipts: how many items, which file, its hash. */
    void (*about)(const void *priv, hn_buf *out);
} hn_task;

#define HN_TASK(name) extern const hn_task hn_task_##name;
#include "task/tasks.h"
#undef HN_TASK

/* The task of that name, or NULL and an error that names the nearest. */
const hn_task *hn_task_find(const char *name, hn_err *e);
const hn_task *const *hn_task_all(int *n);

/* The task's private struct with its options taken from `set` (which gets them as a group and must not
 * outlive priv); not opened yet.  hn_task_free closes and frees it; NULL is fine. */
int hn_task_new(void **priv, const hn_task *t, hn_optset *set, hn_err *e);
void hn_task_free(const hn_task *t, void *priv);

void hn_item_release(hn_item *it); /* frees the fields and zeroes them */
const char *hn_split_name(hn_split s);

/* ---- for tasks ---------------------------------------------------------------- */
/* The split that the 64-bit hash of a problem falls into: 8 in 10 train, 1 gate, 1 test. */
hn_split hn_split_of(uint64_t hash);
/* FNV-1a over bytes, finished by hn_key; fixed for ever, because the splits of old runs depend on it. */
uint64_t hn_task_hash(const void *p, size_t n);
/* A stream of random numbers of one item. */
typedef struct hn_dice {
    uint64_t seed, stream, i;
} hn_dice;
hn_dice hn_dice_of(const char *task, hn_split s, uint64_t seed, int64_t i);
int64_t hn_dice_roll(hn_dice *d, int64_t n); /* in [0,n) */
/* Sets prompt "Q: question\nA:" and solution " worked" (text form), or messages with one user turn and
 * the solution as it is.  worked may be NULL.  HN_ENOMEM. */
int hn_item_ask(hn_item *it, bool messages, const char *question, const char *worked, hn_err *e);
/* Judges a number: what follows the marker, or, when lenient, where hn_answer_number finds it. */
hn_verdict hn_verdict_number(const hn_item *it, const char *text, size_t n, const char *marker, bool lenient,
                             double *reward, hn_err *why);
/* The verdict with its reward (1 or 0) and reason in one line. */
hn_verdict hn_verdict_pass(double *reward);
hn_verdict hn_verdict_fail(double *reward, hn_err *why, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
hn_verdict hn_verdict_error(double *reward, hn_err *why, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
#endif
