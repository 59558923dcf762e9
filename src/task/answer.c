/* answer.c - finding the answer in a completion: numbers, markers, boxes, choice letters. */
#include "task/answer.h"

#include <string.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

hn_view hn_view_trim(hn_view v) {
    while (v.n && is_space(v.s[0])) v.s++, v.n--;
    while (v.n && is_space(v.s[v.n - 1])) v.n--;
    return v;
}

/* Length of `what` when v has it at byte `at`, else 0. */
static size_t has(hn_view v, size_t at, const char *what) {
    size_t n = strlen(what);
    return at <= v.n && v.n - at >= n && !memcmp(v.s + at, what, n) ? n : 0;
}

static bool digit_at(hn_view v, size_t at) { return at < v.n && is_digit(v.s[at]); }

/* ---- numbers ---- */
/* A sign at `at`, with or without a currency sign on either side.  Returns the bytes it takes. */
static size_t scan_sign(hn_view v, bool *negative) {
    static const char *const minus[] = { "-", "\xe2\x88\x92", "\xe2\x80\x93",
                                         NULL }; /* hyphen, U+2212, en dash */
    static const char *const money[] = { "\\$", "$", "\xe2\x82\xac", "\xc2\xa3", NULL };
    size_t at = 0, k;
    bool sign = false, coin = false;
    *negative = false;
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; !sign && minus[i]; i++) {
            if ((k = has(v, at, minus[i]))) at += k, *negative = sign = more = true;
        }
        if (!sign && (k = has(v, at, "+"))) at += k, sign = more = true;
        for (int i = 0; !coin && money[i]; i++) {
            if ((k = has(v, at, money[i]))) at += k, coin = more = true;
        }
    }
    return at;
}

/* value = value * 10 + digit, within 18 digits so that the rest of the arithmetic fits. */
static bool push_digit(int64_t *value, char c) {
    if (*value >= 100000000000000000) return false;
    *value = *value * 10 + (c - '0');
    return true;
}

/* Digits, where a comma may part groups of three.  false: too long. */
static bool scan_whole(hn_view v, size_t *at, int64_t *value) {
    size_t start = *at;
    *value = 0;
    for (;;) {
        while (digit_at(v, *at)) {
            if (!push_digit(value, v.s[(*at)++])) return false;
        }
        size_t c = *at;
        bool group = c > start && c - start <= 15 && c < v.n && v.s[c] == ',' && digit_at(v, c + 1) &&
                     digit_at(v, c + 2) && digit_at(v, c + 3) && !digit_at(v, c + 4);
        if (!group) return true;
        ++*at;
    }
}

static bool scale(hn_ratio *r, int64_t exponent) {
    for (; exponent > 0; exponent--) {
        if (!r->num) return true;
        if (!hn_ratio_op('*', *r, (hn_ratio){ 10, 1 }, r)) return false;
    }
    for (; exponent < 0; exponent++) {
        if (!r->num) return true;
        if (!hn_ratio_op('/', *r, (hn_ratio){ 10, 1 }, r)) return false;
    }
    return true;
}

/* Unsigned decimal: digits [. digits] [e digits].  Returns the bytes; 0: none, or too long. */
static size_t scan_decimal(hn_view v, size_t at, hn_ratio *out, bool *whole) {
    size_t start = at;
    int64_t value = 0, point = 0;
    *whole = true;
    if (!digit_at(v, at) && !(at < v.n && v.s[at] == '.' && digit_at(v, at + 1))) return 0;
    if (!scan_whole(v, &at, &value)) return 0;
    hn_ratio r = { value, 1 };
    if (at < v.n && v.s[at] == '.' && digit_at(v, at + 1)) {
        *whole = false;
        int64_t trailing = 0; /* zeros are kept back, so that 2.50000000000000000000 still fits */
        for (at++; digit_at(v, at); at++) {
            if (v.s[at] == '0') {
                trailing++;
                continue;
            }
            for (; trailing; trailing--, point++) {
                if (!push_digit(&value, '0')) return 0;
            }
            if (!push_digit(&value, v.s[at])) return 0;
            point++;
        }
        r.num = value;
    }
    size_t x = at;
    if (x < v.n && (v.s[x] == 'e' || v.s[x] == 'E')) {
        bool down = false;
        x++;
        if (x < v.n && (v.s[x] == '+' || v.s[x] == '-')) down = v.s[x++] == '-';
        int64_t power = 0;
        size_t first = x;
        for (; digit_at(v, x); x++) power = power < 1000 ? power * 10 + (v.s[x] - '0') : power;
        if (x > first && !(x < v.n && is_alpha(v.s[x]))) {
            *whole = false;
            at = x;
            point += down ? power : -power;
        }
    }
    if (!scale(&r, -point)) return 0;
    *out = r;
    return at - start;
}

/* " / digits" after a whole number; 0 when there is none or the divisor is 0. */
static size_t scan_over(hn_view v, size_t at, int64_t *den) {
    size_t start = at;
    if (at < v.n && v.s[at] == ' ') at++;
    if (at >= v.n || v.s[at] != '/') return 0;
    at++;
    if (at < v.n && v.s[at] == ' ') at++;
    size_t first = at;
    if (!digit_at(v, at) || !scan_whole(v, &at, den) || !*den) return 0;
    bool goes_on =
        at < v.n && (v.s[at] == '/' || (v.s[at] == '.' && digit_at(v, at + 1))); /* a date, a decimal */
    return goes_on || at == first ? 0 : at - start;
}

size_t hn_number_scan(hn_view v, hn_ratio *out) {
    bool negative, whole;
    size_t at = scan_sign(v, &negative);
    hn_ratio r;
    size_t k = scan_decimal(v, at, &r, &whole);
    if (!k) return 0;
    at += k;
    if (whole) {
        int64_t den, top;
        size_t over = scan_over(v, at, &den);
        if (over) {
            if (!hn_ratio_make(r.num, den, &r)) return 0;
            at += over;
        } else if (at < v.n && v.s[at] == ' ' && digit_at(v, at + 1)) { /* perhaps "1 1/2" */
            size_t t = at + 1;
            hn_ratio part;
            if (scan_whole(v, &t, &top) && (over = scan_over(v, t, &den)) && top < den &&
                hn_ratio_make(top, den, &part) && hn_ratio_op('+', r, part, &r)) {
                at = t + over;
            }
        }
    }
    if (negative) r.num = -r.num;
    *out = r;
    return at;
}

bool hn_number_parse(hn_view v, bool units, hn_ratio *out) {
    v = hn_view_trim(v);
    hn_ratio r;
    size_t at = hn_number_scan(v, &r);
    if (!at) return false;
    hn_view rest = hn_view_trim((hn_view){ v.s + at, v.n - at });
    if (rest.n && rest.s[rest.n - 1] == '.') rest = hn_view_trim((hn_view){ rest.s, rest.n - 1 });
    size_t i = has(rest, 0, "\\%");
    if (!i) i = has(rest, 0, "%");
    for (; i < rest.n; i++) {
        if (!units || !(is_alpha(rest.s[i]) || is_space(rest.s[i]))) return false;
    }
    *out = r;
    return true;
}

bool hn_answer_last_number(hn_view text, hn_view *found, hn_ratio *out) {
    bool any = false;
    for (size_t i = 0; i < text.n;) {
        hn_ratio r;
        char before = i ? text.s[i - 1] : ' ';
        bool inside = is_digit(before) || is_alpha(before) || before == '_';
        bool joined = inside || before == ')' || before == ']'; /* a sign here is an operator */
        hn_view rest = { text.s + i, text.n - i };
        bool plain = digit_at(text, i) || text.s[i] == '.', whole;
        size_t k = (plain ? inside : joined) ? 0
                   : before == '/' ? scan_decimal(text, i, &r, &whole) /* 6 in 5/6/2020 is no 6/2020 */
                                   : hn_number_scan(rest, &r);
        if (k) {
            *found = (hn_view){ rest.s, k };
            *out = r;
            any = true;
            i += k;
        } else {
            do i++;
            while (inside && plain && digit_at(text, i));
        }
    }
    return any;
}

/* ---- markers ---- */
bool hn_answer_after(hn_view text, const char *marker, hn_view *found) {
    const char *p = text.n ? memmem(text.s, text.n, marker, strlen(marker)) : NULL;
    if (!p) return false;
    p += strlen(marker);
    size_t left = (size_t)(text.s + text.n - p);
    const char *end = left ? memchr(p, '\n', left) : NULL;
    *found = hn_view_trim((hn_view){ p, end ? (size_t)(end - p) : left });
    return true;
}

/* The byte after the } that closes the { at `open`; 0: it is never closed.  A backslash quotes a brace. */
static size_t close_brace(hn_view v, size_t open) {
    int64_t depth = 0;
    for (size_t i = open; i < v.n; i++) {
        if (v.s[i] == '\\') i++;
        else if (v.s[i] == '{') depth++;
        else if (v.s[i] == '}' && --depth == 0) return i + 1;
    }
    return 0;
}

bool hn_answer_boxed(hn_view text, hn_view *found) {
    bool any = false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.s[i] != '\\') continue;
        size_t k = has(text, i, "\\boxed"), at;
        if (!k) k = has(text, i, "\\fbox");
        if (!k) continue;
        for (at = i + k; at < text.n && text.s[at] == ' '; at++) {}
        if (at < text.n && text.s[at] == '{') {
            size_t end = close_brace(text, at);
            if (!end) continue;
            *found = hn_view_trim((hn_view){ text.s + at + 1, end - at - 2 });
            any = true;
        } else if (at > i + k) { /* "\boxed 5": up to the end of the formula or line */
            size_t end = at;
            while (end < text.n && text.s[end] != '$' && text.s[end] != '\n') end++;
            *found = hn_view_trim((hn_view){ text.s + at, end - at });
            any = true;
        }
    }
    return any;
}

bool hn_answer_number(hn_view text, const char *marker, hn_ratio *out) {
    hn_view found;
    if (hn_answer_after(text, marker, &found) && hn_number_parse(found, true, out)) return true;
    if (hn_answer_boxed(text, &found) && hn_number_parse(found, true, out)) return true;
    return hn_answer_last_number(text, &found, out);
}

/* ---- multiple choice ---- */
/* The letter when v starts with one that stands alone, in parentheses or bold or not; `closed` asks for
 * a mark after it, so that "A dog" is no choice. */
static char letter_at(hn_view v, bool closed) {
    size_t i = 0;
    bool open = false;
    for (size_t k = 1; k;) {
        k = has(v, i, "\\text{");
        if (!k) k = has(v, i, "**");
        if (!k) k = has(v, i, " ") + has(v, i, "$");
        if (!k && (k = has(v, i, "("))) open = true;
        i += k;
    }
    if (i >= v.n || !is_alpha(v.s[i])) return 0;
    char c = v.s[i];
    if (c >= 'a' && !open) return 0; /* "a" is an article; "(a)" is a choice */
    char next = i + 1 < v.n ? v.s[i + 1] : 0;
    if (open && next != ')') return 0;
    if (is_alpha(next) || is_digit(next) || next == '\'' || (unsigned char)next >= 0x80) return 0;
    if (closed && next && !strchr(").:*}]\n", next)) return 0;
    return c >= 'a' ? (char)(c - 'a' + 'A') : c;
}

static bool same_letters(const char *s, const char *lower, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if ((s[i] | 0x20) != (lower[i] | 0x20)) return false;
    }
    return true;
}

char hn_answer_choice(hn_view text) {
    static const char *const says[] = { "answer is", "answer:" };
    hn_view box;
    char found = 0;
    if (hn_answer_boxed(text, &box) && (found = letter_at(box, true))) return found;
    for (int k = 0; k < 2; k++) {
        size_t n = strlen(says[k]);
        for (size_t i = 0; i + n <= text.n; i++) {
            if (!same_letters(text.s + i, says[k], n)) continue;
            size_t at = i + n;
            while (at < text.n && (text.s[at] == ':' || text.s[at] == ' ')) at++;
            char c = letter_at((hn_view){ text.s + at, text.n - at }, false);
            if (c) found = c;
        }
        if (found) return found;
    }
    text = hn_view_trim(text);
    if (text.n && text.s[0] != '(' && (found = letter_at(text, true))) return found;
    for (size_t i = 0; i + 2 < text.n; i++) {
        if (text.s[i] != '(') continue;
        char c = letter_at((hn_view){ text.s + i, text.n - i }, true);
        if (c) found = c;
    }
    return found;
}
