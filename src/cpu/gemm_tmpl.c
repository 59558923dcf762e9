/* gemm_tmpl.c - the f32 kernels of every tier: MR rows by one panel in registers, one chain an element.
 *
 * A panel of B is NR columns wide, [K][NR], zeros beyond N; it is read front to back, so a small product
 * streams weights at the speed of memory.  The tile keeps MR x NR sums in registers through a block
 * of k and stores them between blocks, which is exact: the order is k ascending.  Goto and van de Geijn,
 * "Anatomy of high-performance matrix multiplication" (2008), without the packing of A where its rows are
 * contiguous. */
#include "cpu/gemm_kernels.h"
#include "cpu/simd.h"
#if HN_SIMD == 2
#include "cpu/transpose.h"
#endif

enum {
    MR = HN_SIMD ? 6 : 4,
    NV = HN_SIMD == 2 ? 4 : 2,
    NR = NV * VL,
    KB = 512,  /* k of a block, so that its part of a panel stays near over the passes */
    AP = 48,   /* rows of a block, a multiple of MR; packed A is panels of MR rows, [K][MR] */
    DEEP = 64, /* k packed at a time */
    LINE = 64,
    LINES = NR * 4 / LINE /* of a panel at one k */
};

static int64_t low(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- packing ---- */
/* VL lines x nk <= VL k, written as nk rows `per` apart; zeros for lines beyond nl. */
static void square(float *dst, int64_t per, const float *src, int64_t ls, int64_t ks, int64_t nl, int64_t nk,
                   bool round) {
    V v[VL];
#if HN_SIMD == 2
    if (ks == 1 && ls != 1) {
        VI t[VL];
        HN_UNROLL for (int i = 0; i < VL; i++) t[i] = i < nl ? vbits(vload_n(src + i * ls, nk)) : vi_set1(0);
        transpose16(t);
        HN_UNROLL for (int i = 0; i < VL; i++) v[i] = vfloat(t[i]);
    } else
#endif
        for (int64_t k = 0; k < nk; k++) {
            float t[VL] = { 0 };
            if (ls != 1)
                for (int64_t i = 0; i < nl; i++) t[i] = src[i * ls + k * ks];
            v[k] = ls == 1 ? vload_n(src + k * ks, nl) : vload(t);
        }
    for (int64_t k = 0; k < nk; k++) vstore(dst + k * per, round ? vround_bf16(v[k]) : v[k]);
}

/* The same from bf16. */
static void halves(float *dst, int64_t per, const uint16_t *src, int64_t ls, int64_t ks, int64_t nl,
                   int64_t nk) {
    for (int64_t k = 0; k < nk; k++) {
        uint16_t t[VL] = { 0 };
        for (int64_t i = 0; ls != 1 && i < nl; i++) t[i] = src[i * ls + k * ks];
        vstore(dst + k * per, ls == 1 ? vload_bf16_n(src + k * ks, nl) : vload_bf16(t));
    }
}

/* Lines [l, l + per) at k .. k + VL, as rows `per` apart. */
static void strip(float *dst, const hn_side *s, int64_t per, int64_t l, int64_t k) {
    for (int64_t i = 0; i < per; i += VL) {
        int64_t nl = s->lines - l - i;
        int64_t at = nl > 0 ? (l + i) * s->ls + k * s->ks : 0, nk = low(VL, s->K - k);
        nl = nl < 0 ? 0 : low(nl, VL);
        if (s->half) halves(dst + i, per, (const uint16_t *)s->src + at, s->ls, s->ks, nl, nk);
        else square(dst + i, per, (const float *)s->src + at, s->ls, s->ks, nl, nk, s->round);
    }
}

static void strip_b(float *dst, const hn_side *s, int64_t p, int64_t k0, int64_t k1) {
    for (int64_t k = k0; k < k1; k += VL) strip(dst + p * NR * s->K + k * NR, s, NR, p * NR, k);
}

/* AP rows of A at once, then parted into panels of MR. */
static void strip_a(float *dst, const hn_side *s, int64_t g, int64_t k0, int64_t k1) {
    float t[DEEP * AP];
    for (int64_t k = k0; k < k1; k += VL) strip(t + (k - k0) * AP, s, AP, g * AP, k);
    for (int64_t r = 0; r < AP; r += MR) {
        float *to = dst + (g * AP + r) * s->K;
        for (int64_t k = k0; k < k1; k++) vstore_n(to + k * MR, MR, vload_n(t + (k - k0) * AP + r, MR));
    }
}

/* Panels [lo,hi) in the order in which the source lies in memory. */
HN_INLINE void panels(float *dst, const hn_side *s, int64_t lo, int64_t hi,
                      void (*each)(float *, const hn_side *, int64_t, int64_t, int64_t)) {
    if (s->ls == 1) {
        for (int64_t k = 0; k < s->K; k += DEEP)
            for (int64_t p = lo; p < hi; p++) each(dst, s, p, k, low(k + DEEP, s->K));
    } else {
        for (int64_t p = lo; p < hi; p++)
            for (int64_t k = 0; k < s->K; k += DEEP) each(dst, s, p, k, low(k + DEEP, s->K));
    }
}

static void pack_a(void *dst, const hn_side *s, int64_t lo, int64_t hi) { panels(dst, s, lo, hi, strip_a); }
static void pack_b(void *dst, const hn_side *s, int64_t lo, int64_t hi) { panels(dst, s, lo, hi, strip_b); }

/* ---- products ---- */
typedef struct place { /* where a tile reads and writes */
    const float *a, *b;
    int64_t ars, nk, m, col;
    float *sums;      /* [rows][NR] of the tile between blocks of k */
    bool first, last; /* block of k */
    const char *next; /* walks over the part of B after this one, to have it near when its turn comes */
    int64_t next_step;
} place;

/* mr rows by one panel; mr, acs (from k to k in A) and ahead (lines of the next part of B asked for at each
 * k) are constants where it is called: one copy for each. */
HN_INLINE void tile(int mr, int64_t acs, int ahead, const hn_gemm_job *j, const place *at) {
    V acc[MR][NV];
    if (at->first) {
        HN_UNROLL for (int r = 0; r < mr; r++) HN_UNROLL for (int v = 0; v < NV; v++) acc[r][v] = vzero();
    } else {
        HN_UNROLL for (int r = 0; r < mr; r++) HN_UNROLL for (int v = 0; v < NV; v++) acc[r][v] =
            vload(at->sums + r * NR + v * VL);
    }
    const float *a = at->a, *b = at->b;
    const char *next = at->next;
    int64_t ars = at->ars, next_step = at->next_step;
    for (int64_t k = at->nk; k > 0; k--) {
        V bv[NV];
        HN_UNROLL for (int v = 0; v < NV; v++) bv[v] = vload(b + v * VL);
        HN_UNROLL for (int r = 0; r < mr; r++) {
            V av = vset1(a[r * ars]);
            HN_UNROLL for (int v = 0; v < NV; v++) acc[r][v] = vfma(av, bv[v], acc[r][v]);
        }
        HN_UNROLL for (int i = 0; i < ahead; i++) __builtin_prefetch(next + i * LINE, 0, 2);
        a += acs;
        b += NR;
        next += next_step;
    }
    if (!at->last) {
        HN_UNROLL for (int r = 0; r < mr; r++) HN_UNROLL for (int v = 0; v < NV; v++)
            vstore(at->sums + r * NR + v * VL, acc[r][v]);
        return;
    }
    HN_UNROLL for (int r = 0; r < mr; r++) {
        float *c = (float *)j->C + (at->m + r) * j->ldc + at->col;
        HN_UNROLL for (int v = 0; v < NV; v++) {
            int64_t n = j->N - at->col - v * VL;
            if (n <= 0) break;
            V y = acc[r][v];
            if (j->bias) y = vadd(y, vload_n(j->bias + at->col + v * VL, n));
            if (j->accumulate) y = vadd(vload_n(c + v * VL, n), y);
            vstore_n(c + v * VL, n, y);
        }
    }
}

HN_INLINE void rows(int mr, int64_t acs, int ahead, const hn_gemm_job *j, const place *at) {
    switch (mr) {
    case 1: tile(1, acs, ahead, j, at); break;
    case 2: tile(2, acs, ahead, j, at); break;
    case 3: tile(3, acs, ahead, j, at); break;
    case 4: tile(4, acs, ahead, j, at); break;
#if HN_SIMD
    case 5: tile(5, acs, ahead, j, at); break;
    case 6: tile(6, acs, ahead, j, at); break;
#endif
    }
}

HN_INLINE void fetching(int mr, int64_t acs, int ahead, const hn_gemm_job *j, const place *at) {
    switch (ahead) {
    case 0: rows(mr, acs, 0, j, at); break;
    case 1: rows(mr, acs, 1, j, at); break;
    case 2: rows(mr, acs, 2, j, at); break;
    }
}

/* Rows [m0,m1) by panel p at k0 .. k0 + nk.  Rows are shared out evenly over the passes: 8 as 4 + 4, not 6
 * + 2. The next part of B is asked for line by line over the first passes, as memory gives it; a single pass
 * streams, and the processor's own prefetch does better. */
static void part(const hn_gemm_job *j, float *sums, int64_t m0, int64_t m1, int64_t p, int64_t k0,
                 int64_t nk) {
    int64_t passes = (m1 - m0 + MR - 1) / MR, bytes = nk * NR * (int64_t)sizeof(float);
    int ahead = passes == 1 || LINES == 0 ? 0 : LINES > 1 && passes < LINES ? 2 : 1;
    const char *b = j->B + (size_t)p * j->panel_bytes + k0 * NR * (int64_t)sizeof(float);
    place at = { .b = (const float *)(const void *)b, .nk = nk, .m = m0, .col = p * NR, .next = b + bytes };
    at.first = k0 == 0;
    at.last = k0 + nk == j->K;
    at.ars = j->packed ? 1 : j->ars;
    for (int64_t left = passes; left > 0; left--) {
        int mr = (int)(j->packed ? low(MR, m1 - at.m) : (m1 - at.m + left - 1) / left);
        at.next_step = at.next < b + 2 * bytes ? ahead * LINE : 0;
        at.sums = sums + (at.m - m0) * NR;
        at.a = (const float *)j->A;
        if (j->packed) {
            at.a += at.m * j->K + k0 * MR;
            fetching(mr, MR, ahead, j, &at);
        } else {
            at.a += at.m * j->ars + k0;
            fetching(mr, 1, ahead, j, &at);
        }
        at.next += nk * at.next_step;
        at.m += mr;
    }
}

static void block(const hn_gemm_job *j, int64_t m0, int64_t m1, int64_t p0, int64_t p1) {
    _Alignas(64) float sums[AP * NR];
    hn_assert(m1 - m0 <= AP);
    for (int64_t p = p0; p < p1; p++) {
        int64_t k = 0;
        do {
            int64_t nk = low(KB, j->K - k);
            part(j, sums, m0, m1, p, k, nk);
            k += nk;
        } while (k < j->K);
    }
}

const hn_gemm_kernels HN_TIERED(hn_gemm_kernels) = { .panel = NR,
                                                     .rows = AP,
                                                     .max_rows = AP,
                                                     .k_step = 1,
                                                     .speed = HN_SIMD == 2 ? 80
                                                              : HN_SIMD    ? 45
                                                                           : 10,
                                                     .size = sizeof(float),
                                                     .pack_a = pack_a,
                                                     .pack_b = pack_b,
                                                     .block = block };
