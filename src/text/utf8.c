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

bool hn_uni_space(int32_t cp) {
    if (cp < 0x80) return cp == ' ' || (cp >= '\t' && cp <= '\r');
    return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 ||
           cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

bool hn_uni_numeric(int32_t cp) {
    if (cp < 0x80) return cp >= '0' && cp <= '9';
    static const int32_t newer[][2] = { { 0x10D40, 0x10D49 }, { 0x116D0, 0x116E3 }, { 0x11BF0, 0x11BF9 },
                                        { 0x11DE0, 0x11DE9 }, { 0x16130, 0x16139 }, { 0x16D70, 0x16D79 },
                                        { 0x16FF4, 0x16FF6 }, { 0x1CCF0, 0x1CCF9 }, { 0x1E5F1, 0x1E5FA } };
    utf8proc_category_t c = utf8proc_category(cp);
    return (c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO) || (cp > 0x10000 && IN(cp, newer));
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
           IN(cp, more);
}

const char hn_uni_new_letters[] =
    "\\x{1c89}-\\x{1c8a}\\x{a7cb}-\\x{a7cd}\\x{a7da}-\\x{a7dc}\\x{105c0}-\\x{105f3}"
    "\\x{10d4a}-\\x{10d65}\\x{10d6f}-\\x{10d85}\\x{10ec2}-\\x{10ec4}\\x{1123f}-\\x{11240}"
    "\\x{11380}-\\x{11389}\\x{1138b}\\x{1138e}\\x{11390}-\\x{113b5}\\x{113b7}\\x{113d1}\\x{113d3}"
    "\\x{11bc0}-\\x{11be0}\\x{11f02}\\x{11f04}-\\x{11f10}\\x{11f12}-\\x{11f33}\\x{1342f}"
    "\\x{13441}-\\x{13446}\\x{13460}-\\x{143fa}\\x{16100}-\\x{1611d}\\x{16d40}-\\x{16d6c}\\x{18cff}"
    "\\x{1b132}\\x{1b155}\\x{1df25}-\\x{1df2a}\\x{1e030}-\\x{1e06d}\\x{1e4d0}-\\x{1e4eb}"
    "\\x{1e5d0}-\\x{1e5ed}\\x{1e5f0}\\x{2b739}\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}";
const char hn_uni_new_numbers[] =
    "\\x{10d40}-\\x{10d49}\\x{116d0}-\\x{116e3}\\x{11bf0}-\\x{11bf9}\\x{11f50}-\\x{11f59}"
    "\\x{16130}-\\x{16139}\\x{16d70}-\\x{16d79}\\x{1ccf0}-\\x{1ccf9}\\x{1d2c0}-\\x{1d2d3}"
    "\\x{1e4f0}-\\x{1e4f9}\\x{1e5f1}-\\x{1e5fa}";
const char hn_uni_new_marks[] =
    "\\x{897}\\x{cf3}\\x{ece}\\x{10d69}-\\x{10d6d}\\x{10efc}-\\x{10eff}\\x{11241}"
    "\\x{113b8}-\\x{113c0}\\x{113c2}\\x{113c5}\\x{113c7}-\\x{113ca}\\x{113cc}-\\x{113d0}\\x{113d2}"
    "\\x{113e1}-\\x{113e2}\\x{11f00}-\\x{11f01}\\x{11f03}\\x{11f34}-\\x{11f3a}\\x{11f3e}-\\x{11f42}"
    "\\x{11f5a}\\x{13440}\\x{13447}-\\x{13455}\\x{1611e}-\\x{1612f}\\x{1e08f}\\x{1e4ec}-\\x{1e4ef}"
    "\\x{1e5ee}-\\x{1e5ef}";
