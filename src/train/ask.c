/* ask.c - items to prompts, prompts to answers, answers to verdicts, all to a forest. */
#include "train/ask.h"
#include "base/pool.h"

#include <math.h>
#include <string.h>

void hn_asked_release(hn_asked *a) {
    for (int64_t i = 0; a->item && i < a->n; i++) hn_item_release(&a->item[i]);
    for (int64_t i = 0; a->prompt && i < a->n; i++) hn_ids_free(&a->prompt[i]);
    for (int64_t i = 0; a->answer && i < a->n * a->per; i++) {
        hn_free(a->answer[i].token);
        hn_free(a->answer[i].logp);
        hn_free(a->answer[i].logp1);
        hn_free(a->answer[i].text);
    }
    hn_free(a->item);
    hn_free(a->prompt);
    hn_free(a->answer);
    memset(a, 0, sizeof *a);
}

void hn_asker_release(hn_asker *k) {
    hn_gen_close(k->gen);
    k->gen = NULL;
}

static int prompts(hn_asker *k, hn_split split, uint64_t task_seed, const int64_t *index, hn_asked *out,
                   int *longest, hn_err *e) {
    *longest = 0;
    for (int64_t i = 0; i < out->n; i++) {
        hn_item *it = &out->item[i];
        int rc = k->task->item(k->priv, split, task_seed, index[i], it, e);
        if (!rc) rc = hn_model_prompt(k->model, it->prompt, it->messages, &out->prompt[i], e);
        if (rc)
            return hn_fail_in(e, "task %s, %s item %lld", k->task->name, hn_split_name(split),
                              (long long)index[i]),
                   rc;
        if (out->prompt[i].n > *longest) *longest = (int)out->prompt[i].n;
    }
    return HN_OK;
}

typedef struct {
    hn_asker *k;
    int64_t all;
} watch;

static bool tick(void *ctx, int64_t done, int64_t tokens) {
    const watch *w = ctx;
    return w->k->progress && w->k->progress(w->k->ctx, done, w->all, tokens);
}

static int generate(hn_asker *k, hn_asked *out, uint64_t seed, uint64_t stream, hn_err *e) {
    int64_t all = out->n * out->per;
    size_t most = (size_t)k->cfg.max_completion_length;
    hn_request *r = hn_alloc(((size_t)all + 1) * sizeof *r);
    if (!r) return hn_fail(e, HN_ENOMEM, "no memory for %lld answers", (long long)all);
    int rc = HN_OK;
    for (int64_t i = 0; i < all && !rc; i++) {
        hn_answer *a = &out->answer[i];
        const hn_ids *p = &out->prompt[i / out->per];
        a->token = hn_alloc(most * sizeof *a->token);
        a->logp = hn_alloc(most * sizeof *a->logp);
        a->logp1 = hn_alloc(most * sizeof *a->logp1);
        if (!a->token || !a->logp || !a->logp1)
            rc = hn_fail(e, HN_ENOMEM, "no memory for %lld answers of %zu tokens", (long long)all, most);
        r[i] = (hn_request){
            .prompt = p->id, .n_prompt = (int)p->n, .max_new = (int)most, .how = k->cfg.how, .seed = seed
        };
        r[i].stream = hn_key(hn_key(stream, (uint64_t)(i / out->per)), (uint64_t)(i % out->per));
        r[i].stop = k->model->stop;
        r[i].n_stop = k->model->n_stop;
        r[i].out = a->token;
        r[i].logp = a->logp;
        r[i].logp1 = a->logp1;
    }
    watch w = { k, all };
    double start = hn_now();
    if (!rc) rc = hn_gen_run(k->gen, r, all, tick, &w, e);
    for (int64_t i = 0; i < all && !rc; i++) {
        out->answer[i].n = r[i].n_out;
        out->answer[i].cut = r[i].state == HN_GEN_CUT;
        out->tokens += r[i].n_out;
    }
    out->seconds_generate = hn_now() - start;
    hn_free(r);
    return rc;
}

static int decode(hn_asker *k, hn_asked *out, hn_err *e) {
    for (int64_t i = 0; i < out->n * out->per; i++) {
        hn_buf b = { 0 };
        int rc = hn_tok_decode(k->model->tok, out->answer[i].token, out->answer[i].n, true, &b, e);
        if (!rc && !b.data) hn_buf_str(&b, "");
        if (!rc && b.oom) rc = hn_fail(e, HN_ENOMEM, "no memory for the text of an answer");
        if (rc) {
            hn_buf_free(&b);
            return rc;
        }
        out->answer[i].text = b.data;
    }
    return HN_OK;
}

typedef struct {
    const hn_asker *k;
    hn_asked *out;
} judge_ctx;

static void judge(void *ctx, int64_t lo, int64_t hi) {
    const judge_ctx *j = ctx;
    for (int64_t i = lo; i < hi; i++) {
        hn_answer *a = &j->out->answer[i];
        const hn_item *it = &j->out->item[i / j->out->per];
        a->verdict = j->k->task->verify(j->k->priv, it, a->text, strlen(a->text), &a->reward, NULL);
    }
}

int hn_ask(hn_asker *k, hn_split split, uint64_t task_seed, const int64_t *index, int64_t n, int per,
           uint64_t seed, uint64_t stream, hn_asked *out, hn_err *e) {
    *out = (hn_asked){ .n = n, .per = per };
    out->item = hn_alloc(((size_t)n + 1) * sizeof *out->item);
    out->prompt = hn_alloc(((size_t)n + 1) * sizeof *out->prompt);
    out->answer = hn_alloc(((size_t)(n * per) + 1) * sizeof *out->answer);
    int longest = 0, rc = HN_OK;
    if (!out->item || !out->prompt || !out->answer)
        rc = hn_fail(e, HN_ENOMEM, "no memory for %lld items", (long long)n);
    if (!rc) rc = prompts(k, split, task_seed, index, out, &longest, e);
    int slots = k->cfg.slots > 0 ? (int)k->cfg.slots : 64;
    if (!rc)
        rc = hn_gen_room(&k->gen, &k->model->net, slots, longest, k->cfg.max_completion_length,
                         k->cfg.limit ? k->cfg.limit : "--max_completion_length", e);
    if (!rc) rc = generate(k, out, seed, stream, e);
    double start = hn_now();
    if (!rc) rc = decode(k, out, e);
    if (!rc) {
        judge_ctx j = { k, out };
        hn_parallel(n * per, 1, judge, &j);
        out->seconds_verify = hn_now() - start;
    }
    if (rc) hn_asked_release(out);
    return rc;
}

int hn_asked_forest(const hn_asked *a, const hn_ask_config *c, hn_forest *f, hn_err *e) {
    static const struct {
        const char *name;
        hn_per per;
        hn_dtype type;
    } col[] = { { "old_logp", HN_PER_ACT, HN_F },       { "logp1", HN_PER_ACT, HN_F },
                { "reward", HN_PER_SAMPLE, HN_F },      { "group", HN_PER_SAMPLE, HN_I32 },
                { "truncated", HN_PER_SAMPLE, HN_I32 }, { "max_new", HN_PER_SAMPLE, HN_I32 } };
    for (size_t i = 0; i < sizeof col / sizeof *col; i++)
        if (!hn_forest_col(f, col[i].name, col[i].per, col[i].type, e)) return HN_ENOMEM;
    for (int64_t i = 0; i < a->n; i++) {
        int rc = hn_forest_tree(f, e),
            root = rc < 0 ? rc : hn_forest_span(f, -1, a->prompt[i].id, (int)a->prompt[i].n, e);
        if (root < 0) return root;
        for (int64_t k = 0; k < a->per; k++) {
            const hn_answer *w = &a->answer[i * a->per + k];
            int s = hn_forest_sample(f, e), span = s < 0 ? s : hn_forest_span(f, root, w->token, w->n, e);
            if (span < 0) return span;
            int32_t at = f->n_act;
            for (int t = 0; t < w->n; t++)
                if ((rc = hn_forest_act(f, span, t, e)) < 0) return rc;
            memcpy(hn_forest_f(f, "old_logp") + at, w->logp, (size_t)w->n * sizeof *w->logp);
            memcpy(hn_forest_f(f, "logp1") + at, w->logp1, (size_t)w->n * sizeof *w->logp1);
            hn_forest_f(f, "reward")[s] = (hn_real)(w->verdict == HN_ERROR ? NAN : w->reward);
            hn_forest_i(f, "group")[s] = (int32_t)i;
            hn_forest_i(f, "truncated")[s] = w->cut;
            hn_forest_i(f, "max_new")[s] = (int32_t)c->max_completion_length;
        }
    }
    return HN_OK;
}
