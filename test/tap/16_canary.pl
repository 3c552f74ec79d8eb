# Two tenants. One calls every function and reads every view, with all rights to
# execute and all grants for itself, and asks for what is the other's. Nothing of
# the other's is in what it gets, in the server's log, or in how it is refused: the
# answer is the one for something that nobody has. A new function or view without
# a call here fails the test.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $canary = 'C4N4RY';
my $tenant = "$canary-bob";    # the other's name tells of him, too
my $unslept = 30;    # seconds within which anything here has to happen
my $node = new_node('canary', 'sentinai.tenant_isolation = on', 'log_statement = none',
	'log_min_error_statement = panic', 'log_error_verbosity = verbose');

sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(qq{
	create extension sentinai;
	create role alice; create role bob;
	grant usage on schema sentinai to alice, bob;
	grant select on all tables in schema sentinai to alice;
	grant insert on sentinai.outbox to alice;
	grant execute on all functions in schema sentinai to alice, bob;
	grant execute on all procedures in schema sentinai to alice, bob;
	select sentinai.grant_tenant(r[1], r[2], g) from (values ('{alice,alice}'::text[]), ('{bob,$tenant}')) t (r), unnest('{publish,work,read,operate,audit}'::text[]) g;
	select sentinai.grant_tenant('bob', '*', 'work'), sentinai.grant_work('alice', 'alice'), sentinai.grant_work('bob', '$canary-sub');
	select sentinai.subscribe('alice', '{alice.t}', 'earliest'), sentinai.subscribe('$canary-sub', '{bob.t}', 'earliest', 2, '{1h}')});
sql(qq{
	set role bob;
	select sentinai.publish('bob.t', '$tenant', '$canary-' || g, '{"say": "$canary"}', metadata => '{"meta": "$canary"}', correlation_id => '$canary-flow',
		idempotency_key => case g when 1 then '$canary-key' end) from generate_series(1, 4) g;
	select sentinai.publish('bob.t', '$tenant', 'same', '{"say": "$canary"}');
	reset role; set role alice;
	select sentinai.publish('alice.t', 'alice', 'same', '{}'), sentinai.publish('alice.t', 'alice', 'mine', '{}', correlation_id => 'mine')});

# What bob is limited to, and who looks after him.
sql(qq{select sentinai.set_limit('$tenant', 'calls', 5, '1 hour'), sentinai.set_weight('$tenant', 7), sentinai.set_alert('dead_letters', '$tenant', 100, channels => '{$canary}'),
	sentinai.set_backlog_limit('$canary-sub', '$tenant', 1000000), sentinai.set_redaction('$tenant', '*', '\$.$canary-flow', 'replace', replacement => '"$canary"'),
	sentinai.set_sla_threshold('$tenant', 0.5), sentinai.set_deadline('$tenant', '$canary-1', 'r', now() + interval '1 hour', correlation_id => '$canary-flow');
	select sentinai.create_relay('$canary-relay', 'kafka', 'bootstrap.servers=127.0.0.1:1', tenants => '{$tenant}');
	set role bob; select sentinai.consume_limit('$tenant', 'calls', 3)});

# Bob's work: a letter, a retry, something completed and something in hand.
wait_for($unslept, sub { sql(qq{select count(*) from sentinai_internal.slice, unnest(event_ids) e}) >= 7 });
sql(qq{
	create table batch as select 1 as n, ''::text as token, null::uuid as event_id limit 0;
	grant all on batch to bob;
	set role bob;
	insert into batch select row_number() over (), token, event_id from sentinai.claim('$canary-sub', 3, '1 hour', '$canary-agent');
	select sentinai.fail(token, event_id, '$canary-error', false) from batch where n = 1;
	select sentinai.fail(token, event_id, '$canary-error') from batch where n = 2;
	select sentinai.complete(token, array[event_id]) from batch where n = 3;
	insert into batch select 9, token, event_id from sentinai.claim('$canary-sub', 1, '1 hour', '$canary-agent')});
my %bob = (tenant => $tenant, aggregate => "$canary-1", flow => "$canary-flow", key => "$canary-key", worker => "$canary-sub",
	relay => "$canary-relay", agent => "$canary-agent",
	map { $_->[0] => sql("select $_->[2] from batch where n = $_->[1] limit 1") } [ 'dead', 1, 'event_id' ], [ 'waiting', 2, 'event_id' ],
	[ 'done', 3, 'event_id' ], [ 'held', 9, 'event_id' ], [ 'token', 9, 'token' ]);
my %nobody = (%bob, tenant => 'nothing-bob', aggregate => 'nothing-1', flow => 'nothing-flow', key => 'nothing-key',
	worker => 'nothing-sub', relay => 'nothing-relay', agent => 'nothing-agent');
$nobody{$_} =~ s/.{12}\z/000000000000/ foreach qw(dead waiting done held);
$nobody{token} =~ s/.{32}\z/'0' x 32/e;

# What is called: {name} stands for what is bob's, or nobody's.
my @calls = (
	q{act_as('{tenant}')}, 'after_restore()', 'asyncapi()', q{alter_subscription('{worker}', max_attempts => 3)},
	q{claim('{worker}')}, q{claim('alice')}, q{complete('{token}')}, q{complete('{token}', array['{held}'::uuid])}, 'create_roles()',
	q{deprecate_event_type('{key}')}, q{describe_event_type('{key}')},
	(map {; "discard_dead_letter('{$_}', '{worker}', 'a', 'r')", "discard_dead_letter('{$_}', 'alice', 'a', 'r')",
		"retry_dead_letter('{$_}', '{worker}')", "retry_event('{$_}', '{worker}')", "give_up_event('{$_}', '{worker}', 'a', 'r')",
		"retry_event('{$_}', 'alice')", "give_up_event('{$_}', 'alice', 'a', 'r')",
		"is_already_processed('{$_}', '{worker}')", "is_already_processed('{$_}', 'alice')",
		"trace_work(array['{$_}'::uuid])", "work_on('{$_}')", "event_time('{$_}')", "outbox_given(array['{$_}'::uuid])",
		"mark_as_processing('{$_}', '{worker}', '{tenant}')", "mark_as_completed('{$_}', '{worker}', 'alice')",
		"mark_as_settled('{$_}', '{worker}', 'retried')", "mark_as_settled('{$_}', 'alice', 'discarded', 'a', 'r')",
		"mark_as_settled('{$_}', 'alice', 'discarded', 'a', 'r', '{tenant}', '{key}')",
		"mark_as_failed('{$_}', '{worker}', 'x')", "mark_as_failed('{$_}', 'alice', 'x', 2, '1s')" } qw(dead waiting done held)),
	q{drop_event_type_version('bob.t', 1)}, q{extend('{token}', '1 minute')}, q{fail('{token}', '{held}', 'x')}, q{release('{token}')},
	(map {; "$_('{flow}', '{tenant}', 100)", "$_('{flow}', null, 100)", "$_('same', null, 100)", "$_('{aggregate}', null, 100)" }
		qw(flow_events flow_trace flow_trace_tree get_trace trace_tree)),
	q{flow_tree('{}', '{}')},
	q{get_events_by_aggregate('{tenant}', '{aggregate}')}, q{get_events_by_aggregate('alice', 'same')}, q{get_events_by_aggregate('alice', '{aggregate}')},
	q{get_events_by_exception('{tenant}', '{aggregate}')}, q{get_events_by_tenant('{tenant}')}, q{get_events_by_tenant('alice', correlation_id => '{flow}')},
	q{get_partition_key('{tenant}', '{aggregate}')}, q{grant_tenant('alice', '{tenant}', 'read')}, q{revoke_tenant('bob', '{tenant}', 'read')},
	q{grant_work('alice', '{worker}')}, q{revoke_work('bob', '{worker}')}, q{require_proof('bob')},
	'index_partitions()', q{json_schema('{key}')}, 'maintain()', 'make_partitions(now())',
	q{may('read', '{tenant}')}, q{may_read('{tenant}')}, q{may_audit('{tenant}')}, q{may_see_letter('{tenant}')}, q{may_see_worker_type('{worker}')},
	q{partition_for('{tenant}', 'a', 12)}, q{partition_hash('a')}, 'partitions_until()', 'pause_relay()', 'resume_relay()', q{set_relay_paused('{worker}', false)},
	(map {; "asyncapi('$_')", "pause_relay('$_')", "resume_relay('$_')", "relay_is_paused('$_')" } qw({worker} {relay} relay)),
	q{create_relay('{worker}', 'kafka', 'bootstrap.servers=localhost:1', tenants => '{{tenant}}')}, q{alter_relay('{worker}', workers => 2)}, q{drop_relay('{worker}')}, q{relay_open('{worker}', 1, 3)}, q{relay_call(1, '')},
	q{publish('alice.t', '{tenant}', 'a', '{}')}, q{publish('alice.t', 'alice', '{aggregate}', '{}', correlation_id => '{flow}', idempotency_key => '{key}')},
	q{publish_batch('{alice.t,alice.t}', '{alice,{tenant}}', '{a,b}', array['{}', '{}']::jsonb[])},
	q{publish_events('{alice.t,alice.t}', '{alice,{tenant}}', '{a,b}', array['{}', '{}']::jsonb[])},
	q{purge_dead_letters(now())}, q{purge_dead_letters(now(), tenant_id => '{tenant}')}, q{purge_dead_letters(now(), '{worker}', 'alice')},
	q{redacted_payload('{tenant}', '{key}', '{}')}, q{redacted_payload('alice', '{key}', '{}')}, q{redacted_error('{tenant}', '{key}', 'x')}, q{redacted_error('alice', '{key}', 'x')},
	'recovery_id()', q{register_event_type('{key}', '{"type": "object"}')}, 'relay_is_paused()', 'retention_status()',
	q{revoke_lease('{worker}', '{agent}')}, q{revoke_lease('{worker}', '{held}'::uuid)}, 'set_relay_paused(false)',
	q{set_retry_policy('{worker}', 'bob.t', 1, '{1s}')}, q{stat_claimed(2)}, 'stat_clock()', 'stat_failures()', 'stat_lag(2, 64)',
	(map {; "stat_lane_state(2, $_)" } 0 .. 63), 'stat_rate(2, 1, 1)', 'stat_relays()', 'stat_round()', 'stat_server()',
	q{subscribe('{worker}', '{bob.t}')}, q{unsubscribe('{worker}')}, q{validate_json('{}', '{}')}, 'limit_time(60000)', 'time_is_over()', 'wake_launcher()', 'wake_relay()',
	(map {; "get_dead_letter('{$_}', '{worker}')", "get_dead_letter('{$_}', 'alice')", "audit_proof('{$_}')",
		"edit_and_retry('{$_}', '{worker}', '{}', 'a', 'r')", "edit_and_retry('{$_}', 'alice', '{}', 'a', 'r')",
		"retry_dead_letters(event_ids => array['{$_}'::uuid])", "retry_dead_letters('alice', event_ids => array['{$_}'::uuid])",
		"discard_dead_letters(event_ids => array['{$_}'::uuid], actor => 'a', reason => 'r')",
		"discard_dead_letters('alice', event_ids => array['{$_}'::uuid], actor => 'a', reason => 'r')" } qw(dead waiting done held)),
	(map {; "$_()", "$_('{tenant}')", "$_('alice')" } qw(dead_letters dead_letter_stats verify_audit)),
	q{audit_trail('{tenant}')}, q{audit_trail('alice')}, q{audit_trail('*')}, q{audit_trail('{tenant}', '{aggregate}')}, q{audit_trail('alice', '{aggregate}', kinds => '{event,action}')}, q{audit_trail('alice', 'mine')},
	q{dead_letters(worker_type => '{worker}')}, q{dead_letters('alice', '{worker}')}, q{retry_dead_letters('{tenant}')}, 'retry_dead_letters()',
	q{retry_dead_letters('alice', '{worker}')}, q{discard_dead_letters('{tenant}', actor => 'a', reason => 'r')},
	q{set_alert('dead_letters', '{tenant}', 1)}, q{drop_alert('dead_letters', '{tenant}')}, q{drop_alert('dead_letters', '*')},
	q{set_limit('{tenant}', 'calls', 1, '1s')}, q{set_limit('*', 'calls', 1, '1s')}, q{drop_limit('{tenant}', 'calls')}, q{drop_limit('*', 'calls')},
	(map {; "set_weight('$_', 2)", "drop_weight('$_')" } qw({tenant} alice *)),
	q{consume_limit('{tenant}', 'calls')}, q{consume_limit('{tenant}', 'calls', 1000)}, q{consume_limit('alice', 'calls')}, 'limit_buckets()',
	q{set_backlog_limit('{worker}', '{tenant}', 1)}, q{set_backlog_limit('{worker}', 'alice', 1)}, q{set_backlog_limit('{worker}', '*', 1)},
	q{set_redaction('{tenant}', '*', '$.{flow}', 'remove')}, q{set_redaction('*', '*', '$.a', 'remove')},
	q{drop_redaction('{tenant}', '*', '$.{flow}')}, q{drop_redaction('*', '*', '$.a')}, q{drop_redaction('alice', '*', '$.{flow}')},
	q{drop_backlog_limit('{worker}', '{tenant}')}, q{drop_backlog_limit('{worker}', 'alice')}, q{may_see_limit('{tenant}')},
	q{set_deadline('{tenant}', 'a', 'r', now())}, q{set_deadline('alice', '{aggregate}', 'r', now())},
	(map {; "$_('{tenant}', '{aggregate}', 'r')", "$_('alice', '{aggregate}', 'r')" } qw(meet_deadline cancel_deadline)),
	'sla_scan()', 'enable_cron()', 'disable_cron()', 'cron_status()', 'sla_scan(at => now() - interval \'1 hour\')', q{set_sla_threshold('{tenant}', 0.5)}, q{set_sla_threshold('*', 0.5)},
	'outbox_handler()');
my @procedures = (q{wait_for_work('{worker}', '0', null)}, q{relay_wait(false, 0, 0, null)});
my @statements = (
	(map {; "select * from sentinai.$_" } split /\s+/, sql(q{select string_agg(relname, ' ') from pg_class where relnamespace = 'sentinai'::regnamespace and relkind in ('v', 'f')})),
	q{select * from sentinai.event_log where event_id = '{dead}'}, q{select * from sentinai.event_log where tenant_id = '{tenant}'},
	q{select * from sentinai.event_log where 1 / (tenant_id <> '{tenant}')::int = 1}, q{explain analyze select * from sentinai.event_log where tenant_id = '{tenant}'},
	q{select * from sentinai.outbox where id = '{dead}'}, q{select * from sentinai.dead_letter where event_id = '{dead}'},
	q{insert into sentinai.outbox (tenant_id, type, payload) values ('{tenant}', 'alice.t', '{}')},
	q{insert into sentinai.outbox (id, tenant_id, type, payload) values ('{dead}', 'alice', 'alice.t', '{}')},
	q{copy sentinai.event_log to stdout}, q{copy (select * from sentinai.event_log) to stdout}, q{update sentinai.event_log set tenant_id = 'x'},
	q{select * from pg_stats where schemaname like 'sentinai%'}, q{select * from sentinai_internal.event_log});

sub filled
{
	my ($text, $of) = @_;

	return $text =~ s/\{(tenant|aggregate|flow|key|worker|relay|agent|dead|waiting|done|held|token)\}/$of->{$1}/gr;
}

# answers(VALUES): what alice is told for each statement
my @all = ((map {; "select * from sentinai.$_" } @calls), (map {; "call sentinai.$_" } @procedures), @statements);
sub answers
{
	my ($of) = @_;
	my $script = "set role alice;\n\\set SHOW_CONTEXT always\n" .
	  join '', map { "\\echo \@\@\nbegin;\n" . filled($_, $of) . ";\nrollback;\n" } @all;
	my $said = '';

	IPC::Run::run([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-f', '-' ], '<', \$script, '>', \$said, '2>&1');
	my (undef, @answers) = split /^\@\@\n/m, $said;
	return @answers;
}

# What the database has is called here.
my %called = map { /^(\w+)\(/ ? ($1 => 1) : () } @calls, @procedures;
is(join(' ', grep { !$called{$_} } split /\s+/, sql(q{
	select string_agg(distinct proname, ' ') from pg_proc where pronamespace = 'sentinai'::regnamespace and prorettype <> 'trigger'::regtype})),
	'', 'every function is called');

my @bobs = answers(\%bob);
my @nobodys = answers(\%nobody);
is(@bobs, @all, 'every statement is answered');
foreach my $i (0 .. $#all)
{
	my $bobs = $bobs[$i] // '';
	my $asked = filled($all[$i], \%bob);

	# what alice has said herself does not count
	$bobs =~ s/\Q$_\E//g foreach map { $bob{$_} } grep { $all[$i] =~ /\{$_\}/ } sort keys %bob;
	unlike($bobs, qr/$canary/, "nothing of bob's: $all[$i]");
	next unless $all[$i] =~ /\{(?:tenant|aggregate|flow|key|worker|relay|agent|dead|waiting|done|held|token)\}/;
	my @two = map {
		my ($text, $of) = @$_;

		$text =~ s/\Q$of->{$_}\E/<$_>/g foreach sort { length $of->{$b} <=> length $of->{$a} } keys %$of;
		$text =~ s/[0-9a-f]{8}-[0-9a-f-]{27}/<id>/g;
		$text =~ s/\d+(?:\.\d+)?/N/g;
		$text =~ s/psql:<stdin>:N/psql/g;
		$text;
	} [ $bobs[$i] // '', \%bob ], [ $nobodys[$i] // '', \%nobody ];
	next if $all[$i] =~ /^select \* from sentinai\.(?:get_partition_key|partition_for|event_time)\(|^explain/;    # a matter of arguments alone
	is($two[0], $two[1], "as if there were none: $all[$i]");
}

# What a session of alice's has made the server write.
my $log = slurp_file($node->logfile);
unlike($log, qr/$canary-(?:error|flow|agent|bob)|"say"/, 'the log has no word of an event');

# The canary sings where it should.
foreach my $seen ('select * from sentinai.event_log', 'select * from sentinai.dead_letter', 'select * from sentinai.stat_agent',
	'select * from sentinai.stat_lane', (map { "select tenant_id from sentinai.$_" } qw(limits limit_usage weights sla_thresholds alerts backlog_limits deadlines)),
	"select * from sentinai.get_trace('$canary-flow')")
{
	like(sql($seen), qr/$canary/, "the owner sees it: $seen");
}
$node->stop;
done_testing();
