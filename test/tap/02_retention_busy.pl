# Retention beside those who are busy: transactions of seconds, a prepared one,
# readers, and what others have made of a partition.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node('busy',
	'sentinai.retention = -1',
	'sentinai.idempotency_window = 1s',
	'sentinai.maintenance_interval = 1s');
my $db = 'postgres';
my $patience = 20;
my $factor = $ENV{SENTINAI_PATIENCE} || 1;
my $bound = q{sentinai.event_time((regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''([^'']+)'))[1]::uuid)
	from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'sentinai_internal.event_log'::regclass};

$node->safe_psql($db, 'create extension sentinai');
add_make_set($node, $db);

# publish(TYPE): an event, and the partition it is in
sub publish
{
	my ($type) = @_;
	my $id = $node->safe_psql($db, "select sentinai.publish('$type', 't1', 'x', '{}')");

	return ($id, $node->safe_psql($db,
		"select tableoid::regclass from sentinai_internal.event_log where event_id = '$id'"));
}

# Stretches of two seconds for as long as the test can take.
$node->safe_psql($db, q{
	select make_set(t, t + interval '2 s')
	from (select clock_timestamp() offset 0) x (start),
	     lateral generate_series(start, start + interval '10 min', interval '2 s') t});

# over(): how many partitions of the log are over
sub over
{
	return $node->safe_psql($db, "select count(*) from (select $bound) x (b) where b < clock_timestamp()");
}

sub set
{
	$node->safe_psql($db, "alter system set sentinai.$_[0] = '$_[1]'");
	$node->reload;
}

sub session
{
	my ($sql) = @_;
	my %s = (in => $sql . "\\echo begun\n", out => '');

	$s{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr($db) ],
		'<', \$s{in}, '>', \$s{out});
	ok(wait_for($patience, sub { $s{run}->pump_nb; $s{out} =~ /begun/ }), 'a session begins')
	  or diag($s{out});
	return \%s;
}

sub end_session
{
	my ($s, $sql) = @_;

	$s->{in} .= "$sql;\n\\q\n";
	$s->{run}->finish;
}

sub gone
{
	my ($table) = @_;

	return $node->safe_psql($db, "select to_regclass('$table') is null") eq 't';
}

sub named
{
	my ($who, $name) = @_;

	poll_ok($node, $db, $patience,
		"select exists (select from sentinai.stat_info where \$\$$who\$\$ = any (retention_blocked_by))", $name);
}

# newer_go(TABLE): that one stays, and those that are over after it do not
sub newer_go
{
	my ($table) = @_;
	my $end = $node->safe_psql($db, "select b from (select c.oid, $bound) x (oid, b) where oid = '$table'::regclass");

	poll_ok($node, $db, $patience, "select clock_timestamp() > '$end'::timestamptz + interval '4 s'",
		'newer partitions are over');
	ok(wait_for($patience, sub { over() <= 2 }), 'and go') or diag(over());
	ok(!gone($table), 'the one that is held does not');
}

# An event counts as sequenced when it is in a slice, or was handed out: slices go
# before the log does, which somebody may hold.
my $sequenced = q{
	select not exists (select from sentinai.event_log e
	 where event_type in ('Busy', 'Late') and not exists (select from sentinai_internal.slice s
	     where s.stream_id = 0 and e.event_id = any (s.event_ids))
	     and not exists (select from handed h where h.event_id = e.event_id))};
$node->safe_psql($db, q{
	create table handed (event_id uuid, event_type text);
	create function work() returns void language plpgsql as $$
	declare
		t text;
	begin
		with c as (select * from sentinai.claim('worker', 100)),
			n as (insert into handed select event_id, event_type from c)
		select min(token) from c into t;
		perform sentinai.complete(t) where t is not null;
	end $$});

# work_until(CODE): the worker works on until that is so
sub work_until
{
	my ($code) = @_;

	return wait_for($patience, sub {
		$node->safe_psql($db, 'select work()');
		return $code->();
	});
}

# prepare_held(GID, TYPE): a prepared transaction that has published, and the
# partition it holds
sub prepare_held
{
	my ($gid, $type) = (@_, 'Held');

	$node->safe_psql($db, "begin; select sentinai.publish('$type', 't1', 'x', '{}'); prepare transaction '$gid'");
	return $node->safe_psql($db, qq{
		select l.relation::regclass from pg_prepared_xacts x
		     join pg_locks t on t.transactionid = x.transaction
		     join pg_locks l using (virtualtransaction)
		     join pg_inherits i on i.inhrelid = l.relation and i.inhparent = 'sentinai_internal.event_log'::regclass
		where x.gid = '$gid'});
}

# 12 clients whose transactions last for seconds, all the time
my $script = "$PostgreSQL::Test::Utils::tmp_check/retention_busy.sql";
append_to_file($script, q{
\set ms random(500, 3000)
begin;
select sentinai.publish('Busy', 't1', 'x' || (random() * 200)::int, '{}', idempotency_key => gen_random_uuid()::text);
insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('t1', 'x', 'Busy', '{}');
select count(*) from sentinai.claim('worker', 1);
select sentinai.is_already_processed(sentinai.publish('Busy', 't1', 'y', '{}'), 'worker');
select count(*) from sentinai.get_events_by_tenant('t1', from_time => clock_timestamp() - interval '100 ms');
\sleep :ms ms
rollback;
});
append_to_file("$script.commit", q{
\set ms random(500, 3000)
begin;
select sentinai.publish('Busy', 't1', 'x' || (random() * 200)::int, '{}');
\sleep :ms ms
commit;
});
$node->safe_psql($db, "select sentinai.subscribe('worker', start_from => 'earliest')");
my (undef, $oldest) = publish('First');
my $bench = IPC::Run::start(
	[ 'pgbench', '-n', '-c', 12, '-T', 25, '-f', $script, '-f', "$script.commit\@2",
		$node->connstr($db) . ' application_name=busy' ],
	'>', \my $bench_out, '2>', \my $bench_err);
poll_ok($node, $db, $patience, q{select count(*) >= 12 from pg_stat_activity where application_name = 'busy'},
	'12 clients begin');
set('retention', 0);
my $began = time();
ok(work_until(sub { gone($oldest) }), 'a partition is dropped beside them')
  or diag($node->safe_psql($db, 'select retention_blocked_by from sentinai.stat_info'));
$bench->pump_nb;
cmp_ok($node->safe_psql($db, q{select count(*) from pg_stat_activity where application_name = 'busy'}), '>=', 12,
	'while they are there');
note(sprintf('dropped after %.1f s', time() - $began));
$bench->finish;
is($bench->result(0), 0, 'who do not notice') or diag($bench_err);
poll_ok($node, $db, $patience, $sequenced, 'every event that is there is sequenced');

# an event that is committed after the slices of its time are gone
my $late = prepare_held('late one', 'Late');
publish('Late');
ok(work_until(sub { gone($late =~ s/event_log/slice/r) }), 'slices go beside a transaction that holds the log of their time');
ok(!gone($late), 'the log stays');
$node->safe_psql($db, "commit prepared 'late one'");
poll_ok($node, $db, $patience, $sequenced, 'every event that is there is sequenced, also without slices');
ok(work_until(sub { $node->safe_psql($db, q{select count(*) = 2 from handed where event_type = 'Late'}) eq 't' }),
	'its event is handed out');
ok(work_until(sub { gone($late) }), 'and then the log goes');

# a prepared transaction that is forgotten holds its own partition, no other
$node->safe_psql($db, "select sentinai.unsubscribe('worker')");
prepare_held('earlier one');
ok(wait_for($patience, sub { log_count($node, 'are in use: .*earlier one') }), 'the log names one');
my $first = prepare_held('forgotten one');
ok(wait_for($patience, sub { log_count($node, 'are in use: .*forgotten one') }), 'and the next one the same day');
$node->safe_psql($db, "commit prepared 'earlier one'");
named('prepared transaction "forgotten one" (lock)', 'a prepared transaction is named');
newer_go($first);
$node->safe_psql($db, "commit prepared 'forgotten one'");
ok(wait_for($patience, sub { gone($first) }), 'until it ends');

# a reader of an old partition keeps it, and finds in it what he found before
my ($id, $read) = publish('Read');
my $reader = session("begin isolation level repeatable read;\n"
	  . "select count(*) from sentinai.event_log where event_id = '$id';\n");
my $pid = $node->safe_psql($db, "select pid from pg_stat_activity where state = 'idle in transaction'");
named("process $pid (lock)", 'a reader is named by its process');
ok(!gone($read), 'what he reads is not dropped');
$reader->{out} = '';
$reader->{in} .= "select 'is there' from sentinai.event_log where event_id = '$id';\n\\echo again\n";
ok(wait_for($patience, sub { $reader->{run}->pump_nb; $reader->{out} =~ /again/ }), 'he reads again');
like($reader->{out}, qr/is there/, 'what he had read is there');
$began = time();
publish('Read');
cmp_ok(time() - $began, '<', 5 * $factor, 'nobody waits for him');
end_session($reader, 'commit');
ok(wait_for($patience, sub { gone($read) }), 'when he is done it goes');

# one who has read through a function holds what he has read, and nothing else
($id, $read) = publish('Asked');
$reader = session("begin;\nselect count(*) from sentinai.get_events_by_tenant('t1', event_types => '{Asked}');\n");
newer_go($read);
end_session($reader, 'commit');
ok(wait_for($patience, sub { gone($read) }), 'when he is done it goes');

# an object that somebody has made depends on a partition
my (undef, $used) = publish('Used');
$node->safe_psql($db, "create view mine as select * from $used");
named('view mine', 'an object that depends on a partition is named');
newer_go($used);
$node->safe_psql($db, 'drop view mine');
ok(wait_for($patience, sub { gone($used) }), 'when the object is dropped it goes');

# maintain() does it where no worker runs, beside a transaction of a publisher
set('retention', -1);
my (undef, $last) = publish('Last');
$node->stop;
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$node->start;
poll_ok($node, $db, $patience, "select clock_timestamp() > max(sentinai.event_time(event_id)) + interval '4 s'"
	  . " from sentinai.event_log where event_type = 'Last'", 'its partition is over');
set('retention', 0);
my $publisher = session("begin;\nselect sentinai.publish('Open', 't1', 'x', '{}');\n");
$node->safe_psql($db, q{
	select sentinai.subscribe('inline', '{Never}');
	select count(*) from sentinai.claim('inline')});
ok(wait_for($patience, sub {
	$node->safe_psql($db, 'set client_min_messages = error; select sentinai.maintain()');
	return gone($last);
}), 'maintain() drops it') or diag($node->safe_psql($db, 'select * from sentinai.retention_status()'));
end_session($publisher, 'commit');
is(log_count($node, 'ERROR:|PANIC:|the log has no more'), 0, 'no error was logged, and no event was gone');
$node->stop;

done_testing();
