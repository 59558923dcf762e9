/* tokenizer.c - ids, texts and covers against the reference library's, on real tokenizers and on tiny ones of
 * every family; training and conversion; there and back through files. */
#include "text/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>

#include "shared.h"

#define VECTORS HN_SOURCE_ROOT "/tests/vectors/tokenizer/"

static const char *dir;

static hn_tok *open_ok(const char *path) {
    hn_tok *t;
    hn_err e = { 0 };
    if (hn_tok_open(&t, path, &e)) fail_msg("%s", e.msg);
    return t;
}

/* ---- one text ---- */
static void same_ids(const hn_ids *got, const json_t *want, size_t from, size_t after, const char *text,
                     const char *where) {
    bool same = (size_t)got->n + from + after == json_array_size(want);
    for (int64_t i = 0; same && i < got->n; i++)
        same = got->id[i] == json_integer_value(json_array_get(want, (size_t)i + from));
    if (!same) fail_msg("%s: other ids for `%s`", where, text);
}

/* Covers lie in the text, in order; together they cover every byte that became a token. */
static void sound_covers(const hn_ids *ids, size_t n, const char *where) {
    for (int64_t i = 0; i < ids->n; i++)
        if (ids->at[i].begin < 0 || ids->at[i].begin > ids->at[i].end || ids->at[i].end > (int64_t)n)
            fail_msg("%s: token %lld covers %d to %d of %zu bytes", where, (long long)i, ids->at[i].begin,
                     ids->at[i].end, n);
}

static void check_text(const hn_tok *t, const char *s, size_t n, const json_t *want, size_t before,
                       size_t after, const char *back, const char *where) {
    hn_ids a = { .want_at = true }, b = { 0 };
    hn_buf out = { 0 };
    hn_err e = { 0 };
    if (hn_tok_encode(t, s, n, true, &a, &e) || hn_tok_encode(t, s, n, false, &b, &e))
        fail_msg("%s: %s", where, e.msg);
    same_ids(&a, want, 0, 0, s, where);
    same_ids(&b, want, before, after, s, where);
    sound_covers(&a, n, where);
    if (back) {
        assert_int_equal(hn_tok_decode(t, b.id, b.n, false, &out, &e), HN_OK);
        const char *got = out.data ? out.data : "";
        if (strcmp(got, back)) fail_msg("%s: `%s` comes back as `%s`, not as `%s`", where, s, got, back);
    }
    hn_ids_free(&a);
    hn_ids_free(&b);
    hn_buf_free(&out);
}

/* ---- real tokenizers ---- */
static void real_cases(const char *tok_dir, const char *file) {
    const char *d = shared_file(tok_dir), *p = shared_file(file);
    if (!d || !p) skip();
    hn_tok *t = open_ok(d);
    FILE *f = fopen(p, "r");
    char *line = NULL, where[32];
    size_t cap = 0;
    int k = 0;
    assert_non_null(f);
    while (getline(&line, &cap, f) > 0) {
        json_t *c = json_loads(line, 0, NULL);
        const char *text = json_string_value(json_object_get(c, "text"));
        assert_non_null(text);
        snprintf(where, sizeof where, "case %d", ++k);
        check_text(t, text, strlen(text), json_object_get(c, "ids"), 0, 0, text, where);
        json_decref(c);
    }
    assert_int_equal(k, 24);
    free(line);
    fclose(f);
    hn_tok_close(t);
}

static void gpt2(void **state) {
    (void)state;
    real_cases("data/tokenizers/gpt2", "data/tokenizers/cases/gpt-2.jsonl");
}

static void qwen2(void **state) {
    (void)state;
    real_cases("data/tokenizers/qwen2", "data/tokenizers/cases/qwen2.jsonl");
}

/* Ids made with the reference library from the same file. */
static void smollm2(void **state) {
    (void)state;
    const char *text = "<|im_start|>user\nAdd 1201 apples to 5.5!<|im_end|>\n",
               *d = shared_file("data/tokenizers/smollm2");
    if (!d) skip();
    hn_tok *t = open_ok(d);
    json_t *want = json_loads("[1,4093,198,7684,216,33,34,32,33,13855,288,216,37,30,37,17,2,198]", 0, NULL);
    check_text(t, text, strlen(text), want, 0, 0, text, "smollm2");
    assert_int_equal(hn_tok_role_id(t, HN_TOK_EOS), 2);
    assert_string_equal(hn_tok_role_str(t, HN_TOK_EOS), "<|im_end|>");
    assert_int_equal(hn_tok_size(t), 49152);
    assert_true(hn_tok_is_special(t, 2) && !hn_tok_is_special(t, 4093));
    assert_int_equal(hn_tok_id(t, "<|im_start|>"), 1);
    assert_string_equal(hn_tok_piece(t, 13855), "\xC4\xA0"
                                                "apples");
    json_decref(want);
    hn_tok_close(t);
}

/* The peer's fixture: four letters with roles, then a token a character. */
static void char_ords(void **state) {
    (void)state;
    const char *d = shared_file("data/weights/verl_arith_llama");
    if (!d) skip();
    hn_tok *t = open_ok(d);
    json_t *want = json_loads("[12,14,7,15,13,14,8,0]", 0, NULL);
    check_text(t, "8,3:9,4S", 8, want, 0, 0, "8,3:9,4S", "char_ords");
    json_decref(want);
    want = json_loads("[3,4,3,3,1]", 0, NULL); /* what is no token is one unknown a character */
    check_text(t,
               "x0\xC3\xA9\xFF"
               "E",
               6, want, 0, 0, "U0UUE", "char_ords");
    json_decref(want);
    assert_int_equal(hn_tok_size(t), 16);
    assert_int_equal(hn_tok_role_id(t, HN_TOK_EOS), 1);
    assert_int_equal(hn_tok_role_id(t, HN_TOK_PAD), 2);
    assert_int_equal(hn_tok_role_id(t, HN_TOK_SEP), 0);
    assert_int_equal(hn_tok_role_id(t, HN_TOK_BOS), -1);
    hn_tok_close(t);
}

/* ---- tiny tokenizers of every family ---- */
enum { MOST = 96 };
static json_t *lines[MOST];
static int n_lines;

static int read_vectors(void **state) {
    (void)state;
    FILE *f = fopen(VECTORS "cases.jsonl", "r");
    char *line = NULL;
    size_t cap = 0;
    if (!f) return -1;
    while (n_lines < MOST && getline(&line, &cap, f) > 0) lines[n_lines++] = json_loads(line, 0, NULL);
    free(line);
    fclose(f);
    return 0;
}

static int drop_vectors(void **state) {
    (void)state;
    while (n_lines) json_decref(lines[--n_lines]);
    return hn_dir_remove(dir, NULL);
}

static void put_file(const char *sub, const char *name, const char *data, size_t n) {
    hn_buf path = { 0 };
    hn_buf_fmt(&path, "%s/%s", dir, sub);
    assert_int_equal(hn_dir_make(path.data, NULL), HN_OK);
    hn_buf_fmt(&path, "/%s", name);
    assert_int_equal(hn_file_write(path.data, data, n, NULL), HN_OK);
    hn_buf_free(&path);
}

static const char *in_dir(const char *sub) {
    static char path[2][512];
    static int turn;
    char *p = path[turn++ & 1];
    snprintf(p, sizeof path[0], "%s/%s", dir, sub);
    return p;
}

/* Opens the tiny tokenizer of a family: its parts with the model it shares. */
static hn_tok *family(const json_t *c) {
    const char *name = json_string_value(json_object_get(c, "name"));
    json_t *tok = json_deep_copy(json_object_get(c, "tokenizer")), *model = json_object_get(tok, "model");
    for (int i = 1; json_object_get(lines[i], "vocab"); i++)
        if (json_equal(json_object_get(lines[i], "model"), json_object_get(c, "model"))) {
            json_t *merges = json_object_get(lines[i], "merges");
            json_object_set(model, "vocab", json_object_get(lines[i], "vocab"));
            if (merges) json_object_set(model, "merges", merges);
        }
    char *text = json_dumps(tok, JSON_COMPACT);
    put_file(name, "tokenizer.json", text, strlen(text));
    free(text);
    json_decref(tok);
    return open_ok(in_dir(name));
}

static hn_tok *family_named(const char *name) {
    for (int i = 1; i < n_lines; i++) {
        const char *its = json_string_value(json_object_get(lines[i], "name"));
        if (its && !strcmp(its, name)) return family(lines[i]);
    }
    fail_msg("no vectors of %s", name);
    return NULL;
}

static void families(void **state) {
    (void)state;
    const json_t *texts = json_object_get(lines[0], "texts");
    assert_true(n_lines > 60 && json_array_size(texts) > 60);
    for (int i = 1; i < n_lines; i++) {
        if (json_object_get(lines[i], "vocab")) continue;
        const char *name = json_string_value(json_object_get(lines[i], "name"));
        size_t before = (size_t)json_integer_value(json_object_get(lines[i], "before")), k,
               after = (size_t)json_integer_value(json_object_get(lines[i], "after"));
        const json_t *back = json_object_get(lines[i], "back"), *ids = json_object_get(lines[i], "ids"), *x;
        hn_tok *t = family(lines[i]);
        assert_true(json_array_size(ids) > 30);
        json_array_foreach(ids, k, x) {
            char key[24];
            const char *s = json_string_value(json_array_get(texts, k));
            snprintf(key, sizeof key, "%zu", k);
            const char *other = json_string_value(json_object_get(back, key));
            check_text(t, s, strlen(s), x, before, after,
                       json_is_null(back) ? NULL
                       : other            ? other
                                          : s,
                       name);
        }
        hn_tok_close(t);
    }
}

/* What a stream gives piece by piece is whole characters, and together the decoded text. */
static void streams(void **state) {
    (void)state;
    const json_t *texts = json_object_get(lines[0], "texts");
    static const char *const names[] = { "smollm2",  "llama",  "always",        "never",
                                         "gemma",    "qwen2",  "dec-words",     "dec-regex",
                                         "dec-none", "falcon", "unigram-bytes", "dec-strip" };
    for (int f = 0; f < 12; f++) {
        hn_tok *t = family_named(names[f]);
        for (size_t k = 0; k < json_array_size(texts); k++) {
            const char *s = json_string_value(json_array_get(texts, k));
            hn_ids ids = { 0 };
            hn_buf whole = { 0 }, parts = { 0 };
            hn_tok_stream st;
            assert_int_equal(hn_tok_encode(t, s, strlen(s), true, &ids, NULL), HN_OK);
            assert_int_equal(hn_tok_decode(t, ids.id, ids.n, f & 1, &whole, NULL), HN_OK);
            hn_tok_stream_init(&st, t, f & 1);
            for (int64_t i = 0; i < ids.n; i++) {
                hn_tok_stream_add(&st, ids.id[i], &parts);
                json_t *valid = json_stringn(parts.data ? parts.data : "", parts.n);
                assert_non_null(valid);
                json_decref(valid);
            }
            hn_tok_stream_end(&st, &parts);
            assert_int_equal(parts.n, whole.n);
            if (whole.n) assert_memory_equal(parts.data, whole.data, whole.n);
            hn_ids_free(&ids);
            hn_buf_free(&whole);
            hn_buf_free(&parts);
        }
        hn_tok_close(t);
    }
}

/* ---- SentencePiece models ---- */
static void sentencepiece(void **state) {
    (void)state;
    const json_t *texts = json_object_get(lines[0], "texts"), *want;
    FILE *f = fopen(VECTORS "sp.jsonl", "r");
    char *line = NULL, *data, path[4096];
    size_t cap = 0, n, k;
    int models = 0;
    assert_non_null(f);
    while (getline(&line, &cap, f) > 0) {
        json_t *c = json_loads(line, 0, NULL);
        const char *name = json_string_value(json_object_get(c, "file"));
        snprintf(path, sizeof path, "%s%s", VECTORS, name);
        assert_int_equal(hn_file_read(path, &data, &n, NULL), HN_OK);
        put_file(name, "tokenizer.model", data, n);
        hn_tok *t = open_ok(in_dir(name));
        json_array_foreach(json_object_get(c, "ids"), k, want) {
            const char *s = json_string_value(json_array_get(texts, k)),
                       *back = json_string_value(json_array_get(json_object_get(c, "back"), k));
            if (strstr(s, "<s>") || strstr(s, "</s>") || strstr(s, "<unk>"))
                continue; /* no words to SentencePiece */
            check_text(t, s, strlen(s), want, 0, 0, back, name);
        }
        hn_tok_close(t);
        hn_free(data);
        json_decref(c);
        models++;
    }
    assert_int_equal(models, 4);
    free(line);
    fclose(f);
}

/* ---- covers ---- */
static void covers(const char *name, const char *text, const char *want) {
    hn_tok *t = family_named(name);
    hn_ids ids = { .want_at = true };
    hn_buf got = { 0 };
    assert_int_equal(hn_tok_encode(t, text, strlen(text), true, &ids, NULL), HN_OK);
    for (int64_t i = 0; i < ids.n; i++)
        hn_buf_fmt(&got, "%s%s %d-%d", i ? ", " : "", hn_tok_piece(t, ids.id[i]), ids.at[i].begin,
                   ids.at[i].end);
    assert_string_equal(got.data, want);
    hn_buf_free(&got);
    hn_ids_free(&ids);
    hn_tok_close(t);
}

static void source_covers(void **state) {
    (void)state;
    covers("smollm2", "a 12<|im_end|>b", "a 0-1, \xC4\xA0 1-2, 1 2-3, 2 3-4, <|im_end|> 4-14, b 14-15");
    covers("flags", "a [LR] b", "a 0-1, [LR] 1-7, b 7-8");
    covers("llama", "is  it",
           "<s> 0-0, \xE2\x96\x81"
           "is 0-2, \xE2\x96\x81 2-3, \xE2\x96\x81it 3-6");
    /* e + acute becomes one character of two bytes, each of which stands for all three of the source */
    covers("qwen2", "e\xCC\x81z", "\xC3\x83 0-3, \xC2\xA9 0-3, z 3-4");
    /* marks in the wrong order: the pair of them stands for both */
    covers("qwen2", "x\xCC\x81\xCC\x96y",
           "x 0-1, \xC3\x8C 1-5, \xC4\xB8 1-5, \xC3\x8C 1-5, \xC4\xA3 1-5, y 5-6");
}

/* ---- bytes that are not UTF-8 ---- */
static void broken_text(void **state) {
    (void)state;
    static const char text[] = "ab \xFF\xC3 it\xE2\x82 is\xF0\x9F\x98",
                      back[] = "ab \xEF\xBF\xBD\xEF\xBF\xBD it\xEF\xBF\xBD is\xEF\xBF\xBD";
    static const char *const names[] = { "gpt2", "qwen2", "smollm2", "llama3" };
    for (int f = 0; f < 4; f++) {
        hn_tok *t = family_named(names[f]);
        hn_ids ids = { .want_at = true };
        hn_buf out = { 0 };
        int32_t at = 0;
        assert_int_equal(hn_tok_encode(t, text, sizeof text - 1, false, &ids, NULL), HN_OK);
        for (int64_t i = 0; i < ids.n; at = ids.at[i++].end) assert_int_equal(ids.at[i].begin, at);
        assert_int_equal(at, sizeof text - 1);
        assert_int_equal(ids.dropped, 0);
        assert_int_equal(hn_tok_decode(t, ids.id, ids.n, false, &out, NULL), HN_OK);
        assert_string_equal(out.data, back);
        hn_ids_free(&ids);
        hn_buf_free(&out);
        hn_tok_close(t);
    }
}

/* A byte without a token is left out, and counted. */
static void dropped_bytes(void **state) {
    (void)state;
    static const char json[] =
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}, \"pre_tokenizer\": "
        "{\"type\": "
        "\"ByteLevel\", \"add_prefix_space\": false}, \"decoder\": {\"type\": \"ByteLevel\"}}";
    put_file("few", "tokenizer.json", json, strlen(json));
    hn_tok *t = open_ok(in_dir("few"));
    hn_ids ids = { 0 };
    assert_int_equal(hn_tok_encode(t, "abba", 4, false, &ids, NULL), HN_OK);
    assert_int_equal(ids.n, 2);
    assert_int_equal(ids.dropped, 2);
    hn_ids_free(&ids);
    hn_tok_close(t);
}

/* ---- long texts: no step may be quadratic ---- */
static void long_runs(void **state) {
    (void)state;
    enum { N = 600000 };
    static const char *const unit[] = {
        "a", " ", "ab", "1", "\n", " \n", "\xCC\x81\xCC\x96", "e\xCC\x81", "'s", "\xE1\x84\x80"
    };
    static const char *const names[] = { "gpt2", "qwen2", "smollm2", "llama" };
    enum { UNITS = sizeof unit / sizeof *unit };
    char *text = hn_alloc(N + 8);
    for (int f = 0; f < 4; f++) {
        hn_tok *t = family_named(names[f]);
        for (size_t u = 0; u <= UNITS; u++) {
            hn_ids ids = { 0 };
            hn_buf out = { 0 };
            const char *what = u < UNITS ? unit[u] : "[ehinrt]";
            size_t len = u < UNITS ? strlen(what) : 1, n = 0;
            for (uint64_t r = 1; n + len <= N; n += len, r = r * 6364136223846793005u + 1442695040888963407u)
                if (u < UNITS) memcpy(text + n, what, len);
                else text[n] = "ehinrt"[(r >> 40) % 6]; /* most pairs merge */
            clock_t start = clock();
            assert_int_equal(hn_tok_encode(t, text, n, false, &ids, NULL), HN_OK);
            assert_int_equal(hn_tok_decode(t, ids.id, ids.n, false, &out, NULL), HN_OK);
            double took = (double)(clock() - start) / CLOCKS_PER_SEC;
            if (took > 4) fail_msg("%s takes %.1f s for `%s` again and again", names[f], took, what);
            if (f != 1 && (out.n != n || memcmp(out.data, text, n)))
                fail_msg("%s: a run of `%s` is lost", names[f], what);
            hn_ids_free(&ids);
            hn_buf_free(&out);
        }
        hn_tok_close(t);
    }
    hn_free(text);
}

/* ---- made here ---- */
static void same_files(const char *a, const char *b, const char *name) {
    char p[1024], ha[65], hb[65];
    snprintf(p, sizeof p, "%s/%s", a, name);
    assert_int_equal(hn_file_sha256(p, ha, NULL), HN_OK);
    snprintf(p, sizeof p, "%s/%s", b, name);
    assert_int_equal(hn_file_sha256(p, hb, NULL), HN_OK);
    assert_string_equal(ha, hb);
}

static void saving(void **state) {
    (void)state;
    hn_tok *t = family_named("phi3");
    put_file("phi3", "tokenizer_config.json", "{\"bos_token\": \"<s>\"}\n", 21);
    put_file("phi3", "chat_template.jinja", "{{ x }}", 7);
    hn_tok_close(t);
    t = open_ok(in_dir("phi3"));
    assert_int_equal(hn_tok_role_id(t, HN_TOK_BOS), 1);
    size_t n;
    assert_string_equal(hn_tok_file(t, "chat_template.jinja", &n), "{{ x }}");
    assert_null(hn_tok_file(t, "merges.txt", &n));
    assert_int_equal(hn_tok_save(t, in_dir("copy"), NULL), HN_OK);
    same_files(in_dir("phi3"), in_dir("copy"), "tokenizer.json");
    same_files(in_dir("phi3"), in_dir("copy"), "tokenizer_config.json");
    same_files(in_dir("phi3"), in_dir("copy"), "chat_template.jinja");
    hn_tok_close(t);
}

/* The merges that the reference library learns from the same text. */
static void training(void **state) {
    (void)state;
    json_t *v = json_load_file(VECTORS "train.json", 0, NULL);
    const char *text = json_string_value(json_object_get(v, "text"));
    hn_tok_recipe r = { .vocab = (int)json_integer_value(json_object_get(v, "vocab")) };
    hn_tok *t, *again;
    hn_err e = { 0 };
    if (hn_tok_train(&t, text, strlen(text), &r, &e)) fail_msg("%s", e.msg);
    json_t *made = json_loads(hn_tok_file(t, "tokenizer.json", NULL), 0, NULL);
    assert_true(
        json_equal(json_object_get(json_object_get(made, "model"), "merges"), json_object_get(v, "merges")));
    json_decref(made);
    assert_int_equal(hn_tok_size(t), r.vocab);
    assert_int_equal(hn_tok_id(t, "<|im_end|>"), 2);
    assert_int_equal(hn_tok_role_id(t, HN_TOK_EOS), 2);
    assert_int_equal(hn_tok_role_id(t, HN_TOK_PAD), 0);
    assert_int_equal(hn_tok_save(t, in_dir("trained"), NULL), HN_OK);
    again = open_ok(in_dir("trained"));
    hn_ids a = { 0 }, b = { 0 };
    assert_int_equal(hn_tok_encode(t, text, strlen(text), true, &a, NULL), HN_OK);
    assert_int_equal(hn_tok_encode(again, text, strlen(text), true, &b, NULL), HN_OK);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.id, b.id, (size_t)a.n * sizeof *a.id);
    hn_ids_free(&a);
    hn_ids_free(&b);
    hn_tok_close(t);
    hn_tok_close(again);
    r.vocab = 258; /* three special tokens and the bytes do not fit */
    assert_int_equal(hn_tok_train(&t, text, strlen(text), &r, &e), HN_ERANGE);
    json_decref(v);
}

/* The tokenizer file of llama2.c, and its way of encoding by definition: of all neighbours that together are
 * a piece, join those with the best score, the leftmost first. */
typedef struct piece {
    float score;
    uint32_t n;
    const char *s;
} piece;

static int piece_of(const piece *p, int n, const char *s, size_t len) {
    for (int i = 0; i < n; i++)
        if (p[i].n == len && !memcmp(p[i].s, s, len)) return i;
    return -1;
}

static int by_definition(const piece *p, int n, const char *text, int32_t *id) {
    int m = 0;
    id[m++] = piece_of(p, n, " ", 1);
    for (size_t i = 0, len; text[i]; i += len) {
        for (len = 1; (text[i + len] & 0xC0) == 0x80;) len++;
        int k = piece_of(p, n, text + i, len);
        if (k >= 0) id[m++] = k;
        else
            for (size_t j = 0; j < len; j++) id[m++] = 3 + (unsigned char)text[i + j];
    }
    for (int best = 0; best >= 0;) {
        int to = best = -1;
        for (int i = 0; i + 1 < m; i++) {
            char both[64];
            const piece *a = &p[id[i]], *b = &p[id[i + 1]];
            memcpy(both, a->s, a->n);
            memcpy(both + a->n, b->s, b->n);
            int k = piece_of(p, n, both, a->n + b->n);
            if (k >= 0 && (best < 0 || p[k].score > p[to].score)) best = i, to = k;
        }
        if (best < 0) break;
        id[best] = to;
        memmove(id + best + 1, id + best + 2, (size_t)(--m - best - 1) * sizeof *id);
    }
    return m;
}

static void same_as_llama2c(const hn_tok *t, const piece *p, int n, const char *text) {
    int32_t *want = hn_alloc((strlen(text) + 1) * sizeof *want);
    hn_ids ids = { 0 };
    hn_buf out = { 0 };
    int m = by_definition(p, n, text, want);
    assert_int_equal(hn_tok_encode(t, text, strlen(text), false, &ids, NULL), HN_OK);
    assert_int_equal(ids.n, m);
    assert_memory_equal(ids.id, want, (size_t)m * sizeof *want);
    assert_int_equal(hn_tok_decode(t, ids.id, ids.n, true, &out, NULL), HN_OK);
    assert_string_equal(out.data, text);
    hn_free(want);
    hn_ids_free(&ids);
    hn_buf_free(&out);
}

static void llama2c(void **state) {
    (void)state;
    const char *path = shared_file("data/weights/stories260K/tok512.bin"),
               *story = shared_file("data/weights/stories260K/expected_greedy_200.txt");
    if (!path || !story) skip();
    hn_tok *t;
    hn_err e = { 0 };
    char *file, *text;
    size_t n, at = 4;
    piece p[512];
    assert_int_equal(hn_file_read(path, &file, &n, NULL), HN_OK);
    for (int i = 0; i < 512; at += 8 + p[i++].n) {
        memcpy(&p[i].score, file + at, 4);
        memcpy(&p[i].n, file + at + 4, 4);
        p[i].s = file + at + 8;
    }
    assert_int_equal(hn_file_read(story, &text, &n, NULL), HN_OK);
    assert_int_equal(hn_tok_from_llama2c(&t, path, 512, &e), HN_OK);
    same_as_llama2c(t, p, 512, text);
    same_as_llama2c(t, p, 512, "  It's\t3 caf\xC3\xA9s, and the\n\nthird was \xF0\x9F\x98\x80 red");
    json_t *want = json_loads("[1,403,407,261,378]", 0, NULL);
    check_text(t, "Once upon a time", 16, want, 1, 0, "Once upon a time", "llama2.c");
    json_decref(want);
    hn_tok_close(t);
    assert_int_equal(hn_tok_from_llama2c(&t, path, 511, &e), HN_EPARSE);
    assert_null(t);
    assert_non_null(strstr(e.msg, "more than 511"));
    e.code = 0;
    assert_int_equal(hn_tok_from_llama2c(&t, path, 513, &e), HN_EPARSE);
    hn_free(file);
    hn_free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(gpt2),          cmocka_unit_test(qwen2),
                                        cmocka_unit_test(smollm2),       cmocka_unit_test(char_ords),
                                        cmocka_unit_test(families),      cmocka_unit_test(streams),
                                        cmocka_unit_test(sentencepiece), cmocka_unit_test(source_covers),
                                        cmocka_unit_test(broken_text),   cmocka_unit_test(dropped_bytes),
                                        cmocka_unit_test(long_runs),     cmocka_unit_test(saving),
                                        cmocka_unit_test(training),      cmocka_unit_test(llama2c) };
    dir = scratch_dir();
    return cmocka_run_group_tests(tests, read_vectors, drop_vectors);
}
