/* plan.c - packs items with lifetimes into one block, and makes the plan of a tape: which nodes run, in
 * whose memory, with which kernel. */
#include "tensor/plan.h"
#include "tensor/tape.h"

#include <string.h>

/* ---- packing ---- */
static bool before(const hn_item *a, const hn_item *b) { /* larger first, then older */
    if (a->size != b->size) return a->size > b->size;
    return a->first < b->first;
}

/* Merge sort of indices: stable, so equal items keep their order and plans are the same everywhere. */
static void sort(const hn_item *item, int *order, int *spare, int n) {
    if (n < 2) return;
    int half = n / 2, i = 0, j = half, k = 0;
    sort(item, order, spare, half);
    sort(item, order + half, spare, n - half);
    memcpy(spare, order, (size_t)n * sizeof *order);
    while (i < half || j < n)
        order[k++] =
            j == n || (i < half && !before(&item[spare[j]], &item[spare[i]])) ? spare[i++] : spare[j++];
}

size_t hn_plan(hn_item *item, int n, int *order) {
    int *placed = order + n, n_placed = 0;
    size_t end = 0;
    for (int i = 0; i < n; i++) order[i] = i;
    sort(item, order, placed, n);
    for (int i = 0; i < n; i++) {
        hn_item *x = &item[order[i]];
        size_t size = (x->size + HN_PLAN_ALIGN - 1) / HN_PLAN_ALIGN * HN_PLAN_ALIGN, at = 0;
        int p = 0;
        for (; p < n_placed; p++) { /* in order of address */
            const hn_item *y = &item[placed[p]];
            if (y->last < x->first || x->last < y->first) continue;
            if (y->at >= at + size) break;
            size_t y_end = y->at + (y->size + HN_PLAN_ALIGN - 1) / HN_PLAN_ALIGN * HN_PLAN_ALIGN;
            if (y_end > at) at = y_end;
        }
        x->at = at;
        if (!size) continue;
        for (p = n_placed; p > 0 && item[placed[p - 1]].at > at; p--) placed[p] = placed[p - 1];
        placed[p] = order[i];
        n_placed++;
        if (at + size > end) end = at + size;
    }
    return end;
}

/* ---- the plan of a tape ---- */
typedef struct planner {
    hn_tape *t;
    bool *wanted;  /* [n] somebody reads tensor i */
    int *at_step;  /* [n] step of the node that makes tensor i */
    int *last;     /* [n] last step that reads tensor i */
    int *item_of;  /* [n] item that holds tensor i; -1: none */
    int *work_of;  /* [n] item of the scratch of node i; -1: none */
    hn_item *item; /* [2 n] */
    int n_item;
} planner;

static bool reads(const hn_tensor *y, int k) { return y->in[k] && !(y->op->like >> k & 1); }

/* A node that must run although nobody may read it: it changes a host object. */
static bool has_effect(const hn_tensor *y) {
    for (int k = 0; k < y->op->n_in; k++)
        if (y->in[k] && y->in[k]->type == HN_HOST) return true;
    return false;
}

/* Walks backward from what is read from outside; dead nodes do not run. */
static int choose_steps(planner *p) {
    hn_tape *t = p->t;
    int n = 0;
    for (int i = t->n - 1; i >= 0; i--) {
        hn_tensor *y = t->node[i];
        if (y->keep || y->bound) p->wanted[i] = true;
        if (!y->op) continue;
        bool runs = has_effect(y);
        for (int k = 0; k < hn_n_out(y->op); k++) runs |= p->wanted[y->out[k]->id];
        p->at_step[i] = runs ? n++ : -1;
        for (int k = 0; runs && k < y->op->n_in; k++)
            if (reads(y, k)) p->wanted[y->in[k]->id] = true;
    }
    for (int i = 0; i < t->n; i++) /* counted from the end so far */
        if (t->node[i]->op && p->at_step[i] >= 0) p->at_step[i] = n - 1 - p->at_step[i];
    return n;
}

static void lifetimes(planner *p) {
    hn_tape *t = p->t;
    for (int i = 0; i < t->n; i++) {
        hn_tensor *y = t->node[i];
        if (y->of) p->at_step[i] = p->at_step[y->of->id];
        if (!y->op && !y->of) p->at_step[i] = -1;
        p->last[i] = y->keep ? t->n_step : p->at_step[i];
        p->item_of[i] = p->work_of[i] = -1;
        if (!y->op || p->at_step[i] < 0) continue;
        for (int k = 0; k < y->op->n_in; k++)
            if (reads(y, k) && p->last[y->in[k]->id] < p->at_step[i]) p->last[y->in[k]->id] = p->at_step[i];
    }
}

static int add_item(planner *p, int first, int last, size_t size) {
    p->item[p->n_item] = (hn_item){ .first = first, .last = last, .size = size };
    return p->n_item++;
}

/* The input whose memory output 0 of y may take over: planned, dying here, read through one slot. */
static hn_tensor *victim(const planner *p, const hn_tensor *y) {
    int slot = y->op->inplace - 1, uses = 0;
    if (slot < 0 || !reads(y, slot) || y->bound || (y->op->acc & 1)) return NULL;
    hn_tensor *x = y->in[slot];
    for (int k = 0; k < y->op->n_in; k++) uses += reads(y, k) && y->in[k] == x;
    bool dies = p->item_of[x->id] >= 0 && p->last[x->id] == p->at_step[y->id];
    return dies && uses == 1 && hn_bytes(x) == hn_bytes(y) ? x : NULL;
}

static void place_outputs(planner *p, hn_step *s) {
    hn_tensor *y = s->y, *x = victim(p, y);
    for (int k = 0; k < hn_n_out(y->op); k++) {
        int id = y->out[k]->id;
        if (y->out[k]->bound || ((y->op->spare >> k & 1) && !p->wanted[id])) continue;
        if (k == 0 && x) {
            p->item_of[id] = p->item_of[x->id];
            p->item[p->item_of[id]].last = p->last[id];
            continue;
        }
        s->fresh |= 1u << k;
        p->item_of[id] = add_item(p, p->at_step[id], p->last[id], hn_bytes(y->out[k]));
    }
}

static int timer_of(hn_tape *t, const hn_op *op, hn_err *e) {
    for (int i = 0; i < t->n_timer; i++)
        if (t->timer[i].op == op) return i;
    if (hn_grow(&t->timer, &t->cap_timer, t->n_timer + 1, sizeof *t->timer))
        return hn_fail(e, HN_ENOMEM, "out of memory planning the tape");
    t->timer[t->n_timer] = (hn_timer){ .op = op };
    return (int)t->n_timer++;
}

/* No node that runs before g adds to the same memory. */
static bool adds_first(const hn_tape *t, const hn_tensor *g) {
    const hn_tensor *leaf = NULL;
    for (int i = 0; i < t->n_bound && !leaf; i++)
        if (t->bound[i].grad == g) leaf = t->bound[i].leaf;
    for (int i = 0; leaf && i < t->n_bound; i++) {
        const hn_bound *b = &t->bound[i];
        if (b->grad && b->grad->id < g->id && b->leaf->into == leaf->into) return false;
    }
    return leaf != NULL;
}

static int make_steps(planner *p, hn_err *e) {
    hn_tape *t = p->t;
    for (int i = 0; i < t->n; i++) {
        hn_tensor *y = t->node[i];
        if (!y->op || p->at_step[i] < 0) continue;
        hn_step *s = &t->step[p->at_step[i]];
        s->y = y;
        s->kernel = t->backend->kernel ? t->backend->kernel(y) : NULL;
        s->need = s->kernel ? t->backend->scratch : y->op->scratch;
        s->work = s->need ? s->need(y) : 0;
        s->timer = timer_of(t, y->op, e);
        if (s->timer < 0) return s->timer;
        place_outputs(p, s);
        for (int k = 0; k < hn_n_out(y->op); k++)
            if (y->out[k]->bound && adds_first(t, y->out[k])) s->first |= 1u << k;
        if (s->work) p->work_of[i] = add_item(p, p->at_step[i], p->at_step[i], s->work);
    }
    return HN_OK;
}

/* One block; a block that is large enough is kept from the recording before. */
static int get_block(hn_tape *t, hn_err *e) {
    if (t->bytes <= t->block_size) return HN_OK;
    hn_big_free(t->block, t->block_size);
    t->block_size = 0;
    t->block = hn_big_alloc(t->bytes);
    if (!t->block) return hn_fail(e, HN_ENOMEM, "no memory for %zu bytes of activations", t->bytes);
    t->block_size = t->bytes;
    return HN_OK;
}

static void give_addresses(const planner *p) {
    hn_tape *t = p->t;
    for (int i = 0; i < t->n; i++) {
        hn_tensor *y = t->node[i];
        if (hn_maker(y) && !y->bound)
            y->data = p->item_of[i] < 0 ? NULL : t->block + p->item[p->item_of[i]].at;
        y->work = p->work_of[i] < 0 ? NULL : t->block + p->item[p->work_of[i]].at;
    }
}

static void *ints(hn_tape *t, size_t each) { return hn_arena_get(t->mem, ((size_t)t->n + 1) * each); }

static int lay_out(hn_tape *t, bool take, hn_err *e) {
    if (t->err.code) return hn_fail(e, t->err.code, "%s", t->err.msg);
    hn_assert(!t->planned);
    planner p = { .t = t, .wanted = ints(t, sizeof(bool)), .at_step = ints(t, sizeof(int)) };
    p.last = ints(t, sizeof(int));
    p.item_of = ints(t, sizeof(int));
    p.work_of = ints(t, sizeof(int));
    p.item = ints(t, 2 * sizeof *p.item);
    int *order = ints(t, 4 * sizeof(int));
    t->step = ints(t, sizeof *t->step);
    if (!p.wanted || !p.at_step || !p.last || !p.item_of || !p.work_of || !p.item || !order || !t->step)
        return hn_fail(e, HN_ENOMEM, "out of memory planning the tape");
    t->n_step = choose_steps(&p);
    lifetimes(&p);
    int rc = make_steps(&p, e);
    if (rc) return rc;
    t->bytes = hn_plan(p.item, p.n_item, order);
    if (!take) return HN_OK;
    rc = get_block(t, e);
    if (rc) return rc;
    give_addresses(&p);
    t->planned = true;
    return HN_OK;
}

int hn_tape_plan(hn_tape *t, hn_err *e) { return lay_out(t, true, e); }
int hn_tape_measure(hn_tape *t, hn_err *e) { return lay_out(t, false, e); }

size_t hn_tape_bytes(const hn_tape *t) { return t->bytes; }

size_t hn_tape_work(const hn_tape *t, const char *op) {
    size_t most = 0;
    for (int i = 0; i < t->n_step; i++)
        if (!strcmp(t->step[i].y->op->name, op) && t->step[i].work > most) most = t->step[i].work;
    return most;
}
