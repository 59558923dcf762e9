/* rows_tmpl.c - row-wise kernels (rows.h). */
#include "cpu/rows.h"

#include "cpu/vmath.h"

/* n numbers from element i on, which are bf16 or floats. */
HN_INLINE V load_as(bool half, const void *p, int64_t i, int64_t n) {
    return half ? vload_bf16_n((const uint16_t *)p + i, n) : vload_n((const float *)p + i, n);
}
HN_INLINE void store_as(bool half, void *p, int64_t i, int64_t n, V a) {
    if (half) vstore_bf16_n((uint16_t *)p + i, n, a);
    else vstore_n((float *)p + i, n, a);
}

/* Sum over c < n of a[c] b[c] (w[c]).  Vector i goes to sum i mod 4, whatever n is. */
HN_INLINE V dot(const float *a, const float *b, const float *w, int64_t n) {
    V s[4] = { vzero(), vzero(), vzero(), vzero() };
    int64_t c = 0;
    for (; n - c >= 4 * VL; c += 4 * VL) HN_UNROLL for (int i = 0; i < 4; i++) {
            V x = vload(a + c + i * VL);
            if (w) x = vmul(x, vload(w + c + i * VL));
            s[i] = vfma(x, vload(b + c + i * VL), s[i]);
        }
    for (int i = 0; c < n; c += VL, i++) {
        V x = vload_n(a + c, n - c);
        if (w) x = vmul(x, vload_n(w + c, n - c));
        s[i] = vfma(x, vload_n(b + c, n - c), s[i]);
    }
    return vsum_all(vadd(vadd(s[0], s[1]), vadd(s[2], s[3])));
}

HN_INLINE V inverse_rms(const float *x, int64_t C, float eps) {
    V mean = vdiv(dot(x, x, NULL, C), vset1((float)C));
    return vdiv(vset1(1), vsqrt(vadd(mean, vset1(eps))));
}

void HN_TIERED(hn_norm)(float *y, const float *x, const float *w, int64_t n, int64_t C, float eps) {
    for (; n > 0; n--, x += C, y += C) {
        V r = inverse_rms(x, C, eps);
        for (int64_t c = 0; c < C; c += VL)
            vstore_n(y + c, C - c, vmul(vmul(vload_n(x + c, C - c), r), vload_n(w + c, C - c)));
    }
}

void HN_TIERED(hn_norm_half)(uint16_t *y, const float *x, const float *w, int64_t n, int64_t C, float eps) {
    for (; n > 0; n--, x += C, y += C) {
        V r = inverse_rms(x, C, eps);
        for (int64_t c = 0; c < C; c += VL)
            vstore_bf16_n(y + c, C - c, vmul(vmul(vload_n(x + c, C - c), r), vload_n(w + c, C - c)));
    }
}

void HN_TIERED(hn_norm_x)(float *gx, const float *x, const float *w, const float *g, int64_t n, int64_t C,
                          float eps) {
    for (; n > 0; n--, x += C, g += C, gx += C) {
        V r = inverse_rms(x, C, eps), mean = vdiv(dot(g, x, w, C), vset1((float)C));
        V s = vmul(vmul(r, r), mean);
        for (int64_t c = 0; c < C; c += VL) {
            V wg = vmul(vload_n(w + c, C - c), vload_n(g + c, C - c));
            vstore_n(gx + c, C - c, vmul(r, vfnma(vload_n(x + c, C - c), s, wg)));
        }
    }
}

void HN_TIERED(hn_norm_w)(float *gw, const float *x, const float *g, int64_t n, int64_t C, float eps) {
    for (; n > 0; n--, x += C, g += C) {
        V r = inverse_rms(x, C, eps);
        for (int64_t c = 0; c < C; c += VL) {
            V gx = vmul(vload_n(g + c, C - c), vload_n(x + c, C - c));
            vstore_n(gw + c, C - c, vfma(gx, r, vload_n(gw + c, C - c)));
        }
    }
}

/* Sine and cosine within 2 ulp for |x| < 2^18.  x = n pi/2 + r, |r| <= pi/4: pi/2 in two parts, where the
 * fused multiply-add leaves x - n high exact (it is a multiple of 2^-23 below 1). */
HN_INLINE void sincos_of(V x, V *sine, V *cosine) {
#if HN_SIMD == 0
    V s, c; /* two roundings a step would need more parts: here the C library's double does */
    for (int i = 0; i < VL; i++) s[i] = (float)sin((double)x[i]), c[i] = (float)cos((double)x[i]);
    *sine = s, *cosine = c;
#else
    const V big = vset1(12582912.0f);
    V t = vfma(x, vset1(0.636619772f), big), n = vsub(t, big);
    V r = vfnma(n, vset1(1.57079637f), x);
    r = vfma(n, vset1(4.37113883e-8f), r); /* pi/2 = 1.57079637 - 4.37113883e-8 */
    V z = vmul(r, r), p = vset1(-0.000195173f), q = vset1(2.4433157e-05f);
    p = vfma(p, z, vset1(0.008332178f));
    p = vfma(p, z, vset1(-0.16666655f));
    p = vfma(vmul(p, z), r, r);
    q = vfma(q, z, vset1(-0.0013887316f));
    q = vfma(q, z, vset1(0.041666646f));
    q = vfma(vmul(q, z), z, vfma(z, vset1(-0.5f), vset1(1)));
    VI quarter = vbits(t), one = vi_set1(1);
    /* odd quarters exchange the two; bit 1 of the quarter, or of the next one, is the sign */
    V odd = vfloat(vi_shl(vi_and(quarter, one), 23)); /* 0, or tiny but not 0 */
    VM even = vle(odd, vzero());
    VI ssign = vi_shl(vi_and(quarter, vi_set1(2)), 30);
    VI csign = vi_shl(vi_and(vi_add(quarter, one), vi_set1(2)), 30);
    V s = vblend(even, p, q), c = vblend(even, q, p);
    *sine = vfloat(vi_add(vbits(s), ssign));
    *cosine = vfloat(vi_add(vbits(c), csign));
#endif
}

HN_INLINE void turn(bool half, void *y, const float *x, int32_t pos, const float *freq, float sign,
                    int64_t heads, int64_t D) {
    int64_t mid = D / 2;
    for (int64_t i = 0; i < mid; i += VL) {
        V s, c;
        int64_t n = mid - i;
        sincos_of(vmul(vset1((float)pos), vload_n(freq + i, n)), &s, &c);
        s = vmul(s, vset1(sign));
        for (int64_t h = 0; h < heads; h++) {
            V u = vload_n(x + h * D + i, n), v = vload_n(x + h * D + mid + i, n);
            store_as(half, y, h * D + i, n, vfnma(v, s, vmul(u, c)));
            store_as(half, y, h * D + mid + i, n, vfma(u, s, vmul(v, c)));
        }
    }
}
void HN_TIERED(hn_turn)(void *y, const float *x, int32_t pos, const float *freq, float sign, int64_t heads,
                        int64_t D, bool half) {
    if (half) turn(true, y, x, pos, freq, sign, heads, D);
    else turn(false, y, x, pos, freq, sign, heads, D);
}

HN_INLINE V sigmoid(V a) { return vdiv(vset1(1), vadd(vset1(1), vexp(vneg(a)))); }

HN_INLINE void silu(bool to, bool from, void *y, const void *gate, const void *up, int64_t n) {
    for (int64_t i = 0; i < n; i += VL) {
        V a = load_as(from, gate, i, n - i);
        store_as(to, y, i, n - i, vmul(vmul(a, sigmoid(a)), load_as(from, up, i, n - i)));
    }
}
void HN_TIERED(hn_silu)(void *y, const void *gate, const void *up, int64_t n, bool half_y, bool half) {
    if (half_y && half) silu(true, true, y, gate, up, n);
    else if (half_y) silu(true, false, y, gate, up, n);
    else if (half) silu(false, true, y, gate, up, n);
    else silu(false, false, y, gate, up, n);
}

HN_INLINE void silu_b(bool to, bool from, void *ggate, void *gup, const void *gate, const void *up,
                      const float *g, int64_t n) {
    for (int64_t i = 0; i < n; i += VL) {
        V a = load_as(from, gate, i, n - i), u = load_as(from, up, i, n - i), e = vload_n(g + i, n - i);
        V s = sigmoid(a), as = vmul(a, s);
        V slope = vfma(vsub(a, as), s, s); /* s (1 + a (1 - s)) */
        store_as(to, ggate, i, n - i, vmul(vmul(e, u), slope));
        store_as(to, gup, i, n - i, vmul(e, as));
    }
}
void HN_TIERED(hn_silu_b)(void *ggate, void *gup, const void *gate, const void *up, const float *g, int64_t n,
                          bool half_y, bool half) {
    if (half_y && half) silu_b(true, true, ggate, gup, gate, up, g, n);
    else if (half_y) silu_b(true, false, ggate, gup, gate, up, g, n);
    else if (half) silu_b(false, true, ggate, gup, gate, up, g, n);
    else silu_b(false, false, ggate, gup, gate, up, g, n);
}

#define BINARY(name, f)                                                                                      \
    void HN_TIERED(name)(float *y, const float *a, const float *b, int64_t n) {                              \
        for (int64_t i = 0; i < n; i += VL)                                                                  \
            vstore_n(y + i, n - i, f(vload_n(a + i, n - i), vload_n(b + i, n - i)));                         \
    }
BINARY(hn_vadd, vadd)
BINARY(hn_vsub, vsub)
BINARY(hn_vmul, vmul)

void HN_TIERED(hn_vaffine)(float *y, const float *a, float s, float c, int64_t n) {
    for (int64_t i = 0; i < n; i += VL)
        vstore_n(y + i, n - i, vfma(vset1(s), vload_n(a + i, n - i), vset1(c)));
}

HN_INLINE void columns(bool half, float *y, const void *x, int64_t ld, int64_t rows, int64_t n) {
    for (int64_t i = 0; i < n; i += VL) {
        V s = vload_n(y + i, n - i);
        for (int64_t r = 0; r < rows; r++) s = vadd(s, load_as(half, x, r * ld + i, n - i));
        vstore_n(y + i, n - i, s);
    }
}
void HN_TIERED(hn_vcolumns)(float *y, const void *x, int64_t ld, int64_t rows, int64_t n, bool half) {
    if (half) columns(true, y, x, ld, rows, n);
    else columns(false, y, x, ld, rows, n);
}

void HN_TIERED(hn_vround_bf16)(float *y, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i += VL) vstore_n(y + i, n - i, vround_bf16(vload_n(x + i, n - i)));
}

void HN_TIERED(hn_vnarrow)(uint16_t *y, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i += VL) vstore_bf16_n(y + i, n - i, vload_n(x + i, n - i));
}
