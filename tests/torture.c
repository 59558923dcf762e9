/* torture.c - a step of learning, of generating and of examining where the n-th allocation fails, for all n.
 *
 * Each failure is HN_ENOMEM, leaks nothing, and leaves things so that the same call works once there is
 * memory: an update that is tried again gives the bits of an undisturbed one.  jansson asks at the same door.
 */
#include "torture.h"

#include "base/io.h"
#include "cpu/backend.h"
#include "data/solved.h"
#include "gen/say.h"
#include "method/improve.h"
#include "plugin.h"
#include "task_open.h"

#include <jansson.h>

static hn_model *model; /* the policy as it begins */
static opened arith;
static hn_task odd; /* its items, and a verdict that a model of nothing can meet */
static const hn_train_config train = { .learning_rate = 0.01,
                                       .adam_beta1 = 0.9,
                                       .adam_beta2 = 0.999,
                                       .adam_epsilon = 1e-8,
                                       .max_grad_norm = 1,
                                       .grain_tokens = 64,
                                       .reduce_slots = 2,
                                       .num_iterations = 1 };
static const hn_ask_config ask = { .max_completion_length = 12, .slots = 3, .how = { 1, 1, 0, 0 } };

static hn_verdict is_odd(const void *priv, const hn_item *it, const char *text, size_t n, double *reward,
                         hn_err *why) {
    (void)priv, (void)it, (void)text;
    return n % 2 ? hn_verdict_pass(reward) : hn_verdict_fail(reward, why, "%zu bytes", n);
}

/* ---- a model of nothing ---- */
static void make_model(void) {
    hn_err e = { 0 };
    hn_hfconfig k;
    hn_buf text = { 0 };
    model = hn_alloc(sizeof *model);
    model->dir = hn_strdup("made by the test");
    for (int i = 0; i < 30; i++) {
        hn_item it = must_item(&arith, HN_SPLIT_TRAIN, 1, i);
        hn_buf_fmt(&text, "%s%s\n", it.prompt, it.solution);
        hn_item_release(&it);
    }
    hn_tok_recipe r = { .vocab = 280 };
    ok(hn_tok_train(&model->tok, text.data, text.n, &r, &e), &e);
    hn_buf_free(&text);
    hn_hfconfig_default(&k, HN_ARCH_LLAMA);
    k.vocab_size = hn_tok_size(model->tok);
    k.hidden_size = 16, k.intermediate_size = 24, k.n_layer = 2, k.n_head = 2, k.n_kv_head = 1,
    k.head_dim = 8;
    k.max_position_embeddings = 256;
    k.tied = true;
    ok(hn_transformer_init(&model->net, &k, &e), &e);
    ok(hn_params_build(&model->net.params, &hn_backend_cpu, HN_PREC_F32, &e), &e);
    hn_params_random(&model->net.params, 3, 0.1);
    ok(hn_params_refresh(&model->net.params, &e), &e);
    model->stop[model->n_stop++] = hn_model_eos(model);
    while (model->n_stop < HN_EOS_MAX)
        model->stop[model->n_stop] = 20 + model->n_stop, model->n_stop++; /* some answers end */
}

/* ---- one update ---- */
typedef struct learner {
    const hn_algo *algo;
    void *priv;
    const hn_method *method; /* NULL: a data set */
    void *method_priv;
} learner;

typedef struct run {
    const learner *l;
    hn_model policy;
    hn_transformer ref;
    hn_dataset data;
    hn_asker asker;
    hn_trainer trainer;
    hn_forest f;
    hn_metrics m;
} run;

static int rows(run *r, hn_err *e) {
    int64_t over = 0;
    if (r->l->algo != hn_algo_find("dpo"))
        return hn_solved_rows(&r->policy, arith.t, arith.priv, 5, 0, 3, false, 200, &r->data, &over, e);
    r->data.kind = HN_DATA_PAIR;
    for (int32_t i = 0; i < 2; i++) {
        const int32_t prompt[] = { 5, 6 + i, 7 }, chosen[] = { 8, 9 }, rejected[] = { 10 + i };
        int rc = hn_dataset_pair(&r->data, prompt, 3, chosen, 2, rejected, 1, e);
        if (rc) return rc;
    }
    return HN_OK;
}

static int start(run *r, const learner *l, hn_err *e) {
    *r = (run){ .l = l, .policy = *model };
    memset(&r->policy.net, 0, sizeof r->policy.net);
    hn_forest_init(&r->f);
    int rc = hn_model_copy(&r->policy.net, &model->net, e);
    r->trainer = (hn_trainer){
        .algo = l->algo, .priv = l->priv, .cfg = train, .model = &r->policy.net, .temperature = 1, .steps = 3
    };
    if (!rc && l->algo->needs(l->priv) & HN_NEEDS_REF) {
        rc = hn_model_copy(&r->ref, &model->net, e);
        r->trainer.ref = &r->ref;
    }
    r->asker = (hn_asker){ .model = &r->policy, .task = &odd, .priv = arith.priv, .cfg = ask };
    if (!rc) rc = hn_trainer_open(&r->trainer, e);
    if (!rc && !l->method) rc = rows(r, e);
    return rc;
}

static int forest(run *r, hn_err *e) {
    hn_round round = {
        .model = &r->policy, .asker = &r->asker, .seed = 5, .round = 1, .prompts = 2, .per = 2, .batch = 2
    };
    if (!r->l->method) return hn_dataset_batch(&r->data, 5, 0, 2, &r->f, e);
    int rc = r->l->method->begin ? r->l->method->begin(r->l->method_priv, &round, &r->m, e) : HN_OK;
    if (!rc) rc = r->l->method->step(r->l->method_priv, &round, 0, &r->f, &r->m, e);
    if (r->l->method->end) r->l->method->end(r->l->method_priv);
    return rc;
}

static int update(run *r, hn_err *e) {
    hn_forest_clear(&r->f);
    hn_metrics_clear(&r->m);
    r->m.oom = false;
    int rc = forest(r, e);
    if (!rc && r->f.n_tree) rc = hn_trainer_prepare(&r->trainer, &r->f, &r->m, e);
    if (!rc && r->f.n_tree) rc = hn_trainer_update(&r->trainer, &r->f, &r->m, e);
    return !rc && r->m.oom ? hn_fail(e, HN_ENOMEM, "no memory for metrics") : rc;
}

static void finish(run *r) {
    hn_trainer_close(&r->trainer);
    hn_asker_release(&r->asker);
    hn_transformer_release(&r->policy.net);
    hn_transformer_release(&r->ref);
    hn_dataset_release(&r->data);
    hn_forest_release(&r->f);
    hn_metrics_release(&r->m);
}

static int whole(void *ctx, hn_err *e) {
    run r;
    int rc = start(&r, ctx, e);
    if (!rc) rc = update(&r, e);
    finish(&r);
    return rc;
}

static void hash(const run *r, char hex[65]) {
    const hn_params *p = &r->policy.net.params;
    hn_sha256(p->value, (size_t)p->count * sizeof *p->value, hex);
}

/* The update fails at each allocation of its own, and is then tried again in the same run. */
static void again(const learner *l) {
    char want[65], got[65];
    hn_err e = { 0 };
    run r;
    ok(start(&r, l, &e), &e);
    hash(&r, got);
    ok(update(&r, &e), &e);
    hash(&r, want);
    assert_string_not_equal(want, got);
    finish(&r);
    for (long n = 0;; n++) {
        ok(start(&r, l, &e), &e);
        hn_alloc_fuse = n;
        int rc = update(&r, &e);
        hn_alloc_fuse = -1;
        if (rc && rc != HN_ENOMEM) fail_msg("allocation %ld: %s", n, e.msg);
        memset(&e, 0, sizeof e);
        if (rc && !r.trainer.step) ok(update(&r, &e), &e);
        assert_int_equal(r.trainer.step, 1);
        hash(&r, got);
        assert_string_equal(got, want);
        finish(&r);
        if (!rc) return;
    }
}

static void learns(const char *algo, const char *const *set, const hn_method *method) {
    const hn_algo *a = hn_algo_find(algo);
    learner l = { a, options_of(a->name, a->priv_size, a->opts, set), method, NULL };
    if (method) l.method_priv = options_of(method->name, method->priv_size, method->opts, NULL);
    assert_true(torture(whole, &l) > 100);
    again(&l);
    hn_free(l.priv);
    hn_free(l.method_priv);
}

static void sft(void **s) {
    (void)s;
    learns("sft", NULL, NULL);
}
static void dpo(void **s) {
    (void)s;
    learns("dpo", NULL, NULL);
}
static void grpo(void **s) {
    (void)s;
    learns("grpo", (const char *const[]){ "beta", "0.1", NULL }, &hn_method_grpo);
}

/* ---- answers ---- */
static bool stream(void *ctx, int64_t index, const char *text, size_t n) {
    (void)index, (void)text;
    *(size_t *)ctx += n;
    return false;
}

static int says(void *ctx, hn_err *e) {
    static const char *stops[] = { " #" };
    size_t told = 0;
    hn_ids prompt[2] = { { 0 }, { 0 } };
    hn_said said[4] = { { .n = 0 } };
    hn_say s = { .model = model, .seed = 3, .stream = stream, .ctx = &told };
    (void)ctx;
    s.cfg = (hn_say_config){ .how = { 1, 0.9, 0, 20 }, .max_new_tokens = 12, .slots = 2 };
    s.cfg.stop = (hn_strs){ .s = stops, .n = 1 };
    int rc = hn_model_prompt(model, "Q: Tom has", NULL, &prompt[0], e);
    if (!rc) rc = hn_model_prompt(model, "A", NULL, &prompt[1], e);
    if (!rc) rc = hn_say_run(&s, prompt, 2, 2, 0, said, e);
    if (!rc && !told) rc = hn_fail(e, HN_EPARSE, "nothing was said");
    for (int i = 0; i < 4; i++) hn_said_release(&said[i]);
    for (int i = 0; i < 2; i++) hn_ids_free(&prompt[i]);
    hn_say_release(&s);
    return rc;
}

static int examines(void *ctx, hn_err *e) {
    hn_asker k = { .model = model, .task = arith.t, .priv = arith.priv, .cfg = ask };
    hn_exam x = { 0 };
    (void)ctx;
    int rc = hn_exam_take(&k, HN_SPLIT_GATE, 3, 3, &x, e);
    hn_exam_release(&x);
    hn_asker_release(&k);
    return rc;
}

static void rejection(void **s) {
    (void)s;
    learns("sft", NULL, &hn_method_rejection);
}
static void generation(void **s) {
    (void)s;
    assert_true(torture(says, NULL) > 30);
    assert_true(torture(examines, NULL) > 30);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sft),       cmocka_unit_test(dpo),        cmocka_unit_test(grpo),
        cmocka_unit_test(rejection), cmocka_unit_test(generation),
    };
    hn_err e = { 0 };
    json_set_alloc_funcs(hn_alloc, hn_free);
    if (hn_cpu_open(NULL, &e)) {
        print_error("%s\n", e.msg);
        return 1;
    }
    arith = must_open(hn_task_find("arith", &e), NULL);
    odd = *arith.t;
    odd.verify = is_odd;
    make_model();
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    hn_model_close(model);
    shut(&arith);
    return rc;
}
