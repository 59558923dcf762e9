/* learn.c - one command for every algorithm: `hone sft`, `hone dpo`, `hone grpo`, ...
 *
 * The line in algo/algos.h makes the command; its options are the algorithm's table and the trainer's. */
#include "cli/learn.h"
#include "base/io.h"
#include "base/pool.h"
#include "cli/models.h"
#include "cli/record.h"
#include "cli/rehearse.h"
#include "data/load.h"
#include "data/solved.h"
#include "method/improve.h"
#include "train/loop.h"

#include <math.h>
#include <string.h>

typedef struct {
    hn_train_config train;
    hn_ask_config ask;
    hn_load_config load;
    const char *task, *store;
    int64_t num_generations, train_items, eval_items;
    bool resume, allow_tier_change, train_on_prompt, dry_run, save_check;
    const char *learner;
    int save_dtype, train_sampling_strategy;
} learn_options;

/* clang-format off */
#define AT(field) .at = offsetof(learn_options, field)
static const hn_opt doctor_table[] = {
    { .name = "learner", .help = "whose run is looked at: its options, its memory", .type = HN_OPT_STR, AT(learner), .sdef = "sft" },
    { .name = "save_check", .help = "write the model, read it back and compare (small models: always)", .type = HN_OPT_BOOL, AT(save_check) },
    { 0 },
};
static const hn_opt dry_table[] = {
    { .name = "dry_run", .help = "all checks, the data, memory, batches and schedule; trains nothing and leaves no file", .type = HN_OPT_BOOL, AT(dry_run) },
    { 0 },
};
static const hn_opt run_table[] = {
    { .name = "resume", .help = "go on from the newest checkpoint in --out", .type = HN_OPT_BOOL, AT(resume) },
    { .name = "allow_tier_change", .help = "resume with other kernels than the run began with", .type = HN_OPT_BOOL, AT(allow_tier_change) },
    { .name = "store", .help = "the run store (default: $HONE_STORE, else runs.db)", .type = HN_OPT_STR, AT(store) },
    { .name = "save_dtype", .help = "numbers of the saved model", .type = HN_OPT_ENUM, AT(save_dtype), .choices = "f32|bf16" },
    { .name = "task", .help = "a task (hone help tasks): its worked solutions for sft, its verifier for rollouts; evaluation of both",
      .type = HN_OPT_STR, AT(task) },
    { .name = "eval_items", .help = "items of the task's gate split an evaluation asks", .type = HN_OPT_INT, AT(eval_items), .def = 200, .min = 1, .max = 1e6 },
    { 0 },
};
static const hn_opt order_table[] = {
    { .name = "train_sampling_strategy", .help = "rows in a new order every epoch, or in that of the file", .type = HN_OPT_ENUM,
      AT(train_sampling_strategy), .choices = "random|sequential" },
    { 0 },
};
static const hn_opt solved_table[] = {
    { .name = "train_items", .help = "items of --task to learn from", .type = HN_OPT_INT, AT(train_items), .def = 10000, .min = 1, .max = 1e9 },
    { .name = "train_on_prompt", .help = "learn the prompts of --task as well", .type = HN_OPT_BOOL, AT(train_on_prompt) },
    { 0 },
};
static const hn_opt rollout_table[] = {
    { .name = "num_generations", .help = "answers a prompt (the group)", .type = HN_OPT_INT, AT(num_generations), .def = 8, .min = 2, .max = 4096 },
    { .name = "max_completion_length", .help = "most tokens of an answer", .type = HN_OPT_INT, AT(ask.max_completion_length), .def = 512, .min = 1, .max = 1e6 },
    { .name = "temperature", .help = "of sampling, and of all log-probabilities", .type = HN_OPT_NUM, AT(ask.how.temperature), .def = 1, .min = 0.01, .max = 100 },
    { .name = "top_p", .help = "draw from the likeliest tokens of this probability; 1: off", .type = HN_OPT_NUM, AT(ask.how.top_p), .def = 1, .min = 0.0001, .max = 1 },
    { .name = "top_k", .help = "draw from this many likeliest tokens; 0: off", .type = HN_OPT_INT, AT(ask.how.top_k), .min = 0, .max = 1e9 },
    { .name = "min_p", .help = "leave out tokens less likely than this share of the likeliest; 0: off", .type = HN_OPT_NUM, AT(ask.how.min_p), .min = 0, .max = 1 },
    { .name = "slots", .help = "answers computed at once", .type = HN_OPT_INT, AT(ask.slots), .def = 64, .min = 1, .max = 4096 },
    { 0 },
};
#undef AT
/* clang-format on */

typedef struct {
    hn_cli cli;
    const hn_algo *algo;
    void *priv;
    learn_options o;
    hn_model *model;
    const hn_task *task;
    void *task_priv;
    hn_transformer ref;
    hn_trainer trainer;
    hn_dataset data;
    hn_asker asker, examiner;
    hn_record *record;
    hn_progress *bar;
    hn_loop loop;
    hn_claim claim;
    hn_rehearsal *rehearsal; /* NULL: the run itself */
    bool rollouts, resumed;
} learner;

/* A fact about the run: a note, or a check of the rehearsal. */
static void tell(learner *l, const char *what, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void tell(learner *l, const char *what, const char *fmt, ...) {
    hn_buf b = { 0 };
    va_list ap;
    va_start(ap, fmt);
    hn_buf_vfmt(&b, fmt, ap);
    va_end(ap);
    const char *said = b.data ? b.data : "";
    if (l->rehearsal) hn_preflight_say(&l->rehearsal->found, HN_FOUND_OK, what, "", "%s", said);
    else hn_cli_note(&l->cli, "%s", said);
    hn_buf_free(&b);
}

/* ---- where the steps come from ---- */
static int64_t batch_rows(const learner *l) {
    return l->o.train.per_device_train_batch_size * l->o.train.gradient_accumulation_steps;
}

static int data_step(void *ctx, int64_t batch, hn_forest *f, hn_metrics *m, hn_err *e) {
    learner *l = ctx;
    (void)m;
    return hn_dataset_batch(&l->data, (uint64_t)l->cli.common.seed, batch, batch_rows(l), f, e);
}

static int keep_samples(void *ctx, const hn_asked *a, hn_err *e) {
    learner *l = ctx;
    static const char *const verdict[] = { "fail", "pass", "error" };
    int rc = HN_OK;
    for (int64_t i = 0; i < a->n * a->per && i < a->per && !rc; i++) { /* the first prompt's answers */
        const hn_item *it = &a->item[i / a->per];
        const hn_answer *w = &a->answer[i];
        hn_samplerow row = { .step = l->trainer.step + 1,
                             .index = i,
                             .prompt = it->prompt ? it->prompt : it->id };
        row.completion = w->text;
        row.reward = w->verdict == HN_ERROR ? NAN : w->reward;
        row.verdict = verdict[w->verdict];
        rc = hn_record_sample(l->record, &row, e);
    }
    return rc;
}

static int rollout_step(void *ctx, int64_t batch, hn_forest *f, hn_metrics *m, hn_err *e) {
    learner *l = ctx;
    hn_round r = { .model = l->model,
                   .asker = &l->asker,
                   .seed = (uint64_t)l->cli.common.seed,
                   .round = 1,
                   .per = l->o.num_generations };
    r.prompts = batch_rows(l) / l->o.num_generations;
    r.batch = batch_rows(l);
    r.record = keep_samples;
    r.ctx = l;
    return hn_method_grpo.step(NULL, &r, batch, f, m, e);
}

static int open_rollouts(learner *l, double *per_epoch) {
    hn_err *e = &l->cli.err;
    int64_t batch = batch_rows(l), g = l->o.num_generations;
    if (!l->task)
        return hn_cli_usage(
            &l->cli,
            "--task is needed: %s learns from answers that a task judges; hone help tasks lists them",
            l->algo->name);
    if (batch % g)
        return hn_fail(e, HN_ERANGE,
                       "per_device_train_batch_size * gradient_accumulation_steps = %lld answers an update "
                       "is not a multiple of "
                       "num_generations = %lld",
                       (long long)batch, (long long)g);
    int64_t items = l->task->count(l->task_priv, HN_SPLIT_TRAIN);
    if (items < 0 && !l->o.train.max_steps)
        return hn_cli_usage(&l->cli, "--max_steps is needed: task %s never ends", l->task->name);
    *per_epoch = items < 0 ? 0 : ceil((double)items / (double)(batch / g));
    l->asker = (hn_asker){ .model = l->model, .task = l->task, .priv = l->task_priv, .cfg = l->o.ask };
    tell(l, "batch", "%lld prompts x %lld answers = %lld answers an update, %lld update%s on each",
         (long long)(batch / g), (long long)g, (long long)batch, (long long)l->o.train.num_iterations,
         l->o.train.num_iterations == 1 ? "" : "s");
    return HN_OK;
}

static int open_data(learner *l, double *per_epoch) {
    hn_err *e = &l->cli.err;
    int rc;
    bool pairs = l->algo->needs(l->priv) & HN_NEEDS_PAIRS;
    if (l->cli.common.data) {
        hn_buf said = { 0 };
        rc = hn_load_rows(l->model, l->cli.common.data, &l->o.load, pairs, &l->data, &said, e);
        if (!rc) tell(l, "data", "%s", said.data ? said.data : "");
        hn_buf_free(&said);
    } else if (l->task && !pairs) {
        int64_t over = 0, most = l->o.load.max_length;
        rc = hn_solved_rows(l->model, l->task, l->task_priv, (uint64_t)l->cli.common.seed, 0,
                            l->o.train_items, l->o.train_on_prompt, most, &l->data, &over, e);
        if (!rc && over)
            tell(l, "data", "%lld of %lld items are longer than max_length %lld and left out",
                 (long long)over, (long long)l->o.train_items, (long long)most);
    } else {
        return hn_cli_need(&l->cli, "data", NULL);
    }
    if (!rc && !l->data.n_row) rc = hn_fail(e, HN_ERANGE, "no row to learn from");
    if (!rc && l->data.longest > hn_transformer_max_len(&l->model->net))
        rc = hn_fail(e, HN_ERANGE,
                     "the longest row has %lld tokens and the model has been made for %d: lower --max_length "
                     "(with --overlong)",
                     (long long)l->data.longest, hn_transformer_max_len(&l->model->net));
    if (rc) return rc;
    l->data.sequential = l->o.train_sampling_strategy == 1;
    int64_t batch = batch_rows(l);
    *per_epoch = (double)hn_dataset_batches(&l->data, batch);
    tell(l, "batch",
         "%lld rows, %lld tokens of which %lld are trained, longest %lld; %lld rows an update, %.0f "
         "updates an epoch",
         (long long)l->data.n_row, (long long)l->data.n_token, (long long)l->data.n_act,
         (long long)l->data.longest, (long long)batch, *per_epoch);
    return HN_OK;
}

/* ---- who watches ---- */
static int on_metrics(void *ctx, int64_t step, const hn_metrics *m, bool log, hn_err *e) {
    learner *l = ctx;
    char text[160];
    int n = snprintf(text, sizeof text, "loss %.4g", hn_metrics_get(m, "loss", NAN));
    if (l->rollouts)
        n += snprintf(text + n, sizeof text - (size_t)n, " reward %.3f", hn_metrics_get(m, "reward", NAN));
    double tokens = hn_metrics_get(m, "num_tokens", 0), s = hn_metrics_get(m, "train_seconds", 0),
           gen = hn_metrics_get(m, "generate_seconds", 0);
    if (s > 0) n += snprintf(text + n, sizeof text - (size_t)n, " %.0f tok/s", tokens / (s + gen));
    if (gen > 0)
        snprintf(text + n, sizeof text - (size_t)n, ", %.0f%% of it generating", 100 * gen / (s + gen));
    hn_progress_update(l->bar, step, text);
    return log ? hn_record_metrics(l->record, step, m, e) : HN_OK;
}

static int on_evaluate(void *ctx, int64_t step, hn_metrics *m, hn_err *e) {
    learner *l = ctx;
    hn_exam x;
    (void)step;
    if (!l->task) return HN_OK;
    int rc = hn_exam_take(&l->examiner, HN_SPLIT_GATE, (uint64_t)l->cli.common.seed, l->o.eval_items, &x, e);
    if (rc) return rc;
    hn_interval w = hn_wilson(x.passed, x.n, 0.95);
    hn_metrics_set(m, "eval/accuracy", (double)x.passed / (double)x.n);
    hn_metrics_set(m, "eval/accuracy_low", w.lo);
    hn_metrics_set(m, "eval/accuracy_high", w.hi);
    hn_metrics_set(m, "eval/errors", (double)x.errors);
    hn_exam_release(&x);
    return HN_OK;
}

static int on_saved(void *ctx, int64_t step, const char *dir, hn_err *e) {
    learner *l = ctx;
    return hn_record_checkpoint(l->record, step, dir, e);
}

static json_t *on_state(void *ctx) {
    learner *l = ctx;
    return json_pack("{s:I}", "event_bytes", (json_int_t)hn_record_events(l->record));
}

/* The batch that was not finite, as JSON, for whoever looks for the reason. */
static int on_broken(void *ctx, int64_t step, const hn_forest *f, hn_err *e) {
    learner *l = ctx;
    hn_buf b = { 0 }, path = { 0 };
    char name[48];
    snprintf(name, sizeof name, "broken-step-%lld.json", (long long)step);
    hn_buf_fmt(&b, "{\"step\": %lld, \"tokens\": [", (long long)step);
    for (int32_t i = 0; i < f->n_token; i++) hn_buf_fmt(&b, i ? ",%d" : "%d", f->token[i]);
    hn_buf_str(&b, "], \"logp\": [");
    for (int32_t i = 0; i < f->n_act; i++) {
        double v = hn_forest_f(f, "logp")[i];
        if (i) hn_buf_chr(&b, ',');
        if (isfinite(v)) hn_buf_fmt(&b, "%.9g", v);
        else hn_buf_fmt(&b, "\"%g\"", v);
    }
    hn_buf_str(&b, "]}\n");
    int rc = b.oom || !hn_path_join(&path, l->cli.common.out, name)
                 ? HN_ENOMEM
                 : hn_file_write(path.data, b.data, b.n, e);
    if (!rc) hn_cli_note(&l->cli, "the batch is in %s", path.data);
    hn_buf_free(&b);
    hn_buf_free(&path);
    return rc;
}

/* ---- the run ---- */
static int start_or_resume(learner *l) {
    hn_err *e = &l->cli.err;
    char *dir = NULL;
    int64_t events = 0, step = 0;
    int rc = hn_record_claim(&l->claim, l->cli.common.out, l->o.resume, e);
    if (!rc && l->o.resume) step = hn_checkpoint_newest(l->cli.common.out, &dir, e);
    if (step < 0) rc = (int)step;
    if (!rc && dir) {
        rc = hn_loop_resume(&l->loop, dir, l->o.allow_tier_change, e);
        json_t *s = rc ? NULL : hn_checkpoint_state(dir);
        events = json_integer_value(json_object_get(s, "event_bytes"));
        json_decref(s);
        if (!rc)
            hn_cli_note(&l->cli, "going on from %s, update %lld of %lld", dir, (long long)l->trainer.step,
                        (long long)l->trainer.steps);
    } else if (!rc && l->o.resume) {
        hn_cli_note(&l->cli, "no checkpoint in %s yet: starting from the first update", l->cli.common.out);
    }
    l->resumed = dir != NULL;
    hn_free(dir);
    if (!rc)
        rc = hn_record_open(&l->record, l->cli.common.out, l->algo->name, l->o.store, l->loop.config,
                            (uint64_t)l->cli.common.seed, l->o.resume, l->trainer.step, events, e);
    return rc;
}

static int open_trainer(learner *l, double per_epoch) {
    hn_err *e = &l->cli.err;
    l->trainer = (hn_trainer){ .algo = l->algo, .priv = l->priv, .cfg = l->o.train, .model = &l->model->net };
    l->trainer.temperature = l->rollouts ? l->o.ask.how.temperature : 1;
    l->trainer.steps = hn_loop_steps(&l->o.train, per_epoch);
    if (l->trainer.steps < 1)
        return hn_cli_usage(&l->cli, "nothing to do: num_train_epochs and max_steps leave no update");
    if (l->algo->needs(l->priv) & HN_NEEDS_REF) {
        int rc = hn_model_copy(&l->ref, &l->model->net, e);
        if (rc) return rc;
        l->trainer.ref = &l->ref;
    }
    return hn_trainer_open(&l->trainer, e);
}

static int work(learner *l) {
    hn_err *e = &l->cli.err;
    double per_epoch = 0;
    int rc = hn_cli_need(&l->cli, "out", l->cli.common.out);
    if (!rc) rc = hn_cli_model(&l->cli, &l->model);
    l->rollouts = !rc && l->algo->needs(l->priv) & HN_NEEDS_ROLLOUT;
    if (!rc) rc = l->rollouts ? open_rollouts(l, &per_epoch) : open_data(l, &per_epoch);
    if (!rc) rc = open_trainer(l, per_epoch);
    if (rc) return rc;
    hn_ask_config greedy = l->o.ask;
    int64_t half = l->model->net.cfg.max_position_embeddings / 2;
    if (!l->rollouts && greedy.max_completion_length > half)
        greedy.max_completion_length = half; /* nobody asked for more */
    greedy.how = (hn_sampling){ 0, 1, 0, 0 };
    l->examiner = (hn_asker){ .model = l->model, .task = l->task, .priv = l->task_priv, .cfg = greedy };
    l->loop = (hn_loop){ .trainer = &l->trainer,
                         .model = l->model,
                         .out = l->cli.common.out,
                         .dtype = l->o.save_dtype ? HN_ST_BF16 : HN_ST_F32 };
    l->loop.source = (hn_source){ l, l->rollouts ? rollout_step : data_step, per_epoch };
    l->loop.watch = (hn_watch){ .ctx = l,
                                .metrics = on_metrics,
                                .evaluate = on_evaluate,
                                .state = on_state,
                                .saved = on_saved,
                                .broken = on_broken,
                                .stop = hn_cli_stopped };
    rc = hn_record_config(&l->cli, l->model, &l->loop.config);
    if (!rc) rc = start_or_resume(l);
    if (rc) return rc;
    l->bar = hn_progress_open(l->algo->name, l->trainer.steps);
    if (l->resumed) hn_progress_update(l->bar, l->trainer.step, "");
    rc = hn_loop_run(&l->loop, e);
    hn_progress_close(l->bar);
    if (!rc) rc = hn_loop_finish(&l->loop, e);
    if (rc && rc != HN_ESTOP && !l->resumed && !l->trainer.step) hn_record_discard(l->record);
    else hn_record_close(l->record, rc == HN_ESTOP ? "stopped" : rc ? "failed" : "done");
    l->record = NULL;
    char text[16];
    int64_t peak = rc ? -1 : hn_host_peak();
    hn_bytes_text((double)peak, text);
    if (peak >= 0) hn_cli_note(&l->cli, "peak memory %s (%lld bytes)", text, (long long)peak);
    if (!rc)
        printf("saved %s after %lld updates\n  talk to it:  hone chat --model %s\n", l->cli.common.out,
               (long long)l->trainer.step, l->cli.common.out);
    return rc;
}

/* ---- the rehearsal: doctor and --dry-run ---- */
/* The largest grain of the first epoch, or of the updates asked for when they are fewer. */
static int data_grain(learner *l, int64_t steps, hn_forest *most, hn_err *e) {
    int64_t all = hn_dataset_batches(&l->data, batch_rows(l));
    hn_forest f;
    hn_forest_init(&f);
    int rc = HN_OK;
    for (int64_t b = 0; b < all && b < steps && !rc; b++) {
        hn_forest_clear(&f);
        rc = data_step(l, b, &f, NULL, e);
        if (!rc) rc = hn_memory_grain(&f, (int)l->o.train.grain_tokens, most, e);
    }
    hn_forest_release(&f);
    return rc;
}

static int rehearse_data(learner *l, hn_memory_plan *plan, double *per_epoch, hn_err *e) {
    const hn_train_config *t = &l->o.train;
    bool given = l->cli.common.data || (l->task && !(l->algo->needs(l->priv) & HN_NEEDS_PAIRS));
    if (given || l->o.dry_run) {
        int rc = open_data(l, per_epoch);
        if (rc) return rc;
        hn_preflight_ends(&l->rehearsal->found, l->model, &l->data);
        return data_grain(l, hn_loop_steps(t, *per_epoch), &plan->grain, e);
    }
    int64_t sides = l->algo->needs(l->priv) & HN_NEEDS_PAIRS ? 2 : 1, most = l->o.load.max_length;
    int64_t room = hn_transformer_max_len(&l->model->net);
    if (most > room) most = room;
    hn_rehearse_grain(&plan->grain, 1, most, sides, sides * batch_rows(l), t->grain_tokens);
    hn_preflight_say(&l->rehearsal->found, HN_FOUND_SKIP, "data", "",
                     "no --data: rows of %lld tokens are assumed", (long long)most);
    return HN_OK;
}

static int rehearse_rollouts(learner *l, hn_memory_plan *plan, double *per_epoch) {
    enum { PROMPTS = 256, ASSUMED = 256 };
    int64_t longest = ASSUMED, per = l->o.num_generations, max_new = l->o.ask.max_completion_length;
    int rc = l->task || l->o.dry_run ? open_rollouts(l, per_epoch) : HN_OK;
    if (rc) return rc;
    if (l->task && l->model->tok)
        longest = hn_rehearse_prompts(l->rehearsal, l->model, l->task, l->task_priv,
                                      (uint64_t)l->cli.common.seed, PROMPTS, max_new);
    else
        hn_preflight_say(&l->rehearsal->found, HN_FOUND_SKIP, "data", "",
                         "no --task: prompts of %d tokens are assumed", ASSUMED);
    hn_rehearse_grain(&plan->grain, longest, max_new, per, batch_rows(l), l->o.train.grain_tokens);
    plan->generators = 1;
    plan->prompt = longest;
    return HN_OK;
}

/* A fault that the run would end with becomes a failed check; a fault of the command line stays one. */
static int as_check(learner *l, int rc) {
    if (!rc || !l->cli.ready) return rc;
    hn_preflight_say(&l->rehearsal->found, HN_FOUND_FAIL, "data", "", "%s", l->cli.err.msg);
    memset(&l->cli.err, 0, sizeof l->cli.err);
    return HN_OK;
}

static int rehearse_run(learner *l) {
    const hn_train_config *t = &l->o.train;
    hn_rehearsal *r = l->rehearsal;
    hn_err *e = &l->cli.err;
    double per_epoch = 0;
    const hn_params *params = &l->model->net.params;
    hn_memory_plan plan = {
        .config = &l->model->net.cfg, .vocab = l->model->net.vocab, .algo = l->algo, .priv = l->priv
    };
    plan.prec = hn_cli_prec(&l->cli);
    plan.reduce_slots = t->reduce_slots;
    plan.recompute = t->gradient_checkpointing;
    plan.slots = l->o.ask.slots;
    plan.most_new = l->o.ask.max_completion_length;
    l->rollouts = l->algo->needs(l->priv) & HN_NEEDS_ROLLOUT;
    int rc = as_check(l, hn_train_config_check(t, e));
    if (!rc)
        rc = l->rollouts ? rehearse_rollouts(l, &plan, &per_epoch) : rehearse_data(l, &plan, &per_epoch, e);
    if ((rc = as_check(l, rc))) return rc;
    int64_t steps = hn_loop_steps(t, per_epoch);
    if (steps < 1 && l->o.dry_run && !r->found.fails)
        return hn_cli_usage(&l->cli, "nothing to do: num_train_epochs and max_steps leave no update");
    if (steps > 0)
        hn_rehearse_schedule(r, t, t->learning_rate > 0 ? t->learning_rate : l->algo->learning_rate, steps);
    plan.generators += t->eval_steps && l->task;
    if (plan.grain.n_token > 0) hn_rehearse_memory(r, &plan);
    const char *out = l->cli.common.out ? l->cli.common.out : ".";
    if (l->o.dry_run) hn_rehearse_out(r, out, l->o.resume);
    hn_preflight_disk(&r->found, out, params->count, t, steps, l->o.save_dtype ? HN_ST_BF16 : HN_ST_F32);
    return HN_OK;
}

static void check_save(learner *l) {
    const char *out = l->cli.common.out ? l->cli.common.out : ".";
    int64_t few = 32000000; /* parameters: seconds */
    if (l->o.save_check || l->model->net.params.count <= few)
        hn_preflight_save(&l->rehearsal->found, l->cli.common.model, out, hn_cli_prec(&l->cli));
    else
        hn_preflight_say(&l->rehearsal->found, HN_FOUND_SKIP, "save", "",
                         "a large model: --save_check writes it, reads it back and compares");
}

static int rehearse(learner *l) {
    hn_rehearsal r;
    int rc = HN_OK;
    if (l->o.dry_run && (rc = hn_cli_need(&l->cli, "out", l->cli.common.out))) return rc;
    if (l->o.dry_run && (rc = hn_cli_need(&l->cli, "model", l->cli.common.model))) return rc;
    hn_rehearse_begin(&r);
    l->rehearsal = &r;
    if (!l->cli.common.model)
        hn_preflight_say(&r.found, HN_FOUND_SKIP, "model", "", "no --model: nothing more to look at");
    else hn_preflight_model(&r.found, l->cli.common.model, &l->model);
    int weights = r.found.fails;
    if (l->model) rc = rehearse_run(l);
    if (!rc && l->model && !l->o.dry_run && !weights) check_save(l);
    l->rehearsal = NULL;
    return rc ? rc : hn_rehearse_end(&r);
}

static void release(learner *l) {
    hn_record_close(l->record, "failed");
    hn_record_unclaim(&l->claim);
    hn_loop_release(&l->loop);
    json_decref(l->loop.config);
    hn_trainer_close(&l->trainer);
    hn_transformer_release(&l->ref);
    hn_dataset_release(&l->data);
    hn_asker_release(&l->asker);
    hn_asker_release(&l->examiner);
    hn_model_close(l->model);
    hn_cli_task_close(l->task, l->task_priv);
    hn_free(l->priv);
}

static int add_tables(learner *l) {
    hn_cli *c = &l->cli;
    const hn_algo *algo = l->algo;
    bool rollouts = algo->learns_rollouts;
    if (!(l->priv = hn_alloc(algo->priv_size + 1)))
        return hn_fail(&c->err, HN_ENOMEM, "no memory for options");
    int rc = algo->opts ? hn_cli_add(c, algo->name, algo->opts, l->priv) : HN_OK;
    if (!rc) rc = hn_cli_add(c, "Training", hn_train_opts, &l->o.train);
    if (!rc) rc = hn_cli_add(c, "Run", run_table, &l->o);
    if (!rc && rollouts) rc = hn_cli_add(c, "Rollouts", rollout_table, &l->o);
    if (!rc && !rollouts) rc = hn_cli_add(c, "Data", hn_load_opts, &l->o.load);
    if (!rc && !rollouts) rc = hn_cli_add(c, "Order of rows", order_table, &l->o);
    if (!rc && !rollouts) rc = hn_cli_add(c, "Columns", hn_table_opts, &l->o.load.table);
    if (!rc && !rollouts) rc = hn_cli_add(c, "A task's solutions as data", solved_table, &l->o);
    if (!rc && !rollouts) l->o.ask = (hn_ask_config){ .max_completion_length = 256, .slots = 64 };
    if (!rc && l->o.task) rc = hn_cli_task(c, l->o.task, &l->task, &l->task_priv);
    return rc;
}

/* algo NULL: the doctor, who is told whose run to look at. */
static int run_command(const hn_algo *algo, const hn_command *command, int argc, char **argv) {
    learner *l = hn_alloc(sizeof *l);
    if (!l) return hn_cli_no_memory(command);
    hn_cli *c = &l->cli;
    int rc = hn_cli_begin(c, command, argc, argv);
    if (!rc)
        rc = algo ? hn_cli_add(c, "Rehearsal", dry_table, &l->o)
                  : hn_cli_add(c, "Doctor", doctor_table, &l->o);
    l->algo = algo ? algo : l->o.learner ? hn_algo_find(l->o.learner) : NULL;
    if (!rc && !l->algo) rc = hn_cli_usage(c, "no learner named '%s'", l->o.learner);
    if (!rc) rc = add_tables(l);
    if (!rc) rc = hn_cli_ready(c);
    if (!rc && l->o.train.eval_steps && !l->task)
        rc = hn_cli_usage(
            c, "--eval_steps needs --task, whose gate split an evaluation asks; 0: no evaluations");
    if (!rc && l->task) rc = hn_cli_task_open(c, l->task, l->task_priv);
    if (!rc) rc = algo && !l->o.dry_run ? work(l) : rehearse(l);
    release(l);
    rc = hn_cli_end(c, rc);
    hn_free(l);
    return rc;
}

int hn_learn_run(const hn_algo *algo, const hn_command *command, int argc, char **argv) {
    return run_command(algo, command, argc, argv);
}

int hn_learn_doctor(const hn_command *command, int argc, char **argv) {
    return run_command(NULL, command, argc, argv);
}

#define HN_ALGO(name)                                                                                        \
    static int run_##name(int argc, char **argv) {                                                           \
        return hn_learn_run(&hn_algo_##name, &hn_command_##name, argc, argv);                                \
    }                                                                                                        \
    const hn_command hn_command_##name = { #name, NULL, run_##name };
#include "algo/algos.h"
#undef HN_ALGO
