/* chat.c - `hone chat`: a conversation on the terminal, streamed. */
#include "cli/cli.h"
#include "cli/models.h"
#include "gen/say.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    hn_say_config say;
    const char *system;
} chat_options;

static const hn_opt table[] = {
    { .name = "system",
      .help = "the system message",
      .type = HN_OPT_STR,
      .at = offsetof(chat_options, system) },
    { 0 },
};

static int add(json_t *messages, const char *role, const char *text, hn_err *e) {
    json_t *m = json_pack("{s:s, s:s}", "role", role, "content", text);
    return m && !json_array_append_new(messages, m) ? HN_OK
                                                    : hn_fail(e, HN_EPARSE, "the message is not UTF-8");
}

/* The whole conversation is read again each turn: templates may rewrite what came before. */
static int answer(hn_say *s, json_t *messages, int64_t turn, hn_err *e) {
    hn_ids id = { 0 };
    hn_said said = { 0 };
    int rc = hn_model_prompt(s->model, NULL, messages, &id, e);
    if (!rc) rc = hn_say_run(s, &id, 1, 1, turn, &said, e);
    if (!rc) printf("\n");
    if (!rc && said.state == HN_GEN_CUT)
        fprintf(stderr, "(cut at --max-new-tokens %lld)\n", (long long)s->cfg.max_new_tokens);
    if (!rc) rc = add(messages, "assistant", said.text.data, e);
    hn_said_release(&said);
    hn_ids_free(&id);
    return rc;
}

static int talk(hn_cli *c, const chat_options *o, hn_say *s) {
    json_t *messages = json_array();
    char *line = NULL;
    size_t cap = 0;
    int rc = messages ? HN_OK : hn_fail(&c->err, HN_ENOMEM, "no memory for a conversation");
    bool terminal = isatty(STDIN_FILENO);
    if (!rc && o->system) rc = add(messages, "system", o->system, &c->err);
    if (terminal) hn_cli_note(c, "an empty line starts anew, Ctrl-D ends");
    for (int64_t turn = 0; !rc && !hn_cli_stopped(NULL); turn++) {
        if (terminal) fputs("> ", stdout), fflush(stdout);
        ssize_t n = getline(&line, &cap, stdin);
        if (n < 0) break;
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) line[--n] = 0;
        if (!n) {
            json_array_clear(messages);
            if (o->system) rc = add(messages, "system", o->system, &c->err);
            continue;
        }
        rc = add(messages, "user", line, &c->err);
        if (!rc) rc = answer(s, messages, turn, &c->err);
    }
    free(line);
    json_decref(messages);
    return rc;
}

static int run(int argc, char **argv) {
    hn_cli c;
    chat_options o = { 0 };
    hn_model *m = NULL;
    int rc = hn_cli_begin(&c, &hn_command_chat, argc, argv);
    if (!rc) rc = hn_cli_add(&c, "Chat", table, &o);
    if (!rc) rc = hn_cli_add(&c, "Sampling", hn_say_opts, &o.say);
    if (!rc) rc = hn_cli_ready(&c);
    if (!rc) rc = hn_cli_model(&c, &m);
    hn_say s = { .model = m, .cfg = o.say, .seed = (uint64_t)c.common.seed, .stream = hn_cli_print_text };
    s.cfg.slots = 1;
    if (!rc) rc = talk(&c, &o, &s);
    hn_say_release(&s);
    hn_model_close(m);
    return hn_cli_end(&c, rc);
}

const hn_command hn_command_chat = {
    "chat",
    "talk to a model\n"
    "usage: hone chat --model DIR [--system TEXT] [--temperature 0.7]\n\n"
    "One message a line; the model's chat template renders the conversation. Reads a pipe as well.",
    run, .answers = true
};
