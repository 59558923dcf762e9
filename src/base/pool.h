/* pool.h - one pool of threads for the whole process.
 *
 * A loop is cut into slices; a slice may write only what it owns, and what it computes may
 * not depend on how the loop was cut.  That is the whole threading model, and the reason
 * why results do not depend on the number of threads.
 *
 * Workers spin shortly, then yield, then sleep (design.md section 5: OpenMP pools collapse
 * when another process competes for the cores; this one must not). */
#ifndef HN_POOL_H
#define HN_POOL_H

#include "base/base.h"

typedef void hn_slice_fn(void *ctx, int64_t lo, int64_t hi);

/* Starts (or restarts) the pool with n threads, the caller included; n <= 0: one per core this
 * process may run on.  Call only while no hn_parallel is under way. */
int hn_pool_start(int n, hn_err *e);
void hn_pool_stop(void);   /* joins the workers; hn_parallel then runs in the caller */
int hn_pool_threads(void); /* 1 before hn_pool_start */
int hn_pool_cores(void);   /* cores this process may run on */

/* Calls fn on disjoint slices that cover [0,n), each of at most `grain` items (grain >= 1) and
 * starting at a multiple of grain.  Returns when all are done.  A call from inside a slice runs
 * in that thread. */
void hn_parallel(int64_t n, int64_t grain, hn_slice_fn *fn, void *ctx);
#endif
