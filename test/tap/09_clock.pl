# The machine's clock is set while the server runs: a step ends no lease and
# keeps nothing that is lost or waits for its retry from being handed out.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my ($faketime) = glob '/usr/lib/*/faketime/libfaketime.so.1';
plan skip_all => 'libfaketime is not installed' unless $faketime;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $clock = "$dir/clock";
# workers of PostgreSQL 15 would see the true time, see there
my $select = "$dir/select.so";
system_or_bail(split(' ', $ENV{CC} // 'cc'), '-D_GNU_SOURCE', '-fPIC', '-shared',
	'-o', $select, 'test/history/select.c');
my $running;
my $one = q{select count(*) = 1 from sentinai.claim('w', 10, '1 hour')};
my $node = new_node('clock', 'sentinai.launcher_naptime = 1s');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Set the clock so many seconds ahead of the right time, and wait until the
# server shows it.
sub set_clock
{
	my ($ahead) = @_;

	open my $out, '>', "$clock.new" or die $!;
	printf $out "%+d\n", $ahead;
	close $out;
	rename "$clock.new", $clock or die $!;
	return unless $running;
	# backends, and the sequencer, which needs something to do
	my $near = '- ' . (time + $ahead) . ') < 60';
	$node->poll_query_until('postgres', "
		select abs(extract(epoch from clock_timestamp()) $near
			and abs(extract(epoch from last_round_at) $near
		from sentinai.stat_info,
			sentinai.publish('Tick', 't', null, '{}') tick
		where tick is not null")
	  or die "the clock is not $ahead seconds ahead";
	return;
}

sub expired { return sql("select expired from sentinai.stat_agent where worker_type = 'w'"); }

sub claim
{
	my ($lease) = @_;

	return sql("select coalesce(min(token), '') from sentinai.claim('w', 10, '$lease')");
}

set_clock(0);
$node->stop;
{
	local @ENV{qw(LD_PRELOAD FAKETIME_TIMESTAMP_FILE FAKETIME_CACHE_DURATION
		FAKETIME_DONT_FAKE_MONOTONIC)} = ("$select:$faketime", $clock, 1, 1);
	$node->start;
	$running = 1;
}
sql(q{create extension sentinai;
	select sentinai.subscribe('w', '{A}', backoff => '{100ms}');
	select sentinai.publish('A', 't', 'k', '{}')});

# forward
my $token = claim('1 hour');
isnt($token, '', 'a batch is handed out');
set_clock(7200);
is(claim('1 hour'), '', 'a clock two hours ahead ends no lease');
is(expired(), 'f', 'and stat_agent does not say so');
is(sql("select sentinai.complete('$token')"), 1, 'its holder completes');

# back, with the batch of an agent that is gone
sql("select sentinai.publish('A', 't', 'k', '{}')");
isnt(claim('1 second'), '', 'the next batch');
set_clock(0);
ok(wait_for(30, sub { expired() eq 't' }),
	'set back two hours, stat_agent says that a lease has ended');
poll_ok($node, 'postgres', 30, $one,
	'and the lost batch is handed out again');

# back, with an event that waits for its retry, and events to sequence
sql(q{select sentinai.publish('A', 't', 'other', '{}')});
$token = claim('1 hour');
is( sql("select sentinai.fail('$token', event_id, 'not yet') "
		  . 'from sentinai.event_log order by event_id desc limit 1'),
	'retrying',
	'an event failed');
set_clock(-7200);
poll_ok($node, 'postgres', 30, $one, 'set back, it is tried again');
sql(q{select sentinai.publish('A', 't', 'third', '{}')});
poll_ok($node, 'postgres', 30, $one, 'and rounds are taken');

$node->stop;
done_testing();
