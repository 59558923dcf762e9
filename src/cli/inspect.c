/* inspect.c - rows token by token, marked by what a learner does with them, and the lengths of all. */
#include "cli/inspect.h"
#include "cli/paint.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const hn_model *m;
    const hn_load_config *load;
    int64_t from, rows, seen;
    int32_t *length; /* [seen] of each row */
    int64_t cap, trained, tokens;
    hn_load_tally tally;
    bool paints;
    int width, column;
    hn_buf text;
} inspector;

/* ---- one token ---- */
/* What a token stands for, in printable characters: line ends as \n, other control characters as \xNN (a file
 * must not command the terminal). */
static const char *printable(inspector *s, hn_tok_stream *stream, int32_t id) {
    hn_buf raw = { 0 };
    hn_buf_clear(&s->text);
    if (hn_tok_is_special(s->m->tok, id)) hn_buf_str(&raw, hn_tok_piece(s->m->tok, id));
    else hn_tok_stream_add(stream, id, &raw);
    for (size_t i = 0; i < raw.n; i++) {
        unsigned char c = (unsigned char)raw.data[i];
        bool c1 = c == 0xc2 && i + 1 < raw.n && (unsigned char)raw.data[i + 1] < 0xa0; /* U+0080..U+009F */
        if (c == '\n') hn_buf_str(&s->text, "\\n");
        else if (c == '\t') hn_buf_str(&s->text, "\\t");
        else if (c < 32 || c == 127) hn_buf_fmt(&s->text, "\\x%02X", c);
        else if (c1) hn_buf_fmt(&s->text, "\\x%02X", (unsigned char)raw.data[++i]);
        else hn_buf_chr(&s->text, (char)c);
    }
    hn_buf_free(&raw);
    return s->text.data ? s->text.data : "";
}

static int columns(const char *text) {
    int n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static bool is_end(const inspector *s, int32_t id) {
    for (int i = 0; i < s->m->n_stop; i++)
        if (s->m->stop[i] == id) return true;
    return id == hn_tok_role_id(s->m->tok, HN_TOK_EOS);
}

/* Trained [in brackets], masked in (round ones); BOS and EOS carry ^ and $. */
static void show_token(inspector *s, hn_tok_stream *stream, int32_t id, bool trained, bool first) {
    bool begins = first && id == hn_tok_role_id(s->m->tok, HN_TOK_BOS), ends = is_end(s, id) && !begins;
    hn_paint paint = begins ? HN_PAINT_BEGIN : ends ? HN_PAINT_END : trained ? HN_PAINT_GOOD : HN_PAINT_FAINT;
    const char *text = printable(s, stream, id);
    int n = columns(text) + 2 + (begins || ends);
    if (s->column + n > s->width && s->column > 2) printf("\n%*s", s->column = 2, "");
    printf("%s%c%s%s%s%c%s", hn_paint_on(paint, s->paints), trained ? '[' : '(', begins ? "^" : "", text,
           ends ? "$" : "", trained ? ']' : ')', hn_paint_off(paint, s->paints));
    s->column += n;
}

static void show_part(inspector *s, const char *name, const hn_loaded *r, int32_t at, int32_t n) {
    hn_tok_stream stream;
    hn_tok_stream_init(&stream, s->m->tok, false);
    if (name) printf("  %s:\n", name);
    printf("  ");
    s->column = 2;
    bool lead = true; /* begin-of-text tokens so far */
    for (int32_t i = 0; i < n; i++) {
        int32_t id = r->token[at + i];
        show_token(s, &stream, id, r->act[at + i], at == 0 && lead);
        lead = lead && id == hn_tok_role_id(s->m->tok, HN_TOK_BOS);
    }
    putchar('\n');
}

static void show_row(inspector *s, const hn_loaded *r, int64_t trained, int64_t n) {
    static const char *const part[] = { "prompt", "chosen", "rejected" };
    static const char *const flaw[] = { "begins with two begin-of-text tokens", "nothing is trained",
                                        "everything is trained", "longer than max_length" };
    printf("row %lld (line %lld): %lld tokens, %lld trained (%.0f %%)", (long long)s->seen,
           (long long)r->line, (long long)n, (long long)trained, 100.0 * (double)trained / (double)n);
    for (int k = 0; k < HN_FLAWS; k++)
        if (r->flaws >> k & 1)
            printf("  %s%s%s", hn_paint_on(HN_PAINT_BAD, s->paints), flaw[k],
                   hn_paint_off(HN_PAINT_BAD, s->paints));
    putchar('\n');
    bool pair = r->n[1] || r->n[2];
    for (int k = 0, at = 0; k < (pair ? 3 : 1); at += r->n[k++])
        show_part(s, pair ? part[k] : NULL, r, at, r->n[k]);
}

static int on_row(void *ctx, const hn_loaded *r, hn_err *e) {
    inspector *s = ctx;
    int64_t n = (int64_t)r->n[0] + r->n[1] + r->n[2], trained = 0;
    for (int64_t i = 0; i < n; i++) trained += r->act[i];
    if (hn_grow(&s->length, &s->cap, s->seen + 1, sizeof *s->length))
        return hn_fail(e, HN_ENOMEM, "no memory for the lengths of %lld rows", (long long)s->seen);
    s->length[s->seen++] = (int32_t)(r->length < INT32_MAX ? r->length : INT32_MAX);
    s->tokens += n;
    s->trained += trained;
    hn_load_count(&s->tally, r);
    if (s->seen > s->from && s->seen <= s->from + s->rows) show_row(s, r, trained, n);
    return hn_cli_stopped(NULL) ? hn_fail(e, HN_ESTOP, "stopped") : HN_OK;
}

/* ---- all rows ---- */
static int order(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static void histogram(const inspector *s) {
    enum { BINS = 12, BAR = 46 };
    const int32_t *v = s->length;
    int64_t n = s->seen, bin[BINS] = { 0 }, most = 1, width = (v[n - 1] - v[0]) / BINS + 1, over = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t k = (v[i] - v[0]) / width;
        if (++bin[k] > most) most = bin[k];
        over += v[i] > s->load->max_length;
    }
    printf("\ntokens a row\n");
    for (int k = 0; k < BINS && v[0] + k * width <= v[n - 1]; k++) {
        long long lo = v[0] + k * width, hi = lo + width - 1;
        int bar = (int)((bin[k] * BAR + most - 1) / most);
        printf("  %6lld..%-6lld %8lld  %.*s\n", lo, hi, (long long)bin[k], bar,
               "##############################################");
    }
    static const int part[] = { 0, 25, 50, 75, 90, 95, 99, 100 };
    printf("  quantiles ");
    for (size_t k = 0; k < sizeof part / sizeof *part; k++)
        printf(" %d%%: %d", part[k], v[part[k] ? (n * part[k] + 99) / 100 - 1 : 0]);
    printf("\n  %lld of %lld rows have more than max_length %lld tokens\n", (long long)over, (long long)n,
           (long long)s->load->max_length);
}

static void legend(const inspector *s) {
    static const struct {
        hn_paint paint;
        const char *text;
    } mark[] = { { HN_PAINT_GOOD, "[trained]" },
                 { HN_PAINT_FAINT, "(masked)" },
                 { HN_PAINT_BEGIN, "^begin of text" },
                 { HN_PAINT_END, "end$" } };
    for (int k = 0; k < 4; k++)
        printf("%s%s%s%s", k ? "  " : "", hn_paint_on(mark[k].paint, s->paints), mark[k].text,
               hn_paint_off(mark[k].paint, s->paints));
    printf("\n");
}

int hn_inspect(hn_cli *c, const hn_load_config *load, int64_t from, int64_t rows) {
    hn_err *e = &c->err;
    hn_model *m = NULL;
    hn_buf said = { 0 };
    int rc = hn_cli_need(c, "data", c->common.data);
    if (!rc) rc = hn_cli_need(c, "model", c->common.model);
    if (!rc) rc = hn_model_settings(&m, c->common.model, e);
    if (!rc) rc = hn_model_text(m, e);
    inspector s = { .m = m, .load = load, .from = from, .rows = rows, .paints = hn_paints() };
    s.width = hn_paint_width(100);
    if (!rc) legend(&s);
    if (!rc) rc = hn_load_each(m, c->common.data, load, HN_LOAD_ANY, on_row, &s, &said, e);
    if (!rc && s.seen) {
        qsort(s.length, (size_t)s.seen, sizeof *s.length, order);
        histogram(&s);
        printf("  %s\n  %lld tokens, %lld trained (%.1f %%)\n", said.data ? said.data : "",
               (long long)s.tokens, (long long)s.trained, 100.0 * (double)s.trained / (double)s.tokens);
        rc = hn_load_judge(&s.tally, m, c->common.data, load, e);
    }
    fflush(stdout);
    hn_buf_free(&said);
    hn_buf_free(&s.text);
    hn_free(s.length);
    hn_model_close(m);
    return rc;
}
