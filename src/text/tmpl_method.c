/* tmpl_method.c - the methods of strings, dicts and lists.
 *
 * Whatever cuts or maps a string keeps the origin of every byte that survives. */
#include "text/tmpl.h"

#include <string.h>
#include <utf8proc.h>

/* The bytes of a string argument; NULL after recording that it is none. */
static const char *str_arg(tm_run *r, const tm_call *c, const tm_val *v, size_t *n) {
    if (v->kind != TM_STR) {
        tm_fail(r, HN_EPARSE, "%s() needs a string, not %s", c->fn->name, tm_kind_name(v));
        return NULL;
    }
    *n = v->u.s->n;
    return tm_flat(r, v->u.s);
}

static bool int_arg(tm_run *r, const tm_call *c, const tm_val *v, int64_t *i) {
    if (v->kind == TM_ABSENT || v->kind == TM_NONE) return true;
    if (v->kind != TM_INT && v->kind != TM_BOOL)
        return tm_fail(r, HN_EPARSE, "%s() needs an integer, not %s", c->fn->name, tm_kind_name(v));
    *i = v->kind == TM_BOOL ? v->u.b : v->u.i;
    return true;
}

static bool sub(tm_run *r, tm_str *s, size_t begin, size_t end, tm_val *out) {
    tm_str *t = tm_str_sub(r, s, begin, end);
    *out = tm_of_str(t);
    return t;
}

/* ---- lists that grow ---- */
static bool append(tm_run *r, tm_list *l, int64_t *cap, const tm_val *v) {
    if (l->n == *cap) {
        int64_t more = *cap ? 2 * *cap : 8;
        tm_val *grown = tm_get(r, (size_t)more * sizeof *grown);
        if (!grown) return false;
        if (l->n) memcpy(grown, l->v, (size_t)l->n * sizeof *grown);
        l->v = grown;
        *cap = more;
    }
    l->v[l->n++] = *v;
    return true;
}

static bool append_sub(tm_run *r, tm_list *l, int64_t *cap, tm_str *s, size_t begin, size_t end) {
    tm_val v;
    return sub(r, s, begin, end, &v) && append(r, l, cap, &v);
}

/* ---- strip ---- */
static bool in_set(const char *set, size_t n, const char *c, int len) {
    for (size_t i = 0; i < n;) {
        int32_t cp;
        int k = tm_utf8(set + i, set + n, &cp);
        if (k == len && !memcmp(set + i, c, (size_t)k)) return true;
        i += (size_t)k;
    }
    return false;
}

bool tm_strip(tm_run *r, const tm_call *c, tm_val *out) { /* fn->arg: 1 left, 2 right */
    const char *set = NULL, *p = tm_flat(r, c->self.u.s);
    size_t n_set = 0, begin = 0, end = c->self.u.s->n;
    bool given = c->a[0].kind != TM_ABSENT && c->a[0].kind != TM_NONE;
    if (!p || (given && !(set = str_arg(r, c, &c->a[0], &n_set))) || !tm_charge(r, end / 32)) return false;
    if (!set) {
        if (c->fn->arg & 1) begin = tm_lspace(p, end);
        if (c->fn->arg & 2) end -= tm_rspace(p + begin, end - begin);
        return sub(r, c->self.u.s, begin, end, out);
    }
    int32_t cp;
    for (int len; c->fn->arg & 1 && begin < end; begin += (size_t)len) {
        len = tm_utf8(p + begin, p + end, &cp);
        if (!in_set(set, n_set, p + begin, len)) break;
    }
    while (c->fn->arg & 2 && end > begin) {
        size_t at = end - 1;
        while (at > begin && ((unsigned char)p[at] & 0xc0) == 0x80) at--;
        if (!in_set(set, n_set, p + at, (int)(end - at))) break;
        end = at;
    }
    return sub(r, c->self.u.s, begin, end, out);
}

/* ---- split ---- */
static bool split_space(tm_run *r, tm_str *s, int64_t max, tm_list *l) {
    int64_t cap = 0;
    const char *p = s->p;
    size_t at = tm_lspace(p, s->n);
    while (at < s->n) {
        size_t end = at, space = 0;
        if (max >= 0 && l->n >= max) return append_sub(r, l, &cap, s, at, s->n);
        for (int32_t cp; end < s->n && !(space = tm_lspace(p + end, s->n - end));)
            end += (size_t)tm_utf8(p + end, p + s->n, &cp);
        if (!append_sub(r, l, &cap, s, at, end)) return false;
        at = end + space;
    }
    return true;
}

static void reverse(tm_list *l) {
    for (int64_t i = 0, k = l->n - 1; i < k; i++, k--) {
        tm_val v = l->v[i];
        l->v[i] = l->v[k];
        l->v[k] = v;
    }
}

static bool rsplit_space(tm_run *r, tm_str *s, int64_t max, tm_list *l) {
    int64_t cap = 0;
    size_t end = s->n - tm_rspace(s->p, s->n);
    bool ok = true;
    while (ok && end) {
        size_t at = end, space = 0;
        if (max >= 0 && l->n >= max) {
            ok = append_sub(r, l, &cap, s, 0, end);
            break;
        }
        while (at && !(space = tm_rspace(s->p, at))) do
                at--;
            while (at && ((unsigned char)s->p[at] & 0xc0) == 0x80);
        ok = append_sub(r, l, &cap, s, at, end);
        end = at - space;
    }
    reverse(l);
    return ok;
}

static bool split_at(tm_run *r, tm_str *s, const char *sep, size_t m, int64_t max, tm_list *l) {
    int64_t cap = 0, hit;
    size_t at = 0;
    while ((max < 0 || l->n < max) && (hit = tm_find(s->p, s->n, sep, m, at)) >= 0) {
        if (!append_sub(r, l, &cap, s, at, (size_t)hit)) return false;
        at = (size_t)hit + m;
    }
    return append_sub(r, l, &cap, s, at, s->n);
}

static int64_t rfind(const char *p, size_t n, const char *q, size_t m) {
    for (size_t i = n >= m ? n - m + 1 : 0; i > 0; i--)
        if (!memcmp(p + i - 1, q, m)) return (int64_t)i - 1;
    return -1;
}

static bool rsplit_at(tm_run *r, tm_str *s, const char *sep, size_t m, int64_t max, tm_list *l) {
    int64_t cap = 0, hit;
    size_t end = s->n;
    while ((max < 0 || l->n < max) && (hit = rfind(s->p, end, sep, m)) >= 0) {
        if (!append_sub(r, l, &cap, s, (size_t)hit + m, end)) return false;
        end = (size_t)hit;
    }
    bool ok = append_sub(r, l, &cap, s, 0, end);
    reverse(l);
    return ok;
}

static bool m_split(tm_run *r, const tm_call *c, tm_val *out) { /* fn->arg: from the right */
    tm_str *s = c->self.u.s;
    const char *p = tm_flat(r, s), *sep = NULL;
    size_t m = 0;
    int64_t max = -1;
    bool space = c->a[0].kind == TM_ABSENT || c->a[0].kind == TM_NONE;
    if (!p || (!space && !(sep = str_arg(r, c, &c->a[0], &m))) || !int_arg(r, c, &c->a[1], &max))
        return false;
    if (!space && !m) return tm_fail(r, HN_EPARSE, "%s() with an empty separator", c->fn->name);
    if (!tm_charge(r, s->n / 16) || !tm_list_new(r, TM_LIST, 0, out)) return false;
    if (space) return (c->fn->arg ? rsplit_space : split_space)(r, s, max, out->u.l);
    return (c->fn->arg ? rsplit_at : split_at)(r, s, sep, m, max, out->u.l);
}

/* The length of the line break at p (0: none): those of Python's splitlines. */
size_t tm_line_break(const char *p, size_t n) {
    int32_t cp;
    if (!n) return 0;
    if (n > 1 && p[0] == '\r' && p[1] == '\n') return 2;
    int len = tm_utf8(p, p + n, &cp);
    bool yes =
        (cp >= 10 && cp <= 13) || (cp >= 0x1c && cp <= 0x1e) || cp == 0x85 || cp == 0x2028 || cp == 0x2029;
    return yes ? (size_t)len : 0;
}

bool tm_lines(tm_run *r, tm_str *s, bool keep, tm_val *out) {
    int64_t cap = 0;
    if (!tm_flat(r, s) || !tm_list_new(r, TM_LIST, 0, out) || !tm_charge(r, s->n / 4)) return false;
    for (size_t at = 0; at < s->n;) {
        size_t end = at, nl = 0;
        while (end < s->n && !(nl = tm_line_break(s->p + end, s->n - end))) end++;
        if (!append_sub(r, out->u.l, &cap, s, at, end + (keep ? nl : 0))) return false;
        at = end + nl;
    }
    return true;
}

static bool m_splitlines(tm_run *r, const tm_call *c, tm_val *out) {
    int64_t keep = 0;
    if (c->a[0].kind != TM_ABSENT && c->a[0].kind != TM_INT && c->a[0].kind != TM_BOOL)
        return tm_fail(r, HN_EPARSE, "splitlines() needs a boolean, not %s", tm_kind_name(&c->a[0]));
    return int_arg(r, c, &c->a[0], &keep) && tm_lines(r, c->self.u.s, keep, out);
}

static bool m_partition(tm_run *r, const tm_call *c, tm_val *out) { /* fn->arg: from the right */
    tm_str *s = c->self.u.s;
    size_t m;
    const char *p = tm_flat(r, s), *sep = p ? str_arg(r, c, &c->a[0], &m) : NULL;
    if (!sep || !tm_list_new(r, TM_TUPLE, 3, out)) return false;
    if (!m) return tm_fail(r, HN_EPARSE, "%s() with an empty separator", c->fn->name);
    int64_t hit = c->fn->arg ? rfind(p, s->n, sep, m) : tm_find(p, s->n, sep, m, 0);
    size_t a = hit >= 0 ? (size_t)hit : c->fn->arg ? 0 : s->n, b = hit >= 0 ? a + m : a;
    tm_val *v = out->u.l->v;
    return tm_charge(r, s->n / 16) && sub(r, s, 0, a, &v[0]) && sub(r, s, a, b, &v[1]) &&
           sub(r, s, b, s->n, &v[2]);
}

/* ---- searching ---- */

/* Bytes [*from, *to) of the characters a[1]..a[2], as in s.find(x, start, end); *empty when start > end. */
static bool window(tm_run *r, const tm_call *c, size_t *from, size_t *to, bool *empty) {
    tm_str *s = c->self.u.s;
    int64_t start = 0, end = s->chars;
    if (!tm_flat(r, s) || !int_arg(r, c, &c->a[1], &start) || !int_arg(r, c, &c->a[2], &end)) return false;
    if (start < 0) start = start + s->chars < 0 ? 0 : start + s->chars;
    if (end < 0) end = end + s->chars < 0 ? 0 : end + s->chars;
    if (end > s->chars) end = s->chars;
    *empty = start > end;
    *from = tm_char_at(s, start);
    *to = tm_char_at(s, end);
    return tm_charge(r, s->n / 16);
}

static bool m_affix(tm_run *r, const tm_call *c, tm_val *out) { /* fn->arg: 1 endswith */
    size_t from, to, m;
    bool empty, yes = false;
    const tm_val *v = &c->a[0];
    int64_t n = 1;
    if (!window(r, c, &from, &to, &empty)) return false;
    if (c->a[0].kind == TM_TUPLE) {
        v = c->a[0].u.l->v;
        n = c->a[0].u.l->n;
    }
    for (int64_t i = 0; i < n && !yes; i++) {
        const char *q = str_arg(r, c, &v[i], &m);
        if (!q) return false;
        yes = !empty && m <= to - from && !memcmp(c->self.u.s->p + (c->fn->arg ? to - m : from), q, m);
    }
    *out = tm_bool(yes);
    return true;
}

static bool m_find(tm_run *r, const tm_call *c,
                   tm_val *out) { /* fn->arg: 1 from the right, 2 must be there */
    size_t from, to, m;
    bool empty;
    const char *q = str_arg(r, c, &c->a[0], &m);
    if (!q || !window(r, c, &from, &to, &empty)) return false;
    const char *p = c->self.u.s->p;
    int64_t hit = empty            ? -1
                  : c->fn->arg & 1 ? rfind(p + from, to - from, q, m)
                                   : tm_find(p + from, to - from, q, m, 0);
    if (hit < 0 && c->fn->arg & 2) return tm_fail(r, HN_EPARSE, "%s(): substring not found", c->fn->name);
    *out = tm_int(hit < 0 ? -1 : tm_count_chars(p, from + (size_t)hit));
    return true;
}

static bool m_count(tm_run *r, const tm_call *c, tm_val *out) {
    size_t from, to, m;
    bool empty;
    int64_t n = 0, hit;
    const char *q = str_arg(r, c, &c->a[0], &m);
    if (!q || !window(r, c, &from, &to, &empty)) return false;
    const char *p = c->self.u.s->p;
    if (!m) n = empty ? 0 : tm_count_chars(p + from, to - from) + 1;
    else
        for (; (hit = tm_find(p, to, q, m, from)) >= 0 && !empty; n++) from = (size_t)hit + m;
    *out = tm_int(n);
    return true;
}

/* ---- replace, join ---- */
bool tm_replace(tm_run *r, tm_str *s, tm_str *old, tm_str *new, int64_t max, tm_val *out) {
    const char *p = tm_flat(r, s), *q = p ? tm_flat(r, old) : NULL;
    tm_sb b = { .r = r };
    size_t at = 0;
    if (!q || !tm_charge(r, s->n / 16)) return false;
    for (int64_t i = 0; max < 0 || i < max; i++) {
        size_t from = at;
        int32_t cp;
        if (!old->n && i) { /* between all characters */
            if (at >= s->n) break;
            from += (size_t)tm_utf8(p + at, p + s->n, &cp);
        }
        int64_t hit = tm_find(p, s->n, q, old->n, from);
        if (hit < 0) break;
        tm_str *piece = tm_str_sub(r, s, at, (size_t)hit);
        if (!piece || !tm_sb_str(&b, piece) || !tm_sb_str(&b, new)) return false;
        at = (size_t)hit + old->n;
    }
    tm_str *rest = tm_str_sub(r, s, at, s->n);
    return rest && tm_sb_str(&b, rest) && tm_sb_take(&b, out);
}

/* Markup's own replace() and join() would escape what they insert. */
static bool plain(tm_run *r, const tm_call *c) {
    return !c->self.u.s->safe ||
           tm_fail(r, HN_EUNSUP, "%s() on the result of |safe is not supported", c->fn->name);
}

static bool m_replace(tm_run *r, const tm_call *c, tm_val *out) {
    size_t n;
    int64_t max = -1;
    if (!plain(r, c)) return false;
    if (!str_arg(r, c, &c->a[0], &n) || !str_arg(r, c, &c->a[1], &n) || !int_arg(r, c, &c->a[2], &max))
        return false;
    return tm_replace(r, c->self.u.s, c->a[0].u.s, c->a[1].u.s, max, out);
}

static bool m_join(tm_run *r, const tm_call *c, tm_val *out) {
    tm_val *items;
    int64_t n;
    tm_sb b = { .r = r };
    if (!plain(r, c) || !tm_items(r, &c->a[0], &items, &n)) return false;
    for (int64_t i = 0; i < n; i++) {
        if (items[i].kind != TM_STR)
            return tm_fail(r, HN_EPARSE, "join(): item %lld is a %s, not a string", (long long)i,
                           tm_kind_name(&items[i]));
        if ((i && !tm_sb_str(&b, c->self.u.s)) || !tm_sb_str(&b, items[i].u.s)) return false;
    }
    return tm_sb_take(&b, out);
}

static bool m_remove(tm_run *r, const tm_call *c, tm_val *out) { /* fn->arg: 1 suffix */
    size_t m, n = c->self.u.s->n;
    const char *p = tm_flat(r, c->self.u.s), *q = p ? str_arg(r, c, &c->a[0], &m) : NULL;
    if (!q) return false;
    bool hit = m <= n && m && !memcmp(p + (c->fn->arg ? n - m : 0), q, m);
    return sub(r, c->self.u.s, hit && !c->fn->arg ? m : 0, hit && c->fn->arg ? n - m : n, out);
}

/* ---- dicts and lists ---- */
static bool m_get(tm_run *r, const tm_call *c, tm_val *out) {
    bool in;
    if (!tm_contains(r, &c->self, &c->a[0], &in)) return false;
    if (in) *out = *tm_dict_find(r, c->self.u.d, &c->a[0]);
    else *out = c->a[1].kind != TM_ABSENT ? c->a[1] : tm_none();
    return !r->e->code;
}

bool tm_pairs(tm_run *r, const tm_dict *d, tm_val *out) {
    if (!tm_list_new(r, TM_LIST, d->n, out)) return false;
    out->u.l->org = d->org;
    for (int64_t i = 0; i < d->n; i++) {
        tm_val *pair = &out->u.l->v[i];
        if (!tm_list_new(r, TM_TUPLE, 2, pair)) return false;
        pair->u.l->org = d->org;
        pair->u.l->v[0] = d->k[i];
        pair->u.l->v[1] = d->v[i];
    }
    return true;
}

static bool m_view(tm_run *r, const tm_call *c, tm_val *out) { /* fn->arg: 0 keys, 1 values, 2 items */
    static const char *const label[] = { "dict_keys", "dict_values", "dict_items" };
    const tm_dict *d = c->self.u.d;
    if (c->fn->arg == 2) {
        if (!tm_pairs(r, d, out)) return false;
    } else {
        if (!tm_list_new(r, TM_VIEW, d->n, out)) return false;
        out->u.l->org = d->org;
        if (d->n) memcpy(out->u.l->v, c->fn->arg ? d->v : d->k, (size_t)d->n * sizeof(tm_val));
    }
    out->kind = TM_VIEW;
    out->u.l->label = label[c->fn->arg];
    return true;
}

static bool m_copy(tm_run *r, const tm_call *c,
                   tm_val *out) { /* values never change, so a copy is the value */
    (void)r;
    *out = c->self;
    return true;
}

static bool m_list_find(tm_run *r, const tm_call *c, tm_val *out) { /* fn->arg: 0 index, 1 count */
    const tm_list *l = c->self.u.l;
    int64_t n = 0;
    bool eq;
    for (int64_t i = 0; i < l->n; i++) {
        if (!tm_equal(r, &l->v[i], &c->a[0], &eq)) return false;
        if (eq && !c->fn->arg) {
            *out = tm_int(i);
            return true;
        }
        n += eq;
    }
    *out = tm_int(n);
    return c->fn->arg ? true : tm_fail(r, HN_EPARSE, "index(): the value is not in the list");
}

/* ---- loop ---- */
static bool m_cycle(tm_run *r, const tm_call *c, tm_val *out) {
    if (!c->raw->n) return tm_fail(r, HN_EPARSE, "loop.cycle() without items");
    *out = c->raw->v[c->self.u.loop->index0 % c->raw->n];
    return true;
}

static bool m_next(tm_run *r, const tm_call *c, tm_val *out) { /* fn->arg: 1 reset */
    tm_list *l = c->self.u.l;
    (void)r;
    *out = c->fn->arg ? tm_none() : l->v[l->at];
    l->at = c->fn->arg ? 0 : (l->at + 1) % l->n;
    return true;
}

static bool m_changed(tm_run *r, const tm_call *c, tm_val *out) {
    tm_loop *l = c->self.u.loop;
    tm_val now;
    bool eq = false;
    if (!tm_list_new(r, TM_TUPLE, c->raw->n, &now)) return false;
    if (c->raw->n) memcpy(now.u.l->v, c->raw->v, (size_t)c->raw->n * sizeof(tm_val));
    if (l->changed.kind != TM_ABSENT && !tm_equal(r, &l->changed, &now, &eq)) return false;
    l->changed = now;
    *out = tm_bool(!eq);
    return true;
}

const tm_fn *tm_method_find(tm_kind kind, const char *name) {
    static const tm_fn str[] = { { "strip", "chars", 0, tm_strip, 3 },
                                 { "lstrip", "chars", 0, tm_strip, 1 },
                                 { "rstrip", "chars", 0, tm_strip, 2 },
                                 { "split", "sep maxsplit", 0, m_split, 0 },
                                 { "rsplit", "sep maxsplit", 0, m_split, 1 },
                                 { "splitlines", "keepends", 0, m_splitlines, 0 },
                                 { "partition", "sep", 1, m_partition, 0 },
                                 { "rpartition", "sep", 1, m_partition, 1 },
                                 { "startswith", "prefix start end", 1, m_affix, 0 },
                                 { "endswith", "suffix start end", 1, m_affix, 1 },
                                 { "find", "sub start end", 1, m_find, 0 },
                                 { "rfind", "sub start end", 1, m_find, 1 },
                                 { "index", "sub start end", 1, m_find, 2 },
                                 { "rindex", "sub start end", 1, m_find, 3 },
                                 { "count", "sub start end", 1, m_count, 0 },
                                 { "replace", "old new count", 2, m_replace, 0 },
                                 { "join", "iterable", 1, m_join, 0 },
                                 { "removeprefix", "prefix", 1, m_remove, 0 },
                                 { "removesuffix", "suffix", 1, m_remove, 1 },
                                 { "format", "*", 0, tm_method_format, 0 },
                                 { "upper", "", 0, tm_method_case, TM_UPPER },
                                 { "lower", "", 0, tm_method_case, TM_LOWER },
                                 { "title", "", 0, tm_method_case, TM_TITLE_WORDS },
                                 { "capitalize", "", 0, tm_method_case, TM_CAPITALIZE },
                                 { "isalpha", "", 0, tm_method_class, TM_IS_ALPHA },
                                 { "isalnum", "", 0, tm_method_class, TM_IS_ALNUM },
                                 { "isdigit", "", 0, tm_method_class, TM_IS_DIGIT },
                                 { "isdecimal", "", 0, tm_method_class, TM_IS_DECIMAL },
                                 { "isnumeric", "", 0, tm_method_class, TM_IS_NUMERIC },
                                 { "isspace", "", 0, tm_method_class, TM_IS_SPACE },
                                 { "isascii", "", 0, tm_method_class, TM_IS_ASCII },
                                 { "isprintable", "", 0, tm_method_class, TM_IS_PRINTABLE },
                                 { "istitle", "", 0, tm_method_is_title, 0 },
                                 { "isidentifier", "", 0, tm_method_is_identifier, 0 },
                                 { "swapcase", "", 0, tm_method_case, TM_SWAP },
                                 { "casefold", "", 0, tm_method_case, TM_FOLD },
                                 { "center", "width fillchar", 1, tm_method_pad, 0 },
                                 { "ljust", "width fillchar", 1, tm_method_pad, 1 },
                                 { "rjust", "width fillchar", 1, tm_method_pad, 2 },
                                 { "zfill", "width", 1, tm_method_zfill, 0 },
                                 { "expandtabs", "tabsize", 0, tm_method_tabs, 0 },
                                 { "format_map", "mapping", 1, tm_method_format, 1 },
                                 { "islower", "", 0, tm_method_is_case, 0 },
                                 { "isupper", "", 0, tm_method_is_case, 1 } };
    static const tm_fn dict[] = { { "get", "key default", 1, m_get, 0 },
                                  { "keys", "", 0, m_view, 0 },
                                  { "values", "", 0, m_view, 1 },
                                  { "items", "", 0, m_view, 2 },
                                  { "copy", "", 0, m_copy, 0 } };
    static const tm_fn list[] = { { "index", "value", 1, m_list_find, 0 },
                                  { "count", "value", 1, m_list_find, 1 },
                                  { "copy", "", 0, m_copy, 0 } };
    static const tm_fn cycler[] = { { "next", "", 0, m_next, 0 }, { "reset", "", 0, m_next, 1 } };
    static const tm_fn loop[] = { { "cycle", "*", 0, m_cycle, 0 }, { "changed", "*", 0, m_changed, 0 } };
    static const struct {
        const tm_fn *v;
        size_t n;
    } tables[TM_METHOD + 1] = { [TM_STR] = { str, sizeof str / sizeof *str },
                                [TM_DICT] = { dict, sizeof dict / sizeof *dict },
                                [TM_LIST] = { list, 3 },
                                [TM_TUPLE] = { list, 2 },
                                [TM_RANGE] = { list, 2 },
                                [TM_LOOP] = { loop, 2 },
                                [TM_CYCLER] = { cycler, 2 } };
    for (size_t i = 0; i < tables[kind].n; i++)
        if (!strcmp(tables[kind].v[i].name, name)) return &tables[kind].v[i];
    return NULL;
}
