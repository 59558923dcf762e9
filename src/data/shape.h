/* shape.h - which shape a row has, and the row in the one form (inside of rows.c). */
#ifndef HN_SHAPE_H
#define HN_SHAPE_H

#include "data/rows.h"

/* The columns that mean something.  A file's own name for each can be given. */
typedef enum {
    HN_COL_TEXT,
    HN_COL_MESSAGES,
    HN_COL_CONVERSATIONS,
    HN_COL_PROMPT,
    HN_COL_COMPLETION,
    HN_COL_CHOSEN,
    HN_COL_REJECTED,
    HN_COL_LABEL,
    HN_COL_INSTRUCTION,
    HN_COL_INPUT,
    HN_COL_OUTPUT,
    HN_COL_SYSTEM,
    HN_COL_TOOLS,
    HN_COL_KWARGS,
    HN_COLS
} hn_col_name;
extern const char *const hn_col_names[HN_COLS];

typedef struct hn_names { /* what the file calls them */
    const char *of[HN_COLS];
} hn_names;

typedef struct hn_row_shape {
    hn_table_kind kind;
    bool chat, implicit;
    uint32_t used;     /* bit per column of the shape; input, system and tools are not part of it */
    hn_col_name whole; /* the column that holds a whole conversation, or HN_COLS */
    int alpaca;        /* hn_table_config.alpaca */
} hn_row_shape;

/* HN_EPARSE: no shape known; the message lists the columns. */
int hn_row_shape_of(const json_t *row, const hn_names *names, int alpaca, hn_row_shape *out, hn_err *e);
bool hn_row_shape_same(const hn_row_shape *a, const hn_row_shape *b);
/* "preference, conversational, implicit prompt" */
void hn_row_shape_say(const hn_row_shape *s, const hn_names *names, hn_buf *out);

/* What is worth telling about a row that is otherwise fine. */
enum { HN_ROW_EQUAL_SIDES = 1, HN_ROW_NO_PROMPT = 2 };
/* Fills *out (zeroed) from the row; out->row gets a reference.  notes: an or of the above. */
int hn_row_read(json_t *row, const hn_row_shape *s, const hn_names *names, hn_entry *out, unsigned *notes,
                hn_err *e);
/* Is the column read for this shape? */
bool hn_row_shape_reads(const hn_row_shape *s, hn_col_name c);
#endif
