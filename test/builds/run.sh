#!/bin/bash
# test/builds/run.sh: the tests on a PostgreSQL that looks harder.
# SPDX-License-Identifier: PostgreSQL
#
#   run.sh assert [TIER...]     assertions, caches emptied at every chance
#   run.sh asan [TIER...]       AddressSanitizer and UndefinedBehaviorSanitizer,
#                               in the server, the extension and the agents
#   run.sh valgrind [TIER...]   every server process under valgrind
#
# server.sh makes the server. By itself: the tiers unit, installcheck and pgtap,
# and tap on the first two. Fails when a test fails, and when a server's log or
# a report tells of a crash or a misuse that no test has noticed. The last line
# is `N passed, N failed`.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=test/lib/common.sh
. "$here/../lib/common.sh"
# shellcheck source=test/lib/tree.sh
. "$here/../lib/tree.sh"
kind=${1:-}
base=${SENTINAI_BUILDS:-/var/tmp/sentinai-builds}
tree=$base/src-$kind
reports=$base/reports-$kind
shift
tiers=("$@")
[ $# -gt 0 ] || tiers=(unit installcheck pgtap tap)

# What the sanitizers are told, and how everything else is compiled for them.
asan_settings() {
    export CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
-fno-sanitize-recover=all"
    # A library that fakes the clock comes before the sanitizer's. Freed memory
    # is kept from use up to a bound that a test of memory's growth soon reaches.
    export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:verify_asan_link_order=0:quarantine_size_mb=16:log_path=$reports/asan
    export UBSAN_OPTIONS=print_stacktrace=1:log_path=$reports/ubsan
}

# Servers start through a script that puts valgrind before them.
valgrind_settings() {
    local bin
    bin=$("$PG_CONFIG" --bindir)
    sn_install_packages "$base/valgrind.log" valgrind libc6-dbg || exit 1
    [ -e "$bin/postgres.bin" ] || mv "$bin/postgres" "$bin/postgres.bin"
    cat >"$bin/postgres" <<END
#!/bin/sh
case \$1 in
    -D) exec valgrind --quiet --leak-check=no --trace-children=yes \\
            --gen-suppressions=all --suppressions='${bin%/bin}/valgrind.supp' \\
            --suppressions='$here/valgrind.supp' \\
            --error-markers=VALGRINDERROR-BEGIN,VALGRINDERROR-END \\
            --log-file='$reports/%p.log' '$bin/postgres.bin' "\$@" ;;
    *) exec '$bin/postgres.bin' "\$@" ;;
esac
END
    chmod 755 "$bin/postgres"
    # a server under valgrind takes its time to start
    export PGCTLTIMEOUT=600
}

# Anything that tells of a crash, an assertion or a misuse of memory.
count_reports() {
    local found
    find "$reports" -type f -empty -delete
    find "$reports" -type f ! -name '*.log' -exec mv {} {}.log \;
    cp "$tree"/log/test/*.log "$reports/" 2>/dev/null
    found=$(grep -lsE 'TRAP: |VALGRINDERROR-BEGIN|AddressSanitizer|runtime error:|terminated by signal (4|6|7|8|11)\b' \
        "$reports"/*.log)
    [ -z "$found" ] && return
    echo "reports:" && echo "$found"
    # shellcheck disable=SC2086 # our own names
    grep -hE -A12 'TRAP: |VALGRINDERROR-BEGIN|AddressSanitizer|runtime error:|terminated by signal (4|6|7|8|11)\b' \
        $found | head -60
    return 1
}

PG_CONFIG=$("$here/server.sh" "$kind") || exit 1
export PG_CONFIG
rm -rf "$reports"
mkdir -p "$reports" && chmod 1777 "$reports"
# all of them are slow
export SENTINAI_PATIENCE=4 PG_TEST_TIMEOUT_DEFAULT=720
case $kind in
    asan) asan_settings ;;
    valgrind)
        valgrind_settings
        SENTINAI_PATIENCE=20
        [ $# -gt 0 ] || tiers=(installcheck pgtap)
        ;;
esac
sn_copy_tree "$root" "$tree" || exit 1
out=$reports/out
SENTINAI_KEEP_LOGS=1 SENTINAI_TIER_SECONDS=${SENTINAI_TIER_SECONDS:-5400} \
    "$tree/quickstart" test "${tiers[@]}" 2>&1 | tee "$out.txt"
read -r passed failed < <(
    sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$out.txt" |
        tail -1
)
: "${passed:=0}" "${failed:=1}"
if count_reports; then
    passed=$((passed + 1))
else
    failed=$((failed + 1))
fi
rm -rf "$tree"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
