/* tfevents.h - scalars for TensorBoard: an append-only file of framed protocol-buffer records.
 *
 * A record is u64 length, masked CRC-32C of the length, the message, masked CRC-32C of the message, all
 * little-endian.  The first message holds "brain.Event:2"; the others a time, a step and values by tag. */
#ifndef HN_TFEVENTS_H
#define HN_TFEVENTS_H

#include "base/base.h"

typedef struct hn_tfevents hn_tfevents;

/* Opens `path`, which TensorBoard finds when its name has "tfevents" in it (hn_tfevents_name).  The file is
 * first cut to `keep` bytes, a number that hn_tfevents_at gave: 0 starts anew, < 0 keeps all.  So after a
 * resume from a checkpoint each step is there once. */
int hn_tfevents_open(hn_tfevents **out, const char *path, int64_t keep, hn_err *e);
/* Writes values[0..n) under tags[0..n) for a step; wall_time is in seconds since 1970.  One write to the
 * kernel. */
int hn_tfevents_add(hn_tfevents *t, int64_t step, double wall_time, int n, const char *const *tags,
                    const double *values, hn_err *e);
int64_t hn_tfevents_at(const hn_tfevents *t); /* bytes so far */
int hn_tfevents_sync(hn_tfevents *t, hn_err *e);
void hn_tfevents_close(hn_tfevents *t); /* NULL is fine */

/* "events.out.tfevents.<seconds>.<host>.hone" in b's memory; NULL when out of memory. */
const char *hn_tfevents_name(hn_buf *b, double wall_time);

/* CRC-32C (Castagnoli) of n bytes, and the rotation that TensorBoard stores instead of it. */
uint32_t hn_crc32c(const void *p, size_t n);
uint32_t hn_crc32c_masked(const void *p, size_t n);
#endif
