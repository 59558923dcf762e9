/* cli.h - what every command shares: the table of commands, options, errors, Ctrl-C, progress.
 *
 * A command is one file and one line in commands.h:
 *
 *     static int run(int argc, char **argv) {
 *         hn_cli c;
 *         my_options o;
 *         int rc = hn_cli_begin(&c, &hn_command_mine, argc, argv);
 *         if (!rc) rc = hn_cli_add(&c, "Mine", table, &o);
 *         if (!rc) rc = hn_cli_ready(&c);
 *         if (!rc) rc = work(&c, &o);
 *         return hn_cli_end(&c, rc);
 *     }
 *     const hn_command hn_command_mine = { "mine", "what it does in a line\nusage and more lines", run };
 *
 * Only this floor prints and decides exit codes. */
#ifndef HN_CLI_H
#define HN_CLI_H

#include "base/opt.h"

typedef enum {
    HN_EXIT_OK = 0,
    HN_EXIT_WORLD = 1, /* a file, the network, memory or the data said no */
    HN_EXIT_USAGE = 2, /* the command line or config is wrong; nothing was done */
    HN_EXIT_NO = 3,    /* the work was done, and a check or gate said no */
    HN_EXIT_STOP = 130 /* interrupted; what was finished is saved */
} hn_exit;

typedef struct hn_command {
    const char *name;
    const char *help; /* the first line is for the list; all of it is the command's page; NULL: the
                         algorithm of that name has it */
    int (*run)(int argc, char **argv); /* words after the command's name; returns an exit code */
    bool words;                        /* it takes words that are no options */
    bool answers;                      /* its model only answers: --weights */
} hn_command;

#define HN_COMMAND(name) extern const hn_command hn_command_##name;
#include "cli/commands.h"
#undef HN_COMMAND
#define HN_ALGO(name) extern const hn_command hn_command_##name;
#include "algo/algos.h" /* a learner is a command */
#undef HN_ALGO
const char *hn_command_page(const hn_command *c);
const hn_command *const *hn_command_all(int *n);
const hn_command *hn_command_find(const char *name); /* NULL: there is none */

/* Options that every command accepts, with their values (model_name_or_path, dataset_name and output_dir are
 * aliases of the first three).  What a command cannot use it may leave unread. */
typedef struct hn_common {
    const char *model, *data, *out, *config;
    int64_t seed, threads;
    int dtype;                                   /* 0 f32, 1 bf16, 2 auto */
    int weights;                                 /* hn_quant */
    const char *template_kwargs, *template_date; /* of the chat template */
    bool quiet, help;
} hn_common;

typedef struct hn_cli {
    const hn_command *command;
    hn_common common;
    hn_optset *opts;
    hn_err err;
    bool ready, page; /* options are complete; the help page was printed instead of working */
} hn_cli;

/* Collects the words and the config file; 0 or an error code, as the next two. */
int hn_cli_begin(hn_cli *c, const hn_command *command, int argc, char **argv);
/* The same for a command whose --config is not a YAML file of options but a file it reads itself. */
int hn_cli_begin_plain(hn_cli *c, const hn_command *command, int argc, char **argv);
int hn_cli_add(hn_cli *c, const char *title, const hn_opt *table, void *fields);
/* All tables are added: prints the help page (and fails, with page set) or refuses unknown options, shows
 * warnings, chooses the kernel tier, starts the threads and listens for Ctrl-C. */
int hn_cli_ready(hn_cli *c);
/* For a command line that the tables accept and the command does not: HN_EPARSE that ends with HN_EXIT_USAGE.
 */
int hn_cli_usage(hn_cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Refuses a missing or empty option: hn_cli_need(c, "model", c->common.model). */
int hn_cli_need(hn_cli *c, const char *name, const char *value);
/* A line on standard error, unless --quiet. */
void hn_cli_note(const hn_cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints the error as `hone NAME: message`, frees, stops the threads; returns the exit code.  rc > 0 is an
 * exit code already. */
int hn_cli_end(hn_cli *c, int rc);
int hn_cli_no_memory(const hn_command *c); /* says so, for one that cannot even begin; its exit code */

/* True after the first Ctrl-C: finish the step, save, return HN_ESTOP.  Lower floors get it as a callback.
 * The second Ctrl-C ends the process with 130 at once. */
bool hn_cli_stopped(void *unused);

void hn_cli_libraries(hn_buf *b); /* "jansson 2.14, ...": in use, as they say themselves */

/* Progress on standard error: a bar with the time left on a terminal, now and then a plain line in a pipe. */
typedef struct hn_progress hn_progress;
hn_progress *hn_progress_open(const char *title, int64_t total); /* NULL (fine below) when out of memory */
void hn_progress_update(hn_progress *p, int64_t done, const char *text);
void hn_progress_close(hn_progress *p);
bool hn_cli_quiet(void);                        /* --quiet of the running command */
void hn_format_seconds(double s, char out[24]); /* 42s, 3m05s, 2h10m */
#endif
