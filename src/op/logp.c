/* logp.c - log-probability of one chosen token per row, straight from hidden states: vocabulary product,
 * log-softmax and pick in one operation, in chunks of HN_VCHUNK columns (softmax.h).
 *
 * The operation every loss of post-training is built from.  [acts, vocabulary] is never in memory, forward or
 * backward: the backward computes each chunk of logits again and uses the stored log-sum-exp.  With
 * z = h w^T, T the temperature, p = softmax(z / T):   d logp / d z_v = ([v = target] - p_v) / T. */
#include "op/op.h"
#include "op/softmax.h"

static int heads_bad(const hn_tensor *y) {
    const hn_tensor *h = y->in[0], *w = y->in[1];
    return !hn_is(h, HN_F, 2) || !hn_is(w, HN_F, 2) || w->shape.live != HN_FIXED ||
           hn_cols(h) != hn_cols(w) || y->attr.i[1] < 1 || y->attr.i[1] > w->shape.d[0];
}
static int shape(const hn_tensor *y, hn_shape *s) {
    s[0] = (hn_shape){ 1, y->in[0]->shape.live, { y->in[0]->shape.d[0] } };
    s[1] = hn_rows_like(y->in[0], 4);
    return heads_bad(y) || !hn_is(y->in[2], HN_I32, 1) || !hn_same_rows(y->in[0], y->in[2]) ||
           !(y->attr.f[0] > 0);
}
static int shape_b(const hn_tensor *y, hn_shape *s) {
    hn_shape forward[2];
    s[0] = y->in[0]->shape;
    s[1] = y->in[1]->shape;
    if (shape(y, forward)) return 1;
    for (int k = 3; k <= 5; k++)
        if (y->in[k]->type != HN_F || !hn_same_rows(y->in[k], y->in[0])) return 1;
    return hn_cols(y->in[3]) != 1 || hn_cols(y->in[4]) != 4 || hn_cols(y->in[5]) != 1;
}
static int logits_shape(const hn_tensor *y, hn_shape *s) {
    *s = hn_rows_like(y->in[0], y->in[1]->shape.d[0]);
    return heads_bad(y);
}

/* Logits of row `a` for tokens [v0, v0 + n). */
static void chunk(const hn_tensor *y, int64_t a, int64_t v0, int64_t n, hn_real *z) {
    int64_t C = hn_cols(y->in[0]), prec = y->attr.i[0];
    const hn_real *h = HN_IN(y, 0) + a * C, *w = HN_IN(y, 1) + v0 * C;
    for (int64_t v = 0; v < n; v++, w += C) {
        double acc = 0;
        for (int64_t c = 0; c < C; c++) acc += (double)hn_read(h[c], prec) * hn_read(w[c], prec);
        z[v] = (hn_real)acc;
    }
}
static int64_t chunk_size(const hn_tensor *y, int64_t v0) {
    int64_t left = y->attr.i[1] - v0;
    return left < HN_VCHUNK ? left : HN_VCHUNK;
}

static void logp_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t vocab = y->attr.i[1];
    double inv = 1 / y->attr.f[0];
    hn_real z[HN_VCHUNK];
    for (int64_t a = lo; a < hi; a++) {
        int64_t target = HN_INI(y, 2)[a], best = 0;
        double top = -INFINITY, zt = 0;
        hn_lse at_t, at_1;
        hn_assert(target >= 0 && target < vocab);
        hn_lse_init(&at_t);
        hn_lse_init(&at_1);
        for (int64_t v0 = 0; v0 < vocab; v0 += HN_VCHUNK) {
            int64_t n = chunk_size(y, v0);
            chunk(y, a, v0, n, z);
            hn_lse_add(&at_t, z, n, inv);
            hn_lse_add(&at_1, z, n, 1);
            if (target >= v0 && target < v0 + n) zt = z[target - v0];
            for (int64_t v = 0; v < n; v++)
                if (z[v] > top) top = z[v], best = v0 + v;
        }
        hn_real *stat = HN_OUT(y, 1) + 4 * a;
        HN_OUT(y, 0)[a] = (hn_real)(zt * inv - hn_lse_get(&at_t));
        stat[0] = (hn_real)(zt - hn_lse_get(&at_1));
        stat[1] = (hn_real)hn_lse_entropy(&at_t);
        stat[2] = best == target;
        stat[3] = (hn_real)hn_lse_get(&at_t);
    }
}

/* One act at a time: gradient of its chunk of logits, then both products. */
static void logp_b_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t C = hn_cols(y->in[0]), vocab = y->attr.i[1], A = hn_rows(y->in[0]), prec = y->attr.i[0];
    double inv = 1 / y->attr.f[0];
    hn_real z[HN_VCHUNK], *gh = HN_OUT(y, 0), *gw = HN_OUT(y, 1);
    (void)lo, (void)hi;
    if (gh) memset(gh, 0, (size_t)(A * C) * sizeof *gh);
    for (int64_t a = 0; a < A; a++) {
        const hn_real *h = HN_IN(y, 0) + a * C;
        double g = HN_IN(y, 5)[a], lse = HN_IN(y, 4)[4 * a + 3];
        for (int64_t v0 = 0; v0 < vocab; v0 += HN_VCHUNK) {
            int64_t n = chunk_size(y, v0);
            chunk(y, a, v0, n, z);
            for (int64_t v = 0; v < n; v++) {
                double dz = g * inv * ((v0 + v == HN_INI(y, 2)[a]) - exp(z[v] * inv - lse));
                hn_real d = hn_read((hn_real)dz, prec);
                const hn_real *w = HN_IN(y, 1) + (v0 + v) * C;
                for (int64_t c = 0; gh && c < C; c++) gh[a * C + c] += d * hn_read(w[c], prec);
                for (int64_t c = 0; gw && c < C; c++) gw[(v0 + v) * C + c] += d * hn_read(h[c], prec);
            }
        }
    }
}

static void logits_ref(const hn_tensor *y, int64_t lo, int64_t hi) {
    int64_t V = hn_cols(y), vocab = y->attr.i[1];
    for (int64_t r = lo; r < hi; r++) {
        chunk(y, r, 0, vocab, HN_OUT(y, 0) + r * V);
        for (int64_t v = vocab; v < V; v++) HN_OUT(y, 0)[r * V + v] = -INFINITY;
    }
}

static void logp_vjp(hn_tape *t, hn_tensor *y, hn_tensor *const g[], hn_tensor *gin[]) {
    if (!g[0]) return;
    gin[0] = hn_logp_b(t, y->in[0], y->in[1], y->in[2], y, y->out[1], g[0], y->attr.f[0], y->attr.i[1],
                       (hn_prec)y->attr.i[0]);
    gin[1] = gin[0]->out[1];
}

static double forward_flops(const hn_tensor *y) {
    return 2.0 * (double)hn_count(y->in[0]) * (double)y->attr.i[1];
}
static double backward_flops(const hn_tensor *y) { return 3 * forward_flops(y); }

/* clang-format off */
#define ATTR(temperature, vocab, prec) { { temperature }, { prec, vocab } }
static const hn_case cases[] = {
    { .name = "odd", .in = { HN_A2(4, 5), HN_S2(7, 5), HN_A1(4) },
      .bound = { 0, 0, 7 }, .attr = ATTR(1, 7, 0) },
    { .name = "padded", .in = { HN_A2(3, 4), HN_S2(16, 4), HN_A1(3) },
      .bound = { 0, 0, 11 }, .attr = ATTR(0.7, 11, 0) },
    { .name = "chunks", .in = { HN_A2(2, 3), HN_S2(1030, 3), HN_A1(2) },
      .bound = { 0, 0, 1027 }, .attr = ATTR(1.3, 1027, 0) },
    { .name = "bf16", .in = { HN_A2(5, 33), HN_S2(70, 33), HN_A1(5) },
      .bound = { 0, 0, 70 }, .attr = ATTR(1, 70, HN_PREC_BF16) },
    { 0 } };
static const hn_case cases_b[] = {
    { .name = "odd", .in = { HN_A2(4, 5), HN_S2(7, 5), HN_A1(4), HN_A1(4), HN_A2(4, 4), HN_A1(4) },
      .bound = { 0, 0, 7 }, .attr = ATTR(1, 7, 0) },
    { .name = "padded", .in = { HN_A2(3, 4), HN_S2(16, 4), HN_A1(3), HN_A1(3), HN_A2(3, 4), HN_A1(3) },
      .bound = { 0, 0, 11 }, .attr = ATTR(0.7, 11, 0) },
    { .name = "chunks", .in = { HN_A2(2, 3), HN_S2(1030, 3), HN_A1(2), HN_A1(2), HN_A2(2, 4), HN_A1(2) },
      .bound = { 0, 0, 1027 }, .attr = ATTR(1.3, 1027, 0) }, { 0 } };
static const hn_case rows[] = {
    { .name = "odd", .in = { HN_A2(4, 5), HN_S2(7, 5) }, .attr = ATTR(0, 7, 0) },
    { .name = "padded", .in = { HN_A2(3, 9), HN_S2(600, 9) }, .attr = ATTR(0, 590, 0) },
    { .name = "bf16", .in = { HN_A2(3, 33), HN_S2(40, 33) }, .attr = ATTR(0, 40, HN_PREC_BF16) }, { 0 } };
/* clang-format on */

const hn_op hn_op_logp = { .name = "logp",
                           .n_in = 3,
                           .n_out = 2,
                           .shape = shape,
                           .ref = logp_ref,
                           .vjp = logp_vjp,
                           .flops = forward_flops,
                           .fixed_out = 1 << 1,
                           .cases = cases };
const hn_op hn_op_logp_b = { .name = "logp_b",
                             .n_in = 6,
                             .n_out = 2,
                             .shape = shape_b,
                             .ref = logp_b_ref,
                             .flops = backward_flops,
                             .whole = true,
                             .acc = 1 << 1,
                             .spare = 1 | 1 << 1,
                             .cases = cases_b };
const hn_op hn_op_logits = { .name = "logits",
                             .n_in = 2,
                             .shape = logits_shape,
                             .ref = logits_ref,
                             .flops = forward_flops,
                             .cases = rows };

static hn_attr attr(double temperature, int64_t vocab, hn_prec p) {
    return (hn_attr){ { temperature }, { (int64_t)p, vocab } };
}
hn_tensor *hn_logp(hn_tape *t, hn_tensor *h, hn_tensor *w, hn_tensor *target, double temperature,
                   int64_t vocab, hn_prec p) {
    return HN_APPLY(t, hn_op_logp, attr(temperature, vocab, p), h, w, target);
}
hn_tensor *hn_logp_b(hn_tape *t, hn_tensor *h, hn_tensor *w, hn_tensor *target, hn_tensor *logp,
                     hn_tensor *stat, hn_tensor *g, double temperature, int64_t vocab, hn_prec p) {
    return HN_APPLY(t, hn_op_logp_b, attr(temperature, vocab, p), h, w, target, logp, stat, g);
}
hn_tensor *hn_logits(hn_tape *t, hn_tensor *h, hn_tensor *w, int64_t vocab, hn_prec p) {
    return HN_APPLY(t, hn_op_logits, attr(0, vocab, p), h, w);
}
