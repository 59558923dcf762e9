/* record.h - what a run leaves behind besides models: the run store, TensorBoard events, a file that names
 * them. */
#ifndef HN_CLI_RECORD_H
#define HN_CLI_RECORD_H

#include "algo/algo.h"
#include "cli/cli.h"
#include "model/model.h"
#include "store/store.h"

#include <jansson.h>

typedef struct hn_record hn_record;

/* Takes the folder of a run for this process (hn_dir_lock), made when it is not there.  Unless `resume`, a
 * folder that holds another run, or a model that the run would overwrite, is an error. */
typedef struct hn_claim {
    const char *out; /* NULL: nothing is claimed */
    int lock;
    bool made; /* it was not there before */
} hn_claim;
int hn_record_claim(hn_claim *c, const char *out, bool resume, hn_err *e);
/* Lets it go; a folder that was made for the run and holds nothing is removed. */
void hn_record_unclaim(hn_claim *c);

/* Opens the record of the run in `out`, which has been claimed (run.json there names store, run and event
 * file).  `resume`: what was written after `step` is forgotten and events go on at byte `events`. */
int hn_record_open(hn_record **r, const char *out, const char *command, const char *store, json_t *config,
                   uint64_t seed, bool resume, int64_t step, int64_t events, hn_err *e);
/* What a run is: the command's options (without those that only say how it is looked at: resume, quiet, ...),
 * the hash of the model's weights and of the data file.  A new reference. */
int hn_record_config(hn_cli *c, const hn_model *m, json_t **config);
int hn_record_metrics(hn_record *r, int64_t step, const hn_metrics *m, hn_err *e);
int hn_record_sample(hn_record *r, const hn_samplerow *row, hn_err *e);
int hn_record_checkpoint(hn_record *r, int64_t step, const char *dir, hn_err *e);
int hn_record_round(hn_record *r, const hn_roundrow *row, hn_err *e);
int64_t hn_record_events(const hn_record *r); /* bytes of the event file: a checkpoint stores it */
/* status: done, failed, stopped.  NULL is fine. */
void hn_record_close(hn_record *r, const char *status);
/* The same for a run that failed before there was anything to go on from: its folder is free for another. */
void hn_record_discard(hn_record *r);
int64_t hn_record_run(const hn_record *r);
#endif
