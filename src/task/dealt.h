/* dealt.h - the rows of a file, dealt to the three splits.
 *
 * A row's split is a hash of its problem with white space evened out, so two rows with one problem are
 * never apart, and adding rows to the file moves none. */
#ifndef HN_DEALT_H
#define HN_DEALT_H

#include "base/jsonl.h"
#include "task/task.h"

typedef struct hn_dealt {
    hn_jsonl *file;
    int64_t *row[HN_SPLITS], n[HN_SPLITS];
    int64_t left_out; /* rows that are in no split */
} hn_dealt;

/* Appends the row's problem to the buffer, or says what is wrong with the row (file and line are added).
 * HN_LEAVE_OUT: the row is fine but not to be used; it is counted.  ctx is the task's private struct. */
enum { HN_LEAVE_OUT = 1 };
typedef int hn_problem_fn(const void *ctx, const json_t *row, hn_buf *problem, hn_err *e);

/* What task_split says. */
#define HN_SPLIT_CHOICES "hash|train|gate|test"
/* Opens path (NULL: an error that names task_file), checks every row through fn and deals it; `whole`
 * is the index in HN_SPLIT_CHOICES: 0 by hash, else all rows go to that split. */
int hn_dealt_open(hn_dealt *d, const char *task, const char *path, int whole, hn_problem_fn *fn,
                  const void *ctx, hn_err *e);
void hn_dealt_close(hn_dealt *d); /* a zeroed one is closed */
/* Row i of the split; the caller's. */
int hn_dealt_row(const hn_dealt *d, hn_split s, int64_t i, json_t **row, hn_err *e);
/* "TASK: 5980 train, 745 gate, 748 test items of PATH (sha256 ...)" */
void hn_dealt_about(const hn_dealt *d, const char *task, hn_buf *out);
/* The id of a problem: "TASK:" and 16 hex digits of the hash; NULL when out of memory. */
char *hn_problem_id(const char *task, const hn_buf *problem);
#endif
