/* tok_added.c - finding added tokens: a tree of bytes, the longest token at the leftmost place wins. */
#include <string.h>

#include "text/tok.h"

static int node_new(tok_trie *r, unsigned char byte, int32_t next, int32_t *id) {
    if (hn_grow(&r->node, &r->cap, r->n + 1, sizeof *r->node)) return HN_ENOMEM;
    r->node[r->n] = (tok_node){ .child = -1, .next = next, .added = -1, .byte = byte };
    *id = (int32_t)r->n++;
    return HN_OK;
}

static int32_t find(const tok_trie *r, int32_t parent, unsigned char byte) {
    int32_t c = r->node[parent].child;
    while (c >= 0 && r->node[c].byte != byte) c = r->node[c].next;
    return c;
}

int tok_trie_add(tok_trie *r, const char *s, size_t n, int32_t added) {
    int32_t at = 0, c;
    if (!r->n && node_new(r, 0, -1, &at)) return HN_ENOMEM;
    r->first[(unsigned char)s[0]] = true;
    for (size_t i = 0; i < n; i++, at = c) {
        if ((c = find(r, at, (unsigned char)s[i])) >= 0) continue;
        if (node_new(r, (unsigned char)s[i], r->node[at].child, &c)) return HN_ENOMEM;
        r->node[at].child = c;
    }
    r->node[at].added = added;
    return HN_OK;
}

int32_t tok_trie_longest(const tok_trie *r, const char *s, size_t n, size_t *len) {
    int32_t best = -1, at = 0;
    for (size_t i = 0; i < n && (at = find(r, at, (unsigned char)s[i])) >= 0; i++)
        if (r->node[at].added >= 0) {
            best = r->node[at].added;
            *len = i + 1;
        }
    return best;
}

/* A token that is found by its normalized spelling also decodes to it. */
static int respell(tok_work *w, hn_tok *t, int32_t id, tok_view v) {
    hn_buf a = { 0 }, b = { 0 };
    int rc = tok_render(w, (tok_key){ v.s, (int32_t)v.n }, false, &a, &b);
    if (!rc && !(t->text[id].s = hn_arena_str(t->arena, a.data, a.n))) rc = HN_ENOMEM;
    if (!rc) t->text[id].n = (int32_t)a.n;
    hn_buf_free(&a);
    hn_buf_free(&b);
    return rc;
}

/* Tokens marked normalized are looked for in normalized text, so it is their normalized spelling that
 * goes into the tree. */
int tok_added_load(hn_tok *t, hn_err *e) {
    tok_work w = { .t = t, .e = e };
    int rc = HN_OK;
    for (int32_t i = 0; i < t->n_added && !rc; i++) {
        int32_t id = t->added[i].id;
        tok_key k = t->name[id];
        tok_view v = { .s = k.s, .n = (size_t)k.n };
        for (int n = 0; t->added[i].normalized && n < t->n_norm && !rc; n++) rc = tok_change(&w, n, &v);
        bool changed = v.n != (size_t)k.n || memcmp(v.s, k.s, v.n);
        if (!rc && changed && !(t->byte_level && (t->flag[id] & TOK_MODEL))) rc = respell(&w, t, id, v);
        if (!rc && v.n) rc = tok_trie_add(t->added[i].normalized ? &t->normed : &t->raw, v.s, v.n, i);
    }
    tok_work_free(&w);
    return rc;
}
