/* ratio.h - exact rational numbers in 64 bits, for verifiers: an answer is equal or it is not.
 *
 * Lowest terms, den > 0.  Every operation says whether the result fits; none wraps. */
#ifndef HN_RATIO_H
#define HN_RATIO_H

#include "base/base.h"

typedef struct hn_ratio {
    int64_t num, den;
} hn_ratio;

/* false: den is 0, or the result does not fit; *out is then unchanged. */
bool hn_ratio_make(int64_t num, int64_t den, hn_ratio *out);
bool hn_ratio_op(char op, hn_ratio a, hn_ratio b, hn_ratio *out); /* op is one of + - * / */
static inline bool hn_ratio_eq(hn_ratio a, hn_ratio b) { return a.num == b.num && a.den == b.den; }
#endif
