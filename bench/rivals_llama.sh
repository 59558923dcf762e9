#!/bin/sh
# rivals_llama.sh HONE [MODEL] - llama.cpp on a GGUF that hone made: tokens a second, a line a row: `name value`.
#
# MODEL is a directory; without one it is the reference model (d 512, 8 layers, 8 heads, FFN 1408, vocabulary 4096) with
# random weights.  Rows: pp512 (a prompt of 512), tg (decoding 64 tokens behind a prompt of 64) for 1 and 32 answers at
# once, in f32, bf16 and q8_0, medians of $HONE_BENCH_TURNS turns (3).  HONE_BENCH_LLAMA names the folder of
# llama-bench and llama-batched-bench, HONE_BENCH_THREADS the threads (2).  Its threads spin, with OpenMP and without: beside
# a program that keeps a core busy a rate was seen thirty times too low, so ask a quiet machine.
hone=${1:?usage: rivals_llama.sh HONE [MODEL]}
root=$(realpath "$(dirname "$0")/..")
bin=${HONE_BENCH_LLAMA:-}
threads=${HONE_BENCH_THREADS:-2}
turns=${HONE_BENCH_TURNS:-3}
if ! [ -x "$bin/llama-bench" ] || ! [ -x "$bin/llama-batched-bench" ]; then
    echo "skipped: no llama-bench and llama-batched-bench (set HONE_BENCH_LLAMA to their folder)"
    exit 77
fi
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
export HONE_STORE="$tmp/runs.db"
model=${2:-$tmp/reference}
if [ -z "$2" ]; then
    cat >"$tmp/config.json" <<'J'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 512, "intermediate_size": 1408,
 "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
 "max_position_embeddings": 1024, "rope_theta": 10000.0, "hidden_act": "silu", "vocab_size": 4096,
 "tie_word_embeddings": false, "initializer_range": 0.02}
J
    "$hone" init --config "$tmp/config.json" --tokenizer "$root/models/base" --out "$model" --quiet >/dev/null || exit 1
fi

# row NAME KEY COMMAND...: the median of the number behind "KEY": in its JSON lines; a tool that ends badly says so.
row() {
    name=$1 key=$2
    shift 2
    : >"$tmp/values"
    for i in $(seq "$turns"); do
        "$@" 2>"$tmp/err" >"$tmp/json" || { echo "$name failed: $(tail -n 1 "$tmp/err")" && return; }
        sed -n "s/.*\"$key\": *\([0-9.e+-]*\).*/\1/p" "$tmp/json" >>"$tmp/values"
    done
    [ "$(wc -l <"$tmp/values")" = "$turns" ] || { echo "$name failed: no \"$key\" in what it printed" && return; }
    echo "$name $(sort -g "$tmp/values" | sed -n "$((turns / 2 + 1))p")"
}

for type in f32 bf16 q8_0; do
    file=$tmp/$type.gguf
    "$hone" convert --to gguf --type $type --model "$model" --out "$file" --quiet >/dev/null || exit 1
    row "llama.cpp/$type/t$threads/pp512" avg_ts "$bin/llama-bench" -m "$file" -t "$threads" -p 512 -n 0 -r 3 -o jsonl
    for many in 1 32; do
        row "llama.cpp/$type/t$threads/tg$many" speed_tg "$bin/llama-batched-bench" -m "$file" -t "$threads" -tb "$threads" \
            -c $((many * 128 + 512)) -npp 64 -ntg 64 -npl $many --output-format jsonl
    done
done
