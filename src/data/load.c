/* load.c - a user's rows, rendered and tokenized.
 *
 * Prompt and answer are tokenized apart, as the sampler will see them: the prompt alone, then what follows.
 * What is trained of a conversation is what the assistant writes, which the rendering itself knows; of text
 * with a prompt, the completion; of text alone, everything after its first token.  An end-of-text id follows
 * text; a template has its own. */
#include "data/load.h"
#include "data/rows.h"

#include <string.h>

enum { OVER_ERROR, OVER_DROP, OVER_TRUNCATE };

/* clang-format off */
#define AT(field) .at = offsetof(hn_load_config, field)
const hn_opt hn_load_opts[] = {
    { .name = "max_length", .help = "most tokens of a row", .type = HN_OPT_INT, AT(max_length), .def = 1024, .min = 2, .max = 1e7 },
    { .name = "overlong", .help = "rows of more than max_length tokens: refuse the file, leave them out, or cut their ends", .type = HN_OPT_ENUM,
      AT(overlong), .choices = "error|drop|truncate" },
    { .name = "assistant_only_loss", .help = "of conversations, learn what the assistant writes", .type = HN_OPT_BOOL, AT(assistant_only_loss), .def = 1 },
    { .name = "allow_double_bos", .help = "take rows that begin with two begin-of-text tokens", .type = HN_OPT_BOOL, AT(allow_double_bos) },
    { .name = "allow_untrained", .help = "leave out rows of which no token is trained, instead of refusing the file", .type = HN_OPT_BOOL, AT(allow_untrained) },
    { .name = "allow_all_trained", .help = "take rows with a prompt or messages of which every token is trained", .type = HN_OPT_BOOL, AT(allow_all_trained) },
    { .name = "completion_only_loss", .help = "of prompt and completion, learn the completion", .type = HN_OPT_BOOL, AT(completion_only_loss), .def = 1 },
    { 0 },
};
#undef AT
/* clang-format on */

typedef struct {
    const hn_model *m;
    const hn_load_config *c;
    const hn_entry *row;
    hn_ids ids, side; /* the chain, or prompt and one answer */
    uint8_t *act;
    int64_t cap_act;
    hn_buf text, full;
    hn_ranges said;
} loader;

static int mark(loader *l, int64_t from, bool trained, hn_err *e) {
    if (hn_grow(&l->act, &l->cap_act, l->ids.n + 1, 1)) return hn_fail(e, HN_ENOMEM, "no memory for a row");
    memset(l->act + from, trained, (size_t)(l->ids.n - from));
    return HN_OK;
}

static int add_eos(const loader *l, hn_ids *to, hn_err *e) {
    int32_t id = hn_model_eos(l->m);
    if (id < 0)
        return hn_fail(e, HN_EUNSUP,
                       "%s names no end-of-text token (eos_token), so an answer would have no end",
                       l->m->dir);
    return hn_ids_add(to, id, 0, 0) ? hn_fail(e, HN_ENOMEM, "no memory for a row") : HN_OK;
}

/* Tokens whose first byte lies in a range the assistant wrote, in a message from `from` on. */
static void mark_ranges(loader *l, int64_t at, size_t base, int32_t from) {
    int64_t r = 0;
    for (int64_t i = at; i < l->ids.n; i++) {
        size_t begin = base + (size_t)l->ids.at[i].begin;
        while (r < l->said.n &&
               (l->said.v[r].begin + l->said.v[r].len <= begin || l->said.v[r].message < from))
            r++;
        bool inside = r < l->said.n && begin >= l->said.v[r].begin && l->ids.at[i].end > l->ids.at[i].begin;
        l->act[i] = inside;
    }
}

/* prompt messages followed by answer messages. */
static json_t *joined(const hn_entry *r, const json_t *answer) {
    json_t *all = r->prompt.messages ? json_copy(r->prompt.messages) : json_array();
    if (all && json_array_extend(all, (json_t *)(uintptr_t)answer)) {
        json_decref(all);
        return NULL;
    }
    return all;
}

/* Renders the prompt into l->text and prompt + answer into l->full (cut after the end of the last answer). */
static int render_pair(loader *l, const json_t *answer, hn_err *e) {
    json_t *all = joined(l->row, answer), *tools = l->row->tools;
    hn_buf_clear(&l->text);
    hn_buf_clear(&l->full);
    l->said.n = 0;
    int rc =
        all ? hn_model_render(l->m, l->row->prompt.messages, tools, l->row->kwargs, true, &l->text, NULL, e)
            : hn_fail(e, HN_ENOMEM, "no memory for a row");
    if (!rc) rc = hn_model_render(l->m, all, tools, l->row->kwargs, false, &l->full, &l->said, e);
    json_decref(all);
    if (rc) return rc;
    if (!l->said.n) return hn_fail(e, HN_EUNSUP, "the chat template writes nothing for the answer");
    const hn_range *last = &l->said.v[l->said.n - 1];
    l->full.n = last->begin + last->len;
    if (l->full.n < l->text.n || memcmp(l->full.data, l->text.data, l->text.n))
        return hn_fail(e, HN_EUNSUP,
                       "the chat template changes the prompt once the answer is there (it drops earlier "
                       "reasoning, say), so "
                       "prompt and answer cannot be told apart: give whole conversations as \"messages\"");
    return HN_OK;
}

static int whole(loader *l, hn_err *e) {
    const hn_part *p = &l->row->answer;
    int rc;
    if (p->text) {
        rc = hn_model_encode(l->m, p->text, strlen(p->text), true, &l->ids, e);
        if (!rc) rc = add_eos(l, &l->ids, e);
        return rc ? rc : mark(l, 0, true, e);
    }
    hn_buf_clear(&l->full);
    l->said.n = 0;
    rc = hn_model_render(l->m, p->messages, l->row->tools, l->row->kwargs, false, &l->full, &l->said, e);
    if (!rc) rc = hn_model_encode(l->m, l->full.data ? l->full.data : "", l->full.n, false, &l->ids, e);
    if (!rc) rc = mark(l, 0, true, e);
    if (!rc && l->c->assistant_only_loss) mark_ranges(l, 0, 0, 0);
    return rc;
}

static int completion(loader *l, hn_err *e) {
    const hn_part *p = &l->row->prompt, *a = &l->row->answer;
    int rc;
    if (a->text) {
        rc = hn_model_encode(l->m, p->text, strlen(p->text), true, &l->ids, e);
        int64_t n = l->ids.n;
        if (!rc) rc = hn_model_encode(l->m, a->text, strlen(a->text), false, &l->ids, e);
        if (!rc) rc = add_eos(l, &l->ids, e);
        if (!rc) rc = mark(l, 0, !l->c->completion_only_loss, e);
        return rc ? rc : mark(l, n, true, e);
    }
    if ((rc = render_pair(l, a->messages, e))) return rc;
    rc = hn_model_encode(l->m, l->text.data, l->text.n, false, &l->ids, e);
    int64_t n = l->ids.n;
    if (!rc) rc = hn_model_encode(l->m, l->full.data + l->text.n, l->full.n - l->text.n, false, &l->ids, e);
    if (!rc) rc = mark(l, 0, !l->c->completion_only_loss, e);
    if (!rc) mark_ranges(l, n, l->text.n, (int32_t)json_array_size(p->messages));
    return rc;
}

static int answer_ids(loader *l, const hn_part *a, hn_ids *to, hn_err *e) {
    hn_ids_clear(to);
    int rc = a->text ? hn_model_encode(l->m, a->text, strlen(a->text), false, to, e)
                     : render_pair(l, a->messages, e);
    if (rc) return rc;
    if (a->text) return add_eos(l, to, e);
    return hn_model_encode(l->m, l->full.data + l->text.n, l->full.n - l->text.n, false, to, e);
}

/* ---- a row with its flaws ---- */
static bool two_bos(const loader *l) {
    int32_t bos = hn_tok_role_id(l->m->tok, HN_TOK_BOS);
    return bos >= 0 && l->ids.n > 1 && l->ids.id[0] == bos && l->ids.id[1] == bos;
}

static int chain(loader *l, hn_loaded *r, hn_err *e) {
    bool prompted = l->row->prompt.text || l->row->prompt.messages;
    hn_ids_clear(&l->ids);
    int rc = prompted ? completion(l, e) : whole(l, e);
    if (rc) return rc;
    if (!l->ids.n) return hn_fail(e, HN_EPARSE, "the row has no tokens");
    r->length = l->ids.n;
    bool cut = r->length > l->c->max_length && l->c->overlong == OVER_TRUNCATE;
    r->n[0] = (int32_t)(cut ? l->c->max_length : r->length);
    int64_t trained = 0, hidden = 0; /* a begin-of-text token is not a prompt */
    for (int32_t i = l->ids.id[0] == hn_tok_role_id(l->m->tok, HN_TOK_BOS); i < r->n[0]; i++)
        hidden += !l->act[i];
    l->act[0] = 0; /* nothing predicts the first token */
    for (int32_t i = 0; i < r->n[0]; i++) trained += l->act[i];
    bool asked = prompted ? !l->c->completion_only_loss : !l->c->assistant_only_loss;
    bool masked = prompted || l->row->answer.messages;
    if (!trained) r->flaws |= HN_ROW_UNTRAINED;
    else if (masked && !asked && !hidden) r->flaws |= HN_ROW_ALL_TRAINED;
    if (r->length > l->c->max_length && !cut) r->flaws |= HN_ROW_LONG;
    return HN_OK;
}

/* Prompt, chosen and rejected into l->ids, one after the other, the answers cut to `room` tokens. */
static int join(loader *l, const hn_ids *rejected, int64_t room, hn_loaded *r, hn_err *e) {
    const hn_ids *side[] = { &l->side, rejected };
    r->n[0] = (int32_t)l->ids.n;
    int rc = mark(l, 0, false, e);
    for (int k = 0; k < 2 && !rc; k++) {
        int64_t from = l->ids.n, n = side[k]->n < room ? side[k]->n : room;
        r->n[k + 1] = (int32_t)n;
        if (!n) r->flaws |= HN_ROW_UNTRAINED;
        for (int64_t i = 0; i < n && !rc; i++)
            if (hn_ids_add(&l->ids, side[k]->id[i], 0, 0)) rc = hn_fail(e, HN_ENOMEM, "no memory for a row");
        if (!rc) rc = mark(l, from, true, e);
    }
    return rc;
}

static int pair(loader *l, hn_ids *rejected, hn_loaded *row, hn_err *e) {
    const hn_entry *r = l->row;
    hn_ids_clear(&l->ids);
    int rc = answer_ids(l, &r->answer, &l->side, e);
    if (!rc) rc = answer_ids(l, &r->rejected, rejected, e);
    if (!rc)
        rc = r->prompt.text ? hn_model_encode(l->m, r->prompt.text, strlen(r->prompt.text), true, &l->ids, e)
                            : hn_model_encode(l->m, l->text.data, l->text.n, false, &l->ids, e);
    if (rc) return rc;
    int64_t n = l->ids.n, most = l->c->max_length, room = INT32_MAX;
    if (!n)
        return hn_fail(e, HN_EPARSE,
                       "the prompt has no tokens: nothing would predict the first token of the answers");
    row->length = n + (l->side.n > rejected->n ? l->side.n : rejected->n);
    if (row->length > most && l->c->overlong != OVER_TRUNCATE) row->flaws |= HN_ROW_LONG;
    else if (row->length > most && n >= most)
        return hn_fail(
            e, HN_ERANGE,
            "the prompt alone has %lld tokens, max_length is %lld: truncation would leave no answer",
            (long long)n, (long long)most);
    else if (row->length > most) room = most - n;
    return join(l, rejected, room, row, e);
}

static int check_kind(const hn_table *r, const char *path, hn_load_kind kind, hn_err *e) {
    hn_table_kind k = hn_table_kind_of(r);
    if (kind == HN_LOAD_PAIRS && k != HN_ROWS_PREFERENCE)
        return hn_fail(e, HN_EPARSE,
                       "%s: this learner needs preference rows (prompt, chosen, rejected); the file has %s",
                       path, hn_table_about(r));
    if (kind == HN_LOAD_CHAINS && k != HN_ROWS_WHOLE && k != HN_ROWS_ANSWER)
        return hn_fail(e, HN_EPARSE,
                       "%s: this learner needs text, messages, or prompt and completion; the file has %s",
                       path, hn_table_about(r));
    if (kind == HN_LOAD_ANY && k != HN_ROWS_WHOLE && k != HN_ROWS_ANSWER && k != HN_ROWS_PREFERENCE)
        return hn_fail(e, HN_EPARSE, "%s: no learner here trains on such rows: %s", path, hn_table_about(r));
    return HN_OK;
}

static void release(loader *l, hn_ids *rejected, hn_table *r) {
    hn_ids_free(&l->ids);
    hn_ids_free(&l->side);
    hn_ids_free(rejected);
    hn_ranges_free(&l->said);
    hn_buf_free(&l->text);
    hn_buf_free(&l->full);
    hn_free(l->act);
    hn_table_close(r);
}

int hn_load_each(const hn_model *m, const char *path, const hn_load_config *c, hn_load_kind kind,
                 hn_load_row *each, void *ctx, hn_buf *said, hn_err *e) {
    if (!m->tok) return hn_fail(e, HN_EUNSUP, "%s has no tokenizer", m->dir);
    hn_table *r;
    int rc = hn_table_open(&r, path, &c->table, e);
    if (rc) return rc;
    loader l = { .m = m, .c = c };
    hn_ids rejected = { 0 };
    l.ids.want_at = true;
    rc = check_kind(r, path, kind, e);
    if (!rc) hn_buf_fmt(said, "%s: %s", path, hn_table_about(r));
    for (int64_t i = 0; i < hn_table_count(r) && !rc; i++) {
        hn_entry row;
        if ((rc = hn_table_get(r, i, &row, e))) break;
        l.row = &row;
        hn_loaded out = { .line = hn_table_line(r, i) };
        rc = hn_table_kind_of(r) == HN_ROWS_PREFERENCE ? pair(&l, &rejected, &out, e) : chain(&l, &out, e);
        if (rc) hn_fail_in(e, "%s: line %lld", path, (long long)out.line);
        hn_entry_release(&row);
        out.token = l.ids.id;
        out.act = l.act;
        if (!rc && two_bos(&l)) out.flaws |= HN_ROW_DOUBLE_BOS;
        if (!rc) rc = each(ctx, &out, e);
    }
    release(&l, &rejected, r);
    return rc;
}

/* ---- what to do with flawed rows ---- */
void hn_load_count(hn_load_tally *t, const hn_loaded *row) {
    t->rows++;
    for (int k = 0; k < HN_FLAWS; k++)
        if (row->flaws >> k & 1) {
            if (t->n[k] < HN_FLAW_LINES) t->line[k][t->n[k]] = row->line;
            t->n[k]++;
        }
}

/* "3 of 10 rows (lines 2, 5, 9) " */
static void say_rows(const hn_load_tally *t, int k, hn_buf *b) {
    int64_t shown = t->n[k] < HN_FLAW_LINES ? t->n[k] : HN_FLAW_LINES;
    hn_buf_fmt(b, "%lld of %lld row%s (line%s", (long long)t->n[k], (long long)t->rows,
               t->rows == 1 ? "" : "s", shown == 1 ? "" : "s");
    for (int64_t i = 0; i < shown; i++) hn_buf_fmt(b, "%s %lld", i ? "," : "", (long long)t->line[k][i]);
    hn_buf_str(b, t->n[k] > shown ? ", ...) " : ") ");
}

int hn_load_judge(const hn_load_tally *t, const hn_model *m, const char *path, const hn_load_config *c,
                  hn_err *e) {
    const bool refused[] = { !c->allow_double_bos, !c->allow_untrained, !c->allow_all_trained,
                             c->overlong == OVER_ERROR };
    const char *bos = hn_tok_role_str(m->tok, HN_TOK_BOS);
    hn_buf b = { 0 };
    int rc = HN_OK;
    for (int k = 0; k < HN_FLAWS; k++) {
        if (!t->n[k] || !refused[k]) continue;
        hn_buf_str(&b, b.n ? "; " : "");
        say_rows(t, k, &b);
        if (1 << k == HN_ROW_DOUBLE_BOS)
            hn_buf_fmt(
                &b,
                "begin with two %s: the text has one and the tokenizer adds one; take it out of the text, "
                "or --allow_double_bos",
                bos ? bos : "begin-of-text tokens");
        if (1 << k == HN_ROW_UNTRAINED)
            hn_buf_str(
                &b, "have no token to train on (an empty answer, or all of it cut by max_length); mend them, "
                    "or --allow_untrained leaves them out");
        if (1 << k == HN_ROW_ALL_TRAINED)
            hn_buf_str(
                &b,
                "have a prompt or messages and would be trained on every token: is the prompt empty? mend "
                "them, or --allow_all_trained");
        if (1 << k == HN_ROW_LONG)
            hn_buf_fmt(
                &b,
                "have more than max_length = %lld tokens: raise --max_length, or say --overlong drop or "
                "--overlong truncate",
                (long long)c->max_length);
        rc = 1 << k == HN_ROW_LONG && !rc ? HN_ERANGE : HN_EPARSE;
    }
    if (rc)
        rc =
            b.oom ? hn_fail(e, HN_ENOMEM, "no memory for a message") : hn_fail(e, rc, "%s: %s", path, b.data);
    hn_buf_free(&b);
    return rc;
}

typedef struct {
    const hn_load_config *c;
    hn_dataset *d;
    hn_load_tally t;
    int64_t over, first_over, left_out;
} filling;

static int add_row(void *ctx, const hn_loaded *r, hn_err *e) {
    filling *f = ctx;
    hn_load_count(&f->t, r);
    if (r->length > f->c->max_length && !f->over++) f->first_over = r->line;
    if (r->flaws & (HN_ROW_LONG | HN_ROW_UNTRAINED)) {
        f->left_out += !(r->flaws & HN_ROW_LONG);
        return HN_OK;
    }
    const int32_t *t = r->token;
    if (f->d->kind == HN_DATA_CHAIN) return hn_dataset_chain(f->d, t, r->act, r->n[0], e);
    return hn_dataset_pair(f->d, t, r->n[0], t + r->n[0], r->n[1], t + r->n[0] + r->n[1], r->n[2], e);
}

static void tell(const filling *f, hn_buf *said) {
    static const char *const kept[][2] = { { " begins with two begin-of-text tokens",
                                             "s begin with two begin-of-text tokens" },
                                           { NULL, NULL },
                                           { " is trained on every token", "s are trained on every token" } };
    if (f->over)
        hn_buf_fmt(said, "; %lld rows have more than max_length %lld tokens (the first is line %lld): %s",
                   (long long)f->over, (long long)f->c->max_length, (long long)f->first_over,
                   f->c->overlong == OVER_DROP ? "left out" : "their ends are cut");
    if (f->left_out)
        hn_buf_fmt(said, "; %lld row%s without a token to train on left out", (long long)f->left_out,
                   f->left_out == 1 ? "" : "s");
    for (int k = 0; k < 3; k++)
        if (kept[k][0] && f->t.n[k])
            hn_buf_fmt(said, "; %lld row%s", (long long)f->t.n[k], kept[k][f->t.n[k] > 1]);
}

int hn_load_rows(const hn_model *m, const char *path, const hn_load_config *c, bool pairs, hn_dataset *d,
                 hn_buf *said, hn_err *e) {
    filling f = { .c = c, .d = d };
    d->kind = pairs ? HN_DATA_PAIR : HN_DATA_CHAIN;
    int rc = hn_load_each(m, path, c, pairs ? HN_LOAD_PAIRS : HN_LOAD_CHAINS, add_row, &f, said, e);
    if (!rc) rc = hn_load_judge(&f.t, m, path, c, e);
    if (!rc) tell(&f, said);
    return rc;
}
