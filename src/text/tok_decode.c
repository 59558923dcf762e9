/* tok_decode.c - ids to text, whole or as they come. */
#include <string.h>

#include "text/tok.h"
#include "text/utf8.h"

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */

/* The bytes of a token; n 0 where it has none or is skipped. */
static tok_key bytes_of(const hn_tok *t, int32_t id, bool skip_special) {
    hn_assert(id >= 0);
    if (id >= t->n_id || !t->text[id].s || (skip_special && (t->flag[id] & TOK_SPECIAL)))
        return (tok_key){ "", 0 };
    return t->text[id];
}

/* ---- as they come ---- */
void hn_tok_stream_init(hn_tok_stream *s, const hn_tok *t, bool skip_special) {
    *s = (hn_tok_stream){ .t = t, .skip_special = skip_special, .lead = t->dec_strip_n };
}

/* Passes on a character, or takes it off where the text begins. */
static void emit(hn_tok_stream *s, hn_buf *out, const char *p, size_t n) {
    const tok_key *strip = &s->t->dec_strip;
    if (s->lead > 0 && n == (size_t)strip->n && !memcmp(p, strip->s, n)) {
        s->lead--;
        return;
    }
    s->lead = 0;
    hn_buf_add(out, p, n);
}

/* Everything of p[0..n) that is certain: whole characters, U+FFFD for what cannot become one.  Returns
 * how much of the end still waits (at most 3 bytes). */
static size_t settle(hn_tok_stream *s, hn_buf *out, const char *p, size_t n) {
    size_t i = 0;
    while (i < n) {
        int32_t cp;
        int len = hn_utf8_get(p + i, n - i, &cp);
        if (len < 0 && hn_utf8_incomplete(p + i, n - i)) break;
        if (s->lead <= 0 && len > 0) { /* the fast way: all whole characters at once */
            size_t good = hn_utf8_valid(p + i, n - i);
            hn_buf_add(out, p + i, good);
            i += good;
            continue;
        }
        if (len > 0) emit(s, out, p + i, (size_t)len);
        else emit(s, out, replacement, 3);
        i += (size_t)(len > 0 ? len : -len);
    }
    return n - i;
}

static void feed(hn_tok_stream *s, hn_buf *out, const char *p, size_t n) {
    while (s->n_hold && n) { /* at most three bytes end the wait */
        char c[8];
        memcpy(c, s->hold, (size_t)s->n_hold);
        c[s->n_hold] = *p++;
        n--;
        size_t all = (size_t)s->n_hold + 1, left = settle(s, out, c, all);
        memcpy(s->hold, c + all - left, left);
        s->n_hold = (int)left;
    }
    size_t left = n ? settle(s, out, p, n) : 0;
    if (!left) return;
    memcpy(s->hold, p + n - left, left);
    s->n_hold = (int)left;
}

/* The first token where that is a matter of its own. */
static void add_first(hn_tok_stream *s, int32_t id, hn_buf *out) {
    tok_work w = { .t = s->t };
    hn_buf a = { 0 }, b = { 0 };
    if (tok_render(&w, s->t->name[id], true, &a, &b)) out->oom = true;
    else feed(s, out, a.data, a.n);
    hn_buf_free(&a);
    hn_buf_free(&b);
    tok_work_free(&w);
}

void hn_tok_stream_add(hn_tok_stream *s, int32_t id, hn_buf *out) {
    const hn_tok *t = s->t;
    tok_key k = bytes_of(t, id, s->skip_special);
    bool first = !s->started,
         known = id < t->n_id && t->name[id].s && !(s->skip_special && (t->flag[id] & TOK_SPECIAL));
    if (!known) return;
    s->started = true;
    bool byte = t->flag[id] & TOK_BYTE;
    if (!t->dec_spelled && !byte) hn_tok_stream_end(s, out); /* a run of bytes ends here */
    if (t->dec_join && !first) feed(s, out, " ", 1);
    if (t->dec_first && first && !byte) add_first(s, id, out);
    else feed(s, out, k.s, (size_t)k.n);
}

void hn_tok_stream_end(hn_tok_stream *s, hn_buf *out) {
    if (s->n_hold) emit(s, out, replacement, 3);
    s->n_hold = 0;
}

/* ---- whole ---- */
/* The reference library turns a run of byte tokens that is not UTF-8 into one U+FFFD a byte. */
static int64_t byte_run(hn_tok_stream *s, const int32_t *id, int64_t n, hn_buf *run, hn_buf *out) {
    const hn_tok *t = s->t;
    int64_t i = 0;
    hn_buf_clear(run);
    for (; i < n; i++) {
        tok_key k = bytes_of(t, id[i], s->skip_special);
        if (k.n && !(t->flag[id[i]] & TOK_BYTE)) break;
        hn_buf_add(run, k.s, (size_t)k.n);
    }
    if (hn_utf8_valid(run->data ? run->data : "", run->n) == run->n) feed(s, out, run->data, run->n);
    else
        for (size_t k = 0; k < run->n; k++) emit(s, out, replacement, 3);
    return i;
}

int hn_tok_decode(const hn_tok *t, const int32_t *id, int64_t n, bool skip_special, hn_buf *out, hn_err *e) {
    hn_tok_stream s;
    hn_buf run = { 0 };
    hn_tok_stream_init(&s, t, skip_special);
    for (int64_t i = 0; i < n;) {
        hn_assert(id[i] >= 0);
        bool byte = id[i] < t->n_id && (t->flag[id[i]] & TOK_BYTE);
        if (byte) i += byte_run(&s, id + i, n - i, &run, out);
        else hn_tok_stream_add(&s, id[i++], out);
    }
    hn_tok_stream_end(&s, out);
    bool oom = run.oom || out->oom;
    hn_buf_free(&run);
    return oom ? hn_fail(e, HN_ENOMEM, "out of memory for the text of %lld ids", (long long)n) : HN_OK;
}
