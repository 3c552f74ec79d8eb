# Maintenance: partitions ahead, retention and what holds it up, journals.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node('retention',
	'sentinai.retention = -1',
	'sentinai.maintenance_interval = 1s',
	'sentinai.idempotency_window = 1s',
	'sentinai.journal_size = 64kB');
my $db = 'postgres';
my $patience = 20;
# What is to be seen before an event is due; the retry is due at twice that.
my $later = 20 * ($ENV{SENTINAI_PATIENCE} || 1);

$node->safe_psql($db, 'create extension sentinai');

add_make_set($node, $db);
my $start = $node->safe_psql($db, "select date_trunc('second', clock_timestamp())");
sub make_set
{
	my ($from, $to) = @_;

	$node->safe_psql($db, "select make_set('$start'::timestamptz + '$from',"
		  . " '$start'::timestamptz + '$to')");
}

sub count_partitions
{
	my ($table) = @_;

	return $node->safe_psql($db,
		"select count(*) from pg_inherits where inhparent = 'sentinai_internal.$table'::regclass");
}

sub set
{
	$node->safe_psql($db, "alter system set sentinai.$_[0] = '$_[1]'");
	$node->reload;
}

sub publish
{
	my ($more) = @_;

	return $node->safe_psql($db,
		"select sentinai.publish('Kept', 't1', 'x1', '{}'" . ($more // '') . ')');
}

# work: complete what there is
sub work
{
	my ($worker) = @_;

	$node->safe_psql($db, qq{
		do \$\$
		declare
			n int;
		begin
			loop
				select sentinai.complete(min(token)) into n
				  from sentinai.claim('$worker', 1000) having count(*) > 0;
				exit when n is null;
			end loop;
		end \$\$});
}

sub status
{
	return $node->safe_psql($db,
		'select wanted, blocked_by, unsequenced, retrying from sentinai.retention_status()');
}

sub blocked_by
{
	return $node->safe_psql($db,
		"select coalesce(retention_blocked_by::text, 'nobody') from sentinai.stat_info");
}

sub oldest_kept
{
	my ($id) = @_;

	return $node->safe_psql($db,
		"select count(*) from sentinai.event_log where event_id = '$id'") eq '1';
}

# a stretch of seconds, then one of some more; later ones come by themselves
make_set('0s', '8s');
make_set('8s', '16s');
my $over = $node->safe_psql($db, "select '$start'::timestamptz + '9s'");
$node->safe_psql($db, q{
	select sentinai.subscribe('fast', start_from => 'earliest');
	select sentinai.subscribe('slow', start_from => 'earliest');
	select sentinai.subscribe('other', '{Never}', start_from => 'earliest')});
my $first = publish();
my ($late_in, $late_out) = ('', '');
my $late = IPC::Run::start(
	[ 'psql', '-XAtq', '-d', $node->connstr($db) ], '<', \$late_in, '>', \$late_out);
$late_in .= "begin; select sentinai.publish('Late', 't1', 'x3', '{}'); \\echo published\n";
ok(wait_for($patience, sub { $late->pump_nb; $late_out =~ /published/ }),
	'a transaction publishes and stays open');
my $delayed = publish(", deliver_at => clock_timestamp() + interval '$later s'");
$node->safe_psql($db, "select sentinai.publish('Kept', 't1', 'x2', '{}', idempotency_key => 'k1')");
poll_ok($node, $db, $patience,
	"select count(*) > 2 from pg_inherits where inhparent = 'sentinai_internal.event_log'::regclass",
	'partitions are made ahead');
poll_ok($node, $db, $patience,
	"select to_regclass(format('sentinai_internal.%s_%s', 'slice', to_char(date_trunc('day',"
	  . " now() at time zone 'UTC' + interval '3 days'), 'YYYYMMDD_HH24MI'))) is not null",
	'as many as sentinai.partitions_ahead says');
poll_ok($node, $db, $patience, "select clock_timestamp() > '$over'",
	'the first stretch of time passes');
work('fast');

# 0 asks for everything that is over
set('retention', 0);
ok(wait_for($patience, sub { status() =~ /^t/ }), 'retention wants it dropped');
ok(wait_for($patience, sub { log_count($node, 'kept for subscriptions that lag: .*"slow"') }),
	'a lagging subscription is named in the log');
like(status(), qr/^t\|\{slow,"process \d+ \(lock\)"\}\|f\|f$/, 'and by retention_status(), beside the transaction');
like(blocked_by(), qr/^\{slow,"process \d+ \(lock\)"\}$/, 'and by stat_info');
ok(oldest_kept($first), 'nothing is dropped for it');
$node->safe_psql($db, 'select pg_sleep(2.5)');    # two more passes of maintenance
is(log_count($node, 'subscriptions that lag'), 1, 'one warning is enough');

# the transaction that was open all the time
publish() for 1 .. 5;
$late_in .= "commit;\n\\q\n";
$late->finish;
my ($late_id) = $late_out =~ /([0-9a-f-]{36})/;
poll_ok($node, $db, $patience,
	"select count(*) = 1 from sentinai_internal.slice where stream_id = 0 and '$late_id' = any (event_ids)",
	'an event of a stretch that is over is sequenced when it commits');

# a failed event waits for its retry, another for its time: both are kept when
# their partition goes, and the retry, which publishes events of its own, too
sub settled
{
	my ($code) = @_;

	return wait_for(3 * $patience, sub {
		work($_) for qw(fast slow);
		return $code->();
	});
}
sub kept
{
	return $node->safe_psql($db, 'select event_id from sentinai_internal.event_kept order by 1');
}
my ($failed) = $node->safe_psql($db, qq{
	with c as (select * from sentinai.claim('slow', 1))
	select event_id, sentinai.fail(token, event_id, 'no', retry_in => '@{[2 * $later]} s') from c}) =~ /^([^|]+)/;
ok(settled(sub { !oldest_kept($first) && !oldest_kept($delayed) && !oldest_kept($late_id) }),
	'a retry and a delayed event do not keep the partition');
is(kept(), join("\n", sort $failed, $delayed), 'they are kept themselves');
ok(wait_for($patience, sub { status() eq 'f|{}|f|f' }), 'nothing more is wanted')
  or diag(status());
is(blocked_by(), 'nobody', 'and stat_info names nobody, not even an empty list');
poll_ok($node, $db, 2 * $later,
	"select count(*) = 1 from sentinai_internal.slice where stream_id = 0 and '$delayed' = any (event_ids)",
	'the delayed event is sequenced when it is due');
ok(settled(sub { kept() eq '' }), 'both are kept until they are done') or diag(kept());
is($node->safe_psql($db, q{select lag_events, retrying, dead from sentinai.stat_queue where worker_type = 'slow'}),
	'0|0|0', 'which they are');
is($node->safe_psql($db, "select count(*) from sentinai.event_processing where event_id = '$first'"),
	'0', 'and the ledger of its time');
is($node->safe_psql($db, 'select count(*) from sentinai_internal.event_idempotency'), '0',
	'and the idempotency keys');
is($node->safe_psql($db, "select count(*) from sentinai_internal.slice where '$first' = any (event_ids)"),
	'0', 'and the slices');

# life goes on
my $next = publish();
poll_ok($node, $db, $patience,
	"select count(*) = 1 from sentinai_internal.slice where stream_id = 0 and '$next' = any (event_ids)",
	'events go on being sequenced');
is($node->safe_psql($db, "select count(*) from sentinai.claim('fast') where event_id = '$next'"),
	'1', 'and claimed');

# a publisher with a long transaction: its partition waits, others do not
{
	my ($in, $out) = ('', '');
	my $long = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr($db) ], '<', \$in, '>', \$out);

	$node->safe_psql($db, 'select sentinai.unsubscribe(w) from unnest(array[\'fast\', \'slow\', \'other\']) w');
	set('retention', -1);

	$in .= "begin; select sentinai.publish('Long', 't1', 'x9', '{}'); \\echo published\n";
	ok(wait_for($patience, sub { $long->pump_nb; $out =~ /published/ }), 'a publisher begins');
	set('retention', 0);
	my $worst = 0;
	my $end = time() + 4;
	while (time() < $end)
	{
		my $began = time();
		publish();
		my $took = time() - $began;
		$worst = $took if $took > $worst;
	}
	cmp_ok($worst, '<', 5, 'others publish while retention wants a lock');
	$in .= "commit;\n\\q\n";
	$long->finish;
}

# the journals turn over under load, and lose nothing
$node->safe_psql($db, "select sentinai.subscribe('busy', start_from => 'latest')");
my $script = "$PostgreSQL::Test::Utils::tmp_check/busy.sql";
append_to_file($script, q{
select sentinai.publish('Busy', 't1', 'x' || (random() * 200)::int, '{}');
select sentinai.complete(min(token)) from sentinai.claim('busy', 5) having count(*) > 0;
});
my $halves = sub {
	return $node->safe_psql($db, q{
		select pg_relation_size('sentinai_internal.lane_state_0') > 0, pg_relation_size('sentinai_internal.lane_state_1') > 0});
};
my (%seen, $rounds);
my $before = $node->safe_psql($db, "select count(*) from sentinai.event_log where event_type = 'Busy'");
my $bench = IPC::Run::start(
	[ 'pgbench', '-n', '-h', $node->host, '-p', $node->port, '-c', 4, '-t', 2500, '-f', $script, $db ],
	'>', \my $bench_out, '2>', \my $bench_err);
while ($bench->pumpable)
{
	$seen{ $halves->() } = 1;
	last unless eval { $bench->pump_nb; 1 };
	select(undef, undef, undef, 0.1);
}
$bench->finish;
is($bench->result(0), 0, 'load while the journals turn') or diag($bench_err);
work('busy');
ok($seen{'t|f'} && $seen{'f|t'} || $seen{'f|t'} && $seen{'t|t'},
	'the halves took turns') or diag(join ' ', sort keys %seen);
is($node->safe_psql($db, q{
	select count(*) from sentinai.event_log e where event_type = 'Busy'
	   and not exists (select from sentinai.event_processing p
	                    where p.event_id = e.event_id and worker_type = 'busy' and status = 'completed')}),
	'0', 'every event is completed');
is($node->safe_psql($db, q{
	select sum(completed) from (select distinct on (lane) completed from sentinai_internal.lane_state
	  join sentinai_internal.subscription using (sub_id) where worker_type = 'busy' order by lane, ver desc) x}),
	'10000', 'once, by the counts of the lanes');
cmp_ok($node->safe_psql($db, q{
	select max(pg_relation_size(format('sentinai_internal.%s_%s', j, h)::regclass)) / 1024
	  from unnest('{round,lane_state}'::text[]) j, generate_series(0, 1) h}), '<', 4096,
	'the journals stay small');
is(log_count($node, 'ERROR|PANIC|FATAL|the log has no more'), 0, 'no error was logged');

# What somebody has deleted by hand does not go unseen
$node->safe_psql($db, q{
	select sentinai.subscribe('deleted', '{Deleted}');
	select sentinai.publish('Deleted', 't', 'k' || i, '{}') from generate_series(1, 3) i});
poll_ok($node, $db, $patience, q{select lag_events = 3 from sentinai.stat_queue where worker_type = 'deleted'}, 'three events wait');
$node->safe_psql($db, q{
	set allow_system_table_mods = on;
	do $$
	declare part regclass := (select tableoid from sentinai_internal.event_log where event_type = 'Deleted' limit 1);
	begin
		execute format('alter table %s disable trigger refuse_change, disable trigger refuse_change_of_row', part);
		execute format('delete from %s where event_type = %L', part, 'Deleted');
	end $$});
ok(wait_for($patience, sub {
	$node->safe_psql($db, q{select count(*) from sentinai.claim('deleted')});
	return $node->safe_psql($db, q{select lag_events from sentinai.stat_queue where worker_type = 'deleted'}) == 0;
}), 'they are passed');
cmp_ok(log_count($node, 'worker type "deleted" (is|are) passed that the log has no more'), '>', 0, 'and the log says so');

# without the workers: maintain()
$node->safe_psql($db, 'select sentinai.maintain()');
$node->stop;
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$node->append_conf('postgresql.conf', "sentinai.partitions_ahead = 7\nsentinai.partition_interval = '1 d'");
$node->start;
my $count = count_partitions('event_log');
$node->safe_psql($db, 'select sentinai.maintain()');
cmp_ok(count_partitions('event_log'), '>', $count, 'maintain() makes partitions');
$node->stop;

done_testing();
