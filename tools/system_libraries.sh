#!/usr/bin/env bash
# Makes open3d importable by the given Python: nerfstudio's exporter (ns-export) needs it, and pip cannot install the
# system libraries that it loads. Without root or apt-get it says what to type; everything but ns-export works then.
set -euo pipefail

python=$1
packages=(libusb-1.0-0 libgl1 libx11-6 libgomp1)

open3d_loads() { complaint=$("$python" -c 'import open3d' 2>&1); }

open3d_loads && exit
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "open3d cannot be loaded (${complaint##*$'\n'}): installing ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update && apt-get -qq install --no-install-recommends "${packages[@]}" || true
    open3d_loads && exit
fi

cat >&2 <<END
Warning: ns-export will not start, because open3d cannot be loaded: ${complaint##*$'\n'}
It needs the system libraries libusb-1.0, libGL, libX11 and libgomp. On Debian or Ubuntu type:
    sudo apt-get install ${packages[*]}
Everything else works without them.
END
