# Retention beside subscriptions that stand in line: tenants that share tracks come
# back while one lags that nobody works for, and partitions are dropped under it as
# it goes on. Nothing is dropped that somebody has not passed, keys keep their order,
# and lines end.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $node = new_node('lines',
	'sentinai.crowded_at = 40',
	'sentinai.max_tracks = 7',
	'sentinai.retention = -1',
	'sentinai.idempotency_window = 1s',
	'sentinai.maintenance_interval = 1s');
my $db = 'postgres';
my $patience = 180;    # seconds, for a slow machine too
my $tenants = 12;    # more than there are tracks

sub sql { return $node->safe_psql($db, $_[0]) }

sub set
{
	my ($name, $value) = @_;

	sql("alter system set sentinai.$name = '$value'");
	reload_now($node, $patience);
	return;
}

# What was published, and what was completed: the log has neither for long. A tenant
# has one publisher at a time.
sql(q{
	create extension sentinai;
	create table published (id uuid primary key, tenant text, key text, n int);
	create table served (o bigint generated always as identity, worker text, id uuid, tenant text, key text, n int);
	create function flood(t text, events int) returns bigint language sql as $$
		with new as (
			select n, row_number() over (order by n) as i from (select coalesce(max(n), 0) as last from published where tenant = t) x,
			       lateral generate_series(last + 1, last + events) n),
		ids as (
			select sentinai.publish_batch(array_agg('turn'::text), array_agg(t), array_agg('k' || n % 7 order by n), array_agg(jsonb_build_object('n', n) order by n)) as ids from new),
		noted as (
			insert into published select ids[i], t, 'k' || n % 7, n from new, ids returning 1)
		select count(*) from noted $$;
	-- a batch; with faults some of it fails, or it is given back, or lost
	create function work(wt text, most int, faults boolean default false) returns int language plpgsql as $$
	declare
		dice int := case when faults then floor(random() * 100) else 99 end;
		t text;
		bad int := 99999;
		n int;
	begin
		if to_regclass('pg_temp.got') is null then
			create temp table got (o int, token text, id uuid, tenant text, key text, n int);
		end if;
		truncate got;
		insert into got select row_number() over (), c.token, event_id, tenant_id, aggregate_id, (payload ->> 'n')::int
			from sentinai.claim(wt, most, case dice when 0 then interval '10 ms' else '1 min' end) c;
		select min(token), count(*) into t, n from got;
		if n = 0 or dice = 0 then return n; end if;
		if dice < 6 then return sentinai.release(t); end if;
		if dice < 20 then
			bad := 1 + floor(random() * n);
			perform sentinai.fail(t, id, 'no', retry_in => make_interval(secs => random() * 3)) from got where o = bad;
			delete from got g using got f where f.o = bad and g.o >= f.o and (g.tenant, g.key) = (f.tenant, f.key);
		end if;
		insert into served (worker, id, tenant, key, n) select wt, id, got.tenant, got.key, got.n from got order by o;
		if exists (select from got) and sentinai.complete(t) <> (select count(*) from got) then
			raise exception 'another number was completed';
		end if;
		return n;
	end $$;
	create procedure work_off(wt text) language plpgsql as $$
	begin
		while work(wt, 500) > 0 loop
			commit;
		end loop;
	end $$});
add_make_set($node, $db);
# stretches of two seconds for as long as the test can take
sql(q{
	create table made as
	select 'event_log' || to_char(t, '_HH24MISSMS') as name, t + interval '2 s' as upper, make_set(t, t + interval '2 s')::text as made
	from (select clock_timestamp() offset 0) x (start),
	     lateral generate_series(start, start + interval '5 min', interval '2 s') t});

# publish_all(EVENTS): so many of each tenant, a transaction for each
sub publish_all
{
	my ($events) = @_;

	sql(join ';', map { "select flood('t$_', $events)" } 1 .. $tenants);
	ok(wait_for($patience, sub { sequenced($node, $db) }), 'what was published is in rounds');
	return;
}
sub shared { return sql('select count(*) from (select from sentinai_internal.track_tenant group by track having count(*) > 1) x') }
sub in_line { return sql("select coalesce(string_agg(worker_type, ' ' order by worker_type), '') from sentinai_internal.subscription where in_line_until is not null") }

# what a subscription has left beside those that wait behind a retry
sql(q{
	create view left_over as
	select worker_type, in_line_until is not null as in_line, lag_events - (select count(*) from sentinai_internal.event_retry r where r.sub_id = s.sub_id) as n
	from sentinai_internal.subscription s join sentinai.stat_queue using (worker_type)});
sub oldest_partition { return sql(q{select min(relname::text) from pg_inherits join pg_class c on c.oid = inhrelid where inhparent = 'sentinai_internal.event_log'::regclass}) }

# what maintenance has dropped of the log, and what is over
sub dropped { return sql(q{select count(*) from made where to_regclass('sentinai_internal.' || name) is null}) }
sub over { return sql(q{select count(*) from made where upper < clock_timestamp()}) }
sub blockers { return sql(q{select coalesce(array_to_string(retention_blocked_by, ' '), '') from sentinai.stat_info}) }

# start_agents(): four that work at the same time
my $tmp = $PostgreSQL::Test::Utils::tmp_check;
append_to_file("$tmp/$_.sql", "select work('$_', 40, true);\n\\sleep 20 ms\n") foreach qw(busy asleep again);
sub start_agents
{
	return IPC::Run::start([ 'pgbench', '-n', '-c', 4, '-T', 600, map({ ('-f', "$tmp/$_.sql") } qw(busy asleep again)), $node->connstr($db) ], '>', '/dev/null', '2>', '/dev/null');
}

# out_of_order(WORKER): events that came before an earlier one of their key, or twice
sub out_of_order
{
	return sql(qq{
		select (select count(*) from (select n, lag(n) over (partition by tenant, key order by o) as before from served where worker = '$_[0]') x where n <= before)
		     + (select count(*) - count(distinct id) from served where worker = '$_[0]')});
}

# Two that nobody works for have much left, one has what it wants, and one is at work.
sql(q{select sentinai.subscribe(w, '{turn}', start_from => 'earliest', backoff => '{0s}', max_attempts => 1000) from unnest('{busy,asleep,gone}'::text[]) w;
	select sentinai.subscribe('content', '{never}', start_from => 'earliest')});
publish_all(60);
is(sql('select count(*) from sentinai_internal.track_tenant'), $tenants, 'all tenants are set apart');
cmp_ok(shared(), '>', 0, 'and share tracks');
sql("call work_off('busy')");
my $late = sql(q{
	with c as (select * from sentinai.claim('asleep', 1))
	select event_id from c, sentinai.fail(token, event_id, 'no', retry_in => '1 h')});
sql("select work('asleep', 50)") foreach 1 .. 3;
set('idle_after', 0);
foreach my $again (1 .. 4)
{
	ok(wait_for($patience, sub { shared() == 0 }), 'tenants that share tracks come back');
	like(in_line(), qr/asleep (busy )?gone/, 'those who lag stand in line');
	publish_all(60);
	sql("call work_off('busy')");
}

# Retention is held up by those two, and by nobody else.
set('retention', 0);
ok(wait_for($patience, sub { blockers() eq 'gone asleep' || blockers() eq 'asleep gone' }), 'retention waits for those who lag') or diag(blockers());
my $first = oldest_partition();
sql('select pg_sleep(2.5)');    # some passes of maintenance
is(oldest_partition(), $first, 'and drops nothing');
is(sql(q{select count(*) from published where not exists (select from sentinai.event_log where event_id = id)}), 0, 'the log has all');
sql("select sentinai.unsubscribe('gone')");
ok(wait_for($patience, sub { blockers() eq 'asleep' }), 'one that is removed holds nothing up') or diag(blockers());

# Somebody comes for it, and the server is lost.
sql(q{select sentinai.subscribe('again', '{turn}', start_from => 'earliest', backoff => '{0s}', max_attempts => 1000)});
my $agents = start_agents();
my ($while, $before) = (0, 0);

# look_on(SECONDS): how many partitions are dropped while it stands in line, and lags
sub look_on
{
	my ($seconds) = @_;

	wait_for($seconds, sub {
		my ($line, $left, $all, $now) = split /\|/, sql(q{
			select bool_or(in_line and worker_type = 'asleep'), sum(n) filter (where worker_type = 'asleep'), sum(n),
			       (select count(*) from made where to_regclass('sentinai_internal.' || name) is null)
			from left_over});

		$while += $now - $before if $line eq 't' && $left > 0;
		$before = $now;
		return $all == 0;
	});
	return;
}
look_on(2);
cmp_ok(sql(q{select n from left_over where worker_type = 'asleep'}), '>', 0, 'it has much left yet');
my $warnings = log_count($node, 'subscriptions that lag');
ok(lose_server($node, $patience), 'the server is lost');
$agents->finish;
ok(wait_for($patience, sub { $node->start(fail_ok => 1) }), 'and starts again');
ok(wait_for($patience, sub { log_count($node, 'subscriptions that lag') > $warnings }), 'retention waits for them again');

# What comes now is behind the round up to which partitions may go, and the line ends
# behind that. Tenants go on to be set apart and to come back.
foreach my $again (1 .. 4)
{
	publish_all(60);
	sql("call work_off('busy')");
	ok(wait_for($patience, sub { shared() == 0 }), 'tenants come back');
}
$agents = start_agents();
foreach my $again (1 .. 15)
{
	look_on(2);
	last if $again > 3 && $while > 0;
	publish_all(50);
}
look_on($patience);
$agents->kill_kill;
note("$before partitions were dropped, $while of them while it stood in line and lagged");
cmp_ok($while, '>', 0, 'partitions are dropped while it stands in line');

# What waits for its retry has outlived its partition.
poll_ok($node, $db, $patience, qq{select exists (select from sentinai_internal.event_kept where event_id = '$late')}, 'what waits is kept');
sql("select sentinai.retry_event('$late', 'asleep', 'me')");
ok(wait_for($patience, sub {
	sql("call work_off('$_')") foreach qw(busy asleep again);
	return sql('select count(*) from sentinai_internal.event_retry') == 0 && sql('select sum(n) from left_over') == 0;
}), 'all is worked off') or diag(sql('select * from sentinai.stat_queue'));
foreach my $worker (qw(busy asleep again))
{
	is(out_of_order($worker), 0, "$worker: each came once, in the order of its key");
	is(sql("select count(*) from published p where not exists (select from served s where s.id = p.id and worker = '$worker')"), 0, "$worker: none is missing");
}
ok(wait_for($patience, sub { in_line() eq '' }), 'nobody stands in line any more') or diag(in_line());
poll_ok($node, $db, $patience, 'select count(*) = 0 from sentinai_internal.event_kept', 'nothing is kept any more');
ok(wait_for($patience, sub {
	sql("call work_off('$_')") foreach qw(busy asleep again);
	return blockers() eq '' && dropped() >= over() - 2;
}), 'retention has come up') or diag(blockers());
is(log_count($node, 'ERROR:|PANIC:|the log has no more'), 0, 'no error was logged, and no event was gone');
$node->stop;
done_testing();
