/* gguf_import.c - a GGUF model as a Hugging Face directory.
 *
 * What llama.cpp's keys leave unsaid means what it means there; a key or tensor that changes the network and
 * that we do not do is an error. */
#include "format/gguf_hf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Reads "<arch>.<name>". */
typedef struct reader {
    const hn_gguf *g;
    const char *arch;
    char key[128];
    hn_err *e;
} reader;

static const char *key(reader *r, const char *name) {
    snprintf(r->key, sizeof r->key, "%s.%s", r->arch, name);
    return r->key;
}

static int whole(reader *r, const char *name, bool need, int64_t lo, int64_t hi, int32_t *x) {
    int64_t v = *x;
    if (need && !hn_gguf_kv_find(r->g, key(r, name)))
        return hn_fail(r->e, HN_EPARSE, "%s: %s is missing", hn_gguf_path(r->g), r->key);
    int rc = hn_gguf_int(r->g, key(r, name), lo, hi, &v, r->e);
    *x = (int32_t)v;
    return rc;
}

/* The shortest decimal that is this f32: what the number was before it was one. */
static double decimal(double x) {
    char text[32];
    for (int digits = 1; digits < 8; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if ((float)strtod(text, NULL) == (float)x) return strtod(text, NULL);
    }
    return x;
}

static int number(reader *r, const char *name, double lo, double hi, double *x) {
    double v = *x;
    int rc = hn_gguf_num(r->g, key(r, name), lo, hi, &v, r->e);
    if (!rc && v != *x) *x = decimal(v);
    return rc;
}

/* ---- what there is ---- */
static int read_arch(reader *r, hn_hfconfig *c) {
    static const hn_arch known[] = { HN_ARCH_LLAMA, HN_ARCH_QWEN2, HN_ARCH_QWEN3 };
    hn_gguf_str arch = { NULL, 0 };
    int rc = hn_gguf_text(r->g, "general.architecture", &arch, r->e);
    if (rc) return rc;
    if (!arch.s) return hn_fail(r->e, HN_EPARSE, "%s: general.architecture is missing", hn_gguf_path(r->g));
    for (int i = 0; i < 3; i++) {
        r->arch = hn_arch_name(known[i]);
        if (strlen(r->arch) != arch.n || memcmp(r->arch, arch.s, arch.n)) continue;
        hn_hfconfig_default(c, known[i]);
        return HN_OK;
    }
    return hn_fail(r->e, HN_EUNSUP,
                   "%s: architecture \"%.*s\" is not supported; supported: llama, qwen2, qwen3",
                   hn_gguf_path(r->g), arch.n < 64 ? (int)arch.n : 64, arch.s);
}

/* Keys of networks that share a name with ours and are others. */
static int refuse_others(reader *r) {
    static const char *const none[] = {
        "expert_count",    "attention.sliding_window", "rope.scaling.attn_factor", "logit_scale",
        "embedding_scale", "residual_scale",           "attention.scale"
    };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        double v = 0;
        bool there = hn_gguf_kv_find(r->g, key(r, none[i]));
        if (there && (hn_gguf_num(r->g, r->key, -INFINITY, INFINITY, &v, NULL) || v != 0))
            return hn_fail(r->e, HN_EUNSUP, "%s: %s: what it asks for is not supported", hn_gguf_path(r->g),
                           r->key);
    }
    bool causal = true;
    int rc = hn_gguf_bool(r->g, key(r, "attention.causal"), &causal, r->e);
    if (!rc && !causal)
        rc = hn_fail(r->e, HN_EUNSUP, "%s: %s is false: only causal models are supported", hn_gguf_path(r->g),
                     r->key);
    return rc;
}

static int read_sizes(reader *r, hn_hfconfig *c) {
    enum { MOST = 1 << 27 };
    int32_t value = 0, turned = 0;
    int rc;
    if ((rc = whole(r, "block_count", true, 1, hn_gguf_count(r->g), &c->n_layer)) ||
        (rc = whole(r, "context_length", true, 1, MOST, &c->max_position_embeddings)) ||
        (rc = whole(r, "embedding_length", true, 1, MOST, &c->hidden_size)) ||
        (rc = whole(r, "feed_forward_length", true, 1, MOST, &c->intermediate_size)) ||
        (rc = whole(r, "attention.head_count", true, 1, MOST, &c->n_head)))
        return rc;
    c->n_kv_head = c->n_head;
    c->head_dim = c->hidden_size / c->n_head;
    if ((rc = whole(r, "attention.head_count_kv", false, 1, MOST, &c->n_kv_head)) ||
        (rc = whole(r, "attention.key_length", false, 1, MOST, &c->head_dim)))
        return rc;
    value = turned = c->head_dim;
    if ((rc = whole(r, "attention.value_length", false, 1, MOST, &value)) ||
        (rc = whole(r, "rope.dimension_count", false, 1, MOST, &turned)))
        return rc;
    if (value != c->head_dim || turned != c->head_dim)
        return hn_fail(r->e, HN_EUNSUP,
                       "%s: heads of %d with values of %d and %d turned; only equal numbers are "
                       "supported",
                       hn_gguf_path(r->g), c->head_dim, value, turned);
    c->rms_norm_eps = 0;
    if (!hn_gguf_kv_find(r->g, key(r, "attention.layer_norm_rms_epsilon")))
        return hn_fail(r->e, HN_EPARSE, "%s: %s is missing", hn_gguf_path(r->g), r->key);
    return number(r, "attention.layer_norm_rms_epsilon", 1e-30, 1, &c->rms_norm_eps);
}

/* ---- rotary angles ---- */
/* Takes these numbers of Llama 3's rule when they make the divisors that the file has. */
static bool fits(hn_hfconfig *c, const float *is, float *would, double factor, double high, double original) {
    if (!(high > 1 && original >= 1 && original < 1 << 27)) return false;
    c->rope = (hn_rope_conf){ HN_ROPE_LLAMA3, c->rope.theta, decimal(factor), 1, high, (int32_t)original };
    hn_gguf_rope_factors(c, would);
    for (int i = 0; i < c->head_dim / 2; i++)
        if (!(fabsf(is[i] - would[i]) <= 1e-4f * would[i])) return false;
    return true;
}

/* Divisors do not say the four numbers of the rule, and low, high and original may be multiplied by one
 * number without a change, so low is 1.  Tried first is what is used everywhere: high 4 and a power of two.
 * Else two divisors between 1 and the largest give the line 1/divisor over 1/wave length. */
static bool fit(hn_hfconfig *c, const float *is, float *would) {
    double factor = 1, inverse[2] = { 0 }, smooth[2] = { 0 };
    int half = c->head_dim / 2, n = 0;
    for (int i = 0; i < half; i++)
        if ((double)is[i] > factor) factor = (double)is[i];
    for (int bit = 4; bit < 26; bit++)
        if (fits(c, is, would, factor, 4, 1 << bit)) return true;
    for (int i = 0; i < half; i++) {
        if (is[i] <= 1 || (double)is[i] >= factor) continue;
        int k = n++ ? 1 : 0; /* the first and the last */
        inverse[k] = pow(c->rope.theta, -2.0 * i / c->head_dim) / 6.283185307179586;
        smooth[k] = (1 / (double)is[i] - 1 / factor) / (1 - 1 / factor);
    }
    if (n < 2) return false;
    double slope = (smooth[1] - smooth[0]) / (inverse[1] - inverse[0]), low = smooth[0] - slope * inverse[0];
    double high = decimal((float)(1 - 1 / low));
    return fits(c, is, would, factor, high, round(slope * (high - 1)));
}

static int find_llama3(const hn_gguf *g, hn_hfconfig *c, const hn_gguf_tensor *t, hn_err *e) {
    int64_t half = c->head_dim / 2;
    float *is = hn_alloc((size_t)half * 2 * sizeof *is);
    if (!is) return hn_fail(e, HN_ENOMEM, "%s: out of memory", hn_gguf_path(g));
    int rc = hn_gguf_to_f32(g, t, 0, half, is, e);
    bool none = true;
    for (int64_t i = 0; !rc && i < half; i++) none &= is[i] == 1;
    if (!rc && !none && !fit(c, is, is + half))
        rc = hn_fail(e, HN_EUNSUP,
                     "%s: rope_freqs.weight does not follow Llama 3's rule; no other is supported",
                     hn_gguf_path(g));
    hn_free(is);
    return rc;
}

static int read_rope(reader *r, hn_hfconfig *c) {
    hn_gguf_str type = { "none", 4 };
    double factor = 1, old = 1;
    int rc;
    if ((rc = number(r, "rope.freq_base", 1e-3, 1e18, &c->rope.theta)) ||
        (rc = hn_gguf_text(r->g, key(r, "rope.scaling.type"), &type, r->e)) ||
        (rc = number(r, "rope.scaling.factor", 0, 1e9, &factor)) ||
        (rc = number(r, "rope.scale_linear", 0, 1e9, &old)))
        return rc;
    bool said = hn_gguf_kv_find(r->g, key(r, "rope.scaling.type")), linear = !said;
    if (said && type.n == 4 && !memcmp(type.s, "none", 4)) factor = 1;
    else if (said && type.n == 6 && !memcmp(type.s, "linear", 6)) linear = true;
    else if (said)
        return hn_fail(r->e, HN_EUNSUP,
                       "%s: %s.rope.scaling.type \"%.*s\" is not supported; supported: none, "
                       "linear",
                       hn_gguf_path(r->g), r->arch, type.n < 64 ? (int)type.n : 64, type.s);
    if (factor == 1 && linear) factor = old;
    if (factor == 0) factor = 1;
    if (factor != 1) c->rope.type = HN_ROPE_LINEAR, c->rope.factor = factor;
    const hn_gguf_part p = { "", "rope_freqs.weight", 1, { c->head_dim / 2, 0 }, 0 };
    const hn_gguf_tensor *t;
    if (!hn_gguf_find(r->g, p.gguf)) return HN_OK;
    if (factor != 1 || c->arch != HN_ARCH_LLAMA)
        return hn_fail(r->e, HN_EUNSUP, "%s: tensor \"%s\" in a model of %s%s", hn_gguf_path(r->g), p.gguf,
                       r->arch, factor != 1 ? " with linear scaling" : "");
    rc = hn_gguf_need(r->g, &p, &t, r->e);
    return rc ? rc : find_llama3(r->g, c, t, r->e);
}

/* ---- switches that only the tensors say ---- */
static int read_switches(reader *r, hn_hfconfig *c) {
    const hn_gguf *g = r->g;
    const hn_gguf_tensor *embed = hn_gguf_find(g, "token_embd.weight");
    if (!embed || embed->rank != 2 || embed->shape[0] > INT32_MAX)
        return hn_fail(r->e, HN_EPARSE, "%s: no token_embd.weight of two dimensions: %s", hn_gguf_path(g),
                       hn_gguf_count(g) ? "no language model" : "only a vocabulary, no weights");
    c->vocab_size = (int32_t)embed->shape[0];
    c->tied = !hn_gguf_find(g, "output.weight");
    bool q = hn_gguf_find(g, "blk.0.attn_q.bias"), o = hn_gguf_find(g, "blk.0.attn_output.bias");
    c->qkv_bias = q;
    c->o_bias = o;
    c->mlp_bias = hn_gguf_find(g, "blk.0.ffn_down.bias");
    c->qk_norm = hn_gguf_find(g, "blk.0.attn_q_norm.weight");
    bool fits = c->arch == HN_ARCH_LLAMA   ? q == o && !c->qk_norm
                : c->arch == HN_ARCH_QWEN2 ? q && !o && !c->mlp_bias && !c->qk_norm
                                           : !q && !o && !c->mlp_bias && c->qk_norm;
    if (fits) return HN_OK;
    return hn_fail(
        r->e, HN_EUNSUP,
        "%s: biases (q %d, output %d, ffn %d) and norms of q (%d) that `transformers` has no %s for",
        hn_gguf_path(g), q, o, c->mlp_bias, c->qk_norm, r->arch);
}

static int read_ids(reader *r, hn_hfconfig *c) {
    static const char *const ends[] = { "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                        "tokenizer.ggml.eom_token_id" };
    hn_gguf_str model = { "", 0 };
    int64_t bos = -1, pad = -1, top = c->vocab_size - 1;
    int rc = hn_gguf_text(r->g, "tokenizer.ggml.model", &model, r->e);
    bool spm = model.n == 5 && !memcmp(model.s, "llama", 5); /* llama.cpp's defaults for it are 1 and 2 */
    if (spm && top >= 2) bos = 1;
    for (int i = 0; !rc && i < 3; i++) {
        int64_t id = i == 0 && spm && top >= 2 ? 2 : -1;
        bool twice = false;
        rc = hn_gguf_int(r->g, ends[i], 0, top, &id, r->e);
        for (int k = 0; k < c->n_eos; k++) twice |= c->eos[k] == id;
        if (id >= 0 && !twice) c->eos[c->n_eos++] = (int32_t)id;
    }
    if (!rc) rc = hn_gguf_int(r->g, "tokenizer.ggml.bos_token_id", 0, top, &bos, r->e);
    if (!rc) rc = hn_gguf_int(r->g, "tokenizer.ggml.padding_token_id", 0, top, &pad, r->e);
    c->bos = (int32_t)bos;
    c->pad = (int32_t)pad;
    return rc;
}

/* ---- tensors ---- */
static int by_name(const void *a, const void *b) {
    return strcmp(((const hn_gguf_part *)a)->gguf, ((const hn_gguf_part *)b)->gguf);
}

/* Is there a tensor that the model would silently ignore? */
static int check_rest(const hn_gguf *g, hn_gguf_part *list, int64_t n, hn_err *e) {
    qsort(list, (size_t)n, sizeof *list, by_name);
    for (int64_t i = 0; i < hn_gguf_count(g); i++) {
        const char *name = hn_gguf_at(g, i)->name;
        hn_gguf_part want;
        snprintf(want.gguf, sizeof want.gguf, "%s", name);
        bool part = strlen(name) < sizeof want.gguf && bsearch(&want, list, (size_t)n, sizeof want, by_name);
        if (!part && strcmp(name, "rope_freqs.weight"))
            return hn_fail(e, HN_EUNSUP,
                           "%s: tensor \"%.200s\" has no place in the model that its keys describe",
                           hn_gguf_path(g), name);
    }
    return HN_OK;
}

/* Each part is there, in a type that is read, and no tensor is left that the model would silently ignore.
 * *bf16: every number is a bf16. */
static int check_tensors(const hn_gguf *g, const hn_hfconfig *c, bool *bf16, hn_err *e) {
    enum { CHUNK = 32 * 64 };
    hn_gguf_part *list;
    const hn_gguf_tensor *t;
    float x[CHUNK];
    int64_t n;
    int rc = hn_gguf_parts(c, &list, &n, e);
    if (rc) return rc;
    *bf16 = true;
    for (int64_t i = 0; !rc && i < n; i++) {
        if ((rc = hn_gguf_need(g, &list[i], &t, e))) break;
        for (int64_t at = 0, k; !rc && at < t->count; at += k) {
            k = t->count - at < CHUNK ? t->count - at : CHUNK;
            rc = hn_gguf_to_f32(g, t, at, k, x, e);
            for (int64_t j = 0; !rc && j < k && *bf16; j++) {
                uint32_t u;
                memcpy(&u, &x[j], sizeof u);
                *bf16 = !(u & 0xffff);
            }
            if (!rc && !*bf16) break; /* the type is known to be readable */
        }
    }
    if (!rc) rc = check_rest(g, list, n, e);
    hn_free(list);
    return rc;
}

int hn_gguf_shape(hn_hfconfig *c, const hn_gguf *g, hn_err *e) {
    reader r = { .g = g, .e = e };
    bool bf16;
    int rc;
    if ((rc = read_arch(&r, c)) || (rc = refuse_others(&r)) || (rc = read_switches(&r, c)) ||
        (rc = read_sizes(&r, c)) || (rc = read_ids(&r, c)) ||
        (rc = hn_hfconfig_check(c, hn_gguf_path(g), e)) || (rc = read_rope(&r, c)) ||
        (rc = check_tensors(g, c, &bf16, e)))
        return rc;
    strcpy(c->dtype, bf16 ? "bfloat16" : "float32");
    return HN_OK;
}

/* ---- the directory ---- */
typedef struct job {
    const hn_gguf *g;
    hn_gguf_part *part;
    hn_hftensor *tensor;
    float *x; /* a row */
    int64_t n;
    int (*more)(void *ctx, const char *dir, hn_err *e);
    void *more_ctx;
} job;

static int give(void *ctx, int64_t i, hn_st_writer *w, hn_err *e) {
    const job *j = ctx;
    const hn_gguf_part *p = &j->part[i];
    const hn_gguf_tensor *t;
    int64_t cols = p->shape[p->rank - 1], rows = p->rank == 2 ? p->shape[0] : 1;
    int rc = hn_gguf_need(j->g, p, &t, e);
    for (int64_t r = 0; !rc && r < rows; r++) {
        rc = hn_gguf_row(j->g, t, p, r, j->x, e);
        if (!rc) rc = hn_st_writer_f32(w, j->x, cols, e);
    }
    return rc;
}

static int pass_on(void *ctx, const char *dir, hn_err *e) {
    const job *j = ctx;
    return j->more(j->more_ctx, dir, e);
}

static int prepare(job *j, const hn_hfconfig *c, hn_err *e) {
    int64_t most = 1;
    int rc = hn_gguf_parts(c, &j->part, &j->n, e);
    if (rc) return rc;
    j->tensor = hn_alloc((size_t)j->n * sizeof *j->tensor);
    for (int64_t i = 0; j->tensor && i < j->n; i++) {
        const hn_gguf_part *p = &j->part[i];
        j->tensor[i] = (hn_hftensor){ p->hf, p->rank, { p->shape[0], p->shape[1] } };
        if (p->shape[p->rank - 1] > most) most = p->shape[p->rank - 1];
    }
    j->x = hn_alloc((size_t)most * sizeof *j->x);
    return j->tensor && j->x ? HN_OK : hn_fail(e, HN_ENOMEM, "%s: out of memory", hn_gguf_path(j->g));
}

int hn_gguf_import(const hn_gguf *g, const char *dir, int (*more)(void *ctx, const char *dir, hn_err *e),
                   void *ctx, hn_err *e) {
    hn_hfconfig c;
    hn_hfdir *made;
    json_t *config = NULL;
    job j = { .g = g, .more = more, .more_ctx = ctx };
    int rc = hn_gguf_shape(&c, g, e);
    if (!rc) rc = prepare(&j, &c, e);
    if (!rc) rc = hn_hfconfig_json(&c, &config, e);
    hn_hfsave save = { .config = config,
                       .dtype = !rc && !strcmp(c.dtype, "bfloat16") ? HN_ST_BF16 : HN_ST_F32,
                       .shard_bytes = INT64_C(5) << 30,
                       .tensor = j.tensor,
                       .n = j.n,
                       .data = give,
                       .ctx = &j };
    if (more) save.more = pass_on;
    if (!rc) rc = hn_hfdir_save(dir, &save, e);
    if (!rc && !(rc = hn_hfdir_open(&made, dir, e))) {
        rc = hn_gguf_same(made, g, j.part, j.n, true, e);
        hn_hfdir_close(made);
    }
    json_decref(config);
    hn_free(j.part);
    hn_free(j.tensor);
    hn_free(j.x);
    return rc;
}
