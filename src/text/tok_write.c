/* tok_write.c - tokenizer.json and tokenizer_config.json of a tokenizer that was made here. */
#include <string.h>

#include "text/tok.h"

void tok_write_str(hn_buf *b, const char *s, size_t n) {
    hn_buf_chr(b, '"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < 0x20) hn_buf_fmt(b, "\\u%04x", c);
        else {
            if (c == '"' || c == '\\') hn_buf_chr(b, '\\');
            hn_buf_chr(b, (char)c);
        }
    }
    hn_buf_chr(b, '"');
}

static void flags(hn_buf *b, const char *content) {
    hn_buf_str(b, "\"content\": ");
    tok_write_str(b, content, strlen(content));
    hn_buf_str(b, ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
                  "\"special\": true}");
}

static void next(tok_pages *d) {
    hn_buf_str(&d->json, d->more ? ",\n      " : "\n      ");
    d->more = true;
}

/* `parts` is the text of normalizer to decoder, `model` that of the model before its vocabulary. */
void tok_write_begin(tok_pages *d, const char *const *special, int n_special, const char *parts,
                     const char *model) {
    hn_buf_str(
        &d->json,
        "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [");
    for (int i = 0; i < n_special; i++) {
        hn_buf_fmt(&d->json, "%s\n    {\"id\": %d, ", i ? "," : "", i);
        flags(&d->json, special[i]);
    }
    hn_buf_fmt(&d->json, "\n  ],\n%s  \"model\": {\n%s    \"vocab\": {", parts, model);
}

void tok_write_token(tok_pages *d, const char *s, size_t n, int id) {
    next(d);
    tok_write_str(&d->json, s, n);
    hn_buf_fmt(&d->json, ": %d", id);
}

void tok_write_merges(tok_pages *d) {
    hn_buf_str(&d->json, "\n    },\n    \"merges\": [");
    d->more = false;
}

/* Neither half holds a space, so the older form of a merge will do, which every version reads. */
void tok_write_merge(tok_pages *d, const char *a, size_t na, const char *b, size_t nb) {
    hn_buf both = { 0 };
    hn_buf_add(&both, a, na);
    hn_buf_chr(&both, ' ');
    hn_buf_add(&both, b, nb);
    next(d);
    if (both.oom) d->json.oom = true;
    else tok_write_str(&d->json, both.data, both.n);
    hn_buf_free(&both);
}

void tok_write_end(tok_pages *d, const char *const *special, int n_special,
                   const char *const role[HN_TOK_ROLES], const char *chat_template) {
    hn_buf *c = &d->config;
    hn_buf_str(&d->json, "\n    ]\n  }\n}\n");
    hn_buf_str(c, "{\n  \"added_tokens_decoder\": {");
    for (int i = 0; i < n_special; i++) {
        hn_buf_fmt(c, "%s\n    \"%d\": {", i ? "," : "", i);
        flags(c, special[i]);
    }
    hn_buf_str(c, "\n  },\n");
    for (int r = 0; r < HN_TOK_ROLES; r++) {
        if (!role[r]) continue;
        hn_buf_fmt(c, "  \"%s\": ", hn_tok_role_name((hn_tok_role)r));
        tok_write_str(c, role[r], strlen(role[r]));
        hn_buf_str(c, ",\n");
    }
    if (chat_template) {
        hn_buf_str(c, "  \"chat_template\": ");
        tok_write_str(c, chat_template, strlen(chat_template));
        hn_buf_str(c, ",\n");
    }
    hn_buf_str(c, "  \"clean_up_tokenization_spaces\": false,\n  \"tokenizer_class\": "
                  "\"PreTrainedTokenizerFast\"\n}\n");
}
