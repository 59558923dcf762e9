/* gemm_q.c - products with weights in blocks of 8 and 4 bits: every tier against the definition in
 * cpu/gemm_q.h bit for bit, whatever the number of rows, columns and threads; packs against GGUF's blocks.
 *
 * The definition here reads blocks from hn_gguf_pack, which tests/gguf.c holds against gguf-py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/pool.h"
#include "cpu/gemm_q.h"
#include "format/gguf.h"
#include "format/half.h"

enum { B = 32, GUARD = 29 };
static const float guard = 12345.0f;

/* One product.  q*: integers, d*: a scale a block, [rows, blocks]. */
typedef struct prod {
    int64_t M, K, N, ldc, blocks;
    hn_quant quant;
    float *A, *W, *bias, *C, *mem, *want, *da, *dw;
    int8_t *qa, *qw;
    hn_qpack *pack;
    bool biased;
    char *work;
    size_t work_bytes;
} prod;

static void *must(void *p) {
    assert_non_null(p);
    return p;
}

static float *numbers(uint64_t stream, int64_t n) {
    float *p = must(hn_alloc((size_t)n * sizeof *p));
    for (int64_t i = 0; i < n; i++) /* blocks of unlike sizes */
        p[i] = (float)(hn_rand_normal(7, stream, (uint64_t)i) *
                       exp2((double)(hn_rand(8, stream, (uint64_t)(i / 19)) % 20) - 10));
    return p;
}

/* The rule for rows of A, one number at a time. */
static void round_a(const float *x, int64_t n, int8_t *q, float *d) {
    float top = 0;
    for (int64_t i = 0; i < n; i++) top = fmaxf(top, fabsf(x[i]));
    *d = top / 127;
    for (int64_t i = 0; i < n; i++) q[i] = (int8_t)nearbyintf(*d > 0 ? x[i] * (1 / *d) : 0);
}

static void round_w(const prod *p, const float *x, int64_t n, int8_t *q, float *d) {
    float whole[B] = { 0 };
    unsigned char bytes[2 + B];
    memcpy(whole, x, (size_t)n * sizeof *x);
    bool four = p->quant == HN_QUANT_Q4;
    assert_int_equal(hn_gguf_pack(four ? HN_GGUF_Q4_0 : HN_GGUF_Q8_0, whole, B, bytes), HN_OK);
    *d = hn_f16_to_f32((uint16_t)(bytes[0] | bytes[1] << 8));
    for (int i = 0; i < n; i++)
        q[i] = (int8_t)(!four ? bytes[2 + i] : ((i < 16 ? bytes[2 + i] & 15 : bytes[2 + i - 16] >> 4) - 8));
}

static prod prod_new(int64_t M, int64_t K, int64_t N, hn_quant quant) {
    prod p = { .M = M, .K = K, .N = N, .ldc = N + 3, .blocks = (K + B - 1) / B, .quant = quant };
    p.A = numbers(1, M * K), p.W = numbers(2, N * K), p.bias = numbers(3, N);
    p.mem = must(hn_alloc((size_t)(M * p.ldc + 2 * GUARD) * sizeof(float)));
    p.C = p.mem + GUARD;
    p.want = must(hn_alloc((size_t)(M * N) * sizeof(float)));
    p.qa = must(hn_alloc((size_t)(M * K))), p.qw = must(hn_alloc((size_t)(N * K)));
    p.da = must(hn_alloc((size_t)(M * p.blocks) * sizeof(float)));
    p.dw = must(hn_alloc((size_t)(N * p.blocks) * sizeof(float)));
    assert_int_equal(hn_qpack_new(&p.pack, K, N, quant, NULL), HN_OK);
    assert_int_equal(hn_qpack_fill(p.pack, p.W, NULL), HN_OK);
    p.work_bytes = hn_gemm_q_work(M, K);
    p.work = must(hn_alloc(p.work_bytes + 64));
    return p;
}

static void prod_free(prod *p) {
    hn_free(p->A), hn_free(p->W), hn_free(p->bias), hn_free(p->mem), hn_free(p->want), hn_free(p->da),
        hn_free(p->dw);
    hn_free(p->qa), hn_free(p->qw), hn_free(p->work);
    hn_qpack_free(p->pack);
}

static void define(prod *p, bool bias) {
    p->biased = bias;
    for (int64_t b = 0; b < p->blocks; b++) {
        int64_t k = b * B, n = p->K - k < B ? p->K - k : B;
        for (int64_t m = 0; m < p->M; m++)
            round_a(p->A + m * p->K + k, n, p->qa + m * p->K + k, p->da + m * p->blocks + b);
        for (int64_t c = 0; c < p->N; c++)
            round_w(p, p->W + c * p->K + k, n, p->qw + c * p->K + k, p->dw + c * p->blocks + b);
    }
    for (int64_t m = 0; m < p->M; m++)
        for (int64_t c = 0; c < p->N; c++) {
            float acc = 0;
            for (int64_t b = 0; b < p->blocks; b++) {
                int dot = 0;
                for (int64_t k = b * B; k < p->K && k < (b + 1) * B; k++)
                    dot += p->qa[m * p->K + k] * p->qw[c * p->K + k];
                float t = p->da[m * p->blocks + b] * p->dw[c * p->blocks + b];
                acc = hn_cpu_tier() == HN_TIER_C ? acc + (float)dot * t : fmaf((float)dot, t, acc);
            }
            p->want[m * p->N + c] = bias ? acc + p->bias[c] : acc;
        }
}

static void run(prod *p, int64_t m0, int64_t rows, int64_t n0, int64_t n1) {
    for (int64_t i = -GUARD; i < p->M * p->ldc + GUARD; i++) p->C[i] = guard;
    memset(p->work, 0xff, hn_gemm_q_work(rows, p->K));
    memset(p->work + p->work_bytes, 0x5a, 64);
    hn_gemm_q(p->C + m0 * p->ldc + n0, p->ldc, p->A + m0 * p->K, p->K, rows, p->pack, n0, n1,
              p->biased ? p->bias + n0 : NULL, p->work);
    for (int i = 0; i < 64; i++) assert_int_equal(p->work[p->work_bytes + (size_t)i], 0x5a);
    for (int64_t i = -GUARD; i < p->M * p->ldc + GUARD; i++) {
        int64_t m = i / p->ldc, n = i % p->ldc;
        if (i >= 0 && m >= m0 && m < m0 + rows && n >= n0 && n < n1)
            assert_memory_equal(p->C + i, p->want + m * p->N + n, sizeof(float));
        else assert_true(p->C[i] == guard);
    }
}

static void each(void (*check)(hn_quant q)) {
    hn_tier best = hn_cpu_tier();
    for (hn_tier t = HN_TIER_C; t <= best; t++) {
        hn_cpu_force(t);
        check(HN_QUANT_Q8);
        check(HN_QUANT_Q4);
    }
    hn_cpu_force(best);
}

static void shapes_check(hn_quant q) {
    static const int64_t M[] = { 1, 2, 3, 4, 5, 7, 8, 11, 13, 16, 17, 23, 31, 33, 48, 70 };
    static const int64_t K[] = { 1, 31, 32, 33, 64, 65, 96, 200, 512, 1088 },
                         N[] = { 1, 15, 16, 17, 40, 100 };
    enum { MS = sizeof M / sizeof *M, KS = sizeof K / sizeof *K, NS = sizeof N / sizeof *N };
    for (int m = 0; m < MS; m++)
        for (int k = 0; k < KS; k++) {
            prod p = prod_new(M[m], K[k], N[(m + k) % NS], q);
            define(&p, k & 1);
            run(&p, 0, p.M, 0, p.N);
            prod_free(&p);
        }
    prod p = prod_new(300, 1100, 50, q); /* more rows than a block, more steps than a block of k */
    define(&p, true);
    run(&p, 0, p.M, 0, p.N);
    prod_free(&p);
}
static void test_definition(void **s) {
    (void)s;
    each(shapes_check);
}

/* Any rows alone, and any columns, have the bits they have among the others; so with any threads. */
static void parts_check(hn_quant q) {
    prod p = prod_new(64, 1200, 150, q);
    define(&p, true);
    for (int threads = 1; threads <= 4; threads++) {
        assert_int_equal(hn_pool_start(threads, NULL), HN_OK);
        for (int64_t rows = 1; rows <= 64; rows += rows < 20 ? 1 : 11)
            for (int64_t m = 0; m + rows <= 64; m += 21) run(&p, m, rows, 0, p.N);
        run(&p, 0, 64, 64, 150);
        run(&p, 3, 9, 16, 49);
    }
    hn_pool_stop();
    prod_free(&p);
}
static void test_parts(void **s) {
    (void)s;
    each(parts_check);
}

/* Blocks of zeros, of the smallest numbers, and halves: 0.5 of a step is rounded as the rule says. */
static void edges_check(hn_quant q) {
    prod p = prod_new(5, 128, 20, q);
    for (int64_t k = 0; k < 128; k++) {
        p.A[k] = 0;
        p.A[128 + k] = k < 32 ? 1e-44f : (float)(k % 2 ? -127 : k - 63.5);
        p.A[2 * 128 + k] = k == 40 ? 3e38f : 1;
        p.W[k] = 0;
        p.W[128 + k] = k % 32 ? 1e-42f : -1e-42f;
        p.W[2 * 128 + k] = k % 32 == 7 ? -8 : (float)(k % 17) - 7.5f;
    }
    assert_int_equal(hn_qpack_fill(p.pack, p.W, NULL), HN_OK);
    for (int64_t k = 0; k < 32; k++)
        p.A[128 + k] = 0; /* what the rule makes of numbers too small to invert */
    define(&p, true);
    for (int64_t k = 0; k < 32; k++) p.A[128 + k] = 1e-44f;
    run(&p, 0, 5, 0, 20);
    prod_free(&p);
}
static void test_edges(void **s) {
    (void)s;
    each(edges_check);
}

/* A row that is not finite is NaN in all columns, and no other row is. */
static void special_check(hn_quant q) {
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    for (int i = 0; i < 3; i++) {
        prod p = prod_new(20, 96, 40, q);
        p.A[7 * 96 + 33 + 11 * i] = bad[i];
        hn_gemm_q(p.C, p.ldc, p.A, 96, 20, p.pack, 0, 40, NULL, p.work);
        for (int64_t m = 0; m < 20; m++)
            for (int64_t n = 0; n < 40; n++) {
                float c = p.C[m * p.ldc + n];
                assert_true(m == 7 ? isnan(c) : isfinite(c));
            }
        prod_free(&p);
    }
}
static void test_special(void **s) {
    (void)s;
    each(special_check);
}

/* Weights that came from a file of the same blocks get these blocks again, so nothing is lost twice. */
static void test_again(void **s) {
    (void)s;
    enum { N = 40, K = 224 };
    for (int i = 0; i < 2; i++) {
        hn_gguf_type type = i ? HN_GGUF_Q4_0 : HN_GGUF_Q8_0;
        float *w = numbers(5, N * K), *again = must(hn_alloc(N * K * sizeof *again));
        unsigned char *one = must(hn_alloc(N * K * 2)), *two = must(hn_alloc(N * K * 2));
        w[3] = w[67] = 0;
        memset(w + 64, 0, 32 * sizeof *w);
        for (int64_t k = 0; k < N * K; k++) w[k] *= 100; /* no scale below the normal numbers of f16 */
        assert_int_equal(hn_gguf_pack(type, w, N * K, one), HN_OK);
        hn_gguf_unpack(type, one, N * K, again);
        assert_int_equal(hn_gguf_pack(type, again, N * K, two), HN_OK);
        assert_memory_equal(one, two, (size_t)hn_gguf_bytes(type, N * K));
        double far = 0, top = 0; /* and they are near */
        for (int64_t k = 0; k < N * K; k++) {
            float most = 0;
            for (int64_t b = k / B * B; b < k / B * B + B; b++) most = fmaxf(most, fabsf(w[b]));
            far = fabs((double)again[k] - w[k]), top = most / (i ? 8 : 127);
            assert_true(far <= top * (i ? 1.01 : 0.57));
        }
        hn_free(w), hn_free(again), hn_free(one), hn_free(two);
    }
}

static void test_refused(void **s) {
    (void)s;
    for (int four = 0; four < 2; four++)
        for (int i = 0; i < 3; i++) {
            hn_err e = { 0 };
            hn_quant q = four ? HN_QUANT_Q4 : HN_QUANT_Q8;
            prod p = prod_new(1, 40, 33, q);
            p.W[32 * 40 + 39] = i == 0 ? NAN : i == 1 ? -INFINITY : 3e7f;
            assert_int_equal(hn_qpack_fill(p.pack, p.W, &e), HN_ERANGE);
            assert_non_null(strstr(e.msg, four ? "4 bits" : "8 bits"));
            prod_free(&p);
        }
}

static void test_memory(void **s) {
    (void)s;
    for (long fuse = 0; fuse < 2; fuse++) {
        hn_err e = { 0 };
        hn_qpack *p = NULL;
        hn_alloc_fuse = fuse;
        int rc = hn_qpack_new(&p, 100, 60, HN_QUANT_Q8, &e);
        hn_alloc_fuse = -1;
        assert_int_equal(rc, HN_ENOMEM);
        assert_null(p);
        assert_non_null(strstr(e.msg, "100 x 60"));
    }
    hn_qpack_free(NULL);
    hn_qpack *p;
    assert_int_equal(hn_qpack_describe(&p, 4096, 160, HN_QUANT_Q8, NULL), HN_OK);
    assert_int_equal(p->bytes, 4096 * 160 / 32 * 34);
    hn_qpack_free(p);
    assert_int_equal(hn_qpack_describe(&p, 4096, 160, HN_QUANT_Q4, NULL), HN_OK);
    assert_int_equal(p->bytes, 4096 * 160 / 32 * 18);
    hn_qpack_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition), cmocka_unit_test(test_parts), cmocka_unit_test(test_edges),
        cmocka_unit_test(test_special),    cmocka_unit_test(test_again), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_memory),
    };
    hn_err e = { 0 };
    if (hn_cpu_open(NULL, &e)) {
        print_error("%s\n", e.msg);
        return 1;
    }
    print_message("%s\n", hn_cpu_why());
    return cmocka_run_group_tests(tests, NULL, NULL);
}
