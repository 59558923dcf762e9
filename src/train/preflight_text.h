/* preflight_text.h - the checks of tokenizer, template and stop tokens (inside of preflight.c). */
#ifndef HN_PREFLIGHT_TEXT_H
#define HN_PREFLIGHT_TEXT_H

#include "train/preflight.h"

void hn_preflight_text(hn_preflight *p, hn_model *m);
#endif
