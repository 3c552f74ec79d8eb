# A number without a unit that somebody took for days or hours is warned of: to
# whom sets it, and once in the log, but not at every reload.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 40;    # seconds within which anything here has to happen
my $node = new_node('units', 'sentinai.retention = 30');

# said(SETTING, VALUE): what the client is told that sets it
sub said
{
	my ($name, $value) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nalter system set sentinai.$name = $value");

	is($rc, 0, "$name = $value can be set");
	return $err;
}

is(log_count($node, 'WARNING:  parameter "sentinai.retention" is only 30 minutes'), 1,
	'a file with retention = 30 is warned of at the start');
$node->safe_psql('postgres', 'create extension sentinai');
ok(sequencer_pid($node, 'postgres', $unslept), 'a worker reads it, too');

my %small = (
	retention => [ 7, 'minutes' ], partition_interval => [ 7, 'minutes' ],
	idempotency_window => [ 24, 'seconds' ], topic_timeout => [ 3, 'seconds' ]);
foreach my $name (sort keys %small)
{
	my ($value, $unit) = @{ $small{$name} };

	like(said($name, $value), qr/WARNING:  01000: parameter "sentinai.$name" is only $value $unit.*HINT:/s,
		'it is warned of');
	is(said($name, "'30 d'"), '', 'with days it is not');
}
is(said('retention', $_), '', 'it has a meaning of its own') foreach 0, -1;
is(said('topic_timeout', -1), '', 'it has a meaning of its own');

# each process reads the file; only one tells of it, and only of what is new
said('retention', 45);
foreach my $days (2, 3)
{
	$node->safe_psql('postgres', "alter system set sentinai.idempotency_window = '$days d'");
	$node->reload;
	poll_ok($node, 'postgres', $unslept,
		"select current_setting('sentinai.idempotency_window') = '${days}d' and current_setting('sentinai.retention') = '45min'",
		'the file is read');
}
is(log_count($node, ' 45 minutes'), 2, 'the log has it from the command and from the reload');
$node->stop;
done_testing();
