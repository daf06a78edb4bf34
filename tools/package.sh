#!/bin/sh
# Makes sure that a test finds a program; as root on Debian it installs the package that has it.
# Usage: package.sh PROGRAM PACKAGE 'what needs it'
set -eu

command -v "$1" >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    echo "Installing $2 …"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$2" >/dev/null
fi
command -v "$1" >/dev/null && exit 0
echo "$3 needs $1: install it (Debian: apt-get install $2) and try again." >&2
exit 1
