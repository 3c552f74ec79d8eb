-- What the sequencer process does besides rounds.

create function sentinai.maintain() returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_maintain';
revoke all on function sentinai.maintain() from public;

comment on function sentinai.maintain() is 'One pass of maintenance: partitions ahead of their time, the journals, retention. A step that fails is a warning, and the others are done all the same. Drops as many partitions as one transaction may lock; the next call goes on. The sequencer process does the same every sentinai.maintenance_interval; where it does not run, have pg_cron call this once a minute, in a transaction of its own.';

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
