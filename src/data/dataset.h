/* dataset.h - tokenized rows, and the forest of an update: a pure function of (seed, batch number).
 *
 * A row is a chain (text, conversation, prompt and completion) or a pair (prompt, chosen, rejected).  The
 * order of an epoch is a permutation computed from (seed, epoch), so the cursor of a run is one number and
 * resuming costs nothing. */
#ifndef HN_DATASET_H
#define HN_DATASET_H

#include "base/base.h"
#include "tensor/forest.h"

typedef enum { HN_DATA_CHAIN, HN_DATA_PAIR } hn_data_kind;

typedef struct hn_datarow {
    int64_t at;   /* of its first token */
    int32_t n[3]; /* tokens of the chain (and 0, 0), or of prompt, chosen, rejected */
} hn_datarow;

typedef struct hn_dataset {
    hn_data_kind kind;
    int32_t *token;
    uint8_t *act; /* 1: the learner is trained on this token */
    hn_datarow *row;
    int64_t n_token, n_row, n_act, longest, cap_token, cap_act, cap_row;
    bool sequential; /* every epoch takes the rows in their order, not in a new one */
} hn_dataset;
void hn_dataset_release(hn_dataset *d);

/* Appends a row.  act[i] marks trained tokens of a chain; the first token cannot be one (nothing predicts
 * it).  In a pair all tokens of both answers are trained. */
int hn_dataset_chain(hn_dataset *d, const int32_t *token, const uint8_t *act, int n, hn_err *e);
int hn_dataset_pair(hn_dataset *d, const int32_t *prompt, int n, const int32_t *chosen, int nc,
                    const int32_t *rejected, int nr, hn_err *e);

/* Rows index[0..n) as trees of f: a chain is one span and one sample; a pair is a root with two children,
 * sample 2i the chosen one. */
int hn_dataset_trees(const hn_dataset *d, const int64_t *index, int64_t n, hn_forest *f, hn_err *e);
/* Rows of update `batch` (from 0) of `size` rows; the last of an epoch may be smaller. */
int hn_dataset_batch(const hn_dataset *d, uint64_t seed, int64_t batch, int64_t size, hn_forest *f,
                     hn_err *e);
int64_t hn_dataset_batches(const hn_dataset *d, int64_t size); /* an epoch */
#endif
