# shellcheck shell=bash
# test/matrix/debian.sh: which Debian has which PostgreSQL, and where it is.
# SPDX-License-Identifier: PostgreSQL
#
# Source it after test/lib/common.sh.

# The mirror that apt uses here, when this is a Debian.
debian_mirror() {
    apt-get indextargets --format '$(SITE)' 'Origin: Debian' 2>/dev/null |
        head -1 | grep . || echo http://deb.debian.org/debian
}

# The release that has this major version of PostgreSQL.
debian_of() {
    case $1 in
        17) echo trixie ;;
        18) echo forky ;;
        *) sn_die "no Debian is known to have PostgreSQL $1" ;;
    esac
}
