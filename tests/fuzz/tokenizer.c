/* tokenizer.c - fuzz target: a tokenizer.json, a newline and a text to encode with it; an `S` and a
 * SentencePiece model, which encodes itself; or a byte for the number of tokens over 256 and a tokenizer file
 * of llama2.c. Whatever comes, a tokenizer that opened gives ids of its own, covers inside the text, and text
 * again. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "text/tok.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void use(const hn_tok *t, const char *s, size_t n) {
    hn_ids ids = { .want_at = true };
    hn_buf whole = { 0 }, parts = { 0 };
    hn_tok_stream st;
    hn_err e = { 0 };
    int rc = hn_tok_encode(t, s, n, true, &ids, &e);
    hn_assert(rc == e.code);
    hn_tok_stream_init(&st, t, false);
    for (int64_t i = 0; i < ids.n; i++) {
        hn_cover c = ids.at[i];
        hn_assert(ids.id[i] >= 0 && ids.id[i] < hn_tok_size(t) && hn_tok_piece(t, ids.id[i]));
        hn_assert(c.begin >= 0 && c.begin <= c.end && (size_t)c.end <= n);
        hn_tok_stream_add(&st, ids.id[i], &parts);
    }
    hn_tok_stream_end(&st, &parts);
    hn_assert(!hn_tok_decode(t, ids.id, ids.n, false, &whole, &e));
    hn_assert(t->dec_bytes || (whole.n == parts.n && !(whole.n && memcmp(whole.data, parts.data, whole.n))));
    hn_ids_free(&ids);
    hn_buf_free(&whole);
    hn_buf_free(&parts);
}

static void check(int rc, hn_tok *t, const hn_err *e, const char *s, size_t n) {
    hn_assert(rc == e->code && !rc == (t != NULL) && !rc == !e->msg[0]);
    if (t) use(t, s, n);
    hn_tok_close(t);
}

static void llama2c(const uint8_t *data, size_t n) {
    char path[40];
    hn_tok *t;
    hn_err e = { 0 };
    int fd = memfd_create("tokens", 0);
    hn_assert(fd >= 0 && write(fd, data + 1, n - 1) == (ssize_t)(n - 1));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int rc = hn_tok_from_llama2c(&t, path, 256 + data[0], &e);
    close(fd);
    check(rc, t, &e, (const char *)data, n);
}

static void sentencepiece(const uint8_t *data, size_t n) {
    hn_buf model = { 0 }, config = { 0 };
    hn_tok *t;
    hn_err e = { 0 };
    hn_buf_add(&model, data + 1, n - 1);
    int rc = tok_from_memory(&t, "input", TOK_SP, &model, &config, &e);
    check(rc, t, &e, (const char *)data, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    const char *s = (const char *)data, *nl = n ? memrchr(data, '\n', n) : NULL;
    hn_buf json = { 0 }, config = { 0 };
    hn_tok *t;
    hn_err e = { 0 };
    if (n && data[0] != '{') {
        if (data[0] == 'S') sentencepiece(data, n);
        else llama2c(data, n);
        return 0;
    }
    size_t head = nl ? (size_t)(nl - s) : n;
    hn_buf_add(&json, n ? s : "", head);
    int rc = tok_from_memory(&t, "input", TOK_JSON, &json, &config, &e);
    check(rc, t, &e, s + head, n - head);
    return 0;
}
