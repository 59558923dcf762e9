/* opt_show.c - options shown: the help page, the run record as JSON, the nearest name. */
#include "base/opt_set.h"

#include <stdlib.h>
#include <string.h>

enum { WORD_MAX = 64, HELP_COLUMN = 32, HELP_WIDTH = 100 };

/* ---- nearest name: Damerau-Levenshtein distance (insert, delete, change, swap of neighbours) ---- */
static int smaller(int a, int b) { return a < b ? a : b; }

static int distance(const char *a, const char *b) {
    int n = (int)strlen(a), m = (int)strlen(b), d[3][WORD_MAX + 1];
    if (n > WORD_MAX || m > WORD_MAX) return 2 * WORD_MAX;
    int *before = d[0], *last = d[1], *now = d[2];
    for (int j = 0; j <= m; j++) last[j] = j;
    for (int i = 1; i <= n; i++) {
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            int change = last[j - 1] + (a[i - 1] != b[j - 1]);
            now[j] = smaller(change, smaller(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = smaller(now[j], before[j - 2] + 1);
        }
        int *t = before;
        before = last, last = now, now = t;
    }
    return last[m];
}

const char *hn_nearest(const char *word, const char *const *list, int n) {
    const char *best = NULL;
    int length = (int)strlen(word), limit = length < 3 ? 1 : (length + 2) / 3, least = limit + 1;
    for (int i = 0; i < n; i++) {
        int d = distance(word, list[i]);
        if (d < least && d < (int)strlen(list[i])) least = d, best = list[i];
    }
    return best;
}

/* ---- JSON ---- */
static int utf8_length(const unsigned char *p) {
    int n = *p < 0x80                           ? 1
            : (*p & 0xe0) == 0xc0 && *p >= 0xc2 ? 2
            : (*p & 0xf0) == 0xe0               ? 3
            : (*p & 0xf8) == 0xf0 && *p <= 0xf4 ? 4
                                                : 0;
    for (int i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    if (n == 3 && ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] >= 0xa0))) return 0;
    if (n == 4 && ((*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] >= 0x90))) return 0;
    return n;
}

static void json_str(hn_buf *out, const char *s) {
    if (!s) {
        hn_buf_str(out, "null");
        return;
    }
    hn_buf_chr(out, '"');
    for (const unsigned char *p = (const unsigned char *)s; *p;) {
        int n = utf8_length(p);
        if (n == 0) hn_buf_str(out, "\\ufffd"); /* a file name that is not UTF-8 */
        else if (*p == '"' || *p == '\\') hn_buf_fmt(out, "\\%c", *p);
        else if (*p < 0x20) hn_buf_fmt(out, "\\u%04x", *p);
        else hn_buf_add(out, p, (size_t)n);
        p += n ? n : 1;
    }
    hn_buf_chr(out, '"');
}

/* The shortest of 15 and 17 digits that reads back as the same number. */
static void number(hn_buf *out, double x) {
    char text[40];
    snprintf(text, sizeof text, "%.15g", x);
    if (strtod(text, NULL) != x) snprintf(text, sizeof text, "%.17g", x);
    hn_buf_str(out, text);
}

static void choice(hn_buf *out, const hn_opt *o, int index) {
    const char *c = o->choices;
    for (; index > 0; index--) c += strcspn(c, "|") + 1;
    hn_buf_add(out, c, strcspn(c, "|"));
}

static void json_value(hn_buf *out, const hn_opt *o, const void *at) {
    const hn_strs *list = at;
    switch (o->type) {
    case HN_OPT_INT: hn_buf_fmt(out, "%lld", (long long)*(const int64_t *)at); break;
    case HN_OPT_NUM: number(out, *(const double *)at); break;
    case HN_OPT_BOOL: hn_buf_str(out, *(const bool *)at ? "true" : "false"); break;
    case HN_OPT_STR: json_str(out, *(const char *const *)at); break;
    case HN_OPT_ENUM:
        hn_buf_chr(out, '"');
        choice(out, o, *(const int *)at);
        hn_buf_chr(out, '"');
        break;
    default:
        hn_buf_chr(out, '[');
        for (int i = 0; i < list->n; i++) {
            if (i) hn_buf_str(out, ", ");
            json_str(out, list->s[i]);
        }
        hn_buf_chr(out, ']');
    }
}

typedef struct item {
    const hn_opt *o;
    const void *at;
} item;

static int by_name(const void *a, const void *b) {
    return strcmp(((const item *)a)->o->name, ((const item *)b)->o->name);
}

void hn_optset_json(const hn_optset *s, hn_buf *out) {
    item *items = NULL;
    int64_t n = 0, cap = 0;
    for (int64_t g = 0; g < s->n_group; g++)
        for (const hn_opt *o = s->group[g].table; o->type != HN_OPT_END; o++) {
            if (hn_grow(&items, &cap, n + 1, sizeof *items)) {
                out->oom = true;
                hn_free(items);
                return;
            }
            items[n++] = (item){ o, s->group[g].fields + o->at };
        }
    if (n) qsort(items, (size_t)n, sizeof *items, by_name);
    hn_buf_chr(out, '{');
    for (int64_t i = 0; i < n; i++) {
        hn_buf_fmt(out, "%s\"%s\": ", i ? ", " : "", items[i].o->name);
        json_value(out, items[i].o, items[i].at);
    }
    hn_buf_chr(out, '}');
    hn_free(items);
}

/* ---- help ---- */
static void help_default(hn_buf *out, const hn_opt *o) {
    bool text = o->type == HN_OPT_STR || o->type == HN_OPT_LIST;
    if ((text && !o->sdef) || (o->type == HN_OPT_BOOL && o->def == 0)) return;
    hn_buf_str(out, " (default ");
    if (text) hn_buf_str(out, *o->sdef ? o->sdef : "empty");
    else if (o->type == HN_OPT_BOOL) hn_buf_str(out, "true");
    else if (o->type == HN_OPT_ENUM) choice(out, o, (int)o->def);
    else number(out, o->def);
    hn_buf_chr(out, ')');
}

/* Words of `text` from HELP_COLUMN on; `at` is the column reached so far. */
static void wrap(hn_buf *out, const char *text, int at) {
    bool first = true;
    if (at + 2 > HELP_COLUMN) hn_buf_fmt(out, "\n%*s", HELP_COLUMN, "");
    else hn_buf_fmt(out, "%*s", HELP_COLUMN - at, "");
    at = HELP_COLUMN;
    while (*(text += strspn(text, " "))) {
        int n = (int)strcspn(text, " ");
        if (!first && at + 1 + n > HELP_WIDTH) {
            hn_buf_fmt(out, "\n%*s", HELP_COLUMN, "");
            at = HELP_COLUMN;
            first = true;
        }
        hn_buf_fmt(out, "%s%.*s", first ? "" : " ", n, text);
        at += n + !first;
        first = false;
        text += n;
    }
    hn_buf_chr(out, '\n');
}

static void help_one(const hn_optset *s, const hn_opt *o, hn_buf *out) {
    static const char *const kind[] = {
        [HN_OPT_INT] = " N",    [HN_OPT_NUM] = " X",     [HN_OPT_BOOL] = "",
        [HN_OPT_STR] = " TEXT", [HN_OPT_ENUM] = " WORD", [HN_OPT_LIST] = " A,B"
    };
    hn_buf text = { 0 };
    size_t start = out->n;
    hn_buf_fmt(out, "  --%s%s%s", o->type == HN_OPT_BOOL && o->def != 0 ? "[no_]" : "", o->name,
               kind[o->type]);
    hn_buf_str(&text, o->help);
    if (o->type == HN_OPT_ENUM) hn_buf_fmt(&text, ": %s", o->choices);
    help_default(&text, o);
    for (int64_t i = 0; i < s->n_alias; i++)
        if (!strcmp(s->alias[i].means, o->name)) hn_buf_fmt(&text, " (also --%s)", s->alias[i].name);
    if (text.oom) out->oom = true;
    else wrap(out, text.data, (int)(out->n - start));
    hn_buf_free(&text);
}

void hn_optset_help(const hn_optset *s, hn_buf *out) {
    for (int64_t g = 0; g < s->n_group; g++) {
        hn_buf_fmt(out, "%s%s:\n", g ? "\n" : "", s->group[g].title);
        for (const hn_opt *o = s->group[g].table; o->type != HN_OPT_END; o++) help_one(s, o, out);
    }
}
