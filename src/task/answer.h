/* answer.h - finding the answer in a completion, and comparing answers.
 *
 * Numbers are compared as numbers, exactly: 1,000 = 1000 = 1000.0 = 1e3.  Nothing here allocates
 * unless it says so; a view points into the text it was found in. */
#ifndef HN_ANSWER_H
#define HN_ANSWER_H

#include "task/ratio.h"

typedef struct hn_view {
    const char *s;
    size_t n;
} hn_view;

hn_view hn_view_trim(hn_view v); /* without white space at either end */

/* The longest number at the start of v: sign (also U+2212), currency sign, digits with thousands
 * commas, decimals, exponent, a fraction a/b, a mixed number "1 1/2".  Returns the bytes it takes;
 * 0: no number starts here, or it does not fit a hn_ratio. */
size_t hn_number_scan(hn_view v, hn_ratio *out);
/* All of v is one number.  Spaces, a closing period and a percent sign are dropped; with `units`, so
 * are words after it ("42 apples"). */
bool hn_number_parse(hn_view v, bool units, hn_ratio *out);
/* The last number in a text.  Digits inside a word (H2O) are none; in "5-3" the last number is 3. */
bool hn_answer_last_number(hn_view text, hn_view *found, hn_ratio *out);
/* What follows the first `marker` on its line, trimmed.  First, not last: a text that goes on to
 * invent more questions is still judged by its own answer, and listing many answers gains nothing. */
bool hn_answer_after(hn_view text, const char *marker, hn_view *found);
#endif
