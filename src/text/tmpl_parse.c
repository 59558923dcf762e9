/* tmpl_parse.c - statements of a template into a tree; the front of the engine.
 *
 * Recursive descent with the grammar of jinja2: the same tags, the same places where a
 * conditional expression or a bare tuple is allowed.  Expressions are in tmpl_expr.c. */
#include "text/tmpl.h"

#include <string.h>

enum { MAX_NESTING = 100 };

bool tm_parse_fail(tm_parser *p, int line, int code, const char *fmt, ...) {
    if (p->e && p->e->code) return false;
    char msg[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    hn_fail(p->e, code, "template %s, line %d: %s", p->name, line, msg);
    return false;
}

tm_node *tm_node_new(tm_parser *p, tm_nkind kind, int line) {
    tm_node *n = hn_arena_get(p->mem, sizeof *n);
    if (!n) {
        tm_parse_fail(p, line, HN_ENOMEM, "out of memory");
        return NULL;
    }
    n->kind = kind;
    n->line = line;
    return n;
}

bool tm_tok_is_name(const tm_parser *p, const char *name) {
    const tm_tok *t = &p->tok[p->at];
    return t->kind == T_NAME && t->n == strlen(name) && !memcmp(t->p, name, t->n);
}

bool tm_skip(tm_parser *p, tm_tok_kind kind) {
    if (p->tok[p->at].kind != kind) return false;
    p->at++;
    return true;
}

bool tm_skip_name(tm_parser *p, const char *name) {
    if (!tm_tok_is_name(p, name)) return false;
    p->at++;
    return true;
}

const char *tm_tok_text(const tm_parser *p, char buf[64]) {
    const tm_tok *t = &p->tok[p->at];
    if (t->kind == T_EOF) return "the end of the template";
    snprintf(buf, 64, "'%.*s'", t->n < 50 ? (int)t->n : 50, t->p);
    return buf;
}

bool tm_expect(tm_parser *p, tm_tok_kind kind) {
    static const char *const names[] = {
        [T_VAR_END] = "}}", [T_BLOCK_END] = "%}", [T_RPAREN] = ")", [T_RBRACKET] = "]", [T_RBRACE] = "}",
        [T_ASSIGN] = "=",   [T_COLON] = ":",      [T_COMMA] = ",",  [T_LPAREN] = "("
    };
    if (tm_skip(p, kind)) return true;
    char buf[64];
    return tm_parse_fail(p, p->tok[p->at].line, HN_EPARSE, "expected '%s', found %s", names[kind],
                         tm_tok_text(p, buf));
}

char *tm_expect_name(tm_parser *p) {
    const tm_tok *t = &p->tok[p->at];
    if (t->kind != T_NAME) {
        char buf[64];
        tm_parse_fail(p, t->line, HN_EPARSE, "expected a name, found %s", tm_tok_text(p, buf));
        return NULL;
    }
    p->at++;
    char *name = hn_arena_str(p->mem, t->p, t->n);
    if (!name) tm_parse_fail(p, t->line, HN_ENOMEM, "out of memory");
    return name;
}

/* Statements up to a tag whose name is one of `ends` (separated by spaces, the one that closes the tag of
 * `line` first; NULL: the end of the template).  The parser then stands on that name. */
static bool body(tm_parser *p, int line, const char *ends, tm_node **list);

/* The body of a tag: after its %}, up to {% end %}, which is consumed. */
static bool block_body(tm_parser *p, int line, const char *ends, tm_node **list) {
    return tm_expect(p, T_BLOCK_END) && body(p, line, ends, list);
}

static bool end_tag(tm_parser *p) {
    p->at++;
    return tm_expect(p, T_BLOCK_END);
}

static tm_node *if_branches(tm_parser *p, tm_node *n) {
    tm_node *top = n;
    for (;;) {
        if (!(n->a = tm_parse_tuple(p, false, false))) return NULL;
        if (!block_body(p, top->line, "endif elif else", &n->b)) return NULL;
        if (!tm_skip_name(p, "elif")) break;
        if (!(n->c = tm_node_new(p, N_IF, p->tok[p->at].line))) return NULL;
        n = n->c;
        n->op = 1;
    }
    if (tm_skip_name(p, "else") && !block_body(p, top->line, "endif", &n->c)) return NULL;
    return end_tag(p) ? top : NULL;
}

static tm_node *parse_if(tm_parser *p, tm_node *n) {
    p->maybe++;
    n = if_branches(p, n);
    p->maybe--;
    return n;
}

static tm_node *parse_for(tm_parser *p, tm_node *n) {
    if (!(n->a = tm_parse_target(p, false))) return NULL;
    if (!tm_skip_name(p, "in")) {
        char buf[64];
        tm_parse_fail(p, n->line, HN_EPARSE, "expected 'in' in {%% for %%}, found %s", tm_tok_text(p, buf));
        return NULL;
    }
    if (!(n->b = tm_parse_tuple(p, false, false))) return NULL;
    int maybe = p->maybe; /* a loop is a scope of its own: what stands there is looked at at once */
    p->maybe = 0;
    if (tm_skip_name(p, "if") && !(n->d = tm_parse_expr(p, true))) return NULL;
    n->op = tm_skip_name(p, "recursive");
    p->loops++;
    bool ok = block_body(p, n->line, "endfor else", &n->c);
    p->loops--;
    if (!ok || (tm_skip_name(p, "else") && !block_body(p, n->line, "endfor", &n->e))) return NULL;
    p->maybe = maybe;
    return end_tag(p) ? n : NULL;
}

/* Inside of a macro, a call block or {% generation %} there is no loop to leave. */
static bool closed_body(tm_parser *p, int line, const char *end, tm_node **list) {
    int loops = p->loops, maybe = p->maybe;
    p->loops = p->maybe = 0;
    bool ok = block_body(p, line, end, list) && end_tag(p);
    p->loops = loops;
    p->maybe = maybe;
    return ok;
}

/* The filters of a block, which are its own scope. */
static tm_node *hole_filters(tm_parser *p, int line, bool first_named) {
    int maybe = p->maybe;
    tm_node *hole = tm_node_new(p, N_HOLE, line);
    p->maybe = 0;
    if (hole) hole = tm_parse_filters(p, hole, first_named);
    p->maybe = maybe;
    return hole;
}

static tm_node *parse_set(tm_parser *p, tm_node *n) {
    if (!(n->a = tm_parse_target(p, true))) return NULL;
    if (tm_skip(p, T_ASSIGN)) {
        if (!(n->b = tm_parse_tuple(p, true, false))) return NULL;
        return tm_expect(p, T_BLOCK_END) ? n : NULL;
    }
    n->kind = N_SETBLOCK;
    if (p->tok[p->at].kind == T_PIPE) {
        if (!(n->c = hole_filters(p, n->line, false))) return NULL;
    }
    return closed_body(p, n->line, "endset", &n->b) ? n : NULL;
}

/* (a, b=1): a list of N_KW with a default or none. */
static bool signature(tm_parser *p, tm_node **params) {
    if (!tm_expect(p, T_LPAREN)) return false;
    tm_node **end = params;
    bool defaults = false;
    while (!tm_skip(p, T_RPAREN)) {
        if (end != params && !tm_expect(p, T_COMMA)) return false;
        tm_node *n = tm_node_new(p, N_KW, p->tok[p->at].line);
        if (!n || !(n->name = tm_expect_name(p))) return false;
        if (tm_skip(p, T_ASSIGN)) {
            defaults = true;
            if (!(n->a = tm_parse_expr(p, true))) return false;
        } else if (defaults)
            return tm_parse_fail(p, n->line, HN_EPARSE, "parameter '%s' without a default after one with",
                                 n->name);
        *end = n;
        end = &n->next;
    }
    return true;
}

/* A macro takes varargs, kwargs or a caller only when its text mentions them. */
static tm_node *parse_macro(tm_parser *p, tm_node *n) {
    static const char *const extra[] = { "varargs", "kwargs", "caller" };
    int64_t begin = p->at;
    if (!(n->name = tm_expect_name(p)) || !signature(p, &n->a)) return NULL;
    if (!closed_body(p, n->line, "endmacro", &n->b)) return NULL;
    int64_t end = p->at;
    for (p->at = begin; p->at < end; p->at++)
        for (int i = 0; i < 3; i++)
            if (tm_tok_is_name(p, extra[i])) n->op |= 1 << i;
    return n;
}

/* {% call(args) callee(...) %}: kept as an output of the call, with a macro `caller` beside it. */
static tm_node *parse_call(tm_parser *p, tm_node *n) {
    n->name = "caller";
    if (p->tok[p->at].kind == T_LPAREN && !signature(p, &n->a)) return NULL;
    if (!(n->c = tm_parse_expr(p, true))) return NULL;
    if (n->c->kind != N_CALL) {
        tm_parse_fail(p, n->line, HN_EPARSE, "{%% call %%} needs a call");
        return NULL;
    }
    return closed_body(p, n->line, "endcall", &n->b) ? n : NULL;
}

static tm_node *parse_filter_block(tm_parser *p, tm_node *n) {
    if (!(n->a = hole_filters(p, n->line, true))) return NULL;
    return closed_body(p, n->line, "endfilter", &n->b) ? n : NULL;
}

static tm_node *parse_with(tm_parser *p, tm_node *n) {
    tm_node **end = &n->a;
    while (p->tok[p->at].kind != T_BLOCK_END) {
        if (end != &n->a && !tm_expect(p, T_COMMA)) return NULL;
        tm_node *kw = tm_node_new(p, N_KW, p->tok[p->at].line);
        if (!kw || !(kw->b = tm_parse_target(p, false)) || !tm_expect(p, T_ASSIGN) ||
            !(kw->a = tm_parse_expr(p, true)))
            return NULL;
        *end = kw;
        end = &kw->next;
    }
    int maybe = p->maybe;
    p->maybe = 0;
    bool ok = block_body(p, n->line, "endwith", &n->b) && end_tag(p);
    p->maybe = maybe;
    return ok ? n : NULL;
}

static tm_node *parse_jump(tm_parser *p, tm_node *n) {
    if (!p->loops) {
        tm_parse_fail(p, n->line, HN_EPARSE, "%s outside of a loop",
                      n->kind == N_BREAK ? "break" : "continue");
        return NULL;
    }
    return tm_expect(p, T_BLOCK_END) ? n : NULL;
}

static tm_node *parse_print(tm_parser *p, tm_node *n) {
    for (tm_node **end = &n->a; p->tok[p->at].kind != T_BLOCK_END; end = &(*end)->next) {
        if (n->a && !tm_expect(p, T_COMMA)) return NULL;
        if (!(*end = tm_parse_expr(p, true))) return NULL;
    }
    return tm_expect(p, T_BLOCK_END) ? n : NULL;
}

static tm_node *parse_generation(tm_parser *p, tm_node *n) {
    return closed_body(p, n->line, "endgeneration", &n->b) ? n : NULL;
}

static tm_node *statement(tm_parser *p) {
    static const struct {
        const char *name;
        tm_nkind kind;
        tm_node *(*parse)(tm_parser *p, tm_node *n);
    } tags[] = { { "if", N_IF, parse_if },
                 { "for", N_FOR, parse_for },
                 { "set", N_SET, parse_set },
                 { "macro", N_MACRO, parse_macro },
                 { "call", N_CALLBLOCK, parse_call },
                 { "filter", N_FILTERBLOCK, parse_filter_block },
                 { "with", N_WITH, parse_with },
                 { "break", N_BREAK, parse_jump },
                 { "continue", N_CONTINUE, parse_jump },
                 { "print", N_OUT, parse_print },
                 { "generation", N_GENERATION, parse_generation } };
    char buf[64];
    int line = p->tok[p->at].line;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        if (!tm_skip_name(p, tags[i].name)) continue;
        tm_node *n = tm_node_new(p, tags[i].kind, line);
        return n ? tags[i].parse(p, n) : NULL;
    }
    static const char *const known[] = { "include", "extends", "block", "import", "from", "autoescape" };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (tm_tok_is_name(p, known[i])) {
            tm_parse_fail(p, line, HN_EUNSUP, "{%% %s %%} is not supported", known[i]);
            return NULL;
        }
    tm_parse_fail(p, line, HN_EPARSE, "unknown or misplaced tag %s", tm_tok_text(p, buf));
    return NULL;
}

static bool is_end(const tm_parser *p, const char *ends) {
    const tm_tok *t = &p->tok[p->at];
    for (const char *q = ends; q && t->kind == T_NAME; q = strchr(q, ' ')) {
        q += *q == ' ';
        if (t->n == strcspn(q, " ") && !memcmp(q, t->p, t->n)) return true;
    }
    return false;
}

static tm_node *text(tm_parser *p, const tm_tok *t) {
    tm_node *n = tm_node_new(p, N_TEXT, t->line);
    return n && tm_str_const(p, t->p, t->n, &n->k) ? n : NULL;
}

static tm_node *output(tm_parser *p, int line) {
    tm_node *n = tm_node_new(p, N_OUT, line);
    if (!n || !(n->a = tm_parse_tuple(p, true, false))) return NULL;
    return tm_expect(p, T_VAR_END) ? n : NULL;
}

static bool body(tm_parser *p, int line, const char *ends, tm_node **list) {
    if (++p->depth > MAX_NESTING)
        return tm_parse_fail(p, p->tok[p->at].line, HN_ERANGE, "nested deeper than %d", MAX_NESTING);
    for (;;) {
        const tm_tok *t = &p->tok[p->at++];
        tm_node *n = NULL;
        if (t->kind == T_DATA) n = text(p, t);
        else if (t->kind == T_VAR) n = output(p, t->line);
        else if (t->kind == T_BLOCK) {
            if (is_end(p, ends)) {
                p->depth--;
                return true;
            }
            n = statement(p);
        } else {
            if (!ends) {
                p->depth--;
                return true;
            }
            return tm_parse_fail(p, line, HN_EPARSE, "the template ends before {%% %.*s %%}",
                                 (int)strcspn(ends, " "), ends);
        }
        if (!n) return false;
        *list = n;
        list = &n->next;
    }
}

int hn_tmpl_new(hn_tmpl **out, const char *src, size_t n, const char *name, hn_err *e) {
    hn_err own = { 0 };
    hn_arena *mem = hn_arena_new(16 << 10);
    hn_tmpl *t = mem ? hn_arena_get(mem, sizeof *t) : NULL;
    *out = NULL;
    if (!t || !(t->name = hn_arena_str(mem, name, strlen(name)))) {
        hn_arena_free(mem);
        return hn_fail(e, HN_ENOMEM, "template %s: out of memory", name);
    }
    t->mem = mem;
    tm_parser p = { .mem = mem, .name = t->name, .e = &own };
    bool ok = tm_lex(&p, src, n) && body(&p, 1, NULL, &t->body) && tm_parse_known(&p) &&
              tm_find_hidden(&p, t->body, &t->hidden);
    hn_free(p.tok);
    if (!ok) {
        hn_arena_free(mem);
        return hn_fail(e, own.code, "%s", own.msg);
    }
    *out = t;
    return HN_OK;
}

void hn_tmpl_free(hn_tmpl *t) {
    if (t) hn_arena_free(t->mem);
}
