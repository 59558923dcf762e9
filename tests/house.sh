#!/bin/sh
# house.sh - the checks of the house find what they are for: each is shown a small tree with one planted fault.
# usage: house.sh SOURCE_ROOT
root=$1
tree=$(mktemp -d) || exit 1
trap 'rm -rf "$tree"' EXIT
failed=0

fresh() { # a tree that every check accepts
    rm -rf "$tree/src" "$tree/tests" "$tree/bench"
    mkdir -p "$tree/src/base" "$tree/src/task" "$tree/src/tensor" "$tree/src/op" "$tree/src/cli" "$tree/tests" "$tree/bench"
    cp -r "$root/tools" "$tree/"
    printf '#ifndef A_H\n#define A_H\nint a(int x);\n#endif\n' >"$tree/src/base/a.h"
    printf '#include "base/a.h"\nint a(int x) {\n    return x;\n}\n' >"$tree/src/base/a.c"
    printf '#include "base/a.h"\n#include "op/o.h"\n' >"$tree/src/tensor/t.h"
    : >"$tree/src/op/o.h"
    printf '#include "task/own.h"\n' >"$tree/src/task/t.c"
    : >"$tree/src/task/own.h"
}

expect() { # expect WANTED_STATUS WORDS CHECK...: the check ends so and says so
    want=$1 words=$2
    shift 2
    said=$("$@" 2>&1)
    got=$?
    [ $want = 0 ] && [ $got = 0 ] && return
    if [ $want != 0 ] && [ $got != 0 ] && echo "$said" | grep -q -- "$words"; then return; fi
    echo "FAILED: $* ended with $got and said: $said (wanted $want, \"$words\")"
    failed=1
}

lines() { # lines N TEXT
    awk -v n="$1" -v t="$2" 'BEGIN { while (n-- > 0) print t }'
}

fresh
expect 0 '' "$tree/tools/floors.sh"
expect 0 '' "$tree/tools/size.sh"
expect 0 '' "$tree/tools/headers.sh"

echo '#include "cli/cli.h"' >>"$tree/src/base/a.c"
expect 1 'base may not include cli' "$tree/tools/floors.sh"
fresh
echo '#include "tensor/t.h"' >>"$tree/src/task/t.c"
expect 1 'task may not include tensor' "$tree/tools/floors.sh"
fresh
echo '#include "../base/a.h"' >>"$tree/src/task/t.c"
expect 1 'include "folder/file.h"' "$tree/tools/floors.sh"
fresh
mkdir "$tree/src/cellar"
: >"$tree/src/cellar/c.h"
echo 'int c;' >"$tree/src/cellar/c.c"
expect 1 'cellar is on no floor' "$tree/tools/floors.sh"
rm -rf "$tree/src/cellar"

fresh
lines 701 'extern int x;' >"$tree/src/base/long.h"
expect 1 'split it (700' "$tree/tools/size.sh"
fresh
{ echo 'static int f(int a,'; echo '             int b) {'; lines 90 '    a += b;'; echo '}'; } >"$tree/src/base/f.c"
expect 1 'f.c:1: function of 93 lines' "$tree/tools/size.sh"
fresh
{ echo 'static const int f[] = {'; lines 100 '    1,'; echo '};'; } >"$tree/src/base/f.c"
expect 0 '' "$tree/tools/size.sh"
fresh
awk 'BEGIN { printf "/*"; for (i = 0; i < 107; i++) printf "x"; print "*/" }' >"$tree/src/base/w.h"
expect 1 'w.h:1: 111 columns' "$tree/tools/size.sh"

fresh
echo 'int needs(unknown_type x);' >"$tree/src/base/b.h"
expect 1 'src/base/b.h: does not compile alone' "$tree/tools/headers.sh"
fresh
echo 'typedef struct twice { int x; } twice;' >"$tree/src/base/b.h"
expect 1 'src/base/b.h: does not compile alone' "$tree/tools/headers.sh"

log=$tree/testlog.txt
test_of() { # test_of NAME STATUS LINES...
    printf 'test:         %s\nresult:       exit status %s\n' "$1" "$2"
    shift 2
    printf '%s\n' "$@"
}
counts() { # counts WANTED_STATUS WANTED_LINE
    said=$(awk -f "$root/tools/count.awk" "$log" | tail -n 1)
    awk -f "$root/tools/count.awk" "$log" >/dev/null
    got=$?
    [ "$said" = "$2" ] && [ $got = "$1" ] || { echo "FAILED: count.awk: $got, $said (wanted $1, $2)"; failed=1; }
}
{ test_of a 0 '[ RUN      ] x' '[       OK ] x' '[ RUN      ] y' '[       OK ] y'; test_of script 0; } >"$log"
counts 0 '3 passed, 0 failed, 0 skipped'
test_of a 1 '[ RUN      ] x' '[       OK ] x' '[ RUN      ] y' '[  FAILED  ] y' '[  FAILED  ] 1 test(s)' '[  FAILED  ] y' >"$log"
counts 1 '1 passed, 1 failed, 0 skipped'
{ test_of a 0 '[ RUN      ] x' '[       OK ] x'; test_of crash 139 '[ RUN      ] y'; } >"$log"
counts 1 '1 passed, 1 failed, 0 skipped'
test_of leak 1 '[ RUN      ] x' '[       OK ] x' >"$log"
counts 1 '1 passed, 1 failed, 0 skipped'
{ test_of a 0 '[ RUN      ] x' '[       OK ] x' '[ RUN      ] y' '[  SKIPPED ] y' '[  SKIPPED ] 1 test(s), listed below:' '[  SKIPPED ] y'
  test_of b 77 'skipped: no data'; } >"$log"
counts 0 '1 passed, 0 failed, 2 skipped'
test_of b 77 'skipped: no data' >"$log"
counts 1 '0 passed, 0 failed, 1 skipped'

[ $failed = 0 ] && echo ok
exit $failed
