# test/tap/lib/OutsideRelay.pm: a relay "there" that changes between workers of the
# server and sentinai-relay.
# SPDX-License-Identifier: PostgreSQL
#
# A program is known by a name, as in Agents.pm; its log is $Agents::dir/NAME.log.
package OutsideRelay;

use strict;
use warnings FATAL => 'all';

use Agents ();
use Exporter 'import';
use Sentinai;
use Test::More;

our @EXPORT = qw(start_relay says at_work published_order order_and_copies);

our $unslept = 60;    # seconds within which anything here has to happen
my $relay = "$Agents::build/sentinai-relay";

# start_relay(NAME, OPTION...): a sentinai-relay
sub start_relay
{
	my ($name, @options) = @_;

	return Agents::start($name, sub {
		open STDERR, '>>', "$Agents::dir/$name.log" or POSIX::_exit(99);
		exec { $relay } $relay, '--relay', 'there', '-U', 'ferry', @options;
	});
}

# says(NAME, PATTERN): a test that its log has a line like that
sub says
{
	my ($name, $pattern) = @_;

	return ok(wait_for($unslept, sub { grep { /$pattern/ } Agents::lines("$Agents::dir/$name.log") }), "$name: $pattern");
}

# at_work(WORKERS, NAME): a test that so many send, inside the server or outside of it
sub at_work
{
	my ($workers, $name) = @_;
	my $acked = q{select coalesce(sum(acked_count), 0) from sentinai.stat_relay where relay = 'there'};
	my $sent;

	ok(wait_for($unslept, sub {
		Agents::sql(q{select string_agg(coalesce(a.backend_type, '?'), ', ' order by s.worker) from sentinai.stat_relay s left join pg_stat_activity a using (pid) where relay = 'there'}) eq $workers
	}), "$name: at work");
	$sent = Agents::sql($acked);
	return ok(wait_for($unslept, sub { Agents::sql($acked) > $sent + 50 }), "$name: sends");
}

# published_order(TYPE): "key id" of each event of a type, by key, in the order that
# the sequencer gave them
sub published_order
{
	my ($type) = @_;

	return Agents::sql(qq{
		select string_agg(aggregate_id || ' ' || event_id, E'\\n' order by aggregate_id, x.position) from (
			select l.aggregate_id, l.event_id, (s.slice_no, u.i) as position from sentinai_internal.slice s, unnest(s.event_ids) with ordinality u (id, i), sentinai.event_log l
			where s.stream_id = 0 and l.event_id = u.id and l.event_type = '$type') x});
}

# order_and_copies(PAIR...): the same of what a broker has, pairs of key and id; and
# how many came again
sub order_and_copies
{
	my (%keys, %seen);
	my $copies = 0;

	foreach my $pair (@_)
	{
		my ($key, $id) = @$pair;

		$copies++, next if $seen{$id}++;
		push @{ $keys{$key} }, $id;
	}
	return (join("\n", map { my $key = $_; map { "$key $_" } @{ $keys{$key} } } sort keys %keys), $copies);
}

1;
