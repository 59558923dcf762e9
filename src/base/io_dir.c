/* io_dir.c - folders: made with their parents, copied, removed, and replaced in one step.
 *
 * hn_dir_replace exchanges the two names in one system call, so that `to` is the old or the new folder
 * at every instant.  Where the file system cannot exchange, `to` steps aside to `to`.hone-old first;
 * a crash between the two renames leaves only that, which hn_dir_recover puts back. */
#include "base/io_calls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define OLD ".hone-old"

bool hn_path_exists(const char *path) {
    struct stat st;
    return !stat(path, &st);
}

bool hn_path_is_dir(const char *path) {
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

const char *hn_path_join(hn_buf *b, const char *dir, const char *name) {
    hn_buf_clear(b);
    size_t n = strlen(dir);
    hn_buf_add(b, dir, n);
    if (n && dir[n - 1] != '/') hn_buf_chr(b, '/');
    hn_buf_str(b, name);
    return b->oom ? NULL : b->data;
}

int64_t hn_disk_free(const char *path) {
    struct statvfs v;
    char up[4096];
    size_t n = strlen(path);
    if (n >= sizeof up) return -1;
    memcpy(up, path, n + 1);
    while (statvfs(up, &v)) /* a file not yet there: ask its folder */
        if (!hn_io_parent(up)) return -1;
    return (int64_t)(v.f_bavail * v.f_frsize);
}

static int make_one(const char *path, hn_err *e) {
    if (hn_path_is_dir(path)) return HN_OK;
    if (!hn_io_refused() && !mkdir(path, 0777)) return hn_io_sync_parent(path, e);
    int why = errno;
    if (why == EEXIST && hn_path_is_dir(path)) return HN_OK; /* somebody else was faster */
    return hn_io_fail(e, why, "make the folder", path);
}

int hn_dir_make(const char *path, hn_err *e) {
    char *p = hn_strdup(path);
    if (!p) return hn_fail(e, HN_ENOMEM, "out of memory");
    int rc = HN_OK;
    for (char *s = p; !rc && (s = strchr(s + 1, '/'));) {
        *s = 0;
        rc = make_one(p, e);
        *s = '/';
    }
    if (!rc) rc = make_one(p, e);
    hn_free(p);
    return rc;
}

int hn_dir_lock(const char *path, int *lock, hn_err *e) {
    int fd = hn_io_open(path, O_RDONLY | O_DIRECTORY);
    *lock = -1;
    if (fd < 0) return hn_io_fail(e, errno, "open the folder", path);
    if (flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) {
        close(fd);
        return hn_fail(e, HN_EIO, "%s: another run is at work there; wait for it, or give another name",
                       path);
    }
    *lock = fd;
    return HN_OK;
}

void hn_dir_unlock(int lock) {
    if (lock >= 0) close(lock);
}

static int named(const struct dirent *d) { return strcmp(d->d_name, ".") && strcmp(d->d_name, ".."); }

static int by_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

int hn_dir_each(const char *path, int (*each)(void *ctx, const char *name, hn_err *e), void *ctx, hn_err *e) {
    struct dirent **list;
    int n = hn_io_refused() ? -1 : scandir(path, &list, named, by_bytes), rc = HN_OK;
    if (n < 0) return hn_io_fail(e, errno, "list the folder", path);
    for (int i = 0; i < n; i++) {
        if (!rc) rc = each(ctx, list[i]->d_name, e);
        free(list[i]);
    }
    free(list);
    return rc;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)at;
    return kind == FTW_DP || kind == FTW_DNR ? rmdir(path) : unlink(path);
}

int hn_dir_remove(const char *path, hn_err *e) {
    struct stat st;
    if (lstat(path, &st)) return errno == ENOENT ? HN_OK : hn_io_fail(e, errno, "look at", path);
    if (!S_ISDIR(st.st_mode)) return hn_fail(e, HN_EIO, "%s is not a folder; it stays", path);
    if (hn_io_refused() || nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS))
        return hn_io_fail(e, errno, "remove", path);
    return HN_OK;
}

static int exchange(const char *a, const char *b) {
    if (hn_io_refused()) return -1;
    if (!hn_io_no_exchange) return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
    errno = EINVAL;
    return -1;
}

/* Two renames; the crash between them is hn_dir_recover's. */
static int step_aside(const char *from, const char *to, const char *old, hn_err *e) {
    int rc = hn_dir_remove(old, e);
    if (rc) return rc;
    if (hn_io_rename(to, old)) return hn_io_fail(e, errno, "move aside", to);
    if (!hn_io_rename(from, to)) return HN_OK;
    int why = errno;
    rename(old, to); /* what cannot be undone here, hn_dir_recover undoes */
    return hn_io_fail(e, why, "rename into place", to);
}

/* Puts `from` under the name `to`; *left is where the former `to` is now, or NULL. */
static int place(const char *from, const char *to, const char *old, const char **left, hn_err *e) {
    *left = NULL;
    if (!hn_path_exists(to))
        return hn_io_rename(from, to) ? hn_io_fail(e, errno, "rename into place", to) : HN_OK;
    if (!hn_path_is_dir(to))
        return hn_fail(e, HN_EIO, "%s is in the way and is not a folder; move it or give another name", to);
    *left = from;
    if (!exchange(from, to)) return HN_OK;
    if (errno != EINVAL && errno != ENOSYS) return hn_io_fail(e, errno, "rename into place", to);
    *left = old;
    return step_aside(from, to, old, e);
}

int hn_dir_replace(const char *from, const char *to, hn_err *e) {
    hn_buf old = { 0 };
    const char *left;
    hn_buf_fmt(&old, "%s" OLD, to);
    if (old.oom) return hn_fail(e, HN_ENOMEM, "out of memory");
    int rc = hn_io_sync_dir(from, e);
    if (!rc) rc = place(from, to, old.data, &left, e);
    if (!rc) rc = hn_io_sync_parent(to, e);
    if (!rc && left && (rc = hn_dir_remove(left, e)))
        hn_fail_in(e, "%s is complete and in place, but what it replaced stays in %s", to, left);
    hn_buf_free(&old);
    return rc;
}

int hn_dir_recover(const char *path, hn_err *e) {
    hn_buf old = { 0 };
    hn_buf_fmt(&old, "%s" OLD, path);
    int rc = old.oom ? hn_fail(e, HN_ENOMEM, "out of memory") : HN_OK;
    if (!rc && !hn_path_exists(path) && hn_path_is_dir(old.data)) {
        if (hn_io_rename(old.data, path)) rc = hn_io_fail(e, errno, "restore", path);
        else rc = hn_io_sync_parent(path, e);
    }
    hn_buf_free(&old);
    return rc;
}

int hn_file_copy(const char *from, const char *to, hn_err *e) {
    hn_map m;
    int rc = hn_map_open(&m, from, e);
    if (rc) return rc;
    rc = hn_file_write(to, m.data, m.n, e);
    hn_map_close(&m);
    return rc;
}
