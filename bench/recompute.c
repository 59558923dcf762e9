/* recompute.c - what gradient_checkpointing costs and saves: updates with and without it in turns, and the
 * bytes of activations that both planned.  The reference model of bench/model.c (d 512, 8 layers, batch 8 x
 * 256), and the same with 24 layers.
 *
 * usage: recompute [THREADS]      rows `name ours rival ratio goal`: ours is with it, the rival without;
 * tokens a second, then bytes (ratio: rival / ours) */
#include "base/pool.h"
#include "cpu/backend.h"
#include "cpu/cpu.h"
#include "train/train.h"

#include <stdlib.h>

enum { ROWS = 8, LEN = 256, VOCAB = 4096, TURNS = 5 };

static void must(int rc, const hn_err *e) {
    if (rc >= 0) return;
    fprintf(stderr, "bench: %s\n", e->msg);
    exit(1);
}

typedef struct {
    hn_transformer m;
    hn_trainer t;
    hn_metrics metrics;
    double seconds[TURNS];
} side;

static void open_side(side *s, int layers, hn_prec prec, bool recompute) {
    hn_err e = { 0 };
    hn_hfconfig c;
    hn_hfconfig_default(&c, HN_ARCH_LLAMA);
    c.vocab_size = VOCAB;
    c.hidden_size = 512;
    c.intermediate_size = 1408;
    c.n_layer = layers;
    c.n_head = c.n_kv_head = 8;
    c.head_dim = 64;
    c.max_position_embeddings = 2048;
    c.tied = false;
    *s = (side){ .metrics = { 0 } };
    must(hn_hfconfig_check(&c, "bench", &e), &e);
    must(hn_transformer_init(&s->m, &c, &e), &e);
    must(hn_params_build(&s->m.params, &hn_backend_cpu, prec, &e), &e);
    hn_params_random(&s->m.params, 1, 0.02);
    must(hn_params_refresh(&s->m.params, &e), &e);
    s->t = (hn_trainer){ .algo = hn_algo_find("sft"), .model = &s->m, .steps = 1000, .temperature = 1 };
    s->t.cfg = (hn_train_config){ .learning_rate = 1e-4,
                                  .adam_beta1 = 0.9,
                                  .adam_beta2 = 0.999,
                                  .adam_epsilon = 1e-8,
                                  .max_grad_norm = 1,
                                  .grain_tokens = ROWS * LEN,
                                  .reduce_slots = 1,
                                  .num_iterations = 1,
                                  .gradient_checkpointing = recompute };
    must(hn_trainer_open(&s->t, &e), &e);
}

static void close_side(side *s) {
    hn_trainer_close(&s->t);
    hn_transformer_release(&s->m);
    hn_metrics_release(&s->metrics);
}

static void batch(hn_forest *f, int step) {
    hn_err e = { 0 };
    int32_t id[LEN];
    hn_forest_clear(f);
    for (int r = 0; r < ROWS; r++) {
        for (int i = 0; i < LEN; i++)
            id[i] = (int32_t)(hn_rand(1, (uint64_t)step, (uint64_t)(r * LEN + i)) % VOCAB);
        must(hn_forest_tree(f, &e), &e);
        int s = hn_forest_span(f, -1, id, LEN, &e);
        must(hn_forest_sample(f, &e), &e);
        for (int i = 1; i < LEN; i++) must(hn_forest_act(f, s, i, &e), &e);
    }
}

static double update(side *s, hn_forest *f) {
    hn_err e = { 0 };
    double start = hn_now();
    must(hn_trainer_prepare(&s->t, f, &s->metrics, &e), &e);
    must(hn_trainer_update(&s->t, f, &s->metrics, &e), &e);
    return hn_now() - start;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double rate(side *s) {
    qsort(s->seconds, TURNS, sizeof *s->seconds, by_size);
    return ROWS * LEN / s->seconds[TURNS / 2];
}

static void rows(int layers, hn_prec prec, int threads, double most_saved) {
    static side with, without;
    hn_forest f;
    hn_forest_init(&f);
    open_side(&with, layers, prec, true);
    open_side(&without, layers, prec, false);
    for (int turn = -2; turn < TURNS; turn++) { /* two to plan and touch memory */
        batch(&f, turn);
        double a = update(&with, &f), b = update(&without, &f);
        if (turn >= 0) with.seconds[turn] = a, without.seconds[turn] = b;
    }
    const char *name = prec == HN_PREC_BF16 ? "bf16" : "f32";
    double a = rate(&with), b = rate(&without);
    printf("recompute/%dlayers/%s/t%d %.1f %.1f %.2f 0.75\n", layers, name, threads, a, b, a / b);
    size_t x = hn_tape_bytes(with.t.pass.tape), y = hn_tape_bytes(without.t.pass.tape);
    printf("recompute-bytes/%dlayers/%s %zu %zu %.2f %.1f\n", layers, name, x, y, (double)y / (double)x,
           most_saved);
    fflush(stdout);
    close_side(&with);
    close_side(&without);
    hn_forest_release(&f);
}

int main(int argc, char **argv) {
    hn_err e = { 0 };
    if (argc > 2) {
        fprintf(stderr, "usage: recompute [THREADS]\n");
        return 2;
    }
    must(hn_cpu_open(NULL, &e), &e);
    must(hn_pool_start(argc > 1 ? atoi(argv[1]) : 0, &e), &e);
    int threads = hn_pool_threads();
    rows(8, HN_PREC_F32, threads, 4);
    rows(8, HN_PREC_BF16, threads, 3);
    rows(24, HN_PREC_BF16, threads, 6);
    hn_pool_stop();
    return 0;
}
