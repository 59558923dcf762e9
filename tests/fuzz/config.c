/* config.c - fuzz target: an edited JSON object is the same object with one key set; a config that is
 * accepted can be written and read back as itself. */
#include "base/json.h"
#include "format/hfconfig.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void edit(const json_t *j, const char *text, size_t n, const char *key) {
    hn_buf b = { 0 };
    hn_err e = { 0 };
    json_t *value = json_pack("{s:[f, s]}", "a", 1e-6, "\"}\\"), *whole, *want = json_copy((json_t *)j);
    hn_assert(value && want && !hn_json_patch(&b, text, n, key, value, &e));
    hn_assert(!json_object_set(want, key, value));
    hn_assert(!hn_json_parse(&whole, b.data, b.n, "edited", &e) && json_equal(whole, want));
    json_decref(whole);
    json_decref(want);
    json_decref(value);
    hn_buf_free(&b);
}

static json_t *written(const hn_hfconfig *c) {
    json_t *j, *again;
    hn_buf b = { 0 };
    hn_err e = { 0 };
    hn_assert(!hn_hfconfig_json(c, &j, &e) && !hn_json_print(&b, j));
    hn_assert(!hn_json_parse(&again, b.data, b.n, "written", &e) && json_equal(j, again));
    json_decref(again);
    hn_buf_free(&b);
    return j;
}

static void there_and_back(const json_t *o) {
    hn_hfconfig c, d;
    hn_err e = { 0 };
    int rc = hn_hfconfig_read(&c, o, "fuzz", &e);
    if (rc) {
        hn_assert(e.code == rc && strstr(e.msg, "fuzz"));
        return;
    }
    hn_assert(hn_hfconfig_params(&c) > 0);
    json_t *one = written(&c);
    hn_assert(!hn_hfconfig_read(&d, one, "written", &e));
    json_t *two = written(&d);
    hn_assert(json_equal(one, two));
    json_decref(one);
    json_decref(two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    hn_err e = { 0 };
    json_t *j;
    const char *text = n ? (const char *)data : "", *first = NULL;
    int rc = hn_json_parse(&j, text, n, "fuzz", &e);
    if (rc) {
        hn_assert(!j && e.code == rc && strstr(e.msg, "fuzz"));
        return 0;
    }
    /* without this flag a number beyond 64 bits is refused, and none has changed its kind */
    json_t *plain = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(plain)) {
        void *it = json_object_iter(plain);
        if (it) first = json_object_iter_key(it);
        edit(plain, text, n, "torch_dtype");
        if (first) edit(plain, text, n, first);
    }
    json_decref(plain);
    there_and_back(j);
    json_decref(j);
    return 0;
}
