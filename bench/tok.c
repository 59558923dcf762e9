/* tok.c - how fast texts become ids, against the `tokenizers` library (tools/bench_tok.sh runs both).
 *
 * usage: b_tok FOLDER TEXT SECONDS     prints MB of text a second of processor time
 * The lines of TEXT are encoded one by one, again and again. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "text/tokenizer.h"

static double cpu(void) { return (double)clock() / CLOCKS_PER_SEC; }

static int encode_lines(const hn_tok *t, const char *s, size_t n, hn_ids *ids, hn_err *e) {
    const char *end = s + n;
    while (s < end) {
        const char *nl = memchr(s, '\n', (size_t)(end - s)), *stop = nl ? nl : end;
        hn_ids_clear(ids);
        int rc = hn_tok_encode(t, s, (size_t)(stop - s), false, ids, e);
        if (rc) return rc;
        s = stop + 1;
    }
    return HN_OK;
}

int main(int argc, char **argv) {
    hn_tok *t;
    hn_ids ids = { 0 };
    hn_err e = { 0 };
    char *text;
    size_t n, done = 0;
    if (argc < 4) {
        fprintf(stderr, "usage: %s FOLDER TEXT SECONDS\n", argv[0]);
        return 2;
    }
    if (hn_tok_open(&t, argv[1], &e) || hn_file_read(argv[2], &text, &n, &e)) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    double start = cpu(), took;
    do {
        if (encode_lines(t, text, n, &ids, &e)) {
            fprintf(stderr, "%s\n", e.msg);
            return 1;
        }
        done += n;
    } while ((took = cpu() - start) < atof(argv[3]));
    printf("%.2f\n", (double)done / took / 1e6);
    hn_ids_free(&ids);
    hn_free(text);
    hn_tok_close(t);
    return 0;
}
