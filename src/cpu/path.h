/* path.h - keys and values of one path of a forest, gathered into tiles of HN_BLOCK positions.
 *
 * A path is a token's ancestors from the root of its tree and itself.  Tiles are aligned to the position on
 * the path, never to spans, so a block that straddles spans is simply gathered.  A tile set remembers which
 * token it holds at each position: spans visited one after the other gather only what they do not share. */
#ifndef HN_PATH_H
#define HN_PATH_H

#include "cpu/attn_unit.h"
#include "tensor/kv.h"

static inline int64_t hn_whole_blocks(int64_t n) { return (n + HN_BLOCK - 1) / HN_BLOCK * HN_BLOCK; }

/* A forest's keys and values as they lie in [N, (H + 2G) D]. */
typedef struct hn_paths {
    const float *qkv;
    const int32_t *span; /* [S, 3] begin, len, parent */
    int64_t n_span;
    int H, G, D;
    int32_t *start; /* [S] path position of a span's first token */
    int longest;    /* positions of the longest path */
} hn_paths;

/* Fills start and longest; start is the caller's memory. */
void hn_paths_init(hn_paths *f, int32_t *start);

/* Tiles of one key-value head.  Pointers that are NULL are not filled. */
typedef struct hn_tiles {
    int positions, filled; /* room, a multiple of 64; below `filled` something may be held */
    int32_t *held;         /* [positions] the token held there, -1: none */
    float *kt, *vt;        /* blocks of 64 as the cache keeps keys (kv.h) */
    float *k, *v;          /* [positions, D] */
    /* With a unit: rows in bf16, and made of them for each block that changed (`stale`) keys and values as
     * a page has them, or keys as columns. */
    const hn_attn_unit *unit;
    uint16_t *k_rows, *v_rows;   /* [positions, D] */
    uint32_t *k_pairs, *v_pairs; /* blocks of [4, D / 2, 16] and of [32, D] */
    uint16_t *k_columns;         /* blocks of [D, 64] */
    bool *stale;                 /* [positions / 64] */
    /* Gradients of the tokens held.  A token that leaves writes them to `out`, laid out like qkv; one that
     * comes back, when a later span needs its ancestor again, adds to what it wrote. */
    float *dk, *dv; /* [positions, D] */
    bool *again;    /* [positions] the token held has been here before */
    float *out;
} hn_tiles;

/* Tokens [0, n) of span s and all its ancestors are held afterwards, for key-value head g.  With gradients,
 * spans come in their order, each whole. */
void hn_tiles_fill(hn_tiles *t, const hn_paths *f, int g, int32_t s, int n);
/* Lets all tokens go: before another head or tree. */
void hn_tiles_empty(hn_tiles *t, const hn_paths *f, int g);
#endif
