/* memory.h - what a run will take, computed from the model's config and from recordings that are planned and
 * not taken: before anything large is allocated, and for models that would never fit.
 *
 * Every row is an amount that the code allocates, asked of the code that allocates it; the sum is the peak of
 * the process, because all of it is there at once during the backward pass of the first update. */
#ifndef HN_MEMORY_H
#define HN_MEMORY_H

#include "train/train.h"

typedef struct hn_memory_plan {
    const hn_hfconfig *config;
    int64_t vocab; /* ids the tokenizer has; 0: all of config's */
    hn_prec prec;
    const hn_algo *algo; /* NULL: no training */
    const void *priv;    /* the algo's options */
    int64_t reduce_slots;
    bool recompute;                  /* gradient_checkpointing */
    hn_forest grain;                 /* counts of the largest grain; nothing else is read */
    int generators;                  /* 0, 1: rollouts or evaluation, 2: both */
    int64_t slots, prompt, most_new; /* of a generator: answers at once, longest prompt, longest answer */
    bool rollback;                   /* weights and moments are kept to go back to */
    size_t here;                     /* what the process already has: program, tokenizer, rows */
} hn_memory_plan;

enum { HN_MEMORY_ROWS = 12 };
typedef struct hn_memory_row {
    const char *what;
    char how[80]; /* "4 bytes x 1,235,814,400 parameters" */
    size_t bytes;
    bool part; /* of the row above: not in the sum */
} hn_memory_row;

typedef struct hn_memory {
    hn_memory_row row[HN_MEMORY_ROWS];
    int n;
    size_t total;
    int64_t parameters;
} hn_memory;

int hn_memory_of(const hn_memory_plan *p, hn_memory *out, hn_err *e);
/* Counts of the largest grain over the trees of `f`, cut as the trainer cuts them; `most` is raised. */
int hn_memory_grain(const hn_forest *f, int grain_tokens, hn_forest *most, hn_err *e);
#endif
