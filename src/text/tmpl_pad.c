/* tmpl_pad.c - text made to a width: center, ljust, zfill, expandtabs, truncate; and urlencode. */
#include "text/tmpl.h"

#include <string.h>

enum { MAX_WIDTH = 1000000 };

static bool width_of(tm_run *r, const tm_call *c, int i, int64_t *n) {
    const tm_val *v = &c->a[i];
    if (v->kind == TM_ABSENT) return true;
    if (v->kind != TM_INT && v->kind != TM_BOOL)
        return tm_fail(r, HN_EPARSE, "%s needs an integer, not %s", c->fn->name, tm_kind_name(v));
    *n = v->kind == TM_BOOL ? v->u.b : v->u.i;
    if (*n > MAX_WIDTH) return tm_fail(r, HN_ERANGE, "%s: a width of %lld", c->fn->name, (long long)*n);
    return true;
}

static bool fill(tm_sb *b, const char *p, size_t n, int64_t times) {
    if (times > 0 && !tm_charge(b->r, (size_t)times / 4)) return false;
    while (times-- > 0)
        if (!tm_sb_add(b, p, n, tm_nowhere)) return false;
    return true;
}

/* s with `left` and `right` characters of fill around it. */
static bool around(tm_run *r, tm_str *s, const char *p, size_t n, int64_t left, int64_t right, tm_val *out) {
    tm_sb b = { .r = r };
    if (!fill(&b, p, n, left) || !tm_sb_str(&b, s) || !fill(&b, p, n, right) || !tm_sb_take(&b, out))
        return false;
    out->u.s->safe = s->safe;
    return true;
}

static bool centered(tm_run *r, tm_str *s, const char *p, size_t n, int64_t width, tm_val *out) {
    int64_t gap = width > s->chars ? width - s->chars : 0, left = gap / 2 + (gap & width & 1);
    return around(r, s, p, n, left, gap - left, out);
}

bool tm_method_pad(tm_run *r, const tm_call *c, tm_val *out) { /* fn->arg: 0 center, 1 ljust, 2 rjust */
    tm_str *s = c->self.u.s;
    const tm_val *with = &c->a[1];
    const char *p = " ";
    size_t n = 1;
    int64_t width = 0;
    if (!tm_flat(r, s) || !width_of(r, c, 0, &width)) return false;
    if (with->kind != TM_ABSENT) {
        if (with->kind != TM_STR || with->u.s->chars != 1)
            return tm_fail(r, HN_EPARSE, "%s(): fill with one character", c->fn->name);
        if (!(p = tm_flat(r, with->u.s))) return false;
        n = with->u.s->n;
    }
    if (!c->fn->arg) return centered(r, s, p, n, width, out);
    int64_t gap = width > s->chars ? width - s->chars : 0;
    return around(r, s, p, n, c->fn->arg == 2 ? gap : 0, c->fn->arg == 1 ? gap : 0, out);
}

bool tm_filter_center(tm_run *r, const tm_call *c, tm_val *out) {
    tm_str *s;
    int64_t width = 80;
    return width_of(r, c, 0, &width) && tm_print(r, &c->self, &s) && tm_flat(r, s) &&
           centered(r, s, " ", 1, width, out);
}

/* Zeros go between the sign and the rest. */
bool tm_method_zfill(tm_run *r, const tm_call *c, tm_val *out) {
    tm_str *s = c->self.u.s;
    const char *p = tm_flat(r, s);
    int64_t width = 0;
    tm_sb b = { .r = r };
    if (!p || !width_of(r, c, 0, &width)) return false;
    size_t sign = s->n && (*p == '-' || *p == '+');
    tm_str *head = tm_str_sub(r, s, 0, sign), *rest = head ? tm_str_sub(r, s, sign, s->n) : NULL;
    if (!rest || !tm_sb_str(&b, head) || !fill(&b, "0", 1, width - s->chars) || !tm_sb_str(&b, rest) ||
        !tm_sb_take(&b, out))
        return false;
    out->u.s->safe = s->safe;
    return true;
}

bool tm_method_tabs(tm_run *r, const tm_call *c, tm_val *out) {
    tm_str *s = c->self.u.s;
    const char *p = tm_flat(r, s);
    int64_t size = 8, column = 0;
    tm_sb b = { .r = r };
    if (!p || !width_of(r, c, 0, &size) || !tm_charge(r, s->n / 4)) return false;
    for (size_t at = 0; at < s->n;) {
        int32_t cp;
        size_t len = (size_t)tm_utf8(p + at, p + s->n, &cp);
        int64_t gap = size > 0 ? size - column % size : 0;
        if (cp != '\t' && !tm_sb_add(&b, p + at, len, tm_org_at(s, at))) return false;
        if (cp == '\t' && !tm_charge(r, (size_t)gap / 4)) return false;
        for (int64_t i = 0; cp == '\t' && i < gap; i++)
            if (!tm_sb_add(&b, " ", 1, tm_org_at(s, at))) return false;
        column = cp == '\n' || cp == '\r' ? 0 : column + (cp == '\t' ? gap : 1);
        at += len;
    }
    if (!tm_sb_take(&b, out)) return false;
    out->u.s->safe = s->safe;
    return true;
}

bool tm_filter_truncate(tm_run *r, const tm_call *c, tm_val *out) {
    int64_t length = 255, leeway = 5, n;
    if (!width_of(r, c, 0, &length) || (c->a[3].kind != TM_NONE && !width_of(r, c, 3, &leeway)) ||
        !tm_length(r, &c->self, &n))
        return false;
    tm_val dots, cut;
    if (!tm_str_val(r, "...", 3, tm_nowhere, &dots)) return false;
    if (c->a[2].kind != TM_ABSENT) dots = c->a[2];
    if (dots.kind != TM_STR) return tm_fail(r, HN_EPARSE, "truncate: the end must be a string");
    int64_t keep = length - dots.u.s->chars;
    if (keep < 0 || leeway < 0) return tm_fail(r, HN_EPARSE, "truncate: a length below that of its end");
    *out = c->self;
    if (n <= length + leeway) return true;
    if (c->self.kind != TM_STR) return tm_fail(r, HN_EPARSE, "truncate of a %s", tm_kind_name(&c->self));
    tm_str *s = c->self.u.s;
    const char *p = tm_flat(r, s);
    if (!p || !tm_charge(r, s->n / 32)) return false;
    size_t end = tm_char_at(s, keep), word = end;
    while (word && p[word - 1] != ' ') word--;
    if (!tm_truth(&c->a[1]) && word) end = word - 1;
    cut = tm_of_str(tm_str_sub(r, s, 0, end));
    return cut.u.s && tm_binary(r, T_ADD, &cut, &dots, out);
}

bool tm_filter_urlencode(tm_run *r, const tm_call *c, tm_val *out) {
    tm_str *s;
    tm_sb b = { .r = r };
    if (tm_is_seq(&c->self) || c->self.kind == TM_DICT)
        return tm_fail(r, HN_EUNSUP, "urlencode of a %s is not supported", tm_kind_name(&c->self));
    const char *p = tm_print(r, &c->self, &s) ? tm_flat(r, s) : NULL;
    if (!p || !tm_charge(r, s->n / 4)) return false;
    for (size_t i = 0; i < s->n; i++) {
        char hex[4];
        bool plain = !(p[i] & 0x80) && (tm_is_word(p[i]) || (p[i] && strchr("_.-~/", p[i])));
        snprintf(hex, sizeof hex, "%%%02X", (unsigned)(unsigned char)p[i]);
        if (!tm_sb_add(&b, plain ? p + i : hex, plain ? 1 : 3, tm_org_at(s, i))) return false;
    }
    return tm_sb_take(&b, out);
}
