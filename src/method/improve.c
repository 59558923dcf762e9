/* improve.c - rounds of improvement through the gate. */
#include "method/improve.h"
#include "base/io.h"
#include "base/json.h"
#include "cpu/cpu.h"
#include "train/state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
#define AT(field) .at = offsetof(hn_improve_config, field)
const hn_opt hn_improve_opts[] = {
    { .name = "rounds", .help = "rounds of improvement", .type = HN_OPT_INT, AT(rounds), .def = 3, .min = 1, .max = 1000 },
    { .name = "updates_per_round", .help = "most optimizer steps a round", .type = HN_OPT_INT, AT(updates), .def = 20, .min = 1, .max = 1e9 },
    { .name = "prompts_per_round", .help = "prompts a batch of rollouts (grpo: every update; rejection: once a round)",
      .type = HN_OPT_INT, AT(prompts), .def = 32, .min = 1, .max = 1e7 },
    { .name = "num_generations", .help = "answers a prompt", .type = HN_OPT_INT, AT(per), .def = 8, .min = 1, .max = 4096 },
    { .name = "batch_size", .help = "answers an update learns from, where the method collects first", .type = HN_OPT_INT,
      AT(batch), .def = 64, .min = 1, .max = 1e6 },
    { .name = "gate_items", .help = "items of the gate split that decide a round", .type = HN_OPT_INT, AT(gate_items), .def = 300, .min = 10, .max = 1e6 },
    { .name = "test_items", .help = "items of the test split, opened once after the last round", .type = HN_OPT_INT,
      AT(test_items), .def = 300, .min = 10, .max = 1e6 },
    { .name = "alpha", .help = "chance of accepting noise in any of the rounds, in all", .type = HN_OPT_NUM, AT(alpha), .def = 0.05, .min = 1e-9, .max = 0.5 },
    { .name = "alpha_rule", .help = "how the rounds share alpha", .type = HN_OPT_ENUM, AT(alpha_rule), .choices = "equal|decay" },
    { 0 },
};
#undef AT
/* clang-format on */

/* ---- what a rollback restores ---- */
typedef struct {
    hn_real *block[3]; /* weights and both moments */
    int64_t step;
} snapshot;

static size_t bytes(const hn_improve *im) { return (size_t)im->model->net.params.count * sizeof(hn_real); }

static hn_real **live(hn_improve *im, int k) {
    hn_params *p = &im->model->net.params;
    return k ? &p->moment[k - 1] : &p->value;
}

static int snapshot_new(hn_improve *im, snapshot *s, hn_err *e) {
    for (int k = 0; k < 3; k++)
        if (!(s->block[k] = hn_big_alloc(bytes(im))))
            return hn_fail(e, HN_ENOMEM, "no memory to keep the model for a rollback");
    return HN_OK;
}

static void snapshot_free(hn_improve *im, snapshot *s) {
    for (int k = 0; k < 3; k++) hn_big_free(s->block[k], bytes(im));
}

static void snapshot_take(hn_improve *im, snapshot *s, const hn_trainer *t) {
    for (int k = 0; k < 3; k++) memcpy(s->block[k], *live(im, k), bytes(im));
    s->step = t->step;
}

static int snapshot_restore(hn_improve *im, const snapshot *s, hn_trainer *t, hn_err *e) {
    for (int k = 0; k < 3; k++) memcpy(*live(im, k), s->block[k], bytes(im));
    t->step = s->step;
    return hn_params_refresh(&im->model->net.params, e);
}

/* ---- a round ---- */
typedef struct {
    hn_improve *im;
    hn_trainer *t;
    hn_buf dir; /* out/round-K */
    hn_log *data;
    int64_t round, tokens, answers;
    double start;       /* of the round, for its cost */
    char data_hash[65]; /* of data.jsonl */
    json_t *done;       /* rounds so far: [{round, accepted}] */
} run;

static int record(void *ctx, const hn_asked *a, hn_err *e) {
    run *r = ctx;
    int rc = HN_OK;
    r->tokens += a->tokens;
    r->answers += a->n * a->per;
    for (int64_t i = 0; i < a->n * a->per && !rc; i++) {
        static const char *const verdict[] = { "fail", "pass", "error" };
        const hn_answer *w = &a->answer[i];
        const hn_item *it = &a->item[i / a->per];
        json_t *j =
            json_pack("{s:s?, s:s?, s:O?, s:s%, s:s, s:f, s:i, s:b}", "id", it->id, "prompt", it->prompt,
                      "messages", it->messages, "completion", w->text, strlen(w->text), "verdict",
                      verdict[w->verdict], "reward", w->reward, "tokens", w->n, "truncated", w->cut);
        char *line = j ? json_dumps(j, JSON_COMPACT) : NULL;
        json_decref(j);
        if (!line) return hn_fail(e, HN_ENOMEM, "no memory for a sample");
        rc = hn_log_add(r->data, line, strlen(line), e);
        if (!rc) rc = hn_log_add(r->data, "\n", 1, e);
        free(line);
    }
    return rc;
}

static int learn(run *r, hn_err *e) {
    hn_improve *im = r->im;
    hn_round round = { .model = im->model,
                       .asker = &im->asker,
                       .seed = im->seed,
                       .round = r->round,
                       .prompts = im->cfg.prompts };
    round.per = im->cfg.per;
    round.batch = im->cfg.batch;
    round.record = record;
    round.ctx = r;
    hn_metrics m = { 0 };
    hn_forest f;
    hn_forest_init(&f);
    if (im->watch.phase) im->watch.phase(im->watch.ctx, r->round, "learn", im->cfg.updates);
    int rc = im->method->begin ? im->method->begin(im->method_priv, &round, &m, e) : HN_OK;
    for (int64_t i = 0; i < im->cfg.updates && !rc; i++) {
        hn_forest_clear(&f);
        rc = im->method->step(im->method_priv, &round, i, &f, &m, e);
        if (rc || !f.n_tree) break;
        rc = hn_trainer_prepare(r->t, &f, &m, e);
        for (int64_t k = 0; k < im->train.num_iterations && !rc; k++) rc = hn_trainer_update(r->t, &f, &m, e);
        if (!rc && im->watch.metrics) rc = im->watch.metrics(im->watch.ctx, r->t->step, &m, e);
        if (!rc && im->watch.progress) im->watch.progress(im->watch.ctx, i + 1, r->tokens);
        if (!rc && im->watch.stop && im->watch.stop(im->watch.ctx))
            rc = hn_fail(e, HN_ESTOP, "stopped in round %lld; --resume repeats it", (long long)r->round);
        hn_metrics_clear(&m);
    }
    if (im->method->end) im->method->end(im->method_priv);
    hn_forest_release(&f);
    hn_metrics_release(&m);
    return rc;
}

static json_t *exam_json(const hn_exam *x) {
    hn_interval w = hn_wilson(x->passed, x->n, 0.95);
    return json_pack("{s:I, s:I, s:I, s:f, s:[f,f]}", "items", (json_int_t)x->n, "passed",
                     (json_int_t)x->passed, "errors", (json_int_t)x->errors, "rate",
                     (double)x->passed / (double)x->n, "wilson95", w.lo, w.hi);
}

/* 17 digits read back to the same number; people read fewer. */
static int write_json(const char *dir, const char *name, const json_t *j, size_t digits, hn_err *e) {
    hn_buf path = { 0 };
    char *text = j ? json_dumps(j, JSON_INDENT(2) | JSON_REAL_PRECISION(digits)) : NULL;
    int rc = text && hn_path_join(&path, dir, name) ? hn_file_write(path.data, text, strlen(text), e)
                                                    : hn_fail(e, HN_ENOMEM, "no memory to write %s", name);
    free(text);
    hn_buf_free(&path);
    return rc;
}

static int write_exam(const char *dir, const char *name, const hn_exam *before, const hn_exam *after,
                      hn_err *e) {
    hn_buf b = { 0 }, path = { 0 };
    static const char *const verdict[] = { "fail", "pass", "error" };
    for (int64_t i = 0; i < before->n; i++) {
        json_t *j = json_pack("{s:s, s:s, s:s}", "id", before->id[i], "before", verdict[before->verdict[i]],
                              "after", verdict[after->verdict[i]]);
        char *line = j ? json_dumps(j, JSON_COMPACT) : NULL;
        if (line) hn_buf_str(&b, line), hn_buf_chr(&b, '\n');
        else b.oom = true;
        free(line);
        json_decref(j);
    }
    int rc = b.oom || !hn_path_join(&path, dir, name) ? hn_fail(e, HN_ENOMEM, "no memory to write %s", name)
                                                      : hn_file_write(path.data, b.data, b.n, e);
    hn_buf_free(&b);
    hn_buf_free(&path);
    return rc;
}

static void weights_hash(const hn_improve *im, char hex[65]) {
    hn_sha256(im->model->net.params.value, bytes(im), hex);
}

static json_t *receipt_json(const run *r, const hn_exam *before, const hn_exam *after, bool ok, double alpha,
                            const char *was) {
    const hn_improve *im = r->im;
    hn_mcnemar test = hn_exam_compare(before, after);
    char is[65];
    weights_hash(im, is);
    char *config = json_dumps(im->config, JSON_SORT_KEYS | JSON_COMPACT), hash[65] = "";
    if (config) hn_sha256(config, strlen(config), hash);
    free(config);
    json_t *j = json_pack("{s:I, s:s, s:s, s:I, s:b, s:{s:s, s:s, s:I, s:I, s:f, s:f, s:f, s:s}}", "round",
                          (json_int_t)r->round, "method", im->method->name, "learner", im->algo->name,
                          "parent", (json_int_t)im->head, "accepted", ok, "gate", "test",
                          "exact McNemar, one-sided, paired by item", "split", "gate", "gained",
                          (json_int_t)test.gained, "lost", (json_int_t)test.lost, "p", test.p_better, "alpha",
                          alpha, "alpha_total", im->cfg.alpha, "alpha_rule",
                          hn_alpha_name((hn_alpha_rule)im->cfg.alpha_rule));
    if (!j) return NULL;
    int bad = json_object_set_new(j, "before", exam_json(before)) |
              json_object_set_new(j, "after", exam_json(after));
    bad |= json_object_set_new(j, "hashes",
                               json_pack("{s:s, s:s, s:s, s:s}", "weights_before", was, "weights_after", is,
                                         "config", hash, "data", r->data_hash));
    bad |= json_object_set_new(j, "cost",
                               json_pack("{s:I, s:I, s:I, s:f}", "answers", (json_int_t)r->answers,
                                         "generated_tokens", (json_int_t)r->tokens, "updates_so_far",
                                         (json_int_t)r->t->step, "seconds", hn_now() - r->start));
    bad |= json_object_set_new(j, "tier", json_string(hn_cpu_tier_name()));
    bad |= json_object_set(j, "config", im->config);
    if (!bad) return j;
    json_decref(j);
    return NULL;
}

/* Which model is the run's: written after every round, in one step. */
static int write_head(run *r, hn_err *e) {
    json_t *j = json_pack("{s:I, s:O, s:O, s:s, s:s}", "head", (json_int_t)r->im->head, "rounds", r->done,
                          "config", r->im->config, "given", r->im->model->dir, "tier", hn_cpu_tier_name());
    int rc = write_json(r->im->out, "improve.json", j, 17, e);
    json_decref(j);
    return rc;
}

static int keep_model(run *r, hn_err *e) {
    hn_buf path = { 0 };
    if (!hn_path_join(&path, r->dir.data, "model")) return hn_fail(e, HN_ENOMEM, "no memory for a path");
    int rc = hn_state_save(r->im->model, path.data, r->t->step, e);
    if (!rc && !hn_path_join(&path, r->im->out, "model")) rc = hn_fail(e, HN_ENOMEM, "no memory for a path");
    if (!rc) rc = hn_model_save(r->im->model, path.data, HN_ST_F32, true, NULL, NULL, e);
    hn_buf_free(&path);
    return rc;
}

static int open_round(run *r, hn_err *e) {
    char name[32];
    hn_buf path = { 0 };
    snprintf(name, sizeof name, "round-%lld", (long long)r->round);
    r->tokens = r->answers = 0;
    r->start = hn_now();
    int rc = hn_path_join(&r->dir, r->im->out, name) ? hn_dir_remove(r->dir.data, e)
                                                     : hn_fail(e, HN_ENOMEM, "no memory for a path");
    if (!rc) rc = hn_dir_make(r->dir.data, e);
    if (!rc && !hn_path_join(&path, r->dir.data, "data.jsonl"))
        rc = hn_fail(e, HN_ENOMEM, "no memory for a path");
    if (!rc) rc = hn_log_open(&r->data, path.data, 0, e);
    hn_buf_free(&path);
    return rc;
}

/* Learns, examines, decides.  `before` becomes the exam of the model that goes on. */
static int one_round(run *r, snapshot *back, hn_exam *before, hn_err *e) {
    hn_improve *im = r->im;
    char was[65];
    hn_exam after = { 0 };
    weights_hash(im, was);
    snapshot_take(im, back, r->t);
    int rc = open_round(r, e);
    if (!rc) rc = learn(r, e);
    if (!rc) rc = hn_log_sync(r->data, e);
    hn_buf path = { 0 };
    if (!rc)
        rc = hn_path_join(&path, r->dir.data, "data.jsonl") ? hn_file_sha256(path.data, r->data_hash, e)
                                                            : hn_fail(e, HN_ENOMEM, "no memory for a path");
    hn_buf_free(&path);
    if (im->watch.phase && !rc) im->watch.phase(im->watch.ctx, r->round, "gate", before->n);
    if (!rc) rc = hn_exam_take(&im->examiner, HN_SPLIT_GATE, im->seed, im->cfg.gate_items, &after, e);
    if (!rc) {
        hn_mcnemar test = hn_exam_compare(before, &after);
        double alpha =
            hn_alpha_of_round((hn_alpha_rule)im->cfg.alpha_rule, im->cfg.alpha, im->cfg.rounds, r->round);
        bool ok = test.p_better <= alpha && test.gained > test.lost;
        json_t *receipt = receipt_json(r, before, &after, ok, alpha, was);
        rc = receipt ? write_exam(r->dir.data, "gate.jsonl", before, &after, e)
                     : hn_fail(e, HN_ENOMEM, "no memory for a receipt");
        if (!rc && ok) rc = keep_model(r, e);
        if (!rc) rc = write_json(r->dir.data, "receipt.json", receipt, 10, e);
        if (!rc && ok) {
            im->head = r->round;
            im->accepted++;
            hn_exam swap = *before;
            *before = after;
            after = swap;
        } else if (!rc) {
            rc = snapshot_restore(im, back, r->t, e);
        }
        if (!rc && json_array_append_new(
                       r->done, json_pack("{s:I, s:b}", "round", (json_int_t)r->round, "accepted", ok)))
            rc = hn_fail(e, HN_ENOMEM, "no memory for the list of rounds");
        if (!rc) rc = write_head(r, e);
        if (!rc && im->watch.receipt) rc = im->watch.receipt(im->watch.ctx, r->round, receipt, e);
        json_decref(receipt);
    }
    hn_log_close(r->data);
    r->data = NULL;
    hn_exam_release(&after);
    return rc;
}

/* ---- the whole ---- */
static int load_run(run *r, hn_err *e) {
    hn_improve *im = r->im;
    hn_buf path = { 0 };
    int rc =
        hn_path_join(&path, im->out, "improve.json") ? HN_OK : hn_fail(e, HN_ENOMEM, "no memory for a path");
    if (!rc && hn_path_exists(path.data)) {
        json_t *j;
        rc = hn_json_read(&j, path.data, e);
        json_t *rounds = json_object_get(j, "rounds");
        const json_t *head = json_object_get(j, "head");
        if (!rc && (!json_is_array(rounds) || !json_is_integer(head)))
            rc = hn_fail(e, HN_EPARSE, "%s: not a run this program wrote", path.data);
        if (!rc) rc = hn_state_same_config(json_object_get(j, "config"), im->config, path.data, e);
        const char *tier = json_string_value(json_object_get(j, "tier"));
        if (!rc && tier && strcmp(tier, hn_cpu_tier_name()))
            rc = hn_fail(
                e, HN_EUNSUP,
                "%s: the run was on the %s kernels and this one is on %s: the numbers would differ in "
                "the last bits. Set HONE_TIER=%s, or give another --out for a new run",
                path.data, tier, hn_cpu_tier_name(), tier);
        if (!rc) {
            im->head = json_integer_value(head);
            json_decref(r->done);
            r->done = json_incref(rounds);
            size_t i;
            json_t *x;
            json_array_foreach(rounds, i, x) im->accepted += json_is_true(json_object_get(x, "accepted"));
        }
        json_decref(j);
    }
    if (!rc && im->head > 0) {
        char name[48];
        snprintf(name, sizeof name, "round-%lld/model", (long long)im->head);
        rc = hn_path_join(&path, im->out, name) ? hn_state_load(im->model, path.data, &r->t->step, e)
                                                : hn_fail(e, HN_ENOMEM, "no memory for a path");
    }
    hn_buf_free(&path);
    return rc;
}

static int final_test(run *r, const snapshot *first, snapshot *back, hn_err *e) {
    hn_improve *im = r->im;
    if (im->watch.phase) im->watch.phase(im->watch.ctx, 0, "test", 2 * im->cfg.test_items);
    int rc = hn_exam_take(&im->examiner, HN_SPLIT_TEST, im->seed, im->cfg.test_items, &im->after, e);
    snapshot_take(im, back, r->t);
    if (!rc) rc = snapshot_restore(im, first, r->t, e);
    if (!rc) rc = hn_exam_take(&im->examiner, HN_SPLIT_TEST, im->seed, im->cfg.test_items, &im->before, e);
    if (!rc) rc = snapshot_restore(im, back, r->t, e);
    if (rc) return rc;
    hn_mcnemar test = hn_exam_compare(&im->before, &im->after);
    im->final = json_pack("{s:s, s:s, s:o, s:o, s:I, s:I, s:f, s:f, s:I, s:I}", "split", "test", "test",
                          "exact McNemar, paired by item", "before", exam_json(&im->before), "after",
                          exam_json(&im->after), "gained", (json_int_t)test.gained, "lost",
                          (json_int_t)test.lost, "p_better", test.p_better, "p_two_sided", test.p_two,
                          "rounds_accepted", (json_int_t)im->accepted, "head", (json_int_t)im->head);
    rc = im->final ? write_exam(im->out, "test.jsonl", &im->before, &im->after, e)
                   : hn_fail(e, HN_ENOMEM, "no memory for the last receipt");
    return rc ? rc : write_json(im->out, "receipt.json", im->final, 10, e);
}

static bool forward(void *ctx, int64_t done, int64_t all, int64_t tokens) {
    hn_improve *im = ctx;
    (void)all;
    if (im->watch.progress) im->watch.progress(im->watch.ctx, done, tokens);
    return im->watch.stop && im->watch.stop(im->watch.ctx);
}

int hn_improve_run(hn_improve *im, bool resume, hn_err *e) {
    hn_trainer t = { .algo = im->algo,
                     .priv = im->algo_priv,
                     .cfg = im->train,
                     .model = &im->model->net,
                     .steps = im->cfg.rounds * im->cfg.updates };
    t.temperature = im->algo->needs(im->algo_priv) & HN_NEEDS_ROLLOUT ? im->asker.cfg.how.temperature : 1;
    hn_transformer ref = { 0 };
    snapshot first = { 0 }, back = { 0 };
    hn_exam before = { 0 };
    run r = { .im = im, .t = &t, .done = json_array() };
    im->examiner.progress = forward;
    im->examiner.ctx = im;
    im->asker.model = im->examiner.model = im->model;
    int rc = r.done ? hn_trainer_open(&t, e) : hn_fail(e, HN_ENOMEM, "no memory for a run");
    if (!rc && im->algo->needs(im->algo_priv) & HN_NEEDS_REF &&
        !(rc = hn_model_copy(&ref, &im->model->net, e)))
        t.ref = &ref;
    if (!rc) rc = hn_dir_make(im->out, e);
    if (!rc) rc = snapshot_new(im, &first, e);
    if (!rc) rc = snapshot_new(im, &back, e);
    if (!rc) snapshot_take(im, &first, &t);
    if (!rc && resume) rc = load_run(&r, e);
    if (!rc && im->watch.phase) im->watch.phase(im->watch.ctx, 0, "gate", im->cfg.gate_items);
    int64_t next = (int64_t)json_array_size(r.done) + 1;
    if (!rc && next <= im->cfg.rounds)
        rc = hn_exam_take(&im->examiner, HN_SPLIT_GATE, im->seed, im->cfg.gate_items, &before, e);
    for (r.round = next; r.round <= im->cfg.rounds && !rc; r.round++) rc = one_round(&r, &back, &before, e);
    if (!rc) rc = final_test(&r, &first, &back, e);
    hn_exam_release(&before);
    snapshot_free(im, &first);
    snapshot_free(im, &back);
    hn_trainer_close(&t);
    hn_transformer_release(&ref);
    hn_buf_free(&r.dir);
    json_decref(r.done);
    return rc;
}

void hn_improve_release(hn_improve *im) {
    hn_asker_release(&im->asker);
    hn_asker_release(&im->examiner);
    hn_exam_release(&im->before);
    hn_exam_release(&im->after);
    json_decref(im->final);
    im->final = NULL;
}

int hn_improve_rollback(const char *out, int64_t round, int64_t *head, hn_err *e) {
    hn_buf path = { 0 }, from = { 0 };
    json_t *j = NULL;
    int rc = hn_path_join(&path, out, "improve.json") ? HN_OK : hn_fail(e, HN_ENOMEM, "no memory for a path");
    if (!rc && hn_path_exists(path.data)) rc = hn_json_read(&j, path.data, e);
    json_t *rounds = json_object_get(j, "rounds");
    if (!rc && !json_is_array(rounds))
        rc = hn_fail(e, HN_EPARSE, "%s: there is no run of hone improve here", path.data);
    int64_t now = json_integer_value(json_object_get(j, "head")), to = 0;
    bool known = round <= 0;
    for (size_t i = 0; !rc && i < json_array_size(rounds); i++) {
        const json_t *r = json_array_get(rounds, i);
        int64_t n = json_integer_value(json_object_get(r, "round"));
        if (!json_is_true(json_object_get(r, "accepted"))) continue;
        if (round < 0 && n < now) to = n;
        if (round > 0 && n == round) to = n, known = true;
    }
    if (!rc && !known)
        rc = hn_fail(e, HN_ERANGE, "%s: round %lld was not accepted: there is nothing to go back to",
                     path.data, (long long)round);
    if (!rc && round < 0 && !now)
        rc = hn_fail(e, HN_ERANGE, "%s: no accepted round is left to take back", path.data);
    const char *given = json_string_value(json_object_get(j, "given"));
    char name[48];
    snprintf(name, sizeof name, "round-%lld/model", (long long)to);
    if (!rc && !(to ? hn_path_join(&from, out, name) : hn_path_join(&from, given ? given : "", ".")))
        rc = hn_fail(e, HN_ENOMEM, "no memory for a path");
    hn_model *m = NULL;
    if (!rc) rc = hn_model_open(&m, from.data, HN_PREC_F32, e);
    if (!rc && !hn_path_join(&path, out, "model")) rc = hn_fail(e, HN_ENOMEM, "no memory for a path");
    if (!rc) rc = hn_model_save(m, path.data, HN_ST_F32, true, NULL, NULL, e);
    if (!rc && json_object_set_new(j, "head", json_integer(to))) rc = hn_fail(e, HN_ENOMEM, "no memory");
    if (!rc) rc = write_json(out, "improve.json", j, 17, e);
    *head = to;
    hn_model_close(m);
    json_decref(j);
    hn_buf_free(&path);
    hn_buf_free(&from);
    return rc;
}
