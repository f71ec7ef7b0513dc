# Sourced by demo and test: makes ready what they need, in a virtual environment in the checkout.
# Says which Debian package is missing where it may not install it itself.

here=$(cd "$(dirname "$0")/.." && pwd -P)
environment="$here/.venv"

refuse() { echo "$(basename "$0"): $*" >&2; exit 1; }

is_there() {    # is_there PROGRAM: also where an ordinary user's $PATH does not look
    PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1
}

need_packages() {    # need_packages PACKAGE...: install Debian packages, as root; else say which
    [ $# -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        refuse "missing: $*; as root: apt-get install $*"
    fi
    echo "installing $*"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@"; } >/dev/null 2>&1 ||
        refuse "apt-get could not install $*"
}

missing_of() {    # missing_of PACKAGE...: print those that are not installed
    for package; do
        dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null |
            grep -q '^install ok' || echo "$package"
    done
}

# The user's own python3, unless it is too old, or was built without some of its modules: then
# Debian's.
choose_python() {
    newest=""
    for python in python3 /usr/bin/python3; do
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        newest=$python
        ! "$python" -c 'import ctypes, curses, ensurepip, sqlite3, ssl, venv' 2>/dev/null || return 0
    done
    [ -n "$newest" ] || refuse "no python3 of 3.11 or later is installed"
    return 1
}

# What another user made in the checkout, root say, cannot be made anew.
for made in .venv demo rhubarbe.egg-info build; do
    if [ -e "$here/$made" ] && [ ! -w "$here/$made" ]; then
        refuse "$here/$made is not yours; as root: rm -r $here/$made"
    fi
done

missing=""
choose_python || missing="$missing python3-venv"
is_there mke2fs && is_there debugfs || missing="$missing e2fsprogs"
# shellcheck disable=SC2086
need_packages $missing
choose_python || refuse "no python3 has all of its modules: ctypes, curses, ensurepip, sqlite3, ssl"

# "compat", for a plain path: a finder of modules would cost each start of Python 25 ms more.
prepare() {    # prepare EXTRA: make the environment, unless it is there and up to date
    stamp="$environment/installed$1"
    # One that was cut short, whose python3 is gone, or whose checkout was moved, is made anew.
    { "$environment/bin/python" -c 'import pip' &&
        grep -qF -- "-m venv $environment" "$environment/pyvenv.cfg"; } 2>/dev/null ||
        { rm -rf "$environment" && "$python" -m venv "$environment"; }
    if [ ! -e "$stamp" ] || [ "$here/setup.py" -nt "$stamp" ] ||
        [ -n "$(find "$here/bin" -newer "$stamp")" ]; then
        echo "installing rhubarbe$1 into $environment"
        "$environment/bin/pip" install --quiet --disable-pip-version-check \
            --config-settings editable_mode=compat --editable "$here$1"
        touch "$stamp"
    fi
    # Else each of many processes would compile again what it runs.
    unset PYTHONDONTWRITEBYTECODE
    PATH="$environment/bin:$PATH"
    export PATH
}
