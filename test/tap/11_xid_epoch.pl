# Transaction numbers pass 2^32: rounds, positions and the relay's order are by
# numbers of 64 bits, so nobody notices.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 60;    # seconds within which anything here has to happen
my $node = PostgreSQL::Test::Cluster->new('epoch');
my $data;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# set_next(XID): the cluster's next transaction number, with everything frozen.
# At most 2^31 further than before.
sub set_next
{
	my ($xid) = @_;
	my $segment = sprintf('%s/pg_xact/%04X', $data, int($xid / (32768 * 32)));

	$node->stop;
	system_or_bail('pg_resetwal', '-f', '-x', $xid, $data);
	open my $file, '>>', $segment or die "$segment: $!";
	print $file "\0" x (262144 - -s $segment) if -s $segment < 262144;
	close $file;
	$node->start;
	system_or_bail('vacuumdb', '-q', '--all', '--freeze', '-h', $node->host, '-p', $node->port);
	sql('checkpoint');
	return;
}

sub burn
{
	my ($n) = @_;

	sql("do \$\$ begin for i in 1 .. $n loop perform pg_current_xact_id(); commit; end loop; end \$\$");
	return;
}

sub publish
{
	my ($n) = @_;

	sql("do \$\$ begin for i in 1 .. $n loop"
		  . " perform sentinai.publish('Counted', 't', 'k' || i % 5, '{}'); commit; end loop; end \$\$");
	return;
}

$node->init;
$data = $node->data_dir;
$node->append_conf('postgresql.conf', join("\n", 'autovacuum = off',
		'max_prepared_transactions = 10', ''));
$node->start;
sql(q{update pg_database set datallowconn = true where datname = 'template0'});
set_next(1500000000);
set_next(3000000000);
set_next(4294965500);
$node->append_conf('postgresql.conf', join("\n", "shared_preload_libraries = 'sentinai'",
		'sentinai.launcher_naptime = 1s', ''));
$node->restart;
sql(q{
	create extension sentinai;
	create table got (no bigint generated always as identity, event_id uuid);
	select sentinai.subscribe('busy', '{Counted}')});
publish(200);
poll_ok($node, 'postgres', $unslept, 'select lag_events = 200 from sentinai.stat_queue',
	'events before 2^32 are sequenced');

# one transaction is open and one is prepared while the numbers pass 2^32
my $open = $node->background_psql('postgres');
$open->query_safe("begin; select sentinai.publish('Counted', 't', 'open', '{}')");
sql(q{begin; select sentinai.publish('Counted', 't', 'prepared', '{}'); prepare transaction 'p'});
publish(100);
my $before = sql('select pg_current_xact_id()::text::bigint');
cmp_ok($before, '<', 2**32, 'not yet there');
burn(2**32 - $before - 60);
publish(200);
cmp_ok(sql('select pg_current_xact_id()::text::bigint'), '>', 2**32, 'transaction numbers have passed 2^32');
poll_ok($node, 'postgres', $unslept, 'select lag_events = 500 from sentinai.stat_queue',
	'events around it are sequenced');
$open->query_safe('commit');
$open->quit;
poll_ok($node, 'postgres', $unslept, 'select lag_events = 501 from sentinai.stat_queue',
	'so is one of a transaction that began before 2^32');
$node->restart;
ok(sequencer_pid($node, 'postgres', $unslept), 'the sequencer begins anew behind it');
publish(50);
poll_ok($node, 'postgres', $unslept, 'select lag_events = 551 from sentinai.stat_queue',
	'and knows what it had seen');
sql(q{commit prepared 'p'});
poll_ok($node, 'postgres', $unslept, 'select lag_events = 552 from sentinai.stat_queue',
	'a transaction prepared before 2^32 is committed');
ok(wait_for($unslept, sub {
	sql(q{
		create temp table b as select * from sentinai.claim('busy', 1000);
		insert into got (event_id) select event_id from b;
		select sentinai.complete(token) from (select distinct token from b) t});
	return sql('select lag_events = 0 from sentinai.stat_queue') eq 't';
}), 'agents get them');
is(sql(q{select count(*), count(distinct event_id) from got}), '552|552', 'each once');
is(sql(q{
	select count(*) from (select event_id < lag(event_id) over (partition by aggregate_id order by no) as back
		from got join sentinai.event_log using (event_id)) x where back}), '0', 'in order');
is(sql(q{select count(*) from (select event_id from sentinai.event_log
		except all select id from sentinai_internal.slice, unnest(event_ids) id where stream_id = 0) x}), '0',
	'and each is in one slice');
is(sql(q{select max(txid) > 4294967296 and min(txid) < 4294967296 from sentinai.event_log}), 't',
	'the stored numbers go on');
is(log_count($node, qr/(PANIC|ERROR):/), 0, 'no error in the log');
$node->stop;
done_testing();
