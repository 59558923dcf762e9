/* tok_letters.c - the normalizers that look at one character at a time: lower case, accents off, space off
 * the ends, bytes spelled as characters, and the precompiled maps of SentencePiece in the way of the
 * `tokenizers` library. */
#include <string.h>
#include <utf8proc.h>

#include "text/tok.h"
#include "text/utf8.h"

static int trim(const tok_step *p, tok_work *w, tok_view v, tok_draft *d) {
    size_t begin = 0, end = v.n;
    int32_t cp;
    while (p->left && begin < end) {
        int len = hn_utf8_get(v.s + begin, end - begin, &cp);
        if (len < 0 || !hn_uni_space(cp)) break;
        begin += (size_t)len;
    }
    while (p->right && begin < end) {
        size_t back = hn_utf8_back(v.s, end);
        if (hn_utf8_get(v.s + back, end - back, &cp) < 0 || !hn_uni_space(cp)) break;
        end = back;
    }
    return begin == 0 && end == v.n ? 1 : tok_draft_copy(d, w->map, tok_cut(v, begin, end));
}

static int spell(tok_work *w, tok_view v, tok_draft *d) {
    for (size_t i = 0; i < v.n; i++) {
        char c[4];
        int n = tok_byte_char((unsigned char)v.s[i], c);
        int rc = tok_draft_add(d, w->map, c, (size_t)n, w->map ? tok_cover(v, i, i + 1) : (hn_cover){ 0, 0 });
        if (rc) return rc;
    }
    return HN_OK;
}

/* Capital letters that came after Unicode 14. */
static int32_t newer_lower(int32_t cp) {
    static const int32_t one[][2] = { { 0x1C89, 0x1C8A }, { 0xA7CB, 0x264 },  { 0xA7CC, 0xA7CD },
                                      { 0xA7CE, 0xA7CF }, { 0xA7D2, 0xA7D3 }, { 0xA7D4, 0xA7D5 },
                                      { 0xA7DA, 0xA7DB }, { 0xA7DC, 0x19B } };
    for (size_t i = 0; i < sizeof one / sizeof *one; i++)
        if (one[i][0] == cp) return one[i][1];
    return cp >= 0x10D50 && cp <= 0x10D65 ? cp + 0x20 : cp >= 0x16EA0 && cp <= 0x16EB8 ? cp + 0x1B : cp;
}

/* What a character becomes; n 0: nothing, -1: itself. */
static int changed(const tok_step *p, int32_t cp, char out[8]) {
    if (p->kind == TOK_UNMARK) return hn_uni_mark9(cp) ? 0 : -1;
    if (cp == 0x130) { /* the one letter that becomes two */
        memcpy(out, "i\xCC\x87", 3);
        return 3;
    }
    int32_t low = utf8proc_tolower(cp);
    if (low == cp && cp > 0x1C88) low = newer_lower(cp);
    return low == cp ? -1 : hn_utf8_put(out, low);
}

int tok_letters(tok_work *w, const tok_step *p, tok_view v, tok_draft *d) {
    size_t done = 0, i = 0;
    if (p->kind == TOK_TRIM) return trim(p, w, v, d);
    if (p->kind == TOK_SPELL) return spell(w, v, d);
    while (i < v.n) {
        char out[8];
        int32_t cp;
        int len = hn_utf8_get(v.s + i, v.n - i, &cp), n = len > 0 ? changed(p, cp, out) : -1, rc;
        size_t next = i + (size_t)(len > 0 ? len : -len);
        if (n >= 0) {
            if ((rc = tok_draft_copy(d, w->map, tok_cut(v, done, i))) ||
                (rc = tok_draft_add(d, w->map, out, (size_t)n,
                                    w->map ? tok_cover(v, i, next) : (hn_cover){ 0, 0 })))
                return rc;
            done = next;
        }
        i = next;
    }
    return done ? tok_draft_copy(d, w->map, tok_cut(v, done, v.n)) : 1;
}

/* ---- precompiled maps ---- */
/* Rule GB9c of UAX #29: an Indic consonant, marks with a linker among them, and a consonant are one cluster.
 * Which of these the walk has seen: */
enum { CONJUNCT_NONE, CONJUNCT_CONSONANT, CONJUNCT_LINKED };

static int conjunct(int seen, int32_t cp) {
    if (cp < 0x300) return CONJUNCT_NONE;
    if (hn_uni_consonant(cp)) return CONJUNCT_CONSONANT;
    if (!seen) return CONJUNCT_NONE;
    static const int32_t linkers[] = { 0x94D, 0x9CD, 0xACD, 0xB4D, 0xC4D, 0xD4D };
    for (size_t i = 0; i < sizeof linkers / sizeof *linkers; i++)
        if (cp == linkers[i]) return CONJUNCT_LINKED;
    bool mark = utf8proc_get_property(cp)->boundclass == UTF8PROC_BOUNDCLASS_EXTEND || hn_uni_extends(cp);
    return cp == 0x200D || (mark && cp != 0x200C) ? seen : CONJUNCT_NONE;
}

/* The rules of Unicode 17 where utf8proc may have those of 15: U+113D1 goes with the next character as
 * U+11F02 does, U+11A3A no longer; a later mark goes where one of today's would: not to a control character.
 */
static bool breaks(int32_t cp, int32_t next, int32_t *state, int seen) {
    cp = cp == 0x113D1 ? 0x11F02 : cp == 0x11A3A ? 'a' : hn_uni_extends(cp) ? 0x300 : cp;
    bool end = utf8proc_grapheme_break_stateful(cp, hn_uni_extends(next) ? 0x300 : next, state);
    return end && !(seen == CONJUNCT_LINKED && hn_uni_consonant(next));
}

/* The end of the cluster of characters that begins at i; bytes that are not UTF-8 are clusters. */
static size_t cluster(tok_view v, size_t i) {
    int32_t cp, next, state = 0;
    int len = hn_utf8_get(v.s + i, v.n - i, &cp);
    if (len < 0) return i + (size_t)-len;
    int seen = conjunct(CONJUNCT_NONE, cp);
    for (i += (size_t)len; i < v.n; i += (size_t)len, cp = next) {
        len = hn_utf8_get(v.s + i, v.n - i, &next);
        if (len < 0 || breaks(cp, next, &state, seen)) break;
        seen = conjunct(seen, next);
    }
    return i;
}

static int mapped(tok_work *w, tok_view v, size_t begin, size_t end, tok_draft *d, bool *hit) {
    tok_key to;
    size_t len;
    *hit = tok_charsmap_get(&w->t->map, true, v.s + begin, end - begin, &len, &to);
    if (!*hit) return HN_OK;
    return tok_draft_add(d, w->map, to.s, (size_t)to.n,
                         w->map ? tok_cover(v, begin, end) : (hn_cover){ 0, 0 });
}

/* The library asks for a cluster of less than six bytes as a whole, and takes the shortest entry that begins
 * it for all of it; what has none goes character by character. */
int tok_precompiled(tok_work *w, tok_view v, tok_draft *d) {
    for (size_t i = 0, end; i < v.n; i = end) {
        bool hit = false;
        int rc = HN_OK;
        end = cluster(v, i);
        if (end - i < 6) rc = mapped(w, v, i, end, d, &hit);
        for (size_t k = i, next; !rc && !hit && k < end; k = next) {
            int32_t cp;
            bool one;
            int len = hn_utf8_get(v.s + k, end - k, &cp);
            next = k + (size_t)(len > 0 ? len : -len);
            rc = mapped(w, v, k, next, d, &one);
            if (!rc && !one) rc = tok_draft_copy(d, w->map, tok_cut(v, k, next));
        }
        if (rc) return rc;
    }
    return HN_OK;
}
