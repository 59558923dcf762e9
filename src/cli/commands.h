/* One line per command, in the order of `hone help`; src/cli/<name>.c holds `const hn_command
 * hn_command_<name>`. */
HN_COMMAND(help)     /* this list, and the pages of single commands */
HN_COMMAND(improve)  /* rounds of self-improvement through the gate */
HN_COMMAND(eval)     /* accuracy on a task */
HN_COMMAND(chat)     /* a conversation */
HN_COMMAND(generate) /* answers to prompts */
HN_COMMAND(score)    /* log-probabilities of given text */
HN_COMMAND(data)     /* rows made from a task */
HN_COMMAND(init)     /* a model from nothing */
HN_COMMAND(convert)  /* checkpoints of other programs */
HN_COMMAND(runs)     /* the run store */
HN_COMMAND(doctor)   /* what would go wrong, before it does */
HN_COMMAND(check)    /* the invariants: on-policy, packing, resume */
HN_COMMAND(version)  /* what was built, for which processor, with which libraries */
