/* rope_rows.h - two orders of the rows of q and k.
 *
 * Rotary positions turn pairs of rows of a head: here and in `transformers` row i with row i + head/2, in
 * llama2.c and in the llama architecture of llama.cpp row 2i with row 2i + 1. */
#ifndef HN_ROPE_ROWS_H
#define HN_ROPE_ROWS_H

#include <stdint.h>

/* Where row r of halves is among neighbours, and back.  head: rows a head; 0: no order, r itself. */
static inline int64_t hn_rope_neighbour(int64_t r, int64_t head) {
    if (!head) return r;
    int64_t in = r % head, half = head / 2;
    return r - in + (in < half ? 2 * in : 2 * (in - half) + 1);
}

static inline int64_t hn_rope_half(int64_t r, int64_t head) {
    if (!head) return r;
    int64_t in = r % head;
    return r - in + in / 2 + (in % 2) * (head / 2);
}
#endif
