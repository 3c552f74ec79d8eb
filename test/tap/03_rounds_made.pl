# A transaction that makes the partition its own events go to. A round sees it a
# moment before others are told of the partition, and that moment is longer where
# they have to be told of much besides.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 60;    # seconds within which anything here has to happen
my @databases = map { "made$_" } 1 .. 6;
my $node = new_node('made', 'sentinai.launcher_naptime = 1s', 'log_statement = none');

# maker(DATABASE): a session that keeps others from making a partition
sub maker
{
	my ($db) = @_;

	$node->safe_psql('postgres', "create database $db");
	$node->safe_psql($db, q{
		create table done ();
		do $$ begin for i in 1..400 loop execute format('create table t%s ()', i); end loop; end $$});
	my $maker = $node->background_psql($db, on_error_stop => 1);
	$maker->query_safe(q{
		create extension sentinai;
		begin;
		lock sentinai_internal.event_log in share update exclusive mode});
	return $maker;
}

# waiter(DATABASE): an agent that has rounds taken as soon as there is something
sub waiter
{
	my ($db) = @_;

	return IPC::Run::start([ 'psql', '-Xq', '-d', $node->connstr($db), '-c', q{
		do $$
		declare
			ready boolean;
		begin
			loop
				call sentinai.wait_for_work('agent', '200 ms', ready);
				exit when exists (select from done);
			end loop;
		end $$} ], '<', \undef, '>', \my $out, '2>', \my $err);
}

my %makers = map { $_ => maker($_) } @databases;
my @lost;
foreach my $db (@databases)
{
	my $maker = $makers{$db};

	ok(sequencer_pid($node, $db, $unslept), "$db: a sequencer runs");
	$node->safe_psql($db, q{select sentinai.subscribe('agent')});
	my $waiter = waiter($db);
	poll_ok($node, $db, $unslept, q{
		select exists (select from pg_stat_activity where datname = current_database() and query ~ 'wait_for_work' and wait_event_type = 'Extension')},
		"$db: an agent waits");
	is($maker->query_safe(q{
		select count(*) from pg_inherits where inhparent = 'sentinai_internal.event_log'::regclass;
		select from sentinai.publish_batch(array_fill('Made'::text, array[5]), array_fill('t'::text, array[5]), array_fill('k'::text, array[5]), array_fill('{}'::jsonb, array[5]));
		do $$ begin for i in 1..400 loop execute format('drop table t%s', i); end loop; end $$;
		commit}) =~ s/\s//gr, '0', "$db: no partition was there");
	$maker->quit;
	$node->safe_psql($db, q{select sentinai.publish('Later', 't', 'k', '{}')});
	poll_ok($node, $db, $unslept, q{
		select exists (select from sentinai.event_log, sentinai_internal.slice where event_type = 'Later' and stream_id = 0 and event_id = any (event_ids))},
		"$db: a later event is in a round");
	$node->safe_psql($db, 'insert into done default values');
	$waiter->finish;
	push @lost, $node->safe_psql($db, q{
		select count(*) from sentinai.event_log
		where not exists (select from sentinai_internal.slice where stream_id = 0 and event_id = any (event_ids))});
}
is("@lost", '0 0 0 0 0 0', 'all events are in rounds');

$node->stop;
done_testing();
