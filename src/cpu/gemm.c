/* gemm.c - packs, and the cutting of products into blocks for the pool.
 *
 * A block is some rows by some panels: rows so many that their part of A stays in the second-level cache
 * while the panels of B stream past it once.  The kernels are in gemm_tmpl.c (f32, all tiers) and
 * gemm_amx.c (bf16). */
#include "cpu/gemm.h"

#include "base/pool.h"
#include "cpu/gemm_kernels.h"
#include "cpu/rows.h"

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
              (hn_side){ src, cs, rs, p->N, p->K, false, p->prec == HN_PREC_BF16 }, false);
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

enum { NARROW_ROWS = 256 }; /* computed as floats before they are stored as bf16, where a kernel cannot */

static bool packs_a(const hn_gemm_kernels *kn, int64_t acs, hn_prec prec) {
    return kn->needs_a || acs != 1 || prec == HN_PREC_BF16;
}
/* Rows of bf16 that the kernel reads where they lie; the others, fewer than `rows`, are packed. */
static bool reads_rows(const hn_gemm_kernels *kn, int64_t K, int64_t acs, unsigned half) {
    return kn->half && half & HN_HALF_A && acs == 1 && K % kn->k_step == 0;
}

static size_t a_bytes(const hn_gemm_kernels *kn, int64_t M, int64_t K, int64_t acs, hn_prec prec,
                      unsigned half) {
    if (!packs_a(kn, acs, prec)) return 0;
    return side_bytes(kn, reads_rows(kn, K, acs, half) ? min64(M, kn->rows) : M, kn->rows, K);
}
static size_t c_bytes(const hn_gemm_kernels *kn, int64_t M, int64_t N, unsigned half) {
    if (kn->half || !(half & HN_HALF_C)) return 0;
    return ((size_t)(min64(M, NARROW_ROWS) * N) * sizeof(float) + 63) & ~(size_t)63;
}

size_t hn_gemm_packed_work(int64_t M, int64_t K, int64_t N, int64_t acs, hn_prec prec, unsigned half) {
    const hn_gemm_kernels *kn = kernels(hn_cpu_tier(), prec);
    return c_bytes(kn, M, N, half) + a_bytes(kn, M, K, acs, prec, half);
}

size_t hn_gemm_work(int64_t M, int64_t K, int64_t N, int64_t acs, hn_prec prec, unsigned half) {
    const hn_gemm_kernels *kn = kernels(hn_cpu_tier(), prec);
    return hn_gemm_packed_work(M, K, N, acs, prec, half) + side_bytes(kn, N, kn->panel, K);
}

static const void *rows_on(const void *A, int64_t elements, bool half) {
    return (const char *)A + elements * (half ? 2 : 4);
}

/* Packs `rows` rows of A at a time and uses them before they leave the cache. */
static void by_packing(const hn_gemm_kernels *kn, hn_gemm_job j, int64_t rows, bool half, bool round,
                       void *work) {
    const void *A = j.A;
    int64_t M = j.M;
    j.packed = true;
    j.A = work;
    for (int64_t m = 0; m < M; m += rows) {
        j.M = min64(rows, M - m);
        pack_side(kn, work, (hn_side){ rows_on(A, m * j.ars, half), j.ars, j.acs, j.M, j.K, half, round },
                  true);
        product_run(kn, &j);
        j.C = (char *)j.C + rows * j.ldc * (j.half_c ? 2 : 4);
    }
}

static void multiply(const hn_gemm_kernels *kn, hn_gemm_job *j, hn_prec prec, unsigned half, void *work) {
    bool half_a = half & HN_HALF_A;
    hn_assert(j->M >= 0 && j->K >= 0 && j->N >= 0 && j->ldc >= j->N);
    hn_assert(!half_a || prec == HN_PREC_BF16);
    if (j->M == 0 || j->N == 0) return;
    if (!packs_a(kn, j->acs, prec)) {
        product_run(kn, j);
        return;
    }
    hn_assert(((uintptr_t)work & 63) == 0 && (work || j->K == 0));
    /* On the tile unit the waits between packing and product cost more than packing some at a time saves. */
    int64_t rows = kn->needs_a ? j->M : ceil_div(512, kn->rows) * kn->rows;
    if (reads_rows(kn, j->K, j->acs, half) && j->M >= kn->rows) {
        hn_gemm_job whole = *j;
        whole.M = j->M / kn->rows * kn->rows;
        product_run(kn, &whole);
        j->A = rows_on(j->A, whole.M * j->ars, true);
        j->C = (char *)j->C + whole.M * j->ldc * (j->half_c ? 2 : 4);
        j->M -= whole.M;
    }
    if (j->M) by_packing(kn, *j, rows, half_a, prec == HN_PREC_BF16, work);
}

/* ---- C as bf16, where the kernel writes floats ---- */
typedef struct narrow {
    uint16_t *to;
    const float *from;
    int64_t ldc, N;
} narrow;
static void narrow_slice(void *ctx, int64_t lo, int64_t hi) {
    const narrow *c = ctx;
    for (int64_t m = lo; m < hi; m++) HN_TIER_PICK(hn_vnarrow)(c->to + m * c->ldc, c->from + m * c->N, c->N);
}

static void product_of(const hn_gemm_kernels *kn, hn_gemm_job j, hn_prec prec, unsigned half, void *work) {
    hn_assert(!j.half_c || !j.accumulate);
    if (!j.half_c || kn->half) {
        multiply(kn, &j, prec, half, work);
        return;
    }
    int64_t M = j.M, rows = NARROW_ROWS;
    narrow c = { j.C, work, j.ldc, j.N };
    work = (char *)work + c_bytes(kn, M, j.N, half);
    for (int64_t m = 0; m < M; m += rows, c.to += rows * c.ldc) {
        hn_gemm_job part = j;
        part.C = (void *)(uintptr_t)c.from, part.ldc = j.N, part.half_c = false;
        part.M = min64(rows, M - m);
        part.A = rows_on(j.A, m * j.ars, half & HN_HALF_A);
        int64_t live = part.M;
        multiply(kn, &part, prec, half, work);
        hn_parallel(live, slice_items(live, 8192 / max64(1, j.N)), narrow_slice, &c);
    }
}

void hn_gemm_part(void *C, int64_t ldc, const void *A, int64_t ars, int64_t acs, int64_t M, const hn_pack *B,
                  hn_part part, const float *bias, bool accumulate, unsigned half, void *work) {
    hn_assert(B->tier == hn_cpu_tier());
    hn_assert(0 <= part.k0 && part.k0 <= part.k1 && part.k1 <= B->K && part.k0 % HN_KSTEP == 0);
    hn_assert(part.k1 % HN_KSTEP == 0 || part.k1 == B->K);
    hn_assert(0 <= part.n0 && part.n0 <= part.n1 && part.n1 <= B->N && part.n0 % HN_PANEL == 0);
    const hn_gemm_kernels *kn = kernels(B->tier, B->prec);
    size_t panel_bytes = panel_size(kn, B->K);
    hn_gemm_job j = { .C = C,
                      .ldc = ldc,
                      .half_c = half & HN_HALF_C,
                      .A = A,
                      .ars = ars,
                      .acs = acs,
                      .M = M,
                      .K = part.k1 - part.k0,
                      .N = part.n1 - part.n0,
                      .B = B->data,
                      .panel_bytes = panel_bytes,
                      .bias = bias,
                      .accumulate = accumulate };
    j.B += (size_t)(part.n0 / kn->panel) * panel_bytes + (size_t)(part.k0 * kn->panel) * kn->size;
    product_of(kn, j, B->prec, half, work);
}

void hn_gemm_packed(void *C, int64_t ldc, const void *A, int64_t ars, int64_t acs, int64_t M,
                    const hn_pack *B, const float *bias, bool accumulate, unsigned half, void *work) {
    hn_gemm_part(C, ldc, A, ars, acs, M, B, (hn_part){ 0, B->K, 0, B->N }, bias, accumulate, half, work);
}

void hn_gemm(void *C, int64_t ldc, const void *A, int64_t ars, int64_t acs, const void *B, int64_t brs,
             int64_t bcs, int64_t M, int64_t K, int64_t N, hn_prec prec, const float *bias, bool accumulate,
             unsigned half, void *work) {
    const hn_gemm_kernels *kn = kernels(hn_cpu_tier(), prec);
    hn_assert(((uintptr_t)work & 63) == 0 && (work || K * N == 0));
    hn_side s = { B, bcs, brs, N, K, half & HN_HALF_B, prec == HN_PREC_BF16 };
    if (M > 0 && N > 0) pack_side(kn, work, s, false);
    hn_gemm_job j = { .C = C,
                      .ldc = ldc,
                      .half_c = half & HN_HALF_C,
                      .A = A,
                      .ars = ars,
                      .acs = acs,
                      .M = M,
                      .K = K,
                      .N = N,
                      .B = work,
                      .panel_bytes = panel_size(kn, K),
                      .bias = bias,
                      .accumulate = accumulate };
    product_of(kn, j, prec, half, (char *)work + side_bytes(kn, N, kn->panel, K));
}
