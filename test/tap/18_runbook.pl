# docs/runbook.md: every command of the page, after the trouble that it is for.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use Agents;
use IPC::Run ();
use OwnServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai ();
use Test::More;

my $page = slurp_file('docs/runbook.md');
my $home = PostgreSQL::Test::Utils::tempdir();
my ($bin, $extensions, $libraries) = own_server($home);
my $node = Sentinai::new_node('runbook', { install_path => $bin =~ s{/bin$}{}r });

use_node($node);
$ENV{PATH} = "$build:$bin:$ENV{PATH}";
$ENV{PGDATA} = $node->data_dir;
$ENV{PSQLRC} = '/dev/null';
$ENV{ON_ERROR_STOP} = 1;
mkdir "$dir/place" or die $!;

# The blocks of a section, in order.
my %blocks;
my @sections;
{
	my $section;

	while ($page =~ /^## ([^\n]*)\n|^```sh\n(.*?)^```$/gms)
	{
		if (defined $1)
		{
			push @sections, $section = $1;
			next;
		}
		push @{ $blocks{$section} }, $2;
	}
}

# run_section(NAME): its commands, as somebody would type them. What they said.
my %seen;
sub run_section
{
	my ($name) = @_;
	my ($all, $number) = ('', 0);

	$seen{$name} = 1;
	foreach my $block (@{ $blocks{$name} })
	{
		my $file = "$dir/block.sh";

		$number++;
		open my $out, '>', $file or die $!;
		# psql -c does not fail on its own where psql is not the last command
		print $out "set -eu\ncd '$dir/place'\n$block";
		close $out;
		# into a file: who stays in the background would keep a pipe open
		my $status = system("bash '$file' >'$dir/said' 2>&1 </dev/null");
		my $said = slurp_file("$dir/said");
		is($status, 0, "$name: its block $number can be run") or diag($said);
		$all .= $said;
	}
	return $all;
}

sub state_of
{
	return sql(qq{select coalesce((select state from sentinai_platform.exceptions where tenant_id = 'acme' and exception_id = '$_[0]'), 'none')});
}

# submit(ID, AMOUNT)
sub submit
{
	my ($id, $amount) = @_;

	sql(qq{select sentinai_platform.submit_exception('acme', 'bank', '{"amount": "$amount"}', '$id')});
	return;
}

sub pid_of
{
	my ($name) = @_;

	return slurp_file("$dir/place/run/$name.pid") + 0;
}

END
{
	kill 'KILL', map { slurp_file($_) + 0 } glob "$dir/place/run/*.pid" if $dir;
}

run_section('Start');
is(sql(q{select count(*) from sentinai.stat_queue}), 6, 'a subscription for each agent');
sql(q{insert into sentinai_platform.mapping_rules (tenant_id, field, pointers) values ('acme', 'amount', '{/amount}')});
wait_for('all to ask for work', sub { sql(q{select count(*) from sentinai.stat_queue where last_claimed_at is null}) == 0 });

like(run_section('Verify'), qr/\(0 rows\).*escalated/s, 'all ask for work, and the probe reaches people');
run_section('Monitor');

run_section('Scale');
wait_for('the second instance', sub { sql(q{select count(*) from pg_stat_activity where application_name = 'sentinai-triage'}) >= 6 });
pass('the second instance is there');

# an agent that hangs with what it has
kill 'STOP', map { pid_of($_) } qw(triage triage-2);
submit('EX-stuck', '1');
wait_for('the intake', sub { state_of('EX-stuck') eq 'normalized' });
sql(q{call sentinai.wait_for_work('triage', '30 seconds', null)});
sql(q{select count(*) from sentinai.claim('triage', 10, '1 day', 'somebody who hangs')});
kill 'CONT', map { pid_of($_) } qw(triage triage-2);
$blocks{'Stuck work'}[1] =~ s/5 minutes/0 seconds/;
like(run_section('Stuck work'), qr/somebody who hangs/, 'the one that hangs is named');
wait_for('the work of the one that hung', sub { state_of('EX-stuck') !~ /none|normalized/ });
pass('another has done it');

submit('EX-dead', 'much');
wait_for('the dead letter', sub { sql(q{select count(*) from sentinai.dead_letter where status = 'pending'}) });
sql(q{delete from sentinai_platform.mapping_rules;
	insert into sentinai_platform.mapping_rules (tenant_id, field, pointers) values ('acme', 'amount', '{/sum}')});
like(run_section('Dead letters'), qr{/data/amount}, 'the reason names the field');
wait_for('the letter to be tried again', sub { state_of('EX-dead') ne 'none' });
pass('with the rule mended it went through');

run_section('High lag');
unlike(run_section('Duplicates'), qr/EX-/, 'nothing is there twice');

sql(q{create role app_acme login; select sentinai.grant_tenant('app_acme', 'acme', 'publish')});
like(run_section('Tenant isolation'), qr/app_acme/, 'grants are shown');
is(sql(q{select count(*) from sentinai.tenant_grants where role = 'app_acme'::regrole}), 0, 'and taken away');

run_section('Connection failures');
submit('EX-after', '1');
wait_for('the agents to be back', sub { state_of('EX-after') eq 'escalated' });
pass('agents make new connections');

# the upgrade: exceptions come in all the time, and agents are looked at before they
# are exchanged
{
	my $exchange = pop @{ $blocks{Upgrade} };
	my @pids = map { pid_of($_) } qw(intake triage policy playbook tool feedback triage-2);
	my $next = '9.9.9';
	my $library = slurp_file("$libraries/sentinai.so");
	my $version = version_of("$extensions/sentinai.control");
	my $platform = version_of("$extensions/sentinai_platform.control");
	my $publisher = IPC::Run::start([ 'bash', '-c', q{
		n=0
		until [ -e "$0/enough" ]; do
			n=$((n + 1))
			until psql -Xqc "select sentinai_platform.submit_exception('acme', 'bank', '{\"sum\": $n}', 'EX-up-$n', idempotency_key => 'up-$n')"; do sleep 0.1; done
			echo $n >"$0/submitted"
			sleep 0.02
		done >/dev/null 2>&1}, $dir ]);
	# it is empty for a moment
	my $submitted = sub { return -e "$dir/submitted" && slurp_file("$dir/submitted") =~ /(\d+)/ ? $1 : 0 };
	my $more = sub {
		my $until = $submitted->() + 10;

		return wait_for('more exceptions', sub { $submitted->() >= $until });
	};

	# install, as install(1) does it: another library, and scripts to another version
	$more->();
	$library =~ s/\Q$version\E\0/$next\0/ == 1 && length $version == length $next or die 'the version of the library';
	unlink "$libraries/sentinai.so";
	append_to_file("$libraries/sentinai.so", $library);
	append_to_file("$extensions/sentinai--$version--$next.sql", slurp_file("$ENV{TESTDIR}/sql/update.sql.in") =~ s/\@TO\@/$next/gr);
	append_to_file("$extensions/sentinai_platform--$platform--$next.sql",
		"create function sentinai_platform.added() returns int language sql set search_path = pg_catalog, pg_temp return 1;\n");
	set_version("$extensions/$_.control", $next) foreach qw(sentinai sentinai_platform);
	like(run_section('Upgrade'), qr/$next\s+\| t\b.*sentinai\s+\| $next.*sentinai_platform\s+\| $next/s, 'library and objects are of the next version');
	$more->();
	is(scalar(grep { kill 0, $_ } @pids), scalar @pids, 'no agent has ended');
	push @{ $blocks{Upgrade} = [] }, $exchange;
	run_section('Upgrade');
	is(scalar(grep { kill 0, $_ } @pids), 1, 'but those that were exchanged');
	$more->();
	append_to_file("$dir/enough", '');
	$publisher->finish;
	wait_for('all exceptions', sub { sql(q{select count(*) from sentinai_platform.exceptions where exception_id ~ '^EX-up-' and state = 'escalated'}) == $submitted->() });
	pass('all that came meanwhile went through');
	is(sql(q{select count(*) from (select from sentinai.event_log where aggregate_id ~ '^EX-up-' group by aggregate_id, event_type having count(*) > 1) e}), 0, 'once');
	is(sql(q{select count(*) from sentinai.dead_letter where status = 'pending' and aggregate_id ~ '^EX-up-'}), 0, 'and nothing was given up');
}

# the emergency: its first two blocks are the trouble, the last is the way back
{
	my $back = pop @{ $blocks{Emergency} };

	run_section('Emergency');
	wait_for('all agents to be gone', sub { sql(q{select count(*) from pg_stat_activity where usename = 'platform_agent'}) == 0 });
	sql(q{create role app login in role sentinai_publisher});
	is(sql(q{select has_function_privilege('app', 'sentinai_platform.submit_exception(text, text, jsonb, text, text, text)', 'execute')}), 'f', 'nothing is taken in');
	submit('EX-later', '1');
	$blocks{Emergency} = [$back];
	run_section('Emergency');
	is(sql(q{select has_function_privilege('app', 'sentinai_platform.submit_exception(text, text, jsonb, text, text, text)', 'execute')}), 't', 'then it is again');
	wait_for('the agents to be back', sub { state_of('EX-later') eq 'escalated' });
	pass('and agents work again');
}

run_section('Stop');
# a process is gone a moment before the server has noticed it
wait_for('all sessions to end', sub { sql(q{select count(*) from pg_stat_activity where application_name like 'sentinai-%' and usename = 'platform_agent'}) == 0 });
pass('nobody works any more');
is_deeply([sort keys %seen], [sort grep { $blocks{$_} } @sections], 'every section was run');

done_testing();
