/* rehearse.c - a line a check, the memory table, the schedule (rehearse.h). */
#include "cli/rehearse.h"
#include "base/io.h"
#include "cli/paint.h"
#include "cli/record.h"

#include <string.h>

enum { INDENT = 18 };

/* Words of `text` from column `at` on, wrapped before `width` (0: never); returns the column. */
static int wrapped(const char *text, int at, int width) {
    while (*text) {
        int n = (int)strcspn(text, " ");
        if (width && at > INDENT && at + 1 + n > width) printf("\n%*s", at = INDENT, "");
        else if (at > INDENT) putchar(' '), at++;
        printf("%.*s", n, text);
        at += n;
        text += n + strspn(text + n, " ");
    }
    return at;
}

static void line(void *ctx, hn_found how, const char *what, const char *said, const char *remedy) {
    static const char *const word[] = { "ok", "warn", "FAIL", "skip" };
    static const hn_paint paint[] = { HN_PAINT_GOOD, HN_PAINT_WARN, HN_PAINT_BAD, HN_PAINT_FAINT };
    hn_rehearsal *r = ctx;
    r->shown++;
    printf("%s%-4s%s  %-11s ", hn_paint_on(paint[how], r->paints), word[how],
           hn_paint_off(paint[how], r->paints), what);
    int at = wrapped(said, INDENT, r->width);
    if (*remedy) wrapped(remedy, wrapped("->", at, r->width), r->width);
    putchar('\n');
    fflush(stdout);
}

void hn_rehearse_begin(hn_rehearsal *r) {
    hn_buf b = { 0 };
    *r = (hn_rehearsal){ .found = { .found = line, .ctx = r },
                         .paints = hn_paints(),
                         .width = hn_paint_width(0) };
    hn_host_look(&r->host, "");
    hn_preflight_host(&r->found, &r->host);
    hn_cli_libraries(&b);
    hn_preflight_say(&r->found, HN_FOUND_OK, "libraries", "", "%s", b.data ? b.data : "");
    hn_buf_free(&b);
}

int64_t hn_rehearse_prompts(hn_rehearsal *r, const hn_model *m, const hn_task *t, const void *priv,
                            uint64_t seed, int64_t most, int64_t max_new) {
    int64_t all = t->count(priv, HN_SPLIT_TRAIN), n = all < 0 || all > most ? most : all, longest = 0,
            done = 0;
    hn_err e = { 0 };
    int rc = HN_OK;
    for (int64_t i = 0; i < n && !rc; i++, done++) {
        hn_item it = { 0 };
        hn_ids id = { 0 };
        rc = t->item(priv, HN_SPLIT_TRAIN, seed, i, &it, &e);
        if (!rc) rc = hn_model_prompt(m, it.prompt, it.messages, &id, &e);
        if (id.n > longest) longest = id.n;
        hn_ids_free(&id);
        hn_item_release(&it);
    }
    int64_t room = hn_transformer_max_len(&m->net);
    if (rc)
        hn_preflight_say(&r->found, HN_FOUND_FAIL, "prompts", "", "%s, item %lld: %s", t->name,
                         (long long)done, e.msg);
    else if (longest + max_new > room)
        hn_preflight_say(
            &r->found, HN_FOUND_FAIL, "prompts", "lower max_completion_length",
            "%lld of %s, the longest of %lld tokens: with an answer of %lld they exceed the %lld tokens the "
            "model is made for",
            (long long)n, t->name, (long long)longest, (long long)max_new, (long long)room);
    else
        hn_preflight_say(&r->found, HN_FOUND_OK, "prompts", "",
                         "%lld of %s tokenized, the longest has %lld tokens", (long long)n, t->name,
                         (long long)longest);
    return longest;
}

static int32_t small(int64_t n) { return (int32_t)(n > INT32_MAX ? INT32_MAX : n); }

void hn_rehearse_grain(hn_forest *g, int64_t prompt, int64_t max_new, int64_t per, int64_t batch,
                       int64_t grain_tokens) {
    int64_t tree = prompt + per * max_new, trees = (batch + per - 1) / per;
    int64_t whole = tree * trees < grain_tokens ? tree * trees : grain_tokens,
            tokens = tree > whole ? tree : whole;
    *g = (hn_forest){ .n_token = small(tokens),
                      .n_act = small(tokens),
                      .n_span = small(batch + trees),
                      .n_sample = small(batch) };
}

void hn_rehearse_memory(hn_rehearsal *r, hn_memory_plan *p) {
    hn_memory m;
    hn_err e = { 0 };
    char size[16];
    int64_t here = hn_host_resident();
    p->here = here > 0 ? (size_t)here : 0;
    if (hn_memory_of(p, &m, &e)) {
        hn_preflight_say(&r->found, HN_FOUND_FAIL, "fits", "", "%s", e.msg);
        return;
    }
    printf("\n%-22s %9s\n", "memory at the peak", "");
    for (int i = 0; i < m.n; i++) {
        hn_bytes_text((double)m.row[i].bytes, size);
        printf("%s  %-20s %9s  %s%s\n",
               hn_paint_on(m.row[i].part ? HN_PAINT_FAINT : HN_PAINT_NONE, r->paints), m.row[i].what, size,
               m.row[i].how, hn_paint_off(m.row[i].part ? HN_PAINT_FAINT : HN_PAINT_NONE, r->paints));
    }
    hn_bytes_text((double)m.total, size);
    printf("  %-20s %9s  (%zu bytes)\n\n", "sum", size, m.total);
    hn_preflight_memory(&r->found, &m, &r->host);
}

void hn_rehearse_schedule(hn_rehearsal *r, const hn_train_config *c, double peak, int64_t steps) {
    static const char *const name[] = { "linear", "cosine", "constant", "constant_with_warmup",
                                        "inverse_sqrt" };
    hn_buf b = { 0 };
    int64_t last = -1;
    for (int k = 0; k <= 4; k++) {
        int64_t at = (steps - 1) * k / 4;
        if (at == last) continue;
        hn_buf_fmt(&b, "%s%.3g at %lld", last < 0 ? "" : ", ", hn_lr(c, peak, at, steps), (long long)at + 1);
        last = at;
    }
    hn_preflight_say(&r->found, HN_FOUND_OK, "schedule", "", "%lld updates, learning rate %s, peak %.3g: %s",
                     (long long)steps, name[c->lr_scheduler_type], peak, b.data ? b.data : "");
    hn_buf_free(&b);
}

void hn_rehearse_out(hn_rehearsal *r, const char *out, bool resume) {
    hn_claim claim = { 0 };
    hn_err e = { 0 };
    bool there = hn_path_exists(out);
    if (there && hn_record_claim(&claim, out, resume, &e))
        hn_preflight_say(&r->found, HN_FOUND_FAIL, "out", "", "%s", e.msg);
    else
        hn_preflight_say(&r->found, HN_FOUND_OK, "out", "", "%s: %s", out,
                         resume && there ? "its run goes on" : "a new run");
    hn_record_unclaim(&claim);
}

int hn_rehearse_end(const hn_rehearsal *r) {
    int bad = r->found.fails, warn = r->found.warnings;
    printf("%d checks: %d failed, %d warning%s\n", r->shown, bad, warn, warn == 1 ? "" : "s");
    return bad ? HN_EXIT_NO : HN_EXIT_OK;
}
