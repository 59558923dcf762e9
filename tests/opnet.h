/* opnet.h - a small random forest and a two-layer transformer over it, for tests that need the whole of the
 * engine at once. */
#ifndef OPNET_H
#define OPNET_H

#include "op/ops.h"
#include "tensor/forest.h"

/* Fills f (initialised) with `trees` trees of random shape: spans of 1 to `longest` tokens below `vocab`,
 * several samples a tree, each acting on all tokens of a path below the root.  Columns weight (per act),
 * label and reward (per sample) hold random numbers.  Panics when out of memory, unless e is given. */
int opnet_forest(hn_forest *f, uint64_t seed, int trees, int longest, int vocab, hn_err *e);

enum { NET_V = 40, NET_VOCAB = 37, NET_C = 12, NET_H = 4, NET_G = 2, NET_D = 6, NET_F = 10, NET_LAYERS = 2 };

/* One weight of each kind a layer. */
typedef struct opnet {
    hn_real emb[NET_V * NET_C], grad_emb[NET_V * NET_C];
    struct {
        hn_real norm1[NET_C], qkv[(NET_H + 2 * NET_G) * NET_D * NET_C], wq[NET_D], wk[NET_D];
        hn_real out[NET_C * NET_H * NET_D], norm2[NET_C], up[2 * NET_F * NET_C], down[NET_C * NET_F];
        hn_real grad[(NET_H + 2 * NET_G) * NET_D * NET_C]; /* of qkv */
    } layer[NET_LAYERS];
    hn_real freq[NET_D / 2];
} opnet;
void opnet_init(opnet *w, uint64_t seed);

/* The network on a tape with room for the given sizes; logp is kept.  With `grads`, the loss
 * sum(logp * weight) is differentiated into grad_emb and the layers' grad. */
typedef struct opnet_tape {
    hn_tape *t;
    hn_tensor *token, *pos, *span, *from, *target, *weight, *logp, *loss;
} opnet_tape;
int opnet_record(opnet_tape *n, opnet *w, const hn_backend *b, int tokens, int spans, int acts, bool grads,
                 hn_err *e);
/* Binds f and runs; logp is in n->logp->data.  f needs the column weight. */
int opnet_run(opnet_tape *n, const hn_forest *f, hn_err *e);
#endif
