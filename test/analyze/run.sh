#!/bin/bash
# test/analyze/run.sh: what three static analyzers say of the C sources.
# SPDX-License-Identifier: PostgreSQL
#
#   run.sh [gcc] [cppcheck] [tidy]    all three by itself
#
# Configuration: gcc.supp, cppcheck.supp and tidy.supp beside this file, .clang-tidy
# at the top. The server's headers are those of PG_CONFIG. Prints what is found; the
# last line is `N passed, N failed`, a file or a tool each.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.." || exit 1
# shellcheck source=test/lib/common.sh
. test/lib/common.sh
# shellcheck source=test/lib/setup.sh
. test/lib/setup.sh
logs=$(mktemp -d)
log=$logs/log
trap 'rm -rf "$logs"' EXIT
passed=0 failed=0

# Every source but the tests'; their own folders are searched for headers.
mapfile -t sources < <(printf '%s\n' src/*.c src/*/*.c src/*/*/*.c workers/*/*.c test/mock/*.c |
    grep -v '^workers/test/')

folders=(-Isrc)
for folder in workers/*/; do
    folders+=("-I${folder%/}")
done

# result STATUS NAME: counts it; what was found is in the log.
result() {
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "not ok - $2"
        cat "$log"
    fi
}

# each_source NAME FUNCTION: looks at every file, one on each processor; what
# the function prints for a file is found in it, and its status the result.
each_source() {
    local file out
    for file in "${sources[@]}"; do
        out=$logs/${file//\//_}
        while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do
            wait -n
        done
        {
            "$2" "$file" >"$out" 2>&1
            echo $? >"$out.status"
        } &
    done
    wait
    for file in "${sources[@]}"; do
        out=$logs/${file//\//_}
        log=$out result "$(cat "$out.status")" "$1: $file"
    done
}

# Findings that a list does not have, by file and text; lines move.
not_suppressed() {
    awk 'NR == FNR { known[$0] = 1; next }
        /: (warning|(fatal )?error): / {
            text = $0
            sub(/:[0-9]+:[0-9]+: (warning|(fatal )?error):/, ":", text)
            show = !(text in known)
        }
        /: In function / { show = 0 }
        show { print; found = 1 }
        END { exit found }' "$here/$1" -
}

gcc_source() {
    LC_ALL=C gcc -std=gnu99 -O1 -fanalyzer -fdiagnostics-plain-output \
        -fanalyzer-verbosity=0 -Wall -Wextra \
        -Wno-unused-parameter -Wno-missing-field-initializers \
        -Wno-sign-compare -fno-strict-aliasing "${flags[@]}" -c \
        -o /dev/null "$1" 2>&1 | not_suppressed gcc.supp
}

run_gcc() {
    each_source "gcc -fanalyzer" gcc_source
}

# In its own reading of the sources, without the server's headers.
run_cppcheck() {
    cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c99 \
        --enable=warning,portability,performance --library=posix \
        --library="$here/postgres.cfg" -DPG_VERSION_NUM=150000 -D__GNUC__=12 \
        --suppressions-list="$here/cppcheck.supp" --template="{file}:{line}: {id}: {message}" \
        "${folders[@]}" "${sources[@]}" >"$log" 2>&1
    result $? cppcheck
}

tidy_source() {
    clang-tidy-14 --quiet "$1" -- -std=gnu99 -Wno-everything "${flags[@]}" 2>&1 |
        sed -E "s#^($PWD|/usr/include/postgresql/[0-9]+)/##" | not_suppressed tidy.supp
}

run_tidy() {
    each_source clang-tidy tidy_source
}

find_postgres "$log"
sn_install_packages "$log" gcc clang-tidy-14 cppcheck "${base_packages[@]}" ||
    sn_die "could not install the analyzers"
flags=(-I"$("$pg_config" --includedir-server)" -I"$("$pg_config" --includedir)"
    "${folders[@]}" -D_GNU_SOURCE
    '-DSENTINAI_VERSION="x"' '-DSN_LIBRARY_DIRECTORY="x"')
[ $# -gt 0 ] || set -- gcc cppcheck tidy
for tool in "$@"; do
    [ "$(type -t "run_$tool")" = function ] || sn_die "no analyzer $tool"
    "run_$tool"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
