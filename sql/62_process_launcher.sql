-- The launcher starts the workers of a database that has the extension.

create function sentinai.wake_launcher() returns void
    language c volatile parallel unsafe
    as 'MODULE_PATHNAME', 'sentinai_wake_launcher';
revoke all on function sentinai.wake_launcher() from public;

comment on function sentinai.wake_launcher() is 'For CREATE EXTENSION: has the launcher start the workers of this database when the transaction commits.';

select sentinai.wake_launcher();
