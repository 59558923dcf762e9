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

/* SentencePiece merges characters it does not know as well, and asks afterwards. */
static int32_t sp_symbols(const hn_tok *t, tok_view v, tok_sym *sym) {
    int32_t n = 0;
    for (size_t i = 0, len = 0; i < v.n; i += len) {
        int32_t cp, id = -1;
        if (t->user.n && t->user.first[(unsigned char)v.s[i]])
            id = tok_trie_longest(&t->user, v.s + i, v.n - i, &len);
        if (id < 0) {
            int k = hn_utf8_get(v.s + i, v.n - i, &cp);
            len = k > 0 ? (size_t)k : 1;
            id = tok_map_get(&t->by_text, v.s + i, len);
        }
        sym[n++] = (tok_sym){ .id = id < 0 ? t->unk : id, .begin = (int32_t)i, .end = (int32_t)(i + len) };
    }
    return n;
}

/* ---- merging ---- */
typedef struct join {
    int32_t rank, id; /* INT32_MAX: these two are not joined */
} join;

static join sp_join(const hn_tok *t, tok_view v, const tok_sym *a, const tok_sym *b) {
    join none = { INT32_MAX, -1 };
    if ((t->flag[a->id] | t->flag[b->id]) & TOK_USER || b->end - a->begin > t->longest) return none;
    int32_t id = tok_map_get(&t->by_text, v.s + a->begin, (size_t)(b->end - a->begin));
    return id < 0 ? none : (join){ t->rank[id], id };
}

static join join_of(const hn_tok *t, tok_view v, const tok_sym *a, const tok_sym *b) {
    if (t->sp) return sp_join(t, v, a, b);
    const tok_pair *p = tok_pairs_get(&t->pairs, a->id, b->id);
    return p ? (join){ p->rank, p->id } : (join){ INT32_MAX, -1 };
}

static int32_t merge_short(const hn_tok *t, tok_view v, tok_sym *s, int32_t n) {
    join due[SHORT];
    for (int32_t i = 0; i + 1 < n; i++) due[i] = join_of(t, v, &s[i], &s[i + 1]);
    while (n > 1) {
        int32_t best = -1, rank = INT32_MAX;
        for (int32_t i = 0; i + 1 < n; i++)
            if (due[i].rank < rank) rank = due[best = i].rank;
        if (best < 0) break;
        s[best].id = due[best].id;
        s[best].end = s[best + 1].end;
        n--;
        memmove(&s[best + 1], &s[best + 2], (size_t)(n - best - 1) * sizeof *s);
        memmove(&due[best], &due[best + 1], (size_t)(n - best - 1) * sizeof *due);
        if (best > 0) due[best - 1] = join_of(t, v, &s[best - 1], &s[best]);
        if (best + 1 < n) due[best] = join_of(t, v, &s[best], &s[best + 1]);
    }
    return n;
}

static int heap_add(tok_work *w, tok_view v, int32_t at) {
    const tok_sym *s = w->sym;
    if (at < 0 || s[at].next < 0) return HN_OK;
    join j = join_of(w->t, v, &s[at], &s[s[at].next]);
    if (j.id < 0) return HN_OK;
    if (hn_grow(&w->due, &w->cap_due, w->n_due + 1, sizeof *w->due)) return HN_ENOMEM;
    tok_due new = { .key = (uint64_t)(uint32_t)j.rank << 32 | (uint32_t)at, .id = j.id };
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
static int merge_long(tok_work *w, tok_view v, int32_t *n) {
    tok_sym *s = w->sym;
    w->n_due = 0;
    for (int32_t i = 0; i < *n; i++) {
        s[i].prev = i - 1;
        s[i].next = i + 1 < *n ? i + 1 : -1;
    }
    for (int32_t i = 0; i < *n; i++)
        if (heap_add(w, v, i)) return HN_ENOMEM;
    while (w->n_due) {
        tok_due d = heap_take(w);
        int32_t at = (int32_t)(uint32_t)d.key, right = s[at].next;
        if (s[at].id < 0 || right < 0) continue;
        if (join_of(w->t, v, &s[at], &s[right]).id != d.id) continue;
        s[at].id = d.id;
        s[at].end = s[right].end;
        s[at].next = s[right].next;
        s[right].id = -1;
        if (s[at].next >= 0) s[s[at].next].prev = at;
        if (heap_add(w, v, s[at].prev) || heap_add(w, v, at)) return HN_ENOMEM;
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

/* Unknown characters become bytes, or, one after the other, one unknown token. */
int tok_emit(tok_work *w, tok_view v, tok_sym *s, int32_t n) {
    const hn_tok *t = w->t;
    for (int32_t i = 0, j; i < n; i = j) {
        int32_t id = s[i].id;
        for (j = i + 1; id == t->unk && j < n && s[j].id == t->unk; j++) s[i].end = s[j].end;
        size_t begin = (size_t)s[i].begin, end = (size_t)s[i].end;
        bool bytes = id == t->unk && t->byte_fallback;
        for (size_t k = begin; bytes && k < end; k++) bytes = t->byte_id[(unsigned char)v.s[k]] >= 0;
        if (!bytes && add(w, v, id, begin, end)) return HN_ENOMEM;
        for (size_t k = begin; bytes && k < end; k++)
            if (add(w, v, t->byte_id[(unsigned char)v.s[k]], k, k + 1)) return HN_ENOMEM;
    }
    return HN_OK;
}

static int merge_piece(tok_work *w, tok_view v) {
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
    int32_t n = t->sp ? sp_symbols(t, v, s) : symbols(w, v, s);
    if (n > SHORT) {
        if (merge_long(w, v, &n)) return HN_ENOMEM;
    } else n = merge_short(t, v, s, n);
    if (t->sp) return tok_emit(w, v, s, n);
    for (int32_t i = 0; i < n; i++)
        if (add(w, v, s[i].id, (size_t)s[i].begin, (size_t)s[i].end)) return HN_ENOMEM;
    return HN_OK;
}

/* Words that no piece joins are merged one by one. */
int tok_merge(tok_work *w, tok_view v) {
    if (w->t->unigram) return tok_unigram(w, v);
    if (!w->t->cut_marks) return merge_piece(w, v);
    size_t done = 0, i = 0;
    int rc = HN_OK;
    while (!rc && i < v.n) {
        const char *at = v.n - i > 3 ? memmem(v.s + i + 1, v.n - i - 1, "\xE2\x96\x81", 3) : NULL;
        size_t next = at ? (size_t)(at - v.s) : v.n;
        bool mark = next >= 3 && !memcmp(v.s + next - 3, "\xE2\x96\x81", 3);
        i = next;
        if (mark && at) continue;
        rc = merge_piece(w, tok_cut(v, done, next));
        done = next;
    }
    return rc;
}
