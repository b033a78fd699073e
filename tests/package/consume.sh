#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Usage: consume.sh pkg-config|cmake|layout BUILD_DIRECTORY
# Installs the build into a temporary prefix and uses it from there as a stranger would.
set -eu
how=$1
build=$2
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
prefix=$dir/prefix

cmake --install "$build" --prefix "$prefix" > "$dir/log" || { cat "$dir/log"; exit 1; }
library=$(dirname "$(find "$prefix" -name 'libouro.so')")

run() {
    echo "$*"
    "$@"
}

case $how in
pkg-config)
    export PKG_CONFIG_PATH="$library/pkgconfig"
    test "$(pkg-config --modversion ouro)" = "$(sed -n 's/^#define OURO_VERSION "\(.*\)"/\1/p' \
        "$prefix/include/ouro/api.h")"
    # shellcheck disable=SC2046,SC2086
    run "${CC:-cc}" -Wall -Wextra -Werror "$here/consumer.c" -o "$dir/shared" \
        $(pkg-config --cflags --libs ouro) -Wl,-rpath,"$library"
    run "$dir/shared"
    # shellcheck disable=SC2046,SC2086
    run "${CC:-cc}" -static "$here/consumer.c" -o "$dir/static" \
        $(pkg-config --cflags --static --libs ouro)
    run "$dir/static"
    ;;
cmake)
    run cmake -S "$here/cmake-consumer" -B "$dir/build" -DCMAKE_PREFIX_PATH="$prefix" \
        -DCMAKE_C_COMPILER="${CC:-cc}" > "$dir/log" || { cat "$dir/log"; exit 1; }
    run cmake --build "$dir/build" > "$dir/log" || { cat "$dir/log"; exit 1; }
    run "$dir/build/shared"
    run "$dir/build/static"
    ;;
layout)
    for file in include/ouro.h include/ouro/api.h bin/ouro bin/ouro-ktest share/man/man1/ouro.1 \
                share/man/man1/ouro-ktest.1; do
        test -f "$prefix/$file" || { echo "not installed: $file"; exit 1; }
    done
    # Every public function has its page.
    if command -v scdoc > /dev/null; then
        for name in $(sed -n 's/^    \(ouro_[a-z_0-9]*\);$/\1/p' "$here/../../src/libouro.map"); do
            test -f "$prefix/share/man/man3/$name.3" || { echo "no page: $name(3)"; exit 1; }
        done
    fi
    test "$(readlink "$library/libouro.so")" = libouro.so.0
    readelf -d "$library/libouro.so" | grep -q 'SONAME.*\[libouro.so.0\]'
    readelf -d "$library/libouro.so" | grep -q 'BIND_NOW\|NOW'
    if readelf -d "$library/libouro.so" "$prefix/bin/ouro" | grep -i 'rpath\|runpath'; then
        echo "a run path was left in"
        exit 1
    fi
    if grep -rIl -- "$here" "$prefix"; then
        echo "names the source directory"
        exit 1
    fi
    run "$prefix/bin/ouro" --version
    run "$prefix/bin/ouro-ktest" --version
    ;;
*)
    echo "usage: $0 pkg-config|cmake|layout BUILD_DIRECTORY" >&2
    exit 2
    ;;
esac
