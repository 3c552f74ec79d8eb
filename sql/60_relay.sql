-- The relay's switch.

create function sentinai.recovery_id() returns bigint
    language c volatile strict
    as 'MODULE_PATHNAME', 'sentinai_recovery_id';
comment on function sentinai.recovery_id() is 'Number of the recovery from a backup that this cluster came out of, or is in; 0: of none that was seen. A standby has none of its own, and its promotion is none.';

create function sentinai.relay_is_paused() returns boolean
    language c stable
    as 'MODULE_PATHNAME', 'sentinai_relay_is_paused';
comment on function sentinai.relay_is_paused() is 'Whether the relay is paused: by pause_relay(), or because the database was restored or upgraded into another cluster, or its cluster recovered from a backup, and nobody has called resume_relay() since.';

create function sentinai.wake_relay() returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_wake_relay';
comment on function sentinai.wake_relay() is 'For pause_relay() and resume_relay(): have the relays look at the switch when this transaction is committed.';

create function sentinai.set_relay_paused(paused boolean) returns void
    language sql volatile
    set search_path = pg_catalog, pg_temp
    as $$
        insert into sentinai_internal.relay_control (paused, node_no, recovery)
        select $1, coalesce(n.node_no, 0), coalesce(n.recovery, r.id)
        from sentinai.recovery_id() r (id)
             left join (select x.* from sentinai_internal.node x order by x.node_no desc limit 1) n on true
        on conflict (only_row) do update
            set paused = excluded.paused, node_no = excluded.node_no, recovery = excluded.recovery,
                changed_at = excluded.changed_at, changed_by = excluded.changed_by;
        select sentinai.wake_relay();
    $$;
comment on function sentinai.set_relay_paused(boolean) is 'For pause_relay() and resume_relay(): store the switch.';

create function sentinai.pause_relay() returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_pause_relay';
comment on function sentinai.pause_relay() is 'Stop sending to the broker until resume_relay(). What is on its way is still acknowledged; events go on to be published and sequenced. The relay is every tenant''s. Errors: SN403 not allowed; 25006 read-only transaction or standby.';

create function sentinai.resume_relay() returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_resume_relay';
comment on function sentinai.resume_relay() is 'Let the relay send again after pause_relay(), or for the first time after the database was restored or upgraded into another cluster, or its cluster recovered from a backup: it goes on with what had not been acknowledged when the dump or the backup was taken. Errors: SN403 not allowed; 25006 read-only transaction or standby.';

-- What was made after a recovery is no copy; node_no is that of the first use.
insert into sentinai_internal.relay_control (paused, node_no, recovery) values (false, 1, sentinai.recovery_id());

create function sentinai.relay_control_changed() returns trigger
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_relay_control_changed';
comment on function sentinai.relay_control_changed() is 'Trigger of the relay''s switch: notes in the action log who paused or resumed the relay.';

create trigger relay_control_changed after insert or update on sentinai_internal.relay_control
    for each row execute function sentinai.relay_control_changed();
alter table sentinai_internal.relay_control enable always trigger relay_control_changed;
comment on trigger relay_control_changed on sentinai_internal.relay_control is 'Whoever pauses or resumes the relay is written down.';
