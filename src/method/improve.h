/* improve.h - the gated loop: sample, verify, learn, evaluate, then accept or roll back.
 *
 * The train split feeds the method, the gate split decides every round by a paired exact test, the test split
 * is opened once, after the last round.  The chance of accepting noise in any round stays below `alpha` in
 * all, because the rounds share it.  A round that is not accepted leaves weights, optimizer and counters as
 * they were.  Every round leaves a receipt. */
#ifndef HN_IMPROVE_H
#define HN_IMPROVE_H

#include "base/stats.h"
#include "method/method.h"

typedef struct hn_improve_config {
    int64_t rounds, updates, prompts, per, batch; /* updates: most a round */
    int64_t gate_items, test_items;
    double alpha;
    int alpha_rule; /* hn_alpha_rule */
} hn_improve_config;
extern const hn_opt hn_improve_opts[];

typedef struct hn_improve_watch { /* all may be NULL */
    void *ctx;
    void (*phase)(void *ctx, int64_t round, const char *what, int64_t total); /* "gate", "learn", "test" */
    void (*progress)(void *ctx, int64_t done, int64_t tokens);
    int (*metrics)(void *ctx, int64_t step, const hn_metrics *m, hn_err *e);
    int (*receipt)(void *ctx, int64_t round, const json_t *receipt, hn_err *e);
    bool (*stop)(void *ctx);
} hn_improve_watch;

/* One model's answers to a fixed list of items, kept for pairing. */
typedef struct hn_exam {
    int64_t n, passed, errors;
    hn_verdict *verdict; /* [n] */
    char **id, **prompt, **answer;
} hn_exam;
void hn_exam_release(hn_exam *x);
int hn_exam_take(hn_asker *k, hn_split split, uint64_t seed, int64_t n, hn_exam *out,
                 hn_err *e); /* n cut to the split */
/* Items that went from fail to pass and back; both exams are of the same items. */
hn_mcnemar hn_exam_compare(const hn_exam *before, const hn_exam *after);

typedef struct hn_improve {
    hn_improve_config cfg;
    hn_train_config train;
    hn_model *model;
    const hn_method *method;
    void *method_priv;
    const hn_algo *algo;
    const void *algo_priv;
    hn_asker asker, examiner; /* how the policy is sampled; how it is examined (greedy) */
    uint64_t seed;
    const char *out;
    json_t *config; /* what the run is, for receipts and resume */
    hn_improve_watch watch;
    /* results */
    int64_t accepted, head; /* rounds kept; the newest of them (0: the model as given) */
    hn_exam before, after;  /* the test split, after the last round */
    json_t *final;          /* the last receipt: test before and after */
} hn_improve;

/* Runs (or goes on with) all rounds.  out/round-K holds receipt.json, gate.jsonl, data.jsonl and, when
 * accepted, model/; out/model is the newest accepted model; out/improve.json says which it is. */
int hn_improve_run(hn_improve *im, bool resume, hn_err *e);
void hn_improve_release(hn_improve *im);
/* Moves the head of a finished run back to the round before (or `round` >= 0; 0: nothing accepted, out/model
 * is the model as given).  *head: where it is now. */
int hn_improve_rollback(const char *out, int64_t round, int64_t *head, hn_err *e);
#endif
