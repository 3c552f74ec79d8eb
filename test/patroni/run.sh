#!/bin/bash
# test/patroni/run.sh: what docs/patroni.md says, in a cluster on this machine.
# SPDX-License-Identifier: PostgreSQL
#
#   make check-patroni        as root, on Debian; about four minutes
#
# etcd, HAProxy, three nodes under Patroni with the page's settings. A publisher
# and an agent go through HAProxy, another agent has the three hosts. One
# switchover, one kill -9 of the primary's node: nothing acknowledged is lost,
# both agents have done everything, the relay has sent everything. Prints the
# longest pauses. Then, where there is no /dev/watchdog, that "mode: required"
# lets no node be primary; a watchdog that resets cannot be tried on a machine
# without one. TAP.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root" || exit 1
. test/lib/common.sh
. test/lib/setup.sh
. test/lib/cluster.sh
[ "$(id -u)" -eq 0 ] || sn_die "it installs packages: run it as root"
pg_config=${PG_CONFIG:-$(installed_pg_config)}
pgbin=$("$pg_config" --bindir)
place=$(mktemp -d /var/tmp/sentinai-patroni.XXXXXX) || exit 1
tests=0 failed=0 pids=()
password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
ports=() rest=()
export PGPASSWORD=$password PGUSER=postgres PGDATABASE=postgres LC_ALL=C.UTF-8

finish() {
    local pid
    for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null; done
    # the servers that Patroni has started name the folder
    for pid in /proc/[0-9]*; do
        sn_is_ours "${pid#/proc/}" "$place" && kill -KILL "${pid#/proc/}" 2>/dev/null
    done
    if [ "$failed" -eq 0 ]; then rm -rf "$place"; else echo "# kept: $place"; fi
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

result() {
    tests=$((tests + 1))
    [ "$1" -eq 0 ] || { failed=$((failed + 1)); printf 'not '; }
    echo "ok $tests - $2"
}

# Debian's packages start services when they are installed, if nobody forbids.
install_packages() {
    local policy=/usr/sbin/policy-rc.d ours=
    [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy; chmod 755 $policy; ours=1; }
    sn_install_packages "$place/install.log" "$@"
    local status=$?
    [ -z "$ours" ] || rm -f $policy
    return $status
}

# as_server LOG COMMAND...: in the background, as the server's user.
as_server() {
    local log=$1
    shift
    (cd / && exec runuser -u postgres -- "$@") >>"$log" 2>&1 </dev/null &
    pids+=($!)
    disown    # nothing is said when it is killed
}

# node_conf NAME N SCOPE WATCHDOG
node_conf() {
    cat <<END
scope: $3
name: $1
restapi: {listen: '127.0.0.1:${rest[$2]}', connect_address: '127.0.0.1:${rest[$2]}'}
etcd3: {host: '127.0.0.1:$etcd'}
watchdog: {mode: '$4'}
bootstrap:
  dcs:
    ttl: 30
    loop_wait: 10
    retry_timeout: 10
    synchronous_mode: true
    synchronous_mode_strict: true
    postgresql:
      use_pg_rewind: true
      parameters:
        shared_preload_libraries: sentinai
        max_worker_processes: 16
        sentinai.kafka_conf: 'bootstrap.servers=$broker'
        sentinai.topic_partitions: 0
        sentinai.retention: 14d
  initdb: [{encoding: UTF8}, {locale: C.UTF-8}, data-checksums]
  pg_hba: ['host all all 127.0.0.1/32 scram-sha-256', 'host replication all 127.0.0.1/32 scram-sha-256']
postgresql:
  listen: 127.0.0.1:${ports[$2]}
  connect_address: 127.0.0.1:${ports[$2]}
  data_dir: $place/$1/data
  bin_dir: $pgbin
  pgpass: $place/$1/pgpass
  parameters: {unix_socket_directories: '$place/$1', password_encryption: scram-sha-256}
  authentication:
    superuser: {username: postgres, password: '$password'}
    replication: {username: replicator, password: '$password'}
END
}

start_node() {
    mkdir -p "$place/$1" && chown postgres "$place/$1" && chmod 700 "$place/$1"
    node_conf "$1" "$2" "$3" "$4" >"$place/$1.yml"
    chown postgres "$place/$1.yml"
    as_server "$place/$1.log" patroni "$place/$1.yml"
    eval "patroni_$1=$!"
}

haproxy_conf() {
    local n
    cat <<END
defaults
    timeout connect 2s
    timeout client 1h
    timeout server 1h
listen primary
    bind 127.0.0.1:$proxy
    mode tcp
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
END
    for n in 1 2 3; do
        echo "    server node$n 127.0.0.1:${ports[$n]} check port ${rest[$n]}"
    done
}

sql() { psql -XqAt -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$proxy" -c "$1" 2>/dev/null; }
is_true() { [ "$(sql "$1")" = t ]; }
answers() { sql 'select 1' >/dev/null; }
leads() { [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:${rest[$1]}/primary")" = 200 ]; }
primary() {
    local n
    for n in 1 2 3; do
        ! leads "$n" || echo "$n"
    done
}
has_primary() { [ -n "$(primary)" ]; }
other_primary() { local now; now=$(primary); [ -n "$now" ] && [ "$now" != "$1" ]; }
# Patroni fails over only to a standby of which it has noted that it is
# synchronous, which comes a little later than PostgreSQL's own word.
standbys() {
    is_true "select count(*) >= $1 from pg_stat_replication" &&
        patronictl -c "$place/node1.yml" list 2>/dev/null | grep -q 'Sync Standby'
}

# paused NAME SINCE: the longest pause of a subscription since then
paused() {
    sql "select round(max(extract(epoch from gap)), 1) from (select processed_at - lag(processed_at)
        over (order by processed_at) as gap from sentinai.event_processing
        where worker_type = '$1' and processed_at > '$2') g"
}

# measured NAME COMMAND...: the load, something that happens to it, the pauses
measured() {
    local name=$1 since old acknowledged pause
    shift
    since=$(sql 'select clock_timestamp()')
    old=$(primary)
    as_server "$place/publish.$name" "$python" "$here_copy/publish.py" \
        "host=127.0.0.1 port=$proxy user=postgres dbname=postgres" "$place/ids.$name"
    local publisher=$!
    sleep 3    # load before what happens
    "$@" "$old"
    sn_wait_until 90 other_primary "$old"
    result $? "$name: another node is the primary"
    sn_wait_until 60 answers
    sleep 3    # and after
    pkill -TERM -P "$publisher"
    sn_wait_until 20 grep -qE '^[0-9]+ [0-9.]+$' "$place/publish.$name"
    read -r acknowledged pause < <(grep -E '^[0-9]+ [0-9.]+$' "$place/publish.$name")
    sn_wait_until 90 is_true "select bool_and(lag_events = 0 and retrying = 0) from sentinai.stat_queue"
    result $? "$name: both agents have done everything"
    [ "$acknowledged" -gt 0 ] && [ "$(sort -u "$place/ids.$name" | wc -l)" -eq "$acknowledged" ] &&
        [ "$(psql -XqAt -h 127.0.0.1 -p "$proxy" -c "create temp table ids (id uuid)" \
            -c "\\copy ids from $place/ids.$name" \
            -c "select count(*) from ids where id not in (select event_id from sentinai.event_log)")" = 0 ]
    result $? "$name: none of $acknowledged acknowledged events is lost"
    sn_wait_until 90 is_true 'select lag_events = 0 from sentinai.stat_relay'
    result $? "$name: the relay has sent everything"
    echo "# $name: publisher $pause s, agent through HAProxy $(paused proxied "$since") s," \
        "agent with three hosts $(paused hosts "$since") s"
}

switch_over() { patronictl -c "$place/node$1.yml" switchover --force --master "node$1" >"$place/ctl.log" 2>&1; }

# The node dies: Patroni and the postmaster, with kill -9.
lose_node() {
    local patroni="patroni_node$1"
    pkill -KILL -P "${!patroni}"; kill -KILL "${!patroni}" 2>/dev/null
    kill -KILL "$(head -1 "$place/node$1/data/postmaster.pid")"
}

install_packages patroni etcd-server haproxy python3-etcd python3-psycopg curl procps ||
    sn_die "the packages could not be installed"
python=/usr/bin/python3
make -s PG_CONFIG="$pg_config" >/dev/null && make -s PG_CONFIG="$pg_config" install >/dev/null &&
    make -s PG_CONFIG="$pg_config" mock >/dev/null || sn_die "it does not build"
chown postgres "$place" && chmod 755 "$place"
here_copy=$place/bin && mkdir "$here_copy" && cp "$here/publish.py" build/mock/sentinai-mockbroker build/workers/sentinai-work "$here_copy/"
etcd=$(sn_free_port) peer=$(sn_free_port) proxy=$(sn_free_port)
for n in 1 2 3 4; do ports[n]=$(sn_free_port) rest[n]=$(sn_free_port); done
as_server "$place/broker" "$here_copy/sentinai-mockbroker" --brokers 1
sn_wait_until 10 test -s "$place/broker"
broker=$(head -1 "$place/broker")
as_server "$place/etcd.log" etcd --data-dir "$place/etcd" --listen-client-urls "http://127.0.0.1:$etcd" \
    --advertise-client-urls "http://127.0.0.1:$etcd" --listen-peer-urls "http://127.0.0.1:$peer" \
    --initial-advertise-peer-urls "http://127.0.0.1:$peer" --initial-cluster "default=http://127.0.0.1:$peer"
haproxy_conf >"$place/haproxy.cfg"
as_server "$place/haproxy.log" haproxy -db -f "$place/haproxy.cfg"
start_node node1 1 sentinai 'off'
sn_wait_until 60 has_primary
start_node node2 2 sentinai 'off'
start_node node3 3 sentinai 'off'
sn_wait_until 90 standbys 2
result $? "three nodes, one of them synchronous"
sn_wait_until 30 sql "create extension if not exists sentinai"
sql "select sentinai.subscribe('proxied'), sentinai.subscribe('hosts')" >/dev/null
hosts="host=127.0.0.1,127.0.0.1,127.0.0.1 port=${ports[1]},${ports[2]},${ports[3]} dbname=postgres"
as_server "$place/proxied.log" "$here_copy/sentinai-work" --dbname "host=127.0.0.1 port=$proxy dbname=postgres" \
    --worker-type proxied --exec true
as_server "$place/hosts.log" "$here_copy/sentinai-work" --dbname "$hosts" --worker-type hosts --exec true
measured switchover switch_over
sn_wait_until 90 standbys 2
result $? "the old primary is a standby"
measured death lose_node
if [ -e /dev/watchdog ]; then
    result 0 "a watchdog is required # SKIP there is /dev/watchdog, and trying it resets the machine"
else
    start_node dog 4 dog required
    sn_wait_until 60 grep -qi 'watchdog' "$place/dog.log" &&
        ! sn_wait_until 15 leads 4
    result $? "a watchdog is required and there is none: no primary"
    grep -i watchdog "$place/dog.log" | head -2 | sed 's/^/# /'
fi
echo "1..$tests"
[ "$failed" -eq 0 ]
