/* kv.c - pages of the key-value cache: who holds which, and the copy before a shared page is written. */
#include "tensor/kv.h"

#include <string.h>

/* Bytes of all pages; 0 when the sizes do not fit in memory arithmetic.  Sets page_stride. */
static size_t measure(hn_kv *c) {
    const int factor[] = { c->n_head, c->head_dim, c->n_layer, c->n_page, (int)sizeof(hn_real) };
    size_t n = (size_t)2 * HN_BLOCK;
    for (int i = 0; i < 5; i++) {
        if (__builtin_mul_overflow(n, (size_t)factor[i], &n)) return 0;
        if (i == 2) c->page_stride = n;
    }
    return n;
}

int hn_kv_new(hn_kv **out, int n_layer, int n_head, int head_dim, int n_slot, int max_len, int n_page,
              hn_err *e) {
    hn_assert(n_layer > 0 && n_head > 0 && head_dim > 0 && n_slot > 0 && max_len > 0 && n_page > 0);
    hn_kv *c = hn_alloc(sizeof *c);
    *out = NULL;
    if (!c) return hn_fail(e, HN_ENOMEM, "key-value cache: out of memory");
    *c = (hn_kv){ .n_layer = n_layer, .n_head = n_head, .head_dim = head_dim, .n_slot = n_slot };
    c->max_block = (max_len - 1) / HN_BLOCK + 1;
    c->n_page = n_page;
    size_t bytes = measure(c), table = (size_t)n_slot * (size_t)c->max_block;
    c->table = hn_alloc(table * sizeof *c->table);
    c->ref = hn_alloc((size_t)n_page * sizeof *c->ref);
    c->data = bytes ? hn_big_alloc(bytes) : NULL;
    if (!c->table || !c->ref || !c->data) {
        hn_fail(e, HN_ENOMEM, "key-value cache: no memory for %d pages of %zu bytes", n_page,
                c->page_stride * sizeof(hn_real));
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
    hn_big_free(c->data, measure(c));
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
        memcpy(c->data + (size_t)p * c->page_stride, c->data + (size_t)page[b] * c->page_stride,
               c->page_stride * sizeof *c->data);
        c->ref[page[b]]--;
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
