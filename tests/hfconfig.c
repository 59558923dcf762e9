/* hfconfig.c - config.json: real files, every default and spelling, settings that cannot be, and edits that
 * leave all other bytes alone. */
#include "format/hfconfig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "shared.h"

#define SIZES                                                                                                \
    "\"vocab_size\": 99, \"hidden_size\": 64, \"intermediate_size\": 128, \"num_hidden_layers\": 3, "        \
    "\"num_attention_heads\": 8"
#define ROPE "\"rope_theta\": 5e5"

static int parse(hn_hfconfig *c, const char *text, hn_err *e) {
    json_t *j;
    int rc = hn_json_parse(&j, text, strlen(text), "config.json", e);
    if (rc) return rc;
    rc = hn_hfconfig_read(c, j, "config.json", e);
    json_decref(j);
    return rc;
}

static void good(hn_hfconfig *c, const char *text) {
    hn_err e = { 0 };
    if (parse(c, text, &e)) fail_msg("%s: %s", text, e.msg);
}

/* ---- what an absent key means ---- */
static void defaults(void **state) {
    (void)state;
    hn_hfconfig c;
    good(&c, "{\"model_type\": \"llama\", " SIZES ", " ROPE "}");
    assert_int_equal(c.arch, HN_ARCH_LLAMA);
    assert_int_equal(c.n_kv_head, 8);
    assert_int_equal(c.head_dim, 8);
    assert_int_equal(c.max_position_embeddings, 2048);
    assert_true(c.rms_norm_eps == 1e-6 && c.initializer_range == 0.02 && c.rope.theta == 5e5);
    assert_true(!c.qkv_bias && !c.o_bias && !c.mlp_bias && !c.qk_norm && !c.tied && !c.sliding_window);
    assert_true(c.bos == -1 && c.pad == -1 && c.n_eos == 0 && !*c.dtype);

    good(&c,
         "{\"model_type\": \"llama\", " SIZES ", " ROPE ", \"attention_bias\": true, \"mlp_bias\": true,"
         "\"tie_word_embeddings\": true, \"num_key_value_heads\": 2, \"head_dim\": 32, \"eos_token_id\": [1, "
         "2, 98],"
         "\"bos_token_id\": 0, \"pad_token_id\": -1, \"torch_dtype\": \"float16\", \"dtype\": \"bfloat16\"}");
    assert_true(c.qkv_bias && c.o_bias && c.mlp_bias && c.tied);
    assert_true(c.n_kv_head == 2 && c.head_dim == 32 && c.n_eos == 3 && c.eos[2] == 98 && c.bos == 0 &&
                c.pad == -1);
    assert_string_equal(c.dtype, "bfloat16");

    good(&c,
         "{\"model_type\": \"llama\", " SIZES ", " ROPE ", \"eos_token_id\": [-1, 2]}"); /* below 0: none */
    assert_true(c.n_eos == 1 && c.eos[0] == 2);

    good(&c, "{\"model_type\": \"qwen2\", " SIZES ", " ROPE
             ", \"num_key_value_heads\": 4, \"sliding_window\": 32,"
             "\"use_sliding_window\": false, \"attention_bias\": false}");
    assert_true(c.qkv_bias && !c.o_bias && !c.qk_norm && c.sliding_window == 0);

    good(&c, "{\"model_type\": \"qwen3\", " SIZES ", " ROPE ", \"num_key_value_heads\": 4}");
    assert_true(!c.qkv_bias && c.qk_norm && c.head_dim == 128);

    good(&c,
         "{\"model_type\": \"mistral\", " SIZES ", " ROPE "}"); /* class defaults: 8 kv heads, window 4096 */
    assert_true(c.n_kv_head == 8 && c.sliding_window == 4096 && c.max_position_embeddings == 131072);
    hn_err e = { 0 };
    assert_int_equal(hn_hfconfig_length(&c, 4096, &e), HN_OK);
    assert_int_equal(hn_hfconfig_length(&c, 4097, &e), HN_EUNSUP);
    assert_non_null(strstr(e.msg, "sliding_window 4096"));
    good(&c, "{\"model_type\": \"mistral\", " SIZES ", " ROPE ", \"sliding_window\": null}");
    assert_true(c.sliding_window == 0 && hn_hfconfig_length(&c, 1 << 30, NULL) == HN_OK);
}

static void rope_spellings(void **state) {
    (void)state;
    hn_hfconfig c;
#define LLAMA "{\"model_type\": \"llama\", " SIZES ", "
#define L3                                                                                                   \
    "\"factor\": 8.0, \"low_freq_factor\": 1, \"high_freq_factor\": 4.0, "                                   \
    "\"original_max_position_embeddings\": 8192"
    good(&c, LLAMA "\"rope_theta\": 10000, \"rope_scaling\": null}");
    assert_true(c.rope.type == HN_ROPE_PLAIN && c.rope.theta == 10000);
    good(&c, LLAMA "\"rope_theta\": 5e5, \"rope_scaling\": {\"rope_type\": \"llama3\", " L3 "}}");
    assert_true(c.rope.type == HN_ROPE_LLAMA3 && c.rope.theta == 5e5 && c.rope.factor == 8 &&
                c.rope.low_freq_factor == 1);
    assert_true(c.rope.high_freq_factor == 4 && c.rope.original == 8192);
    good(&c, LLAMA "\"rope_parameters\": {\"rope_type\": \"llama3\", \"rope_theta\": 5e5, " L3 "}}");
    assert_true(c.rope.type == HN_ROPE_LLAMA3 && c.rope.theta == 5e5 && c.rope.original == 8192);
    good(&c, LLAMA "\"rope_theta\": 1e4, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}}");
    assert_true(c.rope.type == HN_ROPE_LINEAR && c.rope.factor == 2);
    good(&c, LLAMA "\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 130000.0}}");
    assert_true(c.rope.type == HN_ROPE_PLAIN && c.rope.theta == 130000);
}

/* ---- what cannot be ---- */
static const struct wrong {
    const char *key, *value; /* set in a config that is right */
    int code;
    const char *says;
} wrongs[] = {
    { "model_type", "\"qwen\"", HN_EUNSUP, "qwen2" },
    { "model_type", "\"gpt2\"", HN_EUNSUP, "\"gpt2\"" },
    { "model_type", "\"lama\"", HN_EUNSUP, "the nearest is \"llama\"" },
    { "model_type", "null", HN_EPARSE, "model_type" },
    { "model_type", "7", HN_EPARSE, "model_type must be a string" },
    { "hidden_size", "null", HN_EPARSE, "hidden_size is missing" },
    { "hidden_size", "0", HN_ERANGE, "hidden_size is 0" },
    { "hidden_size", "-64", HN_ERANGE, "hidden_size is -64" },
    { "hidden_size", "64.5", HN_EPARSE, "hidden_size must be a whole number" },
    { "hidden_size", "\"64\"", HN_EPARSE, "hidden_size must be a whole number" },
    { "hidden_size", "99999999999999999999999", HN_EPARSE, "hidden_size must be a whole number" },
    { "hidden_size", "4294967360", HN_ERANGE, "hidden_size" },
    { "hidden_size", "65", HN_ERANGE, "hidden_size 65 is not divisible" },
    { "vocab_size", "9223372036854775807", HN_ERANGE, "vocab_size" },
    { "num_hidden_layers", "100000000", HN_ERANGE, "num_hidden_layers" },
    { "num_attention_heads", "0", HN_ERANGE, "num_attention_heads" },
    { "num_key_value_heads", "3", HN_ERANGE, "num_key_value_heads 3" },
    { "num_key_value_heads", "16", HN_ERANGE, "num_key_value_heads 16" },
    { "head_dim", "7", HN_ERANGE, "head_dim 7 is odd" },
    { "head_dim", "100000000", HN_ERANGE, "heads" },
    { "intermediate_size", "-1", HN_ERANGE, "intermediate_size" },
    { "rms_norm_eps", "0", HN_ERANGE, "rms_norm_eps" },
    { "rms_norm_eps", "-1e-6", HN_ERANGE, "rms_norm_eps" },
    { "rms_norm_eps", "true", HN_EPARSE, "rms_norm_eps must be a number" },
    { "max_position_embeddings", "0", HN_ERANGE, "max_position_embeddings" },
    { "tie_word_embeddings", "1", HN_EPARSE, "tie_word_embeddings must be true or false" },
    { "hidden_act", "\"gelu\"", HN_EUNSUP, "hidden_act \"gelu\"" },
    { "rope_theta", "null", HN_EPARSE, "neither rope_theta nor rope_parameters" },
    { "rope_theta", "0", HN_ERANGE, "rope_theta" },
    { "rope_theta", "-5", HN_ERANGE, "rope_theta" },
    { "rope_parameters", "{\"rope_type\": \"default\", \"rope_theta\": 1e4}", HN_EPARSE, "disagree" },
    { "rope_parameters", "{\"full_attention\": {\"rope_theta\": 5e5}}", HN_EUNSUP, "per layer type" },
    { "rope_parameters", "[]", HN_EPARSE, "rope_parameters must be an object" },
    { "rope_scaling", "3", HN_EPARSE, "rope_scaling must be an object" },
    { "rope_scaling", "{\"type\": \"yarn\", \"factor\": 4}", HN_EUNSUP, "rope_scaling type \"yarn\"" },
    { "rope_scaling", "{\"rope_type\": \"dynamic\", \"factor\": 4}", HN_EUNSUP, "\"dynamic\"" },
    { "rope_scaling", "{\"type\": \"linear\"}", HN_EPARSE, "rope_scaling.factor is missing" },
    { "rope_scaling", "{\"type\": \"linear\", \"factor\": 0}", HN_ERANGE, "rope_scaling.factor" },
    { "rope_scaling", "{\"type\": \"llama3\", \"factor\": 8}", HN_EPARSE, "rope_scaling.low_freq_factor" },
    { "rope_scaling", "{\"type\": \"default\", \"partial_rotary_factor\": 0.5}", HN_EUNSUP,
      "partial_rotary_factor" },
    { "rope_scaling",
      "{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, \"high_freq_factor\": 4, "
      "\"original_max_position_embeddings\": 8192}",
      HN_ERANGE, "high_freq_factor" },
    { "eos_token_id", "99", HN_ERANGE, "eos_token_id 99" },
    { "eos_token_id", "[1, 1000]", HN_ERANGE, "eos_token_id 1000" },
    { "eos_token_id", "\"</s>\"", HN_EPARSE, "eos_token_id" },
    { "eos_token_id", "[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]", HN_ERANGE, "17 ids" },
    { "bos_token_id", "1.5", HN_EPARSE, "bos_token_id" },
    { "quantization_config", "{}", HN_EUNSUP, "quantization_config" },
};

static const char base[] = "{\"model_type\": \"llama\", " SIZES ", " ROPE ", \"num_key_value_heads\": 4}";

static int with(hn_hfconfig *c, const char *text, const char *key, const char *value, hn_err *e) {
    hn_buf b = { 0 };
    json_t *v = json_loads(value, JSON_DECODE_ANY, NULL);
    if (!v) v = json_real(1e23); /* the one value here that jansson cannot hold as an integer */
    assert_int_equal(hn_json_patch(&b, text, strlen(text), key, v, e), HN_OK);
    json_decref(v);
    int rc = parse(c, b.data, e);
    hn_buf_free(&b);
    return rc;
}

static void impossible(void **state) {
    (void)state;
    hn_hfconfig c;
    good(&c, base);
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        hn_err e = { 0 };
        int rc = with(&c, base, wrongs[i].key, wrongs[i].value, &e);
        if (rc != wrongs[i].code || !strstr(e.msg, wrongs[i].says) || !strstr(e.msg, "config.json"))
            fail_msg("%s %s: code %d \"%s\", wanted %d \"%s\"", wrongs[i].key, wrongs[i].value, rc, e.msg,
                     wrongs[i].code, wrongs[i].says);
    }
    hn_err e = { 0 };
    assert_int_equal(parse(&c, "[1]", &e), HN_EPARSE);
    e.code = 0;
    assert_int_equal(parse(&c, "{\"a\": 1,\n \"a\": 2}", &e), HN_EPARSE);
    assert_non_null(strstr(e.msg, "line 2"));
    e.code = 0;
    json_t *j;
    assert_int_equal(hn_json_parse(&j, "{\"a\": 1\0}", 9, "config.json", &e), HN_EPARSE);
    assert_null(j);
}

static void windows(void **state) {
    (void)state;
    static const char q[] = "{\"model_type\": \"qwen2\", " SIZES ", " ROPE ", \"num_key_value_heads\": 4, "
                            "\"use_sliding_window\": true, \"sliding_window\": 32, \"max_window_layers\": 2}";
    hn_hfconfig c;
    hn_err e = { 0 };
    assert_int_equal(parse(&c, q, &e), HN_EUNSUP);
    assert_non_null(strstr(e.msg, "use_sliding_window"));
    assert_int_equal(with(&c, q, "use_sliding_window", "false", &e), HN_OK);
    assert_int_equal(with(&c, q, "max_window_layers", "3", &e), HN_OK); /* no layer of the three slides */
    assert_int_equal(with(&c, q, "sliding_window", "null", &e), HN_OK);
    assert_int_equal(
        with(&c, q, "layer_types", "[\"full_attention\",\"full_attention\",\"full_attention\"]", &e), HN_OK);
    e.code = 0;
    assert_int_equal(with(&c, q, "layer_types", "[\"full_attention\",\"sliding_attention\"]", &e), HN_EUNSUP);
    assert_non_null(strstr(e.msg, "layer_types"));
}

/* ---- there and back ---- */
static void round_trip(void **state) {
    (void)state;
    static const char *const types[] = { "llama", "mistral", "qwen2", "qwen3" };
    for (int a = 0; a < HN_ARCH_COUNT; a++)
        for (int r = 0; r < 3; r++) {
            hn_hfconfig c, d;
            hn_err e = { 0 };
            json_t *j;
            hn_buf b = { 0 };
            memset(&c, 0, sizeof c), memset(&d, 0, sizeof d);
            hn_hfconfig_default(&c, (hn_arch)a);
            assert_string_equal(hn_arch_name(c.arch), types[a]);
            c.vocab_size = 99, c.hidden_size = 60, c.intermediate_size = 77, c.n_layer = 2, c.n_head = 6;
            c.n_kv_head = 2, c.head_dim = 14, c.rms_norm_eps = 1e-5, c.tied = r == 1, c.bos = r - 1,
            c.n_eos = r;
            for (int i = 0; i < r; i++) c.eos[i] = 5 + i;
            c.rope = (hn_rope_conf){ (hn_rope_type)r, 123456.75, r ? 2.5 : 1, 0, 0, 0 };
            if (r == 2) c.rope.low_freq_factor = 1, c.rope.high_freq_factor = 4, c.rope.original = 32;
            if (a == HN_ARCH_LLAMA || a == HN_ARCH_QWEN3) c.qkv_bias = c.o_bias = r == 1;
            c.mlp_bias = a == HN_ARCH_LLAMA && r == 2;
            strcpy(c.dtype, "float32");
            assert_int_equal(hn_hfconfig_json(&c, &j, &e), HN_OK);
            assert_int_equal(hn_json_print(&b, j), HN_OK);
            json_decref(j);
            assert_non_null(strstr(b.data, "\"rms_norm_eps\": 1e-05,"));
            assert_non_null(strstr(b.data, "\"torch_dtype\": \"float32\""));
            memset(&d, 0, sizeof d);
            if (parse(&d, b.data, &e)) fail_msg("%s\n%s", e.msg, b.data);
            assert_memory_equal(&c, &d, sizeof c);
            hn_buf_free(&b);
        }
}

static void params(void **state) {
    (void)state;
    hn_hfconfig c;
    good(&c, "{\"model_type\": \"qwen2\", \"vocab_size\": 151936, \"hidden_size\": 896, "
             "\"intermediate_size\": 4864,"
             "\"num_hidden_layers\": 24, \"num_attention_heads\": 14, \"num_key_value_heads\": 2,"
             "\"tie_word_embeddings\": true, \"rope_theta\": 1e6}");
    assert_int_equal(hn_hfconfig_params(&c), 494032768); /* Qwen2.5-0.5B, as transformers counts it */
}

/* ---- edits ---- */
static void patches(void **state) {
    (void)state;
    static const struct {
        const char *text, *key, *value, *want;
    } t[] = {
        { "{\"a\": 1e-06, \"b\" : [1, {\"a\": 2}],\n\t\"c\":\"}\\\"\"}", "c", "3",
          "{\"a\": 1e-06, \"b\" : [1, {\"a\": 2}],\n\t\"c\":3}" },
        { "{\"b\": {\"a\": \"x,]\"}, \"a\": 1e-06}\n", "a", "\"y\"",
          "{\"b\": {\"a\": \"x,]\"}, \"a\": \"y\"}\n" },
        { "{\n  \"a\": 1.50\n}\n", "z", "null", "{\n  \"a\": 1.50,\n  \"z\": null\n}\n" },
        { " { } ", "z", "0.1", " { \n  \"z\": 0.1\n}\n" },
        { "{\"\\u0061\": true, \"b\": false}", "a", "1", "{\"\\u0061\": 1, \"b\": false}" },
        { "{\"a\":true}", "a", "{\"k\":[1,2.0]}",
          "{\"a\":{\n    \"k\": [\n      1,\n      2.0\n    ]\n  }}" },
        { "{ \"a\": [1, 2],\n  \"b\": \"a\" }\n", "a", NULL, "{ \"b\": \"a\" }\n" },
        { "{\"b\": 1, \"a\": \"x,}\" , \"c\": 1e3}", "a", NULL, "{\"b\": 1 , \"c\": 1e3}" },
        { "{\"b\": {\"a\": 1},\n \"a\": 2\n}", "a", NULL, "{\"b\": {\"a\": 1}\n}" },
        { "{ \"a\": 2 }", "a", NULL, "{  }" },
        { "{\"b\": 1}", "a", NULL, "{\"b\": 1}" },
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        hn_buf b = { 0 };
        hn_err e = { 0 };
        json_t *v = t[i].value ? json_loads(t[i].value, JSON_DECODE_ANY, NULL) : NULL;
        assert_int_equal(hn_json_patch(&b, t[i].text, strlen(t[i].text), t[i].key, v, &e), HN_OK);
        assert_string_equal(b.data, t[i].want);
        json_decref(v);
        hn_buf_free(&b);
    }
    hn_buf b = { 0 };
    hn_err e = { 0 };
    assert_int_equal(hn_json_patch(&b, "[1]", 3, "a", json_null(), &e), HN_EPARSE);
}

/* ---- real files ---- */
static void real_files(void **state) {
    (void)state;
    hn_hfconfig c;
    hn_err e = { 0 };
    const char *verl = shared_file("data/weights/verl_arith_llama/config.json");
    const char *smol = shared_file("data/tokenizers/smollm2/config.json");
    const char *qwen = shared_file("data/tokenizers/qwen2/config.json");
    if (!verl || !smol || !qwen) skip();
    assert_int_equal(hn_hfconfig_open(&c, verl, &e), HN_OK);
    assert_true(c.arch == HN_ARCH_LLAMA && c.vocab_size == 16 && c.hidden_size == 128 &&
                c.intermediate_size == 344);
    assert_true(c.n_head == 4 && c.n_layer == 4 && c.eos[0] == 1 && c.bos == -1 && c.pad == 2 && !c.tied);
    assert_int_equal(hn_hfconfig_params(&c), 795776);
    assert_string_equal(c.dtype, "bfloat16");
    assert_int_equal(hn_hfconfig_open(&c, smol, &e), HN_OK);
    assert_true(c.n_head == 9 && c.n_kv_head == 3 && c.tied && c.rope.theta == 1e5 && c.hidden_size == 576);
    assert_int_equal(hn_hfconfig_open(&c, qwen, &e), HN_OK);
    assert_true(c.arch == HN_ARCH_QWEN2 && c.qkv_bias && !c.o_bias && c.head_dim == 128 &&
                c.rope.theta == 1e6);
    assert_int_equal(hn_hfconfig_open(&c, "/nonexistent/config.json", &e), HN_EIO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults), cmocka_unit_test(rope_spellings), cmocka_unit_test(impossible),
        cmocka_unit_test(windows),  cmocka_unit_test(round_trip),     cmocka_unit_test(params),
        cmocka_unit_test(patches),  cmocka_unit_test(real_files),
    };
    return cmocka_run_group_tests_name("hfconfig", tests, NULL, NULL) ? 1 : 0;
}
