/* logp_tmpl.c - log-softmax by chunks (logp.h). */
#include "cpu/logp.h"

#include "cpu/vmath.h"

enum { SUMS = 4 }; /* running vectors: vector i goes to number i mod 4 */

HN_INLINE float greatest(const float *z, int64_t n) {
    V m = vset1(-INFINITY), low = m;
    int64_t i = 0;
    for (; n - i >= VL; i += VL) m = vmax(vload(z + i), m);
    if (i < n) m = vmax(vblend(vfirst(n - i), vload_n(z + i, n - i), low), m);
    return vhmax(m);
}

/* Sums of e^(z - m) and, when `t` is wanted, (z - m) e^(z - m), z times inv; lanes past n give 0. */
HN_INLINE void sums(const bool want_t, const float *z, int64_t n, V inv, V m, float *s, float *t) {
    V es[SUMS] = { vzero(), vzero(), vzero(), vzero() }, ts[SUMS] = { vzero(), vzero(), vzero(), vzero() };
    int64_t i = 0;
    for (; n - i >= SUMS * VL; i += SUMS * VL) HN_UNROLL for (int k = 0; k < SUMS; k++) {
            V x = vfma(vload(z + i + k * VL), inv, vneg(m)), e = vexp(x);
            es[k] = vadd(es[k], e);
            if (want_t) ts[k] = vfma(x, e, ts[k]);
        }
    for (int k = 0; i < n; i += VL, k++) {
        VM in = vfirst(n - i);
        V x = vfma(vload_n(z + i, n - i), inv, vneg(m)), e = vblend(in, vexp(x), vzero());
        es[k] = vadd(es[k], e);
        if (want_t) ts[k] = vfma(vblend(in, x, vzero()), e, ts[k]);
    }
    *s = vsum(vadd(vadd(es[0], es[1]), vadd(es[2], es[3])));
    if (want_t) *t = vsum(vadd(vadd(ts[0], ts[1]), vadd(ts[2], ts[3])));
}

HN_INLINE float exp_of(float x) { return vlane0(vexp(vset1(x))); }
HN_INLINE float log_of(float x) { return vlane0(vlog(vset1(x))); }
HN_INLINE float fma_of(float a, float b, float c) { return vlane0(vfma(vset1(a), vset1(b), vset1(c))); }

void HN_TIERED(hn_logp_chunk)(hn_logp_row *r, const float *z, int64_t v0, int64_t n) {
    float top = greatest(z, n);
    if (top > r->top) {
        r->top = top;
        r->best = v0;
        while (z[r->best - v0] != top) r->best++;
    }
    float s, t, m = top * r->inv > r->m ? top * r->inv : r->m;
    sums(true, z, n, vset1(r->inv), vset1(m), &s, &t);
    float gap = r->m - m, shrink = exp_of(gap);
    if (r->s > 0) t = fma_of(fma_of(r->s, gap, r->t), shrink, t); /* else gap is -INFINITY */
    r->s = fma_of(r->s, shrink, s);
    r->t = t;
    r->m = m;
    if (r->inv == 1) {
        r->m1 = r->m;
        r->s1 = r->s;
        return;
    }
    m = top > r->m1 ? top : r->m1;
    sums(false, z, n, vset1(1), vset1(m), &s, NULL);
    r->s1 = fma_of(r->s1, exp_of(r->m1 - m), s);
    r->m1 = m;
}

hn_row HN_TIERED(hn_logp_end)(const hn_logp_row *r, float z) {
    float log_s = log_of(r->s), log_s1 = log_of(r->s1);
    hn_row y = { .logp = fma_of(z, r->inv, -r->m) - log_s,
                 .logp1 = (z - r->m1) - log_s1,
                 .entropy = log_s - r->t / r->s,
                 .lse = r->m + log_s };
    return y;
}

void HN_TIERED(hn_logp_grad)(float *z, int64_t n, int64_t target, float inv, float lse, float g) {
    V scale = vset1(-g * inv), k = vset1(inv), less = vset1(-lse);
    float hit = target >= 0 && target < n ? z[target] : 0;
    int64_t i = 0;
    for (; n - i >= VL; i += VL) vstore(z + i, vmul(vexp(vfma(vload(z + i), k, less)), scale));
    if (i < n) vstore_n(z + i, n - i, vmul(vexp(vfma(vload_n(z + i, n - i), k, less)), scale));
    if (target >= 0 && target < n) z[target] = g * inv * (1 - exp_of(fma_of(hit, inv, -lse)));
}
