/* tok_files.c - the tokenizer files of a model directory, as one tree in the form of tokenizer.json.
 *
 * vocab.json + merges.txt say nothing about the rest of the pipeline; it is what the class named in
 * tokenizer_config.json does (GPT-2 when none is named).  A char_ords tokenizer (one token a character,
 * after four special letters) is the same pipeline without merges. */
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "text/tok.h"
#include "text/utf8.h"

/* The first three are those a tokenizer made here has. */
static const char *const file_names[TOK_FILES] = { "tokenizer.json",    "tokenizer_config.json",
                                                   "tokenizer.model",   "special_tokens_map.json",
                                                   "added_tokens.json", "vocab.json",
                                                   "merges.txt",        "chat_template.jinja",
                                                   "chat_template.json" };

void tok_files_name(hn_tok *t) {
    for (int i = 0; i < TOK_FILES; i++) t->file[i].name = file_names[i];
}

int tok_files_read(hn_tok *t, const char *dir, hn_err *e) {
    hn_buf path = { 0 };
    int rc = HN_OK;
    tok_files_name(t);
    for (int i = 0; i < TOK_FILES && !rc; i++) {
        const char *p = hn_path_join(&path, dir, file_names[i]);
        if (!p) rc = HN_ENOMEM;
        else if (hn_path_exists(p)) rc = hn_file_read(p, &t->file[i].data, &t->file[i].n, e);
    }
    hn_buf_free(&path);
    return rc;
}

int tok_json_load(json_t **root, const char *data, size_t n, const char *name, hn_err *e) {
    int rc = hn_json_parse(root, data, n, name, e);
    if (rc) return rc;
    if (json_is_object(*root)) return HN_OK;
    json_decref(*root);
    *root = NULL;
    return hn_fail(e, HN_EPARSE, "%s: has to be an object", name);
}

const char *tok_json_str(const json_t *o, const char *key) {
    return json_string_value(json_object_get(o, key));
}

/* One of the files as a tree; *root is NULL when it is not there. */
static int load(hn_tok *t, const char *name, json_t **root, hn_err *e) {
    size_t n;
    const char *data = hn_tok_file(t, name, &n);
    *root = NULL;
    return data ? tok_json_load(root, data, n, name, e) : HN_OK;
}

/* ---- tokens with a role ---- */
static const char *role_in(const json_t *o, const char *name) {
    const json_t *v = json_object_get(o, name);
    return json_is_object(v) ? tok_json_str(v, "content") : json_string_value(v);
}

/* tokenizer_config.json first, then special_tokens_map.json.  A null in the first is an answer. */
static int read_roles(hn_tok *t, const json_t *config, const json_t *map) {
    for (int r = 0; r < HN_TOK_ROLES; r++) {
        const char *name = hn_tok_role_name((hn_tok_role)r);
        const char *s = role_in(json_object_get(config, name) ? config : map, name);
        if (s && !t->role[r] && !(t->role[r] = hn_strdup(s))) return HN_ENOMEM;
    }
    return HN_OK;
}

static int default_role(hn_tok *t, hn_tok_role r, const char *s) {
    return t->role[r] || (t->role[r] = hn_strdup(s)) ? HN_OK : HN_ENOMEM;
}

/* ---- added tokens ---- */
static int append_added(json_t *list, const char *content, json_t *id, const json_t *flags, bool special) {
    json_t *a =
        json_pack("{s:s, s:O, s:b, s:b, s:b, s:b, s:b}", "content", content, "id", id, "lstrip",
                  json_is_true(json_object_get(flags, "lstrip")), "rstrip",
                  json_is_true(json_object_get(flags, "rstrip")), "single_word",
                  json_is_true(json_object_get(flags, "single_word")), "normalized",
                  flags ? json_is_true(json_object_get(flags, "normalized")) : !special, "special", special);
    return a && !json_array_append_new(list, a) ? HN_OK : HN_ENOMEM;
}

/* added_tokens_decoder of tokenizer_config.json: {"151643": {"content": ..., flags}}. */
static int add_from_config(json_t *list, const json_t *config, hn_err *e) {
    const json_t *all = json_object_get(config, "added_tokens_decoder");
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)all, key, v) {
        char *end;
        long id = strtol(key, &end, 10);
        const char *content = tok_json_str(v, "content");
        if (!content || *end || end == key || id < 0 || id >= TOK_MAX_ID)
            return hn_fail(e, HN_EPARSE,
                           "tokenizer_config.json: added_tokens_decoder: `%.80s` is not an id with a content",
                           key);
        json_t *n = json_integer(id);
        int rc =
            n ? append_added(list, content, n, v, json_is_true(json_object_get(v, "special"))) : HN_ENOMEM;
        json_decref(n);
        if (rc) return rc;
    }
    return HN_OK;
}

static bool names(const json_t *list, const char *s) {
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v) {
        const char *x = json_is_object(v) ? tok_json_str(v, "content") : json_string_value(v);
        if (x && !strcmp(x, s)) return true;
    }
    return false;
}

/* Whether the files call a token special: it has a role or is one of additional_special_tokens. */
static bool is_special(const hn_tok *t, const json_t *config, const json_t *map, const char *s) {
    static const char key[] = "additional_special_tokens";
    for (int r = 0; r < HN_TOK_ROLES; r++)
        if (t->role[r] && !strcmp(t->role[r], s)) return true;
    return names(json_object_get(config, key), s) || names(json_object_get(map, key), s);
}

/* added_tokens.json: {content: id}; what is known with its flags already stays as it is. */
static int add_from_map(hn_tok *t, json_t *list, const json_t *config, const json_t *map,
                        const json_t *more) {
    const char *content;
    json_t *id;
    int rc;
    json_object_foreach((json_t *)more, content, id) {
        if (names(list, content)) continue;
        if ((rc = append_added(list, content, id, NULL, is_special(t, config, map, content)))) return rc;
    }
    return HN_OK;
}

/* Tokens with a role that are in the vocabulary are special, whoever lists them. */
static int add_roles(hn_tok *t, json_t *list, const json_t *vocab) {
    int rc = HN_OK;
    for (int r = 0; r < HN_TOK_ROLES && !rc; r++) {
        json_t *id = t->role[r] ? json_object_get(vocab, t->role[r]) : NULL;
        if (id && !names(list, t->role[r])) rc = append_added(list, t->role[r], id, NULL, true);
    }
    return rc;
}

/* ---- vocab.json + merges.txt ---- */
#define QWEN2_PATTERN                                                                                        \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"      \
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const struct {
    const char *class;
    bool qwen;
} families[] = { { "GPT2Tokenizer", false },
                 { "GPT2TokenizerFast", false },
                 { "Qwen2Tokenizer", true },
                 { "Qwen2TokenizerFast", true } };

static int family(const json_t *config, bool *qwen, hn_err *e) {
    const char *class = tok_json_str(config, "tokenizer_class");
    *qwen = false;
    for (size_t i = 0; class && i < sizeof families / sizeof *families; i++) {
        if (strcmp(class, families[i].class)) continue;
        *qwen = families[i].qwen;
        return HN_OK;
    }
    if (!class) return HN_OK;
    return hn_fail(
        e, HN_EUNSUP,
        "tokenizer_config.json: tokenizer_class `%.80s` with vocab.json and merges.txt is not known; "
        "save the tokenizer as tokenizer.json",
        class);
}

/* One merge a line, "a b"; a first line "#version: ..." is none. */
static int read_merges(hn_tok *t, json_t *list, hn_err *e) {
    size_t n;
    const char *s = hn_tok_file(t, "merges.txt", &n), *end = s + n;
    for (int line = 1; s < end; line++) {
        const char *nl = memchr(s, '\n', (size_t)(end - s));
        size_t len = (size_t)((nl ? nl : end) - s);
        size_t text = len && s[len - 1] == '\r' ? len - 1 : len;
        bool skip = !text || (text >= 8 && !memcmp(s, "#version", 8));
        const char *gap = memchr(s, ' ', text);
        if (!skip && (!gap || memchr(gap + 1, ' ', text - (size_t)(gap + 1 - s)) ||
                      hn_utf8_valid(s, text) < text || memchr(s, 0, text)))
            return hn_fail(e, HN_EPARSE, "merges.txt: line %d is not two tokens with a space between", line);
        if (!skip && json_array_append_new(list, json_stringn_nocheck(s, text))) return HN_ENOMEM;
        s += len + 1;
    }
    return HN_OK;
}

static json_t *byte_level(bool prefix, bool regex) {
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", prefix, "trim_offsets",
                     0, "use_regex", regex);
}

/* The pipeline of the class around a vocabulary and merges, which it takes over. */
static json_t *vocab_tree(bool qwen, bool prefix, json_t *vocab, json_t *merges) {
    json_t *pre = qwen ? json_pack("{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, o]}", "type", "Sequence",
                                   "pretokenizers", "type", "Split", "pattern", "Regex", QWEN2_PATTERN,
                                   "behavior", "Isolated", "invert", 0, byte_level(prefix, false))
                       : byte_level(prefix, true);
    json_t *norm = qwen ? json_pack("{s:s}", "type", "NFC") : json_null();
    return json_pack("{s:o, s:o, s:o, s:[], s:{s:s, s:o, s:o}}", "normalizer", norm, "pre_tokenizer", pre,
                     "decoder", byte_level(false, false), "added_tokens", "model", "type", "BPE", "vocab",
                     vocab, "merges", merges);
}

static int from_vocab(hn_tok *t, const json_t *config, json_t **root, hn_err *e) {
    json_t *vocab = NULL, *merges = json_array();
    bool qwen = false;
    int rc = merges ? family(config, &qwen, e) : HN_ENOMEM;
    if (!rc) rc = load(t, "vocab.json", &vocab, e);
    if (!rc) rc = read_merges(t, merges, e);
    if (!rc && !default_role(t, HN_TOK_EOS, "<|endoftext|>"))
        rc = qwen ? default_role(t, HN_TOK_PAD, "<|endoftext|>")
                  : default_role(t, HN_TOK_BOS, "<|endoftext|>");
    if (rc) {
        json_decref(vocab);
        json_decref(merges);
        return rc;
    }
    *root = vocab_tree(qwen, json_is_true(json_object_get(config, "add_prefix_space")), vocab, merges);
    return *root ? HN_OK : HN_ENOMEM;
}

/* ---- char_ords ---- */
/* S (separator), E (end), P (padding), U (unknown), then one token a character. */
static int from_chars(hn_tok *t, const json_t *ords, json_t **root, hn_err *e) {
    static const struct {
        hn_tok_role role;
        const char *s;
    } first[] = { { HN_TOK_SEP, "S" }, { HN_TOK_EOS, "E" }, { HN_TOK_PAD, "P" }, { HN_TOK_UNK, "U" } };
    json_t *vocab = json_object(), *v;
    size_t i;
    int rc = vocab ? HN_OK : HN_ENOMEM, id = 0;
    for (; id < 4 && !rc; id++) {
        rc = default_role(t, first[id].role, first[id].s);
        if (!rc && json_object_set_new(vocab, first[id].s, json_integer(id))) rc = HN_ENOMEM;
    }
    json_array_foreach(ords, i, v) {
        json_int_t c = json_is_integer(v) ? json_integer_value(v) : -1;
        char s[8] = { 0 };
        if (rc) break;
        if (c <= 0 || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000) || i >= TOK_MAX_ID - 4)
            rc = hn_fail(e, HN_ERANGE, "tokenizer_config.json: char_ords[%zu] is not a character", i);
        else {
            hn_utf8_put(s, (int32_t)c);
            if (json_object_get(vocab, s))
                rc = hn_fail(e, HN_EPARSE, "tokenizer_config.json: char_ords[%zu]: `%s` is there already", i,
                             s);
            else if (json_object_set_new(vocab, s, json_integer(id++))) rc = HN_ENOMEM;
        }
    }
    if (rc) json_decref(vocab);
    else if (!(*root = json_pack("{s:{s:s}, s:[], s:{s:s, s:s, s:o, s:[]}}", "decoder", "type", "Fuse",
                                 "added_tokens", "model", "type", "BPE", "unk_token", "U", "vocab", vocab,
                                 "merges")))
        rc = HN_ENOMEM;
    return rc;
}

/* ---- the tree ---- */
static int base_tree(hn_tok *t, const json_t *config, json_t **root, hn_err *e) {
    const json_t *ords = json_object_get(config, "char_ords");
    if (hn_tok_file(t, "tokenizer.json", NULL)) return load(t, "tokenizer.json", root, e);
    if (hn_tok_file(t, "vocab.json", NULL) && hn_tok_file(t, "merges.txt", NULL))
        return from_vocab(t, config, root, e);
    if (json_is_array(ords)) return from_chars(t, ords, root, e);
    size_t n;
    const char *model = hn_tok_file(t, "tokenizer.model", &n);
    if (model) return tok_sp_tree(t, config, model, n, root, e);
    return hn_fail(
        e, HN_EIO,
        "no tokenizer here: tokenizer.json, vocab.json and merges.txt, or tokenizer.model are looked for");
}

static int complete(hn_tok *t, json_t *root, const json_t *config, const json_t *map, const json_t *more,
                    hn_err *e) {
    json_t *list = json_object_get(root, "added_tokens");
    int rc;
    if (!json_is_array(list) && (json_object_set_new(root, "added_tokens", list = json_array()) || !list))
        return HN_ENOMEM;
    if ((rc = add_from_config(list, config, e)) || (rc = add_from_map(t, list, config, map, more))) return rc;
    return add_roles(t, list, json_object_get(json_object_get(root, "model"), "vocab"));
}

int tok_files_tree(hn_tok *t, json_t **root, hn_err *e) {
    json_t *config = NULL, *map = NULL, *more = NULL;
    int rc = load(t, "tokenizer_config.json", &config, e);
    if (!rc) rc = load(t, "special_tokens_map.json", &map, e);
    if (!rc) rc = load(t, "added_tokens.json", &more, e);
    if (!rc) rc = read_roles(t, config, map);
    if (!rc) rc = base_tree(t, config, root, e);
    if (!rc) rc = complete(t, *root, config, map, more, e);
    json_decref(config);
    json_decref(map);
    json_decref(more);
    if (rc) {
        json_decref(*root);
        *root = NULL;
    }
    return rc;
}
