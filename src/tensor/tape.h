/* tape.h - the inside of a tape, shared by its recorder (tape.c), differentiator (grad.c), planner
 * (plan.c) and runner (run.c). */
#ifndef HN_TAPE_H
#define HN_TAPE_H

#include "tensor/tensor.h"

/* A gradient node whose memory is a leaf's `into`; NULL: a leaf that no gradient reaches. */
typedef struct hn_bound {
    hn_tensor *grad, *leaf;
} hn_bound;

/* A node that runs, and how. */
typedef struct hn_step {
    hn_tensor *y;
    hn_kernel_fn *kernel;               /* NULL: the reference */
    size_t (*need)(const hn_tensor *y); /* bytes of y->work it needs as things are now; NULL: none */
    size_t work;                        /* bytes it got when it was planned */
    unsigned fresh; /* bit k: output k has planned memory of its own (not absent, bound, in place) */
    unsigned first; /* bit k: output k is the first to add to its leaf's `into` */
    int timer;      /* index into tape->timer */
} hn_step;

typedef struct hn_timer {
    const hn_op *op;
    int64_t calls;
    double seconds;
} hn_timer;

struct hn_tape {
    const hn_backend *backend;
    hn_arena *mem;    /* nodes, scopes, the plan */
    hn_tensor **node; /* in recording order, which is a topological order */
    int n, cap;
    hn_bound *bound;
    int n_bound, cap_bound;
    bool from_zero; /* hn_tape_from_zero */
    const char *scope;
    int segment, n_segment;          /* being recorded, 0: none; how many there are */
    hn_err err;                      /* sticky: the first thing that went wrong */
    hn_tensor bad;                   /* what a failed recording returns */
    int64_t live[HN_LIVE_N];         /* -1: the capacity */
    int64_t least[HN_LIVE_N];        /* smallest capacity recorded of each kind; -1: none */
    const char *least_at[HN_LIVE_N]; /* and its scope */
    hn_step *step;
    int n_step;
    bool planned;
    char *block;
    size_t bytes, block_size; /* planned; allocated (kept over resets) */
    hn_timer *timer;
    int64_t n_timer, cap_timer;
};

/* Which output of its node a tensor is. */
static inline int hn_output_index(const hn_tensor *x) {
    int k = 0;
    while (x->of && x->of->out[k] != x) k++;
    return k;
}
static inline int hn_n_out(const hn_op *op) { return op->n_out ? op->n_out : 1; }
/* The node that computes x; NULL for a leaf. */
static inline hn_tensor *hn_maker(hn_tensor *x) { return x->of ? x->of : x->op ? x : NULL; }
#endif
