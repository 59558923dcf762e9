#!/bin/sh
# setup.sh - tools/setup.sh on a pretended machine: everything there, no right to install, sudo, old package lists.
# usage: setup.sh SOURCE_ROOT
tree=$(mktemp -d) || exit 1
trap 'rm -rf "$tree"' EXIT
failed=0
mkdir "$tree/tools"
cp "$1/tools/setup.sh" "$tree/tools/"
printf '%s\n' '# what there is, then what is missing' 'there cmd:dirname' 'libwant-dev cmd:want a note' \
    'libzip-dev pc:hone-no-such-thing' >"$tree/tools/packages"

program() { # program NAME BODY
    printf '#!/bin/sh\n%s\n' "$2" >"$tree/bin/$1"
    chmod +x "$tree/bin/$1"
}
machine() { # machine USER_ID: has what setup.sh itself needs, and apt-get that brings what it is told to
    rm -rf "$tree/bin" "$tree/did"
    mkdir "$tree/bin"
    for p in dirname env sh chmod; do ln -s "$(command -v $p)" "$tree/bin/$p"; done
    program true :
    program id "echo $1"
    program pkg-config "[ -e '$tree/bin/libzip' ]"
    # shellcheck disable=SC2016
    program apt-get 'echo "${BY-}apt-get $*" >>"'"$tree"'/did"
case $1 in install) : >"'"$tree"'/bin/want"; : >"'"$tree"'/bin/libzip"; chmod +x "'"$tree"'/bin/want" ;; esac'
}
expect() { # expect STATUS DID SAID: how it ends, what apt-get was asked for, words it must say
    said=$(PATH=$tree/bin /bin/sh "$tree/tools/setup.sh" 2>&1)
    got=$?
    did=$(cat "$tree/did" 2>/dev/null | tr '\n' ';')
    [ $got = "$1" ] && [ "$did" = "$2" ] && case $said in *"$3"*) return ;; esac
    echo "FAILED: ended with $got, did '$did', said: $said (wanted $1, '$2', '$3')"
    failed=1
}
install='apt-get install -y --no-install-recommends libwant-dev libzip-dev'
by_hand="sudo apt-get update && sudo $install"

machine 1000 # everything is there: nothing is said or done
: >"$tree/bin/libzip"
program want true
expect 0 '' ''
[ -z "$said" ] || { echo "FAILED: nothing is missing, and yet: $said"; failed=1; }

machine 1000 # no sudo
expect 1 '' "$by_hand"
program sudo 'exit 1' # sudo wants a password
expect 1 '' "$by_hand"
# shellcheck disable=SC2016
program sudo 'shift; BY=sudo: exec "$@"' # sudo without one
expect 0 "sudo:$install;" 'installing libwant-dev libzip-dev'

machine 0
expect 0 "$install;" 'installing'
machine 0 # package lists too old: they are fetched, and again
# shellcheck disable=SC2016
program apt-get-new "$(sed 1d "$tree/bin/apt-get")"
# shellcheck disable=SC2016
program apt-get 'case $1 in update) mv "'"$tree"'/bin/apt-get-new" "$0" ;; esac; echo "old $1" >>"'"$tree"'/did"; [ $1 = update ]'
ln -s "$(command -v mv)" "$tree/bin/mv"
expect 0 "old install;old update;$install;" 'installing'
machine 0 # installed what does not help
program apt-get 'exit 0'
expect 1 '' 'still not found: libwant-dev libzip-dev'
program apt-get 'exit 1'
expect 1 '' 'could not install: libwant-dev libzip-dev'
rm "$tree/bin/apt-get" # another system
expect 1 '' 'names of the Debian packages): libwant-dev libzip-dev'

[ $failed = 0 ] && echo ok
exit $failed
