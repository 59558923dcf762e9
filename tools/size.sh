#!/bin/sh
# size.sh - small pieces: a file about 600 lines (700 fails), a function about 60 (90 fails), a line 110.
cd "$(dirname "$0")/.." || exit 1
find src tests bench -name '*.[ch]' -o -name '*.cu' | sort | xargs awk '
function warn(what) { print "warning: " what }
function fail(what) { print what; failed = 1 }
function file_done() {
    if (lines > 700) fail(file ": " lines " lines; split it (700 at most)")
    else if (lines > 600) warn(file ": " lines " lines")
}
FNR == 1 { file_done(); file = FILENAME; start = 0 }
{ lines = FNR }
/clang-format off/ { table = 1 } # a table laid out by hand may be wider
/clang-format on/ || FNR == 1 { table = 0 }
!table { text = $0; gsub(/[\200-\277]/, "", text); if (length(text) > 110) fail(FILENAME ":" FNR ": " length(text) " columns (110 at most)") }
# a function starts at an unindented line with a parenthesis, unless that ends as a declaration
/^[A-Za-z_].*\(/ && !start { head = FNR }
head && !start && /;$/ { head = 0 }
head && !start && /\{$/ { start = head }
/^}/ {
    if (start) {
        long = FNR - start + 1
        if (long > 90) fail(FILENAME ":" start ": function of " long " lines; split it (90 at most)")
        else if (long > 60) warn(FILENAME ":" start ": function of " long " lines")
    }
    start = head = 0
}
END { file_done(); if (!NR) { print "size: no source files found"; exit 1 } exit failed }'
