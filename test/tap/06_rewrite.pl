# REINDEX, VACUUM FULL, CLUSTER, indexes that are moved, and a rewrite as
# pg_repack does it, of every table of the extension under load: nobody notices,
# nothing is lost.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 60;    # seconds within which anything here has to happen
my $node = new_node('rewrite', 'sentinai.journal_size = 256kB',
	'sentinai.maintenance_interval = 1s', 'sentinai.partitions_ahead = 1');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(q{
	create extension sentinai;
	create table effect (no bigint generated always as identity, event_id uuid,
		key text);
	select sentinai.subscribe('busy', '{Busy}', backoff => '{0}');
	select sentinai.publish('Busy', 't', 'k1', '{}');
	-- one turn of an agent; of each fourth batch the first event fails once
	create function work() returns void language plpgsql as $$
	declare
		b record;
		bad uuid;
	begin
		select min(token) as token, array_agg(event_id) as ids,
			array_agg(aggregate_id) as keys, max(attempt) as attempt
		into b from sentinai.claim('busy', 20, '1 minute');
		if b.token is null then
			return;
		end if;
		if b.attempt = 1 and random() < 0.25 then
			bad := b.ids[1];
			perform sentinai.fail(b.token, bad, 'on purpose', retry_in => '0');
		end if;
		insert into effect (event_id, key)
		select id, key from unnest(b.ids, b.keys) with ordinality u (id, key, o)
		where bad is null or key <> b.keys[1] order by o;
		perform sentinai.complete(b.token);
	end $$});

# The load: publishers and agents until they are told to stop. REINDEX without
# CONCURRENTLY locks the table first and its indexes later, so it can be in a
# deadlock with any transaction that reads and then writes; that one is repeated.
my @repeat = ('--max-tries', 10);
my @loads = (
	start_load($node, 'postgres', 'publish', 2, q{
		select sentinai.publish('Busy', 't', 'k' || (random() * 40)::int, '{}',
			idempotency_key => gen_random_uuid()::text);
		\sleep 2 ms
	}, @repeat),
	start_load($node, 'postgres', 'work', 3, "select work();\n", @repeat));

sub moved_on
{
	my ($name) = @_;
	my $count = 'select count(*) from effect';
	my $before = sql($count);

	ok(wait_for($unslept, sub { sql($count) > $before + 50 }), $name);
	return;
}

# repeated: the error of a command that may be in a deadlock, which is repeated
sub repeated
{
	my ($command) = @_;

	foreach my $try (1 .. 20)
	{
		my ($rc, $out, $err) = $node->psql('postgres', $command);

		return $rc == 0 ? '' : $err if $rc == 0 || $err !~ /deadlock detected/;
	}
	return "$command: a deadlock each time";
}

# Every table that holds something, partitions of the log with the load in them.
my @tables = split /\n/, sql(q{
	select c.oid::regclass from pg_class c
	where relnamespace = 'sentinai_internal'::regnamespace and relkind = 'r'
		and (not relispartition or relname !~ '_\d+_\d+$' or relname ~
			to_char(now() at time zone 'UTC', '_YYYYMMDD'))
	order by 1});
cmp_ok(@tables, '>=', 15, 'tables: ' . join ' ', @tables);
moved_on('the load runs');
foreach my $command ('reindex table concurrently %s', 'reindex table %s',
	'vacuum full %s')
{
	my @failed;

	foreach my $table (@tables)
	{
		my $err = repeated(sprintf($command, $table));

		push @failed, "$table: $err" if $err ne '';
	}
	is(join("\n", @failed), '', sprintf($command, 'every table'));
	moved_on('and the load goes on');
}
foreach my $table (@tables)
{
	my $index = sql(qq{select c.relname from pg_index i
		join pg_class c on c.oid = i.indexrelid
		where i.indrelid = '$table'::regclass and i.indpred is null limit 1});

	sql("cluster $table using $index") if $index ne '';
}
moved_on('CLUSTER of every table');

# Over and over: an agent finds a retry at one place, and deletes it there a moment later.
my $moves = start_load($node, 'postgres', 'moves', 1, "vacuum full sentinai_internal.event_retry;\n");
foreach my $part (1 .. 10)
{
	moved_on("retries are moved under agents ($part)");
}
stop_load($moves, $unslept);

# Moved indexes.  The command locks the index alone, and writers the table alone.
sql(q{set allow_in_place_tablespaces = on; create tablespace elsewhere location ''});
sql(q{create extension amcheck});
my @indexes = split /\n/, sql('select indexrelid::regclass from pg_index where indrelid in ('
	  . join(',', map { "'$_'::regclass" } @tables) . ') order by 1');
cmp_ok(@indexes, '>=', 20, scalar @indexes . ' indexes');
is(join('', map { repeated("alter index $_ set tablespace elsewhere") } @indexes), '',
	'every index is moved');
moved_on('and the load goes on');
is(repeated('alter index all in tablespace elsewhere set tablespace pg_default'), '',
	'all at once are moved back');
moved_on('and the load goes on');
is(sql(q{select count(*) from pg_class where reltablespace <> 0
	and relnamespace = 'sentinai_internal'::regnamespace}), '0', 'all of them');

sql("select bt_index_check('$_', true)") foreach @indexes;
pass('each index has all rows');

my $part = sql(q{select inhrelid::regclass from pg_inherits
	where inhparent = 'sentinai_internal.event_log'::regclass and inhrelid::regclass::text
		~ to_char(now() at time zone 'UTC', '_YYYYMMDD')});
my $publish = q{select sentinai.publish('Rare', 't', 'k', '{}');};
foreach my $command ("alter index ${part}_pkey set tablespace elsewhere",
	'alter index all in tablespace elsewhere set tablespace pg_default')
{
	my ($in, $out) = ("begin; $publish\n\\echo published\n", '');
	my $publisher = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out);

	wait_for($unslept, sub { $publisher->pump_nb; $out =~ /published/ });
	like(($node->psql('postgres', "set lock_timeout = '100ms'; $command"))[2],
		qr/canceling statement due to lock timeout/, "$command: waits for publishers");
	$in .= "$publish commit;\n\\q\n";
	$publisher->finish;
	is(repeated($command), '', 'and goes on after them');
}

# As pg_repack does it: a copy with new places, new transaction numbers and new
# indexes takes the place of the table under an exclusive lock.  Here, to make
# it harder, all of the copy is younger than the snapshots of those who wait.
foreach my $i (1 .. 10)
{
sql(q{
	set allow_system_table_mods = on;
	do $$
	declare
		p record;
		i record;
		name text;
	begin
		for p in
			select c.oid, c.oid::regclass::text as part, c.relname, h.inhparent::regclass::text as parent,
				pg_get_expr(c.relpartbound, c.oid) as bound
			from pg_class c join pg_inherits h on h.inhrelid = c.oid
			where relnamespace = 'sentinai_internal'::regnamespace and relname ~ '^event_log'
				and relname ~ to_char(now() at time zone 'UTC', '_YYYYMMDD')
			order by 2
		loop
			execute format('lock table %s, %s in access exclusive mode', p.parent, p.part);
			execute format('create table sentinai_internal.copy (like %s including all)', p.part);
			execute format('insert into sentinai_internal.copy select * from %s order by random()', p.part);
			execute format('alter table %s detach partition %s', p.parent, p.part);
			execute format('drop table %s', p.part);
			execute format('alter table sentinai_internal.copy rename to %I', p.relname);
			execute format('alter table %s attach partition %s %s', p.parent, p.part, p.bound);
			commit;
		end loop;
	end $$});
}
pass('a copy takes the place of the log, ten times');
moved_on('and the load goes on');

# the end: no error, nothing lost, nothing twice, in order
stop_load($loads[0], $unslept);
worked_off_ok($node, 'postgres', $unslept,
	q{select lag_events = 0 and retrying = 0 and dead = 0 from sentinai.stat_queue}, 'everything is worked off');
stop_load($loads[1], $unslept);
is(join("\n", grep { /(ERROR|FATAL|PANIC):(?!  (connection to client lost|deadlock detected|canceling statement due to lock timeout))/ }
		  split /\n/, slurp_file($node->logfile)), '', 'and the log has no error');
is(sql(q{select count(*) from effect full join (
		select event_id from sentinai.event_log where event_type = 'Busy') l using (event_id)
	where effect.event_id is null or l.event_id is null}), '0',
	'each event had its effect: ' . sql('select count(*) from effect'));
is(sql('select count(*) - count(distinct event_id) from effect'), '0', 'once');
is(sql(q{
	select count(*) from (
		select s.no < lag(s.no) over (partition by key order by e.no) as back from effect e
		join (select id, row_number() over (order by slice_no, o) as no
			from sentinai_internal.slice, unnest(event_ids) with ordinality u (id, o)
			where stream_id = 0) s on s.id = e.event_id) x where back}), '0', 'in order');
is(sql(q{
	select count(*) from (select event_id from sentinai.event_log except all
		select id from sentinai_internal.slice, unnest(event_ids) id where stream_id = 0) x}),
	'0', 'and is in one slice');

$node->stop;
done_testing();
