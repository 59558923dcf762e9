#!/bin/sh
# bench_tok.sh BUILD - texts to ids against the `tokenizers` library, one thread each, in turn, medians of three.  Rows:
# name ours rival ratio goal, MB of text a second.  The tokenizers are trained on the text by the library; HONE_BENCH_PYTHON
# names a Python that has it (default: build/.venv-bench).  The text is the largest of HONE_SHARED/data/text, else our own pages.
build=$1
seconds=${BENCH_SECONDS:-2}
here=$(cd "$(dirname "$0")/.." && pwd)
python=${HONE_BENCH_PYTHON:-$build/.venv-bench/bin/python}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

text=${HONE_SHARED:-$here/../shared}/data/text/wikitext2_valid.txt
[ -f "$text" ] || { text=$tmp/text && cat "$here"/*.md "$here"/doc/*.md "$here"/src/text/*.[ch] > "$text"; }
if ! "$python" -c 'import tokenizers' >/dev/null 2>&1; then
    [ -z "$HONE_BENCH_PYTHON" ] && [ -x "$python" ] && "$build/.venv-bench/bin/pip" install -q tokenizers >&2
fi
if ! "$python" -c 'import tokenizers' >/dev/null 2>&1; then
    echo "tok skipped: no tokenizers (pip install tokenizers failed or there is no python3)"
    exit 0
fi
median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }

"$python" "$here/bench/rivals_tok.py" make "$tmp" "$text" || exit 1
status=0
ours() { "$build/bench/b_tok" "$tmp/$1" "$2" "$3"; }
theirs() { "$python" "$here/bench/rivals_tok.py" "$tmp/$1" "$2" "$3"; }
row() { echo "$1 $2 $3 $(awk "BEGIN { printf \"%.2f\", $2 / $3 }") $4"; }
for kind in gpt2 qwen2 llama3 smollm2 llama unigram; do
    o= r=
    for i in 1 2 3; do
        o="$o $(ours $kind "$text" "$seconds")" || status=1
        r="$r $(theirs $kind "$text" "$seconds")" || status=1
    done
    row "tok/$kind" "$(median $o)" "$(median $r)" 1.0
done
# one line of 10 MB, as it comes: a text, one letter, letters without a space; the last against a tenth of itself, where
# merging in n log n gives about 0.8 and quadratic merging 0.1
for kind in gpt2 qwen2 llama3 llama; do
    for line in line letter mixed; do
        o=$(ours $kind "$tmp/$line" 0) || status=1
        r=$(theirs $kind "$tmp/$line" 0) || status=1
        row "tok/10MB-$line/$kind" "$o" "$r" 1.0
    done
    r=$(ours $kind "$tmp/mixed1" 1) || status=1
    row "tok/10MB-against-1MB/$kind" "$o" "$r" 0.5
done
exit $status
