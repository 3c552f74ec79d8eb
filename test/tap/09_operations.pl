# The procedures of docs/operations.md: backup, restore, failover, upgrade, disk
# full, broker away. The commands are those of the page, word for word; one that
# nothing here runs is a failure.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use Cwd;
use FindBin;
use IPC::Run ();
use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 60;    # seconds within which anything here has to happen
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $bin = $ENV{PATH} =~ s/:.*//r;
my @settings = ('sentinai.topic_partitions = 0', 'sentinai.launcher_naptime = 1s',
	'sentinai.breaker_failures = 2', 'sentinai.breaker_open_time = 1h');

# What no test can run here: it needs other software, or root.
my $elsewhere = qr/make install|cron\.schedule/;

# The page's blocks by section, in order; "sql" ones are run by the docs tier, too.
my (%blocks, $section, $block);
foreach (split /\n/, slurp_file("$FindBin::RealBin/../../docs/operations.md"))
{
	if ($block && /^\s*```$/)
	{
		push @{ $blocks{$section} }, $block;
		undef $block;
	}
	elsif ($block) { $block->{text} .= "$_\n"; }
	elsif (/^\s*```(sh|sql|sql norun)$/) { $block = { kind => $1, text => '' }; }
	elsif (/^## (.*)/) { $section = $1; }
}

# take(SECTION, REGEX): the block of a section that matches, marked as run.
sub take
{
	my ($name, $regex) = @_;
	my ($found) = grep { $_->{text} =~ $regex } @{ $blocks{$name} // [] };

	die "docs/operations.md, $name: no block $regex" unless $found;
	$found->{run} = 1;
	return $found->{text};
}

# page_sql(NODE, DB, SECTION, REGEX): run it; its output with what psql said.
sub page_sql
{
	my ($node, $db, $name, $regex) = @_;
	my ($rc, $out, $err) = $node->psql($db, take($name, $regex), on_error_stop => 1);

	is($rc, 0, "$name: SQL $regex") or diag($err);
	return "$out\n$err";
}

# page_sh(SECTION, REGEX, VARIABLES): run it.
sub page_sh
{
	my ($name, $regex, %variables) = @_;
	my $command = take($name, $regex);
	my $cwd = getcwd();
	my $out;

	local @ENV{ keys %variables } = values %variables;
	chdir $dir;
	IPC::Run::run([ 'sh', '-euc', $command ], '<', \undef, '>&', \$out);
	is($?, 0, "$name: shell $regex") or diag($out);
	chdir $cwd;
	return;
}

sub at { my ($node) = @_; return (PGHOST => $node->host, PGPORT => $node->port); }

sub publish
{
	my ($node, $db, $type, $n) = @_;

	$node->safe_psql($db, "select sentinai.publish('Ordered', 't', 'k' || i, '{}', '$type')"
		  . " from generate_series(1, $n) i");
	return;
}

# arrived_ok(BROKER, TYPE, N, NAME): exactly N events reach the broker
sub arrived_ok
{
	my ($broker, $type, $n, $name) = @_;
	my %ids;

	wait_for($unslept, sub {
		%ids = map { $_->{headers}{ce_id} => 1 } $broker->records("sentinai.$type");
		return keys %ids >= $n;
	});
	is(keys %ids, $n, $name);
	return;
}

my $broker = MockBroker->new('--brokers', 1);
my $node = new_node('main', @settings,
	"sentinai.kafka_conf = 'bootstrap.servers=@{[$broker->bootstrap]}'");
$node->safe_psql('postgres', 'create database app');
$node->safe_psql('app', q{
	create extension sentinai;
	select sentinai.subscribe('billing')});
publish($node, 'app', 'first', 10);
arrived_ok($broker, 'first', 10, 'events flow');
$node->safe_psql('app', 'select sentinai.pause_relay()');
publish($node, 'app', 'first', 5);
my $held = $node->safe_psql('app', "select count(*) from sentinai.claim('billing', 3, '1 day')");

# backup and restore
{
	my $other_broker = MockBroker->new('--brokers', 1);
	my $name = 'Backup and restore';

	page_sh($name, qr/^pg_dump/, at($node));
	my $other = new_node('other', @settings,
		"sentinai.kafka_conf = 'bootstrap.servers=@{[$other_broker->bootstrap]}'");
	page_sh($name, qr/pg_restore/, at($other));
	page_sql($other, 'app', $name, qr/after_restore/);
	like(page_sql($other, 'app', $name, qr/stat_queue/), qr/^billing\|15\|0\|0\|0\nt\|/m,
		'the restored database stands where the original did');
	ok(wait_for($unslept, sub {
		$other->safe_psql('app', q{
			with c as materialized (select * from sentinai.claim('billing', 100))
			select sum(sentinai.complete(token)) from (select distinct token from c) t});
		return $other->safe_psql('app',
			'select lag_events = 0 from sentinai.stat_queue') eq 't';
	}), 'all that was open can be claimed');
	is(scalar(grep { 1 } $other_broker->records('sentinai.first')), 0, 'nothing is relayed');
	page_sql($other, 'app', $name, qr/resume_relay/);
	arrived_ok($other_broker, 'first', 5, 'until it is resumed: what was not');

	# the broker is away
	$name = 'When the broker is away';
	$other_broker->order('down all');
	publish($other, 'app', 'away', 5);
	poll_ok($other, 'app', $unslept, q{select breaker = 'open' from sentinai.stat_relay},
		'the breaker opens');
	like(page_sql($other, 'app', $name, qr/^select worker/), qr/^0\|waiting\|open\|[1-9]/m,
		'the view says so');
	$other_broker->order('up all');
	ok(wait_for($unslept, sub {
		page_reload($other, $name);
		return $other_broker->records('sentinai.away') >= 5;
	}), 'a reload ends the wait');
	arrived_ok($other_broker, 'away', 5, 'what waited arrives');
	page_sql($other, 'app', $name, qr/retry_dead_letter/);
	page_sql($other, 'app', $name, qr/kafka_conf/);
	poll_ok($other, 'app', $unslept, q{
		select setting = 'bootstrap.servers=kafka1:9092,kafka2:9092' from pg_settings
		where name = 'sentinai.kafka_conf'}, 'another address counts');
	$other->safe_psql('app', 'alter system reset sentinai.kafka_conf');

	# another PostgreSQL
	$name = 'Upgrading PostgreSQL';
	$other->stop;
	my $upgraded = PostgreSQL::Test::Cluster->new('upgraded');
	$upgraded->init;
	$upgraded->append_conf('postgresql.conf', join("\n", @settings,
			"shared_preload_libraries = 'sentinai'", 'max_worker_processes = 20',
			"sentinai.kafka_conf = 'bootstrap.servers=@{[$other_broker->bootstrap]}'", ''));
	page_sh($name, qr/pg_upgrade/, OLD_BIN => $bin, NEW_BIN => $bin,
		OLD_DATA => $other->data_dir, NEW_DATA => $upgraded->data_dir);
	$upgraded->start;
	poll_ok($upgraded, 'app', $unslept,
		q{select state = 'paused' and pid is not null from sentinai.stat_relay},
		'the relay is paused in the upgraded cluster');
	publish($upgraded, 'app', 'upgraded', 3);
	page_sql($upgraded, 'app', $name, qr/after_restore/);
	arrived_ok($other_broker, 'upgraded', 3, 'then it goes on');
	arrived_ok($other_broker, 'first', 5, 'and sends nothing again');

	# the extension
	page_sql($upgraded, 'app', 'Upgrading', qr/^alter extension/m);
	page_sql($upgraded, 'app', 'Upgrading', qr/index_partitions/);
	like(page_sql($upgraded, 'app', 'Dropping the extension', qr/^begin;\ndrop extension/),
		qr/NOTICE:.*goes with all events.*\n.*log has (?:1 partition|(?!1 )\d+ partitions) with/, 'a notice says what goes');
	$upgraded->safe_psql('app', 'create database many');
	$upgraded->safe_psql('many', q{
		create extension sentinai;
		select sentinai.publish('Ordered', 't', 'k1', '{}')});
	page_sql($upgraded, 'many', 'Dropping the extension', qr/drop table %s/);
	is($upgraded->safe_psql('many', q{select count(*) from pg_class where relnamespace in ('sentinai'::regnamespace, to_regnamespace('sentinai_internal'))}),
		'0', 'nothing of it is left');
	$upgraded->safe_psql('app', 'table sentinai.stat_info');
	$upgraded->stop;
}

sub page_reload { my ($n, $name) = @_; $n->safe_psql('app', take($name, qr/^select pg_reload_conf/)); return; }

# failover, with the page's synchronous standby
{
	my $name = 'Failover';
	my $standby = PostgreSQL::Test::Cluster->new('standby1');

	$node->safe_psql('app', 'select sentinai.resume_relay()');
	$node->backup('base');
	$standby->init_from_backup($node, 'base', has_streaming => 1);
	$standby->start;
	page_sql($node, 'app', $name, qr/synchronous_standby_names/);
	poll_ok($node, 'app', $unslept,
		q{select count(*) = 1 from pg_stat_replication where sync_state = 'sync'},
		'the standby is synchronous');
	publish($node, 'app', 'second', 10);
	arrived_ok($broker, 'second', 10, 'events flow');
	like(page_sql($standby, 'app', $name, qr/pg_is_in_recovery/), qr/^t\|f\|f\|/m,
		'the standby is silent');
	page_sql($standby, 'app', 'Backup and restore', qr/pg_wal_replay_pause/);
	is($standby->safe_psql('app', 'select pg_is_wal_replay_paused()'), 'f', 'its replay goes on after a dump');
	$node->stop('immediate');
	page_sql($standby, 'app', $name, qr/pg_promote/);
	$standby->safe_psql('app', 'alter system reset synchronous_standby_names');
	$standby->safe_psql('app', 'select pg_reload_conf()');
	ok(wait_for($unslept, sub {
		$standby->safe_psql('app', take($name, qr/pg_is_in_recovery/)) eq 'f|t|t|f';
	}), 'the new primary works');
	publish($standby, 'app', 'third', 10);
	arrived_ok($broker, 'third', 10, 'events flow');
	is($standby->safe_psql('app', q{select count(*) from sentinai.event_log
		where aggregate_type <> 'exception'}), '35', 'none is missing');
	$standby->stop;
}

# the disk is full: a tablespace in a small file system that only this server has
SKIP:
{
	my $name = 'When the disk is full';
	my @apart = ('unshare', '-U', '-m', '--map-current-user', '--keep-caps', 'sh', '-c');
	my $space = "$dir/space";

	mkdir $space;
	if (system(@apart, "mount -t tmpfs -o size=1m tmpfs '$space'") != 0)
	{
		take($name, qr/inhparent/);
		take($name, qr/retention_blocked_by/);
		take($name, qr/alter system/);
		take($name, qr/unsequenced/);
		skip('no file system can be mounted here', 1);
	}
	my $small = PostgreSQL::Test::Cluster->new('small');
	$small->init;
	$small->append_conf('postgresql.conf', join("\n", @settings,
			"shared_preload_libraries = 'sentinai'", 'sentinai.maintenance_interval = 1s', ''));
	is(system(@apart, "mount -t tmpfs -o size=24m tmpfs '$space' && exec pg_ctl -w -D '"
			  . $small->data_dir . "' -l '" . $small->logfile . "' start >/dev/null"), 0,
		'a server with a small disk');
	$small->_update_pid(1);
	$small->safe_psql('postgres', "create tablespace small location '$space'");
	$small->safe_psql('postgres', 'create database app tablespace small');
	$small->safe_psql('app', q{
		create extension sentinai;
		select sentinai.subscribe('billing')});
	publish($small, 'app', 'full', 20);
	poll_ok($small, 'app', $unslept, 'select lag_events = 20 from sentinai.stat_queue',
		'events flow');
	my ($rc, $out, $err) = $small->psql('app',
		"copy (select) to program 'cat /dev/zero >$space/ballast'");
	my $published = 20;
	ok(wait_for($unslept, sub {
		($rc, $out, $err) = $small->psql('app', "\\set VERBOSITY sqlstate\n"
			  . q{select sentinai.publish('Ordered', 't', 'k1', jsonb_build_object('f',
				(select string_agg(md5(i::text), '') from generate_series(1, 500) i)), 'full')
				from generate_series(1, 50)});
		$published += 50 if $rc == 0 && $err eq '';
		return $err ne '';
	}), 'the disk is full');
	like($err, qr/53100/, 'publishers get 53100');
	page_sql($small, 'app', $name, qr/inhparent/);
	page_sql($small, 'app', $name, qr/retention_blocked_by/);
	page_sql($small, 'app', $name, qr/alter system/);
	$small->safe_psql('app', "copy (select) to program 'cat >/dev/null; rm $space/ballast'");
	publish($small, 'app', 'full', 5);
	poll_ok($small, 'app', $unslept,
		"select lag_events = $published + 5 and unsequenced_commits = 0 from sentinai.stat_queue, sentinai.stat_info",
		'with space again all goes on');
	is($small->safe_psql('app', 'select count(*) from sentinai.event_log'), $published + 5,
		'nothing is lost, nothing is half done');
	page_sql($small, 'app', $name, qr/unsequenced/);
	$small->stop;
}

is(join('', map { "$_->{text}\n" } grep { !$_->{run} && $_->{kind} ne 'sql' && $_->{text} !~ $elsewhere }
		  map { @$_ } values %blocks), '', 'every command of the page was run');
done_testing();
