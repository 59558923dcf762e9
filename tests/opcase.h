/* opcase.h - runs one case of one operation, for tests of references and of kernels.
 *
 * Inputs and outputs lie in memory of their own between guards.  Guards, rows beyond the live counts and
 * outputs that are not added to hold NaN (integers: a number that is no index), so a kernel that reads where
 * it should not shows a NaN, and one that writes there is caught by opcase_run. */
#ifndef OPCASE_H
#define OPCASE_H

#include "op/ops.h"

extern const hn_op *const opcase_ops[]; /* the table of ops.h, NULL at the end */

typedef struct opcase {
    const hn_op *op;
    const hn_case *c;
    hn_tensor in[HN_MAXIN];   /* on no tape: shapes, types and memory of the inputs */
    hn_tensor *ptr[HN_MAXIN]; /* NULL where absent */
    void *block[HN_MAXIN];
    void *side[HN_MAXIN]; /* what a backend keeps beside inputs; the caller's */
    int64_t live[HN_LIVE_N];
} opcase;

enum { OPCASE_FULL, OPCASE_HALF, OPCASE_NONE, OPCASE_PARTS }; /* how many rows of the capacity are live */

/* Draws the inputs; false when the case has no live rows and `part` would change nothing. */
bool opcase_draw(opcase *k, const hn_op *op, const hn_case *c, int part, uint64_t seed);
void opcase_free(opcase *k);

/* Records leaves and the operation on t and sets t's live counts. */
hn_tensor *opcase_record(const opcase *k, hn_tape *t, hn_tensor *leaf[HN_MAXIN]);

typedef struct opout {
    int n;
    int64_t count[HN_MAXOUT], cols[HN_MAXOUT]; /* live elements; of them in a row */
    hn_real *data[HN_MAXOUT];                  /* NULL: left out */
    hn_real *block[HN_MAXOUT];
} opout;

/* Runs the case on backend b, or (b NULL) the reference one row at a time.  Outputs in `absent` are left out
 * as the planner would (spare ones only).  Outputs that are added to start from random numbers.  HN_ERANGE:
 * the kernel wrote outside its output.  o is the caller's to free, whatever is returned. */
int opcase_run(const opcase *k, const hn_backend *b, unsigned absent, opout *o, hn_err *e);
void opcase_free_out(opout *o);

/* Largest difference of live elements, |a - b| / max(1, largest |b| of the row); a NaN on either side stays
 * one, equal infinities are no difference. */
double opcase_diff(const opout *a, const opout *b);
double opcase_worse(double a, double b); /* the larger; a NaN is larger than anything (fmax would drop it) */
#endif
