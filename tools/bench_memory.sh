#!/bin/sh
# bench_memory.sh BUILD - peak memory of one SFT update with a vocabulary of 151,936 and one row of 4,096 tokens, in bytes:
# against the sum of the memory table (ratio table / peak, goal 0.95) and against PyTorch (theirs / ours, goal 2).  Rows:
# name ours rival ratio goal.  HONE_BENCH_PYTHON names a Python that has PyTorch (default: build/.venv-bench).  A side that the
# free memory does not hold is skipped: ours takes 5 GB, PyTorch's 13.5 GB.
build=$1
threads=${BENCH_THREADS:-$(nproc)}
here=$(cd "$(dirname "$0")/.." && pwd)
python=${HONE_BENCH_PYTHON:-$build/.venv-bench/bin/python}
status=0

room() { # megabytes that the next process may need; true when they are free
    free=$(awk '/^MemAvailable/ { print int($2 / 1000) }' /proc/meminfo)
    [ "${free:-0}" -ge "$1" ]
}

for dtype in f32 bf16; do
    if ! room 5500; then
        echo "memory/$dtype skipped: an update takes 5 GB, $free MB are free"
        continue
    fi
    both=$("$build/bench/b_memory" $dtype "$threads" 2>/dev/null) || { echo "memory/$dtype failed"; status=1; continue; }
    ours=${both% *}
    echo "$both" | awk -v d=$dtype '{ printf "memory/%s/table %.0f %.0f %.3f 0.95\n", d, $1, $2, $2 / $1 }'
    if ! "$python" -c 'import torch' >/dev/null 2>&1; then
        echo "memory/$dtype/torch $ours skipped: no PyTorch (pip install torch failed or there is no python3)"
    elif ! room 14500; then
        echo "memory/$dtype/torch $ours skipped: PyTorch's update takes 13.5 GB, $free MB are free"
    elif theirs=$("$python" "$here/bench/rivals_model.py" memory $dtype "$threads" 151936 4096 2>/dev/null); then
        echo "$ours $theirs" | awk -v d=$dtype '{ printf "memory/%s/torch %.0f %.0f %.2f 2.0\n", d, $1, $2, $2 / $1 }'
    else
        echo "memory/$dtype/torch $ours failed: bench/rivals_model.py memory"
        status=1
    fi
done
exit $status
