#!/bin/sh
# bench_trl.sh BUILD - the same supervised run in hone and in TRL's SFTTrainer: one small Llama, the same rows in the same
# order, batch, schedule and clipping, f32.  Rows: name ours rival ratio goal - the largest difference of the losses of the first
# 50 updates (goal: 1e-3 holds), tokens a second, peak memory; for text with prompt and completion, and for conversations of
# which the assistant's turns are learnt.  HONE_BENCH_TRL_PYTHON names a Python that has trl (default: build/.venv-bench, which
# gets it on first use).  Tokenizer and text: SmolLM2's and GSM8K where HONE_SHARED has them, else models/base and a task's rows.
build=$(cd "$1" && pwd)
threads=${BENCH_THREADS:-$(nproc)}
here=$(cd "$(dirname "$0")/.." && pwd)
shared=${HONE_SHARED:-$here/../shared}
python=${HONE_BENCH_TRL_PYTHON:-$build/.venv-bench/bin/python}
steps=50 batch=4 accumulation=2 lr=5e-4
rows=$((steps * batch * accumulation))
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
compare="$python $here/bench/rivals_trl.py"

if ! "$python" -c 'import trl' >/dev/null 2>&1 && [ -z "$HONE_BENCH_TRL_PYTHON" ]; then
    [ -x "$python" ] || python3 -m venv "$build/.venv-bench" >&2
    "$build/.venv-bench/bin/pip" install -q trl >&2
fi
if ! "$python" -c 'import trl' >/dev/null 2>&1; then
    echo "trl skipped: no trl (pip install trl failed or there is no python3)"
    exit 0
fi

cat > "$tmp/config.json" <<'J'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6,
 "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 32, "max_position_embeddings": 1024, "rms_norm_eps": 1e-5,
 "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true, "initializer_range": 0.02}
J
# ChatML that marks what the assistant writes, as TRL's assistant_only_loss asks; hone learns the same with and without the marks.
cat > "$tmp/chatml.jinja" <<'J'
{%- for m in messages -%}
{{- '<|im_start|>' + m.role + '\n' -}}
{%- if m.role == 'assistant' -%}
{%- generation -%}{{- m.content + '<|im_end|>' -}}{%- endgeneration -%}{{- '\n' -}}
{%- else -%}
{{- m.content + '<|im_end|>\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
J
tokenizer=$shared/data/tokenizers/smollm2 text=$shared/data/math/gsm8k_train.jsonl
[ -f "$tokenizer/tokenizer.json" ] || tokenizer=$here/models/base
if [ ! -f "$text" ]; then
    text=$tmp/rows.jsonl
    "$build/hone" data make --task arith --items $rows --out "$text" --quiet >/dev/null || exit 1
fi
"$build/hone" init --config "$tmp/config.json" --tokenizer "$tokenizer" --chat_template "$tmp/chatml.jinja" --out "$tmp/model" --quiet \
    >/dev/null || exit 1

status=0
ours() { # case: hone's run of it
    $compare data "$text" $1 $rows "$tmp/$1.jsonl" &&
        HONE_STORE=$tmp/$1.db $compare hone "$build/hone" "$tmp/$1.hone" --model "$tmp/model" --data "$tmp/$1.jsonl" \
            --threads "$threads" --max_steps $steps --per_device_train_batch_size $batch --gradient_accumulation_steps $accumulation \
            --learning_rate $lr --warmup_steps 10 --weight_decay 0.01 --train_sampling_strategy sequential --logging_steps 1 \
            --save_steps 0 --quiet --out "$tmp/$1"
}
theirs() { # case, loss_type of TRL, name of the rows
    [ -f "$tmp/$1.hone" ] || { echo "trl/$3/f32 failed: hone sft"; status=1; return; }
    if $compare trl "$tmp/model" "$tmp/$1.jsonl" $1 "$threads" $steps $batch $accumulation $lr $2 "$tmp/$3.trl" >"$tmp/log" 2>&1; then
        $compare rows "trl/$3/f32" "$tmp/$1.hone" "$tmp/$3.trl" 10 || status=1
    else
        echo "trl/$3/f32 failed: $(tail -n 1 "$tmp/log")"
        status=1
    fi
}
ours prompt
theirs prompt nll prompt
ours messages
theirs messages nll messages
theirs prompt chunked_nll prompt-chunked # the loss that does not keep all logits
exit $status
