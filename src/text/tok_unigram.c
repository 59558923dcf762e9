/* tok_unigram.c - the most likely cut of a text into pieces (Kudo 2018, arXiv:1804.10959).
 *
 * For every place the best way to it is kept (Viterbi): each piece that begins here makes a way to where it
 * ends; a character that is no piece is unknown, at the price of the least likely piece and ten more.
 * SentencePiece keeps sums in single precision, the `tokenizers` library in double: each is followed, so
 * that ties fall as they do there. */
#include "text/tok.h"
#include "text/utf8.h"

static void offer(const hn_tok *t, tok_best *to, double score, int32_t from, int32_t id) {
    if (t->sp) score = (double)(float)score;
    if (to->from < 0 || score > to->score) *to = (tok_best){ score, from, id };
}

static double score_of(const hn_tok *t, int32_t id, size_t len) {
    /* a symbol of the user is always the best */
    return t->flag[id] & TOK_USER ? (double)(float)((double)((float)len * (float)t->max_score) - 0.1)
                                  : t->logp[id];
}

static void ways_from(const hn_tok *t, tok_view v, size_t i, size_t len, tok_best *best) {
    bool single = false;
    int32_t at = 0;
    for (size_t k = i; k < v.n && (at = tok_dat_step(&t->pieces, at, (unsigned char)v.s[k])) >= 0; k++) {
        int32_t id = t->pieces.unit[at].id;
        if (id < 0) continue;
        offer(t, &best[k + 1], score_of(t, id, k + 1 - i) + best[i].score, (int32_t)i, id);
        single = single || k + 1 - i == len;
    }
    if (single) return;
    double unknown =
        t->sp ? (double)((float)t->unk_score + (float)best[i].score) : t->unk_score + best[i].score;
    offer(t, &best[i + len], unknown, (int32_t)i, t->unk);
}

int tok_unigram(tok_work *w, tok_view v) {
    const hn_tok *t = w->t;
    int32_t n = 0;
    if (hn_grow(&w->best, &w->cap_best, (int64_t)v.n + 1, sizeof *w->best) ||
        hn_grow(&w->sym, &w->cap_sym, (int64_t)v.n, sizeof *w->sym))
        return HN_ENOMEM;
    for (size_t i = 0; i <= v.n; i++) w->best[i] = (tok_best){ 0, -1, 0 };
    for (size_t i = 0, len; i < v.n; i += len) {
        int32_t cp;
        int k = hn_utf8_get(v.s + i, v.n - i, &cp);
        ways_from(t, v, i, len = k > 0 ? (size_t)k : 1, w->best);
    }
    for (int32_t to = (int32_t)v.n; to > 0; to = w->best[to].from)
        w->sym[n++] = (tok_sym){ .id = w->best[to].id, .begin = w->best[to].from, .end = to };
    for (int32_t i = 0; i < n / 2; i++) {
        tok_sym a = w->sym[i];
        w->sym[i] = w->sym[n - 1 - i];
        w->sym[n - 1 - i] = a;
    }
    return tok_emit(w, v, w->sym, n);
}
