/* tmpl_print.c - values as text: Python's str() and repr(), and json.dumps (the filter tojson).
 *
 * Every byte that stands for a string keeps the origin of that string, and the punctuation of a
 * list or dict has the origin of the whole, so a tool call dumped as JSON belongs to its message. */
#include "text/tmpl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* The shortest decimal that reads back as f, written the way Python does. */
void tm_float_repr(double f, char buf[40]) {
    char sci[40];
    if (!isfinite(f)) {
        strcpy(buf, isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
        return;
    }
    for (int digits = 0; digits < 17; digits++) {
        snprintf(sci, sizeof sci, "%.*e", digits, f);
        if (strtod(sci, NULL) == f) break;
    }
    char *e = strchr(sci, 'e');
    int exp = atoi(e + 1), n = (int)(e - sci);
    if (exp < -4 || exp >= 16) {
        snprintf(buf, 40, "%.*se%c%02d", n, sci, exp < 0 ? '-' : '+', abs(exp));
        return;
    }
    int digits = n - (sci[0] == '-') - 1; /* after the first; counts no point when there is none */
    digits = digits > 0 ? digits - 1 : 0;
    int places = digits > exp ? digits - exp : 0;
    snprintf(buf, 40, "%.*f", places > 0 ? places : 1, f);
}

/* ---- repr ---- */
bool tm_is_printable(int32_t cp) {
    if (cp < 0x7f) return cp >= 0x20;
    switch (utf8proc_category(cp)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS: return false;
    default: return true;
    }
}

static const char *repr_escape(int32_t cp, char quote, char buf[16]) {
    if (cp == quote || cp == '\\') snprintf(buf, 16, "\\%c", (char)cp);
    else if (cp == '\n') return "\\n";
    else if (cp == '\r') return "\\r";
    else if (cp == '\t') return "\\t";
    else if (tm_is_printable(cp)) return NULL;
    else snprintf(buf, 16, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)cp);
    return buf;
}

static const char *json_escape(int32_t cp, bool ascii, char buf[16]) {
    switch (cp) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    case '\f': return "\\f";
    case '\b': return "\\b";
    default: break;
    }
    if (cp >= 0x20 && (cp < 0x7f || !ascii)) return NULL;
    if (ascii && cp == 0x7f) return NULL;
    if (cp < 0x10000) snprintf(buf, 16, "\\u%04x", (unsigned)cp);
    else
        snprintf(buf, 16, "\\u%04x\\u%04x", 0xd7c0u + ((unsigned)cp >> 10), 0xdc00u + ((unsigned)cp & 0x3ff));
    return buf;
}

/* A string between quotes.  json: 0 for repr, 1 for JSON, 2 for JSON in ASCII. */
static bool quoted(tm_run *r, tm_str *s, int json, tm_sb *b) {
    const char *p = tm_flat(r, s);
    if (!p) return false;
    const char *end = p + s->n;
    char quote = json || (memchr(p, '\'', s->n) && !memchr(p, '"', s->n)) ? '"' : '\'', buf[16];
    tm_org org = s->n ? tm_org_at(s, 0) : s->org;
    if (s->safe && !json && !tm_sb_cstr(b, "Markup(", org)) return false;
    if (!tm_sb_add(b, &quote, 1, org)) return false;
    for (const char *q = p, *from = p; q < end || from < end;) {
        int32_t cp = 0;
        const char *esc = NULL;
        int len = q < end ? tm_utf8(q, end, &cp) : 0;
        if (len && !(esc = json ? json_escape(cp, json == 2, buf) : repr_escape(cp, quote, buf)) && !s->seg) {
            q += len; /* plain characters of one origin go in one piece */
            continue;
        }
        if (q > from && !tm_sb_add(b, from, (size_t)(q - from), org)) return false;
        if (len) {
            org = tm_org_at(s, (size_t)(q - p));
            if (!(esc ? tm_sb_cstr(b, esc, org) : tm_sb_add(b, q, (size_t)len, org))) return false;
        }
        from = q += len;
    }
    return tm_sb_add(b, &quote, 1, org) && (!s->safe || json || tm_sb_add(b, ")", 1, org));
}

static bool repr_items(tm_run *r, const tm_list *l, const char *open, const char *close, tm_sb *b) {
    if (!tm_sb_cstr(b, open, l->org)) return false;
    for (int64_t i = 0; i < l->n; i++)
        if ((i && !tm_sb_cstr(b, ", ", l->org)) || !tm_repr(r, &l->v[i], l->org, b)) return false;
    return tm_sb_cstr(b, close, l->org);
}

static bool repr_dict(tm_run *r, const tm_dict *d, tm_sb *b) {
    if (!tm_sb_cstr(b, "{", d->org)) return false;
    for (int64_t i = 0; i < d->n; i++)
        if ((i && !tm_sb_cstr(b, ", ", d->org)) || !tm_repr(r, &d->k[i], d->org, b) ||
            !tm_sb_cstr(b, ": ", d->org) || !tm_repr(r, &d->v[i], d->org, b))
            return false;
    return tm_sb_cstr(b, "}", d->org);
}

static bool repr_range(const tm_list *l, tm_sb *b) {
    char buf[100];
    if (l->step == 1) snprintf(buf, sizeof buf, "range(%lld, %lld)", (long long)l->start, (long long)l->stop);
    else
        snprintf(buf, sizeof buf, "range(%lld, %lld, %lld)", (long long)l->start, (long long)l->stop,
                 (long long)l->step);
    return tm_sb_cstr(b, buf, l->org);
}

static bool scalar(const tm_val *v, char buf[40]) {
    if (v->kind == TM_NONE) strcpy(buf, "None");
    else if (v->kind == TM_BOOL) strcpy(buf, v->u.b ? "True" : "False");
    else if (v->kind == TM_INT) snprintf(buf, 40, "%lld", (long long)v->u.i);
    else if (v->kind == TM_FLOAT) tm_float_repr(v->u.f, buf);
    else return false;
    return true;
}

bool tm_repr(tm_run *r, const tm_val *v, tm_org org, tm_sb *b) {
    char buf[40];
    if (scalar(v, buf)) return tm_sb_cstr(b, buf, org);
    if (v->kind == TM_STR) return quoted(r, v->u.s, 0, b);
    if (v->kind == TM_UNDEF) return tm_sb_cstr(b, "Undefined", org);
    if (!tm_enter(r)) return false;
    bool ok;
    switch (v->kind) {
    case TM_LIST: ok = repr_items(r, v->u.l, "[", "]", b); break;
    case TM_TUPLE: ok = repr_items(r, v->u.l, "(", v->u.l->n == 1 ? ",)" : ")", b); break;
    case TM_VIEW:
        ok = tm_sb_cstr(b, v->u.l->label, v->u.l->org) && repr_items(r, v->u.l, "([", "])", b);
        break;
    case TM_RANGE: ok = repr_range(v->u.l, b); break;
    case TM_DICT: ok = repr_dict(r, v->u.d, b); break;
    case TM_NS:
        ok = tm_sb_cstr(b, "<Namespace ", org) && repr_dict(r, v->u.d, b) && tm_sb_cstr(b, ">", org);
        break;
    case TM_LOOP:
        ok = tm_loop_length(v->u.loop);
        snprintf(buf, sizeof buf, "<LoopContext %d/%d>", (int)v->u.loop->index0 + 1, (int)v->u.loop->length);
        ok = ok && tm_sb_cstr(b, buf, org);
        break;
    case TM_MACRO: {
        const tm_node *m = v->u.macro->node;
        bool anonymous = m->kind == N_CALLBLOCK;
        ok = tm_sb_cstr(b, anonymous ? "<Macro anonymous>" : "<Macro '", org) &&
             (anonymous || (tm_sb_cstr(b, m->name, org) && tm_sb_cstr(b, "'>", org)));
        break;
    }
    default: ok = tm_fail(r, HN_EUNSUP, "a %s has no text of its own", tm_kind_name(v));
    }
    tm_leave(r);
    return ok;
}

bool tm_print(tm_run *r, const tm_val *v, tm_str **out) {
    if (v->kind == TM_STR) {
        *out = v->u.s;
        return true;
    }
    tm_sb b = { .r = r };
    tm_val s;
    if ((v->kind != TM_UNDEF && !tm_repr(r, v, tm_nowhere, &b)) || !tm_sb_take(&b, &s)) return false;
    *out = s.u.s;
    return true;
}

/* ---- JSON out ---- */
static bool newline(const tm_json *j, int level, tm_org org) {
    if (!j->indent) return true;
    if (!tm_sb_add(j->b, "\n", 1, org)) return false;
    while (level-- > 0)
        if (!tm_sb_add(j->b, j->indent, j->n_indent, org)) return false;
    return true;
}

static bool json_key(tm_run *r, const tm_val *k, const tm_json *j, tm_org org) {
    char buf[40], out[44];
    if (k->kind == TM_STR) return quoted(r, k->u.s, j->ascii ? 2 : 1, j->b);
    if (!scalar(k, buf))
        return tm_fail(r, HN_EPARSE, "tojson: a %s cannot be a key in JSON", tm_kind_name(k));
    const char *name = k->kind == TM_NONE ? "null" : k->kind != TM_BOOL ? buf : k->u.b ? "true" : "false";
    snprintf(out, sizeof out, "\"%s\"", name);
    return tm_sb_cstr(j->b, out, org);
}

static bool json_list(tm_run *r, const tm_list *l, const tm_json *j, int level) {
    if (!l->n) return tm_sb_cstr(j->b, "[]", l->org);
    if (!tm_sb_cstr(j->b, "[", l->org)) return false;
    for (int64_t i = 0; i < l->n; i++) {
        if (i && !tm_sb_add(j->b, j->comma, j->n_comma, l->org)) return false;
        if (!newline(j, level + 1, l->org) || !tm_json_dump(r, &l->v[i], j, level + 1)) return false;
    }
    return newline(j, level, l->org) && tm_sb_cstr(j->b, "]", l->org);
}

static bool json_dict(tm_run *r, const tm_dict *d, const tm_json *j, int level) {
    if (!d->n) return tm_sb_cstr(j->b, "{}", d->org);
    if (!tm_sb_cstr(j->b, "{", d->org)) return false;
    tm_val pairs = { 0 };
    if (j->sort && !tm_sorted_pairs(r, d, &pairs)) return false;
    for (int64_t i = 0; i < d->n; i++) {
        const tm_val *k = j->sort ? &pairs.u.l->v[i].u.l->v[0] : &d->k[i];
        const tm_val *v = j->sort ? &pairs.u.l->v[i].u.l->v[1] : &d->v[i];
        if (i && !tm_sb_add(j->b, j->comma, j->n_comma, d->org)) return false;
        if (!newline(j, level + 1, d->org) || !json_key(r, k, j, d->org) ||
            !tm_sb_add(j->b, j->colon, j->n_colon, d->org) || !tm_json_dump(r, v, j, level + 1))
            return false;
    }
    return newline(j, level, d->org) && tm_sb_cstr(j->b, "}", d->org);
}

bool tm_json_dump(tm_run *r, const tm_val *v, const tm_json *j, int level) {
    char buf[40];
    switch (v->kind) {
    case TM_NONE: return tm_sb_cstr(j->b, "null", j->org);
    case TM_BOOL: return tm_sb_cstr(j->b, v->u.b ? "true" : "false", j->org);
    case TM_FLOAT:
        if (!isfinite(v->u.f))
            return tm_sb_cstr(j->b, isnan(v->u.f) ? "NaN" : v->u.f > 0 ? "Infinity" : "-Infinity", j->org);
        /* fallthrough */
    case TM_INT: scalar(v, buf); return tm_sb_cstr(j->b, buf, j->org);
    case TM_STR: return quoted(r, v->u.s, j->ascii ? 2 : 1, j->b);
    case TM_LIST:
    case TM_TUPLE:
    case TM_DICT: {
        tm_json inner = *j; /* numbers have the origin of what holds them */
        inner.org = v->kind == TM_DICT ? v->u.d->org : v->u.l->org;
        if (!tm_enter(r)) return false;
        bool ok =
            v->kind == TM_DICT ? json_dict(r, v->u.d, &inner, level) : json_list(r, v->u.l, &inner, level);
        tm_leave(r);
        return ok;
    }
    case TM_UNDEF: return tm_fail(r, HN_EPARSE, "tojson: '%s' is undefined", v->u.name);
    default: return tm_fail(r, HN_EPARSE, "tojson: a %s is not JSON", tm_kind_name(v));
    }
}
