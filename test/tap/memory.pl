# Memory: no function leaves anything behind in the process that calls it, and
# the relay does not grow while its broker comes and goes.
# SPDX-License-Identifier: PostgreSQL
#
# SENTINAI_CALLS sets how often each function is called (by itself, the quick
# ones 20,000 times, the others less often; a look at all views takes some ten
# milliseconds and stays at 300), SENTINAI_FLAP_SECONDS how long the broker
# flaps (60). make check-long raises both, in two parts.
use strict;
use warnings FATAL => 'all';

use IPC::Run ();
use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;
use Time::HiRes qw(time);

my $flap_seconds = $ENV{SENTINAI_FLAP_SECONDS} // 60;
my $patience = 60;             # seconds for one thing to happen
my $top_slack = 1024;          # bytes that TopMemoryContext may grow by
my $slack = 64 * 1024;         # bytes for the caches and all other contexts
my $rss_slack = 10 * 1024;     # kB that the relay may grow by

# What is called how often: name, calls, statements run once before, the calls.
# i counts them; the transaction ends after each round.
my @cases = (
	[ 'keys', 20000, '', q{
		perform sentinai.get_partition_key('acme', 'k' || i),
			sentinai.partition_hash('k' || i),
			sentinai.partition_for('acme', 'k' || i, 12),
			sentinai.event_time('019aac3c-7d3f-7c52-9d0f-5b1a6f0c9e11')} ],
	[ 'publish', 20000, '', q{
		perform sentinai.publish('M', 'acme', 'k' || i, '{"a": [1, 2, "three"]}')} ],
	[ 'publish with a key', 8000, '', q{
		perform sentinai.publish('M', 'acme', 'k', '{"a": 1}',
			idempotency_key => 'key' || i / 2, metadata => '{"b": 2}')} ],
	[ 'publish, refused', 8000, '', q{
		begin
			perform sentinai.publish('M', 'acme', 'k' || i,
				case i % 2 when 0 then '[]'::jsonb end);
		exception when others then null; end} ],
	[ 'publish_batch', 8000, '', q{
		perform sentinai.publish_batch('{M,M}', '{acme,acme}',
			array['k' || i, 'k' || i], '{"{}","{}"}')} ],
	[ 'outbox', 8000, '', q{
		insert into sentinai.outbox (tenant_id, aggregatetype, aggregateid, type,
			payload) values ('acme', 'm', 'k' || i, 'M', '{}')} ],
	[ 'subscribe', 3000, '', q{
		perform sentinai.subscribe('memory', '{M}', max_attempts => 1 + i % 9);
		perform sentinai.set_retry_policy('memory', 'M', 1 + i % 9, '{0,1s}')} ],
	[ 'unsubscribe', 500, '', q{
		perform sentinai.subscribe('gone' || i % 3, array['M', 'N' || i % 3]);
		perform sentinai.unsubscribe('gone' || i % 3)} ],
	[ 'claim, extend, complete', 8000, 'backlog', q{
		select c.token into tok from sentinai.claim('memory', 1) c;
		perform sentinai.extend(tok, '1 minute');
		perform sentinai.complete(tok)} ],
	[ 'claim, release', 8000, 'backlog', q{
		select c.token into tok from sentinai.claim('memory', 1) c;
		perform sentinai.release(tok)} ],
	[ 'claim, fail, claim, complete', 3000, 'backlog', q{
		select c.token, c.event_id into tok, ev from sentinai.claim('memory', 1) c;
		perform sentinai.fail(tok, ev, 'no', true, '0');
		commit;
		perform sentinai.complete(c.token) from sentinai.claim('memory', 1) c} ],
	[ 'dead letters', 3000, 'backlog', q{
		select c.token, c.event_id into tok, ev from sentinai.claim('memory', 1) c;
		perform sentinai.fail(tok, ev, 'no', false);
		commit;
		if i % 2 = 0 then
			perform sentinai.discard_dead_letter(ev, 'memory', 'me', 'why');
		else
			perform sentinai.retry_dead_letter(ev, 'memory', 'me');
			commit;
			perform sentinai.complete(c.token)
			from sentinai.claim('memory', 1) c;
		end if} ],
	[ 'stale tokens', 8000, '', q{
		begin
			perform sentinai.complete('x' || i);
		exception when others then null; end} ],
	[ 'wait_for_work', 8000, '', q{
		call sentinai.wait_for_work('memory', '0', ready)} ],
	[ 'ledger', 8000, '', q{
		ev := sentinai.publish('L', 'acme', 'k' || i, '{}');
		perform sentinai.mark_as_processing(ev, 'memory'),
			sentinai.mark_as_completed(ev, 'memory'),
			sentinai.is_already_processed(ev, 'memory')} ],
	[ 'history', 3000, '', q{
		perform count(*) from sentinai.get_events_by_exception('acme', 'k' || i);
		perform count(*) from sentinai.get_events_by_tenant('acme',
			max_events => 5)} ],
	[ 'functions of the views', 8000, '', q{
		perform sentinai.stat_rate(1, i, i), sentinai.stat_clock(),
			sentinai.event_time(sentinai.publish('S', 'acme', 'k', '{}'));
		perform from sentinai.stat_server(), sentinai.stat_relays()} ],
	[ 'views', 300, '', q{
		perform count(*) from sentinai.stat_queue, sentinai.stat_relay,
			sentinai.stat_info;
		perform count(*) from sentinai.stat_agent} ],
	[ 'relay control', 500, '', q{
		perform sentinai.pause_relay(), sentinai.relay_is_paused(),
			sentinai.resume_relay()} ],
	[ 'maintenance', 100, '', q{
		perform sentinai.maintain();
		perform sentinai.make_partitions(now()), sentinai.after_restore(),
			sentinai.retention_status()} ]);

# calls_sql: what psql runs; three lines of sums for each case
sub calls_sql
{
	my ($version) = @_;
	# 18 has numbers in place of the parent's name
	my $contexts = $version < 18 ? 'pg_backend_memory_contexts' : q{(
		with m as materialized (select * from pg_backend_memory_contexts)
		select c.*, p.name as parent from m c left join m p
			on p.path = c.path[1 : cardinality(c.path) - 1]) x};
	# the contexts that end with a statement or a transaction do not count
	my $measure = q{
		select 'sums', sum(used_bytes) filter (where name = 'TopMemoryContext'),
			sum(used_bytes) filter (
				where 'CacheMemoryContext' in (name, parent)),
			sum(used_bytes) filter (where parent = 'TopMemoryContext'
				and name not in ('CacheMemoryContext', 'MessageContext',
					'TopPortalContext', 'TopTransactionContext',
					'ErrorContext', 'RowDescriptionContext'))
		from } . "$contexts;";
	my $sql = "set jit = off;\n$measure\n$measure\n";

	foreach my $case (@cases)
	{
		my ($name, $calls, $before, $body) = @$case;

		$calls = $ENV{SENTINAI_CALLS}
		  if $ENV{SENTINAI_CALLS} && $name ne 'views';
		my $warm = int($calls / 10) + 20;
		my $all = $warm + $calls;
		$before = qq{
			select count(*) from (select sentinai.publish('M', 'acme', 'b' || i, '{}')
				from generate_series(1, $all) i) x;}
		  if $before eq 'backlog';
		# rows that calls before have left behind make others slow
		$sql .= "\\echo case $name\nvacuum;\n$before\n";
		foreach my $range ([ 1, $warm ], [ $warm + 1, $all ])
		{
			$sql .= qq{
				do \$\$
				declare tok text; ev uuid; ready boolean;
				begin
					for i in $range->[0] .. $range->[1] loop
						$body;
						commit;
					end loop;
				end \$\$;
				$measure
			};
		}
	}
	return $sql;
}

# start_calls(NODE): psql in the background, from and to files; pipes would be
# inherited by the servers that are started meanwhile
sub start_calls
{
	my ($node) = @_;
	my $base = PostgreSQL::Test::Utils::tempdir() . '/calls';

	open my $file, '>', "$base.sql" or die $!;
	print $file "set client_min_messages = warning;\n", calls_sql($node->pg_version->major);
	close $file;
	my $handle = IPC::Run::start(
		[
			'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', "$base.sql",
			'-d', $node->connstr('postgres')
		],
		'<', '/dev/null', '>', "$base.out", '2>', "$base.err");
	return { handle => $handle, base => $base };
}

# calls_ok(RUN): tests about what the calls left behind
sub calls_ok
{
	my ($run) = @_;
	my (%sums, $case);

	$run->{handle}->finish;
	is(slurp_file("$run->{base}.err"), '', 'all functions could be called');
	foreach my $line (split /\n/, slurp_file("$run->{base}.out"))
	{
		$case = $1 if $line =~ /^case (.*)/;
		push @{ $sums{$case} }, [ $1, $2, $3 ]
		  if defined $case && $line =~ /^sums\|(\d+)\|(\d+)\|(\d+)$/;
	}
	foreach my $name (map { $_->[0] } @cases)
	{
		my ($before, $after) = @{ $sums{$name} // [] };
		my @grown = defined $after
		  ? map { $after->[$_] - $before->[$_] } 0 .. 2 : ();

		ok( @grown
			  && $grown[0] <= $top_slack
			  && $grown[1] <= $slack
			  && $grown[2] <= $slack,
			"$name: leaves nothing behind")
		  or diag("TopMemoryContext, caches, others grew by: @grown");
	}
	return;
}

# rss(PID): kB of its own memory that a process has in use
sub rss
{
	my ($pid) = @_;
	my ($kb) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m;

	return $kb;
}

my $plain = new_node('plain', 'fsync = off');
$plain->safe_psql('postgres', q{
	create extension sentinai;
	select sentinai.subscribe('memory', '{M}', start_from => 'latest')});
my $calls = start_calls($plain);

# The relay: the broker goes, comes back, refuses, is slow; events all the while.
my $broker = MockBroker->new('--brokers', 1);
my $node = new_node('flapping', 'fsync = off',
	"sentinai.kafka_conf = 'bootstrap.servers=" . $broker->bootstrap
	  . ",reconnect.backoff.ms=20,reconnect.backoff.max.ms=100'",
	'sentinai.topic_partitions = 0', 'sentinai.breaker_failures = 3',
	'sentinai.breaker_open_time = 1s');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# publish_some: events that fill several windows of the relay
sub publish_some
{
	sql(q{
		select count(*) from (select sentinai.publish('Flapped', 'acme', 'k' || i,
			jsonb_build_object('fill', repeat('x', 40)), 'flap')
		from generate_series(1, 200) i) x});
	return;
}

# arrived: whether the relay has nothing left to send
sub arrived
{
	return wait_for($patience, sub {
		sql('select lag_events = 0 and in_flight = 0 from sentinai.stat_relay')
		  eq 't';
	});
}

sql('create extension sentinai');
publish_some();
ok(arrived(), 'the relay works');
my $pid = sql('select pid from sentinai.stat_relay');
my ($first, $most, $flaps, $stuck) = (undef, 0, 0, 0);
my $start = time();
while (time() < $start + $flap_seconds)
{
	$broker->order('down all');
	publish_some();
	wait_for($patience, sub {
		sql("select breaker = 'open' from sentinai.stat_relay") eq 't';
	}) or $stuck++;
	$broker->order('errors Produce REQUEST_TIMED_OUT NOT_LEADER_FOR_PARTITION');
	$broker->order('up all');
	publish_some();
	arrived() or $stuck++;
	$flaps++;
	my $now = rss($pid);
	# the first rounds fill pools that stay
	$first = $now if time() < $start + $flap_seconds / 4 || !defined $first;
	$most = $now if $now > $most;
}
is($stuck, 0, "$flaps times the broker went, and all arrived");
cmp_ok($flaps, '>=', $flap_seconds / 20, 'it went often enough');
is(sql('select pid from sentinai.stat_relay'), $pid,
	'the relay is the process it was');
cmp_ok($most - $first, '<=', $rss_slack, 'and has not grown')
  or diag("$first kB after a quarter, $most kB at most");
note("relay: $first kB after a quarter of the time, $most kB at most");
calls_ok($calls);
$node->stop;
$plain->stop;

# Without the library preloaded there are no workers: claim() takes the rounds.
$plain->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$plain->start;
@cases = ([ 'publish, round, claim, complete', 1000, '', q{
	perform sentinai.publish('M', 'acme', 'k' || i, '{}');
	commit;
	perform sentinai.complete(c.token) from sentinai.claim('memory', 100) c} ]);
calls_ok(start_calls($plain));
$plain->stop;
done_testing();
