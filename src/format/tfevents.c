/* tfevents.c - the writer of TensorBoard event files.  Records are small, so the CRC is the plain definition.
 */
#include "format/tfevents.h"

#include "base/io.h"
#include <string.h>
#include <unistd.h>

struct hn_tfevents {
    hn_log *log;
    hn_buf record, summary, value; /* being built; kept for their memory */
};

uint32_t hn_crc32c(const void *p, size_t n) {
    const unsigned char *b = p;
    uint32_t c = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        c ^= b[i];
        for (int k = 0; k < 8; k++) c = c >> 1 ^ (0x82f63b78u & (0u - (c & 1u))); /* reflected polynomial */
    }
    return ~c;
}

uint32_t hn_crc32c_masked(const void *p, size_t n) {
    uint32_t c = hn_crc32c(p, n);
    return (c >> 15 | c << 17) + 0xa282ead8u;
}

/* ---- protocol buffers: a key is field << 3 | wire type (0 varint, 1 eight bytes, 2 counted bytes, 5 four)
 * ---- */
static void varint(hn_buf *b, uint64_t v) {
    for (; v >= 128; v >>= 7) hn_buf_chr(b, (char)((v & 127) | 128));
    hn_buf_chr(b, (char)v);
}

static void little(hn_buf *b, uint64_t v, int bytes) {
    for (int i = 0; i < bytes; i++) hn_buf_chr(b, (char)(v >> (8 * i) & 255));
}

static void counted(hn_buf *b, int field, const void *p, size_t n) {
    varint(b, (uint64_t)field << 3 | 2);
    varint(b, n);
    hn_buf_add(b, p, n);
}

static void begin(hn_buf *b, double wall_time) {
    uint64_t bits;
    memcpy(&bits, &wall_time, sizeof bits);
    hn_buf_clear(b);
    hn_buf_add(b, (char[12]){ 0 }, 12); /* room for length and its CRC */
    varint(b, 1 << 3 | 1);
    little(b, bits, 8);
}

static int end(hn_tfevents *t, hn_err *e) {
    hn_buf *b = &t->record, frame = { 0 };
    size_t n = b->n - 12;
    little(&frame, n, 8);
    little(&frame, hn_crc32c_masked(frame.data, frame.oom ? 0 : 8), 4);
    if (!b->oom) little(b, hn_crc32c_masked(b->data + 12, n), 4);
    bool oom = b->oom || frame.oom || t->summary.oom || t->value.oom;
    if (!oom) memcpy(b->data, frame.data, 12);
    hn_buf_free(&frame);
    return oom ? hn_fail(e, HN_ENOMEM, "out of memory for an event record")
               : hn_log_add(t->log, b->data, b->n, e);
}

int hn_tfevents_open(hn_tfevents **out, const char *path, int64_t keep, hn_err *e) {
    hn_tfevents *t = hn_alloc(sizeof *t);
    *out = NULL;
    if (!t) return hn_fail(e, HN_ENOMEM, "%s: out of memory", path);
    int rc = hn_log_open(&t->log, path, keep, e);
    if (!rc && hn_log_at(t->log) == 0) {
        static const char version[] = "brain.Event:2";
        begin(&t->record, 0);
        counted(&t->record, 3, version, sizeof version - 1);
        rc = end(t, e);
    }
    if (rc) hn_tfevents_close(t);
    else *out = t;
    return rc;
}

int hn_tfevents_add(hn_tfevents *t, int64_t step, double wall_time, int n, const char *const *tags,
                    const double *values, hn_err *e) {
    begin(&t->record, wall_time);
    varint(&t->record, 2 << 3 | 0);
    varint(&t->record, (uint64_t)step);
    hn_buf_clear(&t->summary);
    for (int i = 0; i < n; i++) {
        float f = (float)values[i];
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        hn_buf_clear(&t->value);
        counted(&t->value, 1, tags[i], strlen(tags[i]));
        varint(&t->value, 2 << 3 | 5);
        little(&t->value, bits, 4);
        counted(&t->summary, 1, t->value.data, t->value.oom ? 0 : t->value.n);
    }
    counted(&t->record, 5, t->summary.data, t->summary.oom ? 0 : t->summary.n);
    return end(t, e);
}

int64_t hn_tfevents_at(const hn_tfevents *t) { return hn_log_at(t->log); }
int hn_tfevents_sync(hn_tfevents *t, hn_err *e) { return hn_log_sync(t->log, e); }

void hn_tfevents_close(hn_tfevents *t) {
    if (!t) return;
    hn_log_close(t->log);
    hn_buf_free(&t->record);
    hn_buf_free(&t->summary);
    hn_buf_free(&t->value);
    hn_free(t);
}

const char *hn_tfevents_name(hn_buf *b, double wall_time) {
    char host[256] = "localhost";
    if (gethostname(host, sizeof host - 1) || !*host || strchr(host, '/')) strcpy(host, "localhost");
    hn_buf_clear(b);
    hn_buf_fmt(b, "events.out.tfevents.%lld.%s.hone", (long long)wall_time, host);
    return b->oom ? NULL : b->data;
}
