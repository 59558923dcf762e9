/* convert.h - the two ways between GGUF and Hugging Face directories. */
#ifndef HN_CLI_CONVERT_H
#define HN_CLI_CONVERT_H

#include "cli/cli.h"

/* common.model (a directory) as common.out (a .gguf) with weights in `type`, and back.  Each reads again what
 * it wrote before it says so. */
int hn_cli_to_gguf(hn_cli *c, const char *type);
int hn_cli_from_gguf(hn_cli *c);
#endif
