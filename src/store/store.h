/* store.h - the run store: one SQLite file that remembers what every run was asked, did and left behind.
 *
 * A step's rows are written in one transaction and keyed by (run, step, ...), so writing a step again
 * replaces it, and a resume that first rewinds to its checkpoint leaves each step there once.  Several
 * processes may use one file.  Floats that are NaN are kept as such.  One handle serves one thread at a time.
 */
#ifndef HN_STORE_H
#define HN_STORE_H

#include "base/base.h"

typedef struct hn_store hn_store;

/* Where the store is when nobody says: $HONE_STORE, else "runs.db" in the current directory. */
const char *hn_store_path(void);

/* Opens or creates the file and brings it to the current schema.  HN_EPARSE: not a database, damaged, or
 * another program's; HN_EUNSUP: written by a newer version; HN_EIO: cannot be opened.  The file is then left
 * as it is. */
int hn_store_open(hn_store **out, const char *path, hn_err *e);
void hn_store_close(hn_store *s); /* NULL is fine; an open transaction is undone */

/* ---- writing ---- */
typedef struct hn_runrow {
    int64_t id, parent;  /* parent 0: none */
    const char *command; /* "sft", "improve", ... */
    const char *config;  /* all options as one JSON object */
    const char *status;  /* "running", "done", "failed", "stopped" */
    const char *out;     /* output directory; may be NULL, as all below */
    const char *version, *tier, *model_hash, *data_hash;
    int64_t seed;
    double started, finished; /* seconds since 1970; finished 0: not yet */
} hn_runrow;

/* Adds a run with status "running"; id, status and finished of *r are not read. */
int hn_store_run_new(hn_store *s, const hn_runrow *r, int64_t *id, hn_err *e);
/* Sets the status, and the time of the end unless it is "running". */
int hn_store_run_status(hn_store *s, int64_t run, const char *status, double now, hn_err *e);

/* Everything between begin and commit is there whole or not at all.  Single calls outside are transactions of
 * their own. */
int hn_store_begin(hn_store *s, hn_err *e);
int hn_store_commit(hn_store *s, hn_err *e);
void hn_store_undo(hn_store *s); /* drops what was written since begin; fine without one */

int hn_store_metric(hn_store *s, int64_t run, int64_t step, const char *key, double value, hn_err *e);
int hn_store_metrics(hn_store *s, int64_t run, int64_t step, int n, const char *const *keys,
                     const double *values, hn_err *e);

typedef struct hn_samplerow {
    int64_t step, index;
    const char *prompt, *completion;
    double reward;       /* NAN: not scored */
    const char *verdict; /* "pass", "fail", "error"; may be NULL */
    const char *json;    /* anything else as a JSON object; may be NULL */
} hn_samplerow;
int hn_store_sample(hn_store *s, int64_t run, const hn_samplerow *x, hn_err *e);

int hn_store_checkpoint(hn_store *s, int64_t run, int64_t step, const char *path, const char *sha256,
                        hn_err *e);

/* One round of the gated loop and where its receipt is. */
typedef struct hn_roundrow {
    int64_t round;
    bool accepted;
    double before, after, p;
    const char *receipt, *sha256;
} hn_roundrow;
int hn_store_round(hn_store *s, int64_t run, const hn_roundrow *x, hn_err *e);

/* Forgets what `run` wrote about steps after `step`: a resume from the checkpoint of that step begins so.
 * Sets the status to "running". */
int hn_store_rewind(hn_store *s, int64_t run, int64_t step, hn_err *e);
/* Puts everything written so far safely on the disk. */
int hn_store_sync(hn_store *s, hn_err *e);

/* ---- reading: rows come through callbacks; strings live until it returns; nonzero stops and is returned
 * ---- */
int hn_store_runs(hn_store *s, int (*row)(void *ctx, const hn_runrow *r), void *ctx,
                  hn_err *e); /* oldest first */
int hn_store_run(hn_store *s, int64_t run, int (*row)(void *ctx, const hn_runrow *r), void *ctx,
                 hn_err *e); /* HN_EPARSE: no such run */
typedef int hn_metric_row(void *ctx, int64_t step, const char *key, double value);
/* The last value of every key of a run, by key. */
int hn_store_last(hn_store *s, int64_t run, hn_metric_row *row, void *ctx, hn_err *e);
/* All values of one key (NULL: of all keys), by key and step. */
int hn_store_series(hn_store *s, int64_t run, const char *key, hn_metric_row *row, void *ctx, hn_err *e);
int hn_store_samples(hn_store *s, int64_t run, int64_t from_step, int64_t to_step,
                     int (*row)(void *ctx, const hn_samplerow *x), void *ctx, hn_err *e);
int hn_store_checkpoints(hn_store *s, int64_t run,
                         int (*row)(void *ctx, int64_t step, const char *path, const char *sha256), void *ctx,
                         hn_err *e);
int hn_store_rounds(hn_store *s, int64_t run, int (*row)(void *ctx, const hn_roundrow *x), void *ctx,
                    hn_err *e);

/* What differs between two runs: first settings ("config", values as text, NULL where a run has no such key),
 * then every metric of either ("metric", last values). */
int hn_store_compare(hn_store *s, int64_t a, int64_t b,
                     int (*row)(void *ctx, const char *kind, const char *key, const char *a, const char *b),
                     void *ctx, hn_err *e);
#endif
