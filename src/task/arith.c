/* arith.c - word problems of several steps, made up on the spot, with worked steps.
 *
 * A problem is a start number and a chain of (operation, operand); the answer is the end of the
 * chain.  It is told either as a story of one owner ("Tom has 12 apples. He buys 7 more. ...") or as a
 * chain of comparisons ("Tom has 12 apples. Ann has 7 more than Tom. ...").  The words are few on
 * purpose, so that a model of a million parameters can learn them.
 *
 * The split is a hash of the numbers and operations alone: the same sum in other words is still in the
 * same split. */
#include "task/task.h"

#include <string.h>

enum { MAX_STEPS = 12, TRIES = 20000 };

static const char op_order[] = "+-*/";

typedef struct arith {
    int64_t min_steps, max_steps, max_number, max_factor;
    const char *ops;
    int form;
} arith;

static const hn_opt options[] = {
    { "task_min_steps", "fewest steps of a problem", HN_OPT_INT, offsetof(arith, min_steps), 2, 1,
      MAX_STEPS },
    { "task_max_steps", "most steps of a problem", HN_OPT_INT, offsetof(arith, max_steps), 3, 1, MAX_STEPS },
    { "task_max_number", "no number of a problem is larger", HN_OPT_INT, offsetof(arith, max_number), 50, 4,
      1e9 },
    { "task_max_factor", "largest number to multiply or divide by", HN_OPT_INT, offsetof(arith, max_factor),
      5, 2, 1000 },
    { "task_ops", "the operations that may occur", HN_OPT_STR, offsetof(arith, ops), .sdef = "+-*/" },
    { "task_form", "prompts as plain text or as chat messages", HN_OPT_ENUM, offsetof(arith, form), 0,
      .choices = "text|messages" },
    { 0 },
};

typedef struct step {
    char op;
    int64_t by, value; /* operand, and the value after the step */
} step;

typedef struct problem {
    int64_t start;
    int n;
    step s[MAX_STEPS];
} problem;

/* ---- the chain ---- */
/* A random divisor of x in [2, max_factor], or 0. */
static int64_t divisor(hn_dice *d, int64_t x, int64_t max_factor) {
    int64_t pick = 0, seen = 0;
    for (int64_t f = 2; f <= max_factor && f <= x; f++) {
        if (x % f == 0 && hn_dice_roll(d, ++seen) == 0) pick = f;
    }
    return pick;
}

/* One step from x.  false: none of the operations fits. */
static bool draw_step(const arith *a, hn_dice *d, int64_t x, step *out) {
    int64_t factor = a->max_number / x < a->max_factor ? a->max_number / x : a->max_factor, div = 0;
    char fits[8];
    int n = 0;
    for (const char *op = a->ops; *op; op++) {
        if ((*op == '+' && x < a->max_number) || (*op == '-' && x > 1) || (*op == '*' && factor >= 2) ||
            (*op == '/' && (div = divisor(d, x, a->max_factor)))) {
            fits[n++] = *op;
        }
    }
    if (!n) return false;
    out->op = fits[hn_dice_roll(d, n)];
    switch (out->op) {
    case '+': out->value = x + (out->by = 1 + hn_dice_roll(d, a->max_number - x)); break;
    case '-': out->value = x - (out->by = 1 + hn_dice_roll(d, x - 1)); break;
    case '*': out->value = x * (out->by = 2 + hn_dice_roll(d, factor - 1)); break;
    default: out->value = x / (out->by = div); break;
    }
    return true;
}

static bool draw_chain(const arith *a, hn_dice *d, problem *p) {
    p->n = (int)(a->min_steps + hn_dice_roll(d, a->max_steps - a->min_steps + 1));
    p->start = 2 + hn_dice_roll(d, a->max_number - 1);
    int64_t x = p->start;
    for (int i = 0; i < p->n; i++) {
        if (!draw_step(a, d, x, &p->s[i])) return false;
        x = p->s[i].value;
    }
    return true;
}

/* The problem without its words: what the split and the id are made of. */
static void canonical(const problem *p, hn_buf *b) {
    hn_buf_fmt(b, "%lld", (long long)p->start);
    for (int i = 0; i < p->n; i++) hn_buf_fmt(b, "%c%lld", p->s[i].op, (long long)p->s[i].by);
}

/* Draws until the problem belongs to the split.  *canon is the caller's. */
static int draw(const arith *a, hn_split s, hn_dice *d, problem *p, hn_buf *canon, hn_err *e) {
    for (int i = 0; i < TRIES; i++) {
        if (!draw_chain(a, d, p)) continue;
        hn_buf_clear(canon);
        canonical(p, canon);
        if (canon->oom) return hn_fail(e, HN_ENOMEM, "out of memory for an item");
        if (hn_split_of(hn_task_hash(canon->data, canon->n)) == s) return HN_OK;
    }
    return hn_fail(e, HN_ERANGE,
                   "arith: no problem of the %s split found with task_ops=%s, task_max_number=%lld, "
                   "task_max_steps=%lld: raise the numbers or the steps",
                   hn_split_name(s), a->ops, (long long)a->max_number, (long long)a->max_steps);
}

/* ---- the words ----
 * In a sentence {p} is a person, {h} He or She, {o} another person, {n} the number, {t} the thing. */
static const struct person {
    const char *name, *he;
} people[] = { { "Tom", "He" }, { "Ann", "She" }, { "Sam", "He" }, { "Mia", "She" },
               { "Ben", "He" }, { "Eva", "She" }, { "Max", "He" }, { "Zoe", "She" } };
static const char *const things[] = {
    "apples", "books", "coins", "pens", "cards", "eggs", "stamps", "shells"
};
enum { PEOPLE = sizeof people / sizeof *people, THINGS = sizeof things / sizeof *things, SAYINGS = 3 };

static const char *const story[][SAYINGS] = {
    { "{h} buys {n} more.", "{h} finds {n} more {t}.", "{o} gives {n} {t} to {p}." },
    { "{h} loses {n}.", "{h} gives {n} {t} to {o}.", "{h} sells {n} of the {t}." },
    { "Then {h} gets {n} times as many.", "Now {p} has {n} times as many {t}.",
      "{h} makes it {n} times as many." },
    { "{h} makes {n} equal groups and keeps one.", "{h} shares the {t} with {n} in all and keeps one part.",
      "{h} puts them in {n} equal boxes and keeps one box." },
};
static const char *const compare[][SAYINGS] = {
    { "{p} has {n} more {t} than {o}.", "{p} has {n} more than {o}.", "{o} has {n} less than {p}." },
    { "{p} has {n} less {t} than {o}.", "{p} has {n} less than {o}.", "{o} has {n} more than {p}." },
    { "{p} has {n} times as many {t} as {o}.", "{p} has {n} times as many as {o}.",
      "{p} has {n} for each one that {o} has." },
    { "{o} has {n} times as many {t} as {p}.", "{o} has {n} times as many as {p}.",
      "{o} has {n} equal groups and {p} has as many as one group." },
};

typedef struct words {
    const struct person *p, *o;
    const char *thing;
    int64_t n;
} words;

static void tell(hn_buf *b, const char *sentence, const words *w) {
    for (const char *c = sentence; *c; c++) {
        if (*c != '{') {
            hn_buf_chr(b, *c);
            continue;
        }
        switch (c[1]) {
        case 'p': hn_buf_str(b, w->p->name); break;
        case 'o': hn_buf_str(b, w->o->name); break;
        case 'h': hn_buf_str(b, w->p->he); break;
        case 't': hn_buf_str(b, w->thing); break;
        default: hn_buf_fmt(b, "%lld", (long long)w->n); break;
        }
        c += 2;
    }
}

/* One owner and what happens, or a chain of persons each compared with the one before. */
static void tell_problem(hn_buf *b, hn_dice *d, const problem *p) {
    bool compares = hn_dice_roll(d, 2) == 0 && p->n < PEOPLE;
    uint64_t order = hn_rand(d->seed, d->stream, d->i++);
    words w = { .thing = things[hn_dice_roll(d, THINGS)], .n = p->start };
    w.p = &people[hn_permute(order, 0, PEOPLE, 0)];
    tell(b, "{p} has {n} {t}.", &w);
    for (int i = 0; i < p->n; i++) {
        const char *const(*says)[SAYINGS] = compares ? compare : story;
        const struct person *next = &people[hn_permute(order, 0, PEOPLE, (uint64_t)(i + 1) % PEOPLE)];
        w.o = compares ? w.p : next == w.p ? &people[hn_permute(order, 0, PEOPLE, 1)] : next;
        if (compares) w.p = next;
        w.n = p->s[i].by;
        hn_buf_chr(b, ' ');
        tell(b, says[strchr(op_order, p->s[i].op) - op_order][hn_dice_roll(d, SAYINGS)], &w);
    }
    tell(b, compares ? " How many {t} does {p} have?" : " How many {t} does {p} have now?", &w);
}

static void work_out(hn_buf *b, const problem *p) {
    long long x = p->start;
    for (int i = 0; i < p->n; i++) {
        const step *s = &p->s[i];
        hn_buf_fmt(b, "Step %d: %lld %c %lld = %lld\n", i + 1, x, s->op, (long long)s->by,
                   (long long)s->value);
        x = s->value;
    }
    hn_buf_fmt(b, "#### %lld", x);
}

/* ---- the task ---- */
static int item(const void *priv, hn_split s, uint64_t seed, int64_t i, hn_item *out, hn_err *e) {
    const arith *a = priv;
    hn_dice d = hn_dice_of("arith", s, seed, i);
    problem p;
    hn_buf canon = { 0 }, text = { 0 }, worked = { 0 }, answer = { 0 }, id = { 0 };
    int rc = draw(a, s, &d, &p, &canon, e);
    if (!rc) {
        tell_problem(&text, &d, &p);
        work_out(&worked, &p);
        hn_buf_fmt(&answer, "%lld", (long long)p.s[p.n - 1].value);
        hn_buf_fmt(&id, "arith:%s", canon.data);
        if (text.oom || worked.oom || answer.oom || id.oom)
            rc = hn_fail(e, HN_ENOMEM, "out of memory for an item");
    }
    out->answer = answer.data;
    out->id = id.data;
    if (!rc) rc = hn_item_ask(out, a->form, text.data, worked.data, e);
    if (rc) hn_item_release(out);
    hn_buf_free(&canon);
    hn_buf_free(&text);
    hn_buf_free(&worked);
    return rc;
}

static hn_verdict verify(const void *priv, const hn_item *it, const char *completion, size_t n,
                         double *reward, hn_err *why) {
    (void)priv;
    return hn_verdict_number(it, completion, n, "####", false, reward, why);
}

static int64_t count(const void *priv, hn_split s) {
    (void)priv;
    (void)s;
    return -1;
}

static int open_task(void *priv, hn_err *e) {
    const arith *a = priv;
    if (a->min_steps > a->max_steps) {
        return hn_fail(e, HN_ERANGE, "task_min_steps is larger than task_max_steps (%lld > %lld)",
                       (long long)a->min_steps, (long long)a->max_steps);
    }
    size_t n = strlen(a->ops);
    if (n == 0 || n > 4 || strspn(a->ops, op_order) != n) {
        return hn_fail(e, HN_EPARSE, "task_ops is '%s': give some of + - * /", a->ops);
    }
    for (hn_split s = 0; s < HN_SPLITS; s++) { /* no split may be empty */
        hn_item it = { 0 };
        int rc = item(priv, s, 0, 0, &it, e);
        hn_item_release(&it);
        if (rc) return rc;
    }
    return HN_OK;
}

static void close_task(void *priv) { (void)priv; }

static void about(const void *priv, hn_buf *out) {
    const arith *a = priv;
    hn_buf_fmt(out, "arith: generated, %lld to %lld steps of %s, numbers up to %lld", (long long)a->min_steps,
               (long long)a->max_steps, a->ops, (long long)a->max_number);
}

const hn_task hn_task_arith = {
    .name = "arith",
    .help = "generated word problems of several steps; the answer is the number after ####",
    .priv_size = sizeof(arith),
    .opts = options,
    .open = open_task,
    .close = close_task,
    .count = count,
    .item = item,
    .verify = verify,
    .about = about,
};
