# Rows of one transaction whose places are not in the order of their ids: a
# call's events lie on both sides of those of a later call; and a run goes on
# where the reading behind an earlier one ends.  A round takes each
# event once all the same.
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sentinai;
use Test::More;

my $node = new_node('places', 'autovacuum = off');
my $db = 'postgres';

sub sql { return $node->safe_psql($db, $_[0]); }

# batch(N, TENANTS): a call that publishes events of tenants in turn
sub batch
{
	my ($n, $tenants) = @_;

	return qq{select cardinality(sentinai.publish_batch(array_fill('Placed'::text, array[$n]),
		array(select 't' || i % $tenants from generate_series(1, $n) i), array(select 'a' || i from generate_series(1, $n) i),
		array_fill(jsonb_build_object('pad', repeat('x', 300)), array[$n])));};
}

sql(q{create extension sentinai; select sentinai.subscribe('placed', start_from => 'earliest')});
my $partition = sql(batch(1, 1) . q{select tableoid::regclass from sentinai_internal.event_log limit 1}) =~ s/.*\n//sr;

# A hole that is open while the first call writes, and free for the second.
my $before = $node->background_psql($db);
my $hole = $node->background_psql($db);
$before->query_safe('begin');
$hole->query_safe('begin');
$before->query_safe(batch(200, 10));
$hole->query_safe(batch(60, 10));
$before->query_safe(batch(200, 10));
$before->query_safe('rollback');
sql(batch(1, 1));
sql("vacuum $partition");
my $writer = $node->background_psql($db);
$writer->query_safe('begin');
$writer->query_safe(batch(330, 40));
$hole->query_safe('rollback');
sql("vacuum $partition");
$writer->query_safe(batch(200, 30));
$writer->query_safe(batch(1400, 3));
$writer->query_safe('commit');
$_->quit foreach $before, $hole, $writer;

# first events whose run was read before: behind an earlier one whose call goes
# on after another first event of a later call
cmp_ok(sql(qq{with heads as (
		select event_id, ctid, row_number() over (order by event_id) <= 40 as early from $partition
		where run > 0 and txid = (select txid from $partition group by txid order by count(*) desc limit 1))
	select count(*) from heads h where early
		and exists (select from heads l where not l.early and l.ctid < h.ctid
			and exists (select from heads f where f.early and f.ctid < l.ctid and f.event_id < h.event_id))}),
	'>', 0, 'a later call lies between the rows of an earlier one');

my $found = 0;
wait_for(60, sub {
	$found += sql(q{select count(*), sentinai.complete(min(token)) from sentinai.claim('placed', 10000) having count(*) > 0})
	  =~ /^(\d+)/ ? $1 : 0;
	return $found >= 1932;
});
is($found, 1932, 'as many events as were published');
is(sql(q{select count(*), count(distinct id) from sentinai_internal.slice, unnest(event_ids) id
		where stream_id = 0}), '1932|1932', 'each is in a slice once');
is(sql('select sum(events) from sentinai_internal.round'), 1932, 'and is counted once');

# An event without causation and delivery time is stored without these columns.
sql('create extension pageinspect; create extension amcheck');
is(sql(qq{select string_agg(distinct t_hoff || ' ' || (t_infomask2 & 2047), ', ') from heap_page_items(get_raw_page('$partition', 0))
		where t_data is not null}), '24 12', 'columns that are null at the end are not stored, nor a bitmap of nulls');
is(sql("select count(*) from verify_heapam('$partition')"), 0, 'and the table is sound');

done_testing();
