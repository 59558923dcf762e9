/* backend.h - the backend of this processor: kernels of the tier chosen by hn_cpu_open.
 *
 * Tapes are planned and weights packed for the tier of the moment; after a change of tier, both are done
 * anew. */
#ifndef HN_CPU_BACKEND_H
#define HN_CPU_BACKEND_H

#include "cpu/cpu.h"
#include "tensor/tensor.h"

extern const hn_backend hn_backend_cpu;
#endif
