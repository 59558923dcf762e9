/* jsonl.c - fuzz target: a file of rows.  What opens must read, and no part of a row may be lost or made up.
 */
#include "data/rows.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A part is text or messages as the file's shape says; messages are objects with a role and a content. */
static void check_part(const hn_part *p, bool chat, bool there) {
    hn_assert(!(p->text && p->messages));
    if (!there) return;
    hn_assert(chat ? p->messages != NULL : p->text != NULL);
    for (size_t i = 0; i < json_array_size(p->messages); i++) {
        const json_t *m = json_array_get(p->messages, i);
        hn_assert(json_is_string(json_object_get(m, "role")) && json_object_get(m, "content"));
    }
}

/* prompt + answer is the column it was taken from. */
static void check_joined(const char *prompt, const char *answer, const json_t *column) {
    const char *whole = json_string_value(column);
    size_t n = strlen(prompt);
    hn_assert(whole && !strncmp(whole, prompt, n) && !strcmp(whole + n, answer));
}

static void check_row(const hn_table *r, const hn_entry *row) {
    hn_table_kind kind = hn_table_kind_of(r);
    bool chat = hn_table_chat(r);
    check_part(&row->prompt, chat, kind != HN_ROWS_WHOLE);
    check_part(&row->answer, chat, kind != HN_ROWS_PROMPT);
    check_part(&row->rejected, chat, kind == HN_ROWS_PREFERENCE);
    if (kind == HN_ROWS_PREFERENCE && !chat && !json_object_get(row->row, "prompt") &&
        !json_object_get(row->row, "instruction")) {
        check_joined(row->prompt.text, row->answer.text, json_object_get(row->row, "chosen"));
        check_joined(row->prompt.text, row->rejected.text, json_object_get(row->row, "rejected"));
    }
    if (kind == HN_ROWS_PREFERENCE && chat) {
        hn_assert(json_array_size(row->answer.messages) && json_array_size(row->rejected.messages));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    char path[40];
    hn_err e = { 0 };
    hn_table *r;
    int fd = memfd_create("rows", 0);
    hn_assert(fd >= 0 && write(fd, data, n) == (ssize_t)n);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int rc = hn_table_open(&r, path, NULL, &e);
    hn_assert(rc == e.code && (rc < 0) == (r == NULL) && (rc == 0 || e.msg[0]));
    for (int64_t i = 0; r && i < hn_table_count(r); i++) {
        hn_entry row;
        hn_assert(!hn_table_get(r, i, &row, &e));
        check_row(r, &row);
        hn_entry_release(&row);
    }
    hn_table_close(r);
    close(fd);
    return 0;
}
