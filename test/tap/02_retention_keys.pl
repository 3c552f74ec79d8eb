# Idempotency keys live as long as their window, whatever retention says.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $factor = $ENV{SENTINAI_PATIENCE} || 1;
my $window = 15 * $factor;
my $node = new_node('keys',
	'sentinai.retention = 0',
	"sentinai.idempotency_window = ${window}s",
	'sentinai.maintenance_interval = 1s');
my $db = 'postgres';
my $patience = 20;

$node->safe_psql($db, 'create extension sentinai');
add_make_set($node, $db);
$node->safe_psql($db, q{
	select make_set(t, t + interval '2 s')
	from (select clock_timestamp() offset 0) x (start),
	     lateral generate_series(start, start + interval '3 min', interval '2 s') t});

sub publish
{
	my ($key, $tenant) = @_;

	return $node->safe_psql($db,
		"select sentinai.publish('Paid', '$tenant', 'x', '{}', idempotency_key => '$key')");
}

sub rows
{
	my ($table, $id) = @_;

	return $node->safe_psql($db, "select count(*) from sentinai_internal.$table where event_id = '$id'");
}

sub set
{
	$node->safe_psql($db, "alter system set sentinai.$_[0] = '$_[1]'");
	$node->reload;
}

# the window is longer than retention
my $id = publish('k1', 't1');
ok(wait_for($patience, sub { rows('event_log', $id) eq '0' }), 'an event goes with retention');
is(publish('k1', 't1'), $id, 'a second call returns its id all the same');
is(rows('event_log', $id), '0', 'and publishes nothing');
isnt(publish('k1', 't2'), $id, 'another tenant has keys of his own');
like((psql_state("select sentinai.publish('Paid', 't1', 'y', '{}', idempotency_key => 'k1')"))[0], qr/SN409/,
	'another event under the key is refused');
ok(wait_for($window / $factor + $patience, sub { rows('event_idempotency', $id) eq '0' }),
	'the key goes when its window is over');
poll_ok($node, $db, $window / $factor,
	"select clock_timestamp() > sentinai.event_time('$id') + interval '$window s'", 'not before');
my $second = publish('k1', 't1');
isnt($second, $id, 'then the key is free');

# retention is longer than the window
set('retention', -1);
set('idempotency_window', '2s');
my $kept = publish('k2', 't1');
poll_ok($node, $db, $patience,
	"select clock_timestamp() > sentinai.event_time('$kept') + interval '3 s'", 'a shorter window is over');
isnt(publish('k2', 't1'), $kept, 'the key is free');
is(rows('event_log', $kept), '1', 'while its event is there');
set('idempotency_window', "$window s");
is(log_count($node, 'ERROR: (?!.*idempotency key is taken)|PANIC:'), 0, 'no error was logged');
$node->stop;

sub psql_state
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $node->connstr($db), '-c', $sql ],
		'<', '/dev/null', '>', \$out, '2>', \$err);
	return $err;
}

done_testing();
