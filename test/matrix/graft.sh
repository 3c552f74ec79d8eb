#!/bin/bash
# test/matrix/graft.sh: put the PostgreSQL of one system beside that of another.
# SPDX-License-Identifier: PostgreSQL
#
#   test/matrix/graft.sh FROM VERSION TO
#
# Copies /usr/lib/postgresql/VERSION and /usr/share/postgresql/VERSION, with the
# libraries that they need and TO lacks, from the root FROM (/, a chroot, or an
# unpacked package of this system) to the chroot TO, as pg_upgrade wants old and
# new programs in one file system.
set -eu
from=${1%/} version=$2 to=$3
lib=usr/lib/postgresql/$version

mkdir -p "$to/$lib" "$to/usr/share/postgresql" "$to/etc/ld.so.conf.d"
rm -rf "${to:?}/$lib" "$to/usr/share/postgresql/$version"
cp -a "$from/$lib" "$to/usr/lib/postgresql/"
rm -rf "$to/$lib/lib/bitcode"
cp -a "$from/usr/share/postgresql/$version" "$to/usr/share/postgresql/"

# The names that its programs ask for and the other system cannot give.
mkdir -p "$to/$lib/needed"
if [ -x "$from/usr/bin/ldd" ]; then
    chroot "${from:-/}" sh -c "ldd /$lib/bin/* /$lib/lib/*.so"
else
    ldd "$from/$lib"/bin/* "$from/$lib"/lib/*.so
fi 2>/dev/null |
    awk '$2 == "=>" && $3 ~ "^/" { print $1, $3 }' | sort -u >"$to/$lib/needed/list"
[ -x "$from/usr/bin/ldd" ] || from=
chroot "$to" ldconfig           # which forgets what was there before
chroot "$to" ldconfig -p >"$to/$lib/needed/there"
while read -r name path; do
    grep -q "^[[:space:]]*$name " "$to/$lib/needed/there" ||
        cp -L "$from$path" "$to/$lib/needed/$name"
done <"$to/$lib/needed/list"
echo "/$lib/needed" >"$to/etc/ld.so.conf.d/postgresql-$version.conf"
chroot "$to" ldconfig
chroot "$to" "/$lib/bin/postgres" --version
