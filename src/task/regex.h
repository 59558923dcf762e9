/* regex.h - patterns given by users or data files, run with limits: PCRE2 in UTF mode. */
#ifndef HN_REGEX_H
#define HN_REGEX_H

#include "task/answer.h"

typedef struct hn_regex hn_regex;

/* HN_EPARSE names what is wrong with the pattern and where. */
int hn_regex_new(hn_regex **r, const char *pattern, hn_err *e);
void hn_regex_free(hn_regex *r); /* NULL is fine */
/* The last match in the text (any bytes): its first group if the pattern has one, else all of it.
 * 1: found, 0: none, < 0: could not tell (HN_ERANGE: the match limit; HN_ENOMEM).  Safe from any thread. */
int hn_regex_last(const hn_regex *r, hn_view text, hn_view *found, hn_err *e);
#endif
