/* gguf.c - fuzz target: whatever opens has tensors that lie inside the file, one after the other, each found
 * by its name and readable or refused by name; keys can be asked for as anything; a shape is one that holds.
 */
#include "format/gguf_hf.h"

#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void read_keys(const hn_gguf *g) {
    for (int64_t i = 0; i < hn_gguf_kv_count(g); i++) {
        const hn_gguf_kv *k = hn_gguf_kv_at(g, i), *list;
        int64_t v;
        double x;
        bool b;
        hn_gguf_str s = { "", 0 };
        hn_assert(hn_gguf_kv_find(g, k->key) == k);
        hn_gguf_int(g, k->key, 0, 1000, &v, NULL);
        hn_gguf_num(g, k->key, -INFINITY, INFINITY, &x, NULL);
        hn_gguf_bool(g, k->key, &b, NULL);
        hn_gguf_text(g, k->key, &s, NULL);
        hn_assert(!memchr(s.s, 0, s.n));
        for (int64_t j = 0; k->of == HN_GGUF_KV_STR && j < k->n; j++)
            hn_assert(!memchr(k->str[j].s, 0, k->str[j].n) || k->str[j].n); /* every byte is ours to read */
        if (!hn_gguf_list(g, k->key, HN_GGUF_KV_F32, &list, NULL))
            for (int64_t j = 0; j < list->n; j++) hn_gguf_f32(list, j);
        if (!hn_gguf_list(g, k->key, HN_GGUF_KV_I32, &list, NULL))
            for (int64_t j = 0; j < list->n; j++) hn_gguf_i32(list, j);
    }
}

static void read_tensor(const hn_gguf *g, const hn_gguf_tensor *t) {
    float x[256];
    for (int64_t i = 0, k; i < t->count; i += k) {
        hn_err e = { 0 };
        k = t->count - i < 256 ? t->count - i : 256;
        int rc = hn_gguf_to_f32(g, t, i, k, x, &e);
        hn_assert(!rc || (rc == HN_EUNSUP && strstr(e.msg, "fuzz")));
        if (rc) break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    hn_gguf *g;
    hn_hfconfig c;
    hn_err e = { 0 };
    int rc = hn_gguf_open_mem(&g, data, n, "fuzz", &e);
    if (rc) {
        hn_assert(!g && e.code == rc && strstr(e.msg, "fuzz"));
        return 0;
    }
    const unsigned char *at = data + 24;
    for (int64_t i = 0; i < hn_gguf_count(g); i++) {
        const hn_gguf_tensor *t = hn_gguf_at(g, i);
        hn_assert(t->data >= at && t->data + t->size <= data + n && hn_gguf_find(g, t->name) == t);
        hn_assert((int64_t)t->size == hn_gguf_bytes(t->type, t->count));
        at = t->data + t->size;
        read_tensor(g, t);
    }
    read_keys(g);
    rc = hn_gguf_shape(&c, g, &e);
    hn_assert(rc ? e.code == rc && e.msg[0] : !hn_hfconfig_check(&c, "fuzz", NULL));
    hn_gguf_close(g);
    return 0;
}
