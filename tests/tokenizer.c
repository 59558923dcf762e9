/* tokenizer.c - ids against the reference library's on real and tiny tokenizers, there and back, and files
 * that lie. */
#include "text/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "shared.h"

static void open_ok(hn_tok **t, const char *dir) {
    hn_err e = { 0 };
    if (hn_tok_open(t, dir, &e)) fail_msg("%s", e.msg);
}

static void same_ids(const hn_tok *t, const char *text, size_t n, const json_t *want, const char *where) {
    hn_ids got = { 0 };
    hn_err e = { 0 };
    if (hn_tok_encode(t, text, n, false, &got, &e)) fail_msg("%s: %s", where, e.msg);
    bool same = (size_t)got.n == json_array_size(want);
    for (int64_t i = 0; same && i < got.n; i++)
        same = got.id[i] == json_integer_value(json_array_get(want, (size_t)i));
    if (!same) fail_msg("%s: other ids for `%.*s`", where, (int)n, text);
    hn_ids_free(&got);
}

static void decodes_to(const hn_tok *t, const char *text, size_t n, const char *where) {
    hn_ids ids = { 0 };
    hn_buf out = { 0 };
    hn_err e = { 0 };
    assert_int_equal(hn_tok_encode(t, text, n, false, &ids, &e), HN_OK);
    assert_int_equal(hn_tok_decode(t, ids.id, ids.n, false, &out, &e), HN_OK);
    if (out.n != n || (n && memcmp(out.data, text, n)))
        fail_msg("%s: `%.*s` comes back as `%.*s`", where, (int)n, text, (int)out.n, out.data);
    hn_ids_free(&ids);
    hn_buf_free(&out);
}

/* Lines of {"text": ..., "ids": [...]}. */
static int cases(const hn_tok *t, const char *path, bool back) {
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t cap = 0;
    int k = 0;
    assert_non_null(f);
    while (getline(&line, &cap, f) > 0) {
        json_t *c = json_loads(line, JSON_ALLOW_NUL, NULL);
        char where[32];
        const json_t *text = json_object_get(c, "text");
        assert_non_null(text);
        snprintf(where, sizeof where, "case %d", ++k);
        same_ids(t, json_string_value(text), json_string_length(text), json_object_get(c, "ids"), where);
        if (back) decodes_to(t, json_string_value(text), json_string_length(text), where);
        json_decref(c);
    }
    free(line);
    fclose(f);
    return k;
}

static void real_cases(const char *dir, const char *file) {
    const char *d = shared_file(dir), *p = shared_file(file);
    hn_tok *t;
    if (!d || !p) skip();
    open_ok(&t, d);
    assert_int_equal(cases(t, p, true), 24);
    hn_tok_close(t);
}

static void gpt2(void **state) {
    (void)state;
    real_cases("data/tokenizers/gpt2", "data/tokenizers/cases/gpt-2.jsonl");
}

static void qwen2(void **state) {
    (void)state;
    real_cases("data/tokenizers/qwen2", "data/tokenizers/cases/qwen2.jsonl");
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(gpt2), cmocka_unit_test(qwen2) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
