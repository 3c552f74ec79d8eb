/*
 * SPDX-License-Identifier: PostgreSQL
 *
 * history_part.c
 *		Rows of a tenant, or of an aggregate, in one partition of the log, in the
 *		order of their ids.
 *
 * Each run stands in an index with its first event, or with a list of its keys;
 * events that are alone in their call have an index of their own.  See event_run.h.
 */
#include "postgres.h"

#include "access/relation.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/text.h"
#include "log/history.h"
#include "log/log_read.h"

/*
 * Rows of two scans in the order of their ids: what an index has of a tenant or
 * a key, and the tenant's lone events
 */
typedef struct Merged
{
	SnScan		scans[2];
	bool		found[2];		/* the scan's slot has a row to be taken */
	int			last;			/* that the row at hand is of */
	bool		taken;			/* so is that row: go on behind it */
	bool		lone;			/* the second scan is open */
} Merged;

/*
 * advance: go on in one of the scans.  An index that somebody made may have
 * the lone events, too; they are taken from their own.
 */
static void
advance(Merged *merged, int i)
{
	do
		merged->found[i] = sn_scan_next(&merged->scans[i]);
	while (merged->found[i] && i == 0 &&
		   sn_run_of(merged->scans[0].slot) == SN_RUN_LONE);
}

/* has_pages: whether anything was ever entered into an index */
static bool
has_pages(Oid index)
{
	Relation	rel = relation_open(index, AccessShareLock);
	bool		result = RelationGetNumberOfBlocks(rel) > 1;	/* meta page */

	relation_close(rel, AccessShareLock);
	return result;
}

/* merged_lone: begin with the lone events, of one hash unless it is NULL */
static void
merged_lone(Merged *merged, const SnReading *r, const pg_uuid_t *above,
			const int32 *hash)
{
	Oid			index = sn_index_of(r->rel, SN_TENANT_HASH, Anum_log_event_id,
									Anum_log_partition_hash);
	ScanKeyData keys[4];

	merged->lone = has_pages(index);
	merged->found[1] = merged->taken = false;
	advance(merged, 0);
	if (!merged->lone)
		return;
	sn_key_hashed(&keys[0], 1, r->q->tenant_id);
	sn_key_uuid(&keys[1], 2, BTGreaterStrategyNumber, above);
	sn_key_uuid(&keys[2], 2, BTLessStrategyNumber, &r->q->upper);
	if (hash != NULL)
		sn_key_int4(&keys[3], 3, BTEqualStrategyNumber, *hash);
	sn_scan_begin(&merged->scans[1], RelationGetRelid(r->rel), index,
				  GetActiveSnapshot(), hash != NULL ? 4 : 3, keys,
				  ForwardScanDirection);
	advance(merged, 1);
}

/* merged_row: the row at hand, which is the lesser; NULL: no more */
static TupleTableSlot *
merged_row(Merged *merged)
{
	if (merged->taken)
		advance(merged, merged->last);
	merged->taken = false;
	if (!merged->found[0] && !merged->found[1])
		return NULL;
	merged->last = !merged->found[0] ||
		(merged->found[1] &&
		 sn_uuid_cmp(sn_history_id(merged->scans[1].slot),
					 sn_history_id(merged->scans[0].slot)) < 0);
	return merged->scans[merged->last].slot;
}

static void
merged_end(Merged *merged)
{
	if (merged->lone)
		sn_scan_end(&merged->scans[1]);
	sn_scan_end(&merged->scans[0]);
}

/* sn_history_tenant: rows of a tenant, each run behind its first event */
void
sn_history_tenant(SnReading *r)
{
	ScanKeyData keys[3];
	Merged		merged;
	TupleTableSlot *slot;

	sn_key_hashed(&keys[0], 1, r->q->tenant_id);
	sn_key_uuid(&keys[1], 2, BTGreaterStrategyNumber, &r->first_above);
	sn_key_uuid(&keys[2], 2, BTLessStrategyNumber, &r->q->upper);
	sn_scan_begin(&merged.scans[0], RelationGetRelid(r->rel),
				  sn_index_of(r->rel, SN_TENANT_HASH, Anum_log_event_id),
				  GetActiveSnapshot(), 3, keys, ForwardScanDirection);
	merged_lone(&merged, r, &r->first_above, NULL);
	while (r->n < r->limit && (slot = merged_row(&merged)) != NULL)
	{
		merged.taken = true;
		/* an index that somebody made may have more, or another tenant has
		 * this hash */
		if (sn_run_of(slot) < 0 ||
			!sn_text_equal(sn_slot_text(slot, Anum_log_tenant_id),
						   r->q->tenant_id))
			continue;
		sn_history_put(r, slot);
		if (!sn_run_begins(slot))
			continue;
		sn_run_follow(&r->runs, sn_history_id(slot));
		while (r->n < r->limit && sn_run_next(&r->runs))
			sn_history_put(r, r->runs.scan.slot);
	}
	merged_end(&merged);
}

/* Events of a key in long runs, in the order of their ids */
typedef struct Listed
{
	SnScan		firsts;			/* of the tenant's long runs */
	pg_uuid_t	first;			/* of the run at hand */
	int16		keys[SN_RUN_MAX];
	int			nkeys;			/* 0: no run at hand */
	int			next;			/* to be looked at */
	bool		ended;
} Listed;

static void
listed_begin(Listed *listed, const SnReading *r)
{
	ScanKeyData keys[4];

	sn_key_int2(&keys[0], 1, BTEqualStrategyNumber, SN_RUN_LONG);
	sn_key_text(&keys[1], 2, BTEqualStrategyNumber,
				PointerGetDatum(r->q->tenant_id));
	sn_key_uuid(&keys[2], 3, BTGreaterStrategyNumber, &r->first_above);
	sn_key_uuid(&keys[3], 3, BTLessStrategyNumber, &r->q->upper);
	sn_scan_begin(&listed->firsts, RelationGetRelid(r->rel),
				  sn_index_of(r->rel, Anum_log_run, Anum_log_tenant_id,
							  Anum_log_event_id),
				  GetActiveSnapshot(), 4, keys, ForwardScanDirection);
	listed->nkeys = listed->next = 0;
	listed->ended = false;
}

/* listed_next: the next row before an id (NULL: of all), or NULL */
static TupleTableSlot *
listed_next(Listed *listed, SnReading *r, const pg_uuid_t *before)
{
	int16		wanted = sn_run_key(r->q->hash);

	while (!listed->ended)
	{
		if (listed->nkeys > 0 && before != NULL &&
			sn_uuid_cmp(&listed->first, before) > 0)
			return NULL;
		while (listed->next < listed->nkeys)
		{
			int			i = listed->next++;

			if (listed->keys[i] == wanted &&
				sn_run_fetch(&r->runs, &listed->first, i))
				return r->runs.scan.slot;
		}
		listed->ended = !sn_scan_next(&listed->firsts);
		if (listed->ended)
			break;
		listed->first = *sn_history_id(listed->firsts.slot);
		listed->nkeys = sn_run_get_keys(listed->firsts.slot, listed->keys);
		listed->next = 0;
	}
	return NULL;
}

/*
 * sn_history_aggregate: rows of a key: from the index on its hash, from the lone
 * events of its tenant, and from long runs.
 */
void
sn_history_aggregate(SnReading *r)
{
	ScanKeyData keys[3];
	Merged		merged;
	Listed		listed;

	sn_key_int4(&keys[0], 1, BTEqualStrategyNumber, r->q->hash);
	sn_key_uuid(&keys[1], 2, BTGreaterStrategyNumber, &r->q->lower);
	sn_key_uuid(&keys[2], 2, BTLessStrategyNumber, &r->q->upper);
	sn_scan_begin(&merged.scans[0], RelationGetRelid(r->rel),
				  sn_index_of(r->rel, Anum_log_partition_hash,
							  Anum_log_event_id),
				  GetActiveSnapshot(), 3, keys, ForwardScanDirection);
	merged_lone(&merged, r, &r->q->lower, &r->q->hash);
	listed_begin(&listed, r);
	while (r->n < r->limit)
	{
		TupleTableSlot *row = merged_row(&merged);
		TupleTableSlot *in_run =
			listed_next(&listed, r, row != NULL ? sn_history_id(row) : NULL);

		if (in_run != NULL)
			sn_history_put(r, in_run);
		else if (row == NULL)
			break;
		else
		{
			if (abs(sn_run_of(row)) != SN_RUN_LONG)
				sn_history_put(r, row);
			merged.taken = true;
		}
	}
	sn_scan_end(&listed.firsts);
	merged_end(&merged);
}
