/* solved.h - a task's worked solutions as training rows: how a base model is made. */
#ifndef HN_SOLVED_H
#define HN_SOLVED_H

#include "data/dataset.h"
#include "model/model.h"
#include "task/task.h"

/* Items [from, from + n) of the train split with their solutions: prompt + solution + end of text, trained on
 * the solution and the end (`whole`: on the prompt as well).  Rows longer than max_length tokens are counted
 * in *over and left out. */
int hn_solved_rows(const hn_model *m, const hn_task *t, const void *priv, uint64_t seed, int64_t from,
                   int64_t n, bool whole, int64_t max_length, hn_dataset *d, int64_t *over, hn_err *e);
#endif
