/* cli.c - the life of a command: options in, errors and exit code out, Ctrl-C on the way. */
#include "cli/cli.h"

#include "algo/algo.h"
#include "base/pool.h"
#include "cpu/cpu.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static const hn_command *const all[] = {
#define HN_COMMAND(name) &hn_command_##name,
#include "cli/commands.h"
#undef HN_COMMAND
#define HN_ALGO(name) &hn_command_##name,
#include "algo/algos.h"
#undef HN_ALGO
};
enum { COUNT = sizeof all / sizeof *all };

const hn_command *const *hn_command_all(int *n) {
    *n = COUNT;
    return all;
}

const hn_command *hn_command_find(const char *name) {
    for (int i = 0; i < COUNT; i++)
        if (!strcmp(all[i]->name, name)) return all[i];
    return NULL;
}

const char *hn_command_page(const hn_command *c) { return c->help ? c->help : hn_algo_find(c->name)->help; }

/* ---- Ctrl-C ---- */
static volatile sig_atomic_t asked;

bool hn_cli_stopped(void *unused) {
    (void)unused;
    return asked != 0;
}

static void on_stop(int sig) {
    static const char note[] = "\nhone: stopping at the next safe point; once more stops at once\n";
    (void)sig;
    if (asked) _exit(HN_EXIT_STOP);
    asked = 1;
    ssize_t ignored = write(STDERR_FILENO, note, sizeof note - 1);
    (void)ignored;
}

static void listen_for_stop(void) {
    struct sigaction a = { .sa_handler = on_stop, .sa_flags = SA_RESTART };
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
}

/* ---- options ---- */
#define FIELD(name) offsetof(hn_common, name)
static const hn_opt common[] = {
    { "model", "model folder", HN_OPT_STR, FIELD(model) },
    { "data", "file or folder to read", HN_OPT_STR, FIELD(data) },
    { "out", "file or folder to write", HN_OPT_STR, FIELD(out) },
    { "config", "YAML file of these options; flags win over it", HN_OPT_STR, FIELD(config) },
    { "seed", "the same seed gives the same bytes", HN_OPT_INT, FIELD(seed), .def = 42, .min = 0,
      .max = 0x1p53 },
    { "threads", "threads to compute with; 0: one per core", HN_OPT_INT, FIELD(threads), .min = 0,
      .max = 4096 },
    { "dtype", "numbers of matrix products", HN_OPT_ENUM, FIELD(dtype), .choices = "f32|bf16|auto" },
    { "weights",
      "how matrices are held to answer: as --dtype says, or in blocks of 32 numbers, 8 or 4 bits each "
      "(generate, chat, eval, score)",
      HN_OPT_ENUM, FIELD(weights), .choices = "full|q8|q4" },
    { "chat_template_kwargs", "further variables of the chat template, as {\"enable_thinking\": false}",
      HN_OPT_STR, FIELD(template_kwargs) },
    { "template_date", "the day a chat template that asks for today sees, YYYY-MM-DD", HN_OPT_STR,
      FIELD(template_date) },
    { "quiet", "no progress and no notes", HN_OPT_BOOL, FIELD(quiet) },
    { "help", "this page", HN_OPT_BOOL, FIELD(help) },
    { 0 },
};

static bool quiet; /* of the running command; progress asks for it */

static int begin(hn_cli *c, const hn_command *command, int argc, char **argv, bool plain) {
    static const char *const aliases[][2] = { { "model_name_or_path", "model" },
                                              { "dataset_name", "data" },
                                              { "output_dir", "out" } };
    memset(c, 0, sizeof *c);
    c->command = command;
    hn_err *e = &c->err;
    if (!(c->opts = hn_optset_new())) return hn_fail(e, HN_ENOMEM, "out of memory");
    int rc = hn_optset_add(c->opts, "Common options", common, &c->common, e);
    for (size_t i = 0; !rc && i < sizeof aliases / sizeof *aliases; i++)
        rc = hn_optset_alias(c->opts, aliases[i][0], aliases[i][1], e);
    if (plain) hn_optset_plain_config(c->opts);
    return rc ? rc : hn_optset_args(c->opts, argc, argv, e);
}

int hn_cli_begin(hn_cli *c, const hn_command *command, int argc, char **argv) {
    return begin(c, command, argc, argv, false);
}

int hn_cli_begin_plain(hn_cli *c, const hn_command *command, int argc, char **argv) {
    return begin(c, command, argc, argv, true);
}

int hn_cli_add(hn_cli *c, const char *title, const hn_opt *table, void *fields) {
    return hn_optset_add(c->opts, title, table, fields, &c->err);
}

static int print_page(hn_cli *c) {
    hn_buf b = { 0 };
    hn_optset_help(c->opts, &b);
    if (b.oom) return hn_fail(&c->err, HN_ENOMEM, "out of memory");
    printf("hone %s - %s\n\n%s", c->command->name, hn_command_page(c->command), b.data);
    hn_buf_free(&b);
    c->page = true;
    return HN_ESTOP;
}

int hn_cli_ready(hn_cli *c) {
    const char *const *w;
    if (c->common.help) return print_page(c);
    int rc = hn_optset_done(c->opts, &c->err);
    if (rc) return rc;
    if (!c->command->words && hn_optset_words(c->opts, &w))
        return hn_cli_usage(c, "\"%s\" is neither an option (they begin with --) nor the value of one", w[0]);
    if (c->common.weights && !c->command->answers)
        return hn_cli_usage(
            c,
            "--weights %s is for commands whose model only answers (generate, chat, eval, score): "
            "hone %s reads its weights as they are",
            c->common.weights == HN_QUANT_Q8 ? "q8" : "q4", c->command->name);
    quiet = c->common.quiet;
    for (int i = 0, n = hn_optset_warnings(c->opts, &w); i < n; i++)
        fprintf(stderr, "hone %s: warning: %s\n", c->command->name, w[i]);
    if ((rc = hn_cpu_open(NULL, &c->err))) return rc;
    c->ready = true;
    listen_for_stop();
    return hn_pool_start((int)c->common.threads, &c->err);
}

int hn_cli_usage(hn_cli *c, const char *fmt, ...) {
    char text[sizeof c->err.msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->ready = false;
    return hn_fail(&c->err, HN_EPARSE, "%s", text);
}

int hn_cli_need(hn_cli *c, const char *name, const char *value) {
    if (value && *value) return HN_OK;
    return hn_cli_usage(c, "--%s is needed; see hone help %s", name, c->command->name);
}

void hn_cli_note(const hn_cli *c, const char *fmt, ...) {
    if (c->common.quiet) return;
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

int hn_cli_end(hn_cli *c, int rc) {
    hn_optset_free(c->opts);
    hn_pool_stop();
    if (c->page) return HN_EXIT_OK;
    if (rc >= 0) return rc;
    if (rc == HN_ESTOP && asked) {
        fprintf(stderr, "hone %s: stopped%s%s\n", c->command->name, c->err.code ? ": " : "", c->err.msg);
        return HN_EXIT_STOP;
    }
    fprintf(stderr, "hone %s: %s\n", c->command->name, c->err.code ? c->err.msg : "failed");
    bool usage = !c->ready && rc != HN_EIO && rc != HN_ENOMEM;
    return usage ? HN_EXIT_USAGE : HN_EXIT_WORLD;
}

int hn_cli_no_memory(const hn_command *c) {
    fprintf(stderr, "hone %s: no memory for options\n", c->name);
    return HN_EXIT_WORLD;
}

bool hn_cli_quiet(void) { return quiet; }
