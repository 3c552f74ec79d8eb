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
	create procedure pass(id uuid) language plpgsql as $$
	declare
		until timestamptz;
	begin
		select sentinai.event_time((regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''([^'']+)'))[1]::uuid)
		  into until
		  from sentinai_internal.event_log e join pg_class c on c.oid = e.tableoid where e.event_id = id;
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
$node->stop;

done_testing();
