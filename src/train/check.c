/* check.c - the same rollouts computed in every way that must not matter, compared bit by bit. */
#include "train/check.h"
#include "base/pool.h"
#include "gen/gen.h"
#include "train/train.h"

#include <math.h>
#include <string.h>

typedef struct { /* rollouts: answer i belongs to prompt i / per */
    int64_t n, per;
    int32_t **prompt;
    int *n_prompt;
    hn_request *r;
} rollouts;

static void rollouts_free(rollouts *o) {
    for (int64_t i = 0; o->r && i < o->n; i++) {
        hn_free(o->r[i].out);
        hn_free(o->r[i].logp);
        hn_free(o->r[i].logp1);
    }
    for (int64_t i = 0; o->prompt && i < o->n; i++) hn_free(o->prompt[i]);
    hn_free(o->prompt);
    hn_free(o->n_prompt);
    hn_free(o->r);
    memset(o, 0, sizeof *o);
}

/* Random ids of random lengths: any text is such a path.  Every answer has its own copy of its prompt's ids.
 */
static int rollouts_new(rollouts *o, const hn_model *m, const hn_check_config *c, hn_err *e) {
    memset(o, 0, sizeof *o);
    o->per = c->answers;
    o->n = c->prompts * c->answers;
    o->prompt = hn_alloc((size_t)o->n * sizeof *o->prompt);
    o->n_prompt = hn_alloc((size_t)o->n * sizeof *o->n_prompt);
    o->r = hn_alloc((size_t)o->n * sizeof *o->r);
    size_t most = (size_t)c->max_new;
    for (int64_t i = 0; o->prompt && o->n_prompt && o->r && i < o->n; i++) {
        uint64_t p = (uint64_t)(i / o->per);
        o->n_prompt[i] = 1 + (int)(hn_rand(c->seed, 1, p) % (uint64_t)c->max_prompt);
        o->prompt[i] = hn_alloc((size_t)o->n_prompt[i] * sizeof **o->prompt);
        o->r[i].out = hn_alloc(most * sizeof(int32_t));
        o->r[i].logp = hn_alloc(most * sizeof(hn_real));
        o->r[i].logp1 = hn_alloc(most * sizeof(hn_real));
        if (!o->prompt[i] || !o->r[i].out || !o->r[i].logp || !o->r[i].logp1) break;
        for (int k = 0; k < o->n_prompt[i]; k++)
            o->prompt[i][k] = (int32_t)(hn_rand(c->seed, hn_key(2, p), (uint64_t)k) % (uint64_t)m->net.vocab);
        if (i == o->n - 1) return HN_OK;
    }
    rollouts_free(o);
    return hn_fail(e, HN_ENOMEM, "no memory for %lld rollouts", (long long)(c->prompts * c->answers));
}

static int sample(rollouts *o, hn_model *m, const hn_check_config *c, int slots, bool shared, hn_err *e) {
    hn_gen *g;
    int rc = hn_gen_open(&g, &m->net, slots, (int)(c->max_prompt + c->max_new), e);
    if (rc) return rc;
    for (int64_t i = 0; i < o->n; i++) {
        hn_request *r = &o->r[i];
        r->prompt = o->prompt[shared ? i / o->per * o->per : i];
        r->n_prompt = o->n_prompt[i];
        r->max_new = (int)c->max_new;
        r->how = (hn_sampling){ c->temperature, 1, 0, 0 };
        r->seed = c->seed;
        r->stream = hn_key(3, (uint64_t)i);
        r->stop = m->stop;
        r->n_stop = m->n_stop;
    }
    rc = hn_gen_run(g, o->r, o->n, NULL, NULL, e);
    hn_gen_close(g);
    return rc;
}

/* The largest difference of two rollouts; tokens that differ count as infinite. */
static double apart(const rollouts *a, const rollouts *b, int64_t *count) {
    double w = 0;
    for (int64_t i = 0; i < a->n; i++) {
        const hn_request *x = &a->r[i], *y = &b->r[i];
        if (x->n_out != y->n_out || memcmp(x->out, y->out, (size_t)x->n_out * sizeof *x->out))
            return INFINITY;
        for (int t = 0; t < x->n_out; t++) {
            double d = fmax(fabs((double)x->logp[t] - y->logp[t]), fabs((double)x->logp1[t] - y->logp1[t]));
            w = d <= w ? w : (d == d ? d : INFINITY);
            ++*count;
        }
    }
    return w;
}

/* ---- forests of the rollouts ---- */
typedef enum { SHARED, UNSHARED, CUT } layout;

/* A path of n tokens as a chain of spans cut at random places; acts from token `first` on. */
static int chain(hn_forest *f, const int32_t *token, int n, int first, uint64_t seed, uint64_t stream,
                 hn_err *e) {
    int parent = -1, at = 0;
    for (uint64_t k = 0; at < n; k++) {
        int len = 1 + (int)(hn_rand(seed, stream, k) % 90);
        if (len > n - at) len = n - at;
        parent = hn_forest_span(f, parent, token + at, len, e);
        for (int i = 0; i < len && parent >= 0; i++)
            if (at + i >= first && hn_forest_act(f, parent, i, e) < 0) return HN_ENOMEM;
        if (parent < 0) return parent;
        at += len;
    }
    return HN_OK;
}

static int build(hn_forest *f, const rollouts *o, layout how, uint64_t seed, hn_err *e) {
    if (!hn_forest_col(f, "old_logp", HN_PER_ACT, HN_F, e)) return HN_ENOMEM;
    int root = -1, rc = HN_OK;
    for (int64_t i = 0; i < o->n && rc >= 0; i++) {
        const hn_request *r = &o->r[i];
        if (how != SHARED || i % o->per == 0) {
            if ((rc = hn_forest_tree(f, e)) < 0) break;
            if (how != CUT && (rc = root = hn_forest_span(f, -1, r->prompt, r->n_prompt, e)) < 0) break;
        }
        if ((rc = hn_forest_sample(f, e)) < 0) break;
        int32_t at = f->n_act;
        if (how == CUT) {
            int n = r->n_prompt + r->n_out;
            int32_t *path = hn_alloc((size_t)n * sizeof *path);
            if (!path) return hn_fail(e, HN_ENOMEM, "no memory for a path");
            memcpy(path, r->prompt, (size_t)r->n_prompt * sizeof *path);
            memcpy(path + r->n_prompt, r->out, (size_t)r->n_out * sizeof *path);
            rc = chain(f, path, n, r->n_prompt, seed, hn_key(4, (uint64_t)i), e);
            hn_free(path);
        } else {
            int s = rc = hn_forest_span(f, root, r->out, r->n_out, e);
            for (int t = 0; t < r->n_out && rc >= 0; t++) rc = hn_forest_act(f, s, t, e);
        }
        if (rc >= 0) memcpy(hn_forest_f(f, "old_logp") + at, r->logp, (size_t)r->n_out * sizeof *r->logp);
    }
    return rc < 0 ? rc : HN_OK;
}

static int against_trainer(const rollouts *o, hn_model *m, const hn_check_config *c, layout how,
                           uint64_t seed, double *worst, int64_t *count, hn_err *e) {
    hn_forest f;
    hn_pass p = { 0 };
    hn_forest_init(&f);
    const hn_score_cols want = { .logp = "logp" };
    int rc = build(&f, o, how, seed, e);
    if (!rc && !hn_forest_col(&f, "logp", HN_PER_ACT, HN_F, e)) rc = HN_ENOMEM;
    if (!rc) rc = hn_pass_score(&p, &m->net, &f, 2048, c->temperature, &want, e);
    for (int32_t a = 0; a < f.n_act && !rc; a++) {
        double d = fabs((double)hn_forest_f(&f, "logp")[a] - hn_forest_f(&f, "old_logp")[a]);
        *worst = d <= *worst ? *worst : (d == d ? d : INFINITY);
        ++*count;
    }
    hn_pass_release(&p);
    hn_forest_release(&f);
    return rc;
}

static int say(hn_check_report *report, void *ctx, const char *what, int64_t count, double worst,
               double allowed, hn_err *e) {
    hn_check_row row = { .count = count, .worst = worst, .allowed = allowed };
    snprintf(row.what, sizeof row.what, "%s", what);
    return report(ctx, &row, e);
}

int hn_check_onpolicy(hn_model *m, const hn_check_config *c, hn_check_report *report, void *ctx, hn_err *e) {
    int slots[] = {
        1, 2, 3, 5, 8, 13, 21, 32, 47, 64, 0
    }; /* and the most of all: a larger one is never full */
    static const char *const layout_name[] = { "shared prompts", "unshared prompts", "paths cut at random" };
    rollouts first, again = { 0 };
    char what[120];
    int rc = rollouts_new(&first, m, c, e), n = 0;
    if (rc) return rc;
    int most = (int)(c->most_slots < first.n ? c->most_slots : first.n);
    while (slots[n] && slots[n] < most) n++;
    slots[n++] = most;
    rc = hn_pool_start((int)c->most_threads, e);
    if (!rc) rc = sample(&first, m, c, most, true, e);
    if (!rc) rc = rollouts_new(&again, m, c, e);
    for (int threads = 1; threads <= c->most_threads && !rc; threads++) {
        if ((rc = hn_pool_start(threads, e))) break;
        for (int how = SHARED; how <= CUT && !rc; how++) {
            double worst = 0;
            int64_t count = 0;
            rc = against_trainer(&first, m, c, (layout)how, c->seed + (uint64_t)threads, &worst, &count, e);
            snprintf(what, sizeof what, "sampled against trained, %s, threads=%d", layout_name[how], threads);
            if (!rc) rc = say(report, ctx, what, count, worst, 0, e);
        }
        for (int s = 0; s < n && !rc; s++) {
            for (int shared = 0; shared < 2 && !rc; shared++) {
                int64_t count = 0;
                rc = sample(&again, m, c, slots[s], shared, e);
                snprintf(what, sizeof what, "sampled in batches of %d, %s, threads=%d", slots[s],
                         layout_name[!shared], threads);
                if (!rc) rc = say(report, ctx, what, count, apart(&first, &again, &count), 0, e);
            }
        }
    }
    rollouts_free(&first);
    rollouts_free(&again);
    return rc;
}

/* ---- gradients ---- */
/* A step as grpo sees it: rewards drawn by coin, so that advantages have both signs. */
static int step_forest(hn_forest *f, const rollouts *o, layout how, const hn_check_config *c, hn_err *e) {
    static const char *const per_sample[] = { "truncated", "max_new", "group" };
    int rc = build(f, o, how, c->seed, e);
    if (!rc && !hn_forest_col(f, "reward", HN_PER_SAMPLE, HN_F, e)) rc = HN_ENOMEM;
    for (int k = 0; k < 3 && !rc; k++)
        if (!hn_forest_col(f, per_sample[k], HN_PER_SAMPLE, HN_I32, e)) rc = HN_ENOMEM;
    for (int32_t s = 0; s < f->n_sample && !rc; s++) {
        hn_forest_f(f, "reward")[s] = (hn_real)(hn_rand(c->seed, 5, (uint64_t)s) & 1);
        hn_forest_i(f, "max_new")[s] = (int32_t)c->max_new;
        hn_forest_i(f, "group")[s] = (int32_t)(s / o->per);
    }
    return rc;
}

static int gradient(hn_trainer *t, hn_forest *f, int micro, hn_real *to, hn_err *e) {
    size_t bytes = (size_t)t->model->params.count * sizeof(hn_real);
    hn_metrics m = { 0 };
    int32_t *cut = NULL;
    double loss = 0;
    int rc = hn_trainer_prepare(t, f, &m, e),
        n = rc ? 0 : hn_forest_grains(f, (int)t->cfg.grain_tokens, &cut, e);
    if (!rc && n < 0) rc = n;
    if (n == 0) hn_params_no_grad(&t->model->params);
    for (int lo = 0; lo < n && !rc; lo += micro)
        rc = hn_trainer_grains(t, f, cut, lo, lo + micro < n ? lo + micro : n, lo == 0, &loss, e);
    if (!rc) memcpy(to, t->model->params.grad, bytes);
    hn_metrics_release(&m);
    hn_free(cut);
    return rc;
}

/* |a - b| / |a|; bits: 0 when equal to the bit, else infinite. */
static double distance(const hn_real *a, const hn_real *b, int64_t n, bool bits) {
    if (bits) return memcmp(a, b, (size_t)n * sizeof *a) ? INFINITY : 0;
    double d = 0, s = 0;
    for (int64_t i = 0; i < n; i++) {
        d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        s += (double)a[i] * a[i];
    }
    return sqrt(d) / sqrt(s);
}

int hn_check_packing(hn_model *m, const hn_check_config *c, hn_check_report *report, void *ctx, hn_err *e) {
    struct { /* grpo's options at their defaults */
        char room[256];
    } priv = { { 0 } };
    const hn_algo *algo = hn_algo_find("grpo");
    hn_assert(algo->priv_size <= sizeof priv);
    hn_optset *set = hn_optset_new();
    hn_trainer t = {
        .algo = algo, .priv = &priv, .model = &m->net, .steps = 1, .temperature = c->temperature
    };
    t.cfg = (hn_train_config){ .grain_tokens = 200, .reduce_slots = 1, .num_iterations = 1 };
    /* other grains round other sums: to bf16 that is one part in 256 at most */
    double allowed = m->net.params.prec == HN_PREC_BF16 ? 1.0 / 256 : 1e-5;
    rollouts o = { 0 };
    hn_forest f[3];
    hn_real *g[2] = { 0 };
    size_t bytes = (size_t)m->net.params.count * sizeof(hn_real);
    for (int k = 0; k < 3; k++) hn_forest_init(&f[k]);
    int rc = set ? hn_optset_add(set, "grpo", algo->opts, &priv, e)
                 : hn_fail(e, HN_ENOMEM, "no memory for options");
    if (!rc) rc = hn_pool_start((int)c->most_threads, e);
    if (!rc) rc = hn_trainer_open(&t, e);
    if (!rc) rc = rollouts_new(&o, m, c, e);
    if (!rc) rc = sample(&o, m, c, (int)c->most_slots, true, e);
    for (int k = 0; k < 3 && !rc; k++) rc = step_forest(&f[k], &o, (layout)k, c, e);
    for (int k = 0; k < 2 && !rc; k++)
        if (!(g[k] = hn_big_alloc(bytes))) rc = hn_fail(e, HN_ENOMEM, "no memory for a gradient");
    if (!rc) rc = gradient(&t, &f[SHARED], 1, g[0], e);
    static const int micro[] = { 1, 2, 3, 7, 1 << 20 };
    char what[120];
    for (int threads = 1; threads <= c->most_threads && !rc; threads++) {
        rc = hn_pool_start(threads, e);
        for (size_t k = 0; k < sizeof micro / sizeof *micro && !rc; k++) {
            rc = gradient(&t, &f[SHARED], micro[k], g[1], e);
            snprintf(what, sizeof what, "gradient in micro-batches of %d grains, threads=%d", micro[k],
                     threads);
            if (!rc)
                rc = say(report, ctx, what, m->net.params.count,
                         distance(g[0], g[1], m->net.params.count, true), 0, e);
        }
    }
    for (int k = UNSHARED; k <= CUT && !rc; k++) {
        rc = gradient(&t, &f[k], 1 << 20, g[1], e);
        snprintf(what, sizeof what, "gradient, shared prompts against %s",
                 k == CUT ? "paths cut at random" : "unshared prompts");
        if (!rc)
            rc = say(report, ctx, what, m->net.params.count, distance(g[0], g[1], m->net.params.count, false),
                     allowed, e);
    }
    for (int one = 0; one < 2 && !rc; one++) {
        t.cfg.grain_tokens = one ? 16 : 1 << 20;
        rc = gradient(&t, &f[SHARED], 1 << 20, g[1], e);
        const char *name =
            one ? "gradient, packed against one tree a grain" : "gradient, packed against one grain for all";
        if (!rc)
            rc = say(report, ctx, name, m->net.params.count, distance(g[0], g[1], m->net.params.count, false),
                     allowed, e);
    }
    for (int k = 0; k < 3; k++) hn_forest_release(&f[k]);
    for (int k = 0; k < 2; k++) hn_big_free(g[k], bytes);
    rollouts_free(&o);
    hn_trainer_close(&t);
    hn_optset_free(set);
    return rc;
}
