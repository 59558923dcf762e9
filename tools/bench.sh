#!/bin/sh
# bench.sh BUILD - runs every benchmark program; each prints rows `name ours rival ratio goal`, ratio larger-is-better.
echo "name ours rival ratio goal"
status=0
for program in "$1"/bench/b_*; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    case ${program##*/} in b_model | b_tok | b_memory) continue ;; esac # run beside their rivals below
    "$program" || status=1
done
"$(dirname "$0")/bench_model.sh" "$1" || status=1
"$(dirname "$0")/bench_tok.sh" "$1" || status=1
"$(dirname "$0")/bench_memory.sh" "$1" || status=1
exit $status
