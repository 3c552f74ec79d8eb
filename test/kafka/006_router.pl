# test/kafka/006_router.pl: the debezium format is what Debezium's own event
# router makes of the same rows, byte for byte.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run ();
use lib "$FindBin::RealBin/lib";
use KafkaNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 60;    # seconds within which anything here has to happen
my $partitions = 7;
my $page = "$FindBin::RealBin/../../docs/kafka.md";

is(system("$FindBin::RealBin/kafka.sh", 'router'),
	0, 'test/data/router.tsv equals what Debezium\'s router makes');

my @rows = map { chomp; [ split /\t/ ] } do
{
	open my $file, '<', "$FindBin::RealBin/../data/router.tsv" or die $!;
	readline $file;
};
my $kafka = KafkaNode->new("$PostgreSQL::Test::Utils::tmp_check/kafka_router");
my $node = new_node('router',
	"sentinai.kafka_conf = 'bootstrap.servers=@{[$kafka->bootstrap]}'",
	"sentinai.record_format = 'debezium'", "sentinai.topic_partitions = $partitions",
	'sentinai.launcher_naptime = 1s');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# text(HEX): the same as an expression in SQL
sub text { return "convert_from('\\x$_[0]', 'UTF8')"; }

# records(TOPIC): all of them, none if there is no such topic
sub records
{
	my ($topic) = @_;
	my ($out, $err);

	IPC::Run::run([ 'kcat', '-C', '-q', '-e', '-o', 'beginning', '-b', $kafka->bootstrap,
		'-t', $topic, '-J' ], '<', \undef, '>', \$out, '2>', \$err)
	  or $err =~ /Unknown topic or partition/
	  or die "kcat: $err";
	return map { decode($_) } split /\n/, $out;
}

# hex_of(JSON): the bytes of a string in kcat's output
sub hex_of
{
	my ($text) = @_;
	my %meaning = (n => "\n", t => "\t", r => "\r", b => "\b", f => "\f");

	$text =~ s{\\(u([0-9a-fA-F]{4})|.)}{defined $2 ? chr(hex $2) : $meaning{$1} // $1}ge;
	return unpack 'H*', $text;
}

# decode(LINE): partition, and hex of what is in a record
sub decode
{
	my ($line) = @_;
	my $string = qr/"((?:[^"\\]|\\.)*)"/;
	my %record;

	($record{partition}) = $line =~ /"partition":(\d+)/ or die $line;
	my ($headers) = $line =~ /"headers":\[((?:$string,?)*)\]/ or die $line;
	$record{headers} = [];
	while ($headers =~ /\G$string,$string,?/g)
	{
		push @{ $record{headers} }, "$1=" . hex_of($2);
	}
	($record{key}) = map { hex_of($_) } $line =~ /"key":$string,"payload"/;
	($record{value}) = map { hex_of($_) } $line =~ /"payload":$string\}$/;
	return \%record;
}

sql('create extension sentinai');
sql(join ";\n", map {
	my ($id, $aggregatetype, $aggregateid, $type, $payload) = @$_;

	"insert into sentinai.outbox (id, tenant_id, aggregatetype, aggregateid, type, payload) values ('$id', 'acme', "
	  . join(', ', map { text($_) } $aggregatetype, $aggregateid, $type) . ', ' . text($payload) . '::jsonb)';
} @rows);

# two more: without an id of the application, and without an aggregate
my $own = sql(q{insert into sentinai.outbox (tenant_id, aggregatetype, aggregateid, type, payload)
	values ('acme', 'router', 'no id', 'T', '{}') returning id});
my $bare = sql(q{select sentinai.publish('T', 'acme', null, '{}', 'router')});

my %topics = map { $_->[5] => 1 } @rows;
my @records;
ok(wait_for($unslept, sub {
	@records = map { my $t = $_; map { { %$_, topic => $t } } records($t) } sort keys %topics;
	return @records == @rows + 2;
}), 'all arrived') or diag(scalar(@records) . ' of ' . (@rows + 2));
my %by_id = map { $_->{headers}[0] => $_ } @records;

foreach my $row (@rows)
{
	my ($id, $aggregatetype, $aggregateid, $type, $payload, $topic, $key, $value, @headers) = @$row;
	my $record = $by_id{ 'id=' . unpack 'H*', $id };
	my @got = @{ $record->{headers} };
	my $event = pop @got;

	is("$record->{topic} $record->{key} $record->{value} @got", "$topic $key $value @headers",
		"the record of $id is the router's");
	like($event, qr/^event_id=/, 'and has the event id besides');
}
is(sql(q{select string_agg(event_id::text, ' ' order by event_id) from sentinai.event_log}),
	join(' ', sort map { pack 'H*', $_->{headers}[2] =~ s/event_id=//r } @records),
	'these are the ids of the log');
is(join(' ', map { pack 'H*', s/.*=//r } @{ $by_id{ 'id=' . unpack 'H*', $own }{headers} }),
	"$own T $own", 'without an id of the application it is the event\'s');
is(pack('H*', $by_id{ 'id=' . unpack 'H*', $bare }{key}), 'acme', 'without an aggregate the key is the tenant');

# the page's expression for the partition
my ($expression) = slurp_file($page) =~ /^select (\(sentinai\.partition_hash\(.*)% 12 as partition;$/m;
ok(defined $expression, 'the page tells the partition');
foreach my $record (@records)
{
	(my $query = "select $expression % $partitions") =~ s/'A-1'/@{[text($record->{key})]}/;
	$record->{expected} = sql($query);
}
is(join(' ', map { $_->{partition} } @records), join(' ', map { $_->{expected} } @records),
	'every record is in that partition');

$node->stop;
$kafka->stop;
done_testing();
