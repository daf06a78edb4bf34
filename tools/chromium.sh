#!/bin/sh
# Makes sure that the browser tests find a Chromium; as root on Debian it installs one. Beside it, where it is to be had, its shell
# without windows: the same browser, several times as fast to drive, but without a back/forward cache.
set -eu

has() { command -v "$1" >/dev/null; }
any() { has chromium || has chromium-browser || has google-chrome; }

install() {
    export DEBIAN_FRONTEND=noninteractive
    echo "Installing $1 …"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}

if [ "$(id -u)" = 0 ] && has apt-get; then
    any || install chromium
    has chromium-headless-shell || install chromium-headless-shell || echo 'Without it, then: the browser tests take longer.'
fi
any && exit 0
echo 'The browser tests need Chromium: install it (Debian: apt-get install chromium) and try again.' >&2
exit 1
