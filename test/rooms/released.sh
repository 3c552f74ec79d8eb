#!/bin/bash
# test/rooms/released.sh: what was released is as it was. Prints TAP.
# SPDX-License-Identifier: PostgreSQL
#
# sql/released.sha256 has the install script of every released version, and the
# scripts that update to these (sql/release.sh writes it).
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../../sql" || exit 1
tests=0 failed=0

# result STATUS NAME: one line of TAP.
result() {
    tests=$((tests + 1))
    [ "$1" -eq 0 ] || { failed=$((failed + 1)); printf 'not '; }
    echo "ok $tests - $2"
}

while read -r sum script; do
    [ "$(sha256sum 2>/dev/null <"$script")" = "$sum  -" ]
    result $? "$script is as it was released"
done <released.sha256
version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" ../sentinai.control)
for script in sentinai--*.sql; do
    [[ $script == sentinai--*--"$version.sql" ]] || grep -q "  $script\$" released.sha256
    result $? "$script belongs to a released version, or updates to $version"
done
[ -e "$(echo sentinai--*--"$version.sql")" ]
result $? "the version before can be updated to $version"
echo "1..$tests"
[ "$failed" -eq 0 ]
