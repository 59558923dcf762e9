/* countdown.c - reach a target from given numbers with + - * /: the numbers game as TinyZero poses it.
 *
 * A generated problem is made backwards: numbers are drawn and combined two by two with operations
 * that stay positive and divide exactly, and what comes out is the target.  So every problem can be
 * solved, and the worked solution is that chain, without search.  The split is a hash of the sorted
 * numbers and the target.
 *
 * The verifier parses the expression after #### (or in <answer>...</answer>) and computes it in exact
 * fractions; it trusts nothing of the text but the value and the numbers used. */
#include "task/answer.h"
#include "task/dealt.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NUMS = 8, MAX_DEPTH = 64, MAX_USED = 64, TRIES = 20000 };

typedef struct countdown {
    int64_t min_nums, max_nums, max_number, max_target;
    double format_reward;
    bool use_all;
    int form, split;
    const char *file;
    hn_dealt rows;
} countdown;

static const hn_opt options[] = {
    { "task_min_nums", "fewest numbers given", HN_OPT_INT, offsetof(countdown, min_nums), 3, 2, MAX_NUMS },
    { "task_max_nums", "most numbers given", HN_OPT_INT, offsetof(countdown, max_nums), 3, 2, MAX_NUMS },
    { "task_max_number", "largest number given", HN_OPT_INT, offsetof(countdown, max_number), 20, 2, 1e6 },
    { "task_max_target", "largest target", HN_OPT_INT, offsetof(countdown, max_target), 100, 2, 1e9 },
    { "task_use_all", "every number must be used exactly once; else at most once", HN_OPT_BOOL,
      offsetof(countdown, use_all), 1 },
    { "task_format_reward", "reward of a well-formed expression that misses the target", HN_OPT_NUM,
      offsetof(countdown, format_reward), 0, 0, 1 },
    { "task_file", "problems from a file with the columns nums and target instead of generated ones",
      HN_OPT_STR, offsetof(countdown, file) },
    { "task_split", "deal the file's rows to splits by hash, or all to one", HN_OPT_ENUM,
      offsetof(countdown, split), 0, .choices = HN_SPLIT_CHOICES },
    { "task_form", "prompts as plain text or as chat messages", HN_OPT_ENUM, offsetof(countdown, form), 0,
      .choices = "text|messages" },
    { 0 },
};

/* ---- reading an expression ---------------------------------------------------------
 *     sum    = product { (+|-) product }
 *     product = atom { (*|/) atom }
 *     atom   = digits | ( sum )                 no unary minus: every - takes two numbers */
typedef struct reader {
    hn_view v;
    size_t at;
    int depth;
    int64_t used[MAX_USED];
    int n_used;
    const char *wrong; /* the first thing that is wrong */
} reader;

static bool refuse(reader *r, const char *what) {
    if (!r->wrong) r->wrong = what;
    return false;
}

static void skip_space(reader *r) {
    while (r->at < r->v.n && (r->v.s[r->at] == ' ' || r->v.s[r->at] == '\t')) r->at++;
}

/* The operator at the cursor in plain ASCII, with the bytes it takes; 0: none. */
static char operator_at(const reader *r, size_t *bytes) {
    static const struct {
        const char *text;
        char op;
    } known[] = { { "+", '+' },
                  { "-", '-' },
                  { "*", '*' },
                  { "/", '/' },
                  { "\xe2\x88\x92", '-' }, /* U+2212 minus */
                  { "\xc3\x97", '*' },     /* U+00D7 times */
                  { "\xc3\xb7", '/' },     /* U+00F7 divided by */
                  { "\xc2\xb7", '*' },     /* U+00B7 middle dot */
                  { "\\times", '*' },      /* LaTeX */
                  { "\\div", '/' } };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        *bytes = strlen(known[i].text);
        if (r->v.n - r->at >= *bytes && !memcmp(r->v.s + r->at, known[i].text, *bytes)) return known[i].op;
    }
    return 0;
}

static bool read_sum(reader *r, hn_ratio *out);

static bool read_number(reader *r, hn_ratio *out) {
    int64_t value = 0;
    size_t first = r->at;
    for (; r->at < r->v.n && r->v.s[r->at] >= '0' && r->v.s[r->at] <= '9'; r->at++) {
        if (value > INT64_C(1000000000000)) return refuse(r, "a number is too large");
        value = value * 10 + (r->v.s[r->at] - '0');
    }
    if (r->at == first) return refuse(r, "a number or ( is missing");
    if (r->n_used == MAX_USED) return refuse(r, "too many numbers");
    r->used[r->n_used++] = value;
    *out = (hn_ratio){ value, 1 };
    return true;
}

static bool read_atom(reader *r, hn_ratio *out) {
    skip_space(r);
    if (r->at >= r->v.n || r->v.s[r->at] != '(') return read_number(r, out);
    if (++r->depth > MAX_DEPTH) return refuse(r, "too many nested parentheses");
    r->at++;
    if (!read_sum(r, out)) return false;
    skip_space(r);
    if (r->at >= r->v.n || r->v.s[r->at] != ')') return refuse(r, "a ) is missing");
    r->at++;
    r->depth--;
    return true;
}

/* Left to right over the two operators of one rank. */
static bool read_chain(reader *r, const char *ops, bool (*part)(reader *, hn_ratio *), hn_ratio *out) {
    if (!part(r, out)) return false;
    for (;;) {
        size_t bytes;
        hn_ratio right;
        skip_space(r);
        char op = operator_at(r, &bytes);
        if (!op || (op != ops[0] && op != ops[1])) return true;
        r->at += bytes;
        if (!part(r, &right)) return false;
        if (op == '/' && right.num == 0) return refuse(r, "it divides by zero");
        if (!hn_ratio_op(op, *out, right, out)) return refuse(r, "a value is too large");
    }
}

static bool read_product(reader *r, hn_ratio *out) { return read_chain(r, "*/", read_atom, out); }
static bool read_sum(reader *r, hn_ratio *out) { return read_chain(r, "+-", read_product, out); }

/* The whole of the view is one expression; "= number" after it is allowed when it tells the value. */
static bool read_all(reader *r, hn_ratio *out) {
    if (!read_sum(r, out)) return false;
    skip_space(r);
    hn_view rest = hn_view_trim((hn_view){ r->v.s + r->at, r->v.n - r->at });
    if (rest.n && rest.s[0] == '=') {
        hn_ratio said;
        if (!hn_number_parse((hn_view){ rest.s + 1, rest.n - 1 }, false, &said) || !hn_ratio_eq(said, *out)) {
            return refuse(r, "what follows = is not its value");
        }
        rest.n = 0;
    }
    return rest.n == 0 || (rest.n == 1 && rest.s[0] == '.') ||
           refuse(r, "there is more after the expression");
}

/* ---- judging ---- */
static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Both sorted: is `used` equal to, or a sub-multiset of, `given`? */
static bool uses_given(const int64_t *used, int n, const int64_t *given, int m, bool all) {
    int j = 0;
    for (int i = 0; i < n; i++, j++) {
        while (j < m && given[j] < used[i]) j++;
        if (j == m || given[j] != used[i]) return false;
    }
    return !all || n == m;
}

/* {"nums":[...],"target":n}, as an item keeps it and as a file has it.  false: not of that shape. */
static bool read_problem(const json_t *extra, int64_t nums[MAX_NUMS], int *n, int64_t *target) {
    const json_t *list = json_object_get(extra, "nums"), *aim = json_object_get(extra, "target");
    size_t k = json_array_size(list);
    if (!json_is_integer(aim) || k == 0 || k > MAX_NUMS) return false;
    for (size_t i = 0; i < k; i++) {
        const json_t *x = json_array_get(list, i);
        if (!json_is_integer(x)) return false;
        nums[i] = json_integer_value(x);
    }
    *n = (int)k;
    *target = json_integer_value(aim);
    return true;
}

/* The answer part of a completion: after ####, or in the last <answer> element. */
static bool find_expression(hn_view text, hn_view *found) {
    if (hn_answer_after(text, "####", found)) return true;
    const char *open = NULL, *end = text.s + text.n;
    for (const char *p = text.n ? text.s : end; p < end && (p = memmem(p, (size_t)(end - p), "<answer>", 8));
         p += 8) {
        open = p + 8;
    }
    if (!open) return false;
    const char *close = memmem(open, (size_t)(end - open), "</answer>", 9);
    if (!close) return false;
    *found = hn_view_trim((hn_view){ open, (size_t)(close - open) });
    return true;
}

static hn_verdict verify(const void *priv, const hn_item *it, const char *completion, size_t n,
                         double *reward, hn_err *why) {
    const countdown *c = priv;
    int64_t nums[MAX_NUMS], target;
    int m;
    if (!read_problem(it->extra, nums, &m, &target)) {
        return hn_verdict_error(reward, why, "item %s: no numbers and target", it->id ? it->id : "?");
    }
    reader r = { 0 };
    hn_ratio value;
    if (!find_expression((hn_view){ completion, n }, &r.v)) {
        return hn_verdict_fail(reward, why, "no line with #### and an expression");
    }
    if (!read_all(&r, &value)) return hn_verdict_fail(reward, why, "not an expression: %s", r.wrong);
    qsort(r.used, (size_t)r.n_used, sizeof *r.used, by_value);
    qsort(nums, (size_t)m, sizeof *nums, by_value);
    hn_verdict v = HN_PASS;
    if (!uses_given(r.used, r.n_used, nums, m, c->use_all)) {
        v = hn_verdict_fail(reward, why, "it does not use the given numbers %s once",
                            c->use_all ? "exactly" : "at most");
    } else if (value.den != 1 || value.num != target) {
        v = hn_verdict_fail(reward, why, "it is not %lld", (long long)target);
    }
    if (v == HN_PASS) return hn_verdict_pass(reward);
    *reward = c->format_reward;
    return v;
}

/* ---- making problems ---- */
typedef struct term { /* a value on the table and how it was made */
    int64_t value;
    int left, right; /* terms it was made of; -1: given */
    char op;
} term;

typedef struct puzzle {
    int n, n_term; /* numbers given; terms so far, the given ones first */
    term t[2 * MAX_NUMS];
    int64_t target;
} puzzle;

/* a op b where it stays positive, exact and within the limit, and does something; 0: not so. */
static int64_t combine(char op, int64_t a, int64_t b, int64_t limit) {
    int64_t x = 0;
    if (op == '+') x = a + b;
    if (op == '-') x = a - b;
    if (op == '*' && a > 1 && b > 1 && a <= limit / b) x = a * b;
    if (op == '/' && b > 1 && a % b == 0) x = a / b;
    return x > 0 && x <= limit ? x : 0;
}

/* Combines two random terms on the table.  false: that pair and operation do not go. */
static bool join_two(const countdown *c, hn_dice *d, puzzle *p, int *table, int *n) {
    int i = (int)hn_dice_roll(d, *n), j = (int)hn_dice_roll(d, *n - 1);
    if (j >= i) j++;
    char op = "+-*/"[hn_dice_roll(d, 4)];
    int64_t limit = c->max_target * 10; /* room on the way to the target */
    int64_t x = combine(op, p->t[table[i]].value, p->t[table[j]].value, limit);
    if (!x) return false;
    p->t[p->n_term] = (term){ x, table[i], table[j], op };
    table[i] = p->n_term++;
    table[j] = table[--*n];
    return true;
}

static bool draw_puzzle(const countdown *c, hn_dice *d, puzzle *p) {
    int table[MAX_NUMS], n;
    p->n = p->n_term = n = (int)(c->min_nums + hn_dice_roll(d, c->max_nums - c->min_nums + 1));
    for (int i = 0; i < n; i++) {
        p->t[i] = (term){ .value = 1 + hn_dice_roll(d, c->max_number), .left = -1 };
        table[i] = i;
    }
    for (int tries = 0; n > 1 && tries < 100; tries++) join_two(c, d, p, table, &n);
    p->target = p->t[p->n_term - 1].value;
    return n == 1 && p->target >= 2 && p->target <= c->max_target;
}

/* "3 7 11 = 40": sorted numbers and target, which the split and the id are made of. */
static void canonical(const int64_t *given, int n, int64_t target, hn_buf *b) {
    int64_t nums[MAX_NUMS];
    memcpy(nums, given, (size_t)n * sizeof *nums);
    qsort(nums, (size_t)n, sizeof *nums, by_value);
    for (int i = 0; i < n; i++) hn_buf_fmt(b, "%lld ", (long long)nums[i]);
    hn_buf_fmt(b, "= %lld", (long long)target);
}

static void given_of(const puzzle *p, int64_t nums[MAX_NUMS]) {
    for (int i = 0; i < p->n; i++) nums[i] = p->t[i].value;
}

static int draw(const countdown *c, hn_split s, hn_dice *d, puzzle *p, hn_buf *canon, hn_err *e) {
    for (int i = 0; i < TRIES; i++) {
        if (!draw_puzzle(c, d, p)) continue;
        int64_t nums[MAX_NUMS];
        given_of(p, nums);
        hn_buf_clear(canon);
        canonical(nums, p->n, p->target, canon);
        if (canon->oom) return hn_fail(e, HN_ENOMEM, "out of memory for an item");
        if (hn_split_of(hn_task_hash(canon->data, canon->n)) == s) return HN_OK;
    }
    return hn_fail(e, HN_ERANGE,
                   "countdown: no problem of the %s split found with task_max_number=%lld, "
                   "task_max_target=%lld: raise one of them",
                   hn_split_name(s), (long long)c->max_number, (long long)c->max_target);
}

static int rank(const term *t) { return t->left < 0 ? 3 : t->op == '*' || t->op == '/' ? 2 : 1; }

/* The expression of term i with only the parentheses it needs.  Depth is at most MAX_NUMS. */
static void write_term(hn_buf *b, const puzzle *p, int i) {
    const term *t = &p->t[i];
    if (t->left < 0) {
        hn_buf_fmt(b, "%lld", (long long)t->value);
        return;
    }
    int r = rank(t), left = rank(&p->t[t->left]), right = rank(&p->t[t->right]);
    bool lp = left < r, rp = right < r || (right == r && (t->op == '-' || t->op == '/'));
    hn_buf_str(b, lp ? "(" : "");
    write_term(b, p, t->left);
    hn_buf_fmt(b, "%s %c %s", lp ? ")" : "", t->op, rp ? "(" : "");
    write_term(b, p, t->right);
    hn_buf_str(b, rp ? ")" : "");
}

static void work_out(hn_buf *b, const puzzle *p, const char *expression) {
    for (int i = p->n; i < p->n_term; i++) {
        const term *t = &p->t[i];
        hn_buf_fmt(b, "Step %d: %lld %c %lld = %lld\n", i - p->n + 1, (long long)p->t[t->left].value, t->op,
                   (long long)p->t[t->right].value, (long long)t->value);
    }
    hn_buf_fmt(b, "#### %s", expression);
}

/* ---- the task ---- */
/* The question; extra; id.  `worked` may be NULL.  On failure the caller releases the item. */
static int ask(const countdown *c, const int64_t *nums, int n, int64_t target, const char *worked,
               hn_item *out, hn_err *e) {
    hn_buf text = { 0 }, list = { 0 };
    json_t *array = json_array();
    int bad = !array;
    for (int i = 0; i < n; i++) {
        hn_buf_fmt(&list, "%s%lld", i ? ", " : "", (long long)nums[i]);
        if (!bad) bad = json_array_append_new(array, json_integer(nums[i]));
    }
    if (!bad) out->extra = json_pack("{s:O,s:I}", "nums", array, "target", (json_int_t)target);
    json_decref(array);
    const char *how = c->use_all ? "Use" : "Use some of";
    if (!list.oom && c->form) {
        hn_buf_fmt(
            &text,
            "%s the numbers %s, each %s once, with + - * / and parentheses, to make %lld. Work step by "
            "step and write the expression on the last line after ####.",
            how, list.data, c->use_all ? "exactly" : "at most", (long long)target);
    } else if (!list.oom) {
        hn_buf_fmt(&text, "%s %s to make %lld.", how, list.data, (long long)target);
    }
    int rc = bad || !out->extra || list.oom || text.oom ? hn_fail(e, HN_ENOMEM, "out of memory for an item")
                                                        : hn_item_ask(out, c->form, text.data, worked, e);
    hn_buf_free(&text);
    hn_buf_free(&list);
    return rc;
}

/* A problem of the file: no solution is known. */
static int file_item(const countdown *c, hn_split s, int64_t i, hn_item *out, hn_err *e) {
    json_t *row;
    int64_t nums[MAX_NUMS], target = 0;
    int n = 0;
    hn_buf canon = { 0 }, id = { 0 };
    int rc = hn_dealt_row(&c->rows, s, i, &row, e);
    if (rc) return rc;
    bool good = read_problem(row, nums, &n, &target);
    hn_assert(good); /* open has seen every row */
    json_decref(row);
    canonical(nums, n, target, &canon);
    if (!canon.oom) hn_buf_fmt(&id, "countdown:%s", canon.data);
    rc = canon.oom || id.oom ? hn_fail(e, HN_ENOMEM, "out of memory for an item")
                             : ask(c, nums, n, target, NULL, out, e);
    out->id = id.data;
    hn_buf_free(&canon);
    if (rc) hn_item_release(out);
    return rc;
}

static int generated_item(const countdown *c, hn_split s, uint64_t seed, int64_t i, hn_item *out, hn_err *e) {
    hn_dice d = hn_dice_of("countdown", s, seed, i);
    puzzle p;
    hn_buf canon = { 0 }, worked = { 0 }, answer = { 0 }, id = { 0 };
    int rc = draw(c, s, &d, &p, &canon, e);
    if (!rc) {
        int64_t nums[MAX_NUMS];
        given_of(&p, nums);
        write_term(&answer, &p, p.n_term - 1);
        if (!answer.oom) work_out(&worked, &p, answer.data);
        hn_buf_fmt(&id, "countdown:%s", canon.data);
        if (answer.oom || worked.oom || id.oom) rc = hn_fail(e, HN_ENOMEM, "out of memory for an item");
        if (!rc) rc = ask(c, nums, p.n, p.target, worked.data, out, e);
    }
    out->answer = answer.data;
    out->id = id.data;
    if (rc) hn_item_release(out);
    hn_buf_free(&canon);
    hn_buf_free(&worked);
    return rc;
}

static int item(const void *priv, hn_split s, uint64_t seed, int64_t i, hn_item *out, hn_err *e) {
    const countdown *c = priv;
    return c->rows.file ? file_item(c, s, i, out, e) : generated_item(c, s, seed, i, out, e);
}

static int problem(const void *ctx, const json_t *row, hn_buf *out, hn_err *e) {
    (void)ctx;
    int64_t nums[MAX_NUMS], target;
    int n;
    if (!read_problem(row, nums, &n, &target)) {
        return hn_fail(e, HN_EPARSE,
                       "a row of countdown needs nums (1 to %d integers) and target (an integer)", MAX_NUMS);
    }
    canonical(nums, n, target, out);
    return HN_OK;
}

static int64_t count(const void *priv, hn_split s) {
    const countdown *c = priv;
    return c->rows.file ? c->rows.n[s] : -1;
}

static int open_task(void *priv, hn_err *e) {
    countdown *c = priv;
    if (c->file) return hn_dealt_open(&c->rows, "countdown", c->file, c->split, problem, c, e);
    if (c->min_nums > c->max_nums) {
        return hn_fail(e, HN_ERANGE, "task_min_nums is larger than task_max_nums (%lld > %lld)",
                       (long long)c->min_nums, (long long)c->max_nums);
    }
    for (hn_split s = 0; s < HN_SPLITS; s++) { /* no split may be empty */
        hn_item it = { 0 };
        int rc = item(priv, s, 0, 0, &it, e);
        hn_item_release(&it);
        if (rc) return rc;
    }
    return HN_OK;
}

static void close_task(void *priv) { hn_dealt_close(&((countdown *)priv)->rows); }

static void about(const void *priv, hn_buf *out) {
    const countdown *c = priv;
    if (c->rows.file) {
        hn_dealt_about(&c->rows, "countdown", out);
        return;
    }
    hn_buf_fmt(out, "countdown: generated, %lld to %lld numbers up to %lld, targets up to %lld",
               (long long)c->min_nums, (long long)c->max_nums, (long long)c->max_number,
               (long long)c->max_target);
}

const hn_task hn_task_countdown = {
    .name = "countdown",
    .help = "reach a target with given numbers and + - * /; the answer is the expression after ####",
    .priv_size = sizeof(countdown),
    .opts = options,
    .open = open_task,
    .close = close_task,
    .count = count,
    .item = item,
    .verify = verify,
    .about = about,
};
