#!/bin/sh
# demo.sh BUILD [OUT] - the base model gets better at its own work, decided by the gate, in a few minutes on two cores.
cd "$(dirname "$0")/.." || exit 1
out=${2:-$(mktemp -d /tmp/hone-demo-XXXXXX)/demo} || exit 1
echo "models/base is 2.5 million parameters, trained on arithmetic word problems (recipes/base/make.sh). It will now answer"
echo "problems, keep the answers that a verifier passes, learn from them, and be examined on problems it has never seen."
echo
exec "$1/hone" improve --model models/base --task arith --method rejection --out "$out" --store "$out.db" \
    --rounds 2 --prompts_per_round 400 --num_generations 8 --batch_size 64 --updates_per_round 30 \
    --learning_rate 1e-4 --lr_scheduler_type constant --max_completion_length 64 --gate_items 400 --test_items 400 --seed "${HONE_DEMO_SEED:-1}"
