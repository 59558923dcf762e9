/* inspect.h - `hone data inspect`: rows as the tokens a learner sees. */
#ifndef HN_CLI_INSPECT_H
#define HN_CLI_INSPECT_H

#include "cli/cli.h"
#include "data/load.h"

/* Shows `rows` rows from row `from` on (0: the first), then lengths, then refuses what training would refuse.
 */
int hn_inspect(hn_cli *c, const hn_load_config *load, int64_t from, int64_t rows);
#endif
