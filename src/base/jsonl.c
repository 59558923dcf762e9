/* jsonl.c - the places of rows in a JSONL file or JSON array, and rows parsed on demand. */
#include "base/jsonl.h"

#include <string.h>

typedef struct place {
    int64_t at, len, line; /* byte, bytes, line from 1 */
} place;

struct hn_jsonl {
    char *path;
    hn_map map;
    place *row;
    int64_t n, cap;
    bool array;
    char sha[65];
};

/* ---- where the rows are ---- */
static int add_row(hn_jsonl *f, int64_t at, int64_t len, int64_t line, hn_err *e) {
    if (hn_grow(&f->row, &f->cap, f->n + 1, sizeof *f->row)) {
        return hn_fail(e, HN_ENOMEM, "%s: out of memory for the places of %lld rows", f->path,
                       (long long)f->n);
    }
    f->row[f->n++] = (place){ at, len, line };
    return HN_OK;
}

static bool is_space(unsigned char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static int scan_lines(hn_jsonl *f, size_t at, hn_err *e) {
    const unsigned char *d = f->map.data;
    for (int64_t line = 1; at < f->map.n; line++) {
        const unsigned char *nl = memchr(d + at, '\n', f->map.n - at);
        size_t next = nl ? (size_t)(nl - d) + 1 : f->map.n, end = nl ? next - 1 : next;
        while (end > at && is_space(d[end - 1])) end--;
        size_t first = at;
        while (first < end && is_space(d[first])) first++;
        /* a row keeps its leading blanks, so that columns count from the line's start */
        int rc = first < end ? add_row(f, (int64_t)at, (int64_t)(end - at), line, e) : HN_OK;
        if (rc) return rc;
        at = next;
    }
    return HN_OK;
}

/* The end of the value at `at`: the , or ] after it at this depth, or the end of the file.  Counts lines. */
static size_t skip_value(const hn_map *m, size_t at, int64_t *line) {
    bool quoted = false;
    int64_t depth = 0;
    for (; at < m->n; at++) {
        unsigned char c = m->data[at];
        if (c == '\n') ++*line;
        if (quoted) {
            if (c == '\\' && at + 1 < m->n) at++;
            else if (c == '"') quoted = false;
            continue;
        }
        if (c == '"') quoted = true;
        else if (c == '{' || c == '[') depth++;
        else if (depth && (c == '}' || c == ']')) depth--;
        else if (!depth && (c == ',' || c == ']' || c == '}')) break;
    }
    return at;
}

static int array_fail(const hn_jsonl *f, int64_t line, const char *what, hn_err *e) {
    return hn_fail(e, HN_EPARSE, "%s, line %lld: %s; the file should be one JSON array [ {...}, {...} ]",
                   f->path, (long long)line, what);
}

/* `at`: the first byte after a byte order mark; blanks, then [. */
static int scan_array(hn_jsonl *f, size_t at, hn_err *e) {
    const hn_map *m = &f->map;
    int64_t line = 1;
    f->array = true;
    for (; m->data[at] != '['; at++) line += m->data[at] == '\n';
    at++;
    for (bool first = true;; first = false) {
        for (; at < m->n && is_space(m->data[at]); at++) line += m->data[at] == '\n';
        if (first && at < m->n && m->data[at] == ']') break; /* [] */
        int64_t start_line = line;
        size_t start = at;
        at = skip_value(m, at, &line);
        if (at == m->n) return array_fail(f, line, "the file ends inside the array (cut off?)", e);
        if (m->data[at] == '}') return array_fail(f, line, "a } that closes nothing", e);
        size_t end = at;
        while (end > start && is_space(m->data[end - 1])) end--;
        if (end == start) return array_fail(f, line, "an element is missing", e);
        int rc = add_row(f, (int64_t)start, (int64_t)(end - start), start_line, e);
        if (rc) return rc;
        if (m->data[at] == ']') break;
        at++; /* the comma */
    }
    for (at++; at < m->n; at++) {
        line += m->data[at] == '\n';
        if (!is_space(m->data[at])) return array_fail(f, line, "there is more after the array", e);
    }
    return HN_OK;
}

int hn_jsonl_open(hn_jsonl **out, const char *path, hn_err *e) {
    hn_jsonl *f = hn_alloc(sizeof *f);
    *out = NULL;
    if (!f || !(f->path = hn_strdup(path))) {
        hn_free(f);
        return hn_fail(e, HN_ENOMEM, "%s: out of memory", path);
    }
    int rc = hn_map_open(&f->map, path, e);
    if (!rc) {
        size_t at = f->map.n >= 3 && !memcmp(f->map.data, "\xef\xbb\xbf", 3) ? 3 : 0, first = at;
        while (first < f->map.n && is_space(f->map.data[first])) first++;
        bool array = first < f->map.n && f->map.data[first] == '[';
        rc = array ? scan_array(f, at, e) : scan_lines(f, at, e);
    }
    if (!rc && f->n == 0) {
        rc =
            hn_fail(e, HN_EPARSE,
                    "%s has no rows: it is empty; give one JSON object a line, or an array of objects", path);
    }
    if (rc) {
        hn_jsonl_close(f);
        return rc;
    }
    hn_sha256(f->map.data, f->map.n, f->sha);
    *out = f;
    return HN_OK;
}

void hn_jsonl_close(hn_jsonl *f) {
    if (!f) return;
    hn_map_close(&f->map);
    hn_free(f->row);
    hn_free(f->path);
    hn_free(f);
}

int64_t hn_jsonl_count(const hn_jsonl *f) { return f->n; }
const char *hn_jsonl_path(const hn_jsonl *f) { return f->path; }
const char *hn_jsonl_sha256(const hn_jsonl *f) { return f->sha; }

int64_t hn_jsonl_line(const hn_jsonl *f, int64_t i) {
    hn_assert(i >= 0 && i < f->n);
    return f->row[i].line;
}

const char *hn_jsonl_text(const hn_jsonl *f, int64_t i, size_t *n) {
    hn_assert(i >= 0 && i < f->n);
    *n = (size_t)f->row[i].len;
    return (const char *)f->map.data + f->row[i].at;
}

/* ---- one row ---- */
static int row_fail(const hn_jsonl *f, int64_t i, const json_error_t *why, hn_err *e) {
    size_t n, at = why->position > 0 ? (size_t)why->position : 0;
    const char *text = hn_jsonl_text(f, i, &n);
    enum json_error_code code = json_error_code(why);
    /* the position is after what was read: a wrong token was, a wrong byte or an end was not */
    if (at > 0 && code != json_error_invalid_utf8 && code != json_error_premature_end_of_input) at--;
    if (at > n) at = n;
    int64_t line = f->row[i].line, column = 1;
    for (size_t k = 0; k < at; k++) {
        column++;
        if (text[k] == '\n') line++, column = 1;
    }
    const char *remedy = "correct this row or remove it";
    if (code == json_error_premature_end_of_input && !f->array) {
        remedy = "the row is cut off, or written over several lines: put each row on one line";
    } else if (code == json_error_invalid_utf8) {
        remedy = "the file must be UTF-8: convert it (iconv -t UTF-8)";
    } else if (code == json_error_null_character || code == json_error_null_byte_in_key) {
        remedy = "remove the \\u0000";
    } else if (code == json_error_duplicate_key) {
        remedy = "keep one of the two keys";
    } else if (code == json_error_end_of_input_expected && !f->array) {
        remedy = "put each row on its own line";
    }
    if (code == json_error_out_of_memory)
        return hn_fail(e, HN_ENOMEM, "%s: out of memory for a row", f->path);
    return hn_fail(e, HN_EPARSE, "%s, line %lld, byte %lld: %s; %s", f->path, (long long)line,
                   (long long)column, why->text, remedy);
}

int hn_jsonl_row(const hn_jsonl *f, int64_t i, json_t **row, hn_err *e) {
    size_t n;
    const char *text = hn_jsonl_text(f, i, &n);
    json_error_t why;
    *row = NULL;
    if (memchr(text, 0, n)) /* jansson passes over them */
        return hn_fail(e, HN_EPARSE,
                       "%s, line %lld: a zero byte: the file is damaged, or UTF-16 (iconv -t UTF-8)", f->path,
                       (long long)f->row[i].line);
    const size_t how = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY; /* any: what is no object is told below */
    *row = json_loadb(text, n, how, &why);
    if (!*row && json_error_code(&why) == json_error_numeric_overflow) {
        *row = json_loadb(text, n, how | JSON_DECODE_INT_AS_REAL, &why);
    }
    if (!*row) return row_fail(f, i, &why, e);
    if (json_is_object(*row)) return HN_OK;
    json_decref(*row);
    *row = NULL;
    return hn_fail(e, HN_EPARSE, "%s, line %lld: the row is not an object {\"column\": value, ...}", f->path,
                   (long long)f->row[i].line);
}

int hn_jsonl_fail_in(const hn_jsonl *f, int64_t i, hn_err *e) {
    return hn_fail_in(e, "%s, line %lld", f->path, (long long)hn_jsonl_line(f, i));
}
