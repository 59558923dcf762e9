/* preflight_text.c - tokenizer, vocabulary, template and stop tokens: do they belong together?
 *
 * The silent failures of training programs live here: an end token that no generation stops at, two begin
 * tokens, ids beyond the table, a template that does not render. */
#include "train/preflight_text.h"

#include <string.h>

static const char *piece(const hn_model *m, int32_t id) {
    const char *s = id >= 0 && m->tok ? hn_tok_piece(m->tok, id) : NULL;
    return s ? s : "no token";
}

static bool stops(const hn_model *m, int32_t id) {
    for (int i = 0; i < m->n_stop; i++)
        if (m->stop[i] == id) return true;
    return false;
}

/* "151645 <|im_end|>, 151643 <|endoftext|>" */
static void stop_set(const hn_model *m, hn_buf *b) {
    for (int i = 0; i < m->n_stop; i++)
        hn_buf_fmt(b, "%s%d %s", i ? ", " : "", m->stop[i], piece(m, m->stop[i]));
    if (!m->n_stop) hn_buf_str(b, "(none)");
}

/* ---- ids ---- */
static void vocabulary(hn_preflight *p, const hn_model *m) {
    int size = hn_tok_size(m->tok), rows = m->net.cfg.vocab_size;
    if (size > rows) {
        hn_preflight_say(p, HN_FOUND_FAIL, "vocabulary",
                         "take the tokenizer the model came with, or resize vocab_size and the embedding",
                         "the tokenizer has ids up to %d, vocab_size and the embedding have %d rows",
                         size - 1, rows);
        return;
    }
    const struct {
        const char *key;
        const int32_t *id;
        int n;
    } named[] = { { "eos_token_id", m->gencfg.eos, m->gencfg.n_eos },
                  { "bos_token_id", &m->gencfg.bos, m->gencfg.bos >= 0 },
                  { "pad_token_id", &m->gencfg.pad, m->gencfg.pad >= 0 } };
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < named[k].n; i++) {
            if (named[k].id[i] < size && hn_tok_piece(m->tok, named[k].id[i])) continue;
            hn_preflight_say(p, HN_FOUND_FAIL, "vocabulary", "mend generation_config.json or config.json",
                             "%s names id %d, which the tokenizer does not have", named[k].key,
                             named[k].id[i]);
            return;
        }
    if (size == rows)
        hn_preflight_say(p, HN_FOUND_OK, "vocabulary", "", "%d ids, as many as vocab_size and embedding rows",
                         size);
    else
        hn_preflight_say(p, HN_FOUND_OK, "vocabulary", "",
                         "%d ids in %d rows: %d rows of padding, never sampled and never trained", size, rows,
                         rows - size);
}

static void end_of_text(hn_preflight *p, const hn_model *m) {
    int32_t eos = hn_model_eos(m);
    hn_buf set = { 0 };
    stop_set(m, &set);
    if (eos < 0)
        hn_preflight_say(p, HN_FOUND_WARN, "end of text", "name eos_token in tokenizer_config.json",
                         "the tokenizer names no end-of-text token: rows of plain text are refused");
    else if (!stops(m, eos))
        hn_preflight_say(
            p, HN_FOUND_FAIL, "end of text", "add its id to eos_token_id in generation_config.json",
            "rows of plain text end with %d %s, at which generation does not stop: it stops at %s", eos,
            piece(m, eos), set.data ? set.data : "?");
    else
        hn_preflight_say(p, HN_FOUND_OK, "end of text", "", "%d %s; generation stops at %s", eos,
                         piece(m, eos), set.data ? set.data : "?");
    hn_buf_free(&set);
}

/* ---- the template ---- */
typedef struct {
    hn_buf text;
    hn_ranges said;
    hn_ids ids;
} rendering;

static void rendering_free(rendering *r) {
    hn_buf_free(&r->text);
    hn_ranges_free(&r->said);
    hn_ids_free(&r->ids);
}

static int render(const hn_model *m, const char *shape, rendering *r, hn_err *e) {
    json_t *messages = json_loads(shape, 0, NULL);
    int rc = messages ? hn_model_render(m, messages, NULL, NULL, false, &r->text, &r->said, e)
                      : hn_fail(e, HN_ENOMEM, "no memory for a conversation");
    r->ids.want_at = true;
    if (!rc) rc = hn_model_encode(m, r->text.data ? r->text.data : "", r->text.n, false, &r->ids, e);
    json_decref(messages);
    return rc;
}

static void turns(hn_preflight *p, const hn_model *m, const rendering *r) {
    int32_t last = -1;
    const hn_range *w = r->said.n ? &r->said.v[r->said.n - 1] : NULL;
    for (int64_t i = 0; w && i < r->ids.n; i++)
        if ((size_t)r->ids.at[i].begin >= w->begin && (size_t)r->ids.at[i].begin < w->begin + w->len &&
            r->ids.at[i].end > r->ids.at[i].begin)
            last = r->ids.id[i];
    hn_buf set = { 0 };
    stop_set(m, &set);
    if (last < 0)
        hn_preflight_say(p, HN_FOUND_FAIL, "end of turn", "mend the template, or train on plain text",
                         "the template writes nothing for an answer");
    else if (!stops(m, last))
        hn_preflight_say(p, HN_FOUND_FAIL, "end of turn",
                         "add the token that ends a turn to eos_token_id in generation_config.json",
                         "an answer ends with %d \"%s\", at which generation does not stop: it stops at %s",
                         last, piece(m, last), set.data ? set.data : "?");
    else
        hn_preflight_say(p, HN_FOUND_OK, "end of turn", "", "%d %s, at which generation stops", last,
                         piece(m, last));
    hn_buf_free(&set);
}

/* Two begin-of-text tokens: the template writes one, and the tokenizer adds one to what it is given. */
static void beginning(hn_preflight *p, const hn_model *m, const rendering *r) {
    int32_t bos = hn_tok_role_id(m->tok, HN_TOK_BOS);
    hn_ids plain = { 0 };
    hn_err e = { 0 };
    bool adds = bos >= 0 && !hn_tok_encode(m->tok, "x", 1, true, &plain, &e) && plain.n && plain.id[0] == bos;
    bool writes = bos >= 0 && r->ids.n && r->ids.id[0] == bos;
    if (writes && r->ids.n > 1 && r->ids.id[1] == bos)
        hn_preflight_say(p, HN_FOUND_FAIL, "begin", "take one out of the template",
                         "the template writes %s twice at the beginning", piece(m, bos));
    else if (writes && adds)
        hn_preflight_say(
            p, HN_FOUND_WARN, "begin",
            "give conversations as messages; rendered text given as plain text is refused",
            "the template writes %s and the tokenizer adds one to plain text: rendered conversations "
            "must not pass through it again",
            piece(m, bos));
    else if (bos < 0) hn_preflight_say(p, HN_FOUND_OK, "begin", "", "no begin-of-text token");
    else
        hn_preflight_say(p, HN_FOUND_OK, "begin", "", "%s: %s", piece(m, bos),
                         writes ? "the template writes it"
                         : adds ? "the tokenizer adds it to plain text, the template writes none"
                                : "neither the template nor the tokenizer writes it");
    hn_ids_free(&plain);
}

static void template_checks(hn_preflight *p, const hn_model *m) {
    static const char plain[] =
        "[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":\"Yes.\"}]";
    static const char ruled[] =
        "[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"Hi\"},"
        "{\"role\":\"assistant\",\"content\":\"Yes.\"}]";
    if (!m->tmpl) {
        hn_preflight_say(p, HN_FOUND_OK, "template", "", "none: rows and prompts of plain text only");
        return;
    }
    if (m->two_templates)
        hn_preflight_say(p, HN_FOUND_WARN, "template", "take chat_template out of tokenizer_config.json",
                         "two that differ: chat_template.jinja is used, as in transformers");
    rendering r = { 0 }, s = { 0 };
    hn_err e = { 0 }, no_system = { 0 };
    if (render(m, plain, &r, &e)) {
        hn_preflight_say(p, HN_FOUND_FAIL, "template", "mend chat_template, or use plain text", "%s", e.msg);
    } else {
        if (render(m, ruled, &s, &no_system))
            hn_preflight_say(p, HN_FOUND_WARN, "template", "leave system messages out",
                             "no system messages: %s", no_system.msg);
        else
            hn_preflight_say(p, HN_FOUND_OK, "template", "",
                             "renders a conversation, with a system message and without");
        turns(p, m, &r);
        beginning(p, m, &r);
    }
    rendering_free(&r);
    rendering_free(&s);
}

void hn_preflight_text(hn_preflight *p, hn_model *m) {
    hn_err e = { 0 };
    int rc = hn_model_text(m, &e);
    if (!m->tok) {
        hn_preflight_say(p, HN_FOUND_FAIL, "tokenizer", "put the tokenizer's files into the model's folder",
                         "%s", rc ? e.msg : "there is none (tokenizer.json, or vocab.json and merges.txt)");
        return;
    }
    hn_preflight_say(p, HN_FOUND_OK, "tokenizer", "", "%d ids", hn_tok_size(m->tok));
    vocabulary(p, m);
    if (rc && hn_tok_size(m->tok) > m->net.cfg.vocab_size) return; /* said by vocabulary */
    end_of_text(p, m);
    if (rc) hn_preflight_say(p, HN_FOUND_FAIL, "template", "mend chat_template, or take it out", "%s", e.msg);
    else template_checks(p, m);
}

void hn_preflight_ends(hn_preflight *p, const hn_model *m, const hn_dataset *d) {
    int64_t open = 0, first = 0;
    int32_t id = -1;
    for (int64_t i = 0; i < d->n_row; i++) {
        const hn_datarow *r = &d->row[i];
        bool ends = true;
        for (int k = d->kind == HN_DATA_PAIR, at = k ? r->n[0] : 0; k < 3; at += r->n[k++]) {
            if (!r->n[k]) continue;
            int32_t last = r->n[k] - 1;
            while (last > 0 && !d->act[r->at + at + last])
                last--; /* a template may write after the end of a turn */
            if (stops(m, d->token[r->at + at + last])) continue;
            ends = false;
            id = d->token[r->at + at + last];
        }
        if (!ends && !open++) first = i;
    }
    hn_found how = !open ? HN_FOUND_OK : open == d->n_row ? HN_FOUND_FAIL : HN_FOUND_WARN;
    if (!open) hn_preflight_say(p, how, "ends", "", "every row ends with a token at which generation stops");
    else
        hn_preflight_say(
            p, how, "ends",
            "add the end token's id to eos_token_id in generation_config.json, or look for cut rows",
            "%lld of %lld rows end with a token at which generation does not stop (row %lld of those kept, "
            "%d \"%s\"): the model will not learn to end",
            (long long)open, (long long)d->n_row, (long long)first + 1, id, piece(m, id));
}
