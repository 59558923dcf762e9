/* shape.c - the shapes rows come in, and each brought to one form.
 *
 * The shapes are those of TRL's dataset formats, of Alpaca and of ShareGPT.  A shape is decided by which
 * columns are there and whether they hold text or messages. */
#include "data/shape.h"

#include <string.h>

const char *const hn_col_names[HN_COLS] = {
    "text",  "messages",    "conversations", "prompt", "completion", "chosen", "rejected",
    "label", "instruction", "input",         "output", "system",     "tools",  "chat_template_kwargs",
};

#define BIT(c) (1u << (c))

/* ---- what a column holds ---- */
typedef enum { NOTHING, TEXT, CHAT, ONE, OTHER } holds; /* ONE: a single message */

static bool is_turn(const json_t *m) {
    return (json_object_get(m, "role") || json_object_get(m, "from")) && json_is_object(m);
}

static const json_t *column(const json_t *row, const hn_names *names, hn_col_name c) {
    return json_object_get(row, names->of[c]);
}

static holds held(const json_t *v) {
    if (!v || json_is_null(v)) return NOTHING;
    if (json_is_string(v)) return TEXT;
    if (is_turn(v)) return ONE;
    if (json_is_array(v) && (json_array_size(v) == 0 || is_turn(json_array_get(v, 0)))) return CHAT;
    return OTHER;
}

static bool is_chat(holds h) { return h == CHAT || h == ONE; }

/* ---- which shape ---- */
static int unknown(const json_t *row, hn_err *e) {
    hn_buf b = { 0 };
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)row, key, v) {
        if (b.n > 200) {
            hn_buf_str(&b, ", ...");
            break;
        }
        hn_buf_fmt(&b, "%s%s", b.n ? ", " : "", key);
    }
    int rc =
        hn_fail(e, HN_EPARSE,
                "no known shape: the columns are %s; known are text, messages, conversations, prompt with "
                "completion or chosen and rejected or label, instruction with output; data_columns renames "
                "(data_columns: prompt=question,completion=answer)",
                b.data ? b.data : "none");
    hn_buf_free(&b);
    return rc;
}

/* A pair of answers.  Where the prompt is text and the answers are messages, the answers hold the prompt. */
static void preference(const holds h[HN_COLS], hn_row_shape *s) {
    s->kind = HN_ROWS_PREFERENCE;
    s->used = BIT(HN_COL_CHOSEN) | BIT(HN_COL_REJECTED);
    s->chat = is_chat(h[HN_COL_CHOSEN]);
    hn_col_name prompt = h[HN_COL_PROMPT]          ? HN_COL_PROMPT
                         : h[HN_COL_CONVERSATIONS] ? HN_COL_CONVERSATIONS
                         : h[HN_COL_INSTRUCTION]   ? HN_COL_INSTRUCTION
                         : h[HN_COL_MESSAGES]      ? HN_COL_MESSAGES
                                                   : HN_COLS;
    if (prompt == HN_COL_INSTRUCTION) s->chat = s->alpaca == 0;
    else if (prompt != HN_COLS && is_chat(h[prompt]) != s->chat) prompt = HN_COLS;
    s->implicit = prompt == HN_COLS;
    if (!s->implicit) s->used |= BIT(prompt);
}

/* A whole conversation; with a label, its last message is the completion. */
static void conversation(const holds h[HN_COLS], hn_col_name c, hn_row_shape *s) {
    s->kind = h[HN_COL_LABEL] == OTHER ? HN_ROWS_UNPAIRED : HN_ROWS_WHOLE;
    s->chat = true;
    s->whole = c;
    s->used = BIT(c) | (s->kind == HN_ROWS_UNPAIRED ? BIT(HN_COL_LABEL) : 0);
}

int hn_row_shape_of(const json_t *row, const hn_names *names, int alpaca, hn_row_shape *s, hn_err *e) {
    holds h[HN_COLS];
    for (int c = 0; c < HN_COLS; c++) h[c] = held(column(row, names, (hn_col_name)c));
    *s = (hn_row_shape){ .whole = HN_COLS, .alpaca = alpaca };
    if (h[HN_COL_CHOSEN] && h[HN_COL_REJECTED]) {
        preference(h, s);
    } else if (h[HN_COL_PROMPT] && h[HN_COL_COMPLETION]) {
        s->kind = h[HN_COL_LABEL] ? HN_ROWS_UNPAIRED : HN_ROWS_ANSWER;
        s->chat = is_chat(h[HN_COL_PROMPT]);
        s->used = BIT(HN_COL_PROMPT) | BIT(HN_COL_COMPLETION) | (h[HN_COL_LABEL] ? BIT(HN_COL_LABEL) : 0);
    } else if (is_chat(h[HN_COL_MESSAGES])) {
        conversation(h, HN_COL_MESSAGES, s);
    } else if (is_chat(h[HN_COL_CONVERSATIONS])) {
        conversation(h, HN_COL_CONVERSATIONS, s);
    } else if (h[HN_COL_INSTRUCTION] && h[HN_COL_OUTPUT]) {
        s->kind = HN_ROWS_ANSWER;
        s->chat = alpaca == 0;
        s->used = BIT(HN_COL_INSTRUCTION) | BIT(HN_COL_OUTPUT);
    } else if (h[HN_COL_TEXT]) {
        s->kind = HN_ROWS_WHOLE;
        s->used = BIT(HN_COL_TEXT);
    } else if (h[HN_COL_PROMPT]) {
        s->kind = HN_ROWS_PROMPT;
        s->chat = is_chat(h[HN_COL_PROMPT]);
        s->used = BIT(HN_COL_PROMPT);
    } else {
        return unknown(row, e);
    }
    return HN_OK;
}

bool hn_row_shape_same(const hn_row_shape *a, const hn_row_shape *b) {
    return a->kind == b->kind && a->chat == b->chat && a->implicit == b->implicit && a->used == b->used;
}

bool hn_row_shape_reads(const hn_row_shape *s, hn_col_name c) {
    if (s->used & BIT(c)) return true;
    if (c == HN_COL_INPUT) return (s->used & BIT(HN_COL_INSTRUCTION)) != 0;
    return (c == HN_COL_SYSTEM || c == HN_COL_TOOLS || c == HN_COL_KWARGS) && s->chat;
}

void hn_row_shape_say(const hn_row_shape *s, const hn_names *names, hn_buf *out) {
    static const char *const kinds[] = { "language modelling", "prompt only", "prompt and completion",
                                         "preference", "unpaired preference" };
    hn_buf_fmt(out, "%s, %s%s", kinds[s->kind], s->chat ? "conversational" : "text",
               s->implicit ? ", implicit prompt" : "");
    const char *from = s->used & BIT(HN_COL_INSTRUCTION)     ? "Alpaca"
                       : s->used & BIT(HN_COL_CONVERSATIONS) ? "ShareGPT"
                                                             : NULL;
    if (from) hn_buf_fmt(out, " (%s)", from);
    for (int c = 0, n = 0; c < HN_COLS; c++) {
        if (!(s->used & BIT(c)) || !strcmp(names->of[c], hn_col_names[c])) continue;
        hn_buf_fmt(out, "%s%s is %s", n++ ? ", " : "; ", names->of[c], hn_col_names[c]);
    }
}

/* ---- messages ---- */
static const char *role_of(const char *name) {
    static const char *const known[][2] = {
        { "human", "user" },
        { "gpt", "assistant" },
        { "chatgpt", "assistant" },
        { "bing", "assistant" },
        { "bard", "assistant" },
        { "observation", "tool" },
        { "function_response", "tool" },
        { "model", "assistant" },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!strcmp(name, known[i][0])) return known[i][1];
    }
    return name;
}

/* A list of text parts [{"type":"text","text"|"value":...}] as one string; NULL when it is not that. */
static json_t *joined(const json_t *parts, hn_err *e) {
    hn_buf b = { 0 };
    size_t i, n = json_array_size(parts);
    for (i = 0; i < n; i++) {
        const json_t *p = json_array_get(parts, i), *t = json_object_get(p, "text");
        const char *type = json_string_value(json_object_get(p, "type"));
        if (!t) t = json_object_get(p, "value");
        if (!type || strcmp(type, "text") || !json_is_string(t)) break;
        hn_buf_add(&b, json_string_value(t), json_string_length(t));
    }
    json_t *out = i == n && !b.oom ? json_stringn(b.n ? b.data : "", b.n) : NULL;
    if (i < n)
        hn_fail(e, HN_EUNSUP, "a message holds a part that is not text (an image?); only text is read");
    else if (!out) hn_fail(e, HN_ENOMEM, "out of memory for a message");
    hn_buf_free(&b);
    return out;
}

/* The message with role and content in their usual places; its other keys are kept. */
static json_t *turn(const json_t *m, hn_err *e) {
    const json_t *role = json_object_get(m, "role"), *content = json_object_get(m, "content");
    bool share = !role;
    if (share) {
        role = json_object_get(m, "from");
        content = json_object_get(m, "value");
    }
    if (!json_is_object(m) || !json_is_string(role)) {
        hn_fail(e, HN_EPARSE, "a message needs role and content (or from and value)");
        return NULL;
    }
    json_t *text = NULL;
    if (json_is_string(content)) text = json_incref((json_t *)(uintptr_t)content);
    else if (json_is_array(content)) text = joined(content, e);
    else if ((!content || json_is_null(content)) && json_object_get(m, "tool_calls")) text = json_null();
    else
        hn_fail(e, HN_EPARSE, "the content of a message of role '%.40s' is not text",
                json_string_value(role));
    if (!text) return NULL;
    json_t *out = json_object();
    const char *key;
    json_t *v;
    int bad = !out || json_object_set_new(out, "role", json_string(role_of(json_string_value(role)))) ||
              json_object_set(out, "content", text);
    json_object_foreach((json_t *)(uintptr_t)m, key, v) {
        bool done = !strcmp(key, "role") || !strcmp(key, "content") ||
                    (share && (!strcmp(key, "from") || !strcmp(key, "value")));
        if (!done && !bad) bad = json_object_set(out, key, v);
    }
    json_decref(text);
    if (!bad) return out;
    json_decref(out);
    hn_fail(e, HN_ENOMEM, "out of memory for a message");
    return NULL;
}

/* Appends the messages of v (a list, or one message) to list. */
static int add_turns(json_t *list, const json_t *v, hn_err *e) {
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    for (size_t i = 0; i < n; i++) {
        hn_err why = { 0 };
        json_t *m = turn(json_is_array(v) ? json_array_get(v, i) : v, &why);
        if (!m) return hn_fail(e, why.code, "message %zu: %s", i + 1, why.msg);
        if (json_array_append_new(list, m)) return hn_fail(e, HN_ENOMEM, "out of memory for a message");
    }
    return HN_OK;
}

static int add_said(json_t *list, const char *role, const char *text, hn_err *e) {
    json_t *m = list ? json_pack("{s:s,s:s}", "role", role, "content", text) : NULL;
    if (!m || json_array_append_new(list, m)) return hn_fail(e, HN_ENOMEM, "out of memory for a message");
    return HN_OK;
}

/* ---- parts ---- */
static int part_text(const json_t *v, const char *name, hn_part *out, hn_err *e) {
    if (!json_is_string(v)) return hn_fail(e, HN_EPARSE, "column '%s' must be text here", name);
    out->text = hn_strdup(json_string_value(v));
    return out->text ? HN_OK : hn_fail(e, HN_ENOMEM, "out of memory for a row");
}

/* A column as text or messages, as the shape says.  Messages must be there; text may be empty. */
static int part(const json_t *row, const hn_row_shape *s, const hn_names *names, hn_col_name c, hn_part *out,
                hn_err *e) {
    const json_t *v = column(row, names, c);
    if (!s->chat) return part_text(v, names->of[c], out, e);
    if (!is_chat(held(v))) {
        return hn_fail(e, HN_EPARSE, "column '%s' must be a list of messages here", names->of[c]);
    }
    if (json_is_array(v) && json_array_size(v) == 0) {
        return hn_fail(e, HN_EPARSE, "column '%s' has no messages", names->of[c]);
    }
    if (!out->messages && !(out->messages = json_array()))
        return hn_fail(e, HN_ENOMEM, "out of memory for a row");
    int rc = add_turns(out->messages, v, e);
    if (rc) hn_fail_in(e, "column '%s'", names->of[c]);
    return rc;
}

/* An answer beside messages may be plain text: Alpaca's output, chosen, rejected. */
static int answer(const json_t *row, const hn_row_shape *s, const hn_names *names, hn_col_name c,
                  hn_part *out, hn_err *e) {
    const json_t *v = column(row, names, c);
    if (!s->chat || !json_is_string(v)) return part(row, s, names, c, out, e);
    if (!(s->used & BIT(HN_COL_INSTRUCTION))) {
        return hn_fail(e, HN_EPARSE, "column '%s' is text, but the prompt is messages", names->of[c]);
    }
    out->messages = json_array();
    return add_said(out->messages, "assistant", json_string_value(v), e);
}

/* A column that may be absent, null or text. */
static int optional(const json_t *row, const hn_names *names, hn_col_name c, const char **text, hn_err *e) {
    const json_t *v = column(row, names, c);
    *text = json_is_string(v) ? json_string_value(v) : "";
    if (!v || json_is_null(v) || json_is_string(v)) return HN_OK;
    return hn_fail(e, HN_EPARSE, "column '%s' must be text here", names->of[c]);
}

static int alpaca_prompt(const json_t *row, const hn_row_shape *s, const hn_names *names, hn_part *out,
                         hn_err *e) {
    const char *ask = json_string_value(column(row, names, HN_COL_INSTRUCTION)), *input;
    if (!ask) return hn_fail(e, HN_EPARSE, "column '%s' must be text here", names->of[HN_COL_INSTRUCTION]);
    int rc = optional(row, names, HN_COL_INPUT, &input, e);
    if (rc) return rc;
    hn_buf b = { 0 };
    const char *gap = s->alpaca ? "\n\n### Input:\n" : "\n";
    hn_buf_fmt(&b, "%s%s%s%s%s", s->alpaca ? "### Instruction:\n" : "", ask, *input ? gap : "", input,
               s->alpaca ? "\n\n### Response:\n" : "");
    if (b.oom) {
        rc = hn_fail(e, HN_ENOMEM, "out of memory for a row");
    } else if (!s->chat) {
        out->text = b.data;
        return HN_OK;
    } else {
        if (!out->messages) out->messages = json_array();
        rc = add_said(out->messages, "user", b.data, e);
    }
    hn_buf_free(&b);
    return rc;
}

/* `system` in front of the prompt's messages. */
static int system_turn(const json_t *row, const hn_names *names, hn_part *out, hn_err *e) {
    const char *text;
    int rc = optional(row, names, HN_COL_SYSTEM, &text, e);
    if (rc || !*text) return rc;
    out->messages = json_array();
    return add_said(out->messages, "system", text, e);
}

static int prompt_part(const json_t *row, const hn_row_shape *s, const hn_names *names, hn_part *out,
                       hn_err *e) {
    static const hn_col_name order[] = { HN_COL_PROMPT, HN_COL_CONVERSATIONS, HN_COL_MESSAGES };
    int rc = s->chat ? system_turn(row, names, out, e) : HN_OK;
    if (rc) return rc;
    if (s->used & BIT(HN_COL_INSTRUCTION)) return alpaca_prompt(row, s, names, out, e);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        if (s->used & BIT(order[i])) return part(row, s, names, order[i], out, e);
    }
    return HN_OK;
}

static int read_label(const json_t *row, const hn_names *names, bool *label, hn_err *e) {
    const json_t *v = column(row, names, HN_COL_LABEL);
    bool number = json_is_integer(v) && (json_integer_value(v) == 0 || json_integer_value(v) == 1);
    if (!json_is_boolean(v) && !number) {
        return hn_fail(e, HN_EPARSE, "column '%s' must be true or false", names->of[HN_COL_LABEL]);
    }
    *label = json_is_true(v) || (number && json_integer_value(v));
    return HN_OK;
}

/* A column of JSON, or of JSON written as text, for the chat template. */
static int read_json(const json_t *row, const char *column, json_type type, json_t **out, hn_err *e) {
    const char *what = type == JSON_ARRAY ? "a list" : "an object";
    json_t *v = json_object_get(row, column);
    if (!v || json_is_null(v) || (json_is_string(v) && !*json_string_value(v))) return HN_OK;
    *out = json_is_string(v) ? json_loads(json_string_value(v), 0, NULL) : json_incref(v);
    if (*out && json_typeof(*out) == type) return HN_OK;
    return hn_fail(e, HN_EPARSE, "column '%s' must be %s, or %s written as JSON text", column, what, what);
}

/* ---- what two answers share ---- */
/* The prompt of two conversations is the messages they begin with alike.  When one begins with all of the
 * other, the last of them is still an answer: an answer has at least one message. */
static int split_chats(hn_entry *r, unsigned *notes, hn_err *e) {
    json_t *a = r->answer.messages, *b = r->rejected.messages;
    size_t na = json_array_size(a), nb = json_array_size(b), n = 0, most = (na < nb ? na : nb) - 1;
    while (n < most && json_equal(json_array_get(a, n), json_array_get(b, n))) n++;
    if (json_equal(a, b)) *notes |= HN_ROW_EQUAL_SIDES;
    if (n == 0) *notes |= HN_ROW_NO_PROMPT;
    if (!(r->prompt.messages = json_array())) return hn_fail(e, HN_ENOMEM, "out of memory for a row");
    for (size_t i = 0; i < n; i++) {
        if (json_array_append(r->prompt.messages, json_array_get(a, 0))) {
            return hn_fail(e, HN_ENOMEM, "out of memory for a row");
        }
        json_array_remove(a, 0);
        json_array_remove(b, 0);
    }
    return HN_OK;
}

/* The prompt of two texts is the characters they begin with alike; a blank at its end goes to the answers,
 * where tokenizers want it.  When one text begins with all of the other and no blank can be given back, the
 * last word they share is still an answer, so that none is empty. */
static size_t shared_text(const char *a, const char *b) {
    size_t n = 0;
    while (a[n] && a[n] == b[n]) n++;
    bool prefix = !a[n] || !b[n];
    while (n > 0 && ((unsigned char)a[n] & 0xc0) == 0x80) n--; /* not inside a character */
    while (prefix && n > 0 && a[n - 1] != ' ' && a[n - 1] != '\n') n--;
    return n > 0 && a[n - 1] == ' ' ? n - 1 : n;
}

static int split_texts(hn_entry *r, unsigned *notes, hn_err *e) {
    size_t n = shared_text(r->answer.text, r->rejected.text);
    if (!strcmp(r->answer.text, r->rejected.text)) *notes |= HN_ROW_EQUAL_SIDES;
    if (n == 0) *notes |= HN_ROW_NO_PROMPT;
    if (!(r->prompt.text = hn_strndup(r->answer.text, n)))
        return hn_fail(e, HN_ENOMEM, "out of memory for a row");
    memmove(r->answer.text, r->answer.text + n, strlen(r->answer.text + n) + 1);
    memmove(r->rejected.text, r->rejected.text + n, strlen(r->rejected.text + n) + 1);
    return HN_OK;
}

/* ---- a row ---- */
static int read_pair(json_t *row, const hn_row_shape *s, const hn_names *names, hn_entry *out,
                     unsigned *notes, hn_err *e) {
    int rc = s->implicit ? HN_OK : prompt_part(row, s, names, &out->prompt, e);
    if (!rc && s->implicit && s->chat) rc = system_turn(row, names, &out->answer, e);
    if (!rc && s->implicit && s->chat) rc = system_turn(row, names, &out->rejected, e);
    if (!rc) rc = answer(row, s, names, HN_COL_CHOSEN, &out->answer, e);
    if (!rc) rc = answer(row, s, names, HN_COL_REJECTED, &out->rejected, e);
    if (rc) return rc;
    if (s->implicit) return s->chat ? split_chats(out, notes, e) : split_texts(out, notes, e);
    bool same = s->chat ? json_equal(out->answer.messages, out->rejected.messages)
                        : !strcmp(out->answer.text, out->rejected.text);
    if (same) *notes |= HN_ROW_EQUAL_SIDES;
    return HN_OK;
}

/* A conversation with a label: the last message is the completion. */
static int split_last(hn_entry *r, hn_err *e) {
    json_t *all = r->answer.messages;
    size_t n = json_array_size(all);
    if (n < 2) return hn_fail(e, HN_EPARSE, "a conversation with a label needs a prompt and an answer");
    json_t *last = json_array();
    if (!last || json_array_append(last, json_array_get(all, n - 1)) || json_array_remove(all, n - 1)) {
        json_decref(last);
        return hn_fail(e, HN_ENOMEM, "out of memory for a row");
    }
    r->prompt.messages = all;
    r->answer.messages = last;
    return HN_OK;
}

static int read_whole(json_t *row, const hn_row_shape *s, const hn_names *names, hn_entry *out, hn_err *e) {
    if (!s->chat) return part(row, s, names, HN_COL_TEXT, &out->answer, e);
    int rc = system_turn(row, names, &out->answer, e);
    if (!rc) rc = part(row, s, names, s->whole, &out->answer, e);
    if (!rc && s->kind == HN_ROWS_UNPAIRED) rc = split_last(out, e);
    return rc;
}

int hn_row_read(json_t *row, const hn_row_shape *s, const hn_names *names, hn_entry *out, unsigned *notes,
                hn_err *e) {
    int rc;
    out->row = json_incref(row);
    if (s->kind == HN_ROWS_PREFERENCE) {
        rc = read_pair(row, s, names, out, notes, e);
    } else if (s->kind == HN_ROWS_WHOLE || s->whole != HN_COLS) {
        rc = read_whole(row, s, names, out, e);
    } else {
        hn_col_name c = s->used & BIT(HN_COL_OUTPUT) ? HN_COL_OUTPUT : HN_COL_COMPLETION;
        rc = prompt_part(row, s, names, &out->prompt, e);
        if (!rc && s->kind != HN_ROWS_PROMPT) rc = answer(row, s, names, c, &out->answer, e);
    }
    if (!rc && s->kind == HN_ROWS_UNPAIRED) rc = read_label(row, names, &out->label, e);
    if (!rc && s->chat) rc = read_json(row, names->of[HN_COL_TOOLS], JSON_ARRAY, &out->tools, e);
    if (!rc && s->chat) rc = read_json(row, names->of[HN_COL_KWARGS], JSON_OBJECT, &out->kwargs, e);
    if (rc) hn_entry_release(out);
    return rc;
}

void hn_entry_release(hn_entry *r) {
    hn_part *parts[] = { &r->prompt, &r->answer, &r->rejected };
    for (int i = 0; i < 3; i++) {
        hn_free(parts[i]->text);
        json_decref(parts[i]->messages);
    }
    json_decref(r->tools);
    json_decref(r->kwargs);
    json_decref(r->row);
    memset(r, 0, sizeof *r);
}
