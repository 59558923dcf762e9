/* template.h - chat templates: the Jinja that model directories ship, rendered with provenance.
 *
 * A template is rendered as Python's jinja2 does it in the environment transformers sets up
 * (ImmutableSandboxedEnvironment, trim_blocks, lstrip_blocks, loop controls, {% generation %}).
 * On the way every string remembers which message it came from, so the loss mask of a
 * conversation falls out of the rendering of an unmodified template: no search for the text of
 * an answer in the output, no patched copies of templates. */
#ifndef HN_TEMPLATE_H
#define HN_TEMPLATE_H

#include "base/base.h"
#include <jansson.h>

typedef struct hn_tmpl hn_tmpl;

/* Parses `n` bytes of template text.  `name` (a path, say) appears in every message about it.
 * HN_EPARSE: not a template; HN_EUNSUP: a construct of Jinja that is not done here; both name
 * template, line and construct.  The template keeps no pointer into src. */
int hn_tmpl_new(hn_tmpl **t, const char *src, size_t n, const char *name, hn_err *e);
void hn_tmpl_free(hn_tmpl *t);

/* What a rendering may use.  A zeroed struct (or NULL) means the defaults. */
typedef struct hn_tmpl_opts {
    const char *now;   /* "YYYY-MM-DD" or "YYYY-MM-DD HH:MM:SS", what strftime_now shows; NULL: a template
                          that asks for the date is an error, for its text would change with the day */
    size_t max_out;    /* bytes of output; 0: 64 MiB */
    size_t max_memory; /* bytes of working memory; 0: 512 MiB */
    int64_t max_steps; /* evaluation steps, loop iterations included; 0: 50 million */
} hn_tmpl_opts;

/* A run of output bytes of one origin.  Spans are in order and cover the output without gaps. */
typedef struct hn_tmpl_span {
    size_t begin, len;
    int32_t message; /* index in `messages` of the message the bytes were taken from; -1: template text */
    int32_t turn; /* index of the message that was being written (the item of the enclosing loop); -1: none */
    int32_t line; /* line of the template whose text or {{ }} wrote the bytes */
    bool content; /* from that message's `content`, or a slice, split, strip... of it */
    bool role;    /* from its `role` */
    bool generation; /* inside {% generation %} */
} hn_tmpl_span;

typedef struct hn_spans { /* zeroed: empty */
    hn_tmpl_span *v;
    int64_t n, cap;
} hn_spans;
void hn_spans_free(hn_spans *s);

/* Renders with the variables of the JSON object `vars` (messages, tools, add_generation_prompt,
 * bos_token, ...); a variable that is absent is undefined, a JSON null is none.  Appends to `out`
 * and, if not NULL, to `spans` (begin is an offset into out->data).  Nothing is appended when
 * it fails: HN_EPARSE (the template's own raise_exception, or an operation Python refuses),
 * HN_EUNSUP (a construct not done here), HN_ERANGE (a limit of opts), HN_ENOMEM. */
/* Is it a text that opts.now can be? */
bool hn_tmpl_date(const char *text);
int hn_tmpl_render(const hn_tmpl *t, json_t *vars, const hn_tmpl_opts *opts, hn_buf *out, hn_spans *spans,
                   hn_err *e);

#endif
