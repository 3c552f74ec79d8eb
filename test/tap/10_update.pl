# ALTER EXTENSION UPDATE between two versions of the scripts while publishers,
# agents and the relay work; a schema of somebody else's is refused; DROP
# EXTENSION says what goes.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use MockBroker;
use OwnServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 60;    # seconds within which anything here has to happen
my $dir = PostgreSQL::Test::Utils::tempdir();
my $next = '999.0.0';

my ($bin, $extensions) = own_server($dir);

# The next version: it replaces what everybody uses all the time, adds a table
# and a view, and changes a view.
my $version = version_of("$extensions/sentinai.control");
my $script = slurp_file("$ENV{TESTDIR}/sql/update.sql.in") =~ s/\@TO\@/$next/gr;
my $new = <<'END';
create table sentinai.added (id int primary key, at timestamptz default clock_timestamp());
select pg_catalog.pg_extension_config_dump('sentinai.added', '');
create or replace function sentinai.relay_is_paused() returns boolean
    language sql stable security definer set search_path = pg_catalog, pg_temp
    as $$
        select case
                   when n.node_no is null then coalesce((select c.paused from sentinai_internal.relay_control c), false)
                   else coalesce((select c.paused or c.node_no < n.node_no from sentinai_internal.relay_control c),
                                 n.node_no > 1)
               end
        from (select 1) one
             left join (select x.* from sentinai_internal.node x order by x.node_no desc limit 1) n on true
    $$;
create view sentinai.stat_added as select count(*) as subscriptions from sentinai_internal.subscription;
alter table sentinai_internal.event_log alter column payload set statistics 10;
comment on table sentinai_internal.event_log is 'Every event, in the next version.';
insert into sentinai.added select sub_id from sentinai_internal.subscription;
drop function sentinai.unsubscribe(text);
create function sentinai.unsubscribe(worker_type text, why text default null) returns void
    language c volatile parallel unsafe as 'MODULE_PATHNAME', 'sentinai_unsubscribe';
create function sentinai.added() returns int language sql as 'select 1';
END
ok($script =~ s/^-- From here on/$new\n$&/m, 'new objects go into the template of a script');
append_to_file("$extensions/sentinai--$version--$next.sql", $script);

my $broker = MockBroker->new('--brokers', 1);
my $node = PostgreSQL::Test::Cluster->new('update', install_path => $bin =~ s{/bin$}{}r);
$node->init;
$node->append_conf('postgresql.conf', join("\n",
		"shared_preload_libraries = 'sentinai'", 'max_worker_processes = 20',
		"sentinai.kafka_conf = 'bootstrap.servers=@{[$broker->bootstrap]}'",
		'sentinai.topic_partitions = 0', 'sentinai.launcher_naptime = 1s', 'autovacuum = off', ''));
$node->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# a schema that belongs to somebody else, or holds something of his
sql(q{create role mallory; create schema sentinai authorization mallory});
my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\ncreate extension sentinai");
like($err, qr/42501: .*belongs to somebody else.*\n.*mallory/, 'a schema of somebody else is refused');
sql(q{
	alter schema sentinai owner to current_user;
	grant create, usage on schema sentinai to mallory;
	set role mallory;
	create function sentinai.publish(text, text, text, jsonb) returns uuid language sql as 'select null::uuid'});
($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\ncreate extension sentinai");
like($err, qr/42501: .*belongs to somebody else.*\n.*function "publish".*mallory/,
	'so is one with an object of somebody else');
sql(q{drop owned by mallory; create schema sentinai_internal authorization mallory});
($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\ncreate extension sentinai");
like($err, qr/42P06: schema "sentinai_internal" exists already/, 'the schema of the tables may not be there');
sql(q{drop owned by mallory; drop role mallory; create extension sentinai});
pass('an empty one of our own will do');

# a relay that looks at its tables, as it does every second, while they go away
poll_ok($node, 'postgres', $unslept, 'select pid is not null from sentinai.stat_relay',
	'the relay runs');
sql(q{
	begin;
	drop extension sentinai;
	do $$
	declare dropped timestamptz := clock_timestamp();
	begin
		-- it waits for us, or has had more than a second of turns
		while not exists (select from pg_stat_activity where backend_type = 'sentinai relay'
				and (wait_event_type = 'Lock'
					or state = 'idle' and state_change > dropped + '1.1 s'::interval)) loop
			if clock_timestamp() > dropped + '1 min'::interval then
				raise 'no relay came by';
			end if;
			perform pg_sleep(0.05);
			perform pg_stat_clear_snapshot();
		end loop;
	end $$;
	commit;
	drop schema sentinai});
is(log_count($node, qr/ERROR:  (could not|relation)/), 0, 'and takes no notice');

# load
sql(qq{
	create extension sentinai version '$version';
	create role works;
	create role leads;
	grant usage on schema sentinai to works, leads;
	grant execute on function sentinai.unsubscribe to works;
	grant execute on function sentinai.unsubscribe to leads with grant option;
	alter default privileges grant execute on functions to leads;
	create table effect (no bigint generated always as identity, event_id uuid, key text);
	select sentinai.subscribe('busy', '{Busy}');
	create function work() returns void language plpgsql as \$\$
	declare
		b record;
	begin
		select min(token) as token, array_agg(event_id) as ids, array_agg(aggregate_id) as keys
		into b from sentinai.claim('busy', 20, '1 minute');
		if b.token is not null then
			insert into effect (event_id, key)
			select id, key from unnest(b.ids, b.keys) with ordinality u (id, key, o) order by o;
			perform sentinai.complete(b.token);
		end if;
	end \$\$});
my @loads = (
	start_load($node, 'postgres', 'publish', 2,
		"select sentinai.publish('Busy', 't', 'k' || (random() * 40)::int, '{}', 'update');\n\\sleep 2 ms\n"),
	start_load($node, 'postgres', 'work', 2, "select work();\n\\sleep 2 ms\n"));

sub moved_on
{
	my ($name) = @_;
	my $count = "select count(*) || ' ' || (select coalesce(sum(acked_count), 0) from sentinai.stat_relay) from effect";
	my ($before, $acked) = split / /, sql($count);

	ok(wait_for($unslept, sub {
		my ($now, $sent) = split / /, sql($count);
		return $now > $before + 50 && $sent > $acked + 50;
	}), $name);
	return;
}

moved_on('publishers, agents and the relay work');
my $pids = "select relay.pid || ' ' || sequencer_pid from sentinai.stat_relay relay, sentinai.stat_info";
my $workers = sql($pids);
sql("begin; alter extension sentinai update to '$next'; rollback");
is(sql("select extversion from pg_extension where extname = 'sentinai'"), $version,
	'an update can be rolled back');
sql("alter extension sentinai update to '$next'");
is(sql("select extversion from pg_extension where extname = 'sentinai'"), $next, 'ALTER EXTENSION UPDATE');
moved_on('and they go on');
is(sql($pids), $workers, 'the same processes');
my $unsubscribe = 'sentinai.unsubscribe(text, text)';
is(sql(qq{select has_function_privilege('works', '$unsubscribe', 'execute'),
	has_function_privilege('leads', '$unsubscribe', 'execute with grant option'),
	has_function_privilege('public', '$unsubscribe', 'execute'), (select initprivs::text ~ 'works|leads'
		from pg_init_privs where objoid = '$unsubscribe'::regprocedure)}),
	't|t|f|f', 'a function with more arguments has the rights of the one before, and a dump tells them');
is(sql(q{select has_function_privilege('leads', 'sentinai.added()', 'execute')}), 'f', 'another new one is nobody\'s');
is(sql('select count(*) = (select subscriptions from sentinai.stat_added) from sentinai.added'), 't',
	'with what is new');
stop_load($_, $unslept) foreach @loads;
ok(wait_for($unslept, sub {
	sql('select work()');
	return sequenced($node, 'postgres') && sql(q{select q.lag_events = 0 and r.lag_events = 0 and r.in_flight = 0
		from sentinai.stat_queue q, sentinai.stat_relay r}) eq 't';
}), 'everything is worked off');
is(sql(q{select count(*) from effect full join (
		select event_id from sentinai.event_log where event_type = 'Busy') l using (event_id)
	where effect.event_id is null or l.event_id is null}), '0',
	'each event had its effect: ' . sql('select count(*) from effect'));
is(sql('select count(*) - count(distinct event_id) from effect'), '0', 'once');
my %ids = map { $_->{headers}{ce_id} => 1 } $broker->records('sentinai.update');
is(join(' ', sort keys %ids), sql(q{select string_agg(event_id::text, ' ' order by event_id::text collate "C")
	from sentinai.event_log}), 'and the broker has each');

# what DROP EXTENSION says
sql('analyze');
foreach my $drop ('drop extension sentinai', 'drop schema sentinai cascade')
{
	($rc, $out, $err) = $node->psql('postgres', "begin; $drop; rollback");
	like($err, qr/NOTICE:.*goes with all events.*\nDETAIL:.*log has \d+ partitions?.*about \d+ events/,
		"$drop: a notice");
	is(sql('select count(*) > 100 from sentinai.event_log'), 't', 'that is in time');
}
foreach my $damage ('event_log rename to log', 'event_log_root add column mine int')
{
	($rc, $out, $err) = $node->psql('postgres', "begin; set local allow_system_table_mods = on; alter table sentinai_internal.$damage; drop extension sentinai; rollback");
	is($rc, 0, "one that is damaged can be dropped: $damage");
}
sql(q{create role eve; set role eve});
($rc, $out, $err) = $node->psql('postgres', 'set role eve; drop extension sentinai');
unlike($err, qr/NOTICE/, 'who may not drop it is told nothing');
like($err, qr/must be owner/, 'but that');
is(log_count($node, qr/(PANIC|ERROR):(?!  (must be owner|schema "sentinai(_internal)?"|connection to client lost))/), 0, 'no error in the log');
$node->stop;
done_testing();
