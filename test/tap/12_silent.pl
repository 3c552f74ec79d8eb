# An idle server executes no statement: what its workers look at, they look at
# directly, so that an audit log has nothing to say of them.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;
use Time::HiRes qw(time);

my $unslept = 30;    # seconds within which anything here has to happen
my $watched = 5;     # seconds; the relay looks at its switch once in each
my $broker = MockBroker->new('--brokers', 1);
my $node = new_node('silent', "shared_preload_libraries = 'sentinai, auto_explain'",
	'auto_explain.log_min_duration = 0', 'auto_explain.log_nested_statements = on',
	"sentinai.kafka_conf = 'bootstrap.servers=@{[$broker->bootstrap]}'",
	'sentinai.topic_partitions = 0', 'sentinai.launcher_naptime = 1s',
	'sentinai.maintenance_interval = 1s');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# statements(SINCE): what was executed since the log was so long
sub statements
{
	my ($since) = @_;
	my $log = substr slurp_file($node->logfile), $since;

	return $log =~ /\] (.*duration: [^\n]* plan:\n[^\n]*)/g;
}

sql('create extension sentinai');
sql(q{select sentinai.make_partitions(now() + '20 d')});    # before maintenance does, with statements
sql("select sentinai.publish('T', 't', 'k', '{}')");
poll_ok($node, 'postgres', $unslept,
	'select lag_events = 0 and acked_count = 1 from sentinai.stat_relay', 'the relay works');
isnt(scalar(statements(0)), 0, 'statements are in the log');

my $since = -s $node->logfile;
my $end = time() + $watched;
wait_for($watched + 1, sub { return time() > $end; });
is(join("\n", statements($since)), '', 'none of an idle server');

# and the switch works all the same
sql('select sentinai.pause_relay()');
poll_ok($node, 'postgres', $unslept, "select state = 'paused' from sentinai.stat_relay", 'paused');
sql('select sentinai.resume_relay()');
sql("select sentinai.publish('T', 't', 'k', '{}')");
worked_off_ok($node, 'postgres', $unslept, 'select lag_events = 0 from sentinai.stat_relay', 'resumed');
is(scalar($broker->records('sentinai.exception')), 2, 'and sent');

$node->stop;
done_testing();
