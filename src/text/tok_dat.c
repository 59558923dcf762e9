/* tok_dat.c - a tree of bytes in one array: a step from node to child is one look-up (Aoe 1989,
 * doi:10.1109/32.31365).  The children of a node lie within one block of 256, at base ^ byte. */
#include <stdlib.h>
#include <string.h>

#include "text/tok.h"

typedef struct entry {
    tok_key key;
    int32_t id;
} entry;

/* Keys [lo,hi) share their first `depth` bytes, which lead to `node`. */
typedef struct range {
    int64_t lo, hi;
    int32_t depth, node;
} range;

typedef struct builder {
    tok_dat *d;
    entry *e;
    range *due;
    int64_t n_due, cap_due, first; /* blocks before `first` are taken as full */
} builder;

static int by_bytes(const void *a, const void *b) {
    const tok_key *x = &((const entry *)a)->key, *y = &((const entry *)b)->key;
    int c = memcmp(x->s, y->s, (size_t)(x->n < y->n ? x->n : y->n));
    return c ? c : x->n < y->n ? -1 : x->n > y->n;
}

static int grow(tok_dat *d) {
    int64_t n = d->n + 256;
    if (n > INT32_MAX || hn_grow(&d->unit, &d->cap, n, sizeof *d->unit)) return HN_ENOMEM;
    for (int64_t i = d->n; i < n; i++) d->unit[i] = (tok_unit){ .base = -1, .parent = -1, .id = -1 };
    d->n = n;
    return HN_OK;
}

static bool fits(const tok_dat *d, int64_t base, const unsigned char *c, int n) {
    for (int i = 0; i < n; i++)
        if (d->unit[base ^ c[i]].parent >= 0 || (base ^ c[i]) == 0) return false;
    return true;
}

/* A base for children by the n bytes of c; -1: no memory. */
static int64_t place(builder *b, const unsigned char *c, int n) {
    tok_dat *d = b->d;
    int tries = 0;
    for (int64_t block = b->first; block < d->n; block += 256) {
        for (int64_t i = block; i < block + 256; i++)
            if (fits(d, i, c, n)) return i;
        if (n <= 2 || ++tries > 8) b->first = block + 256; /* as good as full: do not look again */
    }
    int64_t base = d->n;
    return grow(d) ? -1 : base;
}

static int children(builder *b, range r) {
    unsigned char c[256];
    int64_t from[257], i = r.lo;
    int n = 0;
    if (b->e[i].key.n == r.depth) b->d->unit[r.node].id = b->e[i++].id;
    for (; i < r.hi; i++) {
        unsigned char x = (unsigned char)b->e[i].key.s[r.depth];
        if (n && c[n - 1] == x) continue;
        from[n] = i;
        c[n++] = x;
    }
    if (!n) return HN_OK;
    from[n] = r.hi;
    int64_t base = place(b, c, n);
    if (base < 0 || hn_grow(&b->due, &b->cap_due, b->n_due + n, sizeof *b->due)) return HN_ENOMEM;
    b->d->unit[r.node].base = (int32_t)base;
    for (int k = 0; k < n; k++) {
        int32_t child = (int32_t)(base ^ c[k]);
        b->d->unit[child].parent = r.node;
        b->due[b->n_due++] = (range){ from[k], from[k + 1], r.depth + 1, child };
    }
    return HN_OK;
}

int tok_dat_build(tok_dat *d, const tok_key *key, const int32_t *id, int64_t n) {
    builder b = { .d = d, .e = hn_alloc((size_t)(n ? n : 1) * sizeof *b.e) };
    int rc = b.e ? grow(d) : HN_ENOMEM;
    for (int64_t i = 0; i < n && !rc; i++) b.e[i] = (entry){ key[i], id[i] };
    if (!rc) qsort(b.e, (size_t)n, sizeof *b.e, by_bytes);
    if (!rc) d->unit[0].base = 0; /* a node without children points into block 0, where no child of it is */
    if (!rc && n) rc = children(&b, (range){ 0, n, 0, 0 });
    while (!rc && b.n_due) rc = children(&b, b.due[--b.n_due]);
    for (int64_t i = 0; i < d->n && !rc; i++)
        if (d->unit[i].base < 0) d->unit[i].base = 0;
    hn_free(b.e);
    hn_free(b.due);
    return rc;
}
