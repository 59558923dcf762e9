/* convert.c - `hone convert`: models of other programs as Hugging Face directories, and GGUF out of them. */
#include "cli/convert.h"
#include "format/llama2c.h"
#include "text/tokenizer.h"

#include <string.h>

typedef struct {
    const char *from, *to, *type, *tokenizer;
} convert_options;

static const hn_opt table[] = {
    { .name = "from",
      .help = "the format that is read: llama2c, gguf",
      .type = HN_OPT_STR,
      .at = offsetof(convert_options, from) },
    { .name = "to",
      .help = "the format that is written from a directory: gguf",
      .type = HN_OPT_STR,
      .at = offsetof(convert_options, to) },
    { .name = "type",
      .help = "to gguf: the matrices as f32 (when not given), f16, bf16 or q8_0",
      .type = HN_OPT_STR,
      .at = offsetof(convert_options, type) },
    { .name = "tokenizer",
      .help = "from llama2c: its tokenizer file (tok512.bin)",
      .type = HN_OPT_STR,
      .at = offsetof(convert_options, tokenizer) },
    { 0 },
};

static int save_tokenizer(void *ctx, const char *dir, hn_err *e) { return hn_tok_save(ctx, dir, e); }

static int from_llama2c(hn_cli *c, const char *tokenizer) {
    hn_err *e = &c->err;
    hn_hfconfig k;
    hn_tok *tok = NULL;
    int rc = hn_cli_need(c, "tokenizer", tokenizer);
    if (!rc) rc = hn_llama2c_shape(&k, c->common.model, e);
    if (!rc) rc = hn_tok_from_llama2c(&tok, tokenizer, k.vocab_size, e);
    if (!rc) rc = hn_llama2c_convert(c->common.model, c->common.out, save_tokenizer, tok, e);
    if (!rc)
        printf("%s: %s, %.2f M parameters, vocabulary %d\n", c->common.out, hn_arch_name(k.arch),
               1e-6 * (double)hn_hfconfig_params(&k), k.vocab_size);
    hn_tok_close(tok);
    return rc;
}

static int work(hn_cli *c, const convert_options *o) {
    const char *from = o->from, *to = o->to;
    int rc = HN_OK;
    if (from && to) return hn_cli_usage(c, "either --from or --to: the other side is a directory");
    if (!to) rc = hn_cli_need(c, "from", from);
    if (!rc && from && strcmp(from, "llama2c") && strcmp(from, "gguf"))
        rc = hn_cli_usage(c, "no format named '%s': there are llama2c and gguf", from);
    if (!rc && from && o->type)
        rc = hn_cli_usage(c, "--type is for --to gguf: --from makes the float32 that hone works with");
    if (!rc && to && strcmp(to, "gguf")) rc = hn_cli_usage(c, "no format named '%s': there is gguf", to);
    if (!rc) rc = hn_cli_need(c, "model", c->common.model);
    if (!rc) rc = hn_cli_need(c, "out", c->common.out);
    if (rc) return rc;
    if (to) return hn_cli_to_gguf(c, o->type ? o->type : "f32");
    return strcmp(from, "gguf") ? from_llama2c(c, o->tokenizer) : hn_cli_from_gguf(c);
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
    "models of other programs as Hugging Face directories, and GGUF out of them\n"
    "usage: hone convert --from llama2c --model stories260K.bin --tokenizer tok512.bin --out DIR\n"
    "       hone convert --from gguf --model FILE.gguf --out DIR\n"
    "       hone convert --to gguf --type f32|f16|bf16|q8_0 --model DIR --out FILE.gguf",
    run
};
