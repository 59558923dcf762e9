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
for kind in gpt2 qwen2 llama unigram; do
    ours= theirs=
    for i in 1 2 3; do
        ours="$ours $("$build/bench/b_tok" "$tmp/$kind" "$text" "$seconds")" || status=1
        theirs="$theirs $("$python" "$here/bench/rivals_tok.py" "$tmp/$kind" "$text" "$seconds")" || status=1
    done
    o=$(median $ours) r=$(median $theirs)
    echo "tok/$kind $o $r $(awk "BEGIN { printf \"%.2f\", $o / $r }") 1.0"
done
exit $status
