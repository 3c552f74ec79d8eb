/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * range.h
 *		The range of event ids that a partition takes, so that the next id of
 *		the same partition need not be looked up.
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

/* the tables that are partitioned by event id come first in SnRel */
#define SN_BY_EVENT (SN_EVENT_IDEMPOTENCY + 1)

extern Oid	sn_range_find(SnRel parent, const pg_uuid_t *id, SnRange *range);
extern Oid	sn_range_lock(SnRel parent, const pg_uuid_t *id, LOCKMODE lockmode,
						  SnRange *range);
extern Oid	sn_range_require(SnRel parent, const pg_uuid_t *id,
							 LOCKMODE lockmode, SnRange *range);

#endif							/* SN_RANGE_H */
