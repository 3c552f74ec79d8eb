/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * event_run.h
 *		Runs: events of one tenant that one call published with consecutive ids.
 *
 * What all events of a run have in common need not be in an index for each of
 * them: the first stands for the run in the indexes on txid and tenant_id, and
 * the others are found behind it in the primary key.  In a long run the keys
 * are not in the index on partition_hash either; the first event lists them.
 *
 * Where a call names many tenants, an event may be the only one of its tenant.
 * It is in one index, on tenant and hash, instead of one for each: readers of
 * a key pass over the tenant's other lone events in that index.
 */
#ifndef SN_EVENT_RUN_H
#define SN_EVENT_RUN_H

#include "postgres.h"

#include "utils/uuid.h"

#include "store/store.h"

#define SN_RUN_MAX 512			/* events */

/* event_log.run of a first event; the others have the negative of it */
#define SN_RUN_NONE 0
#define SN_RUN_SHORT 1
#define SN_RUN_LONG 2
#define SN_RUN_LONE 3			/* no run: the only event of its tenant among
								 * those that one call published */

/* Reads events of runs of one partition, into scan.slot */
typedef struct SnRunReader
{
	Relation	heap;
	Snapshot	snapshot;
	bool		open;
	pg_uuid_t	lower;			/* the scan's keys point at these */
	pg_uuid_t	upper;
	SnScan		scan;
} SnRunReader;

extern void sn_run_begin(SnRunReader *reader, Relation heap,
						 Snapshot snapshot);
extern void sn_run_follow(SnRunReader *reader, const pg_uuid_t *first);
extern bool sn_run_next(SnRunReader *reader);
extern bool sn_run_fetch(SnRunReader *reader, const pg_uuid_t *first,
						 int offset);
extern void sn_run_end(SnRunReader *reader);

extern void sn_run_reach(SnRunReader *reader, pg_uuid_t *bound);
extern int	sn_run_of(TupleTableSlot *slot);
extern bool sn_run_begins(TupleTableSlot *slot);

extern Datum sn_run_keys(const int32 *hashes, int n);
extern int	sn_run_get_keys(TupleTableSlot *slot, int16 *keys);
extern int16 sn_run_key(int32 hash);

#endif							/* SN_EVENT_RUN_H */
