/* rows.c - rows of users' files: every shape, every way a file can be wrong, and the files others made. */
#include "data/rows.h"
#include "shared.h"
#include "torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char *dir;
static bool absent; /* some data was not there */

static const char *write_bytes(const char *text, size_t n) {
    static char path[512];
    snprintf(path, sizeof path, "%s/rows.jsonl", dir);
    assert_int_equal(hn_file_write(path, text, n, NULL), 0);
    return path;
}

static hn_table *must_open(const char *path, const hn_table_config *config) {
    hn_table *r;
    hn_err e = { 0 };
    if (hn_table_open(&r, path, config, &e)) fail_msg("%s", e.msg);
    return r;
}

/* A part as text: text as it is, messages as "role:content|role:content". */
static void write_part(const hn_part *p, hn_buf *b) {
    assert_false(p->text && p->messages);
    if (p->text) hn_buf_str(b, p->text);
    else if (!p->messages) hn_buf_str(b, "-");
    for (size_t i = 0; i < json_array_size(p->messages); i++) {
        const json_t *m = json_array_get(p->messages, i);
        hn_buf_fmt(b, "%s%s:%s", i ? "|" : "", json_string_value(json_object_get(m, "role")),
                   json_string_value(json_object_get(m, "content")));
    }
}

/* "prompt / answer / rejected" of a row. */
static void row_is(const hn_table *r, int64_t i, const char *want) {
    hn_entry row;
    hn_err e = { 0 };
    if (hn_table_get(r, i, &row, &e)) fail_msg("%s", e.msg);
    hn_buf b = { 0 };
    write_part(&row.prompt, &b);
    hn_buf_str(&b, " / ");
    write_part(&row.answer, &b);
    hn_buf_str(&b, " / ");
    write_part(&row.rejected, &b);
    if (hn_table_kind_of(r) == HN_ROWS_UNPAIRED) hn_buf_str(&b, row.label ? " / good" : " / bad");
    assert_string_equal(b.data, want);
    hn_buf_free(&b);
    assert_non_null(row.row);
    hn_entry_release(&row);
}

/* ---- the shapes ---- */
#define U(text) "{\"role\":\"user\",\"content\":\"" text "\"}"
#define A(text) "{\"role\":\"assistant\",\"content\":\"" text "\"}"

static const struct {
    const char *row, *about, *reads;
} shapes[] = {
    { "{\"text\":\"The sky is blue.\",\"id\":7}", "1 row: language modelling, text; column id unused",
      "- / The sky is blue. / -" },
    { "{\"messages\":[" U("Hi") "," A("Hello") "]}", "1 row: language modelling, conversational",
      "- / user:Hi|assistant:Hello / -" },
    { "{\"prompt\":\"The sky is\"}", "1 row: prompt only, text", "The sky is / - / -" },
    { "{\"prompt\":[" U("Hi") "],\"answer\":\"4\"}",
      "1 row: prompt only, conversational; column answer unused", "user:Hi / - / -" },
    { "{\"prompt\":\"The sky is\",\"completion\":\" blue.\"}", "1 row: prompt and completion, text",
      "The sky is /  blue. / -" },
    { "{\"prompt\":[" U("Hi") "],\"completion\":[" A("Ho") "]}",
      "1 row: prompt and completion, conversational", "user:Hi / assistant:Ho / -" },
    { "{\"prompt\":\"The sky is\",\"chosen\":\" blue.\",\"rejected\":\" green.\",\"score\":1,\"id\":2}",
      "1 row: preference, text; columns score, id unused", "The sky is /  blue. /  green." },
    { "{\"prompt\":[" U("Hi") "],\"chosen\":[" A("Ho") "],\"rejected\":[" A("Go") "]}",
      "1 row: preference, conversational", "user:Hi / assistant:Ho / assistant:Go" },
    { "{\"prompt\":\"The sky is\",\"completion\":\" blue.\",\"label\":true}",
      "1 row: unpaired preference, text", "The sky is /  blue. / - / good" },
    { "{\"prompt\":[" U("Hi") "],\"completion\":[" A("Go") "],\"label\":0}",
      "1 row: unpaired preference, conversational", "user:Hi / assistant:Go / - / bad" },
    { "{\"messages\":[" U("Hi") "," A("Go") "],\"label\":false}",
      "1 row: unpaired preference, conversational", "user:Hi / assistant:Go / - / bad" },
    /* the prompt is text, the answers are whole conversations: it is taken from them */
    { "{\"prompt\":\"Hi\",\"chosen\":[" U("Hi") "," A("Ho") "],\"rejected\":[" U("Hi") "," A("Go") "]}",
      "1 row: preference, conversational, implicit prompt; column prompt unused",
      "user:Hi / assistant:Ho / assistant:Go" },
    { "{\"chosen\":[" U("Hi") "," A("Ho") "],\"rejected\":[" U("Hi") "," A("Go") "]}",
      "1 row: preference, conversational, implicit prompt", "user:Hi / assistant:Ho / assistant:Go" },
    { "{\"chosen_messages\":[" U("Hi") "," A("Ho") "],\"rejected_messages\":[" U("Hi") "," A("Go") "]}",
      "1 row: preference, conversational, implicit prompt; chosen_messages is chosen, rejected_messages is "
      "rejected",
      "user:Hi / assistant:Ho / assistant:Go" },
    /* Alpaca */
    { "{\"instruction\":\"Spell it.\",\"input\":\"cat\",\"output\":\"c a t\"}",
      "1 row: prompt and completion, conversational (Alpaca)", "user:Spell it.\ncat / assistant:c a t / -" },
    { "{\"instruction\":\"Say hi.\",\"input\":\"\",\"output\":\"hi\",\"system\":\"Be brief.\"}",
      "1 row: prompt and completion, conversational (Alpaca)",
      "system:Be brief.|user:Say hi. / assistant:hi / -" },
    { "{\"instruction\":\"Say hi.\",\"input\":null,\"chosen\":\"hi\",\"rejected\":\"no\",\"output\":\"hi\"}",
      "1 row: preference, conversational (Alpaca); column output unused",
      "user:Say hi. / assistant:hi / assistant:no" },
    /* ShareGPT */
    { "{\"conversations\":[{\"from\":\"human\",\"value\":\"Hi\"},{\"from\":\"gpt\",\"value\":\"Ho\"}],"
      "\"system\":\"S\"}",
      "1 row: language modelling, conversational (ShareGPT)", "- / system:S|user:Hi|assistant:Ho / -" },
    { "{\"conversations\":[{\"from\":\"human\",\"value\":\"Hi\"}],\"chosen\":{\"from\":\"gpt\",\"value\":"
      "\"Ho\"},"
      "\"rejected\":{\"from\":\"gpt\",\"value\":\"Go\"}}",
      "1 row: preference, conversational (ShareGPT)", "user:Hi / assistant:Ho / assistant:Go" },
    { "{\"conversations\":[{\"from\":\"human\",\"value\":\"Hi\"},{\"from\":\"gpt\",\"value\":\"Ho\"}],"
      "\"label\":true}",
      "1 row: unpaired preference, conversational (ShareGPT)", "user:Hi / assistant:Ho / - / good" },
    /* content in parts; a tool call without content */
    { "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\","
      "\"value\":\"b\"}]}]}",
      "1 row: language modelling, conversational", "- / user:ab / -" },
};

static void every_shape(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        hn_table *r = must_open(write_bytes(shapes[i].row, strlen(shapes[i].row)), NULL);
        assert_string_equal(hn_table_about(r), shapes[i].about);
        row_is(r, 0, shapes[i].reads);
        hn_table_close(r);
    }
}

/* Where two answers part, with the two quirks of the usual implementation as cases: one side a prefix of
 * the other, and a difference at the first character or message. */
static void implicit_prompts(void **state) {
    (void)state;
    static const struct {
        const char *chosen, *rejected, *reads;
    } cases[] = {
        { "\"The sky is blue\"", "\"The sky is green\"", "The sky is /  blue /  green" },
        { "\"The sky is blue\"", "\"The sky is black\"", "The sky is bl / ue / ack" },
        { "\"a  b\"", "\"a  c\"", "a  /  b /  c" }, /* one blank goes back, not all */
        { "\"yes\"", "\"no\"", " / yes / no" },     /* nothing shared */
        { "\" yes\"", "\" no\"", " /  yes /  no" }, /* the blank is all they share */
        { "\"x \"", "\"y \"", " / x  / y " },       /* a blank at the end of chosen plays no part */
        { "\"It is blue\"", "\"It is\"",
          "It /  is blue /  is" }, /* a prefix: the last shared word is an answer */
        { "\"It is\"", "\"It is blue\"", "It /  is /  is blue" },
        { "\"It is \"", "\"It is blue\"", "It is /   /  blue" },
        { "\"same\"", "\"same\"", " / same / same" },
        { "\"ab\"", "\"abc\"", " / ab / abc" },
        { "\"\\u00e9\"", "\"\\u00e8\"",
          " / \xc3\xa9 / \xc3\xa8" }, /* the first byte is shared, the character not */
        { "\"x\\u00e9\"", "\"x\\u00e8\"", "x / \xc3\xa9 / \xc3\xa8" },
        { "[" U("q") "," A("a") "," U("r") "," A("b") "]", "[" U("q") "," A("a") "," U("r") "," A("c") "]",
          "user:q|assistant:a|user:r / assistant:b / assistant:c" },
        { "[" U("q") "," A("a") "]", "[" U("q") "," A("a") "," U("r") "]",
          "user:q / assistant:a / assistant:a|user:r" },
        { "[" U("q") "," A("a") "]", "[" U("q") "," A("a") "]", "user:q / assistant:a / assistant:a" },
        { "[" A("a") "]", "[" A("b") "]", " / assistant:a / assistant:b" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char row[1000];
        snprintf(row, sizeof row, "{\"chosen\":%s,\"rejected\":%s}", cases[i].chosen, cases[i].rejected);
        hn_table *r = must_open(write_bytes(row, strlen(row)), NULL);
        row_is(r, 0, cases[i].reads);
        bool equal = !strcmp(cases[i].chosen, cases[i].rejected), none = !strncmp(cases[i].reads, " /", 2);
        assert_int_equal(strstr(hn_table_about(r), "1 row with equal sides") != NULL, equal);
        assert_int_equal(strstr(hn_table_about(r), "1 row whose sides share no prompt") != NULL, none);
        hn_table_close(r);
    }
}

static void renames_and_forms(void **state) {
    (void)state;
    const char *row = "{\"q\":\"Why?\",\"a\":\"So.\",\"b\":\"No.\",\"prompt\":\"not this\"}";
    const char *names[] = { "prompt=q", "chosen=a", "rejected=b" };
    hn_table_config c = { .columns = { names, 3 } };
    hn_table *r = must_open(write_bytes(row, strlen(row)), &c);
    assert_string_equal(
        hn_table_about(r),
        "1 row: preference, text; q is prompt, a is chosen, b is rejected; column prompt unused");
    row_is(r, 0, "Why? / So. / No.");
    hn_table_close(r);

    hn_table_config text = { .alpaca = 1 };
    row = "{\"instruction\":\"Spell.\",\"input\":\"cat\",\"output\":\"c a t\"}";
    r = must_open(write_bytes(row, strlen(row)), &text);
    row_is(r, 0, "### Instruction:\nSpell.\n\n### Input:\ncat\n\n### Response:\n / c a t / -");
    hn_table_close(r);

    static const struct {
        const char *name, *says;
    } bad[] = { { "prompt", "should be like" },
                { "=q", "should be like" },
                { "promt=q", "must be one of" },
                { "prompt=zz", "no column 'zz'" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hn_err e = { 0 };
        const char *name = bad[i].name;
        hn_table_config one = { .columns = { &name, 1 } };
        assert_true(hn_table_open(&r, write_bytes(row, strlen(row)), &one, &e) < 0);
        if (!strstr(e.msg, bad[i].says)) fail_msg("%s", e.msg);
    }
    const char *twice[] = { "prompt=output", "prompt=input" };
    hn_err e = { 0 };
    hn_table_config both = { .columns = { twice, 2 } };
    assert_true(hn_table_open(&r, write_bytes(row, strlen(row)), &both, &e) < 0);
    assert_non_null(strstr(e.msg, "given twice"));
}

static void keeps_what_it_need_not_know(void **state) {
    (void)state;
    const char *row =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"w?\"},{\"role\":\"assistant\",\"content\":null,"
        "\"tool_calls\":[{\"name\":\"f\"}]}],\"tools\":\"[{\\\"name\\\":\\\"f\\\"}]\","
        "\"chat_template_kwargs\":{\"enable_thinking\":false},\"big\":"
        "123456789012345678901234567890,\"gold\":\"4\"}";
    hn_table *r = must_open(write_bytes(row, strlen(row)), NULL);
    hn_entry out;
    assert_int_equal(hn_table_get(r, 0, &out, NULL), 0);
    json_t *call = json_array_get(out.answer.messages, 1);
    assert_true(json_is_null(json_object_get(call, "content")));
    assert_int_equal(json_array_size(json_object_get(call, "tool_calls")), 1);
    assert_int_equal(json_array_size(out.tools), 1);
    assert_true(json_is_false(json_object_get(out.kwargs, "enable_thinking")));
    assert_string_equal(json_string_value(json_object_get(out.row, "gold")), "4");
    hn_entry_release(&out);
    hn_table_close(r);
}

/* ---- files ---- */
static void file_forms(void **state) {
    (void)state;
    static const char *const files[] = {
        "{\"text\":\"a\"}\n{\"text\":\"b\"}\n",
        "{\"text\":\"a\"}\n{\"text\":\"b\"}",
        "\xef\xbb\xbf{\"text\":\"a\"}\r\n{\"text\":\"b\"}\r\n",
        "\n\n  {\"text\":\"a\"}  \n \t\n{\"text\":\"b\"}\n\n",
        "[{\"text\":\"a\"},{\"text\":\"b\"}]",
        "\xef\xbb\xbf\r\n [\n {\n\"text\": \"a\"\n},\r\n\n{\"text\":\"b\"}\n]\n\n",
        "[{\"text\":\"a\",\"x\":\"],}[{\\\"\"},{\"text\":\"b\",\"x\":[[{}]]}]",
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        hn_table *r = must_open(write_bytes(files[i], strlen(files[i])), NULL);
        assert_int_equal(hn_table_count(r), 2);
        row_is(r, 1, "- / b / -");
        row_is(r, 0, "- / a / -");
        char hex[65];
        hn_sha256(files[i], strlen(files[i]), hex);
        assert_string_equal(hn_table_sha256(r), hex);
        hn_table_close(r);
    }
    hn_buf big = { 0 }; /* a row of 3 MB, between two small ones */
    hn_buf_str(&big, "{\"text\":\"a\"}\n{\"text\":\"");
    for (int i = 0; i < 300000; i++) hn_buf_str(&big, "0123456789");
    hn_buf_str(&big, "\"}\n{\"text\":\"c\"}\n");
    hn_table *r = must_open(write_bytes(big.data, big.n), NULL);
    hn_entry out;
    assert_int_equal(hn_table_get(r, 1, &out, NULL), 0);
    assert_int_equal(strlen(out.answer.text), 3000000);
    hn_entry_release(&out);
    row_is(r, 2, "- / c / -");
    assert_int_equal(hn_table_line(r, 2), 3);
    hn_table_close(r);
    hn_buf_free(&big);
}

static const struct {
    const char *file, *says;
} refused[] = {
    { "", "has no rows" },
    { "\n \n", "has no rows" },
    { "[]", "has no rows" },
    { "{\"text\":\"a\"}\n{\"text\":\n", "line 2, byte" },
    { "{\"text\":\"a\"}\n\n{\"text\":\"b\"", "line 3, byte 12: " },
    { "{\n\"text\":\"a\"\n}\n", "put each row on one line" },
    { "{\"text\":\"a\"} {\"text\":\"b\"}\n", "line 1, byte 14: " },
    { "{\"text\":\"a\xff\"}\n", "line 1, byte 11: " },
    { "{\"text\":\"a\xff\"}\n", "UTF-8" },
    { "{\"text\":\"a\\u0000\"}\n", "remove the \\u0000" },
    { "{\"text\":\"a\",\"text\":\"b\"}\n", "keep one of the two keys" },
    { "{\"text\":\"\\ud800\"}\n", "line 1, byte" },
    { "{\"text\":\"a\",\"x\":1e999}\n", "line 1, byte" },
    { "\"text\"\n", "line 1: the row is not an object" },
    { "[{\"text\":\"a\"},5]", "line 1: the row is not an object" },
    { "[\n{\"text\":\"a\"},\n{\"text\":}\n]", "line 3, byte 9: " },
    { "[{\"text\":\"a\"}", "the file ends inside the array" },
    { "[{\"text\":\"a\"},", "the file ends inside the array" },
    { "[{\"text\":\"a\"},]", "an element is missing" },
    { "[,{\"text\":\"a\"}]", "an element is missing" },
    { "[\n{\"text\":\"a\"}}\n]", "line 2: a } that closes nothing" },
    { "[{\"text\":\"a\"}]\nx", "line 2: there is more after the array" },
    { "{\"question\":\"a\",\"answer\":\"b\"}\n", "line 1: no known shape: the columns are question, answer" },
    { "{}\n", "the columns are none" },
    { "{\"text\":\"a\"}\n{\"text\":5}\n", "line 2: column 'text' must be text here" },
    { "{\"text\":\"a\"}\n{\"text\":null}\n", "line 2: no known shape" },
    { "{\"text\":\"a\"}\n{\"prompt\":\"b\"}\n",
      "line 2: this row is prompt only, text; the first row (line 1) is language modelling, text" },
    { "{\"prompt\":\"a\",\"completion\":\"b\"}\n{\"prompt\":\"a\"}\n", "line 2: this row is prompt only" },
    { "{\"prompt\":\"a\"}\n{\"prompt\":[" U("b") "]}\n", "line 2: this row is prompt only, conversational" },
    { "{\"prompt\":\"a\",\"completion\":[" A("b") "]}\n", "line 1: column 'completion' must be text" },
    { "{\"prompt\":[" U("a") "],\"completion\":\"b\"}\n", "column 'completion' is text, but the prompt is" },
    { "{\"prompt\":\"a\",\"completion\":\"b\",\"label\":\"yes\"}\n", "column 'label' must be true or false" },
    { "{\"prompt\":\"a\",\"completion\":\"b\",\"label\":2}\n", "column 'label' must be true or false" },
    { "{\"messages\":[]}\n", "column 'messages' has no messages" },
    { "{\"messages\":[" U("a") ",{\"role\":\"assistant\"}]}\n",
      "line 1: column 'messages': message 2: the content" },
    { "{\"messages\":[" U("a") ",5]}\n", "message 2: a message needs role and content" },
    { "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\"}]}]}\n", "not text (an image?)" },
    { "{\"messages\":[" A("a") "],\"label\":true}\n", "needs a prompt and an answer" },
    { "{\"messages\":[" U("a") "],\"tools\":\"{\"}\n", "column 'tools' must be a list" },
    { "{\"messages\":[" U("a") "],\"chat_template_kwargs\":[]}\n",
      "column 'chat_template_kwargs' must be an object" },
    { "{\"messages\":[" U("a") "],\"tools\":{}}\n", "column 'tools' must be a list" },
    { "{\"instruction\":\"a\",\"input\":5,\"output\":\"b\"}\n", "column 'input' must be text" },
    { "{\"instruction\":[],\"output\":\"b\"}\n", "column 'instruction' must be text" },
    { "{\"prompt\":[" U("a") "],\"chosen\":[" A("b") "],\"rejected\":\"c\"}\n", "column 'rejected' is text" },
};

static void refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        hn_err e = { 0 };
        hn_table *r;
        int rc = hn_table_open(&r, write_bytes(refused[i].file, strlen(refused[i].file)), NULL, &e);
        if (rc >= 0 || rc != e.code) fail_msg("case %zu: %s", i, refused[i].file);
        assert_null(r);
        if (!strstr(e.msg, refused[i].says) || !strstr(e.msg, "rows.jsonl"))
            fail_msg("case %zu: %s", i, e.msg);
    }
    hn_err e = { 0 };
    hn_table *r;
    assert_int_equal(hn_table_open(&r, "/nonexistent/rows.jsonl", NULL, &e), HN_EIO);
}

static int open_and_get(void *ctx, hn_err *e) {
    hn_table *r = NULL;
    hn_entry row = { 0 };
    const char *names[] = { "prompt=question" };
    hn_table_config c = { .columns = { names, 1 } };
    int rc = hn_table_open(&r, ctx, &c, e);
    if (!rc) rc = hn_table_get(r, 0, &row, e);
    hn_entry_release(&row);
    hn_table_close(r);
    return rc;
}

static void out_of_memory(void **state) {
    (void)state;
    const char *row = "{\"question\":\"a b\",\"chosen\":\"c\",\"rejected\":\"d\",\"x\":1}\n";
    assert_true(torture(open_and_get, (void *)(uintptr_t)write_bytes(row, strlen(row))) > 8);
}

/* ---- what others wrote ---- */
static const struct {
    const char *file, *names[3], *about;
} real[] = {
    { "data/preference/hh_harmless_1500.jsonl", { NULL }, "1,500 rows: preference, text, implicit prompt" },
    { "data/preference/llamafactory_dpo_en_demo.json",
      { NULL },
      "300 rows: preference, conversational (ShareGPT)" },
    { "data/preference/llamafactory_kto_en_demo.json",
      { NULL },
      "300 rows: unpaired preference, conversational" },
    { "data/preference/llamafactory_v1_dpo_demo.jsonl",
      { NULL },
      "10 rows: preference, conversational, implicit prompt; chosen_messages is chosen, rejected_messages is "
      "rejected" },
    { "data/preference/open_instruct_preference_sample.jsonl",
      { NULL },
      "100 rows: preference, conversational, implicit prompt; columns id, source, prompt unused" },
    { "data/preference/rasbt_preference_1000.jsonl",
      { NULL },
      "1,000 rows: preference, conversational (Alpaca); column output unused; 6 rows with equal sides" },
    { "data/preference/stack_exchange_paired_tiny.json",
      { "prompt=question", "chosen=response_j", "rejected=response_k" },
      "25 rows: preference, text; question is prompt, response_j is chosen, response_k is rejected" },
    { "data/instruct/llamafactory_v1_sft_demo.jsonl",
      { NULL },
      "500 rows: language modelling, conversational" },
    { "data/instruct/open_instruct_rlvr_sample.jsonl",
      { NULL },
      "100 rows: language modelling, conversational; columns ground_truth, dataset, constraint_type, "
      "constraint "
      "unused" },
    { "data/instruct/open_instruct_sft_sample.jsonl",
      { NULL },
      "100 rows: language modelling, conversational; columns id, source unused" },
    { "data/instruct/rasbt_instruction_1000.jsonl",
      { NULL },
      "1,000 rows: prompt and completion, conversational (Alpaca)" },
    { "data/instruct/ifeval_prompts_270.jsonl",
      { NULL },
      "270 rows: prompt only, text; columns key, instruction_id_list, kwargs unused" },
    { "data/math/gsm8k_train.jsonl",
      { "prompt=question", "completion=answer" },
      "7,473 rows: prompt and completion, text; question is prompt, answer is completion" },
    { "data/math/math_train_7474.json",
      { "prompt=problem" },
      "7,474 rows: prompt only, text; problem is prompt; columns answer, difficulty, type unused" },
    { "data/math/mawps_test.jsonl",
      { "prompt=input" },
      "2,065 rows: prompt only, text; input is prompt; columns target, type, idx unused" },
    { "data/weights/verl_arith_llama/train_prompts_800.jsonl",
      { NULL },
      "800 rows: prompt only, conversational" },
};

static void real_files(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof real / sizeof *real; i++) {
        const char *path = shared_file(real[i].file), *names[3];
        if (!path) {
            absent = true;
            continue;
        }
        hn_table_config c = { .columns = { names, 0 } };
        while (c.columns.n < 3 && real[i].names[c.columns.n]) {
            names[c.columns.n] = real[i].names[c.columns.n];
            c.columns.n++;
        }
        hn_table *r = must_open(path, &c);
        if (strcmp(hn_table_about(r), real[i].about)) print_message("%s\n", hn_table_about(r));
        assert_int_equal(strncmp(hn_table_about(r), real[i].about, strlen(real[i].about)), 0);
        for (int64_t k = 0; k < hn_table_count(r); k++) {
            hn_entry row;
            assert_int_equal(hn_table_get(r, k, &row, NULL), 0);
            bool chat = hn_table_chat(r);
            const hn_part *p = hn_table_kind_of(r) == HN_ROWS_PROMPT ? &row.prompt : &row.answer;
            assert_true(chat ? json_array_size(p->messages) > 0 : p->text != NULL);
            if (hn_table_kind_of(r) == HN_ROWS_PREFERENCE) {
                assert_true(chat ? json_array_size(row.rejected.messages) > 0 : row.rejected.text != NULL);
            }
            hn_entry_release(&row);
        }
        hn_table_close(r);
    }
    const char *seeds = shared_file("data/instruct/self_instruct_seed_tasks_175.jsonl");
    if (seeds) { /* instances inside rows: a shape nobody names, so the columns are told */
        hn_err e = { 0 };
        hn_table *r;
        assert_int_equal(hn_table_open(&r, seeds, NULL, &e), HN_EPARSE);
        assert_non_null(strstr(e.msg, "id, name, instruction, instances"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape),       cmocka_unit_test(implicit_prompts),
        cmocka_unit_test(renames_and_forms), cmocka_unit_test(keeps_what_it_need_not_know),
        cmocka_unit_test(file_forms),        cmocka_unit_test(refusals),
        cmocka_unit_test(out_of_memory),     cmocka_unit_test(real_files),
    };
    if (!(dir = scratch_dir())) return 1;
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    hn_dir_remove(dir, NULL);
    return rc ? 1 : absent ? SKIPPED : 0;
}
