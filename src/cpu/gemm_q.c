/* gemm_q.c - packs of 8 and 4 bits, and the cutting of their products into slices (gemm_q.h). */
#include "cpu/gemm_q.h"

#include <stdatomic.h>
#include <string.h>

#include "base/pool.h"
#include "cpu/gemm_q_kernels.h"
#include "format/gguf.h"

enum { A_BYTES = 1 << 19 /* of the rows of a block of work: they stay in the second-level cache */ };

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t low(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t high(int64_t a, int64_t b) { return a > b ? a : b; }

/* ---- packs ---- */
static size_t panel_bytes(hn_quant q, int64_t K) { return (size_t)(hn_q_steps(K) * hn_q_step_bytes(q)); }

static int no_pack(int64_t K, int64_t N, hn_err *e) {
    return hn_fail(e, HN_ENOMEM, "out of memory for packed weights of %lld x %lld", (long long)K,
                   (long long)N);
}

int hn_qpack_describe(hn_qpack **p, int64_t K, int64_t N, hn_quant quant, hn_err *e) {
    hn_assert(K > 0 && N > 0 && quant != HN_QUANT_NONE);
    hn_qpack *q = hn_alloc(sizeof *q);
    if (!q) return no_pack(K, N, e);
    *q = (hn_qpack){ quant, K, N, NULL, (size_t)ceil_div(N, HN_QPANEL) * panel_bytes(quant, K) };
    *p = q;
    return HN_OK;
}

int hn_qpack_new(hn_qpack **p, int64_t K, int64_t N, hn_quant quant, hn_err *e) {
    hn_qpack *q;
    int rc = hn_qpack_describe(&q, K, N, quant, e);
    if (rc) return rc;
    if (!(q->data = hn_big_alloc(q->bytes))) {
        hn_free(q);
        return no_pack(K, N, e);
    }
    *p = q;
    return HN_OK;
}

void hn_qpack_free(hn_qpack *p) {
    if (!p) return;
    hn_big_free(p->data, p->bytes);
    hn_free(p);
}

typedef struct filling {
    const hn_qpack *p;
    const float *w;
    atomic_bool bad;
} filling;

/* A block of one column: the bytes that GGUF has, four at a time to where the panel wants them. */
static bool fill_block(const hn_qpack *p, const float *w, int64_t n, char *block, char *scale) {
    unsigned char bytes[2 + HN_QBLOCK];
    float padded[HN_QBLOCK] = { 0 };
    if (n < HN_QBLOCK) w = memcpy(padded, w, (size_t)n * sizeof *w);
    bool four = p->quant == HN_QUANT_Q4;
    if (hn_gguf_pack(four ? HN_GGUF_Q4_0 : HN_GGUF_Q8_0, w, HN_QBLOCK, bytes)) return false;
    for (int i = 0; i < (four ? 4 : 8); i++) memcpy(block + i * HN_QPANEL * 4, bytes + 2 + 4 * i, 4);
    uint16_t h = (uint16_t)(bytes[0] | bytes[1] << 8);
    memcpy(scale, &h, sizeof h);
    return true;
}

static void fill_slice(void *ctx, int64_t lo, int64_t hi) {
    filling *f = ctx;
    const hn_qpack *p = f->p;
    int64_t block = p->quant == HN_QUANT_Q4 ? HN_Q4_BLOCK : HN_Q8_BLOCK;
    for (int64_t n = lo * HN_QPANEL; n < low(hi * HN_QPANEL, p->N); n++) {
        char *at = (char *)p->data + (size_t)(n / HN_QPANEL) * panel_bytes(p->quant, p->K);
        for (int64_t k = 0; k < p->K; k += HN_QBLOCK) {
            char *step = at + k / HN_QSTEP * hn_q_step_bytes(p->quant);
            int64_t half = k / HN_QBLOCK % 2, c = n % HN_QPANEL;
            if (!fill_block(p, f->w + n * p->K + k, p->K - k, step + half * block + c * 4,
                            step + 2 * block + (half * HN_QPANEL + c) * 2))
                atomic_store_explicit(&f->bad, true, memory_order_relaxed);
        }
    }
}

int hn_qpack_fill(hn_qpack *p, const float *w, hn_err *e) {
    filling f = { .p = p, .w = w };
    hn_parallel(ceil_div(p->N, HN_QPANEL), 1, fill_slice, &f);
    if (!atomic_load(&f.bad)) return HN_OK;
    return hn_fail(e, HN_ERANGE,
                   "a weight is not finite, or too large for blocks of %d bits: use the weights as they are",
                   p->quant == HN_QUANT_Q4 ? 4 : 8);
}

/* ---- products ---- */
static int64_t whole_rows(int64_t M) { return ceil_div(M, HN_QROWS) * HN_QROWS; }

size_t hn_gemm_q_work(int64_t M, int64_t K) {
    return (size_t)whole_rows(M) * (size_t)hn_q_steps(K) *
           (HN_QSTEP + 2 * sizeof(float) + 2 * sizeof(int32_t));
}

typedef struct rounding {
    hn_q_rows to;
    const float *A;
    int64_t lda, K;
    int32_t offset;
} rounding;

static void round_slice(void *ctx, int64_t lo, int64_t hi) {
    const rounding *c = ctx;
    int64_t steps = c->to.steps;
    for (int64_t m = lo; m < hi; m++) HN_TIER_PICK(hn_q_round)
    (c->to.q + m * steps * HN_QSTEP, c->to.scale + m * 2 * steps, c->to.sum + m * 2 * steps,
     c->A + m * c->lda, c->K, steps, c->offset);
}

typedef struct product {
    hn_q_job job;
    hn_q_block *block;
    int64_t rows, panels; /* a block's rows; panels in all */
} product;

static void product_slice(void *ctx, int64_t lo, int64_t hi) {
    const product *c = ctx;
    while (lo < hi) {
        int64_t m0 = lo / c->panels * c->rows, p0 = lo % c->panels, p1 = low(c->panels, p0 + hi - lo);
        c->block(&c->job, m0, low(m0 + c->rows, c->job.M), p0, p1);
        lo += p1 - p0;
    }
}

static hn_q_block *block_of(hn_tier tier) {
#if defined(__x86_64__)
    if (tier == HN_TIER_AMX) return hn_q_block_amx;
    if (tier == HN_TIER_AVX512 && hn_cpu_vnni()) return hn_q_block_vnni;
    if (tier >= HN_TIER_AVX2) return hn_q_block_avx2;
#endif
    (void)tier;
    return hn_q_block_c;
}

/* Multiply-adds a ns, about: for cutting work into slices. */
static int64_t speed_of(hn_tier tier) {
    static const int64_t speed[] = {
        [HN_TIER_C] = 3, [HN_TIER_AVX2] = 60, [HN_TIER_AVX512] = 200, [HN_TIER_AMX] = 500
    };
    return speed[tier];
}

void hn_gemm_q(float *C, int64_t ldc, const float *A, int64_t lda, int64_t M, const hn_qpack *B, int64_t n0,
               int64_t n1, const float *bias, void *work) {
    hn_assert(0 <= n0 && n0 <= n1 && n1 <= B->N && n0 % HN_QPANEL == 0 && ldc >= n1 - n0);
    hn_assert(((uintptr_t)work & 63) == 0);
    if (M == 0 || n0 == n1) return;
    int64_t K = B->K, steps = hn_q_steps(K), rows = whole_rows(M), threads = hn_pool_threads();
    hn_q_rows a = { .q = work, .steps = steps };
    a.scale = (float *)(void *)(a.q + rows * steps * HN_QSTEP);
    a.sum = (int32_t *)(void *)(a.scale + rows * steps * 2);
    rounding r = { a, A, lda, K, B->quant == HN_QUANT_Q4 ? -8 : -128 };
    hn_parallel(M, high(1, (1 << 14) / K), round_slice, &r);

    size_t panel = panel_bytes(B->quant, K);
    product c = { .block = block_of(hn_cpu_tier()), .panels = ceil_div(n1 - n0, HN_QPANEL) };
    c.job =
        (hn_q_job){ C,        ldc, M, n1 - n0, a, (const char *)B->data + (size_t)(n0 / HN_QPANEL) * panel,
                    B->quant, bias };
    c.rows = high(HN_QROWS, low(HN_QROWS_MOST, A_BYTES / K) / HN_QROWS * HN_QROWS);
    int64_t items = ceil_div(M, c.rows) * c.panels;
    /* ns that a panel takes: from memory at 25 bytes each, and multiplied; a slice is worth starting at 3 us
     */
    int64_t cost = (int64_t)panel / 25 + low(c.rows, M) * HN_QPANEL * K / speed_of(hn_cpu_tier());
    int64_t grain = threads == 1 ? items : high(high(1, 3000 / high(1, cost)), items / (8 * threads));
    hn_parallel(items, grain, product_slice, &c);
}
