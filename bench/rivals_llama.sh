#!/bin/sh
# rivals_llama.sh - llama.cpp on GGUF files that hone made, in tokens a second.
#
#   rivals_llama.sh HONE [MODEL]                  all rows of MODEL (a directory; without one the reference model of
#                                                 bench/model.c with random weights), a line a row: `name value`
#   rivals_llama.sh make HONE TYPE FILE [large]   writes that model, or the large one, as FILE
#   rivals_llama.sh prompt FILE                   one number: a prompt of 512
#   rivals_llama.sh generate FILE BATCH NEW       one number: decoding NEW tokens behind a prompt of 16, BATCH answers at once
#   rivals_llama.sh check                         are the programs there?
#
# Rows: pp512, and tg (64 tokens) for 1 and 32 answers at once, in f32, bf16, q8_0 and q4_0, medians of $HONE_BENCH_TURNS turns (3).
# HONE_BENCH_LLAMA names the folder of llama-bench and llama-batched-bench, HONE_BENCH_THREADS the threads (2).  Its threads
# spin, with OpenMP and without: beside a program that keeps a core busy a rate was seen thirty times too low, so ask a
# quiet machine.
usage() { sed -n 's/^#   //p' "$0" >&2 && exit 2; }
[ $# -ge 1 ] || usage
root=$(realpath "$(dirname "$0")/..")
bin=${HONE_BENCH_LLAMA:-}
threads=${HONE_BENCH_THREADS:-2}
turns=${HONE_BENCH_TURNS:-3}
if ! [ -x "$bin/llama-bench" ] || ! [ -x "$bin/llama-batched-bench" ]; then
    echo "skipped: no llama-bench and llama-batched-bench (set HONE_BENCH_LLAMA to their folder)"
    exit 77
fi
[ "$1" != check ] || exit 0
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
export HONE_STORE="$tmp/runs.db"

init() { # HONE DIR [large]
    shape='"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8, "num_attention_heads": 8,
        "num_key_value_heads": 8, "vocab_size": 4096'
    [ "$3" != large ] || shape='"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
        "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 32000'
    cat >"$tmp/config.json" <<J
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", $shape, "head_dim": 64, "rms_norm_eps": 1e-5,
 "max_position_embeddings": 1024, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": false,
 "initializer_range": 0.02}
J
    "$1" init --config "$tmp/config.json" --tokenizer "$root/models/base" --out "$2" --quiet >/dev/null
}
convert() { # HONE TYPE DIR FILE; q4_0 is llama.cpp's own, with the head in Q6_K
    if [ "$2" = q4_0 ]; then
        "$1" convert --to gguf --type f32 --model "$3" --out "$tmp/f32.gguf" --quiet >/dev/null &&
            "$bin/llama-quantize" "$tmp/f32.gguf" "$4" Q4_0 >"$tmp/err" 2>&1 || { tail -n 1 "$tmp/err" >&2 && return 1; }
    else "$1" convert --to gguf --type "$2" --model "$3" --out "$4" --quiet >/dev/null; fi
}
prompts() { "$bin/llama-bench" -m "$1" -t "$threads" -p 512 -n 0 -r 3 -o jsonl; }
decodes() { # FILE BATCH PROMPT NEW
    "$bin/llama-batched-bench" -m "$1" -t "$threads" -tb "$threads" -c $(($2 * ($3 + $4) + 512)) -npp "$3" -ntg "$4" \
        -npl "$2" --output-format jsonl
}
# value KEY COMMAND...: the number behind "KEY": in its JSON lines; a tool that ends badly says so.
value() {
    key=$1
    shift
    "$@" 2>"$tmp/err" >"$tmp/json" || { echo "llama.cpp failed: $(tail -n 1 "$tmp/err")" >&2 && return 1; }
    sed -n "s/.*\"$key\": *\([0-9.e+-]*\).*/\1/p" "$tmp/json" | grep . || { echo "llama.cpp: no \"$key\"" >&2 && return 1; }
}
row() { # NAME, then what `value` is told
    name=$1
    shift
    : >"$tmp/values"
    for i in $(seq "$turns"); do value "$@" >>"$tmp/values" || { echo "$name failed" && return; }; done
    echo "$name $(sort -g "$tmp/values" | sed -n "$(((turns + 1) / 2))p")"
}

case $1 in
make)
    { [ $# = 4 ] || { [ $# = 5 ] && [ "$5" = large ]; }; } || usage
    init "$2" "$tmp/model" "${5:-}" && convert "$2" "$3" "$tmp/model" "$4"
    exit ;;
prompt) [ -f "$2" ] || usage; value avg_ts prompts "$2" && exit ;;
generate) [ $# = 4 ] && [ -f "$2" ] || usage; value speed_tg decodes "$2" "$3" 16 "$4" && exit ;;
esac
[ $# -le 2 ] && [ -x "$1" ] || usage
hone=$1
model=${2:-$tmp/reference}
[ -n "$2" ] || init "$hone" "$model" || exit 1
for type in f32 bf16 q8_0 q4_0; do
    file=$tmp/$type.gguf
    convert "$hone" $type "$model" "$file" || exit 1
    row "llama.cpp/$type/t$threads/pp512" avg_ts prompts "$file"
    for many in 1 32; do row "llama.cpp/$type/t$threads/tg$many" speed_tg decodes "$file" $many 64 64; done
done
