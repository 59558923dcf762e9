/* generate.c - `hone generate`: answers to one prompt or to a file of them, resumable. */
#include "base/io.h"
#include "cli/cli.h"
#include "cli/models.h"
#include "data/rows.h"
#include "gen/say.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    hn_say_config say;
    hn_table_config table;
    const char *prompt, *system;
    int64_t n, batch;
    bool chat;
} generate_options;

/* clang-format off */
#define AT(field) .at = offsetof(generate_options, field)
static const hn_opt table[] = {
    { .name = "prompt", .help = "the text to go on from", .type = HN_OPT_STR, AT(prompt) },
    { .name = "chat", .help = "--prompt is a user's message, put through the chat template", .type = HN_OPT_BOOL, AT(chat) },
    { .name = "system", .help = "with --chat: the system message", .type = HN_OPT_STR, AT(system) },
    { .name = "n", .help = "answers a prompt", .type = HN_OPT_INT, AT(n), .def = 1, .min = 1, .max = 1e6 },
    { .name = "batch", .help = "prompts answered between writes to --out", .type = HN_OPT_INT, AT(batch), .def = 64, .min = 1, .max = 1e6 },
    { 0 },
};
#undef AT
/* clang-format on */

/* ---- one prompt: text on standard output as it comes ---- */
static int prompt_ids(hn_cli *c, const generate_options *o, const hn_model *m, hn_ids *id) {
    if (!o->chat) return hn_model_prompt(m, o->prompt, NULL, id, &c->err);
    json_t *messages = o->system ? json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "system", "content",
                                             o->system, "role", "user", "content", o->prompt)
                                 : json_pack("[{s:s, s:s}]", "role", "user", "content", o->prompt);
    int rc = messages ? hn_model_prompt(m, NULL, messages, id, &c->err)
                      : hn_fail(&c->err, HN_EPARSE, "--prompt and --system must be UTF-8");
    json_decref(messages);
    return rc;
}

static int one(hn_cli *c, const generate_options *o, hn_say *s) {
    hn_ids id = { 0 };
    hn_said *out = hn_alloc((size_t)o->n * sizeof *out);
    int rc = out ? prompt_ids(c, o, s->model, &id)
                 : hn_fail(&c->err, HN_ENOMEM, "no memory for %lld answers", (long long)o->n);
    s->stream = o->n == 1 ? hn_cli_print_text : NULL;
    if (!rc) rc = hn_say_run(s, &id, 1, (int)o->n, 0, out, &c->err);
    for (int64_t k = 0; k < o->n && !rc; k++) {
        if (o->n > 1) printf("--- %lld\n%s", (long long)k + 1, out[k].text.data);
        printf("\n");
    }
    for (int64_t k = 0; out && k < o->n; k++) hn_said_release(&out[k]);
    hn_free(out);
    hn_ids_free(&id);
    return rc;
}

/* ---- a file: JSON lines ---- */
/* Whole lines already in `path` and the bytes they take: what a stopped run left. */
static int whole_lines(const char *path, int64_t *lines, int64_t *bytes, hn_err *e) {
    hn_map m;
    *lines = *bytes = 0;
    if (!hn_path_exists(path)) return HN_OK;
    int rc = hn_map_open(&m, path, e);
    if (rc) return rc;
    for (size_t i = 0; i < m.n; i++)
        if (m.data[i] == '\n') ++*lines, *bytes = (int64_t)i + 1;
    hn_map_close(&m);
    return HN_OK;
}

static char *line_json(const hn_entry *row, const hn_said *s) {
    json_t *text = json_array(), *finish = json_array(), *j = NULL;
    for (; s->token; s++) {
        json_array_append_new(text, json_stringn(s->text.data, s->text.n));
        json_array_append_new(finish, json_string(hn_gen_state_name(s->state)));
    }
    if (json_array_size(text) == 1)
        j = json_pack("{s:O, s:O}", "completion", json_array_get(text, 0), "finish_reason",
                      json_array_get(finish, 0));
    else j = json_pack("{s:O, s:O}", "completions", text, "finish_reasons", finish);
    json_t *all = j ? json_copy(row->row) : NULL; /* the row's own columns go along */
    if (all) json_object_update(all, j);
    char *line = all ? json_dumps(all, JSON_COMPACT) : NULL;
    json_decref(all);
    json_decref(j);
    json_decref(text);
    json_decref(finish);
    return line;
}

typedef struct {
    hn_table *rows;
    hn_log *log;
    hn_progress *bar;
    int64_t done;
} file_run;

/* The prompt of a row, with its tools and the variables it brings for the chat template. */
static int row_ids(const hn_model *m, const hn_entry *row, hn_ids *id, hn_err *e) {
    if (!row->prompt.messages) return hn_model_prompt(m, row->prompt.text, NULL, id, e);
    hn_buf b = { 0 };
    int rc = hn_model_render(m, row->prompt.messages, row->tools, row->kwargs, true, &b, NULL, e);
    if (!rc) rc = hn_model_encode(m, b.data ? b.data : "", b.n, false, id, e);
    hn_buf_free(&b);
    return rc;
}

static int some(hn_cli *c, const generate_options *o, hn_say *s, file_run *f, int64_t n) {
    hn_err *e = &c->err;
    hn_ids *id = hn_alloc((size_t)n * sizeof *id);
    hn_entry *row = hn_alloc((size_t)n * sizeof *row);
    hn_said *out = hn_alloc(((size_t)(n * (o->n + 1)) + 1) * sizeof *out),
            *said = hn_alloc((size_t)(n * o->n) * sizeof *said);
    int rc =
        id && row && out && said ? HN_OK : hn_fail(e, HN_ENOMEM, "no memory for %lld prompts", (long long)n);
    for (int64_t i = 0; i < n && !rc; i++) {
        rc = hn_table_get(f->rows, f->done + i, &row[i], e);
        if (!rc) rc = row_ids(s->model, &row[i], &id[i], e);
        if (rc)
            hn_fail_in(e, "%s: line %lld", c->common.data, (long long)hn_table_line(f->rows, f->done + i));
    }
    if (!rc) rc = hn_say_run(s, id, n, (int)o->n, f->done, said, e);
    for (int64_t i = 0; i < n && !rc; i++) {
        memcpy(out, said + i * o->n, (size_t)o->n * sizeof *out); /* an array that ends with an empty one */
        memset(out + o->n, 0, sizeof *out);
        char *line = line_json(&row[i], out);
        hn_buf b = { 0 };
        if (line) hn_buf_fmt(&b, "%s\n", line);
        rc = line && !b.oom ? hn_log_add(f->log, b.data, b.n, e)
                            : hn_fail(e, HN_ENOMEM, "no memory for a line");
        hn_buf_free(&b);
        free(line);
    }
    for (int64_t i = 0; i < n; i++) {
        if (id) hn_ids_free(&id[i]);
        if (row) hn_entry_release(&row[i]);
        for (int64_t k = 0; said && k < o->n; k++) hn_said_release(&said[i * o->n + k]);
    }
    hn_free(id);
    hn_free(row);
    hn_free(out);
    hn_free(said);
    if (!rc) f->done += n;
    return rc;
}

static int file(hn_cli *c, const generate_options *o, hn_say *s) {
    hn_err *e = &c->err;
    file_run f = { 0 };
    int64_t bytes = 0;
    int rc = hn_cli_need(c, "out", c->common.out);
    if (!rc) rc = hn_table_open(&f.rows, c->common.data, &o->table, e);
    if (!rc && hn_table_kind_of(f.rows) == HN_ROWS_WHOLE)
        rc = hn_fail(e, HN_EPARSE, "%s: prompts are needed (a \"prompt\" column); the file has %s",
                     c->common.data, hn_table_about(f.rows));
    if (!rc) rc = whole_lines(c->common.out, &f.done, &bytes, e);
    int64_t all = f.rows ? hn_table_count(f.rows) : 0;
    if (!rc && f.done > all)
        rc = hn_fail(
            e, HN_EPARSE,
            "%s has %lld lines and %s only %lld rows: it is not the output of this file; name another --out",
            c->common.out, (long long)f.done, c->common.data, (long long)all);
    if (!rc && f.done)
        hn_cli_note(c, "%s has %lld of %lld answers already: going on", c->common.out, (long long)f.done,
                    (long long)all);
    if (!rc) rc = hn_log_open(&f.log, c->common.out, bytes, e);
    f.bar = hn_progress_open("generate", all);
    while (!rc && f.done < all) {
        rc = some(c, o, s, &f, all - f.done < o->batch ? all - f.done : o->batch);
        hn_progress_update(f.bar, f.done, "");
        if (!rc && f.done < all && hn_cli_stopped(NULL))
            rc = hn_fail(e, HN_ESTOP, "%lld of %lld rows are in %s; the same command goes on",
                         (long long)f.done, (long long)all, c->common.out);
    }
    hn_progress_close(f.bar);
    if (f.log && !rc) rc = hn_log_sync(f.log, e);
    hn_log_close(f.log);
    hn_table_close(f.rows);
    if (!rc) printf("%s: %lld rows answered\n", c->common.out, (long long)all);
    return rc;
}

static int run(int argc, char **argv) {
    hn_cli c;
    generate_options o = { 0 };
    hn_model *m = NULL;
    int rc = hn_cli_begin(&c, &hn_command_generate, argc, argv);
    if (!rc) rc = hn_cli_add(&c, "Generate", table, &o);
    if (!rc) rc = hn_cli_add(&c, "Sampling", hn_say_opts, &o.say);
    if (!rc) rc = hn_cli_add(&c, "Columns", hn_table_opts, &o.table);
    if (!rc) rc = hn_cli_ready(&c);
    if (!rc && !o.prompt == !c.common.data)
        rc = hn_cli_usage(&c, "give one of --prompt TEXT and --data FILE");
    if (!rc && o.prompt && c.common.out)
        rc = hn_cli_usage(&c, "the answer to --prompt is printed: leave --out away, or give --data FILE");
    if (!rc) rc = hn_cli_model(&c, &m);
    hn_say s = { .model = m, .cfg = o.say, .seed = (uint64_t)c.common.seed };
    if (!rc) rc = o.prompt ? one(&c, &o, &s) : file(&c, &o, &s);
    hn_say_release(&s);
    hn_model_close(m);
    return hn_cli_end(&c, rc);
}

const hn_command hn_command_generate = {
    "generate",
    "answer a prompt, or every row of a file\n"
    "usage: hone generate --model DIR --prompt TEXT [--chat]\n"
    "       hone generate --model DIR --data FILE --out FILE.jsonl [--n 4]\n\n"
    "A stopped run of the second form goes on where it ended when the same command is given again, with the "
    "same answers.",
    run, .answers = true
};
