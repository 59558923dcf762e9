/* gguf_export.c - a Hugging Face directory as GGUF: keys and tensors as llama.cpp's converter writes them. */
#include "format/gguf_hf.h"
#include "format/rope_rows.h"

#include <string.h>

static const struct {
    const char *name;
    hn_gguf_type type;
    uint32_t file_type; /* general.file_type */
} outs[] = { { "f32", HN_GGUF_F32, 0 },
             { "f16", HN_GGUF_F16, 1 },
             { "bf16", HN_GGUF_BF16, 32 },
             { "q8_0", HN_GGUF_Q8_0, 7 } };
enum { OUTS = sizeof outs / sizeof *outs, QUANT_VERSION = 2 };

int hn_gguf_type_parse(hn_gguf_type *type, const char *name, hn_err *e) {
    for (int i = 0; i < OUTS; i++)
        if (!strcmp(name, outs[i].name)) {
            *type = outs[i].type;
            return HN_OK;
        }
    return hn_fail(e, HN_EUNSUP, "no type of GGUF weights named '%s': there are f32, f16, bf16, q8_0", name);
}

/* What llama.cpp's architectures have no tensor for. */
static int check_place(const hn_hfdir *d, hn_err *e) {
    const hn_hfconfig *c = hn_hfdir_config(d);
    const char *what = NULL;
    if (c->arch == HN_ARCH_QWEN3 && c->o_bias) what = "a bias of the attention's output (attention_bias)";
    if (c->arch != HN_ARCH_LLAMA && c->arch != HN_ARCH_MISTRAL && c->rope.type == HN_ROPE_LLAMA3)
        what = "rotary scaling of type llama3";
    if (!what) return HN_OK;
    return hn_fail(e, HN_EUNSUP, "%s: GGUF's architecture %s has no place for %s", hn_hfdir_path(d),
                   hn_arch_name(c->arch), what);
}

/* ---- keys ---- */
/* "2.5M": two digits at least, as the converter rounds. */
static void size_label(int64_t n, char out[24]) {
    static const char unit[] = "KMBT";
    double x = 1e-3 * (double)n;
    int u = 0;
    while (u < 3 && x > 1e3) x *= 1e-3, u++;
    snprintf(out, 24, "%.*f%c", x < 0.5 ? 2 : x < 9.5 ? 1 : 0, x, unit[u]);
}

static const char *base_name(const char *path, size_t *n) {
    size_t end = strlen(path), begin;
    while (end > 1 && path[end - 1] == '/') end--;
    for (begin = end; begin > 0 && path[begin - 1] != '/';) begin--;
    *n = end - begin;
    return path + begin;
}

static void put_keys(hn_gguf_writer *w, const hn_hfdir *d, hn_gguf_type type, int64_t params) {
    const hn_hfconfig *c = hn_hfdir_config(d);
    bool llama = c->arch == HN_ARCH_LLAMA || c->arch == HN_ARCH_MISTRAL;
    const char *arch = llama ? "llama" : hn_arch_name(c->arch), *name;
    char key[80], label[24];
    size_t n;
#define KEY(k) (snprintf(key, sizeof key, "%s." k, arch), key)
    hn_gguf_put_str(w, "general.architecture", arch, strlen(arch));
    hn_gguf_put_str(w, "general.type", "model", 5);
    name = base_name(hn_hfdir_path(d), &n);
    hn_gguf_put_str(w, "general.name", name, n);
    size_label(params, label);
    hn_gguf_put_str(w, "general.size_label", label, strlen(label));
    hn_gguf_put_u32(w, KEY("block_count"), (uint32_t)c->n_layer);
    hn_gguf_put_u32(w, KEY("context_length"), (uint32_t)c->max_position_embeddings);
    hn_gguf_put_u32(w, KEY("embedding_length"), (uint32_t)c->hidden_size);
    hn_gguf_put_u32(w, KEY("feed_forward_length"), (uint32_t)c->intermediate_size);
    hn_gguf_put_u32(w, KEY("attention.head_count"), (uint32_t)c->n_head);
    hn_gguf_put_u32(w, KEY("attention.head_count_kv"), (uint32_t)c->n_kv_head);
    if (c->rope.type == HN_ROPE_LINEAR) {
        hn_gguf_put_str(w, KEY("rope.scaling.type"), "linear", 6);
        hn_gguf_put_f32(w, KEY("rope.scaling.factor"), (float)c->rope.factor);
    }
    hn_gguf_put_f32(w, KEY("rope.freq_base"), (float)c->rope.theta);
    hn_gguf_put_f32(w, KEY("attention.layer_norm_rms_epsilon"), (float)c->rms_norm_eps);
    if (json_is_integer(json_object_get(hn_hfdir_json(d), "head_dim")) ||
        c->head_dim != c->hidden_size / c->n_head) {
        hn_gguf_put_u32(w, KEY("attention.key_length"), (uint32_t)c->head_dim);
        hn_gguf_put_u32(w, KEY("attention.value_length"), (uint32_t)c->head_dim);
    }
    for (int i = 0; i < OUTS; i++)
        if (outs[i].type == type) hn_gguf_put_u32(w, "general.file_type", outs[i].file_type);
    if (llama) {
        hn_gguf_put_u32(w, KEY("vocab_size"), (uint32_t)c->vocab_size);
        hn_gguf_put_u32(w, KEY("rope.dimension_count"), (uint32_t)c->head_dim);
    }
    hn_gguf_put_u32(w, "general.quantization_version", QUANT_VERSION);
#undef KEY
}

/* ---- tensors ---- */
static hn_gguf_type type_of(const hn_gguf_part *p, hn_gguf_type type) {
    if (p->rank == 1) return HN_GGUF_F32;
    return type == HN_GGUF_Q8_0 && p->shape[1] % HN_GGUF_BLOCK ? HN_GGUF_F16 : type;
}

static int give(hn_gguf_writer *w, hn_hfdir *d, const hn_gguf_part *p, hn_err *e) {
    const hn_st_tensor *t;
    int64_t cols = p->shape[p->rank - 1], rows = p->rank == 2 ? p->shape[0] : 1;
    int rc = hn_hfdir_need(d, p->hf, p->rank, p->shape, &t, e);
    float *x = hn_alloc((size_t)cols * sizeof *x);
    if (!x) rc = hn_fail(e, HN_ENOMEM, "%s: out of memory for a row", hn_hfdir_path(d));
    for (int64_t r = 0; !rc && r < rows; r++) {
        if (p->rank == 2) rc = hn_st_to_f32(t, hn_rope_half(r, p->head) * cols, cols, x, e);
        else
            for (int64_t i = 0; !rc && i < cols; i++)
                rc = hn_st_to_f32(t, hn_rope_half(i, p->head), 1, &x[i], e);
        if (!rc) rc = hn_gguf_writer_f32(w, x, cols, e);
    }
    hn_free(x);
    return rc;
}

/* Everything but the tokenizer; *made is filled. */
static int write_tensors(hn_gguf_writer *w, hn_hfdir *d, hn_gguf_type type, const hn_gguf_part *list,
                         int64_t n, hn_gguf_made *made, hn_err *e) {
    const hn_hfconfig *c = hn_hfdir_config(d);
    int64_t half = c->head_dim / 2;
    float *factor = NULL;
    int rc = HN_OK;
    *made = (hn_gguf_made){ 0 };
    if (c->rope.type == HN_ROPE_LLAMA3) {
        if (!(factor = hn_alloc((size_t)half * sizeof *factor)))
            return hn_fail(e, HN_ENOMEM, "%s: out of memory", hn_hfdir_path(d));
        hn_gguf_rope_factors(c, factor);
        rc = hn_gguf_writer_declare(w, "rope_freqs.weight", HN_GGUF_F32, 1, &half, e);
        made->tensors++;
    }
    for (int64_t i = 0; !rc && i < n; i++) {
        hn_gguf_type as = type_of(&list[i], type);
        made->tensors++;
        made->other += as != type && list[i].rank == 2;
        rc = hn_gguf_writer_declare(w, list[i].gguf, as, list[i].rank, list[i].shape, e);
    }
    if (!rc && factor) rc = hn_gguf_writer_f32(w, factor, half, e);
    for (int64_t i = 0; !rc && i < n; i++) rc = give(w, d, &list[i], e);
    hn_free(factor);
    return rc ? rc : hn_hfdir_rest(d, e);
}

/* Reads what was written: the numbers, and that the keys describe the same network. */
static int check(hn_hfdir *d, const char *path, const hn_gguf_part *list, int64_t n, hn_err *e) {
    const hn_hfconfig *is = hn_hfdir_config(d);
    hn_hfconfig c;
    hn_gguf *g;
    int rc = hn_gguf_open(&g, path, e);
    if (rc) return rc;
    rc = hn_gguf_same(d, g, list, n, false, e);
    if (!rc) rc = hn_gguf_shape(&c, g, e);
    if (!rc && (c.n_head != is->n_head || c.rope.type != is->rope.type || c.tied != is->tied))
        rc = hn_fail(e, HN_EIO, "%s: its keys do not describe the model of %s", path, hn_hfdir_path(d));
    hn_gguf_close(g);
    return rc;
}

int hn_gguf_export(hn_hfdir *d, const char *path, hn_gguf_type type,
                   int (*more)(void *ctx, hn_gguf_writer *w, hn_err *e), void *ctx, hn_gguf_made *made,
                   hn_err *e) {
    hn_gguf_writer *w = NULL;
    hn_gguf_part *list = NULL;
    int64_t n = 0;
    int rc = check_place(d, e);
    if (!rc) rc = hn_gguf_parts(hn_hfdir_config(d), &list, &n, e);
    if (!rc) rc = hn_gguf_writer_open(&w, path, e);
    if (!rc) {
        put_keys(w, d, type, hn_hfconfig_params(hn_hfdir_config(d)));
        if (more) rc = more(ctx, w, e);
        if (!rc) rc = write_tensors(w, d, type, list, n, made, e);
        if (rc) hn_gguf_writer_abandon(w);
        else rc = hn_gguf_writer_commit(w, e);
    }
    if (!rc) rc = check(d, path, list, n, e);
    hn_free(list);
    return rc;
}
