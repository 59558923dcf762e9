/* io.h - files: whole reads, maps, and writes that either happen or do not.
 *
 * All of the project's file access goes through here, so that a test can make the n-th
 * operation fail (short read, EIO, full disk) and see that nothing is lost. */
#ifndef HN_IO_H
#define HN_IO_H

#include "base/base.h"

/* Reads a whole file.  *data is the caller's (hn_free), followed by a 0 byte not counted in *n. */
int hn_file_read(const char *path, char **data, size_t *n, hn_err *e);

/* A read-only map of a file; a zeroed hn_map is closed. */
typedef struct hn_map {
    const unsigned char *data;
    size_t n;
} hn_map;
int hn_map_open(hn_map *m, const char *path, hn_err *e);
void hn_map_close(hn_map *m);

/* An atomic writer: bytes go to a temporary file beside `path`; commit flushes it to disk
 * (fsync of file and folder) and renames it over `path`; abandon removes it.  One of the two
 * must be called.  Write errors stick and are reported by commit with the path and the remedy.
 * A device or pipe (/dev/stdout) is written straight. */
typedef struct hn_out hn_out;
int hn_out_open(hn_out **o, const char *path, hn_err *e);
void hn_out_write(hn_out *o, const void *p, size_t n);
void hn_out_fmt(hn_out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int hn_out_commit(hn_out *o, hn_err *e);                                 /* frees o */
void hn_out_abandon(hn_out *o);                                          /* frees o; NULL is fine */
int hn_file_write(const char *path, const void *p, size_t n, hn_err *e); /* open, write, commit */

/* An append-only log (JSONL, event files): each record is written by one call and flushed to
 * the kernel; hn_log_open cuts the file to `keep` bytes first (< 0: keeps all), for resume. */
typedef struct hn_log hn_log;
int hn_log_open(hn_log **l, const char *path, int64_t keep, hn_err *e);
int hn_log_add(hn_log *l, const void *p, size_t n, hn_err *e);
int64_t hn_log_at(const hn_log *l); /* bytes so far */
int hn_log_sync(hn_log *l, hn_err *e);
void hn_log_close(hn_log *l);

/* Folders.  A new folder is built beside its final place (files in it by the writer above) and put
 * there in one step: at every instant `to` is the old folder or the new one, whole.  Where the file system
 * cannot exchange names, a crash can leave the old one under `to`.hone-old; hn_dir_recover, called before
 * such a folder is opened, puts it back.  What was `to` is removed last. */
int hn_dir_make(const char *path, hn_err *e); /* and its parents; fine when it is there */
int hn_dir_replace(const char *from, const char *to, hn_err *e);
int hn_dir_recover(const char *path, hn_err *e);
/* With all it holds; links are not followed; fine when absent. */
int hn_dir_remove(const char *path, hn_err *e);
int hn_file_copy(const char *from, const char *to, hn_err *e); /* atomic */
/* Calls each(ctx, name, e) for every entry of a folder in the order of the bytes of the names ("." and ".."
 * left out); a nonzero answer stops the walk and is returned. */
int hn_dir_each(const char *path, int (*each)(void *ctx, const char *name, hn_err *e), void *ctx, hn_err *e);
/* Holds a folder for this process alone until hn_dir_unlock or the end of the process, however it ends.
 * HN_EIO: another one holds it. */
int hn_dir_lock(const char *path, int *lock, hn_err *e);
void hn_dir_unlock(int lock); /* -1 is fine */
bool hn_path_exists(const char *path);
bool hn_path_is_dir(const char *path);
int64_t hn_disk_free(const char *path); /* bytes; -1 when unknown */
/* dir/name in b's memory; b is cleared first.  NULL when out of memory. */
const char *hn_path_join(hn_buf *b, const char *dir, const char *name);
/* SHA-256 of a file / of bytes, as 64 lower-case hex digits and a 0. */
int hn_file_sha256(const char *path, char hex[65], hn_err *e);
void hn_sha256(const void *p, size_t n, char hex[65]);

/* Tests only.  hn_io_fuse < 0: never; else it counts down over opens, reads, writes, syncs, renames, mkdir
 * and removals of folders; the one at 0 fails as hn_io_fault says, and so do all after it.  hn_io_fault is an
 * errno value (EIO, ENOSPC); 0: reads and writes are short (legal, must not harm); -1: the process ends there
 * with status 137, as by kill -9. */
extern long hn_io_fuse;
extern int hn_io_fault;
extern bool hn_io_no_exchange; /* as on a file system that cannot exchange two names */
#endif
