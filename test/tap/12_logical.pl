# Logical replication into tables of the extension is refused, with a word; out
# of them, and beside them, it works.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 30;    # seconds within which anything here has to happen
my @settings = ('sentinai.launcher_naptime = 1s', 'wal_level = logical',
	'max_worker_processes = 30', 'max_logical_replication_workers = 10',
	'wal_retrieve_retry_interval = 500ms');
my $from = new_node('from', @settings);
my $to = new_node('to', @settings);
my $source = $from->connstr . ' dbname=postgres';

# refused_ok(PUBLICATION, TABLE, COPY, THEN): what is replicated is refused
sub refused_ok
{
	my ($publication, $table, $copy, $then) = @_;
	my $message = qr/ERROR:  table "sentinai_internal\.$table" cannot be filled by logical replication/;
	my $before = log_count($to, $message);

	$to->safe_psql('postgres', "create subscription s connection '$source' publication $publication"
		  . " with (copy_data = $copy)");
	$from->safe_psql('postgres', $then) if $then;
	ok(wait_for($unslept, sub { log_count($to, $message) > $before }), "$publication: $table")
	  or diag($to->safe_psql('postgres', 'select * from pg_stat_subscription'));
	$to->safe_psql('postgres', 'drop subscription s');
	return;
}

foreach ($from, $to)
{
	$_->safe_psql('postgres', q{
		create extension sentinai;
		create table beside (i int primary key);
		select sentinai.subscribe('work', start_from => 'earliest');
		select sentinai.maintain(); -- a table that is replicated has to be on both sides
		select sentinai.publish('Tested', 't1', 'x' || i, '{}') from generate_series(1, 3) i});
}
poll_ok($from, 'postgres', $unslept, 'select last_round is not null from sentinai.stat_info', 'a round is taken');
$from->safe_psql('postgres', q{
	create publication log for table sentinai_internal.event_log with (publish_via_partition_root = true);
	create publication leaves for table sentinai_internal.event_log;
	create publication everything for all tables with (publish_via_partition_root = true);
	create publication journal for table sentinai_internal.round_1;
	create publication node for table sentinai_internal.node;
	create publication beside for table beside});
is($to->safe_psql('postgres', q{
	select string_agg(c.oid::regclass::text, ' ') from pg_class c
	where relnamespace = 'sentinai_internal'::regnamespace and relkind = 'r' and 2 <> (
		select count(*) from pg_trigger where tgrelid = c.oid and tgenabled = 'R' and tgname like 'refuse_replica%')}),
	'', 'every table refuses, partitions as well');

refused_ok('log', 'event_log_\d+_\d+', 'true');
refused_ok('log', 'event_log_\d+_\d+', 'false',
	q{select sentinai.publish('Tested', 't1', 'x1', '{}')});
refused_ok('leaves', 'event_log_\d+_\d+', 'false',
	q{select sentinai.publish('Tested', 't1', 'x1', '{}')});
refused_ok('everything', 'subscription', 'true');
refused_ok('node', 'node', 'true');
refused_ok('journal', 'round_1', 'false', 'truncate sentinai_internal.round_1');
is($to->safe_psql('postgres', 'select count(*), count(distinct tenant_id) from sentinai.event_log'),
	'3|1', 'nothing came');
is($to->safe_psql('postgres', q{
	select count(*) from sentinai.claim('work', 100)}), '3', 'all is well there');

# beside the extension
$to->safe_psql('postgres', "create subscription s connection '$source' publication beside");
$from->safe_psql('postgres', 'insert into beside values (1)');
poll_ok($to, 'postgres', $unslept, 'select count(*) = 1 from beside', 'other tables are replicated');
$to->safe_psql('postgres', 'drop subscription s');

# a trigger on a replicated table publishes through outbox
$to->safe_psql('postgres', q{
	truncate beside;
	create function tell() returns trigger language plpgsql as $$
	begin
		insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('replicated', new.i::text, 'Told', '{}');
		return new;
	end $$;
	create trigger tell after insert on beside for each row execute function tell();
	alter table beside enable replica trigger tell});
$to->safe_psql('postgres', "create subscription s connection '$source' publication beside with (copy_data = false)");
$from->safe_psql('postgres', 'insert into beside select generate_series(2, 9)');
poll_ok($to, 'postgres', $unslept, q{
	select count(*) = 8 from beside where i > 1}, 'rows are replicated');
is($to->safe_psql('postgres', q{select count(*) from sentinai.event_log where tenant_id = 'replicated'}), '8',
	'and a trigger on them publishes');
$to->safe_psql('postgres', 'drop subscription s; drop trigger tell on beside');

# out of it, into a table of the same name that is not ours
$to->safe_psql('postgres', 'create database plain');
$to->safe_psql('plain', qq{
	create schema sentinai_internal;
	create table sentinai_internal.event_log (event_id uuid primary key, txid bigint, occurred_at timestamptz,
		partition_hash int, schema_version int, run smallint, tenant_id text, aggregate_type text,
		aggregate_id text, event_type text, correlation_id text, causation_id uuid, deliver_at timestamptz,
		payload jsonb, metadata jsonb, run_keys smallint[]);
	create subscription s connection '$source' publication log});
poll_ok($to, 'plain', $unslept, 'select count(*) = 5 from sentinai_internal.event_log',
	'a copy of the log is replicated into a database without the extension');
$to->safe_psql('plain', 'drop subscription s');

# a publication of all tables is in the way of nothing where it is
is($from->safe_psql('postgres', q{
	select sentinai.fail(token, event_id, 'no', retryable => false) from sentinai.claim('work', 1);
	select sentinai.complete(min(token)) from sentinai.claim('work', 100);
	select sentinai.subscribe('more', '{A}');
	select sentinai.unsubscribe('more');
	select sentinai.maintain();
	select sentinai.unsubscribe('work')}) =~ s/\n+/ /gr, 'dead 4 ', 'all is well at the publisher');

# what looks like it and is not
is($to->safe_psql('postgres', q{
	set session_replication_role = replica;
	insert into sentinai_internal.retry_policy values ('work', 'Tested', 3, '{1s}');
	update sentinai_internal.retry_policy set max_attempts = 4;
	select max_attempts from sentinai_internal.retry_policy}), '4',
	'who restores a dump may set session_replication_role');
$to->safe_psql('postgres', q{
	set allow_system_table_mods = on;
	alter table sentinai_internal.subscription enable trigger all;
	select sentinai.subscribe('more')});
pass('a trigger that fires always does no harm');

# the log stays as it is, whatever is applied to its partitions: rows that both
# sides have are changed, deleted and truncated at the publisher, where the table
# is not ours.  It is refused twice: as replication, and as a change of the log.
my ($leaf) = $to->safe_psql('postgres', q{select min(inhrelid::regclass::text) from pg_inherits
	where inhparent = 'sentinai_internal.event_log'::regclass});
my $whole = q{select md5(string_agg(l::text, ' ' order by event_id)), count(*) from sentinai.event_log l};
my $kept = $to->safe_psql('postgres', $whole);

$from->safe_psql('postgres', 'drop extension sentinai; create schema sentinai_internal');
my $rows = "$PostgreSQL::Test::Utils::tmp_check/rows.copy";
my $columns = $to->safe_psql('postgres', "select string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' order by attnum)"
	  . " from pg_attribute where attrelid = '$leaf'::regclass and attnum > 0");
$to->safe_psql('postgres', "copy $leaf to '$rows'");
$from->safe_psql('postgres', "create table $leaf ($columns, primary key (event_id)); copy $leaf from '$rows';"
	  . " create publication applied for table $leaf");
is($from->safe_psql('postgres', "select count(*) from $leaf"), $to->safe_psql('postgres', "select count(*) from $leaf"),
	'the same rows on both sides');
foreach my $trigger ('', 'refuse_replication', 'refuse_replicated_truncate')
{
	foreach my $change ("update $leaf set event_type = 'Forged'", "delete from $leaf", "truncate $leaf")
	{
		my $message = qr/ERROR:  (?:"event_log\w*" is append-only|table "$leaf" cannot be filled by logical replication)/;
		my $refusals;

		next if $trigger && ($trigger =~ /truncate/) != ($change =~ /truncate/);
		$to->safe_psql('postgres', "set allow_system_table_mods = on; alter table $leaf disable trigger $trigger") if $trigger;
		$refusals = log_count($to, $message);
		$to->safe_psql('postgres', "create subscription s connection '$source' publication applied with (copy_data = false)");
		$from->safe_psql('postgres', "begin; $change; commit");
		ok(wait_for($unslept, sub { log_count($to, $message) > $refusals }), "refused" . ($trigger && " without $trigger") . ": $change")
		  or diag($to->safe_psql('postgres', 'select * from pg_stat_subscription'));
		$to->safe_psql('postgres', 'drop subscription s');
		is($to->safe_psql('postgres', $whole), $kept, 'and the log is what it was');
		$from->safe_psql('postgres', "truncate $leaf");
		$from->safe_psql('postgres', "copy $leaf from '$rows'");
	}
}
$_->stop foreach $from, $to;
done_testing();
