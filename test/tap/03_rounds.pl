# Rounds under concurrency: with a sequencer, and inline in a server that does
# not preload the library.  Every committed event is in the stream of all
# events once, nothing else is, and what one session did, or did after it had
# seen another's commit, keeps its order.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $db = 'postgres';
my $node = new_node('rounds', 'sentinai.sort_memory = 64kB',
	'sentinai.lanes = 8');

# Each transaction publishes one to three events of its session's own key, and
# one of a shared key under a row lock, with what the counter says: that is an
# order by effect, which delivery has to keep.  Some roll back, some sleep, some
# are prepared.
my $dir = $PostgreSQL::Test::Utils::tmp_check;
my $publish = "$dir/publish.sql";
append_to_file($publish, q{
\set shape random(1, 10)
\set key random(1, 3)
begin;
select sentinai.publish('Own', 't1', 's' || :client_id, jsonb_build_object('n', nextval('own_' || :client_id)))
  from generate_series(1, 1 + :shape % 3);
savepoint s;
select sentinai.publish('Undone', 't1', 's' || :client_id, '{}');
rollback to s;
update counter set n = n + 1 where key = :key returning n \gset
select sentinai.publish('Shared', 't1', 'shared' || :key, jsonb_build_object('n', :n));
\if :shape < 3
rollback;
\elif :shape < 5
select pg_sleep(random() * 0.02);
commit;
\elif :shape = 5
prepare transaction 'p_:client_id';
select pg_sleep(random() * 0.02);
commit prepared 'p_:client_id';
\else
commit;
\endif
});
# Nothing but prepared transactions: a snapshot may show one twice while it is
# being prepared.
my $prepare = "$dir/prepare.sql";
append_to_file($prepare, q{
begin;
select sentinai.publish('Prepared', 't1', 'p' || :client_id, '{}');
prepare transaction 'q_:client_id';
commit prepared 'q_:client_id';
});
my $consume = "$dir/consume.sql";
append_to_file($consume, q{
select sentinai.complete(min(token)) from sentinai.claim('agent', 50) having count(*) > 0;
});

sub set_up
{
	$node->safe_psql($db, q{
		create extension sentinai;
		create table counter (key int primary key, n bigint not null) with (fillfactor = 10);
		insert into counter select i, 0 from generate_series(1, 3) i;
		select sentinai.subscribe('agent', start_from => 'earliest');
		select sentinai.subscribe('shared_only', '{Shared}', start_from => 'earliest');
		do $$ begin for i in 0..7 loop execute 'create sequence own_' || i; end loop; end $$});
}

sub load_ok
{
	my ($name, @scripts) = @_;
	my @common = ('pgbench', '-n', '-h', $node->host, '-p', $node->port, '-M', 'simple');
	my $count = "@scripts" =~ /prepare/ ? 1000 : 150;

	command_ok([ @common, '-c', 8, '-j', 2, '-t', $count, @scripts, $db ], $name);
}

# drained: until agent gets nothing more
sub drain
{
	my ($worker) = @_;

	$node->safe_psql($db, qq{
		do \$\$
		declare
			n int;
			empty int := 0;
		begin
			while empty < 3 loop
				select sentinai.complete(min(token)) into n
				  from sentinai.claim('$worker', 1000) having count(*) > 0;
				commit;
				empty := case when n is null then empty + 1 else 0 end;
			end loop;
		end \$\$});
}

sub check_history
{
	my ($how) = @_;

	poll_ok($node, $db, 20, q{
		select (select count(*) from sentinai.event_log) =
		       (select count(*) from sentinai_internal.slice, unnest(event_ids) where stream_id = 0)},
		"$how: as many sequenced as published");
	$node->safe_psql($db, q{
		create table sequenced as
		select id, row_number() over (order by slice_no, o) as place, slice_no >> 14 as round_no,
		       event_type, aggregate_id, (payload->>'n')::bigint as n
		  from sentinai_internal.slice cross join unnest(event_ids) with ordinality u(id, o)
		  left join sentinai.event_log on event_id = id
		 where stream_id = 0});
	is($node->safe_psql($db, 'select count(*) - count(distinct id) from sequenced'), '0',
		"$how: none twice");
	is($node->safe_psql($db, "select count(*) from sequenced where event_type is null or event_type = 'Undone'"),
		'0', "$how: none that was not committed");
	is($node->safe_psql($db, q{
		select count(*) from (select n, lag(n) over (partition by aggregate_id order by place) as before
		                        from sequenced where event_type = 'Own') x where n <= before}),
		'0', "$how: each session's order is kept");
	is($node->safe_psql($db, q{
		select count(*) from (select n, lag(n, 1, 0::bigint) over (partition by aggregate_id order by place) as before
		                        from sequenced where event_type = 'Shared') x where n <> before + 1}),
		'0', "$how: an effect is never before its cause");
	is($node->safe_psql($db, q{
		select count(*) from (select events_before, o, row_number() over (partition by stream_id, lane order by slice_no, o) as place
		                        from sentinai_internal.slice, unnest(event_ids) with ordinality u(id, o)) x where events_before + o <> place}),
		'0', "$how: base counts right");
	is($node->safe_psql($db, q{
		select count(*) from sentinai_internal.round r where events <> (select count(*) from sentinai_internal.slice, unnest(event_ids)
		 where stream_id = 0 and slice_no >> 14 = round_no)}), '0', "$how: rounds count right");
	drain('agent');
	drain('shared_only');
	is($node->safe_psql($db, q{
		select count(*) from sentinai.event_log where not exists
		 (select from sentinai.event_processing p where p.event_id = event_log.event_id and worker_type = 'agent')}),
		'0', "$how: a subscription to all gets all");
	is($node->safe_psql($db, q{
		select count(*) from sentinai.event_log where (event_type = 'Shared') <> exists
		 (select from sentinai.event_processing p where p.event_id = event_log.event_id and worker_type = 'shared_only')}),
		'0', "$how: one with a filter gets what it wants");
	$node->safe_psql($db, q{drop table sequenced});
}

# with a sequencer
set_up();
ok(sequencer_pid($node, $db, 10), 'a sequencer runs');
load_ok('load', '-f', "$publish\@4", '-f', "$consume\@1");
load_ok('load of prepared transactions', '-f', "$prepare\@4", '-f', "$consume\@1");
check_history('sequencer');

# Publish, then claim: claim() waits for the round that covers what was
# committed before.  It gives up after 1 s, which a busy machine may need.
$node->safe_psql($db, q{
	create table missed (took interval);
	create procedure publish_then_claim(name text, times int) language plpgsql as $$
	declare
		t0 timestamptz;
		got text;
		n int;
	begin
		for i in 1 .. times loop
			if i % 10 = 1 then
				perform sentinai.subscribe(name, array[name, name || i]);
				commit;
			end if;
			perform sentinai.publish(name, 't1', 'k' || i, '{}');
			commit;
			perform sentinai.publish('Other', 't1', 'k' || i, '{}');
			commit;
			t0 := clock_timestamp();
			n := 0;
			loop
				select min(token), count(*) + n into got, n from sentinai.claim(name, 10);
				exit when got is null;
				perform sentinai.complete(got);
			end loop;
			commit;
			if n = 0 then
				insert into missed values (clock_timestamp() - t0);
			end if;
			if i % 10 = 0 then
				perform sentinai.unsubscribe(name);
				commit;
			end if;
		end loop;
	end $$});
my $soon = "$dir/soon.sql";
append_to_file($soon, 'call publish_then_claim(format(\'soon%s\', :client_id), 1500);');
$node->command_ok([ 'pgbench', '-n', '-c', 2, '-t', 1, '-f', $soon, $db ], 'publish and claim');
is($node->safe_psql($db, "select count(*) from missed where took < '0.9 s'"), '0',
	'who publishes and then claims finds his event');

# a round larger than its memory: 64 kB are some 1,300 events
$node->safe_psql($db, q{
	select count(*) from unnest(sentinai.publish_batch(
		array_fill('Big'::text, array[20000]), array_fill('t1'::text, array[20000]),
		array(select 'b' || i % 100 from generate_series(1, 20000) i),
		array(select jsonb_build_object('n', i) from generate_series(1, 20000) i)))});
poll_ok($node, $db, 20, 'select max(events) = 20000 from sentinai_internal.round', 'a large round');
is($node->safe_psql($db, q{
	select count(*) from (select (payload->>'n')::int as n, lag((payload->>'n')::int) over (partition by lane order by slice_no, o) as before
	                        from sentinai_internal.slice cross join unnest(event_ids) with ordinality u(id, o)
	                        join sentinai.event_log on event_id = id where stream_id = 0 and event_type = 'Big') x
	 where n <= before}), '0', 'a large round is in order');

# After a burst rounds are 1.5 s apart for nobody, longer than a claim waits for
# one, and 0.3 s for somebody.
$node->append_conf('postgresql.conf', 'sentinai.round_interval = 300ms');
$node->reload;
$node->safe_psql($db, q{select sentinai.subscribe('late', '{Late}')});
sub after_burst
{
	my ($statement) = @_;
	$node->safe_psql($db, q{
		select count(*) from unnest(sentinai.publish_batch(
			array_fill('Burst'::text, array[20000]), array_fill('t1'::text, array[20000]),
			array_fill('b'::text, array[20000]), array_fill('{}'::jsonb, array[20000])))});
	poll_ok($node, $db, 20, 'select unsequenced_commits = 0 from sentinai.stat_server()', 'a burst');
	$node->safe_psql($db, q{select sentinai.publish('Late', 't1', 'k', '{}')});
	return $node->safe_psql($db, $statement);
}
is(after_burst(q{call sentinai.wait_for_work('late', '1 s', null)}), 't',
	'who waits for work does not wait for the pause');
$node->safe_psql($db, q{select sentinai.complete(token) from sentinai.claim('late', 1)});
is(after_burst(q{select count(*) from sentinai.claim('late', 1)}), '1', 'nor does who claims');
$node->safe_psql($db, q{select sentinai.unsubscribe('late')});
$node->append_conf('postgresql.conf', 'sentinai.round_interval = 20ms');
$node->reload;

# the sequencer is killed while others publish
my $bench = IPC::Run::start(
	[ 'pgbench', '-n', '-h', $node->host, '-p', $node->port, '-c', 4, '-t', 150, '-f', $publish, $db ],
	'>', \my $out, '2>', \my $err);
for (1 .. 3)
{
	my $pid = sequencer_pid($node, $db, 10);
	$node->safe_psql($db, "select pg_terminate_backend($pid)");
	wait_for(10, sub { (sequencer_pid($node, $db, 1) || $pid) ne $pid });
}
$bench->finish;
is($bench->result(0), 0, 'load while the sequencer is terminated') or diag($err);
poll_ok($node, $db, 20, q{
	select (select count(*) from sentinai.event_log) =
	       (select count(distinct id) from sentinai_internal.slice, unnest(event_ids) id where stream_id = 0)
	   and (select count(*) from sentinai.event_log) =
	       (select count(*) from sentinai_internal.slice, unnest(event_ids) id where stream_id = 0)},
	'nothing is lost and nothing comes twice');

# inline
$node->safe_psql($db, 'drop extension sentinai cascade');
$node->safe_psql($db, 'drop table counter');
$node->safe_psql($db, "do \$\$ begin for i in 0..7 loop execute 'drop sequence own_' || i; end loop; end \$\$");
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$node->restart;
set_up();
load_ok('load without the workers', '-f', "$publish\@2", '-f', "$consume\@3");
load_ok('prepared transactions without the workers', '-f', "$prepare\@3", '-f', "$consume\@5");
drain('agent');
check_history('inline');

# what a transaction does to a round it took
sub published
{
	return $node->safe_psql($db, "select sentinai.publish('T', 't1', 'x', '{}')");
}
sub completed
{
	return $node->safe_psql($db, q{
		with c as materialized (select * from sentinai.claim('agent', 10)),
		     d as materialized (select sentinai.complete(min(token)) from c having count(*) > 0)
		select event_id from c left join d on true});
}
my $claim = "select event_id from sentinai.claim('agent', 10)";
my $id = published();
is($node->safe_psql($db, "begin; $claim; rollback; begin; $claim; rollback"),
	"$id\n$id", 'a claim that takes a round comes again after a rollback');
is(completed(), $id, 'in another session too');
$id = published();
is($node->safe_psql($db, "begin; savepoint s; $claim; rollback to s; $claim; rollback"),
	"$id\n$id", 'and after a rollback to a savepoint');
$node->safe_psql($db, "begin; savepoint s; $claim; rollback to s; commit");
is($node->safe_psql($db, 'select unsequenced_commits > 0 from sentinai.stat_info'),
	't', 'what no round has is counted, after that, too');
is(completed(), $id, 'and then');
is($node->safe_psql($db,
	"select count(*) from sentinai_internal.slice where stream_id = 0 and '$id' = any (event_ids)"),
	'1', 'it is in one slice');
my $mine = $node->safe_psql($db, q{
	begin isolation level repeatable read;
	select 1 from counter limit 1;
	select sentinai.publish('T', 't1', 'x', '{}');
	\! psql -Xqc "create table later ()" } . "'" . $node->connstr($db) . "'" . q{
	select count(*) from sentinai.claim('agent', 10);
	commit});
like($mine, qr/^1\n[0-9a-f-]{36}\n0$/, 'a transaction does not claim what it publishes itself');
($id) = $mine =~ /([0-9a-f-]{36})/;
is(completed(), $id, 'others do after its commit');
$id = published();
my ($rc, $stdout, $stderr) = $node->psql($db,
	"\\set VERBOSITY sqlstate\nbegin;\n$claim;\nprepare transaction 'no'");
like($stderr, qr/0A000/, 'a transaction that took a round cannot be prepared');
is(completed(), $id, 'its round is gone');

# the number of a round is its time: more rounds than milliseconds may not be
is($node->safe_psql($db, q{
	do $$
	declare
		mine text;
	begin
		for i in 1 .. 3000 loop
			perform sentinai.publish('T', 't1', 'x', '{}');
			commit;
			select max(token) into mine from sentinai.claim('agent', 10);
			perform sentinai.complete(mine);
			commit;
		end loop;
	end $$;
	select max(round_no) > extract(epoch from clock_timestamp() - '2025-01-01 00:00Z') * 1000
	from sentinai_internal.round}), 'f', 'rounds do not run ahead of the clock');

# who waits learns of what no round has seen, whenever it was published
sub waited
{
	my ($timeout) = @_;

	return $node->safe_psql($db, "call sentinai.wait_for_work('agent', '$timeout', null)");
}
is(waited('0'), 'f', 'there is no work');
$id = $node->safe_psql($db,
	q{select sentinai.publish('T', 't1', 'x', '{}', deliver_at => clock_timestamp() + interval '2 s')});
is(completed(), '', 'a delayed event is not due yet');
is(waited('0'), 'f', 'and no work');
is(waited('20 s'), 't', 'until it is due');
is(completed(), $id, 'then it can be claimed');
is(waited('0'), 'f', 'and is no work any more');
$id = published();
$node->restart;
is(waited('0'), 't', 'what was published before a restart is work');
is(completed(), $id, 'and can be claimed');
is(waited('0'), 'f', 'once');
$node->stop;

done_testing();
