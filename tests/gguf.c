/* gguf.c - the container against gguf-py, whole models against llama.cpp's converter (vectors/gguf/make.py),
 * there and back by bits; files that lie. */
#include "base/json.h"
#include "format/gguf_hf.h"
#include "format/half.h"

#include <math.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#include "shared.h"
#include "torture.h"

#define VECTORS HN_SOURCE_ROOT "/tests/vectors/"
static const char *root;
static hn_arena *paths;

static const char *at(const char *dir, const char *name) {
    char *p = hn_arena_get(paths, strlen(dir) + strlen(name) + 2);
    sprintf(p, "%s/%s", dir, name);
    return p;
}

static json_t *vectors(const char *name) {
    json_t *j;
    hn_err e = { 0 };
    if (hn_json_read(&j, at(VECTORS "gguf", name), &e)) fail_msg("%s", e.msg);
    return j;
}

static bool text_is(hn_gguf_str s, const char *want) {
    return s.n == strlen(want) && !memcmp(s.s, want, s.n);
}

/* ---- every kind of key, every type of tensor ---- */
static void kinds_of_keys(const hn_gguf *g) {
    static const struct {
        const char *key;
        int64_t v;
    } whole[] = { { "k.u8", 200 },
                  { "k.i8", -100 },
                  { "k.u16", 60000 },
                  { "k.i16", -30000 },
                  { "k.u32", 4000000000 },
                  { "k.i32", -2000000000 },
                  { "k.u64", INT64_MAX }, /* 2^63 does not fit */
                  { "k.i64", -(INT64_C(1) << 62) } };
    hn_err e = { 0 };
    int64_t v = 0;
    double x = 0;
    bool b = false;
    hn_gguf_str s = { 0 };
    const hn_gguf_kv *k;
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        assert_int_equal(hn_gguf_int(g, whole[i].key, INT64_MIN, INT64_MAX, &v, &e), HN_OK);
        assert_int_equal(v, whole[i].v);
        assert_int_equal(hn_gguf_int(g, whole[i].key, 0, 1, &v, NULL), HN_ERANGE);
    }
    assert_int_equal(hn_gguf_num(g, "k.f32", 0, 1, &x, &e), HN_OK);
    assert_true((float)x == 1e-5f);
    assert_int_equal(hn_gguf_num(g, "k.f64", 0, 1, &x, &e), HN_OK);
    assert_true(x == 0.1);
    assert_int_equal(hn_gguf_num(g, "k.u8", 0, 1000, &x, &e), HN_OK);
    assert_true(x == 200);
    assert_int_equal(hn_gguf_bool(g, "k.bool", &b, &e), HN_OK);
    assert_true(b);
    assert_int_equal(hn_gguf_text(g, "k.str", &s, &e), HN_OK);
    assert_true(text_is(s, "gr\xc3\xbc\xc3\x9f"
                           "e"));
    assert_int_equal(hn_gguf_list(g, "k.strs", HN_GGUF_KV_STR, &k, &e), HN_OK);
    assert_true(k->n == 3 && text_is(k->str[0], "a") && text_is(k->str[1], "") &&
                text_is(k->str[2], "\xe2\x96\x81"
                                   "b"));
    assert_int_equal(hn_gguf_list(g, "k.i32s", HN_GGUF_KV_I32, &k, &e), HN_OK);
    assert_true(k->n == 3 && hn_gguf_i32(k, 0) == 1 && hn_gguf_i32(k, 1) == -2 && hn_gguf_i32(k, 2) == 3);
    assert_int_equal(hn_gguf_list(g, "k.f32s", HN_GGUF_KV_F32, &k, &e), HN_OK);
    assert_true(k->n == 2 && hn_gguf_f32(k, 0) == 0.5f && hn_gguf_f32(k, 1) == -1.25f);
    assert_int_equal(hn_gguf_list(g, "absent", HN_GGUF_KV_F32, &k, &e), HN_OK);
    assert_null(k);
    assert_int_equal(hn_gguf_list(g, "k.i32s", HN_GGUF_KV_STR, &k, &e), HN_EPARSE);
    assert_non_null(strstr(e.msg, "k.i32s is a list of i32, not a list of string"));
    assert_int_equal(hn_gguf_int(g, "k.str", 0, 1, &v, NULL), HN_EPARSE);
    assert_int_equal(hn_gguf_bool(g, "k.u8", &b, NULL), HN_EPARSE);
    assert_int_equal(hn_gguf_text(g, "k.u8", &s, NULL), HN_EPARSE);
}

enum { NUMBERS = 4 * 512 };
static void numbers(float x[NUMBERS]) {
    for (uint64_t i = 0; i < NUMBERS; i++) {
        double m = (double)((uint32_t)(i * 2654435761u) >> 8);
        m = (m - (1 << 23)) * 0x1p-23 * exp2(-2.0 * (double)(i / 32 % 16));
        x[i] = i % 37 == 5 || (i >= 64 && i < 96) ? 0 : (float)m;
    }
}

static void as_gguf_py(void **state) {
    (void)state;
    hn_gguf *g;
    hn_err e = { 0 };
    json_t *want = vectors("tiny.json"), *v;
    const char *key;
    char hex[65];
    static float x[NUMBERS];
    static unsigned char packed[NUMBERS * 4];
    if (hn_gguf_open(&g, VECTORS "gguf/tiny.gguf", &e)) fail_msg("%s", e.msg);
    kinds_of_keys(g);
    json_object_foreach(json_object_get(want, "tensors"), key, v) {
        const hn_gguf_tensor *t = hn_gguf_find(g, key);
        assert_true(t && t->rank == 2 && t->shape[0] == 4 && t->shape[1] == 512);
        assert_string_equal(hn_gguf_type_name(t->type), key + 2);
        assert_int_equal(hn_gguf_to_f32(g, t, 0, 512, x, &e), HN_OK); /* in two pieces */
        assert_int_equal(hn_gguf_to_f32(g, t, 512, NUMBERS - 512, x + 512, &e), HN_OK);
        hn_sha256(x, sizeof x, hex);
        assert_string_equal(hex, json_string_value(v));
    }
    const hn_gguf_tensor *q6 = hn_gguf_find(g, "t.Q6_K");
    assert_int_equal(hn_gguf_to_f32(g, q6, 0, 256, x, &e), HN_EUNSUP);
    assert_non_null(strstr(e.msg, "t.Q6_K"));
    assert_int_equal(hn_gguf_count(g), 7);
    hn_gguf_close(g);
    numbers(x);
    hn_sha256(x, sizeof x, hex);
    assert_string_equal(hex, json_string_value(json_object_get(want, "numbers")));
    json_object_foreach(json_object_get(want, "packed"), key, v) {
        static const hn_gguf_type types[] = { HN_GGUF_F32, HN_GGUF_F16, HN_GGUF_BF16, HN_GGUF_Q8_0 };
        for (int i = 0; i < 4; i++) {
            if (strcmp(hn_gguf_type_name(types[i]), key)) continue;
            assert_int_equal(hn_gguf_pack(types[i], x, NUMBERS, packed), HN_OK);
            hn_sha256(packed, (size_t)hn_gguf_bytes(types[i], NUMBERS), hex);
            assert_string_equal(hex, json_string_value(v));
        }
    }
    json_decref(want);
}

/* Every f16 and back; every tie between two of them, to the even one; what no f16 or block can say. */
static void halves(void **state) {
    (void)state;
    unsigned char p[64];
    float x[32] = { 0 };
    for (uint32_t h = 0; h < 0x7c00; h++) {
        float a = hn_f16_to_f32((uint16_t)h), b = h < 0x7bff ? hn_f16_to_f32((uint16_t)(h + 1)) : 65536;
        float tie = (a + b) / 2;
        assert_int_equal(hn_f16_from_f32(a), h);
        assert_int_equal(hn_f16_from_f32(-a), h | 0x8000);
        assert_int_equal(hn_f16_from_f32(tie), h + (h & 1));
        assert_int_equal(hn_f16_from_f32(nextafterf(tie, 0)), h);
        assert_int_equal(hn_f16_from_f32(nextafterf(tie, INFINITY)), h + 1);
    }
    assert_int_equal(hn_f16_from_f32(INFINITY), 0x7c00);
    assert_true(isnan(hn_f16_to_f32(hn_f16_from_f32(NAN))));
    const float bad[] = { NAN, INFINITY, -INFINITY, 1e38f };
    for (int i = 0; i < 4; i++) {
        x[7] = bad[i];
        assert_int_equal(hn_gguf_pack(HN_GGUF_F16, x, 32, p), HN_ERANGE);
        assert_int_equal(hn_gguf_pack(HN_GGUF_Q8_0, x, 32, p), HN_ERANGE);
    }
    x[7] = 1e-44f; /* 1/scale is beyond f32 */
    assert_int_equal(hn_gguf_pack(HN_GGUF_Q8_0, x, 32, p), HN_OK);
    assert_int_equal(p[9], 0);
}

/* ---- models ---- */
static const char *const models[] = { "llama", "llama_bias", "llama_tied", "mistral", "qwen2", "qwen3" };
static const char *const types[] = { "f32", "f16", "bf16", "q8_0" };

static void export(const char *model, const char *type, const char *file, hn_gguf_made *made) {
    hn_hfdir *d;
    hn_gguf_type t;
    hn_err e = { 0 };
    if (hn_hfdir_open(&d, at(VECTORS "models", model), &e)) fail_msg("%s", e.msg);
    assert_int_equal(hn_gguf_type_parse(&t, type, &e), HN_OK);
    if (hn_gguf_export(d, file, t, NULL, NULL, made, &e)) fail_msg("%s as %s: %s", model, type, e.msg);
    hn_hfdir_close(d);
}

static void same_keys(const hn_gguf *g, const json_t *want, const char *model) {
    const char *key;
    json_t *v;
    assert_int_equal(hn_gguf_kv_count(g), json_object_size(want));
    json_object_foreach((json_t *)want, key, v) {
        int64_t i = 0;
        double x = 0;
        hn_gguf_str s = { "", 0 };
        hn_err e = { 0 };
        bool ok = json_is_integer(v)
                      ? !hn_gguf_int(g, key, 0, INT64_MAX, &i, &e) && i == json_integer_value(v)
                  : json_is_real(v) ? !hn_gguf_num(g, key, 0, 1e9, &x, &e) && x == json_real_value(v)
                                    : !hn_gguf_text(g, key, &s, &e) && text_is(s, json_string_value(v));
        if (!ok || !hn_gguf_kv_find(g, key)) fail_msg("%s: key %s differs %s", model, key, e.msg);
    }
}

static void as_the_converter(void **state) {
    (void)state;
    json_t *want = vectors("models.json"), *row;
    const char *file = at(root, "model.gguf"), *name;
    for (int m = 0; m < 6; m++)
        for (int k = 0; k < 4; k++) {
            json_t *w = json_object_get(json_object_get(want, models[m]), types[k]);
            hn_gguf *g;
            hn_err e = { 0 };
            hn_gguf_made made;
            export(models[m], types[k], file, &made);
            if (hn_gguf_open(&g, file, &e)) fail_msg("%s", e.msg);
            same_keys(g, json_object_get(w, "keys"), models[m]);
            assert_int_equal(hn_gguf_count(g), json_object_size(json_object_get(w, "tensors")));
            assert_int_equal(hn_gguf_count(g), made.tensors);
            assert_int_equal(made.other, k == 3 ? 2 : 0); /* down_proj: rows of 40 */
            json_object_foreach(json_object_get(w, "tensors"), name, row) {
                const hn_gguf_tensor *t = hn_gguf_find(g, name);
                json_t *shape = json_array_get(row, 1);
                char hex[65];
                assert_non_null(t);
                assert_string_equal(hn_gguf_type_name(t->type), json_string_value(json_array_get(row, 0)));
                assert_int_equal(t->rank, json_array_size(shape));
                for (int i = 0; i < t->rank; i++)
                    assert_int_equal(t->shape[t->rank - 1 - i],
                                     json_integer_value(json_array_get(shape, (size_t)i)));
                hn_sha256(t->data, t->size, hex);
                hex[16] = 0;
                if (strcmp(hex, json_string_value(json_array_get(row, 2))))
                    fail_msg("%s as %s: %s differs", models[m], types[k], name);
            }
            hn_gguf_close(g);
        }
    json_decref(want);
}

static void same_shape(const hn_hfconfig *a, const hn_hfconfig *b) {
    assert_true(a->vocab_size == b->vocab_size && a->hidden_size == b->hidden_size &&
                a->intermediate_size == b->intermediate_size && a->n_layer == b->n_layer &&
                a->n_head == b->n_head && a->n_kv_head == b->n_kv_head && a->head_dim == b->head_dim &&
                a->max_position_embeddings == b->max_position_embeddings);
    assert_true(a->rms_norm_eps == b->rms_norm_eps && a->qkv_bias == b->qkv_bias && a->o_bias == b->o_bias &&
                a->mlp_bias == b->mlp_bias && a->qk_norm == b->qk_norm && a->tied == b->tied);
    assert_true(a->rope.type == b->rope.type && a->rope.theta == b->rope.theta &&
                a->rope.factor == b->rope.factor && a->rope.original == b->rope.original &&
                a->rope.low_freq_factor == b->rope.low_freq_factor &&
                a->rope.high_freq_factor == b->rope.high_freq_factor);
}

/* The numbers of two directories: bits in f32, else so many times the largest number apart at most. */
static void same_numbers(const hn_hfdir *a, const hn_hfdir *b, double bound) {
    assert_int_equal(hn_hfdir_count(a), hn_hfdir_count(b));
    for (int64_t i = 0; i < hn_hfdir_count(a); i++) {
        const hn_st_tensor *s = hn_hfdir_at(a, i), *t = hn_hfdir_find(b, s->name);
        static float x[1 << 15], y[1 << 15];
        float most = 0;
        assert_true(t && hn_st_shape_is(t, s->rank, s->shape) && s->count <= 1 << 15);
        assert_int_equal(hn_st_to_f32(s, 0, s->count, x, NULL), HN_OK);
        assert_int_equal(hn_st_to_f32(t, 0, s->count, y, NULL), HN_OK);
        if (bound == 0) assert_memory_equal(x, y, (size_t)s->count * 4);
        for (int64_t k = 0; k < s->count; k++) most = fmaxf(most, fabsf(x[k]));
        for (int64_t k = 0; k < s->count; k++)
            assert_true(fabs((double)x[k] - (double)y[k]) <= bound * (double)most);
    }
}

static void there_and_back(void **state) {
    (void)state;
    static const double bound[] = { 0, 0x1p-11, 0x1p-8, 0.5 / 127 + 0x1p-10 };
    const char *file = at(root, "model.gguf"), *dir = at(root, "model");
    for (int m = 0; m < 6; m++)
        for (int k = 0; k < 4; k++) {
            hn_gguf *g;
            hn_err e = { 0 };
            hn_gguf_made made;
            hn_hfdir *was = NULL, *is = NULL;
            export(models[m], types[k], file, &made);
            if (hn_gguf_open(&g, file, &e) || hn_gguf_import(g, dir, NULL, NULL, &e))
                fail_msg("%s as %s: %s", models[m], types[k], e.msg);
            hn_gguf_close(g);
            if (hn_hfdir_open(&was, at(VECTORS "models", models[m]), &e) || hn_hfdir_open(&is, dir, &e))
                fail_msg("%s", e.msg);
            same_shape(hn_hfdir_config(was), hn_hfdir_config(is));
            assert_string_equal(hn_hfdir_config(is)->dtype, "float32"); /* the norms are not all bf16 */
            same_numbers(was, is, bound[k]);
            hn_hfdir_close(was);
            hn_hfdir_close(is);
        }
}

/* The weights that a directory's config asks for, all zeros. */
static void one_head(const char *dir) {
    hn_hfconfig c;
    hn_gguf_part *list;
    hn_st_writer *w;
    hn_err e = { 0 };
    int64_t n;
    static float zeros[1 << 14];
    assert_int_equal(hn_hfconfig_open(&c, at(dir, "config.json"), &e), HN_OK);
    assert_int_equal(hn_gguf_parts(&c, &list, &n, &e), HN_OK);
    assert_int_equal(hn_st_writer_open(&w, at(dir, "model.safetensors"), &e), HN_OK);
    for (int64_t i = 0; i < n; i++)
        assert_int_equal(hn_st_writer_declare(w, list[i].hf, HN_ST_F32, list[i].rank, list[i].shape, &e),
                         HN_OK);
    for (int64_t i = 0; i < n; i++)
        assert_int_equal(
            hn_st_writer_f32(w, zeros, list[i].shape[0] * (list[i].rank == 2 ? list[i].shape[1] : 1), &e),
            HN_OK);
    assert_int_equal(hn_st_writer_commit(w, &e), HN_OK);
    hn_free(list);
}

/* Divisors of the rotary angles say Llama 3's rule again, in the common numbers and in others. */
static void rope_rules(void **state) {
    (void)state;
    static const double rule[][5] = { { 500000, 8, 1, 4, 8192 },
                                      { 500000, 32, 1, 4, 8192 },
                                      { 10000, 2.5, 1, 3, 1000 },
                                      { 10000, 8, 2, 8, 6000 },
                                      { 1e6, 4, 1, 16, 12345 } };
    const char *file = at(root, "rope.gguf"), *dir = at(root, "rope");
    hn_hfdir *d;
    hn_err e = { 0 };
    for (size_t i = 0; i < sizeof rule / sizeof *rule; i++) {
        hn_hfconfig c, got;
        hn_gguf_made made;
        hn_gguf *g = NULL;
        json_t *config;
        hn_buf b = { 0 };
        assert_int_equal(hn_hfconfig_open(&c, VECTORS "models/llama/config.json", &e), HN_OK);
        c.n_head = 1, c.n_kv_head = 1, c.head_dim = 32; /* 16 angles */
        c.rope = (hn_rope_conf){ HN_ROPE_LLAMA3, rule[i][0], rule[i][1],
                                 rule[i][2],     rule[i][3], (int32_t)rule[i][4] };
        assert_int_equal(hn_hfconfig_json(&c, &config, &e), HN_OK);
        hn_json_print(&b, config);
        assert_int_equal(hn_dir_make(dir, &e), HN_OK);
        assert_int_equal(hn_file_write(at(dir, "config.json"), b.data, b.n, &e), HN_OK);
        one_head(dir);
        if (hn_hfdir_open(&d, dir, &e) || hn_gguf_export(d, file, HN_GGUF_F32, NULL, NULL, &made, &e) ||
            hn_gguf_open(&g, file, &e) || hn_gguf_shape(&got, g, &e))
            fail_msg("rule %zu: %s", i, e.msg);
        hn_rope_conf a = c.rope, r = got.rope; /* equal when divided by low */
        assert_true(r.theta == a.theta && r.factor == a.factor && r.low_freq_factor == 1);
        assert_true(fabs(r.high_freq_factor - a.high_freq_factor / a.low_freq_factor) < 1e-4);
        assert_true(abs(r.original - (int)(a.original / a.low_freq_factor)) <= 1);
        hn_gguf_close(g);
        hn_hfdir_close(d);
        json_decref(config);
        hn_buf_free(&b);
    }
}

/* What the file says beside the models above: a changed key or tensor name, and what comes of it. */
static int with_change(const char *model, const char *from, const char *to, hn_hfconfig *c, hn_err *e) {
    const char *file = at(root, "change.gguf");
    hn_gguf_made made;
    hn_gguf *g;
    char *data;
    size_t n, len = strlen(from);
    e->code = 0;
    export(model, "bf16", file, &made);
    assert_int_equal(hn_file_read(file, &data, &n, NULL), HN_OK);
    assert_int_equal(len, strlen(to));
    char *p = memmem(data, n, from, len);
    assert_non_null(p);
    for (; p; p = memmem(p, n - (size_t)(p - data), from, len)) memcpy(p, to, len);
    assert_int_equal(hn_gguf_open_mem(&g, data, n, "change.gguf", e), HN_OK);
    int rc = hn_gguf_shape(c, g, e);
    if (rc) assert_non_null(strstr(e->msg, "change.gguf"));
    hn_gguf_close(g);
    hn_free(data);
    return rc;
}

static void refusals(void **state) {
    (void)state;
    static const struct {
        const char *model, *from, *to, *says;
        int code;
    } cases[] = {
        { "qwen2", "qwen2", "qwen9", "architecture \"qwen9\"", HN_EUNSUP },
        { "llama", "llama.block_count", "llama.block_cound", "llama.block_count is missing", HN_EPARSE },
        { "llama", "output_norm.weight", "outputtnorm.weight", "output_norm.weight", HN_EPARSE },
        { "llama", "blk.1.attn_q.weight", "blk.1.attn_z.weight", "blk.1.attn_q.weight", HN_EPARSE },
        { "llama_tied", "blk.1.ffn_up.weight", "blk.1.ffn_uq.weight", "blk.1.ffn_up.weight", HN_EPARSE },
        { "llama_bias", "blk.0.attn_output.bias", "blk.0.attn_output.biaz", "biases", HN_EUNSUP },
        { "qwen2", "attn_q.bias", "attn_q.biaz", "biases", HN_EUNSUP },
        { "llama", "rope_freqs.weight", "rope_fresq.weight", "rope_fresq.weight", HN_EUNSUP },
        { "llama", "llama.rope.dimension_count", "llama.attention.causality_", NULL, HN_OK },
        { "mistral", "llama.vocab_size", "llama.expert_cou", NULL, HN_OK },
        { "qwen2", "general.file_type", "qwen2.logit_scale", "qwen2.logit_scale", HN_EUNSUP },
        { "qwen2", "general.file_type", "qwen2.expert_coun", NULL, HN_OK },
        { "qwen2", "general.size_label", "qwen2.expert_count", "qwen2.expert_count", HN_EUNSUP },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hn_hfconfig c;
        hn_err e = { 0 };
        int rc = with_change(cases[i].model, cases[i].from, cases[i].to, &c, &e);
        if (rc != cases[i].code || (rc && !strstr(e.msg, cases[i].says)))
            fail_msg("case %zu: %d \"%s\"", i, rc, rc ? e.msg : "");
    }
}

/* ---- files that lie ---- */
static void put(hn_buf *b, uint64_t v, int size) {
    for (int i = 0; i < size; i++) hn_buf_chr(b, i < 8 ? (char)(v >> (8 * i)) : 0);
}
static void text(hn_buf *b, const char *s) {
    put(b, strlen(s), 8);
    hn_buf_str(b, s);
}

typedef struct lie {
    uint32_t version, align, rank, type, key_type, list_of;
    uint64_t n_tensor, n_key, list_n, size, offset, key_length, tail;
    const char *name, *key;
    int code;
    const char *says;
} lie;

/* Two tensors of 8 numbers in F32 and three keys, with one thing wrong. */
static void build(hn_buf *b, const lie *l) {
    hn_buf_clear(b);
    hn_buf_str(b, "GGUF");
    put(b, l->version, 4);
    put(b, l->n_tensor, 8);
    put(b, l->n_key, 8);
    text(b, "general.alignment");
    put(b, HN_GGUF_KV_U32, 4);
    put(b, l->align, 4);
    put(b, l->key_length ? l->key_length : strlen(l->key), 8);
    hn_buf_str(b, l->key);
    put(b, l->key_type, 4);
    put(b, 1, 1);
    text(b, "list");
    put(b, HN_GGUF_KV_LIST, 4);
    put(b, l->list_of, 4);
    put(b, l->list_n, 8);
    put(b, 0, 16);
    text(b, "one");
    put(b, 1, 4);
    put(b, 8, 8);
    put(b, HN_GGUF_F32, 4);
    put(b, 0, 8);
    text(b, l->name);
    put(b, l->rank, 4);
    put(b, 2, 8);
    put(b, l->size, 8);
    put(b, l->type, 4);
    put(b, l->offset, 8);
    while (b->n % 32) hn_buf_chr(b, 0);
    for (uint64_t i = 0; i < 64 + l->tail; i++) hn_buf_chr(b, (char)i);
}

static const lie truth = { 3, 32, 2, HN_GGUF_F32, HN_GGUF_KV_BOOL, HN_GGUF_KV_U32, 2,     3, 4,
                           4, 32, 0, 0,           "two",           "key",          HN_OK, "" };
#define LIE(what, value, error, message)                                                                     \
    do {                                                                                                     \
        lie l = truth;                                                                                       \
        l.what = value;                                                                                      \
        l.code = error;                                                                                      \
        l.says = message;                                                                                    \
        check_lie(#what " = " #value, &l);                                                                   \
    } while (0)

static void check_lie(const char *what, const lie *l) {
    hn_buf b = { 0 };
    hn_err e = { 0 };
    hn_gguf *g;
    build(&b, l);
    char *copy = hn_alloc(b.n);
    memcpy(copy, b.data, b.n);
    int rc = hn_gguf_open_mem(&g, copy, b.n, "lie.gguf", &e);
    if (rc != l->code || (rc && (!strstr(e.msg, "lie.gguf") || !strstr(e.msg, l->says))))
        fail_msg("%s: %d \"%s\"", what, rc, e.msg);
    hn_gguf_close(g);
    hn_free(copy);
    hn_buf_free(&b);
}

static void lies(void **state) {
    (void)state;
    LIE(tail, 0, HN_OK, "");
    LIE(tail, 31, HN_OK, "");
    LIE(version, 2, HN_OK, "");
    LIE(version, 1, HN_EUNSUP, "version 1");
    LIE(version, 4, HN_EUNSUP, "version 4");
    LIE(version, 0x03000000, HN_EUNSUP, "big-endian");
    LIE(align, 0, HN_ERANGE, "general.alignment");
    LIE(align, 24, HN_EPARSE, "power of two");
    LIE(align, 1u << 31, HN_ERANGE, "general.alignment");
    LIE(align, 64, HN_EPARSE, "two");
    LIE(rank, 0, HN_EPARSE, "rank 0");
    LIE(rank, 5, HN_EPARSE, "rank 5");
    LIE(type, 4, HN_EUNSUP, "type 4");
    LIE(type, 1000, HN_EUNSUP, "type 1000");
    LIE(type, HN_GGUF_Q8_0, HN_EPARSE, "blocks of Q8_0");
    LIE(size, 0, HN_EPARSE, "zero");
    LIE(size, UINT64_MAX, HN_EPARSE, "overflow");
    LIE(size, UINT64_C(1) << 62, HN_EPARSE, "two");
    LIE(size, 100, HN_EPARSE, "truncated");
    LIE(size, 2, HN_OK, "");
    LIE(offset, 0, HN_EPARSE, "overlaps");
    LIE(offset, 36, HN_EPARSE, "alignment");
    LIE(offset, 64, HN_EPARSE, "belong to no tensor");
    LIE(offset, UINT64_MAX - 31, HN_EPARSE, "two");
    LIE(tail, 32, HN_EPARSE, "after the last tensor");
    LIE(name, "one", HN_EPARSE, "twice");
    LIE(name, "", HN_EPARSE, "empty");
    LIE(key, "list", HN_EPARSE, "twice");
    LIE(key_length, UINT64_MAX, HN_EPARSE, "truncated");
    LIE(key_length, 100000, HN_EPARSE, "truncated");
    LIE(key_type, 13, HN_EPARSE, "type 13");
    LIE(list_of, HN_GGUF_KV_LIST, HN_EUNSUP, "list of lists");
    LIE(list_of, HN_GGUF_KV_STR, HN_EPARSE, "");
    LIE(list_n, UINT64_MAX, HN_EPARSE, "truncated at list");
    LIE(list_n, UINT64_C(1) << 59, HN_EPARSE, "truncated at list");
    LIE(n_tensor, UINT64_MAX, HN_EPARSE, "truncated");
    LIE(n_tensor, 3, HN_EPARSE, "");
    LIE(n_key, UINT64_MAX, HN_EPARSE, "truncated");
    LIE(n_key, 1 << 20, HN_EPARSE, "truncated");
}

static void cut_anywhere(void **state) {
    (void)state;
    char *data;
    size_t n;
    assert_int_equal(hn_file_read(VECTORS "gguf/tiny.gguf", &data, &n, NULL), HN_OK);
    for (size_t k = 0; k < n; k += k < 2000 ? 1 : 97) {
        hn_err e = { 0 };
        hn_gguf *g;
        char *copy = hn_realloc(NULL, k);
        memcpy(copy, data, k);
        int rc = hn_gguf_open_mem(&g, copy, k, "cut.gguf", &e);
        assert_true(rc == HN_EPARSE && !g && strstr(e.msg, "cut.gguf"));
        hn_free(copy);
    }
    hn_free(data);
}

/* ---- memory ---- */
static int round_trip(void *ctx, hn_err *e) {
    hn_hfdir *d = NULL;
    hn_gguf *g = NULL;
    hn_gguf_made made;
    (void)ctx;
    int rc = hn_hfdir_open(&d, VECTORS "models/llama", e);
    if (!rc) rc = hn_gguf_export(d, at(root, "t.gguf"), HN_GGUF_Q8_0, NULL, NULL, &made, e);
    if (!rc) rc = hn_gguf_open(&g, at(root, "t.gguf"), e);
    if (!rc) rc = hn_gguf_import(g, at(root, "t"), NULL, NULL, e);
    hn_gguf_close(g);
    hn_hfdir_close(d);
    return rc;
}

static void no_memory(void **state) {
    (void)state;
    assert_true(torture(round_trip, NULL) > 100);
}

/* ---- the vocabularies of llama.cpp ---- */
static void real_vocabularies(void **state) {
    (void)state;
    static const char *const name[] = { "gpt-2", "llama-spm", "phi-3" };
    static const int64_t size[] = { 50257, 32000, 32064 };
    for (int i = 0; i < 3; i++) {
        char path[128];
        snprintf(path, sizeof path, "data/tokenizers/gguf/ggml-vocab-%s.gguf", name[i]);
        const char *file = shared_file(path);
        hn_gguf *g;
        hn_err e = { 0 };
        hn_hfconfig c;
        const hn_gguf_kv *k;
        if (!file) skip();
        if (hn_gguf_open(&g, file, &e)) fail_msg("%s", e.msg);
        assert_int_equal(hn_gguf_list(g, "tokenizer.ggml.tokens", HN_GGUF_KV_STR, &k, &e), HN_OK);
        assert_true(k && k->n == size[i]);
        assert_true(hn_gguf_shape(&c, g, &e) < 0);
        hn_gguf_close(g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_gguf_py),       cmocka_unit_test(halves),
        cmocka_unit_test(as_the_converter), cmocka_unit_test(there_and_back),
        cmocka_unit_test(refusals),         cmocka_unit_test(lies),
        cmocka_unit_test(rope_rules),       cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(no_memory),        cmocka_unit_test(real_vocabularies),
    };
    root = scratch_dir();
    paths = hn_arena_new(1 << 16);
    if (!root || !paths) return 1;
    int rc = cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
    hn_dir_remove(root, NULL);
    hn_arena_free(paths);
    return rc ? 1 : 0;
}
