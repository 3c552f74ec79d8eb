# Records as people need them: each relay has its own form of them.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use JSON::PP;
use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 60;    # seconds within which anything here has to happen
my $broker = MockBroker->new('--brokers', 1);
my $conf = 'bootstrap.servers=' . $broker->bootstrap . ",$MockBroker::soon";
my $node = new_node('records', 'sentinai.topic_partitions = 0', 'sentinai.launcher_naptime = 1s', 'max_worker_processes = 24', 'log_statement = none');

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub state_of { return state_in($node, 'postgres', $_[0]); }

# relay(NAME, MORE): one that sends to topics of its name, from the beginning
sub relay
{
	my ($name, $more) = @_;

	return sql("select sentinai.create_relay('$name', 'kafka', '$conf', topic_template => '$name', start_from => 'earliest', $more)");
}

# records(TOPIC, N): what is there, once it is so many
sub records
{
	my ($topic, $n) = @_;
	my @records;

	wait_for($unslept, sub { @records = $broker->records($topic); @records >= $n });
	is(scalar(@records), $n, "$topic: $n records");
	return @records;
}

sql('create extension sentinai');
my $paid = sql(q{select sentinai.publish('OrderPaid', 'acme', 'A-1', '{"amount": 10}', 'order', '{"user": "u\"1"}')});

# CloudEvents in structured mode: what others have as headers is in the value.
relay('structured', q{record_format => 'cloudevents_structured'});
my ($r) = records('structured', 1);
my $envelope = JSON::PP->new->utf8->decode($r->{value});
is_deeply([ @$envelope{qw(specversion id type subject tenantid partitionkey data)} ], [ '1.0', $paid, 'OrderPaid', 'A-1', 'acme', 'acme:A-1', { amount => 10 } ], 'attributes and payload are in the value');
is_deeply([ sort keys %{ $r->{headers} } ], [ 'content-type', 'event_id' ], 'and in no header');
is($r->{headers}{event_id}, $paid, 'but the id');
is($r->{key}, 'acme:A-1', 'the key is the same');

# What a relay's options say: key, headers, topics by event type, tombstones.
my $options = 'key={aggregate_type}-{metadata.order}; headers=region:eu,team:a%2Cb; headers.metadata=user:x-user,count,where; '
  . 'topics=OrderPaid:ruled.paid,OrderGone:ruled.{tenant}; tombstones=OrderGone';
relay('ruled', qq{record_options => '$options'});
sql(q{
	select sentinai.publish('OrderPaid', 'acme', 'A-1', '{"amount": 11}', 'order', '{"user": "jo", "order": 7, "count": 2.50, "where": {"a": [1]}}');
	select sentinai.publish('OrderGone', 'acme', 'A-1', '{"amount": 12}', 'order', '{"order": null, "user": true}');
	select sentinai.publish('Other', 'acme', 'A-1', '{"amount": 13}', 'order', jsonb_build_object('user', repeat('x', 1025)));
	select sentinai.publish('Other', 'acme', 'A-1', '{"amount": 14}', 'order', '{"order": "seven"}')});
# keys of two kinds are in two partitions
my @paid = sort { $a->{value} cmp $b->{value} } records('ruled.paid', 2);
is_deeply([ map { $_->{key} } @paid ], [ 'acme:A-1', 'order-7' ], 'a key by a template; an event that lacks a value keeps the usual one');
is_deeply([ @{ $paid[1]{headers} }{qw(region team x-user count where ce_partitionkey)} ], [ 'eu', 'a', 'jo', '2.50', '{"a": [1]}', 'order-7' ], 'headers that never change, and of metadata')
  or diag explain $paid[1];
my ($gone) = records('ruled.acme', 1);
is_deeply([ length($gone->{value} // ''), @{ $gone->{headers} }{qw(ce_type x-user content-type)} ], [ 0, 'OrderGone', 'true', undef ], 'a tombstone has no value');
my ($other) = records('ruled', 1);
is($other->{value} . $other->{key}, '{"amount": 14}order-seven', 'other event types go to the topic of the template');
poll_ok($node, 'postgres', $unslept, q{select string_agg(reason, ',') = 'a value of the metadata is longer than 1024 bytes' from sentinai.dead_letter where worker_type = 'ruled'}, 'what no header can hold is a dead letter');
sql(q{select sentinai.alter_relay('ruled', record_options => 'headers=region:us')});
sql(q{select sentinai.publish('OrderPaid', 'acme', 'A-1', '{"amount": 15}', 'order')});
my ($changed) = grep { $_->{value} =~ /15/ } records('ruled', 2);
is_deeply([ $changed->{key}, @{ $changed->{headers} }{qw(region team)} ], [ 'acme:A-1', 'us', undef ], 'other options hold instead');
is(sql(q{select after->>'record_options' from sentinai.actions where action = 'alter_relay'}), 'headers=region:us', 'and are written down');
is(state_of(q{select sentinai.alter_relay('ruled', record_options => 'kee={tenant}')}), 'SN422', 'but not what cannot be');

# What the broker refuses goes to the topic of the relay that it refused it of.
foreach my $style (qw(connect spring))
{
	sql(qq{select sentinai.create_relay('$style', 'kafka', '$conf,message.max.bytes=5000', event_types => '{Large}',
		topic_template => 'of.$style', record_options => 'dead.letter.topic=dead.$style; dead.letter.headers=$style; headers=by:$style')});
}
my $large = sql(q{select sentinai.publish('Large', 'acme', 'A-1', jsonb_build_object('t', (select string_agg(md5(i::text), '') from generate_series(1, 1000) i)), 'order')});
my %style = (connect => '__connect.errors.', spring => 'kafka_dlt-');
foreach my $style (sort keys %style)
{
	my ($dead) = records("dead.$style", 1);
	my $h = $dead->{headers};

	is_deeply([ @$h{qw(ce_id by sentinai_payload)}, $h->{"$style{$style}exception" . ($style eq 'connect' ? '.message' : '-message')} ne '' ], [ $large, $style, 'omitted', 1 ], "$style: id, headers and the reason");
	is_deeply([ grep { /^(__connect|kafka_dlt)/ && !/^\Q$style{$style}\E/ } keys %$h ], [], "$style: no headers of the other");
}
# one that comes back from a pause goes by what was said meanwhile
sql(q{select sentinai.pause_relay('spring')});
poll_ok($node, 'postgres', $unslept, q{select state = 'paused' from sentinai.stat_relay where relay = 'spring'}, 'paused');
sql(q{
	select sentinai.alter_relay('connect', event_types => '{Large,Small}');
	select sentinai.alter_relay('spring', record_options => '');
	select sentinai.resume_relay('spring');
	select sentinai.publish('Small', 'acme', 'A-1', '{}', 'order')});
records('of.connect', 1);
sql(q{select sentinai.publish('Large', 'acme', 'A-2', jsonb_build_object('t', (select string_agg(md5(i::text), '') from generate_series(1, 1000) i)), 'order')});
records('dead.connect', 2);
poll_ok($node, 'postgres', $unslept, q{select bool_and(lag_events = 0) from sentinai.stat_relay}, 'all is passed');
is(scalar($broker->records('dead.spring')), 1, 'without the option no more come');

# A function in SQL says what is sent: with its owner's rights, looking only, and
# what it does wrong is one event's dead letter.
sql(q{
	create role maker; create role other; create schema shop authorization maker; grant usage on schema sentinai to maker;
	grant execute on function sentinai.create_relay, sentinai.alter_relay to maker, other;
	grant alter system on parameter sentinai.kafka_conf to maker, other;
	create table shop.price (n int); insert into shop.price values (1); grant select on shop.price to maker;
	create table shop.secret (n int);
	set role maker;
	create function shop.send(e jsonb) returns jsonb language plpgsql as $$
	begin
		case e->'payload'->>'do'
			when 'drop' then return null;
			when 'forget' then return 'null';
			when 'fail' then raise exception 'S3CR3T %', e;
			when 'cast' then return to_jsonb((e->'payload'->>'do')::int);
			when 'write' then insert into shop.price values (2);
			when 'look' then perform from shop.secret;
			when 'role' then set role none;
			when 'unset' then set transaction_read_only = off;
			when 'slow' then perform pg_sleep(60);
			when 'set' then perform set_config('synchronous_commit', 'off', false), set_config('search_path', 'shop', false);
			else null;
		end case;
		return jsonb_build_object('is', current_user, 'price', (select sum(n) from shop.price), 'path', current_setting('search_path'),
			'commit', current_setting('synchronous_commit'), 'event', e);
	end $$});
my $transform = 'transform=shop.send; transform.timeout.ms=3000; dead.letter.topic=dead.made';
is(state_of("set role other; select sentinai.create_relay('made', 'kafka', 'bootstrap.servers=a', record_options => '$transform')"), '42501', 'only the owner of a function has it called with his rights');
is(state_of("select sentinai.create_relay('made', 'kafka', 'bootstrap.servers=a', record_options => 'transform=$_')"), 'SN422', "no transform: $_") foreach 'send', 'shop.none', 'pg_catalog.jsonb_typeof';
sql(qq{set role maker; select sentinai.create_relay('made', 'kafka', '$conf', event_types => '{Do}', topic_template => 'made', record_options => '$transform')});
my %does = (drop => undef, forget => undef, fail => 'failed with SQLSTATE P0001', cast => 'failed with SQLSTATE 22P02', write => 'failed with SQLSTATE 25006', look => 'failed with SQLSTATE 42501',
	role => 'failed with SQLSTATE 42501', unset => 'failed with SQLSTATE 25001', slow => 'took longer than 3000 ms', set => undef, send => undef);
foreach my $do (sort keys %does)
{
	sql(qq{select sentinai.publish('Do', 'acme', '$do', '{"do": "$do"}', 'order', '{"m": 1}')});
}
my %made = map { $_->{key} => $_ } records('made', 3);
is(join(' ', sort keys %made), 'acme:forget acme:send acme:set', 'what is sent, and what is not');
is(length($made{'acme:forget'}{value} // ''), 0, 'a JSON null is a tombstone');
my ($sent, $set) = map { JSON::PP->new->utf8->decode($made{"acme:$_"}{value}) } qw(send set);
is_deeply([ @$sent{qw(is price path commit)} ], [ 'maker', 1, 'pg_catalog, pg_temp', 'on' ], 'with the rights of its owner, in a safe search_path');
is_deeply([ @{ $sent->{event} }{qw(event_type tenant_id aggregate_id payload metadata)} ], [ 'Do', 'acme', 'send', { do => 'send' }, { m => 1 } ], 'it is told the event');
is($set->{path}, 'shop', 'it may set something');
sql(q{select sentinai.publish('Do', 'acme', 'again', '{"do": "send"}', 'order')});
my ($again) = grep { $_->{key} eq 'acme:again' } records('made', 4);
is_deeply([ @{ JSON::PP->new->utf8->decode($again->{value}) }{qw(path commit)} ], [ 'pg_catalog, pg_temp', 'on' ], 'for that time only');
my $failed = grep { defined } values %does;
poll_ok($node, 'postgres', $unslept, qq{select count(*) = $failed from sentinai.dead_letter where worker_type = 'made'}, 'what fails are dead letters');
foreach my $do (grep { defined $does{$_} } sort keys %does)
{
	is(sql(qq{select reason from sentinai.dead_letter where worker_type = 'made' and aggregate_id = '$do'}), "transform $does{$do}", "$do: $does{$do}");
}
is_deeply([ grep { length($_->{value} // '') > 0 } records('dead.made', $failed) ], [], 'in the topic for them they have no payload');
is(log_count($node, 'S3CR3T'), 0, 'nor does the log');
is(sql(q{select count(*) from shop.price}), '1', 'nothing is written');

# Corrected, a dead letter is sent; a function that is not the same stops the relay, and nothing is lost.
sql(q{create or replace function shop.send(e jsonb) returns jsonb language sql as $$ select e->'payload' $$});
sql(q{select sentinai.retry_dead_letter(event_id, 'made') from sentinai.dead_letter where worker_type = 'made' and aggregate_id = 'fail'});
is((grep { $_->{key} eq 'acme:fail' } records('made', 5))[0]{value}, '{"do": "fail"}', 'tried again, it is sent');
sql(q{alter function shop.send owner to postgres});
sql(q{select sentinai.publish('Do', 'acme', 'late', '{}', 'order')});
poll_ok($node, 'postgres', $unslept, q{select last_error like '%another role%' from sentinai.stat_relay where relay = 'made'}, 'a function that is another role\'s by now stops the relay');
sql(q{select sentinai.alter_relay('made', record_options => ''), pg_reload_conf()});
is((grep { $_->{key} eq 'acme:late' } records('made', 6))[0]{value}, '{}', 'the event has waited');

# A relay goes no faster than its limits let it, and says so; another does not wait.
sql("select sentinai.create_relay('$_->[0]', 'kafka', '$conf', event_types => '{Paced}', topic_template => '$_->[0]', limits => '$_->[1]')")
  foreach [ 'paced', 'events.per.second=5; in.flight=10' ], [ 'fast', '' ];
sql(q{select count(*) from generate_series(1, 300) n, lateral sentinai.publish('Paced', 'acme', 'A-' || n % 7, '{}', 'order')});
records('fast', 300);
poll_ok($node, 'postgres', $unslept, q{select limited and limits = 'events.per.second=5; in.flight=10' from sentinai.stat_relay where relay = 'paced'}, 'limits and that they hold it up are shown');
my ($went, $seconds) = split /\|/, sql(q{select sent_count, extract(epoch from clock_timestamp() - started_at)::int + 2 from sentinai.stat_relay where relay = 'paced'});
cmp_ok($went, '<', 5 * $seconds + 5, 'it goes at its pace');
cmp_ok($went, '<', 300, 'and is not through');
sql(q{select sentinai.alter_relay('paced', limits => '')});
records('paced', 300);
poll_ok($node, 'postgres', $unslept, q{select not limited and limits is null from sentinai.stat_relay where relay = 'paced'}, 'without limits it is, at once');

$node->stop;
done_testing();
