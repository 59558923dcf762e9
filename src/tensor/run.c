/* run.c - runs a planned tape, as often as wanted, and says where the time went. */
#include "base/pool.h"
#include "tensor/tape.h"

#include <string.h>

bool hn_poison;
const hn_backend hn_backend_ref = { .name = "ref" };

static void slice(void *ctx, int64_t lo, int64_t hi) {
    const hn_tensor *y = ctx;
    y->op->ref(y, lo, hi);
}

static void run_ref(hn_tensor *y) {
    enum { ELEMENTS = 4096 }; /* about as many a slice, so that small things stay in one thread */
    int64_t rows = hn_rows(y), grain = ELEMENTS / (hn_cols(y) + 1) + 1;
    if (y->op->whole) y->op->ref(y, 0, rows);
    else hn_parallel(rows, grain, slice, y);
}

static void clear_slice(void *ctx, int64_t lo, int64_t hi) {
    memset((hn_real *)ctx + lo, 0, (size_t)(hi - lo) * sizeof(hn_real));
}
static void clear(hn_tensor *x, void *data) {
    hn_parallel((int64_t)(hn_bytes(x) / sizeof(hn_real)), 1 << 15, clear_slice, data);
}

/* Accumulated outputs start from zero unless their memory is somebody else's; under hn_poison everything
 * else the node must write starts as NaN. */
static void prepare(const hn_tape *t, const hn_step *s) {
    hn_tensor *y = s->y;
    for (int k = 0; k < hn_n_out(y->op); k++) {
        if (t->from_zero && s->first >> k & 1) clear(y->out[k], y->out[k]->data);
        if (!(s->fresh >> k & 1)) continue;
        if (y->op->acc >> k & 1) memset(y->out[k]->data, 0, hn_bytes(y->out[k]));
        else if (hn_poison) memset(y->out[k]->data, 0xff, hn_bytes(y->out[k]));
    }
    if (hn_poison && s->work) memset(y->work, 0xff, s->work);
}

static int run_step(hn_tape *t, const hn_step *s, hn_err *e) {
    hn_tensor *y = s->y;
    double start = hn_now();
    int rc = HN_OK;
    for (int k = 0; k < y->op->n_in; k++)
        hn_assert(!y->in[k] || y->in[k]->data || y->in[k]->side ||
                  (y->op->like >> k & 1));        /* else: a leaf was never bound */
    hn_assert(!s->need || s->need(y) <= s->work); /* else: planned with other packs, or on another tier */
    prepare(t, s);
    if (s->kernel) rc = s->kernel(y, e);
    else run_ref(y);
    t->timer[s->timer].calls++;
    t->timer[s->timer].seconds += hn_now() - start;
    if (!rc) return HN_OK;
    hn_fail(e, rc, "failed with code %d", rc);
    hn_fail_in(e, "%s%s%s", y->scope, *y->scope ? ": " : "", y->op->name);
    return rc;
}

void hn_tape_from_zero(hn_tape *t, bool on) { t->from_zero = on; }

int hn_run(hn_tape *t, hn_err *e) {
    static const char *const kind[HN_LIVE_N] = { "", "tokens", "spans", "acts", "samples", "pairs" };
    if (t->err.code) return hn_fail(e, t->err.code, "%s", t->err.msg);
    hn_assert(t->planned);
    for (int k = 1; k < HN_LIVE_N; k++)
        if (t->least[k] >= 0 && t->live[k] > t->least[k])
            return hn_fail(e, HN_ERANGE, "%s: %lld %s do not fit a recording made for %lld", t->least_at[k],
                           (long long)t->live[k], kind[k], (long long)t->least[k]);
    for (int i = 0; i < t->n_bound; i++) {
        hn_assert(t->bound[i].leaf->into);
        if (t->bound[i].grad) t->bound[i].grad->data = t->bound[i].leaf->into;
        else if (t->from_zero) clear(t->bound[i].leaf, t->bound[i].leaf->into);
    }
    for (int i = 0; i < t->n_step; i++) {
        int rc = run_step(t, &t->step[i], e);
        if (rc) return rc;
    }
    return HN_OK;
}

double hn_scalar(const hn_tensor *x) {
    hn_assert(x->data && x->keep && hn_count(x) == 1);
    return ((const hn_real *)x->data)[0];
}

/* ---- profile ---- */
/* Slowest first; equals in the order they were met. */
static bool slower(const hn_timer *a, const hn_timer *b) {
    return a->seconds > b->seconds || (a->seconds == b->seconds && a < b);
}
static const hn_timer *slowest_after(const hn_tape *t, const hn_timer *last) {
    const hn_timer *best = NULL;
    for (const hn_timer *x = t->timer; x < t->timer + t->n_timer; x++)
        if (x->calls && (!last || slower(last, x)) && (!best || slower(x, best))) best = x;
    return best;
}

void hn_tape_profile(hn_tape *t, hn_buf *out, bool reset) {
    double all = 0;
    for (int64_t i = 0; i < t->n_timer; i++) all += t->timer[i].seconds;
    for (const hn_timer *x = NULL; (x = slowest_after(t, x)) != NULL;)
        hn_buf_fmt(out, "%-12s %8lld %10.6f %5.1f%%\n", x->op->name, (long long)x->calls, x->seconds,
                   all > 0 ? 100 * x->seconds / all : 0.0);
    for (int64_t i = 0; reset && i < t->n_timer; i++) {
        t->timer[i].calls = 0;
        t->timer[i].seconds = 0;
    }
}
