# shellcheck shell=bash
# test/lib/common.sh: what the project's shell tools share. Source it.
# SPDX-License-Identifier: PostgreSQL
#
# Nothing here prints to stdout but the function's answer; talk goes to stderr.

# Say something to the person who watches.
sn_note() {
    printf '%s\n' "$*" >&2
}

# Say why it ends and end.
sn_die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# sn_wait_until SECONDS COMMAND...: poll until COMMAND succeeds; 1 when the
# deadline passes first.
sn_wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

# Is a TCP port of this machine listened on?
sn_port_used() {
    local hex
    hex=$(printf ':%04X' "$1")
    awk -v port="$hex" '$4 == "0A" && substr($2, length($2) - 4) == port \
        { found = 1 } END { exit !found }' /proc/net/tcp /proc/net/tcp6 \
        2>/dev/null
}

# Print a free TCP port below the range the kernel hands out by itself.
sn_free_port() {
    local port tries
    for tries in $(seq 100); do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        sn_port_used "$port" || { echo "$port"; return; }
    done
    sn_die "found no free TCP port in $tries tries"
}

# Is this process alive, and does its command line contain that text? A pid
# file outlives its process, and the number may belong to somebody else now.
sn_is_ours() {
    [ -n "$1" ] && tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" |
        grep -qF -- "$2"
}

# sn_end_process PID TEXT SECONDS: TERM, and KILL when it has not gone by then.
sn_end_process() {
    sn_is_ours "$1" "$2" || return 0
    kill -TERM "$1" 2>/dev/null
    sn_wait_until "$3" sn_process_gone "$1" "$2" || kill -KILL "$1" 2>/dev/null
    sn_wait_until 10 sn_process_gone "$1" "$2"
}

# The opposite of sn_is_ours, for sn_wait_until.
sn_process_gone() {
    ! sn_is_ours "$1" "$2"
}

# Run a command as root: directly, or through sudo.
sn_as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -- "$@"
    else
        sn_note "you are not root and there is no sudo; needed for: $*"
        return 1
    fi
}

# Print which of these Debian packages are not installed.
sn_missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null |
            grep -qx installed || echo "$package"
    done
}

# Does apt know these packages (are its lists there)?
sn_apt_knows() {
    local package
    for package in "$@"; do
        apt-cache show "$package" >/dev/null 2>&1 || return 1
    done
}

# sn_install_packages LOG PACKAGE...: install what is missing, without asking.
sn_install_packages() {
    local log=$1 missing
    shift
    mapfile -t missing < <(sn_missing_packages "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        sn_die "not a Debian system; install by hand: ${missing[*]}"
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null ||
        sn_die "you are not root and there is no sudo; have root install: ${missing[*]}"
    sn_note "installing: ${missing[*]}"
    {
        sn_apt_knows "${missing[@]}" || sn_as_root apt-get update
        sn_apt_install "${missing[@]}" || {
            # the lists may be older than what the mirror still has
            sn_as_root apt-get update && sn_apt_install "${missing[@]}"
        }
    } >>"$log" 2>&1
}

# The install itself, one call, no questions.
sn_apt_install() {
    sn_as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y \
        --no-install-recommends "$@"
}
