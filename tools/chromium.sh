#!/bin/sh
# Makes sure that the browser tests find a Chromium; as root on Debian it installs one.
set -eu

has_one() { command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; }

has_one && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    echo 'Installing chromium …'
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null
fi
has_one && exit 0
echo 'The browser tests need Chromium: install it (Debian: apt-get install chromium) and try again.' >&2
exit 1
