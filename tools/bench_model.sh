#!/bin/sh
# bench_model.sh BUILD - training and generation of the models of bench/model.c against rivals, in turns: ours, then each
# rival, three times over; medians.  Rows: name ours rival ratio goal, in tokens a second; a rival that is missing prints
# `skipped` and why.
#
# pytorch: the newest, in BUILD/.venv-bench (made on first use) or in the Python that HONE_BENCH_PYTHON names.  debian and
# debian-tuned: Debian 12's, HONE_BENCH_DEBIAN_PYTHON and the same name with -tuned (tools/bench_debian.sh makes both).
# llama.cpp: the folder of its programs, HONE_BENCH_LLAMA; of f32, f16 and bf16 the best is shown, as llama.cpp:TYPE;
# weights in 8 and 4 bits (q8, q4) meet its Q8_0 and Q4_0.
# floor: the products of a step, packing and AdamW alone; roof: reading the packed weights once a token, at full speed.
# contended: beside a program that keeps a core busy, against the share of the idle rate that is then ours.
#
# BENCH_SECONDS a turn (4), BENCH_TURNS (3), BENCH_THREADS (all cores), BENCH_ONLY: rows whose name has this pattern.
[ $# = 1 ] && [ -x "$1/bench/b_model" ] || { echo "usage: bench_model.sh BUILD (with BUILD/bench/b_model)" >&2 && exit 2; }
build=$1
seconds=${BENCH_SECONDS:-4}
turns=${BENCH_TURNS:-3}
threads=${BENCH_THREADS:-$(nproc)}
here=$(realpath "$(dirname "$0")/../bench")
python=${HONE_BENCH_PYTHON:-$build/.venv-bench/bin/python}
debian=${HONE_BENCH_DEBIAN_PYTHON:-}
tmp=$(mktemp -d) || exit 1
busy=
trap '[ -z "$busy" ] || kill $busy; rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM

has_torch() { [ -n "$1" ] && "$1" -c 'import torch' >/dev/null 2>&1; }
if ! has_torch "$python" && [ -z "$HONE_BENCH_PYTHON" ]; then
    echo "bench: making $build/.venv-bench with PyTorch (once)" >&2
    python3 -m venv "$build/.venv-bench" >&2 && "$build/.venv-bench/bin/pip" install -q torch numpy >&2
fi
no_pytorch= no_debian= no_tuned= no_llama=
has_torch "$python" || no_pytorch="no PyTorch (pip install torch failed or there is no python3)"
has_torch "$debian" || no_debian="no Debian PyTorch (tools/bench_debian.sh DIR, HONE_BENCH_DEBIAN_PYTHON=DIR/python)"
has_torch "$debian-tuned" || no_tuned="no tuned Debian PyTorch (tools/bench_debian.sh DIR, HONE_BENCH_DEBIAN_PYTHON=DIR/python)"
HONE_BENCH_LLAMA=$HONE_BENCH_LLAMA "$here/rivals_llama.sh" check >"$tmp/why" || no_llama=$(sed 's/^skipped: //' "$tmp/why")

median() { sort -g "$1" 2>/dev/null | awk '{ v[NR] = $1 } END { if (NR) print v[int((NR + 1) / 2)] }'; }
ratio() { awk "BEGIN { printf \"%.2f\", $1 / $2 }"; }
wanted() { case $1 in *${BENCH_ONLY:-}*) shown=1 && return 0 ;; *) return 1 ;; esac; }
shown=

# ours WHAT PREC BATCH SIZE, and each rival the same: one number
ours() { "$build/bench/b_model" "$1" "$2" "$threads" "$seconds" "$3" $4 2>"$tmp/err" || sed 's/^/bench_model.sh: /' "$tmp/err" >&2; }
torch() { p=$1 && shift && timeout 120 "$p" "$here/rivals_model.py" "$1" "$2" "$threads" "$seconds" "$3" $4 2>/dev/null; }
pytorch() { torch "$python" "$@"; }
debian() { torch "$debian" "$@"; }
tuned() { torch "$debian-tuned" "$@"; }
floor() { ours floor "$2" "$3" "$4"; }
roof() { ours roof "$2" "$3" "$4"; }
llama() { # one type; the first turn drops those far behind
    type=$1 && shift
    file=$tmp/${4:-reference}-$type.gguf
    [ -f "$file" ] || "$here/rivals_llama.sh" make "$build/hone" "$type" "$file" $4 >&2 || return
    new=128
    [ "$4" != large ] || new=32
    if [ "$1" = generate ]; then set -- generate "$file" "$3" $new; else set -- prompt "$file"; fi
    HONE_BENCH_THREADS=$threads "$here/rivals_llama.sh" "$@"
}

# contest NAME WHAT PREC BATCH SIZE RIVAL=GOAL...
contest() {
    name=$1 what=$2 prec=$3 batch=$4 size=$5
    shift 5
    wanted "$name" || return
    rm -f "$tmp"/v.*
    types="f32 f16 bf16"
    for turn in $(seq "$turns"); do
        ours "$what" "$prec" "$batch" "$size" >>"$tmp/v.ours"
        for rival in "$@"; do
            rival=${rival%=*}
            eval "no=\${no_$rival:-}"
            [ -z "$no" ] || continue
            case $rival in
            llama | llama_*)
                [ $rival = llama ] || types=${rival#llama_}
                for type in $types; do llama "$type" "$what" "$prec" "$batch" "$size" >>"$tmp/v.llama.$type"; done
                [ "$turn" = 1 ] || continue
                best=$(cat "$tmp"/v.llama.* | sort -g | tail -n 1)
                for type in $types; do
                    awk -v best="$best" '{ exit $1 < 0.7 * best }' "$tmp/v.llama.$type" || types=$(echo $types | sed "s/\\b$type\\b//")
                done ;;
            *) $rival "$what" "$prec" "$batch" "$size" >>"$tmp/v.$rival" ;;
            esac
        done
    done
    o=$(median "$tmp/v.ours")
    for rival in "$@"; do
        goal=${rival#*=} rival=${rival%=*} label=${rival%=*} r=
        case $rival in
        llama | llama_*)
            label=llama.cpp
            for type in f32 f16 bf16 q8_0 q4_0; do
                v=$(median "$tmp/v.llama.$type")
                [ -z "$v" ] || { awk "BEGIN { exit !($v > ${r:-0}) }" && r=$v label=llama.cpp:$type; }
            done
            eval "no=\$no_llama" ;;
        tuned) label=debian-tuned r=$(median "$tmp/v.tuned") no=$no_tuned ;;
        *) r=$(median "$tmp/v.$rival") && eval "no=\${no_$rival:-}" ;;
        esac
        [ -n "$o" ] || { echo "${name}_vs_$label failed" && failed=1 && continue; }
        if [ -n "$r" ]; then echo "${name}_vs_$label $o $r $(ratio "$o" "$r") $goal"
        elif [ -n "$no" ]; then echo "${name}_vs_$label $o skipped: $no"
        else echo "${name}_vs_$label $o skipped: it ended badly or took longer than 120 s"; fi
    done
}
no_llama_bf16=$no_llama no_llama_q8_0=$no_llama no_llama_q4_0=$no_llama

# beside NAME WHAT PREC BATCH [GOAL]: our rate beside a busy program; with a goal PyTorch's too.
beside() {
    name=$1 what=$2 prec=$3 batch=$4 goal=${5:-}
    wanted "$name" || return
    rm -f "$tmp"/v.*
    for turn in $(seq "$turns"); do
        ours "$what" "$prec" "$batch" "" >>"$tmp/v.idle"
        sh -c 'while :; do :; done' &
        busy=$!
        ours "$what" "$prec" "$batch" "" >>"$tmp/v.ours"
        [ -z "$goal" ] || [ -n "$no_pytorch" ] || pytorch "$what" "$prec" "$batch" "" >>"$tmp/v.pytorch"
        kill $busy && wait $busy 2>/dev/null
        busy=
    done
    o=$(median "$tmp/v.ours") i=$(median "$tmp/v.idle") r=$(median "$tmp/v.pytorch")
    [ -n "$o" ] && [ -n "$i" ] || { echo "$name failed" && failed=1 && return; }
    # each of threads + 1 runnable threads has its part of the cores, and no more than one
    fair=$(awk -v i="$i" -v t="$threads" -v c="$(nproc)" 'BEGIN { s = c / (t + 1); print i * (s < 1 ? s : 1) }')
    echo "${name}_vs_share $o $fair $(ratio "$o" "$fair") 0.9"
    [ -n "$goal" ] || return
    if [ -n "$r" ]; then echo "${name}_vs_pytorch $o $r $(ratio "$o" "$r") $goal"
    else echo "${name}_vs_pytorch $o skipped: ${no_pytorch:-it took longer than 120 s}"; fi
}

failed=
t=t$threads
contest "train/f32/$t" train f32 32 "" pytorch=1.5 debian=1.5 tuned=1.2 floor=0.6
contest "train/bf16/$t" train bf16 32 "" pytorch=2.0 debian=2.0 tuned=2.0 floor=0.6
contest "generate32/f32/$t" generate f32 32 "" pytorch=2.0
contest "generate1/f32/$t" generate f32 1 "" pytorch=1.0
contest "generate32/bf16/$t" generate bf16 32 "" pytorch=2.0 tuned=4.0 llama=6.0
contest "generate1/bf16/$t" generate bf16 1 "" pytorch=1.0 llama_bf16=1.3 roof=0.85
contest "prompt512/bf16/$t" prompt bf16 1 "" llama=2.0
contest "large/generate32/bf16/$t" generate bf16 32 large pytorch=2.0 tuned=2.8 llama=5.5
contest "large/generate1/bf16/$t" generate bf16 1 large llama_bf16=1.3 roof=0.85
contest "large/prompt512/bf16/$t" prompt bf16 1 large llama=2.0
for size in "" large; do
    contest "${size:+large/}generate1/q8/$t" generate q8 1 "$size" llama_q8_0=0.95 roof=0.85
    contest "${size:+large/}generate1/q4/$t" generate q4 1 "$size" llama_q4_0=0.95 roof=0.85
    contest "${size:+large/}generate32/q8/$t" generate q8 32 "$size" llama_q8_0=2.0
    contest "${size:+large/}generate32/q4/$t" generate q4 32 "$size" llama_q4_0=2.0
done
beside "contended/train/bf16/$t" train bf16 32 2.0
beside "contended/generate32/bf16/$t" generate bf16 32
[ -n "$shown" ] || { echo "bench_model.sh: no row has BENCH_ONLY=$BENCH_ONLY in its name" >&2 && exit 2; }
[ -z "$failed" ]
