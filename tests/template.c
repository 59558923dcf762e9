/* template.c - the template engine against Python's jinja2 (vectors of tests/vectors/template/make.py), its
 * error messages, its limits, and where it says that bytes come from. */
#include "text/template.h"

#include "chat_data.h"

/* Renders; NULL when template or rendering fails (the reason is in e). */
static const char *render(const char *src, size_t n, json_t *vars, hn_buf *out, hn_spans *spans, hn_err *e) {
    hn_tmpl *t;
    hn_tmpl_opts opts = { .now = "2025-07-10" };
    hn_buf_clear(out);
    if (hn_tmpl_new(&t, src, n, "test.jinja", e)) return NULL;
    int rc = hn_tmpl_render(t, vars, &opts, out, spans, e);
    hn_tmpl_free(t);
    if (rc) return NULL;
    hn_buf_add(out, "", 0);
    return out->data;
}

/* want: a string, or anything else when the template has to be refused. */
static void check(const char *what, const char *src, size_t n, json_t *vars, const json_t *want) {
    hn_buf out = { 0 };
    hn_err e = { 0 };
    const char *got = render(src, n, vars, &out, NULL, &e);
    if (json_is_string(want)) {
        if (!got) fail_msg("%s:\n%s", what, e.msg);
        bool same = out.n == json_string_length(want) && !memcmp(got, json_string_value(want), out.n);
        if (!same) fail_msg("%s:\n got %s\nwant %s", what, got, json_string_value(want));
    } else if (got) fail_msg("%s: Python refuses, we gave %s", what, got);
    else if (strncmp(e.msg, "template test.jinja, line ", 26)) fail_msg("%s: %s", what, e.msg);
    hn_buf_free(&out);
}

/* Rows of {"template", "out"}; returns how many templates we do not support (`may`: it may be so). */
static int rendered_rows(const char *file, bool may) {
    json_t *rows = vector_rows(file), *row, *vars = json_object_get(json_array_get(rows, 0), "vars");
    size_t i;
    int refused = 0;
    json_array_foreach(rows, i, row) {
        json_t *t = json_object_get(row, "template"), *own = json_object_get(row, "vars");
        const char *src = json_string_value(t);
        hn_buf out = { 0 };
        hn_err e = { 0 };
        bool ok = !t || !may || render(src, json_string_length(t), own ? own : vars, &out, NULL, &e);
        hn_buf_free(&out);
        if (!ok && (e.code == HN_EUNSUP || e.code == HN_ERANGE)) refused++;
        else if (t) check(src, src, json_string_length(t), own ? own : vars, json_object_get(row, "out"));
    }
    assert_true(i > 100);
    json_decref(rows);
    return refused;
}

static void own_templates(void **state) {
    (void)state;
    rendered_rows("own.jsonl", false);
}

/* Random programs; few of them ask for what is not there (doc/templates.md). */
static void random_programs(void **state) {
    (void)state;
    assert_in_range(rendered_rows("fuzz.jsonl", true), 0, 30);
}

/* want: [..., bytes, first half of the sha256] */
static void check_hash(const char *what, const char *src, size_t n, json_t *vars, const json_t *want) {
    hn_buf out = { 0 };
    hn_err e = { 0 };
    char hex[65];
    const char *got = render(src, n, vars, &out, NULL, &e);
    if (!got) fail_msg("%s:\n%s", what, e.msg);
    hn_sha256(got, out.n, hex);
    hex[32] = 0;
    if (out.n != (size_t)json_integer_value(json_array_get(want, 1)) ||
        strcmp(hex, json_string_value(json_array_get(want, 2))))
        fail_msg("%s: not what Python gives (see tests/vectors/template/compare.py):\n%s", what, got);
    hn_buf_free(&out);
}

static json_t *chat_vars(json_t *conversation) {
    json_t *vars = json_copy(conversation);
    if (!json_object_get(vars, "add_generation_prompt"))
        json_object_set_new(vars, "add_generation_prompt", json_false());
    if (!json_object_get(vars, "bos_token")) json_object_set_new(vars, "bos_token", json_string("<s>"));
    json_object_set_new(vars, "eos_token", json_string("</s>"));
    return vars;
}

static void real_templates(void **state) {
    json_t *rows = vector_rows("expected.jsonl"), *conversations = vector_rows("conversations.jsonl"), *row,
           *pair;
    size_t i, k;
    (void)state;
    json_array_foreach(rows, i, row) {
        const char *name = json_string_value(json_object_get(row, "template")), *path = shared_file(name);
        char what[300];
        if (!path) {
            json_decref(rows);
            json_decref(conversations);
            skip();
        }
        size_t n;
        json_t *at = json_object_get(row, "row"), *file = at ? read_rows(path) : NULL, *t = NULL;
        if (at) t = json_object_get(json_array_get(file, (size_t)json_integer_value(at)), "chat_template");
        char *text = at ? NULL : read_text(path, &n);
        const char *src = at ? json_string_value(t) : text;
        if (at) n = json_string_length(t);
        json_array_foreach(json_object_get(row, "rows"), k, pair) {
            json_int_t c = json_integer_value(json_array_get(pair, 0));
            json_t *vars = chat_vars(json_array_get(conversations, (size_t)c));
            snprintf(what, sizeof what, "%s, row %d, conversation %d", name, (int)json_integer_value(at),
                     (int)c);
            if (json_array_size(pair) == 1) check(what, src, n, vars, NULL);
            else check_hash(what, src, n, vars, pair);
            json_decref(vars);
        }
        json_decref(file);
        hn_free(text);
    }
    assert_int_equal(i, 28 + 27);
    json_decref(rows);
    json_decref(conversations);
}

/* The cases of a JavaScript engine: 79 of syntax, 27 whole templates.  Where Python prints something else
 * (True for true) its text is what we want; where it refuses (1 + ' ', the length of a filtered list), so do
 * we.  One row has a key with a NUL byte, which jansson does not read. */
static void javascript_cases(const char *file, const char *t_key, const char *v_key, const char *want_key,
                             size_t all, int skips) {
    json_t *rows, *row, *other = vector_rows("hfjs.jsonl"), *o;
    const char *path = shared_file(file);
    size_t i, k;
    int skipped = 0;
    if (!path) {
        json_decref(other);
        skip();
    }
    rows = read_rows(path);
    json_array_foreach(rows, i, row) {
        const char *name = json_string_value(json_object_get(row, "name"));
        json_t *want = json_object_get(row, want_key), *t = json_object_get(row, t_key);
        json_t *vars = json_object_get(row, v_key);
        if (!name && ++skipped) continue;
        json_array_foreach(other, k, o) {
            if (!strcmp(json_string_value(json_object_get(o, "name")), name))
                want = json_object_get(o, "python");
        }
        check(name, json_string_value(t), json_string_length(t), vars, want);
    }
    assert_int_equal(skipped, skips);
    assert_int_equal(i, all);
    json_decref(rows);
    json_decref(other);
}

static void javascript_syntax(void **state) {
    (void)state;
    javascript_cases("data/chat_templates/hfjs_syntax.jsonl", "template", "context", "expected", 79, 1);
}

static void javascript_models(void **state) {
    (void)state;
    javascript_cases("data/chat_templates/hfjs_e2e.jsonl", "chat_template", "data", "target", 27, 0);
}

/* ---- messages ---- */
static void check_error(const char *src, int code, const char *where, const char *what) {
    json_t *vars = json_pack("{s:[i,i]}", "l", 1, 2);
    hn_buf out = { 0 };
    hn_err e = { 0 };
    hn_buf_str(&out, "kept");
    hn_tmpl *t;
    int rc = hn_tmpl_new(&t, src, strlen(src), "test.jinja", &e);
    if (!rc) {
        rc = hn_tmpl_render(t, vars, NULL, &out, NULL, &e);
        hn_tmpl_free(t);
    }
    if (rc != code || e.code != code || !strstr(e.msg, what) || !strstr(e.msg, where))
        fail_msg("%s: code %d, %s\nwanted code %d, %s, %s", src, rc, e.msg, code, where, what);
    assert_string_equal(out.data, "kept");
    hn_buf_free(&out);
    json_decref(vars);
}

static void error_messages(void **state) {
    (void)state;
    check_error("a\n\n{{ 'x' | frobnicate }}", HN_EUNSUP, "line 3", "filter 'frobnicate'");
    check_error("{% if l %}\n{{ 'x' is frobbed }}{% endif %}", HN_EUNSUP, "line 2", "test 'frobbed'");
    check_error("\n{% include 'x' %}", HN_EUNSUP, "line 2", "include");
    check_error("{% for x in l %}{{ loop(x) }}{% endfor %}", HN_EPARSE, "line 1", "recursive");
    check_error("{{ l[5].x }}", HN_EPARSE, "line 1", "'list[5]' is undefined");
    check_error("{% if l %}\n\n", HN_EPARSE, "line 1", "before {% endif %}");
    check_error("\n{{ raise_exception('no system role') }}", HN_EPARSE, "line 2", "no system role");
    check_error("{{ l\n.x\n.y }}", HN_EPARSE, "line 3", "'x' is undefined");
    check_error("{{ strftime_now('%Y') }}", HN_EUNSUP, "line 1", "pin a date");
    check_error("{{ l | map('upper') }}", HN_EUNSUP, "line 1", "generator");
    check_error("{{ '%a' % 1 }}", HN_EUNSUP, "line 1", "%a");
    check_error("{{ '{:n}'.format(1) }}", HN_EUNSUP, "line 1", "'n'");
    check_error("{{ lipsum(1) }}", HN_EUNSUP, "line 1", "lipsum");
    check_error("{{ l.append(1) }}", HN_EPARSE, "line 1", "append");
    check_error("\xff", HN_EPARSE, "line 1", "UTF-8");
    check_error("{{ 9223372036854775807 + 1 }}", HN_ERANGE, "line 1", "64 bits");
    check_error("{{ 99999999999999999999 }}", HN_ERANGE, "line 1", "too large");
}

/* ---- limits ---- */
static void check_limit(const char *src, const char *what) {
    hn_tmpl_opts opts = { .max_out = 1 << 16, .max_memory = 16 << 20, .max_steps = 200000 };
    json_t *vars = json_object();
    hn_buf out = { 0 };
    hn_err e = { 0 };
    hn_tmpl *t = own_template(src);
    assert_int_equal(hn_tmpl_render(t, vars, &opts, &out, NULL, &e), HN_ERANGE);
    if (!strstr(e.msg, what)) fail_msg("%s: %s, wanted %s", src, e.msg, what);
    assert_int_equal(out.n, 0);
    hn_tmpl_free(t);
    hn_buf_free(&out);
    json_decref(vars);
}

static void refuse_to_parse(const char *start, const char *open, const char *middle, const char *close,
                            int times) {
    hn_buf b = { 0 };
    hn_tmpl *t;
    hn_err e = { 0 };
    hn_buf_str(&b, start);
    for (int i = 0; i < times; i++) hn_buf_str(&b, open);
    hn_buf_str(&b, middle);
    for (int i = 0; i < times; i++) hn_buf_str(&b, close);
    hn_buf_str(&b, *start ? *start == '{' && start[1] == '{' ? "}}" : "%}" : "");
    int rc = hn_tmpl_new(&t, b.data, b.n, "deep.jinja", &e);
    if (rc != HN_ERANGE) fail_msg("%.40s...: code %d, %s", b.data, rc, e.msg);
    hn_buf_free(&b);
}

static void limits(void **state) {
    hn_buf b = { 0 };
    hn_tmpl *t;
    hn_err e = { 0 };
    (void)state;
    check_limit("{% for i in range(100000) %}{{ 'xxxx' }}{% endfor %}", "output");
    check_limit(
        "{% set ns = namespace(x='xxxxxxxxxxxxxxxx') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}"
        "{% endfor %}{{ ns.x[0] }}",
        "");
    check_limit("{{ 'abcdefgh' * 9000000000 }}", "memory");
    check_limit("{{ [0] * 9000000000 }}", "");
    check_limit("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "");
    check_limit("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "nested");
    check_limit("{% set ns = namespace(x=[]) %}{% for i in range(3000) %}{% set ns.x = [ns.x] %}{% endfor "
                "%}{{ ns.x }}",
                "nested");
    check_limit("{{ 'x' | indent(99999999) }}", "indent");
    check_limit("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "nested");
    check_limit("{{ 'x'.center(99999999) }}", "width");
    check_limit("{% for i in range(10000) %}{% set x = 'x'.ljust(1000000) %}{% endfor %}", "");
    check_limit("{{ ('\\t' * 60000).expandtabs(1000000) | length }}", "");
    check_limit("{{ '{:99999}'.format(1) }}", "width");
    check_limit("{{ l | slice(999999999) | list }}", "");
    check_limit(
        "{% set n = namespace(x=(1,)) %}{% for i in range(80) %}{% set n.x = (n.x, n.x) %}{% endfor %}"
        "{{ n.x in {} }}",
        "");
    check_limit("{% set n = namespace(x=[1]) %}{% for i in range(80) %}{% set n.x = [n.x, n.x] %}{% endfor %}"
                "{{ n.x | tojson | length }}{{ n.x == n.x }}",
                "");
    check_limit("{{ range(99999999999) | list }}", "range");
    check_limit("{% macro f(x) %}{{ f([x] * 2) }}{% endmacro %}{{ f(1) }}", "");
    for (int i = 0; i < 100000; i++) hn_buf_str(&b, i ? "+1" : "{{ 1");
    hn_buf_str(&b, " }}");
    assert_int_equal(hn_tmpl_new(&t, b.data, b.n, "long.jinja", &e), HN_OK);
    json_t *vars = json_object();
    assert_int_equal(hn_tmpl_render(t, vars, NULL, &b, NULL, &e), HN_ERANGE);
    json_decref(vars);
    hn_tmpl_free(t);
    hn_buf_free(&b);
    refuse_to_parse("{{", "(", "1", ")", 200);
    refuse_to_parse("{{", "(", "1", ")", 100000);
    refuse_to_parse("{{", "[", "1", "]", 200);
    refuse_to_parse("{{", "{1:", "1", "}", 200);
    refuse_to_parse("{{x", "[x", "", "]", 200);
    refuse_to_parse("{{x", "(x", "", ")", 200);
    refuse_to_parse("{{", "- ", "1", "", 100000);
    refuse_to_parse("{{", "not ", "1", "", 100000);
    refuse_to_parse("{{", "1 if 0 else ", "1", "", 100000);
    refuse_to_parse("{% set ", "(", "x", ")", 300);
    refuse_to_parse("", "{% if 1 %}", "", "{% endif %}", 100000);
    refuse_to_parse("", "{% for x in x %}", "", "{% endfor %}", 200);
}

/* ---- provenance ---- */

/* The output with every run of bytes of message i's content shown as i[...]; role as i<...>, the rest of a
 * message as i(...). */
static void check_spans(const char *src, const char *want) {
    json_t *vars = json_loads(
        "{\"messages\": [{\"role\": \"user\", \"content\": \" aé-b \", \"x\": [1, {\"k\": \"v\"}]},"
        "{\"role\": \"bot\", \"content\": \"cd\"}]}",
        0, NULL);
    hn_buf out = { 0 }, got = { 0 };
    hn_spans s = { 0 };
    hn_err e = { 0 };
    if (!render(src, strlen(src), vars, &out, &s, &e)) fail_msg("%s: %s", src, e.msg);
    for (int64_t i = 0; i < s.n; i++) {
        const hn_tmpl_span *v = &s.v[i];
        if (v->message >= 0)
            hn_buf_fmt(&got, "%d%c", (int)v->message, v->content ? '[' : v->role ? '<' : '(');
        hn_buf_add(&got, out.data + v->begin, v->len);
        if (v->message >= 0) hn_buf_chr(&got, v->content ? ']' : v->role ? '>' : ')');
    }
    if (strcmp(got.data, want)) fail_msg("%s:\n got %s\nwant %s", src, got.data, want);
    hn_spans_free(&s);
    hn_buf_free(&out);
    hn_buf_free(&got);
    json_decref(vars);
}

static void provenance(void **state) {
    (void)state;
    check_spans("{% set a = messages[0].content %}x{{ 'y' + a + 'z' }}", "xy0[ aé-b ]z");
    check_spans("{{ ('y' + messages[0].content)[2:4] }}", "0[aé]");
    check_spans("{% set a = messages[0].content %}{{ a | trim }}{{ '|' ~ a[::-1] ~ a[2] }}",
                "0[aé-b]|0[ b-éa é]");
    check_spans("{{ messages[0].content.split('-') | join('+') }}", "0[ aé]+0[b ]");
    check_spans("{{ messages[0]['content'].replace('-', '=').upper() }}", "0[ AÉ]=0[B ]");
    check_spans("{{ (messages[0].content + messages[1].content)[3:-1] }}", "0[-b ]1[c]");
    check_spans("{{ messages | map(attribute='content') | join(',') }}", "0[ aé-b ],1[cd]");
    check_spans("{{ messages[0].role | capitalize }}{{ messages[1] | tojson }}",
                "0<User>1({\"role\": )1<\"bot\">1(, \"content\": )1[\"cd\"]1(})");
}

static void spans_of_containers(void **state) {
    (void)state;
    check_spans("{{ messages[0].x }}", "0([1, {'k': 'v'}])");
    check_spans("{{ messages[0].x | tojson }}", "0([1, {\"k\": \"v\"}])");
    check_spans("{{ messages[1].content | tojson }}", "1[\"cd\"]");
    check_spans("{% macro m(t) %}<{{ t }}>{% endmacro %}{% set y %}{{ m(messages[1].content) }}{% endset "
                "%}{{ y * 2 }}",
                "<1[cd]><1[cd]>");
    check_spans("{% for c in messages[1].content %}{{ c }};{% endfor %}", "1[c];1[d];");
    check_spans("{{ '%' ~ messages[1].content | indent(2, true) }}", "%  1[cd]");
    check_spans("{{ messages[0].x[1] | items | list }}", "0([('k', 'v')])");
}

/* ---- the n-th allocation fails ---- */
static int whole(void *ctx, hn_err *e) {
    static const char src[] =
        "{% macro m(a, b='x') %}{{ a ~ b }}{% endmacro %}{% for m in messages %}{% set t = m.content | trim "
        "%}"
        "{% if t in ['hi', 'yo'] and loop.last is defined %}{{ m.role.upper() + ': ' + t.replace('i', 'o') }}"
        "{% elif t | length > 3 %}{{ t[1:-1].split(',') | sort(reverse=true) | join('/') }}{% else %}{{ m | "
        "tojson(indent=1) }}"
        "{% endif %}{% endfor %}{% set ns = namespace(n=0) %}{% for k, v in {'a': 1, 'b': [2]}.items() if v "
        "%}{% set ns.n = "
        "ns.n + 1 %}{{ loop.length }}{% endfor %}{% filter upper %}{{ ns.n }}x{% endfilter %}{% set b %}{% "
        "generation %}g"
        "{% endgeneration %}{% endset %}{{ b }}{{ (1, 2.5, none)[::-1] }}{{ messages | map(attribute='role') "
        "| unique | "
        "list }}{{ 'long' * 100 ~ 'er' * 200 }}{% with z = dict(a=1) %}{{ z | dictsort }}{% endwith %}";
    hn_tmpl *t;
    hn_buf out = { 0 };
    hn_spans s = { 0 };
    int rc = hn_tmpl_new(&t, src, strlen(src), "test.jinja", e);
    if (rc) return rc;
    rc = hn_tmpl_render(t, ctx, NULL, &out, &s, e);
    hn_tmpl_free(t);
    hn_spans_free(&s);
    hn_buf_free(&out);
    return rc;
}

static void out_of_memory(void **state) {
    json_t *vars = json_pack("{s:[{s:s,s:s},{s:s,s:s},{s:s,s:s}]}", "messages", "role", "user", "content",
                             " hi ", "role", "assistant", "content", "b,c,a", "role", "tool", "content", "");
    (void)state;
    assert_true(torture(whole, vars) > 10);
    json_decref(vars);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(own_templates),
                                        cmocka_unit_test(real_templates),
                                        cmocka_unit_test(random_programs),
                                        cmocka_unit_test(javascript_syntax),
                                        cmocka_unit_test(javascript_models),
                                        cmocka_unit_test(error_messages),
                                        cmocka_unit_test(limits),
                                        cmocka_unit_test(provenance),
                                        cmocka_unit_test(spans_of_containers),
                                        cmocka_unit_test(out_of_memory) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
