/* tok_pieces.c - a vocabulary that is a list of pieces with scores: unigram models and SentencePiece models.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/tok.h"
#include "text/utf8.h"

static const char mark[] = "\xE2\x96\x81";

int tok_pieces_measure(hn_tok *t, const json_t *vocab, size_t *pool, hn_err *e) {
    size_t i;
    json_t *v;
    if (json_array_size(vocab) > TOK_MAX_ID)
        return hn_fail(e, HN_ERANGE, "model.vocab: more than %d pieces", TOK_MAX_ID);
    json_array_foreach(vocab, i, v) {
        const json_t *s = json_array_get(v, 0), *score = json_array_get(v, 1);
        if (!json_string_length(s) || !json_is_number(score) || !isfinite(json_number_value(score)))
            return hn_fail(e, HN_EPARSE, "model.vocab[%zu]: has to be [\"piece\", score]", i);
        *pool += json_string_length(s) + 1;
    }
    t->n_id = t->n_piece = (int)json_array_size(vocab);
    return HN_OK;
}

/* Which pieces a text is made of, by the types of a SentencePiece model; all of them without. */
static uint8_t flag_of(const json_t *types, size_t i) {
    switch ((int)json_integer_value(json_array_get(types, i))) {
    case HN_TOK_UNKNOWN:
    case HN_TOK_CONTROL: return 0;
    case HN_TOK_BYTE: return TOK_BYTE;
    case HN_TOK_UNUSED: return TOK_UNUSED;
    case HN_TOK_USER: return TOK_MODEL | TOK_USER;
    default: return TOK_MODEL;
    }
}

int tok_pieces_name(hn_tok *t, const json_t *model, size_t *used, hn_err *e) {
    const json_t *vocab = json_object_get(model, "vocab"), *types = json_object_get(model, "types"),
                 *unk = json_object_get(model, "unk_id");
    size_t i, n = json_array_size(vocab);
    json_t *v;
    if (!(t->score = hn_alloc(n * sizeof *t->score)) || !(t->logp = hn_alloc(n * sizeof *t->logp)))
        return HN_ENOMEM;
    json_array_foreach(vocab, i, v) {
        const char *s = json_string_value(json_array_get(v, 0));
        if (tok_map_get(&t->by_name, s, strlen(s)) >= 0)
            return hn_fail(e, HN_EPARSE, "model.vocab[%zu]: `%.80s` is there twice", i, s);
        int rc = tok_name_token(t, (int32_t)i, s, used, e);
        if (rc) return rc;
        t->flag[i] |= t->sp ? flag_of(types, i) : TOK_MODEL;
        t->logp[i] = json_number_value(json_array_get(v, 1));
        t->score[i] = (float)t->logp[i];
    }
    json_int_t id = json_is_integer(unk) ? json_integer_value(unk) : -1;
    if (id < 0 || (size_t)id >= n)
        return hn_fail(e, HN_EPARSE, "model.unk_id: has to be the id of a piece (there are %zu)", n);
    t->unk = (int32_t)id;
    return HN_OK;
}

/* ---- SentencePiece BPE ---- */
typedef struct scored {
    float score;
    int32_t id;
} scored;

static int by_score(const void *a, const void *b) {
    const scored *x = a, *y = b;
    return x->score > y->score ? -1 : x->score < y->score;
}

static int give_ranks(hn_tok *t, int32_t n) {
    scored *order = hn_alloc((size_t)n * sizeof *order);
    if (!order || !(t->rank = hn_alloc((size_t)n * sizeof *t->rank))) {
        hn_free(order);
        return HN_ENOMEM;
    }
    for (int32_t i = 0; i < n; i++) order[i] = (scored){ t->score[i], i };
    qsort(order, (size_t)n, sizeof *order, by_score);
    for (int32_t i = 0, rank = 0; i < n; i++) {
        rank += i && order[i].score != order[i - 1].score;
        t->rank[order[i].id] = rank;
    }
    hn_free(order);
    return HN_OK;
}

/* A piece that is never used, but that merges could pass through on their way, is not done here. */
static int check_unused(const hn_tok *t, int32_t id, hn_err *e) {
    tok_key k = t->name[id];
    for (int32_t i = 1; i < k.n; i++)
        if (tok_map_get(&t->by_text, k.s, (size_t)i) >= 0 &&
            tok_map_get(&t->by_text, k.s + i, (size_t)(k.n - i)) >= 0)
            return hn_fail(e, HN_EUNSUP, "piece %d (`%.80s`) is unused, but merges would make it", id, k.s);
    return HN_OK;
}

/* Whether there is a mark behind something that is none: then words depend on each other. */
static bool crosses(tok_key k) {
    bool other = false;
    for (int32_t i = 0; i < k.n;) {
        bool is = k.n - i >= 3 && !memcmp(k.s + i, mark, 3);
        if (is && other) return true;
        other = other || !is;
        i += is ? 3 : 1;
    }
    return false;
}

/* ---- both ---- */
static int plant(hn_tok *t, int32_t n) {
    tok_key *key = hn_alloc((size_t)n * sizeof *key);
    int32_t *id = hn_alloc((size_t)n * sizeof *id);
    int64_t m = 0;
    for (int32_t i = 0; i < n && key && id; i++) {
        if (!(t->flag[i] & TOK_MODEL)) continue;
        key[m] = t->name[i];
        id[m++] = i;
    }
    int rc = key && id ? tok_dat_build(&t->pieces, key, id, m) : HN_ENOMEM;
    hn_free(key);
    hn_free(id);
    return rc;
}

void tok_find_cuts(hn_tok *t) {
    t->cut_marks = !t->byte_level && !t->unigram && tok_map_get(&t->by_text, mark, 3) >= 0;
    for (int32_t i = 0; i < t->n_id && t->cut_marks; i++)
        if ((t->flag[i] & TOK_MODEL) && crosses(t->name[i])) t->cut_marks = false;
}

int tok_pieces_finish(hn_tok *t, hn_err *e) {
    int32_t n = t->n_piece;
    double lowest = HUGE_VAL, highest = FLT_MIN;
    int rc = HN_OK;
    for (int32_t i = 0; i < n && !rc; i++) {
        if (t->sp && !t->unigram && (t->flag[i] & TOK_UNUSED)) rc = check_unused(t, i, e);
        if (!rc && (t->flag[i] & TOK_USER))
            rc = tok_trie_add(&t->user, t->name[i].s, (size_t)t->name[i].n, i);
        bool model = t->flag[i] & TOK_MODEL;
        if (model && t->name[i].n > t->longest) t->longest = t->name[i].n;
        if (t->sp && (!model || (t->flag[i] & TOK_USER))) continue;
        if (t->logp[i] < lowest) lowest = t->logp[i];
        if (t->logp[i] > highest) highest = t->logp[i];
    }
    t->unk_score = t->sp ? (double)((float)lowest - 10.0f) : lowest - 10.0;
    t->max_score = highest;
    if (rc) return rc;
    return t->unigram ? plant(t, n) : give_ranks(t, n);
}
