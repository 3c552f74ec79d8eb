#!/bin/bash
# test/matrix/pg_upgrade.sh: pg_upgrade from each PostgreSQL to the next. TAP.
# SPDX-License-Identifier: PostgreSQL
#
#   test/matrix/pg_upgrade.sh [BINDIR…]
#
# BINDIRs of servers in rising order, which all have the extension; without, all
# of /usr/lib/postgresql that have it. Not as root. A database with something of
# everything, as the oldest released version makes it, goes through pg_upgrade
# from one to the next; each time all rows are as they were, the relay is paused,
# nobody writes until after_restore(), what was not completed can be claimed, and
# new events flow. At the end ALTER EXTENSION UPDATE makes it like a new one.
# upgrade.sh brings the servers of several systems together and calls it.
set -u
export LC_ALL=C PGTZ=UTC
unset PGHOST PGPORT PGUSER PGDATABASE PGDATA PGSERVICE PGOPTIONS
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
place=$(mktemp -d "${TMPDIR:-/tmp}/sentinai-upgrade.XXXXXX") || exit 1
port=$((20000 + $$ % 20000))
tests=0 failed=0 running=''
export PGHOST=$place PGPORT=$port PGUSER=postgres PGDATABASE=app

finish() {
    [ -z "$running" ] || "$bin/pg_ctl" -D "$running" -m immediate stop >/dev/null
    if [ "$failed" -eq 0 ]; then rm -rf "$place"; else echo "# kept: $place"; fi
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

# result STATUS NAME: one line of TAP.
result() {
    tests=$((tests + 1))
    [ "$1" -eq 0 ] || { failed=$((failed + 1)); printf 'not '; }
    echo "ok $tests - $2"
}

# same NAME EXPECTED ACTUAL
same() {
    [ "$2" = "$3" ]
    result $? "$1"
    diff <(echo "$2") <(echo "$3") | sed 's/^/# /' | head -20
}

sql() { "$bin/psql" -XqAt -v ON_ERROR_STOP=1 -c "$1"; }

# until_true QUERY NAME: a test that it becomes true.
until_true() {
    local deadline=$((SECONDS + 180)) answer
    until answer=$(sql "$1"); [ "$answer" = t ] || [ "$SECONDS" -ge "$deadline" ]; do
        sleep 0.1
    done
    [ "$answer" = t ]
    result $? "$2"
}

# make DIR: a cluster of the server at hand, without checksums as in old ones.
make() {
    local options=(-U postgres -E UTF8 --locale=C -A trust --no-sync)
    "$bin/initdb" --help | grep -q no-data-checksums &&
        options+=(--no-data-checksums)
    "$bin/initdb" -D "$1" "${options[@]}" >>"$place/log" 2>&1
    cat >>"$1/postgresql.conf" <<END
shared_preload_libraries = 'sentinai'
listen_addresses = ''
unix_socket_directories = '$place'
port = $port
fsync = off
sentinai.launcher_naptime = 1s
sentinai.kafka_conf = 'bootstrap.servers=127.0.0.1:1'
END
}

start() {
    "$bin/pg_ctl" -D "$1" -w -t 60 -l "$place/server.log" start >>"$place/log" 2>&1 &&
        running=$1
}

stop() {
    "$bin/pg_ctl" -D "$running" -w -m fast stop >>"$place/log" 2>&1
    running=''
}

# picture: every table with its rows, every sequence.
picture() {
    sql "select format(case relkind when 'S' then 'select %L, last_value, is_called from %s;'
            else 'select %L, count(*), md5(string_agg(x::text, chr(10) order by x::text)) from %s x;'
            end, oid::regclass, oid::regclass)
        from pg_class where relnamespace = 'sentinai_internal'::regnamespace and relkind in ('r', 'S')
        order by oid::regclass::text" >"$place/picture.sql"
    "$bin/psql" -XqAt -v ON_ERROR_STOP=1 -f "$place/picture.sql"
}

sequenced="select not exists (
        select event_id from sentinai.event_log
        except all select id from sentinai_internal.slice, unnest(event_ids) id where stream_id = 0)
    and not exists (select id from sentinai_internal.slice, unnest(event_ids) id
        where stream_id = 0 group by id having count(*) > 1)"

# publish_some: events, one batch completed, one event failed and dead, one out.
publish_some() {
    sql "select sentinai.publish('A', 't', 'k' || i % 7, '{}', idempotency_key => '$1 ' || i)
        from generate_series(1, 50) i" >/dev/null
    until_true "$sequenced" "$1: events are sequenced"
    sql "select sentinai.complete(min(token)) from sentinai.claim('all', 10)" >/dev/null
    sql "select sentinai.fail(token, event_id, 'later', retry_in => '0')
        from sentinai.claim('all', 1)" >/dev/null
    sql "select sentinai.fail(token, event_id, 'never', retryable => false)
        from sentinai.claim('all', 1)" >/dev/null
    sql "insert into leased select event_id, attempt from sentinai.claim('all', 3, '1 day')"
    until_true "$sequenced" "$1: and what tells of failures"
}

[ $# -gt 0 ] || mapfile -t found < <(
    for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -t/ -k5,5n); do
        [ -x "$dir/pg_upgrade" ] && [ -e "${dir%/bin}/lib/sentinai.so" ] && echo "$dir"
    done)
[ $# -gt 0 ] || set -- "${found[@]}"
if [ $# -lt 2 ]; then
    echo "1..0 # SKIP fewer than two servers have the extension"
    exit 0
fi
[ "$(id -u)" -ne 0 ] || { echo "Bail out! PostgreSQL does not run as root"; exit 1; }

cd "$place" || exit 1
bin=$1
make "$place/0" && start "$place/0"
result $? "$("$bin/postgres" --version)"
PGDATABASE=postgres sql 'create database app'
oldest=$(sql "select version from pg_available_extension_versions
    where name = 'sentinai' order by string_to_array(version, '.')::int[] limit 1")
sql "create extension sentinai version '$oldest'" &&
    sql "select sentinai.subscribe('all'); create table leased (event_id uuid, attempt int)" >/dev/null
result $? "a database with the extension as it was in version $oldest"
publish_some "before"
n=0
while shift && [ $# -gt 0 ]; do
    hop="$((n + 1)). "$("$1/postgres" --version | sed 's/.*) \([0-9]*\).*/to \1/')
    until_true "select pid is not null from sentinai.stat_relay" "$hop: the relay waits"
    sql "select sentinai.pause_relay()" >/dev/null
    sql "select pg_terminate_backend(sequencer_pid) from sentinai.stat_info" >/dev/null
    stop
    # what is there when nobody writes any more
    sed -i 's/^shared_preload/#&/' "$place/$n/postgresql.conf"
    start "$place/$n"
    before=$(picture)
    newest=$(sql 'select max(txid) from sentinai.event_log')
    stop
    sed -i 's/^#shared_preload/shared_preload/' "$place/$n/postgresql.conf"
    old=$bin bin=$1
    make "$place/$((n + 1))"
    mode=(--link)
    [ $((n % 2)) -ne 0 ] || mode=()
    "$bin/pg_upgrade" -b "$old" -B "$bin" -d "$place/$n" -D "$place/$((n + 1))" \
        -U postgres "${mode[@]}" >"$place/upgrade.log" 2>&1
    status=$?
    result $status "$hop: pg_upgrade"
    [ "$status" -eq 0 ] || { sed 's/^/# /' "$place/upgrade.log" | tail -20; exit 1; }
    n=$((n + 1))
    start "$place/$n"
    result $? "$hop: the server starts"
    until_true "select sequencer_pid is not null from sentinai.stat_info" "$hop: workers are there"
    until_true "select state = 'paused' from sentinai.stat_relay" "$hop: the relay is paused"
    same "$hop: all is as it was" "$before" "$(picture)"
    out=$(sql "select string_agg(l::text, ' ' order by event_id) from leased l")
    sql 'select sentinai.after_restore()' >/dev/null
    result $? "$hop: after_restore()"
    same "$hop: the relay is still paused" "t" "$(sql 'select sentinai.relay_is_paused()')"
    sql "create table before as select event_id from sentinai.event_processing
            where worker_type = 'all' union select event_id from sentinai.dead_letter;
        create table again (event_id uuid, attempt int)"
    until_true "do \$\$ begin
            create temp table batch as select * from sentinai.claim('all', 1000);
            insert into again select event_id, attempt from batch;
            perform sentinai.complete(token) from (select distinct token from batch) t;
        end \$\$;
        select not exists (select event_id from sentinai.event_log
            where payload -> 'worker_type' is distinct from '\"all\"'
            except select event_id from before except select event_id from again)" \
        "$hop: what was open can be claimed"
    same "$hop: once" "0|0" "$(sql "select count(*) - count(distinct event_id),
        count(before.event_id) from again left join before using (event_id)")"
    same "$hop: leases were given up, no attempt counted" "$out" "$(sql "
        select string_agg(l::text, ' ' order by event_id) from (
            select a.* from again a join leased using (event_id)) l")"
    sql "drop table before, again; truncate leased" 
    publish_some "$hop"
    same "$hop: transaction numbers rise" "t" \
        "$(sql "select max(txid) > $newest from sentinai.event_log")"
    same "$hop: it is the same extension" "$oldest" \
        "$(sql "select installed_version from sentinai.stat_info")"
done

# catalog DATABASE: all that the catalogue has of the extension.
catalog() {
    PGDATABASE=$1 "$bin/psql" -XqAt -v ON_ERROR_STOP=1 -f "$root/test/lib/catalog.sql" \
        -c 'select pg_temp.catalog()' 2>>"$place/log"
}

sql "alter extension sentinai update"
result $? "ALTER EXTENSION UPDATE"
same "it is the library's version" "t" \
    "$(sql "select version = installed_version from sentinai.stat_info")"
publish_some "updated"
sql "create database fresh" && PGDATABASE=fresh sql "create extension sentinai"
same "the same as a new one" "$(catalog fresh)" "$(catalog app)"
grep -E '(ERROR|PANIC|FATAL):' "$place/server.log" |
    grep -vE 'terminating|starting up|shutting down|does not exist' >"$place/errors"
[ ! -s "$place/errors" ]
result $? "the log has no error"
sed 's/^/# /' "$place/errors"
stop
echo "1..$tests"
[ "$failed" -eq 0 ]
