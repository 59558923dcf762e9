/* products.c - matrix products of the tape: linear layers, their gradients, rows of logits; packed weights.
 */
#include <math.h>

#include "base/pool.h"
#include "cpu/kernels.h"
#include "cpu/pack.h"
#include "op/op.h"

/* ---- packed copies beside weights ---- */
static bool fits(const hn_pack *p, int64_t K, int64_t N, hn_prec prec) {
    return p && p->tier == hn_cpu_tier() && p->prec == prec && p->K == K && p->N == N;
}
/* One copy: made anew unless it fits, then filled; w NULL: its size alone. */
static int set_one(hn_pack **p, const float *w, int64_t K, int64_t N, int64_t rs, int64_t cs, hn_prec prec,
                   hn_err *e) {
    if (!fits(*p, K, N, prec) || (w && !(*p)->data)) {
        hn_pack_free(*p);
        *p = NULL;
        int rc = w ? hn_pack_new(p, K, N, prec, e) : hn_pack_describe(p, K, N, prec, e);
        if (rc) return rc;
    }
    if (w) hn_pack_fill(*p, w, rs, cs);
    return HN_OK;
}

int hn_weight_pack_set(void **side, const float *w, int64_t rows, int64_t cols, hn_prec p, bool backward,
                       hn_err *e) {
    hn_weight_pack *s = *side;
    if (!s && !(s = *side = hn_alloc(sizeof *s)))
        return hn_fail(e, HN_ENOMEM, "out of memory for packed weights");
    int rc = set_one(&s->fwd, w, cols, rows, 1, cols, p, e);
    if (!rc && backward) rc = set_one(&s->bwd, w, rows, cols, cols, 1, p, e);
    return rc;
}

static bool fits_q(const hn_qpack *p, int64_t K, int64_t N, hn_quant q) {
    return p && p->K == K && p->N == N && p->quant == q;
}

int hn_weight_pack_quant(void **side, const float *w, int64_t rows, int64_t cols, hn_quant q, hn_err *e) {
    hn_weight_pack *s = *side;
    if (!s && !(s = *side = hn_alloc(sizeof *s)))
        return hn_fail(e, HN_ENOMEM, "out of memory for packed weights");
    if (!fits_q(s->q, cols, rows, q) || (w && !s->q->data)) {
        hn_qpack_free(s->q);
        s->q = NULL;
        int rc = w ? hn_qpack_new(&s->q, cols, rows, q, e) : hn_qpack_describe(&s->q, cols, rows, q, e);
        if (rc) return rc;
    }
    return w ? hn_qpack_fill(s->q, w, e) : HN_OK;
}

void hn_weight_pack_free(void *side) {
    hn_weight_pack *s = side;
    if (!s) return;
    hn_pack_free(s->fwd);
    hn_pack_free(s->bwd);
    hn_qpack_free(s->q);
    hn_free(s);
}

size_t hn_weight_pack_bytes(const void *side, bool backward) {
    const hn_weight_pack *s = side;
    const hn_pack *p = !s ? NULL : backward ? s->bwd : s->fwd;
    const hn_qpack *q = s && !backward ? s->q : NULL;
    return (p ? hn_big_size(p->bytes) : 0) + (q ? hn_big_size(q->bytes) : 0);
}

const hn_pack *hn_side_fwd(const hn_tensor *w, hn_prec p) {
    const hn_weight_pack *s = w->side;
    if (!s) return NULL;
    hn_assert(fits(s->fwd, hn_cols(w), w->shape.d[0], p)); /* else: not refreshed since the tier changed */
    return s->fwd;
}
const hn_pack *hn_side_bwd(const hn_tensor *w, hn_prec p) {
    const hn_weight_pack *s = w->side;
    if (!s) return NULL;
    hn_assert(fits(s->bwd, w->shape.d[0], hn_cols(w), p)); /* else: packed for inference alone */
    return s->bwd;
}

const hn_qpack *hn_side_q(const hn_tensor *w) {
    const hn_weight_pack *s = w->side;
    hn_assert(!s || !s->q || fits_q(s->q, hn_cols(w), w->shape.d[0], s->q->quant));
    return s ? s->q : NULL;
}

/* ---- linear ---- */
static hn_prec prec_of(const hn_tensor *y) { return (hn_prec)y->attr.i[0]; }

static bool is_half(const hn_tensor *x) { return x->type == HN_BF16; }
static unsigned halves(const hn_tensor *c, const hn_tensor *a) {
    return (is_half(a) ? HN_HALF_A : 0) | (is_half(c) ? HN_HALF_C : 0);
}

/* Work of the product y of a and a weight: A alone when there is a pack, else both sides. */
static size_t with_weight(const hn_tensor *y, const hn_tensor *a, const hn_pack *p, int64_t N) {
    int64_t M = hn_cap_rows(a), K = hn_cols(a);
    return p ? hn_gemm_packed_work(M, K, N, 1, prec_of(y), halves(y, a))
             : hn_gemm_work(M, K, N, 1, prec_of(y), halves(y, a));
}

size_t hn_cpu_linear_scratch(const hn_tensor *y) {
    const hn_tensor *x = y->in[0], *w = y->in[1];
    if (hn_side_q(w)) return hn_gemm_q_work(hn_cap_rows(x), hn_cols(x));
    return with_weight(y, x, hn_side_fwd(w, prec_of(y)), w->shape.d[0]);
}
int hn_cpu_linear(const hn_tensor *y, hn_err *e) {
    (void)e;
    const hn_tensor *x = y->in[0], *w = y->in[1];
    const hn_qpack *q = hn_side_q(w);
    const hn_pack *p = q ? NULL : hn_side_fwd(w, prec_of(y));
    int64_t N = hn_rows(x), C = hn_cols(x), O = hn_cols(y);
    const float *bias = y->in[2] ? y->in[2]->data : NULL;
    hn_assert(!q || !halves(y, x));
    if (q) hn_gemm_q(y->data, O, x->data, C, N, q, 0, O, bias, y->work);
    else if (p) hn_gemm_packed(y->data, O, x->data, C, 1, N, p, bias, false, halves(y, x), y->work);
    else
        hn_gemm(y->data, O, x->data, C, 1, w->data, 1, C, N, C, O, prec_of(y), bias, false, halves(y, x),
                y->work);
    return HN_OK;
}

size_t hn_cpu_linear_x_scratch(const hn_tensor *y) {
    const hn_tensor *g = y->in[0], *w = y->in[1];
    return with_weight(y, g, hn_side_bwd(w, prec_of(y)), hn_cols(w));
}
int hn_cpu_linear_x(const hn_tensor *y, hn_err *e) {
    (void)e;
    const hn_tensor *g = y->in[0], *w = y->in[1];
    const hn_pack *p = hn_side_bwd(w, prec_of(y));
    int64_t N = hn_rows(g), O = hn_cols(g), C = hn_cols(y);
    if (p) hn_gemm_packed(y->data, C, g->data, O, 1, N, p, NULL, false, halves(y, g), y->work);
    else
        hn_gemm(y->data, C, g->data, O, 1, w->data, C, 1, N, O, C, prec_of(y), NULL, false, halves(y, g),
                y->work);
    return HN_OK;
}

size_t hn_cpu_linear_w_scratch(const hn_tensor *y) {
    int64_t O = hn_cols(y->in[0]);
    return hn_gemm_work(O, hn_cap_rows(y->in[0]), hn_cols(y), O, prec_of(y), halves(y, y->in[0]));
}
int hn_cpu_linear_w(const hn_tensor *y, hn_err *e) {
    (void)e;
    const hn_tensor *g = y->in[0], *x = y->in[1];
    int64_t N = hn_rows(g), O = hn_cols(g), C = hn_cols(x);
    hn_gemm(y->data, C, g->data, 1, O, x->data, C, 1, O, N, C, prec_of(y), NULL, true,
            halves(y, g) | (is_half(x) ? HN_HALF_B : 0), y->work);
    return HN_OK;
}

/* ---- rows of logits: the columns of the product that logp forms chunk by chunk ---- */
size_t hn_cpu_logits_scratch(const hn_tensor *y) {
    const hn_tensor *h = y->in[0];
    if (hn_side_q(y->in[1])) return hn_gemm_q_work(hn_cap_rows(h), hn_cols(h));
    return with_weight(y, h, hn_side_fwd(y->in[1], prec_of(y)), y->attr.i[1]);
}
static void absent_slice(void *ctx, int64_t lo, int64_t hi) {
    const hn_tensor *y = ctx;
    int64_t V = hn_cols(y);
    for (int64_t r = lo; r < hi; r++)
        for (int64_t v = y->attr.i[1]; v < V; v++) HN_OUT(y, 0)[r * V + v] = -INFINITY;
}
int hn_cpu_logits(const hn_tensor *y, hn_err *e) {
    (void)e;
    const hn_tensor *h = y->in[0], *w = y->in[1];
    const hn_qpack *q = hn_side_q(w);
    const hn_pack *p = q ? NULL : hn_side_fwd(w, prec_of(y));
    int64_t R = hn_rows(h), C = hn_cols(h), V = hn_cols(y), vocab = y->attr.i[1];
    if (q) hn_gemm_q(y->data, V, h->data, C, R, q, 0, vocab, NULL, y->work);
    else if (p) {
        hn_part all = { 0, C, 0, vocab };
        hn_gemm_part(y->data, V, h->data, C, 1, R, p, all, NULL, false, 0, y->work);
    } else
        hn_gemm(y->data, V, h->data, C, 1, w->data, 1, C, R, C, vocab, prec_of(y), NULL, false, 0, y->work);
    if (vocab < V) hn_parallel(R, hn_most(1, 8192 / (V - vocab)), absent_slice, (void *)(uintptr_t)y);
    return HN_OK;
}
