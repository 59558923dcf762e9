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

/* ---- what to do with a row ---- */
typedef struct {
    int64_t over, dropped, first_over, silent;
} counts;

static int too_long(const loader *l, int64_t n, int64_t line, counts *k) {
    if (n <= l->c->max_length) return 0;
    if (!k->over++) k->first_over = line;
    k->dropped += l->c->overlong != OVER_TRUNCATE;
    return 1;
}

static int chain(loader *l, int64_t line, hn_dataset *d, counts *k, hn_err *e) {
    hn_ids_clear(&l->ids);
    int rc = l->row->prompt.text || l->row->prompt.messages ? completion(l, e) : whole(l, e);
    if (rc) return rc;
    int64_t n = l->ids.n;
    if (too_long(l, n, line, k)) {
        if (l->c->overlong != OVER_TRUNCATE) return HN_OK;
        n = l->c->max_length;
    }
    int32_t bos = hn_tok_role_id(l->m->tok, HN_TOK_BOS);
    if (n > 1 && bos >= 0 && l->ids.id[0] == bos && l->ids.id[1] == bos)
        return hn_fail(e, HN_EPARSE,
                       "the row begins with two %s: the text has one and the tokenizer adds one; take it out "
                       "of the text",
                       hn_tok_role_str(l->m->tok, HN_TOK_BOS));
    if (n > 0) l->act[0] = 0; /* nothing predicts the first token */
    int64_t trained = 0;
    for (int64_t i = 0; i < n; i++) trained += l->act[i];
    if (!trained)
        return hn_fail(
            e, HN_EPARSE,
            "no token of the row would be trained (an empty answer, or all of it cut by max_length)");
    return hn_dataset_chain(d, l->ids.id, l->act, (int)n, e);
}

static int pair(loader *l, int64_t line, hn_dataset *d, hn_ids *rejected, counts *k, hn_err *e) {
    const hn_entry *r = l->row;
    hn_ids_clear(&l->ids);
    int rc = answer_ids(l, &r->answer, &l->side, e);
    if (!rc) rc = answer_ids(l, &r->rejected, rejected, e);
    if (!rc)
        rc = r->prompt.text ? hn_model_encode(l->m, r->prompt.text, strlen(r->prompt.text), true, &l->ids, e)
                            : hn_model_encode(l->m, l->text.data, l->text.n, false, &l->ids, e);
    if (rc) return rc;
    int64_t n = l->ids.n, c = l->side.n, j = rejected->n, most = l->c->max_length;
    if (!n)
        return hn_fail(e, HN_EPARSE,
                       "the prompt has no tokens: nothing would predict the first token of the answers");
    if (too_long(l, n + (c > j ? c : j), line, k)) {
        if (l->c->overlong != OVER_TRUNCATE) return HN_OK;
        if (n >= most)
            return hn_fail(
                e, HN_ERANGE,
                "the prompt alone has %lld tokens, max_length is %lld: truncation would leave no answer",
                (long long)n, (long long)most);
        c = c < most - n ? c : most - n;
        j = j < most - n ? j : most - n;
    }
    return hn_dataset_pair(d, l->ids.id, (int)n, l->side.id, (int)c, rejected->id, (int)j, e);
}

static int check_kind(const hn_table *r, const char *path, bool pairs, hn_err *e) {
    hn_table_kind k = hn_table_kind_of(r);
    if (pairs && k != HN_ROWS_PREFERENCE)
        return hn_fail(e, HN_EPARSE,
                       "%s: this learner needs preference rows (prompt, chosen, rejected); the file has %s",
                       path, hn_table_about(r));
    if (!pairs && k != HN_ROWS_WHOLE && k != HN_ROWS_ANSWER)
        return hn_fail(e, HN_EPARSE,
                       "%s: this learner needs text, messages, or prompt and completion; the file has %s",
                       path, hn_table_about(r));
    return HN_OK;
}

static void tell(const hn_table *r, const hn_load_config *c, const char *path, const counts *k,
                 hn_buf *said) {
    hn_buf_fmt(said, "%s: %s", path, hn_table_about(r));
    if (k->over)
        hn_buf_fmt(said, "; %lld rows have more than max_length %lld tokens (the first is line %lld): %s",
                   (long long)k->over, (long long)c->max_length, (long long)k->first_over,
                   c->overlong == OVER_DROP ? "left out" : "their ends are cut");
}

int hn_load_rows(const hn_model *m, const char *path, const hn_load_config *c, bool pairs, hn_dataset *d,
                 hn_buf *said, hn_err *e) {
    if (!m->tok) return hn_fail(e, HN_EUNSUP, "%s has no tokenizer", m->dir);
    hn_table *r;
    int rc = hn_table_open(&r, path, &c->table, e);
    if (rc) return rc;
    loader l = { .m = m, .c = c };
    hn_ids rejected = { 0 };
    counts k = { 0 };
    l.ids.want_at = true;
    d->kind = pairs ? HN_DATA_PAIR : HN_DATA_CHAIN;
    rc = check_kind(r, path, pairs, e);
    for (int64_t i = 0; i < hn_table_count(r) && !rc; i++) {
        hn_entry row;
        if ((rc = hn_table_get(r, i, &row, e))) break;
        l.row = &row;
        int64_t line = hn_table_line(r, i);
        rc = pairs ? pair(&l, line, d, &rejected, &k, e) : chain(&l, line, d, &k, e);
        if (rc) hn_fail_in(e, "%s: line %lld", path, (long long)line);
        hn_entry_release(&row);
    }
    if (!rc && k.over && c->overlong == OVER_ERROR)
        rc = hn_fail(e, HN_ERANGE,
                     "%s: %lld of %lld rows have more than max_length = %lld tokens (the first is line "
                     "%lld): raise --max_length, or say "
                     "--overlong drop or --overlong truncate",
                     path, (long long)k.over, (long long)hn_table_count(r), (long long)c->max_length,
                     (long long)k.first_over);
    if (!rc) tell(r, c, path, &k, said);
    hn_ids_free(&l.ids);
    hn_ids_free(&l.side);
    hn_ids_free(&rejected);
    hn_ranges_free(&l.said);
    hn_buf_free(&l.text);
    hn_buf_free(&l.full);
    hn_free(l.act);
    hn_table_close(r);
    return rc;
}
