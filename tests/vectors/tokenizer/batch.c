/* batch.c - for fuzz.py: encodes and decodes many texts.  usage: batch FOLDER IN OUT
 *
 * IN: a text is a u32 length and its bytes.  OUT: for each a u32 number of ids, the ids, a u32 length of the
 * text they decode to (nothing skipped), and that text.  Built by fuzz.py, not part of the program. */
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "text/tokenizer.h"

static void die(const hn_err *e) {
    fprintf(stderr, "%s\n", e->msg);
    exit(1);
}

int main(int argc, char **argv) {
    hn_err e = { 0 };
    hn_tok *t;
    char *data;
    size_t n, i = 0;
    hn_ids ids = { 0 };
    hn_buf out = { 0 };
    if (argc != 4) return 2;
    if (hn_tok_open(&t, argv[1], &e) || hn_file_read(argv[2], &data, &n, &e)) die(&e);
    FILE *f = fopen(argv[3], "wb");
    if (!f) return 1;
    for (uint32_t len, m; i < n; i += len) {
        memcpy(&len, data + i, 4);
        i += 4;
        hn_ids_clear(&ids);
        hn_buf_clear(&out);
        if (hn_tok_encode(t, data + i, len, true, &ids, &e) ||
            hn_tok_decode(t, ids.id, ids.n, false, &out, &e))
            die(&e);
        m = (uint32_t)ids.n;
        fwrite(&m, 4, 1, f);
        fwrite(ids.id, 4, m, f);
        m = (uint32_t)out.n;
        fwrite(&m, 4, 1, f);
        fwrite(out.data, 1, m, f);
    }
    return fclose(f) != 0;
}
