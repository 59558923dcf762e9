/* opgraph.h - one random graph of many operations, differentiated, planned once and run at several live
 * counts; see opgraph.c. */
#ifndef OPGRAPH_H
#define OPGRAPH_H

#include "op/ops.h"

/* Worst gradient error of graph `seed` over its runs; NaN or infinity when something else is wrong.  `why`
 * says what. */
double opgraph_check(uint64_t seed, char *why, size_t size);
#endif
