/* kv.h - the key-value cache of the generator: pages of 64 path positions.
 *
 * A page holds positions [64 b, 64 b + 64) of one path for all layers.  Full pages of a shared prompt are
 * shared by reference; the partial page of a parent is copied on write.  Pages are aligned with the key
 * blocks of attention (design.md section 5), so that the order of summation depends on the position
 * alone and a decoded token gets the bits that training computes. */
#ifndef HN_KV_H
#define HN_KV_H

#include "tensor/tensor.h"

enum { HN_BLOCK = 64 }; /* keys a block, in training, prefill and decode */

typedef struct hn_kv {
    int n_layer, n_head, head_dim; /* n_head: key-value heads */
    int n_slot, max_block;         /* sequences at once; pages a sequence may have */
    int n_page;
    int32_t *table;    /* [n_slot, max_block] page of each block, -1: none */
    int32_t *ref;      /* [n_page] sequences that hold it; 0: free */
    hn_prec prec;      /* bf16: keys and values are rounded when they are written */
    char *data;        /* [n_page, n_layer, n_head] of { K, V } */
    size_t page_bytes; /* a page, all layers and heads */
} hn_kv;

/* K and V of a page, one layer and head.  f32: K in groups of 16 keys, each transposed, [4, head_dim, 16]; V
 * [64, head_dim].  bf16: pairs of numbers that a sum takes one after the other in a word, the first in its
 * lower half: K [4, head_dim / 2, 16] of dimensions (2 i, 2 i + 1), V [32, head_dim] of positions (2 j,
 * 2 j + 1); an odd dimension is paired with 0.  A page that is not full is read up to its last group, and in
 * bf16 starts as zeros, because values past the last position are multiplied by weights of 0. */
static inline size_t hn_kv_k_bytes(const hn_kv *c) {
    size_t D = (size_t)c->head_dim;
    return c->prec == HN_PREC_BF16 ? (D + 1) / 2 * HN_BLOCK * 4 : D * HN_BLOCK * sizeof(hn_real);
}
static inline size_t hn_kv_v_bytes(const hn_kv *c) {
    size_t D = (size_t)c->head_dim;
    return c->prec == HN_PREC_BF16 ? D * HN_BLOCK * 2 : D * HN_BLOCK * sizeof(hn_real);
}
static inline void *hn_kv_k(const hn_kv *c, int page, int layer, int head) {
    size_t unit = (size_t)layer * (size_t)c->n_head + (size_t)head;
    return c->data + (size_t)page * c->page_bytes + unit * (hn_kv_k_bytes(c) + hn_kv_v_bytes(c));
}
static inline void *hn_kv_v(const hn_kv *c, int page, int layer, int head) {
    return (char *)hn_kv_k(c, page, layer, head) + hn_kv_k_bytes(c);
}
/* Key and value [head_dim] of position `at` in [0, 64) of a page. */
void hn_kv_put(const hn_kv *c, int page, int layer, int head, int at, const hn_real *k, const hn_real *v);
hn_real hn_kv_key(const hn_kv *c, int page, int layer, int head, int at, int d);
hn_real hn_kv_value(const hn_kv *c, int page, int layer, int head, int at, int d);

int hn_kv_new(hn_kv **c, int n_layer, int n_head, int head_dim, hn_prec prec, int n_slot, int max_len,
              int n_page, hn_err *e);
size_t hn_kv_bytes(hn_kv *c); /* of all pages (0: more than can be counted); sets page_bytes */
void hn_kv_free(hn_kv *c);
void hn_kv_drop(hn_kv *c, int slot); /* releases the pages of a sequence */
/* Makes position `pos` of `slot` writable (all before it are there): allocates its page, or copies it when it
 * is shared.  HN_ERANGE when no page is free (the scheduler then waits or preempts). */
int hn_kv_room(hn_kv *c, int slot, int pos, hn_err *e);
void hn_kv_share(hn_kv *c, int from, int to,
                 int len); /* `to` becomes a path with the first len positions of `from` */
int hn_kv_free_pages(const hn_kv *c);
#endif
