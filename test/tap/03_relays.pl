# Several relays: each has its broker, its filter, its position, its dead letters
# and its switch, and none waits for another.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 30;    # seconds within which anything here has to happen
my ($here, $east, $west) = map { MockBroker->new('--brokers', 1) } 1 .. 3;
my $node = new_node('relays', "sentinai.kafka_conf = 'bootstrap.servers=@{[$here->bootstrap]},$MockBroker::soon'",
	'sentinai.topic_partitions = 0', 'sentinai.launcher_naptime = 1s', 'max_worker_processes = 24',
	'sentinai.breaker_failures = 2', 'sentinai.breaker_open_time = 1s', 'log_statement = none');

sub sql { my ($sql, $db) = @_; return $node->safe_psql($db // 'postgres', $sql); }
sub state_of { return state_in($node, 'postgres', $_[0]); }
sub conf { my ($broker, $more) = @_; return 'bootstrap.servers=' . $broker->bootstrap . ",$MockBroker::soon" . ($more // ''); }

# passed_ok(RELAY, NAME): it has sent all that it has to send
sub passed_ok
{
	my ($relay, $name) = @_;

	return worked_off_ok($node, 'postgres', $unslept, qq{
		select bool_and(lag_events = 0 and in_flight = 0 and waiting_events = 0) from sentinai.stat_relay where relay = '$relay'}, $name);
}

# sent(BROKER, TOPIC): types and numbers of what has arrived
sub sent
{
	my ($broker, $topic) = @_;

	return join ' ', map { "$_->{headers}{ce_type}$_->{value}" =~ /^(\w+)\{"n": (\d+)/ ? "$1$2" : '?' } $broker->records($topic);
}

my $n = 0;

# publish(TYPE, TENANT, AGGREGATE_TYPE)
sub publish
{
	my ($type, $tenant, $aggregate) = @_;

	$n++;
	return sql(qq{select sentinai.publish('$type', '$tenant', 'k', '{"n": $n}', '$aggregate')});
}

sql('create extension sentinai');
publish('A', 'acme', 'order');
sql(qq{
	select sentinai.create_relay('east', 'kafka', '@{[conf($east)]}', event_types => '{A,B}', topic_template => 'east.{aggregate_type}', start_from => 'earliest');
	select sentinai.create_relay('west', 'kafka', '@{[conf($west, ',message.max.bytes=5000')]}', tenants => '{globex}', aggregate_types => '{order}', record_format => 'raw')});
is(sql('select string_agg(distinct relay, \' \' order by relay) from sentinai.stat_relay'), 'east relay west', 'three relays');
publish('B', 'globex', 'order');
publish('B', 'globex', 'bill');
publish('C', 'globex', 'order');
passed_ok($_, "$_: passed") foreach qw(relay east west);
is(sent($here, 'sentinai.order'), 'A1 B2 C4', 'the one of the server sends all');
is(sent($east, 'east.order') . ' ' . sent($east, 'east.bill'), 'A1 B2 B3', 'another sends some types, from the beginning');
is(join(' ', map { $_->{value} } $west->records('sentinai.order')), '{"n": 2} {"n": 4}', 'another those of a tenant and an aggregate type, from its start');
is(scalar($west->records('sentinai.bill')), 0, 'and no others');

# A broker that answers nothing delays its relay and no other, however long.
kill 'STOP', $east->{pid};
my $frozen = time() + ($ENV{SENTINAI_FROZEN_SECONDS} // 0);
my $behind = 0;
do
{
	publish('A', 'globex', 'order') foreach 1 .. 5;
	$behind += 5;
	passed_ok($_, "$_ goes on while the broker of another is frozen") foreach qw(relay west);
} while (time() < $frozen);
is(sql(q{select lag_events from sentinai.stat_relay where relay = 'east'}), $behind, 'which is behind');
kill 'CONT', $east->{pid};
passed_ok('east', 'and goes on, too');
cmp_ok(scalar($east->records('east.order')), '>=', $behind + 2, 'with nothing lost');

# Switches.
sql(q{select sentinai.pause_relay('east')});
poll_ok($node, 'postgres', $unslept, q{select string_agg(relay || ' ' || state, ',' order by relay) = 'east paused,relay running,west running' from sentinai.stat_relay}, 'one is paused');
publish('A', 'globex', 'order');
passed_ok('west', 'others go on');
is(sql(q{select lag_events from sentinai.stat_relay where relay = 'east'}), '1', 'it stands');
is(sql(q{select sentinai.relay_is_paused('east'), sentinai.relay_is_paused('west'), sentinai.relay_is_paused('relay'), sentinai.relay_is_paused('nobody') is null}), 't|f|f|t', 'as it says');
sql(q{select sentinai.resume_relay('east'), sentinai.pause_relay('relay')});
passed_ok('east', 'resumed');
is(sql('select relay_paused from sentinai.stat_info'), 't', 'the one of the server is paused by its name');
sql(q{select sentinai.resume_relay('relay')});

# Dead letters and held topics are a relay's own.
my $large = sql(q{select sentinai.publish('A', 'globex', 'k', jsonb_build_object('t', (select string_agg(md5(i::text), '') from generate_series(1, 1000) i)), 'order')});
poll_ok($node, 'postgres', $unslept, qq{select string_agg(worker_type, ',') = 'west' from sentinai.dead_letter where event_id = '$large'}, 'refused by one relay only');
passed_ok($_, "$_ goes on") foreach qw(relay east west);
sql(qq{select sentinai.alter_relay('west', settings => '@{[conf($west)]}')});
poll_ok($node, 'postgres', $unslept, q{select state = 'running' and sent_count is not null from sentinai.stat_relay where relay = 'west'}, 'told otherwise');
sql(qq{select sentinai.retry_dead_letter('$large', 'west')});
poll_ok($node, 'postgres', $unslept, qq{select status = 'succeeded' from sentinai.dead_letter where event_id = '$large'}, 'it takes it now');

# Another filter holds for what is published from then on; the number of processes changes under way.
sql(q{select sentinai.alter_relay('east', event_types => '{C}', workers => 3)});
poll_ok($node, 'postgres', $unslept, q{select count(*) = 3 and bool_and(pid is not null) from sentinai.stat_relay where relay = 'east'}, 'three processes');
my $before = $east->records('east.order');
publish('A', 'acme', 'order');
publish('C', 'acme', 'order');
passed_ok('east', 'another filter');
is(scalar($east->records('east.order')) - $before, 1, 'one of two is sent');
sql(q{select sentinai.alter_relay('east', all_event_types => true, workers => 1)});
poll_ok($node, 'postgres', $unslept, q{select count(*) = 1 and bool_and(pid is not null) from sentinai.stat_relay where relay = 'east'}, 'one process');
publish('D', 'acme', 'order');
passed_ok('east', 'no filter');
like(sent($east, 'east.order'), qr/\bD$n\b/, 'all are sent');

# A restart, and a crash of one process.
$node->restart;
kill 'KILL', wait_for($unslept, sub { sql(q{select pid from sentinai.stat_relay where relay = 'west'}) });
poll_ok($node, 'postgres', $unslept, q{select count(*) = 3 and bool_and(pid is not null) from sentinai.stat_relay}, 'all are started again');
publish('D', 'globex', 'order');
passed_ok($_, "$_: passed after a crash") foreach qw(relay east west);

# What is wrong is said, and nothing is made.
my %wrong = (
	"create_relay('east', 'kafka', 'bootstrap.servers=a')" => 'SN409', "create_relay('relay', 'kafka', 'bootstrap.servers=a')" => 'SN422',
	"create_relay('a b', 'kafka', 'bootstrap.servers=a')" => 'SN422', "create_relay('x', 'carrier pigeon', 'bootstrap.servers=a')" => 'SN422',
	"create_relay('x', 'none', '')" => 'SN422', "create_relay('x', 'kafka', 'linger.ms=1')" => 'SN422',
	"create_relay('x', 'kafka', 'bootstrap.servers=a,sasl.password=s3cr3t')" => 'SN422', "create_relay('x', 'kafka', 'bootstrap.servers=a,plugin.library.paths=x')" => 'SN422',
	"create_relay('x', 'kafka', 'bootstrap.servers=a', event_types => '{}')" => 'SN422', "create_relay('x', 'kafka', 'bootstrap.servers=a', topic_template => '{x}')" => 'SN422',
	"create_relay('x', 'kafka', 'bootstrap.servers=a', record_format => 'xml')" => 'SN422', "create_relay('x', 'kafka', 'bootstrap.servers=a', start_from => 'x')" => 'SN422',
	"create_relay('x', 'kafka', 'bootstrap.servers=a', workers => 17)" => 'SN422', "create_relay(null, 'kafka', 'bootstrap.servers=a')" => '22004',
	"create_relay('x', 'kafka', null)" => '22004', "alter_relay('nobody')" => 'SN404', "alter_relay('relay', workers => 2)" => 'SN422',
	"alter_relay('east', event_types => '{A}', all_event_types => true)" => 'SN422', "drop_relay('nobody')" => 'SN404', "drop_relay('relay')" => 'SN422',
	"pause_relay('nobody')" => 'SN404', "resume_relay(null)" => '22004', "subscribe('east')" => 'SN409', "unsubscribe('east')" => 'SN404', "claim('east')" => 'SN404');
is(state_of("select sentinai.$_"), $wrong{$_}, "$wrong{$_}: $_") foreach sort keys %wrong;
is(log_count($node, 's3cr3t'), 0, 'a secret that was refused is not in the log');

# Who may make one: whoever may set the parameter.
sql('create role clerk; grant usage on schema sentinai to clerk; grant execute on all functions in schema sentinai to clerk');
foreach my $call ("create_relay('mine', 'kafka', 'bootstrap.servers=a')", "alter_relay('east')", "drop_relay('east')", "drop_relay('nobody')")
{
	is(state_of("set role clerk; select sentinai.$call"), '42501', "not everybody: $call");
}
sql('grant alter system on parameter sentinai.kafka_conf to clerk');
sql("set role clerk; select sentinai.create_relay('mine', 'kafka', '@{[conf($west)]}')");
is(sql("set role clerk; select sentinai.drop_relay('mine')"), '0', 'but who may configure the server');
is(sql(q{select string_agg(action, ' ' order by clock_id) from sentinai.actions where object like '%mine%'}), 'create_relay drop_relay', 'it is written down');

# A transaction that ends with nothing, and one that was prepared.
is(state_of("begin; select sentinai.create_relay('gone', 'kafka', 'bootstrap.servers=a'); rollback"), '00000', 'rolled back');
is(sql(q{select count(*) from sentinai.stat_relay where relay = 'gone'}), '0', 'nothing is there');

# A dump has it; restored elsewhere it is paused until somebody says otherwise.
sql('create database copy');
$node->command_ok([ 'sh', '-c', 'pg_dump -Fc -p ' . $node->port . ' -h ' . $node->host . ' postgres | pg_restore -p ' . $node->port . ' -h ' . $node->host . ' -d copy' ], 'dumped and restored');
is(sql(q{select string_agg(distinct relay || ' ' || state, ',' order by relay || ' ' || state) from sentinai.stat_relay}, 'copy'), 'east paused,relay paused,west paused', 'paused in the copy');
sql(q{select sentinai.resume_relay('west')}, 'copy');
poll_ok($node, 'copy', $unslept, q{select state = 'running' from sentinai.stat_relay where relay = 'west'}, 'one is resumed');
is(sql(q{select string_agg(distinct relay || ' ' || state, ',' order by relay || ' ' || state) from sentinai.stat_relay where relay <> 'west'}, 'copy'), 'east paused,relay paused', 'the others are not');

# Dropping one says what it leaves.
sql(q{select sentinai.pause_relay('east')});
poll_ok($node, 'postgres', $unslept, q{select state = 'paused' from sentinai.stat_relay where relay = 'east'}, 'paused');
publish('A', 'acme', 'order') foreach 1 .. 3;
passed_ok('relay', 'sequenced');
is(sql(q{select sentinai.drop_relay('east')}), '3', 'three events were not sent');
poll_ok($node, 'postgres', $unslept, q{select count(*) = 2 from pg_stat_activity where backend_type = 'sentinai relay' and datname = 'postgres'}, 'its process ends');
is(sql(q{select string_agg(relay, ' ' order by relay) from sentinai.stat_relay}), 'relay west', 'and nothing of it stays');
is(sql('select count(*) from sentinai_internal.subscription'), '2', 'nor a subscription');
is(log_count($node, 'ERROR:.*(XX000|is gone)'), 0, 'no error by the way');

# The places of a server's relays are free again when a database goes with its own.
sql('drop database copy with (force)');
foreach my $db (qw(first second))
{
	sql("create database $db");
	sql('create extension sentinai', $db);
	sql(q{select count(sentinai.create_relay('r' || i, 'kafka', 'bootstrap.servers=localhost:1', workers => case i when 20 then 1 else 0 end)) from generate_series(1, 20) i}, $db);
	poll_ok($node, $db, $unslept, q{select pid is not null from sentinai.stat_relay where relay = 'r20'}, "$db: twenty relays are known");
	sql("drop database $db with (force)");
}

$node->stop;
done_testing();
