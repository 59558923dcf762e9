/* replay.c - runs a fuzz target over its committed corpus as a plain test: replay FOLDER.
 *
 * Every file is given whole, cut at every length (a sample of them for long files), and with bytes changed in
 * a fixed pseudo-random way.  The target aborts when it finds something wrong. */
#include "base/io.h"

#include <dirent.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { CUTS = 300, CHANGES = 300 };

/* The target gets its own block of exactly n bytes, so that a sanitizer sees reads past the end. */
static void give(const char *data, size_t n) {
    char *copy = hn_realloc(NULL, n);
    hn_assert(copy);
    memcpy(copy, data, n);
    LLVMFuzzerTestOneInput((const uint8_t *)copy, n);
    hn_free(copy);
}

static void replay(char *data, size_t n) {
    give(data, n);
    for (size_t i = 0; i < CUTS && i < n; i++) give(data, n <= CUTS ? i : n * i / CUTS);
    for (uint64_t i = 0; n && i < CHANGES; i++) {
        uint64_t r = hn_rand(1, n, i);
        size_t at = (size_t)(r >> 8) % n;
        char old = data[at];
        data[at] = r & 0x80 ? (char)(old ^ (1 << (r & 7))) : "\0\"\\{}[]:,-09\xff\x80 \n"[r % 17];
        give(data, n);
        data[at] = old;
    }
}

int main(int argc, char **argv) {
    hn_assert(argc == 2);
    DIR *d = opendir(argv[1]);
    int files = 0;
    hn_buf path = { 0 };
    if (!d) {
        fprintf(stderr, "cannot open the corpus %s\n", argv[1]);
        return 1;
    }
    for (struct dirent *f; (f = readdir(d));) {
        char *data;
        size_t n;
        hn_err e = { 0 };
        if (f->d_name[0] == '.') continue;
        if (hn_file_read(hn_path_join(&path, argv[1], f->d_name), &data, &n, &e)) {
            fprintf(stderr, "%s\n", e.msg);
            return 1;
        }
        replay(data, n);
        hn_free(data);
        files++;
    }
    closedir(d);
    hn_buf_free(&path);
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    printf("%d files replayed\n", files);
    return files == 0;
}
