/* torture_cli.c - whole commands where the n-th allocation or file operation fails.
 *
 * Each is the program's own entry, in this process.  A failure is told (an exit code and a message), leaks
 * neither memory nor files, and the same command works afterwards, over whatever the failed one left, and
 * makes the bytes of an undisturbed one. */
#include "torture.h"

#include "base/io.h"
#include "cli/cli.h"
#include "plugin.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    const char *words; /* of the command line */
    const char *out;   /* what it makes: gone before each try; NULL: nothing but its lines */
    const char *again; /* words to add when it is tried again after a failure */
    bool judges;       /* it reports what it finds wrong: exit 3 tells as well */
    int looks; /* what it does last, so many operations, is to look (/proc: the peak of memory), and may fail
                */
} line;

static const line all[] = {
    { "data make --task arith --items 5 --seed 3 --out rows.jsonl", "rows.jsonl", NULL, false, 0 },
    { "data inspect --data rows0.jsonl --model m --rows 1", NULL, NULL, true, 0 },
    { "init --config config.json --tokenizer m --out i", "i", NULL, false, 0 },
    { "init --config config.json --train-tokenizer text --vocab 262 --out t", "t", NULL, false, 0 },
    { "convert --to gguf --type q8_0 --model m --out q.gguf", "q.gguf", NULL, false, 0 },
    { "convert --from gguf --model m.gguf --out g", "g", NULL, false, 0 },
    { "generate --model m --data p.jsonl --max_new_tokens 4 --n 2 --slots 1 --out said", "said", NULL, false,
      0 },
    { "eval --model m --task arith --items 2 --max_new_tokens 4 --out judged", "judged", NULL, false, 0 },
    { "score --model m --text apples", NULL, NULL, false, 0 },
    { "doctor --model m --data rows0.jsonl", NULL, NULL, true, 0 },
    { "sft --model m --data rows0.jsonl --max_steps 1 --per_device_train_batch_size 2 --store s.db --out run",
      "run", " --resume", false, 3 },
};
enum { LINES = sizeof all / sizeof *all };

static char tmp[64];

/* ---- one command, its lines into a file ---- */
static int hone(const char *words, const char *more) {
    char text[400], *argv[64];
    int n = 0;
    snprintf(text, sizeof text, "%s --threads 1%s", words, more ? more : "");
    for (char *save, *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save)) argv[n++] = w;
    argv[n] = NULL;
    fflush(NULL);
    int keep[2] = { dup(1), dup(2) }, to = open("lines", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    assert_true(keep[0] >= 0 && keep[1] >= 0 && to >= 0);
    dup2(to, 1);
    dup2(to, 2);
    int rc = hn_command_find(argv[0])->run(n - 1, argv + 1);
    fflush(NULL);
    for (int k = 0; k < 2; k++) {
        dup2(keep[k], k + 1);
        close(keep[k]);
    }
    close(to);
    return rc;
}

/* What it said; up to the next call. */
static const char *lines(void) {
    static char text[2000];
    int fd = open("lines", O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    text[n > 0 ? n : 0] = 0;
    return text;
}

static void must(const char *words, const char *more) {
    int rc = hone(words, more);
    if (rc) fail_msg("hone %s%s: exit %d: %s", words, more ? more : "", rc, lines());
}

/* ---- what it made ---- */
static int sum(void *ctx, const char *name, hn_err *e);

static void sum_path(const char *path, char hex[65]) {
    hn_err e = { 0 };
    if (!hn_path_is_dir(path)) {
        ok(hn_file_sha256(path, hex, &e), &e);
        return;
    }
    char state[256 + 65] = "";
    snprintf(state, 256, "%s", path);
    ok(hn_dir_each(path, sum, state, &e), &e);
    memcpy(hex, state + 256, 65);
}

/* state: the folder's name, and at 256 the sum so far. */
static int sum(void *ctx, const char *name, hn_err *e) {
    char *state = ctx, path[600], inner[65] = "", both[800];
    (void)e;
    if (strstr(name, "tfevents") || !strcmp(name, "run.json")) return HN_OK; /* they hold times */
    snprintf(path, sizeof path, "%s/%s", state, name);
    sum_path(path, inner);
    snprintf(both, sizeof both, "%s %s %s", state + 256, name, inner);
    hn_sha256(both, strlen(both), state + 256);
    return HN_OK;
}

static int open_files(void) {
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n;
}

static void clear(const line *l) {
    hn_err e = { 0 };
    if (!l->out) return;
    if (hn_path_is_dir(l->out)) ok(hn_dir_remove(l->out, &e), &e);
    else unlink(l->out);
}

static void works_again(const line *l, const char *want, const char *what, long n) {
    char got[65];
    int rc = hone(l->words, l->again);
    if (rc)
        fail_msg("%s %ld failed, and the next try of hone %s: exit %d: %s", what, n, l->words, rc, lines());
    if (!l->out) return;
    sum_path(l->out, got);
    if (strcmp(got, want))
        fail_msg("%s %ld failed, and the next try of hone %s made other bytes", what, n, l->words);
}

static void told(const line *l, int rc, const char *what, long n) {
    const char *said = lines();
    if (rc != HN_EXIT_WORLD && !(l->judges && rc == HN_EXIT_NO))
        fail_msg("%s %ld fails: hone %s ends with %d: %s", what, n, l->words, rc, said);
    if (strlen(said) < 10)
        fail_msg("%s %ld fails: hone %s ends with %d and says \"%s\"", what, n, l->words, rc, said);
}

static void undisturbed(const line *l, char want[65]) {
    clear(l);
    must(l->words, NULL);
    if (l->out) sum_path(l->out, want);
}

/* ---- memory ---- */
static void no_memory(void **s) {
    (void)s;
    for (int i = 0; i < LINES; i++) {
        const line *l = &all[i];
        char want[65];
        int rc, files, silent = 0;
        undisturbed(l, want);
        files = open_files();
        for (long n = 0;; n++) {
            long before = hn_alloc_live(), refused = hn_alloc_refused;
            clear(l);
            hn_alloc_fuse = n;
            rc = hone(l->words, NULL);
            hn_alloc_fuse = -1;
            if (hn_alloc_live() != before)
                fail_msg("allocation %ld fails: hone %s leaks %ld blocks", n, l->words,
                         hn_alloc_live() - before);
            assert_int_equal(open_files(), files);
            if (!rc && hn_alloc_refused == refused) break;
            silent = rc ? 0 : silent + 1;
            if (silent > l->looks) fail_msg("allocation %ld fails and hone %s does not tell", n, l->words);
            if (rc) told(l, rc, "allocation", n);
            if (rc && n % 4 == 0) works_again(l, want, "allocation", n);
        }
    }
}

/* ---- files ---- */
static void no_disk(void **s) {
    static const int faults[] = { EIO, ENOSPC };
    (void)s;
    for (int i = 0; i < 2 * LINES; i++) {
        const line *l = &all[i / 2];
        char want[65];
        int files, silent = 0;
        undisturbed(l, want);
        files = open_files();
        for (long n = 0;; n++) {
            long before = hn_alloc_live();
            clear(l);
            hn_io_fault = faults[i % 2], hn_io_fuse = n;
            int rc = hone(l->words, NULL);
            bool spent = hn_io_fuse == 0;
            hn_io_fuse = -1;
            assert_int_equal(hn_alloc_live(), before);
            assert_int_equal(open_files(), files);
            if (rc) told(l, rc, "file operation", n);
            if (rc) works_again(l, want, "file operation", n);
            silent = rc ? 0 : silent + 1;
            if (!rc && !spent) break; /* it came to its end before operation n */
            if (silent > 1 + l->looks)
                fail_msg("file operation %ld fails and hone %s does not tell", n - 1, l->words);
        }
    }
}

static void short_counts(void **s) {
    (void)s;
    for (int i = 0; i < LINES; i++) {
        char want[65], got[65];
        undisturbed(&all[i], want);
        clear(&all[i]);
        hn_io_fault = 0, hn_io_fuse = 0;
        int rc = hone(all[i].words, NULL);
        hn_io_fuse = -1;
        if (rc) fail_msg("short counts: hone %s: exit %d: %s", all[i].words, rc, lines());
        if (!all[i].out) continue;
        sum_path(all[i].out, got);
        assert_string_equal(got, want);
    }
}

static int set_up(void **s) {
    static const char config[] =
        "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_size\": 16, "
        "\"intermediate_size\": 24, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, "
        "\"num_key_value_heads\": 1, "
        "\"head_dim\": 8, \"rms_norm_eps\": 1e-5, \"max_position_embeddings\": 512, \"rope_theta\": 10000.0, "
        "\"hidden_act\": \"silu\", \"tie_word_embeddings\": true}";
    static const char prompts[] = "{\"prompt\": \"Q: one\"}\n{\"prompt\": \"Q: two\"}\n";
    hn_err e = { 0 };
    (void)s;
    for (int i = 0; i < 2; i++) { /* in memory where there is such a place */
        snprintf(tmp, sizeof tmp, "%s/hone-torture-XXXXXX", i ? "/tmp" : "/dev/shm");
        if (mkdtemp(tmp)) break;
        if (i) return -1;
    }
    if (chdir(tmp) || setenv("HONE_STORE", "runs.db", 1)) return -1;
    ok(hn_file_write("config.json", config, sizeof config - 1, &e), &e);
    ok(hn_file_write("p.jsonl", prompts, sizeof prompts - 1, &e), &e);
    must("data make --task arith --items 5 --text --out text", NULL);
    must("data make --task arith --items 2 --out rows0.jsonl", NULL);
    must("init --config config.json --train-tokenizer text --vocab 262 --out m", NULL);
    must("convert --to gguf --model m --out m.gguf", NULL);
    return 0;
}

static int tear_down(void **s) {
    (void)s;
    return chdir("/") || hn_dir_remove(tmp, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_counts),
        cmocka_unit_test(no_disk),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
