# test/kafka/013_dedupe.pl: kill -9 of the relay and of the whole server under
# load, with dedupe => 'tail'. What arrives in a real broker is what was committed, once.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";
use Arrived;
use KafkaNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $topic = 'sentinai.exception';
my $unslept = 90;    # seconds within which anything here has to happen
my $kafka = KafkaNode->new("$PostgreSQL::Test::Utils::tmp_check/kafka_dedupe");
my $node = new_node('dedupe', 'sentinai.relay_inflight = 200', 'sentinai.topic_partitions = 5',
	'sentinai.launcher_naptime = 1s');
my $keys = 50;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# load(): a session publishes until it is cut off; more have to be on their way
sub load
{
	my $before = logged($node);
	my $run = IPC::Run::start([ 'psql', '-Xq', '-d', $node->connstr('postgres'), '-c', qq{
		do \$\$
		declare n int := (select count(*) from sentinai.event_log);
		begin
			for i in n + 1 .. n + 200000 loop
				perform sentinai.publish('T', 'acme', 'key-' || i % $keys, jsonb_build_object('n', i));
				if i % 40 = 0 then commit; perform pg_sleep(0.005); end if;
			end loop;
		end \$\$} ], '<', \undef, '>', \my $out, '2>', \my $err);

	ok(wait_for($unslept, sub {
		my $now = answer($node, 'postgres', q{select (select count(*) from sentinai.event_log) || ' ' ||
			coalesce(sum(in_flight) filter (where acked_count > 100), 0) from sentinai.stat_relay}) // return 0;
		my ($log, $way) = split / /, $now;
		return $log > $before + 1000 && $way > 0;
	}), 'events are on their way');
	return $run;
}

sql('create extension sentinai');
sql(qq{select sentinai.create_relay('once', 'kafka', 'bootstrap.servers=@{[$kafka->bootstrap]}', start_from => 'earliest',
	dedupe => 'tail')});
foreach my $try (1 .. 3)
{
	my $run = load();
	my $pid = sql('select pid from sentinai.stat_relay where pid is not null');

	kill 'KILL', $pid;
	ok(wait_for($unslept, sub { !kill 0, $pid }), 'kill -9 of the relay');
	$run->finish;
	wait_for($unslept, sub { defined answer($node, 'postgres', 'select 1') });
}
foreach my $try (1 .. 2)
{
	my $run = load();

	ok(lose_server($node, $unslept), 'kill -9 of the server');
	$run->finish;
	$node->start;
}
once_in_order_ok(0, $keys, arrived_ok($kafka, $node, $topic, $unslept));
relay_passed_ok($node, 'postgres', $unslept, 'nothing is left');
is(sql('select count(*) from sentinai.dead_letter'), '0', 'no dead letters');
is(log_count($node, qr/may be sent twice/), 0, 'all was read back');

$node->stop;
$kafka->stop;
done_testing();
