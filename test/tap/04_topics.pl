# The relay and topics that cannot be written: whose events wait, where, for how
# long, and that nothing is lost or out of order when they go on.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;
use Time::HiRes qw(time);

my $unslept = 60;    # seconds within which anything here has to happen
my $inflight = 100;
my $broker = MockBroker->new('--brokers', 1);
my $node = new_node('topics',
	"sentinai.kafka_conf = 'bootstrap.servers=@{[$broker->bootstrap]},$MockBroker::soon'",
	"sentinai.relay_inflight = $inflight", 'sentinai.topic_partitions = 0',
	'sentinai.launcher_naptime = 1s', "include_if_exists 'test.conf'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

my %count;

# publish(N, TYPE...): N more events of each of 20 keys of each type, one key's
# events of all types in turn
sub publish
{
	my ($n, @types) = @_;
	my $from = ($count{$types[0]} //= 0) + 1;
	my $types = join ',', @types;

	$count{$_} = $from + $n - 1 foreach @types;
	sql(qq{
		do \$\$ begin
			for n in $from .. $from + $n - 1 loop
				perform sentinai.publish('Counted', 'acme', 'k' || k,
					jsonb_build_object('n', n), t)
				from generate_series(1, 20) k,
					unnest('{$types}'::text[]) t;
				commit;
			end loop;
		end \$\$});
	return;
}

# arrived(TYPE): how many events of a type arrived
sub arrived
{
	my ($type) = @_;
	my %ids = map { $_->{headers}{ce_id} => 1 }
	  grep { $_->{headers}{ce_type} eq 'Counted' } $broker->records("sentinai.$type");

	return scalar keys %ids;
}

# disorder(TYPE): first occurrences that come after a later one of their key
sub disorder
{
	my ($type) = @_;
	my (%seen, %last);
	my $bad = 0;

	foreach my $record ($broker->records("sentinai.$type"))
	{
		my ($n) = $record->{value} =~ /"n": ?(\d+)/;

		next if !defined $n || $seen{"$record->{key} $n"}++;
		$bad++ if $n != ($last{ $record->{key} } // 0) + 1;
		$last{ $record->{key} } = $n;
	}
	return $bad;
}

# all_arrived(TYPE, NAME): tests that all events of a type arrive, in order
sub all_arrived
{
	my ($type, $name) = @_;
	my $want = 20 * $count{$type};

	wait_for($unslept, sub { arrived($type) >= $want });
	is(arrived($type), $want, "$name: all arrived")
	  or diag(sql('select * from sentinai.stat_relay'));
	is(disorder($type), 0, "$name: in order");
	return;
}

sub nothing_waits
{
	my ($name) = @_;

	worked_off_ok($node, 'postgres', $unslept, q{
		select waiting_topics is null and waiting_events = 0 and lag_events = 0
		from sentinai.stat_relay}, "$name: nothing waits any more");
	is(sql(q{select count(*) from sentinai_internal.event_retry}), '0', "$name: no rows");
	is(sql(q{select count(*) from sentinai.dead_letter}), '0',
		"$name: no dead letters");
	return;
}

sql('create extension sentinai');

# a topic that is gone, and its neighbour in the same lanes
$broker->order("topic sentinai.$_ 4") foreach qw(gone fine);
publish(5, qw(gone fine));
all_arrived($_, 'before') foreach qw(gone fine);
$broker->order('topic-error sentinai.gone UNKNOWN_TOPIC_OR_PART');
# the client finds out in its own time; what goes until then arrives
wait_for($unslept, sub {
	publish(1, qw(gone fine));
	sql('select waiting_topics is not null from sentinai.stat_relay') eq 't';
});
publish(30, qw(gone fine));
all_arrived('fine', 'beside a topic that is gone');
my $start = time();
poll_ok($node, 'postgres', $unslept, q{
	select waiting_topics = '{sentinai.gone}' and waiting_events >= 500
		and state = 'running' and breaker = 'closed'
	from sentinai.stat_relay}, 'stat_relay shows the topic that waits');
like(sql(q{select topic || ' ' || reason || ' ' ||
		(waiting_since between now() - interval '2 min' and now()) || ' ' ||
		(dead_at - waiting_since)
	from sentinai.stat_relay_topic}),
	qr/^sentinai\.gone .*[Uu]nknown (topic|partition).* true 3 days$/,
	'and stat_relay_topic since when, why and until when');
cmp_ok(log_count($node, 'WARNING.*topic "sentinai.gone" cannot be written'),
	'==', 1, 'the log has one alarm');
is(sql('select count(*) from sentinai.dead_letter'), '0', 'no dead letters');

# through a kill, and more than the window holds
{
	my $pid = sql('select pid from sentinai.stat_relay');

	kill 'KILL', $pid;
	wait_for($unslept, sub { defined answer($node, 'postgres', 'select 1')
		&& answer($node, 'postgres', 'select pid from sentinai.stat_relay') });
	publish(30, qw(gone fine));
	all_arrived('fine', 'beside it, after a kill');
	poll_ok($node, 'postgres', $unslept,
		'select waiting_events >= 1200 from sentinai.stat_relay', 'more waits');
}
$broker->order('topic-error sentinai.gone NO_ERROR');
publish(20, qw(gone fine));
all_arrived($_, 'the topic is back') foreach qw(gone fine);
nothing_waits('the topic is back');
is(sql("select sum(parked) from sentinai.stat_lane where is_relay"), '0',
	'and the lanes count none');

# a topic whose write is denied for a while
$broker->order('errors Produce ' . join ' ',
	('TOPIC_AUTHORIZATION_FAILED') x 3);
publish(20, qw(denied));
all_arrived('denied', 'denied three times');
nothing_waits('denied three times');

# a deadline
set_conf_now($node, $unslept, 'sentinai.topic_timeout = 2s');
$broker->order('topic sentinai.late 4');
$broker->order('topic-error sentinai.late UNKNOWN_TOPIC_OR_PART');
publish(3, qw(late));
poll_ok($node, 'postgres', $unslept, q{
	select count(*) = 60 from sentinai.dead_letter
	where worker_type = 'relay' and status = 'pending'
		and reason like 'topic "sentinai.late": waited longer than %'},
	'sentinai.topic_timeout: dead letters, that name the topic');
poll_ok($node, 'postgres', $unslept, q{
	select count(*) = 60 from sentinai.event_log
	where event_type = 'DeadLettered' and payload ->> 'topic' = 'sentinai.late'},
	'and DeadLettered does');

# they are sent again, all at once; with the topic still away they wait for it
set_conf_now($node, $unslept, 'sentinai.topic_timeout = -1');
sql(q{select sentinai.retry_dead_letter(event_id, 'relay', 'me')
	from sentinai.dead_letter});
poll_ok($node, 'postgres', $unslept,
	q{select count(*) >= 60 from sentinai_internal.event_retry where topic = 'sentinai.late'},
	'tried again they wait for their topic');
is(sql('select dead_at is null from sentinai.stat_relay_topic'), 't',
	'without a deadline');
$broker->order('topic-error sentinai.late NO_ERROR');
poll_ok($node, 'postgres', $unslept, q{
	select count(*) = 60 from sentinai.dead_letter where status = 'succeeded'},
	'and are sent when it is there');
all_arrived('late', 'after dead letters');
sql(q{select sentinai.purge_dead_letters('infinity')});

# many dead letters are no trickle
{
	sql('select sentinai.pause_relay()');
	publish(100, 'many');
	sql(q{
		select sentinai.resume_relay()});
	all_arrived('many', 'many');
	set_conf_now($node, $unslept, q{sentinai.topic_template = '} . 'x' x 249 . q{{tenant}.{aggregate_type}'});
	sql(q{select sentinai.publish('Counted', 'a/b', 'k' || i, '{}', 'redriven')
		from generate_series(1, 2000) i});
	poll_ok($node, 'postgres', $unslept * 2, q{
		select count(*) = 2000 from sentinai.dead_letter
		where status = 'pending' and event_type = 'Counted'},
		'2,000 events without a possible topic');
	set_conf_now($node, $unslept);
	my $before = time();
	sql(q{select sentinai.retry_dead_letter(event_id, 'relay', 'me')
		from sentinai.dead_letter where event_type = 'Counted'});
	poll_ok($node, 'postgres', $unslept, q{
		select count(*) = 2000 from sentinai.dead_letter
		where status = 'succeeded' and event_type = 'Counted'},
		'2,000 dead letters are sent again');
	my $took = time() - $before;
	note(sprintf '%.1f s', $took);
	cmp_ok($took, '<', 15, 'faster than 130 a second');
	sql(q{select sentinai.purge_dead_letters('infinity')});
}

# an event with a dead letter in an open transaction stops its lane only
{
	my $id = sql(q{select sentinai.publish('Counted', 'acme', 'k1', '{}', 'a/b')});

	poll_ok($node, 'postgres', $unslept,
		"select count(*) = 1 from sentinai.dead_letter where event_id = '$id'",
		'a dead letter');
	my $session = $node->background_psql('postgres');
	$session->query_safe('begin');
	my $pid = $session->query_safe('select pg_backend_pid()');
	$session->query_safe("select sentinai.retry_dead_letter('$id', 'relay')");
	publish(20, 'open');
	poll_ok($node, 'postgres', $unslept,
		"select blocked_by = '{$pid}' from sentinai.stat_relay",
		'stat_relay shows who has the lane');
	publish(20, 'open');
	# the locked lane may have a few more of the 20 keys
	ok(wait_for($unslept, sub { arrived('open') >= 800 - 4 * 40 }),
		'the other lanes go on');
	poll_ok($node, 'postgres', $unslept,
		'select lag_events < 4 * 42 from sentinai.stat_relay',
		'and their positions are stored');
	$session->query_safe('commit');
	$session->quit;
	all_arrived('open', 'committed');
	poll_ok($node, 'postgres', $unslept, q{
		select blocked_by is null and lag_events = 0 from sentinai.stat_relay},
		'and nobody has it any more');
	sql(q{select sentinai.purge_dead_letters('infinity')});
}

# What no record can be made of: publish() takes no such payload, but the log may
# have one.
{
	my %smuggled = (
		huge => q{select jsonb_agg('1e131071'::numeric) from generate_series(1, 9000)},
		deep => q{select (repeat('[', 6000) || repeat(']', 6000))::jsonb});
	my %id;

	foreach my $kind (sort keys %smuggled)
	{
		$id{$kind} = sql(qq{
			do \$\$
			declare
				id uuid;
				part regclass;
			begin
				perform sentinai.publish('Counted', 'acme', 'k1', '{"n": 1}', '$kind');
				id := sentinai.publish('Counted', 'acme', 'k1', '{}', '$kind');
				perform sentinai.publish('Counted', 'acme', 'k1', '{"n": 2}', '$kind');
				select tableoid into part from sentinai_internal.event_log where event_id = id;
				set local allow_system_table_mods = on;
				execute format('alter table %s disable trigger refuse_change, disable trigger refuse_change_of_row', part);
				execute format('update %s set payload = (%s) where event_id = %L',
					part, \$q\$$smuggled{$kind}\$q\$, id);
				execute format('alter table %s enable always trigger refuse_change, enable always trigger refuse_change_of_row', part);
			end \$\$;
			select event_id from sentinai.event_log
			where aggregate_type = '$kind' and not payload ? 'n'
				and event_type = 'Counted'});
	}
	my $pid = sql('select pid from sentinai.stat_relay');
	poll_ok($node, 'postgres', $unslept,
		"select count(*) = 1 and bool_and(reason like '%larger as text%' and attempts = 1)"
		  . " from sentinai.dead_letter where event_id = '$id{huge}'",
		'a payload of a gigabyte as text is a dead letter');
	poll_ok($node, 'postgres', $unslept,
		"select count(*) = 1 and bool_and(reason like '%nested too deep%')"
		  . " from sentinai.dead_letter where event_id = '$id{deep}'",
		'one nested 6,000 deep, too');
	ok(wait_for($unslept, sub { arrived($_) == 2 }), "$_: the others flow")
	  foreach sort keys %smuggled;
	is(disorder($_), 0, "$_: in order") foreach sort keys %smuggled;
	sql("select sentinai.retry_dead_letter('$id{huge}', 'relay')");
	poll_ok($node, 'postgres', $unslept,
		"select status = 'pending' and attempts = 2 from sentinai.dead_letter"
		  . " where event_id = '$id{huge}'", 'tried again it is one again');
	is(sql('select pid from sentinai.stat_relay'), $pid, 'all in the same process');
}

$node->stop;
done_testing();
