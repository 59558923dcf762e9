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
    bool allow_double_bos, allow_untrained, allow_all_trained; /* rows that are refused unless asked for */
    hn_table_config table;                                     /* how the file is read: hn_table_opts */
} hn_load_config;
extern const hn_opt hn_load_opts[];

/* What is wrong with a row. */
enum {
    HN_ROW_DOUBLE_BOS = 1, /* it begins with two of the token that begins a text */
    HN_ROW_UNTRAINED = 2,  /* no token of it (of one of its answers) is trained */
    HN_ROW_ALL_TRAINED =
        4,          /* it has a prompt or messages, and every token is trained though nobody said so */
    HN_ROW_LONG = 8 /* more than max_length tokens, and not cut */
};
typedef struct hn_loaded {
    int64_t line;
    const int32_t *token; /* the chain, or prompt, chosen and rejected one after the other */
    const uint8_t *act;   /* trained */
    int32_t n[3];         /* of the chain (and 0, 0), or of the three */
    int64_t length;       /* of its longest path before anything was cut */
    unsigned flaws;
} hn_loaded;
typedef enum { HN_LOAD_CHAINS, HN_LOAD_PAIRS, HN_LOAD_ANY } hn_load_kind;
typedef int hn_load_row(void *ctx, const hn_loaded *row, hn_err *e); /* < 0 ends the reading */

/* Renders and tokenizes every row of `path`, good and bad; `said` gets what was understood. */
int hn_load_each(const hn_model *m, const char *path, const hn_load_config *c, hn_load_kind kind,
                 hn_load_row *row, void *ctx, hn_buf *said, hn_err *e);

/* Counts of flawed rows and the lines of the first of each, for one message about all of them. */
enum { HN_FLAWS = 4, HN_FLAW_LINES = 4 };
typedef struct hn_load_tally {
    int64_t rows, n[HN_FLAWS], line[HN_FLAWS][HN_FLAW_LINES];
} hn_load_tally;
void hn_load_count(hn_load_tally *t, const hn_loaded *row);
/* HN_EPARSE or HN_ERANGE when the config does not allow what was counted: one message, by kind and line. */
int hn_load_judge(const hn_load_tally *t, const hn_model *m, const char *path, const hn_load_config *c,
                  hn_err *e);

/* Reads `path` into *d (empty): pairs for preference learners, chains for the others.  What was understood,
 * and what was left out and why, is appended to `said`. */
int hn_load_rows(const hn_model *m, const char *path, const hn_load_config *c, bool pairs, hn_dataset *d,
                 hn_buf *said, hn_err *e);
#endif
