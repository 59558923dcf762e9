/* model.h - a model directory in memory: the network, its tokenizer, its chat template, its stop ids. */
#ifndef HN_MODEL_H
#define HN_MODEL_H

#include "format/hfdir.h"
#include "model/transformer.h"
#include "text/chat.h"
#include "text/tokenizer.h"

typedef struct hn_model {
    hn_transformer net;
    hn_tok *tok;        /* NULL only for a directory without a tokenizer */
    hn_tmpl *tmpl;      /* NULL: no chat template */
    bool two_templates; /* chat_template.jinja, which is used, and another in tokenizer_config.json */
    char *dir;          /* where it was read from: config and tokenizer files are carried over on save */
    hn_gencfg gencfg;
    int32_t stop[HN_EOS_MAX +
                 2]; /* ids that end an answer: generation_config's, else config's, else the tokenizer's */
    int n_stop;
    hn_tmpl_opts template_opts;
    json_t *template_kwargs; /* further variables of every rendering; NULL: none */
} hn_model;

/* Reads a Hugging Face directory.  prec: how products read their inputs. */
int hn_model_open(hn_model **m, const char *dir, hn_prec prec, hn_err *e);
/* The same with its matrices in blocks of few bits, for answering alone (nn/params.h). */
int hn_model_open_quant(hn_model **m, const char *dir, hn_prec prec, hn_quant quant, hn_err *e);
void hn_model_close(hn_model *m);
/* The same in two steps and without weights: config.json and generation_config.json (the parameters are
 * declared and have no memory), then tokenizer and chat template (`tok` is set when only the latter failed).
 */
int hn_model_settings(hn_model **m, const char *dir, hn_err *e);
int hn_model_text(hn_model *m, hn_err *e);
/* Replaces the weights by those of another directory of the same shape (a checkpoint, a reference). */
int hn_model_load(hn_model *m, const char *dir, hn_err *e);
/* Writes an ordinary directory, in one step (hn_hfdir_save).  more: further files before it gets its name. */
int hn_model_save(const hn_model *m, const char *dir, hn_st_dtype dtype, bool replace,
                  int (*more)(void *ctx, const char *dir, hn_err *e), void *ctx, hn_err *e);
/* The chat template of a directory; *text is the caller's (hn_free), NULL where there is none.  As in
 * `transformers`, chat_template.jinja wins over the one in tokenizer_config.json; *differ (NULL: not wanted)
 * says that both are there and are not the same. */
int hn_model_template_text(const char *dir, char **text, size_t *n, bool *differ, hn_err *e);
/* A second network with a copy of the weights, for a frozen reference. */
int hn_model_copy(hn_transformer *to, const hn_transformer *from, hn_err *e);

/* Further variables for the chat template (a JSON object as text) and the day that strftime_now shows
 * (YYYY-MM-DD); NULL: none.  `date` must outlive the model.  HN_EPARSE names the option. */
int hn_model_template(hn_model *m, const char *kwargs, const char *date, hn_err *e);
/* Token ids of a text, appended to out; bytes that no token stands for are an error, not left out.
 * special: with the special tokens the tokenizer adds. */
int hn_model_encode(const hn_model *m, const char *text, size_t n, bool special, hn_ids *out, hn_err *e);
/* Token ids of a prompt: `text` as it is (with the special tokens the tokenizer adds), or `messages` through
 * the chat template with the generation prompt.  Appends to out. */
int hn_model_prompt(const hn_model *m, const char *text, json_t *messages, hn_ids *out, hn_err *e);
/* The text of a conversation through the chat template; with `prompt`, up to where the assistant writes next.
 * The bytes the assistant has to write are appended to *assistant (NULL: not wanted).  kwargs: further
 * variables, or NULL; they win over those of hn_model_template. */
int hn_model_render(const hn_model *m, json_t *messages, json_t *tools, json_t *kwargs, bool prompt,
                    hn_buf *out, hn_ranges *assistant, hn_err *e);
/* The id that ends a text without a template: the tokenizer's eos, else the first stop id; -1: there is none.
 */
int32_t hn_model_eos(const hn_model *m);
#endif
