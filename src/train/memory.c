/* memory.c - the memory table (memory.h). */
#include "train/memory.h"
#include "cpu/backend.h"
#include "gen/gen.h"

static void add(hn_memory *m, const char *what, size_t bytes, bool part, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
static void add(hn_memory *m, const char *what, size_t bytes, bool part, const char *fmt, ...) {
    if (!bytes) return;
    hn_assert(m->n < HN_MEMORY_ROWS);
    hn_memory_row *r = &m->row[m->n++];
    *r = (hn_memory_row){ .what = what, .bytes = bytes, .part = part };
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->how, sizeof r->how, fmt, ap);
    va_end(ap);
    if (!part) m->total += bytes;
}

static int describe(hn_transformer *net, const hn_memory_plan *p, bool train, hn_err *e) {
    int rc = hn_transformer_init(net, p->config, e);
    if (rc) return rc;
    if (p->vocab) net->vocab = p->vocab;
    net->recompute = train && p->recompute;
    if ((rc = hn_params_describe(&net->params, &hn_backend_cpu, p->prec, train, e)))
        hn_transformer_release(net);
    return rc;
}

static int partial_sums(int64_t slots) { /* as hn_trainer_open takes them */
    int levels = 0;
    while (((int64_t)1 << levels) < slots) levels++;
    return levels ? levels + 1 : 0;
}

static void static_rows(const hn_memory_plan *p, hn_transformer *net, hn_memory *m) {
    size_t block = hn_big_size(hn_params_block(&net->params));
    int sums = p->algo ? partial_sums(p->reduce_slots) : 0;
    m->parameters = net->params.count;
    add(m, "weights", block, false, "4 bytes a parameter");
    add(m, "packed weights", hn_params_packed(&net->params, false), false, "copies that products read");
    if (!p->algo) return;
    add(m, "packed, backward", hn_params_packed(&net->params, true), false, "copies that gradients read");
    add(m, "gradients", block, false, "4 bytes a parameter");
    add(m, "partial gradients", (size_t)sums * block, false, "%d for reduce_slots", sums);
    add(m, "optimizer", 2 * block, false, "two moments, 8 bytes a parameter");
    if (p->rollback) add(m, "kept for rollback", 3 * block, false, "weights and moments of the round before");
}

static int reference_rows(const hn_memory_plan *p, hn_memory *m, hn_err *e) {
    hn_transformer ref;
    size_t bytes = 0, chunk = 0;
    int rc = describe(&ref, p, false, e);
    if (rc) return rc;
    rc = hn_pass_measure(&ref, &p->grain, NULL, NULL, &bytes, &chunk, e);
    if (!rc) {
        size_t block = hn_big_size(hn_params_block(&ref.params)) + hn_params_packed(&ref.params, false);
        add(m, "reference", block, false, "frozen weights and their packed copies");
        add(m, "reference's pass", hn_big_size(bytes), false, "its activations");
    }
    hn_transformer_release(&ref);
    return rc;
}

static int pass_rows(const hn_memory_plan *p, hn_transformer *net, hn_memory *m, hn_err *e) {
    size_t bytes = 0, chunk = 0;
    int rc = hn_pass_measure(net, &p->grain, p->algo->loss, p->priv, &bytes, &chunk, e);
    if (rc) return rc;
    add(m, "activations", hn_big_size(bytes), false, "of a grain of %d tokens, %d trained%s",
        p->grain.n_token, p->grain.n_act, p->recompute ? "; one block at a time" : "");
    add(m, "logits chunk", chunk, true, "in it: no [tokens, vocabulary] anywhere");
    return HN_OK;
}

static int generator_rows(const hn_memory_plan *p, hn_transformer *net, hn_memory *m, hn_err *e) {
    size_t cache, rest;
    int len = hn_gen_len(net, p->prompt, p->most_new);
    int rc = hn_gen_measure(net, (int)p->slots, len, &cache, &rest, e);
    if (rc) return rc;
    add(m, "key-value cache", (size_t)p->generators * hn_big_size(cache), false,
        "%d x %lld answers of %d tokens", p->generators, (long long)p->slots, len);
    add(m, "decoding", (size_t)p->generators * hn_big_size(rest), false,
        "activations and logits of the answers");
    return HN_OK;
}

int hn_memory_of(const hn_memory_plan *p, hn_memory *m, hn_err *e) {
    hn_transformer net;
    *m = (hn_memory){ 0 };
    int rc = describe(&net, p, p->algo != NULL, e);
    if (rc) return rc;
    static_rows(p, &net, m);
    if (p->algo && p->algo->needs(p->priv) & HN_NEEDS_REF) rc = reference_rows(p, m, e);
    if (!rc && p->algo) rc = pass_rows(p, &net, m, e);
    if (!rc && p->generators) rc = generator_rows(p, &net, m, e);
    add(m, "program and data", p->here, false, "code, tokenizer, rows: as they are now");
    hn_transformer_release(&net);
    return rc;
}

static void raise(int32_t *most, int32_t n) {
    if (n > *most) *most = n;
}

int hn_memory_grain(const hn_forest *f, int grain_tokens, hn_forest *most, hn_err *e) {
    int32_t *cut;
    int n = hn_forest_grains(f, grain_tokens, &cut, e);
    if (n < 0) return n;
    for (int i = 0; i < n; i++) {
        int32_t lo = cut[i], hi = cut[i + 1];
        raise(&most->n_token, f->tree_token[hi] - f->tree_token[lo]);
        raise(&most->n_span, f->tree_span[hi] - f->tree_span[lo]);
        raise(&most->n_act, f->tree_act[hi] - f->tree_act[lo]);
        raise(&most->n_sample, f->tree_sample[hi] - f->tree_sample[lo]);
    }
    hn_free(cut);
    return HN_OK;
}
