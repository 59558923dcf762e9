/* tok_map.c - the two hash tables of a tokenizer: strings to ids, and pairs of ids to ranks. */
#include <string.h>

#include "text/tok.h"

static uint64_t mix(uint64_t x) {
    x *= 0x9E3779B97F4A7C15u;
    return x ^ x >> 32;
}

static uint64_t hash(const char *s, size_t n) {
    uint64_t h = n, w;
    for (; n >= 8; s += 8, n -= 8) {
        memcpy(&w, s, 8);
        h = mix(h ^ w);
    }
    w = 0;
    if (n) memcpy(&w, s, n);
    return mix(mix(h ^ w));
}

/* The smallest power of two with room for n entries at most half full. */
static int64_t room(int64_t n) {
    int64_t c = 16;
    while (c < 2 * n) c *= 2;
    return c;
}

int tok_map_init(tok_map *m, const tok_key *key, int64_t n) {
    int64_t c = room(n);
    m->key = key;
    m->mask = (uint32_t)(c - 1);
    return (m->slot = hn_alloc((size_t)c * sizeof *m->slot)) ? HN_OK : HN_ENOMEM;
}

int32_t tok_map_get(const tok_map *m, const char *s, size_t n) {
    if (!m->slot) return -1;
    uint64_t h = hash(s, n), slot;
    for (uint32_t i = (uint32_t)h & m->mask; (slot = m->slot[i]); i = (i + 1) & m->mask) {
        if (slot >> 32 != h >> 32) continue;
        int32_t id = (int32_t)(uint32_t)slot - 1;
        if ((size_t)m->key[id].n == n && !memcmp(m->key[id].s, s, n)) return id;
    }
    return -1;
}

void tok_map_put(tok_map *m, int32_t id) {
    uint64_t h = hash(m->key[id].s, (size_t)m->key[id].n);
    uint32_t i = (uint32_t)h & m->mask;
    while (m->slot[i]) i = (i + 1) & m->mask;
    m->slot[i] = (h >> 32 << 32) | (uint32_t)(id + 1);
}

static uint64_t pair_key(int32_t left, int32_t right) {
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

int tok_pairs_init(tok_pairs *p, int64_t n) {
    int64_t c = room(n);
    p->mask = (uint32_t)(c - 1);
    if (!(p->slot = hn_alloc((size_t)c * sizeof *p->slot))) return HN_ENOMEM;
    for (int64_t i = 0; i < c; i++) p->slot[i].key = UINT64_MAX;
    return HN_OK;
}

static tok_pair *pair_at(const tok_pairs *p, uint64_t key) {
    uint32_t i = (uint32_t)(mix(key) >> 16) & p->mask;
    while (p->slot[i].key != key && p->slot[i].key != UINT64_MAX) i = (i + 1) & p->mask;
    return &p->slot[i];
}

const tok_pair *tok_pairs_get(const tok_pairs *p, int32_t left, int32_t right) {
    const tok_pair *at = pair_at(p, pair_key(left, right));
    return at->key == UINT64_MAX ? NULL : at;
}

void tok_pairs_put(tok_pairs *p, int32_t left, int32_t right, int32_t rank, int32_t id) {
    uint64_t key = pair_key(left, right);
    tok_pair *at = pair_at(p, key);
    *at = (tok_pair){ .key = key, .rank = rank, .id = id };
}
