/* gsm8k.c - grade school word problems: the dataset's own file, {"question", "answer"} with "#### n".
 *
 * Cobbe et al. 2021 (arXiv 2110.14168).  The answer column holds worked steps in which calculations are
 * marked <<48/2=24>>; the marks are dropped unless they are to be learned. */
#include "task/answer.h"
#include "task/dealt.h"

#include <string.h>

typedef struct gsm8k {
    const char *file;
    bool calculator;
    int form, split, extract;
    hn_dealt rows;
} gsm8k;

static const hn_opt options[] = {
    { "task_file", "the dataset's file (train.jsonl)", HN_OPT_STR, offsetof(gsm8k, file) },
    { "task_split", "deal rows to splits by hash, or the whole file to one", HN_OPT_ENUM,
      offsetof(gsm8k, split), 0, .choices = HN_SPLIT_CHOICES },
    { "task_extract", "marker: the number after ####; last: else in the last \\boxed{}, else the last number",
      HN_OPT_ENUM, offsetof(gsm8k, extract), 1, .choices = "marker|last" },
    { "task_calculator", "keep the <<48/2=24>> marks in worked solutions", HN_OPT_BOOL,
      offsetof(gsm8k, calculator), 0 },
    { "task_form", "prompts as plain text or as chat messages", HN_OPT_ENUM, offsetof(gsm8k, form), 0,
      .choices = "text|messages" },
    { 0 },
};

static const char marker[] = "####";

/* The two columns, and the number after ####. */
static int columns(const json_t *row, const char **question, const char **answer, hn_view *gold, hn_err *e) {
    *question = json_string_value(json_object_get(row, "question"));
    *answer = json_string_value(json_object_get(row, "answer"));
    if (!*question || !*answer)
        return hn_fail(e, HN_EPARSE, "a row of gsm8k needs the strings question and answer");
    hn_ratio n;
    if (!hn_answer_after((hn_view){ *answer, strlen(*answer) }, marker, gold) ||
        !hn_number_parse(*gold, false, &n)) {
        return hn_fail(e, HN_EPARSE, "the answer does not end with #### and a number");
    }
    return HN_OK;
}

static int problem(const void *ctx, const json_t *row, hn_buf *out, hn_err *e) {
    (void)ctx;
    const char *question, *answer;
    hn_view gold;
    int rc = columns(row, &question, &answer, &gold, e);
    if (!rc) hn_buf_str(out, question);
    return rc;
}

/* The worked steps, without what stands in << >> unless it is to be kept. */
static void worked(const char *answer, bool keep, hn_buf *out) {
    for (const char *c = answer; *c;) {
        const char *end = !keep && c[0] == '<' && c[1] == '<' ? strstr(c, ">>") : NULL;
        if (end) c = end + 2;
        else hn_buf_chr(out, *c++);
    }
}

static int item(const void *priv, hn_split s, uint64_t seed, int64_t i, hn_item *out, hn_err *e) {
    (void)seed;
    const gsm8k *g = priv;
    json_t *row;
    const char *question, *answer;
    hn_view gold;
    int rc = hn_dealt_row(&g->rows, s, i, &row, e);
    if (rc) return rc;
    hn_buf steps = { 0 }, text = { 0 };
    if (!(rc = columns(row, &question, &answer, &gold, e))) {
        hn_buf_str(&text, question);
        worked(answer, g->calculator, &steps);
        out->answer = hn_strndup(gold.s, gold.n);
        out->id = text.oom ? NULL : hn_problem_id("gsm8k", &text);
        if (g->form) hn_buf_str(&text, "\nWork step by step and end with a line: #### number");
        if (!out->answer || !out->id || text.oom || steps.oom)
            rc = hn_fail(e, HN_ENOMEM, "out of memory for an item");
        if (!rc) rc = hn_item_ask(out, g->form, text.data, steps.data, e);
    }
    if (rc) hn_item_release(out);
    json_decref(row);
    hn_buf_free(&steps);
    hn_buf_free(&text);
    return rc;
}

static hn_verdict verify(const void *priv, const hn_item *it, const char *completion, size_t n,
                         double *reward, hn_err *why) {
    const gsm8k *g = priv;
    return hn_verdict_number(it, completion, n, marker, g->extract == 1, reward, why);
}

static int64_t count(const void *priv, hn_split s) { return ((const gsm8k *)priv)->rows.n[s]; }

static int open_task(void *priv, hn_err *e) {
    gsm8k *g = priv;
    return hn_dealt_open(&g->rows, "gsm8k", g->file, g->split, problem, g, e);
}

static void close_task(void *priv) { hn_dealt_close(&((gsm8k *)priv)->rows); }
static void about(const void *priv, hn_buf *out) {
    hn_dealt_about(&((const gsm8k *)priv)->rows, "gsm8k", out);
}

const hn_task hn_task_gsm8k = {
    .name = "gsm8k",
    .help = "grade school word problems from the dataset's file; numbers are compared as numbers",
    .priv_size = sizeof(gsm8k),
    .opts = options,
    .open = open_task,
    .close = close_task,
    .count = count,
    .item = item,
    .verify = verify,
    .about = about,
};
