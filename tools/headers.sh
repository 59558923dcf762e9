#!/bin/sh
# headers.sh - every header compiles alone, twice in one file, without a warning.
cd "$(dirname "$0")/.." || exit 1
cc=${CC:-cc}
flags="$(pkg-config --cflags jansson yaml-0.1 libpcre2-8 libutf8proc sqlite3 nettle 2>/dev/null)"
widest="-DHN_TIER_SUFFIX=t -DHN_SIMD=0"
[ "$(uname -m)" = x86_64 ] && widest="-DHN_TIER_SUFFIX=t -DHN_SIMD=2 -mavx2 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl"
failed=0 count=0
for h in $(cd src && find . -name '*.h' | sed 's|^\./||' | sort); do
    count=$((count + 1))
    define=
    case $h in # the vocabulary of kernels is compiled once a tier: here in the widest
    cpu/*) define=$widest ;;
    esac
    # a list header is lines of HN_THING(name), empty for this check
    case $h in
    algo/algos.h | task/tasks.h | method/methods.h | cli/commands.h)
        define='-DHN_ALGO(x)= -DHN_TASK(x)= -DHN_METHOD(x)= -DHN_COMMAND(x)=' ;;
    esac
    printf '#include "%s"\n#include "%s"\ntypedef int hn_not_empty;\n' "$h" "$h" |
        $cc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wstrict-prototypes -Wundef -Isrc $flags $define \
            -fsyntax-only -x c - || { echo "src/$h: does not compile alone"; failed=1; }
done
[ $count -gt 0 ] || { echo "headers: none found"; exit 1; }
exit $failed
