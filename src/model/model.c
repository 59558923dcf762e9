/* model.c - reads and writes model directories. */
#include "model/model.h"
#include "base/io.h"
#include "base/json.h"
#include "cpu/backend.h"

#include <string.h>

/* ---- weights ---- */
static int load_weights(hn_transformer *net, hn_hfdir *d, hn_err *e) {
    for (int64_t i = 0; i < net->params.n; i++) {
        const hn_param *p = &net->params.list[i];
        const hn_st_tensor *t;
        int rc = hn_hfdir_need(d, p->name, p->shape.nd, p->shape.d, &t, e);
        if (!rc) rc = hn_st_to_f32(t, 0, p->count, hn_params_place(&net->params, i), e);
        if (!rc) rc = hn_params_placed(&net->params, i, e);
        if (rc) return rc;
    }
    int rc = hn_hfdir_rest(d, e);
    return rc ? rc : hn_params_refresh(&net->params, e);
}

static bool same_shape(const hn_hfconfig *a, const hn_hfconfig *b) {
    return a->arch == b->arch && a->vocab_size == b->vocab_size && a->hidden_size == b->hidden_size &&
           a->intermediate_size == b->intermediate_size && a->n_layer == b->n_layer &&
           a->n_head == b->n_head && a->n_kv_head == b->n_kv_head && a->head_dim == b->head_dim &&
           a->tied == b->tied && a->qkv_bias == b->qkv_bias;
}

int hn_model_load(hn_model *m, const char *dir, hn_err *e) {
    hn_hfdir *d = NULL;
    hn_assert(!m->net.params.quant);
    int rc = hn_hfdir_open(&d, dir, e);
    if (!rc && !same_shape(hn_hfdir_config(d), &m->net.cfg))
        rc = hn_fail(e, HN_EPARSE, "%s: a model of another shape than %s", dir, m->dir);
    if (!rc) rc = load_weights(&m->net, d, e);
    hn_hfdir_close(d);
    return rc;
}

int hn_model_copy(hn_transformer *to, const hn_transformer *from, hn_err *e) {
    int rc = hn_transformer_init(to, &from->cfg, e);
    if (rc) return rc;
    to->vocab = from->vocab;
    hn_assert(!from->params.quant);
    if ((rc = hn_params_build(&to->params, from->params.backend, from->params.prec, e))) goto fail;
    memcpy(to->params.value, from->params.value, (size_t)from->params.count * sizeof(hn_real));
    if ((rc = hn_params_refresh(&to->params, e))) goto fail;
    return HN_OK;
fail:
    hn_transformer_release(to);
    return rc;
}

/* ---- text ---- */
/* The template in tokenizer_config.json: a string, or a list of {"name","template"} of which "default" is
 * taken. */
static int template_of_config(const char *path, char **text, hn_err *e) {
    *text = NULL;
    if (!hn_path_exists(path)) return HN_OK;
    json_t *j;
    int rc = hn_json_read(&j, path, e);
    if (rc) return rc;
    const json_t *t = json_object_get(j, "chat_template");
    size_t i;
    json_t *v;
    json_array_foreach(t, i, v) {
        const char *name = json_string_value(json_object_get(v, "name"));
        if (name && !strcmp(name, "default")) t = json_object_get(v, "template");
        if (!json_is_array(t)) break;
    }
    if (json_is_string(t) && !(*text = hn_strdup(json_string_value(t))))
        rc = hn_fail(e, HN_ENOMEM, "no memory for %s", path);
    else if (t && !json_is_string(t) && !json_is_null(t))
        rc = hn_fail(e, HN_EUNSUP,
                     "%s: chat_template is neither a string nor a list with a template named \"default\"",
                     path);
    json_decref(j);
    return rc;
}

static bool same_template(const char *a, size_t n, const char *b) { /* but for newlines at the end */
    size_t m = strlen(b);
    while (n && a[n - 1] == '\n') n--;
    while (m && b[m - 1] == '\n') m--;
    return n == m && !memcmp(a, b, n);
}

int hn_model_template_text(const char *dir, char **text, size_t *n, bool *differ, hn_err *e) {
    hn_buf path = { 0 };
    char *other = NULL;
    bool jinja = false;
    *text = NULL;
    *n = 0;
    int rc = hn_path_join(&path, dir, "chat_template.jinja") ? HN_OK : HN_ENOMEM;
    if (!rc && (jinja = hn_path_exists(path.data))) rc = hn_file_read(path.data, text, n, e);
    if (!rc && !hn_path_join(&path, dir, "tokenizer_config.json")) rc = HN_ENOMEM;
    if (rc == HN_ENOMEM) hn_fail(e, rc, "no memory for the chat template of %s", dir);
    if (!rc && (!jinja || differ)) rc = template_of_config(path.data, &other, e);
    if (differ) *differ = jinja && other && !same_template(*text, *n, other);
    if (!rc && !jinja) {
        *text = other;
        *n = other ? strlen(other) : 0;
        other = NULL;
    }
    if (rc) {
        hn_free(*text);
        *text = NULL;
    }
    hn_free(other);
    hn_buf_free(&path);
    return rc;
}

static int open_template(hn_model *m, const char *dir, hn_err *e) {
    char *text, name[400];
    size_t n;
    int rc = hn_model_template_text(dir, &text, &n, &m->two_templates, e);
    snprintf(name, sizeof name, "%.370s: chat template", dir);
    if (!rc && text) rc = hn_tmpl_new(&m->tmpl, text, n, name, e);
    hn_free(text);
    return rc;
}

static void add_stop(hn_model *m, int32_t id) {
    for (int i = 0; i < m->n_stop; i++)
        if (m->stop[i] == id) return;
    if (id >= 0 && m->n_stop < (int)(sizeof m->stop / sizeof *m->stop)) m->stop[m->n_stop++] = id;
}

/* 1, 0, or a code. */
static int has_tokenizer(const char *dir, hn_err *e) {
    static const char *const name[] = { "tokenizer.json", "vocab.json", "tokenizer_config.json" };
    hn_buf path = { 0 };
    int found = 0;
    for (size_t i = 0; i < sizeof name / sizeof *name && !found; i++)
        found = hn_path_join(&path, dir, name[i]) ? hn_path_exists(path.data)
                                                  : hn_fail(e, HN_ENOMEM, "no memory for a path");
    hn_buf_free(&path);
    return found;
}

int hn_model_text(hn_model *m, hn_err *e) {
    const char *dir = m->dir;
    for (int i = 0; i < m->gencfg.n_eos; i++) add_stop(m, m->gencfg.eos[i]);
    int rc = has_tokenizer(dir, e);
    if (rc <= 0) return rc;
    rc = hn_tok_open(&m->tok, dir, e);
    if (!rc) rc = open_template(m, dir, e);
    if (rc) return rc;
    if (!m->n_stop) add_stop(m, hn_tok_role_id(m->tok, HN_TOK_EOS));
    int size = hn_tok_size(m->tok);
    if (size > m->net.cfg.vocab_size)
        return hn_fail(
            e, HN_EPARSE,
            "%s: the tokenizer has %d ids and config.json's vocab_size is %d: they do not belong together",
            dir, size, m->net.cfg.vocab_size);
    m->net.vocab = size;
    return HN_OK;
}

/* ---- directories ---- */
static int take_settings(hn_model *m, const hn_hfdir *d, const char *dir, hn_err *e) {
    if (!(m->dir = hn_strdup(dir))) return hn_fail(e, HN_ENOMEM, "no memory for a path");
    m->gencfg = *hn_hfdir_generation(d);
    return hn_transformer_init(&m->net, hn_hfdir_config(d), e);
}

int hn_model_settings(hn_model **out, const char *dir, hn_err *e) {
    hn_model *m = hn_alloc(sizeof *m);
    if (!m) return hn_fail(e, HN_ENOMEM, "no memory for a model");
    hn_hfdir *d = NULL;
    int rc = hn_hfdir_settings(&d, dir, e);
    if (!rc) rc = take_settings(m, d, dir, e);
    hn_hfdir_close(d);
    if (rc) hn_model_close(m);
    else *out = m;
    return rc;
}

int hn_model_open(hn_model **out, const char *dir, hn_prec prec, hn_err *e) {
    return hn_model_open_quant(out, dir, prec, HN_QUANT_NONE, e);
}

int hn_model_open_quant(hn_model **out, const char *dir, hn_prec prec, hn_quant quant, hn_err *e) {
    hn_model *m = hn_alloc(sizeof *m);
    if (!m) return hn_fail(e, HN_ENOMEM, "no memory for a model");
    hn_hfdir *d = NULL;
    int rc = hn_hfdir_open(&d, dir, e);
    if (!rc) rc = take_settings(m, d, dir, e);
    if (!rc && quant) hn_params_quantize(&m->net.params, quant);
    if (!rc) rc = hn_params_build(&m->net.params, &hn_backend_cpu, prec, e);
    if (!rc) rc = load_weights(&m->net, d, e);
    if (!rc) rc = hn_model_text(m, e);
    hn_hfdir_close(d);
    if (rc) hn_model_close(m);
    else *out = m;
    return rc;
}

void hn_model_close(hn_model *m) {
    if (!m) return;
    hn_tmpl_free(m->tmpl);
    hn_tok_close(m->tok);
    hn_transformer_release(&m->net);
    json_decref(m->template_kwargs);
    hn_free(m->dir);
    hn_free(m);
}

typedef struct {
    const hn_model *m;
    int (*more)(void *ctx, const char *dir, hn_err *e);
    void *ctx;
} save_ctx;

static int save_data(void *ctx, int64_t i, hn_st_writer *w, hn_err *e) {
    const save_ctx *s = ctx;
    const hn_param *p = &s->m->net.params.list[i];
    return hn_st_writer_f32(w, s->m->net.params.value + p->at, p->count, e);
}

static int save_more(void *ctx, const char *dir, hn_err *e) {
    const save_ctx *s = ctx;
    return s->more ? s->more(s->ctx, dir, e) : HN_OK;
}

int hn_model_save(const hn_model *m, const char *dir, hn_st_dtype dtype, bool replace,
                  int (*more)(void *ctx, const char *dir, hn_err *e), void *ctx, hn_err *e) {
    const hn_params *p = &m->net.params;
    hn_assert(!p->quant);
    hn_hftensor *t = hn_alloc((size_t)p->n * sizeof *t);
    if (!t) return hn_fail(e, HN_ENOMEM, "no memory to save %s", dir);
    for (int64_t i = 0; i < p->n; i++) {
        t[i] = (hn_hftensor){ .name = p->list[i].name, .rank = p->list[i].shape.nd };
        memcpy(t[i].shape, p->list[i].shape.d, sizeof p->list[i].shape.d);
    }
    save_ctx s = { m, more, ctx };
    hn_hfsave how = { .source = m->dir,
                      .dtype = dtype,
                      .shard_bytes = (int64_t)5e9,
                      .replace = replace,
                      .tensor = t,
                      .n = p->n };
    how.data = save_data;
    how.more = save_more;
    how.ctx = &s;
    int rc = hn_hfdir_save(dir, &how, e);
    hn_free(t);
    return rc;
}

/* ---- prompts ---- */
int hn_model_render(const hn_model *m, json_t *messages, json_t *tools, json_t *kwargs, bool prompt,
                    hn_buf *out, hn_ranges *assistant, hn_err *e) {
    if (!m->tmpl)
        return hn_fail(e, HN_EUNSUP,
                       "%s has no chat template (chat_template.jinja, or chat_template in "
                       "tokenizer_config.json), and the input is "
                       "messages: use plain-text prompts or add a template",
                       m->dir);
    json_t *tokens = json_object();
    int bad = !tokens;
    for (int r = 0; m->tok && r < HN_TOK_ROLES; r++) {
        const char *s = hn_tok_role_str(m->tok, (hn_tok_role)r);
        if (s) bad |= json_object_set_new(tokens, hn_tok_role_name((hn_tok_role)r), json_string(s));
    }
    json_t *all = m->template_kwargs ? json_copy(m->template_kwargs) : NULL;
    bad |= (m->template_kwargs && !all) || (all && kwargs && json_object_update(all, kwargs));
    hn_chat c = { m->tmpl, messages, tools, tokens, all ? all : kwargs, m->template_opts };
    int rc = bad ? hn_fail(e, HN_ENOMEM, "no memory for a chat template's variables")
                 : hn_chat_render(&c, prompt, out, assistant, e);
    json_decref(tokens);
    json_decref(all);
    return rc;
}

int hn_model_template(hn_model *m, const char *kwargs, const char *date, hn_err *e) {
    m->template_opts.now = date;
    if (date && !hn_tmpl_date(date))
        return hn_fail(e, HN_EPARSE, "--template_date '%s' is not of the form YYYY-MM-DD [HH:MM:SS]", date);
    if (!kwargs) return HN_OK;
    int rc = hn_json_parse(&m->template_kwargs, kwargs, strlen(kwargs), "--chat_template_kwargs", e);
    if (rc || json_is_object(m->template_kwargs)) return rc;
    return hn_fail(e, HN_EPARSE,
                   "--chat_template_kwargs must be a JSON object, as {\"enable_thinking\": false}");
}

int32_t hn_model_eos(const hn_model *m) {
    int32_t id = m->tok ? hn_tok_role_id(m->tok, HN_TOK_EOS) : -1;
    return id >= 0 ? id : m->n_stop ? m->stop[0] : -1;
}

int hn_model_encode(const hn_model *m, const char *text, size_t n, bool special, hn_ids *out, hn_err *e) {
    if (!m->tok) return hn_fail(e, HN_EUNSUP, "%s has no tokenizer: give token ids", m->dir);
    int rc = hn_tok_encode(m->tok, text, n, special, out, e);
    if (!rc && out->dropped)
        rc = hn_fail(e, HN_EUNSUP, "%lld bytes of the text have no token in the vocabulary of %s",
                     (long long)out->dropped, m->dir);
    return rc;
}

int hn_model_prompt(const hn_model *m, const char *text, json_t *messages, hn_ids *out, hn_err *e) {
    if (!messages) return hn_model_encode(m, text, strlen(text), true, out, e);
    hn_buf b = { 0 };
    int rc = hn_model_render(m, messages, NULL, NULL, true, &b, NULL, e);
    if (!rc) rc = hn_model_encode(m, b.data ? b.data : "", b.n, false, out, e);
    hn_buf_free(&b);
    return rc;
}
