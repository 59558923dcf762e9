/* gen.c - the decoding loop: admits prompts, prefills them in chunks beside running answers, draws tokens.
 *
 * A prompt is a path in the cache; its answers are children that share its pages.  Every step runs one
 * recording on packed rows: one row per running answer, and as many prompt rows as fit.  The row of a
 * prompt's last token is drawn from once per answer. */
#include "gen/gen.h"
#include "base/pool.h"
#include "op/ops.h"
#include "op/softmax.h"
#include "tensor/kv.h"

#include <string.h>

enum { PREFILL_ROWS = 256 };

typedef struct prompt { /* requests in a row with the same prompt */
    hn_request **req;
    int64_t n, cap, next; /* next: the first that has not started */
    int slot, done;       /* tokens already in the cache */
    hn_real *logits;      /* of the last token, [vocabulary]; valid once drawn */
    bool drawn;
    struct prompt *after;
} prompt;

typedef struct answer {
    hn_request *r; /* NULL: the slot is free */
    prompt *from;
} answer;

struct hn_gen {
    hn_transformer *m;
    hn_kv *kv;
    hn_tape *tape;
    int slots, max_len, rows; /* rows: most rows a step */
    int64_t vocab, unfinished, finished, tokens;
    hn_tensor *token, *pos, *row, *pick, *logits;
    int32_t *token_at, *pos_at, *row_at, *pick_at;
    answer *answer; /* [slots] a running answer each */
    prompt *first, *last;
    int live_prompts;  /* prompts that hold a slot: slots .. 2 slots - 1 */
    bool *prompt_slot; /* [slots] taken */
    char *scratch;     /* [threads of draws] */
    size_t scratch_one;
};

static hn_shape vec(hn_live live, int64_t n) { return (hn_shape){ 1, live, { n } }; }

static int pages_of(int slots, int max_len) { return 2 * slots * ((max_len + HN_BLOCK - 1) / HN_BLOCK); }

/* Records and leaves the tape unplanned. */
static int record(hn_gen *g, hn_err *e) {
    hn_tape *t = g->tape = hn_tape_new(g->m->params.backend);
    if (!t) return hn_fail(e, HN_ENOMEM, "no memory for the generator's tape");
    int64_t picks = 2 * (int64_t)g->slots;
    hn_tensor **leaf = hn_alloc((size_t)hn_transformer_leaves(g->m) * sizeof *leaf);
    if (!leaf) return hn_fail(e, HN_ENOMEM, "no memory for the generator's tape");
    int n = 0;
    g->token = hn_leaf(t, HN_I32, vec(HN_TOKENS, g->rows), g->token_at);
    g->pos = hn_leaf(t, HN_I32, vec(HN_TOKENS, g->rows), g->pos_at);
    g->row = hn_leaf(t, HN_I32, (hn_shape){ 2, HN_TOKENS, { g->rows, 2 } }, g->row_at);
    g->pick = hn_leaf(t, HN_I32, vec(HN_ACTS, picks), g->pick_at);
    hn_tensor *kv = hn_leaf(t, HN_HOST, vec(HN_FIXED, 1), g->kv);
    hn_attend how = { .row = g->row, .kv = kv };
    hn_tensor *x = hn_transformer_hidden(g->m, t, g->token, g->pos, &how, false, leaf, &n);
    hn_tensor *w = g->m->cfg.tied ? leaf[0] : hn_transformer_head(g->m, t, false, leaf, &n);
    hn_free(leaf);
    g->logits = hn_keep(hn_logits(t, hn_gather(t, x, g->pick), w, g->m->vocab, g->m->params.prec));
    return HN_OK;
}

int hn_gen_measure(hn_transformer *m, int slots, int max_len, size_t *cache, size_t *rest, hn_err *e) {
    hn_kv kv = { .n_layer = m->cfg.n_layer, .n_head = m->cfg.n_kv_head, .head_dim = m->cfg.head_dim };
    kv.prec = m->params.prec;
    kv.n_slot = 2 * slots;
    kv.n_page = pages_of(slots, max_len);
    hn_gen g = {
        .m = m, .kv = &kv, .slots = slots, .rows = slots + PREFILL_ROWS, .vocab = m->cfg.vocab_size
    };
    *cache = hn_kv_bytes(&kv);
    if (!*cache) return hn_fail(e, HN_ERANGE, "the key-value cache of %d answers is beyond counting", slots);
    int rc = record(&g, e);
    if (!rc) rc = hn_tape_measure(g.tape, e);
    size_t row = (size_t)g.vocab * sizeof(hn_real),
           draws = (size_t)slots * (hn_sample_scratch(g.vocab) + row);
    if (!rc) *rest = hn_tape_bytes(g.tape) + draws; /* a row of logits waits with each prompt */
    hn_tape_free(g.tape);
    return rc;
}

int hn_gen_open(hn_gen **out, hn_transformer *m, int slots, int max_len, hn_err *e) {
    hn_assert(slots > 0 && max_len > 1);
    hn_gen *g = hn_alloc(sizeof *g);
    if (!g) return hn_fail(e, HN_ENOMEM, "no memory for a generator");
    g->m = m;
    g->slots = slots;
    g->max_len = max_len;
    g->vocab = m->cfg.vocab_size;
    g->rows = slots + PREFILL_ROWS;
    size_t rows = (size_t)g->rows;
    g->scratch_one = (hn_sample_scratch(g->vocab) + 63) & ~(size_t)63;
    g->token_at = hn_alloc(rows * sizeof(int32_t));
    g->pos_at = hn_alloc(rows * sizeof(int32_t));
    g->row_at = hn_alloc(2 * rows * sizeof(int32_t));
    g->pick_at = hn_alloc(2 * (size_t)slots * sizeof(int32_t));
    g->answer = hn_alloc((size_t)slots * sizeof *g->answer);
    g->prompt_slot = hn_alloc((size_t)slots * sizeof *g->prompt_slot);
    g->scratch = hn_alloc((size_t)slots * g->scratch_one);
    int rc = HN_OK, pages = pages_of(slots, max_len);
    if (!g->token_at || !g->pos_at || !g->row_at || !g->pick_at || !g->answer || !g->prompt_slot ||
        !g->scratch)
        rc = hn_fail(e, HN_ENOMEM, "no memory for a generator of %d slots", slots);
    if (!rc)
        rc = hn_kv_new(&g->kv, m->cfg.n_layer, m->cfg.n_kv_head, m->cfg.head_dim, m->params.prec, 2 * slots,
                       max_len, pages, e);
    if (!rc) rc = record(g, e);
    if (!rc) rc = hn_tape_plan(g->tape, e);
    if (rc) {
        hn_gen_close(g);
        return rc;
    }
    *out = g;
    return HN_OK;
}

static void prompt_free(hn_gen *g, prompt *p) {
    if (p->slot >= 0) {
        hn_kv_drop(g->kv, p->slot);
        g->prompt_slot[p->slot - g->slots] = false;
        g->live_prompts--;
    }
    hn_free(p->logits);
    hn_free(p->req);
    hn_free(p);
}

void hn_gen_reset(hn_gen *g) {
    for (prompt *p = g->first, *n; p; p = n) {
        n = p->after;
        prompt_free(g, p);
    }
    g->first = g->last = NULL;
    for (int s = 0; s < g->slots; s++) {
        if (g->answer[s].r) hn_kv_drop(g->kv, s);
        g->answer[s] = (answer){ 0 };
    }
    g->unfinished = g->finished = g->tokens = 0;
}

void hn_gen_close(hn_gen *g) {
    if (!g) return;
    if (g->answer && g->prompt_slot && g->kv) hn_gen_reset(g);
    hn_tape_free(g->tape);
    hn_kv_free(g->kv);
    hn_free(g->token_at);
    hn_free(g->pos_at);
    hn_free(g->row_at);
    hn_free(g->pick_at);
    hn_free(g->answer);
    hn_free(g->prompt_slot);
    hn_free(g->scratch);
    hn_free(g);
}

int hn_gen_max_len(const hn_gen *g) { return g->max_len; }
hn_tape *hn_gen_tape(const hn_gen *g) { return g->tape; }

int hn_gen_len(const hn_transformer *m, int64_t longest, int64_t most) {
    int64_t need = longest + most, max = hn_transformer_max_len(m), room = need + need / 2;
    return (int)(room < max ? room : max);
}

int hn_gen_room(hn_gen **g, hn_transformer *m, int slots, int64_t longest, int64_t most, const char *limit,
                hn_err *e) {
    int64_t need = longest + most, max = hn_transformer_max_len(m);
    if (need > max)
        return hn_fail(e, HN_ERANGE,
                       "a prompt of %lld tokens and %s %lld exceed the %lld tokens the model is made for: "
                       "shorten the prompt or lower %s",
                       (long long)longest, limit, (long long)most, (long long)max, limit);
    if (*g && (*g)->max_len >= need) return HN_OK;
    hn_gen_close(*g);
    *g = NULL;
    return hn_gen_open(g, m, slots, hn_gen_len(m, longest, most), e);
}

int hn_gen_submit(hn_gen *g, hn_request *r, hn_err *e) {
    if (r->n_prompt < 1) return hn_fail(e, HN_ERANGE, "an empty prompt: nothing predicts its first token");
    if (r->max_new < 1) return hn_fail(e, HN_ERANGE, "max_new_tokens is %d: at least 1", r->max_new);
    if (r->n_prompt > g->max_len - r->max_new)
        return hn_fail(e, HN_ERANGE, "a prompt of %d tokens and %d new ones exceed the context of %d",
                       r->n_prompt, r->max_new, g->max_len);
    for (int i = 0; i < r->n_prompt; i++)
        if (r->prompt[i] < 0 || r->prompt[i] >= g->vocab)
            return hn_fail(e, HN_ERANGE, "prompt token %d is id %d, outside the model's vocabulary of %lld",
                           i, r->prompt[i], (long long)g->vocab);
    r->n_out = 0;
    r->state = HN_GEN_WAITING;
    prompt *p = g->last;
    /* a prompt that has answered all its requests is gone or going: only one still waiting may grow */
    if (!p || p->req[0]->prompt != r->prompt || p->req[0]->n_prompt != r->n_prompt || p->next == p->n) {
        p = hn_alloc(sizeof *p);
        if (!p) return hn_fail(e, HN_ENOMEM, "no memory for a request");
        p->slot = -1;
    }
    if (hn_grow(&p->req, &p->cap, p->n + 1, sizeof *p->req)) {
        if (p != g->last) hn_free(p);
        return hn_fail(e, HN_ENOMEM, "no memory for a request");
    }
    p->req[p->n++] = r;
    if (p != g->last) {
        if (g->last) g->last->after = p;
        else g->first = p;
        g->last = p;
    }
    g->unfinished++;
    return HN_OK;
}

/* ---- one step ---- */
static int add_row(hn_gen *g, int n, int slot, int pos, int32_t token, hn_err *e) {
    g->token_at[n] = token;
    g->pos_at[n] = pos;
    g->row_at[2 * n] = slot;
    g->row_at[2 * n + 1] = pos;
    return hn_kv_room(g->kv, slot, pos, e);
}

/* Rows of running answers first, then of prompts in order; picks: rows to draw from. */
static int fill(hn_gen *g, int *rows, int *picks, hn_err *e) {
    int n = 0, k = 0, rc = HN_OK;
    for (int s = 0; s < g->slots && !rc; s++) {
        const hn_request *r = g->answer[s].r;
        if (!r) continue;
        rc = add_row(g, n, s, r->n_prompt + r->n_out - 1, r->out[r->n_out - 1], e);
        g->pick_at[k++] = n++;
    }
    for (prompt *p = g->first; p && !rc && n < g->rows; p = p->after) {
        if (p->slot < 0) {
            if (g->live_prompts == g->slots) break;
            int s = 0;
            while (g->prompt_slot[s]) s++;
            g->prompt_slot[s] = true;
            g->live_prompts++;
            p->slot = g->slots + s;
        }
        const hn_request *r = p->req[0];
        int upto = r->n_prompt - p->done < g->rows - n ? r->n_prompt : p->done + g->rows - n;
        if (p->done == r->n_prompt) continue;
        if (upto == r->n_prompt && !p->logits && !(p->logits = hn_alloc((size_t)g->vocab * sizeof(hn_real))))
            return hn_fail(e, HN_ENOMEM, "no memory for a prompt's logits");
        for (int i = p->done; i < upto && !rc; i++) rc = add_row(g, n++, p->slot, i, r->prompt[i], e);
        p->done = upto;
        if (upto == r->n_prompt) g->pick_at[k++] = n - 1;
    }
    *rows = n;
    *picks = k;
    return rc;
}

typedef struct {
    hn_gen *g;
    const hn_real **row; /* [slots] what each slot draws from; NULL: nothing this step */
} draw_ctx;

static void draw(void *ctx, int64_t lo, int64_t hi) {
    const draw_ctx *d = ctx;
    for (int64_t s = lo; s < hi; s++) {
        hn_request *r = d->g->answer[s].r;
        const hn_real *z = d->row[s];
        if (!r || !z) continue;
        double u = hn_rand01(r->seed, r->stream, (uint64_t)r->n_out);
        int32_t id = hn_sample(z, d->g->m->vocab, &r->how, u, d->g->scratch + (size_t)s * d->g->scratch_one);
        double t = r->how.temperature > 0 ? r->how.temperature : 1;
        hn_row row;
        hn_row_logp(d->g->m->params.backend, z, d->g->m->vocab, id, t, &row);
        r->out[r->n_out] = id;
        if (r->logp) r->logp[r->n_out] = row.logp;
        if (r->logp1) r->logp1[r->n_out] = row.logp1;
    }
}

static bool ends(const hn_request *r, int32_t id) {
    for (int i = 0; i < r->n_stop; i++)
        if (r->stop[i] == id) return true;
    return false;
}

static void settle(hn_gen *g, int s) {
    hn_request *r = g->answer[s].r;
    int32_t id = r->out[r->n_out++];
    g->tokens++;
    bool end = ends(r, id), stop = r->on_token && r->on_token(r, id);
    if (end) r->state = HN_GEN_ENDED;
    else if (stop) r->state = HN_GEN_STOPPED;
    else if (r->n_out == r->max_new) r->state = HN_GEN_CUT;
    else return;
    hn_kv_drop(g->kv, s);
    g->answer[s] = (answer){ 0 };
    g->unfinished--;
    g->finished++;
}

/* Gives free slots to answers of prompts that are in the cache; they draw from the prompt's last row. */
static void start(hn_gen *g, const hn_real **row) {
    int s = 0;
    for (prompt *p = g->first; p; p = p->after) {
        if (p->slot < 0 || p->done < p->req[0]->n_prompt) continue;
        for (; p->next < p->n; p->next++, s++) {
            while (s < g->slots && g->answer[s].r) s++;
            if (s == g->slots) return;
            hn_request *r = p->req[p->next];
            r->state = HN_GEN_RUNNING;
            g->answer[s] = (answer){ r, p };
            hn_kv_share(g->kv, p->slot, s, r->n_prompt);
            row[s] = p->logits;
        }
    }
}

static void sweep(hn_gen *g) {
    prompt **at = &g->first, *last = NULL;
    while (*at) {
        prompt *p = *at;
        if (p->next == p->n && p->slot >= 0) {
            *at = p->after;
            prompt_free(g, p);
        } else {
            last = p;
            at = &p->after;
        }
    }
    g->last = last;
}

int64_t hn_gen_step(hn_gen *g, hn_err *e) {
    if (!g->unfinished) return 0;
    int rows = 0, picks = 0, rc = fill(g, &rows, &picks, e);
    if (rc) return rc;
    const hn_real **row = hn_alloc((size_t)g->slots * sizeof *row);
    if (!row) return hn_fail(e, HN_ENOMEM, "no memory for a decoding step");
    if (rows) {
        hn_tape_live(g->tape, HN_TOKENS, rows);
        hn_tape_live(g->tape, HN_ACTS, picks);
        rc = hn_run(g->tape, e);
    }
    if (!rc) {
        const hn_real *z = g->logits->data;
        int k = 0;
        for (int s = 0; s < g->slots; s++)
            if (g->answer[s].r) row[s] = z + (int64_t)k++ * g->vocab;
        for (prompt *p = g->first; p && k < picks;
             p = p->after) /* prompts that were completed by this step */
            if (p->logits && p->done == p->req[0]->n_prompt && p->slot >= 0 && !p->drawn) {
                memcpy(p->logits, z + (int64_t)k++ * g->vocab, (size_t)g->vocab * sizeof *z);
                p->drawn = true;
            }
        start(g, row);
        draw_ctx d = { g, row };
        hn_parallel(g->slots, 1, draw, &d);
        for (int s = 0; s < g->slots; s++)
            if (g->answer[s].r && row[s]) settle(g, s);
        sweep(g);
    }
    hn_free(row);
    return rc ? rc : g->unfinished;
}

int hn_gen_run(hn_gen *g, hn_request *r, int64_t n, bool (*progress)(void *ctx, int64_t done, int64_t tokens),
               void *ctx, hn_err *e) {
    int rc = HN_OK;
    for (int64_t i = 0; i < n && !rc; i++) rc = hn_gen_submit(g, &r[i], e);
    g->finished = g->tokens = 0;
    while (!rc && g->unfinished) {
        int64_t left = hn_gen_step(g, e);
        if (left < 0) rc = (int)left;
        else if (progress && progress(ctx, g->finished, g->tokens))
            rc = hn_fail(e, HN_ESTOP, "stopped while generating");
    }
    if (rc) hn_gen_reset(g);
    return rc;
}
