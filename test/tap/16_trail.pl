# audit_trail() in a server of its own: a long action log costs a page nothing,
# what people did stays when the events are dropped, actions keep their order when
# the server starts anew, and a copy that is taken into use says so.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $actions = 200_000;
my $node = new_node('trail');
my $db = 'postgres';

sub sql { return $node->safe_psql($db, $_[0]) }
sub pages_read
{
	my ($call) = @_;
	my $query = "select * from sentinai.audit_trail($call)";

	# what a session learns of the catalogue does not count
	my $plan = sql("create temp table told as $query; explain (analyze, buffers, costs off, timing off) $query");

	# in the function scan itself, not in planning
	$plan =~ /Buffers: shared hit=(\d+)(?: read=(\d+))?.*?Planning:/s or $plan =~ /Buffers: shared hit=(\d+)(?: read=(\d+))?/ or die $plan;
	return $1 + ($2 // 0);
}

sql(q{create extension sentinai;
	select sentinai.publish('t.e', 'small', 'k', '{}');
	select sentinai.set_limit('small', 'calls', 1, '1s');
	select sentinai.publish('t.e', 'big', 'k', '{}')});
is(sql(q{select string_agg(what, ' ') from sentinai.audit_trail('small')}), 't.e set_limit', 'a trail');

# A long log: of one tenant, of many aggregates, between the small one's few.
sql(qq{insert into sentinai_internal.action_log (acted_at, actor, session_role, acting_role, action, tenant_id, object, after, kind, aggregate_id, clock_id)
	select now(), 'ann', 'ann', 'ann', 'retry_dead_letter', 'big', 'x', '{"status": "retrying"}', 'action', 'a' || i % 1000,
		overlay(sentinai.publish('t.f', 'filler', 'k', '{}')::text placing lpad(to_hex(i), 12, '0') from 25)::uuid
	from generate_series(1, $actions) i;
	analyze sentinai_internal.action_log;
	select sentinai.set_limit('big', 'calls', 1, '1s');
	select sentinai.set_limit('small', 'calls', 2, '1s')});
$node->safe_psql($db, 'vacuum sentinai_internal.action_log');
is(sql(q{select string_agg(what, ' ') from sentinai.audit_trail('small')}), 't.e set_limit set_limit', 'the small tenant has what it had');
cmp_ok(pages_read(q{'small'}), '<', 200, "and reads no page of $actions actions of another");
is(sql(q{select count(*) from sentinai.audit_trail('big', 'a7', kinds => '{action}')}), $actions / 1000, 'an aggregate has its own');
cmp_ok(pages_read(q{'big', 'a7', max_rows => 10}), '<', 200, 'a page of it reads no others');
is(sql(q{select string_agg(what, ' ') from sentinai.audit_trail('big', 'k')}), 't.e set_limit', 'nor does one that has none');
cmp_ok(pages_read(q{'big', 'k'}), '<', 200, 'which costs nothing');
my $middle = sql(q{select clock_id from sentinai_internal.action_log where object = 'x' order by clock_id offset 100000 limit 1});
is(sql(qq{select count(*) from sentinai.audit_trail('big', after_id => '$middle', max_rows => 100)}), 100, 'a page in the middle');
cmp_ok(pages_read(qq{'big', after_id => '$middle', max_rows => 100}), '<', 500, 'begins there');
cmp_ok(pages_read(qq{'*', after_id => '$middle', max_rows => 100}), '<', 500, 'that of all tenants, too');

# The clock goes on above what stands in the log, also when the first thing that is
# done after a start is an action.
sql(q{update sentinai_internal.action_log set clock_id = overlay(clock_id::text placing 'ff' from 7)::uuid
	where action_id = (select max(action_id) from sentinai_internal.action_log) returning clock_id});
$node->restart;
sql(q{select sentinai.set_limit('small', 'calls', 3, '1s')});
is(sql(q{select (select clock_id from sentinai_internal.action_log order by action_id desc limit 1) = (select clock_id from sentinai_internal.action_log order by clock_id desc limit 1)}),
	't', 'an action after a start stands behind those before');
is(sql(q{select string_agg(coalesce(after ->> 'value', 'event'), ' ') from sentinai.audit_trail('small')}), 'event 1 2 3', 'in the trail');

# Retention takes the events, and not what people did.
my $part = sql(q{select distinct tableoid::regclass from sentinai_internal.event_log where tenant_id = 'small'});
sql("set allow_system_table_mods = on; drop table $part");
is(sql(q{select string_agg(coalesce(after ->> 'value', 'event'), ' ') from sentinai.audit_trail('small')}), '1 2 3', 'what people did stays');

# A copy
$node->stop;
$node->start;
sql('checkpoint');
$node->safe_psql('template1', "create database copied template $db");
my $before = $node->safe_psql('copied', q{select count(*) from sentinai.actions});
$node->safe_psql('copied', q{select sentinai.after_restore(), sentinai.resume_relay()});
is($node->safe_psql('copied', qq{select string_agg(action || ' ' || coalesce(tenant_id, 'none'), ', ' order by action_id) from (select * from sentinai.actions order by action_id offset $before) a}),
	'after_restore none, resume_relay *', 'a copy that is taken into use says so, and that its relay may send');
$node->safe_psql('copied', q{select sentinai.after_restore(), sentinai.resume_relay()});
is($node->safe_psql('copied', qq{select count(*) from sentinai.actions}), $before + 2, 'once');
$node->stop;
done_testing();
