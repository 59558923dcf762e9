/* tmpl_format.c - '%s: %d' % (a, b), the filter format, and '{} {name:>8}'.format(...).
 *
 * Text is padded by characters (tmpl_spec.c) and keeps its origin. */
#include "text/tmpl.h"

#include <ctype.h>
#include <math.h>
#include <string.h>
#include <utf8proc.h>

typedef struct values { /* what is left to be formatted */
    tm_run *r;
    const tm_val *v;
    int64_t n, at;
    const tm_val *map; /* for %(name)s; NULL: none */
    bool spare;        /* not using a value is no error */
    int numbered;      /* fields of str.format: 1 {}, 2 {0}; they do not mix */
} values;

typedef struct conversion {
    char flags[6], kind;
    int64_t width, precision; /* precision < 0: not given */
} conversion;

static const tm_val *next(values *a) {
    if (a->at < a->n) return &a->v[a->at++];
    tm_fail(a->r, HN_EPARSE, "not enough values for the format string");
    return NULL;
}

static bool size(values *a, const char **p, const char *end, int64_t *out) {
    if (*p < end && **p == '*') {
        const tm_val *v = next(a);
        ++*p;
        if (v && v->kind != TM_INT) tm_fail(a->r, HN_EPARSE, "* needs an integer");
        if (!v || v->kind != TM_INT) return false;
        *out = v->u.i;
    } else
        for (*out = 0; *p < end && isdigit((unsigned char)**p) && *out < 100000; ++*p)
            *out = *out * 10 + **p - '0';
    if (*out >= -10000 && *out <= 10000) return true;
    return tm_fail(a->r, HN_ERANGE, "a width of %lld in a format string", (long long)*out);
}

/* The conversion after a '%', and the value it names if it names one. */
static bool parse(values *a, const char **p, const char *end, conversion *c, const tm_val **named) {
    size_t n = 0;
    *c = (conversion){ .precision = -1 };
    if (*p < end && **p == '(') {
        const char *close = memchr(*p, ')', (size_t)(end - *p));
        if (!close || !a->map) return tm_fail(a->r, HN_EPARSE, "%%(name) needs a dict and a closing bracket");
        tm_val key;
        if (!tm_str_val(a->r, *p + 1, (size_t)(close - *p - 1), tm_nowhere, &key)) return false;
        *named = tm_dict_find(a->r, a->map->u.d, &key);
        if (!*named) return tm_fail(a->r, HN_EPARSE, "the format string names a key that is not there");
        *p = close + 1;
    }
    for (; *p < end && strchr("#0- +", **p) && **p; ++*p)
        if (n < sizeof c->flags - 1 && !strchr(c->flags, **p)) c->flags[n++] = **p;
    if (!size(a, p, end, &c->width)) return false;
    if (*p < end && **p == '.') {
        ++*p;
        if (!size(a, p, end, &c->precision)) return false;
        if (c->precision < 0) c->precision = 0;
    }
    if (*p == end) return tm_fail(a->r, HN_EPARSE, "the format string ends after %%");
    c->kind = *(*p)++;
    return true;
}

static bool repr_text(tm_run *r, const tm_val *v, tm_str **out) {
    tm_sb b = { .r = r };
    tm_val text;
    if (!tm_repr(r, v, tm_nowhere, &b) || !tm_sb_take(&b, &text)) return false;
    *out = text.u.s;
    return true;
}

static bool number(tm_run *r, const tm_val *v, const conversion *c, tm_sb *b) {
    bool left = c->width < 0 || strchr(c->flags, '-');
    tm_spec s = { .fill = " ",
                  .n_fill = 1,
                  .align = left ? '<' : 0,
                  .sign = strchr(c->flags, '+')   ? '+'
                          : strchr(c->flags, ' ') ? ' '
                                                  : 0,
                  .alt = strchr(c->flags, '#'),
                  .width = c->width < 0 ? -c->width : c->width,
                  .precision = c->precision,
                  .type = strchr("iu", c->kind) ? 'd' : c->kind };
    bool whole = strchr("dxXo", s.type), is_int = v->kind == TM_INT || v->kind == TM_BOOL;
    if (!is_int && (v->kind != TM_FLOAT || strchr("xXo", s.type)))
        return tm_fail(r, HN_EPARSE, "%%%c needs a number, not %s", c->kind, tm_kind_name(v));
    if (!left && strchr(c->flags, '0')) s.zero = true, s.fill[0] = '0';
    double f = v->kind == TM_FLOAT ? v->u.f : 0;
    if (whole && !isfinite(f)) return tm_fail(r, HN_EPARSE, "%%%c of infinity or NaN", c->kind);
    if (whole && !(f >= -0x1p63 && f < 0x1p63))
        return tm_fail(r, HN_ERANGE, "an integer does not fit 64 bits");
    int64_t i = v->kind == TM_FLOAT ? (int64_t)f : v->kind == TM_BOOL ? v->u.b : v->u.i;
    return whole ? tm_spec_int(r, i, &s, b) : tm_spec_float(r, is_int ? (double)i : f, &s, b);
}

/* The character of a number, or a string of one. */
static bool character(tm_run *r, const tm_val *v, tm_str **out) {
    if (v->kind == TM_STR && v->u.s->chars == 1) {
        *out = v->u.s;
        return true;
    }
    int64_t i = v->kind == TM_INT ? v->u.i : v->kind == TM_BOOL ? v->u.b : -1;
    char *p = tm_get(r, 8);
    if (!p) return false;
    if (i < 0 || i > 0x10ffff) return tm_fail(r, HN_EPARSE, "%%c needs a character or its number");
    if (i >= 0xd800 && i < 0xe000)
        return tm_fail(r, HN_EUNSUP, "%%c of half a surrogate pair is not supported");
    size_t n = (size_t)utf8proc_encode_char((int32_t)i, (utf8proc_uint8_t *)p);
    *out = tm_str_new(r, p, n, tm_nowhere);
    return *out;
}

static bool convert(values *a, const conversion *c, const tm_val *v, tm_sb *b) {
    tm_run *r = a->r;
    tm_str *s;
    tm_spec layout = { .fill = " ",
                       .n_fill = 1,
                       .align = c->width < 0 || strchr(c->flags, '-') ? '<' : '>',
                       .width = c->width < 0 ? -c->width : c->width,
                       .precision = c->kind == 'c' ? -1 : c->precision };
    if (c->kind == 's') return tm_print(r, v, &s) && tm_spec_str(r, s, &layout, b);
    if (c->kind == 'r') return repr_text(r, v, &s) && tm_spec_str(r, s, &layout, b);
    if (c->kind == 'c') return character(r, v, &s) && tm_spec_str(r, s, &layout, b);
    if (c->kind && strchr("diuxXoeEfFgG", c->kind)) return number(r, v, c, b);
    return tm_fail(r, c->kind == 'a' ? HN_EUNSUP : HN_EPARSE, "%%%c in a format string is not supported",
                   c->kind);
}

static bool percent(values *a, tm_str *s, tm_val *out) {
    const char *p = tm_flat(a->r, s), *end = p ? p + s->n : NULL;
    tm_sb b = { .r = a->r };
    if (p && s->safe) return tm_fail(a->r, HN_EUNSUP, "formatting the result of |safe is not supported");
    while (p && p < end) {
        const char *hit = memchr(p, '%', (size_t)(end - p));
        tm_str *before = tm_str_sub(a->r, s, (size_t)(p - s->p), (size_t)((hit ? hit : end) - s->p));
        if (!before || !tm_sb_str(&b, before)) return false;
        if (!hit) break;
        p = hit + 1;
        if (p < end && *p == '%') {
            if (!tm_sb_add(&b, p++, 1, tm_org_at(s, (size_t)(hit - s->p)))) return false;
            continue;
        }
        conversion c;
        const tm_val *v = NULL;
        if (!parse(a, &p, end, &c, &v) || (!v && !(v = next(a))) || !convert(a, &c, v, &b)) return false;
    }
    if (!p) return false;
    if (a->at < a->n && !a->spare)
        return tm_fail(a->r, HN_EPARSE, "not all values were used by the format string");
    return tm_sb_take(&b, out);
}

bool tm_format(tm_run *r, tm_str *s, const tm_val *v, tm_val *out) {
    values a = { .r = r, .v = v, .n = 1, .map = v->kind == TM_DICT ? v : NULL };
    if (v->kind == TM_TUPLE) a.v = v->u.l->v, a.n = v->u.l->n;
    a.spare = v->kind == TM_DICT || v->kind == TM_LIST || v->kind == TM_RANGE || v->kind == TM_UNDEF;
    return percent(&a, s, out);
}

bool tm_filter_format(tm_run *r, const tm_call *c, tm_val *out) {
    tm_str *s;
    tm_val map = { 0 };
    values a = { .r = r, .v = c->raw->v, .n = c->raw->n };
    if (a.n && c->raw->n_kw) return tm_fail(r, HN_EPARSE, "format: positional and named values together");
    if (c->raw->n_kw) {
        if (!tm_dict_new(r, 0, &map)) return false;
        for (int i = 0; i < c->raw->n_kw; i++) {
            tm_val key;
            const char *name = c->raw->kw[i];
            if (!tm_str_val(r, name, strlen(name), tm_nowhere, &key) ||
                !tm_dict_put(r, map.u.d, &key, &c->raw->kwv[i]))
                return false;
        }
        a.map = &map;
        a.spare = true;
    }
    return tm_print(r, &c->self, &s) && percent(&a, s, out);
}

/* ---- str.format ---- */
typedef struct format { /* one call */
    values a;
    const tm_args *args;
    const tm_dict *map; /* of format_map; NULL: names are arguments */
} format;

/* The argument a field begins with: '', '0' or 'name'. */
static bool argument(format *f, const char *name, size_t n, bool alone, tm_val *out) {
    tm_run *r = f->a.r;
    bool digits = n > 0;
    int64_t i = 0;
    for (size_t k = 0; k < n && digits; k++) {
        digits = isdigit((unsigned char)name[k]);
        i = digits && i < 1000000 ? i * 10 + name[k] - '0' : i;
    }
    int how = !n ? 1 : digits ? 2 : 0;
    if (!n && !alone)
        return tm_fail(r, HN_EUNSUP, "format(): a field without a name that goes on is not supported");
    if (how && alone && f->a.numbered && f->a.numbered != how)
        return tm_fail(r, HN_EPARSE, "format(): fields with and without numbers");
    if (how && alone) f->a.numbered = how;
    if (how) {
        const tm_val *v = n ? i < f->args->n ? &f->args->v[i] : NULL : next(&f->a);
        if (v) *out = *v;
        return v || tm_fail(r, HN_EPARSE, "format(): no argument %lld", (long long)i);
    }
    for (int k = 0; !f->map && k < f->args->n_kw; k++)
        if (strlen(f->args->kw[k]) == n && !memcmp(f->args->kw[k], name, n)) {
            *out = f->args->kwv[k];
            return true;
        }
    tm_val key;
    if (!tm_str_val(r, name, n, tm_nowhere, &key)) return false;
    const tm_val *v = f->map ? tm_dict_find(r, f->map, &key) : NULL;
    if (v) *out = *v;
    return v || tm_fail(r, HN_EPARSE, "format(): nothing for the field {%.*s}", n < 40 ? (int)n : 40, name);
}

/* 0.name[key]: an argument, then attributes and items of it. */
static bool field(format *f, const char *p, size_t n, tm_val *out) {
    tm_run *r = f->a.r;
    size_t at = 0;
    while (at < n && p[at] != '.' && p[at] != '[') at++;
    if (!argument(f, p, at, at == n, out)) return false;
    while (at < n) {
        bool item = p[at++] == '[';
        size_t begin = at;
        while (at < n && (item ? p[at] != ']' : p[at] != '.' && p[at] != '[')) at++;
        tm_val key, box = *out;
        bool digits = at > begin && at - begin < 10;
        int64_t i = 0;
        for (size_t k = begin; k < at; k++) {
            digits = digits && isdigit((unsigned char)p[k]);
            i = digits ? i * 10 + p[k] - '0' : 0;
        }
        char *name = tm_get(r, at - begin + 1);
        if (!name) return false;
        memcpy(name, p + begin, at - begin);
        if (at == begin || (item && at == n))
            return tm_fail(r, HN_EPARSE, "format(): bad field {%.*s}", (int)n, p);
        if (item && ++at < n && p[at] != '.' && p[at] != '[')
            return tm_fail(r, HN_EPARSE, "format(): bad field {%.*s}", (int)n, p);
        key = tm_int(i);
        if (!(item && digits) && !tm_str_val(r, name, strlen(name), tm_nowhere, &key)) return false;
        if (!(item ? tm_item(r, &box, &key, out) : tm_attr(r, &box, name, out))) return false;
    }
    return true;
}

static bool fields(format *f, tm_str *s, int depth, tm_sb *b);

/* A replacement field, between its braces: name, !conversion, :specification (which may hold fields). */
static bool replace(format *f, tm_str *s, size_t begin, size_t end, int depth, tm_sb *b) {
    tm_run *r = f->a.r;
    const char *p = s->p;
    size_t name = begin;
    bool inside = false;
    for (; name < end && (inside || (p[name] != '!' && p[name] != ':')); name++) {
        if (p[name] == '{') return tm_fail(r, HN_EPARSE, "format(): '{' in the name of a field");
        inside = p[name] == '[' || (inside && p[name] != ']');
    }
    tm_val v, text;
    tm_str *shown;
    if (!field(f, p + begin, name - begin, &v)) return false;
    if (name < end && p[name] == '!') {
        char how = name + 1 < end ? p[name + 1] : 0;
        if ((name += 2) < end && p[name] != ':')
            return tm_fail(r, HN_EPARSE, "format(): expected ':' after a conversion");
        if (how == 'a') return tm_fail(r, HN_EUNSUP, "format(): the conversion !a is not supported");
        if (how != 's' && how != 'r') return tm_fail(r, HN_EPARSE, "format(): bad conversion in a field");
        if (!(how == 'r' ? repr_text(r, &v, &shown) : tm_print(r, &v, &shown))) return false;
        v = tm_of_str(shown);
    }
    tm_sb spec = { .r = r };
    tm_str *inner = tm_str_sub(r, s, name < end ? name + 1 : end, end);
    if (!inner || !fields(f, inner, depth - 1, &spec) || !tm_sb_take(&spec, &text)) return false;
    return tm_spec_put(r, &v, text.u.s->p, text.u.s->n, b);
}

static bool fields(format *f, tm_str *s, int depth, tm_sb *b) {
    tm_run *r = f->a.r;
    const char *p = tm_flat(r, s);
    if (!p) return false;
    if (!depth && s->n) return tm_fail(r, HN_EPARSE, "format(): fields nested too deep");
    for (size_t i = 0; i < s->n;) {
        size_t run = i;
        while (run < s->n && p[run] != '{' && p[run] != '}') run++;
        tm_str *before = tm_str_sub(r, s, i, run);
        if (!before || !tm_sb_str(b, before)) return false;
        if ((i = run) == s->n) break;
        if (i + 1 < s->n && p[i + 1] == p[i]) {
            if (!tm_sb_add(b, p + i, 1, tm_org_at(s, i))) return false;
            i += 2;
            continue;
        }
        size_t end = i + 1;
        int open = p[i] == '{';
        for (bool inside = false; end < s->n && open; end++) {
            if (!inside) open += (p[end] == '{') - (p[end] == '}');
            inside = p[end] == '[' || (inside && p[end] != ']');
        }
        if (p[i] == '}' || open) return tm_fail(r, HN_EPARSE, "format(): a single brace");
        if (!replace(f, s, i + 1, end - 1, depth, b)) return false;
        i = end;
    }
    return true;
}

bool tm_method_format(tm_run *r, const tm_call *c, tm_val *out) { /* fn->arg: 1 format_map */
    static const tm_args none;
    tm_sb b = { .r = r };
    format f = { .a = { .r = r, .v = c->raw->v, .n = c->raw->n }, .args = c->raw };
    if (c->self.u.s->safe) return tm_fail(r, HN_EUNSUP, "formatting the result of |safe is not supported");
    if (c->fn->arg) {
        if (c->a[0].kind != TM_DICT) return tm_fail(r, HN_EPARSE, "format_map() needs a dict");
        f.a.n = 0;
        f.args = &none;
        f.map = c->a[0].u.d;
    }
    return fields(&f, c->self.u.s, 2, &b) && tm_sb_take(&b, out);
}
