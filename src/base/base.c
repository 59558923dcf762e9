/* base.c - errors, memory, strings, counter-based random numbers. */
#include "base/base.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* ---- errors ---- */
int hn_fail(hn_err *e, int code, const char *fmt, ...) {
    if (e && !e->code) {
        va_list ap;
        e->code = code;
        va_start(ap, fmt);
        vsnprintf(e->msg, sizeof e->msg, fmt, ap);
        va_end(ap);
    }
    return code;
}

int hn_fail_in(hn_err *e, const char *fmt, ...) {
    if (!e || !e->code) return e ? e->code : 0;
    char where[sizeof e->msg], all[2 * sizeof e->msg + 4];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(where, sizeof where, fmt, ap);
    va_end(ap);
    snprintf(all, sizeof all, "%s: %s", where, e->msg);
    memcpy(e->msg, all, sizeof e->msg - 1);
    e->msg[sizeof e->msg - 1] = 0;
    return e->code;
}

void hn_panic(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, what);
    abort();
}

/* ---- memory ---- */
enum { ALIGN = 64 };
long hn_alloc_fuse = -1, hn_alloc_refused;
static atomic_long live; /* blocks handed out and not given back */

long hn_alloc_live(void) { return atomic_load_explicit(&live, memory_order_relaxed); }

static void count(const void *block, long change) {
    if (block) atomic_fetch_add_explicit(&live, change, memory_order_relaxed);
}

static bool blown(void) {
    if (hn_alloc_fuse == 0) return ++hn_alloc_refused;
    if (hn_alloc_fuse > 0) hn_alloc_fuse--;
    return false;
}

void *hn_alloc(size_t size) {
    if (blown() || size > SIZE_MAX - ALIGN) return NULL;
    size_t n = size ? (size + ALIGN - 1) & ~(size_t)(ALIGN - 1) : ALIGN;
    void *p = aligned_alloc(ALIGN, n);
    count(p, 1);
    return p ? memset(p, 0, n) : NULL;
}

void *hn_realloc(void *p, size_t size) {
    bool first = !p;
    if (blown()) return NULL;
    void *q = realloc(p, size ? size : 1);
    if (first) count(q, 1);
    return q;
}

void hn_free(void *p) {
    count(p, -1);
    free(p);
}

char *hn_strndup(const char *s, size_t n) {
    char *p = n < SIZE_MAX ? hn_alloc(n + 1) : NULL;
    return p ? memcpy(p, s, n) : NULL;
}

char *hn_strdup(const char *s) { return hn_strndup(s, strlen(s)); }

int hn_grow(void *p, int64_t *cap, int64_t need, size_t size) {
    if (need <= *cap) return HN_OK;
    if (need > INT64_MAX / 2) return HN_ENOMEM;
    int64_t n = *cap ? *cap : 16;
    while (n < need) n *= 2;
    if ((uint64_t)n > SIZE_MAX / size) return HN_ENOMEM;
    void *old, *q;
    memcpy(&old, p, sizeof old);
    if (!(q = hn_realloc(old, (size_t)n * size))) return HN_ENOMEM;
    memset((char *)q + (size_t)*cap * size, 0, (size_t)(n - *cap) * size);
    memcpy(p, &q, sizeof q);
    *cap = n;
    return HN_OK;
}

/* ---- large blocks ----
 * What is smaller than a few huge pages is cut from a slab of them, one block after the other, so that
 * weights of a megabyte lie in huge pages as well.  A freed block goes back to the kernel at once. */
enum { PAGE = 4096, HUGE_PAGE = 2 << 20, SLAB = 64 << 20, ALONE = 16 << 20 };

static struct {
    pthread_mutex_t lock;
    char *at;
    size_t left;
} slab = { .lock = PTHREAD_MUTEX_INITIALIZER };

size_t hn_big_size(size_t size) {
    size_t unit = size >= ALONE ? HUGE_PAGE : PAGE;
    return ((size ? size : 1) + unit - 1) & ~(unit - 1);
}

/* n bytes from the kernel, on a boundary of huge pages and trimmed to it. */
static char *map(size_t n) {
    char *p = mmap(NULL, n + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    size_t skip = (size_t)(-(uintptr_t)p & (HUGE_PAGE - 1));
    if (skip) munmap(p, skip);
    if (HUGE_PAGE - skip) munmap(p + skip + n, HUGE_PAGE - skip);
    madvise(p + skip, n, MADV_HUGEPAGE);
    return p + skip;
}

static char *cut(size_t n) {
    pthread_mutex_lock(&slab.lock);
    if (slab.left < n) {
        char *p = map(SLAB);
        if (p && slab.left) munmap(slab.at, slab.left);
        if (p) slab.at = p, slab.left = SLAB;
    }
    char *p = slab.left < n ? NULL : slab.at;
    if (p) slab.at += n, slab.left -= n;
    pthread_mutex_unlock(&slab.lock);
    return p;
}

void *hn_big_alloc(size_t size) {
    if (blown() || size > SIZE_MAX / 2) return NULL;
    size_t n = hn_big_size(size);
    void *p = n < ALONE ? cut(n) : map(n);
    count(p, 1);
    return p;
}

void hn_big_free(void *p, size_t size) {
    count(p, -1);
    if (p) munmap(p, hn_big_size(size));
}

typedef struct block {
    struct block *next;
    size_t cap, used;
} block;

struct hn_arena {
    block *first, *cur;
    size_t block_size;
};

hn_arena *hn_arena_new(size_t block_size) {
    hn_arena *a = hn_alloc(sizeof *a);
    if (a) a->block_size = block_size;
    return a;
}

void *hn_arena_get(hn_arena *a, size_t size) {
    if (size > SIZE_MAX / 2) return NULL;
    size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    for (;;) {
        block *b = a->cur;
        if (b) {
            uintptr_t base = (uintptr_t)(b + 1);
            size_t off = ((base + b->used + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1)) - base;
            if (off + size <= b->cap) {
                b->used = off + size;
                return memset((char *)base + off, 0, size);
            }
            if (b->next) {
                a->cur = b->next;
                a->cur->used = 0;
                continue;
            }
        }
        size_t cap = size + ALIGN > a->block_size ? size + ALIGN : a->block_size;
        block *n = hn_alloc(sizeof *n + cap);
        if (!n) return NULL;
        n->cap = cap;
        if (b) b->next = n;
        else a->first = n;
        a->cur = n;
    }
}

char *hn_arena_str(hn_arena *a, const char *s, size_t n) {
    char *p = hn_arena_get(a, n + 1);
    return p ? memcpy(p, s, n) : NULL;
}

void hn_arena_reset(hn_arena *a) {
    a->cur = a->first;
    if (a->cur) a->cur->used = 0;
}

void hn_arena_free(hn_arena *a) {
    if (!a) return;
    for (block *b = a->first, *n; b; b = n) {
        n = b->next;
        hn_free(b);
    }
    hn_free(a);
}

/* ---- growing strings ---- */
static bool room(hn_buf *b, size_t n) {
    if (b->oom) return false;
    if (n > SIZE_MAX / 2 - b->n) return !(b->oom = true);
    if (b->n + n + 1 <= b->cap) return true;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < b->n + n + 1) cap *= 2;
    char *p = hn_realloc(b->data, cap);
    if (!p) return !(b->oom = true);
    b->data = p;
    b->cap = cap;
    return true;
}

void hn_buf_add(hn_buf *b, const void *p, size_t n) {
    if (!room(b, n)) return;
    if (n) memcpy(b->data + b->n, p, n);
    b->n += n;
    b->data[b->n] = 0;
}

void hn_buf_str(hn_buf *b, const char *s) { hn_buf_add(b, s, strlen(s)); }
void hn_buf_chr(hn_buf *b, char c) { hn_buf_add(b, &c, 1); }

void hn_buf_vfmt(hn_buf *b, const char *fmt, va_list ap) {
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n >= 0 && room(b, (size_t)n)) {
        vsnprintf(b->data + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
}

void hn_buf_fmt(hn_buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    hn_buf_vfmt(b, fmt, ap);
    va_end(ap);
}

void hn_buf_clear(hn_buf *b) {
    b->n = 0;
    if (b->data) b->data[0] = 0;
}

void hn_buf_free(hn_buf *b) {
    hn_free(b->data);
    memset(b, 0, sizeof *b);
}

/* ---- random numbers: the finaliser of SplitMix64 over a keyed counter ---- */
static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t hn_rand(uint64_t seed, uint64_t stream, uint64_t i) {
    uint64_t key = mix(seed + 0x9e3779b97f4a7c15u) ^ mix(stream + 0xd1b54a32d192ed03u);
    return mix(key + 0x9e3779b97f4a7c15u * (i + 1));
}

double hn_rand01(uint64_t seed, uint64_t stream, uint64_t i) {
    return (double)(hn_rand(seed, stream, i) >> 11) * 0x1p-53;
}

double hn_rand_normal(uint64_t seed, uint64_t stream, uint64_t i) {
    double u = 1 - hn_rand01(seed, stream, 2 * i), v = hn_rand01(seed, stream, 2 * i + 1); /* u in (0,1] */
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);                                 /* Box-Muller */
}

uint64_t hn_key(uint64_t stream, uint64_t part) {
    return mix(stream * 0x9e3779b97f4a7c15u + mix(part + 0xa0761d6478bd642fu));
}

/* A Feistel network over the next power of four, walked until the image is inside [0,n). */
uint64_t hn_permute(uint64_t seed, uint64_t stream, uint64_t n, uint64_t i) {
    hn_assert(i < n);
    int half = 1;
    while (half < 32 && ((uint64_t)1 << (2 * half)) < n) half++;
    uint64_t mask = ((uint64_t)1 << half) - 1;
    do {
        uint64_t l = i >> half, r = i & mask;
        for (uint64_t round = 0; round < 4; round++) {
            uint64_t f = hn_rand(seed, hn_key(stream, round), r) & mask, t = l ^ f;
            l = r;
            r = t;
        }
        i = l << half | r;
    } while (i >= n);
    return i;
}

double hn_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
