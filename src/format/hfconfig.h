/* hfconfig.h - config.json of a Hugging Face model directory as the shape of one transformer.
 *
 * Llama (SmolLM2 too), Qwen2, Qwen3 and Mistral are one network with switches.  A key that is absent means
 * what `transformers` means by its absence; a key we cannot honour is an error that names it, because a
 * silently ignored one damages the model (a lost rope_theta costs most of a model's quality). */
#ifndef HN_HFCONFIG_H
#define HN_HFCONFIG_H

#include "base/base.h"
#include <jansson.h>

typedef enum { HN_ARCH_LLAMA, HN_ARCH_MISTRAL, HN_ARCH_QWEN2, HN_ARCH_QWEN3, HN_ARCH_COUNT } hn_arch;
typedef enum { HN_ROPE_PLAIN, HN_ROPE_LINEAR, HN_ROPE_LLAMA3 } hn_rope_type;

/* Angles: frequency i of a head is theta^(-2i/head_dim), pairs are (i, i + head_dim/2).
 * LINEAR divides every frequency by `factor`.  LLAMA3 does so for wavelengths above
 * original/low_freq_factor, keeps those below original/high_freq_factor and blends between. */
typedef struct hn_rope_conf {
    hn_rope_type type;
    double theta, factor, low_freq_factor, high_freq_factor;
    int32_t original; /* original_max_position_embeddings */
} hn_rope_conf;

enum { HN_EOS_MAX = 16 };
typedef struct hn_hfconfig {
    hn_arch arch;
    int32_t vocab_size, hidden_size, intermediate_size, n_layer, n_head, n_kv_head, head_dim;
    int32_t max_position_embeddings;
    int32_t sliding_window; /* 0: none; else every layer sees only so many tokens (Mistral) */
    double rms_norm_eps, initializer_range;
    hn_rope_conf rope;
    bool qkv_bias, o_bias, mlp_bias; /* biases of q,k,v / of o / of gate,up,down */
    bool qk_norm;                    /* RMSNorm of each head of q and k before RoPE (Qwen3) */
    bool tied;                       /* lm_head.weight is embed_tokens.weight */
    int32_t bos, pad;                /* -1: none */
    int32_t n_eos, eos[HN_EOS_MAX];
    char dtype[16]; /* "float32", "bfloat16", "float16"; "" when the file does not say */
} hn_hfconfig;

/* The model_type of an architecture: "llama", "mistral", "qwen2", "qwen3". */
const char *hn_arch_name(hn_arch a);

/* What an architecture is when its config says nothing: everything but the sizes. */
void hn_hfconfig_default(hn_hfconfig *c, hn_arch a);

/* Fills *c from a parsed config.json; `file` is used in messages.  HN_EUNSUP: an architecture or setting we
 * do not do (the message names it and what there is); HN_ERANGE and HN_EPARSE: a value that cannot be. */
int hn_hfconfig_read(hn_hfconfig *c, const json_t *o, const char *file, hn_err *e);
int hn_hfconfig_open(hn_hfconfig *c, const char *path, hn_err *e); /* the same from a file */

/* Checks a struct filled by hand (sizes positive, heads divide, ids inside the vocabulary); the message uses
 * config.json's key names.  hn_hfconfig_read has done it. */
int hn_hfconfig_check(const hn_hfconfig *c, const char *file, hn_err *e);

/* May a path of `len` tokens be run?  An error when a sliding window would become active, which we do not do.
 */
int hn_hfconfig_length(const hn_hfconfig *c, int64_t len, hn_err *e);

/* Number of parameters (a tied head counted once). */
int64_t hn_hfconfig_params(const hn_hfconfig *c);

/* A config.json for a new model, with the spellings of transformers 4 and 5 (torch_dtype and dtype,
 * rope_theta + rope_scaling and rope_parameters).  The caller owns *out. */
int hn_hfconfig_json(const hn_hfconfig *c, json_t **out, hn_err *e);

/* Reads a token-id key that may be an integer, a list or null into id[0..*n); ids < 0 mean none.  An id that
 * is not below `vocab` (0: not checked) is an error. */
int hn_token_ids(const json_t *o, const char *key, int32_t vocab, int32_t *id, int32_t *n, const char *file,
                 hn_err *e);
#endif
