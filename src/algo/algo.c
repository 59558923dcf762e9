/* algo.c - the table of algorithms, metrics, and the few sums that several losses share. */
#include "algo/algo.h"
#include "op/ops.h"

#include <string.h>

#define HN_ALGO(name) &hn_algo_##name,
const hn_algo *const hn_algo_list[] = {
#include "algo/algos.h"
    NULL
};
#undef HN_ALGO

const hn_algo *hn_algo_find(const char *name) {
    for (const hn_algo *const *a = hn_algo_list; *a; a++)
        if (!strcmp((*a)->name, name)) return *a;
    return NULL;
}

void hn_metrics_set(hn_metrics *m, const char *key, double value) {
    for (int64_t i = 0; i < m->n; i++)
        if (!strcmp(m->list[i].key, key)) {
            m->list[i].value = value;
            return;
        }
    if (hn_grow(&m->list, &m->cap, m->n + 1, sizeof *m->list)) {
        m->oom = true;
        return;
    }
    hn_metric *x = &m->list[m->n++];
    snprintf(x->key, sizeof x->key, "%s", key);
    x->value = value;
}

double hn_metrics_get(const hn_metrics *m, const char *key, double otherwise) {
    for (int64_t i = 0; i < m->n; i++)
        if (!strcmp(m->list[i].key, key)) return m->list[i].value;
    return otherwise;
}

bool hn_metric_is_time(const char *key) { return strstr(key, "seconds") || strstr(key, "per_second"); }

void hn_metrics_clear(hn_metrics *m) { m->n = 0; }

void hn_metrics_release(hn_metrics *m) {
    hn_free(m->list);
    memset(m, 0, sizeof *m);
}

hn_tensor *hn_algo_weighted(hn_pass *p, hn_tensor *x) {
    hn_tensor *w = hn_pass_column(p, "weight", HN_PER_ACT, HN_F);
    return hn_sum(p->tape, hn_mul(p->tape, w, x));
}

double hn_algo_mean(const hn_forest *f, const char *column) {
    const hn_real *w = hn_forest_f(f, "weight"), *x = hn_forest_f(f, column);
    double sum = 0, all = 0;
    for (int32_t i = 0; i < f->n_act; i++) sum += (double)w[i] * x[i], all += w[i];
    return all > 0 ? sum / all : 0;
}

void hn_algo_acts(const hn_forest *f, int32_t *begin) {
    int32_t a = 0;
    for (int32_t s = 0; s <= f->n_sample; s++) {
        while (a < f->n_act && f->sample[a] < s) a++;
        begin[s] = a;
    }
}
