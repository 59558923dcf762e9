/* utf8.h - one character of UTF-8 at a time, and the classes of characters that patterns ask for. */
#ifndef HN_UTF8_H
#define HN_UTF8_H

#include "base/base.h"

/* Reads the character at s[0..n), n >= 1.  Returns its length and sets *cp; for what is not UTF-8,
 * minus the length of the longest beginning of a character (at least 1), the unit that one U+FFFD
 * stands for (Unicode 15, section 3.9, "maximal subparts"). */
int hn_utf8_get(const char *s, size_t n, int32_t *cp);
int hn_utf8_put(char *out, int32_t cp);           /* returns the length, 1..4 */
size_t hn_utf8_back(const char *s, size_t at);    /* where the character before s[at] begins; at >= 1 */
size_t hn_utf8_valid(const char *s, size_t n);    /* length of the longest valid beginning */
bool hn_utf8_incomplete(const char *s, size_t n); /* s[0..n) begins a character and needs more bytes */

bool hn_uni_space(int32_t cp);   /* White_Space */
bool hn_uni_numeric(int32_t cp); /* general category N */
bool hn_uni_punct(int32_t cp);   /* general category P, and all signs of ASCII */
bool hn_uni_mark9(int32_t cp);   /* general category M in Unicode 9 */
bool hn_uni_word(int32_t cp);    /* Alphabetic, marks, decimal digits, connectors, joiners */

/* Characters whose combining class or decomposition (compatible ones too) came after Unicode 9.  The
 * reference library normalizes by the tables of Unicode 9, and what it leaves alone has to stay. */
bool hn_uni_after9(int32_t cp);

/* Marks that Unicode 16 and 17 added and that never begin a cluster of characters. */
bool hn_uni_extends(int32_t cp);

bool hn_uni_consonant(int32_t cp); /* Indic_Conjunct_Break=Consonant, of Devanagari to Malayalam */

/* Characters of general category L, N or M that are newer than Unicode 14, up to 16, as n ranges: patterns
 * must cut the same text in the same way whatever version of Unicode the library knows. */
typedef struct hn_uni_range {
    int32_t lo, hi;
    char sub; /* second letter of the category, as the d of Nd */
} hn_uni_range;
const hn_uni_range *hn_uni_newer(char category, int *n);
#endif
