/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * range.h
 *		What partitions hold, and which one takes a key.
 */
#ifndef SN_RANGE_H
#define SN_RANGE_H

#include "postgres.h"

#include "storage/lockdefs.h"

#include "store/store.h"

typedef struct SnRange
{
	pg_uuid_t	lower;
	pg_uuid_t	upper;			/* first id after the range */
	bool		no_lower;
	bool		no_upper;
} SnRange;

/* sn_range_covers: whether an id belongs to the partition */
static inline bool
sn_range_covers(const SnRange *range, const pg_uuid_t *id)
{
	return (range->no_lower || sn_uuid_cmp(id, &range->lower) >= 0) &&
		(range->no_upper || sn_uuid_cmp(id, &range->upper) < 0);
}

/*
 * A partition and what it holds, [first, end): ticks, or numbers of slices; and
 * the times of that, [lower, upper) in ms since 1970.  PG_INT64_MIN and _MAX
 * where there is no bound.  ids: the same to the last bit, but not of slices.
 */
typedef struct SnPartRange
{
	Oid			oid;
	SnRange		ids;
	int64		first;
	int64		end;
	int64		lower;
	int64		upper;
} SnPartRange;

extern SnPartRange *sn_partition_map(SnRel which, Relation parent, int *n);
extern List *sn_partition_ranges(SnRel parent); /* of SnPartRange, in order */
extern Oid	sn_partition_of(SnRel parent, Datum key);

/* the tables that are partitioned by event id come first in SnRel */
#define SN_BY_EVENT (SN_EVENT_IDEMPOTENCY + 1)

StaticAssertDecl(SN_EVENT_LOG < SN_BY_EVENT && SN_EVENT_PROCESSING < SN_BY_EVENT,
				 "a table that is partitioned by event id does not come first");
StaticAssertDecl(SN_SLICE == SN_BY_EVENT,
				 "slice follows them: what comes behind it has no partitions");

extern Oid	sn_range_find(SnRel parent, const pg_uuid_t *id, SnRange *range);
extern Oid	sn_range_lock(SnRel parent, const pg_uuid_t *id, LOCKMODE lockmode,
						  SnRange *range);

/* partition_maker.c */
extern Oid	sn_range_require(SnRel parent, const pg_uuid_t *id,
							 LOCKMODE lockmode, SnRange *range);

#endif							/* SN_RANGE_H */
