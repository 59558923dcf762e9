/* tmpl_value.c - values of the template language and Python's rules about them.
 *
 * Truth, equality, order, membership and iteration follow Python, where True == 1 == 1.0, a list
 * is never equal to a tuple, and undefined is neither none nor an error until it is used. */
#include "text/tmpl.h"

#include <math.h>
#include <string.h>

tm_val tm_none(void) { return (tm_val){ .kind = TM_NONE }; }
tm_val tm_bool(bool b) { return (tm_val){ TM_BOOL, { .b = b } }; }
tm_val tm_int(int64_t i) { return (tm_val){ TM_INT, { .i = i } }; }
tm_val tm_float(double f) { return (tm_val){ TM_FLOAT, { .f = f } }; }
tm_val tm_undef(const char *name) { return (tm_val){ TM_UNDEF, { .name = name } }; }
tm_val tm_of_str(tm_str *s) { return (tm_val){ TM_STR, { .s = s } }; }

const char *tm_kind_name(const tm_val *v) {
    static const char *const names[] = {
        [TM_ABSENT] = "nothing", [TM_UNDEF] = "Undefined", [TM_NONE] = "NoneType",    [TM_BOOL] = "bool",
        [TM_INT] = "int",        [TM_FLOAT] = "float",     [TM_STR] = "str",          [TM_LIST] = "list",
        [TM_TUPLE] = "tuple",    [TM_RANGE] = "range",     [TM_VIEW] = "dict view",   [TM_ITER] = "generator",
        [TM_DICT] = "dict",      [TM_NS] = "Namespace",    [TM_LOOP] = "LoopContext", [TM_MACRO] = "Macro",
        [TM_CYCLER] = "Cycler",  [TM_JOINER] = "Joiner",   [TM_FN] = "function",      [TM_METHOD] = "method"
    };
    return names[v->kind];
}

bool tm_is_seq(const tm_val *v) { return v->kind >= TM_LIST && v->kind <= TM_ITER; }

bool tm_truth(const tm_val *v) {
    switch (v->kind) {
    case TM_ABSENT:
    case TM_UNDEF:
    case TM_NONE: return false;
    case TM_BOOL: return v->u.b;
    case TM_INT: return v->u.i != 0;
    case TM_FLOAT: return v->u.f != 0;
    case TM_STR: return v->u.s->n > 0;
    case TM_LIST:
    case TM_TUPLE:
    case TM_RANGE:
    case TM_VIEW: return v->u.l->n > 0;
    case TM_DICT: return v->u.d->n > 0;
    default: return true;
    }
}

/* ---- equality and order ---- */
static bool number(const tm_val *v, long double *x) {
    if (v->kind == TM_BOOL) *x = v->u.b;
    else if (v->kind == TM_INT) *x = (long double)v->u.i; /* exact: 64 bits of mantissa or more */
    else if (v->kind == TM_FLOAT) *x = v->u.f;
    else return false;
    return true;
}

static bool equal_lists(tm_run *r, const tm_list *a, const tm_list *b, bool *eq) {
    *eq = a->n == b->n;
    for (int64_t i = 0; *eq && i < a->n; i++)
        if (!tm_equal(r, &a->v[i], &b->v[i], eq)) return false;
    return true;
}

static bool equal_dicts(tm_run *r, const tm_dict *a, const tm_dict *b, bool *eq) {
    *eq = a->n == b->n;
    for (int64_t i = 0; *eq && i < a->n; i++) {
        tm_val *other = tm_dict_find(r, b, &a->k[i]);
        *eq = other;
        if (r->e->code || (other && !tm_equal(r, &a->v[i], other, eq))) return false;
    }
    return true;
}

static int compare_strs(tm_run *r, tm_str *a, tm_str *b) {
    const char *p = tm_flat(r, a), *q = p ? tm_flat(r, b) : NULL;
    size_t n = a->n < b->n ? a->n : b->n;
    if (!q || !tm_charge(r, n / 32)) return 2;
    int c = memcmp(p, q, n); /* the order of UTF-8 is the order of code points */
    return c ? (c > 0) - (c < 0) : (a->n > b->n) - (a->n < b->n);
}

bool tm_equal(tm_run *r, const tm_val *a, const tm_val *b, bool *eq) {
    long double x, y;
    *eq = false;
    if (number(a, &x)) {
        *eq = number(b, &y) && x == y;
        return true;
    }
    if (a->kind != b->kind) return true;
    if (!tm_enter(r)) return false;
    bool ok = true;
    switch (a->kind) {
    case TM_UNDEF:
    case TM_NONE: *eq = true; break;
    case TM_STR:
        if (a->u.s->n == b->u.s->n) {
            int c = compare_strs(r, a->u.s, b->u.s);
            *eq = c == 0;
            ok = c != 2;
        }
        break;
    case TM_LIST:
    case TM_TUPLE:
    case TM_RANGE: ok = equal_lists(r, a->u.l, b->u.l, eq); break;
    case TM_DICT: ok = equal_dicts(r, a->u.d, b->u.d, eq); break;
    case TM_VIEW: ok = tm_fail(r, HN_EUNSUP, "comparing views of dicts is not supported"); break;
    case TM_METHOD:
    case TM_FN: ok = tm_fail(r, HN_EUNSUP, "comparing functions is not supported"); break;
    default: *eq = a->u.l == b->u.l; /* identity */
    }
    tm_leave(r);
    return ok;
}

/* *order: -1, 0, 1, or 2 when not comparable without being wrong (NaN). */
bool tm_order(tm_run *r, const tm_val *a, const tm_val *b, const char *op, int *order) {
    long double x, y;
    if (number(a, &x) && number(b, &y)) {
        *order = x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
        return true;
    }
    if (a->kind == TM_STR && b->kind == TM_STR) {
        *order = compare_strs(r, a->u.s, b->u.s);
        return *order != 2;
    }
    if (a->kind == b->kind && (a->kind == TM_LIST || a->kind == TM_TUPLE)) {
        const tm_list *l = a->u.l, *m = b->u.l;
        bool eq = true, ok = tm_enter(r);
        int64_t i = 0;
        while (ok && i < l->n && i < m->n && (ok = tm_equal(r, &l->v[i], &m->v[i], &eq)) && eq) i++;
        if (ok && i < l->n && i < m->n) ok = tm_order(r, &l->v[i], &m->v[i], op, order);
        else *order = (l->n > m->n) - (l->n < m->n);
        tm_leave(r);
        return ok;
    }
    if (a->kind == TM_UNDEF || b->kind == TM_UNDEF)
        return tm_fail(r, HN_EPARSE, "'%s' is undefined", a->kind == TM_UNDEF ? a->u.name : b->u.name);
    return tm_fail(r, HN_EPARSE, "'%s' is not defined between %s and %s", op, tm_kind_name(a),
                   tm_kind_name(b));
}

bool tm_hashable(tm_run *r, const tm_val *v) {
    if (v->kind == TM_TUPLE) {
        bool ok = tm_enter(r);
        if (!ok) return false;
        for (int64_t i = 0; ok && i < v->u.l->n; i++) ok = tm_hashable(r, &v->u.l->v[i]);
        tm_leave(r);
        return ok;
    }
    return v->kind != TM_LIST && v->kind != TM_DICT && v->kind != TM_VIEW;
}

bool tm_contains(tm_run *r, const tm_val *box, const tm_val *item, bool *in) {
    *in = false;
    if (box->kind == TM_STR) {
        if (item->kind != TM_STR)
            return tm_fail(r, HN_EPARSE, "'in <string>' needs a string on the left, not %s",
                           tm_kind_name(item));
        const char *p = tm_flat(r, box->u.s), *q = p ? tm_flat(r, item->u.s) : NULL;
        if (!q || !tm_charge(r, box->u.s->n / 16)) return false;
        *in = tm_find(p, box->u.s->n, q, item->u.s->n, 0) >= 0;
        return true;
    }
    if (box->kind == TM_DICT) {
        if (!tm_hashable(r, item)) return tm_fail(r, HN_EPARSE, "a %s cannot be a key", tm_kind_name(item));
        *in = tm_dict_find(r, box->u.d, item);
        return !r->e->code;
    }
    if (box->kind == TM_VIEW && strcmp(box->u.l->label, "dict_values")) { /* these look for a key */
        bool pair = item->kind == TM_TUPLE && item->u.l->n == 2, keys = !strcmp(box->u.l->label, "dict_keys");
        const tm_val *key = keys ? item : pair ? item->u.l->v : NULL;
        if (key && !tm_hashable(r, key))
            return tm_fail(r, HN_EPARSE, "a %s cannot be a key", tm_kind_name(key));
    }
    tm_val *items;
    int64_t n;
    if (!tm_items(r, box, &items, &n) || !tm_charge(r, (size_t)n)) return false;
    for (int64_t i = 0; i < n && !*in; i++)
        if (!tm_equal(r, &items[i], item, in)) return false;
    return true;
}

/* ---- iteration ---- */
bool tm_iter_ends(tm_run *r, tm_list *l, int64_t n) {
    if (r->e->code != HN_EPARSE || !(l->why = tm_get(r, sizeof *l->why))) return false;
    *l->why = *r->e;
    *r->e = (hn_err){ 0 };
    l->n = n;
    return true;
}

static bool str_items(tm_run *r, tm_str *s, tm_val **items, int64_t *n) {
    const char *p = tm_flat(r, s);
    tm_val list;
    if (!p || !tm_charge(r, s->n) || !tm_list_new(r, TM_LIST, s->chars, &list)) return false;
    *items = list.u.l->v;
    *n = s->chars;
    size_t at = 0;
    for (int64_t i = 0; i < *n; i++) {
        int32_t cp;
        size_t end = at + (size_t)tm_utf8(p + at, p + s->n, &cp);
        tm_str *c = tm_str_sub(r, s, at, end);
        if (c) c = tm_str_mark(r, c, false); /* a character of Markup is a plain string */
        if (!c) return false;
        (*items)[i] = tm_of_str(c);
        at = end;
    }
    return true;
}

bool tm_items(tm_run *r, const tm_val *v, tm_val **items, int64_t *n) {
    *items = NULL;
    *n = 0;
    if (v->kind == TM_UNDEF) return true;
    if (v->kind == TM_STR) return str_items(r, v->u.s, items, n);
    if (v->kind == TM_DICT) {
        *items = v->u.d->k;
        *n = v->u.d->n;
        return true;
    }
    if (v->kind == TM_LOOP) return tm_fail(r, HN_EUNSUP, "iterating over `loop` itself is not supported");
    if (!tm_is_seq(v)) return tm_fail(r, HN_EPARSE, "a %s cannot be iterated over", tm_kind_name(v));
    tm_list *l = v->u.l;
    *items = l->v + l->at;
    *n = l->n - l->at;
    if (l->why) {
        *r->e = *l->why;
        return false;
    }
    if (v->kind == TM_ITER) l->at = l->n; /* a generator gives its items once */
    return true;
}

bool tm_length(tm_run *r, const tm_val *v, int64_t *n) {
    if (v->kind == TM_UNDEF) *n = 0;
    else if (v->kind == TM_STR) *n = v->u.s->chars;
    else if (v->kind == TM_DICT) *n = v->u.d->n;
    else if (v->kind == TM_LOOP) {
        if (!tm_loop_length(v->u.loop)) return false;
        *n = v->u.loop->length;
    } else if (tm_is_seq(v) && v->kind != TM_ITER) *n = v->u.l->n;
    else return tm_fail(r, HN_EPARSE, "a %s has no length", tm_kind_name(v));
    return true;
}

/* ---- lists and dicts ---- */
bool tm_list_new(tm_run *r, tm_kind kind, int64_t n, tm_val *out) {
    tm_list *l = tm_get(r, sizeof *l);
    if (!l || !(l->v = tm_get(r, (size_t)(n ? n : 1) * sizeof *l->v))) return false;
    l->n = n;
    l->org = tm_nowhere;
    *out = (tm_val){ kind, { .l = l } };
    return true;
}

bool tm_dict_new(tm_run *r, int64_t cap, tm_val *out) {
    tm_dict *d = tm_get(r, sizeof *d);
    if (!d) return false;
    if (cap &&
        (!(d->k = tm_get(r, (size_t)cap * sizeof *d->k)) || !(d->v = tm_get(r, (size_t)cap * sizeof *d->v))))
        return false;
    d->cap = cap;
    d->org = tm_nowhere;
    *out = (tm_val){ TM_DICT, { .d = d } };
    return true;
}

tm_val *tm_dict_find(tm_run *r, const tm_dict *d, const tm_val *key) {
    if (!tm_charge(r, (size_t)d->n / 8)) return NULL;
    for (int64_t i = 0; i < d->n; i++) {
        bool eq;
        if (!tm_equal(r, &d->k[i], key, &eq)) return NULL;
        if (eq) return &d->v[i];
    }
    return NULL;
}

tm_val *tm_dict_get(const tm_dict *d, const char *key) {
    size_t n = strlen(key);
    for (int64_t i = 0; i < d->n; i++) {
        const tm_val *k = &d->k[i];
        if (k->kind == TM_STR && k->u.s->n == n && k->u.s->p && !memcmp(k->u.s->p, key, n)) return &d->v[i];
    }
    return NULL;
}

bool tm_dict_put(tm_run *r, tm_dict *d, const tm_val *key, const tm_val *v) {
    if (!tm_hashable(r, key)) return tm_fail(r, HN_EPARSE, "a %s cannot be a key", tm_kind_name(key));
    if (key->kind == TM_STR && !tm_flat(r, key->u.s)) return false;
    tm_val *old = tm_dict_find(r, d, key);
    if (r->e->code) return false;
    if (old) {
        *old = *v;
        return true;
    }
    if (d->n == d->cap) {
        int64_t cap = d->cap ? 2 * d->cap : 8;
        tm_val *k = tm_get(r, (size_t)cap * sizeof *k), *w = k ? tm_get(r, (size_t)cap * sizeof *w) : NULL;
        if (!w) return false;
        if (d->n) {
            memcpy(k, d->k, (size_t)d->n * sizeof *k);
            memcpy(w, d->v, (size_t)d->n * sizeof *w);
        }
        d->k = k;
        d->v = w;
        d->cap = cap;
    }
    d->k[d->n] = *key;
    d->v[d->n++] = *v;
    return true;
}

/* ---- JSON in ---- */
static bool json_list(tm_run *r, json_t *j, tm_org org, tm_val *out) {
    int64_t n = (int64_t)json_array_size(j);
    if (!tm_list_new(r, TM_LIST, n, out)) return false;
    out->u.l->org = org;
    for (int64_t i = 0; i < n; i++)
        if (!tm_from_json(r, json_array_get(j, (size_t)i), org, &out->u.l->v[i])) return false;
    return true;
}

static bool json_dict(tm_run *r, json_t *j, tm_org org, tm_val *out) {
    if (!tm_dict_new(r, (int64_t)json_object_size(j), out)) return false;
    tm_dict *d = out->u.d;
    d->org = org;
    for (void *it = json_object_iter(j); it; it = json_object_iter_next(j, it), d->n++) {
        const char *key = json_object_iter_key(it);
        if (!tm_str_val(r, key, json_object_iter_key_len(it), org, &d->k[d->n]) ||
            !tm_from_json(r, json_object_iter_value(it), org, &d->v[d->n]))
            return false;
    }
    return true;
}

/* The strings keep pointing into j, which outlives the rendering. */
bool tm_from_json(tm_run *r, json_t *j, tm_org org, tm_val *out) {
    bool ok = true;
    switch (json_typeof(j)) {
    case JSON_NULL: *out = tm_none(); break;
    case JSON_TRUE:
    case JSON_FALSE: *out = tm_bool(json_is_true(j)); break;
    case JSON_INTEGER: *out = tm_int(json_integer_value(j)); break;
    case JSON_REAL: *out = tm_float(json_real_value(j)); break;
    case JSON_STRING: ok = tm_str_val(r, json_string_value(j), json_string_length(j), org, out); break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        if (!tm_enter(r)) return false;
        ok = json_is_array(j) ? json_list(r, j, org, out) : json_dict(r, j, org, out);
        tm_leave(r);
    }
    return ok;
}
