/* answer.c - finding and comparing answers: a list of cases, and golds and graded samples that others wrote.
 */
#include "task/answer.h"
#include "base/jsonl.h"
#include "shared.h"
#include "task/regex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static hn_view v_(const char *s) { return (hn_view){ s, strlen(s) }; }

/* ---- numbers ---- */
static const struct {
    const char *text;
    int64_t num, den; /* den 0: not one number */
    bool units;
} numbers[] = {
    { "42", 42, 1 },
    { "-42", -42, 1 },
    { "+7", 7, 1 },
    { "\xe2\x88\x92"
      "42",
      -42, 1 }, /* U+2212 */
    { "1,000", 1000, 1 },
    { "1000.0", 1000, 1 },
    { "1e3", 1000, 1 },
    { "1E+3", 1000, 1 },
    { "25e-2", 1, 4 },
    { "1,234,567.50", 2469135, 2 },
    { "$1,000", 1000, 1 },
    { "-$5", -5, 1 },
    { "$-5", -5, 1 },
    { "\\$18", 18, 1 },
    { "\xe2\x82\xac 3", 0, 0 },
    { "50%", 50, 1 },
    { "50\\%", 50, 1 },
    { "50 %.", 50, 1 },
    { " 3.14 ", 157, 50 },
    { ".5", 1, 2 },
    { "-.25", -1, 4 },
    { "5.", 5, 1 },
    { "3/4", 3, 4 },
    { "-3/4", -3, 4 },
    { "6/8", 3, 4 },
    { "3 / 4", 3, 4 },
    { "4/2", 2, 1 },
    { "1/0", 0, 0 },
    { "1 1/2", 3, 2 },
    { "-1 1/2", -3, 2 },
    { "1 3/2", 0, 0 },
    { "0.10", 1, 10 },
    { "2.50000000000000000000000000", 5, 2 },
    { "0000000000000000000000000000012", 12, 1 },
    { "999999999999999999", 999999999999999999, 1 },
    { "9999999999999999999", 0, 0 }, /* too large: not a number here, and never a wrong one */
    { "0.1234567890123456789012345", 0, 0 },
    { "1e400", 0, 0 },
    { "0e400", 0, 1 },
    { "1e-400", 0, 0 },
    { "", 0, 0 },
    { "-", 0, 0 },
    { "$", 0, 0 },
    { ".", 0, 0 },
    { "abc", 0, 0 },
    { "1,00", 0, 0 },
    { "1,0000", 0, 0 },
    { "12 34", 0, 0 },
    { "1.2.3", 0, 0 },
    { "--5", 0, 0 },
    { "42 apples", 0, 0 },
    { "42 apples", 42, 1, true },
    { "42 apples a day.", 42, 1, true },
    { "5km", 5, 1, true },
    { "42 or 43", 0, 0, true },
    { "42, 43", 0, 0, true },
    { "3e", 3, 1, true },
    { "3 eggs", 3, 1, true },
    { "5/6/2020", 0, 0, true },
};

static void parses_numbers(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        hn_ratio r = { 77, 77 };
        bool got = hn_number_parse(v_(numbers[i].text), numbers[i].units, &r);
        if (got != (numbers[i].den != 0)) fail_msg("[%s] parsed: %d", numbers[i].text, got);
        if (got && (r.num != numbers[i].num || r.den != numbers[i].den)) {
            fail_msg("[%s] is %lld/%lld", numbers[i].text, (long long)r.num, (long long)r.den);
        }
    }
}

static void last_numbers(void **state) {
    (void)state;
    static const struct {
        const char *text, *found; /* NULL: none */
        int64_t num, den;
    } cases[] = {
        { "So 3 + 4 = 7.", "7", 7, 1 },
        { "He pays $1,250.50 in all", "$1,250.50", 2501, 2 },
        { "the answer is -3", "-3", -3, 1 },
        { "5-3", "3", 3, 1 },
        { "(2)-3", "3", 3, 1 },
        { "from 10 to -3.", "-3", -3, 1 },
        { "7 (see H2O)", "7", 7, 1 },
        { "x2", NULL, 0, 0 },
        { "it is 3/4 of 12 cups: 9", "9", 9, 1 },
        { "about 3/4", "3/4", 3, 4 },
        { "3 1/2 cups", "3 1/2", 7, 2 },
        { "on 5/6/2020", "2020", 2020, 1 },
        { "9, 10, 11", "11", 11, 1 },
        { "it costs 12.", "12", 12, 1 },
        { "99999999999999999999 and 4", "4", 4, 1 },
        { "4 and 99999999999999999999", "4", 4, 1 }, /* what does not fit is skipped whole */
        { "", NULL, 0, 0 },
        { "none", NULL, 0, 0 },
        { "-", NULL, 0, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hn_view f;
        hn_ratio r;
        bool got = hn_answer_last_number(v_(cases[i].text), &f, &r);
        if (got != (cases[i].found != NULL)) fail_msg("[%s]", cases[i].text);
        if (!got) continue;
        if (f.n != strlen(cases[i].found) || memcmp(f.s, cases[i].found, f.n) || r.num != cases[i].num ||
            r.den != cases[i].den) {
            fail_msg("[%s]: found [%.*s]", cases[i].text, (int)f.n, f.s);
        }
    }
}

static void ratios(void **state) {
    (void)state;
    hn_ratio a = { INT64_MAX, 1 }, b = { 1, INT64_MAX }, r = { 5, 7 };
    assert_false(hn_ratio_op('+', a, a, &r));
    assert_false(hn_ratio_op('*', a, a, &r));
    assert_false(hn_ratio_op('/', a, (hn_ratio){ 0, 1 }, &r));
    assert_false(hn_ratio_make(1, 0, &r));
    assert_false(hn_ratio_make(INT64_MIN, 1, &r));
    assert_true(r.num == 5 && r.den == 7);
    assert_true(hn_ratio_op('*', a, b, &r) && r.num == 1 && r.den == 1);
    assert_true(hn_ratio_op('-', (hn_ratio){ 1, 2 }, (hn_ratio){ 3, 4 }, &r) && r.num == -1 && r.den == 4);
    assert_true(hn_ratio_make(6, -8, &r) && r.num == -3 && r.den == 4);
    assert_true(hn_ratio_make(INT64_MIN, 2, &r) && r.num == INT64_MIN / 2);
}

/* ---- where the answer stands ---- */
static void markers_and_boxes(void **state) {
    (void)state;
    hn_view f;
    assert_true(hn_answer_after(v_("x\n#### 42 \ny"), "####", &f) && f.n == 2 && !memcmp(f.s, "42", 2));
    assert_true(hn_answer_after(v_("####"), "####", &f) && f.n == 0);
    assert_false(hn_answer_after(v_("###"), "####", &f));
    assert_false(hn_answer_after((hn_view){ NULL, 0 }, "####", &f));
    static const struct {
        const char *text, *found;
    } boxes[] = {
        { "so \\boxed{42}.", "42" },
        { "\\boxed{1} then \\boxed{\\frac{1}{2}}", "\\frac{1}{2}" },
        { "\\boxed{\\{1,2\\}}", "\\{1,2\\}" },
        { "\\fbox{7}", "7" },
        { "$\\boxed 5$", "5" },
        { "\\boxed {5}", "5" },
        { "\\boxed{1} and cut \\boxed{2", "1" },
        { "\\boxed{}", "" },
        { "\\boxed", NULL },
        { "boxed{3}", NULL },
        { "\\boxed{a\\}", NULL },
    };
    for (size_t i = 0; i < sizeof boxes / sizeof *boxes; i++) {
        bool got = hn_answer_boxed(v_(boxes[i].text), &f);
        if (got != (boxes[i].found != NULL) ||
            (got && (f.n != strlen(boxes[i].found) || memcmp(f.s, boxes[i].found, f.n)))) {
            fail_msg("[%s]", boxes[i].text);
        }
    }
}

static void choices(void **state) {
    (void)state;
    static const struct {
        const char *text;
        char letter;
    } cases[] = {
        { "B", 'B' },
        { "(B)", 'B' },
        { "b", 0 },
        { "(b)", 'B' },
        { "B.", 'B' },
        { "B) because", 'B' },
        { "**C**", 'C' },
        { "The answer is (D).", 'D' },
        { "The answer is D", 'D' },
        { "the answer is: **A**", 'A' },
        { "Answer: C\nmore", 'C' },
        { "ANSWER: E", 'E' },
        { "First the answer is A. No, the answer is B.", 'B' },
        { "so \\boxed{C}", 'C' },
        { "\\boxed{\\text{(E)}}", 'E' },
        { "(A) is wrong, so it must be (B)", 'B' },
        { "A dog barks.", 0 },
        { "The answer is a dog", 0 },
        { "Answer: Because", 0 },
        { "I think so", 0 },
        { "f(x) = 2", 'X' }, /* a lone letter in parentheses: read as a choice, and no gold is X */
        { "42", 0 },
        { "", 0 },
        { "(", 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char c = hn_answer_choice(v_(cases[i].text));
        if (c != cases[i].letter) fail_msg("[%s]: %c", cases[i].text, c ? c : '0');
    }
}

/* ---- LaTeX answers ---- */
static const struct {
    const char *a, *b;
    bool same;
} latex_cases[] = {
    { "\\frac{1}{2}", "0.5", true },
    { "\\dfrac12", "\\frac{1}{2}", true },
    { "\\frac 34", "3/4", true },
    { "-\\frac{1}{2}", "\\frac{-1}{2}", true },
    { "1\\frac{1}{2}", "1.5", true },
    { "10{,}000", "10000", true },
    { "10,000", "10000", true },
    { "$42$", "42", true },
    { "\\(42\\)", "42.", true },
    { "x = 5", "5", true },
    { "x \\in [0,1]", "[0,1]", true },
    { "90^\\circ", "90", true },
    { "90^{\\circ}", "90\xc2\xb0", true },
    { "5 \\text{ cm}", "5", true },
    { "5 cm", "5", true },
    { "5\\text{ cm}^2", "5", false },
    { "50\\%", "50", true },
    { "\\$18.00", "18", true },
    { "\\text{Monday}", "Monday", true },
    { "\\left( 1, 2 \\right)", "(1,2)", true },
    { "(1,2)", "(2,1)", false },
    { "(1,2)", "[1,2]", false },
    { "(1,2)", "(1,2]", false },
    { "(\\frac12, 3)", "(0.5, 3.0)", true },
    { "1, 2", "2,1", true },
    { "1,2,2", "1,1,2", false },
    { "1 \\text{ and } 2", "2, 1", true },
    { "\\{1,2\\}", "\\{2,1\\}", true },
    { "\\{1,2\\}", "(1,2)", false },
    { "\\sqrt{2}", "\\sqrt2", true },
    { "\\sqrt[3]{2}", "\\sqrt{2}", false },
    { "\\frac{\\sqrt3}{2}", "\\dfrac{\\sqrt{3}}{2}", true },
    { "x^2+1", "x^{2} + 1", true },
    { "x^{12}", "x^12", false },
    { "2\\pi", "2\xcf\x80", true },
    { "\\pi r", "\\pi  r", true },
    { "(B)", "B", true },
    { "\\text{(B)}", "B", true },
    { "6 \\cdot 7", "42", false }, /* an unfinished calculation is not the answer */
    { "x+1", "1+x", false },
    { "2x", "2", false },
    { "1", "2", false },
    { "", "", false },
    { "5", "", false },
    { "1,2", "1", false },
    { "\\frac{1}{0}", "0", false },
    { "\\frac{1}{", "1", false },
    { "{{{{", "{{{{", true },
    { "99999999999999999999", "99999999999999999999", true }, /* beyond 64 bits: as text */
    { "99999999999999999999", "99999999999999999998", false },
};

static void latex(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof latex_cases / sizeof *latex_cases; i++) {
        for (int swap = 0; swap < 2; swap++) {
            bool same;
            const char *a = swap ? latex_cases[i].b : latex_cases[i].a,
                       *b = swap ? latex_cases[i].a : latex_cases[i].b;
            assert_int_equal(hn_answer_same_math(v_(a), v_(b), &same, NULL), 0);
            if (same != latex_cases[i].same) fail_msg("[%s] [%s]: %d", a, b, same);
        }
    }
    char deep[4001]; /* nesting that must not take the stack */
    for (int i = 0; i < 4000; i++) deep[i] = "\\frac{"[i % 6];
    deep[4000] = 0;
    bool same;
    assert_int_equal(hn_answer_same_math(v_(deep), v_("1"), &same, NULL), 0);
    assert_false(same);
}

static void patterns(void **state) {
    (void)state;
    hn_regex *r;
    hn_view f;
    hn_err e = { 0 };
    assert_int_equal(hn_regex_new(&r, "(", &e), HN_EPARSE);
    assert_non_null(strstr(e.msg, "pattern '('"));
    assert_int_equal(hn_regex_new(&r, "answer is (\\w+)", NULL), 0);
    assert_int_equal(hn_regex_last(r, v_("answer is A. The answer is \xc3\xa9t\xc3\xa9!"), &f, NULL), 1);
    assert_true(f.n == 5 && !memcmp(f.s, "\xc3\xa9t\xc3\xa9", 5));
    assert_int_equal(hn_regex_last(r, v_("\xff\xfe answer is B \xff"), &f, NULL),
                     1); /* not UTF-8 around it */
    assert_true(f.n == 1 && f.s[0] == 'B');
    assert_int_equal(hn_regex_last(r, v_("no"), &f, NULL), 0);
    assert_int_equal(hn_regex_last(r, (hn_view){ NULL, 0 }, &f, NULL), 0);
    hn_regex_free(r);
    assert_int_equal(hn_regex_new(&r, "x*", NULL), 0); /* empty matches end */
    assert_int_equal(hn_regex_last(r, v_("abc"), &f, NULL), 1);
    hn_regex_free(r);
    assert_int_equal(hn_regex_new(&r, "^(a+)+$", NULL), 0);
    char text[64];
    memset(text, 'a', 40);
    strcpy(text + 40, "b");
    memset(&e, 0, sizeof e);
    assert_int_equal(hn_regex_last(r, v_(text), &f, &e), HN_ERANGE); /* exponential: given up, not hung */
    hn_regex_free(r);
}

/* ---- what others wrote ---- */
static bool absent; /* some data was not there */

static const char *data(const char *name) {
    const char *path = shared_file(name);
    if (!path) {
        absent = true;
        skip();
    }
    return path;
}

static void gsm8k_golds(void **state) {
    (void)state;
    const char *path = data("data/math/gsm8k_train.jsonl");
    hn_jsonl *f;
    assert_int_equal(hn_jsonl_open(&f, path, NULL), 0);
    assert_int_equal(hn_jsonl_count(f), 7473);
    for (int64_t i = 0; i < hn_jsonl_count(f); i++) {
        json_t *row;
        assert_int_equal(hn_jsonl_row(f, i, &row, NULL), 0);
        hn_view text = v_(json_string_value(json_object_get(row, "answer"))), mark, last;
        hn_ratio a, b;
        if (!hn_answer_after(text, "####", &mark) || !hn_number_parse(mark, false, &a) ||
            !hn_answer_last_number(text, &last, &b) || !hn_ratio_eq(a, b)) {
            fail_msg("row %lld: %s", (long long)i, text.s);
        }
        json_decref(row);
    }
    hn_jsonl_close(f);
}

/* 95 MATH problems, 8 solutions each, graded by the Qwen2.5-Math evaluation code. */
static void graded_samples(void **state) {
    (void)state;
    const char *path = data("data/math/math_cot_100_8samples_graded.jsonl");
    hn_jsonl *f;
    int n = 0, agree = 0;
    assert_int_equal(hn_jsonl_open(&f, path, NULL), 0);
    for (int64_t i = 0; i < hn_jsonl_count(f); i++) {
        json_t *row;
        assert_int_equal(hn_jsonl_row(f, i, &row, NULL), 0);
        const json_t *code = json_object_get(row, "code"), *score = json_object_get(row, "score");
        hn_view gold = v_(json_string_value(json_object_get(row, "gt"))), box;
        for (size_t k = 0; k < json_array_size(code); k++, n++) {
            bool same = false;
            hn_view text = v_(json_string_value(json_array_get(code, k)));
            if (hn_answer_boxed(text, &box)) assert_int_equal(hn_answer_same_math(gold, box, &same, NULL), 0);
            agree += same == json_is_true(json_array_get(score, k));
        }
        json_decref(row);
    }
    hn_jsonl_close(f);
    print_message("graded samples: %d of %d verdicts agree\n", agree, n);
    assert_int_equal(n, 760);
    assert_in_range(agree, 745, 760);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_numbers),    cmocka_unit_test(last_numbers), cmocka_unit_test(ratios),
        cmocka_unit_test(markers_and_boxes), cmocka_unit_test(choices),      cmocka_unit_test(latex),
        cmocka_unit_test(patterns),          cmocka_unit_test(gsm8k_golds),  cmocka_unit_test(graded_samples),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    return rc ? 1 : absent ? SKIPPED : 0;
}
