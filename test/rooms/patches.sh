#!/bin/bash
# test/rooms/patches.sh: every bug of the history checker can still be built in.
# SPDX-License-Identifier: PostgreSQL
#
# Prints TAP. A patch that does not apply any more is to be made anew in place:
# `make check-bugs BUGS=NAME` then says whether the checker still finds the bug.
cd "$(dirname "$0")/../.." || exit 1
number=0
status=0
for patch in test/history/bugs/*.patch; do
    number=$((number + 1))
    if said=$(patch -p1 --fuzz=0 --dry-run --force <"$patch" 2>&1); then
        echo "ok $number - $patch applies"
    else
        echo "not ok $number - $patch applies"
        echo "${said//$'\n'/$'\n'# }" | sed '1s/^/# /'
        status=1
    fi
done
echo "1..$number"
exit $status
