/* logp.c - log-probabilities of chosen tokens straight from hidden states, and their gradient (logp.h).
 *
 * The product with the vocabulary is formed HN_VCHUNK columns at a time and used up before the next; both
 * directions form it anew, so [acts, vocabulary] is never in memory. */
#include "cpu/logp.h"

#include <math.h>

#include "base/pool.h"
#include "cpu/kernels.h"
#include "cpu/pack.h"
#include "op/op.h"
#include "op/softmax.h"

void hn_logp_row_init(hn_logp_row *r, double temperature) {
    *r = (hn_logp_row){ .inv = (float)(1 / temperature), .m = -INFINITY, .m1 = -INFINITY, .top = -INFINITY };
}

void hn_cpu_row_logp(const float *logit, int64_t vocab, int32_t id, double temperature, hn_row *row) {
    hn_logp_row r;
    hn_logp_row_init(&r, temperature);
    for (int64_t v = 0; v < vocab; v += HN_VCHUNK)
        HN_TIER_PICK(hn_logp_chunk)(&r, logit + v, v, hn_least(HN_VCHUNK, vocab - v));
    *row = HN_TIER_PICK(hn_logp_end)(&r, logit[id]);
}

/* ---- one chunk of logits, for all acts ---- */
typedef struct head {
    const hn_tensor *y;
    const hn_pack *fwd; /* of w; NULL: packed on the way, as the gradient always does */
    const hn_qpack *q;  /* of w, or NULL */
    const float *h, *w;
    int64_t A, C, vocab;
    hn_prec prec;
    float *z;           /* [A, HN_VCHUNK] */
    hn_logp_row *state; /* [A] (forward) */
    int64_t v0, n;      /* the chunk */
    void *work;
} head;

static head head_of(const hn_tensor *y) {
    const hn_tensor *h = y->in[0], *w = y->in[1];
    head c = { .y = y,
               .h = h->data,
               .w = w->data,
               .A = hn_rows(h),
               .C = hn_cols(h),
               .vocab = y->attr.i[1],
               .prec = (hn_prec)y->attr.i[0],
               .z = y->work };
    c.q = hn_side_q(w);
    if (!c.q) c.fwd = hn_side_fwd(w, c.prec);
    return c;
}

static size_t z_bytes(const hn_tensor *y) {
    return (size_t)hn_cap_rows(y->in[0]) * HN_VCHUNK * sizeof(float);
}

/* z [A, n] = h w[v0..v0+n)^T, rows HN_VCHUNK apart. */
static void chunk_logits(const head *c) {
    if (c->q) hn_gemm_q(c->z, HN_VCHUNK, c->h, c->C, c->A, c->q, c->v0, c->v0 + c->n, NULL, c->work);
    else if (c->fwd) {
        hn_part part = { 0, c->C, c->v0, c->v0 + c->n };
        hn_gemm_part(c->z, HN_VCHUNK, c->h, c->C, 1, c->A, c->fwd, part, NULL, false, 0, c->work);
    } else
        hn_gemm(c->z, HN_VCHUNK, c->h, c->C, 1, c->w + c->v0 * c->C, 1, c->C, c->A, c->C, c->n, c->prec, NULL,
                false, 0, c->work);
}

static size_t logits_work(const hn_tensor *y) {
    const hn_tensor *h = y->in[0];
    hn_prec prec = (hn_prec)y->attr.i[0];
    int64_t A = hn_cap_rows(h), C = hn_cols(h);
    if (hn_side_q(y->in[1])) return hn_room(hn_gemm_q_work(A, C));
    return hn_room(y->in[1]->side ? hn_gemm_packed_work(A, C, HN_VCHUNK, 1, prec, 0)
                                  : hn_gemm_work(A, C, HN_VCHUNK, 1, prec, 0));
}

/* ---- forward ---- */
static void forward_slice(void *ctx, int64_t lo, int64_t hi) {
    const head *c = ctx;
    const int32_t *target = HN_INI(c->y, 2);
    for (int64_t a = lo; a < hi; a++) {
        const float *z = c->z + a * HN_VCHUNK;
        HN_TIER_PICK(hn_logp_chunk)(c->state + a, z, c->v0, c->n);
        int64_t v = target[a] - c->v0;
        if (v >= 0 && v < c->n) HN_OUT(c->y, 0)[a] = z[v]; /* the logit waits here for the end */
    }
}
static void end_slice(void *ctx, int64_t lo, int64_t hi) {
    const head *c = ctx;
    for (int64_t a = lo; a < hi; a++) {
        float *logp = HN_OUT(c->y, 0) + a, *stat = HN_OUT(c->y, 1) + 4 * a;
        hn_row r = HN_TIER_PICK(hn_logp_end)(c->state + a, *logp);
        *logp = r.logp;
        stat[0] = r.logp1;
        stat[1] = r.entropy;
        stat[2] = c->state[a].best == HN_INI(c->y, 2)[a];
        stat[3] = r.lse;
    }
}

size_t hn_cpu_logp_scratch(const hn_tensor *y) {
    return z_bytes(y) + hn_room((size_t)hn_cap_rows(y->in[0]) * sizeof(hn_logp_row)) + logits_work(y);
}
int hn_cpu_logp(const hn_tensor *y, hn_err *e) {
    (void)e;
    head c = head_of(y);
    c.state = (hn_logp_row *)(void *)((char *)y->work + z_bytes(y));
    c.work = (char *)c.state + hn_room((size_t)hn_cap_rows(y->in[0]) * sizeof *c.state);
    for (int64_t a = 0; a < c.A; a++) {
        hn_assert(HN_INI(y, 2)[a] >= 0 && HN_INI(y, 2)[a] < c.vocab);
        hn_logp_row_init(c.state + a, y->attr.f[0]);
    }
    for (c.v0 = 0; c.v0 < c.vocab; c.v0 += HN_VCHUNK) {
        c.n = hn_least(HN_VCHUNK, c.vocab - c.v0);
        chunk_logits(&c);
        hn_parallel(c.A, 8, forward_slice, &c);
    }
    hn_parallel(c.A, 256, end_slice, &c);
    return HN_OK;
}

/* ---- backward ---- */
/* Columns of the chunk with those up to the product's step in k: a vocabulary smaller than the matrix may end
 * in the middle of one; the gradient is 0 there. */
static int64_t stepped(const head *c) {
    int64_t end = c->v0 + (c->n + HN_KSTEP - 1) / HN_KSTEP * HN_KSTEP;
    return hn_least(end, c->y->in[1]->shape.d[0]) - c->v0;
}

static void backward_slice(void *ctx, int64_t lo, int64_t hi) {
    const head *c = ctx;
    float inv = (float)(1 / c->y->attr.f[0]);
    for (int64_t a = lo; a < hi; a++) {
        float *z = c->z + a * HN_VCHUNK, lse = HN_IN(c->y, 4)[4 * a + 3];
        HN_TIER_PICK(hn_logp_grad)(z, c->n, HN_INI(c->y, 2)[a] - c->v0, inv, lse, HN_IN(c->y, 5)[a]);
        for (int64_t v = c->n; v < stepped(c); v++) z[v] = 0;
    }
}

/* gh (+)= dz w[chunk], gw[chunk] += dz^T h. */
static void chunk_products(const head *c, float *gh, float *gw) {
    int64_t C = c->C, n = stepped(c);
    const float *w = c->w + c->v0 * C;
    bool more = c->v0 > 0;
    if (gh) hn_gemm(gh, C, c->z, HN_VCHUNK, 1, w, C, 1, c->A, n, C, c->prec, NULL, more, 0, c->work);
    if (gw)
        hn_gemm(gw + c->v0 * C, C, c->z, 1, HN_VCHUNK, c->h, C, 1, c->n, c->A, C, c->prec, NULL, true, 0,
                c->work);
}

size_t hn_cpu_logp_b_scratch(const hn_tensor *y) {
    const hn_tensor *h = y->in[0];
    hn_prec prec = (hn_prec)y->attr.i[0];
    int64_t A = hn_cap_rows(h), C = hn_cols(h);
    size_t gh = hn_gemm_work(A, HN_VCHUNK, C, 1, prec, 0);
    size_t gw = hn_gemm_work(HN_VCHUNK, A, C, HN_VCHUNK, prec, 0), most = logits_work(y);
    if (gh > most) most = gh;
    return z_bytes(y) + (gw > most ? gw : most);
}
int hn_cpu_logp_b(const hn_tensor *y, hn_err *e) {
    (void)e;
    head c = head_of(y);
    float *gh = y->out[0]->data, *gw = y->out[1]->data;
    c.work = (char *)y->work + z_bytes(y);
    for (c.v0 = 0; c.v0 < c.vocab; c.v0 += HN_VCHUNK) {
        c.n = hn_least(HN_VCHUNK, c.vocab - c.v0);
        chunk_logits(&c);
        hn_parallel(c.A, 8, backward_slice, &c);
        chunk_products(&c, gh, gw);
    }
    return HN_OK;
}
