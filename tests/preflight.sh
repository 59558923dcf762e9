#!/bin/sh
# preflight.sh HONE SOURCE - hone doctor, --dry-run and hone data inspect: a fault that was planted is found and named, and
# looking leaves nothing behind.
hone=$(realpath "$1")
root=$(realpath "$2")
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
export HONE_STORE="$tmp/runs.db"
unset HONE_TIER NO_COLOR
cd "$tmp" || exit 1
. "$root/tests/steps.sh"

# says STATUS LINE COMMAND...: the exit code, and a line of what it prints (a pattern of grep)
says() {
    want=$1 line=$2
    shift 2
    said=$("$hone" "$@" 2>&1)
    got=$?
    [ $got = "$want" ] && printf '%s\n' "$said" | grep -q -e "$line" && return 0
    printf '%s\n' "hone $*: exit $got, want $want and \"$line\"; it said: $said"
    return 1
}
broken() { rm -rf t && cp -r m t; } # a model to break

cat >config.json <<'J'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 16, "intermediate_size": 32,
 "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "rms_norm_eps": 1e-5,
 "max_position_embeddings": 512, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true}
J
"$hone" data make --task arith --items 50 --text --out text --quiet >/dev/null &&
    "$hone" init --config config.json --train-tokenizer text --vocab 280 --out m --quiet >/dev/null &&
    "$hone" data make --task arith --items 20 --out rows.jsonl --quiet >/dev/null || exit 1
sed 's/"completion": *\("[^"]*"\)/"chosen": \1, "rejected": " #### 1"/' rows.jsonl >pairs.jsonl

begin doctor_of_the_machine
says 0 '^ok    processor   kernels' doctor && says 0 '^ok    threads     1; this process may run on' doctor --threads 1 &&
    says 0 '^ok    libraries   jansson' doctor && says 0 '^skip  model' doctor && says 0 '^warn  threads' doctor --threads 300 &&
    if "$hone" version | grep -q '^kernels: c'; then :; else
        HONE_TIER=c says 0 '^warn  processor .*the machine has .* -> unset HONE_TIER' doctor
    fi
end $?

begin doctor_of_a_sound_model
says 0 '^ok    weights     11 tensors' doctor --model m && says 0 '^ok    end of turn 2 <|im_end|>' doctor --model m &&
    says 0 '^ok    save        written, read back and equal' doctor --model m && says 0 ' 0 failed, 0 warnings$' doctor --model m --data rows.jsonl &&
    [ -z "$(ls -d .hone* 2>/dev/null)" ]
end $?

begin doctor_finds_what_is_broken
broken && echo '{"eos_token_id": 0}' >t/generation_config.json &&
    says 3 '^FAIL  end of turn an answer ends with 2 .*stops at 0 .* -> add the token' doctor --model t &&
    says 3 '^FAIL  end of text' doctor --model t && says 3 '^FAIL  ends        20 of 20 rows' doctor --model t --data rows.jsonl &&
    echo '{"eos_token_id": [2, 279]}' >t/generation_config.json && says 0 '^ok    vocabulary' doctor --model t &&
    broken && sed 's/"vocab_size": *280/"vocab_size": 300/' m/config.json >t/config.json &&
    says 3 '^FAIL  weights .*shape \[280, 16\], config.json asks for \[300, 16\]' doctor --model t &&
    echo '{"eos_token_id": 290}' >t/generation_config.json && says 3 '^FAIL  vocabulary  eos_token_id names id 290' doctor --model t &&
    sed 's/"vocab_size": *280/"vocab_size": 270/' m/config.json >t/config.json && rm t/generation_config.json &&
    says 3 '^FAIL  vocabulary  the tokenizer has ids up to 279, .* have 270 rows' doctor --model t &&
    broken && printf '{{ nothing.here.at.all }}' >t/chat_template.jinja && says 3 '^FAIL  template' doctor --model t &&
    broken && printf '{%% for m in messages %%}{{ m.content }}{%% endfor %%}' >t/chat_template.jinja && says 3 '^FAIL  end of turn' doctor --model t &&
    says 3 '^warn  template    two that differ: chat_template.jinja is used' doctor --model t &&
    broken && head -c 2000 m/model.safetensors >t/model.safetensors && says 3 '^FAIL  weights     t/model.safetensors' doctor --model t &&
    broken && rm t/tokenizer* && says 3 '^FAIL  tokenizer' doctor --model t && says 3 '^FAIL  config      nowhere' doctor --model nowhere
end $?

begin doctor_finds_two_begins
broken && sed 's/"eos_token":/"bos_token": "<|im_start|>", "eos_token":/' m/tokenizer_config.json >t/tokenizer_config.json &&
    says 0 '^ok    begin       <|im_start|>: the template writes it' doctor --model t &&
    sed 's/"post_processor": *null/"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}}}/' m/tokenizer.json >t/tokenizer.json &&
    says 0 '^warn  begin       the template writes <|im_start|> and the tokenizer adds one' doctor --model t &&
    printf '{"text": "Q: one"}\n{"text": "<|im_start|>Q: two"}\n{"text": "Q: three"}\n' >bos.jsonl &&
    refused 1 "1 of 3 rows (line 2) begin with two <|im_start|>" sft --model t --data bos.jsonl --out x &&
    says 0 'ok    data .*; 1 row begins with two' sft --model t --data bos.jsonl --allow_double_bos --dry_run --out x && mv t with_bos
end $?

begin a_model_that_fits_nowhere
mkdir big && cat >big/config.json <<'J'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,
 "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
 "rope_theta": 500000.0, "tie_word_embeddings": false}
J
for learner in sft dpo grpo; do
    says 3 '^FAIL  fits        does not fit: .* TB are needed' doctor --model big --learner $learner && says 3 '^  optimizer  *564 GB' doctor --model big --learner $learner || break
done
end $?

begin dry_runs_leave_nothing
ls -A >before
says 0 '^ok    schedule    9 updates, learning rate linear' sft --model m --data rows.jsonl --out x --dry_run &&
    says 0 '^ok    batch       20 rows, .* 8 rows an update, 3 updates an epoch' sft --model m --data rows.jsonl --out x --dry_run &&
    says 0 '^  reference  ' dpo --model m --data pairs.jsonl --out x --dry_run &&
    says 0 '^  key-value cache ' grpo --model m --task arith --max_steps 3 --max_completion_length 64 --out x --dry_run &&
    says 0 '^  activations .* one block at a time$' grpo --model m --task arith --max_steps 3 --max_completion_length 64 --gradient_checkpointing --out x --dry_run &&
    says 0 '^  activations .* one block at a time$' improve --model m --task arith --max_completion_length 64 --gradient_checkpointing --out x --dry_run &&
    says 0 '^  activations .* trained; one block at a time$' doctor --model m --gradient_checkpointing && says 0 '^  activations .* trained$' doctor --model m &&
    says 0 '^  kept for rollback ' improve --model m --task arith --max_completion_length 64 --out x --dry_run &&
    says 3 '^FAIL  prompts .* lower max_completion_length' grpo --model m --task arith --max_steps 3 --out x --dry_run &&
    says 3 '^FAIL  data        cannot open nowhere' sft --model m --data nowhere --out x --dry_run &&
    says 3 '^FAIL  disk        .*rows.jsonl is not a folder' sft --model m --data rows.jsonl --out rows.jsonl/x --dry_run &&
    says 3 '^FAIL  out         .*m holds config.json' sft --model m --data rows.jsonl --out m --dry_run &&
    says 2 'needed' grpo --model m --out x --dry_run && says 2 '--out is needed' sft --model m --data rows.jsonl --dry_run &&
    ls -A | cmp - before
end $?

begin the_table_is_the_peak
if [ "${HONE_SANITIZE:-none}" = none ]; then
sed 's/"vocab_size": *280/"vocab_size": 120000/; s/"hidden_size": *16/"hidden_size": 128/; s/"head_dim": *8/"head_dim": 64/' m/config.json >wide.json
"$hone" init --config wide.json --tokenizer m --out wide --quiet >/dev/null
run="sft --model wide --data rows.jsonl --max_steps 2 --save_steps 0 --out w"
table=$("$hone" $run --dry_run | sed -n 's/^  sum .*(\([0-9]*\) bytes)$/\1/p')
peak=$("$hone" $run 2>&1 | sed -n 's/^peak memory .*(\([0-9]*\) bytes)$/\1/p')
echo "table $table, peak $peak"
[ -n "$table" ] && [ -n "$peak" ] && [ "$peak" -le $((table / 100 * 105)) ] && [ "$peak" -ge $((table / 100 * 85)) ]
end $?
else
    skip "a sanitizer takes memory of its own"
fi

begin rows_as_tokens
printf '{"messages": [{"role": "user", "content": "one\\ntwo \\u001b[31m"}, {"role": "assistant", "content": "Yes."}]}\n{"messages": [{"role": "user", "content": "alone"}]}\n' >chat.jsonl
printf '{"prompt": "", "completion": "all"}\n{"prompt": "a", "completion": "b"}\n' >all.jsonl
says 0 '(:).*\[Step\]' data inspect --data rows.jsonl --model m && says 0 '\[<|im_end|>\$\]$' data inspect --data rows.jsonl --model m &&
    says 0 '^row 3 (line 3): ' data inspect --data rows.jsonl --model m --rows 1 --skip 2 &&
    says 0 '^  chosen:$' data inspect --data pairs.jsonl --model m && says 0 '  0 of 20 rows have more than max_length 1024' data inspect --data rows.jsonl --model m &&
    says 1 '  20 of 20 rows have more than max_length 20 tokens' data inspect --data rows.jsonl --model m --max_length 20 &&
    says 1 '(\\x1B)' data inspect --data chat.jsonl --model m && says 1 'row 2 (line 2): .*, 0 trained (0 %)  nothing is trained' data inspect --data chat.jsonl --model m &&
    says 1 '1 of 2 rows (line 2) have no token to train on' data inspect --data chat.jsonl --model m &&
    refused 1 "1 of 2 rows (line 2) have no token to train on" sft --model m --data chat.jsonl --out x &&
    says 0 'trained' data inspect --data chat.jsonl --model m --allow_untrained &&
    says 1 '1 of 2 rows (line 1) have a prompt or messages and would be trained on every token' data inspect --data all.jsonl --model m &&
    refused 1 "1 of 2 rows (line 1)" sft --model m --data all.jsonl --out x && says 0 '.' data inspect --data all.jsonl --model m --allow_all_trained &&
    says 0 '.' data inspect --data all.jsonl --model m --no_completion_only_loss &&
    says 1 'with two <|im_start|>' data inspect --data bos.jsonl --model with_bos && says 1 '^  (^<|im_start|>)\[^<|im_start|>\]' data inspect --data bos.jsonl --model with_bos &&
    says 2 'hone data make, or hone data inspect' data look && says 2 '--model is needed' data inspect --data rows.jsonl && [ ! -e x ]
end $?

begin colours_on_a_terminal_only
esc=$(printf '\033')
if command -v script >/dev/null; then
    inspect="$hone data inspect --data rows.jsonl --model m --rows 1"
    TERM=xterm script -qec "stty cols 80 && $inspect" typescript >seen </dev/null && grep -q "${esc}\[32m\[" seen && grep -q "${esc}\[1;35m\[<|im_end|>" seen &&
        TERM=xterm NO_COLOR=1 script -qec "$inspect" typescript >plain </dev/null && ! grep -q "$esc" plain &&
        TERM=dumb script -qec "$inspect" typescript >dumb </dev/null && ! grep -q "$esc" dumb && $inspect | { ! grep -q "$esc"; } &&
        TERM=xterm script -qec "stty cols 80 && $hone doctor --model m" typescript >seen </dev/null &&
        sed "s/${esc}\[[0-9;]*m//g" seen | tr -d '\r' | awk 'length > 80 { print "wider than the terminal: " $0; bad = 1 } END { exit bad }'
    end $?
else
    skip "no program called script"
fi

exit $failed
