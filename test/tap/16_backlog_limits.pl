# Limits of backlogs: what publishers notice, and what is told of it.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;
use Time::HiRes qw(time);

my $patience = 60;
my $node = new_node('backlogs');
my $dbname = 'postgres';
my $ask = sub { $node->safe_psql($dbname, $_[0]) };
$ask->(q{
	create extension sentinai;
	create function fill(tenant text, n int, type text default 'bl.slow') returns bigint language sql as $$
		select count(sentinai.publish(type, tenant, 'k' || i % 500, '{}')) from generate_series(1, n) i $$;
	-- work on all that waits
	create function work(worker_type text) returns bigint language plpgsql as $$
	declare
		t text;
		n bigint := 0;
	begin
		loop
			select min(token), n + count(*) into t, n from sentinai.claim(worker_type, 1000);
			exit when t is null;
			perform sentinai.complete(t);
		end loop;
		return n;
	end $$;
	-- work on some of it
	create function work_some(worker_type text, n int) returns bigint language plpgsql as $$
	declare
		t text;
		n_of bigint;
	begin
		select min(token), count(*) into t, n_of from sentinai.claim(worker_type, n);
		if t is not null then
			perform sentinai.complete(t);
		end if;
		return n_of;
	end $$;
	-- what the detail of its error says
	create function said(query text, name text) returns text language plpgsql as $$
	declare
		detail text;
	begin
		execute query;
		return 'no error';
	exception when sqlstate 'SN429' then
		get stacked diagnostics detail = pg_exception_detail;
		return coalesce(detail::jsonb ->> name, 'null');
	end $$;
	select sentinai.subscribe('slow', '{bl.slow}')});

sub state_of { return state_in($node, $dbname, $_[0]); }

# over_ok(TENANT, WHETHER, NAME): that the backlog becomes longer or shorter than the limit
sub over_ok
{
	my ($tenant, $over, $name) = @_;

	return poll_ok($node, $dbname, $patience,
		"select (over_since is not null) = $over from sentinai.backlog_limits where tenant_id = '$tenant'", $name);
}

sub told { return $ask->("select string_agg(event_type, ',' order by event_id) from sentinai.event_log where tenant_id = '$_[0]' and event_type like 'Backpressure%'") }

# A tenant whose backlog is too long is refused where it would become longer.
$ask->(q{select sentinai.set_backlog_limit('slow', 'big', 50)});
$ask->(q{select fill('big', 200)});
over_ok('big', 'true', 'more waits than may');
is(state_of(q{select fill('big', 1)}), 'SN429', 'publish() is refused');
is($ask->(q{select string_agg(n || ' ' || said('select fill(''big'', 1)', n), ', ') from unnest('{kind,limit,current,window,requested}'::text[]) n}),
	'kind max_backlog, limit 50, current 200, window null, requested 1', 'and told how many wait');
is(state_of(q{select sentinai.publish_batch('{bl.other,bl.slow}', '{big,big}', '{k,k}', array['{}'::jsonb, '{}'])}), 'SN429', 'publish_batch(), too');
is(state_of(q{insert into sentinai.outbox (tenant_id, aggregateid, type, payload) values ('big', 'k', 'bl.slow', '{}')}), 'SN429', 'and the outbox');
is(state_of(q{select fill('big', 1, 'bl.other')}), '00000', 'what does not go there is published');
is(state_of(q{select fill('small', 1)}), '00000', 'and what is of another tenant');
is(state_of(q{set sentinai.limit_bypass = on; select fill('big', 1)}), '00000', 'and what an operator publishes');
$ask->(q{set sentinai.limit_bypass = on; select fill('big', 100)});
poll_ok($node, $dbname, $patience, q{select said('select fill(''big'', 1)', 'current') = '301'}, 'and what waits becomes more');
is(told('big'), 'BackpressureDetected', 'one event tells of it');
is($ask->(q{select payload ->> 'worker_type', payload ->> 'tenant_id', payload ->> 'policy', payload -> 'max_backlog', (payload -> 'backlog')::int > 50 from sentinai.event_log where event_type = 'BackpressureDetected'}),
	'slow|big|refuse|50|t', 'and says of what');
$node->restart;
is(state_of(q{select fill('big', 1)}), 'SN429', 'a restart ends nothing');
$ask->(q{select work('slow')});
over_ok('big', 'false', 'when it was worked on');
is(state_of(q{select fill('big', 1)}), '00000', 'all is published again');
is(told('big'), 'BackpressureDetected,BackpressureCleared', 'one event tells that it is over');

# Nobody waits for somebody who is changing limits, as rounds would: the look after that decides.
$ask->(q{select work('slow'), sentinai.set_backlog_limit('slow', 'quiet', 10), sentinai.subscribe('rounds', '{bl.round}')});
my $holder = $node->background_psql($dbname);
$holder->query_safe(q{begin; select sentinai.set_backlog_limit('slow', 'nobody', 1)});
$ask->(q{select fill('quiet', 20)});
my ($since, $in_time) = (time, 1);
while (time - $since < 3 && $in_time)    # there are three looks
{
	$ask->(q{select fill('any', 1, 'bl.round')});
	$in_time = wait_for($patience, sub { $ask->(q{select work('rounds')}) });
}
ok($in_time, 'there are rounds while limits are being changed');
is(log_count($node, 'lock timeout'), 0, 'none has waited');
is($ask->(q{select over_since from sentinai.backlog_limits where tenant_id = 'quiet'}), '', 'nothing is decided meanwhile');
$holder->query_safe('rollback');
$holder->quit;
over_ok('quiet', 'true', 'and what is over is found after that');
$ask->(q{select sentinai.drop_backlog_limit('slow', 'quiet'), sentinai.unsubscribe('rounds')});

# Only a tenant's own events count for him, however many there are.
$ask->(q{select work('slow')});
$ask->(q{select sentinai.set_backlog_limit('slow', t, 2500) from unnest('{m1,m2}'::text[]) t});
$ask->(q{select sentinai.set_backlog_limit('slow', 'mark', 1)});
$ask->(q{select fill('m1', 2400), fill('m2', 2600), fill('other', 3000), fill('m1', 500, 'bl.other')});
$ask->(q{select fill('mark', 2)});
over_ok('m2', 'true', 'a backlog that is counted in steps');
over_ok('mark', 'true', 'the next look is over');
is($ask->(q{select over_since from sentinai.backlog_limits where tenant_id = 'm1'}), '', 'a backlog that is shorter than others together');
$ask->(q{select sentinai.drop_backlog_limit('slow', t) from unnest('{m1,m2,mark}'::text[]) t});
is(told('m1'), '', 'which nobody tells of');
is(told('m2'), 'BackpressureDetected,BackpressureCleared', 'a limit that is dropped ends the episode');
is(state_of(q{select fill('m2', 1)}), '00000', 'for publishers, too');
$ask->(q{select work('slow')});

# Nor do those count that were worked on while others waited.
$node->append_conf('postgresql.conf', 'sentinai.crowded_at = 100');
$node->reload;
$ask->(q{select sentinai.set_backlog_limit('slow', 'fresh', 50), sentinai.set_backlog_limit('slow', 'mark', 1)});
$ask->(q{select fill('heap', 3000)});
poll_ok($node, $dbname, $patience, q{select count(*) = 1 from sentinai_internal.track_tenant where tenant_id = 'heap'}, 'a tenant has a track of his own');
foreach my $round (1 .. 5)
{
	$ask->(q{select fill('fresh', 40)});
	poll_ok($node, $dbname, $patience, qq{select work_some('slow', 100) >= 0 and
		(select count(*) from sentinai.event_processing where tenant_id = 'fresh') = 40 * $round}, "another does what comes, $round");
}
$ask->(q{select fill('mark', 2)});
over_ok('mark', 'true', 'a look later');
is($ask->(q{select over_since from sentinai.backlog_limits where tenant_id = 'fresh'}), '', 'nothing waits of him');
cmp_ok($ask->(q{select lag_events from sentinai.stat_queue}), '>', 1000, 'though much does');
$ask->(q{select sentinai.drop_backlog_limit('slow', t) from unnest('{fresh,mark}'::text[]) t});
$ask->(q{select work('slow')});

# A subscription for some tenants holds up nobody else.
$ask->(q{
	select sentinai.subscribe('few', '{bl.slow}', tenants => '{f1,f2}'), sentinai.set_backlog_limit('few', '*', 10), sentinai.set_backlog_limit('few', 'f3', 1);
	select fill('f1', 20), fill('f3', 20)});
over_ok('*', 'true', 'much waits for some tenants');
is(state_of(q{select fill('f2', 1)}), 'SN429', 'they are held up');
is(state_of(q{select fill('f3', 1)}), '00000', 'others are not');
my $said = q{select said('select sentinai.publish(''bl.slow'', ''f2'', ''k'', ''{}'')', 'current')};
is($ask->($said), '20', 'of all together somebody is told who is there for all');
$ask->(q{create role f2; grant usage on schema sentinai to f2; grant execute on all functions in schema sentinai to f2;
	select sentinai.grant_tenant('f2', 'f2', 'publish')});
is($ask->("set sentinai.tenant_isolation = on; set role f2; $said"), 'null', 'and who is there for one is not');
$ask->(q{select sentinai.unsubscribe('few')});
over_ok('*', 'false', 'the end of it');
is(told('f3'), '', 'nothing waited of a tenant that it does not get');
$ask->(q{select sentinai.drop_backlog_limit('few', t) from unnest('{*,f3}'::text[]) t});

# What was published before a subscription was made counts for nobody, whosever it is.
$ask->(q{select fill('past', 300), fill('late', 60)});
my $maker = $node->background_psql($dbname);
$maker->query_safe(q{begin; select sentinai.subscribe('late', '{bl.slow}', 'earliest', tenants => '{late}'), sentinai.subscribe('everybody', null, 'earliest')});
$ask->(q{select fill('past', 100)});
poll_ok($node, $dbname, $patience, q{select lag_events >= 460 from sentinai.stat_queue}, 'there are rounds while a subscription is made');
$maker->query_safe('commit');
$maker->quit;
$ask->(q{select sentinai.set_backlog_limit(w, t, 50) from unnest('{late,everybody}'::text[]) w, unnest('{*,late}'::text[]) t});
$ask->(q{select sentinai.set_backlog_limit('everybody', '*', 150)});
$ask->(q{select sentinai.set_backlog_limit('slow', 'mark', 1), fill('mark', 2)});
over_ok('mark', 'true', 'a look later');
is($ask->(q{select count(*) from sentinai.backlog_limits where worker_type <> 'slow' and over_since is not null}), '0', 'the past is no backlog');
cmp_ok($ask->(q{select min(lag_events) from sentinai.stat_queue where worker_type <> 'slow'}), '>=', 460, 'though it waits');
$ask->(q{select sentinai.drop_backlog_limit('everybody', t) from unnest('{*,late}'::text[]) t});
$ask->(q{select fill('late', 60)});
over_ok('late', 'true', 'what comes after that is');
over_ok('*', 'true', 'of all of them together, too');
is(state_of(q{select fill('past', 1)}), '00000', 'others are not held up');
$ask->(q{select work('late')});
over_ok('late', 'false', 'when it was worked on');
over_ok('*', 'false', 'together, too');
$ask->(q{select sentinai.drop_backlog_limit('late', t) from unnest('{*,late}'::text[]) t});
$ask->(q{select sentinai.drop_backlog_limit('slow', 'mark'), sentinai.unsubscribe('late'), sentinai.unsubscribe('everybody'), work('slow')});

# Everybody's together, and a delay.
$ask->(q{select sentinai.set_backlog_limit('slow', '*', 10, 'delay', '600 milliseconds')});
$ask->(q{select fill('t' || i, 1) from generate_series(1, 20) i});
over_ok('*', 'true', 'all tenants together');
is(told('*') =~ s/.*,//r, 'BackpressureDetected', 'of whom one event tells');
my $begin = time;
is(state_of(q{select fill('anybody', 3)}), '00000', 'who is delayed publishes');
my $took = time - $begin;
cmp_ok($took, '>=', 0.6, 'after the delay');
$ask->(q{select sentinai.set_backlog_limit('slow', '*', 10, 'delay', '1 minute')});
$begin = time;
my $publisher = $node->background_psql($dbname);
$publisher->{stdin} .= q{select fill('anybody', 1);
\echo published
};
$publisher->{run}->pump_nb;
poll_ok($node, $dbname, $patience, q{select count(*) > 0 from pg_stat_activity where query like '%anybody%' and pid <> pg_backend_pid() and wait_event_type = 'Extension'}, 'a publisher waits');
$ask->(q{select work('slow')});
$publisher->query_until(qr/published/, '');
cmp_ok(time - $begin, '<', 45, 'until there is room, and not longer');
$publisher->quit;
over_ok('*', 'false', 'the end');
is(told('*'), join(',', ('BackpressureDetected', 'BackpressureCleared') x 3), 'is told once');

# What a subscription that is gone had does not hold anybody up.
$ask->(q{select sentinai.set_backlog_limit('slow', '*', 10)});
$ask->(q{select fill('t' || i, 1) from generate_series(1, 20) i});
over_ok('*', 'true', 'a backlog again');
$ask->(q{select sentinai.unsubscribe('slow')});
over_ok('*', 'false', 'ends with its subscription');
is(state_of(q{select fill('big', 1)}), '00000', 'and with it what publishers were told');

done_testing();
