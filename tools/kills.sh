#!/bin/sh
# kills.sh HONE [N [COMMAND...]] - kill -9 inside the writing of a checkpoint, N times (100).
#
# COMMAND is a run of hone without --out and --resume (paths in it absolute); without one, a small model learns from a row at a
# time and keeps every update, so that most of its time goes into writing.  The run is watched until the folder of a checkpoint
# appears under its building name, then killed at a random moment; the kill counts when it leaves such a folder half-written.
# The run is resumed, killed again, and so on; each time that it comes to its end, all files that hold no time are compared,
# byte by byte, with those of a run that nobody disturbed.  WITHIN: most seconds between the folder and the kill.
hone=$(realpath "$1") || exit 1
n=${2:-100}
shift "$(($# < 2 ? $# : 2))"
[ "$n" -ge 10 ] || [ ! -w /dev/shm ] || export TMPDIR=/dev/shm # a few: in memory, in seconds
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
export HONE_STORE="$tmp/runs.db"
mkdir "$tmp/whole" "$tmp/killed" && cd "$tmp" || exit 1

if [ $# = 0 ]; then
    cat >config.json <<'J'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 192, "intermediate_size": 512,
 "num_hidden_layers": 6, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 32, "rms_norm_eps": 1e-5,
 "max_position_embeddings": 256, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true}
J
    "$hone" data make --task arith --items 60 --text --out text --quiet >/dev/null &&
        "$hone" init --config config.json --train-tokenizer text --vocab 300 --out m --quiet >/dev/null || exit 1
    set -- sft --model ../m --task arith --train_items 16 --per_device_train_batch_size 1 --max_length 256 --max_steps 8 \
        --save_steps 1 --save_total_limit 2 --logging_steps 1
fi
# run FOLDER COMMAND...: in its folder, so that names that get into files are the same
run() {
    cd "$1" || exit 1
    shift
    exec "$hone" "$@" --out run --quiet >/dev/null 2>said
}
# half: the folder under its building name that this process has worked in
half() {
    for new in killed/run/*.hone-new killed/run/.*.hone-new killed/run/*/*.hone-new; do [ "$new" -nt began ] && return 0; done
    return 1
}
same() {
    left=$(find killed -name '*.hone-*')
    [ -z "$left" ] || { echo "kills: $left stays behind"; return 1; }
    diff -rq -x '*tfevents*' -x run.json -I '"seconds":' whole/run killed/run || { echo "kills: the run differs after $tries kills"; return 1; }
}

start=$(date +%s%N)
(run whole "$@") || { cat whole/said; exit 1; }
within=${WITHIN:-$(awk -v ns=$(($(date +%s%N) - start)) 'BEGIN { print ns / 12e9 }')}
inside=0 tries=0 ends=0
: >stages
while [ "$inside" -lt "$n" ]; do
    tries=$((tries + 1))
    [ $tries -le $((20 * n + 50)) ] || { echo "kills: only $inside of $tries kills came while a checkpoint was being written"; exit 1; }
    when=$(awk -v s=$tries -v most="$within" 'BEGIN { srand(s); rand(); x = rand(); printf "%.3f", most * x * x }')
    : >began
    (run killed "$@" --resume) &
    pid=$!
    until half; do kill -0 $pid 2>/dev/null || break; done
    sleep "$when"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    status=$?
    case $status in
    0)
        same || exit 1
        ends=$((ends + 1))
        rm -rf killed/run
        ;;
    137)
        half || continue
        inside=$((inside + 1))
        ls -tp "${new%/}" | head -n 1 >>stages
        ;;
    *)
        echo "kills: a resumed run ended with $status: $(cat killed/said)"
        exit 1
        ;;
    esac
done
(run killed "$@" --resume) || { cat killed/said; exit 1; }
same || exit 1
echo "kills: $tries, of which $inside left a checkpoint half-written (the last file in it:" \
    "$(sort stages | uniq -c | awk '{ printf "%s%s %s", (NR > 1 ? ", " : ""), $1, ($2 ? $2 : "none") }'));" \
    "$((ends + 1)) runs came to their end with the bytes of an undisturbed one"
