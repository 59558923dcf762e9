/* tmpl_scope.c - finds the names that a scope hides before it sets them.
 *
 * jinja2 decides where a name lives when it compiles, not when it runs.  A name that a scope sets
 * without having read it directly is the scope's own from its start: what reads it earlier from an
 * inner scope (a loop, a macro) sees undefined, even when a variable of that name was passed in.
 * This pass works out those names as jinja2 3.1 does (its Symbols), so that both agree.
 *
 * A set in only some branches of an if does not hide the name. */
#include "text/tmpl.h"

#include <string.h>

typedef struct entry { /* a name the scope knows */
    const char *name;
    bool hidden; /* it starts as undefined */
    bool stored;
    struct entry *next;
} entry;

typedef struct scope {
    struct scope *outer; /* the enclosing scope, or for a branch of an if what it was copied from */
    bool branch;
    entry *entries;
} scope;

typedef struct pass {
    tm_parser *p;
    scope *s;
    bool oom;
} pass;

static entry *find(const scope *s, const char *name) {
    for (entry *e = s->entries; e; e = e->next)
        if (!strcmp(e->name, name)) return e;
    return NULL;
}

/* Does the scope itself (a branch has what it was copied from) or, with `beyond`, any know the name? */
static bool knows(const scope *s, const char *name, bool beyond) {
    for (; s; s = s->outer) {
        if (find(s, name)) return true;
        if (!s->branch && !beyond) return false;
    }
    return false;
}

static bool stored_before(const scope *s, const char *name) {
    for (;; s = s->outer) {
        const entry *e = find(s, name);
        if (e && e->stored) return true;
        if (!s->branch) return false;
    }
}

static entry *define(pass *v, const char *name, bool hidden) {
    entry *e = find(v->s, name);
    if (e) return e;
    if (!(e = hn_arena_get(v->p->mem, sizeof *e))) {
        v->oom = true;
        return NULL;
    }
    *e = (entry){ .name = name, .hidden = hidden, .next = v->s->entries };
    return v->s->entries = e;
}

static void load(pass *v, const char *name) {
    if (!knows(v->s, name, true)) define(v, name, false);
}

static void store(pass *v, const char *name) {
    entry *e = define(v, name, !knows(v->s, name, true));
    if (e) e->stored = true;
}

static void parameter(pass *v, const char *name) {
    entry *e = define(v, name, false);
    if (e) e->stored = true;
}

/* Names read by a list of expressions.  Left-deep chains are walked, not recursed into. */
static void expression(pass *v, const tm_node *list) {
    for (; list; list = list->next)
        for (const tm_node *n = list; n; n = n->a) {
            if (n->kind == N_NAME) load(v, n->name);
            expression(v, n->b);
            expression(v, n->c);
            if (n->a && n->a->next) {
                expression(v, n->a);
                break;
            }
        }
}

static void target(pass *v, const tm_node *n, void (*event)(pass *, const char *)) {
    if (n->kind == N_NSREF) load(v, n->name);
    else if (n->kind == N_NAME) event(v, n->name);
    else
        for (n = n->a; n; n = n->next) target(v, n, event);
}

static void statements(pass *v, tm_node *list);

static void merge(pass *v, const scope *branch, const scope *before) {
    for (const entry *b = branch->entries; b; b = b->next) {
        entry *e = knows(before, b->name, false) ? NULL : define(v, b->name, b->hidden);
        if (e) e->hidden = b->hidden; /* the last branch decides */
    }
}

/* One branch, looked at apart; *b gets what it knows. */
static void branch_of(pass *v, tm_node *n, bool is_elif, scope *b);

static void branches(pass *v, tm_node *n) {
    scope part[3] = { 0 };
    tm_node *otherwise = n->c;
    while (otherwise && otherwise->kind == N_IF && otherwise->op) otherwise = otherwise->c;
    expression(v, n->a);
    branch_of(v, n->b, false, &part[0]);
    branch_of(v, n->c && n->c->kind == N_IF && n->c->op ? n->c : NULL, true, &part[1]);
    branch_of(v, otherwise, false, &part[2]);
    scope before = *v->s;
    for (int i = 0; i < 3; i++) merge(v, &part[i], &before);
    for (entry *e = v->s->entries; e; e = e->next) {
        int count = 0;
        for (int i = 0; i < 3; i++) {
            const entry *b = find(&part[i], e->name);
            count += b && b->stored;
        }
        if (count && !stored_before(&before, e->name)) {
            e->stored = true;
            if (count < 3) e->hidden = false;
        }
    }
}

static void branch_of(pass *v, tm_node *n, bool is_elif, scope *b) {
    scope *outer = v->s;
    *b = (scope){ .outer = outer, .branch = true };
    v->s = b;
    if (!is_elif) statements(v, n);
    for (; is_elif && n && n->kind == N_IF && n->op; n = n->c) {
        tm_node alone = *n; /* each elif is an if without an else of its own */
        alone.c = NULL;
        branches(v, &alone);
    }
    v->s = outer;
}

/* Opens the scope of a statement: parameters, then the body.  What it hides goes to *hidden. */
static void inner(pass *v, const tm_node *params, const tm_node *targets, tm_node *list, tm_hidden **hidden) {
    scope s = { .outer = v->s }, *outer = v->s;
    v->s = &s;
    if (targets) target(v, targets, parameter);
    for (const tm_node *p = params; p; p = p->next) {
        if (p->name) parameter(v, p->name); /* of a macro; its default is an expression */
        else target(v, p->b, store);        /* of a with */
    }
    for (const tm_node *p = params; p; p = p->next)
        if (p->name) expression(v, p->a);
    statements(v, list);
    v->s = outer;
    for (const entry *e = s.entries; e; e = e->next) {
        if (!e->hidden) continue;
        tm_hidden *h = hn_arena_get(v->p->mem, sizeof *h);
        if (!h) {
            v->oom = true;
            return;
        }
        *h = (tm_hidden){ e->name, *hidden };
        *hidden = h;
    }
}

static void statement(pass *v, tm_node *n) {
    switch (n->kind) {
    case N_OUT: expression(v, n->a); break;
    case N_IF: branches(v, n); break;
    case N_FOR:
        expression(v, n->b);
        inner(v, NULL, n->a, n->c, &n->hidden);
        inner(v, NULL, NULL, n->e, &n->hidden_else);
        break;
    case N_SET:
        expression(v, n->b);
        target(v, n->a, store);
        break;
    case N_SETBLOCK:
        target(v, n->a, store);
        inner(v, NULL, NULL, n->b, &n->hidden);
        break;
    case N_MACRO:
        store(v, n->name);
        inner(v, n->a, NULL, n->b, &n->hidden);
        break;
    case N_CALLBLOCK:
        expression(v, n->c);
        inner(v, n->a, NULL, n->b, &n->hidden);
        break;
    case N_FILTERBLOCK:
        expression(v, n->a);
        inner(v, NULL, NULL, n->b, &n->hidden);
        break;
    case N_WITH:
        for (const tm_node *kw = n->a; kw; kw = kw->next) expression(v, kw->a);
        inner(v, n->a, NULL, n->b, &n->hidden);
        break;
    case N_GENERATION: inner(v, NULL, NULL, n->b, &n->hidden); break;
    default: break;
    }
}

static void statements(pass *v, tm_node *list) {
    for (; list && !v->oom; list = list->next) statement(v, list);
}

bool tm_find_hidden(tm_parser *p, tm_node *body, tm_hidden **hidden) {
    pass v = { .p = p };
    inner(&v, NULL, NULL, body, hidden);
    return v.oom ? tm_parse_fail(p, 0, HN_ENOMEM, "out of memory") : true;
}
