/* tmpl_attr.c - x.name and x[key], as jinja2 looks them up.
 *
 * x.name asks for an attribute first (so d.items is the method even when d has a key "items"),
 * x['name'] for the item first; what neither finds is undefined, and looking further into an
 * undefined value is an error. */
#include "text/tmpl.h"

#include <string.h>

bool tm_undefined(tm_run *r, const tm_val *v) {
    return tm_fail(r, HN_EPARSE, "'%s' is undefined", v->u.name);
}

static bool method_of(tm_run *r, const tm_val *v, const char *name, tm_val *out) {
    const tm_fn *fn = tm_method_find(v->kind, name);
    if (!fn) return false;
    tm_method *m = tm_get(r, sizeof *m);
    if (m) *m = (tm_method){ *v, fn };
    *out = (tm_val){ m ? TM_METHOD : TM_ABSENT, { .method = m } };
    return true;
}

static bool key_of(const tm_val *v, const char *name, tm_val *out) {
    const tm_val *found = v->kind == TM_DICT || v->kind == TM_NS ? tm_dict_get(v->u.d, name) : NULL;
    if (found) *out = *found;
    return found;
}

static bool listed(const tm_val *v, const char *name, const char *const *names) {
    char word[64];
    if (strlen(name) > 40 || !names[v->kind]) return false;
    snprintf(word, sizeof word, " %s ", name);
    return strstr(names[v->kind], word);
}

/* What Python's objects have and these do not. */
static bool builtin_only(tm_run *r, const tm_val *v, const char *name) {
    static const char number[] = " real imag numerator denominator conjugate bit_length bit_count to_bytes "
                                 "from_bytes as_integer_ratio is_integer ";
    static const char *const rest[TM_METHOD + 1] = {
        [TM_STR] = " encode maketrans translate ",
        [TM_DICT] = " fromkeys ",
        [TM_INT] = number,
        [TM_BOOL] = number,
        [TM_FLOAT] = " real imag is_integer hex fromhex as_integer_ratio conjugate ",
        [TM_RANGE] = " start stop step ",
        [TM_VIEW] = " mapping isdisjoint ",
        [TM_ITER] = " close send throw ",
        [TM_MACRO] = " defaults explicit_caller ",
        [TM_CYCLER] = " items pos ",
        [TM_JOINER] = " sep used "
    };
    return listed(v, name, rest) &&
           !tm_fail(r, HN_EUNSUP, "'%s' of a %s is not supported", name, tm_kind_name(v));
}

/* The sandbox of chat templates hides what changes a value; without it nothing is lost. */
static bool hidden(const tm_val *v, const char *name) {
    static const char *const changers[TM_METHOD + 1] = {
        [TM_DICT] = " clear pop popitem setdefault update ",
        [TM_LIST] = " append clear extend insert pop remove reverse sort "
    };
    return listed(v, name, changers);
}

static bool macro_attr(tm_run *r, const tm_macro *m, const char *name, tm_val *out) {
    static const char *const flags[] = { "catch_varargs", "catch_kwargs", "caller" };
    const tm_node *n = m->node;
    for (int i = 0; i < 3; i++)
        if (!strcmp(name, flags[i])) *out = tm_bool(n->op >> i & 1);
    if (!strcmp(name, "name")) {
        if (n->kind == N_CALLBLOCK) *out = tm_none();
        else if (!tm_str_val(r, n->name, strlen(n->name), tm_nowhere, out)) return false;
    }
    if (strcmp(name, "arguments")) return true;
    int64_t count = 0;
    for (const tm_node *p = n->a; p; p = p->next) count++;
    if (!tm_list_new(r, TM_TUPLE, count, out)) return false;
    for (const tm_node *p = n->a; p; p = p->next)
        if (!tm_str_val(r, p->name, strlen(p->name), tm_nowhere, &out->u.l->v[--count])) return false;
    for (int64_t i = 0, k = out->u.l->n - 1; i < k; i++, k--) {
        tm_val v = out->u.l->v[i];
        out->u.l->v[i] = out->u.l->v[k];
        out->u.l->v[k] = v;
    }
    return true;
}

bool tm_attr(tm_run *r, const tm_val *v, const char *name, tm_val *out) {
    if (v->kind == TM_UNDEF) return tm_undefined(r, v);
    if (v->kind == TM_LOOP) return tm_loop_attr(r, v->u.loop, name, out);
    if (method_of(r, v, name, out)) return out->kind == TM_METHOD;
    if (builtin_only(r, v, name)) return false;
    *out = tm_undef(name);
    if (hidden(v, name)) return true;
    if (v->kind == TM_MACRO) return macro_attr(r, v->u.macro, name, out);
    bool group = v->kind == TM_TUPLE && v->u.l->label;
    if (group && !strcmp(name, "grouper")) *out = v->u.l->v[0];
    if (group && !strcmp(name, "list")) *out = v->u.l->v[1];
    if (v->kind == TM_CYCLER && !strcmp(name, "current")) *out = v->u.l->v[v->u.l->at];
    key_of(v, name, out);
    return true;
}

/* i counted from the end when negative; -1: out of range. */
static int64_t index_in(int64_t i, int64_t n) {
    if (i < 0) i += n;
    return i >= 0 && i < n ? i : -1;
}

bool tm_item(tm_run *r, const tm_val *v, const tm_val *key, tm_val *out) {
    if (v->kind == TM_UNDEF) return tm_undefined(r, v);
    const char *name = "item";
    if (key->kind == TM_STR && !(name = tm_flat(r, key->u.s))) return false;
    if (key->kind == TM_STR && key_of(v, name, out)) return true;
    if (v->kind == TM_DICT) {
        tm_val *found = tm_dict_find(r, v->u.d, key);
        if (r->e->code) return false;
        if (found) {
            *out = *found;
            return true;
        }
    }
    int64_t at, n = 0;
    bool number = key->kind == TM_INT || key->kind == TM_BOOL;
    int64_t i = key->kind == TM_BOOL ? key->u.b : key->u.i;
    if (number && (v->kind == TM_STR || (tm_is_seq(v) && v->kind != TM_VIEW && v->kind != TM_ITER))) {
        if (!tm_length(r, v, &n)) return false;
        if ((at = index_in(i, n)) >= 0 && v->kind != TM_STR) {
            *out = v->u.l->v[at];
            return true;
        }
        if (at >= 0) {
            if (!tm_flat(r, v->u.s) || !tm_charge(r, v->u.s->n / 32)) return false;
            tm_str *c = tm_str_sub(r, v->u.s, tm_char_at(v->u.s, at), tm_char_at(v->u.s, at + 1));
            *out = tm_of_str(c);
            return c;
        }
    }
    if (key->kind == TM_STR && v->kind != TM_NS) return tm_attr(r, v, name, out);
    if (number) {
        char *what = tm_get(r, 64);
        if (!what) return false;
        snprintf(what, 64, "%s[%lld]", tm_kind_name(v), (long long)i);
        name = what;
    }
    *out = tm_undef(name);
    return true;
}
