/* memory.c - peak memory of one SFT update with a large vocabulary against the memory table: the reference
 * model of bench/model.c (d 512, 8 layers, untied) with 151,936 tokens, one row of 4,096.
 *
 * usage: memory f32|bf16 THREADS      prints two numbers: the peak of the process and the table's sum, in
 * bytes; the table goes to standard error */
#include "train/memory.h"
#include "base/host.h"
#include "base/pool.h"
#include "cpu/backend.h"
#include "cpu/cpu.h"

#include <stdlib.h>
#include <string.h>

enum { VOCAB = 151936, TOKENS = 4096 };

static void must(int rc, const hn_err *e) {
    if (rc >= 0) return;
    fprintf(stderr, "bench: %s\n", e->msg);
    exit(1);
}

static void row_of(hn_forest *f) {
    hn_err e = { 0 };
    int32_t id[TOKENS];
    hn_forest_init(f);
    for (int i = 0; i < TOKENS; i++) id[i] = (int32_t)(hn_rand(1, 0, (uint64_t)i) % VOCAB);
    must(hn_forest_tree(f, &e), &e);
    int s = hn_forest_span(f, -1, id, TOKENS, &e);
    must(s, &e);
    must(hn_forest_sample(f, &e), &e);
    for (int i = 1; i < TOKENS; i++) must(hn_forest_act(f, s, i, &e), &e);
}

static size_t table(const hn_hfconfig *c, hn_prec prec, const hn_algo *sft, const hn_forest *f) {
    hn_err e = { 0 };
    hn_memory m;
    hn_memory_plan p = { .config = c, .prec = prec, .algo = sft, .reduce_slots = 1, .grain = *f };
    p.here = (size_t)hn_host_resident();
    must(hn_memory_of(&p, &m, &e), &e);
    for (int i = 0; i < m.n; i++)
        fprintf(stderr, "%-20s %9.1f MB%s  %s\n", m.row[i].what, 1e-6 * (double)m.row[i].bytes,
                m.row[i].part ? " (in it)" : "", m.row[i].how);
    fprintf(stderr, "%-20s %9.1f MB\n", "sum", 1e-6 * (double)m.total);
    return m.total;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: memory f32|bf16 THREADS\n");
        return 2;
    }
    hn_err e = { 0 };
    hn_hfconfig c;
    hn_transformer m;
    hn_forest f;
    hn_metrics metrics = { 0 };
    hn_prec prec = strcmp(argv[1], "bf16") ? HN_PREC_F32 : HN_PREC_BF16;
    must(hn_cpu_open(NULL, &e), &e);
    must(hn_pool_start(atoi(argv[2]), &e), &e);
    hn_hfconfig_default(&c, HN_ARCH_LLAMA);
    c.vocab_size = VOCAB;
    c.hidden_size = 512;
    c.intermediate_size = 1408;
    c.n_layer = c.n_head = c.n_kv_head = 8;
    c.head_dim = 64;
    c.max_position_embeddings = TOKENS;
    c.tied = false;
    must(hn_hfconfig_check(&c, "bench", &e), &e);
    row_of(&f);
    hn_trainer t = { .algo = hn_algo_find("sft"), .model = &m, .steps = 10, .temperature = 1 };
    size_t sum = table(&c, prec, t.algo, &f);
    t.cfg = (hn_train_config){ .learning_rate = 1e-4,
                               .adam_beta1 = 0.9,
                               .adam_beta2 = 0.999,
                               .adam_epsilon = 1e-8,
                               .max_grad_norm = 1 };
    t.cfg.grain_tokens = 2048;
    t.cfg.reduce_slots = t.cfg.num_iterations = 1;
    must(hn_transformer_init(&m, &c, &e), &e);
    must(hn_params_build(&m.params, &hn_backend_cpu, prec, &e), &e);
    hn_params_random(&m.params, 1, 0.02);
    must(hn_params_refresh(&m.params, &e), &e);
    must(hn_trainer_open(&t, &e), &e);
    must(hn_trainer_prepare(&t, &f, &metrics, &e), &e);
    must(hn_trainer_update(&t, &f, &metrics, &e), &e);
    printf("%lld %zu\n", (long long)hn_host_peak(), sum);
    hn_trainer_close(&t);
    hn_transformer_release(&m);
    hn_forest_release(&f);
    hn_metrics_release(&metrics);
    hn_pool_stop();
    return 0;
}
