/* doctor.c - `hone doctor`: what would go wrong, before anything large is allocated. */
#include "cli/learn.h"

static int run(int argc, char **argv) { return hn_learn_doctor(&hn_command_doctor, argc, argv); }

const hn_command hn_command_doctor = {
    "doctor",
    "checks before a run: machine, model, template, data, memory, disk\n"
    "usage: hone doctor [--model DIR] [--data FILE] [--out DIR] [--config FILE] [--learner sft|dpo|grpo]\n\n"
    "One line a check: ok, warn or FAIL, what was found and what to do; skip where nothing was given to look "
    "at.\n"
    "The memory table is computed from config.json and planned recordings, so it also answers for a model "
    "whose\n"
    "weights are not there or would never fit. Exit code 0 when no check fails, else 3. The same checks come "
    "with\n"
    "--dry-run of hone sft, dpo, grpo and improve.",
    run
};
