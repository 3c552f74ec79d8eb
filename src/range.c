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

#include "range.h"

/* The partition found last, until anything about the tables changes */
static struct
{
	Oid			parent;			/* InvalidOid: none */
	Oid			partition;		/* InvalidOid: none */
	SnRange		range;
}			last;

/* forget_last: relcache callback; InvalidOid stands for all tables */
static void
forget_last(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == last.parent || relid == last.partition)
		last.parent = InvalidOid;
}

/* look_anew: from here on a change of the parent is noticed */
static void
look_anew(Oid parent)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(forget_last, (Datum) 0);
		registered = true;
	}
	last.partition = InvalidOid;
	last.parent = parent;
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

/* find: look for the partition in the locked parent's description */
static Oid
find(Oid parent, const pg_uuid_t *id, SnRange *range)
{
	Relation	rel = table_open(parent, NoLock);
	PartitionDesc desc = RelationGetPartitionDesc(rel, true);
	PartitionKey key = RelationGetPartitionKey(rel);
	Oid			result = InvalidOid;

	if (desc->nparts > 0)
	{
		Datum		datum = UUIDPGetDatum(id);
		bool		equal;
		int			offset;
		int			i;

		offset = partition_range_datum_bsearch(key->partsupfunc,
											   key->partcollation,
											   desc->boundinfo, 1, &datum,
											   &equal);
		i = desc->boundinfo->indexes[offset + 1];
		if (i >= 0)
		{
			result = desc->oids[i];
			range->no_lower = take_bound(desc->boundinfo, offset,
										 &range->lower);
			range->no_upper = take_bound(desc->boundinfo, offset + 1,
										 &range->upper);
		}
	}
	table_close(rel, NoLock);
	return result;
}

/*
 * sn_range_find: the partition of a table that takes an event id, and what
 * else it takes; InvalidOid when there is none.  The parent is locked as a
 * reader, as by a statement, until the transaction ends; with the lock comes
 * the news of what has changed.
 */
Oid
sn_range_find(SnRel parent, const pg_uuid_t *id, SnRange *range)
{
	Oid			relid = sn_rel(parent);
	Oid			result;

	LockRelationOid(relid, AccessShareLock);
	if (last.parent == relid && OidIsValid(last.partition) &&
		sn_range_covers(&last.range, id))
	{
		*range = last.range;
		return last.partition;
	}
	look_anew(relid);
	result = find(relid, id, range);
	if (OidIsValid(result))
		last.range = *range;
	last.partition = result;
	return result;
}
