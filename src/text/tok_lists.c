/* tok_lists.c - a tokenizer from the lists of a GGUF file, and the lists of a tokenizer.
 *
 * A byte-level vocabulary ("gpt2") becomes a tokenizer.json with the patterns that its `pre` stands for; a
 * SentencePiece one ("llama" by best score, "t5" by most likely cut) becomes a tokenizer.model.  So there is
 * one way of reading each, and what was read this way is saved as files that everyone knows. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "text/tok.h"
#include "text/utf8.h"

/* ---- the patterns behind a name ---- */
#define CONTRACTED "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define BLANKS     "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define TAIL       " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" BLANKS
#define QWEN2      CONTRACTED "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|" TAIL
#define QWEN35                                                                                               \
    CONTRACTED "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" BLANKS
#define LLAMA3 CONTRACTED "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|" TAIL
#define UPPER  "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER  "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(tail)                                                                                          \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" tail "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" tail
#define O200K  CASED(CONTRACTED "?") "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" BLANKS
#define TEKKEN CASED("") "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" BLANKS
#define CJK    "[\xE4\xB8\x80-\xE9\xBE\xA5\xE3\x81\x80-\xE3\x82\x9F\xE3\x82\xA0-\xE3\x83\xBF]+"
#define DEEPSEEK                                                                                             \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"     \
    " ?[\\p{P}\\p{S}]+[\\r\\n]*|" BLANKS

/* `name` is what we write; patterns end with NULL or with the whole array. */
static const struct {
    const char *name, *also, *pattern[3];
    bool nfc, whole; /* pieces that are tokens are not merged (ignore_merges) */
} pres[] = {
    { "gpt-2", " phi-2 roberta-bpe mpt olmo jais trillion granite-docling ", { TOK_GPT2 }, false, false },
    { "qwen2", " stablelm2 megrez deepseek-r1-qwen ", { QWEN2 }, true, false },
    { "llama-bpe", " llama3 llama-v3 falcon3 pixtral lfm2 ", { LLAMA3 }, false, true },
    { "dbrx", " smaug-bpe ", { LLAMA3 }, false, false },
    { "smollm", " starcoder refact command-r codeshell exaone ", { "\\p{N}", TOK_GPT2 }, false, false },
    { "gpt-4o", " llama4 ", { O200K }, false, false },
    { "tekken", " ", { TEKKEN }, false, true },
    { "qwen35", " ", { QWEN35 }, true, false },
    { "deepseek-v3", " ", { "\\p{N}{1,3}", CJK, DEEPSEEK }, false, false },
};
enum { N_PRE = (int)(sizeof pres / sizeof *pres) };

static int find_pre(const char *name, hn_err *e) {
    char word[64];
    snprintf(word, sizeof word, " %.60s ", name ? name : "");
    for (int i = 0; i < N_PRE && name; i++)
        if (!strcmp(pres[i].name, name) || strstr(pres[i].also, word)) return i;
    return hn_fail(e, HN_EUNSUP,
                   "tokenizer.ggml.pre: `%.60s` is not known; use the tokenizer.json the model came with",
                   name ? name : "(none)");
}

static bool same_patterns(int i, const char *patterns) {
    char all[2048];
    size_t n = 0;
    for (int k = 0; k < 3 && pres[i].pattern[k]; k++)
        n += (size_t)snprintf(all + n, sizeof all - n, "%s\n", pres[i].pattern[k]);
    hn_assert(n < sizeof all);
    return !strcmp(all, patterns);
}

/* ---- checks ---- */
static bool is_utf8(const char *s) { return hn_utf8_valid(s, strlen(s)) == strlen(s); }

static int check(const hn_tok_lists *l, bool scored, hn_err *e) {
    if (l->n < 1 || l->n > TOK_MAX_ID)
        return hn_fail(e, HN_ERANGE, "tokenizer.ggml.tokens: %d tokens: 1 to %d are possible", l->n,
                       TOK_MAX_ID);
    if (scored && !l->score) return hn_fail(e, HN_EPARSE, "tokenizer.ggml.scores: is missing");
    for (int i = 0; i < l->n; i++) {
        if (l->type && (l->type[i] < HN_TOK_NORMAL || l->type[i] > HN_TOK_BYTE))
            return hn_fail(e, HN_ERANGE, "tokenizer.ggml.token_type[%d]: %d is no type", i, l->type[i]);
        if (!is_utf8(l->token[i])) return hn_fail(e, HN_EPARSE, "tokenizer.ggml.tokens[%d]: is not UTF-8", i);
        if (scored && !isfinite(l->score[i]))
            return hn_fail(e, HN_ERANGE, "tokenizer.ggml.scores[%d]: is not a number", i);
    }
    for (int r = 0; r < HN_TOK_ROLES; r++)
        if (l->role[r] < -1 || l->role[r] >= l->n)
            return hn_fail(e, HN_ERANGE, "%s: id %d of %d tokens", hn_tok_role_name((hn_tok_role)r),
                           l->role[r], l->n);
    if ((l->add_bos && l->role[HN_TOK_BOS] < 0) || (l->add_eos && l->role[HN_TOK_EOS] < 0))
        return hn_fail(e, HN_EPARSE, "tokenizer.ggml.add_bos_token or add_eos_token without such a token");
    if (l->chat_template && !is_utf8(l->chat_template))
        return hn_fail(e, HN_EPARSE, "tokenizer.chat_template: is not UTF-8");
    return HN_OK;
}

static int type_of(const hn_tok_lists *l, int id) { return l->type ? l->type[id] : HN_TOK_NORMAL; }

/* Control, user-defined and unknown tokens are found in a text as they are spelled. */
static bool is_added(const hn_tok_lists *l, int id) {
    int k = type_of(l, id);
    return (k == HN_TOK_CONTROL || k == HN_TOK_USER || k == HN_TOK_UNKNOWN) && *l->token[id];
}

static json_t *added_token(const hn_tok_lists *l, int id) {
    return json_pack("{s:s, s:b, s:b, s:b, s:b, s:b}", "content", l->token[id], "single_word", 0, "lstrip", 0,
                     "rstrip", 0, "normalized", 0, "special", type_of(l, id) != HN_TOK_USER);
}

/* tokenizer_config.json */
static int write_config(const hn_tok_lists *l, const char *class, hn_buf *out) {
    json_t *c = json_object(), *added = json_object();
    bool bad = !c || !added;
    for (int i = 0; i < l->n && !bad; i++) {
        char key[16];
        if (!is_added(l, i)) continue;
        snprintf(key, sizeof key, "%d", i);
        bad = json_object_set_new(added, key, added_token(l, i)) != 0;
    }
    bad = json_object_set_new(c, "added_tokens_decoder", added) || bad;
    for (int r = 0; r < HN_TOK_ROLES && !bad; r++)
        if (l->role[r] >= 0)
            bad = json_object_set_new(c, hn_tok_role_name((hn_tok_role)r),
                                      json_string(l->token[l->role[r]])) != 0;
    bad = bad || json_object_set_new(c, "add_bos_token", json_boolean(l->add_bos)) ||
          json_object_set_new(c, "add_eos_token", json_boolean(l->add_eos)) ||
          json_object_set_new(c, "tokenizer_class", json_string(class)) ||
          json_object_set_new(c, "clean_up_tokenization_spaces", json_false());
    if (l->chat_template && !bad)
        bad = json_object_set_new(c, "chat_template", json_string(l->chat_template)) != 0;
    bad = bad || hn_json_print(out, c);
    json_decref(c);
    return bad ? HN_ENOMEM : HN_OK;
}

/* ---- "gpt2": a tokenizer.json ---- */
static json_t *byte_level_part(bool regex) {
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 0,
                     "use_regex", regex);
}

static json_t *pre_part(int pre) {
    json_t *list = json_array();
    bool bad = !list;
    for (int k = 0; k < 3 && pres[pre].pattern[k] && !bad; k++)
        bad = json_array_append_new(list, json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern",
                                                    "Regex", pres[pre].pattern[k], "behavior", "Isolated",
                                                    "invert", 0)) != 0;
    if (!bad && !json_array_append_new(list, byte_level_part(false)))
        return json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", list);
    json_decref(list);
    return NULL;
}

static int add_special(const hn_tok_lists *l, json_t *single, json_t *specials, hn_tok_role r) {
    const char *s = l->token[l->role[r]];
    return json_array_append_new(single,
                                 json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", s, "type_id", 0)) ||
           json_object_set_new(specials, s,
                               json_pack("{s:s, s:[i], s:[s]}", "id", s, "ids", l->role[r], "tokens", s));
}

static json_t *post_part(const hn_tok_lists *l) {
    json_t *single = json_array(), *specials = json_object();
    bool bad = false;
    if (!l->add_bos && !l->add_eos) {
        json_decref(single);
        json_decref(specials);
        return json_null();
    }
    if (l->add_bos) bad = add_special(l, single, specials, HN_TOK_BOS);
    bad = json_array_append_new(single, json_pack("{s:{s:s, s:i}}", "Sequence", "id", "A", "type_id", 0)) ||
          bad;
    if (l->add_eos) bad = add_special(l, single, specials, HN_TOK_EOS) || bad;
    json_t *pair = bad ? NULL : json_deep_copy(single);
    if (!pair ||
        json_array_append_new(pair, json_pack("{s:{s:s, s:i}}", "Sequence", "id", "B", "type_id", 1))) {
        json_decref(single);
        json_decref(specials);
        json_decref(pair);
        return NULL;
    }
    return json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single", single, "pair", pair,
                     "special_tokens", specials);
}

/* Vocabulary and added tokens; an unused id has no token. */
static int put_tokens(const hn_tok_lists *l, json_t *vocab, json_t *added, hn_err *e) {
    for (int i = 0; i < l->n; i++) {
        if (type_of(l, i) == HN_TOK_UNUSED) continue;
        if (json_object_get(vocab, l->token[i]))
            return hn_fail(e, HN_EPARSE, "tokenizer.ggml.tokens[%d]: `%.80s` is there twice", i, l->token[i]);
        if (json_object_set_new(vocab, l->token[i], json_integer(i))) return HN_ENOMEM;
        json_t *a = is_added(l, i) ? added_token(l, i) : NULL;
        if (is_added(l, i) &&
            (!a || json_object_set_new(a, "id", json_integer(i)) || json_array_append(added, a))) {
            json_decref(a);
            return HN_ENOMEM;
        }
        json_decref(a);
    }
    return HN_OK;
}

static int write_bpe(const hn_tok_lists *l, int pre, hn_buf *out, hn_err *e) {
    json_t *vocab = json_object(), *merges = json_array(), *added = json_array(), *root = NULL;
    int rc = vocab && merges && added ? put_tokens(l, vocab, added, e) : HN_ENOMEM;
    for (int64_t i = 0; i < l->n_merge && !rc; i++)
        if (!is_utf8(l->merge[i]))
            rc = hn_fail(e, HN_EPARSE, "tokenizer.ggml.merges[%lld]: is not UTF-8", (long long)i);
        else if (json_array_append_new(merges, json_string(l->merge[i]))) rc = HN_ENOMEM;
    if (!rc) {
        json_t *norm = pres[pre].nfc ? json_pack("{s:s}", "type", "NFC") : json_null();
        root = json_pack(
            "{s:s, s:n, s:n, s:O, s:o, s:o, s:o, s:o, s:{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:O, s:O}}",
            "version", "1.0", "truncation", "padding", "added_tokens", added, "normalizer", norm,
            "pre_tokenizer", pre_part(pre), "post_processor", post_part(l), "decoder", byte_level_part(false),
            "model", "type", "BPE", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
            "fuse_unk", 0, "byte_fallback", 0, "ignore_merges", pres[pre].whole, "vocab", vocab, "merges",
            merges);
        rc = root ? hn_json_print(out, root) : HN_ENOMEM;
    }
    json_decref(root);
    json_decref(vocab);
    json_decref(merges);
    json_decref(added);
    return rc;
}

int hn_tok_from_lists(hn_tok **t, const char *name, const hn_tok_lists *l, hn_err *e) {
    hn_buf main = { 0 }, config = { 0 };
    bool bpe = !strcmp(l->model, "gpt2"), unigram = !strcmp(l->model, "t5");
    *t = NULL;
    int rc =
        bpe || unigram || !strcmp(l->model, "llama")
            ? check(l, !bpe, e)
            : hn_fail(e, HN_EUNSUP, "tokenizer.ggml.model: `%.60s`: gpt2, llama and t5 are read", l->model);
    int pre = !rc &&bpe ? rc = find_pre(l->pre, e) : 0;
    if (pre > 0) rc = HN_OK;
    if (!rc) rc = bpe ? write_bpe(l, pre, &main, e) : tok_sp_write(l, unigram, &main, e);
    if (!rc)
        rc = write_config(l,
                          bpe       ? "PreTrainedTokenizerFast"
                          : unigram ? "T5Tokenizer"
                                    : "LlamaTokenizer",
                          &config);
    if (!rc) return tok_from_memory(t, name, bpe ? TOK_JSON : TOK_SP, &main, &config, e);
    hn_buf_free(&main);
    hn_buf_free(&config);
    if (e && !e->code) hn_fail(e, rc, "out of memory for the tokenizer");
    hn_fail_in(e, "%s", name);
    return rc;
}

/* ---- back to lists ---- */
typedef struct ranked { /* a merge */
    int32_t rank, left, right, id;
} ranked;

static int by_rank(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

/* The merges, the first to be merged first. */
static ranked *merges_of(const hn_tok *t, int64_t *n, hn_arena *a) {
    int64_t m = 0, room = t->pairs.slot ? (int64_t)t->pairs.mask + 1 : 0;
    for (int64_t i = 0; i < room; i++) m += t->pairs.slot[i].key != UINT64_MAX;
    ranked *r = hn_arena_get(a, (size_t)(m + 1) * sizeof *r);
    for (int64_t i = *n = 0; i < room && r; i++) {
        const tok_pair *p = &t->pairs.slot[i];
        if (p->key == UINT64_MAX) continue;
        r[(*n)++] = (ranked){ p->rank, (int32_t)(p->key >> 32), (int32_t)(uint32_t)p->key, p->id };
    }
    if (r) qsort(r, (size_t)*n, sizeof *r, by_rank);
    return r;
}

static int32_t type_for(const hn_tok *t, int id) {
    uint8_t f = t->flag[id];
    if (id == t->unk && !t->byte_level) return HN_TOK_UNKNOWN;
    if (f & TOK_SPECIAL) return HN_TOK_CONTROL;
    if (f & (TOK_ADDED | TOK_USER)) return HN_TOK_USER;
    return f & TOK_BYTE ? HN_TOK_BYTE : f & TOK_UNUSED ? HN_TOK_UNUSED : HN_TOK_NORMAL;
}

static int list_tokens(const hn_tok *t, hn_tok_lists *l, hn_arena *a) {
    const char **token = hn_arena_get(a, (size_t)l->n * sizeof *token);
    int32_t *type = hn_arena_get(a, (size_t)l->n * sizeof *type);
    if (!token || !type) return HN_ENOMEM;
    for (int i = 0; i < l->n; i++) {
        char pad[24];
        bool known = i < t->n_id && t->name[i].s;
        type[i] = known ? type_for(t, i) : HN_TOK_UNUSED;
        int n = snprintf(pad, sizeof pad, "[PAD%d]", i);
        if (!(token[i] = known ? t->name[i].s : hn_arena_str(a, pad, (size_t)n))) return HN_ENOMEM;
    }
    l->token = token;
    l->type = type;
    return HN_OK;
}

static int list_merges(const hn_tok *t, hn_tok_lists *l, hn_arena *a, hn_err *e) {
    for (int i = 0; i < N_PRE; i++)
        if (same_patterns(i, t->patterns.data ? t->patterns.data : "")) {
            l->pre = pres[i].name;
            if (pres[i].whole == t->ignore_merges) break; /* else the best there is, if no other fits */
        }
    if (!l->pre)
        return hn_fail(e, HN_EUNSUP, "%s: GGUF has no name for the patterns of its pre_tokenizer", t->dir);
    const ranked *r = merges_of(t, &l->n_merge, a);
    const char **merge = hn_arena_get(a, (size_t)(l->n_merge + 1) * sizeof *merge);
    if (!r || !merge) return HN_ENOMEM;
    for (int64_t i = 0; i < l->n_merge; i++) {
        tok_key x = t->name[r[i].left], y = t->name[r[i].right];
        char *s = hn_arena_get(a, (size_t)x.n + (size_t)y.n + 2);
        if (!s) return HN_ENOMEM;
        memcpy(s, x.s, (size_t)x.n);
        s[x.n] = ' ';
        memcpy(s + x.n + 1, y.s, (size_t)y.n);
        merge[i] = s;
    }
    l->merge = merge;
    return HN_OK;
}

/* Merges by rank are merges by score if those that make the same token follow each other, and every way of
 * making a token of two is among them. */
static int score_merges(const hn_tok *t, float *score, hn_arena *a, hn_err *e) {
    int64_t n, ways = 0;
    const ranked *r = merges_of(t, &n, a);
    if (!r) return HN_ENOMEM;
    for (int32_t i = 0; i < t->n_id; i++) score[i] = -(float)n;
    for (int64_t i = 0; i < n; i++) {
        bool again = i && r[i].id == r[i - 1].id;
        if (!again && score[r[i].id] != -(float)n) ways = -1 - n;
        if (!again) score[r[i].id] = -(float)i;
    }
    for (int32_t id = 0; id < t->n_id; id++) {
        tok_key k = t->name[id];
        for (int32_t i = 1; i < k.n && (t->flag[id] & TOK_MODEL) && k.s; i++)
            ways += tok_map_get(&t->by_text, k.s, (size_t)i) >= 0 &&
                    tok_map_get(&t->by_text, k.s + i, (size_t)(k.n - i)) >= 0;
    }
    if (ways == n && n < 1 << 24) return HN_OK;
    return hn_fail(e, HN_EUNSUP, "%s: its merges are not those of scores, which is all that GGUF has for it",
                   t->dir);
}

/* A model with marks for spaces: SentencePiece's own, or one whose steps are those of its llama kind. */
static int list_scores(const hn_tok *t, hn_tok_lists *l, hn_arena *a, hn_err *e) {
    const tok_step *s = t->step;
    int n = t->n_step, prepend = 0;
    for (int i = 0; i < n && !t->sp; i++) {
        bool mark = s[i].text.n == 3 && !memcmp(s[i].text.s, "\xE2\x96\x81", 3);
        bool space = s[i].kind == TOK_REPLACE && s[i].pattern.kind == TOK_FIND_TEXT &&
                     s[i].pattern.text.n == 1 && *s[i].pattern.text.s == ' ';
        prepend += s[i].kind == TOK_PREPEND && mark && !s[i].at_start && !s[i].unless;
        if (!mark || !(space || s[i].kind == TOK_PREPEND) || s[i].at_start || s[i].unless)
            return hn_fail(e, HN_EUNSUP, "%s: GGUF has no words for its normalizer and pre_tokenizer",
                           t->dir);
    }
    if (!t->sp && (t->unigram || n - prepend != 1))
        return hn_fail(e, HN_EUNSUP, "%s: GGUF has no words for its normalizer and pre_tokenizer", t->dir);
    float *score = hn_arena_get(a, (size_t)l->n * sizeof *score);
    if (!score) return HN_ENOMEM;
    l->model = t->unigram ? "t5" : "llama";
    l->score = score;
    l->add_space = t->sp ? t->dummy : prepend > 0;
    l->squeeze = t->sp && t->squeeze;
    if (!t->sp) return score_merges(t, score, a, e);
    memcpy(score, t->score, (size_t)t->n_piece * sizeof *score);
    return HN_OK;
}

int hn_tok_to_lists(const hn_tok *t, int n_min, hn_tok_lists *l, hn_arena *a, hn_err *e) {
    *l = (hn_tok_lists){ .n = n_min > t->n_id ? n_min : t->n_id, .model = "gpt2" };
    for (int r = 0; r < HN_TOK_ROLES; r++) l->role[r] = t->role_id[r];
    if (l->role[HN_TOK_UNK] < 0 && !t->byte_level) l->role[HN_TOK_UNK] = t->unk;
    l->add_bos = t->n_before > 0 && t->before[0] == t->role_id[HN_TOK_BOS];
    l->add_eos = t->n_after > 0 && t->after[0] == t->role_id[HN_TOK_EOS];
    if (t->n_before != l->add_bos || t->n_after != l->add_eos)
        return hn_fail(e, HN_EUNSUP, "%s: GGUF can only put BOS before and EOS behind a text", t->dir);
    int rc = list_tokens(t, l, a);
    if (!rc) rc = t->byte_level ? list_merges(t, l, a, e) : list_scores(t, l, a, e);
    if (!rc && t->sp && t->map.data) {
        l->charsmap = t->map.data;
        l->n_charsmap = 4 + 4 * t->map.n_tree + t->map.n_text;
    }
    return rc == HN_ENOMEM ? hn_fail(e, rc, "%s: out of memory for the lists of its tokens", t->dir) : rc;
}
