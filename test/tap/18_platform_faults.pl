# Agents of the exception platform with a tenant who does harm: rules and data that
# take for ever, what cannot be prepared, rights that go while they run.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use Agents;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai ();
use Test::More;

my $node = Sentinai::new_node('platform_faults');

use_node($node);
sql(q{create extension sentinai_platform cascade;
	alter database postgres set sentinai_platform.event_time = '300';
	select sentinai_platform.subscribe_agents();
	select sentinai.alter_subscription(worker_type, backoff => '{0}') from sentinai_platform.agents()});

# start_platform(NAME, AGENT, OPTION...)
sub start_platform
{
	my ($name, $agent, @args) = @_;
	local $Agents::work = "$build/sentinai-$agent";

	start_work($name, undef, '--wait', '200ms', '--reconnect-min', '10ms', '--reconnect-max', '50ms', '-c', '1', @args);
	return;
}

sub submit
{
	my ($tenant, $id, $data) = @_;

	sql(sprintf(q{select sentinai_platform.submit_exception('%s', 's', '%s', '%s')}, $tenant, $data // '{}', $id));
	return;
}

# state_of(TENANT, ID), letters(AGENT): SQLSTATEs of dead letters by tenant
sub state_of { return sql("select state from sentinai_platform.exceptions where tenant_id = '$_[0]' and exception_id = '$_[1]'"); }
sub letters { return sql("select string_agg(tenant_id || ' ' || left(history #>> '{-1,error}', 5), ', ' order by tenant_id, aggregate_id) from sentinai.dead_letter where worker_type = '$_[0]'"); }
sub attempts { return sql("select coalesce(max(attempts), 0) from sentinai.dead_letter where worker_type = '$_[0]'"); }

# Conditions that would take for ever, each in its own way; one needs its data for that.
my $values = '[' . join(',', 1 .. 20_000) . ']';
my %endless = (
	'cross' => q{$.attributes.a[*] ? (@ == $.attributes.b[*]) > 0},
	'deep' => q{exists($.** ? (exists($.** ? (exists($.** ? (@ == "never"))))))},
	'regex' => q{$.attributes.t like_regex "^(.+)(.+)(.+)(.+).*\\\\4\\\\3\\\\2\\\\1x$"});

foreach my $kind (sort keys %endless)
{
	sql(qq{insert into sentinai_platform.triage_rules (tenant_id, rule, condition) values ('bad_$kind', 'slow', '$endless{$kind}')});
}
submit('good', 'EX-1');
my $odd = join ',', map { $_ + 0.5 } 1 .. 20_000;
my $data = qq({"a": $values, "b": [$odd], "t": "@{[join '', map { sprintf '%x', $_ * $_ * 7919 } 1 .. 200]}x"});
foreach my $kind (sort keys %endless)
{
	submit("bad_$kind", "EX-$_", $data) foreach 1 .. 3;
	submit("bad_$kind", 'EX-4', '{"note": "short"}') if $kind ne 'deep';
}
submit('good', 'EX-2');
start_platform('intake', 'intake');
start_platform('triage', 'triage');
wait_for('the others', sub { state_of('good', 'EX-1') eq 'triaged' && state_of('good', 'EX-2') eq 'triaged' });
pass('a tenant whose conditions take for ever holds nobody else');
wait_for('what is slow', sub { sql(q{select count(*) from sentinai.dead_letter where worker_type = 'triage'}) == 9 });
is(letters('triage'), join(', ', map { my $t = $_; map { "bad_$t SN413" } 1 .. 3 } sort keys %endless), 'each event fails by itself');
is(attempts('triage'), 1, 'at once');
wait_for('what is not', sub { state_of('bad_cross', 'EX-4') eq 'triaged' && state_of('bad_regex', 'EX-4') eq 'triaged' });
pass('and what is fast of the same tenant is done');
unlike(sql(q{select string_agg(history::text, ' ') from sentinai.dead_letter}), qr/cancel/, 'the reason is said in its own words');
sql(q{delete from sentinai_platform.triage_rules where tenant_id like 'bad%'; select sentinai.retry_dead_letters('bad_deep', 'triage')});
wait_for('it', sub { state_of('bad_deep', 'EX-1') eq 'triaged' });
pass('without the rule it can be tried again');

# Who cancels a statement means the statement.
sql(q{insert into sentinai_platform.triage_rules (tenant_id, rule, condition) values ('slow', 'slow', '$.attributes.a[*] ? (@ == $.attributes.b[*]) > 0');
	alter database postgres set sentinai_platform.event_time = '600000'});
stop_agent('triage');
start_platform('triage', 'triage', '--statement-timeout', '60s');
submit('slow', 'EX-1', $data);
wait_for('a condition', sub { sql(q{select count(pg_cancel_backend(pid)) from pg_stat_activity where application_name ~ 'triage' and state = 'active' and query ~ 'platform.handle' and clock_timestamp() > query_start + interval '300 milliseconds'}) > 0 });
sql(q{delete from sentinai_platform.triage_rules where tenant_id = 'slow'});
wait_for('it to be done', sub { state_of('slow', 'EX-1') eq 'triaged' });
is(sql(q{select count(*) from sentinai.dead_letter where tenant_id = 'slow'}), 0, 'what a person has cancelled is no fault of the event');
sql(q{alter database postgres set sentinai_platform.event_time = '300'});

# Rights that are taken while an agent works.
sql(q{create role worker login; select sentinai_platform.create_roles(); grant sentinai_agent to worker});
stop_agent('triage');
start_platform('triage', 'triage', '--lease', '1s', '-d', $node->connstr('postgres') . ' user=worker');
submit('good', 'EX-3');
wait_for('it', sub { state_of('good', 'EX-3') eq 'triaged' });
foreach my $right ('execute on function sentinai_platform.publish_events', 'select on sentinai_platform.triage_rules')
{
	my ($id) = 'EX-' . length $right;

	sql("revoke $right from sentinai_agent");
	submit('good', $id);
	wait_for('a refusal', sub { scalar(grep { /giving up a batch/ } lines("$dir/triage.log")) > 7 });
	sql("grant $right to sentinai_agent");
	wait_for('it', sub { state_of('good', $id) eq 'triaged' });
	is(sql(qq{select count(*) from sentinai.dead_letter where aggregate_id = '$id'}), 0, "without $right nothing dies");
	truncate "$dir/triage.log", 0;
}

# What cannot be prepared: the fault of an event, and a fault that nobody has foreseen.
sql(q{insert into sentinai_platform.tools (tenant_id, tool, kind, settings) values ('good', 'call', 'webhook', '{"url": "https://nowhere.invalid/"}');
	create function refuse() returns trigger language plpgsql as $$
	begin
		raise exception using errcode = substr(new.exception_id, 1, 5), message = 'no';
	end $$;
	create trigger refuse before insert on sentinai_platform.tool_executions for each row when (new.exception_id ~ '-poison') execute function refuse();
	select sentinai.alter_subscription('tool', max_attempts => 2)});
start_platform('tool', 'tool', '--lease', '1s');
foreach my $state (qw(23514 53100))
{
	submit('good', $_) foreach "$state-poison", map { "$state-$_" } 1 .. 5;
	wait_for('exceptions', sub { sql(qq{select count(*) from sentinai_platform.exceptions where exception_id like '$state-%'}) == 6 });
	sql(qq{select sentinai_platform.execute_tool('good', exception_id, 'call') from sentinai_platform.exceptions where exception_id like '$state-%'});
	wait_for('the others', sub { sql(qq{select count(*) from sentinai_platform.tool_executions where exception_id like '$state-_' and status = 'failed'}) == 5 });
	wait_for('the poison', sub { sql(qq{select count(*) from sentinai.dead_letter where aggregate_id = '$state-poison' and worker_type = 'tool'}) == 1 });
	is(sql(qq{select count(*) from sentinai.dead_letter where aggregate_id like '$state-%' and worker_type = 'tool'}), 1, "$state in the preparation: the event dies alone");
}
is((stop_agent($_))[0], 0, "$_ stops in order") foreach qw(intake triage tool);

done_testing();
