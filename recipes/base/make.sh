#!/bin/sh
# make.sh HONE OUT - rebuilds models/base: a transformer of 2.5 million parameters that knows arithmetic word problems and
# countdown, from nothing but the tasks' own generators, in about ten minutes on two cores with AMX (an hour without).
#
# Its training text is mixed on purpose, as text in the world is: about half of the answers show their steps, the others
# only the result.  The model learns both habits; which of them is right more often is left for it to find out.
set -e
hone=$1 out=$2
here=$(dirname "$0")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

for task in arith countdown; do
    "$hone" data make --task $task --items 20000 --text --out "$tmp/$task.txt" --quiet
    cat "$tmp/$task.txt" >>"$tmp/text"
done
"$hone" init --config "$here/config.json" --train-tokenizer "$tmp/text" --vocab 512 \
    --chat-template "$here/chat_template.jinja" --seed 42 --out "$tmp/init"

rows() { # task, items, first item, options
    task=$1 items=$2 from=$3
    shift 3
    "$hone" data make --task "$task" --items "$items" --from "$from" --out "$tmp/rows" --quiet "$@"
    cat "$tmp/rows" >>"$tmp/mix.jsonl"
}
two="--task_min_steps 2 --task_max_steps 2"
three="--task_min_steps 3 --task_max_steps 3"
rows arith 20000 0 $two
rows arith 32000 20000 $two --answer_only
rows arith 35000 0 $three
rows arith 20000 35000 $three --answer_only
rows countdown 40000 0
rows countdown 38000 40000 --answer_only

"$hone" sft --model "$tmp/init" --data "$tmp/mix.jsonl" --out "$tmp/run" --store "$tmp/runs.db" --dtype auto --save_dtype bf16 \
    --per_device_train_batch_size 64 --num_train_epochs 1 --learning_rate 3e-3 --lr_scheduler_type cosine --warmup_steps 100 \
    --weight_decay 0.05 --adam_beta2 0.98 --no_completion_only_loss --save_steps 0 --seed 42
mkdir -p "$out"
for f in config.json generation_config.json model.safetensors tokenizer.json tokenizer_config.json chat_template.jinja; do
    [ ! -f "$tmp/run/$f" ] || cp "$tmp/run/$f" "$out/"
done
for task in arith countdown; do "$hone" eval --model "$out" --task $task --items 1000 --max_new_tokens 80 --quiet; done
