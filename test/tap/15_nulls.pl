# NULL where there can be none: a superuser has taken NOT NULL off a table, and
# written over a column. Every function and view of the catalogue meets the row,
# as the owner and as a role with tenants. None ends the server, and none fails
# as if it were at fault itself.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use IPC::Run;
use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 30;    # seconds within which anything here has to happen
my $node = new_node('nulls', 'sentinai.tenant_isolation = on', 'sentinai.maintenance_interval = 1s',
	'log_min_error_statement = panic', 'restart_after_crash = off', 'allow_system_table_mods = on');

sub sql { return $node->safe_psql('postgres', $_[0]) }

# said(SCRIPT): what psql shows of it
sub said
{
	my ($script) = @_;
	my $said = '';

	IPC::Run::run([ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('postgres'), '-f', '-' ], '<', \$script, '>', \$said, '2>&1');
	return $said;
}

# Events of all conditions: waiting, in a batch, waiting for a retry, given up, done.
sql(q{
	create extension sentinai;
	create role alice;
	grant usage on schema sentinai to alice;
	grant select on all tables in schema sentinai to alice;
	grant execute on all functions in schema sentinai to alice;
	select sentinai.grant_tenant('alice', 'acme', g) from unnest('{publish,work,read,operate,audit}'::text[]) g;
	select sentinai.subscribe('all', null, 'earliest', backoff => '{1h}'), sentinai.subscribe('some', '{n.t}', 'earliest', tenants => '{acme}'),
		sentinai.subscribe('past', '{n.t}', 'earliest', tenants => '{acme,other}');
	select sentinai.grant_work('alice', w) from unnest('{some,past}'::text[]) w;
	create table batch (n int, token text, event_id uuid);
	select sentinai.publish('n.t', 'acme', 'a' || g, '{"exception_id": "a"}', correlation_id => 'flow', idempotency_key => 'k' || g) from generate_series(1, 5) g});
ok(wait_for($unslept, sub { sql(q{select count(distinct e) from sentinai_internal.slice, unnest(event_ids) e}) >= 5 }), 'all is sequenced');
sql(q{
	insert into batch select substr(aggregate_id, 2)::int, token, event_id from sentinai.claim('all', 5, '1 hour');
	select sentinai.fail(token, event_id, 'x') from batch where n = 2;
	select sentinai.fail(token, event_id, 'x', false) from batch where n = 3;
	select sentinai.complete(token, array[event_id]) from batch where n = 4;
	select sentinai.publish('n.t', 'acme', 'a6', '{}')});
is(sql('select count(*) from sentinai_internal.event_retry'), 1, 'one waits for its retry');
is(sql('select count(*) from sentinai_internal.dead_letter'), 1, 'one is a dead letter');
ok(wait_for($unslept, sub { sql(q{select count(distinct e) from sentinai_internal.slice, unnest(event_ids) e join sentinai.event_log on event_id = e where event_type = 'n.t'}) >= 6 }), 'one is new');
my %id = split /[|\n]/, sql(q{select substr(aggregate_id, 2), event_id from sentinai.event_log where event_type = 'n.t'});
my $token = sql('select token from batch limit 1');
my $part = sql(qq{select tableoid::regclass from sentinai_internal.event_log where event_id = '$id{1}'});

# given(ARGUMENT, TYPE, N): what is passed for the event of that number
sub given
{
	my ($name, $type, $n) = @_;
	my %known = (
		event_id => $id{$n}, event_ids => "{$id{$n}}", causation_id => $id{$n}, tenant_id => 'acme', aggregate_id => "a$n", correlation_id => 'flow',
		worker_type => 'all', token => $token, event_type => 'n.t', exception_id => "a$n", tenant => 'acme', relay => 'relay', role => 'alice',
		retryable => 'false', lease => '1 minute');
	my %typed = (
		uuid => $id{$n}, 'uuid[]' => "{$id{$n}}", text => 'all', 'text[]' => '{all}', jsonb => '{}', 'jsonb[]' => '{}', interval => '1 minute', boolean => 'true',
		integer => 1, bigint => 1, smallint => 1, 'timestamp with time zone' => '2026-01-01', 'interval[]' => '{1s}', name => 'alice', regrole => 'alice', bytea => '');
	my $value = $known{$name} // $typed{$type};

	return defined $value ? "'$value'::$type" : "null::$type";
}

# calls(N): every function, as it is called about that event; the second time with what has a default
sub calls
{
	my ($n) = @_;
	my @calls;

	foreach my $function (split /\n/, sql(q{
		select p.proname, p.pronargs, p.pronargdefaults, array_to_string(p.proargnames, ','), (select string_agg(format_type(t, null), ',' order by o) from unnest(p.proargtypes) with ordinality x(t, o))
		from pg_proc p where p.pronamespace = 'sentinai'::regnamespace and p.prorettype <> 'trigger'::regtype and p.prokind = 'f' order by 1}))
	{
		my ($name, $n_args, $n_defaults, $names, $types) = split /\|/, $function;
		my @names = split /,/, $names;
		my @types = split /,/, $types;
		my %about = map { $_ => 1 } qw(tenant_id correlation_id aggregate_id worker_type event_ids);

		foreach my $all (0, 1)
		{
			my @args = map { $_ < $n_args - $n_defaults || ($all && $about{ $names[$_] }) ? "$names[$_] => " . given($names[$_], $types[$_], $n) : () } 0 .. $n_args - 1;

			push @calls, "select * from sentinai.$name(" . join(', ', @args) . ')';
		}
	}
	return @calls;
}
my @views = map {; "select * from sentinai.$_" } split /\n/, sql(q{select relname from pg_class where relnamespace = 'sentinai'::regnamespace and relkind in ('v', 'f')});
my @statements = do { my %seen; grep { !$seen{$_}++ } (map { calls($_) } 1 .. 6), @views,
	(map {; "select * from sentinai.event_log where event_id = '$id{$_}'", "select * from sentinai.outbox where id = '$id{$_}'", "select * from sentinai.dead_letter where event_id = '$id{$_}'" } 1 .. 6),
	(map {; "select * from sentinai.claim('$_')" } qw(all some past)),
	"select * from sentinai.event_log where tenant_id = 'acme'", "select * from sentinai.dead_letter where tenant_id = 'acme'" };

# meets(TABLE, COLUMN): with NULL there in all rows about our events
sub meets
{
	my ($table, $column) = @_;
	my $before = "before_$column";

	sql(qq{
		create table $before as select * from $table;
		alter table $table disable trigger user;
		update pg_attribute set attnotnull = false where attrelid = '$table'::regclass and attname = '$column';
		update $table set $column = null where event_id = any ('{@{[ join ',', values %id ]}}');
		alter table $table enable trigger user});
	foreach my $role ('none', 'alice')
	{
		my @answers = split /^\@\@\n/m, said("set role $role;\n" . join '', map { "\\echo \@\@\nbegin;\n$_;\nrollback;\n" } @statements), -1;

		shift @answers;
		is(@answers, @statements, "$table.$column, as $role: every statement is answered") or do { diag("the last one: $statements[$#answers]"); return 0 };
		my @bad = map { $answers[$_] =~ /(?:ERROR|FATAL|PANIC):  (?:XX000|57P0\d|0A000: unexp)[^\n]*|server closed[^\n]*/ ? "$statements[$_]: $&" : () } 0 .. $#answers;
		is(join("\n", @bad), '', "$table.$column, as $role: none is at fault itself");
		my %codes;
		foreach (0 .. $#answers) { $codes{$1}{$statements[$_] =~ s/.*sentinai.(\w+).*/$1/r} = 1 while $answers[$_] =~ /ERROR:  (XX001[^\n]*)/g }
		note("$_: " . join ' ', sort keys %{ $codes{$_} }) foreach sort keys %codes;
	}
	sql(qq{
		alter table $table disable trigger user;
		update $table t set $column = b.$column from $before b where b.event_id = t.event_id;
		update pg_attribute set attnotnull = true where attrelid = '$table'::regclass and attname = '$column';
		alter table $table enable trigger user;
		drop table $before});
	return 1;
}
foreach my $table ($part, 'sentinai_internal.dead_letter', 'sentinai_internal.event_retry')
{
	foreach my $column (split /\n/, sql(qq{select attname from pg_attribute where attrelid = '$table'::regclass and attnum > 0 and attnotnull and attname <> 'event_id' order by attnum}))
	{
		meets($table, $column) or last;
	}
}

# claim() says what is the matter, and goes on behind an event without payload.
sub null_over
{
	my ($column, $id) = @_;

	return qq{
		alter table $part disable trigger user;
		update pg_attribute set attnotnull = false where attrelid = '$part'::regclass and attname = '$column';
		update $part set $column = null where event_id = '$id';
		alter table $part enable trigger user;};
}
sql(null_over('payload', $id{6}) . null_over('metadata', $id{1}));
is(sql(q{select string_agg(aggregate_id, ' ' order by aggregate_id) from sentinai.claim('some')}), 'a2 a3 a4 a5', 'claim() passes what has no payload, or no metadata');
is(sql(q{select string_agg(aggregate_id || ' ' || status || ' ' || payload || metadata, ', ' order by aggregate_id) from sentinai.dead_letter where worker_type = 'some'}),
	'a1 pending {"exception_id": "a"}{}, a6 pending {}{}', 'these are dead letters');
ok(sql(qq{select sentinai.edit_and_retry('$id{6}', 'some', '{"new": 1}', 'me', 'mended')}), 'with which people do what they do with others');
is(sql(q{select count(*) from sentinai.actions where action = 'edit_and_retry'}), 1, 'and it is written down');

# Nor does an event stop rounds whose columns were written over before its commit.
foreach my $column (qw(tenant_id event_type aggregate_type))
{
	sql(qq{
		alter table $part disable trigger user;
		update pg_attribute set attnotnull = false where attrelid = '$part'::regclass and attname = '$column';
		begin;
		select sentinai.publish('n.t', 'acme', '$column', '{}');
		update $part set $column = null where aggregate_id = '$column';
		commit;
		alter table $part enable trigger user});
	my $id = sql(qq{select event_id from $part where aggregate_id = '$column'});

	ok(wait_for($unslept, sub { sql(qq{select count(*) from sentinai_internal.slice where '$id' = any (event_ids)}) > 0 }), "a round takes an event without $column");
	unlike(said("select event_type from sentinai.claim('all')"), qr/ERROR/, 'claim() goes on');
	is(sql(qq{select reason from sentinai.dead_letter where event_id = '$id' and worker_type = 'all'}), qq{column "$column" of table "event_log" is null, for event $id}, 'its letter says what it lacks');
	sql(qq{alter table $part disable trigger user; delete from $part where event_id = '$id'; alter table $part enable trigger user});
}

# What a relay cannot send is its dead letter.
my $broker = MockBroker->new('--brokers', 1);
sql(qq{select sentinai.create_relay('nulls', 'kafka', 'bootstrap.servers=@{[ $broker->bootstrap ]}', event_types => '{r.t}', start_from => 'earliest'), sentinai.pause_relay('nulls');
	select sentinai.publish('r.t', 'acme', 'r' || g, '{}') from generate_series(1, 8) g});
my %lacks = (r2 => 'payload', r3 => 'tenant_id', r4 => 'event_type', r5 => 'partition_hash', r6 => 'aggregate_type');
sql(join('', map { null_over($lacks{$_}, sql(qq{select event_id from sentinai.event_log where aggregate_id = '$_'})) } sort keys %lacks) . q{select sentinai.resume_relay('nulls')});
poll_ok($node, 'postgres', $unslept, q{select acked_count = 3 and dead_count = 5 from sentinai.stat_relay where relay = 'nulls'}, 'a relay passes what lacks something');
is(sql(q{select string_agg(aggregate_id || ' ' || substr(reason, 1, strpos(reason, ', for') - 1), ' ' order by aggregate_id) from sentinai.dead_letter where worker_type = 'nulls'}),
	join(' ', map { qq{$_ column "$lacks{$_}" of table "event_log" is null} } sort keys %lacks), 'which are dead letters that say why');
is(sql(q{select string_agg(step || ': ' || error, ' ') from sentinai.stat_failures()}), '', 'nothing fails in the background');
$node->stop;
done_testing();
