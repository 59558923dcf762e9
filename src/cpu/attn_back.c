/* attn_back.c - the gradient of attention over a forest (attn.h).
 *
 * An item is a tree and a key-value head: it alone writes that head's keys and values, and the queries that
 * read them, of the tree's tokens.  Spans are visited in order, and a key's gradient is added to the output
 * when its place on the path is taken by another, so the order of summation is that of the spans. */
#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "cpu/attn.h"
#include "cpu/kernels.h"
#include "cpu/path.h"
#include "cpu/slots.h"

enum { CHUNK = HN_ATTN_CHUNK, UCHUNK = HN_UNIT_CHUNK };

typedef struct backward {
    hn_paths f;
    const float *o, *lse, *go;
    float *out;
    const int32_t *root; /* [trees + 1] first span of each tree */
    const hn_attn_unit *unit;
    hn_slots slots;
} backward;

/* What an item works in. */
typedef struct desk {
    hn_tiles t;
    float *q, *go, *dq; /* [CHUNK, D] */
    float *p, *ds;      /* [CHUNK, 64] */
    /* with a unit: rows [UCHUNK, D], then as keys and pairs (attn_unit.h); dq is [D, UCHUNK] */
    uint16_t *q_rows, *go_rows;
    uint32_t *q_keys, *go_keys, *q_pairs, *go_pairs;
    int set; /* how the unit is set up */
} desk;

static size_t desk_bytes(int64_t positions, int64_t D) {
    int64_t chunk = hn_most(CHUNK * (3 * D + 2 * HN_BLOCK), UCHUNK * 4 * D);
    return hn_room((size_t)positions * sizeof(int32_t)) + 2 * hn_room((size_t)positions * sizeof(bool)) +
           hn_room((size_t)(5 * positions * D + chunk) * sizeof(float));
}
size_t hn_cpu_attn_b_scratch(const hn_tensor *y) {
    int64_t N = hn_cap_rows(y->in[0]), S = hn_cap_rows(y->in[4]);
    return hn_room((size_t)(2 * S + 1) * sizeof(int32_t)) +
           hn_slots_bytes(desk_bytes(hn_whole_blocks(N), hn_head_size(y)));
}

/* What a unit reads has half the bytes: three arrays of rows lie where two of floats would. */
static void desk_of_unit(desk *k, float *at, float *chunk, int64_t n, int64_t D) {
    int64_t some = UCHUNK * D;
    k->t.k_rows = (uint16_t *)(void *)at;
    k->t.v_rows = k->t.k_rows + n;
    k->t.k_columns = k->t.v_rows + n;
    k->dq = chunk;
    k->q_rows = (uint16_t *)(void *)(chunk + some);
    k->go_rows = k->q_rows + some;
    k->q_keys = (uint32_t *)(void *)(k->go_rows + some);
    k->go_keys = k->q_keys + some / 2;
    k->q_pairs = k->go_keys + some / 2;
    k->go_pairs = k->q_pairs + some / 2;
}

static desk desk_at(char *area, int positions, int64_t D, const backward *c) {
    desk k = { .t = { .held = (int32_t *)(void *)area, .positions = positions, .out = c->out } };
    area += hn_room((size_t)positions * sizeof *k.t.held);
    k.t.again = (bool *)area;
    area += hn_room((size_t)positions * sizeof *k.t.again);
    k.t.stale = (bool *)area;
    memset(k.t.stale, 0, (size_t)(positions / HN_BLOCK));
    float *at = (float *)(void *)(area + hn_room((size_t)positions * sizeof *k.t.stale));
    int64_t n = positions * D;
    k.t.dk = at + 3 * n;
    k.t.dv = at + 4 * n;
    if ((k.t.unit = c->unit)) {
        desk_of_unit(&k, at, at + 5 * n, n, D);
        return k;
    }
    k.t.kt = at;
    k.t.vt = at + n;
    k.t.k = at + 2 * n;
    k.q = at + 5 * n;
    k.go = k.q + CHUNK * D;
    k.dq = k.go + CHUNK * D;
    k.p = k.dq + CHUNK * D;
    k.ds = k.p + CHUNK * HN_BLOCK;
    return k;
}

/* Rows [r0, r0 + m) of (head, token) of span s, heads outermost, against all blocks of the path. */
static void chunk_rows(const backward *c, desk *k, int g, int32_t s, int r0, int m) {
    const hn_paths *f = &c->f;
    int64_t D = f->D, ld = (f->H + 2 * f->G) * D;
    int len = f->span[3 * s + 1], group = f->H / f->G, top = 0;
    int32_t pos[CHUNK];
    float lse[CHUNK], delta[CHUNK], *out[CHUNK];
    for (int r = 0; r < m; r++) {
        int i = (r0 + r) % len, h = g * group + (r0 + r) / len;
        int64_t token = f->span[3 * s] + i, at = (token * f->H + h) * D;
        pos[r] = f->start[s] + i;
        top = pos[r] > top ? pos[r] : top;
        lse[r] = c->lse[token * f->H + h];
        out[r] = c->out + token * ld + h * D;
        delta[r] = HN_TIER_PICK(hn_attn_pack)(k->q + r * D, k->go + r * D, f->qkv + token * ld + h * D,
                                              c->go + at, c->o + at, (int)D);
    }
    hn_attn_chunk chunk = { m, (int)D, k->q, k->go, pos, lse, delta, k->dq, k->p, k->ds };
    memset(k->dq, 0, (size_t)(m * D) * sizeof *k->dq);
    for (int b = 0; b <= top; b += HN_BLOCK) HN_TIER_PICK(hn_attn_back)
    (&chunk, b, k->t.kt + b * D, k->t.vt + b * D, k->t.k + b * D, k->t.dk + b * D, k->t.dv + b * D);
    for (int r = 0; r < m; r++) HN_TIER_PICK(hn_attn_move)(out[r], ld, k->dq + r * D, D, 1, (int)D, false);
}

/* The same on a unit. */
static void unit_rows(const backward *c, desk *k, int g, int32_t s, int r0, int m) {
    const hn_paths *f = &c->f;
    int64_t D = f->D, ld = (f->H + 2 * f->G) * D;
    int len = f->span[3 * s + 1], group = f->H / f->G, whole = (m + 31) / 32 * 32;
    int32_t pos[UCHUNK];
    float less[UCHUNK], delta[UCHUNK], *out[UCHUNK];
    hn_unit_chunk x = { .n = m, .D = (int)D, .low = INT32_MAX, .pos = pos, .less = less, .delta = delta };
    for (int r = 0; r < m; r++) {
        int i = (r0 + r) % len, h = g * group + (r0 + r) / len;
        int64_t token = f->span[3 * s] + i, at = (token * f->H + h) * D;
        pos[r] = f->start[s] + i;
        x.top = pos[r] > x.top ? pos[r] : x.top;
        x.low = pos[r] < x.low ? pos[r] : x.low;
        less[r] = -c->lse[token * f->H + h] * 1.44269504f;
        out[r] = c->out + token * ld + h * D;
        delta[r] = c->unit->pack(k->q_rows + r * D, k->go_rows + r * D, f->qkv + token * ld + h * D,
                                 c->go + at, c->o + at, (int)D);
        delta[r] *= -1 / sqrtf((float)D);
    }
    for (int r = m; r < whole; r++) pos[r] = -1, less[r] = -INFINITY, delta[r] = 0;
    c->unit->keys(k->q_keys, k->q_rows, m, whole, (int)D);
    c->unit->keys(k->go_keys, k->go_rows, m, whole, (int)D);
    c->unit->pairs(k->q_pairs, k->q_rows, m, whole, (int)D);
    c->unit->pairs(k->go_pairs, k->go_rows, m, whole, (int)D);
    x.q_keys = k->q_keys, x.go_keys = k->go_keys, x.q_pairs = k->q_pairs, x.go_pairs = k->go_pairs;
    x.dq = memset(k->dq, 0, (size_t)(UCHUNK * D) * sizeof *k->dq);
    for (int b = 0; b <= x.top; b += HN_BLOCK)
        c->unit->back(&x, b, k->t.k_rows + b * D, k->t.v_rows + b * D, k->t.k_columns + b * D,
                      k->t.dk + b * D, k->t.dv + b * D, &k->set);
    c->unit->put(out, k->dq, m, (int)D);
}

static void backward_slice(void *ctx, int64_t lo, int64_t hi) {
    backward *c = ctx;
    const hn_paths *f = &c->f;
    char *area = hn_slots_take(&c->slots);
    desk k = desk_at(area, (int)hn_whole_blocks(f->longest), f->D, c);
    for (int64_t i = lo; i < hi; i++) {
        int g = (int)(i % f->G);
        const int32_t *tree = c->root + i / f->G;
        for (int32_t s = tree[0]; s < tree[1]; s++) {
            int rows = f->span[3 * s + 1] * (f->H / f->G);
            hn_tiles_fill(&k.t, f, g, s, f->span[3 * s + 1]);
            if (c->unit)
                for (int r = 0; r < rows; r += UCHUNK)
                    unit_rows(c, &k, g, s, r, (int)hn_least(UCHUNK, rows - r));
            else
                for (int r = 0; r < rows; r += CHUNK)
                    chunk_rows(c, &k, g, s, r, (int)hn_least(CHUNK, rows - r));
        }
        hn_tiles_empty(&k.t, f, g);
    }
    if (c->unit) c->unit->finish();
    hn_slots_give(&c->slots, area);
}

int hn_cpu_attn_b(const hn_tensor *y, hn_err *e) {
    (void)e;
    const hn_tensor *qkv = y->in[0], *span = y->in[4];
    int64_t N = hn_cap_rows(qkv), S = hn_cap_rows(span), trees = 0;
    int32_t *start = y->work, *root = start + S;
    char *at = (char *)y->work + hn_room((size_t)(2 * S + 1) * sizeof *start);
    backward c = { .f = { .qkv = qkv->data,
                          .span = span->data,
                          .n_span = hn_rows(span),
                          .H = (int)y->attr.i[0],
                          .G = (int)y->attr.i[1],
                          .D = hn_head_size(y) },
                   .o = y->in[1]->data,
                   .lse = y->in[2]->data,
                   .go = y->in[3]->data,
                   .out = y->data,
                   .root = root };
    c.unit = hn_attn_unit_for(y->attr.i[2], c.f.D);
    hn_paths_init(&c.f, start);
    if (c.f.longest == 0) return HN_OK;
    for (int32_t s = 0; s < c.f.n_span; s++)
        if (c.f.span[3 * s + 2] < 0) root[trees++] = s;
    root[trees] = (int32_t)c.f.n_span;
    hn_slots_init(&c.slots, at, desk_bytes(hn_whole_blocks(c.f.longest), c.f.D),
                  hn_slots_bytes(desk_bytes(hn_whole_blocks(N), c.f.D)));
    hn_parallel(trees * c.f.G, 1, backward_slice, &c);
    return HN_OK;
}
