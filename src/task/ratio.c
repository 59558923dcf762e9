/* ratio.c - exact rational numbers: 128-bit intermediates, lowest terms, then a check that it fits. */
#include "task/ratio.h"

typedef __int128 wide;

static wide gcd(wide a, wide b) {
    while (b) {
        wide t = a % b;
        a = b;
        b = t;
    }
    return a;
}

/* |num| and |den| are below 2^127, so negation is safe. */
static bool reduce(wide num, wide den, hn_ratio *out) {
    if (!den) return false;
    if (den < 0) {
        num = -num;
        den = -den;
    }
    wide g = gcd(num < 0 ? -num : num, den);
    num /= g;
    den /= g;
    if (num > INT64_MAX || num < -INT64_MAX || den > INT64_MAX) return false;
    *out = (hn_ratio){ (int64_t)num, (int64_t)den };
    return true;
}

bool hn_ratio_make(int64_t num, int64_t den, hn_ratio *out) { return reduce(num, den, out); }

bool hn_ratio_op(char op, hn_ratio a, hn_ratio b, hn_ratio *out) {
    wide an = a.num, ad = a.den, bn = b.num,
         bd = b.den; /* products of two 63-bit numbers, a sum of two: 127 bits */
    switch (op) {
    case '+': return reduce(an * bd + bn * ad, ad * bd, out);
    case '-': return reduce(an * bd - bn * ad, ad * bd, out);
    case '*': return reduce(an * bn, ad * bd, out);
    case '/': return reduce(an * bd, ad * bn, out);
    default: hn_assert(!"one of + - * /"); return false;
    }
}
