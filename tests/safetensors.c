/* safetensors.c - 16-bit floats exhaustively, a file of the reference library, write and read back, and files
 * that lie in every way a header can. */
#include "format/safetensors.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "format/half.h"
#include "shared.h"

static const char *dir;

/* ---- 16-bit floats ---- */
static uint32_t bits(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* The value by the definition of a binary float of 1 + eb + mb bits. */
static double by_definition(uint16_t h, int eb, int mb) {
    int exp = h >> mb & ((1 << eb) - 1), man = h & ((1 << mb) - 1), bias = (1 << (eb - 1)) - 1;
    double v = exp ? ldexp((1 << mb) + man, exp - bias - mb) : ldexp(man, 1 - bias - mb);
    if (exp == (1 << eb) - 1) v = man ? NAN : INFINITY;
    return h >> 15 ? -v : v;
}

static void widening(void **state) {
    (void)state;
    int nans = 0;
    for (int h = 0; h < 65536; h++) {
        double f16 = by_definition((uint16_t)h, 5, 10), bf16 = by_definition((uint16_t)h, 8, 7);
        float a = hn_f16_to_f32((uint16_t)h), b = hn_bf16_to_f32((uint16_t)h);
        nans += isnan(a) + isnan(b);
        assert_true(isnan(f16) ? isnan(a) : bits(a) == bits((float)f16));
        assert_true(isnan(bf16) ? isnan(b) : bits(b) == bits((float)bf16));
    }
    assert_int_equal(nans, 2 * 1023 + 2 * 127);
}

/* Of the two bf16 neighbours of x the nearer, at a tie the even one; past the largest, one more step is
 * infinity. */
static uint16_t nearest_bf16(float x) {
    uint16_t down = (uint16_t)(bits(x) >> 16), up = (uint16_t)(down + 1);
    double lo = by_definition(down, 8, 7), hi = by_definition(up, 8, 7), v = x;
    if (isinf(hi)) hi = copysign(0x1p128, v);
    double a = fabs(v - lo), b = fabs(hi - v);
    return a < b || (a == b && !(down & 1)) ? down : up;
}

static void narrowing(void **state) {
    (void)state;
    static const uint32_t low[] = { 0, 1, 0x7ffe, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff };
    for (uint32_t h = 0; h < 65536; h++)
        for (int i = 0; i < 8; i++) {
            uint32_t u = h << 16 | low[i];
            float x;
            memcpy(&x, &u, sizeof x);
            uint16_t got = hn_bf16_from_f32(x);
            if (isnan(x)) assert_true(isnan(hn_bf16_to_f32(got)) && (got >> 15) == h >> 15);
            else if (isinf(x)) assert_int_equal(got, h);
            else assert_int_equal(got, nearest_bf16(x));
        }
}

/* ---- a file of the reference library ---- */
static float ramp(int i) { return (float)((i * 37) % 101 - 50) / 8; }

static const hn_st_tensor *want(const hn_st *s, const char *name, hn_st_dtype d, int64_t count) {
    const hn_st_tensor *t = hn_st_find(s, name);
    assert_non_null(t);
    assert_string_equal(t->name, name);
    assert_int_equal(t->dtype, d);
    assert_int_equal(t->count, count);
    assert_int_equal(t->size, (size_t)count * hn_st_size(d));
    return t;
}

static void reference_file(void **state) {
    (void)state;
    static const struct {
        const char *name;
        hn_st_dtype d;
        int rank;
        int64_t shape[3];
    } floats[] = { { "f32", HN_ST_F32, 3, { 3, 4, 5 } },
                   { "f16", HN_ST_F16, 1, { 60 } },
                   { "bf16", HN_ST_BF16, 2, { 6, 10 } } };
    hn_st *s;
    hn_err e = { 0 };
    float x[60];
    assert_int_equal(hn_st_open(&s, HN_SOURCE_ROOT "/tests/vectors/tiny.safetensors", &e), HN_OK);
    assert_int_equal(hn_st_count(s), 11);
    for (size_t k = 0; k < 3; k++) {
        const hn_st_tensor *t = want(s, floats[k].name, floats[k].d, 60);
        assert_true(hn_st_shape_is(t, floats[k].rank, floats[k].shape));
        assert_int_equal(hn_st_to_f32(t, 0, 60, x, &e), HN_OK);
        for (int i = 0; i < 60; i++) assert_true(x[i] == ramp(i));
        assert_int_equal(hn_st_to_f32(t, 58, 2, x, &e), HN_OK);
        assert_true(x[0] == ramp(58) && x[1] == ramp(59));
    }
    assert_int_equal(hn_st_to_f32(want(s, "scalar", HN_ST_F32, 1), 0, 1, x, &e), HN_OK);
    assert_true(x[0] == 0.3f && hn_st_find(s, "scalar")->rank == 0);
    assert_int_equal(want(s, "empty", HN_ST_F32, 0)->size, 0);
    assert_int_equal(hn_st_to_f32(want(s, "na\xc3\xafve \"name\"", HN_ST_F32, 2), 0, 2, x, &e), HN_OK);
    assert_true(x[0] == 1.5f && x[1] == -2.5f);
    int64_t i64;
    memcpy(&i64, want(s, "i64", HN_ST_I64, 7)->data, sizeof i64);
    assert_int_equal(i64, -2);
    assert_int_equal(want(s, "u8", HN_ST_U8, 5)->data[4], 254);
    assert_int_equal(want(s, "bool", HN_ST_BOOL, 3)->data[1], 0);
    want(s, "f64", HN_ST_F64, 60);
    assert_string_equal(hn_st_meta(s, "format"), "pt");
    assert_null(hn_st_meta(s, "nothing"));
    assert_null(hn_st_find(s, "f3"));
    assert_null(hn_st_find(s, "__metadata__"));
    assert_int_equal(hn_st_to_f32(hn_st_find(s, "i64"), 0, 7, x, &e), HN_EUNSUP);
    assert_non_null(strstr(e.msg, "\"i64\" is I64"));
    hn_st_close(s);
}

/* ---- writing ---- */
static const char *at(const char *name) {
    static hn_buf b;
    return hn_path_join(&b, dir, name);
}

static int write_file(const char *path, int salt, hn_err *e) {
    static const int64_t a[] = { 7, 9 }, none[] = { 0, 3 }, b[] = { 70, 90 };
    float x[6300];
    hn_st_writer *w;
    int rc = hn_st_writer_open(&w, path, e);
    if (rc) return rc;
    for (int i = 0; i < 6300; i++) x[i] = ramp(i) * 0.7f + (float)salt;
    if ((rc = hn_st_writer_declare(w, "a", HN_ST_F32, 2, a, e)) ||
        (rc = hn_st_writer_declare(w, "none", HN_ST_BF16, 2, none, e)) ||
        (rc = hn_st_writer_declare(w, "b \"\\\xc3\xa9", HN_ST_BF16, 2, b, e)) ||
        (rc = hn_st_writer_declare(w, "s", HN_ST_I32, 0, NULL, e)) || (rc = hn_st_writer_f32(w, x, 10, e)) ||
        (rc = hn_st_writer_f32(w, x + 10, 53, e)) || (rc = hn_st_writer_f32(w, x, 6001, e)) ||
        (rc = hn_st_writer_f32(w, x + 6001, 299, e)) || (rc = hn_st_writer_raw(w, &salt, 4, e))) {
        hn_st_writer_abandon(w);
        return rc;
    }
    return hn_st_writer_commit(w, e);
}

static void check_file(const char *path, int salt) {
    hn_st *s;
    hn_err e = { 0 };
    static float x[6300];
    assert_int_equal(hn_st_open(&s, path, &e), HN_OK);
    assert_int_equal(hn_st_count(s), 4);
    assert_string_equal(hn_st_meta(s, "format"), "pt");
    assert_int_equal(hn_st_to_f32(want(s, "a", HN_ST_F32, 63), 0, 63, x, &e), HN_OK);
    for (int i = 0; i < 63; i++) assert_true(x[i] == ramp(i) * 0.7f + (float)salt);
    assert_int_equal((uintptr_t)hn_st_find(s, "a")->data % 8, 0);
    assert_int_equal(hn_st_to_f32(want(s, "b \"\\\xc3\xa9", HN_ST_BF16, 6300), 0, 6300, x, &e), HN_OK);
    for (int i = 0; i < 6300; i++)
        assert_true(bits(x[i]) == (uint32_t)nearest_bf16(ramp(i) * 0.7f + (float)salt) << 16);
    int32_t v;
    memcpy(&v, want(s, "s", HN_ST_I32, 1)->data, 4);
    assert_int_equal(v, salt);
    want(s, "none", HN_ST_BF16, 0);
    hn_st_close(s);
}

static void write_and_read(void **state) {
    (void)state;
    hn_err e = { 0 };
    assert_int_equal(write_file(at("w.safetensors"), 3, &e), HN_OK);
    check_file(at("w.safetensors"), 3);
}

/* Whatever operation the disk refuses, the file is the old one or the new one, and the error names it. */
static void write_torture(void **state) {
    (void)state;
    static const int faults[] = { EIO, ENOSPC, 0 };
    const char *path = at("torture.safetensors");
    for (int f = 0; f < 3; f++)
        for (long n = 0;; n++) {
            hn_err e = { 0 };
            assert_int_equal(write_file(path, 1, &e), HN_OK);
            hn_io_fault = faults[f];
            hn_io_fuse = n;
            int rc = write_file(path, 2, &e);
            bool spent = hn_io_fuse == 0;
            hn_io_fuse = -1;
            if (rc) assert_non_null(strstr(e.msg, dir));
            hn_st *s;
            hn_err none = { 0 };
            assert_int_equal(hn_st_open(&s, path, &none), HN_OK);
            int32_t salt;
            memcpy(&salt, hn_st_find(s, "s")->data, 4);
            hn_st_close(s);
            check_file(path, salt);
            if (!rc) assert_int_equal(salt, 2);
            if (!rc && !spent) break;
            assert_true(n < 100 && (rc || !faults[f] || salt == 2));
        }
}

/* ---- lies ---- */
static int open_bytes(const char *head, size_t hn, size_t data, uint64_t len, hn_err *e) {
    unsigned char *p = hn_alloc(8 + hn + data);
    hn_st *s;
    for (int i = 0; i < 8; i++) p[i] = (unsigned char)(len >> (8 * i));
    memcpy(p + 8, head, hn);
    int rc = hn_st_open_mem(&s, p, 8 + hn + data, "lie.safetensors", e);
    if (!rc) hn_st_close(s);
    else assert_null(s);
    hn_free(p);
    return rc;
}

#define T(name, dtype, shape, begin, end)                                                                    \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static const struct lie {
    const char *head;
    size_t data;
    int code;
    const char *says;
} lies[] = {
    { "{" T("a", "F32", "[2]", "0", "8") "}", 8, HN_OK, "" },
    { "{" T("a", "F32", "[2]", "0", "8") "}  \n", 8, HN_OK, "" },
    { "{}", 0, HN_OK, "" },
    { "{\"__metadata__\":{\"k\":\"v\"}}", 0, HN_OK, "" },
    { "{" T("a", "F32", "[0,5]", "0", "0") "," T("b", "U8", "[3]", "0", "3") "}", 3, HN_OK, "" },
    { "", 0, HN_EPARSE, "lie.safetensors" },
    { "[]", 0, HN_EPARSE, "not a JSON object" },
    { "{\"a\":1}", 0, HN_EPARSE, "\"a\"" },
    { "{" T("a", "F32", "[2]", "0", "8"), 8, HN_EPARSE, "line 1" },
    { "{" T("a", "F32", "[2]", "0", "8") "} x", 8, HN_EPARSE, "line 1" },
    { "{" T("a", "F33", "[2]", "0", "8") "}", 8, HN_EUNSUP, "F33" },
    { "{" T("a", "f32", "[2]", "0", "8") "}", 8, HN_EUNSUP, "f32" },
    { "{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, HN_EPARSE, "dtype" },
    { "{\"a\":{\"dtype\":3,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, HN_EPARSE, "dtype" },
    { "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, HN_EPARSE, "shape" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, HN_EPARSE, "data_offsets" },
    { "{" T("a", "F32", "2", "0", "8") "}", 8, HN_EPARSE, "shape" },
    { "{" T("a", "F32", "[2.0]", "0", "8") "}", 8, HN_EPARSE, "shape" },
    { "{" T("a", "F32", "[\"2\"]", "0", "8") "}", 8, HN_EPARSE, "shape" },
    { "{" T("a", "F32", "[-2]", "0", "8") "}", 8, HN_EPARSE, "shape" },
    { "{" T("a", "F32", "[-2,-1]", "0", "8") "}", 8, HN_EPARSE, "shape" },
    { "{" T("a", "F32", "[3]", "0", "8") "}", 8, HN_EPARSE, "do not fill" },
    { "{" T("a", "F32", "[1]", "0", "8") "}", 8, HN_EPARSE, "do not fill" },
    { "{" T("a", "F16", "[2]", "0", "8") "}", 8, HN_EPARSE, "do not fill" },
    { "{" T("a", "F32", "[4294967296,4294967296]", "0", "0") "}", 0, HN_EPARSE, "overflow" },
    { "{" T("a", "F32", "[4294967298,2147483649,2]", "0", "16") "}", 16, HN_EPARSE, "overflow" },
    { "{" T("a", "F64", "[2305843009213693953]", "0", "8") "}", 8, HN_EPARSE, "do not fill" },
    { "{" T("a", "F32", "[0,4294967296,4294967296]", "0", "0") "}", 0, HN_EPARSE, "overflow" },
    { "{" T("a", "F32", "[18446744073709551618]", "0", "8") "}", 8, HN_EPARSE, "shape" },
    { "{" T("a", "F32", "[1,1,1,1,1,1,1,1,2]", "0", "8") "}", 8, HN_EUNSUP, "9 dimensions" },
    { "{" T("a", "U8", "[9]", "0", "9") "}", 8, HN_EPARSE, "truncated" },
    { "{" T("a", "F32", "[2]", "0", "12") "}", 8, HN_EPARSE, "truncated" },
    { "{" T("a", "F32", "[4611686018427387903]", "0", "9223372036854775807") "}", 8, HN_EPARSE, "truncated" },
    { "{" T("a", "F32", "[2]", "8", "0") "}", 8, HN_EPARSE, "order" },
    { "{" T("a", "F32", "[2]", "-8", "0") "}", 8, HN_EPARSE, "order" },
    { "{" T("a", "F32", "[2]", "0", "8.0") "}", 8, HN_EPARSE, "data_offsets" },
    { "{" T("a", "F32", "[2]", "0", "8,9") "}", 8, HN_EPARSE, "data_offsets" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8]}}", 8, HN_EPARSE, "data_offsets" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":8}}", 8, HN_EPARSE, "data_offsets" },
    { "{" T("a", "U8", "[4]", "0", "4") "," T("b", "U8", "[4]", "3", "7") "}", 7, HN_EPARSE, "overlaps" },
    { "{" T("a", "U8", "[4]", "0", "4") "," T("b", "U8", "[4]", "0", "4") "}", 4, HN_EPARSE, "overlaps" },
    { "{" T("a", "U8", "[4]", "0", "4") "," T("b", "U8", "[0]", "2", "2") "}", 4, HN_EPARSE,
      "\"b\" overlaps" },
    { "{" T("a", "U8", "[4]", "0", "4") "," T("b", "U8", "[4]", "5", "9") "}", 9, HN_EPARSE, "no tensor" },
    { "{" T("a", "U8", "[4]", "1", "5") "}", 5, HN_EPARSE, "no tensor" },
    { "{" T("a", "U8", "[4]", "0", "4") "}", 5, HN_EPARSE, "after the last" },
    { "{}", 1, HN_EPARSE, "after the last" },
    { "{" T("a", "U8", "[4]", "0", "4") "," T("a", "U8", "[4]", "0", "4") "}", 4, HN_EPARSE, "duplicate" },
    { "{\"__metadata__\":{\"k\":1}}", 0, HN_EPARSE, "__metadata__.k" },
    { "{\"__metadata__\":[\"k\"]}", 0, HN_EPARSE, "__metadata__" },
    { "{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, HN_EPARSE, "line 1" },
    { "{\"\xff\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, HN_EPARSE, "line 1" },
};

static void every_lie(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        hn_err e = { 0 };
        size_t n = strlen(lies[i].head);
        int rc = open_bytes(lies[i].head, n, lies[i].data, n, &e);
        if (rc != lies[i].code || !strstr(e.msg, lies[i].says))
            fail_msg("%s: code %d, \"%s\"; wanted %d, \"%s\"", lies[i].head, rc, e.msg, lies[i].code,
                     lies[i].says);
        if (rc) assert_non_null(strstr(e.msg, "lie.safetensors"));
    }
}

static void header_length_lies(void **state) {
    (void)state;
    static const uint64_t len[] = {
        3, 9, 100000000, 100000001, 0x7fffffffffffffff, 0xfffffffffffffff8, UINT64_MAX
    };
    for (size_t i = 0; i < sizeof len / sizeof *len; i++) {
        hn_err e = { 0 };
        assert_int_equal(open_bytes("{}", 2, 0, len[i], &e), HN_EPARSE);
        assert_non_null(strstr(e.msg, i < 3 ? "the file has 10" : "at most 100000000"));
    }
    hn_st *s;
    hn_err e = { 0 };
    char deep[100000]; /* nested deeper than any parser's stack should follow */
    memset(deep, '[', sizeof deep);
    assert_int_equal(open_bytes(deep, sizeof deep, 0, sizeof deep, &e), HN_EPARSE);
    e.code = 0;
    assert_int_equal(hn_st_open_mem(&s, NULL, 0, "nothing", &e), HN_EPARSE);
    e.code = 0;
    assert_int_equal(hn_st_open(&s, at("absent.safetensors"), &e), HN_EIO);
    assert_non_null(strstr(e.msg, "absent.safetensors"));
}

/* A file cut at any byte, or with one byte more, is refused with its name; with any byte changed it never
 * harms. */
static void every_cut(void **state) {
    (void)state;
    char *p;
    size_t n;
    hn_err e = { 0 };
    hn_st *s;
    float x[64];
    assert_int_equal(hn_file_read(HN_SOURCE_ROOT "/tests/vectors/tiny.safetensors", &p, &n, &e), HN_OK);
    for (size_t k = 0; k <= n + 1; k++) {
        char *cut = hn_alloc(k);
        memcpy(cut, p, k < n ? k : n);
        e.code = 0;
        int rc = hn_st_open_mem(&s, cut, k, "cut.safetensors", &e);
        assert_int_equal(rc, k == n ? HN_OK : HN_EPARSE);
        if (rc) assert_non_null(strstr(e.msg, "cut.safetensors"));
        else hn_st_close(s);
        hn_free(cut);
    }
    for (size_t k = 0; k < n; k++) {
        char was = p[k];
        p[k] = (char)(was ^ (1 << k % 8));
        if (!hn_st_open_mem(&s, p, n, "bent", NULL)) {
            for (int64_t i = 0; i < hn_st_count(s); i++)
                if (hn_st_at(s, i)->count <= 64)
                    hn_st_to_f32(hn_st_at(s, i), 0, hn_st_at(s, i)->count, x, NULL);
            hn_st_close(s);
        }
        p[k] = was;
    }
    hn_free(p);
}

/* The n-th allocation fails, for all n: HN_ENOMEM and nothing lost (the sanitizer run sees leaks). */
static void no_memory(void **state) {
    (void)state;
    const char *path = at("memory.safetensors");
    json_set_alloc_funcs(hn_alloc, hn_free);
    for (long n = 0;; n++) {
        hn_err e = { 0 };
        hn_st *s = NULL;
        hn_alloc_fuse = n;
        int rc = write_file(path, 5, &e);
        if (!rc) rc = hn_st_open(&s, path, &e);
        hn_alloc_fuse = -1;
        hn_st_close(s);
        if (!rc) break;
        assert_true(rc == HN_ENOMEM || rc == HN_EPARSE); /* jansson takes some for errors of syntax */
        assert_true(n < 2000);
    }
    json_set_alloc_funcs(malloc, free);
}

/* ---- real files ---- */
static void sums(const char *path, int64_t tensors, hn_st_dtype d, double sum, double mass) {
    hn_st *s;
    hn_err e = { 0 };
    double a = 0, b = 0;
    float x[1000];
    if (!path) skip();
    assert_int_equal(hn_st_open(&s, path, &e), HN_OK);
    assert_int_equal(hn_st_count(s), tensors);
    for (int64_t i = 0; i < tensors; i++) {
        const hn_st_tensor *t = hn_st_at(s, i);
        assert_int_equal(t->dtype, d);
        for (int64_t k = 0, n; k < t->count; k += n) {
            n = t->count - k < 1000 ? t->count - k : 1000;
            assert_int_equal(hn_st_to_f32(t, k, n, x, &e), HN_OK);
            for (int64_t m = 0; m < n; m++) a += (double)x[m], b += fabs((double)x[m]);
        }
    }
    assert_true(fabs(a - sum) < 1e-6 && fabs(b - mass) < 1e-6); /* sums made with torch in f64 */
    hn_st_close(s);
}

static void real_model(void **state) {
    (void)state;
    sums(shared_file("data/weights/verl_arith_llama/model.safetensors"), 39, HN_ST_BF16, 1175.531228851527,
         13776.969229053706);
}

static void real_adapter(void **state) {
    (void)state;
    sums(shared_file("data/weights/lora_gpt2_kto/adapter_model.safetensors"), 24, HN_ST_F32,
         -16.502738142532465, 9265.0905330234291);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widening),           cmocka_unit_test(narrowing),
        cmocka_unit_test(reference_file),     cmocka_unit_test(write_and_read),
        cmocka_unit_test(write_torture),      cmocka_unit_test(every_lie),
        cmocka_unit_test(header_length_lies), cmocka_unit_test(every_cut),
        cmocka_unit_test(no_memory),          cmocka_unit_test(real_model),
        cmocka_unit_test(real_adapter),
    };
    dir = scratch_dir();
    if (!dir) return 1;
    int rc = cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
    hn_dir_remove(dir, NULL);
    return rc ? 1 : 0;
}
