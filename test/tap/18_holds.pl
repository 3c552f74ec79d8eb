# What an operator of one tenant can hold of what other tenants wait for: lanes with
# dead letters, and settings. Not for longer than sentinai.operator_timeout.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $patience = 60;    # seconds within which anything here has to happen
my $node = new_node('holds', 'sentinai.tenant_isolation = on', 'max_prepared_transactions = 5');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(q{
	create extension sentinai;
	create role alice; create role bob; create role every;
	select sentinai.create_roles();
	grant sentinai_publisher, sentinai_operator to alice, bob, every;
	select sentinai.grant_tenant(r, t, 'operate'), sentinai.grant_tenant(r, t, 'publish') from (values ('alice', 'acme'), ('bob', 'globex'), ('every', '*')) v (r, t);
	select sentinai.subscribe('house', '{T}', max_attempts => 1);
	select sentinai.publish('T', 'acme', 'k' || i, '{}') from generate_series(1, 300) i});
ok(wait_for($patience, sub {
	sql(q{
		with c as materialized (select * from sentinai.claim('house', 1000))
		select count(sentinai.fail(token, event_id, 'no')) from c});
	return sql('select count(*) from sentinai.dead_letter') == 300;
}), 'a tenant has letters in all lanes');

# begin_as(ROLE, SQL): a session that has done it, in a transaction that stays open
sub begin_as
{
	my ($role, $sql) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);

	$session->query("set application_name = 'open_$role'; set role $role");
	$session->query_safe("begin; $sql");
	return $session;
}
# is_there(ROLE): whether its session has an open transaction
sub is_there { return sql("select count(*) from pg_stat_activity where application_name = 'open_$_[0]' and state like 'idle in transaction%'"); }

# ends(WHAT, SQL): alice does that, and leaves it open
sub ends
{
	my ($what, $sql) = @_;
	my $session = begin_as('alice', $sql);

	is(is_there('alice'), 1, "$what: she sits on it");
	ok(wait_for($patience, sub { !is_there('alice') }), "$what: her session ends");
	eval { $session->quit };    # it is gone
	return;
}

sub set_timeout
{
	sql("alter system set sentinai.operator_timeout = '$_[0]'");
	reload_now($node, $patience);
	return;
}

set_timeout('2s');
my $trusted = begin_as('every', q{select sentinai.set_limit('*', 'events_bytes', 1000000000, '1 s')});
ends('letters', q{select * from sentinai.retry_dead_letters('acme', 'house', actor => 'me', max_letters => 200)});
is(sql(q{select count(*) from sentinai.dead_letter where status = 'pending'}), 300, 'and nothing of it was done');
cmp_ok(log_count($node, 'open for longer than sentinai.operator_timeout'), '==', 1, 'the log says why');
sql(q{set role bob; select sentinai.publish('T', 'globex', 'k' || i, '{}') from generate_series(1, 300) i});
is(is_there('every'), 1, 'who may operate for every tenant is trusted');
$trusted->query_safe('commit');
$trusted->quit;
my $got = 0;
ok(wait_for($patience, sub {
	$got += sql(q{
		with c as materialized (select * from sentinai.claim('house', 1000)),
		     done as (select sentinai.complete(token) from (select distinct token from c) x)
		select count(*) filter (where tenant_id = 'globex') from c, (select count(*) from done) d});
	return $got == 300;
}), 'others get all of theirs');

ends('one letter', q{select sentinai.discard_dead_letter(event_id, 'house', 'me', 'no use') from sentinai.dead_letter where status = 'pending' order by dead_at limit 1});
ends('an alert', q{select sentinai.set_alert('dead_letters', 'acme', 7)});
ends('a limit', q{select sentinai.set_limit('acme', 'events_published', 7, '1 s')});
is(state_in($node, 'postgres', q{set role alice; begin; select sentinai.set_alert('dead_letters', 'acme', 7); prepare transaction 'held'}), '0A000', 'what she holds cannot be prepared');
my $prepared = sql('select count(*) from pg_prepared_xacts');
is($prepared, 0, 'and is not');
sql(q{rollback prepared 'held'}) if $prepared;

# What was rolled back to a savepoint is held no longer. What was released is.
my $free = begin_as('alice', q{savepoint a; savepoint b; select sentinai.set_alert('dead_letters', 'acme', 6); release b; rollback to a});
$free->query("set application_name = 'free'");
ends('a savepoint that was released', q{savepoint a; savepoint b; select sentinai.set_alert('dead_letters', 'acme', 5); release b; savepoint c; rollback to c});
$free->query_safe('commit');
$free->quit;

# A session that has done something of the kind in time goes on.
set_timeout('1h');
my $session = begin_as('alice', q{select sentinai.set_alert('dead_letters', 'acme', 8)});
$session->query_safe('commit');
set_timeout(0);
$session->query_safe(q{begin; select sentinai.set_alert('dead_letters', 'acme', 9)});
is(is_there('alice'), 1, 'without a bound it may last');
$session->query_safe('commit');
is(sql('select count(*) from sentinai.alerts'), 1, 'and what was committed is there');
$session->quit;

$node->stop;
done_testing();
