#!/bin/bash
# docs/gen-sql-api.sh: print docs/sql-api.md from the COMMENTs of a database,
# or docs/platform-sql.md.
# SPDX-License-Identifier: PostgreSQL
#
#   docs/gen-sql-api.sh DATABASE >docs/sql-api.md
#   docs/gen-sql-api.sh DATABASE sentinai_platform >docs/platform-sql.md
#
# The database has the extension and nothing added to it. `make docs` does it.
set -eu
db=${1:?usage: gen-sql-api.sh DATABASE [EXTENSION]}
extension=${2:-sentinai}

sql() {
    psql -XqAt -v ON_ERROR_STOP=1 -d "$db" -c "$1"
}

# The functions of a module of sql/ make a section, in their order there; its
# first comment is the heading. A comment on a function that begins with "For "
# is about a helper of the extension itself, which comes under "Inner functions".
modules=$(cd "$(dirname "$0")/../sql${2:+/platform}" && pwd)
is_inner="obj_description(p.oid, 'pg_proc') like 'For %'"

members="pg_depend d where d.refclassid = 'pg_extension'::regclass
    and d.refobjid = (select oid from pg_extension where extname = '$extension')
    and d.deptype = 'e'"

# functions CONDITION, in the order in which they were made
functions() {
    sql "
    with f as (
        select p.oid, p.proname, p.prokind, p.pronargs,
               obj_description(p.oid, 'pg_proc') as comment,
               regexp_replace(replace(pg_get_function_arguments(p.oid), 'timestamp with time zone', 'timestamptz'),
                   '::(text|jsonb|uuid|timestamptz|integer|bigint|interval|boolean)(\[\])?', '', 'g') as arguments,
               replace(pg_get_function_result(p.oid), 'timestamp with time zone', 'timestamptz') as result,
               count(*) over (partition by p.proname) as overloads
        from pg_proc p
        where p.oid in (select d.objid from $members and d.classid = 'pg_proc'::regclass)
              and p.prorettype <> 'trigger'::regtype and $1
    )
    select '### ' || proname || case when overloads > 1
               then '(' || pg_get_function_identity_arguments(oid) || ')' else '' end
           || E'\n\n' || replace(comment, ' Errors: ', E'\n\n*Errors:* ')
           || E'\n\n\`\`\`sql norun\n' || proname || '('
           || case when length(arguments) > 80 then '
    ' || regexp_replace(arguments, ', ((INOUT |OUT )?[a-z_0-9]+ [a-z])', ',
    \1', 'g') else arguments end || ')'
           || case when prokind = 'p' then ' -- a procedure: CALL it'
                when length(result) > 60 then '
    returns ' || regexp_replace(result, '([(]|, )([a-z_0-9]+ [a-z])', '\1
        \2', 'g')
                else ' returns ' || result end
           || E'\n\`\`\`\n'
    from f p
    order by oid"
}

# section MODULE
section() {
    local heading names text
    heading=$(sed -n '1s/^-- \([^.]*\).*/\1/p' "$1")
    names=$(grep -oE "^create (function|procedure) $extension\.[a-z_]+" "$1" | sed 's/.*\.//' | paste -sd,)
    text=$(functions "p.proname = any ('{$names}') and not $is_inner")
    [ -z "$text" ] || printf '\n## %s\n\n%s\n' "$heading" "$text"
}

# relations KINDS HEADING
relations() {
    printf '\n## %s\n\n' "$1"
    sql "
    select '### ' || c.relname || E'\n\n' || obj_description(c.oid, 'pg_class')
           || E'\n\n| Column | Type | |\n|---|---|---|\n'
           || (select string_agg('| \`' || a.attname || '\` | '
                   || replace(format_type(a.atttypid, a.atttypmod), '|', '\|') || ' | '
                   || replace(col_description(c.oid, a.attnum), '|', '\|') || ' |',
                   E'\n' order by a.attnum)
               from pg_attribute a
               where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)
           || E'\n'
    from pg_class c
    where c.oid in (select d.objid from $members and d.classid = 'pg_class'::regclass)
      and c.relkind in ($2) and (not c.relispartition or c.relkind = 'p') and $3
    order by c.relname"
}

# Types that are no table's rows
types() {
    sql "
    select '### ' || t.typname || E'\n\n' || obj_description(t.oid, 'pg_type')
           || E'\n\n| Column | Type |\n|---|---|\n'
           || (select string_agg('| \`' || a.attname || '\` | '
                   || format_type(a.atttypid, a.atttypmod) || ' |', E'\n' order by a.attnum)
               from pg_attribute a
               where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped)
           || E'\n'
    from pg_type t join pg_class c on c.oid = t.typrelid
    where t.oid in (select d.objid from $members and d.classid = 'pg_type'::regclass)
      and c.relkind = 'c'
    order by t.typname"
}

if [ "$extension" = sentinai_platform ]; then
    cat <<'TEXT'
# SQL reference of the platform

Everything the extension `sentinai_platform` puts into the schema of that name. This page is generated from the comments in the database (`make docs`), so `\df+ sentinai_platform.*` in psql says the same. [The exception platform](platform.md) shows how it is used.
TEXT
    for module in "$modules"/[4-9]*.sql; do
        section "$module"
    done
    relations "Tables" "'r'" true
    printf '\n# Inner parts\n\nNot for use from outside; they may change with any version.\n'
    printf '\n## Inner functions\n\n'
    functions "$is_inner"
    exit
fi

public_tables="'event_log','event_processing','dead_letter'"

cat <<'TEXT'
# SQL reference

Everything the extension puts into the schema `sentinai`, and its inner tables, which are in `sentinai_internal`. This page is generated from the comments in the database (`make docs`), so `\df+ sentinai.*` and `\d+ sentinai.event_log` in psql say the same.
Arguments with a default can be left out, and given by name: `publish('T', 'acme', 'A-1', '{}', deliver_at => now() + '1 hour')`.
TEXT

for module in "$modules"/[4-9]*.sql "$modules"/[0-3]*.sql; do
    section "$module"
done
relations "Tables" "'v', 'f'" "c.relname in ($public_tables) or c.relkind = 'f'"
relations "Views" "'v'" "c.relname not in ($public_tables) and c.relnamespace = 'sentinai'::regnamespace"
printf '\n## Types\n\n'
types
printf '\n# Inner parts\n\nNot for use from outside; they may change with any version.\n'
printf '\n## Inner functions\n\n'
functions "$is_inner"
relations "Inner tables" "'r', 'p', 'v'" "c.relname not in ($public_tables)
    and c.relnamespace = 'sentinai_internal'::regnamespace and c.relname !~ '_([01]|root)\$'"
