/* opcheck.c - checks every operation, with no code per operation, and the tape itself on random graphs.
 *
 * Built with HN_REAL=double, so that central differences are exact to about 1e-9 and a wrong gradient
 * cannot hide behind rounding:
 *   1. gradient: vjp against differences, projected on random weights (a plain sum would be blind to
 *      softmax-like operations, whose outputs sum to a constant), at full and at half live counts; once as
 *      kept nodes and once, over two runs, added into the leaves' own memory;
 *   2. rows: the reference computed one row at a time equals it computed at once, to the bit;
 *   3. outputs start as NaN and lie between guards; an empty batch runs; spare outputs can be left out.
 * An operation without cases, or without a gradient though its name does not say so, fails the run.
 * tools/mutants.sh plants bugs and demands that this program dies of each. */
#include "opcase.h"
#include "opgraph.h"

#include <math.h>
#include <string.h>

static int passed, failed;

static void verdict(bool ok, const char *op, const char *what, const char *why, double got) {
    if (ok) {
        passed++;
        return;
    }
    failed++;
    printf("FAIL %s/%s: %s (%.3g)\n", op, what, why, got);
}

/* ---- gradients ---- */
typedef struct probe {
    hn_tape *t;
    hn_tensor *leaf[HN_MAXIN], *loss;
} probe;

static hn_real *random_weights(const hn_tensor *x, int k) {
    int64_t n = hn_cap_rows(x) * hn_cols(x);
    hn_real *w = hn_alloc((size_t)n * sizeof *w);
    hn_assert(w);
    for (int64_t j = 0; j < n; j++) w[j] = (hn_real)(2 * hn_rand01(7, 3 + (uint64_t)k, (uint64_t)j) - 1);
    return w;
}

/* Records loss = sum over differentiable outputs of sum(output * weights). */
static void record(probe *p, const opcase *k, hn_real *const weights[HN_MAXOUT]) {
    p->t = hn_tape_new(&hn_backend_ref);
    hn_assert(p->t);
    hn_tensor *y = opcase_record(k, p->t, p->leaf);
    p->loss = NULL;
    for (int i = 0; i < (k->op->n_out ? k->op->n_out : 1) && y->op; i++) {
        if (k->op->fixed_out >> i & 1) continue;
        hn_tensor *w = hn_leaf(p->t, HN_F, y->out[i]->shape, weights[i]);
        hn_tensor *part = hn_sum(p->t, hn_mul(p->t, y->out[i], w));
        p->loss = p->loss ? hn_add(p->t, p->loss, part) : part;
    }
    if (p->loss) hn_keep(p->loss);
}

static double forward(const probe *p) {
    hn_err e = { 0 };
    return hn_run(p->t, &e) ? NAN : hn_scalar(p->loss);
}

/* Worst error of gradients g[i] (NULL: said to be none) against differences of at most 40 elements each. */
static double against_differences(const opcase *k, const probe *f, hn_real *const g[HN_MAXIN]) {
    const double h = 1e-6;
    double worst = 0;
    for (int i = 0; i < k->op->n_in; i++) {
        const hn_tensor *x = k->ptr[i];
        if (!x || x->type != HN_F || (k->op->fixed_in >> i & 1)) continue;
        int64_t n = hn_count(x), some = n < 40 ? n : 40;
        for (int64_t s = 0; s < some; s++) {
            int64_t j = (int64_t)hn_permute(5, (uint64_t)i, (uint64_t)n, (uint64_t)s);
            hn_real *at = (hn_real *)x->data + j, x0 = *at;
            *at = x0 + h;
            double up = forward(f);
            *at = x0 - h;
            double down = forward(f);
            *at = x0;
            double want = (up - down) / (2 * h), got = g[i] ? g[i][j] : 0;
            worst = opcase_worse(worst, fabs(want - got) / opcase_worse(1, fabs(got)));
        }
    }
    return worst;
}

/* The gradient as kept nodes, or (into) what two runs add to the leaves' memory beyond what was there. */
static double gradient(const opcase *k, hn_real *const weights[HN_MAXOUT], bool into, hn_err *e) {
    probe f, b;
    hn_real *g[HN_MAXIN] = { 0 };
    hn_tensor *wrt[HN_MAXIN];
    double worst = INFINITY;
    int n = 0;
    record(&f, k, weights);
    record(&b, k, weights);
    for (int i = 0; i < k->op->n_in; i++) {
        hn_tensor *x = b.leaf[i];
        if (!x || x->type != HN_F || (k->op->fixed_in >> i & 1)) continue;
        wrt[n++] = x;
        if (into) x->into = g[i] = random_weights(x, 20 + i);
    }
    hn_grad(b.t, b.loss, wrt, n);
    int rc = hn_tape_plan(b.t, e);
    if (!rc) rc = hn_tape_plan(f.t, e);
    for (int run = 0; run <= into && !rc; run++) rc = hn_run(b.t, e);
    for (int i = 0; i < k->op->n_in && !rc; i++) {
        hn_tensor *x = b.leaf[i];
        if (!into) g[i] = x && x->grad ? x->grad->data : NULL;
        hn_real *old = into && g[i] ? random_weights(x, 20 + i) : NULL;
        for (int64_t j = 0; old && j < hn_count(x); j++) g[i][j] = (g[i][j] - old[j]) / 2;
        hn_free(old);
    }
    if (!rc) worst = against_differences(k, &f, g);
    for (int i = 0; i < HN_MAXIN && into; i++) hn_free(g[i]);
    hn_tape_free(f.t);
    hn_tape_free(b.t);
    return worst;
}

static void check_gradient(const opcase *k) {
    hn_real *weights[HN_MAXOUT] = { 0 };
    hn_err e = { 0 };
    opout o;
    int rc = opcase_run(k, &hn_backend_ref, 0, &o, &e);
    hn_shape s[HN_MAXOUT] = { 0 };
    hn_tensor y = { .op = k->op, .attr = k->c->attr, .n_live = k->live };
    memcpy(y.in, k->ptr, sizeof y.in);
    if (!rc && k->op->shape(&y, s)) rc = HN_ERANGE;
    for (int i = 0; i < o.n && !rc; i++) weights[i] = random_weights(&(hn_tensor){ .shape = s[i] }, i);
    for (int into = 0; into <= 1 && !rc; into++) {
        double worst = gradient(k, weights, into, &e);
        verdict(worst < 1e-7, k->op->name, k->c->name, into ? "gradient into leaves" : "gradient", worst);
    }
    verdict(!rc, k->op->name, k->c->name, e.msg, rc);
    for (int i = 0; i < HN_MAXOUT; i++) hn_free(weights[i]);
    opcase_free_out(&o);
}

/* ---- the reference itself ---- */
static void check_rows(const opcase *k) {
    opout all, rows;
    hn_err e = { 0 };
    int rc = opcase_run(k, &hn_backend_ref, 0, &all, &e), rr = opcase_run(k, NULL, 0, &rows, &e);
    bool same = !rc && !rr;
    verdict(same, k->op->name, k->c->name, e.msg, 0);
    for (int i = 0; i < all.n && same; i++)
        same = !memcmp(all.data[i], rows.data[i], (size_t)all.count[i] * sizeof(hn_real));
    verdict(same, k->op->name, k->c->name, "rows one by one differ", 0);
    double d = rc ? INFINITY : opcase_diff(&all, &all);
    verdict(d == 0, k->op->name, k->c->name, "an output is NaN", d);
    for (int i = 0; i < all.n; i++) { /* each spare output left out alone */
        opout part;
        if (!(k->op->spare >> i & 1)) continue;
        rc = opcase_run(k, &hn_backend_ref, 1u << i, &part, &e);
        d = rc ? INFINITY : opcase_diff(&part, &all);
        verdict(d == 0 && !part.data[i], k->op->name, k->c->name, "a left-out output matters", d);
        opcase_free_out(&part);
    }
    opcase_free_out(&all);
    opcase_free_out(&rows);
}

/* Gradient operations and a few others end the chain. */
static bool may_lack_gradient(const char *name) {
    static const char *const others[] = { "accum", "logits", "attnkv" };
    size_t n = strlen(name);
    for (int i = 0; i < 3; i++)
        if (!strcmp(name, others[i])) return true;
    return n > 2 && name[n - 2] == '_' && strchr("bwx", name[n - 1]);
}

static void check(const hn_op *op, const hn_case *c) {
    for (int part = 0; part < OPCASE_PARTS; part++) {
        opcase k;
        opout o;
        hn_err e = { 0 };
        if (!opcase_draw(&k, op, c, part, 7)) continue;
        if (part == OPCASE_NONE) {
            int rc = opcase_run(&k, &hn_backend_ref, 0, &o, &e);
            verdict(!rc, op->name, c->name, "an empty batch", rc);
            opcase_free_out(&o);
        } else {
            check_rows(&k);
            if (op->vjp) check_gradient(&k);
        }
        opcase_free(&k);
    }
}

int main(void) {
    hn_poison = true;
    for (const hn_op *const *op = opcase_ops; *op; op++) {
        verdict((*op)->cases && (*op)->cases->name, (*op)->name, "-", "no cases", 0);
        verdict((*op)->vjp || may_lack_gradient((*op)->name), (*op)->name, "-", "no gradient", 0);
        for (const hn_case *c = (*op)->cases; c && c->name; c++) check(*op, c);
    }
    for (uint64_t seed = 0; seed < 200; seed++) {
        char name[32], why[256];
        snprintf(name, sizeof name, "seed %d", (int)seed);
        double worst = opgraph_check(seed, why, sizeof why);
        verdict(worst < 1e-6, "graph", name, why, worst);
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
