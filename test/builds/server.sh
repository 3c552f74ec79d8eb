#!/bin/bash
# test/builds/server.sh: a PostgreSQL from source that looks harder than a
# packaged one.
# SPDX-License-Identifier: PostgreSQL
#
#   server.sh assert     assertions on, catalog caches emptied at every chance
#   server.sh asan       AddressSanitizer and UndefinedBehaviorSanitizer
#   server.sh valgrind   tells valgrind what palloc does
#
# Prints the path of its pg_config. Everything is in SENTINAI_BUILDS
# (/var/tmp/sentinai-builds), with a prefix and folders of its own: nothing of
# an installed PostgreSQL is touched. The source is SENTINAI_PG_SOURCE (a folder
# with a Debian source package), or what apt has for postgresql-15. A server
# that is there already is not built again.
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=test/lib/common.sh
. "$here/../lib/common.sh"

kind=${1:-}
major=15
base=${SENTINAI_BUILDS:-/var/tmp/sentinai-builds}
debug="-g -fno-omit-frame-pointer"
contribs=(amcheck dblink pg_walinspect)
export ASAN_OPTIONS=detect_leaks=0

case $kind in
    assert)
        options=(--enable-cassert CFLAGS="-O1 $debug"
            CPPFLAGS="-DRELCACHE_FORCE_RELEASE -DCATCACHE_FORCE_RELEASE \
-DCOPY_PARSE_PLAN_TREES")
        ;;
    asan)
        options=(--enable-cassert CFLAGS="-O1 $debug -fno-common \
-fsanitize=address,undefined -fno-sanitize-recover=all")
        ;;
    valgrind)
        options=(CFLAGS="-O1 $debug" CPPFLAGS=-DUSE_VALGRIND)
        ;;
    *)
        sed -n '6,16s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
        exit 2
        ;;
esac
prefix=$base/$kind
log=$base/$kind.log

# The newest source package of which everything can be had.
download_source() {
    local apt version
    apt=$base/apt
    mkdir -p "$apt/lists/partial"
    sn_install_packages "$log" dpkg-dev
    cat /etc/apt/sources.list.d/debian.sources 2>/dev/null |
        sed 's/^Types:.*/Types: deb-src/' >"$apt/src.sources"
    grep -hs '^deb ' /etc/apt/sources.list | sed 's/^deb /deb-src /' \
        >"$apt/src.list"
    export APT_CONFIG=$apt/apt.conf
    cat >"$APT_CONFIG" <<END
Dir::Etc::sourcelist "$apt/src.list";
Dir::Etc::sourceparts "$apt";
Dir::State::lists "$apt/lists";
Dir::Cache::srcpkgcache "";
Dir::Cache::pkgcache "";
APT::Sandbox::User "root";
END
    apt-get update
    for version in $(apt-cache showsrc postgresql-$major |
        sed -n 's/^Version: //p' | sort -Vr | uniq); do
        (cd "$base/source" && apt-get source --download-only \
            "postgresql-$major=$version") && return
    done
    return 1
}

# The unpacked source, once for all kinds; its path on stdout. Without Debian's
# patches: they put every build's modules where the packaged server has its own.
source_tree() {
    local from=${SENTINAI_PG_SOURCE:-$base/source}
    if [ ! -e "$base/tree/.complete" ]; then
        mkdir -p "$base/source"
        [ -n "${SENTINAI_PG_SOURCE:-}" ] || download_source >>"$log" 2>&1
        rm -rf "$base/tree"
        mkdir "$base/tree"
        set -- "$from"/postgresql-"$major"_*.orig.tar.*
        tar -C "$base/tree" --strip-components=1 -xf "$1"
        touch "$base/tree/.complete"
    fi
    echo "$base/tree"
}

# pgTAP is SQL only: the packaged one serves.
copy_pgtap() {
    local pgtap=/usr/share/postgresql/$major/extension/pgtap.control
    [ -e "$pgtap" ] || sn_install_packages "$log" postgresql-$major-pgtap
    cp "${pgtap%.control}"* "$("$prefix/bin/pg_config" --sharedir)/extension/"
}

# Does everything that will be installed stay in the prefix?
in_prefix() {
    local dirs dir
    dirs=$(printf '%s\n' 'top_builddir = .' 'include src/Makefile.global' \
        'show: ; @echo $(bindir) $(pkglibdir) $(datadir) $(pkgincludedir)' |
        make -s -f - show) && [ -n "$dirs" ] || return 1
    for dir in $dirs; do
        case $dir in "$prefix"/*) ;; *) return 1 ;; esac
    done
}

# PostgreSQL's makefiles take themselves for a part of a build when a make
# called this. Errexit is off in here, as the caller asks how it went.
build_server() {
    local tree
    unset MAKELEVEL MAKEFLAGS MFLAGS
    tree=$(source_tree) || return 1
    rm -rf "$prefix" "$base/obj-$kind"
    mkdir -p "$base/obj-$kind"
    cd "$base/obj-$kind"
    "$tree/configure" --prefix="$prefix" "${common[@]}" "${options[@]}" ||
        return 1
    in_prefix || sn_die "this source would install outside of $prefix"
    make -s all && make -s install || return 1
    for contrib in "${contribs[@]}"; do
        make -s -C "contrib/$contrib" install || return 1
    done
    cp "$tree/src/tools/valgrind.supp" "$prefix/" || return 1
    cd /
    rm -rf "$base/obj-$kind"
}

mkdir -p "$base"
exec 9>"$base/lock"
flock 9
# as distributions build it, but for what no test uses
common=(--enable-debug --enable-tap-tests --without-readline --with-icu)
stamp=$(printf '%s\n' "${common[@]}" "${options[@]}" "${contribs[@]}" "$(id -u)")
if [ "$(cat "$prefix/stamp" 2>/dev/null)" != "$stamp" ]; then
    sn_note "building a PostgreSQL: $kind (log: $log)"
    sn_install_packages "$log" build-essential bison flex zlib1g-dev \
        libicu-dev pkg-config libipc-run-perl >&2
    build_server >>"$log" 2>&1 </dev/null || {
        tail -20 "$log" >&2
        sn_die "could not build it"
    }
    printf '%s\n' "$stamp" >"$prefix/stamp"
fi
copy_pgtap
echo "$prefix/bin/pg_config"
