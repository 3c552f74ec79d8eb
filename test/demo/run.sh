# shellcheck shell=bash
# test/demo/run.sh: what ./quickstart does, step by step.
# SPDX-License-Identifier: PostgreSQL
#
# Source it from quickstart. Everything made is in $home, which carries a mark
# so that nothing else is ever removed:
#   data, run, log   the cluster        broker   the broker's folder
#   notes/RUN        what publishers, agents and consumer wrote down
#   state            port, broker kind and such, a line NAME=VALUE each
# shellcheck disable=SC2154,SC2034 # set and used across the sourced files

# shellcheck source=test/demo/table.sh
. "$root/test/demo/table.sh"

steps=7
publishers=4
agents=2
day=$root/test/data/flights-2013-01-01.tsv
database=flights
topic=sentinai.aircraft
quiet_seconds=30        # no progress for so long: give up and show what is off
mark=.sentinai-quickstart
state_names=(port broker bootstrap sql_sum install_mark)
children=()             # their process ids
names=()                # and what they are, by process id

# fail TEXT: end the run with the end of the log.
fail() {
    printf '%s\n' "${red}$1${plain}" >&2
    tail -20 "$log" 2>/dev/null | sed 's/^/      | /' >&2
    printf '      the whole log: %s\n' "$log" >&2
    exit 1
}

# quietly COMMAND...: its output goes to the log; what it leaves running does
# not hold our lock.
quietly() {
    "$@" >>"$log" 2>&1 </dev/null 8>&-
}

sql() {
    psql -XqAt -v ON_ERROR_STOP=1 -d "$database" "$@"
}

save_state() {
    local name
    for name in "${state_names[@]}"; do
        printf '%s=%s\n' "$name" "${!name:-}"
    done >"$home/state"
}

# Text and nothing else: what is read is never run.
load_state() {
    local name value
    port='' broker='' bootstrap='' sql_sum='' install_mark=''
    [ -e "$home/state" ] || return 0
    while IFS='=' read -r name value; do
        [[ " ${state_names[*]} " != *" $name "* ]] || printf -v "$name" %s "$value"
    done <"$home/state"
    [[ $port =~ ^[0-9]*$ ]] || sn_die "$home/state has no port number"
}

# The place is known to every user of the machine, and root works in it: it has
# to be a folder of the caller's own that nobody else can write to.
check_owner() {
    local owner_mode
    owner_mode=$(stat -c '%F %u %A' "$home") || exit 1
    [[ $owner_mode =~ ^directory\ $(id -u)\ d....-..-.$ ]] ||
        sn_die "$home is not a folder that only you can write to ($owner_mode); remove it or set SENTINAI_HOME elsewhere"
}

# Make $home, or refuse a folder that is somebody else's. A folder made here is
# ours: mkdir fails on what is there, a symbolic link included.
open_home() {
    mkdir -p "$(dirname "$home")" || exit 1
    mkdir -m 755 "$home" 2>/dev/null || check_owner
    if [ ! -e "$home/$mark" ] && [ -n "$(ls -A "$home")" ]; then
        sn_die "$home exists and is not ours; set SENTINAI_HOME elsewhere"
    fi
    mkdir -p "$home/notes" "$home/broker" || exit 1
    touch "$home/$mark" || exit 1
    lock_home
    log=$home/quickstart.log
    : >"$log"
    load_state
}

# One quickstart at a time; whatever outlives it is started with 8>&-.
lock_home() {
    exec 8>"$home/lock"
    flock -n 8 || sn_die "another quickstart runs in $home"
}

read_options() {
    want_broker=mock
    rate=400
    while [ $# -gt 0 ]; do
        case $1 in
            --kafka) want_broker=kafka ;;
            --rate)
                rate=${2:-}
                [[ $rate =~ ^[1-9][0-9]*$ ]] || sn_die "--rate needs a number"
                shift
                ;;
            *) sn_die "unknown option $1; see ./quickstart help" ;;
        esac
        shift
    done
}

step_packages() {
    step 1 "Packages"
    sn_install_packages "$log" "${base_packages[@]}" ||
        fail "Could not install the packages."
    find_postgres "$log" || fail "Could not install PostgreSQL."
    [ "$want_broker" != kafka ] || quietly "$root/test/kafka/kafka.sh" install ||
        fail "Could not get Apache Kafka."
    say "PostgreSQL $pg_major ($pg_config)"
}

# The library is removed by `down` only when it was not there before us and
# is still the one that we installed.
step_build() {
    local before
    step 2 "Build and install the extension"
    before=$(installed_stamp)
    quietly build_all || fail "The build failed."
    quietly install_built || fail "The installation failed."
    if [ -z "$before" ] || [ "$before" = "$install_mark" ]; then
        install_mark=$(installed_stamp)
        save_state
    fi
    [ "$before" = "$(installed_stamp)" ] || restart=1
    say "in $("$pg_config" --pkglibdir)"
}

# A cluster made from another install script cannot go on with this one.
step_database() {
    local sum
    step 3 "A PostgreSQL of our own"
    sum=$(cat "$root"/sentinai*--*.sql | sha256sum)
    if [ -d "$home/data" ] && [ "${sum%% *}" != "$sql_sum" ]; then
        say "the extension's SQL has changed: a new cluster"
        quietly sn_cluster_stop "$home"
        rm -rf "$home/data" "$home/run" "$home/log"
    fi
    sql_sum=${sum%% *}
    if [ ! -d "$home/data" ]; then
        port=$(sn_free_port)
        quietly make_cluster || fail "Could not make the cluster."
    elif [ "${restart:-}" ]; then
        quietly sn_cluster_stop "$home"
    fi
    save_state
    quietly sn_cluster_start "$home" || {
        sn_as_server cat "$home/log/postgresql.log" >>"$log"
        fail "The server did not start."
    }
    sn_cluster_env "$home" "$port"
    [ -n "$(psql -XAt -d postgres -c "select 1 from pg_database
        where datname = '$database'")" ] ||
        quietly "$pgbin/createdb" "$database" || fail "Could not make a database."
    say "socket in $home/run, port $port, no TCP"
}

make_cluster() {
    sn_cluster_make "$home" "$port" <<EOF
shared_preload_libraries = 'sentinai'
max_connections = 50
shared_buffers = 128MB
EOF
}

mock_pid() {
    cat "$home/broker/mock.pid" 2>/dev/null
}

mock_program=$root/build/mock/sentinai-mockbroker

start_mock() {
    local file=$home/broker/mock.bootstrap
    sn_is_ours "$(mock_pid)" "$file" && return
    rm -f "$file"
    setsid "$mock_program" --file "$file" "$topic:12" \
        >"$home/broker/mock.log" 2>&1 </dev/null 8>&- &
    echo $! >"$home/broker/mock.pid"
    disown
    sn_wait_until 15 test -s "$file" || return 1
    bootstrap=$(cat "$file")
}

stop_broker() {
    sn_end_process "$(mock_pid)" "$home/broker/mock.bootstrap" 5
    rm -f "$home/broker/mock.pid"
    "$root/test/kafka/kafka.sh" stop "$home/broker/kafka"
}

step_broker() {
    [ "$broker" = "$want_broker" ] || quietly stop_broker
    broker=$want_broker
    if [ "$broker" = kafka ]; then
        step 4 "Apache Kafka"
        quietly "$root/test/kafka/kafka.sh" ready "$home/broker/kafka" ||
            quietly "$root/test/kafka/kafka.sh" start "$home/broker/kafka" ||
            fail "Kafka did not start."
        bootstrap=$(cat "$home/broker/kafka/bootstrap")
    else
        step 4 "A small broker (librdkafka's mock cluster, in memory)"
        start_mock || fail "The broker did not start."
    fi
    save_state
    say "$bootstrap"
}

# The extension, the application's tables, a subscription, the relay.
step_extension() {
    step 5 "create extension sentinai"
    {
        sql -c "create extension if not exists sentinai" \
            -f "$root/test/demo/demo.sql" \
            -c "alter system set sentinai.kafka_conf = 'bootstrap.servers=$bootstrap'" \
            -c "alter system set sentinai.control_topic = 'sentinai.control'" \
            -c "select pg_reload_conf()" &&
            sql -c "select sentinai.subscribe('desk',
                array['FlightScheduled', 'FlightDelayed', 'FlightDeparted',
                    'FlightArrived', 'FlightCancelled'],
                start_from => 'latest', max_attempts => 3,
                backoff => '{200ms,400ms}')
            where not exists (select from sentinai_internal.subscription
                where worker_type = 'desk')"
    } >>"$log" 2>&1 || fail "Could not set up the database."
    say "subscription desk (3 attempts, 200 and 400 ms apart), relay to $topic"
}

# start NAME COMMAND...: a child that ends with the quickstart.
start() {
    local name=$1
    shift
    "$@" >>"$home/notes/$run/$name.log" 2>&1 </dev/null 8>&- &
    children+=($!)
    names[$!]=$name
}

# End what still runs, newest first; ended_badly names who did not end well.
stop_children() {
    local pid status i
    trap '' PIPE # nobody may be left to read what we say
    ended_badly=()
    for ((i = ${#children[@]} - 1; i >= 0; i--)); do
        pid=${children[i]}
        kill -TERM "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
        status=$?
        [ "$status" -eq 0 ] || ended_badly+=("${names[pid]} (status $status)")
    done
    children=()
}

# Have all that should run until they are told to stop kept running?
all_alive() {
    local pid
    for pid in "${children[@]}"; do
        [[ " ${publisher_pids[*]} " == *" $pid "* ]] ||
            kill -0 "$pid" 2>/dev/null || return 1
    done
}

# One event through everything, so that no figure contains a start.
warm_up() {
    warm_id=$(sql -c "select sentinai.publish('FlightScheduled', 'warm-up',
        'warm-up', '{}', aggregate_type => 'aircraft')") || return 1
    sn_wait_until 60 warm
}

warm() {
    grep -qsF "$warm_id" "$notes"/worked.* && grep -qsF "$warm_id" "$notes/consumed"
}

# Records that the broker has acknowledged to the relay so far.
relay_sent() {
    sql -c "select coalesce(sum(acked_count), 0) from sentinai.stat_relay"
}

# follow LOOK DONE COUNTER...: look again and again until DONE, or until none of
# the counters moves any more, or somebody who should run has gone.
follow() {
    local look=$1 done=$2 counter state last='' last_at=$SECONDS
    shift 2
    began=$SECONDS
    until "$look" && "$done"; do
        state=
        for counter in "$@"; do
            state+=" ${!counter}"
        done
        [ "$state" = "$last" ] || last_at=$SECONDS
        last=$state
        all_alive && [ $((SECONDS - last_at)) -lt "$quiet_seconds" ] || break
        sleep 0.3
    done
    table_at=-10
}

# Count what the notes tell: published, claimed, completed, failed, consumed.
count_notes() {
    awk -F '\t' '
        kind == "p" && $5 == "committed" { ours[$3]; published++ }
        kind == "w" && $1 in ours {
            if (!($1 in seen)) { seen[$1]; claimed++ }
            if ($4 == "complete") completed++; else failed++
        }
        kind == "c" && $1 in ours && !($1 in read) { read[$1]; consumed++ }
        END { print published + 0, claimed + 0, completed + 0, failed + 0,
                consumed + 0 }
    ' kind=p "$notes"/published.* kind=w "$notes"/worked.* \
        kind=c "$notes/consumed"
}

# Look once: sets the counters and paints the table.
look() {
    local percent
    read -r published claimed completed failed consumed < <(count_notes)
    IFS='|' read -r dead relayed < <(sql -c "select
        (select count(*) from sentinai.dead_letter d join demo.movement m
            using (event_id) where m.run = $run and d.worker_type = 'desk'),
        (select coalesce(sum(acked_count), 0) from sentinai.stat_relay)")
    relayed=$((${relayed:-0} - relayed_before))
    percent=$(((completed + ${dead:-0} + consumed) * 50 / total))
    table "$percent" $((SECONDS - began)) published "$published" \
        claimed "$claimed" completed "$completed" failed "$failed" \
        dead "${dead:-0}" relayed "$relayed" consumed "$consumed"
}

# Is everything of the run through, and nothing on its way any more?
all_through() {
    [ $((completed + dead)) -ge "$total" ] && [ "$consumed" -ge "$total" ] &&
        [ "$(sql -c "select count(*) from sentinai.event_log l
            join demo.movement m on m.event_id = l.causation_id
            where m.run = $run")" -le $((relayed - total)) ] &&
        [ "$(wc -l <"$notes/consumed")" -eq "$(sleep 1
            wc -l <"$notes/consumed")" ]
}

step_replay() {
    local i
    step 6 "Replay 1 January 2013: 842 flights from New York, $publishers publishers, $agents agents"
    total=$(($(wc -l <"$day") - 1))
    run=$(sql -c "insert into demo.run default values returning run")
    notes=$home/notes/$run
    mkdir -p "$notes"
    touch "$notes/consumed"
    start consumer "$root/build/demo/consume" "$bootstrap" "quickstart-$run-$$" \
        "$notes/consumed"
    for i in $(seq $agents); do
        touch "$notes/worked.$i"
        start "agent.$i" env PGDATABASE=$database "$root/build/demo/desk" \
            --worker-type desk --worker-id "desk-$i" --concurrency 2 --notes "$notes/worked.$i"
    done
    warm_up || fail "The first event did not come through; see $notes/*.log."
    relayed_before=$(relay_sent)
    publisher_pids=()
    for i in $(seq $publishers); do
        touch "$notes/published.$i"
        start "publisher.$i" env PGDATABASE=$database "$root/build/demo/publish" \
            "$run" "$day" $((i - 1)) $publishers $((rate / publishers + 1)) \
            "$notes/published.$i"
        publisher_pids+=("$!")
    done
    follow look all_through published claimed completed dead relayed consumed
    stop_children
}

# Both sides of the story, compared in SQL.
step_proof() {
    local what figures holds good=1
    step 7 "The proof, from both sides"
    {
        sql -c "truncate demo.note_published, demo.note_worked, demo.note_consumed" &&
            cat "$notes"/published.* | sql -c "\copy demo.note_published from pstdin" &&
            cat "$notes"/worked.* | sql -c "\copy demo.note_worked from pstdin" &&
            sql -c "\copy demo.note_consumed from pstdin" <"$notes/consumed"
    } >>"$log" 2>&1 || fail "Could not read the notes."
    sql -v run="$run" -v relayed="$relayed" -f "$root/test/demo/proof.sql" \
        -f "$root/test/demo/latency.sql" >"$notes/proof" 2>>"$log" ||
        fail "Could not compute the proof."
    while IFS='|' read -r what figures holds; do
        case $holds in
            t | f)
                verdict "$holds" "$what" "$figures"
                [ "$holds" = t ] || good=0
                ;;
            *) say "$(printf '%-20s p50 %s ms, p99 %s ms' "$what" \
                "$figures" "$holds")" ;;
        esac
    done <"$notes/proof"
    [ "${#ended_badly[@]}" -eq 0 ] || {
        verdict f "ended badly" "$(printf '%s  ' "${ended_badly[@]}")"
        good=0
    }
    [ "$good" -eq 1 ]
}

say_next() {
    cat <<EOF

${bold}Try next${plain}
  psql -h $home/run -p $port -U postgres $database
      select * from sentinai.stat_queue;
      select event_type, reason, attempts from sentinai.dead_letter;
      select sentinai.publish('FlightScheduled', 'UA', 'N14228', '{"flight": "UA1545"}',
          aggregate_type => 'aircraft');
  kcat -b $bootstrap -C -t $topic -o -5 -e -f '%k %s\n      %h\n'
  ./quickstart           again, on the same cluster
  ./quickstart down      stops and removes it
EOF
}

run_demo() {
    read_options "$@"
    open_home
    trap 'stop_children' EXIT
    trap 'exit 130' INT TERM HUP PIPE
    step_packages
    step_build
    step_database
    step_broker
    step_extension
    step_replay
    conclude step_proof say_next
}

# conclude PROOF SAY_NEXT: the last lines; without a proof the exit status is 1.
conclude() {
    if "$1"; then
        printf '\n%sEvery figure holds.%s It took %d seconds.\n' \
            "$green" "$plain" "$SECONDS"
        "$2"
    else
        printf '\n%sA figure is off.%s The notes are in %s.\n' \
            "$red" "$plain" "$notes" >&2
        exit 1
    fi
}

# Remove what the quickstart made: processes, folder, installed extension.
take_down() {
    [ -e "$home/$mark" ] || {
        echo "Nothing to remove in $home."
        return
    }
    check_owner
    lock_home
    log=/dev/null
    load_state
    find_postgres /dev/null
    stop_broker >/dev/null 2>&1
    sn_cluster_stop "$home" >/dev/null || sn_die "could not stop the server"
    uninstall_ours "$install_mark" >/dev/null 2>&1 &&
        echo "Uninstalled the extension."
    rm -rf "$home"
    echo "Removed $home. Packages and the build in this folder stay."
}
