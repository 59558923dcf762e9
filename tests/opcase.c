/* opcase.c - runs one case of one operation between guards. */
#include "opcase.h"

#include <math.h>
#include <string.h>

#define HN_OP(file, name, args) &hn_op_##name,
const hn_op *const opcase_ops[] = {
#include "op/ops.h"
    NULL
};

enum { GUARD = 256, NO_INDEX = 0x3fffffff }; /* elements before and after */

double opcase_worse(double a, double b) { return b <= a || isnan(a) ? a : b; }

/* ---- inputs ---- */
static void *guarded(hn_tensor *x, void **block, uint64_t seed, uint64_t slot, int bound) {
    int64_t n = hn_cap_rows(x) * hn_cols(x), live = hn_count(x);
    size_t size = x->type == HN_I32 ? sizeof(int32_t) : sizeof(hn_real);
    char *p = hn_alloc((size_t)(n + 2 * GUARD) * size);
    hn_assert(p);
    *block = p;
    memset(p, 0xff, (size_t)(n + 2 * GUARD) * size);
    p += GUARD * size;
    for (int64_t i = -GUARD; x->type == HN_I32 && i < n + GUARD; i++) ((int32_t *)p)[i] = NO_INDEX;
    for (int64_t i = 0; i < live; i++) {
        uint64_t key = slot << 32 | (uint64_t)i;
        if (x->type == HN_I32) ((int32_t *)p)[i] = (int32_t)(hn_rand(seed, 2, key) % (uint64_t)bound);
        else ((hn_real *)p)[i] = (hn_real)(2 * hn_rand01(seed, 1, key) - 1);
    }
    return p;
}

/* Live counts for `part` of the capacity; spans are never more than tokens. */
static bool set_live(opcase *k, int part) {
    bool any = false;
    for (int l = 0; l < HN_LIVE_N; l++) k->live[l] = -1;
    for (int i = 0; i < k->op->n_in; i++) {
        const hn_shape *s = &k->c->in[i];
        if (!s->nd || !s->live) continue;
        any = true;
        k->live[s->live] = part == OPCASE_FULL ? s->d[0] : part == OPCASE_NONE ? 0 : (s->d[0] + 1) / 2;
    }
    if (k->live[HN_SPANS] > k->live[HN_TOKENS]) k->live[HN_SPANS] = k->live[HN_TOKENS];
    return any || part == OPCASE_FULL;
}

bool opcase_draw(opcase *k, const hn_op *op, const hn_case *c, int part, uint64_t seed) {
    memset(k, 0, sizeof *k);
    k->op = op;
    k->c = c;
    if (!set_live(k, part)) return false;
    for (int i = 0; i < op->n_in; i++) {
        if (!c->in[i].nd) continue;
        hn_tensor *x = k->ptr[i] = &k->in[i];
        *x = (hn_tensor){ .shape = c->in[i], .n_live = k->live };
        x->type = c->bound[i] == HN_CASE_HOST ? HN_HOST : c->bound[i] ? HN_I32 : HN_F;
        if (x->type != HN_HOST) x->data = guarded(x, &k->block[i], seed, (uint64_t)i, c->bound[i]);
    }
    if (c->fill && part != OPCASE_NONE) c->fill(k->ptr, seed);
    if (c->fill && part == OPCASE_NONE && c->drop)
        c->fill(k->ptr, seed); /* the shape needs the host object */
    return true;
}

void opcase_free(opcase *k) {
    if (k->c && k->c->drop) k->c->drop(k->ptr);
    for (int i = 0; i < HN_MAXIN; i++) hn_free(k->block[i]);
    memset(k, 0, sizeof *k);
}

hn_tensor *opcase_record(const opcase *k, hn_tape *t, hn_tensor *leaf[HN_MAXIN]) {
    for (int i = 0; i < HN_MAXIN; i++) {
        const hn_tensor *x = k->ptr[i];
        leaf[i] = x ? hn_leaf(t, x->type, x->shape, x->data) : NULL;
        if (x && k->side[i]) leaf[i]->side = k->side[i];
    }
    for (int l = 1; l < HN_LIVE_N; l++)
        if (k->live[l] >= 0) hn_tape_live(t, (hn_live)l, k->live[l]);
    return hn_apply(t, k->op, k->c->attr, leaf);
}

/* ---- outputs ---- */
static void bind_out(opout *o, hn_tensor *x, int i, bool acc) {
    int64_t n = hn_cap_rows(x) * hn_cols(x);
    o->count[i] = hn_count(x);
    o->cols[i] = hn_cols(x);
    o->block[i] = hn_alloc((size_t)(n + 2 * GUARD) * sizeof(hn_real));
    hn_assert(o->block[i]);
    memset(o->block[i], 0xff, (size_t)(n + 2 * GUARD) * sizeof(hn_real));
    o->data[i] = o->block[i] + GUARD;
    for (int64_t j = 0; acc && j < n; j++)
        o->data[i][j] = (hn_real)(2 * hn_rand01(99, (uint64_t)i, (uint64_t)j) - 1);
    x->data = o->data[i];
    x->bound = true;
}

static bool guards_hold(const opout *o, const hn_tensor *y) {
    unsigned char want[sizeof(hn_real) * GUARD];
    memset(want, 0xff, sizeof want);
    for (int i = 0; i < o->n; i++) {
        if (!o->data[i]) continue;
        int64_t n = hn_cap_rows(y->out[i]) * hn_cols(y->out[i]);
        if (memcmp(o->block[i], want, sizeof want) || memcmp(o->data[i] + n, want, sizeof want)) return false;
    }
    return true;
}

static int run_planned(const opcase *k, hn_tape *t, hn_tensor *y, bool by_row, hn_err *e) {
    int rc = hn_tape_plan(t, e);
    if (rc) return rc;
    if (!by_row || k->op->whole) return hn_run(t, e);
    for (int64_t r = hn_rows(y) - 1; r >= 0; r--) k->op->ref(y, r, r + 1);
    return HN_OK;
}

int opcase_run(const opcase *k, const hn_backend *b, unsigned absent, opout *o, hn_err *e) {
    const hn_backend *back = b ? b : &hn_backend_ref;
    hn_tape *t = hn_tape_new(back);
    hn_tensor *leaf[HN_MAXIN];
    hn_assert(t);
    memset(o, 0, sizeof *o);
    hn_tensor *y = opcase_record(k, t, leaf);
    o->n = k->op->n_out ? k->op->n_out : 1;
    for (int i = 0; i < o->n && y->op; i++)
        if (!((absent & k->op->spare) >> i & 1)) bind_out(o, y->out[i], i, k->op->acc >> i & 1);
    int rc = run_planned(k, t, y, !b, e);
    if (!rc && !guards_hold(o, y)) rc = hn_fail(e, HN_ERANGE, "wrote outside its output");
    hn_tape_free(t);
    return rc;
}

void opcase_free_out(opout *o) {
    for (int i = 0; i < HN_MAXOUT; i++) hn_free(o->block[i]);
    memset(o, 0, sizeof *o);
}

static double row_diff(const hn_real *a, const hn_real *b, int64_t n) {
    double worst = 0, top = 1;
    for (int64_t j = 0; j < n; j++) {
        if (a[j] == b[j] && isinf(a[j])) continue;
        worst = opcase_worse(worst, fabs((double)a[j] - (double)b[j]));
        top = opcase_worse(top, fabs((double)b[j]));
    }
    return worst / top;
}

double opcase_diff(const opout *a, const opout *b) {
    double worst = 0;
    for (int i = 0; i < a->n; i++)
        for (int64_t j = 0; a->data[i] && b->data[i] && j < a->count[i]; j += a->cols[i])
            worst = opcase_worse(worst, row_diff(a->data[i] + j, b->data[i] + j, a->cols[i]));
    return worst;
}
