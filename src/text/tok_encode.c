/* tok_encode.c - the way of a text through the steps of a tokenizer.
 *
 * A view goes depth first: a step that cuts calls the rest of the way for each part, a step that
 * changes text writes the new text into its own draft and goes on with that.  So no list of pieces is
 * ever held, and a text of any length needs little more than itself. */
#include <string.h>

#include "text/tok.h"
#include "text/utf8.h"

/* ---- views and drafts ---- */
tok_view tok_cut(tok_view v, size_t begin, size_t end) {
    v.s += begin;
    v.n = end - begin;
    v.at += (int64_t)begin;
    if (v.lo) {
        v.lo += begin;
        v.hi += begin;
    }
    return v;
}

hn_cover tok_cover(tok_view v, size_t begin, size_t end) {
    if (!v.lo) return (hn_cover){ (int32_t)(v.at + (int64_t)begin), (int32_t)(v.at + (int64_t)end) };
    return (hn_cover){ v.lo[begin], v.hi[end - 1] };
}

static int draft_room(tok_draft *d, bool map, size_t n) {
    int64_t need = d->n + (int64_t)n;
    if (need > INT32_MAX) return HN_ERANGE;
    if (hn_grow(&d->s, &d->cap_s, need, 1)) return HN_ENOMEM;
    if (map && (hn_grow(&d->lo, &d->cap_lo, need, sizeof *d->lo) ||
                hn_grow(&d->hi, &d->cap_hi, need, sizeof *d->hi)))
        return HN_ENOMEM;
    return HN_OK;
}

int tok_draft_add(tok_draft *d, bool map, const char *s, size_t n, hn_cover at) {
    int rc = draft_room(d, map, n);
    if (rc || !n) return rc;
    memcpy(d->s + d->n, s, n);
    for (size_t i = 0; map && i < n; i++) {
        d->lo[d->n + (int64_t)i] = at.begin;
        d->hi[d->n + (int64_t)i] = at.end;
    }
    d->n += (int64_t)n;
    return HN_OK;
}

int tok_draft_copy(tok_draft *d, bool map, tok_view v) {
    int rc = draft_room(d, map, v.n);
    if (rc || !v.n) return rc;
    memcpy(d->s + d->n, v.s, v.n);
    for (size_t i = 0; map && i < v.n; i++) {
        hn_cover c = tok_cover(v, i, i + 1);
        d->lo[d->n + (int64_t)i] = c.begin;
        d->hi[d->n + (int64_t)i] = c.end;
    }
    d->n += (int64_t)v.n;
    return HN_OK;
}

static tok_view drafted(const tok_draft *d, bool map, tok_view v) {
    return (tok_view){ d->s, (size_t)d->n, v.at, map ? d->lo : NULL, map ? d->hi : NULL };
}

/* ---- the steps that change text ---- */
static int replace(tok_work *w, const tok_step *p, tok_view v, tok_draft *d) {
    size_t at = 0, b, e;
    int rc;
    while ((rc = tok_pattern_next(w, &p->pattern, v, at, &b, &e)) > 0) {
        if ((rc = tok_draft_copy(d, w->map, tok_cut(v, at, b))) ||
            (rc = tok_draft_add(d, w->map, p->text.s, (size_t)p->text.n, tok_cover(v, b, e))))
            return rc;
        at = e;
    }
    if (!at) return rc ? rc : 1;
    return rc ? rc : tok_draft_copy(d, w->map, tok_cut(v, at, v.n));
}

static int prepend(tok_work *w, const tok_step *p, tok_view v, tok_draft *d) {
    size_t n = (size_t)p->text.n;
    if (p->unless && v.n >= n && !memcmp(v.s, p->text.s, n)) return 1;
    if (p->at_start && v.at != 0) return 1;
    int32_t from = tok_cover(v, 0, 1).begin;
    int rc = tok_draft_add(d, w->map, p->text.s, n, (hn_cover){ from, from });
    return rc ? rc : tok_draft_copy(d, w->map, v);
}

/* ---- added tokens ---- */
/* What a found token takes with it, as the flags say; false: it is not a word of its own. */
static bool widen(const tok_added *a, tok_view v, size_t done, size_t *begin, size_t *end) {
    int32_t cp;
    if (a->single_word) {
        size_t back = *begin ? hn_utf8_back(v.s, *begin) : 0;
        if (*begin && hn_utf8_get(v.s + back, *begin - back, &cp) > 0 && hn_uni_word(cp)) return false;
        if (*end < v.n && hn_utf8_get(v.s + *end, v.n - *end, &cp) > 0 && hn_uni_word(cp)) return false;
    }
    while (a->lstrip && *begin > done) {
        size_t back = hn_utf8_back(v.s, *begin);
        if (hn_utf8_get(v.s + back, *begin - back, &cp) < 0 || !hn_uni_space(cp)) break;
        *begin = back;
    }
    while (a->rstrip && *end < v.n) {
        int len = hn_utf8_get(v.s + *end, v.n - *end, &cp);
        if (len < 0 || !hn_uni_space(cp)) break;
        *end += (size_t)len;
    }
    return true;
}

/* Cuts added tokens out of v and sends the rest on to step k. */
static int cut_added(tok_work *w, const tok_trie *trie, int k, tok_view v) {
    size_t done = 0, i = 0, len = 0;
    int rc;
    while (i < v.n) {
        int32_t a = trie->first[(unsigned char)v.s[i]] ? tok_trie_longest(trie, v.s + i, v.n - i, &len) : -1;
        if (a < 0) {
            i++;
            continue;
        }
        const tok_added *add = &w->t->added[a];
        size_t b = i, e = i += len;
        if (!widen(add, v, done, &b, &e)) continue;
        if (done < b && (rc = tok_run(w, k, tok_cut(v, done, b)))) return rc;
        hn_cover c = w->map ? tok_cover(v, b, e) : (hn_cover){ 0, 0 };
        if (hn_ids_add(w->out, add->id, c.begin, c.end)) return HN_ENOMEM;
        done = e;
    }
    return done < v.n ? tok_run(w, k, tok_cut(v, done, v.n)) : HN_OK;
}

/* ---- the way ---- */
int tok_change(tok_work *w, int k, tok_view *v) {
    const tok_step *p = &w->t->step[k];
    tok_draft *d = &w->draft[k];
    int rc;
    d->n = 0;
    if (p->kind == TOK_REPLACE) rc = replace(w, p, *v, d);
    else if (p->kind == TOK_PREPEND) rc = prepend(w, p, *v, d);
    else if (p->kind == TOK_SENTENCE) rc = tok_sentence(w, *v, d);
    else if (p->kind == TOK_PRECOMPILED) rc = tok_precompiled(w, *v, d);
    else if (p->kind == TOK_NORMAL) rc = tok_normal(w, p, *v, d);
    else rc = tok_letters(w, p, *v, d);
    if (rc == 0) *v = drafted(d, w->map, *v);
    return rc < 0 ? rc : HN_OK;
}

static int step(tok_work *w, int k, tok_view v) {
    if (w->t->step[k].kind == TOK_SPLIT) return tok_split(w, k, v);
    int rc = tok_change(w, k, &v);
    return rc || !v.n ? rc : tok_run(w, k + 1, v);
}

/* Between normalizers and pre-tokenizers the added tokens that are normalized are cut out; the step
 * number -1 - n_norm stands for the place right after that. */
int tok_run(tok_work *w, int k, tok_view v) {
    const hn_tok *t = w->t;
    if (k == t->n_norm && t->normed.n) return cut_added(w, &t->normed, -1 - k, v);
    if (k < 0) k = -1 - k;
    return k < t->n_step ? step(w, k, v) : w->sink(w, v);
}

void tok_work_free(tok_work *w) {
    for (int i = 0; i < TOK_MAX_STEPS; i++) {
        hn_free(w->draft[i].s);
        hn_free(w->draft[i].lo);
        hn_free(w->draft[i].hi);
    }
    hn_free(w->sym);
    hn_free(w->due);
    hn_free(w->cp);
    hn_free(w->best);
    pcre2_match_data_free(w->match);
}

static int outside(hn_ids *out, const int32_t *id, int64_t n, int32_t at) {
    for (int64_t i = 0; i < n; i++)
        if (hn_ids_add(out, id[i], at, at)) return HN_ENOMEM;
    return HN_OK;
}

int tok_walk(tok_work *w, const char *s, size_t n) {
    w->broken = hn_utf8_valid(s, n) < n;
    return cut_added(w, &w->t->raw, 0, (tok_view){ .s = s, .n = n });
}

int hn_tok_encode(const hn_tok *t, const char *s, size_t n, bool add_special, hn_ids *out, hn_err *e) {
    if (n > INT32_MAX)
        return hn_fail(e, HN_ERANGE, "text of %zu bytes: the most is %d; cut it", n, INT32_MAX);
    tok_work w = { .t = t, .out = out, .e = e, .sink = tok_merge, .map = out->want_at };
    int64_t n_old = out->n, dropped = out->dropped;
    int rc = add_special ? outside(out, t->before, t->n_before, 0) : HN_OK;
    if (!rc) rc = tok_walk(&w, s, n);
    if (!rc && add_special) rc = outside(out, t->after, t->n_after, (int32_t)n);
    tok_work_free(&w);
    if (!rc) return HN_OK;
    out->n = n_old;
    out->dropped = dropped;
    if (rc == HN_ENOMEM) return hn_fail(e, rc, "out of memory for the ids of %zu bytes of text", n);
    return hn_fail(e, rc, "%s: the text does not go through its patterns", t->dir);
}

/* ---- arrays of ids ---- */
int hn_ids_add(hn_ids *a, int32_t id, int32_t begin, int32_t end) {
    if (a->n >= a->cap && hn_grow(&a->id, &a->cap, a->n + 1, sizeof *a->id)) return HN_ENOMEM;
    if (a->want_at) {
        if (a->n >= a->cap_at && hn_grow(&a->at, &a->cap_at, a->n + 1, sizeof *a->at)) return HN_ENOMEM;
        a->at[a->n] = (hn_cover){ begin, end };
    }
    a->id[a->n++] = id;
    return HN_OK;
}

void hn_ids_clear(hn_ids *a) { a->n = a->dropped = 0; }

void hn_ids_free(hn_ids *a) {
    hn_free(a->id);
    hn_free(a->at);
    *a = (hn_ids){ .want_at = a->want_at };
}
