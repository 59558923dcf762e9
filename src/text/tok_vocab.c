/* tok_vocab.c - the vocabulary of a tokenizer: spellings, the bytes they stand for, merges, added tokens.
 *
 * Byte-level tokenizers spell a byte as a character: printable ones as themselves, the others as
 * U+0100, U+0101, ... in order (Radford et al. 2019, GPT-2; tok_render.c).  Here the spelling is undone once,
 * so that encoding and decoding work on bytes. */
#include <string.h>

#include "text/tok.h"
#include "text/utf8.h"

/* ---- ids and spellings ---- */
static int get_id(const json_t *v, const char *token, int32_t *id, hn_err *e) {
    *id = -1;
    json_int_t x = json_is_integer(v) ? json_integer_value(v) : -1;
    if (x < 0 || x >= TOK_MAX_ID)
        return hn_fail(e, HN_ERANGE, "token `%.80s`: its id has to be an integer from 0 to %d", token,
                       TOK_MAX_ID - 1);
    *id = (int32_t)x;
    return HN_OK;
}

/* An added token's content and id, checked. */
static int get_added(const json_t *a, size_t i, const char **s, int32_t *id, hn_err *e) {
    if (!(*s = tok_json_str(a, "content")))
        return hn_fail(e, HN_EPARSE, "added_tokens[%zu]: `content` has to be a string", i);
    size_t n = strlen(*s);
    if (!n || n > TOK_MAX_ADDED_LEN)
        return hn_fail(e, HN_ERANGE, "added_tokens[%zu]: `content` has %zu bytes; 1 to %d are allowed", i, n,
                       TOK_MAX_ADDED_LEN);
    return get_id(json_object_get(a, "id"), *s, id, e);
}

static int measure(hn_tok *t, const json_t *vocab, const json_t *added, size_t *pool, hn_err *e) {
    const char *s;
    json_t *v;
    size_t i;
    int32_t id;
    int rc;
    if (json_is_array(vocab) && (rc = tok_pieces_measure(t, vocab, pool, e))) return rc;
    json_object_foreach((json_t *)vocab, s, v) {
        if ((rc = get_id(v, s, &id, e))) return rc;
        if (id >= t->n_id) t->n_id = id + 1;
        *pool += strlen(s) + 1;
    }
    json_array_foreach(added, i, v) {
        if ((rc = get_added(v, i, &s, &id, e))) return rc;
        if (id >= t->n_id) t->n_id = id + 1;
        *pool += strlen(s) + 1;
    }
    return HN_OK;
}

int tok_name_token(hn_tok *t, int32_t id, const char *s, size_t *used, hn_err *e) {
    size_t n = strlen(s);
    if (t->name[id].s)
        return hn_fail(e, HN_EPARSE, "id %d is given to `%.80s` and to `%.80s`", id, t->name[id].s, s);
    memcpy(t->pool + *used, s, n + 1);
    t->name[id] = (tok_key){ t->pool + *used, (int32_t)n };
    *used += n + 1;
    tok_map_put(&t->by_name, id);
    return HN_OK;
}

static int name_all(hn_tok *t, const json_t *vocab, size_t *used, hn_err *e) {
    const char *s;
    json_t *v;
    int32_t id;
    int rc;
    json_object_foreach((json_t *)vocab, s, v) {
        if ((rc = get_id(v, s, &id, e)) || (rc = tok_name_token(t, id, s, used, e))) return rc;
        t->flag[id] |= TOK_MODEL;
    }
    return HN_OK;
}

static bool flag_of(const json_t *a, const char *key) { return json_is_true(json_object_get(a, key)); }

/* Later entries of the same content replace the flags of earlier ones. */
static int add_added(hn_tok *t, const json_t *a, size_t i, size_t *used, hn_err *e) {
    const char *s;
    int32_t id;
    int rc = get_added(a, i, &s, &id, e);
    if (rc) return rc;
    int32_t known = hn_tok_id(t, s);
    if (known >= 0 && known != id)
        return hn_fail(e, HN_EPARSE, "added_tokens[%zu]: `%.80s` has id %d here and %d before", i, s, id,
                       known);
    if (known < 0 && (rc = tok_name_token(t, id, s, used, e))) return rc;
    int64_t k = t->flag[id] & TOK_ADDED ? 0 : t->n_added++;
    while (k < t->n_added - 1 && t->flag[id] & TOK_ADDED && t->added[k].id != id) k++;
    t->added[k] = (tok_added){ id, flag_of(a, "lstrip"), flag_of(a, "rstrip"), flag_of(a, "single_word"),
                               flag_of(a, "normalized") };
    t->flag[id] |= TOK_ADDED;
    t->flag[id] = (uint8_t)((t->flag[id] & ~TOK_SPECIAL) | (flag_of(a, "special") ? TOK_SPECIAL : 0));
    return HN_OK;
}

/* ---- what tokens stand for ---- */
/* The bytes of token id, appended to pool. */
static int render(tok_work *w, hn_tok *t, int32_t id, hn_buf *pool, hn_buf *a, hn_buf *b) {
    tok_key k = t->name[id];
    int byte = tok_byte_token(k);
    if (!t->sp && byte >= 0 && t->dec_bytes) t->flag[id] |= TOK_BYTE;
    if (t->flag[id] & TOK_BYTE && byte >= 0) {
        hn_buf_chr(pool, (char)byte);
        return pool->oom ? HN_ENOMEM : HN_OK;
    }
    if (t->byte_level && t->flag[id] & TOK_MODEL && tok_unspell(t, k, pool))
        return pool->oom ? HN_ENOMEM : HN_OK;
    int rc = tok_render(w, k, false, a, b);
    if (!rc) hn_buf_add(pool, a->data, a->n);
    return pool->oom ? HN_ENOMEM : rc;
}

/* How tokens are found in a piece: by their bytes, or by their spelling. */
static void index_token(hn_tok *t, int32_t id, bool unspelled) {
    tok_key k = t->byte_level ? t->text[id] : t->name[id];
    int byte = tok_byte_token(k);
    bool upper = byte >= 0 && k.s[3] < 'a' && k.s[4] < 'a';
    if (t->sp && (t->flag[id] & TOK_BYTE) && byte >= 0) t->byte_id[byte] = id;
    if (!(t->flag[id] & TOK_MODEL) || (t->byte_level && (!unspelled || !k.n))) return;
    tok_map_put(&t->by_text, id);
    if (t->byte_level && k.n == 1) t->byte_id[(unsigned char)*k.s] = id;
    else if (!t->byte_level && !t->sp && t->byte_fallback && upper) t->byte_id[byte] = id;
}

static int give_texts(hn_tok *t, hn_err *e) {
    tok_work w = { .t = t, .e = e };
    hn_buf pool = { 0 }, a = { 0 }, b = { 0 }, probe = { 0 };
    size_t *at = hn_alloc((size_t)t->n_id * sizeof *at);
    int rc = at ? HN_OK : HN_ENOMEM;
    for (int32_t i = 0; i < t->n_id && !rc; i++) {
        if (!t->name[i].s) continue;
        at[i] = pool.n;
        rc = render(&w, t, i, &pool, &a, &b);
        t->text[i].n = (int32_t)(pool.n - at[i]);
        hn_buf_chr(&pool, 0);
    }
    if (!rc && (pool.oom || tok_map_init(&t->by_text, t->byte_level ? t->text : t->name, t->n_id)))
        rc = HN_ENOMEM;
    t->pool_text = pool.data;
    for (int c = 0; c < 256; c++) t->byte_id[c] = -1;
    for (int32_t i = 0; i < t->n_id && !rc; i++) {
        if (!t->name[i].s) continue;
        t->text[i].s = pool.data + at[i];
        hn_buf_clear(&probe);
        index_token(t, i, t->byte_level && tok_unspell(t, t->name[i], &probe));
        if (probe.oom) rc = HN_ENOMEM;
    }
    hn_free(at);
    hn_buf_free(&a);
    hn_buf_free(&b);
    hn_buf_free(&probe);
    tok_work_free(&w);
    return rc;
}

/* ---- merges ---- */
static int bad_merge(size_t i, const char *s, hn_err *e) {
    return hn_fail(e, HN_EPARSE, "model.merges[%zu]: `%.80s` is not a token of the vocabulary", i, s);
}

static int add_merge(hn_tok *t, size_t i, const char *a, size_t na, const char *b, size_t nb, hn_buf *ab,
                     hn_err *e) {
    hn_buf_clear(ab);
    hn_buf_add(ab, a, na);
    hn_buf_add(ab, b, nb);
    if (ab->oom) return HN_ENOMEM;
    int32_t left = tok_map_get(&t->by_name, a, na), right = tok_map_get(&t->by_name, b, nb),
            id = tok_map_get(&t->by_name, ab->data, ab->n);
    if (left < 0 || right < 0 || !na || !nb) {
        char one[81];
        size_t n = left < 0 || !na ? na : nb;
        snprintf(one, sizeof one, "%.*s", (int)(n > 80 ? 80 : n), left < 0 || !na ? a : b);
        return bad_merge(i, one, e);
    }
    if (id < 0) return bad_merge(i, ab->data, e);
    tok_pairs_put(&t->pairs, left, right, (int32_t)i, id);
    return HN_OK;
}

static int load_merges(hn_tok *t, const json_t *merges, hn_err *e) {
    size_t i;
    json_t *m;
    hn_buf ab = { 0 };
    if (json_array_size(merges) > INT32_MAX / 4) return hn_fail(e, HN_ERANGE, "model.merges: too many");
    int rc = tok_pairs_init(&t->pairs, (int64_t)json_array_size(merges));
    if (rc) return rc;
    json_array_foreach(merges, i, m) {
        const char *a = json_string_value(json_is_array(m) ? json_array_get(m, 0) : m), *b = NULL;
        size_t na = a ? strlen(a) : 0;
        if (json_is_array(m) && json_array_size(m) == 2) b = json_string_value(json_array_get(m, 1));
        else if (a && (b = strchr(a, ' '))) {
            na = (size_t)(b++ - a);
            if (strchr(b, ' ')) b = NULL;
        }
        if (!a || !b) rc = hn_fail(e, HN_EPARSE, "model.merges[%zu]: neither \"a b\" nor [\"a\", \"b\"]", i);
        else rc = add_merge(t, i, a, na, b, strlen(b), &ab, e);
        if (rc) break;
    }
    hn_buf_free(&ab);
    return rc;
}

/* Marks the tokens whose own text merges into them: a piece equal to one needs no merging. */
static int mark_whole(hn_tok *t, hn_err *e) {
    hn_ids out = { 0 };
    tok_work w = { .t = t, .out = &out, .e = e, .sink = tok_merge };
    int rc = HN_OK;
    for (int32_t id = 0; id < t->n_id && !rc && t->byte_level; id++) {
        tok_key k = t->text[id];
        if (!k.s || tok_map_get(&t->by_text, k.s, (size_t)k.n) != id) continue;
        hn_ids_clear(&out);
        rc = tok_merge(&w, (tok_view){ .s = k.s, .n = (size_t)k.n });
        if (out.n == 1 && out.id[0] == id) t->flag[id] |= TOK_WHOLE;
    }
    tok_work_free(&w);
    hn_ids_free(&out);
    return rc;
}

/* Every byte has its token, or the model does not fall back to bytes. */
static int check_bytes(hn_tok *t, hn_err *e) {
    for (int b = 0; b < 256 && (t->byte_level || t->sp) && t->byte_fallback; b++)
        if (t->byte_id[b] < 0 && t->sp)
            return hn_fail(e, HN_EPARSE, "tokenizer.model: byte_fallback, but no piece <0x%02X>", b);
        else if (t->byte_id[b] < 0)
            return hn_fail(e, HN_EUNSUP,
                           "model.byte_fallback with a ByteLevel vocabulary that lacks byte 0x%02X", b);
    return HN_OK;
}

static int find_unk(hn_tok *t, const json_t *model, hn_err *e) {
    const char *unk = tok_json_str(model, "unk_token");
    t->unk = unk ? tok_map_get(&t->by_name, unk, strlen(unk)) : -1;
    if (unk && t->unk < 0 && !t->byte_level)
        return hn_fail(e, HN_EPARSE, "model.unk_token: `%.80s` is not in the vocabulary", unk);
    return HN_OK;
}

int tok_vocab_load(hn_tok *t, const json_t *root, hn_err *e) {
    const json_t *model = json_object_get(root, "model"), *vocab = json_object_get(model, "vocab"),
                 *merges = json_object_get(model, "merges"), *added = json_object_get(root, "added_tokens"),
                 *a;
    size_t pool = 1, used = 0, i;
    int rc;
    bool list = t->sp || t->unigram;
    for (int c = 0; c < 0x200; c++) t->byte_of[c] = (int16_t)tok_byte_of(c);
    if (list ? !json_is_array(vocab) : !json_is_object(vocab))
        return hn_fail(e, HN_EPARSE, "model.vocab: has to be %s",
                       list ? "a list of pieces with scores" : "an object of token to id");
    if (!list && !json_is_array(merges)) return hn_fail(e, HN_EPARSE, "model.merges: has to be an array");
    if ((rc = measure(t, vocab, added, &pool, e))) return rc;
    if (!t->n_id) return hn_fail(e, HN_EPARSE, "model.vocab: is empty");
    t->name = hn_alloc((size_t)t->n_id * sizeof *t->name);
    t->text = hn_alloc((size_t)t->n_id * sizeof *t->text);
    t->flag = hn_alloc((size_t)t->n_id);
    t->pool = hn_alloc(pool);
    t->added = hn_alloc(json_array_size(added) * sizeof *t->added);
    if (!t->name || !t->text || !t->flag || !t->pool || !t->added ||
        tok_map_init(&t->by_name, t->name, t->n_id))
        return HN_ENOMEM;
    rc = list ? tok_pieces_name(t, model, &used, e) : name_all(t, vocab, &used, e);
    if (!rc && !list) rc = load_merges(t, merges, e);
    if (!rc && !list) rc = find_unk(t, model, e);
    if (rc) return rc;
    json_array_foreach(added, i, a) if ((rc = add_added(t, a, i, &used, e))) return rc;
    if ((rc = give_texts(t, e)) || (rc = check_bytes(t, e))) return rc;
    tok_find_cuts(t);
    return list ? tok_pieces_finish(t, e) : mark_whole(t, e);
}
