-- Partitions of the log, and the refusal to change it.

create function sentinai.make_partitions(until timestamptz) returns int
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_make_partitions';
comment on function sentinai.make_partitions(timestamptz) is 'Makes the missing partitions of event_log, event_processing, event_idempotency and slice from now through the given time, each for sentinai.partition_interval, and returns for how many intervals it did. Blocks no publisher. Maintenance calls it; publish() makes what it misses. Errors: 22004 null; SN422 infinite, or more than one transaction may lock (the hint says how far it can go).';

create function sentinai.index_partitions(max_partitions int default 1) returns int
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_index_partitions';
comment on function sentinai.index_partitions(int) is 'After an update from 0.1.0: makes the index that get_trace() reads by in partitions of event_log that have none, at most so many, the newest first, and returns how many still lack it. Only in those whose time is over: nobody publishes into them any more, so nobody waits. Reads such a partition whole. Until then get_trace() does that each time. Errors: 22004 null; SN422 max_partitions below 1; 25006 read-only transaction or standby.';

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
