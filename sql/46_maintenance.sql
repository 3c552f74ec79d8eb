-- What the sequencer process does besides rounds.
create function sentinai.wake_launcher() returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_wake_launcher';
revoke all on function sentinai.wake_launcher() from public;

comment on function sentinai.wake_launcher() is 'Has the launcher start the workers of this database when the transaction commits. CREATE EXTENSION calls it.';

select sentinai.wake_launcher();
