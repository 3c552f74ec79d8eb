# SPDX-License-Identifier: PostgreSQL
# sentinai-trace: draws a flow for terminals, as SVG, Mermaid and OTLP, whatever
# names and errors consist of.
use strict;
use warnings FATAL => 'all';

use Encode qw(decode);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Agents;

my $node = PostgreSQL::Test::Cluster->new('trace');
my $trace = "$build/sentinai-trace";
my $id = '4bf92f3577b34da6a3ce929d0e0e4736';

$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sentinai'");
$node->start;
$node->safe_psql('postgres', 'create extension sentinai');
use_node($node);

# run(ARGS): exit status, output, errors.
sub run
{
	my ($out, $err);

	IPC::Run::run([ $trace, @_ ], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout($limit));
	return ($? >> 8, $out, $err);
}

# A flow: a caused b and c, b caused d; and one of another tenant.
my $publish = 'select sentinai.publish';
my $a = sql(qq{$publish('A', 'acme', 'flow', '{}', metadata => '{"traceparent": "00-$id-00f067aa0ba902b7-01"}')});
my @caused = split /\n/, sql(qq{begin; select sentinai.work_on('$a');
	$publish('B', 'acme', 'b', '{}'); $publish('C', 'acme', 'c', '{}'); $publish('X', 'other', 'x', '{}'); commit}) =~ s/^\n//r;
my ($b, $c) = grep { /-/ } @caused;
sql(qq{begin; select sentinai.work_on('$b'); $publish('D', 'acme', null, '{}'); commit});
my ($status, $out, $err) = run('flow', '-t', 'acme');
is($status, 0, 'a flow');
$out =~ s/\+[\d.]+ \S+/+N/g;
$out =~ s/\d{4}-\S+Z/T/g;
is($out, "A acme exception flow  T\n├─ B acme exception b  +N\n│  └─ D acme  +N\n└─ C acme exception c  +N\n", 'as a tree');
like((run('flow'))[1], qr/X other exception x/, 'of all tenants');
like((run('flow', '--tenant=other'))[1], qr/^X other exception x  \d{4}-[^\n]*Z\n$/, 'of another');
($status, $out, $err) = run('flow', '-n', '2', '-t', 'acme');
is(() = $out =~ /\n/g, 2, 'the oldest');
is("$status $err", "0 sentinai-trace: --max-events=2 is reached: newer events are not drawn\n", 'which is said');
is((run('flow', '-n', '5', '-t', 'acme'))[2], '', 'and not where all are drawn');

# Arguments
is(join('|', (run('nothing'))[ 0, 1 ]), '1|', 'no such flow');
is((run('flow', '-t', 'none'))[0], 1, 'of nobody');
is((run())[0], 64, 'no name');
is((run('a', 'b'))[0], 64, 'two names');
is((run('--nonsense', 'a'))[0], 64, 'no such option');
is((run('a', '--interval=x'))[0], 64, 'no time');
is((run('a', '-n'))[0], 64, 'no number');
is((run('a', '-n', '0'))[0], 1, 'no events');
like((run('a', '-n', '0'))[2], qr/^sentinai-trace: ERROR:  max_events/, 'which the server refuses');
like((run('a', '-d', 'nosuchdb'))[2], qr/does not exist/, 'no such database');
like((run('--version'))[1], qr/^sentinai-trace \d/, '--version');
like((run($_))[1], qr/^Usage: .*--otlp/s, $_) foreach ('--help', '-?');

# What became of it
sql("select sentinai.subscribe('bill', '{E}', 'earliest', max_attempts => 1)");
sql("select sentinai.subscribe('ship', '{E}', 'earliest')");
my $e = sql("$publish('E', 'acme', 'e', '{}')");
my $evil = q{<script>alert("1")</script> ]]> --> & ' `x` |y| e0["z"]};
(my $quoted = $evil) =~ s/'/''/g;
foreach my $worker ('bill', 'ship')
{
	my $token = wait_for('a claim', sub { sql("select token from sentinai.claim('$worker', worker_id => '$quoted')") });
	sql($worker eq 'bill' ? "select sentinai.fail('$token', '$e', E'\\x1b[2Jgone\\u202e$quoted\\x7f')"
		: "select sentinai.complete('$token')");
}
($status, $out) = run('e');
like($out, qr/bill dead after [\d.]+ \S+ \S*gone\S*\Q$evil\E/, 'a dead letter');
like($out, qr/ship completed after [\d.]+ \S+ by \Q$evil\E\n/, 'a completion');
unlike($out, qr/[\x00-\x09\x0b-\x1f\x7f]|\xe2\x80\xae/, 'nothing that a terminal would act on');

# Hostile names in every form
my @hostile = ($evil, '$(rm -rf)', '%s%n', "\\u{1b}", 'A"]; click e0 "javascript:alert(1)"', '日本語 ü 🧀', '%%{init: {}}%%', 'x' x 1000);
foreach my $name (@hostile)
{
	(my $q = $name) =~ s/'/''/g;
	sql("$publish('H', 'hostile', '$q', '{}', correlation_id => 'hostile')");
}
($status, $out) = run('hostile');
is(() = $out =~ /\n/g, scalar @hostile, 'one line each');
like($out, qr/\Q$_\E/, 'as it is') foreach @hostile;

# What publish() refuses may be there all the same
sql(q{insert into sentinai_internal.event_log (event_id, txid, occurred_at, partition_hash, schema_version, run,
	tenant_id, aggregate_type, aggregate_id, event_type, correlation_id, payload, metadata)
	select overlay(event_id::text placing 'ffffffffffff' from 25)::uuid, 1, now(), 1, 1, 0, 'raw',
	E'\\x1b[2J\\r', E'\\x07\\u202e\\u2028\\ue000\\U000e0001', E'\\x7f\\u0085\\n', 'raw', '{}', jsonb_build_object('traceparent', '00-' || repeat('1', 32) || '-xx","evil":"1","-01')
	from sentinai.event_log where event_type = 'A'});
($status, $out) = run('raw');
like($out, qr/^\\u\{7f\}\\u\{85\}\\u\{a\} raw \\u\{1b\}\[2J\\u\{d\} \\u\{7\}\\u\{202e\}\\u\{2028\}\xee\x80\x80\\u\{e0001\}  [^\n]*\n$/, 'what is active is a number');
foreach my $form ('--svg', '--mermaid')
{
	($status, $out) = run('raw', $form);
	unlike($out, qr/[\x00-\x09\x0b-\x1f\x7f]|\xc2\x85|\xe2\x80[\xa8\xae]|\xf3\xa0/, "$form has nothing active");
}
my $raw = decode_json((run('raw', '--otlp'))[1])->{resourceSpans}[0]{scopeSpans}[0]{spans}[0];
is($raw->{name}, "publish \x7f\x85\n", '--otlp has it as JSON');
is(join(' ', grep { exists $raw->{$_} } qw(evil parentSpanId)), '', 'and nothing of a traceparent that is none');

# SVG: well-formed, and all names are text
($status, $out) = run('hostile', '--svg');
is($status, 0, 'SVG');
my $text = decode('UTF-8', $out, Encode::FB_CROAK);
my ($elements, $bad) = (0, 0);
foreach my $piece ($text =~ /(<[^>]*>|[^<]+)/gs)
{
	$elements++ if $piece =~ /^<text/;
	$bad++ if $piece =~ /^</
	  ? $piece !~ m{^(?:<\?xml version="1\.0" encoding="UTF-8"\?>|</?(?:svg|text|rect)(?: [a-z-]+="[^"<>&]*")*/?>)$}
	  : $piece =~ /[<>"']|&(?!#\d+;)/ && $piece =~ /\S/;
}
is($bad, 0, 'nothing but our own markup');
is($elements, @hostile + 2, 'a text for each event, and the scale');
unlike($out, qr/script>|javascript:alert\("/, 'no script');
($status, $out) = run('e', '--svg');
unlike($out, qr/[\x00-\x09\x0b-\x1f\x7f]|\xe2\x80\xae|<script/, 'nor in errors');
like($out, qr/&#60;script&#62;/, 'which are shown as text');

# Mermaid: nodes with numbers for names, labels without a sign of the language
($status, $out) = run('hostile', '--mermaid');
my @lines = split /\n/, $out;
is(shift @lines, 'flowchart TD', 'Mermaid');
is((grep { !/^    e\d+\["(?:[A-Za-z0-9 ]|[\x80-\xff]|#\d+;)*"\]$/ } @lines), 0, 'one node for each line');
is(@lines, @hostile, 'for each event');
($status, $out) = run('flow', '--mermaid', '-t', 'acme');
like($out, qr/^    e0 -->\|"\+[\d.]+ [^"]+"\| e1$/m, 'with edges');
like((run('e', '--mermaid'))[1], qr/<br\/>bill dead after /, 'and what became of it');

# OTLP
($status, $out) = run('flow', '--otlp', '-t', 'acme');
my $otlp = decode_json($out);
my @spans = @{ $otlp->{resourceSpans}[0]{scopeSpans}[0]{spans} };
my %span = map { $_->{name} => $_ } @spans;
sub span_of { return substr $_[0] =~ s/-//gr, 16; }
is(join(' ', map { $_->{name} } @spans), 'publish A publish B publish D publish C', 'OTLP: a span for each event');
is((grep { $_->{traceId} ne $id } @spans), 0, 'in the trace');
is($span{'publish A'}{spanId}, span_of($a), 'with spans of their own');
is($span{'publish A'}{parentSpanId}, '00f067aa0ba902b7', 'below that of the application');
is($span{'publish B'}{parentSpanId}, span_of($a), 'and of their causes');
is($span{'publish D'}{parentSpanId}, span_of($b), 'and theirs');
is($span{'publish B'}{startTimeUnixNano},
	sql("select (extract(epoch from occurred_at) * 1000000)::bigint || '000' from sentinai.event_log where event_id = '$b'"), 'at their times');
@spans = @{ decode_json((run('e', '--otlp'))[1])->{resourceSpans}[0]{scopeSpans}[0]{spans} };
%span = map { $_->{name} => $_ } @spans;
is($span{'publish E'}{traceId}, $e =~ s/-//gr, 'no trace: one that the event names');
ok(!exists $span{'publish E'}{parentSpanId}, 'with no span above');
is($span{'process bill'}{parentSpanId}, span_of($e), 'work is below its event');
is($span{'process bill'}{status}{code}, 2, 'a death is an error');
ok(!exists $span{'process ship'}{status}, 'a completion is none');
isnt($span{'process ship'}{spanId}, $span{'process bill'}{spanId}, 'each has a span');
cmp_ok($span{'process ship'}{endTimeUnixNano}, '>', $span{'process ship'}{startTimeUnixNano}, 'that lasts');
is(scalar @{ decode_json((run('hostile', '--otlp'))[1])->{resourceSpans}[0]{scopeSpans}[0]{spans} }, scalar @hostile, 'hostile names are JSON');

# 10,000 events: a chain as deep, and as many leaves
sql(q{do $$ declare id uuid; begin
	for i in 1..3000 loop id := sentinai.publish('N', 'long', 'n' || i, '{}', correlation_id => 'long', causation_id => id); end loop;
	perform sentinai.publish_batch(array_fill('L'::text, array[7000]), array_fill('long'::text, array[7000]),
		array(select 'l' || i from generate_series(1, 7000) i), array_fill('{}'::jsonb, array[7000]),
		correlation_ids => array_fill('long'::text, array[7000])); end $$});
foreach my $form ('', '--svg', '--mermaid', '--otlp')
{
	($status, $out) = run('long', '-n', '10000', '-t', 'long', $form ? $form : ());
	is($status, 0, "10,000 events $form");
	is(() = $out =~ /n3000\b/g, $form eq '--otlp' ? 1 : 1, 'down to the last');
	cmp_ok(length $out, '<', 8_000_000, 'and no more than that');
}
is((run('long', '-n', '10000', '-t', 'long'))[1] =~ tr/\n//, 10000, 'a line each');

# --follow
my ($grown, $errors) = ('', '');
my $harness = IPC::Run::start([ $trace, 'grows', '--follow', '--interval', '50ms', '--idle', '20s' ], '<', \undef, '>', \$grown, '2>', \$errors);
my $first = sql("$publish('First', 'acme', 'grows', '{}')");
wait_for('the first event', sub { $harness->pump_nb; $grown =~ /^First acme/ });
sql("$publish('Second', 'acme', 'other', '{}', correlation_id => 'grows', causation_id => '$first')");
wait_for('the second one', sub { $harness->pump_nb; $grown =~ /\n\nFirst acme [^\n]*\n└─ Second/ });
$harness->signal('INT');
$harness->finish;
ok(!$harness->full_result, '--follow draws it when it grows, until it is stopped');
is($errors, '', 'without complaints');
($status, $out, $err) = run('grows', '-n', '1', '--follow', '--interval', '20ms', '--idle', '100ms');
like("$status $err", qr/^0 sentinai-trace: --max-events=1 is reached/, 'but for what it cannot draw');
is((run('grows', '--follow', '--interval', '20ms', '--idle', '100ms'))[0], 0, 'or nothing has changed for so long');
$harness = IPC::Run::start([ $trace, 'grows', '-f', '--interval', '50ms' ], '<', \undef, '>', \$grown, '2>', \$errors);
wait_for('it to run', sub { $harness->pump_nb; $grown =~ /Second/ });
$node->stop('immediate');
$harness->finish;
is($harness->full_result >> 8, 1, 'the server is gone');
like($errors, qr/^sentinai-trace: /m, 'which it says');

done_testing();
