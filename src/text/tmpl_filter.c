/* tmpl_filter.c - filters of single values: text, numbers, JSON; the table of all filters. */
#include "text/tmpl.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool given(const tm_val *v) { return v->kind != TM_ABSENT; }

/* The subject as text: str() of it, unless it is a string. */
static tm_str *text_of(tm_run *r, const tm_val *v) {
    tm_str *s;
    return tm_print(r, v, &s) && tm_flat(r, s) ? s : NULL;
}

static bool int_arg(tm_run *r, const tm_call *c, int i, int64_t *n) {
    const tm_val *v = &c->a[i];
    if (!given(v)) return true;
    if (v->kind != TM_INT && v->kind != TM_BOOL)
        return tm_fail(r, HN_EPARSE, "filter '%s' needs an integer, not %s", c->fn->name, tm_kind_name(v));
    *n = v->kind == TM_BOOL ? v->u.b : v->u.i;
    return true;
}

/* ---- text ---- */
static bool f_trim(tm_run *r, const tm_call *c, tm_val *out) {
    tm_call strip = *c;
    tm_str *s = text_of(r, &c->self);
    strip.self = tm_of_str(s);
    return s && tm_strip(r, &strip, out);
}

static bool f_case(tm_run *r, const tm_call *c, tm_val *out) {
    tm_str *s = text_of(r, &c->self);
    return s && tm_map_case(r, s, (tm_case)c->fn->arg, out);
}

/* Words begin after blanks, dashes and opening brackets: jinja2's title, not Python's. */
static bool f_title(tm_run *r, const tm_call *c, tm_val *out) {
    tm_str *s = text_of(r, &c->self);
    tm_sb b = { .r = r };
    if (!s) return false;
    for (size_t at = 0; at < s->n;) {
        size_t gap = at, word, end;
        int32_t cp;
        for (int len; gap < s->n; gap += (size_t)len) {
            len = tm_utf8(s->p + gap, s->p + s->n, &cp);
            if (!tm_is_space(cp) && (cp > 0x7f || !strchr("-({[<", cp))) break;
        }
        word = gap + (gap < s->n ? (size_t)tm_utf8(s->p + gap, s->p + s->n, &cp) : 0);
        for (end = word; end < s->n; end += (size_t)tm_utf8(s->p + end, s->p + s->n, &cp)) {
            int32_t next;
            tm_utf8(s->p + end, s->p + s->n, &next);
            if (tm_is_space(next) || (next < 0x80 && strchr("-({[<", next))) break;
        }
        tm_str *a = tm_str_sub(r, s, at, gap), *first = a ? tm_str_sub(r, s, gap, word) : NULL;
        tm_str *rest = first ? tm_str_sub(r, s, word, end) : NULL;
        tm_val up, low;
        if (!rest || !tm_map_case(r, first, TM_UPPER, &up) || !tm_map_case(r, rest, TM_LOWER, &low) ||
            !tm_sb_str(&b, a) || !tm_sb_str(&b, up.u.s) || !tm_sb_str(&b, low.u.s))
            return false;
        at = end;
    }
    return tm_sb_take(&b, out);
}

static bool f_replace(tm_run *r, const tm_call *c, tm_val *out) {
    int64_t max = -1;
    tm_str *s = text_of(r, &c->self), *old = s ? text_of(r, &c->a[0]) : NULL;
    tm_str *new = old ? text_of(r, &c->a[1]) : NULL;
    if (!new) return false;
    if (given(&c->a[2]) && c->a[2].kind != TM_NONE && !int_arg(r, c, 2, &max)) return false;
    return tm_replace(r, s, old, new, max, out);
}

static bool f_string(tm_run *r, const tm_call *c, tm_val *out) {
    tm_str *s = text_of(r, &c->self);
    *out = tm_of_str(s);
    return s;
}

static bool f_safe(tm_run *r, const tm_call *c, tm_val *out) { /* fn->arg: escape first */
    tm_str *s = text_of(r, &c->self);
    if (s && (c->fn->arg == 2 || (c->fn->arg && !s->safe))) s = tm_escape(r, s);
    if (s) s = tm_str_mark(r, s, true);
    *out = tm_of_str(s);
    return s;
}

static bool f_wordcount(tm_run *r, const tm_call *c, tm_val *out) {
    tm_str *s = text_of(r, &c->self);
    if (!s || !tm_charge(r, s->n / 4)) return false;
    int64_t n = 0;
    bool in_word = false;
    for (size_t at = 0; at < s->n;) {
        int32_t cp;
        at += (size_t)tm_utf8(s->p + at, s->p + s->n, &cp);
        bool word = cp == '_' || tm_is_word(cp);
        n += word && !in_word;
        in_word = word;
    }
    *out = tm_int(n);
    return true;
}

/* Every line but the first moves right; blank lines stay unless `blank`. */
static bool f_indent(tm_run *r, const tm_call *c, tm_val *out) {
    int64_t width = 4;
    tm_val lines;
    tm_sb b = { .r = r };
    tm_str *s = c->self.kind == TM_STR ? c->self.u.s : NULL, *pad;
    bool first = tm_truth(&c->a[1]), blank = tm_truth(&c->a[2]);
    if (!s) return tm_fail(r, HN_EPARSE, "indent of a %s", tm_kind_name(&c->self));
    if (s->safe) return tm_fail(r, HN_EUNSUP, "indent of the result of |safe is not supported");
    if (c->a[0].kind == TM_STR) pad = c->a[0].u.s;
    else {
        if (!int_arg(r, c, 0, &width)) return false;
        if (width > 1000000) return tm_fail(r, HN_ERANGE, "indent by %lld", (long long)width);
        char *spaces = tm_get(r, width > 0 ? (size_t)width + 1 : 1);
        if (!spaces) return false;
        memset(spaces, ' ', width > 0 ? (size_t)width : 0);
        if (!(pad = tm_str_new(r, spaces, width > 0 ? (size_t)width : 0, tm_nowhere))) return false;
    }
    tm_str *nl = tm_str_new(r, "\n", 1, tm_nowhere), *whole = nl ? tm_str_cat(r, s, nl) : NULL;
    if (!whole || !tm_lines(r, whole, false, &lines)) return false;
    for (int64_t i = 0; i < lines.u.l->n; i++) {
        tm_str *line = lines.u.l->v[i].u.s;
        if (i && !tm_sb_str(&b, nl)) return false;
        if (((i && (blank || line->n)) || (!i && first)) && !tm_sb_str(&b, pad)) return false;
        if (!tm_sb_str(&b, line)) return false;
    }
    return tm_sb_take(&b, out);
}

/* ---- numbers ---- */
static bool number_text(tm_str *s, char *buf, size_t cap) { /* without blanks and underscores */
    size_t from = tm_lspace(s->p, s->n), end = s->n - (from < s->n ? tm_rspace(s->p, s->n) : 0), n = 0;
    for (size_t i = from; i < end; i++) {
        if (s->p[i] == '_') {
            bool between = i > from && i + 1 < end && isalnum((unsigned char)s->p[i - 1]) &&
                           isalnum((unsigned char)s->p[i + 1]);
            if (!between) return false;
            continue;
        }
        if (n + 1 >= cap || !s->p[i]) return false;
        buf[n++] = s->p[i];
    }
    buf[n] = 0;
    return n > 0;
}

static bool parse_float(tm_str *s, double *f) {
    char buf[400], *end;
    if (!number_text(s, buf, sizeof buf) || strpbrk(buf, "xX(")) return false;
    *f = strtod(buf, &end);
    return !*end;
}

/* 1 an integer, 0 none, -1 one that is too large. */
static int parse_int(tm_str *s, int64_t base, int64_t *i) {
    char buf[400], *end, *p = buf;
    if (!number_text(s, buf, sizeof buf)) return 0;
    bool minus = *p == '-';
    p += minus || *p == '+';
    char mark = base == 16 ? 'x' : base == 8 ? 'o' : base == 2 ? 'b' : 0;
    if (mark && p[0] == '0' && tolower((unsigned char)p[1]) == mark) p += 2;
    if (!isalnum((unsigned char)*p)) return 0;
    errno = 0;
    if (base == 16 && p[0] == '0' && tolower((unsigned char)p[1]) == 'x') return 0;
    *i = strtoll(p, &end, (int)base);
    if (minus) *i = -*i;
    return *end ? 0 : errno ? -1 : 1;
}

static bool f_int(tm_run *r, const tm_call *c, tm_val *out) {
    const tm_val *v = &c->self;
    tm_val dflt = given(&c->a[0]) ? c->a[0] : tm_int(0);
    int64_t base = 10, i;
    double f;
    if (!int_arg(r, c, 1, &base)) return false;
    if (base != 10 && base != 2 && base != 8 && base != 16)
        return tm_fail(r, HN_EUNSUP, "int with base %lld is not supported", (long long)base);
    *out = dflt;
    if (v->kind == TM_INT) *out = *v;
    else if (v->kind == TM_BOOL) *out = tm_int(v->u.b);
    else if (v->kind == TM_UNDEF) return tm_fail(r, HN_EPARSE, "'%s' is undefined", v->u.name);
    else if (v->kind == TM_STR && !tm_flat(r, v->u.s)) return false;
    else if (v->kind == TM_STR) {
        int ok = parse_int(v->u.s, base, &i);
        if (ok > 0) *out = tm_int(i);
        if (ok < 0) return tm_fail(r, HN_ERANGE, "an integer does not fit 64 bits");
        if (ok || !parse_float(v->u.s, &f)) return true;
    } else if (v->kind != TM_FLOAT) return true;
    else f = v->u.f;
    if (v->kind != TM_STR && v->kind != TM_FLOAT) return true;
    if (!isfinite(f)) return true;
    if (fabs(f) >= 0x1p63) return tm_fail(r, HN_ERANGE, "an integer does not fit 64 bits");
    *out = tm_int((int64_t)f);
    return true;
}

static bool f_float(tm_run *r, const tm_call *c, tm_val *out) {
    const tm_val *v = &c->self;
    double f;
    *out = given(&c->a[0]) ? c->a[0] : tm_float(0);
    if (v->kind == TM_FLOAT) *out = *v;
    else if (v->kind == TM_INT) *out = tm_float((double)v->u.i);
    else if (v->kind == TM_BOOL) *out = tm_float(v->u.b);
    else if (v->kind == TM_UNDEF) return tm_fail(r, HN_EPARSE, "'%s' is undefined", v->u.name);
    else if (v->kind == TM_STR) {
        if (!tm_flat(r, v->u.s)) return false;
        if (parse_float(v->u.s, &f)) *out = tm_float(f);
    }
    return true;
}

static bool f_abs(tm_run *r, const tm_call *c, tm_val *out) {
    const tm_val *v = &c->self;
    if (v->kind == TM_FLOAT) *out = tm_float(fabs(v->u.f));
    else if (v->kind == TM_BOOL) *out = tm_int(v->u.b);
    else if (v->kind != TM_INT) return tm_fail(r, HN_EPARSE, "abs of a %s", tm_kind_name(v));
    else if (v->u.i == INT64_MIN) return tm_fail(r, HN_ERANGE, "an integer does not fit 64 bits");
    else *out = tm_int(v->u.i < 0 ? -v->u.i : v->u.i);
    return true;
}

/* Half to even in the exact binary value, as Python does and printf. */
static double round_float(double f, int64_t places) {
    char buf[700];
    int64_t digits;
    if (places >= 0) {
        snprintf(buf, sizeof buf, "%.*f", (int)places, f);
        return strtod(buf, NULL);
    }
    snprintf(buf, sizeof buf, "%.20e", f); /* the digits before those that go */
    digits = atoi(strchr(buf, 'e') + 1) + 1 + (places < -400 ? -400 : places);
    if (digits < 0 || f == 0) return copysign(0, f);
    if (digits > 0) snprintf(buf, sizeof buf, "%.*e", (int)digits - 1, f);
    else {
        snprintf(buf, sizeof buf, "5e%d", (int)-places - 1);
        double half = strtod(buf, NULL);
        if (fabs(f) <= half) return copysign(0, f);
        snprintf(buf, sizeof buf, "%s1e%d", f < 0 ? "-" : "", (int)-places);
    }
    return strtod(buf, NULL);
}

static bool round_int(tm_run *r, int64_t i, int64_t places, tm_val *out) {
    int64_t unit = 1;
    for (; places < 0 && unit <= INT64_MAX / 10; places++) unit *= 10;
    if (places < 0) return tm_fail(r, HN_EUNSUP, "round to so few places is not supported");
    int64_t rest = i % unit, half = unit / 2, down = i - rest;
    bool odd = down / unit % 2 != 0;
    bool away = unit > 1 && (llabs(rest) > half || (llabs(rest) == half && odd));
    if (away && __builtin_add_overflow(down, i < 0 ? -unit : unit, &down))
        return tm_fail(r, HN_ERANGE, "an integer does not fit 64 bits");
    *out = tm_int(down);
    return true;
}

/* floor(x * 10**places) / 10**places, or ceil */
static bool round_to(tm_run *r, const tm_val *v, int64_t places, bool up, tm_val *out) {
    tm_val ten = tm_int(10), exponent = tm_int(places), unit, x;
    if (places > 15 || places < -15)
        return tm_fail(r, HN_EUNSUP, "round to %lld places is not supported", (long long)places);
    if (!tm_binary(r, T_POW, &ten, &exponent, &unit) || !tm_binary(r, T_MUL, v, &unit, &x)) return false;
    if (x.kind == TM_FLOAT) {
        double f = up ? ceil(x.u.f) : floor(x.u.f);
        if (!isfinite(f)) return tm_fail(r, HN_EPARSE, "round of infinity or NaN");
        if (fabs(f) >= 0x1p63) return tm_fail(r, HN_ERANGE, "an integer does not fit 64 bits");
        x = tm_int((int64_t)f);
    }
    return tm_binary(r, T_DIV, &x, &unit, out);
}

static bool f_round(tm_run *r, const tm_call *c, tm_val *out) {
    const tm_val *v = &c->self, *method = &c->a[1];
    int64_t places = 0;
    const char *how = "common";
    if (!int_arg(r, c, 0, &places)) return false;
    if (given(method) && (method->kind != TM_STR || !(how = tm_flat(r, method->u.s))))
        return tm_fail(r, HN_EPARSE, "round: the method must be a string");
    if (v->kind != TM_FLOAT && v->kind != TM_INT && v->kind != TM_BOOL)
        return tm_fail(r, HN_EPARSE, "round of a %s", tm_kind_name(v));
    if (!strcmp(how, "floor") || !strcmp(how, "ceil")) return round_to(r, v, places, *how == 'c', out);
    if (strcmp(how, "common"))
        return tm_fail(r, HN_EPARSE, "round: the method is 'common', 'ceil' or 'floor'");
    if (v->kind != TM_FLOAT) return round_int(r, v->kind == TM_BOOL ? v->u.b : v->u.i, places, out);
    *out = isfinite(v->u.f) && places <= 323 ? tm_float(round_float(v->u.f, places)) : *v;
    return true;
}

/* ---- JSON ---- */
static bool separators(tm_run *r, const tm_val *v, tm_json *j) {
    bool pair = (v->kind == TM_LIST || v->kind == TM_TUPLE) && v->u.l->n == 2;
    const tm_val *s = pair ? v->u.l->v : NULL;
    if (!pair || s[0].kind != TM_STR || s[1].kind != TM_STR)
        return tm_fail(r, HN_EPARSE, "tojson: separators must be two strings");
    j->comma = tm_flat(r, s[0].u.s);
    j->colon = tm_flat(r, s[1].u.s);
    j->n_comma = s[0].u.s->n;
    j->n_colon = s[1].u.s->n;
    return j->comma && j->colon;
}

static bool f_tojson(tm_run *r, const tm_call *c, tm_val *out) {
    tm_sb b = { .r = r };
    const tm_val *indent = &c->a[1], *sep = &c->a[2];
    tm_json j = { .b = &b, .comma = ", ", .n_comma = 2, .colon = ": ", .n_colon = 2, .org = tm_nowhere };
    char spaces[64];
    j.ascii = tm_truth(&c->a[0]);
    j.sort = tm_truth(&c->a[3]);
    if (given(indent) && indent->kind != TM_NONE) {
        int64_t width = 0;
        if (indent->kind == TM_STR) {
            if (!(j.indent = tm_flat(r, indent->u.s))) return false;
            j.n_indent = indent->u.s->n;
        } else if (!int_arg(r, c, 1, &width)) return false;
        else {
            if (width > 60) return tm_fail(r, HN_ERANGE, "tojson: indent of %lld", (long long)width);
            memset(spaces, ' ', sizeof spaces);
            j.indent = spaces;
            j.n_indent = width > 0 ? (size_t)width : 0;
        }
        j.n_comma = 1;
    }
    if (given(sep) && sep->kind != TM_NONE && !separators(r, sep, &j)) return false;
    return tm_json_dump(r, &c->self, &j, 0) && tm_sb_take(&b, out);
}

/* ---- any value ---- */
static bool f_default(tm_run *r, const tm_call *c, tm_val *out) {
    bool use = c->self.kind == TM_UNDEF || (tm_truth(&c->a[1]) && !tm_truth(&c->self));
    *out = !use ? c->self : given(&c->a[0]) ? c->a[0] : tm_none();
    return use && !given(&c->a[0]) ? tm_str_val(r, "", 0, tm_nowhere, out) : true;
}

static bool f_length(tm_run *r, const tm_call *c, tm_val *out) {
    int64_t n;
    if (!tm_length(r, &c->self, &n)) return false;
    *out = tm_int(n);
    return true;
}

const tm_fn *tm_filter_find(const char *name) {
    static const tm_fn table[] = { { "trim", "chars", 0, f_trim, 3 },
                                   { "upper", "", 0, f_case, TM_UPPER },
                                   { "lower", "", 0, f_case, TM_LOWER },
                                   { "capitalize", "", 0, f_case, TM_CAPITALIZE },
                                   { "title", "", 0, f_title, 0 },
                                   { "replace", "old new count", 2, f_replace, 0 },
                                   { "string", "", 0, f_string, 0 },
                                   { "safe", "", 0, f_safe, 0 },
                                   { "escape", "", 0, f_safe, 1 },
                                   { "forceescape", "", 0, f_safe, 2 },
                                   { "center", "width", 0, tm_filter_center, 0 },
                                   { "truncate", "length killwords end leeway", 0, tm_filter_truncate, 0 },
                                   { "urlencode", "", 0, tm_filter_urlencode, 0 },
                                   { "e", "", 0, f_safe, 1 },
                                   { "format", "*", 0, tm_filter_format, 0 },
                                   { "wordcount", "", 0, f_wordcount, 0 },
                                   { "indent", "width first blank", 0, f_indent, 0 },
                                   { "int", "default base", 0, f_int, 0 },
                                   { "float", "default", 0, f_float, 0 },
                                   { "abs", "", 0, f_abs, 0 },
                                   { "round", "precision method", 0, f_round, 0 },
                                   { "tojson", "ensure_ascii indent separators sort_keys", 0, f_tojson, 0 },
                                   { "default", "default_value boolean", 0, f_default, 0 },
                                   { "d", "default_value boolean", 0, f_default, 0 },
                                   { "length", "", 0, f_length, 0 },
                                   { "count", "", 0, f_length, 0 } };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].name, name)) return &table[i];
    return tm_seq_filter_find(name);
}
