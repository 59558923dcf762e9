/* help.c - `hone help`: the list of commands, the page of one, and pages that belong to none. */
#include "cli/cli.h"
#include "method/method.h"
#include "task/task.h"

#include <string.h>

typedef struct topic {
    const char *name, *line, *text;
    void (*print)(void); /* instead of text, for a list that the program has */
} topic;

static void print_options(const hn_opt *o) {
    for (; o && o->name; o++) printf("      --%-26s %s\n", o->name, o->help);
}

static void print_tasks(void) {
    int n;
    const hn_task *const *t = hn_task_all(&n);
    for (int i = 0; i < n; i++) {
        printf("  %s: %s\n", t[i]->name, t[i]->help);
        print_options(t[i]->opts);
    }
}

static void print_methods(void) {
    for (const hn_method *const *m = hn_method_list; *m; m++) {
        printf("  %s: %s (learner: %s)\n", (*m)->name, (*m)->help, (*m)->algo);
        print_options((*m)->opts);
    }
}

static const topic topics[] = {
    { "exit-codes", "what hone returns",
      "  0    done\n"
      "  1    the world failed: a file, the network, memory, or data that is not what it should be\n"
      "  2    the command line or the config file is wrong; nothing was done\n"
      "  3    the work was done, and a check or the gate said no\n"
      "  130  interrupted; finished steps are saved, --resume goes on\n" },
    { "environment", "variables that hone reads",
      "  HONE_TIER  c, avx2, avx512 or amx: forces the kernels of that tier (hone version says which are "
      "here)\n"
      "  HONE_STORE the run store, a SQLite file; runs.db in the current folder when it is not set\n" },
    { "tasks", "what a model can be asked and judged on", NULL, print_tasks },
    { "methods", "how hone improve makes data from a model and a task", NULL, print_methods },
};
enum { TOPICS = sizeof topics / sizeof *topics };

static void print_list(FILE *f) {
    int n;
    const hn_command *const *all = hn_command_all(&n);
    fprintf(
        f,
        "hone %s - makes a language model better from its own feedback\n\nusage: hone COMMAND [options]\n\n"
        "Commands:\n",
        HN_VERSION);
    for (int i = 0; i < n; i++)
        fprintf(f, "  %-12s %.*s\n", all[i]->name, (int)strcspn(hn_command_page(all[i]), "\n"),
                hn_command_page(all[i]));
    fprintf(f, "\nTopics:\n");
    for (int i = 0; i < TOPICS; i++) fprintf(f, "  %-12s %s\n", topics[i].name, topics[i].line);
    fprintf(f, "\nhone help COMMAND shows its options.\n");
}

static int run(int argc, char **argv) {
    if (argc == 0 || !strcmp(argv[0], "--help") || !strcmp(argv[0], "-h")) {
        print_list(stdout);
        return HN_EXIT_OK;
    }
    if (argc > 1 && strcmp(argv[1], "--help")) {
        fprintf(stderr, "hone help: one command or topic at a time; \"%s\" is one too many\n", argv[1]);
        return HN_EXIT_USAGE;
    }
    const hn_command *c = hn_command_find(argv[0]);
    if (c) return c->run(1, (char *[]){ "--help", NULL });
    for (int i = 0; i < TOPICS; i++)
        if (!strcmp(argv[0], topics[i].name)) {
            printf("%s - %s\n\n%s", topics[i].name, topics[i].line, topics[i].text ? topics[i].text : "");
            if (topics[i].print) topics[i].print();
            return HN_EXIT_OK;
        }
    fprintf(stderr, "hone help: no command or topic is called \"%s\"; hone help lists them\n", argv[0]);
    return HN_EXIT_USAGE;
}

const hn_command hn_command_help = { "help", "this list; hone help COMMAND or TOPIC shows one page", run };
