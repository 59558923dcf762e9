/* state.h - the state of training on disk: a model directory with the optimizer's moments beside the weights.
 */
#ifndef HN_STATE_H
#define HN_STATE_H

#include "model/model.h"

/* Moments as optimizer.safetensors: exp_avg.<name>, exp_avg_sq.<name>, f32. */
int hn_moments_save(const hn_params *p, const char *path, hn_err *e);
int hn_moments_load(hn_params *p, const char *path, hn_err *e); /* another model's: HN_EPARSE */

/* A directory of weights (f32), moments and the update count (counters.json); loads back to the same bytes.
 */
int hn_state_save(const hn_model *m, const char *dir, int64_t step, hn_err *e);
int hn_state_load(hn_model *m, const char *dir, int64_t *step, hn_err *e);

/* Do all keys of `is` that decide the numbers have the same value in `was`?  The error names the first that
 * does not. */
int hn_state_same_config(const json_t *was, const json_t *is, const char *path, hn_err *e);
#endif
