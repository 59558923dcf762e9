/* optim.h - the optimiser's loops by tier (nn/params.h has the plain ones). */
#ifndef HN_OPTIM_H
#define HN_OPTIM_H

#include "cpu/cpu.h"
#include "tensor/tensor.h"

HN_TIERED_DECLARE(void, hn_adamw_run,
                  (float *w, float *m, float *v, const float *g, int64_t n, const hn_adamw_now *a));
HN_TIERED_DECLARE(double, hn_sum_squares, (const float *g, int64_t n));
#endif
