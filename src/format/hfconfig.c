/* hfconfig.c - config.json to the shape of a transformer and back. */
#include "format/hfconfig.h"

#include "base/io.h"
#include "base/json.h"
#include "base/opt.h"
#include <math.h>
#include <string.h>

/* Class defaults of transformers' configurations: what an absent key means. */
static const struct arch {
    const char *type, *class;
    int32_t kv_heads, head_dim, max_pos, window; /* 0: heads, hidden/heads, -, none */
    bool qkv_bias, qk_norm;
} archs[HN_ARCH_COUNT] = {
    [HN_ARCH_LLAMA] = { "llama", "LlamaForCausalLM", 0, 0, 2048, 0, false, false },
    [HN_ARCH_MISTRAL] = { "mistral", "MistralForCausalLM", 8, 0, 131072, 4096, false, false },
    [HN_ARCH_QWEN2] = { "qwen2", "Qwen2ForCausalLM", 32, 0, 32768, 0, true, false },
    [HN_ARCH_QWEN3] = { "qwen3", "Qwen3ForCausalLM", 32, 128, 32768, 0, false, true },
};

enum { KEY_MAX = 1 << 27, LAYER_MAX = 1 << 16 };

const char *hn_arch_name(hn_arch a) {
    hn_assert(a >= 0 && a < HN_ARCH_COUNT);
    return archs[a].type;
}

void hn_hfconfig_default(hn_hfconfig *c, hn_arch a) {
    hn_assert(a >= 0 && a < HN_ARCH_COUNT);
    *c = (hn_hfconfig){ .arch = a,
                        .max_position_embeddings = archs[a].max_pos,
                        .sliding_window = archs[a].window,
                        .rms_norm_eps = 1e-6,
                        .initializer_range = 0.02,
                        .rope = { .type = HN_ROPE_PLAIN, .theta = 10000, .factor = 1 },
                        .qkv_bias = archs[a].qkv_bias,
                        .qk_norm = archs[a].qk_norm,
                        .bos = -1,
                        .pad = -1 };
}

/* ---- reading ---- */
static int need_size(const hn_json *j, const char *key, int64_t hi, int32_t *x, hn_err *e) {
    int64_t v = 0;
    if (!hn_json_has(j, key)) return hn_fail(e, HN_EPARSE, "%s: %s is missing", j->file, key);
    int rc = hn_json_int(j, key, 1, hi, &v, e);
    *x = (int32_t)v;
    return rc;
}

/* Absent: `absent`; null: `null`. */
static int may_size(const hn_json *j, const char *key, int32_t absent, int32_t null, int32_t *x, hn_err *e) {
    int64_t v = json_object_get(j->o, key) ? null : absent;
    int rc = hn_json_int(j, key, 1, KEY_MAX, &v, e);
    *x = (int32_t)v;
    return rc;
}

static int read_arch(hn_hfconfig *c, const hn_json *j, hn_err *e) {
    const char *type = NULL, *names[HN_ARCH_COUNT];
    int rc = hn_json_str(j, "model_type", &type, e);
    if (rc) return rc;
    if (!type)
        return hn_fail(e, HN_EPARSE, "%s: model_type is missing: this does not describe a model", j->file);
    for (int a = 0; a < HN_ARCH_COUNT; a++) {
        names[a] = archs[a].type;
        if (strcmp(type, archs[a].type)) continue;
        hn_hfconfig_default(c, (hn_arch)a);
        return HN_OK;
    }
    const char *near = hn_nearest(type, names, HN_ARCH_COUNT);
    return hn_fail(
        e, HN_EUNSUP,
        "%s: model_type \"%s\" is not supported%s%s%s; supported: llama (SmolLM2 is one), mistral, "
        "qwen2, qwen3",
        j->file, type, near ? " (the nearest is \"" : "", near ? near : "", near ? "\")" : "");
}

static int read_sizes(hn_hfconfig *c, const hn_json *j, hn_err *e) {
    const struct arch *a = &archs[c->arch];
    int rc;
    if ((rc = need_size(j, "vocab_size", KEY_MAX, &c->vocab_size, e)) ||
        (rc = need_size(j, "hidden_size", KEY_MAX, &c->hidden_size, e)) ||
        (rc = need_size(j, "intermediate_size", KEY_MAX, &c->intermediate_size, e)) ||
        (rc = need_size(j, "num_hidden_layers", LAYER_MAX, &c->n_layer, e)) ||
        (rc = need_size(j, "num_attention_heads", KEY_MAX, &c->n_head, e)) ||
        (rc = may_size(j, "num_key_value_heads", a->kv_heads, 0, &c->n_kv_head, e)) ||
        (rc = may_size(j, "head_dim", a->head_dim, 0, &c->head_dim, e)) ||
        (rc = may_size(j, "max_position_embeddings", a->max_pos, a->max_pos, &c->max_position_embeddings, e)))
        return rc;
    if (!c->n_kv_head) c->n_kv_head = c->n_head;
    if (c->head_dim) return HN_OK;
    if (c->hidden_size % c->n_head)
        return hn_fail(e, HN_ERANGE,
                       "%s: hidden_size %d is not divisible by num_attention_heads %d (and head_dim is "
                       "not given)",
                       j->file, c->hidden_size, c->n_head);
    c->head_dim = c->hidden_size / c->n_head;
    return HN_OK;
}

/* The settings of one scaling type: read from rope_scaling (v4) or rope_parameters (v5). */
static int read_rope_type(hn_rope_conf *r, const hn_json *j, hn_err *e) {
    const char *type = "default";
    int64_t original = 0;
    double partial = 1;
    int rc;
    if ((rc = hn_json_str(j, "type", &type, e)) || (rc = hn_json_str(j, "rope_type", &type, e)) ||
        (rc = hn_json_num(j, "partial_rotary_factor", 0, 1, &partial, e)))
        return rc;
    if (partial != 1)
        return hn_fail(e, HN_EUNSUP, "%s: %s.partial_rotary_factor %g is not supported (only 1)", j->file,
                       j->in, partial);
    if (!strcmp(type, "default")) {
        r->type = HN_ROPE_PLAIN;
        return HN_OK;
    }
    bool linear = !strcmp(type, "linear"), llama3 = !strcmp(type, "llama3");
    if (!linear && !llama3)
        return hn_fail(e, HN_EUNSUP,
                       "%s: %s type \"%s\" is not supported; supported: default, linear, llama3", j->file,
                       j->in, type);
    static const char *const keys[] = { "factor", "low_freq_factor", "high_freq_factor",
                                        "original_max_position_embeddings" };
    for (int i = 0; i < (linear ? 1 : 4); i++)
        if (!hn_json_has(j, keys[i]))
            return hn_fail(e, HN_EPARSE, "%s: %s.%s is missing (type \"%s\" needs it)", j->file, j->in,
                           keys[i], type);
    r->type = linear ? HN_ROPE_LINEAR : HN_ROPE_LLAMA3;
    if ((rc = hn_json_num(j, "factor", 1, 1e9, &r->factor, e))) return rc;
    if (linear) return HN_OK;
    if ((rc = hn_json_num(j, "low_freq_factor", 1e-9, 1e9, &r->low_freq_factor, e)) ||
        (rc = hn_json_num(j, "high_freq_factor", 1e-9, 1e9, &r->high_freq_factor, e)) ||
        (rc = hn_json_int(j, "original_max_position_embeddings", 1, KEY_MAX, &original, e)))
        return rc;
    r->original = (int32_t)original;
    return HN_OK;
}

/* transformers 4 writes rope_theta and rope_scaling, version 5 rope_parameters with both inside.  A scaling
 * in rope_scaling wins there, so it does here; two different thetas are an error rather than a choice. */
static int read_rope(hn_rope_conf *r, const hn_json *j, hn_err *e) {
    json_t *params = json_object_get(j->o, "rope_parameters"),
           *scaling = json_object_get(j->o, "rope_scaling");
    hn_json p = { params, j->file, "rope_parameters" }, s = { scaling, j->file, "rope_scaling" };
    double outer = 0, inner = 0;
    int rc;
    if (params && !json_is_null(params) && !json_is_object(params))
        return hn_fail(e, HN_EPARSE, "%s: rope_parameters must be an object", j->file);
    if (scaling && !json_is_null(scaling) && !json_is_object(scaling))
        return hn_fail(e, HN_EPARSE, "%s: rope_scaling must be an object or null", j->file);
    if (json_is_object(json_object_get(params, "full_attention")))
        return hn_fail(e, HN_EUNSUP, "%s: rope_parameters per layer type are not supported", j->file);
    if ((rc = hn_json_num(j, "rope_theta", 1e-3, 1e18, &outer, e)) ||
        (json_is_object(params) && (rc = hn_json_num(&p, "rope_theta", 1e-3, 1e18, &inner, e))))
        return rc;
    if (outer == 0 && inner == 0)
        return hn_fail(
            e, HN_EPARSE,
            "%s: neither rope_theta nor rope_parameters.rope_theta is there; a wrong guess would spoil "
            "the model, so add \"rope_theta\" (10000 for Llama 1 and 2)",
            j->file);
    if (outer != 0 && inner != 0 && outer != inner)
        return hn_fail(e, HN_EPARSE, "%s: rope_theta %.17g and rope_parameters.rope_theta %.17g disagree",
                       j->file, outer, inner);
    r->theta = outer != 0 ? outer : inner;
    if (json_object_size(scaling)) return read_rope_type(r, &s, e);
    return json_object_size(params) ? read_rope_type(r, &p, e) : HN_OK;
}

int hn_token_ids(const json_t *o, const char *key, int32_t vocab, int32_t *id, int32_t *n, const char *file,
                 hn_err *e) {
    json_t *v = json_object_get(o, key);
    size_t count = json_is_array(v) ? json_array_size(v) : 1;
    *n = 0;
    if (!v || json_is_null(v)) return HN_OK;
    if (count > HN_EOS_MAX)
        return hn_fail(e, HN_ERANGE, "%s: %s has %zu ids, at most %d are supported", file, key, count,
                       HN_EOS_MAX);
    for (size_t i = 0; i < count; i++) {
        json_t *x = json_is_array(v) ? json_array_get(v, i) : v;
        if (!json_is_integer(x))
            return hn_fail(e, HN_EPARSE, "%s: %s must be a token id, a list of ids or null", file, key);
        json_int_t t = json_integer_value(x);
        if (t < 0) continue; /* Llama 1 writes pad_token_id -1 for "none" */
        if (t > INT32_MAX || (vocab && t >= vocab))
            return hn_fail(e, HN_ERANGE, "%s: %s %lld is not below vocab_size %d", file, key, (long long)t,
                           vocab);
        id[(*n)++] = (int32_t)t;
    }
    return HN_OK;
}

static int read_id(const hn_hfconfig *c, const hn_json *j, const char *key, int32_t *x, hn_err *e) {
    int32_t id[HN_EOS_MAX], n;
    int rc = hn_token_ids(j->o, key, c->vocab_size, id, &n, j->file, e);
    *x = !rc && n ? id[0] : -1;
    return rc;
}

static int read_window(hn_hfconfig *c, const hn_json *j, hn_err *e) {
    bool use = false, sliding = false;
    int64_t first = 28; /* max_window_layers: the layers before it see everything */
    int rc;
    if (c->arch == HN_ARCH_LLAMA) return HN_OK;
    if (c->arch == HN_ARCH_MISTRAL)
        return may_size(j, "sliding_window", archs[c->arch].window, 0, &c->sliding_window, e);
    if ((rc = hn_json_bool(j, "use_sliding_window", &use, e)) ||
        (rc = hn_json_int(j, "max_window_layers", 0, KEY_MAX, &first, e)))
        return rc;
    json_t *types = json_object_get(j->o, "layer_types");
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *t = json_string_value(json_array_get(types, i));
        sliding |= !t || strcmp(t, "full_attention");
    }
    if (!json_is_array(types)) sliding = use && first < c->n_layer;
    if (use && json_is_null(json_object_get(j->o, "sliding_window"))) sliding = false; /* a window of none */
    if (sliding)
        return hn_fail(e, HN_EUNSUP, "%s: %s asks for sliding-window attention, which is not supported",
                       j->file, json_is_array(types) ? "layer_types" : "use_sliding_window");
    return HN_OK;
}

static int read_switches(hn_hfconfig *c, const hn_json *j, hn_err *e) {
    const char *act = "silu", *dtype = "";
    bool bias = false;
    int rc;
    if ((rc = hn_json_str(j, "hidden_act", &act, e)) || (rc = hn_json_str(j, "torch_dtype", &dtype, e)) ||
        (rc = hn_json_str(j, "dtype", &dtype, e)) ||
        (rc = hn_json_num(j, "rms_norm_eps", 1e-30, 1, &c->rms_norm_eps, e)) ||
        (rc = hn_json_num(j, "initializer_range", 0, 1e3, &c->initializer_range, e)) ||
        (rc = hn_json_bool(j, "tie_word_embeddings", &c->tied, e)))
        return rc;
    if (strcmp(act, "silu") && strcmp(act, "swish"))
        return hn_fail(e, HN_EUNSUP, "%s: hidden_act \"%s\" is not supported; supported: silu", j->file, act);
    snprintf(c->dtype, sizeof c->dtype, "%s", dtype);
    if (c->arch == HN_ARCH_LLAMA || c->arch == HN_ARCH_QWEN3) {
        if ((rc = hn_json_bool(j, "attention_bias", &bias, e))) return rc;
        c->qkv_bias = c->o_bias = bias;
    }
    return c->arch == HN_ARCH_LLAMA ? hn_json_bool(j, "mlp_bias", &c->mlp_bias, e) : HN_OK;
}

int hn_hfconfig_read(hn_hfconfig *c, const json_t *o, const char *file, hn_err *e) {
    hn_json j = { o, file, NULL };
    int rc;
    if (!json_is_object(o)) return hn_fail(e, HN_EPARSE, "%s: not a JSON object", file);
    if (json_object_get(o, "quantization_config"))
        return hn_fail(e, HN_EUNSUP, "%s: quantization_config: quantized weights are not supported", file);
    if ((rc = read_arch(c, &j, e)) || (rc = read_sizes(c, &j, e)) || (rc = read_rope(&c->rope, &j, e)) ||
        (rc = read_switches(c, &j, e)) || (rc = read_window(c, &j, e)) ||
        (rc = read_id(c, &j, "bos_token_id", &c->bos, e)) ||
        (rc = read_id(c, &j, "pad_token_id", &c->pad, e)) ||
        (rc = hn_token_ids(o, "eos_token_id", c->vocab_size, c->eos, &c->n_eos, file, e)))
        return rc;
    return hn_hfconfig_check(c, file, e);
}

int hn_hfconfig_open(hn_hfconfig *c, const char *path, hn_err *e) {
    json_t *j;
    int rc = hn_json_read(&j, path, e);
    if (rc) return rc;
    rc = hn_hfconfig_read(c, j, path, e);
    json_decref(j);
    return rc;
}

/* ---- checking ---- */
int64_t hn_hfconfig_params(const hn_hfconfig *c) {
    int64_t h = c->hidden_size, f = c->intermediate_size, q = (int64_t)c->n_head * c->head_dim;
    int64_t kv = (int64_t)c->n_kv_head * c->head_dim, n = 2 * h;
    n += q * h + 2 * kv * h + h * q + 3 * h * f;
    if (c->qkv_bias) n += q + 2 * kv;
    if (c->o_bias) n += h;
    if (c->mlp_bias) n += 2 * f + h;
    if (c->qk_norm) n += 2 * (int64_t)c->head_dim;
    return n * c->n_layer + h + (c->tied ? 1 : 2) * (int64_t)c->vocab_size * h;
}

/* The same in floating point: too large a product must be seen before it overflows. */
static bool too_large(const hn_hfconfig *c) {
    double h = c->hidden_size, q = (double)c->n_head * c->head_dim, kv = (double)c->n_kv_head * c->head_dim;
    double n = c->n_layer * (2 * h * (q + kv) + 3 * h * c->intermediate_size) + 2 * h * (double)c->vocab_size;
    return q > KEY_MAX || n > 0x1p50;
}

int hn_hfconfig_check(const hn_hfconfig *c, const char *file, hn_err *e) {
    const struct {
        const char *key;
        int32_t v;
    } size[] = { { "vocab_size", c->vocab_size },
                 { "hidden_size", c->hidden_size },
                 { "intermediate_size", c->intermediate_size },
                 { "num_hidden_layers", c->n_layer },
                 { "num_attention_heads", c->n_head },
                 { "num_key_value_heads", c->n_kv_head },
                 { "head_dim", c->head_dim },
                 { "max_position_embeddings", c->max_position_embeddings } };
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        if (size[i].v < 1) return hn_fail(e, HN_ERANGE, "%s: %s must be at least 1", file, size[i].key);
    if (c->n_head % c->n_kv_head)
        return hn_fail(e, HN_ERANGE, "%s: num_attention_heads %d is not divisible by num_key_value_heads %d",
                       file, c->n_head, c->n_kv_head);
    if (c->head_dim % 2)
        return hn_fail(e, HN_ERANGE, "%s: head_dim %d is odd; rotary positions need pairs", file,
                       c->head_dim);
    if (too_large(c))
        return hn_fail(e, HN_ERANGE,
                       "%s: hidden_size, intermediate_size, heads and layers together describe a model "
                       "of more than 10^15 parameters",
                       file);
    if (c->rope.type == HN_ROPE_LLAMA3 && !(c->rope.high_freq_factor > c->rope.low_freq_factor))
        return hn_fail(e, HN_ERANGE, "%s: rope_scaling.high_freq_factor must be above low_freq_factor", file);
    return HN_OK;
}

int hn_hfconfig_length(const hn_hfconfig *c, int64_t len, hn_err *e) {
    if (!c->sliding_window || len <= c->sliding_window) return HN_OK;
    return hn_fail(e, HN_EUNSUP,
                   "a length of %lld tokens needs sliding-window attention (sliding_window %d), which is not "
                   "supported; use at most %d tokens",
                   (long long)len, c->sliding_window, c->sliding_window);
}

/* ---- writing ---- */
static json_t *rope_json(const hn_rope_conf *r, bool theta) {
    static const char *const name[] = { "default", "linear", "llama3" };
    json_t *o = json_pack("{s:s}", "rope_type", name[r->type]);
    bool bad = !o;
    if (theta) bad |= json_object_set_new(o, "rope_theta", json_real(r->theta)) != 0;
    if (r->type != HN_ROPE_PLAIN) bad |= json_object_set_new(o, "factor", json_real(r->factor)) != 0;
    if (r->type == HN_ROPE_LLAMA3) {
        bad |= json_object_set_new(o, "low_freq_factor", json_real(r->low_freq_factor)) != 0;
        bad |= json_object_set_new(o, "high_freq_factor", json_real(r->high_freq_factor)) != 0;
        bad |= json_object_set_new(o, "original_max_position_embeddings", json_integer(r->original)) != 0;
    }
    if (!bad) return o;
    json_decref(o);
    return NULL;
}

static json_t *ids_json(const int32_t *id, int32_t n) {
    if (n == 0) return json_null();
    if (n == 1) return json_integer(id[0]);
    json_t *list = json_array();
    for (int32_t i = 0; i < n; i++)
        if (json_array_append_new(list, json_integer(id[i]))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

int hn_hfconfig_json(const hn_hfconfig *c, json_t **out, hn_err *e) {
    const struct arch *a = &archs[c->arch];
    const char *dtype = *c->dtype ? c->dtype : "float32";
    json_t *j = json_object();
    bool bad = !j;
#define SET(key, value) bad |= json_object_set_new(j, key, value) != 0
    SET("architectures", json_pack("[s]", a->class));
    SET("model_type", json_string(a->type));
    SET("vocab_size", json_integer(c->vocab_size));
    SET("hidden_size", json_integer(c->hidden_size));
    SET("intermediate_size", json_integer(c->intermediate_size));
    SET("num_hidden_layers", json_integer(c->n_layer));
    SET("num_attention_heads", json_integer(c->n_head));
    SET("num_key_value_heads", json_integer(c->n_kv_head));
    SET("head_dim", json_integer(c->head_dim));
    SET("max_position_embeddings", json_integer(c->max_position_embeddings));
    SET("hidden_act", json_string("silu"));
    SET("rms_norm_eps", json_real(c->rms_norm_eps));
    SET("initializer_range", json_real(c->initializer_range));
    SET("rope_theta", json_real(c->rope.theta));
    SET("rope_scaling", c->rope.type == HN_ROPE_PLAIN ? json_null() : rope_json(&c->rope, false));
    SET("rope_parameters", rope_json(&c->rope, true));
    if (c->arch == HN_ARCH_LLAMA || c->arch == HN_ARCH_QWEN3) SET("attention_bias", json_boolean(c->o_bias));
    if (c->arch == HN_ARCH_LLAMA) SET("mlp_bias", json_boolean(c->mlp_bias));
    if (c->arch == HN_ARCH_MISTRAL)
        SET("sliding_window", c->sliding_window ? json_integer(c->sliding_window) : json_null());
    else if (c->arch != HN_ARCH_LLAMA) SET("use_sliding_window", json_false());
    SET("attention_dropout", json_real(0));
    SET("tie_word_embeddings", json_boolean(c->tied));
    SET("bos_token_id", ids_json(&c->bos, c->bos >= 0));
    SET("eos_token_id", ids_json(c->eos, c->n_eos));
    SET("pad_token_id", ids_json(&c->pad, c->pad >= 0));
    SET("use_cache", json_true());
    SET("dtype", json_string(dtype));
    SET("torch_dtype", json_string(dtype));
#undef SET
    if (bad) {
        json_decref(j);
        return hn_fail(e, HN_ENOMEM, "out of memory while writing config.json");
    }
    *out = j;
    return HN_OK;
}
