/* tokenizer_lists.c - tokenizers from the lists of GGUF vocabularies and back: ids against the published
 * cases, lists that come back as they were given, and lists that are refused. */
#include "text/tokenizer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "shared.h"
#include "torture.h"

/* ---- just enough of GGUF: key, kind, values ---- */
typedef struct vocab {
    char *data;
    const char *p;
    hn_arena *arena;
    hn_tok_lists l;
} vocab;

static uint64_t take(vocab *g, size_t n) {
    uint64_t v = 0;
    memcpy(&v, g->p, n);
    g->p += n;
    return v;
}

static const char *take_str(vocab *g) {
    size_t n = take(g, 8);
    const char *s = hn_arena_str(g->arena, g->p, n);
    g->p += n;
    return s;
}

static void take_list(vocab *g, const char *key) {
    uint64_t kind = take(g, 4), n = take(g, 8);
    const char **s = kind == 8 ? hn_arena_get(g->arena, n * sizeof *s) : NULL;
    const char *at = g->p;
    for (uint64_t i = 0; s && i < n; i++) s[i] = take_str(g);
    if (!s) g->p += 4 * n;
    void *numbers = s ? NULL : hn_arena_get(g->arena, 4 * n);
    if (numbers) memcpy(numbers, at, 4 * n);
    if (!strcmp(key, "tokenizer.ggml.tokens")) g->l.token = s, g->l.n = (int)n;
    if (!strcmp(key, "tokenizer.ggml.merges")) g->l.merge = s, g->l.n_merge = (int64_t)n;
    if (!strcmp(key, "tokenizer.ggml.scores")) g->l.score = numbers;
    if (!strcmp(key, "tokenizer.ggml.token_type")) g->l.type = numbers;
}

static void take_pair(vocab *g) {
    static const struct {
        const char *key;
        hn_tok_role role;
    } ids[] = { { "tokenizer.ggml.bos_token_id", HN_TOK_BOS },
                { "tokenizer.ggml.eos_token_id", HN_TOK_EOS },
                { "tokenizer.ggml.unknown_token_id", HN_TOK_UNK } };
    const char *key = take_str(g);
    uint64_t kind = take(g, 4), v = 0;
    if (kind == 9) {
        take_list(g, key);
        return;
    }
    const char *s = kind == 8 ? take_str(g) : NULL;
    if (!s) v = take(g, kind == 7 || kind < 2 ? 1 : kind < 4 ? 2 : kind < 7 ? 4 : 8);
    for (int i = 0; i < 3; i++)
        if (!strcmp(key, ids[i].key)) g->l.role[ids[i].role] = (int32_t)v;
    if (!strcmp(key, "tokenizer.ggml.model")) g->l.model = s;
    if (!strcmp(key, "tokenizer.ggml.pre")) g->l.pre = s;
}

static bool read_vocab(vocab *g, const char *name) {
    const char *path = shared_file(name);
    size_t n;
    if (!path) return false;
    *g = (vocab){ .arena = hn_arena_new(1 << 20), .l.role = { -1, -1, -1, -1, -1, -1, -1 } };
    assert_int_equal(hn_file_read(path, &g->data, &n, NULL), HN_OK);
    g->p = g->data + 16;
    g->l.add_space = true;
    for (uint64_t i = take(g, 8); i; i--) take_pair(g);
    assert_true(g->p <= g->data + n);
    return true;
}

/* ---- published ids ---- */
static void same_cases(const hn_tok *t, const char *cases) {
    json_error_t err;
    char *line = NULL;
    size_t cap = 0;
    int k = 0;
    FILE *f = fopen(shared_file(cases), "r");
    assert_non_null(f);
    while (getline(&line, &cap, f) > 0) {
        json_t *c = json_loads(line, 0, &err);
        const char *text = json_string_value(json_object_get(c, "text"));
        const json_t *want = json_object_get(c, "ids");
        hn_ids ids = { 0 };
        k++;
        assert_int_equal(hn_tok_encode(t, text, strlen(text), false, &ids, NULL), HN_OK);
        if ((size_t)ids.n != json_array_size(want)) fail_msg("case %d: %lld ids", k, (long long)ids.n);
        for (int64_t i = 0; i < ids.n; i++)
            if (ids.id[i] != json_integer_value(json_array_get(want, (size_t)i)))
                fail_msg("case %d: id %lld is %d", k, (long long)i, ids.id[i]);
        hn_buf out = { 0 };
        assert_int_equal(hn_tok_decode(t, ids.id, ids.n, false, &out, NULL), HN_OK);
        assert_string_equal(out.data ? out.data : "", text);
        hn_buf_free(&out);
        hn_ids_free(&ids);
        json_decref(c);
    }
    assert_int_equal(k, 24);
    free(line);
    fclose(f);
}

/* The lists of what was made from lists are those lists, but for types that older files write in other ways.
 */
static void same_lists(const hn_tok *t, const hn_tok_lists *want, int n_min) {
    hn_arena *a = hn_arena_new(1 << 16);
    hn_tok_lists got;
    hn_err e = { 0 };
    if (hn_tok_to_lists(t, n_min, &got, a, &e)) fail_msg("%s", e.msg);
    assert_string_equal(got.model, want->model);
    if (want->pre && !want->score) assert_string_equal(got.pre, want->pre);
    assert_int_equal(got.n, n_min > want->n ? n_min : want->n);
    assert_int_equal(got.n_merge, want->n_merge);
    for (int i = 0; i < want->n; i++) {
        assert_string_equal(got.token[i], want->token[i]);
        if (want->score && got.score[i] != want->score[i]) fail_msg("score %d", i);
        int was = want->type[i] == HN_TOK_UNKNOWN ? HN_TOK_CONTROL : want->type[i],
            is = got.type[i] == HN_TOK_UNKNOWN ? HN_TOK_CONTROL : got.type[i];
        if (was != is) fail_msg("type %d: %d, was %d", i, is, was);
    }
    for (int64_t i = 0; i < got.n_merge; i++) assert_string_equal(got.merge[i], want->merge[i]);
    for (int r = 0; r < 3; r++) assert_int_equal(got.role[r] < 0 && want->role[r] >= 0, 0);
    if (n_min > want->n) {
        char pad[24];
        snprintf(pad, sizeof pad, "[PAD%d]", n_min - 1);
        assert_string_equal(got.token[n_min - 1], pad);
        assert_int_equal(got.type[n_min - 1], HN_TOK_UNUSED);
    }
    hn_arena_free(a);
}

static void published(const char *file, const char *cases) {
    vocab g;
    hn_tok *t;
    hn_err e = { 0 };
    if (!read_vocab(&g, file)) skip();
    if (hn_tok_from_lists(&t, file, &g.l, &e)) fail_msg("%s", e.msg);
    same_cases(t, cases);
    same_lists(t, &g.l, g.l.n + 7);
    hn_tok_close(t);
    hn_arena_free(g.arena);
    hn_free(g.data);
}

static void gpt2(void **state) {
    (void)state;
    published("data/tokenizers/gguf/ggml-vocab-gpt-2.gguf", "data/tokenizers/cases/gpt-2.jsonl");
}

static void llama(void **state) {
    (void)state;
    published("data/tokenizers/gguf/ggml-vocab-llama-spm.gguf", "data/tokenizers/cases/llama-spm.jsonl");
}

static void phi3(void **state) {
    (void)state;
    published("data/tokenizers/gguf/ggml-vocab-phi-3.gguf", "data/tokenizers/cases/phi-3.jsonl");
}

/* ---- a small vocabulary of each kind ---- */
static const char *const few[] = { "<unk>",
                                   "<s>",
                                   "</s>",
                                   "\xE2\x96\x81",
                                   "a",
                                   "b",
                                   "ab",
                                   ("\xE2\x96\x81"
                                    "ab"),
                                   "<u>" };
static const float few_scores[] = { 0, 0, 0, -3, -4, -5, -1, -2, 0 };
static const int32_t few_types[] = { 2, 3, 3, 1, 1, 1, 1, 1, 4 };
static const char *const bytes[] = { "a", "b", "\xC4\xA0", "ab", "<|end|>" }, *const byte_merges[] = {
    "a b"
};
static const int32_t byte_types[] = { 1, 1, 1, 1, 3 };

static hn_tok_lists small(const char *model) {
    hn_tok_lists l = { .model = model,
                       .n = 9,
                       .token = few,
                       .score = few_scores,
                       .type = few_types,
                       .role = { 1, 2, -1, 0, -1, -1, -1 },
                       .add_bos = true,
                       .add_space = true };
    return l;
}

static hn_tok_lists small_bpe(void) {
    hn_tok_lists l = { .model = "gpt2",
                       .pre = "qwen2",
                       .n = 5,
                       .token = bytes,
                       .type = byte_types,
                       .merge = byte_merges,
                       .n_merge = 1,
                       .role = { -1, 4, -1, -1, -1, -1, -1 },
                       .add_eos = true,
                       .chat_template = "{{ 'x\n' }}" };
    return l;
}

static void ids_are(const hn_tok *t, const char *text, const char *want) {
    hn_ids ids = { 0 };
    hn_buf got = { 0 };
    assert_int_equal(hn_tok_encode(t, text, strlen(text), true, &ids, NULL), HN_OK);
    for (int64_t i = 0; i < ids.n; i++) hn_buf_fmt(&got, "%d ", ids.id[i]);
    assert_string_equal(got.data ? got.data : "", want);
    hn_ids_free(&ids);
    hn_buf_free(&got);
}

static void small_ones(void **state) {
    (void)state;
    hn_tok_lists l = small("llama"), back;
    hn_tok *t, *again;
    hn_err e = { 0 };
    const char *dir = scratch_dir();
    hn_arena *a = hn_arena_new(1 << 12);
    if (hn_tok_from_lists(&t, "few", &l, &e)) fail_msg("%s", e.msg);
    ids_are(t, "ab aab</s>b<u>zz", "1 7 3 4 6 2 3 5 8 3 0 ");
    assert_int_equal(hn_tok_role_id(t, HN_TOK_EOS), 2);
    assert_int_equal(hn_tok_save(t, dir, &e), HN_OK);
    hn_tok_close(t);
    if (hn_tok_open(&again, dir, &e)) fail_msg("%s", e.msg);
    ids_are(again, "ab aab</s>b<u>zz", "1 7 3 4 6 2 3 5 8 3 0 ");
    same_lists(again, &l, 0);
    assert_int_equal(hn_tok_to_lists(again, 0, &back, a, &e), HN_OK);
    assert_true(back.add_bos && !back.add_eos && back.add_space && !back.squeeze);
    hn_tok_close(again);
    l = small("t5");
    if (hn_tok_from_lists(&t, "few", &l, &e)) fail_msg("%s", e.msg);
    ids_are(t, "ab aab", "1 7 3 4 6 ");
    same_lists(t, &l, 0);
    hn_tok_close(t);
    l = small_bpe();
    if (hn_tok_from_lists(&t, "bytes", &l, &e)) fail_msg("%s", e.msg);
    ids_are(t, "ab<|end|>ba", "3 4 1 0 4 ");
    same_lists(t, &l, 0);
    assert_non_null(strstr(hn_tok_file(t, "tokenizer_config.json", NULL), "{{ 'x\\n' }}"));
    hn_tok_close(t);
    hn_arena_free(a);
    assert_int_equal(hn_dir_remove(dir, NULL), HN_OK);
}

static void refused(const hn_tok_lists *l, int code, const char *words) {
    hn_tok *t;
    hn_err e = { 0 };
    int rc = hn_tok_from_lists(&t, "some.gguf", l, &e);
    if (rc != code || t || !strstr(e.msg, words) || !strstr(e.msg, "some.gguf"))
        fail_msg("wanted %d and `%s`, got %d: %s", code, words, rc, e.msg);
}

static void bad_lists(void **state) {
    (void)state;
    static const float nan_score[9] = { NAN };
    static const int32_t odd[9] = { 2, 3, 3, 1, 1, 1, 1, 1, 7 }, unused[9] = { 2, 3, 3, 1, 1, 1, 5, 1, 4 };
    static const char *const twice[] = { "a", "b", "a", "ab", "x" },
                             *const broken[] = { "a", "\xFF", "c", "ab", "x" }, *const no_merge[] = { "a c" };
    hn_tok_lists l = small("llama");
    l.score = nan_score;
    refused(&l, HN_ERANGE, "scores[0]");
    l.score = NULL;
    refused(&l, HN_EPARSE, "scores");
    l = small("llama");
    l.type = odd;
    refused(&l, HN_ERANGE, "token_type[8]");
    l.type = unused;
    refused(&l, HN_EUNSUP, "`ab`");
    l = small("llama");
    l.role[HN_TOK_EOS] = 9;
    refused(&l, HN_ERANGE, "eos_token");
    l = small("llama");
    l.role[HN_TOK_BOS] = -1;
    refused(&l, HN_EPARSE, "add_bos");
    l = small("bert");
    refused(&l, HN_EUNSUP, "`bert`");
    l = small_bpe();
    l.pre = "odd";
    refused(&l, HN_EUNSUP, "`odd`");
    l.pre = "qwen";
    refused(&l, HN_EUNSUP, "`qwen`");
    l.pre = NULL;
    refused(&l, HN_EUNSUP, "(none)");
    l = small_bpe();
    l.token = twice;
    refused(&l, HN_EPARSE, "`a` is there twice");
    l.token = broken;
    refused(&l, HN_EPARSE, "tokens[1]");
    l = small_bpe();
    l.merge = no_merge;
    refused(&l, HN_EPARSE, "`c` is not a token");
    l.n = 0;
    refused(&l, HN_ERANGE, "0 tokens");
}

/* Every allocation that fails is reported and leaks nothing. */
static int there_and_back(void *ctx, hn_err *e) {
    const hn_tok_lists *l = ctx;
    hn_tok_lists back;
    hn_tok *t;
    hn_ids ids = { .want_at = true };
    int rc = hn_tok_from_lists(&t, "few", l, e);
    if (rc) return rc;
    hn_arena *a = hn_arena_new(1 << 10);
    rc = a ? hn_tok_to_lists(t, 20, &back, a, e) : hn_fail(e, HN_ENOMEM, "out of memory");
    if (!rc)
        rc = hn_tok_encode(t, "ab aabz<u>abababababababababababababababababababababa", 52, true, &ids, e);
    if (a) hn_arena_free(a);
    hn_ids_free(&ids);
    hn_tok_close(t);
    return rc;
}

static void torture_all(void **state) {
    (void)state;
    hn_tok_lists l[] = { small("llama"), small("t5"), small_bpe() };
    json_set_alloc_funcs(hn_alloc, hn_free);
    for (int i = 0; i < 3; i++) torture(there_and_back, &l[i]);
    json_set_alloc_funcs(malloc, free);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(gpt2),      cmocka_unit_test(llama),
                                        cmocka_unit_test(phi3),      cmocka_unit_test(small_ones),
                                        cmocka_unit_test(bad_lists), cmocka_unit_test(torture_all) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
