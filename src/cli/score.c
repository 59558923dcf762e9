/* score.c - `hone score`: log-probabilities of given text or token ids, as JSON. */
#include "cli/cli.h"
#include "cli/models.h"
#include "model/logits.h"
#include "model/pass.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *text, *ids;
    bool logits, add_special;
    double temperature;
} score_options;

/* clang-format off */
#define AT(field) .at = offsetof(score_options, field)
static const hn_opt table[] = {
    { .name = "text", .help = "the text to score", .type = HN_OPT_STR, AT(text) },
    { .name = "ids", .help = "token ids to score instead: 1,2,3", .type = HN_OPT_STR, AT(ids) },
    { .name = "logits", .help = "print the whole row of logits after every token", .type = HN_OPT_BOOL, AT(logits) },
    { .name = "add_special", .help = "begin the text as the tokenizer begins texts (BOS)", .type = HN_OPT_BOOL, AT(add_special), .def = 1 },
    { .name = "temperature", .help = "that log-probabilities are taken at", .type = HN_OPT_NUM, AT(temperature), .def = 1, .min = 0.01, .max = 100 },
    { 0 },
};
#undef AT
/* clang-format on */

static int parse_ids(hn_cli *c, const char *s, hn_ids *out) {
    while (*s) {
        char *end;
        errno = 0;
        long v = strtol(s, &end, 10);
        if (end == s || errno || v < 0 || v > INT32_MAX || (*end && *end != ','))
            return hn_cli_usage(c, "--ids: \"%.40s\" is not a list of token ids like 1,2,3", s);
        if (hn_ids_add(out, (int32_t)v, 0, 0)) return hn_fail(&c->err, HN_ENOMEM, "no memory for ids");
        s = *end ? end + 1 : end;
    }
    return HN_OK;
}

static int print_logits(hn_cli *c, hn_model *m, const hn_ids *id) {
    int64_t V = m->net.cfg.vocab_size;
    hn_real *z = hn_alloc((size_t)id->n * (size_t)V * sizeof *z);
    if (!z) return hn_fail(&c->err, HN_ENOMEM, "no memory for %lld rows of logits", (long long)id->n);
    int rc = hn_logits_of(&m->net, id->id, (int)id->n, z, &c->err);
    if (!rc) printf(", \"logits\": [");
    for (int64_t i = 0; i < id->n && !rc; i++) {
        printf(i ? ", [" : "[");
        for (int64_t v = 0; v < V; v++) { /* JSON has no infinity: masked ids are null */
            if (isfinite(z[i * V + v])) printf(v ? ", %.9g" : "%.9g", (double)z[i * V + v]);
            else printf(v ? ", null" : "null");
        }
        printf("]");
    }
    if (!rc) printf("]");
    hn_free(z);
    return rc;
}

static int score(hn_cli *c, const score_options *o, hn_model *m, const hn_ids *id) {
    hn_err *e = &c->err;
    hn_forest f;
    hn_pass p = { 0 };
    hn_forest_init(&f);
    const hn_score_cols want = { "logp", NULL, "entropy", NULL };
    int rc = hn_forest_tree(&f, e), span = rc < 0 ? rc : hn_forest_span(&f, -1, id->id, (int)id->n, e);
    rc = span < 0 ? span : hn_forest_sample(&f, e);
    for (int i = 1; i < id->n && rc >= 0; i++) rc = hn_forest_act(&f, span, i, e);
    if (rc >= 0) rc = hn_forest_check(&f, m->net.cfg.vocab_size, e);
    if (rc >= 0 && (!hn_forest_col(&f, "logp", HN_PER_ACT, HN_F, e) ||
                    !hn_forest_col(&f, "entropy", HN_PER_ACT, HN_F, e)))
        rc = HN_ENOMEM;
    if (rc >= 0 && f.n_act) rc = hn_pass_score(&p, &m->net, &f, 1 << 20, o->temperature, &want, e);
    if (rc >= 0) {
        double sum = 0;
        printf("{\"ids\": [");
        for (int64_t i = 0; i < id->n; i++) printf(i ? ", %d" : "%d", id->id[i]);
        printf("], \"logprobs\": [null");
        for (int32_t a = 0; a < f.n_act; a++)
            printf(", %.9g", (double)hn_forest_f(&f, "logp")[a]), sum += hn_forest_f(&f, "logp")[a];
        printf("], \"sum\": %.9g, \"perplexity\": %.9g", sum, f.n_act ? exp(-sum / f.n_act) : 1);
        rc = o->logits ? print_logits(c, m, id) : HN_OK;
        printf("}\n");
    }
    hn_pass_release(&p);
    hn_forest_release(&f);
    return rc < 0 ? rc : HN_OK;
}

static int run(int argc, char **argv) {
    hn_cli c;
    score_options o = { 0 };
    hn_model *m = NULL;
    hn_ids id = { 0 };
    int rc = hn_cli_begin(&c, &hn_command_score, argc, argv);
    if (!rc) rc = hn_cli_add(&c, "Score", table, &o);
    if (!rc) rc = hn_cli_ready(&c);
    if (!rc && !o.text == !o.ids) rc = hn_cli_usage(&c, "give one of --text TEXT and --ids 1,2,3");
    if (!rc && o.ids) rc = parse_ids(&c, o.ids, &id);
    if (!rc) rc = hn_cli_model(&c, &m);
    if (!rc && o.text && !m->tok)
        rc = hn_fail(&c.err, HN_EUNSUP, "%s has no tokenizer: give --ids", c.common.model);
    if (!rc && o.text) rc = hn_model_encode(m, o.text, strlen(o.text), o.add_special, &id, &c.err);
    for (int64_t i = 0; i < id.n && !rc; i++)
        if (id.id[i] >= m->net.cfg.vocab_size)
            rc = hn_fail(&c.err, HN_ERANGE, "--ids: %d is outside the model's vocabulary of %d", id.id[i],
                         m->net.cfg.vocab_size);
    if (!rc && !id.n) rc = hn_cli_usage(&c, "there is nothing to score");
    if (!rc) rc = score(&c, &o, m, &id);
    hn_ids_free(&id);
    hn_model_close(m);
    return hn_cli_end(&c, rc);
}

const hn_command hn_command_score = {
    "score",
    "log-probabilities of a text or of token ids, as JSON\n"
    "usage: hone score --model DIR (--text TEXT | --ids 1,2,3) [--logits]\n\n"
    "logprobs[i] is the log-probability of token i after those before it; the first has none (null).",
    run, .answers = true
};
