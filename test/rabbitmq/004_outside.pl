# test/rabbitmq/004_outside.pl: a relay to RabbitMQ changes between workers of the
# server and sentinai-relay outside of it, under load; programs, their sessions and
# the broker are killed, one is frozen beyond its time. Nothing is lost, each key
# stays in its order, and the broker's password is not on the server.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use Agents ();
use FindBin;
use lib "$FindBin::RealBin/lib";
use OutsideRelay;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RabbitNode;
use Sentinai;
use Test::More;

my $unslept = 90;    # seconds within which anything here has to happen
my $inflight = 20;    # events of a process without an answer
my $rabbit = RabbitNode->new("$PostgreSQL::Test::Utils::tmp_check/rabbit_outside");
my $node = new_node('rabbit_outside', 'sentinai.launcher_naptime = 1s', 'max_worker_processes = 24', 'log_statement = none',
	"sentinai.relay_inflight = $inflight", 'sentinai.breaker_open_time = 1s', "include_if_exists 'test.conf'");

Agents::use_node($node);
sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(qq{
	create extension sentinai;
	select sentinai.create_roles();
	create role ferry login in role sentinai_relay;
	select sentinai.create_relay('there', 'rabbitmq', '@{[$rabbit->conf]}', workers => 1)});
my $load = start_load($node, 'postgres', 'publish', 2, q{
	\set k random(1, 60)
	select sentinai.publish_batch(array_fill('T'::text, '{3}'), array_fill('t'::text, '{3}'), array_fill('k' || :k, '{3}'), array_fill(jsonb_build_object('k', 'k' || :k), '{3}'));
	\sleep 150 ms
});

# Take over, and take over again.
at_work('sentinai relay', 'a worker');
start_relay('one');
says('one', 'workers inside the server send for it');
sql(q{select sentinai.alter_relay('there', workers => 0)});
at_work('client backend', 'one outside');
start_relay('two');
says('two', 'another sentinai-relay sends for it');
kill 'KILL', $Agents::running{one};
Agents::end_of('one');
at_work('client backend', 'the one that waited, after kill -9 of the first');

# The broker is killed.
$rabbit->kill9;
relay_says($node, 'postgres', $unslept, qr/RabbitMQ/);
$rabbit->start;
at_work('client backend', 'the broker is back');

# Its session ends while it is frozen; it still has events when it goes on.
start_relay('three');
says('three', 'another sentinai-relay sends for it');
kill 'STOP', $Agents::running{two};
sql(q{select pg_terminate_backend(pid) from sentinai.stat_relay where relay = 'there'});
at_work('client backend', 'another, while the first is frozen');
kill 'CONT', $Agents::running{two};
says('two', '57P01|connection lost');
kill 'TERM', $Agents::running{three};
is((Agents::end_of('three'))[0], 0, 'it ends');
at_work('client backend', 'the first again');

# Back into the server and out again.
sql(q{select sentinai.alter_relay('there', workers => 2)});
at_work('sentinai relay, sentinai relay', 'two workers');
says('two', 'workers inside the server send for it');
sql(q{select sentinai.alter_relay('there', workers => 0)});
at_work('client backend', 'outside once more');
stop_load($load, $unslept);
relay_passed_ok($node, 'postgres', $unslept, 'all is sent');

my $published = published_order('T');
my @pairs = map { [ $_->{body} =~ /"k": "(\w+)"/, $_->{message_id} ] } $rabbit->take('sentinai.exception', scalar(split /\n/, $published));
push @pairs, map { [ $_->{body} =~ /"k": "(\w+)"/, $_->{message_id} ] } $rabbit->take('sentinai.exception');
my ($order, $copies) = order_and_copies(@pairs);
is($order, $published, 'each event, and in the order of its key');
cmp_ok($copies, '<=', $inflight * 8, 'few are sent again');

# A password that the program alone has; what no queue takes is its dead letter.
my $secrets = PostgreSQL::Test::Utils::tempdir();
append_to_file("$secrets/password", "c4n4ry-pa55\n");
chmod 0600, "$secrets/password";
$rabbit->ctl('add_user', 'eve', 'c4n4ry-pa55');
$rabbit->ctl('set_permissions', 'eve', '.*', '.*', '.*');
$rabbit->declare('exchange', 'narrow', 'direct');
$rabbit->declare('queue', 'narrow', {});
$rabbit->declare('binding', 'narrow', 'narrow', 'sentinai.known');
is((Agents::stop_agent('two'))[0], 0, 'it ends when it is told to');
start_relay('guarded', '--secret-directory', $secrets);
sql(qq{select sentinai.alter_relay('there', settings => '@{[$rabbit->conf('username=eve', "password.file=$secrets/password", 'exchange=narrow')]}')});
sql(q{select sentinai.publish('N', 't', 'k' || n % 5, '{}', a) from generate_series(1, 20) n, unnest('{known,unknown}'::text[]) a});
poll_ok($node, 'postgres', $unslept, q{select count(*) = 20 and bool_and(reason ~ 'NO_ROUTE') from sentinai.dead_letter where worker_type = 'there'}, 'unroutable events are dead letters');
is(scalar(my @known = $rabbit->take('narrow', 20)), 20, 'others arrive');
is((Agents::stop_agent('guarded'))[0], 0, 'it ends');
unlike(slurp_file($node->logfile) . slurp_file("$Agents::dir/guarded.log"), qr/c4n4ry/, 'no password in a log');
done_testing();
