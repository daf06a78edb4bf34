#!/bin/sh
# Makes sure that a program is installed; as root on Debian it installs the packages that have it.
# Usage: package.sh PROGRAM 'what needs it' PACKAGE…
set -eu

program="$1" user="$2"
shift 2

command -v "$program" >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    echo "Installing $* …"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" >/dev/null
fi
command -v "$program" >/dev/null && exit 0
echo "$user needs $program: install it (Debian: apt-get install $*) and try again." >&2
exit 1
