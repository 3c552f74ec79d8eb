# test/kafka/003_broker_lost.pl: kill -9 of the broker under load. Publishers
# go on, and after it is back everything arrives, in order per key.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";
use KafkaNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $topic = 'sentinai.exception';
my $unslept = 90;    # seconds within which anything here has to happen
my $publishers = 3;
my $inflight = 500;
my $kafka = KafkaNode->new("$PostgreSQL::Test::Utils::tmp_check/kafka_broker_lost");
my $node = PostgreSQL::Test::Cluster->new('broker_lost');

$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'sentinai'
sentinai.kafka_conf = 'bootstrap.servers=@{[$kafka->bootstrap]},reconnect.backoff.max.ms=500'
sentinai.relay_inflight = $inflight
sentinai.breaker_open_time = '1s'
});
$node->start;
$node->safe_psql('postgres', q{
	create extension sentinai;
	create table stop_now ();
});

# Wait until the code gives a true value, and die when it does not.
sub await
{
	my ($what, $code) = @_;

	return wait_for($unslept, $code) || die "timed out waiting for $what";
}

sub logged { return $node->safe_psql('postgres', 'select count(*) from sentinai.event_log'); }

# Each publisher has keys of its own, so a key's order is its counter's. It
# commits one event at a time until the table stop_now has gone.
my @load;
foreach my $number (1 .. $publishers)
{
	push @load, IPC::Run::start(
		[
			'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d',
			$node->connstr('postgres'), '-c', qq{
	do \$\$
	declare n int := 0;
	begin
		while to_regclass('stop_now') is not null and n < 200000 loop
			n := n + 1;
			perform sentinai.publish('T', 'tenant-$number', 'key-' || n % 17,
				jsonb_build_object('n', n));
			commit;
			perform pg_sleep(0.002);
		end loop;
	end \$\$}
		],
		'<', \undef, '>', \my $out, '2>', \my $err);
}

await('the first records', sub {
	$kafka->records($topic, 300) >= 300;
});
$kafka->kill9;
my $at_kill = logged();
await('publishers to go on without a broker', sub { logged() > $at_kill + 1000 });
pass('publishers go on while the broker is gone');
$kafka->start;

my $after = logged();
await('load after the return', sub { logged() > $after + 500 });
$node->safe_psql('postgres', 'drop table stop_now');
ok($_->finish, 'a publisher ended without an error') foreach @load;

my $total = logged();
my (@records, %seen);
await('every event in the broker', sub {
	@records = $kafka->records($topic);
	%seen = map { $_->{headers}{ce_id} => 1 } @records;
	keys %seen >= $total;
});

is( join("\n", sort keys %seen),
	$node->safe_psql('postgres', 'select event_id from sentinai.event_log order by event_id::text collate "C"'),
	'what arrived is what was committed');
cmp_ok(@records - keys %seen, '<=', $inflight,
	'copies only of what was in flight');

# First copies only: a copy of what was in flight may come later.
my (%first, %last, $back);
foreach my $record (@records)
{
	my ($n) = $record->{value} =~ /"n": ?(\d+)/;

	next if $first{ $record->{headers}{ce_id} }++;
	$back++ if $n <= ($last{ $record->{key} } // 0);
	$last{ $record->{key} } = $n;
}
is($back // 0, 0, 'no event of a key came before an earlier one');
is(scalar keys %last, 17 * $publishers, 'every key was seen');

$node->stop;
$kafka->stop;
done_testing();
