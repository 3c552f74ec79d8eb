#!/bin/bash
# test/bench/relay_instructions.sh [EVENTS [FORMAT]]: what a relay does for an event.
# SPDX-License-Identifier: PostgreSQL
#
# Counts the instructions of a relay process with callgrind, for two backlogs of
# which one has EVENTS (20000) more. The difference is that of the events, on any
# machine and however busy it is. PG_CONFIG names the installation; SENTINAI_MOCK
# the mock broker, which has to be made (make mock).
#
# The first line is the relay's own thread, the rest are librdkafka's.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=test/lib/common.sh
. "$here/../lib/common.sh"
# shellcheck source=test/lib/cluster.sh
. "$here/../lib/cluster.sh"

events=${1:-20000} format=${2:-debezium}
pgbin=$("${PG_CONFIG:-pg_config}" --bindir)
mock=${SENTINAI_MOCK:-$here/../../build/mock/sentinai-mockbroker}
least=4000
port=$(sn_free_port)
dir=$(mktemp -d /var/tmp/sn-ir.XXXXXX)
chmod 755 "$dir"
broker=
trap 'sn_cluster_stop "$dir/server" >/dev/null 2>&1; kill $broker 2>/dev/null; rm -rf "$dir"' EXIT

sql() {
    PGHOST=$dir/server/run PGPORT=$port PGUSER=postgres "$pgbin/psql" -XAtq -d postgres -c "$1"
}

answers() {
    [ "$(sql "$1" 2>/dev/null)" = t ]
}

# A server whose relay has so many events before it, all of them sequenced.
backlog() {
    rm -rf "$dir/server" && sn_cluster_make "$dir/server" "$port" >/dev/null <<EOF
shared_preload_libraries = 'sentinai'
autovacuum = off
fsync = off
shared_buffers = 256MB
sentinai.kafka_conf = 'bootstrap.servers=$(cat "$dir/bootstrap"); linger.ms=5'
sentinai.topic_template = 'all'
sentinai.record_format = '$format'
sentinai.relay_inflight = 2000
sentinai.topic_partitions = 0
EOF
    sn_cluster_start "$dir/server" >/dev/null || sn_die "the server did not start"
    sql "create extension sentinai" && sql "
        select sentinai.pause_relay();
        select count(*) from (
            select sentinai.publish_batch(array_agg('Measured'::text), array_agg('t' || i % 5), array_agg('key' || i % 1000),
                array_agg(jsonb_build_object('n', i, 'pad', repeat('x', 200))))
            from generate_series(1, $1) i group by i / 1000) batches" >/dev/null || sn_die "nothing was published"
    sn_wait_until 120 answers "select sum(lag_events) >= $1 from sentinai.stat_relay" || sn_die "the backlog is not there"
    sn_cluster_stop "$dir/server" >/dev/null
}

# The instructions of each thread of the relay that sends them.
count() {
    local pid
    backlog "$1"
    mkdir "$dir/$1" && chmod 777 "$dir/$1"
    sn_as_server valgrind --tool=callgrind --trace-children=yes --separate-threads=yes \
        --callgrind-out-file="$dir/$1/%p" "$pgbin/postgres" -D "$dir/server/data" >"$dir/log" 2>&1 &
    sn_wait_until 300 answers "select true" || sn_die "no server under callgrind"
    sql "select sentinai.resume_relay()" >/dev/null
    sn_wait_until 900 answers "select sum(lag_events + in_flight) = 0 from sentinai.stat_relay" || sn_die "the relay does not send"
    pid=$(sql "select pid from sentinai.stat_relay")
    sn_cluster_stop "$dir/server" >/dev/null
    wait $!
    sed -n 's/^totals: //p' "$dir/$1/$pid"-0*
}

"$mock" --file "$dir/bootstrap" all:12 <&- >/dev/null &
broker=$!
sn_wait_until 30 test -s "$dir/bootstrap" || sn_die "no mock broker"
count $least >"$dir/less"
count $((least + events)) >"$dir/more"
paste "$dir/less" "$dir/more" | while read -r less more; do
    echo $(((more - less) / events))
done
