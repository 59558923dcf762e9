/* preflight.h - the checks before a run, one implementation for `hone doctor` and --dry-run: each finds
 * something, says it in a sentence and, where it is not well, what to do.  Nothing large is allocated. */
#ifndef HN_PREFLIGHT_H
#define HN_PREFLIGHT_H

#include "base/host.h"
#include "data/dataset.h"
#include "model/model.h"
#include "train/memory.h"

typedef enum { HN_FOUND_OK, HN_FOUND_WARN, HN_FOUND_FAIL, HN_FOUND_SKIP } hn_found;

/* Who listens.  remedy: "" where there is nothing to do. */
typedef struct hn_preflight {
    void (*found)(void *ctx, hn_found how, const char *what, const char *said, const char *remedy);
    void *ctx;
    int fails, warnings;
} hn_preflight;
void hn_preflight_say(hn_preflight *p, hn_found how, const char *what, const char *remedy, const char *fmt,
                      ...) __attribute__((format(printf, 5, 6)));

/* Processor and tier, threads and cores, memory of the machine. */
void hn_preflight_host(hn_preflight *p, const hn_host *h);
/* config.json, weights against it, tokenizer, vocabulary, template, stop tokens.  *m: the model without its
 * weights, or NULL when even its config cannot be read; m->tok is NULL when the tokenizer cannot. */
void hn_preflight_model(hn_preflight *p, const char *dir, hn_model **m);
/* The last trained token of every row against the stop set. */
void hn_preflight_ends(hn_preflight *p, const hn_model *m, const hn_dataset *d);
/* Does it fit, by the table and by what is available? */
void hn_preflight_memory(hn_preflight *p, const hn_memory *m, const hn_host *h);
/* Room for the checkpoints of a run, and may `out` be written? */
void hn_preflight_disk(hn_preflight *p, const char *out, int64_t parameters, const hn_train_config *c,
                       int64_t steps, hn_st_dtype save);
/* Writes the model into a folder of its own inside `out` (or where `out` will be), reads it back and compares
 * bit by bit; the folder is removed. */
void hn_preflight_save(hn_preflight *p, const char *dir, const char *out, hn_prec prec);

/* 12.3 MB, 1.45 GB */
void hn_bytes_text(double bytes, char out[16]);
#endif
