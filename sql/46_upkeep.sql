-- What the sequencer process does besides rounds.

create function sentinai.maintain() returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_maintain';
revoke all on function sentinai.maintain() from public;

comment on function sentinai.maintain() is 'One pass of maintenance: partitions ahead of their time, the journals, retention. A step that fails is a warning, and the others are done all the same. Drops as many partitions as one transaction may lock; the next call goes on. The sequencer process does the same every sentinai.maintenance_interval; where it does not run, have pg_cron call this once a minute, in a transaction of its own. What is done is every tenant''s. Errors: SN403 not allowed; 25006 read-only transaction or standby.';

create function sentinai.retention_status(
    out oldest timestamptz, out wanted boolean, out blocked_by text[],
    out unsequenced boolean, out retrying boolean)
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_retention_status';
revoke all on function sentinai.retention_status() from public;

comment on function sentinai.retention_status() is 'Retention: start of the oldest partition, whether it is old enough to be dropped, and what keeps it: subscriptions that have not passed it, events that no round has seen, processes and prepared transactions that hold a lock on it, objects that depend on it. unsequenced: whether it has events that no round has seen. retrying: whether events of it wait for a retry, which keeps them and not the partition.';

create function sentinai.after_restore() returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_after_restore';
revoke all on function sentinai.after_restore() from public;

comment on function sentinai.after_restore() is 'Takes a restored or copied database into use (a copy of a whole cluster, recovered from a backup, is in use by itself): transaction numbers go on above the stored ones, and leases that were open in its former place are given back without counting an attempt. Does nothing in a database that was not moved. The relay stays paused until resume_relay().';

create function sentinai.make_partitions(until timestamptz) returns int
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_make_partitions';
comment on function sentinai.make_partitions(timestamptz) is 'Makes the missing partitions of event_log, event_processing, event_idempotency and slice from now through the given time, each for sentinai.partition_interval, and returns for how many intervals it did. Blocks no publisher. Maintenance calls it; publish() makes what it misses. Partitions are every tenant''s. Errors: 22004 null; SN403 not allowed; SN422 infinite, or more than one transaction may lock (the hint says how far it can go).';

create function sentinai.index_partitions(max_partitions int default 1) returns int
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_index_partitions';
comment on function sentinai.index_partitions(int) is 'After an update from 0.1.0: makes the index that get_trace() reads by in partitions of event_log that have none, at most so many, the newest first, and returns how many still lack it. Only in those whose time is over: nobody publishes into them any more, so nobody waits. Reads such a partition whole. Until then get_trace() does that each time. Partitions are every tenant''s. Errors: 22004 null; SN403 not allowed; SN422 max_partitions below 1; 25006 read-only transaction or standby.';
