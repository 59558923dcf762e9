/* chat_data.h - readers that the tests of templates share. */
#ifndef TEST_CHAT_DATA_H
#define TEST_CHAT_DATA_H

#include "shared.h"
#include "text/template.h"
#include "torture.h"

#include <string.h>

static inline char *read_text(const char *path, size_t *n) {
    char *data;
    hn_err e = { 0 };
    if (hn_file_read(path, &data, n, &e)) fail_msg("%s", e.msg);
    return data;
}

/* The rows of a JSONL file as a JSON array; a row that jansson cannot hold is null. */
static inline json_t *read_rows(const char *path) {
    size_t n;
    char *data = read_text(path, &n);
    json_t *rows = json_array();
    for (char *line = data, *end; line < data + n; line = end + 1) {
        if (!(end = memchr(line, '\n', (size_t)(data + n - line)))) end = data + n;
        json_t *row = json_loadb(line, (size_t)(end - line), JSON_ALLOW_NUL, NULL);
        json_array_append_new(rows, row ? row : json_null());
    }
    hn_free(data);
    return rows;
}

/* tests/vectors/template/<name> */
static inline json_t *vector_rows(const char *name) {
    hn_buf path = { 0 };
    json_t *rows = read_rows(hn_path_join(&path, HN_SOURCE_ROOT "/tests/vectors/template", name));
    hn_buf_free(&path);
    assert_true(json_array_size(rows) > 0);
    return rows;
}

/* The template in a file of the shared data; NULL when it is not there. */
static inline hn_tmpl *shared_template(const char *name) {
    const char *path = shared_file(name);
    hn_tmpl *t;
    hn_err e = { 0 };
    size_t n;
    if (!path) return NULL;
    char *src = read_text(path, &n);
    if (hn_tmpl_new(&t, src, n, name, &e)) fail_msg("%s", e.msg);
    hn_free(src);
    return t;
}

static inline hn_tmpl *own_template(const char *src) {
    hn_tmpl *t;
    hn_err e = { 0 };
    if (hn_tmpl_new(&t, src, strlen(src), "own.jinja", &e)) fail_msg("%s", e.msg);
    return t;
}
#endif
