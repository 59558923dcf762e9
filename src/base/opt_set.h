/* opt_set.h - what an option set is made of; shared by opt.c, opt_yaml.c and opt_show.c only. */
#ifndef HN_OPT_SET_H
#define HN_OPT_SET_H

#include "base/opt.h"

enum { RANK_DEFAULT, RANK_FILE, RANK_FLAG }; /* the higher wins */

/* One thing the user said, kept until a table knows its key. */
typedef struct hn_given {
    const char *key;   /* normalized: no dashes */
    const char *where; /* opens a message: "--lr" or "run.yaml:3: lr" */
    hn_strs vals;      /* n = 0 and !list: a bare flag */
    bool list;         /* a YAML list: items are whole, never split at commas */
    int rank, at;      /* at: index in argv of a value that stood apart, else -1 */
    int file, line;    /* number of the YAML file (0: none) and line */
    bool used;
} hn_given;

typedef struct hn_group {
    const char *title;
    const hn_opt *table;
    char *fields; /* the struct the table describes */
    int *rank;    /* [options] where the present value came from */
} hn_group;

typedef struct hn_pair {
    const char *name, *means;
} hn_pair;

struct hn_optset {
    hn_arena *arena;
    hn_group *group;
    hn_pair *alias, *ignored;
    hn_given *given;
    const char **word, **warning;
    int *word_at;      /* argv index of each word: values that turn out to be words go back in order */
    bool plain_config; /* hn_optset_plain_config */
    int64_t n_group, n_alias, n_ignored, n_given, n_word, n_warning, n_file;
    int64_t cap_group, cap_alias, cap_ignored, cap_given, cap_word, cap_word_at, cap_warning;
};

/* Strings of the set; NULL when out of memory (the message is in e). */
const char *hn_optset_str(hn_optset *s, hn_err *e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The key without dashes, aliases resolved. */
const char *hn_optset_key(hn_optset *s, const char *name, hn_err *e);
int hn_optset_warn(hn_optset *s, const char *text, hn_err *e);
int hn_optset_give(hn_optset *s, const hn_given *g, hn_err *e);
int hn_optset_push(hn_optset *s, hn_strs *list, const char *text, hn_err *e);
/* Gives every known key its value; unknown ones stay. */
int hn_optset_settle(hn_optset *s, hn_err *e);
int hn_optset_load(hn_optset *s, const char *path, hn_err *e); /* YAML without settling */
bool hn_opt_word_is_bool(const char *text, bool *value);
#endif
