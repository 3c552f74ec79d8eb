# Events that outlive their partition: what a pass of maintain() has kept that is
# rolled back is kept again, and so is what comes after others. No worker runs.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $node = new_node('undone',
	"shared_preload_libraries = ''",
	'sentinai.retention = 0',
	'sentinai.idempotency_window = 1s');
my $db = 'postgres';

$node->safe_psql($db, 'create extension sentinai');
add_make_set($node, $db);
$node->safe_psql($db, q{
	-- read from the catalogs: a query of the log locks all partitions
	create function part(id uuid, out name regclass, out ends uuid) language sql stable as $$
	select c.oid, ends
	from pg_inherits i join pg_class c on c.oid = i.inhrelid,
		cast((regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''([^'']+)'))[1] as uuid) ends
	where inhparent = 'sentinai_internal.event_log'::regclass and ends > id
	order by ends limit 1 $$;
	create procedure pass(id uuid) language plpgsql as $$
	declare
		until timestamptz := (select sentinai.event_time(ends) from part(id));
	begin
		commit;
		perform pg_sleep(extract(epoch from until - clock_timestamp()) + 0.01);
	end $$;
	select make_set(t, t + interval '2 s')
	from (select clock_timestamp() offset 0) x (start),
	     lateral generate_series(start, start + interval '10 min', interval '2 s') t});

# one(SQL): the last line of what one session says
sub one
{
	my ($sql) = @_;

	return (split /\n/, $node->safe_psql($db, "set client_min_messages = error;\n$sql"))[-1];
}

my $publish = q{select sentinai.publish('T', 't1', 'x', '{}', deliver_at => %s) as id \gset
	call pass(:'id');
};
my $places = q{select (select count(*) from sentinai.event_log where event_id = :'id')
	|| ' ' || (select count(*) from sentinai_internal.event_kept where event_id = :'id');
};

# A call of maintain() drops so many and no more: first those that were over before
# the last one was made.
ok(wait_for(60, sub {
	one('select sentinai.maintain(); select count(*) filter (where wanted) from sentinai.retention_status()') eq '0';
}), 'nothing old is left');

# a copy of an event that waits is made again when it was rolled back
$node->safe_psql($db, q{select sentinai.subscribe('w')});
my $delayed = sprintf($publish, "now() + interval '1 day'") . q{
	select sentinai.publish('Later', 't1', 'y', '{}');
	select sentinai.complete(min(token)) from sentinai.claim('w');
};
is(one($delayed . 'begin; select sentinai.maintain(); rollback; select sentinai.maintain();' . $places),
	'0 1', 'an event that is not due is kept after a pass that was rolled back');
is(one($delayed . 'begin; savepoint s; select sentinai.maintain(); rollback to s; select sentinai.maintain(); commit;' . $places),
	'0 1', 'and after a part of one');
is(one($delayed . q{begin; select sentinai.maintain(); prepare transaction 'p'; rollback prepared 'p'; select sentinai.maintain();} . $places),
	'0 1', 'and after one that was prepared');
is(one($delayed . 'begin; savepoint s; select sentinai.maintain(); release s; savepoint t; rollback to t; select sentinai.maintain(); commit;' . $places),
	'0 1', 'but is kept once');

# what is kept already keeps nothing else from it
is(one($delayed . 'select sentinai.maintain();' . $places), '0 1', 'another event that is not due is kept');
is(one(q{select sentinai.publish('Retry', 't1', 'z', '{}') as id \gset
	select token from sentinai.claim('w') \gset
	select sentinai.fail(:'token', :'id', 'busy', true, '1 day');
	call pass(:'id');
	select sentinai.publish('Later', 't1', 'y', '{}');
	select sentinai.complete(min(token)) from sentinai.claim('w');
	select sentinai.maintain();
} . $places), '0 1', 'and one that waits for a retry');

# a round that this transaction has taken does not count before its end
is(one(sprintf($publish, 'null')
	  . q{begin; select count(*) from sentinai.claim('w'); select sentinai.maintain(); rollback; select sentinai.maintain();} . $places),
	'1 0', 'an event stays whose round was rolled back');
is(one(q{select count(*) from sentinai.claim('w') where event_type = 'T'}), '1', 'and is handed out');
# Many that are due at one moment are kept by several calls: with few
# locks in all, one stops after some steps.  VACUUM FULL between
# two of them gives the rows other places: nearer to the start, where some were
# undone.
$node->append_conf('postgresql.conf', join("\n", 'max_connections = 20', 'max_wal_senders = 0',
	'max_worker_processes = 2', 'max_locks_per_transaction = 20', ''));
$node->restart;
my $many = q{select (sentinai.publish_events(array_fill('Many'::text, n), array_fill('t1'::text, n),
		array_fill('x'::text, n), array_fill('{}'::jsonb, n), deliver_at => array_fill(now() + interval '1 day', n)))[1] as id
	from (select array[5000]) many (n) \gset
};
$node->safe_psql($db, q{
	create function kept() returns bigint language sql as $$
	select count(*) from sentinai_internal.event_kept where event_type = 'Many' $$;
	create procedure keep(enough int) language plpgsql as $$ begin
		for i in 1 .. 50 loop
			perform sentinai.maintain();
			commit;
			exit when kept() >= enough;
		end loop;
	end $$});
is(one(qq{select sentinai.unsubscribe('w'); select sentinai.subscribe('w');
	begin; $many rollback; begin; $many $many $many $many commit;
	select name as part from part(:'id') \\gset
	call pass(:'id');
	select sentinai.publish('Later', 't1', 'y', '{}');
	select sentinai.complete(min(token)) from sentinai.claim('w');
	call keep(1); select kept() as before \\gset
	vacuum full :part;
	call keep(20000);
	select :before between 1 and 19999, kept();}),
	't|20000', 'rows that were moved between two calls are kept');

# Where the library is not preloaded there may be too little memory for it: locks
# have it.
$node->append_conf('postgresql.conf', "max_locks_per_transaction = 10\nmax_connections = 15\n");
$node->restart;
foreach my $sql ('select count(*) from sentinai_internal.event_log', q{select sentinai.unsubscribe('w')})
{
	like(($node->psql($db, $sql))[2], qr/ERROR:  (?:out of|not enough) shared memory/,
		"$sql: too little memory is an error");
}
unlike(slurp_file($node->logfile), qr/PANIC/, 'and nothing worse');
$node->stop;

done_testing();
