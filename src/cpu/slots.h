/* slots.h - scratch areas lent to the slices of one loop: a slice takes one, uses it alone, gives it back.
 *
 * Which area a slice gets depends on timing, so nothing may be left in it that another slice reads. */
#ifndef HN_SLOTS_H
#define HN_SLOTS_H

#include <sched.h>
#include <stdatomic.h>

#include "base/base.h"

enum { HN_SLOTS = 64 };

typedef struct hn_slots {
    _Atomic uint64_t idle; /* bit i: area i is free */
    char *base;
    size_t size; /* of an area, bytes */
} hn_slots;

/* How much to plan when an area may need up to `most` bytes: 16 such areas, fewer when they are huge. */
static inline size_t hn_slots_bytes(size_t most) {
    size_t enough = (size_t)64 << 20;
    return most * 16 <= enough ? most * 16 : most > enough ? most : enough;
}

/* As many areas of `size` bytes as fit in `room` bytes at base (at most HN_SLOTS); at least one must. */
static inline void hn_slots_init(hn_slots *s, void *base, size_t size, size_t room) {
    size_t n = room / size;
    hn_assert(n >= 1);
    s->base = base;
    s->size = size;
    atomic_init(&s->idle, n >= HN_SLOTS ? UINT64_MAX : ((uint64_t)1 << n) - 1);
}

static inline void *hn_slots_take(hn_slots *s) {
    for (;;) {
        uint64_t idle = atomic_load_explicit(&s->idle, memory_order_relaxed);
        if (!idle) sched_yield(); /* more threads than areas */
        else if (atomic_compare_exchange_weak_explicit(&s->idle, &idle, idle & (idle - 1),
                                                       memory_order_acquire, memory_order_relaxed))
            return s->base + (size_t)__builtin_ctzll(idle) * s->size;
    }
}

static inline void hn_slots_give(hn_slots *s, void *area) {
    uint64_t bit = (uint64_t)1 << (size_t)((char *)area - s->base) / s->size;
    atomic_fetch_or_explicit(&s->idle, bit, memory_order_release);
}
#endif
