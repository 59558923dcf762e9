/* attn.c - causal attention over a forest: a token sees its own span up to itself and all ancestors whole.
 *
 * Scores are q k / sqrt(D), query head h reads key-value head h G / H.  The reference walks the keys of each
 * token's path from the root; the stored log-sum-exp lets the backward form each probability again
 * (Dao et al. 2022):   P = exp(S - lse),  dV += P dO,  dS = P (dO V - dO O),  dQ += dS K,  dK += dS Q. */
#include "op/op.h"

#include <math.h>

static int64_t head_size(const hn_tensor *y) {
    int64_t H = y->attr.i[0], G = y->attr.i[1], C = hn_cols(y->in[0]);
    return H > 0 && G > 0 && H % G == 0 && C % (H + 2 * G) == 0 ? C / (H + 2 * G) : 0;
}
static bool is_spans(const hn_tensor *x) { return hn_is(x, HN_I32, 2) && hn_cols(x) == 3; }

static int shape(const hn_tensor *y, hn_shape *s) {
    int64_t D = head_size(y);
    s[0] = hn_rows_like(y->in[0], y->attr.i[0] * D);
    s[1] = hn_rows_like(y->in[0], y->attr.i[0]);
    return !hn_is(y->in[0], HN_F, 2) || !D || !is_spans(y->in[1]);
}
static int shape_b(const hn_tensor *y, hn_shape *s) {
    const hn_tensor *o = y->in[1], *lse = y->in[2], *go = y->in[3];
    int64_t D = head_size(y), H = y->attr.i[0];
    s[0] = y->in[0]->shape;
    return !hn_is(y->in[0], HN_F, 2) || !D || !hn_is(o, HN_F, 2) || hn_cols(o) != H * D ||
           !hn_same_rows(o, y->in[0]) || !hn_is(go, HN_F, 2) || !hn_same_shape(o, go) ||
           !hn_is(lse, HN_F, 2) || hn_cols(lse) != H || !hn_same_rows(lse, y->in[0]) || !is_spans(y->in[4]);
}

/* The keys of one token, from the root of its path to itself. */
typedef struct keys {
    const int32_t *span;
    int32_t own, cur; /* the token's span; the span being walked */
    int64_t k, end, last;
} keys;

/* The child of `above` on the way down to `leaf` (-1: the root). */
static int32_t toward(const int32_t *span, int32_t leaf, int32_t above) {
    int32_t s = leaf;
    while (span[3 * s + 2] != above) s = span[3 * s + 2];
    return s;
}
static void enter(keys *p, int32_t s) {
    p->cur = s;
    p->k = p->span[3 * s];
    p->end = s == p->own ? p->last + 1 : p->k + p->span[3 * s + 1];
}
static keys keys_of(const hn_tensor *span, int64_t token) {
    const int32_t *sp = span->data;
    int32_t own = -1;
    for (int32_t s = 0; s < hn_rows(span) && own < 0; s++)
        if (token >= sp[3 * s] && token < sp[3 * s] + sp[3 * s + 1]) own = s;
    hn_assert(own >= 0);
    keys p = { .span = sp, .own = own, .last = token };
    enter(&p, toward(sp, own, -1));
    p.k--;
    return p;
}
static bool next(keys *p) {
    p->k++;
    while (p->k >= p->end) {
        if (p->cur == p->own) return false;
        enter(p, toward(p->span, p->own, p->cur));
    }
    return true;
}

static double dot(const hn_real *a, const hn_real *b, int64_t n) {
    double acc = 0;
    for (int64_t i = 0; i < n; i++) acc += (double)a[i] * b[i];
    return acc;
}

/* One head of one token: log-sum-exp first, then the mean of values, VW columns at a time. */
static void one_head(const hn_tensor *y, int64_t n, int64_t h) {
    enum { VW = 64 };
    int64_t H = y->attr.i[0], G = y->attr.i[1], D = head_size(y), C = hn_cols(y->in[0]);
    const hn_real *x = HN_IN(y, 0), *q = x + n * C + h * D;
    const hn_real *k = x + (H + h * G / H) * D, *v = k + G * D;
    double scale = 1 / sqrt((double)D), top = -INFINITY, sum = 0;
    for (keys p = keys_of(y->in[1], n); next(&p);) top = fmax(top, scale * dot(q, k + p.k * C, D));
    for (keys p = keys_of(y->in[1], n); next(&p);) sum += exp(scale * dot(q, k + p.k * C, D) - top);
    for (int64_t d0 = 0; d0 < D; d0 += VW) {
        double o[VW] = { 0 };
        int64_t w = D - d0 < VW ? D - d0 : VW;
        for (keys p = keys_of(y->in[1], n); next(&p);) {
            double prob = exp(scale * dot(q, k + p.k * C, D) - top) / sum;
            for (int64_t d = 0; d < w; d++) o[d] += prob * v[p.k * C + d0 + d];
        }
        for (int64_t d = 0; d < w; d++) HN_OUT(y, 0)[(n * H + h) * D + d0 + d] = (hn_real)o[d];
    }
    HN_OUT(y, 1)[n * H + h] = (hn_real)(top + log(sum));
}
static void attn_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    for (int64_t n = lo; n < hi; n++)
        for (int64_t h = 0; h < y->attr.i[0]; h++) one_head(y, n, h);
}

static void one_head_b(const hn_tensor *y, int64_t n, int64_t h) {
    int64_t H = y->attr.i[0], G = y->attr.i[1], D = head_size(y), C = hn_cols(y);
    int64_t kv = (H + h * G / H) * D, qat = n * C + h * D;
    const hn_real *x = HN_IN(y, 0), *go = HN_IN(y, 3) + (n * H + h) * D;
    hn_real *gx = HN_OUT(y, 0);
    double scale = 1 / sqrt((double)D), lse = HN_IN(y, 2)[n * H + h];
    double delta = dot(go, HN_IN(y, 1) + (n * H + h) * D, D);
    for (keys p = keys_of(y->in[4], n); next(&p);) {
        int64_t kat = p.k * C + kv, vat = kat + G * D;
        double prob = exp(scale * dot(x + qat, x + kat, D) - lse);
        double ds = prob * (dot(go, x + vat, D) - delta) * scale;
        for (int64_t d = 0; d < D; d++) {
            gx[qat + d] += (hn_real)(ds * x[kat + d]);
            gx[kat + d] += (hn_real)(ds * x[qat + d]);
            gx[vat + d] += (hn_real)(prob * go[d]);
        }
    }
}
static void attn_b_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    memset(HN_OUT(y, 0) + lo * hn_cols(y), 0, (size_t)((hi - lo) * hn_cols(y)) * sizeof(hn_real));
    for (int64_t n = lo; n < hi; n++)
        for (int64_t h = 0; h < y->attr.i[0]; h++) one_head_b(y, n, h);
}

static void attn_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    if (g[0])
        gin[0] = hn_attn_b(t, y->in[0], y, y->out[1], g[0], y->in[1], (int)y->attr.i[0], (int)y->attr.i[1],
                           (hn_prec)y->attr.i[2]);
}

/* Pairs (token, key) that attend, over all live tokens. */
static double pairs(const hn_tensor *span) {
    const int32_t *sp = span->data;
    double all = 0;
    for (int32_t s = 0; sp && s < hn_rows(span); s++) {
        double len = sp[3 * s + 1], above = 0;
        for (int32_t a = sp[3 * s + 2]; a >= 0; a = sp[3 * a + 2]) above += sp[3 * a + 1];
        all += len * above + len * (len + 1) / 2;
    }
    return all;
}
static double attn_flops(const hn_tensor *y) {
    return 4 * pairs(y->in[1]) * (double)(y->attr.i[0] * head_size(y));
}
static double attn_b_flops(const hn_tensor *y) {
    return 10 * pairs(y->in[4]) * (double)(y->attr.i[0] * head_size(y));
}

/* A random forest of as many spans as the case says over all its tokens. */
static void random_spans(const hn_tensor *x, hn_tensor *span, uint64_t seed) {
    int32_t *sp = span->data, S = (int32_t)hn_rows(span), N = (int32_t)hn_rows(x), at = 0, root = 0;
    for (int32_t s = 0; s < S; s++) {
        int32_t left = N - at - (S - s - 1); /* the others need a token each */
        uint64_t r = hn_rand(seed, 71, (uint64_t)s);
        int32_t most = 2 * left / (S - s) + 1, parent = -1;
        int32_t len = s == S - 1 ? left : 1 + (int32_t)(r % (uint64_t)(most < left ? most : left));
        if (s && r >> 32 & 3) parent = root + (int32_t)((r >> 40) % (uint64_t)(s - root));
        else root = s;
        memcpy(sp + 3 * s, (int32_t[3]){ at, len, parent }, 3 * sizeof *sp);
        at += len;
    }
}
static void fill(hn_tensor *const in[], uint64_t seed) { random_spans(in[0], in[1], seed); }
static void fill_b(hn_tensor *const in[], uint64_t seed) { random_spans(in[0], in[4], seed); }

/* clang-format off */
#define HEADS(h, g) { { 0 }, { h, g } }
static const hn_case cases[] = {
    { .name = "tree", .in = { HN_T2(11, 24), HN_SPAN(4) },
      .bound = { 0, 1 }, .attr = HEADS(4, 2), .fill = fill },
    { .name = "chain", .in = { HN_T2(5, 9), HN_SPAN(1) },
      .bound = { 0, 1 }, .attr = HEADS(1, 1), .fill = fill },
    { .name = "blocks", .in = { HN_T2(150, 20), HN_SPAN(5) },
      .bound = { 0, 1 }, .attr = HEADS(3, 1), .fill = fill },
    { .name = "wide", .in = { HN_T2(9, 201), HN_SPAN(3) },
      .bound = { 0, 1 }, .attr = HEADS(1, 1), .fill = fill },
    { .name = "single", .in = { HN_T2(1, 3), HN_SPAN(1) },
      .bound = { 0, 1 }, .attr = HEADS(1, 1), .fill = fill }, { 0 } };
static const hn_case cases_b[] = {
    { .name = "tree", .in = { HN_T2(11, 24), HN_T2(11, 12), HN_T2(11, 4), HN_T2(11, 12), HN_SPAN(4) },
      .bound = { 0, 0, 0, 0, 1 }, .attr = HEADS(4, 2), .fill = fill_b },
    { .name = "blocks", .in = { HN_T2(150, 20), HN_T2(150, 12), HN_T2(150, 3), HN_T2(150, 12), HN_SPAN(5) },
      .bound = { 0, 0, 0, 0, 1 }, .attr = HEADS(3, 1), .fill = fill_b }, { 0 } };
/* clang-format on */

const hn_op hn_op_attn = { .name = "attn",
                           .n_in = 2,
                           .n_out = 2,
                           .shape = shape,
                           .ref = attn_ref,
                           .vjp = attn_vjp,
                           .flops = attn_flops,
                           .fixed_out = 1 << 1,
                           .cases = cases };
const hn_op hn_op_attn_b = { .name = "attn_b",
                             .n_in = 5,
                             .shape = shape_b,
                             .ref = attn_b_ref,
                             .flops = attn_b_flops,
                             .whole = true,
                             .cases = cases_b };

static hn_attr attr(int H, int G, hn_prec p) { return (hn_attr){ { 0 }, { H, G, p } }; }

hn_tensor *hn_attn(hn_tape *t, hn_tensor *qkv, hn_tensor *span, int H, int G, hn_prec p) {
    return HN_APPLY(t, hn_op_attn, attr(H, G, p), qkv, span);
}
hn_tensor *hn_attn_b(hn_tape *t, hn_tensor *qkv, hn_tensor *o, hn_tensor *lse, hn_tensor *go, hn_tensor *span,
                     int H, int G, hn_prec p) {
    return HN_APPLY(t, hn_op_attn_b, attr(H, G, p), qkv, o, lse, go, span);
}
