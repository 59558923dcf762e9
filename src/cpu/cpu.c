/* cpu.c - probing by CPUID and XCR0, and the choice of the tier.
 *
 * A feature counts only when the operating system saves its registers: CPUID says what the core has, XCR0
 * what survives a context switch.  AMX tile data is off until the process asks for it (Linux 5.16,
 * Documentation/arch/x86/xstate.rst); the grant is per process and inherited by later threads. */
#include "cpu/cpu.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

static const char *const names[] = { "c", "avx2", "avx512", "amx" };
enum { N_TIER = sizeof names / sizeof *names };

static hn_tier best = HN_TIER_C, tier = HN_TIER_C;
static bool vnni;
static char lacking[160]; /* what the tier above `best` would need */
static char why[256] = "the processor was not probed: plain C";

#if defined(__x86_64__)
enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_TILEDATA = 18 };

static uint64_t xcr0(void) {
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static bool bit(uint32_t word, int i) { return word >> i & 1; }

/* Palette 1 as the kernels use it: 8 tiles of 16 rows of 64 bytes. */
static bool palette_fits(void) {
    uint32_t a, b, c, d;
    if (!__get_cpuid_count(0x1d, 1, &a, &b, &c, &d)) return false;
    return (b & 0xffff) == 64 && b >> 16 == 8 && (c & 0xffff) == 16;
}

typedef struct need { /* of a tier */
    const char *name;
    bool there;
} need;

/* Writes the names of what is missing of need[0..n); true when it is nothing. */
static bool all_there(const need *x, int n) {
    size_t at = 0;
    lacking[0] = 0;
    for (int i = 0; i < n; i++)
        if (!x[i].there)
            at += (size_t)snprintf(lacking + at, sizeof lacking - at, "%s%s", at ? " " : "", x[i].name);
    return !at;
}

static hn_tier probe(hn_buf *found) {
    uint32_t a, b, c = 0, d, a1 = 0, b1, c1, d1, c0 = 0;
    bool saved = __get_cpuid(1, &a, &b, &c0, &d) && bit(c0, 27); /* OSXSAVE */
    uint64_t os = saved ? xcr0() : 0;
    a = b = d = 0;
    bool seven = __get_cpuid_count(7, 0, &a, &b, &c, &d);
    if (seven && a >= 1 && !__get_cpuid_count(7, 1, &a1, &b1, &c1, &d1)) a1 = 0;
    const need avx2[] = { { "vectors saved by the kernel", (os & 0x6) == 0x6 },
                          { "avx", bit(c0, 28) },
                          { "fma", bit(c0, 12) },
                          { "f16c", bit(c0, 29) },
                          { "avx2", seven && bit(b, 5) } };
    const need avx512[] = { { "wide vectors saved by the kernel", (os & 0xe0) == 0xe0 },
                            { "avx512f", bit(b, 16) },
                            { "avx512dq", bit(b, 17) },
                            { "avx512bw", bit(b, 30) },
                            { "avx512vl", bit(b, 31) } };
    const need amx[] = { { "tiles saved by the kernel", (os >> 17 & 3) == 3 },
                         { "avx512_bf16", bit(a1, 5) },
                         { "avx512_vnni", bit(c, 11) },
                         { "amx_bf16", bit(d, 22) },
                         { "amx_int8", bit(d, 25) },
                         { "amx_tile", bit(d, 24) },
                         { "tiles of 16 x 64 bytes", bit(d, 24) && palette_fits() } };
    if (!all_there(avx2, 5)) return HN_TIER_C;
    hn_buf_str(found, "avx2 fma f16c");
    if (!all_there(avx512, 5)) return HN_TIER_AVX2;
    hn_buf_str(found, " avx512f/dq/bw/vl");
    vnni = bit(c, 11);
    if (vnni) hn_buf_str(found, " avx512_vnni");
    if (!all_there(amx, 7)) return HN_TIER_AVX512;
    if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_TILEDATA) != 0) {
        snprintf(lacking, sizeof lacking, "the kernel's leave to use amx");
        return HN_TIER_AVX512;
    }
    hn_buf_str(found, " avx512_bf16 amx_tile/bf16/int8");
    return HN_TIER_AMX;
}
#else
static hn_tier probe(hn_buf *found) {
    hn_buf_str(found, "not x86-64: the compiler's own vectors");
    return HN_TIER_C;
}
#endif

int hn_cpu_open(const char *force, hn_err *e) {
    hn_buf found = { 0 };
    best = probe(&found);
    const char *by = force ? "asked for" : "HONE_TIER";
    if (!force) force = getenv("HONE_TIER");
    int want = (int)best;
    if (force && *force) {
        for (want = 0; want < N_TIER && strcmp(force, names[want]) != 0;) want++;
        if (want == N_TIER) {
            hn_buf_free(&found);
            return hn_fail(e, HN_EPARSE, "%s %s: no such tier; use c, avx2, avx512 or amx", by, force);
        }
        if (want > (int)best) {
            hn_fail(e, HN_EUNSUP, "%s %s: this machine has up to %s (%s)", by, force, names[best],
                    found.n ? found.data : "no vectors the kernels use");
            hn_buf_free(&found);
            return HN_EUNSUP;
        }
    }
    tier = (hn_tier)want;
    snprintf(why, sizeof why, "%s: found %s%s%s", names[tier], found.n ? found.data : "no wider vectors",
             force && *force ? ", " : "", force && *force ? by : "");
    if (force && *force) snprintf(why + strlen(why), sizeof why - strlen(why), " %s", force);
    bool oom = found.oom;
    hn_buf_free(&found);
    return oom ? hn_fail(e, HN_ENOMEM, "out of memory while probing the processor") : HN_OK;
}

hn_tier hn_cpu_tier(void) { return tier; }
const char *hn_tier_name(hn_tier t) { return names[t]; }
const char *hn_cpu_tier_name(void) { return names[tier]; }
const char *hn_cpu_why(void) { return why; }
const char *hn_cpu_missing(void) { return lacking; }
bool hn_cpu_has(hn_tier t) { return t <= best; }
bool hn_cpu_vnni(void) { return vnni; }

void hn_cpu_force(hn_tier t) {
    hn_assert(hn_cpu_has(t));
    tier = t;
}
