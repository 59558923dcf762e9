/* plan.h - where things that live for a while go in one block of memory. */
#ifndef HN_PLAN_H
#define HN_PLAN_H

#include "base/base.h"

enum { HN_PLAN_ALIGN = 256 };

typedef struct hn_item {
    int first, last; /* steps at which it must be there, both included */
    size_t size;     /* bytes */
    size_t at;       /* set by hn_plan: a multiple of HN_PLAN_ALIGN */
} hn_item;

/* Sets at such that no two items with a common step overlap.  `order` is scratch for 2 n ints.
 * Returns the block's size in bytes.  Larger items are placed first, each at the lowest place that is free
 * for all of its steps ("greedy by size", Pisarchyk and Lee 2020, section 5.2). */
size_t hn_plan(hn_item *item, int n, int *order);
#endif
