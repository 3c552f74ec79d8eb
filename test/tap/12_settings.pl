# What ALTER DATABASE and ALTER ROLE set for sessions neither stops nor changes
# a worker, whatever it is. An event trigger reads pg_settings inside of them.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use MockBroker;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $unslept = 40;    # seconds within which anything here has to happen
my $broker = MockBroker->new('--brokers', 1);
my $node = new_node('settings', 'sentinai.launcher_naptime = 1s',
	'sentinai.maintenance_interval = 1s', 'sentinai.topic_partitions = 0',
	"sentinai.kafka_conf = 'bootstrap.servers=@{[$broker->bootstrap]}'");
my $owner = $node->safe_psql('postgres', 'select rolname from pg_authid where oid = 10');

# What workers need, whatever the configuration file says.
my %pinned = (
	search_path => 'pg_catalog, pg_temp', client_min_messages => 'error',
	default_transaction_isolation => 'read committed', default_transaction_read_only => 'off',
	default_transaction_deferrable => 'off', default_table_access_method => 'heap',
	default_tablespace => '', session_replication_role => 'origin', deadlock_timeout => 50,
	statement_timeout => 0, idle_in_transaction_session_timeout => 0, idle_session_timeout => 0,
	transaction_timeout => 0, temp_file_limit => -1, exit_on_error => 'off',
	transform_null_equals => 'off', standard_conforming_strings => 'on', jit => 'off',
	synchronous_commit => 'off');

# These are of the session or its transaction, and cannot be compared.
my %own = map { $_ => 1 } qw(application_name lock_timeout transaction_isolation
  transaction_read_only transaction_deferrable seed session_authorization);

# Values of texts that are valid and unlike what they are.
my %texts = (
	role => 'nobody', session_authorization => 'nobody', search_path => 'public',
	DateStyle => 'SQL, DMY', TimeZone => 'Pacific/Kiritimati', timezone_abbreviations => 'Australia',
	client_encoding => 'LATIN1', default_tablespace => 'elsewhere', temp_tablespaces => 'elsewhere',
	default_table_access_method => 'heap2', default_text_search_config => 'pg_catalog.german',
	lc_messages => 'POSIX', lc_monetary => 'POSIX', lc_numeric => 'POSIX', lc_time => 'POSIX',
	wal_consistency_checking => 'all', restrict_nonsystem_relation_kind => 'view, foreign-table');

# hostile(): name and an unlike value of each setting that a command may set
sub hostile
{
	my @result;

	foreach (split /\n/, $node->safe_psql('postgres', q{
		select name, vartype, setting, coalesce(min_val, ''), coalesce(max_val, ''), array_to_string(enumvals, ',')
		from pg_settings where context in ('user', 'superuser') and name not like 'sentinai.%'}))
	{
		my ($name, $type, $now, $min, $max, $enum) = split /\|/, $_, -1;
		my $value = $texts{$name} // 'hostile';

		$value = $now eq 'on' ? 'off' : 'on' if $type eq 'bool';
		$value = $now eq $min ? $max : $min if $type =~ /integer|real/;
		($value) = grep { $_ ne $now } split /,/, $enum if $type eq 'enum';
		push @result, [ $name, $value ];
	}
	return @result;
}

# set_all(WHOM, SETTINGS): for a database or a role; those that were taken
sub set_all
{
	my ($whom, @settings) = @_;

	return grep {
		my ($rc) = $node->psql('postgres', "alter $whom set $_->[0] = "
			  . join(', ', map { "'$_'" } $_->[0] =~ /search_path|kind/ ? split(/, /, $_->[1]) : $_->[1]));
		$rc == 0;
	} @settings;
}

# start_again(): workers that connect while the settings are in force
sub start_again
{
	my ($name) = @_;
	my $begin = $node->safe_psql('postgres', 'select clock_timestamp()');

	$node->safe_psql('postgres', "select pg_terminate_backend(pid) from pg_stat_activity"
		  . " where backend_type in ('sentinai sequencer', 'sentinai relay')");
	poll_ok($node, 'postgres', $unslept, "select count(*) = 2 from pg_stat_activity"
		  . " where backend_type in ('sentinai sequencer', 'sentinai relay') and backend_start > '$begin'"
		  . " and state = 'idle'", $name);
	return;
}

# works_ok(): what is published comes to an agent and to the broker
my $topics = 0;
sub works_ok
{
	my ($name) = @_;
	my $topic = 'works' . ++$topics;
	my $id = $node->safe_psql('app', "select sentinai.publish('Tested', 't1', 'x1', '{}', '$topic')");

	ok(wait_for($unslept, sub { $broker->records("sentinai.$topic") }), "$name: it is relayed");
	poll_ok($node, 'app', $unslept, "select count(*) = 1 from sentinai_internal.slice"
		  . " where stream_id = 0 and '$id' = any (event_ids)", "$name: it is sequenced");
	poll_ok($node, 'app', $unslept, "select failing_steps is null and launcher_pid is not null from sentinai.stat_info",
		"$name: maintenance works");
	return;
}

# same_ok(PROCESS, SETTINGS): it has what the server says, or what is pinned
sub same_ok
{
	my ($process, @settings) = @_;
	my %there = map { split /\t/, $_, 2 } split /\n/, $node->safe_psql('app',
		"select name || E'\\t' || setting from probe where process = '$process' and at = (select max(at) from probe where process = '$process')");
	my %server = map { split /\t/, $_, 2 } split /\n/, $node->safe_psql('postgres',
		"select name || E'\\t' || setting from pg_settings");
	my @changed = grep { $there{$_} ne ($pinned{$_} // $server{$_}) }
	  grep { !$own{$_} && exists $there{$_} } sort keys %server;

	cmp_ok(scalar(keys %there), '>', 100, "$process: its settings are known");
	is(join(' ', map { "$_=$there{$_}" } @changed), '', "$process: none is changed, of @{[scalar @settings]}");
	return;
}

$node->safe_psql('postgres', q{
	create role nobody;
	create role tester superuser login;
	set allow_in_place_tablespaces = on;
	create tablespace elsewhere location '';
	create access method heap2 type table handler heap_tableam_handler;
	create database app});
$ENV{PGUSER} = 'tester';    # of whom nothing is set
$node->safe_psql('app', q{
	create extension sentinai;
	create table probe (at timestamptz default now(), process text, name text, setting text);
	create function probe() returns event_trigger language plpgsql as $$
	begin
		insert into public.probe (process, name, setting)
		select (select backend_type from pg_stat_activity where pid = pg_backend_pid()), name, setting
		from (select name, setting from pg_settings
			where context in ('user', 'superuser') and name not like 'sentinai.%'
			union all values ('session user', session_user), ('current user', current_user)) x (name, setting);
	end $$;
	create event trigger probe on ddl_command_end when tag in ('CREATE TABLE') execute function probe();
	alter event trigger probe enable always});

# names that the server does not know make its list of settings move
$node->safe_psql('postgres', join ';', map { "alter role $owner in database app set unknown$_.name = '1'" } 1 .. 150);
my @settings = hostile();
my @taken = set_all("role $owner in database app", @settings);
my %refused = map { $_->[0] => 1 } @settings;
delete $refused{ $_->[0] } foreach @taken;
note('cannot be set: ' . join ' ', sort keys %refused);
cmp_ok(scalar(@taken), '>', 100, 'nearly all can be set for the role of the workers');
foreach my $name (qw(role session_authorization search_path default_transaction_read_only
	default_transaction_isolation statement_timeout lock_timeout idle_in_transaction_session_timeout
	row_security session_replication_role default_tablespace temp_tablespaces default_table_access_method
	synchronous_commit DateStyle IntervalStyle TimeZone bytea_output extra_float_digits xmloption
	standard_conforming_strings transform_null_equals enable_indexscan jit work_mem maintenance_work_mem
	temp_file_limit log_min_messages log_statement debug_print_plan zero_damaged_pages exit_on_error))
{
	ok(!$refused{$name}, "$name can be set");
}

# the partition maker is the first to come, at the first event
ok(sequencer_pid($node, 'app', $unslept), 'a sequencer runs');
is($node->safe_psql('app', q{select sentinai.publish('Tested', 't1', 'x1', '{}', 'first') is not null}), 't', 'an event is published');
same_ok('sentinai partition maker', @taken);
start_again('a role\'s: the workers start with them');
works_ok('a role\'s');
$node->safe_psql('postgres', 'alter system set sentinai.partitions_ahead = 6');
$node->reload;
poll_ok($node, 'app', $unslept, "select count(*) > 0 from probe where process = 'sentinai sequencer'",
	'the sequencer makes partitions');
same_ok('sentinai sequencer', @taken);
is($node->safe_psql('app', "select distinct setting from probe where name in ('session user', 'current user') order by 1"),
	join("\n", sort $owner, 'tester'), 'they are who they should be, and make tables as their owner');

# the same by ALTER DATABASE, in force only while the workers connect
$node->safe_psql('postgres', "alter role $owner in database app reset all");
$node->safe_psql('app', 'delete from probe');
set_all('database app', @taken);
start_again('a database\'s: the workers start with them');
$node->safe_psql('postgres', 'alter database app reset all');
$node->safe_psql('postgres', 'alter system set sentinai.partitions_ahead = 9');
$node->reload;
poll_ok($node, 'app', $unslept, "select count(*) > 0 from probe where process = 'sentinai sequencer'",
	'the sequencer makes partitions');
same_ok('sentinai sequencer', @taken);
works_ok('a database\'s');

# a reload still reaches what a database or a role had set
$node->safe_psql('app', 'delete from probe');
$node->safe_psql('postgres', q{alter system set work_mem = '7MB'; alter system set sentinai.partitions_ahead = 12});
$node->reload;
# partitions of the reload before may still have come after the delete
poll_ok($node, 'app', $unslept,
	"select bool_or(setting = '7168') from probe where process = 'sentinai sequencer' and name = 'work_mem'",
	'a reload changes the settings of a worker');

# what the configuration file says for sessions
my %file = (default_transaction_read_only => 'on', default_transaction_isolation => 'serializable',
	default_transaction_deferrable => 'on', session_replication_role => 'replica', lock_timeout => '1',
	exit_on_error => 'on', temp_file_limit => '1', default_table_access_method => 'heap2',
	default_tablespace => 'elsewhere', search_path => 'public', transform_null_equals => 'on',
	standard_conforming_strings => 'off', deadlock_timeout => '1h');
$node->append_conf('postgresql.conf', join '', map { "$_ = '$file{$_}'\n" } sort keys %file);
$node->reload;
$ENV{PGOPTIONS} = '-c default_transaction_read_only=off -c exit_on_error=off';
start_again('the file\'s: the workers start with them');
works_ok('the file\'s');
my $pid = sequencer_pid($node, 'app', $unslept);
$node->safe_psql('app', 'set allow_system_table_mods = on; alter table sentinai_internal.stream rename to stream_away');
poll_ok($node, 'app', $unslept, q{
	select sentinai.publish('Tested', 't1', 'x1', '{}', 'fails') is not null and 'rounds' = any (failing_steps)
	from sentinai.stat_info}, 'an error ends a round');
$node->safe_psql('app', 'set allow_system_table_mods = on; alter table sentinai_internal.stream_away rename to stream');
$node->reload;
works_ok('after an error');
is(sequencer_pid($node, 'app', $unslept), $pid, 'and not the process');
$node->stop;
done_testing();
