/* chat.h - conversations as a model sees them: text, and which of its bytes the assistant wrote.
 *
 * The mask comes from the provenance that template.h tracks while it renders, so it works on the
 * templates models ship, none of which says where an answer begins and ends. */
#ifndef HN_CHAT_H
#define HN_CHAT_H

#include "text/template.h"

typedef struct hn_range {
    size_t begin, len;
    int32_t
        message; /* index of the assistant message; -1: not known ({% generation %} around template text) */
} hn_range;

typedef struct hn_ranges { /* zeroed: empty */
    hn_range *v;
    int64_t n, cap;
} hn_ranges;
void hn_ranges_free(hn_ranges *r);

/* A conversation and what it is rendered with.  Everything is borrowed. */
typedef struct hn_chat {
    const hn_tmpl *tmpl;
    json_t *messages; /* array of objects with role and content */
    json_t *tools;    /* array of JSON schemas; NULL: none */
    json_t *tokens;   /* {"bos_token": "<s>", ...}: the special tokens as text; NULL: none */
    json_t *kwargs;   /* further variables (chat_template_kwargs); they win over the above; NULL: none */
    hn_tmpl_opts opts;
} hn_chat;

/* Appends the text of the conversation to `out`; with `prompt`, followed by the header that asks
 * for the assistant's next message (add_generation_prompt).
 *
 * `assistant`, if not NULL, gets (appended, in order, not overlapping, begin an offset into
 * out->data) the bytes the assistant has to write: from where a generation prompt would end to
 * the end-of-turn text after its message, e.g. <|im_end|>, without the newline that follows it.
 * Content, reasoning and tool calls count with the text the template puts between them; the role
 * header does not.  If the template has {% generation %} blocks, they decide.
 *
 * Variables are what transformers gives a template: tools and documents are none when absent, and
 * reasoning is found under reasoning_content, thinking and reasoning alike.
 * Errors: those of hn_tmpl_render; HN_EPARSE for a message that is not an object (names which). */
int hn_chat_render(const hn_chat *c, bool prompt, hn_buf *out, hn_ranges *assistant, hn_err *e);

/* Appends what a model that has read and written the first `from` messages has yet to read: the
 * rendering of the whole conversation (with a generation prompt if `prompt`) after the end of the
 * last of those messages, as it ends in `assistant` above when the assistant wrote it.
 * HN_EUNSUP: this template rewrites earlier messages when later ones are added (it drops earlier
 * reasoning, say), so there is no such text and the conversation has to be read again whole. */
int hn_chat_delta(const hn_chat *c, int64_t from, bool prompt, hn_buf *out, hn_err *e);

#endif
