/* plugin.h - an algorithm, method or task with its options at their defaults, some set by name, for tests. */
#ifndef PLUGIN_H
#define PLUGIN_H

#include "base/opt.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static inline void ok(int rc, const hn_err *e) {
    if (rc < 0) fail_msg("%s", e->msg);
}

/* set: "key", "value", ..., NULL; or NULL.  The caller frees (hn_free). */
static inline void *options_of(const char *name, size_t size, const hn_opt *opts, const char *const *set) {
    hn_err e = { 0 };
    void *priv = hn_alloc(size + 1);
    hn_optset *s = hn_optset_new();
    if (opts) ok(hn_optset_add(s, name, opts, priv, &e), &e);
    for (; set && set[0]; set += 2) ok(hn_optset_set(s, set[0], set[1], &e), &e);
    ok(hn_optset_done(s, &e), &e);
    hn_optset_free(s);
    return priv;
}
#endif
