#!/bin/sh
# The system libraries that Qt and VTK load for the tests of the Slicer module; installs what is missing on Debian
# and Ubuntu. Where that is not possible the tests of the module are skipped, and say which package is missing.
set -u
packages="libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri libxkbcommon0 libdbus-1-3 libfontconfig1 libglib2.0-0 fonts-dejavu-core"
missing=""
for library in libEGL.so.1 libGL.so.1 libxkbcommon.so.0 libdbus-1.so.3 libfontconfig.so.1 libglib-2.0.so.0; do
    ldconfig -p 2>/dev/null | grep -q "$library" || missing="$missing $library"
done
[ -z "$missing" ] && exit 0
echo "missing for the tests of the Slicer module:$missing"
if command -v apt-get >/dev/null; then
    sudo=""
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -q && $sudo apt-get install -y -q --no-install-recommends $packages && exit 0
fi
echo "note: install $packages (or what your system calls them); without them those tests are skipped" >&2
