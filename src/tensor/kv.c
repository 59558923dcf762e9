/* kv.c - pages of the key-value cache: who holds which, and the copy before a shared page is written. */
#include "tensor/kv.h"

#include <string.h>

size_t hn_kv_bytes(hn_kv *c) {
    if ((size_t)c->head_dim > SIZE_MAX / (4 * HN_BLOCK * sizeof(hn_real))) return 0;
    size_t n = hn_kv_k_bytes(c) + hn_kv_v_bytes(c);
    if (__builtin_mul_overflow(n, (size_t)c->n_head, &n)) return 0;
    if (__builtin_mul_overflow(n, (size_t)c->n_layer, &n)) return 0;
    c->page_bytes = n;
    return __builtin_mul_overflow(n, (size_t)c->n_page, &n) ? 0 : n;
}

int hn_kv_new(hn_kv **out, int n_layer, int n_head, int head_dim, hn_prec prec, int n_slot, int max_len,
              int n_page, hn_err *e) {
    hn_assert(n_layer > 0 && n_head > 0 && head_dim > 0 && n_slot > 0 && max_len > 0 && n_page > 0);
    hn_kv *c = hn_alloc(sizeof *c);
    *out = NULL;
    if (!c) return hn_fail(e, HN_ENOMEM, "key-value cache: out of memory");
    *c = (hn_kv){ .n_layer = n_layer, .n_head = n_head, .head_dim = head_dim, .n_slot = n_slot };
    if (sizeof(hn_real) == sizeof(float)) c->prec = prec; /* the double build checks, it rounds nothing */
    c->max_block = (max_len - 1) / HN_BLOCK + 1;
    c->n_page = n_page;
    size_t bytes = hn_kv_bytes(c), table = (size_t)n_slot * (size_t)c->max_block;
    c->table = hn_alloc(table * sizeof *c->table);
    c->ref = hn_alloc((size_t)n_page * sizeof *c->ref);
    c->data = bytes ? hn_big_alloc(bytes) : NULL;
    if (!c->table || !c->ref || !c->data) {
        hn_fail(e, HN_ENOMEM, "key-value cache: no memory for %d pages of %zu bytes", n_page, c->page_bytes);
        hn_kv_free(c);
        return HN_ENOMEM;
    }
    memset(c->table, 0xff, table * sizeof *c->table);
    *out = c;
    return HN_OK;
}

void hn_kv_free(hn_kv *c) {
    if (!c) return;
    hn_free(c->table);
    hn_free(c->ref);
    hn_big_free(c->data, hn_kv_bytes(c));
    hn_free(c);
}

static int32_t *row(const hn_kv *c, int slot) {
    hn_assert(slot >= 0 && slot < c->n_slot);
    return c->table + (size_t)slot * (size_t)c->max_block;
}

void hn_kv_drop(hn_kv *c, int slot) {
    int32_t *page = row(c, slot);
    for (int b = 0; b < c->max_block; b++) {
        if (page[b] >= 0) c->ref[page[b]]--;
        page[b] = -1;
    }
}

/* The lowest free page: the same requests give the same pages on every run. */
static int take(hn_kv *c, hn_err *e) {
    for (int p = 0; p < c->n_page; p++)
        if (!c->ref[p]) {
            c->ref[p] = 1;
            return p;
        }
    return hn_fail(e, HN_ERANGE, "key-value cache: all %d pages of %d positions are in use", c->n_page,
                   HN_BLOCK);
}

int hn_kv_room(hn_kv *c, int slot, int pos, hn_err *e) {
    int32_t *page = row(c, slot);
    int b = pos / HN_BLOCK;
    hn_assert(pos >= 0 && b < c->max_block && (!b || page[b - 1] >= 0));
    if (page[b] >= 0 && c->ref[page[b]] == 1) return HN_OK;
    int p = take(c, e);
    if (p < 0) return p;
    if (page[b] >= 0) { /* shared: this sequence goes on in a copy */
        memcpy(c->data + (size_t)p * c->page_bytes, c->data + (size_t)page[b] * c->page_bytes, c->page_bytes);
        c->ref[page[b]]--;
    } else if (c->prec == HN_PREC_BF16) { /* a unit reads values past the last position: 0 times finite */
        memset(c->data + (size_t)p * c->page_bytes, 0, c->page_bytes);
    }
    page[b] = p;
    return HN_OK;
}

void hn_kv_share(hn_kv *c, int from, int to, int len) {
    int32_t *a = row(c, from), *b = row(c, to);
    hn_assert(from != to && len >= 0 && len <= c->max_block * HN_BLOCK);
    hn_kv_drop(c, to);
    for (int i = 0; i * HN_BLOCK < len; i++) {
        hn_assert(a[i] >= 0);
        b[i] = a[i];
        c->ref[b[i]]++;
    }
}

int hn_kv_free_pages(const hn_kv *c) {
    int n = 0;
    for (int p = 0; p < c->n_page; p++) n += !c->ref[p];
    return n;
}

/* ---- single numbers ---- */
/* In units of the page: where the number, or its half of a word, lies. */
static size_t key_at(const hn_kv *c, int at, int d) {
    size_t group = (size_t)(at / 16), i = (size_t)(at % 16), D = (size_t)c->head_dim, half = (size_t)(d / 2);
    return c->prec == HN_PREC_BF16 ? ((group * ((D + 1) / 2) + half) * 16 + i) * 2 + (size_t)(d % 2)
                                   : (group * D + (size_t)d) * 16 + i;
}
static size_t value_at(const hn_kv *c, int at, int d) {
    size_t D = (size_t)c->head_dim;
    return c->prec == HN_PREC_BF16 ? ((size_t)(at / 2) * D + (size_t)d) * 2 + (size_t)(at % 2)
                                   : (size_t)at * D + (size_t)d;
}
static hn_real get(const hn_kv *c, const void *p, size_t i) {
    return c->prec == HN_PREC_BF16 ? (hn_real)hn_from_bf16(((const uint16_t *)p)[i])
                                   : ((const hn_real *)p)[i];
}
static void put(const hn_kv *c, void *p, size_t i, hn_real x) {
    if (c->prec == HN_PREC_BF16) ((uint16_t *)p)[i] = hn_bf16((float)x);
    else ((hn_real *)p)[i] = x;
}

void hn_kv_put(const hn_kv *c, int page, int layer, int head, int at, const hn_real *k, const hn_real *v) {
    for (int d = 0; d < c->head_dim; d++) {
        put(c, hn_kv_k(c, page, layer, head), key_at(c, at, d), k[d]);
        put(c, hn_kv_v(c, page, layer, head), value_at(c, at, d), v[d]);
    }
}
hn_real hn_kv_key(const hn_kv *c, int page, int layer, int head, int at, int d) {
    return get(c, hn_kv_k(c, page, layer, head), key_at(c, at, d));
}
hn_real hn_kv_value(const hn_kv *c, int page, int layer, int head, int at, int d) {
    return get(c, hn_kv_v(c, page, layer, head), value_at(c, at, d));
}
