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
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "range.h"

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

/*
 * sn_range_find: the partition of a table that takes an event id, and what
 * else it takes; InvalidOid when there is none.
 */
Oid
sn_range_find(SnRel parent, const pg_uuid_t *id, SnRange *range)
{
	Relation	rel = table_open(sn_rel(parent), AccessShareLock);
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
