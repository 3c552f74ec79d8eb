# Sentinai.pm: servers for the TAP tests.
# SPDX-License-Identifier: PostgreSQL
package Sentinai;

use strict;
use warnings;
use Exporter 'import';
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(new_node add_make_set set_conf set_kafka_conf set_conf_now reload_now
	lose_server sequencer_pid wait_for answer poll_ok log_count state_in start_load
	stop_load sequenced worked_off_ok relay_passed_ok relay_says);

# Every deadline is so many times as long: a build that looks harder is slower.
my $patience = $ENV{SENTINAI_PATIENCE} || 1;

# new_node(NAME, SETTING...): a started server with the library preloaded. A hash
# before the settings has options of Cluster->new().
sub new_node
{
	my ($name, @settings) = @_;
	my %options = @settings && ref $settings[0] ? %{ shift @settings } : ();
	my $node = PostgreSQL::Test::Cluster->new($name, %options);

	$node->init(allows_streaming => 1);
	$node->append_conf('postgresql.conf',
		join("\n", "shared_preload_libraries = 'sentinai'",
			'max_prepared_transactions = 10',
			'max_worker_processes = 20',
			'max_connections = 40',
			'autovacuum = off',
			'restart_after_crash = on',
			@settings, ''));
	$node->start;
	return $node;
}

# add_make_set(NODE, DATABASE): a function make_set(LOWER, UPPER) that makes the
# partitions of a stretch of time, also of some seconds, which no setting gives.
# The indexes are those of store/partition.c.
sub add_make_set
{
	my ($node, $db) = @_;

	$node->safe_psql($db, q{
	create function make_set(lower timestamptz, upper timestamptz) returns void
	language plpgsql as $$
	declare
		t text;
		i text;
		ms bigint[] := array[(extract(epoch from lower) * 1000)::bigint, (extract(epoch from upper) * 1000)::bigint];
		b text[];
	begin
		foreach t in array '{event_log,event_processing,event_idempotency,slice}'::text[] loop
			b := array(select case t when 'slice' then ((m - 1735689600000) << 14)::text
			                  else lpad(to_hex(m), 12, '0') || repeat('0', 20) end from unnest(ms) m);
			execute format('create table sentinai_internal.%I partition of sentinai_internal.%I for values from (%L) to (%L)',
				t || to_char(lower, '_HH24MISSMS'), t, b[1], b[2]);
			foreach i in array case t
				when 'event_log' then array['unique index on %I (event_id)', 'index on %I (txid) where run >= 0',
					'index on %I (partition_hash, event_id) where run > -2 and run < 2',
					'index on %I (hashtext(tenant_id), event_id) where run >= 0 and run < 3',
					'index on %I (deliver_at) where deliver_at is not null',
					'index on %I (run, tenant_id, event_id) where run = 2',
					'index on %I (hashtext(tenant_id), event_id, partition_hash) where run = 3']
				when 'event_processing' then array['unique index on %I (event_id, worker_type)']
				when 'event_idempotency' then array['index on %I (tenant_id, idempotency_key)',
					'index on %I (idempotency_key) where idempotency_key < chr(2)']
				else array['unique index on %I (stream_id, lane, slice_no)'] end
			loop
				execute format('create ' || replace(i, '%I', 'sentinai_internal.%I'), t || to_char(lower, '_HH24MISSMS'));
			end loop;
		end loop;
	end $$});
}

# reload_now(NODE, SECONDS): have the settings read again, and wait until the
# postmaster has done it: new sessions have them.
sub reload_now
{
	my ($node, $seconds) = @_;
	my $loaded = sub { $node->safe_psql('postgres', 'select pg_conf_load_time()') };
	my $before = $loaded->();

	$node->reload;
	return wait_for($seconds, sub { $loaded->() ne $before });
}

# write_conf(NODE, LINE...): what test.conf says, which a node includes that was
# made with "include_if_exists 'test.conf'".  The file is put in place as a
# whole: every process reads it for itself.
sub write_conf
{
	my ($node, @lines) = @_;
	my $path = $node->data_dir . '/test.conf';

	open my $out, '>', "$path.new" or die $!;
	print $out map { "$_\n" } @lines;
	close $out;
	rename "$path.new", $path or die $!;
	return;
}

# set_conf(NODE, LINE...), set_kafka_conf(NODE, VALUE): that, and a reload
sub set_conf
{
	my ($node, @lines) = @_;

	write_conf($node, @lines);
	$node->reload;
	return;
}

sub set_kafka_conf
{
	my ($node, $value) = @_;

	return set_conf($node, "sentinai.kafka_conf = '$value'");
}

# set_conf_now(NODE, SECONDS, LINE...): the same with reload_now()
sub set_conf_now
{
	my ($node, $seconds, @lines) = @_;

	write_conf($node, @lines);
	return reload_now($node, $seconds);
}

# wait_for(SECONDS, CODE): call CODE until it is true; its last value.
sub wait_for
{
	my ($seconds, $code) = @_;
	my $deadline = time() + $seconds * $patience;
	my $value;

	until ($value = $code->())
	{
		last if time() > $deadline;
		sleep(0.05);
	}
	return $value;
}

# answer(NODE, DATABASE, QUERY): what psql prints, undefined when the server did
# not answer.  Nothing is written to psql, which may end before it reads.
sub answer
{
	my ($node, $db, $query) = @_;
	my ($out, $err) = ('', '');

	return IPC::Run::run([ 'psql', '-XAtq', '-d', $node->connstr($db), '-c', $query ],
		'<', '/dev/null', '>', \$out, '2>', \$err) ? $out =~ s/\n\z//r : undef;
}

# children(PID): the processes it has started, as the kernel tells.
sub children
{
	my ($parent) = @_;
	my @pids;

	foreach my $stat (glob '/proc/[0-9]*/stat')
	{
		# it may have ended since it was listed
		open my $file, '<', $stat or next;
		my $line = readline $file // '';
		close $file;
		push @pids, $1 if $line =~ /^(\d+) \(.*\) \S (\d+) /s && $2 == $parent;
	}
	return @pids;
}

# lose_server(NODE, SECONDS): kill -9 of the postmaster; true when the last of
# its processes has gone, before which the next one does not start.
sub lose_server
{
	my ($node, $seconds) = @_;
	my ($postmaster) =
	  slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	my @processes = ($postmaster, children($postmaster));

	$node->kill9;
	return wait_for($seconds, sub { !grep { kill 0, $_ } @processes });
}

# poll_ok(NODE, DATABASE, SECONDS, QUERY, NAME): a test that the query says
# 't' before the deadline.
sub poll_ok
{
	my ($node, $db, $seconds, $query, $name) = @_;
	my $out = '';

	ok(wait_for($seconds, sub {
		$out = answer($node, $db, $query) // '(no answer)';
		return $out eq 't';
	}), $name) or diag("$query: $out");
}

# sequenced(NODE, DATABASE): whether rounds have covered all that is committed.
# What they have not is in no lag.  A lag is that of a statement's snapshot, and
# this is not: who wants both asks this first, in a statement of its own.
sub sequenced
{
	my ($node, $db) = @_;

	return (answer($node, $db, 'select unsequenced_commits = 0 from sentinai.stat_info') // '') eq 't';
}

# worked_off_ok(NODE, DATABASE, SECONDS, QUERY, NAME): a test that the query says
# 't' of all that is committed.
sub worked_off_ok
{
	my ($node, $db, $seconds, $query, $name) = @_;

	return ok(wait_for($seconds, sub {
		return sequenced($node, $db) && (answer($node, $db, $query) // '') eq 't';
	}), $name) || diag($query);
}

# relay_passed_ok(NODE, DATABASE, SECONDS, NAME): a test that the relay is behind
# all that there is.
sub relay_passed_ok
{
	my ($node, $db, $seconds, $name) = @_;

	return worked_off_ok($node, $db, $seconds, q{
		select bool_and(lag_events = 0 and in_flight = 0 and waiting_events = 0) from sentinai.stat_relay}, $name);
}

# relay_says(NODE, DATABASE, SECONDS, PATTERN): a test that stat_relay has such an
# error before long.
sub relay_says
{
	my ($node, $db, $seconds, $pattern) = @_;
	my $said = '';

	wait_for($seconds, sub {
		$said = answer($node, $db, q{select string_agg(last_error, ' ') from sentinai.stat_relay}) // '';
		return $said =~ $pattern;
	});
	return like($said, $pattern, "stat_relay says $pattern");
}

# sequencer_pid(NODE, DATABASE, SECONDS): process of the database's sequencer
# that a client can see as ready, or ''.
sub sequencer_pid
{
	my ($node, $db, $seconds) = @_;

	return wait_for($seconds, sub {
		$node->safe_psql('postgres',
			"select pid from pg_stat_activity where datname = '$db'"
			  . " and backend_type = 'sentinai sequencer' and state is not null");
	});
}

# log_count(NODE, REGEX): lines of the server's log that match.
sub log_count
{
	my ($node, $regex) = @_;
	my @lines = grep { /$regex/ } split /\n/, slurp_file($node->logfile);

	return scalar @lines;
}

# state_in(NODE, DATABASE, SQL): what SQLSTATE it ends with, 00000 for none.
sub state_in
{
	my ($node, $db, $sql) = @_;
	my ($rc, $out, $err) = $node->psql($db, "\\set VERBOSITY sqlstate\n$sql");

	return $err =~ /ERROR:  (\w{5})/ ? $1 : '00000';
}

# start_load(NODE, DATABASE, NAME, CLIENTS, SCRIPT, OPTION...): pgbench that runs
# the script until stop_load() ends it.
sub start_load
{
	my ($node, $db, $name, $clients, $script, @options) = @_;
	my $file = $node->basedir . "/$db.$name.sql";
	my ($out, $err) = ('', '');
	local $ENV{PGAPPNAME} = "load $name";

	append_to_file($file, $script);
	return {
		node => $node, db => $db, name => $name, err => \$err,
		run => IPC::Run::start([ 'pgbench', '-n', '-h', $node->host, '-p', $node->port,
				'-c', $clients, '-T', 600, @options, '-f', $file, $db ],
			'<', \undef, '>', \$out, '2>', \$err)
	};
}

# stop_load(LOAD, SECONDS): end it, wait until the server has done what it was told
# last, and test that no client saw an error.
sub stop_load
{
	my ($load, $seconds) = @_;

	$load->{run}->signal('TERM');
	$load->{run}->finish;
	is(${ $load->{err} } =~ s/^.*(pgbench \(|^$).*\n//mgr, '', "$load->{name}: no client saw an error");
	wait_for($seconds, sub {
		$load->{node}->safe_psql($load->{db}, 'select count(*) from pg_stat_activity'
			  . " where application_name = 'load $load->{name}'") eq '0';
	});
	return;
}

1;
