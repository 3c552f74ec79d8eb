#!/bin/bash
# test/matrix/upgrade.sh: pg_upgrade 15 to 17 to 18 in one of the chroots.
# SPDX-License-Identifier: PostgreSQL
#
#   test/matrix/upgrade.sh
#
# Needs root, PostgreSQL 15 here, and the chroots that run.sh makes for 17 and
# 18 (SENTINAI_CHROOTS). The servers of 15 and 17, each with the extension built
# where it comes from, are copied beside the one of 18, and pg_upgrade.sh is run
# there. The last line is `N passed, N failed`.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=test/lib/common.sh
. "$here/../lib/common.sh"
chroots=${SENTINAI_CHROOTS:-/var/tmp/sentinai-chroot}
place=var/tmp/sentinai-upgrade
log=$(mktemp /tmp/sentinai-upgrade.XXXXXX)
trap 'rm -rf "$log" "/$place" "$chroots/17/$place" "$chroots/18/$place"' EXIT

packages=(build-essential libpq-dev libmicrohttpd-dev librdkafka-dev librabbitmq-dev libcurl4-openssl-dev)

# have_packages ROOT: what building needs, in that system.
have_packages() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    chroot "$1" sh -c 'dpkg -s "$@" >/dev/null 2>&1 || { apt-get update &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y \
            --no-install-recommends "$@"; }' sh "${packages[@]}"
}

# build ROOT VERSION: library and script, built in that system from this tree.
build() {
    have_packages "$1" && mkdir -p "${1%/}/$place" &&
        tar -C "$root" --exclude=./.git --exclude=./build --exclude=./log \
            --exclude='*.o' --exclude='*.so' -cf - . | tar -C "${1%/}/$place" -xf - &&
        chroot "$1" make -C "/$place" -s \
            PG_CONFIG="/usr/lib/postgresql/$2/bin/pg_config" \
            sentinai.so sentinai_kafka.so "sentinai--$(version).sql"
}

version() {
    sed -n "s/^default_version *= *'\(.*\)'/\1/p" "$root/sentinai.control"
}

# put ROOT VERSION: what was built there, into the server of the last chroot.
put() {
    cp "${1%/}/$place"/*.so "$chroots/18/usr/lib/postgresql/$2/lib/" &&
        cp "${1%/}/$place"/sentinai.control "${1%/}/$place"/{,sql/}sentinai--*.sql \
            "$chroots/18/usr/share/postgresql/$2/extension/"
}

# older_15: the root of the server of 15 to copy. Minor releases that store the
# attribute option pg_attver can only be upgraded to such ones; when the others
# are older, Debian's first package of 15 is taken.
older_15() {
    local postgres=usr/lib/postgresql/15/bin/postgres version
    if ! grep -q pg_attver "/$postgres" ||
        grep -q pg_attver "$chroots/17/${postgres//15/17}"; then
        echo /
        return
    fi
    version=$(apt-cache madison postgresql-15 | awk 'END { print $3 }')
    mkdir -p "/$place/older" && cd "/$place/older" &&
        apt-get download "postgresql-15=$version" \
            "postgresql-client-15=$version" >&2 &&
        dpkg -x postgresql-15_*.deb . && dpkg -x postgresql-client-15_*.deb . &&
        echo "/$place/older"
}

bring_together() {
    local older
    build / 15 && build "$chroots/17" 17 && build "$chroots/18" 18 &&
        older=$(older_15) && "$here/graft.sh" "$older" 15 "$chroots/18" &&
        "$here/graft.sh" "$chroots/17" 17 "$chroots/18" &&
        put / 15 && put "$chroots/17" 17 && put "$chroots/18" 18
}

[ "$(id -u)" -eq 0 ] || sn_die "needs root: it works in chroots"
sn_install_packages "$log" postgresql-15 postgresql-server-dev-15 ||
    sn_die "could not install PostgreSQL 15 (log: $log)"
for version in 17 18; do
    [ -x "$chroots/$version/usr/lib/postgresql/$version/bin/postgres" ] ||
        sn_die "no PostgreSQL $version in $chroots: test/matrix/run.sh makes it"
done
sn_note "building for 15, 17 and 18 (log: $log)"
bring_together >"$log" 2>&1 || {
    tail -20 "$log"
    echo "0 passed, 1 failed"
    exit 1
}
chroot "$chroots/18" su postgres -s /bin/bash -c \
    "/$place/test/matrix/pg_upgrade.sh /usr/lib/postgresql/{15,17,18}/bin" |
    tee "$log"
echo "$(grep -c '^ok ' "$log") passed, $(grep -c '^\(not ok\|Bail\)' "$log") failed"
! grep -q '^\(not ok\|Bail\)' "$log" && grep -q '^1\.\.[1-9]' "$log"
