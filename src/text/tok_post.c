/* tok_post.c - the last parts of a tokenizer.json: post-processors and decoders.
 *
 *   post_processor  Sequence, TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel (offsets only)
 *   decoder         Sequence of ByteLevel, Metaspace, WordPiece, Replace, Strip, then ByteFallback, then
 * Fuse, then Strip at the beginning of the text
 *
 * Truncation and padding that a file may hold belong to a batch, not to a text, and are not applied. */
#include <string.h>

#include "text/tok.h"
#include "text/utf8.h"

enum { DEEPEST = 8 };

/* ---- post-processors ---- */
typedef struct ids {
    int32_t *id;
    int64_t n, cap;
} ids;

static int put_id(ids *to, const json_t *v, hn_err *e) {
    json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
    if (id < 0 || id >= TOK_MAX_ID)
        return hn_fail(e, HN_ERANGE, "post_processor: a special token with a bad id");
    if (hn_grow(&to->id, &to->cap, to->n + 1, sizeof *to->id)) return HN_ENOMEM;
    to->id[to->n++] = (int32_t)id;
    return HN_OK;
}

static int put_ids(ids *to, const json_t *special, hn_err *e) {
    size_t i;
    json_t *v;
    int rc = HN_OK;
    json_array_foreach(json_object_get(special, "ids"), i, v) if ((rc = put_id(to, v, e))) break;
    return rc;
}

/* Puts one more layer around the text: an outer one goes around an inner one. */
static int wrap(hn_tok *t, const ids *before, const ids *after) {
    if (hn_grow(&t->before, &t->cap_before, t->n_before + before->n, sizeof *t->before) ||
        hn_grow(&t->after, &t->cap_after, t->n_after + after->n, sizeof *t->after))
        return HN_ENOMEM;
    if (before->n) {
        memmove(t->before + before->n, t->before, (size_t)t->n_before * sizeof *t->before);
        memcpy(t->before, before->id, (size_t)before->n * sizeof *t->before);
    }
    if (after->n) memcpy(t->after + t->n_after, after->id, (size_t)after->n * sizeof *t->after);
    t->n_before += before->n;
    t->n_after += after->n;
    return HN_OK;
}

/* `single` is special tokens around the text A. */
static int add_template(hn_tok *t, const json_t *o, hn_err *e) {
    const json_t *single = json_object_get(o, "single"), *specials = json_object_get(o, "special_tokens"),
                 *sp, *x;
    ids before = { 0 }, after = { 0 };
    size_t i;
    bool behind = false;
    int rc = HN_OK;
    json_array_foreach(single, i, x) {
        const char *id = tok_json_str(json_object_get(x, "SpecialToken"), "id");
        const char *seq = tok_json_str(json_object_get(x, "Sequence"), "id");
        if (seq && !strcmp(seq, "A") && !behind) behind = true;
        else if (!id || !(sp = json_object_get(specials, id)))
            rc = hn_fail(e, HN_EPARSE, "post_processor.single[%zu]: neither A nor a known special token", i);
        else rc = put_ids(behind ? &after : &before, sp, e);
        if (rc) break;
    }
    if (!rc && !behind) rc = hn_fail(e, HN_EPARSE, "post_processor.single: the text A is not in it");
    if (!rc) rc = wrap(t, &before, &after);
    hn_free(before.id);
    hn_free(after.id);
    return rc;
}

/* <cls> A <sep>; each is ["spelling", id]. */
static int add_bert(hn_tok *t, const json_t *o, hn_err *e) {
    ids before = { 0 }, after = { 0 };
    int rc = put_id(&before, json_array_get(json_object_get(o, "cls"), 1), e);
    if (!rc) rc = put_id(&after, json_array_get(json_object_get(o, "sep"), 1), e);
    if (!rc) rc = wrap(t, &before, &after);
    hn_free(before.id);
    hn_free(after.id);
    return rc;
}

static int add_post(hn_tok *t, const json_t *o, int depth, hn_err *e) {
    const char *type = tok_json_str(o, "type");
    if (!o || json_is_null(o)) return HN_OK;
    if (!type || depth > DEEPEST) return tok_unknown_part("post_processor", type, "", e);
    if (!strcmp(type, "Sequence")) {
        size_t i;
        json_t *v;
        int rc;
        json_array_foreach(json_object_get(o, "processors"), i,
                           v) if ((rc = add_post(t, v, depth + 1, e))) return rc;
        return HN_OK;
    }
    if (!strcmp(type, "TemplateProcessing")) return add_template(t, o, e);
    if (!strcmp(type, "BertProcessing") || !strcmp(type, "RobertaProcessing")) return add_bert(t, o, e);
    return strcmp(type, "ByteLevel") ? tok_unknown_part("post_processor", type, "", e) : HN_OK;
}

/* ---- decoders ---- */
static tok_stage *new_stage(hn_tok *t, tok_dec kind, hn_err *e) {
    if (t->n_stage == TOK_MAX_STAGES) {
        hn_fail(e, HN_EUNSUP, "decoder: more than %d parts", TOK_MAX_STAGES);
        return NULL;
    }
    t->stage[t->n_stage].kind = kind;
    return &t->stage[t->n_stage++];
}

static int add_replace(hn_tok *t, const json_t *o, hn_err *e) {
    tok_stage *g = new_stage(t, TOK_DEC_REPLACE, e);
    if (!g) return HN_EUNSUP;
    int rc = tok_pattern_load(t, &g->pattern, json_object_get(o, "pattern"), "decoder: Replace", e);
    return rc ? rc : tok_keep(t, json_object_get(o, "content"), &g->text, "decoder: Replace: content", e);
}

static bool is_char(tok_key k) {
    int32_t cp;
    return k.n && hn_utf8_get(k.s, (size_t)k.n, &cp) == k.n;
}

static int add_strip(hn_tok *t, const json_t *o, bool fused, hn_err *e) {
    json_int_t start = json_integer_value(json_object_get(o, "start")),
               stop = json_integer_value(json_object_get(o, "stop"));
    tok_key c;
    tok_stage *g;
    int rc = tok_keep(t, json_object_get(o, "content"), &c, "decoder: Strip: content", e);
    if (rc) return rc;
    if (start < 0 || start > 1000000 || stop < 0 || stop > 1000000 || !is_char(c) || (fused && stop) ||
        (fused && t->dec_strip.n))
        return tok_unknown_part("decoder", "Strip", "only one character is, and after Fuse `stop` 0 and once",
                                e);
    if (fused) {
        t->dec_strip = c;
        t->dec_strip_n = (int)start;
        return HN_OK;
    }
    if (!(g = new_stage(t, TOK_DEC_STRIP, e))) return HN_EUNSUP;
    g->text = c;
    g->start = (int)start;
    g->stop = (int)stop;
    return HN_OK;
}

static int add_metaspace(hn_tok *t, const json_t *o, hn_err *e) {
    const json_t *mark;
    tok_stage *g;
    int how = tok_metaspace_scheme(o, &mark);
    if (how < 0 || !mark)
        return tok_unknown_part("decoder", "Metaspace", "with this replacement or prepend_scheme", e);
    if (!(g = new_stage(t, TOK_DEC_META, e))) return HN_EUNSUP;
    g->start = how > 0;
    t->dec_first = t->dec_first || how > 0;
    return tok_keep(t, mark, &g->text, "decoder: Metaspace", e);
}

static int add_words(hn_tok *t, const json_t *o, hn_err *e) {
    const json_t *tidy = json_object_get(o, "cleanup");
    tok_stage *g = new_stage(t, TOK_DEC_WORDS, e);
    if (!g) return HN_EUNSUP;
    g->tidy = !json_is_false(tidy);
    t->dec_first = true;
    return tok_keep(t, json_object_get(o, "prefix"), &g->text, "decoder: WordPiece: prefix", e);
}

/* How far the list has come: parts for single tokens, byte tokens, the whole text. */
typedef enum { SINGLE, BYTES, FUSED } place;

static int add_decoder(hn_tok *t, const json_t *o, place *at, int depth, hn_err *e) {
    const char *type = tok_json_str(o, "type");
    if (!type || depth > DEEPEST) return tok_unknown_part("decoder", type, "", e);
    if (!strcmp(type, "Sequence")) {
        size_t i;
        json_t *v;
        int rc;
        json_array_foreach(json_object_get(o, "decoders"), i,
                           v) if ((rc = add_decoder(t, v, at, depth + 1, e))) return rc;
        return HN_OK;
    }
    if (!strcmp(type, "Fuse")) {
        *at = FUSED;
        return HN_OK;
    }
    if (!strcmp(type, "Strip") && *at != BYTES) return add_strip(t, o, *at == FUSED, e);
    if (strcmp(type, "Replace") && strcmp(type, "Metaspace") && strcmp(type, "WordPiece") &&
        strcmp(type, "ByteLevel") && strcmp(type, "ByteFallback") && strcmp(type, "Strip"))
        return tok_unknown_part("decoder", type, "", e);
    if (*at != SINGLE) return tok_unknown_part("decoder", type, "in this place of the Sequence", e);
    if (!strcmp(type, "Replace")) return add_replace(t, o, e);
    if (!strcmp(type, "Metaspace")) return add_metaspace(t, o, e);
    if (!strcmp(type, "WordPiece")) return add_words(t, o, e);
    *at = BYTES;
    if (!strcmp(type, "ByteFallback")) t->dec_bytes = true;
    else {
        *at = FUSED; /* it makes one text of all tokens */
        t->dec_spelled = true;
        if (!t->byte_level && !new_stage(t, TOK_DEC_UNSPELL, e)) return HN_EUNSUP;
    }
    return HN_OK;
}

int tok_post_load(hn_tok *t, const json_t *root, hn_err *e) {
    const json_t *decoder = json_object_get(root, "decoder");
    place at = SINGLE;
    int rc = add_post(t, json_object_get(root, "post_processor"), 0, e);
    if (rc) return rc;
    t->dec_join = !decoder || json_is_null(decoder); /* tokens with spaces between them */
    return t->dec_join ? HN_OK : add_decoder(t, decoder, &at, 0, e);
}
