# wait_for_work(): a waiter that outlives its subscription takes nobody's wake
# away; and where no sequencer runs, an open claim that took a round is waited
# for, not spun on.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;
use Time::HiRes qw(time);

my $db = 'postgres';
my $unslept = 30;    # seconds within which anything here has to happen
my $node = new_node('waits', 'sentinai.launcher_naptime = 1s');

# waiting: a client that waits; returns it when it sleeps
sub waiting
{
	my ($worker_type) = @_;
	my $call = "call sentinai.wait_for_work('$worker_type', '50 seconds', null)";
	my $client = { out => '', err => '' };

	$client->{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr($db), '-c', $call ],
		'<', '/dev/null', '>', \$client->{out}, '2>', \$client->{err});
	$client->{pid} = wait_for($unslept, sub {
		answer($node, $db, "select pid from pg_stat_activity where wait_event_type = 'Extension'"
			  . " and query like 'call sentinai.wait_for_work(_${worker_type}%'");
	});
	return $client;
}

# seconds: from a statement to the end of a client's wait, the median of some
sub seconds
{
	my ($worker_type, $statement) = @_;
	my @took;

	foreach my $n (1 .. 5)
	{
		my $client = waiting($worker_type);
		my $start = time;

		$node->safe_psql($db, $statement);
		$client->{run}->finish;
		push @took, time - $start;
		is($client->{out}, "t\n", "$worker_type: woken for work");
		$node->safe_psql($db, "select sentinai.complete(token) from sentinai.claim('$worker_type')");
	}
	return (sort { $a <=> $b } @took)[2];
}

$node->safe_psql($db, 'create extension sentinai');
ok(sequencer_pid($node, $db, $unslept), 'a sequencer runs');
$node->safe_psql($db, "select sentinai.subscribe('gone', '{Gone}')");
poll_ok($node, $db, $unslept, 'select unsequenced_commits = 0 from sentinai.stat_info', 'and has nothing to do');

# one who waits is stopped, and his subscription ends meanwhile
my $late = waiting('gone');
kill 'STOP', $late->{pid};
$node->safe_psql($db, "select sentinai.unsubscribe('gone')");
$node->safe_psql($db, "select sentinai.subscribe('next', '{Next}')");
$node->safe_psql($db, q{call sentinai.wait_for_work('next', '0', null)});
kill 'CONT', $late->{pid};
$late->{run}->finish;
like($late->{err}, qr/worker type "gone" does not exist/, 'who waits learns that his subscription has gone');

my $took = seconds('next',
	"select sentinai.publish('Next', 't', 'k', '{}')");
cmp_ok($took, '<', 0.5, 'and takes no wake from the next one');

# Without the library preloaded a claim takes the rounds
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$node->restart;
$node->safe_psql($db, "select sentinai.publish('Next', 't', 'k', '{}')");
my $turns = $node->safe_psql($db, q{
	create extension dblink;
	create procedure turns(worker_type text, inout n int) language plpgsql as $$
	declare
		start timestamptz := clock_timestamp();
		ready boolean;
	begin
		while clock_timestamp() < start + interval '1 second' loop
			call sentinai.wait_for_work(worker_type, '1 second', ready);
			perform * from sentinai.claim(worker_type, 1);
			commit;
			n := n + 1;
		end loop;
	end $$;
	do $$ begin
		perform dblink_connect('c', format('host=%s port=%s dbname=%s', split_part(current_setting('unix_socket_directories'), ',', 1),
			current_setting('port'), current_database()));
		perform dblink_exec('c', 'begin');
		perform * from dblink('c', 'select count(*) from sentinai.claim(''next'')') as x(n int);
	end $$;
	select sentinai.publish('Next', 't', 'other', '{}');
	call turns('next', 0);
	do $$ begin
		perform dblink_exec('c', 'rollback');
	end $$;
});
$turns =~ s/.*\n//s;
cmp_ok($turns, '<', 5, 'who waits for a claim that takes a round sleeps');
is($node->safe_psql($db, "select count(*) from sentinai.claim('next')"), '2', 'and gets the events when it is rolled back');

$node->stop;
done_testing();
