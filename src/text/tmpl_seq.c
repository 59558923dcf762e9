/* tmpl_seq.c - filters over sequences: select, map, sort, join and their kin. */
#include "text/tmpl.h"

#include <ctype.h>
#include <string.h>

static bool given(const tm_val *v) { return v->kind != TM_ABSENT && v->kind != TM_NONE; }

/* ---- attributes by path: "function.name", 0 ---- */
static bool lookup(tm_run *r, tm_val v, const tm_val *path, const tm_val *dflt, tm_val *out) {
    bool use = dflt && given(dflt); /* in place of what is undefined, at every step */
    if (path->kind != TM_STR) {
        if (!tm_item(r, &v, path, out)) return false;
        if (use && out->kind == TM_UNDEF) *out = *dflt;
        return true;
    }
    const char *p = tm_flat(r, path->u.s);
    if (!p) return false;
    for (size_t at = 0, end; at <= path->u.s->n; at = end + 1) {
        const char *dot = memchr(p + at, '.', path->u.s->n - at);
        end = dot ? (size_t)(dot - p) : path->u.s->n;
        bool digits = end > at && end - at < 10;
        int64_t i = 0;
        for (size_t k = at; k < end; k++) {
            digits = digits && isdigit((unsigned char)p[k]);
            i = digits ? i * 10 + (p[k] - '0') : 0;
        }
        tm_val key = tm_int(i);
        if (!digits && !tm_str_val(r, p + at, end - at, tm_nowhere, &key)) return false;
        if (!digits) { /* names of undefined values live as long as the rendering */
            char *name = tm_get(r, end - at + 1);
            if (!name) return false;
            memcpy(name, p + at, end - at);
            key.u.s->p = name;
        }
        if (!tm_item(r, &v, &key, out)) return false;
        if (use && out->kind == TM_UNDEF) *out = *dflt;
        v = *out;
    }
    return true;
}

static bool lowered(tm_run *r, bool case_sensitive, tm_val *v) {
    return case_sensitive || v->kind != TM_STR || tm_map_case(r, v->u.s, TM_LOWER, v);
}

/* What an item is compared by: its attribute(s), strings in lower case unless asked otherwise. */
static bool sort_key(tm_run *r, const tm_val *item, const tm_val *attribute, bool case_sensitive,
                     tm_val *key) {
    *key = *item;
    if (!given(attribute)) return lowered(r, case_sensitive, key);
    tm_call c = { .fn = tm_method_find(TM_STR, "split"), .self = *attribute };
    tm_val parts;
    const char *p = attribute->kind == TM_STR ? tm_flat(r, attribute->u.s) : "";
    if (!p) return false;
    if (!strchr(p, ',')) return lookup(r, *item, attribute, NULL, key) && lowered(r, case_sensitive, key);
    if (!tm_str_val(r, ",", 1, tm_nowhere, &c.a[0]) || !c.fn->impl(r, &c, &parts) ||
        !tm_list_new(r, TM_LIST, parts.u.l->n, key))
        return false;
    for (int64_t i = 0; i < parts.u.l->n; i++)
        if (!lookup(r, *item, &parts.u.l->v[i], NULL, &key->u.l->v[i]) ||
            !lowered(r, case_sensitive, &key->u.l->v[i]))
            return false;
    return true;
}

/* ---- sorting: a stable merge sort that asks only `<`, as Python's does ---- */
typedef struct pair {
    tm_val key, item;
} pair;

typedef struct order {
    const tm_val *attribute;
    bool case_sensitive, reverse, as_list;
} order;

/* The filter sort compares lists of one key, where equal ones are never asked which is less. */
static bool less(tm_run *r, const pair *a, const pair *b, bool as_list, bool *yes) {
    bool eq = false;
    int which = 0;
    if (as_list && !tm_equal(r, &a->key, &b->key, &eq)) return false;
    if (!eq && !tm_order(r, &a->key, &b->key, "<", &which)) return false;
    *yes = !eq && which == -1;
    return true;
}

static bool merge_sort(tm_run *r, pair *v, pair *tmp, int64_t n, const order *by) {
    if (n < 2) return true;
    int64_t half = n / 2, i = 0, k = half, at = 0;
    if (!merge_sort(r, v, tmp, half, by) || !merge_sort(r, v + half, tmp, n - half, by)) return false;
    while (i < half && k < n) {
        bool later;
        if (!less(r, by->reverse ? &v[i] : &v[k], by->reverse ? &v[k] : &v[i], by->as_list, &later))
            return false;
        tmp[at++] = later ? v[k++] : v[i++];
    }
    while (i < half) tmp[at++] = v[i++];
    memcpy(v, tmp, (size_t)at * sizeof *v);
    return true;
}

static bool sorted(tm_run *r, const tm_val *box, const order *by, tm_val *out) {
    tm_val *items;
    int64_t n;
    if (!tm_items(r, box, &items, &n) || !tm_list_new(r, TM_LIST, n, out)) return false;
    pair *v = tm_get(r, (size_t)(n ? 2 * n : 1) * sizeof *v);
    if (!v || !tm_charge(r, (size_t)n * 4)) return false;
    for (int64_t i = 0; i < n; i++) {
        v[i].item = items[i];
        if (!sort_key(r, &items[i], by->attribute, by->case_sensitive, &v[i].key)) return false;
    }
    if (!merge_sort(r, v, v + n, n, by)) return false;
    for (int64_t i = 0; i < n; i++) out->u.l->v[i] = v[i].item;
    return true;
}

static bool f_sort(tm_run *r, const tm_call *c, tm_val *out) {
    order by = { &c->a[2], tm_truth(&c->a[1]), tm_truth(&c->a[0]), true };
    return sorted(r, &c->self, &by, out);
}

bool tm_sorted_pairs(tm_run *r, const tm_dict *d, tm_val *out) {
    tm_val pairs, first = tm_int(0);
    order by = { &first, true, false, false };
    return tm_pairs(r, d, &pairs) && sorted(r, &pairs, &by, out);
}

static bool f_dictsort(tm_run *r, const tm_call *c, tm_val *out) {
    tm_val pairs, column = tm_int(0);
    order by = { &column, tm_truth(&c->a[0]), tm_truth(&c->a[2]), false };
    if (c->self.kind != TM_DICT) return tm_fail(r, HN_EPARSE, "dictsort of a %s", tm_kind_name(&c->self));
    if (c->a[1].kind == TM_STR) {
        const char *p = tm_flat(r, c->a[1].u.s);
        if (!p) return false;
        if (c->a[1].u.s->n == 5 && !memcmp(p, "value", 5)) column = tm_int(1);
        else if (c->a[1].u.s->n != 3 || memcmp(p, "key", 3))
            return tm_fail(r, HN_EPARSE, "dictsort: by must be 'key' or 'value'");
    }
    return tm_pairs(r, c->self.u.d, &pairs) && sorted(r, &pairs, &by, out);
}

static bool f_extreme(tm_run *r, const tm_call *c, tm_val *out) { /* fn->arg: 1 max */
    tm_val *items, best, key;
    int64_t n;
    int which;
    if (!tm_items(r, &c->self, &items, &n)) return false;
    *out = tm_undef("No aggregated item, sequence was empty.");
    for (int64_t i = 0; i < n; i++) {
        if (!sort_key(r, &items[i], &c->a[1], tm_truth(&c->a[0]), &key)) return false;
        if (i && !tm_order(r, &key, &best, c->fn->arg ? ">" : "<", &which)) return false;
        if (i && which != (c->fn->arg ? 1 : -1)) continue;
        best = key;
        *out = items[i];
    }
    return true;
}

/* A generator that goes wrong when somebody asks for its first item, for the failure on record. */
static bool fails_later(tm_run *r, tm_val *out) {
    return tm_list_new(r, TM_ITER, 0, out) && tm_iter_ends(r, out->u.l, 0);
}

static bool f_unique(tm_run *r, const tm_call *c, tm_val *out) {
    tm_val *items, seen, nothing = tm_none();
    int64_t n, kept = 0;
    if (!tm_items(r, &c->self, &items, &n)) return fails_later(r, out);
    if (!tm_list_new(r, TM_ITER, n, out) || !tm_dict_new(r, 0, &seen)) return false;
    for (int64_t i = 0; i < n; i++) {
        tm_val key;
        int64_t before = seen.u.d->n;
        if (!sort_key(r, &items[i], &c->a[1], tm_truth(&c->a[0]), &key) ||
            !tm_dict_put(r, seen.u.d, &key, &nothing))
            return tm_iter_ends(r, out->u.l, kept);
        if (seen.u.d->n > before) out->u.l->v[kept++] = items[i];
    }
    out->u.l->n = kept;
    return true;
}

/* ---- select, map ---- */
static bool bad_args(tm_run *r, const tm_call *c) {
    return tm_fail(r, HN_EPARSE, "filter '%s': missing or unexpected argument", c->fn->name);
}

/* The filter or test named by argument i, and what follows it. */
static const tm_fn *named(tm_run *r, const tm_call *c, int i, bool test, tm_args *rest) {
    const tm_val *v = &c->raw->v[i];
    const char *p = v->kind == TM_STR ? tm_flat(r, v->u.s) : NULL;
    char name[40] = { 0 };
    if (p && v->u.s->n < sizeof name) memcpy(name, p, v->u.s->n);
    const tm_fn *fn = test ? tm_test_find(name) : tm_filter_find(name);
    *rest = (tm_args){ .v = c->raw->v + i + 1,
                       .n = c->raw->n - i - 1,
                       .kw = c->raw->kw,
                       .kwv = c->raw->kwv,
                       .n_kw = c->raw->n_kw };
    if (!fn)
        tm_fail(r, HN_EUNSUP, "the %s '%s' (in filter '%s') is not supported", test ? "test" : "filter", name,
                c->fn->name);
    return fn;
}

enum { REJECT = 1, BY_ATTR = 2 };

static bool f_select(tm_run *r, const tm_call *c, tm_val *out) {
    const tm_args *args = c->raw;
    int by_attr = c->fn->arg & BY_ATTR ? 1 : 0;
    const tm_fn *test = NULL;
    tm_args rest;
    tm_val *items;
    int64_t n, kept = 0;
    if (!tm_truth(&c->self)) return tm_list_new(r, TM_ITER, 0, out); /* none, too, is simply empty here */
    if (args->n < by_attr) return bad_args(r, c);
    if (args->n > by_attr && !(test = named(r, c, by_attr, true, &rest))) return false;
    if (!tm_items(r, &c->self, &items, &n)) return fails_later(r, out);
    if (!tm_list_new(r, TM_ITER, n, out)) return false;
    for (int64_t i = 0; i < n; i++) {
        tm_val v = items[i], yes;
        if (by_attr && !lookup(r, items[i], &args->v[0], NULL, &v)) return tm_iter_ends(r, out->u.l, kept);
        if (!test) yes = v;
        else if (!tm_fn_call(r, test, "test", v, &rest, &yes)) return tm_iter_ends(r, out->u.l, kept);
        if (tm_truth(&yes) == !(c->fn->arg & REJECT)) out->u.l->v[kept++] = items[i];
    }
    out->u.l->n = kept;
    return true;
}

static bool f_map(tm_run *r, const tm_call *c, tm_val *out) {
    const tm_args *args = c->raw;
    const tm_val *attribute = NULL, *dflt = NULL;
    const tm_fn *fn = NULL;
    tm_args rest;
    tm_val *items;
    int64_t n;
    if (!tm_truth(&c->self)) return tm_list_new(r, TM_ITER, 0, out);
    for (int k = 0; !args->n && k < args->n_kw; k++) {
        if (!strcmp(args->kw[k], "attribute")) attribute = &args->kwv[k];
        else if (!strcmp(args->kw[k], "default")) dflt = &args->kwv[k];
        else return bad_args(r, c);
    }
    if (!args->n && !attribute) return bad_args(r, c);
    if (args->n && !(fn = named(r, c, 0, false, &rest))) return false;
    if (!tm_items(r, &c->self, &items, &n)) return fails_later(r, out);
    if (!tm_list_new(r, TM_ITER, n, out)) return false;
    for (int64_t i = 0; i < n; i++) {
        tm_val *to = &out->u.l->v[i];
        if (fn ? !tm_fn_call(r, fn, "filter", items[i], &rest, to)
               : !lookup(r, items[i], attribute, dflt, to))
            return tm_iter_ends(r, out->u.l, i);
    }
    return true;
}

/* ---- the rest ---- */
static bool f_join(tm_run *r, const tm_call *c, tm_val *out) {
    tm_val *items;
    int64_t n;
    tm_str *sep = NULL, *s;
    tm_sb b = { .r = r };
    if (c->a[0].kind != TM_ABSENT && !tm_print(r, &c->a[0], &sep)) return false;
    if (!tm_items(r, &c->self, &items, &n)) return false;
    for (int64_t i = 0; i < n; i++) {
        tm_val v = items[i];
        if (given(&c->a[1]) && !lookup(r, items[i], &c->a[1], NULL, &v)) return false;
        if (!tm_print(r, &v, &s) || (i && sep && !tm_sb_str(&b, sep)) || !tm_sb_str(&b, s)) return false;
    }
    return tm_sb_take(&b, out);
}

static bool f_first(tm_run *r, const tm_call *c, tm_val *out) { /* fn->arg: 1 last */
    tm_val *items;
    int64_t n;
    if (c->self.kind == TM_ITER) { /* takes one item, leaves the others */
        tm_list *l = c->self.u.l;
        if (c->fn->arg) return tm_fail(r, HN_EPARSE, "last of a generator");
        if (l->at == l->n && l->why) {
            *r->e = *l->why;
            return false;
        }
        *out = l->at < l->n ? l->v[l->at++] : tm_undef("No first item, sequence was empty.");
        return true;
    }
    if (!tm_items(r, &c->self, &items, &n)) return false;
    *out = n ? items[c->fn->arg ? n - 1 : 0] : tm_undef("No item, sequence was empty.");
    if (n && c->fn->arg &&
        c->self.kind == TM_STR) /* reversed() indexes, and an index into Markup is Markup */
        *out = tm_of_str(tm_str_mark(r, out->u.s, c->self.u.s->safe));
    return out->kind != TM_STR || out->u.s;
}

static bool copy_items(tm_run *r, const tm_val *v, tm_kind kind, bool reverse, tm_val *out) {
    tm_val *items;
    int64_t n;
    if (!tm_items(r, v, &items, &n) || !tm_list_new(r, kind, n, out)) return false;
    if (tm_is_seq(v)) out->u.l->org = v->u.l->org;
    for (int64_t i = 0; i < n; i++) out->u.l->v[i] = items[reverse ? n - 1 - i : i];
    return true;
}

static bool f_list(tm_run *r, const tm_call *c, tm_val *out) {
    return copy_items(r, &c->self, TM_LIST, false, out);
}

static bool f_reverse(tm_run *r, const tm_call *c, tm_val *out) {
    if (!copy_items(r, &c->self, TM_ITER, true, out)) return false;
    if (c->self.kind != TM_STR) return true;
    tm_sb b = { .r = r };
    const tm_list *chars = out->u.l;
    for (int64_t i = 0; i < chars->n; i++)
        if (!tm_sb_str(&b, chars->v[i].u.s)) return false;
    if (!tm_sb_take(&b, out)) return false;
    out->u.s->safe = c->self.u.s->safe;
    return true;
}

static bool f_items(tm_run *r, const tm_call *c, tm_val *out) {
    if (c->self.kind == TM_UNDEF) return tm_list_new(r, TM_ITER, 0, out);
    if (c->self.kind != TM_DICT)
        return !tm_fail(r, HN_EPARSE, "items of a %s", tm_kind_name(&c->self)) && fails_later(r, out);
    if (!tm_pairs(r, c->self.u.d, out)) return false;
    out->kind = TM_ITER;
    return true;
}

static bool f_sum(tm_run *r, const tm_call *c, tm_val *out) {
    tm_val *items;
    int64_t n;
    *out = c->a[1].kind != TM_ABSENT ? c->a[1] : tm_int(0);
    if (!tm_items(r, &c->self, &items, &n)) return false;
    for (int64_t i = 0; i < n; i++) {
        tm_val v = items[i], total = *out;
        if (given(&c->a[0]) && !lookup(r, items[i], &c->a[0], NULL, &v)) return false;
        if (!tm_binary(r, T_ADD, &total, &v, out)) return false;
    }
    return true;
}

static bool f_batch(tm_run *r, const tm_call *c, tm_val *out) {
    tm_val *items;
    int64_t n;
    if (c->a[0].kind != TM_INT) return bad_args(r, c);
    if (c->a[0].u.i < 1) return tm_fail(r, HN_EUNSUP, "batch of less than one item is not supported");
    int64_t size = c->a[0].u.i;
    if (!tm_items(r, &c->self, &items, &n)) return fails_later(r, out);
    if (!tm_list_new(r, TM_ITER, (n + size - 1) / size, out)) return false;
    for (int64_t i = 0; i < out->u.l->n; i++) {
        int64_t left = n - i * size, have = left < size ? left : size, want = given(&c->a[1]) ? size : have;
        if (!tm_list_new(r, TM_LIST, want, &out->u.l->v[i])) return false;
        for (int64_t k = 0; k < want; k++)
            out->u.l->v[i].u.l->v[k] = k < have ? items[i * size + k] : c->a[1];
    }
    return true;
}

/* In `slices` columns, the first ones longer by one; fill_with goes to the others. */
static bool f_slice(tm_run *r, const tm_call *c, tm_val *out) {
    tm_val *items;
    int64_t n;
    if (c->a[0].kind != TM_INT) return bad_args(r, c);
    int64_t columns = c->a[0].u.i > 0 ? c->a[0].u.i : 0, at = 0;
    if (!tm_items(r, &c->self, &items, &n)) return fails_later(r, out);
    if (!tm_charge(r, (size_t)columns) || !tm_list_new(r, TM_ITER, columns, out)) return false;
    if (!c->a[0].u.i) return !tm_fail(r, HN_EPARSE, "division by zero") && tm_iter_ends(r, out->u.l, 0);
    for (int64_t i = 0; i < columns; i++) {
        bool extra = i < n % columns, full = !extra && given(&c->a[1]);
        int64_t have = n / columns + extra;
        if (!tm_list_new(r, TM_LIST, have + full, &out->u.l->v[i])) return false;
        if (have) memcpy(out->u.l->v[i].u.l->v, items + at, (size_t)have * sizeof *items);
        if (full) out->u.l->v[i].u.l->v[have] = c->a[1];
        at += have;
    }
    return true;
}

/* [(value, [items])], by the value of an attribute; a group has .grouper and .list. */
static bool f_groupby(tm_run *r, const tm_call *c, tm_val *out) {
    tm_val *items;
    int64_t n, groups = 0;
    bool exact = tm_truth(&c->a[2]), same = false;
    if (!tm_items(r, &c->self, &items, &n) || !tm_list_new(r, TM_LIST, n, out)) return false;
    pair *v = tm_get(r, (size_t)(n ? 2 * n : 1) * sizeof *v);
    order by = { .case_sensitive = true };
    if (!v || !tm_charge(r, (size_t)n * 4)) return false;
    for (int64_t i = 0; i < n; i++) {
        v[i].item = items[i];
        if (!lookup(r, items[i], &c->a[0], &c->a[1], &v[i].key) || !lowered(r, exact, &v[i].key))
            return false;
    }
    if (!merge_sort(r, v, v + n, n, &by)) return false;
    for (int64_t i = 0, k; i < n; i = k) {
        for (k = i + 1; k < n; k++)
            if (!tm_equal(r, &v[i].key, &v[k].key, &same)) return false;
            else if (!same) break;
        tm_val *group = &out->u.l->v[groups++], key;
        if (!tm_list_new(r, TM_TUPLE, 2, group) || !tm_list_new(r, TM_LIST, k - i, &group->u.l->v[1]) ||
            !lookup(r, v[i].item, &c->a[0], &c->a[1], &key))
            return false;
        group->u.l->label = "group";
        group->u.l->v[0] = key;
        for (int64_t j = i; j < k; j++) group->u.l->v[1].u.l->v[j - i] = v[j].item;
    }
    out->u.l->n = groups;
    return true;
}

const tm_fn *tm_seq_filter_find(const char *name) {
    static const tm_fn table[] = { { "select", "*", 0, f_select, 0 },
                                   { "reject", "*", 0, f_select, REJECT },
                                   { "selectattr", "*", 0, f_select, BY_ATTR },
                                   { "rejectattr", "*", 0, f_select, REJECT | BY_ATTR },
                                   { "map", "*", 0, f_map, 0 },
                                   { "join", "d attribute", 0, f_join, 0 },
                                   { "first", "", 0, f_first, 0 },
                                   { "last", "", 0, f_first, 1 },
                                   { "list", "", 0, f_list, 0 },
                                   { "reverse", "", 0, f_reverse, 0 },
                                   { "items", "", 0, f_items, 0 },
                                   { "sort", "reverse case_sensitive attribute", 0, f_sort, 0 },
                                   { "dictsort", "case_sensitive by reverse", 0, f_dictsort, 0 },
                                   { "min", "case_sensitive attribute", 0, f_extreme, 0 },
                                   { "max", "case_sensitive attribute", 0, f_extreme, 1 },
                                   { "unique", "case_sensitive attribute", 0, f_unique, 0 },
                                   { "sum", "attribute start", 0, f_sum, 0 },
                                   { "slice", "slices fill_with", 1, f_slice, 0 },
                                   { "groupby", "attribute default case_sensitive", 1, f_groupby, 0 },
                                   { "batch", "linecount fill_with", 1, f_batch, 0 } };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].name, name)) return &table[i];
    return NULL;
}
