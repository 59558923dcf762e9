/* tok_train.c - training of a byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909; on bytes as GPT-2).
 *
 * The text is cut into pieces and equal pieces are counted once, as words.  Then, until there are tokens
 * enough: the pair of neighbours that is most frequent over all words becomes a token, of equals the one of
 * lowest ids, and the words it is in are rewritten.  A heap holds the pairs; an entry whose count has
 * changed since is put back with the new one, so each step costs about what it changes. */
#include <string.h>

#include "text/tok.h"
#include "text/utf8.h"

enum { BYTES = 256 };

static const char *const default_special[] = { "<|endoftext|>", "<|im_start|>", "<|im_end|>" };
static const char chatml[] =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

static const char parts[] = "  \"normalizer\": null,\n"
                            "  \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [\n"
                            "    {\"type\": \"Digits\", \"individual_digits\": true},\n"
                            "    {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": "
                            "true, \"use_regex\": true}]},\n"
                            "  \"post_processor\": null,\n"
                            "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
                            "\"trim_offsets\": true, \"use_regex\": true},\n";

static const char model[] =
    "    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": null,\n"
    "    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n"
    "    \"fuse_unk\": false,\n    \"byte_fallback\": false,\n    \"ignore_merges\": false,\n";

typedef struct word {
    int64_t first; /* in sym[] */
    int64_t count;
    int32_t n;
} word;

/* A pair of ids (key: left << 32 | right), its count over all words, the words it was seen in (a list in
 * uses[], some out of date), and the last step that made more of it. */
typedef struct pair {
    uint64_t key;
    int64_t count, uses, step;
} pair;
typedef struct use {
    int64_t next;
    int32_t word;
} use;
typedef struct due {
    int64_t count;
    uint64_t key;
} due;

typedef struct trainer {
    const char *const *special;
    int n_special, vocab;
    /* words; `seen` finds one by its bytes */
    tok_key *piece;
    word *words;
    int32_t *sym;
    int64_t n_word, cap_piece, cap_word, n_sym, cap_sym;
    tok_map seen;
    /* pairs: open addressing, key UINT64_MAX is empty; `grown` are those of this step */
    pair *pairs;
    use *uses;
    due *heap;
    uint64_t *grown;
    int64_t n_pair, room_pair, n_use, cap_use, n_heap, cap_heap, n_grown, cap_grown;
    /* tokens, spelled in the byte-level alphabet */
    hn_arena *arena;
    tok_key *name; /* [vocab] */
    tok_map by_name;
    int32_t n_tok, byte_id[BYTES];
    uint64_t *merges; /* keys */
    int64_t n_merge, cap_merge;
} trainer;

/* ---- words ---- */
static int grow_seen(trainer *r) {
    tok_map old = r->seen;
    if (old.slot && (int64_t)old.mask >= 2 * (r->n_word + 1)) return HN_OK;
    if (tok_map_init(&r->seen, NULL, 2 * (r->n_word + 64))) {
        r->seen = old;
        return HN_ENOMEM;
    }
    hn_free(old.slot);
    r->seen.key = r->piece;
    for (int32_t i = 0; i < r->n_word; i++) tok_map_put(&r->seen, i);
    return HN_OK;
}

/* The sink of the walk: counts a piece. */
static int count_piece(tok_work *w, tok_view v) {
    trainer *r = w->ctx;
    r->seen.key = r->piece;
    int32_t i = tok_map_get(&r->seen, v.s, v.n);
    if (i >= 0) {
        r->words[i].count++;
        return HN_OK;
    }
    if (hn_grow(&r->piece, &r->cap_piece, r->n_word + 1, sizeof *r->piece) ||
        hn_grow(&r->words, &r->cap_word, r->n_word + 1, sizeof *r->words) || grow_seen(r))
        return HN_ENOMEM;
    r->seen.key = r->piece;
    r->piece[r->n_word] = (tok_key){ v.s, (int32_t)v.n };
    r->words[r->n_word] = (word){ .n = (int32_t)v.n, .count = 1 };
    tok_map_put(&r->seen, (int32_t)r->n_word++);
    return HN_OK;
}

static int spell_words(trainer *r) {
    for (int64_t i = 0; i < r->n_word; i++) r->n_sym += r->words[i].n;
    if (hn_grow(&r->sym, &r->cap_sym, r->n_sym, sizeof *r->sym)) return HN_ENOMEM;
    int64_t at = 0;
    for (int64_t i = 0; i < r->n_word; i++) {
        r->words[i].first = at;
        for (int32_t k = 0; k < r->piece[i].n; k++)
            r->sym[at++] = r->byte_id[(unsigned char)r->piece[i].s[k]];
    }
    return HN_OK;
}

/* ---- pairs ---- */
static uint64_t key_of(int32_t left, int32_t right) {
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static pair *slot_of(const trainer *r, uint64_t key) {
    int64_t i = (int64_t)((key * 0x9E3779B97F4A7C15u) >> 20) & (r->room_pair - 1);
    while (r->pairs[i].key != key && r->pairs[i].key != UINT64_MAX) i = (i + 1) & (r->room_pair - 1);
    return &r->pairs[i];
}

static int grow_pairs(trainer *r) {
    int64_t old_room = r->room_pair;
    pair *old = r->pairs;
    if (2 * (r->n_pair + 1) <= old_room) return HN_OK;
    int64_t room = old_room ? 2 * old_room : 1024;
    pair *new = hn_alloc((size_t)room * sizeof *new);
    if (!new) return HN_ENOMEM;
    for (int64_t i = 0; i < room; i++) new[i].key = UINT64_MAX;
    r->pairs = new;
    r->room_pair = room;
    for (int64_t i = 0; i < old_room; i++)
        if (old[i].key != UINT64_MAX) *slot_of(r, old[i].key) = old[i];
    hn_free(old);
    return HN_OK;
}

/* Adds `count` to a pair of word w.  Where it grows, the word is noted and the pair is listed once a step. */
static int change(trainer *r, uint64_t key, int64_t count, int32_t w, bool grows) {
    if (grow_pairs(r)) return HN_ENOMEM;
    pair *p = slot_of(r, key);
    if (p->key == UINT64_MAX) {
        *p = (pair){ .key = key, .uses = -1, .step = -1 };
        r->n_pair++;
    }
    p->count += count;
    if (!grows) return HN_OK;
    if (p->step != r->n_merge) {
        if (hn_grow(&r->grown, &r->cap_grown, r->n_grown + 1, sizeof *r->grown)) return HN_ENOMEM;
        r->grown[r->n_grown++] = key;
        p->step = r->n_merge;
    }
    if (p->uses >= 0 && r->uses[p->uses].word == w) return HN_OK;
    if (hn_grow(&r->uses, &r->cap_use, r->n_use + 1, sizeof *r->uses)) return HN_ENOMEM;
    r->uses[r->n_use] = (use){ p->uses, w };
    p->uses = r->n_use++;
    return HN_OK;
}

/* All pairs of word w, sign times its count; with +1 those that hold `fresh` grow (-1: all do). */
static int change_word(trainer *r, int32_t w, int sign, int32_t fresh) {
    const word *x = &r->words[w];
    for (int32_t i = 0; i + 1 < x->n; i++) {
        const int32_t *s = r->sym + x->first + i;
        bool grows = sign > 0 && (fresh < 0 || s[0] == fresh || s[1] == fresh);
        if (change(r, key_of(s[0], s[1]), sign * x->count, w, grows)) return HN_ENOMEM;
    }
    return HN_OK;
}

/* ---- the heap: most frequent first, then lowest ids ---- */
static bool before(due a, due b) { return a.count != b.count ? a.count > b.count : a.key < b.key; }

static int heap_add(trainer *r, due new) {
    if (hn_grow(&r->heap, &r->cap_heap, r->n_heap + 1, sizeof *r->heap)) return HN_ENOMEM;
    int64_t i = r->n_heap++;
    for (int64_t up; i > 0 && before(new, r->heap[up = (i - 1) / 2]); i = up) r->heap[i] = r->heap[up];
    r->heap[i] = new;
    return HN_OK;
}

static due heap_take(trainer *r) {
    due top = r->heap[0], last = r->heap[--r->n_heap];
    int64_t i = 0, n = r->n_heap;
    for (int64_t c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && before(r->heap[c + 1], r->heap[c])) c++;
        if (!before(r->heap[c], last)) break;
        r->heap[i] = r->heap[c];
    }
    r->heap[i] = last;
    return top;
}

static int heap_add_grown(trainer *r) {
    for (int64_t i = 0; i < r->n_grown; i++)
        if (heap_add(r, (due){ slot_of(r, r->grown[i])->count, r->grown[i] })) return HN_ENOMEM;
    r->n_grown = 0;
    return HN_OK;
}

/* ---- merging ---- */
static int add_token(trainer *r, const char *s, size_t n) {
    const char *own = hn_arena_str(r->arena, s, n);
    if (!own) return HN_ENOMEM;
    r->name[r->n_tok] = (tok_key){ own, (int32_t)n };
    tok_map_put(&r->by_name, r->n_tok++);
    return HN_OK;
}

/* The token that left and right make together: a new one, unless another pair spells the same. */
static int joined(trainer *r, int32_t left, int32_t right, int32_t *id) {
    hn_buf b = { 0 };
    hn_buf_add(&b, r->name[left].s, (size_t)r->name[left].n);
    hn_buf_add(&b, r->name[right].s, (size_t)r->name[right].n);
    int rc = b.oom ? HN_ENOMEM : HN_OK;
    if (!rc && (*id = tok_map_get(&r->by_name, b.data, b.n)) < 0) {
        *id = r->n_tok;
        rc = add_token(r, b.data, b.n);
    }
    hn_buf_free(&b);
    return rc;
}

static int merge_word(trainer *r, int32_t w, int32_t left, int32_t right, int32_t id) {
    word *x = &r->words[w];
    int32_t *s = r->sym + x->first, m = 0;
    bool there = false;
    for (int32_t i = 0; i + 1 < x->n; i++) there = there || (s[i] == left && s[i + 1] == right);
    if (!there) return HN_OK;
    if (change_word(r, w, -1, -1)) return HN_ENOMEM;
    for (int32_t i = 0; i < x->n; i++) {
        bool hit = i + 1 < x->n && s[i] == left && s[i + 1] == right;
        s[m++] = hit ? id : s[i];
        i += hit;
    }
    x->n = m;
    return change_word(r, w, 1, id);
}

static int merge_pair(trainer *r, uint64_t key) {
    int32_t left = (int32_t)(key >> 32), right = (int32_t)(uint32_t)key, id;
    if (joined(r, left, right, &id) || hn_grow(&r->merges, &r->cap_merge, r->n_merge + 1, sizeof *r->merges))
        return HN_ENOMEM;
    r->merges[r->n_merge++] = key;
    for (int64_t u = slot_of(r, key)->uses; u >= 0; u = r->uses[u].next)
        if (merge_word(r, r->uses[u].word, left, right, id)) return HN_ENOMEM;
    return heap_add_grown(r);
}

static int merge_all(trainer *r, int64_t min_count) {
    int rc = spell_words(r);
    for (int32_t w = 0; w < r->n_word && !rc; w++) rc = change_word(r, w, 1, -1);
    if (!rc) rc = heap_add_grown(r);
    while (!rc && r->n_tok < r->vocab && r->n_heap) {
        due d = heap_take(r);
        int64_t now = slot_of(r, d.key)->count;
        if (now < min_count) continue;
        rc = now == d.count ? merge_pair(r, d.key) : heap_add(r, (due){ now, d.key });
    }
    return rc;
}

/* ---- the tokenizer ---- */
static int begin(trainer *r, hn_err *e) {
    char c[4];
    for (int i = 0; i < r->n_special; i++) {
        size_t n = strlen(r->special[i]);
        if (!n || n > TOK_MAX_ADDED_LEN || hn_utf8_valid(r->special[i], n) < n ||
            tok_map_get(&r->by_name, r->special[i], n) >= 0)
            return hn_fail(e, HN_EPARSE, "special token `%.80s` is empty, too long, not UTF-8 or given twice",
                           r->special[i]);
        if (add_token(r, r->special[i], n)) return HN_ENOMEM;
    }
    for (int32_t cp = 0; cp < 0x200; cp++) { /* bytes in the order of their characters */
        int b = tok_byte_of(cp);
        if (b < 0) continue;
        size_t n = (size_t)tok_byte_char((unsigned)b, c);
        if (tok_map_get(&r->by_name, c, n) >= 0)
            return hn_fail(e, HN_EPARSE, "special token `%.*s` is the spelling of a byte", (int)n, c);
        r->byte_id[b] = r->n_tok;
        if (add_token(r, c, n)) return HN_ENOMEM;
    }
    return HN_OK;
}

static int make(const trainer *r, const hn_tok_recipe *o, hn_tok **t, hn_err *e) {
    const char *role[HN_TOK_ROLES];
    bool given = o->special != NULL;
    tok_pages d = { 0 };
    memcpy(role, o->role, sizeof role);
    for (int i = 0; i < HN_TOK_ROLES; i++) given = given || role[i];
    if (!given) {
        role[HN_TOK_EOS] = "<|im_end|>";
        role[HN_TOK_PAD] = "<|endoftext|>";
    }
    tok_write_begin(&d, r->special, r->n_special, parts, model);
    for (int32_t i = 0; i < r->n_tok; i++) tok_write_token(&d, r->name[i].s, (size_t)r->name[i].n, i);
    tok_write_merges(&d);
    for (int64_t i = 0; i < r->n_merge; i++) {
        tok_key a = r->name[r->merges[i] >> 32], b = r->name[(uint32_t)r->merges[i]];
        tok_write_merge(&d, a.s, (size_t)a.n, b.s, (size_t)b.n);
    }
    tok_write_end(&d, r->special, r->n_special, role,
                  o->chat_template ? o->chat_template
                  : o->special     ? NULL
                                   : chatml);
    return tok_from_memory(t, "the trained tokenizer", TOK_JSON, &d.json, &d.config, e);
}

static int count_words(trainer *r, const hn_tok *bytes, const char *text, size_t n, hn_err *e) {
    hn_ids added = { 0 }; /* special tokens in the text, which are no words */
    tok_work w = { .t = bytes, .out = &added, .e = e, .sink = count_piece, .ctx = r };
    int rc = tok_walk(&w, text, n);
    tok_work_free(&w);
    hn_ids_free(&added);
    return rc;
}

static void end(trainer *r) {
    hn_free(r->piece);
    hn_free(r->words);
    hn_free(r->sym);
    hn_free(r->seen.slot);
    hn_free(r->pairs);
    hn_free(r->uses);
    hn_free(r->heap);
    hn_free(r->grown);
    hn_free(r->name);
    hn_free(r->by_name.slot);
    hn_free(r->merges);
    if (r->arena) hn_arena_free(r->arena);
}

int hn_tok_train(hn_tok **t, const char *text, size_t n, const hn_tok_recipe *o, hn_err *e) {
    trainer r = { .special = o->special ? o->special : default_special,
                  .n_special = o->special ? o->n_special : 3,
                  .vocab = o->vocab };
    hn_tok *bytes = NULL;
    *t = NULL;
    if (n > INT32_MAX)
        return hn_fail(e, HN_ERANGE, "training text of %zu bytes: the most is %d; take a part", n, INT32_MAX);
    if (o->vocab < r.n_special + BYTES || o->vocab > TOK_MAX_ID)
        return hn_fail(e, HN_ERANGE,
                       "a vocabulary of %d: %d special tokens and 256 bytes need %d, and %d is the most",
                       o->vocab, r.n_special, r.n_special + BYTES, TOK_MAX_ID);
    int rc = HN_OK;
    if (!(r.name = hn_alloc((size_t)o->vocab * sizeof *r.name)) ||
        tok_map_init(&r.by_name, r.name, o->vocab) || !(r.arena = hn_arena_new(1 << 16)))
        rc = HN_ENOMEM;
    if (!rc) rc = begin(&r, e);
    if (!rc) rc = make(&r, o, &bytes, e);
    if (!rc) rc = count_words(&r, bytes, text, n, e);
    if (!rc) rc = merge_all(&r, o->min_count > 1 ? o->min_count : 1);
    if (!rc) rc = make(&r, o, t, e);
    hn_tok_close(bytes);
    end(&r);
    return rc == HN_ENOMEM ? hn_fail(e, rc, "out of memory for training a tokenizer") : rc;
}
