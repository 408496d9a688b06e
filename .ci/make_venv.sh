#!/bin/sh
# Makes the virtual environment; on Debian and Ubuntu, where Python comes without venv, installs that package first.
set -eu
python=$1
venv=$2
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: $python is older than 3.11; run make with PYTHON=/path/to/a/newer/python" >&2
    exit 1
}
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    sudo=""
    [ "$(id -u)" = 0 ] || sudo=sudo
    command -v apt-get >/dev/null || {
        echo "error: $python has no venv module; install it with your package manager" >&2
        exit 1
    }
    $sudo apt-get update -q
    $sudo apt-get install -y -q "python$version-venv" || $sudo apt-get install -y -q python3-venv
fi
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install -q --upgrade pip
