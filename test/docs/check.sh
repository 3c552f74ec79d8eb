#!/bin/bash
# test/docs/check.sh: is what the documentation says true? Prints TAP.
# SPDX-License-Identifier: PostgreSQL
#
#   test/docs/check.sh [TEST…]     readme pages settings properties errors
#                                  conditions api comments links commands
#                                  tiers options trace_options topics_options relay_options
#                                  handler
#                                  restore versions
#                                  definer path loops sentences
#
# Needs a running server (PGHOST, PGPORT, …) with the extension installed and
# preloaded, where databases named docs_* and the roles that the pages make may
# be made and dropped. sentinai-work is taken from SENTINAI_WORK, or from
# build/workers, where `make -C workers` puts it.
set -u
shopt -s lastpipe
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
work=${SENTINAI_WORK:-build/workers/sentinai-work}
pages=(README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md docs/*.md
    docs/design/*.md test/README.md)
place=$(mktemp -d) || exit 1
trap 'rm -rf "$place"' EXIT
tests=0 failed=0

sql() {
    psql -XqAt -v ON_ERROR_STOP=1 -d "$1" -c "$2"
}

# result STATUS NAME: one line of TAP.
result() {
    tests=$((tests + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $tests - $2"
    else
        echo "not ok $tests - $2"
        failed=$((failed + 1))
    fi
}

# Pass TAP lines on with our numbers.
renumber() {
    local line
    while IFS= read -r line; do
        case $line in
            'ok - '*) result 0 "${line#ok - }" ;;
            'not ok - '*) result 1 "${line#not ok - }" ;;
            *) printf '%s\n' "$line" ;;
        esac
    done
}

# same NAME EXPECTED ACTUAL: two files that must be equal.
same() {
    diff -u "$2" "$3" >"$place/diff"
    result $? "$1"
    sed 's/^/# /' "$place/diff"
}

# nothing NAME: standard input must be empty; every line is a fault.
nothing() {
    cat >"$place/faults"
    [ ! -s "$place/faults" ]
    result $? "$1"
    sed 's/^/# /' "$place/faults"
}

new_database() {
    sql postgres "drop database if exists $1" 2>/dev/null
    sql postgres "create database $1"
}

# drop_roles PAGE: the roles that its SQL makes.
drop_roles() {
    sed -n 's/^ *create role \([a-z_]*\).*/\1/p' "$1" | while read -r role; do
        sql postgres "drop role if exists $role" 2>/dev/null
    done
}

# run_page PAGE: its SQL in a database of its own.
run_page() {
    local db=docs_page
    grep -q '^ *```sql$' "$1" || return
    new_database $db
    drop_roles "$1"
    grep -q '^create extension' "$1" || sql $db 'create extension sentinai'
    test/docs/run_blocks.pl "$1" $db >"$place/tap" 2>&1
    result $? "$1: its SQL could be run"
    renumber <"$place/tap"
    sql postgres "drop database $db"
    drop_roles "$1"
}

test_readme() {
    run_page README.md
}

test_pages() {
    local page
    for page in "${pages[@]}"; do
        [ "$page" = README.md ] || run_page "$page"
    done
}

# What docs/configuration.md says of each setting, a line each.
settings_of_page() {
    awk '
        /^### sentinai\./ { name = $2; next }
        name != "" && /^Default / {
            print name ": " $0
            name = ""
        }
    ' docs/configuration.md | tr -d '`' | sort
}

# The same from the server. What a role without rights does not see is for
# superusers only.
settings_of_server() {
    sql docs_ext "
    create role docs_nobody;
    create temp table seen (name text);
    grant insert on seen to docs_nobody;
    set role docs_nobody;
    insert into seen select name from pg_settings;
    reset role;
    drop owned by docs_nobody;
    drop role docs_nobody;
    select name || ': Default ' || case boot_val when '' then 'empty' else boot_val end
        || case vartype when 'enum' then ', one of ' || array_to_string(enumvals, ', ')
             when 'string' then ', text'
             when 'bool' then ', boolean'
             else coalesce(', unit ' || unit, '')
               || ', range ' || min_val || ' to ' || max_val end
        || ', context ' || context
        || case when name in (select seen.name from seen) then '' else ', superuser only' end
        || '.'
    from pg_settings where name like 'sentinai.%'"
}

test_settings() {
    local other='sentinai\.(control|something|order|exception|intake)$'
    settings_of_page >"$place/page"
    settings_of_server | sort >"$place/server"
    [ -s "$place/server" ]
    result $? "the server tells its settings"
    same "docs/configuration.md has every setting as the server has it" \
        "$place/server" "$place/page"
    sql docs_ext "
    select name from pg_settings where name like 'sentinai.%'
    union select relnamespace::regnamespace || '.' || relname from pg_class
    where relnamespace in ('sentinai'::regnamespace, 'sentinai_internal'::regnamespace)
    union select 'sentinai.' || proname from pg_proc where pronamespace = 'sentinai'::regnamespace" |
        sort >"$place/names"
    grep -ohE '`sentinai(_internal)?\.[a-z_]+|^ *sentinai\.[a-z_]+ *=' "${pages[@]}" |
        tr -d '`= ' | sort -u | grep -vE "$other" | comm -23 - "$place/names" |
        nothing "settings, tables and functions that the pages name exist"
}

test_errors() {
    sed -n "s/.*MAKE_SQLSTATE('\(.\)','\(.\)','\(.\)','\(.\)','\(.\)').*/\1\2\3\4\5 \3\4\5/p" \
        src/base/sqlstate.h | sort >"$place/source"
    sed -n 's/^| \[\(SN...\)\](#sn...) | \([0-9]*\) |.*/\1 \2/p' docs/errors.md |
        sort >"$place/page"
    same "the table of docs/errors.md has the codes of src/base/sqlstate.h" \
        "$place/source" "$place/page"
    sed -n 's/^## \(SN...\)$/\1/p' docs/errors.md | sort >"$place/sections"
    cut -d' ' -f1 "$place/source" >"$place/codes"
    same "each has a section" "$place/codes" "$place/sections"
}

# PostgreSQL's conditions that the sources raise, and those of the page.
test_conditions() {
    local list
    list=$("${PG_CONFIG:-pg_config}" --sharedir)/errcodes.txt
    grep -hoE '(errcode|refuse)\(ERRCODE_[A-Z_]+' src/*.c src/*/*.c src/*/*/*.c | sed 's/.*(//' |
        grep -v '^ERRCODE_SN_' | sort -u |
        while read -r macro; do
            awk -v macro="$macro" '$3 == macro { print $1; exit }' "$list"
        done | grep -v '^XX000$' | sort -u >"$place/source"
    sed -n 's/^| \([0-9A-Z]\{5\}\) | \([a-z_]*\) |.*/\1 \2/p' docs/errors.md |
        sort >"$place/page"
    cut -d' ' -f1 "$place/page" | comm -23 "$place/source" - |
        nothing "docs/errors.md has PostgreSQL's codes that the sources raise"
    while read -r code condition; do
        awk -v code="$code" -v condition="$condition" '$1 == code &&
            $4 == condition { found = 1 } END { exit !found }' "$list" ||
            echo "$code is not $condition"
    done <"$place/page" | nothing "their names are PostgreSQL's"
}

# What kafka_conf refuses, as patterns with a star.
test_properties() {
    sed -n '/Rule rules\[\]/,/^};/{
        s/.*{MATCH_ALL, "\([^"]*\)".*/\1/p
        s/.*{MATCH_START, "\([^"]*\)".*/\1*/p
        s/.*{MATCH_END, "\([^"]*\)".*/*\1/p
        }' src/broker/kafka_conf.c | sort >"$place/source"
    sed -n '/^| Property | Reason/,/^$/p' docs/kafka.md | cut -d'|' -f2 |
        grep -v 'other than' | grep -o '`[^`]*`' | tr -d '`' | sort >"$place/page"
    same "docs/kafka.md has the properties that are refused" "$place/source" "$place/page"
}

test_api() {
    docs/gen-sql-api.sh docs_ext >"$place/api" 2>"$place/api.err"
    result $? "the SQL reference can be generated"
    sed 's/^/# /' "$place/api.err"
    same "docs/sql-api.md is what \`make docs\` generates" docs/sql-api.md "$place/api"
    # a body in standard SQL has no names any more that a search_path could change
    new_database docs_platform && sql docs_platform 'create extension sentinai_platform cascade' 2>/dev/null
    docs/gen-platform-events.sh docs_platform >"$place/events" 2>"$place/api.err"
    result $? "the event catalogue can be generated"
    sed 's/^/# /' "$place/api.err"
    same "docs/platform-events.md is what \`make docs\` generates" docs/platform-events.md "$place/events"
    docs/gen-sql-api.sh docs_platform sentinai_platform >"$place/api" 2>"$place/api.err"
    same "docs/platform-sql.md is what \`make docs\` generates" docs/platform-sql.md "$place/api"
    sed 's/^/# /' "$place/api.err"
    sql postgres 'drop database docs_platform'
}

test_comments() {
    new_database docs_platform && sql docs_platform 'create extension sentinai_platform cascade' 2>/dev/null
    commented docs_ext sentinai
    commented docs_platform sentinai_platform
    sql postgres 'drop database docs_platform'
}

# commented DATABASE EXTENSION: all of it has comments.
commented() {
    local members="pg_depend d where d.deptype = 'e' and d.refobjid =
        (select oid from pg_extension where extname = '$2')"
    sql "$1" "
    select 'function ' || p.oid::regprocedure from pg_proc p
    where p.oid in (select d.objid from $members) and obj_description(p.oid, 'pg_proc') is null
    union all
    select 'relation ' || c.relname from pg_class c
    where c.oid in (select d.objid from $members) and c.relkind in ('r', 'p', 'v', 'm', 'f')
      and (not c.relispartition or c.relkind = 'p') and obj_description(c.oid, 'pg_class') is null
    union all
    select 'column ' || c.relname || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
    where c.oid in (select d.objid from $members) and c.relkind in ('r', 'p', 'v', 'm', 'f') and (not c.relispartition or c.relkind = 'p')
      and a.attnum > 0 and not a.attisdropped and col_description(c.oid, a.attnum) is null
    union all
    select 'type ' || t.oid::regtype from pg_type t
    where t.oid in (select d.objid from $members) and t.typelem = 0
      and (t.typrelid = 0 or (select c.relkind = 'c' from pg_class c where c.oid = t.typrelid))
      and obj_description(t.oid, 'pg_type') is null" >"$place/bare" ||
        echo "the query failed" >"$place/bare"
    nothing "$2: every function, table, view, column and type has a comment" \
        <"$place/bare"
    [ "$(sql "$1" "select obj_description(oid, 'pg_extension') <> ''
        from pg_extension where extname = '$2'")" = t ]
    result $? "so has the extension"
}

# Anchors of a page, as GitHub makes them from the headings.
anchors() {
    awk '/^ *```/ { code = !code } !code && /^#+ /' "$1" |
        sed 's/^#* //; s/`//g; s/\[\([^]]*\)\]([^)]*)/\1/g' |
        tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}

test_links() {
    local page link file anchor
    for page in "${pages[@]}" src/README.md src/*/README.md workers/README.md; do
        awk '/^ *```/ { code = !code } !code' "$page" |
            grep -oE '\]\([^)]+\)' | sed 's/^](//; s/)$//' | sort -u |
            while read -r link; do
                case $link in http://* | https://* | mailto:*) continue ;; esac
                file=${link%%#*} anchor=
                [ "$link" = "$file" ] || anchor=${link#*#}
                if [ -z "$file" ]; then
                    file=$page
                else
                    file=$(dirname "$page")/$file
                fi
                [ -e "$file" ] || { echo "$page: no file $link"; continue; }
                [ -z "$anchor" ] || anchors "$file" | grep -qx -- "$anchor" ||
                    echo "$page: no heading $link"
            done
    done | nothing "links between the pages lead somewhere"
    for page in docs/*.md; do
        grep -q "](${page})\|](${page}#" README.md || echo "$page"
    done | nothing "README.md leads to every page of docs"
}

# For readers of another first language: a sentence has 25 words at most, a cell
# of a table 30. Pages that a program writes are not prose.
test_sentences() {
    local page prose=(README.md SECURITY.md CONTRIBUTING.md)
    for page in docs/*.md docs/design/*.md src/README.md src/*/README.md workers/README.md test/README.md test/history/README.md; do
        case ${page#docs/} in
            sql-api.md | platform-sql.md | platform-events.md | check-long.md) ;;
            *) prose+=("$page") ;;
        esac
    done
    { test/docs/sentences.pl 25 30 "${prose[@]}" || echo "it failed"; } |
        nothing "the sentences of the pages are short"
}

# The test scripts that commands name; NAME stands for any.
test_commands() {
    {
        grep -ohE '\bT=test/[a-z]+/[a-zA-Z0-9_]+\.(pl|sql)' "${pages[@]}" | cut -c3-
        grep -ohE 'REGRESS=[a-z_]+' "${pages[@]}" | sed 's:.*=\(.*\):test/sql/\1.sql:'
    } | grep -v /NAME | sort -u | while read -r file; do
        [ -e "$file" ] || echo "$file"
    done | nothing "the tests that the pages run exist"
}

# The tiers of ./quickstart test.
test_tiers() {
    sed -n 's/^all_tiers=(\(.*\))$/\1/p' test/lib/tiers.sh | tr ' ' '\n' |
        sort >"$place/tiers"
    sed -n '/^| Tier |/,/^$/p' test/README.md | sed 1,2d | cut -d'|' -f2 |
        tr -d ' ' | grep . | sort >"$place/page"
    same "test/README.md has the tiers of ./quickstart test" "$place/tiers" \
        "$place/page"
}

# program_options PROGRAM PAGE: the page has its options in a section of its own.
program_options() {
    "${work%/*}/$1" --help >"$place/help" 2>&1
    result $? "${work%/*}/$1 --help"
    grep -oE '^ +(-., )?--[a-z-]+(=[A-Z]+)?' "$place/help" | sed 's/^ *//' |
        sort >"$place/program"
    sed -n "/^##* $1/,/^##* /p" "$2" |
        grep -oE '^\| (`-.`, )?`--[a-z-]+(=[A-Z]+)?`' | tr -d '|`' |
        sed 's/^ *//' | sort >"$place/page"
    same "$2 has the options of $1" "$place/program" "$place/page"
}

test_trace_options() {
    program_options sentinai-trace docs/tracing.md
}

test_topics_options() {
    program_options sentinai-topics docs/kafka.md
}

test_relay_options() {
    program_options sentinai-relay docs/kafka.md
}

# Options with their short form, argument, default and variables.
test_options() {
    "$work" --help >"$place/help" 2>&1
    result $? "$work --help"
    grep -oE '^ +(-., )?--[a-z-]+(=[A-Z]+)?' "$place/help" | sed 's/^ *//' |
        sort >"$place/program"
    sed -n '/^## sentinai-work/,/^## /p' docs/agents.md |
        grep -oE '^\| (`-.`, )?`--[a-z-]+(=[A-Z]+)?`' | tr -d '|`' |
        sed 's/^ *//' | sort >"$place/page"
    same "docs/agents.md has the options of sentinai-work" "$place/program" \
        "$place/page"
    grep -oE '\(default: [^)]*\)' "$place/help" | sort >"$place/program"
    grep -E '^\| (`-.`, )?`--' docs/agents.md | cut -d'|' -f3 |
        sed 's/^ *//; s/ *$//' |
        grep -vx 'required\|false\|' | sed 's/.*/(default: &)/' | sort >"$place/page"
    same "and their defaults" "$place/program" "$place/page"
    grep -oE '\[SENTINAI_[A-Z_, ]+\]' "$place/help" | tr -d '[]' | sort >"$place/program"
    grep -E '^\| (`-.`, )?`--' docs/agents.md | cut -d'|' -f4 | tr -d '`' |
        sed 's/^ *//; s/ *$//' | grep . | sort >"$place/page"
    same "and their environment variables" "$place/program" "$place/page"
}

# The handler of docs/agents.md: one event is completed, one dies with its text.
test_handler() {
    if ! command -v python3 >/dev/null; then
        result 0 "the handler of docs/agents.md # SKIP no python3"
        return
    fi
    sed -n '/^```python$/,/^```$/p' docs/agents.md | grep -v '^```' >"$place/bill.py"
    sql docs_ext "
    select sentinai.subscribe('billing');
    select sentinai.publish('OrderPlaced', 'acme', 'A-' || amount, jsonb_build_object('amount', amount))
    from unnest('{7,-7}'::int[]) amount" >/dev/null
    sql docs_ext "call sentinai.wait_for_work('billing', '10 s', null)" >/dev/null
    "$work" --dbname docs_ext --worker-type billing --exec "python3 $place/bill.py" \
        --until-empty --log-level error >"$place/handler" 2>&1
    result $? "sentinai-work with the handler of docs/agents.md"
    sed 's/^/# /' "$place/handler"
    [ "$(sql docs_ext "select p.completed, d.aggregate_id, d.reason
        from (select count(*) as completed from sentinai.event_processing
              where worker_type = 'billing' and aggregate_id = 'A-7') p,
             sentinai.dead_letter d")" = "1|A--7|negative amount" ]
    result $? "it completes what it should, and its error text is kept"
}

# What a subscription of docs_old or docs_new has before it, as one line.
standing() {
    sql "$1" "select (select count(*) from sentinai.event_log), (select count(*)
        from sentinai.event_processing), lag_events, retrying, dead, completed_count
        from sentinai.stat_queue where worker_type = 'keeper'"
}

# docs/operations.md on pg_dump: no errors, nothing lost, the relay paused, and
# work goes on.
test_restore() {
    local claimed=0 i
    new_database docs_old && new_database docs_new
    psql -XqAt -v ON_ERROR_STOP=1 -d docs_old >/dev/null <<'SQL'
create extension sentinai;
select sentinai.subscribe('keeper');
select sentinai.publish('T', 'acme', i::text, '{}') from generate_series(1, 40) i;
call sentinai.wait_for_work('keeper', '10 s', null);
create temp table batch as select * from sentinai.claim('keeper', 20);
select sentinai.complete(token) from (select distinct token from batch) b;
drop table batch;
create temp table batch as select * from sentinai.claim('keeper', 5);
select sentinai.fail(token, event_id, 'x', retry_in => '0') from batch limit 1;
SQL
    result $? "a database to dump"
    pg_dump docs_old >"$place/dump" 2>"$place/errors"
    psql -Xq1 -v ON_ERROR_STOP=1 -d docs_new -f "$place/dump" >/dev/null \
        2>>"$place/errors"
    grep -E '(error|ERROR):' "$place/errors" |
        nothing "its restore raises no errors"
    sql docs_new 'select sentinai.after_restore()' >/dev/null
    result $? "after_restore()"
    # either may still have to sequence the last event
    for ((i = 0; i < 50; i++)); do
        [ "$(standing docs_new)" != "$(standing docs_old)" ] || break
        sleep 0.1
    done
    [ "$i" -lt 50 ]
    result $? "the copy stands where the original does"
    [ "$(sql docs_new 'select sentinai.relay_is_paused()')" = t ]
    result $? "its relay is paused"
    sql docs_new "select sentinai.publish('T', 'acme', 'new', '{}')" >/dev/null
    for ((i = 0; i < 50 && claimed < 21; i++)); do
        claimed=$((claimed + $(sql docs_new "select count(*)
            from sentinai.claim('keeper', 100)")))
        sleep 0.1
    done
    [ "$claimed" -eq 21 ]
    result $? "and everything that is open can be claimed: $claimed"
    sql postgres 'drop database docs_old'
    sql postgres 'drop database docs_new'
}

test_versions() {
    local version
    version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" sentinai.control)
    grep -qF "## $version" CHANGELOG.md
    result $? "CHANGELOG.md has a heading for version $version"
    [ "$(grep -c '"version": "@VERSION@"' META.json.in)" -eq 2 ]
    result $? "META.json.in takes its version from sentinai.control"
    sql postgres "select '$(sed "s/@VERSION@/$version/; s/'/''/g" \
        META.json.in)'::jsonb" >/dev/null
    result $? "META.json.in is JSON"
}

# What runs with its owner's rights, and how.
test_definer() {
    sql docs_ext "select oid::regprocedure from pg_proc
        where pronamespace = 'sentinai'::regnamespace and prosecdef" |
        nothing "none of the extension's, as SECURITY.md says"
    sql docs_ext "select p.oid::regprocedure from pg_proc p
        where pronamespace = 'sentinai'::regnamespace
            and p.proconfig is distinct from '{\"search_path=pg_catalog, pg_temp\"}'
            and prolang in (select oid from pg_language
                where lanname in ('sql', 'plpgsql'))" |
        nothing "every function in SQL pins its search_path"
    new_database docs_platform && sql docs_platform 'create extension sentinai_platform cascade' 2>/dev/null
    sql docs_platform "select p.oid::regprocedure from pg_proc p
        where pronamespace = 'sentinai_platform'::regnamespace
            and (prosecdef or prokind = 'f' and prosqlbody is null
                    and (proconfig is null or not '{\"search_path=pg_catalog, pg_temp\"}' <@ proconfig)
                or exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner))) a where a.grantee = 0))" |
        nothing "the platform has none, all but procedures, which commit, and bodies in standard SQL pin their search_path, and nobody may execute it unasked"
    sql postgres 'drop database docs_platform'
}

# installed TARGET [VARIABLE…]: sentinai-work, in a root of its own.
installed() {
    make -s -C workers "$1" DESTDIR="$place/root" bindir=/usr/lib/postgresql/15/bin \
        "${@:2}" >/dev/null
}

# docs/agents.md on PATH: where it is and is not, whose it is, how it goes.
test_path() {
    local program=/usr/lib/postgresql/15/bin/sentinai-work
    local link=$place/root/usr/local/bin/sentinai-work
    installed install linkdir=/usr/local/bin &&
        [ "$(readlink "$link")" = $program ] && [ -x "$place/root$program" ]
    result $? "make install makes a link where PATH has it"
    installed uninstall linkdir=/usr/local/bin && [ ! -L "$link" ] &&
        [ ! -e "$place/root$program" ]
    result $? "make uninstall removes both"
    installed install && [ ! -L "$link" ]
    result $? "no link without linkdir"
    echo other >"$link" && installed install linkdir=/usr/local/bin &&
        installed uninstall linkdir=/usr/local/bin && [ "$(cat "$link")" = other ]
    result $? "what is no link of ours stays"
}

# loop LANGUAGE COMMAND…: its program of docs/agent-loops.md completes what it
# should and fails what it should. It connects as the caller has set.
loop() {
    local fence=$1 pid i state='' agent=$loop_role
    shift
    new_database docs_loop
    sql docs_loop 'create extension sentinai'
    sql docs_loop "select sentinai.subscribe('billing', backoff => '{1h}');
    select sentinai.publish('OrderPlaced', 'acme', key, jsonb_build_object('amount', amount))
    from (values ('A', 1), ('A', 2), ('B', -3), ('B', 4), ('C', 5)) v (key, amount)" >/dev/null
    [ -z "$agent" ] || sql docs_loop "grant usage on schema sentinai to $agent;
    grant execute on function sentinai.claim, sentinai.complete, sentinai.fail,
        sentinai.get_partition_key to $agent;
    grant execute on procedure sentinai.wait_for_work to $agent"
    env "${loop_env[@]}" PGDATABASE=docs_loop setsid "$@" >"$place/loop" 2>&1 &
    pid=$!
    for ((i = 0; i < 600; i++)); do
        state=$(sql docs_loop "select completed_count, retrying, failed_count from sentinai.stat_queue")
        [ "$state" != '3|2|1' ] || break
        sleep 0.1
    done
    # it waits for more: that it has not ended is part of the test
    kill -- -"$pid" 2>/dev/null && [ "$state" = '3|2|1' ]
    result $? "docs/agent-loops.md: $fence: $state"
    [ "$state" = '3|2|1' ] || sed 's/^/# /' "$place/loop"
    wait "$pid" 2>/dev/null
    sql postgres 'drop database docs_loop with (force)'
}

# unlooped LANGUAGE REASON: it cannot be tried here. What drivers.sh says goes
# before what the caller sees.
unlooped() {
    local why=$2
    [ ! -s "$drivers/$1.missing" ] || why=$(cat "$drivers/$1.missing")
    result 0 "docs/agent-loops.md: $1 # SKIP $why"
}

loop_python() {
    local python
    for python in python3 /usr/bin/python3; do
        if "$python" -c 'import psycopg' 2>/dev/null; then
            test/docs/program.sh python >"$place/agent.py"
            loop python "$python" "$place/agent.py"
            return
        fi
    done
    unlooped python "no psycopg"
}

loop_js() {
    export NODE_PATH=$drivers/node_modules:/usr/share/nodejs
    if ! node -e 'require("pg")' 2>/dev/null; then
        unlooped js "no pg"
        return
    fi
    test/docs/program.sh js >"$place/agent.js"
    loop js node "$place/agent.js"
}

# Built beforehand, which may take longer than the agent has.
loop_go() {
    if [ ! -e "$drivers/go/complete" ] || ! command -v go >/dev/null; then
        unlooped go "no pgx"
        return
    fi
    cp -r "$drivers/go" "$place/go"
    test/docs/program.sh go >"$place/go/agent.go"
    if (cd "$place/go" && CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=vendor \
        go build -o "$place/agent" agent.go) >"$place/loop" 2>&1; then
        loop go "$place/agent"
    else
        result 1 "docs/agent-loops.md: go: it compiles"
        sed 's/^/# /' "$place/loop"
    fi
}

# Java's driver knows no sockets but TCP's.
loop_java() {
    local jar=/usr/share/java/postgresql.jar
    if [ ! -e $jar ] || ! command -v javac >/dev/null; then
        unlooped java "no JDBC driver or no JDK"
    elif [ -z "$loop_role" ]; then
        unlooped java "the server is not reached by TCP"
    else
        test/docs/program.sh java >"$place/Billing.java"
        loop java java -cp $jar "$place/Billing.java"
    fi
}

# The loops of an agent, where the language's driver is: drivers.sh brings
# them. In a server that takes TCP connections with a password the agents are a
# role with an agent's rights; else they take the caller's connection.
test_loops() {
    local drivers password loop_role=docs_agent loop_env=()
    drivers=${SENTINAI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sentinai}/drivers
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    sql postgres "create role $loop_role login password '$password'"
    loop_env=(PGHOST=127.0.0.1 PGUSER=$loop_role PGPASSWORD="$password"
        JDBC_URL="jdbc:postgresql://127.0.0.1:$PGPORT/docs_loop?user=$loop_role&password=$password")
    if ! env "${loop_env[@]}" psql -Xqc 'select' postgres >/dev/null 2>&1; then
        sql postgres "drop role $loop_role"
        loop_role='' loop_env=()
    fi
    loop_python
    loop_js
    loop_go
    loop_java
    [ -z "$loop_role" ] || sql postgres "drop role $loop_role"
}

all=(readme pages settings properties errors conditions api comments links commands tiers options trace_options topics_options relay_options handler restore versions definer path loops sentences)
[ $# -gt 0 ] || set -- "${all[@]}"
for name in "$@"; do
    [ "$(type -t "test_$name")" = function ] || {
        echo "no test $name; there are: ${all[*]}" >&2
        exit 2
    }
done
new_database docs_ext && sql docs_ext 'create extension sentinai'
result $? "a database with the extension"
for name in "$@"; do
    "test_$name"
done
sql postgres 'drop database docs_ext'
echo "1..$tests"
[ "$failed" -eq 0 ]
