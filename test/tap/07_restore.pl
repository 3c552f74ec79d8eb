# pg_dump, plain, custom and parallel, into another cluster: everything is there
# as it was, the relay is silent until it is told, and life goes on.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 40;    # seconds within which anything here has to happen
my $dir = PostgreSQL::Test::Utils::tempdir();
my @settings = ('sentinai.topic_partitions = 0', 'sentinai.launcher_naptime = 1s');
my $old_broker = MockBroker->new('--brokers', 1);
my $new_broker = MockBroker->new('--brokers', 1);
my $old = new_node('old', @settings,
	"sentinai.kafka_conf = 'bootstrap.servers=@{[$old_broker->bootstrap]}'");
my $new = new_node('new', @settings,
	"sentinai.kafka_conf = 'bootstrap.servers=@{[$new_broker->bootstrap]}'");

# Of each table its rows, columns, indexes, triggers and bounds, of each
# sequence where it is.
my $picture = q{
	create function picture() returns table (name text, rows bigint, content text)
	language plpgsql as $$
	declare
		t record;
	begin
		for t in select c.oid, c.oid::regclass::text as name, relkind, relpartbound from pg_class c
			where relnamespace = 'sentinai_internal'::regnamespace
				and relkind in ('r', 'S') and relname <> 'relay_control' order by 2
		loop
			name := t.name;
			execute format(case t.relkind when 'S' then 'select last_value, is_called::text from %s'
				else 'select count(*), md5(string_agg(x::text, chr(10) order by x::text)) from %s x' end,
				t.name) into rows, content;
			content := concat_ws(' | ', content, pg_get_expr(t.relpartbound, t.oid),
				(select string_agg(pg_get_indexdef(indexrelid), ';' order by indexrelid::regclass::text)
				from pg_index where indrelid = t.oid),
				(select string_agg(tgname || tgenabled::text, ';' order by tgname) from pg_trigger
				where tgrelid = t.oid));
			return next;
		end loop;
	end $$};

sub picture
{
	my ($node, $db) = @_;

	return $node->safe_psql($db, 'select * from picture() order by 1');
}

# burn: use up transaction numbers
sub burn
{
	my ($node, $n) = @_;

	$node->safe_psql('postgres', "do \$\$ begin for i in 1 .. $n loop"
		  . ' perform pg_current_xact_id(); commit; end loop; end $$');
	return;
}

# sequenced_ok: every event that is due is in one slice
sub sequenced_ok
{
	my ($node, $db, $name) = @_;

	poll_ok($node, $db, $unslept, q{
		select not exists (
			select event_id from sentinai.event_log
			where coalesce(deliver_at, '-infinity') < now()
			except all select id from sentinai_internal.slice, unnest(event_ids) id where stream_id = 0)
		and not exists (
			select id from sentinai_internal.slice, unnest(event_ids) id where stream_id = 0
			group by id having count(*) > 1)}, $name);
	return;
}

sub ids { return join ' ', sort map { $_->{headers}{ce_id} } @_; }

# A database with something of everything.
burn($old, 3000);
$old->safe_psql('postgres', 'create database app');
$old->safe_psql('app', $picture);
$old->safe_psql('app', q{
	create extension sentinai;
	select sentinai.subscribe('all');
	select sentinai.subscribe('some', '{A}', max_attempts => 2, backoff => '{1h}', on_dead => 'block');
	select sentinai.subscribe('gone');
	select sentinai.unsubscribe('gone');
	select sentinai.set_retry_policy('all', 'B', 7, '{1s}');
	select sentinai.publish((array['A', 'B', 'C'])[1 + i % 3], 't', 'k' || i % 7,
		jsonb_build_object('n', i), 'restore', idempotency_key => 'key' || i)
	from generate_series(1, 60) i;
	select sentinai.publish('A', 't', 'k1', '{}', 'restore', deliver_at => now() + '1 day')});
poll_ok($old, 'app', $unslept, q{
	select lag_events = 0 and in_flight = 0 and (select count(*) = 60 from sentinai_internal.slice, unnest(event_ids)
		where stream_id = 0) from sentinai.stat_relay}, 'the relay has sent what is due');
$old->safe_psql('app', q{
	select sentinai.pause_relay();
	-- completed, failed, dead, given back, and open
	select sentinai.complete(min(token)) from sentinai.claim('all', 20);
	select sentinai.fail(token, event_id, 'later', retry_in => '1 h') from sentinai.claim('some', 1);
	select sentinai.fail(token, event_id, 'never', retryable => false) from sentinai.claim('some', 1);
	select sentinai.fail(token, event_id, 'again', retry_in => '0') from sentinai.claim('all', 1);
	select sentinai.publish('A', 't', 'k' || i, '{"unsent": true}', 'restore')
	from generate_series(1, 30) i});
sequenced_ok($old, 'app', 'all is sequenced');
my $open = $old->safe_psql('app', q{
	create table leased as
	select event_id, attempt from sentinai.claim('all', 5, '1 day');
	select string_agg(event_id || ' ' || attempt, ',' order by event_id) from leased});
like($open, qr/ 1/, 'a batch is out');
my %sent = map { $_->{headers}{ce_id} => 1 } $old_broker->records('sentinai.restore');
my $unsent = join ' ', grep { !$sent{$_} } split / /,
  $old->safe_psql('app', q{select string_agg(event_id::text, ' ' order by event_id::text collate "C")
	from sentinai.event_log where coalesce(deliver_at, now()) <= now()
		and event_type not in ('RetryScheduled', 'DeadLettered')});
cmp_ok(scalar(split / /, $unsent), '>=', 30, 'some is unsent');
poll_ok($old, 'app', $unslept,
	"select state = 'paused' and in_flight = 0 from sentinai.stat_relay", 'the relay is paused');
my $before = picture($old, 'app');
cmp_ok(scalar(split /\n/, $before), '>', 15, 'there are tables');

# three kinds of dump, three copies
my %dump = (
	plain => [ '-Fp' ], custom => [ '-Fc' ], directory => [ '-Fd', '-j2' ]);
foreach my $kind (sort keys %dump)
{
	$old->command_ok([ 'pg_dump', @{ $dump{$kind} }, '-f', "$dir/$kind", 'app' ],
		"pg_dump, $kind");
	$new->safe_psql('postgres', "create database $kind");
	if ($kind eq 'plain')
	{
		$new->command_ok([ 'psql', '-Xq1', '-v', 'ON_ERROR_STOP=1', '-d', $kind,
				'-f', "$dir/$kind" ], 'psql');
	}
	else
	{
		$new->command_ok([ 'pg_restore', '-e', '-d', $kind,
				($kind eq 'directory' ? '-j2' : '--single-transaction'), "$dir/$kind" ],
			"pg_restore, $kind");
	}
	is(picture($new, $kind), $before, 'everything is there as it was');
}
is(picture($old, 'app'), $before, 'and has not changed where it came from');

# the workers are there, and leave it alone
cmp_ok($new->safe_psql('postgres', "select pg_current_xact_id()::text::bigint"), '<',
	$old->safe_psql('app', 'select min(txid) from sentinai.event_log'),
	'transaction numbers are lower here');
foreach my $kind (sort keys %dump)
{
	poll_ok($new, $kind, $unslept,
		"select state = 'paused' and pid is not null from sentinai.stat_relay",
		"$kind: the relay is paused");
	is(picture($new, $kind), $before, 'nobody has written');
}

# used before after_restore(), then taken over
my $first = $new->safe_psql('custom',
	"select sentinai.publish('A', 't', 'k1', '{}', 'restore')");
is($new->safe_psql('custom',
	q{select sentinai.publish('B', 't', 'k' || 1 % 7, '{"n": 1}', 'restore', idempotency_key => 'key1')
		= event_id from sentinai.event_log where payload = '{"n": 1}'}),
	't', 'idempotency keys go on');
$new->safe_psql($_, 'select sentinai.after_restore()') foreach sort keys %dump;
sequenced_ok($new, 'custom', 'new events are sequenced');
$new->safe_psql('custom', q{
	create table before as select event_id from sentinai.event_processing where worker_type = 'all';
	create table again (event_id uuid, attempt int)});
ok(wait_for($unslept, sub {
	return $new->safe_psql('custom', q{
		with c as materialized (select * from sentinai.claim('all', 1000)),
			i as (insert into again select event_id, attempt from c)
		select sentinai.complete(token) from (select distinct token from c) t;
		select not exists (
			select event_id from sentinai.event_log where coalesce(deliver_at, now()) <= now()
				and payload -> 'worker_type' is distinct from '"all"'
			except select event_id from before except select event_id from again)}) =~ /^t$/m;
}), 'what was not completed can be claimed');
is($new->safe_psql('custom', q{
	select count(*) - count(distinct event_id), count(before.event_id)
	from again left join before using (event_id)}), '0|0', 'once, and nothing else');
is($new->safe_psql('custom', q{
	select string_agg(event_id || ' ' || attempt, ',' order by event_id)
	from again where event_id in (select event_id from leased)}),
	$open =~ s/^\n//r, 'leases of the old place are given up, no attempt counted');
is($new->safe_psql('custom', q{
	select string_agg(status || ' ' || worker_type, ',') from sentinai.dead_letter}),
	'pending some', 'dead letters are there');
$new->safe_psql('custom', q{
	select sentinai.retry_dead_letter(event_id, 'some', 'me') from sentinai.dead_letter});
is($new->safe_psql('custom', q{
	select count(*) from sentinai.claim('some', 1000) c join sentinai.dead_letter d using (event_id)}),
	'1', 'and can be tried again');

# the relay: nothing, then what was unsent
poll_ok($new, 'custom', $unslept,
	"select state = 'paused' and lag_events > 0 from sentinai.stat_relay",
	'the relay is still paused');
is(ids($new_broker->records('sentinai.restore')), '', 'nothing was sent');
$new->safe_psql('custom', 'select sentinai.resume_relay()');
my @records;
wait_for($unslept, sub {
	@records = $new_broker->records('sentinai.restore');
	return @records > split / /, $unsent;
});
is(ids(@records), join(' ', sort $first, split / /, $unsent),
	'resume_relay(): what was unsent, and what is new');

# the numbers of the old cluster come again here
burn($new, 4000);
cmp_ok($new->safe_psql('postgres', "select pg_current_xact_id()::text::bigint"), '>',
	$old->safe_psql('app', 'select max(txid) from sentinai.event_log'),
	'transaction numbers have passed the stored ones');
foreach my $kind (sort keys %dump)
{
	$new->safe_psql($kind, "select sentinai.publish('A', 't', 'k2', '{}', 'other')");
	sequenced_ok($new, $kind, "$kind: every event is in one slice");
}
wait_for($unslept, sub { $new_broker->records('sentinai.other') > 0 });
is(scalar(@records = $new_broker->records('sentinai.other')), 1,
	'the copies that nobody resumed send nothing');

# a database that no round has seen
my $bare = PostgreSQL::Test::Cluster->new('bare');
$bare->init;
$bare->start;
burn($bare, 9000);
$bare->safe_psql('postgres', q{
	create extension sentinai;
	select sentinai.publish('A', 't', 'k1', '{}', 'bare') from generate_series(1, 5)});
$bare->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/bare", 'postgres' ],
	'pg_dump before the first round');
$bare->stop;
$new->safe_psql('postgres', 'create database bare');
$new->command_ok([ 'pg_restore', '-e', '-d', 'bare', "$dir/bare" ], 'pg_restore');
$new->safe_psql('bare', q{
	select sentinai.after_restore();
	select sentinai.subscribe('all', start_from => 'earliest')});
sequenced_ok($new, 'bare', 'its events are sequenced');
poll_ok($new, 'bare', $unslept,
	"select state = 'paused' and pid is not null from sentinai.stat_relay",
	'its relay is paused, too');
burn($new, 9000);
$new->safe_psql('bare', "select sentinai.publish('A', 't', 'k1', '{}', 'bare')");
sequenced_ok($new, 'bare', 'every event is in one slice');
is($new->safe_psql('bare', "select count(*) from sentinai.claim('all', 100)"), '6',
	'and comes once');
is(ids($new_broker->records('sentinai.bare')), '', 'nothing was sent');
$new->safe_psql('bare', 'select sentinai.resume_relay()');
ok(wait_for($unslept, sub { @records = $new_broker->records('sentinai.bare'); @records >= 6 }),
	'until resume_relay()');

is(log_count($_, qr/ERROR:|PANIC:/), 0, 'no error in the log of ' . $_->name)
  foreach $old, $new;
$_->stop foreach $old, $new;
done_testing();
