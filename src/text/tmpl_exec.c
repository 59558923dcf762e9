/* tmpl_exec.c - runs statements: output, scopes, loops, macros.
 *
 * Scopes are jinja2's: for, macro, call, with, filter, block set and {% generation %} open one,
 * if does not; a name is looked up outwards; set writes the innermost.  A loop makes a new scope
 * for every iteration.  A macro sees the variables of the place where it was defined, as they
 * are when it runs. */
#include "text/tmpl.h"

#include <string.h>

/* ---- variables ---- */
static tm_frame *push_frame(tm_run *r, tm_frame *up, const tm_hidden *hidden) {
    tm_frame *f = tm_get(r, sizeof *f);
    if (f) f->up = up;
    for (; f && hidden; hidden = hidden->next) {
        tm_val undef = tm_undef(hidden->name);
        if (!tm_frame_set(r, f, hidden->name, &undef)) return NULL;
    }
    return f;
}

bool tm_frame_set(tm_run *r, tm_frame *f, const char *name, const tm_val *v) {
    tm_var *var = f->vars;
    while (var && strcmp(var->name, name)) var = var->next;
    if (!var) {
        if (!(var = tm_get(r, sizeof *var))) return false;
        *var = (tm_var){ .name = name, .next = f->vars };
        f->vars = var;
    }
    var->v = *v;
    return true;
}

bool tm_lookup(tm_run *r, const tm_node *n, tm_val *out) {
    for (const tm_frame *f = r->frame; f; f = f->up)
        for (const tm_var *v = f->vars; v; v = v->next)
            if (!strcmp(v->name, n->name)) {
                *out = v->v;
                return true;
            }
    *out = n->fn ? (tm_val){ TM_FN, { .fn = n->fn } } : tm_undef(n->name);
    return true;
}

static bool assign(tm_run *r, tm_frame *f, const tm_node *target, const tm_val *v) {
    if (target->kind == N_NAME) return tm_frame_set(r, f, target->name, v);
    if (target->kind == N_NSREF) {
        tm_val ns, key;
        if (!tm_lookup(r, target, &ns)) return false;
        if (ns.kind != TM_NS)
            return tm_fail(r, HN_EPARSE, "cannot set '%s.%s': '%s' is not a namespace", target->name,
                           target->attr, target->name);
        if (*target->attr == '_')
            return tm_fail(r, HN_EPARSE, "the name '%s' in a namespace begins with _", target->attr);
        return tm_str_val(r, target->attr, strlen(target->attr), tm_nowhere, &key) &&
               tm_dict_put(r, ns.u.d, &key, v);
    }
    tm_val *items;
    int64_t n, want = 0;
    if (!tm_items(r, v, &items, &n)) return false;
    for (const tm_node *t = target->a; t; t = t->next) want++;
    if (want != n)
        return tm_fail(r, HN_EPARSE, "cannot unpack %lld values into %lld names", (long long)n,
                       (long long)want);
    for (const tm_node *t = target->a; t; t = t->next)
        if (!assign(r, f, t, items++)) return false;
    return true;
}

/* ---- output ---- */

/* The only message that the bytes of s come from; -1 when there is none or more than one. */
static int32_t only_message(const tm_str *s) {
    if (!s->seg) return s->org.message;
    int32_t m = -1;
    for (int64_t i = 0; i < s->n_seg; i++) {
        int32_t k = s->seg[i].org.message;
        if (k >= 0 && m >= 0 && k != m) return -1;
        if (k >= 0) m = k;
    }
    return m;
}

static bool emit(tm_run *r, tm_str *s, int line) {
    if (!tm_flat(r, s)) return false;
    if (s->n > r->opts.max_out || r->out->n > r->opts.max_out - s->n)
        return tm_fail(r, HN_ERANGE, "the output is longer than %zu bytes", r->opts.max_out);
    int32_t turn = r->turn >= 0 ? r->turn : only_message(s);
    size_t at = 0;
    for (int64_t i = 0; i < (s->seg ? s->n_seg : 1); i++) {
        tm_org org = s->seg ? s->seg[i].org : s->org;
        size_t end = s->seg ? s->seg[i].end : s->n;
        if (org.turn < 0) org.turn = turn;
        if (!org.line) org.line = line;
        org.gen |= r->gen;
        if (!tm_sb_add(r->out, s->p + at, end - at, org)) return false;
        at = end;
    }
    return true;
}

/* jinja2 writes what such a block gives as it is, so it has to be text. */
static bool emit_text(tm_run *r, const tm_val *v, const char *tag, int line) {
    if (v->kind != TM_STR)
        return tm_fail(r, HN_EPARSE, "{%% %s %%} gives a %s, not text", tag, tm_kind_name(v));
    return emit(r, v->u.s, line);
}

/* Runs the body of n in a scope of its own and returns what it wrote. */
static bool capture(tm_run *r, const tm_node *n, tm_val *out) {
    tm_sb b = { .r = r }, *sink = r->out;
    r->out = &b;
    bool ok = tm_exec_in(r, r->frame, n->hidden, n->b);
    r->out = sink;
    return ok && tm_sb_take(&b, out);
}

static bool filtered(tm_run *r, const tm_node *chain, tm_val *v) {
    if (!chain) return true;
    tm_str *saved = r->hole;
    r->hole = v->u.s;
    bool ok = tm_eval(r, chain, v);
    r->hole = saved;
    return ok;
}

/* ---- loops ---- */
static int32_t message_of(const tm_val *v) {
    if (v->kind == TM_DICT) return v->u.d->org.message;
    return v->kind == TM_LIST ? v->u.l->org.message : -1;
}

/* The next item that passes the filter; TM_ABSENT when there is none. */
static bool pull(tm_loop *l, tm_val *out) {
    tm_run *r = l->run;
    for (out->kind = TM_ABSENT; l->at < l->n;) {
        tm_val item = l->v[l->at++], pass = tm_bool(true);
        if (!tm_charge(r, 1)) return false;
        if (l->node->d && !l->filtered) {
            tm_frame *frame = r->frame, *inner = push_frame(r, l->frame, NULL);
            if (!inner || !assign(r, inner, l->node->a, &item)) return false;
            r->frame = inner;
            bool ok = tm_eval(r, l->node->d, &pass);
            r->frame = frame;
            if (!ok) return false;
        }
        if (!tm_truth(&pass)) continue;
        *out = item;
        return true;
    }
    return true;
}

static bool peek(tm_loop *l) { return l->next.kind != TM_ABSENT || pull(l, &l->next); }

bool tm_loop_length(tm_loop *l) {
    if (l->length >= 0) return true;
    if (!l->node->d) l->length = l->n;
    else { /* filter all that is left now, as jinja2 does */ tm_val list;
        int64_t n = 0;
        if (!tm_list_new(l->run, TM_LIST, l->n - l->at + 1, &list)) return false;
        for (;; n++) {
            tm_val *item = &list.u.l->v[n];
            if (!pull(l, item)) return false;
            if (item->kind == TM_ABSENT) break;
        }
        l->length = l->index0 + 1 + (l->next.kind != TM_ABSENT) + n;
        l->v = list.u.l->v;
        l->at = 0;
        l->n = n;
        l->filtered = true;
    }
    return true;
}

bool tm_loop_attr(tm_run *r, tm_loop *l, const char *name, tm_val *out) {
    int64_t i = l->index0;
    bool from_end = !strcmp(name, "length") || !strcmp(name, "revindex") || !strcmp(name, "revindex0");
    if (from_end && !tm_loop_length(l)) return false;
    if ((!strcmp(name, "last") || !strcmp(name, "nextitem")) && !peek(l)) return false;
    if (!strcmp(name, "index")) *out = tm_int(i + 1);
    else if (!strcmp(name, "index0")) *out = tm_int(i);
    else if (!strcmp(name, "first")) *out = tm_bool(!i);
    else if (!strcmp(name, "last")) *out = tm_bool(l->next.kind == TM_ABSENT);
    else if (!strcmp(name, "length")) *out = tm_int(l->length);
    else if (!strcmp(name, "revindex")) *out = tm_int(l->length - i);
    else if (!strcmp(name, "revindex0")) *out = tm_int(l->length - i - 1);
    else if (!strcmp(name, "depth")) *out = tm_int(l->depth0 + 1);
    else if (!strcmp(name, "depth0")) *out = tm_int(l->depth0);
    else if (!strcmp(name, "previtem")) *out = l->prev.kind ? l->prev : tm_undef("there is no previous item");
    else if (!strcmp(name, "nextitem")) *out = l->next.kind ? l->next : tm_undef("there is no next item");
    else {
        const tm_fn *fn = tm_method_find(TM_LOOP, name);
        tm_method *m = fn ? tm_get(r, sizeof *m) : NULL;
        if (fn && !m) return false;
        if (m) *m = (tm_method){ { TM_LOOP, { .loop = l } }, fn };
        *out = fn ? (tm_val){ TM_METHOD, { .method = m } } : tm_undef(name);
    }
    return true;
}

static bool iteration(tm_run *r, tm_loop *l) {
    tm_val self = { TM_LOOP, { .loop = l } };
    tm_frame *inner = push_frame(r, l->frame, l->node->hidden);
    if (!inner || !assign(r, inner, l->node->a, &l->cur) || !tm_frame_set(r, inner, "loop", &self))
        return false;
    int32_t turn = r->turn, message = message_of(&l->cur);
    if (message >= 0) r->turn = message;
    r->frame = inner;
    bool ok = tm_exec(r, l->node->c);
    r->frame = l->frame;
    r->turn = turn;
    return ok;
}

static bool run_loop(tm_run *r, const tm_node *n, tm_frame *frame, const tm_val *v, int64_t depth0) {
    tm_loop *l = tm_get(r, sizeof *l);
    if (!l) return false;
    *l = (tm_loop){ .run = r, .node = n, .frame = frame, .index0 = -1, .length = -1, .depth0 = depth0 };
    if (!tm_items(r, v, &l->v, &l->n)) return false;
    r->loops++;
    bool ok = true, completed = false;
    while (ok && (ok = peek(l)) && l->next.kind != TM_ABSENT) {
        l->prev = l->cur;
        l->cur = l->next;
        l->next.kind = TM_ABSENT;
        l->index0++;
        ok = iteration(r, l);
        int jump = r->jump;
        r->jump = TM_NO_JUMP;
        if (jump == TM_JUMP_BREAK) break;
        completed |= jump == TM_NO_JUMP;
    }
    r->loops--;
    if (!ok || completed || !n->e) return ok; /* jinja2 runs the else unless an iteration came to its end */
    return tm_exec_in(r, l->frame, n->hidden_else, n->e);
}

static bool exec_for(tm_run *r, const tm_node *n) {
    tm_val v;
    return tm_eval(r, n->b, &v) && run_loop(r, n, r->frame, &v, 0);
}

bool tm_loop_call(tm_run *r, tm_loop *l, const tm_args *args, tm_val *out) {
    bool named = !args->n && args->n_kw == 1 && !strcmp(args->kw[0], "iterable");
    if (!l->node->op) return tm_fail(r, HN_EPARSE, "loop() needs {%% for ... recursive %%}");
    if (!named && (args->n != 1 || args->n_kw)) return tm_fail(r, HN_EPARSE, "loop() takes one argument");
    tm_sb b = { .r = r }, *sink = r->out;
    tm_frame *frame = r->frame;
    int jump = r->jump;
    if (!tm_enter(r)) return false;
    r->out = &b;
    bool ok = run_loop(r, l->node, l->frame, named ? &args->kwv[0] : &args->v[0], l->depth0 + 1);
    r->out = sink;
    r->frame = frame;
    r->jump = jump;
    tm_leave(r);
    return ok && tm_sb_take(&b, out);
}

/* ---- macros ---- */
static bool bind_param(tm_run *r, const tm_macro *m, const tm_node *p, int i, const tm_args *args,
                       tm_val *v) {
    bool given = i < args->n;
    if (given) *v = args->v[i];
    for (int k = 0; k < args->n_kw; k++) {
        if (strcmp(args->kw[k], p->name)) continue;
        if (given) return tm_fail(r, HN_EPARSE, "macro '%s' got two values for '%s'", m->node->name, p->name);
        given = true;
        *v = args->kwv[k];
    }
    if (given) return true;
    if (p->a) return tm_eval(r, p->a, v); /* in the macro's own scope */
    *v = tm_undef(p->name);
    return true;
}

static bool bind_rest(tm_run *r, const tm_macro *m, int n_param, const tm_args *args) {
    const tm_node *n = m->node;
    tm_val rest, kw, caller = tm_undef("caller");
    int extra = args->n > n_param ? args->n - n_param : 0;
    if (extra && !(n->op & TM_VARARGS))
        return tm_fail(r, HN_EPARSE, "macro '%s' takes not more than %d arguments", n->name, n_param);
    if (!tm_list_new(r, TM_TUPLE, extra, &rest) || !tm_dict_new(r, 0, &kw)) return false;
    for (int i = 0; i < extra; i++) rest.u.l->v[i] = args->v[n_param + i];
    for (int k = 0; k < args->n_kw; k++) {
        const tm_node *p = n->a;
        while (p && strcmp(p->name, args->kw[k])) p = p->next;
        if (p) continue;
        tm_val key;
        if (!strcmp(args->kw[k], "caller") && (n->op & TM_CALLER)) caller = args->kwv[k];
        else if (!(n->op & TM_KWARGS))
            return tm_fail(r, HN_EPARSE, "macro '%s' takes no argument '%s'", n->name, args->kw[k]);
        else if (!tm_str_val(r, args->kw[k], strlen(args->kw[k]), tm_nowhere, &key) ||
                 !tm_dict_put(r, kw.u.d, &key, &args->kwv[k]))
            return false;
    }
    return (!(n->op & TM_VARARGS) || tm_frame_set(r, r->frame, "varargs", &rest)) &&
           (!(n->op & TM_KWARGS) || tm_frame_set(r, r->frame, "kwargs", &kw)) &&
           (!(n->op & TM_CALLER) || tm_frame_set(r, r->frame, "caller", &caller));
}

static bool run_macro(tm_run *r, const tm_macro *m, const tm_args *args, tm_val *out) {
    int i = 0;
    for (const tm_node *p = m->node->a; p; p = p->next, i++) {
        tm_val v;
        if (!bind_param(r, m, p, i, args, &v) || !tm_frame_set(r, r->frame, p->name, &v)) return false;
        if (r->turn < 0 && v.kind == TM_DICT && v.u.d->org.field == TM_NOFIELD) r->turn = v.u.d->org.message;
    }
    if (!bind_rest(r, m, i, args)) return false;
    tm_sb b = { .r = r };
    r->out = &b;
    return tm_exec(r, m->node->b) && tm_sb_take(&b, out);
}

bool tm_macro_call(tm_run *r, const tm_macro *m, const tm_args *args, tm_val *out) {
    tm_sb *sink = r->out;
    tm_frame *frame = r->frame, *inner = push_frame(r, m->frame, m->node->hidden);
    int32_t turn = r->turn;
    if (!inner || !tm_enter(r)) return false;
    r->frame = inner;
    bool ok = run_macro(r, m, args, out);
    r->out = sink;
    r->frame = frame;
    r->turn = turn;
    tm_leave(r);
    return ok;
}

static bool macro_value(tm_run *r, const tm_node *n, tm_val *out) {
    tm_macro *m = tm_get(r, sizeof *m);
    if (m) *m = (tm_macro){ n, r->frame };
    *out = (tm_val){ TM_MACRO, { .macro = m } };
    return m;
}

static bool exec_call(tm_run *r, const tm_node *n) {
    tm_val callee, caller, v;
    tm_args args = { 0 };
    if (!macro_value(r, n, &caller) || !tm_eval(r, n->c->a, &callee) || !tm_args_eval(r, n->c->b, &args))
        return false;
    const char **kw = tm_get(r, ((size_t)args.n_kw + 1) * sizeof *kw);
    tm_val *kwv = kw ? tm_get(r, ((size_t)args.n_kw + 1) * sizeof *kwv) : NULL;
    if (!kwv) return false;
    for (int i = 0; i < args.n_kw; i++) {
        kw[i] = args.kw[i];
        kwv[i] = args.kwv[i];
    }
    kw[args.n_kw] = "caller";
    kwv[args.n_kw++] = caller;
    args.kw = kw;
    args.kwv = kwv;
    return tm_call_value(r, &callee, &args, &v) && emit_text(r, &v, "call", n->line);
}

/* ---- arguments of a call ---- */
static bool add_positional(tm_run *r, tm_args *args, int64_t *cap, const tm_val *v, int64_t n) {
    if (args->n + n > 1000000) return tm_fail(r, HN_ERANGE, "too many arguments");
    if (args->n + n > *cap) {
        *cap = 2 * (args->n + n);
        tm_val *grown = tm_get(r, (size_t)*cap * sizeof *grown);
        if (!grown) return false;
        if (args->n) memcpy(grown, args->v, (size_t)args->n * sizeof *grown);
        args->v = grown;
    }
    if (n) memcpy(args->v + args->n, v, (size_t)n * sizeof *v);
    args->n += (int)n;
    return true;
}

static bool add_named(tm_run *r, tm_args *args, int *cap, const char *name, const tm_val *v) {
    for (int i = 0; i < args->n_kw; i++)
        if (!strcmp(args->kw[i], name))
            return tm_fail(r, HN_EPARSE, "two values for the argument '%s'", name);
    if (args->n_kw == *cap) {
        *cap = *cap ? 2 * *cap : 4;
        const char **kw = tm_get(r, (size_t)*cap * sizeof *kw);
        tm_val *kwv = kw ? tm_get(r, (size_t)*cap * sizeof *kwv) : NULL;
        if (!kwv) return false;
        if (args->n_kw) {
            memcpy(kw, args->kw, (size_t)args->n_kw * sizeof *kw);
            memcpy(kwv, args->kwv, (size_t)args->n_kw * sizeof *kwv);
        }
        args->kw = kw;
        args->kwv = kwv;
    }
    args->kw[args->n_kw] = name;
    args->kwv[args->n_kw++] = *v;
    return true;
}

static bool add_dict(tm_run *r, tm_args *args, int *cap, const tm_val *v) {
    if (v->kind != TM_DICT) return tm_fail(r, HN_EPARSE, "** needs a dict, not %s", tm_kind_name(v));
    for (int64_t i = 0; i < v->u.d->n; i++) {
        const tm_val *k = &v->u.d->k[i];
        if (k->kind != TM_STR) return tm_fail(r, HN_EPARSE, "names of arguments must be strings");
        char *copy = tm_get(r, k->u.s->n + 1);
        if (!copy) return false;
        memcpy(copy, k->u.s->p, k->u.s->n);
        if (!add_named(r, args, cap, copy, &v->u.d->v[i])) return false;
    }
    return true;
}

bool tm_args_eval(tm_run *r, const tm_node *list, tm_args *args) {
    int64_t cap = 0, n;
    int cap_kw = 0;
    for (const tm_node *a = list; a; a = a->next) {
        tm_val v, *items = &v;
        bool inner = a->kind == N_KW || a->kind == N_STAR || a->kind == N_DSTAR;
        if (!tm_eval(r, inner ? a->a : a, &v)) return false;
        n = 1;
        if (a->kind == N_STAR && !tm_items(r, &v, &items, &n)) return false;
        bool ok = a->kind == N_KW      ? add_named(r, args, &cap_kw, a->name, &v)
                  : a->kind == N_DSTAR ? add_dict(r, args, &cap_kw, &v)
                                       : add_positional(r, args, &cap, items, n);
        if (!ok) return false;
    }
    return true;
}

/* ---- statements ---- */
static bool exec_set(tm_run *r, const tm_node *n) {
    tm_val v;
    if (n->kind == N_SET) {
        if (!tm_eval(r, n->b, &v)) return false;
    } else if (!capture(r, n, &v) || !filtered(r, n->c, &v)) return false;
    /* `for i in range(...)`, then `set message = messages[i]`: from here on its turn */
    if (r->turn < 0 && r->loops && v.kind == TM_DICT && v.u.d->org.field == TM_NOFIELD)
        r->turn = v.u.d->org.message;
    return assign(r, r->frame, n->a, &v);
}

static bool exec_if(tm_run *r, const tm_node *n) {
    for (;;) {
        tm_val cond;
        if (!tm_eval(r, n->a, &cond)) return false;
        if (tm_truth(&cond)) return tm_exec(r, n->b);
        if (!n->c || n->c->kind != N_IF || n->c->next) return !n->c || tm_exec(r, n->c);
        n = n->c; /* elif, or an if alone in the else */
    }
}

static bool exec_with(tm_run *r, const tm_node *n) {
    tm_frame *frame = r->frame, *inner = push_frame(r, frame, n->hidden);
    if (!inner) return false;
    for (const tm_node *kw = n->a; kw; kw = kw->next) {
        tm_val v;
        if (!tm_eval(r, kw->a, &v) || !assign(r, inner, kw->b, &v)) return false;
    }
    r->frame = inner;
    bool ok = tm_exec(r, n->b);
    r->frame = frame;
    return ok;
}

static bool exec_filter_block(tm_run *r, const tm_node *n) {
    tm_val v;
    return capture(r, n, &v) && filtered(r, n->a, &v) && emit_text(r, &v, "filter", n->line);
}

static bool exec_generation(tm_run *r, const tm_node *n) {
    tm_val v;
    bool gen = r->gen;
    r->gen = true;
    bool ok = capture(r, n, &v);
    r->gen = gen;
    return ok && emit(r, v.u.s, n->line);
}

static bool statement(tm_run *r, const tm_node *n) {
    tm_val v;
    tm_str *s;
    r->line = n->line;
    switch (n->kind) {
    case N_TEXT: return emit(r, n->k.u.s, n->line);
    case N_OUT:
        for (const tm_node *k = n->a; k; k = k->next)
            if (!tm_eval(r, k, &v) || !tm_print(r, &v, &s) || !emit(r, s, n->line)) return false;
        return true;
    case N_IF: return exec_if(r, n);
    case N_FOR: return exec_for(r, n);
    case N_SET:
    case N_SETBLOCK: return exec_set(r, n);
    case N_MACRO: return macro_value(r, n, &v) && tm_frame_set(r, r->frame, n->name, &v);
    case N_CALLBLOCK: return exec_call(r, n);
    case N_FILTERBLOCK: return exec_filter_block(r, n);
    case N_WITH: return exec_with(r, n);
    case N_BREAK: r->jump = TM_JUMP_BREAK; return true;
    case N_CONTINUE: r->jump = TM_JUMP_CONTINUE; return true;
    case N_GENERATION: return exec_generation(r, n);
    default: return tm_fail(r, HN_EUNSUP, "this statement is not supported");
    }
}

bool tm_exec(tm_run *r, const tm_node *list) {
    if (!tm_enter(r)) return false;
    bool ok = true;
    for (; ok && list && !r->jump; list = list->next) ok = statement(r, list);
    tm_leave(r);
    return ok;
}

bool tm_exec_in(tm_run *r, tm_frame *up, const tm_hidden *hidden, const tm_node *list) {
    tm_frame *frame = r->frame, *inner = push_frame(r, up, hidden);
    if (!inner) return false;
    r->frame = inner;
    bool ok = tm_exec(r, list);
    r->frame = frame;
    return ok;
}
