/* path.c - gathering of paths (path.h). */
#include "cpu/path.h"

#include <string.h>

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

/* The tokens at [p, p + n) write their gradients. */
static void let_go(const hn_tiles *t, const hn_paths *f, int g, int p, int n) {
    int64_t D = f->D, ld = (f->H + 2 * f->G) * D;
    for (int end = p + n, next; p < end; p = next) {
        for (next = p + 1;
             next < end && t->held[next] == t->held[p] + (next - p) && t->again[next] == t->again[p];)
            next++;
        if (t->held[p] < 0) continue;
        float *row = t->out + t->held[p] * ld + (f->H + g) * D;
        HN_TIER_PICK(hn_attn_move)(row, ld, t->dk + p * D, D, next - p, f->D, t->again[p]);
        HN_TIER_PICK(hn_attn_move)(row + f->G * D, ld, t->dv + p * D, D, next - p, f->D, t->again[p]);
    }
}

void hn_tiles_empty(hn_tiles *t, const hn_paths *f, int g) {
    if (t->dk) let_go(t, f, g, 0, t->filled);
    for (int p = 0; p < t->filled; p++) t->held[p] = -1;
    t->filled = 0;
}

/* Positions [p, p + n), inside one block, take the tokens from `token` on. */
static void take(hn_tiles *t, const hn_paths *f, int g, int p, int n, int32_t token, bool again) {
    int64_t D = f->D, ld = (f->H + 2 * f->G) * D, block = p / HN_BLOCK * HN_BLOCK * D;
    const float *k = f->qkv + token * ld + (f->H + g) * D, *v = k + f->G * D;
    if (t->dk) {
        let_go(t, f, g, p, n);
        memset(t->dk + p * D, 0, (size_t)(n * D) * sizeof *t->dk);
        memset(t->dv + p * D, 0, (size_t)(n * D) * sizeof *t->dv);
        memset(t->again + p, again, (size_t)n);
    }
    if (t->kt) HN_TIER_PICK(hn_attn_columns)(t->kt + block, p % HN_BLOCK, k, ld, n, f->D);
    if (t->vt) HN_TIER_PICK(hn_attn_columns)(t->vt + block, p % HN_BLOCK, v, ld, n, f->D);
    if (t->k) HN_TIER_PICK(hn_attn_move)(t->k + p * D, D, k, ld, n, f->D, false);
    if (t->v) HN_TIER_PICK(hn_attn_move)(t->v + p * D, D, v, ld, n, f->D, false);
    if (t->unit) {
        t->unit->round(t->k_rows + p * D, k, ld, n, f->D);
        t->unit->round(t->v_rows + p * D, v, ld, n, f->D);
        t->stale[p / HN_BLOCK] = true;
    }
    for (int i = 0; i < n; i++) t->held[p + i] = token + i;
}

/* What the unit reads of the first `end` positions, all of them held, is made of their rows. */
static void renew(hn_tiles *t, int D, int end) {
    for (int b = 0; b < end; b += HN_BLOCK) {
        if (!t->stale[b / HN_BLOCK]) continue;
        int n = t->filled - b < HN_BLOCK ? t->filled - b : HN_BLOCK;
        int64_t at = (int64_t)b * D;
        t->stale[b / HN_BLOCK] = false;
        if (t->k_pairs) t->unit->keys(t->k_pairs + at / 2, t->k_rows + at, n, HN_BLOCK, D);
        if (t->v_pairs) t->unit->pairs(t->v_pairs + at / 2, t->v_rows + at, n, HN_BLOCK, D);
        if (t->k_columns) t->unit->columns(t->k_columns + at, t->k_rows + at, n, D);
    }
}

void hn_tiles_fill(hn_tiles *t, const hn_paths *f, int g, int32_t s, int n) {
    int32_t end = f->start[s] + n, own = s;
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
            take(t, f, g, p, last - p, token + p, s != own);
            p = last;
        }
    }
    if (t->unit) renew(t, f->D, end);
}
