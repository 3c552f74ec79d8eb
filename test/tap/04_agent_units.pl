# test/tap/04_agent_units.pl: the units of systemd, the configuration file for all
# agents of the platform and the one for a relay are what systemd and the programs
# take.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my $conf = "$top/workers/systemd/sentinai.conf";
my $unit = slurp_file("$top/workers/systemd/sentinai-agent@.service");
my $dir = PostgreSQL::Test::Utils::tempdir();
my ($out, $err);

delete $ENV{$_} foreach grep { /^(SENTINAI_|WORKER_TYPE|GROUP_ID|CONCURRENCY|PG(HOST|PORT|DATABASE|USER))/ } keys %ENV;

# Every agent of the platform is in the file, with a port of its own.
my @agents = map { slurp_file($_) =~ /"sentinai-(\w+)"/ } glob "$top/workers/platform/*.c";
my %ports;
cmp_ok(scalar(@agents), '>=', 6, 'there are agents');
foreach my $agent (@agents)
{
	ok(IPC::Run::run([ "$top/build/workers/sentinai-$agent", '--config', $conf, '--show-config' ], '<', \undef, '>', \$out, '2>', \$err), "$agent takes the file") || diag($err);
	my ($port) = $out =~ /^http = 127\.0\.0\.1:(\d+)$/m;
	ok($port && !$ports{$port}++, 'and has a port of its own');
}

# The unit, with the agents where this test has them.
like($unit, qr{^ExecStart=/usr/local/bin/sentinai-%i --config /etc/sentinai/sentinai\.conf$}m, 'the unit runs an agent by its name');
my ($stop) = $unit =~ /^TimeoutStopSec=(\d+)$/m;
my ($timeout) = $out =~ /^shutdown-timeout = (\d+)s$/m;
cmp_ok($stop, '>', $timeout, 'systemd waits for longer than the agent does');

# The relay's, with the options of its file.
my $relay = slurp_file("$top/workers/systemd/sentinai-relay@.service");
my ($options) = slurp_file("$top/workers/systemd/relay.env") =~ /^OPTIONS=(.*)$/m;
like($relay, qr{^ExecStart=/usr/local/bin/sentinai-relay --relay %i \$OPTIONS$}m, 'a unit runs a relay by its name');
ok(IPC::Run::run([ "$top/build/workers/sentinai-relay", '--relay', 'billing', (split / /, $options), '--version' ], '<', \undef, '>', \$out, '2>', \$err), 'which takes the options of the file') || diag($err);

SKIP:
{
	skip 'systemd-analyze is not here', 4 unless grep { -x "$_/systemd-analyze" } split /:/, $ENV{PATH};
	understood('agent', 'intake', $unit);
	understood('relay', 'billing', $relay);
}

# understood(PROGRAM, NAME, UNIT): tests that systemd takes the unit for it, with the
# program where this test has it
sub understood
{
	my ($program, $name, $text) = @_;
	my $place = "$dir/sentinai-$program\@$name.service";

	append_to_file("$dir/sentinai-$program@.service", $text =~ s{/usr/local/bin/}{$top/build/workers/}r =~ s/^User=\w+$/User=root/mr);
	IPC::Run::run([ 'systemd-analyze', 'verify', '--man=no', $place ], '<', \undef, '>', \$out, '2>', \$err);
	is(join('', grep { /sentinai-$program/ } split /^/, $err), '', "systemd understands the unit of the $program");
	ok(IPC::Run::run([ 'systemd-analyze', 'security', '--offline=yes', '--threshold=25', $place ], '<', \undef, '>', \$out, '2>', \$err),
		'and it leaves little to do harm with') || diag($out . $err);
	return;
}

done_testing();
