/* tmpl_call.c - binds arguments to parameters; the global functions; the tests. */
#include "text/tmpl.h"

#include <string.h>
#include <time.h>
#include <utf8proc.h>

/* ---- binding ---- */
static int n_params(const char *params) {
    int n = *params != 0;
    for (; *params; params++) n += *params == ' ';
    return n;
}

static int param_index(const char *params, const char *name) {
    size_t n = strlen(name);
    int i = 0;
    for (const char *p = params; *p; i++) {
        size_t len = strcspn(p, " ");
        if (len == n && !memcmp(p, name, n)) return i;
        p += len + (p[len] == ' ');
    }
    return -1;
}

bool tm_fn_call(tm_run *r, const tm_fn *fn, const char *what, tm_val self, const tm_args *args, tm_val *out) {
    tm_call c = { .fn = fn, .self = self, .raw = args };
    if (strcmp(fn->params, "*")) {
        int max = n_params(fn->params);
        if (args->n > max)
            return tm_fail(r, HN_EPARSE, "the %s '%s' takes at most %d arguments", what, fn->name, max);
        for (int i = 0; i < args->n; i++) c.a[i] = args->v[i];
        for (int k = 0; k < args->n_kw; k++) {
            int i = param_index(fn->params, args->kw[k]);
            if (i < 0)
                return tm_fail(r, HN_EUNSUP, "the %s '%s' has no argument '%s'", what, fn->name, args->kw[k]);
            if (c.a[i].kind != TM_ABSENT)
                return tm_fail(r, HN_EPARSE, "the %s '%s' got '%s' twice", what, fn->name, args->kw[k]);
            c.a[i] = args->kwv[k];
        }
        for (int i = 0; i < fn->need; i++)
            if (c.a[i].kind == TM_ABSENT)
                return tm_fail(r, HN_EPARSE, "the %s '%s' needs %d arguments", what, fn->name, fn->need);
    }
    if (!tm_enter(r)) return false;
    bool ok = fn->impl(r, &c, out);
    tm_leave(r);
    return ok;
}

static const tm_fn *find(const tm_fn *table, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(table[i].name, name)) return &table[i];
    return NULL;
}

/* ---- global functions ---- */
static bool integer(tm_run *r, const tm_val *v, int64_t *i) {
    if (v->kind != TM_INT && v->kind != TM_BOOL)
        return tm_fail(r, HN_EPARSE, "expected an integer, not %s", tm_kind_name(v));
    *i = v->kind == TM_BOOL ? v->u.b : v->u.i;
    return true;
}

static bool fn_range(tm_run *r, const tm_call *c, tm_val *out) {
    int64_t start = 0, stop, step = 1;
    bool two = c->a[1].kind != TM_ABSENT;
    if (!integer(r, &c->a[0], two ? &start : &stop) || (two && !integer(r, &c->a[1], &stop)) ||
        (c->a[2].kind != TM_ABSENT && !integer(r, &c->a[2], &step)))
        return false;
    if (!step) return tm_fail(r, HN_EPARSE, "the step of range() cannot be 0");
    long double span = step > 0 ? (long double)stop - start : (long double)start - stop;
    long double width = step > 0 ? step : -(long double)step;
    int64_t n = span <= 0 ? 0 : span / width > 1e6L ? 1000001 : (int64_t)((span - 1) / width) + 1;
    if (n > 100000) return tm_fail(r, HN_ERANGE, "range() is longer than 100000"); /* the sandbox's limit */
    if (!tm_list_new(r, TM_RANGE, n, out)) return false;
    out->u.l->start = start;
    out->u.l->stop = stop;
    out->u.l->step = step;
    for (int64_t i = 0; i < n; i++) out->u.l->v[i] = tm_int(start + i * step);
    return tm_charge(r, (size_t)n / 8);
}

/* dict(mapping or pairs, a=1, ...) and namespace(...). */
static bool fn_dict(tm_run *r, const tm_call *c, tm_val *out) {
    const tm_args *args = c->raw;
    if (args->n > 1) return tm_fail(r, HN_EPARSE, "%s() takes at most one positional argument", c->fn->name);
    if (args->n && args->v[0].kind == TM_UNDEF) return tm_undefined(r, &args->v[0]);
    if (!tm_dict_new(r, 0, out)) return false;
    if (args->n && (args->v[0].kind == TM_DICT || args->v[0].kind == TM_NS)) {
        const tm_dict *d = args->v[0].u.d;
        for (int64_t i = 0; i < d->n; i++)
            if (!tm_dict_put(r, out->u.d, &d->k[i], &d->v[i])) return false;
        out->u.d->org = d->org;
    } else if (args->n) {
        tm_val *items, *pair;
        int64_t n, two;
        if (!tm_items(r, &args->v[0], &items, &n)) return false;
        for (int64_t i = 0; i < n; i++) {
            if (!tm_items(r, &items[i], &pair, &two)) return false;
            if (two != 2) return tm_fail(r, HN_EPARSE, "%s() needs pairs", c->fn->name);
            if (!tm_dict_put(r, out->u.d, &pair[0], &pair[1])) return false;
        }
    }
    for (int k = 0; k < args->n_kw; k++) {
        tm_val key;
        if (!tm_str_val(r, args->kw[k], strlen(args->kw[k]), tm_nowhere, &key) ||
            !tm_dict_put(r, out->u.d, &key, &args->kwv[k]))
            return false;
    }
    for (int64_t i = 0; c->fn->arg && i < out->u.d->n; i++) {
        const tm_val *k = &out->u.d->k[i];
        if (k->kind == TM_STR && k->u.s->n && *k->u.s->p == '_')
            return tm_fail(r, HN_EPARSE, "the name '%.40s' in a namespace begins with _", k->u.s->p);
    }
    if (c->fn->arg) out->kind = TM_NS;
    return true;
}

static bool fn_cycler(tm_run *r, const tm_call *c, tm_val *out) {
    if (!c->raw->n || c->raw->n_kw) return tm_fail(r, HN_EPARSE, "cycler() needs items");
    if (!tm_list_new(r, TM_CYCLER, c->raw->n, out)) return false;
    memcpy(out->u.l->v, c->raw->v, (size_t)c->raw->n * sizeof(tm_val));
    return true;
}

static bool fn_joiner(tm_run *r, const tm_call *c, tm_val *out) {
    if (!tm_list_new(r, TM_JOINER, 1, out)) return false;
    if (c->a[0].kind == TM_ABSENT) return tm_str_val(r, ", ", 2, tm_nowhere, &out->u.l->v[0]);
    out->u.l->v[0] = c->a[0];
    return true;
}

static bool fn_raise(tm_run *r, const tm_call *c, tm_val *out) {
    tm_str *s;
    (void)out;
    if (!tm_print(r, &c->a[0], &s)) return false;
    const char *p = tm_flat(r, s);
    return p ? tm_fail(r, HN_EPARSE, "the template refuses these messages: %.*s",
                       s->n < 250 ? (int)s->n : 250, p)
             : false;
}

static bool parse_date(const char *text, struct tm *day) {
    memset(day, 0, sizeof *day);
    const char *end = strptime(text, "%Y-%m-%d", day);
    if (end && *end) end = strptime(end, " %H:%M:%S", day);
    return end && !*end;
}

bool hn_tmpl_date(const char *text) {
    struct tm day;
    return parse_date(text, &day);
}

static bool fn_strftime(tm_run *r, const tm_call *c, tm_val *out) {
    if (c->a[0].kind != TM_STR) return tm_fail(r, HN_EPARSE, "strftime_now() needs a string");
    if (!r->opts.now)
        return tm_fail(
            r, HN_EUNSUP,
            "the template asks for today's date, so its text would change with the day: pin a date "
            "(--template_date 2024-07-26)");
    struct tm day;
    if (!parse_date(r->opts.now, &day))
        return tm_fail(r, HN_EPARSE, "the date '%s' is not of the form YYYY-MM-DD [HH:MM:SS]", r->opts.now);
    const char *p = tm_flat(r, c->a[0].u.s);
    char *fmt = p ? tm_get(r, c->a[0].u.s->n + 2) : NULL, buf[1024];
    if (!fmt) return false;
    memcpy(fmt, p, c->a[0].u.s->n);
    fmt[c->a[0].u.s->n] = '.'; /* so that an empty result is told from one that is too long */
    size_t n = strftime(buf, sizeof buf, fmt, &day);
    if (!n) return tm_fail(r, HN_ERANGE, "strftime_now(): the result is longer than %zu bytes", sizeof buf);
    tm_sb b = { .r = r };
    return tm_sb_add(&b, buf, n - 1, tm_nowhere) && tm_sb_take(&b, out);
}

static bool fn_unsupported(tm_run *r, const tm_call *c, tm_val *out) {
    (void)out;
    return tm_fail(r, HN_EUNSUP, "the function %s() is not supported", c->fn->name);
}

const tm_fn *tm_global_find(const char *name) {
    static const tm_fn table[] = { { "range", "start stop step", 1, fn_range, 0 },
                                   { "dict", "*", 0, fn_dict, 0 },
                                   { "namespace", "*", 0, fn_dict, 1 },
                                   { "raise_exception", "message", 1, fn_raise, 0 },
                                   { "strftime_now", "format", 1, fn_strftime, 0 },
                                   { "lipsum", "*", 0, fn_unsupported, 0 },
                                   { "cycler", "*", 0, fn_cycler, 0 },
                                   { "joiner", "sep", 0, fn_joiner, 0 } };
    return find(table, sizeof table / sizeof *table, name);
}

/* ---- tests ---- */
static bool is_kind(tm_run *r, const tm_call *c, tm_val *out) {
    (void)r;
    *out = tm_bool(c->fn->arg >> c->self.kind & 1);
    return true;
}

static bool is_escaped(tm_run *r, const tm_call *c, tm_val *out) {
    (void)r;
    *out = tm_bool(c->self.kind == TM_STR && c->self.u.s->safe);
    return true;
}

static bool is_bool_value(tm_run *r, const tm_call *c, tm_val *out) {
    (void)r;
    *out = tm_bool(c->self.kind == TM_BOOL && c->self.u.b == (c->fn->arg == 1));
    return true;
}

static bool is_case(tm_run *r, const tm_call *c, tm_val *out) { /* str(value).islower() */
    tm_str *s;
    tm_args none = { 0 };
    if (!tm_print(r, &c->self, &s)) return false;
    return tm_fn_call(r, tm_method_find(TM_STR, c->fn->arg ? "isupper" : "islower"), "method", tm_of_str(s),
                      &none, out);
}

static bool is_divisible(tm_run *r, const tm_call *c, tm_val *out) {
    tm_val by = c->a[0].kind != TM_ABSENT ? c->a[0] : tm_int(2), rest, want = tm_int(c->fn->arg);
    bool eq;
    if (!tm_binary(r, T_MOD, &c->self, &by, &rest) || !tm_equal(r, &rest, &want, &eq)) return false;
    *out = tm_bool(eq);
    return true;
}

static bool is_compared(tm_run *r, const tm_call *c, tm_val *out) {
    bool yes;
    int order, op = c->fn->arg;
    if (op == T_EQ || op == T_NE) {
        if (!tm_equal(r, &c->self, &c->a[0], &yes)) return false;
        *out = tm_bool(yes == (op == T_EQ));
        return true;
    }
    if (op == T_IN) {
        if (!tm_contains(r, &c->a[0], &c->self, &yes)) return false;
        *out = tm_bool(yes);
        return true;
    }
    if (!tm_order(r, &c->self, &c->a[0], c->fn->name, &order)) return false;
    yes = order != 2 && (op == T_GT   ? order > 0
                         : op == T_GE ? order >= 0
                         : op == T_LT ? order < 0
                                      : order <= 0);
    *out = tm_bool(yes);
    return true;
}

static bool is_same(tm_run *r, const tm_call *c, tm_val *out) {
    const tm_val *a = &c->self, *b = &c->a[0];
    if (a->kind != b->kind) {
        *out = tm_bool(false);
        return true;
    }
    if (a->kind == TM_STR || a->kind == TM_INT || a->kind == TM_FLOAT || a->kind == TM_TUPLE)
        return tm_fail(r, HN_EUNSUP, "sameas between values of type %s is not supported", tm_kind_name(a));
    bool simple = a->kind == TM_NONE || a->kind == TM_BOOL;
    *out = tm_bool(simple ? a->kind == TM_NONE || a->u.b == b->u.b : a->u.l == b->u.l);
    return true;
}

static bool is_known(tm_run *r, const tm_call *c, tm_val *out) { /* `is filter`, `is test` */
    (void)r;
    *out = tm_bool(false);
    if (!tm_hashable(r, &c->self)) return tm_fail(r, HN_EPARSE, "a %s is no name", tm_kind_name(&c->self));
    if (c->self.kind != TM_STR) return true;
    const char *p = tm_flat(r, c->self.u.s);
    char name[32] = { 0 };
    if (!p) return false;
    if (c->self.u.s->n < sizeof name) memcpy(name, p, c->self.u.s->n);
    *out = tm_bool(c->fn->arg ? tm_test_find(name) != NULL : tm_filter_find(name) != NULL);
    return true;
}

const tm_fn *tm_test_find(const char *name) {
    enum {
        BOX = 1 << TM_STR | 1 << TM_LIST | 1 << TM_TUPLE | 1 << TM_RANGE | 1 << TM_DICT | 1 << TM_UNDEF,
        ITERABLE = BOX | 1 << TM_VIEW | 1 << TM_ITER | 1 << TM_LOOP,
        CALLABLE =
            1 << TM_MACRO | 1 << TM_FN | 1 << TM_METHOD | 1 << TM_UNDEF | 1 << TM_LOOP | 1 << TM_JOINER,
    };
    static const tm_fn table[] = { { "defined", "", 0, is_kind, ~(1 << TM_UNDEF) },
                                   { "undefined", "", 0, is_kind, 1 << TM_UNDEF },
                                   { "none", "", 0, is_kind, 1 << TM_NONE },
                                   { "boolean", "", 0, is_kind, 1 << TM_BOOL },
                                   { "integer", "", 0, is_kind, 1 << TM_INT },
                                   { "float", "", 0, is_kind, 1 << TM_FLOAT },
                                   { "number", "", 0, is_kind, 1 << TM_INT | 1 << TM_FLOAT | 1 << TM_BOOL },
                                   { "string", "", 0, is_kind, 1 << TM_STR },
                                   { "mapping", "", 0, is_kind, 1 << TM_DICT },
                                   { "sequence", "", 0, is_kind, BOX },
                                   { "iterable", "", 0, is_kind, ITERABLE },
                                   { "callable", "", 0, is_kind, CALLABLE },
                                   { "true", "", 0, is_bool_value, 1 },
                                   { "false", "", 0, is_bool_value, 0 },
                                   { "escaped", "", 0, is_escaped, 0 },
                                   { "lower", "", 0, is_case, 0 },
                                   { "upper", "", 0, is_case, 1 },
                                   { "odd", "", 0, is_divisible, 1 },
                                   { "even", "", 0, is_divisible, 0 },
                                   { "divisibleby", "num", 1, is_divisible, 0 },
                                   { "eq", "other", 1, is_compared, T_EQ },
                                   { "equalto", "other", 1, is_compared, T_EQ },
                                   { "==", "other", 1, is_compared, T_EQ },
                                   { "ne", "other", 1, is_compared, T_NE },
                                   { "!=", "other", 1, is_compared, T_NE },
                                   { "gt", "other", 1, is_compared, T_GT },
                                   { "greaterthan", "other", 1, is_compared, T_GT },
                                   { ">", "other", 1, is_compared, T_GT },
                                   { "ge", "other", 1, is_compared, T_GE },
                                   { ">=", "other", 1, is_compared, T_GE },
                                   { "lt", "other", 1, is_compared, T_LT },
                                   { "lessthan", "other", 1, is_compared, T_LT },
                                   { "<", "other", 1, is_compared, T_LT },
                                   { "le", "other", 1, is_compared, T_LE },
                                   { "<=", "other", 1, is_compared, T_LE },
                                   { "in", "seq", 1, is_compared, T_IN },
                                   { "sameas", "other", 1, is_same, 0 },
                                   { "filter", "", 0, is_known, 0 },
                                   { "test", "", 0, is_known, 1 } };
    return find(table, sizeof table / sizeof *table, name);
}
