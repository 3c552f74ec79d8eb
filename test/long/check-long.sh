#!/bin/bash
# test/long/check-long.sh: everything that is too long for ./quickstart test.
# SPDX-License-Identifier: PostgreSQL
#
#   check-long.sh [PART...]    all parts by itself, or those named; matrix is
#                              short for its five
#
# Each part is a command below, or an executable beside this file. Writes
# docs/check-long.md: the date, the commit and the result of each part; a part
# that was not run keeps its line. Logs are in log/long. The last line is
# `N passed, N failed`, a part each.
#
# SENTINAI_LONG_MINUTES: how long chaos, fuzz and the flapping broker take, 60
# by itself.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root" || exit 1
# shellcheck source=test/lib/common.sh
. test/lib/common.sh
report=docs/check-long.md
logs=$root/log/long
seconds=$((${SENTINAI_LONG_MINUTES:-60} * 60))
matrix=(matrix-17 matrix-18 matrix-rdkafka matrix-upgrade matrix-bare)
passed=0 failed=0
# The state of the tree before this writes into it.
commit=$(git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)

# part NAME: its command; what is not here is a script of this folder.
part() {
    case $1 in
        test) ./quickstart test ;;
        analyze) test/analyze/run.sh ;;
        patroni) test/patroni/run.sh ;;
        assert | asan) test/builds/run.sh "$1" unit installcheck pgtap ;;
        assert-tap | asan-tap) test/builds/run.sh "${1%-tap}" tap ;;
        valgrind) test/builds/run.sh valgrind ;;
        coverage) test/builds/coverage.sh ;;
        matrix-*) test/matrix/run.sh "${1#matrix-}" ;;
        memory)
            SENTINAI_CALLS=100000 SENTINAI_TIER_SECONDS=7200 \
                ./quickstart test tap
            ;;
        flapping)
            SENTINAI_FLAP_SECONDS=$seconds \
                SENTINAI_TIER_SECONDS=$((seconds + 3600)) \
                ./quickstart test tap
            ;;
        kafka-*) SENTINAI_KAFKA=${1#*-} ./quickstart test kafka ;;
        frozen)
            T=test/tap/03_relays.pl SENTINAI_FROZEN_SECONDS=600 SENTINAI_TIER_SECONDS=1800 \
                ./quickstart test tap
            ;;
        lines)
            T=test/tap/long/02_retention_lines.pl SENTINAI_TIER_SECONDS=1800 \
                ./quickstart test tap
            ;;
        fuzz) with_tree_built make check-fuzz SECONDS="$seconds" ;;
        bugs) with_tree_built make check-bugs ;;
        points) with_tree_built make check-points ;;
        hostile) with_tree_built make check-hostile SECONDS="$((seconds / 10))" ;;
        flow) with_tree_built make check-flow SECONDS="$((seconds / 10))" ;;
        dedupe) with_tree_built make check-dedupe SECONDS="$((seconds / 10))" ;;
        pooled) with_tree_built make check-pooled CALLS=1000000 ;;
        chaos) with_tree_built make chaos SECONDS="$seconds" CHAOS_ARGS=--kafka ;;
        platform)
            ./quickstart platform --exceptions 10000 --rate 1000 &&
                ./quickstart down
            ;;
        *) "$here/$1" ;;
    esac
}

# Those use what is installed; the tests of the quickstart take theirs away.
with_tree_built() {
    # shellcheck source=test/lib/setup.sh
    . test/lib/setup.sh
    sn_install_packages "$logs/setup.log" "${base_packages[@]}" &&
        find_postgres "$logs/setup.log" &&
        { build_all && install_built; } >>"$logs/setup.log" 2>&1 || return 1
    "$@" PG_CONFIG="$PG_CONFIG"
}

all_parts() {
    local script
    printf '%s\n' test analyze patroni "${matrix[@]}" memory flapping frozen lines kafka-3 kafka-4 assert \
        assert-tap asan asan-tap platform bugs points dedupe pooled hostile flow fuzz chaos valgrind coverage
    for script in "$here"/*; do
        [ ! -x "$script" ] || [ "${script##*/}" = check-long.sh ] ||
            echo "${script##*/}"
    done
}

# note NAME RESULT SECONDS: the part's line in the report, in the place of the
# one before.
note() {
    local name=$1 line lines
    line="| $name | $(date -u +%Y-%m-%d) | $commit | $2 | $3 s |"
    lines=$(grep -s '^| [a-z]' "$report" | grep -v "^| $name |")
    {
        cat <<'END'
# What the long checks said last

`make check-long` runs what is too long for `./quickstart test` and writes this page; [test/README.md](../test/README.md) says what the parts are. A commit that ends in `-dirty` had changes that were not committed.

| Part | Date | Commit | Result | Took |
|---|---|---|---|---|
END
        printf '%s\n' "$lines" "$line" | grep . | sort
    } >"$report.new" && mv "$report.new" "$report"
}

run_part() {
    local name=$1 status result start=$SECONDS
    sn_note "== $name (log: $logs/$name.log)"
    part "$name" >"$logs/$name.log" 2>&1 </dev/null
    status=$?
    result=$(sed -n 's/^result: //p' "$logs/$name.log" | tail -1)
    : "${result:=$(grep -E '[0-9]+ passed, [0-9]+ failed$' "$logs/$name.log" | tail -1)}"
    if [ "$status" -eq 0 ]; then
        passed=$((passed + 1))
        : "${result:=passed}"
    else
        failed=$((failed + 1))
        : "${result:=failed}"
        tail -20 "$logs/$name.log"
    fi
    note "$name" "$result" $((SECONDS - start))
    printf '%-14s %s\n' "$name" "$result"
}

mkdir -p "$logs"
# shellcheck disable=SC2046 # one word each
[ $# -gt 0 ] || set -- $(all_parts)
parts=()
for name in "$@"; do
    case $name in
        matrix) parts+=("${matrix[@]}") ;;
        *) parts+=("$name") ;;
    esac
done
for name in "${parts[@]}"; do
    run_part "$name"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
