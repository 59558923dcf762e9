/* improve.c - `hone improve`: rounds of self-improvement through the gate, with receipts and rollback. */
#include "method/improve.h"
#include "base/io.h"
#include "base/pool.h"
#include "cli/cli.h"
#include "cli/models.h"
#include "cli/record.h"
#include "cli/rehearse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    hn_improve_config improve;
    hn_train_config train;
    hn_ask_config ask;
    const char *task, *method, *store;
    bool resume, rollback, dry_run;
    int64_t to_round, show;
} improve_options;

/* clang-format off */
#define AT(field) .at = offsetof(improve_options, field)
static const hn_opt table[] = {
    { .name = "task", .help = "what to get better at (hone help tasks)", .type = HN_OPT_STR, AT(task) },
    { .name = "method", .help = "how data comes from the model and the task (hone help methods)", .type = HN_OPT_STR, AT(method), .sdef = "grpo" },
    { .name = "max_completion_length", .help = "most tokens of an answer", .type = HN_OPT_INT, AT(ask.max_completion_length), .def = 256, .min = 1, .max = 1e6 },
    { .name = "temperature", .help = "of the answers a round learns from; examinations are greedy", .type = HN_OPT_NUM, AT(ask.how.temperature), .def = 1, .min = 0.01, .max = 100 },
    { .name = "top_p", .help = "1: off", .type = HN_OPT_NUM, AT(ask.how.top_p), .def = 1, .min = 0.0001, .max = 1 },
    { .name = "top_k", .help = "0: off", .type = HN_OPT_INT, AT(ask.how.top_k), .min = 0, .max = 1e9 },
    { .name = "min_p", .help = "0: off", .type = HN_OPT_NUM, AT(ask.how.min_p), .min = 0, .max = 1 },
    { .name = "slots", .help = "answers computed at once", .type = HN_OPT_INT, AT(ask.slots), .def = 64, .min = 1, .max = 4096 },
    { .name = "resume", .help = "go on after the last finished round in --out", .type = HN_OPT_BOOL, AT(resume) },
    { .name = "rollback", .help = "only move the head of the run in --out one accepted round back, or to --to_round", .type = HN_OPT_BOOL, AT(rollback) },
    { .name = "dry_run", .help = "all checks, prompts, memory, batches and schedule; trains nothing and leaves no file", .type = HN_OPT_BOOL, AT(dry_run) },
    { .name = "to_round", .help = "for --rollback: the accepted round to go back to; 0: the model as given", .type = HN_OPT_INT, AT(to_round), .def = -1, .min = -1, .max = 1e9 },
    { .name = "show", .help = "answers shown before and after", .type = HN_OPT_INT, AT(show), .def = 3, .min = 0, .max = 1e6 },
    { .name = "store", .help = "the run store (default: $HONE_STORE, else runs.db)", .type = HN_OPT_STR, AT(store) },
    { 0 },
};
#undef AT
/* clang-format on */

typedef struct {
    hn_cli cli;
    improve_options o;
    hn_improve im;
    const hn_task *task;
    void *task_priv, *algo_priv;
    hn_record *record;
    hn_progress *bar;
    double start;
    hn_claim claim;
    bool begun; /* there is a round to go on after, or to repeat */
} improver;

static void on_phase(void *ctx, int64_t round, const char *what, int64_t total) {
    improver *i = ctx;
    char title[48];
    hn_progress_close(i->bar);
    i->begun |= round > 0;
    if (round) snprintf(title, sizeof title, "round %lld %s", (long long)round, what);
    else snprintf(title, sizeof title, "%s", what);
    i->bar = hn_progress_open(title, total);
}

static void on_progress(void *ctx, int64_t done, int64_t tokens) {
    improver *i = ctx;
    char text[48];
    snprintf(text, sizeof text, "%lld tokens", (long long)tokens);
    hn_progress_update(i->bar, done, text);
}

static int on_metrics(void *ctx, int64_t step, const hn_metrics *m, hn_err *e) {
    improver *i = ctx;
    return hn_record_metrics(i->record, step, m, e);
}

static int on_receipt(void *ctx, int64_t round, const json_t *r, hn_err *e) {
    improver *i = ctx;
    const json_t *gate = json_object_get(r, "gate"), *before = json_object_get(r, "before"),
                 *after = json_object_get(r, "after");
    hn_roundrow row = { .round = round, .accepted = json_is_true(json_object_get(r, "accepted")) };
    char path[64];
    row.before = json_number_value(json_object_get(before, "rate"));
    row.after = json_number_value(json_object_get(after, "rate"));
    row.p = json_number_value(json_object_get(gate, "p"));
    snprintf(path, sizeof path, "round-%lld/receipt.json", (long long)round);
    row.receipt = path;
    hn_progress_close(i->bar);
    i->bar = NULL;
    printf("round %lld  gate %.1f %% -> %.1f %% of %lld  (+%lld -%lld, exact McNemar p = %.2g, needs %.2g)  "
           "%s\n",
           (long long)round, 100 * row.before, 100 * row.after,
           (long long)json_integer_value(json_object_get(after, "items")),
           (long long)json_integer_value(json_object_get(gate, "gained")),
           (long long)json_integer_value(json_object_get(gate, "lost")), row.p,
           json_number_value(json_object_get(gate, "alpha")), row.accepted ? "ACCEPTED" : "rolled back");
    fflush(stdout);
    return hn_record_round(i->record, &row, e);
}

/* ---- the table at the end ---- */
static void show_answers(const improver *i) {
    const hn_exam *b = &i->im.before, *a = &i->im.after;
    int64_t shown = 0;
    for (int pass = 0; pass < 2;
         pass++) /* items that changed first: they show what was learnt and what was lost */
        for (int64_t k = 0; k < b->n && shown < i->o.show; k++) {
            bool changed = (b->verdict[k] == HN_PASS) != (a->verdict[k] == HN_PASS);
            if (changed == (pass == 1)) continue;
            printf("\n%s\n  before (%s):%s\n  after  (%s):%s\n", b->prompt[k],
                   b->verdict[k] == HN_PASS ? "right" : "wrong", b->answer[k],
                   a->verdict[k] == HN_PASS ? "right" : "wrong", a->answer[k]);
            shown++;
        }
}

static void summary(const improver *i) {
    const hn_exam *x[] = { &i->im.before, &i->im.after };
    static const char *const name[] = { "before", "after" };
    char spent[24];
    hn_mcnemar t = hn_exam_compare(x[0], x[1]);
    printf("\ntest split, opened once: %lld items of %s\n", (long long)x[0]->n, i->task->name);
    printf("            right    accuracy   95 %% interval\n");
    for (int k = 0; k < 2; k++) {
        hn_interval w = hn_wilson(x[k]->passed, x[k]->n, 0.95);
        printf("  %-8s %4lld/%-4lld   %5.1f %%    %4.1f .. %4.1f\n", name[k], (long long)x[k]->passed,
               (long long)x[k]->n, 100.0 * (double)x[k]->passed / (double)x[k]->n, 100 * w.lo, 100 * w.hi);
    }
    printf("  %lld items gained, %lld lost, exact McNemar p = %.2g; %lld of %lld rounds accepted\n",
           (long long)t.gained, (long long)t.lost, t.p_better, (long long)i->im.accepted,
           (long long)i->im.cfg.rounds);
    show_answers(i);
    hn_format_seconds(hn_now() - i->start, spent);
    printf("\n%s in %s; receipts are in %s/round-*/receipt.json\n",
           i->im.accepted ? "improved" : "no round passed the gate: the model is unchanged", spent,
           i->im.out);
    if (!i->im.accepted) return;
    printf("  talk to it:      hone chat --model %s/model\n  measure it:      hone eval --model %s/model "
           "--task %s --items 1000\n",
           i->im.out, i->im.out, i->task->name);
    printf("  improve further: hone improve --model %s/model --task %s --out %s-2\n  take it back:    hone "
           "improve --rollback --out %s\n",
           i->im.out, i->task->name, i->im.out, i->im.out);
}

/* ---- setting up ---- */
static int work(improver *i) {
    hn_improve *im = &i->im;
    hn_err *e = &i->cli.err;
    int rc = hn_cli_model(&i->cli, &im->model);
    if (rc) return rc;
    i->begun = i->o.resume;
    im->cfg = i->o.improve;
    im->train = i->o.train;
    im->algo_priv = i->algo_priv;
    im->seed = (uint64_t)i->cli.common.seed;
    im->out = i->cli.common.out;
    im->asker = (hn_asker){ .model = im->model, .task = i->task, .priv = i->task_priv, .cfg = i->o.ask };
    im->examiner = im->asker;
    im->examiner.cfg.how = (hn_sampling){ 0, 1, 0, 0 };
    im->watch = (hn_improve_watch){ i, on_phase, on_progress, on_metrics, on_receipt, hn_cli_stopped };
    if ((rc = hn_record_config(&i->cli, im->model, &im->config))) return rc;
    rc = hn_record_claim(&i->claim, im->out, i->o.resume, e);
    if (!rc)
        rc = hn_record_open(&i->record, im->out, "improve", i->o.store, im->config, im->seed, i->o.resume,
                            i->o.resume ? INT64_MAX / 2 : 0, i->o.resume ? -1 : 0, e);
    if (!rc) rc = hn_improve_run(im, i->o.resume, e);
    hn_progress_close(i->bar);
    if (rc && rc != HN_ESTOP && !i->begun) hn_record_discard(i->record);
    else hn_record_close(i->record, rc == HN_ESTOP ? "stopped" : rc ? "failed" : "done");
    if (!rc) summary(i);
    return rc;
}

/* ---- --dry-run ---- */
/* Rejection sampling learns rows of one answer, grpo the groups whole. */
static void improve_plan(const improver *i, const hn_model *m, int64_t longest, hn_memory_plan *plan) {
    const hn_improve_config *c = &i->o.improve;
    bool groups = i->im.algo->learns_rollouts;
    *plan = (hn_memory_plan){ .config = &m->net.cfg,
                              .vocab = m->net.vocab,
                              .algo = i->im.algo,
                              .priv = i->algo_priv,
                              .rollback = true };
    plan->prec = hn_cli_prec(&i->cli);
    plan->reduce_slots = i->o.train.reduce_slots;
    plan->recompute = i->o.train.gradient_checkpointing;
    plan->generators = 2; /* answers to learn from, and examinations */
    plan->slots = i->o.ask.slots;
    plan->prompt = longest;
    plan->most_new = i->o.ask.max_completion_length;
    hn_rehearse_grain(&plan->grain, longest, plan->most_new, groups ? c->per : 1,
                      groups ? c->prompts * c->per : c->batch, i->o.train.grain_tokens);
}

static void rehearse_rounds(improver *i, hn_rehearsal *r, const hn_model *m) {
    const hn_improve_config *c = &i->o.improve;
    const hn_train_config *t = &i->o.train;
    hn_memory_plan plan;
    hn_err e = { 0 };
    int64_t updates = c->rounds * c->updates * t->num_iterations;
    if (hn_train_config_check(t, &e)) hn_preflight_say(&r->found, HN_FOUND_FAIL, "options", "", "%s", e.msg);
    int64_t longest = hn_rehearse_prompts(r, m, i->task, i->task_priv, (uint64_t)i->cli.common.seed, 256,
                                          i->o.ask.max_completion_length);
    hn_preflight_say(
        &r->found, HN_FOUND_OK, "batch", "",
        "%lld rounds of up to %lld updates; %lld prompts x %lld answers a batch of rollouts; %lld items "
        "decide a round",
        (long long)c->rounds, (long long)c->updates, (long long)c->prompts, (long long)c->per,
        (long long)c->gate_items);
    hn_rehearse_schedule(r, t, t->learning_rate > 0 ? t->learning_rate : i->im.algo->learning_rate, updates);
    improve_plan(i, m, longest, &plan);
    hn_rehearse_memory(r, &plan);
    hn_rehearse_out(r, i->cli.common.out, i->o.resume);
    hn_train_config kept = *t; /* a model and its moments for every accepted round, and the newest model */
    kept.save_steps = 1;
    kept.save_total_limit = 0;
    hn_preflight_disk(&r->found, i->cli.common.out, m->net.params.count, &kept, c->rounds, HN_ST_F32);
}

static int rehearse(improver *i) {
    hn_rehearsal r;
    hn_model *m = NULL;
    int rc = hn_cli_need(&i->cli, "model", i->cli.common.model);
    if (rc) return rc;
    hn_rehearse_begin(&r);
    hn_preflight_model(&r.found, i->cli.common.model, &m);
    if (m && m->tok) rehearse_rounds(i, &r, m);
    hn_model_close(m);
    return hn_rehearse_end(&r);
}

static int rollback(improver *i) {
    int64_t head;
    int lock, rc = hn_dir_lock(i->cli.common.out, &lock, &i->cli.err);
    if (!rc) rc = hn_improve_rollback(i->cli.common.out, i->o.to_round, &head, &i->cli.err);
    hn_dir_unlock(lock);
    if (rc) return rc;
    if (head) printf("%s/model is the model of round %lld again\n", i->cli.common.out, (long long)head);
    else printf("%s/model is the model as it was given\n", i->cli.common.out);
    return HN_OK;
}

static int add_options(improver *i) {
    hn_cli *c = &i->cli;
    hn_improve *im = &i->im;
    int rc = hn_cli_add(c, "Improve", table, &i->o);
    if (!rc) rc = hn_cli_add(c, "Rounds", hn_improve_opts, &i->o.improve);
    if (!rc && !(im->method = hn_method_find(i->o.method, &c->err))) rc = c->err.code;
    if (!rc && !(im->method_priv = hn_alloc(im->method->priv_size + 1)))
        rc = hn_fail(&c->err, HN_ENOMEM, "no memory for options");
    if (!rc && im->method->opts) rc = hn_cli_add(c, im->method->name, im->method->opts, im->method_priv);
    if (rc) return rc;
    im->algo = hn_algo_find(im->method->algo);
    if (!(i->algo_priv = hn_alloc(im->algo->priv_size + 1)))
        return hn_fail(&c->err, HN_ENOMEM, "no memory for options");
    if (im->algo->opts) rc = hn_cli_add(c, im->algo->name, im->algo->opts, i->algo_priv);
    if (!rc) rc = hn_cli_add(c, "Training", hn_train_opts, &i->o.train);
    if (!rc && i->o.task) rc = hn_cli_task(c, i->o.task, &i->task, &i->task_priv);
    return rc;
}

static int run(int argc, char **argv) {
    improver *i = hn_alloc(sizeof *i);
    if (!i) return hn_cli_no_memory(&hn_command_improve);
    hn_cli *c = &i->cli;
    i->start = hn_now();
    int rc = hn_cli_begin(c, &hn_command_improve, argc, argv);
    if (!rc) rc = add_options(i);
    if (!rc) rc = hn_cli_ready(c);
    if (!rc) rc = hn_cli_need(c, "out", c->common.out);
    if (!rc && i->o.rollback) {
        rc = rollback(i);
    } else if (!rc) {
        rc = hn_cli_need(c, "task", i->o.task);
        if (!rc) rc = hn_cli_task_open(c, i->task, i->task_priv);
        if (!rc) rc = i->o.dry_run ? rehearse(i) : work(i);
    }
    hn_record_unclaim(&i->claim);
    json_decref(i->im.config);
    hn_improve_release(&i->im);
    hn_model_close(i->im.model);
    hn_cli_task_close(i->task, i->task_priv);
    hn_free(i->im.method_priv);
    hn_free(i->algo_priv);
    rc = hn_cli_end(c, rc);
    hn_free(i);
    return rc;
}

const hn_command hn_command_improve = {
    "improve",
    "make a model better at a task from its own answers, and prove it\n"
    "usage: hone improve --model DIR --task T --method grpo|rejection --rounds N --out DIR\n"
    "       hone improve --rollback --out DIR\n\n"
    "Each round samples and verifies answers on the train split, learns, and is examined on the gate split: "
    "a paired exact\n"
    "test keeps it or rolls it back. The test split is opened once, after the last round. Every round leaves "
    "a receipt.\n"
    "out/model is the newest accepted model.",
    run
};
