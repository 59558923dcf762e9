/* method.c - the table of methods and what they share. */
#include "method/method.h"

#include <math.h>
#include <string.h>

#define HN_METHOD(name) &hn_method_##name,
const hn_method *const hn_method_list[] = {
#include "method/methods.h"
    NULL
};
#undef HN_METHOD

const hn_method *hn_method_find(const char *name, hn_err *e) {
    const char *names[64];
    int n = 0;
    for (const hn_method *const *m = hn_method_list; *m; m++) {
        if (!strcmp((*m)->name, name)) return *m;
        if (n < 64) names[n++] = (*m)->name;
    }
    const char *near = hn_nearest(name, names, n);
    hn_fail(e, HN_EPARSE, "no method named '%s'%s%s%s", name, near ? "; did you mean '" : "",
            near ? near : "", near ? "'?" : "");
    return NULL;
}

void hn_round_items(const hn_round *r, int64_t batch, int64_t *index, int64_t n) {
    int64_t all = r->asker->task->count(r->asker->priv, HN_SPLIT_TRAIN);
    for (int64_t i = 0; i < n; i++) {
        /* rounds are far apart in an endless task; in a counted one they go on where the last ended */
        uint64_t at = (uint64_t)(r->round - 1) * 1000003u + (uint64_t)(batch * n + i);
        if (all < 0) index[i] = (int64_t)at;
        else index[i] = (int64_t)hn_permute(r->seed, at / (uint64_t)all, (uint64_t)all, at % (uint64_t)all);
    }
}

void hn_asked_metrics(const hn_asked *a, const char *task, hn_metrics *m) {
    double n = (double)(a->n * a->per), sum = 0, sq = 0, len = 0, ended = 0, ended_len = 0, judged = 0,
           shortest = 1e30, longest = 0;
    for (int64_t i = 0; i < a->n * a->per; i++) {
        const hn_answer *w = &a->answer[i];
        len += w->n;
        shortest = fmin(shortest, w->n);
        longest = fmax(longest, w->n);
        if (!w->cut) ended++, ended_len += w->n;
        if (w->verdict == HN_ERROR) continue;
        judged++;
        sum += w->reward;
        sq += w->reward * w->reward;
    }
    double mean = judged > 0 ? sum / judged : 0;
    char key[48];
    snprintf(key, sizeof key, "rewards/%.30s/mean", task);
    hn_metrics_set(m, key, mean);
    snprintf(key, sizeof key, "rewards/%.30s/std", task);
    hn_metrics_set(m, key, judged > 1 ? sqrt(fmax(0, (sq - judged * mean * mean) / (judged - 1))) : 0);
    hn_metrics_set(m, "completions/mean_length", n > 0 ? len / n : 0);
    hn_metrics_set(m, "completions/min_length", n > 0 ? shortest : 0);
    hn_metrics_set(m, "completions/max_length", longest);
    hn_metrics_set(m, "completions/clipped_ratio", n > 0 ? 1 - ended / n : 0);
    hn_metrics_set(m, "completions/mean_terminated_length", ended > 0 ? ended_len / ended : 0);
    hn_metrics_set(m, "verifier_errors", n - judged);
    hn_metrics_set(m, "generate_seconds", a->seconds_generate);
    hn_metrics_set(m, "generate_tokens_per_second",
                   a->seconds_generate > 0 ? (double)a->tokens / a->seconds_generate : 0);
}
