/* memory.c - the memory table against what a process takes, and what base/host.h reads. */
#include "train/memory.h"
#include "base/host.h"
#include "base/io.h"
#include "base/pool.h"
#include "cpu/backend.h"
#include "cpu/cpu.h"
#include "data/dataset.h"
#include "model/model.h"
#include "shared.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- limits ---- */
static void put(const char *root, const char *path, const char *text) {
    hn_err e = { 0 };
    char full[512], dir[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    snprintf(dir, sizeof dir, "%s", full);
    *strrchr(dir, '/') = 0;
    assert_int_equal(hn_dir_make(dir, &e), 0);
    assert_int_equal(hn_file_write(full, text, strlen(text), &e), 0);
}

static void limits_of_groups(void **unused) {
    (void)unused;
    const char *root = scratch_dir();
    hn_host h;
    hn_err e = { 0 };
    hn_host_look(&h, root);
    assert_true(h.memory == -1 && h.available == -1 && h.limit == -1 && h.quota == 0);
    put(root, "/proc/meminfo", "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    600 kB\n");
    hn_host_look(&h, root);
    assert_true(h.memory == 1024000 && h.available == 614400 && h.limit == -1);

    put(root, "/proc/self/cgroup", "0::/a/b\n"); /* the inner group has no limit, the outer has */
    put(root, "/sys/fs/cgroup/a/b/memory.max", "max\n");
    put(root, "/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    put(root, "/sys/fs/cgroup/a/memory.max", "500000\n");
    put(root, "/sys/fs/cgroup/a/memory.current", "300000\n");
    put(root, "/sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file 100000\n");
    put(root, "/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    hn_host_look(&h, root);
    assert_true(h.limit == 500000 && h.available == 300000 && h.quota == 1.5);

    put(root, "/proc/self/cgroup", "7:memory:/c\n5:cpu,cpuacct:/c\n2:cpuset:/c\n"); /* version 1 */
    put(root, "/sys/fs/cgroup/memory/c/memory.limit_in_bytes", "400000\n");
    put(root, "/sys/fs/cgroup/memory/c/memory.usage_in_bytes", "399999\n");
    put(root, "/sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "50000\n");
    put(root, "/sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000\n");
    hn_host_look(&h, root);
    assert_true(h.limit == 400000 && h.available == 1 && h.quota == 0.5);
    hn_dir_remove(root, &e);

    hn_host_look(&h, "");
    assert_true(h.cores >= 1 && h.memory > 0 && h.available > 0);
    int64_t now = hn_host_resident();
    assert_true(now > 0 && hn_host_peak() >= now);
}

/* ---- the table ---- */
enum { VOCAB = 48000, ROW = 600 };

static void small(hn_hfconfig *c, bool tied) {
    hn_err e = { 0 };
    hn_hfconfig_default(c, HN_ARCH_LLAMA);
    c->vocab_size = VOCAB;
    c->hidden_size = 96;
    c->intermediate_size = 256;
    c->n_layer = 3;
    c->n_head = c->n_kv_head = 4;
    c->head_dim = 24;
    c->max_position_embeddings = 1024;
    c->tied = tied;
    assert_int_equal(hn_hfconfig_check(c, "test", &e), 0);
}

/* Four rows of ROW tokens, as chains or as pairs of a prompt of 100 with two answers of 250. */
static void step_of(hn_forest *f, bool pairs) {
    hn_err e = { 0 };
    hn_dataset d = { .kind = pairs ? HN_DATA_PAIR : HN_DATA_CHAIN };
    int32_t id[ROW];
    uint8_t act[ROW] = { 0 };
    memset(act + 1, 1, sizeof act - 1);
    for (int r = 0; r < 4; r++) {
        for (int i = 0; i < ROW; i++) id[i] = (int32_t)(hn_rand(1, (uint64_t)r, (uint64_t)i) % VOCAB);
        if (pairs) assert_int_equal(hn_dataset_pair(&d, id, 100, id + 100, 250, id + 350, 250, &e), 0);
        else assert_int_equal(hn_dataset_chain(&d, id, act, ROW, &e), 0);
    }
    hn_forest_init(f);
    assert_int_equal(hn_dataset_batch(&d, 1, 0, 4, f, &e), 0);
    hn_dataset_release(&d);
}

typedef struct {
    const hn_algo *algo;
    char priv[512];
    hn_hfconfig c;
    hn_prec prec;
    int64_t slots;
    bool recompute;
} job;

/* A trainer's update on the step: what a run does.  0, or where it failed. */
static int update(const job *j, hn_forest *f) {
    hn_err e = { 0 };
    hn_transformer m, ref;
    hn_metrics metrics = { 0 };
    hn_trainer t = { .algo = j->algo, .priv = j->priv, .model = &m, .steps = 10, .temperature = 1 };
    t.cfg = (hn_train_config){ .learning_rate = 1e-4,
                               .adam_beta1 = 0.9,
                               .adam_beta2 = 0.999,
                               .adam_epsilon = 1e-8,
                               .grain_tokens = 1300,
                               .reduce_slots = j->slots,
                               .num_iterations = 1,
                               .gradient_checkpointing = j->recompute };
    if (hn_transformer_init(&m, &j->c, &e) || hn_params_build(&m.params, &hn_backend_cpu, j->prec, &e))
        return 1;
    hn_params_random(&m.params, 1, 0.02);
    if (hn_params_refresh(&m.params, &e)) return 2;
    if (j->algo->needs(j->priv) & HN_NEEDS_REF) {
        if (hn_model_copy(&ref, &m, &e)) return 3;
        t.ref = &ref;
    }
    if (hn_trainer_open(&t, &e) || hn_trainer_prepare(&t, f, &metrics, &e)) return 4;
    return hn_trainer_update(&t, f, &metrics, &e) ? 5 : 0;
}

/* The peak of a process of its own that plans, then does it, against the sum of its table: the table is what
 * is there at the peak, to a few percent. */
static void hold(const job *j) {
    struct {
        int rc;
        int64_t peak;
        hn_memory m;
    } out = { 0 };
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        hn_err e = { 0 };
        hn_forest f;
        hn_memory_plan p = { .config = &j->c, .prec = j->prec, .algo = j->algo, .priv = j->priv };
        p.reduce_slots = j->slots;
        p.recompute = j->recompute;
        step_of(&f, j->algo->needs(j->priv) & HN_NEEDS_PAIRS);
        out.rc = hn_memory_grain(&f, 1300, &p.grain, &e);
        p.here = (size_t)hn_host_resident();
        if (!out.rc) out.rc = hn_memory_of(&p, &out.m, &e);
        if (!out.rc) out.rc = update(j, &f);
        out.peak = hn_host_peak();
        ssize_t ignored = write(fd[1], &out, sizeof out);
        (void)ignored;
        _exit(0);
    }
    close(fd[1]);
    assert_int_equal(read(fd[0], &out, sizeof out), sizeof out);
    close(fd[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(out.rc, 0);
    double ratio = (double)out.peak / (double)out.m.total;
    printf("%s: peak %.1f MB, table %.1f MB\n", j->algo->name, 1e-6 * (double)out.peak,
           1e-6 * (double)out.m.total);
    assert_true(ratio < 1.05 && ratio > 0.9);
}

static void job_of(job *j, const char *algo, bool tied, hn_prec prec, int64_t slots) {
    hn_err e = { 0 };
    *j = (job){ .algo = hn_algo_find(algo), .prec = prec, .slots = slots };
    assert_true(j->algo->priv_size <= sizeof j->priv);
    small(&j->c, tied);
    hn_optset *set = hn_optset_new();
    if (j->algo->opts) assert_int_equal(hn_optset_add(set, algo, j->algo->opts, j->priv, &e), 0);
    hn_optset_free(set);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED 0
#endif

static void table_is_the_peak(void **unused) {
    (void)unused;
    if (SANITIZED) skip(); /* it takes memory of its own */
    job j;
    job_of(&j, "sft", true, HN_PREC_F32, 1);
    hold(&j);
    job_of(&j, "sft", false, HN_PREC_BF16, 4);
    hold(&j);
    job_of(&j, "dpo", false, HN_PREC_F32, 1);
    hold(&j);
    j.c.n_layer = 24;
    j.recompute = true;
    hold(&j);
}

static size_t row_bytes(const hn_memory *m, const char *what) {
    for (int i = 0; i < m->n; i++)
        if (!strcmp(m->row[i].what, what)) return m->row[i].bytes;
    return 0;
}

static void rows_of_the_table(void **unused) {
    (void)unused;
    hn_err e = { 0 };
    job j;
    hn_memory m;
    long live = hn_alloc_live();
    job_of(&j, "grpo", true, HN_PREC_F32, 4);
    hn_memory_plan p = {
        .config = &j.c, .algo = j.algo, .priv = j.priv, .reduce_slots = 4, .rollback = true
    };
    p.grain = (hn_forest){ .n_token = 1000, .n_act = 800, .n_span = 9, .n_sample = 8 };
    p.generators = 1;
    p.slots = 8;
    p.prompt = 100;
    p.most_new = 100;
    assert_int_equal(hn_memory_of(&p, &m, &e), 0);
    size_t block = hn_big_size((size_t)m.parameters * 4), sum = 0;
    assert_int_equal(m.parameters, hn_hfconfig_params(&j.c));
    assert_int_equal(row_bytes(&m, "weights"), block);
    assert_int_equal(row_bytes(&m, "gradients"), block);
    assert_int_equal(row_bytes(&m, "optimizer"), 2 * block);
    assert_int_equal(row_bytes(&m, "partial gradients"), 3 * block);
    assert_int_equal(row_bytes(&m, "kept for rollback"), 3 * block);
    /* 16 sequences of 300 positions in pages of 64, 3 layers, 4 heads of 24, keys and values */
    assert_int_equal(row_bytes(&m, "key-value cache"), hn_big_size(16u * 5 * 64 * 3 * 4 * 24 * 2 * 4));
    assert_true(row_bytes(&m, "logits chunk") > 800u * 512 * 4 &&
                row_bytes(&m, "activations") > 1000u * 96 * 4);
    for (int i = 0; i < m.n; i++) sum += m.row[i].part ? 0 : m.row[i].bytes;
    assert_int_equal(sum, m.total);
    size_t rows = row_bytes(&m, "activations");
    p.grain.n_token = 2000;
    p.grain.n_act = 1600;
    assert_int_equal(hn_memory_of(&p, &m, &e), 0);
    assert_true(row_bytes(&m, "activations") > rows + rows / 2);
    p.algo = NULL;
    assert_int_equal(hn_memory_of(&p, &m, &e), 0);
    assert_true(!row_bytes(&m, "gradients") && !row_bytes(&m, "activations") && row_bytes(&m, "weights"));
    assert_int_equal(hn_alloc_live(), live); /* nothing of it was taken and kept */
}

/* A model that fits nowhere is described without harm, in little memory. */
static void seventy_billion(void **unused) {
    (void)unused;
    hn_err e = { 0 };
    job j;
    hn_memory m;
    job_of(&j, "sft", false, HN_PREC_F32, 1);
    j.c.vocab_size = 128256;
    j.c.hidden_size = 8192;
    j.c.intermediate_size = 28672;
    j.c.n_layer = 80;
    j.c.n_head = 64;
    j.c.n_kv_head = 8;
    j.c.head_dim = 128;
    hn_memory_plan p = { .config = &j.c, .algo = j.algo, .priv = j.priv, .reduce_slots = 1 };
    p.grain = (hn_forest){ .n_token = 8192, .n_act = 8192, .n_span = 8, .n_sample = 8 };
    int64_t before = hn_host_peak();
    assert_int_equal(hn_memory_of(&p, &m, &e), 0);
    assert_true(m.parameters > 70e9 && m.total > 1.6e12 && m.total < 4e12);
    assert_true(hn_host_peak() - before < 64 << 20);
}

int main(void) {
    hn_err e = { 0 };
    if (hn_cpu_open(NULL, &e) || hn_pool_start(2, &e)) return 1;
    const struct CMUnitTest pooled[] = { cmocka_unit_test(rows_of_the_table),
                                         cmocka_unit_test(seventy_billion) };
    int rc = cmocka_run_group_tests(pooled, NULL, NULL);
    hn_pool_stop(); /* threads do not survive a fork */
    const struct CMUnitTest forked[] = { cmocka_unit_test(limits_of_groups),
                                         cmocka_unit_test(table_is_the_peak) };
    return rc | cmocka_run_group_tests(forked, NULL, NULL);
}
