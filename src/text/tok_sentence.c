/* tok_sentence.c - the normalizer of SentencePiece models: characters through the map of the model, spaces as
 * marks (U+2581), a mark before the text, and, where the model says so, runs of spaces as one.
 *
 * The symbols a user defined stay as they are.  A byte that is not UTF-8 becomes U+FFFD. */
#include <string.h>

#include "text/tok.h"
#include "text/utf8.h"

static const char mark[] = "\xE2\x96\x81", replacement[] = "\xEF\xBF\xBD";

/* What the beginning of s[0..n) becomes, and how long it is. */
static tok_key prefix(const hn_tok *t, const char *s, size_t n, size_t *len) {
    tok_key to;
    int32_t cp;
    if (t->user.n && t->user.first[(unsigned char)*s] && tok_trie_longest(&t->user, s, n, len) >= 0)
        return (tok_key){ s, (int32_t)*len };
    if (tok_charsmap_get(&t->map, false, s, n, len, &to)) return to;
    int k = hn_utf8_get(s, n, &cp);
    *len = k > 0 ? (size_t)k : 1;
    return k > 0 ? (tok_key){ s, k } : (tok_key){ replacement, 3 };
}

static int put(tok_work *w, tok_draft *d, tok_key k, hn_cover at) {
    const bool escape = w->t->escape;
    for (int32_t i = 0; i < k.n; i++) {
        bool space = escape && k.s[i] == ' ';
        int32_t run = 1;
        while (!space && i + run < k.n && !(escape && k.s[i + run] == ' ')) run++;
        int rc = tok_draft_add(d, w->map, space ? mark : k.s + i, space ? 3 : (size_t)run, at);
        if (rc) return rc;
        if (!space) i += run - 1;
    }
    return HN_OK;
}

static bool ends_with(const tok_draft *d, const char *s, size_t n) {
    return d->n >= (int64_t)n && !memcmp(d->s + d->n - n, s, n);
}

int tok_sentence(tok_work *w, tok_view v, tok_draft *d) {
    const hn_tok *t = w->t;
    const tok_key space = t->escape ? (tok_key){ mark, 3 } : (tok_key){ " ", 1 };
    size_t i = 0, len = 0;
    int rc = HN_OK;
    while (t->squeeze && i < v.n) {
        tok_key k = prefix(t, v.s + i, v.n - i, &len);
        if (k.n != 1 || k.s[0] != ' ') break;
        i += len;
    }
    if (i == v.n) return HN_OK;
    int32_t first = tok_cover(v, i, i + 1).begin;
    if (t->dummy && !t->suffix)
        rc = tok_draft_add(d, w->map, space.s, (size_t)space.n, (hn_cover){ first, first });
    bool after_space = t->squeeze;
    for (; i < v.n && !rc; i += len) {
        tok_key k = prefix(t, v.s + i, v.n - i, &len);
        for (; after_space && k.n && *k.s == ' '; k.n--) k.s++;
        if (!k.n) continue;
        rc = put(w, d, k, tok_cover(v, i, i + len));
        after_space = t->squeeze && k.s[k.n - 1] == ' ';
    }
    while (!rc && t->squeeze && ends_with(d, space.s, (size_t)space.n)) d->n -= space.n;
    int32_t last = tok_cover(v, v.n - 1, v.n).end;
    if (!rc && t->dummy && t->suffix)
        rc = tok_draft_add(d, w->map, space.s, (size_t)space.n, (hn_cover){ last, last });
    return rc;
}
