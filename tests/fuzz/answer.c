/* answer.c - fuzz target: the first line is a gold answer, the rest what a model wrote.  A verifier must come
 * to a verdict on any bytes, and an answer must equal itself. */
#include "task/answer.h"
#include "task/task.h"

#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void inside(hn_view part, hn_view whole) {
    hn_assert(part.n == 0 || (part.s >= whole.s && part.s + part.n <= whole.s + whole.n));
}

static void countdown(hn_view text) {
    hn_optset *set = hn_optset_new();
    void *priv;
    hn_err e = { 0 };
    hn_assert(set && !hn_task_new(&priv, &hn_task_countdown, set, &e));
    hn_item it = { .extra = json_pack("{s:[i,i,i,i],s:i}", "nums", 6, 2, 4, 3, "target", 40) };
    double reward = NAN;
    hn_verdict v = hn_task_countdown.verify(priv, &it, text.s, text.n, &reward, &e);
    hn_assert(v != HN_ERROR && reward == (v == HN_PASS));
    json_decref(it.extra);
    hn_task_free(&hn_task_countdown, priv);
    hn_optset_free(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    const char *all = n ? (const char *)data : "", *end = n ? memchr(all, '\n', n) : NULL;
    hn_view gold = { all, end ? (size_t)(end - all) : n };
    hn_view text = { end ? end + 1 : all + n, end ? n - gold.n - 1 : 0 }, found;
    hn_ratio a, b;
    bool same;
    if (hn_answer_after(text, "####", &found)) inside(found, text);
    if (hn_answer_boxed(text, &found)) inside(found, text);
    if (hn_answer_last_number(text, &found, &a)) {
        inside(found, text);
        hn_assert(hn_number_parse(found, false, &b) && hn_ratio_eq(a, b) && b.den > 0);
    }
    char letter = hn_answer_choice(text);
    hn_assert(letter == 0 || (letter >= 'A' && letter <= 'Z'));
    hn_assert(!hn_answer_same_math(gold, text, &same, NULL));
    bool back;
    hn_assert(!hn_answer_same_math(text, gold, &back, NULL) && same == back);
    countdown(text);
    return 0;
}
