/* jsonl.c - questions and answers of any file: name the columns, say what kind of answer it is.
 *
 *   exact    the text after the marker, or all of it, equals the gold answer
 *   numeric  equal as numbers
 *   choice   the same letter
 *   boxed    the last \boxed{} is the same LaTeX answer (answer.h says what "same" is)
 *   regex    the gold answer is a pattern that the text must match
 *
 * With task_extract, a pattern, the text judged is its last match (its group, if it has one). */
#include "task/answer.h"
#include "task/dealt.h"
#include "task/regex.h"

#include <stdlib.h>
#include <string.h>

enum kind { EXACT, NUMERIC, CHOICE, BOXED, REGEX };

typedef struct questions {
    const char *file, *prompt_key, *answer_key, *solution_key, *choices_key, *extract, *marker, *template;
    int kind, form, split;
    bool ignore_case, skip_null;
    hn_dealt rows;
    const char *prompt, *answer; /* the columns in use */
    hn_regex *extractor;
} questions;

static const hn_opt options[] = {
    { "task_file", "a JSONL file, or a JSON array, of questions and answers", HN_OPT_STR,
      offsetof(questions, file) },
    { "task_kind", "how answers are compared", HN_OPT_ENUM, offsetof(questions, kind), 0,
      .choices = "exact|numeric|choice|boxed|regex" },
    { "task_prompt_key",
      "column of the question: text, or a list of messages (default: the first that is there of "
      "prompt, question, problem, query, input, instruction, messages)",
      HN_OPT_STR, offsetof(questions, prompt_key) },
    { "task_answer_key",
      "column of the gold answer (default: the first that is there of answer, ground_truth, gold, "
      "target, output, label)",
      HN_OPT_STR, offsetof(questions, answer_key) },
    { "task_solution_key", "column of a worked solution, if there is one", HN_OPT_STR,
      offsetof(questions, solution_key) },
    { "task_choices_key", "column with the list of choices, put under the question as (A), (B), ...",
      HN_OPT_STR, offsetof(questions, choices_key) },
    { "task_extract", "pattern: the answer is its last match, or the group in it", HN_OPT_STR,
      offsetof(questions, extract) },
    { "task_marker", "the answer is what follows this on its line", HN_OPT_STR, offsetof(questions, marker) },
    { "task_template", "the prompt as text; {} is the question", HN_OPT_STR, offsetof(questions, template),
      .sdef = "{}" },
    { "task_ignore_case", "exact: A equals a", HN_OPT_BOOL, offsetof(questions, ignore_case), 0 },
    { "task_skip_null", "leave out (and count) rows whose gold answer is null or empty, instead of an error",
      HN_OPT_BOOL, offsetof(questions, skip_null), 0 },
    { "task_split", "deal rows to splits by hash, or the whole file to one", HN_OPT_ENUM,
      offsetof(questions, split), 0, .choices = HN_SPLIT_CHOICES },
    { "task_form", "a question that is text becomes a plain prompt or a user message", HN_OPT_ENUM,
      offsetof(questions, form), 0, .choices = "text|messages" },
    { 0 },
};

/* ---- columns ---- */
static hn_view view_of(const char *s) { return (hn_view){ s, strlen(s) }; }

static const char *first_there(const json_t *row, const char *const *names) {
    for (; *names; names++) {
        if (json_object_get(row, *names)) return *names;
    }
    return NULL;
}

/* Which columns are used is decided on the first row and holds for all. */
static int choose_columns(questions *q, const json_t *row, hn_err *e) {
    static const char *const asks[] = { "prompt", "question",    "problem",  "query",
                                        "input",  "instruction", "messages", NULL };
    static const char *const golds[] = {
        "answer", "ground_truth", "gold", "target", "output", "label", NULL
    };
    q->prompt = q->prompt_key ? q->prompt_key : first_there(row, asks);
    q->answer = q->answer_key ? q->answer_key : first_there(row, golds);
    const char *missing = !q->prompt ? "task_prompt_key" : !q->answer ? "task_answer_key" : NULL;
    if (missing) return hn_fail(e, HN_EPARSE, "no column with a usual name: give %s", missing);
    return HN_OK;
}

static bool is_chat(const json_t *list) {
    size_t n = json_array_size(list);
    for (size_t i = 0; i < n; i++) {
        const json_t *m = json_array_get(list, i);
        if (!json_is_string(json_object_get(m, "role")) || !json_is_string(json_object_get(m, "content")))
            return false;
    }
    return n > 0;
}

/* The gold answer as text: a string, a number or a truth value. */
static bool gold_text(const json_t *gold, hn_buf *out) {
    if (json_is_string(gold)) hn_buf_add(out, json_string_value(gold), json_string_length(gold));
    else if (json_is_integer(gold)) hn_buf_fmt(out, "%lld", (long long)json_integer_value(gold));
    else if (json_is_boolean(gold)) hn_buf_str(out, json_is_true(gold) ? "true" : "false");
    else if (json_is_real(gold)) {
        char text[40];
        for (int digits = 15; digits <= 17; digits++) { /* the fewest that read back to the same number */
            snprintf(text, sizeof text, "%.*g", digits, json_real_value(gold));
            if (strtod(text, NULL) == json_real_value(gold)) break;
        }
        hn_buf_str(out, text);
    } else {
        return false;
    }
    return true;
}

/* null, or a LaTeX answer without a character: nothing could ever equal it. */
static bool no_gold(const questions *q, const json_t *gold) {
    if (q->kind == BOXED && json_is_string(gold))
        return hn_view_trim(view_of(json_string_value(gold))).n == 0;
    return json_is_null(gold);
}

/* Can this gold answer be judged by the kind? */
static int check_gold(const questions *q, const hn_buf *gold, hn_err *e) {
    hn_view v = { gold->data ? gold->data : "", gold->n };
    hn_ratio number;
    hn_regex *pattern;
    switch ((enum kind)q->kind) {
    case NUMERIC:
        if (hn_number_parse(v, true, &number)) return HN_OK;
        return hn_fail(e, HN_EPARSE, "'%.60s' in column '%s' is not a number: choose another task_kind", v.s,
                       q->answer);
    case CHOICE:
        if (hn_answer_choice(v)) return HN_OK;
        return hn_fail(e, HN_EPARSE,
                       "'%.60s' in column '%s' is not a choice letter: choose another task_kind", v.s,
                       q->answer);
    case REGEX: {
        int rc = hn_regex_new(&pattern, v.s, e);
        hn_regex_free(pattern);
        return rc;
    }
    default: return HN_OK;
    }
}

static int problem(const void *ctx, const json_t *row, hn_buf *out, hn_err *e) {
    const questions *q = ctx;
    const json_t *ask = json_object_get(row, q->prompt), *choices;
    if (no_gold(q, json_object_get(row, q->answer))) {
        if (q->skip_null) return HN_LEAVE_OUT;
        return hn_fail(e, HN_EPARSE, "column '%s' is null or empty; task_skip_null leaves such rows out",
                       q->answer);
    }
    if (json_is_string(ask)) {
        hn_buf_str(out, json_string_value(ask));
    } else if (is_chat(ask)) {
        char *text = json_dumps(ask, JSON_COMPACT | JSON_SORT_KEYS);
        if (!text) return hn_fail(e, HN_ENOMEM, "out of memory for a row");
        hn_buf_str(out, text);
        free(text);
    } else {
        return hn_fail(e, HN_EPARSE, "column '%s' must be text or a list of {role, content}", q->prompt);
    }
    if (q->choices_key && !json_is_array(choices = json_object_get(row, q->choices_key))) {
        return hn_fail(e, HN_EPARSE, "column '%s' must be a list of choices", q->choices_key);
    }
    if (q->solution_key && !json_is_string(json_object_get(row, q->solution_key))) {
        return hn_fail(e, HN_EPARSE, "column '%s' must be text", q->solution_key);
    }
    hn_buf gold = { 0 };
    int rc = HN_OK;
    if (!gold_text(json_object_get(row, q->answer), &gold)) {
        rc = hn_fail(e, HN_EPARSE, "column '%s' must be text, a number or true/false", q->answer);
    } else if (gold.oom) {
        rc = hn_fail(e, HN_ENOMEM, "out of memory for a row");
    } else {
        rc = check_gold(q, &gold, e);
    }
    hn_buf_free(&gold);
    return rc;
}

/* ---- items ---- */
static void write_question(const questions *q, const json_t *row, const char *ask, hn_buf *out) {
    hn_buf text = { 0 };
    hn_buf_str(&text, ask);
    const json_t *choices = q->choices_key ? json_object_get(row, q->choices_key) : NULL;
    for (size_t i = 0; i < json_array_size(choices) && i < 26; i++) {
        hn_buf_fmt(&text, "\n(%c) ", (char)('A' + i));
        gold_text(json_array_get(choices, i), &text);
    }
    const char *hole = strstr(q->template, "{}");
    hn_buf_add(out, q->template, (size_t)(hole - q->template));
    if (!text.oom) hn_buf_add(out, text.data, text.n);
    hn_buf_str(out, hole + 2);
    out->oom |= text.oom;
    hn_buf_free(&text);
}

static int item(const void *priv, hn_split s, uint64_t seed, int64_t i, hn_item *out, hn_err *e) {
    (void)seed;
    const questions *q = priv;
    hn_buf id = { 0 }, text = { 0 }, gold = { 0 };
    json_t *row;
    int rc = hn_dealt_row(&q->rows, s, i, &row, e);
    if (rc) return rc;
    if ((rc = problem(q, row, &id, e))) goto done;
    const json_t *ask = json_object_get(row, q->prompt);
    if (json_is_array(ask)) out->messages = json_deep_copy(ask);
    else write_question(q, row, json_string_value(ask), &text);
    if (!text.oom && text.data && q->form) {
        out->messages = json_pack("[{s:s,s:s}]", "role", "user", "content", text.data);
    } else if (!text.oom && text.data) {
        out->prompt = hn_strdup(text.data);
    }
    gold_text(json_object_get(row, q->answer), &gold);
    out->answer = gold.oom ? NULL : hn_strdup(gold.data ? gold.data : "");
    out->id = id.oom ? NULL : hn_problem_id("jsonl", &id);
    bool all = (out->messages || out->prompt) && out->answer && out->id;
    if (all && q->solution_key) {
        all = (out->solution = hn_strdup(json_string_value(json_object_get(row, q->solution_key)))) != NULL;
    }
    if (!all) rc = hn_fail(e, HN_ENOMEM, "out of memory for an item");
done:
    if (rc) hn_item_release(out);
    json_decref(row);
    hn_buf_free(&id);
    hn_buf_free(&text);
    hn_buf_free(&gold);
    return rc;
}

/* ---- judging ---- */
static bool same_text(hn_view a, hn_view b, bool ignore_case) {
    if (a.n != b.n) return false;
    for (size_t i = 0; i < a.n; i++) {
        char x = a.s[i], y = b.s[i];
        if (ignore_case && x >= 'A' && x <= 'Z') x |= 0x20;
        if (ignore_case && y >= 'A' && y <= 'Z') y |= 0x20;
        if (x != y) return false;
    }
    return true;
}

/* 1: equal, 0: not, < 0: could not tell. */
static int equal(const questions *q, hn_view text, bool cut, hn_view gold, hn_err *why) {
    hn_ratio x, y;
    hn_view box = text, inner;
    hn_regex *pattern;
    bool same = false;
    int rc = 0;
    switch ((enum kind)q->kind) {
    case EXACT: return same_text(hn_view_trim(text), hn_view_trim(gold), q->ignore_case);
    case NUMERIC:
        if (!hn_number_parse(gold, true, &x))
            return hn_fail(why, HN_EPARSE, "the gold answer is not a number");
        return (cut ? hn_number_parse(text, true, &y) : hn_answer_number(text, "####", &y)) &&
               hn_ratio_eq(x, y);
    case CHOICE: {
        char want = hn_answer_choice(gold);
        if (!want) return hn_fail(why, HN_EPARSE, "the gold answer is not a choice letter");
        return hn_answer_choice(text) == want;
    }
    case BOXED:
        if (!hn_answer_boxed(text, &box) && !cut) return 0;
        rc = hn_answer_same_math(box, hn_answer_boxed(gold, &inner) ? inner : gold, &same, why);
        return rc ? rc : same;
    default:
        if ((rc = hn_regex_new(&pattern, gold.s, why))) return rc;
        rc = hn_regex_last(pattern, text, &box, why);
        hn_regex_free(pattern);
        return rc;
    }
}

static hn_verdict verify(const void *priv, const hn_item *it, const char *completion, size_t n,
                         double *reward, hn_err *why) {
    const questions *q = priv;
    hn_view text = { completion, n };
    hn_err trouble = { 0 };
    bool cut = q->extractor || q->marker;
    if (!it->answer) return hn_verdict_error(reward, why, "item %s: no gold answer", it->id ? it->id : "?");
    int rc = 1;
    if (q->extractor) {
        rc = hn_regex_last(q->extractor, text, &text, &trouble);
        if (!rc) return hn_verdict_fail(reward, why, "nothing matches task_extract");
    } else if (q->marker && !hn_answer_after(text, q->marker, &text)) {
        return hn_verdict_fail(reward, why, "nothing after '%s'", q->marker);
    }
    if (rc > 0) rc = equal(q, text, cut, view_of(it->answer), &trouble);
    if (rc < 0) return hn_verdict_error(reward, why, "item %s: %s", it->id ? it->id : "?", trouble.msg);
    if (rc == 0) return hn_verdict_fail(reward, why, "the answer is %s", it->answer);
    return hn_verdict_pass(reward);
}

/* ---- the task ---- */
static int64_t count(const void *priv, hn_split s) { return ((const questions *)priv)->rows.n[s]; }

static int read_first(questions *q, hn_err *e) {
    hn_jsonl *f;
    json_t *row;
    int rc = hn_jsonl_open(&f, q->file, e);
    if (rc) return rc;
    if (!(rc = hn_jsonl_row(f, 0, &row, e))) {
        rc = choose_columns(q, row, e);
        if (rc) hn_jsonl_fail_in(f, 0, e);
        json_decref(row);
    }
    hn_jsonl_close(f);
    return rc;
}

static int open_task(void *priv, hn_err *e) {
    questions *q = priv;
    if (!q->file) return hn_fail(e, HN_EPARSE, "task jsonl reads a file: give task_file");
    if (!strstr(q->template, "{}")) {
        return hn_fail(e, HN_EPARSE, "task_template '%s' has no {} for the question", q->template);
    }
    if (q->extract && q->marker) return hn_fail(e, HN_EPARSE, "give task_extract or task_marker, not both");
    int rc = q->extract ? hn_regex_new(&q->extractor, q->extract, e) : HN_OK;
    if (rc) {
        hn_fail_in(e, "task_extract");
        return rc;
    }
    if (!rc) rc = read_first(q, e);
    if (!rc) rc = hn_dealt_open(&q->rows, "jsonl", q->file, q->split, problem, q, e);
    return rc;
}

static void close_task(void *priv) {
    questions *q = priv;
    hn_dealt_close(&q->rows);
    hn_regex_free(q->extractor);
    q->extractor = NULL;
}

static void about(const void *priv, hn_buf *out) {
    const questions *q = priv;
    hn_dealt_about(&q->rows, "jsonl", out);
    hn_buf_fmt(out, "; question '%s', answer '%s'", q->prompt, q->answer);
}

const hn_task hn_task_jsonl = {
    .name = "jsonl",
    .help = "questions and answers of any file; task_kind says how answers are compared",
    .priv_size = sizeof(questions),
    .opts = options,
    .open = open_task,
    .close = close_task,
    .count = count,
    .item = item,
    .verify = verify,
    .about = about,
};
