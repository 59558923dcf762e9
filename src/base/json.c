/* json.c - jansson with errors that name the file, short numbers and byte-preserving edits. */
#include "base/json.h"
#include "base/io.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *parse(const char *text, size_t n, json_error_t *why) {
    json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES, why);
    if (!j && json_error_code(why) == json_error_numeric_overflow)
        return json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, why);
    return j;
}

int hn_json_parse(json_t **j, const char *text, size_t n, const char *file, hn_err *e) {
    json_error_t je;
    *j = NULL;
    if (memchr(text, 0, n)) /* jansson passes over them */
        return hn_fail(e, HN_EPARSE, "%s: a zero byte, which JSON does not have: the file is damaged", file);
    /* jansson calls some of its failed allocations syntax errors: a real one comes again */
    for (int try = 0; try < 2 && !*j; try++) *j = parse(text, n, &je);
    if (*j) return HN_OK;
    if (json_error_code(&je) == json_error_out_of_memory || !*je.text) /* it has no words for most of these */
        return hn_fail(e, HN_ENOMEM, "%s: out of memory while reading JSON", file);
    return hn_fail(e, HN_EPARSE, "%s: line %d, column %d: %s", file, je.line, je.column, je.text);
}

int hn_json_read(json_t **j, const char *path, hn_err *e) {
    char *text;
    size_t n;
    *j = NULL;
    int rc = hn_file_read(path, &text, &n, e);
    if (rc) return rc;
    rc = hn_json_parse(j, text, n, path, e);
    hn_free(text);
    return rc;
}

/* ---- printing ---- */
static void print_real(hn_buf *b, double x) {
    char s[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(s, sizeof s, "%.*g", digits, x);
        if (strtod(s, NULL) == x) break;
    }
    hn_buf_str(b, s);
    if (!strpbrk(s, ".e")) hn_buf_str(b, ".0"); /* stays a real when read again */
}

static void print_str(hn_buf *b, const json_t *j) {
    char *s = json_dumps(j, JSON_ENCODE_ANY);
    if (s) hn_buf_str(b, s);
    else b->oom = true;
    void (*give_back)(void *);
    json_get_alloc_funcs(NULL, &give_back);
    if (s) give_back(s);
}

static void newline(hn_buf *b, int depth) { hn_buf_fmt(b, "\n%*s", 2 * depth, ""); }

static void print_key(hn_buf *b, const char *key) {
    json_t *k = json_string(key);
    if (k) print_str(b, k);
    else b->oom = true;
    json_decref(k);
}

static void print_value(hn_buf *b, const json_t *j, int depth) {
    size_t n = json_is_array(j) ? json_array_size(j) : json_object_size(j);
    if (json_is_real(j)) {
        print_real(b, json_real_value(j));
    } else if (json_is_array(j)) {
        hn_buf_chr(b, '[');
        for (size_t i = 0; i < n; i++) {
            if (i) hn_buf_chr(b, ',');
            newline(b, depth + 1);
            print_value(b, json_array_get(j, i), depth + 1);
        }
        if (n) newline(b, depth);
        hn_buf_chr(b, ']');
    } else if (json_is_object(j)) {
        const char *key;
        json_t *value, *o = (json_t *)j; /* jansson's iterators are not const */
        size_t i = 0;
        hn_buf_chr(b, '{');
        json_object_foreach(o, key, value) {
            if (i++) hn_buf_chr(b, ',');
            newline(b, depth + 1);
            print_key(b, key);
            hn_buf_str(b, ": ");
            print_value(b, value, depth + 1);
        }
        if (n) newline(b, depth);
        hn_buf_chr(b, '}');
    } else {
        print_str(b, j);
    }
}

int hn_json_print(hn_buf *b, const json_t *j) {
    print_value(b, j, 0);
    return b->oom ? HN_ENOMEM : HN_OK;
}

/* ---- edits ----
 * The text has been parsed by jansson, so the scanner below may trust its form: it only needs to know where
 * values begin and end. */
static size_t skip_space(const char *s, size_t n, size_t i) {
    while (i < n && strchr(" \t\r\n", s[i]) && s[i]) i++;
    return i;
}

static size_t skip_value(const char *s, size_t n, size_t i) {
    int depth = 0;
    bool quoted = false;
    for (; i < n; i++) {
        if (quoted) {
            if (s[i] == '\\') i++;
            else if (s[i] == '"') quoted = false;
            if (!quoted && depth == 0) return i + 1;
        } else if (s[i] == '"') {
            quoted = true;
        } else if (s[i] == '{' || s[i] == '[') {
            depth++;
        } else if (s[i] == '}' || s[i] == ']') {
            if (depth == 0) return i; /* the end of a bare number or word */
            if (--depth == 0) return i + 1;
        } else if (depth == 0 && strchr(", \t\r\n", s[i])) {
            return i;
        }
    }
    return i;
}

/* Is s[a,b), a JSON string with its quotes, equal to key?  Decoded by jansson, so escapes are understood. */
static bool key_is(const char *s, size_t a, size_t b, const char *key) {
    json_t *k = json_loadb(s + a, b - a, JSON_DECODE_ANY, NULL);
    bool same = k && !strcmp(json_string_value(k), key);
    json_decref(k);
    return same;
}

int hn_json_patch(hn_buf *out, const char *text, size_t n, const char *key, const json_t *value, hn_err *e) {
    json_t *whole;
    int rc = hn_json_parse(&whole, text, n, key, e);
    if (rc) return rc;
    bool object = json_is_object(whole);
    json_decref(whole);
    if (!object) return hn_fail(e, HN_EPARSE, "cannot set \"%s\": the JSON document is not an object", key);

    size_t i = skip_space(text, n, skip_space(text, n, 0) + 1),
           last = i; /* last: where the last member ended */
    bool any = false;
    while (i < n && text[i] != '}') {
        size_t k = i, kend = skip_value(text, n, k);
        size_t v = skip_space(text, n, skip_space(text, n, kend) + 1),
               vend = skip_value(text, n, v); /* past ':' */
        if (key_is(text, k, kend, key)) {
            if (!value) { /* with the comma before it, or after it */
                size_t next = skip_space(text, n, vend);
                if (!any && next < n && text[next] == ',') last = k, vend = skip_space(text, n, next + 1);
                hn_buf_add(out, text, last);
                hn_buf_add(out, text + vend, n - vend);
                goto done;
            }
            hn_buf_add(out, text, v);
            print_value(out, value, 1);
            hn_buf_add(out, text + vend, n - vend);
            goto done;
        }
        any = true;
        last = vend;
        i = skip_space(text, n, vend);
        if (i < n && text[i] == ',') i = skip_space(text, n, i + 1);
    }
    if (!value) {
        hn_buf_add(out, text, n);
        goto done;
    }
    hn_buf_add(out, text, last);
    hn_buf_str(out, any ? ",\n  " : "\n  ");
    print_key(out, key);
    hn_buf_str(out, ": ");
    print_value(out, value, 1);
    if (any) hn_buf_add(out, text + last, n - last);
    else hn_buf_str(out, "\n}\n");
done:
    return out->oom ? hn_fail(e, HN_ENOMEM, "out of memory while setting \"%s\"", key) : HN_OK;
}

/* ---- settings ---- */
static json_t *member(const hn_json *j, const char *key) {
    json_t *v = json_object_get(j->o, key);
    return json_is_null(v) ? NULL : v;
}

static int complain(const hn_json *j, const char *key, int code, const char *what, hn_err *e) {
    return hn_fail(e, code, "%s: %s%s%s %s", j->file, j->in ? j->in : "", j->in ? "." : "", key, what);
}

bool hn_json_has(const hn_json *j, const char *key) { return member(j, key) != NULL; }

int hn_json_num(const hn_json *j, const char *key, double lo, double hi, double *x, hn_err *e) {
    json_t *v = member(j, key);
    char what[120];
    if (!v) return HN_OK;
    if (!json_is_number(v)) return complain(j, key, HN_EPARSE, "must be a number", e);
    double d = json_number_value(v);
    if (!(d >= lo && d <= hi)) {
        snprintf(what, sizeof what, "is %g, but must be from %g to %g", d, lo, hi);
        return complain(j, key, HN_ERANGE, what, e);
    }
    *x = d;
    return HN_OK;
}

int hn_json_int(const hn_json *j, const char *key, int64_t lo, int64_t hi, int64_t *x, hn_err *e) {
    json_t *v = member(j, key);
    char what[120];
    if (!v) return HN_OK;
    double d = json_number_value(v);
    if (!json_is_number(v) || (json_is_real(v) && (d != floor(d) || fabs(d) > 0x1p53)))
        return complain(j, key, HN_EPARSE, "must be a whole number", e);
    int64_t i = json_is_integer(v) ? (int64_t)json_integer_value(v) : (int64_t)d;
    if (i < lo || i > hi) {
        snprintf(what, sizeof what, "is %lld, but must be from %lld to %lld", (long long)i, (long long)lo,
                 (long long)hi);
        return complain(j, key, HN_ERANGE, what, e);
    }
    *x = i;
    return HN_OK;
}

int hn_json_bool(const hn_json *j, const char *key, bool *x, hn_err *e) {
    json_t *v = member(j, key);
    if (!v) return HN_OK;
    if (!json_is_boolean(v)) return complain(j, key, HN_EPARSE, "must be true or false", e);
    *x = json_is_true(v);
    return HN_OK;
}

int hn_json_str(const hn_json *j, const char *key, const char **x, hn_err *e) {
    json_t *v = member(j, key);
    if (!v) return HN_OK;
    if (!json_is_string(v)) return complain(j, key, HN_EPARSE, "must be a string", e);
    *x = json_string_value(v);
    return HN_OK;
}
