/* shared.h - where a test finds the real data that is not part of the repository.
 *
 * HONE_SHARED names the folder; without it, it is "../shared" beside the source tree.  A test whose data is
 * absent says so and is skipped (exit 77), never passed. */
#ifndef TEST_SHARED_H
#define TEST_SHARED_H

#include "base/io.h"
#include <stdio.h>
#include <stdlib.h>

/* Path of data file `name` in static memory, or NULL (with the reason printed) when it is not there. */
static inline const char *shared_file(const char *name) {
    static char path[4][4096];
    static int turn;
    const char *dir = getenv("HONE_SHARED");
    char *p = path[turn++ & 3];
    if (dir && *dir) snprintf(p, sizeof path[0], "%s/%s", dir, name);
    else snprintf(p, sizeof path[0], "%s/../shared/%s", HN_SOURCE_ROOT, name);
    if (hn_path_exists(p)) return p;
    printf("skipped: %s is not there (set HONE_SHARED)\n", p);
    return NULL;
}

/* A fresh folder for a test's files, in static memory: under $TMPDIR, or in memory where there is such a
 * place (tests flush to disk thousands of times), or under /tmp. */
static inline const char *scratch_dir(void) {
    static char path[256];
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/hone-test-XXXXXX", tmp && *tmp ? tmp : "/dev/shm");
    if (mkdtemp(path)) return path;
    snprintf(path, sizeof path, "/tmp/hone-test-XXXXXX");
    return mkdtemp(path);
}

enum { SKIPPED = 77 };
#endif
