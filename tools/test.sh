#!/bin/sh
# test.sh BUILD [meson test options] - runs the tests; the last line is `N passed, N failed, N skipped`, counted
# over single cmocka tests where a program has them.  Exit 0 only when something passed and nothing failed.
build=$1
shift
# a busy machine is no failure: times are multiplied; a sanitizer must stop the program, and huge requests must return NULL as they do without it
export ASAN_OPTIONS="allocator_may_return_null=1:detect_leaks=1:strict_string_checks=1"
export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1"
export TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1"
log=$build/meson-logs/testlog.txt
rm -f "$log"
meson test -C "$build" --no-rebuild --timeout-multiplier 5 --print-errorlogs "$@"
status=$?
[ -f "$log" ] || { echo "no test ran"; echo "0 passed, 1 failed, 0 skipped"; exit 1; }
awk -f "$(dirname "$0")/count.awk" "$log"
counted=$?
[ $status = 0 ] && exit $counted
exit 1
