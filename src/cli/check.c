/* check.c - `hone check`: measures the invariants on a model of yours and says what it compared. */
#include "train/check.h"
#include "base/pool.h"
#include "cli/cli.h"
#include "cli/models.h"
#include "cli/resume.h"

#include <string.h>

typedef struct {
    int64_t prompts, answers, max_new_tokens, max_prompt, slots, most_threads, trials, kills;
    double temperature;
} check_options;

/* clang-format off */
#define AT(field) .at = offsetof(check_options, field)
static const hn_opt table[] = {
    { .name = "prompts", .help = "random prompts", .type = HN_OPT_INT, AT(prompts), .def = 8, .min = 1, .max = 1e5 },
    { .name = "num_generations", .help = "answers a prompt", .type = HN_OPT_INT, AT(answers), .def = 8, .min = 1, .max = 1e4 },
    { .name = "max_new_tokens", .help = "tokens an answer", .type = HN_OPT_INT, AT(max_new_tokens), .def = 80, .min = 1, .max = 1e5 },
    { .name = "max_prompt", .help = "longest prompt", .type = HN_OPT_INT, AT(max_prompt), .def = 150, .min = 1, .max = 1e5 },
    { .name = "slots", .help = "most answers at once", .type = HN_OPT_INT, AT(slots), .def = 64, .min = 1, .max = 1024 },
    { .name = "most_threads", .help = "most threads to compare", .type = HN_OPT_INT, AT(most_threads), .def = 4, .min = 1, .max = 256 },
    { .name = "temperature", .help = "of the sampling", .type = HN_OPT_NUM, AT(temperature), .def = 1, .min = 0.01, .max = 100 },
    { .name = "trials", .help = "resume: runs of each learner that are disturbed", .type = HN_OPT_INT, AT(trials), .def = 3, .min = 1, .max = 1000 },
    { .name = "kills", .help = "resume: kills a run", .type = HN_OPT_INT, AT(kills), .def = 3, .min = 1, .max = 100 },
    { 0 },
};
#undef AT
/* clang-format on */

typedef struct {
    int64_t rows, bad;
} tally;

static int show(void *ctx, const hn_check_row *r, hn_err *e) {
    tally *t = ctx;
    bool ok = r->worst <= r->allowed; /* NaN is not */
    (void)e;
    t->rows++;
    t->bad += !ok;
    printf("%-4s %-72s %9lld numbers  largest difference %.3g (allowed %g)\n", ok ? "ok" : "BAD", r->what,
           (long long)r->count, r->worst, r->allowed);
    fflush(stdout);
    return hn_cli_stopped(NULL) ? hn_fail(e, HN_ESTOP, "stopped") : HN_OK;
}

static int invariants(hn_cli *c, const check_options *o, bool onpolicy) {
    hn_model *m = NULL;
    int rc = hn_cli_model(c, &m);
    if (rc) return rc;
    hn_check_config k = { o->prompts, o->answers,      o->max_new_tokens, o->max_prompt,
                          o->slots,   o->most_threads, o->temperature,    (uint64_t)c->common.seed };
    int64_t room = hn_transformer_max_len(&m->net);
    if (k.max_prompt + k.max_new > room) k.max_new = room / 2, k.max_prompt = room - room / 2;
    tally t = { 0 };
    rc = onpolicy ? hn_check_onpolicy(m, &k, show, &t, &c->err) : hn_check_packing(m, &k, show, &t, &c->err);
    hn_model_close(m);
    if (rc) return rc;
    printf("%s: %lld of %lld comparisons hold\n", onpolicy ? "onpolicy" : "packing",
           (long long)(t.rows - t.bad), (long long)t.rows);
    return t.bad ? HN_EXIT_NO : HN_EXIT_OK;
}

static int work(hn_cli *c, const check_options *o) {
    static const char *const what[] = { "onpolicy", "packing", "resume" };
    const char *const *word;
    int n = hn_optset_words(c->opts, &word), k = 0;
    if (n != 1) return hn_cli_usage(c, "say what to check: onpolicy, packing or resume");
    while (k < 3 && strcmp(word[0], what[k])) k++;
    if (k == 3)
        return hn_cli_usage(c, "no check named '%s': there are onpolicy, packing and resume", word[0]);
    int rc = hn_cli_need(c, "model", c->common.model);
    if (rc || k < 2) return rc ? rc : invariants(c, o, k == 0);
    bool holds;
    rc = hn_cli_check_resume(c, (int)o->trials, (int)o->kills, &holds);
    return rc ? rc : holds ? HN_EXIT_OK : HN_EXIT_NO;
}

static int run(int argc, char **argv) {
    hn_cli c;
    check_options o;
    int rc = hn_cli_begin(&c, &hn_command_check, argc, argv);
    if (!rc) rc = hn_cli_add(&c, "Check", table, &o);
    if (!rc) rc = hn_cli_ready(&c);
    if (!rc) rc = work(&c, &o);
    return hn_cli_end(&c, rc);
}

const hn_command hn_command_check = {
    "check",
    "measure the invariants that make the numbers trustworthy\n"
    "usage: hone check onpolicy|packing|resume --model DIR\n\n"
    "onpolicy: the log-probability stored when a token was sampled is the one the trainer computes: compared "
    "bit by bit\n"
    "over batch sizes, threads, shared and unshared prompts and random cuttings of every path into spans.\n"
    "packing: the gradient of a step is the same to the bit for any micro-batches and threads, and within "
    "1e-5 (bf16: 1/256)\n"
    "for shared against unshared prompts and packed against one by one.\n"
    "resume: sft, dpo and grpo killed (kill -9) at random moments and resumed, on 1 to 4 threads in "
    "turn,\nleave the same bytes as undisturbed runs.\n"
    "Exit code 3 when one does not hold.",
    run, true
};
