/* load.h - a user's file as a dataset: rows in the shapes people have, rendered and tokenized, with nothing
 * lost silently. */
#ifndef HN_LOAD_H
#define HN_LOAD_H

#include "base/opt.h"
#include "data/dataset.h"
#include "data/rows.h"
#include "model/model.h"

typedef struct hn_load_config {
    int64_t max_length;
    int overlong; /* 0 error, 1 drop, 2 truncate: what happens to a row of more than max_length tokens */
    bool assistant_only_loss, completion_only_loss;
    hn_table_config table; /* how the file is read: hn_table_opts */
} hn_load_config;
extern const hn_opt hn_load_opts[];

/* Reads `path` into *d (empty): pairs for preference learners, chains for the others.  What was understood,
 * and what was left out and why, is appended to `said`. */
int hn_load_rows(const hn_model *m, const char *path, const hn_load_config *c, bool pairs, hn_dataset *d,
                 hn_buf *said, hn_err *e);
#endif
