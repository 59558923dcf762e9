/* init.c - `hone init`: a model from nothing. */
#include "base/io.h"
#include "base/json.h"
#include "cli/cli.h"
#include "cli/models.h"
#include "cpu/backend.h"

#include <string.h>

typedef struct {
    const char *tokenizer, *train_tokenizer, *chat_template;
    int64_t vocab;
} init_options;

/* clang-format off */
static const hn_opt table[] = {
    { .name = "tokenizer", .help = "folder whose tokenizer the model gets", .type = HN_OPT_STR, .at = offsetof(init_options, tokenizer) },
    { .name = "train_tokenizer", .help = "text file to train a byte-level BPE tokenizer on", .type = HN_OPT_STR, .at = offsetof(init_options, train_tokenizer) },
    { .name = "vocab", .help = "ids of the trained tokenizer", .type = HN_OPT_INT, .at = offsetof(init_options, vocab), .def = 4096, .min = 260, .max = 1e6 },
    { .name = "chat_template", .help = "Jinja file stored as the model's chat template, in place of the tokenizer's", .type = HN_OPT_STR, .at = offsetof(init_options, chat_template) },
    { 0 },
};
/* clang-format on */

static int get_tokenizer(hn_cli *c, const init_options *o, hn_tok **t) {
    if (o->tokenizer) return hn_tok_open(t, o->tokenizer, &c->err);
    char *text;
    size_t n;
    int rc = hn_file_read(o->train_tokenizer, &text, &n, &c->err);
    if (!rc && !n)
        rc = hn_fail(&c->err, HN_EPARSE, "%s is empty: a tokenizer is trained on text", o->train_tokenizer);
    if (rc) {
        hn_free(text);
        return rc;
    }
    hn_tok_recipe r = { .vocab = (int)o->vocab };
    rc = hn_tok_train(t, text, n, &r, &c->err);
    hn_free(text);
    if (!rc && hn_tok_size(*t) < o->vocab)
        hn_cli_note(c, "%s has text for %d of %lld ids", o->train_tokenizer, hn_tok_size(*t),
                    (long long)o->vocab);
    return rc;
}

/* config.json's vocab_size follows the tokenizer: a larger one in the file is kept as padding. */
static int get_config(hn_cli *c, const hn_tok *t, hn_hfconfig *k, json_t **json) {
    json_t *j;
    int rc = hn_json_read(&j, c->common.config, &c->err);
    if (rc) return rc;
    const json_t *v = json_object_get(j, "vocab_size");
    int size = hn_tok_size(t);
    if (!json_is_integer(v) || json_integer_value(v) < size)
        json_object_set_new(j, "vocab_size", json_integer(size));
    static const struct {
        const char *key;
        hn_tok_role role;
    } id[] = { { "bos_token_id", HN_TOK_BOS },
               { "eos_token_id", HN_TOK_EOS },
               { "pad_token_id", HN_TOK_PAD } };
    for (int i = 0; i < 3; i++) {
        int r = hn_tok_role_id(t, id[i].role);
        json_object_set_new(j, id[i].key, r < 0 ? json_null() : json_integer(r));
    }
    rc = hn_hfconfig_read(k, j, c->common.config, &c->err);
    *json = j;
    return rc;
}

typedef struct {
    const hn_transformer *net;
    const hn_tok *tok;
    const char *chat_template;
} parts;

static int weights(void *ctx, int64_t i, hn_st_writer *w, hn_err *e) {
    const hn_params *p = &((const parts *)ctx)->net->params;
    return hn_st_writer_f32(w, p->value + p->list[i].at, p->list[i].count, e);
}

/* A template given replaces the tokenizer's own: a model has one. */
static int set_template(const char *dir, const char *from, hn_err *e) {
    hn_buf path = { 0 }, config = { 0 };
    char *text = NULL;
    size_t n;
    int rc = hn_path_join(&path, dir, "tokenizer_config.json") ? HN_OK : HN_ENOMEM;
    if (!rc && hn_path_exists(path.data)) {
        rc = hn_file_read(path.data, &text, &n, e);
        if (!rc) rc = hn_json_patch(&config, text, n, "chat_template", NULL, e);
        if (!rc) rc = hn_file_write(path.data, config.data, config.n, e);
    }
    if (!rc)
        rc = hn_path_join(&path, dir, "chat_template.jinja") ? hn_file_copy(from, path.data, e) : HN_ENOMEM;
    if (rc == HN_ENOMEM) hn_fail(e, rc, "no memory for a chat template");
    hn_free(text);
    hn_buf_free(&path);
    hn_buf_free(&config);
    return rc;
}

static int others(void *ctx, const char *dir, hn_err *e) {
    const parts *x = ctx;
    int rc = hn_tok_save(x->tok, dir, e);
    return rc || !x->chat_template ? rc : set_template(dir, x->chat_template, e);
}

static int save(hn_cli *c, const parts *x, const json_t *json) {
    const hn_params *p = &x->net->params;
    hn_hftensor *t = hn_alloc((size_t)p->n * sizeof *t);
    if (!t) return hn_fail(&c->err, HN_ENOMEM, "no memory to save a model");
    for (int64_t i = 0; i < p->n; i++) {
        t[i] = (hn_hftensor){ .name = p->list[i].name, .rank = p->list[i].shape.nd };
        memcpy(t[i].shape, p->list[i].shape.d, sizeof p->list[i].shape.d);
    }
    hn_hfsave s = { .config = json,
                    .dtype = HN_ST_F32,
                    .tensor = t,
                    .n = p->n,
                    .data = weights,
                    .more = others,
                    .ctx = (void *)(uintptr_t)x };
    int rc = hn_hfdir_save(c->common.out, &s, &c->err);
    hn_free(t);
    return rc;
}

static int work(hn_cli *c, const init_options *o) {
    int rc = hn_cli_need(c, "config", c->common.config);
    if (!rc) rc = hn_cli_need(c, "out", c->common.out);
    if (!rc && !o->tokenizer == !o->train_tokenizer)
        rc = hn_cli_usage(c, "give one of --tokenizer FOLDER and --train-tokenizer FILE");
    hn_tok *t = NULL;
    hn_hfconfig k;
    json_t *json = NULL;
    hn_transformer net = { 0 };
    if (!rc) rc = get_tokenizer(c, o, &t);
    if (!rc) rc = get_config(c, t, &k, &json);
    if (!rc) rc = hn_transformer_init(&net, &k, &c->err);
    if (!rc) rc = hn_params_build(&net.params, &hn_backend_cpu, HN_PREC_F32, &c->err);
    if (!rc) {
        parts x = { &net, t, o->chat_template };
        hn_params_random(&net.params, (uint64_t)c->common.seed, k.initializer_range);
        rc = save(c, &x, json);
    }
    if (!rc)
        printf("%s: %s, %.2f M parameters, vocabulary %d (tokenizer %d)\n", c->common.out,
               hn_arch_name(k.arch), 1e-6 * (double)net.params.count, k.vocab_size, hn_tok_size(t));
    hn_transformer_release(&net);
    json_decref(json);
    hn_tok_close(t);
    return rc;
}

static int run(int argc, char **argv) {
    hn_cli c;
    init_options o;
    int rc = hn_cli_begin_plain(&c, &hn_command_init, argc, argv);
    if (!rc) rc = hn_cli_add(&c, "Init", table, &o);
    if (!rc) rc = hn_cli_ready(&c);
    if (!rc) rc = work(&c, &o);
    return hn_cli_end(&c, rc);
}

const hn_command hn_command_init = { "init",
                                     "make a model from nothing: random weights of a config.json\n"
                                     "usage: hone init --config config.json (--tokenizer DIR | "
                                     "--train-tokenizer FILE --vocab N) --seed S --out DIR",
                                     run };
