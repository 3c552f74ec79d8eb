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
		CacheRegisterRelcacheCallback(forget_last, (Datum) 0);
		registered = true;
	}
	last[which].partition = InvalidOid;
	last[which].parent = parent;
}

/* take_bound: a bound of a partition; returns whether there is none */
static bool
take_bound(PartitionBoundInfo bounds, int i, pg_uuid_t *bound)
{
	if (i < 0 || i >= bounds->ndatums ||
		bounds->kind[i][0] != PARTITION_RANGE_DATUM_VALUE)
		return true;
	*bound = *DatumGetUUIDP(bounds->datums[i][0]);
	return false;
}

/* find: look for the partition in the description of an open parent */
static Oid
find(Relation rel, const pg_uuid_t *id, SnRange *range)
{
	PartitionDesc desc = RelationGetPartitionDesc(rel, true);
	PartitionKey key = RelationGetPartitionKey(rel);
	Datum		datum = UUIDPGetDatum(id);
	bool		equal;
	int			offset;
	int			i;

	if (desc->nparts == 0)
		return InvalidOid;
	offset = partition_range_datum_bsearch(key->partsupfunc,
										   key->partcollation,
										   desc->boundinfo, 1, &datum,
										   &equal);
	i = desc->boundinfo->indexes[offset + 1];
	if (i < 0)
		return InvalidOid;
	range->no_lower = take_bound(desc->boundinfo, offset, &range->lower);
	range->no_upper = take_bound(desc->boundinfo, offset + 1, &range->upper);
	return desc->oids[i];
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
	last[parent].partition = find(rel, id, range);
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

/* sn_range_require: the same, made if it is not there */
Oid
sn_range_require(SnRel parent, const pg_uuid_t *id, LOCKMODE lockmode,
				 SnRange *range)
{
	Oid			partition;

	while (!OidIsValid(partition = sn_range_lock(parent, id, lockmode, range)))
		(void) sn_require_partition(parent, UUIDPGetDatum(id),
									SN_TICK_MS(sn_uuid_tick(id)));
	return partition;
}
