#!/bin/sh
# Makes sure that the test of a power cut finds strace; as root on Debian it installs it.
set -eu

command -v strace >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    echo 'Installing strace …'
    apt-get update -qq && apt-get install -y -qq --no-install-recommends strace >/dev/null
fi
command -v strace >/dev/null && exit 0
echo 'The test of a power cut needs strace: install it (Debian: apt-get install strace) and try again.' >&2
exit 1
