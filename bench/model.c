/* model.c - rates of the two models of the CPU study, in tokens a second.  The reference model: d 512, 8
 * layers, 8 heads, FFN 1408, vocabulary 4096, untied, 29.9 M parameters; a step trains on 8 rows of 256.
 * `large`: d 896, 24 layers, 14 heads on 2 of keys, FFN 4864, vocabulary 32000, untied, 415 M.
 *
 * usage: model WHAT f32|bf16|q8|q4 THREADS SECONDS [BATCH] [large] [profile]                 prints one
 * number
 *
 * WHAT: train; generate (BATCH answers at once, a prompt of 16, then 128 tokens, large: 32); prompt (512
 * tokens and the first of the answer, one at a time); floor (the products of a training step, packing of the
 * weights and AdamW alone: what a step costs at least with these kernels); roof (what reading the packed
 * weights once for a token allows when nothing else is done).  q8 and q4, for generate, prompt and roof:
 * weights in blocks of 8 and 4 bits, the rest as in bf16. */
#include "base/pool.h"
#include "cpu/backend.h"
#include "cpu/cpu.h"
#include "cpu/pack.h"
#include "gen/gen.h"
#include "train/train.h"

#include <stdlib.h>
#include <string.h>

static void must(int rc, const hn_err *e) {
    if (rc >= 0) return;
    fprintf(stderr, "bench: %s\n", e->msg);
    exit(1);
}

enum { ROWS = 8, LEN = 256, PROMPT = 16, LONG_PROMPT = 512 };

/* Numbers of a quick generator: the large model is there in seconds. */
static void fill_slice(void *ctx, int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; i++) {
        uint64_t r = ((uint64_t)i + 1) * 0x9e3779b97f4a7c15u;
        r = (r ^ r >> 29) * 0xbf58476d1ce4e5b9u;
        ((float *)ctx)[i] = 0.07f * ((float)(r >> 40) * 0x1p-24f - 0.5f); /* deviation 0.02 */
    }
}

static void build(hn_transformer *m, hn_prec prec, hn_quant quant, bool large) {
    hn_err e = { 0 };
    hn_hfconfig c;
    hn_hfconfig_default(&c, HN_ARCH_LLAMA);
    c.vocab_size = large ? 32000 : 4096;
    c.hidden_size = large ? 896 : 512;
    c.intermediate_size = large ? 4864 : 1408;
    c.n_layer = large ? 24 : 8;
    c.n_head = large ? 14 : 8;
    c.n_kv_head = large ? 2 : 8;
    c.head_dim = 64;
    c.max_position_embeddings = 2048;
    c.tied = false;
    must(hn_hfconfig_check(&c, "bench", &e), &e);
    must(hn_transformer_init(m, &c, &e), &e);
    if (quant) hn_params_quantize(&m->params, quant);
    must(hn_params_build(&m->params, &hn_backend_cpu, prec, &e), &e);
    for (int64_t i = 0; i < m->params.n; i++) {
        const hn_param *p = &m->params.list[i];
        float *x = hn_params_place(&m->params, i);
        if (p->decay) hn_parallel(p->count, 1 << 16, fill_slice, x);
        else
            for (int64_t k = 0; k < p->count; k++) x[k] = 1;
        must(hn_params_placed(&m->params, i, &e), &e);
    }
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
                id[i] = (int32_t)(hn_rand(1, (uint64_t)step, (uint64_t)(r * LEN + i)) %
                                  (uint64_t)m->cfg.vocab_size);
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

/* Prompts of n_prompt, then n_new tokens, `batch` at once; counts the prompt's tokens or the new ones. */
static double generate(hn_transformer *m, double seconds, int batch, int n_prompt, int n_new, bool profile) {
    hn_err e = { 0 };
    hn_gen *g;
    hn_request *r = hn_alloc((size_t)batch * sizeof *r);
    int32_t *prompt = hn_alloc((size_t)(batch * n_prompt) * sizeof *prompt);
    int32_t *out = hn_alloc((size_t)(batch * n_new) * sizeof *out);
    int64_t rounds = 0;
    if (!r || !prompt || !out) must(hn_fail(&e, HN_ENOMEM, "out of memory"), &e);
    must(hn_gen_open(&g, m, batch, n_prompt + n_new, &e), &e);
    double start = 0;
    for (;; rounds++) { /* the first one warms up */
        if (rounds == 1) profile_of(hn_gen_tape(g), false), start = hn_now();
        if (rounds > 1 && hn_now() - start > seconds) break;
        for (int i = 0; i < batch * n_prompt; i++)
            prompt[i] = (int32_t)(hn_rand(2, (uint64_t)rounds, (uint64_t)i) % (uint64_t)m->cfg.vocab_size);
        for (int i = 0; i < batch; i++)
            r[i] = (hn_request){ .prompt = prompt + i * n_prompt,
                                 .n_prompt = n_prompt,
                                 .max_new = n_new,
                                 .how = { 1, 1, 0, 0 },
                                 .stream = (uint64_t)i,
                                 .out = out + i * n_new };
        must(hn_gen_run(g, r, batch, NULL, NULL, &e), &e);
    }
    double rate = (double)((rounds - 1) * batch * (n_new > 1 ? n_new : n_prompt)) / (hn_now() - start);
    if (profile) profile_of(hn_gen_tape(g), true);
    hn_gen_close(g);
    hn_free(r);
    hn_free(prompt);
    hn_free(out);
    return rate;
}

/* The products of a step over all its tokens: every matrix forward, for the input's gradient and for its own.
 */
static double step_floor(hn_transformer *m, hn_prec prec, double seconds) {
    enum { N = ROWS * LEN };
    hn_err e = { 0 };
    hn_params *p = &m->params;
    const hn_adamw adam = { 0.9, 0.999, 1e-8, 0 };
    int64_t widest = 0;
    size_t work = 0;
    must(hn_params_train(p, &e), &e);
    must(hn_params_refresh(p, &e), &e);
    for (int64_t i = 0; i < p->n_weight; i++) {
        if (!p->weight[i].packed) continue;
        int64_t O = p->weight[i].shape.d[0], C = p->weight[i].shape.d[1];
        widest = O > widest ? O : widest, widest = C > widest ? C : widest;
        size_t need[] = { hn_gemm_packed_work(N, C, O, 1, prec, 0), hn_gemm_packed_work(N, O, C, 1, prec, 0),
                          hn_gemm_work(O, N, C, O, prec, 0), hn_gemm_work(N, O, C, 1, prec, 0) };
        for (int k = 0; k < 4; k++) work = need[k] > work ? need[k] : work;
    }
    size_t bytes = (size_t)(N * widest) * sizeof(float);
    float *x = hn_big_alloc(bytes), *y = hn_big_alloc(bytes), *dx = hn_big_alloc(bytes);
    void *scratch = hn_big_alloc(work + 64);
    if (!x || !y || !dx || !scratch) must(hn_fail(&e, HN_ENOMEM, "out of memory"), &e);
    hn_parallel(N * widest, 1 << 16, fill_slice, x);
    double start = 0;
    int64_t steps = 0;
    for (;; steps++) {
        if (steps == 1) start = hn_now();
        if (steps > 1 && hn_now() - start > seconds) break;
        hn_params_no_grad(p);
        for (int64_t i = 0; i < p->n_weight; i++) {
            const hn_weight *w = &p->weight[i];
            const hn_weight_pack *side = w->side;
            if (!w->packed) continue;
            int64_t O = w->shape.d[0], C = w->shape.d[1];
            hn_gemm_packed(y, O, x, C, 1, N, side->fwd, NULL, false, 0, scratch);
            if (side->bwd) hn_gemm_packed(dx, C, y, O, 1, N, side->bwd, NULL, false, 0, scratch);
            else hn_gemm(dx, C, y, O, 1, p->value + w->at, C, 1, N, O, C, prec, NULL, false, 0, scratch);
            hn_gemm(p->grad + w->at, C, y, 1, O, x, C, 1, O, N, C, prec, NULL, true, 0, scratch);
        }
        hn_adamw_step(&adam, p, 1e-4, steps + 1, 1 / (1 + hn_params_grad_norm(p)));
        must(hn_params_refresh(p, &e), &e);
    }
    double rate = (double)((steps - 1) * N) / (hn_now() - start);
    hn_big_free(x, bytes), hn_big_free(y, bytes), hn_big_free(dx, bytes), hn_big_free(scratch, work + 64);
    return rate;
}

/* ---- how often a second memory as large as the packed weights can be read ---- */
enum { SLICES = 4096, SLICE_LINES = 1 << 14 };
typedef int64_t line __attribute__((vector_size(64)));
typedef struct reading {
    const line *from;
    int64_t lines;
    int64_t seen[SLICES]; /* a slice has its own */
} reading;

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static int64_t read_wide(const line *p, int64_t n) {
    line a = p[0], b = p[1], c = p[2], d = p[3];
    for (int64_t i = 4; i + 4 <= n; i += 4) a |= p[i], b |= p[i + 1], c |= p[i + 2], d |= p[i + 3];
    a |= b | c | d;
    return a[0] | a[7];
}
#endif

static int64_t read_plain(const line *p, int64_t n) {
    int64_t a = 0, b = 0, c = 0, d = 0;
    const int64_t *q = (const int64_t *)p;
    for (int64_t i = 0; i < n * 8; i += 4) a |= q[i], b |= q[i + 1], c |= q[i + 2], d |= q[i + 3];
    return a | b | c | d;
}

static void read_slice(void *ctx, int64_t lo, int64_t hi) {
    reading *r = ctx;
    for (int64_t s = lo; s < hi; s++) {
        int64_t at = s * SLICE_LINES, n = r->lines - at < SLICE_LINES ? r->lines - at : SLICE_LINES;
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx512f")) r->seen[s] |= read_wide(r->from + at, n);
        else
#endif
            r->seen[s] |= read_plain(r->from + at, n);
    }
}

static double roof(hn_transformer *m, double seconds) {
    hn_err e = { 0 };
    size_t bytes = hn_params_packed(&m->params, false);
    int64_t times = 0;
    hn_assert(bytes <= (size_t)SLICES * SLICE_LINES * sizeof(line));
    line *from = hn_big_alloc(bytes);
    reading *r = hn_alloc(sizeof *r);
    if (!from || !r) must(hn_fail(&e, HN_ENOMEM, "out of memory"), &e);
    hn_parallel((int64_t)(bytes / sizeof(float)), 1 << 16, fill_slice, from);
    *r = (reading){ .from = from, .lines = (int64_t)(bytes / sizeof *from) / 4 * 4 };
    double start = 0;
    for (;; times++) {
        if (times == 1) start = hn_now();
        if (times > 1 && hn_now() - start > seconds) break;
        hn_parallel((r->lines + SLICE_LINES - 1) / SLICE_LINES, 1, read_slice, r);
    }
    double rate = (double)(times - 1) / (hn_now() - start);
    fprintf(stderr, "%.1f GB/s over %zu MB\n", rate * (double)bytes / 1e9, bytes >> 20);
    hn_big_free(from, bytes);
    hn_free(r);
    return rate;
}

static int usage(void) {
    fprintf(stderr, "usage: model train|generate|prompt|floor|roof f32|bf16|q8|q4 THREADS SECONDS [BATCH] "
                    "[large] [profile]\n");
    return 2;
}

/* A whole number, or 0 when it is none. */
static int number(const char *s) {
    char *end;
    long n = strtol(s, &end, 10);
    return *end || n < 1 || n > 4096 ? 0 : (int)n;
}

int main(int argc, char **argv) {
    static const char *const can[] = { "train", "generate", "prompt", "floor", "roof" };
    enum { TRAIN, GENERATE, ASK, FLOOR, ROOF, CAN };
    hn_err e = { 0 };
    hn_transformer m;
    int what = 0, batch = 32;
    bool large = false, profile = false;
    if (argc < 5) return usage();
    while (what < CAN && strcmp(argv[1], can[what])) what++;
    static const char *const types[] = { "f32", "bf16", "q8", "q4" };
    int type = 0;
    while (type < 4 && strcmp(argv[2], types[type])) type++;
    int threads = number(argv[3]);
    double seconds = atof(argv[4]);
    bool learns = what == TRAIN || what == FLOOR;
    if (what == CAN || type == 4 || (type > 1 && learns) || threads < 1 || !(seconds > 0)) return usage();
    for (int i = 5; i < argc; i++) {
        if (!strcmp(argv[i], "large")) large = true;
        else if (!strcmp(argv[i], "profile")) profile = true;
        else if (i > 5 || (batch = number(argv[i])) < 1) return usage();
    }
    hn_prec prec = type ? HN_PREC_BF16 : HN_PREC_F32;
    hn_quant quant = type == 2 ? HN_QUANT_Q8 : type == 3 ? HN_QUANT_Q4 : HN_QUANT_NONE;
    must(hn_cpu_open(NULL, &e), &e);
    must(hn_pool_start(threads, &e), &e);
    build(&m, prec, quant, large);
    double rate = what == TRAIN      ? train(&m, seconds, profile)
                  : what == GENERATE ? generate(&m, seconds, batch, PROMPT, large ? 32 : 128, profile)
                  : what == ASK      ? generate(&m, seconds, 1, LONG_PROMPT, 1, profile)
                  : what == FLOOR    ? step_floor(&m, prec, seconds)
                                     : roof(&m, seconds);
    printf("%.1f\n", rate);
    hn_transformer_release(&m);
    hn_pool_stop();
    return 0;
}
