/* tmpl_str.c - strings that know where each byte comes from.
 *
 * A string is bytes and a list of segments, each with its origin; slices share both.  A long
 * concatenation stays a tree of halves (a rope) until its bytes are asked for in one piece, so
 * that a template which collects its output in a variable costs time linear in that output. */
#include "text/tmpl.h"

#include <string.h>
#include <utf8proc.h>

enum { JOIN_AT_ONCE = 128 }; /* bytes; shorter concatenations are copied */

const tm_org tm_nowhere = { .message = -1, .turn = -1 };

static bool same_org(const tm_org *a, const tm_org *b) {
    return a->message == b->message && a->turn == b->turn && a->line == b->line && a->field == b->field &&
           a->gen == b->gen;
}

/* ---- UTF-8 ---- */
int tm_utf8(const char *p, const char *end, int32_t *cp) {
    if (p < end && (unsigned char)*p < 0x80) {
        *cp = (unsigned char)*p;
        return 1;
    }
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)p, end - p, cp);
    if (n > 0) return (int)n;
    *cp = -1;
    return 1;
}

int64_t tm_count_chars(const char *p, size_t n) {
    int64_t chars = 0;
    for (size_t i = 0; i < n; i++) chars += ((unsigned char)p[i] & 0xc0) != 0x80;
    return chars;
}

bool tm_is_space(int32_t c) {
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
           c == 0x3000;
}

bool tm_is_word(int32_t cp) {
    utf8proc_category_t cat = utf8proc_category(cp);
    return (cat >= UTF8PROC_CATEGORY_LU && cat <= UTF8PROC_CATEGORY_LO) ||
           (cat >= UTF8PROC_CATEGORY_ND && cat <= UTF8PROC_CATEGORY_NO);
}

size_t tm_lspace(const char *p, size_t n) {
    size_t i = 0;
    for (int32_t cp; i < n;) {
        int len = tm_utf8(p + i, p + n, &cp);
        if (!tm_is_space(cp)) break;
        i += (size_t)len;
    }
    return i;
}

size_t tm_rspace(const char *p, size_t n) {
    size_t i = n;
    while (i) {
        size_t begin = i - 1;
        int32_t cp;
        while (begin && ((unsigned char)p[begin] & 0xc0) == 0x80) begin--;
        tm_utf8(p + begin, p + i, &cp);
        if (!tm_is_space(cp)) break;
        i = begin;
    }
    return n - i;
}

int64_t tm_find(const char *p, size_t n, const char *q, size_t m, size_t from) {
    if (from > n) return -1;
    if (!m) return (int64_t)from;
    const char *at = memmem(p + from, n - from, q, m);
    return at ? at - p : -1;
}

size_t tm_char_at(const tm_str *s, int64_t i) {
    if (i >= s->chars) return s->n;
    if ((size_t)s->chars == s->n) return (size_t)i;
    size_t at = 0;
    for (; i > 0; i--) do
            at++;
        while (at < s->n && ((unsigned char)s->p[at] & 0xc0) == 0x80);
    return at;
}

/* ---- making and cutting ---- */
tm_str *tm_str_new(tm_run *r, const char *p, size_t n, tm_org org) {
    tm_str *s = tm_get(r, sizeof *s);
    if (s) *s = (tm_str){ .p = p, .n = n, .chars = tm_count_chars(p, n), .org = org };
    return s;
}

bool tm_str_val(tm_run *r, const char *p, size_t n, tm_org org, tm_val *out) {
    tm_str *s = tm_str_new(r, p, n, org);
    *out = tm_of_str(s);
    return s;
}

tm_str *tm_str_mark(tm_run *r, tm_str *s, bool safe) {
    if (s->safe == safe) return s;
    tm_str *copy = tm_flat(r, s) ? tm_get(r, sizeof *copy) : NULL;
    if (!copy) return NULL;
    *copy = *s;
    copy->safe = safe;
    return copy;
}

/* The segment that holds byte i; there is one. */
static int64_t seg_at(const tm_str *s, size_t i) {
    int64_t lo = 0, hi = s->n_seg - 1;
    while (lo < hi) {
        int64_t mid = (lo + hi) / 2;
        if (s->seg[mid].end > i) hi = mid;
        else lo = mid + 1;
    }
    return lo;
}

tm_org tm_org_at(const tm_str *s, size_t byte) {
    while (!s->p) { /* down the tree of a rope */
        if (byte < s->left->n) s = s->left;
        else {
            byte -= s->left->n;
            s = s->right;
        }
    }
    return s->seg ? s->seg[seg_at(s, byte)].org : s->org;
}

tm_str *tm_str_sub(tm_run *r, tm_str *s, size_t begin, size_t end) {
    const char *p = tm_flat(r, s);
    if (!p) return NULL;
    if (begin == 0 && end == s->n) return s;
    tm_str *t = tm_str_new(r, p + begin, end > begin ? end - begin : 0, s->org);
    if (!t) return NULL;
    t->safe = s->safe;
    if (!s->seg || !t->n) return t;
    int64_t from = seg_at(s, begin), to = seg_at(s, end - 1);
    t->org = s->seg[from].org;
    if (from == to) return t;
    t->n_seg = to - from + 1;
    tm_seg *seg = tm_get(r, (size_t)t->n_seg * sizeof *seg);
    if (!seg) return NULL;
    for (int64_t i = 0; i < t->n_seg; i++)
        seg[i] = (tm_seg){ s->seg[from + i].end - begin, s->seg[from + i].org };
    seg[t->n_seg - 1].end = t->n;
    t->seg = seg;
    return t;
}

tm_str *tm_str_cat(tm_run *r, tm_str *a, tm_str *b) {
    if (!b->n && a->safe == b->safe) return a;
    if (!a->n && a->safe == b->safe) return b;
    tm_val v;
    if (a->n + b->n <= JOIN_AT_ONCE) {
        tm_sb sb = { .r = r };
        return tm_sb_str(&sb, a) && tm_sb_str(&sb, b) && tm_sb_take(&sb, &v) ? v.u.s : NULL;
    }
    if (b->n > SIZE_MAX / 2 - a->n) {
        tm_fail(r, HN_ERANGE, "a string is too long");
        return NULL;
    }
    tm_str *s = tm_get(r, sizeof *s);
    if (!s) return NULL;
    *s = (tm_str){ .n = a->n + b->n, .chars = a->chars + b->chars, .left = a, .right = b };
    s->depth = 1 + (a->depth > b->depth ? a->depth : b->depth);
    return s;
}

const char *tm_flat(tm_run *r, tm_str *s) {
    if (s->p) return s->p;
    tm_sb b = { .r = r };
    tm_val v;
    b.cap = s->n + 1;
    if (!(b.p = tm_get(r, b.cap)) || !tm_sb_str(&b, s) || !tm_sb_take(&b, &v)) return NULL;
    bool safe = s->safe;
    *s = *v.u.s;
    s->safe = safe;
    return s->p;
}

/* ---- building ---- */
static bool sb_room(tm_sb *b, size_t n) {
    if (b->bad) return false;
    if (n > SIZE_MAX / 4 - b->n) return !(b->bad = !tm_fail(b->r, HN_ERANGE, "a string is too long"));
    if (b->n + n + 1 <= b->cap) return true;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < b->n + n + 1) cap *= 2;
    char *p = tm_get(b->r, cap);
    if (!p) return !(b->bad = true);
    if (b->n) memcpy(p, b->p, b->n);
    b->p = p;
    b->cap = cap;
    return true;
}

static bool sb_seg(tm_sb *b, size_t end, const tm_org *org) {
    if (b->n_seg && same_org(&b->seg[b->n_seg - 1].org, org)) {
        b->seg[b->n_seg - 1].end = end;
        return true;
    }
    if (b->n_seg == b->cap_seg) {
        int64_t cap = b->cap_seg ? 2 * b->cap_seg : 4;
        tm_seg *seg = tm_get(b->r, (size_t)cap * sizeof *seg);
        if (!seg) return !(b->bad = true);
        if (b->n_seg) memcpy(seg, b->seg, (size_t)b->n_seg * sizeof *seg);
        b->seg = seg;
        b->cap_seg = cap;
    }
    b->seg[b->n_seg++] = (tm_seg){ end, *org };
    return true;
}

bool tm_sb_add(tm_sb *b, const char *p, size_t n, tm_org org) {
    if (!sb_room(b, n)) return false;
    if (!n) return true;
    memcpy(b->p + b->n, p, n);
    b->n += n;
    b->chars += tm_count_chars(p, n);
    return sb_seg(b, b->n, &org);
}

bool tm_sb_cstr(tm_sb *b, const char *p, tm_org org) { return tm_sb_add(b, p, strlen(p), org); }

static bool sb_leaf(tm_sb *b, const tm_str *s) {
    if (!s->seg) return tm_sb_add(b, s->p, s->n, s->org);
    size_t at = 0;
    for (int64_t i = 0; i < s->n_seg; at = s->seg[i++].end)
        if (!tm_sb_add(b, s->p + at, s->seg[i].end - at, s->seg[i].org)) return false;
    return true;
}

bool tm_sb_str(tm_sb *b, tm_str *s) {
    if (s->p) return sb_leaf(b, s);
    tm_str **todo = tm_get(b->r, ((size_t)s->depth + 1) * sizeof *todo);
    if (!todo) return !(b->bad = true);
    int64_t n = 0;
    for (todo[n++] = s; n;) {
        s = todo[--n];
        while (!s->p) {
            todo[n++] = s->right;
            s = s->left;
        }
        if (!sb_leaf(b, s)) return false;
    }
    return true;
}

bool tm_sb_take(tm_sb *b, tm_val *out) {
    if (!sb_room(b, 0)) return false;
    tm_str *s = tm_get(b->r, sizeof *s);
    if (!s) return false;
    b->p[b->n] = 0;
    *s = (tm_str){ .p = b->p, .n = b->n, .chars = b->chars, .org = b->n_seg ? b->seg[0].org : tm_nowhere };
    if (b->n_seg > 1) {
        s->seg = b->seg;
        s->n_seg = b->n_seg;
    }
    *out = tm_of_str(s);
    return true;
}
