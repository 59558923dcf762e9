/* tape.c - records nodes: memory, shapes, live counts and sticky errors. */
#include "tensor/tape.h"

#include <string.h>

/* ---- shapes ---- */
static int64_t first(const hn_tensor *t) {
    int64_t n = t->n_live ? t->n_live[t->shape.live] : -1;
    return n < 0 ? t->shape.d[0] : n;
}
int64_t hn_cols(const hn_tensor *t) { return t->shape.nd > 1 ? t->shape.d[t->shape.nd - 1] : 1; }
static int64_t rows(const hn_tensor *t, int64_t d0) {
    for (int i = 1; i < t->shape.nd - 1; i++) d0 *= t->shape.d[i];
    return d0;
}
int64_t hn_rows(const hn_tensor *t) { return rows(t, first(t)); }
int64_t hn_cap_rows(const hn_tensor *t) { return rows(t, t->shape.d[0]); }
int64_t hn_count(const hn_tensor *t) { return hn_rows(t) * hn_cols(t); }
static size_t item(hn_dtype type) {
    if (type == HN_BF16 && sizeof(hn_real) == 4) return sizeof(uint16_t);
    return type == HN_F || type == HN_BF16 ? sizeof(hn_real) : type == HN_I32 ? 4 : 0;
}
size_t hn_bytes(const hn_tensor *t) { return (size_t)(hn_cap_rows(t) * hn_cols(t)) * item(t->type); }

/* Dimensions of at least 0 whose product in bytes is far from overflow. */
static bool sane(const hn_shape *s) {
    int64_t n = sizeof(double);
    if (s->nd < 1 || s->nd > HN_MAXDIM || s->live < 0 || s->live >= HN_LIVE_N) return false;
    for (int i = 0; i < s->nd; i++)
        if (s->d[i] < 0 || __builtin_mul_overflow(n, s->d[i], &n)) return false;
    return n < INT64_MAX / 4;
}

/* ---- life ---- */
hn_tape *hn_tape_new(const hn_backend *b) {
    hn_tape *t = hn_alloc(sizeof *t);
    if (!t) return NULL;
    t->backend = b;
    t->mem = hn_arena_new(1 << 16);
    if (!t->mem) {
        hn_free(t);
        return NULL;
    }
    hn_tape_reset(t);
    return t;
}

void hn_tape_reset(hn_tape *t) {
    hn_arena_reset(t->mem);
    t->node = NULL;
    t->bound = NULL;
    t->step = NULL;
    t->n = t->cap = t->n_bound = t->cap_bound = t->n_step = 0;
    t->segment = t->n_segment = 0;
    t->planned = false;
    t->bytes = 0;
    t->scope = "";
    memset(&t->err, 0, sizeof t->err);
    memset(&t->bad, 0, sizeof t->bad);
    t->bad.shape = (hn_shape){ 1, HN_FIXED, { 1 } };
    t->bad.n_live = t->live;
    for (int k = 0; k < HN_MAXOUT; k++) t->bad.out[k] = &t->bad;
    for (int k = 0; k < HN_LIVE_N; k++) t->live[k] = t->least[k] = -1;
}

void hn_tape_free(hn_tape *t) {
    if (!t) return;
    hn_big_free(t->block, t->block_size);
    hn_free(t->timer);
    hn_arena_free(t->mem);
    hn_free(t);
}

void hn_tape_fail(hn_tape *t, int code, const char *what) {
    hn_fail(&t->err, code, "%s%s%s", t->scope, *t->scope ? ": " : "", what);
}

void hn_scope(hn_tape *t, const char *fmt, ...) {
    char name[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    const char *s = hn_arena_str(t->mem, name, strlen(name));
    if (s) t->scope = s;
    else hn_tape_fail(t, HN_ENOMEM, "out of memory naming what follows");
}

void hn_segment(hn_tape *t, bool on) { t->segment = on ? ++t->n_segment : 0; }

void hn_tape_live(hn_tape *t, hn_live which, int64_t n) {
    hn_assert(which > HN_FIXED && which < HN_LIVE_N && n >= 0);
    t->live[which] = n;
}

/* ---- recording ---- */
static hn_tensor *push(hn_tape *t, hn_dtype type, const hn_shape *s) {
    hn_assert(!t->planned);
    if (t->n == t->cap) {
        int cap = t->cap ? 2 * t->cap : 256;
        hn_tensor **node = hn_arena_get(t->mem, (size_t)cap * sizeof *node);
        if (!node) goto oom;
        if (t->n) memcpy(node, t->node, (size_t)t->n * sizeof *node);
        t->node = node;
        t->cap = cap;
    }
    hn_tensor *y = hn_arena_get(t->mem, sizeof *y);
    if (!y) goto oom;
    y->id = t->n;
    y->scope = t->scope;
    y->segment = t->segment;
    y->n_live = t->live;
    y->type = type;
    y->out[0] = y;
    y->shape = *s;
    if (s->live && (t->least[s->live] < 0 || s->d[0] < t->least[s->live])) {
        t->least[s->live] = s->d[0];
        t->least_at[s->live] = t->scope;
    }
    return t->node[t->n++] = y;
oom:
    hn_tape_fail(t, HN_ENOMEM, "out of memory recording the tape");
    return NULL;
}

hn_tensor *hn_leaf(hn_tape *t, hn_dtype type, hn_shape s, void *data) {
    if (t->err.code) return &t->bad;
    hn_assert(sane(&s));
    hn_tensor *y = push(t, type, &s);
    if (!y) return &t->bad;
    y->data = data;
    return y;
}

void hn_bind(hn_tensor *leaf, void *data) {
    hn_assert(!leaf->op && !leaf->of);
    leaf->data = data;
}

hn_tensor *hn_stored(hn_tensor *y, hn_prec p) {
    hn_assert(p == HN_PREC_F32 || !y->op || y->op->half & 1);
    y->type = p == HN_PREC_BF16 ? HN_BF16 : HN_F;
    return y;
}

hn_tensor *hn_keep(hn_tensor *x) {
    x->keep = true;
    return x;
}

/* The inputs' shapes as "[3,5] [7,5] -". */
static const char *describe(const hn_tensor *y, char *buf, size_t n) {
    static const char *const mark[] = { "", " i32", " host", " bf16" };
    size_t k = 0;
    buf[0] = 0;
    for (int i = 0; i < y->op->n_in && k + 100 < n; i++) {
        const hn_tensor *x = y->in[i];
        if (i) buf[k++] = ' ';
        for (int d = 0; x && d < x->shape.nd; d++)
            k += (size_t)snprintf(buf + k, n - k, d ? ",%lld" : "[%lld", (long long)x->shape.d[d]);
        k += (size_t)snprintf(buf + k, n - k, "%s%s", x ? mark[x->type] : "-", x ? "]" : "");
    }
    return buf;
}

hn_tensor *hn_apply(hn_tape *t, const hn_op *op, hn_attr a, hn_tensor *const in[HN_MAXIN]) {
    if (t->err.code) return &t->bad;
    hn_tensor probe = { .op = op, .attr = a, .n_live = t->live };
    hn_shape s[HN_MAXOUT] = { 0 };
    char buf[400];
    for (int k = 0; k < op->n_in; k++) {
        hn_assert(in[k] ? in[k]->n_live == t->live : op->optional >> k & 1); /* recorded on this tape */
        probe.in[k] = in[k];
    }
    bool fits = !op->shape(&probe, s);
    for (int k = 0; fits && k < (op->n_out ? op->n_out : 1); k++) fits = sane(&s[k]);
    if (!fits) {
        hn_fail(&t->err, HN_ERANGE, "%s%s%s does not fit %s", t->scope, *t->scope ? ": " : "", op->name,
                describe(&probe, buf, sizeof buf));
        return &t->bad;
    }
    hn_tensor *y = push(t, HN_F, &s[0]);
    if (!y) return &t->bad;
    y->op = op;
    y->attr = a;
    memcpy(y->in, probe.in, sizeof y->in);
    for (int k = 1; k < op->n_out; k++) {
        hn_tensor *x = push(t, HN_F, &s[k]);
        if (!x) return &t->bad;
        x->of = y;
        y->out[k] = x;
    }
    return y;
}
