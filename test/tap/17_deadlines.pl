# Deadlines: what is told of them once, whoever looks, whatever is killed, and
# whether the clock goes as it should; and that what is not due costs nothing.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $patience = 60;
my $db = 'postgres';
my $node = new_node('deadlines', 'sentinai.sla_interval = 1', "include_if_exists 'test.conf'");
my $ask = sub { $node->safe_psql($db, $_[0]) };
$ask->('create extension sentinai');

# set_many(TENANT, HOW MANY, WARNED SINCE, DUE IN): deadlines of as many aggregates
sub set_many
{
	my ($tenant, $n, $warn, $due) = @_;

	return $ask->("select count(sentinai.set_deadline('$tenant', 'k' || i, 'r', now() + interval '$due', now() + interval '$warn')) from generate_series(1, $n) i");
}

# told(TENANT): events, and how many different deadlines they are about, by type
sub told
{
	return $ask->("select string_agg(event_type || ' ' || n || ' ' || d, ',' order by event_type)
		from (select event_type, count(*) n, count(distinct payload ->> 'deadline_id') d from sentinai.event_log where tenant_id = '$_[0]' group by 1) t");
}

# open_rows(TENANT)
sub open_rows { return $ask->("select count(*) from sentinai.deadlines where tenant_id = '$_[0]' and status = 'open'") }

# The sequencer looks by itself.
set_many('auto', 3, '-1 min', '1 hour');
poll_ok($node, $db, $patience, q{select count(*) = 3 from sentinai.event_log where tenant_id = 'auto'}, 'the sequencer warns');
set_many('auto2', 2500, '-2 min', '-1 min');
poll_ok($node, $db, $patience, q{select count(*) = 0 from sentinai.deadlines where tenant_id = 'auto2' and status = 'open'}, 'and tells the end of many, step by step');
is(told('auto2'), 'SLAExpired 2500 2500,SLAImminent 2500 2500', 'once each');
$node->restart;
set_many('auto3', 1, '-2 min', '-1 min');
poll_ok($node, $db, $patience, q{select count(*) = 2 from sentinai.event_log where tenant_id = 'auto3'}, 'also after a restart');
is(told('auto'), 'SLAImminent 3 3', 'which repeats nothing');

# A million that are not due: what a look reads.
set_conf_now($node, $patience, 'sentinai.sla_interval = 0');
$ask->(q{
	insert into sentinai_internal.deadline (tenant_id, aggregate_type, aggregate_id, kind, status, due_at, warn_at, next_at, set_at, set_by, moves)
	select 'open', 'exception', 'k' || i, 'r', 'open', now() + interval '1 year', now() + interval '300 days', now() + interval '300 days', now(), 'me', 0
	from generate_series(1, 1000000) i});
$ask->('vacuum analyze sentinai_internal.deadline');

my $session = $node->background_psql($db);
$session->query_safe('select * from sentinai.sla_scan()');
my $blocks = $session->query_safe('explain (analyze, buffers, costs off, timing off, summary off) select * from sentinai.sla_scan()');
my ($hit, $read) = $blocks =~ /Buffers: shared hit=(\d+)(?: read=(\d+))?/;
cmp_ok(($hit // 0) + ($read // 0), '<', 20, 'a look at a million that are not due reads some blocks');
$session->quit;
$ask->(q{select sentinai.set_deadline('among', 'a', 'r', now() - interval '1 second')});
is($ask->('select * from sentinai.sla_scan()'), '0|1|f', 'one of them is found');
$ask->(q{delete from sentinai_internal.deadline where tenant_id = 'open'});

# Killed in the midst of it, again and again, while others scan.
set_many('killed', 6000, '-2 min', '-1 min');
foreach my $round (1 .. 4)
{
	my @scans = map { $node->background_psql($db) } 1 .. 2;

	$_->query_safe('begin') foreach @scans;
	$_->query_safe('select * from sentinai.sla_scan(700)') foreach @scans;
	$scans[0]->query_safe('commit');
	$node->stop('immediate');
	eval { $_->quit } foreach @scans;
	$node->start;
}
is(open_rows('killed'), 6000 - 4 * 700, 'what was committed has ended, and nothing else');
is(told('killed'), 'SLAExpired 2800 2800,SLAImminent 2800 2800', 'and was told');
set_conf_now($node, $patience, 'sentinai.sla_interval = 1');
set_many('killed2', 20000, '-2 min', '-1 min');
foreach my $round (1 .. 3)
{
	poll_ok($node, $db, $patience, qq{select count(*) < 20000 - $round * 1000 from sentinai.deadlines where tenant_id = 'killed2' and status = 'open'}, "the sequencer tells, $round");
	lose_server($node, $patience);
	$node->start;
}
poll_ok($node, $db, $patience * 2, q{select count(*) = 0 from sentinai.deadlines where tenant_id like 'killed%' and status = 'open'}, 'all have ended');
is(told('killed'), 'SLAExpired 6000 6000,SLAImminent 6000 6000', 'each was told once');
is(told('killed2'), 'SLAExpired 20000 20000,SLAImminent 20000 20000', 'whatever was killed');
is($ask->(q{select count(*) from (select payload ->> 'deadline_id', array_agg(event_type order by event_id) e from sentinai.event_log where tenant_id like 'killed%' group by 1) t where e <> '{SLAImminent,SLAExpired}'}), 0, 'in their order');

# What has ended goes.
$ask->(q{update sentinai_internal.deadline set ended_at = now() - interval '91 days' where tenant_id like 'killed%'});
$ask->(q{select sentinai.set_deadline('stays', 'a', 'r', now() + interval '1 year')});
poll_ok($node, $db, $patience, q{select sentinai.maintain() is not null and count(*) = 0 from sentinai_internal.deadline where tenant_id like 'killed%'}, 'what ended long ago is removed');
is(open_rows('stays'), 1, 'what is open stays');

# A dump has them; what is restored is told where it was not.
$ask->(q{select sentinai.set_sla_threshold('stays', 0.5)});
set_conf_now($node, $patience, 'sentinai.sla_interval = 0');
set_many('dumped', 2, '-2 min', '1 hour');
$ask->('select sentinai.sla_scan()');
set_many('dumped', 1, '-2 min', '-1 min');
$node->safe_psql($db, 'create database copy');
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr($db) ], 'a dump');
$node->command_ok([ 'psql', '-Xqv', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('copy') ], 'is restored');
is($node->safe_psql('copy', q{select string_agg(aggregate_id || ' ' || status || ' ' || (warned_at is not null), ',' order by aggregate_id) from sentinai.deadlines where tenant_id = 'dumped'}),
	$ask->(q{select string_agg(aggregate_id || ' ' || status || ' ' || (warned_at is not null), ',' order by aggregate_id) from sentinai.deadlines where tenant_id = 'dumped'}), 'with its deadlines');
is($node->safe_psql('copy', 'select threshold from sentinai.sla_thresholds'), '0.5', 'and thresholds');
$node->safe_psql('copy', 'select sentinai.after_restore()');
is($node->safe_psql('copy', 'select * from sentinai.sla_scan()'), '0|1|f', 'what was not told is told there');
ok($node->safe_psql('copy', q{select sentinai.set_deadline('dumped', 'k9', 'r', now() + interval '1 day') is not null}), 'and numbers go on');

$node->stop;
done_testing();
