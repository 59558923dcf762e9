/* tok.h - the inside of a tokenizer, shared by the tok_*.c files alone.
 *
 * Opening: files -> one JSON tree in the form of tokenizer.json (tok_files.c) -> vocabulary (tok_vocab.c)
 * and steps (tok_parts.c).  Encoding (tok_encode.c) sends a view of the text through the steps, depth
 * first, and what comes out at the end through the merges (tok_merge.c). */
#ifndef HN_TOK_H
#define HN_TOK_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <jansson.h>
#include <pcre2.h>

#include "text/tokenizer.h"

enum {
    TOK_MAX_ID = 1 << 22,    /* far above any real vocabulary; bounds what a hostile file makes us allocate */
    TOK_MAX_STEPS = 24,      /* normalizers and pre-tokenizers together */
    TOK_MAX_STAGES = 8,      /* decoders */
    TOK_MAX_ADDED_LEN = 4096 /* bytes of an added token; bounds the search for one */
};

/* ---- vocabulary ---- */
typedef struct tok_key {
    const char *s; /* NULL: no such id */
    int32_t n;
} tok_key;

/* From strings to ids, open addressing; the strings live in key[id]. */
typedef struct tok_map {
    const tok_key *key;
    uint64_t *slot; /* high half: hash, low half: id + 1; 0 is empty */
    uint32_t mask;
} tok_map;
int tok_map_init(tok_map *m, const tok_key *key, int64_t n);
int32_t tok_map_get(const tok_map *m, const char *s, size_t n); /* -1: not there */
void tok_map_put(tok_map *m, int32_t id);                       /* key[id] must not be there yet */

/* Ranks of pairs of ids. */
typedef struct tok_pair {
    uint64_t key; /* left << 32 | right; UINT64_MAX is empty */
    int32_t rank, id;
} tok_pair;
typedef struct tok_pairs {
    tok_pair *slot;
    uint32_t mask;
} tok_pairs;
int tok_pairs_init(tok_pairs *p, int64_t n);
const tok_pair *tok_pairs_get(const tok_pairs *p, int32_t left, int32_t right); /* NULL: no rank */
void tok_pairs_put(tok_pairs *p, int32_t left, int32_t right, int32_t rank,
                   int32_t id); /* a later one wins */

/* USER: a SentencePiece symbol that is always a token of its own, found by its spelling. */
enum {
    TOK_SPECIAL = 1,
    TOK_ADDED = 2,
    TOK_MODEL = 4,
    TOK_WHOLE = 8,
    TOK_BYTE = 16,
    TOK_USER = 32,
    TOK_UNUSED = 64
};

typedef struct tok_added {
    int32_t id;
    bool lstrip, rstrip, single_word, normalized;
} tok_added;

/* A tree of bytes for the longest added token at a place. */
typedef struct tok_node {
    int32_t child, next, added; /* added: index into hn_tok.added, or -1 */
    unsigned char byte;
} tok_node;
typedef struct tok_trie {
    tok_node *node; /* node 0 is the root */
    int64_t n, cap;
    bool first[256]; /* bytes a token begins with */
} tok_trie;

/* A tree of bytes as one array (Aoe 1989): the child of node i by byte c is at base ^ c. */
typedef struct tok_unit {
    int32_t base, parent, id; /* parent -1: free; id -1: no key ends here */
} tok_unit;
typedef struct tok_dat {
    tok_unit *unit;
    int64_t n, cap;
} tok_dat;
int tok_dat_build(tok_dat *d, const tok_key *key, const int32_t *id,
                  int64_t n); /* keys not empty, no two alike */
/* The node below `at` (the root is 0) by byte c, or -1. */
static inline int32_t tok_dat_step(const tok_dat *d, int32_t at, unsigned char c) {
    int32_t to = d->unit[at].base ^ c;
    return d->unit[to].parent == at ? to : -1;
}

/* A map of characters as SentencePiece compiles it: a Darts tree and the texts it points to. */
typedef struct tok_charsmap {
    char *data;            /* as in the file: four bytes, the tree, the texts */
    size_t n_tree, n_text; /* units of four bytes; bytes behind them */
} tok_charsmap;
int tok_charsmap_take(tok_charsmap *m, const char *data, size_t n, hn_err *e);
/* The replacement for the shortest or longest beginning of s[0..n) that is in the map, *len bytes of it. */
bool tok_charsmap_get(const tok_charsmap *m, bool shortest, const char *s, size_t n, size_t *len,
                      tok_key *to);

/* ---- steps ---- */
/* Radford et al. 2019: contractions, then a word, a number or other signs with the space before, then space.
 */
#define TOK_GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
typedef enum { TOK_FIND_REGEX, TOK_FIND_TEXT, TOK_FIND_CLASS } tok_find;
typedef struct tok_pattern {
    tok_find kind;
    pcre2_code *re;
    tok_key text;
    bool (*is)(int32_t cp); /* CLASS: one character at a time */
} tok_pattern;

typedef enum { TOK_ISOLATED, TOK_REMOVED, TOK_MERGED_PREV, TOK_MERGED_NEXT, TOK_CONTIGUOUS } tok_behavior;
typedef enum {
    TOK_NORMAL,
    TOK_LOWER,
    TOK_UNMARK,
    TOK_TRIM,
    TOK_SPELL,
    TOK_PRECOMPILED,
    TOK_SENTENCE,
    TOK_REPLACE,
    TOK_PREPEND,
    TOK_SPLIT
} tok_step_kind;
typedef struct tok_step {
    tok_step_kind kind;
    tok_pattern pattern;   /* REPLACE, SPLIT */
    tok_key text;          /* REPLACE, PREPEND: what is put there */
    bool compose, compat;  /* NORMAL: to composed characters, else decomposed; compatible ones as well */
    bool left, right;      /* TRIM: space off the beginning, off the end */
    bool unless, at_start; /* PREPEND: not before itself; only where the source begins */
    tok_behavior behavior; /* SPLIT */
    bool invert;
} tok_step;

/* ---- decoders that work token by token ---- */
typedef enum { TOK_DEC_REPLACE, TOK_DEC_STRIP, TOK_DEC_META, TOK_DEC_WORDS, TOK_DEC_UNSPELL } tok_dec;
typedef struct tok_stage {
    tok_dec kind;
    tok_pattern pattern; /* REPLACE */
    tok_key text;        /* what is put there; the character that is stripped; the mark; the prefix */
    int start, stop;     /* STRIP; META: start 1 where the first token loses its marks */
    bool tidy;           /* WORDS */
} tok_stage;

typedef struct tok_file {
    const char *name;
    char *data;
    size_t n;
} tok_file;
enum { TOK_JSON, TOK_CONFIG, TOK_SP, TOK_FILES = 9 }; /* places in hn_tok.file */

struct tok_work;
struct hn_tok {
    char *dir; /* for messages */
    tok_file file[TOK_FILES];
    char *pool, *pool_text; /* characters of name[] and text[] */
    int n_id;
    tok_key *name, *text; /* [n_id] as spelled in the files; as bytes of text */
    uint8_t *flag;        /* [n_id] */
    hn_buf patterns;      /* of a byte-level model: what its pieces are cut by, a line each */
    tok_map by_name;      /* all tokens */
    tok_map by_text;      /* tokens of the model, by the bytes they stand for in a piece */
    tok_pairs pairs;
    int32_t byte_id[256]; /* byte-level: the byte's token; else <0x..> or -1 */
    int32_t unk;          /* unknown token of the model, or -1 */
    bool byte_level, byte_fallback, fuse_unk, ignore_merges;
    bool unigram; /* pieces are cut by likelihood, not merged */
    bool sp;      /* a SentencePiece model: its arithmetic, and merges by the score of what comes out */
    bool dummy, squeeze, escape, suffix; /* of its normalizer */
    bool cut_marks;  /* no piece has a mark for a space behind something else: cut before marks */
    int32_t longest; /* bytes of the longest piece */
    int32_t n_piece; /* entries of score and logp */
    float *score;    /* [n_piece] SentencePiece and unigram */
    double *logp;    /* [n_piece] unigram, as in the file */
    double unk_score, max_score;
    int32_t *rank;  /* [n_piece] SentencePiece BPE: the higher the score the lower; equals are equal */
    tok_dat pieces; /* unigram */
    tok_charsmap map;
    struct tok_trie user; /* USER pieces */
    tok_added *added;
    int64_t n_added, cap_added;
    tok_trie raw, normed; /* added tokens searched before and after the normalizers */
    tok_step step[TOK_MAX_STEPS];
    int n_step, n_norm; /* the first n_norm are normalizers */
    pcre2_general_context *pcre;
    int32_t *before, *after; /* what the post-processor adds */
    int64_t n_before, n_after, cap_before, cap_after;
    tok_stage stage[TOK_MAX_STAGES];
    int n_stage;
    bool dec_join;          /* no decoder: tokens with spaces between them */
    bool dec_first;         /* the first token of a text is rendered in another way */
    bool dec_spelled;       /* tokens are bytes one and all */
    bool dec_bytes;         /* <0x..> tokens are bytes */
    tok_key dec_strip;      /* a character stripped from the beginning of a text ... */
    int dec_strip_n;        /* ... at most so often */
    int16_t byte_of[0x200]; /* the byte-level alphabet, or -1 */
    char *role[HN_TOK_ROLES];
    int32_t role_id[HN_TOK_ROLES];
    hn_arena *arena; /* small strings of steps and decoder */
};

/* tok_files.c: the files of a directory as one tree in the form of tokenizer.json. */
void tok_files_name(hn_tok *t);
int tok_files_read(hn_tok *t, const char *dir, hn_err *e);
int tok_files_tree(hn_tok *t, json_t **root, hn_err *e);
int tok_json_load(json_t **root, const char *data, size_t n, const char *name, hn_err *e);
const char *tok_json_str(const json_t *o, const char *key); /* NULL when absent or not a string */

/* tokenizer.c: a tokenizer from two files in memory, which it takes over; kind: TOK_JSON or TOK_SP. */
int tok_from_memory(hn_tok **t, const char *origin, int kind, hn_buf *main, hn_buf *config, hn_err *e);
/* tok_write.c: the two files of a tokenizer made here. */
typedef struct tok_pages {
    hn_buf json, config;
    bool more; /* an entry was written in the open list */
} tok_pages;
void tok_write_str(hn_buf *b, const char *s, size_t n); /* as JSON, in quotes */
void tok_write_begin(tok_pages *d, const char *const *special, int n_special, const char *parts,
                     const char *model);
void tok_write_token(tok_pages *d, const char *s, size_t n, int id);
void tok_write_merges(tok_pages *d);
void tok_write_merge(tok_pages *d, const char *a, size_t na, const char *b, size_t nb);
void tok_write_end(tok_pages *d, const char *const *special, int n_special,
                   const char *const role[HN_TOK_ROLES], const char *chat_template);
/* tok_sp.c */
int tok_sp_tree(hn_tok *t, const json_t *config, const char *data, size_t n, json_t **root, hn_err *e);
int tok_sp_write(const hn_tok_lists *l, bool unigram, hn_buf *out, hn_err *e);
/* tok_pieces.c: a vocabulary that is a list of pieces */
int tok_pieces_measure(hn_tok *t, const json_t *vocab, size_t *pool, hn_err *e);
int tok_pieces_name(hn_tok *t, const json_t *model, size_t *used, hn_err *e);
int tok_pieces_finish(hn_tok *t, hn_err *e);
void tok_find_cuts(hn_tok *t); /* cut_marks */
/* tok_vocab.c */
int tok_name_token(hn_tok *t, int32_t id, const char *s, size_t *used, hn_err *e);
int tok_vocab_load(hn_tok *t, const json_t *root, hn_err *e);
/* tok_render.c */
int tok_byte_of(int32_t cp); /* the byte a character of the byte-level alphabet stands for, or -1 */
int tok_byte_char(unsigned byte, char out[4]);             /* and back; returns the length */
int tok_byte_token(tok_key k);                             /* the byte of a token spelled <0x..>, or -1 */
bool tok_unspell(const hn_tok *t, tok_key k, hn_buf *out); /* false: not of that alphabet; out as before */
/* What a token spelled k stands for, left in a; b is scratch. */
int tok_render(struct tok_work *w, tok_key k, bool first, hn_buf *a, hn_buf *b);
/* tok_parts.c */
int tok_parts_load(hn_tok *t, const json_t *root, hn_err *e);
void tok_parts_free(hn_tok *t);
int tok_unknown_part(const char *where, const char *type, const char *why, hn_err *e);
int tok_keep(hn_tok *t, const json_t *v, tok_key *k, const char *where, hn_err *e); /* v: a string */
int tok_pattern_load(hn_tok *t, tok_pattern *p, const json_t *o, const char *where, hn_err *e);
int tok_metaspace_scheme(const json_t *o, const json_t **mark);
/* tok_post.c */
int tok_post_load(hn_tok *t, const json_t *root, hn_err *e);
/* tok_regex.c */
int tok_regex_compile(hn_tok *t, tok_pattern *p, const char *src, hn_err *e);
/* tok_added.c */
int tok_added_load(hn_tok *t, hn_err *e);
int tok_trie_add(tok_trie *r, const char *s, size_t n, int32_t added);
int32_t tok_trie_longest(const tok_trie *r, const char *s, size_t n, size_t *len); /* index or -1 */

/* ---- encoding ---- */
/* A stretch of text on its way: byte i stands for source bytes [lo[i],hi[i]), or [at+i,at+i+1) where lo
 * is NULL (then, after a change of the text, `at` is only exact at the beginning of the source). */
typedef struct tok_view {
    const char *s;
    size_t n;
    int64_t at;
    const int32_t *lo, *hi;
} tok_view;
tok_view tok_cut(tok_view v, size_t begin, size_t end);
hn_cover tok_cover(tok_view v, size_t begin, size_t end);

typedef struct tok_sym {
    int32_t id, begin, end, prev, next;
} tok_sym;
typedef struct tok_due {
    uint64_t key; /* rank << 32 | place */
    int32_t id;
} tok_due;
typedef struct tok_best { /* the best way to a place in a text */
    double score;
    int32_t from, id; /* from -1: none yet */
} tok_best;

/* A text being made: characters and what they stand for. */
typedef struct tok_draft {
    char *s;
    int32_t *lo, *hi;
    int64_t n, cap_s, cap_lo, cap_hi;
} tok_draft;
int tok_draft_add(tok_draft *d, bool map, const char *s, size_t n,
                  hn_cover at); /* all of s stands for `at` */
int tok_draft_copy(tok_draft *d, bool map, tok_view v);

typedef struct tok_work tok_work;
struct tok_work {
    const hn_tok *t;
    int (*sink)(tok_work *w, tok_view piece); /* where pieces end: tok_merge, or the counter of the trainer */
    void *ctx;                                /* of the sink */
    hn_ids *out;
    hn_err *e;
    bool map;    /* covers are wanted */
    bool broken; /* the source is not all UTF-8 */
    pcre2_match_data *match;
    tok_draft draft[TOK_MAX_STEPS];
    tok_sym *sym;
    tok_due *due;
    struct tok_cp *cp;
    tok_best *best;
    int64_t cap_sym, cap_due, n_due, cap_cp, cap_best;
};

/* tok_merge.c: a piece into ids, appended to w->out. */
int tok_merge(tok_work *w, tok_view v);
int tok_emit(tok_work *w, tok_view v, tok_sym *s,
             int32_t n); /* SentencePiece, unigram: unknown ones joined */
/* tok_unigram.c: the same for a unigram model. */
int tok_unigram(tok_work *w, tok_view v);
/* tok_sentence.c: the normalizer of SentencePiece. */
int tok_sentence(tok_work *w, tok_view v, tok_draft *d);
/* tok_encode.c: runs v through step k and all after it. */
int tok_run(tok_work *w, int k, tok_view v);
int tok_walk(tok_work *w, const char *s, size_t n); /* all of a text, from the beginning */
int tok_change(tok_work *w, int k, tok_view *v); /* step k, which is not a SPLIT: v becomes what it makes */
void tok_work_free(tok_work *w);
/* tok_split.c */
int tok_split(tok_work *w, int k, tok_view v);
int tok_pattern_next(tok_work *w, const tok_pattern *p, tok_view v, size_t from, size_t *begin, size_t *end);
/* tok_norm.c */
int tok_normal(tok_work *w, const tok_step *p, tok_view v, tok_draft *d); /* 1: unchanged, d untouched */
/* tok_letters.c: the same for what is done character by character */
int tok_letters(tok_work *w, const tok_step *p, tok_view v, tok_draft *d);
int tok_precompiled(tok_work *w, tok_view v, tok_draft *d);
#endif
