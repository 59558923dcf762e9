#!/bin/sh
# bench_model.sh BUILD - training and generation of the reference model against PyTorch, interleaved: ours, theirs, three
# times over, medians.  Rows: name ours rival ratio goal.  PyTorch lives in build/.venv-bench, made on first use;
# HONE_BENCH_PYTHON names another Python that has it.
build=$1
seconds=${BENCH_SECONDS:-6}
threads=${BENCH_THREADS:-$(nproc)}
here=$(dirname "$0")/../bench
python=${HONE_BENCH_PYTHON:-$build/.venv-bench/bin/python}

rival_there() { "$python" -c 'import torch' >/dev/null 2>&1; }
if ! rival_there && [ -z "$HONE_BENCH_PYTHON" ]; then
    echo "bench: making $build/.venv-bench with PyTorch (once)" >&2
    python3 -m venv "$build/.venv-bench" >&2 && "$build/.venv-bench/bin/pip" install -q torch numpy >&2
fi
median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }

row() { # name goal, then what both programs are told
    name=$1 goal=$2
    shift 2
    ours= theirs=
    for i in 1 2 3; do
        o=$("$build/bench/b_model" "$@") || { echo "$name failed"; return 1; }
        ours="$ours $o"
        rival_there && theirs="$theirs $("$python" "$here/rivals_model.py" "$@" 2>/dev/null)"
    done
    o=$(median $ours)
    if [ -n "$theirs" ]; then
        r=$(median $theirs)
        echo "$name $o $r $(awk "BEGIN { printf \"%.2f\", $o / $r }") $goal"
    else
        echo "$name $o skipped: no PyTorch (pip install torch failed or there is no python3)"
    fi
}

row "train/f32/t$threads" 1.0 train f32 "$threads" "$seconds"
row "train/bf16/t$threads" 1.0 train bf16 "$threads" "$seconds"
row "generate32/f32/t$threads" 2.0 generate f32 "$threads" "$seconds" 32
row "generate32/bf16/t$threads" 2.0 generate bf16 "$threads" "$seconds" 32
row "generate1/f32/t$threads" 1.0 generate f32 "$threads" "$seconds" 1
row "generate1/bf16/t$threads" 1.0 generate bf16 "$threads" "$seconds" 1
