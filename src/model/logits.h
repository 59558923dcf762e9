/* logits.h - whole rows of logits of one path, for `hone score --logits` and comparisons with other programs.
 */
#ifndef HN_LOGITS_H
#define HN_LOGITS_H

#include "model/transformer.h"

/* out [n, vocab_size]: the logits after each of n tokens.  Ids the tokenizer lacks are -inf. */
int hn_logits_of(hn_transformer *m, const int32_t *token, int n, hn_real *out, hn_err *e);
#endif
