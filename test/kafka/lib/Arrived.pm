# test/kafka/lib/Arrived.pm: publishers, and whether what they published is in a
# broker.
# SPDX-License-Identifier: PostgreSQL
package Arrived;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use IPC::Run ();
use Sentinai;
use Test::More;

our @EXPORT = qw(start_publishers stop_publishers logged arrived_ok once_in_order_ok keys_of);

my $keys = 17;    # of each publisher

sub logged
{
	my ($node) = @_;

	return $node->safe_psql('postgres', 'select count(*) from sentinai.event_log');
}

# start_publishers(NODE, NUMBER, PAUSE): each has keys of its own, so a key's
# order is its counter's. It commits one event after each pause, until the table
# stop_now has gone.
sub start_publishers
{
	my ($node, $number, $pause) = @_;
	my @load;

	$node->safe_psql('postgres', 'create table stop_now ()');
	foreach my $i (1 .. $number)
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
				perform sentinai.publish('T', 'tenant-$i', 'key-' || n % $keys,
					jsonb_build_object('n', n));
				commit;
				perform pg_sleep($pause);
			end loop;
		end \$\$}
			],
			'<', \undef, '>', \my $out, '2>', \my $err);
	}
	return @load;
}

sub stop_publishers
{
	my ($node, @load) = @_;

	$node->safe_psql('postgres', 'drop table stop_now');
	ok($_->finish, 'a publisher ended without an error') foreach @load;
	return;
}

# arrived_ok(BROKER, NODE, TOPIC, SECONDS): tests that what arrives is what was
# committed. Its records.
sub arrived_ok
{
	my ($broker, $node, $topic, $seconds) = @_;
	my $total = logged($node);
	my (@records, %seen);

	wait_for($seconds, sub {
		@records = $broker->records($topic);
		%seen = map { $_->{headers}{ce_id} => 1 } @records;
		return keys %seen >= $total;
	});
	is(join("\n", sort keys %seen),
		$node->safe_psql('postgres', 'select event_id from sentinai.event_log order by event_id::text collate "C"'),
		"$total events: what arrived is what was committed");
	return @records;
}

# once_in_order_ok(COPIES, KEYS, RECORD...): tests that there are so few copies,
# and that first ones are in order: a copy of what was in flight may come later.
sub once_in_order_ok
{
	my ($most, $want, @records) = @_;
	my (%first, %last);
	my ($back, $copies) = (0, 0);

	foreach my $record (@records)
	{
		my ($n) = $record->{value} =~ /"n": ?(\d+)/;

		if ($first{ $record->{headers}{ce_id} }++)
		{
			$copies++;
			next;
		}
		$back++ if $n <= ($last{ $record->{key} } // 0);
		$last{ $record->{key} } = $n;
	}
	cmp_ok($copies, '<=', $most, "$copies copies, only of what was in flight");
	is($back, 0, 'no event of a key came before an earlier one');
	is(scalar keys %last, $want, 'every key was seen');
	return;
}

# keys_of(NUMBER): how many keys so many publishers have
sub keys_of
{
	my ($number) = @_;

	return $number * $keys;
}

1;
