/* models.h - what commands that load a model share. */
#ifndef HN_CLI_MODELS_H
#define HN_CLI_MODELS_H

#include "cli/cli.h"
#include "model/model.h"

/* --model in --dtype; a line says what was loaded.  auto: bf16 where the processor multiplies it in tiles. */
int hn_cli_model(hn_cli *c, hn_model **m);
hn_prec hn_cli_prec(const hn_cli *c);
#endif
