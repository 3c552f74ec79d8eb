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

create function sentinai.relay_is_paused(name text) returns boolean
    language c stable strict
    as 'MODULE_PATHNAME', 'sentinai_relay_is_paused';
comment on function sentinai.relay_is_paused(text) is 'The same for a relay by its name; null when there is none.';

create function sentinai.create_relay(
        name text, broker text, settings text, event_types text[] default null, aggregate_types text[] default null,
        tenants text[] default null, topic_template text default null, record_format text default null,
        start_from text default 'latest', workers int default 1, record_options text default null,
        limits text default null, dedupe text default null)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_create_relay';
comment on function sentinai.create_relay(text, text, text, text[], text[], text[], text, text, text, int, text, text, text) is 'Make a relay beside the one of the server''s parameters. broker: "kafka" or "rabbitmq". settings: as in sentinai.kafka_conf or sentinai.rabbitmq_conf; secrets are files. event_types, aggregate_types, tenants: what it sends; null sends all. topic_template, record_format: as the parameters of that name; null: the default. start_from: "latest", "earliest" or a time, as subscribe() takes it. workers: number of processes, 1 to 16, or 0 for a sentinai-relay outside of the server. record_options: key, headers, headers.metadata, topics and tombstones of the records, dead.letter.topic, dead.letter.headers, transform, transform.timeout.ms and dedupe, as key=value separated by commas (docs/kafka.md); null: those of the format. limits: events.per.second, bytes.per.second and in.flight, as key=value separated by commas; null: none. dedupe: "tail" is the record option dedupe=tail, what a topic of Kafka has at its ends is not sent again; null: as record_options say. For superusers and roles with the right ALTER SYSTEM on that parameter. Errors: 22004 null; SN409 the name is in use, or too many relays; SN422 invalid argument; 42501 not allowed; 25006 read-only transaction or standby.';

create function sentinai.alter_relay(
        name text, settings text default null, event_types text[] default null, aggregate_types text[] default null,
        tenants text[] default null, topic_template text default null, record_format text default null,
        workers int default null, all_event_types boolean default false, all_aggregate_types boolean default false,
        all_tenants boolean default false, record_options text default null, limits text default null,
        dedupe text default null)
    returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_alter_relay';
comment on function sentinai.alter_relay(text, text, text[], text[], text[], text, text, int, boolean, boolean, boolean, text, text, text) is 'Change what is named of a relay; the rest stays. all_event_types, all_aggregate_types, all_tenants: no filter of that kind any more. Another filter holds for what is published from now on, everything else from the next event that is sent. topic_template: '' is the default of the format; record_options, limits: all that shall hold, '' for none. dedupe: "tail" adds that record option; it ends with record_options that do not have it. Errors: 22004 null; SN404 unknown relay; SN422 invalid argument; 42501 not allowed; 25006 read-only transaction or standby.';

create function sentinai.drop_relay(name text) returns bigint
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_drop_relay';
comment on function sentinai.drop_relay(text) is 'Remove a relay. Returns how many events it had not sent, and a notice says so; they stay in the log. Its dead letters stay. Errors: 22004 null; SN404 unknown relay; SN422 the relay of the server''s parameters; 42501 not allowed; 25006 read-only transaction or standby.';

create function sentinai.set_relay_paused(name text, paused boolean) returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_set_relay_paused';
comment on function sentinai.set_relay_paused(text, boolean) is 'For pause_relay() and resume_relay(): store the switch of a relay.';

create function sentinai.pause_relay(name text) returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_pause_relay';
comment on function sentinai.pause_relay(text) is 'The same as pause_relay() for a relay by its name. Errors: 22004 null; SN403 not allowed; SN404 unknown relay; 25006 read-only transaction or standby.';

create function sentinai.resume_relay(name text) returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_resume_relay';
comment on function sentinai.resume_relay(text) is 'The same as resume_relay() for a relay by its name. Errors: 22004 null; SN403 not allowed; SN404 unknown relay; 25006 read-only transaction or standby.';

-- For sentinai-relay, which does outside of the server what a relay process does.

create function sentinai.relay_open(name text, backend_pid int, protocol int) returns text
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_relay_open';
comment on function sentinai.relay_open(text, int, int) is 'For sentinai-relay: work for a relay of workers 0 until this session ends. backend_pid: process that the client takes its session for; another one is a pooler''s. protocol: version of what relay_call() is told. Returns null, or why it has to wait: workers inside the server or another sentinai-relay send, or the extension is being changed. Errors: 22004 null; SN404 unknown relay; SN409 behind a pooler, or a relay is open in this session already; SN422 another protocol; 55000 the library is not preloaded; 53400 too many relay processes; 25006 read-only transaction or standby.';

create function sentinai.relay_call(call int, request bytea) returns bytea
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_relay_call';
comment on function sentinai.relay_call(int, bytea) is 'For sentinai-relay: one step of a turn, in the session that relay_open() was called in. call, request and the answer are as src/relay/relay_wire.h of this version has them. Errors: 22004 null; SN409 no relay is open in this session, or the extension is being changed; SN422 not what sentinai-relay would ask; 25006 read-only transaction or standby.';

create procedure sentinai.relay_wait(durable boolean, milliseconds int, lanes bigint, inout waiting bigint)
    language c
    as 'MODULE_PATHNAME', 'sentinai_relay_wait';
comment on procedure sentinai.relay_wait(boolean, int, bigint, bigint) is 'For sentinai-relay: sleep until one of the lanes (a bit for each) may have events, the relay was changed, the client sends something, or so many milliseconds (at most 60,000) are over; waiting is then the lanes that may have events. durable: first wait until what was read last cannot be lost. Errors: 22004 null; SN409 no relay is open in this session; SN422 invalid time; 25001 inside a transaction.';

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
