#!/bin/bash
# test/rabbitmq/rabbitmq.sh: a real RabbitMQ, nodes on loopback.
# SPDX-License-Identifier: PostgreSQL
#
# A node lives in one directory: its data, log, and a port mapper of its own, which
# it shares with those that were started beside it as a cluster. Stop and start with the same directory keep its data and its ports, also after a kill.
# Debian's package would start a service. So it is only taken apart, in the cache.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=test/lib/common.sh
. "$here/../lib/common.sh"

cache=${SENTINAI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sentinai}/rabbitmq
start_seconds=${SENTINAI_RABBITMQ_START_SECONDS:-$((60 * ${SENTINAI_PATIENCE:-1}))}
erlang=(erlang-base erlang-crypto erlang-eldap erlang-inets erlang-mnesia
    erlang-os-mon erlang-parsetools erlang-public-key erlang-runtime-tools
    erlang-ssl erlang-syntax-tools erlang-tools erlang-xmerl python3-pika)

usage() {
    cat <<EOF
Usage: rabbitmq.sh COMMAND
  install                   Debian's RabbitMQ, in $cache (SENTINAI_CACHE moves it)
  start DIR [KEY = VALUE…]  start a node in DIR, at the port that its file "port"
                            has, or a new one; lines of its configuration
  join DIR OTHER            start a new node in the cluster of the one in OTHER
  stop DIR                  end it; its data stays
  kill DIR                  kill -9; start DIR brings it back
  port DIR                  print the port of AMQP
  ctl DIR ARGS...           RabbitMQ's own tool
EOF
}

install_server() {
    local log=$cache/install.log
    mkdir -p "$cache" || exit 1
    exec 9>"$cache/lock"
    flock 9
    sn_install_packages "$log" "${erlang[@]}" || {
        tail -20 "$log" >&2
        sn_die "could not install Erlang"
    }
    [ ! -e "$cache/complete" ] || return 0
    sn_note "fetching RabbitMQ (once)"
    (
        rm -rf "$cache/server" && cd "$cache" &&
            apt-get download -q rabbitmq-server &&
            dpkg -x rabbitmq-server_*.deb server && rm rabbitmq-server_*.deb
    ) >>"$log" 2>&1 || {
        tail -20 "$log" >&2
        sn_die "could not fetch RabbitMQ"
    }
    : >"$cache/complete"
}

# run DIR TOOL ARGS...: one of RabbitMQ's programs, for this node.
run() {
    local dir=$1 tool=$2
    shift 2
    env HOME="$dir" ERL_EPMD_PORT="$(cat "$dir/epmd")" ERL_EPMD_ADDRESS=127.0.0.1 \
        RABBITMQ_NODENAME="$(nodename "$dir")" \
        RABBITMQ_DIST_PORT="$(cat "$dir/dist")" \
        RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_CONFIG_FILE="$dir/rabbitmq.conf" \
        RABBITMQ_ENABLED_PLUGINS_FILE="$dir/plugins" \
        RABBITMQ_MNESIA_BASE="$dir/data" RABBITMQ_LOG_BASE="$dir/log" \
        RABBITMQ_PID_FILE="$dir/pid" LC_ALL=C.UTF-8 \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='+S 1:1 +sbwt none' \
        "$cache"/server/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/"$tool" "$@"
}

write_config() {
    local dir=$1
    shift
    mkdir -p "$dir" || exit 1
    [ -e "$dir/port" ] || sn_free_port >"$dir/port"
    [ -e "$dir/epmd" ] || sn_free_port >"$dir/epmd"
    [ -e "$dir/dist" ] || sn_free_port >"$dir/dist"
    echo '[].' >"$dir/plugins"
    {
        echo "listeners.tcp.1 = 127.0.0.1:$(cat "$dir/port")"
        echo 'disk_free_limit.absolute = 10MB'
        echo 'vm_memory_high_watermark.absolute = 512MB'
        printf '%s\n' "$@"
    } >"$dir/rabbitmq.conf"
}

start() {
    local dir=$1 deadline=$((SECONDS + start_seconds))
    [ $# -eq 1 ] && [ -e "$dir/rabbitmq.conf" ] || write_config "$@"
    : >"$dir/out"
    run "$dir" rabbitmq-server >"$dir/out" 2>&1 </dev/null &
    until grep -qE 'Starting broker.*completed' "$dir/out"; do
        [ $SECONDS -lt $deadline ] || {
            tail -20 "$dir/out" >&2
            sn_die "RabbitMQ did not start in $start_seconds s"
        }
        sleep 0.2
    done
}

# nodename DIR: how nodes call each other.
nodename() {
    echo "sn$(cat "$1/port")@localhost"
}

join() {
    local dir=$1 other=$2
    mkdir -p "$dir" || exit 1
    sn_free_port >"$dir/port"
    cp "$other/epmd" "$dir/epmd" && cp -p "$other/.erlang.cookie" "$dir/" || exit 1
    : >"$dir/joined"
    start "$dir" 'cluster_formation.peer_discovery_backend = classic_config' \
        "cluster_formation.classic_config.nodes.1 = $(nodename "$other")" \
        "cluster_formation.classic_config.nodes.2 = $(nodename "$dir")"
}

# Its process, which has written its pid.
alive() {
    [ -s "$1/pid" ] && kill -0 "$(cat "$1/pid")" 2>/dev/null
}

end() {
    local signal=$1 dir=$2 deadline=$((SECONDS + 30))
    alive "$dir" || return 0
    kill -"$signal" "$(cat "$dir/pid")" 2>/dev/null
    while alive "$dir"; do
        [ $SECONDS -lt $deadline ] || sn_die "RabbitMQ did not end"
        sleep 0.1
    done
}

case ${1:-} in
install) install_server ;;
start) shift && start "$@" ;;
join) join "$2" "$3" ;;
stop) run "$2" rabbitmqctl -q stop >/dev/null && end TERM "$2" ;;
kill)
    end KILL "$2"
    # the port mapper answers as long as a node was not taken off its list; that of
    # others stays
    [ ! -e "$2/epmd" ] || [ -e "$2/joined" ] || sn_wait_until 10 epmd -port "$(cat "$2/epmd")" -kill >/dev/null 2>&1
    true
    ;;
port) cat "$2/port" ;;
ctl)
    dir=$2
    shift 2
    run "$dir" rabbitmqctl -q "$@"
    ;;
*)
    usage >&2
    exit 2
    ;;
esac
