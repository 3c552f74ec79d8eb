-- The log cannot be changed.

create function sentinai.refuse_change() returns trigger
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_refuse_change';
comment on function sentinai.refuse_change() is 'Trigger of event_log, each of its partitions and event_kept: raises SN409 on UPDATE, DELETE and TRUNCATE, whoever tries.';

create trigger refuse_change before update or delete or truncate on sentinai_internal.event_log
    for each statement execute function sentinai.refuse_change();
alter table sentinai_internal.event_log enable always trigger refuse_change;
comment on trigger refuse_change on sentinai_internal.event_log is 'Keeps the log append-only, in replication as well.';

create trigger refuse_change before update or delete or truncate on sentinai_internal.event_log_root
    for each statement execute function sentinai.refuse_change('event_log');
alter table sentinai_internal.event_log_root enable always trigger refuse_change;
comment on trigger refuse_change on sentinai_internal.event_log_root is 'The same for who writes to the view, which is an update of this table.';

-- Logical replication fires no triggers of statements.  Each partition gets
-- its own of these when it is attached.
create trigger refuse_change_of_row before update or delete on sentinai_internal.event_log_root
    for each row execute function sentinai.refuse_change();
alter table sentinai_internal.event_log_root enable always trigger refuse_change_of_row;
comment on trigger refuse_change_of_row on sentinai_internal.event_log_root is 'The same for each row, whatever changes it.';

create trigger refuse_change before update or delete or truncate on sentinai_internal.event_kept
    for each statement execute function sentinai.refuse_change();
alter table sentinai_internal.event_kept enable always trigger refuse_change;
comment on trigger refuse_change on sentinai_internal.event_kept is 'What the log has for some is as append-only as the log; maintenance removes it.';

create trigger refuse_change_of_row before update or delete on sentinai_internal.event_kept
    for each row execute function sentinai.refuse_change();
alter table sentinai_internal.event_kept enable always trigger refuse_change_of_row;
comment on trigger refuse_change_of_row on sentinai_internal.event_kept is 'The same for each row, whatever changes it.';
