/* tok_norm.c - Unicode normalization (UAX #15) that remembers where every character came from.
 *
 * utf8proc knows the characters (decompositions, combining classes, which two make one); the walk is
 * ours because a token must know its bytes in the source, and because the ordering of marks must stay
 * O(n log n) on a text of nothing but marks. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "text/tok.h"
#include "text/utf8.h"

/* A decomposed character, the source bytes it stands for, and its place (to sort stably). */
typedef struct tok_cp {
    int32_t cp, ccc, lo, hi;
    int64_t place;
} tok_cp;

/* Characters that every form leaves alone and that never join with the one before: only stretches with
 * others need work. */
static bool inert(int32_t cp, const tok_step *p) {
    if (cp < 0x80) return true;
    if (!p->compose) return false;
    if (p->compat) return cp < 0xA0 || (cp >= 0x4E00 && cp <= 0x9FFF);
    return cp < 0x300 || (cp >= 0x3040 && cp <= 0x3098) || (cp >= 0x309B && cp <= 0x9FFF) ||
           (cp >= 0x1F300 && cp <= 0x1FAFF);
}

static int decompose(tok_work *w, bool compat, int32_t cp, hn_cover at, int64_t *n) {
    utf8proc_int32_t part[32]; /* the longest decomposition has 18 */
    int bound = 0;
    int how = UTF8PROC_DECOMPOSE | (compat ? UTF8PROC_COMPAT : 0);
    int m = (int)utf8proc_decompose_char(cp, part, 32, (utf8proc_option_t)how, &bound);
    if (m < 0 || m > 32 || hn_uni_after9(cp)) part[0] = cp, m = 1;
    if (hn_grow(&w->cp, &w->cap_cp, *n + m, sizeof *w->cp)) return HN_ENOMEM;
    for (int i = 0; i < m; i++) {
        int ccc = utf8proc_get_property(part[i])->combining_class;
        if (ccc && hn_uni_after9(part[i])) ccc = 0;
        w->cp[*n] = (tok_cp){ .cp = part[i], .ccc = ccc, .lo = at.begin, .hi = at.end, .place = *n };
        ++*n;
    }
    return HN_OK;
}

static int by_class(const void *a, const void *b) {
    const tok_cp *x = a, *y = b;
    if (x->ccc != y->ccc) return x->ccc < y->ccc ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

/* Runs of marks in the order of their classes; a run that changed stands for its source as a whole. */
static void order(tok_cp *c, int64_t n) {
    for (int64_t i = 0, j; i < n; i = j) {
        bool sorted = true;
        int32_t lo = c[i].lo, hi = c[i].hi;
        for (j = i + 1; c[i].ccc && j < n && c[j].ccc; j++) {
            sorted = sorted && c[j - 1].ccc <= c[j].ccc;
            lo = c[j].lo < lo ? c[j].lo : lo;
            hi = c[j].hi > hi ? c[j].hi : hi;
        }
        if (sorted) continue;
        qsort(c + i, (size_t)(j - i), sizeof *c, by_class);
        for (int64_t k = i; k < j; k++) {
            c[k].lo = lo;
            c[k].hi = hi;
        }
    }
}

/* Some versions of utf8proc take U+11A7, which is no trailing jamo, for an empty one. */
static bool join(int32_t a, int32_t b, int32_t *ab) {
    if (b == 0x11A7) return false;
    utf8proc_int32_t two[3] = { a, b };
    if (utf8proc_normalize_utf32(two, 2, UTF8PROC_STABLE | UTF8PROC_COMPOSE) != 1) return false;
    *ab = two[0];
    return !hn_uni_after9(*ab);
}

/* UAX #15, D117: a character joins the last starter unless one between them blocks it. */
static int64_t compose(tok_cp *c, int64_t n) {
    int64_t starter = -1, m = 0;
    int last = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t ab;
        bool near = starter >= 0 && (m == starter + 1 || last < c[i].ccc);
        if (near && join(c[starter].cp, c[i].cp, &ab)) {
            c[starter].cp = ab;
            if (c[i].lo < c[starter].lo) c[starter].lo = c[i].lo;
            if (c[i].hi > c[starter].hi) c[starter].hi = c[i].hi;
            continue;
        }
        c[m] = c[i];
        if (!c[m].ccc) starter = m;
        last = c[m++].ccc;
    }
    return m;
}

static int stretch(tok_work *w, const tok_step *p, tok_view v, tok_draft *d) {
    int64_t n = 0;
    int rc;
    for (size_t i = 0; i < v.n;) {
        int32_t cp;
        int len = hn_utf8_get(v.s + i, v.n - i, &cp);
        hn_cover at = w->map ? tok_cover(v, i, i + (size_t)len) : (hn_cover){ 0, 0 };
        if ((rc = decompose(w, p->compat, cp, at, &n))) return rc;
        i += (size_t)len;
    }
    order(w->cp, n);
    if (p->compose) n = compose(w->cp, n);
    for (int64_t i = 0; i < n; i++) {
        char s[4];
        int len = hn_utf8_put(s, w->cp[i].cp);
        if ((rc = tok_draft_add(d, w->map, s, (size_t)len, (hn_cover){ w->cp[i].lo, w->cp[i].hi })))
            return rc;
    }
    return HN_OK;
}

/* Walks v; a stretch to work on begins one inert character before the first that is not. */
int tok_normal(tok_work *w, const tok_step *p, tok_view v, tok_draft *d) {
    size_t done = 0, before = 0, i = 0;
    bool in = false, any = false;
    int rc;
    while (i <= v.n) {
        int32_t cp = 0;
        int len = i < v.n ? hn_utf8_get(v.s + i, v.n - i, &cp) : -1;
        if (len > 0 && !inert(cp, p)) {
            if (!in && (rc = tok_draft_copy(d, w->map, tok_cut(v, done, before)))) return rc;
            if (!in) done = before;
            in = any = true;
            i += (size_t)len;
            continue;
        }
        if (in) {
            if ((rc = stretch(w, p, tok_cut(v, done, i), d))) return rc;
            done = i;
            in = false;
        }
        before = len > 0 ? i : i + (size_t)-len; /* no character joins with bytes that are not UTF-8 */
        i += (size_t)(len > 0 ? len : -len);
    }
    if (!any) return 1;
    return tok_draft_copy(d, w->map, tok_cut(v, done, v.n));
}
