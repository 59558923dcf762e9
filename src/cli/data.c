/* data.c - `hone data`: rows made from a task, and a look at what a learner would see. */
#include "base/io.h"
#include "cli/cli.h"
#include "cli/inspect.h"
#include "cli/models.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *task;
    int64_t items, from;
    int split;
    bool text, answer_only;
    hn_load_config load;
    int64_t rows, skip;
} data_options;

/* clang-format off */
#define AT(field) .at = offsetof(data_options, field)
static const hn_opt table[] = {
    { .name = "task", .help = "for make: the task whose items are written", .type = HN_OPT_STR, AT(task) },
    { .name = "split", .help = "for make: which part of the task", .type = HN_OPT_ENUM, AT(split), .choices = "train|gate|test" },
    { .name = "items", .help = "for make: how many items", .type = HN_OPT_INT, AT(items), .def = 1000, .min = 1, .max = 1e9 },
    { .name = "from", .help = "for make: the first item", .type = HN_OPT_INT, AT(from), .min = 0, .max = 1e15 },
    { .name = "text", .help = "for make: plain text (to train a tokenizer on) instead of JSON lines", .type = HN_OPT_BOOL, AT(text) },
    { .name = "answer_only",
      .help = "for make: completions without their worked steps, only the last line",
      .type = HN_OPT_BOOL,
      AT(answer_only) },
    { 0 },
};
static const hn_opt inspect_table[] = {
    { .name = "rows", .help = "for inspect: rows shown", .type = HN_OPT_INT, AT(rows), .def = 3, .min = 0, .max = 1e12 },
    { .name = "skip", .help = "for inspect: rows before the first one shown", .type = HN_OPT_INT, AT(skip), .min = 0, .max = 1e12 },
    { 0 },
};
#undef AT
/* clang-format on */

/* The last line of a worked solution, as a solution of its own. */
static void drop_steps(hn_item *it) {
    char *last = it->solution ? strrchr(it->solution, '\n') : NULL;
    if (!last) return;
    bool space = it->solution[0] == ' '; /* the text form begins with one */
    memmove(it->solution + space, last + 1, strlen(last + 1) + 1);
}

/* {"prompt","completion"}: both texts, or both lists of messages. */
static char *row_json(const hn_item *it, hn_err *e) {
    json_t *j = it->prompt ? json_pack("{s:s, s:s?}", "prompt", it->prompt, "completion", it->solution)
                           : json_pack("{s:O, s:[{s:s, s:s?}]}", "prompt", it->messages, "completion", "role",
                                       "assistant", "content", it->solution);
    if (j && it->answer) json_object_set_new(j, "answer", json_string(it->answer));
    char *line = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    if (!line) hn_fail(e, HN_ENOMEM, "no memory for a row");
    return line;
}

static int make(hn_cli *c, const data_options *o, const hn_task *t, const void *priv) {
    hn_err *e = &c->err;
    int rc = hn_cli_need(c, "out", c->common.out);
    hn_out *out = NULL;
    int64_t all = t->count(priv, (hn_split)o->split), wrote = 0;
    if (!rc) rc = hn_out_open(&out, c->common.out, e);
    hn_progress *bar = hn_progress_open("data", o->items);
    for (int64_t i = o->from; i < o->from + o->items && (all < 0 || i < all) && !rc; i++) {
        hn_item it = { 0 };
        rc = t->item(priv, (hn_split)o->split, (uint64_t)c->common.seed, i, &it, e);
        if (!rc && o->answer_only) drop_steps(&it);
        if (!rc && o->text)
            hn_out_fmt(out, "%s%s\n\n", it.prompt ? it.prompt : "", it.solution ? it.solution : "");
        char *line = rc || o->text ? NULL : row_json(&it, e);
        if (!rc && !o->text) rc = line ? HN_OK : HN_ENOMEM;
        if (line) hn_out_fmt(out, "%s\n", line);
        free(line);
        hn_item_release(&it);
        wrote += !rc;
        if (i % 256 == 0) hn_progress_update(bar, i - o->from, "");
        if (!rc && hn_cli_stopped(NULL)) rc = hn_fail(e, HN_ESTOP, "nothing was written");
    }
    hn_progress_close(bar);
    if (!rc) rc = hn_out_commit(out, e);
    else hn_out_abandon(out);
    if (!rc)
        printf("%s: %lld items of %s, %s split\n", c->common.out, (long long)wrote, t->name,
               hn_split_name((hn_split)o->split));
    return rc;
}

typedef enum { MAKE, INSPECT, NEITHER } deed;

static deed deed_of(const hn_cli *c) {
    static const char *const name[] = { "make", "inspect" };
    const char *const *word;
    int n = hn_optset_words(c->opts, &word), k = 0;
    while (k < NEITHER && (n != 1 || strcmp(word[0], name[k]))) k++;
    return (deed)k;
}

/* Each deed has its options; the help page shows all. */
static int add_tables(hn_cli *c, deed what, data_options *o) {
    int rc = what != INSPECT ? hn_cli_add(c, "hone data make", table, o) : HN_OK;
    if (!rc && what != MAKE) rc = hn_cli_add(c, "hone data inspect", inspect_table, o);
    if (!rc && what != MAKE) rc = hn_cli_add(c, "Rows", hn_load_opts, &o->load);
    if (!rc && what != MAKE) rc = hn_cli_add(c, "Columns", hn_table_opts, &o->load.table);
    return rc;
}

static int work(hn_cli *c, deed what, const data_options *o, const hn_task *t, const void *priv) {
    if (what == NEITHER) return hn_cli_usage(c, "say what to do: hone data make, or hone data inspect");
    if (what == INSPECT) return hn_inspect(c, &o->load, o->skip, o->rows);
    if (!t) return hn_cli_need(c, "task", NULL);
    return make(c, o, t, priv);
}

static int run(int argc, char **argv) {
    hn_cli c;
    data_options o = { 0 };
    const hn_task *task = NULL;
    void *priv = NULL;
    int rc = hn_cli_begin(&c, &hn_command_data, argc, argv);
    deed what = rc ? NEITHER : deed_of(&c);
    if (!rc) rc = add_tables(&c, what, &o);
    if (!rc && o.task) rc = hn_cli_task(&c, o.task, &task, &priv);
    if (!rc) rc = hn_cli_ready(&c);
    if (!rc && task) rc = hn_cli_task_open(&c, task, priv);
    if (!rc) rc = work(&c, what, &o, task, priv);
    hn_cli_task_close(task, priv);
    return hn_cli_end(&c, rc);
}

const hn_command hn_command_data = {
    "data",
    "make rows from a task; look at rows as a learner does\n"
    "usage: hone data make --task T --items N --out FILE.jsonl [--text]\n"
    "       hone data inspect --data FILE --model DIR [--rows N]\n\n"
    "make: prompt and worked solution of every item, one JSON object a line, ready for hone sft --data.\n"
    "inspect: rows as tokens, [trained] or (masked), ^begin and end$ of text (in colours on a terminal; "
    "NO_COLOR\n"
    "turns them off), how long all rows are, and the refusals of training: rows that begin with two "
    "begin-of-text\n"
    "tokens, of which nothing is trained, or everything although they have a prompt or messages.",
    run, true
};
