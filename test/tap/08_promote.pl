# A standby is promoted, asynchronous or synchronous: its workers were silent
# before and work afterwards. With synchronous replication nothing that was
# acknowledged is lost, and the broker has nothing that the new primary lacks.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 60;    # seconds within which anything here has to happen
my $dir = PostgreSQL::Test::Utils::tempdir();
my $inflight = 200;

# start_publisher(NODE, NAME): a client that publishes one event after the other
# and writes down the number of each whose commit was acknowledged.
sub start_publisher
{
	my ($node, $name) = @_;
	my $host = $node->host;
	my $port = $node->port;
	my $acked = "$dir/$name";

	append_to_file($acked, '');
	my $pid = fork // die "fork: $!";
	return { pid => $pid, acked => $acked } if $pid;
	open STDIN, '<', '/dev/null';
	open STDOUT, '>>', $acked;
	open STDERR, '>', '/dev/null';
	exec 'sh', '-c', qq{
		awk 'BEGIN { for (i = 1; i <= 100000; i++) {
			print "select from sentinai.publish(\\x27Counted\\x27, \\x27t\\x27, \\x27k" i % 5 "\\x27,"
			print "jsonb_build_object(\\x27n\\x27, " i "), \\x27$name\\x27);"
			print "\\\\echo " i "\\nselect pg_sleep(0.002) \\\\g /dev/null" } }' |
		psql -h $host -p $port -XqAt -v ON_ERROR_STOP=1 postgres} or POSIX::_exit(99);
}

sub acked
{
	my ($publisher) = @_;
	my @lines = split /\n/, slurp_file($publisher->{acked});

	return grep { /^\d+$/ } @lines;
}

sub workers
{
	my ($node) = @_;

	return $node->safe_psql('postgres',
		"select count(*) from pg_stat_activity where backend_type like 'sentinai%'");
}

my @children;
END
{
	my $status = $?;

	kill 'KILL', @children;
	$? = $status;
}

foreach my $kind ('async', 'sync')
{
	my $broker = MockBroker->new('--brokers', 1);
	my $node = new_node("$kind", "sentinai.relay_inflight = $inflight",
		"sentinai.kafka_conf = 'bootstrap.servers=@{[$broker->bootstrap]}'",
		'sentinai.topic_partitions = 0', 'sentinai.launcher_naptime = 1s',
		'wal_receiver_status_interval = 1s');
	my $standby = PostgreSQL::Test::Cluster->new("standby_$kind");

	$node->safe_psql('postgres', q{
		create extension sentinai;
		select sentinai.subscribe('work', '{Counted}');
		select sentinai.publish('Begun', 't', 'k1', '{}', 'begun')});
	$node->backup('base');
	$standby->init_from_backup($node, 'base', has_streaming => 1);
	$standby->start;
	if ($kind eq 'sync')
	{
		$node->safe_psql('postgres', q{
			alter system set synchronous_standby_names = 'standby_sync'});
		$node->reload;
		poll_ok($node, 'postgres', $unslept,
			q{select count(*) = 1 from pg_stat_replication where sync_state = 'sync'},
			'the standby is synchronous');
	}
	my $publisher = start_publisher($node, $kind);
	push @children, $publisher->{pid};
	ok(wait_for($unslept, sub { acked($publisher) > 300 }), "$kind: events are published");
	ok(wait_for($unslept, sub { $broker->records("sentinai.$kind", 100) >= 100 }),
		"$kind: and relayed");
	$node->safe_psql('postgres', q{
		select sentinai.complete(min(token)) from sentinai.claim('work', 50)});
	my $held = $node->safe_psql('postgres',
		"select min(token) from sentinai.claim('work', 5, '1 hour')");

	# the standby: no workers, no writes
	is(workers($standby), '0', "$kind: no worker runs on the standby");
	my ($rc, $out, $err) = $standby->psql('postgres',
		"\\set VERBOSITY sqlstate\nselect sentinai.publish('Counted', 't', 'k1', '{}')");
	like($err, qr/25006/, "$kind: nothing can be published there");
	is(join(' ', map {
				my ($rc, $out, $err) = $standby->psql('postgres',
					"\\set VERBOSITY sqlstate\nselect $_");
				$err =~ /ERROR:  (\w+)/
			  } q{count(*) from sentinai.claim('work')}, 'sentinai.after_restore()',
			  'sentinai.maintain()', 'sentinai.resume_relay()'),
		'25006 25006 25006 25006', "$kind: nor claimed");
	$standby->safe_psql('postgres', 'table sentinai.stat_queue; table sentinai.stat_relay; table sentinai.stat_info');
	pass("$kind: the views can be read there");

	# the primary is lost under load
	ok(lose_server($node, $unslept), "$kind: the primary is lost");
	waitpid $publisher->{pid}, 0;
	my @acked = acked($publisher);
	my %at_failure = map { $_->{headers}{ce_id} => 1 } $broker->records("sentinai.$kind");
	$standby->promote;
	$standby->safe_psql('postgres', q{
		alter system set synchronous_standby_names = ''; select pg_reload_conf()});
	my %there = map { $_ => 1 } split /\n/, $standby->safe_psql('postgres',
		"select event_id from sentinai.event_log where aggregate_type = '$kind'");
	my %numbers = map { $_ => 1 } split /\n/, $standby->safe_psql('postgres',
		"select payload ->> 'n' from sentinai.event_log where aggregate_type = '$kind'");
	my $lost = grep { !$numbers{$_} } @acked;
	my $phantom = grep { !$there{$_} } keys %at_failure;
	if ($kind eq 'sync')
	{
		is($lost, 0, 'sync: nothing is lost of ' . @acked);
		is($phantom, 0, 'sync: the broker has nothing that the new primary lacks, of '
			  . keys %at_failure);
	}
	else
	{
		note("async: $lost of @{[scalar @acked]} acknowledged events are lost, $phantom of them relayed");
		cmp_ok($lost, '<', 300, 'async: what is lost is the end');
		is(scalar(grep { !$numbers{$_} && $_ <= 200 } @acked), 0, 'async: and only that');
	}

	# the new primary works
	ok(sequencer_pid($standby, 'postgres', $unslept), "$kind: the sequencer runs after promotion");
	$standby->safe_psql('postgres',
		"select sentinai.publish('Counted', 't', 'k' || i, '{\"n\": 0}', '$kind') from generate_series(0, 4) i");
	worked_off_ok($standby, 'postgres', $unslept, q{
		select state = 'running' and lag_events = 0 and in_flight = 0 from sentinai.stat_relay},
		"$kind: so does the relay");
	my @records = $broker->records("sentinai.$kind");
	my (%ids, %last);
	my $back = 0;
	foreach (@records)
	{
		my ($n) = $_->{value} =~ /"n": (\d+)/;

		next if $ids{ $_->{headers}{ce_id} }++ || $n == 0;
		next if !$there{ $_->{headers}{ce_id} };
		$back++ if $n <= ($last{ $_->{key} } // 0);
		$last{ $_->{key} } = $n;
	}
	is(scalar(grep { !$ids{$_} } split /\n/, $standby->safe_psql('postgres',
		"select event_id from sentinai.event_log where aggregate_type = '$kind'")),
		0, "$kind: every event was relayed");
	is($back, 0, "$kind: in order");
	cmp_ok(@records - keys %ids, '<=', 2 * $inflight + 300, "$kind: copies only of the end");
	($rc, $out) = $standby->psql('postgres', "select sentinai.complete('$held')");
	is($out, '5', 'sync: who held a batch completes it on the new primary')
	  if $kind eq 'sync';
	ok(wait_for($unslept, sub {
		$standby->safe_psql('postgres', q{
			select sentinai.complete(min(token)) from sentinai.claim('work', 1000) having count(*) > 0});
		return $standby->safe_psql('postgres',
			'select lag_events = 0 from sentinai.stat_queue') eq 't';
	}), "$kind: agents go on");
	is($standby->safe_psql('postgres', q{
		select count(*) from (select id from sentinai_internal.slice, unnest(event_ids) id
			where stream_id = 0 group by id having count(*) > 1) x}), '0',
		"$kind: every event is in one slice");
	$standby->stop;
}
done_testing();
