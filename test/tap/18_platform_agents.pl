# The agents of the exception platform: killed at random points, with their
# connections and the server, each exception is taken in once and triaged once.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use Agents;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai ();
use Test::More;

my @tenants = qw(acme globex initech);
my $node = Sentinai::new_node('platform_agents');
my $n = 0;

use_node($node);
sql(q{create extension sentinai_platform cascade;
	select sentinai_platform.subscribe_agents();
	select sentinai.alter_subscription(w, max_attempts => 1000, backoff => '{0}') from unnest('{intake,triage,policy,feedback}'::text[]) w;
	insert into sentinai_platform.mapping_rules (tenant_id, field, pointers, required) values ('*', 'amount', '{/amt}', true);
	insert into sentinai_platform.triage_rules (tenant_id, rule, condition, severity) values
		('*', 'large', '$.amount >= 50', 'high'), ('acme', 'small', '$.amount < 50', 'low');
	insert into sentinai_platform.sla_rules (tenant_id, resolve_within) values ('*', '1 day');
	insert into sentinai_platform.guardrails (tenant_id, rule, priority, condition, decision, playbook) values
		('*', 'large', 10, '$.severity == "high"', 'needs_approval', 'p'), ('acme', 'small', 20, '$.amount < 50', 'allowed', 'p')});

# start_platform(NAME, AGENT, OPTION...)
sub start_platform
{
	my ($name, $agent, @args) = @_;
	local $Agents::work = "$build/sentinai-$agent";

	start_work($name, undef, '--lease', '2s', '--wait', '200ms', '-n', '17', '--reconnect-max', '200ms', @args);
	return;
}

# submit(HOW MANY): exceptions of all tenants; of ten one is wrong, some come twice
sub submit
{
	my ($count) = @_;
	my $first = $n + 1;

	$n += $count;
	sql(qq{select count(sentinai_platform.submit_exception(t, 'bank', jsonb_build_object('amt', case when i % 10 = 7 then 'much' else (i % 100)::text end), 'EX-' || i, idempotency_key => 'k' || i))
		from generate_series($first, $n) i, unnest('{@{[join ',', @tenants]}}'::text[]) t, generate_series(1, 1 + (i % 4 = 0)::int)});
	return;
}

# What is wrong with the agents' options is said before anything is done.
is(scalar(grep { /default: intake|\[SENTINAI_GROUP_ID, GROUP_ID\]/ } split /\n/, `$build/sentinai-intake --help`), 2, 'the options say which subscription it is');
{
	local $ENV{GROUP_ID} = 'intake-eu';
	local $ENV{WORKER_TYPE} = 'intake';
	start_platform('group', 'intake', '--unknown-type', 'exit', '-c', '1');
	is((end_of('group'))[0], 69, 'a group is a subscription');
	ok(scalar(grep { /intake-eu/ } lines("$dir/group.log")), 'of that name');
}

my %agents = map { ("$_ 1" => $_, "$_ 2" => $_) } qw(intake triage policy feedback);
start_platform($_, $agents{$_}, '-c', 2) foreach sort keys %agents;
foreach my $round (1 .. 10)
{
	my $name = (sort keys %agents)[ int rand keys %agents ];

	submit(20);
	select undef, undef, undef, rand 0.2;
	if ($round % 4 == 0)
	{
		sql(q{select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ '^sentinai-(intake|triage|policy|feedback)'});
	}
	elsif ($round == 7)
	{
		$node->stop('immediate');
		$node->start;
	}
	else
	{
		kill 'KILL', $running{$name};
		waitpid $running{$name}, 0;
		start_platform($name, $agents{$name}, '-c', 2);
	}
}

# wait_for_all(): until nothing is under way. How many exceptions there have to be.
sub wait_for_all
{
	my $good = @tenants * $n * 9 / 10;

	wait_for('all to be taken in', sub { sql(q{select count(*) from sentinai_platform.exceptions}) >= $good });
	wait_for('all to be triaged', sub { sql(q{select count(*) from sentinai_platform.exceptions where state <> 'normalized'}) >= $good });
	wait_for('all to have a policy', sub { sql(q{select count(*) from sentinai_platform.exceptions where decision is not null}) >= $good });
	wait_for('the end of the work', sub { sql(q{select count(*) from sentinai.stat_queue where worker_type <> 'playbook' and lag_events + in_flight + retrying > 0}) == 0 });
	return $good;
}
wait_for_all();

# Read models are made anew while agents go on.
my $rebuild = join '; ', map { "call sentinai_platform.rebuild_projections('$_', 5)" } @tenants;
my @rebuild = ('psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), map { ('-c', $_) } split /; /, $rebuild);
my $rows = q{select x::text as r from sentinai_platform.exceptions x union all select a::text from sentinai_platform.approvals a
	union all select f::text from sentinai_platform.feedback f union all select m::text from sentinai_platform.feedback_metrics m};
sql(qq{create table kept as $rows; delete from kept using sentinai_platform.feedback_metrics m where r = m::text;
	update sentinai_platform.exceptions set state = 'triaged', severity = null, decision = null, due_at = null, opened_by = gen_random_uuid();
	delete from sentinai_platform.approvals; delete from sentinai_platform.feedback; delete from sentinai_platform.feedback_metrics});
my $running = IPC::Run::start(\@rebuild, '>', \my $said, '2>&1');
submit(60);
$running->finish;
is($said =~ s/[-0-9a-f]{36}\n//gr, '', 'read models are rebuilt while agents go on');
my $good = wait_for_all();
is(sql("select count(*) from kept where r not in ($rows)"), 0, 'with the rows that there were');
sql("drop table kept; create table kept as $rows");
command_ok(\@rebuild, 'and again, with nothing to do');
is(sql("select count(*) from ((table kept except ($rows)) union all (($rows) except table kept)) d"), 0, 'what agents have written meanwhile is what the log says');

is((stop_agent($_))[0], 0, "$_ stops in order") foreach sort keys %agents;

is(sql(q{select count(*) from sentinai_platform.exceptions}), $good, 'all that were right are there');
is(sql(q{
	select string_agg(distinct flow, ' ') from (
		select string_agg(e.event_type, ',' order by e.event_id) as flow from sentinai.event_log e
		join sentinai_platform.exceptions x on (x.tenant_id, x.exception_id) = (e.tenant_id, e.aggregate_id) group by e.tenant_id, e.aggregate_id) f}),
	join(' ', map { "ExceptionIngested,ExceptionNormalized,TriageRequested,TriageCompleted,PolicyEvaluationRequested,PolicyEvaluationCompleted,$_" } ('ApprovalRequested', 'ExceptionEscalated,FeedbackCaptured', 'PlaybookMatched')), 'each went its way in order, once');
is(sql(q{
	select count(*) from sentinai_platform.exceptions x join sentinai.event_log e
		on (x.tenant_id, x.exception_id, 'TriageCompleted') = (e.tenant_id, e.aggregate_id, e.event_type)
	where x.severity = e.payload ->> 'severity' and x.reasons = e.payload -> 'reasons'
		and x.severity = case when x.amount >= 50 then 'high' when x.tenant_id = 'acme' then 'low' else 'medium' end}),
	$good, 'the read model is what was published, by the rules of each tenant');
is(sql(q{select count(*) from sentinai_platform.exceptions where state = case when severity = 'high' then 'awaiting_approval' when tenant_id = 'acme' then 'matched' else 'escalated' end}), $good, 'and is where the guardrails want it');
is(sql(q{select count(*) = count(p.exception_id) from sentinai_platform.exceptions x left join sentinai_platform.approvals p using (tenant_id, exception_id) where x.state = 'awaiting_approval'}), 't', 'with an approval where it needs one');
is(sql(q{select count(*) from sentinai_platform.feedback f join sentinai_platform.exceptions x using (tenant_id, exception_id) where f.state = 'escalated' and x.state = 'escalated'}),
	sql(q{select count(*) from sentinai_platform.exceptions where state = 'escalated'}), 'what became of each is noted');
is(sql(q{select sum(escalated) = (select count(*) from sentinai_platform.feedback) from sentinai_platform.feedback_metrics}), 't', 'and counted once');
is(sql(q{select count(*) from sentinai.deadlines d join sentinai_platform.exceptions x on (x.tenant_id, x.exception_id, x.due_at) = (d.tenant_id, d.aggregate_id, d.due_at)}), $good, 'each has its deadline');
is(sql(q{select string_agg(status || ' ' || n, ', ' order by status) from (select status, count(*) as n from sentinai_platform.commands group by 1) c}),
	"completed $good, failed " . (@tenants * $n - $good), 'commands are completed, or failed');
is(sql(q{select count(*) from sentinai.dead_letter where worker_type = 'intake' and reason ~ '"/data/amt"' and reason !~ 'much'}), @tenants * $n - $good,
	'those that were wrong are dead letters, which name the field and not the value');
is(sql(q{select count(*) from sentinai.dead_letter where worker_type <> 'intake' or reason !~ '"/data/amt"'}), 0, 'and nothing else is one');

done_testing();
