/* attnkv.c - attention of the generator: every row is one (slot, position) of the key-value cache.
 *
 * First all rows write their key and value into the pages of their slots, then each row attends to
 * positions 0..pos of its slot; so a chunk of a prompt and single decoded tokens of many sequences go through
 * one call. The caller has made room (hn_kv_room).  No gradient: training attends over a forest (attn.c). */
#include "op/op.h"
#include "tensor/kv.h"

#include <math.h>

static int shape(const hn_tensor *y, hn_shape *s) {
    const hn_tensor *qkv = y->in[0], *row = y->in[1];
    const hn_kv *kv = y->in[2]->type == HN_HOST ? y->in[2]->data : NULL;
    int64_t H = y->attr.i[0], layer = y->attr.i[1];
    if (!kv || H < 1 || H % kv->n_head || layer < 0 || layer >= kv->n_layer) return 1;
    *s = hn_rows_like(qkv, H * kv->head_dim);
    return !hn_is(qkv, HN_F, 2) || hn_cols(qkv) != (H + 2 * kv->n_head) * kv->head_dim ||
           !hn_is(row, HN_I32, 2) || hn_cols(row) != 2 || !hn_same_rows(qkv, row);
}

static int page_of(const hn_kv *kv, int64_t slot, int64_t pos) {
    hn_assert(slot >= 0 && slot < kv->n_slot && pos >= 0 && pos / HN_BLOCK < kv->max_block);
    int page = kv->table[slot * kv->max_block + pos / HN_BLOCK];
    hn_assert(page >= 0);
    return page;
}

static void write_row(const hn_tensor *y, const hn_kv *kv, int64_t n) {
    int64_t H = y->attr.i[0], G = kv->n_head, D = kv->head_dim, pos = HN_INI(y, 1)[2 * n + 1];
    int page = page_of(kv, HN_INI(y, 1)[2 * n], pos), layer = (int)y->attr.i[1];
    for (int g = 0; g < G; g++) {
        const hn_real *k = HN_IN(y, 0) + n * hn_cols(y->in[0]) + (H + g) * D;
        hn_kv_put(kv, page, layer, g, (int)(pos % HN_BLOCK), k, k + G * D);
    }
}

static double score(const hn_kv *kv, int page, int layer, int g, int64_t pos, const hn_real *q) {
    double acc = 0;
    for (int d = 0; d < kv->head_dim; d++)
        acc += (double)q[d] * hn_kv_key(kv, page, layer, g, (int)(pos % HN_BLOCK), d);
    return acc / sqrt((double)kv->head_dim);
}

static void attend(const hn_tensor *y, const hn_kv *kv, int64_t n, int64_t h) {
    enum { VW = 64 };
    int64_t H = y->attr.i[0], D = kv->head_dim, slot = HN_INI(y, 1)[2 * n], pos = HN_INI(y, 1)[2 * n + 1];
    int layer = (int)y->attr.i[1], g = (int)(h * kv->n_head / H);
    const hn_real *q = HN_IN(y, 0) + n * hn_cols(y->in[0]) + h * D;
    double top = -INFINITY, sum = 0;
    for (int64_t p = 0; p <= pos; p++) top = fmax(top, score(kv, page_of(kv, slot, p), layer, g, p, q));
    for (int64_t p = 0; p <= pos; p++) sum += exp(score(kv, page_of(kv, slot, p), layer, g, p, q) - top);
    for (int64_t d0 = 0; d0 < D; d0 += VW) {
        double o[VW] = { 0 };
        int64_t w = D - d0 < VW ? D - d0 : VW;
        for (int64_t p = 0; p <= pos; p++) {
            int page = page_of(kv, slot, p);
            double prob = exp(score(kv, page, layer, g, p, q) - top) / sum;
            for (int64_t d = 0; d < w; d++)
                o[d] += prob * hn_kv_value(kv, page, layer, g, (int)(p % HN_BLOCK), (int)(d0 + d));
        }
        for (int64_t d = 0; d < w; d++) HN_OUT(y, 0)[(n * H + h) * D + d0 + d] = (hn_real)o[d];
    }
}

static void ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    const hn_kv *kv = y->in[2]->data;
    for (int64_t n = lo; n < hi; n++) write_row(y, kv, n);
    for (int64_t n = lo; n < hi; n++)
        for (int64_t h = 0; h < y->attr.i[0]; h++) attend(y, kv, n, h);
}

static double flops(const hn_tensor *y) {
    double keys = 0;
    for (int64_t n = 0; n < hn_rows(y); n++) keys += HN_INI(y, 1)[2 * n + 1] + 1;
    return 4 * keys * (double)hn_cols(y);
}

/* A cache whose pages hold random numbers, and rows that continue its sequences: half of them the first
 * slot, as a prompt of several positions, each other one a slot of its own that shares the past of the first
 * whole, or half of it, or nothing.  The host input's shape says {H, G, layers, 2 past + precision}. */
static void fill(hn_tensor *const in[], uint64_t seed) {
    const int64_t *size = in[2]->shape.d;
    int N = (int)in[0]->shape.d[0], n = (int)hn_rows(in[0]), H = (int)size[0], G = (int)size[1];
    int D = (int)hn_cols(in[0]) / (H + 2 * G), past = (int)size[3] / 2, len = past + N + 1;
    int n_page = N * (len / HN_BLOCK + 1) + 2, run = n - n / 2;
    int32_t *row = in[1]->data;
    hn_kv *kv;
    int rc = hn_kv_new(&kv, (int)size[2], G, D, (hn_prec)(size[3] % 2), N, len, n_page, NULL);
    hn_assert(!rc);
    hn_assert(2 * D <= 512);
    for (int64_t i = 0; i < (int64_t)n_page * size[2] * G * HN_BLOCK; i++) {
        hn_real r[512];
        for (int d = 0; d < 2 * D; d++)
            r[d] = (hn_real)(2 * hn_rand01(seed, 72, (uint64_t)(i * 2 * D + d)) - 1);
        int64_t at = i / HN_BLOCK;
        hn_kv_put(kv, (int)(at / G / size[2]), (int)(at / G % size[2]), (int)(at % G), (int)(i % HN_BLOCK), r,
                  r + D);
    }
    for (int p = 0; p < past && !rc; p++) rc = hn_kv_room(kv, 0, p, NULL);
    for (int s = 1; s <= n / 2; s++) hn_kv_share(kv, 0, s, s % 3 == 0 ? 0 : past / (s % 3));
    for (int r = 0; r < n && !rc; r++) {
        int slot = r < run ? 0 : r - run + 1;
        row[2 * r] = slot;
        row[2 * r + 1] = !slot ? past + r : slot % 3 == 0 ? 0 : past / (slot % 3);
        rc = hn_kv_room(kv, slot, row[2 * r + 1], NULL);
    }
    hn_assert(!rc);
    in[2]->data = kv;
}
static void drop(hn_tensor *const in[]) { hn_kv_free(in[2]->data); }

/* clang-format off */
#define FIXTURE(H, G, layers, past, prec) { 4, HN_FIXED, { H, G, layers, 2 * (past) + HN_PREC_##prec } }
static const hn_case cases[] = {
    { .name = "start", .in = { HN_T2(2, 15), HN_T2(2, 2), FIXTURE(1, 1, 1, 0, F32) },
      .bound = { 0, 1, HN_CASE_HOST }, .attr = { { 0 }, { 1, 0 } }, .fill = fill, .drop = drop },
    { .name = "mixed", .in = { HN_T2(9, 40), HN_T2(9, 2), FIXTURE(4, 2, 2, 70, F32) },
      .bound = { 0, 1, HN_CASE_HOST }, .attr = { { 0 }, { 4, 1 } }, .fill = fill, .drop = drop },
    { .name = "wide", .in = { HN_T2(3, 201), HN_T2(3, 2), FIXTURE(1, 1, 1, 128, F32) },
      .bound = { 0, 1, HN_CASE_HOST }, .attr = { { 0 }, { 1, 0 } }, .fill = fill, .drop = drop },
    { .name = "start_bf16", .in = { HN_T2(2, 15), HN_T2(2, 2), FIXTURE(1, 1, 1, 0, BF16) },
      .bound = { 0, 1, HN_CASE_HOST }, .attr = { { 0 }, { 1, 0 } }, .fill = fill, .drop = drop },
    { .name = "mixed_bf16", .in = { HN_T2(9, 40), HN_T2(9, 2), FIXTURE(4, 2, 2, 70, BF16) },
      .bound = { 0, 1, HN_CASE_HOST }, .attr = { { 0 }, { 4, 1 } }, .fill = fill, .drop = drop },
    { .name = "wide_bf16", .in = { HN_T2(3, 201), HN_T2(3, 2), FIXTURE(1, 1, 1, 128, BF16) },
      .bound = { 0, 1, HN_CASE_HOST }, .attr = { { 0 }, { 1, 0 } }, .fill = fill, .drop = drop },
    { 0 } };
/* clang-format on */
const hn_op hn_op_attnkv = {
    .name = "attnkv", .n_in = 3, .shape = shape, .ref = ref, .flops = flops, .whole = true, .cases = cases
};

hn_tensor *hn_attnkv(hn_tape *t, hn_tensor *qkv, hn_tensor *row, hn_tensor *kv, int H, int layer) {
    return HN_APPLY(t, hn_op_attnkv, ((hn_attr){ { 0 }, { H, layer } }), qkv, row, kv);
}
