# shellcheck shell=bash
# test/lib/cluster.sh: a PostgreSQL cluster of our own in one directory.
# SPDX-License-Identifier: PostgreSQL
#
# Source it after common.sh and with pgbin set to PostgreSQL's bin directory.
# The cluster listens on a Unix socket in DIR/run only and lets in, by peer
# authentication, the user who made it (as the superuser postgres). PostgreSQL
# refuses to run as root; root's clusters run as the user postgres.
# Nothing of the system's own clusters is read or changed.
# shellcheck disable=SC2154 # pgbin: by whoever sources this

# The user a server runs as.
sn_server_user() {
    if [ "$(id -u)" -eq 0 ]; then echo postgres; else id -un; fi
}

# Run a command as that user, from a folder it may read, without the caller's
# settings for libpq (a server reads PGPORT, too).
sn_as_server() (
    cd / || exit 1
    unset PGHOST PGPORT PGUSER PGDATABASE PGDATA PGSERVICE PGOPTIONS
    if [ "$(id -u)" -eq 0 ]; then
        exec runuser -u postgres -- "$@"
    else
        exec "$@"
    fi
)

# sn_cluster_make DIR PORT: a new cluster; settings come on stdin.
sn_cluster_make() {
    local dir=$1 port=$2 user
    user=$(sn_server_user)
    [ "${#dir}" -le 80 ] || sn_die "$dir is too long a path for a socket"
    mkdir -p "$dir/run" "$dir/log" "$dir/data" &&
        chmod 755 "$dir" "$dir/run" || return 1
    [ "$(id -u)" -ne 0 ] || chown "$user" "$dir/run" "$dir/log" "$dir/data"
    sn_as_server "$pgbin/initdb" -D "$dir/data" -U postgres -E UTF8 \
        --locale=C.UTF-8 --data-checksums -A peer || return 1
    {
        echo "listen_addresses = ''"
        echo "unix_socket_directories = '$dir/run'"
        echo "port = $port"
        cat
    } | sn_append "$dir/data/postgresql.conf"
    echo "local all all peer map=ours" | sn_replace "$dir/data/pg_hba.conf"
    printf 'ours %s postgres\n' "$user" "$(id -un)" | sort -u |
        sn_append "$dir/data/pg_ident.conf"
}

# sn_cluster_tcp DIR ROLE: before it starts, let that role come by TCP, from
# this machine and with its password.
sn_cluster_tcp() {
    echo "listen_addresses = '127.0.0.1'" |
        sn_append "$1/data/postgresql.conf" &&
        echo "host all $2 127.0.0.1/32 scram-sha-256" |
        sn_append "$1/data/pg_hba.conf"
}

# Append stdin to a file of the server's.
sn_append() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    sn_as_server sh -c 'cat >>"$0"' "$1"
}

# Write stdin over a file of the server's.
sn_replace() {
    # shellcheck disable=SC2016
    sn_as_server sh -c 'cat >"$0"' "$1"
}

# Does the server of DIR run?
sn_cluster_runs() {
    [ -d "$1/data" ] &&
        sn_as_server "$pgbin/pg_ctl" -D "$1/data" status >/dev/null 2>&1
}

# sn_cluster_start DIR: start and wait until it answers.
sn_cluster_start() {
    sn_cluster_runs "$1" && return
    sn_as_server "$pgbin/pg_ctl" -D "$1/data" -l "$1/log/postgresql.log" \
        -w -t "${PGCTLTIMEOUT:-60}" start </dev/null
}

# sn_cluster_stop DIR: stop; without mercy when it takes longer than 30 s.
sn_cluster_stop() {
    sn_cluster_runs "$1" || return 0
    sn_as_server "$pgbin/pg_ctl" -D "$1/data" -m fast -w -t 30 stop ||
        sn_as_server "$pgbin/pg_ctl" -D "$1/data" -m immediate -w -t 30 stop
}

# sn_cluster_env DIR PORT: let libpq's programs find it.
sn_cluster_env() {
    export PGHOST=$1/run PGPORT=$2 PGUSER=postgres
    unset PGDATABASE PGSERVICE PGPASSFILE PGPASSWORD PGOPTIONS
}
