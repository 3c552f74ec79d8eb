# test/kafka/005_topics.pl: a topic that is deleted under a running relay, and one
# whose right to write is taken away for a while, in a real broker.
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

my $unslept = 120;    # seconds within which anything here has to happen
# whoever is not named in a rule about a topic may do everything with it
my $kafka = KafkaNode->new("$PostgreSQL::Test::Utils::tmp_check/kafka_topics",
	'authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer',
	'super.users=User:admin', 'allow.everyone.if.no.acl.found=true');
my $node = new_node('kafka_topics',
	"sentinai.kafka_conf = 'bootstrap.servers=@{[$kafka->bootstrap]},topic.metadata.propagation.max.ms=3000'",
	'sentinai.relay_inflight = 200', 'sentinai.topic_partitions = 3',
	'sentinai.launcher_naptime = 1s');
my %count;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# publish(N, TYPE...): N more events of each of 10 keys of each type in turn
sub publish
{
	my ($n, @types) = @_;
	my $types = join ',', @types;
	my $before = join ',', map { $count{$_} // 0 } @types;

	$count{$_} += $n foreach @types;
	sql(qq{
		do \$\$ begin
			for n in 1 .. $n loop
				perform sentinai.publish('Counted', 'acme', 'k' || k,
					jsonb_build_object('n', t.before + n), t.type)
				from generate_series(1, 10) k,
					unnest('{$types}'::text[], '{$before}'::int[]) t (type, before);
				commit;
			end loop;
		end \$\$});
	return;
}

# numbers(TYPE): of the first copies that arrived, by key
sub numbers
{
	my (%seen, %numbers);

	foreach my $record ($kafka->records("sentinai.$_[0]"))
	{
		next if $seen{ $record->{headers}{ce_id} }++;
		push @{ $numbers{ $record->{key} } }, $record->{value} =~ /"n": ?(\d+)/;
	}
	return \%numbers;
}

# arrived(TYPE, FROM, NAME): tests that all from a number on arrive, in order
sub arrived
{
	my ($type, $from, $name) = @_;
	my %want = map { ("acme:k$_" => [ $from .. $count{$type} ]) } 1 .. 10;
	my $got;

	wait_for($unslept, sub {
		$got = numbers($type);
		return 10 == grep { ($_->[-1] // 0) == $count{$type} } values %$got;
	});
	is_deeply($got, \%want, $name)
	  or diag(sql('select * from sentinai.stat_relay'));
	return;
}

sub idle
{
	worked_off_ok($node, 'postgres', $unslept,
		'select lag_events = 0 from sentinai.stat_relay', 'all is sent');
	return;
}

sql('create extension sentinai');
publish(20, qw(gone fine));
arrived($_, 1, "$_: all arrive") foreach qw(gone fine);
idle();

# What is in a deleted topic is gone with it; the relay makes it again.
$kafka->tool('delete', 'sentinai.gone');
publish(20, qw(gone fine));
arrived('fine', 1, 'the topic beside a deleted one goes on');
arrived('gone', 21, 'the deleted topic is made again and gets what came since');
idle();
is(sql('select count(*) from sentinai.dead_letter'), '0', 'no dead letters');

# the right to write is somebody else's for some seconds
my @right = ('--topic', 'sentinai.denied', '--allow-principal', 'User:other',
	'--operation', 'Write');
publish(20, qw(denied fine));
arrived('denied', 1, 'denied: all arrive before');
idle();
$kafka->tool('acl', '--add', @right);
publish(50, qw(denied fine));
arrived('fine', 1, 'the topic beside a forbidden one goes on');
poll_ok($node, 'postgres', $unslept, q{
	select topic = 'sentinai.denied' and reason ~* 'authorization'
	from sentinai.stat_relay_topic}, 'stat_relay_topic says what waits and why');
poll_ok($node, 'postgres', $unslept,
	'select waiting_events = 500 from sentinai.stat_relay', 'all of it is set aside');
is(sql('select breaker from sentinai.stat_relay'), 'closed',
	'and the breaker is closed');
$kafka->tool('acl', '--remove', '--force', @right);
publish(20, qw(denied fine));
arrived($_, 1, "$_: all arrive in order") foreach qw(denied fine);
idle();
is(sql('select count(*) from sentinai.dead_letter'), '0', 'no dead letters');
is(sql('select count(*) from sentinai_internal.event_retry'), '0', 'nothing is set aside');

$node->stop;
$kafka->stop;
done_testing();
