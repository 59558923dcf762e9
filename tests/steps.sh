# steps.sh - what the shell tests share; they read it after $hone is set.  A line a check, as cmocka prints it,
# so that each is counted.  `failed` is the exit code at the end.
failed=0

begin() { name=$1; echo "[ RUN      ] $name"; }
end() { # status: 0 is well
    if [ "$1" = 0 ]; then echo "[       OK ] $name"; else echo "[  FAILED  ] $name"; failed=1; fi
}
skip() { echo "[  SKIPPED ] $name"; echo "skipped: $1"; }
# refused STATUS WORDS COMMAND...: the exit code, and words somewhere in the message
refused() {
    want=$1 words=$2
    shift 2
    said=$("$hone" "$@" --quiet 2>&1)
    got=$?
    [ $got = "$want" ] && echo "$said" | grep -qF -e "$words" && return 0
    echo "hone $*: exit $got, want $want and \"$words\"; it said: $said"
    return 1
}
