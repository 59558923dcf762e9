/* resume.h - the check that needs whole processes. */
#ifndef HN_CLI_RESUME_H
#define HN_CLI_RESUME_H

#include "cli/cli.h"

/* sft, dpo and grpo on --model: each `trials` times killed up to `kills` times at random moments, resumed,
 * and compared with an undisturbed run.  Prints a line a trial. */
int hn_cli_check_resume(hn_cli *c, int trials, int kills, bool *holds);
#endif
