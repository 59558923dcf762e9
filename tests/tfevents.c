/* tfevents.c - event files: CRC vectors, every record read back by an independent reader, resume. */
#include "format/tfevents.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "shared.h"

static char path[512];

/* CRC-32C vectors of RFC 3720, B.4. */
static void crc_vectors(void **state) {
    (void)state;
    unsigned char b[32] = { 0 };
    assert_int_equal(hn_crc32c(b, 32), 0x8a9136aa);
    memset(b, 0xff, 32);
    assert_int_equal(hn_crc32c(b, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++) b[i] = (unsigned char)i;
    assert_int_equal(hn_crc32c(b, 32), 0x46dd794e);
    for (int i = 0; i < 32; i++) b[i] = (unsigned char)(31 - i);
    assert_int_equal(hn_crc32c(b, 32), 0x113fdb5c);
    assert_int_equal(hn_crc32c("123456789", 9), 0xe3069283);
    assert_int_equal(hn_crc32c_masked("123456789", 9), 0xc78ab0e5); /* by the formula, in another language */
}

/* ---- a reader written from the format's description, not from the writer ---- */
typedef struct seen {
    int n;
    int64_t step[64];
    double wall[64];
    char tag[64][64];
    float value[64];
    char version[32];
} seen;

static uint64_t le(const unsigned char *p, int n) {
    uint64_t v = 0;
    while (n--) v = v << 8 | p[n];
    return v;
}

static uint64_t varint(const unsigned char **p, const unsigned char *end) {
    uint64_t v = 0;
    for (int shift = 0;; shift += 7) {
        assert_true(*p < end && shift < 70);
        v |= (uint64_t)(**p & 127) << shift;
        if (*(*p)++ < 128) return v;
    }
}

static void read_value(const unsigned char *p, const unsigned char *end, seen *s, int64_t step, double wall) {
    while (p < end) {
        uint64_t key = varint(&p, end);
        if (key == (1 << 3 | 2)) {
            uint64_t n = varint(&p, end);
            assert_true(n <= (uint64_t)(end - p) && n < 64 && !*s->tag[s->n]); /* once a value */
            memcpy(s->tag[s->n], p, n);
            p += n;
        } else {
            assert_int_equal(key, 2 << 3 | 5);
            uint32_t u = (uint32_t)le(p, 4);
            memcpy(&s->value[s->n], &u, 4);
            p += 4;
        }
    }
    assert_ptr_equal(p, end);
    s->step[s->n] = step;
    s->wall[s->n++] = wall;
}

static void read_event(const unsigned char *p, const unsigned char *end, seen *s) {
    int64_t step = 0;
    double wall = 0;
    while (p < end) {
        uint64_t key = varint(&p, end), n;
        switch (key) {
        case 1 << 3 | 1:
            n = le(p, 8);
            memcpy(&wall, &n, 8);
            p += 8;
            break;
        case 2 << 3: step = (int64_t)varint(&p, end); break;
        case 3 << 3 | 2:
            n = varint(&p, end);
            assert_true(n < sizeof s->version && !s->n && !*s->version);
            memcpy(s->version, p, n);
            p += n;
            break;
        default:
            assert_int_equal(key, 5 << 3 | 2);
            n = varint(&p, end);
            for (const unsigned char *stop = p + n; p < stop;) {
                assert_int_equal(varint(&p, end), 1 << 3 | 2);
                uint64_t k = varint(&p, end);
                read_value(p, p + k, s, step, wall);
                p += k;
            }
        }
    }
    assert_ptr_equal(p, end);
}

static void read_all(seen *s) {
    char *data;
    size_t n;
    hn_err e = { 0 };
    memset(s, 0, sizeof *s);
    assert_int_equal(hn_file_read(path, &data, &n, &e), HN_OK);
    for (size_t i = 0; i < n;) {
        const unsigned char *p = (unsigned char *)data + i;
        assert_true(n - i >= 16);
        uint64_t len = le(p, 8);
        assert_true(len <= n - i - 16);
        assert_int_equal(le(p + 8, 4), hn_crc32c_masked(p, 8));
        assert_int_equal(le(p + 12 + len, 4), hn_crc32c_masked(p + 12, len));
        read_event(p + 12, p + 12 + len, s);
        i += len + 16;
    }
    hn_free(data);
    assert_string_equal(s->version, "brain.Event:2");
}

static void add(hn_tfevents *t, int64_t step, double x) {
    static const char *const tags[] = { "train/loss", "rewards/arith/mean" };
    hn_err e = { 0 };
    assert_int_equal(hn_tfevents_add(t, step, 1.7e9 + (double)step, 2, tags, (double[]){ x, -x }, &e), HN_OK);
}

static void written_and_resumed(void **state) {
    (void)state;
    hn_tfevents *t;
    hn_err e = { 0 };
    static seen s;
    assert_int_equal(hn_tfevents_open(&t, path, 0, &e), HN_OK);
    add(t, 0, 0.5);
    add(t, 1, INFINITY);
    int64_t mark = hn_tfevents_at(t);
    add(t, 128, 3);
    add(t, (int64_t)1 << 40, 4);
    assert_int_equal(hn_tfevents_sync(t, &e), HN_OK);
    hn_tfevents_close(t);
    read_all(&s);
    assert_int_equal(s.n, 8);
    assert_true(s.step[0] == 0 && s.step[4] == 128 && s.step[6] == (int64_t)1 << 40);
    assert_true(s.value[0] == 0.5f && s.value[1] == -0.5f && isinf(s.value[2]) && s.wall[4] == 1.7e9 + 128);
    assert_string_equal(s.tag[0], "train/loss");
    assert_string_equal(s.tag[7], "rewards/arith/mean");

    assert_int_equal(hn_tfevents_open(&t, path, mark, &e),
                     HN_OK); /* the checkpoint knew only steps 0 and 1 */
    add(t, 2, 7);
    hn_tfevents_close(t);
    read_all(&s);
    assert_true(s.n == 6 && s.step[3] == 1 && s.step[4] == 2 && s.value[4] == 7);

    assert_int_equal(hn_tfevents_open(&t, path, -1, &e), HN_OK);
    add(t, 3, 8);
    hn_tfevents_close(t);
    read_all(&s);
    assert_true(s.n == 8 && s.step[6] == 3);
    assert_int_equal(hn_tfevents_open(&t, path, 1 << 20, &e), HN_EPARSE); /* was cut by somebody else */
    assert_null(t);

    assert_int_equal(hn_tfevents_open(&t, path, 0, NULL), HN_OK);
    hn_tfevents_close(t);
    read_all(&s);
    assert_int_equal(s.n, 0);
}

/* A record that could not be written leaves no trace, and the file can go on. */
static void full_disk(void **state) {
    (void)state;
    static const char *const tag[] = { "x" };
    static const double one[] = { 1 };
    static seen s;
    for (long n = 0; n < 4; n++) {
        hn_tfevents *t;
        hn_err e = { 0 };
        assert_int_equal(hn_tfevents_open(&t, path, 0, &e), HN_OK);
        hn_io_fault = n % 2 ? ENOSPC : 0;
        hn_io_fuse = n / 2;
        int rc = hn_tfevents_add(t, 1, 0, 1, tag, one, &e);
        hn_io_fuse = -1;
        assert_int_equal(rc, n == 1 ? HN_EIO : HN_OK);
        add(t, 2, 2);
        hn_tfevents_close(t);
        read_all(&s);
        assert_int_equal(s.n, n == 1 ? 2 : 3);
    }
}

static void no_memory(void **state) {
    (void)state;
    static const char *const tag[] = { "x" };
    static const double one[] = { 1 };
    for (long n = 0;; n++) {
        hn_tfevents *t = NULL;
        hn_err e = { 0 };
        hn_alloc_fuse = n;
        int rc = hn_tfevents_open(&t, path, 0, &e);
        if (!rc) rc = hn_tfevents_add(t, 1, 0, 1, tag, one, &e);
        hn_alloc_fuse = -1;
        hn_tfevents_close(t);
        if (!rc) break;
        assert_int_equal(rc, HN_ENOMEM);
        assert_true(n < 50);
    }
}

static void name(void **state) {
    (void)state;
    hn_buf b = { 0 };
    assert_non_null(strstr(hn_tfevents_name(&b, 1234567890.75), "events.out.tfevents.1234567890."));
    hn_buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(crc_vectors), cmocka_unit_test(written_and_resumed),
                                        cmocka_unit_test(full_disk), cmocka_unit_test(no_memory),
                                        cmocka_unit_test(name) };
    const char *dir = scratch_dir();
    if (!dir) return 1;
    snprintf(path, sizeof path, "%s/events.out.tfevents.1.test", dir);
    int rc = cmocka_run_group_tests_name("tfevents", tests, NULL, NULL);
    hn_dir_remove(dir, NULL);
    return rc ? 1 : 0;
}
