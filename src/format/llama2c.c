/* llama2c.c - import of llama2.c checkpoints, version 0.  The header says what the file must weigh. */
#include "format/llama2c.h"

#include "base/io.h"
#include "format/hfdir.h"
#include "format/rope_rows.h"
#include <math.h>
#include <string.h>

enum { HEADER = 7 * 4, MAGIC = 0x616b3432, DIM_MAX = 1 << 24, NAME = 64 };

/* One tensor of the new directory and where its numbers are in the old file. */
typedef struct part {
    char name[NAME];
    const unsigned char *data;
    int64_t rows, cols; /* rows 0: a vector of cols */
    int head;           /* > 0: rows are heads of so many, in pairs of neighbours */
} part;

typedef struct source {
    const char *path;
    hn_map map;
    hn_hfconfig c;
    part *list;
    hn_hftensor *tensor;
    int64_t n;
    int (*more)(void *ctx, const char *dir, hn_err *e);
    void *more_ctx;
} source;

static int32_t field(const unsigned char *p, int i) {
    p += 4 * i;
    return (int32_t)(p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
}

/* Floats of the rotary tables that older code read and newer code skips: two of [seq_len, head_dim/2]. */
static int64_t table_floats(const hn_hfconfig *c) {
    return (int64_t)c->max_position_embeddings * (c->head_dim / 2);
}

static int read_header(source *s, hn_err *e) {
    static const char *const names[] = { "dim",        "hidden_dim", "n_layers", "n_heads",
                                         "n_kv_heads", "vocab_size", "seq_len" };
    const unsigned char *p = s->map.data;
    hn_hfconfig *c = &s->c;
    if (s->map.n < HEADER)
        return hn_fail(e, HN_EPARSE, "%s: not a llama2.c checkpoint: %zu bytes, the header alone has %d",
                       s->path, s->map.n, HEADER);
    if (field(p, 0) == MAGIC)
        return hn_fail(e, HN_EUNSUP,
                       "%s: a llama2.c file of version %d; only version 0 is read (export it so)", s->path,
                       field(p, 1));
    for (int i = 0; i < 7; i++) {
        int64_t v = field(p, i), size = i == 5 && v < 0 ? -v : v;
        if (size < 1 || size > DIM_MAX)
            return hn_fail(e, HN_EPARSE, "%s: not a llama2.c checkpoint: %s is %lld", s->path, names[i],
                           (long long)v);
    }
    hn_hfconfig_default(c, HN_ARCH_LLAMA);
    c->hidden_size = field(p, 0);
    c->intermediate_size = field(p, 1);
    c->n_layer = field(p, 2);
    c->n_head = field(p, 3);
    c->n_kv_head = field(p, 4);
    c->tied = field(p, 5) > 0;
    c->vocab_size = c->tied ? field(p, 5) : -field(p, 5);
    c->max_position_embeddings = field(p, 6);
    c->rms_norm_eps = 1e-5;
    if (c->hidden_size % c->n_head)
        return hn_fail(e, HN_EPARSE, "%s: dim %d is not divisible by n_heads %d", s->path, c->hidden_size,
                       c->n_head);
    c->head_dim = c->hidden_size / c->n_head;
    if (c->vocab_size > 2) c->bos = 1, c->n_eos = 2, c->eos[0] = 2, c->eos[1] = 1;
    strcpy(c->dtype, "float32");
    return hn_hfconfig_check(c, s->path, e);
}

/* The sines of position * theta^(-2i/head_dim) are in the file: they say whether theta is the one we assume.
 * A table of zeros says nothing. */
static int check_theta(const source *s, const unsigned char *sines, hn_err *e) {
    int half = s->c.head_dim / 2;
    float stored, any = 0;
    bool same = true;
    for (int i = 0; i < half && s->c.max_position_embeddings > 1; i++) {
        double want = sin(pow(s->c.rope.theta, -2.0 * i / s->c.head_dim));
        memcpy(&stored, sines + 4 * ((size_t)half + (size_t)i), 4); /* position 1 */
        same &= fabs((double)stored - want) < 1e-3 * want;
        any += fabsf(stored);
    }
    if (same || any == 0) return HN_OK;
    return hn_fail(e, HN_EUNSUP, "%s: its rotary table is not that of theta %g, the only one llama2.c uses",
                   s->path, s->c.rope.theta);
}

static const unsigned char *take(const unsigned char **p, int64_t floats) {
    const unsigned char *at = *p;
    *p += 4 * floats;
    return at;
}

static void add(source *s, const unsigned char *data, int64_t rows, int64_t cols, int head, int layer,
                const char *name) {
    part *x = &s->list[s->n];
    if (layer < 0) snprintf(x->name, NAME, "%s.weight", name);
    else snprintf(x->name, NAME, "model.layers.%d.%s.weight", layer, name);
    x->data = data, x->rows = rows, x->cols = cols, x->head = head;
    s->tensor[s->n++] = (hn_hftensor){ x->name, rows ? 2 : 1, { rows ? rows : cols, rows ? cols : 0 } };
}

/* All layers of one kind of tensor. */
static void add_layers(source *s, const unsigned char **p, int64_t rows, int64_t cols, int head,
                       const char *name) {
    for (int l = 0; l < s->c.n_layer; l++)
        add(s, take(p, (rows ? rows : 1) * cols), rows, cols, head, l, name);
}

static int list_tensors(source *s, hn_err *e) {
    const hn_hfconfig *c = &s->c;
    int64_t dim = c->hidden_size, ffn = c->intermediate_size, kv = (int64_t)c->n_kv_head * c->head_dim;
    const unsigned char *p = s->map.data + HEADER;
    int64_t room = 9 * (int64_t)c->n_layer + 3,
            want = 4 * (hn_hfconfig_params(c) + 2 * table_floats(c)) + HEADER;
    if ((uint64_t)want != s->map.n)
        return hn_fail(e, HN_EPARSE, "%s: %s: its header describes %lld bytes, the file has %zu", s->path,
                       (uint64_t)want > s->map.n ? "truncated or no llama2.c checkpoint"
                                                 : "not a llama2.c checkpoint",
                       (long long)want, s->map.n);
    s->list = hn_alloc((size_t)room * sizeof *s->list);
    s->tensor = hn_alloc((size_t)room * sizeof *s->tensor);
    if (!s->list || !s->tensor) return hn_fail(e, HN_ENOMEM, "%s: out of memory", s->path);
    const unsigned char *embed = take(&p, (int64_t)c->vocab_size * dim);
    add(s, embed, c->vocab_size, dim, 0, -1, "model.embed_tokens");
    add_layers(s, &p, 0, dim, 0, "input_layernorm");
    add_layers(s, &p, dim, dim, c->head_dim, "self_attn.q_proj");
    add_layers(s, &p, kv, dim, c->head_dim, "self_attn.k_proj");
    add_layers(s, &p, kv, dim, 0, "self_attn.v_proj");
    add_layers(s, &p, dim, dim, 0, "self_attn.o_proj");
    add_layers(s, &p, 0, dim, 0, "post_attention_layernorm");
    add_layers(s, &p, ffn, dim, 0, "mlp.gate_proj");
    add_layers(s, &p, dim, ffn, 0, "mlp.down_proj");
    add_layers(s, &p, ffn, dim, 0, "mlp.up_proj");
    add(s, take(&p, dim), 0, dim, 0, -1, "model.norm");
    take(&p, table_floats(c)); /* cosines */
    int rc = check_theta(s, take(&p, table_floats(c)), e);
    if (!c->tied) add(s, p, c->vocab_size, dim, 0, -1, "lm_head");
    return rc;
}

static int source_open(source *s, const char *path, hn_err *e) {
    *s = (source){ .path = path };
    int rc = hn_map_open(&s->map, path, e);
    if (!rc && !(rc = read_header(s, e))) rc = list_tensors(s, e);
    return rc;
}

static void source_close(source *s) {
    hn_map_close(&s->map);
    hn_free(s->list);
    hn_free(s->tensor);
}

static int give(void *ctx, int64_t i, hn_st_writer *w, hn_err *e) {
    const part *x = &((source *)ctx)->list[i];
    int rc = HN_OK;
    if (!x->rows) return hn_st_writer_raw(w, x->data, 4 * (size_t)x->cols, e);
    for (int64_t r = 0; !rc && r < x->rows; r++)
        rc = hn_st_writer_raw(w, x->data + 4 * hn_rope_neighbour(r, x->head) * x->cols, 4 * (size_t)x->cols,
                              e);
    return rc;
}

static int pass_on(void *ctx, const char *dir, hn_err *e) {
    const source *s = ctx;
    return s->more(s->more_ctx, dir, e);
}

int hn_llama2c_shape(hn_hfconfig *c, const char *path, hn_err *e) {
    source s;
    int rc = source_open(&s, path, e);
    *c = s.c;
    source_close(&s);
    return rc;
}

int hn_llama2c_convert(const char *path, const char *dir, int (*more)(void *ctx, const char *dir, hn_err *e),
                       void *ctx, hn_err *e) {
    source s;
    json_t *config = NULL;
    int rc = source_open(&s, path, e);
    if (!rc) rc = hn_hfconfig_json(&s.c, &config, e);
    s.more = more, s.more_ctx = ctx;
    hn_hfsave save = {
        .config = config, .dtype = HN_ST_F32, .tensor = s.tensor, .n = s.n, .data = give, .ctx = &s
    };
    if (more) save.more = pass_on;
    if (!rc) rc = hn_hfdir_save(dir, &save, e);
    json_decref(config);
    source_close(&s);
    return rc;
}
