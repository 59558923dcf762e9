#!/bin/sh
# setup.sh - installs what tools/packages lists and this machine lacks; without the right to install, says how.
set -u
here=$(dirname "$0")

have() { # have KIND:NAME
    case $1 in
    cmd:*) command -v "${1#cmd:}" ;;
    pc:*) pkg-config --exists "${1#pc:}" ;;
    hdr:*) echo "#include <${1#hdr:}>" | cc -E - ;;
    esac >/dev/null 2>&1
}

missing() {
    while read -r package probe _; do
        case $package in '' | '#'*) continue ;; esac
        have "$probe" || printf ' %s' "$package"
    done <"$here/packages"
}

need=$(missing)
[ -z "$need" ] && exit 0

install="apt-get install -y --no-install-recommends$need"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "setup: missing (names of the Debian packages):$need" >&2
    echo "setup: install them, or what your system calls them, and run make again" >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    as_root="env DEBIAN_FRONTEND=noninteractive"
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root="sudo -n env DEBIAN_FRONTEND=noninteractive"
else
    echo "setup: missing packages; run this once, then make again:" >&2
    echo "  sudo apt-get update && sudo $install" >&2
    exit 1
fi

echo "setup: installing$need"
# package lists may be absent or too old to download by: a second try fetches them first
$as_root $install || { $as_root apt-get update && $as_root $install; } || {
    echo "setup: apt-get could not install:$need" >&2
    exit 1
}
need=$(missing)
if [ -n "$need" ]; then
    echo "setup: installed, but still not found:$need" >&2
    exit 1
fi
