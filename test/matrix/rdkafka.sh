#!/bin/bash
# test/matrix/rdkafka.sh: the relay over a librdkafka newer than the system's.
# SPDX-License-Identifier: PostgreSQL
#
#   rdkafka.sh [TIER...]    by itself: unit and tap
#
# The sources are those in the crate rdkafka-sys, fetched by cargo and built
# once in SENTINAI_CACHE; nothing of the system's librdkafka is replaced. The
# PostgreSQL is that of PG_CONFIG. The last line is `N passed, N failed`.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=test/lib/common.sh
. "$here/../lib/common.sh"
# shellcheck source=test/lib/tree.sh
. "$here/../lib/tree.sh"
crate=4.10.0 # holds librdkafka 2.12.1
version=2.12.1
cache=${SENTINAI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sentinai}/rdkafka
prefix=$cache/$version
log=$cache/build.log

# cargo, as the crates' own client; its downloads stay in our cache.
fetch_sources() {
    command -v cargo >/dev/null || sn_install_packages "$log" cargo || return 1
    rm -rf "$cache/fetch" && mkdir -p "$cache/fetch/src" || return 1
    cat >"$cache/fetch/Cargo.toml" <<END
[package]
name = "fetch"
version = "0.0.0"
[dependencies]
rdkafka-sys = "=$crate"
END
    : >"$cache/fetch/src/lib.rs"
    (
        cd "$cache/fetch" || exit 1
        CARGO_HOME=$cache/cargo cargo fetch
    )
}

# The library and its headers, in a prefix of their own.
build_library() {
    local sources
    fetch_sources || return 1
    sources=$(echo "$cache"/cargo/registry/src/*/rdkafka-sys-"$crate"*/librdkafka)
    rm -rf "$cache/build" && cp -r "$sources" "$cache/build" || return 1
    (
        cd "$cache/build" || exit 1
        ./configure --prefix="$prefix" --disable-debug-symbols --disable-curl &&
            make -C src && make -C src install
    )
}

# Headers, link and load: the programs and modules of this run use ours. The
# headers are as a system's: what compilers think of them is not our business.
use_library() {
    export C_INCLUDE_PATH=$prefix/include LIBRARY_PATH=$prefix/lib
    export LD_LIBRARY_PATH=$prefix/lib WERROR=1
    export SENTINAI_PATIENCE=${SENTINAI_PATIENCE:-4}
    export SENTINAI_TIER_SECONDS=${SENTINAI_TIER_SECONDS:-3600}
    export PG_TEST_TIMEOUT_DEFAULT=${PG_TEST_TIMEOUT_DEFAULT:-720}
}

# Was it ours that the relay's module was linked with?
used_library() {
    ldd "$tree/src/sentinai_kafka.so" | grep -qF "=> $prefix/lib/librdkafka.so"
}

[ $# -gt 0 ] || set -- unit tap
mkdir -p "$cache" || exit 1
if [ ! -e "$prefix/complete" ]; then
    sn_note "building librdkafka $version (log: $log)"
    sn_install_packages "$log" build-essential zlib1g-dev libssl-dev \
        libsasl2-dev liblz4-dev libzstd-dev &&
        build_library >>"$log" 2>&1 </dev/null || {
        tail -20 "$log" >&2
        sn_die "could not build librdkafka $version"
    }
    rm -rf "$cache/build"
    touch "$prefix/complete"
fi
tree=$(mktemp -d /var/tmp/sentinai-rdkafka.XXXXXX) || exit 1
trap 'rm -rf "$tree"' EXIT
# a user without rights runs the servers and loads the library
chmod 755 "$tree" && cp -r "$prefix" "$tree/librdkafka" || exit 1
prefix=$tree/librdkafka
use_library
sn_copy_tree "$root" "$tree/src" || exit 1
"$tree/src/quickstart" test "$@"
status=$?
used_library || sn_die "the relay was not tested over librdkafka $version"
if [ "$status" -ne 0 ] && [ -d "$tree/src/log/test" ]; then
    mkdir -p "$root/log/matrix"
    rm -rf "$root/log/matrix/rdkafka"
    cp -r "$tree/src/log/test" "$root/log/matrix/rdkafka"
    sn_note "logs are kept in $root/log/matrix/rdkafka"
fi
exit $status
