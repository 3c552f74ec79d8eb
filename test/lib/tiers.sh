# shellcheck shell=bash
# test/lib/tiers.sh: ./quickstart test, every tier in throw-away clusters.
# SPDX-License-Identifier: PostgreSQL
#
# The tree is built and installed where it is, then copied to a folder of the
# user that servers run as, and tested there: PostgreSQL does not run as root,
# and a checkout may lie where nobody else can read. At the end no process of that
# folder is left and the folder is gone. Logs of a failed run, or of every one
# with SENTINAI_KEEP_LOGS set, stay in log/.
# Source it from quickstart, after setup.sh and cluster.sh.
# shellcheck disable=SC2016,SC2154 # texts for an inner shell; set by those

all_tiers=(unit installcheck pgtap docs tap demo kafka rabbitmq history schema fuzz)
test_packages=(libcmocka-dev libfaketime libtap-parser-sourcehandler-pgtap-perl
    libipc-run-perl pgbouncer python3-psycopg)
tier_seconds=${SENTINAI_TIER_SECONDS:-900}
test_seconds=${SENTINAI_TEST_SECONDS:-} # for all of them; empty: no limit

# Everything that a tier needs, and the extension in place.
prepare_tree() {
    sn_note "packages, build, install (log: $log)"
    sn_install_packages "$log" "${base_packages[@]}" "${test_packages[@]}" &&
        find_postgres "$log" &&
        before=$(installed_stamp) &&
        { [ -e "$("$pg_config" --sharedir)/extension/pgtap.control" ] ||
            sn_install_packages "$log" "postgresql-$pg_major-pgtap"; } &&
        # where there is none, its test says so
        { [ -e "$("$pg_config" --sharedir)/extension/pg_cron.control" ] ||
            sn_install_packages "$log" "postgresql-$pg_major-cron" || :; } &&
        { build_all && install_built && make -C test/unit; } >>"$log" 2>&1
}

# The folder that the tests run in; its name marks their processes.
make_place() {
    place=$(mktemp -d /var/tmp/sentinai-test.XXXXXX) || return 1
    mkdir "$place/src" "$place/logs" "$place/tmp"
    tar -C "$root" --exclude=./.git --exclude=./log -cf - . |
        tar -C "$place/src" -xf - || return 1
    chmod 755 "$place"
    [ "$(id -u)" -ne 0 ] || chown -R "$(sn_server_user)" "$place"
}

# in_place COMMAND...: run in the copy, as the server's user.
in_place() {
    sn_as_server env HOME="$place/tmp" TMPDIR="$place/tmp" LC_ALL=C.UTF-8 \
        ${PGHOST:+PGHOST="$PGHOST" PGPORT="$PGPORT" PGUSER="$PGUSER"} \
        SENTINAI_CACHE="$place/cache" PG_CONFIG="$pg_config" \
        sh -c 'cd "$0" && exec "$@"' "$place/src" "$@"
}

# with_cluster NAME COMMAND...: the same beside a server of its own. The role
# in "tcp_role" may come by TCP, with its password.
with_cluster() {
    local dir=$place/$1 port status
    shift
    port=$(sn_free_port)
    sn_cluster_make "$dir" "$port" <"$root/test/lib/test.conf" &&
        { [ -z "${tcp_role:-}" ] || sn_cluster_tcp "$dir" "$tcp_role"; } &&
        sn_cluster_start "$dir" || return 1
    (
        sn_cluster_env "$dir" "$port"
        in_place "$@"
    )
    status=$?
    sn_cluster_stop "$dir"
    return $status
}

# The headers of other versions are fetched by the caller, whose cache they stay in.
tier_unit() {
    local status=0
    in_place make PG_CONFIG="$pg_config" unit || status=1
    make PG_CONFIG="$pg_config" headers || status=1
    return $status
}

# Two calls: the specs also run when a script has failed.
tier_installcheck() {
    with_cluster installcheck sh -c 'status=0
        make PG_CONFIG="$PG_CONFIG" installcheck ISOLATION= || status=1
        make PG_CONFIG="$PG_CONFIG" installcheck REGRESS= || status=1
        exit $status'
}

tier_pgtap() {
    with_cluster pgtap make PG_CONFIG="$pg_config" pgtap
}

# The drivers are fetched by the caller, whose cache they stay in.
tier_docs() {
    local cache=${SENTINAI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sentinai}
    "$root/test/docs/drivers.sh" "$cache/drivers" &&
        mkdir -p "$place/cache" &&
        cp -r "$cache/drivers" "$place/cache/" || return 1
    [ "$(id -u)" -ne 0 ] || chown -R "$(sn_server_user)" "$place/cache"
    tcp_role=docs_agent with_cluster docs make PG_CONFIG="$pg_config" docs-check
}

# Four scripts at a time: most of the time they wait for something.
tier_tap() {
    in_place make PG_CONFIG="$pg_config" tap PROVE='prove -j4'
}

tier_demo() {
    in_place make PG_CONFIG="$pg_config" demo-check
}

# Jars and a Python are fetched by the caller, whose cache they stay in.
tier_kafka() {
    SENTINAI_KAFKA=3 "$root/test/kafka/kafka.sh" install &&
        SENTINAI_KAFKA=4 "$root/test/kafka/kafka.sh" install &&
        "$root/test/kafka/kafka.sh" install-router &&
        "$root/test/history/setup" kafka >/dev/null &&
        mkdir -p "$place/cache" &&
        cp -r "${SENTINAI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sentinai}/kafka" \
            "$place/cache/" || return 1
    [ "$(id -u)" -ne 0 ] || chown -R "$(sn_server_user)" "$place/cache"
    in_place make PG_CONFIG="$pg_config" kafka PROVE='prove -j2'
}

# The server is fetched by the caller. Two scripts at a time, as in tap.
tier_rabbitmq() {
    local cache=${SENTINAI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sentinai}
    "$root/test/rabbitmq/rabbitmq.sh" install &&
        mkdir -p "$place/cache" &&
        cp -r "$cache/rabbitmq" "$place/cache/" || return 1
    [ "$(id -u)" -ne 0 ] || chown -R "$(sn_server_user)" "$place/cache"
    in_place make PG_CONFIG="$pg_config" rabbitmq PROVE='prove -j2'
}

# In the tree itself: its servers drop root's rights, its Python is the caller's.
tier_history() {
    TMPDIR=$place/tmp make -C "$root" PG_CONFIG="$pg_config" history
}

# Likewise.
tier_schema() {
    TMPDIR=$place/tmp make -C "$root" PG_CONFIG="$pg_config" schema
}

# Likewise.
tier_fuzz() {
    TMPDIR=$place/tmp make -C "$root" PG_CONFIG="$pg_config" fuzz
}

# Processes whose command line names the folder of this run.
leftovers() {
    local proc
    for proc in /proc/[0-9]*; do
        tr '\0' ' ' 2>/dev/null <"$proc/cmdline" | grep -qF -- "$place/" &&
            echo "${proc#/proc/}"
    done
}

# What the servers of a tier's files said: the next such tier takes it away.
keep_servers_logs() {
    find "$place/src" \( -name regression.diffs -o \
        -path '*/tmp_check/log/*' \) -type f -exec cp -t "$place/logs" {} +
}

# End what is left, keep the logs of failures, remove the folder.
clean_place() {
    local pids server
    trap '' INT TERM HUP PIPE # nobody may be left to read what we say
    [ -n "${place:-}" ] || return
    mapfile -t pids < <(leftovers)
    [ "${#pids[@]}" -eq 0 ] || kill -KILL "${pids[@]}" 2>/dev/null
    if [ "${all_failed:-1}" -gt 0 ] || [ -n "${SENTINAI_KEEP_LOGS:-}" ]; then
        keep_servers_logs
        mkdir -p "$root/log/test"
        cp -r "$place/logs/." "$root/log/test/"
        for server in "$place"/*/log/postgresql.log; do
            [ ! -e "$server" ] || cp "$server" \
                "$root/log/test/server-$(basename "${server%/log/*}").log"
        done
        sn_note "logs are kept in $root/log/test"
    fi
    rm -rf "$place"
    place=
}

# An extension that was not installed before the tests is not after them.
remove_installed() {
    [ -n "$before" ] || uninstall_ours "$(installed_stamp)" >/dev/null 2>&1
}

# One tier in a process of its own, so that a timeout can end all of it.
run_tier() {
    local tier=$1 limit=$tier_seconds passed failed skipped seconds
    # Who has no time left is stopped at once, which counts as failed.
    if [ -n "$test_seconds" ] && [ $((test_seconds - SECONDS)) -lt "$limit" ]; then
        limit=$((test_seconds > SECONDS ? test_seconds - SECONDS : 1))
    fi
    read -r passed failed skipped seconds < <("$root/test/lib/tally.sh" run \
        "$limit" "$tier" "$place/logs/$tier.log" \
        "$root/quickstart" tier "$tier" "$place")
    : "${passed:=0}" "${failed:=1}" "${skipped:=0}" "${seconds:=0}"
    printf '%-13s %5d passed, %d failed%s  %d s\n' "$tier" "$passed" "$failed" \
        "$([ "$skipped" -eq 0 ] || echo ", $skipped skipped")" "$seconds"
    if [ "$failed" -gt 0 ]; then
        "$root/test/lib/tally.sh" show "$place/logs/$tier.log"
        keep_servers_logs
        find "$place/src" -maxdepth 2 -name regression.diffs \
            -exec head -200 {} +
    fi
    all_passed=$((all_passed + passed))
    all_failed=$((all_failed + failed))
}

# What a tier's own process does. The servers that a caller may have set for
# libpq are not for tests.
run_one_tier() {
    local tier=$1
    unset PGHOST PGPORT PGUSER PGDATABASE PGSERVICE PGOPTIONS
    place=$2
    [ "$(type -t "tier_$tier")" = function ] || sn_die "no tier $tier"
    log=$place/logs/setup.log
    find_postgres /dev/null
    "tier_$tier"
}

run_tiers() {
    local tier tiers=("$@")
    [ $# -gt 0 ] || tiers=("${all_tiers[@]}")
    for tier in "${tiers[@]}"; do
        [ "$(type -t "tier_$tier")" = function ] ||
            sn_die "no tier $tier; there are: ${all_tiers[*]}"
    done
    all_passed=0 all_failed=0 place='' before=unknown
    log=$(mktemp /tmp/sentinai-test-log.XXXXXX)
    trap 'clean_place; remove_installed' EXIT
    trap 'exit 130' INT TERM HUP PIPE
    if prepare_tree && make_place >>"$log" 2>&1; then
        for tier in "${tiers[@]}"; do
            run_tier "$tier"
        done
        rm -f "$log"
    else
        tail -40 "$log"
        mkdir -p "$root/log/test" && mv "$log" "$root/log/test/prepare.log"
        all_failed=1
    fi
    clean_place
    remove_installed
    trap - EXIT
    echo "$all_passed passed, $all_failed failed"
    [ "$all_failed" -eq 0 ]
}
