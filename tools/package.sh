#!/bin/sh
# Makes sure that a program is installed; as root on Debian it installs the packages that have it, without starting services.
# Usage: package.sh PROGRAM 'what needs it' PACKAGE…
set -eu

PATH="$PATH:/usr/sbin"
policy=/usr/sbin/policy-rc.d
program="$1" user="$2"
shift 2

install() {
    export DEBIAN_FRONTEND=noninteractive
    echo "Installing $* …"
    if [ ! -e "$policy" ]; then  # See policy-rc.d(8): nginx would start a server on port 80.
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

command -v "$program" >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    install "$@"
fi
command -v "$program" >/dev/null && exit 0
echo "$user needs $program: install it (Debian: apt-get install $*) and try again." >&2
exit 1
