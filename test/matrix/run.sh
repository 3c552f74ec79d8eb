#!/bin/bash
# test/matrix/run.sh: the tests on other versions of what SentinAI stands on.
# SPDX-License-Identifier: PostgreSQL
#
#   run.sh                 everything below
#   run.sh 17 [TIER...]    PostgreSQL 17, in a Debian of its own
#   run.sh 18 [TIER...]    PostgreSQL 18, the same
#   run.sh rdkafka         a librdkafka newer than the system's
#   run.sh upgrade         pg_upgrade from 15 to 17 to 18
#   run.sh bare            ./quickstart and ./quickstart test on a Debian 12 that
#                          has nothing but apt, and no other user's cache
#
# A Debian is made once, by debootstrap, in SENTINAI_CHROOTS
# (/var/tmp/sentinai-chroot); what the tests need is installed in it. Each run
# has its own view of the mounts and processes, so nothing is left of it. Needs
# root. The last line is `N passed, N failed`.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=test/lib/common.sh
. "$here/../lib/common.sh"
# shellcheck source=test/lib/tree.sh
. "$here/../lib/tree.sh"
# shellcheck source=test/matrix/debian.sh
. "$here/debian.sh"
chroots=${SENTINAI_CHROOTS:-/var/tmp/sentinai-chroot}
tiers=(unit installcheck pgtap docs tap demo kafka history schema fuzz)

# make_chroot VERSION: a small Debian that has this PostgreSQL.
make_chroot() {
    local version=$1 suite script=sid dir=$chroots/$1
    [ ! -e "$dir/usr/lib/postgresql/$version/bin/postgres" ] || return 0
    suite=$(debian_of "$version") || exit 1
    [ ! -e "/usr/share/debootstrap/scripts/$suite" ] || script=$suite
    sn_install_packages "$chroots/setup.log" debootstrap &&
        sn_note "making $dir (log: $chroots/setup.log)" &&
        debootstrap --variant=minbase \
            --include="postgresql-$version,postgresql-server-dev-$version" \
            "$suite" "$dir.new" "$(debian_mirror)" "$script" \
            >>"$chroots/setup.log" 2>&1 &&
        mv "$dir.new" "$dir"
}

# Whom the machine trusts, for what is downloaded inside; not where a package
# there would write its own.
certificates=/etc/ssl/certs/ca-certificates.crt
export CERTIFICATES=/etc/ssl/sentinai-host.crt

# A command inside, with mounts and processes that end with it. It is no chroot
# by then, in which the tests could not mount the disks that they fill.
# shellcheck disable=SC2016 # expanded by the inner shell
inside='
    mount --bind "$0" "$0" && cd "$0" && mount -t proc proc proc &&
        mount -t tmpfs tmpfs dev/shm && chmod 1777 dev/shm &&
        pivot_root . mnt && umount -l mnt &&
        exec /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
            HOME=/root LC_ALL=C.UTF-8 WERROR=1 MAKEFLAGS="$MAKEFLAGS" \
            SENTINAI_TIER_SECONDS="${SENTINAI_TIER_SECONDS:-3600}" \
            SENTINAI_PATIENCE="$SENTINAI_PATIENCE" \
            PG_TEST_TIMEOUT_DEFAULT="$PG_TEST_TIMEOUT_DEFAULT" \
            SENTINAI_CACHE=/var/cache/sentinai PIP_CERT="$CERTIFICATES" \
            SSL_CERT_FILE="$CERTIFICATES" "$@"'
quickstart=/var/tmp/sentinai-src/quickstart # there

# What was fetched here need not be fetched there: Kafka's jars, the proxy.
share_cache() {
    local ours=${SENTINAI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sentinai} name
    mkdir -p "$1/var/cache/sentinai" || return 1
    for name in kafka toxiproxy; do
        [ ! -d "$ours/$name" ] ||
            cp -ru "$ours/$name" "$1/var/cache/sentinai/" || return 1
    done
}

# furnish DIR: the sources in that Debian, and how it gets at the network.
furnish() {
    cp /etc/resolv.conf "$1/etc/resolv.conf"
    cp /etc/hosts "$1/etc/hosts"
    mkdir -p "$1${CERTIFICATES%/*}" "$1/dev/shm" || return 1
    cat "$certificates" >"$1$CERTIFICATES" 2>/dev/null
    sn_copy_tree "$root" "$1${quickstart%/*}"
}

# run_inside DIR COMMAND...
run_inside() {
    MAKEFLAGS='' unshare --mount --pid --fork --kill-child sh -c "$inside" "$@"
}

# on_postgres VERSION [TIER...]
on_postgres() {
    local version=$1 dir=$chroots/$1 status
    shift
    [ $# -gt 0 ] || set -- "${tiers[@]}"
    make_chroot "$version" && share_cache "$dir" && furnish "$dir" || return 1
    run_inside "$dir" "$quickstart" test "$@"
    status=$?
    [ "$status" -eq 0 ] || keep_logs "$dir${quickstart%/*}" "$version"
    rm -rf "$dir${quickstart%/*}"
    return $status
}

# on_bare [TIER...]: a newcomer's machine, made of a copy that nobody has used.
on_bare() {
    local new=$chroots/bare dir=$chroots/bare.used status
    [ -e "$new" ] || {
        sn_install_packages "$chroots/setup.log" debootstrap &&
            debootstrap --variant=minbase bookworm "$new.new" \
                "$(debian_mirror)" >>"$chroots/setup.log" 2>&1 &&
            mv "$new.new" "$new"
    } || return 1
    rm -rf "$dir"
    cp -a "$new" "$dir" && furnish "$dir" || return 1
    run_inside "$dir" "$quickstart" &&
        run_inside "$dir" "$quickstart" test "$@"
    status=$?
    [ "$status" -eq 0 ] || keep_logs "$dir${quickstart%/*}" bare
    rm -rf "$dir"
    return $status
}

# keep_logs TREE NAME: what failed, for later.
keep_logs() {
    [ -d "$1/log/test" ] || return
    mkdir -p "$root/log/matrix"
    rm -rf "$root/log/matrix/$2"
    cp -r "$1/log/test" "$root/log/matrix/$2"
    sn_note "logs are kept in $root/log/matrix/$2"
}

# part NAME COMMAND...: its output, and its count added to ours.
part() {
    local name=$1 out passed failed
    shift
    echo "== $name"
    out=$(mktemp)
    "$@" 2>&1 | tee "$out"
    read -r passed failed < <(
        sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$out" |
            tail -1
    )
    rm -f "$out"
    all_passed=$((all_passed + ${passed:-0}))
    all_failed=$((all_failed + ${failed:-1}))
}

upgrade() {
    make_chroot 17 && make_chroot 18 && "$here/upgrade.sh"
}

everything() {
    all_passed=0 all_failed=0
    part "PostgreSQL 17" "$0" 17
    part "PostgreSQL 18" "$0" 18
    part "librdkafka" "$here/rdkafka.sh"
    part "pg_upgrade" upgrade
    part "bare Debian" on_bare
    echo "$all_passed passed, $all_failed failed"
    [ "$all_failed" -eq 0 ]
}

[ "$(id -u)" -eq 0 ] || sn_die "needs root: it makes chroots"
export SENTINAI_CHROOTS=$chroots
# Beside whatever else the machine does: no deadline of the tests is short.
export SENTINAI_PATIENCE=${SENTINAI_PATIENCE:-4}
export PG_TEST_TIMEOUT_DEFAULT=${PG_TEST_TIMEOUT_DEFAULT:-720}
mkdir -p "$chroots"
case ${1:-all} in
    all) everything ;;
    rdkafka) exec "$here/rdkafka.sh" ;;
    upgrade) upgrade ;;
    bare) shift && on_bare "$@" ;;
    *) on_postgres "$@" ;;
esac
