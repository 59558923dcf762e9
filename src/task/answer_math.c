/* answer_math.c - are two LaTeX answers the same?
 *
 * Both are brought to a normal form (what changes only the looks is dropped, arguments get their braces),
 * then compared as text, as exact numbers, and element by element.  It is a comparison of form, not
 * algebra: a verifier that simplifies what it is given would pay for an unfinished calculation. */
#include "task/answer.h"

#include <string.h>

enum { MAX_DEPTH = 24, MAX_PARTS = 64 };

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool is(hn_view v, const char *s) { return v.n == strlen(s) && !memcmp(v.s, s, v.n); }

static bool one_of(hn_view v, const char *const *list) {
    for (; *list; list++) {
        if (is(v, *list)) return true;
    }
    return false;
}

static bool starts(hn_view v, const char *s) { return v.n >= strlen(s) && !memcmp(v.s, s, strlen(s)); }

static hn_view from(hn_view v, size_t at) { return (hn_view){ v.s + at, v.n - at }; }

/* ---- normal form ---- */
/* The bytes of one argument at the start of v: a {group}, a \command, or a character; 0 at the end. */
static size_t argument(hn_view v, hn_view *inside) {
    *inside = v;
    if (!v.n) return 0;
    if (v.s[0] == '{') {
        int64_t depth = 0;
        for (size_t i = 0; i < v.n; i++) {
            if (v.s[i] == '\\') i++;
            else if (v.s[i] == '{') depth++;
            else if (v.s[i] == '}' && --depth == 0) {
                *inside = (hn_view){ v.s + 1, i - 1 };
                return i + 1;
            }
        }
        return v.n; /* never closed: all of it, as it stands */
    }
    size_t n = 1;
    if (v.s[0] == '\\') {
        while (n < v.n && is_alpha(v.s[n])) n++;
        if (n == 1 && v.n > 1) n = 2;
    }
    inside->n = n;
    return n;
}

static void normal(hn_view v, hn_buf *out, int depth);

static void braced(hn_view v, hn_buf *out, int depth) {
    hn_buf_chr(out, '{');
    normal(v, out, depth);
    hn_buf_chr(out, '}');
}

static size_t skip_spaces(hn_view v, size_t at) {
    while (at < v.n && is_space(v.s[at])) at++;
    return at;
}

/* \text{...} and its kin: a unit after a number is dropped, "or" and "and" part a list, the rest is kept. */
static void words(hn_view inside, hn_buf *out, int depth) {
    hn_view t = hn_view_trim(inside);
    char last = out->n ? out->data[out->n - 1] : 0;
    if (is(t, "or") || is(t, "and")) hn_buf_chr(out, ',');
    else if (!is_digit(last) && last != '}' && last != ')') normal(t, out, depth);
}

/* A command at the start of v (v.s[0] is a backslash).  Returns the bytes it takes with its arguments. */
static size_t command(hn_view v, hn_buf *out, int depth) {
    static const char *const looks[] = {
        "\\left", "\\right", "\\displaystyle", "\\!",    "\\,",    "\\;",    "\\:",
        "\\ ",    "\\quad",  "\\qquad",        "\\$",    "\\%",    "\\circ", "\\degree",
        "\\big",  "\\Big",   "\\bigl",         "\\bigr", "\\Bigl", "\\Bigr", NULL
    };
    static const char *const text[] = { "\\text",   "\\mathrm", "\\mbox",         "\\textbf", "\\mathbf",
                                        "\\textrm", "\\textit", "\\operatorname", NULL };
    static const char *const frac[] = { "\\frac", "\\dfrac", "\\tfrac", "\\cfrac", NULL };
    hn_view name, arg;
    size_t at = argument(v, &name);
    if (one_of(name, looks)) return at;
    if (one_of(name, text)) {
        at = skip_spaces(v, at);
        at += argument(from(v, at), &arg);
        words(arg, out, depth);
        return at;
    }
    int arguments = one_of(name, frac) ? 2 : is(name, "\\sqrt") && !(at < v.n && v.s[at] == '[') ? 1 : 0;
    if (arguments == 2) hn_buf_str(out, "\\frac");
    else hn_buf_add(out, name.s, name.n);
    for (int k = 0; k < arguments; k++) {
        at = skip_spaces(v, at);
        at += argument(from(v, at), &arg);
        braced(arg, out, depth);
    }
    /* a name and a letter after it must not run together: \pi r */
    if (!arguments && is_alpha(name.s[name.n - 1]) && at < v.n && is_space(v.s[at])) {
        size_t next = skip_spaces(v, at);
        if (next < v.n && is_alpha(v.s[next])) hn_buf_chr(out, ' ');
    }
    return at;
}

/* ^ or _ at the start of v.  A degree sign is dropped, braces round one character too. */
static size_t script(hn_view v, hn_buf *out, int depth) {
    hn_view arg;
    size_t at = skip_spaces(v, 1);
    at += argument(from(v, at), &arg);
    arg = hn_view_trim(arg);
    if (is(arg, "\\circ") || is(arg, "\\degree")) return at;
    hn_buf_chr(out, v.s[0]);
    if (arg.n == 1) normal(arg, out, depth);
    else braced(arg, out, depth);
    return at;
}

/* A word after a number and a space, to the end: a unit ("5 cm", "10 square feet").  0: it is none. */
static size_t unit(hn_view v, const hn_buf *out) {
    size_t at = skip_spaces(v, 0), letters = 0;
    if (at == 0 || !out->n || !(is_digit(out->data[out->n - 1]) || out->data[out->n - 1] == '}')) return 0;
    for (size_t i = at; i < v.n; i++) {
        if (is_alpha(v.s[i])) letters++;
        else if (!is_space(v.s[i]) && v.s[i] != '.') return 0;
    }
    return letters >= 2 ? v.n : 0;
}

/* Characters that are not ASCII and have a LaTeX or ASCII name. */
static size_t foreign(hn_view v, hn_buf *out) {
    static const struct {
        const char *utf8, *plain;
    } known[] = { { "\xe2\x88\x92", "-" },       { "\xc2\xb0", "" },          { "\xcf\x80", "\\pi" },
                  { "\xe2\x88\x9e", "\\infty" }, { "\xe2\x88\xaa", "\\cup" }, { "\xc2\xa0", "" } };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!starts(v, known[i].utf8)) continue;
        hn_buf_str(out, known[i].plain);
        return strlen(known[i].utf8);
    }
    return 0;
}

static void normal(hn_view v, hn_buf *out, int depth) {
    if (depth >= MAX_DEPTH) {
        hn_buf_add(out, v.s, v.n);
        return;
    }
    for (size_t i = 0, k; i < v.n && !out->oom; i += k) {
        hn_view rest = from(v, i);
        char c = v.s[i];
        k = 1;
        if (is_space(c)) {
            size_t u = unit(rest, out);
            if (u) k = u;
        } else if (c == '\\') {
            k = command(rest, out, depth + 1);
        } else if (c == '^' || c == '_') {
            k = script(rest, out, depth + 1);
        } else if (starts(rest, "{,}")) {
            hn_buf_chr(out, ',');
            k = 3;
        } else if (c == '$' || c == '%' || c == '~') {
            continue;
        } else {
            size_t f = (unsigned char)c >= 0x80 ? foreign(rest, out) : 0;
            if (f) k = f;
            else hn_buf_chr(out, c);
        }
    }
}

/* Without the $ $ or \( \) around a formula, and the period after it. */
static hn_view bare(hn_view v) {
    v = hn_view_trim(v);
    while (v.n && (v.s[v.n - 1] == '.' || v.s[v.n - 1] == ',')) v = hn_view_trim((hn_view){ v.s, v.n - 1 });
    if (v.n >= 4 && v.s[0] == '\\' && (v.s[1] == '(' || v.s[1] == '[') && v.s[v.n - 2] == '\\') {
        v = hn_view_trim((hn_view){ v.s + 2, v.n - 4 });
    }
    return v;
}

/* Without "x =" or "x \in" in front: a left side of at most 10 characters that has no digit. */
static hn_view right_side(hn_view v) {
    const char *eq = v.n ? memchr(v.s, '=', v.n) : NULL, *in = v.n ? memmem(v.s, v.n, "\\in", 3) : NULL;
    if (in && (size_t)(in + 3 - v.s) < v.n && is_alpha(in[3])) in = NULL; /* \infty */
    const char *cut = eq ? eq : in;
    size_t left = cut ? (size_t)(cut - v.s) : 0, skip = eq ? 1 : 3;
    if (!cut || left == 0 || left > 10 || left + skip >= v.n) return v;
    if (eq && memchr(eq + 1, '=', v.n - left - 1)) return v;
    for (size_t i = 0; i < left; i++) {
        if (is_digit(v.s[i])) return v;
    }
    return from(v, left + skip);
}

/* ---- numbers in normal form ---- */
/* [-] (number | \frac{a}{b} | a\frac{b}{c}), all of v. */
static bool value(hn_view v, hn_ratio *out) {
    if (hn_number_parse(v, false, out)) return true;
    bool negative = v.n && v.s[0] == '-';
    if (negative) v = from(v, 1);
    hn_ratio whole = { 0, 1 }, top, bottom;
    size_t digits = 0;
    while (digits < v.n && is_digit(v.s[digits])) digits++;
    if (digits && !hn_number_parse((hn_view){ v.s, digits }, false, &whole)) return false;
    hn_view f = from(v, digits), a, b;
    if (!starts(f, "\\frac{")) return false;
    size_t at = 5 + argument(from(f, 5), &a);
    at += argument(from(f, at), &b);
    if (at != f.n || !hn_number_parse(a, false, &top) || !hn_number_parse(b, false, &bottom)) return false;
    if (bottom.num == 0 || !hn_ratio_op('/', top, bottom, &top) || !hn_ratio_op('+', whole, top, &top))
        return false;
    if (negative) top.num = -top.num;
    *out = top;
    return true;
}

/* ---- lists ---- */
typedef struct parts {
    char open[3], close[3]; /* brackets; empty for a bare list */
    hn_view p[MAX_PARTS];
    int n;
} parts;

/* Splits v at its top-level commas.  false: too many, or only one part. */
static bool split(hn_view v, parts *out) {
    memset(out, 0, sizeof *out);
    size_t o = starts(v, "\\{") ? 2 : v.n && strchr("([", v.s[0]) ? 1 : 0;
    size_t c = o == 2 ? 2 : 1;
    if (o && v.n > o + c && strchr(")]}", v.s[v.n - 1])) {
        memcpy(out->open, v.s, o);
        memcpy(out->close, v.s + v.n - c, c);
        v = (hn_view){ v.s + o, v.n - o - c };
    }
    int64_t depth = 0;
    size_t start = 0;
    for (size_t i = 0; i <= v.n; i++) {
        if (i < v.n && strchr("([{", v.s[i])) depth++;
        else if (i < v.n && strchr(")]}", v.s[i])) depth--;
        if (i < v.n && (v.s[i] != ',' || depth)) continue;
        if (out->n == MAX_PARTS || depth < 0) return false;
        out->p[out->n++] = (hn_view){ v.s + start, i - start };
        start = i + 1;
    }
    return out->n > 1;
}

static bool same_form(hn_view a, hn_view b, int depth);

/* In a set or a bare list the order does not count; in a tuple or an interval it does. */
static bool same_parts(const parts *a, const parts *b, int depth) {
    if (a->n != b->n || strcmp(a->open, b->open) || strcmp(a->close, b->close)) return false;
    bool ordered = a->open[0] == '(' || a->open[0] == '[';
    uint64_t taken = 0;
    for (int i = 0; i < a->n; i++) {
        int j = ordered ? i : 0, last = ordered ? i : b->n - 1;
        for (; j <= last; j++) {
            if (!(taken >> j & 1) && same_form(a->p[i], b->p[j], depth + 1)) break;
        }
        if (j > last) return false;
        taken |= UINT64_C(1) << j;
    }
    return true;
}

static hn_view letter(hn_view v) { /* (B) is B */
    return v.n == 3 && v.s[0] == '(' && v.s[2] == ')' && is_alpha(v.s[1]) ? (hn_view){ v.s + 1, 1 } : v;
}

static bool same_form(hn_view a, hn_view b, int depth) {
    a = letter(a);
    b = letter(b);
    if (a.n == b.n && !memcmp(a.s, b.s, a.n)) return true;
    hn_ratio x, y;
    bool nx = value(a, &x), ny = value(b, &y);
    if (nx || ny) return nx && ny && hn_ratio_eq(x, y);
    parts p, q;
    return depth < 3 && split(a, &p) && split(b, &q) && same_parts(&p, &q, depth);
}

int hn_answer_same_math(hn_view a, hn_view b, bool *same, hn_err *e) {
    hn_ratio x, y;
    a = bare(a);
    b = bare(b);
    if (hn_number_parse(a, false, &x) && hn_number_parse(b, false, &y)) {
        *same = hn_ratio_eq(x, y);
        return HN_OK;
    }
    hn_buf p = { 0 }, q = { 0 };
    normal(a, &p, 0);
    normal(b, &q, 0);
    bool oom = p.oom || q.oom;
    hn_view u = { p.data ? p.data : "", p.n }, v = { q.data ? q.data : "", q.n };
    *same = !oom && u.n > 0 && same_form(right_side(u), right_side(v), 0);
    hn_buf_free(&p);
    hn_buf_free(&q);
    return oom ? hn_fail(e, HN_ENOMEM, "out of memory comparing answers") : HN_OK;
}
