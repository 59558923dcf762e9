/* hfdir.h - a model directory as Hugging Face lays it out: config.json, generation_config.json, tokenizer
 * files and the weights in one safetensors file or in shards with an index.
 *
 * What we do not understand is kept: unknown config keys byte for byte, tokenizer files as they are. */
#ifndef HN_HFDIR_H
#define HN_HFDIR_H

#include "format/hfconfig.h"
#include "format/safetensors.h"

/* ---- reading ---- */
/* generation_config.json; what neither it nor config.json says is NAN or -1. */
typedef struct hn_gencfg {
    int32_t n_eos, eos[HN_EOS_MAX], bos, pad;
    int32_t do_sample; /* 0, 1, -1 */
    double temperature, top_p, min_p, repetition_penalty;
    int32_t top_k, max_new_tokens, max_length;
} hn_gencfg;

typedef struct hn_hfdir hn_hfdir;

/* Opens a directory: its config, and every tensor of every shard by name.  Errors name the file and the
 * tensor: a shard that is missing, a tensor that the index promises and its file lacks, a tensor found twice.
 */
int hn_hfdir_open(hn_hfdir **out, const char *path, hn_err *e);
/* The same without weights, for what can be said before they are there. */
int hn_hfdir_settings(hn_hfdir **out, const char *path, hn_err *e);
void hn_hfdir_close(hn_hfdir *d); /* NULL is fine; tensors are invalid afterwards */
const char *hn_hfdir_path(const hn_hfdir *d);
const json_t *hn_hfdir_json(const hn_hfdir *d);        /* config.json, whole */
const hn_hfconfig *hn_hfdir_config(const hn_hfdir *d); /* what it says of the transformer */
const hn_gencfg *hn_hfdir_generation(const hn_hfdir *d);

int64_t hn_hfdir_count(const hn_hfdir *d);
const hn_st_tensor *hn_hfdir_at(const hn_hfdir *d, int64_t i);          /* sorted by name */
const hn_st_tensor *hn_hfdir_find(const hn_hfdir *d, const char *name); /* NULL: not there */
/* The tensor that a model needs: there and of this shape, else an error that names both; it counts as used.
 */
int hn_hfdir_need(hn_hfdir *d, const char *name, int rank, const int64_t *shape, const hn_st_tensor **t,
                  hn_err *e);
/* After everything needed was taken: is a tensor left that the model would silently ignore?  HN_EUNSUP names
 * it. Not counted: rotary tables of old checkpoints, and the head of a tied model when it equals the
 * embedding. */
int hn_hfdir_rest(const hn_hfdir *d, hn_err *e);

/* ---- writing ---- */
typedef struct hn_hftensor {
    const char *name;
    int rank;
    int64_t shape[HN_ST_RANK];
} hn_hftensor;

typedef struct hn_hfsave {
    const char *source;   /* directory whose config, generation_config and tokenizer files are carried over;
                             NULL: none */
    const json_t *config; /* keys to set in the carried config.json; without `source` the whole of it */
    hn_st_dtype dtype;    /* HN_ST_F32 or HN_ST_BF16; config.json gets dtype and torch_dtype */
    int64_t shard_bytes;  /* data above this is cut into several files between tensors; 0: never */
    bool replace;         /* may replace a directory that holds other things than a saved model */
    const hn_hftensor *tensor;
    int64_t n;
    /* Gives all data of tensor i to the writer (hn_st_writer_f32, in as many pieces as it likes). */
    int (*data)(void *ctx, int64_t i, hn_st_writer *w, hn_err *e);
    /* Writes more files into the directory before it gets its name (a tokenizer, a state); NULL: none. */
    int (*more)(void *ctx, const char *dir, hn_err *e);
    void *ctx;
} hn_hfsave;

/* Builds the directory beside `dir` and puts it there in one step: whatever fails, `dir` is what it was, or
 * the new one whole.  `source` may be `dir` itself.  HN_EIO before anything is written when the disk is too
 * full. */
int hn_hfdir_save(const char *dir, const hn_hfsave *s, hn_err *e);

/* Is this the name of a file that belongs to a tokenizer or its chat templates? */
bool hn_hf_is_tokenizer_file(const char *name);
#endif
