/* template.c - chat templates against Python's jinja2: vectors made by tests/vectors/template/make.py. */
#include "text/template.h"

#include "shared.h"
#include "torture.h"

#include <string.h>

static char *read_file(const char *path, size_t *n) {
    char *data;
    hn_err e = { 0 };
    if (hn_file_read(path, &data, n, &e)) fail_msg("%s", e.msg);
    return data;
}

/* The rows of a JSONL file as a JSON array; a row that jansson cannot hold is null. */
static json_t *read_rows(const char *path) {
    size_t n;
    char *data = read_file(path, &n);
    json_t *rows = json_array();
    for (char *line = data, *end; line < data + n; line = end + 1) {
        if (!(end = memchr(line, '\n', (size_t)(data + n - line)))) end = data + n;
        json_t *row = json_loadb(line, (size_t)(end - line), JSON_ALLOW_NUL, NULL);
        json_array_append_new(rows, row ? row : json_null());
    }
    hn_free(data);
    return rows;
}

static json_t *vectors(const char *name) {
    hn_buf path = { 0 };
    json_t *rows = read_rows(hn_path_join(&path, HN_SOURCE_ROOT "/tests/vectors/template", name));
    hn_buf_free(&path);
    return rows;
}

/* Renders; NULL when template or rendering fails (the reason is in e). */
static const char *render(const char *src, size_t n, json_t *vars, hn_buf *out, hn_spans *spans, hn_err *e) {
    hn_tmpl *t;
    hn_tmpl_opts opts = { .now = "2025-07-10" };
    hn_buf_clear(out);
    if (spans) spans->n = 0;
    if (hn_tmpl_new(&t, src, n, "test.jinja", e)) return NULL;
    int rc = hn_tmpl_render(t, vars, &opts, out, spans, e);
    hn_tmpl_free(t);
    if (rc) return NULL;
    hn_buf_add(out, "", 0);
    return out->data;
}

static void check(const char *what, const char *src, size_t n, json_t *vars, const json_t *want) {
    hn_buf out = { 0 };
    hn_err e = { 0 };
    const char *got = render(src, n, vars, &out, NULL, &e);
    if (json_is_string(want)) {
        if (!got) fail_msg("%s: %s", what, e.msg);
        bool same = out.n == json_string_length(want) && !memcmp(got, json_string_value(want), out.n);
        if (!same) fail_msg("%s:\n got %s\nwant %s", what, got, json_string_value(want));
    } else if (got) fail_msg("%s: Python refuses, we gave %s", what, got);
    hn_buf_free(&out);
}

static void own_templates(void **state) {
    json_t *rows = vectors("own.jsonl"), *row;
    size_t i;
    (void)state;
    assert_true(json_array_size(rows) > 0);
    json_array_foreach(rows, i, row) {
        json_t *t = json_object_get(row, "template");
        check(json_string_value(t), json_string_value(t), json_string_length(t), json_object_get(row, "vars"),
              json_object_get(row, "out"));
    }
    json_decref(rows);
}

static json_t *chat_vars(json_t *conversation) {
    json_t *vars = json_copy(conversation);
    if (!json_object_get(vars, "add_generation_prompt"))
        json_object_set_new(vars, "add_generation_prompt", json_false());
    json_object_set_new(vars, "bos_token", json_string("<s>"));
    json_object_set_new(vars, "eos_token", json_string("</s>"));
    return vars;
}

static void real_templates(void **state) {
    json_t *rows = vectors("expected.jsonl"), *conversations = vectors("conversations.jsonl"), *row, *pair;
    size_t i, k;
    (void)state;
    json_array_foreach(rows, i, row) {
        const char *name = json_string_value(json_object_get(row, "template")), *path = shared_file(name);
        char what[300];
        if (!path) skip();
        size_t n;
        char *src = read_file(path, &n);
        json_array_foreach(json_object_get(row, "rows"), k, pair) {
            json_int_t c = json_integer_value(json_array_get(pair, 0));
            json_t *vars = chat_vars(json_array_get(conversations, (size_t)c));
            snprintf(what, sizeof what, "%s, conversation %d", name, (int)c);
            check(what, src, n, vars, json_array_get(pair, 1));
            json_decref(vars);
        }
        hn_free(src);
    }
    json_decref(rows);
    json_decref(conversations);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(own_templates), cmocka_unit_test(real_templates) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
