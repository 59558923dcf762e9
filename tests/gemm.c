/* gemm.c - matrix products in every tier: right against double, and the contract on bits (cpu/gemm.h).
 *
 * Outputs start as NaN with guard values around them; comparisons are written so that NaN fails. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/pool.h"
#include "cpu/gemm.h"

enum { GUARD = 37 };
static const float guard = 12345.0f;

/* One product: A [M,K] and B [K,N] in any of the layouts, C with guards, ldc > N. */
typedef struct prod {
    int64_t M, K, N, ldc;
    bool at, bt; /* A stored [K,M]; B stored [N,K] */
    float *A, *B, *bias, *old, *C, *mem;
    double *sum, *size; /* reference() */
    void *work;
    size_t work_bytes;
} prod;

static float value(uint64_t stream, int64_t i) { return (float)hn_rand_normal(7, stream, (uint64_t)i); }

static float *numbers(uint64_t stream, int64_t n) {
    float *p = hn_alloc((size_t)n * sizeof *p);
    assert_non_null(p);
    for (int64_t i = 0; i < n; i++) p[i] = value(stream, i);
    return p;
}

static prod prod_new(int64_t M, int64_t K, int64_t N, bool at, bool bt) {
    prod q = { .M = M, .K = K, .N = N, .ldc = N + 5, .at = at, .bt = bt };
    q.A = numbers(1, M * K), q.B = numbers(2, K * N), q.bias = numbers(3, N), q.old = numbers(4, M * q.ldc);
    q.mem = hn_alloc((size_t)(M * q.ldc + 2 * GUARD) * sizeof(float));
    q.C = q.mem + GUARD;
    return q;
}

static void prod_free(prod *q) {
    hn_free(q->A), hn_free(q->B), hn_free(q->bias), hn_free(q->old), hn_free(q->mem), hn_free(q->work);
    hn_free(q->sum), hn_free(q->size);
}

static int64_t ars(const prod *q) { return q->at ? 1 : q->K; }
static int64_t acs(const prod *q) { return q->at ? q->M : 1; }
static int64_t brs(const prod *q) { return q->bt ? 1 : q->N; }
static int64_t bcs(const prod *q) { return q->bt ? q->K : 1; }

static void poison(prod *q, bool accumulate, size_t work) {
    for (int64_t i = -GUARD; i < q->M * q->ldc + GUARD; i++) q->C[i] = guard;
    for (int64_t m = 0; m < q->M; m++)
        for (int64_t n = 0; n < q->N; n++) q->C[m * q->ldc + n] = accumulate ? q->old[m * q->ldc + n] : NAN;
    hn_free(q->work);
    q->work_bytes = work;
    q->work = hn_alloc(work + 64);
    assert_non_null(q->work);
    memset(q->work, 0xff, work); /* NaN in f32 and bf16 */
    memset((char *)q->work + work, 0x5a, 64);
}

static void check_guards(const prod *q) {
    for (int64_t i = -GUARD; i < q->M * q->ldc + GUARD; i++) {
        bool inside = i >= 0 && i < q->M * q->ldc && i % q->ldc < q->N;
        if (!inside) assert_true(q->C[i] == guard);
    }
    for (int i = 0; i < 64; i++)
        assert_int_equal(((const unsigned char *)q->work)[q->work_bytes + (size_t)i], 0x5a);
}

static hn_pack *pack(const prod *q, hn_prec prec) {
    hn_pack *p;
    assert_int_equal(hn_pack_new(&p, q->K, q->N, prec, NULL), HN_OK);
    hn_pack_fill(p, q->B, brs(q), bcs(q));
    return p;
}

static void run_packed(prod *q, const hn_pack *p, bool bias, bool accumulate) {
    poison(q, accumulate, hn_gemm_packed_work(q->M, q->K, q->N, acs(q), p->prec, 0));
    hn_gemm_packed(q->C, q->ldc, q->A, ars(q), acs(q), q->M, p, bias ? q->bias : NULL, accumulate, 0,
                   q->work);
    check_guards(q);
}

static float bf16(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    u = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u;
    memcpy(&x, &u, sizeof u);
    return x;
}

/* The double sum of the (rounded) products, and of their sizes, for every element. */
static void reference(prod *q, hn_prec prec) {
    hn_free(q->sum), hn_free(q->size);
    q->sum = hn_alloc((size_t)(q->M * q->N) * sizeof(double));
    q->size = hn_alloc((size_t)(q->M * q->N) * sizeof(double));
    assert_true(q->sum && q->size);
    for (int64_t m = 0; m < q->M; m++)
        for (int64_t k = 0; k < q->K; k++)
            for (int64_t n = 0; n < q->N; n++) {
                float a = q->A[m * ars(q) + k * acs(q)], b = q->B[k * brs(q) + n * bcs(q)];
                if (prec == HN_PREC_BF16) a = bf16(a), b = bf16(b);
                q->sum[m * q->N + n] += (double)a * b, q->size[m * q->N + n] += fabs((double)a * b);
            }
}

/* The bound is that of any order of summation. */
static void check_right(const prod *q, bool bias, bool accumulate) {
    for (int64_t m = 0; m < q->M; m++)
        for (int64_t n = 0; n < q->N; n++) {
            double sum = q->sum[m * q->N + n],
                   bound = (1 + q->size[m * q->N + n]) * 6e-8 * (4 + sqrt((double)q->K));
            if (bias) sum += q->bias[n];
            if (accumulate) sum += q->old[m * q->ldc + n];
            assert_true(fabs(q->C[m * q->ldc + n] - sum) <= bound);
        }
}

static void each(void (*check)(hn_prec prec)) {
    hn_tier best = hn_cpu_tier();
    for (hn_tier t = HN_TIER_C; t <= best; t++) {
        hn_cpu_force(t);
        check(HN_PREC_F32);
        check(HN_PREC_BF16);
    }
    hn_cpu_force(best);
}

static void check_shape(int64_t M, int64_t K, int64_t N, hn_prec prec) {
    for (int v = 0; v < 4; v++) {
        prod q = prod_new(M, K, N, v & 1, v >> 1);
        reference(&q, prec);
        hn_pack *p = pack(&q, prec);
        for (int f = 0; f < 4; f++) {
            run_packed(&q, p, f & 1, f >> 1);
            check_right(&q, f & 1, f >> 1);
        }
        hn_pack_free(p);
        for (int acc = 0; acc < 2; acc++) {
            poison(&q, acc, hn_gemm_work(M, K, N, acs(&q), prec, 0));
            hn_gemm(q.C, q.ldc, q.A, ars(&q), acs(&q), q.B, brs(&q), bcs(&q), M, K, N, prec, NULL, acc, 0,
                    q.work);
            check_guards(&q);
            check_right(&q, false, acc);
        }
        prod_free(&q);
    }
}

static void shapes_check(hn_prec prec) {
    static const int64_t d[] = { 1, 2, 3, 5, 7, 16, 17, 33, 64, 100 };
    enum { D = sizeof d / sizeof *d };
    for (int i = 0; i < D; i++)
        for (int k = 0; k < D; k++) /* every pair; the third walks along */
            check_shape(d[i], d[k], d[(i + 3 * k) % D], prec),
                check_shape(d[(2 * i + k) % D], d[k], d[i], prec);
    check_shape(65, 517, 130, prec);
    check_shape(200, 1100, 70, prec);
}
static void test_shapes(void **s) {
    (void)s;
    each(shapes_check);
}

static void assert_bits(const float *a, const float *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) assert_true(a[i] == a[i] && b[i] == b[i]);
    assert_memory_equal(a, b, (size_t)n * sizeof *a);
}

/* A row alone, among others, from another place; columns packed alone; parts of a pack; accumulate. */
static void bits_check(hn_prec prec) {
    enum { M = 70, K = 1100, N = 150, SUB = 37 };
    prod q = prod_new(M, K, N, false, true), one = prod_new(1, K, N, false, true);
    hn_pack *p = pack(&q, prec);
    run_packed(&q, p, true, false);
    float *all = hn_alloc((size_t)(M * q.ldc) * sizeof(float));
    memcpy(all, q.C, (size_t)(M * q.ldc) * sizeof(float));
    for (int64_t m = 0; m < M; m++) {
        memcpy(one.A, q.A + m * K, K * sizeof(float));
        run_packed(&one, p, true, false);
        assert_bits(one.C, all + m * q.ldc, N);
    }
    for (int64_t from = 0; from < M; from += 9)
        for (int64_t rows = 2; from + rows <= M && rows <= 64; rows += rows < 8 ? 1 : 7) {
            hn_gemm_packed(q.C, q.ldc, q.A + from * K, K, 1, rows, p, q.bias, false, 0, q.work);
            for (int64_t m = 0; m < rows; m++) assert_bits(q.C + m * q.ldc, all + (from + m) * q.ldc, N);
        }

    hn_pack *sub;
    assert_int_equal(hn_pack_new(&sub, K, SUB, prec, NULL), HN_OK);
    for (int64_t n = 0; n + SUB <= N; n += 11) {
        hn_pack_fill(sub, q.B + n * K, 1, K);
        hn_gemm_packed(q.C, q.ldc, q.A, K, 1, M, sub, q.bias + n, false, 0, q.work);
        for (int64_t m = 0; m < M; m++) assert_bits(q.C + m * q.ldc, all + m * q.ldc + n, SUB);
    }
    hn_gemm_part(q.C, q.ldc, q.A, K, 1, M, p, (hn_part){ 0, K, 64, 150 }, q.bias + 64, false, 0, q.work);
    for (int64_t m = 0; m < M; m++) assert_bits(q.C + m * q.ldc, all + m * q.ldc + 64, 150 - 64);

    run_packed(&q, p, true, true);
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++) {
            float want = q.old[m * q.ldc + n] + all[m * q.ldc + n];
            assert_bits(&want, q.C + m * q.ldc + n, 1);
        }
    hn_free(all), hn_pack_free(p), hn_pack_free(sub), prod_free(&q), prod_free(&one);
}
static void test_bits(void **s) {
    (void)s;
    each(bits_check);
}

/* The same product through every layout of its inputs and both entry points; a part of k alone. */
static void layouts_check(hn_prec prec) {
    enum { M = 50, K = 333, N = 75, K0 = 96, K1 = 320 };
    prod q = prod_new(M, K, N, false, false);
    hn_pack *p = pack(&q, prec);
    run_packed(&q, p, false, false);
    float *all = hn_alloc((size_t)(M * q.ldc) * sizeof(float));
    memcpy(all, q.C, (size_t)(M * q.ldc) * sizeof(float));
    for (int v = 0; v < 4; v++) {
        prod o = prod_new(M, K, N, v & 1, v >> 1);
        for (int64_t k = 0; k < K; k++) {
            for (int64_t m = 0; m < M; m++) o.A[m * ars(&o) + k * acs(&o)] = q.A[m * K + k];
            for (int64_t n = 0; n < N; n++) o.B[k * brs(&o) + n * bcs(&o)] = q.B[k * N + n];
        }
        hn_pack *r = pack(&o, prec);
        run_packed(&o, r, false, false);
        for (int64_t m = 0; m < M; m++) assert_bits(o.C + m * o.ldc, all + m * q.ldc, N);
        poison(&o, false, hn_gemm_work(M, K, N, acs(&o), prec, 0));
        hn_gemm(o.C, o.ldc, o.A, ars(&o), acs(&o), o.B, brs(&o), bcs(&o), M, K, N, prec, NULL, false, 0,
                o.work);
        check_guards(&o);
        for (int64_t m = 0; m < M; m++) assert_bits(o.C + m * o.ldc, all + m * q.ldc, N);
        hn_pack_free(r), prod_free(&o);
    }
    hn_pack *part;
    assert_int_equal(hn_pack_new(&part, K1 - K0, N, prec, NULL), HN_OK);
    hn_pack_fill(part, q.B + K0 * N, N, 1);
    hn_gemm_packed(all, q.ldc, q.A + K0, K, 1, M, part, NULL, false, 0, q.work);
    hn_gemm_part(q.C, q.ldc, q.A + K0, K, 1, M, p, (hn_part){ K0, K1, 0, N }, NULL, false, 0, q.work);
    for (int64_t m = 0; m < M; m++) assert_bits(q.C + m * q.ldc, all + m * q.ldc, N);
    hn_free(all), hn_pack_free(p), hn_pack_free(part), prod_free(&q);
}
static void test_layouts(void **s) {
    (void)s;
    each(layouts_check);
}

/* ---- matrices stored in bf16 ---- */
static uint16_t *halves_of(float *x, int64_t n) { /* x is rounded as well */
    uint16_t *h = hn_alloc((size_t)n * sizeof *h);
    assert_non_null(h);
    for (int64_t i = 0; i < n; i++) h[i] = hn_bf16(x[i]), x[i] = hn_from_bf16(h[i]);
    return h;
}

/* C of the product that was just run, from floats, as q->C in bf16 must be: with what lies between its rows.
 */
static void assert_halves(const prod *q, const float *want, const uint16_t *c, bool half) {
    for (int64_t m = 0; m < q->M; m++)
        for (int64_t n = 0; n < q->ldc; n++) {
            uint16_t h = n < q->N ? hn_bf16(want[m * q->ldc + n]) : 0x5a5a;
            if (half) assert_int_equal(c[m * q->ldc + n], h);
            else if (n < q->N) assert_true(q->C[m * q->ldc + n] == want[m * q->ldc + n]);
        }
}

static void half_product(int64_t M, int64_t K, int64_t N, bool at, bool bt) {
    prod q = prod_new(M, K, N, at, bt);
    uint16_t *a = halves_of(q.A, M * K), *b = halves_of(q.B, K * N);
    uint16_t *c = hn_alloc((size_t)(M * q.ldc) * sizeof *c);
    float *want = hn_alloc((size_t)(M * q.ldc) * sizeof *want);
    hn_pack *p = pack(&q, HN_PREC_BF16);
    for (unsigned half = 1; half < 8; half++)
        for (int packed = 0; packed < 2 && !(packed && half & HN_HALF_B); packed++) {
            void *C = half & HN_HALF_C ? (void *)c : (void *)q.C;
            const void *A = half & HN_HALF_A ? (void *)a : (void *)q.A;
            const void *B = half & HN_HALF_B ? (void *)b : (void *)q.B;
            if (packed) run_packed(&q, p, true, false);
            else {
                poison(&q, false, hn_gemm_work(M, K, N, acs(&q), HN_PREC_BF16, 0));
                hn_gemm(q.C, q.ldc, q.A, ars(&q), acs(&q), q.B, brs(&q), bcs(&q), M, K, N, HN_PREC_BF16, NULL,
                        false, 0, q.work);
            }
            memcpy(want, q.C, (size_t)(M * q.ldc) * sizeof *want);
            memset(c, 0x5a, (size_t)(M * q.ldc) * sizeof *c);
            poison(&q, false,
                   packed ? hn_gemm_packed_work(M, K, N, acs(&q), HN_PREC_BF16, half)
                          : hn_gemm_work(M, K, N, acs(&q), HN_PREC_BF16, half));
            if (packed) hn_gemm_packed(C, q.ldc, A, ars(&q), acs(&q), M, p, q.bias, false, half, q.work);
            else
                hn_gemm(C, q.ldc, A, ars(&q), acs(&q), B, brs(&q), bcs(&q), M, K, N, HN_PREC_BF16, NULL,
                        false, half, q.work);
            check_guards(&q);
            assert_halves(&q, want, c, half & HN_HALF_C);
        }
    hn_free(a), hn_free(b), hn_free(c), hn_free(want), hn_pack_free(p), prod_free(&q);
}

static void halves_check(hn_prec prec) {
    static const int64_t m[] = { 1, 15, 32, 33, 63, 300 }, k[] = { 1, 31, 64, 70, 640 },
                         n[] = { 1, 17, 40, 130 };
    if (prec != HN_PREC_BF16) return;
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 5; j++)
            for (int v = 0; v < 4; v++) half_product(m[i], k[j], n[(i + j + v) % 4], v & 1, v >> 1);
}
static void test_halves(void **s) {
    (void)s;
    for (int threads = 1; threads <= 3; threads += 2) {
        assert_int_equal(hn_pool_start(threads, NULL), HN_OK);
        each(halves_check);
    }
}

static void threads_check(hn_prec prec) {
    enum { M = 400, K = 200, N = 300 };
    prod q = prod_new(M, K, N, true, false);
    float *all = hn_alloc((size_t)(M * q.ldc) * sizeof(float));
    for (int n = 1; n <= 4; n++) {
        assert_int_equal(hn_pool_start(n, NULL), HN_OK);
        hn_pack *p = pack(&q, prec);
        run_packed(&q, p, true, true);
        if (n == 1) memcpy(all, q.C, (size_t)(M * q.ldc) * sizeof(float));
        for (int64_t m = 0; m < M; m++) assert_bits(q.C + m * q.ldc, all + m * q.ldc, N);
        hn_pack_free(p);
    }
    hn_pool_stop();
    hn_free(all), prod_free(&q);
}
static void test_threads(void **s) {
    (void)s;
    each(threads_check);
}

/* The f32 contract itself: one chain of fused multiply-adds (of two roundings in the plain C tier). */
static void chain_check(hn_prec prec) {
    if (prec == HN_PREC_BF16 && hn_cpu_tier() == HN_TIER_AMX) return;
    enum { M = 9, K = 77, N = 70 };
    prod q = prod_new(M, K, N, false, true);
    hn_pack *p = pack(&q, prec);
    run_packed(&q, p, false, false);
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++) {
            float acc = 0;
            for (int64_t k = 0; k < K; k++) {
                float a = q.A[m * K + k], b = q.B[n * K + k];
                if (prec == HN_PREC_BF16) a = bf16(a), b = bf16(b);
                acc = hn_cpu_tier() == HN_TIER_C ? acc + a * b : fmaf(a, b, acc);
            }
            assert_bits(&acc, q.C + m * q.ldc + n, 1);
        }
    hn_pack_free(p), prod_free(&q);
}
static void test_chain(void **s) {
    (void)s;
    each(chain_check);
}

/* No rows, no columns, no k: bias and the old values alone. */
static void empty_check(hn_prec prec) {
    for (int z = 0; z < 8; z++) {
        prod q = prod_new(z & 1 ? 0 : 3, z & 2 ? 0 : 4, z & 4 ? 0 : 5, false, true);
        reference(&q, prec);
        hn_pack *p = pack(&q, prec);
        run_packed(&q, p, true, true);
        check_right(&q, true, true);
        poison(&q, false, hn_gemm_work(q.M, q.K, q.N, 1, prec, 0));
        hn_gemm(q.C, q.ldc, q.A, q.K, 1, q.B, 1, q.K, q.M, q.K, q.N, prec, NULL, false, 0, q.work);
        check_guards(&q);
        check_right(&q, false, false);
        hn_pack_free(p), prod_free(&q);
    }
}
static void test_empty(void **s) {
    (void)s;
    each(empty_check);
}

/* NaN and infinity reach the elements they belong to and no others. */
static void special_check(hn_prec prec) {
    prod q = prod_new(20, 40, 70, false, true);
    q.A[3 * 40 + 39] = NAN;
    q.B[69 * 40 + 0] = INFINITY;
    hn_pack *p = pack(&q, prec);
    run_packed(&q, p, false, false);
    for (int64_t m = 0; m < 20; m++)
        for (int64_t n = 0; n < 70; n++) {
            float c = q.C[m * q.ldc + n];
            if (m == 3) assert_true(isnan(c));
            else if (n == 69) assert_true(isinf(c));
            else assert_true(isfinite(c));
        }
    hn_pack_free(p), prod_free(&q);
}
static void test_special(void **s) {
    (void)s;
    each(special_check);
}

static void memory_check(hn_prec prec) {
    for (long fuse = 0; fuse < 2; fuse++) {
        hn_err e = { 0 };
        hn_pack *p = NULL;
        hn_alloc_fuse = fuse;
        int rc = hn_pack_new(&p, 100, 100, prec, &e);
        hn_alloc_fuse = -1;
        assert_int_equal(rc, HN_ENOMEM);
        assert_null(p);
        assert_non_null(strstr(e.msg, "100 x 100"));
    }
    hn_pack_free(NULL);
}
static void test_memory(void **s) {
    (void)s;
    each(memory_check);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_shapes),  cmocka_unit_test(test_bits),
                                        cmocka_unit_test(test_layouts), cmocka_unit_test(test_halves),
                                        cmocka_unit_test(test_threads), cmocka_unit_test(test_chain),
                                        cmocka_unit_test(test_empty),   cmocka_unit_test(test_special),
                                        cmocka_unit_test(test_memory) };
    hn_err e = { 0 };
    if (hn_cpu_open(NULL, &e)) {
        print_error("%s\n", e.msg);
        return 1;
    }
    print_message("%s\n", hn_cpu_why());
    return cmocka_run_group_tests(tests, NULL, NULL);
}
