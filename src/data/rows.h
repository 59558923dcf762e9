/* rows.h - rows of a user's file in the shapes people have, brought to one form.
 *
 * Read are TRL's shapes (text; messages; prompt; prompt + completion; prompt + chosen + rejected, the prompt
 * given or implicit; prompt + completion + label; each as text or as messages), Alpaca (instruction, input,
 * output) and ShareGPT (conversations of from/value), the last two with chosen and rejected as well.  The
 * shape is found in the first row; a later row of another shape is an error that names it.  What was
 * understood is told in one sentence (hn_table_about), so that nothing is guessed in silence.
 *
 * Every row is checked once at opening and parsed again when asked for, so memory is 24 bytes a row. */
#ifndef HN_ROWS_H
#define HN_ROWS_H

#include "base/jsonl.h"
#include "base/opt.h"

typedef enum {
    HN_ROWS_WHOLE,      /* language modelling: one text or conversation, in `answer` */
    HN_ROWS_PROMPT,     /* a prompt alone */
    HN_ROWS_ANSWER,     /* prompt and completion */
    HN_ROWS_PREFERENCE, /* prompt, chosen (`answer`) and rejected */
    HN_ROWS_UNPAIRED    /* prompt, completion and label */
} hn_table_kind;

/* Text or messages [{"role","content",...}], never both; neither where the kind has no such part. */
typedef struct hn_part {
    char *text;
    json_t *messages;
} hn_part;

typedef struct hn_entry {
    hn_part prompt, answer, rejected;
    bool label;     /* HN_ROWS_UNPAIRED: the completion is wanted */
    json_t *tools;  /* list for the chat template, or NULL */
    json_t *kwargs; /* further variables of the chat template, or NULL */
    json_t *row;    /* the whole row as the file has it: other columns go to reward functions */
} hn_entry;
void hn_entry_release(hn_entry *r); /* frees the fields and zeroes them */

typedef struct hn_table_config {
    hn_strs columns; /* "prompt=question": the column that the file calls question is the prompt */
    int alpaca;      /* 0: instruction and input are a user's message; 1: text under ### headings */
} hn_table_config;
extern const hn_opt hn_table_opts[]; /* data_columns, alpaca_form */

typedef struct hn_table hn_table;
/* config may be NULL.  Errors name the file, the line, and what to change. */
int hn_table_open(hn_table **r, const char *path, const hn_table_config *config, hn_err *e);
void hn_table_close(hn_table *r); /* NULL is fine */
int64_t hn_table_count(const hn_table *r);
hn_table_kind hn_table_kind_of(const hn_table *r);
bool hn_table_chat(const hn_table *r); /* messages, not text */
/* "12,345 rows: preference, conversational, implicit prompt; columns score, id unused" */
const char *hn_table_about(const hn_table *r);
const char *hn_table_sha256(const hn_table *r);      /* of the file, 64 hex digits */
int64_t hn_table_line(const hn_table *r, int64_t i); /* for messages about row i */
/* Row i, 0 <= i < count; *out is overwritten and the caller's.  Safe from any thread. */
int hn_table_get(const hn_table *r, int64_t i, hn_entry *out, hn_err *e);
#endif
