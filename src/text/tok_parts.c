/* tok_parts.c - the first parts of a tokenizer.json, each turned into steps.
 *
 *   normalizer      Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace, Prepend,
 * ByteLevel, Precompiled; SentencePiece (tok_sp.c) pre_tokenizer   Sequence, Split, ByteLevel, Digits,
 * Metaspace, Whitespace, WhitespaceSplit, Punctuation, BertPreTokenizer, CharDelimiterSplit model BPE,
 * Unigram */
#include <string.h>

#include <nettle/base64.h>

#include "text/tok.h"
#include "text/utf8.h"

enum { DEEPEST = 8 };

int tok_unknown_part(const char *where, const char *type, const char *why, hn_err *e) {
    return hn_fail(e, HN_EUNSUP, "%s: `%.80s` is not supported%s%s", where, type ? type : "(no type)",
                   *why ? ": " : "", why);
}

int tok_keep(hn_tok *t, const json_t *v, tok_key *k, const char *where, hn_err *e) {
    if (!json_is_string(v)) return hn_fail(e, HN_EPARSE, "%s: has to be a string", where);
    size_t n = json_string_length(v);
    if (!(k->s = hn_arena_str(t->arena, json_string_value(v), n))) return HN_ENOMEM;
    k->n = (int32_t)n;
    return HN_OK;
}

static int keep_text(hn_tok *t, const char *s, tok_key *k) {
    k->n = (int32_t)strlen(s);
    return (k->s = hn_arena_str(t->arena, s, (size_t)k->n)) ? HN_OK : HN_ENOMEM;
}

int tok_pattern_load(hn_tok *t, tok_pattern *p, const json_t *o, const char *where, hn_err *e) {
    const char *regex = tok_json_str(o, "Regex");
    const json_t *text = json_object_get(o, "String");
    if (regex) return tok_regex_compile(t, p, regex, e);
    if (!json_string_length(text))
        return hn_fail(e, HN_EPARSE, "%s: its pattern has to be a String or a Regex", where);
    p->kind = TOK_FIND_TEXT;
    return tok_keep(t, text, &p->text, where, e);
}

/* NULL: there are too many (HN_EUNSUP). */
static tok_step *new_step(hn_tok *t, tok_step_kind kind, hn_err *e) {
    if (t->n_step == TOK_MAX_STEPS) {
        hn_fail(e, HN_EUNSUP, "normalizer and pre_tokenizer: more than %d steps", TOK_MAX_STEPS);
        return NULL;
    }
    t->step[t->n_step].kind = kind;
    return &t->step[t->n_step++];
}

/* A boolean that may be absent. */
static bool is_set(const json_t *o, const char *key, bool otherwise) {
    const json_t *v = json_object_get(o, key);
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

/* ---- normalizers ---- */
static int add_replace(hn_tok *t, const json_t *o, hn_err *e) {
    tok_step *s = new_step(t, TOK_REPLACE, e);
    if (!s) return HN_EUNSUP;
    int rc = tok_pattern_load(t, &s->pattern, json_object_get(o, "pattern"), "normalizer: Replace", e);
    return rc ? rc : tok_keep(t, json_object_get(o, "content"), &s->text, "normalizer: Replace: content", e);
}

static int add_prepend(hn_tok *t, const json_t *o, hn_err *e) {
    tok_step *s = new_step(t, TOK_PREPEND, e);
    return s ? tok_keep(t, json_object_get(o, "prepend"), &s->text, "normalizer.prepend", e) : HN_EUNSUP;
}

static int add_strip(hn_tok *t, const json_t *o, hn_err *e) {
    tok_step *s = new_step(t, TOK_TRIM, e);
    if (!s) return HN_EUNSUP;
    s->left = is_set(o, "strip_left", true);
    s->right = is_set(o, "strip_right", true);
    return HN_OK;
}

/* The map is written in base64. */
static int add_precompiled(hn_tok *t, const json_t *o, hn_err *e) {
    const json_t *map = json_object_get(o, "precompiled_charsmap");
    size_t n = json_string_length(map), m = BASE64_DECODE_LENGTH(n);
    struct base64_decode_ctx c;
    if (!json_is_string(map))
        return hn_fail(e, HN_EPARSE, "normalizer: Precompiled: has no precompiled_charsmap");
    if (t->map.data) return tok_unknown_part("normalizer", "Precompiled", "more than once", e);
    if (!new_step(t, TOK_PRECOMPILED, e)) return HN_EUNSUP;
    uint8_t *data = hn_alloc(m + 1);
    if (!data) return HN_ENOMEM;
    base64_decode_init(&c);
    int rc = base64_decode_update(&c, &m, data, n, json_string_value(map)) && base64_decode_final(&c)
                 ? tok_charsmap_take(&t->map, (const char *)data, m, e)
                 : hn_fail(e, HN_EPARSE, "normalizer: Precompiled: precompiled_charsmap is not base64");
    hn_free(data);
    return rc;
}

static int add_sentence(hn_tok *t, const json_t *o, hn_err *e) {
    const json_t *map = json_object_get(o, "map");
    t->dummy = is_set(o, "dummy", true);
    t->squeeze = is_set(o, "squeeze", true);
    t->escape = is_set(o, "escape", true);
    t->suffix = is_set(o, "suffix", false);
    if (!new_step(t, TOK_SENTENCE, e)) return HN_EUNSUP;
    return tok_charsmap_take(&t->map, json_string_value(map), json_string_length(map), e);
}

static const struct {
    const char *type;
    tok_step_kind kind;
    bool compose, compat;
} plain[] = { { "NFC", TOK_NORMAL, true, false },       { "NFD", TOK_NORMAL, false, false },
              { "NFKC", TOK_NORMAL, true, true },       { "NFKD", TOK_NORMAL, false, true },
              { "Lowercase", TOK_LOWER, false, false }, { "StripAccents", TOK_UNMARK, false, false },
              { "ByteLevel", TOK_SPELL, false, false } };

static int add_normalizer(hn_tok *t, const json_t *o, int depth, hn_err *e) {
    const char *type = tok_json_str(o, "type");
    int rc = HN_OK;
    if (!o || json_is_null(o)) return HN_OK;
    if (!type || depth > DEEPEST) return tok_unknown_part("normalizer", type, "", e);
    if (!strcmp(type, "Sequence")) {
        size_t i;
        json_t *v;
        json_array_foreach(json_object_get(o, "normalizers"), i,
                           v) if ((rc = add_normalizer(t, v, depth + 1, e))) return rc;
        return HN_OK;
    }
    if (!strcmp(type, "Replace")) return add_replace(t, o, e);
    if (!strcmp(type, "Prepend")) return add_prepend(t, o, e);
    if (!strcmp(type, "Strip")) return add_strip(t, o, e);
    if (!strcmp(type, "Precompiled")) return add_precompiled(t, o, e);
    if (t->sp && !strcmp(type, "SentencePiece")) return add_sentence(t, o, e);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        if (strcmp(type, plain[i].type)) continue;
        tok_step *s = new_step(t, plain[i].kind, e);
        if (!s) return HN_EUNSUP;
        s->compose = plain[i].compose;
        s->compat = plain[i].compat;
        return HN_OK;
    }
    return tok_unknown_part("normalizer", type, "", e);
}

/* ---- pre-tokenizers ---- */
static void note_pattern(hn_tok *t, const char *regex) { hn_buf_fmt(&t->patterns, "%s\n", regex); }

static int behavior_of(const json_t *o, const char *otherwise, const char *where, tok_behavior *b,
                       hn_err *e) {
    static const char *const names[] = { "Isolated", "Removed", "MergedWithPrevious", "MergedWithNext",
                                         "Contiguous" };
    const json_t *v = json_object_get(o, "behavior");
    const char *how = v ? json_string_value(v) : otherwise;
    for (int i = 0; i < 5 && how; i++) {
        if (strcmp(how, names[i])) continue;
        *b = (tok_behavior)i;
        return HN_OK;
    }
    return tok_unknown_part(where, how, "", e);
}

static int add_split(hn_tok *t, const json_t *o, hn_err *e) {
    const json_t *pattern = json_object_get(o, "pattern");
    const char *regex = tok_json_str(pattern, "Regex");
    tok_step *s = new_step(t, TOK_SPLIT, e);
    if (!s) return HN_EUNSUP;
    int rc = behavior_of(o, NULL, "pre_tokenizer.Split.behavior", &s->behavior, e);
    if (rc) return rc;
    s->invert = is_set(o, "invert", false);
    note_pattern(t, regex && s->behavior == TOK_ISOLATED && !s->invert ? regex : "?");
    return tok_pattern_load(t, &s->pattern, pattern, "pre_tokenizer: Split", e);
}

/* Cuts where characters are of a class. */
static int add_class(hn_tok *t, bool (*is)(int32_t), tok_behavior behavior, hn_err *e) {
    tok_step *s = new_step(t, TOK_SPLIT, e);
    if (!s) return HN_EUNSUP;
    s->pattern.kind = TOK_FIND_CLASS;
    s->pattern.is = is;
    s->behavior = behavior;
    note_pattern(t, is == hn_uni_numeric && behavior == TOK_ISOLATED ? "\\p{N}" : "?");
    return HN_OK;
}

static int add_punctuation(hn_tok *t, const json_t *o, hn_err *e) {
    tok_behavior b = TOK_ISOLATED;
    int rc = behavior_of(o, "Isolated", "pre_tokenizer.Punctuation.behavior", &b, e);
    return rc ? rc : add_class(t, hn_uni_punct, b, e);
}

static int add_delimiter(hn_tok *t, const json_t *o, hn_err *e) {
    tok_step *s = new_step(t, TOK_SPLIT, e);
    if (!s) return HN_EUNSUP;
    note_pattern(t, "?");
    s->pattern.kind = TOK_FIND_TEXT;
    s->behavior = TOK_REMOVED;
    int rc = tok_keep(t, json_object_get(o, "delimiter"), &s->pattern.text,
                      "pre_tokenizer: CharDelimiterSplit", e);
    if (!rc && !s->pattern.text.n)
        rc = hn_fail(e, HN_EPARSE, "pre_tokenizer: CharDelimiterSplit: its delimiter is empty");
    return rc;
}

/* Where it is the last step and what comes out goes to a vocabulary in the same spelling, bytes stay bytes
 * (byte_level); else they are spelled here. */
static int add_byte_level(hn_tok *t, const json_t *o, hn_err *e) {
    tok_step *s;
    if (is_set(o, "add_prefix_space", true)) {
        if (!(s = new_step(t, TOK_PREPEND, e))) return HN_EUNSUP;
        if (keep_text(t, " ", &s->text)) return HN_ENOMEM;
        s->unless = true;
        note_pattern(t, "?");
    }
    if (is_set(o, "use_regex", true)) {
        note_pattern(t, TOK_GPT2);
        if (!(s = new_step(t, TOK_SPLIT, e))) return HN_EUNSUP;
        int rc = tok_regex_compile(t, &s->pattern, TOK_GPT2, e);
        if (rc) return rc;
    }
    return t->byte_level || new_step(t, TOK_SPELL, e) ? HN_OK : HN_EUNSUP;
}

/* The character of Metaspace and its scheme: -1 unknown, 0 never, 1 first, 2 always. */
int tok_metaspace_scheme(const json_t *o, const json_t **mark) {
    const char *how = tok_json_str(o, "prepend_scheme");
    const json_t *r = json_object_get(o, "replacement");
    const char *s = json_string_value(r);
    int32_t cp;
    *mark = s && *s && hn_utf8_get(s, strlen(s), &cp) == (int)strlen(s) ? r : NULL;
    if (!is_set(o, "add_prefix_space", true)) return 0;
    if (!how || !strcmp(how, "always")) return 2;
    return !strcmp(how, "first") ? 1 : !strcmp(how, "never") ? 0 : -1;
}

static int add_metaspace(hn_tok *t, const json_t *o, hn_err *e) {
    const json_t *mark;
    tok_step *s;
    int how = tok_metaspace_scheme(o, &mark);
    if (how < 0 || !mark)
        return tok_unknown_part("pre_tokenizer", "Metaspace", "with this replacement or prepend_scheme", e);
    if (!(s = new_step(t, TOK_REPLACE, e))) return HN_EUNSUP;
    s->pattern.kind = TOK_FIND_TEXT;
    if (keep_text(t, " ", &s->pattern.text) || tok_keep(t, mark, &s->text, "pre_tokenizer: Metaspace", e))
        return HN_ENOMEM;
    if (how) {
        if (!(s = new_step(t, TOK_PREPEND, e))) return HN_EUNSUP;
        if (tok_keep(t, mark, &s->text, "pre_tokenizer: Metaspace", e)) return HN_ENOMEM;
        s->unless = true;
        s->at_start = how == 1;
    }
    if (!is_set(o, "split", true)) return HN_OK;
    if (!(s = new_step(t, TOK_SPLIT, e))) return HN_EUNSUP;
    s->pattern.kind = TOK_FIND_TEXT;
    s->behavior = TOK_MERGED_NEXT;
    return tok_keep(t, mark, &s->pattern.text, "pre_tokenizer: Metaspace", e);
}

static int add_pre_tokenizer(hn_tok *t, const json_t *o, int depth, hn_err *e) {
    const char *type = tok_json_str(o, "type");
    int rc = HN_OK;
    if (!o || json_is_null(o)) return HN_OK;
    if (!type || depth > DEEPEST) return tok_unknown_part("pre_tokenizer", type, "", e);
    if (!strcmp(type, "Sequence")) {
        size_t i;
        json_t *v;
        json_array_foreach(json_object_get(o, "pretokenizers"), i,
                           v) if ((rc = add_pre_tokenizer(t, v, depth + 1, e))) return rc;
        return HN_OK;
    }
    if (!strcmp(type, "Split")) return add_split(t, o, e);
    if (!strcmp(type, "ByteLevel")) return add_byte_level(t, o, e);
    if (!strcmp(type, "Metaspace")) return add_metaspace(t, o, e);
    if (!strcmp(type, "Digits"))
        return add_class(t, hn_uni_numeric,
                         is_set(o, "individual_digits", false) ? TOK_ISOLATED : TOK_CONTIGUOUS, e);
    if (!strcmp(type, "Punctuation")) return add_punctuation(t, o, e);
    if (!strcmp(type, "CharDelimiterSplit")) return add_delimiter(t, o, e);
    if (!strcmp(type, "WhitespaceSplit")) return add_class(t, hn_uni_space, TOK_REMOVED, e);
    if (!strcmp(type, "Whitespace")) { /* \w+|[^\w\s]+ */
        if ((rc = add_class(t, hn_uni_space, TOK_REMOVED, e))) return rc;
        return add_class(t, hn_uni_word, TOK_CONTIGUOUS, e);
    }
    if (strcmp(type, "BertPreTokenizer")) return tok_unknown_part("pre_tokenizer", type, "", e);
    rc = add_class(t, hn_uni_space, TOK_REMOVED, e);
    return rc ? rc : add_class(t, hn_uni_punct, TOK_ISOLATED, e);
}

/* The last part of a list, however deep. */
static const json_t *last_of(const json_t *o, const char *list, int depth) {
    const json_t *all = json_object_get(o, list);
    size_t n = json_array_size(all);
    return n && depth < DEEPEST ? last_of(json_array_get(all, n - 1), list, depth + 1) : o;
}

/* How many parts are ByteLevel. */
static int byte_levels(const json_t *o, const char *list, int depth) {
    const char *type = tok_json_str(o, "type");
    int n = type && !strcmp(type, "ByteLevel");
    size_t i;
    json_t *v;
    if (depth < DEEPEST)
        json_array_foreach(json_object_get(o, list), i, v) n += byte_levels(v, list, depth + 1);
    return n;
}

/* Whether the only spelling of bytes is the last thing that happens before the merges. */
static bool stays_bytes(const hn_tok *t, const json_t *root) {
    const json_t *pre = json_object_get(root, "pre_tokenizer"), *norm = json_object_get(root, "normalizer"),
                 *dec = json_object_get(root, "decoder");
    if (json_array_size(json_object_get(dec, "decoders")) > 1) return false;
    const char *type = tok_json_str(last_of(pre, "pretokenizers", 0), "type");
    return type && !strcmp(type, "ByteLevel") && byte_levels(pre, "pretokenizers", 0) == 1 && !t->unigram &&
           !byte_levels(norm, "normalizers", 0) && byte_levels(dec, "decoders", 0) == 1;
}

/* ---- model ---- */
static int check_model(hn_tok *t, const json_t *m, hn_err *e) {
    static const char *const empty[] = { "continuing_subword_prefix", "end_of_word_suffix" };
    const char *type = tok_json_str(m, "type");
    if (!json_is_object(m)) return hn_fail(e, HN_EPARSE, "model: is missing");
    t->unigram = type && !strcmp(type, "Unigram");
    if (type && strcmp(type, "BPE") && !t->unigram)
        return tok_unknown_part("model.type", type, "BPE and Unigram are", e);
    const json_t *dropout = json_object_get(m, "dropout");
    if (dropout && !json_is_null(dropout) && json_number_value(dropout) != 0)
        return tok_unknown_part("model", "dropout", "set it to null", e);
    for (int i = 0; i < 2; i++) {
        const char *s = tok_json_str(m, empty[i]);
        if (s && *s) return tok_unknown_part("model", empty[i], "", e);
    }
    t->byte_fallback = is_set(m, "byte_fallback", false);
    t->fuse_unk = is_set(m, "fuse_unk", false);
    t->ignore_merges = is_set(m, "ignore_merges", false);
    return HN_OK;
}

int tok_parts_load(hn_tok *t, const json_t *root, hn_err *e) {
    int rc = check_model(t, json_object_get(root, "model"), e);
    if (!rc) rc = add_normalizer(t, json_object_get(root, "normalizer"), 0, e);
    t->n_norm = t->n_step;
    if (!rc) t->byte_level = stays_bytes(t, root);
    if (!rc) rc = add_pre_tokenizer(t, json_object_get(root, "pre_tokenizer"), 0, e);
    if (!rc && t->patterns.oom) rc = HN_ENOMEM;
    return rc ? rc : tok_post_load(t, root, e);
}

void tok_parts_free(hn_tok *t) {
    for (int i = 0; i < TOK_MAX_STEPS; i++) pcre2_code_free(t->step[i].pattern.re);
    for (int i = 0; i < TOK_MAX_STAGES; i++) pcre2_code_free(t->stage[i].pattern.re);
    hn_free(t->before);
    hn_free(t->after);
}
