/* gguf_hf.h - models of llama.cpp from Hugging Face directories and back, as its own converter writes them.
 *
 * The llama architecture (Llama, Mistral) keeps q and k in the row order of neighbours (rope_rows.h), qwen2
 * and qwen3 in that of `transformers`.  A scaling of the rotary angles by Llama 3's rule is a tensor of
 * divisors, rope_freqs.weight.  A tied head has no tensor.  Matrices are in the type that was asked for,
 * vectors and norms always in F32. */
#ifndef HN_GGUF_HF_H
#define HN_GGUF_HF_H

#include "format/gguf.h"
#include "format/hfdir.h"

/* ---- Hugging Face -> GGUF ---- */
typedef struct hn_gguf_made {
    int64_t tensors, other; /* written; of those, matrices in F16 because a row does not fill Q8_0's blocks */
} hn_gguf_made;

/* F32, F16, BF16, Q8_0 by its name in small letters ("q8_0"); HN_EUNSUP says what there is. */
int hn_gguf_type_parse(hn_gguf_type *type, const char *name, hn_err *e);

/* Writes `path` from the model directory `d`, opens it again and compares every number: F32 by its bits, F16
 * and BF16 with the rounded number, Q8_0 within half a step and the rounding of its scale.  `more` adds the
 * keys of the tokenizer (NULL: none).  HN_EUNSUP: a shape that llama.cpp has no place for. */
int hn_gguf_export(hn_hfdir *d, const char *path, hn_gguf_type type,
                   int (*more)(void *ctx, hn_gguf_writer *w, hn_err *e), void *ctx, hn_gguf_made *made,
                   hn_err *e);

/* ---- GGUF -> Hugging Face ---- */
/* The shape that the keys and tensors describe; dtype is bfloat16 where every number is one, else float32, so
 * that nothing is lost.  HN_EUNSUP names the key or tensor that we do not do. */
int hn_gguf_shape(hn_hfconfig *c, const hn_gguf *g, hn_err *e);
/* Writes `dir` (hn_hfdir_save: whole or not at all), opens it again and compares every number by its bits.
 * `more` adds files before the directory gets its name (NULL: none). */
int hn_gguf_import(const hn_gguf *g, const char *dir, int (*more)(void *ctx, const char *dir, hn_err *e),
                   void *ctx, hn_err *e);

/* ---- shared by the two ---- */
enum { HN_GGUF_NAME = 96 };
/* A tensor under both names.  head > 0: its rows are heads of so many rows, here by halves and in GGUF by
 * neighbours. */
typedef struct hn_gguf_part {
    char hf[HN_GGUF_NAME], gguf[HN_GGUF_NAME];
    int rank;
    int64_t shape[2];
    int64_t head;
} hn_gguf_part;
/* All tensors of a shape; the caller frees *list (hn_free). */
int hn_gguf_parts(const hn_hfconfig *c, hn_gguf_part **list, int64_t *n, hn_err *e);
/* Divisors of the angles [head_dim/2] by Llama 3's rule. */
void hn_gguf_rope_factors(const hn_hfconfig *c, float *factor);
/* Compares the two, row by row; `exact`: by bits, else within what the type in GGUF can say. */
int hn_gguf_same(hn_hfdir *d, const hn_gguf *g, const hn_gguf_part *list, int64_t n, bool exact, hn_err *e);
/* Row r of the Hugging Face tensor (a vector is one row) out of the GGUF. */
int hn_gguf_row(const hn_gguf *g, const hn_gguf_tensor *t, const hn_gguf_part *p, int64_t r, float *x,
                hn_err *e);
/* The tensor of a part, which must be there and have its shape. */
int hn_gguf_need(const hn_gguf *g, const hn_gguf_part *p, const hn_gguf_tensor **t, hn_err *e);
#endif
