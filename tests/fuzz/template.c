/* template.c - any bytes as a chat template: parsed, rendered with a small conversation, its answers marked.
 *
 * Whatever happens, a failure says why and leaves nothing behind, and spans cover what was written. */
#include "text/chat.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char conversation[] = "{\"messages\": [{\"role\": \"system\", \"content\": \" s \"}, {\"role\": "
                                   "\"user\", \"content\": \"h\u00e9llo, you\"},"
                                   "{\"role\": \"assistant\", \"content\": \"a\\nb\", \"tool_calls\": "
                                   "[{\"function\": {\"name\": \"f\", \"arguments\":"
                                   "{\"x\": [1, 2.5, null, true]}}}]}, {\"role\": \"tool\", \"content\": "
                                   "\"\"}, {\"role\": \"assistant\", \"content\":"
                                   "[{\"type\": \"text\", \"text\": \"t\"}]}], \"tools\": [{\"name\": "
                                   "\"f\"}], \"n\": 3, \"d\": {\"a\": {\"b\": []}}}";

static void check_spans(const hn_buf *out, const hn_spans *s, int32_t messages) {
    size_t at = 0;
    for (int64_t i = 0; i < s->n; i++) {
        const hn_tmpl_span *v = &s->v[i];
        hn_assert(v->begin == at && v->len > 0 && v->line > 0);
        hn_assert(v->message >= -1 && v->message < messages && v->turn >= -1 && v->turn < messages);
        at += v->len;
    }
    hn_assert(at == out->n);
}

static void check_ranges(const hn_buf *out, const hn_ranges *r) {
    size_t at = 0;
    for (int64_t i = 0; i < r->n; i++) {
        hn_assert(r->v[i].begin >= at && r->v[i].len > 0);
        at = r->v[i].begin + r->v[i].len;
        hn_assert(at <= out->n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static json_t *vars;
    if (!vars) vars = json_loads(conversation, 0, NULL);
    hn_tmpl_opts opts = {
        .now = "2024-07-26", .max_out = 1 << 16, .max_memory = 4 << 20, .max_steps = 20000
    };
    hn_tmpl *t;
    hn_err e = { 0 };
    if (hn_tmpl_new(&t, (const char *)data, n, "fuzz.jinja", &e)) {
        hn_assert(e.code < 0 && e.msg[0]);
        return 0;
    }
    hn_buf out = { 0 };
    hn_spans spans = { 0 };
    hn_ranges ranges = { 0 };
    int rc = hn_tmpl_render(t, vars, &opts, &out, &spans, &e);
    hn_assert(rc == e.code && (!rc || (e.msg[0] && !out.n && !spans.n)));
    check_spans(&out, &spans, (int32_t)json_array_size(json_object_get(vars, "messages")));
    hn_chat c = { .tmpl = t, .messages = json_object_get(vars, "messages"), .kwargs = vars, .opts = opts };
    hn_buf_clear(&out);
    e = (hn_err){ 0 };
    rc = hn_chat_render(&c, true, &out, &ranges, &e);
    hn_assert(rc == e.code && (!rc || (!out.n && !ranges.n)));
    check_ranges(&out, &ranges);
    hn_ranges_free(&ranges);
    hn_spans_free(&spans);
    hn_buf_free(&out);
    hn_tmpl_free(t);
    return 0;
}
