/* tmpl_spec.c - how a value is laid out: the format specification '{:>8.2f}' of Python, which '%8.2f' shares.
 *
 * [[fill]align][sign][#][0][width][, or _][.precision][type] */
#include "text/tmpl.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WIDTH = 10000, MAX_DIGITS = 400 };

static bool number(tm_run *r, const char **p, const char *end, int64_t *out) {
    for (*out = 0; *p < end && isdigit((unsigned char)**p); ++*p)
        if ((*out = *out * 10 + **p - '0') > MAX_WIDTH)
            return tm_fail(r, HN_ERANGE, "a width above %d in a format specification", MAX_WIDTH);
    return true;
}

bool tm_spec_parse(tm_run *r, const char *p, size_t n, tm_spec *s) {
    const char *end = p + n;
    int32_t cp;
    size_t first = n ? (size_t)tm_utf8(p, end, &cp) : 0;
    *s = (tm_spec){ .fill = " ", .n_fill = 1, .precision = -1 };
    if (first < n && strchr("<>=^", p[first]) && p[first]) {
        memcpy(s->fill, p, first);
        s->n_fill = first;
        s->align = p[first];
        p += first + 1;
    } else if (n && strchr("<>=^", *p) && *p) s->align = *p++;
    if (p < end && strchr("+- ", *p) && *p) s->sign = *p++;
    if (p < end && *p == '#') s->alt = p++;
    if (p < end && *p == '0') {
        s->zero = p++;
        if (!s->align) s->fill[0] = '0', s->n_fill = 1;
    }
    if (!number(r, &p, end, &s->width)) return false;
    if (p < end && (*p == ',' || *p == '_')) s->group = *p++;
    if (p < end && *p == '.') {
        const char *digits = ++p;
        if (!number(r, &p, end, &s->precision)) return false;
        if (p == digits) return tm_fail(r, HN_EPARSE, "a format specification lacks its precision");
    }
    if (p < end) s->type = *p++;
    return p == end ||
           tm_fail(r, HN_EPARSE, "bad format specification '%.*s'", (int)(n < 40 ? n : 40), end - n);
}

static bool pad(tm_sb *b, const tm_spec *s, int64_t times) {
    while (times-- > 0)
        if (!tm_sb_add(b, s->fill, s->n_fill, tm_nowhere)) return false;
    return true;
}

/* head (sign and prefix), then rest, made to the width. */
static bool lay_out(const tm_spec *s, char align, const char *head, tm_str *rest, tm_sb *b) {
    int64_t gap = s->width - rest->chars - (int64_t)strlen(head);
    int64_t left = gap <= 0 ? 0 : align == '>' ? gap : align == '^' ? gap / 2 : 0;
    if (!pad(b, s, left) || !tm_sb_cstr(b, head, tm_nowhere)) return false;
    if (align == '=' && !pad(b, s, gap)) return false;
    return tm_sb_str(b, rest) && pad(b, s, align == '=' ? 0 : gap - left);
}

static bool digits_out(tm_run *r, const tm_spec *s, const char *head, const char *digits, tm_sb *b) {
    char grouped[2 * MAX_DIGITS];
    size_t n = strspn(digits, s->type == 'x' || s->type == 'X' ? "0123456789abcdefABCDEF" : "0123456789"),
           k = 0;
    size_t every = s->type && strchr("xXob", s->type) ? 4 : 3;
    bool zeros = s->fill[0] == '0' && s->n_fill == 1 && (!s->align || s->align == '=');
    if (s->group && (zeros && s->width > 0))
        return tm_fail(r, HN_EUNSUP, "zeros and '%c' in one format specification are not supported",
                       s->group);
    for (size_t i = 0; i < n; i++) {
        if (i && s->group && (n - i) % every == 0) grouped[k++] = s->group;
        grouped[k++] = digits[i];
    }
    strcpy(grouped + k, digits + n);
    tm_val text;
    tm_sb own = { .r = r };
    if (!tm_sb_cstr(&own, grouped, tm_nowhere) || !tm_sb_take(&own, &text)) return false;
    return lay_out(s, s->align ? s->align : s->zero ? '=' : '>', head, text.u.s, b);
}

static const char *sign_of(const tm_spec *s, bool minus) {
    return minus ? "-" : s->sign == '+' ? "+" : s->sign == ' ' ? " " : "";
}

bool tm_spec_int(tm_run *r, int64_t i, const tm_spec *s, tm_sb *b) {
    char digits[MAX_DIGITS], head[8];
    uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    unsigned base = s->type == 'b' ? 2 : s->type == 'o' ? 8 : s->type == 'x' || s->type == 'X' ? 16 : 10;
    const char *set = s->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    size_t at = sizeof digits - 1;
    digits[at] = 0;
    do digits[--at] = set[u % base];
    while (u /= base);
    if (s->precision >= MAX_DIGITS / 2) return tm_fail(r, HN_ERANGE, "a formatted number is too long");
    while ((int64_t)(sizeof digits - 1 - at) < s->precision) digits[--at] = '0'; /* only % asks for it */
    snprintf(head, sizeof head, "%s%s%c", sign_of(s, i < 0), s->alt && base != 10 ? "0" : "", s->type);
    if (!s->alt || base == 10) head[strlen(sign_of(s, i < 0))] = 0;
    return digits_out(r, s, head, digits + at, b);
}

bool tm_spec_float(tm_run *r, double f, const tm_spec *s, tm_sb *b) {
    char digits[MAX_DIGITS], fmt[16];
    bool percent = s->type == '%', plain = !s->type;
    char type = percent ? 'f' : s->type;
    int precision = s->precision >= 0 ? (int)s->precision : 6;
    if (plain && s->precision >= 0)
        return tm_fail(r, HN_EUNSUP, "a precision without a type in a format specification is not supported");
    if (precision > 50) return tm_fail(r, HN_ERANGE, "a precision above 50 in a format specification");
    bool minus = signbit(f) && !isnan(f);
    f = fabs(f);
    if (plain) tm_float_repr(f, digits);
    else {
        snprintf(fmt, sizeof fmt, "%%%s.*%c", s->alt ? "#" : "", type);
        snprintf(digits, sizeof digits, fmt, precision, percent ? f * 100 : f);
    }
    if (percent) strcat(digits, "%");
    return digits_out(r, s, sign_of(s, minus), digits, b);
}

bool tm_spec_str(tm_run *r, tm_str *v, const tm_spec *s, tm_sb *b) {
    if (!tm_flat(r, v)) return false;
    if (s->precision >= 0 && s->precision < v->chars &&
        !(v = tm_str_sub(r, v, 0, tm_char_at(v, s->precision))))
        return false;
    return lay_out(s, s->align ? s->align : '<', "", v, b);
}

bool tm_spec_put(tm_run *r, const tm_val *v, const char *p, size_t n, tm_sb *b) {
    tm_spec s;
    tm_str *text;
    if (!n) return tm_print(r, v, &text) && tm_sb_str(b, text);
    if (!tm_spec_parse(r, p, n, &s)) return false;
    bool whole = v->kind == TM_INT || v->kind == TM_BOOL, real = s.type && strchr("eEfFgG%", s.type);
    if (s.type == 'c' || s.type == 'n')
        return tm_fail(r, HN_EUNSUP, "the type '%c' of a format specification is not supported", s.type);
    if (v->kind == TM_STR) {
        if ((s.type && s.type != 's') || s.sign || s.alt || s.group || s.align == '=')
            return tm_fail(r, HN_EPARSE, "the format specification '%.*s' is not for a string", (int)n, p);
        return tm_spec_str(r, v->u.s, &s, b);
    }
    if (v->kind == TM_FLOAT && (!s.type || real)) return tm_spec_float(r, v->u.f, &s, b);
    int64_t i = v->kind == TM_BOOL ? v->u.b : v->u.i;
    if (whole && real) return tm_spec_float(r, (double)i, &s, b);
    if (whole && s.precision < 0 && (!s.type || strchr("dxXob", s.type)) &&
        !(s.group == ',' && s.type && s.type != 'd'))
        return tm_spec_int(r, i, &s, b);
    return tm_fail(r, HN_EPARSE, "the format specification '%.*s' is not for a %s", (int)(n < 40 ? n : 40), p,
                   tm_kind_name(v));
}
