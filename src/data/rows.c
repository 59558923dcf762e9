/* rows.c - a user's file as rows: every row checked once, what was understood told in a sentence. */
#include "data/rows.h"

#include "data/shape.h"

#include <string.h>

struct hn_table {
    hn_jsonl *file;
    hn_names names;
    char *renamed[HN_COLS]; /* the file's own names, where given */
    hn_row_shape shape;
    int64_t equal, no_prompt; /* rows worth telling about */
    char *about;
};

const hn_opt hn_table_opts[] = {
    { "data_columns", "names of columns in the file, as prompt=question,completion=answer", HN_OPT_LIST,
      offsetof(hn_table_config, columns) },
    { "alpaca_form", "instruction and input become a user's message, or text under ### headings", HN_OPT_ENUM,
      offsetof(hn_table_config, alpaca), 0, .choices = "messages|text" },
    { 0 },
};

/* ---- names ---- */
static int rename_column(hn_table *r, const char *pair, hn_err *e) {
    const char *eq = strchr(pair, '=');
    if (!eq || eq == pair || !eq[1]) {
        return hn_fail(e, HN_EPARSE, "data_columns: '%s' should be like prompt=question", pair);
    }
    for (int c = 0; c < HN_COLS; c++) {
        if (strlen(hn_col_names[c]) != (size_t)(eq - pair) ||
            strncmp(pair, hn_col_names[c], (size_t)(eq - pair))) {
            continue;
        }
        if (r->renamed[c]) return hn_fail(e, HN_EPARSE, "data_columns: %s is given twice", hn_col_names[c]);
        if (!(r->renamed[c] = hn_strdup(eq + 1))) return hn_fail(e, HN_ENOMEM, "out of memory for options");
        r->names.of[c] = r->renamed[c];
        return HN_OK;
    }
    hn_buf list = { 0 };
    for (int c = 0; c < HN_COLS; c++) hn_buf_fmt(&list, "%s%s", c ? ", " : "", hn_col_names[c]);
    int rc = hn_fail(e, HN_EPARSE, "data_columns: '%s': the name before = must be one of %s", pair,
                     list.data ? list.data : "");
    hn_buf_free(&list);
    return rc;
}

static int rename_columns(hn_table *r, const hn_table_config *config, const json_t *first, hn_err *e) {
    for (int c = 0; c < HN_COLS; c++) r->names.of[c] = hn_col_names[c];
    for (int i = 0; config && i < config->columns.n; i++) {
        int rc = rename_column(r, config->columns.s[i], e);
        if (rc) return rc;
    }
    for (int c = 0; c < HN_COLS; c++) {
        if (!r->renamed[c] || json_object_get(first, r->renamed[c])) continue;
        return hn_fail(e, HN_EPARSE, "%s, line %lld: there is no column '%s' (data_columns: %s=%s)",
                       hn_jsonl_path(r->file), (long long)hn_jsonl_line(r->file, 0), r->renamed[c],
                       hn_col_names[c], r->renamed[c]);
    }
    /* Files of some tools call the two sides by longer names. */
    static const char *const also[][2] = { { "chosen_messages", "rejected_messages" } };
    if (!json_object_get(first, r->names.of[HN_COL_CHOSEN]) && json_object_get(first, also[0][0]) &&
        json_object_get(first, also[0][1])) {
        r->names.of[HN_COL_CHOSEN] = also[0][0];
        r->names.of[HN_COL_REJECTED] = also[0][1];
    }
    return HN_OK;
}

/* ---- the sentence ---- */
static void add_count(hn_buf *b, int64_t n) { /* 12,345 */
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%lld", (long long)n);
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0) hn_buf_chr(b, ',');
        hn_buf_chr(b, digits[i]);
    }
}

/* Adds the names of the row's columns that the shape does not read to the set. */
static int gather_unused(const hn_table *r, const json_t *row, json_t *unused, hn_err *e) {
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)row, key, v) {
        bool read = false;
        for (int c = 0; c < HN_COLS && !read; c++) {
            read = hn_row_shape_reads(&r->shape, (hn_col_name)c) && !strcmp(key, r->names.of[c]);
        }
        if (read || json_object_get(unused, key)) continue;
        if (json_object_set_new(unused, key, json_true()))
            return hn_fail(e, HN_ENOMEM, "out of memory for a row");
    }
    return HN_OK;
}

static int tell(hn_table *r, const json_t *unused, hn_err *e) {
    enum { MOST = 12 };
    hn_buf b = { 0 };
    add_count(&b, hn_jsonl_count(r->file));
    hn_buf_str(&b, hn_jsonl_count(r->file) == 1 ? " row: " : " rows: ");
    hn_row_shape_say(&r->shape, &r->names, &b);
    const char *key;
    json_t *v;
    size_t n = json_object_size(unused), i = 0;
    json_object_foreach((json_t *)(uintptr_t)unused, key, v) {
        if (i == MOST) hn_buf_fmt(&b, " and %zu more", n - MOST);
        if (i++ < MOST) hn_buf_fmt(&b, "%s%s", i > 1 ? ", " : n == 1 ? "; column " : "; columns ", key);
    }
    if (n) hn_buf_str(&b, " unused");
    const struct {
        int64_t n;
        const char *what;
    } notes[] = { { r->equal, "with equal sides" }, { r->no_prompt, "whose sides share no prompt" } };
    for (int k = 0; k < 2; k++) {
        if (!notes[k].n) continue;
        hn_buf_str(&b, "; ");
        add_count(&b, notes[k].n);
        hn_buf_fmt(&b, " row%s %s", notes[k].n == 1 ? "" : "s", notes[k].what);
    }
    if (b.oom) return hn_fail(e, HN_ENOMEM, "out of memory");
    r->about = b.data;
    return HN_OK;
}

/* ---- checking ---- */
static int other_shape(const hn_table *r, int64_t i, const hn_row_shape *s, hn_err *e) {
    hn_buf here = { 0 }, first = { 0 };
    hn_row_shape_say(s, &r->names, &here);
    hn_row_shape_say(&r->shape, &r->names, &first);
    int rc = hn_fail(
        e, HN_EPARSE,
        "%s, line %lld: this row is %s; the first row (line %lld) is %s: one file must have one shape",
        hn_jsonl_path(r->file), (long long)hn_jsonl_line(r->file, i), here.data ? here.data : "",
        (long long)hn_jsonl_line(r->file, 0), first.data ? first.data : "");
    hn_buf_free(&here);
    hn_buf_free(&first);
    return rc;
}

static int check_row(hn_table *r, int64_t i, json_t *unused, hn_err *e) {
    json_t *row;
    hn_row_shape s;
    hn_entry out = { 0 };
    unsigned notes = 0;
    int rc = hn_jsonl_row(r->file, i, &row, e);
    if (rc) return rc;
    if ((rc = hn_row_shape_of(row, &r->names, r->shape.alpaca, &s, e))) {
        hn_jsonl_fail_in(r->file, i, e);
    } else if (!hn_row_shape_same(&s, &r->shape)) {
        rc = other_shape(r, i, &s, e);
    } else if ((rc = hn_row_read(row, &r->shape, &r->names, &out, &notes, e))) {
        hn_jsonl_fail_in(r->file, i, e);
    } else {
        r->equal += (notes & HN_ROW_EQUAL_SIDES) != 0;
        r->no_prompt += (notes & HN_ROW_NO_PROMPT) != 0;
        rc = gather_unused(r, row, unused, e);
    }
    hn_entry_release(&out);
    json_decref(row);
    return rc;
}

static int check_all(hn_table *r, const hn_table_config *config, hn_err *e) {
    json_t *first, *unused;
    int rc = hn_jsonl_row(r->file, 0, &first, e);
    if (rc) return rc;
    if (!(rc = rename_columns(r, config, first, e)) &&
        (rc = hn_row_shape_of(first, &r->names, config ? config->alpaca : 0, &r->shape, e))) {
        hn_jsonl_fail_in(r->file, 0, e);
    }
    json_decref(first);
    if (rc) return rc;
    if (!(unused = json_object())) return hn_fail(e, HN_ENOMEM, "out of memory");
    for (int64_t i = 0; !rc && i < hn_jsonl_count(r->file); i++) rc = check_row(r, i, unused, e);
    if (!rc) rc = tell(r, unused, e);
    json_decref(unused);
    return rc;
}

/* ---- the interface ---- */
int hn_table_open(hn_table **out, const char *path, const hn_table_config *config, hn_err *e) {
    hn_table *r = hn_alloc(sizeof *r);
    *out = NULL;
    if (!r) return hn_fail(e, HN_ENOMEM, "%s: out of memory", path);
    int rc = hn_jsonl_open(&r->file, path, e);
    if (!rc) rc = check_all(r, config, e);
    if (rc) {
        hn_table_close(r);
        return rc;
    }
    *out = r;
    return HN_OK;
}

void hn_table_close(hn_table *r) {
    if (!r) return;
    hn_jsonl_close(r->file);
    for (int c = 0; c < HN_COLS; c++) hn_free(r->renamed[c]);
    hn_free(r->about);
    hn_free(r);
}

int64_t hn_table_count(const hn_table *r) { return hn_jsonl_count(r->file); }
hn_table_kind hn_table_kind_of(const hn_table *r) { return r->shape.kind; }
bool hn_table_chat(const hn_table *r) { return r->shape.chat; }
const char *hn_table_about(const hn_table *r) { return r->about; }
const char *hn_table_sha256(const hn_table *r) { return hn_jsonl_sha256(r->file); }
int64_t hn_table_line(const hn_table *r, int64_t i) { return hn_jsonl_line(r->file, i); }

int hn_table_get(const hn_table *r, int64_t i, hn_entry *out, hn_err *e) {
    json_t *row;
    unsigned notes = 0;
    memset(out, 0, sizeof *out);
    int rc = hn_jsonl_row(r->file, i, &row, e);
    if (rc) return rc;
    if ((rc = hn_row_read(row, &r->shape, &r->names, out, &notes, e))) hn_jsonl_fail_in(r->file, i, e);
    json_decref(row);
    return rc;
}
