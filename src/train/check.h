/* check.h - the invariants that make the numbers trustworthy, measured on a real model. */
#ifndef HN_CHECK_H
#define HN_CHECK_H

#include "model/model.h"

typedef struct hn_check_config {
    int64_t prompts, answers, max_new, max_prompt; /* rollouts to compare */
    int64_t most_slots, most_threads;
    double temperature;
    uint64_t seed;
} hn_check_config;

/* One line of a report: what was varied, over how many numbers, the largest difference, what is allowed. */
typedef struct hn_check_row {
    char what[120];
    int64_t count;
    double worst, allowed;
} hn_check_row;
typedef int hn_check_report(void *ctx, const hn_check_row *row, hn_err *e);

/* Sampled log-probabilities against the trainer's: over batch sizes 1..most_slots, threads 1..most_threads,
 * shared and unshared prompts, and random cuttings of each path into spans.  Leaves the pool with
 * most_threads threads. */
int hn_check_onpolicy(hn_model *m, const hn_check_config *c, hn_check_report *report, void *ctx, hn_err *e);
/* Gradients of one step: over micro-batches and threads (bitwise), shared against unshared prompts and packed
 * against one tree a grain (relative to the norm). */
int hn_check_packing(hn_model *m, const hn_check_config *c, hn_check_report *report, void *ctx, hn_err *e);
#endif
