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
/* What stands in the last \boxed{...} or \fbox{...} with balanced braces ("\boxed 5" too).  An unbalanced
 * one (a text cut off) is skipped. */
bool hn_answer_boxed(hn_view text, hn_view *found);
/* The letter of a multiple choice, 'A' to 'Z': in the last box; after the last "answer is" or
 * "answer:"; as the start of the text ("B", "B. because"); the last "(B)".  0: none. */
char hn_answer_choice(hn_view text);
/* The last number a lenient reader would take: after the marker, else in the last box, else the last
 * number of the text. */
bool hn_answer_number(hn_view text, const char *marker, hn_ratio *out);

/* Are two LaTeX answers the same?  Spacing, \left, \text, units, degrees, $ and % do not count; numbers
 * compare as numbers (\frac{1}{2} = 0.5); tuples, sets and intervals element by element.  This is a
 * comparison of form, not algebra: x+1 and 1+x differ.  HN_ENOMEM or 0. */
int hn_answer_same_math(hn_view a, hn_view b, bool *same, hn_err *e);
#endif
