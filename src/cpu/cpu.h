/* cpu.h - what this processor can do, and which build of the kernels runs on it.
 *
 * Kernels are written once against simd.h in files named *_tmpl.c and built once per tier; AMX is the
 * AVX-512 build with matrix products in bf16 replaced.  The tier is found by CPUID and XCR0 features, never
 * by model names (virtual machines mask those), and can be forced down so that one machine tests them all.
 * Results are bitwise reproducible within a tier, not across tiers. */
#ifndef HN_CPU_H
#define HN_CPU_H

#include "base/base.h"

typedef enum { HN_TIER_C, HN_TIER_AVX2, HN_TIER_AVX512, HN_TIER_AMX } hn_tier;

/* Probes the processor, asks the kernel for AMX (call it before any thread exists), and settles the tier:
 * the best one found, or the one named by `force`, or else by the environment variable HONE_TIER
 * (c, avx2, avx512, amx).  HN_EPARSE for another word, HN_EUNSUP for a tier this machine lacks.
 * May be called again.  Before the first call the tier is c. */
int hn_cpu_open(const char *force, hn_err *e);

hn_tier hn_cpu_tier(void);
const char *hn_cpu_tier_name(void);
const char *hn_tier_name(hn_tier t);
/* The features found and what was forced, as one sentence; for `hone --version` and receipts. */
const char *hn_cpu_why(void);
/* What the next tier would need and is not here, "avx512bw avx512vl"; "" on the highest. */
const char *hn_cpu_missing(void);
bool hn_cpu_has(hn_tier t);
/* 64-byte vectors have dot products of bytes (AVX512-VNNI).  Tier amx always has them, avx512 may. */
bool hn_cpu_vnni(void);

/* For tests and tools: continues in tier t, which the machine must have.  No kernel may be running, and
 * packed weights made before must be packed anew. */
void hn_cpu_force(hn_tier t);

/* ---- kernels with one build per tier -------------------------------------------
 * HN_TIERED_DECLARE(void, hn_foo, (float *y, int64_t n)) in a header declares hn_foo_c, hn_foo_avx2 and
 * hn_foo_avx512; the template defines HN_TIERED(hn_foo) (see simd.h); HN_TIER_PICK(hn_foo)(y, n) calls the
 * one that fits hn_cpu_tier(). */
#if defined(__x86_64__)
#define HN_TIERED_DECLARE(ret, name, args)                                                                   \
    ret name##_c args;                                                                                       \
    ret name##_avx2 args;                                                                                    \
    ret name##_avx512 args
#define HN_TIER_PICK(name)                                                                                   \
    (hn_cpu_tier() >= HN_TIER_AVX512 ? name##_avx512 : hn_cpu_tier() == HN_TIER_AVX2 ? name##_avx2 : name##_c)
#else
#define HN_TIERED_DECLARE(ret, name, args) ret name##_c args
#define HN_TIER_PICK(name)                 (name##_c)
#endif
#endif
