#!/bin/sh
# Makes sure that the browser tests find a Chromium; as root on Debian it installs one. The shell without windows is the same
# browser and several times as fast to drive; where it is not to be had, any Chromium does.
set -eu

fast() { command -v chromium-headless-shell >/dev/null; }
any() { command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; }

install() {
    export DEBIAN_FRONTEND=noninteractive
    echo "Installing $1 …"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}

fast && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    install chromium-headless-shell || any || install chromium
fi
fast || any && exit 0
echo 'The browser tests need Chromium: install it (Debian: apt-get install chromium-headless-shell) and try again.' >&2
exit 1
