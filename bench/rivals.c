/* rivals.c - see rivals.h. */
#include "rivals.h"

#include <dlfcn.h>
#include <string.h>

#include "base/pool.h"
#include "cpu/vec.h"

/* ---- OpenBLAS ---- */
enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };
static void (*sgemm)(int, int, int, int, int, int, float, const float *, int, const float *, int, float,
                     float *, int);

/* ---- oneDNN 2.x: values of its enumerations ---- */
enum {
    ENGINE_CPU = 1,
    STREAM_DEFAULT = 1,
    TYPE_BF16 = 2,
    TYPE_F32 = 3,
    TAG_ANY = 1,
    TAG_AB = 3,
    TAG_BA = 22,
    QUERY_WEIGHTS = 131,
    ARG_SRC = 1,
    ARG_DST = 17,
    ARG_WEIGHTS = 33
};
typedef union desc {
    int64_t align;
    char bytes[8192];
} desc;
typedef struct exec_arg {
    int arg;
    void *memory;
} exec_arg;

static struct {
    int (*engine_create)(void **, int, size_t);
    int (*stream_create)(void **, void *, unsigned);
    int (*stream_wait)(void *);
    int (*md_init)(desc *, int, const int64_t *, int, int);
    size_t (*md_size)(const void *);
    int (*matmul_init)(desc *, const void *, const void *, const void *, const void *);
    int (*pd_create)(void **, const void *, const void *, void *, const void *);
    int (*pd_destroy)(void *);
    const void *(*pd_query_md)(const void *, int, int);
    int (*reorder_pd)(void **, const void *, void *, const void *, void *, const void *);
    int (*prim_create)(void **, const void *);
    int (*prim_execute)(const void *, void *, int, const exec_arg *);
    int (*prim_destroy)(void *);
    int (*mem_create)(void **, const void *, void *, void *);
    int (*mem_destroy)(void *);
    void (*omp_threads)(int);
    void *engine, *stream;
} dn;

static bool load(void *lib, const char *name, void *fn) {
    void *p = dlsym(lib, name);
    memcpy(fn, &p, sizeof p);
    return p != NULL;
}

static bool open_dnnl(void) {
    void *lib = dlopen("libdnnl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!lib) return false;
    return load(lib, "dnnl_engine_create", &dn.engine_create) &&
           load(lib, "dnnl_stream_create", &dn.stream_create) &&
           load(lib, "dnnl_stream_wait", &dn.stream_wait) &&
           load(lib, "dnnl_memory_desc_init_by_tag", &dn.md_init) &&
           load(lib, "dnnl_memory_desc_get_size", &dn.md_size) &&
           load(lib, "dnnl_matmul_desc_init", &dn.matmul_init) &&
           load(lib, "dnnl_primitive_desc_create", &dn.pd_create) &&
           load(lib, "dnnl_primitive_desc_destroy", &dn.pd_destroy) &&
           load(lib, "dnnl_primitive_desc_query_md", &dn.pd_query_md) &&
           load(lib, "dnnl_reorder_primitive_desc_create", &dn.reorder_pd) &&
           load(lib, "dnnl_primitive_create", &dn.prim_create) &&
           load(lib, "dnnl_primitive_execute", &dn.prim_execute) &&
           load(lib, "dnnl_primitive_destroy", &dn.prim_destroy) &&
           load(lib, "dnnl_memory_create", &dn.mem_create) &&
           load(lib, "dnnl_memory_destroy", &dn.mem_destroy) &&
           load(lib, "omp_set_num_threads", &dn.omp_threads) &&
           !dn.engine_create(&dn.engine, ENGINE_CPU, 0) &&
           !dn.stream_create(&dn.stream, dn.engine, STREAM_DEFAULT);
}

const char *hn_rivals_open(void) {
    void *blas = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    void (*threads)(int);
    if (blas && !load(blas, "cblas_sgemm", &sgemm)) sgemm = NULL;
    if (sgemm && load(blas, "openblas_set_num_threads", &threads)) threads(1);
    if (!open_dnnl()) dn.engine = NULL;
    if (!sgemm)
        return dn.engine ? "libopenblas.so.0-not-found" : "libopenblas.so.0-and-libdnnl.so.2-not-found";
    return dn.engine ? "" : "libdnnl.so.2-not-found";
}

bool hn_rival_blas(void) { return sgemm != NULL; }
bool hn_rival_dnnl(void) { return dn.engine != NULL; }
void hn_rival_threads(int n) {
    if (dn.engine) dn.omp_threads(n);
}

typedef struct blas_call {
    float *Y;
    const float *X, *W;
    int64_t M, K, N;
} blas_call;

static void blas_slice(void *ctx, int64_t lo, int64_t hi) {
    const blas_call *c = ctx;
    bool rows = c->M >= 64;
    int M = (int)(rows ? hi - lo : c->M), N = (int)(rows ? c->N : hi - lo), K = (int)c->K;
    sgemm(ROW_MAJOR, NO_TRANS, TRANS, M, N, K, 1, c->X + (rows ? lo * c->K : 0), K,
          c->W + (rows ? 0 : lo * c->K), K, 0, c->Y + (rows ? lo * c->N : lo), (int)c->N);
}

void hn_blas_gemm(float *Y, const float *X, const float *W, int64_t M, int64_t K, int64_t N) {
    blas_call c = { Y, X, W, M, K, N };
    int64_t n = M >= 64 ? M : N, t = hn_pool_threads();
    hn_parallel(n, (n + t - 1) / t, blas_slice, &c);
}

struct hn_dnnl_gemm {
    void *x, *w, *y; /* data */
    void *mx, *mw, *my, *pd, *prim;
};

static void *mem(const void *md, void **data, const void *from, size_t n) {
    void *m = NULL;
    size_t bytes = dn.md_size(md);
    *data = hn_alloc(bytes);
    hn_assert(*data && bytes >= n);
    if (from) memcpy(*data, from, n);
    hn_assert(!dn.mem_create(&m, md, dn.engine, *data));
    return m;
}

hn_dnnl_gemm *hn_dnnl_new(const float *X, const float *W, int64_t M, int64_t K, int64_t N, hn_prec prec) {
    hn_dnnl_gemm *g = hn_alloc(sizeof *g);
    static desc x, w, y, plain, op;
    int type = prec == HN_PREC_BF16 ? TYPE_BF16 : TYPE_F32;
    int64_t dx[2] = { M, K }, dw[2] = { K, N }, dy[2] = { M, N };
    hn_assert(g && !dn.md_init(&x, 2, dx, type, TAG_AB) && !dn.md_init(&w, 2, dw, type, TAG_ANY) &&
              !dn.md_init(&y, 2, dy, TYPE_F32, TAG_AB) && !dn.md_init(&plain, 2, dw, TYPE_F32, TAG_BA));
    hn_assert(!dn.matmul_init(&op, &x, &w, NULL, &y) && !dn.pd_create(&g->pd, &op, NULL, dn.engine, NULL));
    hn_assert(!dn.prim_create(&g->prim, g->pd));
    uint16_t *xb = NULL;
    if (prec == HN_PREC_BF16) {
        hn_assert((xb = hn_alloc((size_t)(M * K) * 2)) != NULL);
        hn_vec_to_bf16(xb, X, M * K);
    }
    g->mx = mem(&x, &g->x, xb ? (const void *)xb : X, (size_t)(M * K) * (xb ? 2 : 4));
    hn_free(xb);
    g->my = mem(&y, &g->y, NULL, 0);
    const void *wanted = dn.pd_query_md(g->pd, QUERY_WEIGHTS, 0);
    g->mw = mem(wanted, &g->w, NULL, 0);
    void *from, *rpd, *reorder, *data;
    from = mem(&plain, &data, W, (size_t)(K * N) * 4);
    hn_assert(!dn.reorder_pd(&rpd, &plain, dn.engine, wanted, dn.engine, NULL) &&
              !dn.prim_create(&reorder, rpd));
    exec_arg arg[2] = { { ARG_SRC, from }, { ARG_DST, g->mw } };
    hn_assert(!dn.prim_execute(reorder, dn.stream, 2, arg) && !dn.stream_wait(dn.stream));
    dn.prim_destroy(reorder), dn.pd_destroy(rpd), dn.mem_destroy(from), hn_free(data);
    return g;
}

void hn_dnnl_run(hn_dnnl_gemm *g) {
    exec_arg arg[3] = { { ARG_SRC, g->mx }, { ARG_WEIGHTS, g->mw }, { ARG_DST, g->my } };
    hn_assert(!dn.prim_execute(g->prim, dn.stream, 3, arg) && !dn.stream_wait(dn.stream));
}

const float *hn_dnnl_result(const hn_dnnl_gemm *g) { return g->y; }

void hn_dnnl_free(hn_dnnl_gemm *g) {
    if (!g) return;
    dn.prim_destroy(g->prim), dn.pd_destroy(g->pd);
    dn.mem_destroy(g->mx), dn.mem_destroy(g->mw), dn.mem_destroy(g->my);
    hn_free(g->x), hn_free(g->w), hn_free(g->y), hn_free(g);
}
