# test/kafka/008_trace.pl: the trace of an event, through work_on() and Kafka, as
# OpenTelemetry's own propagator reads it back from the headers.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";
use JSON::PP;
use KafkaNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 90;    # seconds within which anything here has to happen
my $trace = '4bf92f3577b34da6a3ce929d0e0e4736';
my $kafka = KafkaNode->new("$PostgreSQL::Test::Utils::tmp_check/kafka_trace");
my $node = new_node('traced', "sentinai.kafka_conf = 'bootstrap.servers=@{[$kafka->bootstrap]}'");

# Its packages are pure Python; the interpreter that they were installed by may
# be one that only root can reach.
my ($place) = `"$FindBin::RealBin/../history/setup" kafka` =~ m{^(.*)/bin/python$};
local $ENV{PYTHONPATH} = join ':', glob "$place/lib/python*/site-packages";

sub sql { return $node->safe_psql('postgres', $_[0]); }

# The span of an event.
sub span_of { return substr $_[0] =~ s/-//gr, 16; }

# The headers of the records of a topic, as JSON: a tracestate has commas.
sub headers
{
	my ($topic) = @_;
	my ($out, $err);

	IPC::Run::run([ 'kcat', '-C', '-q', '-e', '-J', '-o', 'beginning', '-b', $kafka->bootstrap, '-t', $topic ],
		'<', \undef, '>', \$out, '2>', \$err)
	  or $err =~ /Unknown topic or partition/ or die "kcat: $err";
	return [ map { my %h = @{ decode_json($_)->{headers} }; \%h } split /\n/, $out ];
}

# What the propagator takes out of the records of a topic, by event id.
sub extracted
{
	my ($topic, $header, $count) = @_;
	my ($out, $err, %found);
	my $records = wait_for($unslept, sub {
		my $there = headers($topic);
		return @$there == $count ? $there : undef;
	}) // die "no $count records in $topic";

	IPC::Run::run([ 'python3', "$FindBin::RealBin/propagate.py" ], '<',
		\join('', map { encode_json($_) . "\n" } @$records), '>', \$out, '2>', \$err)
	  or die $err;
	@found{ map { $_->{$header} } @$records } = split /\n/, $out;
	return \%found;
}

sql('create extension sentinai');

my $first = sql(qq{select sentinai.publish('A', 'acme', 'a', '{}', 'one', metadata =>
	'{"traceparent": "00-$trace-00f067aa0ba902b7-01", "tracestate": "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"}')});
my $worked = sql(qq{begin; select sentinai.work_on('$first');
	select 'id ' || sentinai.publish('B', 'acme', 'b', '{}', 'one');
	select 'id ' || unnest(sentinai.publish_batch('{B,B}', '{acme,acme}', '{b,c}', '{"{}","{}"}', 'one'));
	with i as (insert into sentinai.outbox (tenant_id, aggregatetype, aggregateid, type, payload)
		values ('acme', 'one', 'd', 'B', '{}') returning id) select 'id ' || id from i; commit});
my @caused = $worked =~ /^id (.*)$/mg;
my $bad = sql(q{select sentinai.publish('C', 'acme', 'a', '{}', 'one', metadata => '{"traceparent": "00-0-0-0", "tracestate": "k=v"}')});
my $none = sql(q{select sentinai.publish('C', 'acme', 'a', '{}', 'one')});
my $later = sql(qq{select sentinai.publish('C', 'acme', 'a', '{}', 'one', metadata => '{"traceparent": "01-$trace-00f067aa0ba902b7-03-new"}')});

is(scalar @caused, 4, 'events caused by one');
my $found = extracted('sentinai.one', 'ce_id', 8);
my $state = 'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE';
is($found->{$first}, "$trace 00f067aa0ba902b7 01 $state | $trace 00f067aa0ba902b7 01 $state", 'what the application gave');
foreach my $id (@caused)
{
	my $child = "$trace @{[ span_of($id) ]} 01 $state";

	is($found->{$id}, "$child | $child", 'a child, with a span of its own');
}
like($found->{$bad}, qr/^([0-9a-f]{32}) @{[ span_of($bad) ]} 01 none \| \1 @{[ span_of($bad) ]} 01 none$/, 'a new trace');
unlike($found->{$bad}, qr/$trace/, 'and no other');
is($found->{$none}, '- | -', 'no trace, no headers');
is($found->{$later}, "$trace 00f067aa0ba902b7 03 none | $trace 00f067aa0ba902b7 03 none", 'a later version goes on as this one');

# the database knows as much: the relay is past it
ok(wait_for($unslept, sub {
	return sql("select status from sentinai.trace_tree('a', 'acme') where event_id = '$first' and worker_type = 'relay'") eq 'sent' }),
	'trace_tree() says that it was sent');

# the other formats have the plain ones
foreach my $format ('debezium', 'raw')
{
	my ($topic, $header) = ('two.' . $format, 'event_id');

	sql("alter system set sentinai.record_format = $format");
	sql("alter system set sentinai.topic_template = '$topic'");
	$node->restart;
	my $id = sql(qq{begin; select sentinai.work_on('$first'); select sentinai.publish('D', 'acme', 'a', '{}', 'two'); commit});
	$id =~ s/\s//g;
	is_deeply(extracted($topic, $header, 1), { $id => "$trace @{[ span_of($id) ]} 01 $state | -" }, "$format has the trace");
}

$node->stop;
done_testing();
