/* hfdir.c - model directories: shards and their lies, what a save keeps, and saves that a disk interrupts. */
#include "format/hfdir.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "shared.h"

/* Odd spacing, an unknown key, a number that no printer would write so: all must survive a save. */
static const char config[] =
    "{\n  \"model_type\": \"llama\",   \"_mystery\": {\"deep\": [1e-06, 2.50]},\n"
    "  \"vocab_size\": 11, \"hidden_size\": 8, \"intermediate_size\": 12,\n"
    "  \"num_hidden_layers\": 1, \"num_attention_heads\": 2,\n"
    "  \"eos_token_id\": 2, \"rms_norm_eps\": 1e-06,\n"
    "  \"rope_parameters\": {\"rope_theta\": 5e5, \"rope_type\": \"linear\", \"factor\": 2.0},\n"
    "  \"dtype\": \"bfloat16\",\n  \"tie_word_embeddings\": true\n}\n";
static const char generation[] =
    "{ \"eos_token_id\": [2,  3], \"temperature\":0.50, \"do_sample\": true, \"top_k\":null }";

static const hn_hftensor tensors[] = {
    { "model.embed_tokens.weight", 2, { 11, 8 } },
    { "model.norm.weight", 1, { 8 } },
    { "model.layers.0.self_attn.q_proj.weight", 2, { 8, 8 } },
    { "model.layers.0.mlp.up_proj.weight", 2, { 12, 8 } },
};
enum { TENSORS = 4 };

static const char *root;
static hn_arena *paths;

static const char *at(const char *dir, const char *name) {
    char *p = hn_arena_get(paths, strlen(dir) + strlen(name) + 2);
    sprintf(p, "%s/%s", dir, name);
    return p;
}

static void put(const char *path, const char *text) {
    hn_err e = { 0 };
    if (hn_file_write(path, text, strlen(text), &e)) fail_msg("%s", e.msg);
}

static char *get(const char *path) {
    char *p;
    size_t n;
    hn_err e = { 0 };
    if (hn_file_read(path, &p, &n, &e)) fail_msg("%s", e.msg);
    return p;
}

static void same_file(const char *a, const char *b) {
    char *x = get(a), *y = get(b);
    assert_string_equal(x, y);
    hn_free(x);
    hn_free(y);
}

static int64_t elements(int64_t i) {
    int64_t n = 1;
    for (int k = 0; k < tensors[i].rank; k++) n *= tensors[i].shape[k];
    return n;
}

static float value(int64_t i, int64_t k, int salt) { return (float)(1000 * i + k) + 0.25f * (float)salt; }

static int give(void *ctx, int64_t i, hn_st_writer *w, hn_err *e) {
    float x[128];
    for (int64_t k = 0; k < elements(i); k++) x[k] = value(i, k, *(int *)ctx);
    return hn_st_writer_f32(w, x, elements(i), e);
}

static hn_hfsave plan(const char *source, int *salt) {
    return (hn_hfsave){
        .source = source, .dtype = HN_ST_F32, .tensor = tensors, .n = TENSORS, .data = give, .ctx = salt
    };
}

/* A source directory with everything a real one has but weights. */
static const char *source_dir(void) {
    const char *dir = at(root, "source");
    hn_err e = { 0 };
    assert_int_equal(hn_dir_make(at(dir, "additional_chat_templates"), &e), HN_OK);
    put(at(dir, "config.json"), config);
    put(at(dir, "generation_config.json"), generation);
    put(at(dir, "tokenizer.json"), "{ }");
    put(at(dir, "merges.txt"), "a b\n");
    put(at(dir, "empty.tiktoken"), "");
    put(at(dir, "chat_template.jinja"), "{{ x }}");
    put(at(dir, "additional_chat_templates/tool.jinja"), "{{ y }}");
    put(at(dir, "LICENSE"), "free");
    put(at(dir, "README.md"), "of the old model");
    return dir;
}

static void check_tensors(const char *dir, int salt) {
    hn_hfdir *d;
    hn_err e = { 0 };
    float x[128];
    if (hn_hfdir_open(&d, dir, &e)) fail_msg("%s", e.msg);
    assert_int_equal(hn_hfdir_count(d), TENSORS);
    for (int64_t i = 0; i < TENSORS; i++) {
        const hn_st_tensor *t;
        assert_int_equal(hn_hfdir_need(d, tensors[i].name, tensors[i].rank, tensors[i].shape, &t, &e), HN_OK);
        assert_int_equal(hn_st_to_f32(t, 0, t->count, x, &e), HN_OK);
        for (int64_t k = 0; k < t->count; k++) assert_true(x[k] == value(i, k, salt));
    }
    assert_int_equal(hn_hfdir_rest(d, &e), HN_OK);
    hn_hfdir_close(d);
}

/* ---- what a save keeps ---- */
static void keeps_all(void **state) {
    (void)state;
    int salt = 1;
    const char *src = source_dir(), *out = at(root, "kept");
    static const char *const copied[] = { "generation_config.json",
                                          "tokenizer.json",
                                          "merges.txt",
                                          "empty.tiktoken",
                                          "chat_template.jinja",
                                          "additional_chat_templates/tool.jinja",
                                          "LICENSE" };
    hn_err e = { 0 };
    hn_hfsave s = plan(src, &salt);
    json_t *set = json_pack("{s:i}", "new_key", 7);
    s.config = set;
    if (hn_hfdir_save(out, &s, &e)) fail_msg("%s", e.msg);
    json_decref(set);
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++)
        same_file(at(src, copied[i]), at(out, copied[i]));
    assert_false(hn_path_exists(at(out, "README.md")));
    char *text = get(at(out, "config.json"));
    assert_non_null(strstr(text, "\"model_type\": \"llama\",   \"_mystery\": {\"deep\": [1e-06, 2.50]},\n"));
    assert_non_null(strstr(text, "\"dtype\": \"float32\",\n"));
    assert_non_null(strstr(text, "\"torch_dtype\": \"float32\""));
    assert_non_null(strstr(text, "\"new_key\": 7"));
    assert_non_null(strstr(text, "\"rope_theta\": 500000.0"));
    hn_free(text);
    check_tensors(out, 1);

    hn_hfdir *d;
    assert_int_equal(hn_hfdir_open(&d, out, &e), HN_OK);
    const hn_gencfg *g = hn_hfdir_generation(d);
    assert_true(g->n_eos == 2 && g->eos[1] == 3 && g->temperature == 0.5 && g->do_sample == 1 &&
                g->top_k == -1);
    assert_true(isnan(g->top_p) && g->bos == -1);
    const hn_hfconfig *c = hn_hfdir_config(d);
    assert_true(c->rope.type == HN_ROPE_LINEAR && c->rope.theta == 5e5 && c->tied && c->n_eos == 1);
    assert_int_equal(json_integer_value(json_object_get(hn_hfdir_json(d), "new_key")), 7);
    const json_t *old =
        json_object_get(hn_hfdir_json(d), "rope_scaling"); /* for readers older than version 5 */
    assert_string_equal(json_string_value(json_object_get(old, "rope_type")), "linear");
    hn_hfdir_close(d);

    salt = 2; /* again over itself, from itself, in bf16 */
    s = plan(out, &salt);
    s.dtype = HN_ST_BF16;
    if (hn_hfdir_save(out, &s, &e)) fail_msg("%s", e.msg);
    text = get(at(out, "config.json"));
    assert_non_null(strstr(text, "\"torch_dtype\": \"bfloat16\""));
    assert_null(strstr(text, "float32"));
    hn_free(text);
    assert_int_equal(hn_hfdir_open(&d, out, &e), HN_OK);
    assert_int_equal(hn_hfdir_find(d, "model.norm.weight")->dtype, HN_ST_BF16);
    hn_hfdir_close(d);
}

static int tokenizer(void *ctx, const char *dir, hn_err *e) {
    (void)ctx;
    return hn_file_write(at(dir, "tokenizer.json"), "{}", 2, e);
}

static void new_model(void **state) {
    (void)state;
    int salt = 4;
    hn_hfconfig c;
    hn_err e = { 0 };
    json_t *j;
    const char *out = at(root, "new");
    hn_hfconfig_default(&c, HN_ARCH_LLAMA);
    c.vocab_size = 11, c.hidden_size = 8, c.intermediate_size = 12, c.n_layer = 1, c.n_head = c.n_kv_head = 2;
    c.head_dim = 4, c.tied = true;
    assert_int_equal(hn_hfconfig_json(&c, &j, &e), HN_OK);
    hn_hfsave s = plan(NULL, &salt);
    s.config = j;
    s.more = tokenizer;
    if (hn_hfdir_save(at(root, "new/"), &s, &e)) fail_msg("%s", e.msg);
    json_decref(j);
    check_tensors(out, 4);
    assert_true(hn_path_exists(at(out, "tokenizer.json")));
}

static void foreign_files_stay(void **state) {
    (void)state;
    int salt = 1;
    const char *out = at(root, "foreign");
    hn_err e = { 0 };
    assert_int_equal(hn_dir_make(out, &e), HN_OK);
    put(at(out, "thesis.tex"), "years of work");
    hn_hfsave s = plan(source_dir(), &salt);
    assert_int_equal(hn_hfdir_save(out, &s, &e), HN_EIO);
    assert_non_null(strstr(e.msg, "thesis.tex"));
    assert_true(hn_path_exists(at(out, "thesis.tex")));
    s.replace = true;
    e.code = 0;
    if (hn_hfdir_save(out, &s, &e)) fail_msg("%s", e.msg);
    assert_false(hn_path_exists(at(out, "thesis.tex")));
}

/* Saved through a link, what it points to is replaced and the link stays. */
static void through_a_link(void **state) {
    (void)state;
    int salt = 1;
    struct stat st;
    const char *real = at(root, "real"), *alias = at(root, "alias");
    hn_err e = { 0 };
    hn_hfsave s = plan(source_dir(), &salt);
    assert_int_equal(hn_hfdir_save(real, &s, &e), HN_OK);
    assert_int_equal(symlink("real", alias), 0);
    salt = 2;
    if (hn_hfdir_save(alias, &s, &e)) fail_msg("%s", e.msg);
    assert_true(!lstat(alias, &st) && S_ISLNK(st.st_mode));
    check_tensors(real, 2);
}

/* ---- shards ---- */
static const char *sharded(void) {
    static int salt = 3;
    const char *out = at(root, "sharded");
    hn_err e = { 0 };
    hn_hfsave s = plan(source_dir(), &salt);
    s.replace = true;
    s.shard_bytes = 360; /* 352 | 32 + 256 | 384 */
    if (hn_hfdir_save(out, &s, &e)) fail_msg("%s", e.msg);
    return out;
}

static void shards(void **state) {
    (void)state;
    const char *out = sharded();
    assert_false(hn_path_exists(at(out, "model.safetensors")));
    assert_true(hn_path_exists(at(out, "model-00003-of-00003.safetensors")));
    char *index = get(at(out, "model.safetensors.index.json"));
    assert_non_null(strstr(index, "\"total_size\": 1024"));
    assert_non_null(strstr(index, "\"model.norm.weight\": \"model-00002-of-00003.safetensors\""));
    hn_free(index);
    check_tensors(out, 3);
}

static void refuse(const char *dir, int code, const char *says) {
    hn_hfdir *d;
    hn_err e = { 0 };
    assert_int_equal(hn_hfdir_open(&d, dir, &e), code);
    assert_null(d);
    if (!strstr(e.msg, says) || !strstr(e.msg, dir)) fail_msg("\"%s\" does not say \"%s\"", e.msg, says);
}

static void index_with(const char *dir, const char *map) {
    hn_buf b = { 0 };
    hn_buf_fmt(&b, "{\"weight_map\": %s}", map);
    put(at(dir, "model.safetensors.index.json"), b.data);
    hn_buf_free(&b);
}

static void bad_shards(void **state) {
    (void)state;
    hn_err e = { 0 };
    const char *out = sharded();
#define S1 "\"model.embed_tokens.weight\":\"model-00001-of-00003.safetensors\""
    index_with(out, "{" S1 "}");
    hn_hfdir *d;
    assert_int_equal(hn_hfdir_open(&d, out, &e), HN_OK); /* a smaller but consistent index is fine */
    hn_hfdir_close(d);
    index_with(out, "{" S1 ",\"model.norm.weight\":\"model-00009-of-00003.safetensors\"}");
    refuse(out, HN_EIO, "model-00009-of-00003.safetensors");
    refuse(out, HN_EIO, "\"model.norm.weight\"");
    index_with(out, "{" S1 ",\"model.norm.weight\":\"model-00003-of-00003.safetensors\"}");
    refuse(out, HN_EPARSE, "\"model.norm.weight\"");
    index_with(out, "{" S1 ",\"model.norm.weight\":\"model-00002-of-00003.safetensors\"}");
    refuse(out, HN_EPARSE, "q_proj.weight\" of");
    index_with(out, "{" S1 ",\"b\":\"../evil.safetensors\"}");
    refuse(out, HN_EPARSE, "../evil");
    index_with(out, "{" S1 ",\"b\":3}");
    refuse(out, HN_EPARSE, "weight_map.b");
    index_with(out, "{}");
    refuse(out, HN_EPARSE, "empty");
    index_with(out, "[]");
    refuse(out, HN_EPARSE, "weight_map");
    put(at(out, "model.safetensors.index.json"), "{");
    refuse(out, HN_EPARSE, "index.json");

    out = sharded(); /* one tensor in two files */
    index_with(out, "{" S1 ",\"model.norm.weight\":\"model-00002-of-00003.safetensors\","
                    "\"model.layers.0.self_attn.q_proj.weight\":\"copy.safetensors\"}");
    assert_int_equal(
        hn_file_copy(at(out, "model-00002-of-00003.safetensors"), at(out, "copy.safetensors"), &e), HN_OK);
    refuse(out, HN_EPARSE, "copy.safetensors");
    refuse(out, HN_EPARSE, "twice");
}

static void bad_directories(void **state) {
    (void)state;
    hn_err e = { 0 };
    const char *src = source_dir();
    refuse(src, HN_EIO, "neither model.safetensors");
    put(at(src, "pytorch_model.bin"), "x");
    refuse(src, HN_EIO, "pickle");
    put(at(src, "model.safetensors"), "x");
    refuse(src, HN_EPARSE, "model.safetensors");
    put(at(src, "generation_config.json"), "{\"temperature\": \"hot\"}");
    refuse(src, HN_EPARSE, "generation_config.json: temperature");
    put(at(src, "generation_config.json"), "{\"eos_token_id\": 11}");
    refuse(src, HN_ERANGE, "eos_token_id 11");
    put(at(src, "config.json"), "{\"model_type\": \"llama\",\n}");
    refuse(src, HN_EPARSE, "config.json: line 2");
    refuse(at(root, "nowhere"), HN_EIO, "not a directory");
    assert_int_equal(hn_dir_remove(src, &e), HN_OK);
}

static void shapes_and_rest(void **state) {
    (void)state;
    static const int64_t wrong[] = { 8, 11 };
    const char *out = sharded();
    const hn_st_tensor *t;
    hn_hfdir *d;
    hn_err e = { 0 };
    assert_int_equal(hn_hfdir_open(&d, out, &e), HN_OK);
    assert_int_equal(hn_hfdir_need(d, "lm_head.weight", 2, wrong, &t, &e), HN_EPARSE);
    assert_non_null(strstr(e.msg, "\"lm_head.weight\" is missing"));
    e.code = 0;
    assert_int_equal(hn_hfdir_need(d, "model.embed_tokens.weight", 2, wrong, &t, &e), HN_EPARSE);
    assert_non_null(strstr(e.msg, "has shape [11, 8], config.json asks for [8, 11]"));
    e.code = 0;
    assert_int_equal(hn_hfdir_rest(d, &e), HN_EUNSUP);
    assert_non_null(strstr(e.msg, "model.embed_tokens.weight"));
    hn_hfdir_close(d);
}

/* A tied model may carry its head when it is the embedding, and only then. */
static int give_head(void *ctx, int64_t i, hn_st_writer *w, hn_err *e) {
    float x[88];
    for (int k = 0; k < 88; k++) x[k] = (float)k;
    if (i == 2) x[87] += (float)*(int *)ctx;
    return hn_st_writer_f32(w, x, i == 1 ? 4 : 88, e);
}

static void tied_head(void **state) {
    (void)state;
    static const hn_hftensor three[] = { { "model.embed_tokens.weight", 2, { 11, 8 } },
                                         { "model.layers.0.self_attn.rotary_emb.inv_freq", 1, { 4 } },
                                         { "lm_head.weight", 2, { 11, 8 } } };
    for (int differs = 0; differs < 2; differs++) {
        const hn_st_tensor *t;
        const char *out = at(root, "tied");
        hn_hfdir *d;
        hn_err e = { 0 };
        hn_hfsave s = { .source = source_dir(), .tensor = three, .n = 3, .data = give_head, .ctx = &differs };
        if (hn_hfdir_save(out, &s, &e)) fail_msg("%s", e.msg);
        assert_int_equal(hn_hfdir_open(&d, out, &e), HN_OK);
        assert_int_equal(hn_hfdir_need(d, "model.embed_tokens.weight", 2, three[0].shape, &t, &e), HN_OK);
        assert_int_equal(hn_hfdir_rest(d, &e), differs ? HN_EUNSUP : HN_OK);
        if (differs) assert_non_null(strstr(e.msg, "tie_word_embeddings"));
        hn_hfdir_close(d);
    }
}

/* ---- a disk that refuses the n-th operation ---- */
static void save_torture(void **state) {
    (void)state;
    static const int faults[] = { ENOSPC, 0 };
    const char *src = at(root, "small"), *out = at(root, "torture");
    assert_int_equal(hn_dir_make(src, NULL), HN_OK);
    put(at(src, "config.json"), config);
    put(at(src, "tokenizer.json"), "{}");
    long failed = 0;
    for (int f = 0; f < 2; f++)
        for (long n = 0;; n++) {
            int salt = 5;
            hn_err e = { 0 };
            hn_hfsave s = plan(src, &salt);
            s.shard_bytes = 400;
            assert_int_equal(hn_dir_remove(out, &e), HN_OK);
            if (hn_hfdir_save(out, &s, &e)) fail_msg("%s", e.msg);
            salt = 6;
            hn_io_fault = faults[f];
            hn_io_fuse = n;
            int rc = hn_hfdir_save(out, &s, &e);
            bool spent = hn_io_fuse == 0;
            hn_io_fuse = -1;
            assert_true(rc == HN_OK || rc == HN_EIO);
            if (rc) assert_non_null(strstr(e.msg, root)), failed++;
            hn_hfdir *d;
            hn_err none = { 0 };
            if (hn_hfdir_open(&d, out, &none)) fail_msg("after operation %ld: %s", n, none.msg);
            float x;
            assert_int_equal(hn_st_to_f32(hn_hfdir_find(d, "model.norm.weight"), 0, 1, &x, &none), HN_OK);
            hn_hfdir_close(d);
            int now = x == value(1, 0, 6) ? 6 : 5;
            check_tensors(out, now);
            if (!rc) assert_int_equal(now, 6);
            if (!rc && !spent) break;
            assert_true(n < 2000);
        }
    assert_true(failed > 50);
}

static int nothing(void *ctx, int64_t i, hn_st_writer *w, hn_err *e) {
    (void)ctx, (void)w;
    return i == 2 ? hn_fail(e, HN_ESTOP, "stopped") : give(&(int){ 9 }, i, w, e);
}

static void stopped_save(void **state) {
    (void)state;
    int salt = 7;
    const char *out = at(root, "stopped");
    hn_err e = { 0 };
    hn_hfsave s = plan(source_dir(), &salt);
    assert_int_equal(hn_hfdir_save(out, &s, &e), HN_OK);
    s.data = nothing;
    assert_int_equal(hn_hfdir_save(out, &s, &e), HN_ESTOP);
    check_tensors(out, 7);
    assert_false(hn_path_exists(at(root, "stopped.hone-new")));
    s.data = give;
    s.shard_bytes = 1;
    const char *file = at(root, "a_file");
    put(file, "x");
    e.code = 0;
    assert_int_equal(hn_hfdir_save(file, &s, &e), HN_EIO);
    assert_non_null(strstr(e.msg, "a_file"));
    assert_false(hn_path_exists(at(root, "a_file.hone-new")));
}

static void no_memory(void **state) {
    (void)state;
    int salt = 8;
    const char *out = at(root, "memory");
    hn_hfsave s = plan(source_dir(), &salt);
    s.shard_bytes = 400;
    json_set_alloc_funcs(hn_alloc, hn_free);
    for (long n = 0;; n++) {
        hn_err e = { 0 };
        hn_hfdir *d = NULL;
        hn_alloc_fuse = n;
        int rc = hn_hfdir_save(out, &s, &e);
        if (!rc) rc = hn_hfdir_open(&d, out, &e);
        hn_alloc_fuse = -1;
        hn_hfdir_close(d);
        if (!rc) break;
        assert_true(rc == HN_ENOMEM || rc == HN_EPARSE); /* jansson takes some for errors of syntax */
        assert_true(n < 5000);
    }
    json_set_alloc_funcs(malloc, free);
}

static void real_model(void **state) {
    (void)state;
    const char *dir = shared_file("data/weights/verl_arith_llama");
    hn_hfdir *d;
    hn_err e = { 0 };
    if (!dir) skip();
    if (hn_hfdir_open(&d, dir, &e)) fail_msg("%s", e.msg);
    assert_int_equal(hn_hfdir_count(d), 39);
    int64_t n = 0;
    for (int64_t i = 0; i < 39; i++) n += hn_hfdir_at(d, i)->count;
    assert_int_equal(n, hn_hfconfig_params(hn_hfdir_config(d)));
    assert_true(hn_hfdir_generation(d)->n_eos == 1 && hn_hfdir_generation(d)->pad == 2);
    hn_hfdir_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_all),          cmocka_unit_test(new_model),
        cmocka_unit_test(foreign_files_stay), cmocka_unit_test(shards),
        cmocka_unit_test(bad_shards),         cmocka_unit_test(bad_directories),
        cmocka_unit_test(shapes_and_rest),    cmocka_unit_test(tied_head),
        cmocka_unit_test(through_a_link),     cmocka_unit_test(save_torture),
        cmocka_unit_test(stopped_save),       cmocka_unit_test(no_memory),
        cmocka_unit_test(real_model),
    };
    root = scratch_dir();
    paths = hn_arena_new(1 << 16);
    if (!root || !paths) return 1;
    int rc = cmocka_run_group_tests_name("hfdir", tests, NULL, NULL);
    hn_dir_remove(root, NULL);
    hn_arena_free(paths);
    return rc ? 1 : 0;
}
