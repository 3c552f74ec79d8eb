# A relay changes between workers of the server and sentinai-relay outside of it,
# under load: nothing is lost, each key stays in its order, and no more is sent
# again than what a process may have had without an answer when it ended.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use AgentHttp;
use Agents ();
use FindBin;
use MockBroker;
use OutsideRelay;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 60;    # seconds within which anything here has to happen
my $inflight = 20;    # events of a process without an answer
my $broker = MockBroker->new('--brokers', 1);
my $node = new_node('relay_outside', 'sentinai.topic_partitions = 0', 'sentinai.launcher_naptime = 1s', 'max_worker_processes = 24',
	'log_statement = none', "sentinai.relay_inflight = $inflight", "include_if_exists 'test.conf'");

Agents::use_node($node);
sub sql { return $node->safe_psql('postgres', $_[0]); }
sub conf { return 'bootstrap.servers=' . $broker->bootstrap . ",$MockBroker::soon" . ($_[0] // ''); }

sql(qq{
	create extension sentinai;
	select sentinai.create_roles();
	create role ferry login in role sentinai_relay;
	create role nobody login;
	select sentinai.create_relay('there', 'kafka', '@{[conf(',message.max.bytes=5000')]}', workers => 1)});
my $load = start_load($node, 'postgres', 'publish', 2, q{
	\set k random(1, 60)
	select sentinai.publish_batch(array_fill('T'::text, '{3}'), array_fill('t'::text, '{3}'), array_fill('k' || :k, '{3}'), array_fill('{}'::jsonb, '{3}'));
	\sleep 20 ms
});

# Take over, and take over again.
at_work('sentinai relay', 'a worker');
start_relay('one', '--http', '0');
says('one', 'workers inside the server send for it');
becomes('one', '/readyz', 200, 'one that waits is ready', qr/^ready: another one sends$/);
is(metrics_of('one')->{sentinai_relay_active}, 0, 'and not active');
sql(q{select sentinai.alter_relay('there', workers => 0)});
at_work('client backend', 'one outside');
becomes('one', '/readyz', 200, 'it is ready', qr/^ready$/);
is(status_of('one', '/livez'), 200, 'and alive');
my $metrics = metrics_of('one');
is(join(' ', @$metrics{qw(sentinai_relay_active sentinai_relay_connected sentinai_relay_breaker_open)}), '1 1 0', 'active');
cmp_ok($metrics->{sentinai_relay_events_acknowledged_total}, '>', 50, 'and counts');
cmp_ok($metrics->{sentinai_relay_turn_duration_seconds_count}, '>', 3, 'its turns, too');
my $page = slurp_file("$FindBin::RealBin/../../docs/kafka.md");
is(join(' ', grep { $page !~ /^\| `$_`/m } (get('one', '/metrics'))[1] =~ /^# TYPE (\w+)/mg), '', 'the page names all metrics');
start_relay('taken', '--http', '127.0.0.1:' . port_of('one'));
is((Agents::end_of('taken'))[0], 69, 'a port in use ends a program');
start_relay('two', '--http', '0', '--stuck-after', '1s');
says('two', 'another sentinai-relay sends for it');
kill 'KILL', $Agents::running{one};
Agents::end_of('one');
at_work('client backend', 'the one that waited, after kill -9 of the first');
sql(q{select pg_terminate_backend(pid) from sentinai.stat_relay where relay = 'there'});
at_work('client backend', 'again, after its session was ended');
is(metrics_of('two')->{sentinai_relay_reconnects_total}, 1, 'it has connected again');
sql(q{select sentinai.alter_relay('there', workers => 2)});
at_work('sentinai relay, sentinai relay', 'two workers');
says('two', 'workers inside the server send for it');
sql(q{select sentinai.alter_relay('there', workers => 0)});
at_work('client backend', 'outside once more');

# The switch.
sql(q{select sentinai.pause_relay('there')});
poll_ok($node, 'postgres', $unslept, q{select state = 'paused' and in_flight = 0 from sentinai.stat_relay where relay = 'there'}, 'paused');
says('two', 'paused');
becomes('two', '/readyz', 200, 'one that is paused is ready', qr/^ready: paused$/);
my $paused = $broker->records('sentinai.exception');
poll_ok($node, 'postgres', $unslept, q{select lag_events > 50 from sentinai.stat_relay where relay = 'there'}, 'events wait');
is(scalar($broker->records('sentinai.exception')), $paused, 'and none is sent');
sql(q{select sentinai.resume_relay('there')});
at_work('client backend', 'after a pause');
stop_load($load, $unslept);
relay_passed_ok($node, 'postgres', $unslept, 'all is sent');

my ($order, $copies) = order_and_copies(map { [ $_->{key} =~ s/^t://r, $_->{headers}{ce_id} ] } $broker->records('sentinai.exception'));
is($order, published_order('T'), 'each event, and in the order of its key');
cmp_ok($copies, '<=', $inflight * 6, 'few are sent again');

# What is wrong with one record is its dead letter; it goes out when it can.
sql(q{select sentinai.publish('L', 't', 'k1', jsonb_build_object('x', repeat('y', 6000)), 'large'), sentinai.publish('L', 't', 'k1', '{"x": 1}', 'large')});
poll_ok($node, 'postgres', $unslept, q{select count(*) = 1 from sentinai.dead_letter where worker_type = 'there' and status = 'pending'}, 'a dead letter');
sql(qq{select sentinai.alter_relay('there', settings => '@{[conf()]}')});
sql(q{select sentinai.retry_dead_letter(event_id, 'there', 'ann') from sentinai.dead_letter where worker_type = 'there'});
poll_ok($node, 'postgres', $unslept, q{select bool_and(status = 'succeeded') from sentinai.dead_letter where worker_type = 'there'}, 'is sent with other settings');
is(scalar($broker->records('sentinai.large')), 2, 'the two are there');

# Events of a topic that cannot be written wait beside the others, and go first.
$broker->order("topic sentinai.$_ 4") foreach qw(gone fine);
$broker->order('topic-error sentinai.gone UNKNOWN_TOPIC_OR_PART');
sql(q{select sentinai.publish('P', 't', 'k' || n % 5, jsonb_build_object('n', n), a) from generate_series(1, 100) n, unnest('{gone,fine}'::text[]) a});
poll_ok($node, 'postgres', $unslept, q{select waiting_topics = '{sentinai.gone}' and waiting_events >= 50 from sentinai.stat_relay where relay = 'there'}, 'events of a topic wait');
ok(wait_for($unslept, sub { $broker->records('sentinai.fine') == 100 }), 'others do not');
$broker->order('topic-error sentinai.gone NO_ERROR');
sql(q{select sentinai.publish('P', 't', 'k' || n % 5, jsonb_build_object('n', n), 'gone') from generate_series(101, 120) n});
poll_ok($node, 'postgres', $unslept, q{select waiting_events = 0 and lag_events = 0 and in_flight = 0 from sentinai.stat_relay where relay = 'there'}, 'and go out');
my %last;
is(scalar(grep { my ($n) = $_->{value} =~ /(\d+)/; my $late = ($last{ $_->{key} } // 0) > $n; $last{ $_->{key} } = $n unless $late; $late } $broker->records('sentinai.gone')),
	0, 'in their order');

# What the standbys have not confirmed is not sent.
set_conf_now($node, $unslept, "synchronous_standby_names = 'nobody'", 'sentinai.sync_grace = 0');
sql(q{set synchronous_commit = local; select sentinai.publish('S', 't', 'k', '{}', 'sure')});
poll_ok($node, 'postgres', $unslept, q{select count(*) > 0 from pg_stat_activity where application_name = 'sentinai-relay' and wait_event = 'SyncRep'}, 'it waits for the standby');
becomes('two', '/livez', 503, 'for longer than --stuck-after', qr/^stuck$/);
is(scalar($broker->records('sentinai.sure')), 0, 'before it sends');
set_conf_now($node, $unslept, "synchronous_standby_names = ''");
ok(wait_for($unslept, sub { $broker->records('sentinai.sure') == 1 }), 'then it goes out');

# It ends when it is told to, and leaves nothing to be sent again.
relay_passed_ok($node, 'postgres', $unslept, 'all is sent again');
is((Agents::stop_agent('two'))[0], 0, 'it ends');
poll_ok($node, 'postgres', $unslept, q{select state = 'stopped' and last_error ~ 'no sentinai-relay' from sentinai.stat_relay where relay = 'there'}, 'and stat_relay says so');

# Who may not, and behind a pooler nobody may.
start_relay('other', '-U', 'nobody');
is((Agents::end_of('other'))[0], 69, 'a role without the right is refused');
says('other', '42501');
my ($port, $user, $pooler) = Agents::start_pgbouncer(2);
SKIP:
{
	skip 'there is no pgbouncer', 2 unless $port;
	start_relay('pooled', '-h', $Agents::dir, '-p', $port);
	is((Agents::end_of('pooled'))[0], 69, 'a pooler is refused');
	says('pooled', 'SN409');
	$pooler->signal('TERM');
	$pooler->finish;
}
is(state_in($node, 'postgres', q{select sentinai.relay_call(1, '')}), 'SN409', 'no session without relay_open()');
is(state_in($node, 'postgres', q{select sentinai.relay_open('there', pg_backend_pid(), 0)}), 'SN422', 'nor with another protocol');
is(state_in($node, 'postgres', q{select sentinai.relay_open('none', pg_backend_pid(), 3)}), 'SN404', 'nor without the relay');
is(state_in($node, 'postgres', q{select sentinai.relay_open('there', pg_backend_pid(), 3); select sentinai.relay_call(n, m) from generate_series(3, 12) n, (values (''::bytea), (decode(repeat('ff', 4096), 'hex'))) v (m)}), 'SN422', 'nor for nonsense');
$node->stop;
done_testing();
