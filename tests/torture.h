/* torture.h - runs a function with its n-th allocation failing, for n = 0, 1, 2, ... until it succeeds.
 *
 * Each failure must be reported as HN_ENOMEM and leave as many live blocks as there were before; a run that
 * succeeds must have had all it asked for: a failure that nobody tells of is found as well. */
#ifndef TORTURE_H
#define TORTURE_H

#include "base/base.h"

#include <setjmp.h>

#include <cmocka.h>

typedef int torture_fn(void *ctx, hn_err *e); /* 0 or a code; frees all it made either way */

/* Returns how many allocations a whole run makes. */
static inline long torture(torture_fn *fn, void *ctx) {
    for (long n = 0;; n++) {
        hn_err e = { 0 };
        long before = hn_alloc_live(), refused = hn_alloc_refused;
        hn_alloc_fuse = n;
        int rc = fn(ctx, &e);
        hn_alloc_fuse = -1;
        if (hn_alloc_live() != before)
            fail_msg("allocation %ld fails: %ld blocks leak", n, hn_alloc_live() - before);
        if (rc == HN_OK) {
            if (hn_alloc_refused != refused) fail_msg("allocation %ld fails and nobody tells", n);
            return n;
        }
        if (rc != HN_ENOMEM || e.code != HN_ENOMEM)
            fail_msg("allocation %ld fails: code %d, message code %d \"%s\"", n, rc, e.code, e.msg);
        assert_true(n < 1000000);
    }
}
#endif
