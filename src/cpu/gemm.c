/* gemm.c - packs, and the cutting of products into blocks for the pool.
 *
 * A block is some rows by some panels: rows so many that their part of A stays in the second-level cache
 * while the panels of B stream past it once.  The kernels are in gemm_tmpl.c (f32, all tiers) and
 * gemm_amx.c (bf16). */
#include "cpu/gemm.h"

#include "base/pool.h"
#include "cpu/gemm_kernels.h"

enum {
    A_BYTES = 1 << 20,    /* of A in a block: half of the second-level cache of a core with AMX */
    SLICE_BYTES = 1 << 16 /* of a side, packed by one slice */
};

static const hn_gemm_kernels *kernels(hn_tier tier, hn_prec prec) {
#if defined(__x86_64__)
    if (tier == HN_TIER_AMX && prec == HN_PREC_BF16) return &hn_gemm_kernels_amx;
    if (tier >= HN_TIER_AVX512) return &hn_gemm_kernels_avx512;
    if (tier == HN_TIER_AVX2) return &hn_gemm_kernels_avx2;
#endif
    (void)tier, (void)prec;
    return &hn_gemm_kernels_c;
}

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

/* Bytes of `lines` lines packed in panels of `per`, in whole cache lines. */
static size_t side_bytes(const hn_gemm_kernels *kn, int64_t lines, int64_t per, int64_t K) {
    size_t k = (size_t)(ceil_div(K, kn->k_step) * kn->k_step);
    return ((size_t)(ceil_div(lines, per) * per) * k * kn->size + 63) & ~(size_t)63;
}

static size_t panel_size(const hn_gemm_kernels *kn, int64_t K) {
    return (size_t)(kn->panel * ceil_div(K, kn->k_step) * kn->k_step) * kn->size;
}

/* Items of a slice: at least `worth`, for which starting a slice pays, and some slices for each thread. */
static int64_t slice_items(int64_t items, int64_t worth) {
    int64_t threads = hn_pool_threads();
    return threads == 1 ? max64(1, items) : max64(max64(1, worth), items / (8 * threads));
}

/* ---- packing ---- */
typedef struct packing {
    void *dst;
    hn_side side;
    void (*pack)(void *dst, const hn_side *s, int64_t lo, int64_t hi);
} packing;

static void pack_slice(void *ctx, int64_t lo, int64_t hi) {
    const packing *c = ctx;
    c->pack(c->dst, &c->side, lo, hi);
}

static void pack_side(const hn_gemm_kernels *kn, void *dst, hn_side s, bool is_a) {
    int64_t per = is_a ? kn->rows : kn->panel;
    packing c = { dst, s, is_a ? kn->pack_a : kn->pack_b };
    int64_t bytes = max64(1, per * s.K * (int64_t)sizeof(float)), n = ceil_div(s.lines, per);
    hn_parallel(n, slice_items(n, SLICE_BYTES / bytes), pack_slice, &c);
}

static int no_pack(int64_t K, int64_t N, hn_err *e) {
    return hn_fail(e, HN_ENOMEM, "out of memory for packed weights of %lld x %lld", (long long)K,
                   (long long)N);
}

int hn_pack_describe(hn_pack **p, int64_t K, int64_t N, hn_prec prec, hn_err *e) {
    hn_assert(K >= 0 && N >= 0);
    const hn_gemm_kernels *kn = kernels(hn_cpu_tier(), prec);
    hn_pack *q = hn_alloc(sizeof *q);
    if (!q) return no_pack(K, N, e);
    *q = (hn_pack){ hn_cpu_tier(), prec, K, N, NULL, side_bytes(kn, N, kn->panel, K) };
    *p = q;
    return HN_OK;
}

int hn_pack_new(hn_pack **p, int64_t K, int64_t N, hn_prec prec, hn_err *e) {
    hn_pack *q;
    int rc = hn_pack_describe(&q, K, N, prec, e);
    if (rc) return rc;
    if (!(q->data = hn_big_alloc(q->bytes))) {
        hn_free(q);
        return no_pack(K, N, e);
    }
    *p = q;
    return HN_OK;
}

void hn_pack_free(hn_pack *p) {
    if (!p) return;
    hn_big_free(p->data, p->bytes);
    hn_free(p);
}

void hn_pack_fill(hn_pack *p, const float *src, int64_t rs, int64_t cs) {
    hn_assert(p->tier == hn_cpu_tier());
    pack_side(kernels(p->tier, p->prec), p->data,
              (hn_side){ src, cs, rs, p->N, p->K, p->prec == HN_PREC_BF16 }, false);
}

/* ---- products ---- */
typedef struct product {
    hn_gemm_job job;
    const hn_gemm_kernels *kn;
    int64_t rows, panels; /* a block's rows; panels in all */
} product;

static void product_slice(void *ctx, int64_t lo, int64_t hi) {
    const product *c = ctx;
    while (lo < hi) {
        int64_t m0 = lo / c->panels * c->rows, p0 = lo % c->panels;
        int64_t p1 = min64(c->panels, p0 + hi - lo);
        c->kn->block(&c->job, m0, min64(m0 + c->rows, c->job.M), p0, p1);
        lo += p1 - p0;
    }
}

/* Rows of a block: their part of A stays in the second-level cache. */
static int64_t block_rows(const hn_gemm_kernels *kn, int64_t K) {
    int64_t row_bytes = max64(1, K * (int64_t)kn->size);
    return max64(kn->rows, min64(kn->max_rows, A_BYTES / row_bytes) / kn->rows * kn->rows);
}

static void product_run(const hn_gemm_kernels *kn, const hn_gemm_job *j) {
    product c = { *j, kn, block_rows(kn, j->K), ceil_div(j->N, kn->panel) };
    int64_t items = ceil_div(j->M, c.rows) * c.panels;
    /* ns that a panel takes: to come from memory at 25 bytes each, and to be multiplied; a slice is worth
     * starting at 3 us */
    int64_t cost =
        kn->panel * j->K * (int64_t)kn->size / 25 + min64(c.rows, j->M) * kn->panel * j->K / kn->speed;
    hn_parallel(items, slice_items(items, 3000 / max64(1, cost)), product_slice, &c);
}

static bool packs_a(const hn_gemm_kernels *kn, int64_t acs, hn_prec prec) {
    return kn->needs_a || acs != 1 || prec == HN_PREC_BF16;
}

static size_t a_bytes(int64_t M, int64_t K, int64_t acs, hn_prec prec) {
    const hn_gemm_kernels *kn = kernels(hn_cpu_tier(), prec);
    return packs_a(kn, acs, prec) ? side_bytes(kn, M, kn->rows, K) : 0;
}

size_t hn_gemm_packed_work(int64_t M, int64_t K, int64_t acs, hn_prec prec) {
    return a_bytes(M, K, acs, prec);
}

size_t hn_gemm_work(int64_t M, int64_t K, int64_t N, int64_t acs, hn_prec prec) {
    const hn_gemm_kernels *kn = kernels(hn_cpu_tier(), prec);
    return a_bytes(M, K, acs, prec) + side_bytes(kn, N, kn->panel, K);
}

static void multiply(const hn_gemm_kernels *kn, hn_gemm_job *j, hn_prec prec, void *work) {
    hn_assert(j->M >= 0 && j->K >= 0 && j->N >= 0 && j->ldc >= j->N);
    if (j->M == 0 || j->N == 0) return;
    if (!packs_a(kn, j->acs, prec)) {
        product_run(kn, j);
        return;
    }
    hn_assert(((uintptr_t)work & 63) == 0 && (work || j->K == 0));
    /* Some rows at a time are packed, and used before they leave the cache.  (On the tile unit the waits in
     * between cost more than that saves.) */
    const float *A = j->A;
    int64_t M = j->M, rows = kn->needs_a ? M : ceil_div(512, kn->rows) * kn->rows;
    j->packed = true;
    j->A = work;
    for (int64_t m = 0; m < M; m += rows, j->C += rows * j->ldc) {
        j->M = min64(rows, M - m);
        pack_side(kn, work, (hn_side){ A + m * j->ars, j->ars, j->acs, j->M, j->K, prec == HN_PREC_BF16 },
                  true);
        product_run(kn, j);
    }
}

void hn_gemm_part(float *C, int64_t ldc, const float *A, int64_t ars, int64_t acs, int64_t M,
                  const hn_pack *B, hn_part part, const float *bias, bool accumulate, void *work) {
    hn_assert(B->tier == hn_cpu_tier());
    hn_assert(0 <= part.k0 && part.k0 <= part.k1 && part.k1 <= B->K && part.k0 % HN_KSTEP == 0);
    hn_assert(part.k1 % HN_KSTEP == 0 || part.k1 == B->K);
    hn_assert(0 <= part.n0 && part.n0 <= part.n1 && part.n1 <= B->N && part.n0 % HN_PANEL == 0);
    const hn_gemm_kernels *kn = kernels(B->tier, B->prec);
    size_t panel_bytes = panel_size(kn, B->K);
    hn_gemm_job j = {
        C,       ldc,         A,    ars,       acs, false, M, part.k1 - part.k0, part.n1 - part.n0,
        B->data, panel_bytes, bias, accumulate
    };
    j.B += (size_t)(part.n0 / kn->panel) * panel_bytes + (size_t)(part.k0 * kn->panel) * kn->size;
    multiply(kn, &j, B->prec, work);
}

void hn_gemm_packed(float *C, int64_t ldc, const float *A, int64_t ars, int64_t acs, int64_t M,
                    const hn_pack *B, const float *bias, bool accumulate, void *work) {
    hn_gemm_part(C, ldc, A, ars, acs, M, B, (hn_part){ 0, B->K, 0, B->N }, bias, accumulate, work);
}

void hn_gemm(float *C, int64_t ldc, const float *A, int64_t ars, int64_t acs, const float *B, int64_t brs,
             int64_t bcs, int64_t M, int64_t K, int64_t N, hn_prec prec, bool accumulate, void *work) {
    const hn_gemm_kernels *kn = kernels(hn_cpu_tier(), prec);
    hn_assert(((uintptr_t)work & 63) == 0 && (work || K * N == 0));
    hn_side s = { B, bcs, brs, N, K, prec == HN_PREC_BF16 };
    if (M > 0 && N > 0) pack_side(kn, work, s, false);
    hn_gemm_job j = { C, ldc, A, ars, acs, false, M, K, N, work, panel_size(kn, K), NULL, accumulate };
    multiply(kn, &j, prec, (char *)work + side_bytes(kn, N, kn->panel, K));
}
