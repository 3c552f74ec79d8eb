/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * trees.h
 *		Reading the log by id into a Merkle tree for each tenant.
 */
#ifndef SN_TREES_H
#define SN_TREES_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "utils/hsearch.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "audit/merkle.h"
#include "tenancy/right.h"

/* A tenant's events so far */
typedef struct SnTenantTree
{
	char		tenant_id[SN_TENANT_NAME_MAX + 1];	/* key */
	SnMerkle	tree;
	bool		worth_telling;	/* it has events that are not about audit */
	bool		compared;		/* by who verifies */
} SnTenantTree;

/* Where the proof of an event is put together */
typedef struct SnWanted
{
	pg_uuid_t	event_id;
	SnMerklePath path;
	SnDigest	leaf;
	StringInfoData fields;		/* of the event, see leaf.h */
	bool		found;
} SnWanted;

typedef struct SnTrees
{
	MemoryContext context;		/* of all of it */
	MemoryContext scratch;
	HTAB	   *tenants;		/* of SnTenantTree */
	int64		events;
	pg_uuid_t	next;			/* events before this id have been read */
	const text *only;			/* NULL: all tenants */
	SnWanted   *wanted;			/* NULL: no proof is asked for */
} SnTrees;

/* What is done with a row, which is taken apart; false: enough */
typedef bool (*SnSeeRow) (TupleTableSlot *slot, void *arg);

extern bool sn_see_log(Snapshot snapshot, const pg_uuid_t *from,
					   const pg_uuid_t *upper, SnSeeRow see, void *arg);
extern SnTrees *sn_trees_begin(MemoryContext parent, const pg_uuid_t *from);
extern bool sn_trees_read(SnTrees *trees, Snapshot snapshot,
						  const pg_uuid_t *upper, int64 most);
extern SnTenantTree **sn_trees_sorted(SnTrees *trees, int *n);
extern SnTenantTree *sn_trees_of(SnTrees *trees, const text *tenant_id);
extern void sn_trees_end(SnTrees *trees);
extern void sn_log_oldest(pg_uuid_t *id);
extern bool sn_log_reaches(const pg_uuid_t *upper);
extern bool sn_first_event(Snapshot snapshot, const pg_uuid_t *from,
						   pg_uuid_t *id);

#endif							/* SN_TREES_H */
