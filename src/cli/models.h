/* models.h - what commands that load a model share. */
#ifndef HN_CLI_MODELS_H
#define HN_CLI_MODELS_H

#include "cli/cli.h"
#include "model/model.h"
#include "task/task.h"

/* --model in --dtype; a line says what was loaded.  auto: bf16 where the processor multiplies it in tiles. */
int hn_cli_model(hn_cli *c, hn_model **m);
hn_prec hn_cli_prec(const hn_cli *c);
/* An answer on standard output as it comes (hn_say_stream); true after Ctrl-C. */
bool hn_cli_print_text(void *ctx, int64_t index, const char *text, size_t n);

/* A task by name: its options join the command's (before hn_cli_ready); then it is opened (after). */
int hn_cli_task(hn_cli *c, const char *name, const hn_task **t, void **priv);
int hn_cli_task_open(hn_cli *c, const hn_task *t, void *priv);
void hn_cli_task_close(const hn_task *t, void *priv); /* NULLs are fine */
#endif
