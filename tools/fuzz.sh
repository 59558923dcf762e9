#!/bin/sh
# fuzz.sh BUILD SECONDS - runs every fuzz target that long, from the committed corpus; what it finds stays in BUILD.
build=$1 seconds=$2
cd "$(dirname "$0")/.." || exit 1
status=0 count=0
export ASAN_OPTIONS="allocator_may_return_null=1:detect_leaks=1"
for target in "$build"/tests/fuzz/fuzz_*; do
    [ -f "$target" ] && [ -x "$target" ] || continue
    count=$((count + 1))
    name=${target##*/fuzz_}
    mkdir -p "$build/corpus/$name" "$build/found/$name"
    echo "fuzz: $name, $seconds s"
    "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$build/found/$name/" "$build/corpus/$name" "tests/fuzz/corpus/$name" \
        >"$build/found/$name.log" 2>&1 && grep -E '^stat::number_of_executed|cov:' "$build/found/$name.log" | tail -n 2 || {
        tail -n 30 "$build/found/$name.log"
        echo "fuzz: $name FAILED; when it is mended, keep the input: cp $build/found/$name/* tests/fuzz/corpus/$name/"
        status=1
    }
done
[ $count -gt 0 ] || { echo "fuzz: no targets in $build"; exit 1; }
exit $status
