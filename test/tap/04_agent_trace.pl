# SPDX-License-Identifier: PostgreSQL
# Agents hand on what an event belongs to: to a command in its environment, to
# what it publishes by PGOPTIONS, and to a handler's own connection.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Agents;

my $node = PostgreSQL::Test::Cluster->new('agent_trace');
my $trace = '4bf92f3577b34da6a3ce929d0e0e4736';

$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sentinai'");
$node->start;
$node->safe_psql('postgres', 'create extension sentinai');
use_node($node);

# The variables that a command has seen.
sub variables
{
	my ($name) = @_;
	my %seen = map { chomp; split /=/, $_, 2 }
	  grep { /^(SENTINAI_|TRACE|PGOPTIONS)/ } split /^/, slurp_file("$dir/$name");

	return \%seen;
}

# Events of a type: cause, flow, trace.
sub events_of
{
	my ($type) = @_;

	return sql("select causation_id, correlation_id, split_part(metadata->>'traceparent', '-', 2)
		|| case when replace(event_id::text, '-', '') like '%' || split_part(metadata->>'traceparent', '-', 3)
		then ' own' end from sentinai.event_log where event_type = '$type'");
}

# An agent until nothing is left; its exit status.
sub run_agent
{
	start_work(@_);
	return (end_of($_[0]))[0];
}

sql("select sentinai.subscribe('traced', '{Traced}')");
sql("select sentinai.subscribe('plain', '{Plain}')");
sql("select sentinai.subscribe('chain', '{Chained}')");
my $traced = sql("select sentinai.publish('Traced', 'acme', 'A-1', '{}', correlation_id => 'flow 1',
	metadata => '{\"traceparent\": \"00-$trace-00f067aa0ba902b7-01\", \"tracestate\": \"k=v\"}')");
my $plain = sql("select sentinai.publish('Plain', 'acme', 'A-2', '{}')");

local $ENV{TRACEPARENT} = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
local $ENV{TRACESTATE} = 'ours=1';
my $psql = $node->installed_command('psql') . ' -XAtqc';
my $public = "select sentinai.publish('%s', 'acme', 'B-1', '{}')";

is(run_agent('traced', undef, '-w', 'traced', '--until-empty', '--work-on', '-x',
	qq{env >'$dir/traced'; $psql "} . sprintf($public, 'OfTraced') . qq{"}), 0, 'a command publishes');
my $seen = variables('traced');
is($seen->{SENTINAI_EVENT_ID}, $traced, 'the event');
is($seen->{SENTINAI_CORRELATION_ID}, 'flow 1', 'its flow');
is($seen->{TRACEPARENT}, "00-$trace-00f067aa0ba902b7-01", 'its trace, and not ours');
is($seen->{TRACESTATE}, 'k=v', 'with its state');
is(events_of('OfTraced'), "$traced|flow 1|$trace own", 'what it publishes inherits');

{
	local $ENV{PGOPTIONS} = '-c work_mem=123kB';
	is(run_agent('plain', undef, '-w', 'plain', '--until-empty', '--work-on', '-x',
		qq{env >'$dir/plain'; $psql "select sentinai.publish(current_setting('work_mem'), 'acme', 'B-2', '{}')" 2>'$dir/err' || }
		  . qq{$psql "} . sprintf($public, 'OfPlain') . qq{"}), 0, 'an event without a trace');
}
$seen = variables('plain');
is($seen->{SENTINAI_CORRELATION_ID}, 'A-2', 'has its flow');
is($seen->{SENTINAI_CAUSATION_ID}, '', 'no cause');
ok(!exists $seen->{TRACEPARENT} && !exists $seen->{TRACESTATE}, 'and no trace, not ours either');
is($seen->{PGOPTIONS}, "-c work_mem=123kB -c sentinai.work_on=$plain", 'PGOPTIONS are kept');
is(events_of('OfPlain'), "$plain|A-2|", 'it inherits the flow');

my $of_tenant = sql("select sentinai.publish('Plain', 'acme', null, '{}')");
is(run_agent('tenant', undef, '-w', 'plain', '--until-empty', '--work-on', '-x',
	qq{env >'$dir/tenant'; $psql "} . sprintf($public, 'OfTenant') . qq{"}), 0, 'an event of the tenant itself');
is(variables('tenant')->{SENTINAI_CORRELATION_ID}, $of_tenant, 'names its flow by its id');
is(events_of('OfTenant'), "$of_tenant|$of_tenant|", 'which is inherited');

my $unaware = sql("select sentinai.publish('Plain', 'acme', 'A-3', '{}')");
is(run_agent('unaware', undef, '-w', 'plain', '--until-empty', '-x',
	qq{env >'$dir/unaware'; $psql "} . sprintf($public, 'Unaware') . qq{"}), 0, 'without --work-on');
ok(!exists variables('unaware')->{PGOPTIONS}, 'no PGOPTIONS');
is(events_of('Unaware'), '|B-1|', 'nothing is inherited');

# Through PgBouncer in transaction mode, where all share one session.
SKIP:
{
	my ($port, $user, $pooler) = start_pgbouncer(1);

	skip 'no pgbouncer', 5 unless $pooler;
	local $ENV{PGHOST} = $dir;
	local $ENV{PGPORT} = $port;
	my $client = sub {
		my ($out, $err);

		IPC::Run::run([ $node->installed_command('psql'), '-XAtq', '-U', $user, '-v', 'ON_ERROR_STOP=1' ],
			'<', \$_[0], '>', \$out, '2>', \$err) or die $err;
		return $out =~ s/\s+\z//r;
	};
	my $publish = "select 'pid ' || pg_backend_pid() from (select sentinai.publish('%s', 'acme', 'P-1', '{}')) p;";
	my $first = $client->("begin; select sentinai.work_on('$traced');" . sprintf($publish, 'Pooled1') . 'commit;');
	my $second = $client->(sprintf($publish, 'Pooled2') . 'show sentinai.work_on');
	is(events_of('Pooled1'), "$traced|flow 1|$trace own", 'work_on() through a pooler');
	is(events_of('Pooled2'), '|P-1|', 'leaves nothing to the next client');
	is($second, $first =~ s/^\s+//r, 'of the same session, nor in the setting');
	$client->("set sentinai.work_on = '$traced'");
	$client->(sprintf($publish, 'Pooled3'));
	is(events_of('Pooled3'), '|P-1|', 'and what a client sets for the session says nothing to others');
	$client->("begin; set local sentinai.work_on = '$plain';" . sprintf($publish, 'Pooled4') . 'commit;');
	is(events_of('Pooled4'), "$plain|A-2|", 'who can say it themselves');
	$pooler->signal('INT');
	$pooler->finish;
}

# The C library: a handler with a connection of its own.
my $chained = sql("select sentinai.publish('Chained', 'acme', 'A-4', '{}',
	metadata => '{\"traceparent\": \"00-$trace-00f067aa0ba902b7-00\"}')");
command_ok([ "$build/chain", '-w', 'chain', '--next-type', 'Linked', '--until-empty' ], 'a handler that publishes');
is(events_of('Linked'), "$chained|A-4|$trace own", 'agent_work_on() hands on');

done_testing();
