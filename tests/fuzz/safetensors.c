/* safetensors.c - fuzz target: whatever opens is covered exactly by its tensors, each found by its name and
 * readable. */
#include "format/safetensors.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void read_all(const hn_st_tensor *t) {
    float x[64];
    for (int64_t i = 0, k; i < t->count; i += k) {
        hn_err e = { 0 };
        k = t->count - i < 64 ? t->count - i : 64;
        int rc = hn_st_to_f32(t, i, k, x, &e);
        hn_assert(!rc || (rc == HN_EUNSUP && e.msg[0]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    hn_st *s;
    hn_err e = { 0 };
    int rc = hn_st_open_mem(&s, data, n, "fuzz", &e);
    if (rc) {
        hn_assert(!s && e.code == rc && strstr(e.msg, "fuzz"));
        return 0;
    }
    size_t used = 0;
    const unsigned char *at = NULL;
    for (int64_t i = 0; i < hn_st_count(s); i++) {
        const hn_st_tensor *t = hn_st_at(s, i);
        hn_assert(!at || t->data == at);
        hn_assert(t->data >= data + 8 && t->data + t->size <= data + n);
        hn_assert(t->size == (size_t)t->count * hn_st_size(t->dtype) && hn_st_find(s, t->name) == t);
        at = t->data + t->size;
        used += t->size;
        read_all(t);
    }
    hn_assert(!at || at == data + n);
    hn_assert(used <= n - 8);
    hn_st_close(s);
    return 0;
}
