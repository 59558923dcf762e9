/* say.h - text in, text out: requests with stop strings, decoded as they grow. */
#ifndef HN_SAY_H
#define HN_SAY_H

#include "base/opt.h"
#include "gen/gen.h"
#include "model/model.h"

typedef struct hn_say_config {
    hn_sampling how;
    int64_t max_new_tokens, slots;
    hn_strs stop; /* texts that end an answer; they are not part of it */
} hn_say_config;
extern const hn_opt hn_say_opts[]; /* temperature, top_p, top_k, min_p, max_new_tokens, stop, slots */

typedef struct hn_said {
    hn_buf text;
    int32_t *token;
    hn_real *logp1; /* at temperature 1, one a token */
    int n;
    hn_gen_state state;
} hn_said;
void hn_said_release(hn_said *s);

/* New text of answer `index` as it comes (whole characters); true stops it.  NULL: not wanted. */
typedef bool hn_say_stream(void *ctx, int64_t index, const char *text, size_t n);

typedef struct hn_say {
    hn_model *model;
    hn_say_config cfg;
    uint64_t seed;
    hn_gen *gen; /* made on first use */
    hn_say_stream *stream;
    bool (*progress)(void *ctx, int64_t done, int64_t tokens);
    void *ctx;
} hn_say;
void hn_say_release(hn_say *s);

/* Answers each of n prompts `per` times into out[prompt * per + k] (zeroed by the caller).  Answer k of
 * prompt i draws from the stream (first + i, k): a file answered in parts gets what it would get in one. */
int hn_say_run(hn_say *s, const hn_ids *prompt, int64_t n, int per, int64_t first, hn_said *out, hn_err *e);
const char *hn_gen_state_name(hn_gen_state s); /* "stop", "stop_string", "length" */
#endif
