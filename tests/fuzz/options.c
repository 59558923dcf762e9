/* options.c - fuzz target: the first line is a command line (words split at spaces), the rest a YAML config.
 * Whatever comes, a set that was accepted holds values inside their limits and shows itself as valid JSON. */
#include "base/opt.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

typedef struct fields {
    int64_t steps;
    double rate;
    bool pack;
    const char *model;
    int dtype;
    hn_strs stop;
} fields;

static const hn_opt table[] = {
    { "max_steps", "", HN_OPT_INT, offsetof(fields, steps), .def = 1, .min = 1, .max = 100 },
    { "rate", "", HN_OPT_NUM, offsetof(fields, rate), .min = -1, .max = 1 },
    { "pack", "", HN_OPT_BOOL, offsetof(fields, pack) },
    { "model", "", HN_OPT_STR, offsetof(fields, model) },
    { "dtype", "", HN_OPT_ENUM, offsetof(fields, dtype), .choices = "f32|bf16|auto" },
    { "stop", "", HN_OPT_LIST, offsetof(fields, stop), .sdef = "a" },
    { 0 },
};

enum { MOST_WORDS = 64 };

static int words(char *line, char **argv) {
    int argc = 0;
    for (char *save = NULL, *w = strtok_r(line, " ", &save); w && argc < MOST_WORDS;
         w = strtok_r(NULL, " ", &save))
        if (strncmp(w, "--config", 8)) argv[argc++] = w; /* no other file of this machine */
    return argc;
}

static int load(hn_optset *s, const uint8_t *yaml, size_t n, hn_err *e) {
    char path[40];
    int fd = memfd_create("config", 0);
    hn_assert(fd >= 0 && write(fd, yaml, n) == (ssize_t)n);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int rc = hn_optset_yaml(s, path, e);
    close(fd);
    return rc;
}

static void check(const hn_optset *s, const fields *f) {
    hn_buf b = { 0 };
    hn_assert(f->steps >= 1 && f->steps <= 100 && f->rate >= -1 && f->rate <= 1);
    hn_assert(f->dtype >= 0 && f->dtype <= 2);
    hn_optset_json(s, &b);
    json_t *j = json_loadb(b.data, b.n, JSON_REJECT_DUPLICATES, NULL);
    hn_assert(j);
    json_decref(j);
    hn_buf_clear(&b);
    hn_optset_help(s, &b);
    hn_buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    fields f;
    hn_err e = { 0 };
    char *argv[MOST_WORDS];
    const uint8_t *end = n ? memchr(data, '\n', n) : NULL;
    size_t first = end ? (size_t)(end - data) : n, rest = end ? first + 1 : n;
    char *line = hn_strndup(n ? (const char *)data : "", first);
    hn_optset *s = hn_optset_new();
    hn_assert(line && s);
    hn_assert(!hn_optset_add(s, "Options", table, &f, &e));
    hn_assert(!hn_optset_alias(s, "model_name_or_path", "model", &e));
    int argc = words(line, argv), rc = hn_optset_args(s, argc, argv, &e);
    if (!rc && n) rc = load(s, data + rest, n - rest, &e);
    if (!rc) rc = hn_optset_done(s, &e);
    if (!rc) check(s, &f);
    else hn_assert(e.code == rc && e.msg[0]);
    hn_optset_free(s);
    hn_free(line);
    return 0;
}
