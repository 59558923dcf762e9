/* transformer.c - declares the parameters of a decoder-only transformer and records its forward pass.
 *
 * Pre-norm blocks: x += o(attend(rope(qkv(norm x)))), x += down(silu(gate) * up of norm x); Llama (Touvron et
 * al. 2023, arXiv:2302.13971), rotary positions (Su et al. 2021, arXiv:2104.09864) in the split-half layout
 * of `transformers`. */
#include "model/transformer.h"
#include "op/ops.h"

#include <math.h>
#include <string.h>

/* ---- parameters ---- */
typedef struct {
    hn_params *p;
    char prefix[64];
    bool oom;
} maker;

static int declare(maker *k, const char *name, int64_t rows, int64_t cols) {
    char full[160];
    snprintf(full, sizeof full, "%s%s", k->prefix, name);
    hn_shape s = { cols ? 2 : 1, HN_FIXED, { rows, cols } };
    int id = hn_params_declare(k->p, full, s, cols > 0);
    if (id < 0) k->oom = true;
    return id;
}

static int weight(maker *k, int first, int n, bool packed) {
    int id = k->oom ? -1 : hn_params_weight(k->p, first, n, packed);
    if (id < 0) k->oom = true;
    return id;
}

static int one(maker *k, const char *name, int64_t rows, int64_t cols) {
    return weight(k, declare(k, name, rows, cols), 1, cols > 0);
}

static int fused(maker *k, int n, const char *const name[], const int64_t rows[], int64_t cols) {
    int first = declare(k, name[0], rows[0], cols);
    for (int i = 1; i < n; i++) declare(k, name[i], rows[i], cols);
    return weight(k, first, n, cols > 0);
}

static void declare_layer(maker *k, const hn_hfconfig *c, hn_layer *l) {
    const int64_t C = c->hidden_size, D = c->head_dim, F = c->intermediate_size;
    const int64_t rows[] = { c->n_head * D, c->n_kv_head * D, c->n_kv_head * D }, ff[] = { F, F };
    static const char *const qkv[] = { "self_attn.q_proj.weight", "self_attn.k_proj.weight",
                                       "self_attn.v_proj.weight" };
    static const char *const qkv_bias[] = { "self_attn.q_proj.bias", "self_attn.k_proj.bias",
                                            "self_attn.v_proj.bias" };
    static const char *const gate_up[] = { "mlp.gate_proj.weight", "mlp.up_proj.weight" };
    static const char *const gate_up_bias[] = { "mlp.gate_proj.bias", "mlp.up_proj.bias" };
    l->norm_in = one(k, "input_layernorm.weight", C, 0);
    l->qkv = fused(k, 3, qkv, rows, C);
    l->qkv_bias = c->qkv_bias ? fused(k, 3, qkv_bias, rows, 0) : -1;
    l->q_norm = c->qk_norm ? one(k, "self_attn.q_norm.weight", D, 0) : -1;
    l->k_norm = c->qk_norm ? one(k, "self_attn.k_norm.weight", D, 0) : -1;
    l->out = one(k, "self_attn.o_proj.weight", C, c->n_head * D);
    l->out_bias = c->o_bias ? one(k, "self_attn.o_proj.bias", C, 0) : -1;
    l->norm_mid = one(k, "post_attention_layernorm.weight", C, 0);
    l->gate_up = fused(k, 2, gate_up, ff, C);
    l->gate_up_bias = c->mlp_bias ? fused(k, 2, gate_up_bias, ff, 0) : -1;
    l->down = one(k, "mlp.down_proj.weight", C, F);
    l->down_bias = c->mlp_bias ? one(k, "mlp.down_proj.bias", C, 0) : -1;
}

void hn_rope_freq(const hn_hfconfig *c, hn_real *freq) {
    const hn_rope_conf *r = &c->rope;
    for (int i = 0; i < c->head_dim / 2; i++) {
        float f = 1.0f / powf((float)r->theta, (float)(2 * i) / (float)c->head_dim);
        float wave = 6.2831853071795864769f / f;
        if (r->type == HN_ROPE_LINEAR) f /= (float)r->factor;
        if (r->type == HN_ROPE_LLAMA3) {
            float low = (float)r->low_freq_factor, high = (float)r->high_freq_factor,
                  orig = (float)r->original;
            if (wave > orig / low) {
                f /= (float)r->factor;
            } else if (wave >= orig / high) {
                float s = (orig / wave - low) / (high - low);
                f = (1 - s) * f / (float)r->factor + s * f;
            }
        }
        freq[i] = (hn_real)f;
    }
}

int hn_transformer_init(hn_transformer *m, const hn_hfconfig *c, hn_err *e) {
    memset(m, 0, sizeof *m);
    m->cfg = *c;
    m->vocab = c->vocab_size;
    maker k = { &m->params, "model.", false };
    m->layer = hn_alloc((size_t)c->n_layer * sizeof *m->layer);
    m->freq = hn_alloc((size_t)(c->head_dim / 2) * sizeof *m->freq);
    if (!m->layer || !m->freq) goto oom;
    hn_rope_freq(c, m->freq);
    int embed = declare(&k, "embed_tokens.weight", c->vocab_size, c->hidden_size);
    m->embed = weight(&k, embed, 1, c->tied); /* untied: rows are looked up, and no product reads it */
    for (int i = 0; i < c->n_layer && !k.oom; i++) {
        snprintf(k.prefix, sizeof k.prefix, "model.layers.%d.", i);
        declare_layer(&k, c, &m->layer[i]);
    }
    snprintf(k.prefix, sizeof k.prefix, "model.");
    m->norm = one(&k, "norm.weight", c->hidden_size, 0);
    k.prefix[0] = 0;
    m->head = c->tied ? m->embed : one(&k, "lm_head.weight", c->vocab_size, c->hidden_size);
    if (!k.oom) {
        m->params.weight[m->embed].rows = true;
        m->params.weight[m->head].chunked = true;
        m->params.weight[m->head].finest = true; /* errors in the logits are not averaged by later layers */
        return HN_OK;
    }
oom:
    hn_transformer_release(m);
    return hn_fail(e, HN_ENOMEM, "no memory to declare the model's parameters");
}

void hn_transformer_release(hn_transformer *m) {
    hn_params_release(&m->params);
    hn_free(m->layer);
    hn_free(m->freq);
    memset(m, 0, sizeof *m);
}

/* ---- the forward pass ---- */
typedef struct {
    hn_transformer *m;
    hn_tape *t;
    bool train;
    hn_tensor **leaf;
    int *n_leaf;
} recorder;

static hn_tensor *use(recorder *r, int id) {
    if (id < 0) return NULL;
    hn_tensor *x = hn_params_leaf(&r->m->params, r->t, id, r->train);
    if (r->leaf) r->leaf[(*r->n_leaf)++] = x;
    return x;
}

static hn_tensor *product(recorder *r, hn_tensor *x, int w, int b) {
    hn_tensor *wl = use(r, w), *bl = use(r, b);
    return hn_linear(r->t, x, wl, bl, r->m->params.prec);
}

/* What products read next is stored as they read it; weights in few bits are multiplied with floats. */
static hn_tensor *stored(const recorder *r, hn_tensor *x) {
    return hn_stored(x, r->m->params.quant ? HN_PREC_F32 : r->m->params.prec);
}

static hn_tensor *norm(recorder *r, hn_tensor *x, int w) {
    return stored(r, hn_rmsnorm(r->t, x, use(r, w), r->m->cfg.rms_norm_eps));
}

static hn_tensor *block(recorder *r, int i, hn_tensor *x, hn_tensor *pos, hn_tensor *freq,
                        const hn_attend *how) {
    const hn_hfconfig *c = &r->m->cfg;
    const hn_layer *l = &r->m->layer[i];
    hn_tape *t = r->t;
    hn_scope(t, "layer.%d.attn", i);
    hn_tensor *qkv = product(r, norm(r, x, l->norm_in), l->qkv, l->qkv_bias);
    if (l->q_norm >= 0) {
        hn_tensor *qn = use(r, l->q_norm), *kn = use(r, l->k_norm);
        qkv = hn_headnorm(t, qkv, qn, kn, c->n_head, c->n_kv_head, c->rms_norm_eps);
    }
    hn_prec prec = r->m->params.prec;
    qkv = hn_rope(t, qkv, pos, freq, c->n_head, c->n_kv_head, prec);
    hn_tensor *a = how->span ? hn_attn(t, qkv, how->span, c->n_head, c->n_kv_head, prec)
                             : hn_attnkv(t, qkv, how->row, how->kv, c->n_head, i);
    x = hn_add(t, x, product(r, a, l->out, l->out_bias));
    hn_scope(t, "layer.%d.mlp", i);
    hn_tensor *gu = stored(r, product(r, norm(r, x, l->norm_mid), l->gate_up, l->gate_up_bias));
    return hn_add(t, x, product(r, stored(r, hn_swiglu(t, gu)), l->down, l->down_bias));
}

int hn_transformer_max_len(const hn_transformer *m) {
    int most = m->cfg.max_position_embeddings, window = m->cfg.sliding_window;
    return window > 0 && window < most ? window : most;
}

int hn_transformer_leaves(const hn_transformer *m) { return 3 + 12 * m->cfg.n_layer; }

hn_tensor *hn_transformer_hidden(hn_transformer *m, hn_tape *t, hn_tensor *token, hn_tensor *pos,
                                 const hn_attend *how, bool train, hn_tensor **leaf, int *n_leaf) {
    recorder r = { m, t, train, leaf, n_leaf };
    hn_scope(t, "embed");
    hn_tensor *freq = hn_leaf(t, HN_F, (hn_shape){ 1, HN_FIXED, { m->cfg.head_dim / 2 } }, m->freq);
    hn_tensor *x = hn_embed(t, use(&r, m->embed), token);
    for (int i = 0; i < m->cfg.n_layer; i++) {
        hn_segment(t, train && m->recompute);
        x = block(&r, i, x, pos, freq, how);
    }
    hn_segment(t, false);
    hn_scope(t, "norm");
    return hn_rmsnorm(t, x, use(&r, m->norm), m->cfg.rms_norm_eps);
}

hn_tensor *hn_transformer_head(hn_transformer *m, hn_tape *t, bool train, hn_tensor **leaf, int *n_leaf) {
    recorder r = { m, t, train, leaf, n_leaf };
    hn_scope(t, "head");
    return use(&r, m->head);
}
