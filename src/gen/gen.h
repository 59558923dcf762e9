/* gen.h - letting a model act: continuous batching over one forest of cached pages.
 *
 * Rollouts, evaluation, chat and later the server all submit requests here; there is one decoding loop
 * in the project.  What a request gets depends on its own prompt, sampling and random stream alone:
 * never on what else runs, on the batch size or on the number of threads, and the log-probabilities
 * stored with the tokens are the numbers the trainer computes for them, bit for bit. */
#ifndef HN_GEN_H
#define HN_GEN_H

#include "model/transformer.h"

typedef struct hn_sampling {
    double temperature; /* 0: greedy */
    double top_p;       /* 1: off */
    double min_p;       /* 0: off */
    int64_t top_k;      /* 0: off */
} hn_sampling;

typedef enum {
    HN_GEN_WAITING,
    HN_GEN_RUNNING,
    HN_GEN_ENDED,   /* chose a stop id (which is the last of out) */
    HN_GEN_STOPPED, /* on_token said so (a stop string) */
    HN_GEN_CUT      /* max_new tokens without an end */
} hn_gen_state;

typedef struct hn_request hn_request;
struct hn_request {
    const int32_t *prompt; /* the caller's, alive until the end.  Requests submitted one after the other with
                              the same pointer share the computation and the memory of the prompt */
    int n_prompt, max_new;
    hn_sampling how;
    uint64_t seed, stream; /* token i draws hn_rand01(seed, stream, i) */
    const int32_t *stop;   /* ids that end the answer */
    int n_stop;
    /* After each token, from the thread that called hn_gen_step; true ends the answer.  May be NULL. */
    bool (*on_token)(hn_request *r, int32_t id);
    void *ctx;
    int32_t *out;          /* [max_new] caller's memory */
    hn_real *logp, *logp1; /* [max_new] log-probability at `temperature` (greedy: at 1) and at temperature 1,
                              before top-k and friends; may be NULL */
    int n_out;
    hn_gen_state state;
};

typedef struct hn_gen hn_gen;
/* slots: answers computed at once.  max_len: longest prompt + answer in tokens. */
int hn_gen_open(hn_gen **g, hn_transformer *m, int slots, int max_len, hn_err *e);
void hn_gen_close(hn_gen *g);
int hn_gen_max_len(const hn_gen *g);
hn_tape *hn_gen_tape(const hn_gen *g); /* of a step, for a profile (hn_tape_profile) */
/* Makes sure that *g has room for prompts of `longest` tokens and answers of `most`; `limit` names the key
 * that sets `most`, for the message when the model is not made for so many.  A *g of NULL is opened. */
int hn_gen_room(hn_gen **g, hn_transformer *m, int slots, int64_t longest, int64_t most, const char *limit,
                hn_err *e);
int hn_gen_len(const hn_transformer *m, int64_t longest, int64_t most); /* the max_len it opens with */
/* Bytes of the cache, and of all else, that hn_gen_open would take; m may be described (nn/params.h). */
int hn_gen_measure(hn_transformer *m, int slots, int max_len, size_t *cache, size_t *rest, hn_err *e);
int hn_gen_submit(hn_gen *g, hn_request *r, hn_err *e);
/* Advances everything by one step; how many requests are unfinished, or < 0.  The weights may change between
 * steps only when nothing is unfinished. */
int64_t hn_gen_step(hn_gen *g, hn_err *e);
/* Submits and steps until all n are done.  progress(ctx, done, tokens) after each step returns true to stop
 * early (HN_ESTOP); NULL: none. */
int hn_gen_run(hn_gen *g, hn_request *r, int64_t n, bool (*progress)(void *ctx, int64_t done, int64_t tokens),
               void *ctx, hn_err *e);
void hn_gen_reset(hn_gen *g); /* forgets all requests and pages, after an error */

/* One draw: the token chosen from a row of logits [n], u in [0,1).  Greedy for temperature 0 (lowest id wins
 * ties). */
int32_t hn_sample(const hn_real *logits, int64_t n, const hn_sampling *how, double u, void *scratch);
size_t hn_sample_scratch(int64_t n); /* bytes */
#endif
