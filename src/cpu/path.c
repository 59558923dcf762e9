/* path.c - gathering of paths (path.h). */
#include "cpu/path.h"

#include "cpu/attn.h"

void hn_paths_init(hn_paths *f, int32_t *start) {
    f->start = start;
    f->longest = 0;
    for (int64_t s = 0; s < f->n_span; s++) {
        const int32_t *sp = f->span + 3 * s, up = sp[2];
        hn_assert(up < s && sp[1] >= 0);
        start[s] = up < 0 ? 0 : start[up] + f->span[3 * up + 1];
        if (start[s] + sp[1] > f->longest) f->longest = start[s] + sp[1];
    }
}

/* Adds the gradients of the tokens at [p, p + n) to the output and clears them. */
static void let_go(hn_tiles *t, const hn_paths *f, int g, int p, int n) {
    int64_t D = f->D, ld = (f->H + 2 * f->G) * D, k = (f->H + g) * D, v = k + f->G * D;
    for (; n > 0; p++, n--) {
        if (t->held[p] < 0) continue;
        float *row = t->out + t->held[p] * ld, *dk = t->dk + p * D, *dv = t->dv + p * D;
        for (int64_t d = 0; d < D; d++) {
            row[k + d] += dk[d];
            row[v + d] += dv[d];
            dk[d] = dv[d] = 0;
        }
    }
}

void hn_tiles_empty(hn_tiles *t, const hn_paths *f, int g) {
    if (t->dk) let_go(t, f, g, 0, t->filled);
    for (int p = 0; p < t->filled; p++) t->held[p] = -1;
    t->filled = 0;
}

/* Positions [p, p + n), inside one block, take the tokens from `token` on. */
static void take(hn_tiles *t, const hn_paths *f, int g, int p, int n, int32_t token) {
    int64_t D = f->D, ld = (f->H + 2 * f->G) * D, block = p / HN_BLOCK * HN_BLOCK * D;
    const float *k = f->qkv + token * ld + (f->H + g) * D, *v = k + f->G * D;
    if (t->dk) let_go(t, f, g, p, n);
    if (t->kt) HN_TIER_PICK(hn_attn_columns)(t->kt + block, p % HN_BLOCK, k, ld, n, f->D);
    if (t->vt) HN_TIER_PICK(hn_attn_columns)(t->vt + block, p % HN_BLOCK, v, ld, n, f->D);
    if (t->k) HN_TIER_PICK(hn_attn_copy)(t->k + p * D, k, ld, n, f->D);
    if (t->v) HN_TIER_PICK(hn_attn_copy)(t->v + p * D, v, ld, n, f->D);
    for (int i = 0; i < n; i++) t->held[p + i] = token + i;
}

void hn_tiles_fill(hn_tiles *t, const hn_paths *f, int g, int32_t s, int n) {
    int32_t end = f->start[s] + n;
    hn_assert(end <= t->positions);
    while (t->filled < end) t->held[t->filled++] = -1;
    for (; s >= 0; s = f->span[3 * s + 2], n = s < 0 ? 0 : f->span[3 * s + 1]) {
        int32_t p0 = f->start[s], token = f->span[3 * s] - p0; /* position p holds token + p */
        for (int p = p0; p < p0 + n;) {
            if (t->held[p] == token + p) {
                p++;
                continue;
            }
            int last = p + 1, edge = (p / HN_BLOCK + 1) * HN_BLOCK;
            while (last < p0 + n && last < edge && t->held[last] != token + last) last++;
            take(t, f, g, p, last - p, token + p);
            p = last;
        }
    }
}
