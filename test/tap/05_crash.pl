# kill -9 of a backend, the sequencer, the relay and the whole server, and an
# immediate stop, under load: what was committed is delivered as promised.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 40;    # seconds within which anything here has to happen
my $inflight = 500;
my $dir = PostgreSQL::Test::Utils::tempdir();
my $broker = MockBroker->new('sentinai.crash:3');
my $node = new_node('crash',
	"sentinai.kafka_conf = 'bootstrap.servers=@{[$broker->bootstrap]}'",
	"sentinai.relay_inflight = $inflight", 'sentinai.topic_partitions = 0',
	'sentinai.launcher_naptime = 1s', 'wal_writer_delay = 5s',
	'sentinai.journal_size = 128kB', 'sentinai.maintenance_interval = 1s');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub write_file
{
	my ($name, $text) = @_;

	open my $out, '>', "$dir/$name" or die $!;
	print $out $text;
	close $out;
	return "$dir/$name";
}

sql(q{
	create extension sentinai;
	create table app (publisher int, n int, xid bigint, primary key (publisher, n));
	create table effect (no bigint generated always as identity, event_id uuid,
		publisher int, key text, n int);
	select sentinai.subscribe('effects', '{Counted}');
	select sentinai.subscribe('work', '{Counted}')});

# A publisher: a transaction for each number, with a row of its own; each fifth
# is rolled back. It writes down "try" before the commit, "ok" after it. The
# idempotent one (2) repeats what it does not know to be committed, the
# asynchronous one (3) does not wait for the disk.
my $publisher = write_file('publisher', q{
n=0
while [ ! -e "$DIR/stop" ]; do
	awk -v p="$1" -v from="$n" 'BEGIN {
		for (i = from + 1; i <= from + 20; i++) {
			key = p == 2 ? "\x27key-" i "\x27" : "null"
			print "begin;"
			print "insert into app select " p ", " i ", pg_current_xact_id()::text::bigint" \
				" on conflict do nothing returning \x27try \x27 || xid || \x27 \x27 || n;"
			print "select from sentinai.publish(\x27Counted\x27, \x27t" p "\x27, \x27k" i % 4 "\x27," \
				" jsonb_build_object(\x27p\x27, " p ", \x27n\x27, " i "), \x27crash\x27," \
				" idempotency_key => " key ");"
			print i % 5 ? "commit;\n\\\\echo ok " i : "rollback;\n\\\\echo rolled " i
		}
	}' | psql -XqAt -v ON_ERROR_STOP=1 >>"$DIR/published.$1" 2>>"$DIR/log"
	status=$?
	[ "$1" = 2 ] && [ $status -ne 0 ] || n=$((n + 20))
	sleep 0.1
done
});

# An agent: its rows and the completion are one transaction.
my $agent = write_file('agent', q{
while [ ! -e "$DIR/done" ]; do
	psql -XqAt >>"$DIR/log" 2>&1 <<-'END'
	do $$
	declare
		tok text; ids uuid[]; payloads jsonb[];
	begin
		for i in 1 .. 100 loop
			select min(token), array_agg(event_id), array_agg(payload)
			into tok, ids, payloads from sentinai.claim('effects', 15, '2s');
			commit;
			if tok is null then
				perform pg_sleep(0.05);
				continue;
			end if;
			begin
				insert into effect (event_id, publisher, key, n)
				select e, (p ->> 'p')::int, (p ->> 'p') || ':' || (p ->> 'n')::int % 4,
					(p ->> 'n')::int
				from unnest(ids, payloads) with ordinality u (e, p, o) order by o;
				perform sentinai.complete(tok);
			exception when sqlstate 'SN409' then
				raise notice 'too late';
			end;
			commit;
		end loop;
	end $$
	END
	sleep 0.05
done
});

$ENV{DIR} = $dir;
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGDATABASE} = 'postgres';
$ENV{PGOPTIONS} = '';

my @children;

sub start_child
{
	my ($options, @command) = @_;
	my $pid = fork // die "fork: $!";

	if ($pid == 0)
	{
		$ENV{PGOPTIONS} = $options;
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$dir/log";
		open STDERR, '>>', "$dir/log";
		exec { $command[0] } @command or POSIX::_exit(99);
	}
	push @children, $pid;
	return $pid;
}

# Nobody goes on when this script ends early.
END
{
	my $status = $?;

	kill 'TERM', @children;
	$? = $status;
}

my @publishers = map {
	start_child($_ == 3 ? '-c synchronous_commit=off' : '', '/bin/sh', $publisher, $_);
} 1 .. 4;
start_child('', '/bin/sh', $agent) foreach 1 .. 3;
my $work = start_child('', "$FindBin::RealBin/../../build/workers/sentinai-work",
	'--worker-type', 'work', '--concurrency', 2, '--max-events', 20, '--lease', '2s',
	'--exec', "echo \$SENTINAI_EVENT_ID >>$dir/worked");

# load: wait until both sides of the queue have moved on
sub load
{
	my $count = q{select (select count(*) from app) || ' ' || (select count(*) from effect)};
	my ($app, $effect) = split / /, sql($count);

	ok(wait_for($unslept, sub {
		my $now = answer($node, 'postgres', $count) // return 0;
		my ($a, $e) = split / /, $now;
		return $a > $app + 300 && $e > $effect + 200;
	}), 'publishers and agents go on');
	return;
}

# ready: wait until the server answers again
sub ready
{
	wait_for($unslept, sub { defined answer($node, 'postgres', 'select 1') })
	  or die 'the server is not back';
	return;
}

sub kill_9
{
	my ($what, $query) = @_;
	my $pid = wait_for($unslept, sub { sql("$query limit 1") });

	load();
	$pid = wait_for($unslept, sub { sql("$query limit 1") });
	kill 'KILL', $pid;
	ok(wait_for($unslept, sub { !kill(0, $pid) }), "kill -9 of $what");
	ready();
	return;
}

my $client = q{select pid from pg_stat_activity where backend_type = 'client backend'
	and pid <> pg_backend_pid() and state <> 'idle' and query };

kill_9('a publisher', "$client like '%publish%'");
kill_9('an agent', "$client like '%effect%'");
kill_9('the sequencer', 'select sequencer_pid from sentinai.stat_info');
kill_9('the relay', 'select pid from sentinai.stat_relay where pid is not null');

load();
ok(lose_server($node, $unslept), 'kill -9 of the postmaster');
$node->start;
load();
$node->stop('immediate');
$node->start;
load();

# the end of the load; what was published is worked off
write_file('stop', '');
waitpid $_, 0 foreach @publishers;
my $published = sql('select count(*) from sentinai.event_log where event_type = $$Counted$$');
worked_off_ok($node, 'postgres', $unslept, q{
	select count(*) = 2 and bool_and(lag_events = 0 and retrying = 0 and dead = 0)
	from sentinai.stat_queue}, 'everything is worked off');
write_file('done', '');
kill 'TERM', $work;
waitpid $_, 0 foreach @children[ 4 .. $#children ];
@children = ();

cmp_ok($published, '>', 500, "there was load: $published events");
is(sql(q{
	select count(*) from app full join (
		select (payload ->> 'p')::int p, (payload ->> 'n')::int n
		from sentinai.event_log where event_type = 'Counted') l
	on (publisher, app.n) = (p, l.n)
	where publisher is null or p is null}), '0',
	'an event is there if and only if its transaction is');
is(sql(q{
	select count(*) - count(distinct (payload -> 'p', payload -> 'n'))
	from sentinai.event_log where event_type = 'Counted'}), '0', 'and once');

# what the clients know
my (@acked, @rolled, @unknown);
foreach my $p (1 .. 4)
{
	my %open;

	foreach (split /\n/, slurp_file("$dir/published.$p"))
	{
		if (/^try (\d+) (\d+)$/) { $open{$2} = $1; }
		elsif (/^(ok|rolled) (\d+)$/)
		{
			delete $open{$2};
			push @{ $1 eq 'ok' ? \@acked : \@rolled }, "($p, $2)"
			  if $p != 3 || $1 ne 'ok';
		}
	}
	push @unknown, map { "($p, $_, $open{$_})" } keys %open if $p != 2;
}
is(sql('select count(*) from (values ' . join(', ', @acked)
		  . ') v (p, n) where (p, n) not in (select publisher, n from app)'),
	'0', 'what was acknowledged is there');
is(sql('select count(*) from (values ' . join(', ', @rolled)
		  . ') v (p, n) where (p, n) in (select publisher, n from app)'),
	'0', 'what was rolled back is not');
my $unknown = @unknown
  ? 'values ' . join(', ', @unknown) : 'select 0, 0, 0 where false';
is(sql("select count(*) from ($unknown) v (p, n, xid) join app"
		  . ' on (publisher, app.n) = (p, v.n)'
		  . " where pg_xact_status(app.xid::text::xid8) <> 'committed'"
		  . ' or app.xid <> v.xid'), '0',
	scalar(@unknown) . ' commits of unknown outcome: those there are committed');

# what the agents did
is(sql(q{
	select count(*) from effect full join sentinai.event_log l using (event_id)
	where (l.event_type = 'Counted' and effect.event_id is null) or l.event_id is null}),
	'0', 'each event had its effect, and nothing else had one');
is(sql('select count(*) - count(distinct event_id) from effect'), '0', 'once');
is(sql(q{
	select count(*) from (select n < lag(n) over (partition by key order by no) b
		from effect) x where b}), '0', 'in order');
foreach my $type ('effects', 'work')
{
	is(sql(qq{
		select count(*) from (
			select event_id from sentinai.event_log where event_type = 'Counted') l
		full join (select event_id from sentinai.event_processing
			where worker_type = '$type' and status = 'completed') p using (event_id)
		where l.event_id is null or p.event_id is null}), '0',
		"$type: completed is what was committed");
}
my %worked = map { $_ => 1 } split /\n/, slurp_file("$dir/worked");
is(join(' ', sort keys %worked),
	sql(q{select string_agg(event_id::text, ' ' order by event_id::text collate "C")
		from sentinai.event_log where event_type = 'Counted'}),
	'what the command saw is what was committed');
is(sql(q{
	select count(*) from (
		select id from sentinai_internal.slice, unnest(event_ids) id
		where stream_id = 0 group by id having count(*) > 1) x}), '0',
	'every event is in one slice');

# what the broker got
my (@records, %ids, %last);
my $back = 0;
wait_for($unslept, sub {
	@records = $broker->records('sentinai.crash');
	%ids = map { $_->{headers}{ce_id} => 1 } @records;
	return keys %ids >= $published;
});
is(join(' ', sort keys %ids), join(' ', sort keys %worked),
	'what the broker has is what was committed');
%ids = ();
foreach my $record (@records)
{
	my ($n) = $record->{value} =~ /"n": (\d+)/;

	next if $ids{ $record->{headers}{ce_id} }++;
	$back++ if $n <= ($last{ $record->{key} } // 0);
	$last{ $record->{key} } = $n;
}
is($back, 0, 'in order');
cmp_ok(@records - keys %ids, '<=', 7 * $inflight, 'copies only of what was on its way');

$node->stop;
done_testing();
