/* tensor.h - tensors, the tape that records them, and the backends that run them.
 *
 * A tensor is contiguous and row-major; there are no strides.  It is also a node of the tape: an
 * operation plus its inputs.  Building math records nodes; hn_grad appends gradient nodes (gradients
 * are made of ops, so a backend implements forward kernels only); hn_tape_plan gives every node an
 * address in one block; hn_run computes them.  A recording is planned once for capacities (most
 * tokens, acts, samples) and runs many times: the live counts and the memory behind leaves are
 * run-time inputs. */
#ifndef HN_TENSOR_H
#define HN_TENSOR_H

#include "base/base.h"

#ifndef HN_REAL
#define HN_REAL float /* the test build says double: see tests/opcheck.c */
#endif
typedef HN_REAL hn_real;

enum { HN_MAXDIM = 4, HN_MAXIN = 8, HN_MAXOUT = 4 };
/* hn_real; int32_t; a host object, not an array; bfloat16 (in the double build hn_real, which rounds nothing)
 */
typedef enum { HN_F, HN_I32, HN_HOST, HN_BF16 } hn_dtype;

/* What bounds the first dimension at run time.  d[0] is the capacity; the live count is on the tape. */
typedef enum { HN_FIXED, HN_TOKENS, HN_SPANS, HN_ACTS, HN_SAMPLES, HN_PAIRS, HN_LIVE_N } hn_live;

typedef struct hn_shape {
    int nd;
    hn_live live;
    int64_t d[HN_MAXDIM];
} hn_shape;
typedef struct hn_attr {
    double f[3];
    int64_t i[5];
} hn_attr; /* plain data: hashed, printed */

typedef struct hn_op hn_op;
typedef struct hn_tape hn_tape;
typedef struct hn_tensor hn_tensor;
struct hn_tensor {
    const hn_op *op;           /* NULL: a leaf, or output 1.. of `of` */
    hn_tensor *in[HN_MAXIN];   /* NULL where an optional input is absent */
    hn_tensor *out[HN_MAXOUT]; /* out[0] is the node itself; out[1..] its further outputs */
    hn_tensor *of;             /* the node that computes this further output; else NULL */
    hn_attr attr;
    hn_dtype type;
    hn_shape shape;
    void *data;            /* leaf: owned elsewhere, rebindable; else an address in the tape's block */
    void *into;            /* leaf: gradient memory (hn_real, same shape) that runs add to; or NULL.  Set it
                              before hn_grad; it may point elsewhere before each run */
    void *side;            /* leaf: what a backend keeps beside it (packed weights), or, where data is NULL,
                              instead of it; or NULL */
    void *work;            /* scratch while the node runs: op->scratch or backend->scratch bytes */
    hn_tensor *grad;       /* set by hn_grad for the tensors asked for; NULL for those with `into` */
    const int64_t *n_live; /* the tape's live counts */
    bool keep;             /* readable after hn_run; others share memory */
    bool bound;            /* data is fixed from outside (an accumulating gradient) */
    int segment;           /* which segment it was recorded in; 0: none (hn_segment) */
    const char *scope;     /* "layer.3.attn": for errors, dumps and profiles */
    int id;
};

int64_t hn_rows(const hn_tensor *t);  /* live rows: product of all but the last dimension, d[0] taken live */
int64_t hn_cols(const hn_tensor *t);  /* the last dimension (1 for a vector [n]: a vector has n rows of 1) */
int64_t hn_count(const hn_tensor *t); /* live elements */
int64_t hn_cap_rows(const hn_tensor *t); /* as hn_rows, at capacity: for shape and scratch functions */
size_t hn_bytes(const hn_tensor *t);     /* at capacity */

/* ---- operations --------------------------------------------------------------
 * One of these per operation, in src/op/.  `ref` is the specification: simple, serial within its rows,
 * correct on every shape.  Backends may override it; tests may not doubt it except through finite
 * differences. */
enum { HN_CASE_HOST = -1 };
typedef struct hn_case { /* shapes tests and benchmarks use; live ones are also tried at fewer rows */
    const char *name;
    hn_shape in[HN_MAXIN];
    int bound[HN_MAXIN]; /* > 0: integer input in [0,bound); HN_CASE_HOST: host object made by fill */
    hn_attr attr;
    /* Fills inputs that random numbers cannot (spans, positions, host objects); NULL when not needed.
     * The same seed fills the same values.  drop releases the host objects that fill made. */
    void (*fill)(hn_tensor *const in[], uint64_t seed);
    void (*drop)(hn_tensor *const in[]);
} hn_case;

struct hn_op {
    const char *name;
    int n_in, n_out; /* n_out 0 means 1 */
    /* Sets the shapes of all outputs; nonzero: the inputs do not fit. */
    int (*shape)(const hn_tensor *y, hn_shape out[HN_MAXOUT]);
    /* Rows [lo,hi) of output 0 (and the same rows of the others, unless `whole`). */
    void (*ref)(const hn_tensor *y, int64_t lo, int64_t hi);
    /* Gradients of the inputs from the gradients g[k] of the outputs (NULL: none reaches that output);
     * leaves gin[i] NULL where there is none.  NULL: constant. */
    void (*vjp)(hn_tape *t, hn_tensor *y, hn_tensor *const g[HN_MAXOUT], hn_tensor *gin[HN_MAXIN]);
    double (*flops)(const hn_tensor *y);   /* NULL: one per element */
    size_t (*scratch)(const hn_tensor *y); /* bytes of y->work the reference needs, at capacity; NULL: none */
    bool whole;                            /* rows are not independent: one call [0,rows) */
    unsigned acc;  /* bit k: output k is *added to*; the tape clears planned memory before the run */
    int inplace;   /* 1 + index of an input whose memory output 0 may reuse, element by element; 0: none */
    unsigned like; /* bit k: input k is read for its shape alone (its data may be NULL) */
    unsigned optional;  /* bit k: input k may be NULL */
    unsigned fixed_in;  /* bit k: input k is a constant by contract: no gradient flows to it */
    unsigned fixed_out; /* bit k: output k is a constant by contract: no gradient flows through it */
    unsigned half;      /* bit k: output k may be stored in bf16 (hn_stored); the op looks at its type */
    unsigned spare;     /* bit k: when nobody reads output k its data is NULL and the kernel leaves it out */
    const hn_case *cases; /* ends with name == NULL; opcheck refuses a listed op without one */
};

/* ---- backends ----------------------------------------------------------------
 * A backend overrides ops by kernels.  A NULL from kernel() means "use the reference": a new
 * operation works everywhere the day it is written.  (Device memory enters with the first device.) */
typedef int hn_kernel_fn(const hn_tensor *y, hn_err *e);
typedef struct hn_row {                /* what op logp says of one token, from a whole row of logits */
    hn_real logp, logp1, entropy, lse; /* at temperature, at 1, and the last two at temperature */
} hn_row;
typedef struct hn_adamw_now {           /* what AdamW does to a number at this step (nn/params.c) */
    hn_real beta1, rest1, beta2, rest2; /* rest: 1 - beta */
    hn_real lr, root2, eps;             /* lr / (1 - beta1^t), 1 / sqrt(1 - beta2^t) */
    hn_real decay, scale;               /* factors of the weight and of the gradient */
} hn_adamw_now;
typedef struct hn_backend {
    const char *name;
    hn_kernel_fn *(*kernel)(const hn_tensor *y);
    size_t (*scratch)(const hn_tensor *y); /* bytes of y->work its kernel needs, at capacity */
    /* Makes or refreshes *side, what the backend keeps beside a weight leaf [rows, cols] (packed copies);
     * `backward`: also what its gradients read.  w NULL: only the sizes, enough to measure tapes.  NULL
     * pointers: nothing is kept. */
    int (*side)(void **side, const hn_real *w, int64_t rows, int64_t cols, hn_prec p, bool backward,
                hn_err *e);
    /* Makes *side in blocks of few bits instead, whatever the products' precision; their gradients have
     * nothing to read.  HN_ERANGE: weights that do not fit. */
    int (*side_quant)(void **side, const hn_real *w, int64_t rows, int64_t cols, hn_quant q, hn_err *e);
    void (*side_free)(void *side);
    size_t (*side_bytes)(const void *side, bool backward); /* of the copies for products, or for gradients */
    /* Token `id` in a row of logits: the bits that its op logp computes from the same logits (softmax.h).
     * NULL: the reference. */
    void (*row_logp)(const hn_real *logit, int64_t vocab, int32_t id, double temperature, hn_row *row);
    /* The optimiser's loops, with the bits of the plain ones in nn/params.c.  NULL: those. */
    void (*adamw)(hn_real *w, hn_real *m, hn_real *v, const hn_real *g, int64_t n, const hn_adamw_now *a);
    double (*sum_squares)(const hn_real *g, int64_t n);
} hn_backend;
extern const hn_backend hn_backend_ref; /* no overrides */

/* ---- the tape ----------------------------------------------------------------
 * Errors stick to the tape: recording on a failed tape is harmless (a dummy tensor comes back), and
 * hn_tape_plan reports the first failure.  Model code therefore reads as math, with no checks between
 * lines. */
hn_tape *hn_tape_new(const hn_backend *b);
void hn_tape_reset(hn_tape *t); /* forgets the recording, keeps the memory */
void hn_tape_free(hn_tape *t);
void hn_tape_fail(hn_tape *t, int code, const char *what); /* a recorder found the world wrong */

void hn_scope(hn_tape *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3))); /* names what follows */

hn_tensor *hn_leaf(hn_tape *t, hn_dtype type, hn_shape s, void *data); /* memory the caller keeps alive */
void hn_bind(hn_tensor *leaf, void *data);                             /* another memory for the next run */
hn_tensor *hn_apply(hn_tape *t, const hn_op *op, hn_attr a, hn_tensor *const in[HN_MAXIN]);
/* y, just recorded, is stored in p: products read it rounded anyway, and it takes half the memory. */
hn_tensor *hn_stored(hn_tensor *y, hn_prec p);
hn_tensor *hn_keep(hn_tensor *x); /* "I will read this after hn_run" */

/* What follows belongs to a new segment (on), or to none; hn_grad ends one too.  hn_grad records a segment
 * once more before its gradients, which read the copies, so that memory holds what crosses a segment's border
 * until then and the rest of it no longer than a forward run needs it: the same bits, less memory, about one
 * more forward run.  Not copied: kept nodes, and ops on host objects. */
void hn_segment(hn_tape *t, bool on);

/* Appends the nodes of d loss / d wrt[i].  loss has one element.  Where wrt[i] has `into`, the gradient
 * is added there at each run; else wrt[i]->grad is a kept node. */
int hn_grad(hn_tape *t, hn_tensor *loss, hn_tensor *const wrt[], int n);

/* Gives every node its place; call once after recording, again only after hn_tape_reset. */
int hn_tape_plan(hn_tape *t, hn_err *e);
/* The same without taking the block: the sizes are right, and nothing can be run.  For memory tables. */
int hn_tape_measure(hn_tape *t, hn_err *e);
size_t hn_tape_bytes(const hn_tape *t);                  /* of the planned block */
size_t hn_tape_work(const hn_tape *t, const char *op);   /* the most scratch a node of this op has in it */
void hn_tape_live(hn_tape *t, hn_live which, int64_t n); /* for the next run; at most the capacity */
/* In the next runs gradients do not add to what is in `into`: it is overwritten (off at first). */
void hn_tape_from_zero(hn_tape *t, bool on);
int hn_run(hn_tape *t, hn_err *e);    /* any number of times */
double hn_scalar(const hn_tensor *x); /* a kept node of one element */
/* Seconds per op name since the last call with reset, as lines "name calls seconds share". */
void hn_tape_profile(hn_tape *t, hn_buf *out, bool reset);
extern bool hn_poison; /* tests: outputs start as NaN before each node runs */
#endif
