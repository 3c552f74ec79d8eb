#!/bin/bash
# test/builds/coverage.sh: how much of src/ and workers/ the tests run.
# SPDX-License-Identifier: PostgreSQL
#
#   coverage.sh [TIER...]      by themselves: unit installcheck pgtap tap kafka
#
# A copy of the tree is built for gcov and tested as ever; who is killed by a
# test leaves no count. lcov adds up. The report is log/coverage/index.html, its
# sums are the last lines.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=test/lib/common.sh
. "$here/../lib/common.sh"
# shellcheck source=test/lib/tree.sh
. "$here/../lib/tree.sh"
place=${SENTINAI_COVERAGE:-/var/tmp/sentinai-coverage}
tree=$place/src
report=$root/log/coverage
[ $# -gt 0 ] || set -- unit installcheck pgtap tap kafka

# Servers and tests are of two users; both add to the same counts.
umask 000
rm -rf "$place" "$report"
mkdir -p "$place" "$report" || exit 1
sn_install_packages "$place/setup.log" lcov || exit 1
sn_copy_tree "$root" "$tree" || exit 1

# Counting takes time.
export SENTINAI_TIER_SECONDS=${SENTINAI_TIER_SECONDS:-3600}
export COPT=--coverage CFLAGS='-O1 -g --coverage' GCOV_PREFIX=$place/counts
"$tree/quickstart" test "$@"
status=$?

# lcov wants what the compiler noted beside what was counted
(cd "$tree" && find . -name '*.gcno' -exec cp --parents -t "$GCOV_PREFIX$tree" {} +) &&
    lcov --quiet --capture --directory "$GCOV_PREFIX$tree" \
        --base-directory "$tree" --output-file "$place/all" >"$place/lcov.log" 2>&1 &&
    lcov --quiet --output-file "$place/both" --extract "$place/all" \
        "$tree/src/*" "$tree/workers/*" >>"$place/lcov.log" 2>&1 &&
    lcov --quiet --output-file "$place/ours" --remove "$place/both" \
        "$tree/workers/test/*" "$tree/workers/examples/*" >>"$place/lcov.log" 2>&1 &&
    genhtml --quiet --output-directory "$report" "$place/ours" >>"$place/lcov.log" 2>&1 || {
    tail -20 "$place/lcov.log"
    exit 1
}
for part in src workers; do
    lcov --quiet --output-file "$place/part" --extract "$place/ours" "$tree/$part/*" 2>/dev/null
    lines=$(lcov --summary "$place/part" 2>&1 | sed -n 's/^ *lines\.*: //p')
    printf '%-8s %s\n' "$part" "$lines"
    sums=${sums:+$sums, }"${lines%% *} of $part/"
done
echo "result: lines: $sums"
exit $status
