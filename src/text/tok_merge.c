/* tok_merge.c - byte-pair merging of one piece of text.
 *
 * The pair of lowest rank is joined first, the leftmost of equals, until none is left.  A short piece
 * looks at all its pairs each time; a long one keeps them in a heap, so that a piece of n symbols
 * costs O(n log n) whatever is in it. */
#include <string.h>

#include "text/tok.h"
#include "text/utf8.h"

enum { SHORT = 40 };

/* ---- the symbols a piece begins as ---- */
/* The unknown token waits, so that it can take in the next unknown character (fuse_unk). */
typedef struct fill {
    tok_sym *sym;
    int32_t n;
    tok_sym wait; /* id -1: none */
} fill;

static void put(fill *f, int32_t id, size_t begin, size_t end) {
    f->sym[f->n++] = (tok_sym){ .id = id, .begin = (int32_t)begin, .end = (int32_t)end };
}

static void flush(fill *f) {
    if (f->wait.id < 0) return;
    f->sym[f->n++] = f->wait;
    f->wait.id = -1;
}

static void unknown(tok_work *w, fill *f, size_t begin, size_t end) {
    if (w->t->unk < 0) {
        w->out->dropped += (int64_t)(end - begin);
        return;
    }
    if (f->wait.id >= 0 && w->t->fuse_unk) {
        f->wait.end = (int32_t)end;
        return;
    }
    flush(f);
    f->wait = (tok_sym){ .id = w->t->unk, .begin = (int32_t)begin, .end = (int32_t)end };
}

static bool fall_back(const hn_tok *t, const char *s, fill *f, size_t begin, size_t end) {
    if (!t->byte_fallback) return false;
    for (size_t i = begin; i < end; i++)
        if (t->byte_id[(unsigned char)s[i]] < 0) return false;
    /* the waiting unknown token stays behind these: so does the reference library's */
    for (size_t i = begin; i < end; i++) put(f, t->byte_id[(unsigned char)s[i]], i, i + 1);
    return true;
}

static int32_t symbols(tok_work *w, tok_view v, tok_sym *sym) {
    const hn_tok *t = w->t;
    fill f = { .sym = sym, .wait.id = -1 };
    for (size_t i = 0, j; i < v.n; i = j) {
        int32_t cp, id;
        int len = t->byte_level ? 1 : hn_utf8_get(v.s + i, v.n - i, &cp);
        j = i + (len > 0 ? (size_t)len : 1);
        id = t->byte_level ? t->byte_id[(unsigned char)v.s[i]] : tok_map_get(&t->by_text, v.s + i, j - i);
        if (id >= 0) {
            flush(&f);
            put(&f, id, i, j);
        } else if (!fall_back(t, v.s, &f, i, j)) unknown(w, &f, i, j);
    }
    flush(&f);
    return f.n;
}

/* ---- merging ---- */
static int32_t merge_short(const tok_pairs *p, tok_sym *s, int32_t n) {
    const tok_pair *due[SHORT];
    for (int32_t i = 0; i + 1 < n; i++) due[i] = tok_pairs_get(p, s[i].id, s[i + 1].id);
    while (n > 1) {
        int32_t best = -1, rank = INT32_MAX;
        for (int32_t i = 0; i + 1 < n; i++)
            if (due[i] && due[i]->rank < rank) rank = due[best = i]->rank;
        if (best < 0) break;
        s[best].id = due[best]->id;
        s[best].end = s[best + 1].end;
        n--;
        memmove(&s[best + 1], &s[best + 2], (size_t)(n - best - 1) * sizeof *s);
        memmove(&due[best], &due[best + 1], (size_t)(n - best - 1) * sizeof *due);
        if (best > 0) due[best - 1] = tok_pairs_get(p, s[best - 1].id, s[best].id);
        if (best + 1 < n) due[best] = tok_pairs_get(p, s[best].id, s[best + 1].id);
    }
    return n;
}

static int heap_add(tok_work *w, int32_t at) {
    const tok_sym *s = w->sym;
    if (at < 0 || s[at].next < 0) return HN_OK;
    const tok_pair *p = tok_pairs_get(&w->t->pairs, s[at].id, s[s[at].next].id);
    if (!p) return HN_OK;
    if (hn_grow(&w->due, &w->cap_due, w->n_due + 1, sizeof *w->due)) return HN_ENOMEM;
    tok_due new = { .key = (uint64_t)(uint32_t)p->rank << 32 | (uint32_t)at, .id = p->id };
    int64_t i = w->n_due++;
    for (int64_t up; i > 0 && w->due[up = (i - 1) / 2].key > new.key; i = up) w->due[i] = w->due[up];
    w->due[i] = new;
    return HN_OK;
}

static tok_due heap_take(tok_work *w) {
    tok_due top = w->due[0], last = w->due[--w->n_due];
    int64_t i = 0, n = w->n_due;
    for (int64_t c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && w->due[c + 1].key < w->due[c].key) c++;
        if (w->due[c].key >= last.key) break;
        w->due[i] = w->due[c];
    }
    w->due[i] = last;
    return top;
}

/* A symbol that was taken in by its left neighbour has id -1.  An entry of the heap is out of date when
 * the pair at its place makes another token now: pairs at a place only grow, so the token tells. */
static int merge_long(tok_work *w, int32_t *n) {
    tok_sym *s = w->sym;
    w->n_due = 0;
    for (int32_t i = 0; i < *n; i++) {
        s[i].prev = i - 1;
        s[i].next = i + 1 < *n ? i + 1 : -1;
    }
    for (int32_t i = 0; i < *n; i++)
        if (heap_add(w, i)) return HN_ENOMEM;
    while (w->n_due) {
        tok_due d = heap_take(w);
        int32_t at = (int32_t)(uint32_t)d.key, right = s[at].next;
        if (s[at].id < 0 || right < 0) continue;
        const tok_pair *p = tok_pairs_get(&w->t->pairs, s[at].id, s[right].id);
        if (!p || p->id != d.id) continue;
        s[at].id = d.id;
        s[at].end = s[right].end;
        s[at].next = s[right].next;
        s[right].id = -1;
        if (s[at].next >= 0) s[s[at].next].prev = at;
        if (heap_add(w, s[at].prev) || heap_add(w, at)) return HN_ENOMEM;
    }
    int32_t m = 0;
    for (int32_t i = 0; i >= 0; i = s[i].next)
        s[m++] = (tok_sym){ s[i].id, s[i].begin, s[i].end, 0, s[i].next };
    *n = m;
    return HN_OK;
}

static int add(tok_work *w, tok_view v, int32_t id, size_t begin, size_t end) {
    hn_cover c = w->map ? tok_cover(v, begin, end) : (hn_cover){ 0, 0 };
    return hn_ids_add(w->out, id, c.begin, c.end);
}

int tok_merge(tok_work *w, tok_view v) {
    const hn_tok *t = w->t;
    tok_sym few[SHORT], *s = few;
    if (t->byte_level || t->ignore_merges) {
        int32_t id = tok_map_get(&t->by_text, v.s, v.n);
        if (id >= 0 && (t->ignore_merges || (t->flag[id] & TOK_WHOLE))) return add(w, v, id, 0, v.n);
    }
    if (v.n > SHORT) {
        if (hn_grow(&w->sym, &w->cap_sym, (int64_t)v.n, sizeof *w->sym)) return HN_ENOMEM;
        s = w->sym;
    }
    int32_t n = symbols(w, v, s);
    if (n > SHORT) {
        if (merge_long(w, &n)) return HN_ENOMEM;
    } else n = merge_short(&t->pairs, s, n);
    for (int32_t i = 0; i < n; i++)
        if (add(w, v, s[i].id, (size_t)s[i].begin, (size_t)s[i].end)) return HN_ENOMEM;
    return HN_OK;
}
