/* model.c - training and generation rates of the reference model of the CPU study: d 512, 8 layers, 8 heads,
 * FFN 1408, vocabulary 4096, untied, 29.9 M parameters; batch 8 x 256.
 *
 * usage: model train|generate f32|bf16 THREADS SECONDS [BATCH] [profile]      prints one number: tokens a
 * second */
#include "base/pool.h"
#include "cpu/backend.h"
#include "cpu/cpu.h"
#include "gen/gen.h"
#include "train/train.h"

#include <stdlib.h>
#include <string.h>

static void must(int rc, const hn_err *e) {
    if (rc >= 0) return;
    fprintf(stderr, "bench: %s\n", e->msg);
    exit(1);
}

static void reference(hn_transformer *m, hn_prec prec) {
    hn_err e = { 0 };
    hn_hfconfig c;
    hn_hfconfig_default(&c, HN_ARCH_LLAMA);
    c.vocab_size = 4096;
    c.hidden_size = 512;
    c.intermediate_size = 1408;
    c.n_layer = c.n_head = c.n_kv_head = 8;
    c.head_dim = 64;
    c.max_position_embeddings = 2048;
    c.tied = false;
    must(hn_hfconfig_check(&c, "bench", &e), &e);
    must(hn_transformer_init(m, &c, &e), &e);
    must(hn_params_build(&m->params, &hn_backend_cpu, prec, &e), &e);
    hn_params_random(&m->params, 1, 0.02);
    must(hn_params_refresh(&m->params, &e), &e);
}

/* Seconds by op since the last call. */
static void profile_of(hn_tape *t, bool print) {
    hn_buf b = { 0 };
    hn_tape_profile(t, &b, true);
    if (print) fprintf(stderr, "%s", b.data);
    hn_buf_free(&b);
}

static double train(hn_transformer *m, double seconds, bool profile) {
    enum { ROWS = 8, LEN = 256 };
    hn_err e = { 0 };
    hn_forest f;
    hn_metrics metrics = { 0 };
    hn_trainer t = { .algo = hn_algo_find("sft"), .model = m, .steps = 1000000, .temperature = 1 };
    t.cfg = (hn_train_config){ .learning_rate = 1e-4,
                               .adam_beta1 = 0.9,
                               .adam_beta2 = 0.999,
                               .adam_epsilon = 1e-8,
                               .max_grad_norm = 1 };
    t.cfg.lr_scheduler_type = HN_LR_CONSTANT;
    t.cfg.grain_tokens = 2048;
    t.cfg.reduce_slots = t.cfg.num_iterations = 1;
    must(hn_trainer_open(&t, &e), &e);
    hn_forest_init(&f);
    double start = 0;
    int64_t tokens = 0;
    for (int step = 0;; step++) {
        int32_t id[LEN];
        if (step == 2) { /* after planning and first touches */
            profile_of(t.pass.tape, false);
            t.seconds_train = 0;
            start = hn_now(), tokens = 0;
        }
        if (step > 2 && hn_now() - start > seconds) break;
        hn_forest_clear(&f);
        for (int r = 0; r < ROWS; r++) {
            for (int i = 0; i < LEN; i++)
                id[i] = (int32_t)(hn_rand(1, (uint64_t)step, (uint64_t)(r * LEN + i)) % 4096);
            must(hn_forest_tree(&f, &e), &e);
            int s = hn_forest_span(&f, -1, id, LEN, &e);
            must(hn_forest_sample(&f, &e), &e);
            for (int i = 1; i < LEN; i++) must(hn_forest_act(&f, s, i, &e), &e);
        }
        must(hn_trainer_prepare(&t, &f, &metrics, &e), &e);
        must(hn_trainer_update(&t, &f, &metrics, &e), &e);
        tokens += ROWS * LEN;
    }
    double rate = (double)tokens / (hn_now() - start);
    if (profile) {
        profile_of(t.pass.tape, true);
        fprintf(stderr, "(%.3f s in updates)\n", t.seconds_train);
    }
    hn_trainer_close(&t);
    hn_forest_release(&f);
    hn_metrics_release(&metrics);
    return rate;
}

static double generate(hn_transformer *m, double seconds, int batch, bool profile) {
    enum { PROMPT = 16, NEW = 128 };
    hn_err e = { 0 };
    hn_gen *g;
    hn_request *r = hn_alloc((size_t)batch * sizeof *r);
    int32_t *prompt = hn_alloc((size_t)batch * PROMPT * sizeof *prompt);
    int64_t tokens = 0;
    must(hn_gen_open(&g, m, batch, PROMPT + NEW, &e), &e);
    for (int i = 0; i < batch * PROMPT; i++) prompt[i] = (int32_t)(hn_rand(2, 0, (uint64_t)i) % 4096);
    double start = 0;
    for (int round = 0;; round++) {
        if (round == 1) profile_of(hn_gen_tape(g), false), start = hn_now(), tokens = 0;
        if (round > 1 && hn_now() - start > seconds) break;
        for (int i = 0; i < batch; i++) {
            if (!r[i].out) r[i].out = hn_alloc(NEW * sizeof *r[i].out);
            r[i].prompt = prompt + i * PROMPT;
            r[i].n_prompt = PROMPT;
            r[i].max_new = NEW;
            r[i].how = (hn_sampling){ 1, 1, 0, 0 };
            r[i].stream = (uint64_t)i;
        }
        must(hn_gen_run(g, r, batch, NULL, NULL, &e), &e);
        tokens += (int64_t)batch * NEW;
    }
    double rate = (double)tokens / (hn_now() - start);
    if (profile) profile_of(hn_gen_tape(g), true);
    hn_gen_close(g);
    for (int i = 0; i < batch; i++) hn_free(r[i].out);
    hn_free(r);
    hn_free(prompt);
    return rate;
}

int main(int argc, char **argv) {
    if (argc < 5) {
        fprintf(stderr, "usage: model train|generate f32|bf16 THREADS SECONDS [BATCH] [profile]\n");
        return 2;
    }
    hn_err e = { 0 };
    hn_transformer m;
    must(hn_cpu_open(NULL, &e), &e);
    must(hn_pool_start(atoi(argv[3]), &e), &e);
    reference(&m, strcmp(argv[2], "bf16") ? HN_PREC_F32 : HN_PREC_BF16);
    double seconds = atof(argv[4]);
    bool profile = argc > 5 && !strcmp(argv[argc - 1], "profile");
    double rate = strcmp(argv[1], "train")
                      ? generate(&m, seconds, argc > 5 && atoi(argv[5]) ? atoi(argv[5]) : 32, profile)
                      : train(&m, seconds, profile);
    printf("%.1f\n", rate);
    hn_transformer_release(&m);
    hn_pool_stop();
    return 0;
}
