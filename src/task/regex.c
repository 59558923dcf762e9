/* regex.c - PCRE2 with limits: a pattern that backtracks without end is an error, not a hang. */
#include "task/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

enum { MATCH_LIMIT = 1000000, HEAP_LIMIT_KIB = 65536, MAX_MATCHES = 100000 };

struct hn_regex {
    pcre2_general_context *memory;
    pcre2_code *code;
    pcre2_match_context *limits;
};

static void *get(size_t n, void *unused) {
    (void)unused;
    return hn_alloc(n);
}

static void put(void *p, void *unused) {
    (void)unused;
    hn_free(p);
}

void hn_regex_free(hn_regex *r) {
    if (!r) return;
    pcre2_code_free(r->code);
    pcre2_match_context_free(r->limits);
    pcre2_general_context_free(r->memory);
    hn_free(r);
}

int hn_regex_new(hn_regex **out, const char *pattern, hn_err *e) {
    int code = PCRE2_ERROR_NOMEMORY;
    PCRE2_SIZE at = 0;
    pcre2_compile_context *compile = NULL;
    hn_regex *r = hn_alloc(sizeof *r);
    *out = NULL;
    if (r && (r->memory = pcre2_general_context_create(get, put, NULL)) &&
        (r->limits = pcre2_match_context_create(r->memory)) &&
        (compile = pcre2_compile_context_create(r->memory))) {
        pcre2_set_match_limit(r->limits, MATCH_LIMIT);
        pcre2_set_depth_limit(r->limits, MATCH_LIMIT);
        pcre2_set_heap_limit(r->limits, HEAP_LIMIT_KIB);
        uint32_t how = PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C;
        r->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, how, &code, &at, compile);
    }
    pcre2_compile_context_free(compile);
    if (r && r->code) {
        *out = r;
        return HN_OK;
    }
    hn_regex_free(r);
    if (code == PCRE2_ERROR_NOMEMORY || code == PCRE2_ERROR_HEAP_FAILED) {
        return hn_fail(e, HN_ENOMEM, "out of memory for a pattern");
    }
    PCRE2_UCHAR text[200] = { 0 };
    pcre2_get_error_message(code, text, sizeof text);
    return hn_fail(e, HN_EPARSE, "pattern '%.100s', character %zu: %s", pattern, (size_t)at + 1,
                   (char *)text);
}

int hn_regex_last(const hn_regex *r, hn_view text, hn_view *found, hn_err *e) {
    pcre2_match_data *m = pcre2_match_data_create_from_pattern(r->code, r->memory);
    if (!m) return hn_fail(e, HN_ENOMEM, "out of memory for a match");
    const char *s = text.s ? text.s : "";
    int any = 0, rc;
    PCRE2_SIZE at = 0;
    for (int i = 0; i < MAX_MATCHES && at <= text.n; i++) {
        rc = pcre2_match(r->code, (PCRE2_SPTR)s, text.n, at, 0, m, r->limits);
        if (rc < 0) {
            bool memory = rc == PCRE2_ERROR_NOMEMORY;
            if (rc != PCRE2_ERROR_NOMATCH) {
                any = memory
                          ? hn_fail(e, HN_ENOMEM, "out of memory for a match")
                          : hn_fail(e, HN_ERANGE, "the pattern gives up on this text (PCRE2 error %d)", rc);
            }
            break;
        }
        PCRE2_SIZE *o = pcre2_get_ovector_pointer(m);
        int g = rc > 1 && o[2] != PCRE2_UNSET ? 1 : 0;
        if (o[2 * g + 1] >= o[2 * g]) *found = (hn_view){ s + o[2 * g], o[2 * g + 1] - o[2 * g] };
        any = 1;
        at = o[1] > at ? o[1] : at + 1;
        while (at < text.n && ((unsigned char)s[at] & 0xc0) == 0x80) at++; /* the start of a character */
    }
    pcre2_match_data_free(m);
    return any;
}
