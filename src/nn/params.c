/* params.c - the parameter store and AdamW. */
#include "nn/params.h"
#include "base/pool.h"

#include <math.h>
#include <string.h>

int hn_params_declare(hn_params *p, const char *name, hn_shape s, bool decay) {
    if (hn_grow(&p->list, &p->cap, p->n + 1, sizeof *p->list)) return HN_ENOMEM;
    hn_param *q = &p->list[p->n];
    hn_assert(strlen(name) < sizeof q->name);
    *q = (hn_param){ .shape = s, .at = p->count, .count = 1, .decay = decay };
    memcpy(q->name, name, strlen(name) + 1);
    for (int i = 0; i < s.nd; i++) q->count *= s.d[i];
    p->count += q->count;
    return (int)p->n++;
}

int hn_params_weight(hn_params *p, int first, int n, bool packed) {
    if (hn_grow(&p->weight, &p->cap_weight, p->n_weight + 1, sizeof *p->weight)) return HN_ENOMEM;
    hn_weight *w = &p->weight[p->n_weight];
    *w = (hn_weight){ .shape = p->list[first].shape, .at = p->list[first].at, .packed = packed };
    w->first = first, w->n = n;
    for (int i = 1; i < n; i++) {
        const hn_shape *s = &p->list[first + i].shape;
        hn_assert(s->nd == w->shape.nd && (s->nd < 2 || s->d[1] == w->shape.d[1]));
        w->shape.d[0] += s->d[0];
    }
    return (int)p->n_weight++;
}

static int64_t held(const hn_params *p) { return p->quant ? p->held : p->count; }

size_t hn_params_block(const hn_params *p) { return (size_t)held(p) * sizeof(hn_real); }

size_t hn_params_packed(const hn_params *p, bool backward) {
    size_t n = 0;
    for (int64_t i = 0; i < p->n_weight; i++)
        if (p->weight[i].side) n += p->backend->side_bytes(p->weight[i].side, backward);
    return n;
}

int hn_params_build(hn_params *p, const hn_backend *b, hn_prec prec, hn_err *e) {
    p->backend = b;
    p->prec = prec;
    hn_assert(!p->quant || b->side_quant);
    p->value = hn_big_alloc(hn_params_block(p));
    if (p->value && p->quant) p->staged = hn_big_alloc((size_t)p->most_staged * sizeof(hn_real));
    return p->value && (p->staged || !p->quant)
               ? HN_OK
               : hn_fail(e, HN_ENOMEM, "no memory for %lld parameters", (long long)p->count);
}

static void drop_staged(hn_params *p) {
    hn_big_free(p->staged, (size_t)p->most_staged * sizeof(hn_real));
    p->staged = NULL;
}

static hn_weight *weight_of(const hn_params *p, int64_t i) {
    for (int64_t k = 0; k < p->n_weight; k++)
        if (i >= p->weight[k].first && i < p->weight[k].first + p->weight[k].n) return &p->weight[k];
    return NULL;
}

void hn_params_quantize(hn_params *p, hn_quant q) {
    hn_assert(!p->value && !p->described && !p->quant && q);
    p->quant = q;
    for (int64_t i = 0; i < p->n; i++) {
        hn_param *x = &p->list[i];
        hn_weight *w = weight_of(p, i);
        bool alone = w && w->packed && !w->rows;
        x->at = alone ? -1 : p->held;
        if (w && i == w->first) w->at = x->at;
        if (!alone) p->held += x->count;
        int64_t size = alone ? w->shape.d[0] * w->shape.d[1] : 0;
        if (size > p->most_staged) p->most_staged = size;
    }
}

/* Numbers of the weight that lie before parameter i. */
static int64_t before(const hn_params *p, const hn_weight *w, int64_t i) {
    int64_t n = 0;
    for (int64_t k = w->first; k < i; k++) n += p->list[k].count;
    return n;
}

hn_real *hn_params_place(hn_params *p, int64_t i) {
    const hn_param *x = &p->list[i];
    return x->at >= 0 ? p->value + x->at : p->staged + before(p, weight_of(p, i), i);
}

static int quantize(const hn_params *p, hn_weight *w, const hn_real *value, hn_err *e) {
    hn_quant q = w->finest ? HN_QUANT_Q8 : p->quant;
    int rc = p->backend->side_quant(&w->side, value, w->shape.d[0], w->shape.d[1], q, e);
    return rc ? hn_fail_in(e, "%s", p->list[w->first].name), rc : rc;
}

int hn_params_placed(hn_params *p, int64_t i, hn_err *e) {
    hn_weight *w = weight_of(p, i);
    bool whole = p->quant && w && w->packed && i == w->first + w->n - 1;
    int rc = whole ? quantize(p, w, w->at >= 0 ? p->value + w->at : p->staged, e) : HN_OK;
    if (!rc && p->quant && i == p->n - 1) drop_staged(p);
    return rc;
}

int hn_params_train(hn_params *p, hn_err *e) {
    hn_assert(!p->quant);
    hn_real **block[] = { &p->grad, &p->moment[0], &p->moment[1] };
    for (int i = 0; i < 3; i++) {
        if (!*block[i]) *block[i] = hn_big_alloc(hn_params_block(p));
        if (!*block[i])
            return hn_fail(e, HN_ENOMEM,
                           "no memory to train %lld parameters: gradients and moments need %.0f MB",
                           (long long)p->count, 3e-6 * (double)hn_params_block(p));
    }
    return hn_params_refresh(p, e);
}

int hn_params_describe(hn_params *p, const hn_backend *b, hn_prec prec, bool train, hn_err *e) {
    hn_assert(!p->value);
    p->backend = b;
    p->prec = prec;
    p->described = true;
    p->trains = train;
    return hn_params_refresh(p, e);
}

void hn_params_release(hn_params *p) {
    for (int64_t i = 0; i < p->n_weight; i++)
        if (p->weight[i].side) p->backend->side_free(p->weight[i].side);
    if (p->staged) drop_staged(p);
    hn_big_free(p->value, hn_params_block(p));
    hn_big_free(p->grad, hn_params_block(p));
    hn_big_free(p->moment[0], hn_params_block(p));
    hn_big_free(p->moment[1], hn_params_block(p));
    hn_free(p->list);
    hn_free(p->weight);
    memset(p, 0, sizeof *p);
}

int hn_params_find(const hn_params *p, const char *name) {
    for (int64_t i = 0; i < p->n; i++)
        if (!strcmp(p->list[i].name, name)) return (int)i;
    return -1;
}

typedef struct {
    hn_real *v;
    uint64_t seed, stream;
    double std;
} fill;

static void fill_normal(void *ctx, int64_t lo, int64_t hi) {
    const fill *f = ctx;
    for (int64_t i = lo; i < hi; i++)
        f->v[i] = (hn_real)(f->std * hn_rand_normal(f->seed, f->stream, (uint64_t)i));
}

void hn_params_random(hn_params *p, uint64_t seed, double std) {
    hn_assert(!p->quant);
    for (int64_t k = 0; k < p->n; k++) {
        const hn_param *q = &p->list[k];
        size_t n = strlen(q->name);
        bool gain = n >= 11 && !strcmp(q->name + n - 11, "norm.weight");
        if (q->shape.nd > 1) {
            fill f = { p->value + q->at, seed, hn_key(1, (uint64_t)k), std };
            hn_parallel(q->count, 4096, fill_normal, &f);
        } else {
            for (int64_t i = 0; i < q->count; i++) p->value[q->at + i] = gain;
        }
    }
}

int hn_params_refresh(hn_params *p, hn_err *e) {
    if (!p->backend->side) return HN_OK;
    for (int64_t i = 0; i < p->n_weight; i++) {
        hn_weight *w = &p->weight[i];
        if (!w->packed) continue;
        if (p->quant) {
            int rc = p->described ? quantize(p, w, NULL, e) : HN_OK; /* else: hn_params_placed did */
            if (rc) return rc;
            continue;
        }
        const hn_real *value = p->described ? NULL : p->value + w->at;
        bool backward = (p->grad || p->trains) && !w->chunked;
        int rc = p->backend->side(&w->side, value, w->shape.d[0], w->shape.d[1], p->prec, backward, e);
        if (rc) return rc;
    }
    return HN_OK;
}

hn_tensor *hn_params_leaf(hn_params *p, hn_tape *t, int weight, bool train) {
    static hn_real nowhere; /* a described leaf has gradient memory in name only */
    hn_assert(weight >= 0 && weight < p->n_weight && (p->value || p->described));
    const hn_weight *w = &p->weight[weight];
    hn_tensor *x = hn_leaf(t, HN_F, w->shape, p->described || w->at < 0 ? NULL : p->value + w->at);
    x->side = w->side;
    if (train && p->grad) x->into = p->grad + w->at;
    else if (train && p->trains) x->into = &nowhere;
    return x;
}

static void zero_slice(void *ctx, int64_t lo, int64_t hi) {
    memset((hn_real *)ctx + lo, 0, (size_t)(hi - lo) * sizeof(hn_real));
}

void hn_params_no_grad(hn_params *p) { hn_parallel(p->count, 1 << 16, zero_slice, p->grad); }

/* ---- AdamW ---- */
/* In the order PyTorch computes it: decay, moments, then value -= lr/(1-b1^t) * m / (sqrt(v)/sqrt(1-b2^t) +
 * eps). */
static void adamw(hn_real *restrict w, hn_real *restrict m, hn_real *restrict v, const hn_real *restrict g,
                  int64_t n, const hn_adamw_now *a) {
    for (int64_t i = 0; i < n; i++) {
        hn_real x = g[i] * a->scale;
        m[i] = a->beta1 * m[i] + a->rest1 * x;
        v[i] = a->beta2 * v[i] + a->rest2 * x * x;
        w[i] = w[i] * a->decay - a->lr * m[i] / ((hn_real)sqrt(v[i]) * a->root2 + a->eps);
    }
}

typedef struct {
    hn_params *p;
    hn_adamw_now now;
    int64_t at;
} step_ctx;

static void step_slice(void *ctx, int64_t lo, int64_t hi) {
    const step_ctx *s = ctx;
    const hn_params *p = s->p;
    int64_t i = s->at + lo;
    (p->backend->adamw ? p->backend->adamw : adamw)(p->value + i, p->moment[0] + i, p->moment[1] + i,
                                                    p->grad + i, hi - lo, &s->now);
}

void hn_adamw_step(const hn_adamw *o, hn_params *p, double lr, int64_t step, double scale) {
    double c1 = 1 - pow(o->beta1, (double)step), c2 = 1 - pow(o->beta2, (double)step);
    step_ctx s = { .p = p };
    s.now = (hn_adamw_now){ .beta1 = (hn_real)o->beta1,
                            .rest1 = (hn_real)(1 - o->beta1),
                            .beta2 = (hn_real)o->beta2,
                            .rest2 = (hn_real)(1 - o->beta2),
                            .lr = (hn_real)(lr / c1),
                            .root2 = (hn_real)(1 / sqrt(c2)),
                            .eps = (hn_real)o->eps,
                            .scale = (hn_real)scale };
    for (int64_t k = 0; k < p->n; k++) {
        s.at = p->list[k].at;
        s.now.decay = (hn_real)(p->list[k].decay ? 1 - lr * o->weight_decay : 1);
        hn_parallel(p->list[k].count, 1 << 14, step_slice, &s);
    }
}

enum { NORM_BLOCK = 1 << 14 };

static double sum_squares(const hn_real *g, int64_t n) {
    double lane[8] = { 0 };
    for (int64_t i = 0; i < n; i++) lane[i & 7] += (double)g[i] * g[i];
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

typedef struct {
    double (*sum)(const hn_real *g, int64_t n);
    const hn_real *g;
    int64_t n;
    double *part;
} norm_ctx;

static void norm_slice(void *ctx, int64_t lo, int64_t hi) {
    const norm_ctx *s = ctx;
    for (int64_t b = lo; b < hi; b++) {
        int64_t at = b * NORM_BLOCK, n = s->n - at < NORM_BLOCK ? s->n - at : NORM_BLOCK;
        s->part[b] = s->sum(s->g + at, n);
    }
}

double hn_params_grad_norm(const hn_params *p) {
    enum { MOST = 1024 };
    double part[MOST], sum = 0;
    int64_t left = p->count, at = 0;
    while (left > 0) { /* in stretches, so that no allocation is needed */
        int64_t n = left < (int64_t)MOST * NORM_BLOCK ? left : (int64_t)MOST * NORM_BLOCK;
        int64_t blocks = (n + NORM_BLOCK - 1) / NORM_BLOCK;
        norm_ctx s = { p->backend->sum_squares ? p->backend->sum_squares : sum_squares, p->grad + at, n,
                       part };
        hn_parallel(blocks, 4, norm_slice, &s);
        for (int64_t b = 0; b < blocks; b++) sum += part[b];
        at += n;
        left -= n;
    }
    return sqrt(sum);
}
