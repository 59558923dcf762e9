/* tok_split.c - cutting a view where a pattern matches. */
#include <string.h>

#include "text/tok.h"
#include "text/utf8.h"

static int next_class(const tok_pattern *p, tok_view v, size_t from, size_t *begin, size_t *end) {
    for (size_t i = from; i < v.n;) {
        int32_t cp;
        int len = hn_utf8_get(v.s + i, v.n - i, &cp);
        if (len > 0 && p->is(cp)) {
            *begin = i;
            *end = i + (size_t)len;
            return 1;
        }
        i += len > 0 ? (size_t)len : 1;
    }
    return 0;
}

static int next_regex(tok_work *w, const tok_pattern *p, tok_view v, size_t from, size_t *begin,
                      size_t *end) {
    if (!w->match && !(w->match = pcre2_match_data_create(1, w->t->pcre))) return HN_ENOMEM;
    int rc = pcre2_match(p->re, (PCRE2_SPTR)v.s, v.n, from, PCRE2_NO_UTF_CHECK, w->match, NULL);
    if (rc == PCRE2_ERROR_NOMATCH) return 0;
    if (rc < 0) {
        char why[128];
        pcre2_get_error_message(rc, (PCRE2_UCHAR *)why, sizeof why);
        return hn_fail(w->e, rc == PCRE2_ERROR_NOMEMORY ? HN_ENOMEM : HN_ERANGE,
                       "a pattern of the tokenizer gave up on a text of %zu bytes: %s", v.n, why);
    }
    const PCRE2_SIZE *o = pcre2_get_ovector_pointer(w->match);
    *begin = o[0];
    *end = o[1];
    return 1;
}

/* The next match at or after `from`: 1 with its place, 0 when there is none, or an error. */
int tok_pattern_next(tok_work *w, const tok_pattern *p, tok_view v, size_t from, size_t *begin, size_t *end) {
    if (from >= v.n) return 0;
    if (p->kind == TOK_FIND_CLASS) return next_class(p, v, from, begin, end);
    if (p->kind == TOK_FIND_REGEX) return next_regex(w, p, v, from, begin, end);
    const char *at = memmem(v.s + from, v.n - from, p->text.s, (size_t)p->text.n);
    if (!at) return 0;
    *begin = (size_t)(at - v.s);
    *end = *begin + (size_t)p->text.n;
    return 1;
}

/* The stretch that waits to be joined with what follows it. */
typedef struct wait {
    size_t begin, end;
    bool any, match;
} wait;

static int send(tok_work *w, int k, tok_view v, size_t begin, size_t end) {
    return begin < end ? tok_run(w, k + 1, tok_cut(v, begin, end)) : HN_OK;
}

/* Takes the next stretch of the view, a match or what lies between two. */
static int take(tok_work *w, int k, tok_view v, wait *p, size_t begin, size_t end, bool match) {
    tok_behavior how = w->t->step[k].behavior;
    if (how == TOK_ISOLATED) return send(w, k, v, begin, end);
    if (how == TOK_REMOVED) return match ? HN_OK : send(w, k, v, begin, end);
    bool join = p->any && (how == TOK_CONTIGUOUS    ? match == p->match
                           : how == TOK_MERGED_PREV ? match && !p->match
                                                    : !match && p->match);
    if (join) {
        p->end = end;
        p->match = match;
        return HN_OK;
    }
    wait old = *p;
    *p = (wait){ begin, end, true, match };
    return old.any ? send(w, k, v, old.begin, old.end) : HN_OK;
}

static int split_valid(tok_work *w, int k, tok_view v) {
    const tok_step *p = &w->t->step[k];
    wait pend = { 0 };
    size_t done = 0, at = 0, b, e;
    int rc;
    while ((rc = tok_pattern_next(w, &p->pattern, v, at, &b, &e)) > 0) {
        if (b == e && b == done) { /* an empty match where the last one ended: look one character on */
            int32_t cp;
            at += (size_t)hn_utf8_get(v.s + at, v.n - at, &cp);
            continue;
        }
        if (done < b && (rc = take(w, k, v, &pend, done, b, p->invert))) return rc;
        if ((rc = take(w, k, v, &pend, b, e, !p->invert))) return rc;
        done = at = e;
    }
    if (!rc && done < v.n) rc = take(w, k, v, &pend, done, v.n, p->invert);
    return !rc && pend.any ? send(w, k, v, pend.begin, pend.end) : rc;
}

/* Bytes that are not UTF-8 are pieces of their own; patterns see only what lies between. */
int tok_split(tok_work *w, int k, tok_view v) {
    if (!w->broken) return split_valid(w, k, v);
    for (size_t i = 0; i < v.n;) {
        size_t good = hn_utf8_valid(v.s + i, v.n - i), bad = i + good;
        int rc = good ? split_valid(w, k, tok_cut(v, i, bad)) : HN_OK;
        for (i = bad; i < v.n && !rc;) {
            int32_t cp;
            int len = hn_utf8_get(v.s + i, v.n - i, &cp);
            if (len > 0) break;
            i += (size_t)-len;
        }
        if (!rc) rc = send(w, k, v, bad, i);
        if (rc) return rc;
    }
    return HN_OK;
}
