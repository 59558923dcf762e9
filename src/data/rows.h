/* rows.h - rows of a user's file in the shapes people have, brought to one form.
 *
 * Read are TRL's shapes (text; messages; prompt; prompt + completion; prompt + chosen + rejected, the prompt
 * given or implicit; prompt + completion + label; each as text or as messages), Alpaca (instruction, input,
 * output) and ShareGPT (conversations of from/value), the last two with chosen and rejected as well.  The
 * shape is found in the first row; a later row of another shape is an error that names it.  What was
 * understood is told in one sentence (hn_rows_about), so that nothing is guessed in silence.
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
} hn_rows_kind;

/* Text or messages [{"role","content",...}], never both; neither where the kind has no such part. */
typedef struct hn_part {
    char *text;
    json_t *messages;
} hn_part;

typedef struct hn_row {
    hn_part prompt, answer, rejected;
    bool label;    /* HN_ROWS_UNPAIRED: the completion is wanted */
    json_t *tools; /* list for the chat template, or NULL */
    json_t *row;   /* the whole row as the file has it: other columns go to reward functions */
} hn_row;
void hn_row_release(hn_row *r); /* frees the fields and zeroes them */

typedef struct hn_rows_config {
    hn_strs columns; /* "prompt=question": the column that the file calls question is the prompt */
    int alpaca;      /* 0: instruction and input are a user's message; 1: text under ### headings */
} hn_rows_config;
extern const hn_opt hn_rows_opts[]; /* data_columns, alpaca_form */

typedef struct hn_rows hn_rows;
/* config may be NULL.  Errors name the file, the line, and what to change. */
int hn_rows_open(hn_rows **r, const char *path, const hn_rows_config *config, hn_err *e);
void hn_rows_close(hn_rows *r); /* NULL is fine */
int64_t hn_rows_count(const hn_rows *r);
hn_rows_kind hn_rows_kind_of(const hn_rows *r);
bool hn_rows_chat(const hn_rows *r); /* messages, not text */
/* "12,345 rows: preference, conversational, implicit prompt; columns score, id unused" */
const char *hn_rows_about(const hn_rows *r);
const char *hn_rows_sha256(const hn_rows *r);      /* of the file, 64 hex digits */
int64_t hn_rows_line(const hn_rows *r, int64_t i); /* for messages about row i */
/* Row i, 0 <= i < count; *out is overwritten and the caller's.  Safe from any thread. */
int hn_rows_get(const hn_rows *r, int64_t i, hn_row *out, hn_err *e);
#endif
