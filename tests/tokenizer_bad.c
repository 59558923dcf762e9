/* tokenizer_bad.c - tokenizer files that lie: each is refused with a message that names file and part; and
 * every allocation that fails is reported and leaks nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "shared.h"
#include "text/tokenizer.h"
#include "torture.h"

static const char *dir;

static void put(const char *name, const char *data) {
    hn_buf path = { 0 };
    hn_err e = { 0 };
    if (hn_file_write(hn_path_join(&path, dir, name), data, strlen(data), &e)) fail_msg("%s", e.msg);
    hn_buf_free(&path);
}

static void clear(void) {
    assert_int_equal(hn_dir_remove(dir, NULL), HN_OK);
    assert_int_equal(hn_dir_make(dir, NULL), HN_OK);
}

/* The files in dir are refused with this code, and the message has these words and the folder's name. */
static void refused(int code, const char *words) {
    hn_tok *t;
    hn_err e = { 0 };
    int rc = hn_tok_open(&t, dir, &e);
    if (rc != code || e.code != code || t || !strstr(e.msg, words) || !strstr(e.msg, dir))
        fail_msg("wanted code %d and \"%s\", got %d: %s", code, words, rc, e.msg);
}

#define MODEL(vocab, merges) "\"model\": {\"type\": \"BPE\", \"vocab\": " vocab ", \"merges\": " merges "}"
#define AB                   MODEL("{\"a\": 0, \"b\": 1, \"ab\": 2}", "[\"a b\"]")

static const struct {
    const char *json, *words;
    int code;
} broken[] = {
    { "", "tokenizer.json", HN_EPARSE },
    { "{\"model\": ", "tokenizer.json: line 1", HN_EPARSE },
    { "[]", "has to be an object", HN_EPARSE },
    { "{}", "model: is missing", HN_EPARSE },
    { "{\"model\": {\"type\": \"Unigram\", \"vocab\": []}}", "model.vocab: is empty", HN_EPARSE },
    { "{\"model\": {\"type\": \"WordPiece\", \"vocab\": {}}}", "`WordPiece`", HN_EUNSUP },
    { "{\"model\": {\"type\": \"Unigram\", \"unk_id\": 1, \"vocab\": [[\"a\", 0]]}}", "unk_id", HN_EPARSE },
    { "{\"model\": {\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": [[\"a\", \"0\"]]}}", "vocab[0]",
      HN_EPARSE },
    { "{\"model\": {\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": [[\"a\", 0], [\"a\", 1]]}}",
      "is there twice", HN_EPARSE },
    { "{\"model\": {\"type\": \"BPE\", \"merges\": []}}", "model.vocab", HN_EPARSE },
    { "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}}}", "model.merges", HN_EPARSE },
    { "{" MODEL("{}", "[]") "}", "is empty", HN_EPARSE },
    { "{" MODEL("{\"a\": 0, \"a\": 1}", "[]") "}", "duplicate", HN_EPARSE },
    { "{" MODEL("{\"a\": 0, \"b\": 0}", "[]") "}", "id 0 is given to `a` and to `b`", HN_EPARSE },
    { "{" MODEL("{\"a\": -1}", "[]") "}", "token `a`", HN_ERANGE },
    { "{" MODEL("{\"a\": 4000000000}", "[]") "}", "token `a`", HN_ERANGE },
    { "{" MODEL("{\"a\": 99999999999999999999}", "[]") "}", "token `a`", HN_ERANGE },
    { "{" MODEL("{\"a\": \"0\"}", "[]") "}", "token `a`", HN_ERANGE },
    { "{" MODEL("{\"a\": 1.5}", "[]") "}", "token `a`", HN_ERANGE },
    { "{" MODEL("{\"a\": 0}", "[\"a x\"]") "}", "merges[0]: `x`", HN_EPARSE },
    { "{" MODEL("{\"a\": 0}", "[\"a a\"]") "}", "merges[0]: `aa`", HN_EPARSE },
    { "{" MODEL("{\"a\": 0, \"\": 1}", "[\"a \"]") "}", "merges[0]", HN_EPARSE },
    { "{" MODEL("{\"a\": 0}", "[\"a\"]") "}", "merges[0]: neither", HN_EPARSE },
    { "{" MODEL("{\"a\": 0}", "[\"a a a\"]") "}", "merges[0]: neither", HN_EPARSE },
    { "{" MODEL("{\"a\": 0}", "[[\"a\"]]") "}", "merges[0]: neither", HN_EPARSE },
    { "{" MODEL("{\"a\": 0}", "[[\"a\", 3]]") "}", "merges[0]: neither", HN_EPARSE },
    { "{" MODEL("{\"a\": 0}", "[7]") "}", "merges[0]: neither", HN_EPARSE },
    { "{\"model\": {\"type\": \"BPE\", \"unk_token\": \"u\", \"vocab\": {\"a\": 0}, \"merges\": []}}",
      "unk_token: `u`", HN_EPARSE },
    { "{\"model\": {\"dropout\": 0.1, \"vocab\": {\"a\": 0}, \"merges\": []}}", "dropout", HN_EUNSUP },
    { "{\"model\": {\"end_of_word_suffix\": \"</w>\", \"vocab\": {\"a\": 0}, \"merges\": []}}",
      "end_of_word_suffix", HN_EUNSUP },
    { "{\"added_tokens\": [{\"id\": 0}], " AB "}", "added_tokens[0]: `content`", HN_EPARSE },
    { "{\"added_tokens\": [{\"id\": 9, \"content\": \"\"}], " AB "}", "added_tokens[0]", HN_ERANGE },
    { "{\"added_tokens\": [{\"id\": 9, \"content\": \"a\"}], " AB "}", "has id 9 here and 0 before",
      HN_EPARSE },
    { "{\"added_tokens\": [{\"id\": 1, \"content\": \"x\"}], " AB "}", "id 1 is given to `b` and to `x`",
      HN_EPARSE },
    { "{\"added_tokens\": [{\"id\": 4194304, \"content\": \"x\"}], " AB "}", "token `x`", HN_ERANGE },
    { "{\"normalizer\": {\"type\": \"BertNormalizer\"}, " AB "}", "normalizer: `BertNormalizer`", HN_EUNSUP },
    { "{\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": \"\"}, \"content\": \"\"}, " AB "}",
      "Replace: its pattern", HN_EPARSE },
    { "{\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"Regex\": \"a\"}}, " AB "}",
      "Replace: content", HN_EPARSE },
    { "{\"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"?\"}, " AB "}", "not base64",
      HN_EPARSE },
    { "{\"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"AAAA\"}, " AB "}", "its tree",
      HN_EPARSE },
    { "{\"normalizer\": {\"type\": \"SentencePiece\"}, " AB "}", "`SentencePiece`", HN_EUNSUP },
    { "{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Nmt\"}]}, " AB "}", "`Nmt`",
      HN_EUNSUP },
    { "{\"pre_tokenizer\": {\"type\": \"UnicodeScripts\"}, " AB "}", "pre_tokenizer: `UnicodeScripts`",
      HN_EUNSUP },
    { "{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"a\"}, \"behavior\": "
      "\"Odd\"}, " AB "}",
      "`Odd`", HN_EUNSUP },
    { "{\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"__\"}, " AB "}", "`Metaspace`",
      HN_EUNSUP },
    { "{\"post_processor\": {\"type\": \"BertProcessing\"}, " AB "}", "a bad id", HN_ERANGE },
    { "{\"post_processor\": {\"type\": \"Odd\"}, " AB "}", "`Odd`", HN_EUNSUP },
    { "{\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": []}, " AB "}", "the text A",
      HN_EPARSE },
    { "{\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": "
      "\"x\"}}, {\"Sequence\": "
      "{\"id\": \"A\"}}], \"special_tokens\": {\"x\": {\"ids\": [77]}}}, " AB "}",
      "id 77 is no token", HN_EPARSE },
    { "{\"decoder\": {\"type\": \"CTC\"}, " AB "}", "decoder: `CTC`", HN_EUNSUP },
    { "{\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Fuse\"}, {\"type\": "
      "\"ByteFallback\"}]}, " AB "}",
      "in this place", HN_EUNSUP },
};

static void bad_json(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        clear();
        put("tokenizer.json", broken[i].json);
        refused(broken[i].code, broken[i].words);
    }
}

/* Patterns that PCRE2 would read in another way than the library they were written for. */
static void bad_patterns(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *words;
        int code;
    } bad[] = {
        { "(a", "pattern `(a`", HN_EPARSE },
        { "a)", "not opened", HN_EUNSUP },
        { "[a", "a class without end", HN_EUNSUP },
        { "[]", "an empty class", HN_EUNSUP },
        { "[a[b]]", "a class inside", HN_EUNSUP },
        { "[a&&b]", "a class inside", HN_EUNSUP },
        { "[[:alpha:]]", "a class inside", HN_EUNSUP },
        { "\\\\h", "an escape", HN_EUNSUP },
        { "\\\\1", "an escape", HN_EUNSUP },
        { "\\\\w", "an escape", HN_EUNSUP },
        { "\\\\", "an escape", HN_EUNSUP },
        { "\\\\p", "a property without", HN_EUNSUP },
        { "\\\\p{Han}", "only general categories", HN_EUNSUP },
        { "\\\\p{L", "only general categories", HN_EUNSUP },
        { "[\\\\P{L}]", "a negated category", HN_EUNSUP },
        { "^a", "an anchor", HN_EUNSUP },
        { "a$", "an anchor", HN_EUNSUP },
        { "(?x: a)", "a kind of group", HN_EUNSUP },
        { "a{2}+", "a repeat of a repeat", HN_EUNSUP },
        { "a{2}?", "a repeat of a repeat", HN_EUNSUP },
        { "a{3,2}", "pattern `a{3,2}`", HN_EPARSE },
        { "+", "pattern `+`", HN_EPARSE },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hn_buf json = { 0 };
        hn_buf_fmt(&json,
                   "{\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Isolated\", \"pattern\": "
                   "{\"Regex\": \"%s\"}}, " AB "}",
                   bad[i].pattern);
        clear();
        put("tokenizer.json", json.data);
        refused(bad[i].code, bad[i].words);
        hn_buf_free(&json);
    }
}

static void bad_files(void **state) {
    (void)state;
    static const struct {
        const char *name[3], *data[3], *words;
        int code;
    } bad[] = {
        { { 0 }, { 0 }, "no tokenizer here", HN_EIO },
        { { "vocab.json" }, { "{\"a\": 0}" }, "no tokenizer here", HN_EIO },
        { { "tokenizer.model" }, { "x" }, "tokenizer.model: field 0", HN_EPARSE },
        { { "tokenizer.model" }, { "IQ== 0\nIg== 1\n" }, "tiktoken", HN_EUNSUP },
        { { "tokenizer.model" }, { "\x0A\x05\x0A\x03xyz" }, "unk_id 0 is not", HN_EPARSE },
        { { "tokenizer.model" }, { "\x0A\x05\x0A\x09xyz" }, "piece 0 is broken", HN_EPARSE },
        { { "tokenizer.model" }, { "\x0A\x09xyz" }, "field 0", HN_EPARSE },
        { { "tokenizer.model" }, { "\x0A\x03\x0A\x01\xFF" }, "piece 0 is empty", HN_EPARSE },
        { { "tokenizer.model" }, { "\x0A\x05\x0A\x01x\x18\x07" }, "piece 0 (`x`)", HN_ERANGE },
        { { "tokenizer.model" }, { "\x0A\x05\x0A\x01x\x18\x02\x12\x02\x18\x03" }, "model_type 3", HN_EUNSUP },
        { { "vocab.json", "merges.txt" }, { "{\"a\": 0}", "a\n" }, "merges.txt: line 1", HN_EPARSE },
        { { "vocab.json", "merges.txt" },
          { "{\"a\": 0}", "#version: 0.2\na a a\n" },
          "merges.txt: line 2",
          HN_EPARSE },
        { { "vocab.json", "merges.txt" }, { "{\"a\": 0}", "\xFF a\n" }, "merges.txt: line 1", HN_EPARSE },
        { { "vocab.json", "merges.txt" }, { "{\"a\": 0}", "a b\n" }, "`b` is not a token", HN_EPARSE },
        { { "vocab.json", "merges.txt" }, { "[]", "" }, "vocab.json: has to be an object", HN_EPARSE },
        { { "vocab.json", "merges.txt", "tokenizer_config.json" },
          { "{\"a\": 0}", "", "{\"tokenizer_class\": \"BartTokenizer\"}" },
          "`BartTokenizer`",
          HN_EUNSUP },
        { { "vocab.json", "merges.txt", "added_tokens.json" },
          { "{\"a\": 0}", "", "{\"x\": \"1\"}" },
          "token `x`",
          HN_ERANGE },
        { { "tokenizer_config.json" }, { "{\"char_ords\": [48, 48]}" }, "char_ords[1]", HN_EPARSE },
        { { "tokenizer_config.json" }, { "{\"char_ords\": [83]}" }, "char_ords[0]", HN_EPARSE },
        { { "tokenizer_config.json" }, { "{\"char_ords\": [55296]}" }, "char_ords[0]", HN_ERANGE },
        { { "tokenizer_config.json" }, { "{\"char_ords\": [\"a\"]}" }, "char_ords[0]", HN_ERANGE },
        { { "tokenizer.json", "tokenizer_config.json" },
          { "{" AB "}", "{\"added_tokens_decoder\": {\"x\": {\"content\": \"y\"}}}" },
          "added_tokens_decoder: `x`",
          HN_EPARSE },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        clear();
        for (int k = 0; k < 3 && bad[i].name[k]; k++) put(bad[i].name[k], bad[i].data[k]);
        refused(bad[i].code, bad[i].words);
    }
}

/* A pattern that would go on for ever ends with an error, and the ids are as they were. */
static void endless_pattern(void **state) {
    (void)state;
    char text[64];
    hn_tok *t;
    hn_ids ids = { 0 };
    hn_err e = { 0 };
    clear();
    put("tokenizer.json", "{\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Isolated\", "
                          "\"pattern\": {\"Regex\": \"(a+)+[cd]\"}}, " AB "}");
    assert_int_equal(hn_tok_open(&t, dir, &e), HN_OK);
    memset(text, 'a', sizeof text);
    assert_int_equal(hn_ids_add(&ids, 1, 0, 0), HN_OK);
    assert_int_equal(hn_tok_encode(t, text, sizeof text, false, &ids, &e), HN_ERANGE);
    assert_non_null(strstr(e.msg, "gave up"));
    assert_int_equal(ids.n, 1);
    hn_ids_free(&ids);
    hn_tok_close(t);
}

/* Numbers too large for an integer are usual in tokenizer_config.json. */
static void long_numbers(void **state) {
    (void)state;
    hn_tok *t;
    hn_err e = { 0 };
    clear();
    put("tokenizer.json", "{" AB "}");
    put("tokenizer_config.json",
        "{\"model_max_length\": 1000000000000000019884624838656, \"eos_token\": {\"content\": \"b\"}}");
    if (hn_tok_open(&t, dir, &e)) fail_msg("%s", e.msg);
    assert_int_equal(hn_tok_role_id(t, HN_TOK_EOS), 1);
    assert_true(hn_tok_is_special(t, 1));
    hn_tok_close(t);
}

/* added_tokens.json gives ids alone: what is special stands in the other files. */
static void old_files(void **state) {
    (void)state;
    hn_tok *t;
    hn_err e = { 0 };
    hn_ids ids = { 0 };
    clear();
    put("vocab.json", "{\"a\": 0, \"b\": 1, \"ab\": 2, \"<|endoftext|>\": 3}");
    put("merges.txt", "#version: 0.2\r\na b\r\n\r\n");
    put("added_tokens.json", "{\"<x>\": 4, \"<y>\": 5, \"<z>\": 6}");
    put("special_tokens_map.json",
        "{\"additional_special_tokens\": [\"<x>\"], \"pad_token\": {\"content\": \"<y>\"}}");
    if (hn_tok_open(&t, dir, &e)) fail_msg("%s", e.msg);
    assert_true(hn_tok_is_special(t, 3) && hn_tok_is_special(t, 4) && hn_tok_is_special(t, 5) &&
                !hn_tok_is_special(t, 6));
    assert_int_equal(hn_tok_role_id(t, HN_TOK_PAD), 5);
    assert_int_equal(hn_tok_role_id(t, HN_TOK_EOS), 3);
    assert_int_equal(hn_tok_encode(t, "<x>ab<z>b<|endoftext|>", 22, true, &ids, NULL), HN_OK);
    static const int32_t want[] = { 4, 2, 6, 1, 3 };
    assert_int_equal(ids.n, 5);
    assert_memory_equal(ids.id, want, sizeof want);
    hn_ids_free(&ids);
    hn_tok_close(t);
}

/* ---- allocations that fail ---- */
static int open_and_use(void *ctx, hn_err *e) {
    static const char text[] = "a e\xCC\x81\xCC\x96 ab<x>  it's 12 "
                               "abababababababababababababababababababababababababababababab \xFF";
    hn_tok *t;
    hn_ids ids = { .want_at = true };
    hn_buf out = { 0 };
    int rc = hn_tok_open(&t, ctx, e);
    if (rc) return rc;
    rc = hn_tok_encode(t, text, sizeof text - 1, true, &ids, e);
    if (!rc) rc = hn_tok_decode(t, ids.id, ids.n, false, &out, e);
    hn_ids_free(&ids);
    hn_buf_free(&out);
    hn_tok_close(t);
    return rc;
}

static int train_some(void *ctx, hn_err *e) {
    static const char *const special[] = { "<x>" };
    static const char text[] = "abab abab <x> cdcd 12 abc";
    hn_tok_recipe r = { .vocab = 264, .special = special, .n_special = 1 };
    hn_tok *t;
    (void)ctx;
    int rc = hn_tok_train(&t, text, sizeof text - 1, &r, e);
    hn_tok_close(t);
    return rc;
}

static int convert(void *ctx, hn_err *e) {
    hn_tok *t;
    int rc = hn_tok_from_llama2c(&t, ctx, 262, e);
    hn_tok_close(t);
    return rc;
}

static void torture_all(void **state) {
    (void)state;
    const char *corpus = HN_SOURCE_ROOT "/tests/fuzz/corpus/tokenizer/";
    static const char *const files[] = { "bytes", "meta", "space", "unigram", "parts" };
    char path[4096];
    json_set_alloc_funcs(hn_alloc, hn_free);
    for (int i = 0; i < 5; i++) {
        char *data, *nl;
        size_t n;
        snprintf(path, sizeof path, "%s%s", corpus, files[i]);
        assert_int_equal(hn_file_read(path, &data, &n, NULL), HN_OK);
        assert_non_null(nl = memrchr(data, '\n', n));
        *nl = 0;
        clear();
        put("tokenizer.json", data);
        put("tokenizer_config.json", "{\"added_tokens_decoder\": {\"21\": {\"content\": \"<x>\", "
                                     "\"special\": true}}, \"eos_token\": \"<x>\"}");
        hn_free(data);
        torture(open_and_use, (void *)(uintptr_t)dir);
    }
    clear();
    put("vocab.json", "{\"a\": 0, \"b\": 1, \"ab\": 2}");
    put("merges.txt", "#version: 0.2\na b\n");
    put("added_tokens.json", "{\"<x>\": 3}");
    put("tokenizer_config.json", "{\"tokenizer_class\": \"Qwen2Tokenizer\"}");
    torture(open_and_use, (void *)(uintptr_t)dir);
    clear();
    put("tokenizer_config.json", "{\"char_ords\": [97, 98]}");
    torture(open_and_use, (void *)(uintptr_t)dir);
    torture(train_some, NULL);
    char *data;
    size_t n;
    snprintf(path, sizeof path, "%sllama2c", corpus);
    assert_int_equal(hn_file_read(path, &data, &n, NULL), HN_OK);
    snprintf(path, sizeof path, "%s/tokens.bin", dir);
    assert_int_equal(hn_file_write(path, data + 1, n - 1, NULL), HN_OK);
    hn_free(data);
    torture(convert, path);
    json_set_alloc_funcs(malloc, free);
}

static int remove_dir(void **state) {
    (void)state;
    return hn_dir_remove(dir, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(bad_json),     cmocka_unit_test(bad_patterns),
                                        cmocka_unit_test(bad_files),    cmocka_unit_test(endless_pattern),
                                        cmocka_unit_test(long_numbers), cmocka_unit_test(old_files),
                                        cmocka_unit_test(torture_all) };
    dir = scratch_dir();
    return cmocka_run_group_tests(tests, NULL, remove_dir);
}
