/* tmpl_case.c - letters: changing their case, and the methods that ask what a string is made of. */
#include "text/tmpl.h"

#include <string.h>
#include <utf8proc.h>

/* ---- case ---- */

/* Letters that Python maps to more than one letter, or by context, which utf8proc does not. */
static bool special_case(int32_t c, bool up) {
    if (!up) return c == 0x130 || c == 0x3a3;
    return c == 0x149 || c == 0x1f0 || c == 0x390 || c == 0x3b0 || c == 0x587 ||
           (c >= 0x1e96 && c <= 0x1e9a) || (c >= 0x1f50 && c <= 0x1ffc) || (c >= 0xfb00 && c <= 0xfb17) ||
           c == 0x345;
}

static bool is_upper(int32_t c) { return utf8proc_category(c) == UTF8PROC_CATEGORY_LU; }
static bool is_title(int32_t c) { return utf8proc_category(c) == UTF8PROC_CATEGORY_LT; }
static bool is_cased(int32_t c) {
    return is_upper(c) || is_title(c) || utf8proc_category(c) == UTF8PROC_CATEGORY_LL;
}

static int32_t map_char(int32_t cp, tm_case mode) {
    if (mode == TM_SWAP) mode = is_upper(cp) ? TM_LOWER : TM_UPPER;
    if (mode == TM_LOWER) return utf8proc_tolower(cp);
    return mode == TM_UPPER ? utf8proc_toupper(cp) : utf8proc_totitle(cp);
}

/* Full case folding of one character: up to three. */
static utf8proc_ssize_t fold(int32_t cp, char *buf) {
    utf8proc_int32_t to[4];
    utf8proc_ssize_t k = utf8proc_decompose_char(cp, to, 4, UTF8PROC_CASEFOLD, NULL), n = 0;
    for (utf8proc_ssize_t i = 0; i < k; i++) n += utf8proc_encode_char(to[i], (utf8proc_uint8_t *)buf + n);
    return n;
}

bool tm_map_case(tm_run *r, tm_str *s, tm_case mode, tm_val *out) {
    const char *p = tm_flat(r, s);
    tm_sb b = { .r = r };
    bool start = true;
    if (!p || !tm_charge(r, s->n / 4)) return false;
    for (size_t at = 0; at < s->n;) {
        int32_t cp;
        int len = tm_utf8(p + at, p + s->n, &cp);
        tm_case how = mode == TM_TITLE_WORDS || mode == TM_CAPITALIZE ? (start ? TM_TITLE : TM_LOWER) : mode;
        char buf[16];
        bool up = how == TM_SWAP ? !is_upper(cp) : how != TM_LOWER;
        if (how != TM_FOLD && special_case(cp, up))
            return tm_fail(r, HN_EUNSUP, "changing the case of U+%04X is not supported", (unsigned)cp);
        utf8proc_ssize_t n =
            how == TM_FOLD ? fold(cp, buf) : utf8proc_encode_char(map_char(cp, how), (utf8proc_uint8_t *)buf);
        if (cp == 0xdf && up && how != TM_FOLD) { /* sharp s */
            memcpy(buf, how == TM_TITLE ? "Ss" : "SS", 2);
            n = 2;
        }
        if (!tm_sb_add(&b, buf, (size_t)n, tm_org_at(s, at))) return false;
        start = mode == TM_TITLE_WORDS ? !is_cased(cp) : false;
        at += (size_t)len;
    }
    if (!tm_sb_take(&b, out)) return false;
    out->u.s->safe = s->safe;
    return true;
}

bool tm_method_case(tm_run *r, const tm_call *c, tm_val *out) {
    return tm_map_case(r, c->self.u.s, (tm_case)c->fn->arg, out);
}

/* ---- classes of characters ---- */
static bool in_class(int32_t cp, int what) {
    utf8proc_category_t cat = utf8proc_category(cp);
    bool alpha = cat >= UTF8PROC_CATEGORY_LU && cat <= UTF8PROC_CATEGORY_LO;
    bool decimal = cat == UTF8PROC_CATEGORY_ND;
    if (what == TM_IS_ALPHA) return alpha;
    if (what == TM_IS_SPACE) return tm_is_space(cp);
    if (what == TM_IS_ASCII) return cp < 0x80;
    if (what == TM_IS_PRINTABLE) return tm_is_printable(cp);
    return decimal || (what == TM_IS_ALNUM && alpha);
}

bool tm_method_class(tm_run *r, const tm_call *c, tm_val *out) {
    tm_str *s = c->self.u.s;
    const char *p = tm_flat(r, s);
    bool all = s->n > 0 || c->fn->arg >= TM_IS_ASCII; /* of no characters */
    if (!p || !tm_charge(r, s->n / 8)) return false;
    for (size_t at = 0; at < s->n && all;) {
        int32_t cp;
        at += (size_t)tm_utf8(p + at, p + s->n, &cp);
        utf8proc_category_t cat = utf8proc_category(cp);
        int what = c->fn->arg;
        if (cp > 0x7f && (what == TM_IS_DIGIT || what == TM_IS_NUMERIC || what == TM_IS_ALNUM) &&
            (cat == UTF8PROC_CATEGORY_NO || cat == UTF8PROC_CATEGORY_NL ||
             (cat == UTF8PROC_CATEGORY_LO && what == TM_IS_NUMERIC)))
            return tm_fail(r, HN_EUNSUP, "%s() of U+%04X is not supported", c->fn->name, (unsigned)cp);
        all = in_class(cp, what);
    }
    *out = tm_bool(all);
    return true;
}

bool tm_method_is_case(tm_run *r, const tm_call *c, tm_val *out) { /* fn->arg: 1 upper */
    tm_str *s = c->self.u.s;
    const char *p = tm_flat(r, s);
    bool ok = true, cased = false;
    if (!p || !tm_charge(r, s->n / 8)) return false;
    for (size_t at = 0; at < s->n && ok;) {
        int32_t cp;
        at += (size_t)tm_utf8(p + at, p + s->n, &cp);
        if (!is_cased(cp)) continue;
        ok = is_upper(cp) == (c->fn->arg == 1) && !is_title(cp);
        cased = true;
    }
    *out = tm_bool(ok && cased);
    return true;
}

/* Words begin with an upper case letter and go on in lower case. */
bool tm_method_is_title(tm_run *r, const tm_call *c, tm_val *out) {
    tm_str *s = c->self.u.s;
    const char *p = tm_flat(r, s);
    bool ok = true, inside = false, any = false;
    if (!p || !tm_charge(r, s->n / 8)) return false;
    for (size_t at = 0; at < s->n && ok;) {
        int32_t cp;
        at += (size_t)tm_utf8(p + at, p + s->n, &cp);
        bool begins = is_upper(cp) || is_title(cp);
        if (is_cased(cp)) ok = begins != inside;
        inside = is_cased(cp);
        any |= inside;
    }
    *out = tm_bool(ok && any);
    return true;
}

bool tm_method_is_identifier(tm_run *r, const tm_call *c, tm_val *out) {
    tm_str *s = c->self.u.s;
    const char *p = tm_flat(r, s);
    bool ok = s->n > 0;
    if (!p || !tm_charge(r, s->n / 8)) return false;
    for (size_t i = 0; i < s->n && ok; i++) {
        if (p[i] & 0x80)
            return tm_fail(r, HN_EUNSUP, "isidentifier() of letters outside ASCII is not supported");
        bool digit = p[i] >= '0' && p[i] <= '9';
        ok = (digit && i) || p[i] == '_' || (!digit && tm_is_word(p[i]));
    }
    *out = tm_bool(ok);
    return true;
}
