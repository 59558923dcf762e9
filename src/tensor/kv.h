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
    int32_t *table;     /* [n_slot, max_block] page of each block, -1: none */
    int32_t *ref;       /* [n_page] sequences that hold it; 0: free */
    hn_real *data;      /* [n_page, n_layer, n_head] of { K transposed [head_dim, 64], V [64, head_dim] } */
    size_t page_stride; /* hn_real's in a page */
} hn_kv;

static inline hn_real *hn_kv_k(const hn_kv *c, int page, int layer, int head) {
    size_t unit = (size_t)2 * HN_BLOCK * (size_t)c->head_dim;
    return c->data + (size_t)page * c->page_stride +
           ((size_t)layer * (size_t)c->n_head + (size_t)head) * unit;
}
static inline hn_real *hn_kv_v(const hn_kv *c, int page, int layer, int head) {
    return hn_kv_k(c, page, layer, head) + (size_t)HN_BLOCK * (size_t)c->head_dim;
}

int hn_kv_new(hn_kv **c, int n_layer, int n_head, int head_dim, int n_slot, int max_len, int n_page,
              hn_err *e);
void hn_kv_free(hn_kv *c);
void hn_kv_drop(hn_kv *c, int slot); /* releases the pages of a sequence */
/* Makes position `pos` of `slot` writable (all before it are there): allocates its page, or copies it when it
 * is shared.  HN_ERANGE when no page is free (the scheduler then waits or preempts). */
int hn_kv_room(hn_kv *c, int slot, int pos, hn_err *e);
void hn_kv_share(hn_kv *c, int from, int to,
                 int len); /* `to` becomes a path with the first len positions of `from` */
int hn_kv_free_pages(const hn_kv *c);
#endif
