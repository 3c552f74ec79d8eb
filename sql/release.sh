#!/bin/bash
# sql/release.sh: the version under work becomes a released one, and the next
# one is begun.
# SPDX-License-Identifier: PostgreSQL
#
#   sql/release.sh NEXT
#
# Writes the install script of the version of sentinai.control, which never
# changes again, notes the checksums of what is released, sets the version to
# NEXT and begins the script that updates to it. CONTRIBUTING.md says what else
# a release needs.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")"
next=${1:?usage: sql/release.sh NEXT}
control=../sentinai.control
version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" "$control")
install=sentinai--$version.sql
update=$(echo sentinai--*--"$version.sql")

[[ $next =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || { echo "NEXT is like 1.2.3" >&2; exit 1; }
[ ! -e "$install" ] || { echo "$version is released already" >&2; exit 1; }
[ -e "$update" ] || { echo "nothing updates to $version" >&2; exit 1; }
cat [0-9]*.sql >"$install"
sha256sum "$install" "$update" >>released.sha256
sed -i "s/^default_version.*/default_version = '$next'/" "$control"
sed "s/@TO@/$next/" update.sql.in >"sentinai--$version--$next.sql"
echo "released $version, begun $next"
