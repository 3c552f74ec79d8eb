# test/kafka/007_consumer.pl: a consumer that follows docs/kafka.md works on
# every event once, through late commits, delayed events, dead letters sent
# again, and kill -9 of relay, broker and itself.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";
use KafkaNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 90;    # seconds within which anything here has to happen
my $topic = 'sentinai.exception';
my $again = 25;      # records of a partition that a dead consumer reads again
my $kafka = KafkaNode->new("$PostgreSQL::Test::Utils::tmp_check/kafka_consumer");
my $conf = "bootstrap.servers=@{[$kafka->bootstrap]},reconnect.backoff.max.ms=500";
my $node = new_node('consumed', 'sentinai.relay_inflight = 500',
	'sentinai.topic_partitions = 3', 'sentinai.launcher_naptime = 1s',
	'sentinai.breaker_open_time = 1s', 'log_statement = none', "include_if_exists 'test.conf'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

# The page's code: a table, and for each record one statement that says whether
# the event is new. With the ledger it is another.
my $page = slurp_file("$FindBin::RealBin/../../docs/kafka.md");
my ($table) = $page =~ /^```sql\n(create table seen_event .*?)^```/ms;
my ($insert) = $page =~ /^(insert into seen_event .*?returning event_id);$/ms;
my ($mine) = $page =~ /^(select sentinai\.mark_as_processing\(.*?\) as mine);$/m;
my ($done) = $page =~ /^(select sentinai\.mark_as_completed\(.*?\));$/m;
my $id = qr/'[0-9a-f]{8}-[0-9a-f-]{27}'/;
ok($table && $insert && $mine && $done, 'the page has its code');

# What a consumer does with a record; none but the first two are to be relied on.
my %rules = (
	table => sub { return 'with new as (' . ($insert =~ s/$id/'$_[0]'/r) . ') insert into effect'
		  . " select 'table', '$_[0]' from new;"; },
	ledger => sub { return 'with new as (' . ($mine =~ s/$id/'$_[0]'/r) . ') insert into effect'
		  . " select 'ledger', '$_[0]' from new where mine;" . ($done =~ s/$id/'$_[0]'/r) . ';'; },
	none => sub { return "insert into effect values ('none', '$_[0]');"; },
	last_id => sub { return "with new as (insert into last_id values ('$_[1]', '$_[0]') on conflict (key)"
		  . ' do update set id = excluded.id where last_id.id < excluded.id returning id)'
		  . " insert into effect select 'last_id', id from new;"; });
my %offsets = map { $_ => {} } keys %rules;    # committed, by consumer and partition

# consume(RULE): work on what is there. A transaction for each record, and then
# the offset; dying in between, or while the server does, it begins again.
sub consume
{
	my ($rule) = @_;
	my $offsets = $offsets{$rule};
	my @records = grep { $_->{offset} >= ($offsets->{ $_->{partition} } // 0) } $kafka->records($topic);

	while (my @some = splice @records, 0, 200)
	{
		my $script = join "\n", map {
			'begin; ' . $rules{$rule}->($_->{headers}{ce_id}, $_->{key}) . ' commit;' } @some;
		my ($out, $err);

		IPC::Run::run([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') ],
			'<', \$script, '>', \$out, '2>', \$err) or return;
		$offsets->{ $_->{partition} } = $_->{offset} + 1 foreach @some;
	}
	return;
}

# die_once(RULE): its offsets were not committed to the last
sub die_once
{
	my ($rule) = @_;

	foreach my $offset (values %{ $offsets{$rule} })
	{
		$offset = $offset > $again ? $offset - $again : 0;
	}
	return;
}

sql(q{
	create extension sentinai;
	create table effect (rule text, id uuid);
	create table last_id (key text primary key, id uuid);
	create table published (id uuid)});
sql($table);
set_kafka_conf($node, "$conf,message.max.bytes=20000");

# Publishers: each event is one of five keys, and notes itself. Transactions
# hold their event for a while, so that others overtake it; some events are
# delayed.
my $dir = PostgreSQL::Test::Utils::tempdir();
my @publishers;
foreach my $number (1 .. 3)
{
	my $pid = fork // die "fork: $!";

	next if $pid != 0 && push @publishers, $pid;
	$ENV{PGHOST} = $node->host;
	$ENV{PGPORT} = $node->port;
	while (!-e "$dir/stop")
	{
		open my $psql, '|-', "psql -Xq -d postgres >>$dir/log 2>&1" or die $!;
		print $psql qq{
			do \$\$ begin
				for i in 1 .. 20 loop
					insert into published select sentinai.publish('T', 'acme', 'k' || i % 5, '{}',
						deliver_at => case when i % 10 = 0 then clock_timestamp() + interval '1 s' end);
					perform pg_sleep(0.01 + random() * 0.03);
					commit;
				end loop;
			end \$\$};
		close $psql;
	}
	POSIX::_exit(0);
}

# Nobody goes on when this script ends early.
END
{
	my $status = $?;

	kill 'TERM', @publishers;
	$? = $status;
}

# load(NAME): wait until much more has arrived, and have all consume it
sub load
{
	my ($name) = @_;
	my $before = $kafka->records($topic);

	ok(wait_for($unslept, sub { return $kafka->records($topic) > $before + 100; }), "$name: the relay works");
	consume($_) foreach keys %rules;
	return;
}

load('start');
foreach my $try (1 .. 2)
{
	my $pid = answer($node, 'postgres', 'select pid from sentinai.stat_relay') || next;

	kill 'KILL', $pid;
	die_once($_) foreach keys %rules;
	load('kill -9 of the relay');
}
$kafka->kill9;
$kafka->start;
die_once($_) foreach keys %rules;
load('kill -9 of the broker');

# dead letters of the relay, sent again after later events of their keys
my $dead = sql(q{
	with big as (select sentinai.publish('T', 'acme', 'k' || i % 5, jsonb_build_object('fill',
			(select string_agg(md5(x::text), '') from generate_series(1, 1000) x))) as id
		from generate_series(1, 10) i),
	noted as (insert into published select id from big)
	select string_agg(quote_literal(id), ',') from big});
poll_ok($node, 'postgres', $unslept, "select count(*) = 10 from sentinai.dead_letter"
	  . " where event_id in ($dead) and status = 'pending'", 'ten are dead letters');
load('beside dead letters');
set_kafka_conf($node, $conf);
sql("select sentinai.retry_dead_letter(event_id, 'relay') from sentinai.dead_letter where event_id in ($dead)");
poll_ok($node, 'postgres', $unslept, "select count(*) = 10 from sentinai.dead_letter"
	  . " where event_id in ($dead) and status = 'succeeded'", 'they are sent again');
ok(lose_server($node, $unslept), 'kill -9 of the server');
$node->start;
load('after the server');

open my $stop, '>', "$dir/stop" or die $!;
close $stop;
waitpid $_, 0 foreach @publishers;
@publishers = ();
poll_ok($node, 'postgres', $unslept, q{
	select sum(lag_events) = 0 and sum(in_flight) = 0 and not exists (
			select from published p join sentinai.event_log l on l.event_id = p.id
			where l.deliver_at > now() - interval '2 s')
	from sentinai.stat_relay}, 'all is sent');
foreach my $rule (keys %rules)
{
	consume($rule);
	die_once($rule);
	consume($rule);
}

# outcome(RULE): events lost, and copies worked on
sub outcome
{
	my ($rule) = @_;

	return sql(qq{
		select (select count(*) from published p where not exists (
				select from effect e where e.rule = '$rule' and e.id = p.id)) || ' ' ||
			(select count(*) - count(distinct e.id) from effect e where e.rule = '$rule')});
}

note(sql('select count(*) from published') . ' events, ' . scalar($kafka->records($topic)) . ' records');
is(outcome('table'), '0 0', 'with the page\'s table nothing is lost and nothing doubled');
is(outcome('ledger'), '0 0', 'nor with the ledger');
like(outcome('none'), qr/^0 [1-9]/, 'without a rule events are doubled');
like(outcome('last_id'), qr/^[1-9]\d* 0$/, 'and comparing with the last id of the key loses some');
note("$_: " . outcome($_)) foreach sort keys %rules;

$node->stop;
$kafka->stop;
done_testing();
