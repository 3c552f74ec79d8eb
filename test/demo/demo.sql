-- test/demo/demo.sql: the application of the quickstart, and its notes.
-- SPDX-License-Identifier: PostgreSQL
--
-- demo.movement is what the application itself stores, in the transaction that
-- publishes. The other tables take in what the publishers, the agents
-- and the consumer wrote down while they ran; demo.sql may run again.

create schema if not exists demo;

create table if not exists demo.run (
    run int primary key generated always as identity,
    started_at timestamptz not null default clock_timestamp()
);

create table if not exists demo.movement (
    run int not null references demo.run,
    seq int not null,
    flight text not null,
    what text not null,
    event_id uuid not null unique,
    primary key (run, seq)
);

-- one row per publish, the rolled back ones included
create table if not exists demo.note_published (
    run int not null,
    seq int not null,
    event_id uuid not null,
    key text not null,
    fate text not null check (fate in ('committed', 'rolled back')),
    commit_us bigint not null
);

-- one row per call of a handler
create table if not exists demo.note_worked (
    event_id uuid not null,
    agent int not null,
    attempt int not null,
    outcome text not null check (outcome in ('complete', 'retry')),
    at_ns bigint not null
);

-- one row per record read from the broker
create table if not exists demo.note_consumed (
    event_id uuid not null,
    topic text not null,
    key text not null,
    partition int not null,
    record_offset bigint not null,
    at_us bigint not null
);
