#!/bin/sh
# abuse.sh HONE SOURCE - what hostile and hurried use of the program gets: a message, a code, nothing half-written.
hone=$(realpath "$1")
root=$(realpath "$2")
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
export HONE_STORE="$tmp/runs.db"
cd "$tmp" || exit 1
. "$root/tests/steps.sh"

cat >config.json <<'J'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 16, "intermediate_size": 32,
 "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "rms_norm_eps": 1e-5,
 "max_position_embeddings": 256, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true}
J
"$hone" data make --task arith --items 50 --text --out text --quiet >/dev/null &&
    "$hone" init --config config.json --train-tokenizer text --vocab 280 --out m --quiet >/dev/null &&
    "$hone" data make --task arith --items 20 --out rows.jsonl --quiet >/dev/null || exit 1
sft="sft --model m --data rows.jsonl --max_steps 2"

begin words_that_mean_nothing
refused 2 '"stray" is neither' $sft --out x stray && refused 2 '"foo" is neither' version foo && refused 2 "one too many" help sft dpo &&
    refused 2 "--out is needed" $sft --out "" && refused 2 "--model is needed" score --model "" --ids 1 &&
    refused 2 "is not the number of a run" runs show 99999999999999999999 && [ ! -e x ]
end $?

begin looking_makes_no_store
HONE_STORE=none.db refused 1 "no run store yet" runs list && [ ! -e none.db ]
end $?

begin a_model_is_not_overwritten_by_a_run
cp -r m keep && refused 1 "m holds config.json" $sft --out m && diff -r m keep >/dev/null && mkdir own && echo mine >own/tokenizer.json &&
    refused 1 "own holds tokenizer.json" improve --model m --task arith --out own && [ "$(cat own/tokenizer.json)" = mine ] && [ ! -e own/run.json ] &&
    : >plain && refused 1 "plain: File exists; something else" $sft --out plain
end $?

begin one_run_a_folder
"$hone" $sft --max_steps 100000 --save_steps 0 --out one --quiet >/dev/null 2>&1 &
pid=$!
while [ ! -e one/run.json ]; do sleep 0.02; kill -0 $pid 2>/dev/null || break; done
refused 1 "another run is at work there" $sft --out one &&
    refused 1 "another run is at work there" $sft --out one --resume && refused 1 "another run is at work there" improve --rollback --out one
status=$?
kill -9 $pid
wait $pid 2>/dev/null
[ $status = 0 ] && refused 1 "already holds a run" $sft --out one && "$hone" $sft --out one --resume --quiet >/dev/null
end $?

begin a_run_that_never_began_leaves_its_folder_free
grpo="grpo --model m --task arith --max_steps 1 --per_device_train_batch_size 2 --num_generations 2"
refused 1 "--max_completion_length 512 exceed" $grpo --out g && [ ! -e g ] && mkdir g && refused 1 "exceed" $grpo --out g && [ -d g ] && [ ! -e g/run.json ] &&
    "$hone" $grpo --max_completion_length 4 --out g --quiet >/dev/null &&
    refused 1 "exceed" improve --model m --task arith --max_completion_length 256 --out h && [ ! -e h ] &&
    refused 1 "no/such/x.db" $sft --out h --store no/such/x.db && [ ! -e h ] && "$hone" runs list --quiet | grep -q "grpo      failed"
end $?

begin places_that_cannot_be_written
refused 1 "/dev/full is not a regular file" generate --model m --data rows.jsonl --out /dev/full &&
    refused 1 "cannot create nowhere/x" eval --model m --task arith --items 1000000 --max-new-tokens 8 --out nowhere/x &&
    refused 1 "--max_new_tokens 300 exceed" eval --model m --task arith --items 1 --max-new-tokens 300 --out e && [ ! -e e ] && [ ! -e e.hone-part ] &&
    "$hone" eval --model m --task arith --items 3 --max-new-tokens 4 --out e --quiet >/dev/null && [ "$(wc -l <e)" = 3 ] &&
    refused 1 "full" data make --task arith --items 3 --out /dev/full
[ $? = 0 ] && for c in version "runs list" "score --model m --ids 1,2" help; do "$hone" $c >/dev/full 2>said; [ $? = 1 ] && grep -q "cannot write standard output" said || break; c=; done
[ -z "$c" ]
end $?

begin a_damaged_checkpoint_says_what_to_do
"$hone" $sft --save_steps 1 --out d --quiet >/dev/null && cp -r d d2 && : >d/checkpoint-2/trainer_state.json &&
    refused 1 "d/checkpoint-2 cannot be gone on from" $sft --save_steps 1 --out d --resume && rm -r d/checkpoint-2 &&
    "$hone" $sft --save_steps 1 --out d --resume --quiet >/dev/null && cmp -s d/model.safetensors d2/model.safetensors
end $?

begin gradient_checkpointing_changes_no_byte
"$hone" $sft --save_steps 1 --out k --gradient_checkpointing --quiet >/dev/null && cmp -s k/model.safetensors d2/model.safetensors &&
    rm -r k/checkpoint-2 && "$hone" $sft --save_steps 1 --out k --resume --quiet >/dev/null && cmp -s k/model.safetensors d2/model.safetensors &&
    cmp -s k/checkpoint-2/optimizer.safetensors d2/checkpoint-2/optimizer.safetensors &&
    for c in generate eval score chat "check packing" "data make"; do refused 2 "gradient_checkpointing" $c --model m --gradient_checkpointing || break; c=; done
[ $? = 0 ] && [ -z "$c" ]
end $?

begin options_that_would_do_nothing_are_refused
grpo="grpo --model m --task arith --max_steps 1 --per_device_train_batch_size 2 --max_completion_length 4"
refused 2 "the answer to --prompt is printed" generate --model m --prompt x --max_new_tokens 4 --out y && [ ! -e y ] &&
    refused 2 "--num_generations: 1 is out of range" $grpo --num_generations 1 --out y && refused 2 "--eval_steps needs --task" $sft --eval_steps 1 --out y &&
    refused 2 "--type is for --to gguf" convert --from gguf --type f16 --model m.gguf --out y && [ ! -e y ]
end $?

begin improve_goes_on_on_the_same_kernels
improve="improve --model m --task arith --rounds 1 --updates_per_round 1 --prompts_per_round 2 --num_generations 2 --gate_items 10 --test_items 10 --max_completion_length 4"
if "$hone" version | grep -q '^kernels: c'; then
    skip "no other kernels here"
else
    "$hone" $improve --out kernels --quiet >/dev/null && HONE_TIER=c refused 1 "Set HONE_TIER=" $improve --out kernels --resume && "$hone" $improve --out kernels --resume --quiet >/dev/null
    end $?
fi

begin an_empty_text_trains_no_tokenizer
: >none && refused 1 "none is empty" init --config config.json --train-tokenizer none --out i && [ ! -e i ] &&
    "$hone" init --config config.json --train-tokenizer text --vocab 9000 --out i 2>&1 >/dev/null | grep -q "of 9000 ids"
end $?

exit $failed
