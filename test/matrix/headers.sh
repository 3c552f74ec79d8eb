#!/bin/bash
# test/matrix/headers.sh: do the sources compile for PostgreSQL 17 and 18?
# SPDX-License-Identifier: PostgreSQL
#
#   make headers      (gives it the flags, in SN_FLAGS, and the sources)
#
# It takes the headers out of Debian's packages and installs nothing. What was
# fetched stays in the cache (SENTINAI_CACHE moves that). Prints TAP. Where they
# can't be fetched, that version is skipped.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=test/lib/common.sh
. "$here/../lib/common.sh"
# shellcheck source=test/matrix/debian.sh
. "$here/debian.sh"
versions=(17 18)
cache=${SENTINAI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sentinai}/headers
place=$(mktemp -d) || exit 1
trap 'rm -rf "$place"' EXIT
echo "$SN_FLAGS" >"$place/flags"
# What the libc of those releases has, and an older one here has not.
cat >"$place/libc.h" <<END
#include <stddef.h>
size_t strlcpy(char *, const char *, size_t);
END

# fetch VERSION: its headers into the cache, by lists of apt's own there.
fetch() {
    local dir=$cache/$1 suite
    [ ! -e "$dir/usr" ] || return 0
    suite=$(debian_of "$1") && rm -rf "$dir.new" &&
        mkdir -p "$dir.new/lists/partial" "$dir.new/archives/partial" &&
        echo "deb $(debian_mirror) $suite main" >"$dir.new/sources.list" &&
        cd "$dir.new" || return 1
    local apt=(apt-get -o Dir::Etc::SourceList="$PWD/sources.list"
        -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$PWD/lists"
        -o Dir::Cache="$PWD" -o Acquire::Languages=none)
    "${apt[@]}" update && "${apt[@]}" download "postgresql-server-dev-$1" &&
        dpkg-deb -x postgresql-server-dev-*.deb . &&
        rm -rf lists archives ./*.bin ./*.deb && mv "$dir.new" "$dir"
}

# compiles VERSION SOURCE...: the compiler's opinion, and nothing else of it.
compiles() {
    local include=$cache/$1/usr/include/postgresql/$1/server
    shift
    printf '%s\n' "$@" | xargs -P "$(nproc)" -n 20 \
        "${CC:-gcc}" -fsyntax-only -D_GNU_SOURCE -include "$place/libc.h" \
        "@$place/flags" -I"$include"
}

failed=0
mkdir -p "$cache"
for i in "${!versions[@]}"; do
    version=${versions[i]}
    line="ok $((i + 1)) - it compiles for PostgreSQL $version"
    if ! (fetch "$version") >"$cache/$version.log" 2>&1; then
        line="$line # SKIP no headers: $(tail -1 "$cache/$version.log")"
    elif ! compiles "$version" "$@"; then
        failed=1 line="not $line"
    fi
    echo "$line"
done
echo "1..${#versions[@]}"
exit $failed
