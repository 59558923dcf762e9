#!/bin/sh
# e2e.sh HONE SOURCE - the program as its users run it, from nothing to an improved model, and what bad input gets.
hone=$(realpath "$1")
root=$(realpath "$2")
shared=$(realpath "${HONE_SHARED:-$root/../shared}" 2>/dev/null)
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
export HONE_STORE="$tmp/runs.db"
cd "$tmp" || exit 1
. "$root/tests/steps.sh"

cat >config.json <<'J'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32, "intermediate_size": 64,
 "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "rms_norm_eps": 1e-5,
 "max_position_embeddings": 256, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true, "initializer_range": 0.05,
 "my_own_key": {"kept": [1, 2]}}
J

begin init
"$hone" data make --task arith --items 200 --text --out text --quiet >/dev/null &&
    "$hone" init --config config.json --train-tokenizer text --vocab 300 --seed 3 --out m --quiet >/dev/null &&
    "$hone" init --config config.json --tokenizer m --seed 3 --out m2 --quiet >/dev/null &&
    cmp -s m/model.safetensors m2/model.safetensors && grep -q my_own_key m/config.json
end $?

# A template that is given is the only one of the model; of two that differ the file wins, with a warning.
begin init_template
printf 'Q{%% for m in messages %%}{{ m.content }}{%% endfor %%}' >q.jinja &&
    for from in "--train-tokenizer text --vocab 300" "--tokenizer m"; do
        rm -rf m3 && "$hone" init --config config.json $from --chat_template q.jinja --out m3 --quiet >/dev/null &&
            cmp -s q.jinja m3/chat_template.jinja && grep -q chat_template m/tokenizer_config.json &&
            ! grep -q chat_template m3/tokenizer_config.json && grep -q '"pad_token"' m3/tokenizer_config.json || break
        "$hone" generate --model m3 --chat --prompt x --max_new_tokens 1 2>&1 >/dev/null | grep -q "two chat templates" && break
        cp m/tokenizer_config.json m3/ &&
            "$hone" generate --model m3 --chat --prompt x --max_new_tokens 1 2>&1 >/dev/null | grep -q "two chat templates" || break
        rm m3/chat_template.jinja &&
            "$hone" generate --model m3 --chat --prompt x --max_new_tokens 1 2>&1 >/dev/null | grep -q "two chat templates" && break
        templates=$((${templates:-0} + 1))
    done
[ "$templates" = 2 ]
end $?

begin gguf_there_and_back
said() { "$hone" generate --model "$1" --prompt "Q: Tom has 3" --temperature 0 --max_new_tokens 40 --quiet; }
"$hone" convert --to gguf --model m --out m.gguf --quiet | grep -q "20 tensors in f32, 300 tokens (smollm); read again" &&
    "$hone" convert --from gguf --model m.gguf --out g --quiet | grep -q "in float32, 300 tokens (smollm)" &&
    [ "$(said m)" = "$(said g)" ] && "$hone" convert --to gguf --model g --out g.gguf --quiet >/dev/null &&
    [ "$(tail -c 90000 m.gguf | cksum)" = "$(tail -c 90000 g.gguf | cksum)" ] &&
    "$hone" convert --to gguf --type q8_0 --model m --out q.gguf --quiet >/dev/null &&
    [ "$(wc -c <q.gguf)" -lt "$(($(wc -c <m.gguf) / 2))" ] &&
    "$hone" convert --from gguf --model q.gguf --out q --quiet >/dev/null && said q >/dev/null &&
    head -c 30000 m.gguf >cut.gguf && refused 1 "truncated" convert --from gguf --model cut.gguf --out x &&
    [ ! -e x ] && refused 2 "no type named 'q4'" convert --to gguf --type q4 --model m --out x.gguf &&
    refused 2 "is a directory" convert --to gguf --model m --out m2 &&
    refused 2 "either --from or --to" convert --to gguf --from gguf --model m --out x &&
    refused 1 "does not begin with" convert --from gguf --model m/model.safetensors --out x
end $?

begin sft_saves_and_resumes
sft="--model m --task arith --train_items 30 --per_device_train_batch_size 5 --max_steps 6 --save_steps 2 --learning_rate 1e-3 --max_length 256 --quiet"
"$hone" sft $sft --out a >/dev/null && "$hone" sft $sft --out b >/dev/null &&
    cmp -s a/model.safetensors b/model.safetensors && [ -f a/checkpoint-6/optimizer.safetensors ] &&
    refused 1 "already holds a run" sft $sft --out a &&
    "$hone" sft $sft --out a --resume >/dev/null && cmp -s a/model.safetensors b/model.safetensors &&
    refused 1 "learning_rate" sft $sft --learning_rate 2e-3 --out a --resume
end $?

begin save_bf16_is_the_rounded_model
"$hone" sft $sft --out c --save_dtype bf16 >/dev/null && grep -q bfloat16 c/config.json && grep -q my_own_key c/config.json &&
    [ "$(wc -c <c/model.safetensors)" -lt "$(($(wc -c <a/model.safetensors) * 6 / 10))" ] &&
    "$hone" score --model c --text "Q: Tom has 3" --quiet | grep -q '"logprobs"'
end $?

begin data_rows_train
"$hone" data make --task arith --items 20 --out rows.jsonl --quiet >/dev/null &&
    "$hone" sft --model m --data rows.jsonl --out d --max_steps 2 --quiet >/dev/null &&
    "$hone" sft --config /dev/stdin --out y --quiet <<'Y' >/dev/null
model_name_or_path: m
dataset_name: rows.jsonl
max_steps: 2
learning_rate: 1.0e-4
Y
end $?

# In the order of the file: the first rows are the first update, and the second epoch is like the first.
begin sft_in_order
order() { rm -rf o_$1 && "$hone" sft --model m --data $2 --out o_$1 --per_device_train_batch_size 5 --max_steps $3 --save_steps 0 \
    --learning_rate 1e-3 --train_sampling_strategy ${4:-sequential} --quiet >/dev/null; }
head -n 5 rows.jsonl >five.jsonl && head -n 10 rows.jsonl >ten.jsonl && cat ten.jsonl ten.jsonl >twice.jsonl &&
    order a rows.jsonl 1 && order b five.jsonl 1 && cmp -s o_a/model.safetensors o_b/model.safetensors &&
    order c ten.jsonl 4 && order d twice.jsonl 4 && cmp -s o_c/model.safetensors o_d/model.safetensors &&
    order e rows.jsonl 1 random && ! cmp -s o_a/model.safetensors o_e/model.safetensors
end $?

begin dpo_and_grpo_run
sed 's/"completion": \("[^"]*"\)/"chosen": \1, "rejected": " #### 1"/; s/"completion":\("[^"]*"\)/"chosen":\1,"rejected":" #### 1"/' rows.jsonl >pairs.jsonl
"$hone" dpo --model m --data pairs.jsonl --out e --max_steps 2 --per_device_train_batch_size 4 --quiet >/dev/null &&
    "$hone" grpo --model m --task arith --out f --max_steps 2 --per_device_train_batch_size 8 --num_generations 4 \
        --max_completion_length 16 --quiet >/dev/null
end $?

begin generate_resumes
printf '{"prompt": "Q: one"}\n{"prompt": "Q: two", "id": 7}\n{"prompt": "Q: three"}\n' >p.jsonl
gen="--model m --data p.jsonl --max-new-tokens 8 --n 2 --quiet"
"$hone" generate $gen --out g1 >/dev/null && head -n 1 g1 >g2 && printf '{"prompt": "Q: tw' >>g2 &&
    "$hone" generate $gen --out g2 >/dev/null && cmp -s g1 g2 && [ "$(wc -l <g1)" = 3 ] && grep -q '"id":7' g1
end $?

begin improve_leaves_receipts_and_rolls_back
"$hone" improve --model m --task arith --method rejection --rounds 1 --out i --prompts_per_round 8 --num_generations 2 --updates_per_round 2 \
    --gate_items 10 --test_items 10 --max_completion_length 16 --quiet >/dev/null &&
    grep -q McNemar i/round-1/receipt.json && grep -q '"before"' i/receipt.json && [ "$(wc -l <i/round-1/data.jsonl)" = 16 ] &&
    refused 1 "no accepted round" improve --rollback --out i &&
    "$hone" improve --rollback --to_round 0 --out i --quiet | grep -q "as it was given"
end $?

few_bits() {
    "$hone" generate $gen --out $1.1 --weights $1 --threads 1 --batch 1 >/dev/null &&
        "$hone" generate $gen --out $1.2 --weights $1 --threads 3 --slots 2 >/dev/null && [ -s $1.1 ] &&
        cmp $1.1 $1.2 && "$hone" eval --model m --task arith --items 5 --max_new_tokens 20 --weights $1 --quiet | grep -q Wilson
}
begin few_bits_answer_alike_on_any_number_of_threads
few_bits q8 && few_bits q4 && ! cmp -s q8.1 q4.1
end $?

begin runs_are_recorded
"$hone" runs list --quiet | grep -q "improve   done" && "$hone" runs show 1 --quiet | grep -q learning_rate && "$hone" runs compare 1 2 --quiet | grep -q "last values"
end $?

begin invariants_hold
"$hone" check onpolicy --model m --prompts 3 --num_generations 3 --max_new_tokens 40 --quiet >/dev/null &&
    "$hone" check packing --model m --prompts 4 --num_generations 3 --max_new_tokens 40 --quiet >/dev/null
end $?

begin resume_is_exact
"$hone" check resume --model m --trials 1 --kills 2 --quiet
end $?

begin base_model_improves_through_the_gate
if [ -d "$root/models/base" ]; then
    "$hone" improve --model "$root/models/base" --task arith --method rejection --rounds 1 --out base --prompts_per_round 100 --num_generations 8 \
        --updates_per_round 10 --learning_rate 1e-4 --lr_scheduler_type constant --max_completion_length 64 --gate_items 200 --test_items 50 \
        --seed 1 --quiet >/dev/null && grep -q '"accepted": true' base/round-1/receipt.json && [ -f base/model/model.safetensors ] &&
        "$hone" improve --rollback --out base --quiet | grep -q "as it was given"
    end $?
else
    skip "no models/base"
fi

# ---- what bad input gets ----
begin bad_options
refused 2 "did you mean --learning_rate" sft --model m --learning_rat 1 --out x &&
    refused 2 "--model is needed" eval --task arith && refused 2 "did you mean" improve --model m --task arth --out x &&
    refused 2 "no method named" improve --model m --task arith --method reject --out x && [ ! -e x ]
end $?

begin bad_model
mkdir t && cp m/* t/ && head -c 3000 m/model.safetensors >t/model.safetensors && refused 1 "t/model.safetensors" score --model t --ids 1,2 &&
    sed 's/LlamaForCausalLM/FooForCausalLM/; s/"model_type": *"llama"/"model_type": "foo"/' m/config.json >t/config.json && cp m/model.safetensors t/ &&
    refused 1 "foo" score --model t --ids 1,2 && refused 1 "nowhere" score --model nowhere --ids 1,2 &&
    sed 's/"hidden_size": *32/"hidden_size": 48/' m/config.json >t/config.json && refused 1 "model.embed_tokens.weight" score --model t --ids 1,2 &&
    refused 1 "outside" score --model m --ids 1,99999
end $?

begin bad_rows
{ for i in 1 2 3 4 5 6; do echo '{"prompt": "a", "completion": "b"}'; done; echo '{"prompt": "a", "completion": '; } >bad.jsonl
refused 1 "line 7" sft --model m --data bad.jsonl --out x && : >empty.jsonl && refused 1 "empty.jsonl" sft --model m --data empty.jsonl --out x &&
    awk 'BEGIN { printf "{\"text\": \""; for (i = 0; i < 3000; i++) printf "apples "; print "\"}" }' >long.jsonl &&
    refused 1 "--overlong" sft --model m --data long.jsonl --max_length 64 --out x && [ ! -e x ] &&
    "$hone" sft --model m --data long.jsonl --max_length 64 --overlong truncate --max_steps 1 --out x2 --quiet >/dev/null
end $?

begin nan_loss_stops_and_keeps_the_weights
"$hone" sft --model m --task arith --train_items 8 --max_steps 30 --learning_rate 10 --max_grad_norm 0 --lr_scheduler_type constant --save_steps 0 --out n --quiet >/dev/null 2>n.txt
[ $? = 1 ] && grep -q "not changed" n.txt && ls n/broken-step-*.json >/dev/null && [ ! -e n/model.safetensors ]
end $?

begin ctrl_c_saves
"$hone" sft --model m --task arith --train_items 100 --max_steps 100000 --out k --quiet >/dev/null 2>k.txt &
pid=$!
while [ ! -e k/run.json ]; do sleep 0.05; kill -0 $pid 2>/dev/null || break; done
sleep 0.3
kill -INT $pid
wait $pid
[ $? = 130 ] && grep -q "a checkpoint holds it" k.txt && ls k/checkpoint-*/trainer_state.json >/dev/null
end $?

# The template's message shows what reached it.
begin template_options
rm -rf t && cp -r "$root/models/base" t && rm -f t/chat_template.jinja &&
    echo '{{ raise_exception(strftime_now("%d.%m.%Y") ~ " " ~ enable_thinking ~ " " ~ (tools or []) | length) }}' >t/chat_template.jinja &&
    refused 1 "26.07.2024 False 0" generate --model t --chat --prompt x --template_date 2024-07-26 \
        --chat_template_kwargs '{"enable_thinking": false}' &&
    echo '{"prompt": [{"role": "user", "content": "x"}], "tools": [{"name": "f"}], "chat_template_kwargs": {"enable_thinking": true}}' >p.jsonl &&
    refused 1 "26.07.2024 True 1" generate --model t --data p.jsonl --out p.out --template_date 2024-07-26 \
        --chat_template_kwargs '{"enable_thinking": false}' &&
    echo '{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}], "chat_template_kwargs": {"enable_thinking": 7}}' >q.jsonl &&
    refused 1 "26.07.2024 7 0" sft --model t --data q.jsonl --out q --template_date 2024-07-26 &&
    refused 1 "pin a date" generate --model t --chat --prompt x &&
    refused 1 "template_date" generate --model t --chat --prompt x --template_date today &&
    refused 1 "chat_template_kwargs" generate --model t --chat --prompt x --chat_template_kwargs '[]'
end $?

# ---- real files, when they are beside the project ----
begin stories260K_to_the_letter
if [ -n "$shared" ] && [ -d "$shared/data/weights/stories260K" ]; then
    s=$shared/data/weights/stories260K
    "$hone" convert --from llama2c --model "$s/stories260K.bin" --tokenizer "$s/tok512.bin" --out st --quiet >/dev/null &&
        "$hone" generate --model st --prompt "" --temperature 0 --max-new-tokens 200 --quiet >story &&
        head -c "$(wc -c <"$s/expected_greedy_200.txt")" story | cmp -s - "$s/expected_greedy_200.txt" &&
        [ "$(wc -c <story)" = "$(($(wc -c <"$s/expected_greedy_200.txt") + 1))" ]
    end $?
else
    skip "no shared data beside the project (set HONE_SHARED)"
fi

exit $failed
