/* llama2c.c - a checkpoint written here, number by number, against what the import makes of it; the real
 * stories260K; files that lie. */
#include "format/llama2c.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "format/hfdir.h"
#include "shared.h"

static const char *root;
static hn_arena *paths;

static const char *at(const char *dir, const char *name) {
    char *p = hn_arena_get(paths, strlen(dir) + strlen(name) + 2);
    sprintf(p, "%s/%s", dir, name);
    return p;
}

/* dim 8, 2 heads of 4, 1 key-value head, ffn 3, 2 layers, 5 tokens, 6 positions.  A weight is its own place:
 * 1000 * kind + position, so that every number of the result can be told. */
enum { DIM = 8, FFN = 3, LAYERS = 2, HEADS = 2, KV = 1, VOCAB = 5, LEN = 6, HEAD = 4 };
enum { EMBED, ATT, WQ, WK, WV, WO, FFN_NORM, W1, W2, W3, FINAL, HEAD_W = 13 };

static void floats(hn_buf *b, int kind, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float x = (float)(1000 * kind + i);
        hn_buf_add(b, &x, 4);
    }
}

static void checkpoint(hn_buf *b, bool shared, double theta) {
    int32_t head[] = { DIM, FFN, LAYERS, HEADS, KV, shared ? VOCAB : -VOCAB, LEN };
    static const int64_t size[] = { VOCAB * DIM,
                                    LAYERS * DIM,
                                    LAYERS * DIM * DIM,
                                    LAYERS * HEAD * DIM,
                                    LAYERS * HEAD * DIM,
                                    LAYERS * DIM * DIM,
                                    LAYERS * DIM,
                                    LAYERS * FFN * DIM,
                                    LAYERS * FFN * DIM,
                                    LAYERS * FFN * DIM,
                                    DIM };
    hn_buf_clear(b);
    hn_buf_add(b, head, sizeof head);
    for (int k = 0; k <= FINAL; k++) floats(b, k, size[k]);
    for (int k = 0; k < 2; k++)
        for (int p = 0; p < LEN; p++)
            for (int i = 0; i < HEAD / 2; i++) {
                double a = p * pow(theta, -2.0 * i / HEAD);
                float x = (float)(k ? sin(a) : cos(a));
                hn_buf_add(b, &x, 4);
            }
    if (!shared) floats(b, HEAD_W, VOCAB * DIM);
}

static void has(const hn_hfdir *d, const char *name, int kind, int64_t first, int64_t rows, int64_t cols,
                bool heads) {
    const hn_st_tensor *t = hn_hfdir_find(d, name);
    float x[64];
    hn_err e = { 0 };
    assert_non_null(t);
    assert_int_equal(t->count, rows * cols);
    assert_int_equal(t->shape[t->rank - 1], cols);
    assert_int_equal(hn_st_to_f32(t, 0, t->count, x, &e), HN_OK);
    static const int64_t from[HEAD] = { 0, 2, 1, 3 }; /* halves (0,1 | 2,3) from pairs (0,1), (2,3) */
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            int64_t old = heads ? r / HEAD * HEAD + from[r % HEAD] : r;
            assert_true(x[r * cols + c] == (float)(1000 * kind + first + old * cols + c));
        }
}

static int tokenizer(void *ctx, const char *dir, hn_err *e) {
    return hn_file_write(at(dir, "tokenizer.json"), ctx, 2, e);
}

static void every_number(void **state) {
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        hn_buf b = { 0 };
        hn_err e = { 0 };
        hn_hfdir *d;
        const char *file = at(root, "small.bin"), *out = at(root, "small");
        checkpoint(&b, shared, 10000);
        assert_int_equal(hn_file_write(file, b.data, b.n, &e), HN_OK);
        if (hn_llama2c_convert(file, out, tokenizer, "{}", &e)) fail_msg("%s", e.msg);
        assert_true(hn_path_exists(at(out, "tokenizer.json")));
        if (hn_hfdir_open(&d, out, &e)) fail_msg("%s", e.msg);
        const hn_hfconfig *c = hn_hfdir_config(d);
        assert_true(c->tied == shared && c->n_kv_head == KV && c->rms_norm_eps == 1e-5 &&
                    c->rope.theta == 10000);
        assert_true(c->bos == 1 && c->n_eos == 2 && c->eos[0] == 2 && c->max_position_embeddings == LEN);
        assert_int_equal(hn_hfdir_count(d), 9 * LAYERS + 2 + !shared);
        has(d, "model.embed_tokens.weight", EMBED, 0, VOCAB, DIM, false);
        has(d, "model.norm.weight", FINAL, 0, 1, DIM, false);
        if (!shared) has(d, "lm_head.weight", HEAD_W, 0, VOCAB, DIM, false);
        has(d, "model.layers.1.input_layernorm.weight", ATT, DIM, 1, DIM, false);
        has(d, "model.layers.1.post_attention_layernorm.weight", FFN_NORM, DIM, 1, DIM, false);
        has(d, "model.layers.0.self_attn.q_proj.weight", WQ, 0, DIM, DIM, true);
        has(d, "model.layers.1.self_attn.q_proj.weight", WQ, DIM * DIM, DIM, DIM, true);
        has(d, "model.layers.1.self_attn.k_proj.weight", WK, HEAD * DIM, HEAD, DIM, true);
        has(d, "model.layers.1.self_attn.v_proj.weight", WV, HEAD * DIM, HEAD, DIM, false);
        has(d, "model.layers.1.self_attn.o_proj.weight", WO, DIM * DIM, DIM, DIM, false);
        has(d, "model.layers.1.mlp.gate_proj.weight", W1, FFN * DIM, FFN, DIM, false);
        has(d, "model.layers.1.mlp.down_proj.weight", W2, FFN * DIM, DIM, FFN, false);
        has(d, "model.layers.0.mlp.up_proj.weight", W3, 0, FFN, DIM, false);
        hn_hfdir_close(d);
        hn_buf_free(&b);
    }
}

/* ---- lies ---- */
static int read_bytes(const char *p, size_t n, hn_err *e) {
    hn_hfconfig c;
    const char *file = at(root, "lie.bin");
    assert_int_equal(hn_file_write(file, p, n, NULL), HN_OK);
    int rc = hn_llama2c_shape(&c, file, e);
    if (rc) assert_non_null(strstr(e->msg, "lie.bin"));
    return rc;
}

static void lies(void **state) {
    (void)state;
    static const int32_t values[] = { 0, -1, 3, 1 << 20, INT32_MAX, INT32_MIN };
    hn_buf b = { 0 };
    hn_err e = { 0 };
    checkpoint(&b, true, 10000);
    assert_int_equal(read_bytes(b.data, b.n, &e), HN_OK);
    for (size_t n = 0; n <= b.n + 4; n += n < 40 ? 1 : 101) {
        char *p = hn_alloc(b.n + 8);
        memcpy(p, b.data, b.n);
        e.code = 0;
        if (n != b.n) assert_int_equal(read_bytes(p, n, &e), HN_EPARSE);
        hn_free(p);
    }
    for (int i = 0; i < 7; i++)
        for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
            char was[4];
            if (memcmp(b.data + 4 * i, &values[k], 4) == 0) continue;
            memcpy(was, b.data + 4 * i, 4);
            memcpy(b.data + 4 * i, &values[k], 4);
            e.code = 0;
            int rc = read_bytes(b.data, b.n, &e);
            assert_true(rc == HN_EPARSE || rc == HN_ERANGE);
            memcpy(b.data + 4 * i, was, 4);
        }
    int32_t magic[] = { 0x616b3432, 2 };
    memcpy(b.data, magic, sizeof magic);
    e.code = 0;
    assert_int_equal(read_bytes(b.data, b.n, &e), HN_EUNSUP);
    assert_non_null(strstr(e.msg, "version 2"));
    checkpoint(&b, true, 500000);
    e.code = 0;
    assert_int_equal(read_bytes(b.data, b.n, &e), HN_EUNSUP);
    assert_non_null(strstr(e.msg, "rotary"));
    hn_buf_free(&b);
}

/* ---- the real one; its import was compared with transformers: greedy text equal over 200 tokens ---- */
static void stories(void **state) {
    (void)state;
    const char *file = shared_file("data/weights/stories260K/stories260K.bin"), *out = at(root, "stories");
    hn_err e = { 0 };
    hn_hfdir *d;
    if (!file) skip();
    if (hn_llama2c_convert(file, out, NULL, NULL, &e)) fail_msg("%s", e.msg);
    if (hn_hfdir_open(&d, out, &e)) fail_msg("%s", e.msg);
    const hn_hfconfig *c = hn_hfdir_config(d);
    assert_true(c->hidden_size == 64 && c->n_layer == 5 && c->n_head == 8 && c->n_kv_head == 4 &&
                c->vocab_size == 512);
    assert_true(c->intermediate_size == 172 && c->max_position_embeddings == 512 && c->tied);
    int64_t n = 0;
    for (int64_t i = 0; i < hn_hfdir_count(d); i++) n += hn_hfdir_at(d, i)->count;
    assert_int_equal(n, 259776 + 256); /* 260,032 parameters */
    assert_int_equal(n, hn_hfconfig_params(c));
    hn_hfdir_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_number), cmocka_unit_test(lies),
                                        cmocka_unit_test(stories) };
    root = scratch_dir();
    paths = hn_arena_new(1 << 16);
    if (!root || !paths) return 1;
    int rc = cmocka_run_group_tests_name("llama2c", tests, NULL, NULL);
    hn_dir_remove(root, NULL);
    hn_arena_free(paths);
    return rc ? 1 : 0;
}
