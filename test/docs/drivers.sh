#!/bin/bash
# test/docs/drivers.sh: what the agents of docs/agent-loops.md need, in a folder.
# SPDX-License-Identifier: PostgreSQL
#
#   drivers.sh DIR
#
# Python, a JDK and Java's driver come from Debian. Node's driver is npm's where
# there is npm, else Debian's; Go's is that of its module proxy. What is there
# already is not fetched again. A language that cannot be had is no error:
# DIR/LANGUAGE.missing then says why, and the test skips it with these words.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib/common.sh"
pg=8.23.1    # of npm
pgx=v5.5.5   # the last that Debian 12's Go can build
dir=${1:?usage: drivers.sh DIR}
mkdir -p "$dir" && cd "$dir" || exit 1
dir=$PWD
exec 9>lock
flock 9

# need PROGRAM PACKAGE: the package when the program is not there.
need() {
    command -v "$1" >/dev/null || sn_install_packages "$dir/install.log" "$2"
}

get_python() {
    sn_install_packages "$dir/install.log" python3-psycopg
}

get_js() {
    if ! command -v npm >/dev/null; then
        sn_install_packages "$dir/install.log" node-pg
        return
    fi
    [ -e node_modules/pg/package.json ] ||
        npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$dir" \
            "pg@$pg" >>install.log 2>&1
}

# The program of the page tells which packages of the driver it takes.
get_go() {
    need go golang-go || return 1
    # a module of one version of Go may say what an older one cannot read
    [ "$(cat go/complete 2>/dev/null)" != "$(go version)" ] || return 0
    rm -rf go && mkdir go &&
        "$here/program.sh" go >go/agent.go || return 1
    (
        export GOTOOLCHAIN=local GOFLAGS=-mod=mod
        cd go && go mod init agent && go get "github.com/jackc/pgx/v5@$pgx" &&
            go mod vendor && go version >complete
    ) >>install.log 2>&1
}

get_java() {
    need javac default-jdk-headless &&
        sn_install_packages "$dir/install.log" libpostgresql-jdbc-java
}

for language in python js go java; do
    rm -f "$language.missing"
    # in a process of its own: what it cannot install ends it
    ("get_$language") 2>>install.log ||
        echo "could not be fetched: $(tail -1 install.log)" >"$language.missing"
done
