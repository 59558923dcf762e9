/* tmpl_format.c - '%s: %d' % (a, b), the filter format, and '{} {name}'.format(...).
 *
 * Numbers go through printf, whose conversions are Python's; text is padded by characters and keeps its
 * origin.  Of str.format only plain fields are done; a format specification is an error. */
#include "text/tmpl.h"

#include <ctype.h>
#include <string.h>

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

static bool padded(tm_run *r, tm_str *s, const conversion *c, tm_sb *b) {
    if (c->precision >= 0 && c->precision < s->chars) {
        if (!tm_flat(r, s) || !(s = tm_str_sub(r, s, 0, tm_char_at(s, c->precision)))) return false;
    }
    int64_t width = c->width < 0 ? -c->width : c->width, gap = width - s->chars;
    bool left = c->width < 0 || strchr(c->flags, '-');
    if (left && !tm_sb_str(b, s)) return false;
    for (; gap > 0; gap--)
        if (!tm_sb_add(b, " ", 1, tm_nowhere)) return false;
    return left || tm_sb_str(b, s);
}

static bool number(tm_run *r, const tm_val *v, const conversion *c, tm_sb *b) {
    char fmt[20], buf[11000];
    bool whole = strchr("dixXo", c->kind), is_int = v->kind == TM_INT || v->kind == TM_BOOL;
    if (!is_int && (v->kind != TM_FLOAT || strchr("xXo", c->kind)))
        return tm_fail(r, HN_EPARSE, "%%%c needs a number, not %s", c->kind, tm_kind_name(v));
    double f = v->kind == TM_FLOAT ? v->u.f : 0;
    if (whole && !(f > -0x1p63 && f < 0x1p63))
        return tm_fail(r, HN_ERANGE, "an integer does not fit 64 bits");
    int64_t i = v->kind == TM_FLOAT ? (int64_t)f : v->kind == TM_BOOL ? v->u.b : v->u.i;
    if (is_int && !whole) f = (double)i;
    if ((whole && (c->precision >= 0 || strchr(c->flags, '#'))) || (strchr("xXo", c->kind) && i < 0))
        return tm_fail(r, HN_EUNSUP, "this form of %%%c is not supported", c->kind);
    snprintf(fmt, sizeof fmt, whole ? "%%%s*.*ll%c" : "%%%s*.*%c", c->flags, c->kind);
    int n = whole ? snprintf(buf, sizeof buf, fmt, (int)c->width, (int)c->precision, (long long)i)
                  : snprintf(buf, sizeof buf, fmt, (int)c->width, (int)c->precision, f);
    if (n < 0 || (size_t)n >= sizeof buf) return tm_fail(r, HN_ERANGE, "a formatted number is too long");
    return tm_sb_add(b, buf, (size_t)n, tm_nowhere);
}

static bool convert(values *a, const conversion *c, const tm_val *v, tm_sb *b) {
    tm_run *r = a->r;
    tm_sb own = { .r = r };
    tm_val text;
    tm_str *s;
    if (c->kind == 's') return tm_print(r, v, &s) && padded(r, s, c, b);
    if (c->kind == 'r')
        return tm_repr(r, v, tm_nowhere, &own) && tm_sb_take(&own, &text) && padded(r, text.u.s, c, b);
    if (strchr("dixXoeEfFgG", c->kind)) return number(r, v, c, b);
    return tm_fail(r, HN_EUNSUP, "%%%c in a format string is not supported", c->kind);
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

/* What a field {}, {0} or {name} stands for. */
static const tm_val *field(values *a, const tm_args *args, const char *name, size_t n) {
    int how = !n ? 1 : isdigit((unsigned char)*name) ? 2 : 0;
    if (how && a->numbered && a->numbered != how) {
        tm_fail(a->r, HN_EPARSE, "format(): fields with and without numbers");
        return NULL;
    }
    if (how) a->numbered = how;
    if (!n) return next(a);
    if (isdigit((unsigned char)*name)) {
        int64_t i = 0;
        for (size_t k = 0; k < n && i < 1000000; k++)
            i = isdigit((unsigned char)name[k]) ? i * 10 + name[k] - '0' : INT32_MAX;
        if (i < args->n) return &args->v[i];
    }
    for (int k = 0; k < args->n_kw; k++)
        if (strlen(args->kw[k]) == n && !memcmp(args->kw[k], name, n)) return &args->kwv[k];
    if (memchr(name, ':', n) || memchr(name, '!', n) || memchr(name, '.', n) || memchr(name, '[', n))
        tm_fail(a->r, HN_EUNSUP, "format(): the field {%.*s} is not supported", n < 40 ? (int)n : 40, name);
    else tm_fail(a->r, HN_EPARSE, "format(): nothing for the field {%.*s}", n < 40 ? (int)n : 40, name);
    return NULL;
}

bool tm_method_format(tm_run *r, const tm_call *c, tm_val *out) {
    tm_str *s = c->self.u.s, *text;
    const char *p = tm_flat(r, s);
    tm_sb b = { .r = r };
    values a = { .r = r, .v = c->raw->v, .n = c->raw->n };
    if (!p) return false;
    if (s->safe) return tm_fail(r, HN_EUNSUP, "formatting the result of |safe is not supported");
    for (size_t i = 0; i < s->n;) {
        size_t run = i;
        while (run < s->n && p[run] != '{' && p[run] != '}') run++;
        tm_str *before = tm_str_sub(r, s, i, run);
        if (!before || !tm_sb_str(&b, before)) return false;
        if ((i = run) == s->n) break;
        if (i + 1 < s->n && p[i + 1] == p[i]) {
            if (!tm_sb_add(&b, p + i, 1, tm_org_at(s, i))) return false;
            i += 2;
            continue;
        }
        const char *close = p[i] == '{' ? memchr(p + i, '}', s->n - i) : NULL;
        if (!close) return tm_fail(r, HN_EPARSE, "format(): a single brace");
        const tm_val *v = field(&a, c->raw, p + i + 1, (size_t)(close - p) - i - 1);
        if (!v || !tm_print(r, v, &text) || !tm_sb_str(&b, text)) return false;
        i = (size_t)(close - p) + 1;
    }
    return tm_sb_take(&b, out);
}
