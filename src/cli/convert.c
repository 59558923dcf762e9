/* convert.c - `hone convert`: checkpoints of other programs as Hugging Face directories. */
#include "cli/cli.h"
#include "format/llama2c.h"
#include "text/tokenizer.h"

#include <string.h>

typedef struct {
    const char *from, *tokenizer;
} convert_options;

static const hn_opt table[] = {
    { .name = "from",
      .help = "the format: llama2c",
      .type = HN_OPT_STR,
      .at = offsetof(convert_options, from) },
    { .name = "tokenizer",
      .help = "llama2c: its tokenizer file (tok512.bin)",
      .type = HN_OPT_STR,
      .at = offsetof(convert_options, tokenizer) },
    { 0 },
};

static int save_tokenizer(void *ctx, const char *dir, hn_err *e) { return hn_tok_save(ctx, dir, e); }

static int work(hn_cli *c, const convert_options *o) {
    hn_err *e = &c->err;
    hn_hfconfig k;
    hn_tok *tok = NULL;
    int rc = hn_cli_need(c, "from", o->from);
    if (!rc && strcmp(o->from, "llama2c"))
        rc = hn_cli_usage(c, "no format named '%s': there is llama2c", o->from);
    if (!rc) rc = hn_cli_need(c, "model", c->common.model);
    if (!rc) rc = hn_cli_need(c, "tokenizer", o->tokenizer);
    if (!rc) rc = hn_cli_need(c, "out", c->common.out);
    if (!rc) rc = hn_llama2c_shape(&k, c->common.model, e);
    if (!rc) rc = hn_tok_from_llama2c(&tok, o->tokenizer, k.vocab_size, e);
    if (!rc) rc = hn_llama2c_convert(c->common.model, c->common.out, save_tokenizer, tok, e);
    if (!rc)
        printf("%s: %s, %.2f M parameters, vocabulary %d\n", c->common.out, hn_arch_name(k.arch),
               1e-6 * (double)hn_hfconfig_params(&k), k.vocab_size);
    hn_tok_close(tok);
    return rc;
}

static int run(int argc, char **argv) {
    hn_cli c;
    convert_options o = { 0 };
    int rc = hn_cli_begin(&c, &hn_command_convert, argc, argv);
    if (!rc) rc = hn_cli_add(&c, "Convert", table, &o);
    if (!rc) rc = hn_cli_ready(&c);
    if (!rc) rc = work(&c, &o);
    return hn_cli_end(&c, rc);
}

const hn_command hn_command_convert = {
    "convert",
    "checkpoints of other programs as Hugging Face directories\n"
    "usage: hone convert --from llama2c --model stories260K.bin --tokenizer tok512.bin --out DIR",
    run
};
