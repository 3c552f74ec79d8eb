# A cluster that was recovered from a backup, beside the one it is a copy of: its
# relay is silent until resume_relay(). A standby that is promoted goes on.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 40;    # seconds within which anything here has to happen
my $broker = MockBroker->new('--brokers', 1);
my $node = PostgreSQL::Test::Cluster->new('original');
$node->init(allows_streaming => 1, has_archiving => 1);
$node->append_conf('postgresql.conf', qq{
	shared_preload_libraries = 'sentinai'
	max_prepared_transactions = 10
	autovacuum = off
	sentinai.launcher_naptime = 1s
	sentinai.topic_partitions = 0
	sentinai.kafka_conf = 'bootstrap.servers=@{[$broker->bootstrap]}'});
$node->start;

sub state_ok
{
	my ($on, $db, $state, $name) = @_;

	poll_ok($on, $db, $unslept, "select relay_paused = ('$state' = 'paused') and state = '$state' and r.pid is not null"
		  . ' from sentinai.stat_relay r, sentinai.stat_info', $name);
	return;
}

# sent(TOPIC): how often the broker has a record of it
sub sent { return scalar $broker->records("sentinai.$_[0]"); }

sub publish
{
	my ($on, $db, $topic) = @_;

	return $on->safe_psql($db, "select sentinai.publish('Tested', 't', 'k1', '{}', '$topic')");
}

# sent_ok(NODE, TOPIC): what is published here is sent, once
sub sent_ok
{
	my ($on, $topic) = @_;

	publish($on, 'postgres', $topic);
	ok(wait_for($unslept, sub { sent($topic) }), "$topic: it relays");
	return;
}

# sequenced_ok(NODE, DATABASE, NAME): all of the log is in slices, once
sub sequenced_ok
{
	my ($on, $db, $name) = @_;

	poll_ok($on, $db, $unslept, q{
		select (select count(*) from sentinai.event_log)
			= (select count(*) from sentinai_internal.slice, unnest(event_ids) where stream_id = 0)
		and not exists (select from sentinai_internal.slice, unnest(event_ids) id where stream_id = 0
			group by id having count(*) > 1)}, $name);
	return;
}

# copy_of(NODE, BACKUP, NAME, OPTION...): a cluster made from a backup
sub copy_of
{
	my ($from, $backup, $name, %option) = @_;
	my $copy = PostgreSQL::Test::Cluster->new($name);

	$copy->init_from_backup($from, $backup, %option);
	return $copy;
}

# crash(NODE): the postmaster and all of its processes are gone
sub crash
{
	my ($on) = @_;

	$on->kill9;
	ok(wait_for($unslept, sub { ! -e $on->data_dir . '/postmaster.pid' || !kill(0, (slurp_file($on->data_dir . '/postmaster.pid') =~ /^(\d+)/)[0]) }), 'a crash');
	return;
}

$node->safe_psql('postgres', q{create database unused});
$node->safe_psql('postgres', q{
	create extension sentinai;
	select sentinai.subscribe('work', '{Tested}')});
$node->safe_psql('unused', 'create extension sentinai');
sent_ok($node, 'first');
$node->backup('base');
my $held = $node->safe_psql('postgres', "select event_id from sentinai.claim('work', 1, '1 hour')");
publish($node, 'postgres', 'between');
ok(wait_for($unslept, sub { sent('between') }), 'the original relays');
$node->safe_psql('postgres', q{
	begin;
	select sentinai.publish('Tested', 't', 'k2', '{}', 'prepared');
	prepare transaction 'p'});
my $until = $node->safe_psql('postgres', 'select pg_create_restore_point($$here$$)');
$node->safe_psql('postgres', 'select pg_switch_wal()');
$node->poll_query_until('postgres', 'select last_archived_wal >= pg_walfile_name($$' . $until . '$$) from pg_stat_archiver');

# point-in-time recovery
my $copy = copy_of($node, 'base', 'recovered', has_restoring => 1, standby => 0);
$copy->append_conf('postgresql.conf', "recovery_target_name = 'here'\nrecovery_target_action = 'promote'\narchive_mode = off");
$copy->start;
$copy->poll_query_until('postgres', 'select not pg_is_in_recovery()');
state_ok($copy, 'postgres', 'paused', 'a recovered cluster: its relay is paused');
publish($copy, 'postgres', 'copied');
sequenced_ok($copy, 'postgres', 'rounds go on');
publish($copy, 'unused', 'unused');
state_ok($copy, 'unused', 'paused', 'that of a database nobody had used, too');
is($copy->safe_psql('postgres', 'select sentinai.recovery_id() > 0, count(*), max(txid_offset) from sentinai_internal.node'),
	't|2|0', 'transaction numbers go on');
$copy->safe_psql('postgres', "commit prepared 'p'");
sequenced_ok($copy, 'postgres', 'and so do prepared transactions');
crash($copy);
$copy->start;
state_ok($copy, 'postgres', 'paused', 'it is paused after a crash');
$copy->safe_psql('postgres', 'create database new');
$copy->safe_psql('new', 'create extension sentinai');
publish($copy, 'new', 'new');
ok(wait_for($unslept, sub { sent('new') }), 'what is made in the copy relays');
is($copy->safe_psql('postgres', "select sentinai.after_restore(); select event_id from sentinai.claim('work', 1)"),
	"\n$held", 'after_restore() gives the leases back');
state_ok($copy, 'postgres', 'paused', 'and leaves the relay paused');
is(sent('copied') + sent('prepared') + sent('unused'), 0, 'nothing was sent');

# standbys of the copy: paused like it, then like it not
$copy->append_conf('postgresql.conf', "recovery_target_name = ''");
$copy->backup('of_copy');
my $standby = copy_of($copy, 'of_copy', 'standby_paused', has_streaming => 1);
$standby->start;
$copy->wait_for_catchup($standby);
$standby->promote;
state_ok($standby, 'postgres', 'paused', 'a promoted standby of a paused copy is paused');
$standby->stop;
$copy->safe_psql('postgres', 'select sentinai.resume_relay()');
ok(wait_for($unslept, sub { sent('copied') && sent('prepared') }), 'resume_relay(): it sends');
state_ok($copy, 'postgres', 'running', 'it is resumed');
$copy->restart;
state_ok($copy, 'postgres', 'running', 'for good');
$copy->backup('of_resumed');
$standby = copy_of($copy, 'of_resumed', 'standby_resumed', has_streaming => 1);
$standby->start;
$copy->wait_for_catchup($standby);
$copy->stop;
$standby->promote;
state_ok($standby, 'postgres', 'running', 'a promoted standby of a resumed copy runs');
sent_ok($standby, 'promoted');

# Patroni starts a primary as a standby and promotes it
$standby->stop;
$standby->append_conf('postgresql.conf', "primary_conninfo = ''");
$standby->set_standby_mode;
$standby->start;
$standby->promote;
state_ok($standby, 'postgres', 'running', 'as does one that was a primary before');
$standby->stop;

# recovered_until(NAME): a recovery that has come to its target, and stopped
sub recovered_until
{
	my ($name) = @_;
	my $on = copy_of($node, 'base', $name, has_restoring => 1, standby => 0);

	$on->append_conf('postgresql.conf', "recovery_target_name = 'here'\nrecovery_target_action = 'shutdown'\narchive_mode = off");
	# not by start(), which ends the script when the server has come and gone
	run_log([ 'pg_ctl', '-w', '-D', $on->data_dir, '-l', $on->logfile, 'start' ]);
	ok(wait_for($unslept, sub { !-e $on->data_dir . '/postmaster.pid' }), "$name: a recovery that stops");
	ok(-e $on->data_dir . '/sentinai_recovery', "$name: it is noted");
	unlink $on->data_dir . '/recovery.signal';
	$on->append_conf('postgresql.conf', "recovery_target_name = ''");
	$on->_update_pid(0);
	return $on;
}

# no worker has seen the end of recovery, as after a crash at that moment
$copy = recovered_until('unseen');
$copy->start;
state_ok($copy, 'postgres', 'paused', 'a recovery that no worker has seen');
$copy->stop;

# a base backup that is started as it is
$copy = copy_of($node, 'base', 'label');
$copy->append_conf('postgresql.conf', 'archive_mode = off');
$copy->start;
state_ok($copy, 'postgres', 'paused', 'a backup that is started without a signal is a copy');
publish($copy, 'postgres', 'label');
sequenced_ok($copy, 'postgres', 'in use by itself');
$copy->safe_psql('postgres', 'select sentinai.resume_relay()');
ok(wait_for($unslept, sub { sent('label') }), 'until resume_relay()');
$copy->stop;

# who begins a recovery and then follows the original is its standby
$copy = recovered_until('undecided');
$copy->enable_streaming($node);
$copy->start;
$node->wait_for_catchup($copy);
ok(!-e $copy->data_dir . '/sentinai_recovery', 'a standby forgets it');
$node->stop;
$copy->promote;
state_ok($copy, 'postgres', 'running', 'and relays when it is promoted');
sent_ok($copy, 'last');
$copy->stop;
done_testing();
