/* task_open.h - opening a task with options and judging texts, for the tests of tasks. */
#ifndef TASK_OPEN_H
#define TASK_OPEN_H

#include "task/task.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- opening a task with options: "key", "value", ..., NULL ---- */
typedef struct opened {
    const hn_task *t;
    hn_optset *set;
    void *priv; /* NULL: not opened */
} opened;

static inline void shut(opened *o) {
    hn_task_free(o->t, o->priv);
    hn_optset_free(o->set);
    o->priv = NULL;
}

static inline opened open_with(const hn_task *t, const char *const *kv, hn_err *e) {
    opened o = { t, hn_optset_new(), NULL };
    for (; kv && *kv; kv += 2) assert_int_equal(hn_optset_set(o.set, kv[0], kv[1], NULL), 0);
    if (hn_task_new(&o.priv, t, o.set, e) || hn_optset_done(o.set, e) || t->open(o.priv, e)) {
        hn_task_free(t, o.priv);
        o.priv = NULL;
    }
    return o;
}

static inline opened must_open(const hn_task *t, const char *const *kv) {
    hn_err e = { 0 };
    opened o = open_with(t, kv, &e);
    if (!o.priv) fail_msg("%s: %s", t->name, e.msg);
    return o;
}

static inline hn_item must_item(const opened *o, hn_split s, uint64_t seed, int64_t i) {
    hn_item it = { 0 };
    hn_err e = { 0 };
    if (o->t->item(o->priv, s, seed, i, &it, &e)) fail_msg("%s: %s", o->t->name, e.msg);
    return it;
}

static inline hn_verdict judge(const opened *o, const hn_item *it, const char *text, double *reward) {
    char *exact = malloc(strlen(text) + 1); /* no 0 byte after it: a sanitizer sees a read past the end */
    size_t n = strlen(text);
    memcpy(exact, text, n);
    exact = realloc(exact, n ? n : 1);
    hn_verdict v = o->t->verify(o->priv, it, exact, n, reward, NULL);
    free(exact);
    return v;
}

static inline hn_verdict verdict(const opened *o, const hn_item *it, const char *text) {
    double reward = NAN;
    hn_verdict v = judge(o, it, text, &reward);
    assert_true(reward == (v == HN_PASS));
    return v;
}

#endif
