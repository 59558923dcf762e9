/* tok_llama2c.c - the tokenizer file of llama2.c as a tokenizer.json.
 *
 * llama2.c merges as SentencePiece does (Kudo and Richardson 2018): of all neighbouring pairs whose
 * concatenation is a token, the one with the best score is joined, the leftmost first.  Merges by rank are
 * the same when every way of cutting a token into two tokens is a merge, tokens in the order of their
 * scores.  A character that is no token falls back to its bytes, and a space is put before the text. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "text/tok.h"
#include "text/utf8.h"

enum { FIRST_BYTE = 3, FIRST_PIECE = 259, MAX_PIECE = 1024 };

static const char *const specials[] = { "<unk>", "<s>", "</s>" };

static const char parts[] =
    "  \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [\n"
    "    {\"type\": \"Prepend\", \"prepend\": \"\xE2\x96\x81\"},\n"
    "    {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\xE2\x96\x81\"}]},\n"
    "  \"pre_tokenizer\": null,\n"
    "  \"post_processor\": {\"type\": \"TemplateProcessing\",\n"
    "    \"single\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", "
    "\"type_id\": 0}}],\n"
    "    \"pair\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", "
    "\"type_id\": 0}},\n"
    "      {\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 1}}, {\"Sequence\": {\"id\": \"B\", "
    "\"type_id\": 1}}],\n"
    "    \"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [1], \"tokens\": [\"<s>\"]}}},\n"
    "  \"decoder\": {\"type\": \"Sequence\", \"decoders\": [\n"
    "    {\"type\": \"Replace\", \"pattern\": {\"String\": \"\xE2\x96\x81\"}, \"content\": \" \"},\n"
    "    {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"},\n"
    "    {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]},\n";

static const char model[] =
    "    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": \"<unk>\",\n"
    "    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n"
    "    \"fuse_unk\": true,\n    \"byte_fallback\": true,\n    \"ignore_merges\": false,\n";

typedef struct split {
    float score;
    int32_t id, at; /* token and where it is cut */
} split;

typedef struct source {
    const char *path;
    tok_key *piece; /* [n] with marks for spaces, in pool */
    float *score;
    int n;
    hn_buf pool;
    tok_map map;
    split *split;
    int64_t n_split, cap_split;
} source;

static int bad(const source *s, int id, const char *why, hn_err *e) {
    return hn_fail(e, HN_EPARSE, "%s: token %d of %d: %s", s->path, id, s->n, why);
}

static uint32_t u32(const char *p) {
    const unsigned char *b = (const unsigned char *)p;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* Token `id` at p[0..n), spaces as marks; the first tokens get the names that everyone uses.  Positions are
 * kept in place of pointers until the pool is complete. */
static int take(source *s, int id, const char *p, uint32_t n, hn_err *e) {
    char byte[8];
    if (id < FIRST_BYTE) {
        p = specials[id];
        n = (uint32_t)strlen(p);
    } else if (id < FIRST_PIECE) {
        snprintf(byte, sizeof byte, "<0x%02X>", (unsigned)(id - FIRST_BYTE));
        if (n != 6 || memcmp(p, byte, 6)) return bad(s, id, "is not the byte that llama2.c has there", e);
    } else if (!n || n > MAX_PIECE || hn_utf8_valid(p, n) < n || memchr(p, 0, n))
        return bad(s, id, "is empty, longer than 1024 bytes or not UTF-8", e);
    size_t from = s->pool.n;
    for (uint32_t i = 0; i < n; i++)
        if (p[i] == ' ') hn_buf_str(&s->pool, "\xE2\x96\x81");
        else hn_buf_chr(&s->pool, p[i]);
    if (s->pool.oom) return HN_ENOMEM;
    s->piece[id].n = (int32_t)(s->pool.n - from);
    return HN_OK;
}

static int parse(source *s, const char *data, size_t n, hn_err *e) {
    size_t at = 4;
    int rc;
    if (n < 4) return hn_fail(e, HN_EPARSE, "%s: has no header", s->path);
    for (int id = 0; id < s->n; id++) {
        if (n - at < 8) return bad(s, id, "the file ends before it", e);
        uint32_t bits = u32(data + at), len = u32(data + at + 4);
        memcpy(&s->score[id], &bits, 4);
        at += 8;
        if (len > n - at) return bad(s, id, "is longer than the file", e);
        if (!isfinite(s->score[id])) return bad(s, id, "its score is not a number", e);
        if ((rc = take(s, id, data + at, len, e))) return rc;
        at += len;
    }
    if (at != n) return hn_fail(e, HN_EPARSE, "%s: holds more than %d tokens", s->path, s->n);
    const char *p = s->pool.data;
    for (int id = 0; id < s->n; id++) {
        s->piece[id].s = p;
        p += s->piece[id].n;
        if (tok_map_get(&s->map, s->piece[id].s, (size_t)s->piece[id].n) >= 0)
            return bad(s, id, "is there twice", e);
        tok_map_put(&s->map, id);
    }
    return HN_OK;
}

static bool mergeable(const source *s, const char *p, size_t n) {
    int32_t id = tok_map_get(&s->map, p, n);
    return id >= FIRST_PIECE;
}

/* Best score first, then lower id, then the longer left half. */
static int by_rank(const void *a, const void *b) {
    const split *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->id != y->id) return x->id < y->id ? -1 : 1;
    return x->at > y->at ? -1 : x->at < y->at;
}

static int find_splits(source *s) {
    for (int id = FIRST_PIECE; id < s->n; id++) {
        tok_key k = s->piece[id];
        for (int32_t i = 1; i < k.n; i++) {
            if (!mergeable(s, k.s, (size_t)i) || !mergeable(s, k.s + i, (size_t)(k.n - i))) continue;
            if (hn_grow(&s->split, &s->cap_split, s->n_split + 1, sizeof *s->split)) return HN_ENOMEM;
            s->split[s->n_split++] = (split){ s->score[id], id, i };
        }
    }
    if (s->n_split) qsort(s->split, (size_t)s->n_split, sizeof *s->split, by_rank);
    return HN_OK;
}

static void write_all(const source *s, tok_pages *d) {
    static const char *const role[HN_TOK_ROLES] = {
        [HN_TOK_BOS] = "<s>", [HN_TOK_EOS] = "</s>", [HN_TOK_UNK] = "<unk>"
    };
    tok_write_begin(d, specials, FIRST_BYTE, parts, model);
    for (int id = 0; id < s->n; id++) tok_write_token(d, s->piece[id].s, (size_t)s->piece[id].n, id);
    tok_write_merges(d);
    for (int64_t i = 0; i < s->n_split; i++) {
        tok_key k = s->piece[s->split[i].id];
        size_t at = (size_t)s->split[i].at;
        tok_write_merge(d, k.s, at, k.s + at, (size_t)k.n - at);
    }
    tok_write_end(d, specials, FIRST_BYTE, role, NULL);
}

int hn_tok_from_llama2c(hn_tok **t, const char *path, int vocab, hn_err *e) {
    source s = { .path = path, .n = vocab };
    tok_pages d = { 0 };
    char *data = NULL;
    size_t n = 0;
    *t = NULL;
    if (vocab < FIRST_PIECE || vocab > TOK_MAX_ID)
        return hn_fail(e, HN_ERANGE, "%s: %d tokens: 259 to %d are possible", path, vocab, TOK_MAX_ID);
    int rc = hn_file_read(path, &data, &n, e);
    if (!rc) {
        s.piece = hn_alloc((size_t)vocab * sizeof *s.piece);
        s.score = hn_alloc((size_t)vocab * sizeof *s.score);
        if (!s.piece || !s.score || tok_map_init(&s.map, s.piece, vocab)) rc = HN_ENOMEM;
    }
    if (!rc) rc = parse(&s, data, n, e);
    if (!rc) rc = find_splits(&s);
    if (!rc) {
        write_all(&s, &d);
        rc = tok_from_memory(t, path, TOK_JSON, &d.json, &d.config, e);
    }
    hn_free(data);
    hn_free(s.piece);
    hn_free(s.score);
    hn_free(s.map.slot);
    hn_free(s.split);
    hn_buf_free(&s.pool);
    return rc == HN_ENOMEM ? hn_fail(e, rc, "%s: out of memory", path) : rc;
}
