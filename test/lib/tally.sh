#!/bin/bash
# test/lib/tally.sh: run one tier of tests and count its results.
# SPDX-License-Identifier: PostgreSQL
#
#   tally.sh run SECONDS NAME LOG COMMAND...   run, show progress, print counts
#   tally.sh count LOG                         passed failed skipped
#   tally.sh show LOG                          what failed, from the log
#
# Understands TAP (cmocka, prove -v, pg_prove -v, pg_regress from 16 on) and the
# lines of pg_regress 15. A command that fails without naming a failed test, a
# file that died without one, one that bailed out (the files after it do not run)
# and a tier that ran no test each count as failed.
set -u

# Indented results are subtests: their parent counts.
count() {
    awk '
        /^(not )?ok +[0-9]+/ {
            if (/# *[Ss][Kk][Ii][Pp]/) skipped++
            else if (/# *[Tt][Oo][Dd][Oo]/) next
            else if (/^not/) failed++
            else passed++
        }
        /^(test|    ) +[A-Za-z0-9_-]+ +\.\.\. / {
            if (/\.\.\. ok/) passed++; else failed++
        }
        # the summary of prove: a file that ended badly with no failed test
        /\(Wstat: .*Failed: 0\)/ || /^Bail out!/ { failed++ }
        END { print passed + 0, failed + 0, skipped + 0 }
    ' "$1"
}

# Failed tests with their diagnostics; the end of the log when none is named.
show() {
    awk '
        /^not ok/ || /^(test|    ) +[A-Za-z0-9_-]+ +\.\.\. [^o]/ ||
            /\(Wstat: / || /exited with an error/ || /^Bail out!/ { on = 1; print; next }
        on && /^ *(#|\[)/ { print; next }
        { on = 0 }
    ' "$1" | head -80
    echo "--- end of the log:"
    tail -25 "$1"
}

progress() {
    local passed failed skipped
    read -r passed failed skipped < <(count "$2")
    printf '\r\e[K%-13s %5d passed, %d failed  %d s' "$1" "$passed" "$failed" \
        "$SECONDS" >&2
}

run() {
    local seconds=$1 name=$2 log=$3 status pid passed failed skipped
    shift 3
    : >"$log"
    timeout --kill-after=20 "$seconds" "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    while [ -t 2 ] && kill -0 "$pid" 2>/dev/null; do
        progress "$name" "$log"
        sleep 0.5
    done
    wait "$pid"
    status=$?
    [ ! -t 2 ] || printf '\r\e[K' >&2
    [ "$status" -ne 124 ] || echo "# stopped after $seconds s" >>"$log"
    read -r passed failed skipped < <(count "$log")
    if [ "$failed" -eq 0 ] &&
        { [ "$status" -ne 0 ] || [ $((passed + skipped)) -eq 0 ]; }; then
        failed=1
        echo "# $name: status $status, $passed tests passed, none failed" >>"$log"
    fi
    echo "$passed $failed $skipped $SECONDS"
}

case ${1:-} in
    run) shift && run "$@" ;;
    count) count "$2" ;;
    show) show "$2" ;;
    *) sed -n '5,11s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
