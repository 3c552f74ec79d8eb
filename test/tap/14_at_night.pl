# docs/at-night.md: each situation is made, and the page's commands, word for
# word, show it and cure it. A block that nothing here runs is a failure.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run ();
use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 60;    # seconds within which anything here has to happen
my $broker = MockBroker->new('--brokers', 1);
my $secrets = PostgreSQL::Test::Utils::tempdir();
my $conf = 'bootstrap.servers=' . $broker->bootstrap . ",$MockBroker::soon";
my $node = new_node('night', "sentinai.secret_directory = '$secrets'",
	"sentinai.kafka_conf = '$conf'",
	'sentinai.topic_partitions = 0', 'sentinai.launcher_naptime = 1s',
	'sentinai.maintenance_interval = 1s', 'sentinai.retention = -1',
	'sentinai.breaker_failures = 2', 'sentinai.breaker_open_time = 1h',
	"include_if_exists 'test.conf'");
my $db = 'postgres';

# blocks(PAGE): the SQL blocks of a page by section, in order; without what
# stands in a comment, which is for the docs tier.
sub blocks
{
	my $text = slurp_file("$FindBin::RealBin/../../docs/$_[0]");
	my (%blocks, $section, $block);

	$text =~ s/<!--.*?-->//gs;
	foreach (split /\n/, $text)
	{
		if (defined $block && /^```$/)
		{
			push @{ $blocks{$section} }, { text => $block };
			undef $block;
		}
		elsif (defined $block) { $block .= "$_\n"; }
		elsif (/^```sql$/) { $block = ''; }
		elsif (/^## (.*)/) { $section = $1; }
	}
	return \%blocks;
}

my $page = blocks('at-night.md');
my ($alarm) = grep { /as problem/ } map { $_->{text} } @{ blocks('operations.md')->{Monitoring} };

sub sql { return $node->safe_psql($db, $_[0]); }

# page(SECTION, N): run the section's block number N; what it answers
sub page
{
	my ($section, $n) = @_;
	my $block = $page->{$section}[ $n - 1 ] or die "no block $n in $section";

	$block->{run} = 1;
	return sql($block->{text});
}

# problem_ok(REGEX, NAME): the query of operations.md has a row that says so; a
# lag is told at once, and not after five minutes.
sub problem_ok
{
	my ($regex, $name) = @_;
	my $query = $alarm =~ s/lag_seconds > 300/lag_seconds > 0/gr;
	my $rows = '';

	ok(wait_for($unslept, sub { ($rows = sql($query)) =~ $regex }), "the alarm: $name")
	  or diag($rows);
	return;
}

# page_ok(SECTION, N, REGEX, NAME): the block's answer becomes that
sub page_ok
{
	my ($section, $n, $regex, $name) = @_;
	my $rows = '';

	ok(wait_for($unslept, sub { ($rows = page($section, $n)) =~ $regex }), "$section: $name")
	  or diag($rows);
	return;
}

# claim(WORKER_ID, N): claim for billing until N events are there; rows of
# token|event_id|aggregate_id|attempt
sub claim
{
	my ($worker, $n) = @_;
	my @rows;

	wait_for($unslept, sub {
		push @rows, map { [ split /\|/ ] } split /\n/, sql(qq{
			select token, event_id, aggregate_id, attempt
			from sentinai.claim('billing', worker_id => '$worker')});
		return @rows >= $n;
	});
	is(scalar @rows, $n, "$worker claims $n");
	return @rows;
}

sub complete
{
	my %tokens = map { $_->[0] => 1 } @_;

	sql("select sentinai.complete('$_')") foreach keys %tokens;
	return;
}

sub publish
{
	my ($key, $type) = @_;
	$type //= 'exception';
	return sql("select sentinai.publish('OrderPlaced', 'acme', '$key', '{}', '$type')");
}

# quiet_ok(NAME): the relay has sent everything
sub quiet_ok
{
	worked_off_ok($node, $db, $unslept, q{select state = 'running' and breaker = 'closed' and
		lag_events = 0 and waiting_topics is null from sentinai.stat_relay}, $_[0]);
	return;
}

# session(SQL): a session that has done it and stays as it is
sub session
{
	my ($out, $in) = ('', "$_[0]\n\\echo done\n");
	my $psql = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr($db) ],
		'<', \$in, '>', \$out, '2>', '/dev/null');

	ok(wait_for($unslept, sub { $psql->pump_nb; $out =~ /done/ }), 'another session');
	return $psql;
}

sql(q{create extension sentinai; select sentinai.subscribe('billing', backoff => '{1h}')});
quiet_ok('all is well');

# Agents hang
my $s = 'Agents hang';
publish("A-$_") foreach 1 .. 3;
page_ok($s, 1, qr/^billing\|3\|[\d.]+\|0\|$/m, 'nobody has ever claimed');
my @hung = claim('host1:4711', 3);
problem_ok(qr/^subscription billing is \d+ s behind$/m, 'a subscription is behind');
page_ok($s, 1, qr/^billing\|host1:4711\|[0-9a-f-]{36}\|3\|[\d: .+-]+\|f$/m, 'who has work, and since when');
page_ok($s, 1, qr/^billing\|3\|[\d.]+\|3\|2\d{3}-/m, 'its subscription');
is(page($s, 2), 't', "$s: what it has is given back");
my @again = claim('host2:1', 3);
is(join(',', map { $_->[3] } @again), '1,1,1', 'no attempt was counted');
my (undef, undef, $err) = $node->psql($db,
	"\\set VERBOSITY sqlstate\nselect sentinai.complete('$hung[0][0]')", on_error_stop => 1);
like($err, qr/SN409/, 'a late answer is refused');
complete(@again);

# An event fails again and again
$s = 'An event fails again and again';
my $bad = sql(q{select sentinai.publish('OrderPlaced', 'acme', 'A-1', '{}', correlation_id => 'A-1')});
my $behind = publish('A-1');
my ($first) = claim('host2:1', 2);
sql("select sentinai.fail('$first->[0]', '$bad', 'card service timed out')");
page_ok($s, 1, qr/\A$bad\|billing\|acme\|A-1\|1\|[^\n]+\z/, 'it alone is shown');
page($s, 2);
my @retried = claim('host2:1', 1);
is($retried[0][1] . $retried[0][3], "${bad}2", 'retry now: it is claimed at once');
sql("select sentinai.fail('$retried[0][0]', '$bad', 'no such card')");
page($s, 3);
is(sql('select event_id, reason from sentinai.dead_letter'), "$bad|given up by kim: poison, ticket 4711",
	'give up now: a dead letter');
page_ok($s, 4, qr/OrderPlaced.*\|billing\|dead\|2\|.*poison, ticket 4711$/m,
	'what became of it');
my @freed = claim('host2:1', 1);
is($freed[0][1], $behind, 'the next of its key goes on');
complete(@freed);

# Dead letters
$s = 'Dead letters';
sql(q{select sentinai.alter_subscription('billing', on_dead => 'block')});
my $dead = publish('A-7');
my $held = publish('A-7');
my ($given) = claim('host2:1', 2);
sql("select sentinai.fail('$given->[0]', '$dead', 'no such account', retryable => false)");
problem_ok(qr/^subscription billing has 2 dead letters$/m, 'there are dead letters');
page_ok($s, 1, qr/^billing\|OrderPlaced\|no such account\|1\|/m, 'how many there are, and of what kind');
is(sql(q{select count(*) from sentinai.claim('billing')}), '0', 'their keys stand still');
is(page($s, 2), '2|0|', "$s: they are tried again");
my @letters = claim('host2:1', 3);
is(join(' ', grep { $_ ne $bad } map { $_->[1] } @letters), "$dead $held",
	'and what waited for one comes behind it');
complete(@letters);
is(sql(q{select count(*) from sentinai.dead_letter where status = 'pending'}), '0', 'none is left');

# The relay is stuck
$s = 'The relay is stuck';
quiet_ok('before it is stuck');
set_kafka_conf($node, "bootstrap.servers=127.0.0.1:1,$MockBroker::soon");
publish('A-1');
problem_ok(qr/^relay 0 is \w+ and \d+ s behind: .*Connection refused/m, 'the broker is not there');
page_ok($s, 1, qr/^0\|waiting\|open\|\d+\|\|.*Connection refused/m, 'its name, and an open breaker');
set_kafka_conf($node, $conf);
quiet_ok('corrected and reloaded');

set_kafka_conf($node, "$conf,sasl.password.file=$secrets/password");
publish('A-1');
page_ok($s, 1, qr/^0\|stopped\|\w*\|\d+\|\|.*No such file/m, 'a password that is not there');
set_kafka_conf($node, $conf);
quiet_ok('corrected and reloaded, again');

# a broker that comes back while the breaker is open
$broker->order('down 1');
publish('A-1');
page_ok($s, 1, qr/^0\|waiting\|open\|/m, 'the breaker is open');
$broker->order('up 1');
my ($retry) = slurp_file("$FindBin::RealBin/../../docs/at-night.md") =~ /A reload tries now: `([^`]+)`/;
sql($retry);
quiet_ok('a reload tries now');

$broker->order('topic sentinai.denied 4');
$broker->order('topic-error sentinai.denied UNKNOWN_TOPIC_OR_PART');
publish('A-1', 'denied');
problem_ok(qr/^topic sentinai\.denied cannot be written since .*: .+/m, 'a topic cannot be written');
page_ok($s, 1, qr/^sentinai\.denied\|.*[Uu]nknown (topic|partition)/m, 'since when and why');
$broker->order('topic-error sentinai.denied NO_ERROR');
quiet_ok('the topic is there');

my $refused = publish('A-1', 'no:topic');
poll_ok($node, $db, $unslept, "select count(*) = 1 from sentinai.dead_letter
	where worker_type = 'relay' and event_id = '$refused'", 'a dead letter of the relay');
my $holder = session("begin; select sentinai.retry_dead_letter('$refused', 'relay', 'kim');");
publish("A-$_") foreach 1 .. 64;
page_ok($s, 1, qr/^0\|running\|\w+\|\d+\|\{?\d+\}?\|/m, 'a process holds a lane');
my $blocked = sql('select blocked_by from sentinai.stat_relay') =~ s/[{}]//gr;
sql("select pg_terminate_backend($blocked)");
$holder->kill_kill;
quiet_ok('its transaction is ended');

sql('select sentinai.pause_relay()');
page_ok($s, 1, qr/^0\|paused\|/m, 'it is paused');
sql('select sentinai.resume_relay()');
quiet_ok('and resumed');

# No sequencer
$s = 'No sequencer';
$node->adjust_conf('postgresql.conf', 'max_worker_processes', 2);
$node->restart;
problem_ok(qr/^no sequencer runs: no background worker slot/m, 'no sequencer');
page_ok($s, 1, qr/^\|no background worker slot/m, 'why there is none');
$node->adjust_conf('postgresql.conf', 'max_worker_processes', 20);
$node->restart;
page_ok($s, 1, qr/^\d+\|\|/m, 'with a slot there is one');
quiet_ok('and all is sent');

# A forgotten subscription, and the disk: an old partition that somebody keeps
$db = 'disk';
$node->safe_psql('postgres', 'create database disk');
sql('create extension sentinai');
add_make_set($node, $db);
my $start = sql("select date_trunc('second', clock_timestamp())");
sql("select make_set('$start'::timestamptz, '$start'::timestamptz + '4s'),
	make_set('$start'::timestamptz + '4s', '$start'::timestamptz + '8s')");
sql(q{select sentinai.subscribe('billing', start_from => 'earliest');
	select sentinai.subscribe('forgotten', start_from => 'earliest')});
my $old = publish('A-1');
complete(claim('host1:4711', 1));
quiet_ok('the relay has read it');
my $reader = session('begin; select count(*) from sentinai.event_log;');
$node->safe_psql('postgres', q{select pg_create_physical_replication_slot('gone', true)});
poll_ok($node, $db, $unslept, "select clock_timestamp() > '$start'::timestamptz + '5s'", 'time passes');
set_conf($node, 'sentinai.retention = 0', "sentinai.kafka_conf = '$conf'");
$s = 'A forgotten subscription';
page_ok($s, 1, qr/^forgotten\|1\|[\d.]+\|$/m, 'it has read least, and has never asked');
problem_ok(qr/^retention waits for .*forgotten/m, 'retention waits');
page_ok('The disk fills', 1, qr/^[^|]+\|t\|\{forgotten,"process \d+ \(lock\)"\}$/m, 'who keeps it');
page_ok('The disk fills', 1, qr/^gone\|f\|\d+ \w+$/m, 'and what a slot keeps');
page($s, 2);
page_ok('The disk fills', 1, qr/^[^|]+\|t\|\{"process \d+ \(lock\)"\}$/m, 'without it a process is left');
my ($process) = sql('select retention_blocked_by from sentinai.stat_info') =~ /process (\d+)/;
sql("select pg_terminate_backend($process)");
$reader->kill_kill;
poll_ok($node, $db, $unslept, "select count(*) = 0 from sentinai.event_log where event_id = '$old'",
	'when it has ended, the partition goes');
page($s, 3);
publish('A-2');
sql(q{select sentinai.publish('OrderCancelled', 'acme', 'A-3', '{}')});
complete(claim('host1:4711', 1));
worked_off_ok($node, $db, $unslept,
	q{select lag_events = 0 from sentinai.stat_queue where worker_type = 'billing'},
	"$s: a narrower filter leaves the rest out");

foreach my $name (sort keys %$page)
{
	my $unrun = grep { !$_->{run} } @{ $page->{$name} };

	is($unrun, 0, "$name: all of its blocks were run");
}
$node->stop;
done_testing();
