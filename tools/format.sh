#!/bin/sh
# format.sh - clang-format 14 over every C file; --check only compares (exit 77 when there is no clang-format).
# Other versions format differently, so they are not used.
cd "$(dirname "$0")/.." || exit 1
tool=
for name in clang-format-14 clang-format; do
    $name --version 2>/dev/null | grep -q 'version 14\.' && tool=$name && break
done
if [ -z "$tool" ]; then
    echo "skipped: clang-format 14 is not installed"
    [ "${1-}" = --check ] && exit 77
    exit 1
fi
files=$(find src tests bench -name '*.[ch]' | sort)
if [ "${1-}" != --check ]; then
    $tool -i $files
    exit
fi
said=$($tool --dry-run -Werror $files 2>&1)
[ $? = 0 ] && exit 0
echo "$said" | grep ': error: '
echo "not formatted; run make fmt"
exit 1
