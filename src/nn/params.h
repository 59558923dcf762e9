/* params.h - the parameter store: every trainable tensor by name, in one block of memory a kind.
 *
 * One block means one loop for the optimiser, one write for a checkpoint, one reduce across ranks;
 * names mean nobody counts tensors.  Parameters declared one after the other can be seen as one matrix
 * (q, k and v; gate and up), so that a product reads its input once. */
#ifndef HN_PARAMS_H
#define HN_PARAMS_H

#include "tensor/tensor.h"

typedef struct hn_param {
    char name[120];
    hn_shape shape;
    int64_t at, count; /* offset and length in every block below; at -1: held packed alone */
    bool decay;        /* weight decay applies (matrices, not gains or biases) */
} hn_param;

typedef struct hn_weight { /* a run of parameters as one leaf */
    hn_shape shape;
    int64_t at;
    int64_t first, n;  /* its parameters */
    bool packed;       /* a matrix that products read: the backend keeps packed copies */
    bool rows, finest; /* its rows are looked up as well; in few bits it is held in 8 */
    bool chunked;      /* gradients read it a part at a time and pack that: no copy of it for them */
    void *side;
} hn_weight;

typedef struct hn_params {
    hn_param *list;
    hn_weight *weight;
    int64_t n, n_weight, cap, cap_weight;
    int64_t count;
    hn_real *value, *grad, *moment[2]; /* [count] each, laid out alike; the last three while training */
    const hn_backend *backend;
    hn_prec prec;
    /* hn_params_quantize: how packed matrices are held, and what is read of a file before it is packed. */
    hn_quant quant;
    hn_real *staged;
    int64_t most_staged, held; /* the largest such matrix; numbers in value */
    bool described, trains;    /* hn_params_describe: sizes without memory */
} hn_params;

/* ---- declaring: before hn_params_build ---- */
int hn_params_declare(hn_params *p, const char *name, hn_shape s,
                      bool decay); /* its index, or < 0: no memory */
/* Parameters [first, first+n) as one leaf: matrices of equal width are stacked, vectors joined.
 * Its index, or < 0: no memory. */
int hn_params_weight(hn_params *p, int first, int n, bool packed);

/* ---- memory ---- */
int hn_params_build(hn_params *p, const hn_backend *b, hn_prec prec, hn_err *e);
/* Before build or describe, for a model that only answers: matrices of products are held in blocks of few
 * bits alone (whose rows are looked up, beside their values).  Values then come one parameter after the
 * other: hn_params_place says where parameter i belongs, hn_params_placed follows when they are there.  There
 * is no training, no saving and no copy of such parameters. */
void hn_params_quantize(hn_params *p, hn_quant q);
hn_real *hn_params_place(hn_params *p, int64_t i);
int hn_params_placed(hn_params *p, int64_t i, hn_err *e); /* HN_ENOMEM, HN_ERANGE: no such blocks hold it */
int hn_params_train(hn_params *p, hn_err *e);             /* adds grad and moments, zeroed */
/* Instead of the two above: no memory; tapes recorded on these leaves can be measured, not run. */
int hn_params_describe(hn_params *p, const hn_backend *b, hn_prec prec, bool train, hn_err *e);
size_t hn_params_block(const hn_params *p);                 /* bytes of value, of grad, of each moment */
size_t hn_params_packed(const hn_params *p, bool backward); /* bytes of the backend's copies */
void hn_params_release(hn_params *p);
int hn_params_find(const hn_params *p, const char *name); /* -1 when absent */
/* N(0, std) for matrices, 1 for gains (names ending in "norm.weight"), 0 for biases: what `transformers`
 * does. */
void hn_params_random(hn_params *p, uint64_t seed, double std);
/* After any change of value: the backend's packed copies follow.  `backward` once training. */
int hn_params_refresh(hn_params *p, hn_err *e);

/* A leaf on this tape; with gradients when hn_params_train was called and `train` is set. */
hn_tensor *hn_params_leaf(hn_params *p, hn_tape *t, int weight, bool train);

/* ---- the optimiser ---- */
typedef struct hn_adamw {
    double beta1, beta2, eps, weight_decay;
} hn_adamw;
/* One step of Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101, as PyTorch's
 * AdamW), gradients multiplied by `scale` (clipping) first.  step counts from 1. */
void hn_adamw_step(const hn_adamw *o, hn_params *p, double lr, int64_t step, double scale);
void hn_params_no_grad(hn_params *p); /* gradients to 0 */
/* Root of the sum of squares of all gradients; the order of summation does not depend on threads. */
double hn_params_grad_norm(const hn_params *p);
#endif
