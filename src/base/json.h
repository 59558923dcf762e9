/* json.h - the little that we add to jansson: errors that name file and key, numbers that
 * print as short as they can, and edits that leave every other byte of a file as it was. */
#ifndef HN_JSON_H
#define HN_JSON_H

#include "base/base.h"
#include <jansson.h>

/* Reads a JSON document; the error names `file` (or `path`), line and column.  Duplicate keys are an error.
 * An integer beyond 64 bits (tokenizer_config.json has one) makes all numbers of the document real.
 * The caller owns *j (json_decref). */
int hn_json_parse(json_t **j, const char *text, size_t n, const char *file, hn_err *e);
int hn_json_read(json_t **j, const char *path, hn_err *e);

/* Appends j with two spaces of indent, keys in their order, each real as the shortest decimal that reads
 * back to the same double.  Returns HN_ENOMEM when out of memory (b->oom is then set). */
int hn_json_print(hn_buf *b, const json_t *j);

/* Sets top-level `key` of the JSON object in `text` to `value` and appends the result to `out`: an existing
 * value is replaced where it stands, a new key goes to the end, all other bytes are copied as they are.  A
 * value of NULL takes the key out. */
int hn_json_patch(hn_buf *out, const char *text, size_t n, const char *key, const json_t *value, hn_err *e);

/* Typed access for settings.  A key that is absent or null leaves *x as the caller set it; a value of another
 * type or outside [lo, hi] is HN_ERANGE or HN_EPARSE with `file` and the key in the message. */
typedef struct hn_json {
    const json_t *o;
    const char *file, *in; /* `in`: the name of the inner object, or NULL at top level */
} hn_json;
bool hn_json_has(const hn_json *j, const char *key); /* there and not null */
int hn_json_int(const hn_json *j, const char *key, int64_t lo, int64_t hi, int64_t *x, hn_err *e);
int hn_json_num(const hn_json *j, const char *key, double lo, double hi, double *x, hn_err *e);
int hn_json_bool(const hn_json *j, const char *key, bool *x, hn_err *e);
int hn_json_str(const hn_json *j, const char *key, const char **x, hn_err *e); /* owned by j->o */
#endif
