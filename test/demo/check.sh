#!/bin/bash
# test/demo/check.sh: the quickstart does what it says, and its proof can fail.
# SPDX-License-Identifier: PostgreSQL
#
# Prints TAP. Works in a folder of its own and removes it.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
place=$(mktemp -d "${TMPDIR:-/tmp}/demo.XXXXXX")
export SENTINAI_HOME=$place/home NO_COLOR=1
trap './quickstart down >/dev/null 2>&1; rm -rf "$place"' EXIT
tests=0

# result STATUS NAME: one line of TAP.
result() {
    tests=$((tests + 1))
    if [ "$1" -eq 0 ]; then echo "ok $tests - $2"; else echo "not ok $tests - $2"; fi
}

# run NAME FIGURES ARGUMENT...: the quickstart, each line of its proof a result.
run() {
    local name=$1 figures=$2 status mark line lines=0
    shift 2
    ./quickstart "$@" >"$place/out" 2>&1
    status=$?
    while read -r mark line; do
        lines=$((lines + 1))
        [ "$mark" = ✓ ]
        result $? "$name: $line"
    done < <(grep -E '^ +(✓|✗) ' "$place/out")
    [ "$status" -eq 0 ] && [ "$lines" -eq "$figures" ]
    result $? "$name: exit 0 after $figures figures that hold"
    [ "$status" -eq 0 ] || sed 's/^/# /' "$place/out"
}

sql() {
    psql -XqAt -h "$SENTINAI_HOME/run" -p "$port" -U postgres "$database" "$@"
}

# must_fail FIGURE CHANGE: after this change to what was noted, that figure
# does not hold.
must_fail() {
    sql -v run="$run" -v relayed="$relayed" -c begin -c "$2" \
        -f "test/demo/$proof" -c rollback | grep -q "^$1|.*|f$"
    result $? "the proof sees '$1' after: $(tr -s '\n ' ' ' <<<"$2")"
}

# refused NAME: the quickstart, and its end, refuse the folder as it is.
refused() {
    ! ./quickstart >"$place/out" 2>&1 && ! ./quickstart down >>"$place/out" 2>&1 &&
        grep -q 'is not a folder that only you can write to' "$place/out" &&
        [ ! -e "$place/run" ]
    result $? "refused: $1"
}

# Whoever knows the place prepares it: the state would make a file if it were run.
mkdir "$SENTINAI_HOME"
touch "$SENTINAI_HOME/.sentinai-quickstart"
echo "port=\$(touch $place/run)" >"$SENTINAI_HOME/state"
chmod 777 "$SENTINAI_HOME"
refused "a folder that others can write to"
if [ "$(id -u)" -eq 0 ]; then
    chmod 755 "$SENTINAI_HOME"
    chown nobody "$SENTINAI_HOME"
    refused "somebody else's folder"
fi
mv "$SENTINAI_HOME" "$place/elsewhere"
ln -s "$place/elsewhere" "$SENTINAI_HOME"
refused "a symbolic link"
rm "$SENTINAI_HOME"
mv "$place/elsewhere" "$SENTINAI_HOME"
chown "$(id -u)" "$SENTINAI_HOME"
chmod 755 "$SENTINAI_HOME"
! ./quickstart down >"$place/out" 2>&1 && grep -q 'has no port number' "$place/out" &&
    [ ! -e "$place/run" ]
result $? "a state that is no state is refused and not run"
rm -r "$SENTINAI_HOME"

run "first run" 7
run "second run" 7 --rate 5000

port=$(sed -n 's/^port=//p' "$SENTINAI_HOME/state")
database=flights proof=proof.sql
run=$(sql -c 'select max(run) from demo.run')
relayed=$(sed -n 's/^ *✓ relayed *\([0-9,]*\) records.*/\1/p' "$place/out" | tr -d ,)
one="(select event_id from demo.movement where run = $run and seq = 100)"
last="(select n.event_id from demo.note_published n where n.run = $run
    and n.fate = 'committed' and n.key = 'B6:N228JB' order by n.seq desc limit 1)"
must_fail published "delete from demo.movement where event_id = $one"
must_fail worked "select from (select sentinai.discard_dead_letter(event_id, worker_type, 'check', 'to be found')
    from sentinai.dead_letter where status = 'pending' offset 0) d;
    select sentinai.purge_dead_letters('infinity')"
must_fail failures "update demo.note_worked set outcome = 'complete'"
must_fail relayed "delete from demo.note_consumed where event_id = $one"
must_fail lost "delete from demo.note_consumed where event_id = $one"
must_fail phantom "insert into demo.note_worked
    select event_id, 1, 1, 'complete', 0 from demo.note_published
    where run = $run and fate = 'rolled back' limit 1"
must_fail "out of order" "update demo.note_worked set at_ns = 1
    where event_id = $last"
must_fail "out of order" "update demo.note_consumed set record_offset = -1
    where event_id = $last"
must_fail "out of order" "update demo.note_consumed set partition = 99
    where event_id = $last"

run "platform" 8 platform --exceptions 400 --rate 400
database=platform proof=platform_proof.sql
must_fail reported "delete from sentinai_platform.commands where command = 'submit_exception'
    and execution_id in (select execution_id from sentinai_platform.commands limit 1)"
must_fail "in order" "select sentinai.publish('TriageRequested', tenant_id, exception_id,
    jsonb_build_object('exception_id', exception_id, 'reason', 'again')) from sentinai_platform.exceptions limit 1"
must_fail approvals "update sentinai_platform.approvals set status = 'expired' where status = 'approved'"
must_fail playbooks "update sentinai_platform.playbook_executions set state = 'failed' where state = 'completed'"
must_fail tools "update demo.call set effect = 'nothing' where ctid = (select ctid from demo.call where effect = 'done' limit 1)"
must_fail tools "insert into demo.call select path, key, number + 1, status, effect from demo.call where effect = 'done' limit 1"
must_fail deadlines "select sentinai.set_deadline(tenant_id, exception_id, 'resolve', now() + interval '1 hour')
    from sentinai_platform.exceptions limit 1"
must_fail feedback "update sentinai_platform.exceptions set outcome = null where true"
must_fail left "select sentinai.subscribe('nobody', start_from => 'earliest')"

./quickstart down >"$place/out" 2>&1
result $? "down"
[ ! -e "$SENTINAI_HOME" ]
result $? "nothing is left of its folder"
left=0
for cmdline in /proc/[0-9]*/cmdline; do
    [[ $(tr '\0' ' ' 2>/dev/null <"$cmdline") != *"$SENTINAI_HOME"* ]] || left=1
done 2>/dev/null
result $left "nor of its processes"
echo "1..$tests"
