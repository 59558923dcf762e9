#!/bin/sh
# demo.sh BUILD - the base model gets better at its own work, decided by the gate, in a few minutes on two cores.
cd "$(dirname "$0")/.." || exit 1
[ -d models/base ] || { echo "demo: models/base is not there: this tree has no base model yet"; exit 1; }
out=$(mktemp -d) || exit 1
"$1/hone" improve --model models/base --task arith --method grpo --rounds 3 --out "$out/demo" || exit
echo "the improved model and its receipts are in $out/demo; go on with"
echo "  $1/hone chat --model $out/demo"
echo "  $1/hone eval --model $out/demo --task arith"
