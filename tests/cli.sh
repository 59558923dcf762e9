#!/bin/sh
# cli.sh HONE - the front of the program: help, version, wrong words, exit codes.
hone=$1
failed=0

expect() { # expect STATUS WORDS ARGUMENTS...: exit code, and words somewhere in what it prints
    want=$1 words=$2
    shift 2
    said=$("$hone" "$@" 2>&1)
    got=$?
    [ $got = "$want" ] && echo "$said" | grep -qF -e "$words" && return
    echo "FAILED: hone $*: exit $got, want $want, \"$words\"; it said: $said"
    failed=1
}

expect 2 'usage: hone COMMAND'
expect 0 'usage: hone COMMAND' help
expect 0 'usage: hone COMMAND' --help
expect 0 'libraries: jansson' --version
expect 0 'kernels: ' version
expect 0 'interrupted' help exit-codes
expect 0 'countdown: ' help tasks
expect 0 'rejection: ' help methods
expect 0 '(also --model_name_or_path)' help version
expect 0 '(also --model_name_or_path)' version --help
expect 2 'no command or topic is called "nonsense"' help nonsense
expect 2 'there is no command "versoin"; did you mean version?' versoin
expect 2 'there is no command "zzzzzz"; hone help lists them' zzzzzz
expect 2 'hone version: --modle: no such option here; did you mean --model' version --modle x
expect 2 '--threads: "two" is not a whole number' version --threads two
expect 2 'is not one of f32|bf16|auto' version --dtype f64
expect 1 '/nonexistent.yaml' version --config /nonexistent.yaml
expect 0 'kernels: ' version --model-name-or-path x --dataset-name y --output_dir z --seed 1 --threads 2 --dtype bf16 --quiet
for c in sft dpo grpo improve check data init convert doctor; do
    expect 2 "hone $c reads its weights as they are" $c --weights q8
done
expect 2 'is not one of full|q8|q4' generate --weights q5
config=$(mktemp) || exit 1
printf 'threads: 1\nbf17: true\n' >"$config"
expect 2 "$config:2: bf17: no such option" version --config "$config"
rm -f "$config"
HONE_TIER=c expect 0 'kernels: c' version
HONE_TIER=z80 expect 2 'HONE_TIER' version
"$hone" version >/dev/full 2>/dev/null && { echo "FAILED: a full disk went unseen"; failed=1; }

# every command of the list has a page, and the page repeats its line of the list
for c in $("$hone" help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
    case $c in help) continue ;; esac
    expect 0 "hone $c - " help "$c"
    expect 0 '--seed N' help "$c"
    expect 2 'no such option' "$c" --no-such-option-anywhere
done
[ $failed = 0 ] && echo ok
exit $failed
