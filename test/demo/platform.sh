# shellcheck shell=bash
# test/demo/platform.sh: what ./quickstart platform does, step by step.
# SPDX-License-Identifier: PostgreSQL
#
# Source it after run.sh, whose packages, build, server and broker it shares.
# The database is made anew each time.
# shellcheck disable=SC2154,SC2034 # set and used across the sourced files

steps=6
database=platform
flights=$root/test/data/flight-exceptions.tsv.gz
agents=(intake triage policy playbook tool feedback)
people="call demo.work_as_people()"

read_platform_options() {
    want_broker=
    exceptions=1000
    rate=200
    while [ $# -gt 0 ]; do
        case $1 in
            --kafka)
                want_broker=kafka
                steps=7
                ;;
            --exceptions | --rate)
                [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || sn_die "$1 needs a number"
                printf -v "${1#--}" %s "$2"
                shift
                ;;
            *) sn_die "unknown option $1; see ./quickstart help" ;;
        esac
        shift
    done
}

# start_agent NAME: one process with two connections.
start_agent() {
    local options=(--dbname "$database" --concurrency 2)
    [ "$1" != tool ] || options+=(--secrets-dir "$notes/secrets" --lease 20s)
    [ "$want_broker" != kafka ] ||
        options+=(--source kafka --brokers "$bootstrap"
            --topics "$topics.exception" --group-id "$topics.$1")
    start "$1" "$root/build/workers/sentinai-$1" "${options[@]}"
}

# A relay of the database's own. Its topics are of this run: a database that was
# dropped had others.
make_relay() {
    [ "$want_broker" = kafka ] || return 0
    topics=platform-$$
    sql -c "select sentinai.create_relay('platform', 'kafka', 'bootstrap.servers=$bootstrap',
        aggregate_types => '{exception}', topic_template => '$topics.{aggregate_type}')"
}

# The services that the tools call, on a port of their own.
start_endpoint() {
    rm -f "$notes/endpoint"
    touch "$notes/calls"
    start endpoint "$root/build/demo/endpoint" "$notes/endpoint" "$notes/calls"
    sn_wait_until 10 test -s "$notes/endpoint"
}

# The extension, the airlines' rules, and what they report.
step_platform() {
    step $((steps - 2)) "create extension sentinai_platform"
    run=platform
    notes=$home/notes/$run
    rm -rf "$notes"
    mkdir -p "$notes/secrets"
    start_endpoint || fail "The services of the tools did not start."
    {
        psql -XqAt -d postgres -c "drop database if exists $database with (force)" \
            -c "create database $database" &&
            sql -c "create extension sentinai_platform cascade" \
                -v source="${want_broker:-database}" \
                -v port="$(cat "$notes/endpoint")" \
                -f "$root/test/demo/platform.sql" &&
            make_relay &&
            gzip -dc "$flights" | head -$((exceptions + 1)) |
            sql -c "\copy demo.flight from pstdin (format csv, delimiter E'\t', header)"
    } >>"$log" 2>&1 || fail "Could not set up the database."
    say "rules of $(sql -c "select count(distinct carrier) from demo.flight") airlines, tools at http://127.0.0.1:$(cat "$notes/endpoint")"
}

# Look once: sets the counters and paints the table.
look_at_platform() {
    IFS='|' read -r reported triaged asked ran called resolved waiting \
        < <(sql -f "$root/test/demo/platform_look.sql")
    table $((resolved * 100 / exceptions)) $((SECONDS - began)) \
        reported "$reported" triaged "$triaged" approvals "$asked" \
        playbooks "$ran" calls "$called" resolved "$resolved"
}

platform_is_through() {
    [ "$resolved" -ge "$exceptions" ] && [ "$waiting" -eq 0 ]
}

step_flights() {
    local agent
    step $((steps - 1)) "Replay $exceptions late and cancelled flights of 2013 through six agents"
    for agent in "${agents[@]}"; do
        start_agent "$agent"
    done
    start people psql -Xq -d "$database" -c "$people"
    start reports psql -Xq -v ON_ERROR_STOP=1 -d "$database" -c "call demo.report($rate)"
    publisher_pids=("$!")
    follow look_at_platform platform_is_through reported triaged asked ran called resolved waiting
    sql -c "select pg_terminate_backend(pid) from pg_stat_activity where query = '$people'" >/dev/null
    stop_children
}

# Each row of the proof a line with a mark, then a table for people.
step_platform_proof() {
    local what figures holds good=1
    step "$steps" "The proof, from the log, the read models and the services"
    {
        sql -c "\copy demo.call from pstdin" <"$notes/calls" &&
            sql -f "$root/test/demo/platform_proof.sql" >"$notes/proof"
    } 2>>"$log" || fail "Could not compute the proof."
    while IFS='|' read -r what figures holds; do
        verdict "$holds" "$what" "$figures"
        [ "$holds" = t ] || good=0
    done <"$notes/proof"
    for what in "${ended_badly[@]}"; do
        [[ $what != people* ]] || continue # who was sent home
        verdict f "ended badly" "$what"
        good=0
    done
    printf '\n'
    psql -Xq -d "$database" -P footer=off -f "$root/test/demo/platform_summary.sql" |
        sed '/^$/d; s/^/      /'
    [ "$good" -eq 1 ]
}

say_next_of_platform() {
    cat <<EOF

${bold}Try next${plain}
  psql -h $home/run -p $port -U postgres $database
      select exception_id, severity, playbook, outcome from sentinai_platform.list_exceptions('UA');
      select worker_type, lag_events, retrying, dead from sentinai.stat_queue;
  ./quickstart platform --exceptions 10000 --rate 1000
  ./quickstart down      stops and removes it
EOF
}

run_platform() {
    read_platform_options "$@"
    open_home
    trap 'stop_children' EXIT
    trap 'exit 130' INT TERM HUP PIPE
    step_packages
    step_build
    step_database
    [ -z "$want_broker" ] || step_broker
    step_platform
    step_flights
    conclude step_platform_proof say_next_of_platform
}
