#!/bin/sh
# Makes sure that the tests behind a proxy find nginx; as root on Debian it installs it, without starting it.
set -eu

PATH="$PATH:/usr/sbin"
policy=/usr/sbin/policy-rc.d

install() {
    export DEBIAN_FRONTEND=noninteractive
    echo 'Installing nginx …'
    if [ ! -e "$policy" ]; then  # See policy-rc.d(8): the package would start a server on port 80.
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light >/dev/null
}

command -v nginx >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    install
fi
command -v nginx >/dev/null && exit 0
echo 'The tests behind a proxy need nginx: install it (Debian: apt-get install nginx-light) and try again.' >&2
exit 1
