/* tmpl_lex.c - cuts a template into tokens, with jinja2's rules of white space.
 *
 * Outside of tags: `{{-` strips the text before it, `-}}` the text after it; trim_blocks eats the
 * newline after a block or comment, lstrip_blocks the blanks of its line before it; `+` switches
 * both off.  Newlines are normalized and one newline at the end of the template is dropped. */
#include "text/tmpl.h"

#include <ctype.h>
#include <string.h>
#include <utf8proc.h>

enum { MAX_BRACES = 256 };

typedef struct lexer {
    tm_parser *p;
    const char *s;
    size_t n, at;
    int line;
    bool line_start;       /* the token before ended with a newline */
    char open[MAX_BRACES]; /* closing braces that are awaited inside the tag */
    int n_open;
} lexer;

static bool push(lexer *x, tm_tok_kind kind, size_t begin, size_t end) {
    tm_parser *p = x->p;
    if (hn_grow(&p->tok, &p->cap_tok, p->n_tok + 1, sizeof *p->tok) < 0)
        return tm_parse_fail(p, x->line, HN_ENOMEM, "out of memory");
    p->tok[p->n_tok++] = (tm_tok){ .kind = kind, .line = x->line, .p = x->s + begin, .n = end - begin };
    return true;
}

static void advance(lexer *x, size_t to) {
    for (; x->at < to; x->at++) x->line += x->s[x->at] == '\n';
}

static bool looking_at(const lexer *x, size_t i, const char *word) {
    size_t n = strlen(word);
    return x->n - i >= n && !memcmp(x->s + i, word, n);
}

static size_t skip_space(const lexer *x, size_t i) { return i + tm_lspace(x->s + i, x->n - i); }

/* The length of the end of a tag at i: `close`, `-close` and the white space after it, or, for
 * blocks and comments, `+close`, and `close` with its newline.  0: not at an end. */
static size_t tag_end(const lexer *x, size_t i, const char *close, bool trim) {
    if (x->s[i] == '-' && looking_at(x, i + 1, close)) return skip_space(x, i + 3) - i;
    if (trim && x->s[i] == '+' && looking_at(x, i + 1, close)) return 3;
    if (!looking_at(x, i, close)) return 0;
    return 2 + (trim && i + 2 < x->n && x->s[i + 2] == '\n');
}

/* Text up to `end`, before a tag whose sign is `sign`. */
static bool text_before(lexer *x, size_t end, char sign, bool is_var) {
    size_t begin = x->at, stop = end;
    if (sign == '-') stop -= tm_rspace(x->s + begin, end - begin);
    else if (sign != '+' && !is_var) {
        size_t line = end;
        while (line > begin && x->s[line - 1] != '\n') line--;
        if ((line > begin || x->line_start) && tm_lspace(x->s + line, end - line) == end - line) stop = line;
    }
    if (stop > begin && !push(x, T_DATA, begin, stop)) return false;
    advance(x, end);
    return true;
}

static size_t sign_at(const lexer *x, size_t i) { return i < x->n && (x->s[i] == '-' || x->s[i] == '+'); }

/* Is `{% word %}` at i?  Returns where its inside ends (at the closing sign or brace), or 0. */
static size_t word_tag(const lexer *x, size_t i, const char *word) {
    if (!looking_at(x, i, "{%")) return 0;
    i = skip_space(x, i + 2 + sign_at(x, i + 2));
    if (!looking_at(x, i, word)) return 0;
    return skip_space(x, i + strlen(word));
}

/* After `{% raw %}`: everything up to `{% endraw %}` is text. */
static bool raw(lexer *x) {
    if (x->at == x->n) return true; /* jinja2 sees nothing to close */
    for (size_t i = x->at; i < x->n; i++) {
        size_t inside = word_tag(x, i, "endraw"), end;
        if (!inside || inside >= x->n || !(end = tag_end(x, inside, "%}", true))) continue;
        char sign = sign_at(x, i + 2) ? x->s[i + 2] : 0;
        if (!text_before(x, i, sign, false)) return false;
        advance(x, inside + end);
        x->line_start = x->s[x->at - 1] == '\n';
        return true;
    }
    return tm_parse_fail(x->p, x->line, HN_EPARSE, "{%% raw %%} is never closed by {%% endraw %%}");
}

static bool comment(lexer *x) {
    if (x->at == x->n) return true;
    for (size_t i = x->at; i < x->n; i++) {
        size_t end = tag_end(x, i, "#}", true);
        if (!end) continue;
        advance(x, i + end);
        x->line_start = x->s[x->at - 1] == '\n';
        return true;
    }
    return tm_parse_fail(x->p, x->line, HN_EPARSE, "the comment {# is never closed by #}");
}

static size_t digits(const lexer *x, size_t i, const char *set) {
    size_t begin = i;
    while (i < x->n && (strchr(set, tolower((unsigned char)x->s[i])) || (x->s[i] == '_' && i > begin))) {
        if (!x->s[i] || (x->s[i] == '_' && (i + 1 >= x->n || !isxdigit((unsigned char)x->s[i + 1])))) break;
        i++;
    }
    return i;
}

static bool number(lexer *x) {
    static const char dec[] = "0123456789";
    size_t i = x->at, end;
    tm_tok_kind kind = T_INT;
    char base = i + 1 < x->n && x->s[i] == '0' ? (char)tolower((unsigned char)x->s[i + 1]) : 0;
    const char *set = base == 'x' ? "0123456789abcdef" : base == 'o' ? "01234567" : base == 'b' ? "01" : NULL;
    if (set && (end = digits(x, i + 2, set)) > i + 2) {
        if (!push(x, T_INT, i, end)) return false;
        advance(x, end);
        return true;
    }
    end = digits(x, i, dec);
    bool whole = i && x->s[i - 1] == '.'; /* the 0 of a.0.1 */
    if (!whole && end + 1 < x->n && x->s[end] == '.' && isdigit((unsigned char)x->s[end + 1])) {
        kind = T_FLOAT;
        end = digits(x, end + 1, dec);
    }
    if (!whole && end < x->n && tolower((unsigned char)x->s[end]) == 'e') {
        size_t e = end + 1;
        if (e < x->n && (x->s[e] == '+' || x->s[e] == '-')) e++;
        if (e < x->n && isdigit((unsigned char)x->s[e])) {
            kind = T_FLOAT;
            end = digits(x, e, dec);
        }
    }
    if (kind == T_INT && x->s[i] == '0' && strspn(x->s + i, "0_") < end - i)
        return tm_parse_fail(x->p, x->line, HN_EPARSE, "a number may not start with 0");
    if (!push(x, kind, i, end)) return false;
    advance(x, end);
    return true;
}

static bool string(lexer *x) {
    char quote = x->s[x->at];
    for (size_t i = x->at + 1; i < x->n; i++) {
        if (x->s[i] == '\\') i++;
        else if (x->s[i] == quote) {
            if (!push(x, T_STR, x->at + 1, i)) return false;
            advance(x, i + 1);
            return true;
        }
    }
    return tm_parse_fail(x->p, x->line, HN_EPARSE, "a string is never closed by %c", quote);
}

/* Letters, digits, _ and whatever Unicode calls a letter or a mark. */
static size_t name_end(const lexer *x, size_t i) {
    for (size_t begin = i; i < x->n;) {
        unsigned char c = (unsigned char)x->s[i];
        if (c < 0x80) {
            if (!(isalpha(c) || c == '_' || (i > begin && isdigit(c)))) break;
            i++;
            continue;
        }
        int32_t cp;
        int len = tm_utf8(x->s + i, x->s + x->n, &cp);
        utf8proc_category_t cat = utf8proc_category(cp);
        bool letter =
            (cat >= UTF8PROC_CATEGORY_LU && cat <= UTF8PROC_CATEGORY_LO) || cat == UTF8PROC_CATEGORY_NL;
        bool mark = cat == UTF8PROC_CATEGORY_MN || cat == UTF8PROC_CATEGORY_MC ||
                    cat == UTF8PROC_CATEGORY_ND || cat == UTF8PROC_CATEGORY_PC;
        if (!letter && !(mark && i > begin)) break;
        i += (size_t)len;
    }
    return i;
}

static bool brace(lexer *x, tm_tok_kind kind) {
    static const char closing[] = { [T_LBRACKET] = ']', [T_LPAREN] = ')', [T_LBRACE] = '}' };
    char c = x->s[x->at];
    if (kind == T_LBRACKET || kind == T_LPAREN || kind == T_LBRACE) {
        if (x->n_open == MAX_BRACES)
            return tm_parse_fail(x->p, x->line, HN_ERANGE, "brackets nested deeper than %d", MAX_BRACES);
        x->open[x->n_open++] = closing[kind];
    } else if (!x->n_open) return tm_parse_fail(x->p, x->line, HN_EPARSE, "unexpected '%c'", c);
    else if (x->open[--x->n_open] != c)
        return tm_parse_fail(x->p, x->line, HN_EPARSE, "unexpected '%c', expected '%c'", c,
                             x->open[x->n_open]);
    return true;
}

static bool punctuation(lexer *x) {
    static const struct {
        const char *text;
        tm_tok_kind kind;
    } ops[] = { { "//", T_FLOORDIV }, { "**", T_POW },     { "==", T_EQ },    { "!=", T_NE },
                { ">=", T_GE },       { "<=", T_LE },      { "+", T_ADD },    { "-", T_SUB },
                { "/", T_DIV },       { "*", T_MUL },      { "%", T_MOD },    { "~", T_TILDE },
                { "[", T_LBRACKET },  { "]", T_RBRACKET }, { "(", T_LPAREN }, { ")", T_RPAREN },
                { "{", T_LBRACE },    { "}", T_RBRACE },   { ">", T_GT },     { "<", T_LT },
                { "=", T_ASSIGN },    { ".", T_DOT },      { ":", T_COLON },  { "|", T_PIPE },
                { ",", T_COMMA },     { ";", T_SEMI } };
    for (size_t k = 0; k < sizeof ops / sizeof *ops; k++) {
        if (!looking_at(x, x->at, ops[k].text)) continue;
        if (ops[k].kind >= T_LBRACKET && ops[k].kind <= T_RBRACE && !brace(x, ops[k].kind)) return false;
        size_t end = x->at + strlen(ops[k].text);
        if (!push(x, ops[k].kind, x->at, end)) return false;
        advance(x, end);
        return true;
    }
    int32_t cp;
    int len = tm_utf8(x->s + x->at, x->s + x->n, &cp);
    return tm_parse_fail(x->p, x->line, HN_EPARSE, "unexpected character '%.*s'", len, x->s + x->at);
}

/* The inside of {{ }} or {% %}. */
static bool tag(lexer *x, bool is_var) {
    const char *close = is_var ? "}}" : "%}";
    x->n_open = 0;
    while (x->at < x->n) {
        size_t end;
        if (!x->n_open && (end = tag_end(x, x->at, close, !is_var))) {
            if (!push(x, is_var ? T_VAR_END : T_BLOCK_END, x->at, x->at + end)) return false;
            advance(x, x->at + end);
            x->line_start = x->s[x->at - 1] == '\n';
            return true;
        }
        if ((end = skip_space(x, x->at)) > x->at) {
            advance(x, end);
            continue;
        }
        char c = x->s[x->at];
        bool ok;
        if (isdigit((unsigned char)c)) ok = number(x);
        else if (c == '\'' || c == '"') ok = string(x);
        else if ((end = name_end(x, x->at)) > x->at) {
            ok = push(x, T_NAME, x->at, end);
            advance(x, end);
        } else ok = punctuation(x);
        if (!ok) return false;
    }
    return tm_parse_fail(x->p, x->line, HN_EPARSE, "the tag is never closed by %s", close);
}

/* One tag that begins at i, and the text before it. */
static bool text_and_tag(lexer *x, size_t i) {
    size_t sign = sign_at(x, i + 2), inside, end;
    char c = x->s[i + 1];
    if (!text_before(x, i, sign ? x->s[i + 2] : 0, c == '{')) return false;
    x->line_start = false;
    if (c == '%' && (inside = word_tag(x, i, "raw")) && inside < x->n &&
        (end = tag_end(x, inside, "%}", false))) {
        advance(x, inside + end);
        x->line_start = x->s[x->at - 1] == '\n';
        return raw(x);
    }
    if (c == '#') {
        advance(x, i + 2 + sign);
        return comment(x);
    }
    if (!push(x, c == '{' ? T_VAR : T_BLOCK, i, i + 2)) return false;
    advance(x, i + 2 + sign);
    return tag(x, c == '{');
}

static bool normalize(lexer *x, const char *src, size_t n) {
    char *s = hn_arena_get(x->p->mem, n + 1);
    if (!s) return tm_parse_fail(x->p, 0, HN_ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        if (src[i] == '\r') {
            s[x->n++] = '\n';
            i += i + 1 < n && src[i + 1] == '\n';
        } else s[x->n++] = src[i];
    }
    if (x->n && s[x->n - 1] == '\n') x->n--;
    s[x->n] = 0;
    x->s = s;
    int line = 1;
    for (const char *q = s, *end = s + x->n; q < end;) {
        int32_t cp;
        int len = tm_utf8(q, end, &cp);
        if (cp < 0) return tm_parse_fail(x->p, line, HN_EPARSE, "not UTF-8");
        line += cp == '\n';
        q += len;
    }
    return true;
}

bool tm_lex(tm_parser *p, const char *src, size_t n) {
    lexer x = { .p = p, .line = 1, .line_start = true };
    if (!normalize(&x, src, n)) return false;
    for (size_t i = 0; i + 1 < x.n;) {
        if (x.s[i] == '{' && strchr("{%#", x.s[i + 1]) && x.s[i + 1]) {
            if (!text_and_tag(&x, i)) return false;
            i = x.at;
        } else i++;
    }
    if (x.at < x.n) {
        if (!push(&x, T_DATA, x.at, x.n)) return false;
        advance(&x, x.n);
    }
    return push(&x, T_EOF, x.n, x.n);
}
