/* tok_parts.c - the parts of a tokenizer.json, each turned into steps.
 *
 *   normalizer      Sequence, NFC, NFD, Replace (String), Prepend
 *   pre_tokenizer   Sequence, Split, ByteLevel (last), Digits, Metaspace
 *   model           BPE
 *   post_processor  Sequence, TemplateProcessing, ByteLevel (which changes offsets only)
 *   decoder         ByteLevel; Metaspace; or a Sequence of Replace, ByteFallback, Fuse, Strip in this order
 *
 * Truncation and padding that a file may hold belong to a batch, not to a text, and are not applied. */
#include <string.h>

#include "text/tok.h"
#include "text/utf8.h"

enum { DEEPEST = 8 };

static int unknown_part(const char *where, const char *type, const char *why, hn_err *e) {
    return hn_fail(e, HN_EUNSUP, "%s: `%.80s` is not supported%s%s", where, type ? type : "(no type)",
                   *why ? ": " : "", why);
}

static int keep(hn_tok *t, const json_t *v, tok_key *k) {
    size_t n = json_string_length(v);
    if (!(k->s = hn_arena_str(t->arena, json_string_value(v), n))) return HN_ENOMEM;
    k->n = (int32_t)n;
    return HN_OK;
}

static int keep_text(hn_tok *t, const char *s, tok_key *k) {
    k->n = (int32_t)strlen(s);
    return (k->s = hn_arena_str(t->arena, s, (size_t)k->n)) ? HN_OK : HN_ENOMEM;
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
    const json_t *pattern = json_object_get(json_object_get(o, "pattern"), "String"),
                 *content = json_object_get(o, "content");
    if (!json_is_string(pattern) || !json_string_length(pattern) || !json_is_string(content))
        return unknown_part("normalizer", "Replace", "only a non-empty String pattern and a content are", e);
    tok_step *s = new_step(t, TOK_REPLACE, e);
    if (!s) return HN_EUNSUP;
    s->pattern.kind = TOK_FIND_TEXT;
    if (keep(t, pattern, &s->pattern.text) || keep(t, content, &s->text)) return HN_ENOMEM;
    return HN_OK;
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

static int add_normalizer(hn_tok *t, const json_t *o, int depth, hn_err *e) {
    const char *type = tok_json_str(o, "type");
    tok_step *s;
    int rc = HN_OK;
    if (!o || json_is_null(o)) return HN_OK;
    if (!type || depth > DEEPEST) return unknown_part("normalizer", type, "", e);
    if (!strcmp(type, "Sequence")) {
        size_t i;
        json_t *v;
        json_array_foreach(json_object_get(o, "normalizers"), i,
                           v) if ((rc = add_normalizer(t, v, depth + 1, e))) return rc;
        return HN_OK;
    }
    if (!strcmp(type, "Replace")) return add_replace(t, o, e);
    if (t->sp && !strcmp(type, "SentencePiece")) return add_sentence(t, o, e);
    if (!strcmp(type, "Prepend")) {
        const json_t *text = json_object_get(o, "prepend");
        if (!json_is_string(text)) return hn_fail(e, HN_EPARSE, "normalizer.prepend: has to be a string");
        return (s = new_step(t, TOK_PREPEND, e)) ? keep(t, text, &s->text) : HN_EUNSUP;
    }
    if (strcmp(type, "NFC") && strcmp(type, "NFD")) return unknown_part("normalizer", type, "", e);
    if (!(s = new_step(t, TOK_NORMAL, e))) return HN_EUNSUP;
    s->compose = type[2] == 'C';
    return HN_OK;
}

/* ---- pre-tokenizers ---- */
static void note_pattern(hn_tok *t, const char *regex) { hn_buf_fmt(&t->patterns, "%s\n", regex); }

static int add_split(hn_tok *t, const json_t *o, hn_err *e) {
    static const char *const names[] = { "Isolated", "Removed", "MergedWithPrevious", "MergedWithNext",
                                         "Contiguous" };
    const json_t *pattern = json_object_get(o, "pattern");
    const char *regex = tok_json_str(pattern, "Regex"), *how = tok_json_str(o, "behavior");
    tok_step *s = new_step(t, TOK_SPLIT, e);
    int b = 0;
    if (!s) return HN_EUNSUP;
    while (b < 5 && (!how || strcmp(how, names[b]))) b++;
    if (b == 5) return unknown_part("pre_tokenizer.Split.behavior", how, "", e);
    s->behavior = (tok_behavior)b;
    s->invert = is_set(o, "invert", false);
    note_pattern(t, regex && s->behavior == TOK_ISOLATED && !s->invert ? regex : "?");
    if (regex) return tok_regex_compile(t, &s->pattern, regex, e);
    const json_t *text = json_object_get(pattern, "String");
    if (!json_string_length(text))
        return hn_fail(e, HN_EPARSE, "pre_tokenizer.Split.pattern: has to be a String or a Regex");
    s->pattern.kind = TOK_FIND_TEXT;
    return keep(t, text, &s->pattern.text);
}

static int add_byte_level(hn_tok *t, const json_t *o, hn_err *e) {
    tok_step *s;
    t->byte_level = true;
    if (is_set(o, "add_prefix_space", true)) {
        if (!(s = new_step(t, TOK_PREPEND, e))) return HN_EUNSUP;
        if (keep_text(t, " ", &s->text)) return HN_ENOMEM;
        s->unless = true;
        note_pattern(t, "?");
    }
    if (!is_set(o, "use_regex", true)) return HN_OK;
    note_pattern(t, TOK_GPT2);
    if (!(s = new_step(t, TOK_SPLIT, e))) return HN_EUNSUP;
    return tok_regex_compile(t, &s->pattern, TOK_GPT2, e);
}

/* The character of Metaspace and its scheme: -1 unknown, 0 never, 1 first, 2 always. */
static int metaspace_scheme(const json_t *o, const json_t **mark) {
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
    int how = metaspace_scheme(o, &mark);
    if (how < 0 || !mark)
        return unknown_part("pre_tokenizer", "Metaspace", "with this replacement or prepend_scheme", e);
    if (!(s = new_step(t, TOK_REPLACE, e))) return HN_EUNSUP;
    s->pattern.kind = TOK_FIND_TEXT;
    if (keep_text(t, " ", &s->pattern.text) || keep(t, mark, &s->text)) return HN_ENOMEM;
    if (how) {
        if (!(s = new_step(t, TOK_PREPEND, e))) return HN_EUNSUP;
        if (keep(t, mark, &s->text)) return HN_ENOMEM;
        s->unless = true;
        s->at_start = how == 1;
    }
    if (!is_set(o, "split", true)) return HN_OK;
    if (!(s = new_step(t, TOK_SPLIT, e))) return HN_EUNSUP;
    s->pattern.kind = TOK_FIND_TEXT;
    s->behavior = TOK_MERGED_NEXT;
    return keep(t, mark, &s->pattern.text);
}

static int add_pre_tokenizer(hn_tok *t, const json_t *o, int depth, hn_err *e) {
    const char *type = tok_json_str(o, "type");
    tok_step *s;
    int rc = HN_OK;
    if (!o || json_is_null(o)) return HN_OK;
    if (!type || depth > DEEPEST) return unknown_part("pre_tokenizer", type, "", e);
    if (t->byte_level) return unknown_part("pre_tokenizer", type, "ByteLevel has to be the last one", e);
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
    if (strcmp(type, "Digits")) return unknown_part("pre_tokenizer", type, "", e);
    if (!(s = new_step(t, TOK_SPLIT, e))) return HN_EUNSUP;
    s->pattern.kind = TOK_FIND_NUMERIC;
    note_pattern(t, is_set(o, "individual_digits", false) ? "\\p{N}" : "?");
    s->behavior = is_set(o, "individual_digits", false) ? TOK_ISOLATED : TOK_CONTIGUOUS;
    return HN_OK;
}

/* ---- post-processors ---- */
static int put_ids(const json_t *special, int32_t **to, int64_t *n, int64_t *cap, hn_err *e) {
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(special, "ids"), i, v) {
        json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
        if (id < 0 || id >= TOK_MAX_ID)
            return hn_fail(e, HN_ERANGE, "post_processor: a special token with a bad id");
        if (hn_grow(to, cap, *n + 1, sizeof **to)) return HN_ENOMEM;
        (*to)[(*n)++] = (int32_t)id;
    }
    return HN_OK;
}

/* `single` is special tokens around the text A; an outer template goes around an inner one. */
static int add_template(hn_tok *t, const json_t *o, hn_err *e) {
    const json_t *single = json_object_get(o, "single"), *specials = json_object_get(o, "special_tokens"),
                 *sp, *x;
    int32_t *before = NULL;
    int64_t n = 0, cap = 0;
    size_t i;
    bool behind = false;
    int rc = HN_OK;
    json_array_foreach(single, i, x) {
        const char *id = tok_json_str(sp = json_object_get(x, "SpecialToken"), "id");
        const char *seq = tok_json_str(json_object_get(x, "Sequence"), "id");
        if (seq && !strcmp(seq, "A") && !behind) behind = true;
        else if (!id || !(sp = json_object_get(specials, id)))
            rc = hn_fail(e, HN_EPARSE, "post_processor.single[%zu]: neither A nor a known special token", i);
        else if (behind) rc = put_ids(sp, &t->after, &t->n_after, &t->cap_after, e);
        else rc = put_ids(sp, &before, &n, &cap, e);
        if (rc) break;
    }
    if (!rc && !behind) rc = hn_fail(e, HN_EPARSE, "post_processor.single: the text A is not in it");
    if (!rc && n) rc = hn_grow(&t->before, &t->cap_before, t->n_before + n, sizeof *before);
    if (!rc && n) {
        memmove(t->before + n, t->before, (size_t)t->n_before * sizeof *before);
        memcpy(t->before, before, (size_t)n * sizeof *before);
        t->n_before += n;
    }
    hn_free(before);
    return rc;
}

static int add_post(hn_tok *t, const json_t *o, int depth, hn_err *e) {
    const char *type = tok_json_str(o, "type");
    if (!o || json_is_null(o)) return HN_OK;
    if (!type || depth > DEEPEST) return unknown_part("post_processor", type, "", e);
    if (!strcmp(type, "Sequence")) {
        size_t i;
        json_t *v;
        int rc;
        json_array_foreach(json_object_get(o, "processors"), i,
                           v) if ((rc = add_post(t, v, depth + 1, e))) return rc;
        return HN_OK;
    }
    if (!strcmp(type, "TemplateProcessing")) return add_template(t, o, e);
    return strcmp(type, "ByteLevel") ? unknown_part("post_processor", type, "", e) : HN_OK;
}

/* ---- decoders ---- */
static int decode_replace(hn_tok *t, const json_t *o, hn_err *e) {
    const json_t *pattern = json_object_get(json_object_get(o, "pattern"), "String"),
                 *content = json_object_get(o, "content");
    if (!json_string_length(pattern) || !json_is_string(content))
        return unknown_part("decoder", "Replace", "only a non-empty String pattern and a content are", e);
    return keep(t, pattern, &t->dec_from) || keep(t, content, &t->dec_to) ? HN_ENOMEM : HN_OK;
}

static int decode_strip(hn_tok *t, const json_t *o, hn_err *e) {
    json_int_t start = json_integer_value(json_object_get(o, "start")),
               stop = json_integer_value(json_object_get(o, "stop"));
    const json_t *content = json_object_get(o, "content");
    const char *s = json_string_value(content);
    int32_t cp;
    if (stop || start < 0 || start > 1000000 || !s || !*s || hn_utf8_get(s, strlen(s), &cp) != (int)strlen(s))
        return unknown_part("decoder", "Strip", "only one character and `stop` 0 are", e);
    t->dec_strip_n = (int)start;
    return keep(t, content, &t->dec_strip);
}

static int add_decoders(hn_tok *t, const json_t *list, hn_err *e) {
    static const char *const order[] = { "Replace", "ByteFallback", "Fuse", "Strip" };
    int at = -1, rc = HN_OK;
    bool fused = false;
    size_t i;
    json_t *o;
    json_array_foreach(list, i, o) {
        const char *type = tok_json_str(o, "type");
        int k = 0;
        while (k < 4 && (!type || strcmp(type, order[k]))) k++;
        if (k == 4) return unknown_part("decoder", type, "", e);
        if (k <= at || (k == 3 && !fused))
            return unknown_part("decoder", type, "in this place of the Sequence", e);
        if (k == 0) rc = decode_replace(t, o, e);
        else if (k == 1) t->dec_bytes = true;
        else if (k == 2) fused = true;
        else rc = decode_strip(t, o, e);
        if (rc) return rc;
        at = k;
    }
    return HN_OK;
}

static int add_decoder(hn_tok *t, const json_t *o, hn_err *e) {
    const char *type = tok_json_str(o, "type");
    const json_t *mark;
    t->decoder = TOK_DEC_JOIN;
    bool byte_level = type && !strcmp(type, "ByteLevel");
    if (byte_level != t->byte_level)
        return unknown_part("decoder", type, "ByteLevel has to be pre_tokenizer and decoder or neither", e);
    if (byte_level) return HN_OK;
    if (!o || json_is_null(o)) {
        t->decoder = TOK_DEC_SPACED;
        return HN_OK;
    }
    if (type && !strcmp(type, "Sequence")) return add_decoders(t, json_object_get(o, "decoders"), e);
    if (type && !strcmp(type, "Fuse")) return HN_OK;
    if (!type || strcmp(type, "Metaspace")) return unknown_part("decoder", type, "", e);
    int how = metaspace_scheme(o, &mark);
    if (how < 0 || !mark)
        return unknown_part("decoder", "Metaspace", "with this replacement or prepend_scheme", e);
    if (how) t->decoder = TOK_DEC_META;
    return keep(t, mark, &t->dec_from) || keep_text(t, " ", &t->dec_to) ? HN_ENOMEM : HN_OK;
}

/* ---- model ---- */
static int check_model(hn_tok *t, const json_t *m, hn_err *e) {
    static const char *const empty[] = { "continuing_subword_prefix", "end_of_word_suffix" };
    const char *type = tok_json_str(m, "type");
    if (!json_is_object(m)) return hn_fail(e, HN_EPARSE, "model: is missing");
    t->unigram = type && !strcmp(type, "Unigram");
    if (type && strcmp(type, "BPE") && !t->unigram)
        return unknown_part("model.type", type, "BPE and Unigram are", e);
    const json_t *dropout = json_object_get(m, "dropout");
    if (dropout && !json_is_null(dropout) && json_number_value(dropout) != 0)
        return unknown_part("model", "dropout", "set it to null", e);
    for (int i = 0; i < 2; i++) {
        const char *s = tok_json_str(m, empty[i]);
        if (s && *s) return unknown_part("model", empty[i], "", e);
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
    if (!rc) rc = add_pre_tokenizer(t, json_object_get(root, "pre_tokenizer"), 0, e);
    if (!rc && t->patterns.oom) rc = HN_ENOMEM;
    if (!rc) rc = add_post(t, json_object_get(root, "post_processor"), 0, e);
    if (!rc) rc = add_decoder(t, json_object_get(root, "decoder"), e);
    return rc;
}

void tok_parts_free(hn_tok *t) {
    for (int i = 0; i < TOK_MAX_STEPS; i++) pcre2_code_free(t->step[i].pattern.re);
    hn_free(t->before);
    hn_free(t->after);
}
