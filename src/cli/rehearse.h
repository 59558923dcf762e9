/* rehearse.h - how the checks before a run are shown: `hone doctor` and --dry-run (train/preflight.h). */
#ifndef HN_CLI_REHEARSE_H
#define HN_CLI_REHEARSE_H

#include "cli/cli.h"
#include "task/task.h"
#include "train/preflight.h"

typedef struct hn_rehearsal {
    hn_preflight found; /* prints a line a check */
    hn_host host;
    bool paints;
    int width, shown;
} hn_rehearsal;

/* Looks at the machine; prints its checks and the libraries in use. */
void hn_rehearse_begin(hn_rehearsal *r);
/* Tokenizes prompts of the train split (up to `most`): the longest, and whether an answer of max_new fits. */
int64_t hn_rehearse_prompts(hn_rehearsal *r, const hn_model *m, const hn_task *t, const void *priv,
                            uint64_t seed, int64_t most, int64_t max_new);
/* Counts of the largest grain when each of `batch` samples has up to max_new tokens after a prompt, `per` of
 * them a tree. */
void hn_rehearse_grain(hn_forest *grain, int64_t prompt, int64_t max_new, int64_t per, int64_t batch,
                       int64_t grain_tokens);
/* The memory table and whether it fits. */
void hn_rehearse_memory(hn_rehearsal *r, hn_memory_plan *p);
/* The learning rate over a run. */
void hn_rehearse_schedule(hn_rehearsal *r, const hn_train_config *c, double peak, int64_t steps);
/* May `out` begin a run? */
void hn_rehearse_out(hn_rehearsal *r, const char *out, bool resume);
int hn_rehearse_end(const hn_rehearsal *r); /* the sum in a line; the exit code */
#endif
