/* tok_regex.c - patterns of tokenizer files, written for Oniguruma's Ruby syntax, for PCRE2.
 *
 * The two agree on most of what tokenizers use and differ silently on the rest (\h, \v, `{n}+`, nested
 * classes, what \s holds), so the pattern is read part by part: what means the same is passed on, what
 * means something else is rewritten, anything else is an error that names it. */
#include <string.h>

#include "text/tok.h"
#include "text/utf8.h"

/* White_Space and its complement, as members of a class. */
#define SPACE                                                                                                \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}"     \
    "\\x{3000}"
#define NO_SPACE                                                                                             \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}"          \
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"

typedef struct reader {
    const char *src, *p; /* p: what is read next */
    hn_buf out;
    hn_err *e;
    int depth;
    int rc;
} reader;

static int refuse(reader *r, const char *at, const char *why) {
    size_t n = strcspn(at, "\n");
    return r->rc = hn_fail(r->e, HN_EUNSUP, "pattern `%s`: %s at `%.*s`", r->src, why, (int)(n > 12 ? 12 : n),
                           at);
}

/* A general category, of Unicode 16 whatever version PCRE2 knows. */
static void category(reader *r, const char *name, bool not, bool in_class) {
    int n = 0;
    const hn_uni_range *more = hn_uni_newer(name[0], &n);
    if (!in_class) hn_buf_str(&r->out, not ? "[^" : "[");
    hn_buf_fmt(&r->out, not &&in_class ? "\\P{%s}" : "\\p{%s}", name);
    for (int i = 0; i < n; i++)
        if (!name[1] || name[1] == more[i].sub)
            hn_buf_fmt(&r->out, "\\x{%x}-\\x{%x}", (unsigned)more[i].lo, (unsigned)more[i].hi);
    if (!in_class) hn_buf_chr(&r->out, ']');
}

/* \p{..} or \P{..}; p is behind the letter. */
static void property(reader *r, bool not, bool in_class) {
    const char *at = r->p - 2;
    char name[3] = { 0 };
    if (*r->p++ != '{') {
        refuse(r, at, "a property without braces");
        return;
    }
    if (*r->p == '^') {
        not = !not ;
        r->p++;
    }
    size_t n = strcspn(r->p, "}");
    if (!n || n > 2 || !r->p[n] || !strchr("LMNPSZC", r->p[0]) ||
        (n == 2 && (r->p[1] < 'a' || r->p[1] > 'z'))) {
        refuse(r, at, "only general categories are known, not this property");
        return;
    }
    if (not &&in_class && n == 1 && strchr("LMN", r->p[0])) {
        refuse(r, at, "a negated category inside a class");
        return;
    }
    memcpy(name, r->p, n);
    r->p += n + 1;
    category(r, name, not, in_class);
}

static void escape(reader *r, bool in_class) {
    const char *at = r->p++;
    char c = *r->p++;
    if (c == 'p' || c == 'P') {
        property(r, c == 'P', in_class);
        return;
    }
    if (c == 's') hn_buf_str(&r->out, in_class ? SPACE : "[" SPACE "]");
    else if (c == 'S') hn_buf_str(&r->out, in_class ? NO_SPACE : "[^" SPACE "]");
    else if (c == 'd' || (c == 'D' && !in_class)) category(r, "Nd", c == 'D', in_class);
    else if (c == 'n' || c == 'r' || c == 't' || c == 'f') hn_buf_fmt(&r->out, "\\%c", c);
    else if (c == 'v') hn_buf_str(&r->out, "\\x0b");
    else if (c && strchr("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ ", c)) hn_buf_fmt(&r->out, "\\%c", c);
    else refuse(r, at, "an escape we do not know");
}

static void class(reader *r) {
    const char *at = r->p++;
    hn_buf_chr(&r->out, '[');
    if (*r->p == '^') hn_buf_chr(&r->out, *r->p++);
    if (*r->p == ']') {
        refuse(r, at, "an empty class");
        return;
    }
    while (*r->p && *r->p != ']' && !r->rc) {
        if (*r->p == '\\') escape(r, true);
        else if (*r->p == '[' || (*r->p == '&' && r->p[1] == '&')) refuse(r, r->p, "a class inside a class");
        else hn_buf_chr(&r->out, *r->p++);
    }
    if (r->rc) return;
    if (!*r->p) {
        refuse(r, at, "a class without end");
        return;
    }
    hn_buf_chr(&r->out, *r->p++);
}

static void group(reader *r) {
    static const char *const kind[] = { "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:" };
    r->depth++;
    if (r->p[1] != '?') {
        hn_buf_str(&r->out, "(?:");
        r->p++;
        return;
    }
    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
        size_t n = strlen(kind[i]);
        if (strncmp(r->p, kind[i], n)) continue;
        hn_buf_str(&r->out, kind[i]);
        r->p += n;
        return;
    }
    refuse(r, r->p, "a kind of group we do not know");
}

static size_t digits(const char *s) { return strspn(s, "0123456789"); }

/* {n}, {n,}, {,m}, {n,m}: Oniguruma reads `{n}?` and `{n,m}+` as repeats of repeats. */
static void interval(reader *r) {
    const char *at = r->p, *p = r->p + 1;
    size_t lo = digits(p), hi = 0;
    p += lo;
    bool comma = *p == ',';
    if (comma) hi = digits(++p);
    p += hi;
    if (*p != '}' || (!lo && !hi)) {
        hn_buf_str(&r->out, "\\{");
        r->p++;
        return;
    }
    p++;
    if (*p == '+' || *p == '*' || *p == '{' || (*p == '?' && !comma)) {
        refuse(r, at, "a repeat of a repeat");
        return;
    }
    hn_buf_str(&r->out, lo ? "{" : "{0");
    hn_buf_add(&r->out, at + 1, (size_t)(p - at - 1));
    r->p = p;
}

static void part(reader *r) {
    char c = *r->p;
    if (c == '\\') escape(r, false);
    else if (c == '[') class(r);
    else if (c == '(') group(r);
    else if (c == '{') interval(r);
    else if (c == '^' || c == '$') refuse(r, r->p, "an anchor");
    else if (c == '.') {
        hn_buf_str(&r->out, "[^\\n]");
        r->p++;
    } else {
        if (c == ')' && !r->depth--) {
            refuse(r, r->p, "a group that was not opened");
            return;
        }
        if (c == '}') hn_buf_chr(&r->out, '\\');
        hn_buf_chr(&r->out, c);
        r->p++;
    }
}

int tok_regex_compile(hn_tok *t, tok_pattern *p, const char *src, hn_err *e) {
    reader r = { .src = src, .p = src, .e = e };
    while (*r.p && !r.rc) part(&r);
    int rc = r.rc, why;
    PCRE2_SIZE at;
    if (!rc && r.out.oom) rc = HN_ENOMEM;
    pcre2_compile_context *c = rc ? NULL : pcre2_compile_context_create(t->pcre);
    if (!rc && !c) rc = HN_ENOMEM;
    if (!rc) {
        pcre2_set_max_pattern_length(c, 1 << 16);
        p->kind = TOK_FIND_REGEX;
        p->re = pcre2_compile((PCRE2_SPTR)(r.out.data ? r.out.data : ""), r.out.n,
                              PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &why, &at, c);
        if (!p->re && why == PCRE2_ERROR_HEAP_FAILED) rc = HN_ENOMEM;
        else if (!p->re) {
            char text[128];
            pcre2_get_error_message(why, (PCRE2_UCHAR *)text, sizeof text);
            rc = hn_fail(e, HN_EPARSE, "pattern `%s`: %s", src, text);
        } else pcre2_jit_compile(p->re, PCRE2_JIT_COMPLETE); /* without it the interpreter does the same */
    }
    pcre2_compile_context_free(c);
    hn_buf_free(&r.out);
    return rc == HN_ENOMEM ? hn_fail(e, rc, "out of memory for a pattern") : rc;
}
