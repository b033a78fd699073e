# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034
#
# What tools/quickstart and tools/test share: finding out what is missing, installing it,
# configuring.  Sourced, not run.  A thing counts as there when it works, whoever installed it.

# What a build needs: Debian's package, and the command that succeeds when it is not needed.
BUILD_NEEDS=(
    "gcc|command -v cc"
    "libc6-dev|compiles '#include <stdio.h>'"
    "make|command -v make || command -v ninja"
    "cmake|cmake_is_new_enough"
    "pkg-config|command -v pkg-config"
    "liburing-dev|pkg-config --exists 'liburing >= 2.3'"
    "libjansson-dev|pkg-config --exists jansson"
)
# And the tests, besides.
TEST_NEEDS=(
    "check|pkg-config --exists 'check >= 0.15'"
    "libseccomp-dev|pkg-config --exists libseccomp"
    "libuv1-dev|pkg-config --exists libuv"
    "node-llhttp|test -e /usr/share/llhttp/llhttp.c || pkg-config --exists libllhttp"
    "python3|command -v python3"
    "g++|command -v c++"
    "clang-format|command -v clang-format || command -v clang-format-14"
    "mandoc|command -v mandoc"
    "scdoc|command -v scdoc"
    "libxml2-utils|command -v xmllint"
    "iproute2|command -v ip"
    "perl|perl -MTAP::Parser -e 1"
    "python3-jsonschema|/usr/bin/python3 -c 'import jsonschema'"
)
# And the sanitizers: clang 19's know fibers and io_uring best.
SANITIZER_NEEDS=(
    "clang-19|command -v clang-19"
    "libclang-rt-19-dev|links_with_tsan"
    "llvm-19|test -x /usr/lib/llvm-19/bin/llvm-symbolizer"
)
VALGRIND_NEEDS=("valgrind|command -v valgrind")
COVERAGE_NEEDS=("gcovr|command -v gcovr")

links_with_tsan() {
    echo 'int main(void) { return 0; }' | clang-19 -fsanitize=thread -x c -o /dev/null -
}

compiles() {
    printf '%s\n' "$1" | cc -fsyntax-only -x c -
}

cmake_is_new_enough() {
    local version
    version=$(cmake --version | sed -n 's/^cmake version \([0-9.]*\).*/\1/p')
    [ "$(printf '%s\n' 3.25 "$version" | sort -V | head -n 1)" = 3.25 ]
}

# Names of the packages, of those whose needs are given, that are missing.
missing_packages() {
    local need
    for need; do
        (eval "${need#*|}") > /dev/null 2>&1 || printf '%s\n' "${need%%|*}"
    done
}

# Installs what is missing of the given needs.  With nothing missing: no privileges, no network.
install_missing() {
    local packages as_root=()
    packages=$(missing_packages "$@" | tr '\n' ' ')
    packages=${packages% }
    [ -n "$packages" ] || return 0
    if ! command -v apt-get > /dev/null; then
        echo "ouro needs these packages, by their Debian names: $packages" >&2
        return 1
    fi
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo > /dev/null; then
            echo "ouro needs these packages, ask root for: apt-get install $packages" >&2
            return 1
        fi
        as_root=(sudo)
    fi
    echo "installing: $packages" >&2
    # shellcheck disable=SC2086
    apt_get update && apt_get install -y --no-install-recommends $packages
}

# apt-get without questions; silent unless it fails.
apt_get() {
    local log
    log=$("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q "$@" 2>&1 < /dev/null) || {
        printf '%s\n' "$log" >&2
        echo "apt-get $* failed; ouro needs these packages: $packages" >&2
        return 1
    }
}

# build PRESET [cmake options]: configures and builds into build/PRESET.  Ninja where it is there,
# make elsewhere; a directory keeps the generator it began with.
build() {
    local preset=$1 generator=()
    shift
    # With another compiler CMake begins its cache anew, and loses what the preset sets: a build
    # would not be sanitized, and pass.
    local cache="build/$preset/CMakeCache.txt"
    if [[ " $* " =~ -DCMAKE_C_COMPILER=([^ ]+) ]] && [ -f "$cache" ] &&
        ! grep -q "^CMAKE_C_COMPILER:.*[/=]${BASH_REMATCH[1]}\$" "$cache"; then
        rm -rf "build/$preset"
    fi
    if [ ! -f "$cache" ]; then
        generator=(-G "Unix Makefiles")
        command -v ninja > /dev/null && generator=(-G Ninja)
    fi
    quietly cmake --preset "$preset" -B "build/$preset" "${generator[@]}" "$@" &&
        quietly cmake --build "build/$preset" --parallel "$(nproc)"
}

# Runs a command; shows its output only when it fails, or on a terminal as it goes.
quietly() {
    local log status=0
    if [ -t 1 ]; then
        "$@"
        return
    fi
    log=$("$@" 2>&1) || status=$?
    [ $status -eq 0 ] || printf '%s\n' "$log" | tail -n 100 >&2
    return $status
}
