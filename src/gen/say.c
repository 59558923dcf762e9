/* say.c - answers as text: decoding while it grows, stop strings, streaming. */
#include "gen/say.h"

#include <string.h>

/* clang-format off */
#define AT(field) .at = offsetof(hn_say_config, field)
const hn_opt hn_say_opts[] = {
    { .name = "temperature", .help = "0: always the likeliest token", .type = HN_OPT_NUM, AT(how.temperature), .def = 1, .min = 0, .max = 100 },
    { .name = "top_p", .help = "draw from the likeliest tokens of this probability; 1: off", .type = HN_OPT_NUM, AT(how.top_p), .def = 1, .min = 0.0001, .max = 1 },
    { .name = "top_k", .help = "draw from this many likeliest tokens; 0: off", .type = HN_OPT_INT, AT(how.top_k), .min = 0, .max = 1e9 },
    { .name = "min_p", .help = "leave out tokens less likely than this share of the likeliest; 0: off", .type = HN_OPT_NUM, AT(how.min_p), .min = 0, .max = 1 },
    { .name = "max_new_tokens", .help = "most tokens of an answer", .type = HN_OPT_INT, AT(max_new_tokens), .def = 256, .min = 1, .max = 1e7 },
    { .name = "stop", .help = "a text that ends the answer (may be given several times)", .type = HN_OPT_LIST, AT(stop) },
    { .name = "slots", .help = "answers computed at once", .type = HN_OPT_INT, AT(slots), .def = 32, .min = 1, .max = 4096 },
    { 0 },
};
#undef AT
/* clang-format on */

void hn_said_release(hn_said *s) {
    hn_buf_free(&s->text);
    hn_free(s->token);
    hn_free(s->logp1);
    memset(s, 0, sizeof *s);
}

void hn_say_release(hn_say *s) {
    hn_gen_close(s->gen);
    s->gen = NULL;
}

const char *hn_gen_state_name(hn_gen_state s) {
    return s == HN_GEN_ENDED     ? "stop"
           : s == HN_GEN_STOPPED ? "stop_string"
           : s == HN_GEN_CUT     ? "length"
                                 : "unfinished";
}

typedef struct {
    hn_say *say;
    hn_said *to;
    hn_tok_stream stream;
    int64_t index;
    size_t shown; /* bytes given to the stream: what may still become a stop string is held back */
} voice;

/* Where the first stop string begins at or after `from`; n when there is none. */
static size_t find_stop(const hn_say *s, const hn_buf *b, size_t from) {
    size_t at = b->n;
    for (int i = 0; i < s->cfg.stop.n; i++) {
        const char *stop = s->cfg.stop.s[i],
                   *p = b->n ? memmem(b->data + from, b->n - from, stop, strlen(stop)) : NULL;
        if (p && (size_t)(p - b->data) < at) at = (size_t)(p - b->data);
    }
    return at;
}

static size_t longest_stop(const hn_say *s) {
    size_t n = 0;
    for (int i = 0; i < s->cfg.stop.n; i++) n = strlen(s->cfg.stop.s[i]) > n ? strlen(s->cfg.stop.s[i]) : n;
    return n;
}

static bool show(voice *v, size_t upto) {
    bool stop = false;
    if (v->say->stream && upto > v->shown)
        stop = v->say->stream(v->say->ctx, v->index, v->to->text.data + v->shown, upto - v->shown);
    if (upto > v->shown) v->shown = upto;
    return stop;
}

static bool on_token(hn_request *r, int32_t id) {
    voice *v = r->ctx;
    hn_buf *b = &v->to->text;
    size_t had = b->n, back = longest_stop(v->say);
    for (int i = 0; i < r->n_stop; i++)
        if (r->stop[i] == id) return false; /* the end itself is not text */
    hn_tok_stream_add(&v->stream, id, b);
    size_t stop = find_stop(v->say, b, had > back ? had - back : 0);
    if (stop < b->n) {
        b->n = stop;
        b->data[stop] = 0;
        show(v, stop);
        return true;
    }
    return show(v, b->n > back ? b->n - (back ? back - 1 : 0) : back ? 0 : b->n);
}

int hn_say_run(hn_say *s, const hn_ids *prompt, int64_t n, int per, int64_t first, hn_said *out, hn_err *e) {
    int64_t all = n * per, longest = 0;
    for (int64_t i = 0; i < n; i++) longest = prompt[i].n > longest ? prompt[i].n : longest;
    int rc = hn_gen_room(&s->gen, &s->model->net, (int)s->cfg.slots, longest, s->cfg.max_new_tokens,
                         "--max-new-tokens", e);
    hn_request *r = hn_alloc(((size_t)all + 1) * sizeof *r);
    voice *v = hn_alloc(((size_t)all + 1) * sizeof *v);
    if (!rc && (!r || !v)) rc = hn_fail(e, HN_ENOMEM, "no memory for %lld answers", (long long)all);
    size_t most = (size_t)s->cfg.max_new_tokens;
    for (int64_t i = 0; i < all && !rc; i++) {
        out[i].token = hn_alloc(most * sizeof *out[i].token);
        out[i].logp1 = hn_alloc(most * sizeof *out[i].logp1);
        if (!out[i].token || !out[i].logp1)
            rc = hn_fail(e, HN_ENOMEM, "no memory for %lld answers", (long long)all);
        v[i] = (voice){ .say = s, .to = &out[i], .index = i };
        hn_tok_stream_init(&v[i].stream, s->model->tok, true);
        hn_buf_str(&out[i].text, "");
        r[i] = (hn_request){ .prompt = prompt[i / per].id,
                             .n_prompt = (int)prompt[i / per].n,
                             .max_new = (int)most,
                             .how = s->cfg.how };
        r[i].seed = s->seed;
        r[i].stream = hn_key(hn_key(13, (uint64_t)(first + i / per)), (uint64_t)(i % per));
        r[i].stop = s->model->stop;
        r[i].n_stop = s->model->n_stop;
        r[i].out = out[i].token;
        r[i].logp1 = out[i].logp1;
        r[i].on_token = on_token;
        r[i].ctx = &v[i];
    }
    if (!rc) rc = hn_gen_run(s->gen, r, all, s->progress, s->ctx, e);
    for (int64_t i = 0; i < all && !rc; i++) {
        if (r[i].state != HN_GEN_STOPPED) hn_tok_stream_end(&v[i].stream, &out[i].text);
        show(&v[i], out[i].text.n);
        out[i].n = r[i].n_out;
        out[i].state = r[i].state;
        if (out[i].text.oom) rc = hn_fail(e, HN_ENOMEM, "no memory for the text of an answer");
    }
    hn_free(r);
    hn_free(v);
    return rc;
}
