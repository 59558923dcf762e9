/* digitseq.c - continue a sequence of numbers, character by character: a small task to see learning begin.
 *
 * The prompt "a,b:M,N" asks for the next N numbers after a, b with the same difference, modulo M,
 * parted by commas.  It is the digit-completion task of verl's end-to-end tests, with its reward: every
 * right character earns 1/(L+1) until the first wrong one, where L is the length of the answer and the
 * one more is the end of the text. */
#include "task/dealt.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_COUNT = 99, MAX_PROBLEMS = 1 << 22 };

typedef struct digitseq {
    int64_t max_number, max_diff, max_count;
    const char *file;
    int form, split, reward;
    hn_dealt rows;
    int32_t *code[HN_SPLITS]; /* generated: problems of a split as (first * diffs + diff) * counts + count */
    int64_t n[HN_SPLITS];
} digitseq;

static const hn_opt options[] = {
    { "task_max_number", "the modulus; numbers are below it", HN_OPT_INT, offsetof(digitseq, max_number), 9,
      1, 1e6 },
    { "task_max_diff", "largest difference", HN_OPT_INT, offsetof(digitseq, max_diff), 9, 1, 1e6 },
    { "task_max_count", "most numbers asked for", HN_OPT_INT, offsetof(digitseq, max_count), 9, 0,
      MAX_COUNT },
    { "task_file", "prompts from a file with the column prompt instead of all there are", HN_OPT_STR,
      offsetof(digitseq, file) },
    { "task_split", "deal problems to splits by hash, or all to one", HN_OPT_ENUM, offsetof(digitseq, split),
      0, .choices = HN_SPLIT_CHOICES },
    { "task_reward", "dense: a share for each right character; exact: 1 or 0", HN_OPT_ENUM,
      offsetof(digitseq, reward), 0, .choices = "dense|exact" },
    { "task_form", "generated prompts as plain text or as chat messages", HN_OPT_ENUM,
      offsetof(digitseq, form), 0, .choices = "text|messages" },
    { 0 },
};

/* ---- the rule ---- */
/* Appends the answer to "a,b:M,N".  false: not of that form. */
static bool solve(const char *prompt, hn_buf *out) {
    int64_t v[4];
    const char *p = prompt;
    for (int i = 0; i < 4; i++) {
        char *end;
        if (*p < '0' || *p > '9') return false;
        v[i] = strtoll(p, &end, 10);
        if (v[i] > 1000000000 || *end != ",:,"[i]) return false; /* the last must be the 0 byte */
        p = end + 1;
    }
    int64_t m = v[2], diff, x = v[1];
    if (m < 1 || v[3] > MAX_COUNT) return false;
    diff = ((x - v[0]) % m + m) % m;
    for (int64_t i = 0; i < v[3]; i++) {
        x = (x + diff) % m;
        hn_buf_fmt(out, "%s%lld", i ? "," : "", (long long)x);
    }
    return true;
}

static void write_prompt(const digitseq *d, int32_t code, hn_buf *out) {
    int64_t counts = d->max_count + 1, diffs = d->max_diff + 1, rest = code / counts;
    int64_t first = rest / diffs, second = (first + rest % diffs) % d->max_number;
    hn_buf_fmt(out, "%lld,%lld:%lld,%lld", (long long)first, (long long)second, (long long)d->max_number,
               (long long)(code % counts));
}

/* ---- prompts of a file ---- */
/* The prompt column: a string, or messages whose last content is the prompt. */
static const char *prompt_of(const json_t *row) {
    const json_t *p = json_object_get(row, "prompt");
    if (json_is_array(p) && json_array_size(p)) {
        p = json_object_get(json_array_get(p, json_array_size(p) - 1), "content");
    }
    return json_string_value(p);
}

static int problem(const void *ctx, const json_t *row, hn_buf *out, hn_err *e) {
    (void)ctx;
    const char *prompt = prompt_of(row);
    hn_buf answer = { 0 };
    bool good = prompt && solve(prompt, &answer);
    hn_buf_free(&answer);
    if (!good)
        return hn_fail(e, HN_EPARSE, "a row of digitseq needs a prompt like \"3,5:9,4\" (a,b:modulus,count)");
    hn_buf_str(out, prompt);
    return HN_OK;
}

/* ---- the task ---- */
static int item(const void *priv, hn_split s, uint64_t seed, int64_t i, hn_item *out, hn_err *e) {
    (void)seed;
    const digitseq *d = priv;
    hn_buf text = { 0 }, answer = { 0 };
    json_t *row = NULL, *turns = NULL;
    int rc = HN_OK;
    hn_buf_str(&answer, "");
    if (d->rows.file) {
        if ((rc = hn_dealt_row(&d->rows, s, i, &row, e))) goto done;
        const json_t *column = json_object_get(row, "prompt");
        if (json_is_array(column)) turns = json_deep_copy(column);
        hn_buf_str(&text, prompt_of(row));
    } else {
        hn_assert(i >= 0 && i < d->n[s]);
        write_prompt(d, d->code[s][i], &text);
    }
    if (!text.oom) solve(text.data, &answer);
    if (!text.oom && (turns || d->form)) {
        out->messages = turns ? turns : json_pack("[{s:s,s:s}]", "role", "user", "content", text.data);
    } else if (!text.oom) {
        out->prompt = hn_strdup(text.data);
    }
    out->id = text.oom ? NULL : hn_problem_id("digitseq", &text);
    out->answer = answer.oom ? NULL : hn_strdup(answer.data);
    out->solution = answer.oom ? NULL : hn_strdup(answer.data);
    if (!out->id || !out->answer || !out->solution || !(out->prompt || out->messages)) {
        rc = hn_fail(e, HN_ENOMEM, "out of memory for an item");
        if (turns && !out->messages) json_decref(turns);
    }
done:
    if (rc) hn_item_release(out);
    json_decref(row);
    hn_buf_free(&text);
    hn_buf_free(&answer);
    return rc;
}

static hn_verdict verify(const void *priv, const hn_item *it, const char *completion, size_t n,
                         double *reward, hn_err *why) {
    const digitseq *d = priv;
    if (!it->answer) return hn_verdict_error(reward, why, "item %s: no answer", it->id ? it->id : "?");
    size_t length = strlen(it->answer), right = 0;
    while (right < n && right < length && completion[right] == it->answer[right]) right++;
    if (right == length && n == length) return hn_verdict_pass(reward);
    hn_verdict v = hn_verdict_fail(reward, why, "the sequence goes on %s", it->answer);
    if (d->reward == 0) *reward = (double)right / (double)(length + 1);
    return v;
}

static int64_t count(const void *priv, hn_split s) {
    const digitseq *d = priv;
    return d->rows.file ? d->rows.n[s] : d->n[s];
}

/* All problems there are, dealt like the rows of a file. */
static int enumerate(digitseq *d, hn_err *e) {
    int64_t all = (d->max_number + 1) * (d->max_diff + 1);
    if (all > MAX_PROBLEMS || all * (d->max_count + 1) > MAX_PROBLEMS) {
        return hn_fail(e, HN_ERANGE,
                       "digitseq: more than %d problems: lower task_max_number or task_max_diff",
                       MAX_PROBLEMS);
    }
    all *= d->max_count + 1;
    hn_buf text = { 0 };
    int64_t cap[HN_SPLITS] = { 0 };
    int rc = HN_OK;
    for (int32_t code = 0; code < all && !rc; code++) {
        int64_t diff = code / (d->max_count + 1) % (d->max_diff + 1);
        if (diff >= d->max_number) continue; /* the same prompt as difference modulo max_number */
        hn_buf_clear(&text);
        write_prompt(d, code, &text);
        hn_split s = d->split ? (hn_split)(d->split - 1) : hn_split_of(hn_task_hash(text.data, text.n));
        if (text.oom || hn_grow(&d->code[s], &cap[s], d->n[s] + 1, sizeof *d->code[s])) {
            rc = hn_fail(e, HN_ENOMEM, "out of memory for the problems");
        } else {
            d->code[s][d->n[s]++] = code;
        }
    }
    hn_buf_free(&text);
    return rc;
}

static int open_task(void *priv, hn_err *e) {
    digitseq *d = priv;
    if (d->file) return hn_dealt_open(&d->rows, "digitseq", d->file, d->split, problem, d, e);
    return enumerate(d, e);
}

static void close_task(void *priv) {
    digitseq *d = priv;
    hn_dealt_close(&d->rows);
    for (int s = 0; s < HN_SPLITS; s++) hn_free(d->code[s]);
}

static void about(const void *priv, hn_buf *out) {
    const digitseq *d = priv;
    if (d->rows.file) {
        hn_dealt_about(&d->rows, "digitseq", out);
        return;
    }
    hn_buf_fmt(out, "digitseq: all problems with numbers up to %lld: %lld train, %lld gate, %lld test",
               (long long)d->max_number, (long long)d->n[HN_SPLIT_TRAIN], (long long)d->n[HN_SPLIT_GATE],
               (long long)d->n[HN_SPLIT_TEST]);
}

const hn_task hn_task_digitseq = {
    .name = "digitseq",
    .help = "continue a sequence of numbers modulo a number; by default each right character is rewarded",
    .priv_size = sizeof(digitseq),
    .opts = options,
    .open = open_task,
    .close = close_task,
    .count = count,
    .item = item,
    .verify = verify,
    .about = about,
};
