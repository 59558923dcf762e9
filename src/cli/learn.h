/* learn.h - the commands that the list of algorithms makes. */
#ifndef HN_CLI_LEARN_H
#define HN_CLI_LEARN_H

#include "algo/algo.h"
#include "cli/cli.h"

int hn_learn_run(const hn_algo *algo, const hn_command *command, int argc, char **argv);
#endif
