# The exception platform as an extension: installed beside the core, dumped,
# restored, dropped and made again.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 60;    # seconds within which anything here has to happen
my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('platform');

sub sql { my ($sql, $db) = @_; return $node->safe_psql($db // 'postgres', $sql); }

# state_of(SQL, DB): in another database, if it is named
sub state_of { return state_in($node, $_[1] // 'postgres', $_[0]); }

# restored(DATABASE, NEW ONE): a dump of it in a new database
sub restored
{
	my ($from, $to) = @_;

	$node->command_ok([ 'pg_dump', '-f', "$dir/$to", $from ], "pg_dump of $from");
	sql("create database $to");
	$node->command_ok([ 'psql', '-Xq1', '-v', 'ON_ERROR_STOP=1', '-d', $to, '-f', "$dir/$to" ], "it is restored");
	sql('select sentinai.after_restore()', $to);
	return;
}

# works_ok(DATABASE, HOW MANY, NAME): agents that are a statement work until so many wait for a person
sub works_ok
{
	my ($db, $n, $name) = @_;

	ok(wait_for($unslept, sub {
		sql(q{select * from sentinai_platform.handle_intake((select coalesce(jsonb_agg(to_jsonb(c)), '[]') from sentinai.claim('intake') c));
			select * from sentinai_platform.handle_triage((select coalesce(jsonb_agg(to_jsonb(c)), '[]') from sentinai.claim('triage') c));
			select * from sentinai_platform.handle_policy((select coalesce(jsonb_agg(to_jsonb(c)), '[]') from sentinai.claim('policy') c))}, $db);
		return sql(q{select count(*) from sentinai_platform.exceptions where state = 'awaiting_approval'}, $db) == $n;
	}), $name);
	return;
}

my $rows = q{
	select 'm' || r::text from sentinai_platform.mapping_rules r union all
	select 't' || r::text from sentinai_platform.triage_rules r union all
	select 's' || r::text from sentinai_platform.sla_rules r union all
	select 'C' || c::text || h || o from sentinai_platform.calendars c join sentinai_platform.calendar_hours h using (tenant_id, calendar) join sentinai_platform.calendar_holidays o using (tenant_id, calendar) union all
	select 'g' || r::text from sentinai_platform.guardrails r union all
	select 'a' || a::text from sentinai_platform.approvals a union all
	select 'p' || p::text from sentinai_platform.playbooks p union all
	select 'o' || s::text from sentinai_platform.playbook_steps s union all
	select 'x' || x::text from sentinai_platform.playbook_executions x union all
	select 'y' || y::text from sentinai_platform.step_executions y union all
	select 'c' || c::text from sentinai_platform.commands c union all
	select 'f' || f::text from sentinai_platform.feedback f union all
	select 'm' || m::text from sentinai_platform.feedback_metrics m union all
	select 'e' || e::text from sentinai_platform.exceptions e order by 1};
my $types = q{select event_type, version, direction, compatibility, is_default, deprecated_since, registered_at, md5(schema::text || examples) from sentinai.event_types order by 1, 2};
my $actions = q{select action_id, action, object, after from sentinai.actions where action <> 'after_restore' order by 1};
my $things = q{select count(*) from (select pronamespace from pg_proc union all select relnamespace from pg_class) t (n)
	where n = 'sentinai_platform'::regnamespace};
my $feedback = q{'{"type": "object", "properties": {"exception_id": {"type": "string", "minLength": 1, "maxLength": 1024},
	"outcome": {"type": "string", "minLength": 1, "maxLength": 200}, "seconds": {"type": "number", "minimum": 0}},
	"required": ["exception_id", "outcome", "seconds"], "additionalProperties": false}'};

# Somebody has had a type of that name before, and others change some later.
sql('create database app');
sql("create extension sentinai; select sentinai.register_event_type('FeedbackCaptured', $feedback)", 'app');
sql('create extension sentinai_platform', 'app');
is(sql(q{select max(version) from sentinai.event_types where event_type = 'FeedbackCaptured'}, 'app'), 2, 'a type that was there gets a version');
sql(q{select sentinai.deprecate_event_type('PlaybookMatched', 1);
	select sentinai.publish('TriageRequested', 'acme', 'EX-17', '{"exception_id": "EX-17", "reason": "why"}')}, 'app');
sql(q{insert into sentinai_platform.mapping_rules (tenant_id, field, pointers) values ('acme', 'amount', '{/a}'), ('*', 'title', '{/t}');
	insert into sentinai_platform.triage_rules (tenant_id, rule, condition, severity) values ('acme', 'large', '$.amount > 5', 'high');
	insert into sentinai_platform.calendars (tenant_id, calendar, time_zone) values ('acme', 'office', 'Europe/Berlin');
	insert into sentinai_platform.calendar_hours (tenant_id, calendar, weekday) select 'acme', 'office', generate_series(1, 7);
	insert into sentinai_platform.calendar_holidays (tenant_id, calendar, day) values ('acme', 'office', '2026-12-25');
	insert into sentinai_platform.sla_rules (tenant_id, resolve_within, calendar) values ('acme', '1 day', 'office');
	insert into sentinai_platform.guardrails (tenant_id, rule, condition, decision) values ('acme', 'all', '$.source == "bank"', 'needs_approval');
	select sentinai_platform.put_playbook('acme', 'p', '[{"tool": "one", "condition": "$.amount > 5"}, {"tool": "two"}]');
	select sentinai_platform.create_roles();
	select sentinai_platform.subscribe_agents();
	select sentinai_platform.submit_exception('acme', 'bank', jsonb_build_object('a', n), 'EX-' || n) from generate_series(1, 9) n}, 'app');
works_ok('app', 9, 'nine exceptions are taken in');
sql(q{select sentinai_platform.submit_exception('acme', 'bank', jsonb_build_object('a', n), 'EX-' || n) from generate_series(10, 12) n}, 'app');
restored('app', 'copy');
is(sql($rows, 'copy'), sql($rows, 'app'), 'the copy has the same rules, commands and exceptions');
works_ok('copy', 12, 'where agents go on with what waits');
is(sql(q{select string_agg(distinct n::text, ',') from (select count(*) as n from sentinai.event_log where event_type in ('ExceptionNormalized', 'TriageCompleted', 'ApprovalRequested') group by event_type) c}, 'copy'), '12', 'and do nothing twice');
is(sql(q{set role sentinai_reader; select count(*) from sentinai_platform.list_exceptions('acme')}, 'copy'), 12, 'who may read there is as it was');
is(sql($types, 'copy'), sql($types, 'app'), 'the copy has the same types, of the same versions');
is(sql($actions, 'copy'), sql($actions, 'app'), 'and what people did with them');
is(sql(q{select sentinai.register_event_type('FeedbackCaptured', schema, 2, description, direction, examples) from sentinai.event_types where event_type = 'FeedbackCaptured' and version = 2}, 'copy'), 2,
	'where its own registration finds itself');
restored('copy', 'again');
is(sql($types, 'again'), sql($types, 'app'), 'so has a copy of the copy');

# A type that it cannot agree with
sql('create database other');
sql(q{create extension sentinai; select sentinai.register_event_type('FeedbackCaptured', '{"type": "object", "properties": {"stars": {"type": "integer"}}}')}, 'other');
is(state_of('create extension sentinai_platform', 'other'), 'SN409', 'a type of another meaning is left alone: the platform is not made');
is(sql(q{select count(*) from pg_extension where extname = 'sentinai_platform'}, 'other'), 0, 'and nothing of it is there');

# Dropped and made again
is(state_of('drop extension sentinai', 'app'), '2BP01', 'the core cannot go without it');
my $before = sql($types, 'app');
sql('drop extension sentinai_platform', 'app');
is(sql($types, 'app'), $before, 'types and events stay when it is dropped');
is(sql($things, 'app'), 0, 'what it made does not');
sql('create extension sentinai_platform', 'app');
is(sql($types, 'app'), $before, 'and they are found again');
sql('drop extension sentinai cascade', 'app');
is(sql($things, 'app'), 0, 'all of it can go at once');

done_testing();
