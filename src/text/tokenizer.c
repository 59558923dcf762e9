/* tokenizer.c - opening, asking and saving a tokenizer. */
#include "text/tokenizer.h"

#include <string.h>

#include "base/io.h"
#include "text/tok.h"

/* ---- opening ---- */
static void *pcre_alloc(PCRE2_SIZE n, void *ctx) {
    (void)ctx;
    return hn_alloc(n);
}

static void pcre_free(void *p, void *ctx) {
    (void)ctx;
    hn_free(p);
}

static int check_outside(const hn_tok *t, const int32_t *id, int64_t n, hn_err *e) {
    for (int64_t i = 0; i < n; i++)
        if (id[i] >= t->n_id || !t->name[id[i]].s)
            return hn_fail(e, HN_EPARSE, "post_processor: id %d is no token", id[i]);
    return HN_OK;
}

static int build(hn_tok *t, const json_t *root, hn_err *e) {
    int rc = tok_parts_load(t, root, e);
    if (!rc) rc = tok_vocab_load(t, root, e);
    if (!rc) rc = tok_added_load(t, e);
    if (!rc) rc = check_outside(t, t->before, t->n_before, e);
    if (!rc) rc = check_outside(t, t->after, t->n_after, e);
    for (int r = 0; r < HN_TOK_ROLES; r++) t->role_id[r] = t->role[r] ? hn_tok_id(t, t->role[r]) : -1;
    return rc;
}

/* From the files in t to a working tokenizer; on an error t is closed. */
static int finish(hn_tok **t_out, const char *origin, int rc, hn_err *e) {
    hn_tok *t = *t_out;
    json_t *root = NULL;
    if (!rc && (!(t->dir = hn_strdup(origin)) || !(t->arena = hn_arena_new(4096)) ||
                !(t->pcre = pcre2_general_context_create(pcre_alloc, pcre_free, NULL))))
        rc = HN_ENOMEM;
    if (!rc) rc = tok_files_tree(t, &root, e);
    if (!rc) rc = build(t, root, e);
    json_decref(root);
    if (!rc) return HN_OK;
    hn_tok_close(t);
    *t_out = NULL;
    if (e && !e->code) hn_fail(e, rc, "out of memory for the tokenizer");
    hn_fail_in(e, "%s", origin);
    return rc;
}

int hn_tok_open(hn_tok **t, const char *dir, hn_err *e) {
    if (!(*t = hn_alloc(sizeof **t)))
        return hn_fail(e, HN_ENOMEM, "%s: out of memory for the tokenizer", dir);
    return finish(t, dir, tok_files_read(*t, dir, e), e);
}

int tok_from_memory(hn_tok **t, const char *origin, int kind, hn_buf *main, hn_buf *config, hn_err *e) {
    int rc = main->oom || config->oom || !(*t = hn_alloc(sizeof **t)) ? HN_ENOMEM : HN_OK;
    if (rc) {
        *t = NULL;
        hn_buf_free(main);
        hn_buf_free(config);
        return hn_fail(e, rc, "%s: out of memory for the tokenizer", origin);
    }
    tok_files_name(*t);
    (*t)->file[kind].data = main->data;
    (*t)->file[kind].n = main->n;
    (*t)->file[TOK_CONFIG].data = config->data;
    (*t)->file[TOK_CONFIG].n = config->n;
    *main = *config = (hn_buf){ 0 };
    return finish(t, origin, rc, e);
}

void hn_tok_close(hn_tok *t) {
    if (!t) return;
    tok_parts_free(t);
    for (int i = 0; i < TOK_FILES; i++) hn_free(t->file[i].data);
    for (int r = 0; r < HN_TOK_ROLES; r++) hn_free(t->role[r]);
    hn_free(t->by_name.slot);
    hn_free(t->by_text.slot);
    hn_free(t->pairs.slot);
    hn_free(t->raw.node);
    hn_free(t->normed.node);
    hn_free(t->added);
    hn_buf_free(&t->patterns);
    hn_free(t->user.node);
    hn_free(t->pieces.unit);
    hn_free(t->map.data);
    hn_free(t->score);
    hn_free(t->logp);
    hn_free(t->rank);
    hn_free(t->name);
    hn_free(t->text);
    hn_free(t->flag);
    hn_free(t->pool);
    hn_free(t->pool_text);
    hn_free(t->dir);
    if (t->pcre) pcre2_general_context_free(t->pcre);
    if (t->arena) hn_arena_free(t->arena);
    hn_free(t);
}

/* ---- asking ---- */
int hn_tok_size(const hn_tok *t) { return t->n_id; }

int hn_tok_id(const hn_tok *t, const char *token) { return tok_map_get(&t->by_name, token, strlen(token)); }

const char *hn_tok_piece(const hn_tok *t, int id) { return id >= 0 && id < t->n_id ? t->name[id].s : NULL; }

bool hn_tok_is_special(const hn_tok *t, int id) {
    return id >= 0 && id < t->n_id && (t->flag[id] & TOK_SPECIAL);
}

static const char *const roles[HN_TOK_ROLES] = { "bos_token", "eos_token", "pad_token", "unk_token",
                                                 "sep_token", "cls_token", "mask_token" };
const char *hn_tok_role_name(hn_tok_role role) { return roles[role]; }
int hn_tok_role_id(const hn_tok *t, hn_tok_role role) { return t->role_id[role]; }
const char *hn_tok_role_str(const hn_tok *t, hn_tok_role role) { return t->role[role]; }

const char *hn_tok_file(const hn_tok *t, const char *name, size_t *n) {
    for (int i = 0; i < TOK_FILES; i++) {
        if (!t->file[i].data || strcmp(t->file[i].name, name)) continue;
        if (n) *n = t->file[i].n;
        return t->file[i].data;
    }
    return NULL;
}

/* ---- saving ---- */
int hn_tok_save(const hn_tok *t, const char *dir, hn_err *e) {
    hn_buf path = { 0 };
    int rc = hn_dir_make(dir, e);
    for (int i = 0; i < TOK_FILES && !rc; i++) {
        if (!t->file[i].data) continue;
        const char *p = hn_path_join(&path, dir, t->file[i].name);
        rc = p ? hn_file_write(p, t->file[i].data, t->file[i].n, e)
               : hn_fail(e, HN_ENOMEM, "%s: out of memory", dir);
    }
    hn_buf_free(&path);
    return rc;
}
