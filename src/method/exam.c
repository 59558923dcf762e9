/* exam.c - one model's verdicts on a fixed list of items, for paired comparison. */
#include "method/improve.h"

#include <string.h>

void hn_exam_release(hn_exam *x) {
    for (int64_t i = 0; i < x->n; i++) {
        if (x->id) hn_free(x->id[i]);
        if (x->prompt) hn_free(x->prompt[i]);
        if (x->answer) hn_free(x->answer[i]);
    }
    hn_free(x->id);
    hn_free(x->prompt);
    hn_free(x->answer);
    hn_free(x->verdict);
    memset(x, 0, sizeof *x);
}

static char *prompt_text(const hn_item *it) {
    if (it->prompt) return hn_strdup(it->prompt);
    size_t n = json_array_size(it->messages);
    const json_t *last = json_array_get(it->messages, n ? n - 1 : 0);
    const char *s = json_string_value(json_object_get(last, "content"));
    return hn_strdup(s ? s : "");
}

static int keep(hn_exam *out, hn_asked *a, int64_t at, hn_err *e) {
    for (int64_t i = 0; i < a->n; i++, at++) {
        out->id[at] = hn_strdup(a->item[i].id ? a->item[i].id : "");
        out->prompt[at] = prompt_text(&a->item[i]);
        out->answer[at] = hn_strdup(a->answer[i].text);
        if (!out->id[at] || !out->prompt[at] || !out->answer[at])
            return hn_fail(e, HN_ENOMEM, "no memory for an evaluation");
        out->verdict[at] = a->answer[i].verdict;
        out->passed += a->answer[i].verdict == HN_PASS;
        out->errors += a->answer[i].verdict == HN_ERROR;
    }
    return HN_OK;
}

int hn_exam_take(hn_asker *k, hn_split split, uint64_t seed, int64_t n, hn_exam *out, hn_err *e) {
    int64_t all = k->task->count(k->priv, split);
    memset(out, 0, sizeof *out);
    if (all >= 0 && n > all) n = all;
    if (n < 1)
        return hn_fail(e, HN_ERANGE, "task %s has no items in its %s split", k->task->name,
                       hn_split_name(split));
    out->n = n;
    out->verdict = hn_alloc((size_t)n * sizeof *out->verdict);
    out->id = hn_alloc((size_t)n * sizeof *out->id);
    out->prompt = hn_alloc((size_t)n * sizeof *out->prompt);
    out->answer = hn_alloc((size_t)n * sizeof *out->answer);
    int64_t *index = hn_alloc((size_t)n * sizeof *index);
    int rc = out->verdict && out->id && out->prompt && out->answer && index
                 ? HN_OK
                 : hn_fail(e, HN_ENOMEM, "no memory for %lld items", (long long)n);
    for (int64_t i = 0; i < n && !rc; i++)
        index[i] = all < 0 ? i : (int64_t)hn_permute(seed, 7, (uint64_t)all, (uint64_t)i);
    hn_asked a = { 0 };
    if (!rc) rc = hn_ask(k, split, seed, index, n, 1, seed, hn_key(0, 0), &a, e);
    if (!rc) rc = keep(out, &a, 0, e);
    hn_asked_release(&a);
    hn_free(index);
    if (rc) hn_exam_release(out);
    return rc;
}

hn_mcnemar hn_exam_compare(const hn_exam *before, const hn_exam *after) {
    hn_assert(before->n == after->n);
    int64_t gained = 0, lost = 0;
    for (int64_t i = 0; i < before->n; i++) {
        bool was = before->verdict[i] == HN_PASS, is = after->verdict[i] == HN_PASS;
        gained += !was && is;
        lost += was && !is;
    }
    return hn_mcnemar_exact(gained, lost);
}
