/* convert_gguf.c - the GGUF side of `hone convert`: the tokenizer of a model as tokenizer.ggml.* keys and
 * back. */
#include "base/io.h"
#include "cli/convert.h"
#include "format/gguf_hf.h"
#include "model/model.h"

#include <string.h>

#define KEY "tokenizer.ggml."
static const char *const role_key[HN_TOK_ROLES] = {
    [HN_TOK_BOS] = KEY "bos_token_id",       [HN_TOK_EOS] = KEY "eos_token_id",
    [HN_TOK_PAD] = KEY "padding_token_id",   [HN_TOK_UNK] = KEY "unknown_token_id",
    [HN_TOK_SEP] = KEY "seperator_token_id", /* so it is spelled there */
    [HN_TOK_CLS] = KEY "cls_token_id",       [HN_TOK_MASK] = KEY "mask_token_id",
};
static const char *const more_eos[] = { KEY "eot_token_id", KEY "eom_token_id" };
enum { TOKENS_MAX = 1 << 22 };

/* ---- out ---- */
typedef struct vocab {
    hn_tok_lists l;
    int32_t more_eos[2]; /* ends beside role[HN_TOK_EOS]; -1: none */
    hn_arena *a;
} vocab;

static int put_strings(const vocab *v, hn_gguf_writer *w, const char *key, const char *const *s, int64_t n,
                       hn_err *e) {
    hn_gguf_str *list = hn_arena_get(v->a, (size_t)(n + 1) * sizeof *list);
    if (!list) return hn_fail(e, HN_ENOMEM, "out of memory for %s", key);
    for (int64_t i = 0; i < n; i++) list[i] = (hn_gguf_str){ s[i], strlen(s[i]) };
    hn_gguf_put_strs(w, key, list, n);
    return HN_OK;
}

static int put_vocab(void *ctx, hn_gguf_writer *w, hn_err *e) {
    const vocab *v = ctx;
    const hn_tok_lists *l = &v->l;
    const char *pre = l->pre ? l->pre : "default";
    hn_gguf_put_str(w, KEY "model", l->model, strlen(l->model));
    hn_gguf_put_str(w, KEY "pre", pre, strlen(pre));
    int rc = put_strings(v, w, KEY "tokens", l->token, l->n, e);
    if (l->score) hn_gguf_put_f32s(w, KEY "scores", l->score, l->n);
    hn_gguf_put_i32s(w, KEY "token_type", l->type, l->n);
    if (!rc && l->n_merge) rc = put_strings(v, w, KEY "merges", l->merge, l->n_merge, e);
    for (int r = 0; r < HN_TOK_ROLES; r++)
        if (l->role[r] >= 0) hn_gguf_put_u32(w, role_key[r], (uint32_t)l->role[r]);
    for (int i = 0; i < 2; i++)
        if (v->more_eos[i] >= 0) hn_gguf_put_u32(w, more_eos[i], (uint32_t)v->more_eos[i]);
    hn_gguf_put_bool(w, KEY "add_bos_token", l->add_bos);
    hn_gguf_put_bool(w, KEY "add_eos_token", l->add_eos);
    if (l->score) {
        hn_gguf_put_bool(w, KEY "add_space_prefix", l->add_space);
        hn_gguf_put_bool(w, KEY "remove_extra_whitespaces", l->squeeze);
    }
    if (l->chat_template)
        hn_gguf_put_str(w, "tokenizer.chat_template", l->chat_template, strlen(l->chat_template));
    return rc;
}

/* Roles that the tokenizer's files do not name are those of config.json. */
static void take_ids(vocab *v, const hn_hfdir *d, hn_cli *c) {
    const hn_gencfg *g = hn_hfdir_generation(d);
    int32_t *role = v->l.role;
    int left = 0, n = 0;
    if (role[HN_TOK_BOS] < 0) role[HN_TOK_BOS] = g->bos;
    if (role[HN_TOK_PAD] < 0) role[HN_TOK_PAD] = g->pad;
    if (role[HN_TOK_EOS] < 0 && g->n_eos) role[HN_TOK_EOS] = g->eos[0];
    v->more_eos[0] = v->more_eos[1] = -1;
    for (int i = 0; i < g->n_eos; i++) {
        if (g->eos[i] == role[HN_TOK_EOS]) continue;
        if (n < 2) v->more_eos[n++] = g->eos[i];
        else left++;
    }
    if (left) hn_cli_note(c, "%d of the ids that end an answer have no key in GGUF and are left out", left);
}

static int open_vocab(vocab *v, hn_tok **t, const hn_hfdir *d, hn_cli *c) {
    const char *dir = hn_hfdir_path(d);
    char *text = NULL;
    size_t n;
    int rc = hn_tok_open(t, dir, &c->err);
    if (!rc && !(v->a = hn_arena_new(1 << 16))) rc = hn_fail(&c->err, HN_ENOMEM, "%s: out of memory", dir);
    if (!rc) rc = hn_tok_to_lists(*t, hn_hfdir_config(d)->vocab_size, &v->l, v->a, &c->err);
    if (!rc && v->l.n > hn_hfdir_config(d)->vocab_size)
        rc = hn_fail(&c->err, HN_EPARSE, "%s: the tokenizer has %d ids and config.json's vocab_size is %d",
                     dir, v->l.n, hn_hfdir_config(d)->vocab_size);
    if (!rc) rc = hn_model_template_text(dir, &text, &n, NULL, &c->err);
    if (!rc && text && !(v->l.chat_template = hn_arena_str(v->a, text, n)))
        rc = hn_fail(&c->err, HN_ENOMEM, "%s: out of memory", dir);
    if (!rc && text && strlen(v->l.chat_template) != n)
        rc = hn_fail(&c->err, HN_EPARSE, "%s: the chat template has a 0 byte inside", dir);
    hn_free(text);
    if (!rc && v->l.charsmap)
        rc = hn_fail(&c->err, HN_EUNSUP,
                     "%s: a SentencePiece model that changes characters (precompiled_charsmap): GGUF's llama "
                     "tokenizer would not, and its texts would be other tokens",
                     dir);
    if (!rc) take_ids(v, d, c);
    return rc;
}

/* ---- in ---- */
static int strings(const hn_gguf *g, const char *key, hn_arena *a, const char *const **out, int64_t *n,
                   hn_err *e) {
    const hn_gguf_kv *k;
    int rc = hn_gguf_list(g, key, HN_GGUF_KV_STR, &k, e);
    *out = NULL;
    *n = k && !rc ? k->n : 0;
    if (rc || !k) return rc;
    const char **s = hn_arena_get(a, (size_t)(k->n + 1) * sizeof *s);
    for (int64_t i = 0; i < k->n && s; i++) {
        if (memchr(k->str[i].s, 0, k->str[i].n))
            return hn_fail(e, HN_EPARSE, "%s: %s[%lld] has a 0 byte inside", hn_gguf_path(g), key,
                           (long long)i);
        if (!(s[i] = hn_arena_str(a, k->str[i].s, k->str[i].n))) s = NULL;
    }
    *out = s;
    return s ? HN_OK : hn_fail(e, HN_ENOMEM, "%s: out of memory for %s", hn_gguf_path(g), key);
}

static int text_of(const hn_gguf *g, const char *key, hn_arena *a, const char **out, hn_err *e) {
    hn_gguf_str s = { NULL, 0 };
    int rc = hn_gguf_text(g, key, &s, e);
    if (rc || !s.s) return rc;
    *out = hn_arena_str(a, s.s, s.n);
    return *out ? HN_OK : hn_fail(e, HN_ENOMEM, "%s: out of memory for %s", hn_gguf_path(g), key);
}

/* Numbers beside the tokens, one each at least. */
static int numbers(const hn_gguf *g, hn_tok_lists *l, hn_arena *a, hn_err *e) {
    const hn_gguf_kv *s, *t;
    int rc = hn_gguf_list(g, KEY "scores", HN_GGUF_KV_F32, &s, e);
    if (!rc) rc = hn_gguf_list(g, KEY "token_type", HN_GGUF_KV_I32, &t, e);
    if (rc) return rc;
    if ((s && s->n < l->n) || (t && t->n < l->n))
        return hn_fail(e, HN_EPARSE, "%s: %s has fewer entries than there are tokens", hn_gguf_path(g),
                       s && s->n < l->n ? s->key : t->key);
    float *score = s ? hn_arena_get(a, (size_t)l->n * sizeof *score) : NULL;
    int32_t *type = t ? hn_arena_get(a, (size_t)l->n * sizeof *type) : NULL;
    if ((s && !score) || (t && !type))
        return hn_fail(e, HN_ENOMEM, "%s: out of memory for the tokens", hn_gguf_path(g));
    for (int i = 0; score && i < l->n; i++) score[i] = hn_gguf_f32(s, i);
    for (int i = 0; type && i < l->n; i++) type[i] = hn_gguf_i32(t, i);
    l->score = score;
    l->type = type;
    return HN_OK;
}

static bool one_of(const char *word, const char *list) {
    char padded[80];
    snprintf(padded, sizeof padded, " %.70s ", word);
    return strstr(list, padded);
}

/* What a file may leave unsaid is what llama.cpp takes then. */
static void defaults(hn_tok_lists *l) {
    bool spm = !strcmp(l->model, "llama");
    for (int r = 0; r < HN_TOK_ROLES; r++) l->role[r] = -1;
    if (spm && l->n > 2) l->role[HN_TOK_UNK] = 0, l->role[HN_TOK_BOS] = 1, l->role[HN_TOK_EOS] = 2;
    l->add_space = true;
    l->add_bos = spm || (l->pre && one_of(l->pre, " llama3 llama-v3 llama-bpe falcon3 pixtral lfm2 tekken "));
}

static int read_vocab(const hn_gguf *g, hn_tok_lists *l, hn_arena *a, hn_err *e) {
    int64_t n, top;
    *l = (hn_tok_lists){ .n = 0 };
    int rc = text_of(g, KEY "model", a, &l->model, e);
    if (!rc && !l->model) rc = hn_fail(e, HN_EPARSE, "%s: " KEY "model is missing", hn_gguf_path(g));
    if (!rc) rc = text_of(g, KEY "pre", a, &l->pre, e);
    if (!rc) rc = strings(g, KEY "tokens", a, &l->token, &n, e);
    if (!rc && (n < 1 || n > TOKENS_MAX))
        rc = hn_fail(e, HN_ERANGE, "%s: " KEY "tokens has %lld entries", hn_gguf_path(g), (long long)n);
    if (rc) return rc;
    l->n = (int)n;
    defaults(l);
    if ((rc = numbers(g, l, a, e)) || (rc = strings(g, KEY "merges", a, &l->merge, &l->n_merge, e)) ||
        (rc = text_of(g, "tokenizer.chat_template", a, &l->chat_template, e)) ||
        (rc = hn_gguf_bool(g, KEY "add_bos_token", &l->add_bos, e)) ||
        (rc = hn_gguf_bool(g, KEY "add_eos_token", &l->add_eos, e)) ||
        (rc = hn_gguf_bool(g, KEY "add_space_prefix", &l->add_space, e)) ||
        (rc = hn_gguf_bool(g, KEY "remove_extra_whitespaces", &l->squeeze, e)))
        return rc;
    top = n - 1;
    for (int r = 0; !rc && r < HN_TOK_ROLES; r++) {
        int64_t id = l->role[r];
        rc = hn_gguf_int(g, role_key[r], 0, top, &id, e);
        l->role[r] = (int32_t)id;
    }
    return rc;
}

/* ---- the vocabulary that was written, read again ---- */
static bool same_text(const char *a, const char *b) { return a && b ? !strcmp(a, b) : a == b; }

static bool same_texts(const char *const *a, const char *const *b, int64_t n) {
    while (n > 0 && !strcmp(a[n - 1], b[n - 1])) n--;
    return n == 0;
}

static int check_vocab(const char *path, const hn_tok_lists *was, hn_arena *a, hn_err *e) {
    hn_gguf *g;
    hn_tok_lists is;
    int rc = hn_gguf_open(&g, path, e);
    if (rc) return rc;
    rc = read_vocab(g, &is, a, e);
    size_t n = (size_t)was->n;
    if (!rc &&
        !(is.n == was->n && same_text(is.model, was->model) && same_texts(is.token, was->token, is.n) &&
          !memcmp(is.type, was->type, n * sizeof *is.type) && is.n_merge == was->n_merge &&
          (!was->score || !memcmp(is.score, was->score, n * sizeof *is.score)) &&
          same_texts(is.merge, was->merge, is.n_merge) && is.add_bos == was->add_bos &&
          is.add_eos == was->add_eos && same_text(is.chat_template, was->chat_template)))
        rc = hn_fail(e, HN_EIO, "%s: its vocabulary is not the one that was written", path);
    for (int r = 0; !rc && r < HN_TOK_ROLES; r++)
        if (was->role[r] >= 0 && is.role[r] != was->role[r])
            rc = hn_fail(e, HN_EIO, "%s: %s is not what was written", path, role_key[r]);
    hn_gguf_close(g);
    return rc;
}

/* ---- the commands ---- */
int hn_cli_to_gguf(hn_cli *c, const char *type_name) {
    const char *dir = c->common.model, *file = c->common.out;
    hn_err *e = &c->err;
    hn_hfdir *d = NULL;
    hn_tok *t = NULL;
    hn_gguf_type type;
    hn_gguf_made made;
    vocab v = { 0 };
    int rc = hn_gguf_type_parse(&type, type_name, NULL);
    if (rc) return hn_cli_usage(c, "no type named '%s': there are f32, f16, bf16 and q8_0", type_name);
    if (hn_path_is_dir(file)) return hn_cli_usage(c, "--out %s is a directory; a file is written", file);
    rc = hn_hfdir_open(&d, dir, e);
    if (!rc) rc = open_vocab(&v, &t, d, c);
    if (!rc) rc = hn_gguf_export(d, file, type, put_vocab, &v, &made, e);
    if (!rc) rc = check_vocab(file, &v.l, v.a, e);
    if (!rc) {
        const hn_hfconfig *k = hn_hfdir_config(d);
        if (k->sliding_window)
            hn_cli_note(c, "GGUF's llama has no sliding window: the same model up to %d tokens",
                        k->sliding_window);
        if (made.other)
            hn_cli_note(c, "%lld matrices are in F16: their rows do not fill Q8_0's blocks of 32",
                        (long long)made.other);
        printf("%s: %s, %.2f M parameters, %lld tensors in %s, %d tokens (%s); read again and compared\n",
               file, hn_arch_name(k->arch), 1e-6 * (double)hn_hfconfig_params(k), (long long)made.tensors,
               type_name, v.l.n, v.l.pre ? v.l.pre : v.l.model);
    }
    hn_arena_free(v.a);
    hn_tok_close(t);
    hn_hfdir_close(d);
    return rc;
}

static int save_tokenizer(void *ctx, const char *dir, hn_err *e) { return hn_tok_save(ctx, dir, e); }

int hn_cli_from_gguf(hn_cli *c) {
    const char *file = c->common.model, *dir = c->common.out;
    hn_err *e = &c->err;
    hn_gguf *g = NULL;
    hn_tok *t = NULL;
    hn_tok_lists l = { 0 };
    hn_hfconfig k;
    hn_arena *a = hn_arena_new(1 << 16);
    int rc = a ? hn_gguf_open(&g, file, e) : hn_fail(e, HN_ENOMEM, "%s: out of memory", file);
    if (!rc) rc = hn_gguf_shape(&k, g, e);
    if (!rc) rc = read_vocab(g, &l, a, e);
    if (!rc && l.n != k.vocab_size)
        rc = hn_fail(e, HN_EPARSE, "%s: " KEY "tokens has %d entries, token_embd.weight %d rows", file, l.n,
                     k.vocab_size);
    if (!rc) rc = hn_tok_from_lists(&t, file, &l, e);
    if (!rc) rc = hn_gguf_import(g, dir, save_tokenizer, t, e);
    if (!rc) {
        if (hn_gguf_kv_find(g, "tokenizer.chat_templates"))
            hn_cli_note(c, "only the default one of several chat templates is kept");
        printf("%s: %s, %.2f M parameters in %s, %d tokens (%s); read again and compared\n", dir,
               hn_arch_name(k.arch), 1e-6 * (double)hn_hfconfig_params(&k), k.dtype, l.n,
               l.pre && strcmp(l.model, "llama") ? l.pre : l.model);
    }
    hn_tok_close(t);
    hn_gguf_close(g);
    hn_arena_free(a);
    return rc;
}
