# test/kafka/004_relay.pl: kill -9 of the relay and of the whole server under
# load. What arrives in a real broker is what was committed, in order per key.
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
my $partitions = 5;
my $inflight = 200;
my $kafka = KafkaNode->new("$PostgreSQL::Test::Utils::tmp_check/kafka_relay");
my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('relay_killed',
	"sentinai.kafka_conf = 'bootstrap.servers=@{[$kafka->bootstrap]}'",
	"sentinai.relay_inflight = $inflight",
	"sentinai.topic_partitions = $partitions", 'sentinai.launcher_naptime = 1s',
	'wal_writer_delay = 5s');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql('create extension sentinai');

# A publisher begins again after each crash, behind what it finds committed.
# Odd ones do not wait for the disk, so a crash takes some of their events
# back; none of these may be in the broker.
$ENV{DIR} = $dir;
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGDATABASE} = 'postgres';
open my $out, '>', "$dir/publisher" or die $!;
print $out q{
n=0
while [ ! -e "$DIR/stop" ]; do
	[ $(($1 % 2)) = 0 ] || export PGOPTIONS='-c synchronous_commit=off'
	psql -Xq >>"$DIR/log" 2>&1 <<-END
	do \$\$ begin
		for i in $n + 1 .. $n + 200 loop
			perform sentinai.publish('T', 'tenant-$1', 'schlüssel-' || i % 13,
				jsonb_build_object('n', i));
			if i % 9 = 0 then rollback; else commit; end if;
			perform pg_sleep(0.002);
		end loop;
	end \$\$
	END
	n=$((n + 200))
done
};
close $out;

my @publishers;
foreach my $number (1 .. 4)
{
	my $pid = fork // die "fork: $!";

	if ($pid == 0)
	{
		exec '/bin/sh', "$dir/publisher", $number or POSIX::_exit(99);
	}
	push @publishers, $pid;
}

# Nobody goes on when this script ends early.
END
{
	my $status = $?;

	kill 'TERM', @publishers;
	$? = $status;
}

my $starts = 1;

# load: wait until as many events more were published and acknowledged
sub load
{
	my $before = logged($node);

	ok(wait_for($unslept, sub {
		my $now = answer($node, 'postgres',
			'select (select count(*) from sentinai.event_log) || $$ $$ ||'
			  . ' coalesce(sum(acked_count), 0) from sentinai.stat_relay') // return 0;
		my ($log, $acked) = split / /, $now;
		return $log > $before + 400 && $acked > 200;
	}), 'the relay works');
	return;
}

foreach my $try (1 .. 3)
{
	load();
	my $pid = sql('select pid from sentinai.stat_relay');
	kill 'KILL', $pid;
	ok(wait_for($unslept, sub { !kill 0, $pid }), 'kill -9 of the relay');
	wait_for($unslept, sub { defined answer($node, 'postgres', 'select 1') });
	$starts++;
}
foreach my $try (1 .. 2)
{
	load();
	ok(lose_server($node, $unslept), 'kill -9 of the server');
	$node->start;
	$starts++;
}
load();
$node->stop('immediate');
$node->start;
$starts++;
load();
sql('select pg_terminate_backend(pid) from sentinai.stat_relay');
$starts++;
open $out, '>', "$dir/stop" or die $!;
close $out;
waitpid $_, 0 foreach @publishers;
@publishers = ();

my $total = logged($node);
my (@records, %seen);
wait_for($unslept, sub {
	@records = $kafka->records($topic);
	%seen = map { $_->{headers}{ce_id} => 1 } @records;
	return keys %seen >= $total;
});
is(join("\n", map { "$_->{headers}{ce_id} $_->{key} $_->{partition}" }
		  sort { $a->{headers}{ce_id} cmp $b->{headers}{ce_id} }
		  grep { $seen{ $_->{headers}{ce_id} }++ == 1 } @records),
	sql(qq{
		select event_id || ' ' || sentinai.get_partition_key(tenant_id, aggregate_id)
			|| ' ' || sentinai.partition_for(tenant_id, aggregate_id, $partitions)
		from sentinai.event_log order by event_id::text collate "C"}),
	"$total events: what arrived is what was committed, where SQL says");
once_in_order_ok($inflight * $starts, 4 * 13, @records);
is(sql(q{select count(*) from sentinai.dead_letter}), '0', 'no dead letters');

$node->stop;
$kafka->stop;
done_testing();
