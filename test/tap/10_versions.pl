# From each released version to this one. The library is the new one already while
# a database still has the old tables: all goes on, then ALTER EXTENSION UPDATE
# comes under load. What it makes is what CREATE EXTENSION makes.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 60;    # seconds within which anything here has to happen
my $dir = PostgreSQL::Test::Utils::tempdir();
my $root = $ENV{TESTDIR};
my ($version) = slurp_file("$root/sentinai.control") =~ /default_version = '(.*?)'/;
my @released = map { $_->[0] }
  sort { $a->[1] <=> $b->[1] || $a->[2] <=> $b->[2] || $a->[3] <=> $b->[3] }
  map { m{sentinai--(([0-9]+)\.([0-9]+)\.([0-9]+))\.sql$} ? [ $1, $2, $3, $4 ] : () } glob "$root/sql/sentinai--*.sql";
my $broker = MockBroker->new('--brokers', 1);
my $node = new_node('versions', 'sentinai.launcher_naptime = 1s', 'sentinai.topic_partitions = 0',
	"sentinai.kafka_conf = 'bootstrap.servers=@{[$broker->bootstrap]}'");

# new_database(NAME, VERSION): with the extension, after somebody has said what
# everybody may do with what comes
sub new_database
{
	my ($db, $of) = @_;

	$node->safe_psql('postgres', "create database $db");
	$node->safe_psql($db, qq{
		alter default privileges grant select on tables to reader;
		alter default privileges grant usage on sequences to reader;
		alter default privileges grant execute on functions to reader;
		alter default privileges grant usage on types to reader;
		create extension sentinai version '$of'});
	return;
}

# catalog(DATABASE): all that the catalogue has of the extension there
sub catalog
{
	my ($db) = @_;

	return $node->safe_psql($db, slurp_file("$root/test/lib/catalog.sql") . 'select pg_temp.catalog()');
}

# same_ok(FRESH, UPDATED, NAME): a test that they are equal; a diff, if they are not
sub same_ok
{
	my ($fresh, $updated, $name) = @_;
	my ($in_fresh, $in_updated) = map { my %lines = map { $_ => 1 } split /\n/, $_; \%lines } $fresh, $updated;
	my @diff = sort((map { $in_updated->{$_} ? () : "$_\n#     ^ lacks after the update" } keys %$in_fresh),
		map { $in_fresh->{$_} ? () : "$_\n#     ^ has only after the update" } keys %$in_updated);

	ok(!@diff, $name) or diag(join "\n", @diff);
	return;
}

$node->safe_psql('postgres', 'create role reader; create role app');
new_database('fresh', $version);
my $fresh = catalog('fresh');
cmp_ok(scalar(split /\n/, $fresh), '>', 1000, 'there is a catalogue');
my $own = $node->safe_psql('fresh', 'select string_agg(distinct event_type, $$,$$) from sentinai.event_types');
foreach my $old (@released)
{
	my $db = 'from_' . $old =~ tr/./_/r;

	new_database($db, $old);
	is($node->safe_psql($db, 'select installed_version from sentinai.stat_info'), $old, "$old is installed");
	# somebody has types of names that become the extension's own
	$node->safe_psql($db, qq{
		insert into sentinai_internal.event_type
			(event_type, version, direction, schema, examples, compatibility, registered_at, registered_by)
		select name, version, 'inbound', '{"type": "string"}', '[]', 'none', now(), 'somebody'
		from unnest('{$own}'::text[]) name, generate_series(1, 3) version
		where not exists (select from sentinai_internal.event_type where event_type = name)}) if $old ne '0.1.0';
	$node->safe_psql($db, 'alter extension sentinai update');
	same_ok($fresh, catalog($db), "from $old to $version: the same as a new one");
}

# A dump does not say of which version it is: it makes the newest.
my $rows = q{select (select count(*) from sentinai.event_log), (select count(*) from sentinai.event_processing),
	(select count(*) from sentinai_internal.subscription where not is_relay), has_function_privilege('app', 'sentinai.unsubscribe(text)', 'execute')};
foreach my $old (@released)
{
	$node->safe_psql('postgres', 'create database dumped');
	$node->safe_psql('dumped', qq{
		create extension sentinai version '$old';
		grant execute on function sentinai.unsubscribe to app;
		select sentinai.subscribe('all', start_from => 'earliest');
		select sentinai.publish('Old', 't', 'k' || i, '{}') from generate_series(1, 10) i});
	ok(wait_for($unslept, sub {
		return $node->safe_psql('dumped', q{
			select sentinai.complete(min(token)) from sentinai.claim('all', 4) having count(*) > 0;
			select count(*) > 0 from sentinai.event_processing}) =~ /^t$/m;
	}), "$old: a database");
	my $before = $node->safe_psql('dumped', $rows);
	$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dumped_$old", 'dumped' ], 'pg_dump');
	$node->safe_psql('postgres', 'drop database dumped');
	$node->safe_psql('postgres', 'create database dumped');
	$node->command_ok([ 'pg_restore', '-e', '-d', 'dumped', "$dir/dumped_$old" ], 'pg_restore');
	is($node->safe_psql('dumped', $rows), $before, 'all is there');
	$node->safe_psql('dumped', 'revoke execute on function sentinai.unsubscribe from app');
	same_ok($fresh, catalog('dumped'), 'and is as in a new one');
	$node->safe_psql('postgres', 'drop database dumped');
}

# A table of the version before may lack its last columns: they are null, and
# nothing is written to them.
my $old = $released[0];
new_database('narrow', $old);
$node->safe_psql('narrow', q{
	set allow_system_table_mods = on;
	begin;
	delete from pg_attribute where attrelid = 'sentinai_internal.subscription'::regclass and attname in ('old_streams', 'old_until');
	update pg_class set relnatts = relnatts - 2 where oid = 'sentinai_internal.subscription'::regclass;
	commit});
is($node->safe_psql('narrow', q{
	select count(*) from pg_attribute where attrelid = 'sentinai_internal.subscription'::regclass and attname ~ '^old_'}), '0',
	'a table lacks two columns');
is($node->safe_psql('narrow', q{
	select sentinai.subscribe('narrow', '{Narrow}');
	select sentinai.publish('Narrow', 't', 'k' || i, '{}') is null from generate_series(1, 20) i;
	select sentinai.alter_subscription('narrow', max_attempts => 7);
	select sentinai.alter_subscription('narrow', event_types => '{Narrow,Wide}');
	select sentinai.publish('Wide', 't', 'k', '{}') is null;
	select max_attempts from sentinai_internal.subscription where worker_type = 'narrow'}) =~ s/.*\n//sr, '7', 'its rows are written');
ok(wait_for($unslept, sub {
	return $node->safe_psql('narrow', q{
		select sentinai.complete(token) from (select min(token) as token from sentinai.claim('narrow', 100)) c where token is not null;
		select count(*) = 21 from sentinai.event_processing}) =~ /^t$/m;
}), 'and read');
$node->safe_psql('narrow', q{select sentinai.unsubscribe('narrow')});
# a worker gives way to an update that takes longer than its patience
is(log_count($node, qr/PANIC:|ERROR:(?!  canceling statement due to lock timeout)/), 0, 'without an error');
$node->safe_psql('postgres', 'drop database narrow');

my $db;

sub sql { return $node->safe_psql($db, $_[0]); }

sub moved_on
{
	my ($name) = @_;
	my $count = q{select count(*) || ' ' || (select coalesce(sum(acked_count), 0) from sentinai.stat_relay) from effect};
	my ($before, $acked) = split / /, sql($count);

	ok(wait_for($unslept, sub {
		my ($now, $sent) = split / /, sql($count);
		return $now > $before + 200 && $sent > $acked + 200;
	}), $name);
	return;
}

# walk(VERSION): a database of that version, with agents, publishers and the relay
# at work, through the update. The partitions of the first version lack an index.
sub walk
{
	my ($old) = @_;
	my $registry = $old ne '0.1.0';

	$db = 'shop_' . $old =~ tr/./_/r;
	new_database($db, $old);
	poll_ok($node, $db, $unslept, 'select pid is not null from sentinai.stat_relay', 'the workers are there');
	add_make_set($node, $db);
	sql(q{
		select sentinai.make_partitions(now());
		select make_set(date_trunc('day', now() - '3 days'::interval), date_trunc('day', now() - '2 days'::interval));
		set allow_system_table_mods = on;
		do $$
		declare
			i record;
		begin
			for i in select indexrelid::regclass::text as name from pg_index
				where pg_get_indexdef(indexrelid) like '%hashtext(correlation_id)%' loop
				execute 'drop index ' || i.name;
			end loop;
		end $$}) unless $registry;
	sql(q{
		grant usage on schema sentinai to app;
		grant execute on function sentinai.publish, sentinai.claim, sentinai.complete, sentinai.subscribe to app;
		grant select on sentinai.dead_letter to app});
	is(sql('select version, installed_version from sentinai.stat_info'), "$version|$old", 'stat_info tells both versions');
	ok(log_count($node, qr/WARNING:  extension "sentinai" is version \Q$old\E in database "\Q$db\E", and its library is version \Q$version\E/),
		'and the log');
	ok($registry || sql(q{set sentinai.unknown_event_types = refuse; select sentinai.publish('Early', 't', 'k', '{}')}),
		'without a registry no type has to be in it');
	my $cause = sql(q{select sentinai.publish('Early', 't', 'k', '{}', correlation_id => 'early')});
	sql(q{select sentinai.publish('Early', 't', 'k', '{}', correlation_id => 'flow7')});
	is(sql(qq{
		begin;
		set local sentinai.work_on = '$cause';
		select sentinai.publish('Late', 't', 'k2', '{}');
		commit;
		select correlation_id from sentinai.event_log where event_type = 'Late'}) =~ s/.*\n//r, 'early',
		'an event is inherited from');

	# load
	sql(q{
		create table effect (no bigint generated always as identity, worker text, event_id uuid, tenant text, key text);
		select sentinai.subscribe('all', '{Busy,Batch}', max_attempts => 50, backoff => '{50ms,100ms}');
		select sentinai.subscribe('some', '{Busy}', max_attempts => 50, backoff => '{50ms,100ms}');
		create function work() returns void language plpgsql as $$
		declare
			worker text := case when random() < 0.6 then 'all' else 'some' end;
			failed text[] := '{}';
			ids uuid[] := '{}';
			tokens text[] := '{}';
			e record;
			chance float;
		begin
			for e in select * from sentinai.claim(worker, 30, '1 minute') loop
				chance := random();
				continue when e.tenant_id || e.aggregate_id = any (failed);
				if chance < 0.03 then
					-- what is behind one that waits has left the batch with it
					if sentinai.fail(e.token, e.event_id, 'by chance', chance < 0.025) = 'retrying' then
						failed := failed || (e.tenant_id || e.aggregate_id);
					end if;
				else
					insert into effect (worker, event_id, tenant, key) values (worker, e.event_id, e.tenant_id, e.aggregate_id);
					ids := ids || e.event_id;
				end if;
				tokens := array[e.token];
			end loop;
			if ids <> '{}' then
				perform sentinai.complete(tokens[1], ids);
			end if;
		end $$});
	my @loads = map { start_load($node, $db, $_->[0], $_->[1], "$_->[2]\\sleep 5 ms\n") } (
		[ 'publish', 2, q{
	\set k random(1, 30)
	select sentinai.publish('Busy', 't', 'k' || :k, '{"n": 1}', 'versions',
		correlation_id => case when random() < 0.1 then 'flow' || :k end,
		deliver_at => case when random() < 0.1 then clock_timestamp() + '0.3 s'::interval end);
	} ],
		[ 'batch', 1, q{
	select sentinai.publish_batch(array_agg('Batch'::text), array_agg('t' || i % 3), array_agg('k' || (random() * 30)::int),
		array_agg(jsonb_build_object('n', i)), 'versions') from generate_series(1, 30) i;
	\sleep 50 ms
	} ],
		[ 'work', 3, "select work();\n" ]);

	# Two sessions from before: one transaction that is open all the while, and one
	# that goes on publishing what somebody will register.
	my %session;
	foreach my $run ([ open => qq{
			begin
				perform sentinai.publish('Busy', 't', 'k1', '{"open": 1}', 'versions');
				while (select extversion from pg_extension where extname = 'sentinai') = '$old' loop
					perform pg_sleep(0.05);
				end loop;
				for i in 2 .. 3 loop
					perform sentinai.publish('Busy', 't', 'k1', jsonb_build_object('open', i), 'versions');
					perform pg_sleep(0.5);
				end loop;
			end } ],
		[ typed => q{
			begin
				for i in 1 .. 30000 loop
					perform sentinai.publish('Typed', 't', 'k1', '{}', 'versions');
					commit;
					perform pg_sleep(0.02);
				end loop;
			end } ])
	{
		my ($name, $text) = @$run;
		my ($out, $err) = ('', '');

		$session{$name} = { err => \$err,
			run => IPC::Run::start([ 'psql', '-Xq', '-v', 'VERBOSITY=verbose', '-d', $node->connstr($db),
				'-c', "do \$\$ $text \$\$" ], '<', \undef, '>', \$out, '2>', \$err) };
	}
	sql(q{
		begin;
		select sentinai.publish('Busy', 't', 'k1', '{"prepared": 1}', 'versions');
		prepare transaction 'before'});

	moved_on('the new library works on the old tables');
	poll_ok($node, $db, $unslept, q{
		select (select count(*) > 0 from sentinai.dead_letter) and (select count(*) > 0 from sentinai_internal.event_retry)
			and (select count(*) > 0 from pg_stat_activity where query like '%"open": 1%' and backend_type = 'client backend' and pid <> pg_backend_pid())},
		'some fail');
	my $refused = log_count($node, qr/ERROR:  payload does not fit/);
	my $pids = 'select relay.pid, sequencer_pid from sentinai.stat_relay relay, sentinai.stat_info';
	my $workers = sql($pids);
	sql('alter extension sentinai update');
	is(sql('select version, installed_version from sentinai.stat_info'), "$version|$version", 'ALTER EXTENSION UPDATE');
	moved_on('and all goes on');
	is(sql($pids), $workers, 'with the same processes');
	like(sql(q{
		select sentinai.subscribe('same', '{Busy}');
		select count(distinct stream_id) from sentinai_internal.subscription where worker_type in ('some', 'same');
		select sentinai.unsubscribe('same')}), qr/^1$/m, 'a stream from before is shared with who wants the same now');
	sql(q{select sentinai.register_event_type('Typed', '{"type": "object", "required": ["n"]}')});
	ok(wait_for($unslept, sub { log_count($node, qr/ERROR:  payload does not fit/) > $refused }), 'a session from before learns of a type');
	$session{typed}{run}->finish;
	like(${ $session{typed}{err} }, qr/SN422/, 'and refuses what does not fit it');
	$session{open}{run}->finish;
	is(${ $session{open}{err} }, '', 'a transaction can be older than the update');
	sql(q{commit prepared 'before'});
	moved_on('more');
	stop_load($_, $unslept) foreach @loads;
	ok(wait_for($unslept, sub {
		sql('select work()');
		return sequenced($node, $db) && sql(q{
			select (select bool_and(lag_events = 0) from sentinai.stat_queue)
				and (select bool_and(lag_events = 0 and in_flight = 0) from sentinai.stat_relay)}) eq 't';
	}), 'everything is worked off');

	# what became of it
	is(sql(q{select count(*) from sentinai.event_log where payload->'prepared' = '1' or payload ? 'open'}), '4',
		'what was open over the update is there');
	is(sql(q{
		select count(*) from (
			select s.worker_type, l.event_id from sentinai.event_log l
				join sentinai_internal.subscription s on l.event_type = 'Busy' or (l.event_type = 'Batch' and s.worker_type = 'all')
			where not s.is_relay) wanted
		full join (
			select worker, event_id from effect
			union all select worker_type, event_id from sentinai.dead_letter where worker_type in ('all', 'some')) was
			on was.worker = wanted.worker_type and was.event_id = wanted.event_id
		where was.event_id is null or wanted.event_id is null}), '0',
		'each event had its effect or is a dead letter: ' . sql(q{select count(*) || ' and ' || (select count(*) from sentinai.dead_letter) from effect}));
	is(sql('select count(*) - count(distinct (worker, event_id)) from effect'), '0', 'once');
	is(sql(q{
		with place as (
			select s.worker_type, x.event_id, row_number() over (partition by s.worker_type order by l.slice_no, x.i) as place
			from sentinai_internal.subscription s join sentinai_internal.slice l using (stream_id)
				cross join lateral unnest(l.event_ids) with ordinality x (event_id, i)
		), done as (
			select p.place, lag(p.place) over (partition by e.worker, e.tenant, e.key order by e.no) as before
			from effect e join place p on p.worker_type = e.worker and p.event_id = e.event_id)
		select count(*) filter (where before > place) || ' of ' || (count(*) > 500) from done}), '0 of true', 'in the order of its key');
	my %ids = map { $_->{headers}{ce_id} => 1 } map { $broker->records($_) } 'sentinai.versions', 'sentinai.exception';
	is(sql(qq{select count(*) from sentinai.event_log where event_type not in ('RetryScheduled', 'DeadLettered')
		and event_id <> all ('{@{[join ',', keys %ids]}}'::uuid[])}), '0', 'and the broker has it');

	# flows in partitions that came with the old version
	my $named = q{select event_id from sentinai.event_log where correlation_id = 'flow7' order by 1};
	my $unindexed = q{select count(*) from pg_inherits where inhparent = 'sentinai_internal.event_log'::regclass
		and not exists (select from pg_index where indrelid = inhrelid and pg_get_indexdef(indexrelid) like '%hashtext(correlation_id)%')};
	my $trace = sql(q{select event_id from sentinai.get_trace('flow7') order by 1});
	isnt($trace, '', 'a flow can be read');
	is($trace, sql($named), 'all of it');
	is(sql(q{select count(*) from sentinai.get_trace('flow7', max_events => 1)
		where event_id in (select event_id from sentinai.event_log where correlation_id = 'flow7' order by 1 limit 1)}), '1',
		'and the oldest of it');
	if (!$registry)
	{
		cmp_ok(my $lacking = sql($unindexed), '>', 1, 'the index is missing');
		is(sql('select sentinai.index_partitions()'), $lacking - 1, 'it is made where the time is over');
		is(sql('select sentinai.index_partitions(100)'), $lacking - 1, 'and only there');
		is(sql($unindexed), $lacking - 1, 'as it says');
	}

	# what a DBA has granted, in the database and in a copy of it
	my $rights = q{
		set role app;
		select sentinai.publish('Busy', 't', 'k1', '{}', 'rights') is not null, has_function_privilege('sentinai.claim(text, int, interval, text)', 'execute'),
			has_table_privilege('sentinai.dead_letter', 'select'), has_function_privilege('sentinai.register_event_type(text, jsonb, int, text, text, jsonb, text)', 'execute')};
	is(sql($rights), 't|t|t|f', 'rights are as they were, and nobody has new ones');
	$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/$db", $db ], 'pg_dump');
	$node->safe_psql('postgres', "create database copy_$db");
	$node->command_ok([ 'pg_restore', '-e', '-d', "copy_$db", "$dir/$db" ], 'pg_restore');
	my $rows = q{select (select count(*) from sentinai.event_log), (select count(*) from sentinai.event_types),
		(select count(*) from sentinai.event_processing), (select count(*) from sentinai.dead_letter)};
	is($node->safe_psql("copy_$db", $rows), sql($rows), 'a dump of it can be restored');
	$node->safe_psql("copy_$db", 'select sentinai.after_restore()');
	is($node->safe_psql("copy_$db", $rights), 't|t|t|f', 'with its rights');
	my $again = q{
		revoke usage on schema sentinai from app;
		revoke execute on function sentinai.publish, sentinai.claim, sentinai.complete, sentinai.subscribe from app;
		revoke select on sentinai.dead_letter from app};
	sql($again);
	same_ok($fresh, catalog($db), 'after all that it is the same as a new one');
	return;
}

walk($released[0]);
walk($released[-1]) if @released > 1;
is(log_count($node, qr/PANIC:|ERROR:(?!  (payload does not fit|canceling statement|connection to client lost))/), 0, 'no error in the log');
$node->stop;
done_testing();
