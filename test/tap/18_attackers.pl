# What one tenant can try on another beside asking for his data: keys that collide,
# numbers of things, what sessions tell of themselves, how much work an answer was,
# names that hide PostgreSQL's, somebody else's tokens. (Whose rows and plans: see
# 18_row_security.pl; every function: 16_canary.pl.)
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 60;    # seconds within which anything here has to happen
my $secret = 'C4N4RY';
my $node = new_node('attackers', 'sentinai.tenant_isolation = on');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# as(ROLE, SQL): what it answers to that role
sub as { my ($role, $sql) = @_; return sql("set role $role; $sql"); }

# state_as(ROLE, SQL): the state of its error
sub state_as { my ($role, $sql) = @_; return state_in($node, 'postgres', "set role $role; $sql"); }

sql(q{
	create extension sentinai;
	create role alice; create role bob; create role watcher;
	select sentinai.create_roles();
	grant sentinai_publisher, sentinai_agent, sentinai_reader, sentinai_operator, sentinai_auditor to alice, bob;
	grant usage on schema sentinai to alice, bob;
	grant select on sentinai.outbox to alice, bob;
	grant pg_monitor to watcher;
	select sentinai.grant_tenant(r[1], r[2], g) from unnest('{publish,work,read,operate,audit}'::text[]) g,
		(values ('{alice,acme}'::text[]), ('{bob,globex}')) t (r);
	select sentinai.subscribe('both', '{Both}', 'earliest', tenants => '{acme,globex}'), sentinai.subscribe('hers', '{Hers}', 'earliest', tenants => '{acme}'),
		sentinai.subscribe('his', '{Hers}', 'earliest', tenants => '{globex}');
	select sentinai.grant_work(r, w) from unnest('{alice,bob}'::text[]) r, unnest('{handler,both}'::text[]) w;
	select sentinai.grant_work('alice', 'hers'), sentinai.grant_work('bob', 'his')});

# Keys of one's own: the same one of two tenants, and such as run into each other.
my $publish = q{select sentinai.publish('Keyed', '%s', 'k', '%s', idempotency_key => '%s')};
my %id = map { $_->[0] => as($_->[0], sprintf($publish, $_->[1], qq({"of": "$_->[0]"}), 'key')) } [ 'alice', 'acme' ], [ 'bob', 'globex' ];
isnt($id{alice}, $id{bob}, 'a key of another tenant is no key of mine');
is(as('bob', sprintf($publish, 'globex', '{"of": "bob"}', 'key')), $id{bob}, 'a repeated call finds its own event');
is(state_as('bob', sprintf($publish, 'globex', '{"of": "alice"}', 'key')), 'SN409', 'and is refused for what is his own');
sql(q{select sentinai.grant_tenant('bob', t, 'publish') from unnest('{a,ab,acm}'::text[]) t});
is(as('bob', join ';', map { sprintf($publish, $_->[0], qq({"n": "$_->[2]"}), $_->[1]) } [ 'a', 'bc', 1 ], [ 'ab', 'c', 2 ], [ 'acm', 'ekey', 3 ], [ 'a', "b\\x02c", 4 ])
	=~ tr/\n//, 3, 'names and keys that are one when they are joined are two');
my $given = '01930000-0000-7000-8000-00000000000a';
my $insert = "insert into sentinai.outbox (id, tenant_id, aggregateid, type, payload) values ('$given', '%s', 'o', 'Given', '{}')";
is(state_as('alice', sprintf($insert, 'acme')), '00000', 'an id that was given');
is(state_as('bob', sprintf($insert, 'globex')), '00000', 'can be given by another tenant');
is(state_as('bob', sprintf($insert, 'globex')), '23505', 'and twice by none');
is(as('bob', "select string_agg(tenant_id, ' ') from sentinai.outbox where id = '$given'"), 'globex', 'who finds his own by it');

# The ledger: nobody notes for others that they have done something.
my $hers = as('alice', q{select sentinai.publish('Handled', 'acme', 'k', '{}')});
my ($foreign, $free) = map { $hers =~ s/.{12}\z/0000000000$_/r } 'ff', 'fe';
foreach my $mark ('mark_as_processing', 'mark_as_completed')
{
	is(state_as('bob', "select sentinai.$mark('$hers', 'handler', 'globex')"), 'SN403', "$mark(): not an event of another");
}
is(as('alice', "select sentinai.mark_as_processing('$hers', 'handler', 'acme')"), 't', 'whose own handler gets it');
is(as('alice', "select sentinai.mark_as_processing('$foreign', 'handler', 'acme')"), 't', 'as it gets one that came from elsewhere');
is(state_as('bob', "select sentinai.mark_as_completed('$_', 'handler', 'globex')"), 'SN403', 'which nobody else completes') foreach $hers, $foreign;
is(as('alice', "select sentinai.mark_as_completed('$_', 'handler', 'acme'); select sentinai.is_already_processed('$_', 'handler')"), "t\nt", 'but he who had it')
  foreach $hers, $foreign;

# Tokens, of a subscription of one's own and of a common one.
sql(q{select sentinai.grant_tenant('alice', 'globex', 'work')});
as('alice', q{select count(*) from (select sentinai.publish(t, 'acme', 'k' || i, '{}') from unnest('{Hers,Both}'::text[]) t, generate_series(1, 4) i offset 0) x});
poll_ok($node, 'postgres', $unslept, q{select bool_and(lag_events = 4) from sentinai.stat_queue where worker_type in ('hers', 'both')}, 'there is work');
my %token = map { $_ => as('alice', "select token || ' ' || event_id from sentinai.claim('$_', 1)") } qw(hers both);
foreach my $of (sort keys %token)
{
	my ($token, $event) = split / /, $token{$of};
	my $near = substr($token, 0, -1) . (substr($token, -1) eq '0' ? '1' : '0');

	foreach my $call ("complete('%s')", "complete('%s', '{$event}')", "fail('%s', '$event', 'no')", "extend('%s', '1 h')", "release('%s')")
	{
		my ($stolen, $guessed) = map { state_as('bob', 'select sentinai.' . sprintf($call, $_)) } $token, $near;

		like($stolen, qr/^SN40[349]$/, "a token of $of is not good for another: $call");
		is($stolen, $guessed, 'and he is told what he would be told of none');
		is(state_as('bob', 'prepare p (text) as select sentinai.' . ($call =~ s/'%s'/\$1/r) . "; execute p ('$token')"), $stolen, 'prepared, too');
	}
	is(as('alice', "select sentinai.complete('$token')"), 1, 'it is good for her');
}

# What sessions tell of themselves, to another tenant and to who watches the server.
my $session = $node->background_psql('postgres');
$session->query_safe(qq{set role alice; set application_name = 'shop';
	begin; select sentinai.act_as('acme'), sentinai.publish('Said', 'acme', '$secret', '{"say": "$secret"}', correlation_id => '$secret', idempotency_key => '$secret')});
foreach my $role (qw(bob watcher))
{
	unlike(as($role, "select string_agg(a::text, ' ') from pg_stat_activity a" . ($role eq 'watcher' ? q{ where backend_type <> 'client backend'} : q{ where pid <> pg_backend_pid()})),
		qr/$secret|acme/, "$role reads in pg_stat_activity of no tenant");
	unlike(as($role, "select string_agg(x::text, ' ') from $_ x"), qr/$secret/, "nor in $_") foreach qw(pg_locks pg_prepared_xacts pg_replication_slots pg_stat_all_tables pg_settings);
}
$session->query_safe('commit');
$session->quit;
my $listener = $node->background_psql('postgres');
$listener->query_safe('begin; listen anything; commit; begin');
sql(qq{select sentinai.set_alert('dead_letters', 'acme', 1, channels => '{anything}')});
as('alice', q{select count(*) from (select sentinai.fail(token, event_id, 'no', false) from sentinai.claim('hers', 9) offset 0) x});
sql('select sentinai.maintain()');
is(sql('select pg_notification_queue_usage()'), 0, 'nothing is told by NOTIFY');
$listener->query_safe('commit');
$listener->quit;
is(sql(q{select count(*) > 0 from sentinai.event_log where event_type = 'AlertRaised'}), 't', 'not even that there is an alert');

# How much is read for an answer does not depend on whether there is such a tenant.
sql(q{
	create schema probe; grant usage, create on schema probe to bob;
	set role bob;
	create function probe.work_of(statement text) returns text language plpgsql as $$
	declare
		before record; after record; how text := 'answered';
	begin
		select coalesce(sum(seq_scan), 0) s, coalesce(sum(idx_scan), 0) i, coalesce(sum(seq_tup_read), 0) r, coalesce(sum(idx_tup_fetch), 0) f
			into before from pg_stat_xact_all_tables where schemaname = 'sentinai_internal';
		begin
			execute statement;
		exception when others then how := sqlstate || ' ' || sqlerrm;
		end;
		select coalesce(sum(seq_scan), 0) s, coalesce(sum(idx_scan), 0) i, coalesce(sum(seq_tup_read), 0) r, coalesce(sum(idx_tup_fetch), 0) f
			into after from pg_stat_xact_all_tables where schemaname = 'sentinai_internal';
		return format('%s, %s %s %s %s', how, after.s - before.s, after.i - before.i, after.r - before.r, after.f - before.f);
	end $$;
	create function probe.both(call text, foreign_name text, unknown_name text) returns text language plpgsql as $$
	declare
		theirs text; nobodys text;
	begin
		-- once more where something in the background has made a session forget what it knew
		for i in 1 .. 3 loop
			perform probe.work_of(format(call, unknown_name)), probe.work_of(format(call, foreign_name));
			theirs := probe.work_of(format(call, foreign_name));
			nobodys := probe.work_of(format(call, unknown_name));
			exit when theirs = nobodys;
		end loop;
		return case when theirs = nobodys then 'same' else theirs || ' / ' || nobodys end;
	end $$});
foreach my $call (q{select count(*) from sentinai.event_log where tenant_id = %L}, q{select * from sentinai.get_events_by_tenant(%L)},
	q{select * from sentinai.get_events_by_aggregate(%L, 'k')}, q{select sentinai.publish('X', %L, 'k', '{}', idempotency_key => 'key')},
	q{insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values (%L, 'k', 'X', '{}')},
	q{select * from sentinai.get_trace('k', %L)}, q{select * from sentinai.dead_letter_stats(%L)}, q{select * from sentinai.dead_letters(%L)},
	q{select sentinai.act_as(%L)}, q{select sentinai.may_read(%L)}, q{select sentinai.verify_audit(%L)}, q{select * from sentinai.audit_trail(%L)},
	q{select sentinai.consume_limit(%L, 'calls')}, q{select sentinai.set_deadline(%L, 'k', 'r', now())},
	"select sentinai.mark_as_processing('$free', 'handler', %L)")
{
	is(as('bob', 'select probe.both($$' . $call . q{$$, 'acme', 'nobody')}), 'same', "of a tenant: $call");
}
is(as('bob', 'select probe.both($$' . $_ . q{$$, 'hers', 'nothing')}), 'same', "of a subscription: $_") foreach
	'select * from sentinai.claim(%L)', 'call sentinai.wait_for_work(%L, $q$0 s$q$, null)', "select sentinai.is_already_processed('$hers', %L)";

# Names that hide PostgreSQL's, in the schemas that a caller looks in first.
sql(q{
	create schema evil; grant all on schema evil to alice; grant usage on schema evil to public;
	set role alice;
	create function evil.told(text) returns text language plpgsql as $$begin raise warning 'told by %', current_user; return $1; end$$;
	create function evil.eq(text, text) returns boolean language plpgsql as $$begin raise warning 'told by %', current_user; return true; end$$;
	create operator evil.= (function = evil.eq, leftarg = text, rightarg = text);
	create function evil.format(text, variadic text[]) returns text language plpgsql as $$begin raise warning 'told by %', current_user; return ''; end$$;
	create function evil.pg_has_role(name, text) returns boolean language plpgsql as $$begin raise warning 'told by %', current_user; return true; end$$;
	create function evil.may_read(text) returns boolean language plpgsql as $$begin raise warning 'told by %', current_user; return true; end$$;
	create function evil.may(text, text) returns boolean language plpgsql as $$begin raise warning 'told by %', current_user; return true; end$$;
	create function evil.now() returns timestamptz language plpgsql as $$begin raise warning 'told by %', current_user; return null; end$$;
	create function evil.count() returns bigint language plpgsql as $$begin raise warning 'told by %', current_user; return 7; end$$;
	create domain evil.text as pg_catalog.text check (evil.told(value) is not null);
	create domain evil.uuid as pg_catalog.uuid check (evil.told(value::pg_catalog.text) is not null);
	create view evil.pg_class as select evil.told(relname::pg_catalog.text) from pg_catalog.pg_class});
my $hidden = 'set search_path = evil, pg_catalog, sentinai';
foreach my $call (q{select sentinai.publish('Evil', 'globex', 'k', '{}', idempotency_key => 'evil')}, q{select * from sentinai.event_log},
	q{select * from sentinai.get_trace('k')}, q{select * from sentinai.trace_tree('k')}, q{insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('globex', 'k', 'X', '{}')},
	q{select * from sentinai.dead_letters('globex')}, q{select * from sentinai.audit_trail('globex')}, q{select * from sentinai.deadlines},
	q{select sentinai.set_deadline('globex', 'k', 'r', pg_catalog.now() + '1 h')}, q{select * from sentinai.claim('his')}, q{select * from sentinai.stat_queue},
	q{select sentinai.maintain()}, q{select * from sentinai.tenant_grants}, q{select * from sentinai.limit_usage}, q{select sentinai.describe_event_type('SLAExpired')})
{
	foreach my $role ('bob', 'postgres')
	{
		my (undef, undef, $err) = $node->psql('postgres', "set role $role; $hidden; $call");

		unlike($err, qr/told by|ERROR:  (?!the caller may not do maintenance)/, "no code of another for $role: $call");
	}
}
is(log_count($node, qr/PANIC:|terminated by signal|XX000/), 0, 'nothing broke');
$node->stop;
done_testing();
