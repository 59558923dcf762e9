/* gemm_tmpl.c - the f32 kernels of every tier: MR rows by one panel in registers, one chain an element.
 *
 * A panel of B is NR columns wide, [K][NR], zeros beyond N; it is read front to back, so a small product
 * streams weights at the speed of memory.  The tile keeps MR x NR sums in registers through all of K: a sum
 * is never spilled and its order is k ascending.  Goto and van de Geijn, "Anatomy of high-performance matrix
 * multiplication" (2008), without the packing of A where its rows are contiguous. */
#include "cpu/gemm_kernels.h"
#include "cpu/simd.h"
#if HN_SIMD == 2
#include "cpu/transpose.h"
#endif

enum {
    MR = HN_SIMD ? 6 : 4,
    NV = HN_SIMD == 2 ? 4 : 2,
    NR = NV * VL,
    AP = 48, /* rows of a panel of packed A, [K][AP], and of a block: no tile crosses panels */
    LINE = 64,
    LINES = NR * 4 / LINE /* of a panel at one k */
};

static int64_t low(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- packing ---- */
#if HN_SIMD == 2
/* 16 lines x 16 k at (l, k): from lines contiguous in k, through a transpose. */
static void square(float *dst, int64_t per, const float *src, int64_t ls, int64_t nl, int64_t nk,
                   bool round) {
    VI v[VL];
    HN_UNROLL for (int i = 0; i < VL; i++) v[i] = i < nl ? vbits(vload_n(src + i * ls, nk)) : vi_set1(0);
    transpose16(v);
    HN_UNROLL for (int i = 0; i < VL; i++) {
        V y = vfloat(v[i]);
        if (i < nk) vstore(dst + i * per, round ? vround_bf16(y) : y);
    }
}
#else
static void square(float *dst, int64_t per, const float *src, int64_t ls, int64_t nl, int64_t nk,
                   bool round) {
    for (int64_t k = 0; k < nk; k++) {
        float t[VL];
        for (int64_t i = 0; i < VL; i++) t[i] = i < nl ? src[i * ls + k] : 0;
        V y = vload(t);
        vstore(dst + k * per, round ? vround_bf16(y) : y);
    }
}
#endif

/* Lines [l, l + per) of s as [K][per]. */
static void panel(float *dst, const hn_side *s, int64_t l, int64_t per) {
    for (int64_t i = 0; i < per; i += VL) {
        int64_t nl = s->lines - l - i;
        nl = nl < 0 ? 0 : low(nl, VL);
        const float *src = s->src + (nl ? (l + i) * s->ls : 0);
        if (s->ks == 1 && s->ls != 1) {
            for (int64_t k = 0; k < s->K; k += VL)
                square(dst + k * per + i, per, src + k, s->ls, nl, low(VL, s->K - k), s->round);
            continue;
        }
        for (int64_t k = 0; k < s->K; k++) {
            float t[VL] = { 0 };
            V y;
            if (s->ls == 1) y = vload_n(src + k * s->ks, nl);
            else {
                for (int64_t c = 0; c < nl; c++) t[c] = src[c * s->ls + k * s->ks];
                y = vload(t);
            }
            vstore(dst + k * per + i, s->round ? vround_bf16(y) : y);
        }
    }
}

static void pack_a(void *dst, const hn_side *s, int64_t lo, int64_t hi) {
    for (int64_t p = lo; p < hi; p++) panel((float *)dst + p * AP * s->K, s, p * AP, AP);
}

static void pack_b(void *dst, const hn_side *s, int64_t lo, int64_t hi) {
    for (int64_t p = lo; p < hi; p++) panel((float *)dst + p * NR * s->K, s, p * NR, NR);
}

/* ---- products ---- */
typedef struct place { /* where a tile reads and writes */
    const float *a, *b;
    int64_t ars, m, col;
    const char *next; /* walks over the panel after this one, to have it near when its turn comes */
    int64_t next_step;
} place;

/* mr rows by one panel; mr, acs (from k to k in A) and ahead (lines of the next panel asked for at each k)
 * are constants where it is called: one copy for each. */
HN_INLINE void tile(int mr, int64_t acs, int ahead, const hn_gemm_job *j, const place *at) {
    V acc[MR][NV];
    HN_UNROLL for (int r = 0; r < mr; r++) HN_UNROLL for (int v = 0; v < NV; v++) acc[r][v] = vzero();
    const float *a = at->a, *b = at->b;
    const char *next = at->next;
    int64_t ars = at->ars, next_step = at->next_step;
    for (int64_t k = 0; k < j->K; k++) {
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
    HN_UNROLL for (int r = 0; r < mr; r++) {
        float *c = j->C + (at->m + r) * j->ldc + at->col;
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

/* Rows are shared out evenly: 8 as 4 + 4, not 6 + 2.  The next panel is asked for line by line over the
 * first passes, as memory gives it; a single pass streams, and the processor's own prefetch does better. */
static void block(const hn_gemm_job *j, int64_t m0, int64_t m1, int64_t p0, int64_t p1) {
    hn_assert(m1 - m0 <= AP);
    int64_t passes = (m1 - m0 + MR - 1) / MR;
    int ahead = passes == 1 || LINES == 0 ? 0 : LINES > 1 && passes < LINES ? 2 : 1;
    for (int64_t p = p0; p < p1; p++) {
        const char *b = j->B + (size_t)p * j->panel_bytes, *end = b + 2 * j->panel_bytes;
        place at = {
            .b = (const float *)(const void *)b, .m = m0, .col = p * NR, .next = b + j->panel_bytes
        };
        for (int64_t left = passes; left > 0; left--) {
            int mr = (int)((m1 - at.m + left - 1) / left);
            at.next_step = at.next < end ? ahead * LINE : 0;
            at.ars = j->packed ? 1 : j->ars;
            at.a = (const float *)j->A + (j->packed ? at.m / AP * AP * j->K + at.m % AP : at.m * j->ars);
            if (j->packed) fetching(mr, AP, ahead, j, &at);
            else fetching(mr, 1, ahead, j, &at);
            at.next += j->K * at.next_step;
            at.m += mr;
        }
    }
}

const hn_gemm_kernels HN_TIERED(hn_gemm_kernels) = { .panel = NR,
                                                     .rows = AP,
                                                     .max_rows = AP,
                                                     .k_step = 1,
                                                     .size = sizeof(float),
                                                     .pack_a = pack_a,
                                                     .pack_b = pack_b,
                                                     .block = block };
