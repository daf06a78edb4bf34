#!/bin/sh
# Makes a virtual environment with the newest Python installed, or the one named by PYTHON=…
# Usage: tools/venv.sh FOLDER. As root on Debian it installs the package that Python's venv needs there.
set -eu

oldest='3, 11'

is_new_enough() { "$1" -c "import sys; sys.exit(sys.version_info < ($oldest))" 2>/dev/null; }
can_make_one() { "$1" -c 'import venv, ensurepip' 2>/dev/null; }
fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

candidates="${PYTHON:-python3.13 python3.12 python3.11 python3}"
lacking=
for python in $candidates; do
    is_new_enough "$python" || continue
    if can_make_one "$python"; then
        exec "$python" -m venv --clear "$1"
    fi
    lacking="${lacking:-$python}"
done

[ -n "$lacking" ] || fail "Python 3.11 or newer is needed; none of these is: $candidates (PYTHON=/path/to/python make … chooses another)"

package="$("$lacking" -c 'import sys; print(f"python3.{sys.version_info[1]}-venv")')"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    echo "Installing $package …"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$package" >/dev/null
fi
can_make_one "$lacking" || fail "$lacking cannot make virtual environments; install the package $package"
exec "$lacking" -m venv --clear "$1"
