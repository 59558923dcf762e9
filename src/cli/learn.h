/* learn.h - the commands that the list of algorithms makes. */
#ifndef HN_CLI_LEARN_H
#define HN_CLI_LEARN_H

#include "algo/algo.h"
#include "cli/cli.h"

int hn_learn_run(const hn_algo *algo, const hn_command *command, int argc, char **argv);
/* The checks before a run, of the learner that --learner names and of as much of a run as is given. */
int hn_learn_doctor(const hn_command *command, int argc, char **argv);
#endif
