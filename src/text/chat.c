/* chat.c - which bytes of a rendered conversation the assistant wrote.
 *
 * Each byte of a rendering knows in whose turn it was written (hn_tmpl_span).  The turn of an
 * assistant message starts with a header that the model is given, not asked to write.  That header
 * is what add_generation_prompt adds after the messages before it, so it is measured: the messages
 * before the first answer are rendered with and without a prompt and the difference is cut off the
 * front of every turn.  Where a template shows no such prompt, an answer of one known word is rendered
 * in place of the first answer, and what stands before that word is the header. */
#include "text/chat.h"

#include <ctype.h>
#include <string.h>

void hn_ranges_free(hn_ranges *r) {
    hn_free(r->v);
    memset(r, 0, sizeof *r);
}

static int add_range(hn_ranges *r, size_t begin, size_t end, int32_t message, hn_err *e) {
    if (end <= begin) return HN_OK;
    hn_range *last = r->n ? &r->v[r->n - 1] : NULL;
    if (last && last->begin + last->len == begin && last->message == message) {
        last->len = end - last->begin;
        return HN_OK;
    }
    if (hn_grow(&r->v, &r->cap, r->n + 1, sizeof *r->v) < 0) return hn_fail(e, HN_ENOMEM, "out of memory");
    r->v[r->n++] = (hn_range){ begin, end - begin, message };
    return HN_OK;
}

/* ---- variables ---- */

/* The message with its reasoning under both names templates read. */
static json_t *with_reasoning(json_t *m) {
    static const char *const names[] = { "reasoning_content", "thinking", "reasoning" };
    json_t *found = NULL;
    for (int i = 0; i < 3 && (!found || json_is_null(found)); i++) found = json_object_get(m, names[i]);
    if (!found || json_is_null(found)) return json_incref(m);
    json_t *copy = json_copy(m);
    if (copy && (json_object_set(copy, "reasoning_content", found) ||
                 (!json_object_get(copy, "thinking") && json_object_set(copy, "thinking", found)))) {
        json_decref(copy);
        return NULL;
    }
    return copy;
}

static json_t *variables(const hn_chat *c, int64_t n, bool prompt) {
    json_t *vars = json_object(), *list = json_array();
    int bad = !vars || !list;
    for (int64_t i = 0; i < n && !bad; i++)
        bad = json_array_append_new(list, with_reasoning(json_array_get(c->messages, (size_t)i)));
    bad = bad || (c->tokens && json_object_update(vars, c->tokens));
    bad = bad || json_object_set_new(vars, "tools", c->tools ? json_incref(c->tools) : json_null());
    bad = bad || json_object_set_new(vars, "documents", json_null());
    bad = bad || json_object_set_new(vars, "add_generation_prompt", json_boolean(prompt));
    bad = bad || (c->kwargs && json_object_update(vars, c->kwargs));
    bad = bad || json_object_set(vars, "messages", list);
    json_decref(list);
    if (!bad) return vars;
    json_decref(vars);
    return NULL;
}

static int render(const hn_chat *c, int64_t n, bool prompt, hn_buf *out, hn_spans *spans, hn_err *e) {
    json_t *vars = variables(c, n, prompt);
    if (!vars) return hn_fail(e, HN_ENOMEM, "out of memory");
    int rc = hn_tmpl_render(c->tmpl, vars, &c->opts, out, spans, e);
    json_decref(vars);
    return rc;
}

static bool by_assistant(const hn_chat *c, int32_t message) {
    const char *role =
        json_string_value(json_object_get(json_array_get(c->messages, (size_t)message), "role"));
    return role && !strcmp(role, "assistant");
}

/* ---- the header of an answer ---- */

/* Back from n to a place where a marker may end, so that <|a|><think> and <|a|></think> share <|a|>. */
static size_t marker_end(const char *p, size_t n) {
    while (n && !isspace((unsigned char)p[n - 1]) && !strchr(">]:", p[n - 1])) n--;
    return n;
}

static size_t shared(const hn_buf *a, const hn_buf *b) {
    size_t n = 0;
    while (n < a->n && n < b->n && a->data[n] == b->data[n]) n++;
    return n;
}

/* What a prompt adds after the first n messages; empty when the template cannot tell. */
static int prompt_after(const hn_chat *c, int64_t n, hn_buf *out, hn_err *e) {
    hn_buf without = { 0 }, with = { 0 };
    hn_err own = { 0 };
    int rc = render(c, n, false, &without, NULL, &own);
    if (!rc) rc = render(c, n, true, &with, NULL, &own);
    size_t same = rc ? 0 : shared(&without, &with);
    if (!rc && same < without.n)
        same = marker_end(with.data, same); /* no prompt: an end of text instead of it */
    if (!rc && same < with.n) hn_buf_add(out, with.data + same, with.n - same);
    if (out->oom) rc = HN_ENOMEM;
    hn_buf_free(&without);
    hn_buf_free(&with);
    return rc == HN_ENOMEM ? hn_fail(e, rc, "out of memory")
                           : HN_OK; /* a template may refuse the shorter list */
}

typedef struct given { /* what a model is given before an answer */
    hn_buf prompt, header;
    bool probed; /* header was measured, for there is no prompt */
} given;

/* What stands between the first n messages and an answer that is one word. */
static int header_after(const hn_chat *c, int64_t n, given *g, hn_err *e) {
    static const char word[] = "hone-probe-0f6a1c";
    hn_buf before = { 0 }, after = { 0 };
    hn_chat probe = *c;
    json_t *answer = json_pack("{s:s,s:s}", "role", "assistant", "content", word);
    probe.messages = json_array();
    int rc = HN_OK;
    for (int64_t i = 0; i < n && !rc; i++)
        rc = json_array_append(probe.messages, json_array_get(c->messages, (size_t)i)) ? HN_ENOMEM : HN_OK;
    if (json_array_append_new(probe.messages, answer)) rc = HN_ENOMEM;
    hn_err own = { 0 };
    if (!rc) rc = render(&probe, n, false, &before, NULL, &own);
    if (!rc) rc = render(&probe, n + 1, false, &after, NULL, &own);
    char *hit = rc ? NULL : memmem(after.data, after.n, word, sizeof word - 1);
    size_t same = hit ? shared(&before, &after) : 0;
    if (hit && after.data + same < hit)
        hn_buf_add(&g->header, after.data + same, (size_t)(hit - after.data) - same);
    g->probed = hit;
    if (g->header.oom) rc = HN_ENOMEM;
    json_decref(probe.messages);
    hn_buf_free(&before);
    hn_buf_free(&after);
    return rc == HN_ENOMEM ? hn_fail(e, rc, "out of memory") : HN_OK;
}

static int generation_prompt(const hn_chat *c, given *g, hn_err *e) {
    int64_t n = (int64_t)json_array_size(c->messages), first = 0;
    while (first < n && !by_assistant(c, (int32_t)first)) first++;
    if (first == n) return HN_OK; /* nobody asks */
    int rc = first ? prompt_after(c, first, &g->prompt, e) : HN_OK;
    if (!rc && !g->prompt.n) rc = prompt_after(c, n, &g->prompt, e);
    return rc || g->prompt.n ? rc : header_after(c, first, g, e);
}

/* ---- turns ---- */

/* A run of bytes written in one turn, and where in it the message itself first and last shows. */
typedef struct turn {
    size_t begin, end;
    size_t first, last; /* first == last: it does not show */
    size_t role_end;    /* after the last byte of its role that precedes `first` */
    size_t foreign;     /* where another message shows after it (a tool's answer); 0: nowhere */
    size_t cut, again;  /* end of what shows before `foreign`; where it shows again, 0: nowhere */
    int32_t message;
} turn;

static bool blank(const char *p, size_t n) {
    while (n && isspace((unsigned char)p[n - 1])) n--;
    return !n;
}

/* The end of the last place in p[0, n) where the prompt stands, which may have other blanks around it; 0:
 * none. */
static size_t last_prompt(const char *p, size_t n, const hn_buf *prompt) {
    size_t from = 0, to = prompt->n;
    while (from < to && isspace((unsigned char)prompt->data[from])) from++;
    while (to > from && isspace((unsigned char)prompt->data[to - 1])) to--;
    for (size_t end = n; to > from && end >= to - from; end--) {
        if (memcmp(p + end - (to - from), prompt->data + from, to - from)) continue;
        for (; to < prompt->n && end < n && p[end] == prompt->data[to]; to++) end++;
        return end;
    }
    return 0;
}

/* How many bytes of the turn the model is given. */
static size_t header(const char *text, const turn *t, const given *g) {
    const hn_buf *prompt = &g->prompt;
    const char *p = text + t->begin;
    size_t n = t->end - t->begin, same = 0, shown = t->first - t->begin, end;
    while (same < n && same < prompt->n && p[same] == prompt->data[same]) same++;
    if (prompt->n && same == prompt->n) return same;
    if (t->first == t->last) shown = n;                    /* nothing of the message to hold on to */
    if ((end = last_prompt(p, shown, prompt))) return end; /* after a default system prompt, say */
    /* A prompt that opens a reasoning block which this turn lacks: the part they share. */
    same = marker_end(p, same < shown ? same : shown);
    if (same > prompt->n / 2 || (same && same == shown))
        return t->role_end > t->begin + same ? t->role_end - t->begin : same;
    if (!g->probed) return blank(p, shown) && shown < n ? 0 : shown;
    for (same = 0; same < n && same < g->header.n && p[same] == g->header.data[same];) same++;
    if (same < g->header.n) same = marker_end(p, same);
    return blank(p, same) ? 0 : same;
}

/* Where the assistant's part ends: after its end-of-turn text. */
static size_t tail(const char *text, const turn *t, size_t begin, const char *eos) {
    size_t from = t->last > begin ? t->last : begin, end = t->end;
    const char *hit = eos && *eos ? memmem(text + from, end - from, eos, strlen(eos)) : NULL;
    if (hit) return (size_t)(hit - text) + strlen(eos);
    while (end > from && isspace((unsigned char)text[end - 1])) end--;
    return end > from ? end : t->end; /* blanks are all that ends the turn */
}

/* The bytes after a turn that belong to nobody, when they hold the end-of-sequence token and the turn itself
 * ends without a word: a template that does not loop over messages writes it apart. */
static size_t loose_end(const char *text, const turn *t, size_t next, const char *eos) {
    if (!eos || !*eos || !blank(text + t->last, t->end - t->last)) return t->end;
    const char *hit = memmem(text + t->end, next - t->end, eos, strlen(eos));
    return hit ? (size_t)(hit - text) + strlen(eos) : t->end;
}

static turn turn_at(const hn_spans *s, int64_t *i) {
    const hn_tmpl_span *v = &s->v[*i];
    turn t = { .begin = v->begin, .message = v->turn };
    bool shown = false;
    for (; *i < s->n && s->v[*i].turn == t.message; ++*i) {
        v = &s->v[*i];
        t.end = v->begin + v->len;
        if (v->message >= 0 && v->message != t.message && shown) {
            if (!t.foreign) t.foreign = v->begin, t.cut = t.last;
            t.again = 0;
        }
        if (v->message != t.message) continue;
        if (t.foreign && !t.again) t.again = v->begin;
        if (v->role) {
            if (!shown) t.role_end = t.end;
            continue;
        }
        if (!shown) t.first = v->begin;
        shown = true;
        t.last = t.end;
    }
    if (!shown) t.first = t.last = t.role_end > t.begin ? t.role_end : t.begin;
    return t;
}

/* A turn into which the template draws later messages: what the assistant wrote does not depend on them, so
 * it ends where a rendering without them differs. */
static int broken_turn(const hn_chat *c, const hn_buf *text, const turn *t, size_t begin, const char *eos,
                       hn_ranges *out, hn_err *e) {
    hn_buf alone = { 0 };
    hn_err own = { 0 };
    int rc = render(c, t->message + 1, false, &alone, NULL, &own);
    size_t end = rc ? 0 : shared(&alone, text);
    hn_buf_free(&alone);
    if (rc == HN_ENOMEM) return hn_fail(e, rc, "out of memory");
    end = marker_end(text->data, end < t->foreign ? end : t->foreign);
    rc = add_range(out, begin, end > t->first ? end : t->cut, t->message, e);
    if (!rc && t->again) rc = add_range(out, t->again, tail(text->data, t, t->again, eos), t->message, e);
    return rc;
}

static int from_turns(const hn_chat *c, const hn_buf *text, const hn_spans *s, hn_ranges *out, hn_err *e) {
    given g = { 0 };
    const char *eos = json_string_value(json_object_get(c->tokens, "eos_token"));
    int rc = generation_prompt(c, &g, e);
    for (int64_t i = 0; i < s->n && !rc;) {
        turn t = turn_at(s, &i);
        if (t.message < 0 || !by_assistant(c, t.message)) continue;
        size_t begin = t.begin + header(text->data, &t, &g), next = text->n;
        for (int64_t k = i; k < s->n && next == text->n; k++)
            if (s->v[k].turn >= 0) next = s->v[k].begin;
        t.end = loose_end(text->data, &t, next, eos);
        rc = t.foreign ? broken_turn(c, text, &t, begin, eos, out, e)
                       : add_range(out, begin, tail(text->data, &t, begin, eos), t.message, e);
    }
    hn_buf_free(&g.prompt);
    hn_buf_free(&g.header);
    return rc;
}

static int from_generation(const hn_spans *s, hn_ranges *out, hn_err *e) {
    int rc = HN_OK;
    for (int64_t i = 0; i < s->n && !rc; i++)
        if (s->v[i].generation)
            rc = add_range(out, s->v[i].begin, s->v[i].begin + s->v[i].len, s->v[i].turn, e);
    return rc;
}

/* ---- what is offered ---- */
static int check(const hn_chat *c, hn_err *e) {
    hn_assert(c->tmpl && json_is_array(c->messages));
    size_t i;
    json_t *m;
    json_array_foreach(c->messages, i, m) if (!json_is_object(m)) return hn_fail(
        e, HN_EPARSE, "message %zu is not an object", i);
    return HN_OK;
}

static int render_first(const hn_chat *c, int64_t n, bool prompt, hn_buf *out, hn_ranges *assistant,
                        hn_err *e) {
    hn_spans spans = { 0 };
    size_t base = out->n;
    int64_t n_before = assistant ? assistant->n : 0;
    int rc = render(c, n, prompt, out, assistant ? &spans : NULL, e);
    bool marked = false;
    for (int64_t i = 0; i < spans.n; i++) marked |= spans.v[i].generation;
    if (!rc && assistant)
        rc = marked ? from_generation(&spans, assistant, e) : from_turns(c, out, &spans, assistant, e);
    hn_spans_free(&spans);
    if (rc && out->n > base) out->data[out->n = base] = 0;
    if (rc && assistant) assistant->n = n_before;
    return rc;
}

int hn_chat_render(const hn_chat *c, bool prompt, hn_buf *out, hn_ranges *assistant, hn_err *e) {
    int rc = check(c, e);
    return rc ? rc : render_first(c, (int64_t)json_array_size(c->messages), prompt, out, assistant, e);
}

int hn_chat_delta(const hn_chat *c, int64_t from, bool prompt, hn_buf *out, hn_err *e) {
    int64_t n = (int64_t)json_array_size(c->messages);
    hn_buf seen = { 0 }, all = { 0 };
    hn_ranges ours = { 0 };
    hn_assert(from >= 0 && from <= n);
    int rc = check(c, e);
    if (!rc && from) rc = render_first(c, from, false, &seen, &ours, e);
    if (!rc) rc = render_first(c, n, prompt, &all, NULL, e);
    size_t end = seen.n;
    if (ours.n && ours.v[ours.n - 1].message == from - 1)
        end = ours.v[ours.n - 1].begin + ours.v[ours.n - 1].len;
    if (!rc && (end > all.n || (end && memcmp(seen.data, all.data, end))))
        rc = hn_fail(e, HN_EUNSUP,
                     "the template rewrites the first %lld messages when others follow: "
                     "render the conversation again whole",
                     (long long)from);
    if (!rc) {
        hn_buf_add(out, all.data ? all.data + end : "", all.n - end);
        if (out->oom) rc = hn_fail(e, HN_ENOMEM, "out of memory");
    }
    hn_ranges_free(&ours);
    hn_buf_free(&seen);
    hn_buf_free(&all);
    return rc;
}
