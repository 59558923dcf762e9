/* tmpl_eval.c - evaluates expressions, with Python's operators. */
#include "text/tmpl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- slices ---- */
/* Has the expression a value before the template runs? */
static bool constant(const tm_node *n) {
    if (!n) return true;
    if (n->kind == N_COND) return constant(n->b) && (constant(n->a) || constant(n->c)); /* one is taken */
    bool literal = n->kind == N_CONST || n->kind == N_LIST || n->kind == N_TUPLE || n->kind == N_DICT ||
                   n->kind == N_PAIR || n->kind == N_BIN || n->kind == N_NEG || n->kind == N_POS ||
                   n->kind == N_NOT || n->kind == N_COMPARE || n->kind == N_CMP || n->kind == N_CONCAT ||
                   n->kind == N_ITEM || n->kind == N_SLICE || n->kind == N_FILTER;
    for (const tm_node *k = n->a; literal && k; k = k->next) literal = constant(k);
    return literal && constant(n->b) && constant(n->c);
}

static bool bound(tm_run *r, const tm_node *of, const tm_node *n, int64_t *i, bool *given) {
    tm_val v;
    *given = false;
    if (!n) return true;
    if (!tm_eval(r, n, &v)) return false;
    if (v.kind == TM_NONE) return true;
    if (v.kind != TM_INT && v.kind != TM_BOOL)
        return tm_fail(r, constant(of) ? HN_EUNSUP : HN_EPARSE, "a slice needs integers, not %s",
                       tm_kind_name(&v));
    *i = v.kind == TM_BOOL ? v.u.b : v.u.i;
    *given = true;
    return true;
}

/* A bound of a slice as Python's slice.indices gives it. */
static int64_t clamp(int64_t i, bool given, int64_t n, bool back, bool is_start) {
    int64_t lower = back ? -1 : 0, upper = back ? n - 1 : n;
    if (!given) return is_start != back ? lower : upper;
    if (i < 0) i += n;
    return i < lower ? lower : i > upper ? upper : i;
}

static bool slice_str(tm_run *r, tm_str *s, int64_t start, int64_t step, int64_t count, tm_val *out) {
    if (!tm_flat(r, s) || !tm_charge(r, s->n / 32)) return false;
    if (step == 1 || !count) {
        size_t from = tm_char_at(s, start), to = count ? tm_char_at(s, start + count) : from;
        *out = tm_of_str(tm_str_sub(r, s, from, to));
        return out->u.s;
    }
    tm_val box = tm_of_str(s), *chars;
    int64_t n;
    tm_sb b = { .r = r };
    if (!tm_items(r, &box, &chars, &n)) return false;
    for (int64_t k = 0; k < count; k++)
        if (!tm_sb_str(&b, chars[start + k * step].u.s)) return false;
    if (!tm_sb_take(&b, out)) return false;
    out->u.s->safe = s->safe;
    return true;
}

static bool slice(tm_run *r, const tm_val *v, const tm_node *of, const tm_node *n, tm_val *out) {
    int64_t start = 0, stop = 0, step = 1, len;
    bool has_start, has_stop, has_step;
    if (v->kind == TM_UNDEF) return tm_undefined(r, v);
    if (!bound(r, of, n->a, &start, &has_start) || !bound(r, of, n->b, &stop, &has_stop) ||
        !bound(r, of, n->c, &step, &has_step))
        return false;
    if (!step) return tm_fail(r, HN_EPARSE, "the step of a slice cannot be 0");
    if (v->kind != TM_STR && v->kind != TM_LIST && v->kind != TM_TUPLE && v->kind != TM_RANGE)
        return tm_fail(r, constant(of) ? HN_EUNSUP : HN_EPARSE, "a %s cannot be sliced", tm_kind_name(v));
    if (step == INT64_MIN) step = -INT64_MAX;
    if (!tm_length(r, v, &len)) return false;
    bool back = step < 0;
    start = clamp(start, has_start, len, back, true);
    stop = clamp(stop, has_stop, len, back, false);
    int64_t count = back ? (start > stop ? (start - stop - 1) / -step + 1 : 0)
                         : (stop > start ? (stop - start - 1) / step + 1 : 0);
    if (v->kind == TM_STR) return slice_str(r, v->u.s, count ? start : 0, step, count, out);
    tm_val *from = v->u.l->v + v->u.l->at;
    if (!tm_list_new(r, v->kind, count, out) || !tm_charge(r, (size_t)count)) return false;
    out->u.l->org = v->u.l->org;
    if (v->kind == TM_RANGE) {
        const tm_list *l = v->u.l;
        out->u.l->start = l->start + start * l->step;
        out->u.l->stop = l->start + stop * l->step;
        out->u.l->step = l->step * step;
    }
    for (int64_t k = 0; k < count; k++) out->u.l->v[k] = from[start + k * step];
    return true;
}

/* ---- arithmetic ---- */
static bool as_double(const tm_val *v, double *x) {
    if (v->kind == TM_BOOL) *x = v->u.b;
    else if (v->kind == TM_INT) *x = (double)v->u.i;
    else if (v->kind == TM_FLOAT) *x = v->u.f;
    else return false;
    return true;
}

static bool overflow(tm_run *r) { return tm_fail(r, HN_ERANGE, "an integer does not fit 64 bits"); }
static bool zero_division(tm_run *r) { return tm_fail(r, HN_EPARSE, "division by zero"); }

static bool int_power(tm_run *r, int64_t x, int64_t n, tm_val *out) {
    int64_t y = 1;
    if (n < 0) {
        if (!x) return zero_division(r);
        *out = tm_float(pow((double)x, (double)n));
        return true;
    }
    if (x == 0 || x == 1) *out = tm_int(n ? x : 1);
    else if (x == -1) *out = tm_int(n % 2 ? -1 : 1);
    else {
        for (; n; n--)
            if (__builtin_mul_overflow(y, x, &y)) return overflow(r);
        *out = tm_int(y);
    }
    return true;
}

/* x / y rounded once, as Python does it. */
static double quotient(int64_t x, int64_t y) {
    __extension__ typedef unsigned __int128 wide;
    int64_t exact = (int64_t)1 << 53;
    if (x > -exact && x < exact && y > -exact && y < exact) return (double)x / (double)y;
    uint64_t a = x < 0 ? 0 - (uint64_t)x : (uint64_t)x, b = y < 0 ? 0 - (uint64_t)y : (uint64_t)y;
    if (!a) return y < 0 ? -0.0 : 0.0;
    int shift = 64 + __builtin_clzll(a);
    wide n = (wide)a << shift, q = n / b;
    q |= n % b != 0; /* more than 55 bits: the last one only says that there is a rest */
    double z = ldexp((double)q, -shift);
    return (x < 0) != (y < 0) ? -z : z;
}

static bool int_op(tm_run *r, int op, int64_t x, int64_t y, tm_val *out) {
    int64_t z = 0;
    bool over = false;
    switch (op) {
    case T_ADD: over = __builtin_add_overflow(x, y, &z); break;
    case T_SUB: over = __builtin_sub_overflow(x, y, &z); break;
    case T_MUL: over = __builtin_mul_overflow(x, y, &z); break;
    case T_POW: return int_power(r, x, y, out);
    case T_DIV:
        if (!y) return zero_division(r);
        *out = tm_float(quotient(x, y));
        return true;
    default: /* //, %: toward minus infinity */
        if (!y) return zero_division(r);
        if (y == -1) {
            over = op == T_FLOORDIV && __builtin_sub_overflow(0, x, &z);
            break;
        }
        z = op == T_FLOORDIV ? x / y - (x % y && (x < 0) != (y < 0))
                             : x % y + (x % y && (x < 0) != (y < 0) ? y : 0);
    }
    *out = tm_int(z);
    return over ? overflow(r) : true;
}

static bool float_op(tm_run *r, int op, double x, double y, tm_val *out) {
    double z = 0, mod;
    switch (op) {
    case T_ADD: z = x + y; break;
    case T_SUB: z = x - y; break;
    case T_MUL: z = x * y; break;
    case T_POW:
        if (x == 0 && y < 0) return zero_division(r);
        if (x < 0 && y != floor(y)) return tm_fail(r, HN_EUNSUP, "complex numbers are not supported");
        z = pow(x, y);
        if (isinf(z) && isfinite(x) && isfinite(y))
            return tm_fail(r, HN_EPARSE, "the result of ** is too large");
        break;
    default:
        if (y == 0) return zero_division(r);
        if (op == T_DIV) {
            z = x / y;
            break;
        }
        mod = fmod(x, y);
        z = (x - mod) / y;
        if (mod != 0 && (y < 0) != (mod < 0)) {
            mod += y;
            z -= 1;
        } else if (mod == 0) mod = copysign(0, y);
        if (op == T_MOD) z = mod;
        else if (z != 0) z = floor(z) + (z - floor(z) > 0.5);
        else z = copysign(0, x / y);
    }
    *out = tm_float(z);
    return true;
}

static bool repeat(tm_run *r, const tm_val *v, int64_t times, tm_val *out) {
    if (times < 0) times = 0;
    if (v->kind != TM_STR) {
        const tm_list *l = v->u.l;
        int64_t n;
        if (__builtin_mul_overflow(l->n, times, &n) || n > INT32_MAX) return overflow(r);
        if (!tm_list_new(r, v->kind, n, out)) return false;
        for (int64_t i = 0; i < n; i++) out->u.l->v[i] = l->v[i % l->n];
        return true;
    }
    tm_sb b = { .r = r };
    for (int64_t i = 0; v->u.s->n && i < times; i++)
        if (!tm_sb_str(&b, v->u.s)) return false;
    if (!tm_sb_take(&b, out)) return false;
    out->u.s->safe = v->u.s->safe;
    return true;
}

/* Markup + text escapes the text, as markupsafe does. */
tm_str *tm_escape(tm_run *r, tm_str *s) {
    static const struct {
        char c;
        const char *to;
    } html[] = { { '&', "&amp;" }, { '<', "&lt;" }, { '>', "&gt;" }, { '\'', "&#39;" }, { '"', "&#34;" } };
    const char *p = tm_flat(r, s);
    tm_sb b = { .r = r };
    tm_val v;
    if (!p) return NULL;
    for (size_t i = 0; i < s->n; i++) {
        const char *to = NULL;
        for (size_t k = 0; k < sizeof html / sizeof *html; k++)
            if (p[i] == html[k].c) to = html[k].to;
        if (!tm_sb_add(&b, to ? to : p + i, to ? strlen(to) : 1, tm_org_at(s, i))) return NULL;
    }
    return tm_sb_take(&b, &v) ? v.u.s : NULL;
}

static bool join_strs(tm_run *r, tm_str *a, tm_str *b, tm_val *out) {
    bool safe = a->safe || b->safe;
    if (safe && !a->safe) a = tm_escape(r, a);
    if (safe && a && !b->safe) b = tm_escape(r, b);
    tm_str *s = a && b ? tm_str_cat(r, a, b) : NULL;
    if (s) s = tm_str_mark(r, s, safe);
    *out = tm_of_str(s);
    return s;
}

static bool join_lists(tm_run *r, const tm_val *a, const tm_val *b, tm_val *out) {
    const tm_list *l = a->u.l, *m = b->u.l;
    if (!tm_list_new(r, a->kind, l->n + m->n, out)) return false;
    for (int64_t i = 0; i < l->n; i++) out->u.l->v[i] = l->v[i];
    for (int64_t i = 0; i < m->n; i++) out->u.l->v[l->n + i] = m->v[i];
    return true;
}

static const char *op_text(int op) {
    static const char *const text[] = { [T_ADD] = "+",       [T_SUB] = "-", [T_MUL] = "*", [T_DIV] = "/",
                                        [T_FLOORDIV] = "//", [T_MOD] = "%", [T_POW] = "**" };
    return text[op];
}

bool tm_binary(tm_run *r, int op, const tm_val *a, const tm_val *b, tm_val *out) {
    double x, y;
    if (a->kind == TM_UNDEF) return tm_undefined(r, a);
    if (b->kind == TM_UNDEF && !(a->kind == TM_STR && op == T_MOD)) return tm_undefined(r, b);
    bool whole_a = a->kind == TM_INT || a->kind == TM_BOOL, whole_b = b->kind == TM_INT || b->kind == TM_BOOL;
    int64_t i = a->kind == TM_BOOL ? a->u.b : a->u.i, k = b->kind == TM_BOOL ? b->u.b : b->u.i;
    if (whole_a && whole_b) return int_op(r, op, i, k, out);
    if (as_double(a, &x) && as_double(b, &y)) return float_op(r, op, x, y, out);
    if (op == T_ADD && a->kind == TM_STR && b->kind == TM_STR) return join_strs(r, a->u.s, b->u.s, out);
    if (op == T_ADD && a->kind == b->kind && (a->kind == TM_LIST || a->kind == TM_TUPLE))
        return join_lists(r, a, b, out);
    if (op == T_MUL) {
        bool box_a = a->kind == TM_STR || a->kind == TM_LIST || a->kind == TM_TUPLE;
        bool box_b = b->kind == TM_STR || b->kind == TM_LIST || b->kind == TM_TUPLE;
        if (box_a && whole_b) return repeat(r, a, k, out);
        if (box_b && whole_a) return repeat(r, b, i, out);
    }
    if (op == T_MOD && a->kind == TM_STR) return tm_format(r, a->u.s, b, out);
    return tm_fail(r, HN_EPARSE, "'%s' is not defined between %s and %s", op_text(op), tm_kind_name(a),
                   tm_kind_name(b));
}

static bool sign(tm_run *r, const tm_node *n, tm_val *out) {
    tm_val v;
    if (!tm_eval(r, n->a, &v)) return false;
    if (v.kind == TM_UNDEF) return tm_undefined(r, &v);
    int64_t i = v.kind == TM_BOOL ? v.u.b : v.u.i;
    if (v.kind == TM_FLOAT) *out = tm_float(n->kind == N_NEG ? -v.u.f : v.u.f);
    else if (v.kind != TM_INT && v.kind != TM_BOOL)
        return tm_fail(r, HN_EPARSE, "a %s has no sign", tm_kind_name(&v));
    else if (i == INT64_MIN && n->kind == N_NEG) return overflow(r);
    else *out = tm_int(n->kind == N_NEG ? -i : i);
    return true;
}

/* ---- comparisons ---- */
static bool compare_once(tm_run *r, int op, const tm_val *a, const tm_val *b, bool *yes) {
    static const char *const text[] = { [T_GT] = ">", [T_GE] = ">=", [T_LT] = "<", [T_LE] = "<=" };
    int order;
    if (op == T_EQ || op == T_NE) {
        if (!tm_equal(r, a, b, yes)) return false;
        *yes ^= op == T_NE;
        return true;
    }
    if (op == T_IN || op == T_NOTIN) {
        if (!tm_contains(r, b, a, yes)) return false;
        *yes ^= op == T_NOTIN;
        return true;
    }
    if (!tm_order(r, a, b, text[op], &order)) return false;
    *yes = order != 2 && (op == T_GT   ? order > 0
                          : op == T_GE ? order >= 0
                          : op == T_LT ? order < 0
                                       : order <= 0);
    return true;
}

static bool compare(tm_run *r, const tm_node *n, tm_val *out) {
    tm_val a, b;
    bool yes = true;
    if (!tm_eval(r, n->a, &a)) return false;
    for (const tm_node *c = n->c; c && yes; c = c->next, a = b)
        if (!tm_eval(r, c->a, &b) || !compare_once(r, c->op, &a, &b, &yes)) return false;
    *out = tm_bool(yes);
    return true;
}

/* ---- literals, calls ---- */
static bool items_literal(tm_run *r, const tm_node *n, tm_val *out) {
    int64_t count = 0, i = 0;
    for (const tm_node *k = n->a; k; k = k->next) count++;
    if (!tm_list_new(r, n->kind == N_LIST ? TM_LIST : TM_TUPLE, count, out)) return false;
    for (const tm_node *k = n->a; k; k = k->next)
        if (!tm_eval(r, k, &out->u.l->v[i++])) return false;
    return true;
}

static bool dict_literal(tm_run *r, const tm_node *n, tm_val *out) {
    tm_val k, v;
    if (!tm_dict_new(r, 0, out)) return false;
    for (const tm_node *p = n->a; p; p = p->next)
        if (!tm_eval(r, p->a, &k) || !tm_eval(r, p->b, &v) || !tm_dict_put(r, out->u.d, &k, &v)) return false;
    return true;
}

static bool concat(tm_run *r, const tm_node *n, tm_val *out) {
    tm_str *all = NULL, *s;
    for (const tm_node *k = n->a; k; k = k->next) {
        tm_val v;
        if (!tm_eval(r, k, &v) || !tm_print(r, &v, &s)) return false;
        if (!(s = tm_str_mark(r, s, false))) return false; /* ~ joins str() of all: plain text */
        if (all && !(s = tm_str_cat(r, all, s))) return false;
        all = s;
    }
    *out = tm_of_str(all);
    return true;
}

bool tm_call_value(tm_run *r, const tm_val *callee, const tm_args *args, tm_val *out) {
    switch (callee->kind) {
    case TM_MACRO: return tm_macro_call(r, callee->u.macro, args, out);
    case TM_FN: return tm_fn_call(r, callee->u.fn, "function", tm_none(), args, out);
    case TM_METHOD: return tm_fn_call(r, callee->u.method->fn, "method", callee->u.method->self, args, out);
    case TM_UNDEF: return tm_undefined(r, callee);
    case TM_LOOP: return tm_loop_call(r, callee->u.loop, args, out);
    case TM_JOINER:
        if (args->n || args->n_kw) return tm_fail(r, HN_EPARSE, "a joiner takes no arguments");
        *out = callee->u.l->v[0];
        if (callee->u.l->at++) return true;
        return tm_str_val(r, "", 0, tm_nowhere, out);
    default: return tm_fail(r, HN_EPARSE, "a %s cannot be called", tm_kind_name(callee));
    }
}

static bool apply(tm_run *r, const tm_node *n, tm_val *out) {
    bool is_test = n->kind == N_TEST;
    tm_val self;
    tm_args args = { 0 };
    if (!tm_eval(r, n->a, &self) || !tm_args_eval(r, n->b, &args)) return false;
    r->line = n->line;
    if (!n->fn)
        return tm_fail(r, HN_EUNSUP, "the %s '%s' is not supported", is_test ? "test" : "filter", n->name);
    return tm_fn_call(r, n->fn, is_test ? "test" : "filter", self, &args, out);
}

static bool call(tm_run *r, const tm_node *n, tm_val *out) {
    tm_val callee;
    tm_args args = { 0 };
    if (!tm_eval(r, n->a, &callee) || !tm_args_eval(r, n->b, &args)) return false;
    r->line = n->line;
    return tm_call_value(r, &callee, &args, out);
}

static bool logic(tm_run *r, const tm_node *n, tm_val *out) {
    if (!tm_eval(r, n->a, out)) return false;
    return tm_truth(out) == (n->kind == N_OR) ? true : tm_eval(r, n->b, out);
}

static bool conditional(tm_run *r, const tm_node *n, tm_val *out) {
    tm_val cond;
    if (!tm_eval(r, n->b, &cond)) return false;
    if (tm_truth(&cond)) return tm_eval(r, n->a, out);
    if (n->c) return tm_eval(r, n->c, out);
    *out = tm_undef("the inline if without else");
    return true;
}

/* jinja2 compiles (-2) ** x to Python's -2 ** x, which is -(2 ** x). */
static bool power(tm_run *r, const tm_node *n, tm_val *a, const tm_val *b, tm_val *out) {
    bool minus =
        (a->kind == TM_INT && a->u.i < 0 && a->u.i > INT64_MIN) || (a->kind == TM_FLOAT && signbit(a->u.f));
    if (!minus || !constant(n->a) || constant(n->b)) return tm_binary(r, T_POW, a, b, out);
    tm_val size, minus_one = tm_int(-1);
    return tm_binary(r, T_MUL, a, &minus_one, &size) && tm_binary(r, T_POW, &size, b, a) &&
           tm_binary(r, T_MUL, a, &minus_one, out);
}

static bool item(tm_run *r, const tm_node *n, tm_val *out) {
    tm_val v, key;
    if (!tm_eval(r, n->a, &v)) return false;
    if (n->b->kind == N_SLICE) return slice(r, &v, n->a, n->b, out);
    return tm_eval(r, n->b, &key) && (r->line = n->line, tm_item(r, &v, &key, out));
}

static bool attribute(tm_run *r, const tm_node *n, tm_val *out) {
    tm_val v;
    if (!tm_eval(r, n->a, &v)) return false;
    r->line = n->line;
    return tm_attr(r, &v, n->name, out);
}

static bool evaluate(tm_run *r, const tm_node *n, tm_val *out) {
    tm_val v, w;
    switch (n->kind) {
    case N_CONST: *out = n->k; return true;
    case N_NAME: return tm_lookup(r, n, out);
    case N_LIST:
    case N_TUPLE: return items_literal(r, n, out);
    case N_DICT: return dict_literal(r, n, out);
    case N_COND: return conditional(r, n, out);
    case N_OR:
    case N_AND: return logic(r, n, out);
    case N_NOT:
        if (!tm_eval(r, n->a, &v)) return false;
        *out = tm_bool(!tm_truth(&v));
        return true;
    case N_COMPARE: return compare(r, n, out);
    case N_BIN:
        return tm_eval(r, n->a, &v) && tm_eval(r, n->b, &w) &&
               (n->op == T_POW ? power(r, n, &v, &w, out) : tm_binary(r, n->op, &v, &w, out));
    case N_NEG:
    case N_POS: return sign(r, n, out);
    case N_CONCAT: return concat(r, n, out);
    case N_FILTER:
    case N_TEST: return apply(r, n, out);
    case N_CALL: return call(r, n, out);
    case N_ATTR: return attribute(r, n, out);
    case N_ITEM: return item(r, n, out);
    case N_HOLE: *out = tm_of_str(r->hole); return true;
    default: return tm_fail(r, HN_EUNSUP, "this expression is not supported");
    }
}

bool tm_eval(tm_run *r, const tm_node *n, tm_val *out) {
    if (!tm_enter(r)) return false;
    r->line = n->line;
    bool ok = evaluate(r, n, out);
    tm_leave(r);
    return ok;
}
