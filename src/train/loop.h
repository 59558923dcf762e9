/* loop.h - a training run: steps from a source, checkpoints, resume.
 *
 * Everything a step does is a pure function of (config, step number, weights, moments): there is no other
 * state. So a checkpoint is the model directory plus moments and the step number, and a run that was killed
 * anywhere goes on from its newest checkpoint to the same bytes.  The loop reports through callbacks: it
 * knows neither the terminal nor the run store. */
#ifndef HN_LOOP_H
#define HN_LOOP_H

#include "model/model.h"
#include "train/train.h"

/* Where the forests come from: a dataset, or rollouts of the policy itself. */
typedef struct hn_source {
    void *ctx;
    /* Fills the empty forest of update batch `batch` (from 0): a pure function of batch and the current
     * weights. */
    int (*step)(void *ctx, int64_t batch, hn_forest *f, hn_metrics *m, hn_err *e);
    double batches_per_epoch;
} hn_source;

/* Who watches.  All may be NULL.  A callback that returns < 0 ends the run with its error. */
typedef struct hn_watch {
    void *ctx;
    int (*metrics)(void *ctx, int64_t step, const hn_metrics *m, bool log,
                   hn_err *e);                                          /* after every update */
    int (*evaluate)(void *ctx, int64_t step, hn_metrics *m, hn_err *e); /* every eval_steps */
    json_t *(*state)(void *ctx); /* what else a checkpoint has to remember: a new object, deterministic */
    int (*saved)(void *ctx, int64_t step, const char *dir, hn_err *e);
    int (*broken)(void *ctx, int64_t step, const hn_forest *f, hn_err *e); /* a step that was not finite */
    bool (*stop)(void *ctx);                                               /* asked between updates */
} hn_watch;

typedef struct hn_loop {
    hn_trainer *trainer;
    hn_model *model;
    hn_source source;
    hn_watch watch;
    const char *out;   /* run directory; checkpoints are out/checkpoint-N */
    json_t *config;    /* what the run is: stored in checkpoints, compared on resume */
    json_t *history;   /* logged metrics so far, as in trainer_state.json; owned */
    hn_st_dtype dtype; /* of saved weights */
    hn_metrics metrics;
} hn_loop;

/* How many updates the run has in all. */
int64_t hn_loop_steps(const hn_train_config *c, double batches_per_epoch);
/* The newest whole checkpoint under `out`: its step, its path in *dir (hn_free); 0 and NULL when there is
 * none. */
int64_t hn_checkpoint_newest(const char *out, char **dir, hn_err *e);
/* Loads weights, moments, step and history from a checkpoint.  Another tier, or a config whose keys that
 * decide the numbers differ, is an error that names them (`allow_tier`: not for the tier). */
int hn_loop_resume(hn_loop *l, const char *dir, bool allow_tier, hn_err *e);
/* What watch.state had put into a checkpoint; a new reference, NULL when there is nothing. */
json_t *hn_checkpoint_state(const char *dir);
int hn_loop_save(hn_loop *l, hn_err *e); /* out/checkpoint-<step> */
/* Runs to the end.  HN_ESTOP: watch.stop asked for it, and a checkpoint holds the state. */
int hn_loop_run(hn_loop *l, hn_err *e);
/* Writes the model as it is into `out` itself, an ordinary model directory beside the checkpoints: every file
 * in one step, config.json last, so that the folder is a model only once it is whole. */
int hn_loop_finish(hn_loop *l, hn_err *e);
void hn_loop_release(hn_loop *l);
#endif
