/* tok_sp.c - SentencePiece models (Kudo and Richardson 2018, arXiv:1808.06226): tokenizer.model.
 *
 * The file is a protocol buffer: pieces with scores and types, what trained them, and how text is normalized.
 * It becomes the same tree that a tokenizer.json becomes, with a list of pieces and a normalizer of its own
 * kind; what those mean is in tok_vocab.c, tok_spnorm.c, tok_merge.c and tok_unigram.c. */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "text/tok.h"
#include "text/utf8.h"

enum { UNIGRAM = 1, BPE = 2, MAX_PIECE = 4096 };

/* ---- the wire ---- */
typedef struct field { /* one field of a message */
    uint32_t number;
    int wire;       /* 0 varint, 1 eight bytes, 2 a length and bytes, 5 four bytes */
    uint64_t value; /* varint or fixed */
    const char *p;  /* wire 2 */
    size_t n;
} field;

typedef struct message {
    const char *p, *end;
    bool bad;
} message;

static uint64_t varint(message *m) {
    uint64_t v = 0;
    for (int shift = 0; shift < 70 && m->p < m->end; shift += 7) {
        unsigned char c = (unsigned char)*m->p++;
        if (shift == 63 && c > 1) break;
        v |= (uint64_t)(c & 0x7F) << shift;
        if (!(c & 0x80)) return v;
    }
    m->bad = true;
    return 0;
}

static uint64_t fixed(message *m, size_t n) {
    uint64_t v = 0;
    if ((size_t)(m->end - m->p) < n) {
        m->bad = true;
        return 0;
    }
    for (size_t i = 0; i < n; i++) v |= (uint64_t)(unsigned char)m->p[i] << (8 * i);
    m->p += n;
    return v;
}

/* The next field; false at the end of the message or where it is broken (m->bad). */
static bool next(message *m, field *f) {
    if (m->bad || m->p >= m->end) return false;
    uint64_t key = varint(m);
    *f = (field){ .number = (uint32_t)(key >> 3), .wire = (int)(key & 7) };
    if (key >> 3 == 0 || key >> 32) m->bad = true;
    else if (f->wire == 0) f->value = varint(m);
    else if (f->wire == 1) f->value = fixed(m, 8);
    else if (f->wire == 5) f->value = fixed(m, 4);
    else if (f->wire != 2) m->bad = true;
    else {
        uint64_t n = varint(m);
        if (m->bad || n > (uint64_t)(m->end - m->p)) m->bad = true;
        else {
            f->p = m->p;
            f->n = (size_t)n;
            m->p += n;
        }
    }
    return !m->bad;
}

static message inside(const field *f) { return (message){ f->p, f->p + f->n, f->wire != 2 }; }

static float as_float(const field *f) {
    uint32_t bits = (uint32_t)f->value;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* ---- reading ---- */
typedef struct model {
    json_t *vocab, *types; /* [[piece, score]], [type] */
    int64_t kind, unk, bos, eos, pad;
    bool fallback, suffix, dummy, squeeze, escape;
    const char *map;
    size_t n_map;
} model;

static int broken(const char *what, size_t i, hn_err *e) {
    return hn_fail(e, HN_EPARSE, "tokenizer.model: %s %zu is broken; it is no SentencePiece model or is cut",
                   what, i);
}

static int read_piece(model *m, const field *whole, hn_err *e) {
    message in = inside(whole);
    size_t i = json_array_size(m->vocab);
    const char *s = "";
    size_t n = 0;
    float score = 0;
    int64_t type = HN_TOK_NORMAL;
    for (field f; next(&in, &f);) {
        if (f.number == 1 && f.wire == 2) s = f.p, n = f.n;
        else if (f.number == 2 && f.wire == 5) score = as_float(&f);
        else if (f.number == 3 && f.wire == 0) type = (int64_t)f.value;
    }
    if (in.bad) return broken("piece", i, e);
    if (!n || n > MAX_PIECE || memchr(s, 0, n) || hn_utf8_valid(s, n) < n)
        return hn_fail(e, HN_EPARSE, "tokenizer.model: piece %zu is empty, longer than %d bytes or not text",
                       i, MAX_PIECE);
    if (!isfinite(score) || type < HN_TOK_NORMAL || type > HN_TOK_BYTE)
        return hn_fail(e, HN_ERANGE, "tokenizer.model: piece %zu (`%.*s`) has no such score or type", i,
                       (int)(n > 80 ? 80 : n), s);
    if (i >= TOK_MAX_ID) return hn_fail(e, HN_ERANGE, "tokenizer.model: more than %d pieces", TOK_MAX_ID);
    json_t *one = json_array();
    bool bad = !one || json_array_append_new(one, json_stringn(s, n)) ||
               json_array_append_new(one, json_real((double)score)) || json_array_append(m->vocab, one) ||
               json_array_append_new(m->types, json_integer(type));
    json_decref(one);
    return bad ? HN_ENOMEM : HN_OK;
}

static int read_trainer(model *m, const field *whole, hn_err *e) {
    message in = inside(whole);
    for (field f; next(&in, &f);) {
        if (f.wire != 0) continue;
        int64_t v = (int64_t)f.value;
        if (f.number == 3) m->kind = v;
        else if (f.number == 24) m->suffix = v != 0;
        else if (f.number == 35) m->fallback = v != 0;
        else if (f.number == 40) m->unk = (int32_t)v;
        else if (f.number == 41) m->bos = (int32_t)v;
        else if (f.number == 42) m->eos = (int32_t)v;
        else if (f.number == 43) m->pad = (int32_t)v;
    }
    return in.bad ? broken("trainer_spec", 0, e) : HN_OK;
}

static int read_normalizer(model *m, const field *whole, hn_err *e) {
    message in = inside(whole);
    for (field f; next(&in, &f);) {
        if (f.number == 2 && f.wire == 2) m->map = f.p, m->n_map = f.n;
        else if (f.wire != 0) continue;
        else if (f.number == 3) m->dummy = f.value != 0;
        else if (f.number == 4) m->squeeze = f.value != 0;
        else if (f.number == 5) m->escape = f.value != 0;
    }
    return in.bad ? broken("normalizer_spec", 0, e) : HN_OK;
}

static int read_model(model *m, const char *data, size_t n, hn_err *e) {
    message in = { data, data + n, false };
    size_t at = 0;
    int rc = HN_OK;
    for (field f; !rc && next(&in, &f); at++) {
        message denormal = inside(&f);
        field g;
        if (f.number == 1) rc = read_piece(m, &f, e);
        else if (f.number == 2) rc = read_trainer(m, &f, e);
        else if (f.number == 3) rc = read_normalizer(m, &f, e);
        while (!rc && f.number == 5 && next(&denormal, &g))
            if (g.number == 2 && g.wire == 2 && g.n)
                rc = hn_fail(e, HN_EUNSUP, "tokenizer.model: a denormalizer is not done here");
    }
    if (!rc && in.bad) rc = broken("field", at, e);
    if (!rc && !json_array_size(m->vocab)) rc = hn_fail(e, HN_EPARSE, "tokenizer.model: has no pieces");
    if (!rc && m->kind != UNIGRAM && m->kind != BPE)
        rc = hn_fail(e, HN_EUNSUP, "tokenizer.model: model_type %lld: unigram (1) and bpe (2) are read",
                     (long long)m->kind);
    return rc;
}

/* ---- the tree ---- */
/* The control pieces, and the unknown one, are found in a text as they are spelled. */
static json_t *added_tokens(const model *m) {
    json_t *list = json_array(), *v;
    size_t i;
    json_array_foreach(m->types, i, v) {
        json_int_t type = json_integer_value(v);
        if (type != HN_TOK_CONTROL && type != HN_TOK_UNKNOWN) continue;
        json_t *a =
            json_pack("{s:O, s:i, s:b, s:b}", "content", json_array_get(json_array_get(m->vocab, i), 0), "id",
                      (int)i, "special", 1, "normalized", 0);
        if (json_array_append_new(list, a)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *decoder(const model *m) {
    json_t *strip = json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ", "start",
                              m->squeeze ? 1000000 : 1, "stop", 0);
    json_t *list = json_pack("[{s:s, s:{s:s}, s:s}, {s:s}, {s:s}]", "type", "Replace", "pattern", "String",
                             "\xE2\x96\x81", "content", " ", "type", "ByteFallback", "type", "Fuse");
    bool bad = (m->dummy || m->squeeze) && json_array_append(list, strip);
    json_decref(strip);
    if (!bad && strip && list) return json_pack("{s:s, s:o}", "type", "Sequence", "decoders", list);
    json_decref(list);
    return NULL;
}

/* `more`: what tokenizer_config.json says of BOS and EOS. */
static json_t *post(const model *m, const json_t *config) {
    bool bos = json_is_true(json_object_get(config, "add_bos_token")) && m->bos >= 0,
         eos = json_is_true(json_object_get(config, "add_eos_token")) && m->eos >= 0;
    json_t *list = json_array();
    bool bad = !list;
    if (bos) bad = json_array_append_new(list, json_pack("{s:{s:s}}", "SpecialToken", "id", "bos")) || bad;
    bad = json_array_append_new(list, json_pack("{s:{s:s}}", "Sequence", "id", "A")) || bad;
    if (eos) bad = json_array_append_new(list, json_pack("{s:{s:s}}", "SpecialToken", "id", "eos")) || bad;
    if (bad) {
        json_decref(list);
        return NULL;
    }
    return json_pack("{s:s, s:o, s:{s:{s:[I]}, s:{s:[I]}}}", "type", "TemplateProcessing", "single", list,
                     "special_tokens", "bos", "ids", (json_int_t)m->bos, "eos", "ids", (json_int_t)m->eos);
}

static const char *piece(const model *m, int64_t id) {
    return id < 0 ? NULL : json_string_value(json_array_get(json_array_get(m->vocab, (size_t)id), 0));
}

static int roles(hn_tok *t, const model *m) {
    const struct {
        hn_tok_role role;
        int64_t id;
    } r[] = {
        { HN_TOK_UNK, m->unk }, { HN_TOK_BOS, m->bos }, { HN_TOK_EOS, m->eos }, { HN_TOK_PAD, m->pad }
    };
    for (int i = 0; i < 4; i++) {
        const char *s = piece(m, r[i].id);
        if (s && !t->role[r[i].role] && !(t->role[r[i].role] = hn_strdup(s))) return HN_ENOMEM;
    }
    return HN_OK;
}

/* The other format that goes by this name: lines of base64, a space and a rank. */
static bool is_tiktoken(const char *data, size_t n) {
    size_t i = 0;
    while (i < n && i < 64 &&
           (data[i] == '+' || data[i] == '/' || data[i] == '=' || (data[i] >= '0' && data[i] <= '9') ||
            (data[i] >= 'A' && data[i] <= 'Z') || (data[i] >= 'a' && data[i] <= 'z')))
        i++;
    return i >= 4 && i + 1 < n && data[i] == ' ' && data[i + 1] >= '0' && data[i + 1] <= '9';
}

int tok_sp_tree(hn_tok *t, const json_t *config, const char *data, size_t n, json_t **root, hn_err *e) {
    model m = { .vocab = json_array(),
                .types = json_array(),
                .kind = UNIGRAM,
                .unk = 0,
                .bos = 1,
                .eos = 2,
                .pad = -1,
                .dummy = true,
                .squeeze = true,
                .escape = true };
    int rc = HN_ENOMEM;
    if (is_tiktoken(data, n))
        rc = hn_fail(
            e, HN_EUNSUP,
            "tokenizer.model: a tiktoken file, which has no patterns; save the tokenizer as tokenizer.json");
    else if (m.vocab && m.types) rc = read_model(&m, data, n, e);
    if (!rc && (m.unk < 0 || json_integer_value(json_array_get(m.types, (size_t)m.unk)) != HN_TOK_UNKNOWN))
        rc = hn_fail(e, HN_EPARSE, "tokenizer.model: unk_id %lld is not of type UNKNOWN", (long long)m.unk);
    if (!rc) rc = roles(t, &m);
    if (!rc) {
        t->sp = true;
        *root = json_pack("{s:{s:s, s:o, s:b, s:b, s:b, s:b}, s:o, s:o, s:o, s:{s:s, s:O, s:O, s:I, s:b}}",
                          "normalizer", "type", "SentencePiece", "map",
                          json_stringn_nocheck(m.n_map ? m.map : "", m.n_map), "dummy", m.dummy, "squeeze",
                          m.squeeze, "escape", m.escape, "suffix", m.suffix, "added_tokens", added_tokens(&m),
                          "decoder", decoder(&m), "post_processor", post(&m, config), "model", "type",
                          m.kind == BPE ? "BPE" : "Unigram", "vocab", m.vocab, "types", m.types, "unk_id",
                          (json_int_t)m.unk, "byte_fallback", m.fallback);
        if (!*root) rc = HN_ENOMEM;
    }
    json_decref(m.vocab);
    json_decref(m.types);
    return rc;
}

/* ---- writing ---- */
static void put_varint(hn_buf *b, uint64_t v) {
    for (; v >= 0x80; v >>= 7) hn_buf_chr(b, (char)(v | 0x80));
    hn_buf_chr(b, (char)v);
}

static void put_int(hn_buf *b, int number, int64_t v) {
    put_varint(b, (uint64_t)number << 3);
    put_varint(b, (uint64_t)v);
}

static void put_bytes(hn_buf *b, int number, const void *p, size_t n) {
    put_varint(b, (uint64_t)number << 3 | 2);
    put_varint(b, n);
    hn_buf_add(b, p, n);
}

static void put_piece(hn_buf *b, hn_buf *part, const char *s, float score, int type) {
    uint32_t bits;
    memcpy(&bits, &score, 4);
    hn_buf_clear(part);
    put_bytes(part, 1, s, strlen(s));
    put_varint(part, 2 << 3 | 5);
    for (int i = 0; i < 4; i++) hn_buf_chr(part, (char)(bits >> (8 * i)));
    if (type != HN_TOK_NORMAL) put_int(part, 3, type);
    put_bytes(b, 1, part->data, part->n);
}

int tok_sp_write(const hn_tok_lists *l, bool unigram, hn_buf *out, hn_err *e) {
    hn_buf part = { 0 };
    bool bytes = false;
    int unk = l->role[HN_TOK_UNK];
    for (int i = 0; i < l->n; i++) {
        int type = l->type ? l->type[i] : HN_TOK_NORMAL;
        if (unk < 0 && type == HN_TOK_UNKNOWN) unk = i;
        bytes = bytes || type == HN_TOK_BYTE;
    }
    if (unk < 0) return hn_fail(e, HN_EPARSE, "tokenizer.ggml.unknown_token_id: is missing");
    for (int i = 0; i < l->n; i++) {
        /* older files call the unknown token a control token, and reserved ones unknown */
        int type = l->type ? l->type[i] : HN_TOK_NORMAL;
        if (i == unk) type = HN_TOK_UNKNOWN;
        else if (type == HN_TOK_UNKNOWN) type = HN_TOK_CONTROL;
        put_piece(out, &part, l->token[i], l->score[i], type);
    }
    hn_buf_clear(&part);
    put_int(&part, 3, unigram ? UNIGRAM : BPE);
    put_int(&part, 35, bytes);
    put_int(&part, 40, unk);
    put_int(&part, 41, l->role[HN_TOK_BOS]);
    put_int(&part, 42, l->role[HN_TOK_EOS]);
    put_int(&part, 43, l->role[HN_TOK_PAD]);
    put_bytes(out, 2, part.data, part.n);
    hn_buf_clear(&part);
    if (l->charsmap) put_bytes(&part, 2, l->charsmap, l->n_charsmap);
    put_int(&part, 3, l->add_space);
    put_int(&part, 4, l->squeeze);
    put_int(&part, 5, 1);
    put_bytes(out, 3, part.data, part.n);
    bool oom = out->oom || part.oom;
    hn_buf_free(&part);
    return oom ? HN_ENOMEM : HN_OK;
}
