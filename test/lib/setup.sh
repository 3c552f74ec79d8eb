# shellcheck shell=bash
# test/lib/setup.sh: packages, which PostgreSQL, build and install.
# SPDX-License-Identifier: PostgreSQL
#
# Source it after common.sh, in the root of the tree. Sets pg_config, pgbin.
# shellcheck disable=SC2034 # used by whoever sources this

# What building and running needs, beside PostgreSQL itself.
base_packages=(build-essential libpq-dev libmicrohttpd-dev librdkafka-dev librabbitmq-dev libjansson-dev
    libcurl4-openssl-dev kcat)

# Can extensions be built for the server of this pg_config? Debian's client
# package has pgxs.mk, but no header of the server.
can_build_for() {
    [ -e "$("$1" --pgxs)" ] && [ -e "$("$1" --includedir-server)/postgres.h" ]
}

# The newest installed PostgreSQL that extensions can be built for.
installed_pg_config() {
    printf '%s\n' /usr/lib/postgresql/*/bin/pg_config | sort -t/ -k5,5n |
        while read -r candidate; do
            [ -x "$candidate" ] && [ -x "${candidate%/*}/initdb" ] &&
                can_build_for "$candidate" && echo "$candidate"
        done | tail -1
}

# Major version of PostgreSQL that this Debian release has.
packaged_pg_major() {
    apt-cache depends postgresql 2>/dev/null |
        sed -n 's/^ *Depends: postgresql-\([0-9]*\)$/\1/p' | head -1
}

# find_postgres LOG: PG_CONFIG when it is set, else what is installed, else
# install Debian's.
find_postgres() {
    local major
    pg_config=${PG_CONFIG:-$(installed_pg_config)}
    if [ -z "$pg_config" ]; then
        major=$(packaged_pg_major)
        [ -n "$major" ] || {
            sn_as_root apt-get update >>"$1" 2>&1
            major=$(packaged_pg_major)
        }
        [ -n "$major" ] ||
            sn_die "no PostgreSQL package found; set PG_CONFIG to a pg_config"
        sn_install_packages "$1" "postgresql-$major" \
            "postgresql-server-dev-$major" || return 1
        pg_config=$(installed_pg_config)
    fi
    command -v "$pg_config" >/dev/null ||
        sn_die "$pg_config is not there (PG_CONFIG)"
    can_build_for "$pg_config" ||
        sn_die "$pg_config has no headers of a server; install its development package"
    pgbin=$("$pg_config" --bindir)
    pg_major=$("$pg_config" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
    [ "$pg_major" -ge 15 ] ||
        sn_die "SentinAI needs PostgreSQL 15 or later, $pg_config has $pg_major"
    export PG_CONFIG=$pg_config
}

# Build everything: extension, agents, mock broker, demo.
build_all() {
    make -j2 PG_CONFIG="$pg_config" && make PG_CONFIG="$pg_config" demo
}

# make_installed TARGET: install or uninstall where pg_config says, as root when
# that needs root.
make_installed() {
    if [ -w "$("$pg_config" --pkglibdir)" ]; then
        make PG_CONFIG="$pg_config" "$1"
    else
        sn_as_root make PG_CONFIG="$pg_config" "$1"
    fi
}

# Is what is installed what was built?
installed_is_built() {
    local file lib share
    lib=$("$pg_config" --pkglibdir)
    share=$("$pg_config" --sharedir)/extension
    for file in *.so; do
        cmp -s "$file" "$lib/$file" || return 1
    done
    for file in sentinai*.control sentinai*--*.sql sql/sentinai--*.sql; do
        cmp -s "$file" "$share/${file##*/}" || return 1
    done
    for file in sentinai-work sentinai-trace sentinai-topics sentinai-relay sentinai-intake sentinai-triage sentinai-policy sentinai-playbook sentinai-tool sentinai-feedback; do
        cmp -s "build/workers/$file" "$pgbin/$file" || return 1
    done
}

# Install what differs; an unchanged installation keeps its times, by which
# uninstall_ours knows it.
install_built() {
    installed_is_built || make_installed install
}

# uninstall_ours STAMP: remove the extension if it is still the one that had
# this stamp; empty for none.
uninstall_ours() {
    [ -n "$1" ] && [ "$1" = "$(installed_stamp)" ] && make_installed uninstall
}

# A line that tells which installed library this is; empty when there is none.
installed_stamp() {
    stat -c '%n %s %y' "$("$pg_config" --pkglibdir)/sentinai.so" 2>/dev/null || :
}
