/* tokenizer.h - text to token ids and back, exactly as the model's own files say.
 *
 * A tokenizer is a pipeline (the form of Hugging Face's tokenizer.json): added tokens are cut out
 * of the text, the rest is normalized, cut into pieces by patterns, and every piece is merged by
 * byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909): of all neighbouring pairs the one of
 * lowest rank is joined, the leftmost first, until no pair has a rank;
 * or, with a unigram model (Kudo 2018, arXiv:1804.10959), cut in the most likely way.
 *
 * Read: tokenizer.json (BPE and Unigram; the parts a file may use are listed in tok_parts.c and tok_post.c),
 * vocab.json with merges.txt (GPT-2 and Qwen2), tokenizer.model (SentencePiece, BPE and unigram), and
 * `char_ords` in tokenizer_config.json.  What we do not do is an error that names the file and the part.  A
 * tokenizer is read-only once open: any number of threads may use one. */
#ifndef HN_TOKENIZER_H
#define HN_TOKENIZER_H

#include "base/base.h"

typedef struct hn_tok hn_tok;

/* Bytes [begin,end) of the source text that a token stands for.  Tokens the tokenizer put there
 * itself (a prepended space, BOS) cover nothing: begin == end. */
typedef struct hn_cover {
    int32_t begin, end;
} hn_cover;

/* A growing array of token ids.  A zeroed hn_ids is empty; set want_at before the first addition to
 * get `at` as well. */
typedef struct hn_ids {
    int32_t *id;  /* [n] */
    hn_cover *at; /* [n], or NULL */
    int64_t n, cap, cap_at;
    bool want_at;
    int64_t dropped; /* bytes no token could stand for (a vocabulary without that byte and without an
                        unknown token), left out as the reference library leaves them out */
} hn_ids;
int hn_ids_add(hn_ids *a, int32_t id, int32_t begin, int32_t end); /* HN_ENOMEM or 0 */
void hn_ids_clear(hn_ids *a);                                      /* n = dropped = 0, keeps the memory */
void hn_ids_free(hn_ids *a);

/* Opens the tokenizer of the model directory `dir`: tokenizer.json, else vocab.json + merges.txt, else
 * char_ords, else tokenizer.model; with tokenizer_config.json, special_tokens_map.json and added_tokens.json
 * where they are. Close with hn_tok_close (NULL is fine). */
int hn_tok_open(hn_tok **t, const char *dir, hn_err *e);
void hn_tok_close(hn_tok *t);

/* Every id is below this; some may have no token (hn_tok_piece is NULL there). */
int hn_tok_size(const hn_tok *t);
int hn_tok_id(const hn_tok *t, const char *token); /* id of a token as it is spelled in the files, or -1 */
const char *hn_tok_piece(const hn_tok *t, int id); /* that spelling; NULL when there is no such token */
bool hn_tok_is_special(const hn_tok *t, int id);   /* an added token marked special */

/* The tokens with a role.  The spelling is NULL and the id -1 where the files name none; the id is -1
 * as well where the named token is not in the vocabulary. */
typedef enum {
    HN_TOK_BOS,
    HN_TOK_EOS,
    HN_TOK_PAD,
    HN_TOK_UNK,
    HN_TOK_SEP,
    HN_TOK_CLS,
    HN_TOK_MASK,
    HN_TOK_ROLES
} hn_tok_role;
int hn_tok_role_id(const hn_tok *t, hn_tok_role role);
const char *hn_tok_role_str(const hn_tok *t, hn_tok_role role);
const char *hn_tok_role_name(hn_tok_role role); /* "bos_token", ... */

/* Appends the ids of s[0..n) to out.  add_special adds what the post-processor adds (BOS, ...): false
 * for a rendered chat template, which holds them already.  Spellings of added tokens in the text become
 * those tokens.  Bytes that are not UTF-8 are encoded as bytes where the vocabulary can, else as the
 * unknown token.  On an error (HN_ENOMEM; HN_ERANGE: more than 2^31-1 bytes, or a pattern that gave up)
 * out is as before. */
int hn_tok_encode(const hn_tok *t, const char *s, size_t n, bool add_special, hn_ids *out, hn_err *e);

/* Appends the text of n ids (all >= 0; ids without a token have no text) to out; what is not UTF-8
 * becomes U+FFFD. */
int hn_tok_decode(const hn_tok *t, const int32_t *id, int64_t n, bool skip_special, hn_buf *out, hn_err *e);

/* Decoding token by token: what comes out is always whole characters.  The pieces together are what
 * hn_tok_decode gives, except that a run of byte tokens (<0x..>) that is not UTF-8 becomes one U+FFFD
 * a broken character here and one a byte there. */
typedef struct hn_tok_stream {
    const hn_tok *t;
    bool skip_special, started;
    int lead;              /* leading characters still to be stripped */
    unsigned char hold[4]; /* an unfinished character */
    int n_hold;
} hn_tok_stream;
void hn_tok_stream_init(hn_tok_stream *s, const hn_tok *t, bool skip_special);
void hn_tok_stream_add(hn_tok_stream *s, int32_t id, hn_buf *out);
void hn_tok_stream_end(hn_tok_stream *s, hn_buf *out); /* an unfinished character becomes U+FFFD */

/* A tokenizer that was opened writes the files it was read from, byte for byte; one that was trained or
 * converted writes tokenizer.json and tokenizer_config.json, with which `tokenizers` and `transformers` give
 * the same ids.  hn_tok_file is one of those files (owned by t), or NULL when there is none of that name. */
int hn_tok_save(const hn_tok *t, const char *dir, hn_err *e);
const char *hn_tok_file(const hn_tok *t, const char *name, size_t *n);

/* Training: byte-level BPE with GPT-2's pattern after single digits (SmolLM2's pipeline).  Ids: the special
 * tokens, the 256 bytes, then one token a merge, the most frequent pair first and of equals the one of
 * lowest ids; so the result is a function of the text alone. */
typedef struct hn_tok_recipe {
    int vocab;                  /* tokens wanted; fewer come out when the text has no more pairs */
    int64_t min_count;          /* a pair seen less often is not merged; 0 means 1 */
    const char *const *special; /* NULL: <|endoftext|>, <|im_start|>, <|im_end|> */
    int n_special;
    const char *role[HN_TOK_ROLES]; /* spellings of special tokens; with `special` NULL and none given:
                                       eos <|im_end|>, pad <|endoftext|> */
    const char *chat_template;      /* Jinja; NULL: ChatML where `special` is NULL, else none */
} hn_tok_recipe;
int hn_tok_train(hn_tok **t, const char *text, size_t n, const hn_tok_recipe *r, hn_err *e);

/* A vocabulary as GGUF files hold it (tokenizer.ggml.*).  Strings are UTF-8 with a 0 at the end. */
enum hn_tok_type {
    HN_TOK_NORMAL = 1,
    HN_TOK_UNKNOWN,
    HN_TOK_CONTROL,
    HN_TOK_USER,
    HN_TOK_UNUSED,
    HN_TOK_BYTE
};
typedef struct hn_tok_lists {
    const char *model; /* "gpt2": byte-level BPE; "llama": SentencePiece BPE; "t5": SentencePiece unigram */
    const char *pre;   /* gpt2: the name of its patterns ("qwen2", "llama-bpe", ...) */
    int n;
    const char *const *token; /* [n] */
    const float *score;       /* [n]; NULL for gpt2 */
    const int32_t *type;      /* [n] HN_TOK_NORMAL, ...; NULL: all normal */
    const char *const *merge; /* [n_merge] "a b", the first to be merged first; none but for gpt2 */
    int64_t n_merge;
    int32_t role[HN_TOK_ROLES]; /* ids; -1: none */
    bool add_bos, add_eos;
    bool add_space;       /* llama, t5: a space is put before the text */
    const char *charsmap; /* llama, t5: SentencePiece's precompiled map of characters, or NULL */
    size_t n_charsmap;
    bool squeeze;              /* llama, t5: runs of spaces are one, none at the ends */
    const char *chat_template; /* or NULL */
} hn_tok_lists;

/* Builds a tokenizer from lists, which stay the caller's; `name` (a path) stands in messages.  Saved, it is
 * a tokenizer.json (gpt2) or a tokenizer.model.  HN_EUNSUP: a model or `pre` that is not known. */
int hn_tok_from_lists(hn_tok **t, const char *name, const hn_tok_lists *l, hn_err *e);

/* The lists of a tokenizer, in memory of `a` or of t.  An id without a token is `[PADi]`, unused; so are the
 * ids from hn_tok_size(t) to n_min, where a model has more.  HN_EUNSUP: the format has no words for this
 * tokenizer (the message says for what). */
int hn_tok_to_lists(const hn_tok *t, int n_min, hn_tok_lists *l, hn_arena *a, hn_err *e);

/* Reads the tokenizer file of llama2.c (tok512.bin: u32 longest token; then a token f32 score, u32 length,
 * bytes) with `vocab` tokens: <unk>, <s>, </s>, the 256 bytes, then pieces merged by score. */
int hn_tok_from_llama2c(hn_tok **t, const char *path, int vocab, hn_err *e);
#endif
