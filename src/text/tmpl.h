/* tmpl.h - inside of the template engine (template.h): syntax tree, values, one rendering.
 *
 * tm_ names are shared by the tmpl_*.c files and by nobody else.  A function that can fail
 * returns false (or NULL) after the error was recorded in the run or parser it was given.
 * All memory of a rendering lies in one arena that dies with it, so values are never freed. */
#ifndef HN_TMPL_H
#define HN_TMPL_H

#include "text/template.h"

/* ---- provenance: where bytes come from ---- */
enum { TM_NOFIELD, TM_ROLE, TM_CONTENT, TM_OTHER }; /* which key of its message */
typedef struct tm_org {
    int32_t message, turn, line; /* see hn_tmpl_span; line 0: not written yet */
    uint8_t field;
    bool gen;
} tm_org;
typedef struct tm_seg { /* bytes from the previous end up to `end` */
    size_t end;
    tm_org org;
} tm_seg;
extern const tm_org tm_nowhere; /* text of the template itself */

/* ---- values ---- */
typedef struct tm_run tm_run;
typedef struct tm_node tm_node;
typedef struct tm_fn tm_fn;
typedef struct tm_frame tm_frame;

/* An immutable string: UTF-8 bytes with the origin of each.  A concatenation keeps its halves
 * until somebody wants the bytes in one piece (p == NULL until then). */
typedef struct tm_str tm_str;
struct tm_str {
    const char *p;
    size_t n;
    int64_t chars; /* code points: what Python counts */
    int64_t n_seg;
    const tm_seg *seg; /* NULL: all bytes are of `org` */
    tm_org org;
    int32_t depth; /* of the tree of halves */
    bool safe;     /* Python's Markup: `|safe` made it */
    tm_str *left, *right;
};

typedef enum tm_kind {
    TM_ABSENT, /* an argument that was not given */
    TM_UNDEF,
    TM_NONE,
    TM_BOOL,
    TM_INT,
    TM_FLOAT,
    TM_STR,
    TM_LIST,
    TM_TUPLE,
    TM_RANGE, /* a list that prints as range(...) */
    TM_VIEW,  /* dict.keys(), .values(), .items() */
    TM_ITER,  /* a generator: what is left of a list */
    TM_DICT,
    TM_NS,
    TM_LOOP,
    TM_MACRO,
    TM_CYCLER, /* u.l: its items, at: the current one */
    TM_JOINER, /* u.l: its separator, at: was called */
    TM_FN,     /* a global function */
    TM_METHOD  /* a method and its object */
} tm_kind;

typedef struct tm_val {
    tm_kind kind;
    union {
        bool b;
        int64_t i;
        double f;
        tm_str *s;
        struct tm_list *l;
        struct tm_dict *d; /* TM_DICT, TM_NS */
        struct tm_loop *loop;
        struct tm_macro *macro;
        struct tm_method *method;
        const tm_fn *fn;
        const char *name; /* TM_UNDEF: what was looked up, for messages */
    } u;
} tm_val;

typedef struct tm_list {
    tm_val *v;
    int64_t n;
    int64_t at;        /* TM_ITER: next item */
    const char *label; /* TM_VIEW: how it prints; TM_TUPLE: set for a group, which has .grouper and .list */
    hn_err *why;       /* TM_ITER: what fails when somebody asks for more than is there */
    int64_t start, stop, step;
    tm_org org;
} tm_list;

typedef struct tm_dict { /* in order of insertion */
    tm_val *k, *v;
    int64_t n, cap;
    tm_org org;
} tm_dict;

typedef struct tm_macro {
    const tm_node *node; /* N_MACRO or N_CALLBLOCK */
    tm_frame *frame;     /* where it was defined: its free variables */
} tm_macro;

typedef struct tm_method {
    tm_val self;
    const tm_fn *fn;
} tm_method;

/* One {% for %} under way.  Items are pulled one ahead only when somebody looks (loop.last,
 * loop.nextitem), as jinja2 does, for the filter of the loop may have side effects. */
typedef struct tm_loop {
    tm_run *run;
    const tm_node *node;
    tm_frame *frame; /* of the statement: the filter sees it and the target */
    tm_val *v;
    int64_t n, at; /* source items; at: next to pull */
    int64_t index0;
    tm_val prev, cur, next; /* TM_ABSENT: none */
    int64_t length;         /* -1: not known yet */
    bool filtered;          /* v holds only what passed */
    int64_t depth0;         /* how many loops of the same statement are around it */
    tm_val changed;
} tm_loop;

/* ---- functions, filters, methods, tests ---- */
typedef struct tm_args {
    tm_val *v;
    int n;
    const char **kw;
    tm_val *kwv;
    int n_kw;
} tm_args;
enum { TM_MAX_PARAM = 6 };
typedef struct tm_call { /* one call, arguments bound */
    const tm_fn *fn;
    tm_val self; /* filters, tests: the value before the bar; methods: the object */
    tm_val a[TM_MAX_PARAM];
    const tm_args *raw;
} tm_call;
typedef bool tm_impl(tm_run *r, const tm_call *c, tm_val *out);
struct tm_fn {
    const char *name;
    const char *params; /* names separated by a space; "*": takes c->raw as it is */
    int need;           /* how many must be given */
    tm_impl *impl;
    int arg; /* for implementations that serve several names */
};
const tm_fn *tm_filter_find(const char *name);
const tm_fn *tm_seq_filter_find(const char *name); /* those of tmpl_seq.c */
const tm_fn *tm_test_find(const char *name);
const tm_fn *tm_global_find(const char *name);
const tm_fn *tm_method_find(tm_kind kind, const char *name);
bool tm_fn_call(tm_run *r, const tm_fn *fn, const char *what, tm_val self, const tm_args *args, tm_val *out);

/* ---- syntax tree ---- */
typedef enum tm_nkind {
    N_TEXT,     /* k */
    N_OUT,      /* a values */
    N_IF,       /* a cond, b then, c else (op 1: an elif) */
    N_FOR,      /* a target, b iterable, c body, d filter, e else; op: recursive */
    N_SET,      /* a target, b value */
    N_SETBLOCK, /* a target, b body, c filter chain on N_HOLE or NULL */
    N_MACRO,    /* name, a parameters (N_KW name, a default), b body, op: TM_VARARGS... */
    N_CALLBLOCK,
    N_FILTERBLOCK, /* a filter chain, b body */
    N_WITH,        /* a N_KW (a value, b target), b body */
    N_BREAK,
    N_CONTINUE,
    N_GENERATION, /* b body */
    N_CONST,      /* k */
    N_NAME,
    N_NSREF, /* name.str: target of set */
    N_LIST,  /* a items */
    N_TUPLE,
    N_DICT, /* a N_PAIR (a key, b value) */
    N_PAIR,
    N_COND, /* a if b else c */
    N_OR,
    N_AND,
    N_NOT,
    N_COMPARE, /* a, then c: N_CMP op a */
    N_CMP,
    N_BIN, /* a op b */
    N_NEG,
    N_POS,
    N_CONCAT, /* a items */
    N_FILTER, /* a subject, b arguments, name, fn */
    N_TEST,
    N_CALL,  /* a callee, b arguments */
    N_ATTR,  /* a.name */
    N_ITEM,  /* a[b] */
    N_SLICE, /* a:b:c, inside N_ITEM */
    N_KW,
    N_STAR,
    N_DSTAR,
    N_HOLE /* what a filter block filters */
} tm_nkind;

/* Names that a scope starts with as undefined (tmpl_scope.c). */
typedef struct tm_hidden {
    const char *name;
    struct tm_hidden *next;
} tm_hidden;

enum { TM_VARARGS = 1, TM_KWARGS = 2, TM_CALLER = 4 }; /* what the body of a macro mentions */

struct tm_node {
    tm_nkind kind;
    int op, line;
    const char *name, *attr;
    const tm_fn *fn;
    tm_val k;
    tm_node *a, *b, *c, *d, *e;
    tm_hidden *hidden, *hidden_else; /* of the body; of the else of a for */
    tm_node *next;                   /* in a list of statements, items or arguments */
};

/* ---- tokens ---- */
typedef enum tm_tok_kind {
    T_EOF,
    T_DATA,
    T_VAR,
    T_VAR_END,
    T_BLOCK,
    T_BLOCK_END,
    T_NAME,
    T_STR,
    T_INT,
    T_FLOAT,
    T_ADD,
    T_SUB,
    T_MUL,
    T_DIV,
    T_FLOORDIV,
    T_MOD,
    T_POW,
    T_TILDE,
    T_LBRACKET,
    T_RBRACKET,
    T_LPAREN,
    T_RPAREN,
    T_LBRACE,
    T_RBRACE,
    T_EQ,
    T_NE,
    T_GT,
    T_GE,
    T_LT,
    T_LE,
    T_ASSIGN,
    T_DOT,
    T_COLON,
    T_PIPE,
    T_COMMA,
    T_SEMI,
    T_IN, /* operators of N_CMP that are words */
    T_NOTIN
} tm_tok_kind;

typedef struct tm_tok {
    tm_tok_kind kind;
    int line;
    const char *p; /* T_STR: between the quotes, escapes not undone */
    size_t n;
} tm_tok;

struct hn_tmpl {
    hn_arena *mem;
    char *name;
    tm_node *body;
    tm_hidden *hidden;
};

/* A text under translation. */
typedef struct tm_parser {
    hn_arena *mem;
    const char *name;
    hn_err *e;
    tm_tok *tok; /* ends with T_EOF */
    int64_t n_tok, cap_tok, at;
    int depth, loops;       /* nesting of expressions; of loops a break could leave */
    int maybe;              /* nesting of ifs: what stands there may never be reached */
    const tm_node *unknown; /* the first filter or test nobody knows that will be reached */
} tm_parser;
bool tm_parse_fail(tm_parser *p, int line, int code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
bool tm_lex(tm_parser *p, const char *src, size_t n);
tm_node *tm_node_new(tm_parser *p, tm_nkind kind, int line);
bool tm_find_hidden(tm_parser *p, tm_node *body, tm_hidden **hidden);
bool tm_tok_is_name(const tm_parser *p, const char *name);
bool tm_skip(tm_parser *p, tm_tok_kind kind);
bool tm_skip_name(tm_parser *p, const char *name);
bool tm_expect(tm_parser *p, tm_tok_kind kind);
const char *tm_tok_text(const tm_parser *p, char buf[64]);
char *tm_expect_name(tm_parser *p);
tm_node *tm_parse_expr(tm_parser *p, bool with_cond);
/* Expressions separated by commas are a tuple.  After a comma every word is one more of them: jinja2 does not
 * let `in` or `recursive` end it there. */
tm_node *tm_parse_tuple(tm_parser *p, bool with_cond, bool in_parens);
tm_node *tm_parse_target(tm_parser *p, bool allow_ns);
bool tm_parse_known(tm_parser *p); /* fails when there is an unknown filter or test */
bool tm_parse_args(tm_parser *p, tm_node **args);
tm_node *tm_parse_filters(tm_parser *p, tm_node *subject, bool first_named);
bool tm_str_const(tm_parser *p, const char *s, size_t n, tm_val *out);

/* ---- one rendering ---- */
typedef struct tm_sb { /* a string being built */
    tm_run *r;
    char *p;
    size_t n, cap;
    int64_t chars;
    tm_seg *seg;
    int64_t n_seg, cap_seg;
    bool bad; /* an addition failed (recorded in the run) */
} tm_sb;

typedef struct tm_var {
    const char *name;
    tm_val v;
    struct tm_var *next;
} tm_var;
struct tm_frame {
    tm_frame *up;
    tm_var *vars;
};

enum { TM_NO_JUMP, TM_JUMP_BREAK, TM_JUMP_CONTINUE };
struct tm_run {
    const hn_tmpl *t;
    hn_tmpl_opts opts;
    hn_err *e;
    hn_arena *mem;
    char *bump;
    size_t bump_left, used;
    int64_t steps;
    int depth, line, jump, loops;
    int32_t turn;
    bool gen;
    tm_frame *frame;
    tm_sb *out;
    tm_str *hole; /* what the filter block under way filters */
};
bool tm_fail(tm_run *r, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void *tm_get(tm_run *r, size_t n);       /* zeroed; NULL after recording the failure */
bool tm_charge(tm_run *r, size_t steps); /* counts work */
bool tm_enter(tm_run *r);                /* one level deeper; tm_leave after success or failure within */
void tm_leave(tm_run *r);

/* values (tmpl_value.c) */
const char *tm_kind_name(const tm_val *v); /* Python's name of the type */
bool tm_truth(const tm_val *v);
bool tm_is_seq(const tm_val *v); /* has u.l and can be iterated over */
bool tm_iter_ends(tm_run *r, tm_list *l,
                  int64_t n); /* a failure ends a generator after n items: kept for later */
bool tm_equal(tm_run *r, const tm_val *a, const tm_val *b, bool *eq);
bool tm_order(tm_run *r, const tm_val *a, const tm_val *b, const char *op, int *order);
bool tm_hashable(tm_run *r, const tm_val *v); /* can be a key */
bool tm_contains(tm_run *r, const tm_val *box, const tm_val *item, bool *in);
bool tm_items(tm_run *r, const tm_val *v, tm_val **items, int64_t *n); /* what iterating over v gives */
bool tm_length(tm_run *r, const tm_val *v, int64_t *n);
bool tm_list_new(tm_run *r, tm_kind kind, int64_t n, tm_val *out);
bool tm_dict_new(tm_run *r, int64_t cap, tm_val *out);
tm_val *tm_dict_find(tm_run *r, const tm_dict *d, const tm_val *key); /* NULL: none */
tm_val *tm_dict_get(const tm_dict *d, const char *key);
bool tm_dict_put(tm_run *r, tm_dict *d, const tm_val *key, const tm_val *v);
bool tm_from_json(tm_run *r, json_t *j, tm_org org, tm_val *out);
tm_val tm_none(void);
tm_val tm_bool(bool b);
tm_val tm_int(int64_t i);
tm_val tm_float(double f);
tm_val tm_undef(const char *name);
tm_val tm_of_str(tm_str *s);

/* strings (tmpl_str.c) */
tm_str *tm_str_new(tm_run *r, const char *p, size_t n, tm_org org); /* does not copy */
bool tm_str_val(tm_run *r, const char *p, size_t n, tm_org org, tm_val *out);
const char *tm_flat(tm_run *r, tm_str *s); /* its bytes in one piece; NULL: out of memory */
tm_org tm_org_at(const tm_str *s, size_t byte);
tm_str *tm_str_sub(tm_run *r, tm_str *s, size_t begin, size_t end);
tm_str *tm_str_mark(tm_run *r, tm_str *s, bool safe); /* s itself, or a copy that is (not) Markup */
tm_str *tm_str_cat(tm_run *r, tm_str *a, tm_str *b);
size_t tm_char_at(const tm_str *s, int64_t i); /* byte offset of code point i (flat strings) */
bool tm_sb_add(tm_sb *b, const char *p, size_t n, tm_org org);
bool tm_sb_str(tm_sb *b, tm_str *s);
bool tm_sb_cstr(tm_sb *b, const char *p, tm_org org);
bool tm_sb_take(tm_sb *b, tm_val *out);
int64_t tm_count_chars(const char *p, size_t n);
int tm_utf8(const char *p, const char *end, int32_t *cp); /* length of the code point at p */
bool tm_is_space(int32_t cp);                             /* Python's str.isspace */
size_t tm_lspace(const char *p, size_t n);                /* bytes of white space at the start / end */
size_t tm_rspace(const char *p, size_t n);
int64_t tm_find(const char *p, size_t n, const char *q, size_t m, size_t from); /* -1: not there */

typedef enum tm_case {
    TM_LOWER,
    TM_UPPER,
    TM_TITLE,
    TM_TITLE_WORDS,
    TM_CAPITALIZE,
    TM_SWAP,
    TM_FOLD
} tm_case;
bool tm_map_case(tm_run *r, tm_str *s, tm_case mode, tm_val *out);
enum {
    TM_IS_ALPHA,
    TM_IS_ALNUM,
    TM_IS_DIGIT,
    TM_IS_DECIMAL,
    TM_IS_NUMERIC,
    TM_IS_SPACE,
    TM_IS_ASCII,
    TM_IS_PRINTABLE
};
tm_impl tm_method_case, tm_method_class, tm_method_is_case, tm_method_is_title, tm_method_is_identifier;
tm_impl tm_method_pad, tm_method_zfill, tm_method_tabs, tm_filter_center, tm_filter_truncate,
    tm_filter_urlencode;
bool tm_is_printable(int32_t cp); /* Python's repr shows it as it is */
bool tm_strip(tm_run *r, const tm_call *c, tm_val *out);
bool tm_replace(tm_run *r, tm_str *s, tm_str *old, tm_str *new_, int64_t max, tm_val *out);
tm_str *tm_escape(tm_run *r, tm_str *s); /* for HTML */
bool tm_is_word(int32_t cp);             /* a letter or digit */
size_t tm_line_break(const char *p, size_t n);
bool tm_lines(tm_run *r, tm_str *s, bool keep, tm_val *out); /* splitlines */
bool tm_pairs(tm_run *r, const tm_dict *d, tm_val *out);     /* [(key, value)] */

bool tm_format(tm_run *r, tm_str *s, const tm_val *v, tm_val *out); /* s % v */
bool tm_filter_format(tm_run *r, const tm_call *c, tm_val *out);
bool tm_method_format(tm_run *r, const tm_call *c, tm_val *out);

typedef struct tm_spec {                    /* a format specification (tmpl_spec.c) */
    char fill[5], align, sign, group, type; /* 0: not given */
    size_t n_fill;
    bool alt, zero;
    int64_t width, precision; /* precision < 0: not given */
} tm_spec;
bool tm_spec_parse(tm_run *r, const char *p, size_t n, tm_spec *s);
bool tm_spec_int(tm_run *r, int64_t i, const tm_spec *s, tm_sb *b);
bool tm_spec_float(tm_run *r, double f, const tm_spec *s, tm_sb *b);
bool tm_spec_str(tm_run *r, tm_str *v, const tm_spec *s, tm_sb *b);
bool tm_spec_put(tm_run *r, const tm_val *v, const char *p, size_t n, tm_sb *b); /* format(v, spec) */

/* printing (tmpl_print.c) */
bool tm_print(tm_run *r, const tm_val *v, tm_str **out);        /* Python's str() */
bool tm_repr(tm_run *r, const tm_val *v, tm_org org, tm_sb *b); /* org: of a number, none... */
void tm_float_repr(double f, char buf[40]);
typedef struct tm_json { /* how to dump */
    tm_sb *b;
    const char *indent, *comma, *colon; /* indent NULL: on one line */
    size_t n_indent, n_comma, n_colon;
    bool ascii, sort;
    tm_org org; /* of numbers at this level */
} tm_json;
bool tm_json_dump(tm_run *r, const tm_val *v, const tm_json *j, int level);
bool tm_sorted_pairs(tm_run *r, const tm_dict *d, tm_val *out); /* [(key, value)] by key */

/* evaluation (tmpl_eval.c, tmpl_exec.c) */
bool tm_eval(tm_run *r, const tm_node *n, tm_val *out);
bool tm_undefined(tm_run *r, const tm_val *v); /* fails: v is undefined */
bool tm_attr(tm_run *r, const tm_val *v, const char *name, tm_val *out);
bool tm_item(tm_run *r, const tm_val *v, const tm_val *key, tm_val *out);
bool tm_binary(tm_run *r, int op, const tm_val *a, const tm_val *b, tm_val *out);
bool tm_call_value(tm_run *r, const tm_val *callee, const tm_args *args, tm_val *out);
bool tm_args_eval(tm_run *r, const tm_node *list, tm_args *args);
bool tm_exec(tm_run *r, const tm_node *list);
bool tm_exec_in(tm_run *r, tm_frame *up, const tm_hidden *hidden, const tm_node *list); /* in a new scope */
bool tm_macro_call(tm_run *r, const tm_macro *m, const tm_args *args, tm_val *out);
bool tm_loop_attr(tm_run *r, tm_loop *l, const char *name, tm_val *out);
bool tm_loop_call(tm_run *r, tm_loop *l, const tm_args *args, tm_val *out); /* loop(items), when recursive */
bool tm_loop_length(tm_loop *l);
bool tm_frame_set(tm_run *r, tm_frame *f, const char *name, const tm_val *v);
bool tm_lookup(tm_run *r, const tm_node *name, tm_val *out);

#endif
