/* attn.c - attention over a forest and over the cache: which rows meet which key blocks (attn.h). */
#include "cpu/attn.h"

#include <string.h>

#include "base/pool.h"
#include "cpu/kernels.h"
#include "cpu/path.h"
#include "cpu/slots.h"

enum {
    ROWS = 96, /* rows (of all heads) whose running state is kept at once */
    PIECE = 96 /* query rows of a span that go together */
};

/* ---- over a forest ----
 * An item is a run of pieces of spans and a key-value head.  Neighbouring pieces share most of their paths;
 * neighbouring items read other columns of the same rows. */
typedef struct piece {
    int32_t span, from, n;
} piece;

typedef struct forward {
    hn_paths f;
    const piece *piece;
    const int32_t *run; /* [n_run + 1] first piece of each run */
    int64_t n_run;
    const hn_attn_unit *unit;
    float *o, *lse;
    hn_slots slots;
} forward;

/* An area: which tokens are held, keys and values; on a unit rows and pairs of rows, as large, and queries.
 */
static size_t tiles_bytes(int64_t positions, int64_t D) {
    return hn_room((size_t)positions * sizeof(int32_t)) + hn_room((size_t)(positions / HN_BLOCK)) +
           hn_room((size_t)(2 * positions * D) * sizeof(float)) +
           hn_room((size_t)(ROWS * D) * sizeof(uint16_t));
}
static hn_tiles tiles_at(char *area, int positions, int64_t D, const hn_attn_unit *unit, uint16_t **q) {
    hn_tiles t = { .held = (int32_t *)(void *)area, .positions = positions, .unit = unit };
    int64_t n = positions * D;
    area += hn_room((size_t)positions * sizeof *t.held);
    t.stale = (bool *)area;
    memset(t.stale, 0, (size_t)(positions / HN_BLOCK));
    area += hn_room((size_t)(positions / HN_BLOCK));
    *q = (uint16_t *)(void *)(area + hn_room((size_t)(2 * n) * sizeof(float)));
    if (unit) {
        t.k_rows = (uint16_t *)(void *)area;
        t.v_rows = t.k_rows + n;
        t.k_pairs = (uint32_t *)(void *)(t.v_rows + n);
        t.v_pairs = t.k_pairs + n / 2;
    } else {
        t.kt = (float *)(void *)area;
        t.v = t.kt + n;
    }
    return t;
}

/* What y->work holds. */
typedef struct plan {
    int32_t *start; /* [S] */
    piece *piece;   /* [S + N / PIECE] */
    int32_t *run;   /* as many, + 1 */
    char *areas;
    size_t areas_bytes, bytes;
} plan;
static plan plan_of(const hn_tensor *y) {
    int64_t N = hn_cap_rows(y->in[0]), S = hn_cap_rows(y->in[1]), pieces = S + N / PIECE;
    size_t starts = hn_room((size_t)S * sizeof(int32_t)), lists = hn_room((size_t)pieces * sizeof(piece));
    size_t runs = hn_room((size_t)(pieces + 1) * sizeof(int32_t));
    char *at = y->work;
    plan p = { .areas_bytes = hn_slots_bytes(tiles_bytes(hn_whole_blocks(N), hn_head_size(y))) };
    p.bytes = starts + lists + runs + p.areas_bytes;
    if (!at) return p;
    p.start = (int32_t *)(void *)at;
    p.piece = (piece *)(void *)(at + starts);
    p.run = (int32_t *)(void *)(at + starts + lists);
    p.areas = at + starts + lists + runs;
    return p;
}

size_t hn_cpu_attn_scratch(const hn_tensor *y) { return plan_of(y).bytes; }

/* Rows of a piece for all query heads of key-value head g, in batches against all their blocks. */
static void piece_rows(const forward *c, const hn_tiles *t, uint16_t *q, int g, const piece *p, int *unit) {
    const hn_paths *f = &c->f;
    int64_t D = f->D, ld = (f->H + 2 * f->G) * D;
    int group = f->H / f->G, n = p->n * group;
    hn_attn_row row[ROWS];
    for (int r0 = 0; r0 < n; r0 += ROWS) {
        int m = (int)hn_least(ROWS, n - r0), top = 0;
        for (int r = 0; r < m; r++) {
            int i = p->from + (r0 + r) % p->n, h = g * group + (r0 + r) / p->n;
            int64_t token = f->span[3 * p->span] + i;
            const float *x = f->qkv + token * ld + h * D;
            row[r].o = c->o + (token * f->H + h) * D;
            row[r].lse = c->lse ? c->lse + token * f->H + h : NULL;
            row[r].pos = f->start[p->span] + i;
            top = row[r].pos > top ? row[r].pos : top;
            for (int d = 0; d < D; d += 16) __builtin_prefetch(x + d); /* rows are far apart */
            row[r].q = x;
            if (!c->unit) continue;
            row[r].q = q + r * D;
            c->unit->round(q + r * D, x, ld, 1, (int)D);
        }
        for (int b = 0; b <= top; b += HN_BLOCK) {
            if (c->unit)
                c->unit->block(row, m, t->k_pairs + b * D / 2, t->v_pairs + b * D / 2, (int)D, b, unit);
            else HN_TIER_PICK(hn_attn_block)(row, m, t->kt + b * D, t->v + b * D, (int)D, b);
        }
        HN_TIER_PICK(hn_attn_end)(row, m, (int)D);
    }
}

static void forward_slice(void *ctx, int64_t lo, int64_t hi) {
    forward *c = ctx;
    char *area = hn_slots_take(&c->slots);
    uint16_t *q;
    int unit = 0;
    hn_tiles t = tiles_at(area, (int)hn_whole_blocks(c->f.longest), c->f.D, c->unit, &q);
    for (int64_t i = lo; i < hi; i++) {
        int g = (int)(i % c->f.G);
        const int32_t *run = c->run + (c->n_run - 1 - i / c->f.G); /* ends of paths first: they cost more */
        for (const piece *p = c->piece + run[0]; p < c->piece + run[1]; p++) {
            hn_tiles_fill(&t, &c->f, g, p->span, p->from + p->n);
            piece_rows(c, &t, q, g, p, &unit);
        }
        hn_tiles_empty(&t, &c->f, g);
    }
    if (c->unit) c->unit->finish();
    hn_slots_give(&c->slots, area);
}

/* Cuts the spans into pieces and these into runs: of a few hundred tokens, so that their rows stay in the
 * second-level cache, but not of few tokens of a long path, which each run gathers anew. */
static void cut(forward *c, const plan *p) {
    int32_t n = 0, most = (int32_t)hn_most(256, hn_least(1024, c->f.longest / 4)), tokens = most;
    for (int32_t s = 0; s < c->f.n_span; s++)
        for (int32_t i = 0, len = c->f.span[3 * s + 1]; i < len; i += PIECE, n++) {
            p->piece[n] = (piece){ s, i, (int32_t)hn_least(PIECE, len - i) };
            if (tokens >= most) p->run[c->n_run++] = n, tokens = 0;
            tokens += p->piece[n].n;
        }
    p->run[c->n_run] = n;
    c->piece = p->piece;
    c->run = p->run;
}

int hn_cpu_attn(const hn_tensor *y, hn_err *e) {
    (void)e;
    plan p = plan_of(y);
    forward c = { .f = { .qkv = y->in[0]->data,
                         .span = y->in[1]->data,
                         .n_span = hn_rows(y->in[1]),
                         .H = (int)y->attr.i[0],
                         .G = (int)y->attr.i[1],
                         .D = hn_head_size(y) },
                  .o = y->out[0]->data,
                  .lse = y->out[1]->data };
    c.unit = hn_attn_unit_for(y->attr.i[2], c.f.D);
    hn_paths_init(&c.f, p.start);
    cut(&c, &p);
    if (c.n_run == 0) return HN_OK;
    hn_slots_init(&c.slots, p.areas, tiles_bytes(hn_whole_blocks(c.f.longest), c.f.D), p.areas_bytes);
    /* all heads of a run in one slice when there are runs enough: its rows then come from near memory */
    int64_t grain = c.n_run * c.f.G / (4 * hn_pool_threads());
    hn_parallel(c.n_run * c.f.G, hn_most(1, hn_least(c.f.G, grain)), forward_slice, &c);
    return HN_OK;
}

/* ---- over the cache ---- */
typedef struct cached {
    const hn_kv *kv;
    const hn_attn_unit *unit;
    const float *qkv;
    const int32_t *row; /* [N, 2] slot, position */
    float *o;
    int H, layer;
    int64_t N, together; /* rows of an item */
    bool apart;          /* no sequence has rows in two items: an item writes what only it reads */
} cached;

static int page_of(const cached *c, int64_t n, int block) {
    const hn_kv *kv = c->kv;
    int slot = c->row[2 * n];
    hn_assert(slot >= 0 && slot < kv->n_slot && block >= 0 && block < kv->max_block);
    int page = kv->table[(int64_t)slot * kv->max_block + block];
    hn_assert(page >= 0 && page < kv->n_page);
    return page;
}

/* Row n goes on where row n - 1 ended, at an odd position: in bf16 both write to the same words. */
static bool follows(const cached *c, int64_t n) {
    const int32_t *r = c->row + 2 * n;
    return n > 0 && n < c->N && r[1] % 2 && r[-2] == r[0] && r[-1] == r[1] - 1;
}

/* Key and value as pairs (kv.h); the half of a word that comes later is left 0. */
static void write_pairs(uint32_t *k, uint32_t *v, int at, const float *from_k, const float *from_v,
                        int64_t D) {
    k += at / 16 * ((D + 1) / 2) * 16 + at % 16;
    for (int64_t d = 0; d < D; d += 2)
        k[d / 2 * 16] = hn_bf16(from_k[d]) | (uint32_t)(d + 1 < D ? hn_bf16(from_k[d + 1]) : 0) << 16;
    v += at / 2 * D;
    for (int64_t d = 0; d < D; d++)
        v[d] = at % 2 ? (v[d] & 0xffff) | (uint32_t)hn_bf16(from_v[d]) << 16 : hn_bf16(from_v[d]);
}

/* Rows [n0, n1), heads [g0, g1). */
static void write_rows(const cached *c, int64_t n0, int64_t n1, int g0, int g1) {
    int64_t D = c->kv->head_dim, ld = (c->H + 2 * c->kv->n_head) * D;
    for (int64_t n = n0; n < n1; n++) {
        int pos = c->row[2 * n + 1], page = page_of(c, n, pos / HN_BLOCK), at = pos % HN_BLOCK;
        for (int g = g0; g < g1; g++) {
            const float *k = c->qkv + n * ld + (c->H + g) * D, *v = k + c->kv->n_head * D;
            void *to_k = hn_kv_k(c->kv, page, c->layer, g), *to_v = hn_kv_v(c->kv, page, c->layer, g);
            if (c->kv->prec == HN_PREC_BF16) {
                write_pairs(to_k, to_v, at, k, v, D);
                continue;
            }
            float *kt = (float *)to_k + at / 16 * D * 16 + at % 16;
            for (int64_t d = 0; d < D; d++) kt[d * 16] = k[d];
            memcpy((float *)to_v + at * D, v, (size_t)D * sizeof *v);
        }
    }
}

static void write_slice(void *ctx, int64_t lo, int64_t hi) {
    const cached *c = ctx;
    if (c->kv->prec == HN_PREC_BF16) lo += follows(c, lo), hi += follows(c, hi);
    write_rows(c, lo, hi, 0, c->kv->n_head);
}

/* Neighbours that read the same page read it together: rows of one prompt, or answers to one prompt. */
static void cached_rows(const cached *c, hn_attn_row *row, const int64_t *token, int m, int g, int *unit) {
    int D = c->kv->head_dim, top = 0;
    for (int r = 0; r < m; r++) top = row[r].pos > top ? row[r].pos : top;
    for (int base = 0; base <= top; base += HN_BLOCK)
        for (int r = 0, next; r < m; r = next) {
            next = r + 1;
            if (row[r].pos < base) continue;
            int page = page_of(c, token[r], base / HN_BLOCK);
            while (next < m && (row[next].pos < base || page_of(c, token[next], base / HN_BLOCK) == page))
                next++;
            const void *k = hn_kv_k(c->kv, page, c->layer, g), *v = hn_kv_v(c->kv, page, c->layer, g);
            if (c->unit) c->unit->block(row + r, next - r, k, v, D, base, unit);
            else if (c->kv->prec == HN_PREC_BF16)
                HN_TIER_PICK(hn_attn_block_bf16)(row + r, next - r, k, v, D, base);
            else HN_TIER_PICK(hn_attn_block)(row + r, next - r, k, v, D, base);
        }
    HN_TIER_PICK(hn_attn_end)(row, m, D);
}

static void cached_slice(void *ctx, int64_t lo, int64_t hi) {
    const cached *c = ctx;
    int64_t G = c->kv->n_head, D = c->kv->head_dim, ld = (c->H + 2 * G) * D, group = c->H / G;
    hn_attn_row row[ROWS];
    int64_t token[ROWS];
    uint16_t q[(ROWS + HN_UNIT_ROWS) * HN_UNIT_HEAD];
    int unit = 0;
    for (int64_t item = lo; item < hi; item++) {
        int64_t g = item % G, n0 = item / G * c->together, n1 = hn_least(c->N, n0 + c->together);
        if (c->apart) write_rows(c, n0, n1, (int)g, (int)g + 1);
        for (int64_t i = n0 * group; i < n1 * group;) {
            int m = 0;
            for (; m < ROWS && i < n1 * group; m++, i++) {
                int64_t n = i / group, h = g * group + i % group;
                token[m] = n;
                const float *x = c->qkv + n * ld + h * D;
                row[m].q = x;
                if (c->unit) {
                    row[m].q = q + m * D;
                    c->unit->round(q + m * D, x, ld, 1, (int)D);
                }
                row[m].o = c->o + (n * c->H + h) * D;
                row[m].lse = NULL;
                row[m].pos = c->row[2 * n + 1];
            }
            cached_rows(c, row, token, m, (int)g, &unit);
        }
    }
    if (c->unit) c->unit->finish();
}

int hn_cpu_attnkv(const hn_tensor *y, hn_err *e) {
    (void)e;
    const hn_kv *kv = y->in[2]->data;
    cached c = { .kv = kv,
                 .unit = hn_attn_unit_for(kv->prec, kv->head_dim),
                 .qkv = y->in[0]->data,
                 .row = y->in[1]->data,
                 .o = y->data,
                 .H = (int)y->attr.i[0],
                 .layer = (int)y->attr.i[1],
                 .N = hn_rows(y->in[0]) };
    c.together = hn_most(1, hn_least(32, c.N * kv->n_head / (4 * hn_pool_threads())));
    c.apart = true;
    for (int64_t n = c.together; n < c.N && c.apart; n += c.together)
        c.apart = c.row[2 * n] != c.row[2 * n - 2];
    if (!c.apart) hn_parallel(c.N, 8, write_slice, &c);
    hn_parallel((c.N + c.together - 1) / c.together * kv->n_head, 1, cached_slice, &c);
    return HN_OK;
}
