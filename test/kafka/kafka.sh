#!/bin/bash
# test/kafka/kafka.sh: a real Apache Kafka, KRaft nodes on loopback.
# SPDX-License-Identifier: PostgreSQL
#
# A node lives in one directory: its data, log, pid and address. Stop and start
# with the same directory keep its data and its port, also after a kill.
# SENTINAI_KAFKA is the major version: 3, which is the default, or 4.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=test/lib/common.sh
. "$here/../lib/common.sh"

major=${SENTINAI_KAFKA:-3}
version=$(sed -n "s:.*<kafka.version>\($major\..*\)</kafka.version>.*:\1:p" \
    "$here/pom.xml")
[ -n "$version" ] || sn_die "SENTINAI_KAFKA=$major: pom.xml has no such version"
cache=${SENTINAI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sentinai}/kafka/$version
router=${cache%/*}/router
start_seconds=${SENTINAI_KAFKA_START_SECONDS:-$((90 * ${SENTINAI_PATIENCE:-1}))}

usage() {
    cat <<EOF
Usage: kafka.sh COMMAND
  install                        fetch Apache Kafka $version from Maven Central
  install-router                 fetch Debezium's event router from there
  start DIR [PORT] [OPTION…] [KEY=VALUE…]
                                 start a node in DIR, print host:port when ready;
                                 of its first start: --cluster-id=ID, and
                                 --add-scram=USER (see Kafka's StorageTool)
  stop DIR                       end it; its data stays
  kill DIR                       kill -9; start DIR brings it back
  bootstrap DIR                  print host:port
  ready DIR                      exit 0 when it answers
  topics DIR                     print the names of the topics
  create DIR TOPIC PARTITIONS    make a topic
  delete DIR TOPIC               remove a topic
  offsets DIR [TOPIC]            print topic:partition:end offset
  acl DIR OPTION...              Kafka's own tool for access rights
  vectors                        compare test/data/murmur2.tsv with the live client
  router                         compare test/data/router.tsv with Debezium's router
The jars are kept in ${cache%/*} (SENTINAI_CACHE moves it).
EOF
}

# What is named otherwise from version 4 on.
case $major in
    3) logging=-Dlog4j.configuration=file:$here/log4j.properties
        acl_class=kafka.admin.AclCommand ;;
    *) logging=-Dlog4j2.configurationFile=file:$here/log4j2.properties
        acl_class=org.apache.kafka.tools.AclCommand ;;
esac

# Java with the node's jars.
run_java() {
    java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData "$logging" \
        -cp "$cache/libs/*" "$@"
}

# A command line tool: errors only in its log.
run_tool() {
    run_java -Xmx128m -Dkafka.log.level=ERROR "$@"
}

# need PROGRAM PACKAGE: install the package when the program is not there.
need() {
    ! command -v "$1" >/dev/null || return 0
    sn_install_packages "$cache/install.log" "$2" || {
        tail -20 "$cache/install.log" >&2
        sn_die "could not install $2"
    }
}

# fetch_jars DIR POM WHAT [OPTION]: the jars of a pom, in DIR/libs. The mark is
# written last: half a download does not count.
fetch_jars() {
    local dir=$1 pom=$2 what=$3 sum
    sum=$(sha256sum "$pom")
    mkdir -p "$cache" "$dir" || exit 1
    exec 9>"$dir/lock"
    flock 9
    need javac default-jdk-headless
    if [ "$(cat "$dir/complete" 2>/dev/null)" != "${sum%% *}" ]; then
        need mvn maven
        sn_note "fetching $what from Maven Central (once)"
        rm -rf "$dir/libs" "$dir/complete"
        mvn -q -B -Dstyle.color=never ${4:+"$4"} -f "$pom" \
            dependency:copy-dependencies \
            -DincludeScope=runtime -DoutputDirectory="$dir/libs" \
            >"$dir/install.log" 2>&1 || {
            tail -20 "$dir/install.log" >&2
            sn_die "could not fetch the jars of $what"
        }
        echo "${sum%% *}" >"$dir/complete"
    fi
    exec 9>&-
}

install_jars() {
    fetch_jars "$cache" "$here/pom.xml" "Apache Kafka $version (56 MB)" \
        "-Pkafka-$major"
}

install_router() {
    fetch_jars "$router" "$here/router-pom.xml" "Debezium's event router (23 MB)"
}

# write_config DIR PORT [KEY=VALUE…]
write_config() {
    local dir=$1 port=$2 controller
    shift 2
    controller=$(sn_free_port)
    cat >"$dir/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/data
auto.create.topics.enable=false
num.partitions=12
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.cleaner.enable=false
num.network.threads=2
num.io.threads=2
EOF
    printf '%s\n' "$@" >>"$dir/server.properties"
    echo "127.0.0.1:$port" >"$dir/bootstrap"
}

# format_storage DIR ID [OPTION…]: any 16 bytes as base64 are an id.
format_storage() {
    local dir=$1 id=$2
    shift 2
    : "${id:=$(head -c 16 /dev/urandom | base64 | tr +/ AB | tr -d =)}"
    run_tool kafka.tools.StorageTool format -t "$id" "$@" \
        -c "$dir/server.properties" >"$dir/format.log" 2>&1 || {
        cat "$dir/format.log" >&2
        sn_die "could not format the storage in $dir"
    }
}

# Ready: the process says so, and its port is open.
node_ready() {
    local dir=$1
    grep -q 'Kafka Server started' "$dir/kafka.log" 2>/dev/null &&
        node_alive "$dir" && sn_port_used "$(sed 's/.*://' "$dir/bootstrap")"
}

node_pid() {
    cat "$1/kafka.pid" 2>/dev/null
}

node_alive() {
    sn_is_ours "$(node_pid "$1")" "$1/server.properties"
}

# For sn_wait_until: there is an outcome, good or bad.
node_decided() {
    node_ready "$1" || ! node_alive "$1"
}

start_node() {
    local dir port='' cluster='' scram=()
    mkdir -p "$1" && dir=$(cd "$1" && pwd) || exit 1
    shift
    case ${1:-} in
        [0-9]*) port=$1 && shift ;;
    esac
    while [[ ${1:-} = --* ]]; do
        case $1 in
            --cluster-id=*) cluster=${1#*=} ;;
            --add-scram=*) scram+=(--add-scram "${1#*=}") ;;
            *) usage >&2 && exit 2 ;;
        esac
        shift
    done
    install_jars
    node_alive "$dir" && sn_die "a node runs in $dir already"
    if [ ! -e "$dir/data/meta.properties" ]; then
        write_config "$dir" "${port:-$(sn_free_port)}" "$@"
        format_storage "$dir" "$cluster" ${scram[@]+"${scram[@]}"}
    fi
    # its own session: a Ctrl-C at the caller's terminal is not for it
    (
        cd "$dir" || exit 1
        exec setsid java -Xms128m -Xmx384m -XX:+UseSerialGC \
            -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Djava.io.tmpdir="$dir" -Dkafka.log.level=INFO "$logging" \
            -cp "$cache/libs/*" kafka.Kafka "$dir/server.properties"
    ) >"$dir/kafka.log" 2>&1 </dev/null &
    echo $! >"$dir/kafka.pid"
    sn_wait_until 5 node_alive "$dir"
    sn_wait_until "$start_seconds" node_decided "$dir"
    node_ready "$dir" || {
        tail -20 "$dir/kafka.log" >&2
        end_node "$dir" KILL
        sn_die "Kafka was not ready after $start_seconds seconds"
    }
    cat "$dir/bootstrap"
}

# end_node DIR SIGNAL
end_node() {
    local dir pid
    dir=$(cd "$1" 2>/dev/null && pwd) || return 0
    pid=$(node_pid "$dir")
    if [ "$2" = KILL ]; then
        node_alive "$dir" && kill -KILL "$pid"
        sn_wait_until 10 sn_process_gone "$pid" "$dir/server.properties"
    else
        sn_end_process "$pid" "$dir/server.properties" 20
    fi
    rm -f "$dir/kafka.pid"
}

topic_command() {
    local dir=$1
    shift
    run_tool org.apache.kafka.tools.TopicCommand \
        --bootstrap-server "$(cat "$dir/bootstrap")" "$@"
}

acl_command() {
    local dir=$1
    shift
    run_tool "$acl_class" \
        --bootstrap-server "$(cat "$dir/bootstrap")" "$@"
}

print_offsets() {
    run_tool org.apache.kafka.tools.GetOffsetShell \
        --bootstrap-server "$(cat "$1/bootstrap")" ${2:+--topic "$2"} |
        sort -t: -k1,1 -k2,2n
}

# Regenerate the vectors with the live client and compare byte for byte.
check_vectors() {
    local classes status
    install_jars
    classes=$(mktemp -d) || exit 1
    javac -d "$classes" -cp "$cache/libs/*" "$here/Murmur2Vectors.java" &&
        java -cp "$classes:$cache/libs/*" Murmur2Vectors >"$classes/now.tsv" &&
        cmp "$classes/now.tsv" "$here/../data/murmur2.tsv"
    status=$?
    rm -rf "$classes"
    return $status
}

# The same for what Debezium's event router makes of rows.
check_router() {
    local classes status
    install_router
    classes=$(mktemp -d) || exit 1
    javac -d "$classes" -cp "$router/libs/*" "$here/RouterVectors.java" &&
        java -Dfile.encoding=UTF-8 -cp "$classes:$router/libs/*" RouterVectors \
            >"$classes/now.tsv" 2>"$classes/err" || cat "$classes/err" >&2
    cmp "$classes/now.tsv" "$here/../data/router.tsv"
    status=$?
    rm -rf "$classes"
    return $status
}

command=${1:-help}
case $command in
    start | stop | kill | bootstrap | ready | topics | create | delete | offsets | acl)
        [ $# -ge 2 ] || { usage >&2; exit 2; } ;;
esac
case $command in
    install) install_jars ;;
    install-router) install_router ;;
    start) shift && start_node "$@" ;;
    stop) end_node "$2" TERM ;;
    kill) end_node "$2" KILL ;;
    bootstrap) cat "$2/bootstrap" ;;
    ready) node_ready "$(cd "$2" && pwd)" ;;
    topics) topic_command "$2" --list ;;
    create) topic_command "$2" --create --topic "$3" --partitions "$4" \
        --replication-factor 1 >/dev/null ;;
    delete) topic_command "$2" --delete --topic "$3" ;;
    offsets) print_offsets "$2" "${3:-}" ;;
    acl) acl_command "${@:2}" ;;
    vectors) check_vectors ;;
    router) check_router ;;
    help | -h | --help) usage ;;
    *) usage >&2 && exit 2 ;;
esac
