/* opt_yaml.c - a config file is one flat YAML mapping: keys are option names, values scalars or lists.
 *
 * Anything deeper is an error with its line, except `env:`, which peers' files carry and which is skipped
 * with a warning. */
#include "base/io.h"
#include "base/opt_set.h"

#include <string.h>
#include <strings.h>
#include <yaml.h>

enum { MOST_BYTES = 1 << 20 };

typedef struct reader {
    hn_optset *set;
    yaml_parser_t parser;
    const char *path;
    hn_err *e;
} reader;

static int line_of(const yaml_event_t *ev) { return (int)ev->start_mark.line + 1; }
static const char *text_of(const yaml_event_t *ev) { return (const char *)ev->data.scalar.value; }

static int next(reader *r, yaml_event_t *ev) {
    if (yaml_parser_parse(&r->parser, ev)) return HN_OK;
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR) return hn_fail(r->e, HN_ENOMEM, "out of memory reading %s", r->path);
    return hn_fail(r->e, HN_EPARSE, "%s:%d: not valid YAML: %s", r->path, (int)p->problem_mark.line + 1,
                   p->problem ? p->problem : "unreadable");
}

static int wrong(reader *r, const yaml_event_t *ev, const char *key, const char *what) {
    return hn_fail(r->e, HN_EPARSE, "%s:%d: %s%s%s", r->path, line_of(ev), key ? key : "", key ? ": " : "",
                   what);
}

/* Skips what belongs to the mapping or sequence whose start was just read. */
static int skip(reader *r) {
    for (int depth = 1; depth > 0;) {
        yaml_event_t ev;
        int rc = next(r, &ev);
        if (rc) return rc;
        if (ev.type == YAML_MAPPING_START_EVENT || ev.type == YAML_SEQUENCE_START_EVENT) depth++;
        if (ev.type == YAML_MAPPING_END_EVENT || ev.type == YAML_SEQUENCE_END_EVENT) depth--;
        yaml_event_delete(&ev);
    }
    return HN_OK;
}

static int keep(reader *r, hn_given *g, const yaml_event_t *ev) {
    if (strlen(text_of(ev)) != ev->data.scalar.length) return wrong(r, ev, g->key, "holds a 0 byte");
    if (ev->data.scalar.tag && strcmp((const char *)ev->data.scalar.tag, "!"))
        return wrong(r, ev, g->key, "tags (!name) are not understood here; remove it");
    return hn_optset_push(r->set, &g->vals, hn_optset_str(r->set, r->e, "%s", text_of(ev)), r->e);
}

static int items(reader *r, hn_given *g) {
    g->list = true;
    for (;;) {
        yaml_event_t ev;
        int rc = next(r, &ev);
        if (rc) return rc;
        bool end = ev.type == YAML_SEQUENCE_END_EVENT;
        if (!end && ev.type == YAML_SCALAR_EVENT) rc = keep(r, g, &ev);
        else if (!end) rc = wrong(r, &ev, g->key, "a list may hold only plain values");
        yaml_event_delete(&ev);
        if (rc || end) return rc;
    }
}

static bool is_null(const yaml_event_t *ev) {
    const char *t = text_of(ev);
    return ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (!*t || !strcmp(t, "~") || !strcasecmp(t, "null"));
}

/* null leaves the default */
static int value(reader *r, hn_given *g, const yaml_event_t *ev) {
    int rc = HN_OK;
    switch (ev->type) {
    case YAML_SCALAR_EVENT:
        if (is_null(ev)) return HN_OK;
        rc = keep(r, g, ev);
        break;
    case YAML_SEQUENCE_START_EVENT: rc = items(r, g); break;
    case YAML_MAPPING_START_EVENT:
        if (strcmp(g->key, "env"))
            return wrong(r, ev, g->key,
                         "a mapping inside the file; options are flat, write each as its own key");
        if ((rc = skip(r))) return rc;
        return hn_optset_warn(
            r->set, hn_optset_str(r->set, r->e, "%s: ignored: set the environment outside", g->where), r->e);
    default: return wrong(r, ev, g->key, "anchors and aliases are not understood here; repeat the value");
    }
    return rc ? rc : hn_optset_give(r->set, g, r->e);
}

static int entry(reader *r, const yaml_event_t *name) {
    hn_optset *s = r->set;
    if (name->type != YAML_SCALAR_EVENT) return wrong(r, name, NULL, "a key must be a plain word");
    hn_given g = { .rank = RANK_FILE, .at = -1, .file = (int)s->n_file, .line = line_of(name) };
    if (!(g.key = hn_optset_key(s, text_of(name), r->e)) ||
        !(g.where = hn_optset_str(s, r->e, "%s:%d: %s", r->path, g.line, text_of(name))))
        return HN_ENOMEM;
    if (!strcmp(g.key, "config")) return wrong(r, name, g.key, "a config file cannot name another one");
    for (int64_t i = 0; i < s->n_given; i++)
        if (s->given[i].file == g.file && !strcmp(s->given[i].key, g.key))
            return hn_fail(r->e, HN_EPARSE, "%s: given twice, first in line %d; keep one", g.where,
                           s->given[i].line);
    yaml_event_t ev;
    int rc = next(r, &ev);
    if (rc) return rc;
    rc = value(r, &g, &ev);
    yaml_event_delete(&ev);
    return rc;
}

static int document(reader *r) {
    int documents = 0;
    for (bool in = false;;) {
        yaml_event_t ev;
        int rc = next(r, &ev);
        if (rc) return rc;
        bool end = ev.type == YAML_STREAM_END_EVENT;
        if (in && ev.type == YAML_MAPPING_END_EVENT) in = false;
        else if (in) rc = entry(r, &ev);
        else if (ev.type == YAML_MAPPING_START_EVENT) in = true;
        else if (ev.type == YAML_DOCUMENT_START_EVENT && ++documents > 1)
            rc = wrong(r, &ev, NULL, "a second document; a config file is one");
        else if (ev.type == YAML_SEQUENCE_START_EVENT || ev.type == YAML_ALIAS_EVENT ||
                 (ev.type == YAML_SCALAR_EVENT && !is_null(&ev)))
            rc = wrong(r, &ev, NULL, "a config file holds lines of `key: value`");
        yaml_event_delete(&ev);
        if (rc || end) return rc;
    }
}

int hn_optset_load(hn_optset *s, const char *path, hn_err *e) {
    reader r = { .set = s, .path = path, .e = e };
    char *data;
    size_t n;
    int rc = hn_file_read(path, &data, &n, e);
    if (rc) return rc;
    if (n > MOST_BYTES) {
        rc = hn_fail(e, HN_EPARSE, "%s: %zu bytes are too many for a config file (at most %d)", path, n,
                     MOST_BYTES);
    } else if (!yaml_parser_initialize(&r.parser)) {
        rc = hn_fail(e, HN_ENOMEM, "out of memory reading %s", path);
    } else {
        s->n_file++;
        yaml_parser_set_input_string(&r.parser, (const unsigned char *)data, n);
        rc = document(&r);
        yaml_parser_delete(&r.parser);
    }
    hn_free(data);
    return rc;
}
