/* main.c - finds the command; `hone --version` and `hone --help` are commands as well. */
#include "cli/cli.h"

#include <errno.h>
#include <string.h>

static int unknown(const char *name) {
    const char *names[128], *near;
    int n;
    const hn_command *const *all = hn_command_all(&n);
    hn_assert(n <= 128);
    for (int i = 0; i < n; i++) names[i] = all[i]->name;
    near = hn_nearest(name, names, n);
    fprintf(stderr, "hone: there is no command \"%s\"", name);
    if (near) fprintf(stderr, "; did you mean %s?\n", near);
    else fprintf(stderr, "; hone help lists them\n");
    return HN_EXIT_USAGE;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        hn_command_find("help")->run(0, NULL);
        return HN_EXIT_USAGE;
    }
    const char *name = argv[1];
    if (!strcmp(name, "--help") || !strcmp(name, "-h")) name = "help";
    if (!strcmp(name, "--version") || !strcmp(name, "-V")) name = "version";
    const hn_command *c = hn_command_find(name);
    int code = c ? c->run(argc - 2, argv + 2) : unknown(name);
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "hone %s: cannot write standard output: %s\n", name, strerror(errno));
        if (code == HN_EXIT_OK) code = HN_EXIT_WORLD;
    }
    return code;
}
