/* io_calls.h - the system calls that tests can make fail, shared by io.c and io_dir.c only. */
#ifndef HN_IO_CALLS_H
#define HN_IO_CALLS_H

#include "base/io.h"

bool hn_io_refused(void); /* counts one operation; true with errno set when it is to fail */
int hn_io_open(const char *path, int flags);
int hn_io_rename(const char *from, const char *to);
int hn_io_sync(int fd);
bool hn_io_parent(char *path); /* cuts the last name off, in place; false: nothing is above it */
int hn_io_sync_dir(const char *path, hn_err *e);
int hn_io_sync_parent(const char *path, hn_err *e);
/* "cannot VERB PATH: why; remedy" with HN_EIO (HN_ENOMEM for ENOMEM); `why` is an errno value. */
int hn_io_fail(hn_err *e, int why, const char *verb, const char *path);
#endif
