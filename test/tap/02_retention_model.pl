# The model of pgtap/model.sql in line (pgtap/line_model.sql), while retention drops
# every partition as soon as it may.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings FATAL => 'all';
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $runs = 4;
my $node = new_node('model',
	'sentinai.crowded_at = 2',
	'sentinai.max_tracks = 7',
	'sentinai.idle_after = 0',
	'sentinai.retention = 0',
	'sentinai.idempotency_window = 1s',
	'sentinai.maintenance_interval = 1s');
my $db = 'postgres';

# stretches of a quarter of a second; and what the model asks of pgTAP
$node->safe_psql($db, 'create extension sentinai');
add_make_set($node, $db);
$node->safe_psql($db, q{
	create table made as
	select 'event_log' || to_char(t, '_HH24MISSMS') as name, make_set(t, t + interval '250 ms')::text as made
	from (select clock_timestamp() offset 0) x (start),
	     lateral generate_series(start, start + interval '60 s', interval '250 ms') t;
	create function plan(n int) returns text language sql as $$ select '1..' || n $$;
	create function "is"(have text, want text, what text) returns text language sql as $$
		select case when have is distinct from want then 'not ' else '' end || 'ok - ' || what || coalesce(': ' || have, '') $$;
	create function diag(what text) returns text language sql as $$ select '# ' || what $$;
	create function finish() returns setof text language sql as 'select null::text where false'});

my ($out, $err) = ('', '');
IPC::Run::run([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-v', "model_runs=$runs", '-v', 'model_steps=120', '-v', 'model_lane=7', '-v', 'model_tenants=10',
	'-v', 'model_ledger=false', '-d', $node->connstr($db), '-f', "$ENV{TESTDIR}/test/pgtap/model.sql" ], '>', \$out, '2>', \$err);
is(scalar(() = $out =~ /^ok/mg), $runs, 'nothing is lost, doubled or out of order') or diag($out . $err);
unlike($out, qr/^not ok/m, 'in no run');
my $dropped = $node->safe_psql($db, q{select count(*) from made where to_regclass('sentinai_internal.' || name) is null});
cmp_ok($dropped, '>', 5, 'while partitions were dropped');
note("$dropped partitions");
is(log_count($node, 'the log has no more'), 0, 'no event was gone');
$node->stop;
done_testing();
