/* io.c - whole reads, maps, the atomic writer and the append-only log.
 *
 * Every system call that a disk can refuse goes through one of the small functions at the top (io_dir.c
 * shares them by io_calls.h), so that a test can make the n-th one fail and look at what is left behind. */
#include "base/io_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* ---- the calls that can be made to fail ---- */
long hn_io_fuse = -1;
int hn_io_fault;
bool hn_io_no_exchange;

/* true: this call and all later ones fail as hn_io_fault says */
static bool blown(void) {
    if (hn_io_fuse < 0) return false;
    if (hn_io_fuse > 0) return hn_io_fuse--, false;
    if (hn_io_fault < 0) _exit(128 + SIGKILL);
    if (hn_io_fault) errno = hn_io_fault;
    return true;
}

bool hn_io_refused(void) { return blown() && hn_io_fault; }

int hn_io_open(const char *path, int flags) {
    return hn_io_refused() ? -1 : open(path, flags | O_CLOEXEC, 0666);
}

/* A short count is half of what was asked for, at least one byte: legal, and the callers must go on. */
static size_t allowed(size_t n) { return blown() ? hn_io_fault ? 0 : (n + 1) / 2 : n; }

static ssize_t read_some(int fd, void *p, size_t n) {
    if (n && !(n = allowed(n))) return -1;
    ssize_t got;
    do got = read(fd, p, n);
    while (got < 0 && errno == EINTR);
    return got;
}

static int write_all(int fd, const char *p, size_t n) {
    while (n) {
        size_t m = allowed(n);
        ssize_t put = m ? write(fd, p, m < (1u << 30) ? m : 1u << 30) : -1;
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return -1;
        p += put, n -= (size_t)put;
    }
    return 0;
}

int hn_io_sync(int fd) {
    if (hn_io_refused()) return -1;
    int rc;
    do rc = fsync(fd);
    while (rc && errno == EINTR);
    return rc && (errno == EINVAL || errno == EROFS) ? 0 : rc; /* a file system without fsync */
}

int hn_io_fail(hn_err *e, int why, const char *verb, const char *path) {
    int code = why == ENOMEM ? HN_ENOMEM : HN_EIO;
    const char *hint = "";
    switch (why) {
    case ENOENT: hint = "; check the name"; break;
    case EACCES:
    case EPERM: hint = "; check who may use it (ls -l)"; break;
    case EROFS: hint = "; choose a place that can be written"; break;
    case EMFILE: hint = "; raise the limit with `ulimit -n`"; break;
    case EIO: hint = "; the device failed: look at `dmesg`"; break;
    case EEXIST: hint = "; something else has that name: give another"; break;
    case EXDEV: hint = "; both names must be on one file system"; break;
    default: break;
    }
    if (why == ENOSPC || why == EDQUOT)
        return hn_fail(e, code,
                       "cannot %s %s: the disk or quota is full (%lld bytes free); make room there "
                       "or give another place",
                       verb, path, (long long)hn_disk_free(path));
    return hn_fail(e, code, "cannot %s %s: %s%s", verb, path, strerror(why), hint);
}

int hn_io_sync_dir(const char *path, hn_err *e) {
    int fd = hn_io_open(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) return hn_io_fail(e, errno, "open the folder", path);
    int rc = hn_io_sync(fd), why = errno;
    close(fd);
    return rc ? hn_io_fail(e, why, "flush the folder", path) : HN_OK;
}

bool hn_io_parent(char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') path[--n] = 0;
    char *slash = strrchr(path, '/');
    if (!strcmp(path, "/") || !strcmp(path, ".") || !n) return false;
    if (!slash) strcpy(path, ".");
    else slash[slash == path] = 0;
    return true;
}

int hn_io_sync_parent(const char *path, hn_err *e) {
    char *dir = hn_strdup(path);
    if (!dir) return hn_fail(e, HN_ENOMEM, "out of memory");
    hn_io_parent(dir);
    int rc = hn_io_sync_dir(dir, e);
    hn_free(dir);
    return rc;
}

/* ---- reading ---- */
static int open_regular(const char *path, struct stat *st, hn_err *e) {
    int fd = hn_io_open(path, O_RDONLY);
    if (fd < 0) return hn_io_fail(e, errno, "open", path);
    if (fstat(fd, st)) {
        int why = errno;
        close(fd);
        return hn_io_fail(e, why, "look at", path);
    }
    if (!S_ISDIR(st->st_mode)) return fd;
    close(fd);
    return hn_fail(e, HN_EIO, "%s is a folder; a file is needed", path);
}

int hn_file_read(const char *path, char **data, size_t *n, hn_err *e) {
    struct stat st;
    *data = NULL, *n = 0;
    int fd = open_regular(path, &st, e);
    if (fd < 0) return fd;
    hn_buf b = { 0 };
    int rc = HN_OK;
    /* the size is a hint: a pipe or /proc file has none */
    size_t cap = S_ISREG(st.st_mode) && st.st_size > 0 ? (size_t)st.st_size + 1 : 1 << 16;
    for (;;) {
        if (b.n + 2 >
            b.cap) { /* room for one byte more than the hint, so that the end is seen without growing */
            size_t want = b.cap ? 2 * b.cap : cap + 1;
            char *p = hn_realloc(b.data, want);
            if (!p) {
                rc = hn_fail(e, HN_ENOMEM, "out of memory for %s (%zu bytes)", path, want);
                break;
            }
            b.data = p, b.cap = want;
        }
        ssize_t got = read_some(fd, b.data + b.n, b.cap - 1 - b.n);
        if (got < 0) rc = hn_io_fail(e, errno, "read", path);
        if (got <= 0) break;
        b.n += (size_t)got;
    }
    close(fd);
    if (rc) return hn_buf_free(&b), rc;
    b.data[b.n] = 0;
    *data = b.data, *n = b.n;
    return HN_OK;
}

int hn_map_open(hn_map *m, const char *path, hn_err *e) {
    struct stat st;
    memset(m, 0, sizeof *m);
    int fd = open_regular(path, &st, e);
    if (fd < 0) return fd;
    int rc = HN_OK;
    if (!S_ISREG(st.st_mode)) {
        rc = hn_fail(e, HN_EIO, "%s is not a regular file; copy it into one first", path);
    } else if (st.st_size == 0) {
        m->data = (const unsigned char *)"";
    } else {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) rc = hn_io_fail(e, errno, "map", path);
        else m->data = p, m->n = (size_t)st.st_size;
    }
    close(fd);
    return rc;
}

void hn_map_close(hn_map *m) {
    if (m->n) munmap((void *)(uintptr_t)m->data, m->n);
    memset(m, 0, sizeof *m);
}

/* ---- the atomic writer ----
 * The temporary file is PATH.hone-part, held by a lock: a second writer of the same path is told so, and what
 * a killed one left behind is overwritten by the next, so that nothing piles up. */
enum { BUFFER = 1 << 16 };

struct hn_out {
    char *path, *part; /* part NULL: path is a device or a pipe and is written straight */
    int fd;
    bool placed; /* part has become path */
    size_t used;
    uint64_t total; /* bytes asked for so far */
    hn_err err;
    char buffer[BUFFER];
};

static void out_free(hn_out *o) {
    if (!o) return;
    if (o->fd >= 0) close(o->fd);
    hn_free(o->path);
    hn_free(o->part);
    hn_free(o);
}

/* Opens and locks o->part; the file may be renamed away between the two by its former owner. */
static int open_part(hn_out *o, mode_t mode, hn_err *e) {
    for (;;) {
        struct stat mine, there;
        o->fd = hn_io_open(o->part, O_WRONLY | O_CREAT | O_NOFOLLOW);
        if (o->fd < 0) return hn_io_fail(e, errno, "create", o->path);
        if (flock(o->fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
            return hn_fail(e, HN_EIO, "%s is being written by another process; wait or give another name",
                           o->path);
        if (fstat(o->fd, &mine)) return hn_io_fail(e, errno, "look at", o->part);
        if (!stat(o->part, &there) && there.st_ino == mine.st_ino && there.st_dev == mine.st_dev) break;
        close(o->fd);
    }
    if (ftruncate(o->fd, 0)) return hn_io_fail(e, errno, "empty", o->part);
    if (mode) fchmod(o->fd, mode); /* keeps the mode of the file it replaces; not worth failing for */
    return HN_OK;
}

int hn_out_open(hn_out **out, const char *path, hn_err *e) {
    struct stat st;
    bool there = !stat(path, &st);
    *out = NULL;
    if (there && S_ISDIR(st.st_mode)) return hn_fail(e, HN_EIO, "%s is a folder; a file is needed", path);
    hn_out *o = hn_alloc(sizeof *o);
    if (!o) return hn_fail(e, HN_ENOMEM, "out of memory");
    o->fd = -1;
    char *real = there ? realpath(path, NULL) : NULL; /* a link stays a link: what it points to is replaced */
    o->path = hn_strdup(real ? real : path);
    free(real);
    int rc = o->path ? HN_OK : hn_fail(e, HN_ENOMEM, "out of memory");
    if (!rc && there && !S_ISREG(st.st_mode)) {
        o->fd = hn_io_open(path, O_WRONLY);
        if (o->fd < 0) rc = hn_io_fail(e, errno, "open", path);
    } else if (!rc) {
        hn_buf b = { 0 };
        hn_buf_fmt(&b, "%s.hone-part", o->path);
        o->part = b.data;
        if (b.oom) rc = hn_fail(e, HN_ENOMEM, "out of memory");
        else rc = open_part(o, there ? st.st_mode & 07777 : 0, e);
    }
    if (rc) return out_free(o), rc;
    *out = o;
    return HN_OK;
}

static void put(hn_out *o, const void *p, size_t n) {
    if (o->err.code || !n || !write_all(o->fd, p, n)) return;
    if (errno == ENOSPC || errno == EDQUOT)
        hn_fail(&o->err, HN_EIO,
                "cannot write %s: the disk or quota is full (%llu bytes or more are needed, "
                "%lld are free); make room there or give another place",
                o->path, (unsigned long long)o->total, (long long)hn_disk_free(o->path));
    else hn_io_fail(&o->err, errno, "write", o->path);
}

static void flush(hn_out *o) {
    put(o, o->buffer, o->used);
    o->used = 0;
}

void hn_out_write(hn_out *o, const void *p, size_t n) {
    o->total += n;
    if (n > BUFFER - o->used) flush(o);
    if (n >= BUFFER) {
        put(o, p, n);
    } else if (n) {
        memcpy(o->buffer + o->used, p, n);
        o->used += n;
    }
}

void hn_out_fmt(hn_out *o, const char *fmt, ...) {
    hn_buf b = { 0 };
    va_list ap;
    va_start(ap, fmt);
    hn_buf_vfmt(&b, fmt, ap);
    va_end(ap);
    if (b.oom) hn_fail(&o->err, HN_ENOMEM, "out of memory while writing %s", o->path);
    else hn_out_write(o, b.data, b.n);
    hn_buf_free(&b);
}

int hn_io_rename(const char *from, const char *to) { return hn_io_refused() ? -1 : rename(from, to); }

int hn_out_commit(hn_out *o, hn_err *e) {
    flush(o);
    if (!o->err.code && o->part) {
        if (hn_io_sync(o->fd)) hn_io_fail(&o->err, errno, "flush", o->path);
        else if (hn_io_rename(o->part, o->path)) hn_io_fail(&o->err, errno, "rename into place", o->path);
        else o->placed = true, hn_io_sync_parent(o->path, &o->err);
    }
    int rc = o->err.code;
    if (rc) {
        hn_fail(e, rc, "%s", o->err.msg);
        if (o->part && !o->placed) unlink(o->part);
    }
    out_free(o);
    return rc;
}

void hn_out_abandon(hn_out *o) {
    if (o && o->part) unlink(o->part);
    out_free(o);
}

int hn_file_write(const char *path, const void *p, size_t n, hn_err *e) {
    hn_out *o;
    int rc = hn_out_open(&o, path, e);
    if (rc) return rc;
    hn_out_write(o, p, n);
    return hn_out_commit(o, e);
}

/* ---- the log ---- */
struct hn_log {
    char *path;
    int fd;
    int64_t at;
};

int hn_log_open(hn_log **out, const char *path, int64_t keep, hn_err *e) {
    struct stat st;
    *out = NULL;
    hn_log *l = hn_alloc(sizeof *l);
    if (!l) return hn_fail(e, HN_ENOMEM, "out of memory");
    int rc = HN_OK;
    l->fd = -1;
    if (!(l->path = hn_strdup(path))) rc = hn_fail(e, HN_ENOMEM, "out of memory");
    else if ((l->fd = hn_io_open(path, O_WRONLY | O_CREAT | O_APPEND)) < 0)
        rc = hn_io_fail(e, errno, "open", path);
    else if (fstat(l->fd, &st)) rc = hn_io_fail(e, errno, "look at", path);
    else if (keep > st.st_size)
        rc = hn_fail(e, HN_EPARSE,
                     "%s has %lld bytes, but the first %lld were to be kept: something cut it; "
                     "restore it or start without resuming",
                     path, (long long)st.st_size, (long long)keep);
    else if (keep >= 0 && ftruncate(l->fd, keep)) rc = hn_io_fail(e, errno, "cut", path);
    if (rc) return hn_log_close(l), rc;
    l->at = keep >= 0 ? keep : st.st_size;
    *out = l;
    return HN_OK;
}

int hn_log_add(hn_log *l, const void *p, size_t n, hn_err *e) {
    if (write_all(l->fd, p, n)) {
        int why = errno;
        if (ftruncate(l->fd, l->at)) why = errno; /* no half record stays */
        return hn_io_fail(e, why, "write", l->path);
    }
    l->at += (int64_t)n;
    return HN_OK;
}

int64_t hn_log_at(const hn_log *l) { return l->at; }

int hn_log_sync(hn_log *l, hn_err *e) {
    return hn_io_sync(l->fd) ? hn_io_fail(e, errno, "flush", l->path) : HN_OK;
}

void hn_log_close(hn_log *l) {
    if (!l) return;
    if (l->fd >= 0) close(l->fd);
    hn_free(l->path);
    hn_free(l);
}

/* ---- hashes ---- */
static void hex_digest(struct sha256_ctx *c, char hex[65]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t d[SHA256_DIGEST_SIZE];
    sha256_digest(c, sizeof d, d);
    for (size_t i = 0; i < sizeof d; i++) hex[2 * i] = digits[d[i] >> 4], hex[2 * i + 1] = digits[d[i] & 15];
    hex[64] = 0;
}

void hn_sha256(const void *p, size_t n, char hex[65]) {
    struct sha256_ctx c;
    sha256_init(&c);
    sha256_update(&c, n, p);
    hex_digest(&c, hex);
}

int hn_file_sha256(const char *path, char hex[65], hn_err *e) {
    struct stat st;
    struct sha256_ctx c;
    uint8_t chunk[1 << 15];
    ssize_t got;
    int fd = open_regular(path, &st, e);
    if (fd < 0) return fd;
    sha256_init(&c);
    while ((got = read_some(fd, chunk, sizeof chunk)) > 0) sha256_update(&c, (size_t)got, chunk);
    int why = errno;
    close(fd);
    if (got < 0) return hn_io_fail(e, why, "read", path);
    hex_digest(&c, hex);
    return HN_OK;
}
