/* template_lines.c - renders templates for tests/vectors/template/compare.py: a row of JSON in, a row out.
 *
 * in:  {"t": template, "v": variables}; a row without "t" uses the template of the row before, one without
 *      "v" its variables; with "chat": true the variables are a conversation's (text/chat.h)
 * out: {"o": text}, with "chat" also "r": [[begin, length, message], ...], what the assistant wrote in bytes;
 * or
 *      {"e": code, "m": message} when the template or the rendering is refused */
#include "text/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const hn_tmpl_opts opts = { .now = "2025-07-10", .max_memory = 64 << 20, .max_steps = 2000000 };

static json_t *text_row(const hn_buf *out, const hn_err *e) {
    return e->code ? json_pack("{s:i,s:s}", "e", e->code, "m", e->msg)
                   : json_pack("{s:s%}", "o", out->n ? out->data : "", out->n);
}

/* The keys of a conversation; what is left are further variables. */
static json_t *converse(const hn_tmpl *tmpl, json_t *vars, hn_err *e) {
    hn_buf out = { 0 };
    hn_ranges r = { 0 };
    json_t *rest = json_copy(vars), *spans = json_array();
    hn_chat c = { .tmpl = tmpl,
                  .messages = json_object_get(vars, "messages"),
                  .tools = json_object_get(vars, "tools"),
                  .tokens = json_pack("{s:s,s:s}", "bos_token", "<s>", "eos_token", "</s>"),
                  .kwargs = rest,
                  .opts = opts };
    static const char *const ours[] = { "messages", "tools", "add_generation_prompt" };
    for (int i = 0; i < 3; i++) json_object_del(rest, ours[i]);
    if (!e->code)
        hn_chat_render(&c, json_is_true(json_object_get(vars, "add_generation_prompt")), &out, &r, e);
    json_t *row = text_row(&out, e);
    for (int64_t i = 0; i < r.n; i++)
        json_array_append_new(spans, json_pack("[I,I,i]", (json_int_t)r.v[i].begin, (json_int_t)r.v[i].len,
                                               (int)r.v[i].message));
    json_object_set_new(row, "r", spans);
    json_decref(rest);
    json_decref(c.tokens);
    hn_ranges_free(&r);
    hn_buf_free(&out);
    return row;
}

static json_t *answer(json_t *t, json_t *vars, bool chat) {
    static hn_tmpl *tmpl;
    static json_t *last;
    static hn_err bad;
    hn_buf out = { 0 };
    hn_spans spans = { 0 };
    if (t != last) {
        hn_tmpl_free(tmpl);
        bad = (hn_err){ 0 };
        hn_tmpl_new(&tmpl, json_string_value(t), json_string_length(t), "t", &bad);
        json_decref(last);
        last = json_incref(t);
    }
    hn_err e = bad;
    if (chat) return converse(tmpl, vars, &e);
    if (!e.code) hn_tmpl_render(tmpl, vars, &opts, &out, &spans, &e);
    size_t at = 0;
    for (int64_t i = 0; i < spans.n; at += spans.v[i++].len)
        hn_assert(spans.v[i].begin == at && spans.v[i].len);
    hn_assert(at == out.n);
    json_t *row = text_row(&out, &e);
    hn_spans_free(&spans);
    hn_buf_free(&out);
    return row;
}

int main(void) {
    char *line = NULL;
    size_t cap = 0;
    json_t *t = NULL, *vars = json_object();
    for (ssize_t n; (n = getline(&line, &cap, stdin)) > 0;) {
        json_error_t why;
        json_t *row = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, &why), *v = json_object_get(row, "v");
        if (!row) {
            fprintf(stderr, "%s: %.200s\n", why.text, line);
            return 1;
        }
        if (json_object_get(row, "t")) {
            json_decref(t);
            t = json_incref(json_object_get(row, "t"));
        }
        if (v) {
            json_decref(vars);
            vars = json_incref(v);
        }
        json_t *a = answer(t, vars, json_is_true(json_object_get(row, "chat")));
        hn_assert(a && !json_dumpf(a, stdout, JSON_COMPACT));
        putchar('\n');
        fflush(stdout);
        json_decref(a);
        json_decref(row);
    }
    free(line);
    json_decref(t);
    json_decref(vars);
    return 0;
}
