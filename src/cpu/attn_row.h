/* attn_row.h - the running softmax of one row (attn.h), for kernels: included after simd.h and attn.h. */
#ifndef HN_ATTN_ROW_H
#define HN_ATTN_ROW_H

#include "cpu/attn.h"
#include "cpu/vmath.h"

/* Before the first block. */
HN_INLINE void hn_attn_start(hn_attn_row *row) {
    for (int i = 0; i < HN_ATTN_LANES; i += VL) vstore(row->lane + i, vzero());
    row->max = -INFINITY;
}

/* The maximum after a block whose largest score is `top` (before scaling), and the factor by which what the
 * row summed so far must be multiplied; *less is what to add to the scaled scores. */
HN_INLINE V hn_attn_shrink(hn_attn_row *row, V top, V c, V *less) {
    V old = vset1(row->max), m = vmax(vmul(vmax_all(top), c), old);
    row->max = vlane0(m);
    *less = vneg(m);
    return vexp2_neg(vsub(old, m));
}
#endif
