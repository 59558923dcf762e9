/* preflight.c - what is checked before a run (preflight.h): the machine, the folders, the memory. */
#include "train/preflight.h"
#include "base/io.h"
#include "base/pool.h"
#include "cpu/cpu.h"
#include "train/preflight_text.h"

#include <string.h>
#include <unistd.h>

void hn_preflight_say(hn_preflight *p, hn_found how, const char *what, const char *remedy, const char *fmt,
                      ...) {
    char said[800];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(said, sizeof said, fmt, ap);
    va_end(ap);
    p->fails += how == HN_FOUND_FAIL;
    p->warnings += how == HN_FOUND_WARN;
    p->found(p->ctx, how, what, said, remedy);
}

void hn_bytes_text(double n, char out[16]) {
    static const char *const unit[] = { "B", "kB", "MB", "GB", "TB", "PB" };
    int k = 0;
    for (; n >= 999.5 && k < 5; k++) n /= 1000;
    snprintf(out, 16, n < 9.995 && k ? "%.2f %s" : n < 99.95 && k ? "%.1f %s" : "%.0f %s", n, unit[k]);
}

/* ---- the machine ---- */
static void processor(hn_preflight *p) {
    hn_tier best = HN_TIER_C;
    while (best < HN_TIER_AMX && hn_cpu_has((hn_tier)(best + 1))) best++;
    if (hn_cpu_tier() < best) {
        hn_preflight_say(p, HN_FOUND_WARN, "processor", "unset HONE_TIER for the fastest kernels",
                         "kernels %s; the machine has %s", hn_cpu_why(), hn_tier_name(best));
        return;
    }
    const char *lacks = hn_cpu_missing();
    hn_preflight_say(p, HN_FOUND_OK, "processor", "", "kernels %s%s%s%s%s", hn_cpu_why(),
                     *lacks ? "; for " : "", *lacks ? hn_tier_name((hn_tier)(best + 1)) : "",
                     *lacks ? " it lacks " : "", lacks);
}

static void threads(hn_preflight *p, const hn_host *h) {
    int n = hn_pool_threads();
    if (h->quota > 0 && n > h->quota + 0.01)
        hn_preflight_say(p, HN_FOUND_WARN, "threads", "lower --threads, or raise the group's cpu limit",
                         "%d threads, but the control group allows the time of %.3g cores", n, h->quota);
    else if (n > h->cores)
        hn_preflight_say(p, HN_FOUND_WARN, "threads", "lower --threads", "%d threads on %d cores", n,
                         h->cores);
    else
        hn_preflight_say(p, HN_FOUND_OK, "threads", "", "%d; this process may run on %d of %d cores", n,
                         h->cores, h->online);
}

void hn_preflight_host(hn_preflight *p, const hn_host *h) {
    char all[16], left[16], limit[16];
    processor(p);
    threads(p, h);
    hn_bytes_text((double)h->memory, all);
    hn_bytes_text((double)h->available, left);
    hn_bytes_text((double)h->limit, limit);
    if (h->memory < 0 || h->available < 0)
        hn_preflight_say(p, HN_FOUND_SKIP, "memory", "", "the system does not say how much there is");
    else
        hn_preflight_say(p, HN_FOUND_OK, "memory", "", "%s available of %s%s%s", left, all,
                         h->limit >= 0 ? "; limited to " : "", h->limit >= 0 ? limit : "");
}

/* ---- config and weights ---- */
static void config(hn_preflight *p, const hn_model *m) {
    const hn_hfconfig *c = &m->net.cfg;
    double n = (double)m->net.params.count;
    hn_preflight_say(
        p, HN_FOUND_OK, "config", "",
        "%s, %.2f %s parameters: %d layers, width %d, %d heads (%d of keys), context %d, %s head",
        hn_arch_name(c->arch), n < 1e9 ? 1e-6 * n : 1e-9 * n, n < 1e9 ? "M" : "B", c->n_layer, c->hidden_size,
        c->n_head, c->n_kv_head, hn_transformer_max_len(&m->net), c->tied ? "tied" : "own");
}

static void weights(hn_preflight *p, const hn_model *m) {
    hn_err e = { 0 };
    hn_hfdir *d = NULL;
    const hn_st_tensor *t = NULL;
    double bytes = 0;
    int rc = hn_hfdir_open(&d, m->dir, &e);
    for (int64_t i = 0; i < m->net.params.n && !rc; i++) {
        const hn_param *q = &m->net.params.list[i];
        if (!(rc = hn_hfdir_need(d, q->name, q->shape.nd, q->shape.d, &t, &e))) bytes += (double)t->size;
    }
    if (!rc) rc = hn_hfdir_rest(d, &e);
    char size[16];
    hn_bytes_text(bytes, size);
    if (rc) hn_preflight_say(p, HN_FOUND_FAIL, "weights", "download or convert the model again", "%s", e.msg);
    else
        hn_preflight_say(p, HN_FOUND_OK, "weights", "", "%lld tensors of the right shapes, %s in %s",
                         (long long)m->net.params.n, size, t ? hn_st_dtype_name(t->dtype) : "?");
    hn_hfdir_close(d);
}

void hn_preflight_model(hn_preflight *p, const char *dir, hn_model **m) {
    hn_err e = { 0 };
    *m = NULL;
    if (hn_model_settings(m, dir, &e)) {
        hn_preflight_say(p, HN_FOUND_FAIL, "config", "give --model the folder of a model", "%s", e.msg);
        return;
    }
    config(p, *m);
    weights(p, *m);
    hn_preflight_text(p, *m);
}

/* ---- memory and disk ---- */
void hn_preflight_memory(hn_preflight *p, const hn_memory *m, const hn_host *h) {
    char need[16], have[16];
    int64_t room = h->available < 0 ? -1 : h->available + hn_host_resident(); /* some of it is here already */
    hn_bytes_text((double)m->total, need);
    hn_bytes_text((double)room, have);
    if (room < 0) hn_preflight_say(p, HN_FOUND_SKIP, "fits", "", "%s are needed", need);
    else if ((double)m->total > (double)room)
        hn_preflight_say(p, HN_FOUND_FAIL, "fits",
                         "take a smaller model or a larger machine; lower grain_tokens, max_length, slots or "
                         "reduce_slots where their rows are large; gradient_checkpointing for activations",
                         "does not fit: %s are needed, %s are available", need, have);
    else if ((double)m->total > 0.9 * (double)room)
        hn_preflight_say(p, HN_FOUND_WARN, "fits", "end other programs", "only just: %s of %s", need, have);
    else hn_preflight_say(p, HN_FOUND_OK, "fits", "", "%s are needed, %s are available", need, have);
}

/* The nearest folder above `out` that is there. */
static int standing(const char *out, hn_buf *b, hn_err *e) {
    hn_buf_str(b, out);
    while (!b->oom && !hn_path_exists(b->data)) {
        size_t n = b->n;
        while (n > 1 && b->data[n - 1] == '/') n--;
        while (n > 0 && b->data[n - 1] != '/') n--;
        while (n > 1 && b->data[n - 1] == '/') n--;
        hn_buf_clear(b);
        hn_buf_add(b, n ? out : ".", n ? n : 1);
    }
    return b->oom ? hn_fail(e, HN_ENOMEM, "no memory for a path") : HN_OK;
}

void hn_preflight_disk(hn_preflight *p, const char *out, int64_t parameters, const hn_train_config *c,
                       int64_t steps, hn_st_dtype save) {
    hn_err e = { 0 };
    hn_buf at = { 0 };
    if (standing(out, &at, &e)) {
        hn_preflight_say(p, HN_FOUND_SKIP, "disk", "", "%s", e.msg);
    } else if (!hn_path_is_dir(at.data) || access(at.data, W_OK | X_OK)) {
        hn_preflight_say(p, HN_FOUND_FAIL, "disk", "give another --out",
                         hn_path_is_dir(at.data) ? "%s may not be written" : "%s is not a folder", at.data);
    } else {
        if (steps < 1) steps = (c->save_total_limit + 1) * c->save_steps; /* not known: as many as are kept */
        int64_t kept = c->save_steps ? (steps + c->save_steps - 1) / c->save_steps : 1,
                free_now = hn_disk_free(out);
        if (c->save_total_limit && kept > c->save_total_limit)
            kept = c->save_total_limit + 1; /* before one goes */
        double each = 12.0 * (double)parameters, model = (double)parameters * (double)hn_st_size(save);
        double need = (double)kept * each + model + 1e6;
        char one[16], sum[16], have[16];
        hn_bytes_text(each, one);
        hn_bytes_text(need, sum);
        hn_bytes_text((double)free_now, have);
        hn_found how = free_now < 0 ? HN_FOUND_SKIP : need > (double)free_now ? HN_FOUND_FAIL : HN_FOUND_OK;
        hn_preflight_say(p, how, "disk",
                         how == HN_FOUND_FAIL ? "make room, give another --out, or lower save_total_limit"
                                              : "",
                         "%s for up to %lld checkpoints of %s and the model; %s free at %s", sum,
                         (long long)kept, one, free_now < 0 ? "it is unknown how much is" : have, at.data);
    }
    hn_buf_free(&at);
}

/* ---- the round trip ---- */
static int round_trip(const char *dir, const char *place, hn_prec prec, int64_t *worst, hn_err *e) {
    hn_model *a = NULL, *b = NULL;
    int rc = hn_model_open(&a, dir, prec, e);
    if (!rc) rc = hn_model_save(a, place, HN_ST_F32, false, NULL, NULL, e);
    if (!rc) rc = hn_model_open(&b, place, prec, e);
    if (!rc && a->net.params.count != b->net.params.count)
        rc = hn_fail(e, HN_EPARSE, "what was written has another number of parameters");
    *worst = -1;
    for (int64_t i = 0; !rc && i < a->net.params.n && *worst < 0; i++) {
        const hn_param *q = &a->net.params.list[i];
        size_t bytes = (size_t)q->count * sizeof(hn_real);
        if (memcmp(a->net.params.value + q->at, b->net.params.value + q->at, bytes)) *worst = i;
    }
    if (!rc && *worst >= 0)
        rc = hn_fail(e, HN_EIO, "%s came back with other numbers", a->net.params.list[*worst].name);
    hn_model_close(a);
    hn_model_close(b);
    return rc;
}

void hn_preflight_save(hn_preflight *p, const char *dir, const char *out, hn_prec prec) {
    hn_err e = { 0 };
    hn_buf at = { 0 };
    int64_t worst;
    int rc = standing(out, &at, &e);
    hn_buf_fmt(&at, "/.hone-doctor-%lld", (long long)getpid());
    if (!rc && at.oom) rc = hn_fail(&e, HN_ENOMEM, "no memory for a path");
    if (!rc) rc = round_trip(dir, at.data, prec, &worst, &e);
    if (at.data && !at.oom) hn_dir_remove(at.data, NULL);
    if (rc) hn_preflight_say(p, HN_FOUND_FAIL, "save", "look at the disk and the model's files", "%s", e.msg);
    else hn_preflight_say(p, HN_FOUND_OK, "save", "", "written, read back and equal to the bit");
    hn_buf_free(&at);
}
