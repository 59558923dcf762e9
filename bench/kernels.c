/* kernels.c - the processor's kernels against the roof of this machine, measured in the same run.
 *
 * usage: b_kernels [WORD ...]   only rows whose name has all words
 *
 * Rows of arithmetic are in 10^9 operations a second; their roof is our own matrix product of 2048 x 512 x
 * 512 in the row's precision.  Rows of memory are in 10^9 bytes a second, every input read and every output
 * written once; their roof is memcpy over as many bytes.  One thread: the median of thread CPU times.  Two:
 * the shortest wall time. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/pool.h"
#include "cpu/backend.h"
#include "cpu/gemm.h"
#include "op/ops.h"
#include "tensor/kv.h"

enum { SAMPLES = 11, TOKENS = 2048 };

static int threads;

static void *need(void *p) {
    if (p) return p;
    fprintf(stderr, "out of memory\n");
    exit(1);
}

static double clock_now(void) {
    struct timespec t;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds of one call of each of two functions, which take turns. */
static void measure(void (*f[2])(void *), void *ctx[2], double seconds[2]) {
    double time[2][SAMPLES];
    int reps[2] = { 1, 1 };
    for (int i = -1; i < SAMPLES; i++)
        for (int k = 0; k < 2; k++) {
            double t = clock_now();
            for (int r = 0; r < reps[k]; r++) f[k](ctx[k]);
            t = (clock_now() - t) / reps[k];
            if (i < 0)
                reps[k] = (int)fmax(1, fmin(1000, 0.01 / t)); /* the warm-up says how many make 10 ms */
            else time[k][i] = t;
        }
    for (int k = 0; k < 2; k++) {
        qsort(time[k], SAMPLES, sizeof **time, by_value);
        seconds[k] = time[k][threads == 1 ? SAMPLES / 2 : 0];
    }
}

/* ---- roofs ---- */
typedef struct product {
    float *x, *w, *y;
    void *work;
    hn_pack *pack;
} product;
enum { M = 2048, K = 512, N = 512 };

static void product_run(void *ctx) {
    product *p = ctx;
    hn_gemm_packed(p->y, N, p->x, K, 1, M, p->pack, NULL, false, 0, p->work);
}
static product product_new(hn_prec prec) {
    product p = { .x = need(hn_big_alloc(M * K * 4)), .w = need(hn_big_alloc(N * K * 4)) };
    p.y = need(hn_big_alloc(M * N * 4));
    p.work = need(hn_big_alloc(hn_gemm_packed_work(M, K, N, 1, prec, 0) + 64));
    for (int i = 0; i < M * K; i++) p.x[i] = (float)hn_rand01(1, 1, (uint64_t)i) - 0.5f;
    for (int i = 0; i < N * K; i++) p.w[i] = (float)hn_rand01(1, 2, (uint64_t)i) - 0.5f;
    if (hn_pack_new(&p.pack, K, N, prec, NULL)) need(NULL);
    hn_pack_fill(p.pack, p.w, 1, K);
    return p;
}
static void product_free(product *p, hn_prec prec) {
    hn_big_free(p->x, M * K * 4), hn_big_free(p->w, N * K * 4), hn_big_free(p->y, M * N * 4);
    hn_big_free(p->work, hn_gemm_packed_work(M, K, N, 1, prec, 0) + 64);
    hn_pack_free(p->pack);
}

typedef struct copy {
    char *from, *to;
    size_t n; /* bytes read, and written */
} copy;
static void copy_slice(void *ctx, int64_t lo, int64_t hi) {
    copy *c = ctx;
    memcpy(c->to + lo, c->from + lo, (size_t)(hi - lo));
}
static void copy_run(void *ctx) { hn_parallel((int64_t)((copy *)ctx)->n, 1 << 17, copy_slice, ctx); }

/* ---- one op ---- */
static void node_run(void *ctx) {
    hn_err e = { 0 };
    if (!hn_run(ctx, &e)) return;
    fprintf(stderr, "%s\n", e.msg);
    exit(1);
}

static bool wanted(const char *name, int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (!strstr(name, argv[i])) return false;
    return true;
}

static int n_arg;
static char **args;

typedef struct row {
    const char *name;
    const hn_op *op;
    hn_shape in[HN_MAXIN];
    int bound[HN_MAXIN];
    hn_attr attr;
    void (*fill)(hn_tensor *const in[]);
    hn_prec prec;
    bool memory, side; /* counted in bytes; input 1 has packed copies */
    double goal;
} row;

static double bytes_of(const hn_tensor *y) {
    double b = 0;
    for (int k = 0; k < y->op->n_in; k++)
        if (y->in[k] && !(y->op->like >> k & 1)) b += (double)hn_bytes(y->in[k]);
    for (int k = 0; k < (y->op->n_out ? y->op->n_out : 1); k++) b += (double)hn_bytes(y->out[k]);
    return b;
}

static void against_roof(const row *r, hn_tape *t, hn_tensor *y, const char *name) {
    double sec[2], amount = r->memory ? bytes_of(y) : y->op->flops(y), roof;
    if (r->memory) {
        copy c = { .n = (size_t)(amount / 2) };
        c.from = need(hn_big_alloc(c.n)), c.to = need(hn_big_alloc(c.n));
        memset(c.from, 1, c.n);
        measure((void (*[2])(void *)){ node_run, copy_run }, (void *[2]){ t, &c }, sec);
        roof = amount / sec[1];
        hn_big_free(c.from, c.n), hn_big_free(c.to, c.n);
    } else {
        product p = product_new(r->prec);
        measure((void (*[2])(void *)){ node_run, product_run }, (void *[2]){ t, &p }, sec);
        roof = 2.0 * M * K * N / sec[1];
        product_free(&p, r->prec);
    }
    double rate = amount / sec[0];
    printf("%s %.1f %.1f %.3f %.2f\n", name, rate / 1e9, roof / 1e9, rate / roof, r->goal);
    fprintf(stderr, "    %.1f us a call\n", sec[0] * 1e6);
    fflush(stdout);
}

static void run_row(const row *r) {
    char name[96];
    snprintf(name, sizeof name, "%s_t%d", r->name, threads);
    if (!wanted(name, n_arg, args)) return;
    hn_err e = { 0 };
    hn_tape *t = need(hn_tape_new(&hn_backend_cpu));
    hn_tensor *in[HN_MAXIN] = { 0 };
    void *side = NULL;
    for (int k = 0; k < r->op->n_in && r->in[k].nd; k++) {
        in[k] = hn_leaf(t, r->bound[k] < 0 ? HN_HOST : r->bound[k] ? HN_I32 : HN_F, r->in[k], NULL);
        if (r->bound[k] < 0) continue;
        in[k]->data = need(hn_big_alloc(hn_bytes(in[k])));
        for (int64_t i = 0; i < hn_count(in[k]); i++) {
            uint64_t u = hn_rand(2, (uint64_t)k, (uint64_t)i);
            if (r->bound[k]) ((int32_t *)in[k]->data)[i] = (int32_t)(u % (uint64_t)r->bound[k]);
            else ((float *)in[k]->data)[i] = (float)(u >> 40) * 0x1p-23f - 1;
        }
    }
    if (r->fill) r->fill(in);
    if (r->side) {
        if (hn_backend_cpu.side(&side, in[1]->data, in[1]->shape.d[0], hn_cols(in[1]), r->prec, true, &e))
            need(NULL);
        in[1]->side = side;
    }
    hn_tensor *y = hn_apply(t, r->op, r->attr, in);
    for (int k = 0; k < (r->op->n_out ? r->op->n_out : 1); k++) hn_keep(y->out[k]);
    if (hn_tape_plan(t, &e)) {
        fprintf(stderr, "%s: %s\n", name, e.msg);
        exit(1);
    }
    against_roof(r, t, y, name);
    if (side) hn_backend_cpu.side_free(side);
    for (int k = 0; k < r->op->n_in; k++) {
        if (in[k] && in[k]->type == HN_HOST) hn_kv_free(in[k]->data);
        else if (in[k]) hn_big_free(in[k]->data, hn_bytes(in[k]));
    }
    hn_tape_free(t);
}

/* ---- inputs that random numbers cannot make ---- */
static void put(hn_tensor *const in[], int s, int begin, int len, int parent) {
    for (int k = 1; k < 5; k++)
        if (in[k] && in[k]->type == HN_I32)
            memcpy((int32_t *)in[k]->data + 3 * s, (int32_t[]){ begin, len, parent }, 3 * sizeof(int32_t));
}
static void chains(hn_tensor *const in[]) { /* 8 of 256 */
    for (int s = 0; s < 8; s++) put(in, s, 256 * s, 256, -1);
}
static void one(hn_tensor *const in[]) { put(in, 0, 0, TOKENS, -1); }
static void group(hn_tensor *const in[]) { /* a prompt of 256 with 16 answers of 112 */
    put(in, 0, 0, 256, -1);
    for (int s = 1; s < 17; s++) put(in, s, 256 + 112 * (s - 1), 112, 0);
}
static void zero_stats(hn_tensor *const in[]) { memset(in[4]->data, 0, hn_bytes(in[4])); }

static void cache(hn_tensor *const in[], int shared, hn_prec prec) { /* 32 answers at position 300 */
    hn_kv *kv;
    int32_t *row_at = in[1]->data;
    if (hn_kv_new(&kv, 1, 8, 64, prec, 32, 512, 32 * 8, NULL)) need(NULL);
    for (int s = 0; s < 32; s++) {
        if (s && shared) hn_kv_share(kv, 0, s, shared);
        for (int p = s ? shared : 0; p <= 300; p++)
            if (hn_kv_room(kv, s, p, NULL)) need(NULL);
        row_at[2 * s] = s, row_at[2 * s + 1] = 300;
    }
    in[2]->data = kv;
}
static void cache_apart(hn_tensor *const in[]) { cache(in, 0, HN_PREC_F32); }
static void cache_shared(hn_tensor *const in[]) { cache(in, 256, HN_PREC_F32); }
static void cache_apart16(hn_tensor *const in[]) { cache(in, 0, HN_PREC_BF16); }
static void cache_shared16(hn_tensor *const in[]) { cache(in, 256, HN_PREC_BF16); }

#define MAT(r, c)                                                                                            \
    {                                                                                                        \
        2, HN_FIXED, { r, c }                                                                                \
    }
#define VEC(n)                                                                                               \
    {                                                                                                        \
        1, HN_FIXED, { n }                                                                                   \
    }
#define HG(h, g)                                                                                             \
    {                                                                                                        \
        { 1e-6 }, { h, g }                                                                                   \
    }
#define HGP(h, g, p)                                                                                         \
    {                                                                                                        \
        { 0 }, { h, g, p }                                                                                   \
    }
#define QKV(h, g) MAT(TOKENS, (h + 2 * g) * 64)
#define ATTN(n, h, g, s, f, goal_, p)                                                                        \
    {                                                                                                        \
        .name = n, .op = &hn_op_attn, .in = { QKV(h, g), MAT(s, 3) }, .bound = { 0, 1 },                     \
        .attr = HGP(h, g, p), .fill = f, .goal = goal_                                                       \
    }
#define BACK(n, h, g, s, f, goal_, p)                                                                        \
    {                                                                                                        \
        .name = n, .op = &hn_op_attn_b,                                                                      \
        .in = { QKV(h, g), MAT(TOKENS, h * 64), MAT(TOKENS, h), MAT(TOKENS, h * 64), MAT(s, 3) },            \
        .bound = { 0, 0, 0, 0, 1 }, .attr = HGP(h, g, p), .fill = f, .goal = goal_                           \
    }
#define HEAD(n, v, p)                                                                                        \
    {                                                                                                        \
        .name = n, .op = &hn_op_logp, .in = { MAT(1024, 512), MAT(v, 512), VEC(1024) },                      \
        .bound = { 0, 0, v }, .attr = { { 1 }, { p, v } }, .prec = p, .side = true, .goal = 0.8              \
    }
#define HEAD_B(n, v, p)                                                                                      \
    {                                                                                                        \
        .name = n, .op = &hn_op_logp_b,                                                                      \
        .in = { MAT(1024, 512), MAT(v, 512), VEC(1024), VEC(1024), MAT(1024, 4), VEC(1024) },                \
        .bound = { 0, 0, v }, .attr = { { 1 }, { p, v } }, .prec = p, .side = true, .fill = zero_stats,      \
        .goal = 0.8                                                                                          \
    }
#define DECODE(n, f)                                                                                         \
    {                                                                                                        \
        .name = n, .op = &hn_op_attnkv, .in = { MAT(32, 24 * 64), MAT(32, 2), VEC(1) },                      \
        .bound = { 0, 1, -1 }, .attr = { { 0 }, { 8, 0 } }, .fill = f, .goal = 0.2                           \
    }

/* clang-format off */
static const row rows[] = {
    ATTN("attn_8x256_h8", 8, 8, 8, chains, 0.4, HN_PREC_F32), ATTN("attn_8x256_h8_g2", 8, 2, 8, chains, 0.4, HN_PREC_F32),
    ATTN("attn_1x2048_h8", 8, 8, 1, one, 0.4, HN_PREC_F32), ATTN("attn_256+16x112_h8", 8, 8, 17, group, 0.4, HN_PREC_F32),
    BACK("attn_b_8x256_h8", 8, 8, 8, chains, 0.3, HN_PREC_F32), BACK("attn_b_8x256_h8_g2", 8, 2, 8, chains, 0.3, HN_PREC_F32),
    BACK("attn_b_1x2048_h8", 8, 8, 1, one, 0.3, HN_PREC_F32), BACK("attn_b_256+16x112_h8", 8, 8, 17, group, 0.3, HN_PREC_F32),
    ATTN("attn_bf16_8x256_h8", 8, 8, 8, chains, 0.4, HN_PREC_BF16), ATTN("attn_bf16_8x256_h8_g2", 8, 2, 8, chains, 0.4, HN_PREC_BF16),
    ATTN("attn_bf16_1x2048_h8", 8, 8, 1, one, 0.4, HN_PREC_BF16), ATTN("attn_bf16_256+16x112_h8", 8, 8, 17, group, 0.4, HN_PREC_BF16),
    BACK("attn_b_bf16_8x256_h8", 8, 8, 8, chains, 0.3, HN_PREC_BF16), BACK("attn_b_bf16_8x256_h8_g2", 8, 2, 8, chains, 0.3, HN_PREC_BF16),
    BACK("attn_b_bf16_1x2048_h8", 8, 8, 1, one, 0.3, HN_PREC_BF16), BACK("attn_b_bf16_256+16x112_h8", 8, 8, 17, group, 0.3, HN_PREC_BF16),
    DECODE("attnkv_32at300_h8", cache_apart), DECODE("attnkv_32at300_h8_shared256", cache_shared),
    DECODE("attnkv_bf16_32at300_h8", cache_apart16), DECODE("attnkv_bf16_32at300_h8_shared256", cache_shared16),
    { .name = "add_512", .op = &hn_op_add, .in = { MAT(TOKENS, 512), MAT(TOKENS, 512) }, .memory = true, .goal = 0.8 },
    { .name = "rmsnorm_512", .op = &hn_op_rmsnorm, .in = { MAT(TOKENS, 512), VEC(512) }, .memory = true, .goal = 0.8 },
    { .name = "rmsnorm_x_512", .op = &hn_op_rmsnorm_x, .in = { MAT(TOKENS, 512), VEC(512), MAT(TOKENS, 512) }, .memory = true, .goal = 0.8 },
    { .name = "rmsnorm_w_512", .op = &hn_op_rmsnorm_w, .in = { MAT(TOKENS, 512), VEC(512), MAT(TOKENS, 512) }, .memory = true, .goal = 0.8 },
    { .name = "headnorm_h8", .op = &hn_op_headnorm, .in = { QKV(8, 8), VEC(64), VEC(64) }, .attr = HG(8, 8), .memory = true, .goal = 0.8 },
    { .name = "rope_h8", .op = &hn_op_rope, .in = { QKV(8, 8), VEC(TOKENS), VEC(32) }, .bound = { 0, 256 }, .attr = HG(8, 8), .memory = true, .goal = 0.8 },
    { .name = "swiglu_1408", .op = &hn_op_swiglu, .in = { MAT(TOKENS, 2816) }, .memory = true, .goal = 0.8 },
    { .name = "swiglu_b_1408", .op = &hn_op_swiglu_b, .in = { MAT(TOKENS, 2816), MAT(TOKENS, 1408) }, .memory = true, .goal = 0.8 },
    HEAD("logp_f32_4096", 4096, HN_PREC_F32), HEAD("logp_f32_32000", 32000, HN_PREC_F32),
    HEAD("logp_bf16_4096", 4096, HN_PREC_BF16), HEAD("logp_bf16_32000", 32000, HN_PREC_BF16),
    HEAD_B("logp_b_f32_4096", 4096, HN_PREC_F32), HEAD_B("logp_b_f32_32000", 32000, HN_PREC_F32),
    HEAD_B("logp_b_bf16_4096", 4096, HN_PREC_BF16), HEAD_B("logp_b_bf16_32000", 32000, HN_PREC_BF16),
};
/* clang-format on */

int main(int argc, char **argv) {
    hn_err e = { 0 };
    n_arg = argc, args = argv;
    if (hn_cpu_open(NULL, &e)) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    fprintf(stderr, "%s\n", hn_cpu_why());
    for (threads = 1; threads <= 2; threads++) {
        if (hn_pool_start(threads, &e)) {
            fprintf(stderr, "%s\n", e.msg);
            return 1;
        }
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) run_row(rows + i);
    }
    hn_pool_stop();
    return 0;
}
