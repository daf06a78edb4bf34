#!/bin/sh
# Makes sure that the tests find their browsers: Chromium, Firefox ESR, and WebKitGTK's MiniBrowser with its driver and a screen.
# As root on Debian it installs what is missing. chromium-headless-shell, which is optional, is Chromium without windows: tests
# are several times as fast in it, except those of the back/forward cache, which it lacks.
set -eu

has() { command -v "$1" >/dev/null; }
has_any() { for name; do ! has "$name" || return 0; done; return 1; }

missing=
has_any chromium chromium-browser google-chrome || missing="$missing chromium"
has_any firefox-esr firefox || missing="$missing firefox-esr"
has WebKitWebDriver || missing="$missing webkit2gtk-driver"
has Xvfb || missing="$missing xvfb"
optional=
has chromium-headless-shell || optional=chromium-headless-shell

if [ -n "$missing$optional" ] && [ "$(id -u)" = 0 ] && has apt-get; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    for package in $missing $optional; do
        echo "Installing $package …"
        apt-get install -y -qq --no-install-recommends "$package" >/dev/null || [ "$package" = "$optional" ]
    done
    exit 0
fi
[ -z "$missing" ] && exit 0
echo "The browser tests need Chromium, Firefox and WebKitGTK. Install what is missing and try again: apt-get install$missing" >&2
exit 1
