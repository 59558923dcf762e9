/* tmpl_run.c - one rendering from start to end: memory and limits, variables in, spans out. */
#include "text/tmpl.h"

#include <string.h>

enum { BLOCK = 64 << 10, MAX_LEVELS = 1000 };

bool tm_fail(tm_run *r, int code, const char *fmt, ...) {
    if (r->e->code) return false;
    char msg[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    hn_fail(r->e, code, "template %s, line %d: %s", r->t->name, r->line, msg);
    return false;
}

void *tm_get(tm_run *r, size_t n) {
    if (n > r->opts.max_memory || r->used > r->opts.max_memory - n) {
        tm_fail(r, HN_ERANGE, "needs more than %zu MiB of memory", r->opts.max_memory >> 20);
        return NULL;
    }
    n = (n + 15) & ~(size_t)15;
    r->used += n;
    void *p = NULL;
    if (n <= r->bump_left) {
        p = r->bump;
    } else if (n > BLOCK / 8) {
        if (!(p = hn_arena_get(r->mem, n))) tm_fail(r, HN_ENOMEM, "out of memory");
        return p;
    } else if ((p = r->bump = hn_arena_get(r->mem, BLOCK / 2))) r->bump_left = BLOCK / 2;
    else {
        r->bump_left = 0;
        tm_fail(r, HN_ENOMEM, "out of memory");
        return NULL;
    }
    r->bump += n;
    r->bump_left -= n;
    return p;
}

bool tm_charge(tm_run *r, size_t steps) {
    if ((int64_t)steps <= r->opts.max_steps - r->steps) {
        r->steps += (int64_t)steps;
        return true;
    }
    return tm_fail(r, HN_ERANGE, "takes more than %lld steps", (long long)r->opts.max_steps);
}

bool tm_enter(tm_run *r) {
    if (r->depth >= MAX_LEVELS) return tm_fail(r, HN_ERANGE, "nested deeper than %d levels", MAX_LEVELS);
    if (!tm_charge(r, 1)) return false;
    r->depth++;
    return true;
}

void tm_leave(tm_run *r) { r->depth--; }

/* ---- variables ---- */
static bool message_in(tm_run *r, json_t *j, int32_t i, tm_val *out) {
    tm_org org = { .message = i, .turn = -1 };
    if (!json_is_object(j)) {
        org.field = TM_OTHER;
        return tm_from_json(r, j, org, out);
    }
    if (!tm_dict_new(r, (int64_t)json_object_size(j), out)) return false;
    tm_dict *d = out->u.d;
    d->org = org;
    for (void *it = json_object_iter(j); it; it = json_object_iter_next(j, it), d->n++) {
        const char *key = json_object_iter_key(it);
        size_t n = json_object_iter_key_len(it);
        org.field = TM_OTHER;
        if (!tm_str_val(r, key, n, org, &d->k[d->n])) return false;
        if (n == 7 && !memcmp(key, "content", n)) org.field = TM_CONTENT;
        if (n == 4 && !memcmp(key, "role", n)) org.field = TM_ROLE;
        if (!tm_from_json(r, json_object_iter_value(it), org, &d->v[d->n])) return false;
    }
    return true;
}

static bool messages_in(tm_run *r, json_t *j, tm_val *out) {
    int64_t n = (int64_t)json_array_size(j);
    if (n > INT32_MAX) return tm_fail(r, HN_ERANGE, "too many messages");
    if (!tm_list_new(r, TM_LIST, n, out)) return false;
    for (int64_t i = 0; i < n; i++)
        if (!message_in(r, json_array_get(j, (size_t)i), (int32_t)i, &out->u.l->v[i])) return false;
    return true;
}

static bool variables_in(tm_run *r, json_t *vars) {
    if (!(r->frame = tm_get(r, sizeof *r->frame))) return false;
    for (void *it = json_object_iter(vars); it; it = json_object_iter_next(vars, it)) {
        const char *key = json_object_iter_key(it);
        json_t *j = json_object_iter_value(it);
        tm_val v;
        bool ok = !strcmp(key, "messages") && json_is_array(j) ? messages_in(r, j, &v)
                                                               : tm_from_json(r, j, tm_nowhere, &v);
        if (!ok || !tm_frame_set(r, r->frame, key, &v)) return false;
    }
    return true;
}

/* ---- results ---- */
void hn_spans_free(hn_spans *s) {
    hn_free(s->v);
    memset(s, 0, sizeof *s);
}

static int results_out(tm_run *r, const tm_sb *b, hn_buf *out, hn_spans *spans) {
    size_t base = out->n, at = 0;
    if (spans && hn_grow(&spans->v, &spans->cap, spans->n + b->n_seg, sizeof *spans->v) < 0) goto full;
    hn_buf_add(out, b->p, b->n);
    if (out->oom) goto full;
    for (int64_t i = 0; spans && i < b->n_seg; at = b->seg[i++].end) {
        const tm_org *o = &b->seg[i].org;
        hn_tmpl_span v = { .begin = base + at,
                           .len = b->seg[i].end - at,
                           .message = o->message,
                           .turn = o->turn,
                           .line = o->line,
                           .content = o->field == TM_CONTENT,
                           .role = o->field == TM_ROLE,
                           .generation = o->gen };
        hn_tmpl_span *last = i ? &spans->v[spans->n - 1] : NULL;
        if (last && last->message == v.message && last->turn == v.turn && last->line == v.line &&
            last->content == v.content && last->role == v.role && last->generation == v.generation)
            last->len += v.len;
        else spans->v[spans->n++] = v;
    }
    return HN_OK;
full:
    tm_fail(r, HN_ENOMEM, "out of memory");
    return HN_ENOMEM;
}

int hn_tmpl_render(const hn_tmpl *t, json_t *vars, const hn_tmpl_opts *opts, hn_buf *out, hn_spans *spans,
                   hn_err *e) {
    hn_err own = { 0 };
    tm_run r = { .t = t, .e = &own, .turn = -1, .line = 1 };
    hn_assert(json_is_object(vars));
    if (opts) r.opts = *opts;
    if (!r.opts.max_out) r.opts.max_out = (size_t)64 << 20;
    if (!r.opts.max_memory) r.opts.max_memory = (size_t)512 << 20;
    if (!r.opts.max_steps) r.opts.max_steps = 50000000;
    tm_sb b = { .r = &r };
    r.out = &b;
    if (!(r.mem = hn_arena_new(BLOCK))) return hn_fail(e, HN_ENOMEM, "template %s: out of memory", t->name);
    if (variables_in(&r, vars) && tm_exec_in(&r, r.frame, t->hidden, t->body))
        results_out(&r, &b, out, spans);
    hn_arena_free(r.mem);
    return own.code ? hn_fail(e, own.code, "%s", own.msg) : HN_OK;
}
