/* models.c - opens the model a command was given. */
#include "cli/models.h"
#include "base/pool.h"
#include "cpu/cpu.h"

hn_prec hn_cli_prec(const hn_cli *c) {
    bool bf16 = c->common.dtype == 1 || (c->common.dtype == 2 && hn_cpu_tier() == HN_TIER_AMX);
    return bf16 ? HN_PREC_BF16 : HN_PREC_F32;
}

int hn_cli_model(hn_cli *c, hn_model **m) {
    static const char *const few[] = { NULL, "8-bit", "4-bit" };
    int rc = hn_cli_need(c, "model", c->common.model);
    if (!rc)
        rc = hn_model_open_quant(m, c->common.model, hn_cli_prec(c), (hn_quant)c->common.weights, &c->err);
    if (!rc) rc = hn_model_template(*m, c->common.template_kwargs, c->common.template_date, &c->err);
    if (rc) return rc;
    const hn_hfconfig *k = &(*m)->net.cfg;
    const char *products = c->common.weights                ? few[c->common.weights]
                           : hn_cli_prec(c) == HN_PREC_BF16 ? "bf16"
                                                            : "f32";
    hn_cli_note(c, "%s: %s, %.2f M parameters, %d layers, vocabulary %lld; %s products on %s, %d threads",
                c->common.model, hn_arch_name(k->arch), 1e-6 * (double)(*m)->net.params.count, k->n_layer,
                (long long)(*m)->net.vocab, products, hn_cpu_tier_name(), hn_pool_threads());
    if ((*m)->two_templates)
        hn_cli_note(c,
                    "warning: %s has two chat templates that differ: chat_template.jinja is used, the one in "
                    "tokenizer_config.json is not",
                    c->common.model);
    return HN_OK;
}

bool hn_cli_print_text(void *ctx, int64_t index, const char *text, size_t n) {
    (void)ctx;
    (void)index;
    fwrite(text, 1, n, stdout);
    fflush(stdout);
    return hn_cli_stopped(NULL);
}

int hn_cli_task(hn_cli *c, const char *name, const hn_task **t, void **priv) {
    if (!(*t = hn_task_find(name, &c->err))) return c->err.code;
    if (!(*priv = hn_alloc((*t)->priv_size + 1))) return hn_fail(&c->err, HN_ENOMEM, "no memory for a task");
    char title[80];
    snprintf(title, sizeof title, "Task %s", (*t)->name);
    return (*t)->opts ? hn_cli_add(c, title, (*t)->opts, *priv) : HN_OK;
}

int hn_cli_task_open(hn_cli *c, const hn_task *t, void *priv) {
    return t->open ? t->open(priv, &c->err) : HN_OK;
}

void hn_cli_task_close(const hn_task *t, void *priv) {
    if (t && priv && t->close) t->close(priv);
    hn_free(priv);
}
