# Limits where many meet: sessions, tenants, restarts and crashes, a standby.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;
use Time::HiRes qw(time);

my $patience = 60;
my $node = new_node('limits', "include_if_exists 'test.conf'");
my $dbname = 'postgres';
$node->safe_psql($dbname, q{
	create extension sentinai;
	create function one(tenant text) returns uuid language sql as $$
		select sentinai.publish('li.x', tenant, 'k', '{}') $$;
	-- publish as fast as it can
	create procedure try(tenant text, seconds float8) language plpgsql as $$
	declare
		until timestamptz := clock_timestamp() + make_interval(secs => seconds);
	begin
		while clock_timestamp() < until loop
			begin
				perform one(tenant);
			exception when sqlstate 'SN429' then null;
			end;
			commit;
		end loop;
	end $$});
my $ask = sub { $node->safe_psql($dbname, $_[0]) };

# at_once(SESSIONS, STATEMENT)
sub at_once
{
	my ($sessions, $statement) = @_;
	my $script = $node->basedir . '/at_once.sql';

	open my $out, '>', $script or die $!;
	print $out "$statement;\n";
	close $out;
	$node->command_ok([ 'pgbench', '-n', '-c', $sessions, '-t', 1, '-f', $script, $dbname ], "$sessions sessions");
	return;
}

# Eight sessions at once get the bucket and the rate times the time, and that all
# of them together, not each.
$ask->(q{select sentinai.set_limit('many', 'events_published', 200, '2 seconds')});
my $begin = time;
at_once(8, "call try('many', 3)");
my $took = time - $begin;
my $taken = $ask->(q{select count(*) from sentinai.event_log where tenant_id = 'many'});
cmp_ok($taken, '<=', 200 + 100 * $took + 1, "no more than the limit in $took s");
cmp_ok($taken, '>=', 200 + 100 * 2.5, 'and hardly less');
is($ask->(q{select consumed from sentinai.limit_usage where tenant_id = 'many'}), $taken, 'which the view has');
cmp_ok($ask->(q{select refused from sentinai.limit_usage where tenant_id = 'many'}), '>', 0, 'others were refused');

# A batch of many tenants with some that others use up: what is refused is given back.
$ask->(q{select sentinai.set_limit(t, 'events_published', 1000, '366 days') from unnest('{b1,b2,b3,b4}'::text[]) t});
at_once(4, 'do $$ begin for i in 1 .. 400 loop begin '
	  . "perform sentinai.publish_batch('{x,x,x,x}', (select array_agg(t order by random()) from unnest('{b1,b2,b3,b4}'::text[]) t), '{k,k,k,k}', array['{}'::jsonb, '{}', '{}', '{}']); "
	  . "exception when sqlstate 'SN429' then null; end; end loop; end \$\$");
is($ask->(q{select string_agg(n::text, ',') from (select count(*) n from sentinai.event_log where tenant_id ~ '^b[1-4]$' group by tenant_id) c}),
	'1000,1000,1000,1000', 'batches that want the last units at once leave none and take none too much');

# 100,000 tenants, each with a debt: their memory is bounded, and what has no room is refused.
$ask->(q{select sentinai.set_limit('*', 'events_published', 10, '366 days')});
my $buckets = q{select count(*) from sentinai.limit_usage where tenant_id like 't%'};
$ask->(q{select cardinality(sentinai.publish_batch(array_agg('x'::text), array_agg('t' || i), array_agg('k'::text), array_agg('{}'::jsonb))) from generate_series(1, 100000) i});
is($ask->($buckets), 100000, 'a bucket for each of 100,000 tenants');
is($ask->(q{select count(*) from sentinai.limit_usage where tenant_id like 't%' and used = 1}), 100000, 'with what it used');
my $mapped = sub
{
	my ($pid) = @_;
	my $kb = 0;

	open my $in, '<', "/proc/$pid/smaps" or return;
	my $ours = 0;
	while (<$in>)
	{
		$ours = m{PostgreSQL\.\d+} if /^[0-9a-f]+-[0-9a-f]+ /;
		$kb += $1 if $ours && /^Size:\s+(\d+) kB/;
	}
	return $kb;
};
my $session = $node->background_psql($dbname);
my $pid = $session->query_safe('select pg_backend_pid()');
$session->query_safe($buckets);
SKIP:
{
	my $kb = $mapped->($pid);

	skip 'needs /proc', 1 unless $kb;
	cmp_ok($kb, '<', 64 * 1024, "all of them in $kb kB");
}
set_conf($node, 'sentinai.limit_buckets = 1024');
ok(wait_for($patience, sub { $session->query_safe('show sentinai.limit_buckets') eq '1024' }), 'less room');
poll_ok($node, $dbname, $patience, q{select used = 0 from sentinai.limit_usage where tenant_id = 'many'}, 'one bucket is full by now');
is($ask->(q{select one('u0') is not null}), 't', 'it makes place');
my ($rc, $out, $err) = $node->psql($dbname, q{\set VERBOSITY verbose
select one('u1')});
like($err, qr/SN429.*cannot be counted/s, 'one more tenant is refused while all have a debt');
is($ask->($buckets), 100000, 'and none of them is forgotten');
is($ask->(q{select one('t77') is not null}), 't', 'those who have a bucket go on');
is($ask->(q{select used from sentinai.limit_usage where tenant_id = 't77'}), 2, 'and are counted');
# what is full makes place
$ask->(q{select sentinai.set_limit('*', 'events_published', 10, '1 millisecond')});
$ask->(q{select one('t' || i) from generate_series(1, 3000) i});
is($ask->(q{select one('u2') is not null}), 't', 'a full bucket makes place');
is($ask->($buckets) + $ask->(q{select count(*) from sentinai.limit_usage where tenant_id = 'u2'}), 100000, 'for this one');
is($ask->(q{select sum(used) >= 97000 from sentinai.limit_buckets() where tenant_id like 't%'}), 't', 'and no debt is gone');
$session->quit;
set_conf($node, '');

# A restart, and a crash: every bucket is full, which is one more, and the limits are there.
$ask->(q{select sentinai.drop_limit('*', 'events_published')});
$ask->(q{select sentinai.set_limit('again', 'events_published', 3, '366 days')});
my $all = sub { $ask->(q{call try('again', 0.2)}); return $ask->(q{select count(*) from sentinai.event_log where tenant_id = 'again'}) };
is($all->(), 3, 'all of a limit');
# Weights: of 40 events of a batch, when hints have said what there is.
$ask->(q{select sentinai.subscribe('weighed', '{Weighed}')});
my $flood = q{select sentinai.publish_batch(array_fill('Weighed'::text, array[2000]), array_fill(t, array[2000]), array(select 'k' || i % 97 from generate_series(1, 2000) i), array_fill('{}'::jsonb, array[2000]))
	from unnest('{heavy,light}'::text[]) t};
$ask->($flood);
poll_ok($node, $dbname, $patience, q{select count(*) = 2 from sentinai_internal.track_tenant}, 'two tenants are set apart');
$ask->(q{select sentinai.set_weight('heavy', 3)});
my $shares = sub {
	# what waits is counted from the first claim on
	$ask->(q{select sentinai.complete(min(token)) from sentinai.claim('weighed', 1)});
	$ask->($flood);
	wait_for($patience, sub { sequenced($node, $dbname) });
	my $said = $node->safe_psql($dbname, (q{select sentinai.complete(min(token)) from sentinai.claim('weighed', 20);} x 3) . q{
		create temp table got as select * from sentinai.claim('weighed', 40);
		select sentinai.complete(min(token)) from got;
		select string_agg(t || n, ' ' order by t) from (select tenant_id as t, count(*) as n from got group by 1) x});
	return (split /\n/, $said)[-1];
};
is($shares->(), 'heavy30 light10', 'weights');
$node->restart;
is($all->(), 6, 'and once more after a restart');
is($shares->(), 'heavy30 light10', 'weights are what they were');
is($ask->(q{select count(*) from sentinai.limit_usage}), 1, 'others are not there yet');
ok(lose_server($node, $patience), 'all processes killed');
$node->start;
is($all->(), 9, 'and after a crash');
is($shares->(), 'heavy30 light10', 'weights, too');
my $victim = $node->background_psql($dbname, on_error_stop => 0);
kill 'KILL', $victim->query_safe('select pg_backend_pid()');
ok(wait_for($patience, sub { ($node->psql($dbname, 'select 1 from sentinai.limit_usage having count(*) = 0'))[1] eq '1' }),
	'a process is killed, and the shared memory made anew');
is($all->(), 12, 'once more');
$victim->{run}->kill_kill;

# A standby has nothing to limit.
my $backup = $node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('limits_standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
($rc, $out, $err) = $standby->psql($dbname, q{\set VERBOSITY sqlstate
select sentinai.consume_limit('again', 'events_published')});
like($err, qr/25006/, 'a standby counts nothing');
is($standby->safe_psql($dbname, q{select count(*) from sentinai.limits}), 6, 'and knows the limits');
is($standby->safe_psql($dbname, q{select count(*) from sentinai.limit_usage}), 0, 'of which nothing is used');
$standby->stop;

# Without shared_preload_libraries all is the same.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
is($all->(), 15, 'without shared_preload_libraries');
is($ask->(q{select refused > 0 from sentinai.limit_usage where tenant_id = 'again'}), 't', 'in memory that all share');

done_testing();
