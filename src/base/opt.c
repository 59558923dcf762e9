/* opt.c - options: what was said is kept as text until a table says what it means, then checked and set. */
#include "base/opt_set.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int no_memory(hn_err *e) { return hn_fail(e, HN_ENOMEM, "out of memory for options"); }

hn_optset *hn_optset_new(void) {
    hn_optset *s = hn_alloc(sizeof *s);
    if (s && !(s->arena = hn_arena_new(4096))) {
        hn_free(s);
        return NULL;
    }
    return s;
}

void hn_optset_free(hn_optset *s) {
    if (!s) return;
    hn_arena_free(s->arena);
    void *parts[] = { s->group, s->alias, s->ignored, s->given, s->word, s->word_at, s->warning };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) hn_free(parts[i]);
    hn_free(s);
}

const char *hn_optset_str(hn_optset *s, hn_err *e, const char *fmt, ...) {
    hn_buf b = { 0 };
    va_list ap;
    va_start(ap, fmt);
    hn_buf_vfmt(&b, fmt, ap);
    va_end(ap);
    const char *p = b.oom ? NULL : hn_arena_str(s->arena, b.data, b.n);
    hn_buf_free(&b);
    if (!p) no_memory(e);
    return p;
}

const char *hn_optset_key(hn_optset *s, const char *name, hn_err *e) {
    char *key = hn_arena_str(s->arena, name, strlen(name));
    if (!key) return no_memory(e), NULL;
    for (char *c = key; *c; c++)
        if (*c == '-') *c = '_';
    for (int64_t i = 0; i < s->n_alias; i++)
        if (!strcmp(s->alias[i].name, key)) return s->alias[i].means;
    return key;
}

int hn_optset_warn(hn_optset *s, const char *text, hn_err *e) {
    if (!text || hn_grow(&s->warning, &s->cap_warning, s->n_warning + 1, sizeof *s->warning))
        return no_memory(e);
    s->warning[s->n_warning++] = text;
    return HN_OK;
}

int hn_optset_give(hn_optset *s, const hn_given *g, hn_err *e) {
    if (hn_grow(&s->given, &s->cap_given, s->n_given + 1, sizeof *s->given)) return no_memory(e);
    s->given[s->n_given++] = *g;
    return HN_OK;
}

int hn_optset_push(hn_optset *s, hn_strs *list, const char *text, hn_err *e) {
    const char **grown = hn_arena_get(s->arena, ((size_t)list->n + 1) * sizeof *grown);
    if (!grown || !text) return no_memory(e);
    if (list->n) memcpy(grown, list->s, (size_t)list->n * sizeof *grown);
    grown[list->n++] = text;
    list->s = grown;
    return HN_OK;
}

/* ---- values ---- */
bool hn_opt_word_is_bool(const char *text, bool *value) {
    static const char *const yes[] = { "true", "yes", "1" }, *const no[] = { "false", "no", "0" };
    for (int i = 0; i < 3; i++) {
        if (!strcasecmp(text, yes[i])) return *value = true;
        if (!strcasecmp(text, no[i])) return !(*value = false);
    }
    return false;
}

/* Decimal notation only: strtod alone would take "inf", "nan" and hexadecimal. */
static bool is_number(const char *text, double *value) {
    char *end;
    if (!*text || text[strspn(text, "0123456789+-.eE")]) return false;
    *value = strtod(text, &end);
    return !*end && isfinite(*value);
}

static bool is_whole(const char *text, int64_t *value) {
    char *end;
    double x;
    if (!isdigit((unsigned char)text[strspn(text, "+-")])) return false;
    errno = 0;
    *value = strtoll(text, &end, 10);
    if (!*end && !errno) return true;
    /* 1e6 is a fine way to write a million */
    if (!is_number(text, &x) || x != floor(x) || fabs(x) > 0x1p53) return false;
    *value = (int64_t)x;
    return true;
}

static int in_range(const hn_opt *o, double x, const char *where, const char *text, hn_err *e) {
    if (!(o->min < o->max) || (x >= o->min && x <= o->max)) return HN_OK;
    if (o->max >= 1e18)
        return hn_fail(e, HN_ERANGE, "%s: %s is too small; at least %.15g", where, text, o->min);
    return hn_fail(e, HN_ERANGE, "%s: %s is out of range; from %.15g to %.15g", where, text, o->min, o->max);
}

static int set_enum(const hn_opt *o, int *field, const char *where, const char *text, hn_err *e) {
    int index = 0;
    size_t n = strlen(text);
    for (const char *c = o->choices; *c; index++) {
        size_t m = strcspn(c, "|");
        if (m == n && !memcmp(c, text, n)) return *field = index, HN_OK;
        c += m + (c[m] == '|');
    }
    return hn_fail(e, HN_EPARSE, "%s: \"%s\" is not one of %s", where, text, o->choices);
}

/* a,b,c; `\,` is a comma inside an item */
static int split(hn_optset *s, hn_strs *list, const char *text, hn_err *e) {
    if (!*text) return HN_OK;
    hn_buf item = { 0 };
    int rc = HN_OK;
    for (const char *c = text; !rc; c++) {
        if (*c && *c != ',') {
            if (*c == '\\' && c[1] == ',') c++;
            hn_buf_chr(&item, *c);
            continue;
        }
        rc = item.oom ? no_memory(e)
                      : hn_optset_push(s, list, hn_arena_str(s->arena, item.n ? item.data : "", item.n), e);
        hn_buf_clear(&item);
        if (!*c) break;
    }
    hn_buf_free(&item);
    return rc;
}

static int set_list(hn_optset *s, hn_strs *field, const hn_given *g, bool append, hn_err *e) {
    if (!append) *field = (hn_strs){ 0 };
    int rc = HN_OK;
    for (int i = 0; !rc && i < g->vals.n; i++)
        rc = g->list ? hn_optset_push(s, field, g->vals.s[i], e) : split(s, field, g->vals.s[i], e);
    return rc;
}

/* `at` may be a scratch field: a value that loses to a flag is checked all the same. */
static int set_one(const hn_opt *o, void *at, const char *where, const char *text, hn_err *e) {
    double x;
    int64_t i;
    switch (o->type) {
    case HN_OPT_INT:
        if (!is_whole(text, &i))
            return hn_fail(e, HN_EPARSE, "%s: \"%s\" is not a whole number", where, text);
        *(int64_t *)at = i;
        return in_range(o, (double)i, where, text, e);
    case HN_OPT_NUM:
        if (!is_number(text, &x)) return hn_fail(e, HN_EPARSE, "%s: \"%s\" is not a number", where, text);
        *(double *)at = x;
        return in_range(o, x, where, text, e);
    case HN_OPT_BOOL:
        if (hn_opt_word_is_bool(text, at)) return HN_OK;
        return hn_fail(e, HN_EPARSE, "%s: \"%s\" is not true or false", where, text);
    case HN_OPT_STR: *(const char **)at = text; return HN_OK;
    case HN_OPT_ENUM: return set_enum(o, at, where, text, e);
    default: hn_assert(!"option type"); return HN_EUNSUP;
    }
}

/* ---- what was given meets the tables ---- */
static const hn_opt *find_exact(const hn_optset *s, const char *key, hn_group **group) {
    for (int64_t g = 0; g < s->n_group; g++)
        for (const hn_opt *o = s->group[g].table; o->type != HN_OPT_END; o++)
            if (!strcmp(o->name, key)) return *group = &s->group[g], o;
    return NULL;
}

/* no_x is x turned off, where x is a BOOL and no option is called no_x. */
static const hn_opt *find(const hn_optset *s, const char *key, hn_group **group, bool *off) {
    const hn_opt *o = find_exact(s, key, group);
    *off = false;
    if (o || strncmp(key, "no_", 3)) return o;
    o = find_exact(s, key + 3, group);
    *off = true;
    return o && o->type == HN_OPT_BOOL ? o : NULL;
}

/* The value word of `--flag word` was a positional word after all. */
static int give_back(hn_optset *s, hn_given *g, hn_err *e) {
    if (hn_grow(&s->word, &s->cap_word, s->n_word + 1, sizeof *s->word) ||
        hn_grow(&s->word_at, &s->cap_word_at, s->n_word + 1, sizeof *s->word_at))
        return no_memory(e);
    int64_t i = s->n_word++;
    for (; i > 0 && s->word_at[i - 1] > g->at; i--)
        s->word[i] = s->word[i - 1], s->word_at[i] = s->word_at[i - 1];
    s->word[i] = g->vals.s[0], s->word_at[i] = g->at;
    g->vals = (hn_strs){ 0 };
    return HN_OK;
}

static int settle_bool(hn_optset *s, hn_given *g, bool off, bool *value, hn_err *e) {
    bool ignored;
    *value = true;
    if (g->at >= 0 && g->vals.n && (off || !hn_opt_word_is_bool(g->vals.s[0], &ignored)) &&
        give_back(s, g, e))
        return HN_ENOMEM;
    if (off && g->vals.n) return hn_fail(e, HN_EPARSE, "%s: takes no value", g->where);
    if (g->vals.n && !hn_opt_word_is_bool(g->vals.s[0], value))
        return hn_fail(e, HN_EPARSE, "%s: \"%s\" is not true or false", g->where, g->vals.s[0]);
    if (off) *value = false;
    return HN_OK;
}

static int settle_one(hn_optset *s, hn_given *g, hn_err *e) {
    hn_group *group;
    bool off;
    const hn_opt *o = find(s, g->key, &group, &off);
    if (!o) return HN_OK;
    int *rank = &group->rank[o - group->table], rc;
    union {
        int64_t i;
        double x;
        hn_strs l;
    } scratch;
    void *at = g->rank < *rank ? (void *)&scratch : group->fields + o->at;
    bool again = g->rank == *rank && g->rank == RANK_FLAG;
    if (g->list && o->type != HN_OPT_LIST)
        return hn_fail(e, HN_EPARSE, "%s: takes one value, not a list", g->where);
    if (!g->vals.n && !g->list && o->type != HN_OPT_BOOL)
        return hn_fail(e, HN_EPARSE, "%s: needs a value", g->where);
    if (again && o->type != HN_OPT_LIST &&
        (rc = hn_optset_warn(
             s, hn_optset_str(s, e, "%s: given more than once; the last one counts", g->where), e)))
        return rc;
    if (o->type == HN_OPT_LIST) rc = set_list(s, at, g, again, e);
    else if (o->type == HN_OPT_BOOL) rc = settle_bool(s, g, off, at, e);
    else rc = set_one(o, at, g->where, g->vals.s[0], e);
    if (g->rank > *rank) *rank = g->rank;
    g->used = true;
    return rc;
}

int hn_optset_settle(hn_optset *s, hn_err *e) {
    for (int64_t i = 0; i < s->n_given; i++) {
        hn_given *g = &s->given[i];
        for (int64_t k = 0; !g->used && k < s->n_ignored; k++)
            if (!strcmp(s->ignored[k].name, g->key)) {
                int rc = hn_optset_warn(
                    s, hn_optset_str(s, e, "%s: has no effect here: %s", g->where, s->ignored[k].means), e);
                if (rc) return rc;
                g->used = true;
            }
        int rc = g->used ? HN_OK : settle_one(s, g, e);
        if (rc) return rc;
    }
    return HN_OK;
}

static int set_default(hn_optset *s, const hn_opt *o, void *at, hn_err *e) {
    switch (o->type) {
    case HN_OPT_INT: *(int64_t *)at = (int64_t)o->def; return HN_OK;
    case HN_OPT_NUM: *(double *)at = o->def; return HN_OK;
    case HN_OPT_BOOL: *(bool *)at = o->def != 0; return HN_OK;
    case HN_OPT_ENUM: *(int *)at = (int)o->def; return HN_OK;
    case HN_OPT_STR: *(const char **)at = o->sdef; return HN_OK;
    case HN_OPT_LIST: *(hn_strs *)at = (hn_strs){ 0 }; return o->sdef ? split(s, at, o->sdef, e) : HN_OK;
    default: hn_assert(!"option type"); return HN_EUNSUP;
    }
}

int hn_optset_add(hn_optset *s, const char *title, const hn_opt *table, void *fields, hn_err *e) {
    hn_group *other;
    int n = 0;
    for (const hn_opt *o = table; o->type != HN_OPT_END; o++, n++)
        if (find_exact(s, o->name, &other))
            return hn_fail(e, HN_EUNSUP, "option %s is in two tables, \"%s\" and \"%s\"; rename one", o->name,
                           other->title, title);
    if (hn_grow(&s->group, &s->cap_group, s->n_group + 1, sizeof *s->group)) return no_memory(e);
    int *rank = hn_arena_get(s->arena, (size_t)(n + 1) * sizeof *rank), rc = HN_OK;
    if (!rank) return no_memory(e);
    for (int i = 0; !rc && i < n; i++) rc = set_default(s, &table[i], (char *)fields + table[i].at, e);
    if (rc) return rc;
    s->group[s->n_group++] = (hn_group){ title, table, fields, rank };
    return hn_optset_settle(s, e);
}

static int add_pair(hn_optset *s, hn_pair **list, int64_t *n, int64_t *cap, hn_pair p, hn_err *e) {
    if (hn_grow(list, cap, *n + 1, sizeof **list)) return no_memory(e);
    (*list)[(*n)++] = p;
    for (int64_t i = 0; i < s->n_given; i++) /* what came before it was an alias */
        if (list == &s->alias && !strcmp(s->given[i].key, p.name)) s->given[i].key = p.means;
    return hn_optset_settle(s, e);
}

int hn_optset_alias(hn_optset *s, const char *alias, const char *name, hn_err *e) {
    return add_pair(s, &s->alias, &s->n_alias, &s->cap_alias, (hn_pair){ alias, name }, e);
}

int hn_optset_ignored(hn_optset *s, const char *name, const char *why, hn_err *e) {
    return add_pair(s, &s->ignored, &s->n_ignored, &s->cap_ignored, (hn_pair){ name, why }, e);
}

/* ---- the command line ---- */
static int add_word(hn_optset *s, const char *text, int at, hn_err *e) {
    hn_given g = { .at = at };
    int rc = hn_optset_push(s, &g.vals, hn_arena_str(s->arena, text, strlen(text)), e);
    return rc ? rc : give_back(s, &g, e);
}

/* argv[i] is --name or --name=value.  Its value is kept apart when it is the next word: whether that word
 * belongs to it is only known when a table knows the name. */
static int add_flag(hn_optset *s, int argc, char **argv, int *i, hn_err *e) {
    const char *name = argv[*i] + 2, *equals = strchr(name, '='), *value = equals ? equals + 1 : NULL;
    hn_given g = { .rank = RANK_FLAG, .at = -1 };
    const char *plain = hn_optset_str(s, e, "%.*s", equals ? (int)(equals - name) : (int)strlen(name), name);
    if (!plain || !(g.key = hn_optset_key(s, plain, e)) || !(g.where = hn_optset_str(s, e, "--%s", plain)))
        return HN_ENOMEM;
    if (!value && *i + 1 < argc && strncmp(argv[*i + 1], "--", 2)) {
        value = argv[++*i];
        g.at = *i;
    }
    int rc = value ? hn_optset_push(s, &g.vals, hn_arena_str(s->arena, value, strlen(value)), e) : HN_OK;
    return rc ? rc : hn_optset_give(s, &g, e);
}

void hn_optset_plain_config(hn_optset *s) { s->plain_config = true; }

int hn_optset_args(hn_optset *s, int argc, char **argv, hn_err *e) {
    bool only_words = false;
    int rc = HN_OK;
    int64_t first = s->n_given;
    for (int i = 0; !rc && i < argc; i++) {
        const char *a = argv[i];
        if (only_words || a[0] != '-' || !a[1]) rc = add_word(s, a, i, e);
        else if (!strcmp(a, "--")) only_words = true;
        else if (!strcmp(a, "-h")) rc = add_flag(s, 1, (char *[]){ "--help" }, &(int){ 0 }, e);
        else if (a[1] != '-')
            rc = hn_fail(e, HN_EPARSE,
                         "%s: options have two dashes (write `-- %s` for a word that starts with one)", a, a);
        else rc = add_flag(s, argc, argv, &i, e);
    }
    if (!rc) rc = hn_optset_settle(s, e);
    const hn_given *config = NULL;
    if (s->plain_config) return rc;
    for (int64_t i = first; !rc && i < s->n_given; i++)
        if (!strcmp(s->given[i].key, "config")) {
            s->given[i].used = true;
            config = &s->given[i];
        }
    if (!config) return rc;
    if (!config->vals.n) return hn_fail(e, HN_EPARSE, "--config: needs the name of a YAML file");
    return hn_optset_yaml(s, config->vals.s[0], e);
}

int hn_optset_yaml(hn_optset *s, const char *path, hn_err *e) {
    int rc = hn_optset_load(s, path, e);
    return rc ? rc : hn_optset_settle(s, e);
}

int hn_optset_set(hn_optset *s, const char *key, const char *val, hn_err *e) {
    hn_given g = { .rank = RANK_FILE, .at = -1 };
    if (!(g.key = hn_optset_key(s, key, e)) || !(g.where = hn_optset_str(s, e, "%s", key))) return HN_ENOMEM;
    int rc = hn_optset_push(s, &g.vals, hn_arena_str(s->arena, val, strlen(val)), e);
    if (!rc) rc = hn_optset_give(s, &g, e);
    return rc ? rc : hn_optset_settle(s, e);
}

int hn_optset_done(hn_optset *s, hn_err *e) {
    const hn_given *lost = NULL;
    for (int64_t i = 0; !lost && i < s->n_given; i++)
        if (!s->given[i].used) lost = &s->given[i];
    if (!lost) return HN_OK;
    int64_t n = s->n_alias;
    for (int64_t g = 0; g < s->n_group; g++)
        for (const hn_opt *o = s->group[g].table; o->type != HN_OPT_END; o++) n++;
    const char **names = hn_arena_get(s->arena, (size_t)(n + 1) * sizeof *names);
    if (!names) return no_memory(e);
    n = 0;
    for (int64_t i = 0; i < s->n_alias; i++) names[n++] = s->alias[i].name;
    for (int64_t g = 0; g < s->n_group; g++)
        for (const hn_opt *o = s->group[g].table; o->type != HN_OPT_END; o++) names[n++] = o->name;
    const char *near = hn_nearest(lost->key, names, (int)n);
    return hn_fail(e, HN_EPARSE, "%s: no such option here; %s%s%s", lost->where,
                   near ? "did you mean " : "see --help", near && lost->rank == RANK_FLAG ? "--" : "",
                   near ? near : "");
}

bool hn_optset_given(const hn_optset *s, const char *name) {
    hn_group *group;
    for (int64_t i = 0; i < s->n_alias; i++)
        if (!strcmp(s->alias[i].name, name)) name = s->alias[i].means;
    const hn_opt *o = find_exact(s, name, &group);
    return o && group->rank[o - group->table] != RANK_DEFAULT;
}

int hn_optset_words(const hn_optset *s, const char *const **w) {
    *w = s->word;
    return (int)s->n_word;
}

int hn_optset_warnings(const hn_optset *s, const char *const **w) {
    *w = s->warning;
    return (int)s->n_warning;
}
