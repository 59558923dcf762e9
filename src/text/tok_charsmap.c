/* tok_charsmap.c - SentencePiece's precompiled map of characters: `precompiled_charsmap` of a model file or
 * of a tokenizer.json.  A length, a Darts double-array tree of so many bytes, and the texts that its values
 * point to, each with a 0 at its end.  Every index is checked, for the file may say anything. */
#include <string.h>

#include "text/tok.h"
#include "text/utf8.h"

static uint32_t unit(const tok_charsmap *m, size_t i) {
    const unsigned char *b = (const unsigned char *)m->data + 4 + 4 * i;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

int tok_charsmap_take(tok_charsmap *m, const char *data, size_t n, hn_err *e) {
    const unsigned char *b = (const unsigned char *)data;
    if (!n) return HN_OK;
    size_t tree = n < 4 ? 0 : b[0] | (size_t)b[1] << 8 | (size_t)b[2] << 16 | (size_t)b[3] << 24;
    if (tree < 4 || tree % 4 || tree > n - 4 || data[n - 1])
        return hn_fail(e, HN_EPARSE, "precompiled_charsmap: its tree of %zu bytes does not fit in %zu", tree,
                       n);
    if (!(m->data = hn_alloc(n))) return HN_ENOMEM;
    memcpy(m->data, data, n);
    m->n_tree = tree / 4;
    m->n_text = n - 4 - tree;
    const char *text = m->data + 4 + tree;
    if (m->n_text < 1 || hn_utf8_valid(text, m->n_text) < m->n_text)
        return hn_fail(e, HN_EPARSE, "precompiled_charsmap: its texts are not UTF-8");
    return HN_OK;
}

static size_t offset(uint32_t u) { return (size_t)(u >> 10) << ((u & (1u << 9)) >> 6); }

bool tok_charsmap_get(const tok_charsmap *m, bool shortest, const char *s, size_t n, size_t *len,
                      tok_key *to) {
    bool found = false;
    size_t at = m->n_tree ? offset(unit(m, 0)) : 0, value = 0;
    for (size_t i = 0; i < n && s[i] && m->n_tree; i++) {
        unsigned char c = (unsigned char)s[i];
        at ^= c;
        if (at >= m->n_tree) break;
        uint32_t u = unit(m, at);
        if ((u & (1u << 31 | 0xFF)) != c) break;
        at ^= offset(u);
        if (!(u >> 8 & 1)) continue;
        if (at >= m->n_tree) break;
        value = unit(m, at) & 0x7FFFFFFF;
        *len = i + 1;
        found = true;
        if (shortest) break;
    }
    if (!found || value >= m->n_text) return false;
    const char *text = m->data + 4 + 4 * m->n_tree + value;
    *to = (tok_key){ text, (int32_t)strlen(text) };
    return true;
}
