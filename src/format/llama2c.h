/* llama2c.h - import of llama2.c checkpoints (version 0) into a Hugging Face directory.
 *
 * Such a file is seven int32 (dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len; a negative
 * vocab_size says that the classifier is not the embedding) and f32 weights, tensor after tensor, all layers
 * of one kind together.  It rotates neighbouring pairs (2i, 2i+1) of a head where Hugging Face rotates halves
 * (i, i + head_dim/2): the rows of q and k are reordered on the way. */
#ifndef HN_LLAMA2C_H
#define HN_LLAMA2C_H

#include "format/hfconfig.h"

/* The shape that a checkpoint's header describes, after checking that the file holds exactly its weights.
 * bos is 1; eos are 2 and 1, because these models begin the next text with bos instead of ending one.
 * HN_EPARSE with expected and actual bytes; HN_EUNSUP for later versions of the format. */
int hn_llama2c_shape(hn_hfconfig *c, const char *path, hn_err *e);

/* Writes `dir` (hn_hfdir_save: whole or not at all) from the checkpoint at `path`, in f32.  `more` may add
 * files, such as the tokenizer, before the directory gets its name; NULL: none. */
int hn_llama2c_convert(const char *path, const char *dir, int (*more)(void *ctx, const char *dir, hn_err *e),
                       void *ctx, hn_err *e);
#endif
