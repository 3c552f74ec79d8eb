# shellcheck shell=bash
# test/demo/table.sh: steps, the live table and other things to look at.
# SPDX-License-Identifier: PostgreSQL
#
# Source it from run.sh. On a terminal the table repaints itself; elsewhere it is a line now and then.
# shellcheck disable=SC2154 # steps: by run.sh

if [ -t 1 ] && [ "${TERM:-dumb}" != dumb ]; then on_tty=1; else on_tty=; fi
if [ "$on_tty" ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
    bold='' dim='' green='' red='' plain=''
fi
table_lines=0
table_at=-10

# 2684 -> 2,684
with_commas() {
    printf "%s" "$1" | sed -e ':a' -e 's/^\([0-9]\{1,\}\)\([0-9]\{3\}\)/\1,\2/;ta'
}

# step NUMBER TEXT: the head line of a step.
step() {
    printf '%s[%s/%s]%s %s\n' "$bold" "$1" "$steps" "$plain" "$2"
}

# say TEXT: a line that belongs to the step.
say() {
    printf '      %s\n' "$*"
}

# bar PERCENT: forty characters of progress.
bar() {
    local full=$(($1 * 40 / 100)) line
    printf -v line '%*s' "$full" ''
    printf '%s' "${line// /█}"
    printf -v line '%*s' $((40 - full)) ''
    printf '%s' "${line// /░}"
}

# table PERCENT SECONDS NAME VALUE...: paint the live table over the last one.
table() {
    local percent=$1 elapsed=$2 names='' values=''
    shift 2
    while [ $# -gt 1 ]; do
        names+=$(printf '%11s' "$1")
        values+=$(printf '%11s' "$(with_commas "$2")")
        shift 2
    done
    if [ -z "$on_tty" ]; then
        [ "$percent" -lt 100 ] && [ $((SECONDS - table_at)) -lt 2 ] && return
        [ "$table_at" -lt 0 ] && printf '           %s\n' "$names"
        printf '      %3d %% %s\n' "$percent" "$values"
        table_at=$SECONDS
        return
    fi
    [ "$table_lines" -eq 0 ] || printf '\e[%dA' "$table_lines"
    printf '\e[K      %s %3d %%  %2d s\n' "$(bar "$percent")" "$percent" "$elapsed"
    printf '\e[K %s%s%s\n\e[K %s\n' "$dim" "$names" "$plain" "$values"
    table_lines=3
}

# verdict OK NAME FIGURES: one line of the proof.
verdict() {
    local mark="$red✗$plain"
    [ "$1" = t ] && mark="$green✓$plain"
    printf '      %s %-13s %s\n' "$mark" "$2" "$3"
}
