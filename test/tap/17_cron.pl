# pg_cron calls sla_scan(): the job is made and removed, and what is missing is said.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

chomp(my $share = `pg_config --sharedir`);
plan skip_all => 'no pg_cron here' unless -e "$share/extension/pg_cron.control";

my $node = new_node('cron', 'sentinai.sla_interval = 0', "include_if_exists 'cron.conf'");

sub sql { my ($sql, $db) = @_; return $node->safe_psql($db // 'postgres', $sql); }

# state_of(SQL, DB): in another database, if it is named
sub state_of { return state_in($node, $_[1] // 'postgres', $_[0]); }

sql('create extension sentinai');
is(sql('select * from sentinai.cron_status()'), 'missing|||', 'a server without pg_cron');
is(state_of('select sentinai.enable_cron()'), '55000', 'cannot have a job');
is(sql('select sentinai.disable_cron()'), 'f', 'and has none to remove');

append_to_file($node->data_dir . '/cron.conf', "shared_preload_libraries = 'sentinai, pg_cron'\ncron.database_name = 'postgres'\n");
$node->restart;
is(sql('select * from sentinai.cron_status()'), 'not created|postgres||', 'the extension is not created');
sql('create schema cron; create function cron.schedule(text, text, text) returns bigint language sql as $$ select 7::bigint $$');
is(state_of('select sentinai.enable_cron()'), '55000', 'nothing is called in a schema of that name that is not its own');
sql('drop schema cron cascade; create extension pg_cron');
is(sql('select * from sentinai.cron_status()'), 'off|postgres||', 'there is no job yet');

my $id = sql('select sentinai.enable_cron()');
is(sql('select * from sentinai.cron_status()'), "on|postgres|$id|* * * * *", 'the job is made, for every minute');
is(sql(q{select sentinai.enable_cron('*/5 * * * *')}), $id, 'called again');
is(sql('select jobid, schedule, database, username = current_user, active from cron.job'), "$id|*/5 * * * *|postgres|t|t", 'it is the same job, at other times');
is(sql('select sentinai.enable_cron(schedule) from sentinai.cron_status()'), $id, 'and nothing new');
sql(q{select sentinai.set_deadline('acme', 'a', 'r', now() - interval '1 s')});
sql(sql('select command from cron.job'));
is(sql(q{select event_type from sentinai.event_log where tenant_id = 'acme'}), 'SLAExpired', 'what it runs tells what is due');
is(state_of(q{select sentinai.enable_cron('whenever')}), '22023', 'a time that is none');
is(state_of('select sentinai.enable_cron(null)'), '22004', 'or nothing');
sql('update cron.job set active = false');
is(sql('select state from sentinai.cron_status()'), 'paused', 'a job that somebody has stopped');

sql('create role watcher; select sentinai.create_roles(); grant sentinai_operator to watcher');
is(state_of('set role watcher; select sentinai.disable_cron()'), '42501', 'who may not use pg_cron');
is(state_of('set sentinai.tenant_isolation = on; set role watcher; select sentinai.enable_cron()'), 'SN403', 'or may not operate for all');

is(sql('select sentinai.disable_cron()'), 't', 'the job is removed');
is(sql('select sentinai.disable_cron()'), 'f', 'once');
is(sql('select count(*) from cron.job'), 0, 'and gone');
is(sql(q{select string_agg(concat(action, ' ', before ->> 'schedule', '>', after ->> 'schedule'), ', ' order by action_id) from sentinai.actions where action ~ 'cron'}),
	'enable_cron >* * * * *, enable_cron * * * * *>*/5 * * * *, disable_cron */5 * * * *>', 'who did it is written down');

sql('create database other');
sql('create extension sentinai', 'other');
is(sql('select * from sentinai.cron_status()', 'other'), 'elsewhere|postgres||', 'in another database it is elsewhere');
my (undef, undef, $error) = $node->psql('other', "\\set VERBOSITY default\nselect sentinai.enable_cron()");
my ($advice) = $error =~ /Run there: (.*)\.$/m;
is(sql($advice) > 0, 1, 'the advice can be followed there');
is(sql('select database from cron.job'), 'other', 'and makes a job for here');

done_testing();
