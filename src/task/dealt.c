/* dealt.c - the rows of a file, dealt to the three splits by a hash of each row's problem. */
#include "task/dealt.h"

#include <ctype.h>
#include <string.h>

/* The hash of the problem with every run of white space as one blank. */
static uint64_t problem_hash(const hn_buf *b) {
    uint64_t h = 0;
    for (size_t i = 0; i < b->n;) {
        size_t word = i;
        while (i < b->n && !isspace((unsigned char)b->data[i])) i++;
        if (i > word) h = hn_key(h, hn_task_hash(b->data + word, i - word));
        while (i < b->n && isspace((unsigned char)b->data[i])) i++;
    }
    return h;
}

char *hn_problem_id(const char *task, const hn_buf *problem) {
    hn_buf b = { 0 };
    hn_buf_fmt(&b, "%s:%016llx", task, (unsigned long long)problem_hash(problem));
    if (b.oom) hn_buf_free(&b);
    return b.data;
}

static int deal(hn_dealt *d, int64_t i, int whole, hn_problem_fn *fn, const void *ctx, hn_buf *problem,
                int64_t cap[HN_SPLITS], hn_err *e) {
    json_t *row;
    int rc = hn_jsonl_row(d->file, i, &row, e);
    if (rc) return rc;
    hn_buf_clear(problem);
    rc = fn(ctx, row, problem, e);
    json_decref(row);
    if (rc == HN_LEAVE_OUT) {
        d->left_out++;
        return HN_OK;
    }
    if (rc) {
        hn_jsonl_fail_in(d->file, i, e);
        return rc;
    }
    if (problem->oom) return hn_fail(e, HN_ENOMEM, "out of memory for a row");
    hn_split s = whole ? (hn_split)(whole - 1) : hn_split_of(problem_hash(problem));
    if (hn_grow(&d->row[s], &cap[s], d->n[s] + 1, sizeof *d->row[s])) {
        return hn_fail(e, HN_ENOMEM, "out of memory for the list of rows");
    }
    d->row[s][d->n[s]++] = i;
    return HN_OK;
}

int hn_dealt_open(hn_dealt *d, const char *task, const char *path, int whole, hn_problem_fn *fn,
                  const void *ctx, hn_err *e) {
    if (!path) return hn_fail(e, HN_EPARSE, "task %s reads a file: give task_file", task);
    int rc = hn_jsonl_open(&d->file, path, e);
    hn_buf problem = { 0 };
    int64_t cap[HN_SPLITS] = { 0 };
    for (int64_t i = 0; !rc && i < hn_jsonl_count(d->file); i++)
        rc = deal(d, i, whole, fn, ctx, &problem, cap, e);
    hn_buf_free(&problem);
    if (rc) hn_dealt_close(d);
    return rc;
}

void hn_dealt_close(hn_dealt *d) {
    hn_jsonl_close(d->file);
    for (int s = 0; s < HN_SPLITS; s++) hn_free(d->row[s]);
    memset(d, 0, sizeof *d);
}

int hn_dealt_row(const hn_dealt *d, hn_split s, int64_t i, json_t **row, hn_err *e) {
    hn_assert(i >= 0 && i < d->n[s]);
    return hn_jsonl_row(d->file, d->row[s][i], row, e);
}

void hn_dealt_about(const hn_dealt *d, const char *task, hn_buf *out) {
    hn_buf_fmt(out, "%s: %lld train, %lld gate, %lld test items of %s (sha256 %s)", task,
               (long long)d->n[HN_SPLIT_TRAIN], (long long)d->n[HN_SPLIT_GATE],
               (long long)d->n[HN_SPLIT_TEST], hn_jsonl_path(d->file), hn_jsonl_sha256(d->file));
    if (d->left_out) hn_buf_fmt(out, "; %lld rows left out", (long long)d->left_out);
}
