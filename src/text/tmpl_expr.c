/* tmpl_expr.c - expressions of a template into a tree.
 *
 * Precedence from loose to tight, as in jinja2: `a if b else c`, or, and, not, comparisons
 * (chained), + -, ~, * / // %, ** (from the left), unary signs, then what follows an operand:
 * .name [key] (call), |filter, is test.  A sign binds tighter than a filter: -x|abs is |-x|. */
#include "text/tmpl.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { MAX_DEPTH = 300 };

static tm_tok_kind peek(const tm_parser *p) { return p->tok[p->at].kind; }
static int line_of(const tm_parser *p) { return p->tok[p->at].line; }

/* Every recursion of this file passes here, so that no template can exhaust the stack. */
static bool deeper(tm_parser *p) {
    if (++p->depth <= MAX_DEPTH) return true;
    return tm_parse_fail(p, line_of(p), HN_ERANGE, "nested deeper than %d", MAX_DEPTH);
}

static tm_node *pair(tm_parser *p, tm_nkind kind, int line, tm_node *a, tm_node *b) {
    tm_node *n = a && b ? tm_node_new(p, kind, line) : NULL;
    if (!n) return NULL;
    n->a = a;
    n->b = b;
    return n;
}

static tm_node *single(tm_parser *p, tm_nkind kind, int line, tm_node *a) {
    tm_node *n = a ? tm_node_new(p, kind, line) : NULL;
    if (n) n->a = a;
    return n;
}

static tm_node *named(tm_parser *p, tm_nkind kind, int line, tm_node *a, const char *name) {
    tm_node *n = name ? tm_node_new(p, kind, line) : NULL;
    if (!n) return NULL;
    n->a = a;
    n->name = name;
    return n;
}

/* ---- constants ---- */
bool tm_str_const(tm_parser *p, const char *s, size_t n, tm_val *out) {
    tm_str *str = hn_arena_get(p->mem, sizeof *str);
    if (!str) return tm_parse_fail(p, 0, HN_ENOMEM, "out of memory");
    *str = (tm_str){ .p = s, .n = n, .chars = tm_count_chars(s, n), .org = tm_nowhere };
    *out = (tm_val){ TM_STR, { .s = str } };
    return true;
}

/* The number of `max` digits of base 16 or 8 at s (at most to end); < 0: not that many. */
static int32_t escape_digits(const char *s, const char *end, int max, int base, int *len) {
    int64_t v = 0;
    int n = 0;
    for (; n < max && s + n < end; n++) {
        int c = tolower((unsigned char)s[n]);
        int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
        if (d >= base) break;
        v = v * base + d;
    }
    *len = n;
    return (base == 16 && n < max) || v > 0x10ffff || (v >= 0xd800 && v < 0xe000) ? -1 : (int32_t)v;
}

/* Undoes one escape of Python's string literals at s (after the backslash); writes UTF-8 at to. */
static const char *escape(tm_parser *p, int line, const char *s, const char *end, char **to) {
    static const char from[] = "\\'\"abfnrtv", is[] = "\\'\"\a\b\f\n\r\t\v";
    const char *at = memchr(from, *s, sizeof from - 1);
    if (*s == '\n') return s + 1;
    if (at) {
        *(*to)++ = is[at - from];
        return s + 1;
    }
    int max = *s == 'x' ? 2 : *s == 'u' ? 4 : *s == 'U' ? 8 : 0, len;
    bool octal = *s >= '0' && *s <= '7';
    if (*s == 'N') {
        tm_parse_fail(p, line, HN_EUNSUP, "the escape \\N{name} is not supported");
        return NULL;
    }
    if (!max && !octal) { /* an unknown escape stays as it is */
        *(*to)++ = '\\';
        return s;
    }
    int32_t cp = octal ? escape_digits(s, end, 3, 8, &len) : escape_digits(s + 1, end, max, 16, &len);
    if (cp < 0) {
        tm_parse_fail(p, line, HN_EPARSE, "bad escape \\%c", *s);
        return NULL;
    }
    *to += utf8proc_encode_char(cp, (utf8proc_uint8_t *)*to);
    return s + len + !octal;
}

static bool string_const(tm_parser *p, tm_val *out) {
    size_t total = 0, n = 0;
    int64_t last = p->at;
    for (; p->tok[last].kind == T_STR; last++) total += p->tok[last].n;
    char *buf = hn_arena_get(p->mem, total + 1), *to = buf;
    if (!buf) return tm_parse_fail(p, line_of(p), HN_ENOMEM, "out of memory");
    for (; p->at < last; p->at++) { /* 'a' 'b' is 'ab' */
        const tm_tok *t = &p->tok[p->at];
        for (const char *s = t->p, *end = t->p + t->n; s < end;) {
            if (*s != '\\') *to++ = *s++;
            else if (!(s = escape(p, t->line, s + 1, end, &to))) return false;
        }
    }
    n = (size_t)(to - buf);
    return tm_str_const(p, buf, n, out);
}

static bool number_const(tm_parser *p, tm_val *out) {
    const tm_tok *t = &p->tok[p->at++];
    char buf[400], *end;
    size_t n = 0;
    for (size_t i = 0; i < t->n && n < sizeof buf - 1; i++)
        if (t->p[i] != '_') buf[n++] = t->p[i];
    buf[n] = 0;
    errno = 0;
    if (t->kind == T_FLOAT) *out = tm_float(strtod(buf, &end));
    else {
        char c = n > 1 ? (char)tolower((unsigned char)buf[1]) : 0;
        int base = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 10;
        *out = tm_int(strtoll(base == 10 ? buf : buf + 2, &end, base));
        if (errno) return tm_parse_fail(p, t->line, HN_ERANGE, "the integer %s is too large", buf);
    }
    return *end ? tm_parse_fail(p, t->line, HN_EPARSE, "bad number %s", buf) : true;
}

static tm_node *constant(tm_parser *p, tm_val k) {
    tm_node *n = tm_node_new(p, N_CONST, p->tok[p->at - 1].line);
    if (n) n->k = k;
    return n;
}

/* ---- operands ---- */
static tm_node *list_literal(tm_parser *p) {
    tm_node *n = tm_node_new(p, N_LIST, p->tok[p->at - 1].line);
    tm_node **end = n ? &n->a : NULL;
    while (n && !tm_skip(p, T_RBRACKET)) {
        if (n->a && !tm_expect(p, T_COMMA)) return NULL;
        if (n->a && tm_skip(p, T_RBRACKET)) break;
        if (!(*end = tm_parse_expr(p, true))) return NULL;
        end = &(*end)->next;
    }
    return n;
}

static tm_node *dict_literal(tm_parser *p) {
    tm_node *n = tm_node_new(p, N_DICT, p->tok[p->at - 1].line);
    tm_node **end = n ? &n->a : NULL;
    while (n && !tm_skip(p, T_RBRACE)) {
        if (n->a && !tm_expect(p, T_COMMA)) return NULL;
        if (n->a && tm_skip(p, T_RBRACE)) break;
        tm_node *key = tm_parse_expr(p, true);
        if (!key || !tm_expect(p, T_COLON)) return NULL;
        if (!(*end = pair(p, N_PAIR, key->line, key, tm_parse_expr(p, true)))) return NULL;
        end = &(*end)->next;
    }
    return n;
}

static tm_node *word(tm_parser *p) {
    static const struct {
        const char *name;
        tm_kind kind;
        bool b;
    } words[] = { { "true", TM_BOOL, true },   { "True", TM_BOOL, true },  { "false", TM_BOOL, false },
                  { "False", TM_BOOL, false }, { "none", TM_NONE, false }, { "None", TM_NONE, false } };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (tm_skip_name(p, words[i].name))
            return constant(p, words[i].kind == TM_BOOL ? tm_bool(words[i].b) : tm_none());
    int line = line_of(p);
    char *name = tm_expect_name(p);
    tm_node *n = named(p, N_NAME, line, NULL, name);
    if (n) n->fn = tm_global_find(name);
    return n;
}

static tm_node *primary(tm_parser *p) {
    tm_val k;
    char buf[64];
    switch (peek(p)) {
    case T_NAME: return word(p);
    case T_STR: return string_const(p, &k) ? constant(p, k) : NULL;
    case T_INT:
    case T_FLOAT: return number_const(p, &k) ? constant(p, k) : NULL;
    case T_LBRACKET: return p->at++, list_literal(p);
    case T_LBRACE: return p->at++, dict_literal(p);
    case T_LPAREN: {
        p->at++;
        tm_node *n = tm_parse_tuple(p, true, true);
        return n && tm_expect(p, T_RPAREN) ? n : NULL;
    }
    default: tm_parse_fail(p, line_of(p), HN_EPARSE, "expected an expression, found %s", tm_tok_text(p, buf));
    }
    return NULL;
}

/* The inside of x[...]: a key, a slice, or several of them (a tuple, which no value here takes). */
static tm_node *subscript(tm_parser *p) {
    int line = line_of(p);
    tm_node *part[3] = { 0 };
    int n = 0;
    for (;; n++) {
        tm_tok_kind t = peek(p);
        if (t != T_COLON && t != T_RBRACKET && t != T_COMMA && !(part[n] = tm_parse_expr(p, true)))
            return NULL;
        if (n == 2 || !tm_skip(p, T_COLON)) break;
    }
    if (peek(p) == T_COMMA) {
        tm_parse_fail(p, line, HN_EUNSUP, "a subscript with a comma is not supported");
        return NULL;
    }
    if (!tm_expect(p, T_RBRACKET)) return NULL;
    if (!n) {
        return part[0] ? part[0] : tm_node_new(p, N_TUPLE, line); /* x[] asks for x[()] */
    }
    tm_node *s = tm_node_new(p, N_SLICE, line);
    if (!s) return NULL;
    s->a = part[0];
    s->b = part[1];
    s->c = part[2];
    return s;
}

static tm_node *dot(tm_parser *p, tm_node *n, int line) {
    if (peek(p) == T_NAME) return named(p, N_ATTR, line, n, tm_expect_name(p));
    tm_val k;
    char buf[64];
    if (peek(p) == T_INT) return number_const(p, &k) ? pair(p, N_ITEM, line, n, constant(p, k)) : NULL;
    tm_parse_fail(p, line, HN_EPARSE, "expected a name after '.', found %s", tm_tok_text(p, buf));
    return NULL;
}

bool tm_parse_args(tm_parser *p, tm_node **args) {
    if (!tm_expect(p, T_LPAREN)) return false;
    tm_node **end = args;
    bool kw_seen = false, star_seen = false, dstar_seen = false;
    while (!tm_skip(p, T_RPAREN)) {
        if (end != args) {
            if (!tm_expect(p, T_COMMA)) return false;
            if (tm_skip(p, T_RPAREN)) break;
        }
        int line = line_of(p);
        tm_node *n;
        bool kw = peek(p) == T_NAME && p->tok[p->at + 1].kind == T_ASSIGN, star = false, dstar = false;
        if ((star = tm_skip(p, T_MUL))) n = single(p, N_STAR, line, tm_parse_expr(p, true));
        else if ((dstar = tm_skip(p, T_POW))) n = single(p, N_DSTAR, line, tm_parse_expr(p, true));
        else if (kw) {
            char *name = tm_expect_name(p);
            p->at++;
            n = name ? named(p, N_KW, line, tm_parse_expr(p, true), name) : NULL;
            if (n && !n->a) return false;
        } else n = tm_parse_expr(p, true);
        if (!n) return false;
        bool plain = !kw && !star && !dstar;
        if (dstar_seen || (star && star_seen) || (plain && (star_seen || kw_seen)))
            return tm_parse_fail(p, line, HN_EPARSE, "positional argument after a named one");
        for (const tm_node *k = *args; kw && k != n && k; k = k->next)
            if (k->kind == N_KW && !strcmp(k->name, n->name))
                return tm_parse_fail(p, line, HN_EPARSE, "the argument '%s' is given twice", n->name);
        kw_seen |= kw;
        star_seen |= star;
        dstar_seen |= dstar;
        *end = n;
        end = &n->next;
    }
    return true;
}

static tm_node *call(tm_parser *p, tm_node *callee) {
    tm_node *n = tm_node_new(p, N_CALL, line_of(p));
    if (!n) return NULL;
    n->a = callee;
    return tm_parse_args(p, &n->b) ? n : NULL;
}

static tm_node *postfix(tm_parser *p, tm_node *n) {
    while (n) {
        int line = line_of(p);
        if (tm_skip(p, T_DOT)) n = dot(p, n, line);
        else if (tm_skip(p, T_LBRACKET)) n = pair(p, N_ITEM, line, n, subscript(p));
        else if (peek(p) == T_LPAREN) n = call(p, n);
        else break;
    }
    return n;
}

static const char *dotted_name(tm_parser *p) {
    char *name = tm_expect_name(p);
    if (name && peek(p) == T_DOT) {
        tm_parse_fail(p, line_of(p), HN_EUNSUP, "names with dots (%s.) are not supported here", name);
        return NULL;
    }
    return name;
}

/* A name nobody knows is an error of the template, unless a condition may keep it from being reached. */
static void known(tm_parser *p, const tm_node *n) {
    if (!n->fn && !p->maybe && !p->unknown) p->unknown = n;
}

bool tm_parse_known(tm_parser *p) {
    const tm_node *n = p->unknown;
    return !n || tm_parse_fail(p, n->line, HN_EUNSUP, "the %s '%s' is not supported",
                               n->kind == N_TEST ? "test" : "filter", n->name);
}

tm_node *tm_parse_filters(tm_parser *p, tm_node *n, bool first_named) {
    while (n && (first_named || tm_skip(p, T_PIPE))) {
        int line = line_of(p);
        first_named = false;
        const char *name = dotted_name(p);
        if (!(n = named(p, N_FILTER, line, n, name))) return NULL;
        n->fn = tm_filter_find(name);
        known(p, n);
        if (peek(p) == T_LPAREN && !tm_parse_args(p, &n->b)) return NULL;
    }
    return n;
}

static tm_node *test(tm_parser *p, tm_node *subject) {
    int line = line_of(p);
    bool negated = tm_skip_name(p, "not");
    const char *name = dotted_name(p);
    tm_node *n = named(p, N_TEST, line, subject, name);
    if (!n) return NULL;
    n->fn = tm_test_find(name);
    known(p, n);
    tm_tok_kind t = peek(p);
    bool word_after = tm_tok_is_name(p, "else") || tm_tok_is_name(p, "or") || tm_tok_is_name(p, "and");
    if (t == T_LPAREN) {
        if (!tm_parse_args(p, &n->b)) return NULL;
    } else if ((t == T_NAME && !word_after) || t == T_STR || t == T_INT || t == T_FLOAT || t == T_LBRACKET ||
               t == T_LBRACE) {
        if (tm_tok_is_name(p, "is")) {
            tm_parse_fail(p, line, HN_EPARSE, "tests with 'is' cannot be chained");
            return NULL;
        }
        if (!(n->b = postfix(p, primary(p)))) return NULL;
    }
    return negated ? single(p, N_NOT, line, n) : n;
}

static tm_node *filters_and_tests(tm_parser *p, tm_node *n) {
    while (n) {
        if (peek(p) == T_PIPE) n = tm_parse_filters(p, n, false);
        else if (tm_skip_name(p, "is")) n = test(p, n);
        else if (peek(p) == T_LPAREN) n = call(p, n);
        else break;
    }
    return n;
}

/* ---- operators ---- */
static tm_node *unary(tm_parser *p, bool with_filters) {
    int line = line_of(p);
    tm_node *n;
    if (!deeper(p)) return NULL;
    if (tm_skip(p, T_SUB)) n = single(p, N_NEG, line, unary(p, false));
    else if (tm_skip(p, T_ADD)) n = single(p, N_POS, line, unary(p, false));
    else n = primary(p);
    n = postfix(p, n);
    if (with_filters) n = filters_and_tests(p, n);
    p->depth--;
    return n;
}

static tm_node *power(tm_parser *p) {
    tm_node *n = unary(p, true);
    for (int line = line_of(p); n && tm_skip(p, T_POW); line = line_of(p))
        if ((n = pair(p, N_BIN, line, n, unary(p, true)))) n->op = T_POW;
    return n;
}

static tm_node *product(tm_parser *p) {
    tm_node *n = power(p);
    for (;;) {
        tm_tok_kind op = peek(p);
        int line = line_of(p);
        if (!n || (op != T_MUL && op != T_DIV && op != T_FLOORDIV && op != T_MOD)) return n;
        p->at++;
        if ((n = pair(p, N_BIN, line, n, power(p)))) n->op = (int)op;
    }
}

static tm_node *concat(tm_parser *p) {
    int line = line_of(p);
    tm_node *first = product(p);
    if (!first || peek(p) != T_TILDE) return first;
    tm_node *n = tm_node_new(p, N_CONCAT, line);
    if (!n) return NULL;
    n->a = first;
    for (tm_node **end = &first->next; tm_skip(p, T_TILDE); end = &(*end)->next)
        if (!(*end = product(p))) return NULL;
    return n;
}

static tm_node *sum(tm_parser *p) {
    tm_node *n = concat(p);
    for (;;) {
        tm_tok_kind op = peek(p);
        int line = line_of(p);
        if (!n || (op != T_ADD && op != T_SUB)) return n;
        p->at++;
        if ((n = pair(p, N_BIN, line, n, concat(p)))) n->op = (int)op;
    }
}

static bool is_name(const tm_tok *t, const char *name) {
    return t->kind == T_NAME && t->n == strlen(name) && !memcmp(t->p, name, t->n);
}

static tm_node *comparison(tm_parser *p) {
    tm_node *first = sum(p), *n = NULL, **end = NULL;
    while (first) {
        int line = line_of(p);
        tm_tok_kind op = peek(p);
        if (op >= T_EQ && op <= T_LE) p->at++;
        else if (tm_skip_name(p, "in")) op = T_IN;
        else if (tm_tok_is_name(p, "not") && is_name(&p->tok[p->at + 1], "in")) {
            p->at += 2;
            op = T_NOTIN;
        } else break;
        if (!n) {
            if (!(n = tm_node_new(p, N_COMPARE, line))) return NULL;
            n->a = first;
            end = &n->c;
        }
        if (!(*end = single(p, N_CMP, line, sum(p)))) return NULL;
        (*end)->op = (int)op;
        end = &(*end)->next;
    }
    return n ? n : first;
}

static tm_node *negation(tm_parser *p) {
    int line = line_of(p);
    if (!deeper(p)) return NULL;
    tm_node *n = tm_skip_name(p, "not") ? single(p, N_NOT, line, negation(p)) : comparison(p);
    p->depth--;
    return n;
}

static tm_node *conjunction(tm_parser *p) {
    tm_node *n = negation(p);
    for (int line = line_of(p); n && tm_skip_name(p, "and"); line = line_of(p))
        n = pair(p, N_AND, line, n, negation(p));
    return n;
}

static tm_node *disjunction(tm_parser *p) {
    tm_node *n = conjunction(p);
    for (int line = line_of(p); n && tm_skip_name(p, "or"); line = line_of(p))
        n = pair(p, N_OR, line, n, conjunction(p));
    return n;
}

tm_node *tm_parse_expr(tm_parser *p, bool with_cond) {
    if (!deeper(p)) return NULL;
    const tm_node *unknown = p->unknown;
    tm_node *n = disjunction(p);
    while (n && with_cond && tm_tok_is_name(p, "if")) {
        int line = line_of(p);
        p->at++;
        p->maybe++;
        p->unknown = unknown; /* what stood before the `if` may not be reached either */
        if (!(n = pair(p, N_COND, line, n, disjunction(p)))) return NULL;
        if (tm_skip_name(p, "else") && !(n->c = tm_parse_expr(p, true))) return NULL;
        p->maybe--;
    }
    p->depth--;
    return n;
}

tm_node *tm_parse_tuple(tm_parser *p, bool with_cond, bool in_parens) {
    int line = line_of(p);
    tm_node *first = NULL, **end = &first;
    bool comma = false;
    for (;;) {
        tm_tok_kind t = peek(p);
        if (t == T_VAR_END || t == T_BLOCK_END || t == T_RPAREN) break;
        if (!(*end = tm_parse_expr(p, with_cond))) return NULL;
        end = &(*end)->next;
        if (!tm_skip(p, T_COMMA)) break;
        comma = true;
    }
    if (!comma && first) return first;
    if (!first && !in_parens) {
        char buf[64];
        tm_parse_fail(p, line, HN_EPARSE, "expected an expression, found %s", tm_tok_text(p, buf));
        return NULL;
    }
    tm_node *n = tm_node_new(p, N_TUPLE, line);
    if (n) n->a = first;
    return n;
}

static tm_node *one_target(tm_parser *p, bool allow_ns) {
    int line = line_of(p);
    if (tm_skip(p, T_LPAREN)) {
        tm_node *n = tm_parse_target(p, allow_ns);
        return n && tm_expect(p, T_RPAREN) ? n : NULL;
    }
    char *name = tm_expect_name(p);
    tm_node *n = named(p, N_NAME, line, NULL, name);
    if (!n) return NULL;
    static const char *const fixed[] = { "true", "false", "none", "True", "False", "None" };
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (!strcmp(name, fixed[i])) {
            tm_parse_fail(p, line, HN_EPARSE, "cannot assign to '%s'", name);
            return NULL;
        }
    if (allow_ns && tm_skip(p, T_DOT)) {
        n->kind = N_NSREF;
        if (!(n->attr = tm_expect_name(p))) return NULL;
    }
    return n;
}

tm_node *tm_parse_target(tm_parser *p, bool allow_ns) {
    int line = line_of(p);
    if (!deeper(p)) return NULL;
    tm_node *first = one_target(p, allow_ns), **end = first ? &first->next : NULL;
    p->depth--;
    if (!first || peek(p) != T_COMMA) return first;
    while (tm_skip(p, T_COMMA)) {
        if (peek(p) == T_RPAREN || peek(p) == T_BLOCK_END) break; /* (a,) */
        if (!(*end = one_target(p, allow_ns))) return NULL;
        end = &(*end)->next;
    }
    tm_node *n = tm_node_new(p, N_TUPLE, line);
    if (n) n->a = first;
    return n;
}
