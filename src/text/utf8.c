/* utf8.c - UTF-8 and character classes; categories come from utf8proc, additions from the Unicode
 * Character Database 15 to 17. */
#include "text/utf8.h"

#include <string.h>
#include <utf8proc.h>

int hn_utf8_get(const char *s, size_t n, int32_t *cp) {
    const unsigned char *p = (const unsigned char *)s;
    unsigned c = p[0];
    if (c < 0x80) return *cp = (int32_t)c, 1;
    int len = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    if (c < 0xC2 || c > 0xF4) return -1;
    /* the second byte has a narrower range after four leads: no long forms, surrogates or numbers over 10FFFF
     */
    unsigned lo = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80, hi = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    int32_t v = (int32_t)(c & (0x7Fu >> len));
    for (int i = 1; i < len; i++, lo = 0x80, hi = 0xBF) {
        if ((size_t)i >= n || p[i] < lo || p[i] > hi) return -i;
        v = v << 6 | (p[i] & 0x3F);
    }
    *cp = v;
    return len;
}

int hn_utf8_put(char *out, int32_t cp) {
    return (int)utf8proc_encode_char((utf8proc_int32_t)cp, (utf8proc_uint8_t *)out);
}

size_t hn_utf8_back(const char *s, size_t at) {
    size_t i = at - 1;
    while (i > 0 && at - i < 4 && ((unsigned char)s[i] & 0xC0) == 0x80) i--;
    int32_t cp;
    return hn_utf8_get(s + i, at - i, &cp) == (int)(at - i) ? i : at - 1;
}

size_t hn_utf8_valid(const char *s, size_t n) {
    size_t i = 0;
    int32_t cp;
    while (i < n) {
        uint64_t w;
        if (n - i >= 8 && (memcpy(&w, s + i, 8), !(w & 0x8080808080808080u))) {
            i += 8;
            continue;
        }
        int len = hn_utf8_get(s + i, n - i, &cp);
        if (len < 0) break;
        i += (size_t)len;
    }
    return i;
}

bool hn_utf8_incomplete(const char *s, size_t n) {
    int32_t cp;
    int len = n ? hn_utf8_get(s, n, &cp) : 0;
    if (len >= 0 || (size_t)-len != n) return false;
    unsigned c = (unsigned char)s[0];
    return c >= 0xC2 && c <= 0xF4 && n < (c >= 0xF0 ? 4u : c >= 0xE0 ? 3u : 2u);
}

/* ---- classes ---- */
static bool in_ranges(int32_t cp, const int32_t (*r)[2], int n) {
    for (int i = 0; i < n; i++)
        if (cp >= r[i][0] && cp <= r[i][1]) return true;
    return false;
}
#define IN(cp, r) in_ranges(cp, r, (int)(sizeof(r) / sizeof *(r)))

/* ---- newer than Unicode 14 ---- */
static const hn_uni_range letters[] = {
    { 0x1C89, 0x1C89, 'u' },   { 0x1C8A, 0x1C8A, 'l' },   { 0xA7CB, 0xA7CC, 'u' },
    { 0xA7CD, 0xA7CD, 'l' },   { 0xA7DA, 0xA7DA, 'u' },   { 0xA7DB, 0xA7DB, 'l' },
    { 0xA7DC, 0xA7DC, 'u' },   { 0x105C0, 0x105F3, 'o' }, { 0x10D4A, 0x10D4D, 'o' },
    { 0x10D4E, 0x10D4E, 'm' }, { 0x10D4F, 0x10D4F, 'o' }, { 0x10D50, 0x10D65, 'u' },
    { 0x10D6F, 0x10D6F, 'm' }, { 0x10D70, 0x10D85, 'l' }, { 0x10EC2, 0x10EC4, 'o' },
    { 0x1123F, 0x11240, 'o' }, { 0x11380, 0x11389, 'o' }, { 0x1138B, 0x1138B, 'o' },
    { 0x1138E, 0x1138E, 'o' }, { 0x11390, 0x113B5, 'o' }, { 0x113B7, 0x113B7, 'o' },
    { 0x113D1, 0x113D1, 'o' }, { 0x113D3, 0x113D3, 'o' }, { 0x11BC0, 0x11BE0, 'o' },
    { 0x11F02, 0x11F02, 'o' }, { 0x11F04, 0x11F10, 'o' }, { 0x11F12, 0x11F33, 'o' },
    { 0x1342F, 0x1342F, 'o' }, { 0x13441, 0x13446, 'o' }, { 0x13460, 0x143FA, 'o' },
    { 0x16100, 0x1611D, 'o' }, { 0x16D40, 0x16D42, 'm' }, { 0x16D43, 0x16D6A, 'o' },
    { 0x16D6B, 0x16D6C, 'm' }, { 0x18CFF, 0x18CFF, 'o' }, { 0x1B132, 0x1B132, 'o' },
    { 0x1B155, 0x1B155, 'o' }, { 0x1DF25, 0x1DF2A, 'l' }, { 0x1E030, 0x1E06D, 'm' },
    { 0x1E4D0, 0x1E4EA, 'o' }, { 0x1E4EB, 0x1E4EB, 'm' }, { 0x1E5D0, 0x1E5ED, 'o' },
    { 0x1E5F0, 0x1E5F0, 'o' }, { 0x2B739, 0x2B739, 'o' }, { 0x2EBF0, 0x2EE5D, 'o' },
    { 0x31350, 0x323AF, 'o' }
};
static const hn_uni_range numbers[] = { { 0x10D40, 0x10D49, 'd' }, { 0x116D0, 0x116E3, 'd' },
                                        { 0x11BF0, 0x11BF9, 'd' }, { 0x11F50, 0x11F59, 'd' },
                                        { 0x16130, 0x16139, 'd' }, { 0x16D70, 0x16D79, 'd' },
                                        { 0x1CCF0, 0x1CCF9, 'd' }, { 0x1D2C0, 0x1D2D3, 'o' },
                                        { 0x1E4F0, 0x1E4F9, 'd' }, { 0x1E5F1, 0x1E5FA, 'd' } };
static const hn_uni_range marks[] = {
    { 0x897, 0x897, 'n' },     { 0xCF3, 0xCF3, 'c' },     { 0xECE, 0xECE, 'n' },
    { 0x10D69, 0x10D6D, 'n' }, { 0x10EFC, 0x10EFF, 'n' }, { 0x11241, 0x11241, 'n' },
    { 0x113B8, 0x113BA, 'c' }, { 0x113BB, 0x113C0, 'n' }, { 0x113C2, 0x113C2, 'c' },
    { 0x113C5, 0x113C5, 'c' }, { 0x113C7, 0x113CA, 'c' }, { 0x113CC, 0x113CD, 'c' },
    { 0x113CE, 0x113CE, 'n' }, { 0x113CF, 0x113CF, 'c' }, { 0x113D0, 0x113D0, 'n' },
    { 0x113D2, 0x113D2, 'n' }, { 0x113E1, 0x113E2, 'n' }, { 0x11F00, 0x11F01, 'n' },
    { 0x11F03, 0x11F03, 'c' }, { 0x11F34, 0x11F35, 'c' }, { 0x11F36, 0x11F3A, 'n' },
    { 0x11F3E, 0x11F3F, 'c' }, { 0x11F40, 0x11F40, 'n' }, { 0x11F41, 0x11F41, 'c' },
    { 0x11F42, 0x11F42, 'n' }, { 0x11F5A, 0x11F5A, 'n' }, { 0x13440, 0x13440, 'n' },
    { 0x13447, 0x13455, 'n' }, { 0x1611E, 0x16129, 'n' }, { 0x1612A, 0x1612C, 'c' },
    { 0x1612D, 0x1612F, 'n' }, { 0x1E08F, 0x1E08F, 'n' }, { 0x1E4EC, 0x1E4EF, 'n' },
    { 0x1E5EE, 0x1E5EF, 'n' }
};
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

const hn_uni_range *hn_uni_newer(char category, int *n) {
    *n = category == 'L'   ? COUNT(letters)
         : category == 'N' ? COUNT(numbers)
         : category == 'M' ? COUNT(marks)
                           : 0;
    return category == 'L' ? letters : category == 'N' ? numbers : marks;
}

static bool newer(int32_t cp, char category, char sub) {
    int n;
    const hn_uni_range *r = hn_uni_newer(category, &n);
    for (int i = 0; i < n; i++)
        if (cp >= r[i].lo && cp <= r[i].hi && (!sub || r[i].sub == sub)) return true;
    return false;
}

bool hn_uni_space(int32_t cp) {
    if (cp < 0x80) return cp == ' ' || (cp >= '\t' && cp <= '\r');
    return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 ||
           cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

bool hn_uni_numeric(int32_t cp) {
    if (cp < 0x80) return cp >= '0' && cp <= '9';
    static const int32_t newest[][2] = { { 0x11DE0, 0x11DE9 }, { 0x16FF4, 0x16FF6 } }; /* Unicode 17 */
    utf8proc_category_t c = utf8proc_category(cp);
    return (c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO) ||
           (cp > 0x10000 && (newer(cp, 'N', 0) || IN(cp, newest)));
}

/* The reference library knows punctuation of Unicode 8 and marks of Unicode 9; what differs there from the
 * later categories is in these lists. */
bool hn_uni_punct(int32_t cp) {
    static const int32_t other[][2] = {
        { 0x61D, 0x61D },     { 0x9FD, 0x9FD },     { 0xA76, 0xA76 },     { 0xC77, 0xC77 },
        { 0xC84, 0xC84 },     { 0x166D, 0x166D },   { 0x1B7D, 0x1B7E },   { 0x2E43, 0x2E4F },
        { 0x2E52, 0x2E5D },   { 0x10EAD, 0x10EAD }, { 0x10F55, 0x10F59 }, { 0x10F86, 0x10F89 },
        { 0x111C9, 0x111C9 }, { 0x1144B, 0x1144F }, { 0x1145A, 0x1145B }, { 0x1145D, 0x1145D },
        { 0x11660, 0x1166C }, { 0x116B9, 0x116B9 }, { 0x1183B, 0x1183B }, { 0x11944, 0x11946 },
        { 0x119E2, 0x119E2 }, { 0x11A3F, 0x11A46 }, { 0x11A9A, 0x11A9C }, { 0x11A9E, 0x11AA2 },
        { 0x11C41, 0x11C45 }, { 0x11C70, 0x11C71 }, { 0x11EF7, 0x11EF8 }, { 0x11FFF, 0x11FFF },
        { 0x12FF1, 0x12FF2 }, { 0x16E97, 0x16E9A }, { 0x16FE2, 0x16FE2 }, { 0x1E95E, 0x1E95F }
    };
    if (cp < 0x80) return cp > ' ' && cp < 0x7F && (cp == '_' || !hn_uni_word(cp));
    utf8proc_category_t c = utf8proc_category(cp);
    return (c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO) != (cp > 0x600 && IN(cp, other));
}

bool hn_uni_mark9(int32_t cp) {
    static const int32_t later[][2] = {
        { 0x7FD, 0x7FD },     { 0x898, 0x89F },     { 0x8CA, 0x8D3 },     { 0x9FE, 0x9FE },
        { 0xAFA, 0xAFF },     { 0xB55, 0xB55 },     { 0xC04, 0xC04 },     { 0xC3C, 0xC3C },
        { 0xD00, 0xD00 },     { 0xD3B, 0xD3C },     { 0xD81, 0xD81 },     { 0xEBA, 0xEBA },
        { 0x1715, 0x1715 },   { 0x180F, 0x180F },   { 0x1ABF, 0x1ACE },   { 0x1CF7, 0x1CF7 },
        { 0x1DF6, 0x1DFA },   { 0xA82C, 0xA82C },   { 0xA8FF, 0xA8FF },   { 0x10D24, 0x10D27 },
        { 0x10EAB, 0x10EAC }, { 0x10F46, 0x10F50 }, { 0x10F82, 0x10F85 }, { 0x11070, 0x11070 },
        { 0x11073, 0x11074 }, { 0x110C2, 0x110C2 }, { 0x11145, 0x11146 }, { 0x111C9, 0x111C9 },
        { 0x111CE, 0x111CF }, { 0x1133B, 0x1133B }, { 0x1145E, 0x1145E }, { 0x1182C, 0x1183A },
        { 0x11930, 0x11935 }, { 0x11937, 0x11938 }, { 0x1193B, 0x1193E }, { 0x11940, 0x11940 },
        { 0x11942, 0x11943 }, { 0x119D1, 0x119D7 }, { 0x119DA, 0x119E0 }, { 0x119E4, 0x119E4 },
        { 0x11A01, 0x11A0A }, { 0x11A33, 0x11A39 }, { 0x11A3B, 0x11A3E }, { 0x11A47, 0x11A47 },
        { 0x11A51, 0x11A5B }, { 0x11A8A, 0x11A99 }, { 0x11D31, 0x11D36 }, { 0x11D3A, 0x11D3A },
        { 0x11D3C, 0x11D3D }, { 0x11D3F, 0x11D45 }, { 0x11D47, 0x11D47 }, { 0x11D8A, 0x11D8E },
        { 0x11D90, 0x11D91 }, { 0x11D93, 0x11D97 }, { 0x11EF3, 0x11EF6 }, { 0x16F4F, 0x16F4F },
        { 0x16F7F, 0x16F87 }, { 0x16FE4, 0x16FE4 }, { 0x16FF0, 0x16FF1 }, { 0x1CF00, 0x1CF2D },
        { 0x1CF30, 0x1CF46 }, { 0x1E130, 0x1E136 }, { 0x1E2AE, 0x1E2AE }, { 0x1E2EC, 0x1E2EF }
    };
    utf8proc_category_t c = utf8proc_category(cp);
    if (cp == 0x1CF2 || cp == 0x1CF3) return true; /* letters since Unicode 12 */
    return c >= UTF8PROC_CATEGORY_MN && c <= UTF8PROC_CATEGORY_ME && !IN(cp, later) && !newer(cp, 'M', 0);
}

bool hn_uni_word(int32_t cp) {
    if (cp < 0x80)
        return (cp >= '0' && cp <= '9') || (cp >= 'A' && cp <= 'Z') || (cp >= 'a' && cp <= 'z') || cp == '_';
    /* the letters of Alphabetic that no category tells: circled and squared ones; then the joiners */
    static const int32_t more[][2] = { { 0x24B6, 0x24E9 },
                                       { 0x1F130, 0x1F149 },
                                       { 0x1F150, 0x1F169 },
                                       { 0x1F170, 0x1F189 },
                                       { 0x200C, 0x200D } };
    utf8proc_category_t c = utf8proc_category(cp);
    return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NL) || c == UTF8PROC_CATEGORY_PC ||
           IN(cp, more) || newer(cp, 'L', 0) || newer(cp, 'M', 0) || newer(cp, 'N', 'd');
}

bool hn_uni_after9(int32_t cp) {
    static const int32_t after[][2] = {
        { 0x7FD, 0x7FD },     { 0x897, 0x89F },     { 0x8CA, 0x8D3 },     { 0x9FE, 0x9FE },
        { 0xC3C, 0xC3C },     { 0xD3B, 0xD3C },     { 0xEBA, 0xEBA },     { 0x1715, 0x1715 },
        { 0x1ABF, 0x1ADD },   { 0x1AE0, 0x1AEB },   { 0x32FF, 0x32FF },   { 0xA7F1, 0xA7F4 },
        { 0xAB69, 0xAB69 },   { 0x10781, 0x107BA }, { 0x1CCD6, 0x1CCF9 }, { 0x1E030, 0x1E06D },
        { 0x1F16C, 0x1F16C }, { 0x1FBF0, 0x1FBF9 }, { 0x1DF6, 0x1DFA },   { 0xA82C, 0xA82C },
        { 0x105C9, 0x105C9 }, { 0x105E4, 0x105E4 }, { 0x10D24, 0x10D27 }, { 0x10D69, 0x10D6D },
        { 0x10EAB, 0x10EAC }, { 0x10EFA, 0x10EFF }, { 0x10F46, 0x10F50 }, { 0x10F82, 0x10F85 },
        { 0x11070, 0x11070 }, { 0x1133B, 0x1133B }, { 0x11383, 0x11383 }, { 0x11385, 0x11385 },
        { 0x1138E, 0x1138E }, { 0x11391, 0x11391 }, { 0x113C5, 0x113C5 }, { 0x113C7, 0x113C8 },
        { 0x113CE, 0x113D0 }, { 0x113E1, 0x113E2 }, { 0x1145E, 0x1145E }, { 0x11839, 0x1183A },
        { 0x11938, 0x11938 }, { 0x1193D, 0x1193E }, { 0x11943, 0x11943 }, { 0x119E0, 0x119E0 },
        { 0x11A34, 0x11A34 }, { 0x11A47, 0x11A47 }, { 0x11A99, 0x11A99 }, { 0x11D42, 0x11D42 },
        { 0x11D44, 0x11D45 }, { 0x11D97, 0x11D97 }, { 0x11F41, 0x11F42 }, { 0x16121, 0x16128 },
        { 0x1612F, 0x1612F }, { 0x16D68, 0x16D6A }, { 0x16FF0, 0x16FF1 }, { 0x1E08F, 0x1E08F },
        { 0x1E130, 0x1E136 }, { 0x1E2AE, 0x1E2AE }, { 0x1E2EC, 0x1E2EF }, { 0x1E4EC, 0x1E4EF },
        { 0x1E5EE, 0x1E5EF }, { 0x1E6E3, 0x1E6E3 }, { 0x1E6E6, 0x1E6E6 }, { 0x1E6EE, 0x1E6EF },
        { 0x1E6F5, 0x1E6F5 }
    };
    return cp > 0x7F0 && IN(cp, after);
}

bool hn_uni_extends(int32_t cp) {
    static const int32_t later[][2] = { { 0x897, 0x897 },     { 0x1ACF, 0x1ADD },   { 0x1AE0, 0x1AEB },
                                        { 0x10D69, 0x10D6D }, { 0x10EFA, 0x10EFC }, { 0x113B8, 0x113C0 },
                                        { 0x113C2, 0x113C2 }, { 0x113C5, 0x113C5 }, { 0x113C7, 0x113CA },
                                        { 0x113CC, 0x113D0 }, { 0x113D2, 0x113D2 }, { 0x113E1, 0x113E2 },
                                        { 0x11B60, 0x11B67 }, { 0x11F5A, 0x11F5A }, { 0x1611E, 0x1612F },
                                        { 0x1E5EE, 0x1E5EF }, { 0x1E6E3, 0x1E6E3 }, { 0x1E6E6, 0x1E6E6 },
                                        { 0x1E6EE, 0x1E6EF }, { 0x1E6F5, 0x1E6F5 } };
    return cp >= 0x897 && IN(cp, later);
}

bool hn_uni_consonant(int32_t cp) {
    static const int32_t ones[][2] = { { 0x915, 0x939 }, { 0x958, 0x95F }, { 0x978, 0x97F }, { 0x995, 0x9A8 },
                                       { 0x9AA, 0x9B0 }, { 0x9B2, 0x9B2 }, { 0x9B6, 0x9B9 }, { 0x9DC, 0x9DD },
                                       { 0x9DF, 0x9DF }, { 0x9F0, 0x9F1 }, { 0xA95, 0xAA8 }, { 0xAAA, 0xAB0 },
                                       { 0xAB2, 0xAB3 }, { 0xAB5, 0xAB9 }, { 0xAF9, 0xAF9 }, { 0xB15, 0xB28 },
                                       { 0xB2A, 0xB30 }, { 0xB32, 0xB33 }, { 0xB35, 0xB39 }, { 0xB5C, 0xB5D },
                                       { 0xB5F, 0xB5F }, { 0xB71, 0xB71 }, { 0xC15, 0xC28 }, { 0xC2A, 0xC39 },
                                       { 0xC58, 0xC5A }, { 0xD15, 0xD3A } };
    return cp >= 0x915 && cp <= 0xD3A && IN(cp, ones);
}
