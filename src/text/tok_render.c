/* tok_render.c - what a token stands for: its spelling, sent through the decoders that work token by token.
 *
 * This is done once for every token; only where the first token of a text is another matter (Metaspace,
 * WordPiece) is it done again for that one. */
#include <string.h>

#include "text/tok.h"
#include "text/utf8.h"

/* ---- the byte-level alphabet ---- */
static bool printable(int b) { return (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE; }

int tok_byte_of(int32_t cp) {
    if (cp < 0x100) return printable(cp) ? cp : -1;
    int nth = cp - 0x100;
    for (int b = 0; b < 0x100; b++)
        if (!printable(b) && !nth--) return b;
    return -1;
}

int tok_byte_char(unsigned byte, char out[4]) {
    int32_t cp = (int32_t)byte;
    if (!printable((int)byte)) {
        cp = 0x100;
        for (int b = 0; b < (int)byte; b++) cp += !printable(b);
    }
    return hn_utf8_put(out, cp);
}

bool tok_unspell(const hn_tok *t, tok_key k, hn_buf *out) {
    size_t old = out->n;
    for (int32_t i = 0; i < k.n;) {
        int32_t cp = 0;
        int len = hn_utf8_get(k.s + i, (size_t)(k.n - i), &cp);
        if (len < 0 || cp >= 0x200 || t->byte_of[cp] < 0) {
            out->n = old;
            return false;
        }
        hn_buf_chr(out, (char)t->byte_of[cp]);
        i += len;
    }
    return true;
}

static int hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

int tok_byte_token(tok_key k) {
    if (k.n != 6 || memcmp(k.s, "<0x", 3) || k.s[5] != '>') return -1;
    int hi = hex(k.s[3]), lo = hex(k.s[4]);
    return hi < 0 || lo < 0 ? -1 : hi * 16 + lo;
}

/* ---- decoders ---- */
static void replace_text(hn_buf *out, tok_key in, const char *from, size_t n, const char *to, size_t m) {
    const char *p = in.s, *end = in.s + in.n, *at;
    while ((at = memmem(p, (size_t)(end - p), from, n))) {
        hn_buf_add(out, p, (size_t)(at - p));
        hn_buf_add(out, to, m);
        p = at + n;
    }
    hn_buf_add(out, p, (size_t)(end - p));
}

static int replace(tok_work *w, const tok_stage *g, tok_key in, hn_buf *out) {
    tok_view v = { .s = in.s, .n = (size_t)in.n };
    size_t at = 0, b, e;
    int rc;
    while ((rc = tok_pattern_next(w, &g->pattern, v, at, &b, &e)) > 0) {
        hn_buf_add(out, in.s + at, b - at);
        hn_buf_add(out, g->text.s, (size_t)g->text.n);
        at = e;
    }
    hn_buf_add(out, in.s + at, (size_t)in.n - at);
    return rc;
}

/* Up to `start` characters off the beginning, up to `stop` off the end. */
static void strip(const tok_stage *g, tok_key in, hn_buf *out) {
    const tok_key c = g->text;
    for (int i = 0; i < g->start && in.n >= c.n && !memcmp(in.s, c.s, (size_t)c.n); i++) {
        in.s += c.n;
        in.n -= c.n;
    }
    for (int i = 0; i < g->stop && in.n >= c.n && !memcmp(in.s + in.n - c.n, c.s, (size_t)c.n); i++)
        in.n -= c.n;
    hn_buf_add(out, in.s, (size_t)in.n);
}

/* BERT's way: what does not continue a word has a space before it; then English is tidied. */
static void word_piece(const tok_stage *g, tok_key in, bool first, hn_buf *out) {
    static const char *const tidy[][2] = { { " .", "." },     { " ?", "?" },           { " !", "!" },
                                           { " ,", "," },     { " ' ", "'" },          { " n't", "n't" },
                                           { " 'm", "'m" },   { " do not", " don't" }, { " 's", "'s" },
                                           { " 've", "'ve" }, { " 're", "'re" } };
    hn_buf a = { 0 }, b = { 0 };
    bool goes_on = in.n >= g->text.n && !memcmp(in.s, g->text.s, (size_t)g->text.n);
    if (first) goes_on = false;
    if (!first && !goes_on) hn_buf_chr(&a, ' ');
    hn_buf_add(&a, in.s + (goes_on ? g->text.n : 0), (size_t)(in.n - (goes_on ? g->text.n : 0)));
    for (size_t i = 0; g->tidy && i < sizeof tidy / sizeof *tidy; i++) {
        hn_buf_clear(&b);
        replace_text(&b, (tok_key){ a.data ? a.data : "", (int32_t)a.n }, tidy[i][0], strlen(tidy[i][0]),
                     tidy[i][1], strlen(tidy[i][1]));
        hn_buf swap = a;
        a = b;
        b = swap;
    }
    out->oom = out->oom || a.oom || b.oom;
    hn_buf_add(out, a.data ? a.data : "", a.n);
    hn_buf_free(&a);
    hn_buf_free(&b);
}

static int stage(tok_work *w, const tok_stage *g, tok_key in, bool first, hn_buf *out) {
    if (g->kind == TOK_DEC_REPLACE) return replace(w, g, in, out);
    if (g->kind == TOK_DEC_STRIP) strip(g, in, out);
    else if (g->kind == TOK_DEC_WORDS) word_piece(g, in, first, out);
    else if (g->kind == TOK_DEC_META) /* the first token loses its marks */
        replace_text(out, in, g->text.s, (size_t)g->text.n, " ", first && g->start ? 0 : 1);
    else if (!tok_unspell(w->t, in, out)) hn_buf_add(out, in.s, (size_t)in.n);
    return HN_OK;
}

int tok_render(tok_work *w, tok_key k, bool first, hn_buf *a, hn_buf *b) {
    const hn_tok *t = w->t;
    hn_buf_clear(a);
    hn_buf_add(a, k.s, (size_t)k.n);
    for (int i = 0; i < t->n_stage; i++) {
        hn_buf_clear(b);
        int rc = stage(w, &t->stage[i], (tok_key){ a->data ? a->data : "", (int32_t)a->n }, first, b);
        if (rc) return rc;
        hn_buf swap = *a;
        *a = *b;
        *b = swap;
    }
    hn_buf_chr(a, 0); /* also where it is empty, `data` is text */
    a->n -= !a->oom;
    return a->oom || b->oom ? HN_ENOMEM : HN_OK;
}
