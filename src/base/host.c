/* host.c - cores and memory as Linux tells them: affinity, /proc, control groups of both versions, limits. */
#include "base/host.h"
#include "base/io.h"
#include "base/pool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* The text of root/path, or NULL; hn_free it. */
static char *text_of(const char *root, const char *a, const char *b) {
    hn_buf path = { 0 };
    char *text = NULL;
    size_t n;
    hn_buf_fmt(&path, "%s%s%s", root, a, b);
    if (path.oom || !hn_path_exists(path.data) || hn_file_read(path.data, &text, &n, NULL)) text = NULL;
    hn_buf_free(&path);
    return text;
}

/* A number of a file: the first word when `key` is NULL, else the word after key at the start of a line;
 * -1: not there, or "max". */
static int64_t number(const char *text, const char *key) {
    const char *at = text;
    for (size_t n = key ? strlen(key) : 0; key && at && strncmp(at, key, n);)
        if ((at = strchr(at, '\n'))) at++;
    if (!at) return -1;
    if (key) at += strlen(key);
    at += strspn(at, ": \t");
    return *at >= '0' && *at <= '9' ? (int64_t)strtoll(at, NULL, 10) : -1;
}

static int64_t number_in(const char *root, const char *dir, const char *file, const char *key) {
    char *t = text_of(root, dir, file);
    int64_t n = number(t, key);
    hn_free(t);
    return n;
}

static void least(int64_t *x, int64_t n) {
    if (n >= 0 && (*x < 0 || n < *x)) *x = n;
}

/* ---- control groups ---- */
static void memory_of(hn_host *h, const char *root, const char *dir, bool v2) {
    int64_t most = number_in(root, dir, v2 ? "/memory.max" : "/memory.limit_in_bytes", NULL);
    int64_t used = number_in(root, dir, v2 ? "/memory.current" : "/memory.usage_in_bytes", NULL);
    int64_t cache = number_in(root, dir, "/memory.stat", v2 ? "inactive_file" : "total_inactive_file");
    if (most < 0 || most > INT64_MAX / 4) return; /* version 1 says "none" by a huge number */
    least(&h->limit, most);
    if (used < 0) return;
    if (cache > 0) used -= cache < used ? cache : used; /* given back when somebody asks */
    least(&h->available, most > used ? most - used : 0);
}

static void cores_of(hn_host *h, const char *root, const char *dir, bool v2) {
    int64_t part = -1, whole = -1;
    if (v2) {
        char *t = text_of(root, dir, "/cpu.max");
        const char *space = t ? strchr(t, ' ') : NULL;
        part = number(t, NULL);
        whole = space ? number(space, NULL) : -1;
        hn_free(t);
    } else {
        part = number_in(root, dir, "/cpu.cfs_quota_us", NULL);
        whole = number_in(root, dir, "/cpu.cfs_period_us", NULL);
    }
    double q = part > 0 && whole > 0 ? (double)part / (double)whole : 0;
    if (q > 0 && (h->quota <= 0 || q < h->quota)) h->quota = q;
}

/* One line of /proc/self/cgroup, "ID:controllers:/path": the group and all above it limit. */
static void group(hn_host *h, const char *root, char *line) {
    char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
    if (!path) return;
    *path++ = 0;
    names++;
    bool v2 = !*names, memory = v2 || strstr(names, "memory"), cpu = v2;
    for (const char *p = names; !v2 && p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
        cpu = cpu || (!strncmp(p, "cpu", 3) && (!p[3] || p[3] == ','));
    hn_buf dir = { 0 };
    for (;;) {
        hn_buf_clear(&dir);
        hn_buf_fmt(&dir, "/sys/fs/cgroup%s%s",
                   v2       ? ""
                   : memory ? "/memory"
                            : "/cpu",
                   strcmp(path, "/") ? path : "");
        if (dir.oom) break;
        if (memory) memory_of(h, root, dir.data, v2);
        if (cpu) cores_of(h, root, dir.data, v2);
        char *slash = strrchr(path, '/');
        if (!slash || !*path) break;
        *slash = 0;
    }
    hn_buf_free(&dir);
}

void hn_host_look(hn_host *h, const char *root) {
    *h = (hn_host){ hn_pool_cores(), (int)sysconf(_SC_NPROCESSORS_ONLN), 0, -1, -1, -1 };
    int64_t all = number_in(root, "/proc/meminfo", "", "MemTotal"),
            open = number_in(root, "/proc/meminfo", "", "MemAvailable");
    if (all >= 0) h->memory = all * 1024;
    if (open >= 0) h->available = open * 1024;
    char *groups = text_of(root, "/proc/self/cgroup", ""), *rest = groups;
    for (char *line; rest && (line = strsep(&rest, "\n"));) group(h, root, line);
    hn_free(groups);
    struct rlimit r;
    if (!getrlimit(RLIMIT_AS, &r) && r.rlim_cur != RLIM_INFINITY) {
        int64_t used = number_in(root, "/proc/self/status", "", "VmSize") * 1024, most = (int64_t)r.rlim_cur;
        least(&h->limit, most);
        least(&h->available, most > used ? most - used : 0);
    }
}

int64_t hn_host_resident(void) {
    int64_t kb = number_in("", "/proc/self/status", "", "VmRSS");
    return kb < 0 ? -1 : kb * 1024;
}

int64_t hn_host_peak(void) {
    int64_t kb = number_in("", "/proc/self/status", "", "VmHWM");
    return kb < 0 ? -1 : kb * 1024;
}
