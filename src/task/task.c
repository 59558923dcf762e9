/* task.c - the list of tasks and what all of them share: splits, items, verdicts. */
#include "task/task.h"

#include "task/answer.h"

#include <string.h>

static const hn_task *const all[] = {
#define HN_TASK(name) &hn_task_##name,
#include "task/tasks.h"
#undef HN_TASK
};
enum { COUNT = sizeof all / sizeof *all };

const hn_task *const *hn_task_all(int *n) {
    *n = COUNT;
    return all;
}

const hn_task *hn_task_find(const char *name, hn_err *e) {
    const char *names[COUNT], *near;
    for (int i = 0; i < COUNT; i++) {
        if (!strcmp(all[i]->name, name)) return all[i];
        names[i] = all[i]->name;
    }
    hn_buf list = { 0 };
    for (int i = 0; i < COUNT; i++) hn_buf_fmt(&list, "%s%s", i ? ", " : "", names[i]);
    near = hn_nearest(name, names, COUNT);
    hn_fail(e, HN_EPARSE, "there is no task '%s'%s%s%s; the tasks are %s", name,
            near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "", list.data ? list.data : "");
    hn_buf_free(&list);
    return NULL;
}

int hn_task_new(void **priv, const hn_task *t, hn_optset *set, hn_err *e) {
    if (!(*priv = hn_alloc(t->priv_size))) return hn_fail(e, HN_ENOMEM, "task %s: out of memory", t->name);
    int rc = hn_optset_add(set, t->name, t->opts, *priv, e);
    if (rc) {
        hn_free(*priv);
        *priv = NULL;
    }
    return rc;
}

void hn_task_free(const hn_task *t, void *priv) {
    if (!priv) return;
    t->close(priv);
    hn_free(priv);
}

void hn_item_release(hn_item *it) {
    hn_free(it->id);
    hn_free(it->prompt);
    json_decref(it->messages);
    hn_free(it->answer);
    hn_free(it->solution);
    json_decref(it->extra);
    memset(it, 0, sizeof *it);
}

const char *hn_split_name(hn_split s) {
    static const char *const name[HN_SPLITS] = { "train", "gate", "test" };
    return name[s];
}

hn_split hn_split_of(uint64_t hash) {
    uint64_t tenth = hash % 10;
    return tenth == 8 ? HN_SPLIT_GATE : tenth == 9 ? HN_SPLIT_TEST : HN_SPLIT_TRAIN;
}

uint64_t hn_task_hash(const void *p, size_t n) {
    const unsigned char *b = p;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ b[i]) * 0x100000001b3u;
    return hn_key(h, n);
}

hn_dice hn_dice_of(const char *task, hn_split s, uint64_t seed, int64_t i) {
    uint64_t name = hn_task_hash(task, strlen(task));
    return (hn_dice){ seed, hn_key(hn_key(name, (uint64_t)s), (uint64_t)i), 0 };
}

int64_t hn_dice_roll(hn_dice *d, int64_t n) {
    return (int64_t)(hn_rand(d->seed, d->stream, d->i++) % (uint64_t)n);
}

int hn_item_ask(hn_item *it, bool messages, const char *question, const char *worked, hn_err *e) {
    hn_buf text = { 0 }, sol = { 0 };
    if (messages) {
        it->messages = json_pack("[{s:s,s:s}]", "role", "user", "content", question);
    } else {
        hn_buf_fmt(&text, "Q: %s\nA:", question);
        it->prompt = text.data;
    }
    if (worked) {
        hn_buf_fmt(&sol, "%s%s", messages ? "" : " ", worked);
        it->solution = sol.data;
    }
    if (text.oom || sol.oom || (messages && !it->messages))
        return hn_fail(e, HN_ENOMEM, "out of memory for an item");
    return HN_OK;
}

hn_verdict hn_verdict_pass(double *reward) {
    *reward = 1;
    return HN_PASS;
}

static hn_verdict refuse(hn_verdict v, double *reward, hn_err *why, const char *fmt, va_list ap) {
    *reward = 0;
    if (why && !why->code) {
        why->code = HN_EPARSE;
        vsnprintf(why->msg, sizeof why->msg, fmt, ap);
    }
    return v;
}

hn_verdict hn_verdict_fail(double *reward, hn_err *why, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    hn_verdict v = refuse(HN_FAIL, reward, why, fmt, ap);
    va_end(ap);
    return v;
}

hn_verdict hn_verdict_error(double *reward, hn_err *why, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    hn_verdict v = refuse(HN_ERROR, reward, why, fmt, ap);
    va_end(ap);
    return v;
}

hn_verdict hn_verdict_number(const hn_item *it, const char *text, size_t n, const char *marker, bool lenient,
                             double *reward, hn_err *why) {
    hn_ratio gold, got;
    hn_view whole = { text, n }, found;
    if (!it->answer || !hn_number_parse((hn_view){ it->answer, strlen(it->answer) }, true, &gold)) {
        return hn_verdict_error(reward, why, "item %s: the gold answer is not a number",
                                it->id ? it->id : "?");
    }
    if (lenient) {
        if (!hn_answer_number(whole, marker, &got))
            return hn_verdict_fail(reward, why, "no number in the answer");
    } else {
        if (!hn_answer_after(whole, marker, &found)) {
            return hn_verdict_fail(reward, why, "no line with %s and the answer", marker);
        }
        if (!hn_number_parse(found, true, &got)) {
            return hn_verdict_fail(reward, why, "what follows %s is not one number", marker);
        }
    }
    if (!hn_ratio_eq(gold, got)) return hn_verdict_fail(reward, why, "the answer is %s", it->answer);
    return hn_verdict_pass(reward);
}
