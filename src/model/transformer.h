/* transformer.h - the decoder-only transformer of Llama, Qwen2/2.5, Qwen3, SmolLM2 and Mistral.
 *
 * One file covers them: the differences (biases, head norms, rope scaling, tied head) are switches of
 * hn_hfconfig.  The same recording serves training (attention over a forest) and generation (attention
 * over the cache); only the attention node differs. */
#ifndef HN_TRANSFORMER_H
#define HN_TRANSFORMER_H

#include "format/hfconfig.h"
#include "nn/params.h"

typedef struct hn_layer { /* weight indices in params; -1: absent */
    int norm_in, qkv, qkv_bias, q_norm, k_norm, out, out_bias, norm_mid, gate_up, gate_up_bias, down,
        down_bias;
} hn_layer;

typedef struct hn_transformer {
    hn_hfconfig cfg;
    hn_params params;
    hn_layer *layer; /* [n_layer] */
    int embed, norm, head;
    hn_real *freq;  /* [head_dim/2] radians per position */
    bool recompute; /* in training, blocks are segments (tensor.h): their activations are computed twice */
    int64_t
        vocab; /* ids below it exist in the tokenizer; the others are masked in sampler and learner alike */
} hn_transformer;

/* Declares parameters under their Hugging Face names; memory and values come after (hn_params_build). */
int hn_transformer_init(hn_transformer *m, const hn_hfconfig *c, hn_err *e);
void hn_transformer_release(hn_transformer *m);

/* Inverse frequencies with the config's rope scaling, computed in float as `transformers` does: freq
 * [head_dim/2]. */
void hn_rope_freq(const hn_hfconfig *c, hn_real *freq);

/* The longest path the model may be run on: its positions, and its window where one would become active
 * beyond it. */
int hn_transformer_max_len(const hn_transformer *m);

/* How a layer attends: a forest's spans, or the rows of a cache. */
typedef struct hn_attend {
    hn_tensor *span;     /* [S,3] i32: training and scoring */
    hn_tensor *row, *kv; /* [N,2] i32 (slot, position) and the hn_kv: generation */
} hn_attend;

/* Records the network from token ids [N] and positions [N] to the final norm: [N,C].  With `train`, leaves
 * have gradient memory; all leaves are appended to leaf[0..*n_leaf) for hn_grad (room:
 * hn_transformer_leaves). */
hn_tensor *hn_transformer_hidden(hn_transformer *m, hn_tape *t, hn_tensor *token, hn_tensor *pos,
                                 const hn_attend *how, bool train, hn_tensor **leaf, int *n_leaf);
/* The head's weight as the leaf already on the tape (tied) or a new one. */
hn_tensor *hn_transformer_head(hn_transformer *m, hn_tape *t, bool train, hn_tensor **leaf, int *n_leaf);
int hn_transformer_leaves(const hn_transformer *m);
#endif
