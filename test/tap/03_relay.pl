# The relay against a broker in memory: what arrives, in what order, and what
# it does when the broker, a setting or the process itself fails.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use File::Basename qw(dirname);
use IPC::Run ();
use JSON::PP ();
use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;
use Time::HiRes qw(time);

my $unslept = 30;    # seconds within which anything here has to happen
my $inflight = 300;
my $broker = MockBroker->new('--brokers', 1);
my $secret = 'c0ffee5ec4e7';
my $secret_file = PostgreSQL::Test::Utils::tempdir() . '/password';

open my $file, '>', $secret_file or die $!;
print $file "$secret\n";
close $file;
chmod 0600, $secret_file;

my $conf = join(',', 'bootstrap.servers=' . $broker->bootstrap,
	'reconnect.backoff.ms=50', 'reconnect.backoff.max.ms=200',
	'message.max.bytes=100000', "sasl.password.file=$secret_file");
my $node = new_node('relay', "sentinai.kafka_conf = '$conf'",
	"sentinai.control_topic = 'sentinai.control'",
	"sentinai.secret_directory = '@{[dirname($secret_file)]}'",
	"sentinai.relay_inflight = $inflight", 'sentinai.topic_partitions = 0',
	'sentinai.breaker_failures = 3', 'sentinai.breaker_open_time = 1s',
	'sentinai.launcher_naptime = 1s', "include_if_exists 'test.conf'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

# relay(COLUMN): a column of stat_relay's first row
sub relay { return sql("select $_[0] from sentinai.stat_relay where worker = 0"); }

my %settings;

# set_one(NAME, VALUE): a setting of the server, beside those set before
sub set_one
{
	my ($name, $value) = @_;

	$settings{$name} = $value;
	set_conf_now($node, $unslept, map { "$_ = '$settings{$_}'" } sort keys %settings);
	return;
}

my %counter;

# publish(TYPE, KEYS, N): N events of each of some keys, all in one transaction
# per event; a key's payloads count on.
sub publish
{
	my ($type, $keys, $n) = @_;
	my $from = ($counter{$type} //= 0) + 1;
	my $to = $counter{$type} += $n;

	sql(qq{
		do \$\$ begin
			for n in $from .. $to loop
				perform sentinai.publish('Counted', 'acme', 'k' || k,
					jsonb_build_object('n', n), '$type')
				from generate_series(1, $keys) k;
				commit;
			end loop;
		end \$\$});
	return;
}

# disorder(RECORDS): first occurrences that come after a later one of their key
sub disorder
{
	my (%seen, %last);
	my $bad = 0;

	foreach my $record (@_)
	{
		my ($n) = $record->{value} =~ /"n": ?(\d+)/;

		next if !defined $n || $seen{"$record->{key} $n"}++;
		$bad++ if $n != ($last{ $record->{key} } // 0) + 1;
		$last{ $record->{key} } = $n;
	}
	return $bad;
}

# arrived_ok(TYPE, KEYS, COPIES, NAME): tests that all events of a type arrive,
# in order, and with how many copies at most. Gives back the records.
sub arrived_ok
{
	my ($type, $keys, $copies, $name) = @_;
	my $want = $keys * $counter{$type};
	my @records;

	wait_for($unslept, sub {
		my %ids;

		@records = $broker->records("sentinai.$type");
		$ids{ $_->{headers}{ce_id} }++ foreach @records;
		return keys %ids >= $want;
	});
	my %ids = map { $_->{headers}{ce_id} => 1 } @records;
	is(keys %ids, $want, "$name: all arrived")
	  or diag(sql('select * from sentinai.stat_relay'));
	is(disorder(@records), 0, "$name: in order");
	cmp_ok(@records - keys %ids, '<=', $copies, "$name: copies");
	return @records;
}

sub relay_pid { return wait_for($unslept, sub { relay('pid') }); }

sql('create extension sentinai');

# what a record is made of
{
	my $id = sql(q{
		select sentinai.publish('Ordered', 'acme', 'köln-1', '{"a": 1}', 'order',
			'{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}',
			'corr-1', '019aac3c-7d3f-7c52-9d0f-5b1a6f0c9e11')});
	my @records;

	wait_for($unslept, sub { @records = $broker->records('sentinai.order') });
	is(scalar @records, 1, 'an event reaches its topic');
	my $record = $records[0];
	my $headers = $record->{headers};
	is($record->{key}, 'acme:köln-1', 'with its key');
	is($record->{value}, '{"a": 1}', 'and its payload');
	is($record->{partition},
		sql("select sentinai.partition_for('acme', 'köln-1', 4)"),
		'in the partition that partition_for() says');
	like(delete $headers->{ce_time}, qr/^\d{4}-\d\d-\d\dT[\d:.]+Z$/,
		'ce_time is a time');
	is_deeply($headers,
		{
			ce_specversion => '1.0',
			ce_id => $id,
			ce_source => '/sentinai/postgres/acme',
			ce_type => 'Ordered',
			ce_subject => 'köln-1',
			ce_tenantid => 'acme',
			ce_correlationid => 'corr-1',
			ce_causationid => '019aac3c-7d3f-7c52-9d0f-5b1a6f0c9e11',
			ce_dataschema => 'urn:sentinai:schema:Ordered:1',
			ce_partitionkey => 'acme:köln-1',
			'content-type' => 'application/json',
			traceparent => '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
			ce_traceparent => '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
		}, 'and all its headers');
}

# what asyncapi() says of topics, brokers and records is what is there
{
	sql(q{
		select sentinai.register_event_type('Api:Told', '{"type": "object"}');
		select sentinai.register_event_type('Api:Told', '{"required": ["a"], "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "integer"}}}', compatibility => 'none');
		select sentinai.publish('Api:Told', 'acme', 'A-1', '{"a": 1}', 'told',
			'{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=1"}',
			causation_id => gen_random_uuid()),
			sentinai.publish('Api:Told', 'acme', null, '{}', 'told', schema_version => 1)});
	my @records;

	wait_for($unslept, sub { @records = $broker->records('sentinai.told'); @records == 2 });
	my ($second) = grep { $_->{key} eq 'acme:A-1' } @records;
	is($second->{headers}{ce_dataschema}, 'urn:sentinai:schema:Api%3ATold:2',
		'ce_dataschema names the type and the version that was meant');
	my $api = JSON::PP->new->utf8->decode(sql('select sentinai.asyncapi()'));
	my $text = sql('select sentinai.asyncapi()');
	is($api->{channels}{events}{address}, 'sentinai.{aggregate_type}', 'asyncapi() has the topic');
	is(join(',', map { $_->{host} } values %{ $api->{servers} }), $broker->bootstrap, 'the broker');
	unlike($text, qr/\Q$secret\E|\Q$secret_file\E/, 'no secret');
	foreach my $record (@records)
	{
		my ($version) = $record->{headers}{ce_dataschema} =~ /:(\d)$/;
		my $headers = JSON::PP->new->utf8->encode($record->{headers});

		is(sql(qq{
			with api as (select sentinai.asyncapi() as d),
				says as (select d#>'{components,schemas,headers.cloudevents}' as shared,
					d#>'{components,messages,Api__3ATold.v$version,headers,allOf,1}' as own from api)
			select sentinai.validate_json(jsonb_build_object('allOf', jsonb_build_array(shared, own)), h)
				|| (select coalesce(jsonb_agg(k), '[]') from jsonb_object_keys(h) k where not shared->'properties' ? k)
			from says, jsonb(\$json\$$headers\$json\$) h}), '[]',
			"headers of version $version are those that it has");
	}
}

# payloads go out as the server writes them, with the headers of their event
{
	sql(q{
		create table sent as
		select n, sentinai.publish('Text', 'tenant' || n % 7, 'key' || n,
			payload, 'text', jsonb_build_object('traceparent', '00-' ||
				md5(n::text) || '-b7ad6b7169203331-01', 'n', n)) as id, payload
		from (select row_number() over () as n,
				jsonb_build_object('v', value, '"', value) as payload
			from (select value from jsonb_array_elements(
				'[{}, [], 1, "x", true, null, [[]], [{}, {"a": []}], -0.00,
				  1e-30, 12345678901234567890123.500, {"": ""},
				  {"b": [1, 2.50, "z", null, false, {"c": {"d": "e"}}], "a": "f"},
				  "\\"", "\\\\", "seven\\n7", "/", "\\u0001\\u001f \\u007f",
				  "\\b\\f\\r\\t\\"\\\\", "käse, 日本語, 🧀"]')
				union all
				select jsonb_object_agg('k' || i, case i % 4 when 0 then
					to_jsonb(repeat('x', i)) when 1 then to_jsonb(i * 1.5)
					when 2 then jsonb_build_array(i, i::text)
					else jsonb_build_object('i', i) end)
				from generate_series(1, 100) i
				union all
				select to_jsonb(repeat('y', i) || chr(c) || repeat('z', 30 - i))
				from generate_series(0, 30) i,
					unnest(array[1, 10, 31, 32, 34, 92, 127, 233]) c
				union all
				select jsonb_agg(i::text || '"') from generate_series(1, 5000) i
			) v) w});
	my $want = sql('select count(*) from sent');
	my @records;

	wait_for($unslept, sub {
		@records = $broker->records('sentinai.text');
		return @records >= $want;
	});
	my %values = map { split /\t/, $_, 2 } split /\n/,
	  sql("select id || E'\\t' || payload from sent");
	my %headers = map { split /\t/, $_, 2 } split /\n/,
	  sql(q{select id || E'\\t' || concat_ws(' ', 'key' || n, 'tenant' || n % 7,
		'00-' || md5(n::text) || '-b7ad6b7169203331-01') from sent});
	is(scalar @records, $want, 'all payloads arrive');
	is_deeply([ grep { $_->{value} ne ($values{ $_->{headers}{ce_id} } // '') }
			@records ], [], 'as the server writes them');
	is_deeply([ grep { join(' ', @{$_->{headers}}{qw(ce_subject ce_tenantid
			traceparent)}) ne ($headers{ $_->{headers}{ce_id} } // '') }
			@records ], [], 'with their headers');
}

publish('plain', 40, 20);
arrived_ok('plain', 40, 0, 'plain');

# a backlog of many lanes, of which a turn can hold a part only
{
	set_one('sentinai.relay_buffer', '1MB');
	sql('select sentinai.pause_relay()');
	$counter{wide} = 12;
	sql(q{
		do $$ begin
			for n in 1 .. 12 loop
				perform sentinai.publish('Counted', 'acme', 'k' || k,
					jsonb_build_object('n', n, 'pad', repeat('x', 60000)), 'wide')
				from generate_series(1, 10) k;
				commit;
			end loop;
		end $$});
	wait_for($unslept, sub {
		sql('select unsequenced_commits from sentinai.stat_info') == 0 });
	sql('select sentinai.resume_relay()');
	arrived_ok('wide', 10, 0, 'more than relay_buffer holds');
	set_one('sentinai.relay_buffer', '32MB');
}

# librdkafka is in the relay only; every kind of function was called by then
{
	my $relay = relay_pid();
	my $maps = sql(q{
		select sentinai.subscribe('maps');
		select sentinai.publish('M', 'acme', 'm', '{}');
		select sentinai.publish_batch('{M}', '{acme}', '{m}', '{"{}"}');
		insert into sentinai.outbox (tenant_id, aggregatetype, aggregateid, type,
			payload) values ('acme', 'm', 'm', 'M', '{}');
		select sentinai.release(token) from sentinai.claim('maps', 10) limit 1;
		select sentinai.complete(token) from sentinai.claim('maps', 10) limit 1;
		select sentinai.is_already_processed(gen_random_uuid(), 'maps');
		select count(*) from sentinai.get_events_by_tenant('acme');
		call sentinai.wait_for_work('maps', '0', null);
		select count(*) from sentinai.stat_queue, sentinai.stat_relay,
			sentinai.stat_agent, sentinai.stat_info;
		select sentinai.unsubscribe('maps');
		alter system set sentinai.kafka_conf = 'bootstrap.servers=localhost';
		alter system reset sentinai.kafka_conf;
		select 'maps ' || pg_read_file('/proc/self/maps')});
	my %processes = (
		postmaster => slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/,
		launcher => sql('select launcher_pid from sentinai.stat_info'),
		sequencer => sql('select sequencer_pid from sentinai.stat_info'));

	like($maps, qr/sentinai\.so/, 'a client has the extension');
	unlike($maps, qr/rdkafka|sentinai_kafka/, 'and not librdkafka');
	like(slurp_file("/proc/$relay/maps"), qr/librdkafka/, 'the relay has it');
	unlike(slurp_file("/proc/$processes{$_}/maps"), qr/rdkafka|sentinai_kafka/,
		"the $_ has not")
	  foreach sort keys %processes;
}

# pause and resume
sql('select sentinai.pause_relay()');
poll_ok($node, 'postgres', $unslept, q{
	select state = 'paused' and in_flight = 0 from sentinai.stat_relay},
	'stat_relay shows a paused relay');
wait_for($unslept, sub {
	sql(q{select count(*) = 0 from pg_stat_activity
		where backend_type = 'sentinai relay' and state <> 'idle'}) eq 't';
});
publish('plain', 40, 1);
poll_ok($node, 'postgres', $unslept,
	'select lag_events >= 40 from sentinai.stat_relay', 'lag grows');
is(scalar $broker->records('sentinai.plain'), 800,
	'a paused relay sends nothing');
sql('select sentinai.resume_relay()');
arrived_ok('plain', 40, 0, 'resumed');
poll_ok($node, 'postgres', $unslept, q{
	select lag_events = 0 and in_flight = 0 and lag_seconds is null
		and state = 'running' and breaker = 'closed' and acked_count > 0
	from sentinai.stat_relay}, 'stat_relay shows no lag');

# settings are read again, and nothing is sent twice for that
{
	my $pid = relay_pid();

	set_one('sentinai.topic_template', 'other.{tenant}.{aggregate_type}');
	wait_for($unslept, sub {
		sql("select sentinai.publish('T', 'acme', 'k1', '{\"n\": 0}', 'reload')");
		$broker->records('other.acme.reload') > 0;
	});
	pass('SIGHUP: another topic template counts');
	is(relay_pid(), $pid, 'in the same process');
	set_one('sentinai.record_format', 'raw');
	wait_for($unslept, sub {
		sql("select sentinai.publish('T', 'acme', 'raw', '{\"n\": 0}', 'reload')");
		grep { $_->{headers}{event_id} && $_->{key} eq 'acme:raw' }
		  $broker->records('other.acme.reload');
	});
	my ($raw) = grep { $_->{headers}{event_id} && $_->{key} eq 'acme:raw' }
	  $broker->records('other.acme.reload');
	is_deeply([ @$raw{qw(key value)}, sort keys %{ $raw->{headers} } ],
		[ 'acme:raw', '{"n": 0}', 'event_id' ], 'format raw');
	set_one('sentinai.topic_template', '');
	set_one('sentinai.record_format', 'debezium');
	wait_for($unslept, sub {
		sql("select sentinai.publish('T', 'acme', 'dbz', '{\"n\": 0}', 'reload')");
		$broker->records('outbox.event.reload') > 0;
	});
	set_one('sentinai.record_timestamp', 'occurred');
	my $age = q{select %s - floor(extract(epoch from occurred_at) * 1000)::bigint
		from sentinai.event_log where event_id = '%s'};
	# until the setting is in force; what is delayed is not sent as it occurs
	ok(wait_for($unslept, sub {
		sql(q{select sentinai.publish('T', 'acme', 'time', '{"n": 0}', 'occurred',
			deliver_at => clock_timestamp() + '300 ms')});
		grep { sql(sprintf($age, $_->{timestamp}, $_->{headers}{id})) == 0 }
		  $broker->records('outbox.event.occurred');
	}), 'record_timestamp = occurred');
	set_one('sentinai.record_timestamp', 'sending');
	sql(q{select sentinai.publish('T', 'acme', 'time', '{"n": 0}', 'sending',
		deliver_at => clock_timestamp() + '2 s')});
	wait_for($unslept, sub { $broker->records('outbox.event.sending') > 0 });
	my ($sending) = $broker->records('outbox.event.sending');
	cmp_ok(sql(sprintf($age, $sending->{timestamp}, $sending->{headers}{id})),
		'>', 1500, 'record_timestamp = sending');
	my ($debezium) = $broker->records('outbox.event.reload');
	is( $debezium->{headers}{id},
		sql("select min(event_id::text) from sentinai.event_log"
			  . " where event_id = '$debezium->{headers}{id}'"),
		'format debezium has the id in a header');
	set_one('sentinai.record_format', 'cloudevents');
	publish('plain', 40, 1);
	arrived_ok('plain', 40, 0, 'after four reloads');
	my %sent;
	$sent{ $_->{headers}{id} // $_->{headers}{ce_id}
		  // $_->{headers}{event_id} }++
	  foreach map { $broker->records($_) }
	  qw(sentinai.order sentinai.plain other.acme.reload outbox.event.reload);
	is((grep { $_ > 1 } values %sent), 0, 'nothing was sent twice');
}

# reloads while much is on its way
{
	$broker->order('rtt 1 100');
	publish('reloaded', 60, 10);
	reload_now($node, $unslept) foreach 1 .. 3;
	publish('reloaded', 60, 10);
	reload_now($node, $unslept) foreach 1 .. 3;
	$broker->order('rtt 1 0');
	arrived_ok('reloaded', 60, 6 * $inflight, 'reloads under load');
}

# settings that are refused
foreach my $bad ('acks=1', 'plugin.library.paths=/tmp/x.so',
	'sasl.password=letmein', 'nonsense', 'transactional.id=x')
{
	my ($rc, $out, $err) = $node->psql('postgres',
		"\\set VERBOSITY sqlstate\nalter system set sentinai.kafka_conf = '$bad'");

	like($err, qr/22023/, "kafka_conf: $bad is refused");
	unlike($err, qr/letmein/, 'and no value is repeated');
}
{
	my $pid = relay_pid();

	set_one('sentinai.kafka_conf', "$conf,sasl.password=letmein");
	wait_for($unslept, sub {
		log_count($node, 'invalid value for parameter "sentinai.kafka_conf"');
	});
	is(sql('show sentinai.kafka_conf'), $conf, 'a bad reload changes nothing');
	publish('plain', 40, 1);
	arrived_ok('plain', 40, 0, 'and the relay goes on');
	is(relay_pid(), $pid, 'as the same process');
}

# an unknown property: a clear line, no fast loop
{
	my $error = qr/could not set up the connection to the broker.*no\.such/;
	my $start = time();

	set_one('sentinai.kafka_conf', "$conf,no.such.property=1");
	wait_for($unslept, sub { log_count($node, $error) >= 3 });
	my $elapsed = time() - $start;

	cmp_ok(log_count($node, $error), '>=', 3, 'an unknown property is logged');
	cmp_ok(log_count($node, $error), '<=', 2 + $elapsed,
		'and the relay is started again in growing intervals');
	set_one('sentinai.kafka_conf', $conf);
	publish('plain', 40, 1);
	$unslept *= 2;
	arrived_ok('plain', 40, 0, 'until it is corrected');
	$unslept /= 2;
}

# an event the broker never takes
{
	my $dead = sql(q{
		begin; -- so that the last is published before the second is dead
		select sentinai.publish('Counted', 'acme', 'big', '{"n": 1}', 'large');
		select sentinai.publish('Counted', 'acme', 'big', jsonb_build_object('n', 2,
			'fill', (select string_agg(md5(i::text), '') from generate_series(1, 8000) i)),
			'large');
		select sentinai.publish('Counted', 'acme', 'big', '{"n": 3}', 'large');
		commit});
	my @records;

	$dead = (split /\n/, $dead)[1];
	poll_ok($node, 'postgres', $unslept,
		"select status = 'pending' and reason <> '' and attempts = 1"
		  . " from sentinai.dead_letter where event_id = '$dead'"
		  . " and worker_type = 'relay'", 'too large: a dead letter');
	wait_for($unslept, sub {
		@records = ($broker->records('sentinai.large'), $broker->records('sentinai.control'));
		@records >= 3;
	});
	is(join(' ', map { "$_->{headers}{ce_type} " . ($_->{value} =~ /"n": ?(\d)/ ? $1 : '') }
			  @records),
		'Counted 1 Counted 3 DeadLettered ', 'the others flow, and an event tells of it');
	is($records[2]{headers}{ce_causationid}, $dead, 'caused by the large one');
	is(sql("select sum(dead) from sentinai.stat_lane where is_relay"), '1',
		'it is counted');
	sql("select sentinai.retry_dead_letter('$dead', 'relay', 'me')");
	poll_ok($node, 'postgres', $unslept,
		"select status = 'pending' and attempts = 2 and jsonb_array_length(history) = 2"
		  . " from sentinai.dead_letter where event_id = '$dead'",
		'tried again in vain, it is one again');
	(my $larger = $conf) =~ s/max.bytes=100000/max.bytes=1000000/;
	set_one('sentinai.kafka_conf', $larger);
	sql("select sentinai.retry_dead_letter('$dead', 'relay', 'me')");
	poll_ok($node, 'postgres', $unslept,
		"select status = 'succeeded' from sentinai.dead_letter"
		  . " where event_id = '$dead'", 'retry_dead_letter() sends it');
	is((grep { $_->{headers}{ce_id} eq $dead } $broker->records('sentinai.large')),
		1, 'it is there');
	is(sql("select coalesce(sum(dead), 0) || ' ' || coalesce(sum(parked), 0)"
			  . ' from sentinai.stat_lane where is_relay'), '0 0', 'none is left');
	set_one('sentinai.kafka_conf', $conf);
}

# many dead letters at once with a small window
{
	set_one('sentinai.relay_inflight', 5);
	sql(q{
		select sentinai.publish('Counted', 'no/topic', 'x' || i, '{}', 'a/b')
		from generate_series(1, 30) i});
	poll_ok($node, 'postgres', $unslept, q{
		select count(*) = 30 from sentinai.dead_letter
		where status = 'pending' and event_type = 'Counted' and aggregate_type = 'a/b'},
		'events without a possible topic are dead letters');
	my $pid = relay_pid();
	sql(q{select sentinai.retry_dead_letter(event_id, 'relay', 'me')
		from sentinai.dead_letter where status = 'pending' and event_type = 'Counted'});
	poll_ok($node, 'postgres', $unslept, q{
		select count(*) = 30 from sentinai.dead_letter
		where status = 'pending' and event_type = 'Counted' and attempts = 2}, 'all are tried again');
	is(relay_pid(), $pid, 'in a window of five');
	poll_ok($node, 'postgres', $unslept,
		'select sum(lag_events) = 0 from sentinai.stat_relay', 'and all are passed');
	is(sql(q{
		select count(distinct event_id)::text from sentinai.event_log
		where event_type = 'DeadLettered' and aggregate_type = 'a/b'
			and payload ? 'due_at' and payload ->> 'worker_type' = 'relay'
			and (payload ->> 'attempt')::int in (1, 2)}),
		'60', 'an event tells of each failure, as it does of an agent\'s');
	is(sql(q{select count(*) from sentinai.dead_letter where event_type = 'DeadLettered'}),
		'0', 'that cannot be sent either, and is no letter of its own');
	set_one('sentinai.relay_inflight', $inflight);

	# over and over
	sql(q{
		do $$
		declare
			id uuid;
			until timestamptz := clock_timestamp() + '3 min';
		begin
			select event_id into id from sentinai.dead_letter
			where aggregate_type = 'a/b' and status = 'pending' limit 1;
			for n in 3 .. 110 loop
				perform sentinai.retry_dead_letter(id, 'relay', 'me');
				commit;
				while clock_timestamp() < until and not exists (
					select from sentinai.dead_letter
					where event_id = id and status = 'pending' and attempts = n) loop
					perform pg_sleep(0.005);
					commit;
				end loop;
			end loop;
		end $$});
	is(sql(q{
		select attempts || ' ' || jsonb_array_length(history) || ' '
			|| (history -> 99 ->> 'attempt') || ' ' || (first_failed_at < dead_at)
		from sentinai.dead_letter where attempts > 2}),
		'110 100 110 true', 'the history has a bound');
}

# Errors that the broker answers.  The mock does not look at sequence numbers, so
# it would take the batches behind a refused one: all go in one batch.
set_one('sentinai.kafka_conf', "$conf,linger.ms=100");
foreach my $errors ('NOT_LEADER_FOR_PARTITION NOT_LEADER_FOR_PARTITION',
	'REQUEST_TIMED_OUT REQUEST_TIMED_OUT', 'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
	'OUT_OF_ORDER_SEQUENCE_NUMBER', 'UNKNOWN_PRODUCER_ID',
	'MSG_SIZE_TOO_LARGE', 'UNKNOWN')
{
	$broker->order("errors Produce $errors");
	publish('errors', 20, 10);
	arrived_ok('errors', 20, 2 * $inflight, $errors);
	$broker->order('clear Produce');
}
set_one('sentinai.kafka_conf', $conf);
is(sql("select count(*) from sentinai.dead_letter where aggregate_type = 'errors'"),
	'0', 'no event was given up for them');

# a topic that may not be written: its events wait until it may
{
	$broker->order('errors Produce TOPIC_AUTHORIZATION_FAILED');
	publish('denied', 20, 10);
	publish('plain', 40, 1);
	arrived_ok('plain', 40, $inflight, 'beside a denied topic');
	arrived_ok('denied', 20, $inflight, 'denied for a moment');
	is(sql(q{select count(*) from sentinai.dead_letter
		where aggregate_type = 'denied'}), '0', 'no event was given up for it');
}

# the process is ended
{
	my $pid = relay_pid();

	publish('ended', 50, 10);
	sql("select pg_terminate_backend($pid)");
	publish('ended', 50, 10);
	ok(wait_for(8, sub { my $now = relay('pid'); $now && $now ne $pid }),
		'a terminated relay is back in seconds');
	arrived_ok('ended', 50, $inflight, 'relay terminated');
}

# no broker
{
	$broker->order('down all');
	publish('down', 30, 5);
	poll_ok($node, 'postgres', $unslept, q{
		select breaker = 'open' and state = 'waiting' and error_count > 0
			and last_error is not null and last_error_at is not null
			and lag_events >= 150
		from sentinai.stat_relay}, 'without a broker the breaker opens');
	publish('down', 30, 5);
	pass('and publishing goes on');
	$broker->order('up all');
	arrived_ok('down', 30, $inflight, 'broker back');
	poll_ok($node, 'postgres', $unslept,
		"select breaker = 'closed' and state = 'running' from sentinai.stat_relay",
		'the breaker is closed');
}

# two processes
{
	my $held = q{
		select string_agg(n::text, ' ' order by n) from (
			select count(*) n from pg_locks l
				join pg_stat_activity a on a.pid = l.pid
			where l.locktype = 'object' and l.classid = 'sentinai_internal.event_log'::regclass
				and a.backend_type = 'sentinai relay'
			group by l.pid) x};

	foreach my $round ([ 2, '32 32' ], [ 3, '21 21 22' ], [ 1, '64' ])
	{
		my ($workers, $lanes) = @$round;

		publish('divided', 64, 5);
		set_one('sentinai.relay_workers', $workers);
		publish('divided', 64, 5);
		poll_ok($node, 'postgres', $unslept, "select ($held) = '$lanes'",
			"relay_workers = $workers divides the lanes");
		poll_ok($node, 'postgres', $unslept,
			"select count(pid) = $workers from sentinai.stat_relay", 'in as many');
		publish('divided', 64, 5);
		arrived_ok('divided', 64, 10 * $inflight, "$workers processes");
	}
}

# what the log says
{
	my $payload = 'f00dfeed';

	set_one('log_min_messages', 'debug5');
	wait_for($unslept, sub { sql('show log_min_messages') eq 'debug5' });
	$broker->order('errors Produce MSG_SIZE_TOO_LARGE UNKNOWN');
	sql(q{
		select sentinai.publish('Counted', 'acme', 'log', jsonb_build_object('n', i,
			'v', 'f00d' || 'feed', 'fill', repeat('f00d' || 'feed', i * 2000)), 'logged')
		from generate_series(1, 10) i});
	poll_ok($node, 'postgres', $unslept, q{
		select count(*) = 4 from sentinai.dead_letter where aggregate_type = 'logged'},
		'large events at log level debug5');
	ok(wait_for($unslept, sub { $broker->records('sentinai.logged') >= 6 }),
		'the six that fit arrive');
	sql("select pg_terminate_backend(pid) from sentinai.stat_relay");
	relay_pid();
	is(log_count($node, $payload), 0, 'no payload is in the log');
	is(log_count($node, $secret), 0, 'no secret is in the log');
	cmp_ok(log_count($node, 'DEBUG:'), '>', 100, 'which does say something');
	set_one('log_min_messages', 'warning');
}

# a synchronous standby that is down
{
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	my $waits = q{
		select pid from pg_stat_activity where backend_type = 'sentinai relay'
			and wait_event in ('SyncRep', 'Extension', 'SentinaiRelayConfirm')
			and state <> 'idle'};

	publish('synced', 10, 1);
	arrived_ok('synced', 10, 0, 'before the standby');
	$node->backup('base');
	$standby->init_from_backup($node, 'base', has_streaming => 1);
	set_one('synchronous_standby_names', 'standby');
	wait_for($unslept, sub {
		sql('show synchronous_standby_names') eq 'standby';
	});
	sql(q{
		set synchronous_commit = off;
		select sentinai.publish('Counted', 'acme', 'k' || k, '{"n": 2}', 'synced')
		from generate_series(1, 10) k});
	$counter{synced}++;
	my $pid = wait_for($unslept, sub { sql($waits) });
	ok($pid, 'the relay waits for the standby');
	is(scalar $broker->records('sentinai.synced'), 10, 'and sends nothing');
	sql("select pg_cancel_backend($pid)");
	ok(wait_for($unslept, sub {
		my $now = sql($waits);
		$now && $now ne $pid || log_count($node, 'canceling') && $now;
	}), 'it waits again when the wait is cancelled');
	is(scalar $broker->records('sentinai.synced'), 10, 'and sends nothing');
	$node->stop('fast');
	$node->start;
	ok(wait_for($unslept, sub { sql($waits) }), 'and after a restart');
	is(scalar $broker->records('sentinai.synced'), 10, 'nothing is sent');
	$standby->start;
	arrived_ok('synced', 10, 0, 'standby back');
	publish('synced', 10, 2);
	arrived_ok('synced', 10, 0, 'with the standby');
	$standby->stop;
	set_one('synchronous_standby_names', '');
}

$node->stop;
done_testing();
