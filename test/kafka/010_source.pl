# test/kafka/010_source.pl: the agents of the platform with --source kafka do what
# they do with --source database, row by row, while they are killed and the group
# is rebalanced; what fails waits with its key, and what is no event stops nothing.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";
use Agents;
use IPC::Run ();
use KafkaNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai ();
use Test::More;

my $unslept = 90;
my @tenants = qw(acme globex initech);
my @agents = qw(intake triage policy);
my $n = 0;
my $kafka = KafkaNode->new("$PostgreSQL::Test::Utils::tmp_check/kafka_source",
	'group.initial.rebalance.delay.ms=0', 'group.min.session.timeout.ms=1000');
my %node = (
	database => Sentinai::new_node('source_database'),
	kafka => Sentinai::new_node('source_kafka', 'sentinai.topic_partitions = 4', 'sentinai.launcher_naptime = 1s',
		"sentinai.kafka_conf = 'bootstrap.servers=@{[$kafka->bootstrap]}'"));

# both(SQL): in both servers
sub both
{
	my ($query) = @_;

	$node{$_}->safe_psql('postgres', $query) foreach sort keys %node;
	return;
}

sub of { my ($source, $query) = @_; return $node{$source}->safe_psql('postgres', $query); }

use_node($node{kafka});
append_to_file("$dir/kafka.conf", "session.timeout.ms=1500; heartbeat.interval.ms=300; fetch.wait.max.ms=50\n");
append_to_file("$dir/eager.conf", "session.timeout.ms=1500; heartbeat.interval.ms=300; partition.assignment.strategy=range\n");
both(q{create extension sentinai_platform cascade;
	insert into sentinai_platform.mapping_rules (tenant_id, field, pointers, required) values ('*', 'amount', '{/amt}', true);
	insert into sentinai_platform.triage_rules (tenant_id, rule, condition, severity) values
		('*', 'large', '$.amount >= 50', 'high'), ('acme', 'small', '$.amount < 50', 'low');
	insert into sentinai_platform.guardrails (tenant_id, rule, priority, condition, decision, playbook) values
		('*', 'large', 10, '$.severity == "high"', 'needs_approval', 'p'), ('acme', 'small', 20, '$.amount < 50', 'allowed', 'p');
	-- what a test can make fail, as something that is not the event's fault for ever
	create table public.trouble (exception_id text, tries int);
	create sequence public.tries;
	create function cause_trouble() returns trigger language plpgsql as $$
		begin
			if exists (select from public.trouble t where t.exception_id = new.exception_id and (t.tries is null or nextval('public.tries') <= t.tries)) then
				raise exception 'trouble';
			end if;
			return new;
		end $$;
	create trigger trouble before insert on sentinai_platform.exceptions for each row execute function cause_trouble()});
of('database', 'select sentinai_platform.subscribe_agents()');

# start_platform(NAME, SOURCE, AGENT, OPTION...)
sub start_platform
{
	my ($name, $source, $agent, @args) = @_;
	local $Agents::work = "$build/sentinai-$agent";
	my $at = $node{$source};

	start_work($name, undef, '-h', $at->host, '-p', $at->port, '-n', '17', '--reconnect-max', '200ms', '-c', 2,
		$source eq 'kafka' ? ('--source', 'kafka', '--brokers', $kafka->bootstrap, '--kafka-conf', "$dir/kafka.conf") :
			('--lease', '2s', '--wait', '200ms'), @args);
	return;
}

# submit(HOW MANY): exceptions of all tenants, in both; of ten one is wrong
sub submit
{
	my ($count) = @_;
	my $first = $n + 1;

	$n += $count;
	both(qq{select count(sentinai_platform.submit_exception(t, 'bank', jsonb_build_object('amt', case when i % 10 = 7 then 'much' else (i % 100)::text end), 'EX-' || i, idempotency_key => 'k' || i))
		from generate_series($first, $n) i, unnest('{@{[join ',', @tenants]}}'::text[]) t});
	return;
}

# produce(HEADERS, KEY AND VALUE, OPTION...): a record that no relay has written
sub produce
{
	my ($headers, $input, @options) = @_;

	IPC::Run::run([ 'kcat', '-P', '-b', $kafka->bootstrap, '-t', 'sentinai.exception', '-K', '|', (map { ('-H', $_) } @$headers), @options ],
		'<', \$input) or die 'kcat';
	return;
}

# unreadable(NAME): lines of such agents about records that are no events
sub unreadable
{
	my ($name) = @_;

	return scalar grep { /a record is no event of ours/ } map { lines($_) } grep { /$name/ } glob "'$dir'/*.log";
}

# What is wrong is said before anything is done.
my ($out, $err);
my @tries = (
	[ 'no broker', qr/--brokers/ ],
	[ 'a property that is not for users', qr/"group\.id" is not allowed/, '--kafka-conf', "$dir/wrong.conf", '--brokers', 'x' ],
	[ 'a secret in the file', qr/"sasl\.password" is a secret/, '--kafka-conf', "$dir/secret.conf", '--brokers', 'x' ],
	[ 'an end when all is done', qr/--until-empty/, '--until-empty', '--brokers', 'x' ]);
append_to_file("$dir/wrong.conf", 'group.id=mine');
append_to_file("$dir/secret.conf", 'sasl.password=marker-77');
foreach my $try (@tries)
{
	my ($name, $regex, @args) = @$try;

	IPC::Run::run([ "$build/sentinai-intake", '--source', 'kafka', @args ], '<', \undef, '>', \$out, '2>', \$err);
	is($? >> 8, 64, "$name is refused");
	like($err, $regex, 'with the reason');
	unlike($err, qr/marker-77/, 'and no secret');
}

start_platform("database $_", 'database', $_) foreach @agents;
my %agents = map { ("kafka $_ 1" => $_, "kafka $_ 2" => $_) } @agents;
start_platform($_, 'kafka', $agents{$_}) foreach sort keys %agents;
submit(20);
of('kafka', q{insert into trouble values ('EX-25', null), ('EX-26', 4)});

# crash(NAME): kill -9, and another one in its place
sub crash
{
	my ($name) = @_;

	kill 'KILL', $running{$name};
	waitpid $running{$name}, 0;
	start_platform($name, 'kafka', $agents{$name});
	return;
}

# kill -9 in the middle, also while something has failed and what came behind it
# is done; and members that come and go
foreach my $round (1 .. 6)
{
	my $name = (sort keys %agents)[ int rand keys %agents ];

	submit(10);
	select undef, undef, undef, rand 0.3;
	if ($round % 3 == 0)
	{
		of('kafka', q{select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ '^sentinai-(intake|triage|policy)'});
	}
	elsif ($round == 1)
	{
		wait_for('a failure', sub { of('kafka', 'select is_called from public.tries') eq 't' });
		wait_for('what came behind it', sub { of('kafka', q{select count(*) from sentinai_platform.exceptions where exception_id = 'EX-30'}) == @tenants });
		crash("kafka intake $_") foreach 1, 2;
	}
	else
	{
		crash($name);
	}
}

# What is no event, in every partition.
my $id = '019aac3c-7d3f-7c52-9d0f-5b1a6f0c9e1';
foreach my $partition (0 .. 3)
{
	my @to = ('-p', $partition);

	produce([], "k|hello\n", @to);
	produce([], "k|\n", @to, '-Z');
	produce([ "ce_id=$id$partition", 'ce_type=ExceptionIngested', 'ce_tenantid=acme' ], "k|{\"broken\": \n", @to);
	produce([ 'ce_id=none', 'ce_type=ExceptionIngested', 'ce_tenantid=acme' ], "k|{}\n", @to);
	produce([ "ce_id=$id$partition", 'ce_type=ExceptionIngested' ], "k|{}\n", @to);
}
submit(20);

my $good = @tenants * $n * 9 / 10;
my $done = q{select count(*) from sentinai_platform.exceptions where decision is not null};
wait_for('all that does not fail for ever', sub { of('kafka', $done) == $good - @tenants });
wait_for('dead letters', sub { of('kafka', q{select count(*) from sentinai_platform.kafka_dead_letters where aggregate_id = 'EX-25'}) == @tenants });
is(of('kafka', q{select string_agg(distinct attempts || ' ' || error, ';') from sentinai_platform.kafka_dead_letters where aggregate_id = 'EX-25'}), '5 P0001: trouble', 'what fails five times is a dead letter');
is(of('kafka', q{select last_value > 4 from public.tries}), 't', 'what fails for a while is done');
of('kafka', q{delete from public.trouble; select sentinai_platform.retry_kafka_dead_letter(event_id, worker_type) from sentinai_platform.kafka_dead_letters where aggregate_id = 'EX-25'});
wait_for('the rest', sub { of('kafka', $done) == $good });
wait_for('the database', sub { of('database', $done) == $good });
wait_for('dead letters', sub { of('kafka', 'select count(*) from sentinai_platform.kafka_dead_letters') >= @tenants * $n - $good });
ok(Sentinai::wait_for($unslept, sub { unreadable('kafka intake') >= 20 }), 'what is no event is passed, and said') || diag(unreadable('kafka intake'));

my $rows = q{select to_jsonb(x) - '{opened_by,received_at,changed_at,triaged_at,due_at,sla,closed_at,occurred_at}'::text[]
	from sentinai_platform.exceptions x order by tenant_id, exception_id};
is(of('kafka', $rows), of('database', $rows), 'both sources make the same exceptions');
my $flows = q{select e.tenant_id, e.aggregate_id, string_agg(e.event_type, ',' order by e.event_id), string_agg(c.event_type, ',' order by e.event_id)
	from sentinai.event_log e left join sentinai.event_log c on c.event_id = e.causation_id
	where e.event_type not in ('DeadLettered', 'RetryScheduled') group by 1, 2 order by 1, 2};
is(of('kafka', $flows), of('database', $flows), 'by the same events, in order, once, with the same causes');
my $commands = q{select tenant_id, status, count(*) from sentinai_platform.commands group by 1, 2 order by 1, 2};
is(of('kafka', $commands), of('database', $commands), 'and the same commands');
my $letters = q{select tenant_id, aggregate_id, worker_type, %s from %s where worker_type in ('intake', 'triage', 'policy') order by 1, 2, 3};
is(of('kafka', sprintf $letters, 'error', 'sentinai_platform.kafka_dead_letters'), of('database', sprintf $letters, 'reason', 'sentinai.dead_letter'), 'the same events die, for the same reasons');
is(of('kafka', q{select count(*) from sentinai.event_processing where status <> 'completed'}), 0, 'nothing is left half done');

# Another protocol of the group, from the beginning: all is done already.
my $before = of('kafka', 'select count(*) from sentinai.event_log');
is((stop_agent($_))[0], 0, "$_ stops in order") foreach sort keys %agents;
start_platform("kafka eager $_", 'kafka', 'intake', '--kafka-conf', "$dir/eager.conf", '--group-id', 'again') foreach 1, 2;
ok(Sentinai::wait_for($unslept, sub { unreadable('eager') >= 20 }), 'another group reads all from the beginning');
is((stop_agent("kafka eager 1"))[0], 0, 'a member leaves');
submit(10);
wait_for('all of it', sub { of('kafka', q{select count(*) from sentinai_platform.exceptions}) == @tenants * $n * 9 / 10 });
is((stop_agent("kafka eager 2"))[0], 0, 'and the other one');
cmp_ok(of('kafka', 'select count(*) from sentinai.event_log'), '==', $before + @tenants * 10 + @tenants * 9, 'what was done is not done again');
is(scalar(grep { /"amt"|much/ } map { lines($_) } glob "'$dir'/*.log"), 0, 'no payload is in a log');

$node{$_}->stop foreach keys %node;
$kafka->stop;
done_testing();
