/* eval.c - `hone eval`: how many items of a task a model gets right, with an interval. */
#include "base/io.h"
#include "cli/cli.h"
#include "cli/models.h"
#include "method/improve.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *task;
    int64_t items, show;
    int split;
    hn_ask_config ask;
} eval_options;

/* clang-format off */
#define AT(field) .at = offsetof(eval_options, field)
static const hn_opt table[] = {
    { .name = "task", .help = "what to ask (hone help tasks)", .type = HN_OPT_STR, AT(task) },
    { .name = "split", .help = "which part of the task", .type = HN_OPT_ENUM, AT(split), .def = 2, .choices = "train|gate|test" },
    { .name = "items", .help = "how many items", .type = HN_OPT_INT, AT(items), .def = 300, .min = 1, .max = 1e8 },
    { .name = "temperature", .help = "0: greedy", .type = HN_OPT_NUM, AT(ask.how.temperature), .def = 0, .min = 0, .max = 100 },
    { .name = "top_p", .help = "1: off", .type = HN_OPT_NUM, AT(ask.how.top_p), .def = 1, .min = 0.0001, .max = 1 },
    { .name = "top_k", .help = "0: off", .type = HN_OPT_INT, AT(ask.how.top_k), .min = 0, .max = 1e9 },
    { .name = "min_p", .help = "0: off", .type = HN_OPT_NUM, AT(ask.how.min_p), .min = 0, .max = 1 },
    { .name = "max_new_tokens", .help = "most tokens of an answer", .type = HN_OPT_INT, AT(ask.max_completion_length), .def = 256, .min = 1, .max = 1e6 },
    { .name = "slots", .help = "answers computed at once", .type = HN_OPT_INT, AT(ask.slots), .def = 64, .min = 1, .max = 4096 },
    { .name = "show", .help = "print this many answers", .type = HN_OPT_INT, AT(show), .def = 0, .min = 0, .max = 1e8 },
    { 0 },
};
#undef AT
/* clang-format on */

typedef struct {
    hn_cli *cli;
    hn_progress *bar;
} watcher;

static bool tick(void *ctx, int64_t done, int64_t all, int64_t tokens) {
    watcher *w = ctx;
    char text[64];
    (void)all;
    snprintf(text, sizeof text, "%lld tokens", (long long)tokens);
    hn_progress_update(w->bar, done, text);
    return hn_cli_stopped(NULL);
}

static int write_rows(hn_cli *c, hn_out *out, const hn_exam *x) {
    static const char *const verdict[] = { "fail", "pass", "error" };
    for (int64_t i = 0; i < x->n; i++) {
        json_t *j = json_pack("{s:s, s:s, s:s, s:s}", "id", x->id[i], "prompt", x->prompt[i], "completion",
                              x->answer[i], "verdict", verdict[x->verdict[i]]);
        char *line = j ? json_dumps(j, JSON_COMPACT) : NULL;
        if (line) hn_out_fmt(out, "%s\n", line);
        json_decref(j);
        if (!line) {
            hn_out_abandon(out);
            return hn_fail(&c->err, HN_ENOMEM, "no memory for the answers");
        }
        free(line);
    }
    return hn_out_commit(out, &c->err);
}

static void print(const hn_exam *x, const eval_options *o) {
    static const char *const verdict[] = { "FAIL", "PASS", "ERROR" };
    for (int64_t i = 0; i < x->n && i < o->show; i++)
        printf("--- %s\n%s%s\n", verdict[x->verdict[i]], x->prompt[i], x->answer[i]);
    hn_interval w = hn_wilson(x->passed, x->n - x->errors, 0.95);
    printf("%s %s: %lld of %lld right = %.1f %%  (95 %% Wilson interval %.1f .. %.1f)", o->task,
           hn_split_name((hn_split)o->split), (long long)x->passed, (long long)(x->n - x->errors),
           x->n > x->errors ? 100.0 * (double)x->passed / (double)(x->n - x->errors) : 0, 100 * w.lo,
           100 * w.hi);
    if (x->errors) printf("; %lld could not be judged and are left out", (long long)x->errors);
    printf("\n");
}

static int work(hn_cli *c, eval_options *o, const hn_task *task, void *priv) {
    hn_model *m = NULL;
    hn_out *out = NULL; /* opened before the work, so that a place that cannot be written costs none */
    int rc = hn_cli_model(c, &m);
    if (!rc && c->common.out) rc = hn_out_open(&out, c->common.out, &c->err);
    if (rc) {
        hn_model_close(m);
        return rc;
    }
    o->ask.limit = "--max_new_tokens";
    watcher w = { c, hn_progress_open("eval", o->items) };
    hn_asker k = { .model = m, .task = task, .priv = priv, .cfg = o->ask, .progress = tick, .ctx = &w };
    hn_exam x = { 0 };
    rc = hn_exam_take(&k, (hn_split)o->split, (uint64_t)c->common.seed, o->items, &x, &c->err);
    hn_progress_close(w.bar);
    if (rc) hn_out_abandon(out);
    else if (out) rc = write_rows(c, out, &x);
    if (!rc) print(&x, o);
    hn_exam_release(&x);
    hn_asker_release(&k);
    hn_model_close(m);
    return rc;
}

static int run(int argc, char **argv) {
    hn_cli c;
    eval_options o = { 0 };
    const hn_task *task = NULL;
    void *priv = NULL;
    int rc = hn_cli_begin(&c, &hn_command_eval, argc, argv);
    if (!rc) rc = hn_cli_add(&c, "Eval", table, &o);
    if (!rc && o.task) rc = hn_cli_task(&c, o.task, &task, &priv);
    if (!rc) rc = hn_cli_ready(&c);
    if (!rc) rc = hn_cli_need(&c, "task", o.task);
    if (!rc) rc = hn_cli_task_open(&c, task, priv);
    if (!rc) rc = work(&c, &o, task, priv);
    hn_cli_task_close(task, priv);
    return hn_cli_end(&c, rc);
}

const hn_command hn_command_eval = {
    "eval",
    "ask a model a task's items and count the right answers\n"
    "usage: hone eval --model DIR --task T [--split test] [--items N] [--out answers.jsonl]\n\n"
    "Prints the accuracy with its 95 % Wilson interval. Items the verifier could not judge are counted "
    "apart.",
    run, .answers = true
};
