/* opt.h - one table of options is the command line, the config file, the help text and the run record.
 *
 * Names are TRL's, with underscores; in flags `-` and `_` are the same.  An unknown name is an
 * error that shows the nearest one.  Values are strings until a table says what they are. */
#ifndef HN_OPT_H
#define HN_OPT_H

#include "base/base.h"

typedef enum {
    HN_OPT_END,
    HN_OPT_INT,  /* int64_t field */
    HN_OPT_NUM,  /* double field */
    HN_OPT_BOOL, /* bool field: --x, --no_x, --x true|false */
    HN_OPT_STR,  /* const char * field; NULL when not given and sdef is NULL */
    HN_OPT_ENUM, /* int field: index into `choices`, "a|b|c" */
    HN_OPT_LIST  /* hn_strs field: given several times, as a YAML list, or as a,b,c (`\,`: a comma) */
} hn_opt_type;

typedef struct hn_strs {
    const char **s;
    int n;
} hn_strs;

typedef struct hn_opt {
    const char *name, *help;
    hn_opt_type type;
    size_t at;            /* offsetof(struct, field) */
    double def, min, max; /* INT, NUM, BOOL, and the index for ENUM; limits hold where min < max */
    const char *sdef;     /* STR, LIST (a,b,c) */
    const char *choices;  /* ENUM */
} hn_opt;

/* A command's options are several tables over several structs: its own, the learner's, the model's. */
typedef struct hn_optset hn_optset;
hn_optset *hn_optset_new(void); /* owns all strings it hands out */
void hn_optset_free(hn_optset *s);
/* `title` heads the group in help; `fields` is the struct the table describes.  Fields are set to their
 * defaults, then to what was given.  Later tables may be added after the first parse (a task's own
 * options once --task is known).  A name that is already in another table is HN_EUNSUP.  Title, table, fields
 * and the names given to alias and ignored must outlive the set. */
int hn_optset_add(hn_optset *s, const char *title, const hn_opt *table, void *fields, hn_err *e);
/* `alias` means `name` everywhere (model_name_or_path -> model). */
int hn_optset_alias(hn_optset *s, const char *alias, const char *name, hn_err *e);
/* A key known from peers that means nothing here: accepted with a warning, value ignored. */
int hn_optset_ignored(hn_optset *s, const char *name, const char *why, hn_err *e);

/* Collects argv (argv[0] is the first flag or word, not the program's name): `--key value`, `--key=value`,
 * `--flag`, `--no_flag`, `--` before words that start with a dash, `-h` for --help.  Where --config names
 * one, the YAML file is read as well; flags win.  A file is one flat mapping (values: scalars and lists,
 * null leaves the default); a second value for a key is an error there and a warning among flags.
 * Values whose key no table knows yet are kept until hn_optset_done.  HN_EPARSE and HN_ERANGE
 * messages start with the flag or file:line: key. */
int hn_optset_args(hn_optset *s, int argc, char **argv, hn_err *e);
/* From now on --config is an option like any other, whose file the command reads itself. */
void hn_optset_plain_config(hn_optset *s);
int hn_optset_yaml(hn_optset *s, const char *path, hn_err *e);
/* Like a line of a config file, except that it may replace one. */
int hn_optset_set(hn_optset *s, const char *key, const char *val, hn_err *e);
/* Every given key must have found its table by now: else the error names it and the nearest. */
int hn_optset_done(hn_optset *s, hn_err *e);
bool hn_optset_given(const hn_optset *s, const char *name);     /* by flag or file, not default */
int hn_optset_words(const hn_optset *s, const char *const **w); /* positional words */
void hn_optset_help(const hn_optset *s, hn_buf *out);
/* All values as one JSON object, keys sorted, numbers in the fewest digits that read back the same. */
void hn_optset_json(const hn_optset *s, hn_buf *out);
int hn_optset_warnings(const hn_optset *s, const char *const **w);

/* The entry of `list` (n names) nearest to `word` by edit distance, or NULL when none is near. */
const char *hn_nearest(const char *word, const char *const *list, int n);

/* Every pluggable thing starts with this, so one loader, one help page and one config reader serve
 * algorithms, methods, tasks and games alike. */
#define HN_PLUGIN                                                                                            \
    const char *name, *help;                                                                                 \
    size_t priv_size; /* zeroed, then options filled in, before open() */                                    \
    const hn_opt *opts
#endif
