/* rows.c - row-wise kernels over the pool: norms, rotary positions, the gated unit, picks and sums.
 *
 * Gradients of gains and biases are sums over all rows: each block of BLOCK rows is summed alone, then the
 * blocks in order, so threads do not show. */
#include "cpu/rows.h"

#include <string.h>

#include "base/pool.h"
#include "cpu/kernels.h"
#include "op/op.h"

enum {
    BLOCK = 64,   /* rows summed together */
    COLUMNS = 64, /* of a slice that owns columns */
    WORTH = 8192  /* elements that are worth starting a slice for */
};

static bool is_half(const hn_tensor *x) { return x->type == HN_BF16; }
/* Element i of x, which is bf16 or floats. */
static void *element(const hn_tensor *x, int64_t i) { return (char *)x->data + i * (is_half(x) ? 2 : 4); }

static int64_t grain_rows(int64_t cols) { return hn_most(1, WORTH / hn_most(1, cols)); }

/* Runs fn over the rows of y. */
static int by_rows(const hn_tensor *y, hn_slice_fn *fn) {
    hn_parallel(hn_rows(y), grain_rows(hn_cols(y)), fn, (void *)(uintptr_t)y);
    return HN_OK;
}

/* ---- element by element ---- */
#define ELEMENTS(y, lo, hi) int64_t C = hn_cols(y), at = lo * C, n = (hi - lo) * C
#define BINARY(name, kernel)                                                                                 \
    static void name##_slice(void *ctx, int64_t lo, int64_t hi) {                                            \
        const hn_tensor *y = ctx;                                                                            \
        ELEMENTS(y, lo, hi);                                                                                 \
        HN_TIER_PICK(kernel)(HN_OUT(y, 0) + at, HN_IN(y, 0) + at, HN_IN(y, 1) + at, n);                      \
    }                                                                                                        \
    int hn_cpu_##name(const hn_tensor *y, hn_err *e) {                                                       \
        (void)e;                                                                                             \
        return by_rows(y, name##_slice);                                                                     \
    }
BINARY(add, hn_vadd)
BINARY(sub, hn_vsub)
BINARY(mul, hn_vmul)

static void affine_slice(void *ctx, int64_t lo, int64_t hi) {
    const hn_tensor *y = ctx;
    ELEMENTS(y, lo, hi);
    HN_TIER_PICK(hn_vaffine)
    (HN_OUT(y, 0) + at, HN_IN(y, 0) + at, (float)y->attr.f[0], (float)y->attr.f[1], n);
}
int hn_cpu_affine(const hn_tensor *y, hn_err *e) {
    (void)e;
    return by_rows(y, affine_slice);
}

static void accum_slice(void *ctx, int64_t lo, int64_t hi) {
    const hn_tensor *y = ctx;
    ELEMENTS(y, lo, hi);
    HN_TIER_PICK(hn_vadd)(HN_OUT(y, 0) + at, HN_OUT(y, 0) + at, HN_IN(y, 0) + at, n);
}
int hn_cpu_accum(const hn_tensor *y, hn_err *e) {
    (void)e;
    return by_rows(y, accum_slice);
}

/* ---- norms ---- */
static void rmsnorm_slice(void *ctx, int64_t lo, int64_t hi) {
    const hn_tensor *y = ctx;
    int64_t C = hn_cols(y);
    const float *x = HN_IN(y, 0) + lo * C, *w = HN_IN(y, 1);
    if (is_half(y)) HN_TIER_PICK(hn_norm_half)(element(y, lo * C), x, w, hi - lo, C, (float)y->attr.f[0]);
    else HN_TIER_PICK(hn_norm)(HN_OUT(y, 0) + lo * C, x, w, hi - lo, C, (float)y->attr.f[0]);
}
int hn_cpu_rmsnorm(const hn_tensor *y, hn_err *e) {
    (void)e;
    return by_rows(y, rmsnorm_slice);
}

static void rmsnorm_x_slice(void *ctx, int64_t lo, int64_t hi) {
    const hn_tensor *y = ctx;
    int64_t C = hn_cols(y);
    HN_TIER_PICK(hn_norm_x)
    (HN_OUT(y, 0) + lo * C, HN_IN(y, 0) + lo * C, HN_IN(y, 1), HN_IN(y, 2) + lo * C, hi - lo, C,
     (float)y->attr.f[0]);
}
int hn_cpu_rmsnorm_x(const hn_tensor *y, hn_err *e) {
    (void)e;
    return by_rows(y, rmsnorm_x_slice);
}

static void headnorm_slice(void *ctx, int64_t lo, int64_t hi) {
    const hn_tensor *y = ctx;
    int64_t H = y->attr.i[0], G = y->attr.i[1], D = hn_head_size(y), C = hn_cols(y), k = H * D, v = k + G * D;
    float eps = (float)y->attr.f[0];
    for (int64_t n = lo; n < hi; n++) {
        const float *x = HN_IN(y, 0) + n * C;
        float *out = HN_OUT(y, 0) + n * C;
        HN_TIER_PICK(hn_norm)(out, x, HN_IN(y, 1), H, D, eps);
        HN_TIER_PICK(hn_norm)(out + k, x + k, HN_IN(y, 2), G, D, eps);
        memcpy(out + v, x + v, (size_t)(G * D) * sizeof *x);
    }
}
int hn_cpu_headnorm(const hn_tensor *y, hn_err *e) {
    (void)e;
    return by_rows(y, headnorm_slice);
}

static void headnorm_x_slice(void *ctx, int64_t lo, int64_t hi) {
    const hn_tensor *y = ctx;
    int64_t H = y->attr.i[0], G = y->attr.i[1], D = hn_head_size(y), C = hn_cols(y), k = H * D, v = k + G * D;
    float eps = (float)y->attr.f[0];
    for (int64_t n = lo; n < hi; n++) {
        const float *x = HN_IN(y, 0) + n * C, *g = HN_IN(y, 3) + n * C;
        float *out = HN_OUT(y, 0) + n * C;
        HN_TIER_PICK(hn_norm_x)(out, x, HN_IN(y, 1), g, H, D, eps);
        HN_TIER_PICK(hn_norm_x)(out + k, x + k, HN_IN(y, 2), g + k, G, D, eps);
        memcpy(out + v, g + v, (size_t)(G * D) * sizeof *g);
    }
}
int hn_cpu_headnorm_x(const hn_tensor *y, hn_err *e) {
    (void)e;
    return by_rows(y, headnorm_x_slice);
}

/* ---- sums over rows: block b of rows sums into part b, then the parts are added in order ---- */
static int64_t blocks_of(int64_t rows) { return (rows + BLOCK - 1) / BLOCK; }
static size_t parts_bytes(int64_t rows, int64_t width) {
    return (size_t)(blocks_of(rows) * width) * sizeof(float);
}

typedef struct fold {
    const float *part;
    float *out;
    int64_t blocks, ld, width;
} fold;
static void fold_slice(void *ctx, int64_t lo, int64_t hi) {
    const fold *c = ctx;
    int64_t a = lo * COLUMNS, b = hn_least(hi * COLUMNS, c->width);
    HN_TIER_PICK(hn_vcolumns)(c->out + a, c->part + a, c->ld, c->blocks, b - a, false);
}
/* out += the parts, [blocks, ld], of which the first `width` columns count. */
static void fold_parts(float *out, const float *part, int64_t blocks, int64_t ld, int64_t width) {
    fold c = { part, out, blocks, ld, width };
    hn_parallel((width + COLUMNS - 1) / COLUMNS, hn_most(1, WORTH / (COLUMNS * hn_most(1, blocks))),
                fold_slice, &c);
}

static void rmsnorm_w_slice(void *ctx, int64_t lo, int64_t hi) {
    const hn_tensor *y = ctx;
    int64_t C = hn_cols(y->in[0]), N = hn_rows(y->in[0]);
    for (int64_t b = lo; b < hi; b++) {
        float *part = (float *)y->work + b * C;
        int64_t n = b * BLOCK;
        memset(part, 0, (size_t)C * sizeof *part);
        HN_TIER_PICK(hn_norm_w)
        (part, HN_IN(y, 0) + n * C, HN_IN(y, 2) + n * C, hn_least(BLOCK, N - n), C, (float)y->attr.f[0]);
    }
}
size_t hn_cpu_rmsnorm_w_scratch(const hn_tensor *y) {
    return parts_bytes(hn_cap_rows(y->in[0]), hn_cols(y->in[0]));
}
int hn_cpu_rmsnorm_w(const hn_tensor *y, hn_err *e) {
    (void)e;
    int64_t C = hn_cols(y->in[0]), blocks = blocks_of(hn_rows(y->in[0]));
    hn_parallel(blocks, 1, rmsnorm_w_slice, (void *)(uintptr_t)y);
    fold_parts(HN_OUT(y, 0), y->work, blocks, C, C);
    return HN_OK;
}

static void headnorm_w_slice(void *ctx, int64_t lo, int64_t hi) {
    const hn_tensor *y = ctx;
    int64_t H = y->attr.i[0], G = y->attr.i[1], D = hn_head_size(y), C = hn_cols(y->in[0]);
    float eps = (float)y->attr.f[0];
    for (int64_t b = lo; b < hi; b++) {
        float *part = (float *)y->work + b * 2 * D;
        memset(part, 0, (size_t)(2 * D) * sizeof *part);
        for (int64_t n = b * BLOCK, end = hn_least(n + BLOCK, hn_rows(y->in[0])); n < end; n++) {
            const float *x = HN_IN(y, 0) + n * C, *g = HN_IN(y, 3) + n * C;
            HN_TIER_PICK(hn_norm_w)(part, x, g, H, D, eps);
            HN_TIER_PICK(hn_norm_w)(part + D, x + H * D, g + H * D, G, D, eps);
        }
    }
}
size_t hn_cpu_headnorm_w_scratch(const hn_tensor *y) {
    return parts_bytes(hn_cap_rows(y->in[0]), 2 * hn_head_size(y));
}
int hn_cpu_headnorm_w(const hn_tensor *y, hn_err *e) {
    (void)e;
    int64_t D = hn_head_size(y), blocks = blocks_of(hn_rows(y->in[0]));
    hn_parallel(blocks, 1, headnorm_w_slice, (void *)(uintptr_t)y);
    fold_parts(HN_OUT(y, 0), y->work, blocks, 2 * D, D);
    fold_parts(HN_OUT(y, 1), (const float *)y->work + D, blocks, 2 * D, D);
    return HN_OK;
}

static void linear_b_slice(void *ctx, int64_t lo, int64_t hi) {
    const hn_tensor *y = ctx;
    int64_t O = hn_cols(y->in[0]), N = hn_rows(y->in[0]);
    for (int64_t b = lo; b < hi; b++) {
        float *part = (float *)y->work + b * O;
        int64_t n = b * BLOCK;
        memset(part, 0, (size_t)O * sizeof *part);
        HN_TIER_PICK(hn_vcolumns)
        (part, element(y->in[0], n * O), O, hn_least(BLOCK, N - n), O, is_half(y->in[0]));
    }
}
size_t hn_cpu_linear_b_scratch(const hn_tensor *y) {
    return parts_bytes(hn_cap_rows(y->in[0]), hn_cols(y->in[0]));
}
int hn_cpu_linear_b(const hn_tensor *y, hn_err *e) {
    (void)e;
    int64_t O = hn_cols(y->in[0]), blocks = blocks_of(hn_rows(y->in[0]));
    hn_parallel(blocks, 1, linear_b_slice, (void *)(uintptr_t)y);
    fold_parts(HN_OUT(y, 0), y->work, blocks, O, O);
    return HN_OK;
}

/* ---- rotary positions, the gated unit ---- */
static void turn(const hn_tensor *y, int64_t lo, int64_t hi, float sign, int64_t prec) {
    int64_t H = y->attr.i[0], G = y->attr.i[1], D = hn_head_size(y), C = hn_cols(y), v = (H + G) * D;
    for (int64_t n = lo; n < hi; n++) {
        const float *x = HN_IN(y, 0) + n * C;
        if (is_half(y)) {
            uint16_t *to = element(y, n * C);
            HN_TIER_PICK(hn_turn)(to, x, HN_INI(y, 1)[n], HN_IN(y, 2), sign, H + G, D, true);
            HN_TIER_PICK(hn_vnarrow)(to + v, x + v, G * D);
            continue;
        }
        float *out = HN_OUT(y, 0) + n * C;
        HN_TIER_PICK(hn_turn)(out, x, HN_INI(y, 1)[n], HN_IN(y, 2), sign, H + G, D, false);
        if (prec == HN_PREC_BF16) {
            HN_TIER_PICK(hn_vround_bf16)(out, out, v);
            HN_TIER_PICK(hn_vround_bf16)(out + v, x + v, G * D);
        } else if (out != x) memcpy(out + v, x + v, (size_t)(G * D) * sizeof *x);
    }
}
static void rope_slice(void *ctx, int64_t lo, int64_t hi) {
    turn(ctx, lo, hi, 1, ((const hn_tensor *)ctx)->attr.i[2]);
}
static void rope_b_slice(void *ctx, int64_t lo, int64_t hi) { turn(ctx, lo, hi, -1, HN_PREC_F32); }
int hn_cpu_rope(const hn_tensor *y, hn_err *e) {
    (void)e;
    return by_rows(y, rope_slice);
}
int hn_cpu_rope_b(const hn_tensor *y, hn_err *e) {
    (void)e;
    return by_rows(y, rope_b_slice);
}

static void swiglu_slice(void *ctx, int64_t lo, int64_t hi) {
    const hn_tensor *y = ctx;
    int64_t F = hn_cols(y);
    for (int64_t n = lo; n < hi; n++) {
        const void *gate = element(y->in[0], n * 2 * F), *up = element(y->in[0], n * 2 * F + F);
        HN_TIER_PICK(hn_silu)(element(y, n * F), gate, up, F, is_half(y), is_half(y->in[0]));
    }
}
int hn_cpu_swiglu(const hn_tensor *y, hn_err *e) {
    (void)e;
    return by_rows(y, swiglu_slice);
}
static void swiglu_b_slice(void *ctx, int64_t lo, int64_t hi) {
    const hn_tensor *y = ctx;
    int64_t F = hn_cols(y) / 2;
    for (int64_t n = lo; n < hi; n++) {
        const void *gate = element(y->in[0], n * 2 * F), *up = element(y->in[0], n * 2 * F + F);
        HN_TIER_PICK(hn_silu_b)
        (element(y, n * 2 * F), element(y, n * 2 * F + F), gate, up, HN_IN(y, 1) + n * F, F, is_half(y),
         is_half(y->in[0]));
    }
}
int hn_cpu_swiglu_b(const hn_tensor *y, hn_err *e) {
    (void)e;
    return by_rows(y, swiglu_b_slice);
}

/* ---- picks and their transposes ---- */
static void gather_slice(void *ctx, int64_t lo, int64_t hi) {
    const hn_tensor *y = ctx;
    int64_t C = hn_cols(y), R = hn_rows(y->in[0]);
    for (int64_t n = lo; n < hi; n++) {
        int64_t id = HN_INI(y, 1)[n];
        hn_assert(id >= 0 && id < R);
        memcpy(HN_OUT(y, 0) + n * C, HN_IN(y, 0) + id * C, (size_t)C * sizeof(float));
    }
}
int hn_cpu_gather(const hn_tensor *y, hn_err *e) {
    (void)e;
    return by_rows(y, gather_slice);
}
int hn_cpu_embed(const hn_tensor *y, hn_err *e) {
    (void)e;
    return by_rows(y, gather_slice);
}

/* A slice owns columns of the output and adds to them row after row of the input. */
static void scatter_slice(void *ctx, int64_t lo, int64_t hi) {
    const hn_tensor *y = ctx;
    int64_t C = hn_cols(y), V = hn_rows(y), a = lo * COLUMNS, n = hn_least(hi * COLUMNS, C) - a;
    for (int64_t r = 0, N = hn_rows(y->in[0]); r < N; r++) {
        int64_t id = HN_INI(y, 1)[r];
        hn_assert(id >= 0 && id < V);
        float *out = HN_OUT(y, 0) + id * C + a;
        HN_TIER_PICK(hn_vadd)(out, out, HN_IN(y, 0) + r * C + a, n);
    }
}
static void scatter_add(const hn_tensor *y) {
    int64_t work = hn_most(1, hn_rows(y->in[0]) * COLUMNS);
    hn_parallel((hn_cols(y) + COLUMNS - 1) / COLUMNS, hn_most(1, WORTH / work), scatter_slice,
                (void *)(uintptr_t)y);
}
static void clear_slice(void *ctx, int64_t lo, int64_t hi) {
    const hn_tensor *y = ctx;
    int64_t C = hn_cols(y);
    memset(HN_OUT(y, 0) + lo * C, 0, (size_t)((hi - lo) * C) * sizeof(float));
}
int hn_cpu_scatter(const hn_tensor *y, hn_err *e) {
    (void)e;
    by_rows(y, clear_slice);
    scatter_add(y);
    return HN_OK;
}
int hn_cpu_embed_w(const hn_tensor *y, hn_err *e) {
    (void)e;
    scatter_add(y);
    return HN_OK;
}
