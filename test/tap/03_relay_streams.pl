# Relays that filter by aggregate types, alone or beside event types and tenants: each
# sends what its filter says and nothing else, in the order of the keys, over a change
# of the filter, a restart and a crash. What it does not send it does not read either.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 30;    # seconds within which anything here has to happen
my $broker = MockBroker->new('--brokers', 1);
my $conf = 'bootstrap.servers=' . $broker->bootstrap . ",$MockBroker::soon";
my $node = new_node('streams', 'sentinai.topic_partitions = 0', 'sentinai.launcher_naptime = 1s', 'max_worker_processes = 24');

sub sql { my ($sql, $db) = @_; return $node->safe_psql($db // 'postgres', $sql); }

# What an event of a number is: its parts differ by different divisors, so that all go together.
my %part = (event_types => [qw(A B C)], tenants => [qw(acme globex)], aggregate_types => [qw(order bill note)]);
my %divisor = (event_types => 1, tenants => 3, aggregate_types => 6);

sub part_of
{
	my ($part, $n) = @_;

	return $part{$part}[ int($n / $divisor{$part}) % @{ $part{$part} } ];
}

my $published = 0;

# publish(COUNT): as many events with the next numbers, ten in a transaction
sub publish
{
	my ($count) = @_;
	my ($type, $tenant, $aggregate) = map { "('{" . join(',', @{ $part{$_} }) . "}'::text[])[1 + n / $divisor{$_} % " . @{ $part{$_} } . ']' } qw(event_types tenants aggregate_types);

	sql(qq{do \$\$ begin
		for n in $published .. $published + $count - 1 loop
			perform sentinai.publish($type, $tenant, 'k' || n % 5, jsonb_build_object('n', n), $aggregate);
			if n % 10 = 9 then commit; end if;
		end loop; end \$\$});
	$published += $count;
	return;
}

# What each relay sends: [first number, until, filter] one after the other.
my %sends;

# relay(NAME, START, FILTER): make one that sends from a number on
sub relay
{
	my ($name, $start, %filter) = @_;
	my $wants = join '', map { ", $_ => '{" . join(',', @{ $filter{$_} }) . "}'" } sort keys %filter;

	sql("select sentinai.create_relay('$name', 'kafka', '$conf', topic_template => '$name', record_format => 'raw', start_from => '$start'$wants)");
	$sends{$name} = [ [ $start eq 'earliest' ? 0 : $published, undef, \%filter ] ];
	return;
}

# alter(NAME, FILTER, ARGUMENTS): from the next number on it is another one
sub alter
{
	my ($name, $filter, $arguments) = @_;

	sql("select sentinai.alter_relay('$name', $arguments)");
	$sends{$name}[-1][1] = $published;
	push @{ $sends{$name} }, [ $published, undef, $filter ];
	return;
}

# expected(RELAY): the numbers that it has to send, of each key in order
sub expected
{
	my ($relay) = @_;
	my %of;

	foreach my $span (@{ $sends{$relay} })
	{
		my ($from, $until, $filter) = @$span;

		foreach my $n ($from .. ($until // $published) - 1)
		{
			next if grep { my $is = part_of($_, $n); !grep { $_ eq $is } @{ $filter->{$_} } } keys %$filter;
			push @{ $of{ part_of('tenants', $n) . ':k' . $n % 5 } }, $n;
		}
	}
	return \%of;
}

# sent(RELAY): the numbers that have arrived, of each key in order; each once when copies may be
sub sent
{
	my ($relay, $copies) = @_;
	my (%of, %seen);

	foreach my $r ($broker->records($relay))
	{
		next unless $r->{value} =~ /^\{"n": (\d+)\}$/;
		push @{ $of{ $r->{key} } }, $1 unless $seen{$1}++ && $copies;
	}
	return \%of;
}

sub passed_ok
{
	my ($name) = @_;

	return worked_off_ok($node, 'postgres', $unslept, q{
		select bool_and(lag_events = 0 and in_flight = 0 and waiting_events = 0) from sentinai.stat_relay where relay <> 'relay'}, $name);
}

# sent_ok(NAME, COPIES): every relay has sent what it has to
sub sent_ok
{
	my ($name, $copies) = @_;

	passed_ok("$name: passed");
	is_deeply(sent($_, $copies), expected($_), "$name: $_") foreach sort keys %sends;
	return;
}

sub pause { sql('select sentinai.' . $_[0] . "_relay('$_')") foreach sort keys %sends; return; }

# What was there before a stream was is filtered, too.
sql('create extension sentinai');
publish(90);
poll_ok($node, 'postgres', $unslept, q{select count(*) = 90 from sentinai_internal.slice, unnest(event_ids)}, 'sequenced');
relay('orders', 'earliest', aggregate_types => [qw(order)]);
relay('same', 'earliest', aggregate_types => [qw(order order)]);
relay('two', 'earliest', aggregate_types => [qw(order bill)]);
relay('typed', 'earliest', aggregate_types => [qw(order note)], event_types => [qw(A)]);
relay('owned', 'latest', aggregate_types => [qw(bill)], tenants => [qw(acme)]);
relay('narrow', 'latest', aggregate_types => [qw(order)], tenants => [qw(globex)], event_types => [qw(A B)]);
relay('types', 'latest', event_types => [qw(A)]);
relay('tenant', 'latest', tenants => [qw(acme)]);
relay('all', 'latest');
publish(90);
sent_ok('from the past and from now on');
is(sql(q{select count(distinct stream_id) || ' ' || count(*) from sentinai_internal.subscription}), '8 9', 'equal filters share a stream');
is(sql(q{select count(*) from sentinai_internal.stream where first_round is null}), '0', 'each is filled');
is(sql(q{
	select count(*) from sentinai_internal.stream f join sentinai_internal.slice s using (stream_id) cross join lateral unnest(s.event_ids) id
		join sentinai.event_log e on e.event_id = id
	where e.event_type <> all (f.event_types) or e.tenant_id <> all (f.tenants) or e.aggregate_type <> all (f.aggregate_types)}), '0', 'and has nothing that nobody wants');

# A backlog goes by the filter of its time, over a restart.
pause('pause');
publish(90);
poll_ok($node, 'postgres', $unslept, q{select unsequenced_commits = 0 from sentinai.stat_info}, 'sequenced');
is(sql(q{select lag_events from sentinai.stat_relay where relay = 'narrow'}), scalar(map { @$_ } values %{ expected('narrow') }) - scalar(map { @$_ } values %{ sent('narrow') }), 'what waits is what will be sent');
alter('orders', { aggregate_types => [qw(note)] }, q{aggregate_types => '{note}'});
alter('typed', { event_types => [qw(A)] }, 'all_aggregate_types => true');
alter('types', { event_types => [qw(A)], aggregate_types => [qw(bill)] }, q{aggregate_types => '{bill}'});
alter('all', { aggregate_types => [qw(order bill note)] }, q{aggregate_types => '{order,bill,note}'});
publish(90);
$node->restart;
publish(90);
pause('resume');
sent_ok('another filter, and a restart');

# A crash under way: copies may be, and nothing else.
publish(180);
$node->stop('immediate');
$node->start;
publish(90);
sent_ok('a crash', 'copies');

# What a relay's dead-letter topic gets is of the same aggregate type.
sql(qq{select sentinai.create_relay('strict', 'kafka', '$conf,message.max.bytes=5000', event_types => '{A}', aggregate_types => '{order}', topic_template => 'strict',
	record_options => 'dead.letter.topic=dead')});
sql(q{select sentinai.publish('A', 'acme', 'k', jsonb_build_object('t', (select string_agg(md5(i::text), '') from generate_series(1, 1000) i)), a) from unnest('{bill,order}'::text[]) a});
ok(wait_for($unslept, sub { scalar($broker->records('dead')) }), 'one is too large');
passed_ok('and all goes on');
is(scalar($broker->records('dead')), 1, 'the other was not read');
is(sql(q{select string_agg(worker_type || ' ' || aggregate_type, ',') from sentinai.dead_letter where worker_type = 'strict'}), 'strict order', 'as the letter says');

# A dump has the filters.
my $filters = q{select string_agg(concat_ws(' ', worker_type, event_types, tenants, aggregate_types), ';' order by worker_type)
	from sentinai_internal.subscription join sentinai_internal.stream using (stream_id)};
sql('create database copy');
$node->command_ok([ 'sh', '-c', 'pg_dump -Fc -p ' . $node->port . ' -h ' . $node->host . ' postgres | pg_restore -p ' . $node->port . ' -h ' . $node->host . ' -d copy' ], 'dumped and restored');
is(sql($filters, 'copy'), sql($filters), 'the filters are there');
my $before = $broker->records('orders');
sql(q{select sentinai.resume_relay('orders');
	select sentinai.publish('A', 'acme', 'k', '{"n": 1}', a) from unnest('{bill,order,note}'::text[]) a}, 'copy');
worked_off_ok($node, 'copy', $unslept, q{select bool_and(lag_events = 0 and in_flight = 0) from sentinai.stat_relay where relay = 'orders'}, 'one goes on there');
is(scalar($broker->records('orders')) - $before, 1, 'by its filter');
sql('drop database copy with (force)');

# Streams end with their last reader; who is left goes on.
sql("select sentinai.drop_relay('$_')"), delete $sends{$_} foreach qw(orders two typed owned narrow types tenant all);
sql(q{select sentinai.drop_relay('strict')});
is(sql(q{select string_agg(aggregate_types::text, ' ') from sentinai_internal.stream where stream_id > 0}), '{order}', 'one stream is left');
publish(90);
sent_ok('the others are gone', 'copies');
is(log_count($node, 'ERROR:.*XX000|PANIC:'), 0, 'no error by the way');

$node->stop;
done_testing();
