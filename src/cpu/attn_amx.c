/* attn_amx.c - attention on the tile unit (AMX), in bf16 (attn_unit.h).
 *
 * TDPBF16PS adds to a 16 x 16 tile of f32 the product of 16 rows x 32 k by 32 k x 16 columns, k in order; a
 * row of the result depends on that row alone, so a query gets the same bits alone and among fifteen others.
 * Forward, 16 queries at a time: S = Q K^T, the softmax of the block by rows, and P V with P rounded to bf16.
 * Backward, S and dO V^T are formed transposed, by strips of 16 keys: P^T and dS^T are then rows of A for
 * dV += P^T dO and dK += dS^T Q, and dS^T by pairs of keys is B for dQ^T += K^T dS^T.
 * Intel, "Intel 64 and IA-32 Architectures Software Developer's Manual", TDPBF16PS. */
#include "cpu/attn_unit.h"

#include "cpu/amx.h"
#include "cpu/attn_row.h"
#include "cpu/transpose.h"
#include "cpu/vmath.h"

enum {
    T = 16,       /* rows of a tile, and f32 columns */
    B = HN_BLOCK, /* keys of a block */
    CH = HN_UNIT_CHUNK
};

/* ---- packing ---- */
HN_INLINE VI words(__m512 hi, __m512 lo) { return (VI)_mm512_cvtne2ps_pbh(hi, lo); }

/* A row in bf16; D is a multiple of 16. */
HN_INLINE void round_row(uint16_t *y, const float *x, int D) {
    for (int d = 0; d < D; d += VL)
        _mm256_storeu_si256((__m256i *)(void *)(y + d), (__m256i)_mm512_cvtneps_pbh(vload(x + d)));
}
static void round_rows(uint16_t *y, const float *x, int64_t ld, int n, int D) {
    for (int i = 0; i < n; i++) round_row(y + i * D, x + i * ld, D);
}
static float pack(uint16_t *q, uint16_t *go, const float *q_row, const float *go_row, const float *o_row,
                  int D) {
    V sum = vzero();
    round_row(q, q_row, D);
    round_row(go, go_row, D);
    for (int d = 0; d < D; d += VL) sum = vfma(vload_bf16(go + d), vload(o_row + d), sum);
    return vsum(sum);
}

/* The 16 words from word w of row i; rows from n on are zeros. */
HN_INLINE VI row_words(const uint16_t *rows, int i, int n, int w, int D) {
    if (i >= n) return vi_set1(0);
    return _mm512_maskz_loadu_epi32(vfirst(D / 2 - w), rows + (int64_t)i * D + 2 * w);
}
static void as_keys(uint32_t *y, const uint16_t *rows, int n, int upto, int D) {
    for (int j = 0; j < upto; j += T)
        for (int w = 0; w < D / 2; w += T) {
            VI v[T];
            HN_UNROLL for (int i = 0; i < T; i++) v[i] = row_words(rows, j + i, n, w, D);
            transpose16(v);
            uint32_t *to = y + (j / T * D / 2 + w) * T;
            HN_UNROLL for (int i = 0; i < T; i++) if (w + i < D / 2) _mm512_storeu_si512(to + i * T, v[i]);
        }
}

/* Word d of pair i: elements d of rows 2 i and 2 i + 1. */
HN_INLINE VI pair_words(const uint16_t *rows, int i, int n, int d, int D) {
    const __m256i zero = _mm256_setzero_si256();
    const uint16_t *at = rows + (int64_t)2 * i * D + d;
    __m256i a = 2 * i < n ? _mm256_loadu_si256((const __m256i *)(const void *)at) : zero;
    __m256i b = 2 * i + 1 < n ? _mm256_loadu_si256((const __m256i *)(const void *)(at + D)) : zero;
    return _mm512_or_si512(_mm512_cvtepu16_epi32(a), _mm512_slli_epi32(_mm512_cvtepu16_epi32(b), 16));
}
static void as_pairs(uint32_t *y, const uint16_t *rows, int n, int upto, int D) {
    for (int i = 0; i < upto / 2; i++)
        for (int d = 0; d < D; d += T) _mm512_storeu_si512(y + i * D + d, pair_words(rows, i, n, d, D));
}
static void as_columns(uint16_t *y, const uint16_t *rows, int n, int D) {
    for (int j = 0; j < B; j += 2 * T)
        for (int d = 0; d < D; d += T) {
            VI v[T];
            HN_UNROLL for (int i = 0; i < T; i++) v[i] = pair_words(rows, j / 2 + i, n, d, D);
            transpose16(v);
            HN_UNROLL for (int i = 0; i < T; i++) _mm512_storeu_si512(y + (d + i) * B + j, v[i]);
        }
}

/* ---- tiles: 0..3 sums, 4 and 5 of A and B; 6 and 7 the last 16 of k where k is no multiple of 32 ---- */
static void configure(int rows) {
    hn_amx_config c = { .palette = 1 };
    for (int i = 0; i < 8; i++) {
        c.colsb[i] = i == 6 ? 32 : 64;
        c.rows[i] = (uint8_t)(i == 5 ? T : i == 7 ? T / 2 : rows);
    }
    hn_amx_load_config(&c);
}
static void finish(void) { _tile_release(); }

/* y [rows of A, 16 n] = a b, n in 1..4, over k numbers: a has rows of lda bytes; b is pairs of rows, its tile
 * of 16 columns begins `next` bytes after that before, and its rows of words are ldb bytes apart. */
#define STEP(A_, B_, n, b, next, ldb)                                                                        \
    do {                                                                                                     \
        _tile_loadd(B_, b, ldb);                                                                             \
        _tile_dpbf16ps(0, A_, B_);                                                                           \
        if (n > 1) {                                                                                         \
            _tile_loadd(B_, (b) + (next), ldb);                                                              \
            _tile_dpbf16ps(1, A_, B_);                                                                       \
        }                                                                                                    \
        if (n > 2) {                                                                                         \
            _tile_loadd(B_, (b) + 2 * (next), ldb);                                                          \
            _tile_dpbf16ps(2, A_, B_);                                                                       \
        }                                                                                                    \
        if (n > 3) {                                                                                         \
            _tile_loadd(B_, (b) + 3 * (next), ldb);                                                          \
            _tile_dpbf16ps(3, A_, B_);                                                                       \
        }                                                                                                    \
    } while (0)

HN_INLINE void sums_of(const int n, const char *a, int64_t lda, const char *b, int64_t next, int64_t ldb,
                       int k) {
    for (; k >= 2 * T; k -= 2 * T, a += 64, b += T * ldb) {
        _tile_loadd(4, a, lda);
        STEP(4, 5, n, b, next, ldb);
    }
    if (k > 0) {
        _tile_loadd(6, a, lda);
        STEP(6, 7, n, b, next, ldb);
    }
}
HN_INLINE void put_sums(const int n, float *y, int64_t ldy) {
    _tile_stored(0, y, ldy);
    if (n > 1) _tile_stored(1, y + T, ldy);
    if (n > 2) _tile_stored(2, y + 2 * T, ldy);
    if (n > 3) _tile_stored(3, y + 3 * T, ldy);
}
HN_INLINE void get_sums(const int n, const float *y, int64_t ldy) {
    _tile_loadd(0, y, ldy);
    if (n > 1) _tile_loadd(1, y + T, ldy);
    if (n > 2) _tile_loadd(2, y + 2 * T, ldy);
    if (n > 3) _tile_loadd(3, y + 3 * T, ldy);
}
HN_INLINE void some_columns(const int n, bool add, float *y, int64_t ldy, const char *a, int64_t lda,
                            const char *b, int64_t next, int64_t ldb, int k) {
    if (add) get_sums(n, y, ldy);
    else {
        _tile_zero(0);
        if (n > 1) _tile_zero(1);
        if (n > 2) _tile_zero(2);
        if (n > 3) _tile_zero(3);
    }
    sums_of(n, a, lda, b, next, ldb, k);
    put_sums(n, y, ldy);
}
/* The same over `tiles` tiles of columns, four at a time; `add`: to what is in y. */
HN_INLINE void product(bool add, float *y, int64_t ldy, const void *a, int64_t lda, const void *b,
                       int64_t next, int64_t ldb, int k, int tiles) {
    const char *at = b;
    for (; tiles >= 4; tiles -= 4, y += 4 * T, at += 4 * next)
        some_columns(4, add, y, ldy, a, lda, at, next, ldb, k);
    if (tiles == 3) some_columns(3, add, y, ldy, a, lda, at, next, ldb, k);
    if (tiles == 2) some_columns(2, add, y, ldy, a, lda, at, next, ldb, k);
    if (tiles == 1) some_columns(1, add, y, ldy, a, lda, at, next, ldb, k);
}

/* ---- forward ---- */
typedef struct group { /* up to 16 rows */
    hn_attn_row *row;
    int n, keys; /* keys that some row sees */
    float s[T * B] __attribute__((aligned(64)));
} group;

static void scores(group *g, hn_attn_row *row, int n, const void *k, int D, int base) {
    g->row = row, g->n = n, g->keys = 0;
    for (int r = 0; r < n; r++) {
        int seen = row[r].pos - base + 1;
        g->keys = seen > g->keys ? seen : g->keys;
    }
    if (g->keys > B) g->keys = B;
    if (g->keys) product(false, g->s, 4 * B, row->q, 2 * D, k, 32 * D, 64, D, (g->keys + T - 1) / T);
}

/* Scores become weights in bf16 and enter the row's maximum and denominator: those of the first `seen` keys;
 * the others are 0. */
HN_INLINE float weigh(hn_attn_row *row, const float *s, uint16_t *p, V c, int seen) {
    V x[B / VL], less, top = vset1(-INFINITY), sum = vzero();
    HN_UNROLL for (int w = 0; w < B / VL; w++) {
        x[w] = seen >= (w + 1) * VL ? vload(s + w * VL)
               : seen > w * VL      ? vblend(vfirst(seen - w * VL), vload(s + w * VL), vset1(-INFINITY))
                                    : vset1(-INFINITY);
        top = vmax(x[w], top);
    }
    V scale = hn_attn_shrink(row, top, c, &less);
    HN_UNROLL for (int w = 0; w < B / VL; w++) {
        x[w] = vexp2_neg(vfma(x[w], c, less));
        sum = vadd(sum, x[w]);
    }
    HN_UNROLL for (int w = 0; w < B / VL; w += 2) _mm512_storeu_si512(p + w * VL, words(x[w + 1], x[w]));
    vstore(row->lane, vfma(vload(row->lane), scale, sum));
    return vlane0(scale);
}

static void weights_and_values(group *g, const void *v, int D, int base) {
    uint16_t p[T * B] __attribute__((aligned(64)));
    float pv[T * HN_UNIT_HEAD] __attribute__((aligned(64))), scale[T];
    V c = vset1(1.44269504f / sqrtf((float)D));
    if (!g->keys) return;
    for (int r = 0; r < g->n; r++) {
        hn_attn_row *row = g->row + r;
        int seen = row->pos - base + 1;
        if (base == 0) hn_attn_start(row);
        if (seen <= 0) memset(p + r * B, 0, B * sizeof *p);
        else
            scale[r] = seen >= B ? weigh(row, g->s + r * B, p + r * B, c, B)
                                 : weigh(row, g->s + r * B, p + r * B, c, seen);
    }
    product(false, pv, 4 * D, p, 2 * B, v, 64, 4 * D, (g->keys + 31) / 32 * 32, D / T);
    for (int r = 0; r < g->n; r++) {
        float *o = g->row[r].o;
        const float *x = pv + r * D;
        if (g->row[r].pos < base) continue;
        if (base == 0)
            for (int d = 0; d < D; d += VL) vstore(o + d, vload(x + d));
        else {
            V f = vset1(scale[r]);
            for (int d = 0; d < D; d += VL) vstore(o + d, vfma(vload(o + d), f, vload(x + d)));
        }
    }
}

/* The scores of a group are asked for before the weights of that before are computed: the tile unit and the
 * vector units work side by side. */
static void block(hn_attn_row *row, int n, const void *k, const void *v, int D, int base, int *rows) {
    group g[2];
    int want = n < T ? n : T;
    if (*rows != want) configure(*rows = want);
    scores(&g[0], row, want, k, D, base);
    for (int i = 0, b = 0; i < n; i += T, b ^= 1) {
        int next = i + T;
        if (next < n) scores(&g[b ^ 1], row + next, n - next < T ? n - next : T, k, D, base);
        weights_and_values(&g[b], v, D, base);
    }
}

/* ---- backward ---- */
typedef struct strip { /* 16 keys x the rows of a chunk */
    float s[T * CH], dp[T * CH];
    uint16_t p[T * CH], ds[T * CH];
} strip;

/* P and dS of keys [key, key + 2) for rows [32 w, 32 w + 32) of the chunk. */
HN_INLINE void weigh_pair(const hn_unit_chunk *c, const float *s, const float *dp, int w, int key, bool mask,
                          uint16_t *p_out, uint16_t *ds_out, uint32_t *pairs) {
    const VI mix = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22,
                                    6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    V log2e = vset1(1.44269504f / sqrtf((float)c->D)), scale = vset1(1 / sqrtf((float)c->D)), p[4], g[4];
    HN_UNROLL for (int i = 0; i < 4; i++) { /* key i / 2, half i % 2 */
        int at = 32 * w + i % 2 * VL;
        V x = vexp2_neg(vfma(vload(s + i / 2 * CH + at), log2e, vload(c->less + at)));
        V y = vmul(vfma(vload(dp + i / 2 * CH + at), scale, vload(c->delta + at)), x);
        if (mask) {
            VM m = _mm512_cmpge_epi32_mask(_mm512_loadu_si512(c->pos + at), vi_set1(key + i / 2));
            x = _mm512_maskz_mov_ps(m, x);
            y = _mm512_maskz_mov_ps(m, y);
        }
        p[i] = x, g[i] = y;
    }
    HN_UNROLL for (int j = 0; j < 2; j++) {
        _mm512_storeu_si512(p_out + j * CH + 32 * w, words(p[2 * j + 1], p[2 * j]));
        _mm512_storeu_si512(ds_out + j * CH + 32 * w, words(g[2 * j + 1], g[2 * j]));
        _mm512_storeu_si512(pairs + 32 * w + j * VL, _mm512_permutexvar_epi16(mix, words(g[2 + j], g[j])));
    }
}

static void back(const hn_unit_chunk *c, int base, const uint16_t *k, const uint16_t *v,
                 const uint16_t *k_columns, float *dk, float *dv, int *rows) {
    strip t __attribute__((aligned(64)));
    uint32_t pairs[B / 2 * CH] __attribute__((aligned(64)));
    int D = c->D, keys = c->top - base + 1, n = (c->n + 31) / 32 * 32;
    if (*rows != T) configure(*rows = T);
    if (keys > B) keys = B;
    int strips = (keys + T - 1) / T;
    for (int i = 0; i < strips; i++) {
        int j0 = i * T;
        product(false, t.s, 4 * CH, k + j0 * D, 2 * D, c->q_keys, 32 * D, 64, D, n / T);
        product(false, t.dp, 4 * CH, v + j0 * D, 2 * D, c->go_keys, 32 * D, 64, D, n / T);
        bool mask = c->low < base + j0 + T - 1;
        for (int j = 0; j < T; j += 2)
            for (int w = 0; w < n / 32; w++) {
                uint32_t *to = pairs + (j0 + j) / 2 * CH;
                if (mask)
                    weigh_pair(c, t.s + j * CH, t.dp + j * CH, w, base + j0 + j, true, t.p + j * CH,
                               t.ds + j * CH, to);
                else
                    weigh_pair(c, t.s + j * CH, t.dp + j * CH, w, base + j0 + j, false, t.p + j * CH,
                               t.ds + j * CH, to);
            }
        product(true, dv + j0 * D, 4 * D, t.p, 2 * CH, c->go_pairs, 64, 4 * D, n, D / T);
        product(true, dk + j0 * D, 4 * D, t.ds, 2 * CH, c->q_pairs, 64, 4 * D, n, D / T);
    }
    if (strips % 2) memset(pairs + strips * T / 2 * CH, 0, T / 2 * CH * sizeof *pairs);
    for (int d = 0; d < D; d += T)
        product(true, c->dq + d * CH, 4 * CH, k_columns + d * B, 2 * B, pairs, 64, 4 * CH,
                (strips + 1) / 2 * 32, n / T);
}

static void put_rows(float *const *y, const float *dq, int n, int D) {
    for (int r = 0; r < n; r += T)
        for (int d = 0; d < D; d += T) {
            VI v[T];
            HN_UNROLL for (int i = 0; i < T; i++) v[i] = _mm512_loadu_si512(dq + (d + i) * CH + r);
            transpose16(v);
            for (int i = 0; i < T && r + i < n; i++) _mm512_storeu_si512(y[r + i] + d, v[i]);
        }
}

const hn_attn_unit hn_attn_unit_amx = { .round = round_rows,
                                        .keys = as_keys,
                                        .pairs = as_pairs,
                                        .columns = as_columns,
                                        .block = block,
                                        .pack = pack,
                                        .back = back,
                                        .put = put_rows,
                                        .finish = finish };
