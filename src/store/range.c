/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * range.c
 *		The range of event ids that a partition takes.
 */
#include "postgres.h"

#include "access/table.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "store/range.h"

/*
 * The partition found last of each table that is partitioned by event id,
 * until anything about the table changes
 */
static struct
{
	Oid			parent;			/* InvalidOid: none */
	Oid			partition;		/* InvalidOid: none */
	SnRange		range;
}			last[SN_BY_EVENT];

/* forget_last: relcache callback; InvalidOid stands for all tables */
static void
forget_last(Datum arg, Oid relid)
{
	int			i;

	for (i = 0; i < SN_BY_EVENT; i++)
		if (!OidIsValid(relid) || relid == last[i].parent ||
			relid == last[i].partition)
			last[i].parent = InvalidOid;
}

/* look_anew: from here on a change of the parent is noticed */
static void
look_anew(SnRel which, Oid parent)
{
	static bool registered = false;

	if (!registered)
	{
		sn_watch_relations(forget_last);
		registered = true;
	}
	last[which].partition = InvalidOid;
	last[which].parent = parent;
}

/* is_finite_bound: whether there is a bound, and not the end of all values */
static bool
is_finite_bound(PartitionBoundInfo bounds, int i)
{
	return i >= 0 && i < bounds->ndatums &&
		bounds->kind[i][0] == PARTITION_RANGE_DATUM_VALUE;
}

/* take_bound: a bound of a partition; returns whether there is none */
static bool
take_bound(PartitionBoundInfo bounds, int i, pg_uuid_t *bound)
{
	if (!is_finite_bound(bounds, i))
		return true;
	*bound = *DatumGetUUIDP(bounds->datums[i][0]);
	return false;
}

/* take_range: what a partition takes whose lower bound this is */
static void
take_range(PartitionBoundInfo bounds, int i, SnRange *range)
{
	range->no_lower = take_bound(bounds, i, &range->lower);
	range->no_upper = take_bound(bounds, i + 1, &range->upper);
}

/* read_bound: a bound as a number, and the time in it */
static int64
read_bound(SnRel which, PartitionBoundInfo bounds, int i, int64 *ms)
{
	int64		value;

	if (!is_finite_bound(bounds, i))
		return *ms = bounds->kind[i][0] == PARTITION_RANGE_DATUM_MINVALUE ?
			PG_INT64_MIN : PG_INT64_MAX;
	if (which == SN_SLICE)
	{
		value = DatumGetInt64(bounds->datums[i][0]);
		*ms = (value >> SN_CHUNK_BITS) + SN_EPOCH_MS;
	}
	else
	{
		value = (int64) sn_uuid_tick(DatumGetUUIDP(bounds->datums[i][0]));
		*ms = SN_TICK_MS((SnTick) value);
	}
	return value;
}

/*
 * sn_partition_map: the partitions of an open parent, lowest first.  They are
 * not locked: what retention drops may be gone when the caller comes.
 */
SnPartRange *
sn_partition_map(SnRel which, Relation parent, int *n)
{
	PartitionDesc desc = RelationGetPartitionDesc(parent, true);
	PartitionBoundInfo bounds = desc->boundinfo;
	SnPartRange *result = palloc(sizeof(SnPartRange) * (desc->nparts + 1));
	int			i;

	*n = 0;
	for (i = 1; desc->nparts > 0 && i < bounds->ndatums; i++)
	{
		SnPartRange *range = &result[*n];

		if (bounds->indexes[i] < 0)
			continue;
		range->oid = desc->oids[bounds->indexes[i]];
		range->first = read_bound(which, bounds, i - 1, &range->lower);
		range->end = read_bound(which, bounds, i, &range->upper);
		if (which < SN_BY_EVENT)
			take_range(bounds, i - 1, &range->ids);
		Assert(*n == 0 || range->first >= range[-1].end);
		(*n)++;
	}
	return result;
}

/* sn_partition_ranges: the same of a parent that is not open, as a list */
List *
sn_partition_ranges(SnRel parent)
{
	Relation	rel = table_open(sn_rel(parent), AccessShareLock);
	List	   *result = NIL;
	SnPartRange *map;
	int			n;
	int			i;

	map = sn_partition_map(parent, rel, &n);
	table_close(rel, AccessShareLock);
	for (i = 0; i < n; i++)
	{
		SnPartRange *range = palloc(sizeof(SnPartRange));

		*range = map[i];
		result = lappend(result, range);
	}
	pfree(map);
	return result;
}

/*
 * find_partition: the partition of an open parent that takes a key, and its
 * place
 */
static Oid
find_partition(Relation rel, Datum datum, int *offset)
{
	PartitionDesc desc = RelationGetPartitionDesc(rel, true);
	PartitionKey key = RelationGetPartitionKey(rel);
	bool		equal;
	int			i;

	if (desc->nparts == 0)
		return InvalidOid;
	*offset = partition_range_datum_bsearch(key->partsupfunc,
											key->partcollation,
											desc->boundinfo, 1, &datum,
											&equal);
	i = desc->boundinfo->indexes[*offset + 1];
	return i < 0 ? InvalidOid : desc->oids[i];
}

/*
 * sn_partition_of: the partition of a parent that takes key, or InvalidOid when
 * none was made yet.  It is not locked, nor is the parent any more.
 */
Oid
sn_partition_of(SnRel parent, Datum key)
{
	Relation	rel = table_open(sn_rel(parent), AccessShareLock);
	int			offset;
	Oid			result = find_partition(rel, key, &offset);

	table_close(rel, AccessShareLock);
	return result;
}

/* find_range: the same of an event id, with the range of the partition */
static Oid
find_range(Relation rel, const pg_uuid_t *id, SnRange *range)
{
	PartitionBoundInfo bounds = RelationGetPartitionDesc(rel, true)->boundinfo;
	int			offset;
	Oid			result = find_partition(rel, UUIDPGetDatum(id), &offset);

	if (OidIsValid(result))
		take_range(bounds, offset, range);
	return result;
}

/*
 * sn_range_find: the partition of a table that takes an event id, and what
 * else it takes; InvalidOid when there is none.  No lock is kept: it may be
 * gone when the caller comes to it.
 */
Oid
sn_range_find(SnRel parent, const pg_uuid_t *id, SnRange *range)
{
	Oid			relid = sn_rel(parent);
	Relation	rel;

	Assert(parent < SN_BY_EVENT);
	if (last[parent].parent == relid &&
		OidIsValid(last[parent].partition) &&
		sn_range_covers(&last[parent].range, id))
	{
		*range = last[parent].range;
		return last[parent].partition;
	}
	rel = table_open(relid, AccessShareLock);
	look_anew(parent, relid);
	last[parent].partition = find_range(rel, id, range);
	last[parent].range = *range;
	table_close(rel, AccessShareLock);
	return last[parent].partition;
}

/*
 * sn_range_lock: the same, locked until the transaction ends.  The parent is
 * not: whoever holds it through a transaction keeps retention from every
 * partition there is.  With the partition's lock comes the news of what has
 * changed, and when it is the partition still, it stays.
 */
Oid
sn_range_lock(SnRel parent, const pg_uuid_t *id, LOCKMODE lockmode,
			  SnRange *range)
{
	Oid			partition;

	while (OidIsValid(partition = sn_range_find(parent, id, range)))
	{
		LockRelationOid(partition, lockmode);
		if (sn_range_find(parent, id, range) == partition)
			break;
		UnlockRelationOid(partition, lockmode);
	}
	return partition;
}
