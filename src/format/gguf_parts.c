/* gguf_parts.c - one list of tensors under their names in Hugging Face and in GGUF, and the comparison of two
 * models by it. */
#include "format/gguf_hf.h"
#include "format/half.h"
#include "format/rope_rows.h"

#include <math.h>
#include <string.h>

typedef struct lister {
    hn_gguf_part *list;
    int64_t n, cap;
    int layer;
    bool oom;
} lister;

static void add(lister *l, const char *hf, const char *gguf, int64_t rows, int64_t cols, int64_t head) {
    if (l->oom || (l->oom = hn_grow(&l->list, &l->cap, l->n + 1, sizeof *l->list) != 0)) return;
    hn_gguf_part *p = &l->list[l->n++];
    *p = (hn_gguf_part){ .rank = cols ? 2 : 1, .shape = { rows, cols }, .head = head };
    if (l->layer < 0) {
        snprintf(p->hf, sizeof p->hf, "%s", hf);
        snprintf(p->gguf, sizeof p->gguf, "%s", gguf);
    } else {
        snprintf(p->hf, sizeof p->hf, "model.layers.%d.%s", l->layer, hf);
        snprintf(p->gguf, sizeof p->gguf, "blk.%d.%s", l->layer, gguf);
    }
}

static void add_layer(lister *l, const hn_hfconfig *c) {
    const int64_t C = c->hidden_size, D = c->head_dim, F = c->intermediate_size, Q = c->n_head * D;
    const int64_t K = c->n_kv_head * D, pair = c->arch == HN_ARCH_LLAMA || c->arch == HN_ARCH_MISTRAL ? D : 0;
    add(l, "input_layernorm.weight", "attn_norm.weight", C, 0, 0);
    add(l, "self_attn.q_proj.weight", "attn_q.weight", Q, C, pair);
    add(l, "self_attn.k_proj.weight", "attn_k.weight", K, C, pair);
    add(l, "self_attn.v_proj.weight", "attn_v.weight", K, C, 0);
    if (c->qkv_bias) {
        add(l, "self_attn.q_proj.bias", "attn_q.bias", Q, 0, pair);
        add(l, "self_attn.k_proj.bias", "attn_k.bias", K, 0, pair);
        add(l, "self_attn.v_proj.bias", "attn_v.bias", K, 0, 0);
    }
    if (c->qk_norm) {
        add(l, "self_attn.q_norm.weight", "attn_q_norm.weight", D, 0, 0);
        add(l, "self_attn.k_norm.weight", "attn_k_norm.weight", D, 0, 0);
    }
    add(l, "self_attn.o_proj.weight", "attn_output.weight", C, Q, 0);
    if (c->o_bias) add(l, "self_attn.o_proj.bias", "attn_output.bias", C, 0, 0);
    add(l, "post_attention_layernorm.weight", "ffn_norm.weight", C, 0, 0);
    add(l, "mlp.gate_proj.weight", "ffn_gate.weight", F, C, 0);
    add(l, "mlp.up_proj.weight", "ffn_up.weight", F, C, 0);
    add(l, "mlp.down_proj.weight", "ffn_down.weight", C, F, 0);
    if (!c->mlp_bias) return;
    add(l, "mlp.gate_proj.bias", "ffn_gate.bias", F, 0, 0);
    add(l, "mlp.up_proj.bias", "ffn_up.bias", F, 0, 0);
    add(l, "mlp.down_proj.bias", "ffn_down.bias", C, 0, 0);
}

int hn_gguf_parts(const hn_hfconfig *c, hn_gguf_part **list, int64_t *n, hn_err *e) {
    lister l = { .layer = -1 };
    add(&l, "model.embed_tokens.weight", "token_embd.weight", c->vocab_size, c->hidden_size, 0);
    for (l.layer = 0; l.layer < c->n_layer && !l.oom; l.layer++) add_layer(&l, c);
    l.layer = -1;
    add(&l, "model.norm.weight", "output_norm.weight", c->hidden_size, 0, 0);
    if (!c->tied) add(&l, "lm_head.weight", "output.weight", c->vocab_size, c->hidden_size, 0);
    *list = l.list;
    *n = l.n;
    if (!l.oom) return HN_OK;
    hn_free(l.list);
    *list = NULL;
    return hn_fail(e, HN_ENOMEM, "out of memory for the names of %d layers", c->n_layer);
}

void hn_gguf_rope_factors(const hn_hfconfig *c, float *factor) {
    const hn_rope_conf *r = &c->rope;
    double low = r->original / r->low_freq_factor, high = r->original / r->high_freq_factor;
    for (int i = 0; i < c->head_dim / 2; i++) {
        float freq = 1.0f / powf((float)r->theta, (float)(2 * i) / (float)c->head_dim);
        double wave = 6.283185307179586 / (double)freq, smooth;
        smooth = (r->original / wave - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
        if (wave < high) factor[i] = 1;
        else if (wave > low) factor[i] = (float)r->factor;
        else factor[i] = (float)(1 / ((1 - smooth) / r->factor + smooth));
    }
}

/* ---- tensors in GGUF ---- */
int hn_gguf_need(const hn_gguf *g, const hn_gguf_part *p, const hn_gguf_tensor **t, hn_err *e) {
    *t = hn_gguf_find(g, p->gguf);
    if (!*t)
        return hn_fail(e, HN_EPARSE, "%s: tensor \"%s\" is missing; its keys describe a model that has it",
                       hn_gguf_path(g), p->gguf);
    if ((*t)->rank == p->rank && !memcmp((*t)->shape, p->shape, (size_t)p->rank * sizeof *p->shape))
        return HN_OK;
    hn_buf is = { 0 }, want = { 0 };
    hn_st_shape_text((*t)->rank, (*t)->shape, &is);
    hn_st_shape_text(p->rank, p->shape, &want);
    hn_fail(e, HN_EPARSE, "%s: tensor \"%s\" has shape %s, its keys ask for %s", hn_gguf_path(g), p->gguf,
            is.oom ? "?" : is.data, want.oom ? "?" : want.data);
    hn_buf_free(&is);
    hn_buf_free(&want);
    return HN_EPARSE;
}

int hn_gguf_row(const hn_gguf *g, const hn_gguf_tensor *t, const hn_gguf_part *p, int64_t r, float *x,
                hn_err *e) {
    int64_t cols = p->shape[p->rank - 1];
    if (p->rank == 2) return hn_gguf_to_f32(g, t, hn_rope_neighbour(r, p->head) * cols, cols, x, e);
    if (!p->head) return hn_gguf_to_f32(g, t, 0, cols, x, e);
    int rc = HN_OK;
    for (int64_t i = 0; !rc && i < cols; i++)
        rc = hn_gguf_to_f32(g, t, hn_rope_neighbour(i, p->head), 1, &x[i], e);
    return rc;
}

/* ---- comparison ---- */
static bool same_bits(float a, float b) { return !memcmp(&a, &b, sizeof a); }

/* A number against what a block of Q8_0 keeps of it: half a step d = max/127, and 127 times what rounding d
 * to f16 costs (2^-11 of it, or 2^-25 where it is subnormal). */
static bool same_q8(const float *x, const float *y, int64_t n) {
    for (int64_t at = 0; at < n; at += HN_GGUF_BLOCK) {
        float most = 0;
        for (int i = 0; i < HN_GGUF_BLOCK; i++) most = fmaxf(most, fabsf(x[at + i]));
        float d = most / 127, bound = 0.5001f * d + 127 * fmaxf(d * 0x1p-11f, 0x1p-25f);
        for (int i = 0; i < HN_GGUF_BLOCK; i++)
            if (!(fabsf(x[at + i] - y[at + i]) <= bound)) return false;
    }
    return true;
}

static bool same_row(uint32_t type, const float *x, const float *y, int64_t n) {
    if (type == HN_GGUF_Q8_0) return same_q8(x, y, n);
    for (int64_t i = 0; i < n; i++) {
        float want = x[i];
        if (type == HN_GGUF_F16) want = hn_f16_to_f32(hn_f16_from_f32(want));
        if (type == HN_GGUF_BF16) want = hn_bf16_to_f32(hn_bf16_from_f32(want));
        if (!same_bits(want, y[i])) return false;
    }
    return true;
}

static int same_tensor(hn_hfdir *d, const hn_gguf *g, const hn_gguf_part *p, bool exact, float *x, float *y,
                       hn_err *e) {
    const hn_st_tensor *h;
    const hn_gguf_tensor *t;
    int64_t cols = p->shape[p->rank - 1], rows = p->rank == 2 ? p->shape[0] : 1;
    int rc = hn_hfdir_need(d, p->hf, p->rank, p->shape, &h, e);
    if (!rc) rc = hn_gguf_need(g, p, &t, e);
    for (int64_t r = 0; !rc && r < rows; r++) {
        if ((rc = hn_st_to_f32(h, r * cols, cols, x, e)) || (rc = hn_gguf_row(g, t, p, r, y, e))) break;
        if (!same_row(exact ? (uint32_t)HN_GGUF_F32 : t->type, x, y, cols))
            rc = hn_fail(e, HN_EIO, "row %lld of %s in %s is not that of %s in %s: the copy is damaged",
                         (long long)r, p->gguf, hn_gguf_path(g), p->hf, hn_hfdir_path(d));
    }
    return rc;
}

int hn_gguf_same(hn_hfdir *d, const hn_gguf *g, const hn_gguf_part *list, int64_t n, bool exact, hn_err *e) {
    int64_t most = 1;
    int rc = HN_OK;
    for (int64_t i = 0; i < n; i++)
        if (list[i].shape[list[i].rank - 1] > most) most = list[i].shape[list[i].rank - 1];
    float *x = hn_alloc((size_t)most * sizeof *x), *y = hn_alloc((size_t)most * sizeof *y);
    if (!x || !y) rc = hn_fail(e, HN_ENOMEM, "%s: out of memory for a row", hn_gguf_path(g));
    for (int64_t i = 0; !rc && i < n; i++) rc = same_tensor(d, g, &list[i], exact, x, y, e);
    hn_free(x);
    hn_free(y);
    return rc;
}
