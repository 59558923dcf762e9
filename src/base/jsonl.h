/* jsonl.h - rows of JSON in a file: one object a line (JSONL), or one array of objects.
 *
 * The file is mapped and only the places of its rows are kept, so row i is found in O(1) and parsed
 * when asked for.  A broken row is named by file, line and byte column. */
#ifndef HN_JSONL_H
#define HN_JSONL_H

#include "base/io.h"

#include <jansson.h>

typedef struct hn_jsonl hn_jsonl;

/* Finds the rows; parses none.  A byte order mark and CRLF are fine, blank lines are no rows.  A file
 * without rows is HN_EPARSE. */
int hn_jsonl_open(hn_jsonl **f, const char *path, hn_err *e);
void hn_jsonl_close(hn_jsonl *f); /* NULL is fine */
int64_t hn_jsonl_count(const hn_jsonl *f);
const char *hn_jsonl_path(const hn_jsonl *f);
const char *hn_jsonl_sha256(const hn_jsonl *f);      /* of the whole file, 64 hex digits */
int64_t hn_jsonl_line(const hn_jsonl *f, int64_t i); /* the line on which row i starts, from 1 */
/* The bytes of row i as they stand in the file. */
const char *hn_jsonl_text(const hn_jsonl *f, int64_t i, size_t *n);
/* Row i, an object; the caller's (json_decref).  Safe from any thread.  Integers beyond 64 bits make the
 * numbers of that row real. */
int hn_jsonl_row(const hn_jsonl *f, int64_t i, json_t **row, hn_err *e);
/* Puts "path, line N: " before the recorded message: for errors about what a row says. */
int hn_jsonl_fail_in(const hn_jsonl *f, int64_t i, hn_err *e);
#endif
